/* SPDX-License-Identifier: MIT
 *
 * test_base_example.c: the example of base's README, word for word, and what it does.
 *
 * Owns:    the suite `base_example`.
 * Needs:   bits.h, status.h.
 * Callers: the test runner, on the host and in kernels.
 */
#include "tap.h"

#include <tesela/bits.h>

static tsl_word shared = 0xFF; /* eight things, all free */
static tsl_word mine;          /* this CPU's copy; pinned while it is used */

static int get(void)
{
    if (mine == 0)
        mine = tsl_bits_claim(&shared);
    return tsl_bits_take(&mine);
}

static enum tsl_status put_from_elsewhere(struct tsl_refusals *refusals, unsigned thing)
{
    if (tsl_bits_give(&shared, (tsl_word)1 << thing) != 0)
        return tsl_refuse(refusals, TSL_DOUBLE_FREE, "example: thing %u is free", thing);
    return TSL_OK;
}

static void hands_out_eight_things(void)
{
    struct tsl_refusals refusals = {{0}};
    for (int i = 0; i < 8; i++)
        CHECK_EQ(get(), i);
    CHECK_EQ(get(), -1);
    CHECK_STATUS(put_from_elsewhere(&refusals, 5), TSL_OK);
    CHECK_STATUS(put_from_elsewhere(&refusals, 5), TSL_DOUBLE_FREE);
    CHECK_EQ(tsl_refusals_total(&refusals), 1);
    CHECK_EQ(get(), 5);
    CHECK_EQ(get(), -1);
}

TAP_SUITE(base_example, TAP_TEST(hands_out_eight_things));
