/* SPDX-License-Identifier: MIT
 *
 * physical_allocator.h: hands out the page frames of RAM and takes them back.
 *
 * Owns:    struct tsl_frames: which frame is free, in which zone, and the counters about it.
 * Needs:   base, kernel_layout (the memory map it is made of).
 * Callers: page_table, vallocator, the facade; anybody who wants a whole frame.
 *
 * Words: a *frame* is 4 KiB of RAM named by its number (address / 4096); a *block* of order n is
 * 2^n frames that start at a multiple of 2^n; a *run* is any number of neighbouring frames; an
 * *area* is 512 frames that start at a multiple of 512; a *zone* is the frames under a common
 * address limit; a *node* is the memory near some of the CPUs. Every function may be called on
 * several CPUs at once, with interrupts on or off, unless it says otherwise; none from a
 * non-maskable interrupt. Allocating and reserving may wait for other CPUs, in the way of
 * tsl_flush_cpus and so under any lock of Tesela, once all else has failed: they are asked for the
 * free frames that they keep for themselves. With watermarks every change may do so, freeing, too,
 * where it crosses one; it then calls the kernel, as <tesela/frames_pressure.h> says.
 */
#ifndef TESELA_PHYSICAL_ALLOCATOR_H
#define TESELA_PHYSICAL_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/early.h>
#include <tesela/format.h>
#include <tesela/memory_map.h>
#include <tesela/memory_nodes.h>
#include <tesela/status.h>
#include <tesela/types.h>

#define TSL_FRAMES_MAX_ORDER  10u
#define TSL_FRAMES_HUGE_ORDER 9u   /* one area */
#define TSL_FRAMES_PER_AREA   512u /* 2 MiB */

/* Lowest first. A zone without RAM has no frames; which zones exist follows from word size and map.
 */
enum tsl_frames_zone {
    TSL_ZONE_DMA,     /* below 16 MiB: what old devices reach */
    TSL_ZONE_DMA32,   /* below 4 GiB, only where a word has 64 bits */
    TSL_ZONE_NORMAL,  /* the rest below direct_end */
    TSL_ZONE_HIGHMEM, /* from direct_end on: no pointer reaches it, only tables and windows do */
    TSL_ZONE_COUNT
};

/* How a frame is to be chosen; may be combined. */
enum tsl_frames_flags {
    TSL_FRAMES_HIGH = 0,          /* anywhere, the highest zone first: what tables show and windows
                                     reach */
    TSL_FRAMES_LOW = 1u << 0,     /* phys_to_virt must reach it: below reach_end and direct_end */
    TSL_FRAMES_DMA = 1u << 1,     /* below 16 MiB */
    TSL_FRAMES_DMA32 = 1u << 2,   /* below 4 GiB */
    TSL_FRAMES_RECLAIM = 1u << 3, /* for making memory free: may use the reclaim reserve */
    TSL_FRAMES_EXIT = 1u << 4,    /* for a dying process: may use both reserves */
    TSL_FRAMES_ZERO = 1u << 5,    /* filled with zeros; only together with LOW */
    /* At most one of the next three, else what tsl_frames_set_policy() says: */
    TSL_FRAMES_LOCAL = 1u << 6,      /* near this CPU, else the nearest */
    TSL_FRAMES_INTERLEAVE = 1u << 7, /* the nodes in turn */
    TSL_FRAMES_BIND = 1u << 8,       /* this CPU's node, or with TSL_FRAMES_NODE that one, only */
};

/* Near this node's CPUs instead of the caller's; to be or-ed into the flags, not with the first two
 * of the above three. */
#define TSL_FRAMES_NODE(node) (((node) + 1u) << 16)
#define TSL_FRAMES_NODE_FLAGS                                                                      \
    (0xff0000u | TSL_FRAMES_LOCAL | TSL_FRAMES_INTERLEAVE | TSL_FRAMES_BIND)

/* What an allocator is made of. Fields left 0 take the meaning in brackets. */
struct tsl_frames_config {
    const struct tsl_memory_map *map;     /* read while creating only */
    const struct tsl_memory_nodes *nodes; /* the same [one node]; unread when TSL_NODES is 1 */
    /* What was handed out before [nothing]. Its frames become reserved ones, and it is sealed. */
    struct tsl_early *early;
    tsl_paddr reach_end;  /* phys_to_virt works below this now; metadata is put there */
    tsl_paddr direct_end; /* end of the direct map for good [no HIGHMEM]; rounded down to 2 MiB */
    tsl_paddr ram_end;    /* RAM from here on is ignored, loudly [all is used] */
    tsl_word reserve_reclaim; /* frames only RECLAIM and EXIT may take [0] */
    tsl_word reserve_exit;    /* frames only EXIT may take [0] */
    /* Free frames of a zone for requests that no higher zone can serve, and for EXIT [0]. */
    tsl_word lowmem_reserve[TSL_ZONE_COUNT];
    /* Usable in the map, but not there yet [none]: <tesela/frames_hotplug.h>. At most 16. */
    const struct tsl_memory_range *absent;
    size_t absent_count;
    bool descriptors; /* one for each frame, in the metadata: <tesela/frame_descriptor.h> [none] */
};

/* A run of `count` frames that starts at a multiple of align_frames. */
struct tsl_frames_run {
    tsl_word count;        /* at least 1 */
    tsl_word align_frames; /* a power of two; 0 means 1 */
    tsl_paddr limit;       /* the run ends at or below this address; 0: no limit */
    unsigned flags;        /* enum tsl_frames_flags */
};

/* A snapshot. Exact when no other CPU is in the allocator; `peak` is noted where a CPU goes to
 * another area or takes a block: it may be off by 1,024 frames, and by 1,088 for each other CPU. */
struct tsl_frames_stats {
    tsl_word total; /* frames managed: usable RAM without metadata, frame 0 and ignored */
    tsl_word free;
    tsl_word used;           /* total - free, reserved ones included */
    tsl_word peak;           /* most ever used */
    tsl_word reserved;       /* taken by tsl_frames_reserve and not released */
    tsl_word metadata_bytes; /* taken from RAM for the allocator itself, whole frames */
    tsl_word ignored;        /* usable frames at or above ram_end */
    tsl_word failures[TSL_FRAMES_MAX_ORDER + 1]; /* allocations without a block, by order */
    tsl_word run_failures;
    struct tsl_refusals refusals; /* callers' mistakes */
};

struct tsl_frames_zone_stats {
    const char *name;
    tsl_paddr start; /* first byte of its first area; start == end: no RAM in this zone */
    tsl_paddr end;   /* exclusive */
    tsl_word total;  /* frames */
    tsl_word free;
};

struct tsl_frames_node_stats {
    tsl_word total; /* frames */
    tsl_word free;
    tsl_word elsewhere; /* searches that were to end here and had to go to another node: single
                           frames that a CPU takes out of a claim there are not counted again */
};

/* The allocator; it lives in frames that it takes from the map. */
struct tsl_frames;

/*
 * Makes an allocator of the usable ranges of config->map and puts its own data (bitmap, area table,
 * per-CPU state) at the top of the highest usable range below reach_end that holds them. Size: at
 * most 34,816 bytes a GiB of usable RAM + 256 a CPU and node, plus about one page and 72 bytes for
 * each 2 MiB area with holes; what is not RAM costs nothing, however high it lies. Descriptors come
 * on top, 32 bytes a frame (8 MiB a GiB), and what the guards keep, up to 10.
 * Before:  tsl_port_phys_to_virt works for the usable RAM below reach_end; the map stays as it is
 *          during the call. The kernel image, modules and whatever else lives in RAM are no longer
 *          usable in the map.
 * Owns:    the caller destroys *out. The frames of the map belong to the allocator from here on.
 * Errors:  TSL_INVALID (no map, no reach_end, a map or nodes that are not in order, early memory of
 *          another map, absent RAM that is not usable, phys_to_virt answers NULL below reach_end),
 *          TSL_UNSUPPORTED (descriptors or absent RAM that are not compiled in), TSL_NO_MEMORY (no
 *          usable frame, or nowhere below reach_end for the metadata); logged, nothing written.
 * Context: one CPU, once a map.
 * Cost:    O(ranges + metadata).
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_create(const struct tsl_frames_config *config,
                                                 struct tsl_frames **out);

/*
 * Ends an allocator; its metadata is plain RAM again.
 * Errors:  TSL_BUSY (frames are still allocated), nothing changed.
 * Context: no other CPU uses it.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_destroy(struct tsl_frames *self);

/*
 * Ends an allocator whatever is still allocated: for who takes over the machine, or whose RAM goes
 * away with it. Its metadata is plain RAM again. Context: as destroy.
 */
void tsl_frames_abandon(struct tsl_frames *self);

/*
 * Everything below `end` can now be reached by phys_to_virt, so that TSL_FRAMES_LOW may use it (up
 * to direct_end). Called once the whole direct map exists. A lower value than before is ignored.
 */
void tsl_frames_extend_reach(struct tsl_frames *self, tsl_paddr end);

/*
 * The opposite: from now on phys_to_virt works only below `end`, as on the way back to the tables
 * of a boot loader. What lies above is no longer given for TSL_FRAMES_LOW, and no guard touches it.
 * A higher value than before is ignored.
 * Context: no other CPU is in the allocator; called while the old reach still holds.
 */
void tsl_frames_limit_reach(struct tsl_frames *self, tsl_paddr end);

/*
 * Takes a block of 2^order frames, order 0..10. flags: enum tsl_frames_flags. Zones are tried from
 * the highest that the flags admit down to DMA.
 * Owns:    the caller gives it back with tsl_frames_free and the same order. Frame 0 is never
 *          given.
 * Errors:  TSL_NO_MEMORY (no such block; counted by order, or only the reserves are left),
 *          TSL_INVALID (order > 10, unknown flags, ZERO without LOW). `out` untouched.
 * Cost:    order 0: no atomic operation while the word lasts that the CPU has claimed, one a word.
 *          Order 9: O(1), one atomic operation for the block given back last.
 *          Others: the present area, then a bounded number of areas, then a whole area is broken
 *          up; only when no whole area is left are all areas with free frames looked through.
 *          Interrupts are off during a search; only runs and ranges let them in between areas.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_alloc(struct tsl_frames *self, unsigned order,
                                                unsigned flags, struct tsl_frame *out);

/*
 * Gives back a block of 2^order frames.
 * Blocks that were allocated next to each other cannot be told from one larger block, except that
 * parts of one area are told from an area taken as a whole.
 * Errors:  nothing changed, counted and logged: TSL_INVALID (order > 10), TSL_MISALIGNED (not the
 *          first frame of such a block), TSL_FOREIGN (a frame of it is not managed),
 *          TSL_DOUBLE_FREE (all of it is free), TSL_WRONG_SIZE (a part of it is free, a part of a
 *          huge block, or a huge block that was not allocated as one).
 * Context: where it crosses a watermark it may wait for other CPUs as allocating may, and calls the
 *          kernel.
 * Cost:    O(1) for orders 0..6, else one step a bitmap word or area.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_free(struct tsl_frames *self, struct tsl_frame frame,
                                               unsigned order);

/*
 * Takes up to `count` single frames into out[0] and on; returns how many it got, less than asked
 * for only when there are no more (counted as one failure of order 0) or the flags are refused.
 * Owns:    as tsl_frames_alloc, each with order 0.
 * Cost:    a few instructions a frame; interrupts are off for at most one word of frames at a time.
 */
TSL_MUST_CHECK tsl_word tsl_frames_alloc_bulk(struct tsl_frames *self, unsigned flags,
                                              struct tsl_frame *out, tsl_word count);

/*
 * Takes up to `count` single frames that lie in one word of the bitmap: bit i of what is returned
 * stands for frame out_first->number + i, and the first is a multiple of TSL_WORD_BITS. 0: there is
 * no frame, counted as a failure of order 0, or the flags are refused, or count is 0. Fewer than
 * `count`: ask again.
 * Owns:    as tsl_frames_alloc, each with order 0.
 * Cost:    one step for all of them where this CPU has claimed a word.
 */
TSL_MUST_CHECK tsl_word tsl_frames_alloc_word(struct tsl_frames *self, unsigned flags,
                                              tsl_word count, struct tsl_frame *out_first);

/*
 * Gives back the frames of a mask as tsl_frames_alloc_word describes it; of blocks below order 9
 * any part may be given back so.
 * Errors:  TSL_MISALIGNED (first is no multiple of TSL_WORD_BITS; nothing changed); as
 *          tsl_frames_free with order 0 for the lowest frame that is refused, the others are freed.
 * Cost:    one step for all of them.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_free_word(struct tsl_frames *self, struct tsl_frame first,
                                                    tsl_word mask);

/*
 * Gives single frames back, first to last; neighbours in the list that are neighbours in memory
 * are the cheapest. *out_freed: how many were, and so the index of the one that was refused.
 * Errors:  as tsl_frames_free with order 0, for that frame; those behind it are not touched.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_free_bulk(struct tsl_frames *self,
                                                    const struct tsl_frame *frames, tsl_word count,
                                                    tsl_word *out_freed);

/*
 * Gives back what this CPU keeps for itself: up to a word of free frames a zone, and the area it
 * takes single frames from. Never needed: a CPU that leaves does it, and who finds nothing else
 * asks for it. Before a long idle it spares the others asking.
 * Context: any but NMI.
 */
void tsl_frames_drain(struct tsl_frames *self);

/*
 * Takes a run, across areas where need be: the lowest place that fits. For what must be physically
 * contiguous and is not a power of two.
 * Owns:    as above, with tsl_frames_free_run and the same count.
 * Errors:  TSL_NO_MEMORY (counted), TSL_INVALID (count 0, alignment not a power of two, flags),
 *          `out` untouched.
 * Cost:    O(bitmap words below the limit), areas without a free frame in one step.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_alloc_run(struct tsl_frames *self,
                                                    const struct tsl_frames_run *run,
                                                    struct tsl_frame *out);

/* Gives back a run of `count` frames. Errors: as tsl_frames_free; TSL_INVALID for count 0. */
TSL_MUST_CHECK enum tsl_status tsl_frames_free_run(struct tsl_frames *self, struct tsl_frame first,
                                                   tsl_word count);

/*
 * Makes single frames of an allocated block of order 9 or 10: from now on each of its frames is
 * freed by itself with order 0.
 * Errors:  as tsl_frames_free; TSL_INVALID for other orders.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_split(struct tsl_frames *self, struct tsl_frame frame,
                                                unsigned order);

/*
 * Takes every managed frame that [start, start + bytes) touches; what is not managed is skipped.
 * Errors:  nothing changed: TSL_BUSY (one of them is allocated), TSL_INVALID (0 bytes),
 *          TSL_OUT_OF_RANGE (wraps), TSL_NOT_FOUND (none is managed).
 * Cost:    O(bitmap words of the range).
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_reserve(struct tsl_frames *self, tsl_paddr start,
                                                  uint64_t bytes);

/*
 * Undoes tsl_frames_reserve, of the same range or of a part of it.
 * Before:  that range was reserved.
 * Errors:  nothing changed: as above, and TSL_DOUBLE_FREE (all of it is free already),
 *          TSL_WRONG_SIZE (a part is free, a huge block lies in it, or it is more than is
 *          reserved), TSL_BUSY (a bank that is off lies in it), TSL_NOT_FOUND (absent RAM does).
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_release(struct tsl_frames *self, tsl_paddr start,
                                                  uint64_t bytes);

/* Whether the allocator looks after this frame, free or not. Cost: O(log ranges). */
bool tsl_frames_is_managed(const struct tsl_frames *self, struct tsl_frame frame);

/* Whether the frame is managed and free at this moment. Cost: as above. */
bool tsl_frames_is_free(const struct tsl_frames *self, struct tsl_frame frame);

/* Free frames, exact when no other CPU is in the allocator. Cost: O(CPUs). */
tsl_word tsl_frames_free_count(const struct tsl_frames *self);

/* Fills *out. Cost: O(CPUs). */
void tsl_frames_stats(const struct tsl_frames *self, struct tsl_frames_stats *out);

/* Fills *out for one zone. Errors: TSL_INVALID (no such zone). Cost: O(CPUs). */
TSL_MUST_CHECK enum tsl_status tsl_frames_zone_stats(const struct tsl_frames *self,
                                                     enum tsl_frames_zone zone,
                                                     struct tsl_frames_zone_stats *out);

/* Fills *out for one node. Errors: TSL_INVALID (no such node). Cost: O(CPUs). */
TSL_MUST_CHECK enum tsl_status tsl_frames_node_stats(const struct tsl_frames *self, unsigned node,
                                                     struct tsl_frames_node_stats *out);

/*
 * Moves a CPU to another node than the one that config->nodes said (node 0 without).
 * Errors:  TSL_UNSUPPORTED (TSL_NODES is 1), TSL_INVALID (no such CPU or node), nothing changed.
 * Context: any CPU; requests that run on that CPU meanwhile use either node.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_set_cpu_node(struct tsl_frames *self, unsigned cpu,
                                                       unsigned node);

/*
 * What requests do that do not say it themselves: flags is one of TSL_FRAMES_LOCAL (so it begins),
 * _INTERLEAVE, _BIND, _BIND | _NODE(n), or _NODE(n).
 * Errors:  TSL_UNSUPPORTED (TSL_NODES is 1), TSL_INVALID (other flags, or no such node), nothing
 *          changed.
 * Context: any, also while others allocate.
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_set_policy(struct tsl_frames *self, unsigned flags);

/*
 * Checks the rules in the component's README and returns the first that is broken. Place: the area,
 * span or CPU of it, as the rule says.
 * Before:  no other CPU is in the allocator. Reads only.
 * Cost:    O(metadata).
 */
struct tsl_defect tsl_frames_verify(const struct tsl_frames *self);

/*
 * Writes totals, zones and a heat map, one letter for an area (for several on large machines): '.'
 * free, '1'..'9' tenths in use (any use at all is a '1'; what is no RAM counts as in use), '#'
 * full, 'H' one huge block.
 * Context: any, also out of a panic or an NMI, whatever the other CPUs were doing when they were
 *          stopped: it takes no lock and waits for nobody. The figures are then about right.
 * Cost:    O(metadata).
 */
void tsl_frames_dump(const struct tsl_frames *self, const struct tsl_sink *sink);

#endif
