/* SPDX-License-Identifier: MIT
 *
 * memory_nodes.h: which memory is near which CPUs: address ranges of nodes and their distances.
 *
 * Owns:    struct tsl_memory_nodes and the rules by which what the firmware says becomes one.
 * Needs:   base; TSL_NODES. With TSL_NODES == 1 there is one node, and nothing of this is compiled.
 * Callers: boot code fills one; physical_allocator reads it while it is created. One writer, no
 *          locks: made on the boot CPU, read-only afterwards.
 *
 * A *domain* is the firmware's number of a node, any 32 bits (ACPI: proximity domain); a *node* is
 * ours, 0 .. count - 1, given to domains as they appear. Memory that no range names is node 0's.
 */
#ifndef TESELA_MEMORY_NODES_H
#define TESELA_MEMORY_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tesela/compiler.h>
#include <tesela/config.h>
#include <tesela/status.h>
#include <tesela/types.h>

#define TSL_NODE_RANGES 64u

/* Distances as ACPI has them: 10 is a node's own memory, 20 twice as far. */
#define TSL_DISTANCE_LOCAL  10u
#define TSL_DISTANCE_REMOTE 20u /* where the firmware says nothing */

/* A run of addresses whose RAM belongs to one node; any bytes, not whole pages. */
struct tsl_node_range {
    tsl_paddr start;
    tsl_paddr last; /* inclusive */
    unsigned node;
};

struct tsl_memory_nodes {
    struct tsl_node_range ranges[TSL_NODE_RANGES]; /* sorted, disjoint; neighbours are joined */
    size_t range_count;
    uint32_t domain[TSL_NODES]; /* of each node */
    unsigned node_count;        /* 0: the firmware said nothing, all is node 0 */
    uint8_t distance[TSL_NODES][TSL_NODES];
    uint8_t cpu_node[TSL_CPUS]; /* of each CPU of the port; 0 where nothing was said */
    struct tsl_refusals refusals;
};

/* No ranges, no domains; every distance as if the firmware had said nothing. */
void tsl_nodes_init(struct tsl_memory_nodes *nodes);

/*
 * Makes a domain known, as a CPU's or as that of memory; *out (may be NULL) is its node. A known
 * one keeps its node.
 * Errors:  TSL_LIMIT: there are TSL_NODES already.
 */
TSL_MUST_CHECK enum tsl_status tsl_nodes_add_domain(struct tsl_memory_nodes *nodes, uint32_t domain,
                                                    unsigned *out);

/*
 * The RAM in [start, start + bytes) belongs to `domain`.
 * Errors:  nothing changed: TSL_INVALID (0 bytes), TSL_OUT_OF_RANGE (runs over 2^64), TSL_OVERLAP
 *          (a part of it is another node's), TSL_LIMIT (too many ranges or nodes; that memory then
 *          counts as node 0's). Counted and logged.
 * Cost:    O(ranges).
 */
TSL_MUST_CHECK enum tsl_status tsl_nodes_add(struct tsl_memory_nodes *nodes, tsl_paddr start,
                                             uint64_t bytes, uint32_t domain);

/*
 * How far memory of domain `to` is from CPUs of domain `from`, 10 .. 254.
 * Errors:  nothing changed: TSL_NOT_FOUND (an unknown domain), TSL_INVALID (below 10, above 254, or
 *          the same domain and not 10).
 */
TSL_MUST_CHECK enum tsl_status tsl_nodes_set_distance(struct tsl_memory_nodes *nodes, uint32_t from,
                                                      uint32_t to, unsigned distance);

/*
 * CPU number `cpu` of the port belongs to `domain`, which may have no memory.
 * Errors:  nothing changed: TSL_INVALID (no such CPU), TSL_LIMIT (one node too many; the CPU stays
 *          with node 0).
 */
TSL_MUST_CHECK enum tsl_status tsl_nodes_place_cpu(struct tsl_memory_nodes *nodes, unsigned cpu,
                                                   uint32_t domain);

/* The node of a domain; false, *out untouched, if it is unknown. */
bool tsl_nodes_find(const struct tsl_memory_nodes *nodes, uint32_t domain, unsigned *out);

/* The node of an address, and in *last the last address up to which all are of that node. */
unsigned tsl_nodes_at(const struct tsl_memory_nodes *nodes, tsl_paddr address, tsl_paddr *last);

/*
 * Rule 31: ranges are sorted, apart and of known nodes, and so are the CPUs'; rule 32: domains
 * differ; rule 33: a node is 10 from itself and 10 .. 254 from others.
 */
struct tsl_defect tsl_nodes_verify(const struct tsl_memory_nodes *nodes);

#endif
