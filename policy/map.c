/* policy/map.c: see policy/map.h: the map's memory and the questions asked of it. Its bytes are in map_codec.c.
 *
 * Who reads asks once per key, so bindings and shards are found by bisection of their sorted arrays: prefixes by the
 * lengths that occur, longest first. Nothing here remembers anything between calls. */
#include "policy/map.h"

#include <assert.h>
#include <string.h>

const struct map_limits map_limits_default = {
	.regions = MAP_REGIONS_MAX,
	.nodes = MAP_NODES_MAX,
	.policies = MAP_POLICIES_MAX,
	.bindings = MAP_BINDINGS_MAX,
	.shards = MAP_SHARDS_MAX,
	.operations = MAP_OPERATIONS_MAX,
	.versions = MAP_VERSIONS_MAX,
	.formers = MAP_FORMERS_MAX,
};

/* --- memory ---------------------------------------------------------------------------------------- */

static size_t aligned(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

/* The next array of the block; counts only while block is NULL. */
static void *carve(uint8_t *block, size_t *at, size_t item_size, uint32_t count)
{
	void *array = block ? block + *at : NULL;
	assert(*at % 8 == 0);
	*at += aligned(item_size * count);
	return array;
}

static size_t lay_out(struct cluster_map *map, uint8_t *block, const struct map_limits *limits)
{
	size_t at = aligned(sizeof(struct cluster_map));
	map->regions = carve(block, &at, sizeof(*map->regions), limits->regions);
	map->nodes = carve(block, &at, sizeof(*map->nodes), limits->nodes);
	map->policies = carve(block, &at, sizeof(*map->policies), limits->policies);
	map->bindings = carve(block, &at, sizeof(*map->bindings), limits->bindings);
	map->shards = carve(block, &at, sizeof(*map->shards), limits->shards);
	map->operations = carve(block, &at, sizeof(*map->operations), limits->operations);
	map->versions = carve(block, &at, sizeof(*map->versions), limits->versions);
	map->formers = carve(block, &at, sizeof(*map->formers), limits->formers);
	return at;
}

size_t cluster_map_size(const struct map_limits *limits)
{
	struct cluster_map map;
	return lay_out(&map, NULL, limits);
}

struct cluster_map *cluster_map_init(void *memory, const struct map_limits *limits)
{
	assert(memory);
	assert((uintptr_t)memory % 8 == 0);
	struct cluster_map *map = memory;
	*map = (struct cluster_map){
		.region_max = limits->regions,
		.node_max = limits->nodes,
		.policy_max = limits->policies,
		.binding_max = limits->bindings,
		.shard_max = limits->shards,
		.operation_max = limits->operations,
		.version_max = limits->versions,
		.former_max = limits->formers,
	};
	lay_out(map, memory, limits);
	return map;
}

bool cluster_map_copy(const struct cluster_map *map, struct cluster_map *to)
{
	struct cluster_map head = *map;
	bool fits = map->region_count <= to->region_max && map->node_count <= to->node_max &&
		    map->policy_count <= to->policy_max && map->binding_count <= to->binding_max &&
		    map->shard_count <= to->shard_max && map->operation_count <= to->operation_max &&
		    map->version_count <= to->version_max && map->former_count <= to->former_max;
	if (!fits)
		head = (struct cluster_map){ 0 };
	head.region_max = to->region_max;
	head.node_max = to->node_max;
	head.policy_max = to->policy_max;
	head.binding_max = to->binding_max;
	head.shard_max = to->shard_max;
	head.operation_max = to->operation_max;
	head.version_max = to->version_max;
	head.former_max = to->former_max;
	head.regions = to->regions;
	head.nodes = to->nodes;
	head.policies = to->policies;
	head.bindings = to->bindings;
	head.shards = to->shards;
	head.operations = to->operations;
	head.versions = to->versions;
	head.formers = to->formers;
	*to = head;
	memcpy(to->regions, map->regions, to->region_count * sizeof(*to->regions));
	memcpy(to->nodes, map->nodes, to->node_count * sizeof(*to->nodes));
	memcpy(to->policies, map->policies, to->policy_count * sizeof(*to->policies));
	memcpy(to->bindings, map->bindings, to->binding_count * sizeof(*to->bindings));
	memcpy(to->shards, map->shards, to->shard_count * sizeof(*to->shards));
	memcpy(to->operations, map->operations, to->operation_count * sizeof(*to->operations));
	memcpy(to->versions, map->versions, to->version_count * sizeof(*to->versions));
	memcpy(to->formers, map->formers, to->former_count * sizeof(*to->formers));
	return fits;
}

/* --- regions, nodes, policies ------------------------------------------------------------------------ */

const char *address_for(const struct address_list *list, const struct place *dialler)
{
	assert(list->count <= ADDRESSES_MAX);
	const char *address = NULL;
	size_t longest = 0;
	for (unsigned i = 0; i < list->count; i++) {
		const struct address_from *at = &list->at[i];
		size_t size = strlen(at->from);
		if (size > 0 && !place_within(dialler, at->from))
			continue;
		if (!address || size > longest) {
			address = at->address;
			longest = size;
		}
	}
	return address;
}

const struct map_region *map_region_find(const struct cluster_map *map, const char *name_or_place)
{
	for (uint32_t i = 0; i < map->region_count; i++) {
		const struct map_region *region = &map->regions[i];
		if (strcmp(region->name, name_or_place) == 0 || strcmp(region->site.place.text, name_or_place) == 0)
			return region;
	}
	return NULL;
}

const struct map_region *map_region_of(const struct cluster_map *map, const struct place *place)
{
	for (uint32_t i = 0; i < map->region_count; i++)
		if (place_within(place, map->regions[i].site.place.text))
			return &map->regions[i];
	return NULL;
}

bool map_site(const struct cluster_map *map, const struct place *place, struct site *site)
{
	const struct map_region *region = map_region_of(map, place);
	if (!region)
		return false;
	*site = region->site;
	site->place = *place;
	return true;
}

/* Ids are given in the order of arrival, and so are the arrays mostly in order of id: bisection finds it then. Where
 * they are not (shards stand by policy and hash), or when there is none, every item is looked at. */
static const void *find_by_id(const void *items, uint32_t count, size_t item_size, size_t id_at, uint64_t id)
{
	const uint8_t *from = items;
	uint64_t found;
	assert(id_at + sizeof(found) <= item_size);
	uint32_t first = 0;
	for (uint32_t end = count; first < end;) {
		uint32_t middle = first + (end - first) / 2;
		memcpy(&found, from + middle * item_size + id_at, sizeof(found));
		if (found == id)
			return from + middle * item_size;
		if (found < id)
			first = middle + 1;
		else
			end = middle;
	}
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&found, from + i * item_size + id_at, sizeof(found));
		if (found == id)
			return from + i * item_size;
	}
	return NULL;
}

const struct map_node *map_node_find(const struct cluster_map *map, uint64_t id)
{
	return find_by_id(map->nodes, map->node_count, sizeof(*map->nodes), offsetof(struct map_node, id), id);
}

bool map_node_takes_replicas(const struct cluster_map *map, const struct map_node *node)
{
	assert(node->region < map->region_count);
	return node->state < NODE_DRAINING && map->regions[node->region].state == REGION_ACTIVE;
}

bool map_node_takes_leads(const struct cluster_map *map, const struct map_node *node)
{
	return node->state == NODE_ACTIVE && map_node_takes_replicas(map, node);
}

bool map_node_fenced(const struct cluster_map *map, uint64_t node)
{
	const struct map_node *there = map_node_find(map, node);
	return there && map->regions[there->region].state == REGION_FENCED;
}

const struct map_shard *map_shard_on(const struct cluster_map *map, uint64_t node)
{
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		for (unsigned j = 0; j < shard->replica_count; j++)
			if (shard->replicas[j].node == node)
				return shard;
		for (unsigned j = 0; j < shard->wanted_count; j++)
			if (shard->wanted[j].node == node)
				return shard;
	}
	return NULL;
}

/* Whether text is the place's last components, whole ones. */
static bool ends_with(const struct place *place, const char *text)
{
	size_t size = strlen(text);
	size_t place_size = strlen(place->text);
	if (size == 0 || size > place_size || strcmp(place->text + place_size - size, text) != 0)
		return false;
	return size == place_size || place->text[place_size - size - 1] == '/';
}

const struct map_node *map_node_by_place(const struct cluster_map *map, const char *place_or_last_components)
{
	const struct map_node *found = NULL;
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		if (strcmp(node->place.text, place_or_last_components) == 0)
			return node;
		if (!ends_with(&node->place, place_or_last_components))
			continue;
		if (found)
			return NULL; /* more than one: say which */
		found = node;
	}
	return found;
}

const struct policy *map_policy_find(const struct cluster_map *map, uint64_t id)
{
	return find_by_id(map->policies, map->policy_count, sizeof(*map->policies), offsetof(struct policy, id), id);
}

const struct policy *map_policy_by_name(const struct cluster_map *map, const char *name)
{
	for (uint32_t i = 0; i < map->policy_count; i++)
		if (strcmp(map->policies[i].name, name) == 0)
			return &map->policies[i];
	return NULL;
}

const struct policy *map_policy_as_of(
	const struct cluster_map *map, uint64_t policy, uint64_t epoch, uint64_t *since_us, uint64_t *until_us)
{
	const struct policy *now = map_policy_find(map, policy);
	*since_us = *until_us = 0;
	if (now && now->epoch <= epoch) {
		*since_us = now->changed_us;
		return now;
	}
	for (uint32_t i = map->version_count; i > 0; i--) {
		const struct policy_version *version = &map->versions[i - 1];
		if (version->rules.id != policy || version->rules.epoch > epoch || version->until_epoch <= epoch)
			continue;
		*since_us = version->since_us;
		*until_us = version->until_us;
		return &version->rules;
	}
	return NULL;
}

/* --- shards ---------------------------------------------------------------------------------------------- */

const struct map_replica *map_replica_on(const struct map_replica replicas[], unsigned count, uint64_t node)
{
	for (unsigned i = 0; i < count; i++)
		if (replicas[i].node == node)
			return &replicas[i];
	return NULL;
}

const struct map_shard *map_shard_find(const struct cluster_map *map, uint64_t id)
{
	return find_by_id(map->shards, map->shard_count, sizeof(*map->shards), offsetof(struct map_shard, id), id);
}

const struct map_shard *map_shard_of(const struct cluster_map *map, uint64_t policy, struct bytes key)
{
	uint64_t hash = hash_key(key);
	uint32_t first = 0; /* of those beyond (policy, hash) */
	for (uint32_t end = map->shard_count; first < end;) {
		uint32_t middle = first + (end - first) / 2;
		const struct map_shard *shard = &map->shards[middle];
		bool beyond = shard->policy != policy ? shard->policy > policy
						      : map_shard_empty(shard) || shard->hash_first > hash;
		if (beyond)
			end = middle;
		else
			first = middle + 1;
	}
	if (first == 0)
		return NULL;
	const struct map_shard *shard = &map->shards[first - 1];
	return shard->policy == policy && map_shard_has(shard, hash) ? shard : NULL;
}

/* --- bindings ---------------------------------------------------------------------------------------------- */

int map_binding_compare(const struct map_binding *a, const struct map_binding *b)
{
	if (a->exact != b->exact)
		return a->exact ? -1 : 1;
	if (a->exact) {
		if (a->hash.high != b->hash.high)
			return a->hash.high < b->hash.high ? -1 : 1;
		return (a->hash.low > b->hash.low) - (a->hash.low < b->hash.low);
	}
	assert(a->prefix_size <= BINDING_PREFIX_MAX);
	assert(b->prefix_size <= BINDING_PREFIX_MAX);
	if (a->prefix_size != b->prefix_size)
		return a->prefix_size > b->prefix_size ? -1 : 1;
	return a->prefix_size == 0 ? 0 : memcmp(a->prefix, b->prefix, a->prefix_size);
}

static struct bytes prefix_of(const struct map_binding *binding)
{
	return bytes_of(binding->prefix, binding->prefix_size);
}

/* The first binding from `first` on that is a prefix of at most `size` bytes. */
static uint32_t first_no_longer(const struct cluster_map *map, uint32_t first, size_t size)
{
	for (uint32_t end = map->binding_count; first < end;) {
		uint32_t middle = first + (end - first) / 2;
		const struct map_binding *binding = &map->bindings[middle];
		if (binding->exact || binding->prefix_size > size)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

/* Among bindings[first..end), all prefixes of one length: the one that equals; NULL. */
static const struct map_binding *prefix_among(
	const struct cluster_map *map, uint32_t first, uint32_t end, struct bytes prefix)
{
	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		int order = bytes_compare(prefix_of(&map->bindings[middle]), prefix);
		if (order == 0)
			return &map->bindings[middle];
		if (order < 0)
			first = middle + 1;
		else
			end = middle;
	}
	return NULL;
}

const struct map_binding *map_binding_by_prefix(const struct cluster_map *map, struct bytes prefix)
{
	uint32_t first = first_no_longer(map, 0, prefix.size);
	uint32_t end = prefix.size == 0 ? map->binding_count : first_no_longer(map, first, prefix.size - 1);
	return prefix_among(map, first, end, prefix);
}

const struct map_binding *map_binding_by_hash(const struct cluster_map *map, struct hash128 hash)
{
	struct map_binding wanted;
	wanted.exact = true;
	wanted.hash = hash;
	uint32_t first = 0;
	for (uint32_t end = map->binding_count; first < end;) {
		uint32_t middle = first + (end - first) / 2;
		int order = map_binding_compare(&map->bindings[middle], &wanted);
		if (order == 0)
			return &map->bindings[middle];
		if (order < 0)
			first = middle + 1;
		else
			end = middle;
	}
	return NULL;
}

enum binding_wanted { BINDING_IN_FORCE, BINDING_PENDING, BINDING_PREFIX_IN_FORCE };

/* The closest binding that covers the key and is in force; or, with BINDING_PENDING, the closest of all if that one is
 * pending. */
static const struct map_binding *closest(const struct cluster_map *map, struct bytes key, enum binding_wanted wanted)
{
	bool any = wanted == BINDING_PENDING;
	bool exact_exist = map->binding_count > 0 && map->bindings[0].exact;
	if (exact_exist && wanted != BINDING_PREFIX_IN_FORCE) {
		const struct map_binding *binding = map_binding_by_hash(map, hash_keyed(key, map->hash_secret));
		if (binding && (any || map_binding_in_force(map, binding)))
			return binding;
	}
	size_t size = key.size;
	uint32_t first = first_no_longer(map, 0, size);
	while (first < map->binding_count) {
		size = map->bindings[first].prefix_size;
		uint32_t end = size == 0 ? map->binding_count : first_no_longer(map, first, size - 1);
		const struct map_binding *binding = prefix_among(map, first, end, bytes_of(key.data, size));
		if (binding && (any || map_binding_in_force(map, binding)))
			return binding;
		assert(end > first);
		first = end;
	}
	return NULL;
}

const struct map_binding *map_binding_of(const struct cluster_map *map, struct bytes key)
{
	return closest(map, key, BINDING_IN_FORCE);
}

const struct map_binding *map_binding_pending_of(const struct cluster_map *map, struct bytes key)
{
	const struct map_binding *binding = closest(map, key, BINDING_PENDING);
	return binding && binding->pending_operation != 0 ? binding : NULL;
}

/* Into the sorted policies, once. False: no room. */
static bool insert_policy(uint64_t *policies, unsigned *count, unsigned max, uint64_t policy)
{
	unsigned at = 0;
	for (unsigned end = *count; at < end;) {
		unsigned middle = at + (end - at) / 2;
		if (policies[middle] < policy)
			at = middle + 1;
		else
			end = middle;
	}
	if (at < *count && policies[at] == policy)
		return true;
	if (*count == max)
		return false;
	memmove(policies + at + 1, policies + at, (*count - at) * sizeof(*policies));
	policies[at] = policy;
	(*count)++;
	return true;
}

unsigned map_policies_under(const struct cluster_map *map, struct bytes prefix, uint64_t *policies, unsigned max)
{
	assert(policies || max == 0);
	unsigned count = 0;
	const struct map_binding *own = closest(map, prefix, BINDING_PREFIX_IN_FORCE);
	if (own && !insert_policy(policies, &count, max, own->policy))
		return max + 1;
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		bool below = binding->exact || bytes_starts_with(prefix_of(binding), prefix);
		if (!below || !map_binding_in_force(map, binding))
			continue;
		if (!insert_policy(policies, &count, max, binding->policy))
			return max + 1;
	}
	assert(count <= max);
	return count;
}
