/* SPDX-License-Identifier: MIT
 *
 * layout.c: lookups in an address space's layout, and the list of those compiled in.
 *
 * Owns:    tsl_layouts[], the names of the uses.
 * Needs:   <tesela/config.h> for the formats that are on; their files layout_<format>.c.
 * Callers: anybody, through <tesela/kernel_layout.h>; reads only.
 */
#include <tesela/config.h>

#include "kernel_layout_internal.h"

/* The address of a layout that is off is never taken, so that it need not exist. */
const struct tsl_layout *const tsl_layouts[TSL_LAYOUT_COUNT] = {
    TSL_TABLE_2LEVEL ? &tsl_layout_2level : NULL,
    TSL_TABLE_PAE ? &tsl_layout_pae : NULL,
    TSL_TABLE_4LEVEL ? &tsl_layout_4level : NULL,
    TSL_TABLE_5LEVEL ? &tsl_layout_5level : NULL,
};

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const struct tsl_layout *tsl_layout_named(const char *format_name)
{
    for (size_t i = 0; format_name != NULL && i < TSL_LAYOUT_COUNT; i++)
        if (tsl_layouts[i] != NULL && same_text(tsl_layouts[i]->format_name, format_name))
            return tsl_layouts[i];
    return NULL;
}

const struct tsl_layout_range *tsl_layout_find(const struct tsl_layout *layout,
                                               enum tsl_layout_use use)
{
    for (size_t i = 0; i < layout->count; i++)
        if (layout->ranges[i].use == use)
            return &layout->ranges[i];
    return NULL;
}

const struct tsl_layout_range *tsl_layout_at(const struct tsl_layout *layout, tsl_vaddr address)
{
    for (size_t i = 0; i < layout->count; i++)
        if (address >= layout->ranges[i].start && address <= layout->ranges[i].last)
            return &layout->ranges[i];
    return NULL;
}

bool tsl_layout_is_canonical(const struct tsl_layout *layout, tsl_vaddr address)
{
    /* 64-bit arithmetic: va_bits may be all the bits that a 32-bit address has. */
    uint64_t wide = address;
    if (!layout->sign_extended)
        return layout->va_bits >= 64 || wide >> layout->va_bits == 0;
    uint64_t upper = wide >> (layout->va_bits - 1);
    return upper == 0 || upper == UINT64_MAX >> (layout->va_bits - 1);
}

const char *tsl_layout_use_name(enum tsl_layout_use use)
{
    static const char *const names[TSL_LAYOUT_USE_COUNT] = {
        [TSL_LAYOUT_IDENTITY] = "identity",     [TSL_LAYOUT_USER] = "user",
        [TSL_LAYOUT_DIRECT_MAP] = "direct map", [TSL_LAYOUT_HEAP] = "heap",
        [TSL_LAYOUT_VALLOC] = "valloc",         [TSL_LAYOUT_DEVICES] = "devices",
        [TSL_LAYOUT_WINDOWS] = "windows",       [TSL_LAYOUT_CPU_AREAS] = "cpu areas",
        [TSL_LAYOUT_IMAGE] = "image",
    };
    return (unsigned)use < TSL_LAYOUT_USE_COUNT ? names[use] : "?";
}
