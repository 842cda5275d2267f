/* policy/latency.h: what an operation should take from a region, from the matrix of measured RTTs; pure arithmetic.
 * Used for `key explain`, the demo's tour, and leader placement. All times in microseconds of round trip; a one-way
 * delay is half of one.
 *
 *   floor of a write from c, any protocol: the RTT to the nearest set that commits, c's own replica counting as 0.
 *   via the leader L:                      RTT(c, L) + the RTT from L to the nearest set that commits with it.
 *   by origin acks, c the origin:          the entry goes c -> L -> s and the ack s -> c, for each s of a set that
 *                                          commits; the leader's own copy is acked L -> c. The longest of these
 *                                          paths counts, of the set for which it is shortest.
 *
 * Where reads are local, an acknowledged write is in the log of every responder too: each of these waits for all of
 * them, besides the set that commits. */
#ifndef DOMICILE_POLICY_LATENCY_H
#define DOMICILE_POLICY_LATENCY_H

#include "policy/quorum.h"

enum { LATENCY_UNKNOWN = 0xffffffff };
/* rtt_us[i]: from the place in question to member i; LATENCY_UNKNOWN: not known, member never counts. */
uint32_t latency_commit(const struct membership *membership, const uint32_t rtt_us[]);

/* A group as latency sees it. Positions are those of the membership. */
struct latency_group {
	const struct membership *membership;
	bool origin_acks; /* origins judge and answer writes themselves; else the leader does */
	member_set
		responders; /* who answers strong reads alone, beside the leader; 0: nobody, reads are the leader's */
	uint32_t rtt_us[REPLICAS_MAX][REPLICAS_MAX]; /* symmetric; LATENCY_UNKNOWN: not measured, or not reachable */
};
/* A write that a client hands to member `origin` while `leader` leads. */
uint32_t latency_write(const struct latency_group *group, unsigned leader, unsigned origin);

/* What operations take from a place, given the RTT from there to each member. It hands its writes, and its strong
 * reads, to the nearest member with data; of several equally near ones it may meet any, so the dearest is expected. */
struct latency_estimate {
	uint32_t write_us;	 /* by origin acks, in a group that has them; else via the leader */
	uint32_t via_leader_us;	 /* when the leader judges and answers */
	uint32_t write_floor_us; /* any protocol: no leader, the client counts the acks itself */
	uint32_t read_us;	 /* strong */
	uint32_t read_floor_us;	 /* the nearest member, alone */
	uint32_t to_leader_us;	 /* from the place */
	uint32_t commit_us;	 /* from the leader to its nearest set that commits, and the responders */
	unsigned nearest;	 /* position; REPLICAS_MAX: none is known, and nothing above is */
};
/* leader REPLICAS_MAX: not known; then only the floors are. */
void latency_from(
	const struct latency_group *group, unsigned leader, const uint32_t rtt_us[], struct latency_estimate *estimate);
/* Physical floor of light in fibre between two points on earth: great circle / 204 km per ms, both ways. */
uint32_t latency_fibre(double latitude_a, double longitude_a, double latitude_b, double longitude_b);

#endif
