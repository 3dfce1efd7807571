/* SPDX-License-Identifier: MIT
 *
 * fuzz_memory_map.c: bytes that claim to be a boot map, through every importer, against a model.
 *
 * Owns:    LLVMFuzzerTestOneInput for the import of memory maps, and its oracle.
 * Needs:   kernel_layout with all importers; clang's libFuzzer. Its port is silent.
 * Callers: fuzzing by hand and the deep checks: fuzz-memory_map [-runs=N] [CORPUS].
 *
 * First byte: which importer; second: size of entries; third: capacity; fourth: limit. The rest is
 * copied to a buffer of its exact size, so that the address sanitizer sees every read past it.
 */
#include <stdlib.h>
#include <string.h>

#include <tesela/boot_map.h>
#include <tesela/port.h>

#define MOST_RANGES 64u

static struct tsl_memory_range storage[MOST_RANGES];
static struct tsl_memory_range before[MOST_RANGES];

void tsl_port_log(enum tsl_log_level level, const char *line)
{
    (void)level;
    (void)line;
}

void tsl_port_panic(const char *message)
{
    (void)message;
    abort();
}

static void demand(bool holds)
{
    if (!holds)
        abort();
}

static enum tsl_status import_limine_pointers(struct tsl_memory_map *map, const uint8_t *data,
                                              size_t bytes)
{
    const void *pointers[32];
    size_t count = bytes / 24 < 32 ? bytes / 24 : 32;
    for (size_t i = 0; i < count; i++)
        pointers[i] = data[24 * i + 23] == 0xff ? NULL : data + 24 * i;
    return tsl_map_import_limine_pointers(map, pointers, count);
}

static enum tsl_status import_any(struct tsl_memory_map *map, unsigned which, unsigned size,
                                  const uint8_t *data, size_t bytes)
{
    switch (which % 9) {
    case 0:
        return tsl_map_import_multiboot1(map, data, bytes);
    case 1:
        return tsl_map_import_multiboot1_modules(map, data, bytes);
    case 2:
        return tsl_map_import_multiboot2(map, data, bytes);
    case 3:
        return tsl_map_import_pvh(map, data, bytes);
    case 4:
        return tsl_map_import_pvh_modules(map, data, bytes);
    case 5:
        return tsl_map_import_e820(map, data, bytes, size % 4 == 0 ? size : 20 + size % 2 * 4);
    case 6:
        return tsl_map_import_limine(map, data, bytes);
    case 7:
        return import_limine_pointers(map, data, bytes);
    default:
        return tsl_map_import_uefi(map, data, bytes, size % 4 == 0 ? size : 40 + size % 2 * 8);
    }
}

/* The two that only decode: whatever they say, they read within the bytes. */
static void read_information(const uint8_t *data, size_t bytes)
{
    struct tsl_boot_info untouched = {.map = 7, .module_count = 9};
    struct tsl_boot_info info = untouched;
    if (tsl_boot_read_multiboot1(data, bytes, &info) != TSL_OK)
        demand(memcmp(&info, &untouched, sizeof info) == 0);
    info = untouched;
    if (tsl_boot_read_pvh(data, bytes, &info) != TSL_OK)
        demand(memcmp(&info, &untouched, sizeof info) == 0);
}

/*
 * Oracles: the map is sound; a refused import changed nothing; reservations made before an import
 * are still reserved, as themselves or stronger; a second import of the same bytes adds nothing
 * usable that the first had not (as long as there was room).
 */
static void check_import(struct tsl_memory_map *map, const uint8_t *head, const uint8_t *data,
                         size_t bytes)
{
    static const tsl_paddr reserved_at = 0x100000;
    demand(tsl_map_reserve(map, reserved_at, 0x2345, TSL_MEMORY_KERNEL) == TSL_OK);
    size_t count = map->count;
    memcpy(before, map->ranges, count * sizeof *before);
    enum tsl_status status = import_any(map, head[0], head[1], data, bytes);
    demand(tsl_map_verify(map).rule == 0);
    if (status != TSL_OK) {
        demand(map->count == count && map->counters.entries == 1);
        demand(memcmp(before, map->ranges, count * sizeof *before) == 0);
        return;
    }
    for (tsl_paddr at = reserved_at; at < reserved_at + 0x2345 && at < map->limit; at += 0x1000) {
        const struct tsl_memory_range *range = tsl_map_at(map, at);
        demand(range != NULL && range->type >= TSL_MEMORY_KERNEL);
    }
    if (map->counters.given_up == 0 && map->counters.joined_when_full == 0) {
        count = map->count;
        memcpy(before, map->ranges, count * sizeof *before);
        demand(import_any(map, head[0], head[1], data, bytes) == TSL_OK);
        demand(map->count == count);
        demand(memcmp(before, map->ranges, count * sizeof *before) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct tsl_memory_map map;
    if (size < 4)
        return 0;
    size_t bytes = size - 4;
    uint8_t *exact = malloc(bytes);
    if (exact == NULL)
        return 0;
    memset(storage, 0, sizeof storage);
    memcpy(exact, input + 4, bytes);
    size_t capacity = TSL_MAP_MIN_CAPACITY + input[2] % (MOST_RANGES - TSL_MAP_MIN_CAPACITY + 1);
    demand(tsl_map_init(&map, storage, capacity) == TSL_OK);
    (void)tsl_map_limit(&map, (tsl_paddr)1 << (24 + input[3] % 30));
    check_import(&map, input, exact, bytes);
    read_information(exact, bytes);
    free(exact);
    return 0;
}
