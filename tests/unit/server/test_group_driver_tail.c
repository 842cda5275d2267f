/* tests/unit/server/test_group_driver_tail.c: the parts of a driver that stand alone: tail, queues, overlay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"
#include "server/group_driver_overlay.h"
#include "server/group_driver_queue.h"
#include "server/group_driver_tail.h"

static void append(struct tail *tail, uint64_t index, uint64_t term, size_t size)
{
	struct buffer *body = size ? buffer_new(size) : NULL;
	struct entry entry = { .index = index, .term = term, .size = (uint32_t)size };
	if (body)
		memset(body->data, (int)index, size);
	assert_int_equal(tail_append(tail, &entry, body), STATUS_OK);
	buffer_unref(body);
}

static void test_tail(void **state)
{
	(void)state;
	struct tail tail;
	tail_init(&tail);
	assert_true(tail_empty(&tail));
	for (uint64_t index = 1; index <= 100; index++)
		append(&tail, index, 1, index % 7);
	tail_check(&tail);
	assert_int_equal(tail_find(&tail, 50)->entry.size, 1);
	assert_null(tail_find(&tail, 101));
	assert_null(tail_find(&tail, 0));
	tail_release(&tail, 60);
	tail_check(&tail);
	assert_null(tail_find(&tail, 60));
	assert_int_equal(tail_find(&tail, 61)->body->data[0], 61);
	tail_cut(&tail, 80);
	assert_int_equal(tail.last, 79);
	append(&tail, 80, 2, 5);
	assert_int_equal(tail_find(&tail, 80)->entry.term, 2);
	tail_check(&tail);
	tail_cut(&tail, 30); /* below what is held: positions go back too */
	assert_true(tail_empty(&tail));
	assert_int_equal(tail.last, 29);
	append(&tail, 30, 3, 0);
	assert_null(tail_find(&tail, 30)->body);
	tail_release(&tail, 1000);
	assert_int_equal(tail.last, 30);
	assert_int_equal(tail.size, 0);
	assert_null(tail.at);
	tail_reset(&tail, 500);
	append(&tail, 501, 4, 3);
	tail_check(&tail);
	tail_deinit(&tail);
}

/* Against an array of everything, with random operations. */
static void test_tail_model(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 7);
	uint64_t terms[4096] = { 0 };
	struct tail tail;
	tail_init(&tail);
	uint64_t first = 1, last = 0;
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t dice = prng_below(&prng, 10);
		if (dice < 7 && last + 1 < 4096) {
			last++;
			terms[last] = step + 1;
			append(&tail, last, step + 1, prng_below(&prng, 20));
		} else if (dice == 7 && last >= first) {
			uint64_t from = first + prng_below(&prng, last - first + 1);
			tail_cut(&tail, from);
			last = from - 1;
		} else if (dice == 8 && last >= first) {
			uint64_t upto = first + prng_below(&prng, last - first + 1);
			tail_release(&tail, upto);
			first = upto + 1;
		} else if (dice == 9 && last > 3000) {
			tail_reset(&tail, 10);
			last = 10;
			first = 11;
		}
		tail_check(&tail);
		assert_int_equal(tail.last, last);
		uint64_t index = prng_below(&prng, 4096);
		const struct tail_entry *at = tail_find(&tail, index);
		assert_int_equal(at != NULL, index >= first && index <= last);
		if (at)
			assert_int_equal(at->entry.term, terms[index]);
	}
	tail_deinit(&tail);
}

static void test_proposals(void **state)
{
	(void)state;
	struct proposals proposals = { 0 };
	uint64_t pushed = 0, popped = 0;
	struct prng prng;
	prng_seed(&prng, 3);
	for (unsigned step = 0; step < 5000; step++) {
		if (prng_below(&prng, 2)) {
			struct buffer *body = buffer_new(8);
			struct entry entry = { .size = 8, .key_hash = pushed };
			struct proposal proposal = { .body = body, .token = pushed };
			assert_int_equal(proposals_push(&proposals, &entry, &proposal), STATUS_OK);
			pushed++;
		} else {
			uint64_t count = prng_below(&prng, proposals_count(&proposals) + 1);
			for (uint64_t i = 0; i < count; i++)
				assert_int_equal(proposals.about[proposals.begin + i].token, popped + i);
			proposals_pop(&proposals, count);
			popped += count;
		}
		assert_int_equal(proposals_count(&proposals), pushed - popped);
		assert_int_equal(proposals.size, 8 * (pushed - popped));
	}
	proposals_deinit(&proposals);
	assert_int_equal(proposals_count(&proposals), 0);
}

static void test_waiters(void **state)
{
	(void)state;
	struct waiters waiters = { 0 };
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(
			waiters_push(&waiters, (struct waiter){ .index = i, .term = 1, .token = 1000 + i }), STATUS_OK);
	for (uint64_t i = 1; i <= 40; i++) {
		assert_int_equal(waiters_first(&waiters)->index, i);
		waiters_pop_first(&waiters);
	}
	for (uint64_t i = 100; i > 60; i--) {
		assert_int_equal(waiters_last(&waiters)->index, i);
		waiters_pop_last(&waiters);
	}
	assert_int_equal(waiters_count(&waiters), 20);
	for (uint64_t i = 61; i <= 300; i++)
		assert_int_equal(
			waiters_push(&waiters, (struct waiter){ .index = i, .term = 2, .token = 1000 + i }), STATUS_OK);
	for (uint64_t i = 41; i <= 300; i++) {
		assert_int_equal(waiters_first(&waiters)->token, 1000 + i);
		waiters_pop_first(&waiters);
	}
	assert_null(waiters_first(&waiters));
	assert_null(waiters_last(&waiters));
	waiters_deinit(&waiters);
}

static void test_overlay(void **state)
{
	(void)state;
	struct overlay overlay;
	assert_int_equal(overlay_init(&overlay, 1000), STATUS_OK);
	char keys[1000][16];
	uint64_t version = 0;
	assert_false(overlay_find(&overlay, bytes_text("none"), &version));
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key%u", i);
		overlay_set(&overlay, bytes_text(keys[i]), i);
	}
	for (unsigned i = 0; i < 1000; i += 2)
		overlay_set(&overlay, bytes_text(keys[i]), 5000 + i);
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(overlay_find(&overlay, bytes_text(keys[i]), &version));
		assert_int_equal(version, i % 2 ? i : 5000 + i);
	}
	assert_false(overlay_find(&overlay, bytes_text("none"), &version));
	overlay_deinit(&overlay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_tail_model),
		cmocka_unit_test(test_proposals),
		cmocka_unit_test(test_waiters),
		cmocka_unit_test(test_overlay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
