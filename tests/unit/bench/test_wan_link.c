/* What a link does with packets: the token bucket, delay and jitter, order, losses; all a function of the seed. */
#include "bench/histogram.c"
#include "bench/wan/bucket.c"
#include "bench/wan/link.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { PACKETS = 20000, SIZE = 1500, DELAY_US = 34000 };
static const uint64_t MS = 1000000;

static void test_no_rate_takes_no_time(void **state)
{
	struct bucket bucket = { .burst_bytes = 1, .queue_bytes = 1 };
	uint64_t leaves;

	(void)state;
	for (uint64_t now = 0; now < 100; now++) {
		assert_true(bucket_take(&bucket, now, SIZE, &leaves));
		assert_int_equal(leaves, now);
	}
}

/* 12 Mbit/s is a packet of 1500 bytes a millisecond. */
static void test_a_bucket_holds_its_rate(void **state)
{
	struct bucket bucket = { .rate_bits = 12000000, .burst_bytes = 4 * SIZE, .queue_bytes = 1 << 30 };
	uint64_t leaves, before = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(bucket_take(&bucket, MS, SIZE, &leaves));
		assert_int_equal(leaves, i < 4 ? MS : MS + (i - 3) * MS);
		assert_true(leaves >= before);
		before = leaves;
	}
	/* After a rest of the whole backlog and the burst it is full again, and no fuller. */
	for (unsigned i = 0; i < 6; i++) {
		assert_true(bucket_take(&bucket, 10000 * MS, SIZE, &leaves));
		assert_int_equal(leaves, 10000 * MS + (i < 4 ? 0 : (i - 3) * MS));
	}
}

static void test_a_queue_is_bounded(void **state)
{
	struct bucket bucket = { .rate_bits = 12000000, .burst_bytes = SIZE, .queue_bytes = 10 * SIZE };
	uint64_t leaves, let_in = 0, now = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		let_in += bucket_take(&bucket, now, SIZE, &leaves);
	assert_int_equal(let_in, 11); /* one at once, ten wait */
	/* What was refused takes no rate: one place is free a millisecond later. */
	now += MS;
	assert_true(bucket_take(&bucket, now, SIZE, &leaves));
	assert_int_equal(leaves, now + 10 * MS);
	assert_false(bucket_take(&bucket, now, SIZE, &leaves));
}

static void set(struct link *link, struct link_settings settings)
{
	struct link_settings merged = link->settings;

	merged.jitter_us = settings.jitter_us;
	merged.loss_ppm = settings.loss_ppm;
	merged.duplicate_ppm = settings.duplicate_ppm;
	merged.reorder_ppm = settings.reorder_ppm;
	merged.rate_bits = settings.rate_bits;
	link_set(link, &merged);
}

static void test_delay_alone(void **state)
{
	struct link link;
	uint64_t due[LINK_COPIES_MAX];

	(void)state;
	link_init(&link, DELAY_US, 1, 0);
	for (uint64_t now = 0; now < 1000; now++) {
		assert_int_equal(link_enter(&link, now, SIZE, true, due), 1);
		assert_int_equal(due[0], now + DELAY_US * 1000);
	}
	/* delays off: at once, but never before what is still on its way */
	assert_int_equal(link_enter(&link, 5 * MS, SIZE, false, due), 1);
	assert_int_equal(due[0], 999 + DELAY_US * 1000);
	assert_int_equal(link_enter(&link, 900 * MS, SIZE, false, due), 1);
	assert_int_equal(due[0], 900 * MS);
	assert_int_equal(link.counts.came, 1002);
}

static void test_jitter_keeps_order_and_bounds(void **state)
{
	struct link link;
	uint64_t due[LINK_COPIES_MAX], before = 0, least = UINT64_MAX, most = 0;

	(void)state;
	link_init(&link, DELAY_US, 7, 3);
	set(&link, (struct link_settings){ .jitter_us = 2000 });
	for (uint64_t i = 0; i < PACKETS; i++) {
		uint64_t now = i * MS, took;

		assert_int_equal(link_enter(&link, now, SIZE, true, due), 1);
		took = due[0] - now;
		assert_true(due[0] >= before);
		assert_true(took >= (DELAY_US - 2000) * UINT64_C(1000));
		assert_true(took <= (DELAY_US + 2000) * UINT64_C(1000));
		least = took < least ? took : least;
		most = took > most ? took : most;
		before = due[0];
	}
	assert_true(most - least > 3900000); /* it uses its range */
}

static void test_reorder_lets_others_pass(void **state)
{
	struct link link;
	uint64_t due[LINK_COPIES_MAX], before = 0, passed = 0;

	(void)state;
	link_init(&link, DELAY_US, 7, 3);
	set(&link, (struct link_settings){ .reorder_ppm = 100000 });
	for (uint64_t i = 0; i < PACKETS; i++) {
		assert_int_equal(link_enter(&link, i * 1000, SIZE, true, due), 1);
		passed += due[0] < before;
		before = due[0];
	}
	assert_in_range(link.counts.reordered, PACKETS / 10 - 300, PACKETS / 10 + 300);
	assert_true(passed > PACKETS / 20);
}

static void test_losses_are_counted(void **state)
{
	struct link link;
	uint64_t due[LINK_COPIES_MAX], copies = 0;

	(void)state;
	link_init(&link, DELAY_US, 9, 1);
	set(&link, (struct link_settings){ .loss_ppm = 20000, .duplicate_ppm = 10000 });
	for (uint64_t i = 0; i < PACKETS; i++)
		copies += link_enter(&link, i * MS, SIZE, true, due);
	assert_in_range(link.counts.lost, PACKETS / 50 - 100, PACKETS / 50 + 100);
	assert_in_range(link.counts.duplicated, PACKETS / 100 - 75, PACKETS / 100 + 75);
	assert_int_equal(copies, PACKETS - link.counts.lost + link.counts.duplicated);
	assert_int_equal(link.counts.came, PACKETS);
	assert_int_equal(link.counts.came_bytes, PACKETS * SIZE);
}

static void test_a_cut_passes_nothing(void **state)
{
	struct link link;
	uint64_t due[LINK_COPIES_MAX];

	(void)state;
	link_init(&link, DELAY_US, 9, 1);
	link.cut = true;
	assert_int_equal(link_enter(&link, 0, SIZE, true, due), 0);
	assert_int_equal(link_enter(&link, 0, SIZE, false, due), 0);
	assert_int_equal(link.counts.cut, 2);
	link.cut = false;
	assert_int_equal(link_enter(&link, 0, SIZE, true, due), 1);
}

static void test_a_full_queue_is_counted(void **state)
{
	struct link link;
	uint64_t due[LINK_COPIES_MAX], passed = 0;

	(void)state;
	link_init(&link, DELAY_US, 9, 1);
	set(&link, (struct link_settings){ .rate_bits = 1000000 });
	for (uint64_t i = 0; i < PACKETS; i++)
		passed += link_enter(&link, 0, SIZE, true, due);
	assert_int_equal(passed + link.counts.overflowed, PACKETS);
	assert_in_range(passed, (QUEUE_BYTES + BURST_BYTES) / SIZE - 1, (QUEUE_BYTES + BURST_BYTES) / SIZE + 1);
}

/* The dice are the seed's and the link's own; settings that are off do not move the others' dice. */
static void test_the_seed_decides(void **state)
{
	struct link a, b, other;
	uint64_t due[LINK_COPIES_MAX], differ = 0;

	(void)state;
	link_init(&a, DELAY_US, 5, 1);
	link_init(&b, DELAY_US, 5, 1);
	link_init(&other, DELAY_US, 5, 2);
	set(&a, (struct link_settings){ .loss_ppm = 500000 });
	set(&b, (struct link_settings){ .loss_ppm = 500000, .duplicate_ppm = 1, .rate_bits = 100000000000 });
	set(&other, (struct link_settings){ .loss_ppm = 500000 });
	for (uint64_t i = 0; i < 1000; i++) {
		unsigned from_a = link_enter(&a, i * MS, SIZE, true, due),
			 from_b = link_enter(&b, i * MS, SIZE, true, due),
			 from_other = link_enter(&other, i * MS, SIZE, true, due);

		assert_int_equal(from_a > 0, from_b > 0);
		differ += (from_a > 0) != (from_other > 0);
	}
	assert_in_range(differ, 400, 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_rate_takes_no_time),
		cmocka_unit_test(test_a_bucket_holds_its_rate),
		cmocka_unit_test(test_a_queue_is_bounded),
		cmocka_unit_test(test_delay_alone),
		cmocka_unit_test(test_jitter_keeps_order_and_bounds),
		cmocka_unit_test(test_reorder_lets_others_pass),
		cmocka_unit_test(test_losses_are_counted),
		cmocka_unit_test(test_a_cut_passes_nothing),
		cmocka_unit_test(test_a_full_queue_is_counted),
		cmocka_unit_test(test_the_seed_decides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
