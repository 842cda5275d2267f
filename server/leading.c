/* server/leading.c: where the lead of the shards that this node leads belongs: who an administrator named; else where
 * policy/leading.h says, given who writes, who is fit to lead, and the round trips between regions. The mover offers
 * the lead there.
 *
 * A write that a client hands to this node counts for the client's region; one that another replica forwards counts for
 * that replica's. */
#include "server/node_internal.h"

#include <assert.h>
#include <limits.h>

#include "base/log.h"

void leading_wrote_at(struct node *node, struct hosted *hosted, const struct place *place)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_region *region;

	if (!hosted->follows)
		return;
	region = map_region_of(map, place->text[0] == '\0' ? &node->site.place : place);
	if (region != NULL)
		leading_wrote(&hosted->leading, (uint32_t)(region - map->regions));
}

void leading_forwarded(struct node *node, struct hosted *hosted, uint16_t origin)
{
	const struct membership *membership = group_membership(driver_group(hosted->driver));

	for (unsigned i = 0; hosted->follows && i < membership->count; i++) {
		const struct map_node *there;

		if ((uint16_t)membership->at[i].replica != origin)
			continue;
		there = map_node_find(node_map_in_force(node), membership->at[i].node);
		if (there != NULL)
			leading_wrote(&hosted->leading, there->region);
		return;
	}
}

bool leading_able(const struct node *node, const struct hosted *hosted, const struct member *member)
{
	const struct group *group = driver_group(hosted->driver);
	struct group_progress progress;

	return member->role_new == ROLE_VOTER && liveness_alive(node->liveness, member->node, node->time.now_ns) &&
	       !driver_peer_damaged(hosted->driver, member->replica, node->time.now_ns) &&
	       group_progress(group, member->replica, &progress) &&
	       progress.match + LEADER_LAG_ENTRIES >= group_status(group, node->time.now_ns).last;
}

static unsigned rank_of(const struct node *node, const struct policy *policy, const struct member *member)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_node *there = map_node_find(map, member->node);
	struct site site;

	return there != NULL && map_node_takes_leads(map, there) && map_site(map, &there->place, &site)
		       ? policy_lead_rank(policy, &site)
		       : UINT_MAX;
}

/* What writes from each writing region take, whoever of the candidates leads. */
static void expect(struct node *node, const struct hosted *hosted, const struct policy *policy,
	const struct membership *membership, member_set there, struct leading_candidate candidates[])
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct rtt_matrix *matrix = rtt_matrix_now(node);
	struct latency_group group;

	paths_group(map, matrix, membership, there, policy->reads == READS_LOCAL, &group);
	for (unsigned i = 0; i < membership->count; i++) {
		for (unsigned r = 0; r < hosted->leading.count; r++) {
			struct latency_estimate estimate;

			paths_from(map, matrix, &group, hosted->leading.regions[r].region, i, &estimate);
			candidates[i].write_us[r] = estimate.write_us;
			candidates[i].to_leader_us[r] = estimate.to_leader_us;
		}
	}
}

/* The replica that an administrator wants to lead; 0: none, or it cannot now. */
static uint64_t named(
	const struct map_shard *shard, const struct membership *membership, const struct leading_candidate candidates[])
{
	for (unsigned i = 0; i < membership->count; i++) {
		if (membership->at[i].node == shard->lead_wanted && candidates[i].able)
			return membership->at[i].replica;
	}
	return 0;
}

/* Whom an administrator named, as long as that node leads anything; 0: nobody. */
static uint64_t node_named(const struct node *node, const struct map_shard *shard)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_node *there = shard->lead_wanted == 0 ? NULL : map_node_find(map, shard->lead_wanted);

	return there != NULL && map_node_takes_leads(map, there) ? there->id : 0;
}

/* Somebody better is there and cannot lead now: lags, or its engine is being mended. That it can again is told by
 * nobody. */
static bool better_later(const struct node *node, const struct membership *membership,
	const struct leading_candidate candidates[], unsigned own)
{
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];

		if (!candidates[i].able && member->role_new == ROLE_VOTER &&
			candidates[i].rank < candidates[own].rank &&
			liveness_alive(node->liveness, member->node, node->time.now_ns))
			return true;
	}
	return false;
}

struct leading_choice leading_wanted(struct node *node, struct hosted *hosted, const struct map_shard *shard)
{
	const struct policy *policy = map_policy_find(node_map_in_force(node), shard->policy);
	const struct membership *membership = group_membership(driver_group(hosted->driver));
	const int own = membership_find(membership, driver_replica_id(hosted->driver));
	struct leading_candidate candidates[REPLICAS_MAX];
	struct leading_choice choice;
	member_set there = 0;
	unsigned to;

	if (policy == NULL || own < 0 || !driver_leads(hosted->driver))
		return (struct leading_choice){ 0, false };
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];
		const bool is_own = (int)i == own;

		candidates[i] = (struct leading_candidate){ .replica = member->replica,
			.rank = rank_of(node, policy, member),
			.able = is_own || leading_able(node, hosted, member) };
		if (is_own || liveness_alive(node->liveness, member->node, node->time.now_ns))
			there |= (member_set)1 << i;
	}
	if (node->resigning) { /* whoever else may, and at once */
		candidates[own].rank = UINT_MAX;
		to = leading_best_rank(candidates, membership->count, (unsigned)own);
		return (struct leading_choice){ (int)to == own ? 0 : candidates[to].replica, false };
	}
	if (node_named(node, shard) == node->identity.node)
		return (struct leading_choice){ 0, false };
	if (node_named(node, shard) != 0) { /* not taken back while that node is only slow */
		choice.to = named(shard, membership, candidates);
		choice.waits = choice.to == 0;
		return choice;
	}
	leading_decay(&hosted->leading, node->time.now_ns);
	if (policy->follow && !membership->joint)
		expect(node, hosted, policy, membership, there, candidates);
	choice = leading_choose(&hosted->leading, candidates, membership->count, (unsigned)own,
		policy->follow && !membership->joint, node->time.now_ns);
	choice.waits = choice.waits || (choice.to == 0 && better_later(node, membership, candidates, (unsigned)own));
	return choice;
}

void leading_offer(struct node *node, struct hosted *hosted, const struct map_shard *shard, uint64_t to)
{
	const struct policy *policy = map_policy_find(node_map_in_force(node), shard->policy);
	const bool asked = node_named(node, shard) != 0;

	assert(driver_leads(hosted->driver));
	log_info("lead offered", LOG_H("group", hosted->group), LOG_U("replica", to),
		LOG_S("why", node->resigning   ? "resigning"
			     : asked	       ? "asked for"
			     : hosted->follows ? "follow"
					       : "rank"));
	if (!asked && !node->resigning)
		leading_tried(&hosted->leading, policy != NULL && policy->follow, node->time.now_ns);
	driver_transfer(hosted->driver, to, node->time);
	node_touch(node, hosted);
}

/* Before the mover looks at a shard. True: it is led here and has to be looked at again and again. */
bool leading_noticed(struct node *node, struct hosted *hosted, const struct map_shard *shard)
{
	const struct policy *policy = map_policy_find(node_map_in_force(node), shard->policy);
	const bool leads = driver_leads(hosted->driver);

	leading_role(&hosted->leading, leads, node->time.now_ns);
	hosted->follows = leads && policy != NULL && policy->follow;
	return hosted->follows;
}
