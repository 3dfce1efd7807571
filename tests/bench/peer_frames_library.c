/* SPDX-License-Identifier: MIT
 *
 * peer_frames_library.c: the rows frames.* over a frame allocator in a shared library.
 *
 * Owns:    the four functions found in it; README.md in this folder is their contract.
 * Needs:   bench_frames_rows.h, the dynamic linker. Argument: the library's path.
 * Callers: ./bench frames --peer NAME=PATH.
 */
#define _DEFAULT_SOURCE

#include <dlfcn.h>
#include <string.h>

#include "bench_frames_rows.h"

static const struct rows_effort subject_effort = {
    .hot_pairs = 1000000,
    .churn_pairs = 1000000,
    .recovery_samples = 9,
    .recovery_more = 12u << 20,
    .threads = true,
};

static int (*peer_create)(uint64_t frames, unsigned cpus);
static int64_t (*peer_alloc)(unsigned cpu, unsigned order);
static int (*peer_free)(unsigned cpu, uint64_t frame, unsigned order);
static uint64_t (*peer_metadata_bytes)(void);

static _Thread_local unsigned this_cpu;

static bool subject_alloc(unsigned order, uint32_t *out)
{
    int64_t frame = peer_alloc(this_cpu, order);
    *out = (uint32_t)frame;
    return frame >= 0;
}

static bool subject_free(uint32_t frame, unsigned order)
{
    return peer_free(this_cpu, frame, order) == 0;
}

static void subject_be_cpu(unsigned cpu)
{
    this_cpu = cpu;
}

/* Copied as bytes: C has no conversion between pointers to data and to functions. */
static void find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL)
        fprintf(stderr, "%s\n", dlerror());
    bench_require(symbol != NULL, "the library lacks a function");
    memcpy(function, &symbol, sizeof(symbol));
}

int main(int count, char **arguments)
{
    bench_require(count == 2, "one argument: the path of a shared library");
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (library == NULL)
        fprintf(stderr, "%s\n", dlerror());
    bench_require(library != NULL, "the library cannot be loaded");
    find(library, "frames_peer_create", &peer_create);
    find(library, "frames_peer_alloc", &peer_alloc);
    find(library, "frames_peer_free", &peer_free);
    find(library, "frames_peer_metadata_bytes", &peer_metadata_bytes);
    bench_require(peer_create(ROWS_FRAMES, 2) == 0, "the peer's allocator");
    printf("row frames.metadata bytes/GiB %llu 1\n",
           (unsigned long long)(peer_metadata_bytes() / 4));
    bench_frames_rows();
    return 0;
}
