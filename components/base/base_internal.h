/* SPDX-License-Identifier: MIT
 *
 * base_internal.h: what the files of base say to each other about CPUs and refusals.
 *
 * Owns:    nothing; declares.
 * Needs:   cpu.h, status.h.
 * Callers: call.c, cpu.c, flush.c; status.c, terse.c.
 */
#ifndef TSL_BASE_INTERNAL_H
#define TSL_BASE_INTERNAL_H

#include <tesela/cpu.h>
#include <tesela/status.h>

/* flush.c: makes each CPU of the set look into its mailbox and then at the calls asked of it.
 * Before: pinned; this CPU is no member. */
void tsl_flush_wake(const struct tsl_cpu_set *others);

/* call.c: runs what other CPUs ask of this one. Before: pinned on `cpu`. */
void tsl_calls_answer(unsigned cpu);

/* call.c: runs the hooks. Before: pinned, no lock held. */
void tsl_cpu_run_hooks(void);

/* status.c: counts a refusal; 0 if it is not to be logged, else its number in the counter. */
tsl_word tsl_refusal_count(struct tsl_refusals *counter, enum tsl_status status);

#endif
