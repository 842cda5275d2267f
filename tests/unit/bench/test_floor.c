/* The formulas of bench/floor.c by hand on the built-in maps, and against the definition: the minimum over all
 * majorities of the longest path. */
#include "bench/floor.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "config/map_file.h"

static void floors_of(const char *map, struct floors *floors)
{
	static struct topology topology;

	assert_true(topology_builtin(map, &topology));
	memset(floors, 0, sizeof(*floors));
	floors->count = topology.region_count;
	for (uint32_t i = 0; i < floors->count; i++) {
		floors->voter[i] = true;
		for (uint32_t j = 0; j < floors->count; j++)
			floors->rtt_us[i][j] = topology.rtt_us[i][j];
	}
}

/* The definition itself, by enumeration. */
static uint64_t slow_acks(const struct floors *floors, uint32_t client, uint32_t leader, bool all)
{
	uint64_t best = FLOOR_UNKNOWN;

	for (uint32_t set = 0; set < 1u << floors->count; set++) {
		uint64_t longest = 0;

		if ((unsigned)__builtin_popcount(set) < (all ? floors->count : floors->count / 2 + 1))
			continue;
		for (uint32_t s = 0; s < floors->count; s++) {
			uint64_t us = (floors->rtt_us[client][leader] + (s == leader ? 0 : floors->rtt_us[leader][s]) +
					      (s == client ? 0 : floors->rtt_us[s][client])) /
				      2;

			if ((set & 1u << s) && us > longest)
				longest = us;
		}
		best = longest < best ? longest : best;
	}
	return best;
}

static void test_wan3(void **state)
{
	struct floors floors; /* us-east-1, eu-west-1, ap-southeast-1: 68, 215, 175 */

	(void)state;
	floors_of("wan3", &floors);
	assert_int_equal(floor_read(&floors, 0), 500);
	assert_int_equal(floor_quorum(&floors, 0), 68000);
	assert_int_equal(floor_quorum(&floors, 1), 68000);
	assert_int_equal(floor_quorum(&floors, 2), 175000);
	assert_int_equal(floor_best_leader(&floors, floor_origin_acks), 1);
	/* The leader at the vertex of the two shortest edges: every region writes at its bound. */
	assert_int_equal(floor_origin_acks(&floors, 0, 1), 68000);
	assert_int_equal(floor_origin_acks(&floors, 1, 1), 68250); /* to the leader's node inside the region first */
	assert_int_equal(floor_origin_acks(&floors, 2, 1), 175000);
	assert_int_equal(floor_via_leader(&floors, 0, 1), 136000);
	assert_int_equal(floor_all_acks(&floors, 0, 1), (68000 + 175000 + 215000) / 2);
}

static void test_the_formulas_are_their_definitions(void **state)
{
	static const char *const maps[] = { "lan3", "eu3", "wan3", "wan5" };
	struct floors floors;

	(void)state;
	for (unsigned m = 0; m < 4; m++) {
		floors_of(maps[m], &floors);
		for (uint32_t c = 0; c < floors.count; c++) {
			for (uint32_t l = 0; l < floors.count; l++) {
				assert_int_equal(floor_origin_acks(&floors, c, l), slow_acks(&floors, c, l, false));
				assert_int_equal(floor_all_acks(&floors, c, l), slow_acks(&floors, c, l, true));
				assert_true(floor_origin_acks(&floors, c, l) <= floor_all_acks(&floors, c, l));
				assert_true(floor_quorum(&floors, c) <= floor_origin_acks(&floors, c, l));
			}
		}
	}
}

static void test_who_has_no_copy(void **state)
{
	struct floors floors;

	(void)state;
	floors_of("wan5", &floors);
	floors.voter[0] = floors.voter[1] = false; /* copies in eu-west-1, ap-southeast-1, ap-northeast-1 */
	assert_int_equal(floor_read(&floors, 0), 68000);
	assert_int_equal(floor_quorum(&floors, 0), 148000);
	assert_int_not_equal(floor_best_leader(&floors, floor_via_leader), 0);
	memset(floors.voter, 0, sizeof(floors.voter));
	assert_true(floor_quorum(&floors, 0) == FLOOR_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wan3),
		cmocka_unit_test(test_the_formulas_are_their_definitions),
		cmocka_unit_test(test_who_has_no_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
