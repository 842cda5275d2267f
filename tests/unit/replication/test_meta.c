/* tests/unit/replication/test_meta.c: what each change does to the map and what it is refused for; then random runs of
 * changes on two replicas, one of which is decoded from bytes now and again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "policy/plan.h"
#include "tests/unit/replication/meta_apply.h"

static struct meta_result set_binding(struct cluster_map *map, struct change_binding binding)
{
	struct change change = { .kind = CHANGE_BINDING_SET, .bindings = &binding, .binding_count = 1, .now_us = 6000 };
	return apply(map, &change);
}

static struct meta_result unset_binding(struct cluster_map *map, const char *prefix)
{
	struct change_binding binding = binding_of(prefix, "");
	struct change change = { .kind = CHANGE_BINDING_UNSET, .bindings = &binding, .binding_count = 1 };
	return apply(map, &change);
}

static struct meta_result report_fence(struct cluster_map *map, uint64_t operation, uint64_t shard, uint64_t keys)
{
	struct change change = {
		.kind = CHANGE_FENCE_REPORT, .operation = operation, .shard = shard, .keys_found = keys, .now_us = 7000
	};
	return apply(map, &change);
}

static struct meta_result report_move(
	struct cluster_map *map, uint64_t operation, enum operation_phase phase, uint64_t shard, uint64_t stuck)
{
	struct change change = { .kind = CHANGE_MOVE_REPORT,
		.shard = shard,
		.operation = operation,
		.phase = (uint8_t)phase,
		.keys_found = stuck,
		.now_us = 8000 };
	return apply(map, &change);
}

/* Every shard that has a step of the phase to do says that it is done; of the fence, that it holds no keys. */
static void finish_phase(struct cluster_map *map, uint64_t id, enum operation_phase phase)
{
	const struct map_operation *operation = map_operation_find(map, id);
	uint64_t shards[SHARDS_PER_POLICY * OPERATION_POLICIES_MAX];
	uint32_t count = operation->steps;
	assert_int_equal(operation->phase, phase);
	memcpy(shards, operation->shards_done, sizeof(shards));
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(phase == PHASE_FENCE ? report_fence(map, id, shards[i], 0).status
						      : report_move(map, id, phase, shards[i], 0).status,
			STATUS_OK);
}

/* All shards that the operation asked report no keys, and all to which some could come that they know. */
static void finish_fence(struct cluster_map *map, uint64_t id)
{
	const struct map_operation *operation = map_operation_find(map, id);
	assert_non_null(operation);
	finish_phase(map, id, PHASE_FENCE);
	while (operation->phase == PHASE_SEAL && operation->state == OPERATION_RUNNING)
		finish_phase(map, id, PHASE_SEAL);
}

/* --- regions and nodes ---------------------------------------------------------------------------------- */

static void test_init(void **state)
{
	(void)state;
	struct cluster_map *map = map_new();
	struct change change;
	change_node(&change, "eu/ie/eu-west-1/a/n1", 1);
	assert_refused(apply(map, &change), STATUS_CONFLICT, "no cluster yet");
	change_init(&change, "eu/ie/eu-west-1", "eu/ie/eu-west-1/n1");
	assert_refused(apply(map, &change), STATUS_INVALID, "zone and node");
	change_init(&change, "eu/ie/eu-west-1", "eu/ie/eu-west-1/a/n1");
	change.region.ca_size = 0;
	assert_refused(apply(map, &change), STATUS_INVALID, "CA");
	change_init(&change, "eu/ie/eu-west-1", "eu/ie/eu-west-1/a/n1");
	struct meta_result result = apply(map, &change);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.id, 2);
	assert_int_equal(map->epoch, 1);
	assert_int_equal(map->id_next, 4);
	assert_int_equal(map->nodes[0].meta_replica, 3);
	assert_true(map->nodes[0].meta_voter);
	assert_string_equal(map->regions[0].name, "eu-west-1");
	assert_string_equal(map->name, "acme");
	assert_refused(apply(map, &change), STATUS_CONFLICT, "exists already");
	free(map);
}

static void test_regions_stand_apart(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	assert_refused(add_region(map, "eu/ie", NULL), STATUS_CONFLICT, "contain one another");
	assert_refused(add_region(map, "eu/ie/eu-west-1", NULL), STATUS_CONFLICT, "contain one another");
	assert_refused(add_region(map, "eu/ie/eu-west-1/x", NULL), STATUS_CONFLICT, "contain one another");
	assert_refused(add_region(map, "uk/us-east-1", NULL), STATUS_CONFLICT, "name");
	assert_refused(add_region(map, "UK", NULL), STATUS_INVALID, "place");
	assert_refused(add_region(map, "a/b/c/d/e/f/g", NULL), STATUS_INVALID, "deep");
	assert_refused(add_region(map, "uk/uk-1", "aws"), STATUS_INVALID, "tag");
	struct change change;
	change_region(&change, "uk/uk-1", NULL);
	change.region.latitude = 91;
	assert_refused(apply(map, &change), STATUS_INVALID, "coordinates");
	change.region.latitude = change.region.longitude = __builtin_nan("");
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_int_equal(add_region(map, "europe/e-1", NULL).status, STATUS_OK); /* `eu` is no prefix of it */
	assert_refused(add_region(map, "za/za-1", NULL), STATUS_INVALID, "most it takes");
	free(map);
}

static void test_admit(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct change change;
	change_node(&change, "eu/ie/eu-west-1/a/n9", 5);
	struct meta_result first = apply(map, &change), again = apply(map, &change);
	assert_int_equal(first.status, STATUS_OK);
	assert_int_equal(again.status, STATUS_OK);
	assert_int_equal(first.id, again.id);
	assert_int_equal(first.epoch, again.epoch);
	change.node.incarnation = 6;
	assert_refused(apply(map, &change), STATUS_CONFLICT, "another incarnation");
	change_node(&change, "mars/m-1/a/n1", 1);
	assert_refused(apply(map, &change), STATUS_NOT_FOUND, "no registered region");
	change_node(&change, "eu/ie/eu-west-1/n1", 1);
	assert_refused(apply(map, &change), STATUS_INVALID, "zone and node");
	change_node(&change, "eu/ie/eu-west-1/a/b/n1", 1);
	assert_refused(apply(map, &change), STATUS_INVALID, "zone and node");
	change_node(&change, "eu/ie/eu-west-1/a/n10", 1);
	change.node.addresses.count = 0;
	assert_refused(apply(map, &change), STATUS_INVALID, "address");
	free(map);
}

static void test_addresses(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct change change;
	change_node(&change, "", 0);
	change.kind = CHANGE_NODE_ADDRESSES;
	change.node.id = 2;
	uint64_t epoch = map->epoch;
	assert_int_equal(apply(map, &change).epoch, epoch);
	strcpy(change.node.addresses.at[0].address, "[::1]:1");
	assert_int_equal(apply(map, &change).epoch, epoch + 1);
	assert_string_equal(map_node_find(map, 2)->addresses.at[0].address, "[::1]:1");
	change.node.id = 999;
	assert_refused(apply(map, &change), STATUS_NOT_FOUND, "no node 999");
	free(map);
}

static struct cluster_map *reopened(struct cluster_map *map)
{
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	uint8_t *bytes = malloc(packer.size);
	pack_init(&packer, bytes, packer.size);
	cluster_map_encode(map, &packer);
	struct cluster_map *copy = map_new();
	assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_OK);
	assert_int_equal(meta_digest(copy), meta_digest(map));
	free(bytes);
	free(map);
	return copy;
}

/* A node's ledger only grows, and the epoch does not move with it. */
static void test_ledger_heads_go_on(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct change change = { .kind = CHANGE_LEDGER_HEAD };
	struct ledger_head *head = &change.node.ledger;
	uint64_t epoch = map->epoch;
	change.node.id = 2;
	head->at.sequence = 10;
	head->at.hash[0] = 1;
	head->signature_size = 3;
	uint64_t digest = meta_digest(map);
	change.dry_run = true;
	assert_int_equal(apply(map, &change).epoch, epoch);
	assert_int_equal(meta_digest(map), digest);
	change.dry_run = false;
	assert_int_equal(apply(map, &change).epoch, epoch);
	assert_int_not_equal(meta_digest(map), digest);
	assert_memory_equal(&map_node_find(map, 2)->ledger, head, sizeof(*head));
	assert_int_equal(apply(map, &change).status, STATUS_OK); /* told again */
	struct ledger_head kept = *head;
	head->at.hash[0] = 2; /* another past */
	assert_refused(apply(map, &change), STATUS_CONFLICT, "does not continue the one at sequence 10");
	head->at.sequence = 9;
	head->at.hash[0] = 1;
	assert_refused(apply(map, &change), STATUS_CONFLICT, "does not continue");
	assert_memory_equal(&map_node_find(map, 2)->ledger, &kept, sizeof(kept));
	head->at.sequence = 11;
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_int_equal(map_node_find(map, 2)->ledger.at.sequence, 11);
	map = reopened(map);
	assert_memory_equal(&map_node_find(map, 2)->ledger, head, sizeof(*head));
	change.node.id = 999;
	assert_refused(apply(map, &change), STATUS_NOT_FOUND, "no node 999");
	free(map);
}

static unsigned voters_of(const struct cluster_map *map)
{
	struct membership membership;
	unsigned voters = 0;
	meta_membership_wanted(map, &membership);
	assert_true(membership_valid(&membership));
	for (unsigned i = 0; i < membership.count; i++) {
		voters += membership.at[i].role_new == ROLE_VOTER;
		const struct map_node *node = map_node_find(map, membership.at[i].node);
		assert_int_equal(membership.at[i].replica, node->meta_replica);
		assert_int_equal(membership.at[i].region, node->region);
	}
	return voters;
}

static void test_meta_voters_stay_odd(void **state)
{
	(void)state;
	struct cluster_map *map = map_new();
	struct change change;
	change_init(&change, "r0", "r0/a/n");
	apply(map, &change);
	assert_int_equal(voters_of(map), 1);
	const char *const regions[] = { "r1", "r2", "r3", "r4", "r5" };
	const unsigned voters[] = { 1, 3, 3, 5, 5 };
	char place[32];
	for (unsigned i = 0; i < 5; i++) {
		add_region(map, regions[i], NULL);
		strcpy(place, regions[i]);
		add_node(map, strcat(place, "/a/n"));
		assert_int_equal(voters_of(map), voters[i]);
		strcpy(place, regions[i]);
		add_node(map, strcat(place, "/b/n"));
		assert_int_equal(voters_of(map), voters[i]); /* one a region */
	}
	/* More nodes than a group has members: the voters are in, whenever they came. */
	for (unsigned i = 0; i < 10; i++) {
		strcpy(place, "r0/c/n0");
		place[6] = (char)('0' + i);
		add_node(map, place);
	}
	assert_int_equal(voters_of(map), 5);
	struct membership membership;
	meta_membership_wanted(map, &membership);
	assert_int_equal(membership.count, REPLICAS_MAX);
	/* Equal numbers mean the same zone, and zones of two regions differ. */
	for (unsigned i = 0; i < membership.count; i++) {
		for (unsigned j = 0; j < i; j++) {
			const struct place *a = &map_node_find(map, membership.at[i].node)->place;
			const struct place *b = &map_node_find(map, membership.at[j].node)->place;
			struct place za = place_prefix(a, 2), zb = place_prefix(b, 2);
			assert_int_equal(membership.at[i].zone == membership.at[j].zone, place_equal(&za, &zb));
		}
	}
	free(map);
}

static void test_meta_report(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct change change = { .kind = CHANGE_META_REPORT, .replica_count = 2 };
	change.replicas[0] = (struct map_replica){ .node = 2, .replica = 3, .role = ROLE_VOTER };
	const struct map_node *other = &map->nodes[2];
	change.replicas[1] =
		(struct map_replica){ .node = other->id, .replica = other->meta_replica, .role = ROLE_VOTER };
	uint64_t epoch = map->epoch;
	assert_false(other->meta_voting);
	assert_int_equal(apply(map, &change).epoch, epoch + 1);
	assert_true(other->meta_voting);
	assert_int_equal(apply(map, &change).epoch, epoch + 1);
	change.replicas[1].role = ROLE_LEARNER;
	assert_int_equal(apply(map, &change).epoch, epoch + 2);
	assert_false(other->meta_voting);
	change.replicas[1].replica++;
	assert_refused(apply(map, &change), STATUS_INVALID, "none of meta's");
	free(map);
}

/* --- policies --------------------------------------------------------------------------------------------- */

static void test_apply_makes_shards(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	assert_int_equal(map->policy_count, 2);
	assert_int_equal(map->shard_count, 16);
	assert_int_equal(map->operation_count, 0);
	for (unsigned i = 0; i < 8; i++) {
		const struct map_shard *shard = shard_of(map, "eu", i);
		assert_int_equal(shard->hash_last - shard->hash_first, UINT64_MAX / 8);
		assert_int_equal(shard->wanted_count, 3);
		assert_int_equal(shard->generation, 0);
		assert_memory_equal(shard->replicas, shard->wanted, sizeof(shard->wanted));
		for (unsigned j = 0; j < 3; j++) {
			const struct map_node *node = map_node_find(map, shard->wanted[j].node);
			assert_true(place_within(&node->place, "eu"));
		}
	}
	/* Shards are levelled over the six nodes of the EU: 8 * 3 / 6 each. */
	for (uint32_t i = 0; i < map->node_count; i++) {
		unsigned held = 0;
		for (unsigned j = 0; j < 8; j++)
			for (unsigned k = 0; k < 3; k++)
				held += shard_of(map, "eu", j)->wanted[k].node == map->nodes[i].id;
		assert_true(place_within(&map->nodes[i].place, "eu") ? held >= 3 && held <= 5 : held == 0);
	}
	/* In force at once: nothing was bound before. */
	assert_int_equal(binding_at(map, "eu/")->pending_operation, 0);
	assert_string_equal(map_policy_find(map, map_binding_of(map, bytes_text("eu/x"))->policy)->name, "eu");
	assert_string_equal(map_policy_find(map, map_binding_of(map, bytes_text("x"))->policy)->name, "default");
	assert_int_equal(map_policy_by_name(map, "eu")->epoch, map->epoch);
	free(map);
}

static void test_apply_again_changes_no_rule(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t id = map->id_next, epoch = map->epoch;
	struct policy policies[] = { policy_of("eu", "eu", 3, SPREAD_REGION) };
	struct change_binding bindings[] = { binding_of("eu/", "eu") };
	struct meta_result result = apply_rules(map, policies, 1, bindings, 1);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.epoch, epoch + 1);
	assert_int_equal(map->id_next, id);
	assert_int_equal(map->policy_count, 2); /* what leaves the file stays */
	assert_true(map_policy_by_name(map, "eu")->epoch < map->epoch);
	free(map);
}

static void test_apply_refuses_as_a_whole(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policies[] = { policy_of("good", "eu", 3, SPREAD_REGION),
		policy_of("bad", "us", 3, SPREAD_REGION) };
	struct change_binding bindings[] = { binding_of("a", "good"), binding_of("b", "bad"), binding_of("c", "none") };
	policies[1].line = 17;
	bindings[2].line = 23;
	struct meta_result result = apply_rules(map, policies, 2, bindings, 2);
	assert_refused(result, STATUS_RESIDENCY_REFUSED, "bad");
	assert_int_equal(result.flaw.line, 17);
	policies[1] = policy_of("bad", "us", 2, SPREAD_ZONE);
	result = apply_rules(map, policies, 2, bindings, 3);
	assert_refused(result, STATUS_NOT_FOUND, "none");
	assert_int_equal(result.flaw.line, 23);
	bindings[2] = binding_of("a", "bad");
	assert_refused(apply_rules(map, policies, 2, bindings, 3), STATUS_INVALID, "twice");
	policies[1] = policies[0];
	assert_refused(apply_rules(map, policies, 2, bindings, 1), STATUS_INVALID, "twice");
	policies[1] = policy_of("bad", "eu", 3, SPREAD_REGION);
	policies[1].copies = 0;
	assert_refused(apply_rules(map, policies, 2, bindings, 2), STATUS_INVALID, "copies");
	assert_int_equal(map->policy_count, 0);
	assert_int_equal(map->binding_count, 0);
	free(map);
}

static void test_epoch_guards(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct change change;
	change_region(&change, "uk/uk-1", NULL);
	change.epoch = map->epoch - 1;
	assert_refused(apply(map, &change), STATUS_CONFLICT, "epoch");
	change.epoch = map->epoch;
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	free(map);
}

/* Tightening a policy moves what is outside, keeps what is inside, and waits for each shard's report. */
static void test_changed_policy_moves(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "*", 3, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	policy = policy_of("p", "eu", 3, SPREAD_ZONE);
	struct meta_result result = apply_rules(map, &policy, 1, NULL, 0);
	assert_int_equal(result.status, STATUS_OK);
	const struct map_operation *operation = map_operation_find(map, result.id);
	assert_int_equal(operation->kind, OPERATION_POLICY);
	assert_int_equal(operation->state, OPERATION_RUNNING);
	assert_true(operation->steps > 0);
	uint32_t steps = operation->steps, reported = 0;
	for (unsigned i = 0; i < 8; i++) {
		const struct map_shard *shard = shard_of(map, "p", i);
		for (unsigned j = 0; j < shard->wanted_count; j++)
			for (unsigned k = 0; k < shard->replica_count; k++)
				if (shard->wanted[j].node == shard->replicas[k].node)
					assert_int_equal(shard->wanted[j].replica, shard->replicas[k].replica);
		if (shard->operation == 0)
			continue;
		assert_int_equal(shard->operation, operation->id);
		struct change report = report_of(shard, 10);
		/* First with a learner: not yet what is wanted. */
		report.replicas[0].role = ROLE_LEARNER;
		assert_int_equal(apply(map, &report).status, STATUS_OK);
		assert_int_equal(shard->generation, 1);
		assert_int_not_equal(shard->operation, 0);
		uint64_t epoch = map->epoch;
		assert_int_equal(apply(map, &report).epoch, epoch); /* repeated */
		report.replicas[0].role = ROLE_VOTER;
		report.generation = 2;
		report.membership_index = 12;
		assert_int_equal(apply(map, &report).status, STATUS_OK);
		assert_int_equal(shard->operation, 0);
		reported++;
		assert_int_equal(operation->steps_done, reported);
		report.generation = 1;
		assert_refused(apply(map, &report), STATUS_CONFLICT, "stale");
	}
	assert_int_equal(reported, steps);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_int_equal(operation->ended_us, 8000);
	policy = policy_of("p", "eu", 5, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	free(map);
}

static void test_shard_report_refuses_strangers(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = shard_of(map, "eu", 0);
	struct change report = report_of(shard, 9);
	report.replicas[0].node = map_node_by_place(map, "n7")->id;
	assert_refused(apply(map, &report), STATUS_INVALID, "never had");
	report = report_of(shard, 9);
	report.replicas[0] = report.replicas[1];
	assert_refused(apply(map, &report), STATUS_INVALID, "never had");
	report = report_of(shard, 9);
	report.replica_count = 0;
	assert_refused(apply(map, &report), STATUS_INVALID, "never had");
	report = report_of(shard, 9);
	report.generation = 3;
	assert_refused(apply(map, &report), STATUS_CONFLICT, "stale");
	report.shard = 1;
	assert_refused(apply(map, &report), STATUS_NOT_FOUND, "no shard");
	free(map);
}

/* --- bindings ----------------------------------------------------------------------------------------------- */

static void test_binding_where_nothing_is_bound(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "eu", 3, SPREAD_REGION);
	apply_rules(map, &policy, 1, NULL, 0);
	struct meta_result result = set_binding(map, binding_of("a/", "p"));
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.id, 0);
	assert_int_equal(binding_at(map, "a/")->pending_operation, 0);
	assert_refused(set_binding(map, binding_of("b/", "q")), STATUS_NOT_FOUND, "q");
	/* Inside one of the same policy no key moves. */
	assert_int_equal(set_binding(map, binding_of("a/b/", "p")).id, 0);
	assert_int_equal(binding_at(map, "a/b/")->pending_operation, 0);
	assert_int_equal(unset_binding(map, "a/b/").id, 0);
	assert_null(binding_at(map, "a/b/"));
	assert_refused(unset_binding(map, "a/b/"), STATUS_NOT_FOUND, "a/b/");
	free(map);
}

static void test_binding_waits_for_the_fence(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct meta_result result = set_binding(map, binding_of("pat/", "eu"));
	assert_int_equal(result.status, STATUS_OK);
	const struct map_operation *operation = map_operation_find(map, result.id);
	assert_non_null(operation);
	assert_int_equal(operation->steps, 8);
	assert_int_equal(operation->policy, map_policy_by_name(map, "default")->id);
	assert_int_equal(binding_at(map, "pat/")->pending_operation, result.id);
	/* Until then its keys are where they were. */
	assert_string_equal(map_policy_find(map, map_binding_of(map, bytes_text("pat/x"))->policy)->name, "default");
	assert_non_null(map_binding_pending_of(map, bytes_text("pat/x")));
	bool exact = true;
	uint64_t hash[2];
	struct bytes prefix;
	assert_true(map_operation_fence(map, operation, operation->policy, &exact, hash, &prefix));
	assert_false(exact);
	assert_true(bytes_equal(prefix, bytes_text("pat/")));
	assert_false(map_operation_fence(map, operation, map_policy_by_name(map, "eu")->id, &exact, hash, &prefix));
	/* The same again is under way; another policy has to wait. */
	assert_int_equal(set_binding(map, binding_of("pat/", "eu")).id, result.id);
	assert_refused(set_binding(map, binding_of("pat/", "default")), STATUS_CONFLICT, "not decided");
	assert_refused(set_binding(map, binding_of("pat/x/", "default")), STATUS_CONFLICT, "not decided");
	assert_refused(unset_binding(map, "pat/"), STATUS_CONFLICT, "not decided");
	/* A repeated report counts once. */
	uint64_t shard = operation->shards_done[3], other = shard_of(map, "eu", 0)->id;
	assert_int_equal(report_fence(map, result.id, shard, 0).status, STATUS_OK);
	uint64_t epoch = map->epoch;
	assert_int_equal(report_fence(map, result.id, shard, 0).epoch, epoch);
	assert_int_equal(operation->steps_done, 1);
	assert_refused(report_fence(map, result.id, other, 0), STATUS_INVALID, "no such step");
	assert_refused(report_fence(map, 1000000, shard, 0), STATUS_NOT_FOUND, "no operation");
	finish_phase(map, result.id, PHASE_FENCE);
	/* Nothing moves; but what is written there from now on must have higher versions than what was here had. */
	assert_int_equal(operation->phase, PHASE_SEAL);
	assert_int_equal(operation->state, OPERATION_RUNNING);
	assert_non_null(map_binding_pending_of(map, bytes_text("pat/x")));
	assert_true(map_operation_awaits(operation, other));
	uint64_t switches = map_switches(map);
	finish_phase(map, result.id, PHASE_SEAL);
	assert_true(map_switches(map) != switches); /* there may be rows there of a copy that was given up */
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_int_equal(operation->ended_us, 8000);
	assert_int_equal(binding_at(map, "pat/")->pending_operation, 0);
	assert_string_equal(map_policy_find(map, map_binding_of(map, bytes_text("pat/x"))->policy)->name, "eu");
	epoch = map->epoch;
	assert_int_equal(report_fence(map, result.id, shard, 5).epoch, epoch); /* over */
	assert_int_equal(operation->state, OPERATION_DONE);
	free(map);
}

static uint64_t begin_copy(struct cluster_map *map, uint64_t id)
{
	uint64_t shard = map_operation_find(map, id)->shards_done[5];
	assert_int_equal(report_fence(map, id, shard, 42).status, STATUS_OK);
	assert_int_equal(map_operation_find(map, id)->phase, PHASE_FENCE);
	finish_fence(map, id);
	return id;
}

static const char *home_of(const struct cluster_map *map, const char *key)
{
	return map_policy_find(map, map_binding_of(map, bytes_text(key))->policy)->name;
}

static void test_keys_go_along_with_the_binding(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t id = begin_copy(map, set_binding(map, binding_of("pat/", "eu")).id), target;
	const struct map_operation *operation = map_operation_find(map, id);
	const uint64_t usual = map_policy_by_name(map, "default")->id, eu = map_policy_by_name(map, "eu")->id;
	bool exact;
	uint64_t hash[2];
	struct bytes prefix;
	assert_int_equal(operation->phase, PHASE_COPY);
	assert_int_equal(operation->keys, 42);
	assert_int_equal(operation->phase_epoch, map->epoch);
	assert_true(map_operation_fences(operation));
	assert_false(map_operation_fence(map, operation, usual, &exact, hash, &prefix)); /* they are there */
	assert_int_equal(map_operation_moves(map, operation, usual, bytes_text("pat/x"), &target), MOVE_GOES);
	assert_int_equal(target, eu);
	assert_int_equal(map_operation_moves(map, operation, usual, bytes_text("par/x"), &target), MOVE_STAYS);
	assert_int_equal(map_operation_moves(map, operation, eu, bytes_text("pat/x"), &target), MOVE_STAYS);
	/* Nothing that could cover one of the keys changes meanwhile, whatever else does. */
	assert_refused(set_binding(map, binding_of("pat/x/", "eu")), STATUS_CONFLICT, "not decided");
	assert_refused(set_binding(map, binding_of("p", "eu")), STATUS_CONFLICT, "moves keys");
	assert_refused(set_binding(map, exact_of(5, "eu")), STATUS_CONFLICT, "moves keys");
	assert_int_equal(set_binding(map, binding_of("q", "eu")).status, STATUS_OK);
	/* Only steps of the phase count, once, of the shards asked. */
	uint64_t shard = operation->shards_done[2], epoch = map->epoch;
	assert_int_equal(report_move(map, id, PHASE_CLOSE, shard, 0).epoch, epoch);
	assert_int_equal(report_fence(map, id, shard, 0).epoch, epoch);
	assert_refused(report_move(map, id, PHASE_COPY, shard_of(map, "eu", 0)->id, 0), STATUS_INVALID, "no such step");
	assert_refused(report_move(map, id, PHASE_FENCE, shard, 0), STATUS_INVALID, "no step");
	finish_phase(map, id, PHASE_COPY);
	assert_string_equal(home_of(map, "pat/x"), "default");
	assert_true(map_operation_awaits(operation, shard_of(map, "eu", 0)->id));
	assert_false(map_operation_awaits(operation, shard));
	uint64_t switches = map_switches(map);
	finish_phase(map, id, PHASE_CLOSE);
	/* The switch. */
	assert_string_equal(home_of(map, "pat/x"), "eu");
	assert_int_equal(binding_at(map, "pat/")->pending_operation, 0);
	assert_true(map_switches(map) != switches);
	assert_true(map_moves_under(map, bytes_text("pa")));
	assert_true(map_moves_under(map, bytes_text("pat/x/")));
	assert_false(map_moves_under(map, bytes_text("pb")));
	assert_true(map_fence_moved(map, id, usual, false, (uint64_t[2]){ 0 }, bytes_text("pat/")));
	assert_refused(unset_binding(map, "pat/"), STATUS_CONFLICT, "moves keys");
	finish_phase(map, id, PHASE_PURGE);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_int_equal(operation->ended_us, 8000);
	assert_non_null(strstr(operation->text, "42 keys were moved"));
	assert_true(map_moves_under(map, bytes_text("pat/"))); /* a copy that lags may have the rows still */
	/* Back again, whence they came. */
	id = begin_copy(map, unset_binding(map, "pat/").id);
	operation = map_operation_find(map, id);
	assert_int_equal(map_operation_moves(map, operation, eu, bytes_text("pat/x"), &target), MOVE_GOES);
	assert_int_equal(target, usual);
	finish_phase(map, id, PHASE_COPY);
	finish_phase(map, id, PHASE_CLOSE);
	finish_phase(map, id, PHASE_PURGE);
	assert_string_equal(home_of(map, "pat/x"), "default");
	free(map);
}

static void test_keys_that_cannot_go_keep_the_binding(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	/* A key that cannot go is found while they are copied: what was copied is removed, then it has failed. */
	uint64_t id = begin_copy(map, set_binding(map, binding_of("pat/", "eu")).id);
	const struct map_operation *operation = map_operation_find(map, id);
	report_move(map, id, PHASE_COPY, operation->shards_done[0], 0);
	report_move(map, id, PHASE_COPY, operation->shards_done[1], 1);
	assert_int_equal(operation->phase, PHASE_ABORT);
	assert_int_equal(operation->state, OPERATION_RUNNING);
	assert_false(map_operation_fences(operation));
	assert_null(binding_at(map, "pat/"));
	assert_string_equal(home_of(map, "pat/x"), "default");
	assert_true(map_moves_under(map, bytes_text("pat/")));
	assert_refused(set_binding(map, binding_of("pat/", "eu")), STATUS_CONFLICT, "moves keys");
	finish_phase(map, id, PHASE_ABORT);
	assert_int_equal(operation->state, OPERATION_FAILED);
	/* Nothing would cover them. */
	struct cluster_map *bare = cluster();
	struct policy eu = policy_of("eu", "eu", 3, SPREAD_ZONE);
	struct change_binding binding = binding_of("pat/", "eu");
	assert_int_equal(apply_rules(bare, &eu, 1, &binding, 1).status, STATUS_OK);
	id = begin_copy(bare, unset_binding(bare, "pat/").id);
	assert_int_equal(map_operation_find(bare, id)->state, OPERATION_FAILED);
	assert_non_null(strstr(map_operation_find(bare, id)->text, "no binding would cover"));
	assert_string_equal(home_of(bare, "pat/x"), "eu");
	free(bare);
	free(map);
}

/* Keys go from leader to leader, whoever that is: so shards may move meanwhile. Rules by which keys are judged on their
 * way may not change. */
static void test_what_may_change_while_keys_move(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy tighter = policy_of("eu", "eu/ie", 1, SPREAD_ZONE),
		      open = policy_of("default", "*", 3, SPREAD_ZONE), new = policy_of("new", "eu", 3, SPREAD_REGION);
	uint64_t id = begin_copy(map, set_binding(map, binding_of("pat/", "eu")).id);
	const struct map_operation *operation = map_operation_find(map, id);
	struct change drain = { .kind = CHANGE_NODE_STATE, .state = NODE_DRAINING, .now_us = 9000 };
	drain.target_node = shard_of(map, "eu", 0)->wanted[0].node;
	uint64_t drained = apply(map, &drain).id;
	assert_true(drained != 0);
	assert_int_equal(map_operation_find(map, drained)->kind, OPERATION_DRAIN);
	assert_refused(
		report_move(map, drained, PHASE_COPY, shard_of(map, "eu", 0)->id, 0), STATUS_INVALID, "no such step");
	assert_refused(apply_rules(map, &tighter, 1, NULL, 0), STATUS_CONFLICT, "");
	assert_refused(apply_rules(map, &open, 1, NULL, 0), STATUS_CONFLICT, "");
	assert_int_equal(apply_rules(map, &new, 1, NULL, 0).status, STATUS_OK);
	for (enum operation_phase phase = PHASE_COPY; phase <= PHASE_PURGE; phase++)
		if (phase != PHASE_SEAL)
			finish_phase(map, id, phase);
	assert_int_equal(operation->state, OPERATION_DONE);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		struct change report = report_of(&map->shards[i], 50);
		if (map->shards[i].operation == drained)
			assert_int_equal(apply(map, &report).status, STATUS_OK);
	}
	assert_int_equal(map_operation_find(map, drained)->state, OPERATION_DONE);
	assert_int_equal(apply_rules(map, &open, 1, NULL, 0).status, STATUS_OK);
	free(map);
}

/* Of bindings inside one another the closest goes first, whoever is fenced first. */
static void test_the_closer_binding_goes_first(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct change_binding bindings[] = { binding_of("pat/", "eu"), binding_of("pat/x/", "eu"),
		binding_of("", "default"), binding_of("eu/", "eu") };
	struct policy policies[] = { policy_of("default", "*", 3, SPREAD_REGION),
		policy_of("eu", "eu", 3, SPREAD_REGION) };
	uint64_t target;
	assert_int_equal(apply_rules(map, policies, 2, bindings, 4).status, STATUS_OK);
	uint64_t inner = binding_at(map, "pat/x/")->pending_operation,
		 outer = binding_at(map, "pat/")->pending_operation;
	uint64_t usual = map_policy_by_name(map, "default")->id;
	begin_copy(map, outer);
	const struct map_operation *waiting = map_operation_find(map, outer);
	assert_int_equal(waiting->phase, PHASE_WAIT);
	assert_true(map_operation_fences(waiting));
	assert_non_null(strstr(waiting->text, "when operation"));
	/* No shard has anything to say of that, and nobody else comes in between. */
	assert_refused(report_move(map, outer, PHASE_WAIT, waiting->shards_done[0], 0), STATUS_INVALID, "no step");
	assert_refused(set_binding(map, exact_of(5, "eu")), STATUS_CONFLICT, "moves keys");
	finish_fence(map, inner);
	assert_int_equal(map_operation_find(map, inner)->state, OPERATION_DONE);
	/* What was counted is of before: the other one copies whatever there is. */
	assert_int_equal(waiting->phase, PHASE_COPY);
	assert_int_equal(map_operation_moves(map, waiting, usual, bytes_text("pat/x/1"), &target), MOVE_STAYS);
	assert_int_equal(map_operation_moves(map, waiting, usual, bytes_text("pat/y/1"), &target), MOVE_GOES);
	finish_phase(map, outer, PHASE_COPY);
	finish_phase(map, outer, PHASE_CLOSE);
	finish_phase(map, outer, PHASE_PURGE);
	assert_int_equal(waiting->state, OPERATION_DONE);
	/* An exact key is closer than any prefix. */
	inner = set_binding(map, exact_of(9, "eu")).id;
	outer = set_binding(map, binding_of("q/", "eu")).id;
	finish_phase(map, outer, PHASE_FENCE);
	assert_int_equal(map_operation_find(map, outer)->phase, PHASE_WAIT);
	begin_copy(map, inner);
	finish_phase(map, inner, PHASE_COPY);
	finish_phase(map, inner, PHASE_CLOSE);
	assert_int_equal(map_operation_find(map, outer)->phase, PHASE_WAIT);
	finish_phase(map, inner, PHASE_PURGE);
	assert_int_equal(map_operation_find(map, outer)->phase, PHASE_COPY);
	free(map);
}

/* Keys come behind a fence that was counted before, since the binding that held them goes away. */
static void test_keys_that_came_after_the_count(void **state)
{
	(void)state;
	/* The outer fence is not complete when the inner operation is done: the one that counted first says none. */
	struct cluster_map *map = ruled();
	assert_int_equal(set_binding(map, binding_of("pat/", "default")).id, 0);
	finish_fence(map, set_binding(map, binding_of("pat/in/", "eu")).id);
	uint64_t outer = set_binding(map, binding_of("pat/", "eu")).id, inner = unset_binding(map, "pat/in/").id;
	const struct map_operation *operation = map_operation_find(map, outer);
	for (unsigned i = 0; i + 1 < SHARDS_PER_POLICY; i++)
		report_fence(map, outer, shard_of(map, "default", i)->id, 0);
	struct change highest = {
		.kind = CHANGE_FENCE_REPORT, .operation = inner, .shard = shard_of(map, "eu", 0)->id, .version = 900
	};
	assert_int_equal(apply(map, &highest).status, STATUS_OK);
	begin_copy(map, inner);
	for (enum operation_phase phase = PHASE_COPY; phase <= PHASE_PURGE; phase++)
		if (phase != PHASE_SEAL)
			finish_phase(map, inner, phase);
	assert_int_equal(map_operation_find(map, inner)->state, OPERATION_DONE);
	assert_string_equal(home_of(map, "pat/in/x"), "default");
	report_fence(map, outer, shard_of(map, "default", SHARDS_PER_POLICY - 1)->id, 0);
	assert_int_equal(operation->phase, PHASE_COPY);
	assert_int_equal(operation->version, 900);
	free(map);
	/* It waits, and no binding would cover what came: it goes nowhere. */
	map = cluster();
	struct policy policies[] = { policy_of("a", "eu", 3, SPREAD_REGION), policy_of("b", "eu", 3, SPREAD_REGION) };
	struct change_binding bindings[] = { binding_of("x/", "a"), binding_of("x/y/", "b"), binding_of("x/z/", "b") };
	assert_int_equal(apply_rules(map, policies, 2, bindings, 3).status, STATUS_OK);
	outer = unset_binding(map, "x/").id;
	inner = unset_binding(map, "x/y/").id;
	finish_phase(map, outer, PHASE_FENCE);
	operation = map_operation_find(map, outer);
	assert_int_equal(operation->phase, PHASE_WAIT);
	begin_copy(map, inner);
	for (enum operation_phase phase = PHASE_COPY; phase <= PHASE_PURGE; phase++)
		if (phase != PHASE_SEAL)
			finish_phase(map, inner, phase);
	assert_int_equal(operation->state, OPERATION_FAILED);
	assert_string_equal(home_of(map, "x/y/1"), "a");
	/* What another one inside it brings nothing of does not keep it. */
	outer = unset_binding(map, "x/").id;
	struct change_binding closer = binding_of("x/z/", "a");
	inner = set_binding(map, closer).id;
	finish_phase(map, outer, PHASE_FENCE);
	operation = map_operation_find(map, outer);
	assert_int_equal(operation->phase, PHASE_WAIT);
	finish_phase(map, inner, PHASE_FENCE);
	finish_phase(map, inner, PHASE_SEAL);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_null(binding_at(map, "x/"));
	free(map);
}

/* No shard's count can undo another's. */
static void test_counts_add_up(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	uint64_t id = set_binding(map, binding_of("pat/", "eu")).id;
	const struct map_operation *operation = map_operation_find(map, id);
	for (unsigned i = 0; i < SHARDS_PER_POLICY; i++)
		report_fence(map, id, shard_of(map, "default", i)->id, i == 0 ? 1 : i == 1 ? UINT64_MAX : 0);
	assert_int_equal(operation->phase, PHASE_COPY);
	free(map);
}

/* The fence's highest version goes to where the keys will be, and a key may fall to more policies than are asked at
 * once. */
static void test_versions_go_along(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policies[12];
	struct change_binding bindings[12];
	for (unsigned i = 0; i < 12; i++) {
		char name[] = "a", prefix[] = "a";
		name[0] = prefix[0] = (char)('a' + (int)i);
		policies[i] = policy_of(name, "eu", 3, SPREAD_REGION);
		bindings[i] = binding_of(prefix, name);
	}
	assert_int_equal(apply_rules(map, policies, 3, bindings, 3).status, STATUS_OK);
	struct change_binding exact = exact_of(5, "a");
	uint64_t id = set_binding(map, exact).id;
	const struct map_operation *operation = map_operation_find(map, id);
	for (uint64_t version = 100; operation->phase == PHASE_FENCE; version--) {
		struct change change = { .kind = CHANGE_FENCE_REPORT,
			.operation = id,
			.shard = operation->shards_done[operation->steps_done],
			.version = version };
		assert_int_equal(apply(map, &change).status, STATUS_OK);
	}
	assert_int_equal(operation->phase, PHASE_SEAL);
	assert_int_equal(operation->version, 100);
	assert_int_equal(operation->steps, SHARDS_PER_POLICY);
	/* A version that nobody can take over (far in the future) gives the change up. */
	assert_int_equal(report_move(map, id, PHASE_SEAL, operation->shards_done[3], 1).status, STATUS_OK);
	assert_int_equal(operation->phase, PHASE_ABORT);
	finish_phase(map, id, PHASE_ABORT);
	assert_int_equal(operation->state, OPERATION_FAILED);
	id = set_binding(map, exact).id;
	finish_fence(map, id);
	for (unsigned i = 3; i < 12; i++) /* 256 operations are kept, 12 policies are more than eight */
		assert_int_equal(apply_rules(map, &policies[i], 1, &bindings[i], 1).status, STATUS_OK);
	struct change unset = { .kind = CHANGE_BINDING_UNSET, .bindings = &exact, .binding_count = 1 };
	id = apply(map, &unset).id;
	operation = map_operation_find(map, id);
	finish_phase(map, id, PHASE_FENCE);
	assert_int_equal(operation->target_count, OPERATION_POLICIES_MAX);
	finish_phase(map, id, PHASE_SEAL);
	assert_int_equal(operation->phase, PHASE_SEAL);
	assert_int_equal(operation->target_count, 3); /* twelve without its own */
	assert_non_null(map_binding_by_hash(map, exact.hash));
	finish_phase(map, id, PHASE_SEAL);
	assert_int_equal(operation->state, OPERATION_DONE);
	assert_null(map_binding_by_hash(map, exact.hash));
	free(map);
}

static void test_binding_anew_and_away(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policy = policy_of("de", "eu/de", 2, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	uint64_t eu = map_policy_by_name(map, "eu")->id, de = map_policy_by_name(map, "de")->id;
	uint64_t id = set_binding(map, binding_of("eu/", "de")).id;
	assert_int_equal(map_operation_find(map, id)->policy, eu);
	/* The old one stays in force for reads. */
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, eu);
	assert_non_null(map_binding_pending_of(map, bytes_text("eu/x")));
	begin_copy(map, id);
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, eu);
	report_move(map, id, PHASE_COPY, map_operation_find(map, id)->shards_done[0], 1);
	assert_int_equal(binding_at(map, "eu/")->policy, eu);
	assert_int_equal(binding_at(map, "eu/")->pending_operation, 0);
	finish_phase(map, id, PHASE_ABORT);
	id = set_binding(map, binding_of("eu/", "de")).id;
	finish_fence(map, id);
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, de);
	/* Away: it fences its own policy. */
	id = unset_binding(map, "eu/").id;
	assert_int_equal(map_operation_find(map, id)->policy, de);
	assert_int_equal(unset_binding(map, "eu/").id, id);
	assert_int_equal(map_binding_of(map, bytes_text("eu/x"))->policy, de);
	begin_copy(map, id);
	finish_phase(map, id, PHASE_COPY);
	assert_non_null(binding_at(map, "eu/"));
	finish_phase(map, id, PHASE_CLOSE);
	assert_null(binding_at(map, "eu/"));
	finish_phase(map, id, PHASE_PURGE);
	free(map);
}

static void test_exact_keys(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policies[] = { policy_of("de", "eu/de", 2, SPREAD_ZONE), policy_of("us", "us", 2, SPREAD_ZONE) };
	assert_int_equal(apply_rules(map, policies, 2, NULL, 0).status, STATUS_OK);
	/* It may live under any prefix: all are asked. */
	uint64_t id = set_binding(map, exact_of(5, "de")).id;
	const struct map_operation *operation = map_operation_find(map, id);
	assert_int_equal(operation->steps, 16);
	bool exact;
	uint64_t hash[2];
	struct bytes prefix;
	assert_true(map_operation_fence(map, operation, map_policy_by_name(map, "eu")->id, &exact, hash, &prefix));
	assert_true(exact);
	assert_int_equal(hash[0], 5);
	assert_true(map_operation_fence(map, operation, map_policy_by_name(map, "default")->id, &exact, hash, &prefix));
	assert_false(map_operation_fence(map, operation, map_policy_by_name(map, "us")->id, &exact, hash, &prefix));
	finish_fence(map, id);
	assert_int_equal(map_binding_by_hash(map, (struct hash128){ 5, ~5ULL })->pending_operation, 0);
	/* A second one stays sorted before all prefixes; failing, it goes. */
	id = set_binding(map, exact_of(3, "de")).id;
	assert_true(map->bindings[0].exact);
	assert_int_equal(map->bindings[0].hash.high, 3);
	begin_copy(map, id);
	report_move(map, id, PHASE_COPY, shard_of(map, "eu", 2)->id, 1);
	assert_null(map_binding_by_hash(map, (struct hash128){ 3, ~3ULL }));
	finish_phase(map, id, PHASE_ABORT);
	/* Away again: whatever is around the key takes it, if that is of another policy. */
	struct change_binding away = exact_of(5, "de");
	struct change unset = { .kind = CHANGE_BINDING_UNSET, .bindings = &away, .binding_count = 1 };
	id = begin_copy(map, apply(map, &unset).id);
	assert_int_equal(map_operation_find(map, id)->target_count, 2);
	finish_phase(map, id, PHASE_COPY);
	finish_phase(map, id, PHASE_CLOSE);
	finish_phase(map, id, PHASE_PURGE);
	assert_null(map_binding_by_hash(map, (struct hash128){ 5, ~5ULL }));
	/* Looser than everything around it. */
	struct cluster_map *narrow = cluster();
	struct change_binding bindings[] = { binding_of("", "de") };
	assert_int_equal(apply_rules(narrow, policies, 2, bindings, 1).status, STATUS_OK);
	assert_refused(set_binding(narrow, exact_of(5, "us")), STATUS_RESIDENCY_REFUSED, "loosens every");
	free(narrow);
	free(map);
}

static void test_nested_bindings_only_tighten(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy us = policy_of("us", "us", 2, SPREAD_ZONE);
	assert_int_equal(apply_rules(map, &us, 1, NULL, 0).status, STATUS_OK);
	struct change_binding inner = binding_of("eu/us/", "us");
	inner.line = 31;
	struct meta_result result = set_binding(map, inner);
	assert_refused(result, STATUS_RESIDENCY_REFUSED, "store_in");
	assert_int_equal(result.flaw.line, 31);
	/* The outer one tightened away from what is inside it. */
	assert_refused(set_binding(map, binding_of("", "us")), STATUS_RESIDENCY_REFUSED, "store_in");
	/* The policy of the inner one loosened beyond the outer. */
	struct policy policies[] = { policy_of("eu", "*", 3, SPREAD_REGION),
		policy_of("default", "eu", 3, SPREAD_REGION) };
	policies[0].line = 4;
	result = apply_rules(map, policies, 2, NULL, 0);
	assert_refused(result, STATUS_RESIDENCY_REFUSED, "store_in");
	assert_int_equal(result.flaw.line, 4);
	/* Both at once, consistent after the change though not on the way. */
	struct policy both[] = { policy_of("default", "eu", 3, SPREAD_REGION),
		policy_of("eu", "eu/de", 2, SPREAD_ZONE) };
	assert_int_equal(apply_rules(map, both, 2, NULL, 0).status, STATUS_OK);
	free(map);
}

/* One file brings a prefix and one inside it: nobody wrote under the outer one before, so nothing is fenced. */
static void test_one_file_fences_only_what_was_there(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policies[] = { policy_of("a", "eu", 3, SPREAD_REGION), policy_of("b", "eu/de", 2, SPREAD_ZONE) };
	struct change_binding bindings[] = { binding_of("x/", "a"), binding_of("x/y/", "b"), binding_of("eu/z/", "b") };
	struct meta_result result = apply_rules(map, policies, 2, bindings, 3);
	assert_int_equal(result.status, STATUS_OK);
	/* "" was there: x/ and x/y/ take keys from it, eu/z/ from eu/. */
	assert_int_equal(map->operation_count, 3);
	uint64_t usual = map_policy_by_name(map, "default")->id, eu = map_policy_by_name(map, "eu")->id;
	const struct map_binding *at = binding_at(map, "x/y/");
	assert_int_equal(map_operation_find(map, at->pending_operation)->policy, usual);
	assert_int_equal(map_operation_find(map, binding_at(map, "eu/z/")->pending_operation)->policy, eu);
	struct cluster_map *fresh = cluster();
	bindings[2] = binding_of("x", "a");
	assert_int_equal(apply_rules(fresh, policies, 2, bindings, 3).status, STATUS_OK);
	assert_int_equal(fresh->operation_count, 0);
	free(fresh);
	free(map);
}

/* Both outcomes of a pending binding are judged. */
static void test_pending_bindings_count_both_ways(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct policy policies[] = { policy_of("de", "eu/de", 2, SPREAD_ZONE),
		policy_of("se", "eu/se", 2, SPREAD_ZONE) };
	assert_int_equal(apply_rules(map, policies, 2, NULL, 0).status, STATUS_OK);
	uint64_t id = set_binding(map, binding_of("eu/", "de")).id;
	assert_int_not_equal(id, 0);
	/* Policies of a running operation stay as they are. */
	struct policy wider = policy_of("de", "*", 2, SPREAD_ZONE);
	assert_refused(apply_rules(map, &wider, 1, NULL, 0), STATUS_CONFLICT, "still running");
	assert_refused(set_binding(map, binding_of("eu/se/", "se")), STATUS_CONFLICT, "not decided");
	/* `` -> se would be inside nothing, but around eu/ in both its forms. */
	assert_refused(set_binding(map, binding_of("", "de")), STATUS_RESIDENCY_REFUSED, "loosens");
	finish_fence(map, id);
	assert_int_equal(set_binding(map, binding_of("", "de")).status, STATUS_OK);
	free(map);
}

static void test_region_that_would_loosen(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	/* Inside eu, with a tag that so far only sites of the us bear. */
	struct policy policies[] = { policy_of("outer", "us", 2, SPREAD_ZONE),
		policy_of("inner", "cloud=aws", 2, SPREAD_ZONE) };
	struct change_binding bindings[] = { binding_of("a", "outer"), binding_of("ab", "inner") };
	assert_int_equal(apply_rules(map, policies, 2, bindings, 2).status, STATUS_OK);
	assert_refused(add_region(map, "ap/ap-1", "cloud=aws"), STATUS_RESIDENCY_REFUSED, "inner");
	assert_int_equal(add_region(map, "ap/ap-1", "cloud=other").status, STATUS_OK);
	assert_int_equal(add_region(map, "us/us-west-2", "cloud=aws").status, STATUS_OK);
	free(map);
}

static void test_operations_make_room(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	char prefix[3] = "p0";
	uint64_t first = 0;
	for (unsigned i = 0; i < test_limits.operations; i++) {
		prefix[1] = (char)('0' + i);
		uint64_t id = set_binding(map, binding_of(prefix, "eu")).id;
		first = i == 0 ? id : first;
		assert_int_not_equal(id, 0);
	}
	assert_refused(set_binding(map, binding_of("q", "eu")), STATUS_CONFLICT, "room");
	finish_fence(map, first + 1);
	assert_int_equal(set_binding(map, binding_of("q", "eu")).status, STATUS_OK);
	assert_null(map_operation_find(map, first + 1)); /* the oldest ended one made room */
	assert_non_null(map_operation_find(map, first));
	/* A report for it is for something that is over. */
	uint64_t epoch = map->epoch;
	struct meta_result result = report_fence(map, first + 1, 1, 1);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(result.epoch, epoch);
	free(map);
}

/* --- placement by hand --------------------------------------------------------------------------------------- */

static struct change place_of(const struct cluster_map *map, const struct map_shard *shard, const char *const nodes[])
{
	struct change change = { .kind = CHANGE_SHARD_PLACE, .shard = shard->id };
	for (; nodes[change.replica_count]; change.replica_count++)
		change.replicas[change.replica_count].node = map_node_by_place(map, nodes[change.replica_count])->id;
	return change;
}
#define PLACE(map, shard, ...) place_of(map, shard, (const char *const[]){ __VA_ARGS__, NULL })

static void test_shard_place(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	const struct map_shard *shard = shard_of(map, "eu", 0);
	struct change change = PLACE(map, shard, "n1", "n3", "n7");
	assert_refused(apply(map, &change), STATUS_RESIDENCY_REFUSED, "us-east-1");
	change = PLACE(map, shard, "n1", "n3");
	assert_refused(apply(map, &change), STATUS_INVALID, "copies: 3");
	change = PLACE(map, shard, "n1", "n3", "n4");
	assert_refused(apply(map, &change), STATUS_INVALID, "spread");
	change = PLACE(map, shard, "n1", "n1", "n3");
	assert_refused(apply(map, &change), STATUS_INVALID, "twice");
	change = PLACE(map, shard, "n1", "n3", "n5");
	change.replicas[1].node = 77777;
	assert_refused(apply(map, &change), STATUS_NOT_FOUND, "77777");
	change = PLACE(map, shard, "n2", "n4", "n6");
	if (shard->wanted[0].node == change.replicas[0].node || shard->wanted[1].node == change.replicas[0].node ||
		shard->wanted[2].node == change.replicas[0].node)
		change = PLACE(map, shard, "n1", "n3", "n5");
	struct meta_result result = apply(map, &change);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(map_operation_find(map, result.id)->kind, OPERATION_PLACE);
	assert_int_equal(shard->operation, result.id);
	assert_refused(apply(map, &change), STATUS_CONFLICT, "moves this shard");
	struct change report = report_of(shard, 4);
	assert_int_equal(apply(map, &report).status, STATUS_OK);
	assert_int_equal(map_operation_find(map, result.id)->state, OPERATION_DONE);
	assert_int_equal(apply(map, &change).id, 0); /* where it is already */
	free(map);
}

static void test_copy_in_by_hand(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "eu", 3, SPREAD_ZONE);
	policy.copy_in_count = 1;
	policy.copy_in[0].copies = 2;
	assert_true(selector_parse("eu/de", &policy.copy_in[0].in, NULL));
	policy.survive = SURVIVE_NODE;
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	const struct map_shard *shard = shard_of(map, "p", 1);
	struct change change = PLACE(map, shard, "n1", "n3", "n5");
	assert_refused(apply(map, &change), STATUS_INVALID, "copy_in");
	change = PLACE(map, shard, "n5", "n3", "n4");
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	free(map);
}

static void test_shard_lead(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy policy = policy_of("p", "eu", 3, SPREAD_REGION);
	selectors_add(&policy.lead_in, "eu/de");
	assert_int_equal(apply_rules(map, &policy, 1, NULL, 0).status, STATUS_OK);
	const struct map_shard *shard = shard_of(map, "p", 0);
	struct change change = { .kind = CHANGE_SHARD_LEAD, .shard = shard->id };
	change.target_node = map_node_by_place(map, "n7")->id;
	assert_refused(apply(map, &change), STATUS_INVALID, "no copy");
	change.target_node = 4242;
	assert_refused(apply(map, &change), STATUS_NOT_FOUND, "4242");
	assert_true(place_within(&map_node_find(map, shard->wanted[0].node)->place, "eu/de"));
	change.target_node = shard->wanted[1].node;
	assert_refused(apply(map, &change), STATUS_INVALID, "lead_in");
	change.target_node = shard->wanted[0].node;
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_int_equal(shard->lead_wanted, change.target_node);
	change.target_node = 0;
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_int_equal(shard->lead_wanted, 0);
	free(map);
}

static void test_malformed_changes(void **state)
{
	(void)state;
	struct cluster_map *map = ruled();
	struct change change = { .kind = 99 };
	assert_refused(apply(map, &change), STATUS_INVALID, "kind");
	change = (struct change){ .kind = CHANGE_BINDING_SET };
	assert_refused(apply(map, &change), STATUS_INVALID, "no binding");
	struct change_binding binding = binding_of("a", "eu");
	binding.prefix_size = BINDING_PREFIX_MAX + 1;
	assert_refused(set_binding(map, binding), STATUS_INVALID, "256");
	change_region(&change, "x", NULL);
	memset(change.region.site.place.text, 'a', sizeof(change.region.site.place.text));
	assert_refused(apply(map, &change), STATUS_INVALID, "place");
	change_node(&change, "x", 1);
	memset(change.node.place.text, 'a', sizeof(change.node.place.text));
	assert_refused(apply(map, &change), STATUS_INVALID, "place");
	free(map);
}

/* --- random runs ------------------------------------------------------------------------------------------------ */

static const char *const stores[] = { "*", "eu", "us", "eu/de", "eu/ie", "cloud=aws", "eu/se" };
static const char *const names[] = { "p0", "p1", "p2", "p3", "p4", "p5" };
static const char *const prefixes[] = { "", "a", "ab", "abc", "b", "bc", "bcd", "c" };

static struct policy random_policy(struct prng *prng)
{
	struct policy policy = policy_of(names[prng_below(prng, 6)], stores[prng_below(prng, 7)],
		(uint8_t)(1 + prng_below(prng, 3)), (uint8_t)(1 + prng_below(prng, 3)));
	if (prng_chance(prng, 200000))
		policy.transit = TRANSIT_ANY;
	if (prng_chance(prng, 100000))
		policy.copies = (uint8_t)(1 + prng_below(prng, COPIES_MAX));
	if (prng_chance(prng, 100000))
		policy.survive = (uint8_t)prng_below(prng, 4);
	return policy;
}

/* Keys that clients of the random runs write and delete. */
static const char *const keys[] = { "a1", "ab1", "abc1", "b1", "bc1", "bcd1", "c1", "d1" };
enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
enum { STORE_POLICIES_MAX = 16 };
struct store {
	uint64_t version[KEYS]; /* 0: the key is not there */
	uint64_t last;
	uint64_t rows[KEYS][STORE_POLICIES_MAX]; /* version of the row that the policy's shards have; 0: none */
};

/* Policies stay where they are in the map. */
static unsigned slot_of(const struct cluster_map *map, uint64_t policy)
{
	const struct policy *found = map_policy_find(map, policy);
	assert_non_null(found);
	assert_true(found - map->policies < STORE_POLICIES_MAX);
	return (unsigned)(found - map->policies);
}

static struct change_binding random_binding(struct prng *prng)
{
	uint8_t secret[16];
	memset(secret, 8, sizeof(secret)); /* of change_init */
	const char *policy = prng_chance(prng, 50000) ? "nobody" : names[prng_below(prng, 6)];
	if (prng_chance(prng, 150000)) {
		struct change_binding binding = exact_of(0, policy);
		binding.hash = hash_keyed(bytes_text(keys[prng_below(prng, KEYS)]), secret);
		return binding;
	}
	return binding_of(prefixes[prng_below(prng, 8)], policy);
}

struct random_change {
	struct change change;
	struct policy policies[3];
	struct change_binding bindings[4];
};

static void random_rules(struct prng *prng, struct random_change *out)
{
	out->change.policies = out->policies;
	out->change.bindings = out->bindings;
	bool file = out->change.kind == CHANGE_APPLY;
	out->change.policy_count = file ? (uint32_t)prng_below(prng, 4) : 0;
	out->change.binding_count = file ? (uint32_t)prng_below(prng, 5) : 1;
	for (unsigned i = 0; i < out->change.policy_count; i++)
		out->policies[i] = random_policy(prng);
	for (unsigned i = 0; i < out->change.binding_count; i++)
		out->bindings[i] = random_binding(prng);
}

static void random_report(struct prng *prng, const struct cluster_map *map, struct random_change *out)
{
	struct change *change = &out->change;
	const struct map_shard *shard = &map->shards[prng_below(prng, map->shard_count)];
	for (unsigned i = 0; i < 8 && shard->operation == 0; i++)
		shard = &map->shards[prng_below(prng, map->shard_count)];
	*change = report_of(shard, shard->membership_index + prng_below(prng, 3));
	if (prng_chance(prng, 300000))
		change->replicas[prng_below(prng, change->replica_count)].role = (uint8_t)prng_below(prng, 4);
	if (prng_chance(prng, 100000))
		change->generation += prng_below(prng, 3) - 1;
	if (prng_chance(prng, 100000))
		change->replicas[0].replica++;
}

static bool is_behind(const struct cluster_map *map, const struct map_operation *operation, struct bytes key)
{
	struct hash128 keyed = hash_keyed(key, map->hash_secret);
	if (operation->exact)
		return keyed.high == operation->hash.high && keyed.low == operation->hash.low;
	return bytes_starts_with(key, bytes_of(operation->prefix, operation->prefix_size));
}

/* The row that this shard has of the key; NULL: the key is another shard's. */
static uint64_t *row_at(const struct cluster_map *map, struct store *store, const struct map_shard *shard, unsigned key)
{
	bool here = map_shard_of(map, shard->policy, bytes_text(keys[key])) == shard;
	return here ? &store->rows[key][slot_of(map, shard->policy)] : NULL;
}

/* What an honest shard does and finds, in its step of the operation. */
static uint64_t shard_works(const struct cluster_map *map, struct store *store, const struct map_operation *operation,
	const struct map_shard *shard)
{
	uint64_t found = 0, target;
	for (unsigned i = 0; i < KEYS; i++) {
		struct bytes key = bytes_text(keys[i]);
		uint64_t *row = row_at(map, store, shard, i);
		if (!row || *row == 0 || !is_behind(map, operation, key))
			continue;
		const struct map_binding *binding = map_binding_of(map, key);
		bool lives = binding && binding->policy == shard->policy;
		enum map_move move = operation->phase == PHASE_COPY
					     ? map_operation_moves(map, operation, shard->policy, key, &target)
					     : MOVE_STAYS;
		if (operation->phase == PHASE_FENCE || move == MOVE_NOWHERE)
			found++;
		else if (move == MOVE_GOES && store->rows[i][slot_of(map, target)] < *row)
			store->rows[i][slot_of(map, target)] = *row;
		else if (operation->phase >= PHASE_PURGE && !lives)
			*row = 0;
	}
	return found;
}

static void random_step(
	struct prng *prng, const struct cluster_map *map, struct store *store, struct random_change *out)
{
	const struct map_operation *operation = &map->operations[prng_below(prng, map->operation_count)];
	for (unsigned i = 0; i < 4 && operation->state != OPERATION_RUNNING; i++)
		operation = &map->operations[prng_below(prng, map->operation_count)];
	if (operation->kind != OPERATION_BINDING) {
		random_report(prng, map, out);
		return;
	}
	bool fence = operation->phase == PHASE_FENCE;
	out->change = (struct change){ .kind = fence ? CHANGE_FENCE_REPORT : CHANGE_MOVE_REPORT,
		.operation = operation->id,
		.phase = fence ? PHASE_NONE : operation->phase,
		.shard = operation->shards_done[prng_below(prng, operation->steps)] };
	if (prng_chance(prng, 20000))
		out->change.operation = map->id_next;
	const struct map_shard *shard = map_shard_find(map, out->change.shard);
	if (prng_chance(prng, 20000))
		shard = &map->shards[prng_below(prng, map->shard_count)];
	out->change.shard = shard->id;
	if (map_operation_awaits(operation, shard->id))
		out->change.keys_found = shard_works(map, store, operation, shard);
	if (operation->phase == PHASE_COPY && prng_chance(prng, 30000))
		out->change.keys_found = 1; /* it was refused where it goes */
}

/* Clients write where the key's binding is in force and nothing is pending. A shard that has answered for a fence
 * refuses what is behind it, which is the same keys. */
static void random_writes(struct prng *prng, const struct cluster_map *map, struct store *store)
{
	unsigned at = (unsigned)prng_below(prng, KEYS);
	const struct map_binding *binding = map_binding_of(map, bytes_text(keys[at]));
	if (!binding || map_binding_pending_of(map, bytes_text(keys[at])))
		return;
	store->version[at] = prng_chance(prng, 300000) ? ++store->last : 0;
	store->rows[at][slot_of(map, binding->policy)] = store->version[at];
}

/* No change of bindings leaves a key behind where nobody looks for it, or brings one back that was deleted. */
static void check_reachable(const struct cluster_map *map, const struct store *store)
{
	for (unsigned i = 0; i < KEYS; i++) {
		const struct map_binding *binding = map_binding_of(map, bytes_text(keys[i]));
		if (store->version[i] != 0)
			assert_non_null(binding);
		if (binding)
			assert_int_equal(store->rows[i][slot_of(map, binding->policy)], store->version[i]);
	}
}

static void random_change(
	struct prng *prng, const struct cluster_map *map, struct store *store, struct random_change *out)
{
	memset(out, 0, sizeof(*out));
	struct change *change = &out->change;
	unsigned dice = (unsigned)prng_below(prng, 100);
	if (dice < 12 || map->shard_count == 0) {
		change->kind = CHANGE_APPLY;
		random_rules(prng, out);
	} else if (dice < 24) {
		change->kind = dice < 19 ? CHANGE_BINDING_SET : CHANGE_BINDING_UNSET;
		random_rules(prng, out);
	} else if (dice < 27) {
		const struct map_shard *shard = &map->shards[prng_below(prng, map->shard_count)];
		change->kind = CHANGE_SHARD_PLACE;
		change->shard = shard->id;
		change->replica_count = shard->wanted_count;
		for (unsigned i = 0; i < change->replica_count; i++)
			change->replicas[i].node = map->nodes[prng_below(prng, map->node_count)].id;
	} else if (dice < 30) {
		const struct map_shard *shard = &map->shards[prng_below(prng, map->shard_count)];
		change->kind = CHANGE_SHARD_LEAD;
		change->shard = shard->id;
		change->target_node = prng_chance(prng, 300000) ? map->nodes[prng_below(prng, map->node_count)].id
								: shard->wanted[0].node;
	} else if (dice < 32) {
		char place[] = "eu/ie/eu-west-1/a/m0";
		place[19] = (char)('0' + prng_below(prng, 10));
		change_node(change, place, 1 + prng_below(prng, 2));
	} else if (dice < 36) {
		change->kind = dice < 34 ? CHANGE_NODE_STATE : dice < 35 ? CHANGE_REGION_STATE : CHANGE_NODE_REMOVE;
		change->target_node = map->nodes[prng_below(prng, map->node_count)].id;
		change->state = (uint8_t)prng_below(prng, 4);
		strcpy(change->name, map->regions[prng_below(prng, map->region_count)].name);
	} else if (dice < 37) {
		change->kind = CHANGE_META_REPORT;
		for (uint32_t i = 0; i < map->node_count && change->replica_count < REPLICAS_MAX; i++)
			if (prng_chance(prng, 700000))
				change->replicas[change->replica_count++] =
					(struct map_replica){ .replica = map->nodes[i].meta_replica,
						.node = map->nodes[i].id,
						.role = map->nodes[i].meta_voter ? ROLE_VOTER : ROLE_LEARNER };
		if (prng_chance(prng, 100000))
			change->replicas[0].replica++;
	} else if (dice < 38) {
		change->kind = CHANGE_LEDGER_HEAD;
		change->node.id = map->nodes[prng_below(prng, map->node_count)].id;
		change->node.ledger.at.sequence = 1 + prng_below(prng, 50);
		change->node.ledger.signature_size = 1;
	} else if (dice < 39 && prng_chance(prng, 500000)) {
		change->kind = CHANGE_CANCEL;
		change->operation = map->operation_count == 0 || prng_chance(prng, 100000)
					    ? map->id_next
					    : map->operations[prng_below(prng, map->operation_count)].id;
	} else if (dice < 39) {
		const char *const places[] = { "eu/fr/eu-fr-1", "us/us-west-2", "ap/ap-1" };
		change_region(change, places[prng_below(prng, 3)], prng_chance(prng, 500000) ? "cloud=aws" : NULL);
	} else if (dice < 60 || map->operation_count == 0) {
		random_report(prng, map, out);
	} else {
		random_step(prng, map, store, out);
	}
	change->dry_run = prng_chance(prng, 50000);
	change->now_us = prng_below(prng, 1000000);
}

/* The change as it comes out of the log. */
static void decoded(const struct random_change *from, struct random_change *to)
{
	static uint8_t bytes[256 * 1024];
	struct packer packer;
	pack_init(&packer, bytes, sizeof(bytes));
	change_encode(&from->change, &packer);
	assert_false(packer.overflow);
	struct change_scratch scratch = {
		.policies = to->policies, .policy_max = 3, .bindings = to->bindings, .binding_max = 4
	};
	assert_int_equal(change_decode(pack_result(&packer), &scratch, &to->change), STATUS_OK);
}

static void run_random(uint64_t seed, unsigned *accepted, unsigned *refused)
{
	struct prng prng;
	prng_seed(&prng, seed);
	struct cluster_map *map = cluster(), *other = cluster();
	static struct random_change change, again;
	struct store store = { 0 };
	for (unsigned i = 0; i < 250; i++) {
		random_writes(&prng, map, &store);
		random_change(&prng, map, &store, &change);
		struct meta_result result = apply(map, &change.change), second;
		decoded(&change, &again);
		meta_apply(other, &again.change, &second);
		assert_int_equal(second.status, result.status);
		assert_int_equal(second.id, result.id);
		assert_string_equal(second.flaw.reason, result.flaw.reason);
		assert_int_equal(second.flaw.line, result.flaw.line);
		assert_int_equal(meta_digest(other), meta_digest(map));
		check_reachable(map, &store);
		accepted[change.change.kind] += result.status == STATUS_OK;
		refused[change.change.kind] += result.status != STATUS_OK;
		if (prng_chance(&prng, 100000))
			other = reopened(other);
	}
	free(map);
	free(other);
}

static void test_random_runs(void **state)
{
	(void)state;
	unsigned accepted[CHANGE_KIND_LAST + 1] = { 0 }, refused[CHANGE_KIND_LAST + 1] = { 0 };
	for (uint64_t seed = 1; seed <= 25; seed++)
		run_random(seed, accepted, refused);
	/* The runs must have met both answers of what they are made of, or they show nothing. */
	for (unsigned kind = CHANGE_REGION_ADD; kind <= CHANGE_KIND_LAST; kind++) {
		if (kind == CHANGE_NODE_ADDRESSES)
			continue;
		if (accepted[kind] == 0 || refused[kind] == 0)
			fail_msg("kind %u: %u accepted, %u refused", kind, accepted[kind], refused[kind]);
	}
}

/* --- former rules ---------------------------------------------------------------------------------------------- */

static void test_former_rules_are_kept(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy home = policy_of("home", "eu", 3, SPREAD_REGION), open = policy_of("open", "*", 1, SPREAD_NODE);
	uint64_t since, until, epochs[12];
	assert_int_equal(apply_rules(map, (struct policy[]){ home, open }, 2, NULL, 0).status, STATUS_OK);
	assert_int_equal(map->version_count, 0);
	uint64_t id = map_policy_by_name(map, "home")->id;
	epochs[0] = map->epoch;
	assert_int_equal(apply_rules(map, &home, 1, NULL, 0).status, STATUS_OK); /* the same: no version of it */
	assert_int_equal(map->version_count, 0);
	for (uint32_t i = 1; i < 12; i++) {
		home.isolated_stale_ms = i;
		assert_int_equal(apply_rules(map, &home, 1, NULL, 0).status, STATUS_OK);
		epochs[i] = map->epoch;
		assert_int_equal(map->version_count, i < POLICY_VERSIONS_MAX ? i : POLICY_VERSIONS_MAX);
	}
	/* Eight before the one in force; the first three are forgotten. */
	for (uint32_t i = 0; i < 12; i++) {
		const struct policy *then = map_policy_as_of(map, id, epochs[i], &since, &until);
		assert_true((then != NULL) == (i >= 3));
		if (then)
			assert_int_equal(then->isolated_stale_ms, i);
		if (then)
			assert_int_equal(since, 5000);
	}
	/* Those of all policies: twelve here. The oldest go, whosever they are. */
	for (uint32_t i = 1; i < 8; i++) {
		open.isolated_stale_ms = i;
		assert_int_equal(apply_rules(map, &open, 1, NULL, 0).status, STATUS_OK);
	}
	assert_int_equal(map->version_count, 12);
	assert_null(map_policy_as_of(map, id, epochs[5], &since, &until));
	assert_non_null(map_policy_as_of(map, id, epochs[6], &since, &until));
	/* What is refused or only asked leaves none. */
	home.copies = 7;
	assert_int_not_equal(apply_rules(map, &home, 1, NULL, 0).status, STATUS_OK);
	assert_int_equal(map->version_count, 12);
	free(map);
}

/* --- plans --------------------------------------------------------------------------------------------------- */

/* The map as the change would leave it, made as meta's leader makes it. */
static struct cluster_map *planned(const struct cluster_map *map, struct change *change, struct meta_result *result)
{
	struct cluster_map *after = map_new();
	uint64_t digest = meta_digest(map);
	assert_true(cluster_map_copy(map, after));
	assert_int_equal(meta_digest(after), digest);
	meta_apply(after, change, result);
	assert_int_equal(meta_digest(map), digest);
	return after;
}

/* Plans, then applies under the plan's id: what was planned is the map, to the byte. A second time the plan is stale.
 */
static void plan_and_apply(struct cluster_map *map, struct policy *policies, uint32_t policy_count,
	struct change_binding *bindings, uint32_t binding_count)
{
	struct change change = { .kind = CHANGE_APPLY,
		.policies = policies,
		.policy_count = policy_count,
		.bindings = bindings,
		.binding_count = binding_count,
		.now_us = 5000 };
	struct meta_result result;
	struct cluster_map *after = planned(map, &change, &result);
	assert_int_equal(result.status, STATUS_OK);
	change.plan = plan_id(map, &change);
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_int_equal(meta_digest(map), meta_digest(after));
	if (plan_id(map, &change) != change.plan)
		assert_refused(apply(map, &change), STATUS_CONFLICT, "no longer holds");
	free(after);
}

static void finish_moves(struct cluster_map *map)
{
	for (uint32_t i = 0; i < map->shard_count; i++) {
		struct change report = report_of(&map->shards[i], 10 + map->shards[i].generation);
		if (map->shards[i].operation != 0)
			assert_int_equal(apply(map, &report).status, STATUS_OK);
	}
}

static void test_what_was_planned_is_what_happens(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy home = policy_of("home", "eu", 3, SPREAD_REGION), open = policy_of("open", "*", 3, SPREAD_REGION);
	struct change_binding bindings[] = { binding_of("a/", "home"), binding_of("b/", "open"), exact_of(7, "home") };
	plan_and_apply(map, (struct policy[]){ home, open }, 2, bindings, 2);
	plan_and_apply(map, &home, 1, bindings, 1); /* nothing to do */
	home = policy_of("home", "eu", 2, SPREAD_ZONE);
	plan_and_apply(map, &home, 1, NULL, 0); /* fewer */
	finish_moves(map);
	home = policy_of("home", "eu", 4, SPREAD_NODE);
	plan_and_apply(map, &home, 1, NULL, 0); /* more */
	finish_moves(map);
	selectors_add(&home.never_in, "eu/se");
	plan_and_apply(map, &home, 1, NULL, 0); /* elsewhere */
	finish_moves(map);
	home.reads = READS_LOCAL;
	plan_and_apply(map, &home, 1, NULL, 0); /* rules only */
	open = policy_of("open", "us", 2, SPREAD_ZONE);
	plan_and_apply(map, &open, 1, NULL, 0);
	finish_moves(map);
	struct policy fresh = policy_of("fresh", "*", 3, SPREAD_REGION);
	struct change_binding both[] = { binding_of("c/", "fresh"), binding_of("", "fresh") };
	plan_and_apply(map, &fresh, 1, both, 2);
	plan_and_apply(map, NULL, 0, &bindings[2], 1); /* asks shards */
	free(map);
}

static void test_a_plan_is_stale_when_the_world_has_moved(void **state)
{
	(void)state;
	struct cluster_map *map = cluster();
	struct policy home = policy_of("home", "eu", 3, SPREAD_REGION);
	struct change change = { .kind = CHANGE_APPLY, .policies = &home, .policy_count = 1 };
	change.plan = plan_id(map, &change);
	home.copies = 2; /* another file */
	assert_refused(apply(map, &change), STATUS_CONFLICT, "no longer holds");
	home.copies = 3;
	/* A node has come: copies might go there. */
	uint64_t before = change.plan;
	add_node(map, "eu/de/eu-central-1/c/n9");
	assert_refused(apply(map, &change), STATUS_CONFLICT, "no longer holds");
	assert_null(map_policy_by_name(map, "home"));
	change.plan = plan_id(map, &change);
	assert_int_not_equal(change.plan, before);
	/* What has no say is no reason. */
	map->nodes[0].addresses.count = 0;
	assert_int_equal(apply(map, &change).status, STATUS_OK);
	assert_non_null(map_policy_by_name(map, "home"));
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_regions_stand_apart),
		cmocka_unit_test(test_admit),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ledger_heads_go_on),
		cmocka_unit_test(test_meta_voters_stay_odd),
		cmocka_unit_test(test_meta_report),
		cmocka_unit_test(test_apply_makes_shards),
		cmocka_unit_test(test_apply_again_changes_no_rule),
		cmocka_unit_test(test_apply_refuses_as_a_whole),
		cmocka_unit_test(test_epoch_guards),
		cmocka_unit_test(test_changed_policy_moves),
		cmocka_unit_test(test_shard_report_refuses_strangers),
		cmocka_unit_test(test_binding_where_nothing_is_bound),
		cmocka_unit_test(test_binding_waits_for_the_fence),
		cmocka_unit_test(test_keys_go_along_with_the_binding),
		cmocka_unit_test(test_keys_that_cannot_go_keep_the_binding),
		cmocka_unit_test(test_what_may_change_while_keys_move),
		cmocka_unit_test(test_the_closer_binding_goes_first),
		cmocka_unit_test(test_keys_that_came_after_the_count),
		cmocka_unit_test(test_counts_add_up),
		cmocka_unit_test(test_versions_go_along),
		cmocka_unit_test(test_binding_anew_and_away),
		cmocka_unit_test(test_exact_keys),
		cmocka_unit_test(test_nested_bindings_only_tighten),
		cmocka_unit_test(test_one_file_fences_only_what_was_there),
		cmocka_unit_test(test_pending_bindings_count_both_ways),
		cmocka_unit_test(test_region_that_would_loosen),
		cmocka_unit_test(test_operations_make_room),
		cmocka_unit_test(test_shard_place),
		cmocka_unit_test(test_copy_in_by_hand),
		cmocka_unit_test(test_shard_lead),
		cmocka_unit_test(test_malformed_changes),
		cmocka_unit_test(test_former_rules_are_kept),
		cmocka_unit_test(test_what_was_planned_is_what_happens),
		cmocka_unit_test(test_a_plan_is_stale_when_the_world_has_moved),
		cmocka_unit_test(test_random_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
