/* SPDX-License-Identifier: MIT
 *
 * space_internal.h: what the files about spaces and objects share.
 *
 * Owns:    struct tsl_vm, tsl_object, tsl_space, and the state of one operation on a space.
 * Needs:   region.h, slots.h, frame descriptors.
 * Callers: vm.c, object.c, space_*.c, their break tests.
 *
 * Locks: a space's (TSL_RANK_SPACE) before an object's (TSL_RANK_OBJECT), both before tables and
 * frames. Frames, regions and nodes are got before a lock is taken.
 */
#ifndef TESELA_SPACE_INTERNAL_H
#define TESELA_SPACE_INTERNAL_H

#include <tesela/atomic.h>
#include <tesela/frame_descriptor.h>
#include <tesela/gather.h>
#include <tesela/lock.h>
#include <tesela/space.h>

#include "region.h"
#include "../objects/slots.h"

/* Flags of a region beside the TSL_SPACE_... that stay with it. */
#define REGION_CHARGED (1u << 16) /* its pages are promised, now or because they once were */
/* The number of the map that still populates it; 0: none does. Whoever remaps it takes it over. */
#define REGION_MAKING       (0x7fffu << REGION_MAKING_SHIFT)
#define REGION_MAKING_SHIFT 17
#define REGION_SHOWN_FLAGS                                                                         \
    (TSL_SPACE_SHARED | TSL_SPACE_GROWS_DOWN | TSL_SPACE_NO_COPY | TSL_SPACE_LOCKED)
#define SPACE_RIGHTS    (TSL_READ | TSL_WRITE | TSL_EXEC | TSL_ALLOW_WX)
#define SPACE_STACK_GAP (TSL_SPACE_STACK_GAP_BYTES / TSL_PAGE_BYTES)
/* So many pins a frame may have, in all spaces: far from where the count saturates, since as many
 * CPUs as there are may pin it at once. */
#define SPACE_MOST_PINS 0x7fffu
_Static_assert(SPACE_MOST_PINS + TSL_CPUS < 0xffff, "pins of a frame are counted in 16 bits");

struct tsl_vm {
    struct tsl_vm_config config;
    struct tsl_store stores[TSL_SLOT_TYPES];
    struct tsl_frame zero; /* the page of zeros, never counted, never writable */
    tsl_word committed;    /* pages */
    tsl_word commit_limit; /* pages; all bits: none */
    tsl_word frames;       /* in slots, or on their way into one */
    tsl_word spaces;
    tsl_word objects;
    struct tsl_lock published_lock; /* TSL_RANK_OBJECT, taken alone: guards the two below */
    struct tsl_tree published;      /* objects by handle */
    tsl_word last_handle;
};

struct tsl_object {
    struct tsl_vm *vm;
    struct tsl_lock lock; /* TSL_RANK_OBJECT: guards slots */
    struct tsl_slots slots;
    struct tsl_object_config config;
    size_t pages;
    tsl_word references;
    struct tsl_tree_node node; /* with the next two under the vm's published_lock */
    tsl_word handle;           /* 0: not published */
    struct tsl_object_grant grant;
};

struct tsl_space {
    struct tsl_vm *vm;
    struct tsl_lock lock; /* TSL_RANK_SPACE: guards all below but refusals */
    struct tsl_table table;
    struct tsl_regions regions;
    struct tsl_slots layer; /* private pages, by page number */
    struct tsl_space_limits limits;
    size_t committed;               /* pages charged to this space */
    size_t locked;                  /* pages of locked regions */
    size_t pins;                    /* taken through this space and not undone, */
    struct tsl_tree pinned;         /* by frame: struct space_pinned */
    unsigned makings;               /* the number of the last map that populates */
    uint32_t takes_frames;          /* the last write fault took one; also read without the lock */
    struct tsl_space_stats counted; /* only the counters of faults */
    struct tsl_refusals refusals;
    tsl_word spares; /* regions in hand for the next operation; atomic: taken as a whole */
};

/* A frame that a space has pinned, so often. */
struct space_pinned {
    struct tsl_tree_node node;
    tsl_word frame;
    size_t count;
};

/* So many regions a space keeps in hand. */
#define SPACE_MOST_SPARES 4u

/* Regions that an operation brings along, and what it leaves behind to be freed without a lock. */
struct space_operation {
    struct tsl_space *space;
    struct tsl_region *spare; /* a list; the first says how many */
    struct tsl_region *dead;  /* a list */
    struct tsl_slot_reserve reserve;
    tsl_pin pin;
};

/* ---- object.c ---- */

/* Its pages are not its own, and lie where they lie: there are no slots, and frames count no
 * map. */
static inline bool tsl_object_is_in_place(const struct tsl_object *object)
{
    return object->config.kind == TSL_OBJECT_DEVICE || object->config.kind == TSL_OBJECT_KERNEL;
}

/* Where such a page lies. Errors: TSL_NOT_FOUND (the kernel has unmapped its memory after all). */
TSL_MUST_CHECK enum tsl_status tsl_object_target(const struct tsl_object *self, size_t page,
                                                 tsl_paddr *out);

/* ---- object_published.c ---- */

void tsl_vm_init_published(struct tsl_vm *vm);

/* ---- commit.c ---- */

/* Promises `pages` more, in the vm and, unless NULL, in the space. The caller takes back `returned`
 * of what is promised before it lets go of the lock: that counts already. Errors: TSL_LIMIT. */
TSL_MUST_CHECK enum tsl_status tsl_vm_charge(struct tsl_vm *vm, struct tsl_space *space,
                                             size_t pages, size_t returned);
void tsl_vm_uncharge(struct tsl_vm *vm, struct tsl_space *space, size_t pages);

/* ---- vm.c ---- */

/* A frame in a slot, or on its way there. */
struct tsl_vm_page {
    struct tsl_frame frame;
    struct tsl_frame_descriptor *descriptor;
};

/* A frame with one reference and undefined contents; is_low: phys_to_virt reaches it. No lock
 * held. */
TSL_MUST_CHECK enum tsl_status tsl_vm_new_page(struct tsl_vm *vm, bool is_low,
                                               struct tsl_vm_page *out);
TSL_MUST_CHECK enum tsl_status tsl_vm_new_frame(struct tsl_vm *vm, bool is_low,
                                                struct tsl_frame *out);
/* Up to `count` such frames out of one word of the allocator's bitmap, as tsl_frames_alloc_word
 * names them; 0: none. They are the pages from `page` on of the owner, and count one map each. */
TSL_MUST_CHECK tsl_word tsl_vm_new_frames(struct tsl_vm *vm, unsigned count,
                                          struct tsl_slots *owner, size_t page,
                                          struct tsl_frame *out_first);
/* One slot less names the frame. Before: no translation leads there if it was the last. */
void tsl_vm_put_frame(struct tsl_vm *vm, struct tsl_frame frame);
struct tsl_frame_descriptor *tsl_vm_descriptor(const struct tsl_vm *vm, struct tsl_frame frame);
/* One slot names the frame, and who else has a reference has it pinned. */
static inline bool tsl_vm_has_one_slot(const struct tsl_frame_descriptor *descriptor)
{
    return tsl_descriptor_references(descriptor) == 1u + tsl_descriptor_pins(descriptor);
}
bool tsl_vm_is_alone(const struct tsl_vm *vm, struct tsl_frame frame);

/* The slot of `page` in `slots` names the frame, and no other slot does: for whoever looks for its
 * entries. The descriptor keeps 32 bits of the page's number. */
static inline void tsl_vm_set_owner(struct tsl_frame_descriptor *descriptor,
                                    struct tsl_slots *slots, size_t page)
{
    descriptor->as.page.owner = slots;
    descriptor->as.page.index = (uint32_t)page;
}

/* Before: pinned. */
void tsl_vm_clear_frame(struct tsl_vm *vm, struct tsl_frame frame);
void tsl_vm_copy_frame(struct tsl_vm *vm, struct tsl_frame from, struct tsl_frame to);
/* Fills a frame from what the slot names. */
TSL_MUST_CHECK enum tsl_status tsl_vm_load(struct tsl_vm *vm, tsl_slot slot, struct tsl_frame to);

static inline tsl_slot tsl_vm_slot_of(struct tsl_frame frame)
{
    return tsl_slot_make(TSL_SLOT_FRAME, (uint32_t)frame.number);
}

static inline struct tsl_frame tsl_vm_frame_of(tsl_slot slot)
{
    return (struct tsl_frame){tsl_slot_payload(slot)};
}

/* ---- space.c ---- */

/* How many regions a list has that are in no set. */
static inline size_t tsl_space_listed(const struct tsl_region *list)
{
    return list ? list->pages : 0;
}

/* Gets `regions` spare regions. Errors: TSL_NO_MEMORY, nothing is kept. */
TSL_MUST_CHECK enum tsl_status tsl_space_begin(struct space_operation *op, struct tsl_space *space,
                                               size_t regions);
/* Frees what is left in hand and what the operation left behind. No lock held. */
void tsl_space_end_slowly(struct space_operation *op);

static inline void tsl_space_end(struct space_operation *op)
{
    if (op->dead || op->spare || op->reserve.leaves || op->reserve.inners)
        tsl_space_end_slowly(op);
}

static inline void tsl_space_lock(struct space_operation *op)
{
    op->pin = tsl_lock_acquire(&op->space->lock);
}

static inline void tsl_space_unlock(struct space_operation *op)
{
    tsl_lock_release(&op->space->lock, op->pin);
}

/*
 * Sees to it that the reserve has `need`. *again: the lock was let go meanwhile, plan once more.
 * Errors: TSL_NO_MEMORY; the lock is held in each case.
 */
TSL_MUST_CHECK enum tsl_status
tsl_space_reserve_slowly(struct space_operation *op, const struct tsl_slot_need *need, bool *again);

TSL_MUST_CHECK static inline enum tsl_status
tsl_space_reserve(struct space_operation *op, const struct tsl_slot_need *need, bool *again)
{
    *again = false;
    return need->leaves + need->inners == 0 ? TSL_OK : tsl_space_reserve_slowly(op, need, again);
}

struct tsl_region *tsl_space_take_region(struct space_operation *op);
/* The region has left the set: it is freed, with its reference, when the lock is no longer held. */
void tsl_space_bury(struct space_operation *op, struct tsl_region *region);
/* Takes a region, whose entries and slots are gone, out of the set and all sums, and buries it. */
void tsl_space_take_out(struct space_operation *op, struct tsl_region *region);
/* Makes `page` a border between regions. Takes a spare region if it is inside of one. */
void tsl_space_cut(struct space_operation *op, size_t page);
/* The same with both ends of a range in which, or across whose start, there is a region: `region`
 * is the first that ends behind the start. Result: the first that is in the range now. */
struct tsl_region *tsl_space_cut_range(struct space_operation *op, struct tsl_region *region,
                                       size_t start, size_t end);
/* How many borders are missing: what cut would take. */
size_t tsl_space_cuts(const struct tsl_space *space, size_t start, size_t end);
/* What lies in start .. end - 1: regions, also those that stick out, and pages. */
struct space_sum {
    size_t regions;
    size_t pages;
    size_t charged;
    size_t locked;
};
struct space_sum tsl_space_sum(const struct tsl_space *space, size_t start, size_t end);
/* The addresses from `page` up to the next region are free now: if that is a stack whose gap was
 * cut off, it gets back as much of it as there is room for. */
void tsl_space_restore_gap(struct tsl_space *space, size_t page);
/* Merges what can be merged from the region before `first`, which is in the set, to the one at
 * `end`. */
void tsl_space_join(struct space_operation *op, struct tsl_region *first, size_t end);

/* Checks and translates a range of whole pages of the user half. Refusals are logged. */
TSL_MUST_CHECK enum tsl_status tsl_space_check_range(struct tsl_space *space, const char *verb,
                                                     tsl_vaddr start, size_t bytes,
                                                     size_t *first_page, size_t *end_page);
/* Whether these rights may be asked for at all, and within this maximum. */
TSL_MUST_CHECK enum tsl_status tsl_space_check_rights(unsigned rights, unsigned maximum);

static inline tsl_vaddr tsl_space_address(size_t page)
{
    return (tsl_vaddr)page << TSL_PAGE_SHIFT;
}

/* Private contents of the region are in the layer. */
static inline bool tsl_region_is_private(const struct tsl_region *region)
{
    return !(region->flags & TSL_SPACE_SHARED);
}

/* Attributes of a table entry for this region. */
unsigned tsl_space_attributes(const struct tsl_region *region);

/* ---- space_map.c ---- */

/*
 * Whether a region of this start, length and guards can be put in, in the place of those that lie
 * in its run (if `replace`). Errors: as map with FIXED.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_check_place(const struct tsl_space *space,
                                                     const struct tsl_region *region, bool replace);

/* ---- space_advise.c, space_locked.c ---- */

/*
 * Sets or takes away one flag of the regions of a range; NO_COPY and LOCKED. No lock held.
 * Errors: TSL_NOT_FOUND, TSL_LIMIT, TSL_NO_MEMORY; LOCKED also TSL_BUSY (a page is not there).
 */
TSL_MUST_CHECK enum tsl_status tsl_space_mark(struct tsl_space *self, size_t start, size_t end,
                                              unsigned flag, bool is_set);
/* Whether the range may be marked as locked now. Lock held. */
TSL_MUST_CHECK enum tsl_status tsl_space_check_lockable(struct tsl_space *self, size_t start,
                                                        size_t end);

/* ---- space_unmap.c ---- */

/* Whether a fault has been in a region from this one on, up to `end`, which is behind its start: if
 * not, there is no entry and nothing private. */
bool tsl_space_is_touched(const struct tsl_region *region, size_t end);
/* Unhooks, flushes, frees: every region from this one on up to `end`, which is a border. Lock held;
 * the reserve has what tsl_slots_clear_need said. */
void tsl_space_remove(struct space_operation *op, struct tsl_region *region, size_t end);

/* ---- space_entries.c: the lock is held ---- */

/* Takes the pages' entries out of the tables, on every CPU. */
void tsl_space_unhook(struct tsl_space *space, size_t start, size_t end);
/* The same; CPUs may use the entries until the gather, which is one for this space, is finished. */
void tsl_space_unhook_gathered(struct tsl_space *space, size_t start, size_t end,
                               struct tsl_gather *gather);
/* Gives the region's present entries its rights without write: faults give it back. The gather as
 * above. */
void tsl_space_restrict(struct tsl_space *space, const struct tsl_region *region,
                        struct tsl_gather *gather);
/*
 * Makes the page's entry lead to the frame, with the region's rights, and write only if may_write.
 * The descriptor counts the entry; NULL with the page of zeros.
 * Errors: TSL_NO_MEMORY (no frame for a table), TSL_BUSY (the frame is frozen): nothing has
 *         changed.
 */
TSL_MUST_CHECK enum tsl_status tsl_space_show(struct tsl_space *space,
                                              const struct tsl_region *region, size_t page,
                                              struct tsl_vm_page shown, bool may_write);
/* The same with a frame of the private layer: for writing, if the page is this space's alone. */
TSL_MUST_CHECK enum tsl_status tsl_space_show_private(struct tsl_space *space,
                                                      const struct tsl_region *region, size_t page,
                                                      struct tsl_frame frame);
/* The same with what an object in place shows at the page. Errors also as tsl_object_target. */
TSL_MUST_CHECK enum tsl_status tsl_space_show_in_place(struct tsl_space *space,
                                                       const struct tsl_region *region,
                                                       size_t page);

/* ---- space_fault.c ---- */

/* An access to a page that may be read: as a write does, it makes a private page the space's alone,
 * but gives no right to write. */
#define SPACE_OWN (1u << 30)

/* tsl_space_fault, of which only the arguments have been looked at; access: SPACE_OWN too. Owns:
 * `ahead`, a frame that was got before anybody asked for it, or none. */
TSL_MUST_CHECK enum tsl_status tsl_space_fault_at_length(struct tsl_space *self, size_t page,
                                                         unsigned access, struct tsl_vm_page ahead,
                                                         struct tsl_page_request *request);

/* ---- space_pin.c ---- */

void tsl_space_init_pins(struct tsl_space *self);
/* Private pages whose frames are pinned. Lock held, here and below. */
size_t tsl_space_count_pinned(struct tsl_space *space);
/* Gives the copy its own of each of them, out of `fresh`; what is taken becomes none there. */
void tsl_space_copy_pinned(struct space_operation *op, struct tsl_space *copy,
                           struct tsl_frame *fresh);

#endif
