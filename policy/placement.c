/* policy/placement.c: see policy/placement.h: candidates from the map, the search, and what to say when there is no
 * answer. Residency comes first: who is no candidate is never looked at. */
#include "policy/placement.h"
#include "policy/placement_search.h"
#include "policy/rules_internal.h"

#include <assert.h>
#include <limits.h>

/* --- candidates -------------------------------------------------------------------------------------- */

bool placement_same_zone(const struct place *a, const struct place *b)
{
	size_t size = (size_t)(place_last(a) - a->text);
	return size == (size_t)(place_last(b) - b->text) && memcmp(a->text, b->text, size) == 0;
}

/* A table from node id to position in map->nodes: asked once for each replica of each shard. */
enum { TABLE_SIZE = 1024 };
static_assert(TABLE_SIZE >= 2 * MAP_NODES_MAX, "a free slot ends every probe");

struct loads {
	uint64_t id[TABLE_SIZE];
	uint32_t load[TABLE_SIZE], leads[TABLE_SIZE];
};

static unsigned slot_of(const struct loads *loads, uint64_t id)
{
	unsigned slot = (unsigned)(id * UINT64_C(0x9e3779b97f4a7c15) >> 54) % TABLE_SIZE;
	while (loads->id[slot] != 0 && loads->id[slot] != id)
		slot = (slot + 1) % TABLE_SIZE;
	return slot;
}

static void count_loads(const struct cluster_map *map, const struct map_shard *current, struct loads *loads)
{
	*loads = (struct loads){ 0 };
	for (uint32_t i = 0; i < map->node_count; i++)
		loads->id[slot_of(loads, map->nodes[i].id)] = map->nodes[i].id;
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		assert(shard->wanted_count <= REPLICAS_MAX);
		if (current && shard->id == current->id)
			continue;
		for (unsigned j = 0; j < shard->wanted_count; j++) {
			unsigned slot = slot_of(loads, shard->wanted[j].node);
			if (loads->id[slot] == 0)
				continue; /* a node that is no longer registered */
			loads->load[slot]++;
			loads->leads[slot] += j == 0;
		}
	}
}

static bool holds_copy(const struct map_shard *current, uint64_t node)
{
	const struct map_replica *on = current ? map_replica_on(current->replicas, current->replica_count, node) : NULL;
	return on && on->role != ROLE_WITNESS;
}

/* What the shard has on the node, or is about to: NULL: nothing. */
static const struct map_replica *there_already(const struct map_shard *current, uint64_t node)
{
	const struct map_replica *on = current ? map_replica_on(current->replicas, current->replica_count, node) : NULL;
	return on || !current ? on : map_replica_on(current->wanted, current->wanted_count, node);
}

static bool is_witness(const struct map_shard *current, uint64_t node)
{
	const struct map_replica *on = there_already(current, node);
	return on && on->role == ROLE_WITNESS;
}

static bool is_copy(const struct map_shard *current, uint64_t node)
{
	const struct map_replica *on = there_already(current, node);
	return on && on->role != ROLE_WITNESS;
}

static struct candidate candidate_of(const struct policy *policy, const struct map_node *node, const struct site *site)
{
	struct candidate candidate = { .node = node->id,
		.lead_rank = policy_lead_rank(policy, site),
		.region = node->region,
		.areas = policy_areas(policy, site) };
	for (unsigned i = 0; i < policy->copy_in_count; i++)
		if (selector_matches(&policy->copy_in[i].in, &site->place, site->tags, site->tag_count))
			candidate.copy_in |= (uint8_t)(1u << i);
	return candidate;
}

/* As map_site says, without the search for the region. */
static struct site site_of(const struct cluster_map *map, const struct map_node *node)
{
	struct site site = map->regions[node->region].site;
	assert(node->region < map->region_count);
	site.place = node->place;
	return site;
}

bool placement_candidate(const struct cluster_map *map, const struct policy *policy, const struct map_node *node,
	struct candidate *candidate)
{
	const struct site site = site_of(map, node);
	if (!policy_may_store(policy, &site))
		return false;
	*candidate = candidate_of(policy, node, &site);
	return true;
}

/* Region by region, zone by zone, alike ones together, and of those the current and then the least loaded first. */
static bool comes_before(const struct candidate *a, const struct candidate *b)
{
	if (a->region != b->region)
		return a->region < b->region;
	if (a->zone != b->zone)
		return a->zone < b->zone;
	if (a->copy_in != b->copy_in)
		return a->copy_in > b->copy_in;
	if (a->areas != b->areas)
		return a->areas > b->areas;
	if ((a->lead_rank == UINT_MAX) != (b->lead_rank == UINT_MAX))
		return b->lead_rank == UINT_MAX;
	if (a->current != b->current)
		return a->current;
	if (a->load != b->load)
		return a->load < b->load;
	return a->node < b->node;
}

static void sort_candidates(struct placement_search *search)
{
	for (unsigned gap = 121; gap > 0; gap /= 3) {
		for (unsigned i = gap; i < search->count; i++) {
			struct candidate one = search->at[i];
			unsigned to = i;
			for (; to >= gap && comes_before(&one, &search->at[to - gap]); to -= gap)
				search->at[to] = search->at[to - gap];
			search->at[to] = one;
		}
	}
}

/* A copy is as well there as elsewhere if it is there already. */
static bool may_come(const struct cluster_map *map, const struct map_node *node, bool there, bool all)
{
	return map_node_takes_replicas(map, node) && (all || there || !node->away);
}

/* all: also those that are away. */
static void find_candidates(const struct cluster_map *map, const struct policy *policy, const struct map_shard *current,
	bool all, struct placement_search *search)
{
	struct loads loads;
	uint16_t from[MAP_NODES_MAX]; /* position in map->nodes */
	assert(map->node_count <= MAP_NODES_MAX);
	count_loads(map, current, &loads);
	search->count = 0;
	for (uint16_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		struct candidate *one = &search->at[search->count];
		if (!may_come(map, node, holds_copy(current, node->id), all) ||
			!placement_candidate(map, policy, node, one))
			continue;
		if (is_witness(current, node->id)) /* a node is one or the other of a shard, never both at once */
			continue;
		unsigned slot = slot_of(&loads, node->id);
		one->load = loads.load[slot];
		one->leads = loads.leads[slot];
		one->current = holds_copy(current, node->id);
		one->zone = search->count;
		for (uint16_t j = 0; j < search->count; j++) {
			if (!placement_same_zone(&map->nodes[from[j]].place, &node->place))
				continue;
			one->zone = search->at[j].zone;
			break;
		}
		from[search->count++] = i;
	}
	sort_candidates(search);
}

void placement_ask(const struct policy *policy, struct placement_search *search)
{
	search->rule = policy_quorum_rule(policy);
	search->copies = policy->copies;
	search->spread = policy->spread;
	search->survive = policy->survive;
	search->copy_in_count = policy->copy_in_count;
	for (unsigned i = 0; i < policy->copy_in_count; i++)
		search->copy_in_needed[i] = policy->copy_in[i].copies;
	search->lead_needed = policy->lead_in.count > 0;
	search->witnessed = policy->witness_in.count > 0;
}

/* --- what cannot be met ---------------------------------------------------------------------------------- */

/* How many candidates may be taken together by spread alone, of those with all of these bits. */
static unsigned domains(const struct placement_search *search, uint8_t copy_in, uint8_t areas)
{
	unsigned count = 0;
	for (unsigned i = 0; i < search->count; i++) {
		const struct candidate *one = &search->at[i];
		if ((one->copy_in & copy_in) != copy_in || (one->areas & areas) != areas)
			continue;
		bool first = true;
		for (unsigned j = 0; j < i; j++) {
			const struct candidate *other = &search->at[j];
			if ((other->copy_in & copy_in) != copy_in || (other->areas & areas) != areas)
				continue;
			bool together = search->spread == SPREAD_REGION ? other->region == one->region
					: search->spread == SPREAD_ZONE ? other->zone == one->zone
									: false;
			first &= !together;
		}
		count += first;
	}
	return count;
}

static const char *domain_name(unsigned spread, unsigned count)
{
	static const char *const one[] = { "node", "zone", "region" };
	static const char *const many[] = { "nodes", "zones", "regions" };
	assert(spread >= SPREAD_NODE);
	assert(spread <= SPREAD_REGION);
	return count == 1 ? one[spread - SPREAD_NODE] : many[spread - SPREAD_NODE];
}

static bool lacks_nodes(const struct policy *policy, const struct placement_search *search, struct flaw *flaw)
{
	char copies[NUMBER_TEXT_MAX];
	char there[NUMBER_TEXT_MAX];
	number_text(copies, policy->copies);
	unsigned count = domains(search, 0, 0);
	number_text(there, count);
	if (search->count == 0)
		return !flaw_set(flaw, policy,
			REASON("no registered node lies where ", policy->name,
				" allows bytes (store_in without never_in)"),
			CURE("start nodes in those places, or widen store_in"));
	if (count < policy->copies)
		return !flaw_set(flaw, policy,
			REASON(policy->name, " needs ", copies, " copies, no two on one ", spread_name(policy->spread),
				", but only ", there, " ", domain_name(policy->spread, count),
				" with nodes lie where it allows bytes"),
			CURE("start nodes in ", copies, " ", domain_name(policy->spread, policy->copies),
				" of store_in, widen store_in, or lower copies or spread"));
	return false;
}

static bool lacks_copy_in(const struct policy *policy, const struct placement_search *search, struct flaw *flaw)
{
	char needed[NUMBER_TEXT_MAX];
	char there[NUMBER_TEXT_MAX];
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		const struct copy_rule *rule = &policy->copy_in[i];
		unsigned count = domains(search, (uint8_t)(1u << i), 0);
		if (count >= rule->copies)
			continue;
		number_text(needed, rule->copies);
		number_text(there, count);
		return !flaw_set(flaw, policy,
			REASON("copy_in of ", policy->name, " asks for ", needed, " copies in ", rule->in.text,
				", but only ", there, " ", domain_name(policy->spread, count),
				" with nodes there may hold one"),
			CURE("start nodes in ", rule->in.text, ", or lower its number in copy_in"));
	}
	return false;
}

static bool lacks_ack(const struct policy *policy, const struct placement_search *search, struct flaw *flaw)
{
	for (unsigned i = 0; policy->ack == ACK_ALL_OF && i < policy->ack_areas.count; i++) {
		const char *area = policy->ack_areas.at[i].text;
		if (domains(search, 0, (uint8_t)(1u << i)) == 0)
			return !flaw_set(flaw, policy,
				REASON("ack of ", policy->name, " asks for a copy in ", area,
					", but no node there may hold one"),
				CURE("start a node in ", area, ", or take it out of ack"));
	}
	return false;
}

static bool lacks_leader(const struct policy *policy, const struct placement_search *search, struct flaw *flaw)
{
	for (unsigned i = 0; i < search->count; i++)
		if (search->at[i].lead_rank != UINT_MAX)
			return false;
	return !flaw_set(flaw, policy,
		REASON("lead_in of ", policy->name, " names no place in which a registered node may hold a copy"),
		CURE("start a node there, or widen lead_in"));
}

/* Each rule alone can be met: which one must go for the others to be? */
static void blame(const struct policy *policy, struct placement_search *search, struct flaw *flaw)
{
	const char *field = NULL;
	placement_ask(policy, search);
	search->survive = SURVIVE_NONE;
	if (placement_search(search)) {
		flaw_set(flaw, policy,
			REASON(policy->name, " cannot survive the loss of a ", survive_name(policy->survive),
				": wherever its copies are put, one such loss stops writes or elections, or loses what "
				"was acknowledged"),
			CURE("start nodes in more regions or zones of store_in, or lower survive"));
		return;
	}
	placement_ask(policy, search);
	search->copy_in_count = 0;
	if (placement_search(search))
		field = "copy_in";
	placement_ask(policy, search);
	search->lead_needed = false;
	if (!field && placement_search(search))
		field = "lead_in";
	placement_ask(policy, search);
	search->rule = (struct quorum_rule){ 0 };
	if (!field && placement_search(search))
		field = "ack";
	if (field)
		flaw_set(flaw, policy,
			REASON(field, " of ", policy->name,
				" cannot be met together with its copies, spread and survive on the registered nodes"),
			CURE("relax ", field, ", or start nodes where it asks for copies"));
	else
		flaw_set(flaw, policy,
			REASON("copies, spread, copy_in, ack, survive and lead_in of ", policy->name,
				" cannot all be met together on the registered nodes"),
			CURE("relax one of them, or start nodes in more places of store_in"));
}

/* --- the face ------------------------------------------------------------------------------------------------ */

static bool leads_before(const struct candidate *a, const struct candidate *b)
{
	if (a->lead_rank != b->lead_rank)
		return a->lead_rank < b->lead_rank;
	if (a->current != b->current)
		return a->current; /* it has the data already */
	if (a->leads != b->leads)
		return a->leads < b->leads;
	return a->load != b->load ? a->load < b->load : a->node < b->node;
}

static void answer(const struct placement_search *search, const struct map_shard *current, struct placement *placement)
{
	const struct candidate *order[COPIES_MAX];
	const uint64_t leader = current && current->replica_count > 0 ? current->replicas[0].node : 0;
	for (unsigned i = 0; i < search->copies; i++) {
		const struct candidate *one = &search->at[search->picked[i]];
		unsigned to = i;
		for (; to > 0 && leads_before(one, order[to - 1]); to--)
			order[to] = order[to - 1];
		order[to] = one;
	}
	/* Who stood first stays first when nobody ranks better: the leader does not move for nothing. */
	for (unsigned i = 1; i < search->copies; i++) {
		if (order[i]->node != leader || order[i]->lead_rank != order[0]->lead_rank)
			continue;
		const struct candidate *stays = order[i];
		memmove(order + 1, order, i * sizeof(order[0]));
		order[0] = stays;
	}
	*placement = (struct placement){ .count = search->copies };
	for (unsigned i = 0; i < search->copies; i++)
		placement->nodes[i] = order[i]->node;
}

/* --- the witness --------------------------------------------------------------------------------------- */

bool placement_apart(const struct cluster_map *map, const uint16_t copies[], unsigned count, uint16_t witness)
{
	for (unsigned i = 0; i < count; i++)
		if (map->nodes[copies[i]].region == map->nodes[witness].region)
			return false;
	return true;
}

bool placement_may_witness(const struct cluster_map *map, const struct policy *policy, const struct map_node *node)
{
	const struct site site = site_of(map, node);
	return policy_may_witness(policy, &site);
}

/* The one there is stays if it may; else the least loaded. */
static bool choose_witness(const struct cluster_map *map, const struct policy *policy, const struct map_shard *current,
	bool all, struct placement *placement, struct flaw *flaw)
{
	struct loads loads;
	uint32_t best_load = 0;
	uint16_t copies[COPIES_MAX];
	if (policy->witness_in.count == 0)
		return true;
	for (unsigned i = 0; i < placement->count; i++)
		copies[i] = (uint16_t)(map_node_find(map, placement->nodes[i]) - map->nodes);
	count_loads(map, current, &loads);
	for (uint16_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		if (!may_come(map, node, is_witness(current, node->id), all) ||
			!placement_may_witness(map, policy, node))
			continue;
		if (!placement_apart(map, copies, placement->count, i) || is_copy(current, node->id))
			continue;
		if (is_witness(current, node->id)) {
			placement->witness = node->id;
			return true;
		}
		uint32_t load = loads.load[slot_of(&loads, node->id)];
		if (placement->witness != 0 && load >= best_load)
			continue;
		placement->witness = node->id;
		best_load = load;
	}
	if (placement->witness != 0)
		return true;
	return flaw_set(flaw, policy,
		REASON("witness_in of ", policy->name,
			" names no place in which a registered node may be the witness: in a region with a copy "
			"it would be lost with it"),
		CURE("start a node there, or name in witness_in a region that holds no copy"));
}

uint8_t placement_replicas(const struct placement *placement, struct map_replica replicas[REPLICAS_MAX])
{
	uint8_t count = placement->count;
	assert(count < REPLICAS_MAX);
	memset(replicas, 0, REPLICAS_MAX * sizeof(*replicas));
	for (unsigned i = 0; i < count; i++)
		replicas[i] = (struct map_replica){ .node = placement->nodes[i], .role = ROLE_VOTER };
	if (placement->witness != 0)
		replicas[count++] = (struct map_replica){ .node = placement->witness, .role = ROLE_WITNESS };
	return count;
}

static bool choose(const struct cluster_map *map, const struct policy *policy, const struct map_shard *current,
	bool all, struct placement *placement, struct flaw *flaw)
{
	struct placement_search search = { 0 };
	*placement = (struct placement){ 0 };
	*flaw = (struct flaw){ 0 };
	find_candidates(map, policy, current, all, &search);
	placement_ask(policy, &search);
	if (lacks_nodes(policy, &search, flaw) || lacks_copy_in(policy, &search, flaw))
		return false;
	if (lacks_ack(policy, &search, flaw) || lacks_leader(policy, &search, flaw))
		return false;
	if (!placement_search(&search)) {
		blame(policy, &search, flaw);
		return false;
	}
	answer(&search, current, placement);
	return choose_witness(map, policy, current, all, placement, flaw);
}

static bool anybody_away(const struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->node_count; i++)
		if (map->nodes[i].away)
			return true;
	return false;
}

bool placement_choose(const struct cluster_map *map, const struct policy *policy, const struct map_shard *current,
	struct placement *placement, struct flaw *flaw)
{
	const char *malformed = policy_malformed(policy);
	if (malformed) {
		*placement = (struct placement){ 0 };
		*flaw = (struct flaw){ 0 };
		return policy_check(policy, flaw);
	}
	if (anybody_away(map) && choose(map, policy, current, false, placement, flaw))
		return true;
	return choose(map, policy, current, true, placement, flaw);
}

bool placement_membership(const struct cluster_map *map, const struct policy *policy,
	const struct map_replica *replicas, uint8_t count, struct membership *membership)
{
	*membership = (struct membership){ .rule_new = policy_quorum_rule(policy),
		.local_reads = policy->reads == READS_LOCAL };
	if (count > REPLICAS_MAX)
		return false;
	const struct map_node *nodes[REPLICAS_MAX];
	for (uint8_t i = 0; i < count; i++) {
		struct site site;
		const struct map_node *node = nodes[i] = map_node_find(map, replicas[i].node);
		if (!node || !map_site(map, &node->place, &site))
			return false;
		struct member *member = &membership->at[i];
		*member = (struct member){ .replica = replicas[i].replica,
			.node = node->id,
			.role_new = replicas[i].role == ROLE_NONE ? ROLE_VOTER : replicas[i].role,
			.region = i,
			.zone = i,
			.areas = policy_areas(policy, &site) };
		for (uint8_t j = i; j-- > 0;) {
			if (nodes[j]->region == node->region)
				member->region = membership->at[j].region;
			if (placement_same_zone(&nodes[j]->place, &node->place))
				member->zone = membership->at[j].zone;
		}
	}
	membership->count = count;
	return true;
}

bool placement_birth(const struct cluster_map *map, const struct map_shard *shard, struct membership *membership)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	if (!policy || !placement_membership(map, policy, shard->replicas, shard->member_count, membership))
		return false;
	membership->rule_new = shard->birth_rule;
	membership->local_reads = false; /* until the leader has said so in the log: the policy may change meanwhile */
	for (unsigned i = 0; i < membership->count; i++)
		membership->at[i].areas = shard->birth_areas[i];
	return true;
}

/* --- whether a policy can be applied --------------------------------------------------------------------------- */

bool placement_tightens(
	const struct cluster_map *map, const struct policy *inner, const struct policy *outer, struct flaw *flaw)
{
	struct site sites[MAP_REGIONS_MAX];
	assert(map->region_count <= MAP_REGIONS_MAX);
	for (uint32_t i = 0; i < map->region_count; i++)
		sites[i] = map->regions[i].site;
	return policy_tightens(inner, outer, sites, map->region_count, flaw);
}

/* The nearest other prefix binding around this one; NULL. They are sorted, the longest first. */
static const struct map_binding *around(const struct cluster_map *map, const struct map_binding *binding)
{
	struct bytes prefix = bytes_of(binding->prefix, binding->prefix_size);
	for (uint32_t size = binding->prefix_size; size-- > 0;) {
		const struct map_binding *outer = map_binding_by_prefix(map, bytes_of(prefix.data, size));
		if (outer)
			return outer;
	}
	return NULL;
}

/* The policy of a binding as it would be with this one applied. */
static const struct policy *policy_then(
	const struct cluster_map *map, const struct map_binding *binding, const struct policy *policy)
{
	const struct policy *now = map_policy_find(map, binding->policy);
	return now && strcmp(now->name, policy->name) == 0 ? policy : now;
}

/* Every pair of neighbouring bindings of which one is of this policy. Exact bindings are not seen: only who has the key
 * knows what is around them. */
static bool bindings_tighten(const struct cluster_map *map, const struct policy *policy, struct flaw *flaw)
{
	const struct policy *self = map_policy_by_name(map, policy->name);
	if (!self)
		return true; /* new: not bound to anything */
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];
		const struct map_binding *outer = binding->exact ? NULL : around(map, binding);
		if (!outer || (binding->policy != self->id && outer->policy != self->id))
			continue;
		const struct policy *inner_policy = policy_then(map, binding, policy);
		const struct policy *outer_policy = policy_then(map, outer, policy);
		if (!inner_policy || !outer_policy || inner_policy == outer_policy)
			continue;
		if (!placement_tightens(map, inner_policy, outer_policy, flaw)) {
			flaw->line = policy->line;
			return false;
		}
	}
	return true;
}

bool policy_satisfiable(const struct cluster_map *map, const struct policy *policy, struct flaw *flaw)
{
	struct placement placement;
	if (!policy_check(policy, flaw) || !placement_choose(map, policy, NULL, &placement, flaw))
		return false;
	struct map_replica replicas[REPLICAS_MAX];
	const uint8_t count = placement_replicas(&placement, replicas);
	for (unsigned i = 0; i < count; i++)
		replicas[i].replica = i + 1u;
	struct membership membership;
	struct quorum_flaw quorum;
	bool placed = placement_membership(map, policy, replicas, count, &membership);
	assert(placed);
	bool sound = quorum_check(&membership, (enum survive)policy->survive, &quorum);
	assert(sound);
	return bindings_tighten(map, policy, flaw);
}
