/* SPDX-License-Identifier: MIT
 *
 * attackers.c: programs that do what they may not, in user mode, each refused exactly as specified.
 *
 * Owns:    the kernel `attackers`.
 * Needs:   platform/user.h, programs/attack.S; tap.h.
 * Callers: platform/pc. On the command line: cpus=N, so many have to be there.
 */
#include "start.h"

#include <tesela/atomic.h>
#include <tesela/memory.h>
#include <tesela/physical_allocator.h>
#include <tesela/vm.h>
#include <x86/instructions.h>

#include <platform/boot.h>
#include <platform/console.h>
#include <platform/cpu.h>
#include <platform/memory.h>
#include <platform/user.h>

#include "programs/attacks.h"

enum value {
    VALUE_NONE,
    VALUE_NULL_PAGE,
    VALUE_KERNEL_TEXT,
    VALUE_KERNEL_DATA,
    VALUE_DIRECT_MAP,
    VALUE_LATE_PAGE,
    VALUE_DEVICE,
    VALUE_USER_END,
    VALUE_LAST_PAGE,
    VALUE_UNMAPPED,
    VALUE_OWN_TEXT,
    VALUE_OWN_CONSTANTS,
    VALUE_OWN_DATA,
    VALUE_OWN_STACK,
    VALUE_ABOVE_STACK,
    VALUE_BELOW_STACK,
    VALUE_FAR_BELOW_STACK,
    VALUE_NOT_CANONICAL,
    VALUE_COUNT
};

enum outcome {
    OUTCOME_EXITS,      /* by itself, with the code */
    OUTCOME_TRAP,       /* killed by the exception */
    OUTCOME_ANY_TRAP,   /* killed, how depends on the CPU */
    OUTCOME_PAGE,       /* killed by a page fault at the value, to which the space said that */
    OUTCOME_NO_EXECUTE, /* so if the CPU can forbid execution; else it exits well */
    OUTCOME_UMIP        /* a trap if the CPU has UMIP; else it survives, code 1 */
};

struct attack {
    const char *name;
    enum value value;
    enum outcome outcome;
    unsigned detail;
};

#define X(attack, value, outcome, detail)                                                          \
    {#attack " " #value, VALUE_##value, OUTCOME_##outcome, detail},
static const struct attack everywhere[] = {ATTACKS_EVERYWHERE(X)};
static const struct attack only_64[] = {ATTACKS_64(X)};
static const struct attack only_32[] = {ATTACKS_32(X)};
#undef X

extern const unsigned char program_attack[];
extern const size_t program_attack_bytes;

static char *late_page; /* of the kernel; mapped when spaces are there already */
static uint32_t kernel_data = 0x7E5E1A;
static uint32_t attacks_made;

static tsl_vaddr user_last(void)
{
    return tsl_system()->table->format->user_last;
}

static bool forbids_execution(void)
{
    return tsl_system()->table->format->has_nx && tsl_system()->features.nx;
}

static tsl_vaddr address_of(enum value value)
{
    const struct platform_program *program = (const struct platform_program *)program_attack;
    const struct platform_boot *boot = platform_boot();
    tsl_vaddr stack = PLATFORM_USER_STACK_TOP;
    const tsl_vaddr addresses[VALUE_COUNT] = {
        [VALUE_NULL_PAGE] = 16,
        [VALUE_KERNEL_TEXT] = (tsl_vaddr)address_of,
        [VALUE_KERNEL_DATA] = (tsl_vaddr)&kernel_data,
        [VALUE_DIRECT_MAP] = tsl_layout_find(tsl_system()->layout, TSL_LAYOUT_DIRECT_MAP)->start,
        [VALUE_LATE_PAGE] = (tsl_vaddr)late_page,
        [VALUE_DEVICE] = boot->device_count > 0 ? boot->devices[0].start
                                                : (tsl_vaddr)platform_boot()->image.data.start,
        [VALUE_USER_END] = user_last() + 1,
        [VALUE_LAST_PAGE] = user_last() - 3,
        [VALUE_UNMAPPED] = 0x08000000,
        [VALUE_OWN_TEXT] = program->start,
        [VALUE_OWN_CONSTANTS] = program->text_end,
        [VALUE_OWN_DATA] = program->rodata_end,
        [VALUE_OWN_STACK] = stack - TSL_PAGE_BYTES,
        [VALUE_ABOVE_STACK] = stack,
        [VALUE_BELOW_STACK] = stack - 100 * 1024,
        [VALUE_FAR_BELOW_STACK] = stack - 300 * 1024,
        [VALUE_NOT_CANONICAL] = (user_last() + 1 + TSL_PAGE_BYTES) | 0x10,
    };
    return addresses[value];
}

/* A page that ends the user half, with a call as its last instruction: clear AX, call. */
static bool make_last_page(struct tsl_space *space)
{
    static const unsigned char code[2][4] = {{0x31, 0xC0, 0xCD, 0x80}, {0x31, 0xC0, 0x0F, 0x05}};
    tsl_vaddr page = (user_last() - (TSL_PAGE_BYTES - 1u)), at;
    struct tsl_map_request request = {.address = page,
                                      .bytes = TSL_PAGE_BYTES,
                                      .rights = TSL_READ | TSL_WRITE,
                                      .flags = TSL_SPACE_FIXED};
    if (tsl_space_map(space, &request, &at) != TSL_OK)
        return false;
    struct tsl_space *before = platform_space_visit(space);
    bool good = platform_copy_to_user(user_last() - 3, code[sizeof(void *) == 8], 4);
    (void)platform_space_visit(before);
    return good && tsl_space_protect(space, page, TSL_PAGE_BYTES, TSL_READ | TSL_EXEC) == TSL_OK;
}

static bool is_killed_by(const struct platform_user *user, unsigned vector)
{
    return user->state == PLATFORM_USER_KILLED && user->fault.vector == vector;
}

static bool is_page_fault(const struct platform_user *user, tsl_vaddr address, unsigned status)
{
    if (!is_killed_by(user, PLATFORM_VECTOR_PAGE_FAULT) || (unsigned)user->status != status)
        return false;
    /* Where a stack ends up is its own affair, within a word or two. */
    return address == 0 || user->fault.address - (address - 16) <= 32;
}

static bool exits(const struct platform_user *user, uintptr_t code)
{
    return user->state == PLATFORM_USER_EXITED && user->code == code;
}

static bool is_as_specified(const struct attack *attack, const struct platform_user *user,
                            tsl_vaddr address)
{
    switch (attack->outcome) {
    case OUTCOME_EXITS:
        return exits(user, attack->detail);
    case OUTCOME_TRAP:
        return is_killed_by(user, attack->detail);
    case OUTCOME_ANY_TRAP:
        return user->state == PLATFORM_USER_KILLED;
    case OUTCOME_PAGE:
        return is_page_fault(user, address, attack->detail);
    case OUTCOME_NO_EXECUTE:
        return forbids_execution() ? is_page_fault(user, address, attack->detail) : exits(user, 0);
    case OUTCOME_UMIP:
        return tsl_system()->features.umip ? is_killed_by(user, attack->detail) : exits(user, 1);
    }
    return false;
}

/* Whether the kernel reaches a program's page although it should not be able to. */
static uintptr_t reach(struct platform_user *self, uintptr_t number, const uintptr_t argument[3])
{
    struct platform_fault fault;

    (void)self;
    if (number != USER_CALL_OWN)
        return USER_CALL_UNKNOWN;
    return platform_try_read(argument[0], &fault) && tsl_system()->features.smap;
}

static void make_attack(const struct attack *attack, uintptr_t number)
{
    struct platform_user user;
    struct tsl_space *space = NULL;
    tsl_vaddr address = address_of(attack->value);
    const uintptr_t argument[2] = {number, address};

    CHECK_STATUS(tsl_space_create(tsl_system()->vm, NULL, &space), TSL_OK);
    CHECK_STATUS(platform_user_load(&user, attack->name, space, program_attack,
                                    program_attack_bytes, argument),
                 TSL_OK);
    CHECK(make_last_page(space));
    user.is_quiet = true;
    user.call = reach;
    (void)platform_user_run(&user);
    if (!tap_check(is_as_specified(attack, &user, address), TSL_FILE, __LINE__, attack->name))
        tap_note("%s (%#lx): state %d, code %lx, vector %u, error %lx, address %#lx, ip %#lx, %s",
                 attack->name, (unsigned long)address, user.state, (unsigned long)user.code,
                 user.fault.vector, (unsigned long)user.fault.error,
                 (unsigned long)user.fault.address, (unsigned long)user.fault.ip,
                 tsl_status_name(user.status));
    CHECK_SOUND(tsl_space_verify(space));
    CHECK_STATUS(tsl_space_destroy(space), TSL_OK);
    (void)tsl_atomic_add_u32(&attacks_made, 1);
}

static void make_all_attacks(void *unused)
{
    const struct attack *special = sizeof(void *) == 8 ? only_64 : only_32;
    size_t specials = sizeof(void *) == 8 ? TSL_COUNT_OF(only_64) : TSL_COUNT_OF(only_32);

    (void)unused;
    for (size_t i = 0; i < TSL_COUNT_OF(everywhere); i++)
        make_attack(&everywhere[i], i);
    for (size_t i = 0; i < specials; i++)
        make_attack(&special[i], TSL_COUNT_OF(everywhere) + i);
}

static void every_attack_is_refused_as_specified(void)
{
    struct tsl_vm_stats stats;
    tsl_word free_frames;

    make_attack(&everywhere[0], 0); /* what is kept from now on is there */
    free_frames = tsl_frames_free_count(tsl_system()->frames);
    attacks_made = 0;
    make_all_attacks(NULL);
    tap_note("%u attacks", attacks_made);
    tsl_vm_stats(tsl_system()->vm, &stats);
    CHECK_EQ(stats.spaces, 0);
    CHECK_EQ(stats.frames, 0);
    CHECK_EQ(stats.committed_pages, 0);
    /* From the tier full on, the heap keeps what was freed for a while. */
    if (TSL_HEAP_HARDENING < 3)
        CHECK_EQ(tsl_frames_free_count(tsl_system()->frames), free_frames);
    CHECK_SOUND(tsl_verify());
    CHECK_EQ(kernel_data, 0x7E5E1A);
}

static void attacks_on_all_cpus_at_once(void)
{
    if (platform_cpu_count() == 1)
        SKIP("one CPU");
    attacks_made = 0;
    CHECK(platform_run_everywhere(make_all_attacks, NULL, 60000000));
    tap_note("%u attacks on %u CPUs", attacks_made, platform_cpu_count());
    CHECK_SOUND(tsl_verify());
    CHECK_EQ(kernel_data, 0x7E5E1A);
}

static void copy_to_nowhere(void *argument)
{
    (void)!platform_copy_from_user((void *)*(const tsl_vaddr *)argument, 0x20000000, 1);
}

/* What a copy meets outside of the program's memory is the kernel's own mistake, and told as
 * one. */
static void a_bad_copy_is_not_the_programs_fault(void)
{
    tsl_vaddr at = 0x20000000, guard;
    struct platform_fault fault = {0};
    struct tsl_space *space = NULL;
    unsigned char byte = 0;

    REQUIRE(platform_guard_page(0, &guard));
    CHECK_STATUS(tsl_space_create(tsl_system()->vm, NULL, &space), TSL_OK);
    struct tsl_map_request request = {.address = at,
                                      .bytes = TSL_PAGE_BYTES,
                                      .rights = TSL_READ | TSL_WRITE,
                                      .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &at), TSL_OK);
    CHECK(
        !platform_copy_from_user(&byte, TSL_PAGE_BYTES, 1)); /* no program's: nothing is visited */
    struct tsl_space *before = platform_space_visit(space);
    CHECK(platform_copy_to_user(at, &byte, 1));
    CHECK(!platform_try(copy_to_nowhere, &guard, &fault));
    CHECK_EQ(fault.vector, PLATFORM_VECTOR_PAGE_FAULT);
    CHECK_EQ(fault.address, guard);
    CHECK_EQ(platform_try_read(at, &fault), !tsl_system()->features.smap);
    (void)platform_space_visit(before);
    CHECK_STATUS(tsl_space_destroy(space), TSL_OK);
}

/* SMAP and SMEP: the kernel itself reaches a program's page only where it says so. */
static void the_kernel_is_kept_from_programs_pages(void)
{
    const struct tsl_cpu_features *features = &tsl_system()->features;
    tsl_vaddr at = 0x20000000;
    struct platform_fault fault;
    struct tsl_space *space = NULL;
    unsigned char byte = 0xC3;

    CHECK_STATUS(tsl_space_create(tsl_system()->vm, NULL, &space), TSL_OK);
    struct tsl_map_request request = {.address = at,
                                      .bytes = TSL_PAGE_BYTES,
                                      .rights = TSL_READ | TSL_WRITE | TSL_EXEC | TSL_ALLOW_WX,
                                      .maximum = TSL_READ | TSL_WRITE | TSL_EXEC | TSL_ALLOW_WX,
                                      .flags = TSL_SPACE_FIXED};
    CHECK_STATUS(tsl_space_map(space, &request, &at), TSL_OK);
    struct tsl_space *before = platform_space_visit(space);
    CHECK(platform_copy_to_user(at, &byte, 1));
    byte = 0;
    CHECK(platform_copy_from_user(&byte, at, 1));
    CHECK_EQ(byte, 0xC3);
    tap_note("SMAP %d, SMEP %d, UMIP %d", features->smap, features->smep, features->umip);
    CHECK_EQ(platform_try_read(at, &fault), !features->smap);
    CHECK_EQ(platform_try_write(at, 0xC3, &fault), !features->smap);
    CHECK_EQ(platform_try_execute(at, &fault), !features->smep);
    CHECK(!platform_copy_to_user(0x30000000, &byte, 1));
    CHECK(!platform_copy_from_user(&byte, (tsl_vaddr)&kernel_data, 1));
    (void)platform_space_visit(before);
    CHECK_STATUS(tsl_space_destroy(space), TSL_OK);
}

TAP_SUITE(attackers, TAP_TEST(every_attack_is_refused_as_specified),
          TAP_TEST(attacks_on_all_cpus_at_once), TAP_TEST(the_kernel_is_kept_from_programs_pages),
          TAP_TEST(a_bad_copy_is_not_the_programs_fault));

bool kernel_main(const struct platform_boot *boot)
{
    static const struct tap_suite *const suites[] = {&tap_suite_attackers, NULL};
    char text[32] = "1";

    (void)boot;
    if (!test_start())
        return false;
    x86_interrupts_on();
    (void)platform_option("cpus", text, sizeof(text));
    if (platform_start_cpus() != (unsigned)(text[0] - '0')) {
        tsl_print(platform_console(), "Bail out! %s CPUs were asked for\n", text);
        return false;
    }
    late_page = valloc(TSL_PAGE_BYTES, VM_READ | VM_WRITE);
    struct tap_result result = tap_run(
        suites, platform_option("only", text, sizeof(text)) ? text : NULL, platform_console());
    return result.failed == 0 && result.run > 0;
}
