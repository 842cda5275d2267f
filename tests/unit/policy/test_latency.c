/* tests/unit/policy/test_latency.c: expected latencies of known clusters, and of light between known cities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "policy/latency.h"
#include "policy/quorum.h"

/* Three regions: a-b 68 ms, a-c 215 ms, b-c 175 ms. */
static const uint32_t rtt[3][3] = { { 0, 68000, 215000 }, { 68000, 0, 175000 }, { 215000, 175000, 0 } };

static struct membership three(void)
{
	struct membership m = { .count = 3 };
	for (uint8_t i = 0; i < 3; i++)
		m.at[i] = (struct member){
			.replica = i + 1u, .node = i + 1u, .role_new = ROLE_VOTER, .region = i, .zone = i
		};
	return m;
}

static void test_writes(void **state)
{
	(void)state;
	struct membership m = three();
	assert_int_equal(latency_commit(&m, rtt[0]), 68000);
	assert_int_equal(latency_commit(&m, rtt[2]), 175000);
	m.rule_new.copies = 3;
	assert_int_equal(latency_commit(&m, rtt[2]), 215000);
	m.rule_new.copies = 0;
	m.at[1].role_new = ROLE_LEARNER; /* a and c must both hold it; b does not count */
	assert_int_equal(latency_commit(&m, rtt[0]), 215000);
	m = three();
	assert_int_equal(latency_write_via_leader(&m, rtt[2][1], 1, rtt[1]), 175000 + 68000);
	assert_int_equal(latency_write_via_leader(&m, 0, 0, rtt[0]), 68000);
	assert_int_equal(latency_read_index(&m, 500, 68000), 68500);
}

static void test_what_is_not_known_never_counts(void **state)
{
	(void)state;
	struct membership m = three();
	uint32_t row[3] = { 0, LATENCY_UNKNOWN, 215000 };
	assert_int_equal(latency_commit(&m, row), 215000);
	row[2] = LATENCY_UNKNOWN;
	assert_true(latency_commit(&m, row) == LATENCY_UNKNOWN);
	assert_true(latency_write_via_leader(&m, 1, 0, row) == LATENCY_UNKNOWN);
	assert_true(latency_write_via_leader(&m, LATENCY_UNKNOWN, 0, rtt[0]) == LATENCY_UNKNOWN);
	assert_true(latency_read_index(&m, 1, LATENCY_UNKNOWN) == LATENCY_UNKNOWN);
	/* a sum that does not fit is long, and known */
	assert_true(latency_read_index(&m, 0xfffffffe, 7) == LATENCY_UNKNOWN - 1);
}

/* The least of the largest over every set that commits. */
static void test_against_all_sets(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 11);
	for (unsigned run = 0; run < 5000; run++) {
		struct membership m = { .count = (uint8_t)(1 + prng_below(&prng, 6)), .joint = prng_below(&prng, 2) };
		uint32_t row[6];
		m.rule_new.regions = (uint8_t)prng_below(&prng, 3);
		m.rule_old.copies = (uint8_t)prng_below(&prng, 3);
		for (uint8_t i = 0; i < m.count; i++) {
			m.at[i].role_new = (uint8_t)(1 + prng_below(&prng, 3));
			m.at[i].role_old = (uint8_t)(1 + prng_below(&prng, 3));
			m.at[i].region = (uint8_t)prng_below(&prng, 3);
			row[i] = prng_below(&prng, 5) ? (uint32_t)prng_below(&prng, 50) : LATENCY_UNKNOWN;
		}
		uint32_t best = LATENCY_UNKNOWN;
		for (unsigned set = 0; set < 1u << m.count; set++) {
			uint32_t longest = 0;
			for (unsigned i = 0; i < m.count; i++)
				if ((set >> i & 1) && row[i] > longest)
					longest = row[i];
			if (quorum_commits(&m, set) && longest < best)
				best = longest;
		}
		assert_true(latency_commit(&m, row) == best);
	}
}

static void near(uint32_t us, double km)
{
	double got = us * 0.204 / 2;
	if (got < km - 1 || got > km + 1)
		fail_msg("%d km are not %d km", (int)got, (int)km);
}

/* Great circles on a sphere of 6371 km. */
static void test_fibre(void **state)
{
	(void)state;
	near(latency_fibre(51.4700, -0.4543, 40.6413, -73.7781), 5539.6); /* London to New York */
	near(latency_fibre(40.6413, -73.7781, 51.4700, -0.4543), 5539.6);
	near(latency_fibre(0, 0, 0, 90), 10007.5);
	near(latency_fibre(0, 0, 0, 180), 20015.1);
	near(latency_fibre(90, 0, -90, 0), 20015.1);
	near(latency_fibre(0, 179.5, 0, -179.5), 111.2); /* over the date line */
	near(latency_fibre(60, 0, 60, 180), 6671.7);	 /* over the pole */
	near(latency_fibre(10, 20, -10, -160), 20015.1); /* the other side of the earth */
	assert_int_equal(latency_fibre(53.3, -6.2, 53.3, -6.2), 0);
	assert_in_range(latency_fibre(0, 0, 0, 0.001), 1, 2); /* 111 m */
	assert_true(latency_fibre(__builtin_nan(""), 0, 0, 0) == LATENCY_UNKNOWN);
	assert_true(latency_fibre(0, 0, 0, __builtin_nan("")) == LATENCY_UNKNOWN);
	assert_true(latency_fibre(91, 0, 0, 0) == LATENCY_UNKNOWN);
	assert_true(latency_fibre(0, 0, 0, -181) == LATENCY_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes),
		cmocka_unit_test(test_what_is_not_known_never_counts),
		cmocka_unit_test(test_against_all_sets),
		cmocka_unit_test(test_fibre),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
