/* SPDX-License-Identifier: MIT
 *
 * test_object.c: pagers that answer at once, later or never, and stores that keep pages elsewhere.
 *
 * Owns:    suite object.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "host_port.h"

#include <string.h>

#include <unistd.h>

#include <tesela/port.h>

enum { RW = TSL_READ | TSL_WRITE, PAGE = TSL_PAGE_BYTES };

static struct tsl_space *space;
static struct tsl_object *object;

/* A pager whose page n is full of n + 1. `answer`: what it says; a request that waits is kept. */
static struct {
    enum tsl_status answer;
    unsigned calls;
    struct tsl_page_request *waiting;
} pager;

static void fill(struct tsl_frame into, size_t page)
{
    memset(tsl_port_phys_to_virt(tsl_frame_address(into)), (int)page + 1, PAGE);
}

static enum tsl_status get(void *context, size_t page, struct tsl_frame into,
                           struct tsl_page_request *request)
{
    CHECK(context == &pager);
    CHECK_EQ(host_port_pin_depth(), 0); /* no lock is held */
    pager.calls++;
    if (pager.answer == TSL_SHOULD_WAIT)
        pager.waiting = request;
    else if (pager.answer == TSL_OK)
        fill(into, page);
    return pager.answer;
}

static void begin(void)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_PAGER, .bytes = 4 * PAGE, .pager = {get, &pager}};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    pager.answer = TSL_OK;
    pager.calls = 0;
    pager.waiting = NULL;
}

static void map(tsl_vaddr at, unsigned flags)
{
    tsl_vaddr out;
    struct tsl_map_request request = {.address = at,
                                      .bytes = 4 * PAGE,
                                      .rights = RW,
                                      .flags = TSL_SPACE_FIXED | flags,
                                      .object = object};
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_OK);
}

static void finish(void)
{
    CHECK_SOUND(tsl_space_verify(space));
    world_destroy(space);
    tsl_object_put(object);
    world_stop();
}

static unsigned char read_byte(tsl_vaddr address)
{
    unsigned char byte = 0xEE;
    CHECK_STATUS(world_load(0, space, address, &byte), TSL_OK);
    return byte;
}

static void a_pager_is_asked_once_a_page(void)
{
    begin();
    map(world.base, 0);
    map(world.base + 8 * PAGE, TSL_SPACE_SHARED);
    CHECK_EQ(read_byte(world.base + 2 * PAGE), 3);
    CHECK_EQ(read_byte(world.base + 10 * PAGE), 3);
    CHECK_EQ(pager.calls, 1);
    CHECK_STATUS(world_store(0, space, world.base + 2 * PAGE, 99), TSL_OK);
    CHECK_EQ(read_byte(world.base + 2 * PAGE + 1), 3);
    CHECK_EQ(read_byte(world.base + 10 * PAGE), 3); /* the object has not seen it */
    CHECK_STATUS(world_store(0, space, world.base + PAGE, 98), TSL_OK); /* written first */
    CHECK_EQ(read_byte(world.base + PAGE + 1), 2);
    CHECK_EQ(pager.calls, 2);
    CHECK_STATUS(world_store(0, space, world.base + 8 * PAGE, 97), TSL_OK);
    CHECK_EQ(read_byte(world.base), 97);
    struct tsl_object_info info;
    tsl_object_info(object, &info);
    CHECK_EQ(info.resident, 3);
    finish();
}

static void a_fault_can_wait_and_come_again(void)
{
    begin();
    map(world.base, 0);
    pager.answer = TSL_SHOULD_WAIT;
    struct tsl_page_request request = {0};
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_SHOULD_WAIT);
    CHECK(pager.waiting == &request);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_SHOULD_WAIT);
    CHECK_EQ(pager.calls, 1); /* not done yet: not asked again */
    fill(request.frame, 0);
    tsl_page_request_complete(&request, TSL_OK);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_OK);
    CHECK(request.object == NULL);
    CHECK_EQ(read_byte(world.base), 1);
    CHECK_EQ(pager.calls, 1);
    finish();
}

/* While the page is on its way, somebody else brings it, or the region goes. */
static void what_comes_late_is_dropped(void)
{
    begin();
    map(world.base, 0);
    struct tsl_page_request request = {0};
    pager.answer = TSL_SHOULD_WAIT;
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_WRITE, &request), TSL_SHOULD_WAIT);
    fill(request.frame, 6);
    pager.answer = TSL_OK;
    CHECK_EQ(read_byte(world.base), 1);
    tsl_page_request_complete(&request, TSL_OK);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_WRITE, &request), TSL_OK);
    CHECK_EQ(read_byte(world.base), 1);

    pager.answer = TSL_SHOULD_WAIT;
    CHECK_STATUS(tsl_space_fault(space, world.base + PAGE, TSL_READ, &request), TSL_SHOULD_WAIT);
    CHECK_STATUS(tsl_space_unmap(space, world.base, 4 * PAGE), TSL_OK);
    tsl_page_request_complete(&request, TSL_OK);
    CHECK_STATUS(tsl_space_fault(space, world.base + PAGE, TSL_READ, &request), TSL_NOT_FOUND);
    CHECK(request.object == NULL);

    /* The page of one address is in hand when the next fault is for another. */
    map(world.base, 0);
    CHECK_STATUS(tsl_space_fault(space, world.base + PAGE, TSL_READ, &request), TSL_SHOULD_WAIT);
    fill(request.frame, 1);
    tsl_page_request_complete(&request, TSL_OK);
    pager.answer = TSL_OK;
    CHECK_STATUS(tsl_space_fault(space, world.base + 3 * PAGE, TSL_READ, &request), TSL_OK);
    CHECK_EQ(read_byte(world.base + 3 * PAGE), 4);
    CHECK_EQ(read_byte(world.base + PAGE), 2);
    finish();
}

/* What a pager answers is not taken for what locking itself has to do again. */
static void a_busy_pager_ends_a_lock(void)
{
    begin();
    map(world.base, 0);
    pager.answer = TSL_BUSY;
    alarm(20); /* else it is asked for ever */
    CHECK_STATUS(tsl_space_lock_pages(space, world.base, 4 * PAGE), TSL_BUSY);
    alarm(0);
    CHECK_EQ(pager.calls, 1);
    CHECK_EQ(space->locked, 0);
    finish();
}

static void a_pager_that_fails_ends_the_fault(void)
{
    begin();
    map(world.base, 0);
    struct tsl_page_request request = {0};
    pager.answer = TSL_CORRUPT;
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, NULL), TSL_CORRUPT);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_CORRUPT);
    CHECK(request.object == NULL);
    pager.answer = TSL_SHOULD_WAIT;
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, NULL), TSL_SHOULD_WAIT);
    CHECK(pager.waiting == NULL);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_SHOULD_WAIT);
    tsl_page_request_complete(&request, TSL_CORRUPT);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_CORRUPT);
    CHECK(request.object == NULL);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_SHOULD_WAIT);
    tsl_page_request_complete(&request, TSL_OK);
    tsl_page_request_drop(&request); /* given up */
    tsl_page_request_drop(&request);
    struct tsl_object_info info;
    tsl_object_info(object, &info);
    CHECK_EQ(info.resident, 0);
    CHECK_EQ(info.references, 2);
    CHECK_EQ(world_usage().counted, 0);
    finish();
}

/* ---- Contents that a store has. ---- */

enum { PLACES = 8 };
static int kept[PLACES];      /* references to each place of the store */
static unsigned pinned_frees; /* places freed while the CPU was pinned */

static enum tsl_status store_load(void *context, tsl_slot slot, void *page)
{
    (void)context;
    if (tsl_slot_payload(slot) == PLACES - 1)
        return TSL_CORRUPT;
    memset(page, (int)tsl_slot_payload(slot) + 50, PAGE);
    return TSL_OK;
}

static void store_dup(void *context, tsl_slot slot)
{
    (void)context;
    kept[tsl_slot_payload(slot)]++;
}

static void store_free(void *context, tsl_slot slot)
{
    (void)context;
    CHECK(kept[tsl_slot_payload(slot)]-- > 0);
    pinned_frees += host_port_pin_depth() > 0;
}

static const struct tsl_store store = {.load = store_load, .dup = store_dup, .free = store_free};

/* What eviction will do: the page's contents are in the store, its frame is free. */
static void evict(tsl_vaddr address, uint32_t place)
{
    size_t page = address >> TSL_PAGE_SHIFT;
    tsl_slot old = tsl_slots_get(&space->layer, page);
    tsl_space_unhook(space, page, page + 1);
    kept[place] = 1;
    CHECK(tsl_slots_exchange(&space->layer, page, old, tsl_slot_make(TSL_SLOT_SWAP, place)));
    tsl_vm_put_frame(world.vm, tsl_vm_frame_of(old));
}

/* The same for a page of the object; `to`: where its contents are then. */
static void evict_shared(size_t page, tsl_slot to)
{
    tsl_slot old = tsl_slots_get(&object->slots, page);
    tsl_space_unhook(space, space->regions.first, space->regions.end);
    if (tsl_slot_type_of(to) == TSL_SLOT_SWAP)
        kept[tsl_slot_payload(to)]++;
    CHECK(tsl_slots_exchange(&object->slots, page, old, to));
    tsl_vm_put_frame(world.vm, tsl_vm_frame_of(old));
}

/* Pages of an object that a store has, or that are known to be zero: through a shared region, and
 * through a private one that reads or writes first. One fault is enough for each. */
static void pages_of_an_object_come_back_too(void)
{
    world_start(0);
    CHECK_STATUS(tsl_vm_register_store(world.vm, TSL_SLOT_SWAP, &store), TSL_OK);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 4 * PAGE};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    tsl_vaddr shared = world.base, own = world.base + 8 * PAGE;
    map(shared, TSL_SPACE_SHARED);
    map(own, 0);
    const tsl_slot places[] = {tsl_slot_make(TSL_SLOT_SWAP, 2), tsl_slot_make(TSL_SLOT_ZERO, 0)};
    for (unsigned i = 0; i < 2; i++) {
        unsigned char contents = i == 0 ? 52 : 0;
        for (size_t page = 0; page < 3; page++) {
            CHECK_STATUS(world_store(0, space, shared + page * PAGE, 1), TSL_OK);
            evict_shared(page, places[i]);
        }
        struct tsl_page_info info;
        CHECK_STATUS(tsl_space_fault(space, own, TSL_WRITE, NULL), TSL_OK);
        CHECK_STATUS(tsl_space_query(space, own, &info), TSL_OK);
        CHECK(info.is_writable && info.is_private);
        CHECK_STATUS(tsl_space_fault(space, own + PAGE, TSL_READ, NULL), TSL_OK);
        CHECK_STATUS(tsl_space_query(space, own + PAGE, &info), TSL_OK);
        CHECK(info.is_present && !info.is_private);
        CHECK_STATUS(tsl_space_fault(space, shared + 2 * PAGE, TSL_WRITE, NULL), TSL_OK);
        CHECK_STATUS(tsl_space_query(space, shared + 2 * PAGE, &info), TSL_OK);
        CHECK(info.is_writable);
        CHECK_STATUS(world_store(0, space, own, 9), TSL_OK);
        for (size_t page = 0; page < 3; page++) {
            CHECK_EQ(read_byte(own + page * PAGE + 1), contents);
            CHECK_EQ(read_byte(shared + page * PAGE), contents);
        }
        CHECK_SOUND(tsl_space_verify(space));
        CHECK_STATUS(tsl_space_advise(space, own, 4 * PAGE, TSL_ADVISE_DONT_NEED), TSL_OK);
    }
    CHECK_EQ(kept[2], 0);
    finish();
}

static void pages_come_back_from_a_store(void)
{
    world_start(0);
    CHECK_STATUS(tsl_vm_register_store(world.vm, TSL_SLOT_FRAME, &store), TSL_INVALID);
    CHECK_STATUS(tsl_vm_register_store(world.vm, TSL_SLOT_SWAP, &(struct tsl_store){.load = NULL}),
                 TSL_INVALID);
    CHECK_STATUS(tsl_vm_register_store(world.vm, TSL_SLOT_SWAP, &store), TSL_OK);
    CHECK_STATUS(tsl_vm_register_store(world.vm, TSL_SLOT_SWAP, &store), TSL_EXISTS);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    CHECK_STATUS(tsl_vm_register_store(world.vm, TSL_SLOT_SAME, &store), TSL_BUSY);
    world_map(space, world.base, PLACES, RW);
    for (unsigned i = 0; i < PLACES; i++) {
        CHECK_STATUS(world_store(0, space, world.base + i * PAGE, 1), TSL_OK);
        evict(world.base + i * PAGE, i);
    }
    CHECK_EQ(world_usage().counted, 0);
    struct tsl_space *copy;
    CHECK_STATUS(tsl_space_copy(space, &copy), TSL_OK);
    CHECK_EQ(read_byte(world.base + PAGE), 51);
    unsigned char byte;
    CHECK_STATUS(world_load(1, copy, world.base + PAGE, &byte), TSL_OK);
    CHECK_EQ(byte, 51);
    CHECK_STATUS(world_store(1, copy, world.base + 2 * PAGE, 9), TSL_OK);
    CHECK_EQ(read_byte(world.base + 2 * PAGE), 52);
    CHECK_EQ(kept[1], 0); /* both have it in a frame now */
    CHECK_EQ(kept[0], 2); /* their slot nodes are their own by now, and name it each */
    CHECK_STATUS(world_load(0, space, world.base + (PLACES - 1) * PAGE, &byte), TSL_CORRUPT);
    CHECK_SOUND(tsl_space_verify(copy));
    CHECK_STATUS(tsl_space_unmap(space, world.base, PAGE), TSL_OK);
    CHECK_EQ(kept[0], 1);
    /* However much there is to free, interrupts come in between. */
    pinned_frees = 0;
    world_destroy(copy);
    world_destroy(space);
    CHECK_EQ(pinned_frees, 0);
    for (unsigned i = 0; i < PLACES; i++)
        CHECK_EQ(kept[i], 0);
    world_stop();
}

/* ---- Published objects. ---- */

static void objects_are_found_by_number(void)
{
    enum { OWNER = 7, OTHER = 8 };
    begin();
    struct tsl_object *found = NULL;
    struct tsl_object_info info;
    struct tsl_object_grant grant = {OWNER, RW, TSL_READ};
    tsl_word handle = 0, second = 0;
    CHECK_STATUS(tsl_object_find(world.vm, 1, OWNER, TSL_READ, &found), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_object_publish(object, &grant, &handle), TSL_OK);
    CHECK_STATUS(tsl_object_publish(object, &grant, &second), TSL_EXISTS);
    CHECK(handle != 0 && second == 0);
    CHECK_STATUS(tsl_object_find(world.vm, handle, OTHER, RW, &found), TSL_DENIED);
    CHECK_STATUS(tsl_object_find(world.vm, handle, OTHER, TSL_READ | TSL_EXEC, &found), TSL_DENIED);
    CHECK_STATUS(tsl_object_find(world.vm, handle + 1, OWNER, RW, &found), TSL_NOT_FOUND);
    CHECK(found == NULL);
    CHECK_STATUS(tsl_object_find(world.vm, handle, OTHER, TSL_READ, &found), TSL_OK);
    CHECK(found == object);
    CHECK_STATUS(tsl_object_find(world.vm, handle, OWNER, RW, &found), TSL_OK);
    tsl_object_info(object, &info);
    CHECK_EQ(info.references, 4); /* the creator's, the number's, two finders' */
    CHECK_STATUS(tsl_object_withdraw(world.vm, handle, OTHER), TSL_DENIED);
    CHECK_STATUS(tsl_object_withdraw(world.vm, handle, OWNER), TSL_OK);
    CHECK_STATUS(tsl_object_withdraw(world.vm, handle, OWNER), TSL_NOT_FOUND);
    CHECK_STATUS(tsl_object_find(world.vm, handle, OWNER, RW, &found), TSL_NOT_FOUND);
    tsl_object_put(object);
    tsl_object_put(object);
    /* Again, with another number; the number alone keeps it now. */
    grant.others_rights = 0;
    CHECK_STATUS(tsl_object_publish(object, &grant, &second), TSL_OK);
    CHECK(second != handle);
    tsl_object_put(object);
    CHECK_STATUS(tsl_object_find(world.vm, second, OTHER, 0, &found), TSL_DENIED);
    CHECK_STATUS(tsl_object_find(world.vm, second, OWNER, TSL_READ, &found), TSL_OK);
    CHECK_STATUS(tsl_object_withdraw(world.vm, second, OWNER), TSL_OK);
    finish(); /* puts what was found */
}

static void grants_stay_within_the_object(void)
{
    world_start(0);
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_MEMORY, .bytes = PAGE, .maximum = TSL_READ};
    CHECK_STATUS(tsl_object_create(world.vm, &config, &object), TSL_OK);
    tsl_word handle = 0;
    const struct tsl_object_grant writes = {1, RW, 0}, blind = {1, TSL_WRITE, 0},
                                  unknown = {1, TSL_READ, TSL_USER}, good = {1, TSL_READ, 0};
    CHECK_STATUS(tsl_object_publish(object, &writes, &handle), TSL_DENIED);
    CHECK_STATUS(tsl_object_publish(object, &blind, &handle), TSL_INVALID);
    CHECK_STATUS(tsl_object_publish(object, &unknown, &handle), TSL_INVALID);
    /* The rights of each by themselves: what one may read does not make the other's sensible. */
    const struct tsl_object_grant apart[] = {{1, TSL_WRITE, TSL_READ}, {1, TSL_READ, TSL_EXEC}};
    for (size_t i = 0; i < TSL_COUNT_OF(apart); i++)
        CHECK_STATUS(tsl_object_publish(object, &apart[i], &handle), TSL_INVALID);
    tsl_word last = world.vm->last_handle;
    world.vm->last_handle = ~(tsl_word)0;
    CHECK_STATUS(tsl_object_publish(object, &good, &handle), TSL_LIMIT);
    CHECK_EQ(handle, 0);
    world.vm->last_handle = last;
    CHECK_STATUS(tsl_object_publish(object, &good, &handle), TSL_OK);
    CHECK_STATUS(tsl_vm_destroy(world.vm), TSL_BUSY);
    CHECK_STATUS(tsl_object_withdraw(world.vm, handle, 1), TSL_OK);
    tsl_object_put(object);
    world_stop();
}

/* ---- Each rule of tsl_space_verify, broken by hand. ---- */

/* An object of another vm has frames that this one knows nothing of. */
static void an_object_stays_in_its_vm(void)
{
    begin();
    struct tsl_vm_config config = world.vm->config;
    struct tsl_vm *second = NULL;
    struct tsl_object *foreign = NULL;
    struct tsl_object_config memory = {.kind = TSL_OBJECT_MEMORY, .bytes = PAGE};
    CHECK_STATUS(tsl_vm_create(&config, &second), TSL_OK);
    CHECK_STATUS(tsl_object_create(second, &memory, &foreign), TSL_OK);
    tsl_vaddr out = 1;
    struct tsl_map_request request = {
        .bytes = PAGE, .rights = TSL_READ, .flags = TSL_SPACE_SHARED, .object = foreign};
    uint64_t image = world_image(space);
    CHECK_STATUS(tsl_space_map(space, &request, &out), TSL_INVALID);
    CHECK_EQ(out, 1);
    CHECK(world_image(space) == image);
    tsl_object_put(foreign);
    CHECK_STATUS(tsl_vm_destroy(second), TSL_OK);
    finish();
}

/* "Wait" is no end: whoever waits for the request would wait for ever. */
static void a_request_has_an_end(void)
{
    begin();
    map(world.base, TSL_SPACE_SHARED);
    struct tsl_page_request request = {.object = NULL};
    pager.answer = TSL_SHOULD_WAIT;
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_SHOULD_WAIT);
    tsl_page_request_complete(&request, TSL_SHOULD_WAIT);
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_INVALID);
    CHECK(request.object == NULL);
    pager.answer = TSL_OK;
    CHECK_STATUS(tsl_space_fault(space, world.base, TSL_READ, &request), TSL_OK);
    finish();
}

static void rules_are_checked(void)
{
    world_start(0);
    CHECK_STATUS(tsl_space_create(world.vm, NULL, &space), TSL_OK);
    world_map(space, world.base, 2, RW);
    world_map(space, world.base + 4 * PAGE, 1, TSL_READ);
    for (unsigned page = 0; page < 2; page++)
        CHECK_STATUS(world_store(0, space, world.base + page * PAGE, 1), TSL_OK);
    CHECK_SOUND(tsl_space_verify(space));
    size_t first = world.base >> TSL_PAGE_SHIFT;
    struct tsl_region *region = tsl_regions_find(&space->regions, first);
    space->regions.pages++;
    CHECK_BROKEN(tsl_space_verify(space), 1);
    space->regions.pages--;
    space->layer.height++;
    struct tsl_slot_node *root = space->layer.root;
    space->layer.root = NULL;
    CHECK_BROKEN(tsl_space_verify(space), 2);
    space->layer.root = root;
    space->layer.height--;
    region->flags |= TSL_SPACE_SHARED;
    CHECK_BROKEN(tsl_space_verify(space), 3);
    region->flags &= ~TSL_SPACE_SHARED;
    tsl_slot slot = tsl_slots_get(&space->layer, first);
    tsl_slot next = tsl_slots_get(&space->layer, first + 1);
    CHECK(tsl_slots_exchange(&space->layer, first, slot, next));
    CHECK_BROKEN(tsl_space_verify(space), 4);
    CHECK(tsl_slots_exchange(&space->layer, first, next, slot));
    region->rights = TSL_READ;
    CHECK_BROKEN(tsl_space_verify(space), 5);
    region->rights = RW;
    struct tsl_frame_descriptor *descriptor = tsl_vm_descriptor(world.vm, tsl_vm_frame_of(slot));
    tsl_descriptor_get(descriptor); /* somebody else has it, and it is still writable */
    CHECK_BROKEN(tsl_space_verify(space), 5);
    CHECK(!tsl_descriptor_put(descriptor));
    CHECK(!tsl_descriptor_unmap(descriptor) || tsl_descriptor_maps(descriptor) == 0);
    CHECK_BROKEN(tsl_space_verify(space), 7);
    CHECK(tsl_descriptor_map(descriptor));
    descriptor->as.page.index++;
    CHECK_BROKEN(tsl_space_verify(space), 7);
    descriptor->as.page.index--;
    space->committed++;
    CHECK_BROKEN(tsl_space_verify(space), 6);
    space->committed--;
    region->maximum = TSL_READ;
    CHECK_BROKEN(tsl_space_verify(space), 6);
    region->maximum = RW | TSL_EXEC;
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_space_pin(space, world.base, TSL_WRITE, NULL, &frame), TSL_OK);
    space->pins++;
    CHECK_BROKEN(tsl_space_verify(space), 9);
    space->pins--;
    struct space_pinned *pinned =
        TSL_CONTAINER_OF(tsl_tree_first(&space->pinned), struct space_pinned, node);
    pinned->count = ++space->pins; /* one more than the frame knows of */
    CHECK_BROKEN(tsl_space_verify(space), 9);
    pinned->count = --space->pins;
    CHECK_STATUS(tsl_space_unpin(space, frame), TSL_OK);
    region->is_touched = false;
    CHECK_BROKEN(tsl_space_verify(space), 11); /* there are private contents */
    CHECK_STATUS(tsl_space_advise(space, world.base + 4 * PAGE, PAGE, TSL_ADVISE_NEED), TSL_OK);
    region->is_touched = true;
    region = tsl_regions_find(&space->regions, first + 4);
    region->is_touched = false;
    CHECK_BROKEN(tsl_space_verify(space), 11); /* there is an entry */
    region->is_touched = true;
    CHECK_SOUND(tsl_space_verify(space));
    world_destroy(space);
    world_stop();
}

TAP_SUITE(object, TAP_TEST(a_pager_is_asked_once_a_page), TAP_TEST(a_fault_can_wait_and_come_again),
          TAP_TEST(what_comes_late_is_dropped), TAP_TEST(a_pager_that_fails_ends_the_fault),
          TAP_TEST(a_busy_pager_ends_a_lock), TAP_TEST(pages_come_back_from_a_store),
          TAP_TEST(pages_of_an_object_come_back_too), TAP_TEST(objects_are_found_by_number),
          TAP_TEST(grants_stay_within_the_object), TAP_TEST(an_object_stays_in_its_vm),
          TAP_TEST(a_request_has_an_end), TAP_TEST(rules_are_checked));
