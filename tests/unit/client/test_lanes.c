/* Lanes against a plain record of what is open: the window of a client id never exceeds what a shard keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "client/lanes.h"

static void test_one_lane_while_it_has_room(void **state)
{
	(void)state;
	struct lane memory[4];
	struct lanes lanes;
	struct lane_ticket tickets[LANE_OPEN_MAX + 1];
	lanes_init(&lanes, memory, 4, 1);
	for (unsigned i = 0; i < LANE_OPEN_MAX; i++) {
		assert_true(lanes_take(&lanes, &tickets[i]));
		assert_int_equal(tickets[i].sequence, i + 1);
		assert_int_equal(tickets[i].client, tickets[0].client);
		assert_int_equal(lanes_low_water(&lanes, &tickets[i]), 1);
	}
	assert_true(lanes_take(&lanes, &tickets[LANE_OPEN_MAX]));
	assert_int_not_equal(tickets[LANE_OPEN_MAX].client, tickets[0].client);
	assert_int_equal(tickets[LANE_OPEN_MAX].sequence, 1);
	lanes_check(&lanes);
}

static void test_the_oldest_holds_the_window(void **state)
{
	(void)state;
	struct lane memory[1];
	struct lanes lanes;
	struct lane_ticket first, ticket;
	lanes_init(&lanes, memory, 1, 1);
	assert_true(lanes_take(&lanes, &first));
	for (unsigned i = 1; i < LANE_OPEN_MAX; i++) {
		assert_true(lanes_take(&lanes, &ticket));
		lanes_return(&lanes, &ticket);
	}
	assert_false(lanes_take(&lanes, &ticket)); /* only one is open, and yet */
	lanes_return(&lanes, &first);
	assert_true(lanes_take(&lanes, &ticket));
	assert_int_equal(ticket.sequence, LANE_OPEN_MAX + 1);
	assert_int_equal(lanes_low_water(&lanes, &ticket), LANE_OPEN_MAX + 1);
	lanes_check(&lanes);
}

static void test_all_full(void **state)
{
	(void)state;
	struct lane memory[2];
	struct lanes lanes;
	struct lane_ticket tickets[2 * LANE_OPEN_MAX], ticket;
	lanes_init(&lanes, memory, 2, 9);
	for (unsigned i = 0; i < 2 * LANE_OPEN_MAX; i++)
		assert_true(lanes_take(&lanes, &tickets[i]));
	assert_false(lanes_take(&lanes, &ticket));
	lanes_return(&lanes, &tickets[0]);
	assert_true(lanes_take(&lanes, &ticket));
	assert_int_equal(ticket.lane, 0);
	assert_false(lanes_take(&lanes, &ticket));
}

static void test_random(void **state)
{
	(void)state;
	enum { OPEN = 300, LANES = 16 };
	struct lane memory[LANES];
	struct lanes lanes;
	struct lane_ticket open[OPEN];
	uint64_t given[LANES] = { 0 };
	unsigned count = 0;
	struct prng prng;
	prng_seed(&prng, 4);
	lanes_init(&lanes, memory, LANES, 77);
	for (unsigned step = 0; step < 20000; step++) {
		struct lane_ticket ticket;
		if (count < OPEN && prng_below(&prng, 2) == 0 && lanes_take(&lanes, &ticket)) {
			assert_int_equal(ticket.sequence, ++given[ticket.lane]); /* once each, in order */
			open[count++] = ticket;
		} else if (count > 0) {
			unsigned at = (unsigned)prng_below(&prng, count);
			lanes_return(&lanes, &open[at]);
			open[at] = open[--count];
		}
		lanes_check(&lanes);
		for (unsigned i = 0; i < count; i++) {
			uint64_t low = lanes_low_water(&lanes, &open[i]);
			assert_true(low <= open[i].sequence);
			assert_true(given[open[i].lane] - low < LANE_OPEN_MAX);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_lane_while_it_has_room),
		cmocka_unit_test(test_the_oldest_holds_the_window),
		cmocka_unit_test(test_all_full),
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
