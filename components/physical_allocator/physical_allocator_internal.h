/* SPDX-License-Identifier: MIT
 *
 * physical_allocator_internal.h: the layout of the allocator's metadata and the steps on it.
 *
 * Owns:    struct tsl_frames, its spans, areas, search trees and per-CPU slots.
 * Needs:   base (bits, atomics, port), the public header.
 * Callers: the .c files of this component and its break test; nobody else.
 *
 * All frames of all spans are counted through as one row of *indexes*: area 0 has indexes 0..511,
 * and so on; areas without usable RAM have no place in the row. A frame's index is its number minus
 * the `shift` of its span. Shared words change by compare-and-swap only, so that a word never shows
 * a state between two; with one CPU, pinning alone is enough and the same steps are plain.
 */
#ifndef TSL_PHYSICAL_ALLOCATOR_INTERNAL_H
#define TSL_PHYSICAL_ALLOCATOR_INTERNAL_H

#include <tesela/atomic.h>
#include <tesela/bits.h>
#include <tesela/config.h>
#include <tesela/frame_descriptor.h>
#include <tesela/frames_banks.h>
#include <tesela/frames_pressure.h>
#include <tesela/lock.h>
#include <tesela/physical_allocator.h>
#include <tesela/port.h>

#define FRAMES_MAGIC ((tsl_word)0x54736c46u) /* "TslF" */
#define FRAMES_NONE  (~(tsl_word)0)          /* no area, no index */
#define AREA_FRAMES  ((tsl_word)TSL_FRAMES_PER_AREA)
#define AREA_WORDS   (TSL_FRAMES_PER_AREA / TSL_WORD_BITS)
#define WORD_FULL    (~(tsl_word)0)

/*
 * An area with fewer free frames than this is not looked at for single frames as long as others
 * have more. Few: areas fill up and empty ones stay empty; many: fewer searches. 16 loses about one
 * empty area in 64 against ideal best fit.
 */
#define ROOMY_FRAMES 16u

/*
 * A CPU notes changes of its present area's count for itself and writes them out when they reach
 * this. The area's count is therefore off by less than this a CPU; its bits are always exact.
 */
#define SLOT_BATCH 16u

/*
 * An area's entry, 16 bits, two in a 32-bit word. The count is stored with a bias so that it cannot
 * borrow into its neighbour while some CPU's changes are still to come.
 */
#define ENTRY_HUGE       0x8000u /* taken whole; its bits in the bitmap stay 1 */
#define ENTRY_CLAIMED    0x4000u /* a CPU's present area; others prefer to look elsewhere */
#define ENTRY_COUNT_MASK 0x3fffu
#define ENTRY_BIAS       8192

_Static_assert(TSL_CPUS * 16 + 512 < ENTRY_BIAS, "counts must stay positive with all CPUs' changes "
                                                 "outstanding");
_Static_assert(TSL_FRAMES_PER_AREA % (8 * sizeof(tsl_word)) == 0, "an area is whole words");

/* Levels of a search tree: with 32-bit words 2^23 areas (2^32 frames) need five. */
#define TREE_LEVELS 5u

/*
 * A set of areas, as a tree of words: a bit is 1 if the word below it is not 0. Members may be out
 * of date in one direction only: an area that must be found is in the set. Who finds one that does
 * not belong there any more removes it, and looks again.
 */
struct area_tree {
    tsl_word *level[TREE_LEVELS]; /* level[0]: one bit an area */
    tsl_word bits[TREE_LEVELS];
    unsigned levels;
};

/* A run of usable frames: numbers first .. end - 1. */
struct frames_span {
    tsl_word first;
    tsl_word end;
    tsl_word shift; /* number - index, a multiple of 512 */
};

/* Zones of a node are neighbours, in the order of enum tsl_frames_zone; then come the next node's. */
#define FRAMES_ZONES (TSL_NODES * TSL_ZONE_COUNT)

/* Where a CPU takes single frames of one zone at present. Written by that CPU alone, pinned. */
struct frames_slot {
    tsl_word area;       /* FRAMES_NONE: none */
    tsl_word number;     /* of that area's first frame */
    tsl_word *words;     /* of that area; a word that is 0 if there is none */
    uint32_t word;       /* words of the area before this one were empty */
    uint32_t area_delta; /* frames freed minus taken there, not yet in its entry (signed) */
    uint32_t zone_delta; /* the same for other areas, not yet in the zone's count (signed) */
};

/* With several nodes only the slots of nodes that there are have storage: see this_cpu(). */
struct frames_cpu {
    struct frames_slot slot[FRAMES_ZONES];
} TSL_ALIGNED(64);

_Static_assert(sizeof(struct frames_cpu) <= 256 * TSL_NODES, "256 bytes a CPU and node are "
                                                             "promised");

/* Zones are neighbours in the row of areas; an empty zone begins where it ends. */
struct frames_zone {
    tsl_word first_area;
    tsl_word end_area;
    tsl_word total; /* frames */
    tsl_word free;  /* without what the CPUs' slots still hold; atomic */
    tsl_word kept;  /* free frames that only requests without a higher zone may have */
};

/* Watermarks: frames_pressure.c. */
struct frames_marks {
    tsl_word min, low, high; /* frames */
    void (*crossed)(void *context, enum tsl_frames_level level);
    void *context;
    uint32_t level; /* enum tsl_frames_level; atomic */
};

/* Memory that is equally far from every CPU: a stretch of the row, a stretch of the spans. */
struct frames_node {
    tsl_word first_area;
    tsl_word end_area;
    tsl_word first_span;
    tsl_word end_span;
    tsl_word dma_limit;   /* area of this node from which on a frame may lie above 16 MiB */
    tsl_word dma32_limit; /* and above 4 GiB */
    tsl_word low_limit;   /* and out of reach of phys_to_virt; atomic */
    unsigned top_zone;    /* the highest that has areas; of the nearest node if this one has none */
};

/* What only several nodes need; one entry of each without them. */
struct frames_numa {
    uint8_t order[TSL_NODES][FRAMES_ZONES]; /* zones in which a node's CPUs look, best first */
    uint8_t distance[TSL_NODES][TSL_NODES];
    uint32_t
        home[TSL_NODES == 1 ? 1 : TSL_CPUS]; /* where it looks first: zone << 8 | node; atomic */
    tsl_word elsewhere[TSL_NODES];           /* searches that had to end on another node; atomic */
    tsl_word turn;                           /* interleaving: whose turn it is; atomic */
    tsl_word split_areas;
    uint32_t policy; /* flags for requests that name no node themselves; atomic */
};

/* What is to be looked at before a request without flags may have a frame. */
enum frames_rule {
    FRAMES_RULE_RESERVE = 1 << 0,  /* frames are kept for RECLAIM and EXIT */
    FRAMES_RULE_POLICY = 1 << 1,   /* another policy than LOCAL */
    FRAMES_RULE_LOWMEM = 1 << 2,   /* a zone in which some CPU looks first keeps frames back */
    FRAMES_RULE_PRESSURE = 1 << 3, /* below a watermark: every change is looked at */
};

/* Banks of RAM that can be switched off: frames_banks.c. */
struct frames_banks {
    struct tsl_lock lock; /* held while one is switched */
    tsl_paddr bytes;      /* of each; 0: none */
    tsl_paddr first;      /* where bank 0 begins */
    unsigned count;
    uint32_t off; /* one bit a bank; atomic */
    struct tsl_frames_bank_switch hardware;
};

struct tsl_frames {
    tsl_word magic;
    tsl_word *words;                          /* AREA_WORDS an area; 1 = free */
    uint32_t *entries;                        /* two areas a word */
    struct tsl_frame_descriptor *descriptors; /* by index; NULL: none */
    tsl_word area_count;
    struct frames_span *spans; /* by address */
    tsl_word span_count;
    tsl_word main_span;      /* the largest: looked at first */
    struct frames_span main; /* a copy of it, at hand */
    tsl_word nothing;        /* always 0: what a slot without an area points at */
    struct area_tree any;    /* areas with a free frame that are not huge */
    struct area_tree roomy;  /* areas with ROOMY_FRAMES or more */
    struct area_tree whole;  /* areas with all 512 */
    struct frames_zone zone[FRAMES_ZONES];
    struct frames_node node[TSL_NODES];
    unsigned node_count;
    struct frames_numa *numa; /* NULL when TSL_NODES is 1 */
    struct frames_cpu *cpus;  /* one every cpu_stride() bytes */
    tsl_paddr direct_end;
    tsl_word rules; /* enum frames_rule; if any, requests without flags take the long way; atomic */
    struct frames_marks marks;
    struct frames_banks banks;
    tsl_word reserve_reclaim;
    tsl_word reserve_exit;
    tsl_paddr metadata_start;
    tsl_word metadata_frames;
    tsl_word ignored;
    tsl_word peak; /* atomic, here and below */
    tsl_word reserved;
    tsl_word failures[TSL_FRAMES_MAX_ORDER + 1];
    tsl_word run_failures;
    struct tsl_refusals refusals;
};

/* ---- Steps on shared words. Before: pinned when TSL_CPUS is 1. ---- */

static inline bool word_swap(tsl_word *place, tsl_word *expected, tsl_word desired)
{
    if (TSL_CPUS == 1) {
        tsl_atomic_store(place, desired);
        return true;
    }
    return tsl_atomic_compare_exchange(place, expected, desired);
}

static inline void word_or(tsl_word *place, tsl_word mask)
{
    if (TSL_CPUS == 1)
        tsl_atomic_store(place, tsl_atomic_load(place) | mask);
    else
        (void)tsl_atomic_or(place, mask);
}

static inline void word_and(tsl_word *place, tsl_word mask)
{
    if (TSL_CPUS == 1)
        tsl_atomic_store(place, tsl_atomic_load(place) & mask);
    else
        (void)tsl_atomic_and(place, mask);
}

/* Returns the new value. */
static inline tsl_word word_add(tsl_word *place, tsl_word value)
{
    if (TSL_CPUS == 1) {
        tsl_word sum = tsl_atomic_load(place) + value;
        tsl_atomic_store(place, sum);
        return sum;
    }
    return tsl_atomic_add(place, value) + value;
}

/* ---- Places ---- */

static inline tsl_word *area_words(const struct tsl_frames *self, tsl_word area)
{
    return self->words + area * AREA_WORDS;
}

static inline unsigned entry_shift(tsl_word area)
{
    return (unsigned)(area % 2) * 16;
}

static inline unsigned entry_load(const struct tsl_frames *self, tsl_word area)
{
    return (tsl_atomic_load_u32(&self->entries[area / 2]) >> entry_shift(area)) & 0xffffu;
}

/* Free frames by the entry; may be off by what the slots hold. */
static inline int entry_count(unsigned entry)
{
    return (int)(entry & ENTRY_COUNT_MASK) - ENTRY_BIAS;
}

static inline bool tree_has(const struct area_tree *tree, tsl_word area)
{
    return tsl_atomic_load(&tree->level[0][area / TSL_WORD_BITS]) >> (area % TSL_WORD_BITS) & 1;
}

static inline unsigned node_count(const struct tsl_frames *self)
{
    return TSL_NODES == 1 ? 1 : self->node_count;
}

static inline unsigned zone_count(const struct tsl_frames *self)
{
    return node_count(self) * TSL_ZONE_COUNT;
}

static inline unsigned zone_of(const struct tsl_frames *self, tsl_word area)
{
    unsigned zone = zone_count(self) - 1;
    while (area < self->zone[zone].first_area)
        zone--;
    return zone;
}

static inline unsigned zone_node(unsigned zone)
{
    return TSL_NODES == 1 ? 0 : zone / TSL_ZONE_COUNT;
}

static inline size_t cpu_stride(unsigned nodes)
{
    size_t bytes = nodes * TSL_ZONE_COUNT * sizeof(struct frames_slot);
    return TSL_NODES == 1 ? sizeof(struct frames_cpu) : (bytes + 63) & ~(size_t)63;
}

static inline struct frames_cpu *frames_cpu_at(const struct tsl_frames *self, unsigned cpu)
{
    if (TSL_NODES == 1)
        return &self->cpus[cpu];
    return (struct frames_cpu *)(void *)((char *)self->cpus + cpu * cpu_stride(self->node_count));
}

static inline struct frames_cpu *this_cpu(struct tsl_frames *self)
{
    return frames_cpu_at(self, TSL_CPUS == 1 ? 0 : tsl_port_cpu_id());
}

/* The zone in which this CPU looks first. Before: pinned. */
static inline unsigned own_top_zone(const struct tsl_frames *self)
{
    if (TSL_NODES == 1)
        return self->node[0].top_zone;
    return tsl_atomic_load_u32(&self->numa->home[TSL_CPUS == 1 ? 0 : tsl_port_cpu_id()]) >> 8;
}

/* Whether what a slot holds back is to be written out. */
static inline bool slot_reached_batch(uint32_t delta)
{
    return delta + (SLOT_BATCH - 1) > 2 * (SLOT_BATCH - 1);
}

/* ---- frames_tree.c ---- */

void tsl_frames_tree_add(struct area_tree *tree, tsl_word area);
void tsl_frames_tree_remove(struct area_tree *tree, tsl_word area);
/* The lowest member in [from, end), FRAMES_NONE if there is none. Cost: O(levels). */
tsl_word tsl_frames_tree_find(const struct area_tree *tree, tsl_word from, tsl_word end);

/* ---- frames_place.c: spans, limits ---- */

/* The span with this frame, NULL if it is not managed. */
const struct frames_span *tsl_frames_span_of(const struct tsl_frames *self, tsl_word number);
/* The shift of an area. Before: area < area_count. */
tsl_word tsl_frames_shift_of(const struct tsl_frames *self, tsl_word area);
/* The first area of a node with a managed frame at or above `number`. */
tsl_word tsl_frames_area_limit(const struct tsl_frames *self, unsigned node, tsl_word number);
/* The first area of a node that the flags do not admit. */
tsl_word tsl_frames_flag_limit(const struct tsl_frames *self, unsigned node, unsigned flags);
enum tsl_status tsl_frames_check_flags(struct tsl_frames *self, unsigned flags);
/* Whether the reserves leave `count` frames for a request with these flags. */
bool tsl_frames_reserve_allows(struct tsl_frames *self, tsl_word count, unsigned flags);
void tsl_frames_fill_zero(struct tsl_frame first, tsl_word count);

/* ---- frames_pressure.c: watermarks, and what low zones keep back ---- */

/* Looks whether a watermark has been crossed and tells the kernel. Before: nothing half done, not
 * pinned by us. */
void tsl_frames_watch_slowly(struct tsl_frames *self);
/* After a change that was not on the short way. */
static inline void frames_watch(struct tsl_frames *self)
{
    if (TSL_FRAME_WATERMARKS)
        tsl_frames_watch_slowly(self);
}
/* After a free, which is on the short way: only while memory is short. */
static inline void frames_watch_free(struct tsl_frames *self)
{
    if (TSL_FRAME_WATERMARKS &&
        TSL_UNLIKELY((tsl_atomic_load(&self->rules) & FRAMES_RULE_PRESSURE) != 0))
        tsl_frames_watch_slowly(self);
}
/* Adds or removes a rule. */
void tsl_frames_set_rule(struct tsl_frames *self, enum frames_rule rule, bool holds);
/* Divides what the configuration keeps of each zone among the nodes. */
void tsl_frames_lowmem_init(struct tsl_frames *self, const struct tsl_frames_config *config);
/* Whether the flags admit RAM of a higher kind than this zone's, on any node. */
bool tsl_frames_has_higher_zone(const struct tsl_frames *self, unsigned zone, unsigned flags);
/* Whether a zone has `count` frames for a request that might go to a higher zone instead. */
bool tsl_frames_zone_allows(struct tsl_frames *self, unsigned zone, tsl_word count, unsigned flags);
/* Free frames of one zone, as of _free_count. */
tsl_word tsl_frames_zone_free(const struct tsl_frames *self, unsigned zone);

/* ---- frames_node.c: which zones a request looks in, and in which order ---- */

/* From where a request looks; only there, if it is bound. */
struct frames_route {
    unsigned node;
    bool is_bound;
};

/* Not called when TSL_NODES is 1. Before: pinned, flags checked. */
struct frames_route tsl_frames_route(struct tsl_frames *self, unsigned flags);
/* Fills in who is near whom, after spans and zones are known. nodes: NULL, or what was given. */
void tsl_frames_numa_init(struct tsl_frames *self, const struct tsl_memory_nodes *nodes);
/* Refuses nodes that do not exist and policies that contradict each other. */
enum tsl_status tsl_frames_check_nodes(struct tsl_frames *self, unsigned flags);
/* A request that wanted `node` ended on another. */
void tsl_frames_count_elsewhere(struct tsl_frames *self, unsigned node);

static inline struct frames_route route_of(struct tsl_frames *self, unsigned flags)
{
    if (TSL_NODES > 1)
        return tsl_frames_route(self, flags);
    return (struct frames_route){0, false};
}

/* The zone to look in after `step` others. Before: step < zone_count. */
static inline unsigned route_zone(const struct tsl_frames *self, const struct frames_route *route,
                                  unsigned step)
{
    if (TSL_NODES > 1)
        return self->numa->order[route->node][step];
    return TSL_ZONE_COUNT - 1 - step;
}

/* ---- early.c ---- */

/* The highest place for so many bytes that nobody has been given; 0 if there is none. */
tsl_paddr tsl_early_place(const struct tsl_early *self, uint64_t bytes, uint64_t align,
                          tsl_paddr limit);

/* ---- frames_run.c ---- */

/* tsl_frames_reserve() and _release() for ourselves: that it cannot be done is nobody's mistake, and
 * no watermark is looked at. */
enum tsl_status tsl_frames_take_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes);
enum tsl_status tsl_frames_give_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes);

/* ---- frames_banks.c; not called without TSL_FRAME_BANKS ---- */

/* Switches a bank on, if one is off, so that a request that found nothing may try again. */
bool tsl_frames_bank_wake(struct tsl_frames *self);
/* Rule 13; see the README. */
struct tsl_defect tsl_frames_banks_verify(const struct tsl_frames *self);

/* ---- frames_area.c: all that changes an area. Before: pinned. ---- */

/* Books `change` free frames more (or fewer) in an area to the entry or slot, and to the zone. */
void tsl_frames_account(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area, int change);
/* Writes out what a slot holds back for its present area; returns that area's entry. */
unsigned tsl_frames_slot_flush(struct tsl_frames *self, unsigned zone, struct frames_slot *slot);

/* tsl_frames_account for the slot's present area. */
static inline void slot_account(struct tsl_frames *self, unsigned zone, struct frames_slot *slot,
                                int change)
{
    uint32_t delta = slot->area_delta + (uint32_t)change;
    tsl_atomic_store_u32(&slot->area_delta, delta);
    if (TSL_UNLIKELY(slot_reached_batch(delta)))
        (void)tsl_frames_slot_flush(self, zone, slot);
}

/* Adds to an entry; returns it afterwards. */
unsigned tsl_frames_entry_add(struct tsl_frames *self, tsl_word area, int change);
/* Puts an area into the trees it must be in, by its present state. */
void tsl_frames_publish(struct tsl_frames *self, tsl_word area);
/* Removes an area from a tree, unless it belongs there after all. */
void tsl_frames_withdraw(struct tsl_frames *self, struct area_tree *tree, tsl_word area);
/* A slot ends its present area, or takes another. */
void tsl_frames_slot_leave(struct tsl_frames *self, unsigned zone, struct frames_slot *slot);
void tsl_frames_slot_enter(struct tsl_frames *self, struct frames_slot *slot, tsl_word area);
bool tsl_frames_area_is_full_free(const struct tsl_frames *self, tsl_word area);
bool tsl_frames_area_has_free(const struct tsl_frames *self, tsl_word area);
/* A whole area becomes one huge block; false if it is not wholly free. Booked. */
bool tsl_frames_huge_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area);
/* The reverse; false if it is not huge. Booked. */
bool tsl_frames_huge_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area);
/* A huge block becomes 512 allocated frames; false if it is not huge. */
bool tsl_frames_huge_split(struct tsl_frames *self, tsl_word area);
/* Takes exactly these bits of one word, all or none; false also if the area is huge. Not booked. */
bool tsl_frames_bits_take(struct tsl_frames *self, tsl_word area, unsigned word, tsl_word mask);
/* Bits of an area came back and the word is now `value`: the trees that must know it. */
static inline void bits_given(struct tsl_frames *self, tsl_word area, tsl_word value)
{
    if (TSL_UNLIKELY(!tree_has(&self->any, area)))
        tsl_frames_tree_add(&self->any, area);
    if (TSL_UNLIKELY(value == WORD_FULL) && !tree_has(&self->whole, area))
        tsl_frames_publish(self, area);
}

/* Frees these bits of one word; false, with nothing changed, if one is free. Not booked. */
bool tsl_frames_bits_give(struct tsl_frames *self, tsl_word area, unsigned word, tsl_word mask);
/* Takes and gives [from, from + count) of one area, bits only. Booked. */
bool tsl_frames_part_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count);
bool tsl_frames_part_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count);

/* ---- frames_range.c: index ranges across areas; pin by themselves ---- */

enum range_huge {
    RANGE_HUGE, /* whole areas are huge blocks */
    RANGE_BITS, /* whole areas are 512 single frames */
};

bool tsl_frames_range_take(struct tsl_frames *self, tsl_word index, tsl_word count,
                           enum range_huge huge);
/* TSL_OK if every frame of the range is allocated in that way, else why it cannot be freed. */
enum tsl_status tsl_frames_range_check(const struct tsl_frames *self, tsl_word index,
                                       tsl_word count, enum range_huge huge);
/* Before: checked. TSL_DOUBLE_FREE if another CPU freed it meanwhile. */
enum tsl_status tsl_frames_range_give(struct tsl_frames *self, tsl_word index, tsl_word count,
                                      enum range_huge huge);
/* Frames of the range that are free before the first that is not. */
tsl_word tsl_frames_range_free(const struct tsl_frames *self, tsl_word index, tsl_word count);

#endif
