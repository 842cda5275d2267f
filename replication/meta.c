/* replication/meta.c: see replication/meta.h: dispatch; regions, nodes, shards and reports. Policies and bindings are
 * in meta_rules.c, invariants and digest in meta_check.c.
 *
 * Each change is judged whole before the map is touched, so a refused one has nothing to undo. The epoch grows by one
 * with each change that is taken; a report that repeats what is known is OK and is not a change. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "base/text.h"

enum { META_GROUP_ID = 1, FIRST_NODE_ID = 2, FIRST_REPLICA_ID = 3, META_VOTERS_MAX = 5, NODE_DEPTH = 2 };

/* --- refusals --------------------------------------------------------------------------------------- */

struct number meta_number(uint64_t number)
{
	struct number out;
	struct text text;
	text_init(&text, out.text, sizeof(out.text));
	text_add_u64(&text, number);
	return out;
}

static void join(char *out, size_t capacity, const char *const parts[])
{
	struct text text;
	text_init(&text, out, capacity);
	for (; *parts; parts++)
		text_add(&text, *parts);
}

bool meta_refuse(struct meta_result *result, enum status status, uint32_t line, const char *const reason[],
	const char *const cure[])
{
	assert(status != STATUS_OK);
	result->status = status;
	result->flaw = (struct flaw){ .line = line };
	join(result->flaw.reason, sizeof(result->flaw.reason), reason);
	join(result->flaw.cure, sizeof(result->flaw.cure), cure);
	return false;
}

bool meta_refuse_flaw(struct meta_result *result, enum status status, uint32_t line)
{
	assert(status != STATUS_OK);
	assert(result->flaw.reason[0] != 0);
	result->status = status;
	if (result->flaw.line == 0)
		result->flaw.line = line;
	return false;
}

/* --- regions and nodes -------------------------------------------------------------------------------- */

static bool ended(const char *text, size_t capacity)
{
	return memchr(text, 0, capacity) != NULL;
}

static bool judge_coordinates(const struct map_region *region, struct meta_result *result)
{
	bool given = region->latitude == region->latitude && region->longitude == region->longitude; /* not NAN */
	bool on_earth = region->latitude >= -90 && region->latitude <= 90 && region->longitude >= -180 &&
			region->longitude <= 180;
	if (given && !on_earth)
		return meta_refuse(result, STATUS_INVALID, 0, TEXTS("the region's coordinates are not on earth"),
			TEXTS("give latitude -90..90 and longitude -180..180, or neither"));
	return true;
}

static bool judge_tags(const struct map_region *region, struct meta_result *result)
{
	if (region->site.tag_count > TAGS_MAX)
		return meta_refuse(result, STATUS_INVALID, 0, TEXTS("a region has at most 8 tags"), TEXTS("drop some"));
	for (unsigned i = 0; i < region->site.tag_count; i++) {
		struct selector selector;
		const char *why = "it is too long";
		bool whole = ended(region->site.tags[i], TAG_TEXT_MAX);
		bool parsed = whole && selector_parse(region->site.tags[i], &selector, &why);
		if (parsed && selector.kind != SELECTOR_TAG)
			why = "it has no =";
		if (!parsed || selector.kind != SELECTOR_TAG)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("a tag of the region is no key=value: ", why), TEXTS("write it like cloud=aws"));
	}
	return true;
}

/* The region by itself and against those that are there. */
static bool judge_region(const struct cluster_map *map, const struct map_region *region, struct meta_result *result)
{
	struct place place;
	const char *why = "it is too long";
	const char *text = region->site.place.text;
	if (!ended(text, sizeof(region->site.place.text)) || !place_parse(text, &place, &why))
		return meta_refuse(result, STATUS_INVALID, 0, TEXTS("the region's place is no place: ", why),
			TEXTS("write a path, wide to narrow, like eu/ie/eu-west-1"));
	if (place_depth(&place) + NODE_DEPTH > PLACE_DEPTH_MAX)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("the region's place is so deep that no zone and node fit below"),
			TEXTS("use at most 6 components"));
	if (region->ca_size == 0 || region->ca_size > CERTIFICATE_SIZE_MAX)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("region ", text, " comes without the certificate of its CA"),
			TEXTS("give it with --ca FILE"));
	if (!judge_tags(region, result) || !judge_coordinates(region, result))
		return false;
	if (map->region_count == map->region_max)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("the cluster has ", meta_number(map->region_count).text, " regions, the most it takes"),
			TEXTS("use the regions that are there"));
	for (uint32_t i = 0; i < map->region_count; i++) {
		const struct map_region *other = &map->regions[i];
		if (place_within(&place, other->site.place.text) || place_within(&other->site.place, place.text))
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS("region ", text, " and the registered ", other->site.place.text,
					" contain one another"),
				TEXTS("register places apart from one another; a region is a leaf, `eu` is not"));
		if (strcmp(place_last(&place), other->name) == 0)
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS("the name ", other->name, " is taken by region ", other->site.place.text),
				TEXTS("make the last component of the place unique in the cluster"));
	}
	return true;
}

/* A place with tags may turn a rule that named a tag into a looser one than the rule around it. */
static bool judge_region_against_bindings(
	const struct cluster_map *map, const struct map_region *region, struct meta_result *result)
{
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *inner = &map->bindings[i];
		if (inner->exact)
			continue;
		const struct map_binding *outer = meta_binding_around(map, bytes_of(inner->prefix, inner->prefix_size));
		if (!outer || outer->policy == inner->policy)
			continue;
		const struct policy *a = map_policy_find(map, inner->policy), *b = map_policy_find(map, outer->policy);
		assert(a);
		assert(b);
		const struct site *site = &region->site;
		bool loosens = (policy_may_store(a, site) && !policy_may_store(b, site)) ||
			       (policy_may_read(a, site) && !policy_may_read(b, site)) ||
			       (policy_may_write(a, site) && !policy_may_write(b, site));
		if (loosens)
			return meta_refuse(result, STATUS_RESIDENCY_REFUSED, 0,
				TEXTS("in region ", site->place.text, " policy ", a->name, " would allow what ",
					b->name, " around it forbids"),
				TEXTS("narrow ", a->name,
					" first, or register the region without the tag that it names"));
	}
	return true;
}

static void region_add(struct cluster_map *map, const struct map_region *from)
{
	assert(map->region_count < map->region_max);
	struct map_region *region = &map->regions[map->region_count++];
	memset(region, 0, sizeof(*region));
	bool parsed = place_parse(from->site.place.text, &region->site.place, NULL);
	assert(parsed);
	const char *name = place_last(&region->site.place);
	assert(strlen(name) < sizeof(region->name));
	memcpy(region->name, name, strlen(name));
	region->site.tag_count = from->site.tag_count;
	for (unsigned i = 0; i < from->site.tag_count; i++)
		memcpy(region->site.tags[i], from->site.tags[i], strlen(from->site.tags[i]));
	region->latitude = from->latitude;
	region->longitude = from->longitude;
	memcpy(region->spki_sha256, from->spki_sha256, sizeof(region->spki_sha256));
	region->ca_size = from->ca_size;
	memcpy(region->ca_der, from->ca_der, from->ca_size);
}

static bool judge_addresses(const struct address_list *list, struct meta_result *result)
{
	bool good = list->count > 0 && list->count <= ADDRESSES_MAX;
	for (unsigned i = 0; good && i < list->count; i++)
		good = list->at[i].address[0] != 0 && ended(list->at[i].address, ADDRESS_TEXT_MAX) &&
		       ended(list->at[i].from, SELECTOR_TEXT_MAX);
	if (!good)
		return meta_refuse(result, STATUS_INVALID, 0, TEXTS("the node says no address at which it is reached"),
			TEXTS("set `advertise` in its configuration"));
	return true;
}

/* The node's place is a registered region's path plus zone and node, exactly. */
static bool judge_node_place(const struct map_region *region, const struct place *place, struct meta_result *result)
{
	struct place parsed;
	const char *why = "it is too long";
	if (!ended(place->text, sizeof(place->text)) || !place_parse(place->text, &parsed, &why))
		return meta_refuse(result, STATUS_INVALID, 0, TEXTS("the node's place is no place: ", why),
			TEXTS("write it like eu/ie/eu-west-1/a/n1"));
	if (!region)
		return meta_refuse(result, STATUS_NOT_FOUND, 0,
			TEXTS("the place ", place->text, " lies in no registered region"),
			TEXTS("register its region first: domctl region add"));
	if (!place_within(&parsed, region->site.place.text) ||
		place_depth(&parsed) != place_depth(&region->site.place) + NODE_DEPTH)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("the place ", place->text, " is not zone and node below region ",
				region->site.place.text),
			TEXTS("name the node ", region->site.place.text, "/ZONE/NODE"));
	return true;
}

static struct map_node *node_add(struct cluster_map *map, const struct map_node *from, uint16_t region)
{
	assert(map->node_count < map->node_max);
	assert(region < map->region_count);
	struct map_node *node = &map->nodes[map->node_count++];
	memset(node, 0, sizeof(*node));
	node->id = map->id_next++;
	node->meta_replica = map->id_next++;
	node->incarnation = from->incarnation;
	bool parsed = place_parse(from->place.text, &node->place, NULL);
	assert(parsed);
	node->region = region;
	node->addresses = from->addresses;
	return node;
}

static bool apply_init(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	if (map->epoch != 0)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("this cluster exists already: ", map->name),
			TEXTS("start nodes with `join` to have them in it"));
	if (!ended(change->name, sizeof(change->name)) || change->name[0] == 0)
		return meta_refuse(
			result, STATUS_INVALID, 0, TEXTS("a cluster needs a name"), TEXTS("give --name NAME"));
	if (!judge_region(map, &change->region, result) ||
		!judge_node_place(&change->region, &change->node.place, result) ||
		!judge_addresses(&change->node.addresses, result))
		return false;
	result->id = FIRST_NODE_ID;
	if (change->dry_run)
		return true;
	memcpy(map->name, change->name, strlen(change->name) + 1);
	memcpy(map->cluster, change->cluster, sizeof(map->cluster));
	memcpy(map->hash_secret, change->hash_secret, sizeof(map->hash_secret));
	memcpy(map->admin_spki_sha256, change->admin_spki_sha256, sizeof(map->admin_spki_sha256));
	static_assert(META_GROUP_ID + 1 == FIRST_NODE_ID, "ids are given in order");
	map->id_next = FIRST_NODE_ID;
	region_add(map, &change->region);
	struct map_node *node = node_add(map, &change->node, 0);
	node->meta_voter = true;
	node->meta_voting = true;
	assert(node->id == FIRST_NODE_ID);
	assert(node->meta_replica == FIRST_REPLICA_ID);
	return true;
}

static bool apply_region_add(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	if (!judge_region(map, &change->region, result) || !judge_region_against_bindings(map, &change->region, result))
		return false;
	if (!change->dry_run)
		region_add(map, &change->region);
	return true;
}

/* The first node of the region; NULL when it has none or a voter already. */
static struct map_node *voter_candidate(struct cluster_map *map, uint32_t region)
{
	struct map_node *first = NULL;
	for (uint32_t i = 0; i < map->node_count; i++) {
		struct map_node *node = &map->nodes[i];
		if (node->region != region)
			continue;
		if (node->meta_voter)
			return NULL;
		if (!first)
			first = node;
	}
	return first;
}

/* Meta's voters: one a region, odd, at most five. They only ever grow, by two at a time. */
static void choose_meta_voters(struct cluster_map *map)
{
	unsigned voters = 0;
	for (uint32_t i = 0; i < map->node_count; i++)
		voters += map->nodes[i].meta_voter;
	assert(voters % 2 == 1);
	assert(voters <= META_VOTERS_MAX);
	struct map_node *waiting = NULL;
	for (uint32_t region = 0; region < map->region_count && voters < META_VOTERS_MAX; region++) {
		struct map_node *candidate = voter_candidate(map, region);
		if (!candidate)
			continue;
		if (!waiting) {
			waiting = candidate;
			continue;
		}
		waiting->meta_voter = true;
		candidate->meta_voter = true;
		waiting = NULL;
		voters += 2;
	}
}

static bool apply_node_admit(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	const struct map_node *from = &change->node;
	const struct map_region *region =
		ended(from->place.text, sizeof(from->place.text)) ? map_region_of(map, &from->place) : NULL;
	if (!judge_node_place(region, &from->place, result) || !judge_addresses(&from->addresses, result))
		return false;
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		if (!place_equal(&node->place, &from->place))
			continue;
		if (node->incarnation != from->incarnation)
			return meta_refuse(result, STATUS_CONFLICT, 0,
				TEXTS("the place ", node->place.text, " is taken by another incarnation of that node"),
				TEXTS("start the node with its own data directory, or under a place of its own"));
		result->id = node->id;
		*changed = false;
		return true;
	}
	if (map->node_count == map->node_max)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("the cluster has ", meta_number(map->node_count).text, " nodes, the most it takes"),
			TEXTS("use the nodes that are there"));
	result->id = map->id_next;
	if (change->dry_run)
		return true;
	node_add(map, from, (uint16_t)(region - map->regions));
	choose_meta_voters(map);
	return true;
}

static bool address_lists_equal(const struct address_list *a, const struct address_list *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (strcmp(a->at[i].from, b->at[i].from) != 0 || strcmp(a->at[i].address, b->at[i].address) != 0)
			return false;
	return true;
}

static struct map_node *find_node(struct cluster_map *map, uint64_t id)
{
	for (uint32_t i = 0; i < map->node_count; i++)
		if (map->nodes[i].id == id)
			return &map->nodes[i];
	return NULL;
}

static bool refuse_node(struct meta_result *result, uint64_t node)
{
	return meta_refuse(result, STATUS_NOT_FOUND, 0, TEXTS("there is no node ", meta_number(node).text),
		TEXTS("domctl node list shows those there are"));
}

static bool apply_node_addresses(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_node *node = find_node(map, change->node.id);
	if (!node)
		return refuse_node(result, change->node.id);
	if (!judge_addresses(&change->node.addresses, result))
		return false;
	*changed = !address_lists_equal(&node->addresses, &change->node.addresses);
	result->id = node->id;
	if (!change->dry_run && *changed)
		node->addresses = change->node.addresses;
	return true;
}

/* --- meta's own membership ------------------------------------------------------------------------------ */

static bool apply_meta_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	for (unsigned i = 0; i < change->replica_count; i++) {
		const struct map_node *node = map_node_find(map, change->replicas[i].node);
		if (!node || node->meta_replica != change->replicas[i].replica)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("replica ", meta_number(change->replicas[i].replica).text, " is none of meta's"),
				TEXTS("report the membership as it was committed"));
	}
	*changed = false;
	for (uint32_t i = 0; i < map->node_count; i++) {
		struct map_node *node = &map->nodes[i];
		bool voting = false;
		for (unsigned j = 0; j < change->replica_count; j++)
			voting |= change->replicas[j].replica == node->meta_replica &&
				  change->replicas[j].role == ROLE_VOTER;
		*changed |= voting != node->meta_voting;
		if (!change->dry_run)
			node->meta_voting = voting;
	}
	return true;
}

/* Voters first; a group has room for REPLICAS_MAX members, so the nodes beyond that hold no replica of meta. */
void meta_membership_wanted(const struct cluster_map *map, struct membership *membership)
{
	*membership = (struct membership){ 0 };
	struct place zones[REPLICAS_MAX];
	for (unsigned voters = 1; voters != 2; voters = voters == 1 ? 0 : 2) {
		for (uint32_t i = 0; i < map->node_count && membership->count < REPLICAS_MAX; i++) {
			const struct map_node *node = &map->nodes[i];
			if (node->meta_voter != (voters == 1))
				continue;
			uint8_t at = membership->count++, zone = 0;
			zones[at] = place_prefix(&node->place, place_depth(&node->place) - 1);
			while (!place_equal(&zones[zone], &zones[at]))
				zone++;
			membership->at[at] = (struct member){ .replica = node->meta_replica,
				.node = node->id,
				.role_new = node->meta_voter ? ROLE_VOTER : ROLE_LEARNER,
				.region = (uint8_t)node->region,
				.zone = zone };
		}
	}
}

/* --- operations ------------------------------------------------------------------------------------------- */

uint32_t meta_operations_free(const struct cluster_map *map)
{
	uint32_t running = 0;
	for (uint32_t i = 0; i < map->operation_count; i++)
		running += map->operations[i].state == OPERATION_RUNNING;
	return map->operation_max - running;
}

struct map_operation *meta_operation_begin(
	struct cluster_map *map, enum operation_kind kind, uint64_t policy, uint64_t binding_policy, uint64_t now_us)
{
	if (map->operation_count == map->operation_max) {
		uint32_t at = 0;
		while (at < map->operation_count && map->operations[at].state == OPERATION_RUNNING)
			at++;
		assert(at < map->operation_count);
		memmove(&map->operations[at], &map->operations[at + 1],
			(map->operation_count - at - 1) * sizeof(*map->operations));
		map->operation_count--;
	}
	struct map_operation *operation = &map->operations[map->operation_count++];
	memset(operation, 0, sizeof(*operation));
	operation->id = map->id_next++;
	operation->kind = (uint8_t)kind;
	operation->state = OPERATION_RUNNING;
	operation->policy = policy;
	operation->binding_policy = binding_policy;
	operation->started_us = now_us;
	return operation;
}

void meta_operation_add_shard(struct map_operation *operation, uint64_t shard)
{
	assert(operation->steps < OPERATION_SHARDS_MAX);
	assert(operation->steps_done == 0);
	operation->shards_done[operation->steps++] = shard;
}

enum operation_step meta_operation_step(struct map_operation *operation, uint64_t shard, uint64_t now_us)
{
	assert(operation->state == OPERATION_RUNNING);
	assert(operation->steps_done < operation->steps);
	for (uint32_t i = 0; i < operation->steps; i++) {
		if (operation->shards_done[i] != shard)
			continue;
		if (i < operation->steps_done)
			return STEP_REPEATED;
		operation->shards_done[i] = operation->shards_done[operation->steps_done];
		operation->shards_done[operation->steps_done++] = shard;
		if (operation->steps_done == operation->steps) {
			operation->state = OPERATION_DONE;
			operation->ended_us = now_us;
		}
		return STEP_TAKEN;
	}
	return STEP_UNKNOWN;
}

static struct map_operation *find_operation(struct cluster_map *map, uint64_t id)
{
	for (uint32_t i = 0; i < map->operation_count; i++)
		if (map->operations[i].id == id)
			return &map->operations[i];
	return NULL;
}

/* --- shards -------------------------------------------------------------------------------------------------- */

struct map_shard *meta_shards_of(const struct cluster_map *map, uint64_t policy, uint32_t *count)
{
	uint32_t first = 0;
	while (first < map->shard_count && map->shards[first].policy < policy)
		first++;
	*count = 0;
	while (first + *count < map->shard_count && map->shards[first + *count].policy == policy)
		(*count)++;
	return *count > 0 ? &map->shards[first] : NULL;
}

static const struct map_replica *replica_at(const struct map_replica replicas[], unsigned count, uint64_t node)
{
	for (unsigned i = 0; i < count; i++)
		if (replicas[i].node == node)
			return &replicas[i];
	return NULL;
}

/* The same replicas in the same roles, in any order. */
static bool replicas_equal(
	const struct map_replica a[], unsigned a_count, const struct map_replica b[], unsigned b_count)
{
	if (a_count != b_count)
		return false;
	for (unsigned i = 0; i < a_count; i++) {
		const struct map_replica *other = replica_at(b, b_count, a[i].node);
		if (!other || other->replica != a[i].replica || other->role != a[i].role)
			return false;
	}
	return true;
}

bool meta_shard_want(struct cluster_map *map, struct map_shard *shard, const uint64_t nodes[], uint8_t count)
{
	assert(count > 0);
	assert(count <= COPIES_MAX);
	struct map_replica wanted[REPLICAS_MAX];
	memset(wanted, 0, sizeof(wanted));
	bool differs = count != shard->wanted_count, leads = false;
	for (unsigned i = 0; i < count; i++) {
		const struct map_replica *here = replica_at(shard->wanted, shard->wanted_count, nodes[i]);
		differs |= here == NULL;
		wanted[i].node = nodes[i];
		wanted[i].replica = here ? here->replica : map->id_next++;
		wanted[i].role = ROLE_VOTER;
		leads |= nodes[i] == shard->lead_wanted;
	}
	if (!leads)
		shard->lead_wanted = 0;
	memcpy(shard->wanted, wanted, sizeof(shard->wanted));
	shard->wanted_count = count;
	return differs;
}

static struct map_shard *find_shard(struct cluster_map *map, uint64_t id)
{
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].id == id)
			return &map->shards[i];
	return NULL;
}

static bool refuse_shard(struct meta_result *result, uint64_t shard)
{
	return meta_refuse(result, STATUS_NOT_FOUND, 0, TEXTS("there is no shard ", meta_number(shard).text),
		TEXTS("domctl shard list shows those there are"));
}

/* Two of the nodes stand too close for the policy's spread; *a and *b then say which. */
static bool too_close(const struct policy *policy, const struct map_node *const nodes[], unsigned count,
	const struct map_node **a, const struct map_node **b)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned j = 0; j < i; j++) {
			struct place zone = place_prefix(&nodes[i]->place, place_depth(&nodes[i]->place) - 1);
			bool close = (policy->spread == SPREAD_ZONE && place_within(&nodes[j]->place, zone.text)) ||
				     (policy->spread == SPREAD_REGION && nodes[i]->region == nodes[j]->region);
			*a = nodes[i];
			*b = nodes[j];
			if (close)
				return true;
		}
	}
	return false;
}

static bool judge_place_counts(const struct policy *policy, const struct map_node *const nodes[],
	const struct site sites[], unsigned count, struct meta_result *result)
{
	if (count != policy->copies)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("policy ", policy->name, " has copies: ", meta_number(policy->copies).text, ", and ",
				meta_number(count).text, " nodes are named"),
			TEXTS("name as many nodes as the policy has copies"));
	const struct map_node *a, *b;
	if (too_close(policy, nodes, count, &a, &b))
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS(a->place.text, " and ", b->place.text, " are in one ",
				policy->spread == SPREAD_ZONE ? "zone" : "region", ", which spread of policy ",
				policy->name, " forbids"),
			TEXTS("name nodes further apart"));
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		const struct copy_rule *rule = &policy->copy_in[i];
		unsigned inside = 0;
		for (unsigned j = 0; j < count; j++)
			inside += selector_matches(&rule->in, &sites[j].place, sites[j].tags, sites[j].tag_count);
		if (inside < rule->copies)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("copy_in of policy ", policy->name, " wants ", meta_number(rule->copies).text,
					" in ", rule->in.text, ", and ", meta_number(inside).text,
					" of the nodes are there"),
				TEXTS("name more nodes in ", rule->in.text));
	}
	return true;
}

static bool judge_place(const struct cluster_map *map, const struct change *change, const struct policy *policy,
	struct meta_result *result)
{
	const struct map_node *nodes[REPLICAS_MAX];
	struct site sites[REPLICAS_MAX];
	for (unsigned i = 0; i < change->replica_count; i++) {
		const struct map_replica *replica = &change->replicas[i];
		nodes[i] = map_node_find(map, replica->node);
		if (!nodes[i])
			return refuse_node(result, replica->node);
		if (replica_at(change->replicas, i, replica->node) || replica->role == ROLE_LEARNER ||
			replica->role == ROLE_WITNESS)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("node ", nodes[i]->place.text, " is named twice, or not as a voter"),
				TEXTS("name each node once"));
		bool known = map_site(map, &nodes[i]->place, &sites[i]);
		assert(known);
		if (!policy_may_store(policy, &sites[i]))
			return meta_refuse(result, STATUS_RESIDENCY_REFUSED, 0,
				TEXTS("policy ", policy->name, " allows no copy on ", nodes[i]->place.text),
				TEXTS("name nodes inside store_in and outside never_in"));
	}
	if (!judge_place_counts(policy, nodes, sites, change->replica_count, result))
		return false;
	bool leads = policy->lead_in.count == 0;
	for (unsigned i = 0; i < change->replica_count; i++)
		leads |= policy_lead_rank(policy, &sites[i]) != UINT_MAX;
	if (!leads)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("lead_in of policy ", policy->name, " lets none of these nodes lead"),
			TEXTS("name at least one node inside lead_in"));
	struct membership membership;
	struct quorum_flaw flaw;
	bool formed = placement_membership(map, policy, change->replicas, change->replica_count, &membership);
	assert(formed);
	for (unsigned i = 0; i < membership.count; i++)
		membership.at[i].replica = i + 1u;
	if (!quorum_check(&membership, (enum survive)policy->survive, &flaw))
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("on these nodes shard ", meta_number(change->shard).text,
				" would not survive what policy ", policy->name, " promises"),
			TEXTS("spread the nodes over more zones or regions"));
	return true;
}

static bool apply_shard_place(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	struct map_shard *shard = find_shard(map, change->shard);
	if (!shard)
		return refuse_shard(result, change->shard);
	const struct policy *policy = map_policy_find(map, shard->policy);
	assert(policy);
	if (!judge_place(map, change, policy, result))
		return false;
	if (shard->operation != 0)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("operation ", meta_number(shard->operation).text, " moves this shard already"),
			TEXTS("wait until it is done: domctl operation wait"));
	if (meta_operations_free(map) == 0)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("too many operations are running"),
			TEXTS("wait until some are done: domctl operation list"));
	if (change->dry_run)
		return true;
	uint64_t nodes[REPLICAS_MAX];
	for (unsigned i = 0; i < change->replica_count; i++)
		nodes[i] = change->replicas[i].node;
	if (!meta_shard_want(map, shard, nodes, change->replica_count))
		return true;
	struct map_operation *operation = meta_operation_begin(map, OPERATION_PLACE, shard->policy, 0, change->now_us);
	meta_operation_add_shard(operation, shard->id);
	join(operation->text, sizeof(operation->text),
		TEXTS("shard ", meta_number(shard->id).text, " of ", policy->name,
			" moves to where an administrator placed it"));
	shard->operation = operation->id;
	result->id = operation->id;
	return true;
}

static bool apply_shard_lead(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	struct map_shard *shard = find_shard(map, change->shard);
	if (!shard)
		return refuse_shard(result, change->shard);
	if (change->target_node != 0) {
		const struct map_node *node = map_node_find(map, change->target_node);
		if (!node)
			return refuse_node(result, change->target_node);
		if (!replica_at(shard->wanted, shard->wanted_count, node->id))
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS(node->place.text, " holds no copy of shard ", meta_number(shard->id).text),
				TEXTS("name one of the shard's nodes, or move the shard there first"));
		const struct policy *policy = map_policy_find(map, shard->policy);
		struct site site;
		bool known = map_site(map, &node->place, &site);
		assert(policy);
		assert(known);
		if (policy_lead_rank(policy, &site) == UINT_MAX)
			return meta_refuse(result, STATUS_INVALID, 0,
				TEXTS("lead_in of policy ", policy->name, " lets nobody lead on ", node->place.text),
				TEXTS("name a node inside lead_in, or change the policy"));
	}
	if (!change->dry_run)
		shard->lead_wanted = change->target_node;
	return true;
}

/* --- reports --------------------------------------------------------------------------------------------------- */

/* Every replica that is reported must be one that meta named, once, on its node. */
static bool judge_reported(const struct map_shard *shard, const struct change *change)
{
	bool voter = false;
	for (unsigned i = 0; i < change->replica_count; i++) {
		const struct map_replica *replica = &change->replicas[i];
		const struct map_replica *here = replica_at(shard->replicas, shard->replica_count, replica->node);
		const struct map_replica *wanted = replica_at(shard->wanted, shard->wanted_count, replica->node);
		bool named =
			(here && here->replica == replica->replica) || (wanted && wanted->replica == replica->replica);
		if (!named || replica_at(change->replicas, i, replica->node))
			return false;
		if (replica->role == ROLE_NONE || replica->role > ROLE_WITNESS)
			return false;
		voter |= replica->role == ROLE_VOTER;
	}
	return voter;
}

static bool apply_shard_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_shard *shard = find_shard(map, change->shard);
	if (!shard)
		return refuse_shard(result, change->shard);
	bool same = change->membership_index == shard->membership_index &&
		    replicas_equal(change->replicas, change->replica_count, shard->replicas, shard->replica_count);
	if (change->generation == shard->generation && same) {
		*changed = false;
		return true;
	}
	if (change->generation != shard->generation + 1 || change->membership_index < shard->membership_index)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("the report is stale"),
			TEXTS("report again from the newest map"));
	if (!judge_reported(shard, change))
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("the report names replicas that shard ", meta_number(shard->id).text, " never had"),
			TEXTS("report the membership as it was committed"));
	if (change->dry_run)
		return true;
	shard->generation = change->generation;
	shard->membership_index = change->membership_index;
	shard->replica_count = change->replica_count;
	memset(shard->replicas, 0, sizeof(shard->replicas));
	memcpy(shard->replicas, change->replicas, change->replica_count * sizeof(change->replicas[0]));
	bool settled = replicas_equal(shard->replicas, shard->replica_count, shard->wanted, shard->wanted_count);
	if (settled && shard->operation != 0) {
		struct map_operation *operation = find_operation(map, shard->operation);
		assert(operation);
		enum operation_step step = meta_operation_step(operation, shard->id, change->now_us);
		assert(step == STEP_TAKEN);
		shard->operation = 0;
	}
	return true;
}

static void fence_failed(struct cluster_map *map, struct map_operation *operation, const struct change *change)
{
	struct text text;
	operation->state = OPERATION_FAILED;
	operation->ended_us = change->now_us;
	text_init(&text, operation->text, sizeof(operation->text));
	for (uint32_t i = 0; i < map->binding_count; i++)
		if (map->bindings[i].pending_operation == operation->id)
			meta_binding_describe(&text, &map->bindings[i]);
	join(operation->text + text.size, sizeof(operation->text) - text.size,
		TEXTS(" stays as it was: ", meta_number(change->keys_found).text, " keys live there already, in shard ",
			meta_number(change->shard).text, " (", meta_number(operation->steps_done).text, " of ",
			meta_number(operation->steps).text, " shards held none); delete or move them, then try again"));
}

static bool apply_fence_report(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_operation *operation = find_operation(map, change->operation);
	result->id = change->operation;
	if (!operation && (change->operation == 0 || change->operation >= map->id_next))
		return meta_refuse(result, STATUS_NOT_FOUND, 0,
			TEXTS("there is no operation ", meta_number(change->operation).text),
			TEXTS("fetch the newest map"));
	if (!operation || operation->state != OPERATION_RUNNING) {
		*changed = false; /* over, and maybe forgotten */
		return true;
	}
	bool asked = false, repeated = false;
	for (uint32_t i = 0; i < operation->steps; i++) {
		asked |= operation->shards_done[i] == change->shard;
		repeated |= operation->shards_done[i] == change->shard && i < operation->steps_done;
	}
	if (operation->kind != OPERATION_BINDING || !asked)
		return meta_refuse(result, STATUS_INVALID, 0,
			TEXTS("operation ", meta_number(change->operation).text, " asked shard ",
				meta_number(change->shard).text, " for no fence"),
			TEXTS("fetch the newest map"));
	*changed = !repeated;
	if (repeated || change->dry_run)
		return true;
	if (change->keys_found > 0) {
		fence_failed(map, operation, change);
		meta_binding_settle(map, operation, true);
	} else {
		enum operation_step step = meta_operation_step(operation, change->shard, change->now_us);
		assert(step == STEP_TAKEN);
		if (operation->state == OPERATION_DONE)
			meta_binding_settle(map, operation, false);
	}
	return true;
}

/* --- dispatch ---------------------------------------------------------------------------------------------------- */

static bool dispatch(struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	switch ((enum change_kind)change->kind) {
	case CHANGE_INIT:
		return apply_init(map, change, result);
	case CHANGE_REGION_ADD:
		return apply_region_add(map, change, result);
	case CHANGE_NODE_ADMIT:
		return apply_node_admit(map, change, result, changed);
	case CHANGE_NODE_ADDRESSES:
		return apply_node_addresses(map, change, result, changed);
	case CHANGE_APPLY:
	case CHANGE_BINDING_SET:
	case CHANGE_BINDING_UNSET:
		return meta_apply_rules(map, change, result);
	case CHANGE_SHARD_PLACE:
		return apply_shard_place(map, change, result);
	case CHANGE_SHARD_LEAD:
		return apply_shard_lead(map, change, result);
	case CHANGE_SHARD_REPORT:
		return apply_shard_report(map, change, result, changed);
	case CHANGE_FENCE_REPORT:
		return apply_fence_report(map, change, result, changed);
	case CHANGE_META_REPORT:
		return apply_meta_report(map, change, result, changed);
	}
	return meta_refuse(result, STATUS_INVALID, 0, TEXTS("a change of a kind that this version does not know"),
		TEXTS("upgrade this node"));
}

static bool judge_epoch(const struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	if (map->epoch == 0 && change->kind != CHANGE_INIT)
		return meta_refuse(result, STATUS_CONFLICT, 0, TEXTS("there is no cluster yet"),
			TEXTS("begin it: domctl cluster init"));
	if (change->epoch != 0 && change->epoch != map->epoch)
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("the change was made for epoch ", meta_number(change->epoch).text, ", and the map is at ",
				meta_number(map->epoch).text),
			TEXTS("look at the newest map and try again"));
	return true;
}

void meta_apply(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	assert(map);
	assert(change->replica_count <= REPLICAS_MAX);
	uint64_t id_next = map->id_next;
	bool changed = true;
	memset(result, 0, sizeof(*result));
	bool taken = judge_epoch(map, change, result) && dispatch(map, change, result, &changed);
	assert(taken == (result->status == STATUS_OK));
	if (!taken)
		result->id = 0;
	if (taken && changed && !change->dry_run)
		map->epoch++;
	else
		assert(map->id_next == id_next);
	result->epoch = map->epoch;
}
