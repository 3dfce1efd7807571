/* SPDX-License-Identifier: MIT
 *
 * object.h: pages that regions of several spaces can show: shared memory, devices, pagers.
 *
 * Owns:    struct tsl_object, struct tsl_page_request.
 * Needs:   vm.h; TSL_SPACES, without which these functions are not in the library.
 * Callers: the kernel makes them; tsl_space_map shows them. A pointer is a handle: it holds one
 *          reference, and so does every region.
 */
#ifndef TESELA_OBJECT_H
#define TESELA_OBJECT_H

#include <tesela/vm.h>

enum tsl_object_kind {
    TSL_OBJECT_MEMORY, /* zero until written; frames come at the first access */
    TSL_OBJECT_DEVICE, /* physical memory of somebody else: registers */
    TSL_OBJECT_PAGER,  /* pages are brought by functions of the kernel: files */
    TSL_OBJECT_KERNEL  /* pages that the kernel uses too, at its own addresses: rings, clocks */
};

struct tsl_page_request;

/* Brings pages. Called with no lock held. */
struct tsl_pager {
    /*
     * Fills the frame (phys_to_virt reaches it) with page `page` of the object. TSL_OK: done.
     * TSL_SHOULD_WAIT: begun; tsl_page_request_complete will be called. With no request (NULL)
     * nobody can wait: then TSL_SHOULD_WAIT means that nothing was begun. Any other status ends the
     * fault with it.
     */
    enum tsl_status (*get)(void *context, size_t page, struct tsl_frame into,
                           struct tsl_page_request *request);
    void *context;
};

struct tsl_object_config {
    enum tsl_object_kind kind;
    size_t bytes;           /* whole pages */
    unsigned maximum;       /* rights that regions may ever have, private ones also write; 0: read,
                               write and, but for DEVICE and KERNEL, execute */
    tsl_paddr target;       /* DEVICE: where it lies */
    unsigned cache;         /* DEVICE: TSL_CACHE_...; KERNEL: as the kernel has it */
    struct tsl_pager pager; /* PAGER: copied */
    /* KERNEL: whole pages of the kernel's half, of one cache type. They are mapped, and stay as
     * they are until `released` is called: no space shows them any more. It may be NULL; no lock is
     * held. */
    const void *memory;
    void (*released)(void *context);
    void *released_context;
};

/* It lives in the heap. */
struct tsl_object;

struct tsl_object_info {
    enum tsl_object_kind kind;
    size_t pages;
    size_t resident;   /* of them in frames */
    size_t references; /* handles and regions */
};

/*
 * A page that is being brought, in the caller's storage; all zero is an idle one. After
 * TSL_SHOULD_WAIT the caller waits until `done` and calls again with the same request, or gives the
 * request up with tsl_page_request_drop.
 */
struct tsl_page_request {
    struct tsl_object *object; /* a reference is held while the request is busy */
    size_t page;
    struct tsl_frame frame;
    uint32_t done;                           /* written last, by tsl_page_request_complete */
    enum tsl_status status;                  /* how it ended */
    void (*wake)(struct tsl_page_request *); /* set by the caller; may be NULL */
};

/*
 * Makes an object; memory is charged against the commit limit as a whole.
 * Owns:    the caller has the first reference.
 * Errors:  TSL_INVALID (0 bytes, unknown rights or kind, no pager, memory of several cache types),
 *          TSL_MISALIGNED, TSL_DENIED (an executable device), TSL_OUT_OF_RANGE (a device beyond the
 *          physical width, memory that is not all in the kernel's half), TSL_NOT_FOUND (memory that
 *          is not mapped), TSL_UNSUPPORTED (memory of a kernel whose table the vm does not know),
 *          TSL_LIMIT (commit limit), TSL_NO_MEMORY.
 * Cost:    O(1); for memory of the kernel a walk a page, as each of its faults has.
 */
TSL_MUST_CHECK enum tsl_status tsl_object_create(struct tsl_vm *vm,
                                                 const struct tsl_object_config *config,
                                                 struct tsl_object **out);

/* One more reference. Context: any but NMI. */
void tsl_object_get(struct tsl_object *self);

/* One less; the last frees the object and its pages. Context: no lock of vallocator held. */
void tsl_object_put(struct tsl_object *self);

/* Who may find a published object by its number, and for what. */
struct tsl_object_grant {
    tsl_word owner; /* whatever the kernel tells users apart by */
    unsigned owner_rights;
    unsigned others_rights; /* 0: others may not find it */
};

/*
 * Gives the object a number by which others find it; it stays until it is withdrawn.
 * Errors:  TSL_INVALID (rights), TSL_DENIED (more than the object's maximum), TSL_EXISTS (it has a
 *          number), TSL_LIMIT (no number is left). None is logged, here and below.
 * Cost:    O(log published), here and below.
 */
TSL_MUST_CHECK enum tsl_status
tsl_object_publish(struct tsl_object *self, const struct tsl_object_grant *grant, tsl_word *out);

/*
 * The object of this number, for a user who will map it with `rights` (the request's maximum).
 * Owns:    the caller gets a reference.
 * Errors:  TSL_NOT_FOUND, TSL_DENIED (not for this user, or not with these rights).
 */
TSL_MUST_CHECK enum tsl_status tsl_object_find(struct tsl_vm *vm, tsl_word handle, tsl_word user,
                                               unsigned rights, struct tsl_object **out);

/* Nobody finds it any more; who has it keeps it. Errors: TSL_NOT_FOUND, TSL_DENIED (no owner). */
TSL_MUST_CHECK enum tsl_status tsl_object_withdraw(struct tsl_vm *vm, tsl_word handle,
                                                   tsl_word user);

/* Fills *out. Cost: O(resident pages). */
void tsl_object_info(struct tsl_object *self, struct tsl_object_info *out);

/* The page has come, or not: called once by whoever answered TSL_SHOULD_WAIT. TSL_SHOULD_WAIT is no
 * end and taken for TSL_INVALID. Context: any but NMI; `wake` is called last. */
void tsl_page_request_complete(struct tsl_page_request *self, enum tsl_status status);

/* Gives up a request that is done (or idle); it is idle then. Before: not being filled any more. */
void tsl_page_request_drop(struct tsl_page_request *self);

#endif
