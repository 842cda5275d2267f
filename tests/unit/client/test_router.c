/* Where a key may go from here, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "tests/unit/client/world.h"

#define MS ((uint64_t)1000000)

static void test_resolving(void **state)
{
	(void)state;
	static const struct {
		const char *place, *key, *guard;
		bool write;
		enum status status;
		uint64_t policy;
		const char *says;
	} cases[] = {
		{ "eu/ie/eu-west-1", "eu/1", NULL, false, STATUS_OK, EU_ONLY, NULL },
		{ "eu/ie/eu-west-1", "eu/1", "eu-only", true, STATUS_OK, EU_ONLY, NULL },
		{ "eu/ie/eu-west-1", "eu/1", "everywhere", true, STATUS_POLICY_MISMATCH, 0, "eu-only" },
		{ "us/us-east-1", "eu/1", NULL, false, STATUS_RESIDENCY_REFUSED, 0, "not read from us/us-east-1" },
		{ "us/us-east-1", "eu/1", NULL, true, STATUS_RESIDENCY_REFUSED, 0, "not written from us/us-east-1" },
		{ "us/us-east-1", "open/1", NULL, true, STATUS_OK, EU_OPEN, NULL },
		{ "us/us-east-1", "else", NULL, true, STATUS_OK, EVERYWHERE, NULL },
		{ "us/us-east-1", "a-single-key", NULL, false, STATUS_RESIDENCY_REFUSED, 0, "eu-only" },
		{ "us/us-east-1", "a-single-key2", NULL, false, STATUS_OK, EVERYWHERE, NULL },
		{ "", "else", NULL, false, STATUS_RESIDENCY_REFUSED, 0, "an identity without a place" },
		{ "mars/base-1", "else", NULL, false, STATUS_RESIDENCY_REFUSED, 0, "mars/base-1" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct router *router = router_at(cases[i].place);
		struct router_target target = { 0 };
		char why[ROUTER_WHY_MAX] = "";
		assert_int_equal(
			router_resolve(router, bytes_text(cases[i].key), cases[i].write, cases[i].guard, &target, why),
			cases[i].status);
		if (cases[i].status == STATUS_OK) {
			assert_int_equal(target.policy, cases[i].policy);
			assert_int_equal(target.shard / 10, cases[i].policy);
			assert_int_equal(target.map_epoch, 7);
		} else {
			assert_non_null(strstr(why, cases[i].says));
			assert_null(strstr(why, cases[i].key)); /* a text never holds the key */
		}
		free(router);
	}
}

static void test_unbound_and_no_map(void **state)
{
	(void)state;
	struct router *router = router_blank("eu/ie/eu-west-1");
	struct router_target target;
	char why[ROUTER_WHY_MAX];
	assert_int_equal(router_resolve(router, bytes_text("k"), false, NULL, &target, why), STATUS_QUORUM_UNAVAILABLE);
	struct cluster_map *map = world_map();
	map->binding_count--; /* the catch-all is the last */
	assert_int_equal(world_learn(router, map), STATUS_OK);
	assert_int_equal(router_resolve(router, bytes_text("k"), false, NULL, &target, why), STATUS_RESIDENCY_REFUSED);
	assert_non_null(strstr(why, "no binding covers this key"));
	assert_int_equal(router_resolve(router, bytes_text("eu/k"), false, NULL, &target, why), STATUS_OK);
	free(map);
	free(router);
}

/* The first byte of any map. */
static char map_version(const struct cluster_map *map)
{
	static uint8_t bytes[1 << 20];
	struct packer packer = { .data = bytes, .capacity = sizeof(bytes) };
	cluster_map_encode(map, &packer);
	assert_false(packer.overflow);
	return (char)bytes[0];
}

static void test_maps_come_and_stay(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	struct cluster_map *map = world_map();
	router_learn_leader(router, EU_ONLY * 10 + 1, DE1);
	router_learn_rtt(router, US1, 68000);
	map->epoch = 6; /* older: nothing changes */
	assert_int_equal(world_learn(router, map), STATUS_OK);
	assert_int_equal(router_epoch(router), 7);
	assert_int_equal(router_learn_map(router, bytes_text("not a map")), STATUS_UNSUPPORTED);
	char cut_short[] = "?not a map";
	cut_short[0] = map_version(map);
	assert_int_equal(router_learn_map(router, bytes_text(cut_short)), STATUS_INVALID);
	assert_int_equal(router_epoch(router), 7);
	map->epoch = 9;
	map->cluster[0] ^= 1;
	assert_int_equal(world_learn(router, map), STATUS_DENIED);
	assert_int_equal(router_epoch(router), 7);
	map->cluster[0] ^= 1;
	/* A shard fewer in front: what was learned of the others stays with them. */
	memmove(map->shards, map->shards + 1, --map->shard_count * sizeof(*map->shards));
	assert_int_equal(world_learn(router, map), STATUS_OK);
	assert_int_equal(router_epoch(router), 9);
	assert_int_equal(router_leader(router, EU_ONLY * 10 + 1), DE1);
	assert_int_equal(router_leader(router, EU_ONLY * 10), 0);
	bool measured;
	assert_int_equal(router_rtt_us(router, US1, &measured), 68000);
	assert_true(measured);
	free(map);
	free(router);
}

static void expect_order(struct router *router, uint64_t shard, uint8_t operation, uint64_t now_ns, const char *order)
{
	uint64_t nodes[REPLICAS_MAX];
	char got[32] = "";
	unsigned count = router_candidates(router, shard, operation, false, now_ns, nodes);
	for (unsigned i = 0; i < count; i++)
		got[i] = (char)('0' + nodes[i]);
	assert_string_equal(got, order);
}

static void test_order_of_candidates(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	uint64_t shard = EVERYWHERE * 10;		      /* IE1 = 2, DE1 = 4, US1 = 5 */
	expect_order(router, shard, OPERATION_GET, 0, "245"); /* by guesses */
	router_learn_rtt(router, DE1, 25000);
	router_learn_rtt(router, US1, 10000);
	expect_order(router, shard, OPERATION_GET, 0, "254");
	router_learn_leader(router, shard, DE1);
	expect_order(router, shard, OPERATION_PUT, 0, "254"); /* the nearest is the origin */
	expect_order(router, shard, OPERATION_GET, 0, "254");
	router_node_lost(router, US1, 1000 * MS);
	expect_order(router, shard, OPERATION_PUT, 1001 * MS, "245"); /* just lost: last */
	expect_order(router, shard, OPERATION_GET, 1001 * MS, "245");
	assert_true(router_is_suspect(router, US1, 1001 * MS));
	expect_order(router, shard, OPERATION_PUT, 3000 * MS, "254");
	router_node_lost(router, US1, 3000 * MS);
	router_node_answered(router, US1);
	expect_order(router, shard, OPERATION_PUT, 3001 * MS, "254");
	router_forget_leader(router, shard, US1); /* not the hint */
	assert_int_equal(router_leader(router, shard), DE1);
	router_forget_leader(router, shard, DE1);
	assert_int_equal(router_leader(router, shard), 0);
	expect_order(router, 4711, OPERATION_PUT, 0, "");
	free(router);
}

/* A node that hangs costs one operation now and then, not all of them each time that it may have come back. */
static void test_one_trial_at_a_time(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	uint64_t shard = EVERYWHERE * 10, now_ns = 1000 * MS;
	expect_order(router, shard, OPERATION_GET, now_ns, "245");
	router_node_tried(router, IE1, now_ns); /* never lost: any number may go there */
	expect_order(router, shard, OPERATION_GET, now_ns, "245");
	router_node_lost(router, IE1, now_ns);
	expect_order(router, shard, OPERATION_GET, now_ns + 100 * MS, "452");
	now_ns += 250 * MS;
	expect_order(router, shard, OPERATION_GET, now_ns, "245");
	router_node_tried(router, IE1, now_ns);
	expect_order(router, shard, OPERATION_GET, now_ns + 1, "452"); /* others do not follow */
	expect_order(router, shard, OPERATION_GET, now_ns + 249 * MS, "452");
	router_node_lost(router, IE1, now_ns + 500 * MS); /* silent again: longer */
	expect_order(router, shard, OPERATION_GET, now_ns + 999 * MS, "452");
	expect_order(router, shard, OPERATION_GET, now_ns + 1000 * MS, "245");
	router_node_tried(router, IE1, now_ns + 1000 * MS);
	expect_order(router, shard, OPERATION_GET, now_ns + 1499 * MS, "452");
	for (unsigned i = 0; i < 5; i++) { /* each trial that fails doubles it, up to 8 s */
		now_ns += 20000 * MS;
		router_node_tried(router, IE1, now_ns);
		router_node_lost(router, IE1, now_ns + 500 * MS);
		router_node_lost(router, IE1, now_ns + 501 * MS);
	}
	expect_order(router, shard, OPERATION_GET, now_ns + 8499 * MS, "452");
	expect_order(router, shard, OPERATION_GET, now_ns + 8500 * MS, "245");
	router_node_answered(router, IE1); /* a ping suffices */
	expect_order(router, shard, OPERATION_GET, now_ns + 1100 * MS, "245");
	free(router);
}

static void test_when_the_leader_goes_first(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	uint64_t shard = EVERYWHERE * 10, nodes[REPLICAS_MAX];
	router_learn_rtt(router, IE1, 600);
	router_learn_rtt(router, DE1, 25000);
	router_learn_rtt(router, US1, 1599);
	router_learn_leader(router, shard, US1);
	expect_order(router, shard, OPERATION_PUT, 0, "524"); /* not a millisecond farther: nothing to forward */
	expect_order(router, shard, OPERATION_GET, 0, "254");
	for (unsigned i = 0; i < 50; i++)
		router_learn_rtt(router, US1, 2000);
	expect_order(router, shard, OPERATION_PUT, 0, "254");
	/* One that names the leader instead of forwarding: straight to the leader for two seconds, for this shard. */
	router_learn_leader(router, shard, DE1);
	router_refused_origin(router, shard, 1000 * MS);
	expect_order(router, shard, OPERATION_PUT, 1001 * MS, "425");
	expect_order(router, shard, OPERATION_GET, 1001 * MS, "254");
	expect_order(router, shard + 1, OPERATION_PUT, 1001 * MS, "254");
	router_node_lost(router, DE1, 1001 * MS);
	expect_order(router, shard, OPERATION_PUT, 1002 * MS, "254"); /* unless it was just lost */
	router_node_answered(router, DE1);
	expect_order(router, shard, OPERATION_PUT, 3000 * MS, "254");
	/* A write that may have been proposed asks for it. */
	assert_int_equal(router_candidates(router, shard, OPERATION_PUT, true, 3000 * MS, nodes), 3);
	assert_int_equal(nodes[0], DE1);
	free(router);
}

/* Whom a client pings, by the second. */
static void expect_probes(struct router *router, uint64_t now_ns, const char *expected)
{
	uint64_t nodes[8];
	char got[16] = "";
	unsigned count = router_probes(router, now_ns, nodes, 8);
	for (unsigned i = 0; i < count; i++)
		got[i] = (char)('0' + nodes[i]);
	assert_string_equal(got, expected);
}

static void test_whom_to_ping(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1"); /* IE1 = 2, IE2 = 3, DE1 = 4, US1 = 5, US2 = 6 */
	uint64_t now_ns = 1000 * MS;
	expect_probes(router, now_ns, "23"); /* at home, before anything is sent */
	for (unsigned i = 1; i < 10; i++)
		expect_probes(router, now_ns + i * 1000 * MS, "");
	expect_probes(router, now_ns + 10000 * MS, "23"); /* idle: each ten seconds */
	/* In use: the node at home each second, those elsewhere one at a time and each every ten seconds. */
	now_ns = 21000 * MS;
	expect_probes(router, now_ns, "23");
	unsigned far = 0;
	for (unsigned i = 1; i <= 60; i++) {
		uint64_t nodes[8];
		router_want(router, (const uint64_t[]){ IE1, DE1, US1 }, 3, now_ns + i * 1000 * MS);
		unsigned count = router_probes(router, now_ns + i * 1000 * MS, nodes, 8), elsewhere = 0, home = 0;
		for (unsigned j = 0; j < count; j++) {
			assert_int_not_equal(nodes[j], US2); /* of no use to anybody */
			elsewhere += nodes[j] == DE1 || nodes[j] == US1;
			home += nodes[j] == IE1;
		}
		assert_true(elsewhere <= 1);
		assert_int_equal(home, 1);
		far += elsewhere;
	}
	assert_int_equal(far, 12);
	/* No longer used: forgotten, first at home, then elsewhere. */
	now_ns += 60000 * MS;
	expect_probes(router, now_ns + 9000 * MS, "24");
	expect_probes(router, now_ns + 100000 * MS, "23");
	for (unsigned i = 1; i < 10; i++)
		expect_probes(router, now_ns + 100000 * MS + i * 1000 * MS, "");
	free(router);
	/* Many nodes at home: a few are measured beforehand, the others once they are used. */
	router = router_blank("eu/ie/eu-west-1");
	struct cluster_map *map = world_map();
	map->id_next = 8;
	for (unsigned i = 0; i < 6; i++) {
		char place[32] = "eu/ie/eu-west-1/c/n0";
		place[19] = (char)('1' + i);
		add_node(map, place);
	}
	assert_int_equal(world_learn(router, map), STATUS_OK);
	uint64_t nodes[16];
	assert_int_equal(router_probes(router, MS, nodes, 16), 4);
	assert_int_equal(router_probes(router, 2 * MS, nodes, 16), 0);
	router_want(router, (const uint64_t[]){ map->nodes[map->node_count - 1].id }, 1, 3 * MS);
	assert_int_equal(router_probes(router, 3 * MS, nodes, 16), 1);
	assert_int_equal(nodes[0], map->nodes[map->node_count - 1].id);
	free(map);
	free(router);
	/* Nobody at home: only who is used. */
	router = router_at("us/us-west-2");
	expect_probes(router, MS, "");
	router_want(router, (const uint64_t[]){ US1, US2 }, 2, MS);
	expect_probes(router, MS, "5");
	expect_probes(router, 1001 * MS, "6");
	expect_probes(router, 2001 * MS, "");
	free(router);
}

static void test_only_compliant_replicas(void **state)
{
	(void)state;
	struct router *router = router_at("us/us-east-1");
	router_learn_rtt(router, US1, 500);
	router_learn_leader(router, TIGHT * 10, US1); /* the leader itself lies where the policy forbids */
	expect_order(router, TIGHT * 10, OPERATION_GET, 0, "24");
	expect_order(router, TIGHT * 10, OPERATION_PUT, 0, "24");
	assert_true(router_may_send(router, TIGHT, IE1));
	assert_false(router_may_send(router, TIGHT, US1));
	assert_false(router_may_send(router, TIGHT, 4711));
	assert_false(router_may_send(router, 4711, IE1));
	free(router);
}

static void test_roles(void **state)
{
	(void)state;
	struct router *router = router_blank("eu/ie/eu-west-1");
	struct cluster_map *map = world_map();
	map->shards[0].replicas[0].role = ROLE_LEARNER;
	map->shards[0].replicas[1].role = ROLE_WITNESS;
	map->shards[1].lead_wanted = US1;
	assert_int_equal(world_learn(router, map), STATUS_OK);
	expect_order(router, EVERYWHERE * 10, OPERATION_GET, 0, "25"); /* a learner has data, a witness none */
	expect_order(router, EVERYWHERE * 10, OPERATION_SCAN, 0, "25");
	expect_order(router, EVERYWHERE * 10, OPERATION_CAS, 0, "25"); /* and whoever has data may be an origin */
	assert_int_equal(router_leader(router, EVERYWHERE * 10 + 1), 0);
	assert_int_equal(router_leader_guess(router, EVERYWHERE * 10 + 1), US1); /* asked to lead: the first guess */
	router_refused_origin(router, EVERYWHERE * 10 + 1, 0);
	expect_order(router, EVERYWHERE * 10 + 1, OPERATION_PUT, 0, "524");
	free(map);
	free(router);
}

static void test_what_a_scan_may_say(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		uint64_t node;
		size_t sendable;
	} cases[] = {
		{ "eu/patient-7", IE1, 12 },
		{ "eu/patient-7", US1, 3 }, /* "eu/" is an administrator's text */
		{ "open/patient", US1, 5 },
		{ "eu", US1, 2 }, /* the beginning of a binding, and itself everywhere */
		{ "a-single-key", US1, 0 },
		{ "a-single-key", DE1, 12 },
		{ "something", US1, 9 },
		{ "", US1, 0 },
	};
	struct router *router = router_at("eu/ie/eu-west-1");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			router_sendable(router, bytes_text(cases[i].bytes), cases[i].node).size, cases[i].sendable);
	free(router);
}

static void test_round_trips(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	bool measured;
	struct cluster_map *map = world_map();
	map->epoch = 8;
	for (unsigned i = 0; i < 3; i++)
		map->regions[i].latitude = map->regions[i].longitude = NAN;
	assert_int_equal(world_learn(router, map), STATUS_OK);
	uint32_t near = router_rtt_us(router, IE1, &measured);
	assert_false(measured);
	assert_true(near < router_rtt_us(router, DE1, &measured));
	assert_true(router_rtt_us(router, DE1, &measured) < router_rtt_us(router, US1, &measured));
	assert_int_equal(router_rtt_us(router, 4711, &measured), UINT32_MAX);
	/* With coordinates: Dublin, and us-east-1 moved next door while Frankfurt stays where it is. */
	map->epoch = 9;
	map->regions[0].latitude = 53.3, map->regions[0].longitude = -6.2;
	map->regions[1].latitude = 50.1, map->regions[1].longitude = 8.7;
	map->regions[2].latitude = 51.5, map->regions[2].longitude = -0.1;
	assert_int_equal(world_learn(router, map), STATUS_OK);
	assert_true(router_rtt_us(router, US1, &measured) < router_rtt_us(router, DE1, &measured));
	assert_true(router_rtt_us(router, IE1, &measured) < router_rtt_us(router, US1, &measured));
	free(map);
	router_learn_rtt(router, US1, 80000);
	assert_int_equal(router_rtt_us(router, US2, &measured), 80000); /* its region's */
	assert_false(measured);
	router_learn_rtt(router, US1, 160000);
	assert_int_equal(router_rtt_us(router, US1, &measured), 90000);
	for (unsigned i = 0; i < 100; i++)
		router_learn_rtt(router, US1, 160000);
	assert_true(router_rtt_us(router, US1, &measured) > 159000);
	uint64_t nodes[8];
	assert_int_equal(router_nodes(router, nodes, 8), 5);
	assert_int_equal(nodes[4], US2); /* the near before the far, measured or not */
	assert_int_equal(router_nodes(router, nodes, 2), 2);
	assert_int_equal(nodes[0], IE1);
	assert_int_equal(nodes[1], IE2);
	assert_true(router_is_near(router, IE2));
	assert_false(router_is_near(router, DE1));
	free(router);
}

static void test_retry_budget(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	unsigned spent = 0;
	while (router_spend_retry(router))
		spent++;
	assert_int_equal(spent, 100);
	for (unsigned i = 0; i < 1000; i++)
		router_earn_retry(router);
	for (spent = 0; router_spend_retry(router);)
		spent++;
	assert_int_equal(spent, 100); /* a tenth */
	free(router);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolving),
		cmocka_unit_test(test_unbound_and_no_map),
		cmocka_unit_test(test_maps_come_and_stay),
		cmocka_unit_test(test_order_of_candidates),
		cmocka_unit_test(test_one_trial_at_a_time),
		cmocka_unit_test(test_when_the_leader_goes_first),
		cmocka_unit_test(test_whom_to_ping),
		cmocka_unit_test(test_only_compliant_replicas),
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_what_a_scan_may_say),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_retry_budget),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
