/* SPDX-License-Identifier: MIT
 *
 * heap_allocator_internal.h: what the files of the heap share: runs, pools, the heap itself, and
 * who does what.
 *
 * Owns:    the in-memory shape of a heap. Fields are protected by the heap's lock unless they say
 *          "constant" (written once by heap_create.c) or "owner" (see below).
 * Needs:   base, the public headers.
 * Callers: files of this component and its tests only.
 *
 * Files, bottom up: heap_source.c (pages in and out), heap_record.c (run records), heap_map.c
 * (page -> run), heap_array.c (added memory), heap_run.c (the three together), heap_class.c
 * (geometry), heap_pool.c (slabs of one class and owner), heap_slab.c (slabs begin and end),
 * heap_owner.c (slabs that belong to a CPU), heap_trim.c (what is too much goes back),
 * heap_relief.c (shrinkers), heap_alloc.c, heap_free.c, heap_realloc.c (the API), heap_cache.c
 * (typed caches), heap_fixed.c (a page source over an array), heap_setup.c (checks of what a heap
 * is made of), heap_create.c, heap_slabs_dump.c (figures), heap_slabs_verify.c. With
 * HEAP_CORE_GRANULES those of heap_granules.h instead, heap_relief.c and heap_setup.c.
 *
 * Owners. A slab belongs to one pool, and a pool either to one CPU, which works on it pinned and
 * without a lock, or to the centre, under the heap's lock. "owner" beside a field says: of the pool
 * that run->owner names. With one CPU the centre is that CPU's, and the lock no more than a pin.
 */
#ifndef TESELA_HEAP_ALLOCATOR_INTERNAL_H
#define TESELA_HEAP_ALLOCATOR_INTERNAL_H

#include <tesela/bits.h>
#include <tesela/call.h>
#include <tesela/checked.h>
#include <tesela/config.h>
#include <tesela/heap_allocator.h>
#include <tesela/heap_report.h>
#include <tesela/list.h>
#include <tesela/lock.h>
#include <tesela/port_inline.h>

#include "granules/heap_granules.h"
#include "hardening/heap_guard.h"

#define HEAP_WORD_BITS (CHAR_BIT * sizeof(tsl_word))

/* A slab has at most so many blocks, so that every record has the same small size. */
#define HEAP_SLAB_BLOCKS 256u
#define HEAP_SLAB_WORDS  (HEAP_SLAB_BLOCKS / HEAP_WORD_BITS)
/* Ordinary slabs; classes above this size take what two blocks need. */
#define HEAP_SLAB_PAGES 4u
/* The greatest class or object. The division by multiplication in heap_split is exact for slabs of
 * four blocks up to here; of how many more, heap_class.c sees to when it chooses the pages. */
#define HEAP_CLASS_LARGEST 32768u

#define HEAP_CLASSES ((unsigned)TSL_HEAP_CLASSES_COUNT)
/* The pools of an owner: one a class, and one of objects of size 0, whose slabs have no access. */
#define HEAP_POOLS (HEAP_CLASSES + TSL_HEAP_ZERO_FAULTS)
#define HEAP_ZERO  HEAP_CLASSES
/* Size of the greatest class, and entries of the table from a size to its pool. */
#define HEAP_CLASS_LAST    ((size_t)TSL_HEAP_CLASSES_LAST)
#define HEAP_TABLE_ENTRIES (TSL_HEAP_CLASSES_LAST / TSL_HEAP_ALIGN + 1)
/* Class indexes of what is no slab of a class: a large block, a run that is in no list yet. */
#define HEAP_LARGE  255u
#define HEAP_FLIGHT 254u
#define HEAP_CACHE  253u /* a slab of a typed cache */
_Static_assert(TSL_HEAP_CLASSES_COUNT >= 1 && TSL_HEAP_CLASSES_COUNT <= 60,
               "a heap has 1 to 60 size classes");
_Static_assert(TSL_HEAP_CLASSES_LAST <= HEAP_CLASS_LARGEST, "the greatest class is 32 KiB or less");

/* Whether CPUs own slabs; without, all that is about owners compiles away. */
#define HEAP_HAS_OWNERS (TSL_CPUS > 1)
/* Whether what a CPU allocated last is remembered. The layer of heap_guard.h fills and checks each
 * block, so that it would not show there. */
#define HEAP_HAS_LAST (HEAP_HAS_OWNERS && !HEAP_GUARDED)
/* So many blocks that a CPU freed a short while ago each of its pools remembers. */
#define HEAP_RECENT (HEAP_HAS_LAST ? 16u : 0u)
/* The CPU of a pool of the centre. */
#define HEAP_CENTRE UINT16_MAX
_Static_assert(TSL_CPUS < HEAP_CENTRE, "a pool names its CPU in 16 bits");

/* Entries of one leaf of the page map: a leaf is one page. */
#define HEAP_LEAF_ENTRIES (TSL_PAGE_BYTES / sizeof(void *))

/* Where a slab is in its pool. Current: blocks are taken from it. Full: it was used up, and fewer
 * than heap_full_slack() + 1 blocks have come back. Loose: in no pool, on its way. */
enum heap_place {
    HEAP_PLACE_LOOSE,
    HEAP_PLACE_CURRENT,
    HEAP_PLACE_FULL,
    HEAP_PLACE_PARTIAL,
    HEAP_PLACE_EMPTY,
    /* Of a large block, for the layer of heap_guard.h; else it is loose. Somebody frees or resizes
     * it, or it waits in quarantine: it is nobody else's. And: it waits, at the end of the list of
     * large ones, for somebody who may call the page source. */
    HEAP_PLACE_CLAIMED,
    HEAP_PLACE_DEFERRED
};

/* Whether the heap hears of CPUs that leave; only then CPUs may own slabs. */
enum heap_hooked { HEAP_UNHOOKED, HEAP_HOOKING, HEAP_HOOKED };

/* run->state: on somebody's stack of slabs to look at; frees that others have announced and whose
 * bits the owner has not merged; resizes that copy out of the slab. A slab goes back to the source
 * only when all of it is 0. */
#define HEAP_QUEUED    ((uint32_t)1)
#define HEAP_ANNOUNCED ((uint32_t)2)
#define HEAP_HELD      ((uint32_t)0x10000)

/* Pages that belong together: a slab or a large block. Lives in a record page, far from what it
 * describes, so that an overflow of a block cannot reach it. */
struct heap_run {
    /* What a free by the owner touches: one cache line. */
    uintptr_t start;
    struct heap_pool *owner;        /* atomic; NULL: no slab */
    tsl_word free[HEAP_SLAB_WORDS]; /* owner; 1 = free; bits from the block count on are 0 */
    uint32_t reciprocal;            /* of the block size, see heap_split; 0: no slab */
    uint32_t state;                 /* atomic */
    int16_t slack;       /* owner: after this many frees and one more somebody has to look */
    uint16_t blocks;     /* slab */
    uint8_t class_index; /* or HEAP_LARGE, HEAP_FLIGHT, HEAP_CACHE */
    uint8_t place;       /* owner: enum heap_place; of a large block under the lock */
    uint8_t align_shift; /* atomic: strictest alignment asked for; a slab forgets it when it is
                          * empty */
    uint8_t is_busy : 1; /* a large block that a resize works on while the lock is open */
    /* A slab that served a request of a smaller class, or where a block stayed that shrank, until
     * it is empty; a large block that stayed. */
    uint8_t is_lent : 1;
    /* What is needed less often, or by other CPUs. */
    struct tsl_list link; /* owner */
    uint32_t pages;
    struct heap_run *next;            /* on a stack of slabs to look at */
    tsl_word remote[HEAP_SLAB_WORDS]; /* atomic: freed by other CPUs, not yet merged */
};

/* With one CPU a record ends before what is for others. */
#define HEAP_RECORD_BYTES                                                                          \
    (HEAP_HAS_OWNERS ? sizeof(struct heap_run) : offsetof(struct heap_run, next))

/* Slack of a slab that need not be looked at after any number of frees. */
#define HEAP_SLACK_ENDLESS (INT16_MAX / 2)

/* Blocks that their owner freed a short while ago: free, as their bits say. */
struct heap_recent {
    tsl_word block[HEAP_RECENT];
    struct heap_run *run[HEAP_RECENT];
    uint8_t index[HEAP_RECENT];
};
_Static_assert(HEAP_SLAB_BLOCKS <= UINT8_MAX + 1u, "a block's number in its slab has 8 bits");

/* The slabs of one class that one owner has. Statistics are read by others while the owner counts.
 *
 * The block that is handed out next is chosen one allocation ahead: then its address is there when
 * it is wanted, and so is its memory. A block that is freed before its CPU allocates another one is
 * spare, and goes out again first. The bits of these two are 0, as if they were live. Some blocks
 * that were freed a short while ago go out next, the last one first: their slabs change no list. */
struct heap_pool {
    tsl_word *word; /* of the current slab, the block after the next comes from here; never NULL */
    uintptr_t base; /* the block of bit 0 of *word */
    tsl_word next;  /* atomic: address of a block of the current slab; 0: none, and *word is 0 */
    tsl_word spare; /* atomic: of a block of last_run; 0: none. Only in pools of CPUs */
    uint32_t block_bytes;  /* constant, as the next two */
    uint16_t cpu;          /* whose, or HEAP_CENTRE */
    uint8_t empty_kept;    /* constant: empty slabs that stay, besides one and a share */
    uint8_t gleaned;       /* owner: when slabs that were used up were last looked at in vain */
    uint16_t recent_count; /* owner */
    uint16_t recent_room;  /* owner; HEAP_RECENT, or 0: none are remembered now */
    uint32_t slab_count;
    uint64_t allocs;
    uint64_t requested_bytes;
    uint64_t frees;
    struct heap_run *current;
    struct heap_run
        *last_run; /* owner: slab of what the short way took last, or of what is spare */
    uint32_t noise[HEAP_GUARDED]; /* chooses blocks */
    struct tsl_list slabs;        /* partial ones in front, empty ones behind */
    struct tsl_list full;
    uint32_t empty_count;
    struct heap_recent *recent; /* constant; NULL: this heap has no memory for it */
};

/* What one CPU, or the centre, has. */
struct heap_cpu {
    struct heap_pool pools[HEAP_POOLS + 1]; /* the last is always empty: sizes without a class */
    tsl_word stack;                         /* slabs to look at: pointers through run->next */
    tsl_word is_active;                     /* its CPU is online and owns slabs */
    /* The block that the short way allocated last, and its pool, while its slab is sure to be
     * there; &tsl_heap_no_pool once that may be over. */
    tsl_word last;
    struct heap_pool *last_pool;
};

/* The geometry of the slabs of a pool in one heap; constant. */
struct heap_class {
    uint32_t block_bytes;
    uint32_t reciprocal; /* of block_bytes */
    uint16_t slab_pages;
    uint16_t slab_blocks;
    uint32_t align;      /* of every block: a power of two */
    uint16_t empty_kept; /* empty slabs that a pool keeps in any case, besides one */
};

#define HEAP_RECORD_WORDS 3u

/* A page of records. 1 = free record. */
struct heap_record_page {
    struct tsl_list link;
    unsigned used;
    tsl_word free[HEAP_RECORD_WORDS];
    /* The others follow every HEAP_RECORD_BYTES. */
    struct heap_run first TSL_ALIGNED(HEAP_HAS_OWNERS ? 64 : sizeof(void *));
};

#define HEAP_RECORDS_A_PAGE                                                                        \
    ((TSL_PAGE_BYTES - offsetof(struct heap_record_page, first)) / HEAP_RECORD_BYTES)
_Static_assert(HEAP_RECORDS_A_PAGE <= HEAP_RECORD_WORDS * HEAP_WORD_BITS,
               "a record page's bit words have a bit for each record");

/* Pages unhooked under the lock, to be given back when it is open. */
struct heap_outgoing {
    void *start;
    size_t pages; /* 0: none */
};

/* A block that a resize copies while the lock is open; on the stack of that resize. */
struct heap_moving {
    struct heap_moving *next;
    const void *block;
};

/* Memory added at run time. */
struct heap_arrays {
    struct heap_array *first; /* atomic to look */
    size_t pages;             /* of all; the ceiling contains them */
    size_t taken_pages;       /* of them */
};

struct tsl_heap {
    /* First, so that a CPU's number finds its own in one load. Never NULL: &tsl_heap_nobody. */
    struct heap_cpu *cpus[HEAP_HAS_OWNERS ? TSL_CPUS : 1];
    struct tsl_page_source source;        /* constant, as the next nine, ceiling aside */
    uint16_t pool_of[HEAP_TABLE_ENTRIES]; /* size in 16-byte units -> offset of its pool */
    tsl_word ceiling_pages;               /* atomic: arrays come and go */
    size_t reserve_pages;                 /* of them, for TSL_HEAP_EMERGENCY only */
    size_t head_pages;          /* out of the source, for this struct; 0: the caller's array */
    size_t head_bytes;          /* this struct and what follows it: map root, flat map */
    size_t map_leaves;          /* entries of map_root */
    struct heap_run **map_none; /* the leaf of addresses that have none yet: all nowhere */
    bool is_map_flat;           /* all leaves follow the root: none is taken from the source */
    struct heap_class classes[HEAP_POOLS];

    struct tsl_lock lock;
    struct heap_cpu centre;
    tsl_word has_excess;      /* atomic; the centre has more empty slabs than it should keep */
    struct tsl_cpu_hook hook; /* a CPU that leaves gives its slabs to the centre */
    tsl_word hooked;          /* atomic; enum heap_hooked */

    size_t map_leaf_pages; /* leaves taken from the source */
    size_t cpu_pages;      /* taken for struct heap_cpu */
    size_t taken_pages;    /* out of the source, those in flight included */
    size_t peak_taken_pages;
    size_t flight_pages;   /* taken, but in no list: on their way in or out */
    size_t flight_records; /* taken, of runs that are in no list yet */

    struct tsl_list record_pages[2]; /* [0] with a free record, [1] without */
    size_t record_page_count;
    size_t record_spare_count; /* record pages without a used record */

    struct tsl_list large;
    size_t large_count;
    size_t large_pages;
    struct tsl_list parked; /* large blocks freed by who may not call the source */
    tsl_word parked_pages;  /* atomic to look whether there are any */
    uint64_t large_allocs;
    uint64_t large_frees;
    uint64_t large_requested_bytes;
    uint64_t large_granted_bytes; /* when they were allocated */

    size_t peak_bytes; /* of live bytes, noted when pages are taken and when figures are read */
    struct heap_moving *moving; /* atomic to look whether there are any */
    struct tsl_list shrinkers;
    struct tsl_list caches;
    uint64_t ended_objects; /* taken in caches that have ended, as what follows */
    uint64_t ended_requested_bytes;
    uint64_t ended_granted_bytes;
    size_t (*trim_caches)(struct tsl_heap *self);       /* NULL until the first cache */
    bool (*out_of_memory)(void *context, size_t bytes); /* constant, as its context */
    void *out_of_memory_context;
    tsl_word is_asking; /* atomic; the CPU that is in that callback, and 1; 0: none */
    uint64_t failures;
    uint64_t source_gets;
    uint64_t source_puts;
    uint64_t source_failures;
    struct tsl_refusals refusals; /* atomic, no lock needed */

    struct heap_granules granules[TSL_HEAP_CORE_GRANULES]; /* then nothing about slabs is in use */
    struct heap_arrays arrays[TSL_HEAP_ARRAYS];
    bool panics; /* misuse stops the kernel */
    struct heap_guard guard[HEAP_GUARDED];

    struct heap_run **map_root[]; /* constant size; then leaves */
};

/* A typed cache: a pool of its own, of the centre's kind, in a block of the heap. */
struct tsl_heap_cache {
    struct tsl_heap *heap; /* constant, as the next four */
    size_t object_bytes;
    void (*construct)(void *context, void *object);
    void *context;
    struct heap_class class;
    struct tsl_list link;
    struct heap_pool pool;
};

/* heap_setup.c: both cores. Nothing is counted or changed on failure, the new heap is not made
 * yet. */

/* What a heap is to be made of; *ceiling_pages: its ceiling. */
enum tsl_status tsl_heap_setup_check(const struct tsl_heap_config *config, struct tsl_heap **out,
                                     size_t *ceiling_pages);
/* Pages for a head; TSL_CORRUPT: the source gave some that cannot be its own, they stay there. */
enum tsl_status tsl_heap_setup_take(const struct tsl_page_source *source, size_t head_bytes,
                                    size_t ceiling_pages, struct tsl_heap **out);
/* Fills in what the configuration and the head's pages say, head_bytes is set. */
void tsl_heap_setup_apply(struct tsl_heap *self, const struct tsl_heap_config *config);
/* Where a head of so many bytes and the pages behind it lie in an array. */
struct heap_place_in {
    uintptr_t head;
    uintptr_t first; /* page */
    size_t pages;
};
enum tsl_status tsl_heap_setup_array(const void *array, size_t bytes, size_t head_bytes,
                                     size_t least_pages, struct heap_place_in *out);

/* Flags beside those of callers (enum tsl_heap_flags). They are all passed on, from
 * tsl_heap_allocate down to the page source, so that no bit may mean two things. */
#define HEAP_NO_RELIEF   0x100u /* shrinkers are not asked */
#define HEAP_ZERO_ONLY   0x200u /* an object of size 0 may not be a block of the smallest class */
#define HEAP_SOURCE_ONLY 0x400u /* no memory that was added */
_Static_assert(((HEAP_NO_RELIEF ^ HEAP_ZERO_ONLY ^ HEAP_SOURCE_ONLY) & 0x700u) == 0x700u,
               "internal flags have a bit each");

/* heap_source.c. None of these is called with the lock held. */

/* `pages` pages whose start is a multiple of align_pages pages; in flight. Trims the heap and
 * tries again before it gives up: NULL. flags: TSL_HEAP_EMERGENCY may use the reserve. */
void *tsl_heap_source_take(struct tsl_heap *self, size_t pages, size_t align_pages, unsigned flags);
/* As take, for one page of alignment, but gives up at once and leaves the reserve alone. */
void *tsl_heap_source_try(struct tsl_heap *self, size_t pages);
/* Gives pages in flight back to where they came from. */
void tsl_heap_source_give(struct tsl_heap *self, void *start, size_t pages);
void tsl_heap_source_give_all(struct tsl_heap *self, const struct heap_outgoing *outgoing);
/* Counts `pages` more as taken, in flight; false if the ceiling forbids it. */
bool tsl_heap_source_reserve(struct tsl_heap *self, size_t pages, unsigned flags);
/* Undoes a reservation that the source did not fulfil. */
void tsl_heap_source_cancel(struct tsl_heap *self, size_t pages);
/* => locked. Notes new peaks after pages came in. */
void tsl_heap_source_came(struct tsl_heap *self);
/* Takes all access to pages of a run away; false: not possible. */
bool tsl_heap_source_protect(struct tsl_heap *self, void *start, size_t pages);

/* heap_record.c */

/* A record on no list, HEAP_FLIGHT, all zero but its state; NULL: no page for it. Lock not held. */
struct heap_run *tsl_heap_record_new(struct tsl_heap *self, unsigned flags);
/* => locked. As new, out of the record pages in an array (NULL: out of the source); NULL: none. */
struct heap_run *tsl_heap_record_take(struct tsl_heap *self, const struct heap_array *home);
/* => locked. A page that is taken becomes one of free records. */
void tsl_heap_record_page_add(struct tsl_heap *self, struct heap_record_page *page);
/* => locked. Frees a record. Its page stays until a trim. */
void tsl_heap_record_drop(struct tsl_heap *self, struct heap_run *run);
/* Gives record pages without a used record back. Lock not held. Result: pages. */
size_t tsl_heap_record_trim(struct tsl_heap *self);
/* => locked. The used record behind `run` in record page order; NULL: the first, or no more. */
struct heap_run *tsl_heap_record_next(const struct tsl_heap *self, const struct heap_run *run);

/* heap_map.c */

/* Stand in the map for pages that were never ours, and that were: a late second free is told from a
 * foreign one. */
extern struct heap_run tsl_heap_nowhere;
extern struct heap_run tsl_heap_returned;
/* Makes the map able to name these pages; false: no page for a leaf. Lock not held. */
bool tsl_heap_map_prepare(struct tsl_heap *self, uintptr_t start, size_t pages, unsigned flags);
/* => locked, prepared. Writes `run` (or &tsl_heap_returned) for each page. */
void tsl_heap_map_set(struct tsl_heap *self, uintptr_t start, size_t pages, struct heap_run *run);
/* => locked, prepared. No page of these names a run. */
bool tsl_heap_map_is_clear(const struct tsl_heap *self, uintptr_t start, size_t pages);
/* Makes each entry say "never ours". */
void tsl_heap_map_wipe(struct heap_run **entries, size_t count);

/* heap_run.c */

/* A run of pages with its record and map leaves, in flight and in no list; NULL: no memory. */
struct heap_run *tsl_heap_run_new(struct tsl_heap *self, size_t pages, size_t align_pages,
                                  unsigned flags);
/* => locked. Puts a new run, complete but for its list, in the map. */
void tsl_heap_run_hook(struct tsl_heap *self, struct heap_run *run);
/* => locked. Unhooks a run whose link is on no list: its pages go to `outgoing`. */
void tsl_heap_run_retire(struct tsl_heap *self, struct heap_run *run,
                         struct heap_outgoing *outgoing);
/* As new, out of the source, with no access to the `closed` pages behind the first `open` ones;
 * NULL also when that is not possible. */
struct heap_run *tsl_heap_run_new_closed(struct tsl_heap *self, size_t open, size_t closed,
                                         size_t align_pages, unsigned flags);

/* heap_pool.c. "=> owned" is: locked for the centre's pools, else pinned on their CPU. */

/* An empty pool; without a class (NULL) it stays empty. */
void tsl_heap_pool_init(struct heap_pool *pool, const struct heap_class *class, unsigned cpu);
/* => owned. Takes a block when the current word is used up, or for its slab to remember the
 * alignment; NULL: the pool has none. */
void *tsl_heap_pool_take_slowly(struct heap_pool *pool, unsigned align_shift);
/* Empty slabs that a pool should keep. */
size_t tsl_heap_pool_empty_kept(const struct heap_pool *pool);
/* => owned. Puts a slab, whose bits others or frees changed, where it belongs. True: it is empty
 * and the pool has enough of these. */
bool tsl_heap_pool_settle(struct heap_pool *pool, struct heap_run *run);
/* As settle, for a slab whose slack was just used up, so that its bits need not be counted. */
bool tsl_heap_pool_came(struct heap_pool *pool, struct heap_run *run);
/* => owned. The next slab to take out of the pool so that all with free blocks have left it; NULL:
 * they have. *after: where the last call ended among the full slabs, at first NULL. */
struct heap_run *tsl_heap_pool_next_offer(struct heap_pool *pool, struct tsl_list **after);
/* => owned. All slabs with free blocks are about to leave the pool: what was freed last is found by
 * its bits from now on, and what is spare has its bit again. */
void tsl_heap_pool_forget(struct heap_pool *pool);
/* => owned. Takes a slab, of which no block is spare, out of its pool: loose. */
void tsl_heap_pool_detach(struct heap_pool *pool, struct heap_run *run);
/* => owned. Puts a loose slab into a pool. Result as settle. */
bool tsl_heap_pool_attach(struct heap_pool *pool, struct heap_run *run);

/* heap_slab.c */

/* Adds a slab to this CPU's pool or the centre's; false: no memory. Lock not held. */
bool tsl_heap_class_grow(struct tsl_heap *self, unsigned class_index, unsigned flags);
/* => locked. A loose slab becomes the centre's. */
void tsl_heap_centre_attach(struct tsl_heap *self, struct heap_run *run);
/* => locked. Unhooks a superfluous slab of the centre; false: somebody still looks at it. */
bool tsl_heap_centre_retire(struct tsl_heap *self, struct heap_pool *pool, struct heap_run *run,
                            struct heap_outgoing *outgoing);
/* What follows a free that used up a slab's slack. => owned by this CPU, pinned, or locked; the
 * slab is superfluous when it is retired or the centre's. is_kept: never retire. False: no slab was
 * superfluous, *outgoing is untouched. */
bool tsl_heap_freed(struct tsl_heap *self, struct heap_pool *pool, struct heap_run *run,
                    bool is_kept, struct heap_outgoing *outgoing);

/* heap_trim.c */

/* Everything with a free block is on the lists of the centre afterwards. Lock not held. */
void tsl_heap_recall(struct tsl_heap *self);
/* Gives parked pages back. Lock not held. Result: pages. */
size_t tsl_heap_unpark(struct tsl_heap *self);
/* Gives the centre's superfluous empty slabs back. Lock not held. */
void tsl_heap_shed(struct tsl_heap *self);

/* heap_owner.c: only with more than one CPU. */

/* Stands for a CPU that owns nothing: its pools are empty and nobody writes to them. */
extern struct heap_cpu tsl_heap_nobody;
/* Stands for the pool of no block, whose slab seems to be in use by others. */
extern struct heap_pool tsl_heap_no_pool;
/* This CPU may own slabs from now on, if it is online and memory allows it. Lock not held. */
void tsl_heap_cpu_start(struct tsl_heap *self);
/* => pinned on its CPU. Merges what others freed into its slabs. */
void tsl_heap_cpu_receive(struct tsl_heap *self, struct heap_cpu *cpu);
/* => locked. The same for the centre, which also takes in slabs given to it. */
void tsl_heap_centre_receive(struct tsl_heap *self);
/* => pinned. A loose slab goes to the centre, without the lock. */
void tsl_heap_give_to_centre(struct tsl_heap *self, struct heap_run *run);
/* => pinned. Frees a block of a slab that another CPU owns: TSL_OK or TSL_DOUBLE_FREE. */
enum tsl_status tsl_heap_free_remote(struct tsl_heap *self, const void *block, struct heap_run *run,
                                     struct heap_pool *owner, size_t index);
/* Empties the stacks of all CPUs and of the centre. Lock not held. */
void tsl_heap_receive_all(struct tsl_heap *self);
/* No CPU owns anything or will again: the heap ends. Lock not held. */
void tsl_heap_owners_end(struct tsl_heap *self);
/* Waits until no CPU online is inside of anything that it began pinned before. Lock not held. */
void tsl_heap_wait_for_readers(void);

/* heap_cache.c */

/* Whether an object of the cache is live. While nobody frees it; no lock needed. */
bool tsl_heap_cache_has(const struct tsl_heap_cache *self, const void *object);

/* heap_alloc.c */

/* The class of a size with an alignment, HEAP_LARGE if none. Cost: one load unless aligned. */
unsigned tsl_heap_class_for(const struct tsl_heap *self, size_t bytes, size_t align);
/* A block; NULL is not yet counted or logged. align: a power of two >= TSL_HEAP_ALIGN. */
void *tsl_heap_allocate(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags);
/* As allocate, but always pages of its own. */
void *tsl_heap_allocate_large(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags);
/* heap_relief.c */

/* Counts and logs an allocation that failed. Always NULL. */
void *tsl_heap_fail(struct tsl_heap *self, size_t bytes);
/* Asks others to free memory before a request fails. True: try again. *round counts how often they
 * were asked for this request; 0 at first. Lock not held. */
bool tsl_heap_relieve(struct tsl_heap *self, size_t bytes, unsigned *round);

/* heap_realloc.c */

/* tsl_heap_realloc_aligned of a block that is not NULL, without the layer of heap_guard.h. */
void *tsl_heap_core_realloc(struct tsl_heap *self, size_t align, void *block, size_t bytes);
/* A live block, its caller's, has fewer bytes from now on and stays where it is, for want of memory
 * for a smaller one. Of a large one the pages behind go back. Lock not held. */
void tsl_heap_stay(struct tsl_heap *self, const void *block, size_t bytes);
/* The same keeps an alignment from now on, which its address has. No lock or pin needed. */
void tsl_heap_promise(struct tsl_heap *self, const void *block, size_t align);

/* heap_free.c */

/* What an address is: where a live block was found, or why not. */
struct heap_place_of {
    struct heap_run *run;
    size_t index;       /* in a slab */
    size_t block_bytes; /* usable; 0: unknown, or an object of size 0 */
};

/* => pinned; the answer about a slab of another CPU may be old. Finds the live block that starts at
 * an address; on failure only block_bytes of *out may be of use. */
enum tsl_status tsl_heap_find(const struct tsl_heap *self, const void *block,
                              struct heap_place_of *out);
/* The public functions without the layer of heap_guard.h. */
enum tsl_status tsl_heap_core_free(struct tsl_heap *self, void *block, bool is_kept);
enum tsl_status tsl_heap_core_free_sized(struct tsl_heap *self, void *block, size_t bytes);
size_t tsl_heap_core_usable(struct tsl_heap *self, const void *block);
/* Undoes heap_moving_begin; a block of a slab (not NULL) whose contents have moved ends. Lock not
 * held. */
void tsl_heap_moved(struct tsl_heap *self, struct heap_moving *moving, void *block);

/* A live block of the core, for the layer above. */
struct heap_spot {
    size_t granted; /* also of a block that is not live; 0: unknown, or nothing */
    bool is_large;
    uint8_t class_index;
    uint8_t align_shift; /* strictest alignment that it may have to keep */
};

/* Finds a block as tsl_heap_find does; no lock or pin needed. */
enum tsl_status tsl_heap_locate(const struct tsl_heap *self, const void *block,
                                struct heap_spot *out);
/* What the caller may use of a live block that is his: of a greater class it is more than of its
 * own. No lock or pin needed. */
size_t tsl_heap_granted(const struct tsl_heap *self, const void *block);
/* => locked. Unhooks a live large block. */
void tsl_heap_large_release(struct tsl_heap *self, struct heap_run *run, bool is_kept,
                            struct heap_outgoing *outgoing);

/* heap_harden.c */

/* Counts and logs a refused operation on a block; returns the status. Lock not held. */
enum tsl_status tsl_heap_refuse_block(struct tsl_heap *self, enum tsl_status status,
                                      const char *verb, const void *block, size_t block_bytes);
/* Why a block is refused, in words. */
const char *tsl_heap_reason(enum tsl_status status);

/* heap_array.c: only with TSL_HEAP_ARRAYS. */
struct heap_array;
/* => locked, or nobody removes arrays. The address is in an array, its bookkeeping included. */
bool tsl_heap_array_holds(const struct tsl_heap *self, uintptr_t address);
/* => pinned. The array whose pages hold an address; NULL: none. */
struct heap_array *tsl_heap_array_of(const struct tsl_heap *self, uintptr_t address);
/* => pinned. What the map says of an address in an array. */
struct heap_run **tsl_heap_array_entry(struct heap_array *array, uintptr_t address);
/* A run as tsl_heap_run_new makes it, out of an array; NULL: none has room. Lock not held. */
struct heap_run *tsl_heap_array_run(struct tsl_heap *self, size_t pages, size_t align_pages);
/* Pages in flight go back to their array; false: they come from none. Lock not held. */
bool tsl_heap_array_give(struct tsl_heap *self, const void *start, size_t pages);
/* Takes the pages behind a busy run in an array, in flight; false: they are not free. */
bool tsl_heap_array_extend(struct tsl_heap *self, const struct heap_run *run, size_t more);
/* => locked. Rule 12. *named grows by the pages of arrays that the map names runs for. */
struct tsl_defect tsl_heap_arrays_check(const struct tsl_heap *self, size_t *named);

/* heap_fixed.c: a page source over pages of an array. */
struct heap_fixed;
/* Bytes that the source needs for itself, for `pages` pages. */
size_t tsl_heap_fixed_bytes(size_t pages);
/* Makes a source at `place`, over `pages` pages from `start` on. */
struct tsl_page_source tsl_heap_fixed_init(void *place, uintptr_t start, size_t pages);

/* heap_class.c */
extern const uint32_t tsl_heap_class_sizes[TSL_HEAP_CLASSES_COUNT];
/* The list in config.h ascends in multiples of 16, and its last entry is HEAP_CLASS_LAST. */
bool tsl_heap_classes_are_good(void);
/* The geometry of one class in a heap with this ceiling. */
void tsl_heap_class_shape(struct heap_class *class, uint32_t block_bytes, size_t ceiling_pages);
/* Fills classes and pool_of for a heap with this ceiling. */
void tsl_heap_classes_init(struct tsl_heap *self, size_t ceiling_pages);

/* heap_slabs_dump.c */
/* => locked. Bytes of live blocks; other CPUs may be counting. */
size_t tsl_heap_live_bytes(const struct tsl_heap *self);

/* Which block of a slab, and whether `offset` is the start of one: offset / block_bytes by
 * multiplication. With r = 2^32 / block_bytes, rounded up, the upper half of offset * r is the
 * quotient and the lower half is below r exactly when nothing remains, in each of n blocks while
 * n * (r * block_bytes - 2^32) < r (D. Lemire et al., "Faster remainder by direct computation",
 * 2019): so heap_class.c cuts slabs. r = 0: never a start. */
static inline bool heap_split(uint32_t reciprocal, uint32_t offset, size_t *index)
{
    uint64_t product = (uint64_t)offset * reciprocal;

    *index = (size_t)(product >> 32);
    return (uint32_t)product < reciprocal;
}

/* Pages of what a CPU has; behind that lies what its pools remember of freed blocks, if they do. */
static inline size_t heap_cpu_pages(bool has_recent)
{
    return tsl_pages_of(sizeof(struct heap_cpu) +
                        (has_recent ? HEAP_POOLS * sizeof(struct heap_recent) : 0));
}

static inline struct heap_run *heap_run_of(struct tsl_list *link)
{
    return TSL_CONTAINER_OF(link, struct heap_run, link);
}

static inline size_t heap_run_bytes(const struct heap_run *run)
{
    return (size_t)run->pages << TSL_PAGE_SHIFT;
}

static inline bool heap_is_slab(const struct heap_run *run)
{
    return run->class_index < HEAP_POOLS;
}

/* A slab of objects of size 0. */
static inline bool heap_is_zero(const struct heap_run *run)
{
    return TSL_HEAP_ZERO_FAULTS && run->class_index == HEAP_ZERO;
}

/* Whether this heap's objects of size 0 have a pool of their own. */
static inline bool heap_has_zero(const struct tsl_heap *self)
{
    return TSL_HEAP_ZERO_FAULTS && self->pool_of[0] != 0;
}

static inline struct heap_pool *heap_owner_of(const struct heap_run *run)
{
    return TSL_ATOMIC_LOAD_POINTER(&run->owner);
}

/* The strictest alignment that a block may have been promised: of its run's blocks perhaps only
 * others have what that remembers. */
static inline size_t heap_align_kept(const void *block, unsigned align_shift)
{
    size_t strictest = (size_t)1 << align_shift;
    size_t has = (uintptr_t)block & (~(uintptr_t)block + 1);

    return strictest < has ? strictest : has;
}

/* => pinned. The run keeps an alignment, as one of its blocks does. */
static inline void heap_note_align(struct heap_run *run, unsigned shift)
{
    uint8_t old = tsl_atomic_load_u8(&run->align_shift);

    while (old < shift &&
           !tsl_atomic_compare_exchange_u8(&run->align_shift, &old, (uint8_t)shift)) {
    }
}

/* The free bits of word `word` of a slab as anybody may see them, but for the next block. */
static inline tsl_word heap_free_bits(const struct heap_run *run, size_t word)
{
    tsl_word bits = tsl_atomic_load_acquire(&run->free[word]);
    return HEAP_HAS_OWNERS ? bits | tsl_atomic_load_acquire(&run->remote[word]) : bits;
}

/* => owned. Live blocks, those included that others have freed and nobody has merged, and the
 * next one of a current slab and the spare one. */
static inline unsigned heap_run_used(const struct heap_run *run)
{
    unsigned count = run->blocks;

    for (unsigned i = 0; i < HEAP_SLAB_WORDS; i++)
        count -= tsl_bits_count(tsl_atomic_load(&run->free[i]));
    return count;
}

/* => pinned. What this CPU has; nobody's or an inactive one has empty pools. */
static inline struct heap_cpu *heap_cpu_here(struct tsl_heap *self)
{
    if (!HEAP_HAS_OWNERS)
        return &self->centre;
    return TSL_ATOMIC_LOAD_POINTER(&self->cpus[tsl_cpu_index()]);
}

static inline bool heap_has_excess(const struct tsl_heap *self)
{
    return tsl_atomic_load(&self->has_excess) != 0;
}

/* => pinned. Whether this CPU owns its pools; else work goes through the lock to the centre. */
static inline bool heap_is_owner(const struct heap_cpu *cpu)
{
    return HEAP_HAS_OWNERS && tsl_atomic_load(&cpu->is_active) != 0;
}

static inline struct heap_pool *heap_pool_at(struct heap_cpu *cpu, size_t offset)
{
    return (struct heap_pool *)(void *)((char *)cpu + offset);
}

/* A full slab goes back on the list when so many blocks and one more have come back: each way there
 * and back costs more than a free, and a slab that offers one block is full again at once. Fewer
 * are looked for when the list is at its end. */
static inline unsigned heap_full_slack(unsigned blocks)
{
    unsigned least = blocks < 6 ? blocks / 2 : 3;

    return blocks / 4 > least ? blocks / 4 : least;
}

/* Which of the free blocks of a word is taken: the lowest one, or by chance. */
static inline uint32_t heap_pick(struct heap_pool *pool, tsl_word bits)
{
    if (!HEAP_GUARDED)
        return (unsigned)__builtin_ctzl(bits);
    *pool->noise = *pool->noise * 1664525u + 1013904223u + tsl_heap_noise;
    tsl_word behind = bits & ~(tsl_word)0 << (*pool->noise >> 24) % HEAP_WORD_BITS;
    return (unsigned)__builtin_ctzl(behind != 0 ? behind : bits);
}

/* => owned. Chooses the next block out of the current word, which is `bits` and not 0. */
static inline void heap_pool_choose(struct heap_pool *pool, tsl_word bits)
{
    uint32_t index = heap_pick(pool, bits);
    uintptr_t next = pool->base + index * pool->block_bytes; /* less than 2^32 bytes on */
    tsl_word *word = pool->word;

    tsl_atomic_store(&pool->next, next);
    tsl_atomic_store_release(word,
                             HEAP_GUARDED ? bits & ~((tsl_word)1 << index) : bits & (bits - 1));
    __builtin_prefetch((const void *)next, 1);
}

/* => owned. What was allocated last is an ordinary block from now on. */
static inline void heap_forget_last(struct heap_cpu *cpu)
{
    if (HEAP_HAS_LAST)
        cpu->last_pool = &tsl_heap_no_pool;
}

/* => owned. The pool looks for blocks by their bits from now on. */
static inline void heap_forget_recent(struct heap_pool *pool)
{
    if (HEAP_RECENT > 0)
        pool->recent_count = 0;
}

/* => owned. A block of one of the pool's slabs was freed: its bit is set. Of partial slabs blocks
 * are not remembered: these become empty, while fuller ones serve. */
static inline void heap_recent_add(struct heap_pool *pool, const void *block, struct heap_run *run,
                                   size_t index)
{
    uint32_t count = pool->recent_count;

    if (HEAP_RECENT == 0 || count == pool->recent_room)
        return;
    pool->recent->block[count] = (tsl_word)block;
    pool->recent->run[count] = run;
    pool->recent->index[count] = (uint8_t)index;
    /* Counted, not asked: no processor foresees where a slab is. */
    pool->recent_count = (uint16_t)(count + (run->place != HEAP_PLACE_PARTIAL));
    __builtin_prefetch(block, 1);
}

/* => owned. The slab of the latest recent block. Before: there is one. */
static inline struct heap_run *heap_recent_run(const struct heap_pool *pool)
{
    return pool->recent->run[pool->recent_count - 1];
}

/* => owned. Takes the latest recent block, uncounted. Before: there is one. */
static inline tsl_word heap_recent_take(struct heap_pool *pool)
{
    uint32_t last = --pool->recent_count;
    struct heap_run *run = pool->recent->run[last];
    size_t index = pool->recent->index[last];
    tsl_word *word = &run->free[index / HEAP_WORD_BITS];

    tsl_atomic_store(word, tsl_atomic_load(word) & ~((tsl_word)1 << index % HEAP_WORD_BITS));
    run->slack++;
    return pool->recent->block[last];
}

/* => owned. Takes the next block, uncounted; the current word is `bits` and not 0. */
static inline tsl_word heap_pool_take(struct heap_pool *pool, tsl_word bits)
{
    tsl_word block = tsl_atomic_load(&pool->next);

    heap_pool_choose(pool, bits);
    return block;
}

/* => locked. A resize is copying this block: nobody else may free or resize it. */
static inline bool heap_is_moving(const struct tsl_heap *self, const void *block)
{
    const struct heap_moving *moving = self->moving;

    while (moving != NULL && moving->block != block)
        moving = moving->next;
    return moving != NULL;
}

/* => locked */
static inline void heap_moving_begin(struct tsl_heap *self, struct heap_moving *moving,
                                     const void *block)
{
    *moving = (struct heap_moving){.next = self->moving, .block = block};
    TSL_ATOMIC_STORE_POINTER(&self->moving, moving);
}

/* => locked. Undoes begin. */
static inline void heap_moving_end(struct tsl_heap *self, struct heap_moving *moving)
{
    struct heap_moving **link = &self->moving;

    while (*link != moving)
        link = &(*link)->next;
    TSL_ATOMIC_STORE_POINTER(link, moving->next);
}

/* Around what the histogram of HEAP_PROFILE counts, where the layer above is not gone through. */
static inline uint64_t heap_begin(const struct tsl_heap *self)
{
    return heap_is_guarded(self) ? heap_clock(self->guard) : 0;
}

static inline void heap_end_alloc(struct tsl_heap *self, uint64_t begin)
{
    if (TSL_HEAP_PROFILE && heap_is_guarded(self))
        tsl_heap_time(self, self->guard->allocs, begin);
}

static inline void heap_end_free(struct tsl_heap *self, uint64_t begin)
{
    if (TSL_HEAP_PROFILE && heap_is_guarded(self))
        tsl_heap_time(self, self->guard->frees, begin);
}

static inline size_t heap_ceiling_pages(const struct tsl_heap *self)
{
    return tsl_atomic_load(&self->ceiling_pages);
}

static inline bool heap_is_in_window(const struct tsl_heap *self, uintptr_t address)
{
    return address - self->source.start < self->source.bytes;
}

/* Whether a source may own the pages that it gave. */
static inline bool heap_is_run_in_window(const struct tsl_page_source *source, const void *start,
                                         size_t pages)
{
    size_t offset = (uintptr_t)start - source->start;

    return tsl_is_aligned((uintptr_t)start, TSL_PAGE_BYTES) && offset < source->bytes &&
           pages <= (source->bytes - offset) >> TSL_PAGE_SHIFT;
}

/* => pinned. As heap_map_at, but knows no arrays. */
static inline struct heap_run *heap_map_near(const struct tsl_heap *self, uintptr_t address)
{
    uintptr_t offset = address - self->source.start;
    if (TSL_UNLIKELY(offset >= self->source.bytes))
        return &tsl_heap_nowhere;
    struct heap_run **leaf =
        TSL_ATOMIC_LOAD_POINTER(&self->map_root[offset / (HEAP_LEAF_ENTRIES << TSL_PAGE_SHIFT)]);
    return TSL_ATOMIC_LOAD_POINTER(&leaf[(offset >> TSL_PAGE_SHIFT) % HEAP_LEAF_ENTRIES]);
}

/* => pinned. What the map says of an address: &tsl_heap_nowhere: never ours; &tsl_heap_returned:
 * was ours and went back to the source; else the run. */
static inline struct heap_run *heap_map_at(const struct tsl_heap *self, uintptr_t address)
{
    if (TSL_HEAP_ARRAYS && TSL_UNLIKELY(!heap_is_in_window(self, address))) {
        struct heap_array *array = tsl_heap_array_of(self, address);
        return array == NULL ? &tsl_heap_nowhere
                             : TSL_ATOMIC_LOAD_POINTER(tsl_heap_array_entry(array, address));
    }
    return heap_map_near(self, address);
}

#endif
