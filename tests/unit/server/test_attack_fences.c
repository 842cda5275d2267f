/* tests/unit/server/test_attack_fences.c: a catch-all from which prefix after prefix is bound to policies of their own.
 * Each leaves a fence for good; one that no shard takes any more is an operation that never ends. */
#include "tests/unit/server/driver_cluster.h"

static struct cluster cluster;

static int setup(void **state)
{
	*state = &cluster;
	cluster_open(&cluster);
	cluster_of_three(&cluster, SLOT_SHARD);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster_close(&cluster);
	return 0;
}

static enum status fence(uint64_t operation, const char *prefix)
{
	struct command command = {
		.kind = COMMAND_FENCE, .operation = operation, .map_epoch = operation, .key = bytes_text(prefix)
	};
	return commit(&cluster, &command).status;
}

static void test_a_thousand_prefixes_leave(void **state)
{
	(void)state;
	char prefix[32];
	for (unsigned i = 1; i <= 1000; i++) {
		snprintf(prefix, sizeof(prefix), "tenant-%u/", i);
		assert_int_equal(fence(i, prefix), STATUS_OK);
	}
	assert_int_equal(fence(1000, "tenant-1000/"), STATUS_OK); /* asked again: counted again */
	struct command write = put("tenant-1000/x", "1");
	assert_int_equal(commit(&cluster, &write).status, STATUS_STALE_MAP);
	write = put("tenant-1001/x", "1");
	assert_int_equal(commit(&cluster, &write).status, STATUS_OK);
	for (uint64_t id = 1; id <= 3; id++) /* they are state: there after a crash */
		node_stop(&cluster.nodes[id], false);
	packets_drop(&cluster);
	for (uint64_t id = 1; id <= 3; id++)
		node_start(&cluster.nodes[id]);
	write = put("tenant-7/x", "1");
	assert_int_equal(commit(&cluster, &write).status, STATUS_STALE_MAP);
	assert_int_equal(fence(1001, ""), STATUS_OK); /* and now all that is left */
	write = put("other", "1");
	assert_int_equal(commit(&cluster, &write).status, STATUS_STALE_MAP);
	assert_converged(&cluster, SLOT_SHARD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_thousand_prefixes_leave, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
