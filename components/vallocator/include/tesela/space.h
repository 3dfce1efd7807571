/* SPDX-License-Identifier: MIT
 *
 * space.h: address spaces: what is where for a process, and with which rights.
 *
 * Owns:    struct tsl_space: regions, the private layer, one page table.
 * Needs:   vm.h, object.h; TSL_SPACES, without which these functions are not in the library.
 * Callers: the kernel's process and fault code.
 *
 * Every call is atomic unless it says otherwise: on any status but TSL_OK the space is as before,
 * and other CPUs see either state. Addresses and lengths are whole pages within the user half of
 * the format. Context, unless said otherwise: any but NMI, without a lock of Tesela. Nothing
 * sleeps, but what takes entries away waits until the CPUs that run the space have flushed.
 */
#ifndef TESELA_SPACE_H
#define TESELA_SPACE_H

#include <tesela/object.h>

/* Flags of tsl_space_map and remap; region info shows SHARED, GROWS_DOWN, NO_COPY, LOCKED. */
#define TSL_SPACE_FIXED      (1u << 0) /* at `address`, in the place of what is there */
#define TSL_SPACE_NO_REPLACE (1u << 1) /* with FIXED: but only if nothing is there */
#define TSL_SPACE_SHARED     (1u << 2) /* writes go to the object; else to the private layer */
#define TSL_SPACE_GUARDED    (1u << 3) /* keeps a page unmapped on both sides */
#define TSL_SPACE_GROWS_DOWN (1u << 4) /* a stack: faults below it make it longer */
#define TSL_SPACE_NO_COPY    (1u << 5) /* not in copies of the space */
#define TSL_SPACE_POPULATE   (1u << 6) /* bring every page at once */
#define TSL_SPACE_MAY_MOVE   (1u << 7) /* remap: elsewhere, if there is no room */
#define TSL_SPACE_LOCKED     (1u << 8) /* see tsl_space_lock_pages; not for map */

/* A stack keeps this much below it free of anything else; so does what is left of it when its end
 * is unmapped. It grows only as far as all of that stays free. */
#define TSL_SPACE_STACK_GAP_BYTES ((size_t)1 << 20)

struct tsl_map_request {
    tsl_vaddr address; /* FIXED: where; else the lowest address that is tried [0: any] */
    tsl_vaddr limit;   /* the region ends at or below this address [0: no limit] */
    size_t bytes;
    size_t align;     /* of the start, a power of two [0: a page] */
    unsigned rights;  /* TSL_READ, _WRITE, _EXEC, _ALLOW_WX; 0: no access */
    unsigned maximum; /* rights it may ever get [0: read, write, execute, not both of the last] */
    unsigned flags;   /* TSL_SPACE_... */
    struct tsl_object *object; /* what it shows [NULL: zeros, private] */
    size_t object_page;        /* from which page on */
    size_t stack_bytes;        /* GROWS_DOWN: the most that it may grow to */
};

struct tsl_space_limits {
    size_t pages;     /* addresses mapped [0: no limit] */
    size_t committed; /* private writable pages [0: no limit] */
    size_t regions;   /* [0: no limit] */
    size_t locked;    /* pages locked [0: no limit] */
};

/* A run of pages of one region, and what becomes of it. */
struct tsl_remap_request {
    tsl_vaddr start;
    size_t bytes;
    size_t new_bytes;
    tsl_vaddr address; /* FIXED: where it goes */
    unsigned flags;    /* TSL_SPACE_MAY_MOVE, _FIXED, _NO_REPLACE */
};

/* It lives in the heap. */
struct tsl_space;

struct tsl_region_info {
    tsl_vaddr start;
    size_t bytes;
    unsigned rights;
    unsigned maximum;
    unsigned flags;
    struct tsl_object *object; /* no reference is taken */
    size_t object_page;
};

struct tsl_page_info {
    struct tsl_region_info region;
    enum tsl_slot_type contents; /* where they are; EMPTY: not touched yet, or a device's */
    bool is_private;             /* in the space's layer; else in the object */
    bool is_present;             /* has an entry; the next four are 0 without */
    bool is_writable;            /* the next write will not fault */
    bool is_accessed;
    bool is_dirty;
    struct tsl_frame frame; /* contents FRAME; and its counts: */
    uint32_t references;
    uint32_t maps;
    uint32_t pins;
};

struct tsl_space_stats {
    size_t regions;
    size_t pages;     /* in regions */
    size_t committed; /* pages charged */
    size_t locked;
    tsl_word faults; /* answered with TSL_OK */
    tsl_word zeroed; /* of them: a fresh page of zeros */
    tsl_word copied; /* a page copied because it was shared */
    tsl_word reused; /* made writable without a copy */
    tsl_word refusals;
};

enum tsl_advice {
    TSL_ADVISE_NEED,      /* bring the pages now */
    TSL_ADVISE_DONT_NEED, /* forget private contents; what is shared stays in its object */
    TSL_ADVISE_NO_COPY,   /* leave out of copies, */
    TSL_ADVISE_COPY       /* or not */
};

/*
 * An empty space. limits: copied; NULL: none.
 * Owns:    the caller, until tsl_space_destroy.
 * Errors:  TSL_NO_MEMORY, TSL_UNSUPPORTED (the CPU lacks the format).
 */
TSL_MUST_CHECK enum tsl_status
tsl_space_create(struct tsl_vm *vm, const struct tsl_space_limits *limits, struct tsl_space **out);

/*
 * Ends a space and everything that only it names.
 * Errors:  TSL_BUSY: a CPU still runs its table, or a page is pinned; nothing changed.
 * Context: nobody else uses the space.
 * Cost:    O(regions + pages that are not shared).
 */
TSL_MUST_CHECK enum tsl_status tsl_space_destroy(struct tsl_space *self);

/*
 * A space with the same contents: private pages are shared until either side writes.
 * Errors:  TSL_NO_MEMORY, TSL_LIMIT (commit limit); this space is as before.
 * Cost:    O(regions + present pages of writable regions): these lose their write right.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_copy(struct tsl_space *self, struct tsl_space **out);

/*
 * The calling CPU, which runs `from`, runs `to` from now on; NULL stands for the kernel's own
 * table. From here on changes of `to` ask this CPU to flush, those of `from` no longer do.
 * Before:  pinned; the vm has a kernel table, and the CPU's code and stack lie in its half.
 * Cost:    one load of the root; two atomic changes of CPU sets.
 */
void tsl_space_switch(struct tsl_space *from, struct tsl_space *to);

/* The tables: to ask them, or to run the space where there is no kernel table. */
struct tsl_table *tsl_space_table(struct tsl_space *self);

/*
 * Adds a region; *out is its start. Without FIXED the lowest place that fits.
 * Owns:    the region takes a reference to the object.
 * Errors:  TSL_INVALID (0 bytes, unknown flags or rights, write or execute without read, shared
 *          without object, a stack with an object, an object of another vm, alignment),
 *          TSL_MISALIGNED, TSL_OUT_OF_RANGE (wraps, outside the user half, behind the object's
 *          end), TSL_NOT_CANONICAL, TSL_DENIED (writable and executable, more than the maximum or
 *          than the object allows), TSL_EXISTS (NO_REPLACE), TSL_OVERLAP (would lie in the guard of
 *          another region), TSL_LIMIT (no gap, a limit of the space, commit limit), TSL_NO_MEMORY.
 *          With POPULATE also what tsl_space_populate says: what is left of the region is removed
 *          again, but what FIXED replaced is gone. Only with TSL_NO_MEMORY, and only if the space
 *          was copied meanwhile, the region may stay.
 * Cost:    O(log regions + what is replaced).
 */
TSL_MUST_CHECK enum tsl_status tsl_space_map(struct tsl_space *self,
                                             const struct tsl_map_request *request, tsl_vaddr *out);

/*
 * Takes away whatever is mapped in the range; regions that stick out are cut.
 * Errors:  as map for the range; TSL_NOT_FOUND (nothing there), TSL_LIMIT (one region too many
 *          by cutting), TSL_NO_MEMORY.
 * Cost:    O(log regions + present pages), one flush.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_unmap(struct tsl_space *self, tsl_vaddr start,
                                               size_t bytes);

/*
 * Gives the range other rights (as in map).
 * Errors:  as map for range and rights; TSL_NOT_FOUND (a page of it is in no region), TSL_DENIED
 *          (more than the maximum of a region), TSL_LIMIT, TSL_NO_MEMORY.
 * Cost:    as unmap.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_protect(struct tsl_space *self, tsl_vaddr start,
                                                 size_t bytes, unsigned rights);

/*
 * Makes a run of pages longer or shorter, in place if it can; *out is where it starts then. With
 * FIXED it goes to `address`, in the place of what is there; with MAY_MOVE to the lowest place that
 * fits if there is no room. Private pages keep their frames, whatever is pinned stays pinned; what
 * was shared with copies is still.
 * Errors:  as map for the ranges, flags, places and limits; TSL_NOT_FOUND (not all of it lies in
 *          one region), TSL_OVERLAP (FIXED: with itself), TSL_OUT_OF_RANGE (longer than the
 *          object), TSL_INVALID (a stack, which can only become shorter), TSL_LIMIT (no room, a
 *          limit), TSL_NO_MEMORY.
 * Cost:    O(log regions + pages that move or go), one or two flushes.
 */
TSL_MUST_CHECK enum tsl_status
tsl_space_remap(struct tsl_space *self, const struct tsl_remap_request *request, tsl_vaddr *out);

/* Errors: as protect for the range; with TSL_ADVISE_NEED as populate; TSL_DENIED (DONT_NEED of
 * locked pages). */
TSL_MUST_CHECK enum tsl_status tsl_space_advise(struct tsl_space *self, tsl_vaddr start,
                                                size_t bytes, enum tsl_advice advice);

/*
 * Makes the page that holds `address` accessible: one right of TSL_READ, TSL_WRITE, TSL_EXEC.
 * request: idle, or the one that came back with TSL_SHOULD_WAIT; NULL: the caller cannot wait.
 * Errors:  TSL_NOT_FOUND (no region, or the kernel has unmapped what a KERNEL object shows),
 *          TSL_DENIED (no such right), TSL_OUT_OF_RANGE (behind the object's end), TSL_SHOULD_WAIT,
 *          TSL_NO_MEMORY, TSL_LIMIT (a stack may not grow), and what a pager or store says. None is
 *          logged: programs may err as they like. A page that was brought into an object stays
 *          there.
 * Context: the page-fault handler; any but NMI.
 * Cost:    O(log regions); one page cleared or copied.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_fault(struct tsl_space *self, tsl_vaddr address,
                                               unsigned access, struct tsl_page_request *request);

/*
 * Brings every page of the range, for writing where the region may be written.
 * Errors:  TSL_NOT_FOUND (a page is in no region; nothing brought), and as fault: pages brought
 *          before that stay.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_populate(struct tsl_space *self, tsl_vaddr start,
                                                  size_t bytes);

/*
 * Brings every page of the range and keeps it in memory until it is unlocked or unmapped; pages
 * that a locked region gains come at once if there is memory. Does not count how often; copies of
 * the space are not locked.
 * Errors:  as populate; TSL_LIMIT (of locked pages, or one region too many). Nothing is locked
 *          then; pages brought stay.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_lock_pages(struct tsl_space *self, tsl_vaddr start,
                                                    size_t bytes);

/* Errors: as protect for the range. */
TSL_MUST_CHECK enum tsl_status tsl_space_unlock_pages(struct tsl_space *self, tsl_vaddr start,
                                                      size_t bytes);

/*
 * Keeps the page at `address` where it is and what it is, for a device or a copy in flight, and
 * tells its frame. access: TSL_READ or TSL_WRITE, what will be done to the frame. What the space
 * writes meanwhile is seen in the frame, nobody else's writes are; copies of the space get a page
 * of their own. For that a page of a private region that may ever be written is brought as if it
 * were written, without the right to; it is charged when the region may be written.
 * Owns:    the caller, until tsl_space_unpin of this space; before the space is destroyed.
 * Errors:  as fault; TSL_INVALID (access), TSL_UNSUPPORTED (a page of a device or of the kernel),
 *          TSL_BUSY (on its way out of memory), TSL_LIMIT also for too many pins of one frame
 *          (32,767).
 * Cost:    as fault, and O(log frames that the space has pinned).
 */
TSL_MUST_CHECK enum tsl_status tsl_space_pin(struct tsl_space *self, tsl_vaddr address,
                                             unsigned access, struct tsl_page_request *request,
                                             struct tsl_frame *out);

/* Undoes one pin of this space. Errors: TSL_FOREIGN (no page of a space), TSL_DOUBLE_FREE (this
 * space has not pinned it). */
TSL_MUST_CHECK enum tsl_status tsl_space_unpin(struct tsl_space *self, struct tsl_frame frame);

/* The first region that ends above `from`: the one that holds it or the next; false: none. */
bool tsl_space_next(struct tsl_space *self, tsl_vaddr from, struct tsl_region_info *out);

/* What is known of the page that holds `address`. Errors: TSL_NOT_FOUND (no region), not logged. */
TSL_MUST_CHECK enum tsl_status tsl_space_query(struct tsl_space *self, tsl_vaddr address,
                                               struct tsl_page_info *out);

/* Fills *out; refusals at a moment of their own. Cost: O(1). */
void tsl_space_stats(struct tsl_space *self, struct tsl_space_stats *out);

/* Checks the rules V1 to V11 of the README. Reads only. Before: nobody changes the space, its
 * objects or copies. Cost: O(regions + pages). */
struct tsl_defect tsl_space_verify(struct tsl_space *self);

/* Prints totals, and one line a region: first and last address, rights, what it shows. */
void tsl_space_dump(struct tsl_space *self, const struct tsl_sink *sink);

#endif
