/* SPDX-License-Identifier: MIT
 *
 * test_acpi.c: the readers of MADT, SRAT and SLIT on good and on hostile bytes.
 *
 * Owns:    suite acpi. Runs on the host, under its sanitizers, and in the kernel.
 * Needs:   platform/pc/acpi_tables.c, pure functions; the tables are built here, from ACPI 6.4,
 *          5.2.12 and 5.2.16.
 * Callers: the build.
 */
#include "tap.h"

#include "../../platform/pc/acpi_bytes.h"
#include "rng.h"

enum { TABLE_BYTES = 512, MADT_START = 44, SRAT_START = 48 };

/* A table under construction: its header is zero but for what the readers look at. */
struct table {
    uint8_t bytes[TABLE_BYTES];
    size_t used;
};

static void put(struct table *table, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes && table->used < TABLE_BYTES; i++)
        table->bytes[table->used++] = (uint8_t)(value >> (8 * i));
}

static struct table start_madt(void)
{
    struct table table = {.used = 36};

    put(&table, 0xFEE00000, 4);
    put(&table, 1, 4);
    return table;
}

static void put_cpu(struct table *table, unsigned apic_id, unsigned flags)
{
    put(table, 0, 1);
    put(table, 8, 1);
    put(table, 0x77, 1);
    put(table, apic_id, 1);
    put(table, flags, 4);
}

static void put_x2apic_cpu(struct table *table, uint32_t apic_id)
{
    put(table, 9, 1);
    put(table, 16, 1);
    put(table, 0, 2);
    put(table, apic_id, 4);
    put(table, 1, 4);
    put(table, 0, 4);
}

static void put_memory(struct table *table, uint64_t start, uint64_t bytes, uint32_t node,
                       uint32_t flags)
{
    put(table, 1, 1);
    put(table, 40, 1);
    put(table, node, 4);
    put(table, 0, 2);
    put(table, start, 8);
    put(table, bytes, 8);
    put(table, 0, 4);
    put(table, flags, 4);
    put(table, 0, 8);
}

static void put_place(struct table *table, unsigned apic_id, uint32_t node)
{
    put(table, 0, 1);
    put(table, 16, 1);
    put(table, node & 0xFF, 1);
    put(table, apic_id, 1);
    put(table, 1, 4);
    put(table, 0, 1);
    put(table, node >> 8, 3);
    put(table, 0, 4);
}

static struct acpi_info info;

static const struct acpi_info *read_madt(const struct table *table, size_t bytes)
{
    info = (struct acpi_info){.cpu_count = 0};
    acpi_read_madt(table->bytes, bytes, &info);
    return &info;
}

static const struct acpi_info *read_srat(const struct table *table, size_t bytes)
{
    info = (struct acpi_info){.cpu_count = 0};
    acpi_read_srat(table->bytes, bytes, &info);
    return &info;
}

static void reads_enabled_cpus(void)
{
    struct table table = start_madt();
    const struct acpi_info *got;

    put_cpu(&table, 0, 1);
    put_cpu(&table, 4, 0);
    put_cpu(&table, 2, 1);
    put_x2apic_cpu(&table, 7);
    got = read_madt(&table, table.used);
    CHECK_EQ(got->cpu_count, 3);
    CHECK_EQ(got->cpus[0].apic_id, 0);
    CHECK_EQ(got->cpus[1].apic_id, 2);
    CHECK_EQ(got->cpus[2].apic_id, 7);
    CHECK_EQ(got->cpus_ignored, 1);
    CHECK_EQ(got->local_apic, 0xFEE00000);
}

static void takes_the_wide_apic_address(void)
{
    struct table table = start_madt();

    put(&table, 5, 1);
    put(&table, 12, 1);
    put(&table, 0, 2);
    put(&table, 0x1FEE00000, 8);
    CHECK_EQ(read_madt(&table, table.used)->local_apic, 0x1FEE00000);
}

static void ignores_what_it_cannot_name(void)
{
    struct table table = start_madt();
    const struct acpi_info *got;

    put_cpu(&table, 3, 1);
    put_cpu(&table, 3, 1);
    put_cpu(&table, 0xFF, 1);
    put_x2apic_cpu(&table, 0x100);
    got = read_madt(&table, table.used);
    CHECK_EQ(got->cpu_count, 1);
    CHECK_EQ(got->cpus_ignored, 3);
}

static void too_many_cpus_are_counted(void)
{
    static struct table table;
    const struct acpi_info *got;

    table = start_madt();
    for (unsigned i = 0; table.used + 8 <= TABLE_BYTES; i++)
        put_cpu(&table, i, 1);
    got = read_madt(&table, table.used);
    CHECK_EQ(got->cpu_count + got->cpus_ignored, (TABLE_BYTES - MADT_START) / 8);
    CHECK(got->cpu_count <= ACPI_MAX_CPUS);
}

static void stops_at_an_impossible_entry(void)
{
    struct table table = start_madt();

    put_cpu(&table, 1, 1);
    put(&table, 0, 2); /* length 0: would never end */
    put_cpu(&table, 2, 1);
    CHECK_EQ(read_madt(&table, table.used)->cpu_count, 1);
    CHECK_EQ(read_madt(&table, table.used - 1)->cpu_count, 1);
    CHECK_EQ(read_madt(&table, MADT_START + 7)->cpu_count, 0); /* cut in the middle of the first */
    CHECK_EQ(read_madt(&table, MADT_START - 1)->local_apic, 0);
    CHECK_EQ(read_madt(&table, 0)->cpu_count, 0);
}

static void reads_nodes(void)
{
    struct table table = {.used = SRAT_START}, madt = start_madt();
    const struct acpi_info *got;

    put_memory(&table, 0, 0xA0000, 0, 1);
    put_memory(&table, 1 << 30, 1 << 29, 0x01020304, 1 | 2);
    put_memory(&table, 1 << 20, 1 << 20, 1, 0);           /* not enabled */
    put_memory(&table, 1 << 20, 0, 1, 1);                 /* empty */
    put_memory(&table, UINT64_MAX - 4095, 1 << 20, 1, 1); /* wraps */
    put_place(&table, 6, 0x00ABCDEF);
    got = read_srat(&table, table.used);
    CHECK_EQ(got->range_count, 2);
    CHECK_EQ(got->ranges_ignored, 2);
    CHECK_EQ(got->ranges[0].end, 0xA0000);
    CHECK(!got->ranges[0].hot_pluggable);
    CHECK_EQ(got->ranges[1].node, 0x01020304);
    CHECK_EQ(got->ranges[1].start, 1 << 30);
    CHECK(got->ranges[1].hot_pluggable);
    put_cpu(&madt, 6, 1);
    put_cpu(&madt, 5, 1);
    acpi_read_madt(madt.bytes, madt.used, &info);
    acpi_join_nodes(&info);
    CHECK_EQ(info.cpus[0].node, 0x00ABCDEF);
    CHECK_EQ(info.cpus[1].node, 0);
}

static void reads_distances(void)
{
    struct table table = {.used = 36};

    put(&table, 3, 8);
    for (unsigned i = 0; i < 9; i++)
        put(&table, 10 + i, 1);
    info = (struct acpi_info){.cpu_count = 0};
    acpi_read_slit(table.bytes, table.used - 1, &info); /* the last one is cut off */
    CHECK_EQ(info.distance_count, 0);
    acpi_read_slit(table.bytes, 40, &info);
    CHECK_EQ(info.distance_count, 0);
    acpi_read_slit(table.bytes, table.used, &info);
    CHECK_EQ(info.distance_count, 3);
    CHECK_EQ(info.distances[1][0], 13);
    CHECK_EQ(info.distances[2][2], 18);
    table.bytes[36 + 7] = 0x80; /* the count's square wraps */
    info.distance_count = 0;
    acpi_read_slit(table.bytes, table.used, &info);
    CHECK_EQ(info.distance_count, 0);
}

/* More nodes than there is room for: the first ones, from rows of the right length. */
static void takes_the_first_of_many_distances(void)
{
    struct table table = {.used = 36};

    put(&table, 20, 8);
    for (unsigned i = 0; i < 400; i++)
        put(&table, i % 20 == i / 20 ? 10 : i / 20 + 100, 1);
    info = (struct acpi_info){.cpu_count = 0};
    acpi_read_slit(table.bytes, table.used, &info);
    CHECK_EQ(info.distance_count, ACPI_MAX_DISTANCES);
    CHECK_EQ(info.distances[15][15], 10);
    CHECK_EQ(info.distances[15][0], 115);
}

/* Whatever the bytes are, the readers end, stay inside them (sanitizers look) and inside the
 * arrays. */
static void survives_noise(void)
{
    static struct table table;
    struct rng rng = rng_start(0);

    for (unsigned round = 0; round < tap_rounds(2000); round++) {
        size_t bytes = rng_below(&rng, TABLE_BYTES + 1);

        for (size_t i = 0; i < TABLE_BYTES; i++) {
            uint32_t value = rng_u32(&rng);

            /* Mostly small numbers: types and lengths that make sense now and then. */
            table.bytes[i] = (uint8_t)((value >> 8 & 3) ? value % 17 : value);
        }
        info = (struct acpi_info){.cpu_count = 0};
        acpi_read_madt(table.bytes + TABLE_BYTES - bytes, bytes, &info);
        acpi_read_srat(table.bytes + TABLE_BYTES - bytes, bytes, &info);
        acpi_read_slit(table.bytes + TABLE_BYTES - bytes, bytes, &info);
        acpi_join_nodes(&info);
        CHECK(info.cpu_count <= ACPI_MAX_CPUS && info.range_count <= ACPI_MAX_NODE_RANGES);
    }
}

TAP_SUITE(acpi, TAP_TEST(reads_enabled_cpus), TAP_TEST(takes_the_wide_apic_address),
          TAP_TEST(ignores_what_it_cannot_name), TAP_TEST(too_many_cpus_are_counted),
          TAP_TEST(stops_at_an_impossible_entry), TAP_TEST(reads_nodes), TAP_TEST(reads_distances),
          TAP_TEST(takes_the_first_of_many_distances), TAP_TEST(survives_noise));
