/* SPDX-License-Identifier: MIT
 *
 * frames_tree.c: sets of areas that are searched in a few steps, however many areas there are.
 *
 * Owns:    struct area_tree after its storage has been laid out.
 * Needs:   base (atomics, bits).
 * Callers: frames_area.c, frames_alloc.c, frames_range.c.
 *
 * No locks. Adding sets the bit first and then looks at the level above; removing clears the level
 * above first and then looks at the bits below again. Each change is a full barrier, so of two that
 * meet at least one sees the other, and a level above is never left at 0 over a word that is not.
 */
#include "../physical_allocator_internal.h"

/* Sets a bit of the level that begins at `level` and has so many bits, and what is above. */
static void add_from(tsl_word *level, tsl_word bits, tsl_word position)
{
    for (;;) {
        tsl_word *word = &level[position / TSL_WORD_BITS];
        tsl_word bit = (tsl_word)1 << (position % TSL_WORD_BITS);
        if ((tsl_atomic_load(word) & bit) != 0)
            return;
        word_or(word, bit);
        if (bits <= TSL_WORD_BITS)
            return;
        bits = tree_words(bits);
        level += bits;
        position /= TSL_WORD_BITS;
    }
}

void tsl_frames_tree_add(struct area_tree *tree, tsl_word area)
{
    add_from(tree->words, tree->areas, area);
}

void tsl_frames_tree_remove(struct area_tree *tree, tsl_word area)
{
    tsl_word *level = tree->words;
    tsl_word bits = tree->areas;
    const tsl_word *below = NULL;
    for (tsl_word position = area;; position /= TSL_WORD_BITS) {
        tsl_word *word = &level[position / TSL_WORD_BITS];
        word_and(word, ~((tsl_word)1 << (position % TSL_WORD_BITS)));
        if (below != NULL && tsl_atomic_load(below) != 0) {
            /* Somebody may have added below after we saw the word at 0. */
            add_from(level, bits, position);
            return;
        }
        if (tsl_atomic_load(word) != 0 || bits <= TSL_WORD_BITS)
            return;
        below = word;
        bits = tree_words(bits);
        level += bits;
    }
}

/* The lowest 1 of a level at or after `position`, FRAMES_NONE if its word has none. */
static tsl_word find_in_word(const tsl_word *level, tsl_word position)
{
    tsl_word word = tsl_atomic_load(&level[position / TSL_WORD_BITS]);
    word &= WORD_FULL << (position % TSL_WORD_BITS);
    if (word == 0)
        return FRAMES_NONE;
    return position - position % TSL_WORD_BITS + tsl_bits_lowest(word);
}

/* The bits of a level: so many times a bit stands for TSL_WORD_BITS of the one below. */
static tsl_word level_bits(const struct area_tree *tree, unsigned depth)
{
    tsl_word bits = tree->areas;
    for (; depth > 0; depth--)
        bits = tree_words(bits);
    return bits;
}

tsl_word tsl_frames_tree_find(const struct area_tree *tree, tsl_word from, tsl_word end)
{
    const tsl_word *level = tree->words;
    tsl_word bits = tree->areas;
    unsigned depth = 0;
    tsl_word position = from;
    while (position < bits) {
        tsl_word found = find_in_word(level, position);
        if (found == FRAMES_NONE) {
            if (bits <= TSL_WORD_BITS)
                return FRAMES_NONE;
            position = position / TSL_WORD_BITS + 1;
            bits = tree_words(bits);
            level += bits;
            depth++;
        } else if (depth == 0) {
            return found < end ? found : FRAMES_NONE;
        } else {
            /* One step down; a word that became 0 meanwhile only costs another turn. */
            depth--;
            level -= bits;
            bits = level_bits(tree, depth);
            position = found * TSL_WORD_BITS;
        }
    }
    return FRAMES_NONE;
}
