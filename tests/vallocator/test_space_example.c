/* SPDX-License-Identifier: MIT
 *
 * test_space_example.c: the README's example about spaces, compiled and run; and the memory that it
 * says spaces take.
 *
 * Owns:    suite space_example; the body of `example` is the README's, word for word.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "objects/slots_internal.h"

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

TAP_SUITE(space_example, TAP_TEST(the_readme_example), TAP_TEST(memory_is_as_documented));
