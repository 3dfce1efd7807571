/* SPDX-License-Identifier: MIT
 *
 * host_arch.c: <tesela/arch.h> on the model machine.
 *
 * Owns:    the host's tsl_arch_* functions.
 * Needs:   model_cpu.c; port.h (which CPU the caller is on).
 * Callers: base and page_table, through arch.h.
 */
#define _GNU_SOURCE 1
#include <tesela/arch.h>

#include <host/model_cpu.h>
#include <sched.h>
#include <tesela/atomic.h>
#include <tesela/flush.h>
#include <tesela/port.h>

void (*model_before_exchange)(uint64_t *entry);

void tsl_arch_features(struct tsl_cpu_features *out)
{
    *out = *model_features();
}

void tsl_arch_enable(const struct tsl_cpu_features *features)
{
    model_enable(tsl_port_cpu_id(), features);
}

bool tsl_arch_runs(const struct tsl_table_format *format, const struct tsl_cpu_features *features)
{
    (void)format, (void)features;
    return true; /* a model CPU reads the tables of any format */
}

tsl_paddr tsl_arch_root(void)
{
    return model_root(tsl_port_cpu_id());
}

void tsl_arch_switch_root(tsl_paddr root)
{
    model_load_root(tsl_port_cpu_id(), root);
}

void tsl_arch_switch_tagged(tsl_paddr root, unsigned tag, bool keep)
{
    model_load_cr3(tsl_port_cpu_id(), root | tag | (keep ? UINT64_C(1) << 63 : 0));
}

unsigned tsl_arch_tag(void)
{
    return model_pcid(tsl_port_cpu_id());
}

void tsl_arch_flush_page(tsl_vaddr address)
{
    model_flush_page(tsl_port_cpu_id(), address);
}

void tsl_arch_flush_all(bool global_too)
{
    model_flush_all(tsl_port_cpu_id(), global_too);
}

void tsl_arch_flush(const struct tsl_flush *request)
{
    if (request->all) {
        tsl_arch_flush_all(request->global);
        return;
    }
    for (unsigned i = 0; i < request->count; i++)
        tsl_arch_flush_page(request->page[i]);
}

void tsl_arch_relax(void)
{
    (void)sched_yield();
}

void *tsl_arch_reach(tsl_vaddr address)
{
    unsigned cpu = tsl_port_cpu_id();
    void *place = NULL;
    if (model_reach(cpu, address, MODEL_STORE, &place) == MODEL_OK)
        return place;
    return model_reach(cpu, address, MODEL_LOAD, &place) == MODEL_OK ? place : NULL;
}

/* The __sync builtins become cmpxchg8b on a 32-bit CPU; those of atomic.h would need a library. */
uint64_t tsl_arch_entry_load64(const uint64_t *entry)
{
    if (sizeof(tsl_word) == 8)
        return tsl_atomic_load_acquire((const tsl_word *)(const void *)entry);
    return __sync_val_compare_and_swap((uint64_t *)(uintptr_t)entry, 0, 0);
}

uint64_t tsl_arch_entry_exchange64(uint64_t *entry, uint64_t value)
{
    uint64_t seen = tsl_arch_entry_load64(entry);
    if (model_before_exchange != NULL)
        model_before_exchange(entry);
    for (;;) {
        uint64_t found = __sync_val_compare_and_swap(entry, seen, value);
        if (found == seen)
            return found;
        seen = found;
    }
}

bool tsl_arch_entry_compare_exchange64(uint64_t *entry, uint64_t *expected, uint64_t desired)
{
    if (model_before_exchange != NULL)
        model_before_exchange(entry);
    uint64_t found = __sync_val_compare_and_swap(entry, *expected, desired);
    bool done = found == *expected;
    *expected = found;
    return done;
}
