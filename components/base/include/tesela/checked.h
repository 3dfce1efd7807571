/* SPDX-License-Identifier: MIT
 *
 * checked.h: arithmetic on sizes and addresses that may overflow, and alignment.
 *
 * Owns:    the checked sums, products and ranges; rounding to powers of two.
 * Needs:   types.h. No function here calls the compiler's run-time library.
 * Callers: everybody who computes with a number that came from outside.
 */
#ifndef TESELA_CHECKED_H
#define TESELA_CHECKED_H

#include <tesela/compiler.h>
#include <tesela/types.h>

/* The checked functions return true and write *out when the exact result fits; otherwise they
 * return false and leave *out alone. Cost: one instruction and a branch. */

TSL_MUST_CHECK static inline bool tsl_checked_add(size_t a, size_t b, size_t *out)
{
    size_t sum = a + b;
    if (sum < a)
        return false;
    *out = sum;
    return true;
}

TSL_MUST_CHECK static inline bool tsl_checked_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

TSL_MUST_CHECK static inline bool tsl_checked_add_paddr(tsl_paddr a, tsl_paddr b, tsl_paddr *out)
{
    tsl_paddr sum = a + b;
    if (sum < a)
        return false;
    *out = sum;
    return true;
}

/* The address of the last byte of a range, which exists even when the range touches the top of
 * the address space, where an exclusive end would not. False when bytes is 0 or the range wraps. */
TSL_MUST_CHECK static inline bool tsl_checked_last(tsl_vaddr start, size_t bytes, tsl_vaddr *out)
{
    if (bytes == 0 || start > UINTPTR_MAX - (bytes - 1))
        return false;
    *out = start + (bytes - 1);
    return true;
}

TSL_MUST_CHECK static inline bool tsl_checked_last_paddr(tsl_paddr start, tsl_paddr bytes,
                                                         tsl_paddr *out)
{
    if (bytes == 0 || start > UINT64_MAX - (bytes - 1))
        return false;
    *out = start + (bytes - 1);
    return true;
}

/* Exactly one bit set. 0 is not a power of two. */
static inline bool tsl_is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/*
 * Rounding to a multiple of align.
 * Before:  align is a power of two, else the result means nothing; for the plain `up` versions
 *          value <= the type's greatest multiple of align, or the result wraps to 0.
 */
static inline size_t tsl_align_down(size_t value, size_t align)
{
    return value & ~(align - 1);
}

static inline size_t tsl_align_up(size_t value, size_t align)
{
    return (value + (align - 1)) & ~(align - 1);
}

static inline tsl_vaddr tsl_align_down_vaddr(tsl_vaddr value, size_t align)
{
    return value & ~((tsl_vaddr)align - 1);
}

static inline tsl_vaddr tsl_align_up_vaddr(tsl_vaddr value, size_t align)
{
    return (value + ((tsl_vaddr)align - 1)) & ~((tsl_vaddr)align - 1);
}

static inline tsl_paddr tsl_align_down_paddr(tsl_paddr value, tsl_paddr align)
{
    return value & ~(align - 1);
}

static inline tsl_paddr tsl_align_up_paddr(tsl_paddr value, tsl_paddr align)
{
    return (value + (align - 1)) & ~(align - 1);
}

/* Rounds up, or returns false and leaves *out alone when the multiple does not fit. */
TSL_MUST_CHECK static inline bool tsl_checked_align_up(size_t value, size_t align, size_t *out)
{
    if (!tsl_checked_add(value, align - 1, &value))
        return false;
    *out = tsl_align_down(value, align);
    return true;
}

TSL_MUST_CHECK static inline bool tsl_checked_align_up_paddr(tsl_paddr value, tsl_paddr align,
                                                             tsl_paddr *out)
{
    if (!tsl_checked_add_paddr(value, align - 1, &value))
        return false;
    *out = tsl_align_down_paddr(value, align);
    return true;
}

/* Before: align is a power of two. */
static inline bool tsl_is_aligned(size_t value, size_t align)
{
    return (value & (align - 1)) == 0;
}

static inline bool tsl_is_aligned_paddr(tsl_paddr value, tsl_paddr align)
{
    return (value & (align - 1)) == 0;
}

/* The pages that `bytes` need: rounded up, without overflow for any value. */
static inline size_t tsl_pages_of(size_t bytes)
{
    return bytes / TSL_PAGE_BYTES + (bytes % TSL_PAGE_BYTES != 0);
}

#endif
