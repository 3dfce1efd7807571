/* SPDX-License-Identifier: MIT
 *
 * claim.pml: the claimed word of the frame allocator: claim, take, free by owner and by others,
 * revocation, CPUs that leave, huge blocks.
 *
 * Owns:    a model of frames_claim.c, frames_area.c, frames_alloc.c: WORDS words in one area, or in
 *          AREAS areas, between which owners move on.
 * Needs:   spin, a C compiler.
 * Callers: run_models.py.
 *
 * An open area may be noted as whole; that, and the trees in which areas are found, is area.pml's.
 *
 * Each CPU does ROUNDS operations, chosen freely. What is proved, for every interleaving of single
 * accesses to shared memory (sequentially consistent: store buffers are not in the model):
 *   - no frame has two owners (ghost `holder`),
 *   - none is lost: at the end all frames are free again, each once,
 *   - who is told that there is no memory is right: no frame was free from the beginning of its call to the end,
 *   - with -DDOUBLE_FREE: a frame that is freed a second time while it is free is refused, unless its
 *     word is being claimed or given back at that very moment,
 *   - nobody waits for ever (no state without a way on).
 * SEED_... put one bug in; the check then expects spin to find it.
 */
#ifndef CPUS
#define CPUS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef AREAS
#define AREAS 1
#endif
#define WORDS  2
#define EACH   (WORDS / AREAS) /* words of an area */
#define BITS   2
#define FULL   3 /* a word with all bits */
#define FRAMES 4
#ifndef START_0 /* which frames are free at first; the others stay with somebody else */
#define START_0 FULL
#define START_1 FULL
#endif
#define NONE   255

#define OPEN   0 /* states of an area; 1 .. CPUS: owned by CPU state - 1 */
#define TRYING 100
#define HUGE   101

byte shared[WORDS];
byte state[AREAS];
bool tight;      /* nobody may claim */
byte returns;    /* how often a drain gave frames back */
byte copy[CPUS]; /* the slots */
byte word_of[CPUS];
byte area_of[CPUS] = NONE; /* what others see; NONE: no area */
bool has_claim[CPUS]; /* word_of is claimed, however much of it is left, or as good as */
bool moved[CPUS];  /* a ghost: during this CPU's present free some claim began or ended */
bool turn[CPUS]; /* true: copy and word_of are changing */
bool keeper[CPUS]; /* online: may keep things for itself */
bool online[CPUS];
byte asked[CPUS];  /* one bit for each CPU that waits for this one's drain */
byte waiting[CPUS]; /* one bit for each CPU that this one waits for */
byte finished;
byte last = NONE; /* a frame that was freed: any CPU may free it once more */

/* Ghosts: what is true, whatever the allocator believes. */
byte holder[FRAMES]; /* NONE: free */
byte is_free; /* one bit for each frame */
byte is_out;  /* frames that somebody has taken for a moment only */
byte steady[CPUS]; /* the frames that have been free since this CPU's present call began */

/* From here on the frame cannot be had: somebody has it, or is about to look whether it may keep it. */
inline ghost_gone(frame)
{
    is_free = is_free & ~(1 << frame);
    for (g : 0 .. CPUS - 1) { steady[g] = steady[g] & is_free }
    g = 0
}

inline ghost_move()
{
#ifdef DOUBLE_FREE
    for (g : 0 .. CPUS - 1) { moved[g] = true }
    g = 0
#else
    skip
#endif
}

inline ghost_hold(frame)
{
    assert(holder[frame] == NONE); /* two owners */
    holder[frame] = me
}

inline ghost_take(frame)
{
    ghost_hold(frame);
    ghost_gone(frame)
}

/* Somebody else's frame that is freed here was freed twice, and handed out in between: the allocator
 * cannot know, and the model does not go on with what becomes of it. */
inline ghost_give(frame)
{
    accepted = holder[frame] == me;
    assert(accepted || moved[me] || (steady[me] & (1 << frame)) == 0); /* it was free all the time */
    holder[frame] = (accepted -> NONE : holder[frame]);
    is_free = is_free | ((accepted -> 1 : 0) << frame)
}

/* ---- Steps ---- */

/* Takes the lowest bit out of the CPU's copy, which is not 0. */
inline take_from_copy()
{
    d_step {
        if
        :: copy[me] & 1 -> place = 0
        :: else -> place = 1
        fi;
        copy[me] = copy[me] & ~(1 << place);
        got = word_of[me] * BITS + place;
        ghost_take(got)
    }
}

/* Ends the claim: the copy goes back. */
inline unclaim()
{
    has_claim[me] = false;
    if
    :: copy[me] != 0 ->
       turn[me] = true;
       d_step { saved = copy[me]; copy[me] = 0; ghost_move() }
       d_step {
           ghost_move();
           assert((shared[word_of[me]] & saved) == 0);
#ifdef SEED_LOSE
           shared[word_of[me]] = saved;
#else
           shared[word_of[me]] = shared[word_of[me]] | saved;
#endif
           saved = 0
       }
       turn[me] = false
    :: else
    fi
}

inline leave_area()
{
    if
    :: area_of[me] != NONE ->
       given_back = copy[me] != 0;
       unclaim();
       state[area_of[me]] = OPEN;
#ifndef SEED_UNCOUNTED
       if
       :: given_back -> returns++
       :: else
       fi;
#endif
       atomic { area_of[me] = NONE; given_back = false }
    :: else
    fi
}

/* The next word of area `a` that is not 0 becomes the copy. */
inline claim()
{
    w = a * EACH;
    do
    :: w < (a + 1) * EACH && copy[me] == 0 ->
       if
       :: shared[w] != 0 ->
          turn[me] = true;
#ifdef SEED_PLAIN_CLAIM
          saved = shared[w];
          shared[w] = 0;
#else
          d_step { saved = shared[w]; shared[w] = 0; ghost_move() }
#endif
          word_of[me] = w;
          has_claim[me] = true;
          d_step { copy[me] = saved; saved = 0 }
          turn[me] = false
       :: else
       fi;
       w++
    :: else -> break
    od;
    w = 0
}

inline own()
{
    d_step {
        entered = state[a] == OPEN;
        if
        :: entered -> state[a] = me + 1
        :: else
        fi
    }
}

/* As if the first word of the area, which is owned now, had been claimed and used up. */
inline begin()
{
    d_step { word_of[me] = a * EACH; has_claim[me] = true } /* one step: copy[me] is 0, whichever word */
}

/* An area `a` of any choice, which may be another CPU's. */
inline choose()
{
#if AREAS > 1
    if
    :: a = 0
    :: a = 1
    fi
#else
    skip
#endif
}

inline enter()
{
    choose();
    area_of[me] = a;
    own();
    if
    :: entered -> begin()
    :: else -> area_of[me] = NONE
    fi
}

#if AREAS > 1
/* From an area that is used up to the other one, if that is open: the slot shows an area all the time. */
inline move_on()
{
    a = AREAS - 1 - area_of[me];
    entered = state[a] == OPEN;
    if
    :: entered ->
       has_claim[me] = false;
       state[area_of[me]] = OPEN;
#ifdef SEED_MOVE_UNSHOWN
       area_of[me] = NONE;
#endif
       own();
#ifdef SEED_MOVE_UNSHOWN
       if
       :: entered -> begin(); claim(); area_of[me] = a
       :: else
       fi
#else
       area_of[me] = (entered -> a : NONE);
       if
       :: entered -> begin(); claim()
       :: else
       fi
#endif
    :: else
    fi
}
#endif

/* One bit past all claims, from word w. */
inline take_past_claims()
{
    w = 0;
    do
    :: w < WORDS && got == NONE ->
       value = shared[w];
       if
       :: value == 0 -> w++
       :: value != 0 && state[w / EACH] == HUGE -> w = (w / EACH + 1) * EACH
       :: else ->
          place = (value & 1 -> 0 : 1);
          d_step {
              if
              :: shared[w] == value ->
                 shared[w] = value & ~(1 << place);
                 swapped = true;
                 is_out = is_out | (1 << (w * BITS + place));
                 ghost_gone(w * BITS + place)
              :: else -> swapped = false
              fi
          }
          if
          :: !swapped
          :: else ->
#ifndef SEED_NO_LOOK
             atomic { state[w / EACH] != TRYING; value = state[w / EACH] } /* waits until it is decided */
             if
             :: value == HUGE ->
                d_step {
                    shared[w] = shared[w] | (1 << place);
                    is_out = is_out & ~(1 << (w * BITS + place));
                    if
                    :: holder[w * BITS + place] == NONE -> is_free = is_free | (1 << (w * BITS + place))
                    :: else
                    fi
                }
                returns++;
                w = (w / EACH + 1) * EACH
             :: else ->
#endif
                d_step { got = w * BITS + place; is_out = is_out & ~(1 << got); ghost_hold(got) }
#ifndef SEED_NO_LOOK
             fi
#endif
          fi
       fi
    :: else -> break
    od;
    atomic { w = 0; value = 0; place = 0; swapped = false }
}

/* A single frame, pinned: `got`, or NONE. */
inline search()
{
    may_claim = keeper[me] && !tight;
    if
    :: area_of[me] != NONE && copy[me] == 0 && may_claim ->
       a = area_of[me];
       claim();
#if AREAS > 1
       if
       :: copy[me] == 0 -> move_on()
       :: copy[me] == 0
       :: else
       fi;
#endif
       if
       :: copy[me] == 0 -> leave_area()
       :: else
       fi
    :: area_of[me] == NONE && may_claim ->
       enter();
       if
       :: entered ->
          claim();
          if
          :: copy[me] == 0 -> leave_area()
          :: else
          fi
       :: else
       fi
    :: (area_of[me] != NONE && copy[me] != 0) || !may_claim
    fi;
    if
    :: area_of[me] != NONE && copy[me] != 0 -> take_from_copy()
    :: else -> take_past_claims()
    fi;
    atomic { entered = false; may_claim = false; place = 0; a = 0 }
}

/* What a CPU does when another one calls it. */
inline answer()
{
    if
    :: asked[me] != 0 ->
       leave_area();
       d_step {
           for (g : 0 .. CPUS - 1) {
               if
               :: asked[me] & (1 << g) -> waiting[g] = waiting[g] & ~(1 << me)
               :: else
               fi
           }
           g = 0;
           asked[me] = 0
       }
    :: else
    fi
}

/* Calls every CPU that has an area; `called` says whether there was one. */
inline revoke()
{
    tight = true;
    called = false;
    c = 0;
    do
    :: c < CPUS ->
#ifdef SEED_FORGET_ONE
       if
       :: area_of[c] != NONE && c > 0 ->
#else
       if
       :: area_of[c] != NONE ->
#endif
          called = true;
          if
          :: c == me -> leave_area()
          :: else ->
             d_step {
                 if
                 :: online[c] -> waiting[me] = waiting[me] | (1 << c); asked[c] = asked[c] | (1 << me)
                 :: else
                 fi
             }
          fi
       :: else
       fi;
       c++
    :: else -> break
    od;
    do
    :: waiting[me] == 0 -> break
    :: asked[me] != 0 -> answer()
    od;
    c = 0
}

inline alloc()
{
    d_step { steady[me] = is_free; got = NONE }
    do
    :: seen = returns;
       search();
       if
       :: got != NONE -> break
       :: else
       fi;
       revoke();
       if
#ifndef SEED_ONE_TRY
       :: called || seen != returns -> skip
       :: !called && seen == returns -> break
#else
       :: called && !again -> again = true
       :: called && again -> break
       :: !called -> break
#endif
       fi
    od;
    if
    :: got == NONE -> assert(steady[me] == 0) /* a free frame was not found */
    :: else
    fi;
    atomic { seen = 0; called = false; again = false; steady[me] = 0 }
}

/* What the claimant of word w has of it, as another CPU sees it: in `value`. */
inline look_into_claim()
{
    value = 0;
    owner = state[w / EACH];
    if
    :: owner >= 1 && owner <= CPUS ->
       owner--;
#ifdef SEED_NO_WAIT
       if
       :: !turn[owner] && word_of[owner] == w -> value = copy[owner]
       :: else
       fi
#else
       !turn[owner]; /* waits while the claim changes */
       d_step {
           if
           :: word_of[owner] == w -> value = copy[owner]
           :: else
           fi
       }
#endif
    :: else
    fi;
    owner = 0
}

/* Frees `f`, whose word somebody may have claimed. */
inline give_past_claim(f)
{
    old = shared[w];
#ifndef SEED_NO_PEEK
    look_into_claim();
#endif
    refused = (value & place) != 0;
    swapped = false;
    do
    :: refused || swapped -> break
    :: else ->
       d_step {
           if
           :: old & place -> refused = true
           :: !(old & place) && shared[w] == old ->
              swapped = true;
              ghost_give(f);
              shared[w] = old | (accepted -> place : 0)
           :: else -> old = shared[w]
           fi
       }
    od
}

/* Frees `f`; `refused` says how it went. */
inline give(f)
{
    d_step { w = f / BITS; place = 1 << (f % BITS); steady[me] = is_free; moved[me] = false }
    refused = false;
    if
    :: has_claim[me] && word_of[me] == w ->
       /* Into the own copy. The shared word is looked at too: another CPU may have freed it there. */
       refused = (copy[me] & place) != 0;
#ifndef SEED_OWN_ONLY
       refused = refused || (shared[w] & place) != 0;
#endif
       if
       :: !refused -> d_step { ghost_give(f); copy[me] = copy[me] | (accepted -> place : 0) }
       :: else
       fi
    :: !(has_claim[me] && word_of[me] == w) && state[w / EACH] == OPEN ->
       d_step {
           refused = (shared[w] & place) != 0;
           if
           :: !refused -> ghost_give(f); shared[w] = shared[w] | (accepted -> place : 0)
           :: else
           fi
       }
    :: !(has_claim[me] && word_of[me] == w) && state[w / EACH] != OPEN ->
       give_past_claim(f)
    fi;
    atomic { w = 0; place = 0; value = 0; old = 0; swapped = false; steady[me] = 0 }
}

/* A whole area, if it is open and all free. */
inline take_huge()
{
    choose();
    d_step {
        entered = state[a] == OPEN && shared[a * EACH] == FULL && shared[a * EACH + EACH - 1] == FULL;
        if
        :: entered -> state[a] = TRYING
        :: else
        fi
    }
    if
    :: entered ->
       /* Word by word. */
       entered = shared[a * EACH] == FULL;
       entered = entered && shared[a * EACH + EACH - 1] == FULL;
       if
       :: entered ->
          d_step {
              state[a] = HUGE;
              for (c : a * EACH * BITS .. (a + 1) * EACH * BITS - 1) { ghost_take(c) }
              c = 0
          }
       :: else -> state[a] = OPEN
       fi
    :: else
    fi
}

inline give_huge()
{
    d_step {
        for (c : a * EACH * BITS .. (a + 1) * EACH * BITS - 1) { ghost_give(c) }
        is_free = is_free & ~is_out;
        c = 0;
        state[a] = OPEN;
        entered = false
    }
}

proctype cpu(byte me)
{
    byte rounds, got, w, place, value, old, saved, seen, c, g, owner, mine = NONE, second = NONE, again_frame, a;
    bool accepted, may_claim, entered, called, swapped, refused, again, given_back;

    do
    :: rounds < ROUNDS ->
       rounds++;
       answer();
       if
       :: mine == NONE -> alloc(); mine = got; got = NONE
#if AREAS > 1
       :: mine != NONE && second == NONE -> alloc(); second = got; got = NONE /* so areas are used up */
#endif
       :: mine != NONE ->
          give(mine);
          assert(!refused);
#ifdef DOUBLE_FREE
          last = mine;
#endif
          atomic { mine = second; second = NONE }
#ifdef DOUBLE_FREE
       :: atomic { last != NONE && mine == NONE -> again_frame = last; last = NONE }
          give(again_frame);
          again_frame = 0
#endif
#ifdef HUGE_BLOCKS
       :: mine == NONE ->
          take_huge();
          if
          :: entered -> give_huge()
          :: else
          fi;
          a = 0
#endif
#ifdef LEAVING
       :: online[me] ->
          keeper[me] = false;
          leave_area();
          online[me] = false;
          answer()
       :: !online[me] -> online[me] = true; keeper[me] = true
#endif
       :: tight -> tight = false /* enough is free again, or so it seemed a while ago */
       fi
    :: else -> break
    od;
    do
    :: mine != NONE -> give(mine); assert(!refused); atomic { mine = second; second = NONE }
    :: else -> break
    od;
    finished++;
    do /* answers until all are done */
    :: asked[me] != 0 -> answer()
    :: finished >= CPUS -> break
    od;
    leave_area();
    finished++
}

init
{
    byte i;
    atomic {
        shared[0] = START_0;
        shared[1] = START_1;
        for (i : 0 .. FRAMES - 1) {
            if
            :: shared[i / BITS] & (1 << (i % BITS)) -> holder[i] = NONE; is_free = is_free | (1 << i)
            :: else -> holder[i] = CPUS
            fi
        }
        for (i : 0 .. CPUS - 1) { online[i] = true; keeper[i] = true }
        for (i : 0 .. CPUS - 1) { run cpu(i) }
        i = 0
    }
    finished == 2 * CPUS;
    assert(shared[0] == START_0 && shared[1] == START_1) /* one is lost */
}
