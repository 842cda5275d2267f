/* tests/sim/story_moves.c: scenarios (tests/sim/scenarios.h): shards go to other nodes. */
#include "tests/sim/story.h"

#include <string.h>

#include "policy/change.h"
#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/checkers.h"
#include "tests/sim/disk_model.h"
#include "tests/sim/drains.h"
#include "tests/sim/faults.h"
#include "tests/sim/found.h"

static void five_quiet(struct world_knobs *knobs)
{
	story_five_regions(knobs);
	knobs->copies = 5;
}

static void five_copies(struct world_knobs *knobs)
{
	five_quiet(knobs);
	knobs->loss_ppm = 100000; /* so that the last words of who leaves go unheard */
}

/* A policy goes back and forth between the EU and everywhere, while regions come and go: places added and left. */
static void play_moves(struct world *world)
{
	for (unsigned round = 0; round < 8 && world->failure[0] == '\0'; round++) {
		story_apply_world(world, round % 2 == 0, 3);
		story_wait_ms(world, 300 * round);
		if (round % 3 == 1)
			story_cut_regions(world, 1U << round % world->knobs.regions);
		if (round % 3 == 2)
			story_kill(world, round % world->node_count, false);
		story_wait_ms(world, 4000);
		story_whole_again(world);
		for (unsigned i = 0; i < world->node_count; i++)
			story_start(world, i);
		story_wait_ms(world, 4000);
	}
}

/* Most voters of a shard lie outside what the policy allows from now on: they are led out all the same. */
static void play_tightened(struct world *world)
{
	for (unsigned round = 0; round < 4 && world->failure[0] == '\0'; round++) {
		story_wait_ms(world, 3000);
		story_apply_world(world, false, 3);
		story_wait_ms(world, 6000);
		story_apply_world(world, true, 3); /* and not taken back after the last round */
		story_wait_ms(world, 10000);
	}
}

static void quotas(struct world *world, uint64_t free_bytes)
{
	for (unsigned i = 0; i < world->node_count; i++)
		disk_model_quota(world->nodes[i].dir, free_bytes);
}

/* Where a replica should have been made while the disk was full there is one soon after. */
static void play_born_full(struct world *world)
{
	for (unsigned round = 0; round < 4 && world->failure[0] == '\0'; round++) {
		quotas(world, 1 << 20); /* enough for what is small; engines find it full */
		story_apply_world(world, round % 2 == 0, 3);
		story_wait_ms(world, 1500);
		quotas(world, UINT64_MAX);
		story_wait_ms(world, 12000);
		const struct cluster_map *map = node_map(world->nodes[0].node);
		for (uint32_t i = 0; i < map->shard_count; i++) {
			const struct map_shard *shard = &map->shards[i];

			for (unsigned j = 0; j < shard->wanted_count && world->failure[0] == '\0'; j++) {
				struct world_node *at = world_node_by_id(world, shard->wanted[j].node);
				struct hosted *hosted = node_hosted(at->node, shard->id);

				if (hosted == NULL || driver_replica_id(hosted->driver) != shard->wanted[j].replica)
					world_fail(world, "node %u has no replica of shard %llu", at->slot,
						(unsigned long long)shard->id);
			}
		}
	}
}

/* A client that does not say by which rules it judged writes at a node whose replica has no place there any more, while
 * the group goes on without it. True: there was such a follower. */
static bool write_outside(struct world *world, struct world_node *at, const char *key)
{
	const struct cluster_map *map = node_map(at->node);
	const struct map_binding *binding = map_binding_of(map, bytes_text(key));
	const struct map_shard *shard = binding == NULL ? NULL : map_shard_of(map, binding->policy, bytes_text(key));
	struct hosted *hosted = shard == NULL ? NULL : node_hosted(at->node, shard->id);
	struct message message = { .kind = MESSAGE_REQUEST, .request = UINT64_MAX };
	struct peer_identity who = { .role = PEER_CLIENT, .place = world->nodes[0].who.place };
	uint32_t waiting = at->node->pending_count;

	if (hosted == NULL || hosted->doomed || driver_leads(hosted->driver) ||
		driver_leader_node(hosted->driver) == 0 || residency_hold(at->node, shard->policy, false) ||
		residency_evacuates(at->node, hosted) || !driver_takes_writes(hosted->driver))
		return false;
	message.ask = (struct message_request){ .operation = OPERATION_DELETE,
		.map_epoch = map->epoch,
		.policy = shard->policy,
		.shard = shard->id,
		.client = 1,
		.sequence = world->now_ns,
		.low_water = world->now_ns,
		.key = bytes_text(key) };
	node_requested(at->node, ADMIN_CLIENT + 1, &who, &message, node_now(at));
	if (at->node->pending_count > waiting)
		world_fail(world, "node %u took a write that it may not store, and cannot answer", at->slot);
	node_kick(at);
	return true;
}

/* Followers outside are asked to write while they are led out. A note would tell them that the write is committed, for
 * notes carry no data; but it never comes to them, so they leave it to the leader. */
static void play_outside(struct world *world)
{
	static const char *const keys[] = { "w/out0", "w/out1", "w/out2", "w/out3" };
	unsigned asked = 0;

	for (unsigned tick = 0; tick < 2400 && world->failure[0] == '\0'; tick++) {
		if (tick % 200 == 0)
			story_apply_world(world, tick % 400 == 0, tick % 400 == 0 ? 3 : 5);
		story_wait_ms(world, 10);
		for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++)
			asked += world->nodes[i].node != NULL && write_outside(world, &world->nodes[i], keys[tick % 4]);
	}
	world_log(world, "%u times a replica outside was asked", asked);
	if (world->failure[0] == '\0' && asked == 0)
		world_fail(world, "no replica outside was ever asked: the run does not count");
}

/* Five copies, three, five: leaders are voted out, their replicas removed. */
static void play_copies(struct world *world)
{
	for (unsigned round = 0; round < 8 && world->failure[0] == '\0'; round++) {
		story_wait_ms(world, 2000);
		story_apply_world(world, false, round % 2 == 0 ? 3 : 5);
		story_wait_ms(world, 6000);
	}
}

/* Fewer copies are wanted, and as many as before again before anybody has left. */
static void play_turned(struct world *world)
{
	for (unsigned round = 0; round < 5 && world->failure[0] == '\0'; round++) {
		story_wait_ms(world, 1000);
		story_apply_world(world, false, 3);
		story_wait_ms(world, prng_below(&world->faults, 60));
		story_apply_world(world, false, 5);
		story_wait_ms(world, 2000);
	}
}

static void losing(struct world_knobs *knobs)
{
	story_drained(knobs);
	knobs->loses = knobs->bindings = knobs->transfers = true;
	knobs->bit_flips = knobs->damages = knobs->witness = false;
}

/* Drained and decommissioned, though whatever moves it may be undone, and it may be had back, meanwhile. A policy that
 * was tightened so far that its shards need the lost copy to get out of where they may not be any more is taken back.
 */
/* The answer to a change may be the one to another that was under way. */
static bool gone(const struct world *world, uint64_t id)
{
	const struct cluster_map *map = world_newest_map(world);
	const struct map_node *node;

	node = map == NULL ? NULL : map_node_find(map, id);
	return map != NULL && (node == NULL || node->state == NODE_GONE);
}

static bool bury(struct world *world, unsigned slot)
{
	static struct change change;
	const uint64_t id = world->nodes[slot].id;

	for (unsigned i = 0; i < 60 && world->failure[0] == '\0'; i++) {
		enum status status = STATUS_OK;

		for (unsigned removes = 0; removes < 2 && status == STATUS_OK; removes++) {
			memset(&change, 0, sizeof(change));
			change.kind = removes ? CHANGE_NODE_REMOVE : CHANGE_NODE_STATE;
			change.target_node = id;
			change.state = removes ? 0 : NODE_DRAINING;
			status = found_change(world, &change, 10 * (uint64_t)WORLD_SECOND);
		}
		if ((status == STATUS_OK || status == STATUS_NOT_FOUND) && gone(world, id))
			return true;
		world_log(world, "node %u is not rid of yet: change %u: %s: %s", slot, change.kind, status_name(status),
			found_detail());
		if (i % 10 == 9) {
			story_apply_world(world, false, world->knobs.copies);
			drains_all_back(world); /* or there is no place for what was on the lost one */
		}
		story_wait_ms(world, 1000);
		drains_replace(world);
		found_joins(world); /* there may be no other place until another has come */
	}
	if (world->failure[0] == '\0') {
		checkers_describe(world);
		drains_describe(world);
	}
	world_fail(world, "node %u is lost, and is never rid of", slot);
	return false;
}

/* Nodes are lost for ever while shards are on the way to them, policies and bindings change, and whatever runs may be
 * cancelled. */
static void play_cancelled(struct world *world)
{
	faults_start(world);
	for (unsigned round = 0; round < 4 && world->failure[0] == '\0'; round++) {
		unsigned slot = (unsigned)prng_below(&world->drains, world->node_count);
		struct world_node *node = &world->nodes[slot];
		const unsigned lives = node->former_count;

		if (node->id == 0 || lives + 2 >= WORLD_FORMER_MAX)
			continue;
		faults_rebind(world);
		for (unsigned i = 0; i < 3; i++)
			drains_send_to(world, slot);
		story_wait_ms(world, prng_below(&world->drains, 800));
		world_log(world, "node %u is lost for ever", slot);
		node_crash(world, slot, false);
		node->lost = true;
		world->stats.faults++;
		story_wait_ms(world, prng_below(&world->drains, 3000));
		drains_cancel(world);
		if (!bury(world, slot))
			return;
		for (unsigned i = 0; (node->former_count == lives || node->id == 0) && i < 60; i++) {
			story_wait_ms(world, 1000);
			drains_replace(world);
			found_joins(world);
		}
	}
}

static void overtaking(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->nodes_per_region = 2;
	knobs->follow = false;
}

static void cut_pair(struct world *world, unsigned a, unsigned b)
{
	story_cut(world, a, b);
	story_cut(world, b, a);
}

static void join_pair(struct world *world, unsigned a, unsigned b)
{
	world->cut[a][b] = world->cut[b][a] = false;
	node_peer_connected(world->nodes[a].node, world->nodes[b].id, node_now(&world->nodes[a]));
	node_peer_connected(world->nodes[b].node, world->nodes[a].id, node_now(&world->nodes[b]));
	node_kick(&world->nodes[a]);
	node_kick(&world->nodes[b]);
}

static void place_on(struct world *world, uint64_t shard, unsigned a, unsigned b, unsigned c)
{
	static struct change change;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_SHARD_PLACE;
	change.shard = shard;
	change.replica_count = 3;
	change.replicas[0].node = world->nodes[a].id;
	change.replicas[1].node = world->nodes[b].id;
	change.replicas[2].node = world->nodes[c].id;
	if (found_change(world, &change, 20 * (uint64_t)WORLD_SECOND) != STATUS_OK)
		world_fail(world, "shard %llx is not placed: %s", (unsigned long long)shard, found_detail());
}

/* What a step of play_overtaken waits for. */
struct overtaken {
	uint64_t shard;
	unsigned meta;
	unsigned leader; /* slot of who is to lead */
	unsigned host;	 /* ... to host it */
};

static bool nothing_moves(const struct world *world, const struct overtaken *at)
{
	return map_shard_find(node_map(world->nodes[at->meta].node), at->shard)->operation == 0;
}

static bool leads_it(const struct world *world, const struct overtaken *at)
{
	return story_leader_slot_of(world, at->shard) == (int)at->leader;
}

static bool hosts_it(const struct world *world, const struct overtaken *at)
{
	return node_group(world->nodes[at->host].node, at->shard) != NULL;
}

static bool is_led(const struct world *world, const struct overtaken *at)
{
	return story_leader_slot_of(world, at->shard) >= 0;
}

static void await(struct world *world, const struct overtaken *at, const char *what,
	bool (*holds)(const struct world *world, const struct overtaken *at))
{
	for (unsigned i = 0; i < 6000 && world->failure[0] == '\0' && !holds(world, at); i++)
		story_wait_ms(world, 5);
	if (world->failure[0] == '\0' && !holds(world, at))
		world_fail(world, "shard %llx: %s", (unsigned long long)at->shard, what);
}

/* A move is cancelled before its shard's leader has heard of it; who leads next, and who was to come, have heard of the
 * move and not of its end. The newcomer must not come to vote: when it hears, it removes what it has. */
static void play_overtaken(struct world *world)
{
	unsigned slots[4], a, b, c, d;
	struct overtaken at = { 0 };
	static struct change change;
	const struct cluster_map *map;

	story_wait_ms(world, 3000);
	at.meta = (unsigned)story_leader_slot_of(world, META_GROUP);
	map = node_map(world->nodes[at.meta].node);
	for (unsigned i = 0; i < 4; i++) /* one of each region, and none votes in meta */
		slots[i] = map_node_find(map, world->nodes[i].id)->meta_voter ? i + 4 : i;
	a = slots[0];
	at.leader = b = slots[1];
	c = slots[2];
	at.host = d = slots[3];
	for (uint32_t i = 0; i < map->shard_count && at.shard == 0; i++)
		at.shard = story_of_world(map, &map->shards[i]) ? map->shards[i].id : 0;
	place_on(world, at.shard, a, b, c);
	await(world, &at, "it does not come to where it was placed", nothing_moves);
	story_name_leader(world, at.shard, world->nodes[b].id);
	await(world, &at, "who is named does not lead", leads_it);
	if (world->failure[0] != '\0')
		return;

	cut_pair(world, at.meta, b);
	place_on(world, at.shard, a, b, d);
	await(world, &at, "who is to come does not host it", hosts_it);
	cut_pair(world, at.meta, a);
	cut_pair(world, at.meta, d);
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_CANCEL;
	change.operation = map_shard_find(node_map(world->nodes[at.meta].node), at.shard)->operation;
	if (found_change(world, &change, 20 * (uint64_t)WORLD_SECOND) != STATUS_OK)
		world_fail(world, "the move is not cancelled: %s", found_detail());
	join_pair(world, at.meta, b);
	await(world, &at, "what is cancelled never ends", nothing_moves);

	at.leader = a;
	story_name_leader(world, at.shard, world->nodes[a].id);
	await(world, &at, "who is named does not lead, after the move", leads_it);
	story_kill(world, b, false);
	story_wait_ms(world, 5000);
	if (world->failure[0] != '\0')
		return;
	join_pair(world, at.meta, d);
	story_wait_ms(world, 3000);
	story_kill(world, a, false);
	story_start(world, b);
	await(world, &at, "one of its copies is down, and nobody leads", is_led);
	story_start(world, a);
	story_whole_again(world);
}

static const struct scenario scenarios[] = {
	{ "moves", "a policy moves its shards while regions come and go", story_lossy, play_moves },
	{ "tightened", "most voters of a shard lie outside its tightened policy", story_five_regions, play_tightened },
	{ "born-full", "replicas are to be made while disks are full", story_five_regions, play_born_full },
	{ "outside", "replicas that have no place any more are asked to write", five_quiet, play_outside },
	{ "copies", "five copies, three, five: leaders are voted out", five_copies, play_copies },
	{ "turned", "five copies, three, and five again before anybody has left", five_quiet, play_turned },
	{ "cancelled", "nodes are lost for ever while shards move there, and operations are cancelled", losing,
		play_cancelled },
	{ "overtaken", "a move is cancelled, and who leads the shard then has heard of the move only", overtaking,
		play_overtaken },
};
const struct stories stories_moves = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
