/* tests/unit/server/test_group_driver_lease.c: replicas that answer without asking: origins of writes, responders of
 * reads (docs/leases.md), and what is held meanwhile. */
#include "tests/unit/server/driver_cluster.h"

static struct cluster cluster;

static int setup(void **state)
{
	*state = &cluster;
	cluster_open(&cluster);
	cluster_of_three(&cluster, SLOT_SHARD);
	return 0;
}

static int setup_empty(void **state)
{
	*state = &cluster;
	cluster_open(&cluster);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster_close(&cluster);
	return 0;
}

static struct driver *driver_at(uint64_t node)
{
	return cluster.nodes[node].drivers[SLOT_SHARD];
}

static uint64_t other_than(uint64_t leader, unsigned nth)
{
	return (leader - 1 + 1 + nth) % 3 + 1;
}

static uint64_t term_at(uint64_t node)
{
	return group_status(driver_group(driver_at(node)), cluster.time.now_ns).term;
}

static bool may_read(uint64_t node)
{
	return driver_may_read(driver_at(node), cluster.time.now_ns);
}

/* Every copy may read alone from here on. */
static uint64_t local_reads(void)
{
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	struct membership wanted = *group_membership(driver_group(driver_at(leader)));
	wanted.local_reads = true;
	assert_int_equal(driver_change_membership(driver_at(leader), &wanted, cluster.time), STATUS_OK);
	for (unsigned i = 0; i < 200 && !(may_read(1) && may_read(2) && may_read(3)); i++)
		cluster_run(&cluster, 20);
	for (uint64_t node = 1; node <= 3; node++)
		assert_true(may_read(node));
	assert_int_equal(cluster_leader(&cluster, SLOT_SHARD), leader);
	return leader;
}

static enum driver_read_now read_key(uint64_t node, const char *key, uint64_t *token)
{
	struct driver_read_of of = { .key_hash = hash64(bytes_text(key)) };
	*token = token_next(&cluster);
	return driver_read_by_lease(driver_at(node), *token, &of, cluster.time.now_ns);
}

static enum driver_read_now scan_prefix(uint64_t node, const char *prefix, uint64_t *token)
{
	struct driver_read_of of = { .scan = true, .prefix = bytes_text(prefix) };
	*token = token_next(&cluster);
	return driver_read_by_lease(driver_at(node), *token, &of, cluster.time.now_ns);
}

/* Until the entry is in that replica's log, or applied, whichever comes first. */
static void await_in_log(uint64_t node, uint64_t last_before)
{
	for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
		if (group_status(driver_group(driver_at(node)), cluster.time.now_ns).last > last_before)
			return;
		cluster_step(&cluster);
	}
	fail_msg("the entry never came");
}

/* --- origins -------------------------------------------------------------------------------------------------- */

static void test_a_follower_takes_a_write_and_answers_it(void **state)
{
	(void)state;
	char value[16];
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0);
	struct command command = by(put("k", "v1"), 77, 1, false);
	assert_true(driver_takes_writes(driver_at(origin)));
	struct driver_outcome first = await(&cluster, propose(&cluster, origin, &command))->outcome;
	assert_int_equal(first.status, STATUS_OK);
	assert_true(driver_applied(driver_at(origin)) >= first.index);
	assert_int_equal(read_at(&cluster, leader, "k", value, sizeof(value)), first.version);
	/* A compare-and-set is decided by the state, which the origin has. */
	struct command cas = by((struct command){ .kind = COMMAND_CAS,
					.key = bytes_text("k"),
					.value = bytes_text("v2"),
					.version = first.version + 1 },
		77, 2, false);
	struct driver_outcome second = await(&cluster, propose(&cluster, origin, &cas))->outcome;
	assert_int_equal(second.status, STATUS_CONFLICT);
	assert_int_equal(second.version, first.version);
	/* The same once more, elsewhere: the first answer. */
	command.retry = true;
	struct driver_outcome again = await(&cluster, propose(&cluster, other_than(leader, 1), &command))->outcome;
	assert_int_equal(again.status, STATUS_OK);
	assert_true(again.duplicate);
	assert_int_equal(again.version, first.version);
}

static void test_what_has_no_client_is_not_forwarded(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	struct command command = put("k", "v");
	struct driver_outcome outcome = await(&cluster, propose(&cluster, other_than(leader, 0), &command))->outcome;
	assert_int_equal(outcome.status, STATUS_NOT_LEADER);
	assert_int_equal(outcome.leader, replica_of(leader, SLOT_SHARD));
}

/* Its leader is cut off at one step or another of the way: the origin answers all the same, and the write took effect
 * once. */
static void test_a_write_goes_on_to_the_next_leader(void **state)
{
	(void)state;
	char value[16];
	for (unsigned steps = 0; steps < 12; steps++) {
		uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, steps % 2);
		char key[16];
		snprintf(key, sizeof(key), "k%u", steps);
		struct command command = by(put(key, "v"), 77, steps + 1, false);
		uint64_t token = propose(&cluster, origin, &command);
		for (unsigned i = 0; i < steps; i++)
			cluster_step(&cluster);
		cluster.nodes[leader].cut = true;
		struct driver_outcome outcome = await(&cluster, token)->outcome;
		assert_int_equal(outcome.status, STATUS_OK);
		assert_true(driver_applied(driver_at(origin)) >= outcome.index);
		cluster.nodes[leader].cut = false;
		cluster_run(&cluster, 3000);
		assert_int_equal(read_at(&cluster, cluster_leader(&cluster, SLOT_SHARD), key, value, sizeof(value)),
			outcome.version);
	}
	assert_converged(&cluster, SLOT_SHARD);
	/* Who has lost sight of the first copy says so in the second. */
	assert_true(cluster.retries_sent > 0);
}

/* Writes of every copy while the leader hands over, again and again: none fails, and the origin is told of each. */
static void test_a_hand_over_refuses_no_write(void **state)
{
	(void)state;
	for (unsigned round = 0, sequence = 0; round < 20; round++) {
		uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), tokens[60];
		for (unsigned i = 0; i < 60; i++) {
			uint64_t node = i % 3 + 1;
			struct command command = by(put("k", "v"), 70 + node, ++sequence, false);
			if (i == 20)
				driver_transfer(driver_at(leader),
					replica_of(other_than(leader, round % 2), SLOT_SHARD), cluster.time);
			tokens[i] = propose(&cluster, node, &command);
			cluster_step(&cluster);
		}
		for (unsigned i = 0; i < 60; i++)
			assert_int_equal(await(&cluster, tokens[i])->outcome.status, STATUS_OK);
		assert_int_not_equal(cluster_leader(&cluster, SLOT_SHARD), leader);
	}
	assert_converged(&cluster, SLOT_SHARD);
}

/* The origin has not heard of the next leader: the former one says that nothing happened there, so the write goes on as
 * a new one. */
static void test_a_write_that_a_former_leader_refuses_goes_on(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0);
	uint64_t next = other_than(leader, 1);
	cluster_run(&cluster, 200);
	cluster.nodes[origin].cut = true;
	driver_transfer(driver_at(leader), replica_of(next, SLOT_SHARD), cluster.time);
	for (unsigned steps = 0; steps < 100 && !driver_leads(driver_at(next)); steps++)
		cluster_step(&cluster);
	assert_false(driver_leads(driver_at(leader)));
	cluster.nodes[next].cut = true;
	cluster.nodes[origin].cut = false;
	struct command command = by(put("k", "v"), 77, 1, false);
	uint64_t token = propose(&cluster, origin, &command);
	for (unsigned i = 0; i < 4; i++)
		cluster_step(&cluster);
	assert_int_equal(driver_leader_node(driver_at(origin)), leader);
	cluster.nodes[next].cut = false;
	assert_int_equal(await(&cluster, token)->outcome.status, STATUS_OK);
	assert_int_equal(cluster.retries_sent, 0);
	assert_int_equal(cluster_leader(&cluster, SLOT_SHARD), next);
}

/* The origin has answered by notes before the leader hears of anything; its client missed the answer and asks the
 * leader. Both copies are in the log; one took effect, and the answer is that one's. */
static void test_what_an_origin_answered_counts_once_at_the_leader(void **state)
{
	(void)state;
	char value[16];
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0);
	struct command absent = { .kind = COMMAND_CAS, .key = bytes_text("k"), .value = bytes_text("v") };
	struct command command = by(absent, 77, 1, false);
	cluster.unanswered = leader;
	struct driver_outcome first = await(&cluster, propose(&cluster, origin, &command))->outcome;
	assert_int_equal(first.status, STATUS_OK);
	assert_true(driver_applied(driver_at(leader)) < first.index);
	command.retry = true;
	uint64_t token = propose(&cluster, leader, &command);
	cluster_run(&cluster, 20);
	assert_false(cluster.answers[token].done);
	assert_true(group_status(driver_group(driver_at(leader)), cluster.time.now_ns).last > first.index);
	cluster.unanswered = 0;
	struct driver_outcome again = await(&cluster, token)->outcome;
	assert_int_equal(again.status, STATUS_OK); /* not a conflict with itself */
	assert_true(again.duplicate);
	assert_int_equal(again.version, first.version);
	assert_int_equal(read_at(&cluster, leader, "k", value, sizeof(value)), first.version);
	assert_converged(&cluster, SLOT_SHARD);
}

/* What was handed to a leader may be in its log, whoever says later that nobody leads. */
static void test_what_was_forwarded_ends_as_unknown_without_a_leader(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0);
	cluster.nodes[leader].cut = cluster.nodes[other_than(leader, 1)].cut = true;
	struct command command = by(put("k", "v"), 77, 1, false), late = by(put("k", "late"), 77, 2, false);
	uint64_t token = propose(&cluster, origin, &command);
	for (unsigned i = 0; i < 200 && driver_leader_node(driver_at(origin)) != 0; i++)
		cluster_run(&cluster, 20);
	uint64_t token_late = propose(&cluster, origin, &late);
	assert_int_equal(await(&cluster, token)->outcome.status, STATUS_UNKNOWN_OUTCOME);
	assert_int_equal(await(&cluster, token_late)->outcome.status, STATUS_NOT_LEADER);
	cluster.nodes[leader].cut = cluster.nodes[other_than(leader, 1)].cut = false;
	command.retry = true;
	assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
}

/* The first copy of a write meets a fence that is gone when the second one comes. What the client hears must not say
 * that nothing happened. */
static void test_a_fence_that_only_one_copy_meets_is_no_refusal(void **state)
{
	(void)state;
	char value[16];
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0),
		 next = other_than(leader, 1);
	struct command fence = { .kind = COMMAND_FENCE, .operation = 5, .map_epoch = 3, .key = bytes_text("k") };
	struct command unfence = { .kind = COMMAND_UNFENCE, .operation = 5, .map_epoch = 4 };
	assert_int_equal(commit(&cluster, &fence).status, STATUS_OK);
	cluster_run(&cluster, 200);
	uint64_t last = group_status(driver_group(driver_at(next)), cluster.time.now_ns).last;
	struct command command = by(put("k", "v"), 77, 1, false);
	command.map_epoch = unfence.map_epoch;
	uint64_t token = propose(&cluster, origin, &command);
	cluster_step(&cluster);
	cluster.nodes[origin].cut = true; /* the first copy comes into every other log */
	await_in_log(next, last);
	cluster.nodes[leader].cut = true;
	cluster.nodes[origin].cut = false;
	for (unsigned steps = 0; steps < STEPS_MAX && !driver_leads(driver_at(next)); steps++)
		cluster_step(&cluster);
	propose(&cluster, next, &unfence);
	assert_int_equal(await(&cluster, token)->outcome.status, STATUS_UNKNOWN_OUTCOME);
	cluster_run(&cluster, 1000);
	assert_int_not_equal(read_at(&cluster, next, "k", value, sizeof(value)), 0);
}

/* A forward as an origin would send it; it lives as long as `forged`. */
struct forged {
	uint8_t body[256];
	struct bytes bytes;
	struct entry entry;
};
static struct message forge(
	struct forged *forged, uint64_t origin, uint64_t leader, const struct command *command, uint64_t number)
{
	struct packer packer;
	pack_init(&packer, forged->body, sizeof(forged->body));
	command_encode(command, &packer);
	forged->bytes = pack_result(&packer);
	forged->entry = (struct entry){ .kind = ENTRY_COMMAND, .size = (uint32_t)forged->bytes.size };
	struct message forward = { .kind = MESSAGE_FORWARD,
		.group = SHARD_GROUP,
		.from = replica_of(origin, SLOT_SHARD),
		.to = replica_of(leader, SLOT_SHARD),
		.term = term_at(leader) };
	forward.forward.boot = 5;
	forward.forward.first = number;
	forward.forward.count = 1;
	forward.forward.entries = &forged->entry;
	forward.forward.bodies = &forged->bytes;
	return forward;
}

/* A copy of a forward that comes late proposes nothing: else a refusal could turn into a write. */
static void test_a_forward_is_taken_once(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0);
	struct command command = by(put("k", "v"), 77, 1, false);
	struct forged forged;
	struct message forward = forge(&forged, origin, leader, &command, 9);
	uint64_t last = group_status(driver_group(driver_at(leader)), cluster.time.now_ns).last;
	for (unsigned i = 0; i < 3; i++) {
		driver_received_forward(driver_at(leader), origin, &forward, false, cluster.time);
		cluster_run(&cluster, 50);
	}
	assert_int_equal(group_status(driver_group(driver_at(leader)), cluster.time.now_ns).last, last + 1);
	/* From another node than its replica's it is not taken at all. */
	forward = forge(&forged, origin, leader, &command, 10);
	driver_received_forward(driver_at(leader), other_than(leader, 1), &forward, false, cluster.time);
	/* Nor what is no write of a client. */
	command.kind = COMMAND_FENCE;
	forward = forge(&forged, origin, leader, &command, 11);
	driver_received_forward(driver_at(leader), origin, &forward, false, cluster.time);
	cluster_run(&cluster, 50);
	assert_int_equal(group_status(driver_group(driver_at(leader)), cluster.time.now_ns).last, last + 1);
}

static void lead_from(uint64_t node)
{
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD);
	if (leader != node)
		driver_transfer(driver_at(leader), replica_of(node, SLOT_SHARD), cluster.time);
	for (unsigned i = 0; i < 200 && cluster_leader(&cluster, SLOT_SHARD) != node; i++)
		cluster_run(&cluster, 20);
	assert_int_equal(cluster_leader(&cluster, SLOT_SHARD), node);
	cluster_run(&cluster, 200);
}

/* Whether that many messages answered it at once. */
static void forward_answered(uint64_t to, uint64_t from, const struct message *forward, size_t answers)
{
	size_t before = cluster.end;
	driver_received_forward(driver_at(to), from, forward, false, cluster.time);
	assert_int_equal(cluster.end - before, answers);
	cluster_run(&cluster, 50);
}

/* Copies that come when the leader leads no more, or again: what was taken is not refused, what was refused is not
 * taken.
 */
static void test_a_forward_is_refused_once(void **state)
{
	(void)state;
	char value[16];
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0);
	struct command command = by(put("taken", "v"), 77, 1, false), other = by(put("refused", "v"), 77, 2, false);
	struct forged forged;
	struct message forward = forge(&forged, origin, leader, &command, 9);
	forward_answered(leader, origin, &forward, 0);
	assert_int_not_equal(read_at(&cluster, leader, "taken", value, sizeof(value)), 0);
	lead_from(other_than(leader, 1));
	forward_answered(leader, origin, &forward, 0);
	uint64_t term = forward.term;
	forward = forge(&forged, origin, leader, &other, 10);
	forward.term = term;
	forward_answered(leader, origin, &forward, 1);
	lead_from(leader);
	forward_answered(leader, origin, &forward, 0);
	/* Nor is one taken that is of an earlier term: its origin has sent it on. */
	forward.forward.first = 11;
	forward_answered(leader, origin, &forward, 1);
	assert_int_equal(read_at(&cluster, leader, "refused", value, sizeof(value)), 0);
	forward.term = term_at(leader);
	forward.forward.first = 12;
	forward_answered(leader, origin, &forward, 0);
	assert_int_not_equal(read_at(&cluster, leader, "refused", value, sizeof(value)), 0);
}

/* A leader that leads no more does not lead its term again: while nobody else is heard of, writes wait, then are
 * refused without a further way there. */
static void test_nothing_more_is_sent_to_a_leader_that_gave_up(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), origin = other_than(leader, 0);
	struct message refusal = { .kind = MESSAGE_FORWARD_REPLY,
		.group = SHARD_GROUP,
		.from = replica_of(leader, SLOT_SHARD),
		.to = replica_of(origin, SLOT_SHARD),
		.term = term_at(leader) };
	refusal.forward_reply.first = refusal.forward_reply.count = 1;
	refusal.forward_reply.status = STATUS_NOT_LEADER;
	struct command first = by(put("k", "v"), 77, 1, false), late = by(put("k", "late"), 77, 2, false);
	uint64_t token = propose(&cluster, origin, &first), since = cluster.time.now_ns;
	driver_turn(driver_at(origin), cluster.time);
	packets_drop(&cluster);
	driver_received(driver_at(origin), leader, &refusal, cluster.time);
	assert_int_equal(await(&cluster, token)->outcome.status, STATUS_NOT_LEADER);
	assert_true(cluster.time.now_ns - since >= UINT64_C(1000) * 1000000);
	assert_false(driver_takes_writes(driver_at(origin)));
	assert_int_equal(await(&cluster, propose(&cluster, origin, &late))->outcome.status, STATUS_NOT_LEADER);
	assert_int_equal(group_status(driver_group(driver_at(leader)), cluster.time.now_ns).last,
		driver_applied(driver_at(leader)));
}

/* Its entries could not name it: it takes no writes, rather than have each of them refused by a leader that goes on. */
static void test_who_cannot_be_named_is_no_origin(void **state)
{
	(void)state;
	const uint64_t replicas[] = { 0, 1 << 16, (1 << 16) + 30, 30 };
	struct membership membership = membership_of(SLOT_SHARD, (const uint64_t[]){ 1, 2, 3 }, 3);
	for (uint64_t node = 1; node <= 3; node++)
		membership.at[node - 1].replica = replicas[node];
	for (uint64_t node = 1; node <= 3; node++)
		node_create_as(&cluster.nodes[node], SLOT_SHARD, replicas[node], &membership);
	for (unsigned tries = 0; cluster_leader(&cluster, SLOT_SHARD) != 3; tries++) {
		assert_true(tries < 20);
		driver_transfer(driver_at(cluster_leader(&cluster, SLOT_SHARD)), 30, cluster.time);
		cluster_run(&cluster, 500);
	}
	cluster_run(&cluster, 500);
	for (uint64_t node = 1; node <= 2; node++) {
		struct command command = by(put("k", "v"), 77, node, false);
		uint64_t since = cluster.time.now_ns;
		assert_false(driver_takes_writes(driver_at(node)));
		struct driver_outcome outcome = await(&cluster, propose(&cluster, node, &command))->outcome;
		assert_int_equal(outcome.status, STATUS_NOT_LEADER);
		assert_int_equal(outcome.leader, 30);
		assert_true(cluster.time.now_ns - since < UINT64_C(100) * 1000000);
	}
}

/* --- responders ----------------------------------------------------------------------------------------------- */

static void test_only_the_leader_reads_alone_unless_told(void **state)
{
	(void)state;
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), token;
	cluster_run(&cluster, 500);
	assert_int_equal(read_key(leader, "k", &token), DRIVER_READ_SERVE);
	assert_int_equal(read_key(other_than(leader, 0), "k", &token), DRIVER_READ_ASK);
}

static void test_a_read_is_held_on_what_writes_its_key(void **state)
{
	(void)state;
	uint64_t leader = local_reads(), responder = other_than(leader, 0), held, token;
	/* The first read by lease begins to keep account of keys. */
	assert_int_equal(read_key(responder, "k/1", &token), DRIVER_READ_SERVE);
	assert_int_equal(read_key(leader, "k/1", &token), DRIVER_READ_SERVE);
	uint64_t last = group_status(driver_group(driver_at(responder)), cluster.time.now_ns).last;
	struct command command = by(put("k/1", "new"), 77, 1, false);
	uint64_t write = propose(&cluster, leader, &command);
	await_in_log(responder, last);
	assert_true(driver_applied(driver_at(responder)) <= last);
	assert_int_equal(read_key(responder, "k/1", &held), DRIVER_READ_HELD);
	assert_int_equal(read_key(responder, "other", &token), DRIVER_READ_SERVE);
	assert_int_equal(scan_prefix(responder, "other", &token), DRIVER_READ_SERVE);
	assert_int_equal(scan_prefix(responder, "k/", &token), DRIVER_READ_HELD);
	assert_int_equal(read_key(leader, "k/1", &token), DRIVER_READ_HELD); /* the leader too */
	assert_false(cluster.answers[held].done);
	assert_int_equal(await(&cluster, held)->outcome.status, STATUS_OK);
	assert_true(driver_applied(driver_at(responder)) > last);
	assert_int_equal(await(&cluster, write)->outcome.status, STATUS_OK);
	assert_int_equal(read_key(responder, "k/1", &token), DRIVER_READ_SERVE);
}

static void test_a_held_read_looks_again_when_its_leader_is_gone(void **state)
{
	(void)state;
	uint64_t leader = local_reads(), responder = other_than(leader, 0), held;
	uint64_t last = group_status(driver_group(driver_at(responder)), cluster.time.now_ns).last;
	struct command command = by(put("k", "new"), 77, 1, false);
	propose(&cluster, leader, &command);
	await_in_log(responder, last);
	assert_int_equal(read_key(responder, "k", &held), DRIVER_READ_HELD);
	cluster.nodes[leader].cut = true;
	cluster.nodes[other_than(leader, 1)].cut = true; /* nobody commits it */
	assert_int_equal(await(&cluster, held)->outcome.status, STATUS_CANCELLED);
	assert_false(may_read(responder));
}

/* A responder that is cut off holds writes up for as long as it may still answer reads, and no longer. */
static void test_no_write_while_a_responder_may_not_know(void **state)
{
	(void)state;
	uint64_t leader = local_reads(), responder = other_than(leader, 0);
	cluster.nodes[responder].cut = true;
	struct command command = by(put("k", "new"), 77, 1, false);
	uint64_t write = propose(&cluster, leader, &command), since = cluster.time.now_ns;
	for (unsigned steps = 0; steps < STEPS_MAX && !cluster.answers[write].done; steps++) {
		cluster_step(&cluster);
		if (cluster.answers[write].done)
			assert_false(may_read(responder));
	}
	assert_int_equal(cluster.answers[write].outcome.status, STATUS_OK);
	assert_true(cluster.time.now_ns - since < UINT64_C(3000) * 1000000);
	cluster.nodes[responder].cut = false;
	for (unsigned i = 0; i < 200 && !may_read(responder); i++)
		cluster_run(&cluster, 20);
	assert_true(may_read(responder)); /* and it comes back, with what it has missed */
	assert_true(driver_applied(driver_at(responder)) >= cluster.answers[write].outcome.index);
}

static void test_a_restarted_responder_holds_all_until_it_has_caught_up(void **state)
{
	(void)state;
	char value[16];
	uint64_t leader = local_reads(), responder = other_than(leader, 0), token;
	node_stop(&cluster.nodes[responder], false);
	node_start(&cluster.nodes[responder]);
	assert_int_equal(read_key(responder, "k", &token), DRIVER_READ_ASK);
	struct command command = by(put("k", "v"), 77, 1, false);
	assert_int_equal(commit(&cluster, &command).status, STATUS_OK);
	for (unsigned i = 0; i < 300 && !may_read(responder); i++)
		cluster_run(&cluster, 20);
	assert_true(may_read(responder));
	assert_int_not_equal(read_at(&cluster, responder, "k", value, sizeof(value)), 0);
	assert_string_equal(value, "v");
}

/* Its table of keys is gone with the process: all that it finds in its log and has not applied holds every read. */
static void test_a_restarted_responder_knows_of_no_key_that_it_is_untouched(void **state)
{
	(void)state;
	uint64_t leader = local_reads(), responder = other_than(leader, 0), held;
	uint64_t last = group_status(driver_group(driver_at(responder)), cluster.time.now_ns).last;
	unsigned asked = 0;
	cluster.nodes[other_than(leader, 1)].cut = true; /* it reads on for a while: nothing is committed */
	struct command command = by(put("k", "new"), 77, 1, false);
	uint64_t write = propose(&cluster, leader, &command);
	await_in_log(responder, last);
	cluster_run(&cluster, 2);
	node_stop(&cluster.nodes[responder], false);
	node_start(&cluster.nodes[responder]);
	for (unsigned steps = 0; steps < STEPS_MAX && !cluster.answers[write].done; steps++) {
		if (asked == 0 && may_read(responder) && driver_applied(driver_at(responder)) <= last) {
			assert_int_equal(read_key(responder, "k", &held), DRIVER_READ_HELD);
			assert_int_equal(read_key(responder, "other", &held), DRIVER_READ_HELD);
			asked++;
		}
		cluster_step(&cluster);
	}
	assert_int_equal(asked, 1);
	assert_int_equal(await(&cluster, held)->outcome.status, STATUS_OK);
	assert_true(driver_applied(driver_at(responder)) > last);
}

/* --- age ------------------------------------------------------------------------------------------------------ */

static void test_the_state_is_as_young_as_the_last_round(void **state)
{
	(void)state;
	char value[16];
	uint64_t leader = cluster_leader(&cluster, SLOT_SHARD), node = other_than(leader, 0);
	assert_int_equal(driver_fresh_ns(driver_at(node)), 0);
	uint64_t asked = cluster.time.now_ns;
	read_at(&cluster, node, "k", value, sizeof(value));
	uint64_t fresh = driver_fresh_ns(driver_at(node));
	assert_true(fresh >= asked);
	assert_true(fresh <= cluster.time.now_ns);
	cluster_run(&cluster, 1000);
	assert_int_equal(driver_fresh_ns(driver_at(node)), fresh); /* nobody asked: nothing is known */
	driver_refresh(driver_at(node));
	assert_true(driver_needs_turn(driver_at(node)));
	cluster_run(&cluster, 100);
	assert_true(driver_fresh_ns(driver_at(node)) > fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_follower_takes_a_write_and_answers_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_has_no_client_is_not_forwarded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_write_goes_on_to_the_next_leader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hand_over_refuses_no_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_write_that_a_former_leader_refuses_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_was_forwarded_ends_as_unknown_without_a_leader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_fence_that_only_one_copy_meets_is_no_refusal, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_an_origin_answered_counts_once_at_the_leader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_forward_is_taken_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_forward_is_refused_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_more_is_sent_to_a_leader_that_gave_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_cannot_be_named_is_no_origin, setup_empty, teardown),
		cmocka_unit_test_setup_teardown(test_only_the_leader_reads_alone_unless_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_read_is_held_on_what_writes_its_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_held_read_looks_again_when_its_leader_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_write_while_a_responder_may_not_know, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_restarted_responder_holds_all_until_it_has_caught_up, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_restarted_responder_knows_of_no_key_that_it_is_untouched, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_state_is_as_young_as_the_last_round, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
