/* SPDX-License-Identifier: MIT
 *
 * kernel_bench_space.c: rows of address spaces as calls of the library, without the way from user
 * mode and back; and how they grow with the number of regions.
 *
 * Owns:    the list of these rows.
 * Needs:   the facade; QEMU with -icount shift=0.
 * Callers: kernel_bench.c.
 */
#include "kernel_bench.h"

#include <tesela/memory.h>
#include <tesela/port.h>
#include <tesela/space.h>
#include <tesela/vm.h>

#include <platform/boot.h>
#include <platform/console.h>

enum { RW = TSL_READ | TSL_WRITE, PAGES = 256, PAIR_BYTES = 64 << 10 };

static struct tsl_space *space;
static tsl_vaddr region; /* where the present row works */

static uint32_t instructions(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low;
}

static bool map(tsl_vaddr at, size_t bytes, unsigned rights, tsl_vaddr *out)
{
    struct tsl_map_request request = {
        .address = at, .bytes = bytes, .rights = rights, .flags = at != 0 ? TSL_SPACE_FIXED : 0};
    return tsl_space_map(space, &request, out) == TSL_OK;
}

static bool map_pairs(unsigned count)
{
    bool good = true;
    for (unsigned i = 0; i < count && good; i++) {
        tsl_vaddr at;
        good = map(0, PAIR_BYTES, RW, &at) && tsl_space_unmap(space, at, PAIR_BYTES) == TSL_OK;
    }
    return good;
}

/* A page in the middle of its region, that was touched: what was one region becomes three and one
 * again. */
static bool flips(unsigned count)
{
    tsl_vaddr page = region + 8 * TSL_PAGE_BYTES;
    bool good = true;
    for (unsigned i = 0; i < count && good; i++)
        good = tsl_space_protect(space, page, TSL_PAGE_BYTES, i & 1 ? RW : TSL_READ) == TSL_OK;
    return good;
}

static bool populate(unsigned count)
{
    return tsl_space_populate(space, region, count * TSL_PAGE_BYTES) == TSL_OK;
}

static bool unmap(unsigned count)
{
    return tsl_space_unmap(space, region, count * TSL_PAGE_BYTES) == TSL_OK;
}

/* Instructions of one call; interrupts are off. */
static bool measure(bool (*run)(unsigned count), unsigned count, uint32_t *out)
{
    tsl_pin pin = tsl_port_pin();
    uint32_t start = instructions();
    bool good = run(count);
    *out = instructions() - start;
    tsl_port_unpin(pin);
    return good;
}

static bool row(const char *name, bool (*run)(unsigned count), unsigned count)
{
    uint32_t values[SAMPLES];
    bool good = measure(run, count, &values[0]);
    for (unsigned i = 0; good && i < SAMPLES; i++)
        good = measure(run, count, &values[i]);
    if (good)
        bench_print_row(name, values, count);
    else
        tsl_print(platform_console(), "%s: an operation failed\n", name);
    return good;
}

static bool touched_rows(void)
{
    uint32_t populated[SAMPLES], unmapped[SAMPLES];
    bool good = true;
    for (unsigned i = 0; good && i <= SAMPLES; i++) {
        unsigned sample = i == SAMPLES ? 0 : i; /* the first one is taken again */
        good = map(0, PAGES * TSL_PAGE_BYTES, RW, &region) &&
               measure(populate, PAGES, &populated[sample]) &&
               measure(unmap, PAGES, &unmapped[sample]);
    }
    if (good) {
        bench_print_row("populate.page_call", populated, PAGES);
        bench_print_row("unmap.page_call", unmapped, PAGES);
    }
    return good;
}

static bool flip_row(void)
{
    return map(0, PAIR_BYTES, RW, &region) && populate(16) &&
           row("protect.flip_call", flips, 256) &&
           tsl_space_unmap(space, region, PAIR_BYTES) == TSL_OK;
}

/* Regions of one page with a page between them, up to `count` in all. */
static bool grow(unsigned *have, unsigned count)
{
    static tsl_vaddr next;
    tsl_vaddr at;
    if (*have == 0)
        next = (tsl_vaddr)1 << 24;
    for (; *have < count; (*have)++, next += 2 * TSL_PAGE_BYTES)
        if (!map(next, TSL_PAGE_BYTES, RW, &at))
            return false;
    return true;
}

bool bench_space_rows(void)
{
    unsigned regions = 0;
    if (tsl_space_create(tsl_system()->vm, NULL, &space) != TSL_OK)
        return false;
    bool good = row("map.pair_call", map_pairs, 256) && flip_row() && touched_rows() &&
                grow(&regions, 10) && row("map.pair_10", map_pairs, 256) && grow(&regions, 1000) &&
                row("map.pair_1k", map_pairs, 256) && grow(&regions, 20000) &&
                row("map.pair_20k", map_pairs, 256) && grow(&regions, 100000) &&
                row("map.pair_100k", map_pairs, 256);
    return tsl_space_destroy(space) == TSL_OK && good;
}

bool bench_million_row(void)
{
    char asked[8];
    unsigned regions = 0;
    if (sizeof(tsl_vaddr) < 8 || !platform_option("regions", asked, sizeof asked))
        return true;
    struct tsl_commit any = {.policy = TSL_COMMIT_NONE}; /* they promise more than there is */
    if (tsl_vm_set_commit(tsl_system()->vm, &any) != TSL_OK ||
        tsl_space_create(tsl_system()->vm, NULL, &space) != TSL_OK)
        return false;
    /* As in the other rows of this name, there was something in the place of the pairs. */
    bool good = map(0, PAGES * TSL_PAGE_BYTES, RW, &region) && populate(PAGES) && unmap(PAGES) &&
                grow(&regions, 1000000) && row("map.pair_1m", map_pairs, 256);
    return tsl_space_destroy(space) == TSL_OK && good;
}
