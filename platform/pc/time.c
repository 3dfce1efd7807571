/* SPDX-License-Identifier: MIT
 *
 * time.c: microseconds, from the time-stamp counter or, on a CPU without one, from the interval
 * timer.
 *
 * Owns:    counter 0 of the 8254 (it runs freely, its interrupt is masked) and the rate of the
 *          time-stamp counter.
 * Needs:   x86/instructions.h. No 64-bit division.
 * Callers: see platform/machine.h.
 * Source:  Intel 8254 data sheet; SDM volume 3, 17.17.
 */
#include <tesela/atomic.h>
#include <tesela/port.h>
#include <x86/instructions.h>
#include <platform/machine.h>
#include "pc_internal.h"

enum {
    TIMER_COUNTER = 0x40,
    TIMER_COMMAND = 0x43,
    TIMER_RATE_GENERATOR = 0x34,
    TIMER_LATCH = 0x00,
    CALIBRATION_TICKS = 11932, /* 10 ms at 1193182 Hz */
    CALIBRATION_US = 10000,
    TICK_US_16 = 54925, /* microseconds a tick, times 2^16 */
    CALIBRATION_TRIES = 1000000,
    MOST_EQUAL_READS = 1000, /* by then a timer that runs has counted */
    FAST_MHZ = 5000,         /* no counter is faster, so no delay is too short */
};

static bool has_tsc;
static uint64_t tsc_start;
static uint32_t tsc_us_32; /* microseconds a count, times 2^32 */

static uint32_t timer_lock;
static uint16_t timer_last;
static uint64_t timer_total;
static uint32_t timer_equal_reads;

/* Counts down from 65535 to 0 and starts again. */
static uint16_t timer_read(void)
{
    uint8_t low;

    x86_out8(TIMER_COMMAND, TIMER_LATCH);
    low = x86_in8(TIMER_COUNTER);
    return (uint16_t)(x86_in8(TIMER_COUNTER) << 8 | low);
}

/* What the timer has counted since the last look. If it stands still, each look is a tick: no wait
 * may be without an end. */
static uint16_t timer_ticks(void)
{
    uint16_t now = timer_read(), ticks = (uint16_t)(timer_last - now);

    timer_last = now;
    timer_equal_reads = ticks != 0 ? 0 : timer_equal_reads + 1;
    return timer_equal_reads > MOST_EQUAL_READS ? 1 : ticks;
}

static uint64_t timer_us(void)
{
    tsl_pin pin = tsl_port_pin();
    uint64_t total;

    while (tsl_atomic_exchange_u32(&timer_lock, 1) != 0)
        x86_pause();
    timer_total += timer_ticks();
    total = timer_total;
    tsl_atomic_store_release_u32(&timer_lock, 0);
    tsl_port_unpin(pin);
    return (total * TICK_US_16) >> 16;
}

/* Lets 10 ms pass on the timer and takes the counter's rate from them. Beside a timer that stands
 * still the counter is taken for a fast one. */
static void calibrate(void)
{
    uint64_t before = x86_read_tsc();
    uint16_t first = timer_read();
    uint64_t counts;
    unsigned tries = 0;

    while (tries < CALIBRATION_TRIES && (uint16_t)(first - timer_read()) < CALIBRATION_TICKS)
        tries++;
    tsc_start = x86_read_tsc();
    counts = tsc_start - before;
    if (counts <= CALIBRATION_US)
        return; /* it stands still itself */
    has_tsc = true;
    if (tries < CALIBRATION_TRIES && counts < UINT32_MAX) {
        tsc_us_32 = x86_divide((uint64_t)CALIBRATION_US << 32, (uint32_t)counts);
    } else {
        tsc_us_32 = x86_divide((uint64_t)1 << 32, FAST_MHZ);
        tsl_log(TSL_LOG_WARNING,
                "time: the processor's counter could not be measured, and is taken "
                "for one of %u MHz",
                (unsigned)FAST_MHZ);
    }
}

void time_start(void)
{
    x86_out8(TIMER_COMMAND, TIMER_RATE_GENERATOR);
    x86_out8(TIMER_COUNTER, 0);
    x86_out8(TIMER_COUNTER, 0);
    timer_last = timer_read();
    if (x86_has_cpuid() && (x86_cpuid(1, 0).edx >> 4 & 1))
        calibrate();
}

uint64_t platform_now_us(void)
{
    uint64_t counts;

    if (!has_tsc)
        return timer_us();
    counts = x86_read_tsc() - tsc_start;
    return (counts >> 32) * tsc_us_32 + (((counts & UINT32_MAX) * tsc_us_32) >> 32);
}

uint64_t platform_ticks(void)
{
    return has_tsc ? x86_read_tsc() : platform_now_us();
}

void platform_delay_us(uint64_t us)
{
    uint64_t start = platform_now_us();

    while (platform_now_us() - start < us)
        x86_pause();
}
