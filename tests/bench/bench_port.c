/* SPDX-License-Identifier: MIT
 *
 * bench_port.c: the seven functions of the port for host benchmarks.
 *
 * Owns:    simulated memory from address 0 on (reserved, backed only where touched); which CPU this
 *          thread is.
 * Needs:   base, mmap.
 * Callers: the library; bench_*.c through bench_port.h.
 *
 * Unlike the port of the tests it checks nothing, so that what is measured is Tesela. A kicked CPU
 * answers at once, in the kicker's thread: CPUs that are threads must not kick each other, and
 * benchmarks leave so much memory free that they do not.
 */
#define _DEFAULT_SOURCE

#include "bench_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <tesela/config.h>
#include <tesela/cpu.h>
#include <tesela/flush.h>
#include <tesela/port.h>
#include <tesela/port_inline.h>

static char *bench_ram;
static uint64_t bench_ram_bytes;
_Thread_local unsigned bench_cpu; /* port_inline.h reads it too */

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
    return bench_cpu;
}

void bench_be_cpu(unsigned cpu)
{
    bench_cpu = cpu;
}

void *tsl_port_phys_to_virt(tsl_paddr address)
{
    return address < bench_ram_bytes ? bench_ram + address : NULL;
}

void tsl_port_flush_others(const struct tsl_cpu_set *cpus)
{
    unsigned own = bench_cpu;
    for (unsigned cpu = tsl_cpu_set_next(cpus, 0); cpu < TSL_CPUS;
         cpu = tsl_cpu_set_next(cpus, cpu + 1)) {
        bench_cpu = cpu;
        tsl_flush_receive();
    }
    bench_cpu = own;
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
