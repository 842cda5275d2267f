/* bench/geo_gather.c: from what the workers left to rows beside their floors; see bench/geo_run.h. */
#include <assert.h>
#include <inttypes.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/crew.h"
#include "bench/geo_run.h"
#include "policy/latency.h"

enum { HELD_US = 3000, LATENESS_US = 300 };

static uint32_t region_named(const struct topology *topology, const char *name)
{
	uint32_t region = 0;

	while (region < topology->region_count && strcmp(topology->regions[region].name, name) != 0)
		region++;
	return region;
}

/* Text of a worker that tells the region of its system's leader; nothing told is nothing wrong. */
static bool elsewhere(const struct geo_run *run, const json_t *json, const char *name)
{
	const char *leader = json_string_value(json_object_get(json, name));

	return run->leader_name[0] != '\0' && leader != NULL && strcmp(leader, run->leader_name) != 0;
}

/* --- files of the workers ---------------------------------------------------------------------------- */

static bool read_side(struct geo_run *run, uint32_t region)
{
	const struct topology *topology = &run->settings->topology;
	struct geo_side *side = &run->sides[region];
	char path[GEO_PATH_MAX + 128];
	json_t *json, *unsupported;
	json_error_t error;

	snprintf(path, sizeof(path), "%s/%s/worker.json", run->settings->out, topology->regions[region].name);
	json = json_load_file(path, 0, &error);
	if (json == NULL) {
		fprintf(stderr, "dombench: %s: %s\n", path, error.text);
		return false;
	}
	side->saturated = json_is_true(json_object_get(json, "saturated"));
	side->suspect = json_is_true(json_object_get(json, "suspect"));
	side->leader_moved = elsewhere(run, json, "leader_before") || elsewhere(run, json, "leader_after");
	side->planned = (uint64_t)json_integer_value(json_object_get(json, "planned"));
	side->unsent = (uint64_t)json_integer_value(json_object_get(json, "unsent"));
	side->cpu = json_number_value(json_object_get(json, "generator_cpu"));
	unsupported = json_object_get(json, "unsupported");
	for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
		const char *why = json_string_value(json_object_get(unsupported, geo_class_names[class]));

		snprintf(side->unsupported[class], GEO_WHY_MAX, "%s", why == NULL ? "" : why);
	}
	json_decref(json);
	return true;
}

bool geo_read_facts(struct geo_run *run)
{
	const struct topology *topology = &run->settings->topology;
	char path[GEO_PATH_MAX + 128];
	const char *policy, *reads;
	json_error_t error;
	json_t *json, *voters;

	snprintf(path, sizeof(path), "%s/%s/map.json", run->settings->out, topology->regions[0].name);
	json = json_load_file(path, 0, &error);
	if (json == NULL) {
		fprintf(stderr, "dombench: %s: %s\n", path, error.text);
		return false;
	}
	policy = json_string_value(json_object_get(json, "policy"));
	reads = json_string_value(json_object_get(json, "reads"));
	voters = json_object_get(json, "voters");
	snprintf(run->policy, sizeof(run->policy), "%s", policy == NULL ? "" : policy);
	run->reads_local = reads != NULL && strcmp(reads, "local") == 0;
	for (size_t i = 0; i < json_array_size(voters); i++) {
		uint32_t voter = region_named(topology, json_string_value(json_array_get(voters, i)));

		if (voter < topology->region_count)
			run->floors.voter[voter] = true;
	}
	json_decref(json);
	return true;
}

static bool read_rtt(struct geo_run *run, uint32_t region)
{
	const struct topology *topology = &run->settings->topology;
	char path[GEO_PATH_MAX + 128], line[256], when[16], name[REGION_NAME_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/rtt.tsv", run->settings->out, topology->regions[region].name);
	file = fopen(path, "r");
	if (file == NULL) {
		fprintf(stderr, "dombench: %s cannot be read\n", path);
		return false;
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		uint64_t least, median;
		uint32_t to;

		if (sscanf(line, "%15s %63s %" SCNu64 " %" SCNu64, when, name, &least, &median) != 4 ||
			(to = region_named(topology, name)) == topology->region_count)
			continue;
		run->rtt_us[strcmp(when, "after") == 0][region][to] = median;
	}
	fclose(file);
	return true;
}

/* The floor's round trips: the lower of the medians before and after. Of a region that the map places, light in fibre.
 */
static void fill_floors(struct geo_run *run)
{
	const struct topology *topology = &run->settings->topology;

	run->floors.count = topology->region_count;
	for (uint32_t i = 0; i < topology->region_count; i++) {
		const struct topology_region *a = &topology->regions[i];

		for (uint32_t j = 0; j < topology->region_count; j++) {
			const struct topology_region *b = &topology->regions[j];
			uint64_t before = run->rtt_us[0][i][j], after = run->rtt_us[1][i][j];

			run->floors.rtt_us[i][j] = before < after ? before : after;
			run->fibre_us[i][j] =
				isnan(a->latitude) || isnan(b->latitude)
					? FLOOR_UNKNOWN
					: latency_fibre(a->latitude, a->longitude, b->latitude, b->longitude);
		}
	}
}

/* --- leaders ----------------------------------------------------------------------------------------- */

/* domctl stands beside dombench; it acts from the first region, like a worker there. */
static FILE *ask_domctl(const struct geo_run *run)
{
	char *words[CREW_WORDS_MAX], self[GEO_PATH_MAX], command[4 * GEO_PATH_MAX];
	const char *region = run->settings->topology.regions[0].name;
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
	uint32_t count = 0;
	size_t used = 0;

	if (size <= 0 || !crew_words(words, &count, run->enter, region)) {
		crew_words_free(words, count);
		return NULL;
	}
	self[size] = '\0';
	for (uint32_t i = 0; i < count; i++)
		used += (size_t)snprintf(command + used, sizeof(command) - used, "%s ", words[i]);
	crew_words_free(words, count);
	snprintf(command + used, sizeof(command) - used, "%s/domctl shard list -o json 2>/dev/null", dirname(self));
	return popen(command, "r");
}

void geo_read_leaders(struct geo_run *run, bool after)
{
	const struct topology *topology = &run->settings->topology;
	uint32_t *led = run->leaders[after], most = 0;
	FILE *answer;
	json_t *json, *item;
	size_t at;

	if (run->leader_name[0] != '\0') {
		uint32_t leader = region_named(topology, run->leader_name);

		if (leader < topology->region_count)
			led[leader] = 1;
		run->leader = leader < topology->region_count ? (int)leader : -1;
		return;
	}
	answer = ask_domctl(run);
	if (answer == NULL)
		return;
	json = json_loadf(answer, 0, NULL);
	pclose(answer);
	json_array_foreach(json_object_get(json, "items"), at, item)
	{
		const char *policy = json_string_value(json_object_get(item, "policy")),
			   *leader = json_string_value(json_object_get(item, "leader"));
		char name[REGION_NAME_MAX];
		uint32_t region;

		if (policy == NULL || leader == NULL || strcmp(policy, run->policy) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(leader, "/"), leader);
		region = region_named(topology, name);
		if (region < topology->region_count)
			led[region]++;
	}
	json_decref(json);
	for (uint32_t i = 0; i < topology->region_count && !after; i++) {
		if (led[i] > most) {
			most = led[i];
			run->leader = (int)i;
		}
	}
}

/* --- rows -------------------------------------------------------------------------------------------- */

/* Of copies as the voters are, by light alone. */
static uint64_t fibre_floor(const struct geo_run *run, uint32_t region, bool put)
{
	struct floors fibre = run->floors;

	memcpy(fibre.rtt_us, run->fibre_us, sizeof(fibre.rtt_us));
	return put ? floor_quorum(&fibre, region) : floor_read(&fibre, region);
}

static void set_floors(struct geo_run *run, uint32_t region, uint8_t class)
{
	struct geo_row *row = &run->rows[region][class];
	const struct floors *floors = &run->floors;
	uint64_t to_leader;

	row->fibre_us = fibre_floor(run, region, class == GEO_PUT);
	row->floor_us = class == GEO_PUT ? floor_quorum(floors, region) : floor_read(floors, region);
	row->expected_us = class == GEO_PUT ? FLOOR_UNKNOWN : row->floor_us;
	if (run->leader < 0)
		return;
	to_leader = floors->rtt_us[region][run->leader];
	if (class == GEO_PUT && run->leader_name[0] != '\0')
		row->expected_us = floor_via_leader(floors, region, (uint32_t)run->leader);
	else if (class == GEO_PUT)
		row->expected_us = run->reads_local ? floor_all_acks(floors, region, (uint32_t)run->leader)
						    : floor_origin_acks(floors, region, (uint32_t)run->leader);
	else if (class == GEO_STRONG && !run->reads_local && (uint32_t)run->leader != region &&
		 to_leader != FLOOR_UNKNOWN && row->floor_us != FLOOR_UNKNOWN)
		row->expected_us = row->floor_us + to_leader;
}

static bool measured(const struct geo_run *run, const struct record *record)
{
	return !record->fill && record->planned_ns >= run->begin_ns && record->planned_ns < run->end_ns;
}

static void add_record(struct geo_run *run, const struct record *record)
{
	struct geo_row *row = &run->rows[record->region][record->class];
	uint64_t us = (record->done_ns - record->planned_ns) / 1000;
	bool good = record->status == DOM_OK || (record->class != GEO_PUT && record->status == DOM_NOT_FOUND);
	bool aged = record->status == DOM_TIMED_OUT || record->status == DOM_UNKNOWN_OUTCOME;

	row->planned++;
	if (good || aged) {
		histogram_add(&row->response, us);
		histogram_add(&row->service, (record->done_ns - record->sent_ns) / 1000);
		if (record->class != GEO_PUT && row->floor_us != FLOOR_UNKNOWN && us > row->floor_us + HELD_US)
			histogram_add(&row->held, us);
	}
	if (good) {
		row->good++;
		row->served[record->served]++;
	} else {
		row->failed++;
		row->by_status[record->status]++;
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* How much the median of a second differs from second to second: the noise that `compare` speaks of. */
static void set_spread(struct geo_run *run, uint32_t region, uint8_t class)
{
	uint64_t seconds = run->settings->load.seconds, *medians = calloc(seconds, sizeof(*medians));
	struct histogram *second = malloc(sizeof(*second));
	size_t count = 0, at = 0;

	if (medians == NULL || second == NULL)
		abort();
	/* The records of one worker stand in the order of their answers: near enough to that of their plan. */
	for (uint64_t s = 0; s < seconds; s++) {
		uint64_t until_ns = run->begin_ns + (s + 1) * 1000000000;

		histogram_init(second);
		for (; at < run->records.count; at++) {
			const struct record *record = &run->records.at[at];

			if (record->region != region || record->class != class || !measured(run, record))
				continue;
			if (record->done_ns >= until_ns)
				break;
			histogram_add(second, (record->done_ns - record->planned_ns) / 1000);
		}
		if (second->count > 0)
			medians[count++] = histogram_quantile(second, 0.5);
	}
	qsort(medians, count, sizeof(*medians), compare_u64);
	if (count > 0) {
		run->rows[region][class].low_us = medians[count / 10];
		run->rows[region][class].high_us = medians[(count - 1) * 9 / 10];
	}
	free(second);
	free(medians);
}

static void make_rows(struct geo_run *run)
{
	for (uint32_t region = 0; region < run->settings->topology.region_count; region++) {
		for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
			struct geo_row *row = &run->rows[region][class];

			histogram_init(&row->response);
			histogram_init(&row->service);
			histogram_init(&row->held);
			set_floors(run, region, class);
		}
	}
	for (size_t i = 0; i < run->records.count; i++) {
		if (measured(run, &run->records.at[i]))
			add_record(run, &run->records.at[i]);
	}
	for (uint32_t region = 0; region < run->settings->topology.region_count; region++) {
		for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
			struct geo_row *row = &run->rows[region][class];
			uint64_t p50 = histogram_quantile(&row->response, 0.5);

			set_spread(run, region, class);
			row->below_floor = row->good > 0 && row->floor_us != FLOOR_UNKNOWN &&
					   p50 + p50 / 50 + LATENESS_US < row->floor_us;
		}
	}
}

bool geo_gather(struct geo_run *run)
{
	const struct topology *topology = &run->settings->topology;
	char path[GEO_PATH_MAX + 128];

	memset(run->rtt_us, 0xff, sizeof(run->rtt_us));
	for (uint32_t i = 0; i < topology->region_count; i++) {
		snprintf(path, sizeof(path), "%s/%s/records.tsv", run->settings->out, topology->regions[i].name);
		if (!read_side(run, i) || !read_rtt(run, i) || !records_read(&run->records, path, (uint8_t)i))
			return false;
	}
	fill_floors(run);
	geo_read_leaders(run, true);
	make_rows(run);
	geo_events_stalls(run);
	geo_check(&run->records, (uint32_t)run->settings->staleness_ms, &run->verdict);
	return true;
}
