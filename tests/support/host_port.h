/* SPDX-License-Identifier: MIT
 *
 * host_port.h: what host tests can see and steer of the port in host_port.c.
 *
 * Owns:    nothing; declares.
 * Needs:   port.h; threads of the C library.
 * Callers: host-only tests, and whoever simulates a machine under them.
 */
#ifndef HOST_PORT_H
#define HOST_PORT_H

#include <tesela/port.h>

/* ---- CPUs. Each thread is CPU 0 until it says otherwise; two threads that work at the same time
 * must not be the same CPU. ---- */

/* This thread is CPU `cpu` (< TSL_CPUS) from now on. Before: the CPU it was is not pinned. */
void host_port_set_cpu(unsigned cpu);

/* How many pins deep this CPU is; 0: interrupts on. */
unsigned host_port_pin_depth(void);

/* The action happens once, at the unpin of this thread that leaves it `depth` pins deep, after
 * `skipped` such ones: as an interrupt (0), or as what another CPU does at that moment. */
void host_port_at_unpin(unsigned depth, unsigned skipped, void (*action)(void));

/* Whether that has happened; if not, it will not any more. */
bool host_port_was_unpinned(void);

/* What a kick does. */
enum host_port_kicks {
    /* The calling thread becomes the other CPU and receives at once, unless that CPU is pinned: for
     * simulated CPUs, all in one thread. The default. */
    HOST_PORT_KICKS_RUN,
    /* It stays pending until the CPU unpins or polls: for CPUs that are threads. */
    HOST_PORT_KICKS_WAIT,
};

void host_port_set_kicks(enum host_port_kicks kicks);

/* This CPU looks for a kick, as it would between two instructions with interrupts on. */
void host_port_poll(void);

/* The same in a loop that waits for another thread: lets others run. */
void host_port_wait(void);

/* How many CPUs have been kicked since the start, and how many interrupts were taken. */
unsigned host_port_kicks_sent(void);
unsigned host_port_kicks_taken(void);

/* ---- Memory. ---- */

/* phys_to_virt answers for first .. first + bytes - 1 with `start` and on; NULL elsewhere (and
 * everywhere until this is called). */
void host_port_set_ram(void *start, tsl_paddr first, tsl_paddr bytes);

/* ---- The log: kept, not printed, unless the environment has TSL_LOG. ---- */

void host_port_log_clear(void);
/* Lines since the last clear, and of them those of this level. */
unsigned host_port_log_lines(void);
unsigned host_port_log_lines_of(enum tsl_log_level level);
/* The oldest line that is kept since the last clear, "" if there is none. */
const char *host_port_log_first(void);
/* The last line, "" if there is none. */
const char *host_port_log_last(void);
/* Whether one of the last 64 lines contains the text. */
bool host_port_log_has(const char *text);

/* ---- Panic: prints `Bail out!` and aborts, except within host_port_panics. ---- */

/*
 * Runs the action in a process of its own. True if it panicked: then `message` (ended by zero, cut
 * to size) says how. False if it returned or died of anything else. State that the action changes
 * is unchanged here. Before: no other threads run.
 */
bool host_port_panics(void (*action)(void *context), void *context, char *message, size_t size);

/* The action panics, and the message contains the text. */
#define CHECK_PANICS(action, context, text)                                                        \
    ((void)host_port_check_panics((action), (context), (text), TSL_FILE, __LINE__, #action))

bool host_port_check_panics(void (*action)(void *context), void *context, const char *text,
                            const char *file, int line, const char *name);

#endif
