/* client/router_internal.h: the router's memory, which three files share: router.c (where a key may go), reach.c (how
 * far the nodes are, and whom to ping), patience.c (how long an answer is awaited). */
#ifndef DOMICILE_CLIENT_ROUTER_INTERNAL_H
#define DOMICILE_CLIENT_ROUTER_INTERNAL_H

#include "client/patience.h"
#include "client/router.h"

enum { /* budgets, thousandths */
	RETRY_MAX = 100 * 1000,
	HEDGE_MAX = 10 * 1000,
};

struct route {			  /* beside the shard of the same position */
	uint64_t leader;	  /* node; 0: unknown */
	uint64_t direct_until_ns; /* writes go to the leader first: a replica has just refused to be their origin */
	uint16_t compliant;	  /* bit i: the place of replicas[i]'s node may hold the shard's keys */
};
struct access {		  /* beside the policy of the same position */
	bool read, write; /* from our place */
};
struct router_node {	   /* beside the node of the same position */
	uint32_t rtt_us;   /* smoothed; 0: not measured */
	uint32_t guess_us; /* by the map */
	uint32_t losses;   /* in a row */
	bool on_trial;	   /* suspect, and one operation tries it */
	uint64_t suspect_until_ns;
	uint64_t wanted_ns;	       /* when an operation last had it among its first candidates; 0: never */
	uint64_t probed_ns;	       /* when it was last to be pinged; 0: never */
	struct quantile reads, writes; /* what answers took */
};
struct half { /* a map and what was computed from it */
	struct cluster_map *map;
	struct route *routes;
	struct access *access;
	struct router_node *nodes;
	uint32_t region; /* ours, its position; region_count: the map does not have it */
};
struct router {
	struct place place; /* "": none */
	struct half in_use, spare;
	uint32_t retries, hedges; /* budgets, thousandths */
};

/* Replicas in the order in which they are tried; nodes in that of their distance. */
struct candidate {
	uint64_t node;
	bool suspect, leads;
	uint32_t rtt_us;
};
void candidates_insert(struct candidate at[], unsigned count, struct candidate new);

struct router_node *router_node_of(const struct router *router, uint64_t node); /* NULL: not in the map */
uint32_t router_guess_us(const struct router *router, const struct half *half, const struct map_node *node);
struct route *router_route_of(const struct router *router, uint64_t shard); /* likewise */

#endif
