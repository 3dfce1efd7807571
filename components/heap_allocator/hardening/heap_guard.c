/* SPDX-License-Identifier: MIT
 *
 * heap_guard.c: the way of one block through the layer that notices misuse.
 *
 * Owns:    the order of its steps.
 * Needs:   the core; heap_canary.c, heap_quarantine.c, heap_pages.c, heap_ledger.c.
 * Callers: the public functions of the core, while the heap is guarded.
 *
 *   alloc:  entry -> pages of its own (debug), else block with a tail -> ledger
 *   free:   claim: ledger says ending -> surroundings sound -> tail says freed
 *           -> contents cleared -> quarantine (full) -> still clean -> core
 *   resize: claim -> alloc, copy -> as a free; or, without memory, the claim is undone
 *
 * A block that was damaged is reported and kept out of use, as it is. Below the moderate tier and
 * without call sites calls are the core's, and are only timed.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

static bool has_tails(const struct tsl_heap *self)
{
    return self->guard->tier >= TSL_HEAP_TIER_MODERATE;
}

/* Nothing here knows a block or claims it for one caller: the core does what is to be done. */
static bool is_plain(const struct tsl_heap *self)
{
    return !TSL_HEAP_SITES && !has_tails(self);
}

static bool is_zero(const struct heap_spot *spot)
{
    return TSL_HEAP_ZERO_FAULTS && spot->class_index == HEAP_ZERO;
}

/* ---- Memory of the layer itself ---- */

static void *block_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    /* What faults on use needs no tail. */
    void *block = bytes == 0 && align <= TSL_HEAP_ALIGN && heap_has_zero(self)
                      ? tsl_heap_allocate(self, 0, align, flags | HEAP_ZERO_ONLY)
                      : NULL;

    if (block != NULL)
        return block;
    if (has_tails(self))
        return tsl_heap_canary_alloc(self, bytes, align, flags);
    return tsl_heap_allocate(self, bytes, align, flags);
}

void *tsl_heap_guard_memory(struct tsl_heap *self, size_t bytes, unsigned flags)
{
    return block_alloc(self, bytes, TSL_HEAP_ALIGN, flags & ~(unsigned)TSL_HEAP_ZERO);
}

/* => a block of the core that nobody uses any more, cleared if it has a tail. */
static void core_end(struct tsl_heap *self, void *block, unsigned flags)
{
    enum tsl_status status = tsl_heap_core_free(self, block, (flags & TSL_HEAP_NO_WAIT) != 0);
    TSL_ASSERT(status == TSL_OK);
}

void tsl_heap_guard_drop(struct tsl_heap *self, void *memory)
{
    struct heap_spot spot;
    enum heap_tail found;
    size_t bytes;
    enum tsl_status status = tsl_heap_locate(self, memory, &spot);
    TSL_ASSERT(status == TSL_OK);
    size_t room = tsl_heap_room(self, spot.is_large, spot.granted);

    if (has_tails(self)) {
        if (!tsl_heap_canary_end(self, memory, room, &found, &bytes)) {
            status = tsl_heap_accuse(self, TSL_CORRUPT, NULL, "the heap's own %p was overwritten",
                                     memory);
            return;
        }
        if (!spot.is_large)
            tsl_heap_canary_clear(self, memory, room);
    }
    core_end(self, memory, TSL_HEAP_NO_WAIT);
}

/* ---- Alloc ---- */

/* A power of two is aligned to itself, also when a tail takes the block to another class. */
static size_t natural_align(size_t bytes, size_t align)
{
    size_t most = HEAP_CLASS_LAST > TSL_PAGE_BYTES ? HEAP_CLASS_LAST : TSL_PAGE_BYTES;

    return tsl_is_power_of_two(bytes) && bytes > align && bytes <= most ? bytes : align;
}

static void *attempt(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags,
                     uintptr_t site)
{
    struct heap_entry *entry = NULL;
    void *block = NULL;

    if (TSL_HEAP_SITES) {
        entry = tsl_heap_entry_new(self, bytes, flags, site);
        if (entry == NULL)
            return NULL;
        if (TSL_HEAP_HARDENING >= TSL_HEAP_TIER_DEBUG)
            block = tsl_heap_pages_alloc(self, entry, align, flags);
    }
    if (block == NULL)
        block = block_alloc(self, bytes, align, flags);
    if (TSL_HEAP_SITES && block == NULL)
        tsl_heap_guard_drop(self, entry);
    if (TSL_HEAP_SITES && block != NULL) {
        entry->address = (uintptr_t)block;
        tsl_heap_ledger_add(self, entry);
    }
    return block;
}

/* Frees what waits, then asks those who can give memory back, whose blocks would wait too. */
static void *attempt_again(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags,
                           uintptr_t site)
{
    void *block = NULL;

    if (tsl_heap_end_quarantine(self) > 0)
        block = attempt(self, bytes, align, flags, site);
    for (unsigned round = 0; block == NULL && tsl_heap_relieve(self, bytes, &round);) {
        (void)tsl_heap_end_quarantine(self);
        block = attempt(self, bytes, align, flags, site);
    }
    return block;
}

/* NULL is not yet counted or logged. */
static void *allocate(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags,
                      uintptr_t site)
{
    if (is_plain(self))
        return tsl_heap_allocate(self, bytes, align, flags);
    align = natural_align(bytes, align);
    void *block = attempt(self, bytes, align, flags | HEAP_NO_RELIEF, site);
    if (block == NULL && (flags & (TSL_HEAP_NO_WAIT | HEAP_NO_RELIEF)) == 0 &&
        bytes <= heap_ceiling_pages(self) << TSL_PAGE_SHIFT)
        block = attempt_again(self, bytes, align, flags | HEAP_NO_RELIEF, site);
    return block;
}

void *tsl_heap_guarded_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags,
                             uintptr_t site)
{
    uint64_t begin = heap_clock(self->guard);
    void *block = allocate(self, bytes, align, flags, site);

    if (TSL_HEAP_PROFILE)
        tsl_heap_time(self, self->guard->allocs, begin);
    return block != NULL ? block : tsl_heap_fail(self, bytes);
}

/* ---- Free ---- */

/* A block comes out of quarantine, or had none to go into. */
void tsl_heap_let_go(struct tsl_heap *self, void *block, struct heap_entry *entry, unsigned flags)
{
    struct heap_spot spot;

    if (TSL_HEAP_HARDENING >= TSL_HEAP_TIER_DEBUG && entry != NULL && entry->pages != 0) {
        /* Out of the ledger first: the pages may be another CPU's block at once. */
        uintptr_t base = entry->base;
        tsl_heap_ledger_remove(self, entry);
        tsl_heap_pages_free(self, base);
        return;
    }
    if (TSL_HEAP_SITES && entry != NULL)
        tsl_heap_ledger_remove(self, entry);
    if (heap_has_quarantine(self)) {
        enum tsl_status status = tsl_heap_locate(self, block, &spot);
        TSL_ASSERT(status == TSL_OK);
        if (!spot.is_large && !tsl_heap_canary_is_clean(self, block, spot.granted))
            return;
    }
    core_end(self, block, flags);
}

static enum tsl_status refuse_damaged(struct tsl_heap *self, const char *verb, const void *block,
                                      size_t room, const struct heap_entry *entry)
{
    return tsl_heap_accuse(self, TSL_CORRUPT, entry,
                           "%s of %p: written behind its end, block size %zu", verb, block, room);
}

static enum tsl_status refuse_entry(struct tsl_heap *self, enum tsl_status status, const char *verb,
                                    const void *block, const struct heap_entry *entry)
{
    struct heap_spot spot = {0};

    if (status != TSL_NOT_FOUND)
        return tsl_heap_accuse(self, status, entry, "%s of %p: %s", verb, block,
                               tsl_heap_reason(status));
    /* Not in the ledger, so no user's, even if the core has a block there. */
    status = tsl_heap_locate(self, block, &spot);
    return tsl_heap_refuse_block(self, status == TSL_OK ? TSL_FOREIGN : status, verb, block,
                                 spot.granted);
}

/* A live block that one caller, who frees or resizes it, has for himself: for all others it is free
 * already. */
struct claim {
    struct heap_entry *entry; /* NULL: none, without HEAP_SITES */
    struct heap_spot spot;
    size_t bytes; /* that were asked for */
    bool has_pages;
};

/* => locked. A large block that locate found, unless somebody has it for himself; else NULL. */
static struct heap_run *large_of_all(struct tsl_heap *self, const void *block,
                                     struct heap_spot *spot)
{
    if (tsl_heap_locate(self, block, spot) != TSL_OK || !spot->is_large)
        return NULL;
    struct heap_run *run = heap_map_at(self, (uintptr_t)block);
    return run->place == HEAP_PLACE_LOOSE ? run : NULL;
}

/* A large block becomes one caller's. Only then may its tail be looked at: who freed it before may
 * be closing its pages, or giving them back. */
static enum tsl_status claim_large(struct tsl_heap *self, const void *block, struct heap_spot *spot)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct heap_run *run = large_of_all(self, block, spot);

    if (run != NULL)
        run->place = HEAP_PLACE_CLAIMED;
    tsl_lock_release(&self->lock, pin);
    return run != NULL ? TSL_OK : TSL_DOUBLE_FREE;
}

static void unclaim_large(struct tsl_heap *self, const void *block)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    heap_map_at(self, (uintptr_t)block)->place = HEAP_PLACE_LOOSE;
    tsl_lock_release(&self->lock, pin);
}

/* A block of the core with a tail. */
static enum tsl_status claim_tail(struct tsl_heap *self, void *block, const char *verb,
                                  struct claim *claim)
{
    size_t room = tsl_heap_room(self, claim->spot.is_large, claim->spot.granted);
    enum heap_tail found = HEAP_TAIL_FREE;

    if (tsl_heap_canary_end(self, block, room, &found, &claim->bytes))
        return TSL_OK;
    if (claim->spot.is_large)
        unclaim_large(self, block);
    if (found == HEAP_TAIL_BROKEN)
        return refuse_damaged(self, verb, block, room, claim->entry);
    return tsl_heap_refuse_block(self, TSL_DOUBLE_FREE, verb, block, room);
}

static enum tsl_status claim_block(struct tsl_heap *self, void *block, const char *verb,
                                   struct claim *claim)
{
    if (TSL_HEAP_HARDENING >= TSL_HEAP_TIER_DEBUG && claim->has_pages)
        return tsl_heap_pages_are_sound(self, claim->entry) ? TSL_OK : TSL_CORRUPT;
    enum tsl_status status = tsl_heap_locate(self, block, &claim->spot);
    if (status == TSL_OK && claim->spot.is_large && has_tails(self))
        status = claim_large(self, block, &claim->spot);
    if (status != TSL_OK)
        return tsl_heap_refuse_block(self, status, verb, block, claim->spot.granted);
    if (!TSL_HEAP_SITES)
        claim->bytes = is_zero(&claim->spot) ? 0 : claim->spot.granted;
    return has_tails(self) && !is_zero(&claim->spot) ? claim_tail(self, block, verb, claim)
                                                     : TSL_OK;
}

/* Anything but TSL_OK is reported, and the block as before. */
static enum tsl_status claim_for(struct tsl_heap *self, void *block, const char *verb,
                                 uintptr_t site, struct claim *claim)
{
    struct heap_entry seen;
    enum tsl_status status = TSL_OK;

    *claim = (struct claim){.entry = NULL};
    if (TSL_HEAP_SITES)
        status = tsl_heap_ledger_end(self, (uintptr_t)block, site, &claim->entry, &seen);
    if (status != TSL_OK)
        return refuse_entry(self, status, verb, block, &seen);
    if (TSL_HEAP_SITES) {
        claim->bytes = claim->entry->bytes;
        claim->has_pages = claim->entry->pages != 0;
    }
    status = claim_block(self, block, verb, claim);
    if (TSL_HEAP_SITES && status != TSL_OK)
        tsl_heap_ledger_revive(self, claim->entry, claim->bytes);
    return status;
}

/* The block is everybody's again, and has so many bytes; if it has pages of its own, no more than
 * before. */
static void unclaim(struct tsl_heap *self, void *block, const struct claim *claim, size_t bytes)
{
    if (has_tails(self) && !claim->has_pages && !is_zero(&claim->spot))
        tsl_heap_canary_resize(
            self, block, tsl_heap_room(self, claim->spot.is_large, claim->spot.granted), bytes);
    if (has_tails(self) && !claim->has_pages && claim->spot.is_large)
        unclaim_large(self, block);
    if (TSL_HEAP_HARDENING >= TSL_HEAP_TIER_DEBUG && claim->has_pages)
        tsl_heap_fill(self, (uintptr_t)block + bytes, claim->bytes - bytes);
    if (TSL_HEAP_SITES)
        tsl_heap_ledger_revive(self, claim->entry, bytes);
}

/* An object of size 0 has nothing that could be damaged, and need not wait: any use is a fault. */
static enum tsl_status end_zero(struct tsl_heap *self, void *block, struct heap_entry *entry,
                                unsigned flags)
{
    if (TSL_HEAP_SITES && entry != NULL)
        tsl_heap_ledger_remove(self, entry);
    return tsl_heap_core_free(self, block, (flags & TSL_HEAP_NO_WAIT) != 0);
}

/* A claimed block waits from now on, or is let go. */
static enum tsl_status end_claimed(struct tsl_heap *self, void *block, const struct claim *claim,
                                   unsigned flags)
{
    if (!claim->has_pages && is_zero(&claim->spot))
        return end_zero(self, block, claim->entry, flags);
    if (has_tails(self) && !claim->has_pages && !claim->spot.is_large)
        tsl_heap_canary_clear(self, block, claim->spot.granted);
    if (TSL_HEAP_SITES)
        tsl_heap_ledger_freed(self, claim->entry);
    if (heap_has_quarantine(self))
        tsl_heap_quarantine_enter(self, block, claim->entry, &claim->spot, flags);
    else
        tsl_heap_let_go(self, block, claim->entry, flags);
    return TSL_OK;
}

static enum tsl_status release(struct tsl_heap *self, void *block, unsigned flags, uintptr_t site)
{
    struct claim claim;

    if (is_plain(self))
        return tsl_heap_core_free(self, block, (flags & TSL_HEAP_NO_WAIT) != 0);
    if (HEAP_HAS_QUARANTINE && (flags & TSL_HEAP_NO_WAIT) == 0)
        tsl_heap_quarantine_resume(self);
    enum tsl_status status = claim_for(self, block, "free", site, &claim);
    return status == TSL_OK ? end_claimed(self, block, &claim, flags) : status;
}

enum tsl_status tsl_heap_guarded_free(struct tsl_heap *self, void *block, unsigned flags,
                                      uintptr_t site)
{
    uint64_t begin = heap_clock(self->guard);
    enum tsl_status status = release(self, block, flags, site);

    if (TSL_HEAP_PROFILE)
        tsl_heap_time(self, self->guard->frees, begin);
    return status;
}

/* ---- Size, resize ---- */

/* What the tail of a block says that locate found. */
static enum heap_tail look(struct tsl_heap *self, const void *block, struct heap_spot *spot,
                           size_t *bytes)
{
    enum heap_tail tail = HEAP_TAIL_FREE;

    if (!spot->is_large)
        return tsl_heap_canary_look(self, block, spot->granted, bytes);
    /* Locked: nobody can claim it and close its pages meanwhile. */
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    if (large_of_all(self, block, spot) != NULL)
        tail = tsl_heap_canary_look(self, block, tsl_heap_room(self, true, spot->granted), bytes);
    tsl_lock_release(&self->lock, pin);
    return tail;
}

/* Whether a block is live and sound, and what was asked for it. Nothing is reported. */
static bool is_live(struct tsl_heap *self, const void *block, size_t *bytes,
                    struct heap_entry *seen)
{
    struct heap_spot spot;

    if (TSL_HEAP_SITES) {
        bool is_listed =
            tsl_heap_ledger_live(self, (uintptr_t)block, seen) == TSL_OK && seen->cache == NULL;
        *bytes = is_listed ? seen->bytes : *bytes;
        return is_listed;
    }
    if (!has_tails(self) || tsl_heap_locate(self, block, &spot) != TSL_OK)
        return false;
    if (is_zero(&spot))
        *bytes = 0;
    return is_zero(&spot) || look(self, block, &spot, bytes) == HEAP_TAIL_LIVE;
}

/* What was asked for a live block; anything else is reported. */
static enum tsl_status size_of(struct tsl_heap *self, const void *block, const char *verb,
                               size_t *out)
{
    struct heap_entry seen;
    struct heap_spot spot = {0};
    enum heap_tail tail = HEAP_TAIL_LIVE;
    enum tsl_status status;

    if (TSL_HEAP_SITES) {
        status = tsl_heap_ledger_live(self, (uintptr_t)block, &seen);
        if (status == TSL_OK && seen.cache != NULL)
            status = TSL_FOREIGN;
        if (status != TSL_OK)
            return refuse_entry(self, status, verb, block, &seen);
        *out = seen.bytes;
        return TSL_OK;
    }
    status = tsl_heap_locate(self, block, &spot);
    *out = spot.granted;
    if (status == TSL_OK && has_tails(self) && !is_zero(&spot))
        tail = look(self, block, &spot, out);
    if (tail == HEAP_TAIL_FREE)
        status = TSL_DOUBLE_FREE;
    if (tail == HEAP_TAIL_BROKEN)
        return refuse_damaged(self, verb, block, tsl_heap_room(self, spot.is_large, spot.granted),
                              NULL);
    return status == TSL_OK ? TSL_OK
                            : tsl_heap_refuse_block(self, status, verb, block, spot.granted);
}

size_t tsl_heap_guarded_size(struct tsl_heap *self, const void *block)
{
    size_t bytes = 0;

    if (is_plain(self))
        return tsl_heap_core_usable(self, block);
    return size_of(self, block, "size", &bytes) == TSL_OK ? bytes : 0;
}

static enum tsl_status plain_free_sized(struct tsl_heap *self, void *block, size_t bytes)
{
    uint64_t begin = heap_clock(self->guard);
    enum tsl_status status = tsl_heap_core_free_sized(self, block, bytes);

    if (TSL_HEAP_PROFILE)
        tsl_heap_time(self, self->guard->frees, begin);
    return status;
}

enum tsl_status tsl_heap_guarded_free_sized(struct tsl_heap *self, void *block, size_t bytes,
                                            uintptr_t site)
{
    struct heap_entry seen;
    size_t asked = bytes;

    if (block == NULL)
        return TSL_OK;
    if (is_plain(self))
        return plain_free_sized(self, block, bytes);
    /* A block that is not live is refused by the free. */
    if (is_live(self, block, &asked, &seen) && asked != bytes)
        return tsl_heap_accuse(self, TSL_WRONG_SIZE, TSL_HEAP_SITES ? &seen : NULL,
                               "free of %p as %zu bytes, it has %zu", block, bytes, asked);
    return tsl_heap_guarded_free(self, block, 0, site);
}

/* A claimed block is a slot of the class that the new size takes too. */
static bool fits_in_place(const struct tsl_heap *self, const void *block, const struct claim *claim,
                          size_t bytes, size_t align)
{
    return has_tails(self) && !TSL_HEAP_SITES &&
           tsl_is_aligned((uintptr_t)block, natural_align(bytes, align)) && !claim->spot.is_large &&
           bytes <= SIZE_MAX - HEAP_TAIL_BYTES && (bytes > 0 || !heap_has_zero(self)) &&
           tsl_heap_class_for(self, bytes + HEAP_TAIL_BYTES, align) == claim->spot.class_index;
}

/* The strictest alignment that a live block may have been asked for with. */
static size_t align_of(const struct tsl_heap *self, const void *block)
{
    struct heap_spot spot;

    if (tsl_heap_locate(self, block, &spot) == TSL_OK)
        return heap_align_kept(block, spot.align_shift);
    return heap_align_kept(block, TSL_PAGE_SHIFT); /* pages of its own */
}

/* There is no memory for another block, and this one only shrinks: it stays where it is. False:
 * too much would stay. */
static bool stays(struct tsl_heap *self, void *block, struct claim *claim, size_t bytes)
{
    if (claim->has_pages)
        return true;
    if (has_tails(self))
        return !claim->spot.is_large ||
               tsl_heap_canary_cut(self, block, &claim->spot.granted, bytes);
    tsl_heap_stay(self, block, bytes);
    return true;
}

/* A block in place of a claimed one. NULL: none; *has_stayed then says that the old one will do. */
static void *instead(struct tsl_heap *self, void *block, struct claim *claim, size_t bytes,
                     size_t align, uintptr_t site, bool *has_stayed)
{
    /* What has pages of its own is known to keep the alignment of a page at most. */
    bool may_stay = bytes <= claim->bytes && tsl_is_aligned((uintptr_t)block, align) &&
                    (!claim->has_pages || align <= TSL_PAGE_BYTES);
    void *fresh = allocate(self, bytes, align, may_stay ? HEAP_NO_RELIEF : 0, site);

    *has_stayed = fresh == NULL && may_stay && stays(self, block, claim, bytes);
    if (fresh == NULL && may_stay && !*has_stayed)
        fresh = allocate(self, bytes, align, 0, site);
    return fresh;
}

static void *resize(struct tsl_heap *self, void *block, size_t bytes, size_t align, uintptr_t site)
{
    struct claim claim;

    if (is_plain(self))
        return tsl_heap_core_realloc(self, align, block, bytes);
    if (claim_for(self, block, "resize", site, &claim) != TSL_OK)
        return NULL;
    size_t kept = align_of(self, block);
    if (kept > align)
        align = kept;
    if (fits_in_place(self, block, &claim, bytes, align)) {
        tsl_heap_promise(self, block, align);
        unclaim(self, block, &claim, bytes);
        return block;
    }
    bool has_stayed;
    void *fresh = instead(self, block, &claim, bytes, align, site, &has_stayed);
    if (has_stayed)
        tsl_heap_promise(self, block, align);
    if (fresh == NULL) {
        unclaim(self, block, &claim, has_stayed ? bytes : claim.bytes);
        return has_stayed ? block : tsl_heap_fail(self, bytes);
    }
    memcpy(fresh, block, bytes < claim.bytes ? bytes : claim.bytes);
    enum tsl_status status = end_claimed(self, block, &claim, 0);
    (void)
        status; /* an object of size 0 may be freed by mistake at this very moment: that is logged */
    return fresh;
}

void *tsl_heap_guarded_realloc(struct tsl_heap *self, void *block, size_t bytes, size_t align,
                               uintptr_t site)
{
    if (block == NULL)
        return tsl_heap_guarded_alloc(self, bytes, align, 0, site);
    uint64_t begin = heap_clock(self->guard);
    void *result = resize(self, block, bytes, align, site);

    if (TSL_HEAP_PROFILE)
        tsl_heap_time(self, self->guard->allocs, begin);
    return result;
}

/* ---- Begin and end ---- */

void tsl_heap_guard_init(struct tsl_heap *self)
{
    struct heap_guard *guard = self->guard;

    memset(guard, 0, sizeof *guard);
    tsl_lock_init(&guard->lock, TSL_RANK_HEAP);
    if (TSL_HEAP_SITES)
        tsl_heap_ledger_init(self);
    guard->tier = (enum tsl_heap_tier)TSL_HEAP_HARDENING;
    guard->secret = (uintptr_t)self * (uintptr_t)0xD6E8FEB86659FD93u;
    guard->is_on = true;
}

void tsl_heap_guard_fini(struct tsl_heap *self)
{
    (void)tsl_heap_end_quarantine(self);
}
