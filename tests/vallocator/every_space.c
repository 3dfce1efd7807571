/* SPDX-License-Identifier: MIT
 *
 * every_space.c: all states of eight pages that a few operations can lead to.
 *
 * Owns:    suite every_space.
 * Needs:   naive_space.h.
 * Callers: the host test runner.
 *
 * A state is copied, one operation is done to the copy, the copy is compared with the model, and if
 * its state is new it is copied in turn: so each step also begins with pages that are shared. Depth
 * 3 in a quick run, 4 in a long one.
 */
#include "naive_space.h"

#include <string.h>

enum { RW = TSL_READ | TSL_WRITE, UNIVERSE = 8, DEEPEST = 4, SEEN = 1 << 18 };

static const struct {
    size_t first, end;
} ranges[] = {{0, 8}, {0, 4}, {4, 8}, {2, 6}, {1, 2}, {3, 4}, {5, 7}, {7, 8}};

static const struct {
    size_t first, end, pages;
    unsigned flags;
    size_t to;
} remaps[] = {{0, 2, 2, TSL_SPACE_FIXED, 5},
              {0, 4, 4, TSL_SPACE_FIXED, 4},
              {5, 7, 3, TSL_SPACE_FIXED, 1},
              {0, 4, 6, TSL_SPACE_MAY_MOVE, 0},
              {3, 4, 3, 0, 0},
              {0, 8, 3, 0, 0},
              {2, 6, 2, TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE, 6}};

/* Numbers of operations of each kind. */
enum {
    RANGES = TSL_COUNT_OF(ranges),
    MAPS = 3 * RANGES,
    PROTECTS = 2 * RANGES,
    FORGETS = 4,
    REMAPS = TSL_COUNT_OF(remaps),
    STORES = 3,
    OPERATIONS = MAPS + RANGES + PROTECTS + FORGETS + REMAPS + STORES
};

static uint64_t seen[SEEN]; /* an open hash table; 0: free */
static size_t seen_count;

/* Whether the state was new at this depth. */
static bool note(uint64_t state, unsigned depth)
{
    uint64_t key = (state + depth) | 1u;
    size_t at = (size_t)(key >> 17) % SEEN;
    while (seen[at] != 0 && seen[at] != key)
        at = (at + 1) % SEEN;
    if (seen[at] == key)
        return false;
    seen[at] = key;
    seen_count++;
    CHECK(seen_count < SEEN - SEEN / 4);
    return true;
}

static void map(unsigned which, unsigned kind, unsigned range)
{
    struct tsl_map_request request = {.rights = kind == 0 ? TSL_READ : RW};
    if (kind == 2)
        request.object = naive.object[0]; /* private: nobody writes to the object */
    naive_map(which, ranges[range].first, ranges[range].end, &request);
}

static void perform(unsigned which, unsigned number)
{
    unsigned range = number % RANGES;
    if (number < MAPS) {
        map(which, number / RANGES, range);
        return;
    }
    number -= MAPS;
    if (number < RANGES) {
        naive_unmap(which, ranges[range].first, ranges[range].end);
        return;
    }
    number -= RANGES;
    if (number < PROTECTS) {
        naive_protect(which, ranges[range].first, ranges[range].end,
                      number < RANGES ? TSL_READ : RW);
        return;
    }
    number -= PROTECTS;
    if (number < FORGETS) {
        naive_advise(which, ranges[number].first, ranges[number].end, TSL_ADVISE_DONT_NEED);
        return;
    }
    number -= FORGETS;
    if (number < REMAPS)
        naive_remap(which, remaps[number].first, remaps[number].end, remaps[number].pages,
                    remaps[number].flags, remaps[number].to);
    else
        naive_store(number % WORLD_CPUS, which, 3 * (number - REMAPS), 1);
}

static bool contents_agree(unsigned which)
{
    for (size_t page = 0; page < UNIVERSE; page++)
        naive_load(which % WORLD_CPUS, which, page);
    return naive_agrees(which);
}

static void all_states_agree(void)
{
    const unsigned depth = tap_scale > 1 ? DEEPEST : DEEPEST - 1;
    unsigned next[DEEPEST + 1] = {0}, level = 0;
    unsigned long steps = 0;
    bool same = true;
    memset(seen, 0, sizeof(seen));
    seen_count = 0;
    naive_start(1, 0, NULL);
    while (same) {
        if (next[level] == OPERATIONS) {
            if (level == 0)
                break;
            level--;
            continue;
        }
        naive_copy(level, level + 1);
        perform(level + 1, next[level]++);
        same = contents_agree(level + 1);
        if (++steps % 64 == 0)
            world_check_maps(naive.space, NAIVE_SPACES);
        if (level + 1 < depth && note(naive_hash(level + 1, UNIVERSE), level))
            next[++level] = 0;
    }
    tap_note("%lu steps from %zu states", steps, seen_count + 1);
    naive_stop();
}

TAP_SUITE(every_space, TAP_TEST(all_states_agree));
