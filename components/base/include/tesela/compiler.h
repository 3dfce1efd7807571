/* SPDX-License-Identifier: MIT
 *
 * compiler.h: what we ask of the compiler beyond C11, under names of our own.
 *
 * Owns:    the attributes, the two branch hints, and the address arithmetic that C has no operator
 *          for.
 * Needs:   gcc or clang. The only header where a compiler's own words may appear in `#if`.
 * Callers: everybody.
 */
#ifndef TESELA_COMPILER_H
#define TESELA_COMPILER_H

#include <stddef.h>

/* The result is the caller's to look at: a status that nobody reads is a bug. */
#define TSL_MUST_CHECK __attribute__((warn_unused_result))
#define TSL_NORETURN   __attribute__((noreturn))
/* The result points at memory that nothing else points at. */
#define TSL_MALLOC_LIKE __attribute__((malloc, warn_unused_result))
/* Parameter `n` (counted from 1) is the size in bytes of the result; compilers check accesses. */
#define TSL_ALLOC_SIZE(n) __attribute__((alloc_size(n)))
/* As TSL_ALLOC_SIZE for a count and a size that are multiplied. */
#define TSL_ALLOC_ARRAY(n, m) __attribute__((alloc_size(n, m)))
/* Parameter `f` is a printf format, its arguments start at parameter `a` (0: they are in a list).
 */
#define TSL_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define TSL_ALIGNED(n)   __attribute__((aligned(n)))
/* Without gaps, at a multiple of n: for records whose size counts. */
#define TSL_PACKED_TO(n) __attribute__((packed, aligned(n)))
#define TSL_UNUSED       __attribute__((unused))
#define TSL_NOINLINE     __attribute__((noinline))
#define TSL_COLD         __attribute__((cold))
/* For the few lines that every call of a hot function goes through; goes with `static inline`. */
#define TSL_ALWAYS_INLINE __attribute__((always_inline))
/* A public function that is called so often that its arguments should come in registers, which they
 * do not by themselves on x86-32. */
#if defined(__i386__)
#define TSL_FAST_CALL __attribute__((regparm(3)))
#else
#define TSL_FAST_CALL
#endif
/* Reads figures that another CPU is writing, and says what that means; ThreadSanitizer looks away.
 */
#define TSL_READS_RACILY TSL_NOINLINE __attribute__((no_sanitize("thread")))
/* The code address to which the running function returns; it must not be inlined. */
#define TSL_RETURN_ADDRESS() __builtin_return_address(0)
/* Links into the section although nothing in the program names the object. */
#define TSL_SECTION(name) __attribute__((section(name), used))

#define TSL_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define TSL_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* The structure of `type` whose field `member` is at `pointer`. `pointer` must not be NULL. */
#define TSL_CONTAINER_OF(pointer, type, member)                                                    \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* The number of elements of an array (not of a pointer). */
#define TSL_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The name of this source file without its folder, so that binaries do not depend on where they
 * were built. */
#ifdef __FILE_NAME__
#define TSL_FILE __FILE_NAME__
#else
#define TSL_FILE __FILE__
#endif

#endif
