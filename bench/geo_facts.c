/* bench/geo_facts.c: what a worker asks the cluster beside the load: see bench/geo_worker.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/geo_worker.h"
#include "client/admin.h"

enum { PINGS = 11, PING_TIMEOUT_MS = 5000, MAP_TIMEOUT_MS = 10000, PROBE_TIMEOUT_MS = 10000 };

/* Takes the call; its status. */
static enum dom_status finish(dom_call *call, char *why, size_t size)
{
	enum dom_status status;

	if (call == NULL)
		return DOM_NO_MEMORY;
	status = dom_call_wait(call);
	snprintf(why, size, "%s", dom_call_message(call));
	dom_call_free(call);
	return status;
}

/* --- the map ----------------------------------------------------------------------------------------- */

static int topology_region(const struct geo_worker *worker, const struct place *place)
{
	const struct topology *topology = &worker->settings->topology;

	for (uint32_t i = 0; i < topology->region_count; i++) {
		if (place_within(place, topology->regions[i].site.place.text))
			return (int)i;
	}
	return -1;
}

/* The policy of the keys and the regions of its first shard's voters. */
static json_t *facts_of(const struct geo_worker *worker, const struct cluster_map *map)
{
	const struct geo_settings *settings = worker->settings;
	json_t *voters = json_array();
	char key[STEP_KEY_SIZE];
	const struct map_binding *binding;
	const struct policy *policy = NULL;

	snprintf(key, sizeof(key), "%s%s", settings->prefix,
		settings->workload == GEO_HOME ? settings->topology.regions[worker->region].name : "k");
	binding = map_binding_of(map, bytes_text(key));
	if (binding != NULL)
		policy = map_policy_find(map, binding->policy);
	for (uint32_t i = 0; policy != NULL && i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];

		if (shard->policy != policy->id)
			continue;
		for (unsigned r = 0; r < shard->replica_count; r++) {
			const struct map_node *node = map_node_find(map, shard->replicas[r].node);
			int region = node == NULL ? -1 : topology_region(worker, &node->place);

			if (region >= 0 && shard->replicas[r].role == ROLE_VOTER)
				json_array_append_new(voters, json_string(settings->topology.regions[region].name));
		}
		break;
	}
	return json_pack("{s:s,s:s,s:o}", "policy", policy == NULL ? "" : policy->name, "reads",
		policy != NULL && policy->reads == READS_LOCAL ? "local" : "leader", "voters", voters);
}

static int write_facts(const struct geo_worker *worker, const struct cluster_map *map)
{
	json_t *facts = facts_of(worker, map);
	char path[GEO_PATH_MAX + 64];
	int code;

	snprintf(path, sizeof(path), "%s/map.json", worker->directory);
	code = facts != NULL && json_dump_file(facts, path, JSON_INDENT(1)) == 0 ? 0 : DOM_INVALID;
	if (code != 0)
		fprintf(stderr, "dombench: %s cannot be written\n", path);
	json_decref(facts);
	return code;
}

static int read_map(struct geo_worker *worker)
{
	void *memory = calloc(1, cluster_map_size(&map_limits_default));
	dom_call *call = client_map(worker->client, MAP_TIMEOUT_MS);
	struct cluster_map *map;
	int code = DOM_INVALID;
	dom_bytes bytes;

	if (memory == NULL || call == NULL) {
		free(memory);
		return DOM_NO_MEMORY;
	}
	map = cluster_map_init(memory, &map_limits_default);
	if (dom_call_wait(call) == DOM_OK) {
		bytes = dom_call_value(call, 0);
		if (cluster_map_decode(bytes_of(bytes.data, bytes.size), map) == STATUS_OK)
			code = 0;
	}
	if (code != 0)
		fprintf(stderr, "dombench: the map cannot be read: %s\n", dom_call_message(call));
	for (uint32_t i = 0; code == 0 && i < map->node_count; i++) {
		int region = topology_region(worker, &map->nodes[i].place);

		if (region >= 0)
			worker->nodes[region] = map->nodes[i].id;
	}
	if (code == 0)
		code = write_facts(worker, map);
	dom_call_free(call);
	free(memory);
	return code;
}

/* --- what it can do ---------------------------------------------------------------------------------- */

/* One read of each kind that is wanted: a kind that the client or the cluster does not know is left out by name, never
 * counted as an error of every operation. */
static void probe_reads(struct geo_worker *worker)
{
	static const struct {
		uint8_t class;
		enum dom_read read;
	} kinds[] = { { GEO_SESSION, DOM_SESSION }, { GEO_BOUNDED, DOM_BOUNDED }, { GEO_NEAREST, DOM_NEAREST } };
	char key[STEP_KEY_SIZE], why[WHY_SIZE];

	snprintf(key, sizeof(key), "%s%s/k", worker->settings->prefix, worker->settings->worker);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		dom_options options = DOM_OPTIONS;
		enum dom_status status;

		options.read = kinds[i].read;
		options.timeout_ms = PROBE_TIMEOUT_MS;
		options.staleness_max_ms = kinds[i].read == DOM_BOUNDED ? (uint32_t)worker->settings->staleness_ms : 0;
		options.session = kinds[i].read == DOM_SESSION ? worker->users[0].session : NULL;
		status = finish(dom_get(worker->client, (dom_bytes){ key, strlen(key) }, &options), why, sizeof(why));
		if (status == DOM_INVALID)
			snprintf(worker->unsupported[kinds[i].class], WHY_SIZE, "%s", why);
	}
}

int geo_facts_read(struct geo_worker *worker)
{
	int code = load_connect(&worker->settings->load, NULL, &worker->client);

	if (code == 0)
		code = read_map(worker);
	if (code == 0)
		probe_reads(worker);
	return code;
}

void geo_facts_forget(struct geo_worker *worker)
{
	if (worker->client != NULL)
		dom_close(worker->client);
}

/* --- round trips ------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* The first round dials and does not count. One ping to each region at a time, all regions at once. */
int geo_rtt_measure(struct geo_worker *worker, const char *when)
{
	static uint64_t samples[GEO_REGIONS_MAX][PINGS];
	const struct topology *topology = &worker->settings->topology;
	unsigned counts[GEO_REGIONS_MAX] = { 0 };
	char path[GEO_PATH_MAX + 64];
	FILE *file;

	for (int round = -1; round < PINGS; round++) {
		dom_call *calls[GEO_REGIONS_MAX] = { NULL };

		for (uint32_t i = 0; i < topology->region_count; i++) {
			if (worker->nodes[i] != 0)
				calls[i] = client_ping(worker->client, worker->nodes[i], PING_TIMEOUT_MS);
		}
		for (uint32_t i = 0; i < topology->region_count; i++) {
			if (calls[i] == NULL)
				continue;
			if (dom_call_wait(calls[i]) == DOM_OK && round >= 0)
				samples[i][counts[i]++] = dom_call_version(calls[i], 0);
			dom_call_free(calls[i]);
		}
	}
	snprintf(path, sizeof(path), "%s/rtt.tsv", worker->directory);
	file = fopen(path, "a");
	if (file == NULL) {
		fprintf(stderr, "dombench: %s cannot be written\n", path);
		return DOM_INVALID;
	}
	for (uint32_t i = 0; i < topology->region_count; i++) {
		if (counts[i] == 0)
			continue; /* nobody there answers: a node was ended */
		qsort(samples[i], counts[i], sizeof(uint64_t), compare);
		fprintf(file, "%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", when, topology->regions[i].name,
			samples[i][0], samples[i][counts[i] / 2], samples[i][counts[i] - 1]);
	}
	return fclose(file) == 0 ? 0 : DOM_INVALID;
}
