/* SPDX-License-Identifier: MIT
 *
 * mutex.c: the two slow paths of a mutex.
 *
 * Owns:    nothing.
 * Needs:   the futex system call.
 * Callers: mutex.h.
 */
#define _GNU_SOURCE
#include "mutex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whoever sleeps here must not change what the caller of malloc sees in errno. */
static void futex(uint32_t *word, int operation, uint32_t value)
{
    int kept = errno;
    (void)syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
    errno = kept;
}

void mutex_wait(struct mutex *self)
{
    while (tsl_atomic_exchange_u32(&self->state, 2) != 0)
        futex(&self->state, FUTEX_WAIT_PRIVATE, 2);
}

void mutex_wake(struct mutex *self)
{
    futex(&self->state, FUTEX_WAKE_PRIVATE, 1);
}
