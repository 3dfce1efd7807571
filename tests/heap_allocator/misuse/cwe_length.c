/* SPDX-License-Identifier: MIT
 *
 * cwe_length.c: lengths that were computed, converted or believed wrongly: CWE-129 (index from
 * outside), CWE-130 (two lengths that disagree), CWE-131 (header forgotten), CWE-135 (wide
 * characters), CWE-170 (text without an end), CWE-191 (below zero), CWE-194 and CWE-195 (signs),
 * CWE-197 (cut off), CWE-467 (size of the pointer), CWE-788 (no end at all), CWE-806 (length of the
 * source).
 *
 * Owns:    its shapes.
 * Needs:   misuse.h.
 * Callers: run_misuse.c.
 *
 * Most of these run far, since the wrong length is a huge one: out of the slab, which ends at a
 * page without access from the full tier on. Below, what they meet is chance.
 */
#include "misuse.h"

#include <stdint.h>

#include <tesela/compiler.h>

/* What a peer says that its message is long. */
#define CLAIMED_LENGTH 65535u

static void answer_longer_than_request(struct misuse *m)
{
    void *block = take(m, m->size), *other = take(m, m->size);

    poke(block, 0, m->size);
    (void)peek(block, 0, opaque_size(m->is_bad ? m->size + CLAIMED_LENGTH : m->size));
    give(m, other);
    give(m, block);
}

static void request_longer_than_buffer(struct misuse *m)
{
    void *block = take(m, m->size);

    poke(block, 0, opaque_size(m->is_bad ? m->size + CLAIMED_LENGTH : m->size));
    give(m, block);
}

static void text_without_end(struct misuse *m)
{
    unsigned char *text = take(m, m->size);
    size_t at = 0;

    for (size_t i = 0; i < m->size; i++)
        text[i] = 'x';
    if (!m->is_bad)
        text[m->size - 1] = 0;
    while (at < m->size + CLAIMED_LENGTH && peek(text, (ptrdiff_t)at, 1) != 0)
        at++;
    give(m, text);
}

static void length_below_zero(struct misuse *m)
{
    void *block = take(m, m->size);
    size_t header = m->is_bad ? m->size + 1 : 8;
    uint16_t rest = (uint16_t)(opaque_size(m->size) - header);

    poke(block, 0, m->is_bad ? m->size + rest : m->size - header);
    give(m, block);
}

static void sign_extended_length(struct misuse *m)
{
    void *block = take(m, m->size);
    signed char length = (signed char)opaque_size(m->is_bad ? 0xF0 : 0x30);

    /* A buffer of 48 bytes behind a test that looked at the signed number. */
    if (length <= 0x30)
        (void)peek(block, 0, m->is_bad ? m->size + (uint16_t)length : (size_t)length);
    give(m, block);
}

static void signed_length_taken_as_unsigned(struct misuse *m)
{
    void *block = take(m, m->size);
    int left = (int)opaque_size(m->is_bad ? 0 : m->size) - (m->is_bad ? 3 : 0);

    poke(block, 0, m->is_bad ? m->size + (uint16_t)left : (size_t)left);
    give(m, block);
}

static void size_cut_off(struct misuse *m)
{
    size_t total = m->size + (m->is_bad ? 0x10000 : 0);
    size_t bytes = m->is_bad ? (uint16_t)opaque_size(total) : total;
    void *block = take(m, bytes);

    poke(block, 0, total);
    give(m, block);
}

static void size_of_the_pointer(struct misuse *m)
{
    void *block = take(m, m->is_bad ? sizeof block : m->size);

    poke(block, 0, m->size);
    give(m, block);
}

static void length_of_the_source(struct misuse *m)
{
    void *source = take(m, 2 * m->size), *block = take(m, m->size);

    poke(source, 0, 2 * m->size);
    poke(block, 0, m->is_bad ? 2 * m->size : m->size);
    give(m, block);
    give(m, source);
}

static void characters_for_bytes(struct misuse *m)
{
    size_t characters = m->size;
    void *block = take(m, m->is_bad ? characters : characters * sizeof(uint32_t));

    poke(block, 0, characters * sizeof(uint32_t));
    give(m, block);
}

static void header_forgotten(struct misuse *m)
{
    const size_t header = 16;
    unsigned char *block = take(m, m->is_bad ? m->size : m->size + header);

    poke(block, (ptrdiff_t)header, m->size);
    give(m, block);
}

static void loop_without_end(struct misuse *m)
{
    void *block = take(m, m->size);

    for (size_t i = 0; i < (m->is_bad ? m->size + CLAIMED_LENGTH : m->size); i++)
        poke(block, (ptrdiff_t)i, 1);
    give(m, block);
}

static void index_from_outside(struct misuse *m)
{
    void *block = take(m, m->size), *behind = take(m, m->size);

    poke(block, (ptrdiff_t)opaque_size(m->is_bad ? m->size + 5000 : m->size / 2), 1);
    give(m, block);
    give(m, behind);
}

static const struct misuse_shape shapes[] = {
    SHAPE_MAYBE("cwe130", answer_longer_than_request, BOTH, FULL, BASIC),
    SHAPE_MAYBE("cwe130", request_longer_than_buffer, BOTH, FULL, BASIC),
    SHAPE_MAYBE("cwe170", text_without_end, BOTH, DEBUG, BASIC),
    SHAPE_MAYBE("cwe191", length_below_zero, BOTH, FULL, BASIC),
    SHAPE_MAYBE("cwe194", sign_extended_length, BOTH, FULL, BASIC),
    SHAPE_MAYBE("cwe195", signed_length_taken_as_unsigned, BOTH, FULL, BASIC),
    SHAPE_MAYBE("cwe197", size_cut_off, BOTH, FULL, BASIC),
    SHAPE("cwe467", size_of_the_pointer, SLOTS, MODERATE),
    {"cwe806", "length_of_the_source", length_of_the_source, BOTH, MODERATE, FULL, BASIC},
    SHAPE("cwe135", characters_for_bytes, SLOTS, MODERATE),
    SHAPE("cwe131", header_forgotten, SLOTS, MODERATE),
    SHAPE_MAYBE("cwe788", loop_without_end, BOTH, FULL, BASIC),
    SHAPE_MAYBE("cwe129", index_from_outside, BOTH, DEBUG, BASIC),
};

const struct misuse_file misuse_length = {shapes, TSL_COUNT_OF(shapes)};
