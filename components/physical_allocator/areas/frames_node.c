/* SPDX-License-Identifier: MIT
 *
 * frames_node.c: several memory nodes: whose CPUs look where first, and what a request may say.
 *
 * Owns:    struct frames_numa.
 * Needs:   kernel_layout (the nodes as the firmware told them), the zones made by frames_create.c.
 * Callers: frames_alloc.c, frames_run.c, the public _set_cpu_node and _set_policy. Not
 *          called when TSL_NODES is 1.
 *
 * A CPU looks first through its own node, from the highest zone down, then through the others, the
 * nearest first; zones below 16 MiB come after everything else, since old devices have nothing but
 * them.
 */
#include "../physical_allocator_internal.h"

_Static_assert(FRAMES_ZONES <= 255, "a zone's index fits in a byte");

/* The node nearest to `from` that is farther than `distance`, or as far with a greater number than
 * `after`; TSL_NODES if there is none. */
static unsigned next_nearest(const struct tsl_frames *self, unsigned from, unsigned after,
                             unsigned distance)
{
    unsigned best = TSL_NODES;
    for (unsigned node = 0; node < self->node_count; node++) {
        unsigned here = self->numa->distance[from][node];
        bool is_later = here > distance || (here == distance && node > after);
        if (is_later && (best == TSL_NODES || here < self->numa->distance[from][best]))
            best = node;
    }
    return best;
}

/* Own node first, also if another claims to be as near. */
static void order_nodes(const struct tsl_frames *self, unsigned from, uint8_t *out)
{
    unsigned count = 1;
    unsigned node = next_nearest(self, from, 0, 0);
    out[0] = (uint8_t)from;
    for (; node < TSL_NODES;
         node = next_nearest(self, from, node, self->numa->distance[from][node]))
        if (node != from)
            out[count++] = (uint8_t)node;
    TSL_ASSERT(count == self->node_count);
}

static void order_zones(struct tsl_frames *self, unsigned node)
{
    uint8_t nodes[TSL_NODES];
    uint8_t *out = self->numa->order[node];
    unsigned count = 0;
    order_nodes(self, node, nodes);
    for (unsigned i = 0; i < self->node_count; i++)
        for (unsigned kind = TSL_ZONE_COUNT; kind-- > TSL_ZONE_DMA + 1;)
            out[count++] = (uint8_t)(nodes[i] * TSL_ZONE_COUNT + kind);
    for (unsigned i = 0; i < self->node_count; i++)
        out[count++] = (uint8_t)(nodes[i] * TSL_ZONE_COUNT + TSL_ZONE_DMA);
}

/* The first zone with RAM on the way of a node's CPUs. */
static unsigned first_zone(const struct tsl_frames *self, unsigned node)
{
    const uint8_t *order = self->numa->order[node];
    unsigned step = 0;
    while (self->zone[order[step]].first_area == self->zone[order[step]].end_area)
        step++;
    return order[step];
}

static uint32_t home_on(const struct tsl_frames *self, unsigned node)
{
    return self->node[node].top_zone << 8 | node;
}

void tsl_frames_numa_init(struct tsl_frames *self, const struct tsl_memory_nodes *nodes)
{
    struct frames_numa *numa = self->numa;
    numa->policy = TSL_FRAMES_LOCAL;
    for (unsigned from = 0; from < TSL_NODES; from++)
        for (unsigned to = 0; to < TSL_NODES; to++)
            numa->distance[from][to] =
                nodes != NULL ? nodes->distance[from][to] : (uint8_t)TSL_DISTANCE_LOCAL;
    for (unsigned node = 0; node < self->node_count; node++) {
        order_zones(self, node);
        self->node[node].top_zone = first_zone(self, node);
    }
    for (unsigned cpu = 0; cpu < TSL_COUNT_OF(numa->home); cpu++)
        numa->home[cpu] = home_on(self, nodes != NULL ? nodes->cpu_node[cpu] : 0);
}

void tsl_frames_count_elsewhere(struct tsl_frames *self, unsigned node)
{
    (void)word_add(&self->numa->elsewhere[node], 1);
}

enum tsl_status tsl_frames_check_nodes(struct tsl_frames *self, unsigned flags)
{
    const unsigned alone[] = {TSL_FRAMES_LOCAL, TSL_FRAMES_INTERLEAVE};
    unsigned wanted = flags & TSL_FRAMES_NODE_FLAGS;
    bool is_good = (wanted >> 16) <= self->node_count;
    for (unsigned i = 0; i < TSL_COUNT_OF(alone); i++)
        is_good = is_good && ((wanted & alone[i]) == 0 || wanted == alone[i]);
    return is_good ? TSL_OK
                   : tsl_refuse(&self->refusals, TSL_INVALID,
                                "frames: no such node or policy (flags %#x)", flags);
}

/* The next node that has RAM. */
static unsigned next_in_turn(struct tsl_frames *self)
{
    unsigned node;
    do {
        node = (unsigned)(word_add(&self->numa->turn, 1) % self->node_count);
    } while (self->node[node].first_area == self->node[node].end_area);
    return node;
}

struct frames_route tsl_frames_route(struct tsl_frames *self, unsigned flags)
{
    unsigned wanted = flags & TSL_FRAMES_NODE_FLAGS;
    if (wanted == 0)
        wanted = tsl_atomic_load_u32(&self->numa->policy);
    if ((wanted & TSL_FRAMES_INTERLEAVE) != 0)
        return (struct frames_route){next_in_turn(self), false};
    struct frames_route route = {.is_bound = (wanted & TSL_FRAMES_BIND) != 0};
    unsigned cpu = TSL_CPUS == 1 ? 0 : tsl_cpu_this();
    route.node = tsl_atomic_load_u32(&self->numa->home[cpu]) & 0xff;
    if ((wanted >> 16) != 0)
        route.node = (wanted >> 16) - 1;
    return route;
}

enum tsl_status tsl_frames_set_cpu_node(struct tsl_frames *self, unsigned cpu, unsigned node)
{
    if (TSL_NODES == 1)
        return tsl_refuse(&self->refusals, TSL_UNSUPPORTED, "frames: no nodes compiled in");
    if (cpu >= TSL_CPUS || node >= self->node_count) {
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: CPU %u cannot belong to node %u",
                          cpu, node);
    }
    tsl_atomic_store_u32(&self->numa->home[cpu], home_on(self, node));
    return TSL_OK;
}

enum tsl_status tsl_frames_set_policy(struct tsl_frames *self, unsigned flags)
{
    if (TSL_NODES == 1)
        return tsl_refuse(&self->refusals, TSL_UNSUPPORTED, "frames: no nodes compiled in");
    if (flags == 0 || (flags & ~TSL_FRAMES_NODE_FLAGS) != 0)
        return tsl_refuse(&self->refusals, TSL_INVALID, "frames: policy of flags %#x", flags);
    enum tsl_status status = tsl_frames_check_nodes(self, flags);
    if (status != TSL_OK)
        return status;
    tsl_atomic_store_u32(&self->numa->policy, flags);
    tsl_frames_set_rule(self, FRAMES_RULE_POLICY, flags != TSL_FRAMES_LOCAL);
    return TSL_OK;
}
