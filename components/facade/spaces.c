/* SPDX-License-Identifier: MIT
 *
 * spaces.c: the last stage of the start where there are address spaces: what they share.
 *
 * Owns:    the stage `spaces`.
 * Needs:   vallocator with TSL_SPACES; everything below is up.
 * Callers: start.c. Its twin is spaces_off.c.
 */
#include "facade_internal.h"

#include <tesela/config.h>
#include <tesela/vm.h>

_Static_assert(TSL_COMMIT_POLICY >= TSL_COMMIT_NONE && TSL_COMMIT_POLICY <= TSL_COMMIT_RATIO,
               "the configured policies are those of vm.h");

/* The configured policy over what is free now, unless the kernel has a limit of its own. */
static struct tsl_commit commit(void)
{
    size_t wanted = tsl_facade.options.commit_limit_pages;
    if (wanted)
        return (struct tsl_commit){.policy = TSL_COMMIT_STRICT, .pages = wanted};
    return (struct tsl_commit){.policy = TSL_COMMIT_POLICY,
                               .pages = (size_t)tsl_frames_free_count(tsl_facade.system.frames),
                               .percent = TSL_COMMIT_PERCENT};
}

enum tsl_status tsl_facade_start_spaces(void)
{
    struct tsl_vm_config config = {.frames = tsl_facade.system.frames,
                                   .heap = tsl_facade.system.heap,
                                   .windows = tsl_facade.system.windows,
                                   .format = tsl_facade.options.format,
                                   .features = tsl_facade.system.features,
                                   .kernel_table = tsl_facade.system.table,
                                   .commit = commit()};
    return tsl_vm_create(&config, &tsl_facade.system.vm);
}

enum tsl_status tsl_facade_stop_spaces(void)
{
    enum tsl_status status = tsl_vm_destroy(tsl_facade.system.vm);
    if (status == TSL_OK)
        tsl_facade.system.vm = NULL;
    return status;
}
