/* SPDX-License-Identifier: MIT
 *
 * kernel_layout.h: who lives where in each kind of address space.
 *
 * Owns:    the address ranges of the 2-level, PAE, 4-level and 5-level formats, and the check of
 *          any such layout, ours or a caller's own.
 * Needs:   base. The numbers are in <tesela/layout_x86_32.h> and <tesela/layout_x86_64.h>, so that
 *          assembly and linker scripts can have them too.
 * Callers: page_table builds the kernel's tables from a layout; vallocator, windows and the port
 *          take their ranges from it. All data is constant, every function reads only: call from
 *          anywhere.
 */
#ifndef TESELA_KERNEL_LAYOUT_H
#define TESELA_KERNEL_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include <tesela/compiler.h>
#include <tesela/format.h>
#include <tesela/status.h>
#include <tesela/types.h>

enum tsl_layout_use {
    TSL_LAYOUT_IDENTITY,   /* virtual = physical below 1 MiB, kernel table only: CPUs start here */
    TSL_LAYOUT_USER,       /* processes */
    TSL_LAYOUT_DIRECT_MAP, /* physical memory from address 0 on, read and write */
    TSL_LAYOUT_HEAP,       /* reserved for the kernel heap, backed on demand */
    TSL_LAYOUT_VALLOC,     /* kernel ranges: valloc */
    TSL_LAYOUT_DEVICES,    /* device registers, uncached */
    TSL_LAYOUT_WINDOWS,    /* each CPU's windows to frames without a direct mapping */
    TSL_LAYOUT_CPU_AREAS,  /* each CPU's own data and stacks */
    TSL_LAYOUT_IMAGE,      /* the linked kernel */
    TSL_LAYOUT_USE_COUNT
};

/*
 * One range. protection: the most that a mapping in the range may carry (TSL_READ ...); a single
 * mapping still is never writable and executable together. `last` is inclusive, so that a range may
 * end at the top of the address space.
 */
struct tsl_layout_range {
    enum tsl_layout_use use;
    tsl_vaddr start;
    tsl_vaddr last;
    unsigned protection;
};

struct tsl_layout {
    const char *format_name; /* "2level", "pae", "4level", "5level": the name of the table format */
    unsigned va_bits;        /* 32, 48, 57 */
    bool sign_extended;      /* addresses are sign-extended above va_bits (x86-64) */
    size_t granule_bytes;    /* bytes under one last-level table: kernel ranges do not share one */
    const struct tsl_layout_range *ranges; /* ascending; what lies between two is a guard */
    size_t count;
    tsl_vaddr image_offset; /* virtual - physical address of the linked image */
};

/* Compiled when TSL_TABLE_2LEVEL, TSL_TABLE_PAE, TSL_TABLE_4LEVEL, TSL_TABLE_5LEVEL are set. */
extern const struct tsl_layout tsl_layout_2level;
extern const struct tsl_layout tsl_layout_pae;
extern const struct tsl_layout tsl_layout_4level;
extern const struct tsl_layout tsl_layout_5level;

/* The four above in that order; NULL where one is not compiled in. */
#define TSL_LAYOUT_COUNT 4u
extern const struct tsl_layout *const tsl_layouts[TSL_LAYOUT_COUNT];

/*
 * The compiled-in layout of a table format, by its name; NULL if it is not compiled in.
 * Cost:    O(1).
 */
const struct tsl_layout *tsl_layout_named(const char *format_name);

/* The range of a use, NULL if the layout has none. Cost: O(ranges). */
const struct tsl_layout_range *tsl_layout_find(const struct tsl_layout *layout,
                                               enum tsl_layout_use use);

/* The range that holds `address`, NULL in a guard or a hole. Cost: O(ranges). */
const struct tsl_layout_range *tsl_layout_at(const struct tsl_layout *layout, tsl_vaddr address);

/* Bytes of a range. Before: the range does not span the whole address space. */
static inline size_t tsl_layout_bytes(const struct tsl_layout_range *range)
{
    return (size_t)(range->last - range->start) + 1u;
}

/*
 * Whether the CPU can form `address` under this layout's format: below 2^va_bits, or sign-extended.
 * Cost:    O(1).
 */
bool tsl_layout_is_canonical(const struct tsl_layout *layout, tsl_vaddr address);

/* Short lower-case name of a use, as in the dump; "?" for no such use. */
const char *tsl_layout_use_name(enum tsl_layout_use use);

/* What a machine asks of a layout, known only at boot. A zero asks nothing. */
struct tsl_layout_needs {
    tsl_paddr direct_end;  /* the direct map must cover physical addresses below this */
    tsl_paddr image_start; /* where the kernel image lies in physical memory */
    tsl_paddr image_end;   /* exclusive */
    size_t heap_bytes;     /* the heap's ceiling */
    unsigned cpus;         /* CPUs, for the two below */
    size_t window_bytes;   /* bytes of windows a CPU */
    size_t cpu_area_bytes; /* bytes of own area a CPU */
    tsl_vaddr user_last;   /* where the format's lower half ends (tsl_table_format) */
};

/* Rules of tsl_layout_check(), in the order they are tried; sentences in the component's README. */
enum tsl_layout_rule {
    TSL_LAYOUT_RULE_NONE,
    TSL_LAYOUT_RULE_DESCRIBED,      /* TSL_INVALID */
    TSL_LAYOUT_RULE_NOT_WRAPPING,   /* TSL_OUT_OF_RANGE */
    TSL_LAYOUT_RULE_PAGE_ALIGNED,   /* TSL_MISALIGNED */
    TSL_LAYOUT_RULE_PAGE_ZERO_FREE, /* TSL_DENIED */
    TSL_LAYOUT_RULE_CANONICAL,      /* TSL_NOT_CANONICAL */
    TSL_LAYOUT_RULE_ONE_OF_EACH,    /* TSL_EXISTS: a second; TSL_NOT_FOUND: none */
    TSL_LAYOUT_RULE_NO_OVERLAP,     /* TSL_OVERLAP */
    TSL_LAYOUT_RULE_ASCENDING,      /* TSL_INVALID */
    TSL_LAYOUT_RULE_GRANULE,        /* TSL_MISALIGNED */
    TSL_LAYOUT_RULE_GUARDED,        /* TSL_OVERLAP */
    TSL_LAYOUT_RULE_USER_BELOW,     /* TSL_DENIED */
    TSL_LAYOUT_RULE_PROTECTION,     /* TSL_DENIED */
    TSL_LAYOUT_RULE_DIRECT_COVERS,  /* TSL_LIMIT */
    TSL_LAYOUT_RULE_HEAP_FITS,      /* TSL_LIMIT */
    TSL_LAYOUT_RULE_IMAGE_FITS,     /* TSL_OUT_OF_RANGE */
    TSL_LAYOUT_RULE_CPUS_FIT,       /* TSL_LIMIT */
    TSL_LAYOUT_RULE_HALVES,         /* TSL_DENIED */
    TSL_LAYOUT_RULE_COUNT
};

/*
 * Checks a layout, ours or a caller's, and that it holds what this machine needs (NULL: nothing).
 * Errors:  the status beside the first broken rule above. out (may be NULL): TSL_NO_DEFECT, or the
 *          rule's id, the start of the range that breaks it and a sentence.
 * Context: any.
 * Cost:    O(ranges squared), there are nine.
 */
TSL_MUST_CHECK enum tsl_status tsl_layout_check(const struct tsl_layout *layout,
                                                const struct tsl_layout_needs *needs,
                                                struct tsl_defect *out);

/* Draws the address space as a table, top first, guards and holes included. Cost: O(ranges). */
void tsl_layout_dump(const struct tsl_layout *layout, const struct tsl_sink *sink);

#endif
