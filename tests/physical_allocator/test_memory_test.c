/* SPDX-License-Identifier: MIT
 *
 * test_memory_test.c: the memory test finds, in broken RAM, what its algorithms are known to find.
 *
 * Owns:    suite memory_test; RAM with stuck, coupled and unchangeable cells and broken lines.
 * Needs:   kernel_layout, rng.h; TSL_MEMORY_TEST.
 * Callers: the unit suite.
 */
#include <tesela/memory_test.h>

#include "host_port.h"
#include "rng.h"
#include "tap.h"

#include <string.h>

#define FRAMES     16u
#define RAM_START  ((tsl_paddr)0x100000)
#define RAM_BYTES  (FRAMES * TSL_PAGE_BYTES)
#define WORDS      (RAM_BYTES / sizeof(tsl_word))
#define PAGE_WORDS (TSL_PAGE_BYTES / sizeof(tsl_word))
#define WORD_BITS  (8u * (unsigned)sizeof(tsl_word))

enum fault {
    NONE,
    STUCK,         /* bit of word is always value */
    NO_TRANSITION, /* bit of word, once !value, never becomes value */
    INVERTS,       /* a change of bit of word to value turns bit2 of word2 over */
    SETS,          /* such a change makes bit2 of word2 value2 */
    HOLDS,         /* while bit of word is value, bit2 of word2 reads value2 */
    ADDRESS_STUCK, /* address line `bit` (of words) is always value */
    ADDRESS_SHORT, /* address lines bit and bit2 are both their AND */
    DATA_STUCK,    /* data line bit is always value */
    DATA_SHORT,    /* data lines bit and bit2 are both their AND */
    FAULT_COUNT
};

static struct {
    tsl_word words[WORDS];
    enum fault fault;
    size_t word, word2;
    unsigned bit, bit2;
    unsigned value, value2;
    size_t accesses;
} ram;

static unsigned bit_of(tsl_word word, unsigned bit)
{
    return (unsigned)(word >> bit & 1);
}

static tsl_word with_bit(tsl_word word, unsigned bit, unsigned value)
{
    return (word & ~((tsl_word)1 << bit)) | (tsl_word)value << bit;
}

static size_t place_of(tsl_paddr at)
{
    size_t word = (size_t)(at - RAM_START) / sizeof(tsl_word);
    unsigned low = bit_of(word, ram.bit) & bit_of(word, ram.bit2);
    ram.accesses++;
    if (word >= WORDS) {
        CHECK(word < WORDS);
        word = 0;
    }
    if (ram.fault == ADDRESS_STUCK)
        word = (size_t)with_bit(word, ram.bit, ram.value);
    if (ram.fault == ADDRESS_SHORT)
        word = (size_t)with_bit(with_bit(word, ram.bit, low), ram.bit2, low);
    return word;
}

static tsl_word through_lines(tsl_word value)
{
    unsigned low = bit_of(value, ram.bit) & bit_of(value, ram.bit2);
    if (ram.fault == DATA_STUCK)
        return with_bit(value, ram.bit, ram.value);
    if (ram.fault == DATA_SHORT)
        return with_bit(with_bit(value, ram.bit, low), ram.bit2, low);
    return value;
}

static tsl_word read_ram(void *context, tsl_paddr at)
{
    size_t word = place_of(at);
    tsl_word value = ram.words[word];
    (void)context;
    if (ram.fault == STUCK && word == ram.word)
        value = with_bit(value, ram.bit, ram.value);
    if (ram.fault == HOLDS && word == ram.word2 &&
        bit_of(ram.words[ram.word], ram.bit) == ram.value)
        value = with_bit(value, ram.bit2, ram.value2);
    return through_lines(value);
}

static void write_ram(void *context, tsl_paddr at, tsl_word value)
{
    size_t word = place_of(at);
    tsl_word before = ram.words[word];
    (void)context;
    value = through_lines(value);
    if (ram.fault == NO_TRANSITION && word == ram.word && bit_of(before, ram.bit) != ram.value)
        value = with_bit(value, ram.bit, !ram.value);
    ram.words[word] = value;
    bool is_change = word == ram.word && bit_of(before, ram.bit) != bit_of(value, ram.bit) &&
                     bit_of(value, ram.bit) == ram.value;
    if (is_change && ram.fault == INVERTS)
        ram.words[ram.word2] ^= (tsl_word)1 << ram.bit2;
    if (is_change && ram.fault == SETS)
        ram.words[ram.word2] = with_bit(ram.words[ram.word2], ram.bit2, ram.value2);
}

static const struct tsl_memory_access access_ram = {read_ram, write_ram, NULL};
static struct tsl_memory_range storage[32];
static struct tsl_memory_map map;

static struct tsl_memory_test_result run(unsigned kinds)
{
    struct tsl_memory_test_result result = {0};
    CHECK_STATUS(tsl_map_init(&map, storage, TSL_COUNT_OF(storage)), TSL_OK);
    CHECK_STATUS(tsl_map_add(&map, RAM_START, RAM_BYTES, TSL_MEMORY_USABLE), TSL_OK);
    struct tsl_memory_test test = {
        .map = &map, .end = RAM_START + RAM_BYTES, .kinds = kinds, .access = &access_ram};
    CHECK_STATUS(tsl_memory_test(&test, &result), TSL_OK);
    CHECK_SOUND(tsl_map_verify(&map));
    CHECK_EQ(result.bytes, RAM_BYTES);
    CHECK_EQ(tsl_map_bytes(&map, TSL_MEMORY_BAD), result.bad_frames * TSL_PAGE_BYTES);
    return result;
}

static bool is_retired(size_t word)
{
    return tsl_map_at(&map, RAM_START + word * sizeof(tsl_word))->type == TSL_MEMORY_BAD;
}

/* A random fault of a kind: two different cells, of two words unless they are to share one. */
static void break_ram(struct rng *rng, enum fault fault, bool same_word)
{
    for (size_t i = 0; i < WORDS; i++)
        ram.words[i] = (tsl_word)rng_u32(rng) << (WORD_BITS - 32) ^ rng_u32(rng);
    ram.fault = fault;
    ram.word = rng_below(rng, WORDS);
    ram.bit = rng_below(rng, WORD_BITS);
    do {
        ram.word2 = same_word ? ram.word : rng_below(rng, WORDS);
        ram.bit2 = rng_below(rng, WORD_BITS);
    } while (same_word ? ram.bit2 == ram.bit : ram.word2 == ram.word);
    ram.value = rng_below(rng, 2);
    ram.value2 = rng_below(rng, 2);
    if (fault == ADDRESS_STUCK || fault == ADDRESS_SHORT) {
        /* Lines that this RAM has: of WORDS words. */
        unsigned lines = 0;
        while ((size_t)1 << lines < WORDS)
            lines++;
        ram.bit = rng_below(rng, lines);
        do
            ram.bit2 = rng_below(rng, lines);
        while (ram.bit2 == ram.bit);
    }
}

static void sound_memory_stays(void)
{
    struct rng rng = rng_start(0);
    host_port_log_clear();
    break_ram(&rng, NONE, false);
    struct tsl_memory_test_result result = run(TSL_TEST_ALL);
    CHECK_EQ(result.errors, 0);
    CHECK_EQ(result.bad_frames, 0);
    CHECK_EQ(result.found_by, 0);
    CHECK_EQ(host_port_log_lines(), 0);
}

/* Every fault that March C- is known to find, in the frame of the cell that fails, and there
 * only. */
static void march_finds_faults_of_cells(void)
{
    static const enum fault kinds[] = {STUCK, NO_TRANSITION, INVERTS, SETS, HOLDS};
    struct rng rng = rng_start(0);
    for (unsigned round = 0; round < tap_rounds(60); round++) {
        for (unsigned i = 0; i < TSL_COUNT_OF(kinds); i++) {
            break_ram(&rng, kinds[i], false);
            size_t victim = kinds[i] == STUCK || kinds[i] == NO_TRANSITION ? ram.word : ram.word2;
            struct tsl_memory_test_result result = run(TSL_TEST_MARCH);
            if (result.bad_frames != 1 || !is_retired(victim))
                tap_note("fault %u: word %zu bit %u value %u, word %zu bit %u value %u", kinds[i],
                         ram.word, ram.bit, ram.value, ram.word2, ram.bit2, ram.value2);
            CHECK_EQ(result.bad_frames, 1);
            CHECK(is_retired(victim));
            CHECK_EQ(result.found_by, TSL_TEST_MARCH);
        }
    }
}

static void march_finds_faults_of_address_lines(void)
{
    struct rng rng = rng_start(0);
    for (unsigned round = 0; round < tap_rounds(30); round++) {
        break_ram(&rng, round % 2 == 0 ? ADDRESS_STUCK : ADDRESS_SHORT, false);
        CHECK(run(TSL_TEST_MARCH).errors > 0);
    }
}

static void address_test_finds_faults_of_address_lines(void)
{
    struct rng rng = rng_start(0);
    for (unsigned round = 0; round < tap_rounds(200); round++) {
        break_ram(&rng, round % 2 == 0 ? ADDRESS_STUCK : ADDRESS_SHORT, false);
        ram.accesses = 0;
        struct tsl_memory_test_result result = run(TSL_TEST_ADDRESS);
        CHECK(result.bad_frames > 0);
        CHECK_EQ(result.found_by, TSL_TEST_ADDRESS);
        CHECK(ram.accesses < 1000); /* that is what it is for: a few places are enough */
    }
}

static void walking_bits_find_faults_of_data_lines(void)
{
    struct rng rng = rng_start(0);
    for (unsigned round = 0; round < tap_rounds(200); round++) {
        break_ram(&rng, round % 2 == 0 ? DATA_STUCK : DATA_SHORT, true);
        struct tsl_memory_test_result result = run(TSL_TEST_WALKING);
        CHECK_EQ(result.bad_frames, FRAMES);
        CHECK_EQ(result.found_by, TSL_TEST_WALKING);
    }
}

/* Inside one word all bits change at once: a solid pattern hides half of these, backgrounds
 * none. */
static void backgrounds_find_coupling_inside_a_word(void)
{
    struct rng rng = rng_start(0);
    unsigned missed_by_march = 0;
    for (unsigned round = 0; round < tap_rounds(40); round++) {
        break_ram(&rng, HOLDS, true);
        missed_by_march += run(TSL_TEST_MARCH).errors == 0;
        struct tsl_memory_test_result result = run(TSL_TEST_MARCH | TSL_TEST_BACKGROUNDS);
        CHECK_EQ(result.bad_frames, 1);
        CHECK(is_retired(ram.word));
    }
    CHECK(missed_by_march > 0);
}

static void only_usable_frames_below_the_end_are_touched(void)
{
    static const struct {
        unsigned first, count;
        enum tsl_memory_type type;
    } parts[] = {{0, 2, TSL_MEMORY_USABLE},
                 {2, 1, TSL_MEMORY_KERNEL},
                 {3, 5, TSL_MEMORY_USABLE},
                 {9, 7, TSL_MEMORY_USABLE}};
    struct rng rng = rng_start(0);
    static tsl_word before[WORDS];
    break_ram(&rng, NONE, false);
    memcpy(before, ram.words, sizeof(before));
    CHECK_STATUS(tsl_map_init(&map, storage, TSL_COUNT_OF(storage)), TSL_OK);
    for (unsigned i = 0; i < TSL_COUNT_OF(parts); i++)
        CHECK_STATUS(tsl_map_add(&map, RAM_START + parts[i].first * TSL_PAGE_BYTES,
                                 parts[i].count * TSL_PAGE_BYTES, parts[i].type),
                     TSL_OK);
    struct tsl_memory_test test = {.map = &map,
                                   .end = RAM_START + 12 * TSL_PAGE_BYTES + 100,
                                   .kinds = TSL_TEST_ALL,
                                   .access = &access_ram};
    struct tsl_memory_test_result result;
    CHECK_STATUS(tsl_memory_test(&test, &result), TSL_OK);
    CHECK_EQ(result.bytes, 10 * TSL_PAGE_BYTES);
    for (size_t i = 0; i < WORDS; i++) {
        size_t frame = i / PAGE_WORDS;
        bool is_tested = frame != 2 && frame != 8 && frame < 12;
        if (!is_tested && ram.words[i] != before[i])
            CHECK_EQ(i, WORDS);
    }
    CHECK_EQ(result.errors, 0);
}

/* More bad frames than the map has room for, and than the log is to have lines. */
static void much_bad_memory_is_all_retired(void)
{
    struct rng rng = rng_start(0);
    break_ram(&rng, DATA_STUCK, false);
    host_port_log_clear();
    CHECK_EQ(run(TSL_TEST_ALL).bad_frames, FRAMES);
    CHECK_EQ(tsl_map_bytes(&map, TSL_MEMORY_USABLE), 0);
    CHECK(host_port_log_has("16 bad frames"));
    CHECK_EQ(host_port_log_lines(), 17);
}

static void nonsense_is_refused(void)
{
    struct tsl_memory_test_result result = {.errors = 7};
    struct tsl_memory_test test = {.map = NULL, .end = RAM_START, .kinds = TSL_TEST_ALL};
    CHECK_STATUS(tsl_memory_test(&test, &result), TSL_INVALID);
    test.map = &map;
    test.kinds = 0;
    CHECK_STATUS(tsl_memory_test(&test, &result), TSL_INVALID);
    test.kinds = 16;
    CHECK_STATUS(tsl_memory_test(&test, &result), TSL_INVALID);
    CHECK_EQ(result.errors, 7);
}

TAP_SUITE(memory_test, TAP_TEST(sound_memory_stays), TAP_TEST(march_finds_faults_of_cells),
          TAP_TEST(march_finds_faults_of_address_lines),
          TAP_TEST(address_test_finds_faults_of_address_lines),
          TAP_TEST(walking_bits_find_faults_of_data_lines),
          TAP_TEST(backgrounds_find_coupling_inside_a_word),
          TAP_TEST(only_usable_frames_below_the_end_are_touched),
          TAP_TEST(much_bad_memory_is_all_retired), TAP_TEST(nonsense_is_refused));
