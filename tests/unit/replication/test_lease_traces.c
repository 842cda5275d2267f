/* The traces over which broken variants of docs/leases.md fall, one each, by the names of its rules. That whoever may
 * read has all that was committed, and that a read's index covers it, cluster.h checks after every step. */
#include "tests/unit/replication/cluster.h"

enum { TEN = 10 };

/* --- what is looked at on the wire ------------------------------------------------------------------------ */

static struct {
	uint64_t hold_from[NODES_MAX];	 /* entries from here on do not reach it; 0: all do */
	bool no_grants[NODES_MAX];	 /* nor do grants and revocations */
	bool no_replies;		 /* no append is answered */
	struct message grant[NODES_MAX]; /* the last one sent to it */
	unsigned votes;			 /* given */
} wire;

static bool look(struct cluster *cluster, const struct message *message)
{
	(void)cluster;
	unsigned to = (unsigned)message->to - 1;
	if (message->kind == MESSAGE_VOTE_REPLY && message->vote_reply.granted && !message->vote_reply.pre)
		wire.votes++;
	if (message->kind == MESSAGE_GRANT && message->grant.lent_epoch != 0)
		wire.grant[to] = *message;
	if (message->kind == MESSAGE_GRANT && wire.no_grants[to])
		return false;
	if (message->kind == MESSAGE_APPEND_REPLY && wire.no_replies)
		return false;
	return message->kind != MESSAGE_APPEND || wire.hold_from[to] == 0 ||
	       message->append.last < message->append.first || message->append.last < wire.hold_from[to];
}

static void deliver(struct cluster *cluster, const struct message *message)
{
	struct group_event event = { .kind = GROUP_RECEIVED };
	event.received.message = message;
	step(cluster, (unsigned)message->to - 1, &event);
}

/* Somebody of a higher term refuses an append: the leader leads no more. */
static void depose(struct cluster *cluster, unsigned leader, unsigned by)
{
	struct message reply = { .kind = MESSAGE_APPEND_REPLY, .group = 7, .from = by + 1, .to = leader + 1 };
	reply.term = status_of(cluster, leader).term + 1;
	reply.append_reply.rejected = true;
	deliver(cluster, &reply);
	assert_false(leads(cluster, leader));
}

static void deliver_vote(struct cluster *cluster, unsigned from, unsigned to, uint64_t term)
{
	struct message message = { .kind = MESSAGE_VOTE, .group = 7, .from = from + 1, .to = to + 1, .term = term };
	message.vote.last_index = LOG_MAX;
	message.vote.last_term = term - 1;
	deliver(cluster, &message);
}

static struct cluster *begun(const char *roles, uint64_t seed, uint64_t election_us)
{
	struct membership membership = membership_of(roles);
	membership.local_reads = true;
	struct cluster *cluster = cluster_new((unsigned)strlen(roles), &membership, seed);
	memset(&wire, 0, sizeof(wire));
	cluster->filter = look;
	cluster->election_us = election_us;
	cluster_start(cluster);
	return cluster;
}

struct roles {
	unsigned leader, responder, origin;
};

/* Three replicas; all may read. */
static struct cluster *settled(uint64_t seed, struct roles *of)
{
	struct cluster *cluster = begun("vvv", seed, 500000);
	of->leader = await_leader(cluster, 5000);
	of->responder = (of->leader + 1) % 3;
	of->origin = (of->leader + 2) % 3;
	run_ms(cluster, 600);
	propose(cluster, of->leader, 3);
	run_ms(cluster, 100);
	for (unsigned i = 0; i < 3; i++)
		assert_true(may_read(cluster, i));
	return cluster;
}

/* --- the cover (P1, L2, L6) --------------------------------------------------------------------------------- */

/* A write is committed when every responder has it, or reads no more; and one that cannot take it loses its lease. */
static void test_a_write_waits_for_every_responder(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(1, &of);
	uint64_t commit = status_of(cluster, of.leader).commit;
	wire.hold_from[of.responder] = commit + 1;
	propose(cluster, of.leader, 1);
	run_ms(cluster, 100);
	assert_int_equal(status_of(cluster, of.leader).commit, commit);
	assert_true(may_read(cluster, of.responder));
	run_ms(cluster, 2000);
	assert_int_equal(status_of(cluster, of.leader).commit, commit + 1);
	assert_false(may_read(cluster, of.responder));
	propose(cluster, of.leader, 1);
	run_ms(cluster, 20); /* out of the cover until it has caught up */
	assert_int_equal(status_of(cluster, of.leader).commit, commit + 2);
	wire.hold_from[of.responder] = 0;
	run_ms(cluster, 1500);
	assert_true(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* One far away is never level with a busy leader, and has its lease all the same. */
static void test_a_far_responder_reads_under_load(void **state)
{
	(void)state;
	enum { FAR = 2 };
	struct cluster *cluster = begun("vvv", 2, 500000);
	cluster->far_us[FAR] = 15000;
	unsigned leader = await_leader(cluster, 5000), readable = 0;
	assert_int_not_equal(leader, FAR);
	run_ms(cluster, 2000);
	assert_true(may_read(cluster, FAR));
	cut_off(cluster, FAR, true);
	for (unsigned i = 0; i < 1600; i++) {
		if (i == 400)
			heal(cluster);
		propose(cluster, leader, 1);
		run_ms(cluster, 2);
		readable += i >= 1200 && may_read(cluster, FAR);
	}
	assert_int_equal(readable, 400);
	cluster_free(cluster);
}

/* --- grants (G2, G3, L3) --------------------------------------------------------------------------------------- */

/* P6: what the leader has at the grant may be committed without this responder: it comes first. */
static void test_a_grant_is_of_no_use_below_its_floor(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(3, &of);
	struct message grant = wire.grant[of.responder];
	grant.grant.number += 1000;
	grant.grant.floor = status_of(cluster, of.responder).last + 3;
	deliver(cluster, &grant);
	assert_false(may_read(cluster, of.responder));
	propose(cluster, of.leader, 3);
	run_ms(cluster, 20);
	assert_true(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* A grant that its revocation overtook. */
static void test_a_revoked_grant_stays_revoked(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(4, &of);
	struct message grant = wire.grant[of.responder], revocation = grant;
	revocation.grant.number++;
	revocation.grant.lent_epoch = 0;
	deliver(cluster, &revocation);
	assert_false(may_read(cluster, of.responder));
	deliver(cluster, &grant);
	assert_false(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* P5: it may have dropped what it had acknowledged. */
static void test_a_snapshot_ends_a_lease(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(5, &of);
	struct message snapshot = {
		.kind = MESSAGE_SNAPSHOT, .group = 7, .from = of.leader + 1, .to = of.responder + 1
	};
	snapshot.term = snapshot.snapshot.term = status_of(cluster, of.leader).term;
	snapshot.snapshot.index = status_of(cluster, of.leader).last + 5;
	snapshot.snapshot.membership = *group_membership(cluster->nodes[of.responder].group);
	deliver(cluster, &snapshot);
	assert_int_equal(status_of(cluster, of.responder).last, snapshot.snapshot.index);
	assert_false(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* A voter that withdrew supports the leader's node again, for other groups, under another epoch. */
static void test_support_counts_under_the_epoch_granted(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(6, &of);
	struct message grant = wire.grant[of.responder];
	grant.grant.number++;
	deliver(cluster, &grant);
	assert_true(may_read(cluster, of.responder));
	grant.grant.number++;
	for (unsigned i = 0; i < 3; i++) /* its own support is relayed to it too */
		grant.grant.support_epochs[i]++;
	deliver(cluster, &grant);
	assert_false(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* Another group of the node steps down: what was lent to this one ends with it, and is lent anew within a ping. */
static void test_another_epoch_is_granted_at_once(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(7, &of);
	liveness_lent_end(cluster->nodes[of.leader].liveness, NODE_BASE + of.responder + 1);
	run_ms(cluster, 130);
	assert_true(may_read(cluster, of.responder));
	run_ms(cluster, 120);
	assert_true(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* What was lent under an epoch that is over runs on at its holder, who has heard of nothing: it is waited for. */
static void test_what_an_ended_epoch_lent_is_waited_for(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(21, &of);
	uint64_t commit = status_of(cluster, of.leader).commit;
	unsigned readable = 0;
	cut_off(cluster, of.responder, true);
	liveness_lent_end(cluster->nodes[of.leader].liveness, NODE_BASE + of.responder + 1);
	propose(cluster, of.leader, 1);
	for (; may_read(cluster, of.responder); readable++) {
		assert_int_equal(status_of(cluster, of.leader).commit, commit);
		run_ms(cluster, 1);
	}
	assert_true(readable > 100);
	run_ms(cluster, 200);
	assert_int_equal(status_of(cluster, of.leader).commit, commit + 1);
	cluster_free(cluster);
}

/* A learner has the data and no lease: what it lacks holds no write up. */
static void test_a_learner_reads_by_no_lease(void **state)
{
	(void)state;
	enum { LEARNER = 3 };
	struct cluster *cluster = begun("vvvl", 22, 500000);
	unsigned leader = await_leader(cluster, 5000);
	run_ms(cluster, 1000);
	propose(cluster, leader, 3);
	run_ms(cluster, 200);
	uint64_t commit = status_of(cluster, leader).commit;
	assert_int_equal(status_of(cluster, LEARNER).last, commit);
	assert_true(may_read(cluster, (leader + 1) % 3));
	assert_false(may_read(cluster, LEARNER));
	wire.hold_from[LEARNER] = commit + 1;
	propose(cluster, leader, 1);
	run_ms(cluster, 50);
	assert_int_equal(status_of(cluster, leader).commit, commit + 1);
	cluster_free(cluster);
}

/* --- lent time (N2) ---------------------------------------------------------------------------------------------- */

static void deliver_pong(struct cluster *cluster, const struct roles *of, uint64_t lent_epoch)
{
	struct message pong = { .kind = MESSAGE_PONG };
	pong.pong.echo_ns = clock_of(cluster, of->responder);
	pong.pong.boot = cluster->nodes[of->leader].boot;
	pong.pong.echo_boot = cluster->nodes[of->responder].boot;
	pong.pong.lent_epoch = lent_epoch;
	pong.pong.lent_us = 500000;
	liveness_received(cluster->nodes[of->responder].liveness, NODE_BASE + of->leader + 1, &pong,
		clock_of(cluster, of->responder), 1, &cluster->liveness_effects);
	liveness_carry_out(cluster, of->responder);
}

/* What was relayed with a newer epoch does not count under an older one. */
static void test_an_older_pong_brings_no_lease_back(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(8, &of);
	struct liveness *liveness = cluster->nodes[of.responder].liveness;
	uint64_t epoch = wire.grant[of.responder].grant.lent_epoch, leader = NODE_BASE + of.leader + 1;
	assert_true(liveness_borrowed_until_ns(liveness, leader, epoch) > clock_of(cluster, of.responder));
	deliver_pong(cluster, &of, epoch + 1000);
	assert_int_equal(liveness_borrowed_until_ns(liveness, leader, epoch), 0);
	deliver_pong(cluster, &of, epoch);
	assert_int_equal(liveness_borrowed_until_ns(liveness, leader, epoch), 0);
	assert_false(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* A ping of a process that is gone: it must not end what the one of now holds. */
static void test_a_late_ping_ends_no_lease(void **state)
{
	(void)state;
	enum { BOOT_BEFORE = 12345 };
	struct roles of;
	struct cluster *cluster = settled(9, &of);
	struct liveness *liveness = cluster->nodes[of.leader].liveness;
	uint64_t epoch = liveness_lent_epoch(liveness, NODE_BASE + of.responder + 1);
	struct message ping = { .kind = MESSAGE_PING };
	ping.ping.boot = BOOT_BEFORE;
	assert_int_not_equal(epoch, 0);
	liveness_received(liveness, NODE_BASE + of.responder + 1, &ping, clock_of(cluster, of.leader), 1,
		&cluster->liveness_effects);
	liveness_carry_out(cluster, of.leader);
	assert_int_equal(liveness_lent_epoch(liveness, NODE_BASE + of.responder + 1), epoch);
	run_ms(cluster, 1000);
	assert_int_equal(liveness_lent_epoch(liveness, NODE_BASE + of.responder + 1), epoch);
	cluster_free(cluster);
}

/* --- other members, another leader (P9, P10, L4, L5, L8) ------------------------------------------------------------
 */

static void test_no_membership_leaves_a_lease_behind(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(10, &of);
	struct membership wanted = membership_of("vvv");
	wire.no_grants[of.responder] = true;
	change(cluster, of.leader, &wanted, 1);
	run_ms(cluster, 90);
	assert_true(may_read(cluster, of.responder));
	assert_int_equal(group_membership(cluster->nodes[of.leader].group)->index, 0);
	wire.no_grants[of.responder] = false;
	run_ms(cluster, 1000);
	assert_int_equal(cluster->nodes[of.leader].changed, STATUS_OK);
	assert_int_equal(cluster->nodes[of.leader].changed_count, 1);
	assert_false(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* Its followers leave it by themselves when they know; nobody may read by its word then. */
static void test_a_leader_to_be_left_out_calls_its_leases_back(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(11, &of);
	char roles[] = "vvv";
	roles[of.leader] = '-';
	struct membership wanted = membership_of(roles);
	wanted.local_reads = true;
	wire.no_grants[of.responder] = true;
	change(cluster, of.leader, &wanted, 1);
	run_ms(cluster, 90);
	assert_true(may_read(cluster, of.responder));
	assert_int_equal(group_membership(cluster->nodes[of.leader].group)->index, 0);
	wire.no_grants[of.responder] = false;
	run_ms(cluster, 3000);
	assert_int_not_equal(await_leader(cluster, 5000), of.leader);
	run_ms(cluster, 1000);
	assert_true(may_read(cluster, of.responder));
	cluster_free(cluster);
}

/* An idle group, and one whose node lives while its replica hears nothing: what waits for its answer goes on. */
static void test_a_change_does_not_wait_for_the_deaf(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(12, &of);
	char roles[] = "vvv";
	roles[of.responder] = '-';
	struct membership wanted = membership_of(roles);
	wanted.local_reads = true;
	cluster->deaf_to_groups[of.responder] = true;
	change(cluster, of.leader, &wanted, 1);
	run_ms(cluster, 2500);
	assert_int_equal(cluster->nodes[of.leader].changed_count, 1);
	assert_int_equal(cluster->nodes[of.leader].changed, STATUS_OK);
	cluster_free(cluster);
}

/* And the other groups of its node keep their leases; when it hears again it has its own. */
static void test_the_deaf_cost_the_others_little(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(20, &of);
	struct liveness *liveness = cluster->nodes[of.leader].liveness;
	cluster->deaf_to_groups[of.responder] = true;
	liveness_lent_end(liveness, NODE_BASE + of.responder + 1);
	run_ms(cluster, 2000);
	uint64_t epoch = liveness_lent_epoch(liveness, NODE_BASE + of.responder + 1);
	for (unsigned i = 0; i < 30; i++) {
		run_ms(cluster, 100);
		assert_int_equal(liveness_lent_epoch(liveness, NODE_BASE + of.responder + 1), epoch);
	}
	assert_int_not_equal(epoch, 0);
	assert_false(may_read(cluster, of.responder));
	cluster->deaf_to_groups[of.responder] = false;
	propose(cluster, of.leader, 1);
	run_ms(cluster, 1000);
	assert_true(may_read(cluster, of.responder));
	cluster_free(cluster);
}

static void test_a_transfer_waits_for_the_leases(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(13, &of);
	cluster->deaf_to_groups[of.responder] = true;
	transfer(cluster, of.leader, of.origin);
	for (unsigned i = 0; i < 2500; i++) {
		run_ms(cluster, 1);
		if (cluster->nodes[of.leader].timeout_now > 0)
			assert_false(may_read(cluster, of.responder));
	}
	assert_int_equal(cluster->nodes[of.leader].timeout_now, 1);
	assert_true(leads(cluster, of.origin));
	cluster_free(cluster);
}

/* Its node goes on lending, and being supported, for other groups. */
static void test_a_leader_that_steps_down_ends_its_leases(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		struct roles of;
		struct cluster *cluster = settled(seed, &of);
		struct liveness *liveness = cluster->nodes[of.leader].liveness;
		assert_true(liveness_lend(liveness, NODE_BASE + of.responder + 1, clock_of(cluster, of.leader)));
		cluster->deaf_to_groups[of.responder] = true;
		uint64_t committed = cluster->committed;
		depose(cluster, of.leader, of.origin);
		for (unsigned i = 0; i < 4000; i++) {
			run_ms(cluster, 1);
			int leader = leader_of(cluster);
			if (i % 100 == 0 && leader >= 0)
				propose(cluster, (unsigned)leader, 1);
		}
		assert_true(cluster->committed > committed + 1);
		assert_false(may_read(cluster, of.responder));
		cluster_free(cluster);
	}
}

/* Where the leader alone stands in the way of elections, its own promise is what its responders read by. */
static void test_a_leaders_promise_lasts_as_long_as_what_it_lent(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TEN; seed++) {
		struct cluster *cluster = begun("vv", seed, 100000);
		unsigned leader = await_leader(cluster, 5000), other = 1 - leader;
		run_ms(cluster, 600);
		assert_true(may_read(cluster, other));
		cluster->deaf_to_groups[other] = true;
		uint64_t lent = liveness_lent_until_ns(cluster->nodes[leader].liveness, NODE_BASE + other + 1);
		uint64_t term = status_of(cluster, leader).term + 1;
		depose(cluster, leader, other);
		cut_off(cluster, other, true);
		wire.votes = 0;
		while (clock_of(cluster, leader) + 5 * MS < lent) {
			deliver_vote(cluster, other, leader, ++term);
			run_ms(cluster, 3);
		}
		assert_int_equal(wire.votes, 0);
		run_ms(cluster, 60);
		deliver_vote(cluster, other, leader, term + 100);
		run_ms(cluster, 3);
		assert_int_equal(wire.votes, 1);
		cluster_free(cluster);
	}
}

/* --- origins (P1, P17, P18, O3, O5)
 * ----------------------------------------------------------------------------------- */

/* The leader hears of nothing; the origin commits, and whoever asks the leader learns of it. */
static void test_a_read_index_covers_what_an_origin_committed(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(14, &of);
	uint64_t commit = status_of(cluster, of.leader).commit;
	wire.no_replies = true;
	propose_of(cluster, of.leader, 1, (int)of.origin);
	run_ms(cluster, 20);
	assert_int_equal(status_of(cluster, of.leader).commit, commit);
	assert_int_equal(status_of(cluster, of.origin).commit, commit + 1);
	struct read_record *own = ask_read(cluster, of.leader), *asked = ask_read(cluster, of.responder);
	run_ms(cluster, 5);
	assert_true(own->done);
	assert_true(asked->done);
	assert_int_equal(own->index, commit + 1);
	assert_int_equal(asked->index, commit + 1);
	cluster_free(cluster);
}

static void test_an_origin_waits_for_every_responder(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(15, &of);
	uint64_t commit = status_of(cluster, of.leader).commit;
	wire.hold_from[of.responder] = commit + 1;
	wire.no_replies = true;
	propose_of(cluster, of.leader, 1, (int)of.origin);
	run_ms(cluster, 50);
	assert_int_equal(status_of(cluster, of.origin).last, commit + 1);
	assert_int_equal(status_of(cluster, of.origin).commit, commit);
	wire.hold_from[of.responder] = 0;
	run_ms(cluster, 150);
	assert_int_equal(status_of(cluster, of.origin).commit, commit + 1);
	assert_int_equal(status_of(cluster, of.leader).commit, commit);
	cluster_free(cluster);
}

/* The notes reach further than its own entry, for both came in one append; the leader's ReadIndex does not. */
static void test_an_origin_commits_up_to_its_own_entry(void **state)
{
	(void)state;
	struct roles of;
	struct cluster *cluster = settled(16, &of);
	uint64_t commit = status_of(cluster, of.leader).commit;
	wire.no_replies = true;
	wire.hold_from[of.origin] = wire.hold_from[of.responder] = commit + 1;
	propose_of(cluster, of.leader, 1, (int)of.origin);
	propose(cluster, of.leader, 1);
	run_ms(cluster, 20);
	wire.hold_from[of.origin] = wire.hold_from[of.responder] = 0;
	run_ms(cluster, 100);
	assert_int_equal(status_of(cluster, of.origin).durable, commit + 2);
	assert_int_equal(status_of(cluster, of.origin).commit, commit + 1);
	struct read_record *read = ask_read(cluster, of.leader);
	assert_true(read->done);
	cluster_free(cluster);
}

static void deliver_append(struct cluster *cluster, uint64_t prev, unsigned count, uint64_t commit)
{
	struct message message = { .kind = MESSAGE_APPEND, .group = 7, .from = 2, .to = 1, .term = 1 };
	struct entry entries[4] = { 0 };
	for (unsigned i = 0; i < count; i++)
		entries[i] = (struct entry){
			.index = prev + 1 + i, .term = 1, .version = prev + 1 + i, .kind = ENTRY_COMMAND, .origin = 1
		};
	message.append.prev_index = prev;
	message.append.prev_term = prev == 0 ? 0 : 1;
	message.append.first = prev + 1;
	message.append.last = prev + count;
	message.append.commit = commit;
	message.append.probe = ++cluster->proposed;
	message.append.entries = entries;
	deliver(cluster, &message);
	run_ms(cluster, 5);
}

static void deliver_note(struct cluster *cluster, uint64_t from, uint64_t match)
{
	struct message note = { .kind = MESSAGE_NOTE, .group = 7, .from = from, .to = 1, .term = 1 };
	note.note.match = match;
	deliver(cluster, &note);
}

/* P18: until an entry of the term is known to be committed, notes of the term say nothing. */
static void test_notes_count_after_the_no_op(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 17);
	node_start(cluster, 0, true);
	deliver_append(cluster, 0, 2, 0);
	assert_int_equal(status_of(cluster, 0).durable, 2);
	deliver_note(cluster, 2, 2);
	deliver_note(cluster, 3, 2);
	assert_int_equal(status_of(cluster, 0).commit, 0);
	deliver_append(cluster, 2, 1, 1);
	assert_int_equal(status_of(cluster, 0).commit, 2);
	cluster_free(cluster);
}

/* --- whatever is said ------------------------------------------------------------------------------------------------
 */

/* Now and then what could be true, now and then what nobody counts up to. */
static uint64_t any_number(struct cluster *cluster)
{
	return prng_chance(&cluster->prng, 800000) ? prng_below(&cluster->prng, 8) : prng_next(&cluster->prng);
}

static void say_anything(struct cluster *cluster, unsigned to)
{
	const uint8_t kinds[] = { MESSAGE_GRANT, MESSAGE_GRANT_REPLY, MESSAGE_NOTE };
	struct message message = { .kind = kinds[prng_below(&cluster->prng, 3)], .group = 7, .to = to + 1 };
	message.from = any_number(cluster);
	message.term = prng_chance(&cluster->prng, 700000) ? status_of(cluster, to).term : any_number(cluster);
	if (message.kind == MESSAGE_NOTE) {
		message.note.match = any_number(cluster);
	} else if (message.kind == MESSAGE_GRANT_REPLY) {
		message.grant_reply.number = any_number(cluster);
		message.grant_reply.incarnation = any_number(cluster);
		message.grant_reply.refused = prng_chance(&cluster->prng, 500000);
	} else {
		message.grant.number = any_number(cluster);
		message.grant.roster = any_number(cluster);
		message.grant.floor = any_number(cluster);
		message.grant.incarnation = prng_chance(&cluster->prng, 500000) ? cluster->nodes[to].boot : 1;
		message.grant.lent_epoch = any_number(cluster);
		message.grant.count = (uint8_t)prng_below(&cluster->prng, REPLICAS_MAX + 1);
		for (unsigned i = 0; i < REPLICAS_MAX; i++)
			message.grant.support_epochs[i] = any_number(cluster);
	}
	deliver(cluster, &message);
}

/* No message of a peer stops a replica, a follower or a leader. */
static void test_no_word_stops_a_replica(void **state)
{
	(void)state;
	struct membership membership = membership_of("vvv");
	struct cluster *cluster = cluster_new(3, &membership, 18);
	node_start(cluster, 0, true);
	for (unsigned n = 0; n < 300; n++) {
		deliver_append(cluster, n, 1, n == 0 ? 0 : n - 1);
		for (unsigned i = 0; i < 50; i++)
			say_anything(cluster, 0);
	}
	cluster_free(cluster);
	cluster = begun("v", 19, 500000);
	unsigned leader = await_leader(cluster, 5000);
	for (unsigned i = 0; i < 20000; i++)
		say_anything(cluster, leader);
	assert_true(leads(cluster, leader));
	cluster_free(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_write_waits_for_every_responder),
		cmocka_unit_test(test_a_far_responder_reads_under_load),
		cmocka_unit_test(test_a_grant_is_of_no_use_below_its_floor),
		cmocka_unit_test(test_a_revoked_grant_stays_revoked),
		cmocka_unit_test(test_a_snapshot_ends_a_lease),
		cmocka_unit_test(test_support_counts_under_the_epoch_granted),
		cmocka_unit_test(test_another_epoch_is_granted_at_once),
		cmocka_unit_test(test_what_an_ended_epoch_lent_is_waited_for),
		cmocka_unit_test(test_a_learner_reads_by_no_lease),
		cmocka_unit_test(test_an_older_pong_brings_no_lease_back),
		cmocka_unit_test(test_a_late_ping_ends_no_lease),
		cmocka_unit_test(test_no_membership_leaves_a_lease_behind),
		cmocka_unit_test(test_a_leader_to_be_left_out_calls_its_leases_back),
		cmocka_unit_test(test_a_change_does_not_wait_for_the_deaf),
		cmocka_unit_test(test_the_deaf_cost_the_others_little),
		cmocka_unit_test(test_a_transfer_waits_for_the_leases),
		cmocka_unit_test(test_a_leader_that_steps_down_ends_its_leases),
		cmocka_unit_test(test_a_leaders_promise_lasts_as_long_as_what_it_lent),
		cmocka_unit_test(test_a_read_index_covers_what_an_origin_committed),
		cmocka_unit_test(test_an_origin_waits_for_every_responder),
		cmocka_unit_test(test_an_origin_commits_up_to_its_own_entry),
		cmocka_unit_test(test_notes_count_after_the_no_op),
		cmocka_unit_test(test_no_word_stops_a_replica),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
