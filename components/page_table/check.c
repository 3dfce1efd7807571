/* SPDX-License-Identifier: MIT
 *
 * check.c: which ranges and attributes a caller may ask for.
 *
 * Owns:    the refusals of page_table (README, "Refuses").
 * Needs:   checked.h, status.h.
 * Callers: map, unmap, protect, fix; needs no lock.
 */
#include "page_table_internal.h"

#include <tesela/checked.h>

tsl_vaddr tsl_table_upper_half(const struct tsl_table_format *format)
{
    return ~(tsl_vaddr)0 << (format->va_bits - 1u);
}

tsl_vaddr tsl_table_lower_last(const struct tsl_table_format *format)
{
    unsigned bits = format->sign_extended ? format->va_bits - 1u : format->va_bits;
    return ~(tsl_vaddr)0 >> (TSL_WORD_BITS - bits);
}

bool tsl_table_in_user_half(const struct tsl_table_format *format, unsigned level, tsl_vaddr va)
{
    tsl_vaddr span = tsl_table_format_page_bytes(format, level);
    return (va & ~(span - 1u)) <= format->user_last;
}

/* The page under the hole, which is in neither half (only 64-bit formats have one). */
static bool touches_guard(const struct tsl_table_format *format, tsl_vaddr start, tsl_vaddr last)
{
    if (!format->sign_extended)
        return false;
    tsl_vaddr lower_last = tsl_table_lower_last(format);
    return start <= lower_last && last > format->user_last;
}

/* Which rule a range breaks. */
TSL_COLD TSL_NOINLINE static enum tsl_status refuse_range(struct tsl_table *self, const char *verb,
                                                          tsl_vaddr start, size_t bytes)
{
    const struct tsl_table_format *format = self->format;
    enum tsl_status status = TSL_DENIED; /* the fixed range */
    tsl_vaddr end = 0;
    if (bytes == 0)
        status = TSL_INVALID;
    else if (!tsl_is_aligned(start | bytes, TSL_PAGE_BYTES))
        status = TSL_MISALIGNED;
    else if (!tsl_checked_last(start, bytes, &end))
        status = TSL_OUT_OF_RANGE;
    else if (!tsl_table_format_canonical(format, start) || !tsl_table_format_canonical(format, end))
        status = TSL_NOT_CANONICAL;
    else if (format->sign_extended && start <= tsl_table_lower_last(format) &&
             end >= tsl_table_upper_half(format))
        status = TSL_NOT_CANONICAL; /* crosses the hole */
    else if (start == 0 || touches_guard(format, start, end))
        status = TSL_OUT_OF_RANGE;
    else if (tsl_table_is_shown_at(self, end))
        status = TSL_DENIED; /* the kernel's, through its own table */
    return tsl_refuse(&self->refusals, status, "tables: %s of %zx bytes at %zx", verb, bytes,
                      (size_t)start);
}

enum tsl_status tsl_table_check_range(struct tsl_table *self, const char *verb, tsl_vaddr start,
                                      size_t bytes, tsl_vaddr *last)
{
    tsl_vaddr end = start + (bytes - 1u);
    bool whole = bytes != 0 && ((start | bytes) & (TSL_PAGE_BYTES - 1u)) == 0 && end >= start;
    bool inside = (start != 0 && end <= self->low_last) || start >= self->high_first;
    bool fixed = start <= self->fixed_last && end >= self->fixed_first;
    if (TSL_UNLIKELY(!whole || !inside || (fixed && self->fixed_first <= self->fixed_last)))
        return refuse_range(self, verb, start, bytes);
    *last = end;
    return TSL_OK;
}

static enum tsl_status judge(const struct tsl_table_format *format, tsl_vaddr start, tsl_vaddr last,
                             unsigned attributes)
{
    if (attributes & ~TABLE_ATTRIBUTES)
        return TSL_INVALID;
    if ((attributes & TSL_CACHE_MASK) > TSL_CACHE_WRITE_COMBINING)
        return TSL_INVALID;
    if (!(attributes & (TSL_READ | TSL_WRITE | TSL_EXEC)))
        return TSL_INVALID;
    /* A translation that survives a change of space would leak into the next, if that does not show
     * the same: where 32-bit formats have pages between the halves too. */
    if ((attributes & TSL_GLOBAL) && !tsl_is_in_kernel_half(format, start))
        return TSL_INVALID;
    if ((attributes & TSL_WRITE) && (attributes & TSL_EXEC) && !(attributes & TSL_ALLOW_WX))
        return TSL_DENIED;
    if ((attributes & TSL_USER) && (start < format->user_first || last > format->user_last))
        return TSL_DENIED;
    return TSL_OK;
}

enum tsl_status tsl_table_check_attributes(struct tsl_table *self, const char *verb,
                                           tsl_vaddr start, tsl_vaddr last, unsigned attributes)
{
    enum tsl_status status = judge(self->format, start, last, attributes);
    if (status == TSL_OK)
        return TSL_OK;
    return tsl_refuse(&self->refusals, status, "tables: %s at %zx with attributes %x", verb,
                      (size_t)start, attributes);
}
