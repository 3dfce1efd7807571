/* SPDX-License-Identifier: MIT
 *
 * model_cpu.c: how a model CPU gets from an address to simulated RAM.
 *
 * Owns:    see model_cpu.h.
 * Needs:   tlb.c, walker.c, ram.c.
 * Callers: see model_cpu.h.
 */
#include <host/model_cpu.h>

#include <host/ram.h>
#include <host/walker.h>
#include <string.h>
#include <tesela/atomic.h>

#include "tlb.h"

struct cpu {
    tsl_paddr root;
    unsigned pcid; /* of the root; 0 without CR4.PCIDE */
    uint64_t pdpte[4];
    bool wp, nxe, pse, pge, smep, smap, pcide;
    bool user, ac; /* ring 3; EFLAGS.AC */
    struct model_fault fault;
    struct tlb tlb;
};

static struct {
    struct model_config config;
    enum walker_mode mode;
    struct model_counters counters;
    struct cpu cpu[MODEL_CPUS];
} model;

#define COUNT(name) ((void)tsl_atomic_add(&model.counters.name, 1))

static uint64_t read_table(uint64_t address, unsigned bytes)
{
    const void *place = host_ram_at(address);
    uint64_t value = 0;
    if (place == NULL)
        return 0;
    if (model.config.frame_is_free != NULL && model.config.frame_is_free(address))
        COUNT(freed_tables);
    if (bytes == 8)
        return tsl_arch_entry_load64(place);
    value = tsl_atomic_load_u32(place);
    return value;
}

/* The comparison walk of a hit is not made by the CPU: it reads without counting. */
static uint64_t read_quietly(uint64_t address, unsigned bytes)
{
    const void *place = host_ram_at(address);
    if (place == NULL)
        return 0;
    return bytes == 8 ? tsl_arch_entry_load64(place) : tsl_atomic_load_u32(place);
}

static struct walker_machine machine_of(const struct cpu *cpu, uint64_t (*read)(uint64_t, unsigned))
{
    return (struct walker_machine){
        .mode = model.mode,
        .nxe = cpu->nxe,
        .pse = cpu->pse,
        .pge = cpu->pge,
        .pages_1g = model.config.features.pages_1g,
        .physical_bits = model.config.features.physical_bits,
        .read = read,
    };
}

static bool mode_named(const char *name, enum walker_mode *out)
{
    static const char *const names[] = {"2level", "pae", "4level", "5level"};
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum walker_mode)i;
            return true;
        }
    }
    return false;
}

bool model_reset(const struct model_config *config)
{
    if (!mode_named(config->format, &model.mode))
        return false;
    model.config = *config;
    memset(&model.counters, 0, sizeof(model.counters));
    memset(model.cpu, 0, sizeof(model.cpu));
    for (unsigned i = 0; i < MODEL_CPUS; i++) {
        tlb_reset(&model.cpu[i].tlb, model.mode == WALKER_32BIT ? 10 : 9);
        model.cpu[i].tlb.splinters = config->splinters;
    }
    return true;
}

const struct tsl_cpu_features *model_features(void)
{
    return &model.config.features;
}

void model_set_user(unsigned cpu, bool user)
{
    model.cpu[cpu].user = user;
}

void model_set_ac(unsigned cpu, bool ac)
{
    model.cpu[cpu].ac = ac;
}

void model_enable(unsigned cpu, const struct tsl_cpu_features *features)
{
    struct cpu *self = &model.cpu[cpu];
    const struct tsl_cpu_features *has = &model.config.features;
    self->wp = features->wp && has->wp;
    self->nxe = features->nx && has->nx;
    self->pse = features->pse && has->pse;
    self->pge = features->pge && has->pge;
    self->smep = features->smep && has->smep;
    self->smap = features->smap && has->smap;
    tlb_flush_all(&self->tlb, TLB_EVERY_PCID, true);
    /* Again (a feature that is on stays on): the PCID in use is no mistake. */
    if (features->pcid && !self->pcide)
        (void)model_set_pcide(cpu, true);
}

bool model_set_pcide(unsigned cpu, bool on)
{
    struct cpu *self = &model.cpu[cpu];
    bool is_long = model.mode == WALKER_4LEVEL || model.mode == WALKER_5LEVEL;
    if (on && (!is_long || !model.config.features.pcid || (self->root & 0xFFF) != 0))
        return false;
    if (self->pcide && !on) /* SDM 4.10.4.1: only this way round it flushes */
        tlb_flush_all(&self->tlb, TLB_EVERY_PCID, true);
    self->pcide = on;
    self->pcid = 0;
    return true;
}

void model_load_cr3(unsigned cpu, uint64_t value)
{
    struct cpu *self = &model.cpu[cpu];
    bool keeps = self->pcide && value >> 63 != 0;
    self->root = value & ~(UINT64_C(1) << 63);
    self->pcid = 0;
    if (self->pcide) {
        self->pcid = (unsigned)(value & 0xFFF);
        self->root &= ~UINT64_C(0xFFF);
    }
    if (model.mode == WALKER_PAE) {
        struct walker_machine machine = machine_of(self, read_table);
        for (unsigned i = 0; i < 4; i++)
            self->pdpte[i] = read_table((self->root & ~UINT64_C(31)) + i * 8u, 8);
        if (!walker_pdptes_valid(&machine, self->pdpte))
            COUNT(reserved);
    }
    if (!keeps)
        tlb_flush_all(&self->tlb, self->pcide ? self->pcid : TLB_EVERY_PCID, !self->pge);
}

bool model_invpcid(unsigned cpu, enum model_invpcid type, unsigned pcid, uint64_t address)
{
    struct cpu *self = &model.cpu[cpu];
    if (pcid > 0xFFF || (!self->pcide && pcid != 0 && type <= MODEL_INVPCID_SPACE))
        return false;
    switch (type) {
    case MODEL_INVPCID_PAGE:
        tlb_flush_page(&self->tlb, address, pcid, false);
        break;
    case MODEL_INVPCID_SPACE:
        tlb_flush_all(&self->tlb, pcid, false);
        break;
    case MODEL_INVPCID_EVERYTHING:
        tlb_flush_all(&self->tlb, TLB_EVERY_PCID, true);
        break;
    case MODEL_INVPCID_EVERY_SPACE:
        tlb_flush_all(&self->tlb, TLB_EVERY_PCID, false);
        break;
    }
    return true;
}

void model_load_root(unsigned cpu, tsl_paddr root)
{
    model_load_cr3(cpu, root);
}

tsl_paddr model_root(unsigned cpu)
{
    return model.cpu[cpu].root;
}

unsigned model_pcid(unsigned cpu)
{
    return model.cpu[cpu].pcid;
}

/* Do the tables show a larger page at the address? */
static bool is_in_large_page(const struct cpu *self, uint64_t address)
{
    struct walker_machine machine = machine_of(self, read_quietly);
    struct walker_page page;
    enum walker_result result = walker_translate(&machine, self->root, self->pdpte, address, &page);
    return result == WALKER_OK && page.bytes > 4096;
}

void model_flush_page(unsigned cpu, uint64_t address)
{
    struct cpu *self = &model.cpu[cpu];
    bool global_too = !(model.config.invlpg_spares_globals && self->pcide);
    tlb_flush_page(&self->tlb, address, self->pcid, global_too);
    if (model.config.splinters && is_in_large_page(self, address))
        tlb_flush_splinters(&self->tlb, address, self->pcid, global_too);
}

void model_flush_all(unsigned cpu, bool global_too)
{
    struct cpu *self = &model.cpu[cpu];
    /* A toggle of CR4.PGE, or a load of CR3 with what it holds. */
    tlb_flush_all(&self->tlb, global_too || !self->pcide ? TLB_EVERY_PCID : self->pcid, global_too);
}

/* SDM volume 3, 4.6.1. */
static bool allowed(const struct cpu *self, const struct walker_rights *rights,
                    enum model_access access)
{
    if (self->user && !rights->user)
        return false;
    if (!self->user && rights->user) {
        if (access == MODEL_FETCH ? self->smep : self->smap && !self->ac)
            return false;
    }
    if (access == MODEL_FETCH)
        return rights->executable;
    if (access == MODEL_STORE && !rights->writable)
        return !self->user && !self->wp;
    return true;
}

/* PAE root entries (no address) have no such bits. A frame may have gone meanwhile. */
static void mark_entry(uint64_t at, uint32_t bits)
{
    uint32_t *low = at != 0 ? host_ram_at(at) : NULL;
    if (low != NULL && (tsl_atomic_load_u32(low) & bits) != bits)
        (void)tsl_atomic_or_u32(low, bits);
}

/* Accessed at each level that was read, dirty at the last. */
static void mark(const struct walker_page *page, enum model_access access)
{
    for (unsigned i = 0; i < page->depth; i++)
        mark_entry(page->entry_at[i],
                   0x20u | (i + 1u == page->depth && access == MODEL_STORE ? 0x40u : 0u));
}

static bool grants_no_more(const struct walker_rights *a, const struct walker_rights *b)
{
    return a->writable <= b->writable && a->user <= b->user && a->executable <= b->executable;
}

/* Do the tables, read from the root, still say what was remembered? */
static void judge(const struct cpu *self, uint64_t physical, const struct walker_rights *rights,
                  uint64_t address)
{
    struct walker_machine machine = machine_of(self, read_quietly);
    struct walker_page now;
    enum walker_result result = walker_translate(&machine, self->root, self->pdpte, address, &now);
    bool holds = result == WALKER_OK && now.target + (address - now.start) == physical &&
                 grants_no_more(rights, &now.rights);
    if (!holds)
        COUNT(stale_hits);
}

/* `remembered`: the walk began below the root. */
static enum walker_result walk(struct cpu *self, uint64_t address, struct walker_page *out,
                               bool *remembered)
{
    struct walker_machine machine = machine_of(self, read_table);
    const struct walker_way *way = tlb_find_way(&self->tlb, address, self->pcid);
    *remembered = way != NULL;
    if (way == NULL)
        return walker_translate(&machine, self->root, self->pdpte, address, out);
    COUNT(way_hits);
    struct walker_way begin = *way;
    return walker_resume(&machine, &begin, address, out);
}

/* SDM volume 3, 4.7: the error code that is pushed, and CR2. */
static void note_fault(struct cpu *self, uint64_t address, enum model_access access,
                       enum model_result result)
{
    unsigned code = 0;
    if (result != MODEL_NOT_PRESENT)
        code |= MODEL_ERROR_PRESENT;
    if (access == MODEL_STORE)
        code |= MODEL_ERROR_WRITE;
    if (self->user)
        code |= MODEL_ERROR_USER;
    if (result == MODEL_RESERVED)
        code |= MODEL_ERROR_RESERVED;
    if (access == MODEL_FETCH && (self->smep || (self->nxe && model.mode != WALKER_32BIT)))
        code |= MODEL_ERROR_FETCH;
    self->fault = (struct model_fault){address, code};
}

static enum model_result fault_of(enum walker_result result)
{
    switch (result) {
    case WALKER_OK:
        return MODEL_OK;
    case WALKER_NOT_CANONICAL:
        return MODEL_NOT_CANONICAL;
    case WALKER_RESERVED:
        COUNT(reserved);
        return MODEL_RESERVED;
    default:
        return MODEL_NOT_PRESENT;
    }
}

/* Before a page of that size is used at the address, or remembered there. */
static void judge_size(const struct cpu *self, uint64_t address, uint64_t bytes,
                       enum model_access access)
{
    if (!tlb_has_other_size(&self->tlb, address, bytes, self->pcid))
        return;
    COUNT(two_sizes);
    if (access == MODEL_FETCH)
        COUNT(two_sizes_fetched);
}

/* A protection fault drops the cached translation, as on hardware: the next try walks again. */
static enum model_result translate(struct cpu *self, uint64_t address, enum model_access access,
                                   tsl_paddr *out)
{
    const struct tlb_page *hit = tlb_find(&self->tlb, address, self->pcid);
    /* The first store to a page known as clean walks again, to set the dirty bit. */
    if (hit != NULL && !(access == MODEL_STORE && !hit->dirty) &&
        allowed(self, &hit->rights, access)) {
        COUNT(hits);
        judge_size(self, address, hit->bytes, access);
        *out = hit->target + (address - hit->start);
        judge(self, *out, &hit->rights, address);
        return MODEL_OK;
    }
    struct walker_page page;
    bool remembered;
    enum model_result result = fault_of(walk(self, address, &page, &remembered));
    if (result == MODEL_OK && !allowed(self, &page.rights, access))
        result = MODEL_PROTECTION;
    if (result != MODEL_OK) {
        tlb_flush_page(&self->tlb, address, self->pcid, true);
        if (result != MODEL_NOT_CANONICAL)
            note_fault(self, address, access, result);
        return result;
    }
    *out = page.target + (address - page.start);
    if (remembered)
        judge(self, *out, &page.rights, address);
    judge_size(self, address, page.bytes, access);
    mark(&page, access);
    page.dirty = page.dirty || access == MODEL_STORE;
    tlb_insert(&self->tlb, address, &page, self->pcid);
    return MODEL_OK;
}

void model_speculate(unsigned cpu, uint64_t address)
{
    struct walker_page page;
    struct cpu *self = &model.cpu[cpu];
    bool remembered;
    enum walker_result result = walk(self, address, &page, &remembered);
    if (result == WALKER_NOT_CANONICAL)
        return;
    /* The tables whose ways are remembered are marked as accessed first (SDM 4.10.3.1); the entry
     * at the end, be it a page or absent, is not used. */
    for (unsigned i = 0; i + 1u < page.depth; i++)
        mark_entry(page.entry_at[i], 0x20u);
    tlb_insert_ways(&self->tlb, address, &page, self->pcid);
}

enum model_result model_reach(unsigned cpu, uint64_t address, enum model_access access, void **out)
{
    tsl_paddr physical = 0;
    COUNT(accesses);
    enum model_result result = translate(&model.cpu[cpu], address, access, &physical);
    if (result != MODEL_OK)
        return result;
    if (model.config.frame_is_free != NULL && model.config.frame_is_free(physical))
        COUNT(freed_frames);
    *out = host_ram_at(physical);
    return *out == NULL ? MODEL_NO_RAM : MODEL_OK;
}

static size_t in_page(uint64_t address, size_t bytes)
{
    size_t rest = TSL_PAGE_BYTES - (size_t)(address % TSL_PAGE_BYTES);
    return bytes < rest ? bytes : rest;
}

enum model_result model_load(unsigned cpu, uint64_t address, void *out, size_t bytes)
{
    char *to = out;
    while (bytes > 0) {
        void *place;
        size_t part = in_page(address, bytes);
        enum model_result result = model_reach(cpu, address, MODEL_LOAD, &place);
        if (result != MODEL_OK)
            return result;
        memcpy(to, place, part);
        to += part;
        address += part;
        bytes -= part;
    }
    return MODEL_OK;
}

enum model_result model_store(unsigned cpu, uint64_t address, const void *data, size_t bytes)
{
    const char *from = data;
    while (bytes > 0) {
        void *place;
        size_t part = in_page(address, bytes);
        enum model_result result = model_reach(cpu, address, MODEL_STORE, &place);
        if (result != MODEL_OK)
            return result;
        memcpy(place, from, part);
        from += part;
        address += part;
        bytes -= part;
    }
    return MODEL_OK;
}

enum model_result model_fetch(unsigned cpu, uint64_t address)
{
    void *place;
    return model_reach(cpu, address, MODEL_FETCH, &place);
}

struct model_fault model_last_fault(unsigned cpu)
{
    return model.cpu[cpu].fault;
}

void model_counters(struct model_counters *out)
{
    *out = model.counters;
}
