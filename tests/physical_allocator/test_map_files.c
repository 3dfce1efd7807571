/* SPDX-License-Identifier: MIT
 *
 * test_map_files.c: hostile memory maps from files, each with what must come out, made an
 * allocator.
 *
 * Owns:    suite map_files; the reader of maps/<name>.map, whose form is in maps/README.
 * Needs:   frames_world.h, the test port; TSL_MAPS names the folder.
 * Callers: the unit suite.
 */
#include "frames_world.h"
#include "host_port.h"
#include "physical_allocator_internal.h"
#include "tap.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RANGES 1024u
#define MOST_SPANS  16u
#define MOST_TAKEN  20000u

enum outcome { CREATE_UNSAID, CREATE_OK, CREATE_NO_MEMORY, CREATE_EITHER };

/* One file: the map that it makes, and what it expects. */
static struct file {
    char name[256];
    unsigned line;
    struct tsl_memory_range storage[MOST_RANGES];
    struct tsl_memory_map map;
    struct tsl_memory_nodes nodes;
    bool has_nodes;
    struct tsl_frames_config config;
    struct {
        tsl_paddr start, end;
    } usable[MOST_SPANS], included[MOST_SPANS];
    unsigned usable_count, included_count;
    uint64_t absent[MOST_SPANS];
    unsigned absent_count;
    enum outcome create;
    bool is_given_up, is_partial;
    uint64_t refused, ignored, metadata_most;
} file;

static bool complain(const char *what)
{
    tap_note("%s:%u: %s", file.name, file.line, what);
    return false;
}

/* A number with K, M, G or T, times others, plus and minus others: 1M+4999*8K. */
static uint64_t number_of(const char **text)
{
    uint64_t sum = 0;
    char sign = '+';
    for (;;) {
        uint64_t product = 1;
        do {
            char *end;
            uint64_t value = strtoull(*text + (**text == '*'), &end, 0);
            static const char units[] = "KMGT";
            const char *unit = *end == '\0' ? NULL : strchr(units, *end);
            value <<= unit == NULL ? 0 : 10 * (unit - units + 1);
            product *= value;
            *text = end + (unit == NULL ? 0 : 1);
        } while (**text == '*');
        sum = sign == '+' ? sum + product : sum - product;
        if (**text != '+' && **text != '-')
            return sum;
        sign = *(*text)++;
    }
}

static bool next_number(const char **text, uint64_t *out)
{
    while (**text == ' ')
        (*text)++;
    if (!isdigit((unsigned char)**text))
        return complain("a number is missing");
    *out = number_of(text);
    return true;
}

/* Whether the next word is this one; it is then behind us. */
static bool word_is(const char **text, const char *word)
{
    const char *at = *text;
    size_t length = strlen(word);
    while (*at == ' ')
        at++;
    if (strncmp(at, word, length) != 0 || (at[length] != ' ' && at[length] != '\0'))
        return false;
    *text = at + length;
    return true;
}

static bool read_type(const char **text, enum tsl_memory_type *out)
{
    static const struct {
        const char *word;
        enum tsl_memory_type type;
    } types[] = {{"usable", TSL_MEMORY_USABLE},     {"reserved", TSL_MEMORY_RESERVED},
                 {"acpi", TSL_MEMORY_ACPI_RECLAIM}, {"nvs", TSL_MEMORY_NVS},
                 {"bad", TSL_MEMORY_BAD},           {"kernel", TSL_MEMORY_KERNEL},
                 {"boot", TSL_MEMORY_BOOT_RECLAIM}};
    for (size_t i = 0; i < TSL_COUNT_OF(types); i++) {
        if (word_is(text, types[i].word)) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

static enum tsl_status status_named(const char **text)
{
    enum tsl_status found = TSL_OK;
    for (unsigned i = 1; i < TSL_STATUS_COUNT; i++)
        if (word_is(text, tsl_status_name((enum tsl_status)i)))
            found = (enum tsl_status)i;
    return found;
}

static bool read_node(const char *text, uint64_t times, uint64_t stride)
{
    uint64_t start, bytes, domain;
    if (!next_number(&text, &start) || !next_number(&text, &bytes) || !next_number(&text, &domain))
        return false;
    enum tsl_status expected = status_named(&text);
    file.has_nodes = true;
    for (uint64_t i = 0; i < times; i++)
        if (TSL_NODES > 1 &&
            tsl_nodes_add(&file.nodes, start + i * stride, bytes, (uint32_t)domain) != expected)
            return complain("another status for the node");
    return true;
}

static bool read_entry(const char *text)
{
    uint64_t times = 1, stride = 0, start, bytes;
    enum tsl_memory_type type;
    if (word_is(&text, "repeat") && (!next_number(&text, &times) || !next_number(&text, &stride)))
        return false;
    if (word_is(&text, "node"))
        return read_node(text, times, stride);
    if (!read_type(&text, &type))
        return complain("what is this?");
    if (!next_number(&text, &start) || !next_number(&text, &bytes))
        return false;
    for (uint64_t i = 0; i < times; i++) {
        /* A refusal is counted, and expected by `refused`. */
        enum tsl_status status = tsl_map_add(&file.map, start + i * stride, bytes, type);
        if (status != TSL_OK && status != TSL_INVALID && status != TSL_OUT_OF_RANGE)
            return complain("another status for the entry");
    }
    return true;
}

static bool read_create(const char *text)
{
    if (word_is(&text, "ok or no memory"))
        file.create = CREATE_EITHER;
    else if (word_is(&text, "ok"))
        file.create = CREATE_OK;
    else if (word_is(&text, "no memory"))
        file.create = CREATE_NO_MEMORY;
    else
        return complain("which outcome?");
    return true;
}

static bool read_expectation(const char *text)
{
    uint64_t start, end;
    if (word_is(&text, "create"))
        return read_create(text);
    if (word_is(&text, "given up"))
        return file.is_given_up = file.is_partial = true;
    if (word_is(&text, "refused"))
        return next_number(&text, &file.refused);
    if (word_is(&text, "ignored"))
        return next_number(&text, &file.ignored);
    if (word_is(&text, "metadata-at-most"))
        return next_number(&text, &file.metadata_most);
    if (word_is(&text, "no-usable-page-at")) {
        file.is_partial = true;
        return next_number(&text, &file.absent[file.absent_count++ % MOST_SPANS]);
    }
    bool is_list = word_is(&text, "usable");
    if (!is_list && !word_is(&text, "usable-includes"))
        return complain("expect what?");
    if (!next_number(&text, &start) || !next_number(&text, &end))
        return false;
    file.is_partial = file.is_partial || !is_list;
    unsigned i = is_list ? file.usable_count++ : file.included_count++;
    if (i >= MOST_SPANS)
        return complain("too many expectations");
    (is_list ? file.usable : file.included)[i].start = start;
    (is_list ? file.usable : file.included)[i].end = end;
    return true;
}

static bool read_line(const char *text)
{
    uint64_t value;
    if (*text == '#' || *text == '\0')
        return true;
    if (word_is(&text, "expect"))
        return read_expectation(text);
    if (word_is(&text, "limit"))
        return next_number(&text, &value) && (tsl_map_limit(&file.map, value), true);
    if (word_is(&text, "capacity")) {
        if (!next_number(&text, &value) || value > MOST_RANGES)
            return complain("no such capacity");
        return tsl_map_init(&file.map, file.storage, (size_t)value) == TSL_OK;
    }
    if (word_is(&text, "direct"))
        return next_number(&text, &file.config.direct_end);
    if (word_is(&text, "ram-end"))
        return next_number(&text, &file.config.ram_end);
    return read_entry(text);
}

static bool read_file(const char *folder, const char *name)
{
    char path[4096], line[256];
    memset(&file, 0, sizeof(file));
    (void)snprintf(file.name, sizeof(file.name), "%s", name);
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (TSL_NODES > 1)
        tsl_nodes_init(&file.nodes);
    if (tsl_map_init(&file.map, file.storage, MOST_RANGES) != TSL_OK)
        return false;
    FILE *stream = fopen(path, "r");
    if (stream == NULL)
        return complain("cannot be read");
    bool is_good = true;
    while (is_good && fgets(line, sizeof(line), stream) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        file.line++;
        is_good = read_line(line);
    }
    (void)fclose(stream);
    return is_good && (file.create != CREATE_UNSAID || complain("no outcome is stated"));
}

/* The usable ranges in order, without their neighbours. */
static bool usable_is_as_stated(void)
{
    unsigned found = 0;
    for (size_t i = 0; i < file.map.count; i++) {
        const struct tsl_memory_range *range = &file.map.ranges[i];
        if (range->type != TSL_MEMORY_USABLE)
            continue;
        if (found >= file.usable_count || file.usable[found].start != range->start ||
            file.usable[found].end != range->end)
            return file.is_partial || complain("another usable range");
        found++;
    }
    return file.is_partial || found == file.usable_count || complain("a usable range is missing");
}

static bool map_is_as_stated(void)
{
    const struct tsl_map_counters *counters = &file.map.counters;
    bool is_good = tsl_map_verify(&file.map).rule == 0 || complain("the map breaks a rule");
    is_good = is_good && usable_is_as_stated();
    for (unsigned i = 0; i < file.included_count; i++) {
        const struct tsl_memory_range *range = tsl_map_at(&file.map, file.included[i].start);
        if (range == NULL || range->type != TSL_MEMORY_USABLE || range->end < file.included[i].end)
            is_good = complain("a usable range is not included");
    }
    for (unsigned i = 0; i < file.absent_count; i++) {
        const struct tsl_memory_range *range = tsl_map_at(&file.map, file.absent[i]);
        if (range != NULL && range->type == TSL_MEMORY_USABLE)
            is_good = complain("a reserved page is usable");
    }
    uint64_t refused =
        (uint64_t)counters->refused_empty + counters->refused_wrapping + counters->refused_type;
    if (file.refused != refused)
        is_good = complain("another number of refusals");
    if (file.is_given_up != (counters->given_up > 0))
        is_good = complain("given up, or not");
    return is_good;
}

/* Usable frames that the allocator is to manage, frame 0 left out. */
static uint64_t frames_of_map(void)
{
    uint64_t frames = 0;
    uint64_t top = file.config.ram_end == 0 ? TSL_MAP_TOP : file.config.ram_end & ~(uint64_t)4095;
    for (size_t i = 0; i < file.map.count; i++) {
        const struct tsl_memory_range *range = &file.map.ranges[i];
        uint64_t start = range->start == 0 ? 4096 : range->start;
        uint64_t end = range->end < top ? range->end : top;
        if (range->type == TSL_MEMORY_USABLE && start < end)
            frames += (end - start) / 4096;
    }
    return frames;
}

/* Takes what there is, or much of it: all usable, none twice, none of the metadata. */
static bool frames_are_usable(struct tsl_frames *frames, const struct tsl_frames_stats *stats)
{
    struct tsl_frame frame;
    tsl_word count = 0;
    tsl_paddr metadata = frames->metadata_start;
    while (count < MOST_TAKEN && tsl_frames_alloc(frames, 0, 0, &frame) == TSL_OK) {
        tsl_paddr at = tsl_frame_address(frame);
        const struct tsl_memory_range *range = tsl_map_at(&file.map, at);
        if (at == 0 || range == NULL || range->type != TSL_MEMORY_USABLE ||
            (at >= metadata && at < metadata + stats->metadata_bytes))
            return complain("a frame that is not usable");
        if (tsl_frames_is_free(frames, frame))
            return complain("a frame that is still free");
        count++;
    }
    if (count < MOST_TAKEN && count != stats->total)
        return complain("another number of frames than managed");
    return tsl_frames_free_count(frames) == stats->total - count || complain("a wrong count");
}

/* The allocator itself: what it manages, and what it hands out. */
static bool frames_are_as_stated(struct tsl_frames *frames)
{
    struct tsl_frames_stats stats;
    tsl_frames_stats(frames, &stats);
    if (tsl_frames_verify(frames).rule != 0)
        return complain(tsl_frames_verify(frames).sentence);
    if (stats.total + stats.metadata_bytes / 4096 != frames_of_map())
        return complain("another number of frames than in the map");
    if (stats.ignored * (uint64_t)4096 != file.ignored)
        return complain("another number of ignored frames");
    if (file.metadata_most != 0 && stats.metadata_bytes > file.metadata_most)
        return complain("too much metadata");
    bool is_good = frames_are_usable(frames, &stats);
    return is_good && (tsl_frames_verify(frames).rule == 0 || complain("a rule is broken"));
}

static bool allocator_is_as_stated(void)
{
    struct tsl_frames *frames = NULL;
    file.config.map = &file.map;
    file.config.reach_end = WORLD_REACH;
    file.config.nodes = TSL_NODES > 1 && file.has_nodes ? &file.nodes : NULL;
    enum tsl_status status = tsl_frames_create(&file.config, &frames);
    bool is_expected = status == TSL_OK ? file.create != CREATE_NO_MEMORY
                                        : status == TSL_NO_MEMORY && file.create != CREATE_OK;
    if (!is_expected)
        return complain(tsl_status_name(status));
    if (status != TSL_OK)
        return true;
    bool is_good = frames_are_as_stated(frames);
    tsl_frames_abandon(frames);
    return is_good;
}

static void every_file_comes_out_as_it_says(void)
{
    const char *folder = getenv("TSL_MAPS");
    if (folder == NULL)
        SKIP("TSL_MAPS names no folder");
    static struct world world;
    const struct world_range some[] = {{1 * MIB, 1 * MIB, TSL_MEMORY_USABLE}};
    world_map(&world, some, 1); /* for the RAM behind it */
    DIR *list = opendir(folder);
    REQUIRE(list != NULL);
    unsigned count = 0;
    for (struct dirent *item = readdir(list); item != NULL; item = readdir(list)) {
        size_t length = strlen(item->d_name);
        if (length < 4 || strcmp(item->d_name + length - 4, ".map") != 0)
            continue;
        count++;
        CHECK(read_file(folder, item->d_name) && map_is_as_stated() && allocator_is_as_stated());
    }
    (void)closedir(list);
    tap_note("%u maps", count);
    CHECK(count >= 60);
}

TAP_SUITE(map_files, TAP_TEST(every_file_comes_out_as_it_says));
