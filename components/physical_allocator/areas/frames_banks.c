/* SPDX-License-Identifier: MIT
 *
 * frames_banks.c: banks of RAM: counted, switched off when unused, switched on when wanted.
 *
 * Owns:    struct frames_banks.
 * Needs:   frames_run.c (reserving a range is how a bank's frames are taken), a lock of base.
 * Callers: the public functions of frames_banks.h; who finds no memory; frames_hotplug.c.
 */
#include "../physical_allocator_internal.h"

static tsl_paddr bank_start(const struct frames_banks *banks, unsigned bank)
{
    return banks->first + bank * banks->bytes;
}

static bool is_off(const struct frames_banks *banks, unsigned bank)
{
    return (tsl_atomic_load_u32(&banks->off) >> bank & 1) != 0;
}

/* The highest of all nodes, whose spans stand in their order, not in that of addresses. */
static tsl_paddr ram_end(const struct tsl_frames *self)
{
    tsl_word end = 0;
    for (tsl_word i = 0; i < self->span_count; i++)
        end = self->spans[i].end > end ? self->spans[i].end : end;
    return (tsl_paddr)end << TSL_PAGE_SHIFT;
}

enum tsl_status tsl_frames_set_banks(struct tsl_frames *self, tsl_paddr first, tsl_paddr bytes,
                                     const struct tsl_frames_bank_switch *hardware)
{
    struct frames_banks *banks = &self->banks;
    const tsl_paddr area_bytes = AREA_FRAMES * TSL_PAGE_BYTES;
    tsl_paddr end = ram_end(self);
    if (!TSL_FRAME_BANKS)
        return tsl_refuse(&self->refusals, TSL_UNSUPPORTED, "frames: no banks compiled in");
    if (bytes == 0 || bytes % area_bytes != 0 || first % area_bytes != 0 || first >= end ||
        hardware == NULL || hardware->switch_bank == NULL) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: banks of %#llx from %#llx",
                          (unsigned long long)bytes, (unsigned long long)first);
    }
    if (tsl_atomic_load_u32(&banks->off) != 0)
        return tsl_refuse(&self->refusals, TSL_BUSY, "frames: new banks while one is off");
    /* In areas, which fit a word: x86-32 has no division of 64 bits without a library. */
    tsl_word count = 1;
    if (bytes < end - first)
        count = (tsl_word)((end - first - 1) / area_bytes) / (tsl_word)(bytes / area_bytes) + 1;
    *banks = (struct frames_banks){.bytes = bytes, .first = first, .hardware = *hardware};
    banks->count = count < TSL_FRAMES_MAX_BANKS ? (unsigned)count : TSL_FRAMES_MAX_BANKS;
    tsl_lock_init(&banks->lock, TSL_RANK_FRAMES);
    return TSL_OK;
}

unsigned tsl_frames_bank_count(const struct tsl_frames *self)
{
    return self->banks.count;
}

/* Free frames of a span between two frame numbers, which are multiples of an area's. */
static tsl_word free_between(const struct tsl_frames *self, const struct frames_span *span,
                             tsl_word first, tsl_word end)
{
    tsl_word free = 0;
    for (tsl_word number = first; number < end;) {
        tsl_word index = number - span->shift;
        tsl_word count = AREA_FRAMES - index % AREA_FRAMES;
        count = count < end - number ? count : end - number;
        free += tsl_frames_free_in(self, index, count);
        number += count;
    }
    return free;
}

enum tsl_status tsl_frames_bank_stats(const struct tsl_frames *self, unsigned bank,
                                      struct tsl_frames_bank_stats *out)
{
    const struct frames_banks *banks = &self->banks;
    if (bank >= banks->count)
        return tsl_refuse(NULL, TSL_INVALID, "frames: bank %u does not exist", bank);
    *out = (struct tsl_frames_bank_stats){.start = bank_start(banks, bank),
                                          .end = bank_start(banks, bank) + banks->bytes,
                                          .is_on = !is_off(banks, bank)};
    tsl_word first = (tsl_word)(out->start >> TSL_PAGE_SHIFT);
    tsl_word end = (tsl_word)(out->end >> TSL_PAGE_SHIFT);
    for (tsl_word i = 0; i < self->span_count; i++) {
        const struct frames_span *span = &self->spans[i];
        tsl_word from = span->first > first ? span->first : first;
        tsl_word to = span->end < end ? span->end : end;
        if (from >= to)
            continue;
        out->total += to - from;
        out->free += free_between(self, span, from, to);
    }
    return TSL_OK;
}

static bool holds_metadata(const struct tsl_frames *self, const struct tsl_frames_bank_stats *bank)
{
    tsl_paddr end = self->metadata_start + (tsl_paddr)self->metadata_frames * TSL_PAGE_BYTES;
    return bank->start < end && self->metadata_start < bank->end;
}

/* A bank's frames are free again. Before: the lock is held. */
static void give_bank(struct tsl_frames *self, unsigned bank)
{
    tsl_paddr start = bank_start(&self->banks, bank);
    enum tsl_status status = tsl_frames_give_window(self, start, self->banks.bytes);
    if (TSL_LIKELY(status == TSL_OK))
        return;
    tsl_frames_return_window(self, start, self->banks.bytes);
    status = tsl_refuse(&self->refusals, TSL_FOREIGN,
                        "frames: frames of bank %u were freed while it was off", bank);
    (void)status; /* nobody to return it to: that was long ago */
}

/* Before: the lock is held. */
static bool switch_off(struct tsl_frames *self, unsigned bank, tsl_word keep)
{
    struct frames_banks *banks = &self->banks;
    struct tsl_frames_bank_stats stats;
    if (is_off(banks, bank) || tsl_frames_bank_stats(self, bank, &stats) != TSL_OK ||
        stats.total == 0 || stats.free != stats.total || holds_metadata(self, &stats) ||
        tsl_frames_free_count(self) - stats.free < keep)
        return false;
    /* First of all: whoever finds none of its frames from now on has a bank to wait for. */
    tsl_atomic_store_u32(&banks->off, tsl_atomic_load_u32(&banks->off) | 1u << bank);
    bool is_taken = tsl_frames_take_window(self, stats.start, banks->bytes) == TSL_OK;
    if (is_taken && banks->hardware.switch_bank(banks->hardware.context, bank, false))
        return true;
    if (is_taken)
        give_bank(self, bank);
    tsl_atomic_store_u32(&banks->off, tsl_atomic_load_u32(&banks->off) & ~(1u << bank));
    return false;
}

unsigned tsl_frames_banks_rest(struct tsl_frames *self, tsl_word keep)
{
    struct frames_banks *banks = &self->banks;
    unsigned switched = 0;
    for (unsigned bank = banks->count; bank-- > 0;) {
        tsl_pin pin = tsl_lock_acquire(&banks->lock);
        switched += switch_off(self, bank, keep) ? 1 : 0;
        tsl_lock_release(&banks->lock, pin);
    }
    frames_watch(self);
    return switched;
}

bool tsl_frames_bank_is_off_in(const struct tsl_frames *self, tsl_paddr start, tsl_paddr end)
{
    const struct frames_banks *banks = &self->banks;
    for (unsigned bank = 0; bank < banks->count; bank++)
        if (is_off(banks, bank) && bank_start(banks, bank) < end &&
            start < bank_start(banks, bank) + banks->bytes)
            return true;
    return false;
}

bool tsl_frames_bank_wake(struct tsl_frames *self)
{
    struct frames_banks *banks = &self->banks;
    tsl_pin pin = tsl_lock_acquire(&banks->lock);
    /* Another CPU may have switched the last one on: then there is something to look for, too. */
    bool is_woken = tsl_atomic_load_u32(&banks->off) == 0;
    for (unsigned bank = 0; bank < banks->count && !is_woken; bank++) {
        if (!is_off(banks, bank) ||
            !banks->hardware.switch_bank(banks->hardware.context, bank, true))
            continue;
        /* In this order: who sees none off would believe that there is nothing to wait for. */
        give_bank(self, bank);
        tsl_atomic_store_u32(&banks->off, tsl_atomic_load_u32(&banks->off) & ~(1u << bank));
        is_woken = true;
    }
    tsl_lock_release(&banks->lock, pin);
    return is_woken;
}

struct tsl_defect tsl_frames_banks_verify(const struct tsl_frames *self)
{
    const struct frames_banks *banks = &self->banks;
    uint32_t off = tsl_atomic_load_u32(&banks->off);
    struct tsl_frames_bank_stats stats;
    for (unsigned bank = 0; bank < TSL_FRAMES_MAX_BANKS; bank++) {
        if ((off >> bank & 1) == 0)
            continue;
        if (tsl_frames_bank_stats(self, bank, &stats) != TSL_OK || stats.total == 0 ||
            stats.free != 0 || self->reserved < stats.total)
            return tsl_defect_at("frames", 13, bank, "all frames of a bank that is off are taken");
    }
    return TSL_NO_DEFECT;
}
