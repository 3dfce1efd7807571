/* SPDX-License-Identifier: MIT
 *
 * measure.c: what calls and faults cost a program, in instructions.
 *
 * Owns:    the loops; they are part of what is counted.
 * Needs:   platform/program.h, measure.h; a time-stamp counter that counts instructions and can be
 *          read here.
 * Callers: tests/bench/kernel_bench_user.c.
 */
#include "measure.h"

#include <platform/program.h>

enum { PAGE = 4096, PAIR_BYTES = 65536, READ = 1, READ_WRITE = 3 };

static uint32_t instructions(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low;
}

static void write_pages(uintptr_t at, uintptr_t count)
{
    for (uintptr_t i = 0; i < count; i++)
        *(volatile uint8_t *)(at + i * PAGE) = 1;
}

static void read_pages(uintptr_t at, uintptr_t count)
{
    for (uintptr_t i = 0; i < count; i++)
        (void)*(volatile uint8_t *)(at + i * PAGE);
}

static uintptr_t call_many(uintptr_t count)
{
    uintptr_t failed = 0;
    for (uintptr_t i = 0; i < count; i++)
        failed |= call(USER_CALL_NULL, 0, 0, 0);
    return failed;
}

static uintptr_t map_pairs(uintptr_t count)
{
    uintptr_t failed = 0;
    for (uintptr_t i = 0; i < count; i++)
        failed |= call(MEASURE_CALL_MAP, MEASURE_AT, PAIR_BYTES, 0) |
                  call(MEASURE_CALL_UNMAP, MEASURE_AT, PAIR_BYTES, 0);
    return failed;
}

static uintptr_t flip_rights(uintptr_t count)
{
    uintptr_t failed = 0;
    for (uintptr_t i = 0; i < count / 2; i++) {
        failed |= call(MEASURE_CALL_PROTECT, MEASURE_AT + PAGE, PAGE, READ) |
                  call(MEASURE_CALL_PROTECT, MEASURE_AT + PAGE, PAGE, READ_WRITE);
        write_pages(MEASURE_AT + PAGE, 1);
    }
    return failed;
}

/* What has to be there before. */
static uintptr_t prepare(enum measure_row row, uintptr_t bytes)
{
    uintptr_t failed = 0;
    bool is_shared = row == MEASURE_SHARED_NEW || row == MEASURE_SHARED_OLD;
    if (row == MEASURE_NULL || row == MEASURE_MAP_PAIR)
        return 0;
    failed = call(is_shared ? MEASURE_CALL_SHARE : MEASURE_CALL_MAP, MEASURE_AT, bytes, 0);
    if (row == MEASURE_UNMAP || row >= MEASURE_PROTECT)
        if (row != MEASURE_SHARED_NEW)
            write_pages(MEASURE_AT, bytes / PAGE);
    if (row == MEASURE_COW_COPY || row == MEASURE_COW_REUSE)
        failed |= call(MEASURE_CALL_COPY, 0, 0, 0);
    if (row == MEASURE_COW_REUSE)
        failed |= call(MEASURE_CALL_DROP, 0, 0, 0);
    if (row == MEASURE_SHARED_OLD)
        failed |= call(MEASURE_CALL_SHARE, MEASURE_AT_TOO, bytes, 0);
    return failed;
}

static uintptr_t run(enum measure_row row, uintptr_t count)
{
    switch (row) {
    case MEASURE_NULL:
        return call_many(count);
    case MEASURE_ZERO:
        read_pages(MEASURE_AT, count);
        return 0;
    case MEASURE_POPULATE:
        return call(MEASURE_CALL_POPULATE, MEASURE_AT, count * PAGE, 0);
    case MEASURE_UNMAP:
        return call(MEASURE_CALL_UNMAP, MEASURE_AT, count * PAGE, 0);
    case MEASURE_MAP_PAIR:
        return map_pairs(count);
    case MEASURE_PROTECT:
        return flip_rights(count);
    case MEASURE_SHARED_OLD:
        write_pages(MEASURE_AT_TOO, count);
        return 0;
    default:
        write_pages(MEASURE_AT, count);
        return 0;
    }
}

/* `first`: an enum measure_row; `second`: how often, or how many pages. The exit code is what all
 * of it cost. */
uintptr_t program_main(uintptr_t first, uintptr_t second)
{
    uintptr_t failed = prepare((enum measure_row)first, second * PAGE);
    failed |= call(MEASURE_CALL_MARK, 0, 0, 0);
    uint32_t start = instructions();
    failed |= run((enum measure_row)first, second);
    uint32_t end = instructions();
    failed |= call(MEASURE_CALL_MARK, 0, 0, 0);
    return failed ? MEASURE_FAILED : (uintptr_t)(end - start);
}
