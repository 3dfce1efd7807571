/* SPDX-License-Identifier: MIT
 *
 * page_table_verify.c: the invariants of a table, checked by reading all of it.
 *
 * Owns:    tsl_table_verify. The rules are numbered in the README.
 * Needs:   entry.c; physical_allocator (is a table's frame really an allocated one?).
 * Callers: tests, the monitor.
 */
#include "page_table_internal.h"

enum rule {
    RULE_ROOT = 1,
    RULE_ABSENT_IS_ZERO,
    RULE_RESERVED_BITS,
    RULE_TABLE_FRAME,
    RULE_NO_EMPTY_TABLE,
    RULE_TABLE_ONCE,
    RULE_PAGE_COUNTS,
    RULE_WRITE_XOR_EXECUTE,
    RULE_USER_HALF,
    RULE_TABLE_USER_BIT,
    RULE_GLOBAL,
    RULE_NO_GUARD_PAGE,
    RULE_FIXED_TABLES,
    RULE_KEPT_TABLES,
    RULE_KERNEL_HALF,
};

static const char *const sentence[] = {
    [RULE_ROOT] = "the root is an allocated frame in low memory",
    [RULE_ABSENT_IS_ZERO] = "an absent entry is zero",
    [RULE_RESERVED_BITS] = "no entry has a bit that this CPU demands to be zero",
    [RULE_TABLE_FRAME] = "every table is an allocated frame that phys_to_virt reaches",
    [RULE_NO_EMPTY_TABLE] = "no table is empty, but the root, those fixed and those kept",
    [RULE_TABLE_ONCE] = "there are as many tables as are counted",
    [RULE_PAGE_COUNTS] = "pages found at each level are those counted",
    [RULE_WRITE_XOR_EXECUTE] = "no page is writable and executable without permission",
    [RULE_USER_HALF] = "only pages of the user half are open to user mode",
    [RULE_TABLE_USER_BIT] = "a table is open to user mode just if it leads to the user half",
    [RULE_GLOBAL] = "global pages lie in the kernel half of a CPU that has them",
    [RULE_NO_GUARD_PAGE] = "page 0 and the page under the hole are not mapped",
    [RULE_FIXED_TABLES] = "the tables of the fixed range are there",
    [RULE_KEPT_TABLES] = "what is noted as kept is a table of 4 KiB pages, noted once",
    [RULE_KERNEL_HALF] = "a table that shows the kernel's half has its root entries",
};

/* A depth-first visit without recursion: one table and one index a level. */
struct visit {
    struct tsl_table *table;
    unsigned level;
    void *memory[TSL_TABLE_LEVELS];
    unsigned index[TSL_TABLE_LEVELS];
    tsl_word present[TSL_TABLE_LEVELS]; /* entries present in the table open at a level */
    struct tsl_table_counters found;
};

static struct tsl_defect broken(enum rule rule, tsl_vaddr place)
{
    return tsl_defect_at("tables", (unsigned)rule, place, sentence[rule]);
}

/* The first address below the entry that the visit stands at on `lowest`. */
static tsl_vaddr address_at(const struct visit *self, unsigned lowest)
{
    const struct tsl_table_format *format = self->table->format;
    tsl_vaddr va = 0;
    for (unsigned level = lowest; level < TSL_TABLE_LEVELS && level < format->levels; level++)
        va |= (tsl_vaddr)self->index[level] << format->shift[level];
    if (format->sign_extended && va > tsl_table_lower_last(format))
        va |= tsl_table_upper_half(format);
    return va;
}

static tsl_vaddr address_of(const struct visit *self)
{
    return address_at(self, self->level);
}

static bool is_table_frame(const struct tsl_table *table, tsl_paddr address)
{
    struct tsl_frame frame = tsl_frame_of(address);
    return address != 0 && (address & (TSL_PAGE_BYTES - 1u)) == 0 &&
           tsl_frames_is_managed(table->frames, frame) &&
           !tsl_frames_is_free(table->frames, frame) && tsl_port_phys_to_virt(address) != NULL;
}

static struct tsl_defect check_page(struct visit *self, const struct tsl_table_entry *entry)
{
    const struct tsl_table *table = self->table;
    const struct tsl_table_format *format = table->format;
    tsl_vaddr start = address_of(self);
    tsl_vaddr last = start + (tsl_table_format_page_bytes(format, self->level) - 1u);
    unsigned attributes = entry->attributes;

    if (start == 0 || (format->sign_extended && start <= tsl_table_lower_last(format) &&
                       last > format->user_last))
        return broken(RULE_NO_GUARD_PAGE, start);
    if ((attributes & TSL_WRITE) && (attributes & TSL_EXEC) && !(attributes & TSL_ALLOW_WX))
        return broken(RULE_WRITE_XOR_EXECUTE, start);
    if (entry->user && (start < format->user_first || last > format->user_last))
        return broken(RULE_USER_HALF, start);
    if ((attributes & TSL_GLOBAL) &&
        (!table->features.pge || !tsl_is_in_kernel_half(format, start)))
        return broken(RULE_GLOBAL, start);
    /* Pages in the windows come and go without the lock, and are not counted. */
    if (start < table->fixed_first || start > table->fixed_last)
        self->found.pages[self->level]++;
    return TSL_NO_DEFECT;
}

static struct tsl_defect enter_table(struct visit *self, const struct tsl_table_entry *entry)
{
    const struct tsl_table *table = self->table;
    tsl_vaddr va = address_of(self);
    bool has_user_bit = !(table->format->fixed_top && self->level == tsl_table_top(table));
    if (!is_table_frame(table, entry->target))
        return broken(RULE_TABLE_FRAME, va);
    if (has_user_bit && entry->user != tsl_table_in_user_half(table->format, self->level, va))
        return broken(RULE_TABLE_USER_BIT, va);
    self->found.tables++;
    if (self->found.tables > table->counters.tables)
        return broken(RULE_TABLE_ONCE, va);
    self->level--;
    self->memory[self->level] = tsl_port_phys_to_virt(entry->target);
    self->index[self->level] = 0;
    self->present[self->level] = 0;
    return TSL_NO_DEFECT;
}

/* Before: the visit stands on an entry. Steps into a table, or on to the next entry. */
static struct tsl_defect check_entry(struct visit *self)
{
    const struct tsl_table *table = self->table;
    unsigned level = self->level;
    uint64_t raw = tsl_entry_load(table->format, self->memory[level], self->index[level]);
    struct tsl_table_entry entry;
    struct tsl_defect defect = TSL_NO_DEFECT;
    /* A half that is shown is looked at where it belongs. */
    bool is_shown = level == tsl_table_top(table) && table->shown != NULL &&
                    self->index[level] >= tsl_kernel_half_index(table->format);
    if (raw == 0 || is_shown) {
        self->index[level]++;
        return defect;
    }
    table->format->decode(level, raw, &table->features, &entry);
    if (!entry.present)
        return broken(RULE_ABSENT_IS_ZERO, address_of(self));
    if (entry.reserved)
        return broken(RULE_RESERVED_BITS, address_of(self));
    self->present[level]++;
    if (!entry.leaf)
        return enter_table(self, &entry);
    defect = check_page(self, &entry);
    self->index[level]++;
    return defect;
}

static bool is_fixed(const struct visit *self)
{
    const struct tsl_table *table = self->table;
    const struct tsl_table_format *format = table->format;
    if (format->fixed_top && self->level == tsl_table_top(table) - 1u)
        return true;
    unsigned above = self->level + 1u;
    tsl_vaddr span = tsl_table_format_page_bytes(format, above);
    tsl_vaddr start = address_at(self, above);
    return table->fixed_first <= table->fixed_last && start <= table->fixed_last &&
           start + (span - 1u) >= table->fixed_first;
}

/* All entries of a table are seen: back to the entry behind the one that led here. */
static struct tsl_defect leave_table(struct visit *self)
{
    bool kept = self->level == 0 && tsl_table_is_kept(self->table, address_at(self, 1));
    if (self->present[self->level] == 0 && !kept && !is_fixed(self))
        return broken(RULE_NO_EMPTY_TABLE, address_at(self, self->level + 1u));
    self->level++;
    self->index[self->level]++;
    return TSL_NO_DEFECT;
}

static struct tsl_defect check_fixed(struct tsl_table *self)
{
    struct tsl_walk walk;
    if (self->fixed_first > self->fixed_last)
        return TSL_NO_DEFECT;
    tsl_walk_begin(&walk, self);
    for (tsl_vaddr at = self->fixed_first;; at = tsl_walk_last(&walk) + 1u) {
        tsl_walk_to(&walk, at);
        if (walk.level != 0)
            return broken(RULE_FIXED_TABLES, at);
        if (tsl_walk_last(&walk) >= self->fixed_last)
            return TSL_NO_DEFECT;
    }
}

static struct tsl_defect check_kept(struct tsl_table *self)
{
    struct tsl_walk walk;
    if (self->kept_count > TSL_TABLE_KEPT)
        return broken(RULE_KEPT_TABLES, self->kept_count);
    tsl_walk_begin(&walk, self);
    for (unsigned i = 0; i < self->kept_count; i++) {
        tsl_walk_to(&walk, self->kept[i]);
        bool twice = false;
        for (unsigned j = 0; j < i; j++)
            twice = twice || self->kept[j] == self->kept[i];
        if (twice || walk.level != 0 || tsl_walk_index(&walk) != 0)
            return broken(RULE_KEPT_TABLES, self->kept[i]);
    }
    return TSL_NO_DEFECT;
}

/* Before: the kernel table's lock is held. */
static struct tsl_defect check_showing(struct tsl_table *kernel)
{
    unsigned index = 0;
    return tsl_kernel_half_agrees(kernel, &index) ? TSL_NO_DEFECT : broken(RULE_KERNEL_HALF, index);
}

static struct tsl_defect check_counts(const struct visit *self)
{
    const struct tsl_table_counters *counted = &self->table->counters;
    if (self->found.tables != counted->tables)
        return broken(RULE_TABLE_ONCE, (uintptr_t)self->found.tables);
    for (unsigned level = 0; level < self->table->format->levels; level++)
        if (self->found.pages[level] != counted->pages[level])
            return broken(RULE_PAGE_COUNTS, level);
    return TSL_NO_DEFECT;
}

static struct tsl_defect verify_locked(struct tsl_table *self)
{
    unsigned top = tsl_table_top(self);
    struct visit visit = {.table = self, .level = top};
    struct tsl_defect defect = TSL_NO_DEFECT;
    if (!is_table_frame(self, self->root) || tsl_port_phys_to_virt(self->root) != self->root_memory)
        return broken(RULE_ROOT, (uintptr_t)self->root);
    visit.memory[top] = self->root_memory;
    visit.found.tables = 1;
    while (defect.rule == 0)
        if (visit.index[visit.level] < tsl_table_entries(self->format, visit.level))
            defect = check_entry(&visit);
        else if (visit.level < top)
            defect = leave_table(&visit);
        else
            break;
    if (defect.rule == 0)
        defect = check_counts(&visit);
    if (defect.rule == 0)
        defect = check_fixed(self);
    if (defect.rule == 0)
        defect = check_kept(self);
    if (defect.rule == 0 && TSL_SPACES && self->kernel)
        defect = check_showing(self);
    return defect;
}

struct tsl_defect tsl_table_verify(struct tsl_table *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    struct tsl_defect defect = verify_locked(self);
    tsl_lock_release(&self->lock, pin);
    if (defect.rule == 0 && TSL_SPACES && self->shown) {
        pin = tsl_lock_acquire(&self->shown->lock);
        defect = check_showing(self->shown);
        tsl_lock_release(&self->shown->lock, pin);
    }
    return defect;
}
