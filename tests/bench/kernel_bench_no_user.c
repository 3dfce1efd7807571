/* SPDX-License-Identifier: MIT
 *
 * kernel_bench_no_user.c: without address spaces there are no programs to measure.
 *
 * Owns:    nothing.
 * Needs:   kernel_bench.h.
 * Callers: kernel_bench.c. Its twins are kernel_bench_user.c and _space.c.
 */
#include "kernel_bench.h"

bool bench_user_rows(void)
{
    return true;
}

bool bench_space_rows(void)
{
    return true;
}

bool bench_million_row(void)
{
    return true;
}
