/* SPDX-License-Identifier: MIT
 *
 * process.c: the one heap of the process: its start, fork, what is said about it.
 *
 * Owns:    process_heap; the words of TESELA_MALLOC.
 * Needs:   heap_allocator, pages.c, resizes.c, threads.c.
 * Callers: malloc.c, threads.c.
 *
 * The heap is made by the first allocation, which may come before any constructor has run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tesela/atomic.h>
#include <tesela/format.h>
#include <tesela/heap_report.h>

#include "malloc_internal.h"

extern char **environ;

struct tsl_heap *process_heap;

enum { UNSTARTED, STARTING, STARTED };
static uint32_t stage;

/* ---- TESELA_MALLOC ---- */

/* Without getenv(), which may not be ready when the first allocation comes. */
static const char *setting(void)
{
    static const char name[] = "TESELA_MALLOC=";

    for (char **entry = environ; entry != NULL && *entry != NULL; entry++)
        if (strncmp(*entry, name, sizeof(name) - 1) == 0)
            return *entry + sizeof(name) - 1;
    return "";
}

bool process_wants(const char *word)
{
    size_t length = strlen(word);

    for (const char *text = setting(); *text != '\0'; text += strcspn(text, ",")) {
        text += *text == ',';
        if (strncmp(text, word, length) == 0 && (text[length] == ',' || text[length] == '\0'))
            return true;
    }
    return false;
}

/* ---- what is said ---- */

static void write_text(void *context, const char *text, size_t length)
{
    long written = syscall(SYS_write, STDERR_FILENO, text, length); /* as in port.c */

    (void)context;
    (void)written;
}

static const struct tsl_sink standard_error = {.write = write_text};

void process_misuse(const char *function, const void *block, enum tsl_status status)
{
    tsl_print(&standard_error, "tesela: %s(%p): %s\n", function, block, tsl_status_name(status));
    if (!process_wants("report"))
        abort();
}

static void dump_at_exit(void)
{
    tsl_heap_dump(process_heap, &standard_error);
}

/* ---- fork ---- */

static void before_fork(void)
{
    resizes_stop();
    threads_stop();
    pages_stop();
}

static void after_fork_parent(void)
{
    pages_go();
    threads_go();
    resizes_go();
}

static void after_fork_child(void)
{
    pages_go();
    threads_alone();
    resizes_alone();
}

/* ---- start ---- */

static void start(void)
{
    struct tsl_heap_config config = {.ceiling_bytes = 0};

    threads_start();
    if (!pages_start(&config.source) || tsl_heap_create(&config, &process_heap) != TSL_OK)
        process_heap = NULL;
    tsl_atomic_store_release_u32(&stage, STARTED);
    (void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    if (process_heap != NULL && process_wants("dump"))
        (void)atexit(dump_at_exit);
}

/* The thread that starts is inside here again: making the heap pins. */
void process_start(void)
{
    static _Thread_local bool is_starting;
    uint32_t expected = UNSTARTED;

    if (tsl_atomic_load_acquire_u32(&stage) == STARTED || is_starting)
        return;
    if (tsl_atomic_compare_exchange_u32(&stage, &expected, STARTING)) {
        is_starting = true;
        start();
        is_starting = false;
    }
    while (tsl_atomic_load_acquire_u32(&stage) != STARTED)
        (void)sched_yield();
}
