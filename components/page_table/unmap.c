/* SPDX-License-Identifier: MIT
 *
 * unmap.c: translations go away or change.
 *
 * Owns:    tsl_table_unmap, tsl_table_protect.
 * Needs:   walk.c, split.c, gather.c, check.c; empty.c for the tables that are left behind.
 * Callers: the public; kernel_table.c and table.c for whole tables.
 */
#include "page_table_internal.h"

/* After so many entries an unmap of a long range lets go of the lock for a moment, so that
 * interrupts are not off for longer than that. */
enum { BATCH = 2048 };

/* What a look over a range finds. */
struct look {
    tsl_vaddr at;      /* where it goes on */
    tsl_vaddr missing; /* the first page that is not there */
    bool large;        /* a page is larger than 4 KiB */
    bool done;
};

/* Is every page from look->at to `last` present? Looks at about `most` entries. */
static bool are_present(struct tsl_table *self, tsl_vaddr last, unsigned most, struct look *look)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_walk *walk = &self->path;
    for (unsigned looked = 0; looked < most;) {
        tsl_vaddr at = look->at;
        tsl_walk_to(walk, at);
        unsigned count = walk->level == 0 ? tsl_pages_in_table(format, 0, at, last) : 1;
        unsigned present =
            tsl_entries_present(format, walk->memory[walk->level], tsl_walk_index(walk), count);
        if (present < count) {
            look->missing = at + present * TSL_PAGE_BYTES;
            return false;
        }
        look->large = look->large || walk->level > 0;
        tsl_vaddr end = tsl_walk_last(walk) + (count - 1u) * TSL_PAGE_BYTES;
        look->done = end >= last;
        if (look->done)
            return true;
        look->at = end + 1u;
        looked += count;
    }
    return true;
}

/* Take what is present of `count` pages of 4 KiB from the walk's entry on; returns how many. */
static tsl_word take_pages(struct tsl_table *self, const struct tsl_walk *walk, unsigned count,
                           unsigned flags, struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    void *memory = walk->memory[0];
    unsigned index = tsl_walk_index(walk);
    unsigned attributes = walk->at > format->user_last ? TSL_GLOBAL : 0;
    tsl_word taken = 0;
    for (unsigned i = 0, pages; i < count; i += pages) {
        uint64_t raw;
        if (tsl_entry_is_absent(format, memory, index + i)) {
            pages = tsl_entries_absent(format, memory, index + i, count - i);
            continue;
        }
        pages = tsl_entries_take(format, memory, index + i, count - i, &raw);
        tsl_gather_pages(gather, walk->at + ((tsl_vaddr)i << TSL_PAGE_SHIFT), pages, attributes);
        if (flags & TSL_UNMAP_FREE)
            tsl_gather_frames(gather, tsl_frame_of(raw & format->target), pages);
        taken += pages;
    }
    self->counters.pages[0] -= taken;
    return taken;
}

static void take_large_page(struct tsl_table *self, const struct tsl_walk *walk, unsigned flags,
                            struct tsl_gather *gather)
{
    tsl_vaddr bytes = tsl_table_format_page_bytes(self->format, walk->level);
    struct tsl_table_entry old;
    uint64_t raw = tsl_entry_take(self->format, walk->memory[walk->level], tsl_walk_index(walk));
    self->format->decode(walk->level, raw, &self->features, &old);
    self->counters.pages[walk->level]--;
    tsl_root_changed(self, walk->level, walk->at, 1);
    tsl_gather_pages(gather, walk->at, 1, old.attributes);
    gather->flush.all = true; /* see split_page: the tables no longer show it */
    if (flags & TSL_UNMAP_FREE)
        tsl_gather_add(gather, tsl_frame_of(old.target), (tsl_word)(bytes >> TSL_PAGE_SHIFT));
}

/* From the walk's entry on: the rest of its table of 4 KiB pages, or one larger entry. */
static struct tsl_step remove_step(struct tsl_table *self, const struct tsl_walk *walk,
                                   tsl_vaddr last, unsigned flags, struct tsl_gather *gather)
{
    struct tsl_step step = {.next = tsl_walk_last(walk) + 1u};
    if (walk->level == 0) {
        unsigned count = tsl_pages_in_table(self->format, 0, walk->at, last);
        step.removed = take_pages(self, walk, count, flags, gather) > 0;
        step.emptied = count == tsl_table_entries(self->format, 0);
        step.next = walk->at + ((tsl_vaddr)count << TSL_PAGE_SHIFT);
    } else if (walk->raw != 0) {
        take_large_page(self, walk, flags, gather);
        step.removed = true;
    }
    step.done = step.next - 1u >= last;
    return step;
}

/* From *at on, about `most` entries; *at: where it goes on. Returns whether that was all. */
static bool remove_some(struct tsl_table *self, tsl_vaddr *at, tsl_vaddr last, unsigned most,
                        unsigned flags, struct tsl_gather *gather)
{
    struct tsl_walk *walk = &self->path;
    struct tsl_step step = {.next = *at};
    for (unsigned looked = 0; !step.done && looked < most;) {
        tsl_walk_to(walk, step.next);
        looked += walk->level == 0 ? tsl_pages_in_table(self->format, 0, walk->at, last) : 1;
        step = remove_step(self, walk, last, flags, gather);
        tsl_table_leave(self, &step, gather);
    }
    *at = step.next;
    return step.done;
}

void tsl_table_remove(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last, unsigned flags,
                      struct tsl_gather *gather)
{
    while (!remove_some(self, &first, last, BATCH, flags, gather))
        continue;
}

void tsl_table_remove_all(struct tsl_table *self, struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    self->fixed_first = 1; /* none: its tables go too */
    self->fixed_last = 0;
    tsl_table_remove(self, 0, tsl_table_lower_last(format), TSL_UNMAP_SPARSE, gather);
    if (format->sign_extended)
        tsl_table_remove(self, tsl_table_upper_half(format), ~(tsl_vaddr)0, TSL_UNMAP_SPARSE,
                         gather);
}

/* The common cases: a range within one table of 4 KiB pages, or where there is none. Returns false
 * if it is another one. */
static bool unmap_in_table(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last, unsigned flags,
                           struct tsl_gather *gather, tsl_vaddr *missing)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_walk *walk = &self->path;
    tsl_walk_to(walk, first);
    if (flags & TSL_UNMAP_SPARSE && walk->raw == 0 && last <= tsl_walk_last(walk))
        return true; /* nothing has ever been there, or it is gone: no table, no page */
    if (walk->level > 0 || (first ^ last) >> format->shift[1] != 0)
        return false;
    unsigned count = (unsigned)((last - first) >> TSL_PAGE_SHIFT) + 1u;
    if (!(flags & TSL_UNMAP_SPARSE)) {
        unsigned present =
            tsl_entries_present(format, walk->memory[0], tsl_walk_index(walk), count);
        *missing = present == count ? 0 : first + present * TSL_PAGE_BYTES;
        if (present != count)
            return true;
    }
    if (!gather->open)
        tsl_gather_open(gather);
    struct tsl_step step = {.next = last + 1u, .done = true};
    step.removed = take_pages(self, walk, count, flags, gather) > 0;
    step.emptied = count == tsl_table_entries(format, 0);
    tsl_table_leave(self, &step, gather);
    return true;
}

/* The whole range, in batches; what is done already is not looked at. Lock not held. */
static bool are_all_present(struct tsl_table *self, tsl_vaddr last, struct look *look)
{
    bool present = true;
    while (present && !look->done) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        present = are_present(self, last, BATCH, look);
        tsl_lock_release(&self->lock, pin);
    }
    return present;
}

/* In batches; the range is the caller's meanwhile. First all is looked at, for a range that is
 * refused has changed nothing. `finishes`: the gather is finished with each batch. Lock not
 * held. */
static enum tsl_status unmap_batches(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                                     unsigned flags, struct tsl_gather *gather, bool finishes,
                                     tsl_vaddr *missing)
{
    bool is_sparse = flags & TSL_UNMAP_SPARSE;
    struct look look = {.at = first, .large = is_sparse, .done = is_sparse};
    if (!are_all_present(self, last, &look)) {
        *missing = look.missing;
        return TSL_NOT_FOUND;
    }
    enum tsl_status status = TSL_OK;
    for (bool begins = true, done = false; !done; begins = false) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        if (begins && look.large)
            status = tsl_table_split(self, first, last, flags, gather);
        if (status == TSL_OK) {
            tsl_gather_open(gather);
            done = remove_some(self, &first, last, BATCH, flags, gather);
        } else {
            done = true;
        }
        if (finishes)
            tsl_gather_finish(gather);
        tsl_lock_release(&self->lock, pin);
    }
    return status;
}

/* The same, with no promotion in between. */
TSL_NOINLINE static enum tsl_status unmap_long(struct tsl_table *self, tsl_vaddr first,
                                               tsl_vaddr last, unsigned flags,
                                               struct tsl_gather *gather, bool finishes,
                                               tsl_vaddr *missing)
{
    (void)tsl_atomic_add(&self->long_changes, 1);
    enum tsl_status status = unmap_batches(self, first, last, flags, gather, finishes, missing);
    (void)tsl_atomic_sub(&self->long_changes, 1);
    return status;
}

enum tsl_status tsl_table_unmap(struct tsl_table *self, tsl_vaddr start, size_t bytes,
                                unsigned flags, struct tsl_gather *gather)
{
    tsl_vaddr last;
    tsl_vaddr missing = 0;
    enum tsl_status status = tsl_table_check_range(self, "unmap", start, bytes, &last);
    if (status != TSL_OK)
        return status;
    if (flags & ~(TSL_UNMAP_SPARSE | TSL_UNMAP_FREE))
        return tsl_refuse(&self->refusals, TSL_INVALID, "tables: unmap with flags %x", flags);
    struct tsl_gather own;
    struct tsl_gather *used = gather != NULL ? gather : &own;
    if (gather == NULL)
        tsl_gather_init(&own, self);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_done = unmap_in_table(self, start, last, flags, used, &missing);
    if (gather == NULL)
        tsl_gather_finish(&own);
    tsl_lock_release(&self->lock, pin);
    if (!is_done)
        status = unmap_long(self, start, last, flags, used, gather == NULL, &missing);
    else if (missing != 0)
        status = TSL_NOT_FOUND;
    if (status == TSL_NOT_FOUND)
        return tsl_refuse(&self->refusals, status, "tables: unmap: no page at %zx",
                          (size_t)missing);
    return status == TSL_DENIED ? tsl_table_refuse_split(self, "unmap", start) : status;
}

/* What one protect asks for, and the entry it worked out last. */
struct change {
    unsigned attributes;
    unsigned level;
    uint64_t from; /* without history; 0: none yet at this level */
    uint64_t to;
};

/* What becomes of an entry without history. It is worked out once for neighbours that differ in
 * their targets only, by as much as their addresses do. */
static uint64_t changed(const struct tsl_table *self, struct change *change, uint64_t from)
{
    const struct tsl_table_format *format = self->format;
    unsigned level = change->level;
    if (change->from != 0 && from == change->from + tsl_table_format_page_bytes(format, level)) {
        change->to += tsl_table_format_page_bytes(format, level);
    } else if (from != change->from) {
        struct tsl_table_entry old;
        format->decode(level, from, &self->features, &old);
        change->to = format->encode_leaf(level, old.target, change->attributes, &self->features);
    }
    change->from = from;
    return change->to;
}

/* The entry keeps its target and whatever the CPU marks in it until the very exchange. */
static bool change_entry(const struct tsl_table *self, void *memory, unsigned index,
                         struct change *change)
{
    const struct tsl_table_format *format = self->format;
    uint64_t seen = tsl_entry_load(format, memory, index);
    uint64_t wanted;
    do {
        if (seen == 0)
            return false; /* gone since it was looked at: its owner's mistake */
        wanted = changed(self, change, seen & ~format->history);
        wanted |= seen & format->history;
        if (wanted == seen)
            return false;
    } while (!tsl_entry_change(format, memory, index, &seen, wanted));
    return true;
}

/* From *at on, about `most` entries; *at: where it goes on. Returns whether that was all. */
static bool protect_some(struct tsl_table *self, tsl_vaddr *at, tsl_vaddr last, unsigned most,
                         unsigned attributes, struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    struct change change = {.attributes = attributes};
    struct tsl_walk *walk = &self->path;
    for (unsigned looked = 0; looked < most;) {
        tsl_walk_to(walk, *at);
        unsigned level = walk->level;
        /* Of a larger level one at a time: behind it may lie a table. */
        unsigned count = level > 0 ? 1 : tsl_pages_in_table(format, level, *at, last);
        unsigned index = tsl_walk_index(walk);
        if (level != change.level)
            change = (struct change){.attributes = attributes, .level = level};
        tsl_vaddr next = tsl_walk_last(walk) + (count - 1u) * TSL_PAGE_BYTES + 1u;
        for (unsigned i = 0; i < count; i++) {
            tsl_vaddr page = *at + i * TSL_PAGE_BYTES;
            if (change_entry(self, walk->memory[level], index + i, &change)) {
                tsl_root_changed(self, level, page, 1);
                tsl_gather_pages(gather, page, 1, page > format->user_last ? TSL_GLOBAL : 0);
            }
        }
        *at = next;
        if (next - 1u >= last)
            return true;
        looked += count;
    }
    return false;
}

/* A range within one table of 4 KiB pages, in one go. Returns false if it is another one. */
static bool protect_in_table(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                             unsigned attributes, struct tsl_gather *gather, tsl_vaddr *missing)
{
    const struct tsl_table_format *format = self->format;
    struct tsl_walk *walk = &self->path;
    tsl_walk_to(walk, first);
    if (walk->level > 0 || (first ^ last) >> format->shift[1] != 0)
        return false;
    unsigned count = (unsigned)((last - first) >> TSL_PAGE_SHIFT) + 1u;
    unsigned present = tsl_entries_present(format, walk->memory[0], tsl_walk_index(walk), count);
    if (present == count) {
        tsl_gather_open(gather);
        (void)protect_some(self, &first, last, count, attributes, gather);
    } else {
        *missing = first + present * TSL_PAGE_BYTES;
    }
    return true;
}

/* As unmap_batches. */
static enum tsl_status protect_batches(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                                       unsigned attributes, struct tsl_gather *gather,
                                       bool finishes, tsl_vaddr *missing)
{
    struct look look = {.at = first};
    if (!are_all_present(self, last, &look)) {
        *missing = look.missing;
        return TSL_NOT_FOUND;
    }
    enum tsl_status status = TSL_OK;
    for (bool begins = true, done = false; !done; begins = false) {
        tsl_pin pin = tsl_lock_acquire(&self->lock);
        if (begins && look.large)
            status = tsl_table_split(self, first, last, 0, gather);
        if (status == TSL_OK)
            tsl_gather_open(gather);
        done = status != TSL_OK || protect_some(self, &first, last, BATCH, attributes, gather);
        if (finishes)
            tsl_gather_finish(gather);
        tsl_lock_release(&self->lock, pin);
    }
    return status;
}

/* As unmap_long. */
TSL_NOINLINE static enum tsl_status protect_long(struct tsl_table *self, tsl_vaddr first,
                                                 tsl_vaddr last, unsigned attributes,
                                                 struct tsl_gather *gather, bool finishes,
                                                 tsl_vaddr *missing)
{
    (void)tsl_atomic_add(&self->long_changes, 1);
    enum tsl_status status =
        protect_batches(self, first, last, attributes, gather, finishes, missing);
    (void)tsl_atomic_sub(&self->long_changes, 1);
    return status;
}

/* What is there of `count` pages of 4 KiB from the walk's entry on keeps its target and its
 * history. */
static void protect_there(struct tsl_table *self, unsigned count, uint64_t bits,
                          struct tsl_gather *gather)
{
    const struct tsl_table_format *format = self->format;
    const struct tsl_walk *walk = &self->path;
    void *memory = walk->memory[0];
    unsigned index = tsl_walk_index(walk);
    unsigned attributes = walk->at > format->user_last ? TSL_GLOBAL : 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t seen = tsl_entry_load(format, memory, index + i);
        for (bool done = seen == 0; !done;) {
            uint64_t wanted = (seen & (format->target | format->history)) | bits;
            if (wanted == seen)
                break;
            done = tsl_entry_change(format, memory, index + i, &seen, wanted);
            if (done)
                tsl_gather_pages(gather, walk->at + i * TSL_PAGE_BYTES, 1, attributes);
        }
    }
}

/* What is there of [first, last], whose large pages lie in it as a whole, gets the attributes. */
static void protect_present(struct tsl_table *self, tsl_vaddr first, tsl_vaddr last,
                            unsigned attributes, struct tsl_gather *gather)
{
    uint64_t bits = self->format->encode_leaf(0, 0, attributes, &self->features);
    struct tsl_walk *walk = &self->path;
    for (tsl_vaddr at = first;;) {
        tsl_walk_to(walk, at);
        unsigned count = walk->level == 0 ? tsl_pages_in_table(self->format, 0, at, last) : 1;
        tsl_vaddr end = tsl_walk_last(walk) + (count - 1u) * TSL_PAGE_BYTES;
        if (walk->level == 0)
            protect_there(self, count, bits, gather);
        else if (walk->raw != 0)
            (void)protect_some(self, &at, end, 1, attributes, gather);
        if (end >= last)
            return;
        at = end + 1u;
    }
}

enum tsl_status tsl_table_protect_sparse(struct tsl_table *self, tsl_vaddr start, size_t bytes,
                                         unsigned attributes, struct tsl_gather *gather)
{
    tsl_vaddr last;
    enum tsl_status status = tsl_table_check_range(self, "protect", start, bytes, &last);
    if (status == TSL_OK)
        status = tsl_table_check_attributes(self, "protect", start, last, attributes);
    if (status != TSL_OK)
        return status;
    attributes = tsl_tagged_attributes(self, start, attributes);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_walk_to(&self->path, start);
    bool may_split = self->path.level > 0 || (start ^ last) >> self->format->shift[1] != 0;
    if (may_split)
        status = tsl_table_split(self, start, last, 0, gather);
    if (status == TSL_OK) {
        tsl_gather_open(gather);
        protect_present(self, start, last, attributes, gather);
    }
    tsl_lock_release(&self->lock, pin);
    return status == TSL_DENIED ? tsl_table_refuse_split(self, "protect", start) : status;
}

enum tsl_status tsl_table_protect(struct tsl_table *self, tsl_vaddr start, size_t bytes,
                                  unsigned attributes, struct tsl_gather *gather)
{
    tsl_vaddr last;
    tsl_vaddr missing = 0;
    unsigned wish = attributes & TSL_MAP_PROMOTE;
    struct tsl_gather own;
    struct tsl_gather *used = gather != NULL ? gather : &own;
    enum tsl_status status = tsl_table_check_range(self, "protect", start, bytes, &last);
    if (status == TSL_OK)
        status = tsl_table_check_attributes(self, "protect", start, last, attributes & ~wish);
    if (status != TSL_OK)
        return status;
    attributes = tsl_tagged_attributes(self, start, attributes & ~wish);
    if (gather == NULL)
        tsl_gather_init(&own, self);

    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_done = protect_in_table(self, start, last, attributes, used, &missing);
    if (gather == NULL)
        tsl_gather_finish(&own);
    tsl_lock_release(&self->lock, pin);
    if (!is_done)
        status = protect_long(self, start, last, attributes, used, gather == NULL, &missing);
    else if (missing != 0)
        status = TSL_NOT_FOUND;
    if (status == TSL_NOT_FOUND)
        return tsl_refuse(&self->refusals, status, "tables: protect: no page at %zx",
                          (size_t)missing);
    if (status == TSL_DENIED)
        return tsl_table_refuse_split(self, "protect", start);
    if (status == TSL_OK && wish != 0)
        tsl_table_promote_wished(self, start, last, wish);
    return status;
}
