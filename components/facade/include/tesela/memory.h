/* SPDX-License-Identifier: MIT
 *
 * memory.h: the whole subsystem behind eight plain functions and one start: what a kernel's other
 * parts include.
 *
 * Owns:    the one global instance of every component.
 * Needs:   everything that the configuration compiles in.
 * Callers: kernels. Components never include it; hosted programs do not either, since libc has
 *          another valloc.
 */
#ifndef TESELA_MEMORY_H
#define TESELA_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/format.h>
#include <tesela/kernel_layout.h>
#include <tesela/kernel_table.h>
#include <tesela/memory_map.h>
#include <tesela/page_table.h>
#include <tesela/status.h>
#include <tesela/types.h>
#include <tesela/window.h>

struct tsl_backed_range;
struct tsl_heap;
struct tsl_heap_hardening;
struct tsl_ranges;
struct tsl_vm;

/* Rights for valloc() and map_page(). TSL_ALLOW_WX and a TSL_CACHE_... type may be added. */
enum {
    VM_READ = TSL_READ,   /* always needed: x86 has no memory that can be written but not read */
    VM_WRITE = TSL_WRITE, /* may be written */
    VM_EXEC = TSL_EXEC,   /* may be executed; together with VM_WRITE only with TSL_ALLOW_WX */
};

/* How far the start has come; each stage needs the one before. */
enum tsl_stage {
    TSL_STAGE_NONE,   /* nothing is up: every function below refuses */
    TSL_STAGE_FRAMES, /* allocate_physical_page() works */
    TSL_STAGE_TABLES, /* the kernel runs on our page table: map_page() works outside the valloc
                         window */
    TSL_STAGE_HEAP,   /* kmalloc() works */
    TSL_STAGE_RANGES, /* valloc() works */
    TSL_STAGE_SPACES, /* tsl_system()->vm is there, if the configuration has spaces: all is up */
};

/* What a kernel tells Tesela at the start. All that is pointed to must stay until tsl_stop(). */
struct tsl_start_options {
    /*
     * Normalised memory map: RAM, with the kernel's image (as TSL_MEMORY_KERNEL), its modules and
     * all that must be left alone reserved. The start cuts off what this CPU and format cannot name
     * (tsl_map_limit()).
     */
    struct tsl_memory_map *map;
    /* Which memory is near which CPUs; NULL: all is alike. Read while starting. */
    const struct tsl_memory_nodes *nodes;
    /* What was handed out of the map before the start; NULL: nothing. It is taken over; tsl_stop()
     * is possible when all of it has been released (tsl_frames_release()). */
    struct tsl_early *early;
    /* Where RAM may be plugged in while the kernel runs; not read unless FRAME_HOTPLUG is
     * configured. What of it `map` says nothing about becomes usable there, and absent until
     * tsl_frames_add_range(). At most sixteen times as much as there is RAM. */
    const struct tsl_memory_range *places;
    size_t place_count;
    /* Who lives where; NULL: the built-in layout of `format`. Checked before use. */
    const struct tsl_layout *layout;
    /* Table format to run on: the one that the boot code's tables have. */
    const struct tsl_table_format *format;
    /* Where the kernel's image lies. */
    struct tsl_kernel_image image;
    /* Device registers and firmware tables to be mapped from the start; may be NULL. */
    const struct tsl_kernel_device *devices;
    size_t device_count;
    /* Physical memory that tsl_port_phys_to_virt() reaches at this moment; 0: all that the direct
     * map will cover. */
    tsl_paddr reach_end;
    /* Ceiling of the heap in bytes; 0: the profile's. */
    size_t heap_bytes;
    /* What the heap does about misuse; its clock for HEAP_PROFILE and its walker of stacks
     * (tesela/heap_hardening.h: tsl_heap_harden). Read while starting, the only time when the heap
     * has no blocks. NULL: the configured tier, without a clock. */
    const struct tsl_heap_hardening *heap_hardening;
    /* Pages that may be promised to address spaces; 0: what the configured policy (COMMIT_POLICY)
     * makes of those that are free when they come up; SIZE_MAX: no limit. tsl_vm_set_commit()
     * changes it later. */
    size_t commit_limit_pages;
};

/* The parts of the running instance, for those who want more than the eight functions. NULL before
 * its stage. */
struct tsl_system {
    enum tsl_stage stage;
    struct tsl_cpu_features features;
    const struct tsl_layout *layout;
    struct tsl_frames *frames;
    /* Frames that remember which pages allocate_physical_page() gave: one for each 126 MiB. */
    tsl_word record_frames;
    struct tsl_table *table;
    struct tsl_windows *windows;
    struct tsl_backed_range *heap_pages;
    struct tsl_heap *heap;
    struct tsl_ranges *ranges;
    struct tsl_vm *vm; /* what address spaces share; NULL without TSL_SPACES */
};

/*
 * Brings all stages up, on the first CPU, with interrupts off.
 *
 * From TSL_STAGE_TABLES on the kernel runs on a table that is made here. It shows the first MiB at
 * its own address, the image, the direct map, and options->devices: whatever else the boot tables
 * showed is gone, so the stack and the CPU's descriptor tables lie in the image or the direct map.
 * What the CPU has of these is switched on: read-only pages for the kernel (CR0.WP), NX, global
 * pages, PAT, SMEP, SMAP (the kernel reaches pages of user mode only while EFLAGS.AC is set), UMIP,
 * PCIDs. Each other CPU switches on the same (tsl_arch_enable(&tsl_system()->features)), takes the
 * first one's root (tsl_arch_root() there, tsl_arch_switch_root() here) and calls tsl_cpu_join(),
 * before it touches anything that Tesela maps.
 * Errors:  TSL_INVALID (no map, format or image; a format that the boot tables do not have; an
 *          image that the map does not keep for itself as RAM), TSL_EXISTS (already up),
 *          TSL_UNSUPPORTED (the CPU lacks what the format needs, or a heap_hardening of a tier that
 *          is not compiled in), TSL_NO_MEMORY (the log says at which stage and what was there); the
 *          status of the layout's rule that is broken (kernel_layout.h: the log says which); for
 *          devices and parts of the image those of tsl_table_build_kernel(). The machine is then
 *          as before: stages that had come up are undone, the boot tables are in force, `early`
 *          goes on.
 * Context: one CPU, once.
 * Cost:    O(RAM / 2 MiB) for the direct map, O(RAM / 128 KiB) for the frames' bits.
 */
TSL_MUST_CHECK enum tsl_status tsl_start(const struct tsl_start_options *options);

/*
 * As tsl_start(), but ends behind the stage named, so that a kernel can do something of its own in
 * between. Called again with a later stage (as tsl_start() too), it goes on with the options of the
 * first call; `options` is not read then. If that fails, what was up before the call stays up. So
 * it is after a tsl_stop() that was refused half way, too.
 */
TSL_MUST_CHECK enum tsl_status tsl_start_until(const struct tsl_start_options *options,
                                               enum tsl_stage stage);

/*
 * Undoes every stage, newest first; ranges that are left are freed, the boot tables come back into
 * force.
 * Before:  no CPU but this one runs, and nobody uses a page that we handed out any more.
 * Errors:  TSL_BUSY: address spaces or objects are there, heap blocks are live, or frames are
 *          allocated. The stage in use and what is below stay up; tsl_system()->stage says so. Free
 *          them and try again.
 */
TSL_MUST_CHECK enum tsl_status tsl_stop(void);

/* The running instance; never NULL. */
const struct tsl_system *tsl_system(void);

/*
 * Checks the rules of map, frames, table, heap and ranges, as far as they are up; the first
 * broken one, or none. Reads only. A space is checked by tsl_space_verify().
 * Before:  nobody changes anything meanwhile.
 * Cost:    linear in all metadata and tables.
 */
struct tsl_defect tsl_verify(void);

/*
 * Allocates one frame of physical memory (4 KiB); its contents are undefined.
 *
 * The address is never 0. On x86-64 it lies in the direct map. On x86-32 it lies below 4 GiB, and
 * where RAM goes beyond the direct map mostly above it: tsl_port_phys_to_virt() then gives NULL,
 * and the page is reached through map_page() or a window.
 * Errors:  0 when there is none, or before the start.
 * Context: any but NMI.
 * Cost:    see physical_allocator.
 */
TSL_MUST_CHECK uintptr_t allocate_physical_page(void);

/*
 * Frees a frame. 0 is allowed. A double free, an odd address or a foreign one is refused: logged,
 * counted, no change.
 * Before:  nothing maps it any more.
 * Context: any but NMI.
 */
void free_physical_page(uintptr_t physical);

/*
 * Allocates `bytes` of kernel heap, aligned to 16, powers of two to their size up to a page.
 * Errors:  NULL when there is none, or before the start. 0 bytes give an object of their own that
 *          must be freed as well.
 * Context: any but NMI.
 */
void *kmalloc(size_t bytes) TSL_MALLOC_LIKE TSL_ALLOC_SIZE(1);

/*
 * Frees what kmalloc() gave. NULL is allowed. Misuse is refused: logged, counted, no change.
 * Context: any but NMI. Flushes other CPUs when pages become empty.
 */
void kfree(void *object);

/*
 * Allocates whole pages of virtual memory with rights of their own, between unmapped guard pages.
 * flags:   VM_READ, with VM_WRITE or VM_EXEC.
 * Errors:  NULL: nothing is changed. Refused flags and sizes are logged.
 * Context: any but NMI.
 * Cost:    O(log ranges + pages).
 */
void *valloc(size_t bytes, unsigned flags) TSL_ALLOC_SIZE(1);

/*
 * Frees what valloc() gave, by its address alone. NULL is allowed. Misuse is refused: logged,
 * counted, no change.
 * Context: any but NMI; waits until every other CPU has flushed.
 * Cost:    O(log ranges + pages), and one flush for each full gather.
 */
void vfree(void *start);

/*
 * Maps one page at `virtual_address` in the kernel's space to the physical page at `physical`.
 *
 * The physical page is one that allocate_physical_page() gave and nobody freed, or no RAM of ours
 * at all (a device). virtual_address lies in the layout's valloc or devices window or in its user
 * range; there the page is seen while a CPU runs the kernel's own table, in no space.
 * Errors:  TSL_INVALID (flags; not started), TSL_MISALIGNED, TSL_NOT_CANONICAL, TSL_DENIED (a free
 *          frame; an address that belongs to somebody; writable and executable), TSL_EXISTS
 *          (something is mapped or kept there), TSL_OUT_OF_RANGE (beyond the CPU's physical
 *          addresses), TSL_NO_MEMORY. Nothing is changed then.
 * Context: any but NMI.
 * Cost:    one walk of the table; O(log ranges) in the valloc window.
 */
enum tsl_status map_page(void *virtual_address, uintptr_t physical, unsigned flags);

/*
 * Undoes map_page(). The physical page stays its owner's.
 * Errors:  TSL_INVALID (not started; inside a range of valloc()), TSL_MISALIGNED,
 *          TSL_NOT_CANONICAL, TSL_NOT_FOUND (nothing is mapped there), TSL_DENIED (not by
 *          map_page()), TSL_BUSY (another CPU maps or unmaps it now). Nothing is changed then.
 * Context: any but NMI; waits until every other CPU has flushed.
 * Cost:    as map_page(), and one flush.
 */
enum tsl_status unmap_page(void *virtual_address);

#endif
