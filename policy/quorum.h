/* policy/quorum.h: who must hold an entry before it counts, and who may elect, as pure predicates on sets of
 * members. A set is a bit mask over membership->at[].
 *
 * Commit rule of a configuration (struct quorum_rule): at least `voters` of its voters (0: a majority), in at least
 * `regions` regions, at least `copies` voters with data and never none, a voter with data in each area of `areas`.
 * A rule that may degrade (docs/witness.md) asks for a majority with one copy while it is degraded.
 * Learners never count; a witness counts as a vote, never as a copy, a region's data or an area. Adding a member to a
 * commit set keeps it one.
 *
 * Election rule: every voter set that meets ALL commit sets of every rule that may come into force AND contains a
 * majority of the voters. (The dual alone elects two leaders in one term when `ack` asks for more than a majority:
 * with ack by all of {A, B, C}, {A} and {B} each meet every commit set.) So any two election sets meet.
 *
 * While a configuration is joint both must be satisfied, each by its own members. Promises then block each of the two
 * on its own: a voter that has not yet, or no longer, both in its log elects by one. */
#ifndef DOMICILE_POLICY_QUORUM_H
#define DOMICILE_POLICY_QUORUM_H

#include "base/membership.h"

typedef uint32_t member_set;

int membership_find(const struct membership *membership, uint64_t replica); /* position, or -1 */
/* Voters and witnesses of every configuration in force. */
member_set membership_voters(const struct membership *membership);
bool membership_is_voter(const struct membership *membership, uint64_t replica);
/* In whichever configuration it is a member: a replica keeps its role for life. */
bool member_is_witness(const struct member *member);
/* Well formed: bounds, distinct replicas and nodes, a voter with data in each configuration in force. */
bool membership_valid(const struct membership *membership);

/* A witness in a region and a zone of its own. */
void membership_add_witness(struct membership *membership, uint64_t replica, uint64_t node);

bool quorum_commits(const struct membership *membership, member_set durable);
bool quorum_elects(const struct membership *membership, member_set granted);
/* This set meets every election set of every configuration in force: while all of it has promised to elect nobody,
 * nobody is elected. */
bool quorum_blocks_elections(const struct membership *membership, member_set promised);

/* The check made when a policy is applied, by enumeration over one plain configuration. `survive` names what may be
 * lost with writes going on and nothing acknowledged lost. */
enum survive { SURVIVE_NONE = 0, SURVIVE_NODE = 1, SURVIVE_ZONE = 2, SURVIVE_REGION = 3 };
enum quorum_flaw_kind {
	QUORUM_SOUND = 0,
	QUORUM_NO_COMMIT_SET,	  /* not even all members commit */
	QUORUM_DISJOINT,	  /* `commit` and `election` have no member in common */
	QUORUM_LOSS_STOPS_WRITES, /* without `lost` no commit set is left */
	QUORUM_LOSS_STOPS_ELECTIONS,
	QUORUM_LOSS_LOSES_DATA, /* acknowledged by `commit`, lost with `lost`: no survivor with data can win */
};
struct quorum_flaw {
	enum quorum_flaw_kind kind;
	member_set commit, election, lost;
};
/* True: sound. False: the counterexample is in flaw. */
bool quorum_check(const struct membership *membership, enum survive survive, struct quorum_flaw *flaw);

#endif
