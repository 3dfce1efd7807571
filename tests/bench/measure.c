/* SPDX-License-Identifier: MIT
 *
 * measure.c: what a process cost: peer-malloc-measure LIBRARY WORDS... runs WORDS with LIBRARY
 * preloaded (`-`: none) and prints `cost CPU-MICROSECONDS PEAK-KIB` on standard error.
 *
 * Owns:    nothing.
 * Needs:   fork, getrusage.
 * Callers: tools/bench_heap.py.
 *
 * A program of its own, and small: the kernel counts what a process had before it became another
 * program into its peak.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long long microseconds(struct timeval time)
{
    return (long long)time.tv_sec * 1000000 + time.tv_usec;
}

int main(int count, char **words)
{
    int status = 0;
    struct rusage cost;

    if (count < 3)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        if (strcmp(words[1], "-") != 0)
            setenv("LD_PRELOAD", words[1], 1);
        execvp(words[2], words + 2);
        perror(words[2]);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    getrusage(RUSAGE_CHILDREN, &cost);
    fprintf(stderr, "cost %lld %ld\n", microseconds(cost.ru_utime) + microseconds(cost.ru_stime),
            cost.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
