/* SPDX-License-Identifier: MIT
 *
 * malloc_internal.h: what the parts of libtesela-malloc.so know of each other.
 *
 * Owns:    nothing.
 * Needs:   base, heap_allocator.
 * Callers: the .c files of this folder.
 *
 * From the outside in: malloc.c (the functions that programs call), process.c (the one heap, its
 * start, fork, reports), resizes.c (what a fork waits for), threads.c (threads as CPUs), pages.c
 * (the page source).
 */
#ifndef MALLOC_INTERNAL_H
#define MALLOC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tesela/heap_allocator.h>
#include <tesela/page_source.h>
#include <tesela/status.h>

/* ---- process.c ---- */

/* The heap; NULL until process_start(), and for ever if the system gave no addresses. */
extern struct tsl_heap *process_heap;

/* Makes the heap. Any number of threads may call it at once; all return when it is there. */
void process_start(void);

/* A free, realloc or the like of something that is no live block: says so, then ends the process
 * (as the C library does) unless TESELA_MALLOC asks only for the report. */
void process_misuse(const char *function, const void *block, enum tsl_status status);

/* TESELA_MALLOC, a list of words, has this one. */
bool process_wants(const char *word);

/* ---- resizes.c ---- */

/* Around each call of the heap that resizes a block. begin() waits while a fork is under way. */
void resize_begin(void);
void resize_end(void);

/* Around fork, outside of threads_*: stop() returns when no other thread resizes, and none begins
 * until go(), or alone() in the child. */
void resizes_stop(void);
void resizes_go(void);
void resizes_alone(void);

/* ---- threads.c ---- */

/* Before anything of Tesela is called. */
void threads_start(void);

/* Around fork: stop() returns when no other thread is inside Tesela, and none enters until go();
 * the child calls alone(), which ends the CPUs of threads that it does not have. */
void threads_stop(void);
void threads_go(void);
void threads_alone(void);

/* ---- pages.c ---- */

/* Reserves addresses. False: the system has none. `out` is the source of all of them. */
bool pages_start(struct tsl_page_source *out);

/* A large block that is new from the page source and all zero. The answer is given once: who asks
 * is about to write. Before: `block` is a live block of at least PAGES_CLEAN_BYTES. With the heap's
 * core for small kernels always false. */
#define PAGES_CLEAN_BYTES ((size_t)64 << 10)
bool pages_was_clean(const void *block);

/* Makes memory zero by giving its whole pages back to the system. Before: start is page aligned. */
void pages_clean(void *start, size_t bytes);

/* Around fork. */
void pages_stop(void);
void pages_go(void);

#endif
