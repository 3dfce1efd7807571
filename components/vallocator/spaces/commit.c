/* SPDX-License-Identifier: MIT
 *
 * commit.c: how many pages are promised to spaces and objects, and how many may be.
 *
 * Owns:    the sum of promises and its limit in struct tsl_vm, the sum in each space.
 * Needs:   nothing but words.
 * Callers: the kernel (vm.h), whoever makes or ends regions and objects (space_internal.h).
 *
 * Every policy is one limit in pages, so that a promise is one compare-and-swap whatever the
 * policy.
 */
#include "space_internal.h"

#define NO_LIMIT (~(tsl_word)0)

/* Whether `pages` more fit below the limit, once `returned` are given back. */
static bool fits(tsl_word limit, tsl_word committed, size_t pages, size_t returned)
{
    if (pages > NO_LIMIT - committed) /* the counter would wrap */
        return false;
    if (pages <= returned)
        return true;
    tsl_word others = committed - returned;
    return others <= limit && pages <= limit - others;
}

enum tsl_status tsl_vm_charge(struct tsl_vm *self, struct tsl_space *space, size_t pages,
                              size_t returned)
{
    if (space && !fits(space->limits.committed ? space->limits.committed : NO_LIMIT,
                       space->committed, pages, returned))
        return TSL_LIMIT;
    tsl_word committed = tsl_atomic_load(&self->committed);
    do {
        if (!fits(tsl_atomic_load(&self->commit_limit), committed, pages, returned))
            return TSL_LIMIT;
    } while (!tsl_atomic_compare_exchange(&self->committed, &committed, committed + pages));
    if (space)
        space->committed += pages;
    return TSL_OK;
}

void tsl_vm_uncharge(struct tsl_vm *self, struct tsl_space *space, size_t pages)
{
    tsl_word before = tsl_atomic_sub(&self->committed, pages);
    TSL_ASSERT(before >= pages);
    if (space)
        space->committed -= pages;
}

/* `percent` hundredths of `pages`, rounded down; NO_LIMIT if that is more than a word holds. */
static tsl_word share(size_t pages, unsigned percent)
{
    tsl_word hundreds = pages / 100u, of_rest = pages % 100u * percent / 100u;
    if (hundreds > (NO_LIMIT - of_rest) / percent)
        return NO_LIMIT;
    return hundreds * percent + of_rest;
}

enum tsl_status tsl_vm_set_commit(struct tsl_vm *self, const struct tsl_commit *commit)
{
    tsl_word limit = NO_LIMIT;
    if (commit->policy == TSL_COMMIT_RATIO) {
        if (commit->percent == 0 || commit->percent > TSL_COMMIT_PERCENT_MAX)
            return TSL_INVALID;
        limit = share(commit->pages, commit->percent);
    } else if (commit->policy == TSL_COMMIT_STRICT) {
        limit = commit->pages;
    } else if (commit->policy != TSL_COMMIT_NONE) {
        return TSL_INVALID;
    }
    tsl_atomic_store(&self->commit_limit, limit);
    return TSL_OK;
}
