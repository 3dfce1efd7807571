/* SPDX-License-Identifier: MIT
 *
 * facade_internal.h: the one global instance, as the facade's files see it.
 *
 * Owns:    the declaration only; start.c owns the instance.
 * Needs:   the public headers of the components.
 * Callers: components/facade only.
 */
#ifndef TESELA_FACADE_INTERNAL_H
#define TESELA_FACADE_INTERNAL_H

#include <tesela/backed_range.h>
#include <tesela/frames_hotplug.h>
#include <tesela/heap_allocator.h>
#include <tesela/memory.h>
#include <tesela/physical_allocator.h>
#include <tesela/status.h>
#include <tesela/vallocator.h>

struct tsl_facade {
    struct tsl_system system;
    struct tsl_start_options options;
    struct tsl_table table;
    struct tsl_windows windows;
    struct tsl_memory_range absent[TSL_FRAMES_MAX_ABSENT]; /* of the map, made of options.places */
    size_t absent_count;
    tsl_paddr boot_root; /* the tables that were in force before ours */
    struct tsl_refusals refusals;
};

extern struct tsl_facade tsl_facade;

/*
 * handed_out.c: the pages that allocate_physical_page() gave away.
 * set: false when there is no memory to remember it; clear and test: whether it was handed out;
 * any: whether one page is out. Before fini: none is.
 */
void tsl_handed_out_init(void);
void tsl_handed_out_fini(void);
bool tsl_handed_out_set(struct tsl_frame page);
bool tsl_handed_out_clear(struct tsl_frame page);
bool tsl_handed_out_test(struct tsl_frame page);
bool tsl_handed_out_any(void);

/* spaces.c or spaces_off.c: the last stage. Errors: those of tsl_vm_create and tsl_vm_destroy. */
TSL_MUST_CHECK enum tsl_status tsl_facade_start_spaces(void);
TSL_MUST_CHECK enum tsl_status tsl_facade_stop_spaces(void);

/* Refuses a call made before its stage: TSL_INVALID, counted and logged. */
enum tsl_status tsl_facade_too_early(const char *function);

#endif
