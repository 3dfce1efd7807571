/* SPDX-License-Identifier: MIT
 *
 * frame_descriptor.c: counts and states of frames in use.
 *
 * Owns:    every change of a descriptor but that of its union and links.
 * Needs:   base (atomics), the spans.
 * Callers: the public tsl_descriptor_*.
 *
 * A count is some bits of a word: all 32 of it, or 16 where descriptors are small. Freezing and
 * pinning each look at the other's word after their own step, and step back if they met; full
 * barriers let at least one of two see the other.
 */
#include "../physical_allocator_internal.h"

#include <tesela/frame_descriptor.h>

#define FROZEN TSL_FRAME_COUNT_MAX

/* Which bits of which word. All that takes a field is inlined: shifts and masks are constants
 * then. */
struct field {
    uint32_t *word;
    unsigned shift;
    uint32_t max;
};

TSL_ALWAYS_INLINE static inline struct field references_of(const struct tsl_frame_descriptor *self)
{
    return (struct field){(uint32_t *)&self->counts[0], 0, TSL_FRAME_COUNT_MAX};
}

TSL_ALWAYS_INLINE static inline struct field maps_of(const struct tsl_frame_descriptor *self)
{
    unsigned shift = TSL_FRAME_DESCRIPTORS_SMALL ? 16 : 0;
    return (struct field){(uint32_t *)&self->counts[TSL_FRAME_COUNT_WORDS - 1], shift, FROZEN};
}

TSL_ALWAYS_INLINE static inline struct field state_of(const struct tsl_frame_descriptor *self)
{
    return (struct field){(uint32_t *)&self->tag, 0, 0xff};
}

TSL_ALWAYS_INLINE static inline struct field heat_of(const struct tsl_frame_descriptor *self)
{
    return (struct field){(uint32_t *)&self->tag, 8, 0xff};
}

TSL_ALWAYS_INLINE static inline struct field pins_of(const struct tsl_frame_descriptor *self)
{
    return (struct field){(uint32_t *)&self->tag, 16, 0xffff};
}

TSL_ALWAYS_INLINE static inline uint32_t load(struct field field)
{
    return tsl_atomic_load_u32(field.word) >> field.shift & field.max;
}

/* Replaces `from` by `to`; *from is what was there. */
TSL_ALWAYS_INLINE static inline bool swap(struct field field, uint32_t *from, uint32_t to)
{
    uint32_t word = tsl_atomic_load_u32(field.word);
    uint32_t mask = field.max << field.shift;
    for (;;) {
        uint32_t value = (word & mask) >> field.shift;
        if (value != *from) {
            *from = value;
            return false;
        }
        if (tsl_atomic_compare_exchange_u32(field.word, &word, (word & ~mask) | to << field.shift))
            return true;
    }
}

/* One more, unless it has reached `most`, so that it never runs into the next field. */
TSL_ALWAYS_INLINE static inline bool increase(struct field field, uint32_t most)
{
    uint32_t word = tsl_atomic_load_u32(field.word);
    do {
        if ((word >> field.shift & field.max) >= most)
            return false;
    } while (!tsl_atomic_compare_exchange_u32(field.word, &word, word + (1u << field.shift)));
    return true;
}

/* One less, unless it stays at `most` for good. True for the last one. */
TSL_ALWAYS_INLINE static inline bool decrease(struct field field, uint32_t most)
{
    uint32_t word = tsl_atomic_load_u32(field.word), count;
    do {
        count = word >> field.shift & field.max;
        TSL_ASSERT(count != 0);
        if (count >= most)
            return false;
    } while (!tsl_atomic_compare_exchange_u32(field.word, &word, word - (1u << field.shift)));
    return count == 1;
}

static inline bool is_idle(const struct tsl_frame_descriptor *self)
{
    return load(references_of(self)) == 0 && load(maps_of(self)) == 0 && load(pins_of(self)) == 0;
}

struct tsl_frame_descriptor *tsl_descriptor_of(const struct tsl_frames *self,
                                               struct tsl_frame frame)
{
    const struct frames_span *span = &self->main;
    if (TSL_UNLIKELY(frame.number < span->first || frame.number >= span->end))
        span = tsl_frames_span_of(self, frame.number);
    if (span == NULL || self->descriptors == NULL)
        return NULL;
    return &self->descriptors[frame.number - span->shift];
}

uint32_t tsl_descriptor_index(const struct tsl_frames *self,
                              const struct tsl_frame_descriptor *descriptor)
{
    return (uint32_t)(descriptor - self->descriptors);
}

struct tsl_frame_descriptor *tsl_descriptor_at(const struct tsl_frames *self, uint32_t index)
{
    return &self->descriptors[index];
}

struct tsl_frame tsl_descriptor_frame(const struct tsl_frames *self,
                                      const struct tsl_frame_descriptor *descriptor)
{
    tsl_word index = (tsl_word)(descriptor - self->descriptors);
    TSL_ASSERT(index < self->area_count * AREA_FRAMES);
    return (struct tsl_frame){index + tsl_frames_shift_of(self, index / AREA_FRAMES)};
}

bool tsl_descriptor_is_idle(const struct tsl_frame_descriptor *self)
{
    return is_idle(self);
}

enum tsl_frame_state tsl_descriptor_state(const struct tsl_frame_descriptor *self)
{
    return (enum tsl_frame_state)load(state_of(self));
}

_Static_assert(TSL_FRAME_FREE == 0, "a free frame's tag becomes a page's by a sum");

bool tsl_descriptor_change(struct tsl_frame_descriptor *self, enum tsl_frame_state from,
                           enum tsl_frame_state to)
{
    uint32_t expected = from;
    TSL_ASSERT(to != TSL_FRAME_FREE || tsl_descriptor_is_idle(self));
    return swap(state_of(self), &expected, to);
}

void tsl_descriptor_begin_page(struct tsl_frame_descriptor *self, unsigned maps)
{
    uint32_t tag = tsl_atomic_load_u32(&self->tag);
    TSL_ASSERT(load(state_of(self)) == TSL_FRAME_FREE && is_idle(self));
    tsl_atomic_store_u32(&self->tag, tag + TSL_FRAME_PAGE); /* FREE is 0 */
    uint32_t counts[TSL_FRAME_COUNT_WORDS] = {1};
    counts[TSL_FRAME_COUNT_WORDS - 1] |= maps << maps_of(self).shift;
    for (unsigned i = 0; i < TSL_FRAME_COUNT_WORDS; i++)
        tsl_atomic_store_u32(&self->counts[i], counts[i]);
}

bool tsl_descriptor_end_page(struct tsl_frame_descriptor *self)
{
    if (!decrease(references_of(self), TSL_FRAME_COUNT_MAX))
        return false;
    if (load(maps_of(self)) == FROZEN - 1 || load(pins_of(self)) == pins_of(self).max)
        return false;
    uint32_t from = TSL_FRAME_PAGE;
    self->as.page.owner = NULL;
    bool was_page = swap(state_of(self), &from, TSL_FRAME_FREE);
    TSL_ASSERT(was_page && is_idle(self));
    return true;
}

void tsl_descriptor_get(struct tsl_frame_descriptor *self)
{
    (void)increase(references_of(self), TSL_FRAME_COUNT_MAX);
}

bool tsl_descriptor_put(struct tsl_frame_descriptor *self)
{
    return decrease(references_of(self), TSL_FRAME_COUNT_MAX);
}

uint32_t tsl_descriptor_references(const struct tsl_frame_descriptor *self)
{
    return load(references_of(self));
}

/* Map counts saturate one below FROZEN. */
bool tsl_descriptor_map(struct tsl_frame_descriptor *self)
{
    return increase(maps_of(self), FROZEN - 1) || load(maps_of(self)) == FROZEN - 1;
}

bool tsl_descriptor_unmap(struct tsl_frame_descriptor *self)
{
    TSL_ASSERT(load(maps_of(self)) != FROZEN);
    return decrease(maps_of(self), FROZEN - 1);
}

uint32_t tsl_descriptor_maps(const struct tsl_frame_descriptor *self)
{
    uint32_t count = load(maps_of(self));
    return count == FROZEN ? 0 : count;
}

bool tsl_descriptor_freeze(struct tsl_frame_descriptor *self)
{
    uint32_t expected = 0;
    if (!swap(maps_of(self), &expected, FROZEN))
        return false;
    if (load(pins_of(self)) == 0)
        return true;
    tsl_descriptor_thaw(self);
    return false;
}

void tsl_descriptor_thaw(struct tsl_frame_descriptor *self)
{
    uint32_t expected = FROZEN;
    TSL_ASSERT(swap(maps_of(self), &expected, 0));
}

bool tsl_descriptor_is_frozen(const struct tsl_frame_descriptor *self)
{
    return load(maps_of(self)) == FROZEN;
}

bool tsl_descriptor_pin(struct tsl_frame_descriptor *self)
{
    struct field pins = pins_of(self);
    (void)increase(pins, pins.max);
    if (!tsl_descriptor_is_frozen(self))
        return true;
    (void)decrease(pins, pins.max);
    return false;
}

void tsl_descriptor_unpin(struct tsl_frame_descriptor *self)
{
    struct field pins = pins_of(self);
    (void)decrease(pins, pins.max);
}

uint32_t tsl_descriptor_pins(const struct tsl_frame_descriptor *self)
{
    return load(pins_of(self));
}

unsigned tsl_descriptor_heat(const struct tsl_frame_descriptor *self)
{
    return load(heat_of(self));
}

void tsl_descriptor_set_heat(struct tsl_frame_descriptor *self, unsigned heat)
{
    uint32_t before = load(heat_of(self));
    while (!swap(heat_of(self), &before, heat & 0xff)) {
    }
}
