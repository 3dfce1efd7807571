/* SPDX-License-Identifier: MIT
 *
 * peer_frames_buddy.c: the rows frames.* over a buddy allocator with free lists.
 *
 * Owns:    two links and an order a frame, a list of free blocks an order.
 * Needs:   bench_frames_rows.h.
 * Callers: ./bench frames (column `buddy`).
 *
 * Blocks are taken from the list of the smallest order that has one and split; a freed block joins
 * its buddy as long as that is free. Last in, first out. One thread. Source: D. Knuth, "The Art of
 * Computer Programming", volume 1, section 2.5 C.
 */
#define _DEFAULT_SOURCE

#include "bench_frames_rows.h"

#define MAX_ORDER 10u
#define NONE      UINT32_MAX
#define IN_USE    0xffu

static const struct rows_effort subject_effort = {
    .hot_pairs = 1000000, .churn_pairs = 1000000, .recovery_samples = 9, .recovery_more = 12u << 20};

static struct {
    uint32_t next, prev;
} link_of[ROWS_FRAMES];

static uint8_t order_of[ROWS_FRAMES]; /* of the free block that starts there */
static uint32_t first_free[MAX_ORDER + 1];

static void push(uint32_t frame, unsigned order)
{
    uint32_t next = first_free[order];
    link_of[frame].next = next;
    link_of[frame].prev = NONE;
    if (next != NONE)
        link_of[next].prev = frame;
    first_free[order] = frame;
    order_of[frame] = (uint8_t)order;
}

static void take_out(uint32_t frame, unsigned order)
{
    uint32_t next = link_of[frame].next;
    uint32_t prev = link_of[frame].prev;
    if (next != NONE)
        link_of[next].prev = prev;
    if (prev != NONE)
        link_of[prev].next = next;
    else
        first_free[order] = next;
    order_of[frame] = IN_USE;
}

static bool subject_alloc(unsigned order, uint32_t *out)
{
    unsigned have = order;
    while (first_free[have] == NONE)
        if (++have > MAX_ORDER)
            return false;
    uint32_t frame = first_free[have];
    take_out(frame, have);
    while (have > order) {
        have--;
        push(frame + (1u << have), have);
    }
    *out = frame;
    return true;
}

static bool subject_free(uint32_t frame, unsigned order)
{
    if (order_of[frame] != IN_USE)
        return false;
    for (; order < MAX_ORDER; order++) {
        uint32_t buddy = frame ^ (1u << order);
        if (order_of[buddy] != order)
            break;
        take_out(buddy, order);
        frame = frame < buddy ? frame : buddy;
    }
    push(frame, order);
    return true;
}

static void subject_be_cpu(unsigned cpu)
{
    bench_require(cpu == 0, "this allocator knows one CPU");
}

int main(void)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        first_free[order] = NONE;
    for (uint32_t frame = 0; frame < ROWS_FRAMES; frame++)
        order_of[frame] = IN_USE;
    for (uint32_t frame = ROWS_FRAMES; frame > 0; frame -= 1u << MAX_ORDER)
        push(frame - (1u << MAX_ORDER), MAX_ORDER);
    printf("row frames.metadata bytes/GiB %u 1\n",
           (unsigned)((sizeof(link_of) + sizeof(order_of)) / 4));
    bench_frames_rows();
    return 0;
}
