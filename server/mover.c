/* server/mover.c: carries out what the map wants of this node: hosts the replicas that are its, and, for the shards it
 * leads (and for meta, when it leads that), walks the membership to the wanted one:
 *
 *   add what is missing as learners -> wait until they have caught up -> joint change to the wanted voters -> (members
 * that left unlink their files once the map says so) -> report to meta.
 *
 * Every step is judged from the group's own committed membership and the newest map, never from memory of an earlier
 * step: a new leader, or a restarted one, goes on where the last one stopped. Nothing here is urgent; it runs after a
 * change of map, role or membership, and every MOVER_PERIOD_MS while something is unsettled.
 *
 * A replica of a shard that the map does not name any more is removed: it was merged, or never came to be.
 *
 * Where a shard is wanted may change on the way. Two rules keep a replica's files until no membership can name it any
 * more, for they may hold what was acknowledged:
 *  - each membership says by which map it was made, and who leads by an older one changes nothing;
 *  - a report leaves out only who is not in a membership made since the shard is wanted where it is: if need be, the
 *    same one is made again.
 *
 * Fences: an operation that moves keys waits until the shards that hold them now refuse them and have counted them. How
 * they then move: rebind.c. */
#include "server/node_internal.h"

#include <assert.h>
#include <string.h>

#include "base/buffer.h"
#include "policy/placement.h"

enum {
	REPORT_PERIOD_MS = 1000, /* an unanswered report is sent again */
	TRANSFER_PERIOD_MS = 3000,
};

static bool elapsed(const struct node *node, uint64_t since_ns, uint64_t ms)
{
	return since_ns == 0 || node->time.now_ns - since_ns >= ms * 1000000;
}

void mover_send_change(struct node *node, struct change *change)
{
	uint64_t leader = node->meta == NULL ? 0 : driver_leader_node(node->meta->driver);

	change->now_us = node->time.wall_us;
	if (node->meta != NULL && driver_leads(node->meta->driver)) {
		uint64_t token;
		struct pending *pending = pending_take(node, PENDING_INTERNAL, &token);

		if (pending == NULL)
			return;
		pending->group = META_GROUP;
		driver_propose_change(node->meta->driver, change, token, node->time);
		node_touch(node, node->meta);
	} else if (leader != 0) {
		static uint8_t bytes[8192];
		struct packer packer = { .data = bytes, .capacity = sizeof(bytes) };
		struct message message = { .kind = MESSAGE_ADMIN };

		change_encode(change, &packer);
		if (packer.overflow)
			return; /* reports are small; nothing else is sent from here */
		message.admin.verb = bytes_text("change");
		message.admin.body = bytes_of(bytes, packer.size);
		node->io.send(node->io.arg, leader, &message);
	}
}

/* The wanted membership of a shard as the log should carry it. */
static bool wanted_membership(const struct node *node, const struct map_shard *shard, struct membership *wanted)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct policy *policy = map_policy_find(map, shard->policy);

	return policy != NULL && placement_membership(map, policy, shard->wanted, shard->wanted_count, wanted);
}

static bool same_configuration(const struct membership *a, const struct membership *b)
{
	struct quorum_rule rule = a->rule_new;

	if (rule.degrade == DEGRADED) /* at the moment: the leader's to say */
		rule.degrade = DEGRADE_MAY;
	if (a->joint || b->joint || a->local_reads != b->local_reads || a->count != b->count ||
		memcmp(&rule, &b->rule_new, sizeof(rule)) != 0)
		return false;
	for (unsigned i = 0; i < a->count; i++) {
		int at = membership_find(b, a->at[i].replica);

		if (at < 0 || a->at[i].role_new != b->at[at].role_new || a->at[i].areas != b->at[at].areas)
			return false;
	}
	return true;
}

/* Region and zone numbers mean something only within one membership: given anew, from the map, when members of two come
 * together. A zone's number is the position of its first member. */
static void renumber(const struct node *node, struct membership *membership)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct place zones[REPLICAS_MAX];

	for (unsigned i = 0; i < membership->count; i++) {
		const struct map_node *there = map_node_find(map, membership->at[i].node);

		memset(&zones[i], 0, sizeof(zones[i]));
		membership->at[i].region = UINT8_MAX;
		membership->at[i].zone = (uint8_t)i;
		if (there == NULL)
			continue;
		membership->at[i].region = (uint8_t)there->region;
		zones[i] = place_prefix(&there->place, place_depth(&there->place) - 1);
		for (unsigned j = 0; j < i; j++) {
			if (place_equal(&zones[i], &zones[j])) {
				membership->at[i].zone = membership->at[j].zone;
				break;
			}
		}
	}
}

/* Learners that were to come, and are not wanted any more. */
static void forget_learners(struct membership *next, const struct membership *wanted)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < next->count; i++) {
		if (next->at[i].role_new == ROLE_LEARNER && membership_find(wanted, next->at[i].replica) < 0)
			continue;
		next->at[kept++] = next->at[i];
	}
	memset(&next->at[kept], 0, (next->count - kept) * sizeof(next->at[0]));
	next->count = (uint8_t)kept;
}

/* The next plain membership on the way from `now` to `wanted`: first every missing member as a learner, then wanted
 * itself once they have caught up. False: nothing to do at the moment. */
static bool next_membership(const struct node *node, const struct group *group, const struct membership *wanted,
	uint64_t last, struct membership *next)
{
	const struct membership *now = group_membership(group);
	bool missing = false, behind = false;

	*next = *now;
	forget_learners(next, wanted);
	for (unsigned i = 0; i < wanted->count; i++) {
		int at = membership_find(now, wanted->at[i].replica);
		struct group_progress progress;

		if (at < 0 && wanted->at[i].role_new == ROLE_WITNESS)
			continue; /* it has nothing to catch up with */
		if (at < 0) {
			if (next->count == REPLICAS_MAX)
				return false;
			next->at[next->count] = wanted->at[i];
			next->at[next->count].role_old = ROLE_NONE;
			next->at[next->count].role_new = ROLE_LEARNER;
			next->count++;
			missing = true;
		} else if (now->at[at].role_new == ROLE_LEARNER && wanted->at[i].role_new == ROLE_VOTER) {
			/* Who has acknowledged nothing may not be there at all, however short the log is: a leader
			 * whose map is older than the membership wants one back that was removed. */
			if (!group_progress(group, wanted->at[i].replica, &progress) || progress.match == 0 ||
				progress.match + LEADER_LAG_ENTRIES < last)
				behind = true;
		}
	}
	if (missing) {
		renumber(node, next);
		return true;
	}
	*next = *wanted;
	next->index = 0;
	return !behind && !same_configuration(now, wanted);
}

/* One step of one group that we lead. again: its membership is made anew even if it is the wanted one. True: settled.
 */
static bool move_members(struct node *node, struct hosted *hosted, const struct membership *wanted, bool again)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct group *group = driver_group(hosted->driver);
	struct group_status status = group_status(group, node->time.now_ns);
	struct membership next;
	bool there = same_configuration(group_membership(group), wanted);

	if (group_membership(group)->map_epoch > map->epoch)
		return false;
	if (there && !again)
		return status.commit >= group_membership(group)->index;
	if (status.changing || status.transferring || group_membership(group)->joint)
		return false;
	if (next_membership(node, group, wanted, status.last, &next) || there) {
		enum status started;

		next.map_epoch = map->epoch;
		started = driver_change_membership(hosted->driver, &next, node->time);

		(void)started; /* refused: not leader any more, or a change is under way: judged again next time */
		node_touch(node, hosted);
	}
	return false;
}

static void fill_replicas(struct change *change, const struct membership *membership)
{
	change->membership_index = membership->index;
	change->replica_count = 0;
	for (unsigned i = 0; i < membership->count; i++)
		change->replicas[change->replica_count++] = (struct map_replica){ .replica = membership->at[i].replica,
			.node = membership->at[i].node,
			.role = membership->at[i].role_new };
}

/* Nobody whom the map names beside the members can become one again: whoever leads from here on knows where the shard
 * is wanted. */
static bool may_leave_out(const struct map_shard *shard, const struct membership *membership)
{
	for (unsigned i = 0; i < shard->replica_count; i++) {
		if (membership_find(membership, shard->replicas[i].replica) < 0)
			return membership->map_epoch >= shard->wanted_epoch;
	}
	return true;
}

static void report_shard(struct node *node, struct hosted *hosted, const struct map_shard *shard)
{
	const struct membership *membership = group_membership(driver_group(hosted->driver));
	struct change change;

	if (!elapsed(node, hosted->reported_ns, REPORT_PERIOD_MS) && hosted->reported_index == membership->index)
		return;
	hosted->reported_ns = node->time.now_ns;
	hosted->reported_index = membership->index;
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_SHARD_REPORT;
	change.shard = shard->id;
	change.operation = shard->operation;
	change.generation = shard->generation + 1;
	fill_replicas(&change, membership);
	mover_send_change(node, &change);
}

static bool replicas_equal(const struct map_replica *a, unsigned a_count, const struct membership *membership)
{
	if (a_count != membership->count)
		return false;
	for (unsigned i = 0; i < a_count; i++) {
		int at = membership_find(membership, a[i].replica);

		if (at < 0 || membership->at[at].role_new != a[i].role)
			return false;
	}
	return true;
}

/* Proposes, for a shard that we lead, the fences that running operations want of its policy and that it has not yet.
 * What lies behind them is counted by rebind.c. */
static bool fence_shard(struct node *node, struct hosted *hosted, const struct map_shard *shard)
{
	const struct cluster_map *map = node_map_in_force(node);
	bool settled = true, due = elapsed(node, hosted->fence_ns, REPORT_PERIOD_MS);

	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		struct command fence;
		uint64_t token;

		if (!operation_moves_keys(operation->kind) || !map_operation_awaits(operation, shard->id))
			continue;
		memset(&fence, 0, sizeof(fence));
		fence.range = map_operation_fences_range(operation, shard->id);
		fence.hash_first = fence.range ? operation->hash_first : 0;
		fence.hash_last = fence.range ? operation->hash_last : 0;
		if (!fence.range &&
			!map_operation_fence(operation, shard->policy, &fence.exact, fence.exact_hash, &fence.key))
			continue;
		settled = false;
		if (driver_fence_of(hosted->driver, operation->id) || !due ||
			pending_take(node, PENDING_INTERNAL, &token) == NULL)
			continue;
		hosted->fence_ns = node->time.now_ns;
		fence.kind = COMMAND_FENCE;
		fence.operation = operation->id;
		fence.map_epoch = map->epoch;
		driver_propose(hosted->driver, &fence, 0, token, node->time); /* idempotent */
		node_touch(node, hosted);
	}
	return settled;
}

bool mover_fence_moved(const struct node *node, const struct hosted *hosted, const struct command *fence)
{
	const struct cluster_map *map = node_map_in_force(node);

	if (fence->range)
		return map_range_moved(map_shard_find(map, hosted->group), fence->hash_first, fence->hash_last);
	return map_fence_moved(map, fence->operation, hosted->policy, fence->exact, fence->exact_hash, fence->key);
}

static bool unfence(struct node *node, struct hosted *hosted)
{
	struct command fence;
	bool settled = true;

	for (uint32_t i = 0; driver_fence_at(hosted->driver, i, &fence); i++) {
		const struct map_operation *operation = map_operation_find(node_map_in_force(node), fence.operation);
		uint64_t token;

		if (operation != NULL && map_operation_fences(operation))
			continue;
		if (node_map_in_force(node)->epoch < fence.map_epoch)
			continue;
		if (mover_fence_moved(node, hosted, &fence))
			continue; /* its keys live elsewhere now: whoever still comes here has an old map */
		settled = false;
		if (!elapsed(node, hosted->fence_ns, REPORT_PERIOD_MS) ||
			pending_take(node, PENDING_INTERNAL, &token) == NULL)
			continue;
		hosted->fence_ns = node->time.now_ns;
		fence.kind = COMMAND_UNFENCE;
		fence.map_epoch = node_map_in_force(node)->epoch;
		driver_propose(hosted->driver, &fence, 0, token, node->time);
		node_touch(node, hosted);
		break;
	}
	return settled;
}

/* Its members are those that are wanted, and an operation waits to hear so: also when the map names the same already,
 * as of a shard that was to go elsewhere and is to stay after all. */
static bool has_come(const struct map_shard *shard, const struct membership *membership)
{
	return shard->operation != 0 && replicas_equal(shard->wanted, shard->wanted_count, membership);
}

static bool move_shard(struct node *node, struct hosted *hosted, const struct map_shard *shard)
{
	const struct group *group = driver_group(hosted->driver);
	struct membership wanted;
	bool settled = true, again = !may_leave_out(shard, group_membership(group));
	struct leading_choice lead;

	if (wanted_membership(node, shard, &wanted) && !move_members(node, hosted, &wanted, again))
		settled = false;
	if (may_leave_out(shard, group_membership(group)) && !group_membership(group)->joint &&
		group_status(group, node->time.now_ns).commit >= group_membership(group)->index &&
		(has_come(shard, group_membership(group)) ||
			!replicas_equal(shard->replicas, shard->replica_count, group_membership(group)))) {
		/* Whoever was voted out leaves the report to its successor: it is removed by it, and must not be before
		 * the others have somebody else to follow. */
		if (membership_is_voter(group_membership(group), driver_replica_id(hosted->driver)))
			report_shard(node, hosted, shard);
		settled = false;
	}
	if (!fence_shard(node, hosted, shard) || !unfence(node, hosted))
		settled = false;
	if (!rebind_run(node, hosted, shard))
		settled = false;
	lead = leading_wanted(node, hosted, shard);
	if (lead.waits)
		node->leads_move = true;
	if (lead.to != 0) {
		settled = false;
		if (elapsed(node, hosted->transfer_ns, TRANSFER_PERIOD_MS)) {
			hosted->transfer_ns = node->time.now_ns;
			leading_offer(node, hosted, shard, lead.to);
		}
	}
	return settled;
}

/* Whoever was decommissioned and lives hears of it through meta's log, stops, and leaves then. Who came to vote after
 * all, since meta was on its way to it, learns first: it stops only when its vote is not wanted. */
static void keep_until_told(const struct node *node, const struct membership *now, struct membership *wanted)
{
	const struct cluster_map *map = node_map_in_force(node);

	for (unsigned i = 0; i < now->count && wanted->count < REPLICAS_MAX; i++) {
		const struct map_node *there = map_node_find(map, now->at[i].node);

		if (there == NULL || there->state != NODE_GONE || now->at[i].role_new == ROLE_NONE ||
			!liveness_alive(node->liveness, there->id, node->time.now_ns))
			continue;
		wanted->at[wanted->count] = now->at[i];
		wanted->at[wanted->count++].role_new = ROLE_LEARNER;
	}
}

static bool voters_reported(const struct cluster_map *map, const struct membership *membership)
{
	for (uint32_t i = 0; i < map->node_count; i++) {
		int at = membership_find(membership, map->nodes[i].meta_replica);

		if (map->nodes[i].meta_voting != (at >= 0 && membership->at[at].role_new == ROLE_VOTER) ||
			(map->nodes[i].state == NODE_GONE && at < 0))
			return false;
	}
	return true;
}

static void report_meta(struct node *node, const struct membership *membership)
{
	struct change change;

	if (!elapsed(node, node->meta->reported_ns, REPORT_PERIOD_MS) &&
		node->meta->reported_index == membership->index)
		return;
	node->meta->reported_ns = node->time.now_ns;
	node->meta->reported_index = membership->index;
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_META_REPORT;
	fill_replicas(&change, membership);
	mover_send_change(node, &change);
}

/* Another voter of meta takes leads. */
static bool meta_may_go(const struct node *node, const struct membership *membership)
{
	const struct cluster_map *map = node_map_in_force(node);

	for (unsigned i = 0; i < membership->count; i++) {
		const struct map_node *there = map_node_find(map, membership->at[i].node);

		if (membership->at[i].role_new == ROLE_VOTER && there != NULL && map_node_takes_leads(map, there))
			return true;
	}
	return false;
}

static bool move_meta(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct hosted *meta = node->meta;
	const struct membership *membership = group_membership(driver_group(meta->driver));
	const struct map_node *own = map_node_find(map, node->identity.node);
	struct membership wanted;
	bool settled;

	if (map->epoch == 0)
		return true;
	meta_membership_wanted(map, &wanted);
	keep_until_told(node, membership, &wanted);
	settled = move_members(node, meta, &wanted, false);
	if (!membership->joint &&
		group_status(driver_group(meta->driver), node->time.now_ns).commit >= membership->index &&
		!voters_reported(map, membership)) {
		report_meta(node, membership);
		settled = false;
	}
	/* Kept, and offered in each period, while no other voter can take it. */
	if (own != NULL && !map_node_takes_leads(map, own) && meta_may_go(node, membership)) {
		mover_hand_over(node, meta);
		settled = false;
	}
	return settled;
}

/* The replica of ours that the map names for this shard, in force or wanted. */
static const struct map_replica *own_replica(const struct node *node, const struct map_shard *shard, bool *in_force)
{
	const struct map_replica *own = map_replica_on(shard->replicas, shard->replica_count, node->identity.node);

	*in_force = own != NULL;
	if (own == NULL)
		own = map_replica_on(shard->wanted, shard->wanted_count, node->identity.node);
	return own;
}

static bool is_wanted(const struct map_shard *shard, uint64_t replica)
{
	for (unsigned i = 0; i < shard->wanted_count; i++)
		if (shard->wanted[i].replica == replica)
			return true;
	return false;
}

/* Of those the group is born with, as far as the map knows. */
static bool first_member(const struct map_shard *shard, uint64_t replica)
{
	for (unsigned i = 0; i < shard->member_count && shard->membership_index == 0; i++)
		if (shard->replicas[i].replica == replica)
			return true;
	return false;
}

/* Was to come, did not, and is not wanted any more: it is named in case that it did, and need not. */
static bool overtaken(const struct map_shard *shard, uint64_t replica)
{
	for (unsigned i = 0; i < shard->member_count; i++)
		if (shard->replicas[i].replica == replica)
			return false;
	return !is_wanted(shard, replica);
}

/* Replicas are made and removed by the newest map that this directory ever acted on, or a newer one. After a restart
 * the map comes back from meta's log step by step: by an older one, a replica that was removed would be born again
 * without its memory, and one that came later would be removed with it. */
static bool take_epoch(struct node *node)
{
	uint64_t before = node->identity.map_epoch;
	enum status status;

	if (node_map_in_force(node)->epoch <= before)
		return true;
	node->identity.map_epoch = node_map_in_force(node)->epoch;
	status = identity_store(node->data, &node->identity);
	if (status == STATUS_OK)
		return true;
	if (status == STATUS_NO_SPACE) { /* the old one stands, and so does what is here, until there is room */
		node->identity.map_epoch = before;
		return false;
	}
	node->failed = true;
	node->io.fatal(node->io.arg, status, "the data directory's identity could not be written");
	return false;
}

static bool host_shard(struct node *node, const struct map_shard *shard)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct hosted *hosted = node_hosted(node, shard->id);
	bool in_force = false, witness;
	const struct map_replica *own = own_replica(node, shard, &in_force);
	struct membership birth;
	enum status status;

	if (hosted == NULL && node_ledger_unborn(node, shard->id, own == NULL ? 0 : own->replica))
		erasure_take_gone(node);
	if (hosted == NULL && (own == NULL || overtaken(shard, own->replica)))
		return true;
	if (own != NULL && hosted != NULL && driver_replica_id(hosted->driver) == own->replica)
		return true;
	if (!take_epoch(node))
		return false;
	if (own == NULL) {
		hosted->doomed = true;
		return false;
	}
	if (hosted != NULL) {
		hosted->doomed = true; /* an earlier replica of ours: its files go before the new one is born */
		return false;
	}
	witness = own->role == ROLE_WITNESS;
	if (!residency_hold(node, shard->policy, witness)) {
		/* A member that never came to be, before the policy was tightened: it is being voted out. */
		if (is_wanted(shard, own->replica))
			node->residency.violation[RESIDENCY_PLACEMENT]++;
		return true;
	}
	if (in_force && first_member(shard, own->replica)) {
		if (!placement_birth(map, shard, &birth))
			return false;
		status = node_host(node, shard->id, own->replica, witness, shard->policy, &birth);
	} else {
		/* Wanted, or in force since a change that this node slept through: it may only learn, never remember.
		 */
		status = node_host(node, shard->id, own->replica, witness, shard->policy, NULL);
	}
	return status == STATUS_OK;
}

/* Shards that left the map, which is at least as new as any that this directory acted on. Nobody misses a leader. */
static bool leave_gone(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	bool settled = true;
	uint64_t group;

	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];

		if (hosted == NULL || hosted == node->meta || hosted->named_epoch == map->epoch)
			continue;
		settled = false;
		if (hosted->doomed || take_epoch(node))
			hosted->doomed = hosted->gone = true;
	}
	for (uint32_t at = 0; node_ledger_here(node, &at, &group);)
		if (group != META_GROUP && node_hosted(node, group) == NULL && map_shard_find(map, group) == NULL &&
			node_ledger_unborn(node, group, 0))
			erasure_take_gone(node);
	return settled;
}

/* What others should dial, as configured here: told to meta until the map says the same. From then on until the next
 * start the map's word counts: an administrator may have changed it, and two who correct one another never end. */
static bool addresses_settled(struct node *node)
{
	const struct map_node *own = map_node_find(node_map_in_force(node), node->identity.node);
	uint8_t bytes[2][ADDRESSES_MAX * (SELECTOR_TEXT_MAX + ADDRESS_TEXT_MAX + 16)];
	struct packer packer[2];
	struct change change;

	if (own == NULL || node->addresses_agreed)
		return true;
	for (unsigned i = 0; i < 2; i++) {
		pack_init(&packer[i], bytes[i], sizeof(bytes[i]));
		address_list_encode(i == 0 ? &own->addresses : &node->options.addresses, &packer[i]);
	}
	node->addresses_agreed = bytes_equal(pack_result(&packer[0]), pack_result(&packer[1]));
	if (node->addresses_agreed)
		return true;
	if (node->meta != NULL && elapsed(node, node->addresses_ns, REPORT_PERIOD_MS)) {
		node->addresses_ns = node->time.now_ns;
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_NODE_ADDRESSES;
		change.node.id = node->identity.node;
		change.node.addresses = node->options.addresses;
		mover_send_change(node, &change);
	}
	return false;
}

/* The map says that we are gone, or, at least as new as the first that named us, names us no more. Nobody listens to us
 * then, and our id is never given again. */
static bool decommissioned(struct node *node)
{
	const struct map_node *own = map_node_find(node_map_in_force(node), node->identity.node);

	if (own != NULL && node->identity.map_epoch == 0)
		(void)take_epoch(node);
	return own == NULL ? node->identity.map_epoch != 0 : own->state == NODE_GONE;
}

/* Nothing is left here that anybody may miss, or that nobody may find: meta goes on without our vote, and of shards
 * there is no byte. */
static bool may_stop(const struct node *node)
{
	const struct hosted *meta = node->meta;

	if (node->hosted_count > (meta != NULL ? 1 : 0))
		return false;
	if (erasure_owed(node))
		return false; /* no node starts from here again to purge it */
	return meta == NULL ||
	       !membership_is_voter(group_membership(driver_group(meta->driver)), driver_replica_id(meta->driver));
}

/* The directory says so before we stop: after a restart the map would come back as it was. */
static void withdraw(struct node *node)
{
	enum status status;

	node->identity.map_epoch = IDENTITY_WITHDRAWN;
	status = identity_store(node->data, &node->identity);
	node->failed = true;
	node->io.fatal(node->io.arg, status == STATUS_OK ? STATUS_DENIED : status,
		"this node was decommissioned; to have one here again, start with an empty data directory");
}

void mover_run(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	bool settled = true, gone;

	node->mover_wanted = false;
	node->leads_move = false;
	if (!node->running || node->failed)
		return;
	node->mover_ns = UINT64_MAX;
	if (map->epoch < node->identity.map_epoch)
		return; /* meta's log is still coming back */
	gone = decommissioned(node);
	for (uint32_t i = 0; i < map->shard_count && !node->failed; i++) {
		const struct map_shard *shard = &map->shards[i];
		struct hosted *hosted;

		if (!host_shard(node, shard))
			settled = false;
		hosted = node_hosted(node, shard->id);
		if (hosted != NULL)
			hosted->named_epoch = map->epoch;
		if (hosted == NULL || hosted->doomed)
			continue;
		if (leading_noticed(node, hosted, shard))
			node->leads_move = true;
		if (driver_leads(hosted->driver) && !move_shard(node, hosted, shard))
			settled = false;
	}
	if (!node->failed && !leave_gone(node))
		settled = false;
	if (node->meta != NULL && driver_leads(node->meta->driver) && !move_meta(node))
		settled = false;
	if (gone && !node->failed && may_stop(node)) {
		withdraw(node);
		return;
	}
	if (gone || !addresses_settled(node))
		settled = false;
	node->mover_ns = settled ? UINT64_MAX : node->time.now_ns + (uint64_t)MOVER_PERIOD_MS * 1000000;
}

/* The first that could take over at once; `willing`: of those whose nodes take leads. 0: none. */
static uint64_t heir_of(const struct node *node, const struct hosted *hosted, bool willing)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct membership *membership = group_membership(driver_group(hosted->driver));

	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];
		const struct map_node *there = map_node_find(map, member->node);

		if (member->node != node->identity.node &&
			(!willing || (there != NULL && map_node_takes_leads(map, there))) &&
			leading_able(node, hosted, member))
			return member->replica;
	}
	return 0;
}

void mover_hand_over(struct node *node, struct hosted *hosted)
{
	uint64_t heir = heir_of(node, hosted, true);

	if (heir == 0 && node->resigning)
		heir = heir_of(node, hosted, false);
	if (heir == 0 || !elapsed(node, hosted->transfer_ns, TRANSFER_PERIOD_MS))
		return;
	hosted->transfer_ns = node->time.now_ns;
	driver_transfer(hosted->driver, heir, node->time);
	node_touch(node, hosted);
}
