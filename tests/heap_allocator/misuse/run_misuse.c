/* SPDX-License-Identifier: MIT
 *
 * run_misuse.c: runs the corpus, each program in a process of its own, and compares what was
 * reported with what this build's tier promises.
 *
 * Owns:    the verdicts.
 * Needs:   misuse.h, host_port.h, tap.h; fork and SIGSEGV.
 * Callers: host, once for each tier of HEAP_HARDENING.
 *
 * With TSL_MISUSE_LIST in the environment every program is printed with its verdict.
 */
#define _GNU_SOURCE
#include "misuse.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tesela/config.h>
#include <tesela/heap_hardening.h>
#include <tesela/heap_report.h>

#include "host_port.h"
#include "misuse_source.h"
#include "tap.h"

#define CWES 64

/* What came of a program. */
enum verdict { SILENT, REPORTED, REFUSED, CRASHED, VERDICTS };

static const char *const verdict_names[VERDICTS] = {"silent", "reported", "refused", "crashed"};

struct outcome {
    enum verdict verdict;
    char line[200]; /* the first report */
};

static const struct misuse_file *const files[] = {
    &misuse_double_free, &misuse_use_after_free, &misuse_overflow, &misuse_overread,
    &misuse_bad_pointer, &misuse_bad_size, &misuse_leak, &misuse_zero, &misuse_length,
    &misuse_lifetime,
    /* Granules have no caches. */
    TSL_HEAP_CORE_SLABS ? &misuse_cache : NULL};

static const size_t slot_sizes[] = {64, 208, 992};
static const size_t large_sizes[] = {40000, 70000};

static struct misuse_source sources[2];
static struct tsl_page_source windows[2];
static struct misuse child; /* what the process under test works on */
static int child_pipe;

/* ---- In the process of one program ---- */

TSL_NORETURN static void end_child(enum verdict verdict)
{
    struct outcome outcome = {.verdict = verdict};

    if (verdict == REPORTED || verdict == REFUSED)
        (void)tsl_format(outcome.line, sizeof outcome.line, "%s", host_port_log_first());
    _exit(write(child_pipe, &outcome, sizeof outcome) == sizeof outcome ? 0 : 1);
}

/* A page without access was touched: the heap says whether it knows why. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;

    (void)number;
    (void)context;
    end_child(tsl_heap_explain(child.heap, address) || tsl_heap_explain(child.other, address)
                  ? REPORTED
                  : CRASHED);
}

/* Shortage is an answer, not an accusation. */
static void count_refusals(const struct tsl_heap *heap, unsigned *reports, unsigned *refusals)
{
    struct tsl_heap_stats stats;

    tsl_heap_stats(heap, &stats);
    for (unsigned i = 1; i < TSL_STATUS_COUNT; i++)
        if (i == TSL_NO_MEMORY || i == TSL_OUT_OF_RANGE)
            *refusals += (unsigned)stats.refusals.by_status[i];
        else
            *reports += (unsigned)stats.refusals.by_status[i];
}

static struct tsl_heap *heap_over(const struct tsl_page_source *source)
{
    struct tsl_heap_config config = {.source = *source};
    struct tsl_heap *heap = NULL;

    return tsl_heap_create(&config, &heap) == TSL_OK ? heap : NULL;
}

TSL_NORETURN static void run_child(const struct misuse_shape *shape, size_t size, bool is_bad)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    unsigned reports = 0, refusals = 0;

    action.sa_sigaction = on_fault;
    if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
        _exit(1);
    child = (struct misuse){heap_over(&windows[0]), heap_over(&windows[1]), size, is_bad};
    if (child.heap == NULL || child.other == NULL)
        _exit(1);
    host_port_log_clear();
    shape->run(&child);
    count_refusals(child.heap, &reports, &refusals);
    if (host_port_log_first()[0] != '\0' && reports + refusals == 0)
        reports++; /* about the other heap, which may be gone */
    if (tsl_heap_destroy(child.heap) == TSL_BUSY)
        reports++;
    bool has_line = host_port_log_first()[0] != '\0';
    end_child(reports > 0 && has_line ? REPORTED : reports + refusals > 0 ? REFUSED : SILENT);
}

static struct outcome run(const struct misuse_shape *shape, size_t size, bool is_bad)
{
    struct outcome outcome = {.verdict = CRASHED};
    int ends[2];

    if (pipe(ends) != 0)
        return outcome;
    pid_t id = fork();
    if (id == 0) {
        child_pipe = ends[1];
        run_child(shape, size, is_bad);
    }
    (void)close(ends[1]);
    if (read(ends[0], &outcome, sizeof outcome) != sizeof outcome)
        outcome.verdict = CRASHED;
    (void)close(ends[0]);
    (void)waitpid(id, NULL, 0);
    return outcome;
}

/* ---- Judging ---- */

struct tally {
    const char *cwe;
    unsigned count[VERDICTS];
};

static struct tally tallies[CWES];

static struct tally *tally_of(const char *cwe)
{
    struct tally *at = tallies;

    while (at->cwe != NULL && strcmp(at->cwe, cwe) != 0)
        at++;
    at->cwe = cwe;
    return at;
}

/* Refused and reported are as good: nothing happened, and there is a line that says so. */
static bool is_caught(enum verdict verdict)
{
    return verdict == REPORTED || verdict == REFUSED;
}

static void judge_bad(const struct misuse_shape *shape, size_t size, bool is_large)
{
    struct outcome outcome = run(shape, size, true);
    enum misuse_tier from = is_large ? shape->large_from : shape->slots_from;
    bool is_due = TSL_HEAP_HARDENING >= (int)from;
    bool is_open =
        !is_due && (TSL_HEAP_HARDENING >= (int)shape->maybe_from || TSL_HEAP_HARDENING == NONE);

    /* A large block of granules shares its first and last page with others, and what is used again
     * may lie elsewhere. */
    is_open = is_open || (TSL_HEAP_CORE_GRANULES && is_large && strcmp(shape->cwe, "cwe416") == 0);

    tally_of(shape->cwe)->count[outcome.verdict]++;
    if (getenv("TSL_MISUSE_LIST") != NULL)
        tap_note("%s %s %zu: %s %s", shape->cwe, shape->name, size, verdict_names[outcome.verdict],
                 outcome.line);
    if (!is_open && is_caught(outcome.verdict) != is_due) {
        tap_note("%s %s %zu: %s, %s was promised", shape->cwe, shape->name, size,
                 verdict_names[outcome.verdict], is_due ? "a report" : "nothing");
        CHECK(is_caught(outcome.verdict) == is_due);
    }
}

static void judge_good(const struct misuse_shape *shape, size_t size, bool is_large)
{
    struct outcome outcome = run(shape, size, false);

    (void)is_large;
    tally_of(shape->cwe)->count[outcome.verdict]++;
    if (outcome.verdict != SILENT) {
        tap_note("good %s %s %zu: %s: %s", shape->cwe, shape->name, size,
                 verdict_names[outcome.verdict], outcome.line);
        CHECK(outcome.verdict == SILENT);
    }
}

static unsigned for_each_program(void (*judge)(const struct misuse_shape *, size_t, bool))
{
    unsigned programs = 0;

    for (size_t f = 0; f < TSL_COUNT_OF(files); f++) {
        if (files[f] == NULL || (!TSL_HEAP_ZERO_FAULTS && files[f] == &misuse_zero))
            continue;
        for (size_t s = 0; s < files[f]->count; s++) {
            const struct misuse_shape *shape = &files[f]->shapes[s];
            for (size_t i = 0; i < TSL_COUNT_OF(slot_sizes); i++)
                if ((shape->sizes & SLOTS) != 0 || ((shape->sizes & ONCE) != 0 && i == 0)) {
                    judge(shape, slot_sizes[i], false);
                    programs++;
                }
            for (size_t i = 0; i < TSL_COUNT_OF(large_sizes); i++)
                if ((shape->sizes & LARGE) != 0) {
                    judge(shape, large_sizes[i], true);
                    programs++;
                }
        }
    }
    return programs;
}

static void start(void)
{
    for (size_t i = 0; i < TSL_COUNT_OF(sources) && sources[i].start == NULL; i++)
        windows[i] = misuse_source_init(&sources[i]);
    memset(tallies, 0, sizeof tallies);
}

static void print_tallies(const char *tier, unsigned programs)
{
    unsigned sums[VERDICTS] = {0};

    tap_note("%8s %9s %9s %9s %9s", "cwe", "reported", "refused", "crashed", "silent");
    for (const struct tally *at = tallies; at->cwe != NULL; at++) {
        tap_note("%8s %9u %9u %9u %9u", at->cwe, at->count[REPORTED], at->count[REFUSED],
                 at->count[CRASHED], at->count[SILENT]);
        for (unsigned i = 0; i < VERDICTS; i++)
            sums[i] += at->count[i];
    }
    tap_note("tier %s: %u programs, %u reported, %u refused, %u crashed, %u silent: %u %% caught",
             tier, programs, sums[REPORTED], sums[REFUSED], sums[CRASHED], sums[SILENT],
             100 * (sums[REPORTED] + sums[REFUSED]) / programs);
}

static void each_mistake_as_promised(void)
{
    static const char *const tiers[] = {"none", "basic", "moderate", "full", "debug"};

    start();
    unsigned programs = for_each_program(judge_bad);
    CHECK(programs >= 200);
    print_tallies(tiers[TSL_HEAP_HARDENING], programs);
}

static void no_false_alarm(void)
{
    start();
    CHECK(for_each_program(judge_good) >= 200);
}

TAP_SUITE(misuse, TAP_TEST(each_mistake_as_promised), TAP_TEST(no_false_alarm));
