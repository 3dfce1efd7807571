/* SPDX-License-Identifier: MIT
 *
 * workload.c: runs one workload of malloc: peer-malloc-workload NAME; without a name it lists them.
 *
 * Owns:    nothing.
 * Needs:   workload.h.
 * Callers: tools/bench_heap.py, which takes CPU time and peak memory of the whole process.
 *
 * Prints `wall NS`, the real time that the workload took.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "workload.h"

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long long)time.tv_sec * 1000000000 + time.tv_nsec;
}

static const struct workload *find(const struct workload *list, const char *name)
{
    while (list->name != NULL && strcmp(list->name, name) != 0)
        list++;
    return list->name != NULL ? list : NULL;
}

static void print_all(const struct workload *list)
{
    for (; list->name != NULL; list++)
        printf("%s: %s\n", list->name, list->meaning);
}

int main(int count, char **words)
{
    if (count != 2) {
        print_all(workloads_single);
        print_all(workloads_threads);
        return 0;
    }
    const struct workload *workload = find(workloads_single, words[1]);
    if (workload == NULL)
        workload = find(workloads_threads, words[1]);
    bench_require(workload != NULL, "no such workload");
    long long start = now();
    workload->run();
    printf("wall %lld\n", now() - start);
    return 0;
}
