/* SPDX-License-Identifier: MIT
 *
 * attacks.h: what the program `attack` tries, and what has to become of it.
 *
 * Owns:    the list: X(name, value, outcome, detail). attack.S has the instructions under
 *          attack_<name>; the value is in AX when they begin, AX is the exit code when they return.
 * Needs:   nothing; read by assembly too.
 * Callers: attack.S (name), attackers.c (the rest).
 */
#ifndef ATTACKS_H
#define ATTACKS_H

#define ATTACKS_EVERYWHERE(X)                                                                      \
    X(nothing, NONE, EXITS, 0)                                                                     \
    X(read, NULL_PAGE, PAGE, TSL_NOT_FOUND)                                                        \
    X(read, KERNEL_TEXT, PAGE, TSL_NOT_FOUND)                                                      \
    X(read, DIRECT_MAP, PAGE, TSL_NOT_FOUND)                                                       \
    X(read, LATE_PAGE, PAGE, TSL_NOT_FOUND)                                                        \
    X(read, DEVICE, PAGE, TSL_NOT_FOUND)                                                           \
    X(read, USER_END, PAGE, TSL_NOT_FOUND)                                                         \
    X(read, UNMAPPED, PAGE, TSL_NOT_FOUND)                                                         \
    X(read, FAR_BELOW_STACK, PAGE, TSL_LIMIT)                                                      \
    X(write, KERNEL_DATA, PAGE, TSL_NOT_FOUND)                                                     \
    X(write, DIRECT_MAP, PAGE, TSL_NOT_FOUND)                                                      \
    X(write, LATE_PAGE, PAGE, TSL_NOT_FOUND)                                                       \
    X(write, OWN_TEXT, PAGE, TSL_DENIED)                                                           \
    X(write, OWN_CONSTANTS, PAGE, TSL_DENIED)                                                      \
    X(write, ABOVE_STACK, PAGE, TSL_NOT_FOUND)                                                     \
    X(write, BELOW_STACK, EXITS, 0) /* it grows */                                                 \
    X(jump, KERNEL_TEXT, PAGE, TSL_NOT_FOUND)                                                      \
    X(jump, LATE_PAGE, PAGE, TSL_NOT_FOUND)                                                        \
    X(jump, UNMAPPED, PAGE, TSL_NOT_FOUND)                                                         \
    X(jump, USER_END, PAGE, TSL_NOT_FOUND)                                                         \
    X(execute, OWN_STACK, NO_EXECUTE, TSL_DENIED)                                                  \
    X(execute, OWN_DATA, NO_EXECUTE, TSL_DENIED)                                                   \
    X(overflow_stack, NONE, PAGE, TSL_LIMIT)                                                       \
    X(push_on, KERNEL_DATA, PAGE, TSL_NOT_FOUND)                                                   \
    X(read_around_the_end, NONE, ANY_TRAP, 0)                                                      \
    X(cli, NONE, TRAP, 13)                                                                         \
    X(sti, NONE, TRAP, 13)                                                                         \
    X(hlt, NONE, TRAP, 13)                                                                         \
    X(in, NONE, TRAP, 13)                                                                          \
    X(out, NONE, TRAP, 13)                                                                         \
    X(outs, NONE, TRAP, 13)                                                                        \
    X(read_cr0, NONE, TRAP, 13)                                                                    \
    X(write_cr0, NONE, TRAP, 13)                                                                   \
    X(write_cr3, NONE, TRAP, 13)                                                                   \
    X(write_cr4, NONE, TRAP, 13)                                                                   \
    X(write_dr7, NONE, TRAP, 13)                                                                   \
    X(lgdt, NONE, TRAP, 13)                                                                        \
    X(lgdt_crooked, NONE, TRAP, 13)                                                                \
    X(lidt, NONE, TRAP, 13)                                                                        \
    X(lldt, NONE, TRAP, 13)                                                                        \
    X(ltr, NONE, TRAP, 13)                                                                         \
    X(lmsw, NONE, TRAP, 13)                                                                        \
    X(clts, NONE, TRAP, 13)                                                                        \
    X(invlpg, KERNEL_TEXT, TRAP, 13)                                                               \
    X(wbinvd, NONE, TRAP, 13)                                                                      \
    X(rdmsr, NONE, TRAP, 13)                                                                       \
    X(wrmsr, NONE, TRAP, 13)                                                                       \
    X(sgdt, NONE, UMIP, 13)                                                                        \
    X(far_return_to_kernel, KERNEL_TEXT, ANY_TRAP, 0)                                              \
    X(interrupt_return_to_kernel, KERNEL_TEXT, ANY_TRAP, 0)                                        \
    X(load_kernel_stack_segment, NONE, TRAP, 13)                                                   \
    X(load_cpu_segment, NONE, TRAP, 13)                                                            \
    X(load_task_segment, NONE, TRAP, 13)                                                           \
    X(raise_privilege_of_io, NONE, TRAP, 13)                                                       \
    X(int_page_fault, NONE, TRAP, 13)                                                              \
    X(int_double_fault, NONE, TRAP, 13)                                                            \
    X(int_flush, NONE, TRAP, 13)                                                                   \
    X(int_without_gate, NONE, TRAP, 13)                                                            \
    X(int_beyond_gates, NONE, TRAP, 13)                                                            \
    X(sysenter, NONE, ANY_TRAP, 0)                                                                 \
    X(int3, NONE, TRAP, 3)                                                                         \
    X(int_overflow, NONE, TRAP, 4)                                                                 \
    X(ud2, NONE, TRAP, 6)                                                                          \
    X(rsm, NONE, TRAP, 6)                                                                          \
    X(divide_by_zero, NONE, TRAP, 0)                                                               \
    X(divide_overflow, NONE, TRAP, 0)                                                              \
    X(single_step, NONE, TRAP, 1)                                                                  \
    X(single_step_into_call, NONE, TRAP, 1)                                                        \
    X(floating_point, NONE, TRAP, 7)                                                               \
    X(keep_interrupts_on, NONE, EXITS, 0)                                                          \
    X(call_with_alignment_check, NONE, EXITS, 0)                                                   \
    X(call_past_smap, OWN_TEXT, EXITS, 0)                                                          \
    X(interrupt_past_smap, OWN_TEXT, EXITS, 0)                                                     \
    X(call_with_direction, NONE, EXITS, 0)                                                         \
    X(call_with_nested_task, NONE, EXITS, 0)                                                       \
    X(call_with_kernel_stack, KERNEL_DATA, EXITS, 0)                                               \
    X(call_unknown, NONE, EXITS, 0)                                                                \
    X(call_huge_number, NONE, EXITS, 0)                                                            \
    X(call_keeps_registers, NONE, EXITS, 0)                                                        \
    X(touch, KERNEL_TEXT, EXITS, 0)                                                                \
    X(touch, DIRECT_MAP, EXITS, 0)                                                                 \
    X(touch, NULL_PAGE, EXITS, 0)                                                                  \
    X(touch, UNMAPPED, EXITS, 0)                                                                   \
    X(touch, USER_END, EXITS, 0)                                                                   \
    X(touch_to_write, OWN_TEXT, EXITS, 0)                                                          \
    X(touch_to_write, KERNEL_DATA, EXITS, 0)                                                       \
    X(touch_to_write, LATE_PAGE, EXITS, 0)                                                         \
    X(write_call, KERNEL_TEXT, EXITS, 0)                                                           \
    X(write_call, UNMAPPED, EXITS, 0)                                                              \
    X(write_call_across_the_end, USER_END, EXITS, 0)                                               \
    X(write_call_wrapped, NONE, EXITS, 0)                                                          \
    X(write_call_of_everything, OWN_TEXT, EXITS, 0)                                                \
    X(jump_last, LAST_PAGE, TRAP, 13)

#define ATTACKS_64(X)                                                                              \
    X(read, NOT_CANONICAL, TRAP, 13)                                                               \
    X(jump, NOT_CANONICAL, TRAP, 13)                                                               \
    X(return_to, NOT_CANONICAL, TRAP, 13)                                                          \
    X(push_on, NOT_CANONICAL, ANY_TRAP, 0)                                                         \
    X(touch, NOT_CANONICAL, EXITS, 0)                                                              \
    X(call_with_kernel_stack, NOT_CANONICAL, EXITS, 0)                                             \
    X(swapgs, NONE, TRAP, 13)                                                                      \
    X(sysret, KERNEL_TEXT, TRAP, 13)                                                               \
    X(write_cr8, NONE, TRAP, 13)                                                                   \
    X(interrupt_call, NONE, EXITS, 0)

#define ATTACKS_32(X)                                                                              \
    X(into, NONE, TRAP, 4)                                                                         \
    X(bound, NONE, TRAP, 5)                                                                        \
    X(far_call_of_task, NONE, TRAP, 13)                                                            \
    X(virtual_8086, NONE, EXITS, 0)                                                                \
    X(calls_without_segments, NONE, EXITS, 0)

#endif
