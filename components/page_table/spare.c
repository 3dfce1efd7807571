/* SPDX-License-Identifier: MIT
 *
 * spare.c: table frames that an operation takes before it changes anything.
 *
 * Owns:    struct tsl_spare: a list of zeroed frames, linked through their own memory.
 * Needs:   physical_allocator; walk.c.
 * Callers: map, split, fix. With all frames in hand they cannot fail half-way.
 */
#include "page_table_internal.h"

/* At the start of a spare frame; cleared when it is taken. */
struct link {
    struct link *next;
    tsl_paddr address;
};

static void give_back(struct tsl_spare *self, struct tsl_table *table)
{
    while (self->count > 0) {
        tsl_paddr address;
        (void)tsl_spare_take(self, &address);
        enum tsl_status status = tsl_frames_free(table->frames, tsl_frame_of(address), 0);
        TSL_ASSERT(status == TSL_OK);
    }
}

enum tsl_status tsl_spare_fill(struct tsl_spare *self, struct tsl_table *table, tsl_word count)
{
    *self = (struct tsl_spare){0};
    while (self->count < count) {
        struct tsl_frame frame;
        enum tsl_status status =
            tsl_frames_alloc(table->frames, 0, TSL_FRAMES_LOW | TSL_FRAMES_ZERO, &frame);
        if (status != TSL_OK) {
            give_back(self, table);
            return status;
        }
        struct link *link = tsl_port_phys_to_virt(tsl_frame_address(frame));
        TSL_ASSERT(link != NULL);
        *link = (struct link){self->head, tsl_frame_address(frame)};
        self->head = link;
        self->count++;
    }
    return TSL_OK;
}

void *tsl_spare_take(struct tsl_spare *self, tsl_paddr *out)
{
    TSL_ASSERT(self->count > 0);
    struct link *link = self->head;
    self->head = link->next;
    self->count--;
    *out = link->address;
    *link = (struct link){0};
    return link;
}

void tsl_spare_hook(struct tsl_spare *self, struct tsl_table *table, struct tsl_walk *walk)
{
    const struct tsl_table_format *format = table->format;
    tsl_paddr address;
    void *memory = tsl_spare_take(self, &address);
    bool user = tsl_table_in_user_half(format, walk->level, walk->at);
    uint64_t raw = format->encode_table(walk->level, address, user);
    tsl_entry_publish(format, walk->memory[walk->level], tsl_walk_index(walk), raw);
    tsl_root_changed(table, walk->level, walk->at, 1);
    table->counters.tables++;

    walk->level--;
    walk->memory[walk->level] = memory;
    walk->raw = 0;
}

tsl_word tsl_spare_missing(const struct tsl_walk *walk, unsigned level, tsl_vaddr first)
{
    tsl_word missing = 0;
    for (unsigned above = walk->level; above > level; above--) {
        tsl_vaddr span = tsl_table_format_page_bytes(walk->table->format, above);
        if (walk->at == first || (walk->at & (span - 1u)) == 0)
            missing++;
    }
    return missing;
}
