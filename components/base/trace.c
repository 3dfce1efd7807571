/* SPDX-License-Identifier: MIT
 *
 * trace.c: the flight recorder.
 *
 * Owns:    which ring is in use, the number of the next event.
 * Needs:   atomic.h, checked.h, format.h, port.h (cpu_id). Built with TSL_TRACE only.
 * Callers: everybody, through trace.h.
 *
 * A writer draws a number, marks its entry unfinished, fills it, and writes the number last. A
 * reader takes an entry only if it shows the number that belongs there before and after the copy.
 * Where a ring lies and how large it is belong together: who reads the two while they change, or
 * finds that they have changed in between, drops the event.
 */
#include <tesela/atomic.h>
#include <tesela/checked.h>
#include <tesela/trace.h>

static struct tsl_trace_entry *ring;
static tsl_word mask; /* entries - 1 */
static tsl_word turn; /* odd: `ring` and `mask` are changing and do not belong together */
static tsl_word last; /* number of the last event drawn */

static void change_ring(struct tsl_trace_entry *storage, tsl_word entries)
{
    (void)tsl_atomic_add(&turn, 1);
    tsl_atomic_store_release(&mask, entries - 1);
    TSL_ATOMIC_STORE_POINTER(&ring, storage);
    (void)tsl_atomic_add(&turn, 1);
}

/* The ring and its mask; NULL if there is none, or it is just changing. */
static struct tsl_trace_entry *present_ring(tsl_word *out_mask)
{
    if (TSL_ATOMIC_LOAD_POINTER(&ring) == NULL)
        return NULL;
    tsl_word before = tsl_atomic_load_acquire(&turn);
    struct tsl_trace_entry *storage = TSL_ATOMIC_LOAD_POINTER(&ring);
    *out_mask = tsl_atomic_load_acquire(&mask);
    return before % 2 == 0 && tsl_atomic_load(&turn) == before ? storage : NULL;
}

enum tsl_status tsl_trace_start(struct tsl_trace_entry *storage, size_t entries)
{
    if (storage == NULL && entries == 0) {
        change_ring(NULL, 1);
        return TSL_OK;
    }
    if (storage == NULL || !tsl_is_power_of_two(entries)) {
        return tsl_refuse(NULL, TSL_INVALID, "trace: a ring of %zu entries, not a power of two",
                          entries);
    }
    change_ring(NULL, 1);
    /* Somebody may still write to it, for whom it is the ring before the last. */
    for (size_t i = 0; i < entries; i++)
        tsl_atomic_store(&storage[i].sequence, 0);
    change_ring(storage, entries);
    return TSL_OK;
}

void tsl_trace_record(const char *event, tsl_word a, tsl_word b)
{
    tsl_word places;
    struct tsl_trace_entry *storage = present_ring(&places);
    if (storage == NULL)
        return;
    tsl_word number = tsl_atomic_add(&last, 1) + 1;
    struct tsl_trace_entry *entry = &storage[number & places];
    (void)tsl_atomic_exchange(&entry->sequence, 0);
    tsl_atomic_store(&entry->event, (tsl_word)event);
    tsl_atomic_store(&entry->cpu, tsl_port_cpu_id());
    tsl_atomic_store(&entry->a, a);
    tsl_atomic_store(&entry->b, b);
    tsl_atomic_store_release(&entry->sequence, number);
}

/* Copies the event with this number; false if it is unfinished or overwritten. */
static bool read_event(const struct tsl_trace_entry *entry, tsl_word number,
                       struct tsl_trace_entry *out)
{
    if (tsl_atomic_load_acquire(&entry->sequence) != number)
        return false;
    out->event = tsl_atomic_load(&entry->event);
    out->cpu = tsl_atomic_load(&entry->cpu);
    out->a = tsl_atomic_load(&entry->a);
    out->b = tsl_atomic_load(&entry->b);
    tsl_atomic_fence();
    return tsl_atomic_load(&entry->sequence) == number;
}

void tsl_trace_print(const struct tsl_sink *sink)
{
    tsl_word places;
    const struct tsl_trace_entry *storage = present_ring(&places);
    if (storage == NULL)
        return;
    tsl_word newest = tsl_atomic_load(&last);
    tsl_word entries = places + 1;
    tsl_word oldest = newest >= entries ? newest - entries + 1 : 1;
    for (tsl_word number = oldest; number != newest + 1; number++) {
        struct tsl_trace_entry event;
        if (read_event(&storage[number & (entries - 1)], number, &event)) {
            tsl_print(sink, "%8lu cpu %lu %s 0x%lx 0x%lx\n", number, event.cpu,
                      (const char *)event.event, event.a, event.b);
        }
    }
}
