/* bench/throughput.c: how many operations a second, and how long each takes.
 *
 * Closed loop (default): N connections, each with `depth` operations in flight; the next starts when one ends. Open
 * loop (--rate): operations are planned at fixed times and their latency counts from the planned time, so that a stall
 * is not hidden by the load that it held back; what cannot be sent in time marks the run SATURATED.
 *
 * Each connection is a client of its own on one shared event loop and one thread, so that the generator's cost is that
 * of the library, and its CPU is printed beside the result: above 70 % of a core the figure is the generator's, not the
 * store's. */
#include "bench/bench.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/prng.h"
#include "base/units.h"
#include "bench/histogram.h"
#include "client/domicile.h"

enum { CONNECTIONS_MAX = 1024, DEPTH_MAX = 1024, KEY_TEXT_MAX = 4096 };

struct load {
	const char *endpoint, *certs, *region, *prefix, *json_file;
	uint64_t connections, depth, seconds, warmup, rate, keys, key_size, value_size, reads_percent, seed, timeout_ms;
	bool quiet;
};

struct run;
struct slot { /* one operation in flight */
	struct run *run;
	dom_client *client;
	dom_call *call;
	uint64_t planned_ns;
	bool read, busy;
};

struct run {
	const struct load *load;
	struct event_base *base;
	struct event *second, *pace;
	dom_client **clients;
	struct slot *slots;
	size_t slot_count, idle_count;
	struct slot **idle; /* open loop: slots without an operation */
	struct prng prng;
	uint8_t *value;
	struct histogram reads, writes, interval;
	uint64_t started_ns, measure_ns, end_ns, next_ns;
	uint64_t done, errors, interval_done, sent_late, interval_index;
	uint64_t errors_by_status[32];
	bool measuring, stopping;
	struct rusage usage_begin;
};

static void start_operation(struct slot *slot, uint64_t planned_ns);

static double cpu_seconds(const struct rusage *usage)
{
	return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
	       (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static void begin_measuring(struct run *run, uint64_t now_ns)
{
	run->measuring = true;
	run->measure_ns = now_ns;
	run->end_ns = now_ns + run->load->seconds * 1000000000;
	run->interval_done = 0;
	histogram_init(&run->interval);
	getrusage(RUSAGE_SELF, &run->usage_begin);
}

static void finish(struct run *run)
{
	run->stopping = true;
	event_base_loopbreak(run->base);
}

static void operation_done(dom_call *call, void *arg)
{
	struct slot *slot = arg;
	struct run *run = slot->run;
	uint64_t now_ns = clock_boot_ns();
	enum dom_status status = dom_call_status(call);
	bool good = status == DOM_OK || (slot->read && status == DOM_NOT_FOUND);

	dom_call_free(call);
	slot->call = NULL;
	slot->busy = false;
	if (run->measuring && now_ns <= run->end_ns) {
		if (good) {
			histogram_add(slot->read ? &run->reads : &run->writes, (now_ns - slot->planned_ns) / 1000);
			histogram_add(&run->interval, (now_ns - slot->planned_ns) / 1000);
			run->done++;
			run->interval_done++;
		} else {
			run->errors++;
			run->errors_by_status[status < 32 ? status : 31]++;
		}
	}
	if (run->stopping)
		return;
	if (run->load->rate != 0)
		run->idle[run->idle_count++] = slot;
	else
		start_operation(slot, now_ns);
}

static void start_operation(struct slot *slot, uint64_t planned_ns)
{
	struct run *run = slot->run;
	const struct load *load = run->load;
	char key[KEY_TEXT_MAX + 1];
	uint64_t number = prng_below(&run->prng, load->keys);
	dom_options options = DOM_OPTIONS;
	dom_bytes key_bytes;
	int size = snprintf(
		key, sizeof(key), "%s%0*" PRIu64, load->prefix, (int)(load->key_size - strlen(load->prefix)), number);

	assert(size > 0);
	key_bytes = (dom_bytes){ key, (size_t)size };
	options.timeout_ms = (uint32_t)load->timeout_ms;
	slot->read = prng_below(&run->prng, 100) < load->reads_percent;
	slot->planned_ns = planned_ns;
	slot->busy = true;
	if (!slot->read) {
		uint64_t stamp = prng_next(&run->prng); /* values differ, so that compression has no easy time */

		memcpy(run->value, &stamp, load->value_size < sizeof(stamp) ? load->value_size : sizeof(stamp));
	}
	slot->call = slot->read
			     ? dom_get(slot->client, key_bytes, &options)
			     : dom_put(slot->client, key_bytes, (dom_bytes){ run->value, load->value_size }, &options);
	if (slot->call == NULL) {
		fputs("dombench: out of memory\n", stderr);
		exit(17);
	}
	dom_call_on_done(slot->call, operation_done, slot);
}

/* Open loop: everything planned up to now that finds a free slot; the rest is late, and says so. */
static void on_pace(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	uint64_t now_ns = clock_boot_ns(), gap_ns = 1000000000 / run->load->rate;
	struct timeval soon = { 0, 1000 };

	(void)fd;
	(void)what;
	while (run->next_ns <= now_ns && !run->stopping) {
		if (run->idle_count == 0) {
			run->sent_late++;
			break; /* stays planned: its latency goes on counting */
		}
		start_operation(run->idle[--run->idle_count], run->next_ns);
		run->next_ns += gap_ns;
	}
	evtimer_add(run->pace, &soon);
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	uint64_t now_ns = clock_boot_ns();

	(void)fd;
	(void)what;
	if (!run->measuring && now_ns - run->started_ns >= run->load->warmup * 1000000000) {
		begin_measuring(run, now_ns);
	} else if (run->measuring) {
		if (!run->load->quiet)
			fprintf(stderr,
				"%4" PRIu64 " s  %8" PRIu64 " op/s  p50 %6.2f  p99 %6.2f  max %7.2f ms  errors %" PRIu64
				"\n",
				++run->interval_index, run->interval_done,
				(double)histogram_quantile(&run->interval, 0.5) / 1000,
				(double)histogram_quantile(&run->interval, 0.99) / 1000,
				(double)run->interval.max_us / 1000, run->errors);
		run->interval_done = 0;
		histogram_init(&run->interval);
		if (now_ns >= run->end_ns)
			finish(run);
	}
}

static json_t *latency_json(const struct histogram *histogram)
{
	return json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "count", (json_int_t)histogram->count, "mean_ms",
		histogram_mean(histogram) / 1000, "p50_ms", (double)histogram_quantile(histogram, 0.5) / 1000, "p90_ms",
		(double)histogram_quantile(histogram, 0.9) / 1000, "p99_ms",
		(double)histogram_quantile(histogram, 0.99) / 1000, "p999_ms",
		(double)histogram_quantile(histogram, 0.999) / 1000, "max_ms", (double)histogram->max_us / 1000);
}

static void print_line(const char *name, const struct histogram *histogram)
{
	if (histogram->count == 0)
		return;
	printf("%-6s p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms   (%" PRIu64 ")\n", name,
		(double)histogram_quantile(histogram, 0.5) / 1000, (double)histogram_quantile(histogram, 0.9) / 1000,
		(double)histogram_quantile(histogram, 0.99) / 1000, (double)histogram_quantile(histogram, 0.999) / 1000,
		(double)histogram->max_us / 1000, histogram->count);
}

static int report(struct run *run)
{
	const struct load *load = run->load;
	struct rusage usage;
	double seconds = (double)load->seconds, cpu, rate = (double)run->done / seconds;
	bool saturated = load->rate != 0 && rate < 0.99 * (double)load->rate;
	json_t *json;

	getrusage(RUSAGE_SELF, &usage);
	cpu = (cpu_seconds(&usage) - cpu_seconds(&run->usage_begin)) / seconds;
	printf("%.0f op/s   errors %" PRIu64 "   generator CPU %.0f %% of a core%s%s\n", rate, run->errors, cpu * 100,
		cpu > 0.7 && load->rate != 0 ? "   GENERATOR-BOUND" : "", saturated ? "   SATURATED" : "");
	print_line("get", &run->reads);
	print_line("put", &run->writes);
	for (unsigned i = 0; i < 32; i++) {
		if (run->errors_by_status[i] > 0)
			printf("error  %s: %" PRIu64 "\n", dom_status_name((enum dom_status)i),
				run->errors_by_status[i]);
	}
	json = json_pack("{s:s,s:i,s:f,s:I,s:f,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "kind", "Throughput", "v", 1,
		"ops_per_second", rate, "errors", (json_int_t)run->errors, "generator_cpu", cpu, "saturated", saturated,
		"connections", (json_int_t)load->connections, "depth", (json_int_t)load->depth, "seconds",
		(json_int_t)load->seconds, "offered_per_second", (json_int_t)load->rate, "value_bytes",
		(json_int_t)load->value_size, "key_bytes", (json_int_t)load->key_size, "reads_percent",
		(json_int_t)load->reads_percent, "get", latency_json(&run->reads), "put", latency_json(&run->writes));
	if (load->json_file != NULL && json_dump_file(json, load->json_file, JSON_INDENT(1)) != 0) {
		fprintf(stderr, "dombench: cannot write %s\n", load->json_file);
		json_decref(json);
		return 10;
	}
	json_decref(json);
	return run->done == 0 || saturated ? 14 : 0;
}

static int connect_all(struct run *run)
{
	const struct load *load = run->load;
	char ca[1024], cert[1024], key[1024];
	dom_connect_options options = DOM_CONNECT_OPTIONS;

	snprintf(ca, sizeof(ca), "%s/cas.pem", load->certs);
	snprintf(cert, sizeof(cert), "%s/client-%s.crt", load->certs, load->region);
	snprintf(key, sizeof(key), "%s/client-%s.key", load->certs, load->region);
	options.endpoints = load->endpoint;
	options.ca_file = ca;
	options.cert_file = cert;
	options.key_file = key;
	options.base = run->base;
	options.in_flight_max = (uint32_t)load->depth + 1;
	for (uint64_t i = 0; i < load->connections; i++) {
		enum dom_status status = dom_connect(&options, &run->clients[i]);

		if (status != DOM_OK) {
			fprintf(stderr, "dombench: %s: %s\n", dom_status_name(status), dom_connect_message());
			return (int)status;
		}
	}
	return 0;
}

static int run_load(const struct load *load)
{
	static struct run run;
	struct timeval second = { 1, 0 }, now = { 0, 0 };
	int code;

	run.load = load;
	run.base = event_base_new();
	run.clients = calloc(load->connections, sizeof(*run.clients));
	run.slot_count = load->connections * load->depth;
	run.slots = calloc(run.slot_count, sizeof(*run.slots));
	run.idle = calloc(run.slot_count, sizeof(struct slot *));
	run.value = calloc(1, load->value_size + 1);
	if (run.base == NULL || run.clients == NULL || run.slots == NULL || run.idle == NULL || run.value == NULL)
		return 17;
	prng_seed(&run.prng, load->seed);
	for (uint64_t i = 0; i < load->value_size; i++)
		run.value[i] = (uint8_t)prng_next(&run.prng);
	histogram_init(&run.reads);
	histogram_init(&run.writes);
	histogram_init(&run.interval);
	code = connect_all(&run);
	if (code != 0)
		return code;
	run.started_ns = clock_boot_ns();
	run.next_ns = run.started_ns;
	for (size_t i = 0; i < run.slot_count; i++) {
		run.slots[i].run = &run;
		run.slots[i].client = run.clients[i % load->connections];
		if (load->rate != 0)
			run.idle[run.idle_count++] = &run.slots[i];
		else
			start_operation(&run.slots[i], clock_boot_ns());
	}
	run.second = event_new(run.base, -1, EV_PERSIST, on_second, &run);
	event_add(run.second, &second);
	run.pace = evtimer_new(run.base, on_pace, &run);
	if (load->rate != 0)
		evtimer_add(run.pace, &now);
	event_base_dispatch(run.base);
	code = report(&run);
	for (uint64_t i = 0; i < load->connections; i++)
		dom_close(run.clients[i]);
	event_free(run.second);
	event_free(run.pace);
	free(run.clients);
	free(run.slots);
	free(run.idle);
	free(run.value);
	event_base_free(run.base);
	return code;
}

static void help(FILE *out)
{
	fputs("dombench throughput: operations a second against one cluster\n\n"
	      "  --endpoint HOST:PORT[,...]  nodes to begin with              (DOMCTL_ENDPOINT)\n"
	      "  --certs DIR                 certificates as domctl uses them (DOMCTL_CERTS)\n"
	      "  --as-region REGION          client-REGION.crt                (DOMCTL_AS_REGION)\n"
	      "  --connections N             clients, each with its own connections (64)\n"
	      "  --depth N                   operations in flight per client (1)\n"
	      "  --rate N                    open loop: operations a second, all clients together (0: closed loop)\n"
	      "  --seconds N --warmup N      measured time and time before it (30, 5)\n"
	      "  --reads PERCENT             strong gets among the operations (0)\n"
	      "  --keys N --key-size BYTES   number of keys, their size (100000, 24)\n"
	      "  --value-size BYTES          (128)\n"
	      "  --prefix TEXT               of every key (bench/)\n"
	      "  --seed N --timeout DURATION --json FILE --quiet\n",
		out);
}

static int set(struct load *load, int option, const char *value)
{
	struct {
		int option;
		uint64_t *number, min, max;
	} const numbers[] = {
		{ 'n', &load->connections, 1, CONNECTIONS_MAX },
		{ 'd', &load->depth, 1, DEPTH_MAX },
		{ 'r', &load->rate, 0, 10000000 },
		{ 's', &load->seconds, 1, 86400 },
		{ 'w', &load->warmup, 0, 3600 },
		{ 'g', &load->reads_percent, 0, 100 },
		{ 'k', &load->keys, 1, UINT64_C(1) << 40 },
		{ 'z', &load->key_size, 1, KEY_TEXT_MAX },
		{ 'v', &load->value_size, 0, 1 << 20 },
		{ 'S', &load->seed, 0, UINT64_MAX },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i].option != option)
			continue;
		if (!parse_u64(value, numbers[i].number) || *numbers[i].number < numbers[i].min ||
			*numbers[i].number > numbers[i].max) {
			fprintf(stderr, "dombench: '%s' is out of range %" PRIu64 "..%" PRIu64 "\n", value,
				numbers[i].min, numbers[i].max);
			return 2;
		}
		return 0;
	}
	return 2;
}

int bench_throughput(int argc, char **argv)
{
	static const struct option options[] = {
		{ "endpoint", 1, NULL, 'e' },
		{ "certs", 1, NULL, 'c' },
		{ "as-region", 1, NULL, 'a' },
		{ "connections", 1, NULL, 'n' },
		{ "depth", 1, NULL, 'd' },
		{ "rate", 1, NULL, 'r' },
		{ "seconds", 1, NULL, 's' },
		{ "warmup", 1, NULL, 'w' },
		{ "reads", 1, NULL, 'g' },
		{ "keys", 1, NULL, 'k' },
		{ "key-size", 1, NULL, 'z' },
		{ "value-size", 1, NULL, 'v' },
		{ "prefix", 1, NULL, 'p' },
		{ "seed", 1, NULL, 'S' },
		{ "timeout", 1, NULL, 't' },
		{ "json", 1, NULL, 'j' },
		{ "quiet", 0, NULL, 'q' },
		{ "help", 0, NULL, 'h' },
		{ 0 },
	};
	struct load load = {
		.endpoint = getenv("DOMCTL_ENDPOINT"),
		.certs = getenv("DOMCTL_CERTS"),
		.region = getenv("DOMCTL_AS_REGION"),
		.prefix = "bench/",
		.connections = 64,
		.depth = 1,
		.seconds = 30,
		.warmup = 5,
		.keys = 100000,
		.key_size = 24,
		.value_size = 128,
		.seed = 1,
		.timeout_ms = 10000,
	};
	uint64_t timeout_us;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'e':
			load.endpoint = optarg;
			break;
		case 'c':
			load.certs = optarg;
			break;
		case 'a':
			load.region = optarg;
			break;
		case 'p':
			load.prefix = optarg;
			break;
		case 'j':
			load.json_file = optarg;
			break;
		case 'q':
			load.quiet = true;
			break;
		case 'h':
			help(stdout);
			return 0;
		case 't':
			if (!parse_duration_us(optarg, &timeout_us) || timeout_us < 1000 ||
				timeout_us > UINT64_C(3600000000)) {
				fprintf(stderr, "dombench: '%s' is no duration from 1ms to 1h\n", optarg);
				return 2;
			}
			load.timeout_ms = timeout_us / 1000;
			break;
		default:
			if (option == '?' || set(&load, option, optarg) != 0) {
				help(stderr);
				return 2;
			}
		}
	}
	if (optind != argc || load.endpoint == NULL || load.certs == NULL || load.region == NULL ||
		strlen(load.prefix) + 1 > load.key_size) {
		fputs(optind != argc ? "dombench: unexpected argument\n"
			: load.endpoint == NULL || load.certs == NULL || load.region == NULL
				? "dombench: --endpoint, --certs and --as-region are needed (a demo sets them: domctl "
				  "demo lan3 -- dombench throughput)\n"
				: "dombench: --key-size must exceed the prefix\n",
			stderr);
		return 2;
	}
	return run_load(&load);
}
