/* SPDX-License-Identifier: MIT
 *
 * test_checked.c: checked arithmetic at its edges, in pairs: the last that fits, the first that
 * does not.
 *
 * Owns:    the suite `checked`.
 * Needs:   checked.h, types.h.
 * Callers: the test runner, on the host and in kernels.
 */
#include "rng.h"
#include "tap.h"

#include <tesela/checked.h>

#define UNTOUCHED 77

static void adds(void)
{
    size_t out = UNTOUCHED;
    CHECK(tsl_checked_add(SIZE_MAX - 1, 1, &out));
    CHECK_EQ(out, SIZE_MAX);
    out = UNTOUCHED;
    CHECK(!tsl_checked_add(SIZE_MAX, 1, &out));
    CHECK(!tsl_checked_add(1, SIZE_MAX, &out));
    CHECK(!tsl_checked_add(SIZE_MAX, SIZE_MAX, &out));
    CHECK_EQ(out, UNTOUCHED);
    CHECK(tsl_checked_add(SIZE_MAX, 0, &out));
    CHECK_EQ(out, SIZE_MAX);
}

static void multiplies(void)
{
    size_t out = UNTOUCHED;
    size_t half = (size_t)1 << (TSL_WORD_BITS / 2);
    CHECK(!tsl_checked_mul(half, half, &out));
    CHECK(!tsl_checked_mul(SIZE_MAX, 2, &out));
    CHECK_EQ(out, UNTOUCHED);
    CHECK(tsl_checked_mul(half, half - 1, &out));
    CHECK_EQ(out, half * (half - 1));
    CHECK(tsl_checked_mul(half - 1, half + 1, &out));
    CHECK_EQ(out, SIZE_MAX);
    CHECK(tsl_checked_mul(SIZE_MAX, 0, &out));
    CHECK_EQ(out, 0);
}

static void adds_physical_addresses(void)
{
    tsl_paddr out = UNTOUCHED;
    CHECK(!tsl_checked_add_paddr(UINT64_MAX, 1, &out));
    CHECK_EQ(out, UNTOUCHED);
    CHECK(tsl_checked_add_paddr(UINT64_MAX - 1, 1, &out));
    CHECK_EQ(out, UINT64_MAX);
    CHECK(tsl_checked_add_paddr(UINT32_MAX, 1, &out));
    CHECK_EQ(out, UINT64_C(1) << 32);
}

static void last_byte_of_a_range(void)
{
    tsl_vaddr last = UNTOUCHED;
    tsl_paddr last_paddr = UNTOUCHED;
    CHECK(!tsl_checked_last(4096, 0, &last));
    CHECK(!tsl_checked_last(UINTPTR_MAX, 2, &last));
    CHECK(tsl_checked_last(1, SIZE_MAX, &last));
    CHECK_EQ(last, UINTPTR_MAX);
    last = UNTOUCHED;
    CHECK(!tsl_checked_last(2, SIZE_MAX, &last));
    CHECK_EQ(last, UNTOUCHED);
    CHECK(tsl_checked_last(UINTPTR_MAX - 4095, 4096, &last));
    CHECK_EQ(last, UINTPTR_MAX);
    CHECK(tsl_checked_last(0, SIZE_MAX, &last));
    CHECK_EQ(last, UINTPTR_MAX - 1);
    CHECK(!tsl_checked_last_paddr(4096, 0, &last_paddr));
    CHECK(!tsl_checked_last_paddr(UINT64_MAX, 2, &last_paddr));
    CHECK_EQ(last_paddr, UNTOUCHED);
    CHECK(tsl_checked_last_paddr(UINT64_MAX, 1, &last_paddr));
    CHECK_EQ(last_paddr, UINT64_MAX);
}

static void rounds(void)
{
    struct rng rng = rng_start(1);
    for (unsigned round = 0; round < tap_rounds(2000); round++) {
        size_t align = (size_t)1 << rng_below(&rng, 20);
        size_t value = rng_word(&rng) >> 1;
        size_t down = value - value % align;
        size_t up = down == value ? value : down + align;
        CHECK_EQ(tsl_align_down(value, align), down);
        CHECK_EQ(tsl_align_up(value, align), up);
        CHECK_EQ(tsl_align_down_vaddr(value, align), down);
        CHECK_EQ(tsl_align_up_vaddr(value, align), up);
        CHECK_EQ(tsl_is_aligned(value, align), down == value);
        CHECK(tsl_is_aligned(up, align));
        uint64_t wide = (uint64_t)value << 20;
        uint64_t wide_align = (uint64_t)align << 20;
        CHECK_EQ(tsl_align_down_paddr(wide + 1, wide_align), (uint64_t)down << 20);
        CHECK_EQ(tsl_align_up_paddr(wide, wide_align), (uint64_t)up << 20);
        CHECK_EQ(tsl_is_aligned_paddr(wide, wide_align), down == value);
    }
}

static void rounds_up_to_the_top(void)
{
    size_t out = UNTOUCHED;
    tsl_paddr wide = UNTOUCHED;
    CHECK(!tsl_checked_align_up(SIZE_MAX - 4094, 4096, &out));
    CHECK_EQ(out, UNTOUCHED);
    CHECK(tsl_checked_align_up(SIZE_MAX - 4095, 4096, &out));
    CHECK_EQ(out, SIZE_MAX - 4095);
    CHECK(!tsl_checked_align_up_paddr(UINT64_MAX, 2, &wide));
    CHECK_EQ(wide, UNTOUCHED);
    CHECK(tsl_checked_align_up_paddr(UINT32_MAX, 4096, &wide));
    CHECK_EQ(wide, UINT64_C(1) << 32);
}

static void powers_of_two(void)
{
    CHECK(!tsl_is_power_of_two(0));
    for (unsigned i = 0; i < TSL_WORD_BITS; i++) {
        size_t power = (size_t)1 << i;
        CHECK(tsl_is_power_of_two(power));
        CHECK_EQ(tsl_is_power_of_two(power + 1), i == 0);
        CHECK_EQ(tsl_is_power_of_two(power | power >> 1), i == 0);
    }
}

static void pages(void)
{
    CHECK_EQ(tsl_pages_of(0), 0);
    CHECK_EQ(tsl_pages_of(1), 1);
    CHECK_EQ(tsl_pages_of(4096), 1);
    CHECK_EQ(tsl_pages_of(4097), 2);
    CHECK_EQ(tsl_pages_of(SIZE_MAX), SIZE_MAX / 4096 + 1);
}

static void frames(void)
{
    CHECK_EQ(tsl_frame_of(0x12345678).number, 0x12345);
    CHECK_EQ(tsl_frame_address((struct tsl_frame){0x12345}), 0x12345000);
    CHECK_EQ(tsl_frame_address((struct tsl_frame){0x100000}), UINT64_C(1) << 32);
    CHECK(tsl_frame_is_none((struct tsl_frame){0}));
    CHECK(!tsl_frame_is_none((struct tsl_frame){1}));
}

TAP_SUITE(checked, TAP_TEST(adds), TAP_TEST(multiplies), TAP_TEST(adds_physical_addresses),
          TAP_TEST(last_byte_of_a_range), TAP_TEST(rounds), TAP_TEST(rounds_up_to_the_top),
          TAP_TEST(powers_of_two), TAP_TEST(pages), TAP_TEST(frames));
