/* bench/geo.c: dombench geo: one client group per region of a map, at the same time, from their regions; the table of
 * what they met beside what physics allows; and whether what they saw together is what the store promises. */
#include "bench/bench.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "bench/crew.h"
#include "bench/flags.h"
#include "bench/geo_run.h"
#include "bench/result.h"

#define SECOND_NS UINT64_C(1000000000)
enum { READY_TIMEOUT_S = 120, LEAD_MS = 1500, TICK_US = 2000, AFTER_S = 60 };

static const char about[] =
	"dombench geo MAP: what clients in every region of a map meet, beside the floor\n\n"
	"MAP is lan3, eu3, wan3, wan5 or a map file. The endpoints of a region are DOMCTL_ENDPOINT_<REGION>, as a "
	"demo\n"
	"sets them: domctl demo wan3 -- dombench geo wan3. --enter starts each region's worker inside that region.\n"
	"Reads of the mix: strong, session, bounded, nearest. Workloads: mix (any key from anywhere), home (95 % of a\n"
	"region's operations on its own keys), roam (users move to the next region in the middle of the run with "
	"their\n"
	"session's token), sun (the load follows the day from region to region).\n"
	"Events: lines SECONDS LABEL COMMAND, run by sh while the load goes on.";

/* --- workers ----------------------------------------------------------------------------------------- */

static void variable_of(const char *name, const char *region, char *out, size_t size)
{
	snprintf(out, size, "%s_%s", name, region);
	for (char *c = out; *c != '\0'; c++)
		*c = *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
}

static const char *endpoints_of(const struct geo_run *run, const char *region)
{
	char name[128];

	variable_of("DOMCTL_ENDPOINT", region, name, sizeof(name));
	return getenv(name) != NULL ? getenv(name) : run->settings->load.endpoints;
}

static bool start_worker(const struct geo_run *run, struct crew *crew, const char *region)
{
	const struct geo_settings *settings = run->settings;
	char *words[CREW_WORDS_MAX], flags[8 * GEO_PATH_MAX], path[GEO_PATH_MAX + 128], self[GEO_PATH_MAX];
	const char *endpoints = endpoints_of(run, region), *program = run->program;
	uint32_t count = 0;
	bool good;

	if (program[0] == '\0' && (endpoints == NULL || settings->load.certs == NULL)) {
		fprintf(stderr,
			"dombench: no endpoints for %s, or no --certs (a demo sets them: domctl demo %s -- dombench "
			"geo "
			"%s)\n",
			region, settings->map, settings->map);
		return false;
	}
	snprintf(path, sizeof(path), "%s/%s", settings->out, region);
	if (!result_directory(path))
		return false;
	snprintf(path, sizeof(path), "%s/%s/rtt.tsv", settings->out, region);
	unlink(path); /* of an earlier run: workers append */
	if (program[0] == '\0') {
		ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);

		if (size <= 0)
			return false;
		self[size] = '\0';
		program = self;
	}
	snprintf(flags, sizeof(flags),
		"geo %s --worker %s --as-region %s --endpoint %s --certs %s --out %s --prefix %s --mix %s --workload "
		"%s "
		"--rate %lu --connections %lu --depth %lu --seconds %lu --warmup %lu --timeout %lums --keys %lu "
		"--value-size %lu --users %lu --staleness %lums --seed %lu%s",
		settings->map, region, region, endpoints == NULL ? "-" : endpoints,
		settings->load.certs == NULL ? "-" : settings->load.certs, settings->out, settings->prefix,
		settings->mix_text, settings->workload_text, settings->load.rate, settings->load.connections,
		settings->load.depth, settings->load.seconds, settings->load.warmup, settings->load.timeout_ms,
		settings->keys, settings->value_size, settings->users, settings->staleness_ms, settings->seed,
		settings->fill ? "" : " --filled");
	snprintf(path, sizeof(path), "%s/%s/log", settings->out, region);
	good = crew_words(words, &count, run->enter, region) && crew_words(words, &count, program, region) &&
	       crew_words(words, &count, flags, region) && crew_start(crew, region, words, path);
	crew_words_free(words, count);
	return good;
}

static void show_log(const struct geo_run *run, const char *region)
{
	char path[GEO_PATH_MAX + 128], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/log", run->settings->out, region);
	file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		fprintf(stderr, "%s: %s", region, line);
	if (file != NULL)
		fclose(file);
}

/* Events go on until all workers have ended; who has not by far beyond the time is ended. */
static bool await_end(struct geo_run *run, struct crew *crew)
{
	const struct load_settings *load = &run->settings->load;
	uint64_t give_up_ns = run->end_ns + (load->timeout_ms / 1000 + AFTER_S) * SECOND_NS;
	bool all = true;

	while (!crew_ended(crew)) {
		if (clock_boot_ns() > give_up_ns) {
			fputs("dombench: the workers do not end\n", stderr);
			return false;
		}
		geo_events_tend(run, clock_boot_ns());
		usleep(TICK_US);
	}
	for (uint32_t i = 0; i < crew->count; i++) {
		if (crew->members[i].code == 0)
			continue;
		fprintf(stderr, "dombench: the worker of %s ended with %d\n", crew->members[i].name,
			crew->members[i].code);
		show_log(run, crew->members[i].name);
		all = false;
	}
	return all;
}

/* Other programs that work for us need not know the maps. */
static void name_regions(const struct topology *topology)
{
	char names[GEO_REGIONS_MAX * (REGION_NAME_MAX + 1)] = "";
	struct text text;

	text_init(&text, names, sizeof(names));
	for (uint32_t i = 0; i < topology->region_count; i++) {
		text_add(&text, i == 0 ? "" : " ");
		text_add(&text, topology->regions[i].name);
	}
	if (setenv("DOMBENCH_REGIONS", names, 1) != 0)
		abort();
}

static bool run_crew(struct geo_run *run)
{
	static struct crew crew;
	const struct topology *topology = &run->settings->topology;
	bool good = true;

	name_regions(topology);
	for (uint32_t i = 0; i < topology->region_count && good; i++)
		good = start_worker(run, &crew, topology->regions[i].name);
	if (good && !crew_await_ready(&crew, READY_TIMEOUT_S * SECOND_NS)) {
		for (uint32_t i = 0; i < crew.count; i++)
			show_log(run, crew.members[i].name);
		good = false;
	}
	if (good && geo_read_facts(run)) {
		uint64_t start_ns;

		geo_read_leaders(run, false);
		start_ns = clock_boot_ns() + LEAD_MS * UINT64_C(1000000);
		run->begin_ns = start_ns + run->settings->load.warmup * SECOND_NS;
		run->end_ns = run->begin_ns + run->settings->load.seconds * SECOND_NS;
		run->begin_wall_us = clock_wall_us() + LEAD_MS * 1000 + run->settings->load.warmup * 1000000;
		crew_go(&crew, start_ns);
		good = await_end(run, &crew);
	}
	geo_events_stop(run);
	crew_stop(&crew);
	return good && run->begin_ns != 0;
}

/* --- the whole --------------------------------------------------------------------------------------- */

static int write_results(const struct geo_run *run)
{
	FILE *text = result_file(run->settings->out, "summary.txt");

	if (text == NULL)
		return DOM_INVALID;
	geo_print(run, text);
	fclose(text);
	if (!result_write(run->settings->out, geo_summary(run)) || !geo_write_hlog(run) || !geo_events_write(run))
		return DOM_INVALID;
	return geo_plot(run) ? 0 : DOM_INVALID;
}

static int coordinate(struct geo_run *run)
{
	int code;

	run->leader = -1;
	if (!result_directory(run->settings->out) || !run_crew(run) || !geo_gather(run))
		return DOM_INVALID;
	geo_print(run, stdout);
	code = write_results(run);
	records_free(&run->records);
	return code != 0 ? code : geo_judge(run);
}

int bench_geo(int argc, char **argv)
{
	static struct geo_run run;
	static struct geo_settings settings = {
		.load = { .connections = 4,
			.depth = 256,
			.seconds = 60,
			.warmup = 15,
			.rate = 50,
			.timeout_ms = 10000 },
		.prefix = "geo/",
		.mix_text = "put=20,strong=40,session=20,bounded=20",
		.workload_text = "mix",
		.keys = 400,
		.value_size = 128,
		.users = 8,
		.staleness_ms = 10000,
		.seed = 42,
	};
	const char *events = NULL;
	bool filled = false;
	const struct flag flags[] = {
		FLAG_TEXT("out", &settings.out, "directory of results (geo-MAP)"),
		FLAG_TEXT(
			"endpoint", &settings.load.endpoints, "of regions without one of their own (DOMCTL_ENDPOINT)"),
		FLAG_TEXT("certs", &settings.load.certs, "directory (DOMCTL_CERTS)"),
		FLAG_TEXT("enter", &run.enter, "prefix of a region's worker, %s its name (DOMBENCH_ENTER)"),
		FLAG_TEXT("prefix", &settings.prefix, "of every key; its binding decides the policy (geo/)"),
		FLAG_TEXT("workload", &settings.workload_text, "mix, home, roam, sun (mix)"),
		FLAG_TEXT("mix", &settings.mix_text, "percents (put=20,strong=40,session=20,bounded=20)"),
		FLAG_NUMBER("rate", &settings.load.rate, 1, 100000, "operations a second in each region (50)"),
		FLAG_NUMBER("connections", &settings.load.connections, 1, LOAD_CONNECTIONS_MAX, "of each region (4)"),
		FLAG_NUMBER("depth", &settings.load.depth, 1, LOAD_DEPTH_MAX, "in flight per connection (256)"),
		FLAG_NUMBER("seconds", &settings.load.seconds, 1, 3600, "measured time (60)"),
		FLAG_NUMBER("warmup", &settings.load.warmup, 0, 600, "seconds before it (15)"),
		FLAG_MS("timeout", &settings.load.timeout_ms, "of an operation (10s)"),
		FLAG_NUMBER("keys", &settings.keys, 1, 10000000, "of the run; home: of each region (400)"),
		FLAG_NUMBER("value-size", &settings.value_size, 16, 1 << 20, "bytes (128)"),
		FLAG_NUMBER("users", &settings.users, 1, 1000, "sessions of each region (8)"),
		FLAG_MS("staleness", &settings.staleness_ms, "that bounded reads allow (10s)"),
		FLAG_NUMBER("seed", &settings.seed, 0, 1000000000, "of keys and mix (42)"),
		FLAG_ON("filled", &filled, "the keys were written by an earlier run: do not write them first"),
		FLAG_TEXT("events", &events, "file of events"),
		FLAG_TEXT("leader", &run.leader_name, "region that leads, where domctl cannot tell"),
		FLAG_TEXT("worker-program", &run.program, "other program that speaks as a worker"),
		FLAG_TEXT("system", &run.system, "what is measured, for the table's head (domicile)"),
		FLAG_TEXT("worker", &settings.worker, "be the worker of this region; the coordinator says so"),
		FLAG_TEXT("as-region", &settings.load.region, "of a worker"),
	};
	char out[GEO_PATH_MAX];
	int code;

	settings.load.endpoints = getenv("DOMCTL_ENDPOINT");
	settings.load.certs = getenv("DOMCTL_CERTS");
	settings.load.quiet = true;
	run.settings = &settings;
	run.enter = getenv("DOMBENCH_ENTER") == NULL ? "" : getenv("DOMBENCH_ENTER");
	run.program = run.leader_name = "";
	run.system = "domicile";
	code = flags_parse(argc, argv, about, flags, sizeof(flags) / sizeof(flags[0]));
	if (code < 0)
		return code == -1 ? 0 : 2;
	if (code != 1) {
		fputs("dombench: geo takes one map\n", stderr);
		return 2;
	}
	settings.map = argv[1];
	settings.fill = !filled;
	if (!geo_settings_complete(&settings) || (events != NULL && !geo_events_read(&run, events)))
		return 2;
	if (settings.out == NULL) {
		snprintf(out, sizeof(out), "geo-%s", settings.topology.name);
		settings.out = out;
	}
	return settings.worker != NULL ? geo_work(&settings) : coordinate(&run);
}
