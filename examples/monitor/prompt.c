/* SPDX-License-Identifier: MIT
 *
 * prompt.c: a few questions that a person at the console can ask the running system.
 *
 * Owns:    the list of commands.
 * Needs:   the facade, the components' dumps, platform/pc for input.
 * Callers: main.c.
 */
#include "monitor.h"

#include <tesela/config.h>
#include <tesela/heap_leaks.h>
#include <tesela/heap_profile.h>
#include <tesela/heap_report.h>
#include <tesela/physical_allocator.h>
#include <tesela/vallocator.h>

#include <platform/console.h>
#include <platform/memory.h>

static void help(void);

static void show_zones(void)
{
    tsl_frames_dump(tsl_system()->frames, console());
}

static void show_heap(void)
{
    tsl_heap_dump(tsl_system()->heap, console());
}

/* Blocks taken after it are what `leaks` shows. */
static uint64_t heap_mark;

static void mark(void)
{
    if (!TSL_HEAP_SITES)
        return;
    heap_mark = tsl_heap_mark(tsl_system()->heap);
    tsl_print(console(), "%llu allocations so far\n", (unsigned long long)heap_mark);
}

static void leaks(void)
{
    if (TSL_HEAP_SITES)
        tsl_heap_print_since(tsl_system()->heap, heap_mark, TSL_HEAP_BY_BYTES, console());
}

enum { LOST_PRINTED = 20 };

/* Other CPUs wait for work meanwhile; their stacks are among the roots. */
static void lost(void)
{
    static struct tsl_heap_leak blocks[LOST_PRINTED];
    static struct tsl_heap_root roots[PLATFORM_ROOTS];

    if (!TSL_HEAP_LEAK_SCAN)
        return;
    platform_memory_roots(roots);
    size_t count =
        tsl_heap_leak_scan(tsl_system()->heap, roots, PLATFORM_ROOTS, blocks, LOST_PRINTED);
    for (size_t i = 0; i < count && i < LOST_PRINTED; i++)
        tsl_print(console(), "  %p, %zu bytes, taken at %#zx\n", blocks[i].block, blocks[i].bytes,
                  (size_t)blocks[i].site);
    tsl_print(console(), "%zu blocks that nothing points to\n", count);
}

/* For a look at what `lost` says. */
static void lose(void)
{
    void *block = kmalloc(100);

    tsl_print(console(), block != NULL ? "100 bytes taken, and nobody knows where\n"
                                       : "there is no memory to lose\n");
}

static void profile(void)
{
    if (TSL_HEAP_PROFILE)
        tsl_heap_print_profile(tsl_system()->heap, console());
}

static void show_ranges(void)
{
    tsl_ranges_dump(tsl_system()->ranges, console());
}

static void verify(void)
{
    struct tsl_defect defect = tsl_verify();
    if (defect.rule)
        tsl_print(console(), "%s: rule %u is broken at %p: %s\n", defect.component, defect.rule,
                  (void *)defect.place, defect.sentence);
    else
        tsl_print(console(), "every rule of every component holds\n");
}

#define NEEDS(option, name) ((option) ? NULL : (name))

/* What the configuration leaves out is listed all the same, with the option that brings it. */
static const struct command {
    const char *name;
    const char *what;
    void (*run)(void);
    const char *missing; /* NULL: it is there */
} commands[] = {
    {"help", "this list", help, NULL},
    {"mem", "everything on one page", report, NULL},
    {"zones", "frames by zone, and a map of what is free", show_zones, NULL},
    {"heap", "the kernel heap by size class", show_heap, NULL},
    {"mark", "from here on `leaks` counts", mark, NEEDS(TSL_HEAP_SITES, "HEAP_SITES")},
    {"leaks", "blocks of the heap taken since the mark, by call site", leaks,
     NEEDS(TSL_HEAP_SITES, "HEAP_SITES")},
    {"lose", "takes a block and forgets it", lose, NULL},
    {"lost", "blocks of the heap that nothing points to", lost,
     NEEDS(TSL_HEAP_LEAK_SCAN, "HEAP_SITES and HEAP_LEAK_SCAN")},
    {"profile", "how long the heap takes, and how well it uses its memory", profile,
     NEEDS(TSL_HEAP_PROFILE, "HEAP_PROFILE")},
    {"ranges", "what valloc() and map_page() handed out", show_ranges, NULL},
    {"tables", "[ADDRESS]: how the page tables translate it (hexadecimal); without: all", NULL,
     NULL},
    {"verify", "check every rule of every component", verify, NULL},
    {"quit", "power off", NULL, NULL},
};

static void help(void)
{
    for (size_t i = 0; i < TSL_COUNT_OF(commands); i++)
        tsl_print(console(), "  %-8s %s%s%s\n", commands[i].name, commands[i].what,
                  commands[i].missing ? "; needs " : "",
                  commands[i].missing ? commands[i].missing : "");
}

static void run(const struct command *command)
{
    if (command->missing)
        tsl_print(console(),
                  "%s needs %s, not in this build. Switch it on in the menu Heap of\n"
                  "  meson compile -C build/%s-%s menuconfig\nand start again.\n",
                  command->name, command->missing, sizeof(void *) == 8 ? "x86_64" : "x86_32",
                  TSL_PROFILE);
    else
        command->run();
}

/* Splits off the first word of `line`; the rest, without leading blanks, is returned. */
static char *split_word(char *line)
{
    while (*line && *line != ' ')
        line++;
    while (*line == ' ')
        *line++ = '\0';
    return line;
}

static bool is_word(const char *text, const char *word)
{
    while (*text && *text == *word) {
        text++;
        word++;
    }
    return *text == *word;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads a hexadecimal address, with or without 0x, with '_' or '`' between digits. */
static bool parse_address(const char *text, tsl_vaddr *out)
{
    tsl_vaddr value = 0;
    unsigned digits = 0;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    for (; *text && *text != ' '; text++) {
        if (*text == '_' || *text == '`')
            continue;
        if (digit_of(*text) < 0 || ++digits > 2 * sizeof(value))
            return false;
        value = value << 4 | (tsl_vaddr)digit_of(*text);
    }
    *out = value;
    return digits > 0;
}

static void tables(const char *argument)
{
    tsl_vaddr address;
    struct tsl_mapping mapping;
    if (!*argument) {
        tsl_table_dump(tsl_system()->table, console());
        return;
    }
    if (!parse_address(argument, &address)) {
        tsl_print(console(), "tables: '%s' is not an address in hexadecimal\n", argument);
        return;
    }
    const struct tsl_layout_range *range = tsl_layout_at(tsl_system()->layout, address);
    tsl_print(console(), "%p lies in: %s\n", (void *)address,
              range ? tsl_layout_use_name(range->use) : "no range of the layout");
    enum tsl_status status = tsl_table_query(tsl_system()->table, address, &mapping);
    if (status != TSL_OK) {
        tsl_print(console(), "not mapped (%s)\n", tsl_status_name(status));
        return;
    }
    char size[16];
    tsl_format_bytes(size, sizeof(size), mapping.bytes);
    tsl_print(console(), "page of %s at %p -> physical 0x%llx  %c%c%c%s%s%s%s\n", size,
              (void *)mapping.start, (unsigned long long)mapping.target,
              mapping.attributes & TSL_READ ? 'r' : '-', mapping.attributes & TSL_WRITE ? 'w' : '-',
              mapping.attributes & TSL_EXEC ? 'x' : '-',
              mapping.attributes & TSL_USER ? " user" : "",
              mapping.attributes & TSL_GLOBAL ? " global" : "", mapping.accessed ? " accessed" : "",
              mapping.dirty ? " dirty" : "");
}

/* Obeys one line; false when it was `quit`. */
static bool obey(char *line)
{
    while (*line == ' ')
        line++;
    char *argument = split_word(line);
    if (!*line)
        return true;
    if (is_word(line, "quit"))
        return false;
    if (is_word(line, "tables")) {
        tables(argument);
        return true;
    }
    for (size_t i = 0; i < TSL_COUNT_OF(commands); i++) {
        if (commands[i].run && is_word(line, commands[i].name)) {
            run(&commands[i]);
            return true;
        }
    }
    tsl_print(console(), "unknown command '%s'; try help\n", line);
    return true;
}

void prompt(void)
{
    char line[80];
    do {
        tsl_print(console(), "tesela> ");
        platform_console_read_line(line, sizeof(line));
    } while (obey(line));
}
