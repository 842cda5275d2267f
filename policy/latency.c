/* policy/latency.c: see policy/latency.h. The great circle needs sine and arc sine, to a metre, nowhere near where
 * speed matters: series and Newton here, so that this folder needs no mathematics library. */
#include "policy/latency.h"

#include <assert.h>
#include <string.h>

#include "policy/quorum.h"

static uint32_t add(uint32_t a_us, uint32_t b_us)
{
	if (a_us == LATENCY_UNKNOWN || b_us == LATENCY_UNKNOWN)
		return LATENCY_UNKNOWN;
	return a_us < LATENCY_UNKNOWN - b_us ? a_us + b_us : LATENCY_UNKNOWN - 1;
}

/* The members within `rtt`, for the smallest rtt at which they commit. */
uint32_t latency_commit(const struct membership *membership, const uint32_t rtt_us[])
{
	assert(membership->count <= REPLICAS_MAX);
	uint32_t best = LATENCY_UNKNOWN;
	for (unsigned i = 0; i < membership->count; i++) {
		member_set within = 0;
		if (rtt_us[i] >= best)
			continue;
		for (unsigned j = 0; j < membership->count; j++)
			if (rtt_us[j] <= rtt_us[i])
				within |= (member_set)1 << j;
		if (quorum_commits(membership, within))
			best = rtt_us[i];
	}
	return best;
}

static uint32_t half(uint64_t rtts_us)
{
	return rtts_us / 2 < LATENCY_UNKNOWN ? (uint32_t)(rtts_us / 2) : LATENCY_UNKNOWN - 1;
}

/* The nearest set that commits, and every responder. rtt_us[i]: until member i's ack is there. */
static uint32_t covered(const struct latency_group *group, const uint32_t rtt_us[])
{
	uint32_t longest = latency_commit(group->membership, rtt_us);
	for (unsigned i = 0; i < group->membership->count; i++)
		if ((group->responders >> i & 1) && rtt_us[i] > longest)
			longest = rtt_us[i];
	return longest;
}

/* c -> L -> s -> c: half the sum of three round trips, since each is gone along once. */
uint32_t latency_write(const struct latency_group *group, unsigned leader, unsigned origin)
{
	const struct membership *membership = group->membership;
	assert(leader < membership->count);
	assert(origin < membership->count);
	const uint32_t to_leader_us = origin == leader ? 0 : group->rtt_us[origin][leader];
	uint32_t ack_us[REPLICAS_MAX];
	for (unsigned s = 0; s < membership->count; s++) {
		const uint32_t on_us = s == leader ? 0 : group->rtt_us[leader][s];
		const uint32_t back_us = s == origin ? 0 : group->rtt_us[s][origin];
		ack_us[s] = LATENCY_UNKNOWN;
		if (to_leader_us != LATENCY_UNKNOWN && on_us != LATENCY_UNKNOWN && back_us != LATENCY_UNKNOWN)
			ack_us[s] = half((uint64_t)to_leader_us + on_us + back_us);
	}
	return covered(group, ack_us);
}

static bool holds_data(const struct member *member)
{
	return member->role_new == ROLE_VOTER || member->role_new == ROLE_LEARNER;
}

static unsigned nearest_of(const struct membership *membership, const uint32_t rtt_us[])
{
	unsigned best = REPLICAS_MAX;
	for (unsigned i = 0; i < membership->count; i++) {
		if (!holds_data(&membership->at[i]) || rtt_us[i] == LATENCY_UNKNOWN)
			continue;
		if (best == REPLICAS_MAX || rtt_us[i] < rtt_us[best])
			best = i;
	}
	return best;
}

/* The leader answers a read by its lease, so no quorum is on that path. A responder answers by its own. */
static uint32_t read_at(const struct latency_group *group, unsigned leader, unsigned at)
{
	if (at == leader || (group->responders >> at & 1))
		return 0;
	return group->rtt_us[at][leader];
}

static uint32_t larger(uint32_t a_us, uint32_t b_us)
{
	return a_us > b_us ? a_us : b_us;
}

void latency_from(
	const struct latency_group *group, unsigned leader, const uint32_t rtt_us[], struct latency_estimate *estimate)
{
	const struct membership *membership = group->membership;
	memset(estimate, 0xff, sizeof(*estimate)); /* nothing is known */
	const unsigned near = estimate->nearest = nearest_of(membership, rtt_us);
	if (near == REPLICAS_MAX)
		return;
	estimate->read_floor_us = rtt_us[near];
	estimate->write_floor_us = covered(group, rtt_us);
	if (leader == REPLICAS_MAX)
		return;
	assert(leader < membership->count);
	uint32_t from_leader_us[REPLICAS_MAX];
	for (unsigned i = 0; i < membership->count; i++)
		from_leader_us[i] = i == leader ? 0 : group->rtt_us[leader][i];
	estimate->to_leader_us = rtt_us[leader];
	estimate->commit_us = covered(group, from_leader_us);
	estimate->via_leader_us = add(rtt_us[leader], estimate->commit_us);
	uint32_t write_us = 0, read_us = 0;
	for (unsigned i = 0; i < membership->count; i++) {
		if (!holds_data(&membership->at[i]) || rtt_us[i] != rtt_us[near])
			continue;
		write_us = larger(write_us, latency_write(group, leader, i));
		read_us = larger(read_us, read_at(group, leader, i));
	}
	estimate->write_us = group->origin_acks ? add(rtt_us[near], write_us) : estimate->via_leader_us;
	estimate->read_us = add(rtt_us[near], read_us);
}

/* --- the sphere ---------------------------------------------------------------------------------------- */

#define PI 3.14159265358979323846

/* For |x| up to pi: folded to a quarter turn, where the series is good to 1e-15. */
static double sine(double x)
{
	if (x > PI / 2)
		x = PI - x;
	else if (x < -PI / 2)
		x = -PI - x;
	double term = x;
	double sum = x;
	for (int n = 2; n <= 22; n += 2) {
		term *= -x * x / ((double)n * (double)(n + 1));
		sum += term;
	}
	return sum;
}

static double cosine(double x)
{
	return sine(PI / 2 - (x < 0 ? -x : x));
}

static double square_root(double x)
{
	double root = x > 1 ? x : 1;
	for (int i = 0; i < 64 && x > 0; i++)
		root = (root + x / root) / 2;
	return x > 0 ? root : 0;
}

/* Of the root of x, 0 <= x <= 1; the far half by its complement, where Newton's slope would vanish. */
static double arc_sine_of_root(double x)
{
	if (x > 0.5)
		return PI / 2 - arc_sine_of_root(x >= 1 ? 0 : 1 - x);
	double wanted = square_root(x);
	double angle = wanted;
	for (int i = 0; i < 8; i++)
		angle -= (sine(angle) - wanted) / cosine(angle);
	return angle;
}

static bool on_earth(double latitude, double longitude)
{
	bool latitude_fits = latitude >= -90 && latitude <= 90; /* a NAN is not */
	return latitude_fits && longitude >= -180 && longitude <= 180;
}

uint32_t latency_fibre(double latitude_a, double longitude_a, double latitude_b, double longitude_b)
{
	const double earth_radius_km = 6371.0;
	const double km_per_us = 0.204;
	if (!on_earth(latitude_a, longitude_a) || !on_earth(latitude_b, longitude_b))
		return LATENCY_UNKNOWN;
	double north = sine((latitude_b - latitude_a) * PI / 360);
	double east = sine((longitude_b - longitude_a) * PI / 360);
	double parallels = cosine(latitude_a * PI / 180) * cosine(latitude_b * PI / 180);
	double angle = 2 * arc_sine_of_root(north * north + parallels * east * east);
	assert(angle >= 0);
	assert(angle <= PI + 1e-9);
	return (uint32_t)(2 * angle * earth_radius_km / km_per_us + 0.5);
}
