/* policy/latency.c: see policy/latency.h. The great circle needs sine and arc sine, to a metre, nowhere near where
 * speed matters: series and Newton here, so that this folder needs no mathematics library. */
#include "policy/latency.h"

#include <assert.h>

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

uint32_t latency_write_via_leader(const struct membership *membership, uint32_t rtt_to_leader_us,
	uint32_t leader_position, const uint32_t rtt_from_leader_us[])
{
	assert(leader_position < membership->count);
	uint32_t rtt_us[REPLICAS_MAX];
	for (unsigned i = 0; i < membership->count; i++)
		rtt_us[i] = i == leader_position ? 0 : rtt_from_leader_us[i];
	return add(rtt_to_leader_us, latency_commit(membership, rtt_us));
}

/* The leader answers by its lease, so no quorum is on this path. */
uint32_t latency_read_index(
	const struct membership *membership, uint32_t rtt_to_nearest_us, uint32_t rtt_nearest_to_leader_us)
{
	assert(membership->count > 0);
	return add(rtt_to_nearest_us, rtt_nearest_to_leader_us);
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
