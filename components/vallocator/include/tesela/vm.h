/* SPDX-License-Identifier: MIT
 *
 * vm.h: what all address spaces of a kernel share: frames and their counts, commitments, stores.
 *
 * Owns:    struct tsl_vm.
 * Needs:   page_table, physical_allocator, heap_allocator.
 * Callers: the kernel, once at start; whoever keeps evicted pages registers as a store.
 */
#ifndef TESELA_VM_H
#define TESELA_VM_H

#include <tesela/heap_allocator.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>
#include <tesela/store.h>
#include <tesela/window.h>

/* Everything named here outlives the vm. */
struct tsl_vm_config {
    struct tsl_frames *frames; /* made with descriptors */
    struct tsl_heap *heap;
    struct tsl_windows *windows; /* NULL: only frames that phys_to_virt reaches are used */
    const struct tsl_table_format *format; /* of every space's tables */
    struct tsl_cpu_features features;
    struct tsl_table *kernel_table; /* every space shows its kernel half; NULL: none is shown */
    /* Promises of private and shared memory: with as many as there are pages to be had it is strict;
     * 0: overcommit, no limit. */
    size_t commit_limit_pages;
};

/* It lives in the heap. */
struct tsl_vm;

struct tsl_vm_stats {
    size_t spaces;
    size_t objects;
    size_t committed_pages;    /* promised to spaces and objects */
    size_t commit_limit_pages; /* 0: none */
    size_t frames;             /* frames in slots, the zero page not counted */
};

/*
 * Makes a vm without spaces.
 * Owns:    the caller ends it with tsl_vm_destroy.
 * Errors:  TSL_INVALID (frames, heap or format missing; kernel_table is no kernel's or of another
 *          format), TSL_UNSUPPORTED (the frames were made without descriptors), TSL_NO_MEMORY.
 */
TSL_MUST_CHECK enum tsl_status tsl_vm_create(const struct tsl_vm_config *config,
                                             struct tsl_vm **out);

/* Ends it. Errors: TSL_BUSY (spaces or objects are left), nothing changed. */
TSL_MUST_CHECK enum tsl_status tsl_vm_destroy(struct tsl_vm *self);

/*
 * From now on `store` (copied) looks after slots of its type.
 * Before:  no space is there yet.
 * Errors:  TSL_INVALID (a type that vallocator looks after itself, a function missing), TSL_EXISTS,
 *          TSL_BUSY (there are spaces or objects).
 */
TSL_MUST_CHECK enum tsl_status tsl_vm_register_store(struct tsl_vm *self, enum tsl_slot_type type,
                                                     const struct tsl_store *store);

/* Another limit, as swap devices and RAM come and go; 0: none. What is promised already stays. */
void tsl_vm_set_commit_limit(struct tsl_vm *self, size_t pages);

/* Fills *out, each field at its own moment. */
void tsl_vm_stats(const struct tsl_vm *self, struct tsl_vm_stats *out);

#endif
