/* The life of one operation: every status at every point, lost connections, silence, deadlines; and, against a model of
 * a replicated shard that loses answers and moves its leader, that no write is ever applied twice and that what the
 * caller is told is true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/operation.h"
#include "client/patience.h"
#include "tests/unit/client/world.h"

#define MS ((uint64_t)1000000)

/* --- one operation by hand --------------------------------------------------------------------------- */

struct bench {
	struct router *router;
	struct lane memory[4];
	struct lanes lanes;
	struct operation_machine operation;
	struct operation_action action;
	struct operation_spec spec;
	uint64_t now_ns;
};

static void bench_start(struct bench *bench, uint8_t kind, const char *key)
{
	*bench = (struct bench){ .router = router_at("eu/ie/eu-west-1"), .now_ns = 1000 * MS };
	lanes_init(&bench->lanes, bench->memory, 4, 5);
	bench->spec = (struct operation_spec){ .operation = kind,
		.level = READ_STRONG,
		.key = bytes_text(key),
		.deadline_ns = bench->now_ns + 10000 * MS };
	if (operation_is_write(kind)) {
		bench->spec.lanes = &bench->lanes;
		assert_true(lanes_take(&bench->lanes, &bench->spec.ticket));
	}
	bench->action = operation_start(&bench->operation, &bench->spec, bench->router, 42, bench->now_ns);
	operation_check(&bench->operation);
}

static void bench_end(struct bench *bench)
{
	free(bench->router);
}

static void reply(struct bench *bench, uint32_t attempt, enum status status, uint64_t leader, uint64_t epoch)
{
	struct message_reply reply = { .status = (uint32_t)status,
		.leader_node = leader,
		.map_epoch = epoch,
		.detail = bytes_text("said the node") };
	bench->action = operation_replied(&bench->operation, attempt, &reply, bench->now_ns);
	operation_check(&bench->operation);
}

static void lose(struct bench *bench, bool delivered)
{
	bench->action = operation_lost(&bench->operation, bench->operation.attempt_current, delivered, bench->now_ns);
	operation_check(&bench->operation);
}

static void expire(struct bench *bench)
{
	assert_true(bench->action.until_ns >= bench->now_ns);
	bench->now_ns = bench->action.until_ns;
	bench->action = operation_expired(&bench->operation, bench->now_ns);
	operation_check(&bench->operation);
}

static struct message_request sent(const struct bench *bench)
{
	struct message message;
	assert_int_equal(bench->action.kind, OPERATION_SEND);
	operation_message(&bench->operation, bench->action.node, bench->now_ns, &message);
	assert_int_equal(message.kind, MESSAGE_REQUEST);
	return message.ask;
}

static void expect_finished(const struct bench *bench, enum status status)
{
	assert_int_equal(bench->action.kind, OPERATION_FINISHED);
	assert_int_equal(bench->action.status, status);
}

static void test_request(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, OPERATION_PUT, "eu/k");
	struct message_request ask = sent(&bench);
	assert_int_equal(ask.operation, OPERATION_PUT);
	assert_int_equal(ask.policy, EU_ONLY);
	assert_int_equal(ask.policy_epoch, 1);
	assert_int_equal(ask.shard / 10, EU_ONLY);
	assert_int_equal(ask.map_epoch, 7);
	assert_int_equal(ask.sequence, 1);
	assert_int_equal(ask.low_water, 1);
	assert_int_equal(ask.client, bench.memory[0].client);
	assert_int_equal(ask.timeout_ms, 10000);
	assert_false(ask.retry);
	bench_end(&bench);
}

/* What each status does to a first send, and to a write that may have been proposed before. */
static void test_every_status(void **state)
{
	(void)state;
	enum then { ENDS, MOVES_ON, WAITS };
	static const struct {
		enum status status;
		uint8_t kind;
		enum then then;
		enum status fresh, after_loss; /* when it ends */
	} cases[] = {
		{ STATUS_OK, OPERATION_GET, ENDS, STATUS_OK, STATUS_OK },
		{ STATUS_OK, OPERATION_PUT, ENDS, STATUS_OK, STATUS_OK },
		{ STATUS_NOT_FOUND, OPERATION_GET, ENDS, STATUS_NOT_FOUND, STATUS_NOT_FOUND },
		{ STATUS_NOT_FOUND, OPERATION_DELETE, ENDS, STATUS_NOT_FOUND, STATUS_NOT_FOUND },
		{ STATUS_CONFLICT, OPERATION_CAS, ENDS, STATUS_CONFLICT, STATUS_CONFLICT },
		{ STATUS_UNKNOWN_OUTCOME, OPERATION_PUT, MOVES_ON, 0, 0 },
		{ STATUS_RESIDENCY_REFUSED, OPERATION_GET, ENDS, STATUS_RESIDENCY_REFUSED, STATUS_RESIDENCY_REFUSED },
		{ STATUS_RESIDENCY_REFUSED, OPERATION_PUT, ENDS, STATUS_RESIDENCY_REFUSED, STATUS_UNKNOWN_OUTCOME },
		{ STATUS_POLICY_MISMATCH, OPERATION_PUT, ENDS, STATUS_POLICY_MISMATCH, STATUS_UNKNOWN_OUTCOME },
		{ STATUS_TOO_LARGE, OPERATION_PUT, ENDS, STATUS_TOO_LARGE, STATUS_UNKNOWN_OUTCOME },
		{ STATUS_INVALID, OPERATION_PUT, ENDS, STATUS_INVALID, STATUS_UNKNOWN_OUTCOME },
		{ STATUS_DENIED, OPERATION_PUT, ENDS, STATUS_CANNOT_CONNECT, STATUS_UNKNOWN_OUTCOME },
		{ STATUS_UNSUPPORTED, OPERATION_GET, ENDS, STATUS_INVALID, STATUS_INVALID },
		{ STATUS_NOT_LEADER, OPERATION_PUT, MOVES_ON, 0, 0 },
		{ STATUS_NOT_LEADER, OPERATION_GET, MOVES_ON, 0, 0 },
		{ STATUS_QUORUM_UNAVAILABLE, OPERATION_PUT, MOVES_ON, 0, 0 },
		{ STATUS_QUORUM_UNAVAILABLE, OPERATION_GET, MOVES_ON, 0, 0 },
		{ STATUS_STALE_MAP, OPERATION_PUT, MOVES_ON, 0, 0 },
		{ STATUS_BUSY, OPERATION_PUT, WAITS, 0, 0 },
		{ STATUS_BUSY, OPERATION_GET, MOVES_ON, 0, 0 },
		{ STATUS_IO, OPERATION_GET, MOVES_ON, 0, 0 },
		{ STATUS_CORRUPT, OPERATION_GET, MOVES_ON, 0, 0 },
		{ STATUS_IO, OPERATION_PUT, MOVES_ON, 0, 0 },
		{ (enum status)999, OPERATION_PUT, MOVES_ON, 0, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (unsigned loss = 0; loss < 2; loss++) {
			struct bench bench;
			bench_start(&bench, cases[i].kind, "eu/k");
			uint64_t first = bench.action.node;
			if (loss) {
				lose(&bench, true);
				assert_int_not_equal(bench.action.node, first);
				assert_int_equal(sent(&bench).retry, operation_is_write(cases[i].kind));
			}
			uint64_t node = bench.action.node;
			reply(&bench, bench.action.attempt, cases[i].status, 0, 7);
			if (cases[i].then == ENDS) {
				expect_finished(&bench, loss ? cases[i].after_loss : cases[i].fresh);
			} else if (cases[i].then == MOVES_ON) {
				assert_int_equal(bench.action.kind, OPERATION_SEND);
				assert_int_not_equal(bench.action.node, node);
				assert_int_not_equal(bench.action.node, loss ? first : 0);
			} else {
				assert_int_equal(bench.action.kind, OPERATION_WAIT);
				expire(&bench);
				assert_int_equal(bench.action.kind, OPERATION_SEND);
			}
			bench_end(&bench);
		}
}

static void test_the_retry_flag(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, OPERATION_CAS, "eu/k");
	struct message_request first = sent(&bench);
	lose(&bench, false); /* it never left */
	assert_false(sent(&bench).retry);
	reply(&bench, bench.action.attempt, STATUS_NOT_LEADER, 0, 7); /* certainly not proposed */
	assert_false(sent(&bench).retry);
	lose(&bench, true);
	assert_int_equal(bench.action.kind, OPERATION_WAIT);
	expire(&bench);
	for (unsigned i = 0; i < 3; i++) { /* from here on, whatever is said */
		struct message_request ask = sent(&bench);
		assert_true(ask.retry);
		assert_int_equal(ask.client, first.client);
		assert_int_equal(ask.sequence, first.sequence);
		assert_int_equal(ask.shard, first.shard);
		reply(&bench, bench.action.attempt, STATUS_NOT_LEADER, 0, 7);
	}
	bench_end(&bench);
}

static void test_silence_asks_another_and_late_answers_count(void **state)
{
	(void)state;
	for (unsigned late = 0; late < 3; late++) {
		struct bench bench;
		bench_start(&bench, OPERATION_PUT, "eu/k");
		uint32_t first = bench.action.attempt;
		uint64_t node = bench.action.node;
		expire(&bench);
		assert_true(sent(&bench).retry);
		assert_int_not_equal(bench.action.node, node);
		uint64_t order[REPLICAS_MAX]; /* others need not find out for themselves */
		unsigned count = router_candidates(
			bench.router, bench.operation.target.shard, OPERATION_PUT, false, bench.now_ns, order);
		assert_int_equal(count, 3);
		assert_int_equal(order[2], node);
		if (late == 0) { /* the first one's answer ends it all the same */
			reply(&bench, first, STATUS_OK, 0, 7);
			expect_finished(&bench, STATUS_OK);
		} else if (late == 1) { /* a late refusal settles that the first did nothing */
			reply(&bench, first, STATUS_BUSY, 0, 7);
			assert_int_equal(bench.action.kind, OPERATION_WAIT);
			bench.action =
				operation_lost(&bench.operation, bench.operation.attempt_current, false, bench.now_ns);
			assert_int_equal(bench.action.kind, OPERATION_SEND);
			assert_false(sent(&bench).retry);
			assert_true(operation_may_have_been_proposed(&bench.operation)); /* by this send alone */
		} else { /* a late "unknown" is not the end while another is under way */
			reply(&bench, first, STATUS_UNKNOWN_OUTCOME, 0, 7);
			assert_int_equal(bench.action.kind, OPERATION_WAIT);
			reply(&bench, bench.operation.attempt_current, STATUS_OK, 0, 7);
			expect_finished(&bench, STATUS_OK);
		}
		bench_end(&bench);
	}
}

static void test_an_answer_counts_once(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, OPERATION_PUT, "eu/k");
	uint32_t first = bench.action.attempt;
	reply(&bench, first, STATUS_NOT_LEADER, DE1, 7);
	assert_int_equal(bench.action.node, DE1);
	struct operation_machine before = bench.operation;
	reply(&bench, first, STATUS_OK, 0, 7); /* duplicated by a careless network */
	assert_int_equal(bench.action.kind, OPERATION_WAIT);
	assert_int_equal(bench.operation.state, before.state);
	reply(&bench, bench.operation.attempt_current, STATUS_OK, 0, 7);
	expect_finished(&bench, STATUS_OK);
	reply(&bench, first, STATUS_OK, 0, 7);
	assert_int_equal(bench.action.kind, OPERATION_WAIT);
	bench_end(&bench);
}

static void test_hints(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, OPERATION_PUT, "eu/k");
	assert_int_equal(bench.action.node, IE1);
	unsigned sends = 0;
	/* Two nodes that name each other: followed a few times, then a pause. */
	while (bench.action.kind == OPERATION_SEND && sends++ < 100)
		reply(&bench, bench.action.attempt, STATUS_NOT_LEADER, bench.action.node == DE1 ? IE2 : DE1, 7);
	assert_int_equal(bench.action.kind, OPERATION_WAIT);
	assert_true(sends <= 6);
	expire(&bench);
	uint64_t leader = bench.action.node;
	reply(&bench, bench.action.attempt, STATUS_OK, 0, 7);
	expect_finished(&bench, STATUS_OK);
	assert_int_equal(router_leader(bench.router, bench.operation.target.shard), leader);
	bench_end(&bench);

	/* A leader that the policy does not allow gets nothing. */
	bench_start(&bench, OPERATION_PUT, "tight/k");
	for (unsigned i = 0; i < 20 && bench.action.kind != OPERATION_FINISHED; i++) {
		if (bench.action.kind == OPERATION_SEND) {
			assert_int_not_equal(bench.action.node, US1);
			reply(&bench, bench.action.attempt, STATUS_NOT_LEADER, US1, 7);
		} else {
			expire(&bench);
		}
	}
	bench_end(&bench);
}

/* What the session has seen may be in a shard that this map does not know of yet. */
static void test_a_session_that_saw_a_newer_map(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, OPERATION_GET, "else");
	bench.spec.level = READ_SESSION;
	bench.spec.map_epoch_min = 7;
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 42, bench.now_ns);
	assert_int_equal(bench.action.kind, OPERATION_SEND);
	bench.spec.map_epoch_min = 8;
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 42, bench.now_ns);
	assert_int_equal(bench.action.kind, OPERATION_FETCH_MAP);
	bench.action = operation_map_arrived(&bench.operation, bench.now_ns); /* the same again */
	assert_int_equal(bench.action.kind, OPERATION_WAIT);
	expire(&bench);
	assert_int_equal(bench.action.kind, OPERATION_FETCH_MAP);
	struct cluster_map *map = world_map();
	map->epoch = 8;
	assert_int_equal(world_learn(bench.router, map), STATUS_OK);
	bench.action = operation_map_arrived(&bench.operation, bench.now_ns);
	assert_int_equal(sent(&bench).map_epoch, 8);
	free(map);
	bench_end(&bench);
}

static void test_newer_map(void **state)
{
	(void)state;
	static const enum status refusals[] = { STATUS_STALE_MAP, STATUS_BUSY, STATUS_NOT_LEADER };
	for (size_t i = 0; i < 3; i++) {
		struct bench bench;
		bench_start(&bench, OPERATION_PUT, "else");
		reply(&bench, bench.action.attempt, refusals[i], 0, 8);
		if (bench.action.kind == OPERATION_WAIT)
			expire(&bench);
		assert_int_equal(bench.action.kind, OPERATION_FETCH_MAP);
		bench.action = operation_map_arrived(&bench.operation, bench.now_ns); /* an old one */
		assert_int_equal(bench.action.kind, OPERATION_WAIT);
		expire(&bench);
		assert_int_equal(bench.action.kind, OPERATION_FETCH_MAP);
		struct cluster_map *map = world_map();
		map->epoch = 8;
		map->bindings[map->binding_count - 1].policy = EU_OPEN; /* the catch-all was bound anew */
		assert_int_equal(world_learn(bench.router, map), STATUS_OK);
		bench.action = operation_map_arrived(&bench.operation, bench.now_ns);
		struct message_request ask = sent(&bench);
		assert_int_equal(ask.policy, EU_OPEN); /* nothing was proposed: another shard is fine */
		assert_int_equal(ask.map_epoch, 8);
		assert_false(ask.retry);
		free(map);
		bench_end(&bench);
	}
}

static void test_never_to_another_shard(void **state)
{
	(void)state;
	static const struct {
		uint8_t kind;
		const char *key;
		uint64_t bound_to;
		bool sends;
	} cases[] = {
		{ OPERATION_PUT, "else", EU_OPEN, false },
		{ OPERATION_PUT, "else", EU_ONLY, false },
		{ OPERATION_PUT, "else", EVERYWHERE, true }, /* the same shard as before */
		{ OPERATION_GET, "else", EU_OPEN, true },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench bench;
		bench_start(&bench, cases[i].kind, cases[i].key);
		lose(&bench, true); /* it may have been proposed */
		struct cluster_map *map = world_map();
		map->epoch = 8;
		map->bindings[map->binding_count - 1].policy = cases[i].bound_to;
		assert_int_equal(world_learn(bench.router, map), STATUS_OK);
		lose(&bench, false);
		if (cases[i].sends)
			assert_int_equal(bench.action.kind, OPERATION_SEND);
		else
			expect_finished(&bench, STATUS_UNKNOWN_OUTCOME);
		free(map);
		bench_end(&bench);
	}
}

/* The key's shard was split, or merged: who has the key now has the records of its writes. */
static void test_to_a_shard_that_inherits(void **state)
{
	(void)state;
	const uint64_t hash = hash_key(bytes_text("else"));
	for (unsigned upper = 0; upper < 2; upper++) {
		struct bench bench;
		bench_start(&bench, OPERATION_PUT, "else");
		const uint64_t before = sent(&bench).shard, sequence = sent(&bench).sequence;
		lose(&bench, true);
		struct cluster_map *map = world_map();
		map->epoch = 8;
		map->shards[0].hash_last = map->shards[0].id == before ? hash - 1 : hash;
		map->shards[1].hash_first = map->shards[0].hash_last + 1;
		assert_int_equal(map->shards[0].policy, EVERYWHERE);
		assert_int_equal(world_learn(bench.router, map), STATUS_OK);
		lose(&bench, upper == 1);
		assert_int_equal(bench.action.kind, OPERATION_SEND);
		struct message_request ask = sent(&bench);
		assert_int_not_equal(ask.shard, before);
		assert_int_equal(ask.sequence, sequence);
		assert_true(ask.retry);
		free(map);
		bench_end(&bench);
	}
}

/* A read was sent to two shards, since its key was bound to another policy meanwhile: the answer of the first is one.
 */
static void test_whose_answer_it_is(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, OPERATION_GET, "else");
	uint32_t first = bench.action.attempt;
	uint64_t before = bench.operation.target.shard;
	struct cluster_map *map = world_map();
	map->epoch = 8;
	map->bindings[map->binding_count - 1].policy = EU_OPEN;
	assert_int_equal(world_learn(bench.router, map), STATUS_OK);
	while (bench.operation.target.shard == before)
		expire(&bench);
	assert_int_equal(bench.action.kind, OPERATION_SEND);
	uint64_t now = bench.operation.target.shard, leader = router_leader(bench.router, now);
	reply(&bench, first, STATUS_OK, IE1, 8);
	expect_finished(&bench, STATUS_OK);
	assert_int_equal(bench.action.shard, before);
	assert_int_equal(router_leader(bench.router, now), leader);
	free(map);
	bench_end(&bench);
}

static void test_refused_before_a_byte_leaves(void **state)
{
	(void)state;
	struct bench bench = { .router = router_at("us/us-east-1"), .now_ns = MS };
	struct operation_spec spec = { .operation = OPERATION_GET,
		.level = READ_STRONG,
		.key = bytes_text("eu/secret"),
		.deadline_ns = 1000 * MS };
	bench.action = operation_start(&bench.operation, &spec, bench.router, 1, bench.now_ns);
	expect_finished(&bench, STATUS_RESIDENCY_REFUSED);
	assert_false(bench.action.answered);
	assert_non_null(strstr(bench.operation.text, "eu-only"));
	assert_null(strstr(bench.operation.text, "secret"));
	spec.key = bytes_text("else");
	spec.guard = "eu-only";
	bench.action = operation_start(&bench.operation, &spec, bench.router, 1, bench.now_ns);
	expect_finished(&bench, STATUS_POLICY_MISMATCH);
	bench_end(&bench);
}

/* How it ends when nothing works until the deadline. */
static void test_deadlines(void **state)
{
	(void)state;
	enum way { REFUSED, UNREACHED, BROKEN, SILENT, WITHDRAWN };
	static const struct {
		uint8_t kind;
		enum way way;
		enum status says, ends;
	} cases[] = {
		{ OPERATION_GET, REFUSED, STATUS_QUORUM_UNAVAILABLE, STATUS_QUORUM_UNAVAILABLE },
		{ OPERATION_PUT, REFUSED, STATUS_QUORUM_UNAVAILABLE, STATUS_QUORUM_UNAVAILABLE },
		{ OPERATION_PUT, REFUSED, STATUS_BUSY, STATUS_BUSY },
		{ OPERATION_PUT, REFUSED, STATUS_NOT_LEADER, STATUS_QUORUM_UNAVAILABLE },
		{ OPERATION_PUT, REFUSED, STATUS_STALE_MAP, STATUS_TIMED_OUT },
		{ OPERATION_PUT, REFUSED, STATUS_IO, STATUS_UNKNOWN_OUTCOME },
		{ OPERATION_GET, UNREACHED, 0, STATUS_CANNOT_CONNECT },
		{ OPERATION_PUT, UNREACHED, 0, STATUS_CANNOT_CONNECT },
		{ OPERATION_GET, BROKEN, 0, STATUS_CANNOT_CONNECT },
		{ OPERATION_PUT, BROKEN, 0, STATUS_UNKNOWN_OUTCOME },
		{ OPERATION_GET, SILENT, 0, STATUS_TIMED_OUT },
		{ OPERATION_PUT, SILENT, 0, STATUS_UNKNOWN_OUTCOME },
		{ OPERATION_PUT, WITHDRAWN, 0, STATUS_CANNOT_CONNECT },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench bench;
		unsigned events = 0, sends = 0;
		bench_start(&bench, cases[i].kind, "eu/k");
		while (bench.action.kind != OPERATION_FINISHED) {
			assert_true(events++ < 1000);
			sends += bench.action.kind == OPERATION_SEND;
			bench.now_ns += MS / 2;
			/* At the deadline, what has not left is taken back; before it, it waits for its connection. */
			while (cases[i].way == WITHDRAWN && bench.action.until_ns >= bench.spec.deadline_ns &&
				bench.operation.open_count > 0)
				operation_withdrawn(&bench.operation, bench.operation.open[0].number);
			if (bench.action.kind != OPERATION_SEND || cases[i].way == SILENT || cases[i].way == WITHDRAWN)
				expire(&bench);
			else if (cases[i].way == REFUSED)
				reply(&bench, bench.action.attempt, cases[i].says, 0, 7);
			else
				lose(&bench, cases[i].way == BROKEN);
		}
		expect_finished(&bench, cases[i].ends);
		assert_true(bench.now_ns >= bench.spec.deadline_ns);
		assert_true(bench.now_ns < bench.spec.deadline_ns + 20 * MS);
		assert_true(sends >= 3);
		assert_true(sends < 150); /* the waits grow */
		assert_true(bench.operation.text[0] != '\0');
		bench_end(&bench);
	}
}

static void test_scan_of_one_shard(void **state)
{
	(void)state;
	struct router *router = router_at("eu/ie/eu-west-1");
	struct operation_machine operation;
	struct message message;
	struct operation_spec spec = { .operation = OPERATION_SCAN,
		.level = READ_STRONG,
		.key = bytes_text("eu/patient"),
		.after = bytes_text("eu/patient-1"),
		.limit = 10,
		.deadline_ns = 1000 * MS,
		.policy = EVERYWHERE,
		.shard = EVERYWHERE * 10,
		.map_epoch = 7 };
	router_learn_rtt(router, US1, 1);
	struct operation_action action = operation_start(&operation, &spec, router, 1, 0);
	assert_int_equal(action.node, US1);
	operation_message(&operation, action.node, 0, &message);
	assert_true(bytes_equal(message.ask.key, bytes_text("eu/"))); /* no more than everybody knows */
	assert_true(bytes_equal(message.ask.after, bytes_text("eu/")));
	struct message_reply stale = { .status = STATUS_STALE_MAP, .map_epoch = 8 };
	action = operation_replied(&operation, action.attempt, &stale, 0);
	assert_int_equal(action.kind, OPERATION_FETCH_MAP);
	struct cluster_map *map = world_map();
	map->epoch = 8;
	assert_int_equal(world_learn(router, map), STATUS_OK);
	action = operation_map_arrived(&operation, 0);
	assert_int_equal(action.kind, OPERATION_FINISHED);
	assert_int_equal(action.status, STATUS_STALE_MAP); /* the plan is void */
	free(map);
	free(router);
}

/* --- a second question ---------------------------------------------------------------------------------- */

/* Home is eu-west-1; the leader is US1, 68 ms away; DE1 is at 25 ms. */
static void story_start(struct bench *bench, uint8_t kind, const char *key)
{
	*bench = (struct bench){ .router = router_at("eu/ie/eu-west-1"), .now_ns = 1000 * MS };
	router_learn_rtt(bench->router, IE1, 500);
	router_learn_rtt(bench->router, IE2, 600);
	router_learn_rtt(bench->router, DE1, 25000);
	router_learn_rtt(bench->router, US1, 68000);
	for (uint64_t half = 0; half < 2; half++) {
		router_learn_leader(bench->router, EVERYWHERE * 10 + half, US1);
		router_learn_leader(bench->router, EU_ONLY * 10 + half, DE1);
	}
	lanes_init(&bench->lanes, bench->memory, 4, 5);
	bench->spec = (struct operation_spec){ .operation = kind,
		.level = READ_STRONG,
		.key = bytes_text(key),
		.deadline_ns = bench->now_ns + 10000 * MS };
	if (operation_is_write(kind)) {
		bench->spec.lanes = &bench->lanes;
		assert_true(lanes_take(&bench->lanes, &bench->spec.ticket));
	}
	bench->action = operation_start(&bench->operation, &bench->spec, bench->router, 42, bench->now_ns);
	operation_check(&bench->operation);
}

/* One of 32 answers that take so long, so that the node is known. */
static void get_to_know(struct router *router, uint64_t node, bool write, uint64_t ms)
{
	for (unsigned i = 0; i < 32; i++)
		patience_learn(router, node, write, ms * MS);
}

static void test_a_held_read_is_asked_elsewhere(void **state)
{
	(void)state;
	for (unsigned first_wins = 0; first_wins < 2; first_wins++) {
		struct bench bench;
		story_start(&bench, OPERATION_GET, "else");
		uint32_t first = bench.action.attempt;
		assert_int_equal(bench.action.node, IE1);
		/* 0.5 ms there and back, 1.2 times at most 68.5 ms between the two, and 10 ms. */
		assert_int_equal(bench.action.until_ns - bench.now_ns, 92700000);
		expire(&bench);
		assert_int_equal(bench.action.kind, OPERATION_SEND);
		assert_int_equal(bench.action.node, DE1);
		assert_int_equal(bench.operation.open_count, 2);
		assert_false(router_is_suspect(bench.router, IE1, bench.now_ns)); /* slow is not lost */
		expire(&bench); /* neither answers: the leader, who knows first */
		assert_int_equal(bench.action.kind, OPERATION_SEND);
		assert_int_equal(bench.action.node, US1);
		reply(&bench, first_wins ? first : bench.action.attempt, STATUS_OK, 0, 7);
		expect_finished(&bench, STATUS_OK);
		reply(&bench, first_wins ? bench.operation.attempt_last : first, STATUS_OK, 0, 7);
		assert_int_equal(bench.action.kind, OPERATION_WAIT); /* the other one comes too late */
		bench_end(&bench);
	}
}

static void test_a_replica_beside_is_asked_earlier(void **state)
{
	(void)state;
	struct bench bench;
	story_start(&bench, OPERATION_GET, "eu/k"); /* IE1, IE2 and, leading, DE1 */
	assert_int_equal(bench.action.until_ns - bench.now_ns, 500000 + 25500000 * 6 / 5 + 10000000);
	bench_end(&bench);
	story_start(&bench, OPERATION_GET, "eu/k");
	get_to_know(bench.router, IE1, false, 7);
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 42, bench.now_ns);
	assert_in_range(bench.action.until_ns - bench.now_ns, 7 * MS, 7 * MS + 20000);
	expire(&bench);
	assert_int_equal(bench.action.node, IE2);
	bench_end(&bench);
	/* Not before a replica elsewhere is worth its way: then only what holds reads back counts. */
	story_start(&bench, OPERATION_GET, "else");
	get_to_know(bench.router, IE1, false, 7);
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 42, bench.now_ns);
	assert_int_equal(bench.action.until_ns - bench.now_ns, 92700000);
	/* And a scan's pages differ too much. */
	get_to_know(bench.router, IE1, false, 7);
	bench.spec.operation = OPERATION_SCAN;
	bench.spec.policy = EU_ONLY;
	bench.spec.shard = EU_ONLY * 10;
	bench.spec.map_epoch = 7;
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 42, bench.now_ns);
	assert_int_equal(bench.action.until_ns - bench.now_ns, 500000 + 25500000 * 6 / 5 + 10000000);
	bench_end(&bench);
}

static void test_second_questions_have_a_budget(void **state)
{
	(void)state;
	enum { READS = 4000 };
	struct bench bench;
	unsigned seconds = 0;
	story_start(&bench, OPERATION_GET, "eu/k");
	bench.spec.operation = OPERATION_SCAN; /* which has no percentile to get used to it */
	bench.spec.policy = EU_ONLY;
	bench.spec.shard = EU_ONLY * 10;
	bench.spec.map_epoch = 7;
	for (unsigned i = 0; i < READS; i++) { /* each of them is slow */
		bench.spec.deadline_ns = bench.now_ns + 10000 * MS;
		bench.action = operation_start(&bench.operation, &bench.spec, bench.router, i, bench.now_ns);
		assert_true(bench.action.until_ns < bench.operation.open[0].silent_ns);
		for (unsigned j = 0; j < 2 && bench.action.kind == OPERATION_SEND; j++) {
			expire(&bench);
			seconds += bench.action.kind == OPERATION_SEND;
		}
		reply(&bench, bench.operation.attempt_current, STATUS_OK, 0, 7);
		expect_finished(&bench, STATUS_OK);
	}
	assert_in_range(seconds, READS / 20, READS / 20 + 10);
	bench_end(&bench);
}

static void test_second_questions_stay_where_the_policy_allows(void **state)
{
	(void)state;
	static const char *const keys[] = { "tight/k", "eu/k" };
	for (unsigned i = 0; i < 2; i++) {
		struct bench bench;
		story_start(&bench, OPERATION_GET, keys[i]);
		for (unsigned half = 0; half < 2; half++) /* the leader lies where the policy forbids */
			router_learn_leader(
				bench.router, (i == 0 ? (uint64_t)TIGHT : (uint64_t)EU_ONLY) * 10 + half, US1);
		unsigned sends = 0;
		while (bench.action.kind != OPERATION_FINISHED) {
			if (bench.action.kind == OPERATION_SEND) {
				assert_int_not_equal(bench.action.node, US1);
				sends++;
			}
			expire(&bench);
		}
		assert_true(sends > 4);
		bench_end(&bench);
	}
}

static void test_a_refused_second_question_changes_nothing(void **state)
{
	(void)state;
	static const struct {
		enum status status;
		bool lost, ends;
	} cases[] = { { STATUS_BUSY, false, false }, { STATUS_QUORUM_UNAVAILABLE, false, false },
		{ STATUS_NOT_LEADER, false, false }, { STATUS_STALE_MAP, false, false }, { 0, true, false },
		{ STATUS_RESIDENCY_REFUSED, false, true }, { STATUS_POLICY_MISMATCH, false, true } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bench bench;
		story_start(&bench, OPERATION_GET, "else");
		uint32_t first = bench.action.attempt;
		uint64_t silent_ns = bench.operation.open[0].silent_ns;
		expire(&bench);
		if (cases[i].lost)
			lose(&bench, true);
		else
			reply(&bench, bench.action.attempt, cases[i].status, 0, 7);
		if (cases[i].ends) { /* a rule holds everywhere: what one refuses, nobody else is asked */
			expect_finished(&bench, cases[i].status);
		} else {
			assert_int_equal(bench.action.kind, OPERATION_WAIT);
			assert_int_equal(bench.action.until_ns, silent_ns);
			reply(&bench, first, STATUS_OK, 0, 7);
			expect_finished(&bench, STATUS_OK);
		}
		bench_end(&bench);
	}
	/* The first one is refused: the second is on its way already. */
	struct bench bench;
	story_start(&bench, OPERATION_GET, "else");
	uint32_t first = bench.action.attempt;
	expire(&bench);
	uint32_t second = bench.action.attempt;
	reply(&bench, first, STATUS_QUORUM_UNAVAILABLE, 0, 7);
	assert_int_equal(bench.action.kind, OPERATION_WAIT);
	assert_int_equal(bench.operation.attempt_current, second);
	lose(&bench, true); /* and lost: the next at once, no timer */
	assert_int_equal(bench.action.kind, OPERATION_SEND);
	assert_int_equal(bench.action.node, US1);
	bench_end(&bench);
}

static void test_reads_fail_over_at_once(void **state)
{
	(void)state;
	struct bench bench;
	story_start(&bench, OPERATION_GET, "else");
	assert_int_equal(bench.action.node, IE1);
	lose(&bench, true);
	assert_int_equal(bench.action.kind, OPERATION_SEND);
	assert_int_equal(bench.action.node, DE1);
	reply(&bench, bench.action.attempt, STATUS_QUORUM_UNAVAILABLE, 0, 7); /* cut off, and says so */
	assert_int_equal(bench.action.kind, OPERATION_SEND);
	assert_int_equal(bench.action.node, US1);
	bench_end(&bench);
}

/* --- writes through an origin ------------------------------------------------------------------------------ */

static void test_a_slow_write_goes_to_the_leader_too(void **state)
{
	(void)state;
	struct bench bench;
	story_start(&bench, OPERATION_PUT, "else");
	struct message_request asked = sent(&bench);
	uint32_t first = bench.action.attempt;
	assert_int_equal(bench.action.node, IE1); /* the nearest is the origin, whoever leads */
	assert_false(asked.retry);
	/* Twice what it should take: 0.5 ms to the origin and at most 68.5 to the leader; and 50 ms. */
	assert_int_equal(bench.action.until_ns - bench.now_ns, 2 * 69000000 + 50000000);
	expire(&bench);
	assert_int_equal(bench.action.node, US1);
	assert_true(sent(&bench).retry);
	assert_int_equal(sent(&bench).sequence, asked.sequence);
	assert_int_equal(sent(&bench).client, asked.client);
	assert_false(router_is_suspect(bench.router, IE1, bench.now_ns));
	reply(&bench, first, STATUS_OK, 0, 7);
	expect_finished(&bench, STATUS_OK);
	assert_int_equal(
		router_leader(bench.router, bench.operation.target.shard), US1); /* IE1's answer tells nothing */
	bench_end(&bench);

	/* A write that usually takes longer here is awaited longer. */
	story_start(&bench, OPERATION_PUT, "else");
	get_to_know(bench.router, IE1, true, 400);
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 42, bench.now_ns);
	assert_in_range(bench.action.until_ns - bench.now_ns, 850 * MS, 851 * MS);
	bench_end(&bench);

	/* The leader itself is slow: nobody else is asked before it counts as lost. */
	story_start(&bench, OPERATION_PUT, "eu/k");
	for (uint64_t half = 0; half < 2; half++)
		router_learn_leader(bench.router, EU_ONLY * 10 + half, IE1);
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 42, bench.now_ns);
	assert_int_equal(bench.action.node, IE1);
	assert_int_equal(bench.action.until_ns, bench.operation.open[0].silent_ns);
	bench_end(&bench);

	/* When everything is slow, copies end with the retry budget. */
	story_start(&bench, OPERATION_PUT, "else");
	while (router_spend_retry(bench.router))
		;
	expire(&bench);
	assert_int_equal(bench.action.kind, OPERATION_WAIT);
	assert_int_equal(bench.action.until_ns, bench.operation.open[0].silent_ns);
	expire(&bench);
	assert_int_equal(bench.action.kind, OPERATION_SEND);
	assert_int_equal(bench.action.node, US1);
	assert_true(sent(&bench).retry);
	assert_true(router_is_suspect(bench.router, IE1, bench.now_ns));
	bench_end(&bench);
}

static void test_a_lost_origin(void **state)
{
	(void)state;
	for (unsigned delivered = 0; delivered < 2; delivered++) {
		struct bench bench;
		story_start(&bench, OPERATION_PUT, "else");
		uint64_t sequence = sent(&bench).sequence;
		lose(&bench, delivered == 1);
		/* At once: to the leader if it may have been proposed, else to the next origin. */
		assert_int_equal(bench.action.node, delivered ? US1 : DE1);
		assert_int_equal(sent(&bench).retry, delivered);
		assert_int_equal(sent(&bench).sequence, sequence);
		bench_end(&bench);
	}
}

static void test_an_origin_that_lost_track(void **state)
{
	(void)state;
	for (unsigned ends = 0; ends < 2; ends++) {
		struct bench bench;
		story_start(&bench, OPERATION_CAS, "else");
		uint64_t sequence = sent(&bench).sequence;
		reply(&bench, bench.action.attempt, STATUS_UNKNOWN_OUTCOME, 0, 7);
		assert_int_equal(bench.action.node, US1);
		assert_true(sent(&bench).retry);
		assert_int_equal(sent(&bench).sequence, sequence);
		if (ends == 0) { /* the table knows */
			reply(&bench, bench.action.attempt, STATUS_CONFLICT, 0, 7);
			expect_finished(&bench, STATUS_CONFLICT);
		} else { /* it does not, and says so each time */
			reply(&bench, bench.action.attempt, STATUS_UNKNOWN_OUTCOME, US1, 7);
			assert_int_equal(bench.action.kind, OPERATION_SEND);
			reply(&bench, bench.action.attempt, STATUS_UNKNOWN_OUTCOME, US1, 7);
			expect_finished(&bench, STATUS_UNKNOWN_OUTCOME);
			assert_true(bench.action.answered);
		}
		bench_end(&bench);
	}
}

/* Servers that do not forward yet, or cannot at the moment. */
static void test_a_replica_that_is_no_origin(void **state)
{
	(void)state;
	struct bench bench;
	story_start(&bench, OPERATION_PUT, "else");
	reply(&bench, bench.action.attempt, STATUS_NOT_LEADER, DE1, 7);
	assert_int_equal(bench.action.node, DE1);
	assert_false(sent(&bench).retry);
	reply(&bench, bench.action.attempt, STATUS_OK, 0, 7);
	expect_finished(&bench, STATUS_OK);
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 43, bench.now_ns);
	assert_int_equal(bench.action.node, DE1); /* without the detour for a while */
	bench.spec.deadline_ns += 10000 * MS;
	bench.action = operation_start(&bench.operation, &bench.spec, bench.router, 44, bench.now_ns + 2500 * MS);
	assert_int_equal(bench.action.node, IE1); /* then it may show that it can */
	bench_end(&bench);
}

/* --- against a model of a replicated shard ------------------------------------------------------------ */

/* One log, applied in order at once; a leader that moves; a table of results by (client, sequence), as the shards have
 * it: a retry is answered from it. The network delivers late, loses answers, breaks connections. Each write is a CAS or
 * a PUT on a register; `effects` counts how often an operation changed it. */
enum { MODEL_WRITES = 40, MODEL_EVENTS_MAX = 4000, MODEL_IN_AIR_MAX = 512 };

struct model_result {
	uint64_t client, sequence, version;
	uint32_t status;
};
struct in_air { /* a request on its way, or its answer */
	bool used, answer, gone;
	bool forward; /* from an origin to the leader: applied when it comes, answered to nobody */
	unsigned write;
	uint32_t attempt;
	uint64_t node, at_ns;
	struct message_request ask;
	struct message_reply reply;
};
struct model {
	struct prng prng;
	struct router *router;
	struct lane memory[4];
	struct lanes lanes;
	struct operation_machine operations[MODEL_WRITES];
	struct operation_action actions[MODEL_WRITES];
	struct operation_spec specs[MODEL_WRITES];
	bool finished[MODEL_WRITES];
	unsigned effects[MODEL_WRITES], effects_at_end[MODEL_WRITES];
	struct in_air air[MODEL_IN_AIR_MAX];
	struct model_result results[MODEL_WRITES];
	unsigned result_count;
	uint64_t version, leader, now_ns, epoch;
	unsigned retries, unknown, done;
	bool origins; /* replicas forward */
};

static unsigned model_write_of(const struct model *model, const struct message_request *ask)
{
	for (unsigned i = 0; i < MODEL_WRITES; i++)
		if (model->specs[i].ticket.client == ask->client && model->specs[i].ticket.sequence == ask->sequence)
			return i;
	fail_msg("a write that nobody made");
	return 0;
}

static void model_apply(struct model *model, const struct message_request *ask, struct message_reply *reply)
{
	for (unsigned i = 0; i < model->result_count; i++) {
		const struct model_result *result = &model->results[i];
		if (result->client != ask->client || result->sequence != ask->sequence)
			continue;
		reply->status = result->status;
		reply->version = result->version;
		return;
	}
	bool conflict = ask->operation == OPERATION_CAS && ask->version != model->version;
	reply->status = conflict ? STATUS_CONFLICT : STATUS_OK;
	if (!conflict) {
		model->version++;
		model->effects[model_write_of(model, ask)]++;
	}
	reply->version = model->version;
	model->results[model->result_count++] =
		(struct model_result){ ask->client, ask->sequence, model->version, reply->status };
}

static void model_forward(struct model *model, const struct message_request *ask)
{
	for (unsigned i = 0; i < MODEL_IN_AIR_MAX && prng_below(&model->prng, 3) != 0; i++) {
		struct in_air *at = &model->air[i];
		if (at->used)
			continue;
		*at = (struct in_air){ .used = true,
			.forward = true,
			.ask = *ask,
			.at_ns = model->now_ns + prng_below(&model->prng, 2000) * MS };
		return;
	}
}

static void model_serve(struct model *model, struct in_air *at)
{
	static const enum status moods[] = { STATUS_BUSY, STATUS_QUORUM_UNAVAILABLE, STATUS_STALE_MAP };
	at->reply = (struct message_reply){ .map_epoch = model->epoch };
	if (prng_below(&model->prng, 10) == 0)
		at->reply.status = moods[prng_below(&model->prng, 3)];
	else if (at->node != model->leader && model->origins) {
		if (prng_below(&model->prng, 4) != 0) {
			model_apply(model, &at->ask, &at->reply);
		} else { /* it loses track of what it forwarded: that may come yet, or never */
			at->reply.status = STATUS_UNKNOWN_OUTCOME;
			model_forward(model, &at->ask);
		}
	} else if (at->node != model->leader) {
		at->reply.status = STATUS_NOT_LEADER;
		at->reply.leader_node = prng_below(&model->prng, 3) == 0 ? 0 : model->leader;
	} else {
		model_apply(model, &at->ask, &at->reply);
	}
	at->answer = true;
	at->at_ns = model->now_ns + prng_below(&model->prng, 200) * MS;
	if (prng_below(&model->prng, 100) < 30) { /* the answer is lost: with its connection, or silently */
		at->gone = true;
		at->used = prng_below(&model->prng, 2) == 0;
	}
}

static void model_act(struct model *model, unsigned write, struct operation_action action)
{
	operation_check(&model->operations[write]);
	model->actions[write] = action;
	if (action.kind == OPERATION_FINISHED) {
		model->finished[write] = true;
		model->effects_at_end[write] = model->effects[write];
		model->done++;
		lanes_return(&model->lanes, &model->specs[write].ticket);
		return;
	}
	if (action.kind != OPERATION_SEND)
		return;
	struct message message;
	operation_message(&model->operations[write], action.node, model->now_ns, &message);
	model->retries += message.ask.retry;
	for (unsigned i = 0; i < model->result_count; i++)
		if (model->results[i].client == message.ask.client &&
			model->results[i].sequence == message.ask.sequence)
			assert_true(message.ask.retry); /* applied already: the shard must know that this is a copy */
	for (unsigned i = 0; i < MODEL_IN_AIR_MAX; i++) {
		struct in_air *at = &model->air[i];
		if (at->used)
			continue;
		*at = (struct in_air){ .used = true,
			.write = write,
			.attempt = action.attempt,
			.node = action.node,
			.ask = message.ask,
			.at_ns = model->now_ns +
				 prng_below(&model->prng, prng_below(&model->prng, 10) == 0 ? 5000 : 750) * MS };
		return;
	}
	fail_msg("too much in the air");
}

static void model_arrived(struct model *model, struct in_air *at)
{
	if (at->forward) {
		struct message_reply nobody = { 0 };
		at->used = false;
		model_apply(model, &at->ask, &nobody);
		return;
	}
	if (!at->answer && prng_below(&model->prng, 20) == 0) { /* it broke before it got there */
		at->answer = at->gone = true;
		at->at_ns = model->now_ns;
		return;
	}
	if (!at->answer) {
		model_serve(model, at);
		return;
	}
	unsigned write = at->write;
	at->used = false;
	if (model->finished[write])
		return;
	struct operation_machine *operation = &model->operations[write];
	struct operation_action action = at->gone
						 ? operation_lost(operation, at->attempt, true, model->now_ns)
						 : operation_replied(operation, at->attempt, &at->reply, model->now_ns);
	if (action.kind != OPERATION_WAIT || operation->attempt_current == 0)
		model_act(model, write, action);
}

/* The next thing to happen. False: nothing is left. */
static bool model_step(struct model *model)
{
	uint64_t next_ns = UINT64_MAX;
	struct in_air *air = NULL;
	unsigned write = MODEL_WRITES;
	for (unsigned i = 0; i < MODEL_IN_AIR_MAX; i++)
		if (model->air[i].used && model->air[i].at_ns < next_ns) {
			air = &model->air[i];
			next_ns = air->at_ns;
		}
	for (unsigned i = 0; i < MODEL_WRITES; i++)
		if (!model->finished[i] && model->operations[i].until_ns < next_ns) {
			write = i;
			next_ns = model->operations[i].until_ns;
		}
	if (next_ns == UINT64_MAX)
		return false;
	model->now_ns = next_ns > model->now_ns ? next_ns : model->now_ns;
	if (prng_below(&model->prng, 25) == 0)
		model->leader = (const uint64_t[]){ IE1, DE1, US1 }[prng_below(&model->prng, 3)];
	if (write < MODEL_WRITES)
		model_act(model, write, operation_expired(&model->operations[write], model->now_ns));
	else
		model_arrived(model, air);
	lanes_check(&model->lanes);
	return true;
}

static void model_judge(const struct model *model)
{
	unsigned effects = 0;
	for (unsigned i = 0; i < MODEL_WRITES; i++) {
		enum status status = model->actions[i].status;
		assert_true(model->effects[i] <= 1);
		effects += model->effects[i];
		if (status == STATUS_OK)
			assert_int_equal(model->effects_at_end[i], 1);
		else if (status != STATUS_UNKNOWN_OUTCOME)
			assert_int_equal(model->effects[i], 0); /* neither then nor ever */
	}
	assert_int_equal(effects, model->version); /* no update lost, none invented */
}

static void test_applied_at_most_once(void **state)
{
	(void)state;
	unsigned retries = 0, unknown = 0, fine = 0, refused = 0;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct model *model = calloc(1, sizeof(*model));
		prng_seed(&model->prng, seed);
		model->router = router_at("eu/ie/eu-west-1");
		model->leader = DE1;
		model->origins = seed % 3 != 0;
		model->epoch = 7;
		lanes_init(&model->lanes, model->memory, 4, seed);
		for (unsigned i = 0; i < MODEL_WRITES; i++) {
			model->specs[i] = (struct operation_spec){
				.operation = i % 2 ? OPERATION_CAS : OPERATION_PUT,
				.key = bytes_text("register"),
				.value = bytes_text("v"),
				.version = prng_below(&model->prng, 6),
				.deadline_ns = (2000 + prng_below(&model->prng, 8000)) * MS,
				.lanes = &model->lanes,
			};
			assert_true(lanes_take(&model->lanes, &model->specs[i].ticket));
			model_act(model, i,
				operation_start(
					&model->operations[i], &model->specs[i], model->router, seed * 100 + i, 0));
		}
		unsigned events = 0;
		while (model_step(model))
			assert_true(events++ < MODEL_EVENTS_MAX);
		assert_int_equal(model->done, MODEL_WRITES);
		model_judge(model);
		retries += model->retries;
		for (unsigned i = 0; i < MODEL_WRITES; i++) {
			unknown += model->actions[i].status == STATUS_UNKNOWN_OUTCOME;
			fine += model->actions[i].status == STATUS_OK || model->actions[i].status == STATUS_CONFLICT;
			refused += model->actions[i].status == STATUS_BUSY ||
				   model->actions[i].status == STATUS_QUORUM_UNAVAILABLE;
		}
		free(model->router);
		free(model);
	}
	print_message("%u answered, %u unknown, %u refused, %u retries\n", fine, unknown, refused, retries);
	assert_true(retries > 1000); /* the run was about something */
	assert_true(fine > 300 * MODEL_WRITES / 2);
	assert_true(unknown > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_every_status),
		cmocka_unit_test(test_the_retry_flag),
		cmocka_unit_test(test_silence_asks_another_and_late_answers_count),
		cmocka_unit_test(test_an_answer_counts_once),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_a_session_that_saw_a_newer_map),
		cmocka_unit_test(test_newer_map),
		cmocka_unit_test(test_never_to_another_shard),
		cmocka_unit_test(test_to_a_shard_that_inherits),
		cmocka_unit_test(test_whose_answer_it_is),
		cmocka_unit_test(test_refused_before_a_byte_leaves),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_scan_of_one_shard),
		cmocka_unit_test(test_a_held_read_is_asked_elsewhere),
		cmocka_unit_test(test_a_replica_beside_is_asked_earlier),
		cmocka_unit_test(test_second_questions_have_a_budget),
		cmocka_unit_test(test_second_questions_stay_where_the_policy_allows),
		cmocka_unit_test(test_a_refused_second_question_changes_nothing),
		cmocka_unit_test(test_reads_fail_over_at_once),
		cmocka_unit_test(test_a_slow_write_goes_to_the_leader_too),
		cmocka_unit_test(test_a_lost_origin),
		cmocka_unit_test(test_an_origin_that_lost_track),
		cmocka_unit_test(test_a_replica_that_is_no_origin),
		cmocka_unit_test(test_applied_at_most_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
