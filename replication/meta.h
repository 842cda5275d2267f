/* replication/meta.h: meta's state machine: applies changes to the cluster map, in the order of meta's log, with the
 * same result on every replica. Pure: the map is caller's memory, time is in the change.
 *
 * What holds after every apply (meta_check asserts it):
 *  - every wanted replica of every shard is on a node that the shard's policy allows to store; every policy is
 *    satisfiable over the registered nodes at the time it was applied; bindings only tighten what is around them;
 *  - ids never repeat; the epoch grows by exactly one with each accepted change;
 *  - regions' places do not contain one another; names and places are unique.
 *
 * A change is refused as a whole: nothing of it stays. The flaw says what, why, and what to do. A report that repeats
 * what is known (a node that asks again, a membership or fence reported twice) is OK and changes nothing, not even the
 * epoch; every other change that is taken makes the epoch grow by one, but for LEDGER_HEAD: it changes no rule.
 *
 * What each change does:
 *  - INIT: only on an empty map (else CONFLICT). Region, node (id 2, meta's only voter, replica id 3; 1 is
 *    META_GROUP).
 *  - REGION_ADD: the CA must be given (its name constraint is checked where OpenSSL is: the server that takes
 *    the request).
 *  - NODE_ADMIT: place = a registered region's path + zone + node, exactly. A place taken by another
 *    incarnation: CONFLICT; the same incarnation again: OK, same id. Meta's voters: one a region, odd, at most
 *    five, so they grow by two when two more regions (in order of registration) have a node; all others are
 *    learners. meta_voter is what is wanted; meta's leader moves the membership there.
 *  - APPLY: every policy is checked by itself and placed on the registered nodes, then all bindings on the map
 *    as it would be. A new policy gets SHARDS_PER_POLICY shards with equal hash ranges, placed (replicas ==
 *    wanted, generation 0). A changed one: placement_choose per shard with `current`; shards whose wanted set
 *    differs get an OPERATION_POLICY, and so do those that an earlier one of it, or a placement, moves, which has
 *    failed then; those that leave what is drained do so, to where the policy wants them. CONFLICT while a binding
 *    takes keys of it along. What it said before is
 *    kept, of each policy the last POLICY_VERSIONS_MAX, of all MAP_VERSIONS_MAX; the oldest are forgotten. A policy
 *    that leaves the file stays. Bindings: as BINDING_SET.
 *  - BINDING_SET: a binding under which keys may already live elsewhere (another one covers them): pending, and
 *    an OPERATION_BINDING starts. FENCE: the shards of the covering policy fence the prefix and report how many keys
 *    they hold. No key anywhere: SEAL, versions in the shards of the policy to come begin above those of before, and
 *    it is in force. A key somewhere: COPY, they send them to those shards, which show them to nobody; CLOSE, those
 *    end that, and SEAL; then the binding is in force; PURGE, the first ones remove what they had. A key that cannot
 *    go: ABORT, all is as before at once, and has failed when what was copied is removed. From COPY to the end no
 *    binding changes that could cover one of the keys (CONFLICT); an operation around another one WAITs for it after
 *    its fences. No binding covers it, or one of the same policy: in force at once.
 *  - ... over one that is there: the old one stays in force until the operation ends (map_binding_in_force
 *    tells old from new). operation.policy is the fenced policy, binding_policy the one to come, 0: none.
 *  - ... tightens only, against what is around and what is inside, whatever becomes of pending ones.
 *  - ... of an exact key: meta sees a hash, so any prefix may be around it: all their policies are fenced (at
 *    most eight; operation.policy is 0 when more than one), and the policy must tighten at least one of them.
 *    That it tightens the right one is checked by who has the key (placement_tightens): before it is copied, too.
 *  - BINDING_UNSET: the keys fall to the next shorter binding: the same, from its own policy's shards. To none: only
 *    if there is no key.
 *  - SHARD_PLACE: nodes must be allowed, counts as the policy says (refused with the rule otherwise);
 *    OPERATION_PLACE. CONFLICT while the shard moves.
 *  - SHARD_SPLIT: the upper half of a shard's hashes goes to a new shard on the same nodes; OPERATION_SPLIT. BIRTH: the
 *    new one has a leader; then FENCE to PURGE as of a binding, between the two. SHARD_MERGE: all of a shard's hashes
 *    go to its neighbour in the same policy, which is wanted on the same nodes; OPERATION_MERGE. At the switch the
 *    shard leaves the map. CONFLICT while an operation moves one of them, or keys of their policy; BINDING_* that
 *    would move such keys are refused meanwhile.
 *  - SHARD_REPORT: generation one above (else CONFLICT: stale); replicas as in the committed membership. When
 *    they equal wanted, the operation's step is done; when all its steps are done, the operation is.
 *  - ... of a shard that is wanted elsewhere before it has come to where it was wanted: who was to come may be a member
 *    by now, so `replicas` names it until a report is without it. The generation is one higher then: what was
 *    reported of before is stale. That a report leaves out nobody who could still become a member, the shard's leader
 *    sees to (server/mover.c).
 *  - ... with the id of a plan: only if just that plan would be carried out (policy/plan.h), else CONFLICT. The id is
 *    looked at here, in the log's order, so nothing can come between.
 *  - LEDGER_HEAD: kept if it is ahead of the one kept. One that goes back, or has another hash at the same
 *    sequence: CONFLICT, the node's past is not what it said it was.
 *  - META_REPORT: which nodes are meta voters in fact (meta_voting). Decommissioned nodes that are no members of
 *    meta any more leave the map.
 *  - NODE_STATE, REGION_STATE: LEADLESS: leads go elsewhere (the leaders see to it). DRAINING: no new replica comes
 *    there, and every shard that wants one there is placed anew, all in one OPERATION_DRAIN; meta's voters likewise
 *    (a region gets a second one rather than that there be fewer). What another operation moves there already goes
 *    elsewhere within that one. RESIDENCY_REFUSED when a policy leaves one of them no other place; then nothing
 *    changes. Nodes that are away, says the change, get nothing that has another place. ACTIVE: had back; what left
 *    stays where it is.
 *    FENCED, of a region: its nodes take nothing, and what can be placed elsewhere is; the rest stays wanted there
 *    until the same change comes again, or another that drains.
 *  - REBALANCE: replicas move from nodes that carry many to such as carry few, where the policies let them
 *    (policy/level.h), all in one OPERATION_REBALANCE; shards that another operation moves, splits or merges stay.
 *    Nothing to move: OK, no operation, or the id of one that is still at it.
 *  - CANCEL: of a placement, a drain or a rebalance: what has not come to where it was wanted goes back where it may
 * (meta_cancel.c); of a binding, before the switch: all is as before. CONFLICT for a policy, which is in force, and for
 * what has ended.
 *  - NODE_REMOVE: of a drained node that no shard names, and that votes in meta no more: GONE, until meta's
 *    membership is reported without it. Its id is never given again; its place is free then.
 *
 * MEMORY: caller's. A change that is only judged marks the map and takes the marks out again, so nobody may look at the
 * map during the call; about 120 KiB of stack. */
#ifndef DOMICILE_REPLICATION_META_H
#define DOMICILE_REPLICATION_META_H

#include "policy/change.h"
#include "policy/placement.h"

/* Ids that INIT gives: the first node and meta's first replica. */
enum { META_FIRST_NODE = 2, META_FIRST_REPLICA = 3 };

struct meta_result {
	enum status status;
	uint64_t id;	  /* of the node admitted or the operation started */
	uint64_t epoch;	  /* after */
	struct flaw flaw; /* when status is not OK */
};

/* Applies, or with dry_run only judges. `change` may point into anything; the map copies. */
void meta_apply(struct cluster_map *map, const struct change *change, struct meta_result *result);
void meta_check(const struct cluster_map *map);
uint64_t meta_digest(const struct cluster_map *map);
/* The membership that meta should have: from the nodes' meta_voter. */
void meta_membership_wanted(const struct cluster_map *map, struct membership *membership);

#endif
