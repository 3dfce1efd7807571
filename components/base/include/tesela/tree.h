/* SPDX-License-Identifier: MIT
 *
 * tree.h: intrusive red-black tree whose nodes can summarise their subtree.
 *
 * Owns:    nothing but the links inside the caller's structures.
 * Needs:   status.h. The caller's lock protects a tree, root and nodes together.
 * Callers: everybody who keeps things in order by address or size.
 *
 * No recursion, no allocation. A summary (such as "largest gap below me") must be a function of the
 * nodes of a subtree in their order: then rotations preserve it and every path is repaired once.
 */
#ifndef TESELA_TREE_H
#define TESELA_TREE_H

#include <tesela/status.h>

/* Links of one node. A node is on at most one tree. */
struct tsl_tree_node {
    uintptr_t parent_and_colour; /* bit 0: 1 = black */
    struct tsl_tree_node *left;
    struct tsl_tree_node *right;
};

/* What the tree must know of its nodes; constant for the life of a tree. */
struct tsl_tree_ops {
    /* The key of a node, as compare takes it. */
    const void *(*key)(const struct tsl_tree_node *node);
    /* < 0, 0, > 0: the key is before, at, behind the node. */
    int (*compare)(const void *key, const struct tsl_tree_node *node);
    /* Recomputes the node's summary from the node itself and its children's summaries; returns
     * whether it changed. NULL: no summaries. */
    bool (*augment)(struct tsl_tree_node *node);
    /* The node's summary is what augment would compute. For the verifier; NULL: not verified. */
    bool (*augment_is_right)(const struct tsl_tree_node *node);
};

struct tsl_tree {
    struct tsl_tree_node *root;
    const struct tsl_tree_ops *ops;
    size_t count;
};

/* An empty tree. Owns: the caller keeps `ops` in place. */
void tsl_tree_init(struct tsl_tree *self, const struct tsl_tree_ops *ops);

/* Owns: the node stays the caller's, and stays in place until it is removed.
 * Errors: TSL_EXISTS: a node with an equal key is there. Cost: O(log n), here and below. */
TSL_MUST_CHECK enum tsl_status tsl_tree_insert(struct tsl_tree *self, struct tsl_tree_node *node);

/* For who has searched already, without calls: the node becomes a child of `parent` (NULL: the root
 * of an empty tree) on this side, where there is none yet and where its key belongs. */
void tsl_tree_insert_at(struct tsl_tree *self, struct tsl_tree_node *node,
                        struct tsl_tree_node *parent, bool left);

/* Before: node is on this tree. */
void tsl_tree_remove(struct tsl_tree *self, struct tsl_tree_node *node);

/* Puts `fresh`, which has an equal key, in the place of `old`, which is then on no tree. O(1)
 * without summaries. */
void tsl_tree_replace(struct tsl_tree *self, struct tsl_tree_node *old,
                      struct tsl_tree_node *fresh);

/* Repairs the summaries from `node` up, after the caller changed what they are computed from.
 * The key may have changed too, as long as the order is the same. */
void tsl_tree_update(struct tsl_tree *self, struct tsl_tree_node *node);

/* The node with this key, or NULL. */
struct tsl_tree_node *tsl_tree_find(const struct tsl_tree *self, const void *key);
/* The first node that is not before the key (key <= node), or NULL. */
struct tsl_tree_node *tsl_tree_lower_bound(const struct tsl_tree *self, const void *key);
/* The last node that is not behind the key (node <= key), or NULL. */
struct tsl_tree_node *tsl_tree_at_or_before(const struct tsl_tree *self, const void *key);

/* In order; NULL at the end. Walking the whole tree costs O(n). */
struct tsl_tree_node *tsl_tree_first(const struct tsl_tree *self);
struct tsl_tree_node *tsl_tree_last(const struct tsl_tree *self);
struct tsl_tree_node *tsl_tree_next(const struct tsl_tree_node *node);
struct tsl_tree_node *tsl_tree_prev(const struct tsl_tree_node *node);

static inline bool tsl_tree_is_empty(const struct tsl_tree *self)
{
    return self->root == NULL;
}

/* Descending by summaries: the parent, NULL for the root; the children are fields. */
static inline struct tsl_tree_node *tsl_tree_parent(const struct tsl_tree_node *node)
{
    return (struct tsl_tree_node *)(node->parent_and_colour & ~(uintptr_t)1);
}

/* The first broken rule of the tree (rules 1 to 6 in the README of base; `place` is the node's
 * address). Reads only. Cost: O(n). */
struct tsl_defect tsl_tree_verify(const struct tsl_tree *self);

#endif
