/* SPDX-License-Identifier: MIT
 *
 * x86/instructions.h: the x86 instructions that C has no word for, one inline function each.
 *
 * Owns:    nothing; no state. Words are `uintptr_t` where the register is as wide as the mode.
 * Needs:   the compiler.
 * Callers: arch/x86*, platform/pc and kernels' own code. The components use <tesela/arch.h>
 *          instead.
 */
#ifndef X86_INSTRUCTIONS_H
#define X86_INSTRUCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    X86_CR0_EM = 1u << 2,
    X86_CR0_WP = 1u << 16,
    X86_CR4_PSE = 1u << 4,
    X86_CR4_PAE = 1u << 5,
    X86_CR4_PGE = 1u << 7,
    X86_CR4_UMIP = 1u << 11,
    X86_CR4_LA57 = 1u << 12,
    X86_CR4_PCIDE = 1u << 17,
    X86_CR4_SMEP = 1u << 20,
    X86_CR4_SMAP = 1u << 21,
    X86_FLAG_FIXED = 1u << 1, /* reads as 1 always */
    X86_FLAG_TRAP = 1u << 8,
    X86_FLAG_INTERRUPTS = 1u << 9,
    X86_FLAG_DIRECTION = 1u << 10,
    X86_FLAG_NESTED = 1u << 14,
    X86_FLAG_ALIGNMENT = 1u << 18,
    X86_FLAG_ID = 1u << 21,
    X86_EFER_SCE = 1u << 0,
    X86_EFER_LME = 1u << 8,
    X86_EFER_NXE = 1u << 11,
};

#define X86_MSR_APIC_BASE 0x1Bu
#define X86_MSR_PAT       0x277u
#define X86_MSR_EFER      0xC0000080u
#define X86_MSR_STAR      0xC0000081u
#define X86_MSR_LSTAR     0xC0000082u
#define X86_MSR_SFMASK    0xC0000084u
#define X86_MSR_GS_BASE   0xC0000101u

struct x86_cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct x86_cpuid x86_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct x86_cpuid out;

    __asm__ volatile("cpuid"
                     : "=a"(out.eax), "=b"(out.ebx), "=c"(out.ecx), "=d"(out.edx)
                     : "a"(leaf), "c"(subleaf));
    return out;
}

/* MSRs and the time-stamp counter exist only where CPUID 1 EDX says so (bits 5 and 4). */
static inline uint64_t x86_read_msr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void x86_write_msr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint64_t x86_read_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* Only where CPUID 1 ECX says so (bit 30). False: there was no number at hand, *out is 0. */
static inline bool x86_rdrand(uintptr_t *out)
{
    bool is_there;

    __asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(*out), "=qm"(is_there) : : "cc");
    return is_there;
}

static inline uintptr_t x86_read_cr0(void)
{
    uintptr_t value;

    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static inline uintptr_t x86_read_cr2(void)
{
    uintptr_t value;

    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

static inline uintptr_t x86_read_cr3(void)
{
    uintptr_t value;

    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

/* CR4 exists from the later 486 on; a CPU without CPUID may not have it. */
static inline uintptr_t x86_read_cr4(void)
{
    uintptr_t value;

    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static inline void x86_write_cr0(uintptr_t value)
{
    __asm__ volatile("mov %0, %%cr0" ::"r"(value) : "memory");
}

static inline void x86_write_cr3(uintptr_t value)
{
    __asm__ volatile("mov %0, %%cr3" ::"r"(value) : "memory");
}

static inline void x86_write_cr4(uintptr_t value)
{
    __asm__ volatile("mov %0, %%cr4" ::"r"(value) : "memory");
}

static inline void x86_invlpg(uintptr_t address)
{
    __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}

static inline uintptr_t x86_read_flags(void)
{
    uintptr_t flags;

    __asm__ volatile("pushf\n\tpop %0" : "=r"(flags));
    return flags;
}

static inline void x86_write_flags(uintptr_t flags)
{
    __asm__ volatile("push %0\n\tpopf" ::"r"(flags) : "memory", "cc");
}

/* CPUID exists when the ID flag can be changed; so it does on every CPU with long mode. */
static inline bool x86_has_cpuid(void)
{
    uintptr_t flags = x86_read_flags();
    uintptr_t changed;

    x86_write_flags(flags ^ X86_FLAG_ID);
    changed = x86_read_flags() ^ flags;
    x86_write_flags(flags);
    return (changed & X86_FLAG_ID) != 0;
}

static inline void x86_interrupts_off(void)
{
    __asm__ volatile("cli" ::: "memory");
}

static inline void x86_interrupts_on(void)
{
    __asm__ volatile("sti" ::: "memory");
}

/* Interrupts on and sleep until one comes; none can slip in between the two instructions. */
static inline void x86_interrupts_on_and_halt(void)
{
    __asm__ volatile("sti\n\thlt" ::: "memory");
}

static inline void x86_halt(void)
{
    __asm__ volatile("hlt" ::: "memory");
}

static inline void x86_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

static inline uint8_t x86_in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void x86_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void x86_out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline void x86_out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

/* dividend / divisor for a quotient that fits 32 bits (dividend < divisor * 2^32, which the caller
 * knows): no library division. */
static inline uint32_t x86_divide(uint64_t dividend, uint32_t divisor)
{
    uint32_t low = (uint32_t)dividend, high = (uint32_t)(dividend >> 32);

    __asm__("divl %2" : "+a"(low), "+d"(high) : "r"(divisor) : "cc");
    return low;
}

#endif
