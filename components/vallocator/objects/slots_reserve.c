/* SPDX-License-Identifier: MIT
 *
 * slots_reserve.c: nodes of slot trees, got before a lock is taken.
 *
 * Owns:    struct tsl_slot_reserve.
 * Needs:   heap_allocator.
 * Callers: see slots.h.
 */
#include "slots_internal.h"

#include <string.h>

#define HEAD        offsetof(struct tsl_slot_node, slot)
#define LEAF_BYTES  (HEAD + TSL_SLOT_NODE_ENTRIES * sizeof(tsl_slot))
#define INNER_BYTES (HEAD + TSL_SLOT_NODE_ENTRIES * sizeof(struct tsl_slot_node *))

struct tsl_slot_spare {
    struct tsl_slot_spare *next;
};

static struct tsl_slot_spare **stack_of(struct tsl_slot_reserve *self, bool is_leaf)
{
    return is_leaf ? &self->leaves : &self->inners;
}

static unsigned *count_of(struct tsl_slot_reserve *self, bool is_leaf)
{
    return is_leaf ? &self->count.leaves : &self->count.inners;
}

static bool fill(struct tsl_slot_reserve *self, struct tsl_heap *heap, bool is_leaf, unsigned need)
{
    struct tsl_slot_spare **stack = stack_of(self, is_leaf);
    unsigned *count = count_of(self, is_leaf);
    while (*count < need) {
        struct tsl_slot_spare *spare = tsl_heap_alloc(heap, is_leaf ? LEAF_BYTES : INNER_BYTES);
        if (!spare)
            return false;
        spare->next = *stack;
        *stack = spare;
        (*count)++;
    }
    return true;
}

enum tsl_status tsl_slot_reserve_fill(struct tsl_slot_reserve *self, struct tsl_heap *heap,
                                      const struct tsl_slot_need *need)
{
    if (!fill(self, heap, true, need->leaves) || !fill(self, heap, false, need->inners))
        return TSL_NO_MEMORY;
    return TSL_OK;
}

bool tsl_slot_reserve_has(const struct tsl_slot_reserve *self, const struct tsl_slot_need *need)
{
    return self->count.leaves >= need->leaves && self->count.inners >= need->inners;
}

struct tsl_slot_node *tsl_slot_reserve_take(struct tsl_slot_reserve *self, bool is_leaf)
{
    struct tsl_slot_spare **stack = stack_of(self, is_leaf);
    struct tsl_slot_spare *spare = *stack;
    TSL_ASSERT(spare != NULL); /* else tsl_slots_need asked for too few */
    *stack = spare->next;
    (*count_of(self, is_leaf))--;
    memset(spare, 0, is_leaf ? LEAF_BYTES : INNER_BYTES);
    struct tsl_slot_node *node = (struct tsl_slot_node *)(void *)spare;
    node->refs = 1;
    return node;
}

void tsl_slot_reserve_drop(struct tsl_slot_reserve *self, struct tsl_heap *heap)
{
    while (self->count.leaves + self->count.inners > 0) {
        bool is_leaf = self->count.leaves > 0;
        enum tsl_status status = tsl_heap_free(heap, tsl_slot_reserve_take(self, is_leaf));
        TSL_ASSERT(status == TSL_OK);
    }
}
