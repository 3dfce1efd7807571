/* SPDX-License-Identifier: MIT
 *
 * call.pml: a function run on other CPUs, while CPUs call each other, leave and join.
 *
 * Owns:    a model of components/base: call.c, tsl_cpu_join and tsl_cpu_leave of cpu.c.
 * Needs:   spin, a C compiler.
 * Callers: run_models.py.
 *
 * What is called gives back what its CPU keeps (`kept`). What is proved, for every interleaving of
 * single accesses to shared memory:
 *   - what a CPU kept when the call began is given back when it returns,
 *   - a call runs at most once on a CPU, and not after it has returned,
 *   - nobody waits for ever, also when all call each other or leave at that moment.
 * SEED_... put one bug in; the check then expects spin to find it.
 */
#ifndef CPUS
#define CPUS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif

byte online = (1 << CPUS) - 1; /* one bit for each CPU */
byte keepers = (1 << CPUS) - 1;
byte askers[CPUS];  /* whose call this one is to run */
byte waiting[CPUS]; /* who has not finished this one's call */
bool kept[CPUS];
byte finished;

/* Ghosts. */
bool in_call[CPUS];
byte has_run[CPUS];   /* CPUs on which this one's present call has run */
byte owed[CPUS];      /* CPUs that kept something when it began and have not given it back since */

/* The function itself, on this CPU. */
inline give_back()
{
    d_step {
        kept[me] = false;
        for (g : 0 .. CPUS - 1) { owed[g] = owed[g] & ~(1 << me) }
        g = 0
    }
}

/* tsl_calls_answer */
inline answer()
{
    a = 0;
    do
    :: a < CPUS ->
       if
       :: askers[me] & (1 << a) ->
          d_step { taken = (askers[me] & (1 << a)) != 0; askers[me] = askers[me] & ~(1 << a) }
          if
          :: taken ->
             d_step {
                 assert(in_call[a]);
                 assert((has_run[a] & (1 << me)) == 0);
                 has_run[a] = has_run[a] | (1 << me)
             }
             give_back();
             waiting[a] = waiting[a] & ~(1 << me)
          :: else
          fi
       :: else
       fi;
       a++
    :: else -> break
    od;
    a = 0;
    taken = false
}

/* A loop in the code; here each turn has a reason, so that waiting without one is found. */
inline wait_for(c)
{
    do
    :: (waiting[me] & (1 << c)) == 0 -> break
#ifndef SEED_DEAF
    :: askers[me] != 0 -> answer()
#endif
#ifndef SEED_WAIT_FOR_GONE
    :: (online & (1 << c)) == 0 && (askers[c] & (1 << me)) != 0 ->
       d_step { taken = (askers[c] & (1 << me)) != 0; askers[c] = askers[c] & ~(1 << me) }
#ifdef SEED_NO_WITHDRAWAL
       taken = true;
#endif
       if
       :: taken -> waiting[me] = waiting[me] & ~(1 << c)
       :: else
       fi
#endif
    od;
    taken = false
}

inline call_all()
{
    d_step {
        in_call[me] = true;
        has_run[me] = 0;
        for (g : 0 .. CPUS - 1) { owed[me] = owed[me] | ((kept[g] -> 1 : 0) << g) }
        g = 0
    }
    others = online & ~(1 << me);
    c = 0;
    do
    :: c < CPUS ->
       if
       :: others & (1 << c) ->
          waiting[me] = waiting[me] | (1 << c);
          askers[c] = askers[c] | (1 << me)
       :: else
       fi;
       c++
    :: else -> break
    od;
    if
    :: online & (1 << me) -> give_back()
    :: else
    fi;
    c = 0;
    do
    :: c < CPUS ->
       if
       :: others & (1 << c) -> wait_for(c)
       :: else
       fi;
       c++
    :: else -> break
    od;
    c = 0;
    others = 0;
    d_step {
        assert(owed[me] == 0);
        in_call[me] = false;
        has_run[me] = 0
    }
}

inline leave()
{
#ifdef SEED_LEAVE_FIRST
    online = online & ~(1 << me);
    keepers = keepers & ~(1 << me);
    give_back();
#else
    keepers = keepers & ~(1 << me);
    give_back();
    online = online & ~(1 << me);
#endif
    answer()
}

inline join()
{
    online = online | (1 << me);
    answer();
    keepers = keepers | (1 << me)
}

proctype cpu(byte me)
{
    byte rounds, a, c, g, others;
    bool taken;

    do
    :: rounds < ROUNDS ->
       rounds++;
       if
       :: askers[me] != 0 && (online & (1 << me)) -> answer() /* the kick */
       :: true
       fi;
       if
       :: keepers & (1 << me) -> kept[me] = true; call_all()
       :: keepers & (1 << me) -> kept[me] = true
       :: online & (1 << me) -> leave()
       :: !(online & (1 << me)) -> join()
       :: true -> call_all()
       fi
    :: else -> break
    od;
    finished++;
    do /* interrupts are answered until all are done; a CPU that left takes none */
    :: (online & (1 << me)) && askers[me] != 0 -> answer()
    :: finished == CPUS -> break
    od
}

init
{
    byte i;
    atomic {
        for (i : 0 .. CPUS - 1) { run cpu(i) }
        i = 0
    }
    finished == CPUS
}
