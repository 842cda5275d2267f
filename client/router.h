/* client/router.h: where an operation on a key may go from here, and in which order to try. Pure decisions over the
 * newest cluster map, this client's own attested place, measured round trips and leader hints: no socket, no clock, no
 * allocation; time comes with the call. Used by the client library, the simulator and `key explain` alike.
 *
 * What it keeps: no byte of a key leaves before the key was resolved to its policy, and then only to a node whose place
 * the policy lets hold the key. What it refuses, it refuses with a text for people, which never holds bytes of a key.
 *
 * Caller's memory: two maps (a new one is decoded beside the one in use, so a bad one changes nothing). One thread. */
#ifndef DOMICILE_CLIENT_ROUTER_H
#define DOMICILE_CLIENT_ROUTER_H

#include "policy/map.h"
#include "wire/message.h"

enum { ROUTER_WHY_MAX = 224 };

struct router;

/* Where a key belongs, by the map of that epoch. */
struct router_target {
	uint64_t map_epoch; /* 0: not resolved yet */
	uint64_t policy, shard;
};

size_t router_size(const struct map_limits *limits);
/* `memory` of router_size bytes, zeroed, aligned to 8. `place`: this client's, from its certificate; "" for an
 * administrator, who may touch no key. Until a map is learned everything is refused. */
struct router *router_init(void *memory, const struct map_limits *limits, const char *place);

/* A map as it came from a node. An older or equal epoch changes nothing and is OK. INVALID: malformed. UNSUPPORTED: of
 * a newer format. DENIED: of another cluster. On failure the map in use stays. */
enum status router_learn_map(struct router *router, struct bytes encoded) MUST;
const struct cluster_map *router_map(const struct router *router); /* epoch 0: none yet; valid until the next learn */
uint64_t router_epoch(const struct router *router);

/* key -> binding -> policy -> shard. `guard`: the policy that the caller expects, or NULL. RESIDENCY_REFUSED,
 * POLICY_MISMATCH with *why; QUORUM_UNAVAILABLE while there is no map. */
enum status router_resolve(const struct router *router, struct bytes key, bool write, const char *guard,
	struct router_target *target, char why[ROUTER_WHY_MAX]) MUST;
/* May this client read (or write) under that policy? For scans, which name a policy and no key. */
enum status router_may_access(const struct router *router, uint64_t policy, bool write, char why[ROUTER_WHY_MAX]) MUST;

/* Nodes to try, best first: replicas of the shard with data, voters and learners, on nodes whose place the policy
 * allows, by RTT. A write is handed to the nearest, its origin; the leader goes before one that is less than a
 * millisecond nearer, and before all with leader_first or after a refusal to be origin. Nodes that were just lost come
 * last. The count; 0: none. */
unsigned router_candidates(const struct router *router, uint64_t shard, uint8_t operation, bool leader_first,
	uint64_t now_ns, uint64_t nodes[REPLICAS_MAX]);
/* A replica named the leader instead of forwarding a write: for two seconds writes of the shard go to the leader first.
 */
void router_refused_origin(struct router *router, uint64_t shard, uint64_t now_ns);
/* The node is in the map and the policy lets its place hold the policy's keys. */
bool router_may_send(const struct router *router, uint64_t policy, uint64_t node);
uint64_t router_policy_epoch(const struct router *router, uint64_t policy); /* of its last change; 0: unknown */
/* The longest beginning of `bytes` (a scan's prefix, or where it resumes) that may go to that node: all of it where the
 * policy that covers it allows the node's place, else only what an administrator's binding says anyway. */
struct bytes router_sendable(const struct router *router, struct bytes bytes, uint64_t node);

/* Leader hints: from what answers name. That a write succeeded says nothing of who leads. */
void router_learn_leader(struct router *router, uint64_t shard, uint64_t node);
void router_forget_leader(struct router *router, uint64_t shard, uint64_t node); /* only if the hint is this node */
uint64_t router_leader(const struct router *router, uint64_t shard);		 /* 0: unknown */
uint64_t router_leader_guess(const struct router *router, uint64_t shard);	 /* else whom the map wants to lead */

/* Round trips, smoothed: each sample moves the mean by an eighth. */
void router_learn_rtt(struct router *router, uint64_t node, uint32_t rtt_us);
/* Measured; else that of the nearest measured node of its region; else a guess from coordinates, or by how
 * much of the place is shared. */
uint32_t router_rtt_us(const struct router *router, uint64_t node, bool *measured);
/* The connection to the node failed, or it is silent: it comes last for a while, longer each time, or until it answers.
 */
void router_node_lost(struct router *router, uint64_t node, uint64_t now_ns);
/* An operation goes there. If it was lost and has not answered since, this one is the trial: the others still come to
 * it last until it answers. */
void router_node_tried(struct router *router, uint64_t node, uint64_t now_ns);
void router_node_answered(struct router *router, uint64_t node);
bool router_is_suspect(const struct router *router, uint64_t node, uint64_t now_ns);
/* At most `max` nodes, the near before the far. */
unsigned router_nodes(const struct router *router, uint64_t nodes[], unsigned max);
bool router_is_near(const struct router *router, uint64_t node); /* of our own region */

/* Operations go there first, or would go there next: their round trips matter for a while. */
void router_want(struct router *router, const uint64_t nodes[], unsigned count, uint64_t now_ns);
/* Whom to ping now, at most `max`; to be asked about once a second. Our own region's nodes: each second while in use, a
 * few of them each ten seconds otherwise. Other regions': only while in use, one at a time and each every ten seconds.
 */
unsigned router_probes(struct router *router, uint64_t now_ns, uint64_t nodes[], unsigned max);

/* Retry budget: each operation earns a tenth of a retry, so that a cluster in trouble meets at most 10 % more load than
 * it is given, for long. False: none left, wait longer. */
void router_earn_retry(struct router *router);
bool router_spend_retry(struct router *router);

#endif
