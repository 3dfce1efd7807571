/* SPDX-License-Identifier: MIT
 *
 * test_bits.c: one word, then arrays of words against an array of bools.
 *
 * Owns:    the suite `bits`.
 * Needs:   bits.h.
 * Callers: the test runner, on the host and in kernels.
 */
#include "rng.h"
#include "tap.h"

#include <tesela/bits.h>

#define NBITS (5 * sizeof(tsl_word) * CHAR_BIT - 7) /* the last word is not full */
#define WORDS 5

static bool bit(tsl_word word, unsigned index)
{
    return (word >> index) & 1;
}

/* A word in which runs of all lengths turn up. */
static tsl_word clustered(struct rng *rng)
{
    tsl_word word = rng_word(rng);
    for (uint32_t i = rng_below(rng, 4); i > 0; i--) {
        word |= word << 1;
        word &= rng_once_in(rng, 3) ? rng_word(rng) : ~(tsl_word)0;
    }
    return word;
}

static void masks(void)
{
    for (unsigned first = 0; first < TSL_WORD_BITS; first++) {
        for (unsigned count = 1; first + count <= TSL_WORD_BITS; count++) {
            tsl_word mask = tsl_bits_mask(first, count);
            bool right = true;
            for (unsigned i = 0; i < TSL_WORD_BITS; i++)
                right = right && bit(mask, i) == (i >= first && i < first + count);
            CHECK(right);
        }
    }
}

static void counts_and_ends(void)
{
    struct rng rng = rng_start(1);
    CHECK_EQ(tsl_bits_count(0), 0);
    CHECK_EQ(tsl_bits_count(~(tsl_word)0), TSL_WORD_BITS);
    for (unsigned round = 0; round < tap_rounds(2000); round++) {
        tsl_word word = clustered(&rng) | (tsl_word)1 << rng_below(&rng, TSL_WORD_BITS);
        unsigned count = 0;
        unsigned lowest = TSL_WORD_BITS;
        unsigned highest = 0;
        for (unsigned i = 0; i < TSL_WORD_BITS; i++) {
            if (bit(word, i)) {
                count++;
                lowest = lowest == TSL_WORD_BITS ? i : lowest;
                highest = i;
            }
        }
        CHECK_EQ(tsl_bits_count(word), count);
        CHECK_EQ(tsl_bits_lowest(word), lowest);
        CHECK_EQ(tsl_bits_highest(word), highest);
    }
}

static int slow_find_run(tsl_word word, unsigned count, unsigned align)
{
    for (unsigned at = 0; at + count <= TSL_WORD_BITS; at += align)
        if ((word & tsl_bits_mask(at, count)) == tsl_bits_mask(at, count))
            return (int)at;
    return -1;
}

static void finds_runs_in_a_word(void)
{
    struct rng rng = rng_start(2);
    for (unsigned round = 0; round < tap_rounds(300); round++) {
        tsl_word word = clustered(&rng);
        for (unsigned count = 1; count <= TSL_WORD_BITS; count++)
            for (unsigned align = 1; align <= TSL_WORD_BITS; align *= 2)
                CHECK_EQ(tsl_bits_find_run(word, count, align), slow_find_run(word, count, align));
    }
    CHECK_EQ(tsl_bits_find_run(~(tsl_word)0, TSL_WORD_BITS, TSL_WORD_BITS), 0);
    CHECK_EQ(tsl_bits_find_run(~(tsl_word)1, TSL_WORD_BITS, 1), -1);
}

static void takes_lowest_first(void)
{
    tsl_word copy = (tsl_word)0x94;
    CHECK_EQ(tsl_bits_take(&copy), 2);
    CHECK_EQ(tsl_bits_take(&copy), 4);
    CHECK_EQ(tsl_bits_take(&copy), 7);
    CHECK_EQ(copy, 0);
    CHECK_EQ(tsl_bits_take(&copy), -1);
    CHECK_EQ(copy, 0);
}

static void takes_runs(void)
{
    tsl_word copy = (tsl_word)0xF6; /* 1111 0110 */
    CHECK_EQ(tsl_bits_take_run(&copy, 2, 2), 4);
    CHECK_EQ(copy, 0xC6);
    CHECK_EQ(tsl_bits_take_run(&copy, 2, 1), 1);
    CHECK_EQ(copy, 0xC0);
    CHECK_EQ(tsl_bits_take_run(&copy, 3, 1), -1);
    CHECK_EQ(copy, 0xC0);
}

static void claims_and_gives(void)
{
    tsl_word shared = 0xF0;
    tsl_word copy = tsl_bits_claim(&shared);
    CHECK_EQ(copy, 0xF0);
    CHECK_EQ(shared, 0);
    CHECK_EQ(tsl_bits_claim(&shared), 0);
    CHECK_EQ(tsl_bits_take(&copy), 4);
    CHECK_EQ(tsl_bits_give(&shared, 0x10), 0);
    CHECK_EQ(shared, 0x10);
    CHECK_EQ(tsl_bits_merge(&copy, &shared), 0);
    CHECK_EQ(copy, 0xF0);
    CHECK_EQ(shared, 0);
    CHECK_EQ(tsl_bits_unclaim(&copy, &shared), 0);
    CHECK_EQ(copy, 0);
    CHECK_EQ(shared, 0xF0);
}

static void tells_double_frees(void)
{
    tsl_word shared = 0x30;
    CHECK_EQ(tsl_bits_give(&shared, 0x18), 0x10);
    CHECK_EQ(shared, 0x38);
    tsl_word copy = 0x02;
    CHECK_EQ(tsl_bits_give_own(&copy, 0x03), 0x02);
    CHECK_EQ(copy, 0x03);
    copy = 0x28;
    CHECK_EQ(tsl_bits_merge(&copy, &shared), 0x28);
    CHECK_EQ(copy, 0x38);
    shared = 0x08;
    CHECK_EQ(tsl_bits_unclaim(&copy, &shared), 0x08);
    CHECK_EQ(shared, 0x38);
}

/* ---- Arrays ---- */

static struct {
    tsl_word words[WORDS];
    bool model[WORDS * sizeof(tsl_word) * CHAR_BIT];
} array;

static void fill_array(struct rng *rng)
{
    tsl_word flip = rng_once_in(rng, 2) ? ~(tsl_word)0 : 0;
    for (unsigned i = 0; i < WORDS; i++)
        array.words[i] = rng_once_in(rng, 3) ? flip : clustered(rng);
    for (size_t i = 0; i < TSL_COUNT_OF(array.model); i++)
        array.model[i] = bit(array.words[i / TSL_WORD_BITS], (unsigned)(i % TSL_WORD_BITS));
}

static size_t model_ones(size_t first, size_t count)
{
    size_t ones = 0;
    for (size_t i = first; i < first + count; i++)
        ones += array.model[i];
    return ones;
}

static bool array_is_model(void)
{
    for (size_t i = 0; i < TSL_COUNT_OF(array.model); i++)
        if (tsl_bits_test(array.words, i) != array.model[i])
            return false;
    return true;
}

static void ranges(void)
{
    struct rng rng = rng_start(3);
    for (unsigned round = 0; round < tap_rounds(3000); round++) {
        fill_array(&rng);
        size_t first = rng_below(&rng, (uint32_t)NBITS);
        size_t count = rng_below(&rng, (uint32_t)(NBITS - first) + 1);
        size_t ones = model_ones(first, count);
        CHECK_EQ(tsl_bits_count_range(array.words, first, count), ones);
        CHECK_EQ(tsl_bits_all_set(array.words, first, count), ones == count);
        CHECK_EQ(tsl_bits_all_clear(array.words, first, count), ones == 0);
        bool value = rng_once_in(&rng, 2);
        for (size_t i = first; i < first + count; i++)
            array.model[i] = value;
        (value ? tsl_bits_set_range : tsl_bits_clear_range)(array.words, first, count);
        CHECK(array_is_model());
        CHECK_EQ(tsl_bits_all_set(array.words, first, count), value || count == 0);
        CHECK_EQ(tsl_bits_all_clear(array.words, first, count), !value || count == 0);
    }
}

static size_t slow_find(size_t from, bool value)
{
    for (size_t i = from; i < NBITS; i++)
        if (array.model[i] == value)
            return i;
    return TSL_BITS_NONE;
}

static void finds_ones_and_zeros(void)
{
    struct rng rng = rng_start(4);
    for (unsigned round = 0; round < tap_rounds(3000); round++) {
        fill_array(&rng);
        size_t from = rng_below(&rng, (uint32_t)NBITS + 3);
        CHECK_EQ(tsl_bits_find_set(array.words, NBITS, from), slow_find(from, true));
        CHECK_EQ(tsl_bits_find_clear(array.words, NBITS, from), slow_find(from, false));
    }
}

static size_t slow_find_set_run(size_t from, size_t count, size_t align)
{
    for (size_t at = from; at + count <= NBITS; at++)
        if (at % align == 0 && model_ones(at, count) == count)
            return at;
    return TSL_BITS_NONE;
}

static void finds_runs_over_words(void)
{
    struct rng rng = rng_start(5);
    for (unsigned round = 0; round < tap_rounds(3000); round++) {
        fill_array(&rng);
        size_t from = rng_below(&rng, (uint32_t)NBITS);
        size_t count = 1 + rng_below(&rng, rng_once_in(&rng, 2) ? 8 : (uint32_t)NBITS);
        size_t align = 1 + rng_below(&rng, 9);
        CHECK_EQ(tsl_bits_find_set_run(array.words, NBITS, from, count, align),
                 slow_find_set_run(from, count, align));
    }
}

TAP_SUITE(bits, TAP_TEST(masks), TAP_TEST(counts_and_ends), TAP_TEST(finds_runs_in_a_word),
          TAP_TEST(takes_lowest_first), TAP_TEST(takes_runs), TAP_TEST(claims_and_gives),
          TAP_TEST(tells_double_frees), TAP_TEST(ranges), TAP_TEST(finds_ones_and_zeros),
          TAP_TEST(finds_runs_over_words));
