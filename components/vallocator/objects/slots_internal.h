/* SPDX-License-Identifier: MIT
 *
 * slots_internal.h: the nodes of slot trees, as the files slots_*.c and their break test see them.
 *
 * Owns:    struct tsl_slot_node.
 * Needs:   slots.h.
 * Callers: space_fault.c, space_fault_short.c, space_populate.c (the short ways), slots.c,
 *          slots_move.c, slots_reserve.c, slots_verify.c, tests/vallocator.
 */
#ifndef TESELA_SLOTS_INTERNAL_H
#define TESELA_SLOTS_INTERNAL_H

#include <tesela/atomic.h>

#include "slots.h"

/* The node of level 0 has slots, all above have children. A leaf is allocated only as long as its
 * slots are. */
struct tsl_slot_node {
    uint32_t refs; /* trees and nodes that point here */
    uint16_t used; /* entries that are not empty */
    union {
        struct tsl_slot_node *child[TSL_SLOT_NODE_ENTRIES];
        tsl_slot slot[TSL_SLOT_NODE_ENTRIES];
    };
};

/* The index of the page's entry in its node of `level`. */
static inline unsigned tsl_slot_index(size_t page, unsigned level)
{
    return (unsigned)(page >> (TSL_SLOT_NODE_BITS * level)) & (TSL_SLOT_NODE_ENTRIES - 1u);
}

/* The slot of the page, if its leaf was used last; else NULL. */
static inline tsl_slot *tsl_slots_near(const struct tsl_slots *self, size_t page)
{
    if (TSL_UNLIKELY(page >> TSL_SLOT_NODE_BITS != self->leaf_number || !self->leaf))
        return NULL;
    return &self->leaf->slot[tsl_slot_index(page, 0)];
}

/* The same, also where it is known that there is no leaf: *out is NULL then. False: not known. */
static inline bool tsl_slots_reach(const struct tsl_slots *self, size_t page, tsl_slot **out)
{
    if (TSL_UNLIKELY(page >> TSL_SLOT_NODE_BITS != self->leaf_number))
        return false;
    *out = self->leaf ? &self->leaf->slot[tsl_slot_index(page, 0)] : NULL;
    return true;
}

/* tsl_slots_visit and tsl_slots_set, in a few instructions where the leaf was used last. */
static inline tsl_slot tsl_slots_look(struct tsl_slots *self, size_t page, bool *exclusive)
{
    const tsl_slot *near = tsl_slots_near(self, page);
    if (!near)
        return tsl_slots_visit(self, page, exclusive);
    *exclusive = true;
    return tsl_atomic_load_u32(near);
}

TSL_MUST_CHECK static inline tsl_slot
tsl_slots_put(struct tsl_slots *self, struct tsl_slot_reserve *reserve, size_t page, tsl_slot slot)
{
    tsl_slot *near = tsl_slots_near(self, page);
    if (!near)
        return tsl_slots_set(self, reserve, page, slot);
    tsl_slot old = tsl_atomic_exchange_u32(near, slot);
    if (!old)
        self->leaf->used++;
    return old;
}

/* The levels that a tree with this page has. */
unsigned tsl_slot_height_for(size_t page);

/* An empty node with one reference. Before: the reserve has one. */
struct tsl_slot_node *tsl_slot_reserve_take(struct tsl_slot_reserve *self, bool is_leaf);

/* Gives up one reference to what the slot names. */
void tsl_slot_free_contents(const struct tsl_slots *self, tsl_slot slot);

#endif
