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
    uint64_t pdpte[4];
    bool wp, nxe, pse, pge, smep, smap, user;
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
    for (unsigned i = 0; i < MODEL_CPUS; i++)
        tlb_reset(&model.cpu[i].tlb, model.mode == WALKER_32BIT ? 22 : 21);
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
    tlb_flush_all(&self->tlb, true);
}

void model_load_root(unsigned cpu, tsl_paddr root)
{
    struct cpu *self = &model.cpu[cpu];
    self->root = root;
    if (model.mode == WALKER_PAE) {
        struct walker_machine machine = machine_of(self, read_table);
        for (unsigned i = 0; i < 4; i++)
            self->pdpte[i] = read_table((root & ~UINT64_C(31)) + i * 8u, 8);
        if (!walker_pdptes_valid(&machine, self->pdpte))
            COUNT(reserved);
    }
    tlb_flush_all(&self->tlb, !self->pge);
}

tsl_paddr model_root(unsigned cpu)
{
    return model.cpu[cpu].root;
}

void model_flush_page(unsigned cpu, uint64_t address)
{
    tlb_flush_page(&model.cpu[cpu].tlb, address);
}

void model_flush_all(unsigned cpu, bool global_too)
{
    tlb_flush_all(&model.cpu[cpu].tlb, global_too);
}

static bool allowed(const struct cpu *self, const struct walker_page *page,
                    enum model_access access)
{
    if (self->user && !page->rights.user)
        return false;
    if (!self->user && page->rights.user) {
        if (access == MODEL_FETCH ? self->smep : self->smap)
            return false;
    }
    if (access == MODEL_FETCH)
        return page->rights.executable;
    if (access == MODEL_STORE && !page->rights.writable)
        return !self->user && !self->wp;
    return true;
}

/* Accessed at each level in memory, dirty at the last. PAE root entries have no such bits. */
static void mark(const struct walker_page *page, enum model_access access)
{
    for (unsigned i = 0; i < page->depth; i++) {
        bool is_last = i + 1u == page->depth;
        uint32_t bits = 0x20u | (is_last && access == MODEL_STORE ? 0x40u : 0u);
        uint32_t *low = host_ram_at(page->entry_at[i]);
        if (page->entry_at[i] != 0 && (tsl_atomic_load_u32(low) & bits) != bits)
            (void)tsl_atomic_or_u32(low, bits);
    }
}

static bool grants_no_more(const struct walker_rights *a, const struct walker_rights *b)
{
    return a->writable <= b->writable && a->user <= b->user && a->executable <= b->executable;
}

static void judge_hit(const struct cpu *self, const struct walker_page *hit, uint64_t address)
{
    struct walker_machine machine = machine_of(self, read_quietly);
    struct walker_page now;
    enum walker_result result = walker_translate(&machine, self->root, self->pdpte, address, &now);
    COUNT(hits);
    bool holds = result == WALKER_OK &&
                 now.target + (address - now.start) == hit->target + (address - hit->start) &&
                 grants_no_more(&hit->rights, &now.rights);
    if (!holds)
        COUNT(stale_hits);
}

static enum walker_result walk(struct cpu *self, uint64_t address, struct walker_page *out)
{
    struct walker_machine machine = machine_of(self, read_table);
    const struct tlb_way *way = tlb_find_way(&self->tlb, address);
    if (way == NULL)
        return walker_translate(&machine, self->root, self->pdpte, address, out);
    memset(out, 0, sizeof(*out));
    return walker_last_step(&machine, way->table, way->rights, address, out);
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

/* A protection fault drops the cached translation, as on hardware: the next try walks again. */
static enum model_result translate(struct cpu *self, uint64_t address, enum model_access access,
                                   struct walker_page *out)
{
    const struct walker_page *hit = tlb_find(&self->tlb, address);
    /* The first store to a page known as clean walks again, to set the dirty bit. */
    if (hit != NULL && !(access == MODEL_STORE && !hit->dirty) && allowed(self, hit, access)) {
        judge_hit(self, hit, address);
        *out = *hit;
        return MODEL_OK;
    }
    enum model_result result = fault_of(walk(self, address, out));
    if (result == MODEL_OK && !allowed(self, out, access))
        result = MODEL_PROTECTION;
    if (result != MODEL_OK) {
        tlb_flush_page(&self->tlb, address);
        return result;
    }
    mark(out, access);
    out->accessed = true;
    out->dirty = out->dirty || access == MODEL_STORE;
    tlb_insert(&self->tlb, out);
    return MODEL_OK;
}

void model_speculate(unsigned cpu, uint64_t address)
{
    struct walker_page page;
    struct cpu *self = &model.cpu[cpu];
    if (walk(self, address, &page) != WALKER_NOT_CANONICAL)
        tlb_insert_way(&self->tlb, address, &page);
}

enum model_result model_reach(unsigned cpu, uint64_t address, enum model_access access, void **out)
{
    struct walker_page page;
    COUNT(accesses);
    enum model_result result = translate(&model.cpu[cpu], address, access, &page);
    if (result != MODEL_OK)
        return result;
    tsl_paddr physical = page.target + (address - page.start);
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

void model_counters(struct model_counters *out)
{
    *out = model.counters;
}
