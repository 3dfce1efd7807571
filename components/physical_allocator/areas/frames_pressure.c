/* SPDX-License-Identifier: MIT
 *
 * frames_pressure.c: watermarks: which level holds, and who is told.
 *
 * Owns:    struct frames_marks.
 * Needs:   frames_stats.c (the count of free frames).
 * Callers: the public _set_watermarks and _level; the ends of requests.
 */
#include "../physical_allocator_internal.h"

static uint32_t level_of(const struct frames_marks *marks, uint32_t now, tsl_word free)
{
    if (free >= marks->high)
        return TSL_LEVEL_PLENTY;
    if (free < marks->min)
        return TSL_LEVEL_MIN;
    if (free < marks->low)
        return TSL_LEVEL_LOW;
    /* Between low and high: rising from MIN it is LOW now, else what it was. */
    return now == TSL_LEVEL_MIN ? TSL_LEVEL_LOW : now;
}

/* The rule follows the level, also when two CPUs change it at once: whoever takes the rule away
 * looks at the level afterwards, whoever changes the level sets the rule afterwards. */
static void update_rule(struct tsl_frames *self)
{
    if (tsl_frames_level(self) == TSL_LEVEL_PLENTY)
        tsl_frames_set_rule(self, FRAMES_RULE_PRESSURE, false);
    if (tsl_frames_level(self) != TSL_LEVEL_PLENTY)
        tsl_frames_set_rule(self, FRAMES_RULE_PRESSURE, true);
}

void tsl_frames_watch_slowly(struct tsl_frames *self)
{
    struct frames_marks *marks = &self->marks;
    uint32_t now = tsl_atomic_load_u32(&marks->level);
    if (now == TSL_LEVEL_PLENTY && tsl_frames_is_plenty(self))
        return;
    while (marks->crossed != NULL) {
        uint32_t level = level_of(marks, now, tsl_frames_free_count(self));
        if (level == now)
            return;
        if (!tsl_atomic_compare_exchange_u32(&marks->level, &now, level))
            continue;
        update_rule(self);
        /* The rule stops claims; what is claimed now would change hands unseen. */
        if (level != TSL_LEVEL_PLENTY)
            (void)tsl_frames_revoke(self, 0, 0);
        marks->crossed(marks->context, (enum tsl_frames_level)level);
        now = tsl_atomic_load_u32(&marks->level);
    }
}

enum tsl_status tsl_frames_set_watermarks(struct tsl_frames *self,
                                          const struct tsl_frames_watermarks *marks)
{
    if (!TSL_FRAME_WATERMARKS)
        return tsl_refuse(&self->refusals, TSL_UNSUPPORTED, "frames: no watermarks compiled in");
    if (marks != NULL && (marks->min == 0 || marks->min > marks->low || marks->low > marks->high ||
                          marks->crossed == NULL)) {
        return tsl_refuse(
            &self->refusals, TSL_INVALID, "frames: watermarks %lu, %lu, %lu, or no callback",
            (unsigned long)marks->min, (unsigned long)marks->low, (unsigned long)marks->high);
    }
    self->marks = (struct frames_marks){.level = TSL_LEVEL_PLENTY};
    if (marks != NULL) {
        self->marks = (struct frames_marks){.min = marks->min,
                                            .low = marks->low,
                                            .high = marks->high,
                                            .crossed = marks->crossed,
                                            .context = marks->context};
    }
    tsl_frames_set_watched(self);
    update_rule(self);
    tsl_frames_watch_slowly(self);
    return TSL_OK;
}

enum tsl_frames_level tsl_frames_level(const struct tsl_frames *self)
{
    return (enum tsl_frames_level)tsl_atomic_load_u32(&self->marks.level);
}
