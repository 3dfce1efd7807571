/* SPDX-License-Identifier: MIT
 *
 * table_world.c: see table_world.h.
 *
 * Owns:    nothing beyond it.
 * Needs:   machine.c, arch/host.
 * Callers: tests of page_table.
 */
#include "table_world.h"

#include <host/model_cpu.h>
#include <host/ram.h>
#include <host/walker.h>
#include <string.h>
#include <tesela/cpu.h>

#include "host_port.h"
#include "tap.h"

bool world_open(struct world *self, const struct tsl_table_format *format,
                const struct machine_config *config)
{
    struct machine_config made = {.format = format->name};
    if (config != NULL)
        made = *config;
    made.format = format->name;
    if (!machine_create(&made) || machine_frames() == NULL)
        return false;
    self->frames = machine_frames();
    self->free_before = tsl_frames_free_count(self->frames);
    struct tsl_table_config table = {
        .format = machine_format(),
        .features = *machine_features(),
        .frames = self->frames,
        .kernel = false,
    };
    if (tsl_table_init(&self->table, &table) != TSL_OK)
        return false;
    for (unsigned cpu = 0; cpu == 0 || cpu < made.cpus; cpu++) {
        host_port_set_cpu(cpu);
        tsl_table_switch_to(&self->table);
    }
    host_port_set_cpu(0);
    return true;
}

void world_close(struct world *self)
{
    CHECK_SOUND(tsl_table_verify(&self->table));
    CHECK_SOUND(tsl_frames_verify(self->frames));
    for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++) {
        host_port_set_cpu(cpu);
        if (tsl_cpu_set_has(&self->table.cpus, cpu)) {
            tsl_arch_switch_root(0);
            tsl_table_left(&self->table);
        }
    }
    host_port_set_cpu(0);
    CHECK_STATUS(tsl_table_fini(&self->table), TSL_OK);
    CHECK_EQ(tsl_frames_free_count(self->frames), self->free_before);
    machine_destroy();
}

void world_nothing_stale(void)
{
    struct model_counters counters;
    model_counters(&counters);
    CHECK_EQ(counters.stale_hits, 0);
    CHECK_EQ(counters.freed_frames, 0);
    CHECK_EQ(counters.freed_tables, 0);
    CHECK_EQ(counters.reserved, 0);
    CHECK_EQ(counters.two_sizes_fetched, 0);
}

tsl_vaddr world_start(enum tsl_layout_use use)
{
    return tsl_layout_find(machine_layout(), use)->start;
}

static uint64_t read_ram(uint64_t address, unsigned bytes)
{
    uint64_t value = 0;
    const void *place = host_ram_at(address);
    if (place != NULL)
        memcpy(&value, place, bytes);
    return value;
}

static struct walker_machine walker_of(const struct tsl_table *table)
{
    const struct tsl_cpu_features *features = machine_features();
    const char *name = table->format->name;
    enum walker_mode mode = strcmp(name, "2level") == 0   ? WALKER_32BIT
                            : strcmp(name, "pae") == 0    ? WALKER_PAE
                            : strcmp(name, "4level") == 0 ? WALKER_4LEVEL
                                                          : WALKER_5LEVEL;
    return (struct walker_machine){mode,          features->nx,       features->pse,
                                   features->pge, features->pages_1g, features->physical_bits,
                                   read_ram};
}

static unsigned cache_index(unsigned attributes, bool pat)
{
    switch (attributes & TSL_CACHE_MASK) {
    case TSL_CACHE_WRITE_THROUGH:
        return 1;
    case TSL_CACHE_UNCACHED:
        return 3;
    case TSL_CACHE_WRITE_COMBINING:
        return pat ? 4 : 3;
    default:
        return 0;
    }
}

static bool walker_says(const struct tsl_table *table, tsl_vaddr va, tsl_paddr target,
                        unsigned attributes)
{
    const struct tsl_cpu_features *features = machine_features();
    struct walker_machine machine = walker_of(table);
    struct walker_page page;
    bool enforces_nx = table->format->has_nx && features->nx;
    if (walker_translate(&machine, table->root, NULL, va, &page) != WALKER_OK)
        return false;
    return page.target + (va - page.start) == target &&
           page.rights.writable == ((attributes & TSL_WRITE) != 0) &&
           page.rights.user == ((attributes & TSL_USER) != 0) &&
           page.rights.executable == ((attributes & TSL_EXEC) != 0 || !enforces_nx) &&
           page.global == ((attributes & TSL_GLOBAL) != 0 && features->pge) &&
           page.cache_index == cache_index(attributes, features->pat);
}

static bool walker_says_nothing(const struct tsl_table *table, tsl_vaddr va)
{
    struct walker_machine machine = walker_of(table);
    struct walker_page page;
    return walker_translate(&machine, table->root, NULL, va, &page) == WALKER_NOT_PRESENT;
}

bool world_agrees(struct world *self, tsl_vaddr va, bool present, tsl_paddr target,
                  unsigned attributes)
{
    struct tsl_mapping mapping;
    enum tsl_status status = tsl_table_query(&self->table, va, &mapping);
    bool agrees;
    if (self->table.number != 0 && self->table.kernel && va > self->table.format->user_last)
        attributes |= TSL_GLOBAL; /* where translations are tagged, whatever was asked for */
    if (!present) {
        agrees = status == TSL_NOT_FOUND && walker_says_nothing(&self->table, va);
    } else {
        unsigned kept = TSL_READ | TSL_WRITE | TSL_EXEC | TSL_USER;
        agrees = status == TSL_OK && mapping.target + (va - mapping.start) == target &&
                 ((mapping.attributes ^ (attributes | TSL_READ)) & kept) == 0 &&
                 walker_says(&self->table, va, target, attributes);
    }
    if (!agrees)
        tap_note("%s: at %zx: expected %s %llx %x, query says %s %llx %x", self->table.format->name,
                 (size_t)va, present ? "page" : "nothing", (unsigned long long)target, attributes,
                 tsl_status_name(status), status == TSL_OK ? (unsigned long long)mapping.target : 0,
                 status == TSL_OK ? mapping.attributes : 0);
    return agrees;
}

void for_each_format(void (*body)(const struct tsl_table_format *format))
{
    for (size_t i = 0; i < machine_format_count(); i++) {
        tap_note("format %s", machine_format_at(i)->name);
        body(machine_format_at(i));
    }
}

tsl_paddr world_frame(struct world *self, unsigned order)
{
    struct tsl_frame frame = {0};
    CHECK_STATUS(tsl_frames_alloc(self->frames, order, TSL_FRAMES_HIGH, &frame), TSL_OK);
    return tsl_frame_address(frame);
}

void *world_entry(struct world *self, tsl_vaddr va, unsigned *level)
{
    struct walker_machine machine = walker_of(&self->table);
    struct walker_page page;
    (void)walker_translate(&machine, self->table.root, NULL, va, &page);
    *level = self->table.format->levels - page.depth;
    return host_ram_at(page.entry_at[page.depth - 1]);
}

uint64_t world_entry_get(struct world *self, const void *entry)
{
    uint64_t value = 0;
    memcpy(&value, entry, self->table.format->entry_bytes);
    return value;
}

void world_entry_set(struct world *self, void *entry, uint64_t value)
{
    memcpy(entry, &value, self->table.format->entry_bytes);
}
