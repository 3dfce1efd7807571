/* SPDX-License-Identifier: MIT
 *
 * early.c: the bump allocator over a memory map that works before anything else does.
 *
 * Owns:    struct tsl_early.
 * Needs:   kernel_layout (the map), base.
 * Callers: the public tsl_early_*; frames_create.c, which looks here for a place for its metadata.
 */
#include "physical_allocator_internal.h"

void tsl_early_init(struct tsl_early *self, const struct tsl_memory_map *map)
{
    *self = (struct tsl_early){.map = map};
}

void tsl_early_seal(struct tsl_early *self)
{
    self->is_sealed = true;
}

void tsl_early_unseal(struct tsl_early *self)
{
    self->is_sealed = false;
}

/* The highest piece that [start, end) touches; piece_count if none. */
static unsigned touched(const struct tsl_early *self, tsl_paddr start, tsl_paddr end)
{
    unsigned found = self->piece_count;
    for (unsigned i = 0; i < self->piece_count; i++) {
        bool is_touched = self->pieces[i].start < end && start < self->pieces[i].end;
        if (is_touched &&
            (found == self->piece_count || self->pieces[i].start > self->pieces[found].start))
            found = i;
    }
    return found;
}

/* The highest place in a range below `limit`; 0 if there is none. */
static tsl_paddr place_in(const struct tsl_early *self, const struct tsl_memory_range *range,
                          uint64_t bytes, uint64_t align, tsl_paddr limit)
{
    tsl_paddr start = range->start < TSL_PAGE_BYTES ? TSL_PAGE_BYTES : range->start;
    tsl_paddr end = range->end < limit ? range->end : limit;
    while (end > start && end - start >= bytes) {
        tsl_paddr at = (end - bytes) & ~(tsl_paddr)(align - 1);
        if (at < start)
            return 0;
        unsigned piece = touched(self, at, at + bytes);
        if (piece == self->piece_count)
            return at;
        end = self->pieces[piece].start;
    }
    return 0;
}

/* Makes [at, at + bytes) part of the piece just above it, or of a new one. */
static bool note(struct tsl_early *self, tsl_paddr at, uint64_t bytes)
{
    tsl_paddr end = at + bytes;
    for (unsigned i = 0; i < self->piece_count; i++) {
        if (self->pieces[i].start >= end && self->pieces[i].start - end < TSL_PAGE_BYTES) {
            self->pieces[i].start = at;
            return true;
        }
    }
    if (self->piece_count == TSL_EARLY_PIECES)
        return false;
    self->pieces[self->piece_count].start = at;
    self->pieces[self->piece_count].end = end;
    self->piece_count++;
    return true;
}

TSL_COLD static enum tsl_status refuse(struct tsl_early *self, enum tsl_status status,
                                       uint64_t bytes, tsl_paddr limit)
{
    return tsl_refuse(&self->refusals, status, "early: %#llx bytes below %#llx",
                      (unsigned long long)bytes, (unsigned long long)limit);
}

tsl_paddr tsl_early_place(const struct tsl_early *self, uint64_t bytes, uint64_t align,
                          tsl_paddr limit)
{
    tsl_paddr at = 0;
    for (size_t i = self->map->count; i-- > 0 && at == 0;) {
        const struct tsl_memory_range *range = &self->map->ranges[i];
        if (range->type == TSL_MEMORY_USABLE)
            at = place_in(self, range, bytes, align, limit == 0 ? TSL_MAP_TOP : limit);
    }
    return at;
}

enum tsl_status tsl_early_alloc(struct tsl_early *self, uint64_t bytes, uint64_t align,
                                tsl_paddr limit, tsl_paddr *out)
{
    if (self->is_sealed)
        return refuse(self, TSL_DENIED, bytes, limit);
    if (bytes == 0 || align == 0 || (align & (align - 1)) != 0)
        return refuse(self, TSL_INVALID, bytes, limit);
    tsl_paddr at = tsl_early_place(self, bytes, align, limit);
    if (at == 0)
        return refuse(self, TSL_NO_MEMORY, bytes, limit);
    if (!note(self, at, bytes))
        return refuse(self, TSL_LIMIT, bytes, limit);
    self->bytes += bytes;
    self->requests++;
    *out = at;
    return TSL_OK;
}
