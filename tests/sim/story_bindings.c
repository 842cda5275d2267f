/* tests/sim/story_bindings.c: scenarios (tests/sim/scenarios.h): keys go to other policies. */
#include "tests/sim/story.h"

#include <string.h>

#include "policy/change.h"
#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/checkers.h"
#include "tests/sim/faults.h"
#include "tests/sim/found.h"

static void set_binding(struct world *world, uint8_t kind, const char *prefix, const char *policy)
{
	static struct change change;
	struct change_binding binding;

	memset(&change, 0, sizeof(change));
	memset(&binding, 0, sizeof(binding));
	change.kind = kind;
	change.bindings = &binding;
	change.binding_count = 1;
	binding.prefix_size = (uint16_t)strlen(prefix);
	memcpy(binding.prefix, prefix, binding.prefix_size);
	strcpy(binding.policy, policy);
	found_change_async(world, &change);
	world->stats.rebinds++;
	world->stats.faults++;
}

static void with_bindings(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->bindings = true;
	knobs->keys = 4;
}

/* Fences in force at the shards that this node leads. */
static unsigned fences_led(const struct node *node)
{
	unsigned count = 0;
	struct command fence;

	for (size_t i = 0; node != NULL && i < node->table_size; i++) {
		if (node->table[i] != NULL && driver_leads(node->table[i]->driver))
			for (uint32_t at = 0; driver_fence_at(node->table[i]->driver, at, &fence); at++)
				count++;
	}
	return count;
}

/* The first node, not meta's leader, that puts a fence up at a shard it leads hears nothing more of meta's. */
static void deafen_who_fences(struct world *world, int meta)
{
	unsigned before[WORLD_NODES_MAX];

	for (unsigned i = 0; i < world->node_count; i++)
		before[i] = fences_led(world->nodes[i].node);
	for (unsigned ms = 0; ms < 300; ms++) {
		story_wait_ms(world, 1);
		for (unsigned i = 0; i < world->node_count; i++) {
			if (meta < 0 || i == (unsigned)meta || fences_led(world->nodes[i].node) <= before[i])
				continue;
			story_cut(world, (unsigned)meta, i);
			return;
		}
	}
}

/* A key is bound to one policy, then to another, whenever it happens to be absent. Clients have old maps, and so has
 * the node that put up the fence: it does not hear that the key lives elsewhere by now, and is written there. */
static void play_rebound(struct world *world)
{
	static const char *const prefixes[] = { "w/k0", "w/k1", "w/k2", "w/k3" };

	for (unsigned round = 0; round < 40 && world->failure[0] == '\0'; round++) {
		int meta = story_leader_slot_of(world, META_GROUP);

		set_binding(world, CHANGE_BINDING_SET, prefixes[round % 4], round / 4 % 2 == 0 ? "other" : "world");
		deafen_who_fences(world, meta);
		story_wait_ms(world, 900);
		story_whole_again(world);
		story_wait_ms(world, 400);
	}
}

static void rebinding(struct world_knobs *knobs)
{
	story_lossy(knobs);
	knobs->bindings = true;
	knobs->keys = knobs->keys % 2 == 0 ? 3 : 12; /* so many that one is inside another */
	knobs->levels = true;
	knobs->cold = 1;
}

static void late_reads(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->bindings = true;
	knobs->keys = 3;
	knobs->clients_per_region = 3;
	knobs->local_reads = knobs->follow = knobs->splits = false;
	knobs->cold = 1;
	knobs->disk_us = 300;
}

static void rebinding_witnessed(struct world_knobs *knobs)
{
	rebinding(knobs);
	knobs->witness = true;
}

static void scanning(struct world_knobs *knobs)
{
	rebinding(knobs);
	knobs->old_scans = true;
}

/* Reads wait for the disk for longer than it takes their keys to go to another policy and be removed. */
static void play_late_reads(struct world *world)
{
	world->knobs.job_wait_us = 700000;
	for (unsigned round = 0; round < 60 && world->failure[0] == '\0'; round++) {
		unsigned slot = (unsigned)prng_below(&world->faults, world->node_count);

		faults_rebind(world);
		story_wait_ms(world, 1000);
		if (round % 20 != 9)
			continue;
		story_kill(world, slot, false);
		story_wait_ms(world, 500);
		story_start(world, slot);
		story_whole_again(world);
	}
}

/* Bindings take keys from one policy to another and back, or are given up on the way; at every moment of that somebody
 * crashes, loses the power, or cannot be heard by another. */
static void play_rehomed(struct world *world)
{
	for (unsigned round = 0; round < 60 && world->failure[0] == '\0'; round++) {
		unsigned slot = (unsigned)prng_below(&world->faults, world->node_count);
		unsigned other = (unsigned)prng_below(&world->faults, world->node_count);

		if (round == 10)
			world->knobs.job_wait_us = 600000; /* a read waits for the disk while its key goes */
		faults_rebind(world);
		for (unsigned ms = 0; ms < 300 && round % 3 == 0; ms += 10) {
			story_wait_ms(world, 10);
			story_one_cannot_go(world);
		}
		story_disturb(world, slot, other);
	}
}

static bool bindings_settled(struct world *world, unsigned seconds)
{
	for (unsigned tenth = 0; tenth < 10 * seconds && world->failure[0] == '\0'; tenth++) {
		story_wait_ms(world, 100);
		if (checkers_settled(world))
			return true;
	}
	return false;
}

static void behind(struct world_knobs *knobs)
{
	story_five_regions(knobs);
	knobs->bindings = true;
	knobs->keys = 13; /* w/k12 is inside w/k1 */
	knobs->clients_per_region = 1;
	knobs->disk_full = knobs->bit_flips = knobs->damages = false;
	knobs->wide = true;
	knobs->support_us = 1200000; /* more than the longest round trip */
	knobs->heartbeat_us = 120000;
}

static const struct map_operation *operation_of(const struct cluster_map *map, const char *prefix)
{
	for (uint32_t i = map->operation_count; i > 0; i--) {
		const struct map_operation *operation = &map->operations[i - 1];

		if (operation->kind == OPERATION_BINDING && operation->state == OPERATION_RUNNING &&
			bytes_equal(bytes_of(operation->prefix, operation->prefix_size), bytes_text(prefix)))
			return operation;
	}
	return NULL;
}

/* The shard of the policy that the key would be in. */
static uint64_t shard_of_key(const struct cluster_map *map, const char *policy, const char *key)
{
	const struct map_shard *shard = map_shard_of(map, map_policy_by_name(map, policy)->id, bytes_text(key));

	return shard == NULL ? 0 : shard->id;
}

/* Copies of the shard that have the fence, and not yet the key that comes behind it, have that on their disks. */
static void flush_before(struct world *world, uint64_t shard, uint64_t operation, const char *key)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *node = &world->nodes[i];
		struct hosted *hosted = node->node == NULL ? NULL : node_hosted(node->node, shard);
		struct buffer *row = NULL;

		if (hosted == NULL || !driver_fence_of(hosted->driver, operation))
			continue;
		if (engine_get(driver_engine(hosted->driver), ENGINE_SPACE_KEYS, bytes_text(key), &row) ==
				STATUS_NOT_FOUND &&
			driver_flush(hosted->driver, 1000, node_now(node)) == STATUS_OK)
			node_kick(node);
		buffer_unref(row);
	}
}

/* Keys come behind a fence while its operation waits. When it goes on, all copies of their shard are lost, and all but
 * its leader's come back at once, without what they had not flushed: who leads next has the fence, and does not know
 * yet of what came behind it. */
static void play_behind(struct world *world)
{
	unsigned lost = 0;

	for (unsigned round = 0; round < 12 && world->failure[0] == '\0'; round++) {
		const struct map_operation *outer;

		set_binding(world, CHANGE_BINDING_SET, "w/k12", "other");
		story_wait_ms(world, 1000);
		if (!bindings_settled(world, 30))
			break;
		set_binding(world, CHANGE_BINDING_UNSET, "w/k1", "");
		story_wait_ms(world, 1000);
		if (!bindings_settled(world, 30))
			break;
		story_wait_ms(world, 2000);
		set_binding(world, CHANGE_BINDING_UNSET, "w/k12", "");
		set_binding(world, CHANGE_BINDING_SET, "w/k1", "other");
		for (unsigned ms = 0; ms < 8000 && world->failure[0] == '\0'; ms++) {
			int meta = story_leader_slot_of(world, META_GROUP), leader;
			const struct cluster_map *map = meta < 0 ? NULL : node_map(world->nodes[meta].node);
			uint64_t shard = map == NULL ? 0 : shard_of_key(map, "world", "w/k12");

			story_wait_ms(world, 1);
			meta = story_leader_slot_of(world, META_GROUP);
			if (meta < 0 || shard == 0)
				continue;
			map = node_map(world->nodes[meta].node);
			outer = operation_of(map, "w/k1");
			leader = story_leader_slot_of(world, shard);
			if (outer == NULL || leader < 0)
				continue;
			flush_before(world, shard, outer->id, "w/k12");
			if (outer->phase != PHASE_COPY)
				continue;
			if (node_hosted(world->nodes[meta].node, shard) != NULL)
				break; /* meta is to go on */
			for (unsigned i = 0; i < world->node_count; i++) {
				if (world->nodes[i].node == NULL || node_hosted(world->nodes[i].node, shard) == NULL)
					continue;
				story_kill(world, i, false);
				if ((int)i != leader)
					story_start(world, i);
			}
			story_wait_ms(world, 8000);
			story_start(world, (unsigned)leader);
			lost++;
			break;
		}
		if (!bindings_settled(world, 30))
			break;
		story_wait_ms(world, 1000);
	}
	world_log(world, "%u leaders were lost", lost);
}

/* Somebody who was not asked says that the keys which are out have arrived. */
static void answer_for_others(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *to = &world->nodes[i], *from = &world->nodes[(i + 1) % world->node_count];

		for (size_t t = 0; to->node != NULL && t < to->node->table_size; t++) {
			const struct hosted *hosted = to->node->table[t];
			struct message message = { .kind = MESSAGE_ADOPT_REPLY };

			if (hosted == NULL || hosted->rebind.number == 0 || hosted->rebind.asked == from->id ||
				to->paused_until_ns > world->now_ns)
				continue;
			message.adopt_reply.source = hosted->group;
			message.adopt_reply.number = hosted->rebind.number;
			message.adopt_reply.status = STATUS_OK;
			node_received(to->node, from->id, &from->who, &message, node_now(to));
			node_kick(to);
			world->stats.faults++;
		}
	}
}

/* A witness, which has no keys, says of a shard that its step is done, and that no key was there. */
static void report_as_witness(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct node *node = world->nodes[i].node;
		const struct cluster_map *map = node == NULL ? NULL : node_map(node);

		for (uint32_t j = 0; map != NULL && j < map->operation_count; j++) {
			const struct map_operation *operation = &map->operations[j];
			struct change change = { .kind = CHANGE_MOVE_REPORT, .operation = operation->id };

			for (uint32_t n = operation->steps_done;
				operation->kind == OPERATION_BINDING && operation->state == OPERATION_RUNNING &&
				n < operation->steps;
				n++) {
				const struct hosted *hosted = node_hosted(node, operation->shards_done[n]);

				if (hosted == NULL || !driver_is_witness(hosted->driver))
					continue;
				change.shard = hosted->group;
				change.phase = operation->phase == PHASE_FENCE ? 0 : operation->phase;
				if (operation->phase == PHASE_FENCE)
					change.kind = CHANGE_FENCE_REPORT;
				mover_send_change(node, &change);
				node_kick(&world->nodes[i]);
				world->stats.faults++;
			}
		}
	}
}

static void play_forged(struct world *world)
{
	for (unsigned round = 0; round < 30 && world->failure[0] == '\0'; round++) {
		faults_rebind(world);
		for (unsigned ms = 0; ms < 1500; ms += 5) {
			story_wait_ms(world, 5);
			if (world->knobs.witness && ms % 50 == 0)
				report_as_witness(world);
			else
				answer_for_others(world);
		}
	}
}

static const struct scenario scenarios[] = {
	{ "rebound", "keys are bound to one policy and another while clients have old maps", with_bindings,
		play_rebound },
	{ "rehomed", "bindings take their keys along while nodes crash and do not hear each other", rebinding,
		play_rehomed },
	{ "rehomed-scans", "the same, and what is scanned may be old", scanning, play_rehomed },
	{ "rehomed-witness", "the same, of shards that have a witness", rebinding_witnessed, play_rehomed },
	{ "late-reads", "keys go to another policy while reads of them wait for the disk", late_reads,
		play_late_reads },
	{ "behind", "keys come behind a fence, and the leader is lost that knows of them", behind, play_behind },
	{ "forged", "who was not asked says that keys have arrived", rebinding, play_forged },
	{ "forged-witness", "and a witness says that all is done", rebinding_witnessed, play_forged },
};
const struct stories stories_bindings = { scenarios, sizeof(scenarios) / sizeof(scenarios[0]) };
