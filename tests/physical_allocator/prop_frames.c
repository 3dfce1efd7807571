/* SPDX-License-Identifier: MIT
 *
 * prop_frames.c: random operations against a model that keeps one byte a frame.
 *
 * Owns:    the model: a sorted list of managed frames and what each of them is.
 * Needs:   frames_world.h, the test port, rng.h.
 * Callers: the unit suite. TSL_SEED and TSL_ROUNDS make it another or a longer run.
 *
 * After each step the verifier must be content, the counts must agree, and what was refused must be
 * what the model refuses: NO_MEMORY only if the model finds no place either.
 */
#include "frames_world.h"
#include "host_port.h"
#include "rng.h"
#include "tap.h"

#include <tesela/config.h>

#include <string.h>

#define MOST_FRAMES 8192
#define MOST_BLOCKS 4096

enum state { FREE, TAKEN, RESERVED };

struct block {
    tsl_word number;
    tsl_word count;
    unsigned order; /* NO_ORDER: a run */
};

#define NO_ORDER 99u

static struct model {
    tsl_word number[MOST_FRAMES]; /* sorted */
    unsigned char state[MOST_FRAMES];
    size_t frames;
    size_t free;
    struct block block[MOST_BLOCKS];
    size_t blocks;
} model;

static struct world world;
static struct rng rng;

struct shape {
    const char *name;
    uint64_t reach_end; /* a multiple of 2 MiB */
    uint64_t direct_end;
    struct world_range range[8];
};

static const struct shape shapes[] = {
    {"pc", 32 * MIB, 0, {{0, 640 * KIB, 0}, {1 * MIB, 19 * MIB, 0}}},
    {"two megabytes", 2 * MIB, 0, {{0, 640 * KIB, 0}, {1 * MIB, 1 * MIB, 0}}},
    {"high memory", 32 * MIB, 24 * MIB, {{1 * MIB, 16 * MIB, 0}, {20 * MIB, 10 * MIB, 0}}},
    {"around 4 GiB", 32 * MIB, 0, {{15 * MIB, 3 * MIB, 0}, {4 * GIB - 4 * MIB, 9 * MIB, 0}}},
    {"far apart", 32 * MIB, 0, {{4 * MIB, 4 * MIB, 0}, {1024 * GIB, 6 * MIB, 0}}},
    {"fragments",
     32 * MIB,
     0,
     {{64 * KIB, 4 * KIB, 0},
      {72 * KIB, 8 * KIB, 0},
      {2 * MIB - 4 * KIB, 12 * KIB, 0},
      {3 * MIB, 100 * KIB, 0},
      {10 * MIB + 4 * KIB, 5 * MIB, 0},
      {30 * MIB, 4 * KIB, 0}}},
    {"one area, holes",
     32 * MIB,
     0,
     {{4 * MIB, 1 * MIB, 0}, {5 * MIB + 4 * KIB, 500 * KIB, 0}, {6 * MIB - 4 * KIB, 4 * KIB, 0}}},
};

/* The usable frames of the map that the allocator says it manages. */
static void model_init(const struct shape *shape)
{
    memset(&model, 0, sizeof(model));
    for (size_t i = 0; i < TSL_COUNT_OF(shape->range); i++) {
        const struct world_range *range = &shape->range[i];
        tsl_word first = tsl_frame_of(range->start).number;
        for (tsl_word n = first; n < first + range->bytes / TSL_PAGE_BYTES; n++)
            if (tsl_frames_is_managed(world.frames, (struct tsl_frame){n}))
                model.number[model.frames++] = n;
    }
    model.free = model.frames;
}

/* Position of the first frame at or above `number`. */
static size_t position_of(tsl_word number)
{
    size_t low = 0;
    size_t high = model.frames;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (model.number[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether [number, number + count) is managed and all of it in `state`. */
static bool all_are(tsl_word number, tsl_word count, enum state state)
{
    size_t at = position_of(number);
    for (tsl_word i = 0; i < count; i++)
        if (at + i >= model.frames || model.number[at + i] != number + i ||
            model.state[at + i] != state)
            return false;
    return true;
}

static void set_all(tsl_word number, tsl_word count, enum state state)
{
    size_t at = position_of(number);
    memset(&model.state[at], (int)state, count);
    model.free += state == FREE ? count : 0;
    model.free -= state == FREE ? 0 : count;
}

/* Frames below this number satisfy the flags. */
static tsl_word flag_end(const struct shape *shape, unsigned flags)
{
    uint64_t end = UINT64_MAX;
    if ((flags & TSL_FRAMES_LOW) != 0) {
        end = shape->reach_end;
        end = shape->direct_end != 0 && shape->direct_end < end ? shape->direct_end : end;
    }
    end = (flags & TSL_FRAMES_DMA32) != 0 && end > 4 * GIB ? 4 * GIB : end;
    end = (flags & TSL_FRAMES_DMA) != 0 && end > 16 * MIB ? 16 * MIB : end;
    end >>= TSL_PAGE_SHIFT;
    return end < ~(tsl_word)0 ? (tsl_word)end : ~(tsl_word)0;
}

/* Whether the model has a place: the slowest search there is. */
static bool has_place(tsl_word count, tsl_word align, tsl_word end)
{
    for (size_t i = 0; i < model.frames; i++) {
        tsl_word number = model.number[i];
        if (model.state[i] == FREE && number % align == 0 && number < end &&
            count <= end - number && all_are(number, count, FREE))
            return true;
    }
    return false;
}

static void remember(tsl_word number, tsl_word count, unsigned order)
{
    set_all(number, count, TAKEN);
    model.block[model.blocks++] = (struct block){number, count, order};
}

static void check_given(tsl_word number, tsl_word count, tsl_word align, tsl_word end)
{
    CHECK(all_are(number, count, FREE));
    CHECK_EQ(number % align, 0);
    CHECK(number < end && count <= end - number);
}

static unsigned some_flags(void)
{
    static const unsigned choice[] = {0, 0, 0, TSL_FRAMES_LOW, TSL_FRAMES_DMA, TSL_FRAMES_DMA32};
    return choice[rng_below(&rng, TSL_COUNT_OF(choice))];
}

static void step_alloc(const struct shape *shape)
{
    unsigned order = rng_once_in(&rng, 2) ? 0 : rng_below(&rng, TSL_FRAMES_MAX_ORDER + 1);
    unsigned flags = some_flags();
    tsl_word count = (tsl_word)1 << order;
    tsl_word end = flag_end(shape, flags);
    struct tsl_frame frame = {0};
    if (model.blocks == MOST_BLOCKS)
        return;
    if (tsl_frames_alloc(world.frames, order, flags, &frame) == TSL_OK) {
        check_given(frame.number, count, count, end);
        remember(frame.number, count, order);
    } else {
        CHECK_EQ(frame.number, 0);
        CHECK(!has_place(count, count, end));
    }
}

static void step_alloc_run(const struct shape *shape)
{
    struct tsl_frames_run run = {
        .count = 1 + rng_below(&rng, rng_once_in(&rng, 3) ? 2000 : 70),
        .align_frames = (tsl_word)1 << rng_below(&rng, rng_once_in(&rng, 4) ? 12 : 4),
        .flags = some_flags(),
    };
    tsl_word end = flag_end(shape, run.flags);
    if (rng_once_in(&rng, 4)) {
        tsl_word limit = model.number[rng_below(&rng, (uint32_t)model.frames)];
        run.limit = (tsl_paddr)limit << TSL_PAGE_SHIFT;
        end = limit < end ? limit : end;
    }
    struct tsl_frame frame = {0};
    if (model.blocks == MOST_BLOCKS)
        return;
    if (tsl_frames_alloc_run(world.frames, &run, &frame) == TSL_OK) {
        check_given(frame.number, run.count, run.align_frames, end);
        remember(frame.number, run.count, NO_ORDER);
    } else {
        CHECK(!has_place(run.count, run.align_frames, end));
    }
}

static enum tsl_status give_back(const struct block *block)
{
    struct tsl_frame frame = {block->number};
    return block->order == NO_ORDER ? tsl_frames_free_run(world.frames, frame, block->count)
                                    : tsl_frames_free(world.frames, frame, block->order);
}

static void step_free(void)
{
    if (model.blocks == 0)
        return;
    size_t which = rng_below(&rng, (uint32_t)model.blocks);
    struct block block = model.block[which];
    CHECK_STATUS(give_back(&block), TSL_OK);
    set_all(block.number, block.count, FREE);
    model.block[which] = model.block[--model.blocks];
    if (rng_once_in(&rng, 4))
        CHECK_STATUS(give_back(&block), TSL_DOUBLE_FREE);
}

/* A huge block becomes single frames, which come back one by one. */
static void step_split(void)
{
    if (model.blocks == 0)
        return;
    size_t which = rng_below(&rng, (uint32_t)model.blocks);
    struct block block = model.block[which];
    struct tsl_frame frame = {block.number};
    if (block.order != 9 && block.order != 10)
        return;
    CHECK_STATUS(tsl_frames_split(world.frames, frame, block.order), TSL_OK);
    model.block[which] = model.block[--model.blocks];
    for (tsl_word i = 0; i < block.count; i++) {
        frame.number = block.number + i;
        CHECK_STATUS(tsl_frames_free(world.frames, frame, 0), TSL_OK);
    }
    set_all(block.number, block.count, FREE);
}

/* Frames of the model in a range of addresses, and how many of them are in `state`. */
static size_t count_in(tsl_word first, tsl_word end, enum state state, size_t *managed)
{
    size_t found = 0;
    *managed = 0;
    for (size_t i = position_of(first); i < model.frames && model.number[i] < end; i++) {
        *managed += 1;
        found += model.state[i] == state;
    }
    return found;
}

static void set_in(tsl_word first, tsl_word end, enum state state)
{
    for (size_t i = position_of(first); i < model.frames && model.number[i] < end; i++)
        set_all(model.number[i], 1, state);
}

static void step_reserve(void)
{
    size_t managed;
    tsl_word first = model.number[rng_below(&rng, (uint32_t)model.frames)];
    tsl_word end = first + 1 + rng_below(&rng, 1500);
    uint64_t start = ((uint64_t)first << TSL_PAGE_SHIFT) + rng_below(&rng, TSL_PAGE_BYTES);
    uint64_t bytes = ((uint64_t)end << TSL_PAGE_SHIFT) - start;
    bool is_free = count_in(first, end, FREE, &managed) == managed;
    CHECK_STATUS(tsl_frames_reserve(world.frames, start, bytes), is_free ? TSL_OK : TSL_BUSY);
    if (!is_free)
        return;
    set_in(first, end, RESERVED);
    CHECK_SOUND(tsl_frames_verify(world.frames));
    /* Released in two parts. */
    uint64_t half = bytes / 2 / TSL_PAGE_BYTES * TSL_PAGE_BYTES;
    uint64_t middle = ((start + half) >> TSL_PAGE_SHIFT) << TSL_PAGE_SHIFT;
    if (middle > start &&
        count_in((tsl_word)(middle >> TSL_PAGE_SHIFT), end, FREE, &managed) == 0 && managed > 0 &&
        count_in(first, (tsl_word)(middle >> TSL_PAGE_SHIFT), FREE, &managed) == 0 && managed > 0) {
        CHECK_STATUS(tsl_frames_release(world.frames, start, middle - start), TSL_OK);
        CHECK_STATUS(tsl_frames_release(world.frames, middle, start + bytes - middle), TSL_OK);
    } else {
        CHECK_STATUS(tsl_frames_release(world.frames, start, bytes), TSL_OK);
    }
    set_in(first, end, FREE);
}

static void step(const struct shape *shape)
{
    host_port_set_cpu(rng_below(&rng, TSL_CPUS));
    uint32_t kind = rng_below(&rng, 16);
    if (kind < 6)
        step_alloc(shape);
    else if (kind < 7)
        step_alloc_run(shape);
    else if (kind < 8)
        step_reserve();
    else if (kind < 9)
        step_split();
    else
        step_free();
}

/* Everything free again: each stretch of RAM can be had as one run. */
static void all_comes_back(void)
{
    while (model.blocks > 0) {
        struct block *block = &model.block[--model.blocks];
        CHECK_STATUS(give_back(block), TSL_OK);
        set_all(block->number, block->count, FREE);
    }
    CHECK_EQ(world_free(&world), model.frames);
    for (size_t i = 0; i < model.frames;) {
        size_t next = i + 1;
        while (next < model.frames && model.number[next] == model.number[next - 1] + 1)
            next++;
        CHECK_STATUS(tsl_frames_reserve(world.frames, (uint64_t)model.number[i] << TSL_PAGE_SHIFT,
                                        (uint64_t)(next - i) << TSL_PAGE_SHIFT),
                     TSL_OK);
        i = next;
    }
    CHECK_EQ(world_free(&world), 0);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

static void check_counts(void)
{
    CHECK_EQ(world_free(&world), model.free);
    size_t probe = rng_below(&rng, (uint32_t)model.frames);
    struct tsl_frame frame = {model.number[probe]};
    CHECK_EQ(tsl_frames_is_free(world.frames, frame), model.state[probe] == FREE);
}

static bool fits_word(const struct shape *shape)
{
    for (size_t i = 0; i < TSL_COUNT_OF(shape->range); i++) {
        uint64_t end = shape->range[i].start + shape->range[i].bytes;
        if ((end >> TSL_PAGE_SHIFT) > ~(tsl_word)0 || (TSL_FRAME_CORE_FLAT && end > 16 * GIB))
            return false;
    }
    return true;
}

static bool make(const struct shape *shape)
{
    size_t count = 0;
    while (count < TSL_COUNT_OF(shape->range) && shape->range[count].bytes != 0)
        count++;
    world_map(&world, shape->range, count);
    world.config.reach_end = shape->reach_end;
    world.config.direct_end = shape->direct_end;
    return tsl_frames_create(&world.config, &world.frames) == TSL_OK;
}

static void random_steps_agree_with_the_model(void)
{
    rng = rng_start(1);
    world_join(WORLD_CPUS);
    for (size_t i = 0; i < TSL_COUNT_OF(shapes); i++) {
        if (!fits_word(&shapes[i]))
            continue;
        REQUIRE(make(&shapes[i]));
        model_init(&shapes[i]);
        CHECK_EQ(world_free(&world), model.frames);
        for (unsigned round = 0; round < tap_rounds(1500); round++) {
            step(&shapes[i]);
            check_counts();
            struct tsl_defect defect = tsl_frames_verify(world.frames);
            CHECK_SOUND(defect);
            REQUIRE(defect.rule == 0);
        }
        all_comes_back();
    }
    world_part(WORLD_CPUS);
    CHECK_SOUND(tsl_frames_verify(world.frames));
}

/* With exactly R frames left, exactly R single frames can be had, whoever freed them. */
static void exactly_what_is_left_can_be_had(void)
{
    static struct tsl_frame frame[MOST_FRAMES];
    rng = rng_start(2);
    world_join(WORLD_CPUS);
    for (size_t left = 0; left <= 64; left++) {
        REQUIRE(make(&shapes[0]));
        size_t count = 0;
        while (tsl_frames_alloc(world.frames, 0, 0, &frame[count]) == TSL_OK) {
            count++;
            host_port_set_cpu(rng_below(&rng, TSL_CPUS));
        }
        for (size_t i = 0; i < left; i++) {
            size_t which = rng_below(&rng, (uint32_t)count);
            host_port_set_cpu(rng_below(&rng, TSL_CPUS));
            CHECK_STATUS(tsl_frames_free(world.frames, frame[which], 0), TSL_OK);
            frame[which] = frame[--count];
        }
        host_port_set_cpu(rng_below(&rng, TSL_CPUS));
        CHECK_EQ(world_free(&world), left);
        for (size_t i = 0; i < left; i++)
            CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame[count]), TSL_OK);
        CHECK_STATUS(tsl_frames_alloc(world.frames, 0, 0, &frame[count]), TSL_NO_MEMORY);
        CHECK_SOUND(tsl_frames_verify(world.frames));
    }
    world_part(WORLD_CPUS);
}

TAP_SUITE(prop_frames, TAP_TEST(random_steps_agree_with_the_model),
          TAP_TEST(exactly_what_is_left_can_be_had));
