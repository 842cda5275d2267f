/* How long an answer is awaited: percentiles without samples, and the arithmetic over round trips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/patience.h"
#include "tests/unit/client/world.h"

#define MS ((uint64_t)1000000)

/* Of each of these the 95th percentile is known. */
static void test_percentiles(void **state)
{
	(void)state;
	static const struct {
		uint64_t base, spread, tail; /* one in ten is longer by up to `tail` */
		uint32_t expected;
	} cases[] = { { 1000, 1000, 0, 1950 }, { 5000, 2000, 0, 6900 }, { 500, 100, 20000, 10500 },
		{ 68000, 4000, 0, 71800 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct quantile quantile = { 0 };
		struct prng prng;
		uint64_t above = 0, sum = 0;
		prng_seed(&prng, i + 1);
		for (unsigned j = 0; j < 20000; j++) {
			uint64_t sample = cases[i].base + prng_below(&prng, cases[i].spread);
			if (cases[i].tail > 0 && prng_below(&prng, 10) == 0)
				sample += prng_below(&prng, cases[i].tail);
			if (j >= 1000) {
				above += sample > quantile_us(&quantile);
				sum += quantile_us(&quantile);
			}
			quantile_learn(&quantile, sample);
		}
		assert_in_range(above, 19000 * 3 / 100, 19000 * 7 / 100);
		assert_in_range(sum / 19000, cases[i].expected * 8 / 10, cases[i].expected * 13 / 10);
	}
}

static void test_a_percentile_follows(void **state)
{
	(void)state;
	struct quantile quantile = { 0 };
	for (unsigned i = 0; i < 31; i++) {
		assert_int_equal(quantile_us(&quantile), 0); /* too few to say anything */
		quantile_learn(&quantile, 1000);
	}
	quantile_learn(&quantile, 1000);
	assert_in_range(quantile_us(&quantile), 990, 1001);
	for (unsigned i = 0; i < 100; i++)
		quantile_learn(&quantile, 100000); /* it became slow */
	assert_in_range(quantile_us(&quantile), 95000, 107000);
	for (unsigned i = 0; i < 2000; i++)
		quantile_learn(&quantile, 1000); /* and fast again */
	assert_in_range(quantile_us(&quantile), 990, 1200);
	quantile_learn(&quantile, UINT64_MAX);
	for (unsigned i = 0; i < 1000; i++)
		quantile_learn(&quantile, UINT64_MAX);
	assert_int_equal(quantile_us(&quantile), 60000001); /* bounded */
	for (unsigned i = 0; i < 10000; i++)
		quantile_learn(&quantile, 0);
	assert_true(quantile_us(&quantile) < 100);
}

/* What is cut short by another's answer counts only where it says something. */
static void test_unanswered_samples(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	router_learn_rtt(router, IE1, 500);
	router_learn_rtt(router, IE2, 500);
	uint64_t shard = EU_ONLY * 10;
	for (unsigned i = 0; i < 40; i++)
		patience_learn(router, IE1, false, 20 * MS);
	uint64_t before = patience_read_ns(router, shard, IE1, IE2, false);
	assert_in_range(before, 19 * MS, 21 * MS);
	for (unsigned i = 0; i < 100; i++)
		patience_learn_unanswered(router, IE1, false, 5 * MS); /* at least 5 ms: no news */
	assert_int_equal(patience_read_ns(router, shard, IE1, IE2, false), before);
	for (unsigned i = 0; i < 100; i++)
		patience_learn_unanswered(router, IE1, false, 60 * MS);
	assert_in_range(patience_read_ns(router, shard, IE1, IE2, false), 57 * MS, 64 * MS);
	patience_learn(router, 4711, false, MS); /* not in the map: nothing to do */
	free(router);
}

static void test_delays(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	uint64_t shard = EVERYWHERE * 10; /* IE1, DE1, US1 */
	router_learn_rtt(router, IE1, 500);
	router_learn_rtt(router, DE1, 25000);
	router_learn_rtt(router, US1, 68000);
	/* Who leads is not known: the farthest may. */
	assert_int_equal(patience_read_ns(router, shard, IE1, DE1, false), (500 + 68500 * 6 / 5 + 10000) * 1000);
	router_learn_leader(router, shard, DE1);
	assert_int_equal(patience_read_ns(router, shard, IE1, DE1, false), (500 + 25500 * 6 / 5 + 10000) * 1000);
	assert_int_equal(patience_read_ns(router, shard, US1, DE1, false), (68000 + 93000 * 6 / 5 + 10000) * 1000);
	/* The leader waits for its voters. */
	router_learn_leader(router, shard, IE1);
	assert_int_equal(patience_read_ns(router, shard, IE1, DE1, false), (500 + 68500 * 6 / 5 + 10000) * 1000);
	/* Writes: to the origin, and the longer of the way to the leader and of that to a majority. */
	router_learn_leader(router, shard, DE1);
	assert_int_equal(patience_write_ns(router, shard, IE1, DE1), (2 * (500 + 25500) + 50000) * 1000);
	assert_int_equal(patience_write_ns(router, shard, DE1, DE1), (2 * (25000 + 25000) + 50000) * 1000);
	struct cluster_map *map = world_map();
	map->epoch = 8;
	map->policies[0].reads = READS_LOCAL;
	assert_int_equal(world_learn(router, map), STATUS_OK);
	assert_int_equal(patience_write_ns(router, shard, IE1, DE1), (2 * (500 + 68000) + 50000) * 1000);
	free(map);
	assert_true(patience_silence_ns(router, US1, false) > patience_silence_ns(router, IE1, false));
	assert_true(patience_silence_ns(router, US1, true) > patience_silence_ns(router, US1, false));
	free(router);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_a_percentile_follows),
		cmocka_unit_test(test_unanswered_samples),
		cmocka_unit_test(test_delays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
