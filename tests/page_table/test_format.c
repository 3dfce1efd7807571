/* SPDX-License-Identifier: MIT
 *
 * test_format.c: every format writes entries that it reads back, and never a bit too many.
 *
 * Owns:    nothing.
 * Needs:   the formats of arch/ only; runs on the host and in the kernel.
 * Callers: the test runner.
 */
#include <tesela/arch.h>
#include <tesela/table_format.h>

#include "tap.h"

#define NX UINT64_C(0x8000000000000000)

/* The n-th combination of what a CPU may or may not have. */
static struct tsl_cpu_features features_of(unsigned n)
{
    return (struct tsl_cpu_features){
        .pse = n & 1u,
        .pae = true,
        .pge = n & 2u,
        .nx = n & 4u,
        .pages_1g = n & 8u,
        .pat = n & 16u,
        .physical_bits = n & 32u ? 52 : 32,
    };
}

/* The n-th combination of attributes; n < 96. */
static unsigned attributes_of(unsigned n)
{
    unsigned attributes = TSL_READ | n % 4 << 8;
    if (n / 4 & 1u)
        attributes |= TSL_WRITE;
    if (n / 4 & 2u)
        attributes |= TSL_EXEC;
    if (n / 16 == 1)
        attributes |= TSL_USER;
    if (n / 16 == 2)
        attributes |= TSL_GLOBAL;
    if ((attributes & TSL_WRITE) && (attributes & TSL_EXEC))
        attributes |= TSL_ALLOW_WX;
    return attributes;
}

/* What reading must give: what was asked, as far as this CPU can. */
static unsigned expected_of(unsigned attributes, const struct tsl_cpu_features *features)
{
    if (!features->pge)
        attributes &= ~TSL_GLOBAL;
    if (!features->pat && (attributes & TSL_CACHE_MASK) == TSL_CACHE_WRITE_COMBINING)
        attributes = (attributes & ~TSL_CACHE_MASK) | TSL_CACHE_UNCACHED;
    return attributes;
}

static unsigned leaf_wrong(const struct tsl_table_format *format, unsigned level,
                           const struct tsl_cpu_features *features, unsigned attributes)
{
    struct tsl_table_entry entry;
    tsl_paddr page = (tsl_paddr)1 << format->shift[level];
    tsl_paddr target =
        (features->physical_bits < format->physical_bits ? (tsl_paddr)1 << features->physical_bits
                                                         : (tsl_paddr)1 << format->physical_bits) -
        page;
    uint64_t raw = format->encode_leaf(level, target, attributes, features);
    format->decode(level, raw, features, &entry);
    bool good = entry.present && entry.leaf && !entry.reserved && !entry.accessed && !entry.dirty;
    good = good && entry.target == target;
    good = good && entry.attributes == expected_of(attributes, features);
    good = good && entry.user == ((attributes & TSL_USER) != 0);
    good = good && !((raw & NX) && !features->nx) && !((raw & 0x100) && !features->pge);
    good = good && (format->entry_bytes == 8 || raw >> 32 == 0);

    format->decode(level, format->with_history(raw, true, false), features, &entry);
    good = good && entry.accessed && !entry.dirty && entry.target == target;
    format->decode(level, format->with_history(raw, false, true), features, &entry);
    good = good && !entry.accessed && entry.dirty && entry.target == target;
    good = good && (format->with_history(raw, true, true) ^ raw) == format->history;
    uint64_t before = format->encode_leaf(level, target - page, attributes, features);
    good = good && before + page == raw;
    return good ? 0 : 1;
}

static void leaves_read_back(void)
{
    for (size_t i = 0; tsl_arch_formats[i] != NULL; i++) {
        const struct tsl_table_format *format = tsl_arch_formats[i];
        unsigned wrong = 0;
        for (unsigned n = 0; n < 64 * 48; n++) {
            struct tsl_cpu_features features = features_of(n % 64);
            for (unsigned level = 0; level < format->levels; level++)
                if (format->leaf_at(level, &features))
                    wrong += leaf_wrong(format, level, &features, attributes_of(n / 64));
        }
        tap_note("format %s", format->name);
        CHECK_EQ(wrong, 0);
    }
}

static void tables_read_back(void)
{
    for (size_t i = 0; tsl_arch_formats[i] != NULL; i++) {
        const struct tsl_table_format *format = tsl_arch_formats[i];
        struct tsl_cpu_features features = features_of(63);
        for (unsigned level = 1; level < format->levels; level++) {
            bool root_of_pae = format->fixed_top && level == format->levels - 1;
            for (unsigned user = 0; user < 2; user++) {
                struct tsl_table_entry entry;
                uint64_t raw = format->encode_table(level, 0x7f3000, user);
                format->decode(level, raw, &features, &entry);
                CHECK(entry.present && !entry.leaf && !entry.reserved);
                CHECK_EQ(entry.target, 0x7f3000);
                CHECK_EQ(entry.user, user || root_of_pae);
                /* Root entries of PAE: everything but present, cache and address is reserved. */
                CHECK(!root_of_pae || (raw & ~UINT64_C(0x7f3000)) == 1);
            }
        }
    }
}

static bool is_reserved(const struct tsl_table_format *format, unsigned level, uint64_t raw,
                        const struct tsl_cpu_features *features)
{
    struct tsl_table_entry entry;
    format->decode(level, raw, features, &entry);
    return entry.reserved;
}

static void reserved_bits_are_seen(void)
{
    struct tsl_cpu_features rich = features_of(63);
    struct tsl_cpu_features poor = features_of(1); /* PSE, no NX, 32 physical bits */
    for (size_t i = 0; tsl_arch_formats[i] != NULL; i++) {
        const struct tsl_table_format *format = tsl_arch_formats[i];
        unsigned top = format->levels - 1;
        CHECK(!is_reserved(format, 0, 0x5003, &poor));
        if (format->entry_bytes == 4) {
            CHECK(is_reserved(format, 1, 0x00402083, &poor));  /* bit 13 of a 4 MiB page */
            CHECK(!is_reserved(format, 1, 0x00401083, &poor)); /* bit 12 is PAT */
            continue;
        }
        CHECK(is_reserved(format, 0, NX | 0x5003, &poor));
        CHECK(!is_reserved(format, 0, NX | 0x5003, &rich));
        CHECK(is_reserved(format, 0, UINT64_C(0x100005003), &poor));
        CHECK(!is_reserved(format, 0, UINT64_C(0x100005003), &rich));
        CHECK(is_reserved(format, 1, 0x00202083, &rich)); /* bit 13 of a 2 MiB page */
        CHECK(!is_reserved(format, 1, 0x00201083, &rich));
        CHECK(is_reserved(format, top, 0x5083, &rich) == (top != 1)); /* no pages in a root */
        if (format->fixed_top)
            CHECK(is_reserved(format, top, 0x5003, &rich)); /* a root entry is never writable */
    }
}

static void canonical_addresses(void)
{
    for (size_t i = 0; tsl_arch_formats[i] != NULL; i++) {
        const struct tsl_table_format *format = tsl_arch_formats[i];
        CHECK(tsl_table_format_canonical(format, 0));
        CHECK(tsl_table_format_canonical(format, 0xffffffff));
        if (!format->sign_extended)
            continue;
        tsl_vaddr half = (tsl_vaddr)1 << (format->va_bits - 1u);
        CHECK(tsl_table_format_canonical(format, half - 1));
        CHECK(!tsl_table_format_canonical(format, half));
        CHECK(!tsl_table_format_canonical(format, ~half));
        CHECK(tsl_table_format_canonical(format, ~(half - 1)));
        CHECK(tsl_table_format_canonical(format, ~(tsl_vaddr)0));
        CHECK(format->user_last < half - TSL_PAGE_BYTES);
    }
}

TAP_SUITE(table_format, TAP_TEST(leaves_read_back), TAP_TEST(tables_read_back),
          TAP_TEST(reserved_bits_are_seen), TAP_TEST(canonical_addresses));
