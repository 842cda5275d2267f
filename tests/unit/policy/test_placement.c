/* tests/unit/policy/test_placement.c: placement against all choices there are (up to nine nodes): it finds one whenever
 * one exists, the count is exact, every node is allowed, and no more copies move than must. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>

#include <cmocka.h>

#include "base/prng.h"
#include "policy/placement.h"
#include "tests/unit/policy/policies.h"

static struct cluster_map *map;

static int set_up(void **state)
{
	(void)state;
	map = map_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(map);
	return 0;
}

static void clear(void)
{
	map->region_count = map->node_count = map->policy_count = map->binding_count = map->shard_count = 0;
	map->id_next = 2;
}

static void three_by_three(void)
{
	static const char *const regions[] = { "eu/ie/eu-west-1", "us/us-east-1", "ap/sg/ap-southeast-1" };
	clear();
	for (unsigned i = 0; i < 3; i++) {
		add_region(map, regions[i], "cloud=aws");
		for (char zone = 'a'; zone <= 'c'; zone++) {
			char place[PLACE_TEXT_MAX];
			struct text text;
			text_init(&text, place, sizeof(place));
			text_add(&text, regions[i]);
			text_add(&text, "/");
			text_add_bytes(&text, bytes_of(&zone, 1));
			text_add(&text, "/n1");
			add_node(map, place);
		}
	}
}

/* --- the rules, over one choice ------------------------------------------------------------------------- */

static struct site site_of(const struct map_node *node)
{
	struct site made;
	assert_true(map_site(map, &node->place, &made));
	return made;
}

static bool zone_equal(const struct map_node *a, const struct map_node *b)
{
	struct place in_a = place_prefix(&a->place, place_depth(&a->place) - 1);
	struct place in_b = place_prefix(&b->place, place_depth(&b->place) - 1);
	return place_equal(&in_a, &in_b);
}

static bool choice_valid(const struct policy *policy, unsigned chosen)
{
	const struct map_node *nodes[16];
	struct map_replica replicas[16];
	unsigned count = 0;
	bool leads = policy->lead_in.count == 0;
	for (unsigned i = 0; i < map->node_count; i++)
		if (chosen >> i & 1)
			nodes[count++] = &map->nodes[i];
	if (count != policy->copies)
		return false;
	for (unsigned i = 0; i < count; i++) {
		struct site at = site_of(nodes[i]);
		if (!policy_may_store(policy, &at))
			return false;
		leads |= policy_lead_rank(policy, &at) != UINT_MAX;
		for (unsigned j = 0; j < i; j++) {
			if (policy->spread == SPREAD_REGION && nodes[i]->region == nodes[j]->region)
				return false;
			if (policy->spread == SPREAD_ZONE && zone_equal(nodes[i], nodes[j]))
				return false;
		}
		replicas[i] = (struct map_replica){ .replica = i + 1, .node = nodes[i]->id, .role = ROLE_VOTER };
	}
	for (unsigned i = 0; i < policy->copy_in_count; i++) {
		unsigned inside = 0;
		for (unsigned j = 0; j < count; j++) {
			struct site at = site_of(nodes[j]);
			inside += selector_matches(&policy->copy_in[i].in, &at.place, at.tags, at.tag_count);
		}
		if (inside < policy->copy_in[i].copies)
			return false;
	}
	struct membership membership;
	struct quorum_flaw flaw;
	assert_true(placement_membership(map, policy, replicas, (uint8_t)count, &membership));
	return leads && quorum_check(&membership, (enum survive)policy->survive, &flaw);
}

static unsigned as_set(const struct placement *placement)
{
	unsigned chosen = 0;
	for (unsigned i = 0; i < placement->count; i++) {
		const struct map_node *node = map_node_find(map, placement->nodes[i]);
		assert_non_null(node);
		unsigned bit = 1u << (node - map->nodes);
		assert_false(chosen & bit); /* exact counts: nobody twice */
		chosen |= bit;
	}
	return chosen;
}

static unsigned size_of(unsigned set)
{
	unsigned size = 0;
	for (; set; set &= set - 1)
		size++;
	return size;
}

/* The most of `held` that any valid choice keeps; -1: there is no valid choice. */
static int best_kept(const struct policy *policy, unsigned held)
{
	int best = -1;
	for (unsigned chosen = 0; chosen < 1u << map->node_count; chosen++)
		if (size_of(chosen) == policy->copies && choice_valid(policy, chosen) &&
			(int)size_of(chosen & held) > best)
			best = (int)size_of(chosen & held);
	return best;
}

static unsigned set_of_shard(const struct map_shard *shard)
{
	unsigned held = 0;
	for (unsigned i = 0; shard && i < shard->replica_count; i++)
		held |= 1u << (map_node_find(map, shard->replicas[i].node) - map->nodes);
	return held;
}

/* Returns whether there was one. */
static bool compare(const struct policy *policy, const struct map_shard *current)
{
	struct placement placement;
	struct flaw flaw;
	unsigned held = set_of_shard(current);
	int best = best_kept(policy, held);
	bool found = placement_choose(map, policy, current, &placement, &flaw);
	assert_int_equal(found, best >= 0);
	if (!found) {
		assert_true(strlen(flaw.reason) > 0);
		assert_true(strlen(flaw.cure) > 0);
		return false;
	}
	unsigned chosen = as_set(&placement);
	assert_true(choice_valid(policy, chosen));
	assert_int_equal(size_of(chosen & held), best);
	struct site first = site_of(map_node_find(map, placement.nodes[0]));
	for (unsigned i = 1; i < placement.count; i++) {
		struct site other = site_of(map_node_find(map, placement.nodes[i]));
		assert_true(policy_lead_rank(policy, &first) <= policy_lead_rank(policy, &other));
	}
	struct placement again;
	assert_true(placement_choose(map, policy, current, &again, &flaw));
	assert_memory_equal(&placement, &again, sizeof(placement));
	return true;
}

/* --- random clusters and policies ------------------------------------------------------------------------- */

static const char *const random_regions[] = { "eu/de/eu-central-1", "eu/ie/eu-west-1", "eu/fr/paris", "us/us-east-1",
	"us/us-west-2" };
static const char *const random_tags[] = { "cloud=aws", "cloud=aws tier=edge", "", "cloud=x-corp", "tier=edge" };
static const char *const random_words[] = { "*", "eu", "eu/de", "us", "cloud=aws", "tier=edge", "us/us-east-1/a",
	"eu/ie/eu-west-1" };

static const char *word(struct prng *prng)
{
	if (prng_below(prng, 2) == 0) /* one node */
		return map->nodes[prng_below(prng, map->node_count)].place.text;
	return random_words[prng_below(prng, 8)];
}

static void random_cluster(struct prng *prng)
{
	clear();
	for (unsigned i = 0; i < 5; i++)
		add_region(map, random_regions[i], random_tags[i]);
	uint64_t used = 1 + prng_below(prng, 5); /* few regions: many nodes in one zone */
	for (uint64_t n = 1 + prng_below(prng, 9); n > 0; n--) {
		char place[PLACE_TEXT_MAX];
		struct text text;
		text_init(&text, place, sizeof(place));
		text_add(&text, random_regions[prng_below(prng, used)]);
		text_add(&text, prng_below(prng, 2) ? "/a/n" : "/b/n");
		text_add_u64(&text, n);
		add_node(map, place);
	}
}

static struct policy random_policy(struct prng *prng)
{
	struct policy p = policy_named("p", "*");
	if (prng_below(prng, 3) == 0) {
		p.store_in.at[0] = selector(word(prng));
		p.store_in.at[p.store_in.count++] = selector(word(prng));
	}
	if (prng_below(prng, 4) == 0)
		p.never_in.at[p.never_in.count++] = selector(word(prng));
	for (uint64_t n = prng_below(prng, 6); n > 3; n--)
		p.lead_in.at[p.lead_in.count++] = selector(word(prng));
	for (uint64_t n = prng_below(prng, 6); n > 1; n--)
		copy_in(&p, word(prng), (uint8_t)(1 + prng_below(prng, 5) / 3));
	p.copies = (uint8_t)(1 + prng_below(prng, 5));
	p.spread = (uint8_t)(1 + prng_below(prng, 3));
	p.ack = (uint8_t)prng_below(prng, 4);
	p.ack_count = (uint8_t)(1 + prng_below(prng, 3));
	if (p.ack == ACK_ALL_OF)
		for (uint64_t n = 1 + prng_below(prng, 2); n > 0; n--)
			p.ack_areas.at[p.ack_areas.count++] = selector(word(prng));
	p.survive = (uint8_t)(prng_below(prng, 2) ? prng_below(prng, 4) : SURVIVE_NONE);
	policy_complete(&p, UINT32_MAX & ~(uint32_t)(FIELD_READ_FROM | FIELD_WRITE_FROM | FIELD_ERASE_WITHIN));
	return p;
}

static void test_against_all_choices(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 42);
	unsigned found = 0;
	unsigned refused = 0;
	for (unsigned run = 0; run < 30000; run++) {
		if (run % 4 == 0)
			random_cluster(&prng);
		struct policy p = random_policy(&prng);
		struct map_shard shard = { .id = 99 };
		for (unsigned i = 0; i < map->node_count && shard.replica_count < 5; i++)
			if (prng_below(&prng, 2))
				shard.replicas[shard.replica_count++] = (struct map_replica){
					.replica = i + 1, .node = map->nodes[i].id, .role = ROLE_VOTER
				};
		if (compare(&p, run % 2 ? &shard : NULL))
			found++;
		else
			refused++;
	}
	assert_true(found > 2500);
	assert_true(refused > 5000);
}

/* --- the cases that have names -------------------------------------------------------------------------- */

static struct policy made(const char *store_in, uint8_t copies, uint8_t spread)
{
	struct policy p = policy_named("p", store_in);
	p.copies = copies;
	p.spread = spread;
	policy_complete(&p, FIELD_COPIES | FIELD_SPREAD);
	return p;
}

/* A shard of this placement, as meta would write it into the map. */
static struct map_shard *add_shard(const struct placement *placement)
{
	struct map_shard *shard = &map->shards[map->shard_count++];
	*shard = (struct map_shard){ .id = map->id_next++, .policy = 1, .replica_count = placement->count };
	for (unsigned i = 0; i < placement->count; i++)
		shard->replicas[i] = (struct map_replica){ map->id_next++, placement->nodes[i], ROLE_VOTER };
	memcpy(shard->wanted, shard->replicas, sizeof(shard->wanted));
	shard->wanted_count = placement->count;
	return shard;
}

static void test_levels_copies_and_leaders(void **state)
{
	(void)state;
	unsigned load[9] = { 0 };
	unsigned leads[9] = { 0 };
	struct policy p = made("*", 3, SPREAD_REGION);
	three_by_three();
	for (unsigned i = 0; i < 36; i++) {
		struct placement placement;
		struct flaw flaw;
		assert_true(placement_choose(map, &p, NULL, &placement, &flaw));
		for (unsigned j = 0; j < placement.count; j++)
			load[placement.nodes[j] - 2]++;
		leads[placement.nodes[0] - 2]++;
		add_shard(&placement);
	}
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(load[i], 12);
		assert_true(leads[i] >= 3);
		assert_true(leads[i] <= 5);
	}
}

static void test_nothing_moves_without_need(void **state)
{
	(void)state;
	struct placement first;
	struct placement again;
	struct flaw flaw;
	struct policy p = made("*", 3, SPREAD_REGION);
	three_by_three();
	assert_true(placement_choose(map, &p, NULL, &first, &flaw));
	struct map_shard *shard = add_shard(&first);
	for (unsigned i = 0; i < 10; i++) /* however loaded they are by now */
		add_shard(&first);
	assert_true(placement_choose(map, &p, shard, &again, &flaw));
	assert_int_equal(as_set(&first), as_set(&again));
	assert_int_equal(first.nodes[0], again.nodes[0]);
	/* us is forbidden now and eu must hold two: one copy moves, and the leader stays if it may */
	p = made("eu ap", 3, SPREAD_ZONE);
	assert_true(placement_choose(map, &p, shard, &again, &flaw));
	assert_int_equal(size_of(as_set(&first) & as_set(&again)), 2);
}

/* A shard is no load to itself: asked again while its move runs, it wants the same node. */
static void test_its_own_move_does_not_push_it_on(void **state)
{
	(void)state;
	struct placement placement;
	struct flaw flaw;
	clear();
	add_region(map, "eu/ie/eu-west-1", "");
	add_region(map, "us/us-east-1", "");
	struct placement on = { .count = 1, .nodes = { add_node(map, "eu/ie/eu-west-1/a/n1")->id } };
	uint64_t wanted = add_node(map, "eu/ie/eu-west-1/a/n2")->id;
	add_shard(&on);
	on.nodes[0] = add_node(map, "us/us-east-1/a/n3")->id;
	struct map_shard *moving = add_shard(&on);
	moving->wanted[0].node = wanted;
	struct policy p = made("eu", 1, SPREAD_NODE);
	assert_true(placement_choose(map, &p, moving, &placement, &flaw));
	assert_int_equal(placement.nodes[0], wanted);
}

static void test_zones_are_kept_apart_where_it_is_free(void **state)
{
	(void)state;
	struct placement placement;
	struct flaw flaw;
	struct policy p = made("eu", 3, SPREAD_NODE);
	clear();
	add_region(map, "eu/ie/eu-west-1", "");
	add_node(map, "eu/ie/eu-west-1/a/n1");
	add_node(map, "eu/ie/eu-west-1/a/n2");
	add_node(map, "eu/ie/eu-west-1/a/n3");
	add_node(map, "eu/ie/eu-west-1/b/n4");
	add_node(map, "eu/ie/eu-west-1/c/n5");
	assert_true(placement_choose(map, &p, NULL, &placement, &flaw));
	assert_int_equal(as_set(&placement) & (8 | 16), 8 | 16);
}

static void test_two_two_one_survives_a_region(void **state)
{
	(void)state;
	struct placement placement;
	struct flaw flaw;
	struct policy p = made("*", 5, SPREAD_ZONE);
	p.survive = SURVIVE_REGION;
	three_by_three();
	assert_true(placement_choose(map, &p, NULL, &placement, &flaw));
	unsigned chosen = as_set(&placement);
	for (unsigned region = 0; region < 3; region++)
		assert_in_range(size_of(chosen >> 3 * region & 7), 1, 2);
	assert_true(policy_satisfiable(map, &p, &flaw));
	map->node_count = 6; /* two regions: one of them has three */
	assert_false(policy_satisfiable(map, &p, &flaw));
	assert_non_null(strstr(flaw.reason, "cannot survive the loss of a region"));
}

static void refuse(struct policy p, const char *part)
{
	struct placement placement;
	struct flaw flaw;
	assert_false(placement_choose(map, &p, NULL, &placement, &flaw));
	assert_int_equal(placement.count, 0);
	if (!strstr(flaw.reason, part))
		fail_msg("'%s' does not say '%s'", flaw.reason, part);
	assert_true(strlen(flaw.cure) > 0);
}

static void test_what_is_lacking_is_named(void **state)
{
	(void)state;
	three_by_three();
	refuse(made("uk", 3, SPREAD_NODE), "no registered node");
	refuse(made("eu", 3, SPREAD_REGION), "only 1 region");
	refuse(made("eu us", 7, SPREAD_ZONE), "only 6 zones");
	struct policy p = made("*", 3, SPREAD_REGION);
	copy_in(&p, "eu", 2);
	refuse(p, "asks for 2 copies in eu, but only 1 region");
	p = made("*", 3, SPREAD_NODE);
	p.lead_in = selectors("uk");
	refuse(p, "lead_in");
	p = made("*", 3, SPREAD_NODE);
	p.ack = ACK_ALL_OF;
	p.ack_areas = selectors("eu uk");
	refuse(p, "asks for a copy in uk");
	p = made("eu us", 3, SPREAD_NODE);
	p.survive = SURVIVE_REGION;
	refuse(p, "cannot survive the loss of a region");
	p = made("eu us", 3, SPREAD_ZONE);
	copy_in(&p, "eu/ie/eu-west-1/a", 1);
	copy_in(&p, "us", 2);
	p.lead_in = selectors("eu/ie/eu-west-1/b");
	refuse(p, "copy_in of p cannot be met together");
	p.copies = 0;
	refuse(p, "copies is 0");
}

static void test_membership(void **state)
{
	(void)state;
	struct membership m;
	struct policy p = made("*", 3, SPREAD_NODE);
	p.ack = ACK_ALL_OF;
	p.ack_areas = selectors("eu us");
	three_by_three();
	struct map_replica replicas[] = { { 71, 2, ROLE_VOTER }, { 72, 3, ROLE_LEARNER }, { 73, 5, ROLE_VOTER } };
	assert_true(placement_membership(map, &p, replicas, 3, &m));
	assert_true(membership_valid(&m));
	assert_int_equal(m.count, 3);
	assert_false(m.joint);
	assert_int_equal(m.rule_new.areas, 3);
	assert_int_equal(m.at[0].replica, 71);
	assert_int_equal(m.at[2].node, 5);
	assert_int_equal(m.at[1].role_new, ROLE_LEARNER);
	assert_int_equal(m.at[0].region, m.at[1].region);
	assert_int_not_equal(m.at[0].zone, m.at[1].zone);
	assert_int_not_equal(m.at[0].region, m.at[2].region);
	assert_int_equal(m.at[0].areas, 1);
	assert_int_equal(m.at[2].areas, 2);
	replicas[1].node = 999;
	assert_false(placement_membership(map, &p, replicas, 3, &m));
}

static void add_policy(struct policy *p, const char *name, uint64_t id)
{
	memcpy(p->name, name, strlen(name) + 1);
	p->id = id;
	map->policies[map->policy_count++] = *p;
}

static void test_bindings_only_tighten(void **state)
{
	(void)state;
	struct flaw flaw;
	struct policy world = made("*", 3, SPREAD_NODE);
	struct policy eu = made("eu", 3, SPREAD_NODE);
	struct policy ie = made("eu/ie", 3, SPREAD_NODE);
	three_by_three();
	add_policy(&world, "world", 101);
	add_policy(&eu, "eu", 102);
	add_policy(&ie, "ie", 103);
	bind_prefix(map, "", 101);
	bind_prefix(map, "pat/eu/", 102);
	bind_prefix(map, "pat/eu/ie/", 103);
	assert_true(policy_satisfiable(map, &eu, &flaw));
	eu.store_in = selectors("us"); /* what is inside would then be wider */
	eu.line = 12;
	assert_false(policy_satisfiable(map, &eu, &flaw));
	assert_non_null(strstr(flaw.reason, "ie loosens eu"));
	assert_int_equal(flaw.line, 12);
	ie.store_in = selectors("eu us");
	assert_false(policy_satisfiable(map, &ie, &flaw));
	assert_non_null(strstr(flaw.reason, "store_in of ie loosens eu"));
	world.store_in = selectors("eu");
	assert_true(policy_satisfiable(map, &world, &flaw));
	world = made("eu", 3, SPREAD_NODE);
	memcpy(world.name, "world", 6);
	assert_true(policy_satisfiable(map, &world, &flaw));
	world = made("ap", 3, SPREAD_NODE);
	memcpy(world.name, "world", 6);
	assert_false(policy_satisfiable(map, &world, &flaw));
	assert_non_null(strstr(flaw.reason, "eu loosens world"));
}

/* 256 nodes in 64 regions: found at once, and its absence is found too. */
static void test_the_largest_cluster(void **state)
{
	(void)state;
	struct placement placement;
	struct flaw flaw;
	clear();
	for (unsigned i = 0; i < 64; i++) {
		char place[PLACE_TEXT_MAX];
		struct text text;
		text_init(&text, place, sizeof(place));
		text_add(&text, i % 2 ? "eu/c" : "us/c");
		text_add_u64(&text, i % 7);
		text_add(&text, "/r");
		text_add_u64(&text, i);
		add_region(map, place, i % 3 ? "cloud=aws" : "cloud=gcp tier=edge");
		size_t size = text.size;
		for (unsigned j = 0; j < 4; j++) {
			text.size = size;
			text_add(&text, j % 2 ? "/a/n" : "/b/n");
			text_add_u64(&text, j);
			add_node(map, place);
		}
	}
	assert_int_equal(map->node_count, 256);
	for (uint8_t spread = SPREAD_NODE; spread <= SPREAD_REGION; spread++) {
		struct policy p = made("*", 7, spread);
		copy_in(&p, "eu", 3);
		copy_in(&p, "us/c3", 2);
		copy_in(&p, "cloud=gcp", 4);
		copy_in(&p, "tier=edge", 4);
		p.survive = SURVIVE_REGION;
		p.lead_in = selectors("us/c3/r10 eu");
		assert_true(placement_choose(map, &p, NULL, &placement, &flaw));
		assert_int_equal(placement.count, 7);
		/* more of each than there can be at once */
		copy_in(&p, "us", 3);
		copy_in(&p, "eu/c1", 3);
		copy_in(&p, "eu/c5", 2);
		assert_false(placement_choose(map, &p, NULL, &placement, &flaw));
	}
}

/* A witness stands where no copy does, stays there, and is never on a node that has or had a copy. */
static void test_a_witness_is_put_apart(void **state)
{
	(void)state;
	struct placement placement;
	struct flaw flaw;
	three_by_three();
	struct policy p = policy_named("p", "eu us");
	p.witness_in = selectors("ap eu");
	policy_complete(&p, FIELD_STORE_IN | FIELD_WITNESS_IN);
	assert_true(placement_choose(map, &p, NULL, &placement, &flaw));
	assert_int_equal(placement.count, 2);
	assert_int_equal(map_node_find(map, placement.witness)->region, 2);
	assert_true(policy_satisfiable(map, &p, &flaw));
	struct map_replica replicas[REPLICAS_MAX];
	assert_int_equal(placement_replicas(&placement, replicas), 3);
	assert_int_equal(replicas[2].role, ROLE_WITNESS);
	struct membership m;
	assert_true(placement_membership(map, &p, replicas, 3, &m));
	assert_int_equal(m.at[2].role_new, ROLE_WITNESS);
	assert_int_equal(m.rule_new.degrade, DEGRADE_MAY);

	uint64_t last = map->nodes[map->node_count - 1].id; /* any in ap will do: the one that is there stays */
	struct map_shard current = { .id = 99, .policy = 1, .replica_count = 3 };
	memcpy(current.replicas, replicas, sizeof(replicas));
	current.replicas[2].node = last;
	assert_true(placement_choose(map, &p, &current, &placement, &flaw));
	assert_int_equal(placement.witness, last);

	p.witness_in = selectors("eu us");
	assert_false(placement_choose(map, &p, NULL, &placement, &flaw));
	assert_non_null(strstr(flaw.reason, "witness_in of p names no place"));
	p.store_in = selectors("ap us");
	p.witness_in = selectors("eu");
	current.replicas[2].node = map->nodes[6].id; /* the first in ap */
	assert_true(placement_choose(map, &p, &current, &placement, &flaw));
	for (unsigned i = 0; i < placement.count; i++)
		assert_true(placement.nodes[i] != map->nodes[6].id);
	for (unsigned i = 0; i < current.replica_count - 1u; i++)
		assert_true(placement.witness != current.replicas[i].node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_all_choices),
		cmocka_unit_test(test_levels_copies_and_leaders),
		cmocka_unit_test(test_nothing_moves_without_need),
		cmocka_unit_test(test_its_own_move_does_not_push_it_on),
		cmocka_unit_test(test_zones_are_kept_apart_where_it_is_free),
		cmocka_unit_test(test_two_two_one_survives_a_region),
		cmocka_unit_test(test_what_is_lacking_is_named),
		cmocka_unit_test(test_membership),
		cmocka_unit_test(test_bindings_only_tighten),
		cmocka_unit_test(test_a_witness_is_put_apart),
		cmocka_unit_test(test_the_largest_cluster),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
