/* SPDX-License-Identifier: MIT
 *
 * cwe_lifetime.c: objects that end too often, too early, never, or as something else: CWE-911
 * (reference counts), CWE-763 (the wrong pointer released), CWE-416 (use after the pages went
 * back), CWE-770 (no limit), CWE-771 (the last pointer lost).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 */
#include "misuse.h"

#include <tesela/compiler.h>
#include <tesela/heap_hardening.h>

/* An object that counts who uses it. */
struct counted {
    size_t users;
};

static struct counted *counted_new(struct misuse *m, size_t users)
{
    struct counted *object = take(m, m->size);

    object->users = users;
    return object;
}

static void drop(struct misuse *m, struct counted *object)
{
    if (--object->users == 0)
        give(m, object);
}

/* Both users count from one, so both free. */
static void count_not_raised(struct misuse *m)
{
    struct counted *object = counted_new(m, m->is_bad ? 1 : 2);
    bool is_first_gone = m->is_bad;

    drop(m, object);
    if (is_first_gone)
        give(m, object);
    else
        drop(m, object);
}

static void count_raised_once_too_often(struct misuse *m)
{
    struct counted *object = counted_new(m, m->is_bad ? 3 : 2);

    drop(m, object);
    drop(m, object);
}

static void last_pointer_lost(struct misuse *m)
{
    void **first = take(m, m->size), **second = take(m, m->size);

    first[0] = second;
    second[0] = NULL;
    /* Unlinked, and nobody freed it. */
    void *unlinked = first[0];
    first[0] = NULL;
    if (!m->is_bad)
        give(m, unlinked);
    give(m, first);
}

struct outer {
    size_t before[2];
    size_t member[2];
};

static void member_released(struct misuse *m)
{
    struct outer *object = take(m, m->size < sizeof *object ? sizeof *object : m->size);

    give(m, m->is_bad ? (void *)object->member : (void *)object);
}

static void read_after_pages_went_back(struct misuse *m)
{
    void *block = take(m, m->size);

    give(m, block);
    (void)tsl_heap_end_quarantine(m->heap);
    (void)tsl_heap_trim(m->heap);
    if (m->is_bad)
        (void)peek(block, 0, 1);
}

static void take_without_limit(struct misuse *m)
{
    static void *blocks[4096];
    size_t count = 0, most = m->is_bad ? TSL_COUNT_OF(blocks) : 4;

    while (count < most && (blocks[count] = take(m, m->size)) != NULL)
        count++;
    while (count > 0)
        give(m, blocks[--count]);
}

static const struct misuse_shape shapes[] = {
    SHAPE("cwe911", count_not_raised, BOTH, BASIC),
    SHAPE("cwe911", count_raised_once_too_often, BOTH, BASIC),
    SHAPE("cwe771", last_pointer_lost, BOTH, BASIC),
    SHAPE("cwe763", member_released, BOTH, BASIC),
    SHAPE("cwe416", read_after_pages_went_back, BOTH, BASIC),
    SHAPE("cwe770", take_without_limit, LARGE, BASIC),
};

const struct misuse_file misuse_lifetime = {shapes, TSL_COUNT_OF(shapes)};
