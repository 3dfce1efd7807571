/* SPDX-License-Identifier: MIT
 *
 * console.c: the serial console on COM1.
 *
 * Owns:    the UART and the lock that keeps two CPUs' text apart.
 * Needs:   x86/instructions.h, legacy.c for the input interrupt.
 * Callers: see platform/console.h.
 * Source:  National Semiconductor PC16550D data sheet.
 */
#include <tesela/atomic.h>
#include <tesela/port.h>
#include <x86/instructions.h>
#include <platform/console.h>
#include "pc_internal.h"

enum {
    UART = 0x3F8,
    UART_DATA = UART,
    UART_INTERRUPTS = UART + 1, /* divisor's high byte while DLAB is set */
    UART_FIFO = UART + 2,
    UART_FORMAT = UART + 3,
    UART_MODEM = UART + 4,
    UART_STATUS = UART + 5,
    STATUS_HAS_INPUT = 0x01,
    STATUS_CAN_SEND = 0x20,
    STATUS_ALL_SENT = 0x40,
    FORMAT_DIVISOR = 0x80,
    FORMAT_8N1 = 0x03,
    SERIAL_LINE = 4,
    WAIT_TRIES = 1 << 16,  /* a character takes 87 us, a status read about 1 us */
    LOCK_TRIES = 50000000, /* then the holder is taken for dead: better mixed text than none */
};

static uint32_t console_lock;
static bool owned_by_panic;

void console_start(void)
{
    x86_out8(UART_INTERRUPTS, 0);
    x86_out8(UART_FORMAT, FORMAT_DIVISOR);
    x86_out8(UART_DATA, 1); /* 115200 baud */
    x86_out8(UART_INTERRUPTS, 0);
    x86_out8(UART_FORMAT, FORMAT_8N1);
    x86_out8(UART_FIFO, 0x07);
    x86_out8(UART_MODEM, 0x0B); /* DTR, RTS, and OUT2, which lets the interrupt through */
}

static void wait_for(uint8_t status)
{
    for (unsigned i = 0; i < WAIT_TRIES; i++)
        if (x86_in8(UART_STATUS) & status)
            return;
}

static void send(char c)
{
    wait_for(STATUS_CAN_SEND);
    x86_out8(UART_DATA, (uint8_t)c);
}

static void lock(void)
{
    for (unsigned i = 0; i < LOCK_TRIES && !owned_by_panic; i++) {
        if (tsl_atomic_exchange_u32(&console_lock, 1) == 0)
            return;
        x86_pause();
    }
}

void platform_console_write(const char *text, size_t length)
{
    tsl_pin pin = tsl_port_pin();

    lock();
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            send('\r');
        send(text[i]);
    }
    tsl_atomic_store_release_u32(&console_lock, 0);
    tsl_port_unpin(pin);
}

static void sink_write(void *context, const char *text, size_t length)
{
    (void)context;
    platform_console_write(text, length);
}

const struct tsl_sink *platform_console(void)
{
    static const struct tsl_sink sink = {.write = sink_write, .context = NULL};

    return &sink;
}

/* Waits until the last character has left the machine. */
void console_drain(void)
{
    wait_for(STATUS_ALL_SENT);
}

/* From now on nobody is waited for: the other CPUs have been stopped, one of them perhaps while it
 * wrote. */
void console_take_over(void)
{
    owned_by_panic = true;
}

/* The next character typed. Sleeps between interrupts: the input interrupt wakes it. */
static char read_character(void)
{
    for (;;) {
        x86_interrupts_off();
        if (x86_in8(UART_STATUS) & STATUS_HAS_INPUT) {
            char c = (char)x86_in8(UART_DATA);

            x86_interrupts_on();
            return c;
        }
        x86_interrupts_on_and_halt();
    }
}

static void erase(size_t *length)
{
    if (*length > 0) {
        *length -= 1;
        platform_console_write("\b \b", 3);
    }
}

size_t platform_console_read_line(char *line, size_t size)
{
    size_t length = 0;

    legacy_interrupt_enable(SERIAL_LINE);
    x86_out8(UART_INTERRUPTS, 0x01);
    for (;;) {
        char c = read_character();

        if (c == '\r' || c == '\n')
            break;
        if (c == 0x03) { /* Ctrl-C */
            length = 0;
            platform_console_write("^C", 2);
            break;
        }
        if (c == '\b' || c == 0x7F) {
            erase(&length);
        } else if (c == 0x15) { /* Ctrl-U */
            while (length > 0)
                erase(&length);
        } else if (c >= ' ' && c < 0x7F && length + 1 < size) {
            line[length++] = c;
            platform_console_write(&c, 1);
        } else if (c >= ' ') {
            platform_console_write("\a", 1);
        }
    }
    x86_out8(UART_INTERRUPTS, 0);
    platform_console_write("\n", 1);
    if (size > 0)
        line[length] = '\0';
    return length;
}
