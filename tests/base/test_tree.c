/* SPDX-License-Identifier: MIT
 *
 * test_tree.c: random operations on a tree with summaries, against an array of bools.
 *
 * Owns:    the suite `tree`.
 * Needs:   tree.h.
 * Callers: the test runner, on the host and in kernels.
 *
 * The summary is the greatest of a value in a subtree, as address-space trees keep the largest gap.
 */
#include "rng.h"
#include "tap.h"

#include <tesela/tree.h>

#define KEYS 96u

struct item {
    struct tsl_tree_node node;
    uint32_t key;
    uint32_t own;      /* what this item brings into the summary */
    uint32_t greatest; /* summary: the greatest `own` of the subtree */
};

static struct item items[KEYS];
static bool present[KEYS];
static struct tsl_tree tree;

static struct item *item_of(const struct tsl_tree_node *node)
{
    return TSL_CONTAINER_OF(node, struct item, node);
}

static const void *key_of(const struct tsl_tree_node *node)
{
    return &item_of(node)->key;
}

static int compare(const void *key, const struct tsl_tree_node *node)
{
    uint32_t a = *(const uint32_t *)key;
    uint32_t b = item_of(node)->key;
    return a < b ? -1 : a > b;
}

static uint32_t greatest_of(const struct item *item)
{
    uint32_t greatest = item->own;
    if (item->node.left != NULL && item_of(item->node.left)->greatest > greatest)
        greatest = item_of(item->node.left)->greatest;
    if (item->node.right != NULL && item_of(item->node.right)->greatest > greatest)
        greatest = item_of(item->node.right)->greatest;
    return greatest;
}

static bool augment(struct tsl_tree_node *node)
{
    struct item *item = item_of(node);
    uint32_t greatest = greatest_of(item);
    bool changed = greatest != item->greatest;
    item->greatest = greatest;
    return changed;
}

static bool augment_is_right(const struct tsl_tree_node *node)
{
    return item_of(node)->greatest == greatest_of(item_of(node));
}

static const struct tsl_tree_ops ops = {key_of, compare, augment, augment_is_right};
static const struct tsl_tree_ops plain_ops = {key_of, compare, NULL, NULL};

static void start(const struct tsl_tree_ops *use)
{
    tsl_tree_init(&tree, use);
    for (uint32_t i = 0; i < KEYS; i++) {
        items[i] = (struct item){.key = i};
        present[i] = false;
    }
}

static struct tsl_tree_node *model_next(uint32_t from)
{
    for (uint32_t i = from; i < KEYS; i++)
        if (present[i])
            return &items[i].node;
    return NULL;
}

static struct tsl_tree_node *model_prev(uint32_t end)
{
    for (uint32_t i = end; i > 0; i--)
        if (present[i - 1])
            return &items[i - 1].node;
    return NULL;
}

static void compare_with_model(void)
{
    size_t count = 0;
    uint32_t greatest = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        CHECK_SAME(tsl_tree_find(&tree, &i), present[i] ? &items[i].node : NULL);
        CHECK_SAME(tsl_tree_lower_bound(&tree, &i), model_next(i));
        CHECK_SAME(tsl_tree_at_or_before(&tree, &i), model_prev(i + 1));
        if (present[i]) {
            count++;
            greatest = items[i].own > greatest ? items[i].own : greatest;
            CHECK_SAME(tsl_tree_next(&items[i].node), model_next(i + 1));
            CHECK_SAME(tsl_tree_prev(&items[i].node), model_prev(i));
        }
    }
    CHECK_EQ(tree.count, count);
    CHECK_SAME(tsl_tree_first(&tree), model_next(0));
    CHECK_SAME(tsl_tree_last(&tree), model_prev(KEYS));
    if (tree.root != NULL && tree.ops->augment != NULL)
        CHECK_EQ(item_of(tree.root)->greatest, greatest);
}

/* Few values of `own`, so that a summary often stays the same and repairs stop early. */
static void step(struct rng *rng, uint32_t tendency)
{
    uint32_t key = rng_below(rng, KEYS);
    struct item *item = &items[key];
    if (!present[key] && rng_below(rng, 100) < tendency) {
        item->own = rng_below(rng, 6);
        CHECK_STATUS(tsl_tree_insert(&tree, &item->node), TSL_OK);
        present[key] = true;
    } else if (present[key] && rng_below(rng, 100) >= tendency) {
        tsl_tree_remove(&tree, &item->node);
        present[key] = false;
    } else if (present[key]) {
        item->own = rng_below(rng, 6);
        tsl_tree_update(&tree, &item->node);
    }
}

static void behaves_as_the_model(void)
{
    struct rng rng = rng_start(1);
    start(&ops);
    for (unsigned round = 0; round < tap_rounds(4000); round++) {
        /* Up and down, so that the tree is now full, now empty. */
        step(&rng, (round / 250) % 2 == 0 ? 80 : 20);
        CHECK_SOUND(tsl_tree_verify(&tree));
        if (round % 16 == 0)
            compare_with_model();
    }
}

static void works_without_summaries(void)
{
    struct rng rng = rng_start(2);
    start(&plain_ops);
    for (unsigned round = 0; round < tap_rounds(1000); round++) {
        step(&rng, 50);
        CHECK_SOUND(tsl_tree_verify(&tree));
    }
    compare_with_model();
}

static void empty_tree(void)
{
    uint32_t key = 5;
    start(&ops);
    CHECK(tsl_tree_is_empty(&tree));
    CHECK_SAME(tsl_tree_first(&tree), NULL);
    CHECK_SAME(tsl_tree_last(&tree), NULL);
    CHECK_SAME(tsl_tree_find(&tree, &key), NULL);
    CHECK_SAME(tsl_tree_lower_bound(&tree, &key), NULL);
    CHECK_SOUND(tsl_tree_verify(&tree));
}

static void refuses_an_equal_key(void)
{
    struct item twin = {.key = 7};
    start(&ops);
    CHECK_STATUS(tsl_tree_insert(&tree, &items[7].node), TSL_OK);
    CHECK_STATUS(tsl_tree_insert(&tree, &twin.node), TSL_EXISTS);
    CHECK_EQ(tree.count, 1);
    CHECK_SAME(tree.root, &items[7].node);
    CHECK_SOUND(tsl_tree_verify(&tree));
}

/* Ascending keys are the worst case of an unbalanced tree. */
static void stays_shallow(void)
{
    start(&ops);
    for (uint32_t i = 0; i < KEYS; i++)
        CHECK_STATUS(tsl_tree_insert(&tree, &items[i].node), TSL_OK);
    unsigned deepest = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        unsigned depth = 0;
        for (const struct tsl_tree_node *at = &items[i].node; at != NULL; at = tsl_tree_parent(at))
            depth++;
        deepest = depth > deepest ? depth : deepest;
    }
    CHECK(deepest <= 14); /* 2 * log2(96 + 1) = 13.2 */
}

static void replaces_in_place(void)
{
    start(&ops);
    for (uint32_t i = 0; i < 40; i++)
        CHECK_STATUS(tsl_tree_insert(&tree, &items[i].node), TSL_OK);
    for (uint32_t i = 0; i < 40; i++) {
        struct item *fresh = &items[40 + i];
        fresh->key = i;
        fresh->own = 2000 + i;
        tsl_tree_replace(&tree, &items[i].node, &fresh->node);
        CHECK_SAME(tsl_tree_find(&tree, &i), &fresh->node);
        CHECK_SOUND(tsl_tree_verify(&tree));
    }
    CHECK_EQ(item_of(tree.root)->greatest, 2039);
    CHECK_EQ(tree.count, 40);
}

/* ---- Each rule, broken. ---- */

/*       3
 *    1     5       1 and 5 black, the leaves red
 *   0 2   4 6 */
static void start_seven(void)
{
    static const uint8_t order[] = {3, 1, 5, 0, 2, 4, 6};
    start(&ops);
    for (size_t i = 0; i < sizeof(order); i++)
        CHECK_STATUS(tsl_tree_insert(&tree, &items[order[i]].node), TSL_OK);
    CHECK_SOUND(tsl_tree_verify(&tree));
}

static void finds_each_broken_rule(void)
{
    start_seven();
    items[3].node.parent_and_colour &= ~(uintptr_t)1;
    CHECK_BROKEN(tsl_tree_verify(&tree), 1);

    start_seven();
    items[3].node.parent_and_colour |= (uintptr_t)&items[5].node;
    CHECK_BROKEN(tsl_tree_verify(&tree), 1);

    start_seven();
    items[2].node.parent_and_colour = (uintptr_t)&items[5].node;
    CHECK_BROKEN(tsl_tree_verify(&tree), 2);

    start_seven();
    tree.count = 8;
    CHECK_BROKEN(tsl_tree_verify(&tree), 2);
    tree.count = 6;
    CHECK_BROKEN(tsl_tree_verify(&tree), 2);

    start_seven();
    items[5].node.parent_and_colour &= ~(uintptr_t)1;
    struct tsl_defect defect = tsl_tree_verify(&tree);
    CHECK_EQ(defect.rule, 3);
    CHECK_EQ(defect.place, (uintptr_t)&items[5].node);

    start_seven();
    items[6].node.parent_and_colour |= 1;
    CHECK_BROKEN(tsl_tree_verify(&tree), 4);

    start_seven();
    items[4].key = 5;
    CHECK_BROKEN(tsl_tree_verify(&tree), 5);

    start_seven();
    items[1].greatest = 2;
    CHECK_BROKEN(tsl_tree_verify(&tree), 6);
}

/* A child that is its own ancestor must not hang the verifier. */
static void survives_a_cycle(void)
{
    start_seven();
    items[0].node.left = &items[3].node;
    CHECK_BROKEN(tsl_tree_verify(&tree), 2);
    start_seven();
    items[1].node.right = &items[0].node;
    CHECK(tsl_tree_verify(&tree).rule != 0);
}

TAP_SUITE(tree, TAP_TEST(behaves_as_the_model), TAP_TEST(works_without_summaries),
          TAP_TEST(empty_tree), TAP_TEST(refuses_an_equal_key), TAP_TEST(stays_shallow),
          TAP_TEST(replaces_in_place), TAP_TEST(finds_each_broken_rule),
          TAP_TEST(survives_a_cycle));
