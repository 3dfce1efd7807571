/* SPDX-License-Identifier: MIT
 *
 * host_port.c: the seven functions of the port for an ordinary process, with checks of their
 * callers.
 *
 * Owns:    the simulated interrupt state of each CPU, the kept log, expected panics.
 * Needs:   the C library with threads; base (flush, format).
 * Callers: Tesela, through port.h; tests steer it through host_port.h.
 *
 * Misuse (an unpin that does not match, a CPU out of range, a kick to oneself) aborts with a
 * message: the library under test is then wrong, and no test should be able to pass over it.
 */
#define _GNU_SOURCE
#include "host_port.h"

#include "tap.h"

#include <tesela/atomic.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/flush.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT_LINES  64
#define PANIC_EXIT  113
#define LARGEST_PIN 64

static _Thread_local unsigned this_cpu;
static _Thread_local unsigned pins_here; /* by this thread, whichever CPU it was */

/* What happens at a later unpin of this thread. */
static _Thread_local struct {
    void (*action)(void);
    unsigned depth;
    unsigned left; /* unpins down to that depth before it */
} moment;

/* Of each CPU; the depth is touched by its thread alone, except that a kick looks at it. */
static uint32_t pin_depth[TSL_CPUS];
static uint32_t kick_pending[TSL_CPUS];
static uint32_t kicks_sent;
static uint32_t kicks_taken;
static enum host_port_kicks kick_mode = HOST_PORT_KICKS_RUN;

static char *ram_start;
static tsl_paddr ram_first;
static tsl_paddr ram_bytes;

static struct {
    pthread_mutex_t mutex;
    unsigned lines;
    unsigned lines_of[TSL_LOG_DEBUG + 1];
    char line[KEPT_LINES][TSL_LOG_LINE_BYTES];
} kept = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int panic_pipe = -1; /* in the process that is expected to panic */

TSL_NORETURN static void misuse(const char *what)
{
    (void)printf("Bail out! port misused: %s (CPU %u)\n", what, this_cpu);
    (void)fflush(stdout);
    abort();
}

/* ---- pin, unpin, cpu_id ---- */

/* Takes the pending interrupt of this CPU, which is unpinned. The handler runs with interrupts off.
 */
static void take_interrupt(void)
{
    if (tsl_atomic_exchange_u32(&kick_pending[this_cpu], 0) != 0) {
        tsl_atomic_store_u32(&pin_depth[this_cpu], 1);
        (void)tsl_atomic_add_u32(&kicks_taken, 1);
        tsl_flush_receive();
        tsl_atomic_store_u32(&pin_depth[this_cpu], 0);
    }
}

tsl_pin tsl_port_pin(void)
{
    uint32_t depth = tsl_atomic_load_u32(&pin_depth[this_cpu]);
    if (depth >= LARGEST_PIN)
        misuse("pinned too deep, an unpin is missing");
    tsl_atomic_store_u32(&pin_depth[this_cpu], depth + 1);
    pins_here++;
    return depth;
}

static void meet_moment(unsigned depth)
{
    void (*action)(void) = moment.action;
    if (action == NULL || depth != moment.depth || moment.left-- > 0)
        return;
    moment.action = NULL;
    action();
}

void host_port_at_unpin(unsigned depth, unsigned skipped, void (*action)(void))
{
    moment.action = action;
    moment.depth = depth;
    moment.left = skipped;
}

bool host_port_was_unpinned(void)
{
    bool has_happened = moment.action == NULL;
    moment.action = NULL;
    return has_happened;
}

void tsl_port_unpin(tsl_pin pin)
{
    if (tsl_atomic_load_u32(&pin_depth[this_cpu]) != pin + 1)
        misuse("unpin does not match the last pin");
    tsl_atomic_store_u32(&pin_depth[this_cpu], (uint32_t)pin);
    pins_here--;
    if (pin == 0)
        take_interrupt();
    meet_moment((unsigned)pin);
}

unsigned tsl_port_cpu_id(void)
{
    return this_cpu;
}

void host_port_set_cpu(unsigned cpu)
{
    if (cpu >= TSL_CPUS)
        misuse("no such CPU");
    if (pins_here != 0)
        misuse("a pinned thread changes its CPU");
    this_cpu = cpu;
}

unsigned host_port_pin_depth(void)
{
    return tsl_atomic_load_u32(&pin_depth[this_cpu]);
}

/* ---- flush_others ---- */

/* The thread is the other CPU for the length of its interrupt. */
static void run_as(unsigned cpu)
{
    unsigned own = this_cpu;
    this_cpu = cpu;
    take_interrupt();
    this_cpu = own;
}

void tsl_port_flush_others(const struct tsl_cpu_set *cpus)
{
    if (host_port_pin_depth() == 0)
        misuse("flush_others by an unpinned CPU");
    for (unsigned cpu = tsl_cpu_set_next(cpus, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(cpus, cpu + 1)) {
        if (cpu == this_cpu)
            misuse("flush_others with the calling CPU");
        (void)tsl_atomic_add_u32(&kicks_sent, 1);
        (void)tsl_atomic_exchange_u32(&kick_pending[cpu], 1);
        if (kick_mode == HOST_PORT_KICKS_RUN && tsl_atomic_load_u32(&pin_depth[cpu]) == 0)
            run_as(cpu);
    }
}

void host_port_set_kicks(enum host_port_kicks kicks)
{
    kick_mode = kicks;
}

void host_port_poll(void)
{
    if (host_port_pin_depth() == 0)
        take_interrupt();
}

void host_port_wait(void)
{
    host_port_poll();
    (void)sched_yield();
}

unsigned host_port_kicks_sent(void)
{
    return tsl_atomic_load_u32(&kicks_sent);
}

unsigned host_port_kicks_taken(void)
{
    return tsl_atomic_load_u32(&kicks_taken);
}

/* ---- phys_to_virt ---- */

void host_port_set_ram(void *start, tsl_paddr first, tsl_paddr bytes)
{
    ram_start = start;
    ram_first = first;
    ram_bytes = bytes;
}

void *tsl_port_phys_to_virt(tsl_paddr address)
{
    if (ram_start == NULL || address < ram_first || address - ram_first >= ram_bytes)
        return NULL;
    return ram_start + (size_t)(address - ram_first);
}

/* ---- log ---- */

void tsl_port_log(enum tsl_log_level level, const char *line)
{
    if (level < TSL_LOG_ERROR || level > TSL_LOG_DEBUG)
        misuse("log with no such level");
    (void)pthread_mutex_lock(&kept.mutex);
    (void)snprintf(kept.line[kept.lines++ % KEPT_LINES], TSL_LOG_LINE_BYTES, "%s", line);
    kept.lines_of[level]++;
    (void)pthread_mutex_unlock(&kept.mutex);
    if (getenv("TSL_LOG") != NULL)
        (void)printf("# log %d: %s\n", (int)level, line);
}

void host_port_log_clear(void)
{
    (void)pthread_mutex_lock(&kept.mutex);
    kept.lines = 0;
    memset(kept.lines_of, 0, sizeof(kept.lines_of));
    memset(kept.line, 0, sizeof(kept.line));
    (void)pthread_mutex_unlock(&kept.mutex);
}

unsigned host_port_log_lines(void)
{
    return kept.lines;
}

unsigned host_port_log_lines_of(enum tsl_log_level level)
{
    return kept.lines_of[level];
}

const char *host_port_log_first(void)
{
    return kept.lines == 0           ? ""
           : kept.lines < KEPT_LINES ? kept.line[0]
                                     : kept.line[kept.lines % KEPT_LINES];
}

const char *host_port_log_last(void)
{
    return kept.lines == 0 ? "" : kept.line[(kept.lines - 1) % KEPT_LINES];
}

bool host_port_log_has(const char *text)
{
    for (unsigned i = 0; i < KEPT_LINES; i++)
        if (strstr(kept.line[i], text) != NULL)
            return true;
    return false;
}

/* ---- panic ---- */

void tsl_port_panic(const char *message)
{
    if (panic_pipe >= 0) {
        /* A message is far shorter than what a pipe takes at once. */
        ssize_t written = write(panic_pipe, message, strlen(message));
        _exit(written >= 0 ? PANIC_EXIT : 1);
    }
    (void)printf("Bail out! panic: %s (CPU %u)\n", message, this_cpu);
    (void)fflush(stdout);
    abort();
}

/* In the new process: an action that returns has not panicked. */
TSL_NORETURN static void run_and_exit(void (*action)(void *), void *context, int write_end)
{
    panic_pipe = write_end;
    action(context);
    _exit(0);
}

bool host_port_panics(void (*action)(void *), void *context, char *message, size_t size)
{
    int ends[2];
    (void)fflush(NULL);
    if (pipe(ends) != 0)
        misuse("no pipe");
    pid_t child = fork();
    if (child < 0)
        misuse("no process");
    if (child == 0)
        run_and_exit(action, context, ends[1]);
    (void)close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while (length + 1 < size && (got = read(ends[0], message + length, size - 1 - length)) > 0)
        length += (size_t)got;
    message[length] = '\0';
    (void)close(ends[0]);
    int state = 0;
    while (waitpid(child, &state, 0) < 0) {
    }
    return WIFEXITED(state) && WEXITSTATUS(state) == PANIC_EXIT;
}

bool host_port_check_panics(void (*action)(void *), void *context, const char *text,
                            const char *file, int line, const char *name)
{
    char message[TSL_LOG_LINE_BYTES];
    if (!host_port_panics(action, context, message, sizeof(message))) {
        tap_note("%s did not panic", name);
        return tap_check(false, file, line, text);
    }
    if (strstr(message, text) == NULL) {
        tap_note("%s panicked with: %s", name, message);
        return tap_check(false, file, line, text);
    }
    return tap_check(true, file, line, text);
}
