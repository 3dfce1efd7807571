/* SPDX-License-Identifier: MIT
 *
 * slots_verify.c: the rules of slot trees, checked.
 *
 * Owns:    nothing; reads only, allocates nothing, prints nothing.
 * Needs:   slots_internal.h.
 * Callers: the verifiers of spaces and objects, tests.
 *
 * Numbers S1 to S4 are in README.md.
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

struct tsl_defect tsl_slots_verify(const struct tsl_slots *self)
{
    const struct tsl_slot_node *way[TSL_SLOT_LEVELS];
    unsigned next[TSL_SLOT_LEVELS];
    if ((self->root == NULL) != (self->height == 0) || self->height > TSL_SLOT_LEVELS)
        return tsl_defect_at(COMPONENT, 4, self->height, "a tree has levels just if it has a root");
    if (!self->root)
        return TSL_NO_DEFECT;
    unsigned level = self->height - 1u, top = level;
    way[level] = self->root;
    next[level] = 0;
    struct tsl_defect defect = verify_node(self, self->root, level);
    while (!defect.rule) {
        if (level == 0 || next[level] == TSL_SLOT_NODE_ENTRIES) {
            if (level == top)
                return TSL_NO_DEFECT;
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
