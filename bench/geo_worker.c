/* bench/geo_worker.c: the clients of one region; see bench/geo.h. Says "ready" on standard output when it has
 * connected, filled its share of the keys and measured the round trips, and begins when told "go NS" on standard input.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench/geo_worker.h"

enum { READS_PERCENT_ROAM = 50, NIGHT_SHARE = 10 /* one turn in so many */ };

/* --- keys and values --------------------------------------------------------------------------------- */

static void set_key(const struct geo_worker *worker, uint64_t key, struct load_operation *operation)
{
	struct geo_step *step = operation->memory;
	const struct geo_settings *settings = worker->settings;
	int size;

	step->key_number = key;
	if (settings->workload == GEO_HOME)
		size = snprintf(step->key, sizeof(step->key), "%s%s/k%08" PRIu64, settings->prefix,
			settings->topology.regions[key / settings->keys].name, key % settings->keys);
	else
		size = snprintf(step->key, sizeof(step->key), "%sk%08" PRIu64, settings->prefix, key);
	assert(size > 0);
	assert((size_t)size < sizeof(step->key));
	operation->key = (dom_bytes){ step->key, (size_t)size };
}

/* The number in sixteen digits, then bytes that do not compress: a value names the write that wrote it. */
static void set_value(struct geo_worker *worker, struct load_operation *operation)
{
	struct geo_step *step = operation->memory;
	char digits[VALUE_DIGITS + 1];

	step->value = ((uint64_t)worker->region + 1) << 40 | ++worker->values;
	snprintf(digits, sizeof(digits), "%016" PRIx64, step->value);
	memcpy(worker->value, digits, VALUE_DIGITS);
	operation->value = (dom_bytes){ worker->value, worker->settings->value_size };
}

/* What was written is of ours; a value that is not becomes a number that nobody wrote, which no history explains. */
static uint64_t number_of(dom_bytes value)
{
	char digits[VALUE_DIGITS + 1];
	uint64_t number;
	char *end;

	if (value.size < VALUE_DIGITS)
		return UINT64_MAX - 1;
	memcpy(digits, value.data, VALUE_DIGITS);
	digits[VALUE_DIGITS] = '\0';
	number = strtoull(digits, &end, 16);
	return *end == '\0' ? number : UINT64_MAX - 1;
}

/* --- which operation comes next ---------------------------------------------------------------------- */

static bool set_class(struct geo_worker *worker, uint8_t class, struct load_operation *operation)
{
	struct geo_step *step = operation->memory;

	static const enum dom_read levels[GEO_CLASSES] = { DOM_STRONG, DOM_STRONG, DOM_SESSION, DOM_BOUNDED,
		DOM_NEAREST, DOM_SESSION };

	operation->class = class;
	operation->kind = class == GEO_PUT ? LOAD_PUT : LOAD_GET;
	operation->options.read = levels[class];
	if (class == GEO_BOUNDED)
		operation->options.staleness_max_ms = (uint32_t)worker->settings->staleness_ms;
	if (class == GEO_PUT)
		set_value(worker, operation);
	operation->options.session = step->user == NULL ? NULL : step->user->session;
	return worker->unsupported[class][0] == '\0';
}

static bool next_of_mix(struct geo_worker *worker, uint64_t key, struct load_operation *operation)
{
	struct geo_step *step = operation->memory;
	uint64_t percent = prng_below(&worker->prng, 100);
	uint8_t class = 0;

	while (percent >= worker->settings->percent[class])
		percent -= worker->settings->percent[class ++];
	assert(class < GEO_CLASSES);
	step->user = class == GEO_PUT || class == GEO_SESSION
			     ? &worker->users[prng_below(&worker->prng, worker->settings->users)]
			     : NULL;
	set_key(worker, key, operation);
	return set_class(worker, class, operation);
}

/* Each region's clients stay with their own keys, but for one operation in twenty. */
static uint64_t home_key(struct geo_worker *worker)
{
	const struct geo_settings *settings = worker->settings;
	uint32_t regions = settings->topology.region_count, region = worker->region;

	if (prng_below(&worker->prng, 100) < 5 && regions > 1)
		region = (region + 1 + (uint32_t)prng_below(&worker->prng, regions - 1)) % regions;
	return region * settings->keys + prng_below(&worker->prng, settings->keys);
}

/* The day moves from region to region; where it is night one client in ten is awake. */
static bool awake(struct geo_worker *worker, uint64_t planned_ns)
{
	const struct load_settings *load = &worker->settings->load;
	uint32_t regions = worker->settings->topology.region_count;
	uint64_t slice_ns = load->seconds * 1000000000 / regions, day;

	day = planned_ns < worker->measure_ns ? 0 : (planned_ns - worker->measure_ns) / slice_ns;
	return day % regions == worker->region || prng_below(&worker->prng, NIGHT_SHARE) == 0;
}

static bool next_of_users(struct geo_worker *worker, uint64_t planned_ns, struct load_operation *operation)
{
	struct geo_step *step = operation->memory;
	struct geo_user *user = geo_roam_choose(worker, planned_ns);
	bool read;

	if (user == NULL)
		return false;
	user->busy = true;
	step->user = user;
	set_key(worker, user->id, operation);
	read = prng_below(&worker->prng, 100) < READS_PERCENT_ROAM;
	return set_class(worker, !read ? GEO_PUT : user->guest ? GEO_ROAMED : GEO_SESSION, operation);
}

static bool geo_next(void *arg, uint32_t connection, uint64_t planned_ns, struct load_operation *operation)
{
	struct geo_worker *worker = arg;
	const struct geo_settings *settings = worker->settings;

	(void)connection;
	switch ((enum geo_workload)settings->workload) {
	case GEO_MIX:
		return next_of_mix(worker, prng_below(&worker->prng, settings->keys), operation);
	case GEO_HOME:
		return next_of_mix(worker, home_key(worker), operation);
	case GEO_SUN:
		return awake(worker, planned_ns) &&
		       next_of_mix(worker, prng_below(&worker->prng, settings->keys), operation);
	case GEO_ROAM:
		return next_of_users(worker, planned_ns, operation);
	}
	return false;
}

/* --- what became of it ------------------------------------------------------------------------------- */

static uint8_t region_of_place(const struct topology *topology, const char *place)
{
	for (uint32_t i = 0; i < topology->region_count; i++) {
		const char *region = topology->regions[i].site.place.text;
		size_t size = strlen(region);

		if (strncmp(place, region, size) == 0 && place[size] == '/')
			return (uint8_t)i;
	}
	return GEO_REGIONS_MAX;
}

static void note(struct geo_worker *worker, const struct load_operation *operation, const struct load_outcome *outcome,
	bool fill)
{
	const struct geo_step *step = operation->memory;
	struct record *record = records_add(&worker->records);

	record->class = operation->class;
	record->status = (uint8_t)outcome->status;
	record->region = (uint8_t)worker->region;
	record->fill = fill;
	record->session = step->user == NULL ? 0 : step->user->id;
	record->key = step->key_number;
	record->planned_ns = outcome->planned_ns;
	record->sent_ns = outcome->sent_ns;
	record->done_ns = outcome->done_ns;
	record->value = operation->class == GEO_PUT ? step->value : 0;
	if (outcome->call == NULL)
		return;
	record->served = region_of_place(&worker->settings->topology, dom_call_served_by(outcome->call));
	record->staleness_ms = dom_call_staleness_ms(outcome->call);
	if (outcome->status != DOM_OK)
		return;
	record->version = dom_call_version(outcome->call, 0);
	if (operation->class != GEO_PUT)
		record->value = number_of(dom_call_value(outcome->call, 0));
}

static enum load_verdict geo_done(void *arg, struct load_operation *operation, const struct load_outcome *outcome)
{
	struct geo_worker *worker = arg;
	struct geo_step *step = operation->memory;

	note(worker, operation, outcome, false);
	if (worker->settings->workload == GEO_ROAM && step->user != NULL)
		step->user->busy = false;
	return outcome->status == DOM_OK || (operation->class != GEO_PUT && outcome->status == DOM_NOT_FOUND)
		       ? LOAD_GOOD
		       : LOAD_FAILED;
}

/* --- this region's share of the keys, before the load ------------------------------------------------ */

static bool fill_next(void *arg, uint32_t connection, uint64_t planned_ns, struct load_operation *operation)
{
	struct geo_worker *worker = arg;
	const struct geo_settings *settings = worker->settings;
	struct geo_step *step = operation->memory;
	uint32_t regions = settings->topology.region_count;
	bool home = settings->workload == GEO_HOME;
	uint64_t key =
		home ? worker->region * settings->keys + worker->filled : worker->filled * regions + worker->region;

	(void)connection;
	(void)planned_ns;
	if (home ? worker->filled >= settings->keys : key >= settings->keys)
		return false;
	worker->filled++;
	step->user = NULL;
	set_key(worker, key, operation);
	return set_class(worker, GEO_PUT, operation);
}

static enum load_verdict fill_done(void *arg, struct load_operation *operation, const struct load_outcome *outcome)
{
	note(arg, operation, outcome, true);
	return outcome->status == DOM_OK ? LOAD_GOOD : LOAD_FAILED;
}

static int fill(struct geo_worker *worker)
{
	static struct load_result result;
	const struct workload workload = { worker, geo_class_names, GEO_CLASSES, sizeof(struct geo_step), fill_next,
		fill_done };
	struct load_settings load = worker->settings->load;
	int code;

	if (!worker->settings->fill || worker->settings->workload == GEO_ROAM)
		return 0;
	load.rate = 0;
	load.warmup = 0;
	load.seconds = 3600; /* it ends when the keys are in */
	load.depth = load.depth < 32 ? load.depth : 32;
	code = load_run(&load, &workload, &result);
	if (code == 0 && result.failed > 0) {
		fprintf(stderr, "dombench: %" PRIu64 " keys of %s were not written\n", result.failed,
			worker->settings->worker);
		code = GEO_CHECK_FAILED;
	}
	return code;
}

/* --- the whole --------------------------------------------------------------------------------------- */

static bool await_go(uint64_t *start_ns)
{
	char line[64];

	puts("ready");
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) != NULL && sscanf(line, "go %" SCNu64, start_ns) == 1;
}

static int write_results(const struct geo_worker *worker, const struct load_result *result)
{
	char path[GEO_PATH_MAX + 64];
	json_t *unsupported = json_object(), *json;
	int code;

	for (uint8_t class = 0; class < GEO_CLASSES; class ++) {
		if (worker->unsupported[class][0] != '\0')
			json_object_set_new(
				unsupported, geo_class_names[class], json_string(worker->unsupported[class]));
	}
	json = json_pack("{s:s,s:i,s:s,s:I,s:I,s:f,s:b,s:b,s:o,s:I,s:I}", "kind", "GeoWorker", "v", 1, "region",
		worker->settings->worker, "planned", (json_int_t)result->planned, "unsent", (json_int_t)result->unsent,
		"generator_cpu", result->cpu, "saturated", result->saturated, "suspect", result->suspect, "unsupported",
		unsupported, "begin_ns", (json_int_t)worker->measure_ns, "end_ns",
		(json_int_t)(worker->measure_ns + worker->settings->load.seconds * 1000000000));
	snprintf(path, sizeof(path), "%s/worker.json", worker->directory);
	code = json != NULL && json_dump_file(json, path, JSON_INDENT(1)) == 0 ? 0 : DOM_INVALID;
	json_decref(json);
	snprintf(path, sizeof(path), "%s/records.tsv", worker->directory);
	return records_write(&worker->records, path) ? code : DOM_INVALID;
}

static int run(struct geo_worker *worker)
{
	static struct load_result result;
	const struct workload workload = { worker, geo_class_names, GEO_CLASSES, sizeof(struct geo_step), geo_next,
		geo_done };
	struct load_settings load = worker->settings->load;
	int code = geo_facts_read(worker);

	if (code == 0)
		code = fill(worker);
	if (code == 0)
		code = geo_rtt_measure(worker, "before");
	if (code != 0)
		return code;
	if (!await_go(&load.start_ns)) {
		fputs("dombench: nobody said go\n", stderr);
		return DOM_CANCELLED;
	}
	worker->measure_ns = load.start_ns + load.warmup * 1000000000;
	code = load_run(&load, &workload, &result);
	if (code == 0)
		code = geo_rtt_measure(worker, "after");
	return code == 0 ? write_results(worker, &result) : code;
}

static uint32_t region_named(const struct topology *topology, const char *name)
{
	uint32_t region = 0;

	while (region < topology->region_count && strcmp(topology->regions[region].name, name) != 0)
		region++;
	return region;
}

int geo_work(const struct geo_settings *settings)
{
	static struct geo_worker worker;
	int code;

	worker.settings = settings;
	worker.region = region_named(&settings->topology, settings->worker);
	if (worker.region == settings->topology.region_count) {
		fprintf(stderr, "dombench: the map has no region '%s'\n", settings->worker);
		return 2;
	}
	snprintf(worker.directory, sizeof(worker.directory), "%s/%s", settings->out, settings->worker);
	prng_seed(&worker.prng, settings->seed * GEO_REGIONS_MAX + worker.region);
	worker.value = malloc(settings->value_size);
	worker.users = calloc(2 * settings->users, sizeof(struct geo_user));
	if (worker.value == NULL || worker.users == NULL || !geo_roam_init(&worker)) {
		fputs("dombench: out of memory\n", stderr);
		return DOM_NO_MEMORY;
	}
	for (uint64_t i = 0; i < settings->value_size; i++)
		worker.value[i] = (uint8_t)prng_next(&worker.prng);
	code = run(&worker);
	geo_facts_forget(&worker);
	geo_roam_deinit(&worker);
	records_free(&worker.records);
	free(worker.users);
	free(worker.value);
	return code;
}
