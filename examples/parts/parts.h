/* SPDX-License-Identifier: MIT
 *
 * parts.h: what the programs have in common: memory that plays the part of RAM, a sink for dumps.
 *
 * Owns:    nothing.
 * Needs:   base.
 * Callers: examples/parts only.
 */
#ifndef PARTS_H
#define PARTS_H

#include <tesela/format.h>

#define RAM_BYTES (32u << 20) /* physical addresses 0 to 32 MiB */

extern const struct tsl_sink standard_output;

#endif
