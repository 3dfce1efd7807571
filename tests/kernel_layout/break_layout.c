/* SPDX-License-Identifier: MIT
 *
 * break_layout.c: each rule of tsl_layout_check() broken in turn, and refused with its own id.
 *
 * Owns:    the suite break_layout.
 * Needs:   tap.h. A sound layout of 32 bits is copied and broken; it works on every build.
 * Callers: host and kernel test programs.
 */
#include <tesela/kernel_layout.h>

#include "tap.h"

enum { IDENTITY, USER, IMAGE, DIRECT, HEAP, VALLOC, DEVICES, WINDOWS, CPUS, COUNT };

#define RW (TSL_READ | TSL_WRITE)

struct broken_layout {
    struct tsl_layout layout;
    struct tsl_layout_range ranges[COUNT + 1];
    struct tsl_layout_needs needs;
};

static struct broken_layout *sound(struct broken_layout *self)
{
    *self = (struct broken_layout){
        .layout = {.format_name = "test",
                   .va_bits = 32,
                   .granule_bytes = 4u << 20,
                   .ranges = self->ranges,
                   .count = COUNT,
                   .image_offset = 0xc0000000},
        .ranges = {{TSL_LAYOUT_IDENTITY, 0x1000, 0xfffff, TSL_READ | TSL_EXEC},
                   {TSL_LAYOUT_USER, 0x100000, 0xafffffff, RW | TSL_EXEC | TSL_USER},
                   {TSL_LAYOUT_IMAGE, 0xc0000000, 0xc0ffffff, RW | TSL_EXEC},
                   {TSL_LAYOUT_DIRECT_MAP, 0xc1000000, 0xc8ffffff, RW},
                   {TSL_LAYOUT_HEAP, 0xd0000000, 0xd7ffffff, RW},
                   {TSL_LAYOUT_VALLOC, 0xe0000000, 0xe0ffffff, RW},
                   {TSL_LAYOUT_DEVICES, 0xe2000000, 0xe2ffffff, RW | TSL_CACHE_UNCACHED},
                   {TSL_LAYOUT_WINDOWS, 0xe4000000, 0xe43fffff, RW},
                   {TSL_LAYOUT_CPU_AREAS, 0xe8000000, 0xe83fffff, RW}},
        .needs = {.direct_end = 128u << 20,
                  .image_start = 0x100000,
                  .image_end = 0x1000000,
                  .heap_bytes = 128u << 20,
                  .cpus = 256,
                  .window_bytes = 0x4000,
                  .cpu_area_bytes = 0x4000},
    };
    struct tsl_defect defect;
    CHECK_STATUS(tsl_layout_check(&self->layout, &self->needs, &defect), TSL_OK);
    CHECK_EQ(defect.rule, 0u);
    return self;
}

static void expect(const struct broken_layout *self, enum tsl_status status,
                   enum tsl_layout_rule rule, tsl_vaddr place)
{
    struct tsl_defect defect = TSL_NO_DEFECT;
    CHECK_STATUS(tsl_layout_check(&self->layout, &self->needs, &defect), status);
    CHECK_EQ(defect.rule, rule);
    CHECK_EQ(defect.place, place);
    CHECK(defect.sentence != NULL);
    CHECK_STATUS(tsl_layout_check(&self->layout, &self->needs, NULL), status);
}

static void described(void)
{
    struct broken_layout b;
    sound(&b)->layout.format_name = NULL;
    expect(&b, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, 0);
    sound(&b)->layout.ranges = NULL;
    expect(&b, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, 0);
    sound(&b)->layout.count = 0;
    expect(&b, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, 0);
    sound(&b)->layout.granule_bytes = 0x2800;
    expect(&b, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, 0);
    sound(&b)->layout.va_bits = 65;
    expect(&b, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, 0);
    sound(&b)->ranges[HEAP].use = TSL_LAYOUT_USE_COUNT;
    expect(&b, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, 0xd0000000);
    struct tsl_defect defect = TSL_NO_DEFECT;
    CHECK_STATUS(tsl_layout_check(NULL, NULL, &defect), TSL_INVALID);
    CHECK_EQ(defect.rule, TSL_LAYOUT_RULE_DESCRIBED);
}

static void not_wrapping(void)
{
    struct broken_layout b;
    sound(&b)->ranges[CPUS].last = 0xfff;
    expect(&b, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_NOT_WRAPPING, 0xe8000000);
}

static void page_aligned(void)
{
    struct broken_layout b;
    sound(&b)->ranges[USER].start = 0x100800;
    expect(&b, TSL_MISALIGNED, TSL_LAYOUT_RULE_PAGE_ALIGNED, 0x100800);
    sound(&b)->ranges[USER].last = 0xafffeffe;
    expect(&b, TSL_MISALIGNED, TSL_LAYOUT_RULE_PAGE_ALIGNED, 0x100000);
}

static void page_zero_free(void)
{
    struct broken_layout b;
    sound(&b)->ranges[IDENTITY].start = 0;
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_PAGE_ZERO_FREE, 0);
}

static void canonical(void)
{
    struct broken_layout b;
    sound(&b)->layout.va_bits = 31; /* the kernel's ranges lie above */
    expect(&b, TSL_NOT_CANONICAL, TSL_LAYOUT_RULE_CANONICAL, 0x100000);
    sound(&b)->layout.sign_extended = true;
    b.layout.va_bits = 29; /* user reaches into the hole */
    expect(&b, TSL_NOT_CANONICAL, TSL_LAYOUT_RULE_CANONICAL, 0x100000);
}

/* All the bits of a word: nothing to shift out. */
static void whole_words_are_canonical(void)
{
    struct broken_layout b;
    sound(&b)->layout.va_bits = TSL_WORD_BITS;
    CHECK_STATUS(tsl_layout_check(&b.layout, &b.needs, NULL), TSL_OK);
}

/* Both ends can be formed, but the hole lies between them. Needs 64-bit addresses. */
static void canonical_in_one_half(void)
{
    struct broken_layout b;
    if (sizeof(tsl_vaddr) == 4)
        SKIP("addresses of 32 bits have no hole");
    sound(&b)->layout.sign_extended = true;
    b.layout.va_bits = 48;
    b.ranges[USER].last = (tsl_vaddr)UINT64_C(0xffff800000000fff);
    expect(&b, TSL_NOT_CANONICAL, TSL_LAYOUT_RULE_CANONICAL, 0x100000);
}

static void one_of_each(void)
{
    struct broken_layout b;
    sound(&b)->ranges[COUNT] =
        (struct tsl_layout_range){TSL_LAYOUT_HEAP, 0xf0000000, 0xf03fffff, RW};
    b.layout.count = COUNT + 1;
    expect(&b, TSL_EXISTS, TSL_LAYOUT_RULE_ONE_OF_EACH, 0xf0000000);
    sound(&b)->layout.count = COUNT - 1;
    expect(&b, TSL_NOT_FOUND, TSL_LAYOUT_RULE_ONE_OF_EACH, TSL_LAYOUT_CPU_AREAS);
}

static void no_overlap(void)
{
    struct broken_layout b;
    sound(&b)->ranges[DIRECT].last = 0xd0000fff;
    expect(&b, TSL_OVERLAP, TSL_LAYOUT_RULE_NO_OVERLAP, 0xd0000000);
    sound(&b)->ranges[IMAGE].start = 0xafffe000; /* one page of user */
    b.ranges[IMAGE].last = 0xc0ffffff;
    expect(&b, TSL_OVERLAP, TSL_LAYOUT_RULE_NO_OVERLAP, 0xafffe000);
}

static void ascending(void)
{
    struct broken_layout b;
    struct tsl_layout_range heap = sound(&b)->ranges[HEAP];
    b.ranges[HEAP] = b.ranges[VALLOC];
    b.ranges[VALLOC] = heap;
    expect(&b, TSL_INVALID, TSL_LAYOUT_RULE_ASCENDING, 0xd0000000);
}

static void granule(void)
{
    struct broken_layout b;
    sound(&b)->ranges[VALLOC].start = 0xe0200000;
    expect(&b, TSL_MISALIGNED, TSL_LAYOUT_RULE_GRANULE, 0xe0200000);
    sound(&b)->ranges[VALLOC].last = 0xe0ffefff;
    expect(&b, TSL_MISALIGNED, TSL_LAYOUT_RULE_GRANULE, 0xe0000000);
}

static void guarded(void)
{
    struct broken_layout b;
    sound(&b)->ranges[DIRECT].last = 0xcfffffff; /* touches the heap */
    expect(&b, TSL_OVERLAP, TSL_LAYOUT_RULE_GUARDED, 0xd0000000);
    sound(&b)->ranges[VALLOC].last = 0xe1ffffff; /* touches the devices */
    expect(&b, TSL_OVERLAP, TSL_LAYOUT_RULE_GUARDED, 0xe2000000);
    sound(&b)->ranges[USER].last = 0xbfffffff; /* touches the image */
    expect(&b, TSL_OVERLAP, TSL_LAYOUT_RULE_GUARDED, 0xc0000000);
}

static void user_below(void)
{
    struct broken_layout b;
    sound(&b);
    b.ranges[IDENTITY] = (struct tsl_layout_range){TSL_LAYOUT_CPU_AREAS, 0x400000, 0x7fffff, RW};
    b.ranges[USER].start = 0x10000000;
    b.ranges[CPUS] = (struct tsl_layout_range){TSL_LAYOUT_IDENTITY, 0xf0000000, 0xf0000fff, RW};
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_USER_BELOW, 0x400000);
    sound(&b);
    b.ranges[IDENTITY] = b.ranges[USER];
    b.ranges[USER] = (struct tsl_layout_range){TSL_LAYOUT_IDENTITY, 0xb0000000, 0xb0000fff, RW};
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_USER_BELOW, 0xb0000000);
}

static void protection(void)
{
    struct broken_layout b;
    sound(&b)->ranges[HEAP].protection |= TSL_USER;
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_PROTECTION, 0xd0000000);
    sound(&b)->ranges[USER].protection &= ~TSL_USER;
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_PROTECTION, 0x100000);
    sound(&b)->ranges[USER].protection |= TSL_GLOBAL;
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_PROTECTION, 0x100000);
    sound(&b)->ranges[VALLOC].protection |= TSL_ALLOW_WX;
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_PROTECTION, 0xe0000000);
    sound(&b)->ranges[DEVICES].protection = TSL_WRITE;
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_PROTECTION, 0xe2000000);
}

static void direct_covers(void)
{
    struct broken_layout b;
    sound(&b)->needs.direct_end = (128u << 20) + 1;
    expect(&b, TSL_LIMIT, TSL_LAYOUT_RULE_DIRECT_COVERS, 0xc1000000);
    sound(&b)->needs.direct_end = UINT64_MAX;
    expect(&b, TSL_LIMIT, TSL_LAYOUT_RULE_DIRECT_COVERS, 0xc1000000);
}

static void heap_fits(void)
{
    struct broken_layout b;
    sound(&b)->needs.heap_bytes = (128u << 20) + 1;
    expect(&b, TSL_LIMIT, TSL_LAYOUT_RULE_HEAP_FITS, 0xd0000000);
    sound(&b)->needs.heap_bytes = SIZE_MAX;
    expect(&b, TSL_LIMIT, TSL_LAYOUT_RULE_HEAP_FITS, 0xd0000000);
}

static void image_fits(void)
{
    struct broken_layout b;
    sound(&b)->needs.image_end = 0x1000001;
    expect(&b, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_IMAGE_FITS, 0xc0000000);
    sound(&b)->needs.image_end = 0x100000; /* empty */
    expect(&b, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_IMAGE_FITS, 0xc0000000);
    sound(&b)->layout.image_offset = 0xbfc00000; /* would begin at 4 MiB */
    expect(&b, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_IMAGE_FITS, 0xc0000000);
    sound(&b)->layout.image_offset = 0xc0400000; /* below physical 0 */
    expect(&b, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_IMAGE_FITS, 0xc0000000);
    sound(&b)->layout.image_offset = 0xbffff000; /* not a multiple of a table's reach */
    expect(&b, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_IMAGE_FITS, 0xc0000000);
}

static void cpus_fit(void)
{
    struct broken_layout b;
    sound(&b)->needs.cpus = 257;
    expect(&b, TSL_LIMIT, TSL_LAYOUT_RULE_CPUS_FIT, 0xe4000000);
    sound(&b)->needs.cpu_area_bytes = 0x5000;
    expect(&b, TSL_LIMIT, TSL_LAYOUT_RULE_CPUS_FIT, 0xe4000000);
    sound(&b)->needs.window_bytes = SIZE_MAX / 2;
    expect(&b, TSL_LIMIT, TSL_LAYOUT_RULE_CPUS_FIT, 0xe4000000);
}

static void halves(void)
{
    struct broken_layout b;
    sound(&b)->needs.user_last = 0xbfffffff;
    CHECK_STATUS(tsl_layout_check(&b.layout, &b.needs, NULL), TSL_OK);
    b.needs.user_last = 0xaffffffe; /* user ends one byte later */
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_HALVES, 0x100000);
    b.needs.user_last = 0xc0000000; /* the image begins there */
    expect(&b, TSL_DENIED, TSL_LAYOUT_RULE_HALVES, 0xc0000000);
}

TAP_SUITE(break_layout, TAP_TEST(described), TAP_TEST(not_wrapping), TAP_TEST(page_aligned),
          TAP_TEST(page_zero_free), TAP_TEST(canonical), TAP_TEST(whole_words_are_canonical),
          TAP_TEST(canonical_in_one_half), TAP_TEST(one_of_each), TAP_TEST(no_overlap),
          TAP_TEST(ascending), TAP_TEST(granule), TAP_TEST(guarded), TAP_TEST(user_below),
          TAP_TEST(protection), TAP_TEST(direct_covers), TAP_TEST(heap_fits), TAP_TEST(image_fits),
          TAP_TEST(cpus_fit), TAP_TEST(halves));
