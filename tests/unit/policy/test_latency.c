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
}

/* --- known clusters, worked out by hand ------------------------------------------------------------- */

enum { KNOWN = 5 };

static struct membership one_a_region(uint8_t count)
{
	struct membership m = { .count = count };
	for (uint8_t i = 0; i < count; i++)
		m.at[i] = (struct member){
			.replica = i + 1u, .node = i + 1u, .role_new = ROLE_VOTER, .region = i, .zone = i
		};
	return m;
}

static struct latency_group group_of(
	const struct membership *membership, const uint32_t ms[KNOWN][KNOWN], bool reads_local)
{
	struct latency_group group = { .membership = membership, .origin_acks = true };
	for (unsigned i = 0; i < membership->count; i++)
		for (unsigned j = 0; j < membership->count; j++)
			group.rtt_us[i][j] = ms[i < j ? i : j][i < j ? j : i] * 1000;
	group.responders = reads_local ? (1u << membership->count) - 1 : 0;
	return group;
}

struct known {
	uint32_t write, via_leader, write_floor, read; /* us */
};

static void check_known(
	const uint32_t ms[KNOWN][KNOWN], uint8_t count, unsigned leader, bool reads_local, const struct known known[])
{
	struct membership m = one_a_region(count);
	struct latency_group group = group_of(&m, ms, reads_local);
	for (unsigned c = 0; c < count; c++) {
		struct latency_estimate estimate;
		latency_from(&group, leader, group.rtt_us[c], &estimate);
		assert_int_equal(estimate.nearest, c);
		assert_int_equal(estimate.write_us, known[c].write);
		assert_int_equal(latency_write(&group, leader, c), known[c].write);
		assert_int_equal(estimate.via_leader_us, known[c].via_leader);
		assert_int_equal(estimate.write_floor_us, known[c].write_floor);
		assert_int_equal(estimate.read_us, known[c].read);
		assert_int_equal(estimate.read_floor_us, 0);
		assert_int_equal(estimate.to_leader_us + estimate.commit_us, known[c].via_leader);
		group.origin_acks = false;
		latency_from(&group, leader, group.rtt_us[c], &estimate);
		assert_int_equal(estimate.write_us, known[c].via_leader);
		group.origin_acks = true;
	}
}

/* us-east-1, eu-west-1, ap-southeast-1 */
static const uint32_t wan3[KNOWN][KNOWN] = { { 0, 68, 215 }, { 0, 0, 175 } };

static void test_wan3(void **state)
{
	(void)state;
	check_known(wan3, 3, 1, false,
		(struct known[]){ { 68000, 136000, 68000, 68000 }, { 68000, 68000, 68000, 0 },
			{ 175000, 243000, 175000, 175000 } });
	/* with the leader elsewhere: who is far from it waits for the way there and back */
	check_known(wan3, 3, 0, false,
		(struct known[]){ { 68000, 68000, 68000, 0 }, { 68000, 136000, 68000, 68000 },
			{ 215000, 283000, 175000, 215000 } });
	/* us -> eu -> ap -> us: (68 + 175 + 215) / 2 */
	check_known(wan3, 3, 1, true,
		(struct known[]){
			{ 229000, 243000, 215000, 0 }, { 175000, 175000, 175000, 0 }, { 229000, 350000, 215000, 0 } });
}

/* eu-west-1, eu-central-1, eu-north-1 */
static const uint32_t eu3[KNOWN][KNOWN] = { { 0, 25, 39 }, { 0, 0, 22 } };

static void test_eu3(void **state)
{
	(void)state;
	check_known(eu3, 3, 1, false,
		(struct known[]){
			{ 25000, 47000, 25000, 25000 }, { 22000, 22000, 22000, 0 }, { 22000, 44000, 22000, 22000 } });
	check_known(eu3, 3, 1, true,
		(struct known[]){ { 43000, 50000, 39000, 0 }, { 25000, 25000, 25000, 0 }, { 43000, 47000, 39000, 0 } });
}

/* us-east-1, us-west-2, eu-west-1, ap-southeast-1, ap-northeast-1 */
static const uint32_t wan5[KNOWN][KNOWN] = { { 0, 63, 68, 215, 148 }, { 0, 0, 118, 162, 97 }, { 0, 0, 0, 175, 203 },
	{ 0, 0, 0, 0, 70 } };

/* Three of five. From us-east-1 through us-west-2: itself and the leader at 63, eu at (63 + 118 + 68) / 2, ap-northeast
 * at (63 + 97 + 148) / 2, ap-southeast at (63 + 162 + 215) / 2. The mean is 132.9 ms, the bound's 108.4. */
static void test_wan5(void **state)
{
	(void)state;
	check_known(wan5, 5, 1, false,
		(struct known[]){ { 124500, 160000, 68000, 63000 }, { 97000, 97000, 97000, 0 },
			{ 124500, 215000, 118000, 118000 }, { 164500, 259000, 162000, 162000 },
			{ 154000, 194000, 97000, 97000 } });
	check_known(wan5, 5, 1, true,
		(struct known[]){ { 220000, 225000, 215000, 0 }, { 162000, 162000, 162000, 0 },
			{ 227500, 280000, 203000, 0 }, { 227500, 324000, 215000, 0 }, { 209000, 259000, 203000, 0 } });
}

/* A client in us-west-2 of a group that has nobody there: to its nearest replica, us-east-1, and as from there. */
static void test_from_a_region_without_a_replica(void **state)
{
	(void)state;
	struct membership m = one_a_region(3);
	struct latency_group group = group_of(&m, wan3, false);
	struct latency_estimate estimate;
	const uint32_t from_us[] = { 63000, 118000, 162000 };
	latency_from(&group, 1, from_us, &estimate);
	assert_int_equal(estimate.nearest, 0);
	assert_int_equal(estimate.write_us, 63000 + 68000);
	assert_int_equal(estimate.via_leader_us, 118000 + 68000);
	assert_int_equal(estimate.write_floor_us, 118000);
	assert_int_equal(estimate.read_us, 63000 + 68000);
	assert_int_equal(estimate.read_floor_us, 63000);
	group.responders = 7;
	latency_from(&group, 1, from_us, &estimate);
	assert_int_equal(estimate.write_us, 63000 + 229000);
	assert_int_equal(estimate.read_us, 63000);
	/* of two equally near, the dearer: eu, where the leader is not */
	const uint32_t between_us[] = { 40000, 40000, 162000 };
	group.responders = 0;
	latency_from(&group, 0, between_us, &estimate);
	assert_int_equal(estimate.read_us, 40000 + 68000);
	m.at[1].role_new = ROLE_WITNESS; /* it holds no data: nobody reads or writes there */
	latency_from(&group, 0, between_us, &estimate);
	assert_int_equal(estimate.read_us, 40000);
	latency_from(&group, REPLICAS_MAX, between_us, &estimate);
	assert_true(estimate.write_us == LATENCY_UNKNOWN);
	assert_int_equal(estimate.read_floor_us, 40000);
}

/* Who cannot be reached is no origin, no leader, and no part of a set. */
static void test_unreachable(void **state)
{
	(void)state;
	struct membership m = one_a_region(3);
	struct latency_group group = group_of(&m, wan3, false);
	struct latency_estimate estimate;
	for (unsigned i = 0; i < 3; i++)
		group.rtt_us[0][i] = group.rtt_us[i][0] = LATENCY_UNKNOWN;
	const uint32_t from_us[] = { LATENCY_UNKNOWN, 68000, 215000 };
	latency_from(&group, 1, from_us, &estimate);
	assert_int_equal(estimate.nearest, 1);
	assert_int_equal(estimate.write_us, 68000 + 175000);
	assert_true(latency_write(&group, 1, 0) == LATENCY_UNKNOWN);
	group.responders = 1; /* its lease runs, and nobody knows how far it is */
	assert_true(latency_write(&group, 1, 2) == LATENCY_UNKNOWN);
	latency_from(&group, 0, from_us, &estimate);
	assert_true(estimate.write_us == LATENCY_UNKNOWN);
	assert_true(estimate.read_us == LATENCY_UNKNOWN);
}

static void test_what_is_not_known_never_counts(void **state)
{
	(void)state;
	struct membership m = three();
	uint32_t row[3] = { 0, LATENCY_UNKNOWN, 215000 };
	assert_int_equal(latency_commit(&m, row), 215000);
	row[2] = LATENCY_UNKNOWN;
	assert_true(latency_commit(&m, row) == LATENCY_UNKNOWN);
	/* a sum that does not fit is long, and known */
	struct latency_group group = group_of(&m, wan3, false);
	struct latency_estimate estimate;
	const uint32_t far[3] = { 0xfffffffe, 0xfffffffe, 0xfffffffe };
	latency_from(&group, 1, far, &estimate);
	assert_true(estimate.write_us == LATENCY_UNKNOWN - 1);
	assert_true(estimate.read_us == LATENCY_UNKNOWN - 1);
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

/* The definition, word by word: over every set that commits, with all responders in it, the longest of c -> L -> s ->
 * c. */
static void test_writes_against_all_sets(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 12);
	for (unsigned run = 0; run < 5000; run++) {
		struct membership m = { .count = (uint8_t)(1 + prng_below(&prng, 7)) };
		struct latency_group group = { .membership = &m };
		m.rule_new.regions = (uint8_t)prng_below(&prng, 3);
		m.rule_new.copies = (uint8_t)prng_below(&prng, 3);
		for (uint8_t i = 0; i < m.count; i++) {
			m.at[i].role_new = (uint8_t)(1 + prng_below(&prng, 3));
			m.at[i].region = (uint8_t)prng_below(&prng, 3);
			for (uint8_t j = 0; j < i; j++)
				group.rtt_us[i][j] = group.rtt_us[j][i] = 2 * (uint32_t)prng_below(&prng, 50);
		}
		group.responders = (member_set)prng_below(&prng, 2) * (member_set)prng_below(&prng, 1u << m.count);
		unsigned leader = (unsigned)prng_below(&prng, m.count), origin = (unsigned)prng_below(&prng, m.count);
		uint32_t best = LATENCY_UNKNOWN;
		for (unsigned set = 0; set < 1u << m.count; set++) {
			uint32_t longest = 0;
			if (!quorum_commits(&m, set) || (group.responders & ~set) != 0)
				continue;
			for (unsigned s = 0; s < m.count; s++) {
				uint32_t path = group.rtt_us[origin][leader] / 2 + group.rtt_us[leader][s] / 2 +
						group.rtt_us[s][origin] / 2;
				if ((set >> s & 1) && path > longest)
					longest = path;
			}
			best = longest < best ? longest : best;
		}
		assert_true(latency_write(&group, leader, origin) == best);
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
		cmocka_unit_test(test_wan3),
		cmocka_unit_test(test_eu3),
		cmocka_unit_test(test_wan5),
		cmocka_unit_test(test_from_a_region_without_a_replica),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_writes_against_all_sets),
		cmocka_unit_test(test_fibre),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
