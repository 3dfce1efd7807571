/* SPDX-License-Identifier: MIT
 *
 * port.h: everything that a kernel owes to Tesela: seven functions, implemented by the kernel.
 *
 * Owns:    their contract; no code. Nothing here changes with the configuration.
 * Needs:   types.h. Beside these seven, the libraries use memcpy, memmove, memset and memcmp.
 * Callers: Tesela calls them. A kernel that calls them itself gets what is written here.
 *
 * The reference implementation is platform/pc; tests/support/host_port.c is one for a plain
 * process.
 */
#ifndef TESELA_PORT_H
#define TESELA_PORT_H

#include <tesela/compiler.h>
#include <tesela/types.h>

struct tsl_cpu_set;

/* What unpin needs to restore what pin found; for the port alone to interpret. */
typedef uintptr_t tsl_pin;

/* Severity of a line, most severe first. Lines above TSL_LOG_LEVEL never reach the port. */
enum tsl_log_level {
    TSL_LOG_ERROR = 1, /* something is broken */
    TSL_LOG_WARNING,   /* something was refused or given up */
    TSL_LOG_INFO,      /* what an operator wants to know once */
    TSL_LOG_DEBUG,     /* what a developer wants to know */
};

/*
 * Keeps the running code on this CPU and lets no interrupt in between, until the matching unpin.
 * Pins nest: the inner unpin must leave interrupts off if the outer pin found them off, which the
 * returned value says. Between the two nothing waits and the time is short.
 * Context: any but NMI.
 * Example: x86-64:
 *   uintptr_t flags;
 *   __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
 *   return flags;
 */
TSL_MUST_CHECK tsl_pin tsl_port_pin(void);

/*
 * Undoes the matching pin. A compiler barrier too.
 * Context: pinned, on the same CPU.
 * Example: x86-64:
 *   if (pin & 0x200) { __asm__ volatile("sti" : : : "memory"); }
 */
void tsl_port_unpin(tsl_pin pin);

/*
 * The number of the CPU that runs this: 0 .. TSL_CPUS - 1, each CPU its own, the same from boot on.
 * Called on hot paths: one load from the CPU's own area is what to aim at.
 * Context: pinned (otherwise the answer may be old when it arrives).
 * Example: one CPU: return 0.
 */
unsigned tsl_port_cpu_id(void);

/*
 * A pointer to the byte of RAM at physical `address`, through the kernel's direct map, NULL if it
 * is beyond that (of addresses that are no RAM it says nothing). What is once reachable stays so,
 * at the same place, and reachability is decided for whole pages. Neighbours in one physical range
 * are neighbours in the result.
 * Context: any.
 * Example: return address < direct_end ? (char *)direct_base + address : NULL.
 */
void *tsl_port_phys_to_virt(tsl_paddr address);

/*
 * Kicks: makes each CPU of the set call tsl_flush_receive() as soon as it can take an interrupt.
 * Returns without waiting for that; a kick sent while an earlier one is still pending for that CPU
 * may merge with it, but none may be lost, and one that arrives late does no harm.
 * The set has neither the calling CPU nor one that never joined; it is valid only during the call.
 *
 * A kernel that spins on a lock of its own with interrupts off must call tsl_flush_receive() in
 * that loop, if the holder of that lock may call into Tesela: Tesela waits for every CPU to flush.
 * Context: pinned. Never called when TSL_CPUS is 1.
 * Example: an IPI to each member, whose handler is tsl_flush_receive(); acknowledge();
 */
void tsl_port_flush_others(const struct tsl_cpu_set *cpus);

/*
 * Writes one line, given without the line end and valid only during the call.
 * Context: any but NMI, also pinned and under any lock of Tesela: must not call back.
 */
void tsl_port_log(enum tsl_log_level level, const char *line);

/*
 * Stops the machine: Tesela or its memory is broken, `message` says how (one line).
 * Context: any. Must not return and must not allocate.
 */
TSL_NORETURN void tsl_port_panic(const char *message);

#endif
