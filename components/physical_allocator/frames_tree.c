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
#include "physical_allocator_internal.h"

static void add_from(struct area_tree *tree, unsigned level, tsl_word position)
{
    for (; level < tree->levels; level++) {
        tsl_word *word = &tree->level[level][position / TSL_WORD_BITS];
        tsl_word bit = (tsl_word)1 << (position % TSL_WORD_BITS);
        if ((tsl_atomic_load(word) & bit) != 0)
            return;
        word_or(word, bit);
        position /= TSL_WORD_BITS;
    }
}

void tsl_frames_tree_add(struct area_tree *tree, tsl_word area)
{
    add_from(tree, 0, area);
}

void tsl_frames_tree_remove(struct area_tree *tree, tsl_word area)
{
    tsl_word position = area;
    for (unsigned level = 0; level < tree->levels; level++) {
        tsl_word *word = &tree->level[level][position / TSL_WORD_BITS];
        word_and(word, ~((tsl_word)1 << (position % TSL_WORD_BITS)));
        if (level > 0) {
            /* Somebody may have added below after we saw the word at 0. */
            if (tsl_atomic_load(&tree->level[level - 1][position]) != 0) {
                add_from(tree, level, position);
                return;
            }
        }
        if (tsl_atomic_load(word) != 0)
            return;
        position /= TSL_WORD_BITS;
    }
}

/* The lowest 1 of a level at or after `position`, FRAMES_NONE if its word has none. */
static tsl_word find_in_word(const struct area_tree *tree, unsigned level, tsl_word position)
{
    tsl_word word = tsl_atomic_load(&tree->level[level][position / TSL_WORD_BITS]);
    word &= WORD_FULL << (position % TSL_WORD_BITS);
    if (word == 0)
        return FRAMES_NONE;
    return position - position % TSL_WORD_BITS + tsl_bits_lowest(word);
}

tsl_word tsl_frames_tree_find(const struct area_tree *tree, tsl_word from, tsl_word end)
{
    unsigned level = 0;
    tsl_word position = from;
    while (position < tree->bits[level]) {
        tsl_word found = find_in_word(tree, level, position);
        if (found == FRAMES_NONE) {
            if (level + 1 == tree->levels)
                return FRAMES_NONE;
            position = position / TSL_WORD_BITS + 1;
            level++;
        } else if (level == 0) {
            return found < end ? found : FRAMES_NONE;
        } else {
            /* One step down; a word that became 0 meanwhile only costs another turn. */
            level--;
            position = found * TSL_WORD_BITS;
        }
    }
    return FRAMES_NONE;
}
