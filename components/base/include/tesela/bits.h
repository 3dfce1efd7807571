/* SPDX-License-Identifier: MIT
 *
 * bits.h: the claimed bit word, and runs of bits in arrays of words. 1 = free.
 *
 * Owns:    the operations on "n equal things, some taken": frames, heap slots, pool slots, swap
 *          slots.
 * Needs:   atomic.h. No run-time library of the compiler (so no popcount builtin).
 * Callers: every allocator. Hot: all that works on one word is inline.
 *
 * A shared word holds the free bits that nobody has claimed. A CPU *claims* the word by exchanging
 * it with 0 and then takes bits from its own copy, without atomics, while it is pinned. The
 * claimant frees into its copy, everybody else into the shared word (give), and the claimant merges
 * these in when its copy is empty. A bit is in at most one of the two: seen in either by a free, it
 * is a double free.
 */
#ifndef TESELA_BITS_H
#define TESELA_BITS_H

#include <tesela/atomic.h>
#include <tesela/compiler.h>
#include <tesela/types.h>

/* No place found, by functions that return an index in an array of words. */
#define TSL_BITS_NONE SIZE_MAX

/* Entry log2(a) has the bits whose index is a multiple of a, for a = 1 .. TSL_WORD_BITS. */
extern const tsl_word tsl_bits_places[7];

/* ---- One word: values. Before: count is 1 .. TSL_WORD_BITS, first + count <= TSL_WORD_BITS. ----
 */

/* `count` ones from index `first` on. */
static inline tsl_word tsl_bits_mask(unsigned first, unsigned count)
{
    return (~(tsl_word)0 >> (TSL_WORD_BITS - count)) << first;
}

/* The number of ones. */
static inline unsigned tsl_bits_count(tsl_word word)
{
    const tsl_word ones = ~(tsl_word)0;
    word -= (word >> 1) & (ones / 3);
    word = (word & (ones / 5)) + ((word >> 2) & (ones / 5));
    word = (word + (word >> 4)) & (ones / 17);
    return (unsigned)((word * (ones / 255)) >> (TSL_WORD_BITS - 8));
}

/* The index of the lowest or highest one. Before: word is not 0. */
static inline unsigned tsl_bits_lowest(tsl_word word)
{
    return (unsigned)__builtin_ctzl(word);
}

static inline unsigned tsl_bits_highest(tsl_word word)
{
    return TSL_WORD_BITS - 1 - (unsigned)__builtin_clzl(word);
}

/* The indexes at which `count` ones in a row start, as a word. Cost: O(log count) shifts. */
static inline tsl_word tsl_bits_run_starts(tsl_word word, unsigned count)
{
    unsigned have = 1;
    while (have < count && word != 0) {
        unsigned step = count - have < have ? count - have : have;
        word &= word >> step;
        have += step;
    }
    return word;
}

/* The lowest index, a multiple of `align`, at which `count` ones in a row start; -1 if there is
 * none. Before: align is a power of two, 1 .. TSL_WORD_BITS. */
static inline int tsl_bits_find_run(tsl_word word, unsigned count, unsigned align)
{
    word = tsl_bits_run_starts(word, count) & tsl_bits_places[__builtin_ctz(align)];
    return word == 0 ? -1 : (int)tsl_bits_lowest(word);
}

/* ---- One word: claimed. `copy` is the claimant's own; `shared` is everybody's. ---- */

/* Claims: returns what was free, which is now the caller's alone. */
static inline tsl_word tsl_bits_claim(tsl_word *shared)
{
    return tsl_atomic_exchange(shared, 0);
}

/* Takes the lowest bit out of the copy: its index, -1 if the copy is empty. */
static inline int tsl_bits_take(tsl_word *copy)
{
    if (*copy == 0)
        return -1;
    int index = (int)tsl_bits_lowest(*copy);
    *copy &= *copy - 1;
    return index;
}

/* Takes the lowest aligned run out of the copy: the index of its first bit, -1 if there is none.
 * Before: as tsl_bits_find_run. */
static inline int tsl_bits_take_run(tsl_word *copy, unsigned count, unsigned align)
{
    int index = tsl_bits_find_run(*copy, count, align);
    if (index >= 0)
        *copy &= ~tsl_bits_mask((unsigned)index, count);
    return index;
}

/* Frees the bits of `mask` into the shared word. Returns those that were free there already: double
 * frees, which left no trace; the others of the mask are free now. */
static inline tsl_word tsl_bits_give(tsl_word *shared, tsl_word mask)
{
    return tsl_atomic_or(shared, mask) & mask;
}

/* Frees the bits of `mask` into the claimant's copy. Same result as give. */
static inline tsl_word tsl_bits_give_own(tsl_word *copy, tsl_word mask)
{
    tsl_word twice = *copy & mask;
    *copy |= mask;
    return twice;
}

/* Moves what others freed meanwhile from the shared word into the copy. Returns bits that were in
 * both: they have been freed twice. */
static inline tsl_word tsl_bits_merge(tsl_word *copy, tsl_word *shared)
{
    /* Look first: an exchange that finds nothing costs the cache line of all others. */
    if (tsl_atomic_load(shared) == 0)
        return 0;
    tsl_word freed = tsl_atomic_exchange(shared, 0);
    tsl_word twice = *copy & freed;
    *copy |= freed;
    return twice;
}

/* Ends a claim: gives the whole copy back. Same result as give. */
static inline tsl_word tsl_bits_unclaim(tsl_word *copy, tsl_word *shared)
{
    tsl_word rest = *copy;
    *copy = 0;
    return rest == 0 ? 0 : tsl_bits_give(shared, rest);
}

/* ---- Arrays of words; index 0 is the lowest bit of words[0]. Not atomic: under the caller's lock.
 * ---- count may be 0: all_set and all_clear are then true. Cost: O(words touched). */

static inline bool tsl_bits_test(const tsl_word *words, size_t index)
{
    return (words[index / TSL_WORD_BITS] >> (index % TSL_WORD_BITS)) & 1;
}

bool tsl_bits_all_set(const tsl_word *words, size_t first, size_t count);
bool tsl_bits_all_clear(const tsl_word *words, size_t first, size_t count);
void tsl_bits_set_range(tsl_word *words, size_t first, size_t count);
void tsl_bits_clear_range(tsl_word *words, size_t first, size_t count);

/* The number of ones in a range. */
size_t tsl_bits_count_range(const tsl_word *words, size_t first, size_t count);

/* The lowest index >= from and < nbits that is 1 (or 0), TSL_BITS_NONE if there is none. Bits of
 * the last word from nbits on are never looked at. */
size_t tsl_bits_find_set(const tsl_word *words, size_t nbits, size_t from);
size_t tsl_bits_find_clear(const tsl_word *words, size_t nbits, size_t from);

/* The lowest index >= from, a multiple of `align` (any number but 0), from which `count` >= 1 ones
 * in a row lie below nbits; TSL_BITS_NONE if there is none. Jumps over what cannot be part of a
 * run. */
size_t tsl_bits_find_set_run(const tsl_word *words, size_t nbits, size_t from, size_t count,
                             size_t align);

_Static_assert(sizeof(tsl_word) == 4 || sizeof(tsl_word) == 8, "words of 32 or 64 bits");

#endif
