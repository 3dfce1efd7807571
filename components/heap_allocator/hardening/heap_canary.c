/* SPDX-License-Identifier: MIT
 *
 * heap_canary.c: what surrounds and fills a block of the core: a tail that says how long the block
 * is, a pattern between its end and the tail, zeros while it is free.
 *
 * Owns:    the form of the tail, the seed of the choice of blocks.
 * Needs:   heap_alloc.c.
 * Callers: heap_guard.c, heap_quarantine.c, heap_pages.c (the pattern), heap_class_grow.
 *
 *      | what was asked for | pattern | tail |         live
 *      | 0                                | tail |     free
 *
 * The tail is the last word: a secret of the place, exclusive-or the bytes of pattern, in both
 * halves, and a mark in the upper one: no single bit can be changed to something that is right. A
 * byte written behind the block breaks the pattern or the tail; one written after the free breaks
 * the zeros. Every block of a slab has a tail from the slab's first moment on, so that a broken one
 * always means damage.
 */
#include <string.h>

#include <tesela/atomic.h>

#include "../heap_allocator_internal.h"

#define HALF_BITS (TSL_WORD_BITS / 2)
#define LOW_HALF  (((tsl_word)1 << HALF_BITS) - 1)
#define MARK_LIVE ((tsl_word)0x4C6Bu)
#define MARK_FREE ((tsl_word)0xF4EEu)

uint32_t tsl_heap_noise;

/* Different for each address, and not to be guessed without the secret. */
static tsl_word mask_of(const struct tsl_heap *self, uintptr_t address)
{
    uintptr_t mixed = (address ^ self->guard->secret) * (uintptr_t)0x9E3779B97F4A7C15u;

    return mixed ^ (mixed >> HALF_BITS);
}

static unsigned char pattern_of(const struct tsl_heap *self)
{
    /* Never 0, which is what overflowing texts write. */
    return (unsigned char)((self->guard->secret >> 8) | 0x81);
}

/* The tail of a live block with so many bytes of pattern, but for the mask. */
static tsl_word live_tail(tsl_word spare)
{
    return (MARK_LIVE ^ spare) << HALF_BITS | spare;
}

static tsl_word *tail_of(const void *block, size_t room)
{
    return (tsl_word *)((uintptr_t)block + room - HEAP_TAIL_BYTES);
}

void tsl_heap_fill(const struct tsl_heap *self, uintptr_t start, size_t bytes)
{
    memset((void *)start, pattern_of(self), bytes);
}

/* Eight words: whole blocks are looked at. */
TSL_ALWAYS_INLINE static inline bool all_are(tsl_word word, const tsl_word *at)
{
    tsl_word some = at[0] | at[1] | at[2] | at[3] | at[4] | at[5] | at[6] | at[7];

    return some == word &&
           (word == 0 || (at[0] & at[1] & at[2] & at[3] & at[4] & at[5] & at[6] & at[7]) == word);
}

/* How many bytes in a row are `byte`, which `word` consists of. start: a multiple of a word. */
TSL_ALWAYS_INLINE static inline size_t bytes_that_are(unsigned char byte, tsl_word word,
                                                      const void *start, size_t bytes)
{
    const tsl_word *at = start;
    size_t i = 0, words = bytes / sizeof word;

    while (words - i >= 8 && all_are(word, at + i))
        i += 8;
    while (i < words && at[i] == word)
        i++;
    i *= sizeof word;
    while (i < bytes && ((const unsigned char *)start)[i] == byte)
        i++;
    return i;
}

size_t tsl_heap_filled(const struct tsl_heap *self, uintptr_t start, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)start;
    unsigned char pattern = pattern_of(self);
    size_t i = 0;

    while (i < bytes && (start + i) % sizeof(tsl_word) != 0 && at[i] == pattern)
        i++;
    if ((start + i) % sizeof(tsl_word) != 0)
        return i;
    return i + bytes_that_are(pattern, ~(tsl_word)0 / 0xFF * pattern, at + i, bytes - i);
}

static void seal(struct tsl_heap *self, void *block, size_t room, size_t bytes)
{
    size_t spare = room - HEAP_TAIL_BYTES - bytes;

    tsl_heap_fill(self, (uintptr_t)block + bytes, spare);
    tsl_atomic_store(tail_of(block, room), mask_of(self, (uintptr_t)block) ^ live_tail(spare));
}

enum heap_tail tsl_heap_canary_look(const struct tsl_heap *self, const void *block, size_t room,
                                    size_t *bytes)
{
    tsl_word tail = tsl_atomic_load(tail_of(block, room)) ^ mask_of(self, (uintptr_t)block);
    size_t spare = tail & LOW_HALF;

    if (tail == MARK_FREE << HALF_BITS)
        return HEAP_TAIL_FREE;
    if (tail != live_tail(spare) || spare > room - HEAP_TAIL_BYTES)
        return HEAP_TAIL_BROKEN;
    *bytes = room - HEAP_TAIL_BYTES - spare;
    return tsl_heap_filled(self, (uintptr_t)block + *bytes, spare) == spare ? HEAP_TAIL_LIVE
                                                                            : HEAP_TAIL_BROKEN;
}

bool tsl_heap_canary_end(struct tsl_heap *self, void *block, size_t room, enum heap_tail *found,
                         size_t *bytes)
{
    tsl_word *tail = tail_of(block, room), old = tsl_atomic_load(tail);

    *found = tsl_heap_canary_look(self, block, room, bytes);
    if (*found != HEAP_TAIL_LIVE)
        return false;
    /* Of two CPUs that free the block at once, one succeeds. */
    if (tsl_atomic_compare_exchange(tail, &old,
                                    mask_of(self, (uintptr_t)block) ^ MARK_FREE << HALF_BITS))
        return true;
    *found = HEAP_TAIL_FREE;
    return false;
}

void tsl_heap_canary_clear(struct tsl_heap *self, void *block, size_t room)
{
    (void)self;
    memset(block, 0, room - HEAP_TAIL_BYTES);
}

bool tsl_heap_canary_cut(struct tsl_heap *self, void *block, size_t *granted, size_t bytes)
{
    size_t room = tsl_heap_room(self, true, *granted), guard = *granted - room;
    size_t kept = tsl_pages_of(bytes + HEAP_TAIL_BYTES) << TSL_PAGE_SHIFT;

    /* A page that cannot be closed cannot be what is behind the block: it keeps all of them. */
    if (kept < room && (guard == 0 || tsl_heap_source_protect(self, (char *)block + kept, 1))) {
        tsl_heap_stay(self, block, kept + guard);
        *granted = kept + guard;
        room = kept;
    }
    return room - HEAP_TAIL_BYTES - bytes < TSL_PAGE_BYTES;
}

void tsl_heap_canary_resize(struct tsl_heap *self, void *block, size_t room, size_t bytes)
{
    seal(self, block, room, bytes);
}

bool tsl_heap_canary_is_clean(struct tsl_heap *self, void *block, size_t room)
{
    size_t inside = room - HEAP_TAIL_BYTES, at = bytes_that_are(0, 0, block, inside), bytes;
    enum tsl_status status;

    if (at == inside && tsl_heap_canary_look(self, block, room, &bytes) == HEAP_TAIL_FREE)
        return true;
    /* Found too late to know who: the block stays out of use, as evidence. */
    status = tsl_heap_accuse(self, TSL_CORRUPT, NULL,
                             "free block %p of %zu bytes was written at byte %zu", block, room, at);
    (void)status;
    return false;
}

void tsl_heap_guard_slab(struct tsl_heap *self, uintptr_t start, size_t block_bytes, size_t blocks)
{
    if (self->guard->tier < TSL_HEAP_TIER_MODERATE)
        return;
    memset((void *)start, 0, block_bytes * blocks);
    for (size_t i = 0; i < blocks; i++) {
        uintptr_t block = start + i * block_bytes;
        *tail_of((void *)block, block_bytes) = mask_of(self, block) ^ MARK_FREE << HALF_BITS;
    }
}

bool tsl_heap_has_guard_pages(const struct tsl_heap *self)
{
    return self->guard->tier >= TSL_HEAP_TIER_FULL && self->source.protect != NULL;
}

bool tsl_heap_has_addresses(struct tsl_heap *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    size_t taken = self->taken_pages;

    tsl_lock_release(&self->lock, pin);
    return taken < heap_ceiling_pages(self) - heap_ceiling_pages(self) / 4;
}

size_t tsl_heap_room(const struct tsl_heap *self, bool is_large, size_t granted)
{
    return is_large && tsl_heap_has_guard_pages(self) ? granted - TSL_PAGE_BYTES : granted;
}

/* Whole pages, and one more behind them that takes no access. */
static void *large_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    size_t pages = tsl_pages_of(bytes),
           guard = TSL_PAGE_BYTES - tsl_heap_room(self, true, TSL_PAGE_BYTES);
    char *block;

    if (bytes > SIZE_MAX - 2 * TSL_PAGE_BYTES)
        return NULL;
    block = tsl_heap_allocate_large(self, (pages << TSL_PAGE_SHIFT) + guard, align, flags);
    if (block != NULL && (flags & TSL_HEAP_ZERO) != 0)
        memset(block, 0, pages << TSL_PAGE_SHIFT);
    if (block == NULL || guard == 0)
        return block;
    if (tsl_heap_source_protect(self, block + (pages << TSL_PAGE_SHIFT), 1))
        return block;
    enum tsl_status status = tsl_heap_core_free(self, block, false);
    TSL_ASSERT(status == TSL_OK);
    return NULL;
}

/* A slot that is as it was left; a damaged one stays out of use, for ever. */
static void *slot_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags,
                        size_t *room)
{
    void *block;

    do {
        /* Free ones are zero already. */
        block = tsl_heap_allocate(self, bytes, align, flags & ~(unsigned)TSL_HEAP_ZERO);
        if (block == NULL)
            return NULL;
        /* For want of slabs it may be a greater class's. */
        *room = tsl_heap_granted(self, block);
    } while (!tsl_heap_canary_is_clean(self, block, *room));
    return block;
}

void *tsl_heap_canary_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags)
{
    size_t with_tail, room;
    void *block;

    if (!tsl_checked_add(bytes, HEAP_TAIL_BYTES, &with_tail))
        return NULL;
    if (tsl_heap_class_for(self, with_tail, align) == HEAP_LARGE) {
        block = large_alloc(self, with_tail, align, flags);
        room = tsl_pages_of(with_tail) << TSL_PAGE_SHIFT;
    } else {
        block = slot_alloc(self, with_tail, align, flags, &room);
    }
    if (block != NULL)
        seal(self, block, room, bytes);
    return block;
}
