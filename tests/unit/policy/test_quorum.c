/* tests/unit/policy/test_quorum.c: quorum predicates against their definitions, read off quorum.h and carried out set
 * by set: every configuration of up to four members with every rule, and random ones of up to seven, joint ones too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "policy/quorum.h"
#include "policy/quorum_internal.h"

enum { A = 1, B = 2, C = 4, D = 8, E = 16 };

/* --- the definitions, slowly ------------------------------------------------------------------------- */

static unsigned role(const struct membership *m, unsigned i, bool old)
{
	return old ? m->at[i].role_old : m->at[i].role_new;
}

static unsigned plain_voters(const struct membership *m, bool old)
{
	unsigned set = 0;
	for (unsigned i = 0; i < m->count; i++)
		if (role(m, i, old) == ROLE_VOTER || role(m, i, old) == ROLE_WITNESS)
			set |= 1u << i;
	return set;
}

static unsigned size_of(unsigned set)
{
	unsigned size = 0;
	for (unsigned i = 0; i < 32; i++)
		size += set >> i & 1;
	return size;
}

static bool plain_commits_by(const struct membership *m, bool old, const struct quorum_rule *rule, unsigned set)
{
	unsigned voters = 0;
	unsigned all = 0;
	unsigned copies = 0;
	unsigned regions = 0;
	unsigned areas = 0;
	for (unsigned i = 0; i < m->count; i++) {
		bool in = set >> i & 1;
		switch (role(m, i, old)) {
		case ROLE_WITNESS:
			all++;
			voters += in;
			break;
		case ROLE_VOTER:
			all++;
			voters += in;
			copies += in;
			areas |= in ? m->at[i].areas : 0u;
			break;
		default:
			break;
		}
	}
	for (unsigned i = 0; i < m->count; i++) {
		bool first = (set >> i & 1) && role(m, i, old) == ROLE_VOTER;
		for (unsigned j = 0; j < i; j++)
			if ((set >> j & 1) && role(m, j, old) == ROLE_VOTER && m->at[j].region == m->at[i].region)
				first = false;
		regions += first;
	}
	unsigned needed = rule->voters > 0 ? rule->voters : all / 2 + 1;
	return voters >= needed && copies >= 1 && copies >= rule->copies && regions >= rule->regions &&
	       (areas & rule->areas) == rule->areas;
}

/* While it is degraded: a majority, and one copy. */
static const struct quorum_rule fallback = { .copies = 1 };

static bool plain_commits(const struct membership *m, bool old, unsigned set)
{
	const struct quorum_rule *rule = old ? &m->rule_old : &m->rule_new;
	return plain_commits_by(m, old, rule->degrade == DEGRADED ? &fallback : rule, set);
}

/* By any rule that may come into force. */
static bool plain_may_commit(const struct membership *m, bool old, unsigned set)
{
	const struct quorum_rule *rule = old ? &m->rule_old : &m->rule_new;
	return plain_commits_by(m, old, rule, set) ||
	       (rule->degrade != DEGRADE_NEVER && plain_commits_by(m, old, &fallback, set));
}

static bool plain_elects(const struct membership *m, bool old, unsigned granted)
{
	unsigned voters = plain_voters(m, old);
	if (2 * size_of(granted & voters) <= size_of(voters))
		return false;
	for (unsigned set = 0; set < 1u << m->count; set++)
		if ((set & ~voters) == 0 && plain_may_commit(m, old, set) && (set & granted) == 0)
			return false;
	return true;
}

static bool slow_commits(const struct membership *m, unsigned set)
{
	return plain_commits(m, false, set) && (!m->joint || plain_commits(m, true, set));
}

static bool slow_elects(const struct membership *m, unsigned set)
{
	return plain_elects(m, false, set) && (!m->joint || plain_elects(m, true, set));
}

static bool slow_blocks(const struct membership *m, unsigned promised)
{
	for (unsigned old = 0; old <= (m->joint ? 1u : 0u); old++)
		for (unsigned set = 0; set < 1u << m->count; set++)
			if (plain_elects(m, old, set) && (set & promised & plain_voters(m, old)) == 0)
				return false;
	return true;
}

static unsigned lost_with(const struct membership *m, unsigned i, enum survive survive)
{
	unsigned lost = 1u << i;
	for (unsigned j = 0; j < m->count; j++) {
		if (survive == SURVIVE_ZONE && m->at[j].zone == m->at[i].zone)
			lost |= 1u << j;
		if (survive == SURVIVE_REGION && m->at[j].region == m->at[i].region)
			lost |= 1u << j;
	}
	return lost;
}

/* Somebody with data of this commit set is alive and in an election set of the living. */
static bool recovers(const struct membership *m, unsigned commit, unsigned lost)
{
	for (unsigned election = 0; election < 1u << m->count; election++) {
		if ((election & lost) != 0 || !plain_elects(m, false, election))
			continue;
		for (unsigned i = 0; i < m->count; i++)
			if ((commit & election) >> i & 1 && role(m, i, false) == ROLE_VOTER)
				return true;
	}
	return false;
}

/* With the rule that comes into force when something is lost. */
static struct membership fallen_back(const struct membership *m)
{
	struct membership then = *m;
	if (then.rule_new.degrade == DEGRADE_MAY)
		then.rule_new.degrade = DEGRADED;
	return then;
}

static bool slow_check(const struct membership *m, enum survive survive)
{
	unsigned all = (1u << m->count) - 1;
	struct membership then = fallen_back(m);
	if (!plain_commits(m, false, all))
		return false;
	for (unsigned i = 0; survive != SURVIVE_NONE && i < m->count; i++) {
		unsigned lost = lost_with(m, i, survive);
		if (!plain_commits(&then, false, all & ~lost) || !plain_elects(m, false, all & ~lost))
			return false;
		for (unsigned commit = 0; commit <= all; commit++)
			if (plain_commits(m, false, commit) && !recovers(m, commit, lost))
				return false;
	}
	return true;
}

/* --- comparison ---------------------------------------------------------------------------------------- */

static void check_counterexample(const struct membership *m, enum survive survive, const struct quorum_flaw *flaw)
{
	unsigned all = (1u << m->count) - 1;
	struct membership then = fallen_back(m);
	bool named = false;
	for (unsigned i = 0; i < m->count; i++)
		named |= flaw->lost == lost_with(m, i, survive);
	switch (flaw->kind) {
	case QUORUM_NO_COMMIT_SET:
		assert_false(plain_commits(m, false, all));
		break;
	case QUORUM_LOSS_STOPS_WRITES:
		assert_true(named);
		assert_false(plain_commits(&then, false, all & ~flaw->lost));
		break;
	case QUORUM_LOSS_STOPS_ELECTIONS:
		assert_true(named);
		assert_false(plain_elects(m, false, all & ~flaw->lost));
		break;
	case QUORUM_LOSS_LOSES_DATA:
		assert_true(named);
		assert_true(plain_commits(m, false, flaw->commit));
		assert_false(recovers(m, flaw->commit, flaw->lost));
		break;
	default:
		fail_msg("kind %d can not be", (int)flaw->kind);
	}
}

static void compare_checks(const struct membership *m)
{
	for (enum survive survive = SURVIVE_NONE; survive <= SURVIVE_REGION; survive++) {
		struct quorum_flaw flaw = { .kind = QUORUM_DISJOINT };
		bool sound = quorum_check(m, survive, &flaw);
		assert_int_equal(sound, slow_check(m, survive));
		if (sound)
			assert_int_equal(flaw.kind, QUORUM_SOUND);
		else
			check_counterexample(m, survive, &flaw);
	}
}

static void compare(const struct membership *m)
{
	bool commits[128];
	bool elects[128];
	unsigned sets = 1u << m->count;
	assert_true(sets <= 128);
	for (unsigned set = 0; set < sets; set++) {
		commits[set] = quorum_commits(m, set);
		elects[set] = quorum_elects(m, set);
		assert_int_equal(commits[set], slow_commits(m, set));
		assert_int_equal(elects[set], slow_elects(m, set));
		assert_int_equal(quorum_blocks_elections(m, set), slow_blocks(m, set));
		/* bits beyond the members mean nothing */
		assert_int_equal(commits[set], quorum_commits(m, set | ~(sets - 1)));
	}
	for (unsigned a = 0; a < sets; a++) {
		for (unsigned i = 0; i < m->count; i++) {
			if (commits[a])
				assert_true(commits[a | 1u << i]);
			if (elects[a])
				assert_true(elects[a | 1u << i]);
		}
		for (unsigned b = 0; elects[a] && b < sets; b++) {
			if (elects[b])
				assert_true(a & b & membership_voters(m));
			if (commits[b])
				assert_true(a & b & membership_voters(m));
		}
	}
	if (!m->joint)
		compare_checks(m);
}

/* Numbers the regions anew, so that each partition comes once. */
static bool canonical(const struct membership *m)
{
	unsigned next = 0;
	for (unsigned i = 0; i < m->count; i++) {
		if (m->at[i].region > next)
			return false;
		next += m->at[i].region == next;
	}
	return true;
}

static void compare_rules(struct membership *m)
{
	for (uint8_t voters = 0; voters <= m->count; voters++)
		for (uint8_t copies = 0; copies <= m->count; copies++)
			for (uint8_t regions = 0; regions <= 3; regions++) {
				m->rule_new = (struct quorum_rule){ voters, regions, copies, 0, 0 };
				compare(m);
			}
}

static void test_every_small_configuration(void **state)
{
	(void)state;
	unsigned compared = 0;
	for (uint8_t count = 1; count <= 4; count++) {
		unsigned all = 1;
		for (unsigned i = 0; i < count; i++)
			all *= 3 * count;
		for (unsigned number = 0; number < all; number++) {
			struct membership m = { .count = count };
			unsigned rest = number;
			for (uint8_t i = 0; i < count; i++, rest /= 3u * count) {
				m.at[i].replica = m.at[i].node = i + 1u;
				m.at[i].role_new = (uint8_t)(ROLE_VOTER + rest % 3);
				m.at[i].region = (uint8_t)(rest / 3 % count);
				m.at[i].zone = i;
			}
			if (!canonical(&m) || (count == 4 && number % 3 == 1))
				continue;
			compare_rules(&m);
			compared++;
		}
	}
	assert_true(compared > 500);
}

static struct membership random_membership(struct prng *prng, unsigned count_max)
{
	struct membership m = { .count = (uint8_t)(1 + prng_below(prng, count_max)), .joint = prng_below(prng, 2) };
	struct quorum_rule *rules[] = { &m.rule_old, &m.rule_new };
	for (unsigned i = 0; i < 2; i++) {
		rules[i]->voters = (uint8_t)prng_below(prng, m.count + 1u);
		rules[i]->copies = (uint8_t)prng_below(prng, m.count + 1u);
		rules[i]->regions = (uint8_t)prng_below(prng, 3);
		rules[i]->areas = prng_below(prng, 2) ? (uint8_t)prng_below(prng, 8) : 0;
		rules[i]->degrade = (uint8_t)prng_below(prng, 3);
	}
	for (uint8_t i = 0; i < m.count; i++) {
		struct member *member = &m.at[i];
		member->replica = member->node = i + 1u;
		member->role_new = (uint8_t)(prng_below(prng, 3) ? ROLE_VOTER : prng_below(prng, 4));
		member->role_old = (uint8_t)(prng_below(prng, 3) ? ROLE_VOTER : prng_below(prng, 4));
		member->region = (uint8_t)prng_below(prng, 4);
		member->zone = (uint8_t)(member->region * 2 + prng_below(prng, 2));
		member->areas = (uint8_t)prng_below(prng, 8);
	}
	return m;
}

static void test_random_configurations(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 20240607);
	unsigned joint = 0;
	for (unsigned run = 0; run < 6000; run++) {
		struct membership m = random_membership(&prng, run % 20 == 0 ? 7 : 5);
		joint += m.joint;
		compare(&m);
	}
	assert_true(joint > 2000);
}

/* --- the cases that have names ------------------------------------------------------------------------- */

static struct membership three(void)
{
	struct membership m = { .count = 3 };
	for (uint8_t i = 0; i < 3; i++)
		m.at[i] = (struct member){
			.replica = i + 11u, .node = i + 1u, .role_new = ROLE_VOTER, .region = i, .zone = i
		};
	return m;
}

static bool dual_elects(const struct membership *m, member_set granted)
{
	for (unsigned set = 0; set < 1u << m->count; set++)
		if (plain_commits(m, false, set) && (set & granted) == 0)
			return false;
	return true;
}

static bool majority_elects(const struct membership *m, member_set granted)
{
	return 2 * size_of(granted) > m->count;
}

/* With ack by all three the dual alone lets {A} and {B} elect in one term. */
static void test_the_dual_alone_elects_two_leaders(void **state)
{
	(void)state;
	struct membership m = three();
	m.rule_new = (struct quorum_rule){ .voters = 3, .copies = 3 };
	assert_true(dual_elects(&m, A));
	assert_true(dual_elects(&m, B));
	assert_false(quorum_elects(&m, A));
	assert_false(quorum_elects(&m, B));
	assert_true(quorum_elects(&m, A | B));
}

/* With ack by one copy a majority may not know of it: all three must elect. */
static void test_the_majority_alone_misses_commits(void **state)
{
	(void)state;
	struct membership m = three();
	m.rule_new = (struct quorum_rule){ .voters = 1, .copies = 1 };
	assert_true(quorum_commits(&m, B));
	assert_false(quorum_elects(&m, A | C));
	assert_true(quorum_elects(&m, A | B | C));
	struct quorum_flaw flaw;
	assert_false(quorum_check_by(&m, SURVIVE_NONE, quorum_commits, majority_elects, &flaw));
	assert_int_equal(flaw.kind, QUORUM_DISJOINT);
	assert_int_equal(flaw.commit & flaw.election, 0);
	assert_true(quorum_commits(&m, flaw.commit));
	assert_true(majority_elects(&m, flaw.election));
}

static void test_learners_never_count(void **state)
{
	(void)state;
	struct membership m = three();
	m.at[2].role_new = ROLE_LEARNER;
	assert_int_equal(membership_voters(&m), A | B);
	assert_false(quorum_commits(&m, A | C));
	assert_false(quorum_elects(&m, A | C));
	assert_false(quorum_blocks_elections(&m, C));
	assert_true(quorum_commits(&m, A | B));
	assert_false(membership_is_voter(&m, 13));
	assert_true(membership_is_voter(&m, 12));
	assert_false(membership_is_voter(&m, 99));
}

static void test_a_witness_is_a_vote_and_no_copy(void **state)
{
	(void)state;
	struct membership m = three();
	m.at[2].role_new = ROLE_WITNESS;
	m.at[2].areas = 1;
	assert_true(quorum_commits(&m, A | C));
	assert_true(quorum_elects(&m, A | C));
	m.rule_new.copies = 2;
	assert_false(quorum_commits(&m, A | C));
	assert_true(quorum_commits(&m, A | B));
	m.rule_new = (struct quorum_rule){ .regions = 2 };
	assert_false(quorum_commits(&m, A | C));
	m.rule_new = (struct quorum_rule){ .areas = 1 };
	assert_false(quorum_commits(&m, A | B | C));
	/* votes alone hold nothing */
	m.rule_new = (struct quorum_rule){ 0 };
	m.at[1].role_new = ROLE_WITNESS;
	assert_false(quorum_commits(&m, B | C));
	assert_true(quorum_commits(&m, A | C));
}

static void expect_flaw(struct membership m, enum survive survive, enum quorum_flaw_kind kind)
{
	struct quorum_flaw flaw;
	assert_int_equal(quorum_check(&m, survive, &flaw), kind == QUORUM_SOUND);
	assert_int_equal(flaw.kind, kind);
}

static void test_a_witness_stands_in_for_a_lost_copy(void **state)
{
	(void)state;
	struct membership m = three();
	m.at[2].role_new = ROLE_WITNESS;
	m.rule_new = (struct quorum_rule){ .copies = 2, .degrade = DEGRADE_MAY };
	assert_false(quorum_commits(&m, A | C));
	assert_false(quorum_commits(&m, B | C));
	assert_true(quorum_commits(&m, A | B));
	const member_set elect[] = { A | B, A | C, B | C };
	for (unsigned degraded = 0; degraded < 2; degraded++) {
		for (unsigned i = 0; i < 3; i++)
			assert_true(quorum_elects(&m, elect[i]));
		assert_false(quorum_elects(&m, A));
		assert_false(quorum_elects(&m, C));
		expect_flaw(m, SURVIVE_REGION, degraded ? QUORUM_LOSS_LOSES_DATA : QUORUM_SOUND);
		m.rule_new.degrade = DEGRADED;
	}
	assert_true(quorum_commits(&m, A | C));
	assert_true(quorum_commits(&m, B | C));
	assert_false(quorum_commits(&m, A));
	assert_false(quorum_commits(&m, C));
	/* a copy and its witness in one region: lost together */
	m.rule_new.degrade = DEGRADE_MAY;
	m.at[2].region = m.at[2].zone = 0;
	m.at[0].region = m.at[0].zone = 0;
	expect_flaw(m, SURVIVE_REGION, QUORUM_LOSS_STOPS_WRITES);
	m.rule_new.degrade = DEGRADE_NEVER;
	expect_flaw(m, SURVIVE_NODE, QUORUM_LOSS_STOPS_WRITES);
	m.rule_new.degrade = DEGRADED + 1;
	assert_false(membership_valid(&m));
}

static void test_both_configurations_while_joint(void **state)
{
	(void)state;
	/* A B C -> C D E */
	struct membership m = { .count = 5, .joint = true };
	for (uint8_t i = 0; i < 5; i++)
		m.at[i] = (struct member){ .replica = i + 1u,
			.node = i + 1u,
			.role_old = i <= 2 ? ROLE_VOTER : ROLE_NONE,
			.role_new = i >= 2 ? ROLE_VOTER : ROLE_NONE,
			.region = i,
			.zone = i };
	assert_true(membership_valid(&m));
	assert_false(quorum_commits(&m, A | B));
	assert_false(quorum_commits(&m, D | E));
	assert_true(quorum_commits(&m, A | C | D));
	assert_false(quorum_elects(&m, A | B | D));
	assert_true(quorum_elects(&m, A | B | D | E));
	/* each of them alone could still elect */
	assert_false(quorum_blocks_elections(&m, A | B));
	assert_false(quorum_blocks_elections(&m, D | E));
	assert_true(quorum_blocks_elections(&m, A | B | D | E));
	assert_int_equal(membership_voters(&m), A | B | C | D | E);
	m.joint = false;
	m.count = 5;
	assert_int_equal(membership_voters(&m), C | D | E);
}

static void test_each_kind_of_flaw(void **state)
{
	(void)state;
	struct membership m = three();
	expect_flaw(m, SURVIVE_REGION, QUORUM_SOUND);
	m.rule_new.copies = 4;
	expect_flaw(m, SURVIVE_NONE, QUORUM_NO_COMMIT_SET);
	m.rule_new = (struct quorum_rule){ .voters = 3 };
	expect_flaw(m, SURVIVE_NONE, QUORUM_SOUND);
	expect_flaw(m, SURVIVE_NODE, QUORUM_LOSS_STOPS_WRITES);
	m.rule_new = (struct quorum_rule){ .voters = 1 };
	expect_flaw(m, SURVIVE_NODE, QUORUM_LOSS_STOPS_ELECTIONS);
	/* a copy and its witness commit; the copy is lost, and the other data replica can win without it */
	m = three();
	m.at[2].role_new = ROLE_WITNESS;
	expect_flaw(m, SURVIVE_NODE, QUORUM_LOSS_LOSES_DATA);
	m = three();
	m.at[1].region = m.at[1].zone = 0;
	expect_flaw(m, SURVIVE_REGION, QUORUM_LOSS_STOPS_WRITES);
	expect_flaw(m, SURVIVE_ZONE, QUORUM_LOSS_STOPS_WRITES);
	m.at[1].zone = 1;
	expect_flaw(m, SURVIVE_ZONE, QUORUM_SOUND);
}

static void test_sixteen_members_are_checked(void **state)
{
	(void)state;
	struct membership m = { .count = 16 };
	for (uint8_t i = 0; i < 16; i++)
		m.at[i] = (struct member){
			.replica = i + 1u, .node = i + 1u, .role_new = ROLE_VOTER, .region = i, .zone = i
		};
	assert_true(membership_valid(&m));
	expect_flaw(m, SURVIVE_REGION, QUORUM_SOUND);
	m.rule_new.voters = 16;
	expect_flaw(m, SURVIVE_NODE, QUORUM_LOSS_STOPS_WRITES);
	m.at[15].region = 255;
	m.rule_new = (struct quorum_rule){ .regions = 16 };
	assert_true(quorum_commits(&m, 0xffff));
	assert_false(quorum_commits(&m, 0x7fff));
}

static void test_what_is_no_membership(void **state)
{
	(void)state;
	struct membership m = three();
	assert_true(membership_valid(&m));
	assert_int_equal(membership_find(&m, 12), 1);
	assert_int_equal(membership_find(&m, 1), -1);
	m.count = 0;
	assert_false(membership_valid(&m));
	m.count = REPLICAS_MAX + 1;
	assert_false(membership_valid(&m));
	m = three();
	m.at[2].replica = 11;
	assert_false(membership_valid(&m));
	m = three();
	m.at[2].node = 1;
	assert_false(membership_valid(&m));
	m = three();
	m.at[2].zone = 0; /* one zone in two regions */
	assert_false(membership_valid(&m));
	m = three();
	m.at[0].replica = 0;
	assert_false(membership_valid(&m));
	m = three();
	m.at[0].role_new = ROLE_NONE;
	assert_false(membership_valid(&m));
	m = three();
	m.at[0].role_new = 4;
	assert_false(membership_valid(&m));
	m = three();
	m.at[0].role_new = m.at[1].role_new = ROLE_WITNESS;
	m.at[2].role_new = ROLE_LEARNER;
	assert_false(membership_valid(&m));
	m = three();
	m.joint = true; /* nobody in the old one */
	assert_false(membership_valid(&m));
	m.at[0].role_old = ROLE_VOTER;
	assert_true(membership_valid(&m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_small_configuration),
		cmocka_unit_test(test_random_configurations),
		cmocka_unit_test(test_the_dual_alone_elects_two_leaders),
		cmocka_unit_test(test_the_majority_alone_misses_commits),
		cmocka_unit_test(test_learners_never_count),
		cmocka_unit_test(test_a_witness_is_a_vote_and_no_copy),
		cmocka_unit_test(test_a_witness_stands_in_for_a_lost_copy),
		cmocka_unit_test(test_both_configurations_while_joint),
		cmocka_unit_test(test_each_kind_of_flaw),
		cmocka_unit_test(test_sixteen_members_are_checked),
		cmocka_unit_test(test_what_is_no_membership),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
