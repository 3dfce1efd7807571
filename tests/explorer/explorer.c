/* SPDX-License-Identifier: MIT
 *
 * explorer.c: schedules, and threads that follow them.
 *
 * Owns:    see explorer.h.
 * Needs:   POSIX threads, semaphores, fork; host_port.h.
 * Callers: see explorer.h.
 *
 * A step is a place where there is a choice who goes on: a point (going on costs nothing, another
 * CPU a preemption), the start, and the end of a body (free). Steps are numbered within a run, so a
 * schedule is a list of (step, CPU) for those that do not take the default.
 */
#define _GNU_SOURCE
#include "explorer.h"

#include <tesela/flush.h>

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_port.h"
#include "rng.h"
#include "tap.h"

/* The header's macros are for the code under exploration. */
#undef tsl_arch_flush

#define LONGEST_RUN  60000u /* steps; a run without an end has a deadlock in it */
#define PATIENCE     1000u  /* points in a row; then it may be a spin that does not say so */
#define MOST_CHOICES 4096u
#define LATE_STEPS   8u /* more than from the flush to its acknowledgement */
#define FOUND        42

enum mode { SYSTEMATIC, RANDOM, REPLAY };

struct choice {
    unsigned step;
    unsigned cpu;
    unsigned options; /* that there were; SYSTEMATIC tries one after the other */
    unsigned taken;   /* which it was, 0 the default */
};

enum explorer_fault explorer_fault;

static const struct explorer_case *subject;
static sem_t baton[EXPLORER_CPUS + 1]; /* the last is the controller's */
static bool active;
static bool held;
static bool finished[EXPLORER_CPUS];
static unsigned current;

static enum mode mode;
static struct rng chance;
static uint64_t run_seed;
static unsigned bound; /* preemptions that a schedule may have */
static bool between;   /* and only between operations */
static unsigned preemptions;
static unsigned steps;
static unsigned in_a_row;
static struct choice choices[MOST_CHOICES]; /* made in this run where there were several options */
static unsigned made;
static unsigned prefix; /* so many of `choices` are given */
static unsigned long runs;

static struct tsl_flush late[EXPLORER_CPUS];
static unsigned late_in[EXPLORER_CPUS];

static void print_schedule(void)
{
    (void)printf("run %lu, schedule TSL_SCHEDULE=", runs);
    bool first = true;
    for (unsigned i = 0; i < made; i++) {
        if (choices[i].taken != 0) {
            (void)printf("%s%u:%u", first ? "" : ",", choices[i].step, choices[i].cpu);
            first = false;
        }
    }
    if (mode == RANDOM)
        (void)printf(" (seed %#llx)", (unsigned long long)run_seed);
    (void)printf("\n");
    (void)fflush(stdout);
}

static void fail(const char *text)
{
    (void)printf("%s: CPU %u: %s\n", subject->name, current, text);
    print_schedule();
    _exit(FOUND);
}

/* A panic of the code under exploration is a finding, too. */
static void on_abort(int number)
{
    (void)number;
    fail("panic");
}

void explorer_require(bool holds, const char *text)
{
    if (!holds)
        fail(text);
}

/* ---- Choosing. ---- */

static unsigned nth_other(unsigned nth)
{
    for (unsigned i = 1; i <= subject->cpus; i++) {
        unsigned cpu = (current + i) % subject->cpus;
        if (!finished[cpu] && cpu != current && nth-- == 0)
            return cpu;
    }
    return current;
}

static unsigned others(void)
{
    unsigned count = 0;
    for (unsigned cpu = 0; cpu < subject->cpus; cpu++)
        count += !finished[cpu] && cpu != current;
    return count;
}

/* 0 .. options - 1. */
static unsigned pick(unsigned options, unsigned rarity)
{
    if (mode == REPLAY)
        return 0; /* see forced() */
    if (made < prefix)
        return choices[made].taken;
    if (mode == RANDOM)
        return rng_below(&chance, rarity) == 0 ? (unsigned)rng_below(&chance, options) : 0;
    return 0;
}

/* What TSL_SCHEDULE says about this step; `other` if nothing. */
static unsigned forced(unsigned other)
{
    const char *text = getenv("TSL_SCHEDULE");
    while (text != NULL && *text != '\0') {
        char *end;
        unsigned long step = strtoul(text, &end, 10);
        unsigned long cpu = *end == ':' ? strtoul(end + 1, &end, 10) : 0;
        if (step == steps && cpu < subject->cpus && !finished[cpu])
            return (unsigned)cpu;
        text = *end == ',' ? end + 1 : NULL;
    }
    return other;
}

/* Who goes on? The first of the options is the default: `self` or, if it cannot, the next one. */
static unsigned choose(unsigned options, unsigned rarity, bool self_too)
{
    steps++;
    if (steps > LONGEST_RUN)
        fail("this does not end");
    unsigned taken = options > 1 ? pick(options, rarity) : 0;
    unsigned cpu = self_too && taken == 0 ? current : nth_other(self_too ? taken - 1 : taken);
    if (mode == REPLAY)
        cpu = forced(cpu);
    if (options > 1 && made < MOST_CHOICES)
        choices[made++] = (struct choice){steps, cpu, options, taken};
    return cpu;
}

/* ---- Passing the baton. ---- */

static void wait_for_baton(unsigned self)
{
    while (sem_wait(&baton[self]) != 0) {
    }
}

static void pass(unsigned cpu)
{
    unsigned self = current;
    if (cpu == self)
        return;
    in_a_row = 0;
    current = cpu;
    (void)sem_post(&baton[cpu]);
    wait_for_baton(self);
}

static void flush_late(unsigned cpu)
{
    if (late_in[cpu] == 0 || --late_in[cpu] > 0)
        return;
    struct tsl_flush request = late[cpu];
    tsl_arch_flush(&request);
}

void explorer_flush(const struct tsl_flush *request)
{
    if (!active || explorer_fault != EXPLORER_LATE_FLUSH) {
        tsl_arch_flush(request);
        return;
    }
    unsigned cpu = tsl_port_cpu_id();
    late[cpu] = *request;
    late_in[cpu] = LATE_STEPS;
}

void explorer_hold(void)
{
    held = true;
}

void explorer_release(void)
{
    held = false;
}

static void point(bool within)
{
    if (!active || held)
        return;
    flush_late(current);
    host_port_poll();
    bool stays = mode == SYSTEMATIC && (preemptions >= bound || (between && within));
    unsigned cpu = choose(1 + (stays ? 0 : others()), within ? 16 : 2, true);
    preemptions += cpu != current;
    if (cpu == current && ++in_a_row > PATIENCE) {
        in_a_row = 0;
        cpu = (current + 1) % subject->cpus;
    }
    pass(cpu);
}

void explorer_point(void)
{
    point(false);
}

void explorer_step(void)
{
    point(true);
}

void explorer_wait(void)
{
    if (!active)
        return;
    flush_late(current);
    host_port_poll();
    if (++steps > LONGEST_RUN)
        fail("this does not end");
    /* The next one, even if its body has ended: it may have an interrupt to take. */
    pass((current + 1) % subject->cpus);
}

/* ---- Running. ---- */

/* The baton goes on from a CPU that has nothing to do; with nobody left, to the controller. */
static void leave(unsigned next)
{
    unsigned self = current;
    finished[self] = true;
    current = others() == 0 ? EXPLORER_CPUS : next;
    (void)sem_post(&baton[current]);
    wait_for_baton(self);
}

/* Idle until the next run: takes interrupts when those who wait for it come round. */
static void idle(unsigned self, unsigned long run)
{
    while (runs == run) {
        finished[self] = false; /* while it is in the handler, the run is not over */
        flush_late(self);
        host_port_poll();
        leave((self + 1) % subject->cpus);
    }
}

static void *cpu_main(void *context)
{
    unsigned self = (unsigned)(uintptr_t)context;
    host_port_set_cpu(self);
    wait_for_baton(self);
    for (;;) {
        unsigned long run = runs;
        subject->body(self);
        finished[self] = true;
        unsigned left = others();
        leave(left == 0 ? 0 : choose(left, 2, false));
        idle(self, run);
    }
    return NULL;
}

static void run_once(void)
{
    runs++;
    made = 0;
    steps = 0;
    preemptions = 0;
    memset(finished, 0, sizeof(finished));
    memset(late_in, 0, sizeof(late_in));
    host_port_set_cpu(0);
    subject->setup();
    current = 0;
    host_port_set_kicks(HOST_PORT_KICKS_WAIT);
    active = true;
    current = choose(subject->cpus, 1, true);
    (void)sem_post(&baton[current]);
    wait_for_baton(EXPLORER_CPUS);
    active = false;
    for (unsigned cpu = 0; cpu < subject->cpus; cpu++) {
        host_port_set_cpu(cpu);
        host_port_poll(); /* an interrupt that came last */
    }
    host_port_set_cpu(0);
    host_port_set_kicks(HOST_PORT_KICKS_RUN); /* the controller plays all CPUs again */
    subject->check();
}

/* The next prefix to try: the last choice that has another option takes it. False: all are done. */
static bool next_prefix(void)
{
    while (made > 0 && choices[made - 1].taken + 1 >= choices[made - 1].options)
        made--;
    if (made == 0)
        return false;
    choices[made - 1].taken++;
    prefix = made;
    return true;
}

static void explore_systematically(bool only_between, unsigned long budget)
{
    mode = SYSTEMATIC;
    between = only_between;
    budget += runs;
    for (bound = 0; bound <= 4; bound++) {
        prefix = 0;
        do {
            if (runs >= budget)
                return;
            run_once();
        } while (next_prefix());
    }
}

static void explore_randomly(unsigned long count)
{
    mode = RANDOM;
    prefix = 0;
    for (unsigned long i = 0; i < count; i++) {
        run_seed = tap_seed + i;
        chance = rng_of(run_seed);
        run_once();
    }
}

static void explore(void)
{
    pthread_t thread;
    (void)signal(SIGABRT, on_abort);
    for (unsigned i = 0; i <= EXPLORER_CPUS; i++)
        (void)sem_init(&baton[i], 0, 0);
    for (uintptr_t cpu = 0; cpu < subject->cpus; cpu++)
        if (pthread_create(&thread, NULL, cpu_main, (void *)cpu) != 0)
            _exit(1);
    if (getenv("TSL_SCHEDULE") != NULL) {
        mode = REPLAY;
        run_once();
    } else {
        unsigned times = subject->longer > 0 ? subject->longer : 1;
        /* A fault may hide deeper after the next change of the code; it ends the search anyway. */
        times *= explorer_fault != EXPLORER_NO_FAULT ? 8 : 1;
        explore_systematically(true, times * tap_rounds(300));
        explore_systematically(false, times * tap_rounds(600));
        explore_randomly(times * tap_rounds(300));
    }
    (void)printf("%s: %lu schedules\n", subject->name, runs);
    (void)fflush(stdout);
    _exit(0);
}

/* What the child prints becomes notes. */
static void relay(int from)
{
    char line[512];
    FILE *stream = fdopen(from, "r");
    while (stream != NULL && fgets(line, sizeof(line), stream) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        tap_note("%s", line);
    }
    if (stream != NULL)
        (void)fclose(stream);
}

bool explorer_finds(const struct explorer_case *the_subject, enum explorer_fault fault)
{
    int ends[2];
    int status = 0;
    subject = the_subject;
    explorer_fault = fault;
    (void)fflush(stdout);
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        explore();
    }
    (void)close(ends[1]);
    relay(ends[0]);
    bool ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
                 (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FOUND);
    CHECK(ended);
    explorer_fault = EXPLORER_NO_FAULT;
    return ended && WEXITSTATUS(status) == FOUND;
}
