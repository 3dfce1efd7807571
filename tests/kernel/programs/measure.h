/* SPDX-License-Identifier: MIT
 *
 * measure.h: what the program `measure` and the kernel `bench` agree on.
 *
 * Owns:    the numbers of what is measured and of the kernel's calls for it.
 * Needs:   platform/user_calls.h.
 * Callers: measure.c, tests/bench/kernel_bench_user.c.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <platform/user_calls.h>

enum measure_row {
    MEASURE_NULL,     /* a call that does nothing */
    MEASURE_ANON,     /* first write to a page */
    MEASURE_ZERO,     /* first read of a page */
    MEASURE_POPULATE, /* all pages by one call */
    MEASURE_UNMAP,    /* touched pages by one call */
    MEASURE_MAP_PAIR, /* map and unmap 64 KiB that nobody touches */
    MEASURE_PROTECT, /* a page among others: to read only, back, and a write, which takes a fault */
    MEASURE_COW_COPY,   /* first write to a page that a copy of the space shows too */
    MEASURE_COW_REUSE,  /* the same when the copy is gone */
    MEASURE_SHARED_NEW, /* first write to a page of a shared object */
    MEASURE_SHARED_OLD  /* first write to one that is there already */
};

enum measure_call {
    MEASURE_CALL_MAP = USER_CALL_OWN, /* (address, bytes) */
    MEASURE_CALL_SHARE,               /* (address, bytes): one object, each time */
    MEASURE_CALL_UNMAP,               /* (address, bytes) */
    MEASURE_CALL_PROTECT,             /* (address, bytes, rights) */
    MEASURE_CALL_POPULATE,            /* (address, bytes) */
    MEASURE_CALL_COPY,                /* (): the space */
    MEASURE_CALL_DROP,                /* (): the copy */
    MEASURE_CALL_MARK                 /* (): what is measured begins or ends */
};

#define MEASURE_AT     ((uintptr_t)0x20000000u)
#define MEASURE_AT_TOO ((uintptr_t)0x30000000u)
#define MEASURE_FAILED (~(uintptr_t)0)

#endif
