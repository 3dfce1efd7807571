/* SPDX-License-Identifier: MIT
 *
 * port.c: the rest of what Tesela asks for: log, panic, and the instructions of a machine.
 *
 * Owns:    nothing.
 * Needs:   system calls, abort.
 * Callers: Tesela, through port.h and arch.h; the pins are in threads.c.
 *
 * A process has no translations to drop: the kernel below it does that. Functions of the C library
 * that wait or write are points where a thread may be cancelled, which malloc is not: hence system
 * calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <tesela/arch.h>
#include <tesela/port.h>

#include "malloc_internal.h"

/* Without stdio, which allocates. */
static void write_line(const char *line)
{
    int kept = errno;
    struct iovec parts[] = {{(char *)(uintptr_t) "tesela: ", 8},
                            {(char *)(uintptr_t)line, strlen(line)},
                            {(char *)(uintptr_t) "\n", 1}};
    long written = syscall(SYS_writev, STDERR_FILENO, parts, 3);
    (void)written;
    errno = kept;
}

/* Programs that probe for memory until there is none are no news: warnings only on request. */
void tsl_port_log(enum tsl_log_level level, const char *line)
{
    if (level <= TSL_LOG_ERROR || process_wants("verbose"))
        write_line(line);
}

void tsl_port_panic(const char *message)
{
    write_line(message);
    abort();
}

void *tsl_port_phys_to_virt(tsl_paddr address)
{
    (void)address;
    return NULL;
}

void tsl_arch_flush_all(bool global_too)
{
    (void)global_too;
}

void tsl_arch_flush(const struct tsl_flush *request)
{
    (void)request;
}

/* Who holds a lock may have been put aside: those who spin must not only offer the processor but
 * leave it. */
void tsl_arch_relax(void)
{
    static _Thread_local unsigned spins;
    const struct timespec moment = {.tv_nsec = 50000};
    int kept = errno;

    if (++spins % 16 == 0)
        (void)syscall(SYS_nanosleep, &moment, NULL);
    else
        (void)sched_yield();
    errno = kept;
}
