/* SPDX-License-Identifier: MIT
 *
 * misuse.h: the corpus of heap misuse: what a program is, and what it may use.
 *
 * Owns:    the words of the corpus: shape, size, tier.
 * Needs:   heap_allocator.
 * Callers: the corpus (cwe_*.c), run_misuse.c.
 *
 * A shape is a small function with one mistake, guarded by `if (m->is_bad)`: the same function
 * without it is the matching good program, which must raise no report. A shape with one size is a
 * program; its name is CWE, shape and size, such as `cwe415 free_twice 64`.
 */
#ifndef MISUSE_H
#define MISUSE_H

#include <stdbool.h>
#include <stddef.h>

#include <tesela/heap_allocator.h>

/* The tiers of HEAP_HARDENING, weakest first. */
enum misuse_tier { NONE, BASIC, MODERATE, FULL, DEBUG, NEVER };

/* What a shape is run with. */
enum misuse_sizes {
    SLOTS = 1, /* sizes out of classes */
    LARGE = 2, /* page runs */
    BOTH = SLOTS | LARGE,
    ONCE = 4, /* the size does not matter */
};

struct misuse {
    struct tsl_heap *heap;
    struct tsl_heap *other; /* another heap */
    size_t size;
    bool is_bad;
};

struct misuse_shape {
    const char *cwe;
    const char *name;
    void (*run)(struct misuse *m);
    enum misuse_sizes sizes;
    /* From these tiers on the mistake is reported, below it is not: blocks in slots, large ones. */
    enum misuse_tier slots_from;
    enum misuse_tier large_from;
    /* Below that, it may or may not be: chance, or what lies behind the block. */
    enum misuse_tier maybe_from;
};

/* A shape with the same tier for all sizes, and one with two. */
#define SHAPE(cwe, function, sizes, from)                                                          \
    {                                                                                              \
        cwe, #function, function, sizes, from, from, NEVER                                         \
    }
#define SHAPE_BY_SIZE(cwe, function, slots_from, large_from)                                       \
    {                                                                                              \
        cwe, #function, function, BOTH, slots_from, large_from, NEVER                              \
    }
#define SHAPE_MAYBE(cwe, function, sizes, from, maybe_from)                                        \
    {                                                                                              \
        cwe, #function, function, sizes, from, from, maybe_from                                    \
    }

/* One file of shapes. */
struct misuse_file {
    const struct misuse_shape *shapes;
    size_t count;
};

extern const struct misuse_file misuse_double_free, misuse_use_after_free, misuse_overflow,
    misuse_overread, misuse_bad_pointer, misuse_bad_size, misuse_leak, misuse_zero, misuse_length,
    misuse_lifetime, misuse_cache;

/* ---- What programs are written with. ---- */

/* A block of `bytes` bytes; its end. Statuses are dropped: the heap is to complain by itself. */
void *take(struct misuse *m, size_t bytes);
void give(struct misuse *m, void *block);
/* The work goes on: so many blocks of this size are taken, and all given back. */
void work(struct misuse *m, size_t bytes);
/* The caller is another CPU from here on. */
void on_cpu(unsigned cpu);

/* Writes and reads of bytes that compilers cannot judge. */
void poke(void *block, ptrdiff_t offset, size_t bytes);
unsigned peek(const void *block, ptrdiff_t offset, size_t bytes);
/* The same value, from nowhere that a compiler knows. */
void *opaque(const void *pointer);
size_t opaque_size(size_t value);

#endif
