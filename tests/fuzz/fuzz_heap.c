/* SPDX-License-Identifier: MIT
 *
 * fuzz_heap.c: bytes as a list of calls of a small heap by two CPUs, against a model.
 *
 * Owns:    LLVMFuzzerTestOneInput for the heap, its page source and its oracle.
 * Needs:   heap_allocator, the host's port; clang's libFuzzer.
 * Callers: fuzzing by hand and the checks: fuzz-heap, and fuzz-granules for the other core,
 *          [-runs=N] [CORPUS].
 *
 * First byte: the heap's ceiling. Then four bytes a call: which one, a slot, and a number. Each
 * block is stamped all through when it is taken and looked at when it ends; the heap verifies
 * itself after each call, and in the end all pages are back at the source.
 */
#include <stdlib.h>
#include <string.h>

#include <tesela/checked.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/heap_allocator.h>
#include <tesela/heap_array.h>
#include <tesela/heap_cache.h>
#include <tesela/heap_report.h>

#include "host_port.h"
#include "tap.h"

#define CPUS         (TSL_CPUS < 2 ? TSL_CPUS : 2)
#define SLOTS        32u
#define PAGES        160u
#define ARRAY_BYTES  (24 * TSL_PAGE_BYTES)
#define OBJECT_BYTES 72u
/* Granules have no typed caches: none of their functions is linked then. */
#define HAS_CACHES TSL_HEAP_CORE_SLABS

static TSL_ALIGNED(TSL_PAGE_BYTES) unsigned char arena[PAGES * TSL_PAGE_BYTES];
static TSL_ALIGNED(TSL_PAGE_BYTES) unsigned char array[ARRAY_BYTES];
static bool is_out[PAGES];

struct slot {
    unsigned char *block;
    size_t bytes;
    unsigned char stamp;
    bool is_object; /* of the cache */
};

static struct slot slots[SLOTS];
static struct tsl_heap *heap;
static struct tsl_heap_cache *cache;
static bool has_array;

/* What the port needs of the tests' frame; no panic is expected here. */
void tap_note(const char *format, ...)
{
    (void)format;
}

bool tap_check(bool holds, const char *file, int line, const char *text)
{
    (void)file;
    (void)line;
    (void)text;
    return holds;
}

static void demand(bool holds)
{
    if (!holds)
        abort();
}

static void *get(void *context, size_t pages)
{
    size_t run = 0;

    (void)context;
    for (size_t i = 0; i < PAGES; i++) {
        run = is_out[i] ? 0 : run + 1;
        if (run < pages)
            continue;
        memset(&is_out[i + 1 - pages], true, pages);
        return memset(arena + (i + 1 - pages) * TSL_PAGE_BYTES, 0xA5, pages * TSL_PAGE_BYTES);
    }
    return NULL;
}

static void put(void *context, void *start, size_t pages)
{
    size_t first = (size_t)((unsigned char *)start - arena) / TSL_PAGE_BYTES;

    (void)context;
    demand(first < PAGES && pages <= PAGES - first);
    memset(start, 0x5A, pages * TSL_PAGE_BYTES);
    for (size_t i = first; i < first + pages; i++) {
        demand(is_out[i]);
        is_out[i] = false;
    }
}

static bool remap(void *context, void *start, size_t pages, size_t new_pages)
{
    size_t first = (size_t)((unsigned char *)start - arena) / TSL_PAGE_BYTES;

    (void)context;
    demand(new_pages > pages);
    for (size_t i = first + pages; i < first + new_pages; i++)
        if (i >= PAGES || is_out[i])
            return false;
    memset(&is_out[first + pages], true, new_pages - pages);
    return true;
}

static bool is_stamped(const struct slot *slot, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (slot->block[i] != slot->stamp)
            return false;
    return true;
}

/* A block that was just taken, or resized, is the slot's. */
static void keep(struct slot *slot, void *block, size_t bytes, unsigned char stamp, bool is_object)
{
    *slot = (struct slot){.block = block, .bytes = bytes, .stamp = stamp, .is_object = is_object};
    if (block != NULL && bytes > 0)
        memset(block, stamp, bytes);
    if (block != NULL && !is_object)
        demand(tsl_heap_usable(heap, block) >= bytes);
}

static void end_block(struct slot *slot, bool is_sized, unsigned flags)
{
    enum tsl_status status;

    if (slot->block == NULL)
        return;
    demand(is_stamped(slot, slot->bytes));
    if (HAS_CACHES && slot->is_object)
        status = tsl_heap_cache_free(cache, slot->block);
    else if (is_sized)
        status = tsl_heap_free_sized(heap, slot->block, slot->bytes);
    else
        status = tsl_heap_free_flags(heap, slot->block, flags);
    demand(status == TSL_OK);
    slot->block = NULL;
}

static void resize(struct slot *slot, size_t align, size_t bytes, unsigned char stamp)
{
    size_t kept = bytes < slot->bytes ? bytes : slot->bytes;

    if (slot->block == NULL || slot->is_object)
        return;
    void *moved = tsl_heap_realloc_aligned(heap, align, slot->block, bytes);
    if (moved == NULL) {
        demand(is_stamped(slot, slot->bytes));
        return;
    }
    slot->block = moved;
    demand(is_stamped(slot, kept) && tsl_is_aligned((uintptr_t)moved, align));
    keep(slot, moved, bytes, stamp, false);
}

/* No live block begins inside of another one, so none of these may succeed. */
static void misuse(struct slot *slot, unsigned number)
{
    if (slot->block == NULL || slot->is_object)
        return;
    demand(tsl_heap_free(heap, slot->block + 1 + number % 15) != TSL_OK);
    if (slot->bytes > 16)
        demand(tsl_heap_free(heap, slot->block + 16) != TSL_OK);
    demand(tsl_heap_free(heap, slots) == TSL_FOREIGN);
    if (HAS_CACHES)
        demand(tsl_heap_cache_free(cache, slot->block) != TSL_OK);
    unsigned char *block = slot->block;
    end_block(slot, false, 0);
    demand(tsl_heap_free(heap, block) != TSL_OK);
}

/* An array may go exactly when no live block is in it. */
static void array_comes_or_goes(void)
{
    bool has_live = false;

    if (!TSL_HEAP_ARRAYS)
        return;
    if (!has_array) {
        demand(tsl_heap_add_array(heap, array, ARRAY_BYTES) == TSL_OK);
        has_array = true;
        return;
    }
    for (unsigned i = 0; i < SLOTS; i++)
        has_live |=
            slots[i].block != NULL && (uintptr_t)slots[i].block - (uintptr_t)array < ARRAY_BYTES;
    enum tsl_status status = tsl_heap_remove_array(heap, array);
    demand(status == TSL_OK || (status == TSL_BUSY && (has_live || TSL_HEAP_GUARD)));
    demand(status != TSL_OK || !has_live);
    has_array = status != TSL_OK;
    if (!has_array)
        memset(array, 0x11, ARRAY_BYTES);
}

static void leave_and_join(void)
{
    tsl_cpu_leave();
    tsl_cpu_join();
}

/* One call, out of four bytes. */
static void call(const uint8_t *bytes)
{
    struct slot *slot = &slots[bytes[1] % SLOTS];
    size_t number = bytes[2] | (size_t)bytes[3] << 8;
    size_t small = number % 700, align = (size_t)16 << number % 9;
    unsigned flags = number % 5 == 0 ? TSL_HEAP_NO_WAIT : 0;
    unsigned char stamp = (unsigned char)(bytes[1] ^ bytes[2]);
    bool is_free = slot->block == NULL;

    switch (bytes[0] % 16) {
    case 0:
    case 1:
        if (is_free)
            keep(slot, tsl_heap_alloc_flags(heap, small, flags), small, stamp, false);
        break;
    case 2:
        if (is_free)
            keep(slot, tsl_heap_alloc(heap, number), number, stamp, false);
        break;
    case 3:
        if (is_free) {
            keep(slot, tsl_heap_alloc_aligned(heap, align, small), small, stamp, false);
            demand(tsl_is_aligned((uintptr_t)slot->block, align));
        }
        break;
    case 4:
        resize(slot, 16, number, stamp);
        break;
    case 5:
        resize(slot, align, small, stamp);
        break;
    case 6:
    case 7:
        end_block(slot, false, flags);
        break;
    case 8:
        end_block(slot, true, 0);
        break;
    case 9:
        if (HAS_CACHES && is_free)
            keep(slot, tsl_heap_cache_alloc(cache, 0), OBJECT_BYTES, stamp, true);
        break;
    case 10:
        (void)tsl_heap_trim(heap);
        break;
    case 11:
        tsl_heap_drain(heap);
        break;
    case 12:
        leave_and_join();
        break;
    case 13:
        misuse(slot, (unsigned)number);
        break;
    case 14:
        array_comes_or_goes();
        break;
    default:
        host_port_set_cpu(bytes[1] % CPUS);
    }
    demand(tsl_heap_verify(heap).rule == 0);
}

static void begin(size_t ceiling_pages)
{
    const struct tsl_heap_config config = {.source = {.get = get,
                                                      .put = put,
                                                      .remap = remap,
                                                      .start = (uintptr_t)arena,
                                                      .bytes = sizeof arena},
                                           .ceiling_bytes = ceiling_pages * TSL_PAGE_BYTES};
    const struct tsl_heap_cache_config objects = {.object_bytes = OBJECT_BYTES};

    for (unsigned cpu = CPUS; cpu-- > 0;) {
        host_port_set_cpu(cpu);
        tsl_cpu_join();
    }
    has_array = false;
    demand(tsl_heap_create(&config, &heap) == TSL_OK);
    if (HAS_CACHES)
        demand(tsl_heap_cache_create(heap, &objects, &cache) == TSL_OK);
}

static void end(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        end_block(&slots[i], false, 0);
    if (HAS_CACHES)
        demand(tsl_heap_cache_destroy(cache) == TSL_OK);
    demand(tsl_heap_verify(heap).rule == 0);
    demand(tsl_heap_destroy(heap) == TSL_OK);
    for (unsigned i = 0; i < PAGES; i++)
        demand(!is_out[i]);
    for (unsigned cpu = CPUS; cpu-- > 0;) {
        host_port_set_cpu(cpu);
        tsl_cpu_leave();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0)
        return 0;
    begin(24 + input[0] % (PAGES - 23));
    for (size_t i = 1; i + 4 <= size; i += 4)
        call(input + i);
    end();
    return 0;
}
