/* SPDX-License-Identifier: MIT
 *
 * port_inline.h: pin, unpin and the CPU's number for hot paths; here plain calls of the port.
 *
 * Owns:    nothing. The build option `port_inline` puts a kernel's own header of this name in front
 *          of it, which does the same in a few instructions (platform/pc/port_inline is one).
 * Needs:   port.h.
 * Callers: .c files and internal headers of the components; no public header includes it, so that
 *          code outside of the build of the libraries never sees it.
 *
 * The contracts are those of tsl_port_pin, tsl_port_unpin and tsl_port_cpu_id in port.h, which stay
 * mandatory: the two spellings may be mixed, a pin of one undone by the other.
 */
#ifndef TESELA_PORT_INLINE_H
#define TESELA_PORT_INLINE_H

#include <tesela/port.h>

TSL_MUST_CHECK static inline tsl_pin tsl_cpu_pin(void)
{
    return tsl_port_pin();
}

static inline void tsl_cpu_unpin(tsl_pin pin)
{
    tsl_port_unpin(pin);
}

static inline unsigned tsl_cpu_this(void)
{
    return tsl_port_cpu_id();
}

/* The same number in the width of an address, for reaching into an array by it. */
static inline size_t tsl_cpu_index(void)
{
    return tsl_port_cpu_id();
}

#endif
