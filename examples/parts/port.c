/* SPDX-License-Identifier: MIT
 *
 * port.c: the seven functions that Tesela asks for, as one thread of a Linux program gives them.
 *
 * Owns:    the memory that plays the part of RAM.
 * Needs:   libc.
 * Callers: Tesela. Their contract: <tesela/port.h>.
 */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>

#include <tesela/port.h>

static _Alignas(2 << 20) char ram[RAM_BYTES];

tsl_pin tsl_port_pin(void)
{
    return 0; /* nothing interrupts us */
}

void tsl_port_unpin(tsl_pin pin)
{
    (void)pin;
}

unsigned tsl_port_cpu_id(void)
{
    return 0;
}

void *tsl_port_phys_to_virt(tsl_paddr address)
{
    return address < RAM_BYTES ? ram + address : NULL;
}

void tsl_port_flush_others(const struct tsl_cpu_set *cpus)
{
    (void)cpus; /* one CPU: nobody ever has to be told */
}

void tsl_port_log(enum tsl_log_level level, const char *line)
{
    (void)level;
    printf("log: %s\n", line);
}

void tsl_port_panic(const char *message)
{
    fprintf(stderr, "panic: %s\n", message);
    abort();
}

static void write_text(void *context, const char *text, size_t length)
{
    (void)context;
    (void)fwrite(text, 1, length, stdout);
}

const struct tsl_sink standard_output = {.write = write_text};
