/* SPDX-License-Identifier: MIT
 *
 * layout_check.c: whether an address space's layout can work at all, and on this machine.
 *
 * Owns:    rules 1 to 17 of the component's README, each with its status.
 * Needs:   layout.c for lookups.
 * Callers: the start of a kernel, before it builds tables from a layout; tests with broken layouts.
 */
#include <tesela/checked.h>

#include "kernel_layout_internal.h"

/* What is being checked, and where the first defect goes. */
struct check {
    const struct tsl_layout *layout;
    const struct tsl_layout_needs *needs;
    struct tsl_defect *out;
};

TSL_MUST_CHECK static enum tsl_status broken(const struct check *check, enum tsl_status status,
                                             enum tsl_layout_rule rule, tsl_vaddr place,
                                             const char *sentence)
{
    if (check->out != NULL)
        *check->out = tsl_defect_at("kernel_layout", rule, place, sentence);
    return tsl_refuse(NULL, status, "layout: rule %u at 0x%llx: %s", (unsigned)rule,
                      (unsigned long long)place, sentence);
}

static bool is_page_aligned(tsl_vaddr address)
{
    return (address & (TSL_PAGE_BYTES - 1)) == 0;
}

static enum tsl_status check_described(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    bool is_named = layout != NULL && layout->format_name != NULL;
    bool has_ranges = is_named && layout->ranges != NULL && layout->count > 0;
    if (!has_ranges || layout->va_bits <= TSL_PAGE_SHIFT || layout->va_bits > TSL_WORD_BITS ||
        layout->granule_bytes < TSL_PAGE_BYTES || !tsl_is_power_of_two(layout->granule_bytes)) {
        return broken(check, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, 0,
                      "A layout names its format, its width, its granule and its ranges.");
    }
    return TSL_OK;
}

/* What one range must be, whatever its neighbours. */
static enum tsl_status check_range(const struct check *check, const struct tsl_layout_range *range)
{
    const struct tsl_layout *layout = check->layout;
    if ((unsigned)range->use >= TSL_LAYOUT_USE_COUNT) {
        return broken(check, TSL_INVALID, TSL_LAYOUT_RULE_DESCRIBED, range->start,
                      "A range has one of the known uses.");
    }
    if (range->last < range->start) {
        return broken(check, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_NOT_WRAPPING, range->start,
                      "A range does not end before it starts.");
    }
    if (!is_page_aligned(range->start) || !is_page_aligned(range->last + 1)) {
        return broken(check, TSL_MISALIGNED, TSL_LAYOUT_RULE_PAGE_ALIGNED, range->start,
                      "A range is made of whole pages.");
    }
    if (range->start == 0) {
        return broken(check, TSL_DENIED, TSL_LAYOUT_RULE_PAGE_ZERO_FREE, range->start,
                      "Page 0 belongs to no range, so that NULL faults.");
    }
    /* Both ends in one half: the hole lies between the halves. */
    bool one_half = !layout->sign_extended ||
                    range->start >> (layout->va_bits - 1) == range->last >> (layout->va_bits - 1);
    if (!one_half || !tsl_layout_is_canonical(layout, range->start) ||
        !tsl_layout_is_canonical(layout, range->last)) {
        return broken(check, TSL_NOT_CANONICAL, TSL_LAYOUT_RULE_CANONICAL, range->start,
                      "A range holds only addresses that the CPU can form.");
    }
    return TSL_OK;
}

static enum tsl_status check_each(const struct check *check)
{
    for (size_t i = 0; i < check->layout->count; i++) {
        enum tsl_status status = check_range(check, &check->layout->ranges[i]);
        if (status != TSL_OK)
            return status;
    }
    return TSL_OK;
}

static enum tsl_status check_one_of_each(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    for (size_t i = 0; i < layout->count; i++) {
        if (tsl_layout_find(layout, layout->ranges[i].use) != &layout->ranges[i]) {
            return broken(check, TSL_EXISTS, TSL_LAYOUT_RULE_ONE_OF_EACH, layout->ranges[i].start,
                          "No use has two ranges.");
        }
    }
    for (unsigned use = 0; use < TSL_LAYOUT_USE_COUNT; use++) {
        if (tsl_layout_find(layout, (enum tsl_layout_use)use) == NULL) {
            return broken(check, TSL_NOT_FOUND, TSL_LAYOUT_RULE_ONE_OF_EACH, use,
                          "Every use has a range.");
        }
    }
    return TSL_OK;
}

static enum tsl_status check_no_overlap(const struct check *check)
{
    const struct tsl_layout_range *ranges = check->layout->ranges;
    for (size_t i = 0; i < check->layout->count; i++) {
        for (size_t j = i + 1; j < check->layout->count; j++) {
            if (ranges[i].start <= ranges[j].last && ranges[j].start <= ranges[i].last) {
                return broken(check, TSL_OVERLAP, TSL_LAYOUT_RULE_NO_OVERLAP, ranges[j].start,
                              "No two ranges overlap.");
            }
        }
    }
    return TSL_OK;
}

static enum tsl_status check_ascending(const struct check *check)
{
    const struct tsl_layout_range *ranges = check->layout->ranges;
    for (size_t i = 1; i < check->layout->count; i++) {
        if (ranges[i].start < ranges[i - 1].start) {
            return broken(check, TSL_INVALID, TSL_LAYOUT_RULE_ASCENDING, ranges[i].start,
                          "Ranges are listed in ascending order.");
        }
    }
    return TSL_OK;
}

/* The parts below the kernel's: they may share a table, and have no guard between them. */
static bool is_lower_part(enum tsl_layout_use use)
{
    return use == TSL_LAYOUT_IDENTITY || use == TSL_LAYOUT_USER;
}

static enum tsl_status check_granules(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    tsl_vaddr mask = (tsl_vaddr)layout->granule_bytes - 1;
    for (size_t i = 0; i < layout->count; i++) {
        const struct tsl_layout_range *range = &layout->ranges[i];
        if (!is_lower_part(range->use) && ((range->start | (range->last + 1)) & mask) != 0) {
            return broken(check, TSL_MISALIGNED, TSL_LAYOUT_RULE_GRANULE, range->start,
                          "Kernel ranges share no last-level table.");
        }
    }
    return TSL_OK;
}

/* The bytes that must lie between two neighbours. Image and direct map are never overrun by
 * growing: their mappings are made once. */
static size_t guard_between(const struct tsl_layout *layout, enum tsl_layout_use low,
                            enum tsl_layout_use high)
{
    if (is_lower_part(low))
        return is_lower_part(high) ? 0 : TSL_PAGE_BYTES;
    bool low_is_fixed = low == TSL_LAYOUT_IMAGE || low == TSL_LAYOUT_DIRECT_MAP;
    bool high_is_fixed = high == TSL_LAYOUT_IMAGE || high == TSL_LAYOUT_DIRECT_MAP;
    return low_is_fixed && high_is_fixed ? 0 : layout->granule_bytes;
}

static enum tsl_status check_guarded(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    for (size_t i = 1; i < layout->count; i++) {
        const struct tsl_layout_range *low = &layout->ranges[i - 1];
        const struct tsl_layout_range *high = &layout->ranges[i];
        if (high->start - low->last - 1 < guard_between(layout, low->use, high->use)) {
            return broken(check, TSL_OVERLAP, TSL_LAYOUT_RULE_GUARDED, high->start,
                          "A guard lies between neighbours that can be overrun.");
        }
    }
    return TSL_OK;
}

static enum tsl_status check_user_below(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    const struct tsl_layout_range *user = tsl_layout_find(layout, TSL_LAYOUT_USER);
    for (size_t i = 0; i < layout->count; i++) {
        const struct tsl_layout_range *range = &layout->ranges[i];
        bool is_kernels = !is_lower_part(range->use);
        if ((is_kernels && range->start < user->start) ||
            (range->use == TSL_LAYOUT_IDENTITY && range->start > user->start)) {
            return broken(check, TSL_DENIED, TSL_LAYOUT_RULE_USER_BELOW, range->start,
                          "Identity, user and kernel ranges lie in this order.");
        }
    }
    return TSL_OK;
}

static enum tsl_status check_protection(const struct check *check)
{
    const unsigned known = TSL_READ | TSL_WRITE | TSL_EXEC | TSL_USER | TSL_GLOBAL | TSL_CACHE_MASK;
    for (size_t i = 0; i < check->layout->count; i++) {
        const struct tsl_layout_range *range = &check->layout->ranges[i];
        bool is_user = range->use == TSL_LAYOUT_USER;
        bool user_bit = (range->protection & TSL_USER) != 0;
        bool global_user = is_user && (range->protection & TSL_GLOBAL) != 0;
        if (user_bit != is_user || global_user || (range->protection & TSL_READ) == 0 ||
            (range->protection & ~known) != 0) {
            return broken(check, TSL_DENIED, TSL_LAYOUT_RULE_PROTECTION, range->start,
                          "User mode reaches the user range and no other.");
        }
    }
    return TSL_OK;
}

/* Whether the range of a use has room for `bytes`, of which 0 always fits. */
static bool holds(const struct tsl_layout *layout, enum tsl_layout_use use, uint64_t bytes)
{
    const struct tsl_layout_range *range = tsl_layout_find(layout, use);
    return bytes == 0 || bytes - 1 <= range->last - range->start;
}

static bool holds_for_cpus(const struct check *check, enum tsl_layout_use use, size_t bytes)
{
    size_t all;
    return tsl_checked_mul(check->needs->cpus, bytes, &all) && holds(check->layout, use, all);
}

static bool image_fits(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    const struct tsl_layout_needs *needs = check->needs;
    const struct tsl_layout_range *image = tsl_layout_find(layout, TSL_LAYOUT_IMAGE);
    if (layout->image_offset > image->start ||
        (layout->image_offset & ((tsl_vaddr)layout->granule_bytes - 1)) != 0)
        return false;
    if (needs == NULL || (needs->image_start == 0 && needs->image_end == 0))
        return true;
    return needs->image_start < needs->image_end &&
           needs->image_start >= image->start - layout->image_offset &&
           needs->image_end - 1 <= image->last - layout->image_offset;
}

/* A range across the border of the halves is on neither side. */
static enum tsl_status check_halves(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    tsl_vaddr border = check->needs != NULL ? check->needs->user_last : 0;
    for (size_t i = 0; border != 0 && i < layout->count; i++) {
        const struct tsl_layout_range *range = &layout->ranges[i];
        if (is_lower_part(range->use) ? range->last > border : range->start <= border) {
            return broken(check, TSL_DENIED, TSL_LAYOUT_RULE_HALVES, range->start,
                          "User lies in the format's lower half, the kernel in the upper one.");
        }
    }
    return TSL_OK;
}

static enum tsl_status check_needs(const struct check *check)
{
    const struct tsl_layout *layout = check->layout;
    const struct tsl_layout_needs *needs = check->needs;
    if (needs != NULL && !holds(layout, TSL_LAYOUT_DIRECT_MAP, needs->direct_end)) {
        return broken(check, TSL_LIMIT, TSL_LAYOUT_RULE_DIRECT_COVERS,
                      tsl_layout_find(layout, TSL_LAYOUT_DIRECT_MAP)->start,
                      "The direct map covers the memory that it has to.");
    }
    if (needs != NULL && !holds(layout, TSL_LAYOUT_HEAP, needs->heap_bytes)) {
        return broken(check, TSL_LIMIT, TSL_LAYOUT_RULE_HEAP_FITS,
                      tsl_layout_find(layout, TSL_LAYOUT_HEAP)->start,
                      "The heap's ceiling fits in the heap's range.");
    }
    if (!image_fits(check)) {
        return broken(check, TSL_OUT_OF_RANGE, TSL_LAYOUT_RULE_IMAGE_FITS,
                      tsl_layout_find(layout, TSL_LAYOUT_IMAGE)->start,
                      "The linked kernel lies in the image's range.");
    }
    if (needs != NULL && (!holds_for_cpus(check, TSL_LAYOUT_WINDOWS, needs->window_bytes) ||
                          !holds_for_cpus(check, TSL_LAYOUT_CPU_AREAS, needs->cpu_area_bytes))) {
        return broken(check, TSL_LIMIT, TSL_LAYOUT_RULE_CPUS_FIT,
                      tsl_layout_find(layout, TSL_LAYOUT_WINDOWS)->start,
                      "Windows and areas of all CPUs fit in their ranges.");
    }
    return TSL_OK;
}

enum tsl_status tsl_layout_check(const struct tsl_layout *layout,
                                 const struct tsl_layout_needs *needs, struct tsl_defect *out)
{
    /* In this order: a later rule may rely on the earlier ones. */
    static enum tsl_status (*const rules[])(const struct check *) = {
        check_described,  check_each,     check_one_of_each, check_no_overlap,
        check_ascending,  check_granules, check_guarded,     check_user_below,
        check_protection, check_needs,    check_halves,
    };
    const struct check check = {layout, needs, out};
    for (size_t i = 0; i < TSL_COUNT_OF(rules); i++) {
        enum tsl_status status = rules[i](&check);
        if (status != TSL_OK)
            return status;
    }
    if (out != NULL)
        *out = TSL_NO_DEFECT;
    return TSL_OK;
}
