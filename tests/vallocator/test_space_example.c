/* SPDX-License-Identifier: MIT
 *
 * test_space_example.c: the README's example about spaces, compiled and run; the memory that it
 * says spaces take; and what a dump shows of them.
 *
 * Owns:    suite space_example; the body of `example` is the README's, word for word.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "objects/slots_internal.h"

#include <string.h>

static enum tsl_status example(struct tsl_vm *vm)
{
    tsl_vaddr heap, stack;
    struct tsl_space *parent, *child;
    struct tsl_map_request memory = {.bytes = 64 * 1024, .rights = TSL_READ | TSL_WRITE};
    struct tsl_map_request growing = {.bytes = 16 * 1024,
                                      .rights = TSL_READ | TSL_WRITE,
                                      .flags = TSL_SPACE_GROWS_DOWN,
                                      .stack_bytes = 1024 * 1024};
    enum tsl_status status = tsl_space_create(vm, NULL, &parent);
    if (status != TSL_OK)
        return status;
    status = tsl_space_map(parent, &memory, &heap);
    if (status == TSL_OK)
        status = tsl_space_map(parent, &growing, &stack);
    /* In the page-fault handler, with the address and the right that the CPU tells: */
    if (status == TSL_OK)
        status = tsl_space_fault(parent, heap + 5, TSL_WRITE, NULL);
    /* fork: nothing is copied until one of them writes. */
    if (status == TSL_OK)
        status = tsl_space_copy(parent, &child);
    if (status != TSL_OK)
        return tsl_space_destroy(parent) == TSL_OK ? status : TSL_BUSY;
    status = tsl_space_fault(child, heap + 5, TSL_WRITE, NULL);
    enum tsl_status ended = tsl_space_destroy(child);
    return ended == TSL_OK && tsl_space_destroy(parent) == TSL_OK ? status : TSL_BUSY;
}

static void the_readme_example(void)
{
    world_start(0);
    CHECK_STATUS(example(world.vm), TSL_OK);
    for (tsl_word left = 0; left < 40; left++) { /* and all is undone, wherever it ends */
        world_leave_frames(left);
        (void)!example(world.vm);
        world_give_frames_back();
    }
    world_stop();
}

/* The figures of the README's table of costs. */
static void memory_is_as_documented(void)
{
    bool is_wide = sizeof(void *) == 8;
    CHECK(sizeof(struct tsl_region) <= (is_wide ? 128u : 68u));
    CHECK(sizeof(struct tsl_space) <= (is_wide ? 1024u : 704u));
    size_t leaf = offsetof(struct tsl_slot_node, slot) + TSL_SLOT_NODE_ENTRIES * sizeof(tsl_slot);
    CHECK(leaf <= TSL_SLOT_NODE_ENTRIES * sizeof(tsl_slot) + 8);
    tap_note("region %zu, space %zu, leaf %zu bytes", sizeof(struct tsl_region),
             sizeof(struct tsl_space), leaf);
}

static char dumped[1024];

static void keep(void *context, const char *text, size_t length)
{
    size_t used = strlen(dumped);
    (void)context;
    CHECK(used + length < sizeof(dumped));
    memcpy(dumped + used, text, length);
    dumped[used + length] = '\0';
}

/* Last addresses, not ends; sizes; and of each flag its word. */
static void a_dump_has_a_line_for_each_region(void)
{
    const struct tsl_sink sink = {.write = keep};
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 64 * 1024};
    struct tsl_object *object;
    struct tsl_space *space;
    char line[128];
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    world_map(space, world.base, 4, TSL_READ | TSL_WRITE);
    tsl_vaddr shared = world.base + 0x10000;
    struct tsl_map_request request = {.address = shared,
                                      .bytes = 0x8000,
                                      .rights = TSL_READ,
                                      .flags =
                                          TSL_SPACE_FIXED | TSL_SPACE_SHARED | TSL_SPACE_NO_COPY,
                                      .object = object,
                                      .object_page = 8};
    CHECK_STATUS(tsl_space_map(space, &request, &shared), TSL_OK);
    dumped[0] = '\0';
    tsl_space_dump(space, &sink);
    CHECK(strstr(dumped, "space: 2 regions, 12 pages; 4 committed, 0 locked\n") != NULL);
    tsl_format(line, sizeof(line), "\n  %p..%p    16.0 KiB  rw- private\n", (void *)world.base,
               (void *)(world.base + 0x3fff));
    CHECK(strstr(dumped, line) != NULL);
    tsl_format(line, sizeof(line),
               "\n  %p..%p    32.0 KiB  r-- shared, memory object from page 8 on, not copied\n",
               (void *)shared, (void *)(shared + 0x7fff));
    CHECK(strstr(dumped, line) != NULL);
    world_destroy(space);
    tsl_object_put(object);
    world_stop();
}

TAP_SUITE(space_example, TAP_TEST(the_readme_example), TAP_TEST(memory_is_as_documented),
          TAP_TEST(a_dump_has_a_line_for_each_region));
