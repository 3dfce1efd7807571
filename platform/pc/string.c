/* SPDX-License-Identifier: MIT
 *
 * string.c: the four functions that compilers call on their own, and that every port owes.
 *
 * Owns:    memcpy, memmove, memset, memcmp.
 * Needs:   the direction flag clear, as the calling convention says; a compiler that is told
 *          -ffreestanding. The copying is in assembly, which no compiler turns into a call of the
 *          very function that it stands in.
 * Callers: everybody. String instructions: short, and fast where it counts (whole pages).
 */
#include <stddef.h>
#include <stdint.h>
#include "machine.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *left, const void *right, size_t bytes);

/* Words, then the bytes that remain: an emulator, or a CPU without ERMS, moves one unit a step. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    void *target = to;
    size_t count = bytes / sizeof(uintptr_t);

    __asm__ volatile(MOVE_WORDS : "+D"(target), "+S"(from), "+c"(count) : : "memory");
    count = bytes % sizeof(uintptr_t);
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(from), "+c"(count) : : "memory");
    return to;
}

/* Upwards unless the target begins inside the source. The flag is set for one instruction only; no
 * interrupt entry relies on it. */
void *memmove(void *to, const void *from, size_t bytes)
{
    unsigned char *target = to;
    const unsigned char *source = from;

    if ((uintptr_t)to - (uintptr_t)from >= bytes)
        return memcpy(to, from, bytes);
    target += bytes - 1;
    source += bytes - 1;
    __asm__ volatile("std\n\trep movsb\n\tcld"
                     : "+D"(target), "+S"(source), "+c"(bytes)
                     :
                     : "memory", "cc");
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    void *target = to;
    uintptr_t word = (uintptr_t)-1 / 0xFF * (unsigned char)value;
    size_t count = bytes / sizeof(word);

    __asm__ volatile(SET_WORDS : "+D"(target), "+c"(count) : "a"(word) : "memory");
    count = bytes % sizeof(word);
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(count) : "a"(word) : "memory");
    return to;
}

int memcmp(const void *left, const void *right, size_t bytes)
{
    const unsigned char *a = left;
    const unsigned char *b = right;

    for (size_t i = 0; i < bytes; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}
