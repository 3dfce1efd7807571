/* SPDX-License-Identifier: MIT
 *
 * slots.h: trees of slots: which page is where, shared between copies until one of them writes.
 *
 * Owns:    struct tsl_slots, its nodes, and one reference for each slot to what it names.
 * Needs:   base, heap_allocator (nodes), store.h.
 * Callers: space_*.c (private layers), object.c. The caller's lock protects a tree; trees that
 *          share nodes need no common lock.
 *
 * Nodes are brought by the caller: tsl_slots_need says how many, tsl_slot_reserve_fill gets them
 * without a lock, and the change itself cannot fail.
 */
#ifndef TESELA_SLOTS_H
#define TESELA_SLOTS_H

#include <tesela/config.h>
#include <tesela/heap_allocator.h>
#include <tesela/store.h>

/* A node has 64 entries, 32 where words have 32 bits. */
#define TSL_SLOT_NODE_BITS    (sizeof(tsl_word) == 8 ? 6u : 5u)
#define TSL_SLOT_NODE_ENTRIES (1u << TSL_SLOT_NODE_BITS)
/* Enough levels for every page number: 52 bits, or 20. */
#define TSL_SLOT_LEVELS (sizeof(tsl_word) == 8 ? 9u : 4u)

/* No page is in a leaf of this number. */
#define TSL_SLOT_NO_LEAF (~(size_t)0)

struct tsl_slot_node;
struct tsl_slot_spare;

struct tsl_slots {
    struct tsl_slot_node *root; /* NULL: every slot is empty */
    unsigned height;            /* levels of nodes; 0 with no root */
    struct tsl_heap *heap;
    const struct tsl_store *stores; /* one a type; .free NULL: contents that need no care */
    struct tsl_slot_node *leaf;     /* used last, on a way that is this tree's alone; NULL: there is
                                       no leaf of this number */
    size_t leaf_number;             /* page >> TSL_SLOT_NODE_BITS; TSL_SLOT_NO_LEAF: not known */
};

/* Nodes that a change will take. */
struct tsl_slot_need {
    unsigned leaves;
    unsigned inners;
};

/* Nodes in hand. All zero: none. */
struct tsl_slot_reserve {
    struct tsl_slot_spare *leaves;
    struct tsl_slot_spare *inners;
    struct tsl_slot_need count;
};

/* Gets nodes until `need` is in hand. Errors: TSL_NO_MEMORY; what was got stays in hand.
 * Context: no lock held that the heap's page source takes. */
TSL_MUST_CHECK enum tsl_status tsl_slot_reserve_fill(struct tsl_slot_reserve *self,
                                                     struct tsl_heap *heap,
                                                     const struct tsl_slot_need *need);
bool tsl_slot_reserve_has(const struct tsl_slot_reserve *self, const struct tsl_slot_need *need);
/* Gives back what is in hand. */
void tsl_slot_reserve_drop(struct tsl_slot_reserve *self, struct tsl_heap *heap);

/* An empty tree. `stores`: an array indexed by type, which outlives the tree. */
void tsl_slots_init(struct tsl_slots *self, struct tsl_heap *heap, const struct tsl_store *stores);

/* Frees every slot's contents and every node that no other tree shares; empty again.
 * Cost: O(nodes that are not shared). */
void tsl_slots_destroy(struct tsl_slots *self);

/* The slot of a page; empty where there is no node. Cost: one load a level, and O(1) in the leaf
 * that was used last. */
tsl_slot tsl_slots_get(const struct tsl_slots *self, size_t page);

/* As get; *exclusive as below. If it is, or there is no leaf, the next one here is O(1). */
tsl_slot tsl_slots_visit(struct tsl_slots *self, size_t page, bool *exclusive);

/* Whether no other tree shares the node that holds the page's slot. */
bool tsl_slots_is_exclusive(const struct tsl_slots *self, size_t page);

/* The first slot in first .. last that is not empty; false: none. Cost: O(levels + what is
 * skipped), absent nodes in one step. */
bool tsl_slots_next(const struct tsl_slots *self, size_t first, size_t last, size_t *page,
                    tsl_slot *slot);

/* Adds to `need` the nodes that tsl_slots_set would take for this page. */
void tsl_slots_need(const struct tsl_slots *self, size_t page, struct tsl_slot_need *need);

/*
 * Makes `slot`, which is not empty, the page's; the path to it is this tree's alone then.
 * Before:  the reserve has what tsl_slots_need asks for.
 * Owns:    the tree takes over one reference to what the slot names; the caller takes over that of
 *          the slot returned, which was there before.
 */
TSL_MUST_CHECK tsl_slot tsl_slots_set(struct tsl_slots *self, struct tsl_slot_reserve *reserve,
                                      size_t page, tsl_slot slot);

/* Adds to `need` the nodes that tsl_slots_clear may take: shared nodes at both borders. */
void tsl_slots_clear_need(struct tsl_slots *self, size_t first, size_t last,
                          struct tsl_slot_need *need);

/* Empties the slots first .. last and frees what they named. Before: as set.
 * Cost: O(levels + nodes in the range); shared nodes inside are dropped in one step each. */
void tsl_slots_clear(struct tsl_slots *self, struct tsl_slot_reserve *reserve, size_t first,
                     size_t last);

/* Adds to `need` the nodes that tsl_slots_move may take. */
void tsl_slots_move_need(const struct tsl_slots *self, size_t first, size_t last, size_t to,
                         struct tsl_slot_need *need);

/* Moves the slots first .. last, with what they name, to the pages from `to` on. Before: as set;
 * the slots there are empty, and the two runs do not overlap. Cost: O(slots in use). */
void tsl_slots_move(struct tsl_slots *self, struct tsl_slot_reserve *reserve, size_t first,
                    size_t last, size_t to);

/* Takes a slot out without freeing what it named; the caller takes over the reference. The slot is
 * there, and its path is exclusive. */
TSL_MUST_CHECK tsl_slot tsl_slots_take(struct tsl_slots *self, size_t page);

/*
 * Moves a slot from one state to another, if it is `expected` and nobody shares its node. For
 * whoever moves contents elsewhere while others may fault on the page.
 */
TSL_MUST_CHECK bool tsl_slots_exchange(struct tsl_slots *self, size_t page, tsl_slot expected,
                                       tsl_slot desired);

/* Makes `out`, which is empty, equal to this tree; all nodes are shared. Cost: O(1). */
void tsl_slots_clone(struct tsl_slots *self, struct tsl_slots *out);

/* Checks the rules S1 to S5 of the README. Reads only. Cost: O(nodes). */
struct tsl_defect tsl_slots_verify(const struct tsl_slots *self);

#endif
