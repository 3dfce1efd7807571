/* SPDX-License-Identifier: MIT
 *
 * physical_allocator_internal.h: the layout of the allocator's metadata and the steps on it.
 *
 * Owns:    struct tsl_frames, its spans, areas, search trees and per-CPU slots.
 * Needs:   base (bits, atomics, calls, port), the public header.
 * Callers: the .c files of this component and its break test; nobody else.
 *
 * All frames of all spans are counted through as one row of *indexes*: area 0 has indexes 0..511,
 * and so on; areas without usable RAM have no place in the row. A frame's index is its number minus
 * the `shift` of its span.
 *
 * A free frame is a 1 in exactly one place: in the shared word, or in the copy of the CPU that has
 * claimed that word. Shared words change by one atomic step each; a copy is touched by its CPU
 * alone, pinned. With one CPU, pinning alone is enough and the same steps are plain.
 */
#ifndef TSL_PHYSICAL_ALLOCATOR_INTERNAL_H
#define TSL_PHYSICAL_ALLOCATOR_INTERNAL_H

#include <tesela/atomic.h>
#include <tesela/bits.h>
#include <tesela/call.h>
#include <tesela/config.h>
#include <tesela/frame_descriptor.h>
#include <tesela/frames_banks.h>
#include <tesela/frames_pressure.h>
#include <tesela/lock.h>
#include <tesela/physical_allocator.h>
#include <tesela/port_inline.h>

/* The two counts in `returns`. */
#define FRAMES_WITHDRAWING ((tsl_word)1)
#define FRAMES_RETURN      ((tsl_word)1 << 10)

#define FRAMES_MAGIC ((tsl_word)0x54736c46u) /* "TslF" */
#define FRAMES_NONE  (~(tsl_word)0)          /* no area, no index */
#define AREA_FRAMES  ((tsl_word)TSL_FRAMES_PER_AREA)
#define AREA_WORDS   (TSL_FRAMES_PER_AREA / TSL_WORD_BITS)
#define WORD_FULL    (~(tsl_word)0)

/* Whether free frames are filled or owners written down: frames_guard.h. */
#define FRAMES_GUARDED (TSL_FRAME_POISON || TSL_FRAME_ZERO_ON_FREE || TSL_FRAME_OWNERS)

/* The largest order whose blocks lie in one word. */
#define WORD_ORDER (sizeof(tsl_word) == 8 ? 6u : 5u)

/*
 * An area with fewer free frames than this is not looked at for single frames as long as others
 * have more. Few: areas fill up and empty ones stay empty; many: fewer searches. 16 loses about one
 * empty area in 64 against ideal best fit.
 */
#define ROOMY_FRAMES 16u

/* A CPU books changes of a zone's count for itself and writes them out when they pass this: two
 * huge blocks, so that taking and giving one back writes nothing. */
#define SLOT_BATCH ((tsl_word)2 * TSL_FRAMES_PER_AREA)

/*
 * The state of an area, a byte that changes by compare-and-swap: who may do what with it.
 * Open: anybody takes bits of its words, one step at a time. Owned: in addition the owner claims
 * words, and nobody makes it huge. Trying: somebody looks whether it is whole. The owner's tag is
 * its number modulo AREA_TAGS, plus 1.
 */
#define AREA_OPEN      0u
#define AREA_TAGS      250u
#define AREA_WHOLE     251u /* open, and wholly free unless somebody is just making it open */
#define AREA_SPLITTING 252u /* huge, on its way to 512 single frames */
#define AREA_TRYING    253u
#define AREA_LISTED    254u /* huge, and still in the trees that list whole areas */
#define AREA_HUGE      255u /* taken whole; its bits in the bitmap stay 1 */

_Static_assert(AREA_WORDS % 8 == 0, "an area is looked through by eight words at a time");
_Static_assert(TSL_CPUS <= 2 * AREA_TAGS, "a tag stands for two CPUs at most");
_Static_assert(2 * TSL_CPUS < FRAMES_RETURN / FRAMES_WITHDRAWING,
               "all CPUs may withdraw at once, and put in what they find meanwhile");

/*
 * A set of areas, as a tree of words: a bit is 1 if the word below it is not 0. Members may be out
 * of date in one direction only: an area that must be found is in the set. Who finds one that does
 * not belong there any more removes it, and looks again.
 */
struct area_tree {
    tsl_word *words; /* one bit an area; behind them one bit for each of these words; and so on */
    tsl_word areas;
};

/* The words of a level of so many bits, which are the bits of the level above. */
static inline tsl_word tree_words(tsl_word bits)
{
    return (bits - 1) / TSL_WORD_BITS + 1;
}

/* A run of usable frames: numbers first .. end - 1. */
struct frames_span {
    tsl_word first;
    tsl_word end;
    tsl_word shift; /* number - index, a multiple of 512 */
};

/* Zones of a node are neighbours, in the order of enum tsl_frames_zone; then come the next
 * node's. */
#define FRAMES_ZONES (TSL_NODES * TSL_ZONE_COUNT)

/* Where a CPU takes single frames of one zone at present. Written by that CPU alone, pinned; read
 * by others, so by atomic loads and stores. */
struct frames_slot {
    tsl_word copy;   /* the free frames of the claimed word; bit 0 is frame `number` */
    tsl_word number; /* of the claimed word's first frame */
    tsl_word *word;  /* the claimed word, or where in the area the last claim was */
    tsl_word area;   /* that this CPU owns; FRAMES_NONE: none. Set before the first claim in it */
    tsl_word whole; /* first frame of a huge block that this CPU gave back, not yet booked in delta;
                        0: none. Others may have taken it */
    tsl_word delta; /* frames that went into shared words less those that came out, by this CPU, not
                        yet in the zone's count (signed) */
    tsl_word bits;  /* TSL_WORD_BITS: all of the area is RAM; 0: free must look closer */
    uint32_t turn;  /* odd: `word` and `copy` are changing and do not belong together */
    uint32_t todo;  /* words of the area to claim next, a bit each; when 0, look at all of them */
} TSL_ALIGNED(64);

/* With several nodes only the slots of nodes that there are have storage: see this_cpu(). */
struct frames_cpu {
    struct frames_slot slot[FRAMES_ZONES];
};

_Static_assert(sizeof(struct frames_cpu) <= 256 * TSL_NODES, "256 bytes a CPU and node are "
                                                             "promised");

/* Zones are neighbours in the row of areas; an empty zone begins where it ends. */
struct frames_zone {
    tsl_word first_area;
    tsl_word end_area;
    tsl_word total; /* frames; atomic */
    tsl_word free;  /* frames in shared words, without what the CPUs' deltas hold; atomic */
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
    FRAMES_RULE_POLICY = 1 << 1,   /* another policy than LOCAL */
    FRAMES_RULE_LOWMEM = 1 << 2,   /* a zone in which some CPU looks first keeps frames back */
    FRAMES_RULE_PRESSURE = 1 << 3, /* below a watermark: every change is looked at */
};

/* With these nobody claims, so that what CPUs have at hand needs no look at the rules. */
#define FRAMES_RULES_NO_CLAIMS ((tsl_word)FRAMES_RULE_LOWMEM | FRAMES_RULE_PRESSURE)

/* Banks of RAM that can be switched off: frames_banks.c. */
struct frames_banks {
    struct tsl_lock lock; /* held while one is switched */
    tsl_paddr bytes;      /* of each; 0: none */
    tsl_paddr first;      /* where bank 0 begins */
    unsigned count;
    uint32_t off; /* one bit a bank; atomic */
    struct tsl_frames_bank_switch hardware;
};

/* Frame numbers. */
struct frames_range {
    tsl_word first;
    tsl_word end;
};

/* RAM that is not there: frames_hotplug.c. */
#define FRAMES_MOST_ABSENT 16u

struct frames_absent {
    struct tsl_lock lock; /* for the list; not held while frames are taken or given */
    unsigned count;
    unsigned moving; /* ranges that just come or go: the last ones of the list */
    tsl_word frames; /* in the list, of the first `count`; atomic */
    /* One more than is promised, for one that will grow another and is on its way. */
    struct frames_range list[TSL_FRAME_HOTPLUG ? FRAMES_MOST_ABSENT + 1 : 1];
};

struct tsl_frames {
    tsl_word magic;
    uint32_t special_flags; /* flags that exclude some frames here and now; atomic */
    uint32_t tight;         /* not 0: no CPU claims; counts down to the next look at what is free */
    tsl_word rules;         /* enum frames_rule; if any, all requests take the long way; atomic */
    tsl_word watched;       /* with fewer free frames a reserve or watermark may be near; 0: none */
    tsl_word hot_first;     /* the frames of the largest span in the top zone: the first, and how */
    tsl_word hot_frames;    /* many; 0 when TSL_NODES is not 1 */
    struct frames_slot *hot; /* CPU 0's slot of the top zone, when TSL_NODES is 1 */
    struct frames_cpu *cpus; /* one every cpu_stride() bytes */
    tsl_word *words;         /* AREA_WORDS an area; 1 = free */
    struct frames_span main; /* a copy of the largest span, which is looked at first */
    uint8_t *states;         /* one an area */
    uint16_t *hints;         /* one an area: about how many frames are free in its words */
    struct tsl_frame_descriptor *descriptors; /* by index; NULL: none */
    tsl_word area_count;
    struct frames_span *spans; /* by address, on each node */
    tsl_word span_count;
    struct area_tree any;   /* areas with a free frame in their words that are not huge */
    struct area_tree roomy; /* open areas with a hint of ROOMY_FRAMES or more */
    struct area_tree whole; /* open areas with all 512 */
    struct frames_zone zone[FRAMES_ZONES];
    struct frames_node node[TSL_NODES];
    struct frames_numa *numa; /* NULL when TSL_NODES is 1 */
    tsl_paddr direct_end;
    struct frames_marks marks;
    struct frames_banks banks;
    struct frames_absent absent;
    tsl_word reserve_reclaim;
    tsl_word reserve_exit;
    tsl_paddr metadata_start;
    tsl_word metadata_frames;
    tsl_word ignored;
    tsl_word peak; /* atomic, here and below */
    tsl_word reserved;
    uint32_t failures[TSL_FRAMES_MAX_ORDER + 1];
    unsigned node_count; /* here, since the counts of failures leave half a word */
    tsl_word run_failures;
    tsl_word revocations; /* times that CPUs were asked to give back */
    tsl_word returns; /* times that frames came back to where everybody finds them: from a claim,
                             from a taker that stepped back, or into a tree after a look; counted
                             in FRAMES_RETURN. Below: CPUs that are just taking an area out of a tree
                             that others believe, or putting one in */
    struct tsl_refusals refusals;
    struct tsl_cpu_hook hook;
    struct frames_guard *guard; /* NULL unless FRAMES_GUARDED */
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

/* Returns the old value. */
static inline tsl_word word_or(tsl_word *place, tsl_word mask)
{
    if (TSL_CPUS == 1) {
        tsl_word value = tsl_atomic_load(place);
        tsl_atomic_store(place, value | mask);
        return value;
    }
    return tsl_atomic_or(place, mask);
}

static inline void word_and(tsl_word *place, tsl_word mask)
{
    if (TSL_CPUS == 1)
        tsl_atomic_store(place, tsl_atomic_load(place) & mask);
    else
        (void)tsl_atomic_and(place, mask);
}

/* False if the bit is 1 already. */
static inline bool word_set_bit(tsl_word *place, unsigned index)
{
    if (TSL_CPUS == 1) {
        tsl_word value = tsl_atomic_load(place);
        tsl_atomic_store(place, value | (tsl_word)1 << index);
        return (value >> index & 1) == 0;
    }
    return tsl_atomic_set_bit(place, index);
}

static inline tsl_word word_claim(tsl_word *place)
{
    if (TSL_CPUS == 1) {
        tsl_word value = tsl_atomic_load(place);
        tsl_atomic_store(place, 0);
        return value;
    }
    return tsl_bits_claim(place);
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

static inline bool tree_has(const struct area_tree *tree, tsl_word area)
{
    return tsl_atomic_load(&tree->words[area / TSL_WORD_BITS]) >> (area % TSL_WORD_BITS) & 1;
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
    unsigned zone = TSL_NODES == 1 ? self->node[0].top_zone : zone_count(self) - 1;
    while (TSL_UNLIKELY(area < self->zone[zone].first_area))
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
    return frames_cpu_at(self, TSL_CPUS == 1 ? 0 : tsl_cpu_this());
}

/* The zone in which this CPU looks first. Before: pinned. */
static inline unsigned own_top_zone(const struct tsl_frames *self)
{
    if (TSL_NODES == 1)
        return self->node[0].top_zone;
    return tsl_atomic_load_u32(&self->numa->home[TSL_CPUS == 1 ? 0 : tsl_cpu_this()]) >> 8;
}

/* This CPU's slot of the zone in which it looks first. Before: pinned. */
static inline struct frames_slot *hot_slot(struct tsl_frames *self)
{
    if (TSL_NODES > 1)
        return &this_cpu(self)->slot[own_top_zone(self)];
    size_t cpu = TSL_CPUS == 1 ? 0 : tsl_cpu_index();
    return (struct frames_slot *)(void *)((char *)self->hot + cpu * sizeof(struct frames_cpu));
}

/* The zone of one of this CPU's slots: own_top_zone() may be another one by now, since the CPU's
 * home is changed by others. Before: pinned. */
static inline unsigned slot_zone(struct tsl_frames *self, const struct frames_slot *slot)
{
    if (TSL_NODES == 1)
        return self->node[0].top_zone;
    return (unsigned)(slot - this_cpu(self)->slot);
}

/* ---- The state and the hint of an area ---- */

/* Who sees a state comes after what led to it: a huge block that became free and then open has its
 * frames' last owner behind the state alone, since its bits were 1 all the time. */
static inline unsigned area_state(const struct tsl_frames *self, tsl_word area)
{
    return tsl_atomic_load_acquire_u8(&self->states[area]);
}

static inline bool state_is_huge(unsigned state)
{
    return state >= AREA_SPLITTING && state != AREA_TRYING;
}

static inline bool state_is_open(unsigned state)
{
    return state == AREA_OPEN || state == AREA_WHOLE;
}

static inline bool state_is_owned(unsigned state)
{
    return state > AREA_OPEN && state <= AREA_TAGS;
}

/* False if the state is no longer `from`. A full barrier, as is state_set. */
static inline bool state_swap(struct tsl_frames *self, tsl_word area, unsigned from, unsigned to)
{
    if (TSL_CPUS == 1) {
        bool is_from = self->states[area] == from;
        if (is_from)
            self->states[area] = (uint8_t)to;
        return is_from;
    }
    uint8_t expected = (uint8_t)from;
    return tsl_atomic_compare_exchange_u8(&self->states[area], &expected, (uint8_t)to);
}

static inline void state_set(struct tsl_frames *self, tsl_word area, unsigned to)
{
    if (TSL_CPUS == 1)
        self->states[area] = (uint8_t)to;
    else
        (void)tsl_atomic_exchange_u8(&self->states[area], (uint8_t)to);
}

/* The owner's area is open again; for others at the latest behind the next barrier. */
static inline void state_release(struct tsl_frames *self, tsl_word area)
{
    tsl_atomic_store_release_u8(&self->states[area], AREA_OPEN);
}

static inline unsigned area_hint(const struct tsl_frames *self, tsl_word area)
{
    return tsl_atomic_load_u16(&self->hints[area]);
}

/* Racy on purpose: two CPUs that change a hint at once may lose a change, which a later owner of
 * the area corrects. */
static inline unsigned hint_add(struct tsl_frames *self, tsl_word area, unsigned change)
{
    unsigned hint = area_hint(self, area) + change;
    tsl_atomic_store_u16(&self->hints[area], (uint16_t)hint);
    return hint & 0xffffu;
}

/* ---- frames_tree.c ---- */

void tsl_frames_tree_add(struct area_tree *tree, tsl_word area);
void tsl_frames_tree_remove(struct area_tree *tree, tsl_word area);
/* The lowest member in [from, end), FRAMES_NONE if there is none. Cost: O(levels). */
tsl_word tsl_frames_tree_find(const struct area_tree *tree, tsl_word from, tsl_word end);

/* ---- frames_place.c: spans, limits ---- */

/* The sum of what is to be kept back; what does not fit a word is more than there is. */
static inline tsl_word kept_sum(tsl_word a, tsl_word b)
{
    return a + b < a ? WORD_FULL : a + b;
}

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
/* How many frames a zone has for a request that might go to a higher zone instead; FRAMES_NONE: all
 * that are free. */
tsl_word tsl_frames_zone_spare(const struct tsl_frames *self, unsigned zone, unsigned flags);
/* After taking: whether the zone still has what it keeps from such a request. Others may have taken
 * between that question and this one. */
bool tsl_frames_zone_is_kept(const struct tsl_frames *self, unsigned zone, unsigned flags);
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

/* tsl_frames_reserve() and _release() for ourselves: that it cannot be done is nobody's mistake,
 * and no watermark is looked at. */
enum tsl_status tsl_frames_take_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes);
enum tsl_status tsl_frames_give_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes);
/* As tsl_frames_give_window(); what somebody freed meanwhile, who had no right to, is free
 * already. */
void tsl_frames_return_window(struct tsl_frames *self, tsl_paddr start, uint64_t bytes);

/* ---- frames_hotplug.c; not called without TSL_FRAME_HOTPLUG ---- */

/* Whether a frame from first to last (inclusive) is absent. Takes the lock. */
bool tsl_frames_is_absent_in(struct tsl_frames *self, tsl_paddr first, tsl_paddr last);
/* Rule 16; see the README. */
struct tsl_defect tsl_frames_absent_verify(const struct tsl_frames *self);

/* ---- frames_banks.c; not called without TSL_FRAME_BANKS ---- */

/* Whether a bank that is off has an address of [start, end). */
bool tsl_frames_bank_is_off_in(const struct tsl_frames *self, tsl_paddr start, tsl_paddr end);
/* Whether a request that begins now and finds nothing is to wake a bank. */
static inline bool frames_bank_sleeps(const struct tsl_frames *self)
{
    return TSL_FRAME_BANKS && tsl_atomic_load_u32(&self->banks.off) != 0;
}
/* Switches a bank on, unless others have switched on all; then the request may try again. Before:
 * one was off when the request began. */
bool tsl_frames_bank_wake(struct tsl_frames *self);
/* Rule 13; see the README. */
struct tsl_defect tsl_frames_banks_verify(const struct tsl_frames *self);

/* ---- frames_area.c: all that changes shared words, states and trees. Before: pinned. ---- */

/* Writes out a slot's delta. */
void tsl_frames_flush_delta(struct tsl_frames *self, unsigned zone, struct frames_slot *slot);

/* What a slot has not yet told the zone's count (signed). Any CPU may ask. */
static inline tsl_word slot_unbooked(const struct frames_slot *slot)
{
    return tsl_atomic_load(&slot->delta) +
           (tsl_atomic_load(&slot->whole) != 0 ? TSL_FRAMES_PER_AREA : 0);
}

/* Books that `change` frames (signed) went into shared words. */
static inline void slot_account(struct tsl_frames *self, unsigned zone, struct frames_slot *slot,
                                tsl_word change)
{
    tsl_word delta = tsl_atomic_load(&slot->delta) + change;
    tsl_atomic_store(&slot->delta, delta);
    if (TSL_UNLIKELY(delta + SLOT_BATCH > 2 * SLOT_BATCH))
        tsl_frames_flush_delta(self, zone, slot);
}

static inline void account(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                           tsl_word change)
{
    unsigned zone = zone_of(self, area);
    slot_account(self, zone, &cpu->slot[zone], change);
}

/* Frees bits into the claimed word; false, with nothing changed, if one is free. */
static inline bool slot_give(struct frames_slot *slot, tsl_word mask)
{
    tsl_word copy = tsl_atomic_load(&slot->copy);
    if (TSL_UNLIKELY(((copy | tsl_atomic_load(slot->word)) & mask) != 0))
        return false;
    tsl_atomic_store(&slot->copy, copy | mask);
    return true;
}

/* Keeps the greatest number of used frames seen. What this CPU holds back counts, what others do
 * does not. */
void tsl_frames_note_peak(struct tsl_frames *self);
/* Puts an area into the trees it must be in, by its present state. */
void tsl_frames_publish(struct tsl_frames *self, tsl_word area);
/* Removes an area from a tree, unless it belongs there after all. */
void tsl_frames_withdraw(struct tsl_frames *self, struct area_tree *tree, tsl_word area);
/* Whether words i and i + 1 have free frames, as bits i and i + 1. */
static inline uint32_t two_free_words(const tsl_word *words, unsigned i)
{
    return (uint32_t)(tsl_atomic_load(&words[i]) != 0) << i |
           (uint32_t)(tsl_atomic_load(&words[i + 1]) != 0) << (i + 1);
}

/* Which words of an area have free frames, a bit each. */
static inline uint32_t area_free_words(const struct tsl_frames *self, tsl_word area)
{
    const tsl_word *words = area_words(self, area);
    uint32_t some = 0;
    for (unsigned i = 0; i < AREA_WORDS; i += 8)
        some |= two_free_words(words, i) | two_free_words(words, i + 2) |
                two_free_words(words, i + 4) | two_free_words(words, i + 6);
    return some;
}

static inline bool area_has_free(const struct tsl_frames *self, tsl_word area)
{
    const tsl_word *words = area_words(self, area);
    tsl_word some = 0;
    for (unsigned i = 0; i < AREA_WORDS; i += 8) {
        some |= tsl_atomic_load(&words[i]) | tsl_atomic_load(&words[i + 1]);
        some |= tsl_atomic_load(&words[i + 2]) | tsl_atomic_load(&words[i + 3]);
        some |= tsl_atomic_load(&words[i + 4]) | tsl_atomic_load(&words[i + 5]);
        some |= tsl_atomic_load(&words[i + 6]) | tsl_atomic_load(&words[i + 7]);
    }
    return some != 0;
}

/* Counts an area's free frames into its hint. */
void tsl_frames_recount(struct tsl_frames *self, tsl_word area);
/* All 512 frames are in the area's words. Who takes them after that look comes after all that their
 * last owners did. */
static inline bool area_is_whole(const struct tsl_frames *self, tsl_word area)
{
    const tsl_word *words = area_words(self, area);
    tsl_word all = WORD_FULL;
    for (unsigned i = 0; i < AREA_WORDS; i += 8) {
        all &= tsl_atomic_load_acquire(&words[i]) & tsl_atomic_load_acquire(&words[i + 1]);
        all &= tsl_atomic_load_acquire(&words[i + 2]) & tsl_atomic_load_acquire(&words[i + 3]);
        all &= tsl_atomic_load_acquire(&words[i + 4]) & tsl_atomic_load_acquire(&words[i + 5]);
        all &= tsl_atomic_load_acquire(&words[i + 6]) & tsl_atomic_load_acquire(&words[i + 7]);
    }
    return all == WORD_FULL;
}

/* Ends the trying of an area that turned out to be whole: it is huge. Not booked. */
static inline void state_decide_huge(struct tsl_frames *self, tsl_word area)
{
    tsl_atomic_store_u16(&self->hints[area], TSL_FRAMES_PER_AREA);
    tsl_atomic_store_release_u8(&self->states[area], AREA_HUGE);
}

/* Whether the trees that must know an open and whole area do. */
static inline bool is_whole_known(const struct tsl_frames *self, tsl_word area)
{
    tsl_word word = area / TSL_WORD_BITS;
    tsl_word all = tsl_atomic_load(&self->any.words[word]) &
                   tsl_atomic_load(&self->roomy.words[word]) &
                   tsl_atomic_load(&self->whole.words[word]);
    return (all >> (area % TSL_WORD_BITS) & 1) != 0;
}

/* A whole area becomes one huge block; false if it is not open and wholly free. Booked. */
bool tsl_frames_huge_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area);
/* The same for an area and the next one, both or none. */
bool tsl_frames_huge_take_two(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area);
/* The reverse; false if it is not huge. Booked. */
bool tsl_frames_huge_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area);
/* A huge block becomes 512 allocated frames; false if it is not huge. */
bool tsl_frames_huge_split(struct tsl_frames *self, tsl_word area);
/* Takes exactly these bits of one word, all or none; false also if the area is huge. Booked. */
bool tsl_frames_bits_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned word, tsl_word mask);
/* Frees these bits of one word; false, with nothing changed, if one is free. Booked. */
bool tsl_frames_bits_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned word, tsl_word mask);
/* Whether the trees know what they must of an open area with this hint, which has a free frame.
 * Without a branch: whether the area is roomy is up to chance, and a wrong guess would wait for the
 * lines of its word and its hint. */
static inline bool is_listed(const struct tsl_frames *self, tsl_word area, unsigned hint)
{
    tsl_word place = area / TSL_WORD_BITS;
    tsl_word is_few = (tsl_word)((intptr_t)((tsl_word)hint - ROOMY_FRAMES) >> (TSL_WORD_BITS - 1));
    tsl_word listed = tsl_atomic_load(&self->any.words[place]) &
                      (tsl_atomic_load(&self->roomy.words[place]) | is_few);
    return (listed >> (area % TSL_WORD_BITS) & 1) != 0;
}

/* Bits of an area came into its words, of which `word` is one, and its hint is now `hint`: the
 * trees that must know it. After a full barrier. */
static inline void bits_given(struct tsl_frames *self, tsl_word area, const tsl_word *word,
                              unsigned hint)
{
    if (TSL_UNLIKELY(!is_listed(self, area, hint) ||
                     (tsl_atomic_load(word) == WORD_FULL && !tree_has(&self->whole, area))))
        tsl_frames_publish(self, area);
}

/* Takes and gives [from, from + count) of one area, bits only. Booked. */
bool tsl_frames_part_take(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count);
bool tsl_frames_part_give(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                          unsigned from, unsigned count);
/* Gives back what was taken a moment ago; what somebody freed meanwhile is free already. */
void tsl_frames_part_return(struct tsl_frames *self, struct frames_cpu *cpu, tsl_word area,
                            unsigned from, unsigned count);

/* ---- frames_claim.c: slots. Before: pinned, unless it says otherwise. ---- */

/* The state byte of areas that a CPU owns. */
static inline unsigned tag_of(unsigned cpu)
{
    return 1 + cpu % AREA_TAGS;
}

/* Whether so much is free, whatever the CPUs hold back and claim next, that neither reserves nor
 * watermarks need a closer look. Cost: O(zones). Any context. */
bool tsl_frames_is_plenty(const struct tsl_frames *self);
/* Computes `watched`. */
void tsl_frames_set_watched(struct tsl_frames *self);
/* Whether CPUs may claim at present; see `tight`. */
bool tsl_frames_may_claim(struct tsl_frames *self);
/* This CPU becomes the owner of an open area, with no word claimed yet; false if it is not open.
 * Before: the slot has no area. */
bool tsl_frames_enter(struct tsl_frames *self, struct frames_slot *slot, tsl_word area);
/* Gives back what is claimed, and the area. Nothing happens to a slot without an area. */
void tsl_frames_leave(struct tsl_frames *self, unsigned zone, struct frames_slot *slot);
/* Claims the next word with free frames in the slot's area; false if there is none.
 * Before: the copy is empty. */
bool tsl_frames_claim(struct tsl_frames *self, unsigned zone, struct frames_slot *slot);
/* Claims in the area that the slot has, else in the lowest roomy one, which the slot has then.
 * False if there is neither, or if that is not all that there is to look at. Before: the copy is
 * empty; the slot is that of this CPU, in the zone in which it looks first. */
bool tsl_frames_claim_anew(struct tsl_frames *self, struct frames_slot *slot);

static inline void slot_turn(struct frames_slot *slot)
{
    tsl_atomic_store_release_u32(&slot->turn, tsl_atomic_load_u32(&slot->turn) + 1);
}

/* The lowest of the words still to do becomes the copy; what was free in it, which is not booked.
 * Before: the copy is empty, there is such a word. */
static inline tsl_word slot_claim_lowest(struct tsl_frames *self, struct frames_slot *slot)
{
    uint32_t todo = slot->todo;
    tsl_word *word = &area_words(self, slot->area)[tsl_bits_lowest(todo)];
    slot->todo = todo & (todo - 1);
    /* Where the word's first frame is, from the present one. */
    slot->number += (tsl_word)((char *)word - (char *)slot->word) * CHAR_BIT;
    slot_turn(slot);
    tsl_word bits = word_claim(word);
    TSL_ATOMIC_STORE_POINTER(&slot->word, word);
    tsl_atomic_store(&slot->copy, bits);
    slot_turn(slot);
    return bits;
}

/* What the claimant of this word, if there is one, has free of it. Any CPU may ask; the answer is
 * exact for bits that nobody changes meanwhile. */
tsl_word tsl_frames_claimed(const struct tsl_frames *self, tsl_word area, const tsl_word *word);
/* The same for reports, also out of a panic: never waits, and is wrong about a claim that some CPU
 * was stopped in the middle of changing. */
tsl_word tsl_frames_claimed_about(const struct tsl_frames *self, tsl_word area,
                                  const tsl_word *word);
static inline tsl_word word_free_about(const struct tsl_frames *self, tsl_word area,
                                       const tsl_word *word)
{
    tsl_word claimed = TSL_FRAME_CLAIMS ? tsl_frames_claimed_about(self, area, word) : 0;
    return tsl_atomic_load(word) | claimed;
}
/* The free frames of a word, whoever has them. */
static inline tsl_word word_free_now(const struct tsl_frames *self, tsl_word area,
                                     const tsl_word *word)
{
    tsl_word claimed = TSL_FRAME_CLAIMS ? tsl_frames_claimed(self, area, word) : 0;
    return tsl_atomic_load(word) | claimed;
}

/* Asks all CPUs that own areas to give them back, if that may help a request with these flags for
 * `count` neighbouring frames (0, 1: in any way); true if so. After 1 nobody claims until more is
 * free.
 * Before: not necessarily pinned. Waits for these CPUs as a flush does. */
bool tsl_frames_revoke(struct tsl_frames *self, tsl_word count, unsigned flags);
/* What came back to where everybody finds it; to be read before the search that finds nothing. */
static inline tsl_word frames_returns(const struct tsl_frames *self)
{
    return TSL_CPUS == 1 ? 0 : tsl_atomic_load_acquire(&self->returns);
}
/* After a search for `count` frames that found nothing: whether another may find something, because
 * CPUs were asked to give back, something came back since `seen`, or somebody was and is just
 * taking an area out of a tree. */
static inline bool frames_ask(struct tsl_frames *self, tsl_word count, unsigned flags,
                              tsl_word seen)
{
    return tsl_frames_revoke(self, count, flags) || frames_returns(self) != seen ||
           seen % FRAMES_RETURN != 0;
}
/* How often a request for several neighbours asks: there may always be somebody. */
#define FRAMES_REQUESTS 4u
/* From now on no CPU claims, until more is free. What is claimed already stays claimed. */
void tsl_frames_tighten(struct tsl_frames *self);
/* What a CPU gives back when it leaves: all of its slots. */
void tsl_frames_drain_cpu(void *frames);
/* Frames in shared words, exact when nobody is in the allocator. Any context. Cost: O(CPUs). */
tsl_word tsl_frames_shared_free(const struct tsl_frames *self, unsigned zone);

/* ---- frames_range.c: index ranges across areas; pin by themselves ---- */

enum range_huge {
    RANGE_HUGE, /* whole areas are huge blocks */
    RANGE_BITS, /* whole areas are 512 single frames */
};

/* All or nothing. */
bool tsl_frames_range_take(struct tsl_frames *self, tsl_word index, tsl_word count,
                           enum range_huge huge);
/* Gives back what was taken a moment ago; what somebody freed meanwhile is free already. */
void tsl_frames_range_return(struct tsl_frames *self, tsl_word index, tsl_word count,
                             enum range_huge huge);
/* The same for a block or run, by its first frame's number: others took at that moment, too, so that
 * less is left than this request must leave. */
void tsl_frames_step_back(struct tsl_frames *self, tsl_word number, tsl_word count);
/* TSL_OK if every frame of the range is allocated in that way, else why it cannot be freed. */
enum tsl_status tsl_frames_range_check(const struct tsl_frames *self, tsl_word index,
                                       tsl_word count, enum range_huge huge);
/* Before: checked. TSL_DOUBLE_FREE if another CPU freed it meanwhile. */
enum tsl_status tsl_frames_range_give(struct tsl_frames *self, tsl_word index, tsl_word count,
                                      enum range_huge huge);
/* Free frames of a range, claimed ones too. */
tsl_word tsl_frames_free_in(const struct tsl_frames *self, tsl_word index, tsl_word count);
/* Frames of the range that are free in shared words before the first that is not. */
tsl_word tsl_frames_range_free(const struct tsl_frames *self, tsl_word index, tsl_word count);

#endif
