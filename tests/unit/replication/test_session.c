/* tests/unit/replication/test_session.c: exactly once, against a model that keeps every record for ever and evicts by
 * the plain reading of the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "replication/session.h"

static struct session_table *table_new(uint32_t clients_max)
{
	return session_table_init(calloc(1, session_table_size(clients_max)), clients_max);
}

static struct session_result record_of(uint64_t client, uint64_t sequence, uint64_t index)
{
	return (struct session_result){ .client = client,
		.sequence = sequence,
		.version = index * 4096 + sequence,
		.index = index,
		.status = (uint32_t)(index % 3 == 0 ? STATUS_NOT_FOUND : STATUS_OK) };
}

static uint64_t record(struct session_table *table, uint64_t client, uint64_t sequence, uint64_t index)
{
	struct session_result result = record_of(client, sequence, index);
	uint32_t slot = UINT32_MAX;
	uint64_t evicted = UINT64_MAX;
	session_record(table, &result, &slot, &evicted);
	assert_int_equal(slot, sequence % SESSION_RESULTS);
	return evicted;
}

static enum session_verdict check(const struct session_table *table, uint64_t client, uint64_t sequence, bool retry)
{
	struct session_result result;
	return session_check(table, client, sequence, 0, retry, &result);
}

static void test_a_repeat_answers_as_the_first_time(void **state)
{
	(void)state;
	struct session_table *table = table_new(4);
	struct session_result result;
	assert_int_equal(session_check(table, 7, 1, 1, false, &result), SESSION_NEW);
	assert_int_equal(record(table, 7, 1, 10), 0);
	assert_int_equal(session_check(table, 7, 1, 1, true, &result), SESSION_REPEAT);
	assert_int_equal(result.version, 10 * 4096 + 1);
	assert_int_equal(result.index, 10);
	assert_int_equal(result.status, STATUS_OK);
	assert_int_equal(session_check(table, 7, 1, 1, false, &result), SESSION_REPEAT);
	free(table);
}

/* Two origins reorder a pipeline: 5 may come before 4. */
static void test_a_pipeline_may_arrive_out_of_order(void **state)
{
	(void)state;
	struct session_table *table = table_new(4);
	record(table, 7, 5, 10);
	assert_int_equal(check(table, 7, 4, false), SESSION_NEW);
	assert_int_equal(check(table, 7, 4, true), SESSION_NEW);
	record(table, 7, 4, 11);
	assert_int_equal(check(table, 7, 4, true), SESSION_REPEAT);
	assert_int_equal(check(table, 7, 5, true), SESSION_REPEAT);
	free(table);
}

static void test_the_ring_forgets_what_is_a_ring_older(void **state)
{
	(void)state;
	struct session_table *table = table_new(4);
	record(table, 7, 1, 10);
	record(table, 7, 1 + SESSION_RESULTS, 11);
	assert_int_equal(check(table, 7, 1, true), SESSION_UNKNOWN);
	assert_int_equal(check(table, 7, 1, false), SESSION_UNKNOWN);
	assert_int_equal(check(table, 7, 2, true), SESSION_NEW);
	free(table);
}

static void test_below_its_own_low_water_mark_nothing_is_applied(void **state)
{
	(void)state;
	struct session_table *table = table_new(4);
	struct session_result result;
	assert_int_equal(session_check(table, 7, 3, 4, false, &result), SESSION_UNKNOWN);
	assert_int_equal(session_check(table, 7, 4, 4, false, &result), SESSION_NEW);
	assert_int_equal(session_check(table, 7, 0, 0, false, &result), SESSION_UNKNOWN);
	free(table);
}

static void test_eviction_in_order_of_last_use(void **state)
{
	(void)state;
	struct session_table *table = table_new(3);
	record(table, 1, 1, 10);
	record(table, 2, 1, 11);
	record(table, 3, 1, 12);
	record(table, 1, 2, 13);
	assert_false(session_evicted_ever(table));
	assert_int_equal(record(table, 4, 1, 14), 2);
	assert_true(session_evicted_ever(table));
	assert_int_equal(record(table, 5, 1, 15), 3);
	assert_int_equal(record(table, 6, 1, 16), 1);
	assert_int_equal(check(table, 1, 2, true), SESSION_UNKNOWN);
	assert_int_equal(check(table, 1, 3, false), SESSION_NEW);
	assert_int_equal(check(table, 6, 1, true), SESSION_REPEAT);
	free(table);
}

/* 9 was applied, the client evicted, and 10 brings it back: its being in the table does not show that 9 is new. */
static void test_a_client_that_came_back_does_not_apply_twice(void **state)
{
	(void)state;
	struct session_table *table = table_new(2);
	record(table, 1, 9, 10);
	record(table, 2, 1, 11);
	assert_int_equal(record(table, 3, 1, 12), 1);
	assert_int_equal(record(table, 1, 10, 13), 2);
	assert_int_equal(check(table, 1, 9, true), SESSION_UNKNOWN);
	/* Nor does an old write that was long under way and comes back first. */
	assert_int_equal(check(table, 2, 1, true), SESSION_UNKNOWN);
	free(table);
}

static void test_restore_refuses_what_record_never_left(void **state)
{
	(void)state;
	struct session_table *table = table_new(1);
	struct session_result result = record_of(1, 70, 10);
	assert_true(session_restore(table, &result));
	assert_false(session_restore(table, &result)); /* twice */
	result.sequence = 6;			       /* the same slot, older */
	assert_false(session_restore(table, &result));
	result = record_of(2, 1, 11); /* no room */
	assert_false(session_restore(table, &result));
	result = record_of(0, 1, 11);
	assert_false(session_restore(table, &result));
	assert_int_equal(check(table, 1, 70, true), SESSION_REPEAT);
	free(table);
}

/* --- the model ---------------------------------------------------------------------------------------- */

enum { MODEL_CLIENTS = 24, MODEL_SEQUENCES = 400 };
struct model {
	uint32_t clients_max;
	bool evicted_ever;
	bool held[MODEL_CLIENTS];
	uint64_t last_index[MODEL_CLIENTS];
	uint64_t index[MODEL_CLIENTS][MODEL_SEQUENCES]; /* of the record in the table; 0: none */
	bool applied[MODEL_CLIENTS][MODEL_SEQUENCES];	/* ever, in the table or not */
};

static unsigned model_count(const struct model *model)
{
	unsigned count = 0;
	for (unsigned i = 0; i < MODEL_CLIENTS; i++)
		count += model->held[i];
	return count;
}

static enum session_verdict model_check(const struct model *model, unsigned client, uint64_t sequence, bool retry)
{
	if (model->index[client][sequence] != 0)
		return SESSION_REPEAT;
	for (uint64_t s = sequence + SESSION_RESULTS; s < MODEL_SEQUENCES; s += SESSION_RESULTS) {
		if (model->index[client][s] != 0)
			return SESSION_UNKNOWN;
	}
	return retry && model->evicted_ever ? SESSION_UNKNOWN : SESSION_NEW;
}

static unsigned model_record(struct model *model, unsigned client, uint64_t sequence, uint64_t index)
{
	unsigned evicted = 0;
	if (!model->held[client] && model_count(model) == model->clients_max) {
		for (unsigned i = 1; i < MODEL_CLIENTS; i++) {
			if (model->held[i] && (evicted == 0 || model->last_index[i] < model->last_index[evicted]))
				evicted = i;
		}
		model->held[evicted] = false;
		model->evicted_ever = true;
		memset(model->index[evicted], 0, sizeof(model->index[evicted]));
	}
	model->held[client] = true;
	model->last_index[client] = index;
	for (uint64_t s = sequence % SESSION_RESULTS; s < sequence; s += SESSION_RESULTS)
		model->index[client][s] = 0;
	model->index[client][sequence] = index;
	model->applied[client][sequence] = true;
	return evicted;
}

/* The table as the driver would rebuild it: its records in an order of no meaning. */
static struct session_table *rebuilt(const struct model *model, struct prng *prng)
{
	struct session_table *table = table_new(model->clients_max);
	static struct session_result records[MODEL_CLIENTS * SESSION_RESULTS];
	size_t count = 0;
	for (unsigned c = 0; c < MODEL_CLIENTS; c++) {
		for (uint64_t s = 0; s < MODEL_SEQUENCES; s++) {
			if (model->index[c][s] != 0)
				records[count++] = record_of(c, s, model->index[c][s]);
		}
	}
	for (size_t i = count; i > 1; i--) {
		size_t j = prng_below(prng, i);
		struct session_result held = records[i - 1];
		records[i - 1] = records[j];
		records[j] = held;
	}
	if (model->evicted_ever && prng_chance(prng, 500000))
		session_set_evicted_ever(table);
	for (size_t i = 0; i < count; i++)
		assert_true(session_restore(table, &records[i]));
	if (model->evicted_ever)
		session_set_evicted_ever(table);
	return table;
}

static void run_model(uint64_t seed)
{
	struct prng prng;
	prng_seed(&prng, seed);
	static struct model model;
	memset(&model, 0, sizeof(model));
	model.clients_max = (uint32_t)(1 + prng_below(&prng, MODEL_CLIENTS));
	struct session_table *table = table_new(model.clients_max);
	uint64_t newest[MODEL_CLIENTS] = { 0 };
	for (uint64_t index = 1; index <= 1500; index++) {
		unsigned client = (unsigned)(1 + prng_below(&prng, MODEL_CLIENTS - 1));
		bool retry = prng_chance(&prng, 300000);
		uint64_t reach = retry ? 1 + prng_below(&prng, SESSION_RESULTS + 8) : 0;
		uint64_t sequence = newest[client] + 1 + prng_below(&prng, 3);
		if (reach != 0)
			sequence = newest[client] > reach ? newest[client] - reach : 1;
		if (sequence >= MODEL_SEQUENCES)
			continue;
		if (sequence > newest[client])
			newest[client] = sequence;
		struct session_result result;
		enum session_verdict verdict = session_check(table, client, sequence, 0, retry, &result);
		assert_int_equal(verdict, model_check(&model, client, sequence, retry));
		if (verdict == SESSION_REPEAT) {
			struct session_result first = record_of(client, sequence, model.index[client][sequence]);
			assert_memory_equal(&result, &first, offsetof(struct session_result, status) + 4);
		} else if (verdict == SESSION_NEW) {
			if (retry)
				assert_false(model.applied[client][sequence]); /* what it is all for */
			assert_int_equal(
				record(table, client, sequence, index), model_record(&model, client, sequence, index));
		}
		assert_int_equal(session_evicted_ever(table), model.evicted_ever);
		if (prng_chance(&prng, 20000)) {
			struct session_table *again = rebuilt(&model, &prng);
			assert_int_equal(session_digest(again), session_digest(table));
			free(table);
			table = again;
		}
	}
	free(table);
}

static void test_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++)
		run_model(seed);
}

/* Many ids in one small index: probes wrap and deletions shift. */
static void test_index_with_many_clients(void **state)
{
	(void)state;
	struct session_table *table = table_new(100);
	struct prng prng;
	prng_seed(&prng, 5);
	uint64_t clients[3000];
	for (uint64_t i = 0; i < 3000; i++) {
		clients[i] = prng_next(&prng) | 1;
		uint64_t evicted = record(table, clients[i], 1, i + 1);
		assert_int_equal(evicted, i < 100 ? 0 : clients[i - 100]);
		for (uint64_t back = 0; back < 110 && back <= i; back++)
			assert_int_equal(check(table, clients[i - back], 1, true),
				back < 100 ? SESSION_REPEAT : SESSION_UNKNOWN);
	}
	free(table);
}

static void test_digest_sees_every_field(void **state)
{
	(void)state;
	struct session_table *a = table_new(4), *b = table_new(4);
	struct session_result one = record_of(1, 1, 10), other = one;
	uint64_t evicted;
	uint32_t slot;
	session_record(a, &one, &slot, &evicted);
	other.status = STATUS_CONFLICT;
	session_record(b, &other, &slot, &evicted);
	assert_int_not_equal(session_digest(a), session_digest(b));
	free(b);
	b = table_new(4);
	session_record(b, &one, &slot, &evicted);
	assert_int_equal(session_digest(a), session_digest(b));
	session_set_evicted_ever(b);
	assert_int_not_equal(session_digest(a), session_digest(b));
	free(a);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_repeat_answers_as_the_first_time),
		cmocka_unit_test(test_a_pipeline_may_arrive_out_of_order),
		cmocka_unit_test(test_the_ring_forgets_what_is_a_ring_older),
		cmocka_unit_test(test_below_its_own_low_water_mark_nothing_is_applied),
		cmocka_unit_test(test_eviction_in_order_of_last_use),
		cmocka_unit_test(test_a_client_that_came_back_does_not_apply_twice),
		cmocka_unit_test(test_restore_refuses_what_record_never_left),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_index_with_many_clients),
		cmocka_unit_test(test_digest_sees_every_field),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
