/* SPDX-License-Identifier: MIT
 *
 * explorer.h: runs a few CPUs one step at a time, in every order that matters.
 *
 * Owns:    the schedules, the threads that play CPUs, the faults that it can put in.
 * Needs:   POSIX threads and fork; host_port.h, tap.h. Sources under exploration are compiled with
 *          explorer_atomic.h in front of everything.
 * Callers: tests of this folder.
 *
 * Each CPU is a thread, and one of them has the baton; it may lose it at every atomic access, at
 * every access to a table entry and wherever the test says so (a *point*). A schedule is the list
 * of points at which it did. Schedules that change CPUs between operations only are tried first,
 * then those with few preemptions anywhere, all of them as far as the budget goes, since few are
 * enough for most mistakes; then random ones. The same schedule gives
 * the same run: a failure prints it, and TSL_SCHEDULE=... runs it again.
 */
#ifndef EXPLORER_H
#define EXPLORER_H

#include <stdbool.h>

struct tsl_flush;

#define EXPLORER_CPUS 4u

/* A mistake put into the primitives, to see that exploring finds its consequence. */
enum explorer_fault {
    EXPLORER_NO_FAULT,
    EXPLORER_TORN_ADD,      /* add and sub are a load and a store */
    EXPLORER_TORN_MASK,     /* or and and are */
    EXPLORER_TORN_EXCHANGE, /* exchange is, of table entries too */
    EXPLORER_TORN_COMPARE,  /* compare_exchange is, of table entries too */
    EXPLORER_LATE_FLUSH,    /* a CPU says that it flushed, and does so a little later */
};

struct explorer_case {
    const char *name;
    unsigned cpus;   /* 2 .. EXPLORER_CPUS */
    unsigned longer; /* so many times the usual budget; 0 is 1 */
    /* Alone, before and after each schedule, as CPU 0. */
    void (*setup)(void);
    void (*check)(void);
    void (*body)(unsigned cpu);
};

/*
 * Explores in a process of its own; returns whether a schedule failed. Says how many were run and,
 * of the first that failed, what was wrong and the schedule (tap_note).
 * TSL_ROUNDS makes the budget longer.
 */
bool explorer_finds(const struct explorer_case *subject, enum explorer_fault fault);

/* In a body or a check: if it does not hold, this schedule has failed, and the exploration ends. */
#define EXPLORER_REQUIRE(holds) explorer_require((holds), #holds)
void explorer_require(bool holds, const char *text);

/* Another CPU may go on here: between two operations of a body, or (step, which the macros call)
 * within one. Outside of a running schedule: nothing. */
void explorer_point(void);
void explorer_step(void);

/* From here to the release is one step, as an access of a model CPU is, whatever it calls. */
void explorer_hold(void);
void explorer_release(void);

/* This CPU waits for another: the next one goes on. */
void explorer_wait(void);

/* For explorer_atomic.h. */
extern enum explorer_fault explorer_fault;
void explorer_flush(const struct tsl_flush *request);

#endif
