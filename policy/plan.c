/* policy/plan.c: see policy/plan.h. */
#include "policy/plan.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "policy/placement.h"

/* --- the name of a plan --------------------------------------------------------------------------------- */

/* Field by field, since padding and what stands behind a text's NUL may differ. */
static uint64_t mix(uint64_t digest, const void *data, size_t size)
{
	return hash64_seeded(bytes_of(data, size), digest);
}

static uint64_t mix_u64(uint64_t digest, uint64_t value)
{
	return mix(digest, &value, sizeof(value));
}

static uint64_t mix_text(uint64_t digest, const char *text)
{
	return mix(digest, text, strlen(text) + 1);
}

static uint64_t mix_policy(uint64_t digest, const struct policy *policy)
{
	uint8_t bytes[24 * 1024];
	struct packer packer;
	static_assert(sizeof(bytes) > 8 * sizeof(struct selectors), "every list at its longest fits");
	pack_init(&packer, bytes, sizeof(bytes));
	policy_encode(policy, &packer);
	assert(!packer.overflow);
	return mix(digest, bytes, packer.size);
}

static uint64_t mix_replicas(uint64_t digest, const struct map_replica replicas[], unsigned count)
{
	digest = mix_u64(digest, count);
	for (unsigned i = 0; i < count; i++) {
		digest = mix_u64(digest, replicas[i].node);
		digest = mix_u64(digest, replicas[i].role);
	}
	return digest;
}

static uint64_t mix_change(uint64_t digest, const struct change *change)
{
	digest = mix_u64(digest, change->kind);
	digest = mix_u64(digest, change->policy_count);
	for (uint32_t i = 0; i < change->policy_count; i++)
		digest = mix_policy(digest, &change->policies[i]);
	digest = mix_u64(digest, change->binding_count);
	for (uint32_t i = 0; i < change->binding_count; i++) {
		const struct change_binding *binding = &change->bindings[i];
		digest = mix_u64(digest, binding->exact);
		digest = mix_u64(digest, binding->hash.high);
		digest = mix_u64(digest, binding->hash.low);
		digest = mix_u64(digest, binding->prefix_size);
		digest = mix(digest, binding->prefix, binding->prefix_size);
		digest = mix_text(digest, binding->policy);
	}
	return digest;
}

static uint64_t mix_places(uint64_t digest, const struct cluster_map *map)
{
	digest = mix_u64(digest, map->region_count);
	for (uint32_t i = 0; i < map->region_count; i++) {
		const struct site *site = &map->regions[i].site;
		digest = mix_text(digest, site->place.text);
		digest = mix_u64(digest, site->tag_count);
		for (unsigned j = 0; j < site->tag_count; j++)
			digest = mix_text(digest, site->tags[j]);
		digest = mix_u64(digest, map->regions[i].state);
	}
	digest = mix_u64(digest, map->node_count);
	for (uint32_t i = 0; i < map->node_count; i++) {
		digest = mix_u64(digest, map->nodes[i].id);
		digest = mix_text(digest, map->nodes[i].place.text);
		digest = mix_u64(digest, map->nodes[i].state);
	}
	return digest;
}

static uint64_t mix_rules(uint64_t digest, const struct cluster_map *map)
{
	digest = mix_u64(digest, map->policy_count);
	for (uint32_t i = 0; i < map->policy_count; i++)
		digest = mix_policy(digest, &map->policies[i]);
	digest = mix_u64(digest, map->binding_count);
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		digest = mix_u64(digest, binding->policy);
		digest = mix_u64(digest, binding->pending_operation);
		digest = mix_u64(digest, binding->exact);
		digest = mix_u64(digest, binding->hash.high);
		digest = mix_u64(digest, binding->hash.low);
		digest = mix_u64(digest, binding->prefix_size);
		digest = mix(digest, binding->prefix, binding->prefix_size);
	}
	return digest;
}

static bool named(const struct cluster_map *map, const struct change *change, uint64_t policy)
{
	const struct policy *now = map_policy_find(map, policy);
	for (uint32_t i = 0; now && i < change->policy_count; i++)
		if (strcmp(change->policies[i].name, now->name) == 0)
			return true;
	return false;
}

static uint64_t mix_shards(uint64_t digest, const struct cluster_map *map, const struct change *change)
{
	uint64_t policy = 0;
	bool concerned = false;
	digest = mix_u64(digest, map->shard_count);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		if (shard->policy != policy) /* a policy's shards stand together */
			concerned = named(map, change, shard->policy);
		policy = shard->policy;
		digest = mix_u64(digest, shard->id);
		digest = mix_replicas(digest, shard->wanted, shard->wanted_count);
		if (!concerned)
			continue;
		digest = mix_u64(digest, shard->operation);
		digest = mix_replicas(digest, shard->replicas, shard->replica_count);
	}
	return digest;
}

uint64_t plan_id(const struct cluster_map *map, const struct change *change)
{
	uint64_t digest = mix_change(0, change);
	digest = mix_places(digest, map);
	digest = mix_rules(digest, map);
	digest = mix_shards(digest, map, change);
	return digest == 0 ? 1 : digest;
}

/* --- what is expected ------------------------------------------------------------------------------------ */

uint64_t plan_leader(
	const struct cluster_map *map, const struct policy *policy, const struct map_shard *shard, uint64_t leader)
{
	uint64_t best = 0;
	unsigned best_rank = UINT_MAX;
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		const struct map_node *node = map_node_find(map, shard->wanted[i].node);
		struct site site;
		if (!node || shard->wanted[i].role != ROLE_VOTER || !map_site(map, &node->place, &site))
			continue;
		if (node->id == shard->lead_wanted)
			return node->id;
		unsigned rank = policy_lead_rank(policy, &site);
		if (policy->follow && rank != UINT_MAX)
			rank = 0;
		if (rank < best_rank || (rank == best_rank && rank != UINT_MAX && node->id == leader)) {
			best = node->id;
			best_rank = rank;
		}
	}
	return best;
}

enum survive plan_survives(const struct cluster_map *map, const struct policy *policy,
	const struct map_replica replicas[], uint8_t count, bool *sound)
{
	struct membership membership;
	struct quorum_flaw flaw;
	unsigned survives = SURVIVE_REGION;
	*sound = count > 0 && placement_membership(map, policy, replicas, count, &membership) &&
		 quorum_check(&membership, SURVIVE_NONE, &flaw);
	if (!*sound)
		return SURVIVE_NONE;
	while (survives > SURVIVE_NONE && !quorum_check(&membership, (enum survive)survives, &flaw))
		survives--;
	return (enum survive)survives;
}
