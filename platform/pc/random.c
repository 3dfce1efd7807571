/* SPDX-License-Identifier: MIT
 *
 * random.c: numbers that are hard to guess, for what must not be foreseen: canaries, slots.
 *
 * Owns:    nothing.
 * Needs:   RDRAND, if the CPU has it; time.c.
 * Callers: memory.c; kernels, see platform/machine.h.
 */
#include <platform/machine.h>

#include <x86/instructions.h>

/* "Ten retries": a CPU that fails so often in a row is broken (Intel SDM volume 1, 7.3.17). */
#define TRIES 10u

/* Spreads the few bits of a clock that differ from one boot to the next (2^32 / golden ratio). */
#define SPREAD 2654435769u

static bool has_rdrand(void)
{
    return x86_has_cpuid() && (x86_cpuid(1, 0).ecx >> 30 & 1) != 0;
}

uintptr_t platform_seed(void)
{
    uintptr_t seed = 0; /* and stays so where there is no number at hand */
    bool is_random = false;

    for (unsigned left = has_rdrand() ? TRIES : 0; left > 0 && !is_random; left--)
        is_random = x86_rdrand(&seed);
    return seed ^ (uintptr_t)(platform_ticks() * SPREAD);
}
