/* SPDX-License-Identifier: MIT
 *
 * bench_port.c: the seven functions of the port for a host benchmark on one thread.
 *
 * Owns:    bench_ram, simulated memory from address 0 on (reserved, backed only where touched).
 * Needs:   base, mmap.
 * Callers: the library; bench_*.c call bench_ram_create().
 *
 * Unlike the port of the tests it checks nothing, so that what is measured is Tesela.
 */
#define _DEFAULT_SOURCE

#include "bench_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <tesela/port.h>

static char *bench_ram;
static uint64_t bench_ram_bytes;

void bench_ram_create(uint64_t bytes)
{
    void *ram = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram == MAP_FAILED) {
        perror("benchmark: simulated memory");
        exit(1);
    }
    bench_ram = ram;
    bench_ram_bytes = bytes;
}

tsl_pin tsl_port_pin(void)
{
    return 0;
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
    return address < bench_ram_bytes ? bench_ram + address : NULL;
}

void tsl_port_flush_others(const struct tsl_cpu_set *cpus)
{
    (void)cpus;
}

void tsl_port_log(enum tsl_log_level level, const char *line)
{
    (void)level;
    fprintf(stderr, "%s\n", line);
}

TSL_NORETURN void tsl_port_panic(const char *message)
{
    fprintf(stderr, "panic: %s\n", message);
    abort();
}
