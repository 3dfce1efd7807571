/* SPDX-License-Identifier: MIT
 *
 * bits.c: runs of bits in arrays of words.
 *
 * Owns:    nothing; works on the caller's words.
 * Needs:   bits.h.
 * Callers: allocators, under their own locks.
 */
#include <tesela/bits.h>

#define PLACES(align) (~(tsl_word)0 / (tsl_word)((UINT64_C(1) << (align)) - 1))

/* The last entry is for 64-bit words only; there PLACES would shift too far. */
const tsl_word tsl_bits_places[7] = {
    PLACES(1), PLACES(2), PLACES(4), PLACES(8), PLACES(16), PLACES(32), 1,
};

/* One step of a walk over a range: the part of it that lies in one word. */
struct piece {
    size_t word;
    tsl_word mask;
    size_t bits;
};

static struct piece first_piece(size_t first, size_t count)
{
    unsigned offset = (unsigned)(first % TSL_WORD_BITS);
    unsigned room = TSL_WORD_BITS - offset;
    unsigned bits = count < room ? (unsigned)count : room;
    return (struct piece){first / TSL_WORD_BITS, tsl_bits_mask(offset, bits), bits};
}

bool tsl_bits_all_set(const tsl_word *words, size_t first, size_t count)
{
    while (count > 0) {
        struct piece piece = first_piece(first, count);
        if ((words[piece.word] & piece.mask) != piece.mask)
            return false;
        first += piece.bits;
        count -= piece.bits;
    }
    return true;
}

bool tsl_bits_all_clear(const tsl_word *words, size_t first, size_t count)
{
    while (count > 0) {
        struct piece piece = first_piece(first, count);
        if ((words[piece.word] & piece.mask) != 0)
            return false;
        first += piece.bits;
        count -= piece.bits;
    }
    return true;
}

void tsl_bits_set_range(tsl_word *words, size_t first, size_t count)
{
    while (count > 0) {
        struct piece piece = first_piece(first, count);
        words[piece.word] |= piece.mask;
        first += piece.bits;
        count -= piece.bits;
    }
}

void tsl_bits_clear_range(tsl_word *words, size_t first, size_t count)
{
    while (count > 0) {
        struct piece piece = first_piece(first, count);
        words[piece.word] &= ~piece.mask;
        first += piece.bits;
        count -= piece.bits;
    }
}

size_t tsl_bits_count_range(const tsl_word *words, size_t first, size_t count)
{
    size_t ones = 0;
    while (count > 0) {
        struct piece piece = first_piece(first, count);
        ones += tsl_bits_count(words[piece.word] & piece.mask);
        first += piece.bits;
        count -= piece.bits;
    }
    return ones;
}

/* Finds a one in the words, each turned over by `flip` before. */
static size_t find(const tsl_word *words, size_t nbits, size_t from, tsl_word flip)
{
    while (from < nbits) {
        struct piece piece = first_piece(from, nbits - from);
        tsl_word word = (words[piece.word] ^ flip) & piece.mask;
        if (word != 0)
            return piece.word * TSL_WORD_BITS + tsl_bits_lowest(word);
        from += piece.bits;
    }
    return TSL_BITS_NONE;
}

size_t tsl_bits_find_set(const tsl_word *words, size_t nbits, size_t from)
{
    return find(words, nbits, from, 0);
}

size_t tsl_bits_find_clear(const tsl_word *words, size_t nbits, size_t from)
{
    return find(words, nbits, from, ~(tsl_word)0);
}

size_t tsl_bits_find_set_run(const tsl_word *words, size_t nbits, size_t from, size_t count,
                             size_t align)
{
    for (;;) {
        size_t start = find(words, nbits, from, 0);
        if (start == TSL_BITS_NONE)
            return TSL_BITS_NONE;
        size_t excess = start % align;
        if (excess != 0) {
            if (align - excess > nbits - start)
                return TSL_BITS_NONE;
            start += align - excess;
        }
        if (count > nbits - start)
            return TSL_BITS_NONE;
        size_t hole = find(words, start + count, start, ~(tsl_word)0);
        if (hole == TSL_BITS_NONE)
            return start;
        from = hole + 1;
    }
}
