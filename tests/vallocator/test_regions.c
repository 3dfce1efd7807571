/* SPDX-License-Identifier: MIT
 *
 * test_regions.c: sets of regions against a map with one entry a page.
 *
 * Owns:    suite regions.
 * Needs:   region.h. No machine: regions are plain data.
 * Callers: the host test runner.
 */
#include "tap.h"

#include "rng.h"

#include "spaces/region.h"

enum { FIRST = 16, PAGES = 96, POOL = 128 };

static struct tsl_regions set;
static struct tsl_region pool[POOL];
static bool taken[POOL];

/* The map: what a page shows (0: nothing), and whether some span has it. */
static struct {
    unsigned char shown[FIRST + PAGES + 1];
    unsigned char spanned[FIRST + PAGES + 1];
} map;

static struct tsl_region *take(void)
{
    for (size_t i = 0; i < POOL; i++) {
        if (taken[i])
            continue;
        taken[i] = true;
        pool[i] = (struct tsl_region){.pages = 1};
        return &pool[i];
    }
    return NULL;
}

static void give(struct tsl_region *region)
{
    if (region)
        taken[region - pool] = false;
}

static void start(size_t pages)
{
    for (size_t i = 0; i < POOL; i++)
        taken[i] = false;
    for (size_t i = 0; i < sizeof(map.shown); i++)
        map.shown[i] = map.spanned[i] = 0;
    tsl_regions_init(&set, FIRST, FIRST + pages);
}

static struct tsl_region *prepare(size_t first, size_t pages, size_t below, size_t above)
{
    struct tsl_region *region = take();
    region->start = first;
    region->pages = pages;
    region->guard_below = below;
    region->guard_above = above;
    return region;
}

static struct tsl_region *add(size_t first, size_t pages, size_t below, size_t above, unsigned kind)
{
    struct tsl_region *region = prepare(first, pages, below, above);
    region->rights = kind;
    tsl_regions_insert(&set, region);
    return region;
}

/* Everything that a set answers, against the map. */
static bool agrees(size_t pages)
{
    bool same = tsl_regions_verify(&set).rule == 0;
    for (size_t page = FIRST; page < FIRST + pages; page++) {
        const struct tsl_region *region = tsl_regions_find(&set, page);
        same = same && (region ? region->rights : 0) == map.shown[page];
        const struct tsl_region *from = tsl_regions_from(&set, page);
        size_t next = page;
        while (next < FIRST + pages && map.shown[next] == 0)
            next++;
        same = same &&
               (from ? from->start <= next && tsl_region_end(from) > next : next == FIRST + pages);
        same = same && tsl_regions_is_gap(&set, page, page + 1) == !map.spanned[page];
        same = same && tsl_regions_cover(&set, page, page + 1) == (map.shown[page] != 0);
    }
    return same;
}

/* The lowest place by trying all of them. */
static bool place_slowly(const struct tsl_place *place, size_t pages, size_t *out)
{
    for (size_t at = place->lower; at + place->pages <= place->limit; at++) {
        if (at % place->align || at < FIRST + place->guard_below)
            continue;
        bool is_free = at + place->pages + place->guard_above <= FIRST + pages;
        for (size_t page = at - place->guard_below;
             is_free && page < at + place->pages + place->guard_above; page++)
            is_free = !map.spanned[page];
        if (!is_free)
            continue;
        *out = at;
        return true;
    }
    return false;
}

static void mark(const struct tsl_region *region, bool there)
{
    for (size_t page = tsl_region_span_start(region); page < tsl_region_span_end(region); page++)
        map.spanned[page] = there;
    for (size_t page = region->start; page < tsl_region_end(region); page++)
        map.shown[page] = there ? (unsigned char)region->rights : 0;
}

static struct tsl_region *any(struct rng *rng)
{
    struct tsl_region *region = tsl_regions_from(&set, FIRST + rng_below(rng, PAGES));
    return region ? region : tsl_region_of(tsl_tree_first(&set.tree));
}

/* As a region of its own or, if `grows` and there is such a neighbour, as more of that one. */
static void put(const struct tsl_place *place, size_t start, unsigned kind, bool grows)
{
    struct tsl_region *region = prepare(start, place->pages, place->guard_below, place->guard_above);
    region->rights = kind;
    region->is_touched = start % 2;
    mark(region, true);
    size_t count = set.tree.count, pages = set.pages;
    struct tsl_region *below = tsl_regions_find(&set, start - 1);
    struct tsl_region *above = tsl_regions_find(&set, tsl_region_end(region));
    bool is_more = (below && below->rights == kind && !below->guard_above && !region->guard_below) ||
                   (above && above->rights == kind && !above->guard_below && !region->guard_above);
    struct tsl_region *grown = NULL;
    if (grows)
        grown = tsl_regions_insert_or_grow(&set, region);
    else
        tsl_regions_insert(&set, region);
    CHECK_EQ(grown != NULL, grows && is_more);
    CHECK(!grown || grown == below || grown == above);
    CHECK_EQ(set.tree.count, count + (grown == NULL));
    CHECK_EQ(set.pages, pages + place->pages);
    CHECK(!grown || grown->is_touched || start % 2 == 0);
    give(grown ? region : NULL);
}

static void random_place(struct rng *rng)
{
    struct tsl_place place = {.pages = 1 + rng_below(rng, rng_once_in(rng, 8) ? 40 : 6),
                              .align = (size_t)1 << rng_below(rng, 4),
                              .guard_below = rng_once_in(rng, 3) ? rng_below(rng, 4) : 0,
                              .guard_above = rng_once_in(rng, 3) ? rng_below(rng, 4) : 0,
                              .lower = FIRST + rng_below(rng, rng_once_in(rng, 2) ? PAGES : 1),
                              .limit = FIRST + PAGES};
    if (rng_once_in(rng, 3))
        place.limit = FIRST + rng_below(rng, PAGES);
    size_t expected = 0, found = 0;
    bool is_there = place_slowly(&place, PAGES, &expected);
    CHECK_EQ(tsl_regions_place(&set, &place, &found), is_there);
    CHECK_EQ(found, expected);
    if (is_there && found == expected)
        put(&place, found, 1 + rng_below(rng, 2), rng_once_in(rng, 2));
}

static void random_split(struct rng *rng, struct tsl_region *region)
{
    if (region->pages < 2)
        return;
    struct tsl_region *fresh = take();
    size_t page = region->start + 1 + rng_below(rng, (uint32_t)region->pages - 1);
    size_t end = tsl_region_end(region);
    tsl_regions_split(&set, region, page, fresh);
    CHECK_EQ(fresh->start, page);
    CHECK_EQ(tsl_region_end(fresh), end);
    CHECK_EQ(fresh->guard_below + region->guard_above, 0);
}

/* Moves one border by a page, if the map says that there is room. */
static void random_resize(struct rng *rng, struct tsl_region *region)
{
    size_t first = region->start, end = tsl_region_end(region);
    bool below = rng_once_in(rng, 2), grow = rng_once_in(rng, 2);
    size_t page = below ? tsl_region_span_start(region) - 1 : tsl_region_span_end(region);
    if (grow && (page < FIRST || page >= FIRST + PAGES || map.spanned[page]))
        return;
    if (!grow && region->pages < 2)
        return;
    mark(region, false);
    if (below)
        first += grow ? (size_t)-1 : 1;
    else
        end += grow ? 1 : (size_t)-1;
    tsl_regions_resize(&set, region, first, end);
    CHECK_EQ(region->start, first);
    CHECK_EQ(tsl_region_end(region), end);
    mark(region, true);
}

static void random_operations_agree(void)
{
    struct rng rng = rng_start(1);
    start(PAGES);
    bool same = true;
    for (unsigned i = 0; i < tap_rounds(10000) && same; i++) {
        unsigned operation = rng_below(&rng, 8);
        struct tsl_region *region = any(&rng);
        if (operation < 3 || !region) {
            random_place(&rng);
        } else if (operation == 3) {
            random_split(&rng, region);
        } else if (operation == 4) {
            give(tsl_regions_merge(&set, region));
        } else if (operation == 5) {
            random_resize(&rng, region);
        } else {
            mark(region, false);
            tsl_regions_remove(&set, region);
            give(region);
        }
        same = agrees(PAGES);
        CHECK(same);
    }
}

/* ---- All states of a small universe: a state says what each of 8 pages shows. ---- */

enum { SMALL = 8, KINDS = 3, STATES = 6561 };

static unsigned char depth_of[STATES];

static void cut_at(size_t page)
{
    struct tsl_region *region = tsl_regions_find(&set, page);
    if (region && region->start < page)
        tsl_regions_split(&set, region, page, take());
}

/* What map over, unmap and protect come down to: cut, take out, put in, merge. */
static void set_range(size_t first, size_t end, unsigned kind)
{
    cut_at(first);
    if (end < set.end)
        cut_at(end);
    struct tsl_region *region;
    while ((region = tsl_regions_from(&set, first)) && region->start < end) {
        tsl_regions_remove(&set, region);
        give(region);
    }
    if (kind == 0)
        return;
    region = add(first, end - first, 0, 0, kind);
    give(tsl_regions_merge(&set, region));
    region = tsl_regions_prev(region);
    if (region)
        give(tsl_regions_merge(&set, region));
}

static unsigned state_of_map(void)
{
    unsigned state = 0;
    for (size_t page = FIRST; page < FIRST + SMALL; page++)
        state = state * KINDS + map.shown[page];
    return state;
}

static void enter_state(unsigned state)
{
    start(SMALL);
    for (size_t page = FIRST + SMALL; page-- > FIRST; state /= KINDS)
        map.shown[page] = map.spanned[page] = (unsigned char)(state % KINDS);
    for (size_t page = FIRST; page < FIRST + SMALL; page++)
        if (map.shown[page])
            set_range(page, page + 1, map.shown[page]);
}

/* As many regions as there are runs of equal pages: what could be merged was. */
static size_t runs_of_map(void)
{
    size_t runs = 0;
    for (size_t page = FIRST; page < FIRST + SMALL; page++)
        runs += map.shown[page] != 0 && (page == FIRST || map.shown[page - 1] != map.shown[page]);
    return runs;
}

static bool follow(unsigned state, size_t first, size_t end, unsigned kind, unsigned *next)
{
    enter_state(state);
    bool same = agrees(SMALL) && set.tree.count == runs_of_map();
    set_range(first, end, kind);
    for (size_t page = first; page < end; page++)
        map.shown[page] = map.spanned[page] = (unsigned char)kind;
    *next = state_of_map();
    return same && agrees(SMALL) && set.tree.count == runs_of_map();
}

static bool follow_all(unsigned state, unsigned depth, unsigned *found)
{
    bool same = true;
    for (size_t first = FIRST; first < FIRST + SMALL; first++) {
        for (size_t end = first + 1; end <= FIRST + SMALL; end++) {
            for (unsigned kind = 0; kind < KINDS; kind++) {
                unsigned next;
                same = follow(state, first, end, kind, &next) && same;
                if (depth_of[next])
                    continue;
                depth_of[next] = (unsigned char)(depth + 1);
                (*found)++;
            }
        }
    }
    return same;
}

static void all_states_of_eight_pages_to_depth_four(void)
{
    for (unsigned state = 0; state < STATES; state++)
        depth_of[state] = 0;
    depth_of[0] = 1;
    unsigned found = 1;
    for (unsigned depth = 1; depth <= 4; depth++)
        for (unsigned state = 0; state < STATES; state++)
            if (depth_of[state] == depth)
                CHECK(follow_all(state, depth, &found));
    /* Four writes leave at most 7 borders between runs; 8 pages have no more. All but those whose
     * pages need a fifth write are reached. */
    tap_note("%u distinct states", found);
    CHECK(found > 5000 && found <= STATES);
}

/* ---- Single cases. ---- */

static void guards_keep_others_away(void)
{
    start(PAGES);
    mark(add(FIRST + 20, 4, 8, 2, 1), true);
    CHECK(agrees(PAGES));
    CHECK(tsl_regions_is_gap(&set, FIRST, FIRST + 12));
    CHECK(!tsl_regions_is_gap(&set, FIRST, FIRST + 13));
    CHECK(!tsl_regions_is_gap(&set, FIRST + 25, FIRST + 30));
    CHECK(tsl_regions_is_gap(&set, FIRST + 26, FIRST + PAGES));
    CHECK(!tsl_regions_is_gap(&set, FIRST + 26, FIRST + PAGES + 1));
    CHECK(!tsl_regions_is_gap(&set, FIRST - 1, FIRST + 1));
}

static void split_shifts_the_object(void)
{
    struct tsl_object *object = (struct tsl_object *)(void *)&map; /* only compared */
    start(PAGES);
    struct tsl_region *below = take(), *above = take();
    below->start = FIRST + 4;
    below->pages = 10;
    below->object = object;
    below->object_page = 100;
    tsl_regions_insert(&set, below);
    tsl_regions_split(&set, below, FIRST + 7, above);
    CHECK_EQ(above->object_page, 103);
    above->object_page = 104;
    CHECK(tsl_regions_merge(&set, below) == NULL);
    above->object_page = 103;
    CHECK(tsl_regions_merge(&set, below) == above);
    CHECK_EQ(below->pages, 10);
    tsl_regions_resize(&set, below, FIRST + 6, FIRST + 14);
    CHECK_EQ(below->object_page, 102);
    CHECK_SOUND(tsl_regions_verify(&set));
}

static void a_region_grows_with_its_object(void)
{
    struct tsl_object *object = (struct tsl_object *)(void *)&map; /* only compared */
    start(PAGES);
    struct tsl_region *region = add(FIRST + 8, 4, 0, 0, 1);
    region->object = object;
    region->object_page = 20;
    struct tsl_region *below = prepare(FIRST + 5, 3, 2, 0);
    below->rights = 1;
    below->object = object;
    below->object_page = 17;
    CHECK(tsl_regions_insert_or_grow(&set, below) == region);
    CHECK_EQ(region->start, FIRST + 5);
    CHECK_EQ(region->pages, 7);
    CHECK_EQ(region->object_page, 17);
    CHECK_EQ(region->guard_below, 2);
    CHECK_SOUND(tsl_regions_verify(&set));
    struct tsl_region *above = prepare(FIRST + 12, 2, 0, 3);
    above->rights = 1;
    above->object = object;
    above->object_page = 25; /* 24 would continue */
    CHECK(tsl_regions_insert_or_grow(&set, above) == NULL);
    CHECK_EQ(set.tree.count, 2);
    CHECK_SOUND(tsl_regions_verify(&set));
}

static void regions_that_differ_stay_apart(void)
{
    for (int field = 0; field < 6; field++) {
        start(PAGES);
        struct tsl_region *below = add(FIRST + 4, 2, 0, 0, 1);
        struct tsl_region *above = add(FIRST + 6 + (field == 5), 2, 0, 0, 1);
        above->rights += field == 1;
        above->maximum += field == 2;
        above->flags += field == 3;
        if (field == 4)
            above->object = (struct tsl_object *)(void *)&map;
        CHECK((tsl_regions_merge(&set, below) == above) == (field == 0));
        CHECK_SOUND(tsl_regions_verify(&set));
    }
}

static void no_place_for_too_much(void)
{
    start(PAGES);
    size_t at = 7;
    struct tsl_place place = {.pages = PAGES, .align = 1, .lower = FIRST, .limit = FIRST + PAGES};
    CHECK(tsl_regions_place(&set, &place, &at));
    CHECK_EQ(at, FIRST);
    place.pages++;
    CHECK(!tsl_regions_place(&set, &place, &at));
    place.pages = (size_t)-1 >> TSL_PAGE_SHIFT;
    CHECK(!tsl_regions_place(&set, &place, &at));
    place = (struct tsl_place){
        .pages = PAGES, .align = 1, .guard_above = 1, .lower = FIRST, .limit = FIRST + PAGES};
    CHECK(!tsl_regions_place(&set, &place, &at));
    place.guard_above = 0;
    place.limit--;
    CHECK(!tsl_regions_place(&set, &place, &at));
    CHECK_EQ(at, FIRST);
}

/* ---- Each rule of the verifier, broken by hand. ---- */

static void rules_are_checked(void)
{
    start(PAGES);
    struct tsl_region *below = add(FIRST + 4, 2, 1, 1, 1);
    struct tsl_region *above = add(FIRST + 20, 2, 1, 1, 1);
    CHECK_SOUND(tsl_regions_verify(&set));
    size_t kept = below->pages;
    below->pages = 0;
    CHECK_BROKEN(tsl_regions_verify(&set), 1);
    below->pages = 16;
    CHECK_BROKEN(tsl_regions_verify(&set), 2);
    below->pages = kept;
    above->gap_below--;
    tsl_tree_update(&set.tree, &above->node);
    CHECK_BROKEN(tsl_regions_verify(&set), 3);
    above->gap_below++;
    tsl_tree_update(&set.tree, &above->node);
    tsl_region_of(set.tree.root)->largest_gap++;
    CHECK_BROKEN(tsl_regions_verify(&set), 4);
    tsl_region_of(set.tree.root)->largest_gap--;
    set.pages++;
    CHECK_BROKEN(tsl_regions_verify(&set), 5);
    set.pages--;
    set.last_hit = &pool[POOL - 1];
    CHECK_BROKEN(tsl_regions_verify(&set), 5);
    set.last_hit = NULL;
    CHECK_SOUND(tsl_regions_verify(&set));
}

TAP_SUITE(regions, TAP_TEST(random_operations_agree),
          TAP_TEST(all_states_of_eight_pages_to_depth_four), TAP_TEST(guards_keep_others_away),
          TAP_TEST(split_shifts_the_object), TAP_TEST(a_region_grows_with_its_object),
          TAP_TEST(regions_that_differ_stay_apart), TAP_TEST(no_place_for_too_much), TAP_TEST(rules_are_checked));
