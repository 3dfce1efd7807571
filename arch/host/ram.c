/* SPDX-License-Identifier: MIT
 *
 * ram.c: simulated RAM: one reserved stretch below linear_end, chunks on demand above.
 *
 * Owns:    see ram.h.
 * Needs:   POSIX mmap.
 * Callers: see ram.h.
 */
#define _GNU_SOURCE 1
#include <host/ram.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tesela/atomic.h>

#define CHUNK_SHIFT 16u
#define CHUNK_BYTES ((size_t)1 << CHUNK_SHIFT)

static struct {
    struct host_ram_range range[HOST_RAM_RANGES];
    size_t count;
    tsl_paddr linear_end;
    char *linear;
    size_t linear_bytes;
    tsl_word *chunk; /* pointers to chunks above linear_end, 0 until touched */
    size_t chunks;
} ram;

static bool is_ram(tsl_paddr address)
{
    for (size_t i = 0; i < ram.count; i++)
        if (address >= ram.range[i].start && address < ram.range[i].end)
            return true;
    return false;
}

static bool open_linear(tsl_paddr end)
{
    ram.linear_bytes = (size_t)end;
    ram.linear =
        mmap(NULL, ram.linear_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram.linear == MAP_FAILED) {
        ram.linear = NULL;
        return false;
    }
    for (size_t i = 0; i < ram.count && ram.range[i].start < end; i++) {
        tsl_paddr stop = ram.range[i].end < end ? ram.range[i].end : end;
        size_t bytes = (size_t)(stop - ram.range[i].start);
        if (mprotect(ram.linear + (size_t)ram.range[i].start, bytes, PROT_READ | PROT_WRITE) != 0)
            return false;
    }
    return true;
}

bool host_ram_create(const struct host_ram_range *ranges, size_t count, tsl_paddr linear_end)
{
    host_ram_destroy();
    if (count == 0 || count > HOST_RAM_RANGES)
        return false;
    memcpy(ram.range, ranges, count * sizeof(*ranges));
    ram.count = count;
    tsl_paddr end = ranges[count - 1].end;
    ram.linear_end = linear_end < end ? linear_end : end;
    if (!open_linear(ram.linear_end)) {
        host_ram_destroy();
        return false;
    }
    if (end > ram.linear_end) {
        ram.chunks = (size_t)((end - ram.linear_end + CHUNK_BYTES - 1) >> CHUNK_SHIFT);
        ram.chunk = calloc(ram.chunks, sizeof(*ram.chunk));
        if (ram.chunk == NULL) {
            host_ram_destroy();
            return false;
        }
    }
    return true;
}

void host_ram_destroy(void)
{
    for (size_t i = 0; i < ram.chunks; i++)
        free((void *)ram.chunk[i]);
    free(ram.chunk);
    if (ram.linear != NULL)
        (void)munmap(ram.linear, ram.linear_bytes);
    memset(&ram, 0, sizeof(ram));
}

static char *chunk_at(size_t index)
{
    tsl_word seen = tsl_atomic_load_acquire(&ram.chunk[index]);
    if (seen != 0)
        return (char *)seen;
    void *made = aligned_alloc(TSL_PAGE_BYTES, CHUNK_BYTES);
    if (made == NULL)
        return NULL;
    memset(made, 0, CHUNK_BYTES);
    if (tsl_atomic_compare_exchange(&ram.chunk[index], &seen, (tsl_word)made))
        return made;
    free(made); /* another thread was first */
    return (char *)seen;
}

void *host_ram_linear(tsl_paddr address)
{
    if (address >= ram.linear_end || !is_ram(address))
        return NULL;
    return ram.linear + (size_t)address;
}

void *host_ram_at(tsl_paddr address)
{
    if (!is_ram(address))
        return NULL;
    if (address < ram.linear_end)
        return ram.linear + (size_t)address;
    tsl_paddr offset = address - ram.linear_end;
    char *chunk = chunk_at((size_t)(offset >> CHUNK_SHIFT));
    return chunk == NULL ? NULL : chunk + (size_t)(offset & (CHUNK_BYTES - 1));
}
