/* SPDX-License-Identifier: MIT
 *
 * slots_verify.c: the rules of slot trees, checked.
 *
 * Owns:    nothing; reads only, allocates nothing, prints nothing.
 * Needs:   slots_internal.h.
 * Callers: the verifiers of spaces and objects, tests.
 *
 * Numbers S1 to S5 are in README.md.
 */
#include "slots_internal.h"

#include <tesela/atomic.h>

#define COMPONENT "slots"

static struct tsl_defect verify_node(const struct tsl_slots *self, const struct tsl_slot_node *node,
                                     unsigned level)
{
    unsigned used = 0;
    if (tsl_atomic_load_u32(&node->refs) == 0)
        return tsl_defect_at(COMPONENT, 1, (uintptr_t)node, "somebody points at every node");
    for (unsigned i = 0; i < TSL_SLOT_NODE_ENTRIES; i++) {
        used += level > 0 ? node->child[i] != NULL : node->slot[i] != 0;
        unsigned type = level > 0 ? TSL_SLOT_EMPTY : tsl_slot_type_of(node->slot[i]);
        if (type >= TSL_SLOT_TYPES || (type > TSL_SLOT_ZERO && !self->stores[type].load))
            return tsl_defect_at(COMPONENT, 2, (uintptr_t)&node->slot[i],
                                 "every slot is of a type that is looked after");
    }
    if (used != node->used || used == 0)
        return tsl_defect_at(COMPONENT, 3, (uintptr_t)node,
                             "a node knows how many entries it has, and has one");
    return TSL_NO_DEFECT;
}

/* Reads the way from the root: what is remembered may be anything. */
static struct tsl_defect verify_remembered(const struct tsl_slots *self)
{
    if (self->leaf_number == TSL_SLOT_NO_LEAF)
        return TSL_NO_DEFECT;
    size_t page = self->leaf_number << TSL_SLOT_NODE_BITS;
    unsigned above = self->height * TSL_SLOT_NODE_BITS;
    bool is_below = self->height > 0 && (above >= TSL_WORD_BITS || page >> above == 0);
    const struct tsl_slot_node *node = is_below ? self->root : NULL;
    bool shared = false;
    for (unsigned level = self->height; node && level-- > 0;) {
        shared = shared || tsl_atomic_load_u32(&node->refs) != 1;
        if (level > 0)
            node = node->child[tsl_slot_index(page, level)];
    }
    if (node != self->leaf || (node && shared))
        return tsl_defect_at(COMPONENT, 5, page,
                             "the leaf used last is in the tree, on a way that is its alone");
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_slots_verify(const struct tsl_slots *self)
{
    const struct tsl_slot_node *way[TSL_SLOT_LEVELS];
    unsigned next[TSL_SLOT_LEVELS];
    if ((self->root == NULL) != (self->height == 0) || self->height > TSL_SLOT_LEVELS)
        return tsl_defect_at(COMPONENT, 4, self->height, "a tree has levels just if it has a root");
    if (!self->root)
        return verify_remembered(self);
    unsigned level = self->height - 1u, top = level;
    way[level] = self->root;
    next[level] = 0;
    struct tsl_defect defect = verify_node(self, self->root, level);
    while (!defect.rule) {
        if (level == 0 || next[level] == TSL_SLOT_NODE_ENTRIES) {
            if (level == top)
                return verify_remembered(self);
            level++;
            continue;
        }
        const struct tsl_slot_node *child = way[level]->child[next[level]++];
        if (!child)
            continue;
        way[--level] = child;
        next[level] = 0;
        defect = verify_node(self, child, level);
    }
    return defect;
}
