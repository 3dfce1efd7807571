/* SPDX-License-Identifier: MIT
 *
 * handed_out.c: which physical pages allocate_physical_page() has given away and not got back.
 *
 * Owns:    one bit a page, in leaves of one frame for each stretch of memory that was ever used.
 * Needs:   base (tree, bits, lock), physical_allocator for the leaves.
 * Callers: seed.c, map_page.c.
 *
 * Why: a page that was freed and taken again, by the heap or for a page table, looks allocated to
 * the frame allocator. Only this record tells a second free of it, or a mapping of it, from one by
 * its owner. Memory is paid for what is used: one frame for every 126 MiB.
 */
#include "facade_internal.h"

#include <tesela/bits.h>
#include <tesela/lock.h>
#include <tesela/tree.h>

enum { HEADER_WORDS = 8, WORDS = TSL_PAGE_BYTES / sizeof(tsl_word) - HEADER_WORDS };

/* The pages [first, first + LEAF_PAGES): 1 = handed out. */
struct leaf {
    struct tsl_tree_node node;
    tsl_word first;
    struct tsl_frame home; /* where the leaf lives */
    tsl_word unused[HEADER_WORDS - 2 - sizeof(struct tsl_tree_node) / sizeof(tsl_word)];
    tsl_word bits[WORDS];
};

#define LEAF_PAGES ((tsl_word)WORDS * TSL_WORD_BITS)

_Static_assert(sizeof(struct leaf) == TSL_PAGE_BYTES, "A leaf fills one frame exactly.");

static struct leaf *leaf_of(const struct tsl_tree_node *node)
{
    return node ? TSL_CONTAINER_OF(node, struct leaf, node) : NULL;
}

static const void *key_of(const struct tsl_tree_node *node)
{
    return &leaf_of(node)->first;
}

static int compare_first(const void *key, const struct tsl_tree_node *node)
{
    tsl_word first = *(const tsl_word *)key;
    return first < leaf_of(node)->first ? -1 : first > leaf_of(node)->first;
}

static const struct tsl_tree_ops leaf_order = {.key = key_of, .compare = compare_first};

static struct tsl_lock lock = TSL_LOCK_INIT(TSL_RANK_OBJECT); /* guards the tree and the bits */
static struct tsl_tree leaves;

void tsl_handed_out_init(void)
{
    tsl_tree_init(&leaves, &leaf_order);
}

void tsl_handed_out_fini(void)
{
    for (struct tsl_tree_node *node; (node = tsl_tree_first(&leaves));) {
        struct leaf *leaf = leaf_of(node);
        struct tsl_frame home = leaf->home;
        tsl_tree_remove(&leaves, node);
        enum tsl_status status = tsl_frames_free(tsl_facade.system.frames, home, 0);
        TSL_ASSERT(status == TSL_OK);
    }
    tsl_facade.system.record_frames = 0;
}

/* The leaf for a page, NULL if there is none yet. Lock held. */
static struct leaf *find(struct tsl_frame page)
{
    tsl_word first = page.number - page.number % LEAF_PAGES;
    return leaf_of(tsl_tree_find(&leaves, &first));
}

/* Makes a leaf for the page; false when there is no frame for it. */
static bool make_leaf(struct tsl_frame page)
{
    struct tsl_frame home;
    /* Below what the boot tables reach: the leaves are freed after our own tables are gone. */
    struct tsl_frames_run run = {.count = 1,
                                 .limit = tsl_facade.options.reach_end,
                                 .flags = TSL_FRAMES_LOW | TSL_FRAMES_ZERO};
    if (tsl_frames_alloc_run(tsl_facade.system.frames, &run, &home) != TSL_OK)
        return false;
    struct leaf *leaf = tsl_port_phys_to_virt(tsl_frame_address(home));
    leaf->first = page.number - page.number % LEAF_PAGES;
    leaf->home = home;
    tsl_pin pin = tsl_lock_acquire(&lock);
    enum tsl_status status = tsl_tree_insert(&leaves, &leaf->node);
    tsl_facade.system.record_frames = leaves.count;
    tsl_lock_release(&lock, pin);
    if (status != TSL_OK) { /* another CPU has made it meanwhile */
        status = tsl_frames_free(tsl_facade.system.frames, home, 0);
        TSL_ASSERT(status == TSL_OK);
    }
    return true;
}

bool tsl_handed_out_set(struct tsl_frame page)
{
    for (;;) {
        tsl_pin pin = tsl_lock_acquire(&lock);
        struct leaf *leaf = find(page);
        if (leaf)
            tsl_bits_set_range(leaf->bits, page.number - leaf->first, 1);
        tsl_lock_release(&lock, pin);
        if (leaf)
            return true;
        if (!make_leaf(page))
            return false;
    }
}

bool tsl_handed_out_clear(struct tsl_frame page)
{
    tsl_pin pin = tsl_lock_acquire(&lock);
    struct leaf *leaf = find(page);
    bool was_set = leaf && tsl_bits_test(leaf->bits, page.number - leaf->first);
    if (was_set)
        tsl_bits_clear_range(leaf->bits, page.number - leaf->first, 1);
    tsl_lock_release(&lock, pin);
    return was_set;
}

bool tsl_handed_out_test(struct tsl_frame page)
{
    tsl_pin pin = tsl_lock_acquire(&lock);
    const struct leaf *leaf = find(page);
    bool is_set = leaf && tsl_bits_test(leaf->bits, page.number - leaf->first);
    tsl_lock_release(&lock, pin);
    return is_set;
}

bool tsl_handed_out_any(void)
{
    tsl_pin pin = tsl_lock_acquire(&lock);
    struct tsl_tree_node *node = tsl_tree_first(&leaves);
    while (node && tsl_bits_all_clear(leaf_of(node)->bits, 0, LEAF_PAGES))
        node = tsl_tree_next(node);
    tsl_lock_release(&lock, pin);
    return node != NULL;
}
