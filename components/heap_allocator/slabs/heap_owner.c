/* SPDX-License-Identifier: MIT
 *
 * heap_owner.c: slabs that belong to a CPU: how a CPU begins and ends to own some, how others free
 * into them, and how all of them come back.
 *
 * Owns:    struct heap_cpu of each CPU, run->state, run->remote, the stacks of slabs to look at.
 * Needs:   base (call.h, cpu.h), heap_pool.c, heap_slab.c, heap_source.c, heap_record.c.
 * Callers: the other files, behind HEAP_HAS_OWNERS; with one CPU nothing of it is linked.
 *
 * A free by another CPU. It announces itself in run->state, sets its bit in run->remote, and if it
 * was the first to announce pushes the slab on the owner's stack. Only the owner merges, only what
 * it took off its stack, and it clears HEAP_QUEUED only when it has seen as many bits as were
 * announced. So whoever announced is done with the record before the slab can become empty, and no
 * bit is left behind without a place on a stack.
 *
 * Owners change: a CPU gives slabs to the centre without the lock (run->owner, then the centre's
 * stack), the centre to a CPU under it. A slab may so lie on the stack of a former owner: whoever
 * takes it off there passes it on. Whoever pushes on the stack of a CPU that has just left takes
 * the stack over, so nothing stays behind.
 */
#include <string.h>

#include "../heap_allocator_internal.h"

/* CPUs own slabs in a heap that is at least so many times what they need for that. */
#define CPU_SHARE 16u

#define ANNOUNCEMENTS (HEAP_HELD - HEAP_ANNOUNCED)

static tsl_word nobodys_bits;

struct heap_pool tsl_heap_no_pool = {.last_run = &tsl_heap_nowhere};

struct heap_cpu tsl_heap_nobody = {
    .pools = {[0 ... HEAP_POOLS] = {.word = &nobodys_bits, .cpu = HEAP_CENTRE}},
    .last_pool = &tsl_heap_no_pool};

static struct heap_cpu *cpu_of(struct tsl_heap *self, const struct heap_pool *pool)
{
    return pool->cpu == HEAP_CENTRE ? &self->centre
                                    : TSL_ATOMIC_LOAD_POINTER(&self->cpus[pool->cpu]);
}

static void push(struct heap_cpu *to, struct heap_run *run)
{
    tsl_word head = tsl_atomic_load(&to->stack);

    do
        run->next = (struct heap_run *)head;
    while (!tsl_atomic_compare_exchange(&to->stack, &head, (tsl_word)run));
}

static struct heap_run *take_stack(struct heap_cpu *from)
{
    if (tsl_atomic_load(&from->stack) == 0)
        return NULL;
    return (struct heap_run *)tsl_atomic_exchange(&from->stack, 0);
}

/* Everything on the stack of a CPU that has left goes to the centre. */
static void take_over(struct tsl_heap *self, struct heap_cpu *left)
{
    struct heap_run *next;

    for (struct heap_run *run = take_stack(left); run != NULL; run = next) {
        next = run->next;
        push(&self->centre, run);
    }
}

/* Puts a queued slab on the stack of its owner. */
static void pass_on(struct tsl_heap *self, struct heap_run *run, const struct heap_pool *owner)
{
    if (TSL_UNLIKELY(owner == NULL)) {
        /* Somebody freed a block twice while its slab went back: nothing to look at. */
        (void)tsl_atomic_and_u32(&run->state, ~HEAP_QUEUED);
        return;
    }
    struct heap_cpu *to = cpu_of(self, owner);

    push(to, run);
    if (to != &self->centre && tsl_atomic_load(&to->is_active) == 0)
        take_over(self, to);
}

static void queue(struct tsl_heap *self, struct heap_run *run, const struct heap_pool *owner)
{
    if ((tsl_atomic_or_u32(&run->state, HEAP_QUEUED) & HEAP_QUEUED) == 0)
        pass_on(self, run, owner);
}

enum tsl_status tsl_heap_free_remote(struct tsl_heap *self, const void *block, struct heap_run *run,
                                     struct heap_pool *owner, size_t index)
{
    tsl_word *remote = &run->remote[index / HEAP_WORD_BITS];
    tsl_word bit = (tsl_word)1 << (index % HEAP_WORD_BITS);
    struct heap_place_of again;

    uint32_t old = tsl_atomic_load_u32(&run->state);
    while (
        !tsl_atomic_compare_exchange_u32(&run->state, &old, (old + HEAP_ANNOUNCED) | HEAP_QUEUED)) {
    }
    /* Announced, the slab stays. But was the block still live when it was? Who frees it at the same
     * time, by mistake, may have sent the slab back. */
    bool is_twice = tsl_heap_find(self, block, &again) != TSL_OK || again.run != run ||
                    (tsl_atomic_or(remote, bit) & bit) != 0;
    if (is_twice)
        (void)tsl_atomic_sub_u32(&run->state, HEAP_ANNOUNCED);
    if ((old & HEAP_QUEUED) == 0)
        pass_on(self, run, owner);
    return is_twice ? TSL_DOUBLE_FREE : TSL_OK;
}

/* => owned. Moves the bits that others set into the slab's own. Result: how many. */
static unsigned merge_bits(struct heap_run *run)
{
    unsigned count = 0;

    for (unsigned i = 0; i < HEAP_SLAB_WORDS; i++) {
        if (tsl_atomic_load(&run->remote[i]) == 0)
            continue;
        tsl_word bits = tsl_atomic_exchange(&run->remote[i], 0);
        tsl_atomic_store(&run->free[i], tsl_atomic_load(&run->free[i]) | bits);
        count += tsl_bits_count(bits);
    }
    return count;
}

/* => owned. A slab that was taken off a stack. Result as tsl_heap_pool_settle. */
static bool merge(struct tsl_heap *self, struct heap_pool *pool, struct heap_run *run)
{
    unsigned count = merge_bits(run);
    uint32_t old = tsl_atomic_load_u32(&run->state), now;

    pool->frees += count;
    do {
        now = old - count * HEAP_ANNOUNCED;
        if ((now & ANNOUNCEMENTS) == 0)
            now &= ~HEAP_QUEUED;
    } while (!tsl_atomic_compare_exchange_u32(&run->state, &old, now));
    /* A free is between its two steps: look again another time. */
    if ((now & HEAP_QUEUED) != 0)
        pass_on(self, run, pool);
    if (run->place == HEAP_PLACE_LOOSE)
        return false;
    return tsl_heap_pool_settle(pool, run);
}

void tsl_heap_give_to_centre(struct tsl_heap *self, struct heap_run *run)
{
    struct heap_pool *pool = &self->centre.pools[run->class_index];

    TSL_ATOMIC_STORE_POINTER(&run->owner, pool);
    queue(self, run, pool);
}

void tsl_heap_cpu_receive(struct tsl_heap *self, struct heap_cpu *cpu)
{
    struct heap_run *next;

    for (struct heap_run *run = take_stack(cpu); run != NULL; run = next) {
        struct heap_pool *owner = heap_owner_of(run);
        next = run->next;
        if (owner == NULL || cpu_of(self, owner) != cpu) {
            pass_on(self, run, owner);
        } else if (merge(self, owner, run)) {
            tsl_heap_pool_detach(owner, run);
            tsl_heap_give_to_centre(self, run);
        }
    }
}

/* One pass: what is passed to the centre again meanwhile waits for the next. */
void tsl_heap_centre_receive(struct tsl_heap *self)
{
    struct heap_run *next;

    for (struct heap_run *run = take_stack(&self->centre); run != NULL; run = next) {
        struct heap_pool *owner = heap_owner_of(run);
        next = run->next;
        if (owner == NULL || owner->cpu != HEAP_CENTRE) {
            pass_on(self, run, owner);
            continue;
        }
        /* Freed twice while it went back: the record is nobody's. */
        if (TSL_UNLIKELY(heap_map_at(self, run->start) != run)) {
            (void)tsl_atomic_and_u32(&run->state, ~HEAP_QUEUED);
            continue;
        }
        bool is_superfluous = merge(self, owner, run);
        if (run->place == HEAP_PLACE_LOOSE)
            tsl_heap_centre_attach(self, run);
        if (is_superfluous)
            tsl_atomic_store(&self->has_excess, 1);
    }
}

/* ---- Begin ---- */

/* Whether this heap can spare what each CPU online needs, perhaps with room for recent blocks. */
static bool is_worthwhile(const struct tsl_heap *self, bool has_recent)
{
    size_t cpus = tsl_cpu_set_count(tsl_cpus_online());
    return cpus * heap_cpu_pages(has_recent) * CPU_SHARE <= heap_ceiling_pages(self);
}

static struct heap_cpu *cpu_new(struct tsl_heap *self, unsigned number)
{
    bool has_recent = HEAP_RECENT > 0 && is_worthwhile(self, true);
    size_t pages = heap_cpu_pages(has_recent);
    struct heap_cpu *cpu = tsl_heap_source_try(self, pages);
    if (cpu == NULL)
        return NULL;
    struct heap_recent *recent = (struct heap_recent *)(void *)(cpu + 1);
    memset(cpu, 0, pages << TSL_PAGE_SHIFT);
    for (unsigned i = 0; i <= HEAP_POOLS; i++)
        tsl_heap_pool_init(&cpu->pools[i], i < HEAP_POOLS ? &self->classes[i] : NULL, number);
    for (unsigned i = 0; i < HEAP_POOLS && has_recent; i++) {
        cpu->pools[i].recent = &recent[i];
        cpu->pools[i].recent_room = HEAP_RECENT;
    }
    heap_forget_last(cpu);
    return cpu;
}

/* The first time on a CPU: takes memory for what it has, with the lock open; it may be another CPU
 * that goes on. */
static void cpu_add(struct tsl_heap *self, unsigned number)
{
    struct heap_cpu *cpu = cpu_new(self, number);
    if (cpu == NULL)
        return;
    size_t pages = heap_cpu_pages(cpu->pools[0].recent != NULL);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    bool is_needed = self->cpus[number] == &tsl_heap_nobody;
    if (is_needed) {
        TSL_ATOMIC_STORE_POINTER(&self->cpus[number], cpu);
        self->flight_pages -= pages;
        self->cpu_pages += pages;
    }
    tsl_lock_release(&self->lock, pin);
    if (!is_needed)
        tsl_heap_source_give(self, cpu, pages);
}

/* Whether this CPU, whose number is told, may own slabs but has no memory for that yet. One that
 * has, from an earlier time online, owns slabs again. */
static bool needs_memory(struct tsl_heap *self, unsigned *number)
{
    tsl_pin pin = tsl_cpu_pin();
    struct heap_cpu *cpu = heap_cpu_here(self);
    bool is_online = tsl_cpu_is_online();

    *number = tsl_cpu_this();
    if (is_online && cpu != &tsl_heap_nobody)
        tsl_atomic_store(&cpu->is_active, 1);
    tsl_cpu_unpin(pin);
    return is_online && cpu == &tsl_heap_nobody;
}

static void cpu_leave(void *context);

/* Asks to be told of CPUs that leave. False: another CPU is about to. */
static bool hook(struct tsl_heap *self)
{
    tsl_word state = HEAP_UNHOOKED;

    if (tsl_atomic_load_acquire(&self->hooked) == HEAP_HOOKED)
        return true;
    if (!tsl_atomic_compare_exchange(&self->hooked, &state, HEAP_HOOKING))
        return false;
    self->hook.leave = cpu_leave;
    self->hook.context = self;
    tsl_cpu_hook_add(&self->hook);
    tsl_atomic_store_release(&self->hooked, HEAP_HOOKED);
    return true;
}

void tsl_heap_owners_end(struct tsl_heap *self)
{
    if (tsl_atomic_load(&self->hooked) == HEAP_HOOKED)
        tsl_cpu_hook_remove(&self->hook);
}

void tsl_heap_cpu_start(struct tsl_heap *self)
{
    unsigned number;

    tsl_pin pin = tsl_cpu_pin();
    bool is_started = heap_is_owner(heap_cpu_here(self));
    tsl_cpu_unpin(pin);
    if (is_started || !is_worthwhile(self, false) || !needs_memory(self, &number) || !hook(self))
        return;
    cpu_add(self, number);
    (void)needs_memory(self, &number);
}

/* ---- End ---- */

/* => pinned on its CPU. Everything with a free block goes to the centre. */
static void give_up(struct tsl_heap *self, struct heap_cpu *cpu)
{
    heap_forget_last(cpu);
    tsl_heap_cpu_receive(self, cpu);
    for (unsigned i = 0; i < HEAP_POOLS; i++) {
        struct tsl_list *after = NULL;
        struct heap_run *run;
        tsl_heap_pool_forget(&cpu->pools[i]);
        while ((run = tsl_heap_pool_next_offer(&cpu->pools[i], &after)) != NULL) {
            tsl_heap_pool_detach(&cpu->pools[i], run);
            tsl_heap_give_to_centre(self, run);
        }
    }
}

static void give_up_here(void *context)
{
    struct tsl_heap *self = context;
    struct heap_cpu *cpu = heap_cpu_here(self);

    if (heap_is_owner(cpu))
        give_up(self, cpu);
}

static void nothing(void *context)
{
    (void)context;
}

void tsl_heap_wait_for_readers(void)
{
    tsl_cpu_call(tsl_cpus_online(), nothing, NULL);
}

/* Passes on what lies on the stacks of CPUs: frees that were under way when they gave up. */
static void pass_on_all(struct tsl_heap *self)
{
    for (unsigned i = 0; i < TSL_CPUS; i++) {
        struct heap_cpu *cpu = TSL_ATOMIC_LOAD_POINTER(&self->cpus[i]);
        struct heap_run *next;
        for (struct heap_run *run = take_stack(cpu); run != NULL; run = next) {
            next = run->next;
            pass_on(self, run, heap_owner_of(run));
        }
    }
}

void tsl_heap_receive_all(struct tsl_heap *self)
{
    tsl_pin pin = tsl_lock_acquire(&self->lock);

    pass_on_all(self);
    tsl_heap_centre_receive(self);
    tsl_lock_release(&self->lock, pin);
}

void tsl_heap_drain(struct tsl_heap *self)
{
    if (!HEAP_HAS_OWNERS)
        return;
    tsl_cpu_call(tsl_cpus_online(), give_up_here, self);
    tsl_heap_receive_all(self);
}

static void cpu_leave(void *context)
{
    struct tsl_heap *self = context;
    struct heap_cpu *cpu = heap_cpu_here(self);
    struct heap_run *run = NULL;

    if (!heap_is_owner(cpu))
        return;
    tsl_atomic_store(&cpu->is_active, 0);
    /* Whoever pushes from now on sees that, or we see what was pushed. */
    tsl_atomic_fence();
    give_up(self, cpu);
    tsl_pin pin = tsl_lock_acquire(&self->lock);
    while ((run = tsl_heap_record_next(self, run)) != NULL) {
        if (!heap_is_slab(run) || heap_owner_of(run) != &cpu->pools[run->class_index])
            continue;
        tsl_heap_pool_detach(&cpu->pools[run->class_index], run);
        tsl_heap_centre_attach(self, run);
    }
    take_over(self, cpu);
    tsl_heap_centre_receive(self);
    tsl_lock_release(&self->lock, pin);
}
