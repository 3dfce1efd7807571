/* SPDX-License-Identifier: MIT
 *
 * config.h: the configuration of the build, but with 64 CPUs.
 *
 * Owns:    TSL_CPUS.
 * Needs:   the real config.h (found further back on the include path).
 * Callers: the components, compiled once more for bench-frames-scale.
 */
#ifndef COUNTING_CONFIG_H
#define COUNTING_CONFIG_H

#include_next <tesela/config.h>

#undef TSL_CPUS
#define TSL_CPUS 64

#endif
