/* SPDX-License-Identifier: MIT
 *
 * area.pml: the states of an area and the trees that areas are found in: single frames and huge
 * blocks past all claims.
 *
 * Owns:    a model of frames_area.c, frames_tree.c, the frees of frames_free.c and the searches of
 *          frames_alloc.c: AREAS areas of one word of two frames. What CPUs own and claim is
 *          claim.pml's; hints and the tree of roomy areas, which nobody depends on, are left out.
 * Needs:   spin, a C compiler.
 * Callers: run_models.py.
 *
 * Each CPU does ROUNDS operations, chosen freely (a third one takes single frames only). What is proved, for every interleaving of single
 * accesses to shared memory (sequentially consistent):
 *   - no frame has two owners (ghost `holder`), and none is lost,
 *   - what a CPU has it can free, and split: no right free is refused,
 *   - who is told that there is no single frame is right: none was free, its free ended, from the
 *     beginning of the call to the end,
 *   - at the end every area is whole, known to both trees, and found from the top (rules 6 and 9),
 *   - nobody waits for ever.
 * SEED_... put one bug in; the check then expects spin to find it.
 */
#ifndef CPUS
#define CPUS 2
#endif
#ifndef ROUNDS
#define ROUNDS 3
#endif
#ifndef AREAS
#define AREAS 2
#endif
#define FULL 3 /* a word with all bits; frame numbers are area * 2 + bit */
#define NONE 255

#define OPEN      0 /* states of an area */
#define WHOLE     1
#define SPLITTING 2
#define TRYING    3
#define LISTED    4
#define HUGE      5

byte word[AREAS];
byte state[AREAS];
byte any, whole;      /* the lowest level of the trees: a bit an area */
bool any_top, whole_top; /* the level above, one bit for all areas */
byte returns;         /* modulo 256: more never happen */
byte withdrawing;     /* the code keeps both in one word; they are read and changed together here, too */
byte finished;

/* Ghosts: what is true, whatever the allocator believes. */
byte holder[AREAS * 2]; /* NONE: free */
byte is_out;            /* frames that somebody has taken for a moment only */
byte coming[AREAS * 2]; /* frees of this frame that have not come to their end */
byte steady[CPUS];      /* the frames that have been free since this CPU's present call began */

inline ghost_gone(f)
{
    for (g : 0 .. CPUS - 1) { steady[g] = steady[g] & ~(1 << (f)) }
    g = 0
}

inline ghost_hold(f)
{
    assert(holder[f] == NONE); /* two owners */
    holder[f] = me;
    ghost_gone(f)
}

inline ghost_give(f)
{
    assert(holder[f] == me);
    holder[f] = NONE;
    coming[f]++
}

inline ghost_ended(f)
{
    coming[f]--
}

inline ghost_hold_area(a)
{
    ghost_hold((a) * 2);
    ghost_hold((a) * 2 + 1)
}

inline ghost_give_area(a)
{
    ghost_give((a) * 2);
    ghost_give((a) * 2 + 1)
}

/* ---- Trees: frames_tree.c ---- */

inline add_to(level, top, a)
{
    if
    :: !(level & (1 << (a))) ->
       level = level | (1 << (a));
       top = true
    :: else
    fi
}

inline remove_from(level, top, a)
{
    level = level & ~(1 << (a));
    if
    :: level == 0 ->
       top = false;
#ifndef SEED_TOP_STAYS_DOWN
       if
       :: level != 0 -> top = true
       :: else
       fi
#endif
    :: else
    fi
}

#ifdef SEED_BELIEVED
#define WITHDRAW_BEGINS skip
#define WITHDRAW_ENDS   skip
#else
#define WITHDRAW_BEGINS withdrawing++
#define WITHDRAW_ENDS   d_step { withdrawing--; returns++ }
#endif
#ifdef SEED_UNCOUNTED_ADD
#define ADD_BEGINS skip
#define ADD_ENDS   skip
#else
#define ADD_BEGINS withdrawing++
#define ADD_ENDS   d_step { withdrawing--; returns++ }
#endif

/* Between the two levels who searches sees neither; `withdrawing` tells it. */
inline put_in(level, top, a)
{
    if
    :: !(level & (1 << (a))) ->
       ADD_BEGINS;
       add_to(level, top, a);
       ADD_ENDS
    :: else
    fi
}

/* Puts an area where it must be found, by its present state. */
inline publish(a)
{
    now = state[a];
#ifndef SEED_LISTED_STAYS
    do
    :: now == LISTED ->
       d_step {
           if
           :: state[a] == LISTED -> state[a] = HUGE; now = HUGE
           :: else -> now = state[a]
           fi
       }
    :: else -> break
    od;
#endif
    if
    :: now == LISTED || now == HUGE || now == SPLITTING || word[a] == 0
    :: else ->
       put_in(any, any_top, a);
       if
       :: word[a] == FULL -> put_in(whole, whole_top, a)
       :: else
       fi
    fi;
    now = 0
}

inline withdraw(level, top, a)
{
    WITHDRAW_BEGINS;
    remove_from(level, top, a);
#ifndef SEED_NO_LOOK
    publish(a);
#endif
    WITHDRAW_ENDS
}

/* ---- Huge blocks ---- */

inline swap_state(a, from, to)
{
    d_step {
        swapped = state[a] == from;
        if
        :: swapped -> state[a] = to
        :: else
        fi
    }
}

/* From huge, listed or not; `swapped` says whether it was. To WHOLE: the frames are free from then on. */
inline swap_huge(a, from, to)
{
    d_step {
        swapped = state[a] == from;
        if
        :: swapped && to == WHOLE -> ghost_give_area(a); state[a] = to
        :: swapped && to != WHOLE -> state[a] = to
        :: else
        fi
    }
}

inline leave_huge(a, to)
{
#ifdef SEED_TWO_TRIES
    swap_huge(a, HUGE, to);
    if
    :: !swapped -> swap_huge(a, LISTED, to)
    :: else
    fi
#else
    now = state[a];
    swapped = false;
    do
    :: !swapped && (now == HUGE || now == LISTED) ->
       swap_huge(a, now, to);
       if
       :: !swapped -> now = state[a]
       :: else
       fi
    :: else -> break
    od;
    now = 0
#endif
}

inline take_huge()
{
    got = NONE;
    i = 0;
    do
    :: i < AREAS && got == NONE ->
       if
       :: whole_top && (whole & (1 << i)) ->
          state[i] != TRYING; /* waits until it is decided */
          swapped = false;
          if
          :: word[i] == FULL ->
             swap_state(i, WHOLE, TRYING);
             if
             :: !swapped -> swap_state(i, OPEN, TRYING)
             :: else
             fi
          :: else
          fi;
          if
          :: swapped && word[i] == FULL ->
             d_step { state[i] = HUGE; ghost_hold_area(i) }
             got = i
          :: swapped && word[i] != FULL ->
             state[i] = OPEN;
             publish(i);
             withdraw(whole, whole_top, i)
          :: !swapped -> withdraw(whole, whole_top, i)
          fi
       :: else
       fi;
       i++
    :: else -> break
    od;
    atomic { i = 0; swapped = false }
}

/* The block given back last, without a look at bits or trees. */
inline take_recent()
{
    got = NONE;
    if
    :: recent != NONE ->
       d_step {
           if
           :: state[recent] == WHOLE -> state[recent] = LISTED; got = recent; ghost_hold_area(got)
           :: else
           fi
       }
       recent = NONE
    :: else
    fi
}

inline give_huge(a)
{
    if
    :: true -> swap_huge(a, LISTED, WHOLE) /* the short way */
    :: true -> swapped = false /* as a run, or with too much to be booked */
    fi;
    if
    :: swapped -> recent = a
    :: else ->
       leave_huge(a, WHOLE);
       assert(swapped); /* a right free is refused */
       if
       :: (any & (1 << (a))) && (whole & (1 << (a)))
       :: else -> publish(a)
       fi
    fi;
    d_step { ghost_ended(a * 2); ghost_ended(a * 2 + 1); swapped = false }
}

/* The block becomes two single frames of its owner. */
inline split_huge(a)
{
    leave_huge(a, SPLITTING);
    assert(swapped); /* a right split is refused */
#ifdef SEED_SPLIT_STORE
    word[a] = 0;
#else
    atomic { word[a] == FULL -> word[a] = 0 } /* waits for who has taken a bit for a moment */
#endif
    state[a] = OPEN;
    swapped = false
}

/* ---- Single frames ---- */

/* The lowest frame of area i, which is found in a tree: `got`, or NONE if it has none to give. */
inline take_in_area()
{
    do
    :: got == NONE && word[i] != 0 ->
       skip;
       d_step {
           if
           :: word[i] & 1 -> f = i * 2
           :: word[i] & 2 -> f = i * 2 + 1
           :: else -> f = NONE
           fi;
           if
           :: f != NONE -> word[i] = word[i] & ~(1 << (f % 2)); is_out = is_out | (1 << f); ghost_gone(f)
           :: else
           fi
       }
       if
       :: f == NONE
       :: else ->
          now = state[i];
          do
          :: now == TRYING -> now = state[i]
#ifndef SEED_STAYS_WHOLE
          :: now == WHOLE ->
             swap_state(i, WHOLE, OPEN);
             now = (swapped -> OPEN : state[i])
          :: now != TRYING && now != WHOLE -> break
#else
          :: now != TRYING -> break
#endif
          od;
          if
          :: now == HUGE || now == LISTED || now == SPLITTING ->
             d_step { word[i] = word[i] | (1 << (f % 2)); is_out = is_out & ~(1 << f) }
             publish(i);
             returns++;
             f = NONE;
             break
          :: else -> d_step { got = f; is_out = is_out & ~(1 << f); ghost_hold(f); f = NONE; now = 0 }
          fi
       fi
    :: else -> break
    od;
    atomic { f = NONE; now = 0; swapped = false }
}

inline search_single()
{
    i = 0;
    do
    :: i < AREAS && got == NONE && any_top ->
       if
       :: any & (1 << i) ->
          if
          :: state[i] != HUGE && state[i] != LISTED && state[i] != SPLITTING && word[i] != 0 ->
             take_in_area()
          :: else -> withdraw(any, any_top, i)
          fi
       :: else
       fi;
       i++
    :: else -> break
    od;
    i = 0
}

inline take_single()
{
    d_step {
        got = NONE;
        steady[me] = 0;
        for (g : 0 .. AREAS * 2 - 1) {
            if
            :: holder[g] == NONE && !(is_out & (1 << g)) && coming[g] == 0 -> steady[me] = steady[me] | (1 << g)
            :: else
            fi
        }
        g = 0
    }
    do
    :: atomic { true -> seen = returns; doubts = withdrawing }
       search_single();
       if
       :: got != NONE -> break
       :: got == NONE && seen == returns && doubts == 0 && withdrawing == 0 ->
          assert(steady[me] == 0); /* a free frame was not found */
          got = NONE;
          break
       :: else
       fi
    od;
    skip;
    atomic { steady[me] = 0; seen = 0; doubts = 0 }
}

inline give_single(fr)
{
    d_step {
        assert(!(word[(fr) / 2] & (1 << ((fr) % 2)))); /* a right free is refused */
        ghost_give(fr);
        word[(fr) / 2] = word[(fr) / 2] | (1 << ((fr) % 2))
    }
    if
    :: (any & (1 << ((fr) / 2))) && (word[(fr) / 2] != FULL || (whole & (1 << ((fr) / 2))))
    :: else -> publish((fr) / 2)
    fi;
    ghost_ended(fr)
}

proctype cpu(byte me)
{
    byte rounds, got = NONE, f = NONE, i, now, g, seen, doubts;
    byte recent = (me == 0 -> 0 : NONE); /* it has given back the first area as a block */
    byte single = NONE, second = NONE, block = NONE;
    bool swapped;

    do
    :: rounds < ROUNDS ->
       rounds++;
       if
       :: single == NONE && block == NONE -> take_single(); atomic { single = got; got = NONE }
       :: single != NONE -> give_single(single); atomic { single = second; second = NONE }
       :: me < 2 && single == NONE && block == NONE && recent == NONE -> take_huge(); atomic { block = got; got = NONE }
       :: single == NONE && block == NONE && recent != NONE -> take_recent(); atomic { block = got; got = NONE }
       :: block != NONE -> give_huge(block); block = NONE
       :: block != NONE ->
          split_huge(block);
          atomic { single = block * 2; second = block * 2 + 1; block = NONE }
       fi
    :: else -> break
    od;
    if
    :: block != NONE -> give_huge(block); block = NONE
    :: else
    fi;
    do
    :: single != NONE -> give_single(single); atomic { single = second; second = NONE }
    :: else -> break
    od;
    recent = NONE;
    finished++
}

init
{
    byte k;
    atomic {
        for (k : 0 .. AREAS * 2 - 1) { holder[k] = NONE }
        for (k : 0 .. AREAS - 1) {
            word[k] = FULL;
            any = any | (1 << k);
            whole = whole | (1 << k)
        }
        any_top = true;
        whole_top = true;
        state[0] = WHOLE;
        for (k : 0 .. CPUS - 1) { run cpu(k) }
        k = 0
    }
    finished == CPUS;
    for (k : 0 .. AREAS - 1) {
        assert(word[k] == FULL && (state[k] == OPEN || state[k] == WHOLE)); /* one is lost */
        assert((any & (1 << k)) && (whole & (1 << k)))  /* an area that nobody finds */
    }
    assert(any_top && whole_top)
}
