/* SPDX-License-Identifier: MIT
 *
 * tables.c: a kernel that shows its tables, and those of two spaces, and waits to be compared.
 *
 * Owns:    the kernel `tables`.
 * Needs:   compare_tables.py, which asks QEMU what it sees at each `# marker` and types Enter.
 * Callers: platform/pc.
 *
 * First comes `# tables FORMAT NX PAT`, with 1 for what the CPU has. Then each line is
 * `# map START TARGET PAGE_BYTES PAGES ATTRIBUTES`, numbers in hexadecimal: so many pages of this
 * size one after the other, as tsl_table_next() tells them.
 */
#include <tesela/memory.h>
#include <tesela/space.h>
#include <tesela/vm.h>
#include <x86/instructions.h>

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/machine.h>
#include <platform/memory.h>
#include <platform/user.h>

enum { RW = TSL_READ | TSL_WRITE };

extern const unsigned char program_attack[];
extern const size_t program_attack_bytes;

/* What is not done as expected is said, and ends the run as failed. */
static bool is_good = true;

static void expect(bool holds, const char *what)
{
    if (!holds)
        tsl_print(platform_console(), "# failed: %s\n", what);
    is_good = is_good && holds;
}

static bool continues(const struct tsl_mapping *first, size_t pages, const struct tsl_mapping *page)
{
    return first->start + pages * first->bytes == page->start && first->bytes == page->bytes &&
           first->target + (tsl_paddr)pages * first->bytes == page->target &&
           first->attributes == page->attributes;
}

static void print_run(const struct tsl_mapping *first, size_t pages)
{
    if (pages > 0)
        tsl_print(platform_console(), "# map %lx %llx %zx %zx %x\n", (unsigned long)first->start,
                  (unsigned long long)first->target, first->bytes, pages, first->attributes);
}

static void show(struct tsl_table *table, const char *name)
{
    struct tsl_mapping first = {0}, page;
    const struct tsl_cpu_features *features = &tsl_system()->features;
    char line[8];
    size_t pages = 0;

    tsl_print(platform_console(), "# tables %s %d %d\n", table->format->name,
              features->nx && table->format->has_nx, features->pat);
    for (tsl_vaddr at = 0; tsl_table_next(table, at, ~(tsl_vaddr)0, &page);) {
        if (pages == 0 || !continues(&first, pages, &page)) {
            print_run(&first, pages);
            first = page;
            pages = 0;
        }
        pages++;
        at = page.start + page.bytes;
        if (at == 0)
            break;
    }
    print_run(&first, pages);
    tsl_print(platform_console(), "# marker %s\n", name);
    (void)platform_console_read_line(line, sizeof(line));
}

static void add(struct tsl_space *space, tsl_vaddr at, unsigned rights, struct tsl_object *object,
                unsigned flags)
{
    struct tsl_map_request request = {.address = at,
                                      .bytes = 4 * TSL_PAGE_BYTES,
                                      .rights = rights,
                                      .object = object,
                                      .flags = TSL_SPACE_FIXED | flags};
    expect(tsl_space_map(space, &request, &at) == TSL_OK, "map");
    for (unsigned i = 0; i < 3 && rights; i++)
        expect(tsl_space_fault(space, at + i * TSL_PAGE_BYTES,
                               i == 1               ? TSL_READ
                               : rights & TSL_WRITE ? TSL_WRITE
                                                    : TSL_READ,
                               NULL) == TSL_OK,
               "fault");
}

static struct tsl_object *device(unsigned cache)
{
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {
        .kind = TSL_OBJECT_DEVICE, .bytes = 4 * TSL_PAGE_BYTES, .target = 0xB8000, .cache = cache};
    expect(tsl_object_create(tsl_system()->vm, &config, &object) == TSL_OK, "object");
    return object;
}

/* Pages that the kernel and the program both write to. */
static struct tsl_object *memory_of_kernel(void)
{
    struct tsl_object *object = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_KERNEL,
                                       .bytes = 4 * TSL_PAGE_BYTES,
                                       .memory = valloc(4 * TSL_PAGE_BYTES, VM_READ | VM_WRITE)};
    expect(config.memory && tsl_object_create(tsl_system()->vm, &config, &object) == TSL_OK,
           "object of the kernel's memory");
    return object;
}

/* A CPU that stops where it finds two sizes of page has none but small ones. */
static bool has_large_pages(const struct tsl_table *table)
{
    tsl_word large = 0;

    for (unsigned level = 1; level < table->format->levels; level++)
        large += table->counters.pages[level];
    return large > 0;
}

/* Program, zeros, shared memory, the kernel's memory, devices of three cache types, and pages read
 * but never written. */
static struct tsl_space *make_space(void)
{
    static const uintptr_t argument[2] = {0};
    const unsigned caches[] = {TSL_CACHE_WRITE_THROUGH, TSL_CACHE_UNCACHED,
                               TSL_CACHE_WRITE_COMBINING};
    struct platform_user user;
    struct tsl_space *space = NULL;
    struct tsl_object *shared = NULL;
    struct tsl_object_config config = {.kind = TSL_OBJECT_MEMORY, .bytes = 4 * TSL_PAGE_BYTES};

    expect(tsl_space_create(tsl_system()->vm, NULL, &space) == TSL_OK, "space");
    expect(platform_user_load(&user, "attack", space, program_attack, program_attack_bytes,
                              argument) == TSL_OK,
           "program");
    expect(platform_user_run(&user) == PLATFORM_USER_EXITED, "run");
    add(space, 0x20000000, RW, NULL, 0);
    add(space, 0x20010000, TSL_READ | TSL_EXEC, NULL, 0);
    add(space, 0x20020000, TSL_READ, NULL, 0);
    expect(tsl_object_create(tsl_system()->vm, &config, &shared) == TSL_OK, "object");
    add(space, 0x20030000, RW, shared, TSL_SPACE_SHARED);
    add(space, 0x20040000, TSL_READ, shared, TSL_SPACE_SHARED);
    add(space, 0x20050000, RW, shared, 0);
    add(space, 0x20060000, RW, memory_of_kernel(), TSL_SPACE_SHARED);
    for (unsigned i = 0; i < TSL_COUNT_OF(caches); i++)
        add(space, 0x30000000 + i * 0x10000, RW, device(caches[i]), TSL_SPACE_SHARED);
    /* The last page of the user half, and pages around the border of the lowest tables. */
    add(space, tsl_system()->table->format->user_last - 4 * TSL_PAGE_BYTES + 1, RW, NULL, 0);
    add(space, 0x40000000 - 2 * TSL_PAGE_BYTES, RW, NULL, 0);
    return space;
}

bool kernel_main(const struct platform_boot *boot)
{
    struct tsl_space *space, *copy = NULL;

    (void)boot;
    if (platform_memory_start() != TSL_OK) {
        tsl_print(platform_console(), "# failed: Tesela did not start\n");
        return false;
    }
    x86_interrupts_on();
    char *memory = valloc(3 * TSL_PAGE_BYTES, VM_READ | VM_WRITE);
    expect(memory != NULL && valloc(TSL_PAGE_BYTES, VM_READ) != NULL &&
               valloc(TSL_PAGE_BYTES, VM_READ | VM_EXEC) != NULL,
           "valloc");
    expect(!tsl_system()->features.one_size || !has_large_pages(tsl_system()->table), "one size");
    show(tsl_system()->table, "kernel");
    space = make_space();
    expect(tsl_space_copy(space, &copy) == TSL_OK, "copy");
    expect(tsl_space_fault(copy, 0x20000000, TSL_WRITE, NULL) == TSL_OK, "copied page");
    vfree(memory);
    expect(valloc(40 * TSL_PAGE_BYTES, VM_READ | VM_WRITE) != NULL, "valloc");
    (void)platform_space_visit(space);
    show(tsl_space_table(space), "space");
    (void)platform_space_visit(copy);
    show(tsl_space_table(copy), "copy");
    (void)platform_space_visit(NULL);
    return is_good && tsl_verify().rule == 0;
}
