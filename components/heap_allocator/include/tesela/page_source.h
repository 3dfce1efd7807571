/* SPDX-License-Identifier: MIT
 *
 * page_source.h: the one thing a heap knows about where pages come from.
 *
 * Owns:    nothing; it is a contract between a heap and whoever has pages (the backed range of
 *          vallocator, a caller's array, a hosted mapping).
 * Needs:   base.
 * Callers: heap_allocator (calls it), vallocator, hosted programs and tests (implement it).
 */
#ifndef TESELA_PAGE_SOURCE_H
#define TESELA_PAGE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Runs of pages inside one window of addresses. A heap copies the struct: it may be on the stack.
 * Context: the heap holds no lock while it calls; calls may come from several CPUs at once, so an
 *          implementation brings its own locking. They come from wherever the heap is called,
 *          interrupt handlers included, except that TSL_HEAP_NO_WAIT calls never reach the source.
 */
struct tsl_page_source {
    /*
     * get() hands out `pages` >= 1 consecutive pages, readable and writable, contents undefined.
     * Returns their page-aligned start, which lies inside the window, or NULL when there are none.
     * Owns:    the heap, until put().
     */
    void *(*get)(void *context, size_t pages);

    /*
     * put() takes pages back. The heap may return a run in pieces and in any order (it trims runs
     * to align them and shrinks large blocks in place), and several runs that lie side by side at
     * once; each page comes back exactly once.
     */
    void (*put)(void *context, void *start, size_t pages);

    /*
     * Optional (NULL: cannot). remap() changes a run from `pages` to `new_pages` > `pages` without
     * moving it; the old contents stay. False: not possible at the moment, nothing changed.
     */
    bool (*remap)(void *context, void *start, size_t pages, size_t new_pages);

    /*
     * Optional (NULL: cannot). protect() takes all access to pages of a run away, so that any use
     * faults, on other CPUs perhaps a little later; what is in them may be lost, and the memory
     * behind them used for something else. They stay the heap's until put(), which takes them as
     * they are. False: not possible at the moment, nothing changed.
     */
    bool (*protect)(void *context, void *start, size_t pages);

    /* Handed to each function. */
    void *context;

    /*
     * The window: page-aligned start, a multiple of the page size long, not zero. It bounds the
     * heap's page map (one pointer a page; of granules, 34 bytes a page at once), so offer the
     * reserved addresses, not all of memory.
     */
    uintptr_t start;
    size_t bytes;
};

#endif
