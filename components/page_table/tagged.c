/* SPDX-License-Identifier: MIT
 *
 * tagged.c: translations of several tables stay in a CPU, each under its tag (x86: PCID).
 *
 * Owns:    which table a CPU has under which tag, and whether what it remembers there still holds.
 * Needs:   arch.h (switch_tagged), table.c (the set of CPUs that run a table).
 * Callers: table.c for switches, gather.c for flushes; only on CPUs with tags.
 *
 * Theory. A flush reaches what is remembered under the tag in use, and is sent to the CPUs that run
 * the table. All other CPUs learn of it when they come back: a table counts the flushes begun for
 * it, and a CPU notes with each of its tags the count up to which nothing stale is left there.
 * Counts that differ: the tag is loaded anew instead of kept. The count grows after entries were
 * unhooked and before the set of CPUs is read; a CPU joins the set before it reads the count. So it
 * is asked to flush, or it sees the count, or both, whatever the order.
 * A CPU that leaves a table has seen the flushes begun meanwhile only if they have ended, which a
 * second count tells: it is read first, so if both are equal nothing was under way between the two.
 * Tables are known by a number that is never used again, so that the next one in the same storage
 * does not inherit what is remembered.
 */
#include "page_table_internal.h"

/* Few: a TLB holds some thousand entries, and what a space has not used for six others is not worth
 * its places. */
#define TAGS 6u

#define CACHE_LINE 64

struct tag {
    tsl_word number;               /* of the table; 0: none yet */
    tsl_word flushes;              /* of the table: up to here nothing stale is left */
    tsl_word kernel_flushes;       /* the same of the table whose half it shows */
    const struct tsl_table *table; /* to be followed only while this CPU runs it */
};

/* Of one CPU, which alone uses it, pinned. Tag i + 1 is tag[i]. */
struct tags {
    struct tag tag[TAGS];
    unsigned next; /* the one given away next */
} TSL_ALIGNED(CACHE_LINE);

static struct tags tags_of[TSL_CPUS];
static tsl_word last_number;

void tsl_tagged_init(struct tsl_table *self)
{
    self->number = tsl_atomic_add(&last_number, 1) + 1u;
}

/* What the kernel's table asks of all CPUs: global pages are dropped whatever the tag; so is
 * everything, in a request for everything. */
static bool concerns_other_tags(const struct tsl_gather *gather)
{
    const struct tsl_table *table = gather->table;
    if (!table->kernel)
        return true;
    if (gather->flush.all)
        return false;
    for (unsigned i = 0; i < gather->flush.count; i++)
        if (gather->flush.page[i] <= table->format->user_last)
            return true;
    return gather->tables != 0; /* the upper levels are remembered by tag */
}

void tsl_tagged_flush(struct tsl_gather *gather)
{
    struct tsl_table *table = gather->table;
    bool counts = concerns_other_tags(gather);
    if (counts)
        (void)tsl_atomic_add(&table->flushes_begun, 1);
    tsl_flush_cpus(table->kernel ? tsl_cpus_online() : &table->cpus, &gather->flush);
    if (counts)
        (void)tsl_atomic_add(&table->flushes_ended, 1);
}

/* Everything begun until now has been done on this CPU, which runs the table? Then it need not be
 * done again when the table comes back. */
static void note_flushed(const struct tsl_table *table, tsl_word *flushes)
{
    tsl_word ended = tsl_atomic_load_acquire(&table->flushes_ended);
    if (tsl_atomic_load_acquire(&table->flushes_begun) == ended)
        *flushes = ended;
}

/* Before the root of another table is loaded. */
static void leave(struct tags *own)
{
    unsigned current = tsl_arch_tag();
    if (current == 0 || current > TAGS)
        return; /* a root that was loaded without us */
    struct tag *tag = &own->tag[current - 1u];
    note_flushed(tag->table, &tag->flushes);
    if (tag->table->shown)
        note_flushed(tag->table->shown, &tag->kernel_flushes);
}

static struct tag *find(struct tags *own, tsl_word number)
{
    for (unsigned i = 0; i < TAGS; i++)
        if (own->tag[i].number == number)
            return &own->tag[i];
    struct tag *tag = &own->tag[own->next];
    own->next = (own->next + 1u) % TAGS;
    return tag;
}

void tsl_tagged_switch_to(struct tsl_table *self)
{
    struct tags *own = &tags_of[tsl_port_cpu_id()];
    leave(own);
    const struct tsl_table *kernel = self->shown;
    struct tag now = {
        .number = self->number,
        .flushes = tsl_atomic_load_acquire(&self->flushes_begun),
        .kernel_flushes = kernel ? tsl_atomic_load_acquire(&kernel->flushes_begun) : 0,
        .table = self,
    };
    struct tag *tag = find(own, self->number);
    bool keep = tag->number == now.number && tag->flushes == now.flushes &&
                tag->kernel_flushes == now.kernel_flushes;
    *tag = now;
    tsl_arch_switch_tagged(self->root, (unsigned)(tag - own->tag) + 1u, keep);
}
