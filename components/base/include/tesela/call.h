/* SPDX-License-Identifier: MIT
 *
 * call.h: running a function on other CPUs, and being told when a CPU leaves.
 *
 * Owns:    one call in flight a CPU; the list of hooks.
 * Needs:   cpu.h, list.h; the mailboxes and the kick of flush.h.
 * Callers: allocators whose CPUs keep things for themselves (claims): they ask for them back
 *          before they fail, and give them back when a CPU leaves.
 *
 * The rule behind both: only a CPU that is online may keep something for itself. Whoever calls all
 * CPUs online has then reached all there is. With TSL_CPUS == 1 nothing here costs anything.
 */
#ifndef TESELA_CALL_H
#define TESELA_CALL_H

#include <tesela/cpu.h>
#include <tesela/list.h>
#include <tesela/port.h>

/*
 * Runs run(context) once on each CPU of the set that is online, on the calling CPU directly if it
 * is a member, and returns when all have run. A CPU that leaves meanwhile runs it before it is gone
 * or does not run it at all; its hooks have run then. What a CPU wrote before or in run() is seen
 * by the caller afterwards. With TSL_CPUS == 1 a member runs it whether it has joined or not.
 * cpus:    may be a live set, tsl_cpus_online() for one.
 * Before:  run() is short, takes no lock, waits for nothing and makes no call itself: it runs
 *          pinned, in an interrupt or wherever that CPU waits for a lock.
 * Context: as tsl_flush_cpus; not from within run() or a hook.
 * Cost:    a post and a wait for each other CPU, and one call of tsl_port_flush_others.
 */
void tsl_cpu_call(const struct tsl_cpu_set *cpus, void (*run)(void *context), void *context);

/* Lives in its owner's storage from add to remove. */
struct tsl_cpu_hook {
    struct tsl_list link;
    void (*leave)(void *context);
    void *context;
};

/*
 * From now on, leave(context) runs on each CPU that calls tsl_cpu_leave(), pinned, while that CPU
 * is still online but keeps nothing new: tsl_cpu_is_online() is already false for it.
 * Before:  fields leave and context are set; the hook is not added yet. leave() neither adds nor
 *          removes hooks.
 * Context: no lock of the library is held. Waits for a CPU that is leaving.
 */
void tsl_cpu_hook_add(struct tsl_cpu_hook *hook);

/* Undoes add; when it returns, leave() runs nowhere and will not run. Context: as add. */
void tsl_cpu_hook_remove(struct tsl_cpu_hook *hook);

/* Whether this CPU may keep things for itself: it has joined and is not leaving. Context: pinned.
 */
bool tsl_cpu_is_online(void);

#endif
