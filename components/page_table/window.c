/* SPDX-License-Identifier: MIT
 *
 * window.c: a few pages of address space a CPU, to reach frames for a moment.
 *
 * Owns:    struct tsl_windows.
 * Needs:   page_table (fixed tables), arch (local flush, reach), port (cpu_id, phys_to_virt).
 * Callers: the public, pinned.
 */
#include <tesela/window.h>

#include <tesela/arch.h>
#include <tesela/port.h>

#include "page_table_internal.h"

enum { CLOSED, DIRECT, MAPPED };

static unsigned page_of(unsigned cpu, enum tsl_window window)
{
    return cpu * TSL_WINDOW_COUNT + (unsigned)window;
}

static tsl_vaddr address_of(const struct tsl_windows *self, unsigned page)
{
    return self->base + (tsl_vaddr)page * TSL_PAGE_BYTES;
}

enum tsl_status tsl_windows_init(struct tsl_windows *self, struct tsl_table *table,
                                 const struct tsl_layout_range *range)
{
    const struct tsl_table_format *format = table->format;
    tsl_vaddr span = tsl_table_format_page_bytes(format, 1);
    size_t bytes = (size_t)TSL_WINDOW_PAGES * TSL_PAGE_BYTES;
    if ((range->start & (span - 1u)) != 0 || range->last - range->start < bytes - 1u)
        return tsl_refuse(&table->refusals, TSL_OUT_OF_RANGE, "tables: %u windows at %zx",
                          (unsigned)TSL_WINDOW_PAGES, (size_t)range->start);
    enum tsl_status status = tsl_table_fix(table, range->start, bytes);
    if (status != TSL_OK)
        return status;

    *self = (struct tsl_windows){.table = table, .base = range->start};
    unsigned entries = tsl_table_entries(format, 0);
    struct tsl_walk walk;
    tsl_pin pin = tsl_lock_acquire(&table->lock);
    tsl_walk_begin(&walk, table);
    for (unsigned first = 0; first < TSL_WINDOW_PAGES; first += entries) {
        tsl_walk_to(&walk, address_of(self, first));
        self->entries[first / entries] = walk.memory[0];
    }
    tsl_lock_release(&table->lock, pin);
    return TSL_OK;
}

void *tsl_window_open(struct tsl_windows *self, enum tsl_window window, struct tsl_frame frame)
{
    const struct tsl_table *table = self->table;
    unsigned cpu = tsl_port_cpu_id();
    uint8_t *state = &self->state[cpu][window];
    TSL_ASSERT(*state == CLOSED); /* windows do not nest */
    void *direct = tsl_port_phys_to_virt(tsl_frame_address(frame));
    if (direct != NULL) {
        *state = DIRECT;
        return direct;
    }
    *state = MAPPED;
    unsigned page = page_of(cpu, window);
    unsigned entries = tsl_table_entries(table->format, 0);
    uint64_t raw = table->format->encode_leaf(0, tsl_frame_address(frame), TSL_READ | TSL_WRITE,
                                              &table->features);
    tsl_entry_publish(table->format, self->entries[page / entries], page % entries, raw);
    void *reached = tsl_arch_reach(address_of(self, page));
    TSL_ASSERT(reached != NULL);
    return reached;
}

void tsl_window_close(struct tsl_windows *self, enum tsl_window window)
{
    unsigned cpu = tsl_port_cpu_id();
    uint8_t *state = &self->state[cpu][window];
    TSL_ASSERT(*state != CLOSED);
    if (*state == MAPPED) {
        const struct tsl_table_format *format = self->table->format;
        unsigned page = page_of(cpu, window);
        unsigned entries = tsl_table_entries(format, 0);
        (void)tsl_entry_take(format, self->entries[page / entries], page % entries);
        tsl_arch_flush_page(address_of(self, page));
    }
    *state = CLOSED;
}
