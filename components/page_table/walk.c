/* SPDX-License-Identifier: MIT
 *
 * walk.c: the one walker: from the root to the entry that decides an address, for every format.
 *
 * Owns:    struct tsl_walk.
 * Needs:   entry.c; tables are reached through phys_to_virt only.
 * Callers: page_table, with the table lock held.
 */
#include "page_table_internal.h"

void tsl_walk_begin(struct tsl_walk *self, const struct tsl_table *table)
{
    self->table = table;
    self->at = 0;
    self->level = tsl_table_top(table);
    self->memory[self->level] = table->root_memory;
}

/* The lowest level whose table on the old path is also on the path to `va`. */
static unsigned common_level(const struct tsl_walk *self, tsl_vaddr va)
{
    const struct tsl_table_format *format = self->table->format;
    unsigned level = self->level;
    while (level < format->levels - 1u && (va ^ self->at) >> format->shift[level + 1u] != 0)
        level++;
    return level;
}

TSL_NOINLINE static void walk_down(struct tsl_walk *self, tsl_vaddr va)
{
    const struct tsl_table *table = self->table;
    const struct tsl_table_format *format = table->format;
    unsigned level = common_level(self, va);
    for (;;) {
        unsigned index = tsl_table_format_index(format, level, va);
        struct tsl_table_entry entry;
        self->raw = tsl_entry_load(format, self->memory[level], index);
        if (level == 0 || self->raw == 0)
            break;
        format->decode(level, self->raw, &table->features, &entry);
        if (!entry.present || entry.leaf)
            break;
        level--;
        self->memory[level] = tsl_port_phys_to_virt(entry.target);
        TSL_ASSERT(self->memory[level] != NULL);
    }
    self->at = va;
    self->level = level;
}

void tsl_walk_to(struct tsl_walk *self, tsl_vaddr va)
{
    const struct tsl_table_format *format = self->table->format;
    /* In the table where the last walk ended. The rest is out of line: this needs no registers
     * saved. */
    if (TSL_UNLIKELY(self->level != 0 || (va ^ self->at) >> format->shift[1] != 0)) {
        walk_down(self, va);
        return;
    }
    self->at = va;
    self->raw = tsl_entry_load(format, self->memory[0], tsl_table_format_index(format, 0, va));
}

struct tsl_mapping tsl_walk_mapping(const struct tsl_walk *self)
{
    const struct tsl_table *table = self->table;
    tsl_vaddr bytes = tsl_table_format_page_bytes(table->format, self->level);
    struct tsl_table_entry entry;
    table->format->decode(self->level, self->raw, &table->features, &entry);
    return (struct tsl_mapping){
        .start = self->at & ~(bytes - 1u),
        .target = entry.target,
        .bytes = bytes,
        .attributes = entry.attributes,
        .accessed = entry.accessed,
        .dirty = entry.dirty,
    };
}
