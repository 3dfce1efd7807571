/* SPDX-License-Identifier: MIT
 *
 * tour.c: a walk through every component, doing real work and saying what it did.
 *
 * Owns:    the list of steps.
 * Needs:   the facade and the components behind it, platform/pc to catch expected faults.
 * Callers: main.c. Every step leaves memory as it found it; the last one checks that.
 */
#include "monitor.h"

#include <tesela/heap_allocator.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_report.h>
#include <tesela/physical_allocator.h>
#include <tesela/port.h>
#include <tesela/vallocator.h>

#include <platform/fault.h>
#include <platform/memory.h>

static tsl_word free_at_start;

/* The tour takes less of the heap. */
enum { MOST_BYTES = 8 << 20 };

bool failed_at(const char *file, int line, const char *what)
{
    tsl_print(console(), "    FAILED at %s:%d: %s\n", file, line, what);
    return false;
}

static void say_range(const char *what, tsl_paddr start, uint64_t bytes)
{
    char size[16];
    tsl_format_bytes(size, sizeof(size), bytes);
    tsl_print(console(), "    %s: %s at physical 0x%llx\n", what, size, (unsigned long long)start);
}

/* Whether the byte at `address` can be read, written, executed, as a mask of VM_ flags. */
static unsigned rights_at(void *address)
{
    tsl_vaddr va = (tsl_vaddr)address;
    unsigned rights = 0;
    if (platform_try_read(va, NULL))
        rights |= VM_READ;
    if (platform_try_write(va, 0xC3, NULL))
        rights |= VM_WRITE;
    if (platform_try_execute(va, NULL))
        rights |= VM_EXEC;
    return rights;
}

/* What rights_at() must find for memory mapped with `flags`: a CPU without NX lets everything be
 * executed. */
static unsigned expected_rights(unsigned flags)
{
    return tsl_system()->features.nx && tsl_system()->table->format->has_nx ? flags
                                                                            : flags | VM_EXEC;
}

static bool map_and_layout(void)
{
    REQUIRE(tsl_map_verify(platform_memory_map()).rule == 0);
    REQUIRE(tsl_layout_check(tsl_system()->layout, NULL, NULL) == TSL_OK);
    tsl_print(console(), "    %zu ranges, sorted and disjoint; every address range in its place\n",
              platform_memory_map()->count);
    return true;
}

static bool single_frames(void)
{
    uintptr_t page[3];
    for (size_t i = 0; i < 3; i++) {
        page[i] = allocate_physical_page();
        REQUIRE(page[i] != 0 && page[i] % TSL_PAGE_BYTES == 0);
        for (size_t j = 0; j < i; j++)
            REQUIRE(page[i] != page[j]);
    }
    tsl_print(console(), "    three pages: 0x%lx 0x%lx 0x%lx\n", (unsigned long)page[0],
              (unsigned long)page[1], (unsigned long)page[2]);
    for (size_t i = 0; i < 3; i++)
        free_physical_page(page[i]);
    return true;
}

static bool frame_blocks(void)
{
    struct tsl_frames *frames = tsl_system()->frames;
    struct tsl_frame block[TSL_FRAMES_MAX_ORDER + 1];
    unsigned top = 0;
    for (unsigned order = 0; order <= TSL_FRAMES_MAX_ORDER; order++, top++) {
        if (tsl_frames_alloc(frames, order, 0, &block[order]) != TSL_OK)
            break; /* a very small machine has no block of 4 MiB */
        REQUIRE(block[order].number % ((tsl_word)1 << order) == 0);
    }
    REQUIRE(top > 0);
    tsl_print(console(), "    blocks of order 0 to %u, each on its natural boundary\n", top - 1);
    for (unsigned order = 0; order < top; order++)
        REQUIRE(tsl_frames_free(frames, block[order], order) == TSL_OK);
    return true;
}

static bool frame_runs(void)
{
    struct tsl_frames *frames = tsl_system()->frames;
    struct tsl_frames_run run = {.count = 24, .align_frames = 16, .limit = (tsl_paddr)16 << 20};
    struct tsl_frame first;
    REQUIRE(tsl_frames_alloc_run(frames, &run, &first) == TSL_OK);
    REQUIRE(first.number % 16 == 0 && tsl_frame_address(first) + 24 * TSL_PAGE_BYTES <= run.limit);
    say_range("contiguous run below 16 MiB, aligned to 64 KiB", tsl_frame_address(first),
              24 * TSL_PAGE_BYTES);
    REQUIRE(tsl_frames_free_run(frames, first, 24) == TSL_OK);
    return true;
}

/* A frame of the highest zone: on a 32-bit kernel it may have no direct mapping. */
static bool windows(void)
{
    struct tsl_frame frame;
    REQUIRE(tsl_frames_alloc(tsl_system()->frames, 0, TSL_FRAMES_HIGH, &frame) == TSL_OK);
    say_range("frame written and read through windows", tsl_frame_address(frame), TSL_PAGE_BYTES);
    tsl_pin pin = tsl_port_pin();
    tsl_word *words = tsl_window_open(tsl_system()->windows, TSL_WINDOW_SOURCE, frame);
    for (size_t i = 0; i < TSL_PAGE_BYTES / sizeof(*words); i++)
        words[i] = i ^ frame.number;
    tsl_window_close(tsl_system()->windows, TSL_WINDOW_SOURCE);
    words = tsl_window_open(tsl_system()->windows, TSL_WINDOW_DESTINATION, frame);
    size_t right = 0;
    for (size_t i = 0; i < TSL_PAGE_BYTES / sizeof(*words); i++)
        right += words[i] == (i ^ frame.number);
    tsl_window_close(tsl_system()->windows, TSL_WINDOW_DESTINATION);
    tsl_port_unpin(pin);
    REQUIRE(tsl_frames_free(tsl_system()->frames, frame, 0) == TSL_OK);
    REQUIRE(right == TSL_PAGE_BYTES / sizeof(*words));
    return true;
}

/* The first usable range above 4 GiB, NULL if the machine or the table format has none. */
static const struct tsl_memory_range *range_above_4g(void)
{
    const struct tsl_memory_map *map = platform_memory_map();
    for (size_t i = 0; i < map->count; i++)
        if (map->ranges[i].type == TSL_MEMORY_USABLE && map->ranges[i].start >> 32)
            return &map->ranges[i];
    return NULL;
}

/* Writes the frame through a window, reads it through a mapping of its own. */
static bool show_high_frame(struct tsl_frame frame, tsl_vaddr place)
{
    tsl_pin pin = tsl_port_pin();
    tsl_word *words = tsl_window_open(tsl_system()->windows, TSL_WINDOW_SOURCE, frame);
    words[0] = frame.number;
    words[1] = ~frame.number;
    tsl_window_close(tsl_system()->windows, TSL_WINDOW_SOURCE);
    tsl_port_unpin(pin);
    REQUIRE(tsl_ranges_map(tsl_system()->ranges, place, tsl_frame_address(frame), TSL_PAGE_BYTES,
                           TSL_READ) == TSL_OK);
    const tsl_word *shown = (const tsl_word *)place;
    bool right = shown[0] == frame.number && shown[1] == ~frame.number;
    REQUIRE(tsl_ranges_unmap(tsl_system()->ranges, place) == TSL_OK);
    return right;
}

static bool above_4g(void)
{
    enum { FRAMES = 16 };
    const struct tsl_memory_range *range = range_above_4g();
    if (!range) {
        tsl_print(console(), "    none on this machine with %s tables\n",
                  tsl_system()->table->format->name);
        return true;
    }
    struct tsl_frames *frames = tsl_system()->frames;
    tsl_paddr start = range->end - FRAMES * TSL_PAGE_BYTES;
    tsl_vaddr place = tsl_layout_find(tsl_system()->layout, TSL_LAYOUT_VALLOC)->start;
    REQUIRE(tsl_frames_reserve(frames, start, FRAMES * TSL_PAGE_BYTES) == TSL_OK);
    for (size_t i = 0; i < FRAMES; i++)
        REQUIRE(show_high_frame(tsl_frame_of(start + i * TSL_PAGE_BYTES), place));
    REQUIRE(tsl_frames_release(frames, start, FRAMES * TSL_PAGE_BYTES) == TSL_OK);
    tsl_print(console(), "    %d frames used above 4 GiB: 0x%llx..0x%llx, by window and mapping\n",
              FRAMES, (unsigned long long)start, (unsigned long long)range->end - 1);
    return true;
}

/* Fills an object with a pattern of its own, or compares it. */
static void sign(unsigned char *object, size_t bytes, size_t seed)
{
    for (size_t i = 0; i < bytes; i++)
        object[i] = (unsigned char)(seed + i);
}

static bool is_signed(const unsigned char *object, size_t bytes, size_t seed)
{
    size_t right = 0;
    for (size_t i = 0; i < bytes; i++)
        right += object[i] == (unsigned char)(seed + i);
    return right == bytes;
}

static size_t object_bytes(size_t number)
{
    return 1 + number * number * 7;
}

static bool heap(void)
{
    enum { MOST = 64 };
    unsigned char *object[MOST];
    /* On a very small machine, no more than a quarter of what is free. */
    size_t budget = tsl_frames_free_count(tsl_system()->frames) * (TSL_PAGE_BYTES / 4);
    size_t count = 0, total = 0;
    for (; count < MOST && total + object_bytes(count) <= budget; count++) {
        object[count] = kmalloc(object_bytes(count));
        REQUIRE(object[count] && (uintptr_t)object[count] % 16 == 0);
        sign(object[count], object_bytes(count), count);
        total += object_bytes(count);
    }
    for (size_t i = 0; i < count; i++) {
        REQUIRE(is_signed(object[i], object_bytes(i), i));
        kfree(object[i]);
    }
    struct tsl_heap *raw = tsl_system()->heap;
    char *aligned = tsl_heap_alloc_aligned(raw, 4096, 100);
    REQUIRE(aligned && (uintptr_t)aligned % 4096 == 0);
    aligned = tsl_heap_realloc(raw, aligned, 20000);
    REQUIRE(aligned && (uintptr_t)aligned % 4096 == 0);
    REQUIRE(tsl_heap_free(raw, aligned) == TSL_OK);
    tsl_print(console(),
              "    %zu objects, %zu bytes, contents intact; aligned and resized blocks\n", count,
              total);
    return true;
}

static bool protection(void)
{
    static const unsigned flags[] = {VM_READ, VM_READ | VM_WRITE, VM_READ | VM_EXEC};
    for (size_t i = 0; i < TSL_COUNT_OF(flags); i++) {
        unsigned char *memory = valloc(2 * TSL_PAGE_BYTES, VM_READ | VM_WRITE);
        REQUIRE(memory);
        memory[0] = 0xC3; /* ret, so that it can be called */
        REQUIRE(tsl_table_protect(tsl_system()->table, (tsl_vaddr)memory, 2 * TSL_PAGE_BYTES,
                                  flags[i] | TSL_GLOBAL, NULL) == TSL_OK);
        unsigned found = rights_at(memory);
        REQUIRE(tsl_table_protect(tsl_system()->table, (tsl_vaddr)memory, 2 * TSL_PAGE_BYTES,
                                  VM_READ | VM_WRITE | TSL_GLOBAL, NULL) == TSL_OK);
        vfree(memory);
        REQUIRE(found == expected_rights(flags[i]));
    }
    tsl_print(console(), "    read-only, read-write and executable memory behave as named%s\n",
              expected_rights(0) ? " (this CPU has no execute protection)" : "");
    return true;
}

static bool guards(void)
{
    char *memory = valloc(3 * TSL_PAGE_BYTES, VM_READ | VM_WRITE);
    REQUIRE(memory);
    struct platform_fault fault;
    REQUIRE(!platform_try_read((tsl_vaddr)memory - 1, &fault));
    REQUIRE(!platform_try_read((tsl_vaddr)memory + 3 * TSL_PAGE_BYTES, &fault));
    REQUIRE(platform_try_write((tsl_vaddr)memory + 3 * TSL_PAGE_BYTES - 1, 1, NULL));
    vfree(memory);
    REQUIRE(!platform_try_read((tsl_vaddr)memory, &fault));
    REQUIRE(!platform_try_read(0, &fault));
    tsl_print(console(), "    one byte before, one behind, freed memory and NULL: each faults\n");
    return true;
}

static bool seed_example(void)
{
    uintptr_t phys_addr = allocate_physical_page();
    REQUIRE(phys_addr);
    free_physical_page(phys_addr);
    void *ptr = kmalloc(1024);
    REQUIRE(ptr);
    kfree(ptr);
    void *virt_addr = valloc(4096, VM_READ | VM_WRITE);
    REQUIRE(virt_addr);
    vfree(virt_addr);
    REQUIRE(map_page(virt_addr, phys_addr, VM_READ | VM_WRITE) == TSL_DENIED);
    REQUIRE(unmap_page(virt_addr) == TSL_NOT_FOUND);
    phys_addr = allocate_physical_page();
    REQUIRE(map_page(virt_addr, phys_addr, VM_READ | VM_WRITE) == TSL_OK);
    *(volatile int *)virt_addr = 42;
    REQUIRE(*(volatile int *)virt_addr == 42);
    REQUIRE(unmap_page(virt_addr) == TSL_OK);
    free_physical_page(phys_addr);
    tsl_print(console(), "    the eight functions, in the order of their first description\n");
    return true;
}

static bool misuse(void)
{
    uintptr_t page = allocate_physical_page();
    char *object = kmalloc(100), *memory = valloc(8192, VM_READ);
    REQUIRE(page && object && memory);
    struct tsl_frames *frames = tsl_system()->frames;
    free_physical_page(page);
    REQUIRE(tsl_frames_free(frames, tsl_frame_of(page), 0) == TSL_DOUBLE_FREE);
    free_physical_page(page + 1);
    kfree(object + 16);
    kfree((void *)16);
    kfree(object);
    REQUIRE(tsl_heap_free(tsl_system()->heap, object) == TSL_DOUBLE_FREE);
    volatile size_t everything = SIZE_MAX; /* the compiler refuses the constant itself */
    REQUIRE(!kmalloc(everything) && !valloc(everything, VM_READ) && !valloc(0, VM_READ));
    REQUIRE(!valloc(4096, VM_READ | VM_WRITE | VM_EXEC));
    vfree(memory + 4096);
    REQUIRE(map_page(memory, page, VM_READ) != TSL_OK);
    REQUIRE(map_page(memory + 1, page, VM_READ) == TSL_MISALIGNED);
    vfree(memory);
    REQUIRE(tsl_ranges_free(tsl_system()->ranges, memory) == TSL_NOT_FOUND);
    REQUIRE(unmap_page(memory) == TSL_NOT_FOUND);
    tsl_print(console(), "    fourteen mistakes, each refused and counted, nothing changed\n");
    return true;
}

/* Without what ranges, heap and tables keep for later, and with the frames that only remember what
 * was given. */
static tsl_word free_frames(void)
{
    tsl_ranges_purge(tsl_system()->ranges);
    (void)tsl_heap_end_quarantine(tsl_system()->heap);
    (void)tsl_heap_trim(tsl_system()->heap);
    tsl_table_trim(tsl_system()->table);
    return tsl_frames_free_count(tsl_system()->frames) + tsl_system()->record_frames;
}

static bool all_rules(void)
{
    struct tsl_defect defect = tsl_verify();
    if (defect.rule)
        tsl_print(console(), "    %s rule %u at %p: %s\n", defect.component, defect.rule,
                  (void *)defect.place, defect.sentence);
    REQUIRE(defect.rule == 0);
    tsl_word now = free_frames();
    tsl_print(console(), "    every rule of every component holds; %lu frames free, as before\n",
              now);
    REQUIRE(now == free_at_start);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(void);
} steps[] = {
    {"map-and-layout", map_and_layout},
    {"single-frames", single_frames},
    {"frame-blocks", frame_blocks},
    {"frame-runs", frame_runs},
    {"windows", windows},
    {"above-4-gib", above_4g},
    {"heap", heap},
    {"protection", protection},
    {"guards", guards},
    {"seed-example", seed_example},
    {"misuse", misuse},
    {"cpus-share", tour_cpus_share},
    {"shootdown", tour_shootdown},
    {"programs", tour_programs},
    {"all-rules", all_rules},
};

/* Touches each component once, so that what they keep for good is in place before frames are
 * counted. */
static void warm_up(void)
{
    struct tsl_heap_stats stats;

    (void)tour_use_everywhere();
    /* The heap remembers for good which addresses it had: more than it will have at any time. */
    tsl_heap_stats(tsl_system()->heap, &stats);
    kfree(kmalloc(stats.ceiling_bytes / 8 < MOST_BYTES ? stats.ceiling_bytes / 8 : MOST_BYTES));
    free_at_start = free_frames();
}

bool tour(void)
{
    const struct tsl_sink *out = console();
    bool passed[TSL_COUNT_OF(steps)];
    size_t good = 0;
    warm_up();
    tsl_print(out, "\n-- tour --\n");
    for (size_t i = 0; i < TSL_COUNT_OF(steps); i++) {
        tsl_print(out, "  %2zu/%zu %s\n", i + 1, TSL_COUNT_OF(steps), steps[i].name);
        passed[i] = steps[i].run();
        good += passed[i];
    }
    tsl_print(out, "\n-- report --\n");
    report();
    if (good == TSL_COUNT_OF(steps)) {
        tsl_print(out, "\ntour: PASS %zu/%zu\n", good, TSL_COUNT_OF(steps));
        return true;
    }
    tsl_print(out, "\ntour: FAIL %zu/%zu (", good, TSL_COUNT_OF(steps));
    const char *comma = "";
    for (size_t i = 0; i < TSL_COUNT_OF(steps); i++) {
        if (passed[i])
            continue;
        tsl_print(out, "%s%s", comma, steps[i].name);
        comma = ", ";
    }
    tsl_print(out, ")\n");
    return false;
}
