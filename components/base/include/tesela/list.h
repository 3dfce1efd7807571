/* SPDX-License-Identifier: MIT
 *
 * list.h: intrusive circular doubly linked list.
 *
 * Owns:    nothing but the two links inside the caller's structures. A head and a node have the
 *          same type; a node that is on no list points at itself.
 * Needs:   status.h (assertions). The caller's lock protects a list, head and nodes together.
 * Callers: everybody.
 */
#ifndef TESELA_LIST_H
#define TESELA_LIST_H

#include <tesela/status.h>

struct tsl_list {
    struct tsl_list *next;
    struct tsl_list *prev;
};

/* Makes an empty list, or a node that is on no list. Required before any other use of either. */
static inline void tsl_list_init(struct tsl_list *node)
{
    node->next = node;
    node->prev = node;
}

/* For a head: no nodes. For a node: on no list. */
static inline bool tsl_list_is_empty(const struct tsl_list *head)
{
    return head->next == head;
}

/* Links `node` before `place`, which is a head (then it becomes the last) or a node of a list.
 * Before: node is on no list. */
static inline void tsl_list_insert_before(struct tsl_list *place, struct tsl_list *node)
{
    TSL_ASSERT(place->prev->next == place);
    node->next = place;
    node->prev = place->prev;
    place->prev->next = node;
    place->prev = node;
}

static inline void tsl_list_push_back(struct tsl_list *head, struct tsl_list *node)
{
    tsl_list_insert_before(head, node);
}

static inline void tsl_list_push_front(struct tsl_list *head, struct tsl_list *node)
{
    tsl_list_insert_before(head->next, node);
}

/* Takes `node` off its list; no effect on a node that is on none. An overwritten neighbour is
 * found before it can redirect a write (assertion). */
static inline void tsl_list_remove(struct tsl_list *node)
{
    TSL_ASSERT(node->next->prev == node && node->prev->next == node);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    tsl_list_init(node);
}

/* The first or last node, NULL if the list is empty. */
static inline struct tsl_list *tsl_list_first(const struct tsl_list *head)
{
    return tsl_list_is_empty(head) ? NULL : head->next;
}

static inline struct tsl_list *tsl_list_last(const struct tsl_list *head)
{
    return tsl_list_is_empty(head) ? NULL : head->prev;
}

/* Takes the first or last node off and returns it, NULL if the list is empty. */
static inline struct tsl_list *tsl_list_pop_front(struct tsl_list *head)
{
    struct tsl_list *node = tsl_list_first(head);
    if (node != NULL)
        tsl_list_remove(node);
    return node;
}

static inline struct tsl_list *tsl_list_pop_back(struct tsl_list *head)
{
    struct tsl_list *node = tsl_list_last(head);
    if (node != NULL)
        tsl_list_remove(node);
    return node;
}

/* Moves all nodes of `from` behind the last of `head`, in their order; `from` is empty then. */
static inline void tsl_list_append(struct tsl_list *head, struct tsl_list *from)
{
    if (tsl_list_is_empty(from))
        return;
    from->next->prev = head->prev;
    from->prev->next = head;
    head->prev->next = from->next;
    head->prev = from->prev;
    tsl_list_init(from);
}

/* Visits the nodes from first to last. The body must not remove `node`; _SAFE allows that, with
 * one more variable. */
#define TSL_LIST_EACH(node, head)                                                                  \
    for ((node) = (head)->next; (node) != (head); (node) = (node)->next)

#define TSL_LIST_EACH_SAFE(node, following, head)                                                  \
    for ((node) = (head)->next, (following) = (node)->next; (node) != (head);                      \
         (node) = (following), (following) = (node)->next)

#endif
