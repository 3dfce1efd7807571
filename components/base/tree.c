/* SPDX-License-Identifier: MIT
 *
 * tree.c: red-black tree with summaries.
 *
 * Owns:    nothing but the links inside the caller's nodes.
 * Needs:   status.h.
 * Callers: everybody, through tree.h.
 *
 * Colours: the root and all missing children are black; a red node has black children; every path
 * down from a node passes the same number of black nodes. So no path is twice as long as another.
 * Source: Guibas and Sedgewick 1978; the case numbers are those of Cormen et al., "Introduction to
 * Algorithms", chapter 13, with `side` standing for left in one half of the cases.
 */
#include <tesela/tree.h>

#define BLACK ((uintptr_t)1)

_Static_assert(_Alignof(struct tsl_tree_node) > 1, "bit 0 of a node's address holds a colour");

static bool is_black(const struct tsl_tree_node *node)
{
    return node == NULL || (node->parent_and_colour & BLACK) != 0;
}

static bool is_red(const struct tsl_tree_node *node)
{
    return !is_black(node);
}

static void set_parent(struct tsl_tree_node *node, struct tsl_tree_node *parent)
{
    node->parent_and_colour = (uintptr_t)parent | (node->parent_and_colour & BLACK);
}

static void make_black(struct tsl_tree_node *node)
{
    node->parent_and_colour |= BLACK;
}

static void make_red(struct tsl_tree_node *node)
{
    node->parent_and_colour &= ~BLACK;
}

static void copy_colour(struct tsl_tree_node *to, const struct tsl_tree_node *from)
{
    to->parent_and_colour = (to->parent_and_colour & ~BLACK) | (from->parent_and_colour & BLACK);
}

/* The link to a child: the left one if `left`, else the right one. */
static struct tsl_tree_node **child(struct tsl_tree_node *node, bool left)
{
    return left ? &node->left : &node->right;
}

/* The link that points at the node: in its parent, or the root. */
static struct tsl_tree_node **link_to(struct tsl_tree *self, const struct tsl_tree_node *node)
{
    struct tsl_tree_node *parent = tsl_tree_parent(node);
    return parent == NULL ? &self->root : child(parent, parent->left == node);
}

static void augment(const struct tsl_tree *self, struct tsl_tree_node *node)
{
    if (self->ops->augment != NULL)
        (void)self->ops->augment(node);
}

/* The nodes from `node` up to `last`, whatever they say, and on upward until one does not change:
 * what is above that one has seen no other summary. Whether a node changed can be told only of one
 * that was in its place before. */
static void augment_upward(const struct tsl_tree *self, struct tsl_tree_node *node,
                           const struct tsl_tree_node *last)
{
    bool is_sure = last != NULL;
    for (; self->ops->augment != NULL && node != NULL; node = tsl_tree_parent(node)) {
        bool has_changed = self->ops->augment(node);
        is_sure = is_sure && node != last;
        if (!has_changed && !is_sure)
            return;
    }
}

/* The lowest node at or above `fresh`, which has just come to its place, that was in its own
 * before; the root if there is none. */
static struct tsl_tree_node *place_above(struct tsl_tree_node *fresh)
{
    struct tsl_tree_node *parent = tsl_tree_parent(fresh);
    return parent != NULL ? parent : fresh;
}

void tsl_tree_update(struct tsl_tree *self, struct tsl_tree_node *node)
{
    while (self->ops->augment != NULL && node != NULL && self->ops->augment(node))
        node = tsl_tree_parent(node);
}

/* Lifts the node's child of the given side above the node. The subtree holds the same nodes in the
 * same order, so the summaries above it stay right. */
static void rotate(struct tsl_tree *self, struct tsl_tree_node *node, bool left_child)
{
    struct tsl_tree_node *riser = *child(node, left_child);
    struct tsl_tree_node *middle = *child(riser, !left_child);
    *link_to(self, node) = riser;
    set_parent(riser, tsl_tree_parent(node));
    *child(node, left_child) = middle;
    if (middle != NULL)
        set_parent(middle, node);
    *child(riser, !left_child) = node;
    set_parent(node, riser);
    augment(self, node);
    augment(self, riser);
}

void tsl_tree_init(struct tsl_tree *self, const struct tsl_tree_ops *ops)
{
    self->root = NULL;
    self->ops = ops;
    self->count = 0;
}

/* `node` is red; its parent may be too. */
static void repair_insert(struct tsl_tree *self, struct tsl_tree_node *node)
{
    struct tsl_tree_node *parent;
    while ((parent = tsl_tree_parent(node)) != NULL && is_red(parent)) {
        /* A red node is not the root, so there is a grandparent. */
        struct tsl_tree_node *grandparent = tsl_tree_parent(parent);
        bool side = parent == grandparent->left;
        struct tsl_tree_node *uncle = *child(grandparent, !side);
        if (is_red(uncle)) {
            make_black(parent);
            make_black(uncle);
            make_red(grandparent);
            node = grandparent;
            continue;
        }
        if (node == *child(parent, !side)) {
            rotate(self, parent, !side);
            parent = node;
        }
        make_black(parent);
        make_red(grandparent);
        rotate(self, grandparent, side);
        break;
    }
    make_black(self->root);
}

void tsl_tree_insert_at(struct tsl_tree *self, struct tsl_tree_node *node,
                        struct tsl_tree_node *parent, bool left)
{
    struct tsl_tree_node **link = parent == NULL ? &self->root : child(parent, left);
    TSL_ASSERT(*link == NULL);
    node->parent_and_colour = (uintptr_t)parent;
    node->left = NULL;
    node->right = NULL;
    *link = node;
    self->count++;
    augment_upward(self, node, parent);
    repair_insert(self, node);
}

enum tsl_status tsl_tree_insert(struct tsl_tree *self, struct tsl_tree_node *node)
{
    const void *key = self->ops->key(node);
    struct tsl_tree_node *parent = NULL;
    bool left = false;
    for (struct tsl_tree_node *at = self->root; at != NULL; at = *child(at, left)) {
        parent = at;
        int order = self->ops->compare(key, at);
        if (order == 0)
            return TSL_EXISTS;
        left = order < 0;
    }
    tsl_tree_insert_at(self, node, parent, left);
    return TSL_OK;
}

/* Paths through `node`, a child of `parent` on `side`, pass one black node too few. `node` may be
 * NULL, that is why its place is told too. */
static void repair_remove(struct tsl_tree *self, struct tsl_tree_node *node,
                          struct tsl_tree_node *parent)
{
    while (node != self->root && is_black(node)) {
        bool side = node == parent->left;
        struct tsl_tree_node *sibling = *child(parent, !side);
        if (is_red(sibling)) { /* case 1: make the sibling black */
            make_black(sibling);
            make_red(parent);
            rotate(self, parent, !side);
            sibling = *child(parent, !side);
        }
        if (is_black(sibling->left) && is_black(sibling->right)) { /* case 2: go up */
            make_red(sibling);
            node = parent;
            parent = tsl_tree_parent(node);
            continue;
        }
        if (is_black(*child(sibling, !side))) { /* case 3: put the red nephew on the far side */
            rotate(self, sibling, side);        /* case 4 gives both their colours */
            sibling = *child(parent, !side);
        }
        copy_colour(sibling, parent); /* case 4: done */
        make_black(parent);
        make_black(*child(sibling, !side));
        rotate(self, parent, !side);
        return;
    }
    if (node != NULL)
        make_black(node);
}

/* Puts `fresh` (NULL: nothing) where `old` is, as seen from above. */
static void put_in_place(struct tsl_tree *self, struct tsl_tree_node *old,
                         struct tsl_tree_node *fresh)
{
    *link_to(self, old) = fresh;
    if (fresh != NULL)
        set_parent(fresh, tsl_tree_parent(old));
}

/* Gives `fresh` the children, the colour and the place of `old`. */
static void take_over(struct tsl_tree *self, struct tsl_tree_node *old, struct tsl_tree_node *fresh)
{
    *link_to(self, old) = fresh;
    *fresh = *old;
    if (fresh->left != NULL)
        set_parent(fresh->left, fresh);
    if (fresh->right != NULL)
        set_parent(fresh->right, fresh);
}

void tsl_tree_remove(struct tsl_tree *self, struct tsl_tree_node *node)
{
    /* What leaves its place is the node itself or, if it has two children, the next in order, which
     * then takes over the node's place. That one has no left child. */
    struct tsl_tree_node *leaver = node;
    if (node->left != NULL && node->right != NULL)
        leaver = tsl_tree_next(node);
    struct tsl_tree_node *heir = leaver->left != NULL ? leaver->left : leaver->right;
    struct tsl_tree_node *parent = tsl_tree_parent(leaver);
    bool lost_black = is_black(leaver);
    put_in_place(self, leaver, heir);
    if (leaver != node) {
        take_over(self, node, leaver);
        parent = parent == node ? leaver : parent;
    }
    self->count--;
    augment_upward(self, parent, leaver != node ? place_above(leaver) : parent);
    if (lost_black)
        repair_remove(self, heir, parent);
}

void tsl_tree_replace(struct tsl_tree *self, struct tsl_tree_node *old, struct tsl_tree_node *fresh)
{
    take_over(self, old, fresh);
    augment_upward(self, fresh, place_above(fresh));
}

struct tsl_tree_node *tsl_tree_find(const struct tsl_tree *self, const void *key)
{
    struct tsl_tree_node *node = self->root;
    while (node != NULL) {
        int order = self->ops->compare(key, node);
        if (order == 0)
            return node;
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

struct tsl_tree_node *tsl_tree_lower_bound(const struct tsl_tree *self, const void *key)
{
    struct tsl_tree_node *node = self->root;
    struct tsl_tree_node *best = NULL;
    while (node != NULL) {
        if (self->ops->compare(key, node) <= 0) {
            best = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

struct tsl_tree_node *tsl_tree_at_or_before(const struct tsl_tree *self, const void *key)
{
    struct tsl_tree_node *node = self->root;
    struct tsl_tree_node *best = NULL;
    while (node != NULL) {
        if (self->ops->compare(key, node) >= 0) {
            best = node;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    return best;
}

/* The outermost node of a subtree on one side. */
static struct tsl_tree_node *outermost(struct tsl_tree_node *node, bool left)
{
    while (node != NULL && *child(node, left) != NULL)
        node = *child(node, left);
    return node;
}

/* The neighbour in order on one side. */
static struct tsl_tree_node *neighbour(const struct tsl_tree_node *node, bool left)
{
    struct tsl_tree_node *inner = left ? node->left : node->right;
    if (inner != NULL)
        return outermost(inner, !left);
    struct tsl_tree_node *parent = tsl_tree_parent(node);
    while (parent != NULL && node == *child(parent, left)) {
        node = parent;
        parent = tsl_tree_parent(node);
    }
    return parent;
}

struct tsl_tree_node *tsl_tree_first(const struct tsl_tree *self)
{
    return outermost(self->root, true);
}

struct tsl_tree_node *tsl_tree_last(const struct tsl_tree *self)
{
    return outermost(self->root, false);
}

struct tsl_tree_node *tsl_tree_next(const struct tsl_tree_node *node)
{
    return neighbour(node, false);
}

struct tsl_tree_node *tsl_tree_prev(const struct tsl_tree_node *node)
{
    return neighbour(node, true);
}
