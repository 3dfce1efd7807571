/* SPDX-License-Identifier: MIT
 *
 * peer_frames_bitmap.c: the rows frames.* over the bitmap that everybody writes first.
 *
 * Owns:    one bit a frame, and below which word nothing is free.
 * Needs:   bench_frames_rows.h.
 * Callers: ./bench frames (column `bitmap`).
 *
 * First fit from the lowest word that may have a free frame. One thread, no zones, no counters;
 * only a double free is noticed.
 */
#define _DEFAULT_SOURCE

#include <string.h>

#include "bench_frames_rows.h"

#define WORDS (ROWS_FRAMES / 64)

/* A random free sends the hint back, and the search walks over all that is full: 4 M pairs take
 * many seconds. */
static const struct rows_effort subject_effort = {
    .hot_pairs = 1000000, .churn_pairs = 40000, .recovery_samples = 1};

static uint64_t words[WORDS]; /* 1 = free */
static uint32_t hint;

static uint64_t mask_of(unsigned order)
{
    return order >= 6 ? ~(uint64_t)0 : ((uint64_t)1 << (1u << order)) - 1;
}

/* The bit in `word` at which an aligned block starts, 64 if there is none. */
static unsigned find_in_word(uint64_t word, unsigned order)
{
    if (order == 0)
        return word == 0 ? 64 : (unsigned)__builtin_ctzll(word);
    for (unsigned bit = 0; bit < 64; bit += 1u << order)
        if ((word >> bit & mask_of(order)) == mask_of(order))
            return bit;
    return 64;
}

static bool is_free_run(uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++)
        if (words[i] != ~(uint64_t)0)
            return false;
    return true;
}

static bool alloc_words(unsigned order, uint32_t *out)
{
    uint32_t count = 1u << (order - 6);
    for (uint32_t i = (hint + count - 1) & ~(count - 1); i + count <= WORDS; i += count) {
        if (is_free_run(i, count)) {
            memset(&words[i], 0, count * sizeof(words[0]));
            *out = i * 64;
            return true;
        }
    }
    return false;
}

static bool subject_alloc(unsigned order, uint32_t *out)
{
    while (hint < WORDS && words[hint] == 0)
        hint++;
    if (order >= 6)
        return alloc_words(order, out);
    for (uint32_t i = hint; i < WORDS; i++) {
        unsigned bit = find_in_word(words[i], order);
        if (bit < 64) {
            words[i] &= ~(mask_of(order) << bit);
            *out = i * 64 + bit;
            return true;
        }
    }
    return false;
}

static bool subject_free(uint32_t frame, unsigned order)
{
    uint32_t count = order >= 6 ? 1u << (order - 6) : 1;
    uint64_t mask = mask_of(order) << frame % 64;
    for (uint32_t i = frame / 64; i < frame / 64 + count; i++) {
        if ((words[i] & mask) != 0)
            return false;
        words[i] |= mask;
    }
    hint = frame / 64 < hint ? frame / 64 : hint;
    return true;
}

static void subject_be_cpu(unsigned cpu)
{
    bench_require(cpu == 0, "this allocator knows one CPU");
}

int main(void)
{
    memset(words, 0xff, sizeof(words));
    printf("row frames.metadata bytes/GiB %u 1\n", (unsigned)(sizeof(words) / 4));
    bench_frames_rows();
    return 0;
}
