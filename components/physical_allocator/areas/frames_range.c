/* SPDX-License-Identifier: MIT
 *
 * frames_range.c: ranges of indexes that may cross words and areas: take, check, give, measure.
 *
 * Owns:    nothing of its own; every step is one of frames_area.c.
 * Needs:   frames_area.c, the port's pin.
 * Callers: frames_free.c, frames_run.c.
 *
 * Pinned for one area at a time, so that a run of a gigabyte does not hold interrupts off for long.
 */
#include "../physical_allocator_internal.h"

/* The part of a range that lies in one area. */
struct part {
    tsl_word area;
    unsigned from;
    unsigned count;
};

static struct part part_of(tsl_word index, tsl_word count)
{
    unsigned from = (unsigned)(index % AREA_FRAMES);
    tsl_word room = AREA_FRAMES - from;
    return (struct part){index / AREA_FRAMES, from, (unsigned)(count < room ? count : room)};
}

static bool is_huge_part(const struct part *part, enum range_huge huge)
{
    return huge == RANGE_HUGE && part->count == TSL_FRAMES_PER_AREA;
}

static bool take_part(struct tsl_frames *self, const struct part *part, enum range_huge huge)
{
    tsl_pin pin = tsl_cpu_pin();
    struct frames_cpu *cpu = this_cpu(self);
    bool is_taken = is_huge_part(part, huge)
                        ? tsl_frames_huge_take(self, cpu, part->area)
                        : tsl_frames_part_take(self, cpu, part->area, part->from, part->count);
    tsl_cpu_unpin(pin);
    return is_taken;
}

static bool give_part(struct tsl_frames *self, const struct part *part, enum range_huge huge)
{
    tsl_pin pin = tsl_cpu_pin();
    struct frames_cpu *cpu = this_cpu(self);
    bool is_given = is_huge_part(part, huge)
                        ? tsl_frames_huge_give(self, cpu, part->area)
                        : tsl_frames_part_give(self, cpu, part->area, part->from, part->count);
    tsl_cpu_unpin(pin);
    return is_given;
}

static void return_part(struct tsl_frames *self, const struct part *part, enum range_huge huge)
{
    tsl_pin pin = tsl_cpu_pin();
    struct frames_cpu *cpu = this_cpu(self);
    if (!is_huge_part(part, huge))
        tsl_frames_part_return(self, cpu, part->area, part->from, part->count);
    else if (tsl_frames_huge_give(self, cpu, part->area))
        word_add(&self->returns, FRAMES_RETURN);
    tsl_cpu_unpin(pin);
}

void tsl_frames_range_return(struct tsl_frames *self, tsl_word index, tsl_word count,
                             enum range_huge huge)
{
    for (tsl_word done = 0; done < count;) {
        struct part part = part_of(index + done, count - done);
        return_part(self, &part, huge);
        done += part.count;
    }
}

void tsl_frames_step_back(struct tsl_frames *self, tsl_word number, tsl_word count)
{
    const struct frames_span *span = tsl_frames_span_of(self, number);
    TSL_ASSERT(span != NULL);
    tsl_frames_range_return(self, number - span->shift, count, RANGE_HUGE);
}

bool tsl_frames_range_take(struct tsl_frames *self, tsl_word index, tsl_word count,
                           enum range_huge huge)
{
    tsl_word done = 0;
    while (done < count) {
        struct part part = part_of(index + done, count - done);
        if (!take_part(self, &part, huge)) {
            tsl_frames_range_return(self, index, done, huge);
            return false;
        }
        done += part.count;
    }
    return true;
}

enum tsl_status tsl_frames_range_give(struct tsl_frames *self, tsl_word index, tsl_word count,
                                      enum range_huge huge)
{
    for (tsl_word done = 0; done < count;) {
        struct part part = part_of(index + done, count - done);
        if (!give_part(self, &part, huge))
            return TSL_DOUBLE_FREE;
        done += part.count;
    }
    return TSL_OK;
}

static unsigned free_bits_in(const struct tsl_frames *self, const struct part *part)
{
    const tsl_word *words = area_words(self, part->area);
    unsigned free = 0;
    for (unsigned bit = part->from; bit < part->from + part->count;) {
        unsigned offset = bit % TSL_WORD_BITS;
        unsigned left = part->from + part->count - bit;
        unsigned bits = left < TSL_WORD_BITS - offset ? left : TSL_WORD_BITS - offset;
        tsl_word word = word_free_now(self, part->area, &words[bit / TSL_WORD_BITS]);
        free += tsl_bits_count(word & tsl_bits_mask(offset, bits));
        bit += bits;
    }
    return free;
}

tsl_word tsl_frames_free_in(const struct tsl_frames *self, tsl_word index, tsl_word count)
{
    tsl_word free = 0;
    for (tsl_word done = 0; done < count;) {
        struct part part = part_of(index + done, count - done);
        free += state_is_huge(area_state(self, part.area)) ? 0 : free_bits_in(self, &part);
        done += part.count;
    }
    return free;
}

enum tsl_status tsl_frames_range_check(const struct tsl_frames *self, tsl_word index,
                                       tsl_word count, enum range_huge huge)
{
    tsl_word free = 0;
    bool is_other_size = false;
    for (tsl_word done = 0; done < count;) {
        struct part part = part_of(index + done, count - done);
        bool is_huge = state_is_huge(area_state(self, part.area));
        is_other_size |= is_huge != is_huge_part(&part, huge);
        free += is_huge ? 0 : free_bits_in(self, &part);
        done += part.count;
    }
    if (free == count)
        return TSL_DOUBLE_FREE;
    return free > 0 || is_other_size ? TSL_WRONG_SIZE : TSL_OK;
}

tsl_word tsl_frames_range_free(const struct tsl_frames *self, tsl_word index, tsl_word count)
{
    tsl_word done = 0;
    while (done < count) {
        tsl_word at = index + done;
        unsigned offset = (unsigned)(at % TSL_WORD_BITS);
        bool is_new_area = done == 0 || at % AREA_FRAMES == 0;
        if (is_new_area && state_is_huge(area_state(self, at / AREA_FRAMES)))
            return done;
        tsl_word taken = ~tsl_atomic_load(&self->words[at / TSL_WORD_BITS]) >> offset;
        if (taken != 0) {
            done += tsl_bits_lowest(taken);
            return done < count ? done : count;
        }
        done += TSL_WORD_BITS - offset;
    }
    return count;
}
