/* policy/map_codec.c: the cluster map and address lists as bytes. The map comes from the network, so decoding asserts
 * nothing about it: bounds, forms and the order that lookups rely on are asked, and what fails is an empty map. */
#include "policy/map.h"

#include <assert.h>
#include <string.h>

enum { MAP_VERSION = 10 };
enum { OPERATION_SHARDS_MAX = sizeof(((struct map_operation *)0)->shards_done) / sizeof(uint64_t) };

static void pack_double(struct packer *packer, double value)
{
	uint64_t bits;
	static_assert(sizeof(bits) == sizeof(value), "a double travels as its bits");
	memcpy(&bits, &value, sizeof(bits));
	pack_u64(packer, bits);
}

static double unpack_double(struct unpacker *unpacker)
{
	uint64_t bits = unpack_u64(unpacker);
	double value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

static void unpack_into(struct unpacker *unpacker, void *out, size_t size)
{
	struct bytes bytes = unpack_raw(unpacker, size);
	if (bytes.size == size && size > 0)
		memcpy(out, bytes.data, size);
}

static void unpack_place(struct unpacker *unpacker, struct place *place)
{
	char text[PLACE_TEXT_MAX];
	unpack_text(unpacker, text, sizeof(text));
	if (unpacker->bad || !place_parse(text, place, NULL))
		unpacker->bad = true;
}

static bool unpack_flag(struct unpacker *unpacker)
{
	uint8_t flag = unpack_u8(unpacker);
	if (flag > 1)
		unpacker->bad = true;
	return flag == 1;
}

static uint8_t unpack_bounded(struct unpacker *unpacker, uint8_t first, uint8_t last)
{
	uint8_t value = unpack_u8(unpacker);
	if (value < first || value > last)
		unpacker->bad = true;
	return unpacker->bad ? first : value;
}

/* --- addresses ------------------------------------------------------------------------------------- */

void address_list_encode(const struct address_list *list, struct packer *packer)
{
	assert(list->count <= ADDRESSES_MAX);
	pack_u8(packer, list->count);
	for (unsigned i = 0; i < list->count; i++) {
		pack_text(packer, list->at[i].from);
		pack_text(packer, list->at[i].address);
	}
}

enum status address_list_decode(struct unpacker *unpacker, struct address_list *list)
{
	*list = (struct address_list){ 0 };
	uint8_t count = unpack_bounded(unpacker, 0, ADDRESSES_MAX);
	for (; !unpacker->bad && list->count < count; list->count++) {
		struct address_from *at = &list->at[list->count];
		struct place place;
		unpack_text(unpacker, at->from, sizeof(at->from));
		unpack_text(unpacker, at->address, sizeof(at->address));
		if (at->address[0] == 0 || (at->from[0] != 0 && !place_parse(at->from, &place, NULL)))
			unpacker->bad = true;
	}
	if (!unpacker->bad)
		return STATUS_OK;
	*list = (struct address_list){ 0 };
	return STATUS_INVALID;
}

/* --- items of the map, each with its decoder below it -------------------------------------------------- */

static void region_encode(const struct map_region *region, struct packer *packer)
{
	assert(region->site.tag_count <= TAGS_MAX);
	assert(region->ca_size <= CERTIFICATE_SIZE_MAX);
	pack_text(packer, region->name);
	pack_text(packer, region->site.place.text);
	pack_u8(packer, region->site.tag_count);
	for (unsigned i = 0; i < region->site.tag_count; i++)
		pack_text(packer, region->site.tags[i]);
	pack_double(packer, region->latitude);
	pack_double(packer, region->longitude);
	pack_raw(packer, region->spki_sha256, sizeof(region->spki_sha256));
	pack_bytes(packer, bytes_of(region->ca_der, region->ca_size));
	pack_u8(packer, region->state);
}

static void region_decode(struct unpacker *unpacker, struct map_region *region)
{
	unpack_text(unpacker, region->name, sizeof(region->name));
	unpack_place(unpacker, &region->site.place);
	uint8_t tag_count = unpack_bounded(unpacker, 0, TAGS_MAX);
	for (; region->site.tag_count < tag_count; region->site.tag_count++)
		unpack_text(unpacker, region->site.tags[region->site.tag_count], TAG_TEXT_MAX);
	region->latitude = unpack_double(unpacker);
	region->longitude = unpack_double(unpacker);
	unpack_into(unpacker, region->spki_sha256, sizeof(region->spki_sha256));
	struct bytes ca = unpack_bytes(unpacker, sizeof(region->ca_der));
	region->ca_size = (uint32_t)ca.size;
	if (ca.size > 0)
		memcpy(region->ca_der, ca.data, ca.size);
	region->state = unpack_bounded(unpacker, REGION_ACTIVE, REGION_FENCED);
}

static void node_encode(const struct map_node *node, struct packer *packer)
{
	pack_u64(packer, node->id);
	pack_u64(packer, node->incarnation);
	pack_text(packer, node->place.text);
	pack_u16(packer, node->region);
	address_list_encode(&node->addresses, packer);
	pack_u64(packer, node->meta_replica);
	pack_u8(packer, node->meta_voter);
	pack_u8(packer, node->meta_voting);
	ledger_head_encode(&node->ledger, packer);
	pack_u8(packer, node->state);
}

static void node_decode(struct unpacker *unpacker, const struct cluster_map *map, struct map_node *node)
{
	node->id = unpack_u64(unpacker);
	node->incarnation = unpack_u64(unpacker);
	unpack_place(unpacker, &node->place);
	node->region = unpack_u16(unpacker);
	if (address_list_decode(unpacker, &node->addresses) != STATUS_OK || node->region >= map->region_count)
		unpacker->bad = true;
	node->meta_replica = unpack_u64(unpacker);
	node->meta_voter = unpack_flag(unpacker);
	node->meta_voting = unpack_flag(unpacker);
	ledger_head_decode(unpacker, &node->ledger);
	node->state = unpack_bounded(unpacker, NODE_ACTIVE, NODE_GONE);
}

static void binding_encode(const struct map_binding *binding, struct packer *packer)
{
	assert(binding->prefix_size <= BINDING_PREFIX_MAX);
	pack_u64(packer, binding->policy);
	pack_u64(packer, binding->pending_operation);
	pack_u8(packer, binding->exact);
	if (binding->exact) {
		pack_u64(packer, binding->hash.high);
		pack_u64(packer, binding->hash.low);
	} else {
		pack_bytes(packer, bytes_of(binding->prefix, binding->prefix_size));
	}
}

static void binding_decode(struct unpacker *unpacker, struct map_binding *binding)
{
	binding->policy = unpack_u64(unpacker);
	binding->pending_operation = unpack_u64(unpacker);
	binding->exact = unpack_flag(unpacker);
	if (binding->exact) {
		binding->hash.high = unpack_u64(unpacker);
		binding->hash.low = unpack_u64(unpacker);
		return;
	}
	struct bytes prefix = unpack_bytes(unpacker, sizeof(binding->prefix));
	binding->prefix_size = (uint16_t)prefix.size;
	if (prefix.size > 0)
		memcpy(binding->prefix, prefix.data, prefix.size);
}

static void replicas_encode(const struct map_replica *replicas, uint8_t count, struct packer *packer)
{
	assert(count <= REPLICAS_MAX);
	pack_u8(packer, count);
	for (unsigned i = 0; i < count; i++) {
		pack_u64(packer, replicas[i].replica);
		pack_u64(packer, replicas[i].node);
		pack_u8(packer, replicas[i].role);
	}
}

static uint8_t replicas_decode(struct unpacker *unpacker, struct map_replica *replicas)
{
	uint8_t count = unpack_bounded(unpacker, 0, REPLICAS_MAX);
	for (unsigned i = 0; i < count; i++) {
		replicas[i].replica = unpack_u64(unpacker);
		replicas[i].node = unpack_u64(unpacker);
		replicas[i].role = unpack_bounded(unpacker, ROLE_NONE, ROLE_WITNESS);
	}
	return count;
}

static void shard_encode(const struct map_shard *shard, struct packer *packer)
{
	pack_u64(packer, shard->id);
	pack_u64(packer, shard->policy);
	pack_u64(packer, shard->hash_first);
	pack_u64(packer, shard->hash_last);
	pack_u64(packer, shard->range_epoch);
	pack_u64(packer, shard->generation);
	pack_u64(packer, shard->membership_index);
	pack_u64(packer, shard->wanted_epoch);
	replicas_encode(shard->replicas, shard->replica_count, packer);
	replicas_encode(shard->wanted, shard->wanted_count, packer);
	pack_u8(packer, shard->birth_rule.voters);
	pack_u8(packer, shard->birth_rule.regions);
	pack_u8(packer, shard->birth_rule.copies);
	pack_u8(packer, shard->birth_rule.areas);
	pack_u8(packer, shard->birth_rule.degrade);
	pack_u8(packer, shard->member_count);
	pack_bytes(packer, bytes_of(shard->birth_areas, sizeof(shard->birth_areas)));
	pack_u64(packer, shard->lead_wanted);
	pack_u64(packer, shard->operation);
}

static void shard_decode(struct unpacker *unpacker, struct map_shard *shard)
{
	shard->id = unpack_u64(unpacker);
	shard->policy = unpack_u64(unpacker);
	shard->hash_first = unpack_u64(unpacker);
	shard->hash_last = unpack_u64(unpacker);
	if (map_shard_empty(shard) && (shard->hash_first != UINT64_MAX || shard->hash_last != 0))
		unpacker->bad = true;
	shard->range_epoch = unpack_u64(unpacker);
	shard->generation = unpack_u64(unpacker);
	shard->membership_index = unpack_u64(unpacker);
	shard->wanted_epoch = unpack_u64(unpacker);
	shard->replica_count = replicas_decode(unpacker, shard->replicas);
	shard->wanted_count = replicas_decode(unpacker, shard->wanted);
	shard->birth_rule.voters = unpack_u8(unpacker);
	shard->birth_rule.regions = unpack_u8(unpacker);
	shard->birth_rule.copies = unpack_u8(unpacker);
	shard->birth_rule.areas = unpack_u8(unpacker);
	shard->birth_rule.degrade = unpack_bounded(unpacker, DEGRADE_NEVER, DEGRADE_MAY);
	shard->member_count = unpack_bounded(unpacker, 0, shard->replica_count);
	struct bytes areas = unpack_bytes(unpacker, sizeof(shard->birth_areas));
	if (areas.size == sizeof(shard->birth_areas))
		memcpy(shard->birth_areas, areas.data, areas.size);
	else
		unpacker->bad = true;
	shard->lead_wanted = unpack_u64(unpacker);
	shard->operation = unpack_u64(unpacker);
}

static void policies_encode(const uint64_t policies[], uint8_t count, struct packer *packer)
{
	assert(count <= OPERATION_POLICIES_MAX);
	pack_u8(packer, count);
	for (unsigned i = 0; i < count; i++)
		pack_u64(packer, policies[i]);
}

static uint8_t policies_decode(struct unpacker *unpacker, uint64_t policies[])
{
	uint8_t count = unpack_bounded(unpacker, 0, OPERATION_POLICIES_MAX);
	for (unsigned i = 0; i < count; i++)
		policies[i] = unpack_u64(unpacker);
	return count;
}

static void move_encode(const struct map_operation *operation, struct packer *packer)
{
	pack_u8(packer, operation->phase);
	pack_u64(packer, operation->phase_epoch);
	pack_u64(packer, operation->keys);
	pack_u64(packer, operation->version);
	if (operation_of_range(operation->kind)) {
		pack_u64(packer, operation->shard_from);
		pack_u64(packer, operation->shard_to);
		pack_u64(packer, operation->hash_first);
		pack_u64(packer, operation->hash_last);
		return;
	}
	policies_encode(operation->sources, operation->source_count, packer);
	policies_encode(operation->targets, operation->target_count, packer);
	pack_u8(packer, operation->exact ? 1 : 0);
	pack_u64(packer, operation->hash.high);
	pack_u64(packer, operation->hash.low);
	assert(operation->prefix_size <= BINDING_PREFIX_MAX);
	pack_bytes(packer, bytes_of(operation->prefix, operation->prefix_size));
}

static void move_decode(struct unpacker *unpacker, struct map_operation *operation)
{
	operation->phase =
		unpack_bounded(unpacker, operation->kind == OPERATION_SPLIT ? PHASE_BIRTH : PHASE_FENCE, PHASE_ABORT);
	operation->phase_epoch = unpack_u64(unpacker);
	operation->keys = unpack_u64(unpacker);
	operation->version = unpack_u64(unpacker);
	if (operation_of_range(operation->kind)) {
		operation->shard_from = unpack_u64(unpacker);
		operation->shard_to = unpack_u64(unpacker);
		operation->hash_first = unpack_u64(unpacker);
		operation->hash_last = unpack_u64(unpacker);
		if (operation->hash_first > operation->hash_last)
			unpacker->bad = true;
		return;
	}
	operation->source_count = policies_decode(unpacker, operation->sources);
	operation->target_count = policies_decode(unpacker, operation->targets);
	operation->exact = unpack_bounded(unpacker, 0, 1) == 1;
	operation->hash.high = unpack_u64(unpacker);
	operation->hash.low = unpack_u64(unpacker);
	struct bytes prefix = unpack_bytes(unpacker, BINDING_PREFIX_MAX);
	operation->prefix_size = (uint16_t)prefix.size;
	if (prefix.size > 0)
		memcpy(operation->prefix, prefix.data, prefix.size);
}

static void operation_encode(const struct map_operation *operation, struct packer *packer)
{
	uint16_t done = OPERATION_SHARDS_MAX;
	while (done > 0 && operation->shards_done[done - 1] == 0)
		done--;
	pack_u64(packer, operation->id);
	pack_u8(packer, operation->kind);
	pack_u8(packer, operation->state);
	pack_u64(packer, operation->policy);
	pack_u64(packer, operation->binding_policy);
	pack_u32(packer, operation->steps);
	pack_u32(packer, operation->steps_done);
	pack_u64(packer, operation->started_us);
	pack_u64(packer, operation->ended_us);
	pack_text(packer, operation->text);
	pack_u8(packer, operation->cancelled);
	pack_u64(packer, operation->node);
	pack_u16(packer, operation->region);
	pack_u16(packer, done);
	for (unsigned i = 0; i < done; i++)
		pack_u64(packer, operation->shards_done[i]);
	if (operation_moves_keys(operation->kind))
		move_encode(operation, packer);
}

static void operation_decode(struct unpacker *unpacker, struct map_operation *operation)
{
	operation->id = unpack_u64(unpacker);
	operation->kind = unpack_bounded(unpacker, OPERATION_POLICY, OPERATION_REBALANCE);
	operation->state = unpack_bounded(unpacker, OPERATION_RUNNING, OPERATION_FAILED);
	operation->policy = unpack_u64(unpacker);
	operation->binding_policy = unpack_u64(unpacker);
	operation->steps = unpack_u32(unpacker);
	operation->steps_done = unpack_u32(unpacker);
	operation->started_us = unpack_u64(unpacker);
	operation->ended_us = unpack_u64(unpacker);
	unpack_text(unpacker, operation->text, sizeof(operation->text));
	operation->cancelled = unpack_bounded(unpacker, 0, 1) == 1;
	operation->node = unpack_u64(unpacker);
	operation->region = unpack_u16(unpacker);
	uint16_t done = unpack_u16(unpacker);
	if (done > OPERATION_SHARDS_MAX)
		unpacker->bad = true;
	for (unsigned i = 0; !unpacker->bad && i < done; i++)
		operation->shards_done[i] = unpack_u64(unpacker);
	if (operation_moves_keys(operation->kind))
		move_decode(unpacker, operation);
}

static void version_encode(const struct policy_version *version, struct packer *packer)
{
	policy_encode(&version->rules, packer);
	pack_u64(packer, version->since_us);
	pack_u64(packer, version->until_epoch);
	pack_u64(packer, version->until_us);
}

static enum status version_decode(struct unpacker *unpacker, struct policy_version *version)
{
	*version = (struct policy_version){ 0 };
	enum status status = policy_decode(unpacker, &version->rules);
	version->since_us = unpack_u64(unpacker);
	version->until_epoch = unpack_u64(unpacker);
	version->until_us = unpack_u64(unpacker);
	if (version->until_epoch <= version->rules.epoch)
		unpacker->bad = true;
	return status;
}

static void former_encode(const struct map_former *former, struct packer *packer)
{
	pack_u64(packer, former->id);
	pack_u64(packer, former->incarnation);
	pack_text(packer, former->place.text);
	ledger_head_encode(&former->ledger, packer);
	pack_u64(packer, former->gone_us);
}

static void former_decode(struct unpacker *unpacker, struct map_former *former)
{
	*former = (struct map_former){ .id = unpack_u64(unpacker) };
	former->incarnation = unpack_u64(unpacker);
	unpack_place(unpacker, &former->place);
	ledger_head_decode(unpacker, &former->ledger);
	former->gone_us = unpack_u64(unpacker);
}

/* --- the map ---------------------------------------------------------------------------------------------- */

void cluster_map_encode(const struct cluster_map *map, struct packer *packer)
{
	pack_u8(packer, MAP_VERSION);
	pack_u64(packer, map->epoch);
	pack_raw(packer, map->cluster, sizeof(map->cluster));
	pack_text(packer, map->name);
	pack_raw(packer, map->hash_secret, sizeof(map->hash_secret));
	pack_raw(packer, map->admin_spki_sha256, sizeof(map->admin_spki_sha256));
	pack_u64(packer, map->id_next);
	pack_u32(packer, map->region_count);
	for (uint32_t i = 0; i < map->region_count; i++)
		region_encode(&map->regions[i], packer);
	pack_u32(packer, map->node_count);
	for (uint32_t i = 0; i < map->node_count; i++)
		node_encode(&map->nodes[i], packer);
	pack_u32(packer, map->former_count);
	for (uint32_t i = 0; i < map->former_count; i++)
		former_encode(&map->formers[i], packer);
	pack_u32(packer, map->policy_count);
	for (uint32_t i = 0; i < map->policy_count; i++)
		policy_encode(&map->policies[i], packer);
	for (uint32_t i = 0; i < map->policy_count; i++)
		pack_u64(packer, map->policies[i].changed_us);
	pack_u32(packer, map->version_count);
	for (uint32_t i = 0; i < map->version_count; i++)
		version_encode(&map->versions[i], packer);
	pack_u32(packer, map->binding_count);
	for (uint32_t i = 0; i < map->binding_count; i++)
		binding_encode(&map->bindings[i], packer);
	pack_u32(packer, map->shard_count);
	for (uint32_t i = 0; i < map->shard_count; i++)
		shard_encode(&map->shards[i], packer);
	pack_u32(packer, map->operation_count);
	for (uint32_t i = 0; i < map->operation_count; i++)
		operation_encode(&map->operations[i], packer);
}

/* The map's limits are this node's own; a count beyond them may be honest, so it has its own status. */
static uint32_t unpack_count(struct unpacker *unpacker, uint32_t max, bool *too_large)
{
	uint32_t count = unpack_u32(unpacker);
	if (count > max && !unpacker->bad) {
		*too_large = true;
		unpacker->bad = true;
	}
	return unpacker->bad ? 0 : count;
}

static bool shards_in_order(const struct map_shard *before, const struct map_shard *after)
{
	if (before->policy != after->policy)
		return before->policy < after->policy;
	if (map_shard_empty(before))
		return map_shard_empty(after) && before->id < after->id;
	return map_shard_empty(after) || before->hash_last < after->hash_first;
}

/* The newest, as many as there is room for: nothing else hangs on them. */
static void formers_decode(struct unpacker *unpacker, struct cluster_map *map)
{
	struct map_former surplus;
	uint32_t count = unpack_u32(unpacker);
	if (count > MAP_FORMERS_MAX)
		unpacker->bad = true;
	for (uint32_t i = 0; !unpacker->bad && i < count; i++) {
		bool kept = count - i <= map->former_max;
		former_decode(unpacker, kept ? &map->formers[map->former_count] : &surplus);
		map->former_count += kept && !unpacker->bad;
	}
}

static void regions_and_nodes_decode(struct unpacker *unpacker, struct cluster_map *map, bool *too_large)
{
	uint32_t count = unpack_count(unpacker, map->region_max, too_large);
	for (; !unpacker->bad && map->region_count < count; map->region_count++) {
		map->regions[map->region_count] = (struct map_region){ 0 };
		region_decode(unpacker, &map->regions[map->region_count]);
	}
	count = unpack_count(unpacker, map->node_max, too_large);
	for (; !unpacker->bad && map->node_count < count; map->node_count++) {
		map->nodes[map->node_count] = (struct map_node){ 0 };
		node_decode(unpacker, map, &map->nodes[map->node_count]);
	}
	formers_decode(unpacker, map);
}

/* Likewise. */
static void versions_decode(struct unpacker *unpacker, struct cluster_map *map, enum status *status)
{
	struct policy_version surplus;
	uint32_t count = unpack_u32(unpacker);
	if (count > MAP_VERSIONS_MAX)
		unpacker->bad = true;
	for (uint32_t i = 0; !unpacker->bad && i < count; i++) {
		bool kept = count - i <= map->version_max;
		*status = version_decode(unpacker, kept ? &map->versions[map->version_count] : &surplus);
		map->version_count += kept && !unpacker->bad;
	}
}

static void rules_decode(struct unpacker *unpacker, struct cluster_map *map, bool *too_large, enum status *status)
{
	uint32_t count = unpack_count(unpacker, map->policy_max, too_large);
	for (; !unpacker->bad && map->policy_count < count; map->policy_count++)
		*status = policy_decode(unpacker, &map->policies[map->policy_count]);
	for (uint32_t i = 0; i < map->policy_count; i++)
		map->policies[i].changed_us = unpack_u64(unpacker);
	versions_decode(unpacker, map, status);
	count = unpack_count(unpacker, map->binding_max, too_large);
	for (uint32_t i = 0; !unpacker->bad && i < count; map->binding_count = ++i) {
		map->bindings[i] = (struct map_binding){ 0 };
		binding_decode(unpacker, &map->bindings[i]);
		if (i > 0 && map_binding_compare(&map->bindings[i - 1], &map->bindings[i]) >= 0)
			unpacker->bad = true;
	}
}

static void shards_decode(struct unpacker *unpacker, struct cluster_map *map, bool *too_large)
{
	uint32_t count = unpack_count(unpacker, map->shard_max, too_large);
	for (uint32_t i = 0; !unpacker->bad && i < count; map->shard_count = ++i) {
		map->shards[i] = (struct map_shard){ 0 };
		shard_decode(unpacker, &map->shards[i]);
		if (i > 0 && !shards_in_order(&map->shards[i - 1], &map->shards[i]))
			unpacker->bad = true;
	}
	count = unpack_count(unpacker, map->operation_max, too_large);
	for (; !unpacker->bad && map->operation_count < count; map->operation_count++) {
		map->operations[map->operation_count] = (struct map_operation){ 0 };
		operation_decode(unpacker, &map->operations[map->operation_count]);
	}
}

/* The identity is gone too: an empty map has no secret. Limits and arrays stay. */
static void map_empty(struct cluster_map *map)
{
	map->epoch = map->id_next = 0;
	memset(map->cluster, 0, sizeof(map->cluster));
	memset(map->name, 0, sizeof(map->name));
	memset(map->hash_secret, 0, sizeof(map->hash_secret));
	memset(map->admin_spki_sha256, 0, sizeof(map->admin_spki_sha256));
	map->region_count = map->node_count = map->policy_count = map->former_count = 0;
	map->binding_count = map->shard_count = map->operation_count = map->version_count = 0;
}

enum status cluster_map_decode(struct bytes bytes, struct cluster_map *map)
{
	struct unpacker unpacker;
	enum status status = STATUS_OK;
	bool too_large = false;
	map_empty(map);
	unpack_init(&unpacker, bytes);
	uint8_t version = unpack_u8(&unpacker);
	if (unpacker.bad || version == 0)
		return STATUS_INVALID;
	if (version != MAP_VERSION)
		return STATUS_UNSUPPORTED;
	map->epoch = unpack_u64(&unpacker);
	unpack_into(&unpacker, map->cluster, sizeof(map->cluster));
	unpack_text(&unpacker, map->name, sizeof(map->name));
	unpack_into(&unpacker, map->hash_secret, sizeof(map->hash_secret));
	unpack_into(&unpacker, map->admin_spki_sha256, sizeof(map->admin_spki_sha256));
	map->id_next = unpack_u64(&unpacker);
	regions_and_nodes_decode(&unpacker, map, &too_large);
	rules_decode(&unpacker, map, &too_large, &status);
	shards_decode(&unpacker, map, &too_large);
	if (status == STATUS_OK && unpack_end(&unpacker))
		return STATUS_OK;
	map_empty(map);
	if (status == STATUS_OK)
		status = too_large ? STATUS_TOO_LARGE : STATUS_INVALID;
	return status;
}
