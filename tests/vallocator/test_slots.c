/* SPDX-License-Identifier: MIT
 *
 * test_slots.c: slot trees against plain arrays, with a store that counts its references.
 *
 * Owns:    suite slots.
 * Needs:   slots.h, a heap over an array.
 * Callers: the host test runner.
 */
#include "tap.h"

#include "rng.h"

#include "objects/slots_internal.h"

enum { TREES = 5, PAGES = 24, NAMES = 4096, HEAP_BYTES = 1 << 20 };

/* The last page number that a tree can have. */
#define LAST_PAGE ((size_t)-1 >> (sizeof(tsl_word) == 8 ? 10 : 12))

static TSL_ALIGNED(4096) unsigned char memory[HEAP_BYTES];
static struct tsl_heap *heap;
static struct tsl_slot_reserve reserve;
static struct tsl_slots tree[TREES];
static tsl_slot plain[TREES][PAGES]; /* what each tree should say */
static int references[NAMES];        /* of each name, as the store was told */

/* The pages of the test: close together, at the borders of nodes, far apart. */
static size_t place_of(unsigned i)
{
    static const size_t far[] = {0,    1,    62,   63,     64,     1023,
                                 1024, 4095, 4096, 262143, 262144, LAST_PAGE};
    return i < TSL_COUNT_OF(far) ? far[i] : 100 + (i - TSL_COUNT_OF(far));
}

static enum tsl_status load(void *context, tsl_slot slot, void *page)
{
    (void)context, (void)slot, (void)page;
    return TSL_OK;
}

static void dup(void *context, tsl_slot slot)
{
    (void)context;
    references[tsl_slot_payload(slot)]++;
}

static void drop(void *context, tsl_slot slot)
{
    (void)context;
    CHECK(references[tsl_slot_payload(slot)]-- > 0);
}

static void drop_some(void *context, const tsl_slot *slot, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (tsl_slot_type_of(slot[i]) == TSL_SLOT_FRAME)
            drop(context, slot[i]);
}

static const struct tsl_store stores[TSL_SLOT_TYPES] = {
    [TSL_SLOT_FRAME] = {.load = load, .dup = dup, .free = drop, .free_some = drop_some},
    [TSL_SLOT_SWAP] = {.load = load, .dup = dup, .free = drop}};

static tsl_slot make_slot(void)
{
    static uint32_t next;
    for (;;) {
        next = (next + 1) % NAMES;
        if (next && references[next] == 0)
            break;
    }
    references[next] = 1;
    return tsl_slot_make(next % 2 ? TSL_SLOT_FRAME : TSL_SLOT_SWAP, next);
}

static void begin(void)
{
    CHECK_STATUS(tsl_heap_create_fixed(memory, sizeof(memory), &heap), TSL_OK);
    for (unsigned i = 0; i < TREES; i++) {
        tsl_slots_init(&tree[i], heap, stores);
        for (unsigned page = 0; page < PAGES; page++)
            plain[i][page] = 0;
    }
    for (unsigned i = 0; i < NAMES; i++)
        references[i] = 0;
}

static void finish(void)
{
    int left = 0;
    for (unsigned i = 0; i < TREES; i++)
        tsl_slots_destroy(&tree[i]);
    for (unsigned i = 0; i < NAMES; i++)
        left += references[i];
    CHECK_EQ(left, 0);
    tsl_slot_reserve_drop(&reserve, heap);
    CHECK_STATUS(tsl_heap_destroy(heap), TSL_OK);
}

static void set(unsigned which, unsigned page, tsl_slot slot)
{
    struct tsl_slot_need need = {0};
    tsl_slots_need(&tree[which], place_of(page), &need);
    CHECK_STATUS(tsl_slot_reserve_fill(&reserve, heap, &need), TSL_OK);
    struct tsl_slot_need before = reserve.count;
    tsl_slot old = tsl_slots_set(&tree[which], &reserve, place_of(page), slot);
    CHECK_EQ(before.leaves - reserve.count.leaves, need.leaves);
    CHECK_EQ(before.inners - reserve.count.inners, need.inners);
    CHECK_EQ(old, plain[which][page]);
    if (old)
        drop(NULL, old);
    plain[which][page] = slot;
}

static void clear(unsigned which, size_t first, size_t last)
{
    struct tsl_slot_need need = {0};
    tsl_slots_clear_need(&tree[which], first, last, &need);
    CHECK_STATUS(tsl_slot_reserve_fill(&reserve, heap, &need), TSL_OK);
    tsl_slots_clear(&tree[which], &reserve, first, last);
    for (unsigned page = 0; page < PAGES; page++)
        if (place_of(page) >= first && place_of(page) <= last)
            plain[which][page] = 0;
}

/* Reading that remembers the leaf says the same as reading that does not. */
static void visit(unsigned which, unsigned page)
{
    bool exclusive;
    bool expected = tsl_slots_is_exclusive(&tree[which], place_of(page));
    CHECK_EQ(tsl_slots_visit(&tree[which], place_of(page), &exclusive), plain[which][page]);
    CHECK_EQ(exclusive, expected);
}

/* Every slot, both ways of reading, and that "exclusive" is never said of what others name too. */
static bool agrees(void)
{
    bool same = true;
    static unsigned named[NAMES];
    for (unsigned i = 0; i < NAMES; i++)
        named[i] = 0;
    for (unsigned which = 0; which < TREES; which++)
        for (unsigned page = 0; page < PAGES; page++)
            named[tsl_slot_payload(plain[which][page])]++;
    for (unsigned which = 0; which < TREES && same; which++) {
        unsigned expected = 0, seen = 0;
        size_t at = 0;
        tsl_slot slot;
        same = tsl_slots_verify(&tree[which]).rule == 0;
        for (unsigned page = 0; page < PAGES; page++) {
            slot = plain[which][page];
            expected += slot != 0;
            same = same && tsl_slots_get(&tree[which], place_of(page)) == slot;
            if (slot && tsl_slots_is_exclusive(&tree[which], place_of(page)) &&
                references[tsl_slot_payload(slot)] == 1)
                same = same && named[tsl_slot_payload(slot)] == 1;
        }
        for (; tsl_slots_next(&tree[which], at, LAST_PAGE, &at, &slot); at++)
            seen += tsl_slots_get(&tree[which], at) == slot && slot != 0;
        same = same && seen == expected;
    }
    for (unsigned i = 1; i < NAMES; i++)
        same = same && (references[i] > 0) == (named[i] > 0);
    return same;
}

static void clone(unsigned from, unsigned to)
{
    tsl_slots_destroy(&tree[to]);
    tsl_slots_clone(&tree[from], &tree[to]);
    for (unsigned page = 0; page < PAGES; page++)
        plain[to][page] = plain[from][page];
}

static void exchange(unsigned which, unsigned page)
{
    tsl_slot old = plain[which][page], fresh = make_slot();
    bool exclusive = tsl_slots_is_exclusive(&tree[which], place_of(page));
    bool moved = tsl_slots_exchange(&tree[which], place_of(page), old, fresh);
    CHECK_EQ(moved, old && exclusive);
    CHECK(!tsl_slots_exchange(&tree[which], place_of(page), old ^ 1, fresh));
    drop(NULL, moved ? old : fresh);
    if (moved)
        plain[which][page] = fresh;
}

static void random_operations_agree(void)
{
    struct rng rng = rng_start(2);
    begin();
    bool same = true;
    for (unsigned i = 0; i < tap_rounds(10000) && same; i++) {
        unsigned which = rng_below(&rng, TREES), page = rng_below(&rng, PAGES);
        switch (rng_below(&rng, 8)) {
        case 0:
            clear(which, place_of(page), place_of(rng_below(&rng, PAGES)));
            break;
        case 1:
            clear(which, rng_below(&rng, 2000), rng_below(&rng, 1000000));
            break;
        case 2:
            if (rng_once_in(&rng, 2))
                clone(which, (which + 1 + rng_below(&rng, TREES - 1)) % TREES);
            break;
        case 3:
            exchange(which, page);
            break;
        case 4:
            if (plain[which][page] && tsl_slots_is_exclusive(&tree[which], place_of(page))) {
                drop(NULL, tsl_slots_take(&tree[which], place_of(page)));
                plain[which][page] = 0;
            }
            break;
        case 5:
            visit(which, page);
            break;
        default:
            set(which, page, make_slot());
        }
        same = agrees();
        CHECK(same);
    }
    finish();
}

/* Copying is one step however much there is, and a write behind it copies one way down. */
static void a_write_behind_a_clone_copies_one_path(void)
{
    begin();
    for (unsigned page = 0; page < PAGES; page++)
        set(0, page, make_slot());
    clone(0, 1);
    struct tsl_slot_need need = {0};
    tsl_slots_need(&tree[1], place_of(3), &need);
    CHECK_EQ(need.leaves, 1);
    CHECK_EQ(need.inners, tree[1].height - 1);
    set(1, 3, make_slot());
    CHECK(tsl_slots_get(&tree[0], place_of(3)) != tsl_slots_get(&tree[1], place_of(3)));
    CHECK(tsl_slots_is_exclusive(&tree[1], place_of(3)));
    CHECK(tsl_slots_is_exclusive(&tree[0], place_of(3)));
    CHECK(!tsl_slots_is_exclusive(&tree[0], place_of(11)));
    CHECK(agrees());
    finish();
}

/* Whole nodes of a shared tree are dropped without copying them. */
static void clearing_a_shared_node_takes_no_memory(void)
{
    begin();
    for (unsigned page = 0; page < PAGES; page++)
        set(0, page, make_slot());
    clone(0, 1);
    struct tsl_slot_need need = {0};
    tsl_slots_clear_need(&tree[1], 0, LAST_PAGE, &need);
    CHECK_EQ(need.leaves + need.inners, 0);
    tsl_slots_clear_need(&tree[1], 5000, 6000, &need); /* nothing is there */
    CHECK_EQ(need.leaves + need.inners, 0);
    clear(1, 0, LAST_PAGE);
    CHECK(tree[1].root == NULL);
    CHECK(agrees());
    finish();
}

static void without_memory_nothing_is_promised(void)
{
    begin();
    static void *block[HEAP_BYTES / 512];
    unsigned count = 0;
    while ((block[count] = tsl_heap_alloc(heap, 512)))
        count++;
    while (count < TSL_COUNT_OF(block) && (block[count] = tsl_heap_alloc(heap, 16)))
        count++;
    struct tsl_slot_need need = {0};
    tsl_slots_need(&tree[0], place_of(11), &need);
    CHECK_STATUS(tsl_slot_reserve_fill(&reserve, heap, &need), TSL_NO_MEMORY);
    CHECK(!tsl_slot_reserve_has(&reserve, &need));
    while (count > 0)
        CHECK_STATUS(tsl_heap_free(heap, block[--count]), TSL_OK);
    set(0, 11, make_slot());
    CHECK(agrees());
    finish();
}

static struct tsl_slot_node *leaf_of_place(unsigned page)
{
    struct tsl_slot_node *node = tree[0].root;
    for (unsigned level = tree[0].height; level-- > 1;)
        node = node->child[tsl_slot_index(place_of(page), level)];
    return node;
}

static void rules_are_checked(void)
{
    begin();
    set(0, 0, make_slot());
    set(0, 11, make_slot());
    struct tsl_slot_node *root = tree[0].root;
    root->refs--;
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 1);
    root->refs++;
    struct tsl_slot_node *leaf = root;
    for (unsigned level = tree[0].height; level-- > 1;)
        leaf = leaf->child[0];
    tsl_slot kept = leaf->slot[0];
    leaf->slot[0] = tsl_slot_make(TSL_SLOT_COMPRESSED, 5); /* nobody looks after these here */
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 2);
    leaf->slot[0] = 7u << TSL_SLOT_PAYLOAD_BITS;
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 2);
    leaf->slot[0] = kept;
    leaf->used++;
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 3);
    leaf->used--;
    tree[0].root = NULL;
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 4);
    tree[0].root = root;
    CHECK(tree[0].leaf == leaf_of_place(11));
    tree[0].leaf = leaf;
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 5);
    tree[0].leaf = leaf_of_place(11);
    tree[0].leaf_number += 1000; /* nothing is there */
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 5);
    tree[0].leaf = NULL; /* as it says */
    CHECK_SOUND(tsl_slots_verify(&tree[0]));
    tree[0].leaf_number -= 1000;
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 5);
    tree[0].leaf = leaf_of_place(11);
    tree[0].leaf->refs++; /* another tree has it too */
    CHECK_BROKEN(tsl_slots_verify(&tree[0]), 5);
    tree[0].leaf->refs--;
    CHECK_SOUND(tsl_slots_verify(&tree[0]));
    finish();
}

/* ---- Moving. ---- */

enum { MOVED = 40 };

static size_t random_place(struct rng *rng)
{
    static const size_t near[] = {0, 64, 4096, 262144, (size_t)1 << 18, LAST_PAGE / 2, 12345};
    return near[rng_below(rng, TSL_COUNT_OF(near))] + rng_below(rng, 200);
}

static void put_slots(unsigned which, size_t first, size_t width, size_t *page, tsl_slot *slot,
                      struct rng *rng)
{
    for (unsigned i = 0; i < MOVED; i++) {
        page[i] = first + rng_below(rng, (uint32_t)width);
        slot[i] = tsl_slots_get(&tree[which], page[i]);
        if (slot[i])
            continue;
        slot[i] = make_slot();
        struct tsl_slot_need need = {0};
        tsl_slots_need(&tree[which], page[i], &need);
        CHECK_STATUS(tsl_slot_reserve_fill(&reserve, heap, &need), TSL_OK);
        CHECK_EQ(tsl_slots_set(&tree[which], &reserve, page[i], slot[i]), 0);
    }
}

/* Exactly the nodes that were asked for are in hand: one too few would be an assertion. */
static void move_once(struct rng *rng)
{
    size_t page[MOVED], first = random_place(rng), to = random_place(rng);
    size_t width = 1 + rng_below(rng, rng_once_in(rng, 2) ? 100 : 5000);
    tsl_slot slot[MOVED];
    struct tsl_slot_need need = {0};
    if (to + width > first && first + width > to)
        to = first + width;
    put_slots(0, first, width, page, slot, rng);
    bool shared = rng_once_in(rng, 2);
    if (shared)
        tsl_slots_clone(&tree[0], &tree[1]);
    tsl_slot_reserve_drop(&reserve, heap);
    tsl_slots_move_need(&tree[0], first, first + width - 1, to, &need);
    CHECK_STATUS(tsl_slot_reserve_fill(&reserve, heap, &need), TSL_OK);
    tsl_slots_move(&tree[0], &reserve, first, first + width - 1, to);
    for (unsigned i = 0; i < MOVED; i++) {
        CHECK_EQ(tsl_slots_get(&tree[0], to + (page[i] - first)), slot[i]);
        CHECK_EQ(tsl_slots_get(&tree[0], page[i]), 0);
        CHECK_EQ(tsl_slots_get(&tree[1], page[i]), shared ? slot[i] : 0);
        CHECK_EQ(references[tsl_slot_payload(slot[i])], shared ? 2 : 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        CHECK_SOUND(tsl_slots_verify(&tree[i]));
        tsl_slots_destroy(&tree[i]);
    }
}

static void a_run_moves_with_its_names(void)
{
    struct rng rng = rng_start(6);
    begin();
    for (unsigned i = 0; i < tap_rounds(400); i++)
        move_once(&rng);
    finish();
}

TAP_SUITE(slots, TAP_TEST(random_operations_agree),
          TAP_TEST(a_write_behind_a_clone_copies_one_path),
          TAP_TEST(clearing_a_shared_node_takes_no_memory),
          TAP_TEST(without_memory_nothing_is_promised), TAP_TEST(a_run_moves_with_its_names),
          TAP_TEST(rules_are_checked));
