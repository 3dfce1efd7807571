/* SPDX-License-Identifier: MIT
 *
 * malloc.c: the functions of the C library's malloc, over a heap of Tesela.
 *
 * Owns:    nothing; here are the C library's rules about errno, sizes of 0 and alignments.
 * Needs:   heap_allocator, process.c, resizes.c.
 * Callers: every program that is started with libtesela-malloc.so preloaded.
 *
 * <stdlib.h> is not included: in strict C11 it lacks half of these functions, and each has to be
 * declared here, since these are the only symbols that the library shows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include <tesela/checked.h>

#include "malloc_internal.h"

#define EXPORTED __attribute__((visibility("default")))

/* No object is larger: pointers into it could not be subtracted. */
#define LARGEST ((size_t)PTRDIFF_MAX)

/* From here on zeroes come cheaper from the system than from memset. */
#define MANY_ZEROES ((size_t)256 << 10)

EXPORTED void *malloc(size_t bytes);
EXPORTED void free(void *block);
EXPORTED void *calloc(size_t count, size_t size);
EXPORTED void *realloc(void *block, size_t bytes);
EXPORTED void *reallocarray(void *block, size_t count, size_t size);
EXPORTED int posix_memalign(void **out, size_t align, size_t bytes);
EXPORTED void *aligned_alloc(size_t align, size_t bytes);
EXPORTED void *memalign(size_t align, size_t bytes);
EXPORTED void *valloc(size_t bytes);
EXPORTED void *pvalloc(size_t bytes);
EXPORTED size_t malloc_usable_size(void *block);
EXPORTED int malloc_trim(size_t pad);
EXPORTED void cfree(void *block);
EXPORTED void free_sized(void *block, size_t bytes);
EXPORTED void free_aligned_sized(void *block, size_t align, size_t bytes);

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* Everything but the ordinary case: the first call, sizes of 0 (programs exist that write a byte
 * there), sizes beyond any object. */
static TSL_NOINLINE void *take_slowly(size_t bytes)
{
    if (process_heap == NULL)
        process_start();
    if (process_heap == NULL || bytes > LARGEST)
        return NULL;
    return tsl_heap_alloc(process_heap, bytes + (bytes == 0));
}

/* The caller will write: the block no longer counts as clean. */
static void *spoil(void *block, size_t bytes)
{
    if (TSL_UNLIKELY(bytes >= PAGES_CLEAN_BYTES) && block != NULL)
        (void)pages_was_clean(block);
    return block;
}

static TSL_NOINLINE void *malloc_slowly(size_t bytes)
{
    void *block = spoil(take_slowly(bytes), bytes);
    return block != NULL ? block : no_memory();
}

void *malloc(size_t bytes)
{
    struct tsl_heap *heap = process_heap;

    if (TSL_LIKELY(heap != NULL && bytes - 1 < PAGES_CLEAN_BYTES - 1)) {
        void *block = tsl_heap_alloc(heap, bytes);
        return TSL_LIKELY(block != NULL) ? block : no_memory();
    }
    return malloc_slowly(bytes);
}

/* A free leaves errno alone. */
void free(void *block)
{
    if (block == NULL)
        return;
    enum tsl_status status =
        process_heap != NULL ? tsl_heap_free(process_heap, block) : TSL_FOREIGN;
    if (TSL_UNLIKELY(status != TSL_OK))
        process_misuse("free", block, status);
}

static void make_zero(char *block, size_t bytes)
{
    if (bytes < PAGES_CLEAN_BYTES) {
        memset(block, 0, bytes);
    } else if (!pages_was_clean(block)) {
        if (bytes >= MANY_ZEROES && ((uintptr_t)block & (TSL_PAGE_BYTES - 1)) == 0)
            pages_clean(block, bytes);
        else
            memset(block, 0, bytes);
    }
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;

    if (!tsl_checked_mul(count, size, &bytes))
        return no_memory();
    void *block = take_slowly(bytes);
    if (block == NULL)
        return no_memory();
    make_zero(block, bytes);
    return block;
}

static void *resize(void *block, size_t bytes)
{
    if (process_heap == NULL || bytes > LARGEST)
        return NULL;
    resize_begin();
    void *moved = tsl_heap_realloc(process_heap, block, bytes);
    resize_end();
    return moved;
}

void *realloc(void *block, size_t bytes)
{
    if (block == NULL)
        return malloc(bytes);
    if (bytes == 0) {
        free(block);
        return NULL;
    }
    void *moved = resize(block, bytes);
    if (TSL_LIKELY(moved != NULL))
        return spoil(moved, bytes);
    if (malloc_usable_size(block) == 0)
        process_misuse("realloc", block, TSL_INVALID);
    return no_memory();
}

void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    return tsl_checked_mul(count, size, &bytes) ? realloc(block, bytes) : no_memory();
}

static bool is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static void *take_aligned(size_t align, size_t bytes)
{
    if (process_heap == NULL)
        process_start();
    if (process_heap == NULL || bytes > LARGEST || align > LARGEST)
        return NULL;
    return spoil(tsl_heap_alloc_aligned(process_heap, align, bytes + (bytes == 0)), bytes);
}

/* Leaves errno alone. */
int posix_memalign(void **out, size_t align, size_t bytes)
{
    if (!is_power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    int kept = errno;
    void *block = take_aligned(align, bytes);
    errno = kept;
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

/* As the GNU C library has it: other alignments count as the next power of two. */
void *memalign(size_t align, size_t bytes)
{
    size_t power = TSL_HEAP_ALIGN;

    if (align > LARGEST) {
        errno = EINVAL;
        return NULL;
    }
    while (power < align)
        power *= 2;
    void *block = take_aligned(power, bytes);
    return block != NULL ? block : no_memory();
}

void *aligned_alloc(size_t align, size_t bytes)
{
    if (!is_power_of_two(align)) {
        errno = EINVAL;
        return NULL;
    }
    return memalign(align, bytes);
}

void *valloc(size_t bytes)
{
    return memalign(TSL_PAGE_BYTES, bytes);
}

void *pvalloc(size_t bytes)
{
    size_t rounded = (bytes + TSL_PAGE_BYTES - 1) & ~(size_t)(TSL_PAGE_BYTES - 1);
    return rounded >= bytes ? memalign(TSL_PAGE_BYTES, rounded) : no_memory();
}

size_t malloc_usable_size(void *block)
{
    return block != NULL && process_heap != NULL ? tsl_heap_usable(process_heap, block) : 0;
}

int malloc_trim(size_t pad)
{
    (void)pad;
    return process_heap != NULL && tsl_heap_trim(process_heap) > 0;
}

void cfree(void *block)
{
    free(block);
}

/* The size is the one that malloc or calloc was asked for: another one is misuse. */
void free_sized(void *block, size_t bytes)
{
    if (block == NULL)
        return;
    enum tsl_status status = process_heap != NULL
                                 ? tsl_heap_free_sized(process_heap, block, bytes + (bytes == 0))
                                 : TSL_FOREIGN;
    if (TSL_UNLIKELY(status != TSL_OK))
        process_misuse("free_sized", block, status);
}

/* What an alignment adds is not known here. */
void free_aligned_sized(void *block, size_t align, size_t bytes)
{
    (void)align;
    (void)bytes;
    free(block);
}
