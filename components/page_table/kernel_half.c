/* SPDX-License-Identifier: MIT
 *
 * kernel_half.c: tables of spaces show the kernel's half: the same root entries, always.
 *
 * Owns:    the list of the tables that show a kernel's table, and their entries of that half.
 * Needs:   entry.c.
 * Callers: table.c (beginning, end, questions); whoever changes a root entry (tsl_root_changed).
 *
 * A root entry of the kernel's half changes rarely: once for 4 MiB with 2-level tables, for 512 GiB
 * and more with 4 and 5 levels, never with PAE, whose fourth page directory all share. So it is
 * written into every table that shows it, under the kernel table's lock: what was mapped is visible
 * everywhere when tsl_table_map returns, and what was unhooked is nowhere when the flush begins.
 */
#include "page_table_internal.h"

tsl_vaddr tsl_kernel_half_start(const struct tsl_table_format *format)
{
    unsigned top = format->levels - 1u;
    if (format->sign_extended)
        return tsl_table_upper_half(format);
    return (tsl_vaddr)tsl_kernel_half_index(format) << format->shift[top];
}

/* The CPU may mark entries in use meanwhile; what it marked in a copy interests nobody. */
static void copy_entry(const struct tsl_table *from, struct tsl_table *to, unsigned index)
{
    const struct tsl_table_format *format = from->format;
    uint64_t wanted = tsl_entry_load(format, from->root_memory, index);
    uint64_t seen = tsl_entry_load(format, to->root_memory, index);
    while (!tsl_entry_change(format, to->root_memory, index, &seen, wanted)) {
    }
}

static struct tsl_table *table_of(struct tsl_list *node)
{
    return TSL_CONTAINER_OF(node, struct tsl_table, showing);
}

void tsl_kernel_half_join(struct tsl_table *self, struct tsl_table *kernel)
{
    unsigned entries = tsl_table_entries(self->format, tsl_table_top(self));
    tsl_pin pin = tsl_lock_acquire(&kernel->lock);
    for (unsigned i = tsl_kernel_half_index(self->format); i < entries; i++)
        copy_entry(kernel, self, i);
    self->shown = kernel;
    self->high_first = ~(tsl_vaddr)0; /* no map of its own there */
    if (!self->format->sign_extended)
        self->low_last = tsl_kernel_half_start(self->format) - 1u;
    tsl_list_push_back(&kernel->showing, &self->showing);
    tsl_lock_release(&kernel->lock, pin);
}

void tsl_kernel_half_leave(struct tsl_table *self)
{
    struct tsl_table *kernel = self->shown;
    unsigned entries = tsl_table_entries(self->format, tsl_table_top(self));
    tsl_pin pin = tsl_lock_acquire(&kernel->lock);
    tsl_list_remove(&self->showing);
    self->shown = NULL;
    for (unsigned i = tsl_kernel_half_index(self->format); i < entries; i++)
        (void)tsl_entry_take(self->format, self->root_memory, i);
    tsl_lock_release(&kernel->lock, pin);
}

void tsl_kernel_half_changed(struct tsl_table *self, tsl_vaddr va, unsigned count)
{
    unsigned first = tsl_table_format_index(self->format, tsl_table_top(self), va);
    if (first < tsl_kernel_half_index(self->format))
        return;
    for (struct tsl_list *node = self->showing.next; node != &self->showing; node = node->next)
        for (unsigned i = 0; i < count; i++)
            copy_entry(self, table_of(node), first + i);
}

/* The index of the first entry in which they differ; the number of entries if in none. What the CPU
 * marks does not count. */
static unsigned first_difference(const struct tsl_table *kernel, const struct tsl_table *shows)
{
    const struct tsl_table_format *format = kernel->format;
    unsigned entries = tsl_table_entries(format, tsl_table_top(kernel));
    unsigned i = tsl_kernel_half_index(format);
    while (i < entries && ((tsl_entry_load(format, kernel->root_memory, i) ^
                            tsl_entry_load(format, shows->root_memory, i)) &
                           ~format->history) == 0)
        i++;
    return i;
}

bool tsl_kernel_half_agrees(struct tsl_table *self, unsigned *index)
{
    unsigned entries = tsl_table_entries(self->format, tsl_table_top(self));
    struct tsl_list *head = &self->showing;
    for (struct tsl_list *node = head->next; node != head; node = node->next) {
        *index = first_difference(self, table_of(node));
        if (table_of(node)->shown != self || *index < entries)
            return false;
    }
    return true;
}
