/* SPDX-License-Identifier: MIT
 *
 * frames_create.c: from a memory map to an allocator, and its end.
 *
 * Owns:    the size and the place of the metadata, the spans, the zone limits.
 * Needs:   kernel_layout (the map), base, the port's phys_to_virt.
 * Callers: the public tsl_frames_create, _extend_reach, _destroy.
 *
 * Two passes over the usable ranges: the first counts areas and spans, which gives the size; then a
 * hole is cut for the metadata, and the second pass writes what is left into it. What is not usable
 * RAM appears nowhere, so a reserved entry costs nothing, however high it lies. With several nodes
 * the second pass goes over the map once a node, so that each node is one stretch of the row.
 */
#include "frames_guard.h"

#include <tesela/checked.h>
#include <tesela/frames_hotplug.h>

#define DMA_END   ((tsl_paddr)16 << 20)
#define DMA32_END ((tsl_paddr)4 << 30)

_Static_assert((TSL_MAP_TOP >> TSL_PAGE_SHIFT) < FRAMES_NONE,
               "the number behind a map's last frame "
               "fits a word");

/* What is known of the allocator before it exists. */
struct plan {
    const struct tsl_frames_config *config;
    tsl_paddr ram_end;
    tsl_paddr hole_start; /* the metadata; hole_start == hole_end: none yet */
    tsl_paddr hole_end;
    tsl_word spans;
    tsl_word areas;
    uint64_t frames;
    uint64_t ignored;
    tsl_word split_areas;
    unsigned nodes;
};

/* A place in the walk over usable ranges. */
struct cursor {
    size_t range;
    tsl_paddr from;
    tsl_word last_area; /* of the piece before */
    unsigned node;      /* of the piece before, then of the one found */
    bool is_split;      /* it belongs to that node only because of the area it shares */
};

/*
 * Cuts a piece where another node begins, and finds the cursor's node. An area is one node's: that
 * of its lowest usable frame.
 */
static void cut_at_node(const struct plan *plan, struct cursor *cursor, struct frames_span *piece)
{
    tsl_paddr last;
    unsigned node =
        tsl_nodes_at(plan->config->nodes, (tsl_paddr)piece->first << TSL_PAGE_SHIFT, &last);
    tsl_word area = piece->first / AREA_FRAMES;
    tsl_word stop = (tsl_word)(last >> TSL_PAGE_SHIFT);
    cursor->is_split = area == cursor->last_area && node != cursor->node;
    if (cursor->is_split)
        stop = (area + 1) * AREA_FRAMES - 1;
    else
        cursor->node = node;
    if (stop < piece->end - 1)
        piece->end = stop + 1;
    cursor->last_area = (piece->end - 1) / AREA_FRAMES;
}

/* The next run of usable frames: without frame 0, the hole, and what is above ram_end. */
static bool next_piece(const struct plan *plan, struct cursor *cursor, struct frames_span *out)
{
    const struct tsl_memory_map *map = plan->config->map;
    while (cursor->range < map->count) {
        const struct tsl_memory_range *range = &map->ranges[cursor->range];
        tsl_paddr start = range->start > cursor->from ? range->start : cursor->from;
        tsl_paddr end = range->end < plan->ram_end ? range->end : plan->ram_end;
        if (range->type != TSL_MEMORY_USABLE || start >= end) {
            cursor->range++;
            continue;
        }
        if (start >= plan->hole_start && start < plan->hole_end) {
            cursor->from = plan->hole_end;
            continue;
        }
        if (plan->hole_start > start && plan->hole_start < end)
            end = plan->hole_start;
        out->first = (tsl_word)(start >> TSL_PAGE_SHIFT);
        out->end = (tsl_word)(end >> TSL_PAGE_SHIFT);
        if (TSL_NODES > 1 && plan->config->nodes != NULL)
            cut_at_node(plan, cursor, out);
        cursor->from = (tsl_paddr)out->end << TSL_PAGE_SHIFT;
        return true;
    }
    return false;
}

static struct cursor first_piece(void)
{
    return (struct cursor){.range = 0, .from = TSL_PAGE_BYTES, .last_area = FRAMES_NONE};
}

static void survey(struct plan *plan)
{
    struct cursor cursor = first_piece();
    struct frames_span piece;
    tsl_word last_area = FRAMES_NONE;
    while (next_piece(plan, &cursor, &piece)) {
        tsl_word first_area = piece.first / AREA_FRAMES;
        tsl_word end_area = (piece.end - 1) / AREA_FRAMES + 1;
        plan->areas += end_area - first_area - (first_area == last_area ? 1 : 0);
        plan->frames += piece.end - piece.first;
        plan->spans++;
        plan->split_areas += cursor.is_split ? 1 : 0;
        last_area = end_area - 1;
    }
    const struct tsl_memory_map *map = plan->config->map;
    for (size_t i = 0; i < map->count; i++) {
        const struct tsl_memory_range *range = &map->ranges[i];
        if (range->type == TSL_MEMORY_USABLE && range->end > plan->ram_end) {
            tsl_paddr start = range->start > plan->ram_end ? range->start : plan->ram_end;
            plan->ignored += (range->end - start) >> TSL_PAGE_SHIFT;
        }
    }
}

/* Hands out parts of the metadata one after the other; with base NULL it only measures. */
struct carver {
    char *base;
    size_t used;
    bool is_too_much; /* a size or their sum does not fit a word: a map may claim anything */
};

/* `count` entries of `each` bytes. */
static void *carve(struct carver *carver, size_t count, size_t each, size_t align)
{
    size_t at = 0, bytes = 0;
    if (!tsl_checked_align_up(carver->used, align, &at) || !tsl_checked_mul(count, each, &bytes) ||
        !tsl_checked_add(at, bytes, &carver->used))
        carver->is_too_much = true;
    return carver->base == NULL ? NULL : carver->base + at;
}

static void carve_tree(struct carver *carver, struct area_tree *tree, tsl_word areas)
{
    tsl_word words = 0;
    for (tsl_word bits = areas; bits > 1 || words == 0; bits = tree_words(bits))
        words += tree_words(bits);
    tree->areas = areas;
    tree->words = carve(carver, words, sizeof(tsl_word), sizeof(tsl_word));
}

static void carve_guard(struct carver *carver, tsl_word areas, struct tsl_frames *self)
{
    struct frames_guard measure;
    self->guard = carve(carver, 1, sizeof(struct frames_guard), 64);
    struct frames_guard *guard = carver->base == NULL ? &measure : self->guard;
    if (TSL_FRAME_OWNERS) {
        guard->sites = carve(carver, areas, AREA_FRAMES * sizeof(tsl_word), sizeof(tsl_word));
        guard->marks = carve(carver, areas, AREA_FRAMES, 1);
    }
    guard->contents = carve(carver, areas, AREA_FRAMES, 1);
}

/* Lays the metadata out: the same steps measure it and place it. */
static void carve_all(struct carver *carver, const struct plan *plan, struct tsl_frames *self)
{
    self->cpus = carve(carver, TSL_CPUS, cpu_stride(plan->nodes), 64);
    if (TSL_NODES > 1)
        self->numa = carve(carver, 1, sizeof(struct frames_numa), 64);
    self->words = carve(carver, plan->areas, AREA_WORDS * sizeof(tsl_word), 64);
    self->hints = carve(carver, plan->areas, sizeof(uint16_t), sizeof(uint16_t));
    self->states = carve(carver, plan->areas, 1, 1);
    if (TSL_FRAME_DESCRIPTORS && plan->config->descriptors)
        self->descriptors =
            carve(carver, plan->areas, AREA_FRAMES * sizeof(struct tsl_frame_descriptor), 64);
    if (FRAMES_GUARDED)
        carve_guard(carver, plan->areas, self);
    carve_tree(carver, &self->any, plan->areas);
    carve_tree(carver, &self->roomy, plan->areas);
    carve_tree(carver, &self->whole, plan->areas);
    /* One more than counted: the hole may cut a range in two. */
    self->spans = carve(carver, plan->spans + 1, sizeof(struct frames_span), sizeof(tsl_word));
}

/* In whole pages; false if that does not fit a word. */
static bool measure_metadata(const struct plan *plan, size_t *out)
{
    struct tsl_frames measure;
    struct carver carver = {NULL, sizeof(struct tsl_frames), false};
    carve_all(&carver, plan, &measure);
    return !carver.is_too_much && tsl_checked_align_up(carver.used, TSL_PAGE_BYTES, out);
}

/* Whether RAM that is not there lies in [at, at + bytes); *limit is then where it begins. */
static bool moves_below_absent(const struct tsl_frames_config *config, tsl_paddr *limit,
                               tsl_paddr at, uint64_t bytes)
{
    bool is_absent = false;
    for (size_t i = 0; i < config->absent_count; i++) {
        const struct tsl_memory_range *absent = &config->absent[i];
        if (absent->start >= at + bytes || at >= absent->end)
            continue;
        *limit = is_absent && *limit < absent->start ? *limit : absent->start;
        is_absent = true;
    }
    return is_absent;
}

/* Cuts the hole at the top of the highest range below reach_end that holds it: where nothing was
 * handed out early, and where RAM is. */
static bool place_metadata(struct plan *plan, size_t bytes)
{
    const struct tsl_frames_config *config = plan->config;
    tsl_paddr limit = tsl_align_down_paddr(config->reach_end, TSL_PAGE_BYTES);
    struct tsl_early taken;
    tsl_early_init(&taken, config->map);
    if (config->early != NULL)
        taken = *config->early;
    tsl_paddr at = 0;
    while (limit != 0) { /* which would be no limit */
        at = tsl_early_place(&taken, bytes, TSL_PAGE_BYTES,
                             limit < plan->ram_end ? limit : plan->ram_end);
        if (at == 0 || !moves_below_absent(config, &limit, at, bytes))
            break;
    }
    plan->hole_start = at;
    plan->hole_end = at == 0 ? 0 : at + bytes;
    return at != 0;
}

/* Adds a piece to a node's spans: to the last one, if the two are neighbours, as where an area has
 * parts of two nodes and is the lower one's. */
static void add_span(struct tsl_frames *self, unsigned node, const struct frames_span *piece)
{
    struct frames_span *last = &self->spans[self->span_count];
    if (self->span_count > self->node[node].first_span && last[-1].end == piece->first)
        (--last)->end = piece->end;
    else
        self->spans[self->span_count++] = *piece;
    if (last->end - last->first > self->main.end - self->main.first)
        self->main = *last;
}

/* Writes a node's spans and bits, and gives each of its areas that has frames its place in the row.
 */
static void fill_spans(struct tsl_frames *self, const struct plan *plan, unsigned node)
{
    struct cursor cursor = first_piece();
    struct frames_span piece;
    tsl_word last_area = FRAMES_NONE; /* counted through all of physical memory */
    self->node[node].first_area = self->area_count;
    self->node[node].first_span = self->span_count;
    while (next_piece(plan, &cursor, &piece)) {
        if (cursor.node != node)
            continue;
        tsl_word first_area = piece.first / AREA_FRAMES;
        tsl_word end_area = (piece.end - 1) / AREA_FRAMES + 1;
        tsl_word row = first_area == last_area ? self->area_count - 1 : self->area_count;
        piece.shift = (first_area - row) * AREA_FRAMES;
        self->area_count = row + (end_area - first_area);
        last_area = end_area - 1;
        tsl_bits_set_range(self->words, piece.first - piece.shift, piece.end - piece.first);
        add_span(self, node, &piece);
    }
    self->node[node].end_area = self->area_count;
    self->node[node].end_span = self->span_count;
}

static void fill_areas(struct tsl_frames *self)
{
    for (tsl_word area = 0; area < self->area_count; area++) {
        tsl_frames_recount(self, area);
        self->zone[zone_of(self, area)].total += self->hints[area];
        tsl_frames_publish(self, area);
    }
}

static tsl_word number_of(tsl_paddr address)
{
    tsl_paddr number = address >> TSL_PAGE_SHIFT;
    return number < WORD_FULL ? (tsl_word)number : WORD_FULL;
}

static tsl_word smaller(tsl_word a, tsl_word b)
{
    return a < b ? a : b;
}

static void fill_zones(struct tsl_frames *self, unsigned node)
{
    struct frames_node *place = &self->node[node];
    tsl_word high = place->end_area;
    if (self->direct_end != 0)
        high = tsl_frames_area_limit(self, node, number_of(self->direct_end));
    place->dma_limit = tsl_frames_area_limit(self, node, number_of(DMA_END));
    place->dma32_limit = tsl_frames_area_limit(self, node, number_of(DMA32_END));
    place->low_limit = place->first_area;
    tsl_word dma32_end = sizeof(tsl_word) == 8 ? place->dma32_limit : place->dma_limit;
    const tsl_word ends[TSL_ZONE_COUNT] = {
        [TSL_ZONE_DMA] = smaller(place->dma_limit, high),
        [TSL_ZONE_DMA32] = smaller(dma32_end, high),
        [TSL_ZONE_NORMAL] = high,
        [TSL_ZONE_HIGHMEM] = place->end_area,
    };
    tsl_word first = place->first_area;
    for (unsigned kind = 0; kind < TSL_ZONE_COUNT; kind++) {
        unsigned zone = node * TSL_ZONE_COUNT + kind;
        self->zone[zone].first_area = first;
        self->zone[zone].end_area = ends[kind];
        place->top_zone = first < ends[kind] ? zone : place->top_zone;
        first = ends[kind];
    }
}

/* Flags that admit all frames there are. */
static void note_special_flags(struct tsl_frames *self)
{
    uint32_t plain = TSL_FRAMES_RECLAIM | TSL_FRAMES_EXIT | TSL_FRAMES_LOW | TSL_FRAMES_DMA32;
    for (unsigned node = 0; node < node_count(self); node++) {
        const struct frames_node *place = &self->node[node];
        if (tsl_atomic_load(&place->low_limit) < place->end_area)
            plain &= ~(uint32_t)TSL_FRAMES_LOW;
        if (place->dma32_limit < place->end_area)
            plain &= ~(uint32_t)TSL_FRAMES_DMA32;
    }
    tsl_atomic_store_u32(&self->special_flags, ~plain);
}

static tsl_word low_limit_of(const struct tsl_frames *self, unsigned node, tsl_paddr reach_end)
{
    bool is_cut = self->direct_end != 0 && self->direct_end < reach_end;
    return tsl_frames_area_limit(self, node, number_of(is_cut ? self->direct_end : reach_end));
}

static void set_low_limit(struct tsl_frames *self, tsl_paddr reach_end)
{
    for (unsigned node = 0; node < node_count(self); node++) {
        tsl_word limit = low_limit_of(self, node, reach_end);
        if (limit > tsl_atomic_load(&self->node[node].low_limit))
            tsl_atomic_store(&self->node[node].low_limit, limit);
    }
    note_special_flags(self);
}

static void fill_slots(struct tsl_frames *self)
{
    for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++)
        for (unsigned zone = 0; zone < zone_count(self); zone++)
            frames_cpu_at(self, cpu)->slot[zone].area = FRAMES_NONE;
}

/* The part of the largest span that lies in the top zone. */
static void set_hot_range(struct tsl_frames *self)
{
    if (TSL_NODES > 1)
        return;
    tsl_word first = self->zone[self->node[0].top_zone].first_area * AREA_FRAMES;
    tsl_word start = self->main.first - self->main.shift;
    self->hot_first = (first > start ? first : start) + self->main.shift;
    self->hot_frames = self->main.end > self->hot_first ? self->main.end - self->hot_first : 0;
}

static void build(struct tsl_frames *self, const struct plan *plan)
{
    const struct tsl_frames_config *config = plan->config;
    struct carver carver = {(char *)self, sizeof(struct tsl_frames), false};
    carve_all(&carver, plan, self);
    self->node_count = plan->nodes;
    self->direct_end = config->direct_end;
    self->reserve_reclaim = config->reserve_reclaim;
    self->reserve_exit = config->reserve_exit;
    if (TSL_FRAME_HOTPLUG)
        tsl_lock_init(&self->absent.lock, TSL_RANK_FRAMES);
    self->metadata_start = plan->hole_start;
    self->metadata_frames = (tsl_word)((plan->hole_end - plan->hole_start) >> TSL_PAGE_SHIFT);
    self->ignored = plan->ignored < WORD_FULL ? (tsl_word)plan->ignored : WORD_FULL;
    fill_slots(self);
    for (unsigned node = 0; node < plan->nodes; node++) {
        fill_spans(self, plan, node);
        fill_zones(self, node);
    }
    self->hot = &self->cpus[0].slot[self->node[0].top_zone];
    set_hot_range(self);
    tsl_frames_set_watched(self);
    fill_areas(self);
    for (unsigned zone = 0; zone < zone_count(self); zone++)
        self->zone[zone].free = self->zone[zone].total;
    set_low_limit(self, config->reach_end);
    tsl_frames_lowmem_init(self, config);
    if (TSL_NODES > 1) {
        self->numa->split_areas = plan->split_areas;
        tsl_frames_numa_init(self, config->nodes);
    }
    if (TSL_FRAME_CLAIMS) {
        self->hook = (struct tsl_cpu_hook){.leave = tsl_frames_drain_cpu, .context = self};
        tsl_cpu_hook_add(&self->hook);
    }
    self->magic = FRAMES_MAGIC;
}

/* Ranges above ram_end, or that the metadata alone lies in, are not managed. */
static void take_early(struct tsl_frames *self, tsl_paddr start, tsl_paddr end, bool may_be_taken)
{
    if (start >= end)
        return;
    enum tsl_status status = tsl_frames_take_window(self, start, end - start);
    TSL_ASSERT(status == TSL_OK || status == TSL_NOT_FOUND || (may_be_taken && status == TSL_BUSY));
}

/* What was handed out early is used, and the early stage is over. The first and the last frame of a
 * piece may be another piece's, too. */
static void take_over(struct tsl_frames *self, struct tsl_early *early)
{
    for (unsigned i = 0; i < early->piece_count; i++) {
        tsl_paddr first = tsl_align_down_paddr(early->pieces[i].start, TSL_PAGE_BYTES);
        tsl_paddr last = tsl_align_down_paddr(early->pieces[i].end - 1, TSL_PAGE_BYTES);
        take_early(self, first, first + 1, true);
        take_early(self, first + TSL_PAGE_BYTES, last, false);
        if (last != first)
            take_early(self, last, last + 1, true);
    }
    tsl_early_seal(early);
    tsl_pin pin = tsl_cpu_pin();
    tsl_frames_note_peak(self);
    tsl_cpu_unpin(pin);
}

static void report_ignored(const struct plan *plan)
{
    char text[16];
    if (plan->ignored > 0) {
        tsl_say(TSL_LOG_WARNING, "frames: %s of RAM from %#llx on cannot be used and is ignored",
                tsl_format_bytes(text, sizeof(text), plan->ignored << TSL_PAGE_SHIFT),
                (unsigned long long)plan->ram_end);
    }
    if (plan->split_areas > 0) {
        tsl_say(TSL_LOG_WARNING,
                "frames: %lu times 2 MiB belong to two nodes and count as the lower one's",
                (unsigned long)plan->split_areas);
    }
}

/* Absent RAM lies in usable ranges that can be named, is whole pages, and nobody's. */
static bool absent_is_good(const struct tsl_frames_config *config, size_t i)
{
    const struct tsl_memory_range *range = &config->absent[i];
    const struct tsl_memory_range *around = tsl_map_at(config->map, range->start);
    bool is_good = around != NULL && around->type == TSL_MEMORY_USABLE && range->start != 0 &&
                   range->start < range->end && range->end <= around->end &&
                   (range->start | range->end) % TSL_PAGE_BYTES == 0 && i < FRAMES_MOST_ABSENT &&
                   (config->ram_end == 0 || range->end <= config->ram_end);
    for (size_t k = 0; k < i; k++)
        is_good = is_good &&
                  (config->absent[k].end <= range->start || range->end <= config->absent[k].start);
    for (unsigned k = 0; config->early != NULL && k < config->early->piece_count; k++)
        is_good = is_good && (config->early->pieces[k].end <= range->start ||
                              range->end <= config->early->pieces[k].start);
    return is_good;
}

static enum tsl_status check_absent(const struct tsl_frames_config *config)
{
    for (size_t i = 0; i < config->absent_count; i++) {
        if (!absent_is_good(config, i)) {
            return tsl_refuse(NULL, TSL_INVALID,
                              "frames: absent RAM at %#llx is not usable, or not apart from others",
                              (unsigned long long)config->absent[i].start);
        }
    }
    return TSL_OK;
}

static enum tsl_status check_config(const struct tsl_frames_config *config)
{
    if (config->map == NULL || config->reach_end == 0)
        return tsl_refuse(NULL, TSL_INVALID, "frames: no memory map, or no reach_end");
    if (config->descriptors && !TSL_FRAME_DESCRIPTORS)
        return tsl_refuse(NULL, TSL_UNSUPPORTED, "frames: no descriptors compiled in");
    if (config->early != NULL && (config->early->map != config->map || config->early->is_sealed))
        return tsl_refuse(NULL, TSL_INVALID, "frames: early memory of another map, or taken over");
    struct tsl_defect defect = tsl_map_verify(config->map);
    if (config->absent_count > 0 && !TSL_FRAME_HOTPLUG)
        return tsl_refuse(NULL, TSL_UNSUPPORTED, "frames: no absent RAM without TSL_FRAME_HOTPLUG");
    if (defect.rule != 0) {
        return tsl_refuse(NULL, TSL_INVALID, "frames: the map is not in order (%s)",
                          defect.sentence);
    }
    if (TSL_NODES > 1 && config->nodes != NULL)
        defect = tsl_nodes_verify(config->nodes);
    if (defect.rule != 0) {
        return tsl_refuse(NULL, TSL_INVALID, "frames: the nodes are not in order (%s)",
                          defect.sentence);
    }
    return check_absent(config);
}

/* Before: check_absent() had nothing against it, and nobody has been given a frame. */
static void remove_absent(struct tsl_frames *self, const struct tsl_memory_range *range)
{
    TSL_ASSERT(tsl_frames_remove_range(self, range->start, range->end - range->start, false) ==
               TSL_OK);
}

enum tsl_status tsl_frames_create(const struct tsl_frames_config *config, struct tsl_frames **out)
{
    enum tsl_status status = check_config(config);
    if (status != TSL_OK)
        return status;
    struct plan plan = {.config = config, .ram_end = TSL_MAP_TOP, .nodes = 1};
    if (TSL_NODES > 1 && config->nodes != NULL && config->nodes->node_count > 1)
        plan.nodes = config->nodes->node_count;
    if (config->ram_end != 0 && config->ram_end < plan.ram_end)
        plan.ram_end = tsl_align_down_paddr(config->ram_end, TSL_PAGE_BYTES);
    survey(&plan);
    report_ignored(&plan);
    if (plan.frames == 0)
        return tsl_refuse(NULL, TSL_NO_MEMORY, "frames: the map has no usable frame");
    size_t bytes = 0;
    if (!measure_metadata(&plan, &bytes)) {
        return tsl_refuse(NULL, TSL_NO_MEMORY,
                          "frames: metadata of %llu frames does not fit a word",
                          (unsigned long long)plan.frames);
    }
    if (plan.frames <= bytes / TSL_PAGE_BYTES)
        return tsl_refuse(NULL, TSL_NO_MEMORY, "frames: the metadata leaves no frame");
    if (!place_metadata(&plan, bytes)) {
        return tsl_refuse(NULL, TSL_NO_MEMORY,
                          "frames: no room for %lu bytes of metadata below %#llx",
                          (unsigned long)bytes, (unsigned long long)config->reach_end);
    }
    struct tsl_frames *self = tsl_port_phys_to_virt(plan.hole_start);
    if (self == NULL) {
        return tsl_refuse(NULL, TSL_INVALID, "frames: %#llx is below reach_end but not reachable",
                          (unsigned long long)plan.hole_start);
    }
    __builtin_memset(self, 0, bytes);
    build(self, &plan);
    if (config->early != NULL)
        take_over(self, config->early);
    for (size_t i = 0; TSL_FRAME_HOTPLUG && i < config->absent_count; i++)
        remove_absent(self, &config->absent[i]);
    *out = self;
    return TSL_OK;
}

void tsl_frames_extend_reach(struct tsl_frames *self, tsl_paddr end)
{
    set_low_limit(self, end);
}

void tsl_frames_limit_reach(struct tsl_frames *self, tsl_paddr end)
{
    for (unsigned node = 0; node < node_count(self); node++) {
        tsl_word limit = low_limit_of(self, node, end);
        if (limit < tsl_atomic_load(&self->node[node].low_limit))
            tsl_atomic_store(&self->node[node].low_limit, limit);
    }
    note_special_flags(self);
}

enum tsl_status tsl_frames_destroy(struct tsl_frames *self)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(self, &stats);
    if (FRAMES_GUARDED)
        stats.used -= tsl_atomic_load(&self->guard->kept); /* nobody can give them back */
    if (stats.used != 0) {
        return tsl_refuse(&self->refusals, TSL_BUSY, "frames: %lu frames are still allocated",
                          (unsigned long)stats.used);
    }
    tsl_frames_abandon(self);
    return TSL_OK;
}

void tsl_frames_abandon(struct tsl_frames *self)
{
    TSL_ASSERT(self->magic == FRAMES_MAGIC);
    if (TSL_FRAME_CLAIMS)
        tsl_cpu_hook_remove(&self->hook);
    self->magic = 0;
}
