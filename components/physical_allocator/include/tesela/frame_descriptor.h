/* SPDX-License-Identifier: MIT
 *
 * frame_descriptor.h: what is known of a frame in use: who has it, how often, in which state.
 *
 * Owns:    the layout of a descriptor and every change of its counts.
 * Needs:   an allocator made with config.descriptors; TSL_FRAME_DESCRIPTORS.
 * Callers: vallocator, and whoever else shares frames or evicts them. Who allocates a frame for
 *          itself alone and frees it needs none of this.
 *
 * With flat bitmaps (TSL_FRAME_CORE_FLAT) there are no descriptors, and of the functions only
 * tsl_descriptor_of, which then answers NULL.
 *
 * 32 bytes a frame; with TSL_FRAME_DESCRIPTORS_SMALL 16 (24 where pointers have 64 bits), 16-bit
 * counts and no queue links. All changes here are atomic, none waits; usable in interrupts. Counts
 * saturate: one that has reached its greatest value stays there, so that a frame is lost rather
 * than freed in somebody's hands. To take from a count of 0 is our own mistake: an assertion.
 */
#ifndef TESELA_FRAME_DESCRIPTOR_H
#define TESELA_FRAME_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/config.h>
#include <tesela/physical_allocator.h>
#include <tesela/types.h>

enum tsl_frame_state {
    TSL_FRAME_FREE,   /* nobody's, or of a user that keeps no account; all counts are 0 */
    TSL_FRAME_PAGE,   /* a page of a region or object: as.page */
    TSL_FRAME_TABLE,  /* a page table: as.table */
    TSL_FRAME_POOL,   /* slots of the compressed pool: as.pool */
    TSL_FRAME_KERNEL, /* the kernel's own */
    TSL_FRAME_BUSY,   /* between two of these: whoever made it so alone may touch it */
    TSL_FRAME_STATE_COUNT
};

struct tsl_frame_page {
    void *owner;    /* the object or private layer that shows it */
    uint32_t index; /* its page there */
} TSL_PACKED_TO(4);

struct tsl_frame_table {
    void *space;
    uint32_t entries; /* in use */
} TSL_PACKED_TO(4);

struct tsl_frame_pool {
    uint64_t slots; /* 1: free */
} TSL_PACKED_TO(4);

#define TSL_FRAME_COUNT_WORDS (TSL_FRAME_DESCRIPTORS_SMALL ? 1 : 2)
#define TSL_FRAME_LINK_WORDS  (TSL_FRAME_DESCRIPTORS_SMALL ? 0 : 2)

/* The greatest value of a count: it has saturated. As a map count: frozen. */
#define TSL_FRAME_COUNT_MAX (TSL_FRAME_DESCRIPTORS_SMALL ? 0xffffu : 0xffffffffu)

struct tsl_frame_descriptor {
    union { /* by state; written while BUSY, or by the one owner */
        struct tsl_frame_page page;
        struct tsl_frame_table table;
        struct tsl_frame_pool pool;
    } as;
    uint32_t counts[TSL_FRAME_COUNT_WORDS]; /* references and maps */
    uint32_t tag;                           /* state, heat, pins */
    uint32_t link[TSL_FRAME_LINK_WORDS];    /* the queue owner's: indexes of the next, the last */
} TSL_ALIGNED(TSL_FRAME_DESCRIPTORS_SMALL ? sizeof(void *) : 16);

_Static_assert(TSL_FRAME_DESCRIPTORS_SMALL || sizeof(struct tsl_frame_descriptor) == 32,
               "a descriptor has 32 bytes");
_Static_assert(!TSL_FRAME_DESCRIPTORS_SMALL ||
                   sizeof(struct tsl_frame_descriptor) == (sizeof(void *) == 8 ? 24 : 16),
               "a small descriptor has 16 bytes, and 24 with 64-bit pointers");
_Static_assert(sizeof(struct tsl_frame_page) == sizeof(void *) + 4 &&
                   sizeof(struct tsl_frame_table) == sizeof(void *) + 4 &&
                   sizeof(struct tsl_frame_pool) == 8,
               "what is known of one state has no gaps");

/* The descriptor of a frame; NULL if it is not managed, or there are none. O(log spans). */
struct tsl_frame_descriptor *tsl_descriptor_of(const struct tsl_frames *self,
                                               struct tsl_frame frame);

/* The frame of a descriptor. Before: it is one of this allocator's. O(log spans). */
struct tsl_frame tsl_descriptor_frame(const struct tsl_frames *self,
                                      const struct tsl_frame_descriptor *descriptor);

/* A descriptor as 32 bits, for queue links; its index never changes. And back; O(1). Exact for the
 * first 2^32 frames of the row of areas: 16 TiB of RAM. */
uint32_t tsl_descriptor_index(const struct tsl_frames *self,
                              const struct tsl_frame_descriptor *descriptor);
struct tsl_frame_descriptor *tsl_descriptor_at(const struct tsl_frames *self, uint32_t index);

enum tsl_frame_state tsl_descriptor_state(const struct tsl_frame_descriptor *self);

/* From one state to another; false, nothing changed, if it is not in `from`. To FREE only with
 * counts of 0 (assertion): do it before the frame is freed. */
TSL_MUST_CHECK bool tsl_descriptor_change(struct tsl_frame_descriptor *self,
                                          enum tsl_frame_state from, enum tsl_frame_state to);

/* A frame that was just allocated becomes a page, with one reference and 0 or 1 maps. Before: FREE,
 * all counts 0 (assertion), and nobody else knows the frame: this takes no locked instruction. */
void tsl_descriptor_begin_page(struct tsl_frame_descriptor *self, unsigned maps);

/* One reference less. If it was the last one, the page is FREE, which is true; but if its map count
 * or its pins have saturated it stays as it is: the frame is lost then. Before: a page that nobody
 * else has mapped or pinned. */
TSL_MUST_CHECK bool tsl_descriptor_end_page(struct tsl_frame_descriptor *self);

/* Whether all three counts are 0. */
bool tsl_descriptor_is_idle(const struct tsl_frame_descriptor *self);

/* References: who may still read the frame by its number. The second is true for the last one. */
void tsl_descriptor_get(struct tsl_frame_descriptor *self);
TSL_MUST_CHECK bool tsl_descriptor_put(struct tsl_frame_descriptor *self);
uint32_t tsl_descriptor_references(const struct tsl_frame_descriptor *self);

/* Maps: entries in tables. Mapping fails while frozen: the page is on its way out. The second is
 * true for the last one. */
TSL_MUST_CHECK bool tsl_descriptor_map(struct tsl_frame_descriptor *self);
TSL_MUST_CHECK bool tsl_descriptor_unmap(struct tsl_frame_descriptor *self);
uint32_t tsl_descriptor_maps(const struct tsl_frame_descriptor *self); /* 0 while frozen */

/* Eviction: from a map count of 0 to frozen, false if it is mapped, pinned or frozen; and back. */
TSL_MUST_CHECK bool tsl_descriptor_freeze(struct tsl_frame_descriptor *self);
void tsl_descriptor_thaw(struct tsl_frame_descriptor *self);
bool tsl_descriptor_is_frozen(const struct tsl_frame_descriptor *self);

/* Pins: devices and copies in flight; the page stays where it is. False while frozen. */
TSL_MUST_CHECK bool tsl_descriptor_pin(struct tsl_frame_descriptor *self);
void tsl_descriptor_unpin(struct tsl_frame_descriptor *self);
uint32_t tsl_descriptor_pins(const struct tsl_frame_descriptor *self);

/* Eight bits for the replacement policy: generation or frequency. */
unsigned tsl_descriptor_heat(const struct tsl_frame_descriptor *self);
void tsl_descriptor_set_heat(struct tsl_frame_descriptor *self, unsigned heat);

#endif
