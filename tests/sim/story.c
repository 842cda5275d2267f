/* tests/sim/story.c: see tests/sim/story.h. */
#include "tests/sim/story.h"

#include <string.h>

#include "policy/change.h"
#include "server/node_internal.h"
#include "tests/sim/faults.h"
#include "tests/sim/found.h"
#include "tests/sim/load.h"

void story_wait_ms(struct world *world, uint64_t ms)
{
	(void)world_run_until(world, world->now_ns + ms * 1000000);
}

void story_cut(struct world *world, unsigned from, unsigned to)
{
	world->cut[from][to] = true;
	world->stats.partitions++;
	world->stats.faults++;
}

void story_cut_regions(struct world *world, unsigned regions)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		bool in = regions >> world->nodes[i].region & 1;

		for (unsigned j = 0; j < world->node_count; j++) {
			if (in != (regions >> world->nodes[j].region & 1))
				story_cut(world, i, j);
		}
		world->cut_clients[i] = world->cut_clients[i] || in;
	}
}

void story_whole_again(struct world *world)
{
	memset(world->cut, 0, sizeof(world->cut));
	memset(world->cut_clients, 0, sizeof(world->cut_clients));
	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->node_count && world->nodes[i].node != NULL; j++) {
			if (i != j && world->nodes[j].id != 0)
				node_peer_connected(
					world->nodes[i].node, world->nodes[j].id, node_now(&world->nodes[i]));
		}
		node_kick(&world->nodes[i]);
	}
}

void story_kill(struct world *world, unsigned slot, bool power)
{
	node_crash(world, slot, power);
	world->stats.faults++;
	if (power)
		world->stats.power_cuts++;
	else
		world->stats.crashes++;
}

void story_start(struct world *world, unsigned slot)
{
	if (world->nodes[slot].node == NULL)
		node_start(world, slot);
}

void story_apply_world(struct world *world, bool eu_only, unsigned copies)
{
	static struct change change;
	static struct policy policy;

	memset(&change, 0, sizeof(change));
	found_policy_world(&policy, eu_only, copies, 0, world->knobs.local_reads);
	policy.follow = world->knobs.follow;
	if (eu_only && world->knobs.witness && world->knobs.erased_in_time)
		found_policy_witnessed(&policy, "us");
	if (world->knobs.erase_within_s > 0)
		policy.erase_within_s = world->knobs.erase_within_s;
	change.kind = CHANGE_APPLY;
	change.policies = &policy;
	change.policy_count = 1;
	found_change_async(world, &change);
	world->stats.moves++;
	world->stats.faults++;
}

unsigned story_succeeded_since(const struct world *world, uint64_t since_ns)
{
	size_t count;
	const struct load_record *history = load_history(world, &count);
	unsigned good = 0;

	for (size_t i = 0; i < count; i++)
		good += history[i].invoked_ns >= since_ns && history[i].done && history[i].status == STATUS_OK;
	return good;
}

void story_calm(struct world_knobs *knobs)
{
	knobs->regions = 4;
	knobs->nodes_per_region = 1;
	knobs->copies = 3;
	knobs->loss_ppm = knobs->duplicate_ppm = 0;
	knobs->compactions = knobs->bindings = knobs->witness = knobs->ranges = false;
	knobs->erase_within_s = 0;
}

void story_lossy(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->loss_ppm = 20000;
	knobs->duplicate_ppm = 20000;
	knobs->compactions = true;
}

void story_five_regions(struct world_knobs *knobs)
{
	story_calm(knobs);
	knobs->regions = 5;
}

int story_leader_slot_of(const struct world *world, uint64_t id)
{
	uint64_t term = 0;
	int slot = -1;

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct group *group = world->nodes[i].node == NULL ? NULL : node_group(world->nodes[i].node, id);
		struct group_status status;

		if (group == NULL)
			continue;
		status = group_status(group, world->nodes[i].last_local_ns);
		if (status.role == GROUP_LEADER && status.term > term) {
			term = status.term;
			slot = (int)i;
		}
	}
	return slot;
}

void story_name_leader(struct world *world, uint64_t shard, uint64_t node)
{
	struct change change;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_SHARD_LEAD;
	change.shard = shard;
	change.target_node = node;
	found_change_async(world, &change);
	world->stats.transfers++;
	world->stats.faults++;
}

bool story_of_world(const struct cluster_map *map, const struct map_shard *shard)
{
	const struct policy *policy = map_policy_find(map, shard->policy);

	return policy != NULL && strcmp(policy->name, "world") == 0;
}

void story_drained(struct world_knobs *knobs)
{
	knobs->nodes_per_region = 2;
	knobs->disk_full = knobs->ranges = false;
	knobs->drains = knobs->crashes = knobs->partitions = knobs->splits = knobs->moves = knobs->overlap = true;
}

void story_disturb(struct world *world, unsigned slot, unsigned other)
{
	story_wait_ms(world, prng_below(&world->faults, 700));
	switch (prng_below(&world->faults, 4)) {
	case 0:
		story_kill(world, slot, false);
		break;
	case 1:
		story_kill(world, slot, true);
		break;
	case 2:
		story_cut(world, slot, other);
		break;
	default:
		break; /* undisturbed */
	}
	story_wait_ms(world, prng_below(&world->faults, 1500));
	story_start(world, slot);
	story_whole_again(world);
	story_wait_ms(world, prng_below(&world->faults, 2000));
}

void story_one_cannot_go(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct node *node = world->nodes[i].node;
		const struct cluster_map *map = node == NULL ? NULL : node_map(node);

		for (uint32_t j = 0; map != NULL && j < map->operation_count; j++) {
			const struct map_operation *operation = &map->operations[j];
			struct change change = { .kind = CHANGE_MOVE_REPORT,
				.operation = operation->id,
				.phase = PHASE_COPY,
				.keys_found = 1 };

			if (operation->state != OPERATION_RUNNING || operation->phase != PHASE_COPY)
				continue;
			change.shard = operation->shards_done[operation->steps_done];
			if (node_hosted(node, change.shard) == NULL)
				continue;
			mover_send_change(node, &change);
			node_kick(&world->nodes[i]);
			return;
		}
	}
}

void story_rehomed_drains(struct world *world)
{
	faults_start(world);
	for (unsigned round = 0; round < 40 && world->failure[0] == '\0'; round++) {
		faults_rebind(world);
		story_wait_ms(world, 300 + prng_below(&world->faults, 2500));
	}
}
