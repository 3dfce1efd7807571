/* SPDX-License-Identifier: MIT
 *
 * misuse_heap.h: heaps over the corpus's pages, as hard as a test wants them, and what they print.
 *
 * Owns:    one set of pages and one text for each program that includes it.
 * Needs:   misuse_source.h, tap.h.
 * Callers: the tests beside the corpus.
 */
#ifndef MISUSE_HEAP_H
#define MISUSE_HEAP_H

#include <string.h>

#include <tesela/format.h>
#include <tesela/heap_allocator.h>
#include <tesela/heap_hardening.h>

#include "misuse_source.h"
#include "tap.h"

static inline struct tsl_heap *misuse_heap(const struct tsl_heap_hardening *how)
{
    static struct misuse_source pages;
    static struct tsl_page_source source;
    struct tsl_heap_config config = {0};
    struct tsl_heap *heap = NULL;

    if (pages.start == NULL)
        source = misuse_source_init(&pages);
    config.source = source;
    CHECK_STATUS(tsl_heap_create(&config, &heap), TSL_OK);
    CHECK_STATUS(tsl_heap_harden(heap, how), TSL_OK);
    return heap;
}

struct misuse_text {
    size_t used;
    char text[16384];
};

/* What does not fit is left out. */
static inline void misuse_text_write(void *context, const char *part, size_t length)
{
    struct misuse_text *self = context;

    if (length >= sizeof self->text - self->used)
        return;
    memcpy(self->text + self->used, part, length);
    self->used += length;
    self->text[self->used] = '\0';
}

#endif
