/* SPDX-License-Identifier: MIT
 *
 * frames_hotplug.h: RAM that comes and goes while the kernel runs.
 *
 * Owns:    which parts of an allocator's row are absent.
 * Needs:   physical_allocator.h; TSL_FRAME_HOTPLUG.
 * Callers: a kernel whose firmware tells of memory that is plugged in or is to be taken out; a
 *          guest that gives memory back to its host.
 *
 * Where RAM may ever be is usable in the map; what is not there yet is listed in config.absent. So
 * the metadata of all places exists from the start, 34 KiB a GiB, and adding RAM cannot fail for
 * want of it; the direct map covers them from the start, too. Frames of absent RAM count nowhere:
 * not as total, used or reserved.
 *
 * CPUs may add and remove at once, also parts of the same range: each frame comes and goes once,
 * and who is too late is told so. On a failure all is as before.
 */
#ifndef TESELA_FRAMES_HOTPLUG_H
#define TESELA_FRAMES_HOTPLUG_H

#include <tesela/physical_allocator.h>

/* Absent ranges at most, at creation and later. */
#define TSL_FRAMES_MAX_ABSENT 16u

/*
 * Makes config.absent of the places where the firmware says that RAM may be plugged in (ACPI:
 * SRAT's hot-pluggable ranges). What of a place the map says nothing about becomes usable there,
 * and is an absent range: out[0] and on. What the map knows is there already, or is no RAM; it
 * stays as it is. Places are taken in order, whole pages below `end`, up to `most_bytes` in all,
 * since each GiB of them costs metadata, and as many as the map has room for; what is left out is
 * told. Returns how many absent ranges there are.
 * Before:  `out` has TSL_FRAMES_MAX_ABSENT entries. Nobody has been given memory of the map's top.
 * Cost:    O(places x ranges of the map).
 */
size_t tsl_frames_plan_absent(struct tsl_memory_map *map, const struct tsl_memory_range *places,
                              size_t count, tsl_paddr end, uint64_t most_bytes,
                              struct tsl_memory_range *out);

/*
 * RAM at [start, start + bytes) is there now and may be handed out.
 * Before:  phys_to_virt reaches it as far as it did when it was listed (TSL_FRAMES_LOW).
 * Errors:  nothing changed: TSL_UNSUPPORTED (not compiled in), TSL_MISALIGNED (not whole pages),
 *          TSL_INVALID (0 bytes), TSL_NOT_FOUND (not a part of one absent range), TSL_LIMIT (it
 *          would leave more than 16 absent ranges), TSL_WRONG_SIZE and TSL_DOUBLE_FREE (somebody
 *          has freed frames of it while they were absent).
 * Context: as tsl_frames_alloc(), under no lock of the rank frames or a greater one. Others
 *          may allocate meanwhile. Cost: O(bitmap words).
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_add_range(struct tsl_frames *self, tsl_paddr start,
                                                    uint64_t bytes);

/*
 * Takes RAM out: all of it is free, or, if `is_reserved`, the caller has reserved all of it before,
 * with tsl_frames_reserve(). Absent afterwards.
 * Errors:  nothing changed: as above, TSL_BUSY (a frame is in use, in a bank that is off, or just
 *          being added or removed by another CPU), TSL_NOT_FOUND (a page of it is not managed, or
 *          the metadata lies in it), TSL_WRONG_SIZE (is_reserved, and a part is free).
 * Context: as above. Cost: O(bitmap words); with is_reserved O(frames x log spans).
 */
TSL_MUST_CHECK enum tsl_status tsl_frames_remove_range(struct tsl_frames *self, tsl_paddr start,
                                                       uint64_t bytes, bool is_reserved);

/* Frames that are absent now. */
tsl_word tsl_frames_absent_count(const struct tsl_frames *self);

#endif
