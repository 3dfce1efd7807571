/* SPDX-License-Identifier: MIT
 *
 * test_format.c: the formatter against texts written by hand.
 *
 * Owns:    the suite `format`. test_format_host.c compares with the C library.
 * Needs:   format.h.
 * Callers: the test runner, on the host and in kernels.
 */
#include "tap.h"

#include <tesela/format.h>

static char text[128];

TSL_PRINTF(1, 2) static const char *formatted(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)tsl_format_list(text, sizeof(text), format, arguments);
    va_end(arguments);
    return text;
}

/* The same without the compiler looking at the format. */
static const char *unchecked(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)tsl_format_list(text, sizeof(text), format, arguments);
    va_end(arguments);
    return text;
}

static void numbers(void)
{
    CHECK_STRING(formatted("%d %d %d", 0, -1, 2147483647), "0 -1 2147483647");
    CHECK_STRING(formatted("%d", -2147483647 - 1), "-2147483648");
    CHECK_STRING(formatted("%u", 4294967295u), "4294967295");
    CHECK_STRING(formatted("%llu", 18446744073709551615ull), "18446744073709551615");
    CHECK_STRING(formatted("%llu", 12345678901234567890ull), "12345678901234567890");
    CHECK_STRING(formatted("%lld", -9223372036854775807ll - 1), "-9223372036854775808");
    CHECK_STRING(formatted("%x %X %#x %#x", 0xBEEFu, 0xBEEFu, 0xBEEFu, 0u), "beef BEEF 0xbeef 0");
    CHECK_STRING(formatted("%zu %zx", (size_t)10, (size_t)255), "10 ff");
    CHECK_STRING(formatted("%lu %lx", 4000000000ul, 4000000000ul), "4000000000 ee6b2800");
}

static void widths(void)
{
    CHECK_STRING(formatted("[%5d|%-5d|%05d]", 42, 42, 42), "[   42|42   |00042]");
    CHECK_STRING(formatted("[%5d|%-5d|%05d]", -42, -42, -42), "[  -42|-42  |-0042]");
    CHECK_STRING(formatted("[%3d|%*d|%-*d]", 12345, 4, 7, 4, 7), "[12345|   7|7   ]");
    CHECK_STRING(formatted("[%.4x|%8.4x|%.0d]", 0xAu, 0xAu, 5), "[000a|    000a|5]");
    CHECK_STRING(formatted("[%#010x]", 0xABu), "[0x000000ab]");
    CHECK_STRING(formatted("%40d|", 1), "                                       1|");
    CHECK_STRING(unchecked("[%-05d|%05.2d]", 7, 7), "[7    |   07]");
    CHECK_STRING(formatted("%020d", 1), "00000000000000000001");
}

static void strings(void)
{
    const char *none = NULL;
    CHECK_STRING(formatted("[%s|%6s|%-6s|%s]", "abc", "abc", "abc", ""), "[abc|   abc|abc   |]");
    CHECK_STRING(formatted("[%.2s|%.*s|%5.1s]", "abc", 1, "abc", "abc"), "[ab|a|    a]");
    CHECK_STRING(unchecked("%s", none), "(null)");
    CHECK_STRING(formatted("%c%3c%-3c|", 'x', 'y', 'z'), "x  yz  |");
    CHECK_STRING(formatted("100%%"), "100%");
    const char open_ended[2] = {'h', 'i'};
    CHECK_STRING(formatted("%.*s", 2, open_ended), "hi");
}

static void pointers_have_all_digits(void)
{
    const char *expected = sizeof(void *) == 4 ? "0x0000abcd" : "0x000000000000abcd";
    CHECK_STRING(formatted("%p", (void *)(uintptr_t)0xABCD), expected);
}

static void unknown_conversions_print_as_they_stand(void)
{
    CHECK_STRING(unchecked("%d %q %d", 1, 2, 3), "1 %q %d");
    CHECK_STRING(unchecked("%f", 1.5), "%f");
    CHECK_STRING(unchecked("50%"), "50%");
    CHECK_STRING(unchecked("%-5"), "%-5");
    CHECK_STRING(unchecked(""), "");
}

static void never_writes_past_the_end(void)
{
    for (size_t size = 0; size < 12; size++) {
        char out[16];
        for (size_t i = 0; i < sizeof(out); i++)
            out[i] = '#';
        CHECK_EQ(tsl_format(out, size, "%s-%d", "abcde", 123), 9);
        for (size_t i = size; i < sizeof(out); i++)
            CHECK_EQ(out[i], '#');
        for (size_t i = 0; i < size; i++) {
            size_t last = size <= 9 ? size - 1 : 9;
            CHECK(i > last || out[i] == (i == last ? '\0' : "abcde-123"[i]));
        }
    }
}

static void byte_counts(void)
{
    char out[16];
    CHECK_STRING(tsl_format_bytes(out, sizeof(out), 0), "0 B");
    CHECK_STRING(tsl_format_bytes(out, sizeof(out), 1023), "1023 B");
    CHECK_STRING(tsl_format_bytes(out, sizeof(out), 1024), "1.0 KiB");
    CHECK_STRING(tsl_format_bytes(out, sizeof(out), 13107200), "12.5 MiB");
    CHECK_STRING(tsl_format_bytes(out, sizeof(out), (UINT64_C(1) << 30) - 1), "1023.9 MiB");
    CHECK_STRING(tsl_format_bytes(out, sizeof(out), UINT64_C(5) << 40), "5.0 TiB");
    CHECK_STRING(tsl_format_bytes(out, sizeof(out), UINT64_MAX), "15.9 EiB");
}

static size_t written;

static void count_written(void *context, const char *piece, size_t length)
{
    CHECK_SAME(context, &written);
    CHECK(length > 0 && piece != NULL);
    written += length;
}

static void sinks_take_texts_of_any_length(void)
{
    struct tsl_sink sink = {count_written, &written};
    written = 0;
    tsl_print(&sink, "%1000d%s%-500s", 5, "abc", "x");
    CHECK_EQ(written, 1503);
}

TAP_SUITE(format, TAP_TEST(numbers), TAP_TEST(widths), TAP_TEST(strings),
          TAP_TEST(pointers_have_all_digits), TAP_TEST(unknown_conversions_print_as_they_stand),
          TAP_TEST(never_writes_past_the_end), TAP_TEST(byte_counts),
          TAP_TEST(sinks_take_texts_of_any_length));
