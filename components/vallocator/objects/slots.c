/* SPDX-License-Identifier: MIT
 *
 * slots.c: radix trees of slots whose nodes are counted and copied on write.
 *
 * Owns:    the nodes.
 * Needs:   heap_allocator, store.h.
 * Callers: see slots.h.
 *
 * Theory. A node's count says how many trees or nodes point at it. Whoever holds the lock of a tree
 * may change a node if every count on the way from the root is 1: nobody else can reach it, and a
 * count is only raised by somebody who reaches it. Otherwise it is copied first: the copy takes a
 * reference to each child or to what each slot names, and only then the old node is let go. Two
 * trees that copy the same node at once both copy it, and the last one to let go frees it.
 */
#include "slots.h"

#include "slots_internal.h"

#include <tesela/atomic.h>

/* The last page under the node of `level` that holds `page`. */
static size_t span_last(size_t page, unsigned level)
{
    return page | (((size_t)1 << (TSL_SLOT_NODE_BITS * (level + 1u))) - 1u);
}

static size_t span_first(size_t page, unsigned level)
{
    return page & ~(((size_t)1 << (TSL_SLOT_NODE_BITS * (level + 1u))) - 1u);
}

unsigned tsl_slot_height_for(size_t page)
{
    unsigned height = 1;
    while (span_last(0, height - 1u) < page)
        height++;
    TSL_ASSERT(height <= TSL_SLOT_LEVELS);
    return height;
}

static bool is_shared(const struct tsl_slot_node *node)
{
    return tsl_atomic_load_acquire_u32(&node->refs) > 1;
}

void tsl_slots_init(struct tsl_slots *self, struct tsl_heap *heap, const struct tsl_store *stores)
{
    *self = (struct tsl_slots){.heap = heap, .stores = stores, .leaf_number = TSL_SLOT_NO_LEAF};
}

/* ---- The leaf that was used last. ---- */

/*
 * Its way stays this tree's alone until the tree is cloned, and it stays there until slots are
 * taken away: both forget it. Nobody else can reach a node on it, so no count on it is raised. That
 * a leaf is not there stays true until tsl_slots_set makes one, which remembers that.
 */
static inline bool is_remembered(const struct tsl_slots *self, size_t page)
{
    return page >> TSL_SLOT_NODE_BITS == self->leaf_number;
}

static inline void remember(struct tsl_slots *self, size_t page, struct tsl_slot_node *leaf)
{
    self->leaf = leaf;
    self->leaf_number = page >> TSL_SLOT_NODE_BITS;
}

static inline void forget(struct tsl_slots *self)
{
    self->leaf_number = TSL_SLOT_NO_LEAF;
}

/* ---- Reading. ---- */

/* The leaf for the page, or NULL; *shared: some node on the way has another owner too. */
TSL_NOINLINE static struct tsl_slot_node *walk_to_leaf(const struct tsl_slots *self, size_t page,
                                                       bool *shared)
{
    struct tsl_slot_node *node = self->root;
    *shared = false;
    if (!node || page > span_last(0, self->height - 1u))
        return NULL;
    for (unsigned level = self->height - 1u; node; level--) {
        *shared = *shared || is_shared(node);
        if (level == 0)
            break;
        node = node->child[tsl_slot_index(page, level)];
    }
    return node;
}

static inline struct tsl_slot_node *leaf_of(const struct tsl_slots *self, size_t page, bool *shared)
{
    if (TSL_UNLIKELY(!is_remembered(self, page)))
        return walk_to_leaf(self, page, shared);
    *shared = false;
    return self->leaf;
}

tsl_slot tsl_slots_get(const struct tsl_slots *self, size_t page)
{
    bool shared;
    const struct tsl_slot_node *leaf = leaf_of(self, page, &shared);
    return leaf ? tsl_atomic_load_u32(&leaf->slot[tsl_slot_index(page, 0)]) : 0;
}

tsl_slot tsl_slots_visit(struct tsl_slots *self, size_t page, bool *exclusive)
{
    bool shared;
    struct tsl_slot_node *leaf = leaf_of(self, page, &shared);
    *exclusive = leaf && !shared;
    if (!leaf || !shared)
        remember(self, page, leaf);
    return leaf ? tsl_atomic_load_u32(&leaf->slot[tsl_slot_index(page, 0)]) : 0;
}

bool tsl_slots_is_exclusive(const struct tsl_slots *self, size_t page)
{
    bool shared;
    const struct tsl_slot_node *leaf = leaf_of(self, page, &shared);
    return leaf && !shared;
}

/* The slot of `page`, or how far there is none: *next is the first page not known to be empty. */
static tsl_slot probe(const struct tsl_slots *self, size_t page, size_t *next)
{
    const struct tsl_slot_node *node = self->root;
    for (unsigned level = self->height - 1u; level > 0; level--) {
        node = node->child[tsl_slot_index(page, level)];
        if (!node) {
            *next = span_last(page, level - 1u) + 1u;
            return 0;
        }
    }
    *next = page + 1u;
    return tsl_atomic_load_u32(&node->slot[tsl_slot_index(page, 0)]);
}

bool tsl_slots_next(const struct tsl_slots *self, size_t first, size_t last, size_t *page,
                    tsl_slot *slot)
{
    if (!self->root)
        return false;
    size_t end = span_last(0, self->height - 1u);
    if (last > end)
        last = end;
    for (size_t at = first, next; at <= last; at = next) {
        tsl_slot found = probe(self, at, &next);
        if (!found)
            continue;
        *page = at;
        *slot = found;
        return true;
    }
    return false;
}

/* ---- Letting go. ---- */

void tsl_slot_free_contents(const struct tsl_slots *self, tsl_slot slot)
{
    const struct tsl_store *store = &self->stores[tsl_slot_type_of(slot)];
    if (slot && store->free)
        store->free(store->context, slot);
}

static void free_node(const struct tsl_slots *self, struct tsl_slot_node *node)
{
    enum tsl_status status = tsl_heap_free_flags(self->heap, node, TSL_HEAP_NO_WAIT);
    TSL_ASSERT(status == TSL_OK);
}

static bool was_last_reference(struct tsl_slot_node *node)
{
    return tsl_atomic_sub_u32(&node->refs, 1) == 1;
}

static void free_leaf(const struct tsl_slots *self, struct tsl_slot_node *leaf)
{
    unsigned types = 0; /* a bit for each store that has been asked for all of its slots */
    for (unsigned i = 0; leaf->used > 0 && i < TSL_SLOT_NODE_ENTRIES; i++) {
        tsl_slot slot = leaf->slot[i];
        unsigned type = tsl_slot_type_of(slot);
        leaf->used = (uint16_t)(leaf->used - (slot != 0));
        if (types >> type & 1u)
            continue;
        const struct tsl_store *store = &self->stores[type];
        if (store->free_some) {
            store->free_some(store->context, &leaf->slot[i], TSL_SLOT_NODE_ENTRIES - i);
            types |= 1u << type;
        } else {
            tsl_slot_free_contents(self, slot);
        }
    }
    free_node(self, leaf);
}

/* Lets go of a node and, if nobody else has it, of everything below. The way down is kept in the
 * nodes themselves: nobody else sees them any more. */
static void put_node(const struct tsl_slots *self, struct tsl_slot_node *node, unsigned level)
{
    struct tsl_slot_node *way[TSL_SLOT_LEVELS];
    unsigned top = level;
    if (!was_last_reference(node))
        return;
    for (;;) {
        way[level] = node;
        if (level == 0) {
            free_leaf(self, node);
        } else if (node->used > 0) {
            unsigned i = 0;
            while (!node->child[i])
                i++;
            struct tsl_slot_node *child = node->child[i];
            node->child[i] = NULL;
            node->used--;
            if (was_last_reference(child)) {
                node = child;
                level--;
            }
            continue;
        } else {
            free_node(self, node);
        }
        if (level == top)
            return;
        node = way[++level];
    }
}

void tsl_slots_destroy(struct tsl_slots *self)
{
    forget(self);
    if (self->root)
        put_node(self, self->root, self->height - 1u);
    self->root = NULL;
    self->height = 0;
}

/* ---- Writing. ---- */

TSL_NOINLINE static void need_nodes(const struct tsl_slots *self, size_t page,
                                    struct tsl_slot_need *need)
{
    bool shared;
    if (walk_to_leaf(self, page, &shared) && !shared)
        return;
    unsigned height = tsl_slot_height_for(page);
    if (self->height < height) {
        /* New roots above the old one, and a path of its own from the topmost down. */
        need->inners += height - 1u + (self->root ? height - self->height - 1u : 0);
        need->leaves++;
        return;
    }
    const struct tsl_slot_node *node = self->root;
    bool own = true;
    for (unsigned level = self->height; level-- > 0;) {
        own = own && node && !is_shared(node);
        if (!own)
            *(level == 0 ? &need->leaves : &need->inners) += 1;
        if (level > 0 && node)
            node = node->child[tsl_slot_index(page, level)];
    }
}

void tsl_slots_need(const struct tsl_slots *self, size_t page, struct tsl_slot_need *need)
{
    if (!is_remembered(self, page) || !self->leaf)
        need_nodes(self, page, need);
}

/* A copy of a shared node, for this tree alone. */
static struct tsl_slot_node *unshare(struct tsl_slots *self, struct tsl_slot_reserve *reserve,
                                     struct tsl_slot_node *old, unsigned level)
{
    struct tsl_slot_node *copy = tsl_slot_reserve_take(reserve, level == 0);
    copy->used = old->used;
    for (unsigned i = 0; i < TSL_SLOT_NODE_ENTRIES; i++) {
        if (level > 0) {
            copy->child[i] = old->child[i];
            if (copy->child[i])
                (void)tsl_atomic_add_u32(&copy->child[i]->refs, 1);
            continue;
        }
        copy->slot[i] = tsl_atomic_load_u32(&old->slot[i]);
        const struct tsl_store *store = &self->stores[tsl_slot_type_of(copy->slot[i])];
        if (copy->slot[i] && store->dup)
            store->dup(store->context, copy->slot[i]);
    }
    put_node(self, old, level); /* the other owner may have let go of it meanwhile */
    return copy;
}

static void grow(struct tsl_slots *self, struct tsl_slot_reserve *reserve, unsigned height)
{
    while (self->height < height) {
        if (self->root) {
            struct tsl_slot_node *root = tsl_slot_reserve_take(reserve, false);
            root->child[0] = self->root;
            root->used = 1;
            self->root = root;
        }
        self->height++;
    }
}

/* The leaf for the page, with a way to it that is this tree's alone. */
static struct tsl_slot_node *make_way(struct tsl_slots *self, struct tsl_slot_reserve *reserve,
                                      size_t page)
{
    grow(self, reserve, tsl_slot_height_for(page));
    struct tsl_slot_node **link = &self->root;
    struct tsl_slot_node *parent = NULL;
    for (unsigned level = self->height - 1u;; level--) {
        if (!*link) {
            *link = tsl_slot_reserve_take(reserve, level == 0);
            if (parent)
                parent->used++;
        } else if (is_shared(*link)) {
            *link = unshare(self, reserve, *link, level);
        }
        parent = *link;
        if (level == 0)
            return parent;
        link = &parent->child[tsl_slot_index(page, level)];
    }
}

tsl_slot tsl_slots_set(struct tsl_slots *self, struct tsl_slot_reserve *reserve, size_t page,
                       tsl_slot slot)
{
    TSL_ASSERT(slot != 0);
    bool shared;
    struct tsl_slot_node *leaf = leaf_of(self, page, &shared);
    if (!leaf || shared)
        leaf = make_way(self, reserve, page);
    remember(self, page, leaf);
    tsl_slot old = tsl_atomic_exchange_u32(&leaf->slot[tsl_slot_index(page, 0)], slot);
    if (!old)
        leaf->used++;
    return old;
}

bool tsl_slots_exchange(struct tsl_slots *self, size_t page, tsl_slot expected, tsl_slot desired)
{
    bool shared;
    struct tsl_slot_node *leaf = leaf_of(self, page, &shared);
    if (!leaf || shared || !expected || !desired)
        return false;
    return tsl_atomic_compare_exchange_u32(&leaf->slot[tsl_slot_index(page, 0)], &expected,
                                           desired);
}

void tsl_slots_clone(struct tsl_slots *self, struct tsl_slots *out)
{
    TSL_ASSERT(!out->root);
    forget(self);
    if (self->root)
        (void)tsl_atomic_add_u32(&self->root->refs, 1);
    forget(out);
    out->root = self->root;
    out->height = self->height;
}

/* ---- Clearing. ---- */

/* Adds the nodes on the way to `page` that somebody else has too. */
static void need_way(const struct tsl_slots *self, size_t page, struct tsl_slot_need *need)
{
    const struct tsl_slot_node *node = self->root;
    bool shared = false;
    for (unsigned level = self->height; node && level-- > 0;) {
        shared = shared || is_shared(node);
        if (shared)
            *(level == 0 ? &need->leaves : &need->inners) += 1;
        if (level > 0)
            node = node->child[tsl_slot_index(page, level)];
    }
}

/* Whether a run is known to be empty since it lies in a leaf that is not there; remembered. */
static bool has_no_leaf(struct tsl_slots *self, size_t first, size_t last)
{
    bool exclusive;
    if ((first ^ last) >> TSL_SLOT_NODE_BITS != 0)
        return false;
    if (!is_remembered(self, first))
        (void)tsl_slots_visit(self, first, &exclusive);
    return is_remembered(self, first) && !self->leaf;
}

void tsl_slots_clear_need(struct tsl_slots *self, size_t first, size_t last,
                          struct tsl_slot_need *need)
{
    size_t page;
    tsl_slot slot;
    if (has_no_leaf(self, first, last) || !tsl_slots_next(self, first, last, &page, &slot))
        return;
    size_t end = span_last(0, self->height - 1u);
    if (first == 0 && last >= end)
        return; /* the whole tree goes */
    need_way(self, first, need);
    need_way(self, last < end ? last : end, need);
}

/* Drops nodes that have become empty, from the deepest on the way up. */
static void trim(struct tsl_slots *self, struct tsl_slot_node **way, size_t page, unsigned level)
{
    for (; way[level]->used == 0; level++) {
        free_node(self, way[level]);
        if (level == self->height - 1u) {
            self->root = NULL;
            self->height = 0;
            return;
        }
        way[level + 1u]->child[tsl_slot_index(page, level + 1u)] = NULL;
        way[level + 1u]->used--;
    }
}

/* Empties the largest piece that holds `page`, which is in use, and lies in first .. last. Returns
 * the last page of the piece. */
static size_t clear_piece(struct tsl_slots *self, struct tsl_slot_reserve *reserve, size_t page,
                          size_t first, size_t last)
{
    struct tsl_slot_node *way[TSL_SLOT_LEVELS];
    struct tsl_slot_node **link = &self->root;
    unsigned level = self->height - 1u;
    while (span_first(page, level) < first || span_last(page, level) > last) {
        if (is_shared(*link))
            *link = unshare(self, reserve, *link, level);
        way[level] = *link;
        if (level == 0) {
            unsigned i = tsl_slot_index(page, 0);
            tsl_slot_free_contents(self, way[0]->slot[i]);
            way[0]->slot[i] = 0;
            way[0]->used--;
            trim(self, way, page, 0);
            return page;
        }
        link = &way[level]->child[tsl_slot_index(page, level)];
        level--;
    }
    put_node(self, *link, level);
    *link = NULL;
    if (level == self->height - 1u) {
        self->height = 0;
    } else {
        way[level + 1u]->used--;
        trim(self, way, page, level + 1u);
    }
    return span_last(page, level);
}

void tsl_slots_clear(struct tsl_slots *self, struct tsl_slot_reserve *reserve, size_t first,
                     size_t last)
{
    size_t page;
    tsl_slot slot;
    if (has_no_leaf(self, first, last))
        return;
    forget(self);
    for (size_t at = first; at <= last && tsl_slots_next(self, at, last, &page, &slot);) {
        at = clear_piece(self, reserve, page, first, last);
        if (at++ == last)
            return;
    }
}

tsl_slot tsl_slots_take(struct tsl_slots *self, size_t page)
{
    struct tsl_slot_node *way[TSL_SLOT_LEVELS];
    struct tsl_slot_node *node = self->root;
    forget(self);
    for (unsigned level = self->height; level-- > 0;) {
        TSL_ASSERT(node && !is_shared(node));
        way[level] = node;
        if (level > 0)
            node = node->child[tsl_slot_index(page, level)];
    }
    tsl_slot slot = tsl_atomic_exchange_u32(&way[0]->slot[tsl_slot_index(page, 0)], 0);
    TSL_ASSERT(slot != 0);
    way[0]->used--;
    trim(self, way, page, 0);
    return slot;
}
