/* SPDX-License-Identifier: MIT
 *
 * map.c: new translations.
 *
 * Owns:    tsl_table_map, tsl_table_map_word and tsl_table_fix.
 * Needs:   walk.c, spare.c, check.c.
 * Callers: the public.
 *
 * In two passes: the first finds what is in the way and counts the tables that are missing, then
 * all of these are allocated, and the second pass, which cannot fail, writes.
 */
#include "page_table_internal.h"

#include <tesela/bits.h>
#include <tesela/checked.h>
#include <tesela/config.h>

/* What a map still has to do: [at, last] goes to `target`, or to single frames of one word. */
struct job {
    tsl_vaddr first;
    tsl_vaddr at;
    tsl_vaddr last;
    tsl_paddr target; /* of the next page; of bit 0 of `frames` */
    tsl_word frames;  /* those that are left; 0: the target is a run */
    unsigned attributes;
};

/* The level of the largest page that fits at job->at. */
static unsigned page_level(const struct tsl_table *self, const struct job *job)
{
    const struct tsl_table_format *format = self->format;
    if (!TSL_LARGE_PAGES || !(job->attributes & TSL_MAP_LARGE))
        return 0;
    for (unsigned level = tsl_table_top(self); level > 0; level--) {
        if (!format->leaf_at(level, &self->features))
            continue;
        tsl_vaddr mask = tsl_table_format_page_bytes(format, level) - 1u;
        if (((job->at | (tsl_vaddr)job->target) & mask) == 0 && job->last - job->at >= mask)
            return level;
    }
    return 0;
}

/* On behind `count` pages; false when `last` was reached. */
static bool advance(const struct tsl_table *self, struct job *job, unsigned level, unsigned count)
{
    tsl_vaddr bytes = (tsl_vaddr)count << self->format->shift[level];
    if (job->last - job->at < bytes)
        return false;
    job->at += bytes;
    if (job->frames == 0)
        job->target += bytes;
    return true;
}

/* First pass: nothing may be there; how many tables are missing? */
static enum tsl_status plan(struct tsl_table *self, struct job job, tsl_word *out)
{
    struct tsl_walk *walk = &self->path;
    tsl_word missing = 0;
    unsigned level, count;
    do {
        level = page_level(self, &job);
        count = tsl_pages_in_table(self->format, level, job.at, job.last);
        tsl_walk_to(walk, job.at);
        /* A table below the wished level is in the way, be it that it shows pages or is kept. */
        if (walk->raw != 0 || walk->level < level)
            return TSL_EXISTS;
        if (walk->level == level && tsl_entries_absent(self->format, walk->memory[level],
                                                       tsl_walk_index(walk), count) != count)
            return TSL_EXISTS;
        missing += tsl_spare_missing(walk, level, job.first);
    } while (advance(self, &job, level, count));
    *out = missing;
    return TSL_OK;
}

static enum tsl_status prepare(struct tsl_table *self, const struct job *job,
                               struct tsl_spare *spare)
{
    tsl_word missing = 0;
    enum tsl_status status = plan(self, *job, &missing);
    *spare = (struct tsl_spare){0};
    return status == TSL_OK && missing > 0 ? tsl_spare_fill(spare, self, missing) : status;
}

/* Second pass. Neighbouring pages have neighbouring entries: each is the one before plus the size
 * of a page. */
static void install(struct tsl_table *self, struct job job, struct tsl_spare *spare)
{
    const struct tsl_table_format *format = self->format;
    unsigned attributes = job.attributes & ~TABLE_WISHES;
    struct tsl_walk *walk = &self->path;
    unsigned level, count;
    do {
        level = page_level(self, &job);
        count = tsl_pages_in_table(format, level, job.at, job.last);
        tsl_walk_to(walk, job.at);
        while (walk->level > level)
            tsl_spare_hook(spare, self, walk);
        uint64_t raw = format->encode_leaf(level, job.target, attributes, &self->features);
        void *memory = walk->memory[level];
        unsigned index = tsl_walk_index(walk);
        if (job.frames != 0)
            job.frames = tsl_entries_publish_word(format, memory, index, count, raw, job.frames);
        else
            tsl_entries_publish(format, memory, index, count, raw,
                                tsl_table_format_page_bytes(format, level));
        tsl_root_changed(self, level, job.at, count);
        self->counters.pages[level] += count;
    } while (advance(self, &job, level, count));
    TSL_ASSERT(spare->count == 0);
}

/* The common case: pages of 4 KiB that fill no more than one table, which is there. Returns false
 * if it is another one. */
static bool map_in_table(struct tsl_table *self, const struct job *job, enum tsl_status *status)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_walk *walk = &self->path;
    tsl_vaddr pages = (job->last - job->first) >> TSL_PAGE_SHIFT; /* less 1 */
    if (job->attributes & TABLE_WISHES || (job->first ^ job->last) >> format->shift[1] != 0)
        return false;
    tsl_walk_to(walk, job->first);
    if (walk->level > 0)
        return false;
    unsigned index = tsl_walk_index(walk), count = (unsigned)pages + 1u;
    void *memory = walk->memory[0];
    *status = TSL_EXISTS;
    if (tsl_entries_absent(format, memory, index, count) != count)
        return true;
    uint64_t raw = format->encode_leaf(0, job->target, job->attributes, &self->features);
    if (job->frames != 0)
        (void)tsl_entries_publish_word(format, memory, index, count, raw, job->frames);
    else
        tsl_entries_publish(format, memory, index, count, raw, TSL_PAGE_BYTES);
    self->counters.pages[0] += count;
    *status = TSL_OK;
    return true;
}

static enum tsl_status map_locked(struct tsl_table *self, const struct job *job)
{
    struct tsl_spare spare;
    enum tsl_status status;
    if (map_in_table(self, job, &status))
        return status;
    status = prepare(self, job, &spare);
    /* An empty table that is kept may be in the way of a large page, or be the frame we lack. */
    if (status != TSL_OK && tsl_table_drop_kept(self))
        status = prepare(self, job, &spare);
    if (status == TSL_OK) {
        install(self, *job, &spare);
        tsl_table_promote_ends(self, job->first, job->last, job->attributes);
    }
    return status;
}

enum tsl_status tsl_table_map_page(struct tsl_table *self, tsl_vaddr va, tsl_paddr target,
                                   unsigned attributes)
{
    struct job job = {.first = va,
                      .at = va,
                      .last = va + (TSL_PAGE_BYTES - 1u),
                      .target = target,
                      .attributes = attributes};
    return map_locked(self, &job);
}

static enum tsl_status check_target(struct tsl_table *self, tsl_paddr target, size_t bytes)
{
    tsl_paddr last;
    if (!tsl_is_aligned_paddr(target, TSL_PAGE_BYTES))
        return tsl_refuse(&self->refusals, TSL_MISALIGNED, "tables: map to %llx",
                          (unsigned long long)target);
    if (!tsl_checked_last_paddr(target, bytes, &last) || last >> self->physical_bits != 0)
        return tsl_refuse(&self->refusals, TSL_OUT_OF_RANGE,
                          "tables: map to %llx: physical addresses have %u bits",
                          (unsigned long long)target, self->physical_bits);
    return TSL_OK;
}

/* What both kinds of map do once the range in the job is known to be good. */
static enum tsl_status map_checked(struct tsl_table *self, struct job *job, size_t bytes)
{
    enum tsl_status status = tsl_table_check_attributes(self, "map", job->first, job->last,
                                                        job->attributes & ~TABLE_WISHES);
    if (status != TSL_OK)
        return status;
    job->attributes = tsl_tagged_attributes(self, job->first, job->attributes);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    status = map_locked(self, job);
    tsl_lock_release(&self->lock, pin);
    if (status == TSL_EXISTS)
        return tsl_refuse(&self->refusals, status, "tables: map of %zx bytes at %zx", bytes,
                          (size_t)job->first);
    return status;
}

enum tsl_status tsl_table_map(struct tsl_table *self, tsl_vaddr start, tsl_paddr target,
                              size_t bytes, unsigned attributes)
{
    struct job job = {.first = start, .at = start, .target = target, .attributes = attributes};
    enum tsl_status status = tsl_table_check_range(self, "map", start, bytes, &job.last);
    if (status == TSL_OK)
        status = check_target(self, target, bytes);
    return status == TSL_OK ? map_checked(self, &job, bytes) : status;
}

enum tsl_status tsl_table_map_word(struct tsl_table *self, tsl_vaddr start, struct tsl_frame first,
                                   tsl_word frames, unsigned attributes)
{
    size_t bytes = (size_t)tsl_bits_count(frames) << TSL_PAGE_SHIFT;
    tsl_paddr target = tsl_frame_address(first);
    struct job job = {.first = start,
                      .at = start,
                      .target = target,
                      .frames = frames,
                      .attributes = attributes & ~TSL_MAP_LARGE};
    /* No bits: no bytes, which the range's check refuses. */
    enum tsl_status status = tsl_table_check_range(self, "map", start, bytes, &job.last);
    if (status == TSL_OK)
        status =
            check_target(self, target, ((size_t)tsl_bits_highest(frames) + 1u) << TSL_PAGE_SHIFT);
    return status == TSL_OK ? map_checked(self, &job, bytes) : status;
}

/* Fix: count and hook the tables of [first, last] down to level 0, in steps of one such table. */
static enum tsl_status fix_locked(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last)
{
    tsl_vaddr span = tsl_table_format_page_bytes(self->format, 1);
    tsl_vaddr begin = first & ~(span - 1u);
    tsl_vaddr end = last | (span - 1u);
    struct tsl_walk *walk = &self->path;
    struct tsl_spare spare;
    tsl_word missing = 0;

    (void)tsl_table_drop_kept(self);
    for (tsl_vaddr at = begin;; at += span) {
        tsl_walk_to(walk, at);
        if (walk->raw != 0 || walk->level == 0)
            return TSL_EXISTS;
        missing += tsl_spare_missing(walk, 0, begin);
        if (end - at < span)
            break;
    }
    enum tsl_status status = tsl_spare_fill(&spare, self, missing);
    if (status != TSL_OK)
        return status;
    for (tsl_vaddr at = begin;; at += span) {
        tsl_walk_to(walk, at);
        while (walk->level > 0)
            tsl_spare_hook(&spare, self, walk);
        if (end - at < span)
            break;
    }
    self->fixed_first = first;
    self->fixed_last = last;
    return TSL_OK;
}

enum tsl_status tsl_table_fix(struct tsl_table *self, tsl_vaddr start, size_t bytes)
{
    tsl_vaddr last;
    if (self->fixed_first <= self->fixed_last) {
        if (bytes > 0 && start == self->fixed_first && bytes - 1u == self->fixed_last - start)
            return TSL_OK;
        return tsl_refuse(&self->refusals, TSL_EXISTS, "tables: a second fixed range, at %zx",
                          (size_t)start);
    }
    enum tsl_status status = tsl_table_check_range(self, "fix", start, bytes, &last);
    if (status != TSL_OK)
        return status;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    status = fix_locked(self, start, last);
    tsl_lock_release(&self->lock, pin);
    if (status == TSL_EXISTS)
        return tsl_refuse(&self->refusals, status, "tables: fix at %zx", (size_t)start);
    return status;
}
