/* SPDX-License-Identifier: MIT
 *
 * test_layout.c: the layouts compiled in: sound, as promised in numbers, drawn as they are.
 *
 * Owns:    the suite layout.
 * Needs:   tap.h, <tesela/config.h> for the formats that are on.
 * Callers: host and kernel test programs.
 */
#include <tesela/config.h>
#include <tesela/kernel_layout.h>
#include <tesela/layout_x86_32.h>
#include <tesela/layout_x86_64.h>

#include "tap.h"

static void those_compiled_in_can_be_named(void)
{
    static const char *const names[TSL_LAYOUT_COUNT] = {"2level", "pae", "4level", "5level"};
    const bool on[TSL_LAYOUT_COUNT] = {TSL_TABLE_2LEVEL, TSL_TABLE_PAE, TSL_TABLE_4LEVEL,
                                       TSL_TABLE_5LEVEL};
    unsigned count = 0;
    for (size_t i = 0; i < TSL_LAYOUT_COUNT; i++) {
        CHECK_EQ(tsl_layouts[i] != NULL, on[i]);
        CHECK_SAME(tsl_layout_named(names[i]), tsl_layouts[i]);
        count += tsl_layouts[i] != NULL;
    }
    CHECK(count > 0);
    CHECK(tsl_layout_named("3level") == NULL);
    CHECK(tsl_layout_named("pa") == NULL);
    CHECK(tsl_layout_named("paex") == NULL);
    CHECK(tsl_layout_named("") == NULL);
    CHECK(tsl_layout_named(NULL) == NULL);
}

/* The image at 1 MiB, the memory that every format's direct map promises, the configured heap. */
static void all_are_sound(void)
{
    for (size_t i = 0; i < TSL_LAYOUT_COUNT; i++) {
        struct tsl_defect defect;
        struct tsl_layout_needs needs = {
            .direct_end = (tsl_paddr)512 << 20,
            .image_start = 0x100000,
            .image_end = 0x1000000,
            .heap_bytes = (size_t)4 << 20,
            .cpus = 256,
            .window_bytes = 4 * TSL_PAGE_BYTES,
            .cpu_area_bytes = 0x8000,
        };
        if (tsl_layouts[i] == NULL)
            continue;
        CHECK_STATUS(tsl_layout_check(tsl_layouts[i], &needs, &defect), TSL_OK);
        CHECK_EQ(defect.rule, 0u);
        CHECK_STATUS(tsl_layout_check(tsl_layouts[i], NULL, NULL), TSL_OK);
    }
}

/* Finding, and at both ends of every range and just outside of them. */
static void lookups_meet_the_ends(void)
{
    for (size_t i = 0; i < TSL_LAYOUT_COUNT; i++) {
        const struct tsl_layout *layout = tsl_layouts[i];
        for (unsigned use = 0; layout != NULL && use < TSL_LAYOUT_USE_COUNT; use++) {
            const struct tsl_layout_range *range =
                tsl_layout_find(layout, (enum tsl_layout_use)use);
            REQUIRE(range != NULL);
            CHECK_EQ(range->use, use);
            CHECK_SAME(tsl_layout_at(layout, range->start), range);
            CHECK_SAME(tsl_layout_at(layout, range->last), range);
            CHECK(tsl_layout_at(layout, range->start - 1) != range);
            CHECK(tsl_layout_at(layout, range->last + 1) != range);
            CHECK_EQ(tsl_layout_bytes(range), range->last - range->start + 1);
        }
        if (layout != NULL) {
            CHECK(tsl_layout_at(layout, 0) == NULL);
            CHECK(tsl_layout_at(layout, UINTPTR_MAX) == NULL);
            CHECK(tsl_layout_find(layout, TSL_LAYOUT_USE_COUNT) == NULL);
        }
    }
}

/* Numbers that assembly, linker scripts and other components rely on. */
static void promised_numbers_of_32_bits(void)
{
    const struct tsl_layout *layout = tsl_layout_named("2level");
    if (layout == NULL)
        SKIP("no 2-level tables");
    const struct tsl_layout_range *direct = tsl_layout_find(layout, TSL_LAYOUT_DIRECT_MAP);
    CHECK_EQ(direct->start, 0xc1000000u);
    CHECK_EQ(tsl_layout_bytes(direct), 512u << 20);
    CHECK_EQ(tsl_layout_find(layout, TSL_LAYOUT_IMAGE)->start, 0xc0000000u);
    CHECK_EQ(layout->image_offset, TSL_X86_32_IMAGE_OFFSET);
    CHECK_EQ(tsl_layout_bytes(tsl_layout_find(layout, TSL_LAYOUT_HEAP)), 256u << 20);
    CHECK_EQ(tsl_layout_find(layout, TSL_LAYOUT_USER)->last, 0xbffeffffu);
    CHECK(!layout->sign_extended);
    CHECK(tsl_layout_is_canonical(layout, 0));
    CHECK(tsl_layout_is_canonical(layout, 0xffffffffu));
}

static void promised_numbers_of_64_bits(void)
{
    const struct tsl_layout *four = tsl_layout_named("4level");
    const struct tsl_layout *five = tsl_layout_named("5level");
    if (four != NULL) {
        const struct tsl_layout_range *direct = tsl_layout_find(four, TSL_LAYOUT_DIRECT_MAP);
        CHECK_EQ(direct->start, TSL_X86_64_DIRECT_MAP_START_4LEVEL);
        CHECK_EQ((uint64_t)direct->last - direct->start + 1, (uint64_t)64 << 40);
        CHECK(tsl_layout_is_canonical(four, (tsl_vaddr)0x00007fffffffffff));
        CHECK(!tsl_layout_is_canonical(four, (tsl_vaddr)0x0000800000000000));
        CHECK(!tsl_layout_is_canonical(four, (tsl_vaddr)0xffff7fffffffffff));
        CHECK(tsl_layout_is_canonical(four, (tsl_vaddr)0xffff800000000000));
    }
    if (five != NULL) {
        const struct tsl_layout_range *direct = tsl_layout_find(five, TSL_LAYOUT_DIRECT_MAP);
        CHECK_EQ((uint64_t)direct->last - direct->start + 1, (uint64_t)4 << 50);
        CHECK_EQ(tsl_layout_find(five, TSL_LAYOUT_IMAGE)->start, TSL_X86_64_IMAGE_START);
        CHECK(tsl_layout_is_canonical(five, (tsl_vaddr)0x00ffffffffffffff));
        CHECK(!tsl_layout_is_canonical(five, (tsl_vaddr)0x0100000000000000));
        CHECK(tsl_layout_is_canonical(five, (tsl_vaddr)0xff00000000000000));
        CHECK(!tsl_layout_is_canonical(five, (tsl_vaddr)0xfeffffffffffffff));
    }
    if (four == NULL && five == NULL)
        SKIP("no 64-bit tables");
}

/* ---- The drawing: read back line by line. ---- */

struct reader {
    char line[128];
    size_t length;
    unsigned lines;
    unsigned guards;
    unsigned longest;
    unsigned long long expected_last; /* of the next line, going down */
    unsigned breaks;                  /* lines that do not continue the one above */
};

static unsigned long long hexadecimal(const char **at)
{
    unsigned long long value = 0;
    for (;; (*at)++) {
        char c = **at;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16;
        if (digit == 16)
            return value;
        value = value << 4 | digit;
    }
}

static void read_line(struct reader *self)
{
    const char *at = self->line + 2;
    self->longest = self->length > self->longest ? (unsigned)self->length : self->longest;
    if (self->lines++ == 0)
        return; /* the heading */
    unsigned long long start = hexadecimal(&at);
    at += 2;
    unsigned long long last = hexadecimal(&at);
    self->breaks += last != self->expected_last || start > last;
    self->expected_last = start - 1;
    for (size_t i = 0; i + 6 < self->length; i++) {
        const char *c = self->line + i;
        self->guards += c[0] == '(' && c[1] == 'g' && c[2] == 'u' && c[3] == 'a' && c[4] == 'r';
    }
}

static void read_text(void *context, const char *text, size_t length)
{
    struct reader *self = context;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            self->line[self->length] = '\0';
            read_line(self);
            self->length = 0;
        } else if (self->length + 1 < sizeof self->line) {
            self->line[self->length++] = text[i];
        }
    }
}

/* Every address is in exactly one line, from the top down to 0. */
static void drawing_covers_every_address(void)
{
    for (size_t i = 0; i < TSL_LAYOUT_COUNT; i++) {
        const struct tsl_layout *layout = tsl_layouts[i];
        if (layout == NULL)
            continue;
        struct reader reader = {.expected_last = layout->sign_extended ? UINT64_MAX : UINT32_MAX};
        const struct tsl_sink sink = {read_text, &reader};
        tsl_layout_dump(layout, &sink);
        CHECK_EQ(reader.breaks, 0u);
        CHECK_EQ(reader.expected_last, UINT64_MAX); /* the last line began at 0 */
        CHECK(reader.lines > 1 + TSL_LAYOUT_USE_COUNT);
        CHECK(reader.guards >= 7);
        CHECK(reader.longest <= 80);
    }
}

/* Guards on both sides of the hole, as none of our own layouts has them. */
static void drawing_splits_a_gap_at_the_hole(void)
{
    if (sizeof(tsl_vaddr) == 4)
        SKIP("addresses of 32 bits have no hole");
    const struct tsl_layout_range ranges[] = {
        {TSL_LAYOUT_USER, 0x1000, 0xffff, TSL_READ | TSL_USER},
        {TSL_LAYOUT_IMAGE, (tsl_vaddr)TSL_X86_64_IMAGE_START, UINTPTR_MAX, TSL_READ},
    };
    const struct tsl_layout layout = {.format_name = "test",
                                      .va_bits = 48,
                                      .sign_extended = true,
                                      .ranges = ranges,
                                      .count = TSL_COUNT_OF(ranges)};
    struct reader reader = {.expected_last = UINT64_MAX};
    const struct tsl_sink sink = {read_text, &reader};
    tsl_layout_dump(&layout, &sink);
    CHECK_EQ(reader.breaks, 0u);
    CHECK_EQ(reader.expected_last, UINT64_MAX);
    CHECK_EQ(reader.guards, 3u);
    CHECK_EQ(reader.lines, 7u);
}

static void uses_have_names(void)
{
    for (unsigned use = 0; use < TSL_LAYOUT_USE_COUNT; use++)
        CHECK(tsl_layout_use_name((enum tsl_layout_use)use)[0] != '?');
    CHECK_STRING(tsl_layout_use_name(TSL_LAYOUT_USE_COUNT), "?");
}

TAP_SUITE(layout, TAP_TEST(those_compiled_in_can_be_named), TAP_TEST(all_are_sound),
          TAP_TEST(lookups_meet_the_ends), TAP_TEST(promised_numbers_of_32_bits),
          TAP_TEST(promised_numbers_of_64_bits), TAP_TEST(drawing_covers_every_address),
          TAP_TEST(drawing_splits_a_gap_at_the_hole), TAP_TEST(uses_have_names));
