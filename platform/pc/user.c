/* SPDX-License-Identifier: MIT
 *
 * user.c: programs in user mode: their calls, their faults, their end.
 *
 * Owns:    what runs on a CPU (platform_cpu.user, .space).
 * Needs:   user.S, exceptions.c, descriptors.c; vallocator.
 * Callers: see platform/user.h; exceptions.c and user.S through user_exception and user_call.
 * Source:  Intel SDM volume 3, 5.8.7 (SYSCALL), 4.6 (SMAP), 2.5 (CR0.EM).
 */
#include <platform/user.h>

#include <tesela/checked.h>
#include <tesela/config.h>
#include <tesela/memory.h>
#include <x86/instructions.h>
#include <platform/console.h>
#include "pc_internal.h"

_Static_assert(sizeof(struct interrupt_frame) == FRAME_BYTES, "machine.h says how large it is");

bool user_enter(const struct interrupt_frame *frame);
TSL_NORETURN void user_leave(bool result);
size_t user_copy(void *to, const void *from, size_t bytes);
void user_call(struct interrupt_frame *frame);
extern const char user_copy_access[], user_copy_end[], user_interrupt[], user_syscall[];

static tsl_vaddr user_last(void)
{
    return tsl_system()->table->format->user_last;
}

/* ---- Faults and the end. ---- */

static unsigned access_of(uintptr_t error)
{
    if (error & PLATFORM_FAULT_EXECUTE)
        return TSL_EXEC;
    return error & PLATFORM_FAULT_WRITE ? TSL_WRITE : TSL_READ;
}

static const char *access_name(uintptr_t error)
{
    unsigned access = access_of(error);
    return access == TSL_EXEC ? "execution" : access == TSL_WRITE ? "write" : "read";
}

static void say_how_it_ended(const struct platform_user *user, const struct interrupt_frame *frame)
{
    const struct platform_fault *fault = &user->fault;
    if (user->is_quiet)
        return;
    if (fault->vector == PLATFORM_VECTOR_PAGE_FAULT)
        tsl_log(TSL_LOG_WARNING, "program %s killed: %s of %#lx at ip %#lx, sp %#lx: %s",
                user->name, access_name(fault->error), (unsigned long)fault->address,
                (unsigned long)fault->ip, (unsigned long)frame->sp, tsl_status_name(user->status));
    else
        tsl_log(TSL_LOG_WARNING, "program %s killed: %s at ip %#lx, sp %#lx, error code %#lx",
                user->name, exception_name(fault->vector), (unsigned long)fault->ip,
                (unsigned long)frame->sp, (unsigned long)fault->error);
}

static TSL_NORETURN void kill(struct platform_user *user, const struct interrupt_frame *frame,
                              unsigned vector, tsl_vaddr address, enum tsl_status status)
{
    user->state = PLATFORM_USER_KILLED;
    user->status = status;
    user->fault = (struct platform_fault){
        .vector = vector, .error = frame->error, .address = address, .ip = frame->ip};
    say_how_it_ended(user, frame);
    user_leave(true);
}

static bool is_in_copy(uintptr_t ip)
{
    return ip >= (uintptr_t)user_copy_access && ip < (uintptr_t)user_copy_end;
}

/* A bit that tables may not have is our own mistake, and so is a copy's fault outside of the user
 * half, where the program's side of it always lies: the dump of a kernel fault follows. */
static bool take_page_fault(struct platform_cpu *cpu, struct interrupt_frame *frame)
{
    tsl_vaddr address = x86_read_cr2();
    bool is_from_user = frame_is_from_user(frame);

    if (!cpu->space || (frame->error & PLATFORM_FAULT_RESERVED) ||
        (!is_from_user && (!is_in_copy(frame->ip) || address > user_last())))
        return false;
    /* In user mode, but not the program's own access: the CPU reads a system table, or (QEMU) the
     * stack of an IRET, for which SMAP then holds. To map the page would not help. */
    enum tsl_status status = TSL_DENIED;
    if (!is_from_user || (frame->error & PLATFORM_FAULT_USER))
        status = tsl_space_fault(cpu->space, address, access_of(frame->error), NULL);
    if (status == TSL_OK)
        return true;
    if (is_from_user)
        kill(cpu->user, frame, PLATFORM_VECTOR_PAGE_FAULT, address, status);
    frame->ip = (uintptr_t)user_copy_end; /* CX says how much is left */
    return true;
}

static bool take_exception(struct interrupt_frame *frame)
{
    struct platform_cpu *cpu = this_cpu();

    if (frame->vector == PLATFORM_VECTOR_PAGE_FAULT && take_page_fault(cpu, frame))
        return true;
    if (!frame_is_from_user(frame) || frame->vector == PLATFORM_VECTOR_DOUBLE_FAULT ||
        frame->vector == PLATFORM_VECTOR_PAGE_FAULT)
        return false;
    kill(cpu->user, frame, (unsigned)frame->vector, 0, TSL_OK);
}

/* ---- Copies. ---- */

struct tsl_space *platform_space_visit(struct tsl_space *space)
{
    tsl_pin pin = tsl_port_pin();
    struct platform_cpu *cpu = this_cpu();
    struct tsl_space *before = cpu->space;

    tsl_space_switch(before, space);
    cpu->space = space;
    tsl_port_unpin(pin);
    return before;
}

static bool is_in_user_half(tsl_vaddr start, size_t bytes)
{
    tsl_vaddr last;
    return bytes == 0 || (tsl_checked_last(start, bytes, &last) && last <= user_last());
}

/* Whether there is a program that the range could belong to. */
static bool is_programs(tsl_vaddr start, size_t bytes)
{
    return this_cpu()->space != NULL && is_in_user_half(start, bytes);
}

bool platform_copy_from_user(void *to, tsl_vaddr from, size_t bytes)
{
    return is_programs(from, bytes) && user_copy(to, (const void *)from, bytes) == 0;
}

bool platform_copy_to_user(tsl_vaddr to, const void *from, size_t bytes)
{
    return is_programs(to, bytes) && user_copy((void *)to, from, bytes) == 0;
}

/* ---- Calls. ---- */

static uintptr_t write_text(tsl_vaddr from, size_t bytes)
{
    char piece[128];

    if (bytes > USER_CALL_MOST_WRITTEN || !is_in_user_half(from, bytes))
        return USER_CALL_FAULT;
    for (size_t done = 0, count; done < bytes; done += count) {
        count = bytes - done < sizeof(piece) ? bytes - done : sizeof(piece);
        if (!platform_copy_from_user(piece, from + done, count))
            return USER_CALL_FAULT;
        platform_console_write(piece, count);
    }
    return bytes;
}

static uintptr_t touch(tsl_vaddr address, bool write)
{
    uint8_t byte;

    if (!platform_copy_from_user(&byte, address, 1) ||
        (write && !platform_copy_to_user(address, &byte, 1)))
        return USER_CALL_FAULT;
    return 0;
}

static uintptr_t answer(struct platform_user *user, struct interrupt_frame *frame)
{
    uintptr_t argument[3];
    uintptr_t number = frame_call(frame, argument);

    switch (number) {
    case USER_CALL_NULL:
        return 0;
    case USER_CALL_WRITE:
        return write_text(argument[0], argument[1]);
    case USER_CALL_TOUCH:
        return touch(argument[0], argument[1] != 0);
    case USER_CALL_EXIT:
        user->state = PLATFORM_USER_EXITED;
        user->code = argument[0];
        user_leave(true);
    case USER_CALL_YIELD:
        frame->ax = 0;
        user->frame = *frame;
        user_leave(true);
    default:
        if (number < USER_CALL_OWN || user->call == NULL)
            return USER_CALL_UNKNOWN;
        return user->call(user, number, argument);
    }
}

/* Called by user.S. The address to go back to is checked here, before SYSRET: no page behind the
 * user half's last one is ever mapped, but an instruction may end there. */
void user_call(struct interrupt_frame *frame)
{
    struct platform_user *user = this_cpu()->user;

    if (frame->ip > user_last())
        kill(user, frame, PLATFORM_VECTOR_PROTECTION, 0, TSL_OK);
    frame->ax = answer(user, frame);
}

/* ---- Beginning. ---- */

static void make_ready(struct platform_cpu *cpu)
{
    if (cpu->is_ready_for_users)
        return;
    user_exception = take_exception;
    calls_enable(user_interrupt, user_syscall);
    x86_write_cr0(x86_read_cr0() | X86_CR0_EM);
    cpu->is_ready_for_users = true;
}

enum platform_user_state platform_user_run(struct platform_user *self)
{
    struct platform_cpu *cpu = this_cpu();
    struct tsl_space *before;

    TSL_ASSERT(self->state == PLATFORM_USER_READY && cpu->user == NULL);
    make_ready(cpu);
    before = platform_space_visit(self->space);
    cpu->user = self;
    (void)user_enter(&self->frame);
    cpu->user = NULL;
    (void)platform_space_visit(before);
    return self->state;
}

static bool is_sound(const struct platform_program *head, size_t bytes)
{
    uintptr_t all = head->start | head->text_end | head->rodata_end | head->data_end | head->end;

    return tsl_is_aligned(all, TSL_PAGE_BYTES) && head->start < head->text_end &&
           head->text_end <= head->rodata_end && head->rodata_end <= head->data_end &&
           head->data_end <= head->end && head->end - head->start >= bytes &&
           head->data_end - head->start >= bytes && head->entry >= head->start &&
           head->entry < head->text_end;
}

static enum tsl_status map_memory(struct tsl_space *space, tsl_vaddr start, size_t bytes,
                                  unsigned flags)
{
    tsl_vaddr at;
    struct tsl_map_request request = {.address = start,
                                      .bytes = bytes,
                                      .rights = TSL_READ | TSL_WRITE,
                                      .flags = TSL_SPACE_FIXED | TSL_SPACE_NO_REPLACE | flags};
    if (flags & TSL_SPACE_GROWS_DOWN)
        request.stack_bytes = PLATFORM_USER_STACK_BYTES;
    return tsl_space_map(space, &request, &at);
}

static enum tsl_status protect_part(struct tsl_space *space, tsl_vaddr start, tsl_vaddr end,
                                    unsigned rights)
{
    return start == end ? TSL_OK : tsl_space_protect(space, start, end - start, rights);
}

static enum tsl_status fill(struct tsl_space *space, const struct platform_program *head,
                            const void *image, size_t bytes)
{
    struct tsl_space *before = platform_space_visit(space);
    bool is_copied = platform_copy_to_user(head->start, image, bytes);

    (void)platform_space_visit(before);
    if (!is_copied)
        return TSL_NO_MEMORY;
    enum tsl_status status = protect_part(space, head->start, head->text_end, TSL_READ | TSL_EXEC);
    return status == TSL_OK ? protect_part(space, head->text_end, head->rodata_end, TSL_READ)
                            : status;
}

enum tsl_status platform_user_load(struct platform_user *out, const char *name,
                                   struct tsl_space *space, const void *image, size_t bytes,
                                   const uintptr_t argument[2])
{
    struct platform_program head;
    tsl_vaddr stack = PLATFORM_USER_STACK_TOP - 2 * TSL_PAGE_BYTES;

    if (bytes < sizeof(head))
        return TSL_INVALID;
    __builtin_memcpy(&head, image, sizeof(head));
    if (!is_sound(&head, bytes))
        return TSL_INVALID;
    user_exception = take_exception;
    enum tsl_status status = map_memory(space, head.start, head.end - head.start, 0);
    if (status == TSL_OK)
        status = fill(space, &head, image, bytes);
    if (status == TSL_OK)
        status = map_memory(space, stack, 2 * TSL_PAGE_BYTES, TSL_SPACE_GROWS_DOWN);
    if (status != TSL_OK)
        return status;
    *out = (struct platform_user){.name = name, .space = space, .entry = head.entry};
    platform_user_begin(out, PLATFORM_USER_STACK_TOP, argument);
    return TSL_OK;
}

void platform_user_begin(struct platform_user *self, tsl_vaddr stack_top,
                         const uintptr_t argument[2])
{
    frame_begin(&self->frame, self->entry, stack_top - 16, argument);
    self->state = PLATFORM_USER_READY;
}
