/* SPDX-License-Identifier: MIT
 *
 * test_list.c: the list, step by step.
 *
 * Owns:    the suite `list`.
 * Needs:   list.h. Broken links are in test_die.c, since they panic.
 * Callers: the test runner, on the host and in kernels.
 */
#include "tap.h"

#include <tesela/list.h>

static struct tsl_list head;
static struct tsl_list nodes[5];

static void start(void)
{
    tsl_list_init(&head);
    for (size_t i = 0; i < TSL_COUNT_OF(nodes); i++)
        tsl_list_init(&nodes[i]);
}

/* The list holds exactly the nodes whose indexes are the digits of `digits`, seen from both ends.
 */
static bool is(const char *digits)
{
    const struct tsl_list *node = head.next;
    size_t length = 0;
    for (; digits[length] != '\0'; length++) {
        if (node != &nodes[digits[length] - '0'])
            return false;
        node = node->next;
    }
    if (node != &head)
        return false;
    for (node = head.prev; length > 0; node = node->prev)
        if (node != &nodes[digits[--length] - '0'])
            return false;
    return node == &head;
}

static void empty(void)
{
    start();
    CHECK(tsl_list_is_empty(&head));
    CHECK(is(""));
    CHECK_SAME(tsl_list_first(&head), NULL);
    CHECK_SAME(tsl_list_last(&head), NULL);
    CHECK_SAME(tsl_list_pop_front(&head), NULL);
    CHECK_SAME(tsl_list_pop_back(&head), NULL);
}

static void pushes_and_pops_at_both_ends(void)
{
    start();
    tsl_list_push_back(&head, &nodes[1]);
    tsl_list_push_back(&head, &nodes[2]);
    tsl_list_push_front(&head, &nodes[0]);
    CHECK(is("012"));
    CHECK_SAME(tsl_list_first(&head), &nodes[0]);
    CHECK_SAME(tsl_list_last(&head), &nodes[2]);
    CHECK_SAME(tsl_list_pop_front(&head), &nodes[0]);
    CHECK_SAME(tsl_list_pop_back(&head), &nodes[2]);
    CHECK(is("1"));
    CHECK(tsl_list_is_empty(&nodes[0]));
}

static void inserts_and_removes_in_the_middle(void)
{
    start();
    tsl_list_push_back(&head, &nodes[0]);
    tsl_list_push_back(&head, &nodes[2]);
    tsl_list_insert_before(&nodes[2], &nodes[1]);
    CHECK(is("012"));
    tsl_list_remove(&nodes[1]);
    CHECK(is("02"));
    CHECK(tsl_list_is_empty(&nodes[1]));
    tsl_list_remove(&nodes[1]);
    CHECK(is("02"));
}

static void appends_a_list(void)
{
    struct tsl_list other;
    start();
    tsl_list_init(&other);
    tsl_list_append(&head, &other);
    CHECK(is(""));
    tsl_list_push_back(&other, &nodes[2]);
    tsl_list_push_back(&other, &nodes[3]);
    tsl_list_append(&head, &other);
    CHECK(is("23"));
    CHECK(tsl_list_is_empty(&other));
    tsl_list_push_back(&other, &nodes[4]);
    tsl_list_append(&head, &other);
    CHECK(is("234"));
}

static void visits(void)
{
    struct tsl_list *node;
    struct tsl_list *following;
    unsigned order = 0;
    start();
    for (size_t i = 0; i < 4; i++)
        tsl_list_push_back(&head, &nodes[i]);
    TSL_LIST_EACH(node, &head)
    {
        order = order * 10 + (unsigned)(node - nodes);
    }
    CHECK_EQ(order, 123);
    TSL_LIST_EACH_SAFE(node, following, &head)
    {
        if (node == &nodes[0] || node == &nodes[2])
            tsl_list_remove(node);
    }
    CHECK(is("13"));
}

TAP_SUITE(list, TAP_TEST(empty), TAP_TEST(pushes_and_pops_at_both_ends),
          TAP_TEST(inserts_and_removes_in_the_middle), TAP_TEST(appends_a_list), TAP_TEST(visits));
