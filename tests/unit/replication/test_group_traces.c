/* The traces that broken variants of the protocol fall over, one each: what a published or a modelled bug needs to show
 * itself, played by hand. mutants/ brings the bugs back and names the test that must fail. */
#include "tests/unit/replication/cluster.h"

enum { TEN = 10 };

/* --- words by hand ---------------------------------------------------------------------------------------- */

static struct message said(uint8_t kind, unsigned from, unsigned to, uint64_t term)
{
	return (struct message){ .kind = kind, .group = 7, .from = from + 1, .to = to + 1, .term = term };
}

static void deliver(struct cluster *cluster, const struct message *message)
{
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = message;
	step(cluster, (unsigned)message->to - 1, &event);
}

/* An append of `count` commands, or one membership, of the sender's term behind prev. */
static void deliver_append(struct cluster *cluster, unsigned from, unsigned to, uint64_t term, uint64_t prev,
	uint64_t prev_term, unsigned count, uint64_t commit, const struct membership *membership)
{
	struct entry entries[8] = { 0 };
	struct message message = said(MESSAGE_APPEND, from, to, term);
	struct group_event event = { .kind = GROUP_RECEIVED };

	assert_true(count <= 8);
	for (unsigned i = 0; i < count; i++)
		entries[i] = (struct entry){ .index = prev + 1 + i,
			.term = term,
			.version = term * 1000 + i,
			.kind = membership ? ENTRY_MEMBERSHIP : ENTRY_COMMAND };
	message.append.prev_index = prev;
	message.append.prev_term = prev_term;
	message.append.commit = commit;
	message.append.first = prev + 1;
	message.append.last = prev + count;
	message.append.probe = ++cluster->proposed;
	message.append.entries = entries;
	event.received.message = &message;
	event.received.memberships = membership;
	event.received.membership_count = membership ? 1 : 0;
	step(cluster, to, &event);
}

/* Somebody with a log that nobody refuses. */
static void deliver_vote(struct cluster *cluster, unsigned from, unsigned to, uint64_t term, bool pre)
{
	struct message message = said(MESSAGE_VOTE, from, to, term);

	message.vote.last_index = LOG_MAX;
	message.vote.last_term = term - 1;
	message.vote.pre = pre;
	deliver(cluster, &message);
}

/* --- what is looked at on the wire -------------------------------------------------------------------------- */

static struct {
	unsigned votes, pre_votes; /* granted */
	uint64_t match;		   /* highest acknowledged by node 0 */
	uint64_t hold_from;	   /* entries from here on do not get through to who could take them; 0: all do */
	uint64_t hide_commit;	   /* so are appends that tell of a commit above it; 0: none */
	int deaf;		   /* nothing of the group reaches or leaves it; -1: nobody */
	int replies_of;		   /* append replies of this node are caught; -1 */
	bool caught, no_transfer;
	struct message reply;
} wire;

static bool look(struct cluster *cluster, const struct message *message)
{
	const struct message_append *append = &message->append;
	if (wire.deaf >= 0 && (message->from == (uint64_t)wire.deaf + 1 || message->to == (uint64_t)wire.deaf + 1))
		return false;
	if (wire.no_transfer && message->kind == MESSAGE_TIMEOUT_NOW)
		return false;
	if (message->kind == MESSAGE_VOTE_REPLY && message->vote_reply.granted) {
		wire.votes += !message->vote_reply.pre;
		wire.pre_votes += message->vote_reply.pre;
	}
	if (message->kind == MESSAGE_APPEND_REPLY && message->from == 1 && !message->append_reply.rejected &&
		message->append_reply.match > wire.match)
		wire.match = message->append_reply.match;
	if (message->kind == MESSAGE_APPEND_REPLY && wire.replies_of >= 0 &&
		message->from == (uint64_t)wire.replies_of + 1) {
		wire.reply = *message;
		wire.caught = true;
		return false;
	}
	if (message->kind != MESSAGE_APPEND)
		return true;
	if (wire.hold_from != 0 && cluster->nodes[message->to - 1].up && append->last >= append->first &&
		append->last >= wire.hold_from &&
		append->first <= status_of(cluster, (unsigned)message->to - 1).last + 1)
		return false;
	return wire.hide_commit == 0 || append->commit <= wire.hide_commit;
}

static void watch(struct cluster *cluster)
{
	memset(&wire, 0, sizeof(wire));
	wire.deaf = wire.replies_of = -1;
	cluster->filter = look;
}

/* --- commit ------------------------------------------------------------------------------------------------- */

/* C01, figure 8 of the paper: an entry of an earlier term on a majority is not committed by that. */
static void test_an_earlier_terms_entry_is_not_counted(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 1);
	watch(cluster);
	cluster->append_entries_max = cluster->append_window = 1;
	for (uint64_t index = 1; index <= 2; index++)
		cluster->nodes[0].disk.log[index].entry =
			(struct entry){ .index = index, .term = index, .version = index, .kind = ENTRY_COMMAND };
	cluster->nodes[0].disk.last = 2;
	cluster->nodes[0].disk.term = 2;
	wire.hold_from = 3; /* its no-op reaches nobody */
	node_start(cluster, 0, true);
	node_start(cluster, 1, true);
	for (unsigned i = 0; i < 600 && !leads(cluster, 0); i++)
		run_ms(cluster, 5);
	run_ms(cluster, 300);
	assert_true(leads(cluster, 0));
	assert_int_equal(status_of(cluster, 1).durable, 2);
	assert_int_equal(status_of(cluster, 0).commit, 0);
	wire.hold_from = 0;
	run_ms(cluster, 500);
	assert_int_equal(status_of(cluster, 0).commit, 3);
	cluster_free(cluster);
}

/* What is not on its own disk, the leader does not count at itself. */
static void test_a_leader_counts_itself_when_durable(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 2);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	uint64_t commit = status_of(cluster, leader).commit;
	node_crash(cluster, (leader + 1) % 3);
	disk_stop(cluster, leader);
	propose(cluster, leader, 1);
	run_ms(cluster, 200);
	assert_int_equal(status_of(cluster, (leader + 2) % 3).durable, commit + 1);
	assert_int_equal(status_of(cluster, leader).commit, commit);
	disk_resume(cluster, leader);
	run_ms(cluster, 100);
	assert_int_equal(status_of(cluster, leader).commit, commit + 1);
	cluster_free(cluster);
}

/* S02, S10: nor does a follower say that it has it. */
static void test_a_follower_acknowledges_when_durable(void **state)
{
	(void)state;
	struct cluster *cluster = cluster_begin("vvv", 3);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 300);
	uint64_t commit = status_of(cluster, leader).commit;
	node_crash(cluster, (leader + 1) % 3);
	disk_stop(cluster, (leader + 2) % 3);
	propose(cluster, leader, 1);
	run_ms(cluster, 400);
	assert_int_equal(status_of(cluster, (leader + 2) % 3).last, commit + 1);
	assert_int_equal(status_of(cluster, leader).commit, commit);
	disk_resume(cluster, (leader + 2) % 3);
	run_ms(cluster, 200);
	assert_int_equal(status_of(cluster, leader).commit, commit + 1);
	cluster_free(cluster);
}

/* The leader's commit index speaks of its own log: of ours only as far as they are known to be equal. */
static void test_a_follower_commits_only_what_it_shares(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 4);
	node_start(cluster, 0, true);
	deliver_append(cluster, 1, 0, 1, 0, 0, 3, 0, NULL);
	run_ms(cluster, 5);
	deliver_append(cluster, 2, 0, 2, 1, 1, 0, 3, NULL);
	assert_int_equal(status_of(cluster, 0).last, 3);
	assert_int_equal(status_of(cluster, 0).commit, 1);
	cluster_free(cluster);
}

static void complete_first(struct cluster *cluster, unsigned at)
{
	struct node *node = &cluster->nodes[at];
	struct group_event event = { .kind = GROUP_DURABLE };
	assert_true(node->held_count > 0);
	write_land(&node->disk, &node->held[0]);
	event.durable.ticket = node->held[0].ticket;
	write_free(&node->held[0]);
	memmove(node->held, node->held + 1, --node->held_count * sizeof(node->held[0]));
	step(cluster, at, &event);
}

/* C08: entry 2 is written, cut and written anew; the first write's completion says nothing of the second. */
static void test_an_old_writes_completion_is_no_ack(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 5);
	watch(cluster);
	node_start(cluster, 0, true);
	disk_stop(cluster, 0);
	deliver_append(cluster, 1, 0, 1, 0, 0, 2, 0, NULL);
	deliver_append(cluster, 2, 0, 2, 1, 1, 0, 0, NULL); /* the term is written before the entry is */
	unsigned before = cluster->nodes[0].held_count;
	deliver_append(cluster, 2, 0, 2, 1, 1, 1, 0, NULL);
	assert_true(cluster->nodes[0].held_count > before);
	for (unsigned i = 0; i < before; i++)
		complete_first(cluster, 0);
	assert_int_equal(wire.match, 1);
	assert_int_equal(status_of(cluster, 0).durable, 1);
	while (cluster->nodes[0].held_count > 0)
		complete_first(cluster, 0);
	assert_int_equal(wire.match, 2);
	cluster_free(cluster);
}

/* M03: a membership goes with its entry. */
static void test_a_cut_membership_is_rolled_back(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv"), other = membership_of("vvvl");
	struct cluster *cluster = cluster_new(3, &membership, 6);
	node_start(cluster, 0, true);
	deliver_append(cluster, 1, 0, 1, 0, 0, 1, 0, NULL);
	deliver_append(cluster, 1, 0, 1, 1, 1, 1, 0, &other);
	assert_int_equal(group_membership(cluster->nodes[0].group)->count, 4);
	deliver_append(cluster, 2, 0, 2, 1, 1, 1, 0, NULL);
	assert_int_equal(group_membership(cluster->nodes[0].group)->count, 3);
	cluster_free(cluster);
}

/* --- votes ---------------------------------------------------------------------------------------------------- */

/* C05: a pre-vote does not give a vote back. */
static void test_a_pre_vote_takes_no_vote_back(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 7);
	watch(cluster);
	node_start(cluster, 0, true);
	deliver_vote(cluster, 1, 0, 4, false);
	run_ms(cluster, 5);
	assert_int_equal(wire.votes, 1);
	deliver_vote(cluster, 2, 0, 5, true);
	assert_int_equal(wire.pre_votes, 1);
	deliver_vote(cluster, 2, 0, 4, false);
	run_ms(cluster, 5);
	assert_int_equal(wire.votes, 1);
	deliver_vote(cluster, 1, 0, 4, false);
	run_ms(cluster, 5);
	assert_int_equal(wire.votes, 2);
	cluster_free(cluster);
}

/* Leader in *leader, everybody bound to it. */
static struct cluster *settled(uint64_t seed, unsigned *leader)
{
	struct cluster *cluster = cluster_begin("vvv", seed);
	*leader = await_leader(cluster, 5000);
	run_ms(cluster, 400);
	watch(cluster);
	return cluster;
}

/* B2: while its promise runs a voter has no part in any election, whoever asks; afterwards it has. */
static void test_a_promise_keeps_a_voter_out(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned leader;
		struct cluster *cluster = settled(seed, &leader);
		unsigned voter = (leader + 1) % 3, other = (leader + 2) % 3;
		uint64_t term = status_of(cluster, voter).term;
		deliver_vote(cluster, other, voter, term + 1, true);
		deliver_vote(cluster, other, voter, term + 1, false);
		deliver_vote(cluster, leader, voter, term + 1, true); /* it gives up: no reason to forget either */
		deliver_vote(cluster, leader, voter, term + 1, false);
		node_crash(cluster, leader);
		node_crash(cluster, other);
		run_ms(cluster, 350);
		deliver_vote(cluster, other, voter, term + 2, false);
		run_ms(cluster, 5);
		assert_int_equal(wire.votes + wire.pre_votes, 0);
		assert_int_equal(status_of(cluster, voter).term, term);
		run_ms(cluster, 200);
		deliver_vote(cluster, other, voter, term + 9, false);
		run_ms(cluster, 5);
		assert_int_equal(wire.votes, 1);
		cluster_free(cluster);
	}
}

/* A promise ends by time: news that its holder began anew does not shorten it. */
static void test_a_promise_outlives_its_holders_restart(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned leader;
		struct cluster *cluster = settled(seed, &leader);
		unsigned voter = (leader + 1) % 3, other = (leader + 2) % 3;
		uint64_t term = status_of(cluster, voter).term;
		node_crash(cluster, other);
		node_crash(cluster, leader);
		node_restart(cluster, leader);
		run_ms(cluster, 150);
		assert_int_equal(status_of(cluster, voter).leader, 0); /* it has heard of it */
		deliver_vote(cluster, other, voter, term + 1, false);
		run_ms(cluster, 5);
		assert_int_equal(wire.votes, 0);
		cluster_free(cluster);
	}
}

/* B4: nor does its own restart, for it does not remember whom it promised what. */
static void test_a_restarted_voter_waits(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned leader;
		struct cluster *cluster = settled(seed, &leader);
		unsigned voter = (leader + 1) % 3, other = (leader + 2) % 3;
		uint64_t term = status_of(cluster, voter).term;
		for (unsigned i = 0; i < 3; i++)
			node_crash(cluster, i);
		node_restart(cluster, voter);
		deliver_vote(cluster, other, voter, term + 1, true);
		deliver_vote(cluster, other, voter, term + 1, false);
		run_ms(cluster, 500);
		deliver_vote(cluster, other, voter, term + 2, false);
		run_ms(cluster, 2);
		assert_int_equal(wire.votes + wire.pre_votes, 0);
		run_ms(cluster, 10);
		deliver_vote(cluster, other, voter, term + 9, false);
		run_ms(cluster, 5);
		assert_int_equal(wire.votes, 1);
		cluster_free(cluster);
	}
}

/* B3: a leader that steps down stays out as long as it was promised to lead. */
static void test_a_leader_keeps_its_promise_to_itself(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned leader;
		struct cluster *cluster = settled(seed, &leader);
		unsigned other = (leader + 1) % 3;
		struct group_status status = status_of(cluster, leader);
		assert_true(status.lead_until_ns > clock_of(cluster, leader));
		node_crash(cluster, other);
		node_crash(cluster, (leader + 2) % 3);
		struct message reply = said(MESSAGE_APPEND_REPLY, other, leader, status.term + 1);
		reply.append_reply.rejected = true;
		deliver(cluster, &reply);
		assert_false(leads(cluster, leader));
		wire.votes = 0;
		deliver_vote(cluster, other, leader, status.term + 2, false);
		run_ms(cluster, (status.lead_until_ns - clock_of(cluster, leader)) / MS);
		deliver_vote(cluster, other, leader, status.term + 3, false);
		run_ms(cluster, 1);
		assert_int_equal(wire.votes, 0);
		run_ms(cluster, 10);
		deliver_vote(cluster, other, leader, status.term + 20, false);
		run_ms(cluster, 5);
		assert_int_equal(wire.votes, 1);
		cluster_free(cluster);
	}
}

/* --- reads; that none is older than what was committed before it was asked, cluster.h checks -----------------------
 */

/* L02, B6: a new leader does not know what is committed until its no-op is. */
static void test_a_new_leader_answers_after_its_no_op(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned old;
		struct cluster *cluster = settled(seed, &old);
		uint64_t commit = status_of(cluster, old).commit;
		wire.hide_commit = commit;
		propose(cluster, old, 1);
		run_ms(cluster, 20);
		assert_int_equal(status_of(cluster, old).commit, commit + 1);
		node_crash(cluster, old);
		wire.hide_commit = 0;
		wire.hold_from = commit + 2; /* no-ops reach nobody */
		for (unsigned i = 0; i < 3000 && leader_of(cluster) < 0; i++)
			run_ms(cluster, 1);
		assert_true(leader_of(cluster) >= 0);
		unsigned leader = (unsigned)leader_of(cluster);
		assert_int_equal(status_of(cluster, leader).commit, commit);
		struct read_record *read = ask_read(cluster, leader);
		run_ms(cluster, 200);
		assert_false(read->done);
		assert_int_equal(status_of(cluster, leader).lead_until_ns, 0);
		wire.hold_from = 0;
		run_ms(cluster, 200);
		assert_true(read->done);
		assert_false(read->refused);
		cluster_free(cluster);
	}
}

/* C09: and it knows without a write of anybody's: two round trips after it leads. */
static void test_an_idle_groups_new_leader_reads_soon(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned old;
		struct cluster *cluster = settled(seed, &old);
		node_crash(cluster, old);
		for (unsigned i = 0; i < 3000 && leader_of(cluster) < 0; i++)
			run_ms(cluster, 1);
		assert_true(leader_of(cluster) >= 0);
		run_ms(cluster, 5); /* a round trip is 2 ms, a disk 0.1 */
		struct group_status status = status_of(cluster, (unsigned)leader_of(cluster));
		assert_int_equal(status.commit, status.last);
		assert_int_equal(group_term_of(cluster->nodes[leader_of(cluster)].group, status.last), status.term);
		cluster_free(cluster);
	}
}

/* A new leader at the other two, which has committed something; the old one may not know. */
static int replaced(struct cluster *cluster, unsigned old)
{
	for (unsigned i = 0; i < 400; i++) {
		for (unsigned n = 0; n < cluster->count; n++) {
			if (n == old || !leads(cluster, n))
				continue;
			uint64_t commit = status_of(cluster, n).last + 1;
			propose(cluster, n, 1);
			run_ms(cluster, 10);
			assert_int_equal(status_of(cluster, n).commit, commit);
			return (int)n;
		}
		run_ms(cluster, 5);
	}
	fail_msg("the leader is not replaced");
	return -1;
}

/* A lease stands on voters that meet every election set. */
static void test_a_cut_off_leader_reads_nothing(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned old;
		struct cluster *cluster = settled(seed, &old);
		cut_off(cluster, old, true);
		replaced(cluster, old);
		assert_int_equal(status_of(cluster, old).lead_until_ns, 0);
		struct read_record *read = ask_read(cluster, old);
		run_ms(cluster, 600);
		assert_true(!read->done || read->refused);
		cluster_free(cluster);
	}
}

/* Support of a node counts only from who is bound to it in this group. C has voted for another since; then A and C see
 * each other again, but nothing of this group passes. */
static void test_a_nodes_support_is_not_the_groups(void **state)
{
	(void)state;
	unsigned still_leading = 0;
	for (uint64_t seed = 1; seed <= 2 * TEN; seed++) {
		unsigned old;
		struct cluster *cluster = settled(seed, &old);
		cut_off(cluster, old, true);
		replaced(cluster, old);
		wire.deaf = (int)old;
		heal(cluster);
		run_ms(cluster, 150);
		still_leading += leads(cluster, old);
		assert_int_equal(status_of(cluster, old).lead_until_ns, 0);
		struct read_record *read = ask_read(cluster, old);
		run_ms(cluster, 5);
		assert_false(read->done && !read->refused);
		cluster_free(cluster);
	}
	assert_true(still_leading > 5);
}

/* L01: only appends sent after the read was asked confirm it. */
static void test_a_late_answer_confirms_no_newer_read(void **state)
{
	(void)state;
	unsigned still_leading = 0;
	for (uint64_t seed = 1; seed <= 2 * TEN; seed++) {
		unsigned old;
		struct cluster *cluster = settled(seed, &old);
		unsigned voter = (old + 1) % 3;
		wire.replies_of = (int)voter;
		propose(cluster, old, 1);
		run_ms(cluster, 10);
		assert_true(wire.caught);
		cut_off(cluster, old, true);
		wire.replies_of = -1;
		replaced(cluster, old);
		struct message late = wire.reply;
		still_leading += leads(cluster, old);
		struct read_record *read = ask_read(cluster, old);
		deliver(cluster, &late);
		run_ms(cluster, 5);
		assert_false(read->done && !read->refused);
		cluster_free(cluster);
	}
	assert_true(still_leading > 5);
}

/* B5: whoever sent TIMEOUT_NOW reads no more in this term, although its lease runs. */
static void test_no_reads_after_a_transfer_left(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned old;
		struct cluster *cluster = settled(seed, &old);
		transfer(cluster, old, (old + 1) % 3);
		for (unsigned i = 0; i < 100 && cluster->nodes[old].timeout_now == 0; i++)
			run_ms(cluster, 1);
		assert_int_equal(cluster->nodes[old].timeout_now, 1);
		uint64_t since = cluster->now;
		cut_off(cluster, old, true); /* the word itself is under way */
		assert_int_equal(replaced(cluster, old), (old + 1) % 3);
		assert_true(cluster->now - since < 200 * MS);
		assert_true(leads(cluster, old));
		assert_int_equal(status_of(cluster, old).lead_until_ns, 0);
		struct read_record *read = ask_read(cluster, old);
		run_ms(cluster, 5);
		assert_true(read->refused);
		cluster_free(cluster);
	}
}

/* The leader is voted out; that it handed over and went goes unheard, while its node lives on. */
static void test_a_leader_that_left_is_not_waited_for(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		unsigned old;
		struct cluster *cluster = settled(seed, &old);
		unsigned one = (old + 1) % 3, other = (old + 2) % 3;
		char roles[] = "vvv";
		roles[old] = '-';
		struct membership wanted = membership_of(roles);
		wire.no_transfer = true;
		change(cluster, old, &wanted, 1);
		for (unsigned i = 0; i < 200; i++) {
			const struct membership *seen = group_membership(cluster->nodes[one].group);
			if (seen->count == 2 && !seen->joint && status_of(cluster, one).commit >= seen->index &&
				status_of(cluster, other).commit >= seen->index)
				break;
			run_ms(cluster, 1);
		}
		assert_int_equal(group_membership(cluster->nodes[one].group)->count, 2);
		wire.deaf = (int)old;
		run_ms(cluster, 4000);
		assert_true(leads(cluster, one) || leads(cluster, other));
		assert_false(leads(cluster, old));
		cluster_free(cluster);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_idle_groups_new_leader_reads_soon),
		cmocka_unit_test(test_an_earlier_terms_entry_is_not_counted),
		cmocka_unit_test(test_a_leader_counts_itself_when_durable),
		cmocka_unit_test(test_a_follower_acknowledges_when_durable),
		cmocka_unit_test(test_a_follower_commits_only_what_it_shares),
		cmocka_unit_test(test_an_old_writes_completion_is_no_ack),
		cmocka_unit_test(test_a_cut_membership_is_rolled_back),
		cmocka_unit_test(test_a_pre_vote_takes_no_vote_back),
		cmocka_unit_test(test_a_promise_keeps_a_voter_out),
		cmocka_unit_test(test_a_promise_outlives_its_holders_restart),
		cmocka_unit_test(test_a_restarted_voter_waits),
		cmocka_unit_test(test_a_leader_keeps_its_promise_to_itself),
		cmocka_unit_test(test_a_new_leader_answers_after_its_no_op),
		cmocka_unit_test(test_a_cut_off_leader_reads_nothing),
		cmocka_unit_test(test_a_nodes_support_is_not_the_groups),
		cmocka_unit_test(test_a_late_answer_confirms_no_newer_read),
		cmocka_unit_test(test_no_reads_after_a_transfer_left),
		cmocka_unit_test(test_a_leader_that_left_is_not_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
