/* SPDX-License-Identifier: MIT
 *
 * heap_allocator_internal.h: what the files of the heap share: runs, classes, the heap itself, and
 * who does what.
 *
 * Owns:    the in-memory shape of a heap. Fields are protected by the heap's lock unless they say
 *          "constant" (written once by heap_create.c).
 * Needs:   base, the public headers.
 * Callers: files of this component and its tests only.
 *
 * Files, bottom up: heap_source.c (pages in and out), heap_record.c (run records), heap_map.c
 * (page -> run), heap_slab.c (classes), heap_alloc.c, heap_free.c, heap_realloc.c (the API),
 * heap_fixed.c (a page source over an array), heap_create.c.
 */
#ifndef TESELA_HEAP_ALLOCATOR_INTERNAL_H
#define TESELA_HEAP_ALLOCATOR_INTERNAL_H

#include <tesela/bits.h>
#include <tesela/checked.h>
#include <tesela/config.h>
#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>
#include <tesela/list.h>
#include <tesela/lock.h>

#define HEAP_WORD_BITS (CHAR_BIT * sizeof(tsl_word))

/* A slab has at most so many blocks, so that every record has the same small size. */
#define HEAP_SLAB_BLOCKS 256u
#define HEAP_SLAB_WORDS  (HEAP_SLAB_BLOCKS / HEAP_WORD_BITS)
/* Ordinary slabs; classes above this size take what two blocks need. */
#define HEAP_SLAB_PAGES 4u
/* The greatest class that the division by multiplication in heap_slab_index is exact for. */
#define HEAP_CLASS_LARGEST 32768u

#define HEAP_CLASSES ((unsigned)TSL_HEAP_CLASSES_COUNT)
/* The class index of a large block. */
#define HEAP_LARGE 255u
_Static_assert(TSL_HEAP_CLASSES_COUNT >= 1 && TSL_HEAP_CLASSES_COUNT <= 60,
               "a heap has 1 to 60 size classes");

/* Entries of one leaf of the page map: a leaf is one page. */
#define HEAP_LEAF_ENTRIES (TSL_PAGE_BYTES / sizeof(void *))

/* The list on which a slab of a class is. */
enum heap_fill { HEAP_PARTIAL, HEAP_FULL, HEAP_EMPTY, HEAP_FILLS };

/* Pages that belong together: a slab or a large block. Lives in a record page, far from what it
 * describes, so that an overflow of a block cannot reach it. */
struct heap_run {
    struct tsl_list link;
    uintptr_t start;
    uint32_t pages;
    uint8_t class_index; /* HEAP_LARGE: one large block */
    uint8_t align_shift; /* strictest alignment asked for; a slab forgets it when it is empty */
    uint8_t is_busy;     /* a large block that a resize works on while the lock is open */
    uint8_t hint;        /* slab: no free block in words below this one */
    unsigned free_count; /* slab */
    tsl_word free[HEAP_SLAB_WORDS]; /* slab: 1 = free; bits from the block count on are 0 */
};

struct heap_class {
    struct tsl_list slabs[HEAP_FILLS];
    uint32_t block_bytes; /* constant, as the next four */
    uint32_t reciprocal;  /* of block_bytes, see heap_slab_index */
    uint16_t slab_pages;
    uint16_t slab_blocks;
    uint32_t align; /* of every block: a power of two */
    size_t slab_count;
    size_t empty_count;
    uint64_t allocs; /* allocs - frees blocks are live */
    uint64_t frees;
    uint64_t requested_bytes;
};

#define HEAP_RECORD_WORDS 3u

/* A page of records. 1 = free record. */
struct heap_record_page {
    struct tsl_list link;
    unsigned used;
    tsl_word free[HEAP_RECORD_WORDS];
    struct heap_run records[];
};

#define HEAP_RECORDS_A_PAGE                                                                        \
    ((TSL_PAGE_BYTES - offsetof(struct heap_record_page, records)) / sizeof(struct heap_run))
_Static_assert(HEAP_RECORDS_A_PAGE <= HEAP_RECORD_WORDS * HEAP_WORD_BITS,
               "a record page's bit words have a bit for each record");

/* Pages unhooked under the lock, to be given back when it is open: a run and a record page. */
struct heap_outgoing {
    unsigned count;
    struct {
        void *start;
        size_t pages;
    } run[2];
};

struct tsl_heap {
    struct tsl_lock lock;
    struct tsl_page_source source; /* constant, as the next seven */
    size_t ceiling_pages;
    size_t largest;    /* size of the greatest class */
    uint8_t *class_of; /* size in 16-byte units, rounded up -> class index or HEAP_LARGE */
    size_t head_pages; /* out of the source, for this struct; 0: the caller's array */
    size_t head_bytes; /* this struct and what follows it: class_of, map root, flat map */
    size_t map_leaves; /* entries of map_root */
    bool is_map_flat;  /* all leaves follow the root: none is taken from the source */
    struct heap_run ***map_root;
    size_t map_leaf_pages; /* leaves taken from the source */

    size_t taken_pages; /* out of the source, those in flight included */
    size_t peak_taken_pages;
    size_t flight_pages; /* taken, but in no list: on their way in or out */

    size_t flight_records; /* taken, of runs that are in no list yet */

    struct tsl_list record_pages[2]; /* [0] with a free record, [1] without */
    size_t record_page_count;
    size_t record_spare_count; /* record pages without a used record */

    struct tsl_list large;
    size_t large_count;
    size_t large_pages;

    struct tsl_list parked; /* large blocks freed by who may not call the source */
    size_t parked_pages;

    uint64_t large_allocs;
    uint64_t large_frees;
    uint64_t large_requested_bytes;
    uint64_t large_granted_bytes; /* when they were allocated */

    size_t live_bytes; /* of all blocks; that and the peak is all that the hot path sums up */
    size_t peak_bytes;
    uint64_t failures;
    uint64_t source_gets;
    uint64_t source_puts;
    uint64_t source_failures;
    struct tsl_refusals refusals; /* atomic, no lock needed */

    struct heap_class classes[HEAP_CLASSES];
};

/* heap_source.c. None of these is called with the lock held. */

/* `pages` pages whose start is a multiple of align_pages pages; in flight. Trims the heap and
 * tries again before it gives up: NULL. */
void *tsl_heap_source_take(struct tsl_heap *self, size_t pages, size_t align_pages);
/* Gives pages in flight back to the source. */
void tsl_heap_source_give(struct tsl_heap *self, void *start, size_t pages);
void tsl_heap_source_give_all(struct tsl_heap *self, const struct heap_outgoing *outgoing);
/* Counts `pages` more as taken, in flight; false if the ceiling forbids it. */
bool tsl_heap_source_reserve(struct tsl_heap *self, size_t pages);
/* Undoes a reservation that the source did not fulfil. */
void tsl_heap_source_cancel(struct tsl_heap *self, size_t pages);

/* heap_record.c */

/* A record on no list, all zero; NULL: no page for it. Lock not held. */
struct heap_run *tsl_heap_record_new(struct tsl_heap *self);
/* => locked. Frees a record; a page that becomes superfluous goes to `outgoing`. */
void tsl_heap_record_drop(struct tsl_heap *self, struct heap_run *run,
                          struct heap_outgoing *outgoing);
/* Gives the spare record page back. Lock not held. Result: pages. */
size_t tsl_heap_record_trim(struct tsl_heap *self);

/* heap_map.c */

/* Stands in the map for pages that were ours: a late second free is told from a foreign one. */
extern struct heap_run tsl_heap_returned;
/* Makes the map able to name these pages; false: no page for a leaf. Lock not held. */
bool tsl_heap_map_prepare(struct tsl_heap *self, uintptr_t start, size_t pages);
/* => locked, prepared. Writes `run` (or &tsl_heap_returned) for each page. */
void tsl_heap_map_set(struct tsl_heap *self, uintptr_t start, size_t pages, struct heap_run *run);
/* => locked, prepared. No page of these names a run. */
bool tsl_heap_map_is_clear(const struct tsl_heap *self, uintptr_t start, size_t pages);

/* heap_slab.c */

/* A run of pages with its record and map leaves, in flight and in no list; NULL: no memory. */
struct heap_run *tsl_heap_run_new(struct tsl_heap *self, size_t pages, size_t align_pages);
/* => locked. Puts a new run in the map and on a list. */
void tsl_heap_run_hook(struct tsl_heap *self, struct heap_run *run, struct tsl_list *list);
/* => locked. Unhooks a run whose link is on no list: its pages and record go to `outgoing`. */
void tsl_heap_run_retire(struct tsl_heap *self, struct heap_run *run,
                         struct heap_outgoing *outgoing);
/* => locked. A free block of the class, NULL: it has none. */
void *tsl_heap_class_take(struct heap_class *pool, unsigned align_shift);
/* => locked. Frees block `index`, which is live. is_kept: never retire the slab now. */
void tsl_heap_class_give(struct tsl_heap *self, struct heap_run *run, unsigned index, bool is_kept,
                         struct heap_outgoing *outgoing);
/* Gives parked pages back. Lock not held. Result: pages. */
size_t tsl_heap_unpark(struct tsl_heap *self);
/* Adds a slab; false: no memory. Lock not held. */
bool tsl_heap_class_grow(struct tsl_heap *self, unsigned class_index);

/* heap_alloc.c */

/* The class of a size with an alignment, HEAP_LARGE if none. Cost: one load unless aligned. */
unsigned tsl_heap_class_for(const struct tsl_heap *self, size_t bytes, size_t align);
/* A block; NULL is not yet counted or logged. align: a power of two >= TSL_HEAP_ALIGN. */
void *tsl_heap_allocate(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags);
/* Counts and logs an allocation that failed. Always NULL. */
void *tsl_heap_fail(struct tsl_heap *self, size_t bytes);
/* heap_free.c */

/* What an address is: where a live block was found, or why not. */
struct heap_place {
    struct heap_run *run;
    unsigned index;     /* in a slab */
    size_t block_bytes; /* usable; 0: unknown */
};

/* => locked. Finds the live block that starts at an address; on failure only block_bytes of
 * *out may be of use. */
enum tsl_status tsl_heap_find(const struct tsl_heap *self, const void *block,
                              struct heap_place *out);
/* Counts and logs a refused operation on a block; returns the status. Lock not held. */
enum tsl_status tsl_heap_refuse_block(struct tsl_heap *self, enum tsl_status status,
                                      const char *verb, const void *block, size_t block_bytes);
/* => locked. Frees what tsl_heap_find found. */
void tsl_heap_release(struct tsl_heap *self, const struct heap_place *place, bool is_kept,
                      struct heap_outgoing *outgoing);

/* heap_fixed.c: a page source over pages of an array. */
struct heap_fixed;
/* Bytes that the source needs for itself, for `pages` pages. */
size_t tsl_heap_fixed_bytes(size_t pages);
/* Makes a source at `place`, over `pages` pages from `start` on. */
struct tsl_page_source tsl_heap_fixed_init(void *place, uintptr_t start, size_t pages);

/* heap_create.c */
extern const uint32_t tsl_heap_class_sizes[TSL_HEAP_CLASSES_COUNT];

/* The block of a slab that holds byte `offset`. offset / block_bytes by multiplication: exact
 * while offset * block_bytes < 2^32, since the reciprocal is less than 1 too great in 2^32. */
static inline unsigned heap_slab_index(const struct heap_class *pool, size_t offset)
{
    return (unsigned)(((uint64_t)offset * pool->reciprocal) >> 32);
}

static inline struct heap_run *heap_run_of(struct tsl_list *link)
{
    return TSL_CONTAINER_OF(link, struct heap_run, link);
}

static inline size_t heap_run_bytes(const struct heap_run *run)
{
    return (size_t)run->pages << TSL_PAGE_SHIFT;
}

static inline size_t heap_class_live(const struct heap_class *pool)
{
    return (size_t)(pool->allocs - pool->frees);
}

/* => locked. Bytes that begin or end to be somebody's. */
static inline void heap_count_bytes(struct tsl_heap *self, size_t more, size_t less)
{
    self->live_bytes = self->live_bytes + more - less;
    if (self->live_bytes > self->peak_bytes)
        self->peak_bytes = self->live_bytes;
}

/* => locked. What the map says of an address: NULL: never ours; &tsl_heap_returned: was ours and
 * went back to the source; else the run. */
static inline struct heap_run *heap_map_at(const struct tsl_heap *self, uintptr_t address)
{
    uintptr_t offset = address - self->source.start;
    if (TSL_UNLIKELY(offset >= self->source.bytes))
        return NULL;
    size_t index = offset >> TSL_PAGE_SHIFT;
    struct heap_run **leaf = self->map_root[index / HEAP_LEAF_ENTRIES];

    return TSL_UNLIKELY(leaf == NULL) ? NULL : leaf[index % HEAP_LEAF_ENTRIES];
}

#endif
