/* SPDX-License-Identifier: MIT
 *
 * test_report.c: both forms of the report: what is in them, what is left out, and that reading
 * changes nothing.
 *
 * Owns:    suite report, the text that was written.
 * Needs:   vm_fixture.h of tests/vallocator (a machine with frames, a table, a heap).
 * Callers: the host test runner.
 */
#include "../vallocator/vm_fixture.h"

#include <string.h>

#include <tesela/report.h>
#include <tesela/vallocator.h>

enum { WINDOW_PAGES = 64, TEXT_BYTES = 8192 };

static char text[TEXT_BYTES];
static size_t length;
static struct tsl_ranges *ranges;

static void keep(void *context, const char *piece, size_t bytes)
{
    (void)context;
    CHECK(length + bytes < TEXT_BYTES);
    memcpy(text + length, piece, bytes);
    length += bytes;
    text[length] = '\0';
}

static const struct tsl_sink sink = {.write = keep};

static const char *json(const struct tsl_report_subject *subject)
{
    length = 0;
    text[0] = '\0';
    tsl_report_json(subject, &sink);
    return text;
}

static struct tsl_report_subject start(void)
{
    vm_fixture_start();
    struct tsl_ranges_config config = {.table = &vm.table,
                                       .frames = vm.frames,
                                       .heap = vm.heap,
                                       .start = vm.window,
                                       .last = vm.window + WINDOW_PAGES * TSL_PAGE_BYTES - 1};
    CHECK_STATUS(tsl_ranges_create(&config, &ranges), TSL_OK);
    return (struct tsl_report_subject){
        .frames = vm.frames, .table = &vm.table, .heap = vm.heap, .ranges = ranges};
}

static void finish(void)
{
    CHECK_SOUND(tsl_ranges_verify(ranges));
    tsl_ranges_destroy(ranges);
    vm_fixture_stop();
}

static void what_is_missing_is_left_out(void)
{
    struct tsl_report_subject nothing = {0};
    CHECK_STRING(json(&nothing), "{}\n");
    length = 0;
    text[0] = '\0';
    tsl_report_text(&nothing, &sink);
    CHECK_STRING(text, "");
}

static void figures_are_those_of_the_ranges(void)
{
    start();
    void *memory = NULL;
    CHECK_STATUS(tsl_ranges_alloc(ranges, 5000, TSL_READ | TSL_WRITE, &memory), TSL_OK);
    CHECK_STATUS(tsl_ranges_free(ranges, (char *)memory + TSL_PAGE_BYTES), TSL_INVALID);
    struct tsl_report_subject subject = {.ranges = ranges};
    CHECK_STRING(json(&subject),
                 "{\"ranges\":{\"count\":1,\"memory_bytes\":8192,\"mapped_bytes\":0,"
                 "\"peak_bytes\":8192,\"window_bytes\":262144,\"largest_gap_bytes\":249856,"
                 "\"failures\":0,\"refused\":1}}\n");
    CHECK_STATUS(tsl_ranges_free(ranges, memory), TSL_OK);
    finish();
}

static void refusals_have_a_key_for_each_status(void)
{
    struct tsl_report_subject subject = start();
    CHECK_STATUS(tsl_frames_free(vm.frames, (struct tsl_frame){0}, 0), TSL_FOREIGN);
    subject = (struct tsl_report_subject){.frames = subject.frames};
    CHECK(strstr(json(&subject), "\"refused\":{\"foreign\":1}}}") != NULL);
    finish();
}

/* Braces match, a comma or a brace stands before each key, and no figure is missing. */
static void json_is_well_formed(void)
{
    struct tsl_report_subject subject = start();
    unsigned depth = 0;
    const char *all = json(&subject);
    for (const char *at = all; *at != '\0'; at++) {
        depth += *at == '{';
        CHECK(*at != '}' || depth > 0);
        depth -= *at == '}';
        CHECK(*at != ',' || at[1] == '"');
        CHECK(*at != ':' || at[1] == '"' || at[1] == '{' || (at[1] >= '0' && at[1] <= '9'));
    }
    CHECK_EQ(depth, 0);
    static const char *const parts[] = {"{\"frames\":{", ",\"heap\":{", ",\"ranges\":{",
                                        ",\"tables\":{"};
    for (size_t i = 0; i < TSL_COUNT_OF(parts); i++)
        CHECK(strstr(all, parts[i]) != NULL);
    finish();
}

static void reading_changes_nothing(void)
{
    struct tsl_report_subject subject = start();
    vm_fixture_mark();
    length = 0;
    tsl_report_text(&subject, &sink);
    CHECK(length > 0 && strstr(text, "kernel ranges") != NULL);
    CHECK(strstr(text, "\n  peak       ") != NULL && strstr(text, "iB; bookkeeping ") != NULL);
    (void)json(&subject);
    CHECK_EQ(vm_fixture_lost(), 0);
    finish();
}

TAP_SUITE(report, TAP_TEST(what_is_missing_is_left_out), TAP_TEST(figures_are_those_of_the_ranges),
          TAP_TEST(refusals_have_a_key_for_each_status), TAP_TEST(json_is_well_formed),
          TAP_TEST(reading_changes_nothing));
