/* SPDX-License-Identifier: MIT
 *
 * space_verify.c: the rules of a space, checked; and a picture of it for people.
 *
 * Owns:    nothing; reads only, allocates nothing; verify prints nothing.
 * Needs:   page_table (next), region.h, slots.h.
 * Callers: tests, the monitor.
 *
 * Numbers V1 to V11 are in README.md.
 */
#include "space_internal.h"

#define COMPONENT "space"

/* V11. */
static struct tsl_defect untouched(size_t page)
{
    return tsl_defect_at(COMPONENT, 11, tsl_space_address(page),
                         "a region that no fault has been in has no entry and nothing private");
}

/* V3: what is in the layer belongs to a private region. */
static struct tsl_defect verify_layer(struct tsl_space *self)
{
    size_t page = 0;
    tsl_slot slot;
    for (; tsl_slots_next(&self->layer, page, self->regions.end, &page, &slot); page++) {
        const struct tsl_region *region = tsl_regions_from(&self->regions, page);
        if (!region || region->start > page || !tsl_region_is_private(region))
            return tsl_defect_at(COMPONENT, 3, tsl_space_address(page),
                                 "private contents lie in a private region");
        if (!region->is_touched)
            return untouched(page);
    }
    return TSL_NO_DEFECT;
}

/* Where the entry for this page has to lead, and whether it may be writable. */
static bool expected_target(const struct tsl_space *self, const struct tsl_region *region,
                            size_t page, tsl_paddr *target, bool *may_write)
{
    bool is_private = tsl_region_is_private(region);
    tsl_slot slot = is_private ? tsl_slots_get(&self->layer, page) : 0;
    *may_write = !is_private;
    if (tsl_slot_type_of(slot) == TSL_SLOT_FRAME) {
        *may_write = tsl_slots_is_exclusive(&self->layer, page) &&
                     tsl_vm_is_alone(self->vm, tsl_vm_frame_of(slot));
    } else if (!slot && region->object) {
        size_t index = region->object_page + (page - region->start);
        if (tsl_object_is_in_place(region->object))
            return tsl_object_target(region->object, index, target) == TSL_OK;
        slot = tsl_slots_get(&region->object->slots, index);
    } else if (!slot || tsl_slot_type_of(slot) == TSL_SLOT_ZERO) {
        *target = tsl_frame_address(self->vm->zero);
        return true;
    }
    *target = tsl_frame_address(tsl_vm_frame_of(slot));
    return tsl_slot_type_of(slot) == TSL_SLOT_FRAME;
}

/* V4, V5, V11: an entry shows what the slots say, with no right too many. */
static struct tsl_defect verify_entry(struct tsl_space *self, const struct tsl_mapping *entry)
{
    size_t page = entry->start >> TSL_PAGE_SHIFT;
    const struct tsl_region *region = tsl_regions_from(&self->regions, page);
    tsl_paddr target;
    bool may_write;
    if (!region || region->start > page || entry->bytes != TSL_PAGE_BYTES ||
        !expected_target(self, region, page, &target, &may_write) || target != entry->target)
        return tsl_defect_at(COMPONENT, 4, entry->start,
                             "an entry lies in a region and leads where the slots say");
    if (!region->is_touched)
        return untouched(page);
    unsigned rights = entry->attributes & (TSL_WRITE | TSL_EXEC);
    if (rights & ~region->rights || !(region->rights & TSL_READ) ||
        (rights & TSL_WRITE && !may_write))
        return tsl_defect_at(COMPONENT, 5, entry->start,
                             "an entry has no right that its region lacks, and writes to no page "
                             "that others see");
    return TSL_NO_DEFECT;
}

/* V7: the frame counts the entry; who alone writes to a page is its owner. */
static struct tsl_defect verify_frame(struct tsl_space *self, const struct tsl_mapping *entry)
{
    struct tsl_frame frame = tsl_frame_of(entry->target);
    size_t page = entry->start >> TSL_PAGE_SHIFT;
    tsl_slot slot = tsl_slots_get(&self->layer, page);
    struct tsl_frame_descriptor *descriptor = tsl_descriptor_of(self->vm->config.frames, frame);
    const struct tsl_region *region = tsl_regions_from(&self->regions, page);
    bool is_in_place = region->object && tsl_object_is_in_place(region->object);
    if (is_in_place || frame.number == self->vm->zero.number || !descriptor ||
        tsl_descriptor_state(descriptor) != TSL_FRAME_PAGE)
        return TSL_NO_DEFECT;
    bool is_own = slot == tsl_vm_slot_of(frame) && entry->attributes & TSL_WRITE;
    if (tsl_descriptor_maps(descriptor) == 0 ||
        (is_own && (descriptor->as.page.owner != &self->layer ||
                    descriptor->as.page.index != (uint32_t)page)))
        return tsl_defect_at(COMPONENT, 7, entry->start,
                             "a frame counts the entries that lead to it, and knows its owner");
    return TSL_NO_DEFECT;
}

static struct tsl_defect verify_entries(struct tsl_space *self)
{
    struct tsl_mapping entry;
    struct tsl_defect defect = TSL_NO_DEFECT;
    /* A kernel half that is shown is no space's. */
    tsl_vaddr last = self->table.shown ? self->vm->config.format->user_last : ~(tsl_vaddr)0;
    for (tsl_vaddr at = 0; !defect.rule && tsl_table_next(&self->table, at, last, &entry);
         at = entry.start + entry.bytes) {
        defect = verify_entry(self, &entry);
        if (!defect.rule)
            defect = verify_frame(self, &entry);
    }
    return defect;
}

/* V6, V8: what is charged is what the regions say, and no region has a right above its maximum. */
static struct tsl_defect verify_charges(const struct tsl_space *self)
{
    size_t charged = 0, locked = 0;
    for (const struct tsl_tree_node *node = tsl_tree_first(&self->regions.tree); node;
         node = tsl_tree_next(node)) {
        const struct tsl_region *region = tsl_region_of(node);
        bool writes = tsl_region_is_private(region) && region->rights & TSL_WRITE;
        if (region->rights & ~region->maximum || (writes && !(region->flags & REGION_CHARGED)))
            return tsl_defect_at(COMPONENT, 6, tsl_space_address(region->start),
                                 "rights are within the maximum, and private writable pages are "
                                 "charged");
        if (region->flags & REGION_CHARGED)
            charged += region->pages;
        if (region->flags & TSL_SPACE_LOCKED)
            locked += region->pages;
    }
    if (locked != self->locked)
        return tsl_defect_at(COMPONENT, 8, locked, "as many pages are locked as regions say");
    if (charged != self->committed || charged > tsl_atomic_load(&self->vm->committed))
        return tsl_defect_at(COMPONENT, 6, charged,
                             "as many pages are charged as charged regions have");
    return TSL_NO_DEFECT;
}

/* V9: what is pinned through this space is there, and counted. */
static struct tsl_defect verify_pins(const struct tsl_space *self)
{
    size_t pins = 0;
    struct tsl_defect defect = tsl_tree_verify(&self->pinned);
    for (const struct tsl_tree_node *node = tsl_tree_first(&self->pinned); !defect.rule && node;
         node = tsl_tree_next(node)) {
        const struct space_pinned *pinned = TSL_CONTAINER_OF(node, const struct space_pinned, node);
        const struct tsl_frame_descriptor *descriptor =
            tsl_descriptor_of(self->vm->config.frames, (struct tsl_frame){pinned->frame});
        bool is_page = descriptor && tsl_descriptor_state(descriptor) == TSL_FRAME_PAGE;
        pins += pinned->count;
        if (!is_page || pinned->count == 0 || tsl_descriptor_pins(descriptor) < pinned->count ||
            tsl_descriptor_references(descriptor) < pinned->count)
            return tsl_defect_at(COMPONENT, 9, pinned->frame, "a pinned frame counts its pins");
    }
    if (defect.rule || pins != self->pins)
        return tsl_defect_at(COMPONENT, 9, pins, "the pins of a space are those of its frames");
    return TSL_NO_DEFECT;
}

/* V10: below a stack is its gap, or as much of it as there is room for. */
static struct tsl_defect verify_stacks(const struct tsl_space *self)
{
    for (const struct tsl_tree_node *node = tsl_tree_first(&self->regions.tree); node;
         node = tsl_tree_next(node)) {
        const struct tsl_region *region = tsl_region_of(node);
        if (region->most_pages && region->guard_below < SPACE_STACK_GAP && region->gap_below > 0)
            return tsl_defect_at(COMPONENT, 10, tsl_space_address(region->start),
                                 "a stack has its whole gap, or all the room there is");
    }
    return TSL_NO_DEFECT;
}

static struct tsl_defect verify_parts(struct tsl_space *self)
{
    struct tsl_defect defect = tsl_regions_verify(&self->regions);
    if (defect.rule)
        return tsl_defect_at(COMPONENT, 1, defect.place, defect.sentence);
    defect = tsl_slots_verify(&self->layer);
    if (defect.rule)
        return tsl_defect_at(COMPONENT, 2, defect.place, defect.sentence);
    return verify_layer(self);
}

struct tsl_defect tsl_space_verify(struct tsl_space *self)
{
    struct tsl_defect defect = verify_parts(self);
    if (!defect.rule)
        defect = verify_entries(self);
    if (!defect.rule)
        defect = verify_charges(self);
    if (!defect.rule)
        defect = verify_pins(self);
    return defect.rule ? defect : verify_stacks(self);
}

static void dump_region(const struct tsl_region_info *info, const struct tsl_sink *sink)
{
    static const char *const kinds[] = {"memory object", "device", "pager",
                                        "memory of the kernel"};
    char size[16];
    tsl_format_bytes(size, sizeof(size), info->bytes);
    tsl_print(sink, "  %p..%p  %10s  %c%c%c %s", (void *)info->start,
              (void *)(info->start + info->bytes - 1), size, info->rights & TSL_READ ? 'r' : '-',
              info->rights & TSL_WRITE ? 'w' : '-', info->rights & TSL_EXEC ? 'x' : '-',
              info->flags & TSL_SPACE_SHARED ? "shared" : "private");
    if (info->object)
        tsl_print(sink, ", %s from page %zu on", kinds[info->object->config.kind],
                  info->object_page);
    tsl_print(sink, "%s%s%s\n", info->flags & TSL_SPACE_GROWS_DOWN ? ", stack" : "",
              info->flags & TSL_SPACE_NO_COPY ? ", not copied" : "",
              info->flags & TSL_SPACE_LOCKED ? ", locked" : "");
}

void tsl_space_dump(struct tsl_space *self, const struct tsl_sink *sink)
{
    struct tsl_region_info info;
    struct tsl_space_stats stats;
    tsl_space_stats(self, &stats);
    tsl_print(sink, "space: %zu regions, %zu pages; %zu committed, %zu locked\n", stats.regions,
              stats.pages, stats.committed, stats.locked);
    for (tsl_vaddr at = 0; tsl_space_next(self, at, &info); at = info.start + info.bytes)
        dump_region(&info, sink);
}
