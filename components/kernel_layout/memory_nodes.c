/* SPDX-License-Identifier: MIT
 *
 * memory_nodes.c: nodes, their ranges of addresses and distances, as the firmware tells them.
 *
 * Owns:    struct tsl_memory_nodes.
 * Needs:   base (checked arithmetic, refusals). Built when TSL_NODES is more than 1.
 * Callers: boot code, physical_allocator while it is created.
 */
#include <tesela/checked.h>
#include <tesela/memory_nodes.h>

#define DISTANCE_MOST 254u /* 255 is ACPI's "unreachable" */

void tsl_nodes_init(struct tsl_memory_nodes *nodes)
{
    *nodes = (struct tsl_memory_nodes){.range_count = 0};
    for (unsigned from = 0; from < TSL_NODES; from++)
        for (unsigned to = 0; to < TSL_NODES; to++)
            nodes->distance[from][to] = from == to ? TSL_DISTANCE_LOCAL : TSL_DISTANCE_REMOTE;
}

bool tsl_nodes_find(const struct tsl_memory_nodes *nodes, uint32_t domain, unsigned *out)
{
    for (unsigned node = 0; node < nodes->node_count; node++) {
        if (nodes->domain[node] == domain) {
            *out = node;
            return true;
        }
    }
    return false;
}

enum tsl_status tsl_nodes_add_domain(struct tsl_memory_nodes *nodes, uint32_t domain, unsigned *out)
{
    unsigned node = nodes->node_count;
    if (!tsl_nodes_find(nodes, domain, &node)) {
        if (node == TSL_NODES) {
            return tsl_refuse(&nodes->refusals, TSL_LIMIT,
                              "memory nodes: domain %u is one more than %u; it counts as node 0",
                              domain, (unsigned)TSL_NODES);
        }
        nodes->domain[node] = domain;
        nodes->node_count++;
    }
    if (out != NULL)
        *out = node;
    return TSL_OK;
}

enum tsl_status tsl_nodes_place_cpu(struct tsl_memory_nodes *nodes, unsigned cpu, uint32_t domain)
{
    unsigned node = 0;
    if (cpu >= TSL_CPUS)
        return tsl_refuse(&nodes->refusals, TSL_INVALID, "memory nodes: there is no CPU %u", cpu);
    enum tsl_status status = tsl_nodes_add_domain(nodes, domain, &node);
    if (status == TSL_OK)
        nodes->cpu_node[cpu] = (uint8_t)node;
    return status;
}

static bool touch(const struct tsl_node_range *low, const struct tsl_node_range *high)
{
    return low->node == high->node && low->last + 1 == high->start;
}

/* Before: it overlaps nothing, belongs before ranges[at], and there is room. */
static void insert(struct tsl_memory_nodes *nodes, size_t at, struct tsl_node_range range)
{
    struct tsl_node_range *ranges = nodes->ranges;
    if (at > 0 && touch(&ranges[at - 1], &range)) {
        at--;
        range.start = ranges[at].start;
    } else {
        for (size_t i = nodes->range_count; i > at; i--)
            ranges[i] = ranges[i - 1];
        nodes->range_count++;
    }
    ranges[at] = range;
    if (at + 1 == nodes->range_count || !touch(&range, &ranges[at + 1]))
        return;
    ranges[at].last = ranges[at + 1].last;
    nodes->range_count--;
    for (size_t i = at + 1; i < nodes->range_count; i++)
        ranges[i] = ranges[i + 1];
}

enum tsl_status tsl_nodes_add(struct tsl_memory_nodes *nodes, tsl_paddr start, uint64_t bytes,
                              uint32_t domain)
{
    struct tsl_node_range range = {.start = start};
    if (bytes == 0) {
        return tsl_refuse(&nodes->refusals, TSL_INVALID, "memory nodes: range at 0x%llx is empty",
                          (unsigned long long)start);
    }
    if (!tsl_checked_last_paddr(start, bytes, &range.last)) {
        return tsl_refuse(&nodes->refusals, TSL_OUT_OF_RANGE,
                          "memory nodes: range at 0x%llx of 0x%llx bytes runs over 2^64",
                          (unsigned long long)start, (unsigned long long)bytes);
    }
    size_t at = 0;
    while (at < nodes->range_count && nodes->ranges[at].last < start)
        at++;
    if (at < nodes->range_count && nodes->ranges[at].start <= range.last) {
        return tsl_refuse(&nodes->refusals, TSL_OVERLAP,
                          "memory nodes: range at 0x%llx of domain %u overlaps another",
                          (unsigned long long)start, domain);
    }
    if (nodes->range_count == TSL_NODE_RANGES) {
        return tsl_refuse(&nodes->refusals, TSL_LIMIT,
                          "memory nodes: no room for the range at 0x%llx; it counts as node 0",
                          (unsigned long long)start);
    }
    enum tsl_status status = tsl_nodes_add_domain(nodes, domain, &range.node);
    if (status == TSL_OK)
        insert(nodes, at, range);
    return status;
}

enum tsl_status tsl_nodes_set_distance(struct tsl_memory_nodes *nodes, uint32_t from, uint32_t to,
                                       unsigned distance)
{
    unsigned a, b;
    if (!tsl_nodes_find(nodes, from, &a) || !tsl_nodes_find(nodes, to, &b)) {
        return tsl_refuse(&nodes->refusals, TSL_NOT_FOUND,
                          "memory nodes: distance between domains %u and %u, of which one is "
                          "unknown",
                          from, to);
    }
    if (distance < TSL_DISTANCE_LOCAL || distance > DISTANCE_MOST ||
        (a == b && distance != TSL_DISTANCE_LOCAL)) {
        return tsl_refuse(&nodes->refusals, TSL_INVALID,
                          "memory nodes: distance %u from domain %u to %u", distance, from, to);
    }
    nodes->distance[a][b] = (uint8_t)distance;
    return TSL_OK;
}

unsigned tsl_nodes_at(const struct tsl_memory_nodes *nodes, tsl_paddr address, tsl_paddr *last)
{
    for (size_t i = 0; i < nodes->range_count; i++) {
        const struct tsl_node_range *range = &nodes->ranges[i];
        if (address < range->start) {
            *last = range->start - 1;
            return 0;
        }
        if (address <= range->last) {
            *last = range->last;
            return range->node;
        }
    }
    *last = ~(tsl_paddr)0;
    return 0;
}

static struct tsl_defect broken(unsigned rule, uintptr_t place, const char *sentence)
{
    return tsl_defect_at("layout", rule, place, sentence);
}

static bool range_is_good(const struct tsl_memory_nodes *nodes, size_t i)
{
    const struct tsl_node_range *range = &nodes->ranges[i];
    return range->start <= range->last && range->node < nodes->node_count &&
           (i == 0 || range[-1].last < range->start);
}

static struct tsl_defect check_node(const struct tsl_memory_nodes *nodes, unsigned node)
{
    for (unsigned other = 0; other < node; other++)
        if (nodes->domain[other] == nodes->domain[node])
            return broken(32, node, "domains of nodes differ");
    for (unsigned to = 0; to < nodes->node_count; to++) {
        unsigned distance = nodes->distance[node][to];
        bool is_good = node == to ? distance == TSL_DISTANCE_LOCAL
                                  : distance >= TSL_DISTANCE_LOCAL && distance <= DISTANCE_MOST;
        if (!is_good)
            return broken(33, node, "a node is 10 from itself and 10 to 254 from others");
    }
    return TSL_NO_DEFECT;
}

struct tsl_defect tsl_nodes_verify(const struct tsl_memory_nodes *nodes)
{
    if (nodes->range_count > TSL_NODE_RANGES || nodes->node_count > TSL_NODES)
        return broken(31, nodes->range_count, "ranges are sorted, apart and of known nodes");
    for (size_t i = 0; i < nodes->range_count; i++)
        if (!range_is_good(nodes, i))
            return broken(31, i, "ranges are sorted, apart and of known nodes");
    for (unsigned cpu = 0; cpu < TSL_CPUS; cpu++)
        if (nodes->cpu_node[cpu] != 0 && nodes->cpu_node[cpu] >= nodes->node_count)
            return broken(31, cpu, "CPUs belong to known nodes");
    struct tsl_defect defect = TSL_NO_DEFECT;
    for (unsigned node = 0; defect.rule == 0 && node < nodes->node_count; node++)
        defect = check_node(nodes, node);
    return defect;
}
