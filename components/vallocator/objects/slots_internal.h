/* SPDX-License-Identifier: MIT
 *
 * slots_internal.h: the nodes of slot trees, as the files slots_*.c and their break test see them.
 *
 * Owns:    struct tsl_slot_node.
 * Needs:   slots.h.
 * Callers: slots.c, slots_move.c, slots_reserve.c, slots_verify.c, tests/vallocator.
 */
#ifndef TESELA_SLOTS_INTERNAL_H
#define TESELA_SLOTS_INTERNAL_H

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
unsigned tsl_slot_index(size_t page, unsigned level);

/* The levels that a tree with this page has. */
unsigned tsl_slot_height_for(size_t page);

/* An empty node with one reference. Before: the reserve has one. */
struct tsl_slot_node *tsl_slot_reserve_take(struct tsl_slot_reserve *self, bool is_leaf);

/* Gives up one reference to what the slot names. */
void tsl_slot_free_contents(const struct tsl_slots *self, tsl_slot slot);

#endif
