/* SPDX-License-Identifier: MIT
 *
 * frames_flat_create.c: from a memory map to flat bitmaps, and their end.
 *
 * Owns:    the size and the place of the metadata, the zone limits.
 * Needs:   kernel_layout (the map), early.c (to find a place), the port's phys_to_virt.
 * Callers: the public tsl_frames_create, _extend_reach, _limit_reach, _destroy,
 *          _abandon.
 */
#include "frames_flat.h"

#include <string.h>

#define DMA_END    ((tsl_paddr)16 << 20)
#define DMA32_END  ((tsl_paddr)4 << 30)
#define HUGE_BYTES ((tsl_paddr)TSL_FRAMES_PER_AREA << TSL_PAGE_SHIFT)

/* What is known of the allocator before it exists. */
struct plan {
    const struct tsl_frames_config *config;
    tsl_paddr ram_end;
    tsl_word end; /* behind the last usable frame */
    uint64_t frames;
    uint64_t ignored;
    size_t map_bytes; /* of one bitmap */
    size_t bytes;
};

static size_t bitmap_bytes(tsl_word bits)
{
    return (bits + TSL_WORD_BITS - 1) / TSL_WORD_BITS * sizeof(tsl_word);
}

/* The usable frames of a range below ram_end, without frame 0; false: none. */
static bool frames_of(const struct plan *plan, const struct tsl_memory_range *range,
                      tsl_word *first, tsl_word *end)
{
    tsl_paddr start = range->start < TSL_PAGE_BYTES ? TSL_PAGE_BYTES : range->start;
    tsl_paddr stop = range->end < plan->ram_end ? range->end : plan->ram_end;

    *first = (tsl_word)(start >> TSL_PAGE_SHIFT);
    *end = (tsl_word)(stop >> TSL_PAGE_SHIFT);
    return range->type == TSL_MEMORY_USABLE && start < stop;
}

static void survey(struct plan *plan)
{
    const struct tsl_memory_map *map = plan->config->map;
    tsl_word first, end;

    for (const struct tsl_memory_range *range = map->ranges; range < map->ranges + map->count;
         range++) {
        if (frames_of(plan, range, &first, &end)) {
            plan->frames += end - first;
            plan->end = end;
        }
        if (range->type == TSL_MEMORY_USABLE && range->end > plan->ram_end) {
            tsl_paddr from = range->start > plan->ram_end ? range->start : plan->ram_end;
            plan->ignored += (range->end - from) >> TSL_PAGE_SHIFT;
        }
    }
    plan->map_bytes = bitmap_bytes(plan->end);
    plan->bytes = sizeof(struct tsl_frames) + 2 * plan->map_bytes +
                  bitmap_bytes(plan->end / TSL_FRAMES_PER_AREA + 1);
    plan->bytes = tsl_align_up(plan->bytes, TSL_PAGE_BYTES);
}

static enum tsl_status check_config(const struct tsl_frames_config *config)
{
    if (config->map == NULL || config->reach_end == 0)
        return tsl_refuse(NULL, TSL_INVALID, "frames: no memory map, or no reach_end");
    if (config->descriptors || config->absent_count > 0)
        return tsl_refuse(NULL, TSL_UNSUPPORTED,
                          "frames: no descriptors or absent RAM in this core");
    if (config->early != NULL && (config->early->map != config->map || config->early->is_sealed))
        return tsl_refuse(NULL, TSL_INVALID, "frames: early memory of another map, or taken over");
    struct tsl_defect defect = tsl_map_verify(config->map);
    if (defect.rule != 0) {
        return tsl_refuse(NULL, TSL_INVALID, "frames: the map is not in order (%s)",
                          defect.sentence);
    }
    return TSL_OK;
}

static void fill_bits(struct tsl_frames *self, const struct plan *plan)
{
    const struct tsl_memory_map *map = plan->config->map;
    tsl_word first, end, own = (tsl_word)(self->metadata_start >> TSL_PAGE_SHIFT);

    for (size_t i = 0; i < map->count; i++)
        if (frames_of(plan, &map->ranges[i], &first, &end))
            tsl_bits_set_range(self->managed, first, end - first);
    tsl_bits_clear_range(self->managed, own, self->metadata_frames);
    memcpy(self->free, self->managed, plan->map_bytes);
    self->total = tsl_bits_count_range(self->managed, 0, self->end);
    self->free_count = self->total;
}

/* A zone ends where the next one begins; it has RAM from its first managed frame to its last
 * one. */
static void fill_zones(struct tsl_frames *self, const struct tsl_frames_config *config)
{
    tsl_paddr direct = config->direct_end == 0
                           ? TSL_MAP_TOP
                           : tsl_align_down_paddr(config->direct_end, HUGE_BYTES);
    const tsl_paddr ends[TSL_ZONE_COUNT] = {DMA_END, TSL_WORD_BITS == 64 ? DMA32_END : 0, direct,
                                            TSL_MAP_TOP};
    tsl_word from = 0;

    for (unsigned i = 0; i < TSL_ZONE_COUNT; i++) {
        struct flat_zone *zone = &self->zone[i];
        tsl_paddr stop = i < TSL_ZONE_HIGHMEM && ends[i] > direct ? direct : ends[i];
        tsl_word end =
            stop >> TSL_PAGE_SHIFT < self->end ? (tsl_word)(stop >> TSL_PAGE_SHIFT) : self->end;
        if (end <= from)
            continue;
        zone->total = tsl_bits_count_range(self->managed, from, end - from);
        zone->free = zone->total;
        zone->reserve = config->lowmem_reserve[i];
        if (zone->total > 0) {
            zone->first = tsl_bits_find_set(self->managed, end, from);
            zone->lowest = zone->first;
            zone->end = end;
            while (!tsl_bits_test(self->managed, zone->end - 1))
                zone->end--;
        }
        from = end;
    }
    self->direct_end = (tsl_word)(direct >> TSL_PAGE_SHIFT);
}

static void build(struct tsl_frames *self, const struct plan *plan, tsl_paddr start)
{
    const struct tsl_frames_config *config = plan->config;
    char *bits = (char *)(self + 1);

    memset(self, 0, plan->bytes);
    tsl_lock_init(&self->lock, TSL_RANK_FRAMES);
    self->managed = (tsl_word *)(void *)bits;
    self->free = (tsl_word *)(void *)(bits + plan->map_bytes);
    self->huge = (tsl_word *)(void *)(bits + 2 * plan->map_bytes);
    self->end = plan->end;
    self->reserves[0] = config->reserve_exit;
    self->reserves[1] = config->reserve_reclaim;
    self->metadata_start = start;
    self->metadata_frames = plan->bytes / TSL_PAGE_BYTES;
    self->ignored = (tsl_word)plan->ignored;
    fill_bits(self, plan);
    fill_zones(self, config);
    tsl_frames_extend_reach(self, config->reach_end);
    self->magic = FLAT_MAGIC;
}

enum tsl_status tsl_frames_create(const struct tsl_frames_config *config, struct tsl_frames **out)
{
    enum tsl_status status = check_config(config);
    if (status != TSL_OK)
        return status;
    struct plan plan = {.config = config, .ram_end = TSL_MAP_TOP};
    if (config->ram_end != 0 && config->ram_end < plan.ram_end)
        plan.ram_end = tsl_align_down_paddr(config->ram_end, TSL_PAGE_BYTES);
    survey(&plan);
    if (plan.ignored > 0) {
        tsl_say(TSL_LOG_WARNING, "frames: %llu frames from %#llx on cannot be used and are ignored",
                (unsigned long long)plan.ignored, (unsigned long long)plan.ram_end);
    }
    struct tsl_early none;
    tsl_early_init(&none, config->map);
    tsl_paddr limit = config->reach_end < plan.ram_end ? config->reach_end : plan.ram_end;
    tsl_paddr start = plan.frames <= plan.bytes / TSL_PAGE_BYTES
                          ? 0
                          : tsl_early_place(config->early != NULL ? config->early : &none,
                                            plan.bytes, TSL_PAGE_BYTES, limit);
    if (start == 0) {
        return tsl_refuse(NULL, TSL_NO_MEMORY,
                          "frames: no room for %lu bytes of metadata below %#llx",
                          (unsigned long)plan.bytes, (unsigned long long)limit);
    }
    struct tsl_frames *self = tsl_port_phys_to_virt(start);
    if (self == NULL) {
        return tsl_refuse(NULL, TSL_INVALID, "frames: %#llx is below reach_end but not reachable",
                          (unsigned long long)start);
    }
    build(self, &plan, start);
    for (unsigned i = 0; config->early != NULL && i < config->early->piece_count; i++)
        tsl_flat_reserve_free(self, config->early->pieces[i].start, config->early->pieces[i].end);
    if (config->early != NULL)
        tsl_early_seal(config->early);
    *out = self;
    return TSL_OK;
}

/* The number of the frame at an address, or of the first one that the direct map never shows. */
static tsl_word reach_of(const struct tsl_frames *self, tsl_paddr end)
{
    tsl_paddr frames = end >> TSL_PAGE_SHIFT;

    return frames < self->direct_end ? (tsl_word)frames : self->direct_end;
}

void tsl_frames_extend_reach(struct tsl_frames *self, tsl_paddr end)
{
    tsl_word frames = reach_of(self, end);
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    if (frames > self->low_end)
        self->low_end = frames;
    tsl_lock_release(&self->lock, pin);
}

void tsl_frames_limit_reach(struct tsl_frames *self, tsl_paddr end)
{
    tsl_word frames = reach_of(self, end);
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    if (frames < self->low_end)
        self->low_end = frames;
    tsl_lock_release(&self->lock, pin);
}

enum tsl_status tsl_frames_destroy(struct tsl_frames *self)
{
    if (self->free_count != self->total) {
        return tsl_refuse(&self->refusals, TSL_BUSY, "frames: %lu frames are still allocated",
                          (unsigned long)(self->total - self->free_count));
    }
    tsl_frames_abandon(self);
    return TSL_OK;
}

void tsl_frames_abandon(struct tsl_frames *self)
{
    self->magic = 0;
}
