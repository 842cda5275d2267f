/* replication/meta_region.c: regions that go. Nobody is there any more, and no rule has only them to speak of: so a
 * policy means after it what it meant before. Clients of the place are nobody's from then on: who signs for it is not
 * pinned any more.
 *
 * The regions behind it move up by one, and with them the numbers that their nodes have of them. Outside the map such
 * numbers mean something as long as the list is the same (server/rtt.h). */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

/* A rule that names it speaks of this region, or of a place in it, where tags count too. */
static bool speaks_of(const struct selector *selector, const struct site *site)
{
	struct place inside = { 0 };
	if (selector_matches(selector, &site->place, site->tags, site->tag_count))
		return true;
	static_assert(SELECTOR_TEXT_MAX <= PLACE_TEXT_MAX, "a selector's text is a place's");
	memcpy(inside.text, selector->text, strlen(selector->text));
	return selector->kind == SELECTOR_PLACE && place_within(&inside, site->place.text);
}

static bool speaks_of_none_but(
	const struct cluster_map *map, const struct selector *selector, const struct map_region *region)
{
	for (uint32_t i = 0; i < map->region_count; i++)
		if (&map->regions[i] != region && speaks_of(selector, &map->regions[i].site))
			return false;
	return speaks_of(selector, &region->site);
}

static bool judge_selector(const struct cluster_map *map, const struct map_region *region, const struct policy *policy,
	const char *field, const struct selector *selector, struct meta_result *result)
{
	if (!speaks_of_none_but(map, selector, region))
		return true;
	return meta_refuse(result, STATUS_CONFLICT, 0,
		TEXTS("policy ", policy->name, " names ", selector->text, " in ", field, ", and without region ",
			region->site.place.text, " nothing would be there"),
		TEXTS("take it out of the policy first: domctl policy apply"));
}

/* What never_in names is forbidden with or without it. */
static bool judge_policy(const struct cluster_map *map, const struct map_region *region, const struct policy *policy,
	struct meta_result *result)
{
	const struct {
		const char *field;
		const struct selectors *selectors;
	} lists[] = { { "store_in", &policy->store_in }, { "lead_in", &policy->lead_in },
		{ "read_from", &policy->read_from }, { "write_from", &policy->write_from },
		{ "witness_in", &policy->witness_in }, { "ack", &policy->ack_areas } };
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (unsigned j = 0; j < lists[i].selectors->count; j++)
			if (!judge_selector(map, region, policy, lists[i].field, &lists[i].selectors->at[j], result))
				return false;
	for (unsigned i = 0; i < policy->copy_in_count; i++)
		if (!judge_selector(map, region, policy, "copy_in", &policy->copy_in[i].in, result))
			return false;
	return true;
}

static bool judge_nodes(const struct cluster_map *map, const struct map_region *region, struct meta_result *result)
{
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		if (&map->regions[node->region] != region)
			continue;
		if (node->state == NODE_GONE)
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS("node ", node->place.text, " was decommissioned and is not out of meta yet"),
				TEXTS("wait a moment: domctl node list"));
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("node ", node->place.text, " belongs to region ", region->name),
			TEXTS("drain and decommission it first: domctl node drain, domctl node decommission"));
	}
	return true;
}

static bool drains(const struct map_operation *operation, uint32_t region)
{
	return operation->kind == OPERATION_DRAIN && operation->node == 0 && operation->region == region;
}

/* Who cancels it would have the region back. */
static bool judge_operations(const struct cluster_map *map, const struct map_region *region, struct meta_result *result)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		if (operation->state == OPERATION_RUNNING && drains(operation, (uint32_t)(region - map->regions)))
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS("operation ", meta_number(operation->id).text, " that drains region ",
					region->name, " is not over"),
				TEXTS("wait for it: domctl operation wait ", meta_number(operation->id).text));
	}
	return true;
}

bool meta_apply_region_remove(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	const struct map_region *region = map_region_find(map, change->name);
	if (!region)
		return meta_refuse(result, STATUS_NOT_FOUND, 0, TEXTS("there is no region ", change->name),
			TEXTS("domctl region list shows those there are"));
	if (!judge_nodes(map, region, result) || !judge_operations(map, region, result))
		return false;
	for (uint32_t i = 0; i < map->policy_count; i++)
		if (!judge_policy(map, region, &map->policies[i], result))
			return false;
	assert(map->region_count > 1); /* somebody carries meta, and is elsewhere */
	if (change->dry_run)
		return true;
	const uint32_t at = (uint32_t)(region - map->regions), behind = map->region_count - at - 1;
	memmove(&map->regions[at], &map->regions[at + 1], behind * sizeof(*map->regions));
	memset(&map->regions[--map->region_count], 0, sizeof(*map->regions));
	for (uint32_t i = 0; i < map->node_count; i++) {
		assert(map->nodes[i].region != at);
		map->nodes[i].region = (uint16_t)(map->nodes[i].region - (map->nodes[i].region > at));
	}
	for (uint32_t i = 0; i < map->operation_count; i++) {
		struct map_operation *operation = &map->operations[i];
		if (drains(operation, at))
			operation->region = 0; /* over: only who cancels it would ask */
		else
			operation->region = (uint16_t)(operation->region - (operation->region > at));
	}
	return true;
}
