/* tools/demo_measure.c: see tools/demo.h: round trips and latencies, measured by clients of the regions themselves. */
#include "tools/demo.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "policy/latency.h"
#include "tools/output.h"

enum { PINGS = 21, ATTEMPTS = 3, ROUNDS = 9, PING_TIMEOUT_MS = 5000, STATUS_TIMEOUT_MS = 3000 };

/* One client a region, all at once. */
struct clients {
	struct invocation invocations[DEMO_REGIONS_MAX];
	struct session sessions[DEMO_REGIONS_MAX];
	uint32_t count;
};
static struct clients clients;

static int open_clients(const struct demo *demo)
{
	int code = EXIT_OK;

	memset(&clients, 0, sizeof(clients));
	for (uint32_t i = 0; i < demo->topology.region_count && code == EXIT_OK; i++) {
		demo_act(demo, (int)i, &clients.invocations[i]);
		code = session_open_with_map(&clients.sessions[i], &clients.invocations[i], AS_CLIENT);
		clients.count = i + 1;
	}
	return code;
}

static void close_clients(void)
{
	for (uint32_t i = 0; i < clients.count; i++)
		session_close(&clients.sessions[i]);
	clients.count = 0;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static uint32_t median(uint32_t *samples, size_t count)
{
	qsort(samples, count, sizeof(samples[0]), compare_u32);
	return samples[count / 2];
}

/* --- round trips ------------------------------------------------------------------------------------- */

struct pair {
	uint32_t from, to; /* of the topology */
	uint64_t node;
	uint32_t configured_us, measured_us, samples[PINGS];
	bool settled;
};

static uint64_t node_of_region(const struct demo *demo, const struct cluster_map *map, uint32_t region)
{
	for (uint32_t i = 0; i < map->node_count; i++) {
		/* Not where the client comes in, so that inside a region the pair is a pair of machines too. */
		if (place_within(&map->nodes[i].place, demo->topology.regions[region].site.place.text))
			return map->nodes[i].id;
	}
	return 0;
}

/* One round: a ping of each pair still open, in turn, so that none delays another's. */
static int ping(const struct demo *demo, struct pair *pair, uint32_t round)
{
	dom_call *call = client_ping(clients.sessions[pair->from].client, pair->node, PING_TIMEOUT_MS);
	int code = EXIT_OK;

	if (call == NULL)
		abort();
	if (dom_call_wait(call) != DOM_OK)
		code = fail(demo->invocation, "DOM-D001", "a ping got no answer", NULL, "%s to %s: %s",
			demo->topology.regions[pair->from].name, demo->topology.regions[pair->to].name,
			dom_call_message(call));
	else if (round < PINGS)
		pair->samples[round] = (uint32_t)dom_call_version(call, 0);
	dom_call_free(call);
	return code;
}

static bool within(const struct pair *pair)
{
	uint32_t off = pair->measured_us > pair->configured_us ? pair->measured_us - pair->configured_us
							       : pair->configured_us - pair->measured_us;

	return off <= pair->configured_us / 50 + 300;
}

struct ping_thread {
	const struct demo *demo;
	struct pair *pair;
	int code;
};

static void *ping_pair(void *arg)
{
	struct ping_thread *thread = arg;

	/* The first one dials. */
	thread->code = ping(thread->demo, thread->pair, PINGS);
	for (uint32_t round = 0; round < PINGS && thread->code == EXIT_OK; round++)
		thread->code = ping(thread->demo, thread->pair, round);
	return NULL;
}

/* The pairs at the same time: each is a wire of its own. */
static int measure_once(const struct demo *demo, struct pair *pairs, uint32_t count)
{
	struct ping_thread threads[DEMO_REGIONS_MAX * DEMO_REGIONS_MAX];
	pthread_t ids[DEMO_REGIONS_MAX * DEMO_REGIONS_MAX];
	uint32_t started = 0;
	int code = EXIT_OK;

	for (uint32_t i = 0; i < count; i++) {
		if (pairs[i].settled)
			continue;
		threads[started] = (struct ping_thread){ .demo = demo, .pair = &pairs[i] };
		if (pthread_create(&ids[started], NULL, ping_pair, &threads[started]) != 0)
			abort();
		started++;
	}
	for (uint32_t i = 0; i < started; i++) {
		pthread_join(ids[i], NULL);
		code = code == EXIT_OK ? threads[i].code : code;
		if (threads[i].code != EXIT_OK)
			continue;
		threads[i].pair->measured_us = median(threads[i].pair->samples, PINGS);
		threads[i].pair->settled = !demo->proxied || within(threads[i].pair);
	}
	return code;
}

static void show_pair(const struct demo *demo, const struct pair *pair)
{
	const struct topology_region *from = &demo->topology.regions[pair->from],
				     *to = &demo->topology.regions[pair->to];
	uint32_t fibre = latency_fibre(from->latitude, from->longitude, to->latitude, to->longitude);
	char name[2 * REGION_NAME_MAX + 8];

	if (pair->from == pair->to)
		snprintf(name, sizeof(name), "inside %s", from->name);
	else
		snprintf(name, sizeof(name), "%s - %s", from->name, to->name);
	printf("  %-34s %10.1f %10.2f", name, pair->configured_us / 1000.0, pair->measured_us / 1000.0);
	if (pair->from == pair->to || fibre == LATENCY_UNKNOWN)
		printf(" %16s", "-");
	else
		printf(" %16.1f", fibre / 1000.0);
	printf("   %s%s%s\n", paint(stdout, pair->settled ? PAINT_GOOD : PAINT_BAD),
		!demo->proxied	? ""
		: pair->settled ? "ok"
				: "OFF",
		paint(stdout, PAINT_OFF));
}

static int show_matrix(const struct demo *demo, const struct pair *pairs, uint32_t count, uint32_t attempts)
{
	bool all = true;

	for (uint32_t i = 0; i < count; i++)
		all &= pairs[i].settled;
	if (!demo->invocation->quiet || !all) {
		demo_heading("How far apart the regions are", "round trips in ms, median of 21 pings");
		printf("%s  %-34s %10s %10s %16s%s\n", paint(stdout, PAINT_DIM), "", "configured", "measured",
			"light in fibre", paint(stdout, PAINT_OFF));
		for (uint32_t i = 0; i < count; i++)
			show_pair(demo, &pairs[i]);
		if (attempts > 1)
			printf("  (attempt %u of %u)\n", attempts, (unsigned)ATTEMPTS);
		fflush(stdout);
	}
	if (!all)
		return fail(demo->invocation, "DOM-S002", "the round trips are not as configured",
			"try again with less running on this machine", "more than 2%% + 0.3 ms off in %u attempts",
			attempts);
	return EXIT_OK;
}

int demo_measure(struct demo *demo)
{
	static struct pair pairs[DEMO_REGIONS_MAX * DEMO_REGIONS_MAX];
	uint32_t count = 0, attempts = 0, regions = demo->topology.region_count;
	bool all = false;
	int code = open_clients(demo);

	for (uint32_t step = 0; step < 2; step++) { /* between regions first, then inside them */
		for (uint32_t i = 0; i < regions; i++) {
			for (uint32_t j = step == 0 ? i + 1 : i; j < (step == 0 ? regions : i + 1) && code == EXIT_OK;
				j++)
				pairs[count++] = (struct pair){ .from = i,
					.to = j,
					.configured_us = demo->topology.rtt_us[i][j],
					.node = node_of_region(demo, clients.sessions[i].map, j) };
		}
	}
	while (code == EXIT_OK && !all && attempts < ATTEMPTS) {
		attempts++;
		code = measure_once(demo, pairs, count);
		all = true;
		for (uint32_t i = 0; i < count; i++)
			all &= pairs[i].settled;
	}
	close_clients();
	memset(&demo->measured, 0xff, sizeof(demo->measured));
	demo->measured.count = regions;
	for (uint32_t i = 0; i < count; i++) {
		demo->measured.us[pairs[i].from][pairs[i].to] = pairs[i].measured_us;
		demo->measured.us[pairs[i].to][pairs[i].from] = pairs[i].measured_us;
	}
	return code == EXIT_OK ? show_matrix(demo, pairs, count, attempts) : code;
}

/* --- latencies --------------------------------------------------------------------------------------- */

struct timed {
	const struct demo *demo;
	uint32_t region;
	char key[128];
	uint32_t puts_us[ROUNDS], gets_us[ROUNDS];
	char why[256]; /* not "": what failed */
};

static bool timed_call(struct timed *timed, dom_call *call, uint64_t began_ns, uint32_t *us)
{
	bool good;

	if (call == NULL)
		abort();
	good = dom_call_wait(call) == DOM_OK;
	*us = (uint32_t)((clock_boot_ns() - began_ns) / 1000);
	if (!good)
		snprintf(timed->why, sizeof(timed->why), "%s", dom_call_message(call));
	dom_call_free(call);
	return good;
}

static void *time_region(void *arg)
{
	struct timed *timed = arg;
	dom_client *client = clients.sessions[timed->region].client;
	dom_bytes key = { timed->key, strlen(timed->key) }, value = { "a value of some bytes", 21 };
	uint32_t warm_us;

	/* The first ones dial and find the leader. */
	if (!timed_call(timed, dom_put(client, key, value, NULL), clock_boot_ns(), &warm_us) ||
		!timed_call(timed, dom_get(client, key, NULL), clock_boot_ns(), &warm_us))
		return NULL;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		if (!timed_call(timed, dom_put(client, key, value, NULL), clock_boot_ns(), &timed->puts_us[i]) ||
			!timed_call(timed, dom_get(client, key, NULL), clock_boot_ns(), &timed->gets_us[i]))
			return NULL;
	}
	return NULL;
}

/* The measured matrix, by the regions of the cluster's map. */
static void matrix_of_map(const struct demo *demo, const struct cluster_map *map, struct rtt_matrix *out)
{
	memset(out, 0xff, sizeof(*out));
	out->count = map->region_count;
	for (uint32_t i = 0; i < demo->topology.region_count; i++) {
		for (uint32_t j = 0; j < demo->topology.region_count; j++) {
			const struct map_region *a = map_region_find(map, demo->topology.regions[i].name);
			const struct map_region *b = map_region_find(map, demo->topology.regions[j].name);

			if (a != NULL && b != NULL)
				out->us[a - map->regions][b - map->regions] = demo->measured.us[i][j];
		}
	}
}

static void show_latency(
	const char *region, const char *op, uint32_t median_us, uint32_t expected_us, uint32_t floor_us)
{
	char expected[24] = "-", floor[24] = "-", ratio[24] = "-";

	if (expected_us != LATENCY_UNKNOWN)
		snprintf(expected, sizeof(expected), "%.1f", expected_us / 1000.0);
	if (floor_us != LATENCY_UNKNOWN)
		snprintf(floor, sizeof(floor), "%.1f", floor_us / 1000.0);
	if (floor_us != LATENCY_UNKNOWN && floor_us >= 1000)
		snprintf(ratio, sizeof(ratio), "%.2f x", (double)median_us / floor_us);
	printf("  %-20s %-6s %10.1f %12s %10s %10s\n", region, op, median_us / 1000.0, expected, floor, ratio);
}

static void show_latencies(const struct demo *demo, struct timed *timed, const struct session *session, uint64_t leader)
{
	static struct rtt_matrix matrix;
	const struct cluster_map *map = session->map;
	const struct map_binding *binding;
	const struct map_shard *shard;
	char label[PLACE_TEXT_MAX];

	bool local = false;

	matrix_of_map(demo, map, &matrix);
	binding = map_binding_of(map, bytes_text(timed[0].key));
	shard = binding == NULL ? NULL : map_shard_of(map, binding->policy, bytes_text(timed[0].key));
	if (shard != NULL && map_policy_find(map, shard->policy) != NULL)
		local = map_policy_find(map, shard->policy)->reads == READS_LOCAL;
	printf("%s  %-20s %-6s %10s %12s %10s %10s%s\n", paint(stdout, PAINT_DIM), "client in", "", "measured",
		"expected", "floor", "of floor", paint(stdout, PAINT_OFF));
	for (uint32_t i = 0; i < demo->topology.region_count; i++) {
		const struct map_region *region = map_region_find(map, demo->topology.regions[i].name);
		struct path path;

		if (shard == NULL || region == NULL)
			continue;
		path_of(map, &matrix, shard, (uint32_t)(region - map->regions), leader, &path);
		show_latency(region->name, "put", median(timed[i].puts_us, ROUNDS), path.estimate.write_us,
			path.estimate.write_floor_us);
		show_latency("", "get", median(timed[i].gets_us, ROUNDS), path.estimate.read_us,
			path.estimate.read_floor_us);
	}
	node_label(map, leader, label);
	printf("%s  leader: %s. The nearest copy takes a write, and answers it as soon as it is safe;\n  %s\n"
	       "  floor: a put, the nearest set of copies that commits; a get, the nearest copy.%s\n",
		paint(stdout, PAINT_DIM), label,
		local ? "strong reads are answered by the nearest copy alone, so a write waits for all copies."
		      : "strong reads ask the leader from the nearest copy.",
		paint(stdout, PAINT_OFF));
	fflush(stdout);
}

int demo_measure_latencies(struct demo *demo, const char *key_prefix)
{
	static struct timed timed[DEMO_REGIONS_MAX];
	static struct statuses statuses;
	pthread_t threads[DEMO_REGIONS_MAX];
	uint64_t leader = 0;
	const struct map_binding *binding;
	const struct map_shard *shard;
	struct session *session = &clients.sessions[0];
	int code = open_clients(demo);

	for (uint32_t i = 0; i < demo->topology.region_count && code == EXIT_OK; i++) {
		timed[i] = (struct timed){ .demo = demo, .region = i };
		snprintf(timed[i].key, sizeof(timed[i].key), "%s/%s", key_prefix, demo->topology.regions[i].name);
		if (pthread_create(&threads[i], NULL, time_region, &timed[i]) != 0)
			abort();
	}
	for (uint32_t i = 0; i < demo->topology.region_count && code == EXIT_OK; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 0; i < demo->topology.region_count && code == EXIT_OK; i++) {
		if (timed[i].why[0] != '\0')
			code = fail(demo->invocation, "DOM-D001", "an operation of the tour failed", NULL, "%s: %s",
				demo->topology.regions[i].name, timed[i].why);
	}
	if (code == EXIT_OK && (code = session_refresh(session)) == EXIT_OK) {
		binding = map_binding_of(session->map, bytes_text(timed[0].key));
		shard = binding == NULL ? NULL : map_shard_of(session->map, binding->policy, bytes_text(timed[0].key));
		session_statuses(session, STATUS_TIMEOUT_MS, &statuses);
		leader = shard == NULL ? 0 : statuses_leader(&statuses, shard->id);
		statuses_free(&statuses);
		show_latencies(demo, timed, session, leader);
	}
	close_clients();
	return code;
}
