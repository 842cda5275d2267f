/* tests/cluster/churn.c: clients that write, read, compare-and-set and delete a few keys all at once while a test does
 * its worst to the nodes, and afterwards the judgement: is what they saw linearizable, is nothing lost that was
 * acknowledged, and for how long could nobody write?
 *
 * Each thread is one client. Values name the write that wrote them. A share of the operations writes keys that are
 * written once and never again (--once): they are what a lost tail of a log cannot hide behind later writes. When the
 * time is over every key is read once more, strongly, and that belongs to the history. --marker stands in each key,
 * behind the prefix, and begins each value: bytes by which a test finds them on disks and on the wire.
 *
 * A stall is the time from the invocation of a write until the next success of any write on its key: as long as a
 * patient caller of that key had to wait. Exit 0; 1: a violation, a stall above --stall-max-ms, or nothing was written;
 * 2: usage. */
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/prng.h"
#include "client/domicile.h"
#include "tests/lib/linearizability.h"

enum {
	THREADS_MAX = 64,
	REGIONS_MAX = 16,
	KEYS_MAX = 1024,
	SECONDS_MAX = 3600,
	STATUSES = 32,
	POLL_US = 10000,
	VALUE_DIGITS = 16,
	VALUE_COPIES = 4,
	MARKER_MAX = 32,
	VALUE_SIZE_MAX = MARKER_MAX + VALUE_DIGITS * VALUE_COPIES,
	KEY_SIZE_MAX = 256,
	ATTEMPTS_MAX = 60, /* of the final read of one key */
	FINAL_PAUSE_US = 500000,
	STEPS_MAX = 30000000, /* of the search for a linearization; the checker by versions has no such limit */
};
#define ONCE_KEY ((uint64_t)1 << 32) /* keys from here on are written once: thread and number below it */

struct settings {
	const char *prefix, *marker, *until_file, *regions[REGIONS_MAX];
	unsigned region_count, threads, keys, seconds, timeout_ms, once_percent, think_us, stall_max_ms;
	uint64_t seed;
	bool no_search;
};

struct worker {
	const struct settings *settings;
	unsigned number;
	pthread_t thread;
	dom_client *client;
	struct prng prng;
	struct history_operation *operations;
	size_t count, capacity;
	uint64_t value_count, once_count;
	uint64_t by_status[STATUSES];
	uint32_t identity; /* a client of its own after each unknown outcome */
	size_t final_first, final_step;
	const uint64_t *final_keys;
	size_t final_count;
	uint64_t final_failures, garbled;
};

static atomic_bool stopping;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "churn: %s: %s\n", what, why);
	exit(2);
}

/* --- one operation ----------------------------------------------------------------------------------- */

static struct history_operation *record(struct worker *worker)
{
	if (worker->count == worker->capacity) {
		worker->capacity = worker->capacity ? worker->capacity * 2 : 4096;
		worker->operations = realloc(worker->operations, worker->capacity * sizeof(*worker->operations));
		if (worker->operations == NULL)
			abort();
	}
	struct history_operation *operation = &worker->operations[worker->count++];
	*operation = (struct history_operation){ .client = worker->identity * THREADS_MAX + worker->number };
	return operation;
}

static dom_bytes key_bytes(const struct settings *settings, uint64_t key, char text[KEY_SIZE_MAX])
{
	int size = snprintf(text, KEY_SIZE_MAX, "%s%s%s%" PRIx64, settings->prefix, settings->marker,
		key >= ONCE_KEY ? "once/" : "", key);

	assert(size > 0);
	assert(size < KEY_SIZE_MAX);
	return (dom_bytes){ text, (size_t)size };
}

/* The number again and again, so that a torn or mixed value shows. */
static dom_bytes value_bytes(const struct settings *settings, uint64_t value, char text[VALUE_SIZE_MAX + 1])
{
	size_t size = strlen(settings->marker);

	memcpy(text, settings->marker, size);
	for (unsigned i = 0; i < VALUE_COPIES; i++, size += VALUE_DIGITS)
		snprintf(text + size, VALUE_DIGITS + 1, "%016" PRIx64, value);
	return (dom_bytes){ text, size };
}

/* A value that is none of ours becomes a number that nobody wrote, which no history explains. */
static uint64_t value_number(struct worker *worker, dom_bytes bytes)
{
	char text[VALUE_SIZE_MAX + 1], again[VALUE_SIZE_MAX + 1];
	size_t marker = strlen(worker->settings->marker);
	uint64_t value = 0;

	if (bytes.size == marker + VALUE_DIGITS * VALUE_COPIES) {
		memcpy(text, bytes.data, bytes.size);
		text[bytes.size] = '\0';
		if (sscanf(text + marker, "%16" SCNx64, &value) == 1) {
			value_bytes(worker->settings, value, again);
			if (memcmp(text, again, bytes.size) == 0)
				return value;
		}
	}
	worker->garbled++;
	return UINT64_MAX - 1 - worker->garbled;
}

static void note(
	struct worker *worker, struct history_operation *operation, const dom_call *call, enum dom_status status)
{
	operation->returned = clock_boot_ns();
	worker->by_status[(unsigned)status < STATUSES ? (unsigned)status : STATUSES - 1]++;
	if (status == DOM_OK) {
		operation->outcome = HISTORY_DONE;
		operation->version = dom_call_version(call, 0);
		if (operation->kind == HISTORY_READ)
			operation->seen = value_number(worker, dom_call_value(call, 0));
	} else if (status == DOM_NOT_FOUND) {
		operation->outcome = operation->kind == HISTORY_DELETE ? HISTORY_REFUSED : HISTORY_DONE;
	} else if (status == DOM_CONFLICT) {
		operation->outcome = HISTORY_REFUSED;
		operation->seen = HISTORY_NOT_TOLD;
	} else {
		operation->outcome = dom_status_maybe_applied(status) ? HISTORY_UNKNOWN : HISTORY_FAILED;
		if (operation->outcome == HISTORY_UNKNOWN)
			worker->identity++;
	}
}

/* expected: the read that a compare-and-set goes by. */
static const struct history_operation *operate(
	struct worker *worker, uint8_t kind, uint64_t key, uint64_t expected, uint64_t version)
{
	const struct settings *settings = worker->settings;
	struct history_operation *operation = record(worker);
	char key_text[KEY_SIZE_MAX], value_text[VALUE_SIZE_MAX + 1];
	dom_bytes at = key_bytes(settings, key, key_text), value = { NULL, 0 };
	dom_options options = DOM_OPTIONS;
	enum dom_status status;
	dom_call *call = NULL;

	options.timeout_ms = settings->timeout_ms;
	operation->key = key;
	operation->kind = kind;
	if (kind == HISTORY_WRITE || kind == HISTORY_CAS) {
		operation->value = (uint64_t)(worker->number + 1) << 40 | ++worker->value_count;
		value = value_bytes(settings, operation->value, value_text);
	}
	operation->expected = expected;
	operation->invoked = clock_boot_ns();
	switch ((enum history_kind)kind) {
	case HISTORY_READ:
		call = dom_get(worker->client, at, &options);
		break;
	case HISTORY_WRITE:
		call = dom_put(worker->client, at, value, &options);
		break;
	case HISTORY_DELETE:
		call = dom_delete(worker->client, at, &options);
		break;
	case HISTORY_CAS:
		call = dom_cas(worker->client, at, version, value, &options);
		break;
	}
	if (call == NULL)
		abort();
	status = dom_call_wait(call);
	note(worker, operation, call, status);
	dom_call_free(call);
	return operation;
}

static void step(struct worker *worker)
{
	const struct settings *settings = worker->settings;
	uint64_t key = prng_below(&worker->prng, settings->keys), choice = prng_below(&worker->prng, 100);

	if (choice < settings->once_percent) {
		key = ONCE_KEY | (uint64_t)worker->number << 24 | worker->once_count++;
		(void)operate(worker, HISTORY_WRITE, key, 0, 0);
		return;
	}
	choice = prng_below(&worker->prng, 100);
	if (choice < 40) {
		(void)operate(worker, HISTORY_WRITE, key, 0, 0);
	} else if (choice < 70) {
		(void)operate(worker, HISTORY_READ, key, 0, 0);
	} else if (choice < 92) {
		const struct history_operation *read = operate(worker, HISTORY_READ, key, 0, 0);

		if (read->outcome == HISTORY_DONE)
			(void)operate(
				worker, HISTORY_CAS, key, read->seen, read->seen == HISTORY_ABSENT ? 0 : read->version);
	} else {
		(void)operate(worker, HISTORY_DELETE, key, 0, 0);
	}
}

static void *work(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&stopping)) {
		step(worker);
		if (worker->settings->think_us > 0)
			usleep(worker->settings->think_us);
	}
	return NULL;
}

/* Whoever asks last must get an answer: what comes after the worst is a working cluster. */
static void *read_finally(void *arg)
{
	struct worker *worker = arg;

	for (size_t i = worker->final_first; i < worker->final_count; i += worker->final_step) {
		unsigned attempts = 0;

		while (operate(worker, HISTORY_READ, worker->final_keys[i], 0, 0)->outcome != HISTORY_DONE) {
			if (++attempts == ATTEMPTS_MAX || worker->final_failures > 0) {
				worker->final_failures++;
				break;
			}
			usleep(FINAL_PAUSE_US);
		}
	}
	return NULL;
}

static void run_threads(struct worker *workers, unsigned count, void *(*body)(void *))
{
	for (unsigned i = 0; i < count; i++) {
		if (pthread_create(&workers[i].thread, NULL, body, &workers[i]) != 0)
			abort();
	}
}

static void join_threads(struct worker *workers, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pthread_join(workers[i].thread, NULL);
}

/* --- the judgement ----------------------------------------------------------------------------------- */

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static const char *kind_name(uint8_t kind)
{
	static const char *const names[] = { "?", "read", "write", "delete", "cas" };

	return kind <= HISTORY_CAS ? names[kind] : names[0];
}

static const char *outcome_name(uint8_t outcome)
{
	static const char *const names[] = { "?", "done", "refused", "failed", "unknown" };

	return outcome <= HISTORY_UNKNOWN ? names[outcome] : names[0];
}

static void print_operation(const struct history_operation *operation, uint64_t began_ns)
{
	printf("    %.6f..%.6f s client %" PRIu32 " key %" PRIx64 " %s %s: value %" PRIx64 " expected %" PRIx64
	       " seen %" PRIx64 " version %" PRIu64 "\n",
		((double)operation->invoked - (double)began_ns) / 1e9,
		((double)operation->returned - (double)began_ns) / 1e9, operation->client, operation->key,
		kind_name(operation->kind), outcome_name(operation->outcome), operation->value, operation->expected,
		operation->seen, operation->version);
}

static bool print_verdict(const char *checker, const struct history_report *report,
	const struct history_operation *operations, uint64_t began_ns)
{
	if (report->verdict == HISTORY_LINEARIZABLE)
		printf("  %s: linearizable\n", checker);
	if (report->verdict == HISTORY_UNDECIDED)
		printf("  %s: given up at key %" PRIx64 ", %s\n", checker, report->key, report->why);
	if (report->verdict != HISTORY_VIOLATION)
		return true;
	printf("  %s: VIOLATION at key %" PRIx64 ": %s\n", checker, report->key, report->why);
	print_operation(&operations[report->operation], began_ns);
	print_operation(&operations[report->before], began_ns);
	return false;
}

static bool is_write(const struct history_operation *operation)
{
	return operation->kind != HISTORY_READ;
}

static bool succeeded(const struct history_operation *operation)
{
	return is_write(operation) && (operation->outcome == HISTORY_DONE || operation->outcome == HISTORY_REFUSED);
}

struct stall {
	uint64_t from_ns, size_ns, key;
};

/* Of one key that is written often. */
static struct stall longest_stall(
	const struct history_operation *operations, size_t count, uint64_t key, uint64_t end_ns)
{
	struct stall longest = { 0, 0, key };
	uint64_t *successes = calloc(count + 1, sizeof(*successes));
	size_t success_count = 0;

	if (successes == NULL)
		abort();
	for (size_t i = 0; i < count; i++) {
		if (operations[i].key == key && succeeded(&operations[i]))
			successes[success_count++] = operations[i].returned;
	}
	qsort(successes, success_count, sizeof(*successes), compare_u64);
	for (size_t i = 0; i < count; i++) {
		size_t first = 0, end = success_count;
		uint64_t until;

		if (operations[i].key != key || !is_write(&operations[i]))
			continue;
		while (first < end) {
			size_t middle = first + (end - first) / 2;

			if (successes[middle] < operations[i].invoked)
				first = middle + 1;
			else
				end = middle;
		}
		until = first < success_count ? successes[first] : end_ns;
		if (until - operations[i].invoked > longest.size_ns)
			longest = (struct stall){ operations[i].invoked, until - operations[i].invoked, key };
	}
	free(successes);
	return longest;
}

static void print_seconds(const struct history_operation *operations, size_t count, uint64_t began_ns, uint64_t end_ns)
{
	static uint32_t seconds[SECONDS_MAX + 1];
	uint64_t last = (end_ns - began_ns) / 1000000000;

	memset(seconds, 0, sizeof(seconds));
	for (size_t i = 0; i < count; i++) {
		uint64_t second = (operations[i].returned - began_ns) / 1000000000;

		if (succeeded(&operations[i]) && second <= SECONDS_MAX)
			seconds[second]++;
	}
	printf("  writes in each second:");
	for (uint64_t i = 0; i <= last && i <= SECONDS_MAX; i++)
		printf(" %" PRIu32, seconds[i]);
	printf("\n");
}

static void print_counts(const struct worker *workers, unsigned count, size_t operations)
{
	printf("  %zu operations:", operations);
	for (unsigned status = 0; status < STATUSES; status++) {
		uint64_t sum = 0;

		for (unsigned i = 0; i < count; i++)
			sum += workers[i].by_status[status];
		if (sum > 0)
			printf(" %" PRIu64 " %s", sum, dom_status_name((enum dom_status)status));
	}
	printf("\n");
}

static size_t gather(const struct worker *workers, unsigned count, struct history_operation **all)
{
	size_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += workers[i].count;
	*all = calloc(sum + 1, sizeof(**all));
	if (*all == NULL)
		abort();
	sum = 0;
	for (unsigned i = 0; i < count; i++) {
		memcpy(*all + sum, workers[i].operations, workers[i].count * sizeof(**all));
		sum += workers[i].count;
	}
	return sum;
}

static size_t distinct_keys(const struct history_operation *operations, size_t count, uint64_t **keys)
{
	size_t distinct = 0;

	*keys = calloc(count + 1, sizeof(**keys));
	if (*keys == NULL)
		abort();
	for (size_t i = 0; i < count; i++)
		(*keys)[i] = operations[i].key;
	qsort(*keys, count, sizeof(**keys), compare_u64);
	for (size_t i = 0; i < count; i++) {
		if (distinct == 0 || (*keys)[distinct - 1] != (*keys)[i])
			(*keys)[distinct++] = (*keys)[i];
	}
	return distinct;
}

/* What was acknowledged once and is read as absent now: the plainest of all losses, counted. */
static uint64_t count_lost(const struct history_operation *operations, size_t count)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < count; i++) {
		if (operations[i].key < ONCE_KEY || operations[i].outcome != HISTORY_DONE || !is_write(&operations[i]))
			continue;
		for (size_t j = i + 1; j < count && operations[j].key == operations[i].key; j++)
			lost += operations[j].kind == HISTORY_READ && operations[j].outcome == HISTORY_DONE &&
				operations[j].seen == HISTORY_ABSENT;
	}
	return lost;
}

static int compare_key(const void *a, const void *b)
{
	const struct history_operation *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->invoked > y->invoked) - (x->invoked < y->invoked);
}

static bool judge(const struct settings *settings, struct worker *workers, uint64_t began_ns, uint64_t end_ns)
{
	struct history_operation *operations;
	struct history_report report;
	size_t count = gather(workers, settings->threads, &operations);
	struct stall worst = { 0, 0, 0 };
	uint64_t writes = 0, failures = 0, lost;
	bool good;

	qsort(operations, count, sizeof(*operations), compare_key);
	print_counts(workers, settings->threads, count);
	print_seconds(operations, count, began_ns, end_ns);
	for (unsigned i = 0; i < settings->threads; i++)
		failures += workers[i].final_failures;
	for (size_t i = 0; i < count; i++)
		writes += succeeded(&operations[i]);
	for (uint64_t key = 0; key < settings->keys; key++) {
		struct stall stall = longest_stall(operations, count, key, end_ns);

		worst = stall.size_ns > worst.size_ns ? stall : worst;
	}
	printf("| churn: %" PRIu64 " writes; longest stall of a key %.0f ms, from %.2f s on\n", writes,
		(double)worst.size_ns / 1e6, ((double)worst.from_ns - (double)began_ns) / 1e9);
	lost = count_lost(operations, count);
	if (lost > 0)
		printf("  VIOLATION: %" PRIu64 " acknowledged writes of keys written once are gone\n", lost);
	(void)history_check_versions(operations, count, &report);
	good = print_verdict("by versions", &report, operations, began_ns) && lost == 0;
	if (!settings->no_search) {
		(void)history_check_search(operations, count, STEPS_MAX, &report);
		good = print_verdict("by search", &report, operations, began_ns) && good;
	}
	if (failures > 0)
		printf("  FAILED: the last read of a key had no answer\n");
	if (writes == 0)
		printf("  FAILED: nothing was written\n");
	if (settings->stall_max_ms > 0 && worst.size_ns > (uint64_t)settings->stall_max_ms * 1000000) {
		printf("  FAILED: the stall is longer than %u ms\n", settings->stall_max_ms);
		good = false;
	}
	free(operations);
	return good && failures == 0 && writes > 0;
}

/* --- the run ----------------------------------------------------------------------------------------- */

/* DOMCTL_ENDPOINT_EU_WEST_1, or DOMCTL_ENDPOINT without a region. */
static const char *variable(const char *name, const char *region)
{
	char full[128];
	const char *value;

	snprintf(full, sizeof(full), "%s%s%s", name, region != NULL ? "_" : "", region != NULL ? region : "");
	for (char *c = full; *c != '\0'; c++)
		*c = *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
	value = getenv(full);
	if (value == NULL)
		die(full, "not set; run me by `domctl demo MAP -- ...`");
	return value;
}

static void connect_worker(struct worker *worker)
{
	const struct settings *settings = worker->settings;
	const char *region =
		settings->region_count > 0 ? settings->regions[worker->number % settings->region_count] : NULL;
	const char *certs = variable("DOMCTL_CERTS", region),
		   *as = region ? region : variable("DOMCTL_AS_REGION", NULL);
	char ca[1024], cert[1024], key[1024];
	dom_connect_options options = DOM_CONNECT_OPTIONS;

	snprintf(ca, sizeof(ca), "%s/cas.pem", certs);
	snprintf(cert, sizeof(cert), "%s/client-%s.crt", certs, as);
	snprintf(key, sizeof(key), "%s/client-%s.key", certs, as);
	options.endpoints = variable("DOMCTL_ENDPOINT", region);
	options.ca_file = ca;
	options.cert_file = cert;
	options.key_file = key;
	if (dom_connect(&options, &worker->client) != DOM_OK)
		die("cannot connect", dom_connect_message());
}

static void wait_for_end(const struct settings *settings, uint64_t began_ns)
{
	uint64_t end_ns = began_ns + (uint64_t)settings->seconds * 1000000000;

	while (clock_boot_ns() < end_ns) {
		if (settings->until_file != NULL && access(settings->until_file, F_OK) == 0)
			return;
		usleep(POLL_US);
	}
}

static int run(const struct settings *settings)
{
	static struct worker workers[THREADS_MAX];
	struct history_operation *operations;
	uint64_t began_ns, end_ns, *keys;
	size_t count, key_count;
	bool good;

	for (unsigned i = 0; i < settings->threads; i++) {
		workers[i] = (struct worker){ .settings = settings, .number = i };
		prng_seed(&workers[i].prng, settings->seed * THREADS_MAX + i);
		connect_worker(&workers[i]);
	}
	began_ns = clock_boot_ns();
	run_threads(workers, settings->threads, work);
	wait_for_end(settings, began_ns);
	atomic_store(&stopping, true);
	join_threads(workers, settings->threads);
	end_ns = clock_boot_ns();
	count = gather(workers, settings->threads, &operations);
	key_count = distinct_keys(operations, count, &keys);
	for (unsigned i = 0; i < settings->threads; i++) {
		workers[i].final_keys = keys;
		workers[i].final_count = key_count;
		workers[i].final_first = i;
		workers[i].final_step = settings->threads;
	}
	run_threads(workers, settings->threads, read_finally);
	join_threads(workers, settings->threads);
	good = judge(settings, workers, began_ns, end_ns);
	for (unsigned i = 0; i < settings->threads; i++) {
		dom_close(workers[i].client);
		free(workers[i].operations);
	}
	free(operations);
	free(keys);
	return good ? 0 : 1;
}

static unsigned number(const char *name, const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] == '\0' || *end != '\0' || value < min || value > max)
		die(name, "not a number in range");
	return (unsigned)value;
}

static void split_regions(struct settings *settings, char *text)
{
	char *rest = NULL;

	for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
		if (settings->region_count == REGIONS_MAX)
			die("--regions", "too many");
		settings->regions[settings->region_count++] = word;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "threads", 1, NULL, 't' },
		{ "keys", 1, NULL, 'k' },
		{ "seconds", 1, NULL, 's' },
		{ "until-file", 1, NULL, 'f' },
		{ "regions", 1, NULL, 'r' },
		{ "prefix", 1, NULL, 'p' },
		{ "marker", 1, NULL, 'M' },
		{ "timeout-ms", 1, NULL, 'm' },
		{ "once", 1, NULL, 'o' },
		{ "think-us", 1, NULL, 'u' },
		{ "stall-max-ms", 1, NULL, 'l' },
		{ "seed", 1, NULL, 'S' },
		{ "no-search", 0, NULL, 'n' },
		{ 0 },
	};
	struct settings settings = { .prefix = "churn/",
		.marker = "",
		.threads = 8,
		.keys = 8,
		.seconds = 10,
		.timeout_ms = 5000,
		.once_percent = 20,
		.think_us = 1000,
		.seed = 1 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 't':
			settings.threads = number("--threads", optarg, 1, THREADS_MAX);
			break;
		case 'k':
			settings.keys = number("--keys", optarg, 1, KEYS_MAX);
			break;
		case 's':
			settings.seconds = number("--seconds", optarg, 1, SECONDS_MAX);
			break;
		case 'f':
			settings.until_file = optarg;
			break;
		case 'r':
			split_regions(&settings, optarg);
			break;
		case 'p':
			settings.prefix = optarg;
			break;
		case 'M':
			settings.marker = optarg;
			break;
		case 'm':
			settings.timeout_ms = number("--timeout-ms", optarg, 100, 60000);
			break;
		case 'o':
			settings.once_percent = number("--once", optarg, 0, 100);
			break;
		case 'u':
			settings.think_us = number("--think-us", optarg, 0, 10000000);
			break;
		case 'l':
			settings.stall_max_ms = number("--stall-max-ms", optarg, 1, 3600000);
			break;
		case 'S':
			settings.seed = number("--seed", optarg, 0, UINT32_MAX);
			break;
		case 'n':
			settings.no_search = true;
			break;
		default:
			return 2;
		}
	}
	if (optind != argc || strlen(settings.prefix) > KEY_SIZE_MAX / 2 || strlen(settings.marker) > MARKER_MAX)
		die("usage",
			"churn [--threads N] [--keys N] [--seconds N] [--until-file F] [--regions A,B] [--prefix P] "
			"[--marker M] "
			"[--timeout-ms N] [--once PERCENT] [--think-us N] [--stall-max-ms N] [--seed N] [--no-search]");
	return run(&settings);
}
