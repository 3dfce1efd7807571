/* SPDX-License-Identifier: MIT
 *
 * minimal.h: what main.c, port.c and space.c share: the serial line, where the direct map lies.
 *
 * Owns:    nothing.
 * Needs:   the layout's numbers.
 * Callers: examples/minimal only.
 */
#ifndef MINIMAL_H
#define MINIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __x86_64__
#include <tesela/layout_x86_64.h>
#define DIRECT_MAP_START ((uintptr_t)TSL_X86_64_DIRECT_MAP_START_4LEVEL)
#define DIRECT_MAP_BYTES ((uint64_t)1 << 46)
#define EARLY_REACH      ((uint64_t)1 << 30)
#define TABLE_FORMAT     tsl_table_format_4level
#else
#include <tesela/layout_x86_32.h>
#define DIRECT_MAP_START ((uintptr_t)TSL_X86_32_DIRECT_MAP_START)
#define DIRECT_MAP_BYTES ((uint64_t)512 << 20)
#define EARLY_REACH      DIRECT_MAP_BYTES
#define TABLE_FORMAT     tsl_table_format_2level
#endif

void write_line(const char *text);
_Noreturn void power_off(bool success);

/* space.c: whether all went as it should. Only where TSL_SPACES is set. */
bool use_space(void);

#endif
