/* replication/meta_check.c: what always holds of the map, asserted; and its digest, equal on replicas that applied the
 * same changes. For tests, the simulator, and anybody who has just decoded a map and wants to know. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

/* --- invariants -------------------------------------------------------------------------------------- */

static void check_id(const struct cluster_map *map, uint64_t id)
{
	assert(id > 0);
	assert(id < map->id_next);
}

static void check_regions_and_nodes(const struct cluster_map *map)
{
	assert(map->region_count > 0);
	assert(map->node_count > 0);
	for (uint32_t i = 0; i < map->region_count; i++) {
		const struct map_region *a = &map->regions[i];
		assert(a->ca_size > 0);
		assert(strcmp(a->name, place_last(&a->site.place)) == 0);
		for (uint32_t j = 0; j < i; j++) {
			const struct map_region *b = &map->regions[j];
			assert(strcmp(a->name, b->name) != 0);
			assert(!place_within(&a->site.place, b->site.place.text));
			assert(!place_within(&b->site.place, a->site.place.text));
		}
	}
	unsigned voters = 0, voters_there[MAP_REGIONS_MAX] = { 0 };
	bool able[MAP_REGIONS_MAX] = { false };
	assert(map->region_count <= MAP_REGIONS_MAX);
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		check_id(map, node->id);
		check_id(map, node->meta_replica);
		assert(node->region < map->region_count);
		const struct map_region *region = &map->regions[node->region];
		assert(map_region_of(map, &node->place) == region);
		assert(place_depth(&node->place) == place_depth(&region->site.place) + 2);
		voters += node->meta_voter;
		voters_there[node->region] += node->meta_voter;
		able[node->region] |= map_node_takes_replicas(map, node);
		if (node->meta_voter)
			assert(map_node_takes_replicas(map, node));
		for (uint32_t j = 0; j < i; j++) {
			assert(map->nodes[j].id < node->id);
			assert(!place_equal(&map->nodes[j].place, &node->place));
		}
	}
	for (uint32_t i = 0; i < map->former_count; i++) {
		assert(map->formers[i].id < map->id_next);
		assert(!map_node_find(map, map->formers[i].id));
	}
	/* No region has a second voter while another has none and could have one. */
	bool second = false, missing = false;
	for (uint32_t i = 0; i < map->region_count; i++) {
		second |= voters_there[i] > 1;
		missing |= voters_there[i] == 0 && able[i];
	}
	if (second)
		assert(!missing);
	assert(voters % 2 == 1);
	assert(voters <= 5);
}

static void check_replicas(const struct cluster_map *map, const struct map_replica replicas[], unsigned count)
{
	assert(count > 0);
	assert(count <= REPLICAS_MAX);
	for (unsigned i = 0; i < count; i++) {
		check_id(map, replicas[i].replica);
		assert(map_node_find(map, replicas[i].node));
		for (unsigned j = 0; j < i; j++) {
			assert(replicas[i].replica != replicas[j].replica);
			assert(replicas[i].node != replicas[j].node);
		}
	}
}

/* Residency by construction: no wanted replica is where the policy allows no byte. */
static void check_shard(const struct cluster_map *map, const struct map_shard *shard)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	assert(policy);
	check_id(map, shard->id);
	check_replicas(map, shard->replicas, shard->replica_count);
	check_replicas(map, shard->wanted, shard->wanted_count);
	assert(shard->member_count > 0);
	assert(shard->member_count <= shard->replica_count);
	assert(shard->wanted_epoch <= map->epoch);
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		const struct map_replica *here =
			map_replica_on(shard->replicas, shard->replica_count, shard->wanted[i].node);
		if (here) /* never two of a shard on one node, and a witness is none of the others */
			assert(here->replica == shard->wanted[i].replica);
		if (here)
			assert((here->role == ROLE_WITNESS) == (shard->wanted[i].role == ROLE_WITNESS));
	}
	assert(shard->wanted_count == policy->copies + (policy->witness_in.count > 0));
	bool lead_there = shard->lead_wanted == 0;
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		struct site site;
		const struct map_node *node = map_node_find(map, shard->wanted[i].node);
		bool known = map_site(map, &node->place, &site);
		assert(known);
		const bool lost = map_node_fenced(map, node->id) && node->state < NODE_DRAINING;
		assert(map_node_takes_replicas(map, node) || lost);
		const bool witness = i == policy->copies; /* the last, if there is one */
		assert(shard->wanted[i].role == (witness ? ROLE_WITNESS : ROLE_VOTER));
		assert(witness ? policy_may_witness(policy, &site) : policy_may_store(policy, &site));
		if (witness)
			continue;
		lead_there |= shard->lead_wanted == node->id;
	}
	assert(lead_there);
	if (shard->operation == 0)
		return; /* replicas are what was reported, usually what is wanted */
	const struct map_operation *operation = map_operation_find(map, shard->operation);
	assert(operation);
	assert(operation->state == OPERATION_RUNNING);
	assert(!operation_moves_keys(operation->kind));
	if (operation_lists_shards(operation->kind))
		assert(operation->policy == shard->policy);
}

/* It covers nothing, and a split that is not switched yet is to change that. */
static void check_empty(const struct cluster_map *map, const struct map_shard *shard)
{
	unsigned splits = 0;
	assert(shard->hash_first == UINT64_MAX);
	assert(shard->hash_last == 0);
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		splits += operation->kind == OPERATION_SPLIT && operation->state == OPERATION_RUNNING &&
			  operation->phase < PHASE_PURGE && operation->shard_to == shard->id;
	}
	assert(splits == 1);
}

/* The hashes of a running split or merge are where its phase says. */
static void check_range(const struct cluster_map *map, const struct map_operation *operation)
{
	const struct map_shard *from = map_shard_find(map, operation->shard_from),
			       *to = map_shard_find(map, operation->shard_to);
	const bool split = operation->kind == OPERATION_SPLIT, switched = operation->phase == PHASE_PURGE;
	const struct map_shard *owner = switched ? to : from;
	assert(from);
	assert(to);
	assert(from->policy == operation->policy);
	assert(to->policy == operation->policy);
	assert(!map_shard_empty(from));
	assert(map_shard_has(owner, operation->hash_first));
	assert(owner->hash_last == operation->hash_last);
	assert(split || !switched);
	assert(!split || operation->phase != PHASE_ABORT);
	assert(map_shard_empty(to) == (split && !switched));
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *other = &map->operations[i];
		if (other == operation || other->state != OPERATION_RUNNING || !operation_of_range(other->kind))
			continue;
		assert(other->shard_from != from->id);
		assert(other->shard_from != to->id);
		assert(other->shard_to != from->id);
		assert(other->shard_to != to->id);
	}
}

/* Each policy's shards cover the whole ring, without gap or overlap; those of no hash stand behind them. */
static void check_shards(const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		const struct map_shard *before = i > 0 ? &map->shards[i - 1] : NULL;
		const struct map_shard *after = i + 1 < map->shard_count ? &map->shards[i + 1] : NULL;
		check_shard(map, shard);
		if (before)
			assert(before->policy <= shard->policy);
		assert(shard->range_epoch <= map->epoch);
		if (map_shard_empty(shard)) {
			check_empty(map, shard);
			assert(before && before->policy == shard->policy);
			assert(!map_shard_empty(before) || before->id < shard->id);
			continue;
		}
		assert(shard->hash_last - shard->hash_first >= SHARD_WIDTH_MIN - 1);
		if (before && before->policy == shard->policy)
			assert(!map_shard_empty(before) && before->hash_last + 1 == shard->hash_first);
		else
			assert(shard->hash_first == 0);
		if (!after || after->policy != shard->policy || map_shard_empty(after))
			assert(shard->hash_last == UINT64_MAX);
	}
	for (uint32_t i = 0; i < map->policy_count; i++) {
		uint32_t count;
		meta_shards_of(map, map->policies[i].id, &count);
		assert(count > 0);
		assert(count <= SHARDS_PER_POLICY_MAX);
		check_id(map, map->policies[i].id);
		assert(map->policies[i].epoch <= map->epoch);
		for (uint32_t j = 0; j < i; j++) {
			assert(map->policies[j].id < map->policies[i].id);
			assert(strcmp(map->policies[j].name, map->policies[i].name) != 0);
		}
	}
}

static void check_versions(const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->version_count; i++) {
		const struct policy_version *version = &map->versions[i];
		const struct policy *now = map_policy_find(map, version->rules.id);
		unsigned of_it = 1;
		assert(now);
		assert(strcmp(now->name, version->rules.name) == 0);
		assert(version->rules.epoch < version->until_epoch);
		assert(version->until_epoch <= now->epoch);
		assert(i == 0 || map->versions[i - 1].until_epoch <= version->until_epoch);
		for (uint32_t j = 0; j < i; j++) {
			of_it += map->versions[j].rules.id == now->id;
			assert(map->versions[j].rules.id != now->id ||
				map->versions[j].until_epoch <= version->rules.epoch);
		}
		assert(of_it <= POLICY_VERSIONS_MAX);
	}
}

static void check_tightens(const struct cluster_map *map, const struct map_binding *inner)
{
	struct site sites[MAP_REGIONS_MAX];
	struct flaw flaw;
	for (uint32_t i = 0; i < map->region_count; i++)
		sites[i] = map->regions[i].site;
	const struct map_binding *outer = meta_binding_around(map, bytes_of(inner->prefix, inner->prefix_size));
	if (!outer || outer->policy == inner->policy)
		return;
	bool tightens = policy_tightens(map_policy_find(map, inner->policy), map_policy_find(map, outer->policy), sites,
		map->region_count, &flaw);
	assert(tightens);
}

static void check_bindings(const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		assert(map_policy_find(map, binding->policy));
		if (i > 0)
			assert(map_binding_compare(&map->bindings[i - 1], binding) < 0);
		if (!binding->exact)
			check_tightens(map, binding);
		if (binding->pending_operation == 0)
			continue;
		const struct map_operation *operation = map_operation_find(map, binding->pending_operation);
		assert(operation);
		assert(operation->kind == OPERATION_BINDING);
		assert(operation->state == OPERATION_RUNNING);
		assert(binding->policy == operation->policy || binding->policy == operation->binding_policy);
	}
}

static void check_operations(const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		check_id(map, operation->id);
		assert(operation->steps > 0);
		if (operation_lists_shards(operation->kind))
			assert(operation->steps <= OPERATION_SHARDS_MAX);
		assert(operation->steps_done <= operation->steps);
		if (operation->state != OPERATION_FAILED)
			assert((operation->steps_done == operation->steps) == (operation->state == OPERATION_DONE));
		assert(operation_moves_keys(operation->kind) == (operation->phase != PHASE_NONE));
		assert(operation->phase_epoch <= map->epoch);
		assert(operation->region == 0 || operation->region < map->region_count);
		if (i > 0)
			assert(map->operations[i - 1].id < operation->id);
		if (operation->state != OPERATION_RUNNING)
			continue;
		bool keys_of_prefix = operation->kind == OPERATION_BINDING && operation->phase >= PHASE_COPY;
		for (uint32_t j = 0; keys_of_prefix && j < map->operation_count; j++) {
			const struct map_operation *other = &map->operations[j];
			if (other->kind == OPERATION_BINDING && other->state == OPERATION_RUNNING)
				assert(!map_operation_inside(other, operation));
		}
		unsigned served = 0;
		for (uint32_t j = 0; j < map->binding_count; j++)
			served += map->bindings[j].pending_operation == operation->id;
		for (uint32_t j = 0; j < map->shard_count; j++)
			served += map->shards[j].operation == operation->id;
		if (operation_of_range(operation->kind))
			check_range(map, operation);
		else if (operation->kind == OPERATION_BINDING)
			assert(served == (operation->phase < PHASE_PURGE));
		else
			assert(served == operation->steps - operation->steps_done);
	}
}

/* Ids of nodes, policies and operations grow along their arrays; shards and replicas are compared all with all. */
static void check_ids_once(const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *a = &map->shards[i];
		assert(!map_node_find(map, a->id));
		assert(!map_policy_find(map, a->id));
		for (uint32_t j = 0; j < i; j++) {
			const struct map_shard *b = &map->shards[j];
			assert(a->id != b->id);
			for (unsigned x = 0; x < a->wanted_count; x++)
				for (unsigned y = 0; y < b->wanted_count; y++)
					assert(a->wanted[x].replica != b->wanted[y].replica);
		}
	}
}

void meta_check(const struct cluster_map *map)
{
	assert(map->region_count <= map->region_max);
	assert(map->node_count <= map->node_max);
	assert(map->policy_count <= map->policy_max);
	assert(map->binding_count <= map->binding_max);
	assert(map->shard_count <= map->shard_max);
	assert(map->operation_count <= map->operation_max);
	assert(map->version_count <= map->version_max);
	assert(map->former_count <= map->former_max);
	if (map->epoch == 0) {
		assert(map->region_count + map->node_count + map->policy_count + map->former_count == 0);
		assert(map->binding_count + map->shard_count + map->operation_count == 0);
		return;
	}
	check_regions_and_nodes(map);
	check_shards(map);
	check_versions(map);
	check_bindings(map);
	check_operations(map);
	check_ids_once(map);
}

/* --- digest -------------------------------------------------------------------------------------------- */

/* Field by field, since padding and what stands behind a text's NUL may differ. */
struct digest {
	uint64_t value;
};

static void mix(struct digest *digest, const void *data, size_t size)
{
	digest->value = hash64_seeded(bytes_of(data, size), digest->value);
}

static void mix_u64(struct digest *digest, uint64_t value)
{
	mix(digest, &value, sizeof(value));
}

static void mix_text(struct digest *digest, const char *text)
{
	mix(digest, text, strlen(text) + 1);
}

static void mix_region(struct digest *digest, const struct map_region *region)
{
	mix_text(digest, region->name);
	mix_text(digest, region->site.place.text);
	mix_u64(digest, region->site.tag_count);
	for (unsigned i = 0; i < region->site.tag_count; i++)
		mix_text(digest, region->site.tags[i]);
	mix(digest, &region->latitude, sizeof(region->latitude));
	mix(digest, &region->longitude, sizeof(region->longitude));
	mix(digest, region->spki_sha256, sizeof(region->spki_sha256));
	mix_u64(digest, region->ca_size);
	mix(digest, region->ca_der, region->ca_size);
	mix_u64(digest, region->state);
}

static void mix_node(struct digest *digest, const struct map_node *node)
{
	mix_u64(digest, node->id);
	mix_u64(digest, node->incarnation);
	mix_text(digest, node->place.text);
	mix_u64(digest, node->region);
	mix_u64(digest, node->addresses.count);
	for (unsigned i = 0; i < node->addresses.count; i++) {
		mix_text(digest, node->addresses.at[i].from);
		mix_text(digest, node->addresses.at[i].address);
	}
	mix_u64(digest, node->meta_replica);
	mix_u64(digest, node->meta_voter);
	mix_u64(digest, node->meta_voting);
	mix_u64(digest, node->ledger.at.sequence);
	mix(digest, node->ledger.at.hash, sizeof(node->ledger.at.hash));
	mix_u64(digest, node->state);
}

static void mix_formers(struct digest *digest, const struct cluster_map *map)
{
	mix_u64(digest, map->former_count);
	for (uint32_t i = 0; i < map->former_count; i++) {
		const struct map_former *former = &map->formers[i];
		mix_u64(digest, former->id);
		mix_u64(digest, former->incarnation);
		mix_text(digest, former->place.text);
		mix_u64(digest, former->ledger.at.sequence);
		mix(digest, former->ledger.at.hash, sizeof(former->ledger.at.hash));
		mix_u64(digest, former->gone_us);
	}
}

static void mix_policy(struct digest *digest, const struct policy *policy)
{
	uint8_t bytes[24 * 1024];
	struct packer packer;
	static_assert(sizeof(bytes) > 8 * sizeof(struct selectors), "every list at its longest fits");
	pack_init(&packer, bytes, sizeof(bytes));
	policy_encode(policy, &packer);
	assert(!packer.overflow);
	mix(digest, bytes, packer.size);
}

static void mix_versions(struct digest *digest, const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->policy_count; i++)
		mix_u64(digest, map->policies[i].changed_us);
	mix_u64(digest, map->version_count);
	for (uint32_t i = 0; i < map->version_count; i++) {
		mix_policy(digest, &map->versions[i].rules);
		mix_u64(digest, map->versions[i].since_us);
		mix_u64(digest, map->versions[i].until_epoch);
		mix_u64(digest, map->versions[i].until_us);
	}
}

static void mix_binding(struct digest *digest, const struct map_binding *binding)
{
	mix_u64(digest, binding->policy);
	mix_u64(digest, binding->pending_operation);
	mix_u64(digest, binding->exact);
	if (binding->exact) {
		mix_u64(digest, binding->hash.high);
		mix_u64(digest, binding->hash.low);
	} else {
		mix_u64(digest, binding->prefix_size);
		mix(digest, binding->prefix, binding->prefix_size);
	}
}

static void mix_replicas(struct digest *digest, const struct map_replica replicas[], unsigned count)
{
	mix_u64(digest, count);
	for (unsigned i = 0; i < count; i++) {
		mix_u64(digest, replicas[i].replica);
		mix_u64(digest, replicas[i].node);
		mix_u64(digest, replicas[i].role);
	}
}

static void mix_shard(struct digest *digest, const struct map_shard *shard)
{
	mix_u64(digest, shard->id);
	mix_u64(digest, shard->policy);
	mix_u64(digest, shard->hash_first);
	mix_u64(digest, shard->hash_last);
	mix_u64(digest, shard->range_epoch);
	mix_u64(digest, shard->generation);
	mix_u64(digest, shard->membership_index);
	mix_u64(digest, shard->wanted_epoch);
	mix_replicas(digest, shard->replicas, shard->replica_count);
	mix_replicas(digest, shard->wanted, shard->wanted_count);
	mix_u64(digest, shard->birth_rule.voters);
	mix_u64(digest, shard->birth_rule.regions);
	mix_u64(digest, shard->birth_rule.copies);
	mix_u64(digest, shard->birth_rule.areas);
	mix_u64(digest, shard->birth_rule.degrade);
	mix_u64(digest, shard->member_count);
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		mix_u64(digest, shard->birth_areas[i]);
	mix_u64(digest, shard->lead_wanted);
	mix_u64(digest, shard->operation);
}

static void mix_operation(struct digest *digest, const struct map_operation *operation)
{
	mix_u64(digest, operation->id);
	mix_u64(digest, operation->kind);
	mix_u64(digest, operation->state);
	mix_u64(digest, operation->policy);
	mix_u64(digest, operation->binding_policy);
	mix_u64(digest, operation->steps);
	mix_u64(digest, operation->steps_done);
	mix_u64(digest, operation->started_us);
	mix_u64(digest, operation->ended_us);
	mix_u64(digest, operation->phase);
	mix_u64(digest, operation->phase_epoch);
	mix_u64(digest, operation->keys);
	mix_u64(digest, operation->version);
	mix_u64(digest, operation->shard_from);
	mix_u64(digest, operation->shard_to);
	mix_u64(digest, operation->hash_first);
	mix_u64(digest, operation->hash_last);
	mix(digest, operation->sources, sizeof(operation->sources));
	mix(digest, operation->targets, sizeof(operation->targets));
	mix_u64(digest, operation->exact);
	mix_u64(digest, operation->hash.high);
	mix_u64(digest, operation->hash.low);
	mix(digest, operation->prefix, sizeof(operation->prefix));
	mix_text(digest, operation->text);
	mix_u64(digest, operation->cancelled);
	mix_u64(digest, operation->node);
	mix_u64(digest, operation->region);
	mix(digest, operation->shards_done, sizeof(operation->shards_done));
}

uint64_t meta_digest(const struct cluster_map *map)
{
	struct digest digest = { 0 };
	mix_u64(&digest, map->epoch);
	mix(&digest, map->cluster, sizeof(map->cluster));
	mix_text(&digest, map->name);
	mix(&digest, map->hash_secret, sizeof(map->hash_secret));
	mix(&digest, map->admin_spki_sha256, sizeof(map->admin_spki_sha256));
	mix_u64(&digest, map->id_next);
	mix_u64(&digest, map->region_count);
	for (uint32_t i = 0; i < map->region_count; i++)
		mix_region(&digest, &map->regions[i]);
	mix_u64(&digest, map->node_count);
	for (uint32_t i = 0; i < map->node_count; i++)
		mix_node(&digest, &map->nodes[i]);
	mix_formers(&digest, map);
	mix_u64(&digest, map->policy_count);
	for (uint32_t i = 0; i < map->policy_count; i++)
		mix_policy(&digest, &map->policies[i]);
	mix_versions(&digest, map);
	mix_u64(&digest, map->binding_count);
	for (uint32_t i = 0; i < map->binding_count; i++)
		mix_binding(&digest, &map->bindings[i]);
	mix_u64(&digest, map->shard_count);
	for (uint32_t i = 0; i < map->shard_count; i++)
		mix_shard(&digest, &map->shards[i]);
	mix_u64(&digest, map->operation_count);
	for (uint32_t i = 0; i < map->operation_count; i++)
		mix_operation(&digest, &map->operations[i]);
	return digest.value;
}
