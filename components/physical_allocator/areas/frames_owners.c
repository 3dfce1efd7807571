/* SPDX-License-Identifier: MIT
 *
 * frames_owners.c: which call took each frame.
 *
 * Owns:    the meaning of the guard's sites and marks; the table by call site.
 * Needs:   frames_guard.h, base (format).
 * Callers: frames_guard.c, frames_free.c, the public tsl_frames_owner and _owners_dump.
 */
#include "frames_guard.h"

/* A mark is a byte: bit 0 the first frame of a call, then the way, then the order. */
#define MARK_FIRST       1u
#define MARK_WAY_SHIFT   1
#define MARK_WAY_MASK    7u
#define MARK_ORDER_SHIFT 4

_Static_assert(TSL_FRAMES_MAX_ORDER < 16 && TSL_FRAMES_BY_RESERVE <= MARK_WAY_MASK,
               "a way and an order fit into a mark");

/* Places in the code that the dump counts at once. */
#define SITES_A_PASS 16u

static unsigned mark_of(const struct frames_taker *taker)
{
    return (unsigned)taker->way << MARK_WAY_SHIFT | taker->order << MARK_ORDER_SHIFT;
}

/* The mark is written last and read first, so that it never stands beside an older site. */
static void set_entry(struct frames_guard *guard, tsl_word index, tsl_word site, unsigned mark)
{
    tsl_atomic_store(&guard->sites[index], site);
    tsl_atomic_store_release_u8(&guard->marks[index], (uint8_t)mark);
}

void tsl_frames_owners_set(struct tsl_frames *self, tsl_word index, tsl_word count,
                           const struct frames_taker *taker)
{
    if (!TSL_FRAME_OWNERS)
        return;
    unsigned mark = mark_of(taker);
    for (tsl_word i = 0; i < count; i++)
        set_entry(self->guard, index + i, taker->site, i == 0 ? mark | MARK_FIRST : mark);
}

void tsl_frames_owners_clear(struct tsl_frames *self, tsl_word index, tsl_word count)
{
    for (tsl_word i = 0; TSL_FRAME_OWNERS && i < count; i++)
        tsl_atomic_store_release_u8(&self->guard->marks[index + i], 0);
}

void tsl_frames_owners_split(struct tsl_frames *self, tsl_word index, tsl_word count)
{
    const unsigned single = MARK_FIRST | (unsigned)TSL_FRAMES_BY_BLOCK << MARK_WAY_SHIFT;
    for (tsl_word i = 0; TSL_FRAME_OWNERS && i < count; i++)
        tsl_atomic_store_release_u8(&self->guard->marks[index + i], (uint8_t)single);
}

enum tsl_status tsl_frames_owner(const struct tsl_frames *self, struct tsl_frame frame,
                                 struct tsl_frames_owner *out)
{
    if (!TSL_FRAME_OWNERS)
        return TSL_UNSUPPORTED;
    const struct frames_span *span = tsl_frames_span_of(self, frame.number);
    if (span == NULL)
        return TSL_FOREIGN;
    tsl_word index = frame.number - span->shift;
    unsigned mark = tsl_atomic_load_u8(&self->guard->marks[index]);
    if (mark == 0)
        return TSL_NOT_FOUND;
    out->site = (uintptr_t)tsl_atomic_load(&self->guard->sites[index]);
    out->order = mark >> MARK_ORDER_SHIFT;
    out->way = (enum tsl_frames_way)(mark >> MARK_WAY_SHIFT & MARK_WAY_MASK);
    out->is_first = (mark & MARK_FIRST) != 0;
    return TSL_OK;
}

/* One line of the table. */
struct site {
    tsl_word address;
    tsl_word frames;
    tsl_word calls;
};

/* The lowest sites above one, sorted. */
struct site_table {
    struct site sites[SITES_A_PASS];
    unsigned count;
};

/* The entry of a site; NULL if it comes behind a full table. What it pushes out comes back in the
 * next pass, counted from the start. */
static struct site *site_in(struct site_table *table, tsl_word address)
{
    unsigned at = 0;
    while (at < table->count && table->sites[at].address < address)
        at++;
    if (at == SITES_A_PASS)
        return NULL;
    if (at < table->count && table->sites[at].address == address)
        return &table->sites[at];
    table->count += table->count < SITES_A_PASS ? 1 : 0;
    for (unsigned i = table->count - 1; i > at; i--)
        table->sites[i] = table->sites[i - 1];
    table->sites[at] = (struct site){.address = address};
    return &table->sites[at];
}

/* Counts the lowest sites above `above`. */
static void count_sites(const struct tsl_frames *self, tsl_word above, struct site_table *table)
{
    table->count = 0;
    for (tsl_word index = 0; index < self->area_count * AREA_FRAMES; index++) {
        unsigned mark = tsl_atomic_load_u8(&self->guard->marks[index]);
        tsl_word address = tsl_atomic_load(&self->guard->sites[index]);
        struct site *site = mark == 0 || address <= above ? NULL : site_in(table, address);
        if (site == NULL)
            continue;
        site->frames++;
        site->calls += mark & MARK_FIRST;
    }
}

void tsl_frames_owners_dump(const struct tsl_frames *self, const struct tsl_sink *sink)
{
    if (!TSL_FRAME_OWNERS) {
        tsl_print(sink, "owners of frames: not configured\n");
        return;
    }
    struct site_table table = {.count = 0};
    tsl_word above = 0;
    tsl_print(sink, "owners of frames: call site, frames, calls\n");
    do {
        count_sites(self, above, &table);
        for (unsigned i = 0; i < table.count; i++) {
            const struct site *site = &table.sites[i];
            tsl_print(sink, "  %#lx %lu %lu\n", (unsigned long)site->address,
                      (unsigned long)site->frames, (unsigned long)site->calls);
            above = site->address;
        }
    } while (table.count == SITES_A_PASS);
}
