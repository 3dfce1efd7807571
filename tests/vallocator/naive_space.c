/* SPDX-License-Identifier: MIT
 *
 * naive_space.c: see naive_space.h.
 *
 * Owns:    the naive.
 * Needs:   space_world.h.
 * Callers: tests/vallocator.
 */
#include "naive_space.h"

#include "machine.h"

#include <string.h>

enum { PAGE = TSL_PAGE_BYTES };

struct naive_space naive;

static size_t base_page(void)
{
    return machine_format()->user_first >> TSL_PAGE_SHIFT;
}

tsl_vaddr naive_address(size_t page)
{
    return (base_page() + page) << TSL_PAGE_SHIFT;
}

void naive_start(unsigned count, size_t commit_limit, const struct tsl_space_limits *limits)
{
    memset(&naive, 0, sizeof(naive));
    world_start(commit_limit);
    naive.commit_limit = commit_limit;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY,
                                       .bytes = NAIVE_OBJECT_PAGES * (size_t)PAGE};
    for (unsigned i = 0; i < NAIVE_OBJECTS; i++)
        CHECK_STATUS(tsl_object_create(world.vm, &config, &naive.object[i]), TSL_OK);
    for (unsigned which = 0; which < count; which++) {
        if (limits && which % 2 == 1)
            naive.limits[which] = *limits;
        CHECK_STATUS(tsl_space_create(world.vm, &naive.limits[which], &naive.space[which]), TSL_OK);
    }
}

void naive_stop(void)
{
    for (unsigned which = 0; which < NAIVE_SPACES; which++)
        if (naive.space[which])
            world_destroy(naive.space[which]);
    for (unsigned i = 0; i < NAIVE_OBJECTS; i++)
        tsl_object_put(naive.object[i]);
    world_stop();
}

/* ---- What follows from the pages. ---- */

static unsigned char *shared_byte(const struct naive_page *page)
{
    for (unsigned i = 0; i < NAIVE_OBJECTS; i++)
        if (naive.object[i] == page->object)
            return &naive.shared[i][page->object_page];
    return NULL;
}

static unsigned char byte_of(const struct naive_page *page)
{
    const unsigned char *shared = shared_byte(page);
    return shared && !page->own ? *shared : page->byte;
}

/* Whether the page belongs to the region of the one before it. */
static bool continues(unsigned which, size_t page)
{
    if (page == 0)
        return false;
    const struct naive_page *a = &naive.page[which][page - 1], *b = a + 1;
    return a->mapped && b->mapped && a->charged == b->charged && a->rights == b->rights &&
           a->maximum == b->maximum && a->flags == b->flags && a->object == b->object &&
           (!a->object || a->object_page + 1 == b->object_page);
}

size_t naive_region_end(unsigned which, size_t page)
{
    size_t end = page + 1;
    while (end < NAIVE_PAGES && continues(which, end))
        end++;
    return end;
}

static struct space_sum sum(unsigned which, size_t first, size_t end)
{
    struct space_sum total = {0};
    for (size_t page = first; page < end; page++) {
        const struct naive_page *it = &naive.page[which][page];
        total.regions += it->mapped && (page == first || !continues(which, page));
        total.pages += it->mapped;
        total.charged += it->charged;
        total.locked += (it->flags & TSL_SPACE_LOCKED) != 0;
    }
    return total;
}

static struct space_sum sum_of(unsigned which)
{
    return sum(which, 0, NAIVE_PAGES + NAIVE_SLACK);
}

static size_t cuts(unsigned which, size_t first, size_t end)
{
    return (size_t)continues(which, first) + continues(which, end);
}

static bool is_covered(unsigned which, size_t first, size_t end)
{
    return sum(which, first, end).pages == end - first;
}

static bool exceeds(size_t limit, size_t amount)
{
    return limit && amount > limit;
}

/* Whether `more` pages cannot be promised, `returned` being given back. */
static bool has_no_promise(unsigned which, size_t more, size_t returned)
{
    size_t all = NAIVE_OBJECTS * NAIVE_OBJECT_PAGES;
    for (unsigned i = 0; i < NAIVE_SPACES; i++)
        all += naive.space[i] ? sum_of(i).charged : 0;
    return more > returned &&
           (exceeds(naive.limits[which].committed, sum_of(which).charged + more - returned) ||
            exceeds(naive.commit_limit, all + more - returned));
}

/* The lowest place for so many pages. */
static bool find_gap(unsigned which, size_t pages, size_t lower, size_t limit, size_t align,
                     size_t *out)
{
    for (size_t at = lower; at + pages <= limit && at + pages < NAIVE_PAGES + NAIVE_SLACK; at++) {
        if ((base_page() + at) % align != 0 || sum(which, at, at + pages).pages > 0)
            continue;
        *out = at;
        return true;
    }
    return false;
}

/* The answer agrees; true if the model has to follow. */
static bool agree(enum tsl_status status, enum tsl_status expected)
{
    if (naive.is_starved && status == TSL_NO_MEMORY) {
        naive.starvations++;
        return false;
    }
    CHECK_STATUS(status, expected);
    return expected == TSL_OK;
}

static void erase(unsigned which, size_t first, size_t end)
{
    for (size_t page = first; page < end; page++)
        naive.page[which][page] = (struct naive_page){.mapped = false};
}

/* What came to lie behind the places that operations begin at goes again. */
static void trim(unsigned which)
{
    size_t end = NAIVE_PAGES + NAIVE_SLACK;
    bool starved = naive.is_starved;
    if (sum(which, NAIVE_PAGES, end).pages == 0)
        return;
    naive.is_starved = false;
    world_give_frames_back();
    CHECK_STATUS(
        tsl_space_unmap(naive.space[which], naive_address(NAIVE_PAGES), (end - NAIVE_PAGES) * PAGE),
        TSL_OK);
    erase(which, NAIVE_PAGES, end);
    naive.is_starved = starved;
}

/* ---- Operations. ---- */

static void put(unsigned which, size_t first, size_t end, const struct tsl_map_request *request)
{
    bool shared = request->flags & TSL_SPACE_SHARED;
    for (size_t i = first; i < end; i++)
        naive.page[which][i] = (struct naive_page){
            .mapped = true,
            .charged = !shared && request->rights & TSL_WRITE,
            .rights = request->rights,
            .maximum = request->maximum ? request->maximum : TSL_READ | TSL_WRITE | TSL_EXEC,
            .flags = request->flags & (TSL_SPACE_SHARED | TSL_SPACE_NO_COPY),
            .object = request->object,
            .object_page = request->object ? request->object_page + (i - first) : 0};
}

static enum tsl_status expected_of_map(unsigned which, size_t first, size_t end,
                                       const struct tsl_map_request *request)
{
    struct space_sum gone = sum(which, first, end), all = sum_of(which);
    const struct tsl_space_limits *limits = &naive.limits[which];
    bool charged = request->rights & TSL_WRITE && !(request->flags & TSL_SPACE_SHARED);
    if (gone.pages > 0 && request->flags & TSL_SPACE_NO_REPLACE)
        return TSL_EXISTS;
    if (exceeds(limits->regions, all.regions + cuts(which, first, end) - gone.regions + 1) ||
        exceeds(limits->pages, all.pages - gone.pages + (end - first)) ||
        (charged && has_no_promise(which, end - first, gone.charged)))
        return TSL_LIMIT;
    return TSL_OK;
}

static bool is_behind_object(const struct tsl_map_request *request, size_t pages)
{
    return request->object && request->object_page + pages > NAIVE_OBJECT_PAGES;
}

void naive_map(unsigned which, size_t first, size_t end, const struct tsl_map_request *request)
{
    struct tsl_map_request exact = *request;
    tsl_vaddr out = 1;
    exact.address = naive_address(first);
    exact.bytes = (end - first) * PAGE;
    exact.flags |= TSL_SPACE_FIXED;
    enum tsl_status expected = is_behind_object(request, end - first)
                                   ? TSL_OUT_OF_RANGE
                                   : expected_of_map(which, first, end, &exact);
    bool done = agree(tsl_space_map(naive.space[which], &exact, &out), expected);
    CHECK_EQ(out, done ? exact.address : 1);
    if (done)
        put(which, first, end, &exact);
}

void naive_map_anywhere(unsigned which, size_t pages, struct tsl_map_request request)
{
    size_t lower = request.address, limit = request.limit ? request.limit : ~(size_t)0;
    size_t at = 0, align = request.align ? request.align : 1;
    tsl_vaddr out = 1;
    enum tsl_status expected = TSL_LIMIT;
    if (is_behind_object(&request, pages))
        expected = TSL_OUT_OF_RANGE;
    else if (find_gap(which, pages, lower, limit, align, &at))
        expected = expected_of_map(which, at, at + pages, &request);
    request.address = lower ? naive_address(lower) : 0;
    request.limit = request.limit ? naive_address(limit) : 0;
    request.align *= PAGE;
    request.bytes = pages * PAGE;
    bool done = agree(tsl_space_map(naive.space[which], &request, &out), expected);
    CHECK_EQ(out, done ? naive_address(at) : 1);
    if (!done)
        return;
    put(which, at, at + pages, &request);
    trim(which);
}

void naive_unmap(unsigned which, size_t first, size_t end)
{
    enum tsl_status expected = TSL_OK;
    bool is_hole = sum(which, first, end).regions == 1 && cuts(which, first, end) == 2;
    if (sum(which, first, end).pages == 0)
        expected = TSL_NOT_FOUND;
    else if (is_hole && exceeds(naive.limits[which].regions, sum_of(which).regions + 1))
        expected = TSL_LIMIT;
    if (agree(tsl_space_unmap(naive.space[which], naive_address(first), (end - first) * PAGE),
              expected))
        erase(which, first, end);
}

/* Cutting at the borders of the range, all of which has to be mapped. */
static enum tsl_status expected_of_cuts(unsigned which, size_t first, size_t end)
{
    if (!is_covered(which, first, end))
        return TSL_NOT_FOUND;
    return exceeds(naive.limits[which].regions, sum_of(which).regions + cuts(which, first, end))
               ? TSL_LIMIT
               : TSL_OK;
}

void naive_protect(unsigned which, size_t first, size_t end, unsigned rights)
{
    enum tsl_status expected = is_covered(which, first, end) ? TSL_OK : TSL_NOT_FOUND;
    size_t more = 0;
    for (size_t i = first; i < end && expected == TSL_OK; i++) {
        const struct naive_page *page = &naive.page[which][i];
        if (rights & ~page->maximum)
            expected = TSL_DENIED;
        more += rights & TSL_WRITE && !(page->flags & TSL_SPACE_SHARED) && !page->charged;
    }
    if (expected == TSL_OK)
        expected = expected_of_cuts(which, first, end);
    if (expected == TSL_OK && has_no_promise(which, more, 0))
        expected = TSL_LIMIT;
    if (!agree(tsl_space_protect(naive.space[which], naive_address(first), (end - first) * PAGE,
                                 rights),
               expected))
        return;
    for (size_t i = first; i < end; i++) {
        struct naive_page *page = &naive.page[which][i];
        page->rights = rights;
        if (rights & TSL_WRITE && !(page->flags & TSL_SPACE_SHARED))
            page->charged = true;
    }
}

/* Pages of the range that were brought have private contents if they may be written: those that
 * were there already, and if bringing has ended early, those that the space says. */
static void bring(unsigned which, size_t first, size_t end, bool all)
{
    struct tsl_page_info info;
    for (size_t i = first; i < end; i++) {
        struct naive_page *page = &naive.page[which][i];
        if (!page->mapped || !(page->rights & TSL_WRITE) || page->flags & TSL_SPACE_SHARED)
            continue;
        CHECK_STATUS(tsl_space_query(naive.space[which], naive_address(i), &info), TSL_OK);
        CHECK(info.is_private || !all);
        if (!info.is_private || page->own)
            continue;
        page->byte = byte_of(page);
        page->own = true;
    }
}

static void set_flag(unsigned which, size_t first, size_t end, unsigned flag, bool is_set)
{
    for (size_t i = first; i < end; i++) {
        struct naive_page *page = &naive.page[which][i];
        page->flags = (page->flags & ~flag) | (is_set ? flag : 0);
    }
}

static void forget(unsigned which, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        naive.page[which][i].own = false;
        naive.page[which][i].byte = 0;
    }
}

void naive_advise(unsigned which, size_t first, size_t end, enum tsl_advice advice)
{
    enum tsl_status expected = expected_of_cuts(which, first, end);
    bool marks = advice == TSL_ADVISE_COPY || advice == TSL_ADVISE_NO_COPY;
    if (!marks && expected == TSL_LIMIT)
        expected = TSL_OK;
    if (advice == TSL_ADVISE_DONT_NEED && expected == TSL_OK && sum(which, first, end).locked > 0)
        expected = TSL_DENIED;
    bool done = agree(
        tsl_space_advise(naive.space[which], naive_address(first), (end - first) * PAGE, advice),
        expected);
    if (advice == TSL_ADVISE_NEED && expected == TSL_OK)
        bring(which, first, end, done);
    else if (done && advice == TSL_ADVISE_DONT_NEED)
        forget(which, first, end);
    else if (done)
        set_flag(which, first, end, TSL_SPACE_NO_COPY, advice == TSL_ADVISE_NO_COPY);
}

void naive_lock(unsigned which, size_t first, size_t end, bool is_set)
{
    struct tsl_space *space = naive.space[which];
    tsl_vaddr start = naive_address(first);
    size_t bytes = (end - first) * PAGE, more = end - first - sum(which, first, end).locked;
    enum tsl_status expected = expected_of_cuts(which, first, end);
    if (is_set && expected == TSL_OK &&
        exceeds(naive.limits[which].locked, sum_of(which).locked + more))
        expected = TSL_LIMIT;
    bool done = agree(is_set ? tsl_space_lock_pages(space, start, bytes)
                             : tsl_space_unlock_pages(space, start, bytes),
                      expected);
    if (is_set && is_covered(which, first, end))
        bring(which, first, end, done);
    if (done)
        set_flag(which, first, end, TSL_SPACE_LOCKED, is_set);
}

/* ---- Remap. ---- */

static bool is_one_region(unsigned which, size_t first, size_t end)
{
    return is_covered(which, first, end) && sum(which, first, end).regions == 1;
}

/* Where the range would go. */
static enum tsl_status expected_place(unsigned which, size_t first, size_t end, size_t pages,
                                      unsigned flags, size_t *to)
{
    if (flags & TSL_SPACE_FIXED) {
        bool taken = sum(which, *to, *to + pages).pages > 0;
        return taken && flags & TSL_SPACE_NO_REPLACE ? TSL_EXISTS : TSL_OK;
    }
    *to = first;
    if (pages <= end - first || sum(which, end, first + pages).pages == 0)
        return TSL_OK;
    bool found = flags & TSL_SPACE_MAY_MOVE && find_gap(which, pages, 0, ~(size_t)0, 1, to);
    return found ? TSL_OK : TSL_LIMIT;
}

static bool remap_exceeds(unsigned which, size_t first, size_t end, size_t pages, size_t to)
{
    const struct tsl_space_limits *limits = &naive.limits[which];
    const struct naive_page *page = &naive.page[which][first];
    size_t old = end - first, kept = old < pages ? old : pages, more = pages - kept;
    struct space_sum all = sum_of(which), gone = {0};
    size_t regions = all.regions;
    if (to != first) {
        gone = sum(which, to, to + pages);
        bool twice = (to + pages == first && continues(which, first)) ||
                     (to == end && continues(which, end));
        regions += cuts(which, first, end) + cuts(which, to, to + pages) - twice - gone.regions;
    } else if (pages < old) {
        regions += continues(which, end);
    }
    return exceeds(limits->regions, regions) ||
           (more && exceeds(limits->pages, all.pages - (old - kept) - gone.pages + more)) ||
           (more && page->flags & TSL_SPACE_LOCKED &&
            exceeds(limits->locked, all.locked - gone.locked + more)) ||
           (page->charged && has_no_promise(which, more, gone.charged));
}

static enum tsl_status expected_of_remap(unsigned which, size_t first, size_t end, size_t pages,
                                         unsigned flags, size_t *to)
{
    const struct naive_page *page = &naive.page[which][first];
    if (flags & TSL_SPACE_FIXED && *to < end && first < *to + pages)
        return TSL_OVERLAP;
    if (!is_one_region(which, first, end))
        return TSL_NOT_FOUND;
    if (pages > end - first && page->object && page->object_page + pages > NAIVE_OBJECT_PAGES)
        return TSL_OUT_OF_RANGE;
    enum tsl_status status = expected_place(which, first, end, pages, flags, to);
    if (status == TSL_OK && remap_exceeds(which, first, end, pages, *to))
        status = TSL_LIMIT;
    return status;
}

static void move(unsigned which, size_t first, size_t end, size_t pages, size_t to)
{
    struct naive_page moved[NAIVE_PAGES + NAIVE_SLACK];
    size_t old = end - first;
    for (size_t i = 0; i < pages; i++) {
        moved[i] = naive.page[which][first + (i < old ? i : 0)];
        if (i < old)
            continue;
        moved[i].own = false;
        moved[i].byte = 0;
        moved[i].object_page += moved[i].object ? i : 0;
    }
    erase(which, first, end);
    memcpy(&naive.page[which][to], moved, pages * sizeof(moved[0]));
}

void naive_remap(unsigned which, size_t first, size_t end, size_t pages, unsigned flags, size_t to)
{
    tsl_vaddr out = 1;
    struct tsl_remap_request request = {.start = naive_address(first),
                                        .bytes = (end - first) * PAGE,
                                        .new_bytes = pages * PAGE,
                                        .address = naive_address(to),
                                        .flags = flags};
    enum tsl_status expected = expected_of_remap(which, first, end, pages, flags, &to);
    bool done = agree(tsl_space_remap(naive.space[which], &request, &out), expected);
    CHECK_EQ(out, done ? naive_address(to) : 1);
    if (!done)
        return;
    move(which, first, end, pages, to);
    if (naive.page[which][to].flags & TSL_SPACE_LOCKED)
        bring(which, to, to + pages, !naive.is_starved);
    trim(which);
}

/* ---- Copies and bytes. ---- */

/* Charged pages but for those that are left out of copies. */
static size_t charged_in_copy(unsigned from)
{
    size_t charged = sum_of(from).charged;
    for (size_t i = 0; i < NAIVE_PAGES; i++) {
        const struct naive_page *page = &naive.page[from][i];
        charged -= page->charged && page->flags & TSL_SPACE_NO_COPY;
    }
    return charged;
}

void naive_copy(unsigned from, unsigned to)
{
    struct tsl_space *copy = NULL;
    if (naive.space[to])
        world_destroy(naive.space[to]);
    naive.space[to] = NULL;
    bool has_none = exceeds(naive.commit_limit, world_usage().committed + charged_in_copy(from));
    bool done = agree(tsl_space_copy(naive.space[from], &copy), has_none ? TSL_LIMIT : TSL_OK);
    CHECK(done == (copy != NULL));
    memset(naive.page[to], 0, sizeof(naive.page[to]));
    naive.limits[to] = (struct tsl_space_limits){0};
    if (!done) { /* an empty one, for what comes next */
        world_give_frames_back();
        CHECK_STATUS(tsl_space_create(world.vm, NULL, &naive.space[to]), TSL_OK);
        return;
    }
    naive.space[to] = copy;
    naive.limits[to] = naive.limits[from];
    for (size_t i = 0; i < NAIVE_PAGES; i++) {
        if (naive.page[from][i].flags & TSL_SPACE_NO_COPY)
            continue;
        naive.page[to][i] = naive.page[from][i];
        naive.page[to][i].flags &= ~TSL_SPACE_LOCKED;
    }
}

void naive_load(unsigned cpu, unsigned which, size_t index)
{
    const struct naive_page *page = &naive.page[which][index];
    unsigned char byte = 0xEE;
    enum tsl_status expected = !page->mapped             ? TSL_NOT_FOUND
                               : page->rights & TSL_READ ? TSL_OK
                                                         : TSL_DENIED;
    tsl_vaddr address = naive_address(index) + (index % 2 ? 4095 : 0);
    if (agree(world_load(cpu, naive.space[which], address, &byte), expected))
        CHECK_EQ(byte, byte_of(page));
}

void naive_store(unsigned cpu, unsigned which, size_t index, unsigned char byte)
{
    struct naive_page *page = &naive.page[which][index];
    enum tsl_status expected = !page->mapped              ? TSL_NOT_FOUND
                               : page->rights & TSL_WRITE ? TSL_OK
                                                          : TSL_DENIED;
    tsl_vaddr address = naive_address(index);
    if (!agree(world_store(cpu, naive.space[which], address, byte), expected))
        return;
    CHECK_STATUS(world_store(cpu, naive.space[which], address + 4095, byte), TSL_OK);
    if (page->flags & TSL_SPACE_SHARED)
        *shared_byte(page) = byte;
    else
        page->byte = byte;
    page->own = !(page->flags & TSL_SPACE_SHARED);
}

/* ---- Comparing. ---- */

static bool region_agrees(unsigned which, size_t first, size_t end,
                          const struct tsl_region_info *info)
{
    const struct naive_page *page = &naive.page[which][first];
    return info->start == naive_address(first) && info->bytes == (end - first) * PAGE &&
           info->rights == page->rights && info->maximum == page->maximum &&
           info->flags == page->flags && info->object == page->object &&
           info->object_page == page->object_page;
}

/* The whole list of regions, as it follows from the pages. */
static bool regions_agree(unsigned which)
{
    struct tsl_region_info info;
    struct space_sum all = sum_of(which);
    tsl_vaddr at = 0;
    for (size_t first = 0, end; first < NAIVE_PAGES; first = end) {
        end = naive_region_end(which, first);
        if (!naive.page[which][first].mapped)
            continue;
        if (!tsl_space_next(naive.space[which], at, &info) ||
            !region_agrees(which, first, end, &info))
            return false;
        at = info.start + info.bytes;
    }
    struct tsl_space_stats stats;
    tsl_space_stats(naive.space[which], &stats);
    return !tsl_space_next(naive.space[which], at, &info) && stats.committed == all.charged &&
           stats.locked == all.locked && stats.regions == all.regions && stats.pages == all.pages;
}

bool naive_agrees(unsigned which)
{
    bool same = regions_agree(which);
    CHECK(same);
    struct tsl_defect defect = tsl_space_verify(naive.space[which]);
    CHECK_SOUND(defect);
    return same && defect.rule == 0;
}

uint64_t naive_hash(unsigned which, size_t pages)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < pages; i++) {
        const struct naive_page *page = &naive.page[which][i];
        uint64_t value = page->mapped | (uint64_t)page->charged << 1 | (uint64_t)page->own << 2 |
                         (uint64_t)page->byte << 8 | (uint64_t)page->rights << 16 |
                         (uint64_t)page->flags << 24 | (uint64_t)page->object_page << 40 |
                         (uint64_t)(page->object != NULL) << 48;
        hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 31;
    }
    return hash;
}
