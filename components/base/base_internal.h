/* SPDX-License-Identifier: MIT
 *
 * base_internal.h: what the files of base say to each other about CPUs.
 *
 * Owns:    nothing; declares.
 * Needs:   cpu.h.
 * Callers: call.c, cpu.c, flush.c.
 */
#ifndef TSL_BASE_INTERNAL_H
#define TSL_BASE_INTERNAL_H

#include <tesela/cpu.h>

/* flush.c: makes each CPU of the set look into its mailbox and then at the calls asked of it.
 * Before: pinned; this CPU is no member. */
void tsl_flush_wake(const struct tsl_cpu_set *others);

/* call.c: runs what other CPUs ask of this one. Before: pinned on `cpu`. */
void tsl_calls_answer(unsigned cpu);

/* call.c: runs the hooks. Before: pinned, no lock held. */
void tsl_cpu_run_hooks(void);

#endif
