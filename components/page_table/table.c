/* SPDX-License-Identifier: MIT
 *
 * table.c: the life of a table, and what reads it.
 *
 * Owns:    init, fini, switch_to, left, query, next.
 * Needs:   walk.c, unmap.c (to empty a table).
 * Callers: the public.
 */
#include "page_table_internal.h"

static bool cpu_can(const struct tsl_table_format *format, const struct tsl_cpu_features *features)
{
    if (format->entry_bytes == 8 && !features->pae)
        return false;
    return format->levels < 5 || features->la57;
}

/* Free the root and the tables under it that a fixed top keeps. */
static void free_top(struct tsl_table *self)
{
    const struct tsl_table_format *format = self->format;
    unsigned top = tsl_table_top(self);
    if (format->fixed_top) {
        for (unsigned i = 0; i < tsl_table_entries(format, top); i++) {
            struct tsl_table_entry entry;
            format->decode(top, tsl_entry_load(format, self->root_memory, i), &self->features,
                           &entry);
            if (entry.present)
                TSL_ASSERT(tsl_frames_free(self->frames, tsl_frame_of(entry.target), 0) == TSL_OK);
        }
    }
    TSL_ASSERT(tsl_frames_free(self->frames, tsl_frame_of(self->root), 0) == TSL_OK);
}

/* Hook all tables under a root whose entries may not change later; a kernel half that is shown has
 * its own. */
static enum tsl_status make_fixed_top(struct tsl_table *self, bool has_own_half)
{
    unsigned entries = has_own_half ? tsl_table_entries(self->format, tsl_table_top(self))
                                    : tsl_kernel_half_index(self->format);
    struct tsl_spare spare;
    struct tsl_walk walk;
    enum tsl_status status = tsl_spare_fill(&spare, self, entries);
    if (status != TSL_OK)
        return status;
    for (unsigned i = 0; i < entries; i++) {
        tsl_walk_begin(&walk, self);
        tsl_walk_to(&walk, (tsl_vaddr)i << self->format->shift[tsl_table_top(self)]);
        tsl_spare_hook(&spare, self, &walk);
    }
    return TSL_OK;
}

enum tsl_status tsl_table_init(struct tsl_table *self, const struct tsl_table_config *config)
{
    const struct tsl_table_format *format = config->format;
    if (!cpu_can(format, &config->features))
        return tsl_refuse(NULL, TSL_UNSUPPORTED, "tables: this CPU has no %s", format->name);
    struct tsl_table *shown = TSL_SPACES ? config->shown : NULL;
    if (shown && (!shown->kernel || shown->format != format || config->kernel))
        return tsl_refuse(NULL, TSL_INVALID, "tables: no kernel half of format %s", format->name);

    struct tsl_frame root;
    /* 32 bits of CR3. The kernel's may be loaded by a CPU on its way to 64 bits. */
    unsigned low = TSL_FRAMES_LOW | TSL_FRAMES_ZERO;
    if (format->va_bits <= 32 || config->kernel)
        low |= TSL_FRAMES_DMA32;
    enum tsl_status status = tsl_frames_alloc(config->frames, 0, low, &root);
    if (status != TSL_OK)
        return status;

    struct tsl_table made = {.format = format, .features = config->features};
    made.frames = config->frames;
    made.kernel = config->kernel;
    made.root = tsl_frame_address(root);
    made.root_memory = tsl_port_phys_to_virt(made.root);
    made.physical_bits = format->physical_bits;
    if (config->features.physical_bits < made.physical_bits)
        made.physical_bits = config->features.physical_bits;
    made.features.physical_bits = made.physical_bits;
    made.fixed_first = 1; /* none */
    made.low_last = format->sign_extended ? format->user_last : tsl_table_lower_last(format);
    made.high_first = format->sign_extended ? tsl_table_upper_half(format) : ~(tsl_vaddr)0;
    made.counters.tables = 1;
    tsl_lock_init(&made.lock, TSL_RANK_TABLES);
    if (format->fixed_top)
        status = make_fixed_top(&made, shown == NULL);
    if (status != TSL_OK) {
        TSL_ASSERT(tsl_frames_free(made.frames, root, 0) == TSL_OK);
        return status;
    }
    if (TSL_SPACES && config->features.pcid && format->levels >= 4)
        tsl_tagged_init(&made);
    *self = made;
    tsl_walk_begin(&self->path, self);
    tsl_list_init(&self->showing);
    if (shown)
        tsl_kernel_half_join(self, shown);
    return TSL_OK;
}

/* A CPU that has left touches nothing of the kernel's, whatever table it ran. */
static void forget_absent_cpus(struct tsl_table *self)
{
    for (unsigned cpu = tsl_cpu_set_next(&self->cpus, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(&self->cpus, cpu + 1))
        if (!tsl_cpu_set_has(tsl_cpus_online(), cpu))
            tsl_cpu_set_remove(&self->cpus, cpu);
}

static bool is_used(const struct tsl_table *self)
{
    return self->open_gathers > 0 || (self->kernel && !tsl_list_is_empty(&self->showing));
}

bool tsl_table_is_needed(const struct tsl_table *self)
{
    unsigned here = tsl_port_cpu_id();
    bool is_run = false;
    for (unsigned cpu = tsl_cpu_set_next(&self->cpus, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(&self->cpus, cpu + 1))
        is_run |= cpu != here && (!self->kernel || tsl_cpu_set_has(tsl_cpus_online(), cpu));
    return is_run || is_used(self);
}

enum tsl_status tsl_table_fini(struct tsl_table *self)
{
    if (self->kernel)
        forget_absent_cpus(self);
    if (!tsl_cpu_set_is_empty(&self->cpus) || is_used(self))
        return tsl_refuse(&self->refusals, TSL_BUSY, "tables: fini of a table in use");
    if (self->shown)
        tsl_kernel_half_leave(self);
    struct tsl_gather gather;
    tsl_gather_init(&gather, self);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_gather_open(&gather);
    tsl_table_remove_all(self, &gather);
    tsl_gather_finish(&gather);
    free_top(self);
    self->root = 0;
    self->root_memory = NULL;
    tsl_lock_release(&self->lock, pin);
    return TSL_OK;
}

void tsl_table_switch_to(struct tsl_table *self)
{
    /* First the set, then the root: a flush in between rather asks one CPU too many. */
    tsl_cpu_set_add(&self->cpus, tsl_port_cpu_id());
    if (tsl_table_is_tagged(self))
        tsl_tagged_switch_to(self);
    else
        tsl_arch_switch_root(self->root);
}

void tsl_table_left(struct tsl_table *self)
{
    tsl_cpu_set_remove(&self->cpus, tsl_port_cpu_id());
}

enum tsl_status tsl_table_query(struct tsl_table *self, tsl_vaddr va, struct tsl_mapping *out)
{
    if (!tsl_table_format_canonical(self->format, va))
        return TSL_NOT_CANONICAL;
    if (tsl_table_is_shown_at(self, va))
        self = self->shown;
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    tsl_walk_to(&self->path, va);
    struct tsl_walk walk = self->path;
    tsl_lock_release(&self->lock, pin);
    if (walk.raw == 0)
        return TSL_NOT_FOUND;
    *out = tsl_walk_mapping(&walk);
    return TSL_OK;
}

static bool next_locked(struct tsl_table *self, tsl_vaddr from, tsl_vaddr last,
                        struct tsl_mapping *out)
{
    struct tsl_walk *walk = &self->path;
    for (tsl_vaddr at = from;; at = tsl_walk_last(walk) + 1u) {
        if (!tsl_table_format_canonical(self->format, at)) {
            if (!self->format->sign_extended || at >= tsl_table_upper_half(self->format))
                return false;
            at = tsl_table_upper_half(self->format);
        }
        if (at > last)
            return false;
        tsl_walk_to(walk, at);
        if (walk->raw != 0) {
            *out = tsl_walk_mapping(walk);
            return true;
        }
        if (tsl_walk_last(walk) >= last)
            return false;
    }
}

static bool next_in(struct tsl_table *self, tsl_vaddr from, tsl_vaddr last, struct tsl_mapping *out)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool found = next_locked(self, from, last, out);
    tsl_lock_release(&self->lock, pin);
    return found;
}

bool tsl_table_next(struct tsl_table *self, tsl_vaddr from, tsl_vaddr last, struct tsl_mapping *out)
{
    if (tsl_table_is_shown_at(self, last)) {
        tsl_vaddr half = tsl_kernel_half_start(self->format);
        if (from < half && next_in(self, from, half - 1u, out))
            return true;
        return next_in(self->shown, from < half ? half : from, last, out);
    }
    return next_in(self, from, last, out);
}
