/* SPDX-License-Identifier: MIT
 *
 * naive_space.h: spaces beside a naive model: an array of pages that copies everything eagerly.
 *
 * Owns:    the one model of a test program: a few spaces, the objects they show.
 * Needs:   space_world.h.
 * Callers: tests/vallocator.
 *
 * Every naive_... does the same to a space and to its model, and checks that the answers agree.
 * Places are page numbers from the lowest user address on: so the model knows where "anywhere" is.
 */
#ifndef NAIVE_SPACE_H
#define NAIVE_SPACE_H

#include "space_world.h"

/* Operations begin below NAIVE_PAGES. What lies behind after a move is unmapped at once. */
enum {
    NAIVE_SPACES = 6,
    NAIVE_OBJECTS = 2,
    NAIVE_PAGES = 48,
    NAIVE_SLACK = 96,
    NAIVE_OBJECT_PAGES = 24
};

/* What one page of a space is. */
struct naive_page {
    bool mapped;
    bool charged;
    bool own; /* has private contents */
    unsigned char byte;
    unsigned rights;
    unsigned maximum;
    unsigned flags;
    struct tsl_object *object;
    size_t object_page;
};

struct naive_space {
    struct tsl_space *space[NAIVE_SPACES];
    struct naive_page page[NAIVE_SPACES][NAIVE_PAGES + NAIVE_SLACK];
    struct tsl_space_limits limits[NAIVE_SPACES];
    struct tsl_object *object[NAIVE_OBJECTS];
    unsigned char shared[NAIVE_OBJECTS][NAIVE_OBJECT_PAGES];
    size_t commit_limit;
    bool is_starved; /* TSL_NO_MEMORY is an answer, and then nothing may have changed */
    unsigned starvations;
};

extern struct naive_space naive;

/* `count` empty spaces; of them those with odd numbers have limits, if `limits` says so. */
void naive_start(unsigned count, size_t commit_limit, const struct tsl_space_limits *limits);
void naive_stop(void);

tsl_vaddr naive_address(size_t page);

/* In each a range is first .. end - 1. */
void naive_map(unsigned which, size_t first, size_t end, const struct tsl_map_request *request);
/* Anywhere: the request's address, limit and alignment count. */
void naive_map_anywhere(unsigned which, size_t pages, struct tsl_map_request request);
void naive_unmap(unsigned which, size_t first, size_t end);
void naive_protect(unsigned which, size_t first, size_t end, unsigned rights);
void naive_advise(unsigned which, size_t first, size_t end, enum tsl_advice advice);
void naive_remap(unsigned which, size_t first, size_t end, size_t pages, unsigned flags, size_t to);
void naive_lock(unsigned which, size_t first, size_t end, bool is_set);
/* The space `to` ends (if there is one) and becomes a copy of `from`. */
void naive_copy(unsigned from, unsigned to);
void naive_load(unsigned cpu, unsigned which, size_t page);
void naive_store(unsigned cpu, unsigned which, size_t page, unsigned char byte);

/* Where the region that holds the page ends; the page behind if none does. */
size_t naive_region_end(unsigned which, size_t page);

/* Whether all regions of the space are those of the model, and it is sound. */
bool naive_agrees(unsigned which);
/* A number that is equal for equal pages of the naive. */
uint64_t naive_hash(unsigned which, size_t pages);

#endif
