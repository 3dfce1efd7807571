/* SPDX-License-Identifier: MIT
 *
 * heap_harden.c: the choice of a tier, and what is done with whoever misuses the heap.
 *
 * Owns:    the policy: report or panic; the words for bad addresses.
 * Needs:   the core.
 * Callers: whoever makes a heap (tsl_heap_harden); the files that find misuse.
 */
#include <tesela/atomic.h>
#include <tesela/heap_hardening.h>

#include "../heap_allocator_internal.h"

static bool is_supported(enum tsl_heap_tier tier)
{
    if ((int)tier == TSL_HEAP_HARDENING)
        return true;
    /* Without the layer there is nothing to switch. */
    return HEAP_GUARDED && (int)tier < TSL_HEAP_HARDENING && tier >= TSL_HEAP_TIER_BASIC;
}

/* Small kernels, which have granules, need no figures for that. */
static size_t live_blocks(const struct tsl_heap *self)
{
    struct tsl_heap_stats stats;

    if (TSL_HEAP_CORE_GRANULES)
        return (size_t)(self->granules->allocs - self->granules->frees);
    tsl_heap_stats(self, &stats);
    return stats.live_blocks;
}

enum tsl_status tsl_heap_harden(struct tsl_heap *self, const struct tsl_heap_hardening *how)
{
    struct heap_guard *guard = self->guard;

    if (!is_supported(how->tier))
        return tsl_refuse(&self->refusals, TSL_UNSUPPORTED, "heap %p: tier %d of %d", (void *)self,
                          (int)how->tier, TSL_HEAP_HARDENING);
    if (HEAP_GUARDED)
        tsl_heap_guard_fini(self);
    /* Slabs of the other tier are marked differently. */
    (void)tsl_heap_trim(self);
    size_t live = live_blocks(self);
    if (live != 0)
        return tsl_refuse(&self->refusals, TSL_BUSY, "heap %p: %zu blocks are live", (void *)self,
                          live);
    self->panics = how->panics;
    if (HEAP_GUARDED) {
        guard->tier = how->tier;
        guard->secret ^= how->seed;
        tsl_heap_noise ^= (uint32_t)how->seed;
        guard->trace = how->trace;
        /* Units of two clocks do not mix. */
        if (TSL_HEAP_PROFILE && guard->clock != how->clock)
            tsl_heap_times_clear(self);
        guard->clock = how->clock;
        guard->is_on = how->tier >= TSL_HEAP_TIER_MODERATE || (TSL_HEAP_SITES && how->sites) ||
                       (TSL_HEAP_PROFILE && how->clock != NULL);
    }
    return TSL_OK;
}

/* The quiet tier counts, and does not log. */
static enum tsl_status count(struct tsl_heap *self, enum tsl_status status)
{
    (void)tsl_atomic_add(&self->refusals.by_status[status], 1);
    return status;
}

enum tsl_status tsl_heap_accuse_tersely(struct tsl_heap *self, enum tsl_status status)
{
    if (TSL_HEAP_HARDENING == TSL_HEAP_TIER_NONE)
        return count(self, status);
    if (self->panics)
        tsl_fail_tersely();
    return tsl_refuse_tersely(&self->refusals, status);
}

/* Who took the block that is spoken of, and who freed it; "" if that is not known. */
static void tell_sites(char *out, size_t bytes, enum tsl_status status,
                       const struct heap_entry *entry)
{
    *out = '\0';
    if (!TSL_HEAP_SITES || entry == NULL)
        return;
    if (status == TSL_CORRUPT || entry->freed_by[0] == 0)
        (void)tsl_format(out, bytes, "; %zu bytes, taken at %#zx", entry->bytes,
                         (size_t)entry->taken_by[0]);
    else
        (void)tsl_format(out, bytes, "; %zu bytes, taken at %#zx, freed at %#zx", entry->bytes,
                         (size_t)entry->taken_by[0], (size_t)entry->freed_by[0]);
}

enum tsl_status tsl_heap_accuse_saying(struct tsl_heap *self, enum tsl_status status,
                                       const struct heap_entry *entry, const char *format, ...)
{
    char what[TSL_LOG_LINE_BYTES - 32], who[TSL_LOG_LINE_BYTES / 2];
    va_list arguments;

    if (TSL_HEAP_HARDENING == TSL_HEAP_TIER_NONE)
        return count(self, status);
    va_start(arguments, format);
    (void)tsl_format_list(what, sizeof what, format, arguments);
    va_end(arguments);
    tell_sites(who, sizeof who, status, entry);
    if (self->panics)
        tsl_panic("%s: heap %p: %s%s", tsl_status_name(status), (void *)self, what, who);
    status = tsl_refuse(&self->refusals, status, "heap %p: %s%s", (void *)self, what, who);
    if (TSL_HEAP_SITES && entry != NULL)
        tsl_heap_log_stacks(entry);
    return status;
}

const char *tsl_heap_reason(enum tsl_status status)
{
    switch (status) {
    case TSL_FOREIGN:
        return "not a block of this heap";
    case TSL_MISALIGNED:
        return "no block starts at such an address";
    case TSL_INVALID:
        return "inside a block, not at its start";
    case TSL_DOUBLE_FREE:
        return "free already";
    case TSL_WRONG_SIZE:
        return "not of that size";
    default:
        return "a resize is under way";
    }
}

enum tsl_status tsl_heap_refuse_block(struct tsl_heap *self, enum tsl_status status,
                                      const char *verb, const void *block, size_t block_bytes)
{
    if (block_bytes == 0)
        return tsl_heap_accuse(self, status, NULL, "%s of %p: %s", verb, block,
                               tsl_heap_reason(status));
    return tsl_heap_accuse(self, status, NULL, "%s of %p: %s, block size %zu", verb, block,
                           tsl_heap_reason(status), block_bytes);
}

size_t tsl_heap_end_quarantine(struct tsl_heap *self)
{
    return heap_has_quarantine(self) ? tsl_heap_quarantine_end(self) : 0;
}
