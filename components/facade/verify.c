/* SPDX-License-Identifier: MIT
 *
 * verify.c: every component's own check, one after the other, from the ground up.
 *
 * Owns:    the order only.
 * Needs:   what is up.
 * Callers: the kernel, while nothing changes.
 */
#include "facade_internal.h"

#include <tesela/heap_report.h>

struct tsl_defect tsl_verify(void)
{
    const struct tsl_system *system = &tsl_facade.system;
    struct tsl_defect defect = TSL_NO_DEFECT;
    if (system->stage >= TSL_STAGE_FRAMES)
        defect = tsl_map_verify(tsl_facade.options.map);
    if (!defect.rule && system->stage >= TSL_STAGE_FRAMES)
        defect = tsl_frames_verify(system->frames);
    if (!defect.rule && system->stage >= TSL_STAGE_TABLES)
        defect = tsl_table_verify(system->table);
    if (!defect.rule && system->stage >= TSL_STAGE_HEAP)
        defect = tsl_backed_range_verify(system->heap_pages);
    if (!defect.rule && system->stage >= TSL_STAGE_HEAP)
        defect = tsl_heap_verify(system->heap);
    if (!defect.rule && system->stage >= TSL_STAGE_RANGES)
        defect = tsl_ranges_verify(system->ranges);
    return defect;
}
