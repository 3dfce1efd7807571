/* SPDX-License-Identifier: MIT
 *
 * test_facade.c: the eight functions on a real machine: what they promise and what they refuse.
 *
 * Owns:    suite facade.
 * Needs:   the facade, started; platform/pc to catch expected faults.
 * Callers: the kernel `facade`.
 */
#include "rng.h"
#include "tap.h"

#include <tesela/arch.h>
#include <tesela/atomic.h>
#include <tesela/heap_allocator.h>
#include <tesela/memory.h>
#include <tesela/physical_allocator.h>
#include <tesela/port.h>
#include <tesela/vallocator.h>

#include <platform/boot.h>
#include <platform/cpu.h>
#include <platform/fault.h>
#include <platform/memory.h>

enum { RW = VM_READ | VM_WRITE };

/* Free frames without what ranges, heap and tables keep for later, and those that only remember
 * where pages were handed out. */
static tsl_word free_frames(void)
{
    tsl_ranges_purge(tsl_system()->ranges);
    (void)tsl_heap_trim(tsl_system()->heap);
    tsl_table_trim(tsl_system()->table);
    return tsl_frames_free_count(tsl_system()->frames) + tsl_system()->record_frames;
}

static tsl_vaddr start_of(enum tsl_layout_use use)
{
    return tsl_layout_find(tsl_system()->layout, use)->start;
}

static bool is_readable(tsl_vaddr address)
{
    return platform_try_read(address, NULL);
}

static void pages_are_distinct_and_named_by_a_pointer(void)
{
    enum { COUNT = 64 };
    uintptr_t page[COUNT];
    tsl_word before = free_frames();
    for (int i = 0; i < COUNT; i++) {
        page[i] = allocate_physical_page();
        CHECK(page[i] != 0 && page[i] % 4096 == 0);
        for (int j = 0; j < i; j++)
            CHECK(page[i] != page[j]);
    }
    CHECK_EQ(free_frames(), before - COUNT);
    for (int i = 0; i < COUNT; i++)
        free_physical_page(page[i]);
    CHECK_EQ(free_frames(), before);
}

static void misuse_changes_nothing(void)
{
    uintptr_t page = allocate_physical_page();
    free_physical_page(page);
    char *object = kmalloc(200);
    char *memory = valloc(3 * 4096, RW);
    tsl_word before = free_frames();
    volatile size_t everything = SIZE_MAX;

    free_physical_page(0);
    free_physical_page(page);                  /* double */
    free_physical_page(page + 1);              /* inside a page */
    free_physical_page(UINTPTR_MAX & ~4095ul); /* no memory there */
    kfree(NULL);
    kfree(object + 16);
    kfree(object + 1);
    kfree(&before); /* not from a heap */
    CHECK_SAME(kmalloc(everything), NULL);
    CHECK_SAME(kmalloc(everything / 2), NULL);
    vfree(NULL);
    vfree(memory + 4096);
    vfree(memory + 3 * 4096);
    vfree(object);
    CHECK_SAME(valloc(0, RW), NULL);
    CHECK_SAME(valloc(everything, RW), NULL);
    CHECK_SAME(valloc(everything - 4095, RW), NULL);
    CHECK_SAME(valloc(4096, 0), NULL);
    CHECK_SAME(valloc(4096, VM_WRITE), NULL);
    CHECK_SAME(valloc(4096, RW | VM_EXEC), NULL);
    CHECK_SAME(valloc(4096, RW | TSL_USER), NULL);
    CHECK_SAME(valloc(4096, RW | 1u << 31), NULL);

    CHECK_EQ(free_frames(), before);
    CHECK_SOUND(tsl_verify());
    object[199] = memory[3 * 4096 - 1] = 1;
    kfree(object);
    kfree(object); /* double */
    vfree(memory);
    vfree(memory); /* double */
    CHECK_SOUND(tsl_verify());
}

/* The example of the component's README. */
static void example_runs(void)
{
    uintptr_t page = allocate_physical_page();
    char *memory = valloc(4096, VM_READ | VM_WRITE);
    memory[0] = 1;
    CHECK_EQ(memory[0], 1);
    vfree(memory);
    free_physical_page(page);
}

static void zero_bytes_are_an_object(void)
{
    void *a = kmalloc(0), *b = kmalloc(0);
    CHECK(a && b && a != b);
    kfree(a);
    kfree(b);
}

static void map_page_refuses_what_is_not_the_callers(void)
{
    uintptr_t page = allocate_physical_page();
    uintptr_t freed = allocate_physical_page();
    free_physical_page(freed);
    uintptr_t image = platform_boot()->image.text.start - platform_boot()->image.offset;
    char *valloced = valloc(4096, RW);
    tsl_vaddr devices = start_of(TSL_LAYOUT_DEVICES);
    const struct {
        tsl_vaddr address;
        uintptr_t physical;
        unsigned flags;
        enum tsl_status expected;
    } cases[] = {
        {0, page, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_USER) + 1, page, RW, TSL_MISALIGNED},
        {start_of(TSL_LAYOUT_USER), page + 8, RW, TSL_MISALIGNED},
        {start_of(TSL_LAYOUT_USER), freed, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_USER), image, RW, TSL_DENIED}, /* a way around its protection */
        {start_of(TSL_LAYOUT_USER), page, 0, TSL_INVALID},
        {start_of(TSL_LAYOUT_USER), page, VM_WRITE, TSL_INVALID},
        {start_of(TSL_LAYOUT_USER), page, RW | VM_EXEC, TSL_DENIED},
        {start_of(TSL_LAYOUT_USER), page, RW | 1u << 29, TSL_INVALID},
        {start_of(TSL_LAYOUT_DIRECT_MAP), page, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_HEAP), page, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_WINDOWS), page, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_CPU_AREAS), page, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_IMAGE), page, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_IDENTITY), page, RW, TSL_DENIED},
        {start_of(TSL_LAYOUT_HEAP) - 4096, page, RW, TSL_DENIED},
        {(tsl_vaddr)valloced, page, RW, TSL_EXISTS},
        {(tsl_vaddr)valloced + 4096, page, RW, TSL_EXISTS}, /* its guard */
        {devices, page, RW, platform_boot()->device_count ? TSL_DENIED : TSL_OK},
    };
    tsl_word before = free_frames();
    for (size_t i = 0; i < TSL_COUNT_OF(cases); i++)
        CHECK_STATUS(map_page((void *)cases[i].address, cases[i].physical, cases[i].flags),
                     cases[i].expected);
    if (sizeof(tsl_vaddr) == 8)
        CHECK_STATUS(map_page((void *)((tsl_vaddr)(uint64_t)(UINT64_C(1) << 60)), page, RW),
                     TSL_NOT_CANONICAL);
    CHECK_EQ(free_frames(), before);
    CHECK_STATUS(unmap_page((void *)start_of(TSL_LAYOUT_USER)), TSL_NOT_FOUND);
    CHECK_STATUS(unmap_page((void *)start_of(TSL_LAYOUT_IMAGE)), TSL_DENIED);
    CHECK_STATUS(unmap_page(valloced), TSL_DENIED);
    vfree(valloced);
    free_physical_page(page);
    CHECK_SOUND(tsl_verify());
}

static void map_page_shows_the_same_memory_twice(void)
{
    uintptr_t page = allocate_physical_page();
    tsl_vaddr user = start_of(TSL_LAYOUT_USER) + 0x10000;
    tsl_vaddr window = start_of(TSL_LAYOUT_VALLOC) + 0x100000;
    tsl_word before = free_frames();
    CHECK_STATUS(map_page((void *)user, page, RW), TSL_OK);
    CHECK_STATUS(map_page((void *)window, page, VM_READ), TSL_OK);
    CHECK_STATUS(map_page((void *)user, page, RW), TSL_EXISTS);
    *(volatile uint32_t *)user = 0xC0FFEE;
    CHECK_EQ(*(volatile uint32_t *)window, 0xC0FFEE);
    CHECK(!platform_try_write(window, 1, NULL));
    CHECK_STATUS(unmap_page((void *)user), TSL_OK);
    CHECK_STATUS(unmap_page((void *)window), TSL_OK);
    CHECK(!is_readable(user) && !is_readable(window));
    CHECK_EQ(free_frames(), before);
    free_physical_page(page);
}

static void image_and_direct_map_are_never_writable_and_executable(void)
{
    struct tsl_mapping mapping;
    tsl_vaddr from = 0;
    unsigned pages = 0;
    while (tsl_table_next(tsl_system()->table, from, UINTPTR_MAX, &mapping)) {
        bool both = (mapping.attributes & TSL_WRITE) && (mapping.attributes & TSL_EXEC);
        bool has_nx = tsl_system()->features.nx && tsl_system()->table->format->has_nx;
        CHECK(!both || !has_nx);
        CHECK(!(mapping.attributes & TSL_USER));
        pages++;
        from = mapping.start + mapping.bytes;
        if (from == 0)
            break;
    }
    CHECK(pages > 0);
}

static void null_and_guards_fault(void)
{
    char *memory = valloc(2 * 4096, RW);
    struct platform_fault fault;
    CHECK(!platform_try_read(0, &fault));
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_PAGE_FAULT);
    CHECK(!platform_try_write((tsl_vaddr)memory + 2 * 4096, 1, &fault));
    CHECK_EQ(fault.address, (tsl_vaddr)memory + 2 * 4096);
    CHECK(!is_readable((tsl_vaddr)memory - 1));
    CHECK(is_readable((tsl_vaddr)memory) && is_readable((tsl_vaddr)memory + 2 * 4096 - 1));
    vfree(memory);
    tsl_ranges_purge(tsl_system()->ranges); /* until a flush this CPU may remember the page */
    CHECK(!is_readable((tsl_vaddr)memory));
}

enum thing_kind { NOTHING, PAGE, OBJECT, MEMORY };

/* One thing that is live. */
struct thing {
    enum thing_kind kind;
    uintptr_t address;
    size_t bytes;
    uint32_t mark;
};

static void make(struct thing *thing, struct rng *rng)
{
    thing->mark = rng_u32(rng);
    static const enum thing_kind kinds[] = {PAGE, OBJECT, MEMORY};
    switch (thing->kind = kinds[rng_below(rng, TSL_COUNT_OF(kinds))]) {
    case PAGE:
        thing->bytes = 4096;
        thing->address = allocate_physical_page();
        break;
    case OBJECT:
        thing->bytes = 8 + rng_below(rng, 12000);
        thing->address = (uintptr_t)kmalloc(thing->bytes);
        break;
    default:
        thing->bytes = 4096 * (1 + rng_below(rng, 24));
        thing->address = (uintptr_t)valloc(thing->bytes, RW);
    }
    CHECK(thing->address != 0);
}

/* The first and the last bytes of a thing, where it can be reached. */
static uint32_t *ends_of(const struct thing *thing, int end)
{
    char *at = (char *)thing->address;
    if (thing->kind == PAGE)
        at = tsl_port_phys_to_virt(thing->address);
    if (!at)
        return NULL;
    return (uint32_t *)(end ? at + ((thing->bytes - 4) & ~(size_t)3) : at);
}

static void mark_or_check(const struct thing *thing, bool is_check)
{
    for (int end = 0; end < 2; end++) {
        uint32_t *at = ends_of(thing, end);
        if (at && is_check)
            CHECK_EQ(*at, thing->mark);
        else if (at)
            *at = thing->mark;
    }
}

static void drop(struct thing *thing)
{
    if (thing->kind == PAGE)
        free_physical_page(thing->address);
    else if (thing->kind == OBJECT)
        kfree((void *)thing->address);
    else
        vfree((void *)thing->address);
    thing->kind = NOTHING;
}

static void random_use_keeps_every_rule(void)
{
    enum { THINGS = 96 };
    static struct thing thing[THINGS];
    struct rng rng = rng_start(3);
    tsl_word before = free_frames();
    for (unsigned round = 0; round < tap_rounds(3000); round++) {
        struct thing *one = &thing[rng_below(&rng, THINGS)];
        if (one->kind == NOTHING) {
            make(one, &rng);
            mark_or_check(one, false);
        } else {
            mark_or_check(one, true);
            drop(one);
        }
        if (round % 500 == 0)
            CHECK_SOUND(tsl_verify());
    }
    for (size_t i = 0; i < THINGS; i++) {
        if (thing[i].kind != NOTHING) {
            mark_or_check(&thing[i], true);
            drop(&thing[i]);
        }
    }
    CHECK_SOUND(tsl_verify());
    CHECK_EQ(free_frames(), before);
}

/* Fills the heap up to its ceiling, or all memory; gives everything back. */
static size_t fill_and_empty(void)
{
    void *chain = NULL;
    size_t blocks = 0;
    for (void **block; (block = kmalloc(60000)); chain = block, blocks++)
        *block = chain;
    CHECK_SOUND(tsl_verify());
    while (chain) {
        void *next = *(void **)chain;
        kfree(chain);
        chain = next;
    }
    return blocks;
}

static void exhaustion_is_told_and_undone(void)
{
    size_t blocks = fill_and_empty(); /* from now on the heap keeps its page map */
    tsl_word before = free_frames();
    CHECK(blocks > 0);
    CHECK_EQ(fill_and_empty(), blocks);
    CHECK_EQ(free_frames(), before);
}

/* Every CPU works on all eight functions at once and checks that nobody touches its things. */
static tsl_word strangers;

static void work(void *unused)
{
    (void)unused;
    struct thing thing[12] = {{NOTHING, 0, 0, 0}};
    struct rng rng = rng_start(100 + tsl_port_cpu_id());
    for (unsigned round = 0; round < tap_rounds(100); round++) {
        struct thing *one = &thing[rng_below(&rng, TSL_COUNT_OF(thing))];
        if (one->kind == NOTHING) {
            make(one, &rng);
            mark_or_check(one, false);
            continue;
        }
        for (int end = 0; end < 2; end++) {
            const uint32_t *at = ends_of(one, end);
            if (at && *at != one->mark)
                tsl_atomic_add(&strangers, 1);
        }
        drop(one);
    }
    for (size_t i = 0; i < TSL_COUNT_OF(thing); i++)
        if (thing[i].kind != NOTHING)
            drop(&thing[i]);
}

static void all_cpus_at_once_keep_apart(void)
{
    strangers = 0;
    /* The first time each CPU gets what it owns of the heap. */
    CHECK(platform_run_everywhere(work, NULL, 120000000));
    tsl_word before = free_frames();
    CHECK(platform_run_everywhere(work, NULL, 120000000));
    CHECK_EQ(strangers, 0);
    CHECK_SOUND(tsl_verify());
    CHECK_EQ(free_frames(), before);
}

TAP_SUITE(facade, TAP_TEST(pages_are_distinct_and_named_by_a_pointer),
          TAP_TEST(misuse_changes_nothing), TAP_TEST(zero_bytes_are_an_object),
          TAP_TEST(example_runs), TAP_TEST(map_page_refuses_what_is_not_the_callers),
          TAP_TEST(map_page_shows_the_same_memory_twice),
          TAP_TEST(image_and_direct_map_are_never_writable_and_executable),
          TAP_TEST(null_and_guards_fault), TAP_TEST(random_use_keeps_every_rule),
          TAP_TEST(exhaustion_is_told_and_undone), TAP_TEST(all_cpus_at_once_keep_apart));
