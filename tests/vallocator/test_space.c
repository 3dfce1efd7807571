/* SPDX-License-Identifier: MIT
 *
 * test_space.c: what spaces do: zeros, copies, rights, stacks, limits.
 *
 * Owns:    suite space.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "machine.h"

#include <string.h>

#include <tesela/port.h>

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES };

static struct tsl_space *space;

static void begin_with(size_t commit_limit)
{
    world_start(commit_limit);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
}

static void begin(void)
{
    begin_with(0);
}

static void finish(void)
{
    CHECK_SOUND(tsl_space_verify(space));
    world_destroy(space);
    world_stop();
}

static unsigned char read_byte(struct tsl_space *of, tsl_vaddr address)
{
    unsigned char byte = 0xEE;
    CHECK_STATUS(world_load(0, of, address, &byte), TSL_OK);
    return byte;
}

static struct tsl_object *make_object(size_t pages)
{
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = pages * PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    return object;
}

static void map_object(struct tsl_space *into, tsl_vaddr at, struct tsl_object *object,
                       size_t pages, unsigned rights, unsigned flags)
{
    tsl_vaddr out;
    struct tsl_map_request request = {.address = at,
                                      .bytes = pages * PAGE,
                                      .rights = rights,
                                      .flags = TSL_SPACE_FIXED | flags,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(into, &request, &out), TSL_OK);
}

/* Frames full of a pattern go back to the allocator: no program may ever see it. */
static void dirty_all_frames(void)
{
    static struct tsl_frame taken[WORLD_RAM / PAGE];
    size_t count = 0;
    while (tsl_frames_alloc(world.frames, 0, TSL_FRAMES_LOW, &taken[count]) == TSL_OK)
        memset(tsl_port_phys_to_virt(tsl_frame_address(taken[count++])), 0xD7, PAGE);
    while (count > 0)
        CHECK_STATUS(tsl_frames_free(world.frames, taken[--count], 0), TSL_OK);
}

static void untouched_memory_reads_as_zero_and_costs_nothing(void)
{
    begin();
    dirty_all_frames();
    world_map(space, world.base, 64, RW);
    for (size_t i = 0; i < 64; i++)
        CHECK_EQ(read_byte(space, world.base + i * PAGE + i), 0);
    CHECK_EQ(world_usage().counted, 0);
    CHECK_STATUS(world_store(0, space, world.base + 5, 1), TSL_OK);
    CHECK_EQ(world_usage().counted, 1);
    for (size_t i = 0; i < PAGE; i++)
        CHECK_EQ(read_byte(space, world.base + i), i == 5);
    finish();
}

static void a_shared_object_is_one_memory(void)
{
    begin();
    dirty_all_frames();
    struct tsl_object *object = make_object(4);
    struct tsl_space *other;
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &other), TSL_OK);
    map_object(space, world.base, object, 4, RW, TSL_SPACE_SHARED);
    map_object(other, world.base + 64 * PAGE, object, 4, TSL_READ, TSL_SPACE_SHARED);
    tsl_object_put(object); /* the regions keep it */
    CHECK_EQ(read_byte(other, world.base + 66 * PAGE), 0);
    CHECK_STATUS(world_store(0, space, world.base + 2 * PAGE, 77), TSL_OK);
    CHECK_EQ(read_byte(other, world.base + 66 * PAGE), 77);
    CHECK_STATUS(world_store(1, other, world.base + 66 * PAGE, 1), TSL_DENIED);
    /* a copy shares it too, it does not copy it */
    struct tsl_space *copy;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    CHECK_STATUS(world_store(1, copy, world.base + 2 * PAGE, 78), TSL_OK);
    CHECK_EQ(read_byte(space, world.base + 2 * PAGE), 78);
    world_destroy(copy);
    CHECK_EQ(read_byte(other, world.base + 66 * PAGE), 78);
    world_destroy(other);
    struct tsl_object_info info;
    tsl_object_info(object, &info);
    CHECK_EQ(info.references, 1);
    CHECK_EQ(info.resident, 1);
    finish();
}

/* Dirty COW: whatever order of writing and forgetting, the object keeps its contents. */
static void a_private_write_never_reaches_the_object(void)
{
    begin();
    struct tsl_object *object = make_object(1);
    map_object(space, world.base, object, 1, RW, TSL_SPACE_SHARED);
    map_object(space, world.base + PAGE, object, 1, RW, 0);
    CHECK_STATUS(world_store(0, space, world.base, 5), TSL_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(read_byte(space, world.base + PAGE), 5);
        CHECK_STATUS(world_store(1, space, world.base + PAGE, 9), TSL_OK);
        CHECK_EQ(read_byte(space, world.base + PAGE), 9);
        CHECK_EQ(read_byte(space, world.base), 5);
        CHECK_STATUS(tsl_space_advise(space, world.base + PAGE, PAGE, TSL_ADVISE_DONT_NEED),
                     TSL_OK);
        CHECK_EQ(read_byte(space, world.base + PAGE), 5);
        CHECK_SOUND(tsl_space_verify(space));
    }
    tsl_object_put(object);
    finish();
}

/* ---- Copies. ---- */

enum step { WRITE, PROTECT, UNMAP, STEPS };

static unsigned char expected_byte[2][4];
static bool is_there[2][4];

static void do_step(struct tsl_space *of, unsigned side, enum step step)
{
    switch (step) {
    case WRITE:
        for (unsigned page = 0; page < 4; page += 3) {
            if (!is_there[side][page])
                continue;
            expected_byte[side][page] = (unsigned char)(100 + side);
            CHECK_STATUS(world_store(side, of, world.base + page * PAGE, expected_byte[side][page]),
                         TSL_OK);
        }
        break;
    case PROTECT:
        CHECK_STATUS(tsl_space_protect(of, world.base, PAGE, TSL_READ), TSL_OK);
        CHECK_STATUS(world_store(side, of, world.base, 1), TSL_DENIED);
        CHECK_STATUS(tsl_space_protect(of, world.base, PAGE, RW), TSL_OK);
        break;
    default:
        CHECK_STATUS(tsl_space_unmap(of, world.base + PAGE, 2 * PAGE), TSL_OK);
        is_there[side][1] = is_there[side][2] = false;
    }
}

static void check_sides(struct tsl_space *const side[2])
{
    for (unsigned i = 0; i < 2; i++) {
        if (!side[i])
            continue;
        CHECK_SOUND(tsl_space_verify(side[i]));
        for (unsigned page = 0; page < 4; page++) {
            unsigned char byte = 0xEE;
            CHECK_STATUS(world_load(i, side[i], world.base + page * PAGE, &byte),
                         is_there[i][page] ? TSL_OK : TSL_NOT_FOUND);
            if (is_there[i][page])
                CHECK_EQ(byte, expected_byte[i][page]);
        }
    }
}

/* order: a permutation of 7 events: three steps on either side, and the end of one side, which
 * swallows its later steps. */
static void run_order(const unsigned *order, unsigned dies)
{
    struct tsl_space *side[2];
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &side[0]), TSL_OK);
    world_map(side[0], world.base, 4, RW);
    for (unsigned page = 0; page < 4; page++) {
        CHECK_STATUS(world_store(0, side[0], world.base + page * PAGE, (unsigned char)(page + 1)),
                     TSL_OK);
        for (unsigned i = 0; i < 2; i++) {
            expected_byte[i][page] = (unsigned char)(page + 1);
            is_there[i][page] = true;
        }
    }
    CHECK_STATUS(tsl_space_copy(side[0], &side[1]), TSL_OK);
    for (unsigned i = 0; i < 7; i++) {
        unsigned which = order[i] / STEPS;
        if (order[i] == 2 * STEPS) {
            world_destroy(side[dies]);
            side[dies] = NULL;
        } else if (side[which]) {
            do_step(side[which], which, (enum step)(order[i] % STEPS));
        }
        check_sides(side);
    }
    world_destroy(side[!dies]);
}

static bool next_permutation(unsigned *order, unsigned count)
{
    unsigned i = count - 1, j = count - 1;
    while (i > 0 && order[i - 1] > order[i])
        i--;
    if (i == 0)
        return false;
    while (order[j] < order[i - 1])
        j--;
    unsigned kept = order[i - 1];
    order[i - 1] = order[j];
    order[j] = kept;
    for (j = count - 1; i < j; i++, j--) {
        kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    return true;
}

static void copies_in_every_order(void)
{
    begin();
    unsigned turn = 0;
    for (unsigned dies = 0; dies < 2; dies++) {
        unsigned order[7] = {0, 1, 2, 3, 4, 5, 6};
        do {
            if (tap_scale > 1 || turn++ % 11 == 0) /* a quick run takes some of the 10,080 */
                run_order(order, dies);
        } while (next_permutation(order, 7));
    }
    CHECK_EQ(world_usage().counted, 0);
    finish();
}

/* A copy of a copy of a copy: each level writes its own page; nobody sees another's. */
static void generations_do_not_see_each_other(void)
{
    enum { GENERATIONS = 6 };
    struct tsl_space *line[GENERATIONS];
    begin();
    world_map(space, world.base, GENERATIONS, RW);
    for (unsigned i = 0; i < GENERATIONS; i++)
        CHECK_STATUS(world_store(0, space, world.base + i * PAGE, 1), TSL_OK);
    for (unsigned i = 0; i < GENERATIONS; i++) {
        CHECK_STATUS(tsl_space_copy(i ? line[i - 1] : space, &line[i]), TSL_OK);
        CHECK_STATUS(world_store(i % 2, line[i], world.base + i * PAGE, (unsigned char)(10 + i)),
                     TSL_OK);
    }
    CHECK_EQ(world_usage().counted, 2 * GENERATIONS);
    for (unsigned i = 0; i < GENERATIONS; i++)
        for (unsigned page = 0; page < GENERATIONS; page++)
            CHECK_EQ(read_byte(line[i], world.base + page * PAGE), page <= i ? 10 + page : 1);
    for (unsigned i = 0; i < GENERATIONS; i++)
        world_destroy(line[(i * 5 + 2) % GENERATIONS]);
    struct tsl_space_stats before, after;
    tsl_space_stats(space, &before);
    CHECK_STATUS(world_store(0, space, world.base, 3), TSL_OK);
    tsl_space_stats(space, &after);
    CHECK_EQ(after.reused - before.reused, 1); /* alone again: no copy */
    CHECK_EQ(after.copied, before.copied);
    finish();
}

/* The parent runs on another CPU that has the writable translation: it must lose it. */
static void copying_takes_the_write_right_from_every_cpu(void)
{
    begin();
    world_map(space, world.base, 1, RW);
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++)
        CHECK_STATUS(world_store(cpu, space, world.base, 1), TSL_OK);
    struct tsl_space *copy;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    CHECK_STATUS(world_store(1, space, world.base, 2), TSL_OK);
    CHECK_EQ(read_byte(copy, world.base), 1);
    CHECK_EQ(read_byte(space, world.base), 2);
    world_destroy(copy);
    finish();
}

/* A count that is full stays full: the page is never freed and never written by one alone. */
static void a_full_reference_count_never_wraps(void)
{
    begin();
    world_map(space, world.base, 1, RW);
    CHECK_STATUS(world_store(0, space, world.base, 7), TSL_OK);
    tsl_slot slot = tsl_slots_get(&space->layer, world.base >> TSL_PAGE_SHIFT);
    struct tsl_frame frame = tsl_vm_frame_of(slot);
    struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(world.vm, frame);
    descriptor->counts[0] += TSL_FRAME_COUNT_MAX - 2; /* references */
    struct tsl_space *copy[3];
    for (unsigned i = 0; i < 3; i++) {
        CHECK_STATUS(tsl_space_copy(space, &copy[i]), TSL_OK);
        CHECK_STATUS(world_store(0, copy[i], world.base, 8), TSL_OK);
        CHECK_EQ(read_byte(space, world.base), 7);
        CHECK_EQ(tsl_descriptor_references(descriptor), TSL_FRAME_COUNT_MAX);
    }
    for (unsigned i = 0; i < 3; i++)
        world_destroy(copy[i]);
    CHECK_STATUS(world_store(0, space, world.base, 9), TSL_OK); /* copied: who knows who has it */
    CHECK_EQ(tsl_descriptor_references(descriptor), TSL_FRAME_COUNT_MAX);
    CHECK(!tsl_frames_is_free(world.frames, frame));
    descriptor->counts[0] -= TSL_FRAME_COUNT_MAX - 1;
    tsl_vm_put_frame(world.vm, frame);
    finish();
}

/* The same of the count of entries: what is not known to be unmapped is not used again. */
static void a_full_map_count_loses_the_frame(void)
{
    begin();
    world_map(space, world.base, 1, RW);
    CHECK_STATUS(world_store(0, space, world.base, 7), TSL_OK);
    struct tsl_frame frame =
        tsl_vm_frame_of(tsl_slots_get(&space->layer, world.base >> TSL_PAGE_SHIFT));
    struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(world.vm, frame);
    while (TSL_FRAME_DESCRIPTORS_SMALL && tsl_descriptor_maps(descriptor) < TSL_FRAME_COUNT_MAX - 1)
        CHECK(tsl_descriptor_map(descriptor));
    descriptor->counts[TSL_FRAME_COUNT_WORDS - 1] +=
        TSL_FRAME_DESCRIPTORS_SMALL ? 0 : TSL_FRAME_COUNT_MAX - 2;
    CHECK_EQ(tsl_descriptor_maps(descriptor), TSL_FRAME_COUNT_MAX - 1);
    CHECK_STATUS(tsl_space_unmap(space, world.base, PAGE), TSL_OK);
    CHECK(!tsl_frames_is_free(world.frames, frame));
    CHECK_EQ(world_usage().counted, 1);
    descriptor->counts[TSL_FRAME_COUNT_WORDS - 1] = 0; /* so that the world can end */
    descriptor->counts[0] = 1;
    tsl_vm_put_frame(world.vm, frame);
    finish();
}

/* What a device works on stays the page of the space through which it was pinned, also across a
 * copy, and the copy does not see what the device writes (CVE-2020-29374 and its kin). */
static void pinned_pages_are_copied_at_once(void)
{
    begin();
    struct tsl_frame frame = {0}, again = {0};
    world_map(space, world.base, 3, RW);
    CHECK_STATUS(world_store(0, space, world.base + PAGE, 5), TSL_OK);
    CHECK_STATUS(tsl_space_pin(space, world.base + PAGE, TSL_WRITE, NULL, &frame), TSL_OK);
    unsigned char *device = tsl_port_phys_to_virt(tsl_frame_address(frame));
    CHECK_EQ(device[0], 5);
    struct tsl_space *copy;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    CHECK_SOUND(tsl_space_verify(copy));
    device[1] = 6;
    CHECK_STATUS(world_store(0, space, world.base + PAGE + 2, 7), TSL_OK);
    CHECK_EQ(device[2], 7);
    CHECK_EQ(read_byte(space, world.base + PAGE + 1), 6);
    CHECK_EQ(read_byte(copy, world.base + PAGE), 5);
    CHECK_EQ(read_byte(copy, world.base + PAGE + 1), 0);
    CHECK_STATUS(tsl_space_pin(space, world.base + PAGE, TSL_READ, NULL, &again), TSL_OK);
    CHECK_EQ(again.number, frame.number);
    world_run(0, NULL);
    CHECK_STATUS(tsl_space_destroy(space), TSL_BUSY);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    /* The page outlives its region until the last pin goes. */
    CHECK_STATUS(tsl_space_unmap(space, world.base, 3 * PAGE), TSL_OK);
    CHECK(!tsl_frames_is_free(world.frames, frame));
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    CHECK(tsl_frames_is_free(world.frames, frame));
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_FOREIGN);
    world_destroy(copy);
    finish();
}

static void pinning_is_an_access(void)
{
    begin();
    struct tsl_frame frame = {0};
    world_map(space, world.base, 1, TSL_READ);
    world_map(space, world.base + PAGE, 1, RW);
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_WRITE, NULL, &frame), TSL_DENIED);
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_EXEC, NULL, &frame), TSL_INVALID);
    CHECK_STATUS(tsl_space_pin(space, world.base - PAGE, TSL_READ, NULL, &frame), TSL_NOT_FOUND);
    CHECK_EQ(frame.number, 0);
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_READ, NULL, &frame), TSL_OK); /* zeros */
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    /* For reading only, but the program may write: it must be its own page already. */
    CHECK_STATUS(tsl_space_pin(space, world.base + PAGE, TSL_READ, NULL, &frame), TSL_OK);
    CHECK_STATUS(world_store(0, space, world.base + PAGE, 9), TSL_OK);
    CHECK_EQ(*(unsigned char *)tsl_port_phys_to_virt(tsl_frame_address(frame)), 9);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_DOUBLE_FREE);
    finish();
}

/* ---- Rights. ---- */

static void rights_never_exceed_the_maximum(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_map_request request = {.address = world.base,
                                      .bytes = 4 * PAGE,
                                      .rights = TSL_READ,
                                      .maximum = RW,
                                      .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_unmap(space, world.base + PAGE, PAGE), TSL_OK); /* split in two */
    for (unsigned page = 0; page < 4; page += 2) {
        tsl_vaddr at = world.base + page * PAGE;
        uint64_t image = world_image(space);
        CHECK_STATUS(tsl_space_protect(space, at, PAGE, TSL_READ | TSL_EXEC), TSL_DENIED);
        CHECK_STATUS(tsl_space_protect(space, at, PAGE, RW | TSL_EXEC), TSL_DENIED);
        CHECK_STATUS(tsl_space_protect(space, at, PAGE, RW | TSL_EXEC | TSL_ALLOW_WX), TSL_DENIED);
        CHECK_STATUS(tsl_space_protect(space, at, PAGE, TSL_WRITE), TSL_INVALID);
        CHECK_STATUS(tsl_space_protect(space, at, PAGE, RW | TSL_GLOBAL), TSL_INVALID);
        CHECK(world_image(space) == image);
        CHECK_STATUS(world_store(0, space, at, 1), TSL_DENIED);
        CHECK_STATUS(tsl_space_protect(space, at, PAGE, RW), TSL_OK);
        CHECK_STATUS(world_store(0, space, at, 1), TSL_OK);
        CHECK_STATUS(world_fetch(0, space, at), TSL_DENIED);
    }
    CHECK_STATUS(tsl_space_protect(space, world.base, 3 * PAGE, TSL_READ), TSL_NOT_FOUND);
    finish();
}

static void writable_and_executable_needs_a_word(void)
{
    begin();
    tsl_vaddr out;
    struct tsl_map_request request = {
        .address = world.base, .bytes = PAGE, .rights = RW | TSL_EXEC, .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_DENIED);
    request.rights |= TSL_ALLOW_WX;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_DENIED); /* not within the maximum */
    request.maximum = RW | TSL_EXEC | TSL_ALLOW_WX;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(world_store(0, space, out, 0xC3), TSL_OK);
    CHECK_STATUS(world_fetch(0, space, out), TSL_OK);
    /* Jumping to an untouched page of a stack or heap gives no right to run it. */
    world_map(space, world.base + PAGE, 1, RW);
    CHECK_STATUS(world_fetch(0, space, world.base + PAGE), TSL_DENIED);
    finish();
}

static void an_object_limits_what_is_shared(void)
{
    begin();
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_MEMORY, .bytes = PAGE, .maximum = TSL_READ};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    tsl_vaddr out;
    struct tsl_map_request request = {
        .bytes = PAGE, .rights = RW, .flags = TSL_SPACE_SHARED, .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_DENIED);
    request.rights = TSL_READ;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, out, PAGE, RW), TSL_DENIED);
    request.rights = RW; /* a private copy may be written */
    request.flags = 0;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(world_store(0, space, out, 1), TSL_OK);
    /* What the object may never do, a private copy may not do later either. */
    CHECK_STATUS(tsl_space_protect(space, out, PAGE, TSL_READ | TSL_EXEC), TSL_DENIED);
    CHECK_STATUS(tsl_space_protect(space, out, PAGE, TSL_READ), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, out, PAGE, RW), TSL_OK);
    request.object_page = 1;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OUT_OF_RANGE);
    request.object = NULL;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_INVALID);
    tsl_object_put(object);
    finish();
}

static void a_device_shows_its_memory(void)
{
    begin();
    struct tsl_frame frame;
    struct tsl_object *object = NULL;
    CHECK_STATUS(tsl_frames_alloc(world.frames, 1, TSL_FRAMES_LOW, &frame), TSL_OK);
    unsigned char *memory = tsl_port_phys_to_virt(tsl_frame_address(frame));
    memory[PAGE + 3] = 42;
    struct tsl_object_config config = {.kind = TSL_OBJECT_DEVICE,
                                       .bytes = 2 * PAGE,
                                       .target = tsl_frame_address(frame),
                                       .cache = TSL_CACHE_UNCACHED};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    map_object(space, world.base, object, 2, RW, TSL_SPACE_SHARED);
    CHECK_EQ(read_byte(space, world.base + PAGE + 3), 42);
    CHECK_STATUS(world_store(0, space, world.base + 9, 43), TSL_OK);
    CHECK_EQ(memory[9], 43);
    struct tsl_mapping entry;
    CHECK_STATUS(tsl_table_query(&space->table, world.base, &entry), TSL_OK);
    CHECK_EQ(entry.attributes & TSL_CACHE_MASK, TSL_CACHE_UNCACHED);
    CHECK_EQ(world_usage().counted, 0);
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(tsl_space_protect(space, world.base, PAGE, TSL_READ | TSL_EXEC), TSL_DENIED);
    CHECK_STATUS(tsl_space_unmap(space, world.base, 2 * PAGE), TSL_OK);
    tsl_object_put(object);
    config.maximum = TSL_READ | TSL_EXEC;
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_DENIED);
    config.maximum = 0;
    config.target = ~(tsl_paddr)0 << TSL_PAGE_SHIFT;
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OUT_OF_RANGE);
    config.target = PAGE / 2;
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_MISALIGNED);
    CHECK_STATUS(tsl_frames_free(world.frames, frame, 1), TSL_OK);
    finish();
}

/* ---- Stacks and places. ---- */

static tsl_vaddr map_stack(tsl_vaddr top, size_t pages, size_t most)
{
    tsl_vaddr out = 0;
    struct tsl_map_request request = {.address = top - pages * PAGE,
                                      .bytes = pages * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_GROWS_DOWN,
                                      .stack_bytes = most * PAGE};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    return out;
}

static void a_stack_grows_and_keeps_its_gap(void)
{
    begin();
    const size_t gap = TSL_SPACE_STACK_GAP_BYTES / PAGE;
    tsl_vaddr top = world.base + 1024 * (tsl_vaddr)PAGE;
    tsl_vaddr start = map_stack(top, 2, 100);
    CHECK_STATUS(world_store(0, space, start - 1, 1), TSL_OK); /* one page more */
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(world_store(0, space, start - 30 * PAGE, 2), TSL_OK);
    CHECK_EQ(read_byte(space, start - 1), 1);
    struct tsl_region_info info;
    CHECK(tsl_space_next(space, 0, &info));
    CHECK_EQ(info.start, start - 30 * PAGE);
    CHECK_EQ(info.bytes, 32 * PAGE);
    CHECK_STATUS(world_store(0, space, top - 101 * PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(world_fetch(0, space, info.start - 1), TSL_DENIED);
    CHECK(tsl_space_next(space, 0, &info) && info.bytes == 32 * PAGE); /* denied: not grown */
    /* Nothing may be put into the gap, and what is below it stops the growth. */
    tsl_vaddr out, below = info.start - (gap + 5) * PAGE;
    struct tsl_map_request request = {
        .address = info.start - gap * PAGE, .bytes = PAGE, .rights = RW, .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OVERLAP);
    request.flags |= TSL_SPACE_NO_REPLACE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_EXISTS);
    world_map(space, below, 3, RW); /* two pages below the gap */
    CHECK_STATUS(world_store(0, space, info.start - 2 * PAGE, 1), TSL_OK);
    CHECK_STATUS(world_store(0, space, info.start - 3 * PAGE, 1), TSL_LIMIT);
    CHECK_STATUS(world_load(0, space, info.start - 3 * PAGE, &(unsigned char){0}), TSL_LIMIT);
    CHECK_SOUND(tsl_space_verify(space));
    finish();
}

static void two_stacks_stop_at_each_others_gap(void)
{
    begin();
    const size_t gap = TSL_SPACE_STACK_GAP_BYTES / PAGE;
    tsl_vaddr lower = map_stack(world.base + 600 * (tsl_vaddr)PAGE, 1, 1000);
    tsl_vaddr upper = map_stack(world.base + 900 * (tsl_vaddr)PAGE, 1, 1000);
    size_t grown = 0;
    while (world_store(0, space, upper - (grown + 1) * PAGE, 1) == TSL_OK)
        grown++;
    CHECK_EQ(upper - grown * PAGE, lower + (1 + gap) * PAGE);
    CHECK_STATUS(world_store(0, space, lower - PAGE, 1), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
    finish();
}

static void places_follow_the_request(void)
{
    begin();
    tsl_vaddr first = 0, out = 0;
    struct tsl_map_request request = {.bytes = 3 * PAGE, .rights = RW};
    CHECK_STATUS(tsl_space_map(space, &request, &first), TSL_OK);
    CHECK_EQ(first, machine_format()->user_first);
    request.flags = TSL_SPACE_GUARDED;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_EQ(out, first + 4 * PAGE);
    request.flags = 0;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_EQ(out, first + 8 * PAGE);
    request.align = 1 << 20;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_EQ(out % request.align, 0);
    request.align = 0;
    request.address = world.base;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_EQ(out, world.base);
    request.limit = world.base + 5 * PAGE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_LIMIT);
    request.limit += PAGE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_EQ(out, world.base + 3 * PAGE);
    /* The limit holds for a place that is given, too. */
    request.flags = TSL_SPACE_FIXED;
    request.limit = world.base + 2 * PAGE;
    out = 1;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_LIMIT);
    CHECK_EQ(out, 1);
    request.limit += PAGE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_EQ(out, world.base);
    finish();
}

/* ---- Limits. ---- */

static void commitments_are_kept(void)
{
    begin_with(10);
    world_map(space, world.base, 6, RW);
    tsl_vaddr out;
    struct tsl_map_request request = {.bytes = 5 * PAGE, .rights = RW};
    uint64_t image = world_image(space);
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_LIMIT);
    request.rights = TSL_READ; /* what cannot be written promises nothing */
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, out, 5 * PAGE, RW), TSL_LIMIT);
    CHECK_STATUS(tsl_space_protect(space, out, 4 * PAGE, RW), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, out, 4 * PAGE, TSL_READ), TSL_OK);
    CHECK_EQ(world_usage().committed, 10); /* it may have been written */
    struct tsl_space *copy = NULL;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_LIMIT);
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_LIMIT);
    CHECK_STATUS(tsl_space_unmap(space, out, 5 * PAGE), TSL_OK);
    CHECK(world_image(space) == image);
    CHECK_STATUS(tsl_space_unmap(space, world.base + PAGE, 2 * PAGE), TSL_OK);
    CHECK_EQ(world_usage().committed, 4);
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    CHECK_EQ(world_usage().committed, 8);
    world_destroy(copy);
    CHECK_EQ(world_usage().committed, 4);
    finish();
}

static void a_space_has_limits_of_its_own(void)
{
    world_start(0);
    struct tsl_space_limits limits = {.pages = 10, .committed = 6, .regions = 3};
    CHECK_STATUS(tsl_space_create(world.vm, &limits, &space), TSL_OK);
    tsl_vaddr out;
    struct tsl_map_request request = {.bytes = 7 * PAGE, .rights = RW};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_LIMIT);
    request.rights = TSL_READ;
    request.bytes = 11 * PAGE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_LIMIT);
    request.bytes = 9 * PAGE;
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
    CHECK_STATUS(tsl_space_protect(space, out + PAGE, PAGE, 0), TSL_OK); /* three regions now */
    uint64_t image = world_image(space);
    CHECK_STATUS(tsl_space_protect(space, out + 4 * PAGE, PAGE, 0), TSL_LIMIT);
    CHECK_STATUS(tsl_space_unmap(space, out + 4 * PAGE, PAGE), TSL_LIMIT);
    CHECK(world_image(space) == image);
    CHECK_STATUS(tsl_space_unmap(space, out, 2 * PAGE), TSL_OK);
    world_map(space, out, 2, RW);
    finish();
}

/* Exactly as many frames as the missing tables take are enough, although a write fault that follows
 * others gets a frame for its page before it is known whether it needs one. */
static void a_frame_got_ahead_gives_way(void)
{
    struct tsl_space *copy = NULL;
    enum tsl_status status = TSL_NO_MEMORY;
    tsl_word left = 0;
    begin();
    world_map(space, world.base, 2, RW);
    CHECK_STATUS(world_store(0, space, world.base, 7), TSL_OK);
    CHECK_EQ(space->takes_frames, 1);
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    world_destroy(space);
    space = copy; /* its page is its own now; its tables are empty */
    for (; status == TSL_NO_MEMORY && left < 10; left++) {
        space->takes_frames = 1;
        world_leave_frames(left);
        status = tsl_space_fault(space, world.base, TSL_WRITE, NULL);
        CHECK(status != TSL_OK || tsl_frames_free_count(world.frames) == 0);
        world_give_frames_back();
    }
    CHECK_STATUS(status, TSL_OK);
    CHECK(left > 1);
    CHECK_EQ(read_byte(space, world.base), 7);
    finish();
}

TAP_SUITE(space, TAP_TEST(untouched_memory_reads_as_zero_and_costs_nothing),
          TAP_TEST(a_shared_object_is_one_memory),
          TAP_TEST(a_private_write_never_reaches_the_object), TAP_TEST(copies_in_every_order),
          TAP_TEST(generations_do_not_see_each_other),
          TAP_TEST(copying_takes_the_write_right_from_every_cpu),
          TAP_TEST(a_full_reference_count_never_wraps), TAP_TEST(a_full_map_count_loses_the_frame),
          TAP_TEST(pinned_pages_are_copied_at_once), TAP_TEST(pinning_is_an_access),
          TAP_TEST(rights_never_exceed_the_maximum), TAP_TEST(writable_and_executable_needs_a_word),
          TAP_TEST(an_object_limits_what_is_shared), TAP_TEST(a_device_shows_its_memory),
          TAP_TEST(a_stack_grows_and_keeps_its_gap), TAP_TEST(two_stacks_stop_at_each_others_gap),
          TAP_TEST(places_follow_the_request), TAP_TEST(commitments_are_kept),
          TAP_TEST(a_space_has_limits_of_its_own), TAP_TEST(a_frame_got_ahead_gives_way));
