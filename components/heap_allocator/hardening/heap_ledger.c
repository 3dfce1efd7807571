/* SPDX-License-Identifier: MIT
 *
 * heap_ledger.c: who took each block, and who freed those that wait: entries by address.
 *
 * Owns:    the tree of entries and their serial numbers.
 * Needs:   base (tree); heap_guard.c (memory for entries).
 * Callers: heap_guard.c, heap_leaks.c, heap_leak_scan.c, heap_explain.c.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

#define FRAMES ((size_t)TSL_HEAP_SITE_FRAMES)
/* Return addresses inside the heap, before the caller's. */
#define OWN_FRAMES 8u

static struct heap_entry *entry_at(const struct tsl_tree_node *node)
{
    return TSL_CONTAINER_OF((struct tsl_tree_node *)(uintptr_t)node, struct heap_entry, node);
}

static const void *key_of(const struct tsl_tree_node *node)
{
    return &entry_at(node)->address;
}

static int compare(const void *key, const struct tsl_tree_node *node)
{
    uintptr_t wanted = *(const uintptr_t *)key, here = entry_at(node)->address;

    return (wanted > here) - (wanted < here);
}

static const struct tsl_tree_ops ledger_ops = {.key = key_of, .compare = compare};

void tsl_heap_ledger_init(struct tsl_heap *self)
{
    tsl_tree_init(&self->guard->ledger, &ledger_ops);
}

/* The stack from `site` on, which is where the heap was called. */
static void record_site(const struct tsl_heap *self, uintptr_t *out, uintptr_t site)
{
    uintptr_t stack[TSL_HEAP_SITE_FRAMES + OWN_FRAMES] = {0};
    size_t count = 0, from = 0;

    if (self->guard->trace != NULL)
        count = self->guard->trace(stack, TSL_COUNT_OF(stack));
    while (from < count && stack[from] != site)
        from++;
    memset(out, 0, FRAMES * sizeof *out);
    out[0] = site;
    for (size_t i = 1; i < FRAMES && from + i < count; i++)
        out[i] = stack[from + i];
}

struct heap_entry *tsl_heap_entry_new(struct tsl_heap *self, size_t bytes, unsigned flags,
                                      uintptr_t site)
{
    struct heap_entry *entry = tsl_heap_guard_memory(self, sizeof *entry, flags);
    if (entry == NULL)
        return NULL;
    *entry = (struct heap_entry){.bytes = bytes, .state = HEAP_ENTRY_LIVE};
    record_site(self, entry->taken_by, site);
    return entry;
}

void tsl_heap_ledger_add(struct tsl_heap *self, struct heap_entry *entry)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    entry->serial = ++self->guard->serial;
    enum tsl_status status = tsl_tree_insert(&self->guard->ledger, &entry->node);
    tsl_lock_release(&self->guard->lock, pin);
    TSL_ASSERT(status == TSL_OK); /* The core handed an address out twice. */
}

void tsl_heap_ledger_remove(struct tsl_heap *self, struct heap_entry *entry)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    tsl_tree_remove(&self->guard->ledger, &entry->node);
    tsl_lock_release(&self->guard->lock, pin);
    tsl_heap_guard_drop(self, entry);
}

static bool is_inside(const struct heap_entry *entry, uintptr_t address)
{
    return address - entry->address < entry->bytes + (entry->bytes == 0);
}

struct heap_entry *tsl_heap_ledger_inside(const struct tsl_heap *self, uintptr_t address)
{
    struct tsl_tree_node *node = tsl_tree_at_or_before(&self->guard->ledger, &address);

    return node != NULL && is_inside(entry_at(node), address) ? entry_at(node) : NULL;
}

struct heap_entry *tsl_heap_ledger_around(const struct tsl_heap *self, uintptr_t address)
{
    const struct tsl_tree *ledger = &self->guard->ledger;
    struct tsl_tree_node *node = tsl_tree_at_or_before(ledger, &address);
    struct heap_entry *entry = node == NULL ? NULL : entry_at(node);

    if (entry != NULL && is_inside(entry, address))
        return entry;
    /* Pages before a block are the block's too: they belong to an entry that begins later. */
    node =
        entry != NULL && entry->pages != 0 && address - entry->base < entry->pages << TSL_PAGE_SHIFT
            ? &entry->node
            : tsl_tree_lower_bound(ledger, &address);
    if (node == NULL)
        return NULL;
    entry = entry_at(node);
    return entry->pages != 0 && address - entry->base < entry->pages << TSL_PAGE_SHIFT ? entry
                                                                                       : NULL;
}

/* => locked. What the ledger says of an address; *out: the entry that it lies in. */
static enum tsl_status look(struct tsl_heap *self, uintptr_t address, struct heap_entry **out)
{
    *out = tsl_heap_ledger_around(self, address);
    if (*out == NULL)
        return TSL_NOT_FOUND;
    if ((*out)->address != address)
        return tsl_is_aligned(address, TSL_HEAP_ALIGN) ? TSL_INVALID : TSL_MISALIGNED;
    return (*out)->state == HEAP_ENTRY_LIVE ? TSL_OK : TSL_DOUBLE_FREE;
}

enum tsl_status tsl_heap_ledger_live(struct tsl_heap *self, uintptr_t address,
                                     struct heap_entry *seen)
{
    struct heap_entry *entry;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    enum tsl_status status = look(self, address, &entry);

    if (entry != NULL)
        *seen = *entry;
    tsl_lock_release(&self->guard->lock, pin);
    return status;
}

struct heap_entry *tsl_heap_ledger_find(struct tsl_heap *self, uintptr_t address)
{
    struct heap_entry *entry;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    enum tsl_status status = look(self, address, &entry);

    tsl_lock_release(&self->guard->lock, pin);
    return status == TSL_OK || status == TSL_DOUBLE_FREE ? entry : NULL;
}

struct heap_entry *tsl_heap_ledger_of(struct tsl_heap *self, uintptr_t start)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    struct heap_entry *entry = tsl_heap_ledger_around(self, start);

    tsl_lock_release(&self->guard->lock, pin);
    return entry;
}

void tsl_heap_ledger_mark_cache(struct tsl_heap *self, const struct tsl_heap_cache *cache)
{
    struct heap_entry *entry;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    if (look(self, (uintptr_t)cache, &entry) == TSL_OK)
        entry->is_cache = true;
    tsl_lock_release(&self->guard->lock, pin);
}

bool tsl_heap_ledger_object(struct tsl_heap *self, const struct tsl_heap_cache *cache,
                            struct heap_entry *seen)
{
    bool is_found = false;
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    struct tsl_tree_node *node = tsl_tree_first(&self->guard->ledger);

    for (; node != NULL && !is_found; node = tsl_tree_next(node)) {
        is_found = entry_at(node)->cache == cache;
        if (is_found)
            *seen = *entry_at(node);
    }
    tsl_lock_release(&self->guard->lock, pin);
    return is_found;
}

enum tsl_status tsl_heap_ledger_end(struct tsl_heap *self, uintptr_t address, uintptr_t site,
                                    struct heap_entry **out, struct heap_entry *seen)
{
    uintptr_t freed_by[TSL_HEAP_SITE_FRAMES];

    record_site(self, freed_by, site);
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    enum tsl_status status = look(self, address, out);
    if (status == TSL_OK) {
        (*out)->state = HEAP_ENTRY_ENDING;
        memcpy((*out)->freed_by, freed_by, sizeof freed_by);
    }
    if (*out != NULL)
        *seen = **out;
    tsl_lock_release(&self->guard->lock, pin);
    return status;
}

void tsl_heap_ledger_revive(struct tsl_heap *self, struct heap_entry *entry, size_t bytes)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    entry->state = HEAP_ENTRY_LIVE;
    entry->bytes = bytes;
    memset(entry->freed_by, 0, sizeof entry->freed_by);
    tsl_lock_release(&self->guard->lock, pin);
}

void tsl_heap_ledger_freed(struct tsl_heap *self, struct heap_entry *entry)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);

    entry->state = HEAP_ENTRY_FREED;
    tsl_lock_release(&self->guard->lock, pin);
}

/* => locked. What the block of an entry has for itself: pages without access aside. */
static size_t room_of(const struct tsl_heap *self, const struct heap_entry *entry)
{
    struct heap_spot spot;

    if (entry->pages != 0)
        return heap_pages_bytes(entry) - 2 * TSL_PAGE_BYTES;
    if (entry->cache != NULL)
        return entry->cache->class.block_bytes;
    return tsl_heap_locate(self, (const void *)entry->address, &spot) == TSL_OK ? spot.granted : 0;
}

void tsl_heap_ledger_sums(struct tsl_heap *self, uint64_t *asked, uint64_t *got)
{
    tsl_pin pin = tsl_lock_acquire(&self->guard->lock);
    struct tsl_tree_node *node = tsl_tree_first(&self->guard->ledger);

    *asked = *got = 0;
    for (; node != NULL; node = tsl_tree_next(node)) {
        const struct heap_entry *entry = entry_at(node);
        if (entry->state != HEAP_ENTRY_LIVE)
            continue;
        *asked += entry->bytes;
        *got += room_of(self, entry);
    }
    tsl_lock_release(&self->guard->lock, pin);
}

static void log_stack(const char *verb, const uintptr_t *frames)
{
    char line[TSL_LOG_LINE_BYTES];
    size_t used = tsl_format(line, sizeof line, "  %s", verb);

    for (size_t i = 0; i < FRAMES && frames[i] != 0 && used < sizeof line; i++)
        used += tsl_format(line + used, sizeof line - used, " %#zx", (size_t)frames[i]);
    tsl_log(TSL_LOG_WARNING, "%s", line);
}

/* More than the one address that the report has already. */
static bool has_stack(const uintptr_t *frames)
{
    return FRAMES > 1 && frames[FRAMES > 1] != 0;
}

void tsl_heap_log_stacks(const struct heap_entry *entry)
{
    if (has_stack(entry->taken_by))
        log_stack("taken at", entry->taken_by);
    if (has_stack(entry->freed_by))
        log_stack("freed at", entry->freed_by);
}
