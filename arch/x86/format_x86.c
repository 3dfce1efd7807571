/* SPDX-License-Identifier: MIT
 *
 * format_x86.c: encoding and decoding that all x86 table formats share.
 *
 * Owns:    the meaning of the common entry bits and of our cache types; the list of formats.
 * Needs:   format_x86.h.
 * Callers: the four format files.
 */
#include "format_x86.h"

#include <stddef.h>

#include <tesela/arch.h>
#include <tesela/config.h>

/* Index into the page-attribute table: bit 0 write-through, bit 1 cache-disable, bit 2 PAT. */
static unsigned cache_index(unsigned attributes, bool pat)
{
    switch (attributes & TSL_CACHE_MASK) {
    case TSL_CACHE_WRITE_BACK:
        return 0;
    case TSL_CACHE_WRITE_THROUGH:
        return 1;
    case TSL_CACHE_WRITE_COMBINING:
        return pat ? 4 : 3;
    default:
        return 3; /* uncached: also the safe reading of a type that we do not know */
    }
}

/* The cache type of each index under TSL_X86_PAT; 2 and 6 are "uncached unless an MTRR says so". */
static unsigned cache_type(unsigned index)
{
    static const unsigned type[8] = {
        TSL_CACHE_WRITE_BACK,      TSL_CACHE_WRITE_THROUGH, TSL_CACHE_UNCACHED, TSL_CACHE_UNCACHED,
        TSL_CACHE_WRITE_COMBINING, TSL_CACHE_WRITE_THROUGH, TSL_CACHE_UNCACHED, TSL_CACHE_UNCACHED};
    return type[index];
}

static uint64_t pat_bit(unsigned level)
{
    return level == 0 ? X86_PAT_SMALL : X86_PAT_LARGE;
}

uint64_t tsl_x86_leaf_bits(unsigned level, unsigned attributes, bool has_nx,
                           const struct tsl_cpu_features *features)
{
    uint64_t raw = X86_PRESENT;
    if (attributes & TSL_WRITE)
        raw |= X86_WRITABLE;
    if (attributes & TSL_USER)
        raw |= X86_USER;
    if ((attributes & TSL_GLOBAL) && features->pge)
        raw |= X86_GLOBAL;
    if (level > 0)
        raw |= X86_LARGE;
    if (!(attributes & TSL_EXEC))
        raw |= has_nx && features->nx ? X86_NO_EXECUTE : X86_SOFT_NO_EXECUTE;
    if ((attributes & TSL_ALLOW_WX) && (attributes & TSL_WRITE) && (attributes & TSL_EXEC))
        raw |= X86_SOFT_ALLOW_WX;

    unsigned index = cache_index(attributes, features->pat);
    if (index & 1u)
        raw |= X86_WRITE_THROUGH;
    if (index & 2u)
        raw |= X86_CACHE_DISABLE;
    if (index & 4u)
        raw |= pat_bit(level);
    return raw;
}

void tsl_x86_decode_leaf(unsigned level, uint64_t raw, bool has_nx,
                         const struct tsl_cpu_features *features, struct tsl_table_entry *out)
{
    uint64_t no_execute = has_nx && features->nx ? X86_NO_EXECUTE : X86_SOFT_NO_EXECUTE;
    unsigned index = (raw & X86_WRITE_THROUGH ? 1u : 0u) | (raw & X86_CACHE_DISABLE ? 2u : 0u);
    if (features->pat && (raw & pat_bit(level)))
        index |= 4u;

    out->leaf = true;
    out->accessed = (raw & X86_ACCESSED) != 0;
    out->dirty = (raw & X86_DIRTY) != 0;
    out->attributes = TSL_READ | cache_type(index);
    if (raw & X86_WRITABLE)
        out->attributes |= TSL_WRITE;
    if (!(raw & no_execute))
        out->attributes |= TSL_EXEC;
    if (raw & X86_USER)
        out->attributes |= TSL_USER;
    if (raw & X86_GLOBAL)
        out->attributes |= TSL_GLOBAL;
    if (raw & X86_SOFT_ALLOW_WX)
        out->attributes |= TSL_ALLOW_WX;
}

uint64_t tsl_x86_encode_table(unsigned level, tsl_paddr table, bool user)
{
    (void)level;
    /* Rights are the AND over all levels: the tables allow all, the leaf decides. */
    return table | X86_PRESENT | X86_WRITABLE | (user ? X86_USER : 0);
}

uint64_t tsl_x86_encode_leaf8(unsigned level, tsl_paddr target, unsigned attributes,
                              const struct tsl_cpu_features *features)
{
    return target | tsl_x86_leaf_bits(level, attributes, true, features);
}

/* Bits of an 8-byte entry that this CPU demands to be zero. */
static uint64_t reserved8(const struct tsl_cpu_features *features)
{
    unsigned width = features->physical_bits < 52 ? features->physical_bits : 52;
    uint64_t address_above = X86_ADDRESS_8 & ~((UINT64_C(1) << width) - 1u);
    return address_above | (features->nx ? 0 : X86_NO_EXECUTE);
}

void tsl_x86_decode8(unsigned level, uint64_t raw, const struct tsl_cpu_features *features,
                     unsigned highest_leaf, struct tsl_table_entry *out)
{
    *out = (struct tsl_table_entry){.present = (raw & X86_PRESENT) != 0};
    if (!out->present)
        return;
    out->user = (raw & X86_USER) != 0;
    out->target = raw & X86_ADDRESS_8;
    out->reserved = (raw & reserved8(features)) != 0;
    if (level == 0) {
        tsl_x86_decode_leaf(level, raw, true, features, out);
        return;
    }
    if (!(raw & X86_LARGE))
        return;
    if (level > highest_leaf) {
        out->reserved = true;
        return;
    }
    /* Between the PAT bit and the page size the address bits must be zero. */
    uint64_t low = (UINT64_C(1) << (12u + 9u * level)) - 1u;
    if (raw & X86_ADDRESS_8 & low & ~X86_PAT_LARGE)
        out->reserved = true;
    out->target &= ~low;
    tsl_x86_decode_leaf(level, raw, true, features, out);
}

uint64_t tsl_x86_with_history(uint64_t raw, bool accessed, bool dirty)
{
    raw &= ~(X86_ACCESSED | X86_DIRTY);
    return raw | (accessed ? X86_ACCESSED : 0) | (dirty ? X86_DIRTY : 0);
}

/*
 * The list without holes: the n-th of the formats that are compiled in, as constant expressions,
 * so that an absent one is not even named in the object file.
 */
#define FIRST_2LEVEL (TSL_TABLE_2LEVEL ? &tsl_table_format_2level : NULL)
#define FIRST_PAE    (TSL_TABLE_PAE ? &tsl_table_format_pae : FIRST_2LEVEL)
#define FIRST_4LEVEL (TSL_TABLE_4LEVEL ? &tsl_table_format_4level : FIRST_PAE)
#define FIRST_5LEVEL (TSL_TABLE_5LEVEL ? &tsl_table_format_5level : FIRST_4LEVEL)

#define SECOND_PAE    (TSL_TABLE_PAE ? FIRST_2LEVEL : NULL)
#define SECOND_4LEVEL (TSL_TABLE_4LEVEL ? FIRST_PAE : SECOND_PAE)
#define SECOND_5LEVEL (TSL_TABLE_5LEVEL ? FIRST_4LEVEL : SECOND_4LEVEL)

#define THIRD_4LEVEL (TSL_TABLE_4LEVEL ? SECOND_PAE : NULL)
#define THIRD_5LEVEL (TSL_TABLE_5LEVEL ? SECOND_4LEVEL : THIRD_4LEVEL)

#define FOURTH_5LEVEL (TSL_TABLE_5LEVEL ? THIRD_4LEVEL : NULL)

const struct tsl_table_format *const tsl_arch_formats[] = {
    FIRST_5LEVEL, SECOND_5LEVEL, THIRD_5LEVEL, FOURTH_5LEVEL, NULL,
};
