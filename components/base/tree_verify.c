/* SPDX-License-Identifier: MIT
 *
 * tree_verify.c: the rules of the tree, checked.
 *
 * Owns:    nothing; reads only.
 * Needs:   tree.h.
 * Callers: verifiers of components that keep trees, and tests.
 *
 * Walks by the child links alone, with a bound on the steps, so that a broken tree cannot make the
 * verifier loop. Rules 1 to 6 stand in the README.
 */
#include <tesela/tree.h>

enum rule { RULE_ROOT = 1, RULE_LINKS, RULE_RED, RULE_BLACKS, RULE_ORDER, RULE_SUMMARY };

static const char *const sentences[] = {
    [RULE_ROOT] = "the root is black and has no parent",
    [RULE_LINKS] = "a child's parent is the node that has it as child, and the count is exact",
    [RULE_RED] = "a red node has no red child",
    [RULE_BLACKS] = "every path from the root passes the same number of black nodes",
    [RULE_ORDER] = "keys ascend strictly",
    [RULE_SUMMARY] = "a node's summary is what its subtree gives",
};

/* How far the walk has come. */
struct walk {
    const struct tsl_tree *tree;
    const struct tsl_tree_node *previous; /* in order */
    size_t seen;
    unsigned blacks;      /* on the path from the root, the current node included */
    unsigned blacks_down; /* on the first complete path; 0: none yet */
};

static struct tsl_defect broken(enum rule rule, const struct tsl_tree_node *node)
{
    return tsl_defect_at("tree", rule, (uintptr_t)node, sentences[rule]);
}

static bool is_black(const struct tsl_tree_node *node)
{
    return node == NULL || (node->parent_and_colour & 1) != 0;
}

/* On the way down, before either subtree: what concerns the node and its links. */
static enum rule check_links(struct walk *walk, const struct tsl_tree_node *node)
{
    if (++walk->seen > walk->tree->count)
        return RULE_LINKS;
    if ((node->left != NULL && tsl_tree_parent(node->left) != node) ||
        (node->right != NULL && tsl_tree_parent(node->right) != node))
        return RULE_LINKS;
    if (!is_black(node) && !(is_black(node->left) && is_black(node->right)))
        return RULE_RED;
    walk->blacks += is_black(node);
    if (node->left == NULL || node->right == NULL) {
        walk->blacks_down = walk->blacks_down == 0 ? walk->blacks : walk->blacks_down;
        if (walk->blacks != walk->blacks_down)
            return RULE_BLACKS;
    }
    return 0;
}

/* Between the subtrees: what concerns the order. */
static enum rule check_order(struct walk *walk, const struct tsl_tree_node *node)
{
    const struct tsl_tree_ops *ops = walk->tree->ops;
    if (walk->previous != NULL && ops->compare(ops->key(walk->previous), node) >= 0)
        return RULE_ORDER;
    walk->previous = node;
    if (ops->augment_is_right != NULL && !ops->augment_is_right(node))
        return RULE_SUMMARY;
    return 0;
}

/* Walks the tree around its outside. `from` is where we come from: the parent, or a child. Parent
 * links are followed only after they have been checked on the way down. */
static struct tsl_defect walk_around(struct walk *walk)
{
    const struct tsl_tree_node *node = walk->tree->root;
    const struct tsl_tree_node *from = NULL;
    while (node != NULL) {
        const struct tsl_tree_node *parent = tsl_tree_parent(node);
        bool from_above = from == parent;
        bool from_left = !from_above && from == node->left;
        enum rule rule = from_above ? check_links(walk, node) : 0;
        bool left_done = from_left || (from_above && node->left == NULL);
        if (rule == 0 && left_done)
            rule = check_order(walk, node);
        if (rule != 0)
            return broken(rule, node);
        from = node;
        if (from_above && node->left != NULL) {
            node = node->left;
        } else if (left_done && node->right != NULL) {
            node = node->right;
        } else {
            walk->blacks -= is_black(node);
            node = parent;
        }
    }
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_tree_verify(const struct tsl_tree *self)
{
    struct walk walk = {.tree = self};
    if (!is_black(self->root) || (self->root != NULL && tsl_tree_parent(self->root) != NULL))
        return broken(RULE_ROOT, self->root);
    struct tsl_defect defect = walk_around(&walk);
    if (defect.rule == 0 && walk.seen != self->count)
        return broken(RULE_LINKS, self->root);
    return defect;
}
