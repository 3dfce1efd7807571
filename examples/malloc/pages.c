/* SPDX-License-Identifier: MIT
 *
 * pages.c: the page source of the heap: runs of pages out of one window of reserved addresses.
 *
 * Owns:    the window, which grows from its start as far as it is needed; which of its pages are
 *          free, and how many of those are dirty (backed by memory).
 * Needs:   mmap, mprotect, madvise; mutex.h.
 * Callers: the heap, through struct tsl_page_source; malloc.c for large blocks.
 *
 * Free runs are in lists by size, neighbours merged; the smallest that is found to fit is used.
 * What is known of a run is in an array beside the window, at the index of its first and of its
 * last page; the entry of any page that is neither begin nor end of a free run does not say FREE.
 * Of a run it is known how many pages are dirty, not which: what is carved out of it takes its
 * share, rounded so that what may be dirty is never taken for clean. When much more lies idle than
 * is in use, dirty runs are given back to the system, the largest first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tesela/atomic.h>
#include <tesela/bits.h>
#include <tesela/types.h>

#include "malloc_internal.h"
#include "mutex.h"

/* The window is twice the machine's memory, or what the system grants. */
#define SMALLEST_WINDOW ((size_t)64 << 20)
#define LARGEST_WINDOW  (sizeof(void *) == 8 ? (size_t)1 << 40 : (size_t)1 << 31)
/* Addresses become usable in steps: few system calls, and mlockall() does not lock them all. */
#define STEP_PAGES 1024u
/* Dirty pages that may lie about: this many (32 MiB), or an eighth of those in use. With half as
 * many a program that replaces large blocks at random spends its time in page faults. */
#define DIRTY_PAGES 8192u
#define DIRTY_SHARE 8u

/* Sizes up to EXACT pages have a list each, beyond that FRACTIONS lists a doubling. */
#define EXACT      64u
#define EXACT_LOG2 6u
#define FRACTIONS  4u
#define BINS       (EXACT + (32u - EXACT_LOG2) * FRACTIONS)
#define BIN_WORDS  ((BINS + TSL_WORD_BITS - 1) / TSL_WORD_BITS)
/* How many runs of a list with various sizes are tried before a larger list is taken. */
#define TRIES 8u

#define FREE   0x80000000u
#define UNUSED 0x40000000u /* without FREE: first page of a run that was clean when given */
#define LENGTH 0x3fffffffu

/* All but the state is of the first page of a free run only. */
struct entry {
    uint32_t state; /* flags and length in pages */
    uint32_t next;  /* in a list, by page index; 0 ends it */
    uint32_t previous;
    uint32_t dirty; /* pages that are backed by memory, at most */
};

static struct mutex mutex;
static char *window;
static uint32_t window_pages;
static uint32_t usable_pages; /* readable and writable, from the start */
static uint32_t top;          /* pages from here on were never given */
static uint32_t used_pages;
static uint32_t dirty_pages;
static struct entry *entries;
static uint32_t lists[BINS];
static tsl_word nonempty[BIN_WORDS];

/* ---- lists of free runs ---- */

/* The list of a run; its sizes are at least those of the lists before it. */
static unsigned bin_of(uint32_t pages)
{
    if (pages < EXACT)
        return pages;
    unsigned log2 = tsl_bits_highest(pages);
    return EXACT + (log2 - EXACT_LOG2) * FRACTIONS + ((pages >> (log2 - 2)) & (FRACTIONS - 1));
}

static uint32_t length_of(uint32_t index)
{
    return entries[index].state & LENGTH;
}

static void insert(uint32_t first, uint32_t pages, uint32_t dirty)
{
    unsigned bin = bin_of(pages);
    struct entry *entry = &entries[first];

    tsl_atomic_store_u32(&entry->state, FREE | pages);
    tsl_atomic_store_u32(&entries[first + pages - 1].state, FREE | pages);
    entry->next = lists[bin];
    entry->previous = 0;
    entry->dirty = dirty;
    if (entry->next != 0)
        entries[entry->next].previous = first;
    lists[bin] = first;
    nonempty[bin / TSL_WORD_BITS] |= (tsl_word)1 << (bin % TSL_WORD_BITS);
    dirty_pages += dirty;
}

/* Returns the length; entries[first].dirty stays to be read. */
static uint32_t extract(uint32_t first)
{
    struct entry *entry = &entries[first];
    uint32_t pages = length_of(first);
    unsigned bin = bin_of(pages);

    if (entry->next != 0)
        entries[entry->next].previous = entry->previous;
    if (entry->previous != 0)
        entries[entry->previous].next = entry->next;
    else
        lists[bin] = entry->next;
    if (lists[bin] == 0)
        nonempty[bin / TSL_WORD_BITS] &= ~((tsl_word)1 << (bin % TSL_WORD_BITS));
    dirty_pages -= entry->dirty;
    tsl_atomic_store_u32(&entries[first + pages - 1].state, 0);
    tsl_atomic_store_u32(&entry->state, 0);
    return pages;
}

/* The lowest list from `bin` on that has a run, or BINS. */
static unsigned next_bin(unsigned bin)
{
    while (bin < BINS) {
        tsl_word word = nonempty[bin / TSL_WORD_BITS] >> (bin % TSL_WORD_BITS);
        if (word != 0)
            return bin + tsl_bits_lowest(word);
        bin = (bin / TSL_WORD_BITS + 1) * TSL_WORD_BITS;
    }
    return BINS;
}

/* A run with at least `pages` pages; 0: none. */
static uint32_t find(uint32_t pages)
{
    unsigned bin = bin_of(pages);
    uint32_t first = lists[bin];

    for (unsigned i = 0; i < TRIES && first != 0; i++, first = entries[first].next)
        if (length_of(first) >= pages)
            return first;
    bin = next_bin(bin + 1);
    return bin < BINS ? lists[bin] : 0;
}

/* A new free run, all of it dirty, merged with its neighbours. */
static void add(uint32_t first, uint32_t pages)
{
    uint32_t dirty = pages;
    uint32_t before = entries[first - 1].state;

    if (first + pages < top && (entries[first + pages].state & FREE) != 0) {
        dirty += entries[first + pages].dirty;
        pages += extract(first + pages);
    }
    if ((before & FREE) != 0) {
        first -= before & LENGTH;
        dirty += entries[first].dirty;
        pages += extract(first);
    }
    insert(first, pages, dirty);
}

/* ---- the system ---- */

/* Makes pages up to `end` usable. */
static bool grow_to(uint32_t end)
{
    if (end <= usable_pages)
        return true;
    uint32_t step = STEP_PAGES + usable_pages / 8;
    uint32_t wanted = window_pages - usable_pages < step ? window_pages : usable_pages + step;
    if (wanted < end)
        wanted = end;
    size_t bytes = (size_t)(wanted - usable_pages) * TSL_PAGE_BYTES;
    if (mprotect(window + (size_t)usable_pages * TSL_PAGE_BYTES, bytes, PROT_READ | PROT_WRITE) !=
        0)
        return false;
    usable_pages = wanted;
    return true;
}

/* Gives dirty runs back to the system until at most `limit` pages are dirty. */
static void purge(uint32_t limit)
{
    for (unsigned bin = BINS; bin-- > 0 && dirty_pages > limit;)
        for (uint32_t first = lists[bin]; first != 0; first = entries[first].next) {
            if (entries[first].dirty == 0)
                continue;
            if (madvise(window + (size_t)first * TSL_PAGE_BYTES,
                        (size_t)length_of(first) * TSL_PAGE_BYTES, MADV_DONTNEED) != 0)
                return; /* the program has locked its memory */
            dirty_pages -= entries[first].dirty;
            entries[first].dirty = 0;
        }
}

/* ---- the page source ---- */

static char *address_of(uint32_t first)
{
    return window + (size_t)first * TSL_PAGE_BYTES;
}

static uint32_t index_of(const void *address)
{
    return (uint32_t)((size_t)((const char *)address - window) / TSL_PAGE_BYTES);
}

/* Takes a free run's first pages; the rest stays free. */
static void carve(uint32_t first, uint32_t pages)
{
    uint32_t length = extract(first);
    uint32_t dirty = entries[first].dirty;
    uint32_t rest = (uint32_t)(((uint64_t)dirty * (length - pages) + length - 1) / length);

    if (length > pages)
        insert(first + pages, length - pages, rest);
    if (dirty == 0)
        tsl_atomic_store_u32(&entries[first].state, UNUSED);
}

static uint32_t carve_top(uint32_t pages)
{
    uint32_t first = top;

    if (pages > window_pages - top || !grow_to(top + pages))
        return 0;
    top += pages;
    tsl_atomic_store_u32(&entries[first].state, UNUSED);
    return first;
}

static void *get(void *context, size_t pages)
{
    (void)context;
    if (pages >= window_pages)
        return NULL;
    mutex_lock(&mutex);
    uint32_t first = find((uint32_t)pages);
    if (first != 0)
        carve(first, (uint32_t)pages);
    else
        first = carve_top((uint32_t)pages);
    used_pages += first != 0 ? (uint32_t)pages : 0;
    mutex_unlock(&mutex);
    return first != 0 ? address_of(first) : NULL;
}

static void put(void *context, void *start, size_t pages)
{
    int kept = errno;

    (void)context;
    mutex_lock(&mutex);
    used_pages -= (uint32_t)pages;
    /* Several runs may come back as one, each with a first page of its own. */
    for (uint32_t i = 0; i < pages; i++)
        tsl_atomic_store_u32(&entries[index_of(start) + i].state, 0);
    add(index_of(start), (uint32_t)pages);
    uint32_t limit = used_pages / DIRTY_SHARE;
    if (limit < DIRTY_PAGES)
        limit = DIRTY_PAGES;
    if (dirty_pages > limit)
        purge(limit / 2);
    mutex_unlock(&mutex);
    errno = kept;
}

/* How many of the `wanted` pages from `first` on are free. */
static uint32_t free_from(uint32_t first, uint32_t wanted)
{
    uint32_t count = 0;

    while (count < wanted && first + count < top && (entries[first + count].state & FREE) != 0)
        count += length_of(first + count);
    if (first + count == top && count < wanted && grow_to(first + wanted))
        count = wanted;
    return count;
}

static bool remap(void *context, void *start, size_t pages, size_t new_pages)
{
    uint32_t first = index_of(start) + (uint32_t)pages;
    size_t more = new_pages - pages;

    (void)context;
    if (more > window_pages - first)
        return false;
    mutex_lock(&mutex);
    uint32_t left = (uint32_t)more;
    bool fits = free_from(first, left) >= left;
    if (fits) {
        used_pages += left;
        tsl_atomic_store_u32(&entries[index_of(start)].state, 0);
    }
    while (fits && left > 0 && first < top) {
        uint32_t length = length_of(first);
        uint32_t take = length < left ? length : left;
        carve(first, take);
        tsl_atomic_store_u32(&entries[first].state, 0);
        first += take;
        left -= take;
    }
    if (fits)
        top += left;
    mutex_unlock(&mutex);
    return fits;
}

/* ---- for malloc.c and process.c ---- */

bool pages_was_clean(const void *block)
{
    uint32_t *state = &entries[index_of(block)].state;

    /* Granules use pages again that were never given back here. */
    if (TSL_HEAP_CORE_GRANULES || ((uintptr_t)block & (TSL_PAGE_BYTES - 1)) != 0 ||
        tsl_atomic_load_u32(state) != UNUSED)
        return false;
    tsl_atomic_store_u32(state, 0);
    return true;
}

/* The last page may have more on it than the caller's bytes. */
void pages_clean(void *start, size_t bytes)
{
    size_t whole = bytes & ~(size_t)(TSL_PAGE_BYTES - 1);

    if (madvise(start, whole, MADV_DONTNEED) != 0) /* locked pages stay */
        memset(start, 0, whole);
    memset((char *)start + whole, 0, bytes - whole);
}

static void *reserve(size_t bytes, int protection)
{
    void *start = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

static size_t first_try(void)
{
    size_t bytes = SMALLEST_WINDOW;
    long pages = sysconf(_SC_PHYS_PAGES);

    while (pages > 0 && bytes < LARGEST_WINDOW &&
           bytes / TSL_PAGE_BYTES < 2 * (size_t)(unsigned long)pages)
        bytes *= 2;
    return bytes;
}

bool pages_start(struct tsl_page_source *out)
{
    for (size_t bytes = first_try(); bytes >= SMALLEST_WINDOW; bytes /= 2) {
        size_t count = bytes / TSL_PAGE_BYTES;
        window = reserve(bytes, PROT_NONE);
        entries = reserve((count + 1) * sizeof(struct entry), PROT_READ | PROT_WRITE);
        if (window != NULL && entries != NULL) {
            window_pages = (uint32_t)count;
            /* Index 0 means none: the first page is never given. */
            top = 1;
            *out = (struct tsl_page_source){
                .get = get, .put = put, .remap = remap, .start = (uintptr_t)window, .bytes = bytes};
            return true;
        }
        if (window != NULL)
            (void)munmap(window, bytes);
        if (entries != NULL)
            (void)munmap(entries, (count + 1) * sizeof(struct entry));
    }
    return false;
}

void pages_stop(void)
{
    mutex_lock(&mutex);
}

void pages_go(void)
{
    mutex_unlock(&mutex);
}
