/* tools/judge.h: may this client do that to this key, by this map? The same rules as the client library and the nodes,
 * spelled out for people: which rule, and what to change. Sends nothing. */
#ifndef DOMICILE_TOOLS_JUDGE_H
#define DOMICILE_TOOLS_JUDGE_H

#include "policy/map.h"

struct judgement {
	const char *code;		   /* "DOM-R002"; NULL: allowed */
	const struct map_binding *binding; /* that decided; NULL: none covers the key */
	const struct policy *policy;
	const struct map_shard *shard;
	char rule[600];	   /* "read_from = [eu, uk]" */
	char reason[1024]; /* refused: why */
	char cure[320];
};
/* place: of the client, from its certificate or as asked for. */
void judge(const struct cluster_map *map, struct bytes key, const struct place *place, bool write,
	struct judgement *judgement);
/* The same for one policy and no map: what stands in a file. tags: of the place's region, unknown offline. */
void judge_policy(const struct policy *policy, const struct site *site, bool write, struct judgement *judgement);
void selectors_text(const struct selectors *selectors, char *out, size_t capacity); /* "[eu, uk]" */

#endif
