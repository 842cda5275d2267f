/* policy/quorum.c: see policy/quorum.h.
 *
 * Adding a member to a commit set leaves it a commit set. All else follows from that without enumeration:
 *   G meets every commit set     <=>  what is not in G is not a commit set,
 *   P meets every election set   <=>  what is not in P is not an election set,
 *   some commit set has no data outside L  <=>  L with all witnesses is a commit set.
 * So a vote costs one count, and the enumeration is left to the check and to the tests, which hold all this against
 * the definitions, set by set. */
#include "policy/quorum.h"
#include "policy/quorum_internal.h"

#include <assert.h>

enum configuration { CONFIGURATION_OLD, CONFIGURATION_NEW };

static bool in_force(const struct membership *membership, enum configuration configuration)
{
	return configuration == CONFIGURATION_NEW || membership->joint;
}

static uint8_t role_of(const struct member *member, enum configuration configuration)
{
	return configuration == CONFIGURATION_NEW ? member->role_new : member->role_old;
}

static unsigned count_of(member_set set)
{
	unsigned count = 0; /* by hand: without popcnt the compiler would call its library */
	for (; set; set &= set - 1)
		count++;
	return count;
}

/* Members with that role; several roles as bits. */
static member_set members_with(const struct membership *membership, enum configuration configuration, unsigned roles)
{
	assert(membership->count <= REPLICAS_MAX);
	member_set set = 0;
	for (unsigned i = 0; i < membership->count; i++)
		if (roles >> role_of(&membership->at[i], configuration) & 1)
			set |= (member_set)1 << i;
	return set;
}

static member_set votes_of(const struct membership *membership, enum configuration configuration)
{
	return members_with(membership, configuration, 1u << ROLE_VOTER | 1u << ROLE_WITNESS);
}

static member_set data_of(const struct membership *membership, enum configuration configuration)
{
	return members_with(membership, configuration, 1u << ROLE_VOTER);
}

static const struct quorum_rule *rule_of(const struct membership *membership, enum configuration configuration)
{
	return configuration == CONFIGURATION_NEW ? &membership->rule_new : &membership->rule_old;
}

static bool commits_by(const struct membership *membership, enum configuration configuration,
	const struct quorum_rule *rule, member_set durable)
{
	member_set votes = votes_of(membership, configuration);
	member_set data = data_of(membership, configuration) & durable;
	unsigned votes_needed = rule->voters ? rule->voters : count_of(votes) / 2 + 1;
	if (count_of(votes & durable) < votes_needed)
		return false;
	/* Votes alone are no copy: what nobody holds is not durable. */
	if (data == 0 || count_of(data) < rule->copies)
		return false;

	uint64_t regions[4] = { 0 }; /* a bit per region number */
	unsigned region_count = 0;
	uint8_t areas = 0;
	for (unsigned i = 0; i < membership->count; i++) {
		if (!(data >> i & 1))
			continue;
		const struct member *member = &membership->at[i];
		uint64_t bit = UINT64_C(1) << (member->region % 64);
		region_count += (regions[member->region / 64] & bit) == 0;
		regions[member->region / 64] |= bit;
		areas |= member->areas;
	}
	return region_count >= rule->regions && (rule->areas & ~areas) == 0;
}

static const struct quorum_rule degraded_rule = { .copies = 1, .degrade = DEGRADED };

/* By the rule in force. */
static bool commits_in(const struct membership *membership, enum configuration configuration, member_set durable)
{
	const struct quorum_rule *rule = rule_of(membership, configuration);
	return commits_by(membership, configuration, rule->degrade == DEGRADED ? &degraded_rule : rule, durable);
}

/* Who elects never changes with the rule in force: what is not granted is a commit set by neither. */
static bool elects_in(const struct membership *membership, enum configuration configuration, member_set granted)
{
	const struct quorum_rule *rule = rule_of(membership, configuration);
	member_set votes = votes_of(membership, configuration);
	if (count_of(votes & granted) < count_of(votes) / 2 + 1)
		return false;
	if (rule->degrade != DEGRADE_NEVER && commits_by(membership, configuration, &degraded_rule, votes & ~granted))
		return false;
	return !commits_by(membership, configuration, rule, votes & ~granted);
}

int membership_find(const struct membership *membership, uint64_t replica)
{
	assert(membership->count <= REPLICAS_MAX);
	for (int i = 0; i < membership->count; i++)
		if (membership->at[i].replica == replica)
			return i;
	return -1;
}

member_set membership_voters(const struct membership *membership)
{
	member_set set = votes_of(membership, CONFIGURATION_NEW);
	if (membership->joint)
		set |= votes_of(membership, CONFIGURATION_OLD);
	return set;
}

bool membership_is_voter(const struct membership *membership, uint64_t replica)
{
	int position = membership_find(membership, replica);
	return position >= 0 && (membership_voters(membership) >> position & 1);
}

bool member_is_witness(const struct member *member)
{
	return member->role_new == ROLE_WITNESS || member->role_old == ROLE_WITNESS;
}

static bool member_valid(const struct membership *membership, unsigned i)
{
	const struct member *member = &membership->at[i];
	if (member->replica == 0 || member->node == 0)
		return false;
	if (member->role_new > ROLE_WITNESS || member->role_old > ROLE_WITNESS)
		return false;
	if (member->role_new == ROLE_NONE && (!membership->joint || member->role_old == ROLE_NONE))
		return false;
	for (unsigned j = 0; j < i; j++) {
		const struct member *other = &membership->at[j];
		if (other->replica == member->replica || other->node == member->node)
			return false;
		if (other->zone == member->zone && other->region != member->region)
			return false;
	}
	return true;
}

bool membership_valid(const struct membership *membership)
{
	if (membership->count == 0 || membership->count > REPLICAS_MAX)
		return false;
	for (unsigned i = 0; i < membership->count; i++)
		if (!member_valid(membership, i))
			return false;
	if (membership->rule_old.degrade > DEGRADED || membership->rule_new.degrade > DEGRADED)
		return false;
	if (membership->joint && data_of(membership, CONFIGURATION_OLD) == 0)
		return false;
	return data_of(membership, CONFIGURATION_NEW) != 0;
}

void membership_add_witness(struct membership *membership, uint64_t replica, uint64_t node)
{
	assert(membership->count < REPLICAS_MAX);
	uint8_t number = 0; /* above all that are in use */
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];
		number = member->region >= number ? (uint8_t)(member->region + 1) : number;
		number = member->zone >= number ? (uint8_t)(member->zone + 1) : number;
	}
	membership->at[membership->count++] = (struct member){
		.replica = replica, .node = node, .role_new = ROLE_WITNESS, .region = number, .zone = number
	};
}

bool quorum_commits(const struct membership *membership, member_set durable)
{
	for (enum configuration c = CONFIGURATION_OLD; c <= CONFIGURATION_NEW; c++)
		if (in_force(membership, c) && !commits_in(membership, c, durable))
			return false;
	return true;
}

bool quorum_elects(const struct membership *membership, member_set granted)
{
	for (enum configuration c = CONFIGURATION_OLD; c <= CONFIGURATION_NEW; c++)
		if (in_force(membership, c) && !elects_in(membership, c, granted))
			return false;
	return true;
}

/* Blocking one of two joint configurations would do for today's elections; but a voter that has not seen the joint
 * entry, or has seen its end already, elects by one of them alone. So each is blocked on its own. */
bool quorum_blocks_elections(const struct membership *membership, member_set promised)
{
	for (enum configuration c = CONFIGURATION_OLD; c <= CONFIGURATION_NEW; c++)
		if (in_force(membership, c) && elects_in(membership, c, votes_of(membership, c) & ~promised))
			return false;
	return true;
}

/* --- the check of a rule ------------------------------------------------------------------------- */

/* What is lost together with member i. */
static member_set lost_with(const struct membership *membership, unsigned i, enum survive survive)
{
	member_set lost = 0;
	const struct member *one = &membership->at[i];
	for (unsigned j = 0; j < membership->count; j++) {
		const struct member *other = &membership->at[j];
		bool together = i == j || (survive == SURVIVE_ZONE && other->zone == one->zone) ||
				(survive == SURVIVE_REGION && other->region == one->region);
		if (together)
			lost |= (member_set)1 << j;
	}
	return lost;
}

/* The set without members that it does not need to be one: a counterexample that people can read. */
static member_set smallest(const struct membership *membership, member_set set, quorum_predicate *holds)
{
	for (unsigned i = 0; i < membership->count; i++) {
		member_set without = set & ~((member_set)1 << i);
		if (without != set && holds(membership, without))
			set = without;
	}
	return set;
}

static bool found(
	struct quorum_flaw *flaw, enum quorum_flaw_kind kind, member_set commit, member_set election, member_set lost)
{
	*flaw = (struct quorum_flaw){ .kind = kind, .commit = commit, .election = election, .lost = lost };
	return false;
}

/* Every subset of the votes, as (set - votes) & votes counts them up. */
static bool intersect(const struct membership *membership, quorum_predicate *commits, quorum_predicate *elects,
	struct quorum_flaw *flaw)
{
	member_set votes = votes_of(membership, CONFIGURATION_NEW), set = 0;
	do {
		if (commits(membership, set) && elects(membership, votes & ~set))
			return found(flaw, QUORUM_DISJOINT, smallest(membership, set, commits),
				smallest(membership, votes & ~set, elects), 0);
		set = (set - votes) & votes;
	} while (set != 0);
	return true;
}

bool quorum_check_by(const struct membership *membership, enum survive survive, quorum_predicate *commits,
	quorum_predicate *elects, struct quorum_flaw *flaw)
{
	assert(!membership->joint);
	assert(membership->count <= REPLICAS_MAX);
	assert(survive <= SURVIVE_REGION);
	member_set votes = votes_of(membership, CONFIGURATION_NEW);
	member_set data = data_of(membership, CONFIGURATION_NEW);
	/* The rule that comes into force once something is lost; what was acknowledged before was by the whole rule. */
	struct membership then = *membership;
	if (then.rule_new.degrade != DEGRADE_NEVER)
		then.rule_new.degrade = DEGRADED;
	if (!commits(membership, votes))
		return found(flaw, QUORUM_NO_COMMIT_SET, 0, 0, 0);
	if (!intersect(membership, commits, elects, flaw) || !intersect(&then, commits, elects, flaw))
		return false;

	for (unsigned i = 0; survive != SURVIVE_NONE && i < membership->count; i++) {
		member_set lost = lost_with(membership, i, survive);
		if (!commits(&then, votes & ~lost))
			return found(flaw, QUORUM_LOSS_STOPS_WRITES, 0, 0, lost);
		if (!elects(membership, votes & ~lost))
			return found(flaw, QUORUM_LOSS_STOPS_ELECTIONS, 0, 0, lost);
		/* The largest set whose data is all lost; who survives with data of a commit set, wins with all
		 * survivors. */
		member_set gone = votes & (lost | ~data);
		if (commits(membership, gone))
			return found(flaw, QUORUM_LOSS_LOSES_DATA, smallest(membership, gone, commits), 0, lost);
	}
	*flaw = (struct quorum_flaw){ .kind = QUORUM_SOUND };
	return true;
}

bool quorum_check(const struct membership *membership, enum survive survive, struct quorum_flaw *flaw)
{
	return quorum_check_by(membership, survive, quorum_commits, quorum_elects, flaw);
}
