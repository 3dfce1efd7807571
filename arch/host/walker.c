/* SPDX-License-Identifier: MIT
 *
 * walker.c: an independent reader of all four kinds of x86 page tables.
 *
 * Owns:    see walker.h. Numbers are written out as the manuals' tables have them, on purpose.
 * Needs:   nothing of Tesela.
 * Callers: see walker.h.
 */
#include <host/walker.h>

#include <stddef.h>
#include <string.h>

static bool bit(uint64_t value, unsigned number)
{
    return (value >> number) & 1u;
}

/* Bits high..low of a value, in place. */
static uint64_t field(uint64_t value, unsigned high, unsigned low)
{
    return value & ((~UINT64_C(0) >> (63u - high)) & (~UINT64_C(0) << low));
}

/* SDM table 4-20: in every 8-byte entry bits 51..M are reserved, bit 63 too unless NXE. */
static bool reserved_long(const struct walker_machine *machine, uint64_t entry)
{
    if (!machine->nxe && bit(entry, 63))
        return true;
    return machine->physical_bits < 52 && field(entry, 51, machine->physical_bits) != 0;
}

static void narrow(struct walker_rights *rights, uint64_t entry, bool nxe)
{
    rights->writable = rights->writable && bit(entry, 1);
    rights->user = rights->user && bit(entry, 2);
    rights->executable = rights->executable && !(nxe && bit(entry, 63));
}

static unsigned cache_index(uint64_t entry, unsigned pat_bit)
{
    return (unsigned)bit(entry, 3) + 2u * bit(entry, 4) + 4u * bit(entry, pat_bit);
}

static void finish(const struct walker_machine *machine, uint64_t entry, unsigned pat_bit,
                   uint64_t target, uint64_t bytes, uint64_t linear, struct walker_page *out)
{
    out->target = target;
    out->bytes = bytes;
    out->start = linear - linear % bytes;
    out->global = machine->pge && bit(entry, 8);
    out->accessed = bit(entry, 5);
    out->dirty = bit(entry, 6);
    out->cache_index = cache_index(entry, pat_bit);
}

static uint64_t read_entry(const struct walker_machine *machine, uint64_t at, unsigned bytes,
                           struct walker_page *out)
{
    out->entry_at[out->depth++] = at;
    return machine->read(at, bytes);
}

/* Down to a table below the root. */
static void note_way(struct walker_page *out, uint64_t table, unsigned shift,
                     struct walker_rights rights)
{
    out->way[out->ways++] = (struct walker_way){table, shift, rights};
}

static enum walker_result last_step(const struct walker_machine *machine, uint64_t table,
                                    struct walker_rights above, uint64_t linear,
                                    struct walker_page *out)
{
    bool wide = machine->mode != WALKER_32BIT;
    uint64_t index = wide ? field(linear, 20, 12) >> 12 : field(linear, 21, 12) >> 12;
    note_way(out, table, 12, above);
    uint64_t entry = read_entry(machine, table + index * (wide ? 8u : 4u), wide ? 8 : 4, out);
    if (!bit(entry, 0))
        return WALKER_NOT_PRESENT;
    if (wide && reserved_long(machine, entry))
        return WALKER_RESERVED;
    out->rights = above;
    narrow(&out->rights, entry, wide && machine->nxe);
    finish(machine, entry, 7, wide ? field(entry, 51, 12) : field(entry, 31, 12), 4096, linear,
           out);
    return WALKER_OK;
}

static const struct walker_rights everything = {true, true, true};

/* SDM 4.3: CR3 -> page directory (bits 31..22) -> page table (21..12). */
static enum walker_result walk_32bit(const struct walker_machine *machine, uint64_t cr3,
                                     uint64_t linear, struct walker_page *out)
{
    struct walker_rights rights = everything;
    uint64_t at = field(cr3, 31, 12) + (field(linear, 31, 22) >> 22) * 4u;
    uint64_t entry = read_entry(machine, at, 4, out);
    if (!bit(entry, 0))
        return WALKER_NOT_PRESENT;
    narrow(&rights, entry, false);
    if (!(machine->pse && bit(entry, 7)))
        return last_step(machine, field(entry, 31, 12), rights, linear, out);
    if (field(entry, 21, 13) != 0) /* no PSE-36: all of 21..13 are reserved */
        return WALKER_RESERVED;
    out->rights = rights;
    finish(machine, entry, 12, field(entry, 31, 22), UINT64_C(4) << 20, linear, out);
    return WALKER_OK;
}

/* One level of 8-byte entries above the last. `shift`: of its index; `leaf`: may it map a page? */
static enum walker_result step_long(const struct walker_machine *machine, uint64_t *table,
                                    struct walker_rights *rights, unsigned shift, bool leaf,
                                    uint64_t linear, struct walker_page *out)
{
    uint64_t index = (linear >> shift) & 511u;
    uint64_t entry = read_entry(machine, *table + index * 8u, 8, out);
    out->bytes = 0;
    if (!bit(entry, 0))
        return WALKER_NOT_PRESENT;
    if (reserved_long(machine, entry) || (bit(entry, 7) && !leaf))
        return WALKER_RESERVED;
    narrow(rights, entry, machine->nxe);
    *table = field(entry, 51, 12);
    if (!bit(entry, 7))
        return WALKER_OK;
    if (field(entry, shift - 1u, 13) != 0)
        return WALKER_RESERVED;
    out->rights = *rights;
    finish(machine, entry, 12, field(entry, 51, shift), UINT64_C(1) << shift, linear, out);
    return WALKER_OK;
}

/* SDM table 4-8: a present PDPTE has bits 2..1, 8..5 and 63..M reserved. */
static bool pdpte_reserved(const struct walker_machine *machine, uint64_t entry)
{
    return field(entry, 2, 1) != 0 || field(entry, 8, 5) != 0 ||
           field(entry, 63, machine->physical_bits) != 0;
}

bool walker_pdptes_valid(const struct walker_machine *machine, const uint64_t pdpte[4])
{
    for (unsigned i = 0; i < 4; i++)
        if (bit(pdpte[i], 0) && pdpte_reserved(machine, pdpte[i]))
            return false;
    return true;
}

/* SDM 4.4: PDPTE (bits 31..30) -> page directory (29..21) -> page table (20..12). */
static enum walker_result walk_pae(const struct walker_machine *machine, uint64_t cr3,
                                   const uint64_t pdpte[4], uint64_t linear,
                                   struct walker_page *out)
{
    struct walker_rights rights = everything;
    unsigned index = (unsigned)(field(linear, 31, 30) >> 30);
    uint64_t entry;
    if (pdpte != NULL) {
        entry = pdpte[index];
        out->entry_at[out->depth++] = 0;
    } else {
        entry = read_entry(machine, field(cr3, 31, 5) + index * 8u, 8, out);
    }
    if (!bit(entry, 0))
        return WALKER_NOT_PRESENT;
    if (pdpte_reserved(machine, entry))
        return WALKER_RESERVED;
    uint64_t table = field(entry, 51, 12);
    enum walker_result result = step_long(machine, &table, &rights, 21, true, linear, out);
    if (result != WALKER_OK || out->bytes != 0)
        return result;
    return last_step(machine, table, rights, linear, out);
}

/* SDM 4.5: PML5 (56..48) -> PML4 (47..39) -> PDPT (38..30) -> PD (29..21) -> PT (20..12). */
static enum walker_result walk_long(const struct walker_machine *machine, uint64_t cr3,
                                    const struct walker_way *way, uint64_t linear,
                                    struct walker_page *out)
{
    unsigned top = machine->mode == WALKER_5LEVEL ? 48 : 39;
    uint64_t sign = linear >> (top + 8u);
    if (sign != 0 && sign != ~UINT64_C(0) >> (top + 8u))
        return WALKER_NOT_CANONICAL;
    struct walker_rights rights = way != NULL ? way->rights : everything;
    uint64_t table = way != NULL ? way->table : field(cr3, 51, 12);
    for (unsigned shift = way != NULL ? way->shift : top; shift >= 21; shift -= 9) {
        if (shift != top)
            note_way(out, table, shift, rights);
        bool leaf = shift == 21 || (shift == 30 && machine->pages_1g);
        enum walker_result result = step_long(machine, &table, &rights, shift, leaf, linear, out);
        if (result != WALKER_OK || out->bytes != 0)
            return result;
    }
    return last_step(machine, table, rights, linear, out);
}

enum walker_result walker_resume(const struct walker_machine *machine, const struct walker_way *way,
                                 uint64_t linear, struct walker_page *out)
{
    memset(out, 0, sizeof(*out));
    if (way->shift == 12)
        return last_step(machine, way->table, way->rights, linear, out);
    return walk_long(machine, 0, way, linear, out);
}

enum walker_result walker_translate(const struct walker_machine *machine, uint64_t cr3,
                                    const uint64_t pdpte[4], uint64_t linear,
                                    struct walker_page *out)
{
    memset(out, 0, sizeof(*out));
    if (machine->mode == WALKER_4LEVEL || machine->mode == WALKER_5LEVEL)
        return walk_long(machine, cr3, NULL, linear, out);
    if (linear >> 32 != 0)
        return WALKER_NOT_CANONICAL;
    if (machine->mode == WALKER_PAE)
        return walk_pae(machine, cr3, pdpte, linear, out);
    return walk_32bit(machine, cr3, linear, out);
}
