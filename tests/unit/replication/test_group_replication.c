/* What is in the log, what is durable of it, what commits; flow control and snapshots. */
#include "tests/unit/replication/cluster.h"

static void deliver(struct cluster *cluster, const struct message *message)
{
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = message;
	step(cluster, (unsigned)message->to - 1, &event);
}

static struct message append_from(unsigned from, unsigned to, uint64_t term)
{
	return (struct message){
		.kind = MESSAGE_APPEND, .group = 7, .from = from + 1, .to = to + 1, .term = term, .append.first = 1
	};
}

static void test_entries_commit_and_apply_everywhere(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 1);
	unsigned leader = await_leader(cluster, 5000);
	for (unsigned i = 0; i < 50; i++) {
		propose(cluster, leader, 4);
		run_ms(cluster, 1);
	}
	run_ms(cluster, 20);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(cluster->nodes[i].committed, 201);
	for (uint64_t index = 2; index <= 201; index++)
		assert_true(cluster->history[index].version > cluster->history[index - 1].version);
	cluster_free(cluster);
}

/* C02: under a load that never pauses, commit follows last by about a round trip. */
static void test_commit_keeps_up_with_constant_load(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 2);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 50);
	for (unsigned i = 0; i < 500; i++) {
		propose(cluster, leader, 5);
		run_ms(cluster, 1);
		struct group_status status = status_of(cluster, leader);
		assert_true(status.last - status.commit <= 5 * 5);
	}
	cluster_free(cluster);
}

static unsigned carried[NODES_MAX][LOG_MAX]; /* appends with that entry, to whom */

static bool count_entries(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	if (message->kind == MESSAGE_APPEND)
		for (uint64_t index = message->append.first; index <= message->append.last; index++)
			carried[message->to - 1][index]++;
	return true;
}

/* Entries and news of commits that are under way together on a long way: an answer to the older is a sign of life.
 * Taken for silence, entries go again, and the next ones wait for a round trip. */
static void test_nothing_goes_twice_on_a_long_way(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 3);
	for (unsigned i = 0; i < 3; i++)
		cluster->far_us[i] = 10000; /* round trips of 42 ms; 50 ms are waited for an answer */
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 500);
	uint64_t first = status_of(cluster, leader).last + 1;
	memset(carried, 0, sizeof(carried));
	cluster->filter = count_entries;
	for (unsigned gap = 1; gap < 120; gap += 7) {
		propose(cluster, leader, 1);
		run_ms(cluster, gap);
		propose(cluster, leader, 1);
		run_ms(cluster, 70);
	}
	run_ms(cluster, 200);
	for (uint64_t index = first; index <= status_of(cluster, leader).last; index++)
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(carried[i][index], i == leader ? 0 : 1);
	cluster_free(cluster);
}

/* Where reads are held until a commit is known, news of it do not wait for the answer to what is under way. */
static void test_commits_are_told_at_once_where_reads_are_held(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	membership.local_reads = true;
	struct cluster *cluster = cluster_new(3, &membership, 3);
	cluster->append_window = 16;
	cluster_start(cluster);
	for (unsigned i = 0; i < 3; i++)
		cluster->far_us[i] = 10000;
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 2000);
	uint64_t index = status_of(cluster, leader).last;
	propose(cluster, leader, 1);
	run_ms(cluster, 15);
	propose(cluster, leader, 1);
	run_ms(cluster, 20);
	propose(cluster, leader, 1); /* under way when the first two commit, at 42 and 57 ms */
	run_ms(cluster, 30);
	for (unsigned i = 0; i < 3; i++)
		assert_true(status_of(cluster, i).commit >= index + 1); /* at 42 + 21 ms */
	run_ms(cluster, 15);
	for (unsigned i = 0; i < 3; i++)
		assert_true(status_of(cluster, i).commit >= index + 2);
	cluster_free(cluster);
}

/* Figure 8 (C01): an entry of an old term on a majority is not committed by counting, and may be replaced. */
static void test_figure_8(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvvvv");
	struct cluster *cluster = cluster_new(5, &membership, 3);
	for (unsigned i = 0; i < 5; i++) { /* (c): S1 has led term 2 and leads 4; S5 has led term 3 */
		struct disk *disk = &cluster->nodes[i].disk;
		disk->term = 3;
		disk->last = 1;
		disk->log[1].entry = (struct entry){ .index = 1, .term = 1, .version = 1, .kind = ENTRY_NOOP };
		uint64_t term = i < 2 ? 2 : i == 4 ? 3 : 0;
		if (term == 0)
			continue;
		disk->last = 2;
		disk->log[2].entry =
			(struct entry){ .index = 2, .term = term, .version = 10 + term, .kind = ENTRY_COMMAND };
	}
	/* S1 wins with S2 and S3, and its no-op (index 3) reaches nobody; index 2 reaches S3. */
	for (unsigned i = 0; i < 3; i++)
		node_start(cluster, i, true);
	cluster->append_entries_max = 1;
	unsigned leader = await_leader(cluster, 8000);
	assert_true(leader < 2);
	uint64_t index = group_term_of(cluster->nodes[leader].group, 2);
	assert_int_equal(index, 2);
	/* Once an entry of the own term stands on a majority, both are committed, and S5 cannot win any more. */
	run_ms(cluster, 100);
	assert_true(status_of(cluster, leader).commit >= 3);
	node_start(cluster, 3, true);
	node_start(cluster, 4, true);
	node_crash(cluster, leader);
	run_ms(cluster, 8000);
	assert_true(leader_of(cluster) >= 0);
	assert_int_not_equal(leader_of(cluster), 4);
	run_ms(cluster, 1000);
	assert_int_equal(group_term_of(cluster->nodes[4].group, 2), 2); /* S5's own was replaced */
	cluster_free(cluster);
}

/* The counting itself: a leader whose old-term entry is on all, its own term's on none, commits nothing. */
static void test_old_terms_are_not_counted(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 3);
	cluster->append_entries_max = 1;
	cluster->append_window = 1;
	for (unsigned i = 0; i < 3; i++) {
		struct disk *disk = &cluster->nodes[i].disk;
		disk->term = 2;
		disk->last = 2;
		disk->log[1].entry = (struct entry){ .index = 1, .term = 1, .version = 1, .kind = ENTRY_NOOP };
		disk->log[2].entry = (struct entry){ .index = 2, .term = 2, .version = 2, .kind = ENTRY_COMMAND };
	}
	cluster->entries_upto = 2;
	cluster_start(cluster);
	run_ms(cluster, 3000);
	int leader = leader_of(cluster);
	assert_true(leader >= 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(group_term_of(cluster->nodes[i].group, 2), 2); /* on all three */
		assert_int_equal(status_of(cluster, i).commit, 0);
	}
	struct group_progress progress;
	assert_true(group_progress(cluster->nodes[leader].group, (uint64_t)(leader + 1) % 3 + 1, &progress));
	assert_int_equal(progress.match, 2); /* the leader knows */
	cluster->entries_upto = 0;
	run_ms(cluster, 2000);
	assert_true(status_of(cluster, 0).commit >= 3);
	cluster_free(cluster);
}

/* The leader counts itself only when durable; followers acknowledge only what is. */
static void test_nothing_commits_before_it_is_durable(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 4);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	disk_stop(cluster, leader);
	disk_stop(cluster, (leader + 1) % 3);
	propose(cluster, leader, 2);
	run_ms(cluster, 300);
	assert_int_equal(status_of(cluster, (leader + 1) % 3).last, 3);
	assert_int_equal(status_of(cluster, leader).commit, 1);
	disk_resume(cluster, (leader + 1) % 3);
	run_ms(cluster, 300);
	assert_int_equal(status_of(cluster, leader).commit, 3); /* by the other two */
	assert_int_equal(cluster->nodes[leader].committed, 1);	/* not applied before its own journal has it */
	disk_resume(cluster, leader);
	run_ms(cluster, 10);
	assert_int_equal(cluster->nodes[leader].committed, 3);
	cluster_free(cluster);
}

/* C08: the completion of an old write does not acknowledge what took the place of its entries. */
static uint64_t acknowledged;
static bool note_acknowledged(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	if (message->kind == MESSAGE_APPEND_REPLY && !message->append_reply.rejected &&
		message->append_reply.match > acknowledged)
		acknowledged = message->append_reply.match;
	return true;
}

static void test_an_old_write_acknowledges_nothing_new(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 5);
	node_start(cluster, 2, true);
	acknowledged = 0;
	cluster->filter = note_acknowledged;
	struct entry old[3], new[3];
	for (unsigned i = 0; i < 3; i++) {
		old[i] = (struct entry){ .index = i + 1, .term = 1, .version = i + 1, .kind = ENTRY_COMMAND };
		new[i] = (struct entry){ .index = i + 1, .term = 2, .version = i + 10, .kind = ENTRY_COMMAND };
	}
	struct message first = append_from(0, 2, 1), second = append_from(1, 2, 2);
	first.append.last = second.append.last = 3;
	first.append.entries = old;
	second.append.entries = new;
	struct node *node = &cluster->nodes[2];
	disk_stop(cluster, 2);
	deliver(cluster, &first);
	deliver(cluster, &second);
	assert_int_equal(node->held_count, 2);
	assert_int_equal(node->truncated, 1);
	/* Only the first write completes. */
	struct group_event durable = { .kind = GROUP_DURABLE };
	durable.durable.ticket = node->held[0].ticket;
	step(cluster, 2, &durable);
	assert_int_equal(acknowledged, 0);
	assert_int_equal(status_of(cluster, 2).durable, 0);
	durable.durable.ticket = node->held[1].ticket;
	step(cluster, 2, &durable);
	assert_int_equal(acknowledged, 3);
	cluster_free(cluster);
}

/* An append without entries is answered at once: with what is durable, not with what was taken. */
static void test_an_answer_tells_what_is_durable(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 5);
	node_start(cluster, 2, true);
	acknowledged = 0;
	struct message empty = append_from(0, 2, 1), full = append_from(0, 2, 1);
	deliver(cluster, &empty);
	run_ms(cluster, 5); /* the term is durable */
	cluster->filter = note_acknowledged;
	struct entry entry = { .index = 1, .term = 1, .version = 1, .kind = ENTRY_COMMAND };
	full.append.last = 1;
	full.append.entries = &entry;
	full.append.probe = 1;
	empty.append.probe = 2;
	disk_stop(cluster, 2);
	deliver(cluster, &full);
	deliver(cluster, &empty);
	run_ms(cluster, 5);
	assert_int_equal(status_of(cluster, 2).last, 1);
	assert_int_equal(acknowledged, 0);
	disk_resume(cluster, 2);
	run_ms(cluster, 5);
	assert_int_equal(acknowledged, 1);
	cluster_free(cluster);
}

/* More writes under way than are told apart: known late, never early. */
static void test_many_writes_under_way(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("v", 6);
	run_ms(cluster, 5);
	disk_stop(cluster, 0);
	for (unsigned i = 0; i < 100; i++)
		propose(cluster, 0, 1);
	struct node *node = &cluster->nodes[0];
	uint64_t last = 1;
	for (unsigned i = 0; i < 100; i++) {
		struct group_event durable = { .kind = GROUP_DURABLE };
		durable.durable.ticket = node->held[i].ticket;
		last++;
		step(cluster, 0, &durable);
		assert_true(status_of(cluster, 0).durable <= last);
	}
	assert_int_equal(status_of(cluster, 0).durable, 101);
	assert_int_equal(status_of(cluster, 0).commit, 101);
	cluster_free(cluster);
}

static void test_proposals_are_bounded(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 7);
	cluster->inflight_max = 10;
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000), other = (leader + 1) % 3;
	run_ms(cluster, 50);
	propose(cluster, leader, 10);
	assert_int_equal(cluster->nodes[leader].refused_count, 0);
	propose(cluster, leader, 1);
	assert_int_equal(cluster->nodes[leader].refused_count, 1);
	assert_int_equal(cluster->nodes[leader].refused, STATUS_BUSY);
	run_ms(cluster, 50);
	propose(cluster, leader, 10);
	assert_int_equal(cluster->nodes[leader].refused_count, 1);
	propose(cluster, other, 1);
	assert_int_equal(cluster->nodes[other].refused, STATUS_NOT_LEADER);
	cluster_free(cluster);
}

static void test_a_follower_far_behind_catches_up(void **state)
{
	(void)state;
	for (uint32_t shorter = 0; shorter < 4; shorter++) {
		struct cluster *cluster = cluster_begin("vvv", 8);
		unsigned leader = await_leader(cluster, 5000), other = (leader + 1) % 3;
		run_ms(cluster, 300);
		cut_off(cluster, other, true);
		for (unsigned i = 0; i < 20; i++) {
			propose(cluster, leader, 60);
			run_ms(cluster, 10);
		}
		cluster->short_appends = 7 * shorter; /* the driver sends less than it was told */
		heal(cluster);
		run_ms(cluster, 3000);
		assert_int_equal(status_of(cluster, other).commit, 1201);
		assert_true(status_of(cluster, leader).quiescent);
		cluster_free(cluster);
	}
}

/* An unreachable follower costs nothing, until it is heard again. */
static void test_an_unreachable_follower_is_left_alone(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 9);
	unsigned leader = await_leader(cluster, 5000), other = (leader + 1) % 3;
	run_ms(cluster, 300);
	node_crash(cluster, other);
	propose(cluster, leader, 1);
	run_ms(cluster, 3000);
	assert_true(status_of(cluster, leader).quiescent);
	assert_int_equal(group_deadline(cluster->nodes[leader].group), UINT64_MAX);
	uint64_t sent = cluster->sent;
	run_ms(cluster, 20000);
	assert_int_equal(cluster->sent, sent);
	node_restart(cluster, other);
	run_ms(cluster, 1500);
	assert_int_equal(status_of(cluster, other).commit, 2);
	cluster_free(cluster);
}

static void compact(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	node->applied_durable = node->committed;
	struct group_event event = { .kind = GROUP_COMPACTED };
	event.compacted.index = node->committed;
	step(cluster, at, &event);
}

static void test_behind_the_log_a_snapshot(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 10);
	unsigned leader = await_leader(cluster, 5000), other = (leader + 1) % 3;
	run_ms(cluster, 300);
	cut_off(cluster, other, true);
	propose(cluster, leader, 30);
	run_ms(cluster, 1500);
	compact(cluster, leader);
	assert_int_equal(status_of(cluster, leader).first, 32);
	heal(cluster);
	run_ms(cluster, 2000);
	assert_int_equal(cluster->nodes[leader].snapshots, 1); /* once, until it was sent */
	assert_int_equal(status_of(cluster, other).snapshot_index, 31);
	propose(cluster, leader, 2);
	run_ms(cluster, 50);
	assert_int_equal(status_of(cluster, other).commit, 33);
	/* A late one that the log covers drops nothing, and is acknowledged. */
	acknowledged = 0;
	cluster->filter = note_acknowledged;
	struct message late = { .kind = MESSAGE_SNAPSHOT,
		.group = 7,
		.from = leader + 1,
		.to = other + 1,
		.term = status_of(cluster, leader).term };
	late.snapshot.index = 20;
	late.snapshot.term = late.term;
	late.snapshot.membership = membership_of("vvv");
	deliver(cluster, &late);
	assert_int_equal(status_of(cluster, other).last, 33);
	assert_int_equal(acknowledged, 33);
	cluster_free(cluster);
}

/* C20: well-formed and impossible, from a peer that may speak: dropped or answered, nothing is believed. */
static void test_impossible_messages(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 11);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	propose(cluster, leader, 5);
	run_ms(cluster, 50);
	struct prng prng;
	prng_seed(&prng, 4);
	const uint64_t odd[] = { 0, 1, 2, 3, 6, 7, 8, 100, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX };
	struct entry entries[8];
	struct membership memberships[8];
	for (unsigned i = 0; i < 20000; i++) {
		unsigned to = (unsigned)prng_below(&prng, 3);
		struct message message = { .kind = (uint8_t)(1 + prng_below(&prng, 8)), .group = 7, .to = to + 1 };
#define ODD odd[prng_below(&prng, sizeof(odd) / sizeof(odd[0]))]
		message.from = prng_below(&prng, 5);
		message.term = prng_chance(&prng, 700000) ? status_of(cluster, leader).term : prng_below(&prng, 3);
		uint64_t count = prng_below(&prng, 8);
		switch (message.kind) {
		case MESSAGE_APPEND:
			message.append.prev_index = ODD;
			message.append.prev_term = prng_below(&prng, 4);
			message.append.commit = ODD;
			message.append.first = prng_chance(&prng, 900000) ? message.append.prev_index + 1 : ODD;
			message.append.last = message.append.first + count - 1;
			message.append.probe = ODD;
			for (unsigned n = 0; n < 8; n++) {
				entries[n] = (struct entry){ .index = message.append.first + n,
					.term = prng_below(&prng, 4),
					.kind = (uint8_t)(1 + prng_below(&prng, 3)) };
				memberships[n] = membership_of("vvv");
				memberships[n].count = (uint8_t)prng_below(&prng, 4);
			}
			message.append.entries = entries;
			break;
		case MESSAGE_APPEND_REPLY:
			message.append_reply.match = ODD;
			message.append_reply.commit = ODD;
			message.append_reply.probe = ODD;
			message.append_reply.support_epoch = ODD;
			message.append_reply.rejected = prng_chance(&prng, 500000);
			break;
		case MESSAGE_VOTE:
			message.vote.last_index = ODD;
			message.vote.last_term = ODD;
			message.vote.pre = prng_chance(&prng, 500000);
			message.vote.transfer = prng_chance(&prng, 100000);
			break;
		case MESSAGE_VOTE_REPLY:
			message.vote_reply.granted = prng_chance(&prng, 500000);
			break;
		case MESSAGE_READ_INDEX:
			message.read_index.nonce = ODD;
			break;
		case MESSAGE_SNAPSHOT:
			message.snapshot.index = prng_below(&prng, 7);
			message.snapshot.term = prng_below(&prng, 3);
			message.snapshot.membership = membership_of("vvv");
			break;
		default:
			break;
		}
		/* Lies that would pass for truth are left out: what is tested is that nothing breaks. */
		bool convincing = message.kind == MESSAGE_APPEND && message.from == leader + 1 &&
				  message.append.prev_index < 7 &&
				  message.append.prev_term == status_of(cluster, leader).term;
		if (convincing || message.kind == MESSAGE_APPEND_REPLY)
			message.from = 4; /* no member */
		struct group_event event = { .kind = GROUP_RECEIVED };
		event.received.message = &message;
		event.received.memberships = memberships;
		event.received.membership_count = (uint32_t)prng_below(&prng, 8);
		step(cluster, to, &event);
		run_ms(cluster, 2);
	}
	cluster_free(cluster);
}

/* Behind a compacted log, an append that begins far below it and goes on above it with terms that cannot follow: what
 * stands below the base is believed, what stands at it is compared. */
static void test_terms_below_the_base_do_not_come_back(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 5);
	for (unsigned i = 0; i < 3; i++) {
		struct disk *disk = &cluster->nodes[i].disk;
		disk->term = 3;
		disk->last = 1;
		disk->log[1].entry = (struct entry){ .index = 1, .term = 1, .version = 1, .kind = ENTRY_NOOP };
	}
	cluster_start(cluster);
	unsigned leader = await_leader(cluster, 5000), follower = (leader + 1) % 3;
	propose(cluster, leader, 4);
	run_ms(cluster, 100);
	compact(cluster, follower);
	struct group_status before = status_of(cluster, follower);
	assert_true(before.first > 2);
	struct entry entries[16] = { { 0 } };
	struct message message = append_from(leader, follower, before.term);
	message.append.last = before.last + 1;
	assert_true(message.append.last <= 16);
	for (uint64_t index = 1; index <= message.append.last; index++)
		entries[index - 1] =
			(struct entry){ .index = index, .term = 1, .version = index, .kind = ENTRY_COMMAND };
	message.append.entries = entries;
	deliver(cluster, &message);
	assert_int_equal(status_of(cluster, follower).last, before.last);
	assert_int_equal(status_of(cluster, follower).commit, before.commit);
	propose(cluster, leader, 1); /* and the honest ones go on */
	run_ms(cluster, 100);
	assert_int_equal(status_of(cluster, follower).last, before.last + 1);
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries_commit_and_apply_everywhere),
		cmocka_unit_test(test_commit_keeps_up_with_constant_load),
		cmocka_unit_test(test_nothing_goes_twice_on_a_long_way),
		cmocka_unit_test(test_commits_are_told_at_once_where_reads_are_held),
		cmocka_unit_test(test_figure_8),
		cmocka_unit_test(test_old_terms_are_not_counted),
		cmocka_unit_test(test_nothing_commits_before_it_is_durable),
		cmocka_unit_test(test_an_old_write_acknowledges_nothing_new),
		cmocka_unit_test(test_an_answer_tells_what_is_durable),
		cmocka_unit_test(test_many_writes_under_way),
		cmocka_unit_test(test_proposals_are_bounded),
		cmocka_unit_test(test_a_follower_far_behind_catches_up),
		cmocka_unit_test(test_an_unreachable_follower_is_left_alone),
		cmocka_unit_test(test_behind_the_log_a_snapshot),
		cmocka_unit_test(test_impossible_messages),
		cmocka_unit_test(test_terms_below_the_base_do_not_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
