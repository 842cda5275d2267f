/* tests/unit/policy/test_level.c: levelling in large: a map of as many shards, policies and nodes as may be is levelled
 * by bounded plans, each of which goes on where the one before ended. What it may do in small shows
 * tests/unit/replication/test_meta_rebalance.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/level.h"

enum { REGIONS = 4, ZONES = 3, COPIES = 3 };

static void add_places(struct cluster_map *map)
{
	for (unsigned i = 0; i < REGIONS; i++) {
		struct map_region *region = &map->regions[map->region_count++];
		snprintf(region->name, sizeof(region->name), "r%u", i);
		snprintf(region->site.place.text, sizeof(region->site.place.text), "eu/r%u", i);
	}
	for (unsigned i = 0; i < MAP_NODES_MAX; i++) {
		struct map_node *node = &map->nodes[map->node_count++];
		node->id = 1 + i;
		node->region = (uint16_t)(i % REGIONS);
		snprintf(node->place.text, sizeof(node->place.text), "eu/r%u/z%u/n%u", i % REGIONS, i / REGIONS % ZONES,
			i);
	}
}

/* Everywhere, or pinned to three regions. */
static void add_policy(struct cluster_map *map, unsigned at, bool pinned)
{
	struct policy *policy = &map->policies[map->policy_count++];
	char place[PLACE_TEXT_MAX];
	policy->copies = COPIES;
	policy->spread = SPREAD_REGION;
	snprintf(policy->name, sizeof(policy->name), "p%u", at);
	for (unsigned i = 0; i < (pinned ? COPIES : 1); i++) {
		snprintf(place, sizeof(place), "eu/r%u", (at + i) % REGIONS);
		assert_true(selector_parse(pinned ? place : "*", &policy->store_in.at[policy->store_in.count++], NULL));
	}
	policy_complete(policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD);
	policy->id = 1000 + at;
}

/* On the first half of the nodes of three regions. */
static void add_shard(struct cluster_map *map, unsigned policy, unsigned at)
{
	const unsigned there = MAP_NODES_MAX / REGIONS / 2;
	struct map_shard *shard = &map->shards[map->shard_count++];
	shard->id = 100000 + map->shard_count;
	shard->policy = map->policies[policy].id;
	shard->hash_last = UINT64_MAX;
	for (unsigned i = 0; i < COPIES; i++) {
		unsigned node = (policy + i) % REGIONS + REGIONS * ((policy * 7 + at) % there);
		shard->wanted[i] = (struct map_replica){
			.replica = map->id_next++, .node = map->nodes[node].id, .role = ROLE_VOTER
		};
	}
	shard->wanted_count = shard->replica_count = shard->member_count = COPIES;
	memcpy(shard->replicas, shard->wanted, sizeof(shard->replicas));
}

static struct cluster_map *large(bool pinned)
{
	struct cluster_map *map =
		cluster_map_init(calloc(1, cluster_map_size(&map_limits_default)), &map_limits_default);
	map->epoch = 1;
	map->id_next = 1000000;
	add_places(map);
	for (unsigned i = 0; i < MAP_POLICIES_MAX; i++) {
		add_policy(map, i, pinned);
		for (unsigned j = 0; j < MAP_SHARDS_MAX / MAP_POLICIES_MAX; j++)
			add_shard(map, i, j);
	}
	return map;
}

/* As if all of it were done. */
static void carry_out(struct cluster_map *map, const struct level_plan *plan)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		struct map_shard *shard = &map->shards[plan->moves[i].shard];
		struct map_replica *replica = &shard->wanted[plan->moves[i].replica];
		assert_int_equal(replica->node, plan->moves[i].from);
		assert_null(map_replica_on(shard->wanted, shard->wanted_count, plan->moves[i].to));
		replica->node = plan->moves[i].to;
		memcpy(shard->replicas, shard->wanted, sizeof(shard->replicas));
	}
}

static void check_shards(const struct cluster_map *map)
{
	unsigned carried[MAP_NODES_MAX] = { 0 }, least = UINT32_MAX, most = 0;
	for (uint32_t i = 0; i < map->shard_count; i++) {
		unsigned regions = 0;
		for (unsigned j = 0; j < COPIES; j++) {
			const struct map_node *node = map_node_find(map, map->shards[i].wanted[j].node);
			struct site site = map->regions[node->region].site;
			site.place = node->place;
			regions |= 1u << node->region;
			carried[node - map->nodes]++;
			assert_true(policy_may_store(map_policy_find(map, map->shards[i].policy), &site));
		}
		assert_true(regions == 7 || regions == 11 || regions == 13 || regions == 14); /* three of four */
	}
	for (unsigned i = 0; i < MAP_NODES_MAX; i++) {
		least = carried[i] < least ? carried[i] : least;
		most = carried[i] > most ? carried[i] : most;
	}
	assert_true(most - least <= 1);
}

static void level_all(bool pinned)
{
	struct cluster_map *map = large(pinned);
	static struct level_plan plan, again;
	unsigned moves = 0, plans = 0;
	do {
		level_plan(map, &plan);
		if (plans % 16 == 0) {
			level_plan(map, &again); /* the same of the same map */
			assert_int_equal(again.count, plan.count);
			for (uint32_t i = 0; i < plan.count; i++)
				assert_true(again.moves[i].shard == plan.moves[i].shard &&
					    again.moves[i].to == plan.moves[i].to);
		}
		assert_true(plan.count > 0 || plan.complete); /* else it would never end */
		assert_true(plan.count <= LEVEL_MOVES_MAX);
		carry_out(map, &plan);
		moves += plan.count;
		plans++;
	} while (plan.count > 0);
	check_shards(map);
	/* Half of the nodes got their share, all of it from the others, and hardly any replica went further. */
	const unsigned share = map->shard_count * COPIES / 2;
	assert_in_range(moves, share - MAP_NODES_MAX, pinned ? share + share / 10 : share);
	assert_in_range(plans, moves / LEVEL_MOVES_MAX, 2 * (moves / LEVEL_MOVES_MAX));
	free(map);
}

static void test_all_that_a_map_holds_is_levelled(void **state)
{
	(void)state;
	level_all(false);
}

static void test_within_what_policies_name(void **state)
{
	(void)state;
	level_all(true);
}

static void test_an_empty_map_is_level(void **state)
{
	(void)state;
	struct cluster_map *map =
		cluster_map_init(calloc(1, cluster_map_size(&map_limits_default)), &map_limits_default);
	static struct level_plan plan;
	level_plan(map, &plan);
	assert_int_equal(plan.count, 0);
	assert_true(plan.complete);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_that_a_map_holds_is_levelled),
		cmocka_unit_test(test_within_what_policies_name),
		cmocka_unit_test(test_an_empty_map_is_level),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
