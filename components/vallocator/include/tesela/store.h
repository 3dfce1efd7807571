/* SPDX-License-Identifier: MIT
 *
 * store.h: what a page's slot can say, and the stores that look after what it names.
 *
 * Owns:    the form of a slot, the contract of a store.
 * Needs:   base.
 * Callers: vallocator; whoever keeps pages elsewhere than in frames (compressed pool, swap).
 */
#ifndef TESELA_STORE_H
#define TESELA_STORE_H

#include <tesela/status.h>
#include <tesela/types.h>

/*
 * Where a page's contents are: a type in the upper 3 bits and 29 bits for the owner of that type.
 * 29 bits of frame number name 2 TiB of RAM.
 */
typedef uint32_t tsl_slot;

enum tsl_slot_type {
    TSL_SLOT_EMPTY,      /* nothing here: the payload is 0 */
    TSL_SLOT_FRAME,      /* in the frame of this number */
    TSL_SLOT_ZERO,       /* all zero: the payload is 0 */
    TSL_SLOT_SAME,       /* one word repeated */
    TSL_SLOT_COMPRESSED, /* in the compressed pool */
    TSL_SLOT_SWAP,       /* on a block device */
    TSL_SLOT_TYPES
};

#define TSL_SLOT_PAYLOAD_BITS 29u
#define TSL_SLOT_PAYLOAD_MASK ((1u << TSL_SLOT_PAYLOAD_BITS) - 1u)

static inline tsl_slot tsl_slot_make(enum tsl_slot_type type, uint32_t payload)
{
    return (tsl_slot)type << TSL_SLOT_PAYLOAD_BITS | payload;
}

/* May be none of the enumeration, if the slot is corrupt. */
static inline unsigned tsl_slot_type_of(tsl_slot slot)
{
    return slot >> TSL_SLOT_PAYLOAD_BITS;
}

static inline uint32_t tsl_slot_payload(tsl_slot slot)
{
    return slot & TSL_SLOT_PAYLOAD_MASK;
}

/*
 * A store of page contents. Slots of its type carry references to what it keeps, and count one
 * each. All functions are called with locks of vallocator held: they allocate nothing from the
 * kernel's heap and wait for nobody.
 */
struct tsl_store {
    /* Fills the 4096 bytes at `page` with what the slot names. Errors: TSL_CORRUPT: the contents
     * are lost. TSL_SHOULD_WAIT: not at once. */
    enum tsl_status (*load)(void *context, tsl_slot slot, void *page);
    /* One more slot names the same. Counts saturate: it cannot fail. */
    void (*dup)(void *context, tsl_slot slot);
    /* One slot less does. The last one: the store may reuse the place. */
    void (*free)(void *context, tsl_slot slot);
    void *context;
    /* The same for all slots of the store's type among `count` of them. NULL: free is called for
     * each. */
    void (*free_some)(void *context, const tsl_slot *slot, unsigned count);
};

_Static_assert(TSL_SLOT_TYPES <= 1u << (32u - TSL_SLOT_PAYLOAD_BITS), "a slot has 3 bits of type");

#endif
