/* policy/placement_search.h: which candidates carry a shard: the search behind placement.h, over numbers only.
 * Folder-internal. */
#ifndef DOMICILE_POLICY_PLACEMENT_SEARCH_H
#define DOMICILE_POLICY_PLACEMENT_SEARCH_H

#include "policy/map.h"

struct candidate { /* a node on which the policy allows a copy */
	uint64_t node;
	uint32_t load;	     /* replicas wanted on it, this shard's own aside */
	uint32_t leads;	     /* of those, how many it should lead */
	unsigned lead_rank;  /* UINT_MAX: may not lead */
	uint16_t region;     /* position in map->regions */
	uint16_t zone;	     /* equal means the same zone */
	uint8_t areas;	     /* of the quorum rule */
	uint8_t copy_in;     /* bit i: inside the policy's copy_in[i] */
	bool current;	     /* holds a copy now */
	bool forced, banned; /* in this search */
};

struct placement_search {
	/* what is asked */
	struct quorum_rule rule;
	uint8_t copies, spread, survive;
	uint8_t copy_in_count;
	uint8_t copy_in_needed[COPY_RULES_MAX];
	bool lead_needed; /* one of them must be allowed to lead */
	bool witnessed;	  /* a witness will stand in yet another region */
	/* of whom: sorted by region, zone, then alike ones together, the least loaded first */
	uint16_t count;
	struct candidate at[MAP_NODES_MAX];
	/* the answer */
	uint16_t picked[COPIES_MAX]; /* positions, ascending */
};

/* The best that was found: as many of the current as can stay, then many zones, then little load. False: there is
 * none (exact, unless the structure of the cluster is so odd that the bound on steps ends the search). */
bool placement_search(struct placement_search *search);
/* Whether these picks meet all that is asked. */
bool placement_search_valid(const struct placement_search *search, const uint16_t picked[COPIES_MAX]);
/* In how many zones they are. */
unsigned placement_search_zones(const struct placement_search *search, const uint16_t picked[COPIES_MAX]);
/* One is as good as the other for all that is asked. */
bool placement_search_alike(const struct candidate *a, const struct candidate *b);

/* What placement.c asks of the map, for others who judge where replicas may be. */
void placement_ask(const struct policy *policy, struct placement_search *search);
/* The node as the policy sees it, without load and zone. False: it may hold no copy. */
bool placement_candidate(const struct cluster_map *map, const struct policy *policy, const struct map_node *node,
	struct candidate *candidate);
bool placement_may_witness(const struct cluster_map *map, const struct policy *policy, const struct map_node *node);
/* A witness here would not be lost with one of the copies: nodes, all by position in map->nodes. */
bool placement_apart(const struct cluster_map *map, const uint16_t copies[], unsigned count, uint16_t witness);
bool placement_same_zone(const struct place *a, const struct place *b);

#endif
