/* policy/latency.h: what an operation should take from a region, from the matrix of measured RTTs; pure arithmetic.
 * Used for `key explain`, the demo's tour, and leader placement. All times in microseconds of round trip.
 *
 *   floor of a write from c, any protocol: the RTT to the nearest set that commits, c's own replica counting as 0.
 *   via the leader L:                      RTT(c, L) + the RTT from L to the nearest set that commits with it. */
#ifndef DOMICILE_POLICY_LATENCY_H
#define DOMICILE_POLICY_LATENCY_H

#include "base/membership.h"

enum { LATENCY_UNKNOWN = 0xffffffff };
/* rtt_us[i]: from the place in question to member i; LATENCY_UNKNOWN: not known, member never counts. */
uint32_t latency_commit(const struct membership *membership, const uint32_t rtt_us[]);
uint32_t latency_write_via_leader(const struct membership *membership, uint32_t rtt_to_leader_us,
	uint32_t leader_position, const uint32_t rtt_from_leader_us[]);
uint32_t latency_read_index(
	const struct membership *membership, uint32_t rtt_to_nearest_us, uint32_t rtt_nearest_to_leader_us);
/* Physical floor of light in fibre between two points on earth: great circle / 204 km per ms, both ways. */
uint32_t latency_fibre(double latitude_a, double longitude_a, double latitude_b, double longitude_b);

#endif
