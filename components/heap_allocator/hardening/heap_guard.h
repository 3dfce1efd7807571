/* SPDX-License-Identifier: MIT
 *
 * heap_guard.h: the layer above the heap's core that notices misuse: canaries, quarantine, pages
 * without access, the ledger of call sites, times.
 *
 * Owns:    the shape of its state (struct heap_guard); whether it is there at all (HEAP_GUARDED).
 * Needs:   heap_allocator_internal.h includes it.
 * Callers: the public functions of the core (one line each), the files of the layer.
 *
 * The layer calls the core as any user does; the core knows three things of it: the public
 * functions go through it while heap_is_guarded(), a new slab is marked (tsl_heap_guard_slab), and
 * a heap that ends lets go of the quarantine (tsl_heap_guard_fini). Below the moderate tier all of
 * it is constant-folded away.
 *
 * Files: heap_guard.c (the way of one block), heap_canary.c (what surrounds and fills a block),
 * heap_quarantine.c, heap_pages.c (debug: a block a page), heap_ledger.c (call sites),
 * heap_leaks.c, heap_leak_scan.c, heap_profile.c, heap_guard_verify.c; at each tier heap_harden.c
 * (the choice of a tier, reports) and heap_explain.c (what a fault was about).
 */
#ifndef TESELA_HEAP_GUARD_H
#define TESELA_HEAP_GUARD_H

#include <tesela/config.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_profile.h>
#include <tesela/lock.h>
#include <tesela/tree.h>

#define HEAP_GUARDED TSL_HEAP_GUARD

/* Whether calls go through the layer. */
#define heap_is_guarded(heap) (HEAP_GUARDED && (heap)->guard->is_on)

/* Whether blocks may wait before they are handed out again. */
#define HEAP_HAS_QUARANTINE       (TSL_HEAP_QUARANTINE > 0)
#define heap_has_quarantine(heap) (HEAP_HAS_QUARANTINE && (heap)->guard->tier >= TSL_HEAP_TIER_FULL)

/* One per class and one for large blocks. */
#define HEAP_RINGS (TSL_HEAP_CLASSES_COUNT + 1u)

/* Blocks that wait: oldest at `first`. */
struct heap_ring {
    unsigned first;
    unsigned count;
    uintptr_t *blocks; /* HEAP_QUARANTINE of them; NULL: none was needed yet */
};

/* A histogram whose counts have 64 bits, on machines without atomic operations on so many: their
 * lower 32, and how often the highest of these has changed. */
struct heap_times {
    uint32_t low[TSL_HEAP_TIMES];     /* atomic */
    uint32_t changes[TSL_HEAP_TIMES]; /* atomic */
};

struct heap_guard {
    enum tsl_heap_tier tier;
    bool is_on; /* calls go through the layer */
    uintptr_t secret;
    size_t (*trace)(uintptr_t *out, size_t most);
    uint64_t (*clock)(void);

    struct tsl_lock lock;   /* of what follows; never held while the core or a source is called */
    struct tsl_tree ledger; /* struct heap_entry by address */
    uint64_t serial;        /* of the last block taken */
    size_t large_waiting;   /* bytes in the ring of large blocks */
    /* Large blocks freed by who may not call the source, at the end of the heap's list of them.
     * Atomic to look, changed under the heap's lock. */
    tsl_word deferred;
    struct heap_ring rings[HEAP_HAS_QUARANTINE ? HEAP_RINGS : 0];
    struct heap_times allocs[TSL_HEAP_PROFILE];
    struct heap_times frees[TSL_HEAP_PROFILE];
};

/* The block of one user, in the ledger. */
enum heap_entry_state { HEAP_ENTRY_LIVE, HEAP_ENTRY_ENDING, HEAP_ENTRY_FREED };

struct heap_entry {
    struct tsl_tree_node node;
    uintptr_t address;
    size_t bytes;                 /* asked for */
    struct tsl_heap_cache *cache; /* whose object it is; NULL: a block */
    uintptr_t base;               /* debug: of the pages around it */
    size_t pages;                 /* debug, both guards included; 0: a block of the core */
    uint64_t serial;
    uint8_t state;
    bool is_reached;         /* by the leak scan */
    bool is_cache;           /* the block is a cache: of what is in it only the context leads on */
    struct heap_entry *next; /* in a list of the scan, or of those since a mark */
    uintptr_t taken_by[TSL_HEAP_SITE_FRAMES + !TSL_HEAP_SITES];
    uintptr_t freed_by[TSL_HEAP_SITE_FRAMES + !TSL_HEAP_SITES];
};

struct heap_spot;
struct heap_run;
struct tsl_heap_cache;

/* heap_guard.c: the public functions while the heap is guarded. */
void tsl_heap_guard_init(struct tsl_heap *self);
void tsl_heap_guard_fini(struct tsl_heap *self);
void *tsl_heap_guarded_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags,
                             uintptr_t site);
void *tsl_heap_guarded_realloc(struct tsl_heap *self, void *block, size_t bytes, size_t align,
                               uintptr_t site);
enum tsl_status tsl_heap_guarded_free(struct tsl_heap *self, void *block, unsigned flags,
                                      uintptr_t site);
/* Here the size must be exactly what was asked for. */
enum tsl_status tsl_heap_guarded_free_sized(struct tsl_heap *self, void *block, size_t bytes,
                                            uintptr_t site);
/* Gives a block to the core: it comes out of quarantine, or need not wait. */
void tsl_heap_let_go(struct tsl_heap *self, void *block, struct heap_entry *entry, unsigned flags);
/* Memory of the layer itself, in the same heap and in no ledger; NULL: none. */
void *tsl_heap_guard_memory(struct tsl_heap *self, size_t bytes, unsigned flags);
void tsl_heap_guard_drop(struct tsl_heap *self, void *memory);
/* What was asked for; 0 also when refused. */
size_t tsl_heap_guarded_size(struct tsl_heap *self, const void *block);
/* Counts, logs (or panics): a misuse that the layer found. entry: NULL or what is known of it. */
#define tsl_heap_accuse(self, status, entry, ...)                                                  \
    (TSL_LOG_SENTENCES ? tsl_heap_accuse_saying((self), (status), (entry), __VA_ARGS__)            \
                       : tsl_heap_accuse_tersely((self), (status)))

/* heap_harden.c: the two halves of tsl_heap_accuse. */
TSL_MUST_CHECK TSL_COLD TSL_PRINTF(4, 5) enum tsl_status
    tsl_heap_accuse_saying(struct tsl_heap *self, enum tsl_status status,
                           const struct heap_entry *entry, const char *format, ...);
TSL_MUST_CHECK TSL_COLD enum tsl_status tsl_heap_accuse_tersely(struct tsl_heap *self,
                                                                enum tsl_status status);

/* heap_canary.c: blocks of the core with a tail. */
#define HEAP_TAIL_BYTES sizeof(tsl_word)

/* What the tail says of a block. */
enum heap_tail { HEAP_TAIL_LIVE, HEAP_TAIL_FREE, HEAP_TAIL_BROKEN };

void *tsl_heap_canary_alloc(struct tsl_heap *self, size_t bytes, size_t align, unsigned flags);
/* Reads the tail of a block with `room` bytes; *bytes: what was asked for, if it is live. */
enum heap_tail tsl_heap_canary_look(const struct tsl_heap *self, const void *block, size_t room,
                                    size_t *bytes);
/* Live -> free, once: true, and *bytes is what was asked for. Else what is wrong is in *found, the
 * block is as it was. */
bool tsl_heap_canary_end(struct tsl_heap *self, void *block, size_t room, enum heap_tail *found,
                         size_t *bytes);
/* After canary_end: nothing is left of the contents. */
void tsl_heap_canary_clear(struct tsl_heap *self, void *block, size_t room);
/* A freed and cleared block is as it was left; else accuses. */
bool tsl_heap_canary_is_clean(struct tsl_heap *self, void *block, size_t room);
/* The pages that a large block, its caller's, does not need for so many bytes go back; *granted:
 * what the core says of it. False: some stay, and would be looked through each time. */
bool tsl_heap_canary_cut(struct tsl_heap *self, void *block, size_t *granted, size_t bytes);
/* A live block has another size from now on, in the same room. */
void tsl_heap_canary_resize(struct tsl_heap *self, void *block, size_t room, size_t bytes);
/* The first damaged byte of a filled range, `bytes` if there is none. */
void tsl_heap_fill(const struct tsl_heap *self, uintptr_t start, size_t bytes);
size_t tsl_heap_filled(const struct tsl_heap *self, uintptr_t start, size_t bytes);
/* Marks the blocks of a new slab as free. No lock held; the slab is in no list yet. */
void tsl_heap_guard_slab(struct tsl_heap *self, uintptr_t start, size_t block_bytes, size_t blocks);
/* Large blocks end at a page without access. */
bool tsl_heap_has_guard_pages(const struct tsl_heap *self);
/* There are addresses to spare for pages without access: three quarters of the heap are not
 * taken. */
bool tsl_heap_has_addresses(struct tsl_heap *self);
/* The room of a block that the core found live: without the page behind a large one. */
size_t tsl_heap_room(const struct tsl_heap *self, bool is_large, size_t granted);

/* heap_quarantine.c */

/* A block that is freed for its owner begins to wait. Large ones lose their access. */
void tsl_heap_quarantine_enter(struct tsl_heap *self, void *block, struct heap_entry *entry,
                               const struct heap_spot *spot, unsigned flags);
/* Does what a caller left undone that may not call the page source. */
void tsl_heap_quarantine_resume(struct tsl_heap *self);
/* Lets all go, and the memory of the rings. Result: blocks. */
size_t tsl_heap_quarantine_end(struct tsl_heap *self);

/* heap_pages.c */

/* The block of entry->bytes at the end of pages of its own; NULL: not possible. Fills the entry. */
void *tsl_heap_pages_alloc(struct tsl_heap *self, struct heap_entry *entry, size_t align,
                           unsigned flags);
/* Bytes of pages around an entry's block, which count as one large block. */
static inline size_t heap_pages_bytes(const struct heap_entry *entry)
{
    return entry->pages << TSL_PAGE_SHIFT;
}
/* What surrounds the block is as it was; else accuses. */
bool tsl_heap_pages_are_sound(struct tsl_heap *self, const struct heap_entry *entry);
/* Nobody can read or write the block any more. */
void tsl_heap_pages_close(struct tsl_heap *self, const struct heap_entry *entry);
/* Gives the pages of a closed block to the core. */
void tsl_heap_pages_free(struct tsl_heap *self, uintptr_t base);

/* heap_ledger.c */

void tsl_heap_ledger_init(struct tsl_heap *self);
/* Logs the call stacks, where they are more than one address. */
void tsl_heap_log_stacks(const struct heap_entry *entry);
/* Memory for an entry, with its call site, in no list; NULL: none. */
struct heap_entry *tsl_heap_entry_new(struct tsl_heap *self, size_t bytes, unsigned flags,
                                      uintptr_t site);
/* Lists an entry, whose block is live from now on. */
void tsl_heap_ledger_add(struct tsl_heap *self, struct heap_entry *entry);
/* Takes an entry out and frees its memory. */
void tsl_heap_ledger_remove(struct tsl_heap *self, struct heap_entry *entry);
/* What the ledger says of an address; *seen: a copy of the entry that it lies in, if any. */
enum tsl_status tsl_heap_ledger_live(struct tsl_heap *self, uintptr_t address,
                                     struct heap_entry *seen);
/* The block of a cache that was just made. */
void tsl_heap_ledger_mark_cache(struct tsl_heap *self, const struct tsl_heap_cache *cache);
/* A live object of a cache, copied to *seen; false: it has none. */
bool tsl_heap_ledger_object(struct tsl_heap *self, const struct tsl_heap_cache *cache,
                            struct heap_entry *seen);
/* The entry at exactly this address, or NULL. It stays while its block is not freed. */
struct heap_entry *tsl_heap_ledger_find(struct tsl_heap *self, uintptr_t address);
/* Likewise, the entry of what the core has at this address: its block, or the pages around it. */
struct heap_entry *tsl_heap_ledger_of(struct tsl_heap *self, uintptr_t start);
/* Bytes that were asked for in live blocks, and those that they got. */
void tsl_heap_ledger_sums(struct tsl_heap *self, uint64_t *asked, uint64_t *got);
/* The entry whose block holds the address, or NULL. Without the lock. */
struct heap_entry *tsl_heap_ledger_inside(const struct tsl_heap *self, uintptr_t address);
/* The entry whose block or pages hold the address, or NULL. Without the lock: for faults. */
struct heap_entry *tsl_heap_ledger_around(const struct tsl_heap *self, uintptr_t address);
/* A live block begins to end: TSL_OK, for one caller only, and *out is his. TSL_NOT_FOUND: no entry
 * knows it. *seen as above, to speak of: the entry may be gone. */
enum tsl_status tsl_heap_ledger_end(struct tsl_heap *self, uintptr_t address, uintptr_t site,
                                    struct heap_entry **out, struct heap_entry *seen);
/* How the end of a block went on: it lives, with so many bytes, or it is freed. */
void tsl_heap_ledger_revive(struct tsl_heap *self, struct heap_entry *entry, size_t bytes);
void tsl_heap_ledger_freed(struct tsl_heap *self, struct heap_entry *entry);

/* heap_guard_verify.c */

/* => locked. Rule 13 for a slab whose owner cannot change it now. */
struct tsl_defect tsl_heap_guard_check_slab(const struct tsl_heap *self,
                                            const struct heap_run *run);
/* Rules 14 and 15. Lock not held. */
struct tsl_defect tsl_heap_guard_check(const struct tsl_heap *self);

/* heap_profile.c */
/* What began then ends now. */
void tsl_heap_time(struct tsl_heap *self, struct heap_times *times, uint64_t begin);

void tsl_heap_times_clear(struct tsl_heap *self);

static inline uint64_t heap_clock(const struct heap_guard *guard)
{
    return TSL_HEAP_PROFILE && guard->clock != NULL ? guard->clock() : 0;
}

/* Seed of all choices of blocks. */
extern uint32_t tsl_heap_noise;

/* Where a public function was called from. */
#define HEAP_CALLER ((uintptr_t)__builtin_return_address(0))

#endif
