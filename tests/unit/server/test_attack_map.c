/* tests/unit/server/test_attack_map.c: a node comes back, alone, while meta's quorum is away. What it then believes of
 * the rules decides to whom it sends a shard's bytes, so it may not be rules that it has seen replaced. */
#include "replication/meta.h"
#include "tests/unit/server/driver_cluster.h"

static struct cluster cluster;
static struct change change; /* large */
static struct policy policy;

static int setup(void **state)
{
	*state = &cluster;
	cluster_open(&cluster);
	cluster_of_three(&cluster, SLOT_META);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster_close(&cluster);
	return 0;
}

static void submit(void)
{
	for (unsigned tries = 0; tries < 50; tries++) {
		uint64_t token = token_next(&cluster), leader = cluster_leader(&cluster, SLOT_META);
		driver_propose_change(cluster.nodes[leader].drivers[SLOT_META], &change, token, cluster.time);
		const struct answer *answer = await(&cluster, token);
		if (answer->outcome.status != STATUS_NOT_LEADER && answer->outcome.status != STATUS_BUSY) {
			assert_int_equal(answer->outcome.status, STATUS_OK);
			return;
		}
		cluster_run(&cluster, 50);
	}
	fail_msg("never taken");
}

static void begin_cluster(void)
{
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_INIT;
	strcpy(change.name, "acme");
	change.cluster[0] = 1;
	strcpy(change.region.site.place.text, "eu/r0");
	strcpy(change.region.name, "r0");
	change.region.ca_size = 100;
	memset(change.region.ca_der, 1, 100);
	strcpy(change.node.place.text, "eu/r0/a/n1");
	change.node.incarnation = 11;
	change.node.addresses.count = 1;
	strcpy(change.node.addresses.at[0].address, "127.0.0.1:1");
	submit();
}

static void apply_policy(const char *store_in)
{
	memset(&policy, 0, sizeof(policy));
	strcpy(policy.name, "one");
	policy.copies = 1;
	policy.spread = SPREAD_NODE;
	assert_true(selector_parse(store_in, &policy.store_in.at[policy.store_in.count++], NULL));
	policy_complete(&policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD);
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_APPLY;
	change.policies = &policy;
	change.policy_count = 1;
	submit();
}

static void test_rules_outlive_a_crash_without_the_quorum(void **state)
{
	(void)state;
	begin_cluster();
	apply_policy("*");
	apply_policy("eu/r0");
	cluster_run(&cluster, 500);
	for (uint64_t id = 1; id <= 3; id++)
		node_stop(&cluster.nodes[id], false);
	packets_drop(&cluster);
	for (uint64_t id = 1; id <= 3; id++) {
		node_start(&cluster.nodes[id]); /* nobody has been heard yet */
		const struct policy *now = map_policy_by_name(cluster.nodes[id].map, "one");
		assert_non_null(now);
		assert_string_equal(now->store_in.at[0].text, "eu/r0");
	}
	assert_converged(&cluster, SLOT_META);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rules_outlive_a_crash_without_the_quorum, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
