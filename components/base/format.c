/* SPDX-License-Identifier: MIT
 *
 * format.c: the formatter, and what is built on it.
 *
 * Owns:    nothing.
 * Needs:   config.h (TSL_LOG_LEVEL), port.h (log).
 * Callers: everybody, through format.h.
 *
 * One engine writes pieces into a sink; formatting into an array is a sink that counts and cuts.
 */
#include <tesela/config.h>
#include <tesela/format.h>

#define DIGITS_BYTES 20 /* of 2^64 - 1 */

/* One conversion: what stands between % and the letter. */
struct spec {
    bool left;
    bool zero;
    bool prefix;
    int width;      /* 0: none */
    int precision;  /* -1: none */
    unsigned bytes; /* size of the integer argument */
};

static void write_text(const struct tsl_sink *sink, const char *text, size_t length)
{
    if (length > 0)
        sink->write(sink->context, text, length);
}

static void write_padding(const struct tsl_sink *sink, char fill, size_t count)
{
    const char *text = fill == '0' ? "0000000000000000" : "                ";
    for (; count > 16; count -= 16)
        write_text(sink, text, 16);
    write_text(sink, text, count);
}

/* value / 10, in steps that a 32-bit CPU divides in one instruction: a 64-bit division would be a
 * call into the compiler's library there. */
static uint64_t divide_by_ten(uint64_t value, unsigned *digit)
{
    uint32_t high = (uint32_t)(value >> 32);
    uint32_t middle = ((high % 10) << 16) | (uint32_t)((value >> 16) & 0xFFFF);
    uint32_t low = ((middle % 10) << 16) | (uint32_t)(value & 0xFFFF);
    *digit = low % 10;
    return ((uint64_t)(high / 10) << 32) | ((uint64_t)(middle / 10) << 16) | (low / 10);
}

/* Writes the digits so that they end at `end`; returns where they start. No digits for 0. */
static char *put_digits(char *end, uint64_t value, bool hexadecimal, bool upper)
{
    const char *letters = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    while (value != 0) {
        unsigned digit = (unsigned)(value & 15);
        value = hexadecimal ? value >> 4 : divide_by_ten(value, &digit);
        *--end = letters[digit];
    }
    return end;
}

/* Pads and writes sign or prefix, then zeros, then the digits. */
static void write_number(const struct tsl_sink *sink, const struct spec *spec, const char *lead,
                         const char *digits, size_t count)
{
    size_t lead_length = lead[0] == '\0' ? 0 : (lead[1] == '\0' ? 1 : 2);
    size_t wanted = spec->precision < 0 ? 1 : (size_t)spec->precision;
    size_t zeros = count < wanted ? wanted - count : 0;
    size_t length = lead_length + zeros + count;
    size_t padding = (size_t)spec->width > length ? (size_t)spec->width - length : 0;
    if (spec->zero && !spec->left && spec->precision < 0) {
        zeros += padding;
        padding = 0;
    }
    write_padding(sink, ' ', spec->left ? 0 : padding);
    write_text(sink, lead, lead_length);
    write_padding(sink, '0', zeros);
    write_text(sink, digits, count);
    write_padding(sink, ' ', spec->left ? padding : 0);
}

static void write_unsigned(const struct tsl_sink *sink, const struct spec *spec, char letter,
                           uint64_t value)
{
    char digits[DIGITS_BYTES];
    char *end = digits + sizeof(digits);
    bool upper = letter == 'X';
    bool hexadecimal = upper || letter == 'x';
    const char *start = put_digits(end, value, hexadecimal, upper);
    const char *lead = !hexadecimal || !spec->prefix || value == 0 ? "" : (upper ? "0X" : "0x");
    write_number(sink, spec, lead, start, (size_t)(end - start));
}

static void write_signed(const struct tsl_sink *sink, const struct spec *spec, int64_t value)
{
    char digits[DIGITS_BYTES];
    char *end = digits + sizeof(digits);
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const char *start = put_digits(end, magnitude, false, false);
    write_number(sink, spec, value < 0 ? "-" : "", start, (size_t)(end - start));
}

static void write_pointer(const struct tsl_sink *sink, const struct spec *spec, const void *pointer)
{
    char digits[DIGITS_BYTES];
    char *end = digits + sizeof(digits);
    struct spec full = *spec;
    full.precision = (int)(sizeof(pointer) * 2);
    const char *start = put_digits(end, (uintptr_t)pointer, true, false);
    write_number(sink, &full, "0x", start, (size_t)(end - start));
}

static void write_string(const struct tsl_sink *sink, const struct spec *spec, const char *text)
{
    text = text == NULL ? "(null)" : text;
    size_t length = 0;
    /* The precision is looked at first: a string with one need not be ended by zero. */
    while ((spec->precision < 0 || length < (size_t)spec->precision) && text[length] != '\0')
        length++;
    size_t padding = (size_t)spec->width > length ? (size_t)spec->width - length : 0;
    write_padding(sink, ' ', spec->left ? 0 : padding);
    write_text(sink, text, length);
    write_padding(sink, ' ', spec->left ? padding : 0);
}

static const char *parse_flags(const char *at, struct spec *out)
{
    for (;; at++)
        if (*at == '-')
            out->left = true;
        else if (*at == '0')
            out->zero = true;
        else if (*at == '#')
            out->prefix = true;
        else
            return at;
}

/* A number in the format; one that is absurdly large counts as 9999, so that nothing overflows. */
static const char *parse_number(const char *at, int *out)
{
    int value = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        value = value < 1000 ? value * 10 + (*at - '0') : 9999;
    *out = value;
    return at;
}

static const char *parse_length(const char *at, struct spec *out)
{
    out->bytes = sizeof(int);
    for (; *at == 'h'; at++) {
    }
    if (*at == 'l') {
        at++;
        out->bytes = sizeof(long);
        if (*at == 'l') {
            at++;
            out->bytes = sizeof(long long);
        }
    }
    if (*at == 'z' || *at == 't') {
        out->bytes = sizeof(size_t);
        at++;
    } else if (*at == 'j') {
        out->bytes = sizeof(intmax_t);
        at++;
    }
    return at;
}

/* va_list is an array on some machines, a structure or pointer on others; inside a structure it can
 * be handed down by address on all of them. */
struct arguments {
    va_list list;
};

static int star_or_number(const char **at, struct arguments *arguments)
{
    int value;
    if (**at == '*') {
        (*at)++;
        return va_arg(arguments->list, int);
    }
    *at = parse_number(*at, &value);
    return value;
}

static const char *parse_spec(const char *at, struct spec *out, struct arguments *arguments)
{
    *out = (struct spec){.precision = -1};
    at = parse_flags(at, out);
    out->width = star_or_number(&at, arguments);
    if (out->width < 0) {
        out->left = true;
        out->width = out->width < -9999 ? 9999 : -out->width;
    }
    if (*at == '.') {
        at++;
        out->precision = star_or_number(&at, arguments);
    }
    return parse_length(at, out);
}

static uint64_t next_unsigned(const struct spec *spec, struct arguments *arguments)
{
    if (spec->bytes == sizeof(unsigned long long))
        return va_arg(arguments->list, unsigned long long);
    if (spec->bytes == sizeof(unsigned long))
        return va_arg(arguments->list, unsigned long);
    return va_arg(arguments->list, unsigned);
}

static int64_t next_signed(const struct spec *spec, struct arguments *arguments)
{
    if (spec->bytes == sizeof(long long))
        return va_arg(arguments->list, long long);
    if (spec->bytes == sizeof(long))
        return va_arg(arguments->list, long);
    return va_arg(arguments->list, int);
}

/* Prints one conversion; false if it is none of ours. */
static bool convert(const struct tsl_sink *sink, const struct spec *spec, char letter,
                    struct arguments *arguments)
{
    char character;
    switch (letter) {
    case 'd':
    case 'i':
        write_signed(sink, spec, next_signed(spec, arguments));
        return true;
    case 'u':
    case 'x':
    case 'X':
        write_unsigned(sink, spec, letter, next_unsigned(spec, arguments));
        return true;
    case 'p':
        write_pointer(sink, spec, va_arg(arguments->list, const void *));
        return true;
    case 's':
        write_string(sink, spec, va_arg(arguments->list, const char *));
        return true;
    case 'c':
        character = (char)va_arg(arguments->list, int);
        write_padding(sink, ' ', !spec->left && spec->width > 1 ? (size_t)spec->width - 1 : 0);
        write_text(sink, &character, 1);
        write_padding(sink, ' ', spec->left && spec->width > 1 ? (size_t)spec->width - 1 : 0);
        return true;
    case '%':
        write_text(sink, "%", 1);
        return true;
    default:
        return false;
    }
}

void tsl_print_list(const struct tsl_sink *sink, const char *format, va_list list)
{
    struct arguments arguments;
    va_copy(arguments.list, list);
    while (*format != '\0') {
        const char *plain = format;
        while (*format != '\0' && *format != '%')
            format++;
        write_text(sink, plain, (size_t)(format - plain));
        if (*format == '\0')
            break;
        struct spec spec;
        const char *letter = parse_spec(format + 1, &spec, &arguments);
        if (!convert(sink, &spec, *letter, &arguments)) {
            /* The type of the argument is unknown, so no later one can be found either. */
            while (*letter != '\0')
                letter++;
            write_text(sink, format, (size_t)(letter - format));
            break;
        }
        format = letter + 1;
    }
    va_end(arguments.list);
}

void tsl_print(const struct tsl_sink *sink, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    tsl_print_list(sink, format, list);
    va_end(list);
}

/* A sink that fills an array. */
struct bounded {
    char *out;
    size_t size;
    size_t length; /* of the whole text, stored or not */
};

static void write_bounded(void *context, const char *text, size_t length)
{
    struct bounded *self = context;
    for (size_t i = 0; i < length; i++, self->length++)
        if (self->length + 1 < self->size)
            self->out[self->length] = text[i];
}

size_t tsl_format_list(char *out, size_t size, const char *format, va_list arguments)
{
    struct bounded bounded = {out, size, 0};
    struct tsl_sink sink = {write_bounded, &bounded};
    tsl_print_list(&sink, format, arguments);
    if (size > 0)
        out[bounded.length < size ? bounded.length : size - 1] = '\0';
    return bounded.length;
}

size_t tsl_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length = tsl_format_list(out, size, format, arguments);
    va_end(arguments);
    return length;
}

const char *tsl_format_bytes(char *out, size_t size, uint64_t bytes)
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    while (unit + 2 < sizeof(units) && bytes >> (10 * unit + 10) != 0)
        unit++;
    unsigned whole = (unsigned)(bytes >> (10 * unit));
    if (unit == 0) {
        (void)tsl_format(out, size, "%u B", whole);
        return out;
    }
    unsigned tenths = ((unsigned)(bytes >> (10 * unit - 10)) & 1023) * 10 / 1024;
    (void)tsl_format(out, size, "%u.%u %ciB", whole, tenths, units[unit]);
    return out;
}

void tsl_log_list(enum tsl_log_level level, const char *format, va_list arguments)
{
    if ((int)level > TSL_LOG_LEVEL)
        return;
    char line[TSL_LOG_LINE_BYTES];
    (void)tsl_format_list(line, sizeof(line), format, arguments);
    tsl_port_log(level, line);
}

void tsl_log(enum tsl_log_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tsl_log_list(level, format, arguments);
    va_end(arguments);
}
