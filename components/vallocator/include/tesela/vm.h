/* SPDX-License-Identifier: MIT
 *
 * vm.h: what all address spaces of a kernel share: frames and their counts, commitments, stores.
 *
 * Owns:    struct tsl_vm.
 * Needs:   page_table, physical_allocator, heap_allocator; TSL_SPACES, without which these
 *          functions are not in the library.
 * Callers: the kernel, once at start; whoever keeps evicted pages registers as a store.
 */
#ifndef TESELA_VM_H
#define TESELA_VM_H

#include <tesela/heap_allocator.h>
#include <tesela/page_table.h>
#include <tesela/physical_allocator.h>
#include <tesela/store.h>
#include <tesela/window.h>

/* How many pages may be promised to private writable regions and to objects, all of them together.
 * A region or object that would break the limit is refused with TSL_LIMIT when it is asked for. */
enum tsl_commit_policy {
    TSL_COMMIT_NONE,   /* any number: whoever touches one page too many gets TSL_NO_MEMORY */
    TSL_COMMIT_STRICT, /* as many as there are: what is promised is there when it is touched */
    TSL_COMMIT_RATIO   /* a share of what there is, above 100 percent for what stays untouched */
};

#define TSL_COMMIT_PERCENT_MAX 1000u

struct tsl_commit {
    enum tsl_commit_policy policy;
    size_t pages; /* that are to be had: RAM without the kernel's, and swap devices; NONE: any */
    unsigned percent; /* RATIO: 1 .. TSL_COMMIT_PERCENT_MAX of `pages` */
};

/* Everything named here outlives the vm. */
struct tsl_vm_config {
    struct tsl_frames *frames; /* made with descriptors */
    struct tsl_heap *heap;
    struct tsl_windows *windows; /* NULL: only frames that phys_to_virt reaches are used */
    const struct tsl_table_format *format; /* of every space's tables */
    struct tsl_cpu_features features;
    struct tsl_table *kernel_table; /* every space shows its kernel half; NULL: none is shown */
    struct tsl_commit commit;       /* all zero: no limit */
};

/* It lives in the heap. */
struct tsl_vm;

struct tsl_vm_stats {
    size_t spaces;
    size_t objects;
    size_t committed_pages;    /* promised to spaces and objects */
    size_t commit_limit_pages; /* SIZE_MAX: none */
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

/*
 * Another policy or another number of pages, as swap devices and RAM come and go. What is promised
 * already stays.
 * Errors:  TSL_INVALID (no such policy, percent), nothing changed and nothing logged.
 * Context: any but NMI; at any time. Cost: O(1).
 */
TSL_MUST_CHECK enum tsl_status tsl_vm_set_commit(struct tsl_vm *self,
                                                 const struct tsl_commit *commit);

/* Fills *out, each field at its own moment. */
void tsl_vm_stats(const struct tsl_vm *self, struct tsl_vm_stats *out);

#endif
