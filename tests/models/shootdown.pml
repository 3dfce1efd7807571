/* SPDX-License-Identifier: MIT
 *
 * shootdown.pml: translations go on all CPUs before their frames are free, whatever the CPUs do.
 *
 * Owns:    a model of components/page_table: gather.c, switch_to, tagged.c; of the mailboxes in
 *          components/base: flush.c; and of how components/vallocator frees kernel ranges.
 * Needs:   spin, a C compiler.
 * Callers: run_models.py.
 *
 * One page of a space and one of a kernel range. CPUs map and unmap both, run the space and leave it; the
 * range's page waits for a later flush when it is freed (`parked`). Their hardware fills its caches whenever
 * it likes. TAGS: what a CPU remembers of a space stays while it runs another. What is proved, for every
 * interleaving of single accesses to shared memory:
 *   - no CPU can reach a frame that is free,
 *   - nobody finds an old page at a kernel address that has a new one,
 *   - nobody waits for ever, for a lock or for an answer.
 * SEED_... put one bug in; the check then expects spin to find it.
 */
#ifndef CPUS
#define CPUS 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#define FRAMES 2

#define SPACE 1 /* what a request names, and who owns a frame */
#define RANGE 2

byte owner[FRAMES + 1];  /* 0: free; frame 0 is none */
byte entry, range_entry; /* the frame that each page has in the tables */
byte parked;             /* out of the tables, not flushed yet */
byte table_lock, range_lock;

byte running;            /* one bit for each CPU: those to be asked for the space */
bool loaded[CPUS];       /* the space's root is */
byte tlb[CPUS], range_tlb[CPUS];

/* Mailboxes. The latch is held for a few copies, so what happens under it is one step. */
byte pending[CPUS], posted[CPUS], taken[CPUS], done[CPUS];
bool kicked[CPUS];

/* TAGS: flushes of the space, and up to which a CPU that is not running it has nothing stale. */
byte begun, ended, seen[CPUS];

byte finished;

#define BIT(c) (1 << (c))

inline invalidate(names)
{
    if
#ifdef TAGS
    :: (names & SPACE) && loaded[me] -> tlb[me] = 0
#else
    :: (names & SPACE) -> tlb[me] = 0
#endif
    :: else
    fi;
    if
    :: (names & RANGE) -> range_tlb[me] = 0
    :: else
    fi
}

/* Before: there is something to answer. */
inline answer()
{
    d_step { names = pending[me]; pending[me] = 0; taken[me] = posted[me]; number = taken[me] }
#ifdef SEED_EARLY_ACK
    done[me] = number;
#endif
    invalidate(names);
#ifdef SEED_LATE_NUMBER
    number = posted[me];
#endif
    done[me] = number;
    d_step { names = 0; number = 0 }
}

inline answer_if_any()
{
    if
    :: posted[me] != done[me] -> answer()
    :: else
    fi
}

inline acquire(lock)
{
    do
    :: atomic { lock == 0 -> lock = me + 1; break }
#ifndef SEED_DEAF
    :: posted[me] != done[me] -> answer()
#endif
    od
}

inline release(lock)
{
    lock = 0
}

/* tsl_flush_cpus: posts to all, kicks those whose box was empty, waits for all. */
inline flush(cpus, what)
{
    others = cpus;
    c = 0;
    do
    :: c < CPUS ->
       if
       :: c != me && (others & BIT(c)) ->
          d_step {
              if
              :: taken[c] == posted[c] -> kicks = kicks | BIT(c)
              :: else
              fi;
              pending[c] = pending[c] | what;
              posted[c]++
          }
       :: else
       fi;
       c++
    :: else -> break
    od;
    c = 0; /* spin: no jump from a loop into a d_step */
    d_step {
        for (c : 0 .. CPUS - 1) {
            if
            :: kicks & BIT(c) -> kicked[c] = true
            :: else
            fi
        }
        kicks = 0
    }
    if
    :: others & BIT(me) -> invalidate(what)
    :: else
    fi;
    c = 0;
    do
    :: c < CPUS ->
       if
       :: c != me && (others & BIT(c)) ->
          wanted = posted[c];
          do
          :: done[c] >= wanted -> break
          :: posted[me] != done[me] -> answer()
          od
       :: else
       fi;
       c++
    :: else -> break
    od;
    c = 0;
    d_step { others = 0; wanted = 0 }
}

/* Nobody can use it: neither who runs the space, nor (without TAGS) who remembers it. */
inline free(frame)
{
    d_step {
        for (g : 0 .. CPUS - 1) {
            assert(!loaded[g] || tlb[g] != frame);
            assert(range_tlb[g] != frame)
        }
        g = 0;
        owner[frame] = 0
    }
}

inline take(frame, who)
{
    d_step {
        frame = 0;
        if
        :: owner[1] == 0 -> frame = 1
        :: else ->
           if
           :: owner[2] == 0 -> frame = 2
           :: else
           fi
        fi;
        if
        :: frame != 0 -> owner[frame] = who
        :: else
        fi
    }
}

inline change_page()
{
    acquire(table_lock);
    if
    :: entry == 0 ->
       take(old, SPACE);
       entry = old
    :: else ->
       old = entry;
       entry = 0;
#ifdef SEED_FREE_FIRST
       free(old);
#endif
#if defined(TAGS) && !defined(SEED_COUNT_LATE)
       begun++;
#endif
       flush(running, SPACE);
#ifdef TAGS
#ifdef SEED_COUNT_LATE
       begun++;
#endif
       ended++;
#endif
#ifndef SEED_FREE_FIRST
       free(old)
#endif
    fi;
    old = 0;
    release(table_lock)
}

/* A kernel range is had, given back, or those given back are purged. */
inline change_range()
{
    acquire(range_lock);
    if
#ifdef SEED_REUSE
    :: range_entry == 0 ->
#else
    :: range_entry == 0 && parked == 0 ->
#endif
       take(old, RANGE);
       d_step {
           for (g : 0 .. CPUS - 1) { assert(range_tlb[g] == 0 || old == 0) }
           g = 0;
           range_entry = old
       }
    :: range_entry != 0 && parked == 0 ->
       old = range_entry;
       range_entry = 0;
       parked = old
    :: parked != 0 ->
#ifdef SEED_RUNNING_ONLY
       flush(running, RANGE);
#else
       flush(BIT(CPUS) - 1, RANGE);
#endif
       free(parked);
       parked = 0
    fi;
    old = 0;
    release(range_lock)
}

/* tsl_table_switch_to, tsl_table_left; with interrupts off. */
inline switch()
{
    if
    :: loaded[me] ->
#ifdef TAGS
#ifdef SEED_LEAVE_ANYWAY
       seen[me] = begun;
#else
       number = ended;
       if
       :: begun == number -> seen[me] = number
       :: else
       fi;
       number = 0;
#endif
       loaded[me] = false;
#else
       d_step { loaded[me] = false; tlb[me] = 0 }
#endif
       running = running & ~BIT(me)
    :: else ->
#ifndef SEED_ROOT_FIRST
       running = running | BIT(me);
#endif
#ifdef TAGS
       number = begun;
       d_step {
           if
#ifdef SEED_KEEP
           :: false
#else
           :: seen[me] != number -> tlb[me] = 0
#endif
           :: else
           fi;
           seen[me] = number;
           loaded[me] = true;
           assert(tlb[me] == 0 || owner[tlb[me]] == SPACE);
           number = 0
       }
#else
       d_step { tlb[me] = 0; loaded[me] = true }
#endif
#ifdef SEED_ROOT_FIRST
       running = running | BIT(me)
#endif
    fi
}

proctype cpu(byte me)
{
    byte rounds, c, g, others, kicks, wanted, names, number, old;

    do
    :: kicked[me] -> kicked[me] = false; answer_if_any()
    :: rounds < ROUNDS -> rounds++; change_page()
#ifndef NO_RANGE
    :: rounds < ROUNDS -> rounds++; change_range()
#endif
    :: rounds < ROUNDS + 1 -> rounds++; switch()
    :: rounds >= ROUNDS -> break
    od;
    finished++;
    do
    :: kicked[me] -> kicked[me] = false; answer_if_any()
    :: finished == CPUS -> break
    od
}

/* Caches fill at any time, of whatever the tables show. */
proctype hardware()
{
    byte c;
    do
    :: finished == CPUS -> break
    :: d_step { loaded[0] && tlb[0] == 0 && entry != 0 -> tlb[0] = entry }
    :: d_step { loaded[1] && tlb[1] == 0 && entry != 0 -> tlb[1] = entry }
#if CPUS > 2
    :: d_step { loaded[2] && tlb[2] == 0 && entry != 0 -> tlb[2] = entry }
#endif
#ifndef NO_RANGE
    :: d_step { range_tlb[0] == 0 && range_entry != 0 -> range_tlb[0] = range_entry }
    :: d_step { range_tlb[1] == 0 && range_entry != 0 -> range_tlb[1] = range_entry }
#if CPUS > 2
    :: d_step { range_tlb[2] == 0 && range_entry != 0 -> range_tlb[2] = range_entry }
#endif
#endif
    od
}

init
{
    atomic {
        owner[1] = SPACE;
        entry = 1;
        run hardware();
        byte i;
        for (i : 0 .. CPUS - 1) { run cpu(i) }
        i = 0
    }
    finished == CPUS
}
