/* replication/meta.c: see replication/meta.h: dispatch, regions, nodes and meta's own membership. What the other files
 * of meta are about says meta_internal.h.
 *
 * Each change is judged whole before the map is touched, so a refused one has nothing to undo. The epoch grows by one
 * with each change that is taken; a report that repeats what is known is OK and is not a change. */
#include "replication/meta_internal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "policy/plan.h"

enum { META_GROUP_ID = 1, NODE_DEPTH = 2 };

/* --- refusals --------------------------------------------------------------------------------------- */

struct number meta_number(uint64_t number)
{
	struct number out;
	struct text text;
	text_init(&text, out.text, sizeof(out.text));
	text_add_u64(&text, number);
	return out;
}

void meta_join(char *out, size_t capacity, const char *const parts[])
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
	meta_join(result->flaw.reason, sizeof(result->flaw.reason), reason);
	meta_join(result->flaw.cure, sizeof(result->flaw.cure), cure);
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
		bool witness = policy_may_witness(a, site) && !policy_may_witness(b, site);
		bool loosens = (policy_may_store(a, site) && !policy_may_store(b, site)) ||
			       (witness && !policy_may_store(b, site)) ||
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
	result->id = META_FIRST_NODE;
	if (change->dry_run)
		return true;
	memcpy(map->name, change->name, strlen(change->name) + 1);
	memcpy(map->cluster, change->cluster, sizeof(map->cluster));
	memcpy(map->hash_secret, change->hash_secret, sizeof(map->hash_secret));
	memcpy(map->admin_spki_sha256, change->admin_spki_sha256, sizeof(map->admin_spki_sha256));
	static_assert(META_GROUP_ID + 1 == META_FIRST_NODE, "ids are given in order");
	map->id_next = META_FIRST_NODE;
	region_add(map, &change->region);
	struct map_node *node = node_add(map, &change->node, 0);
	node->meta_voter = true;
	node->meta_voting = true;
	assert(node->id == META_FIRST_NODE);
	assert(node->meta_replica == META_FIRST_REPLICA);
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
	meta_voters_choose(map);
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

struct map_node *meta_node(struct cluster_map *map, uint64_t id)
{
	for (uint32_t i = 0; i < map->node_count; i++)
		if (map->nodes[i].id == id)
			return &map->nodes[i];
	return NULL;
}

bool meta_refuse_node(struct meta_result *result, uint64_t node)
{
	return meta_refuse(result, STATUS_NOT_FOUND, 0, TEXTS("there is no node ", meta_number(node).text),
		TEXTS("domctl node list shows those there are"));
}

static bool apply_node_addresses(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	struct map_node *node = meta_node(map, change->node.id);
	if (!node)
		return meta_refuse_node(result, change->node.id);
	if (!judge_addresses(&change->node.addresses, result))
		return false;
	*changed = !address_lists_equal(&node->addresses, &change->node.addresses);
	result->id = node->id;
	if (!change->dry_run && *changed)
		node->addresses = change->node.addresses;
	return true;
}

/* The epoch stays: nobody needs a new map because a ledger has grown. */
static bool apply_ledger_head(
	struct cluster_map *map, const struct change *change, struct meta_result *result, bool *changed)
{
	const struct ledger_head *head = &change->node.ledger;
	struct map_node *node = meta_node(map, change->node.id);
	*changed = false;
	if (!node)
		return meta_refuse_node(result, change->node.id);
	const struct ledger_position *kept = &node->ledger.at;
	if (head->at.sequence < kept->sequence ||
		(head->at.sequence == kept->sequence && memcmp(head->at.hash, kept->hash, SHA256_SIZE) != 0))
		return meta_refuse(result, STATUS_CONFLICT, 0,
			TEXTS("the ledger of node ", meta_number(node->id).text,
				" does not continue the one at sequence ", meta_number(kept->sequence).text),
			TEXTS("domctl audit verify; do not let this node go on"));
	result->id = node->id;
	if (!change->dry_run && head->at.sequence > kept->sequence)
		node->ledger = *head;
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
	*changed |= meta_forget_gone(map, change);
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
			if (node->meta_voter != (voters == 1) || node->state == NODE_GONE)
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
		return meta_apply_shard_place(map, change, result);
	case CHANGE_SHARD_LEAD:
		return meta_apply_shard_lead(map, change, result);
	case CHANGE_SHARD_REPORT:
		return meta_apply_shard_report(map, change, result, changed);
	case CHANGE_FENCE_REPORT:
		return meta_apply_fence_report(map, change, result, changed);
	case CHANGE_META_REPORT:
		return apply_meta_report(map, change, result, changed);
	case CHANGE_LEDGER_HEAD:
		return apply_ledger_head(map, change, result, changed);
	case CHANGE_NODE_STATE:
		return meta_apply_node_state(map, change, result, changed);
	case CHANGE_REGION_STATE:
		return meta_apply_region_state(map, change, result, changed);
	case CHANGE_REGION_REMOVE:
		return meta_apply_region_remove(map, change, result);
	case CHANGE_NODE_REMOVE:
		return meta_apply_node_remove(map, change, result, changed);
	case CHANGE_MOVE_REPORT:
		return meta_apply_move_report(map, change, result, changed);
	case CHANGE_CANCEL:
		return meta_apply_cancel(map, change, result, changed);
	case CHANGE_SHARD_SPLIT:
		return meta_apply_shard_split(map, change, result);
	case CHANGE_SHARD_MERGE:
		return meta_apply_shard_merge(map, change, result);
	case CHANGE_REBALANCE:
		return meta_apply_rebalance(map, change, result, changed);
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

/* What was planned is what happens, or nothing does. */
static bool judge_plan(const struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	char named[24], now[24];
	struct text text;
	if (change->plan == 0)
		return true;
	uint64_t id = plan_id(map, change);
	if (id == change->plan)
		return true;
	text_init(&text, named, sizeof(named));
	text_add_hex64(&text, change->plan);
	text_init(&text, now, sizeof(now));
	text_add_hex64(&text, id);
	return meta_refuse(result, STATUS_CONFLICT, 0,
		TEXTS("the plan ", named,
			" no longer holds: nodes, rules, copies, or the file itself have changed since"),
		TEXTS("look at what it would do now, plan ", now, ": domctl policy plan"));
}

/* What meta's leader does not hear is known for the time of the change only: every replica applies the same. */
static void mark_away(struct cluster_map *map, const struct change *change, bool away)
{
	assert(change->away_count <= MAP_NODES_MAX);
	for (unsigned i = 0; i < change->away_count; i++) {
		struct map_node *node = meta_node(map, change->away[i]);
		if (node)
			node->away = away;
	}
}

void meta_apply(struct cluster_map *map, const struct change *change, struct meta_result *result)
{
	assert(map);
	assert(change->replica_count <= REPLICAS_MAX);
	uint64_t id_next = map->id_next;
	bool changed = true;
	memset(result, 0, sizeof(*result));
	mark_away(map, change, true);
	bool taken = judge_epoch(map, change, result) && judge_plan(map, change, result) &&
		     dispatch(map, change, result, &changed);
	mark_away(map, change, false);
	assert(taken == (result->status == STATUS_OK));
	if (!taken)
		result->id = 0;
	if (taken && changed && !change->dry_run)
		map->epoch++;
	else
		assert(map->id_next == id_next);
	result->epoch = map->epoch;
}
