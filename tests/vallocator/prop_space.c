/* SPDX-License-Identifier: MIT
 *
 * prop_space.c: random operations on several spaces against a model that copies everything eagerly.
 *
 * Owns:    suite prop_space.
 * Needs:   space_world.h.
 * Callers: the host test runner.
 */
#include "space_world.h"

#include "rng.h"

enum { SPACES = 4, OBJECTS = 2, PAGES = 40, OBJECT_PAGES = 24 };

/* What one page of a space is. */
struct model_page {
    bool mapped;
    bool charged;
    bool own; /* has private contents */
    unsigned rights;
    unsigned maximum;
    unsigned flags;
    struct tsl_object *object;
    size_t object_page;
    unsigned char byte; /* private contents */
};

static struct {
    struct tsl_space *space[SPACES];
    struct model_page page[SPACES][PAGES];
    struct tsl_object *object[OBJECTS];
    unsigned char shared[OBJECTS][OBJECT_PAGES];
} model;

static unsigned char *shared_byte(const struct model_page *page)
{
    for (unsigned i = 0; i < OBJECTS; i++)
        if (model.object[i] == page->object)
            return &model.shared[i][page->object_page];
    return NULL;
}

static unsigned char byte_of(const struct model_page *page)
{
    const unsigned char *shared = shared_byte(page);
    return shared && !page->own ? *shared : page->byte;
}

static tsl_vaddr address_of(unsigned page)
{
    return world.base + page * (tsl_vaddr)TSL_PAGE_BYTES;
}

static bool same_region(const struct model_page *a, const struct model_page *b)
{
    return a->mapped && b->mapped && a->charged == b->charged && a->rights == b->rights &&
           a->maximum == b->maximum && a->flags == b->flags && a->object == b->object &&
           (!a->object || a->object_page + 1 == b->object_page);
}

/* The whole list of regions, as it follows from the pages. */
static bool regions_agree(unsigned which)
{
    const struct model_page *page = model.page[which];
    struct tsl_region_info info;
    tsl_vaddr at = 0;
    size_t committed = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        committed += page[i].charged;
        if (!page[i].mapped || (i > 0 && same_region(&page[i - 1], &page[i])))
            continue;
        unsigned end = i + 1;
        while (end < PAGES && same_region(&page[end - 1], &page[end]))
            end++;
        if (!tsl_space_next(model.space[which], at, &info) || info.start != address_of(i) ||
            info.bytes != (end - i) * (size_t)TSL_PAGE_BYTES || info.rights != page[i].rights ||
            info.maximum != page[i].maximum || info.flags != page[i].flags ||
            info.object != page[i].object || info.object_page != page[i].object_page)
            return false;
        at = info.start + info.bytes;
    }
    struct tsl_space_stats stats;
    tsl_space_stats(model.space[which], &stats);
    return !tsl_space_next(model.space[which], at, &info) && stats.committed == committed;
}

static void check_byte(struct rng *rng, unsigned which, unsigned index)
{
    const struct model_page *page = &model.page[which][index];
    unsigned char byte = 0xEE;
    enum tsl_status expected = !page->mapped             ? TSL_NOT_FOUND
                               : page->rights & TSL_READ ? TSL_OK
                                                         : TSL_DENIED;
    CHECK_STATUS(world_load(rng_below(rng, WORLD_CPUS), model.space[which],
                            address_of(index) + rng_below(rng, 2) * 4095, &byte),
                 expected);
    if (expected == TSL_OK)
        CHECK_EQ(byte, byte_of(page));
}

static void write_byte(struct rng *rng, unsigned which, unsigned index)
{
    struct model_page *page = &model.page[which][index];
    unsigned char byte = (unsigned char)rng_u32(rng);
    unsigned cpu = rng_below(rng, WORLD_CPUS);
    enum tsl_status expected = !page->mapped              ? TSL_NOT_FOUND
                               : page->rights & TSL_WRITE ? TSL_OK
                                                          : TSL_DENIED;
    tsl_vaddr address = address_of(index);
    CHECK_STATUS(world_store(cpu, model.space[which], address, byte), expected);
    if (expected != TSL_OK)
        return;
    CHECK_STATUS(world_store(cpu, model.space[which], address + 4095, byte), TSL_OK);
    if (page->flags & TSL_SPACE_SHARED)
        *shared_byte(page) = byte;
    else
        page->byte = byte;
    page->own = !(page->flags & TSL_SPACE_SHARED);
}

static unsigned random_rights(struct rng *rng)
{
    static const unsigned rights[] = {0, TSL_READ, TSL_READ | TSL_WRITE, TSL_READ | TSL_WRITE,
                                      TSL_READ | TSL_EXEC};
    return rights[rng_below(rng, TSL_COUNT_OF(rights))];
}

static void random_range(struct rng *rng, unsigned *first, unsigned *end)
{
    *first = rng_below(rng, PAGES);
    *end = *first + 1 + rng_below(rng, rng_once_in(rng, 4) ? PAGES - *first : 5);
    if (*end > PAGES)
        *end = PAGES;
}

static size_t bytes_of(unsigned first, unsigned end)
{
    return (end - first) * (size_t)TSL_PAGE_BYTES;
}

static void random_map(struct rng *rng, unsigned which)
{
    unsigned first, end;
    tsl_vaddr out = 0;
    random_range(rng, &first, &end);
    struct tsl_map_request request = {.address = address_of(first),
                                      .bytes = bytes_of(first, end),
                                      .rights = random_rights(rng),
                                      .flags = TSL_SPACE_FIXED};
    if (rng_once_in(rng, 2)) {
        request.object = model.object[rng_below(rng, OBJECTS)];
        request.object_page = rng_below(rng, 4);
        request.flags |= rng_once_in(rng, 2) ? TSL_SPACE_SHARED : 0;
    }
    if (rng_once_in(rng, 6))
        request.flags |= TSL_SPACE_NO_COPY;
    if (rng_once_in(rng, 6))
        request.maximum = TSL_READ | TSL_EXEC | request.rights;
    if (rng_once_in(rng, 6))
        request.flags |= TSL_SPACE_NO_REPLACE;
    bool taken = false;
    for (unsigned i = first; i < end; i++)
        taken = taken || model.page[which][i].mapped;
    enum tsl_status expected = TSL_OK;
    if (request.object && request.object_page + (end - first) > OBJECT_PAGES)
        expected = TSL_OUT_OF_RANGE;
    else if (taken && request.flags & TSL_SPACE_NO_REPLACE)
        expected = TSL_EXISTS;
    CHECK_STATUS(tsl_space_map(model.space[which], &request, &out), expected);
    if (expected != TSL_OK)
        return;
    CHECK_EQ(out, request.address);
    bool shared = request.flags & TSL_SPACE_SHARED;
    for (unsigned i = first; i < end; i++)
        model.page[which][i] = (struct model_page){
            .mapped = true,
            .charged = !shared && request.rights & TSL_WRITE,
            .rights = request.rights,
            .maximum = request.maximum ? request.maximum : TSL_READ | TSL_WRITE | TSL_EXEC,
            .flags = request.flags & (TSL_SPACE_SHARED | TSL_SPACE_NO_COPY),
            .object = request.object,
            .object_page = request.object ? request.object_page + (i - first) : 0};
}

static void random_unmap(struct rng *rng, unsigned which)
{
    unsigned first, end;
    bool any = false;
    random_range(rng, &first, &end);
    for (unsigned i = first; i < end; i++)
        any = any || model.page[which][i].mapped;
    CHECK_STATUS(tsl_space_unmap(model.space[which], address_of(first), bytes_of(first, end)),
                 any ? TSL_OK : TSL_NOT_FOUND);
    for (unsigned i = first; i < end; i++)
        model.page[which][i] = (struct model_page){.mapped = false};
}

static void random_protect(struct rng *rng, unsigned which)
{
    unsigned first, end, rights = random_rights(rng);
    enum tsl_status expected = TSL_OK;
    random_range(rng, &first, &end);
    for (unsigned i = first; i < end; i++)
        if (!model.page[which][i].mapped)
            expected = TSL_NOT_FOUND;
    for (unsigned i = first; i < end && expected == TSL_OK; i++)
        if (rights & ~model.page[which][i].maximum)
            expected = TSL_DENIED;
    CHECK_STATUS(
        tsl_space_protect(model.space[which], address_of(first), bytes_of(first, end), rights),
        expected);
    for (unsigned i = first; i < end && expected == TSL_OK; i++) {
        struct model_page *page = &model.page[which][i];
        page->rights = rights;
        if (rights & TSL_WRITE && !(page->flags & TSL_SPACE_SHARED))
            page->charged = true;
    }
}

static void random_advice(struct rng *rng, unsigned which)
{
    static const enum tsl_advice all[] = {TSL_ADVISE_DONT_NEED, TSL_ADVISE_NO_COPY, TSL_ADVISE_COPY,
                                          TSL_ADVISE_NEED};
    unsigned first, end;
    enum tsl_advice advice = all[rng_below(rng, TSL_COUNT_OF(all))];
    enum tsl_status expected = TSL_OK;
    random_range(rng, &first, &end);
    for (unsigned i = first; i < end; i++)
        if (!model.page[which][i].mapped)
            expected = TSL_NOT_FOUND;
    CHECK_STATUS(
        tsl_space_advise(model.space[which], address_of(first), bytes_of(first, end), advice),
        expected);
    for (unsigned i = first; i < end && expected == TSL_OK; i++) {
        struct model_page *page = &model.page[which][i];
        if (advice == TSL_ADVISE_NEED && page->rights & TSL_WRITE &&
            !(page->flags & TSL_SPACE_SHARED)) {
            page->byte = byte_of(page); /* brought for writing: copied */
            page->own = true;
        }
        if (advice == TSL_ADVISE_DONT_NEED) {
            page->own = false;
            page->byte = 0;
        }
        if (advice == TSL_ADVISE_NO_COPY)
            page->flags |= TSL_SPACE_NO_COPY;
        if (advice == TSL_ADVISE_COPY)
            page->flags &= ~TSL_SPACE_NO_COPY;
    }
}

static void copy_over(unsigned from, unsigned to)
{
    world_destroy(model.space[to]);
    CHECK_STATUS(tsl_space_copy(model.space[from], &model.space[to]), TSL_OK);
    for (unsigned i = 0; i < PAGES; i++) {
        model.page[to][i] = model.page[from][i];
        if (model.page[from][i].flags & TSL_SPACE_NO_COPY)
            model.page[to][i] = (struct model_page){.mapped = false};
    }
}

static void begin(void)
{
    world_start(0);
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY,
                                       .bytes = OBJECT_PAGES * (size_t)TSL_PAGE_BYTES};
    for (unsigned i = 0; i < OBJECTS; i++) {
        CHECK_STATUS(tsl_object_create(world.vm, &config, &model.object[i]), TSL_OK);
        for (unsigned page = 0; page < OBJECT_PAGES; page++)
            model.shared[i][page] = 0;
    }
    for (unsigned which = 0; which < SPACES; which++) {
        CHECK_STATUS(tsl_space_create(world.vm, NULL, &model.space[which]), TSL_OK);
        for (unsigned i = 0; i < PAGES; i++)
            model.page[which][i] = (struct model_page){.mapped = false};
    }
}

static void finish(void)
{
    for (unsigned which = 0; which < SPACES; which++)
        world_destroy(model.space[which]);
    for (unsigned i = 0; i < OBJECTS; i++)
        tsl_object_put(model.object[i]);
    world_stop();
}

static void one_operation(struct rng *rng, unsigned which)
{
    switch (rng_below(rng, 12)) {
    case 0:
    case 1:
        random_map(rng, which);
        break;
    case 2:
        random_unmap(rng, which);
        break;
    case 3:
        random_protect(rng, which);
        break;
    case 4:
        random_advice(rng, which);
        break;
    case 5:
        if (rng_once_in(rng, 3))
            copy_over(which, (which + 1 + rng_below(rng, SPACES - 1)) % SPACES);
        break;
    case 6:
    case 7:
        check_byte(rng, which, rng_below(rng, PAGES));
        break;
    default:
        write_byte(rng, which, rng_below(rng, PAGES));
    }
}

static void random_operations_agree(void)
{
    struct rng rng = rng_start(3);
    begin();
    bool same = true;
    for (unsigned i = 0; i < tap_rounds(10000) && same; i++) {
        unsigned which = rng_below(&rng, SPACES);
        one_operation(&rng, which);
        same = regions_agree(which);
        CHECK(same);
        struct tsl_defect defect = tsl_space_verify(model.space[which]);
        CHECK_SOUND(defect);
        same = same && defect.rule == 0;
        if (i % 16 == 0)
            world_check_maps(model.space, SPACES);
        if (i % 64 == 0)
            for (unsigned page = 0; page < PAGES; page++)
                check_byte(&rng, rng_below(&rng, SPACES), page);
    }
    finish();
}

TAP_SUITE(prop_space, TAP_TEST(random_operations_agree));
