/* SPDX-License-Identifier: MIT
 *
 * test_walker.c: the independent walker on tables written by hand, number by number.
 *
 * Owns:    nothing.
 * Needs:   arch/host's walker only; entries are spelled out as in the manuals.
 * Callers: the test runner.
 */
#include <host/walker.h>
#include <string.h>

#include "tap.h"

/* Physical memory from 0x1000 to 0x8fff. */
static uint64_t memory[0x9000 / 8];

static uint64_t read_memory(uint64_t address, unsigned bytes)
{
    uint64_t value = 0;
    if (address + bytes <= sizeof(memory))
        memcpy(&value, (const char *)memory + address, bytes);
    return value;
}

static void put8(uint64_t address, uint64_t value)
{
    memcpy((char *)memory + address, &value, 8);
}

static void put4(uint64_t address, uint32_t value)
{
    memcpy((char *)memory + address, &value, 4);
}

static struct walker_machine machine_of(enum walker_mode mode)
{
    memset(memory, 0, sizeof(memory));
    return (struct walker_machine){mode, true, true, true, true, 40, read_memory};
}

static void reads_32_bit_tables(void)
{
    struct walker_machine machine = machine_of(WALKER_32BIT);
    struct walker_page page;
    put4(0x1000 + 0x300 * 4, 0x2003);         /* 0xc0000000: table at 0x2000, kernel, writable */
    put4(0x2000 + 0x123 * 4, 0xabcd1000 | 1); /* 0xc0123000: read-only */
    put4(0x1000 + 0x301 * 4, 0x00800000 | 0x1e7); /* 0xc0400000: 4 MiB, user, global, A, D */
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0123456, &page), WALKER_OK);
    CHECK_EQ(page.target, 0xabcd1000);
    CHECK_EQ(page.start, 0xc0123000);
    CHECK_EQ(page.bytes, 4096);
    CHECK(!page.rights.writable && !page.rights.user && page.rights.executable);
    CHECK_EQ(page.depth, 2);
    CHECK_EQ(page.entry_at[0], 0x1c00);
    CHECK_EQ(page.entry_at[1], 0x248c);
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0524000, &page), WALKER_OK);
    CHECK_EQ(page.target, 0x00800000);
    CHECK_EQ(page.bytes, 0x400000);
    CHECK(page.rights.writable && page.rights.user && page.global && page.accessed && page.dirty);
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0124000, &page), WALKER_NOT_PRESENT);
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0x1c0123000, &page), WALKER_NOT_CANONICAL);
    put4(0x1000 + 0x301 * 4, 0x00802000 | 0x83); /* bit 13 of a large page */
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0524000, &page), WALKER_RESERVED);
    machine.pse = false; /* now it is a table at 0x802000, where there is nothing */
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0524000, &page), WALKER_NOT_PRESENT);
}

static void reads_pae_tables(void)
{
    struct walker_machine machine = machine_of(WALKER_PAE);
    const uint64_t no_execute = UINT64_C(1) << 63;
    struct walker_page page;
    put8(0x1000 + 3 * 8, 0x2001);                                 /* 0xc0000000.. */
    put8(0x2000 + 1 * 8, 0x3003);                                 /* 0xc0200000.. */
    put8(0x3000 + 5 * 8, UINT64_C(0x123456000) | 3 | no_execute); /* 0xc0205000, above 4 GiB */
    put8(0x2000 + 2 * 8, UINT64_C(0x400000) | 0x1083);            /* 0xc0400000: 2 MiB, PAT */
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0205678, &page), WALKER_OK);
    CHECK_EQ(page.target, UINT64_C(0x123456000));
    CHECK(page.rights.writable && !page.rights.user && !page.rights.executable);
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0412345, &page), WALKER_OK);
    CHECK_EQ(page.target, 0x400000);
    CHECK_EQ(page.bytes, 0x200000);
    CHECK_EQ(page.cache_index, 4);
    machine.nxe = false;
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0205678, &page), WALKER_RESERVED);
    machine.nxe = true;
    machine.physical_bits = 32;
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, 0xc0205678, &page), WALKER_RESERVED);
    const uint64_t good[4] = {0, 0, 0, 0x2001};
    const uint64_t writable[4] = {0, 0, 0, 0x2003}; /* bit 1 of a root entry is reserved */
    CHECK(walker_pdptes_valid(&machine, good));
    CHECK(!walker_pdptes_valid(&machine, writable));
    machine.physical_bits = 40;
    CHECK_EQ(walker_translate(&machine, 0, good, 0xc0205678, &page), WALKER_OK);
    CHECK_EQ(page.entry_at[0], 0);
    CHECK_EQ(walker_translate(&machine, 0, writable, 0xc0205678, &page), WALKER_RESERVED);
}

static void reads_4_and_5_levels(void)
{
    struct walker_machine machine = machine_of(WALKER_4LEVEL);
    struct walker_page page;
    put8(0x1000 + 256 * 8, 0x2007);                    /* PML4: 0xffff8000'00000000 */
    put8(0x2000 + 1 * 8, 0x3005);                      /* PDPT: +1 GiB, not writable */
    put8(0x3000 + 2 * 8, 0x4007);                      /* PD: +4 MiB */
    put8(0x4000 + 3 * 8, UINT64_C(0x5000) | 0x107);    /* PT: +12 KiB, global */
    put8(0x2000 + 2 * 8, UINT64_C(0x80000000) | 0x87); /* a 1 GiB page */
    uint64_t at = UINT64_C(0xffff800040403123);
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, at, &page), WALKER_OK);
    CHECK_EQ(page.target, 0x5000);
    CHECK(!page.rights.writable && page.rights.user && page.rights.executable && page.global);
    CHECK_EQ(page.depth, 4);
    CHECK_EQ(page.ways, 3);
    CHECK_EQ(page.way[2].table, 0x4000);
    CHECK_EQ(page.way[2].shift, 12);
    CHECK(!page.way[2].rights.writable);
    CHECK_EQ(page.way[0].table, 0x2000);
    CHECK_EQ(page.way[0].shift, 30);
    CHECK(page.way[0].rights.writable);
    struct walker_page rest;
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(walker_resume(&machine, &page.way[i], at, &rest), WALKER_OK);
        CHECK_EQ(rest.target, page.target);
        CHECK_EQ(rest.depth, 3 - i);
        CHECK(!rest.rights.writable && rest.rights.user);
    }
    at = UINT64_C(0xffff8000b2345678);
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, at, &page), WALKER_OK);
    CHECK_EQ(page.target, 0x80000000);
    CHECK_EQ(page.bytes, UINT64_C(1) << 30);
    CHECK_EQ(page.ways, 1);
    machine.pages_1g = false;
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, at, &page), WALKER_RESERVED);
    machine.pages_1g = true;
    at = UINT64_C(0x0000800040403123); /* the hole */
    CHECK_EQ(walker_translate(&machine, 0x1000, NULL, at, &page), WALKER_NOT_CANONICAL);

    machine.mode = WALKER_5LEVEL;
    put8(0x6000 + 256 * 8, 0x1007); /* PML5: 0xff000000'00000000 */
    at = UINT64_C(0xff00800040403123);
    CHECK_EQ(walker_translate(&machine, 0x6000, NULL, at, &page), WALKER_OK);
    CHECK_EQ(page.target, 0x5000);
    CHECK_EQ(page.depth, 5);
    at = UINT64_C(0x0100000000000000);
    CHECK_EQ(walker_translate(&machine, 0x6000, NULL, at, &page), WALKER_NOT_CANONICAL);
    put8(0x6000 + 256 * 8, 0x1087); /* no pages at this level */
    at = UINT64_C(0xff00800040403123);
    CHECK_EQ(walker_translate(&machine, 0x6000, NULL, at, &page), WALKER_RESERVED);
}

TAP_SUITE(walker, TAP_TEST(reads_32_bit_tables), TAP_TEST(reads_pae_tables),
          TAP_TEST(reads_4_and_5_levels));
