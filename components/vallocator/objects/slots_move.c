/* SPDX-License-Identifier: MIT
 *
 * slots_move.c: a run of slots goes to other page numbers of the same tree.
 *
 * Owns:    nothing.
 * Needs:   slots_internal.h, slots.c.
 * Callers: space_remap.c.
 *
 * A slot is written at its new place before it is taken out of the old one: so no node of the new
 * path is dropped as empty in between. The new paths are counted as if no node of them were there:
 * what is there now may be dropped together with the slots that leave it.
 */
#include "slots_internal.h"

#include <tesela/atomic.h>

/* The node of `level` in which the page's entry lies, as a number; other pages of it have it
 * too. */
static size_t node_number(size_t page, unsigned level)
{
    return page >> (TSL_SLOT_NODE_BITS * (level + 1u));
}

static void count_node(struct tsl_slot_need *need, unsigned level)
{
    *(level == 0 ? &need->leaves : &need->inners) += 1;
}

/* The nodes on the way to `page`, but for those on the way to `before`, which were counted. */
static void need_new_path(size_t page, const size_t *before, unsigned height,
                          struct tsl_slot_need *need)
{
    for (unsigned level = 0; level < height; level++)
        if (!before || node_number(page, level) != node_number(*before, level))
            count_node(need, level);
}

/* The same of nodes that other trees share, and that are copied before anything leaves them. */
static void need_own_path(const struct tsl_slots *self, size_t page, const size_t *before,
                          struct tsl_slot_need *need)
{
    const struct tsl_slot_node *node = self->root;
    bool shared = false;
    for (unsigned level = self->height; node && level-- > 0;) {
        shared = shared || tsl_atomic_load_acquire_u32(&node->refs) > 1;
        if (shared && (!before || node_number(page, level) != node_number(*before, level)))
            count_node(need, level);
        if (level > 0)
            node = node->child[tsl_slot_index(page, level)];
    }
}

void tsl_slots_move_need(const struct tsl_slots *self, size_t first, size_t last, size_t to,
                         struct tsl_slot_need *need)
{
    size_t page, before, before_to;
    tsl_slot slot;
    bool any = false;
    unsigned height = tsl_slot_height_for(to + (last - first));
    if (height < self->height)
        height = self->height;
    for (size_t at = first; at <= last && tsl_slots_next(self, at, last, &page, &slot);
         at = page + 1u) {
        size_t page_to = to + (page - first);
        if (!any) /* roots above the one that is there */
            need->inners += height - self->height;
        need_new_path(page_to, any ? &before_to : NULL, height, need);
        need_own_path(self, page, any ? &before : NULL, need);
        any = true;
        before = page;
        before_to = page_to;
    }
}

void tsl_slots_move(struct tsl_slots *self, struct tsl_slot_reserve *reserve, size_t first,
                    size_t last, size_t to)
{
    size_t page;
    tsl_slot slot;
    for (size_t at = first; at <= last && tsl_slots_next(self, at, last, &page, &slot);
         at = page + 1u) {
        /* Written once more in its old place: the path to it is ours alone then. */
        tsl_slot same = tsl_slots_set(self, reserve, page, slot);
        tsl_slot none = tsl_slots_set(self, reserve, to + (page - first), slot);
        tsl_slot taken = tsl_slots_take(self, page);
        TSL_ASSERT(same == slot && none == 0 && taken == slot);
    }
}
