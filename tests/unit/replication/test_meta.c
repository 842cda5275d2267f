/* tests/unit/replication/test_meta.c: what each change does to the map and what it is refused for. Bindings:
 * test_meta_bindings.c; random runs of all: test_meta_random.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/plan.h"
#include "tests/unit/replication/meta_binding.h"

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
		cmocka_unit_test(test_shard_place),
		cmocka_unit_test(test_copy_in_by_hand),
		cmocka_unit_test(test_shard_lead),
		cmocka_unit_test(test_malformed_changes),
		cmocka_unit_test(test_former_rules_are_kept),
		cmocka_unit_test(test_what_was_planned_is_what_happens),
		cmocka_unit_test(test_a_plan_is_stale_when_the_world_has_moved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
