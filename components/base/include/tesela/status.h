/* SPDX-License-Identifier: MIT
 *
 * status.h: the three ways in which something can be wrong, and nothing else.
 *
 * Owns:    the status values, the refusal counters, the defect record, assertions.
 * Needs:   port.h (log, panic), atomic.h.
 * Callers: everybody.
 *
 * A caller's mistake or an empty store is a `tsl_status`; a broken invariant found by a verifier is
 * a `tsl_defect`; our own mistake, found while running, is a TSL_ASSERT and stops the kernel.
 */
#ifndef TESELA_STATUS_H
#define TESELA_STATUS_H

#include <tesela/compiler.h>
#include <tesela/config.h>
#include <tesela/types.h>

/* The result of whatever can fail. On any value but TSL_OK outputs are untouched and the object is
 * as before the call. */
enum tsl_status {
    TSL_OK = 0,
    TSL_NO_MEMORY,     /* nothing free that satisfies the request */
    TSL_INVALID,       /* an argument makes no sense by itself */
    TSL_MISALIGNED,    /* an address or a size that must be a multiple of something is not */
    TSL_OUT_OF_RANGE,  /* outside of what the object manages, or it wraps around */
    TSL_NOT_CANONICAL, /* an address in the hole between the halves */
    TSL_EXISTS,        /* something is there already */
    TSL_NOT_FOUND,     /* nothing is there */
    TSL_DOUBLE_FREE,   /* it is free already */
    TSL_FOREIGN,       /* never came from here */
    TSL_WRONG_SIZE,    /* came from here with another size or order */
    TSL_OVERLAP,       /* two ranges that must be disjoint are not */
    TSL_DENIED,        /* a right is missing, or writable and executable at once */
    TSL_LIMIT,         /* a configured or counted limit is reached */
    TSL_BUSY,          /* in use now; the same call may succeed later */
    TSL_UNSUPPORTED,   /* this CPU or this configuration cannot */
    TSL_CORRUPT,       /* data that must be well formed is not */
    TSL_SHOULD_WAIT,   /* wait for the completion named by the request, then call again */
    TSL_STATUS_COUNT
};

/* The name of a status in lower case words, such as "no memory"; "unknown" for any other value. */
const char *tsl_status_name(enum tsl_status status);

/* Counts the refusals of one object by status. All zero is the initial state. Each field is
 * accessed atomically. */
struct tsl_refusals {
    tsl_word by_status[TSL_STATUS_COUNT];
};

/*
 * Refuses a request: counts it, logs one line that starts with the status' name, returns `status`.
 * Every refusal of a caller's mistake ends here, after the state has been left as it was.
 *   enum tsl_status tsl_refuse(struct tsl_refusals *counter, enum tsl_status status,
 *                              const char *format, ...);
 * The first four refusals of a status in a counter are logged, then those whose number is a power
 * of two, so that a loop of mistakes cannot drown the log. Without TSL_LOG_SENTENCES the line has
 * the code address of the refusal instead of the formatted sentence.
 * counter: NULL if the object itself is what is wrong: then every refusal is logged.
 * Before:  status is not TSL_OK.
 * Context: any in which the port may log; takes no lock.
 */
#define tsl_refuse(counter, status, ...)                                                           \
    (TSL_LOG_SENTENCES ? tsl_refuse_saying((counter), (status), __VA_ARGS__)                       \
                       : tsl_refuse_tersely((counter), (status)))

/* The two halves of tsl_refuse; only one of them is linked. */
TSL_MUST_CHECK TSL_COLD TSL_PRINTF(3, 4) enum tsl_status
    tsl_refuse_saying(struct tsl_refusals *counter, enum tsl_status status, const char *format,
                      ...);
TSL_MUST_CHECK TSL_COLD enum tsl_status tsl_refuse_tersely(struct tsl_refusals *counter,
                                                           enum tsl_status status);

/* How many refusals of this status have been counted. */
tsl_word tsl_refusals_of(const struct tsl_refusals *counter, enum tsl_status status);

/* How many refusals of any status have been counted. */
tsl_word tsl_refusals_total(const struct tsl_refusals *counter);

/*
 * The first broken invariant that a verifier found. Rules are numbered in the component's README;
 * rule 0: none broken, and then all other fields are zero.
 */
struct tsl_defect {
    const char *component; /* short word of the component: "frames" */
    unsigned rule;
    uintptr_t place;      /* address, frame number or index that the rule speaks of */
    const char *sentence; /* the invariant as it should be */
};

#define TSL_NO_DEFECT ((struct tsl_defect){0})

static inline struct tsl_defect tsl_defect_at(const char *component, unsigned rule, uintptr_t place,
                                              const char *sentence)
{
    return (struct tsl_defect){component, rule, place, sentence};
}

/*
 * Our own mistake: panics unless `condition` holds. For what cannot be false unless Tesela itself,
 * or memory, is broken; never for what a caller passes. Evaluated in every build, so keep the
 * condition cheap: a compare of values at hand. What costs more belongs into a verifier.
 */
#define TSL_ASSERT(condition)                                                                      \
    do {                                                                                           \
        if (TSL_UNLIKELY(!(condition))) {                                                          \
            if (TSL_LOG_SENTENCES)                                                                 \
                tsl_assert_failed(TSL_FILE, __LINE__, #condition);                                 \
            else                                                                                   \
                tsl_fail_tersely();                                                                \
        }                                                                                          \
    } while (0)

/* The cold halves of TSL_ASSERT; without TSL_LOG_SENTENCES the panic names the code address. */
TSL_NORETURN TSL_COLD void tsl_assert_failed(const char *file, int line, const char *condition);
TSL_NORETURN TSL_COLD void tsl_fail_tersely(void);

/* Panics with a formatted message (cut to one line of the log). For TSL_ASSERT's kind of mistakes
 * whose report needs values. */
TSL_NORETURN TSL_COLD TSL_PRINTF(1, 2) void tsl_panic(const char *format, ...);

/* As tsl_panic, within the library: terse without TSL_LOG_SENTENCES. */
#define tsl_fail(...) (TSL_LOG_SENTENCES ? tsl_panic(__VA_ARGS__) : tsl_fail_tersely())

#endif
