/* bench/throughput.c: how many operations a second, and how long each takes: puts and strong gets of random keys,
 * closed loop unless --rate is given. Each connection is a client of its own on one shared event loop and one thread,
 * so that the generator's cost is that of the library, and its CPU is printed beside the result. */
#include "bench/bench.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "bench/run.h"

enum { KEY_TEXT_MAX = 4096 };
enum throughput_class { CLASS_GET, CLASS_PUT };
static const char *const class_names[] = { "get", "put" };

struct mix {
	const char *prefix;
	uint64_t keys, key_size, value_size, reads_percent, seed;
	struct prng prng;
	uint8_t *value;
};

static bool mix_next(void *arg, uint32_t connection, uint64_t planned_ns, struct load_operation *operation)
{
	struct mix *mix = arg;
	char *key = operation->memory;
	uint64_t number = prng_below(&mix->prng, mix->keys), stamp = prng_next(&mix->prng);
	int size = snprintf(
		key, KEY_TEXT_MAX + 1, "%s%0*" PRIu64, mix->prefix, (int)(mix->key_size - strlen(mix->prefix)), number);

	(void)connection;
	(void)planned_ns;
	assert(size > 0);
	operation->key = (dom_bytes){ key, (size_t)size };
	operation->class = prng_below(&mix->prng, 100) < mix->reads_percent ? CLASS_GET : CLASS_PUT;
	operation->kind = operation->class == CLASS_GET ? LOAD_GET : LOAD_PUT;
	/* Values differ, so that compression has no easy time. */
	memcpy(mix->value, &stamp, mix->value_size < sizeof(stamp) ? mix->value_size : sizeof(stamp));
	operation->value = (dom_bytes){ mix->value, mix->value_size };
	return true;
}

static enum load_verdict mix_done(void *arg, struct load_operation *operation, const struct load_outcome *outcome)
{
	(void)arg;
	return outcome->status == DOM_OK || (operation->class == CLASS_GET && outcome->status == DOM_NOT_FOUND)
		       ? LOAD_GOOD
		       : LOAD_FAILED;
}

/* The fields that scripts read since before there were directories of results. */
static int write_json(
	const char *path, const struct run_flags *run, const struct mix *mix, const struct load_result *result)
{
	const struct load_settings *load = &run->load;
	json_t *json = json_pack("{s:s,s:i,s:f,s:I,s:f,s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "kind",
		"Throughput", "v", 1, "ops_per_second", result->rate, "errors", (json_int_t)result->failed,
		"generator_cpu", result->cpu, "saturated", result->saturated, "suspect", result->suspect, "connections",
		(json_int_t)load->connections, "depth", (json_int_t)load->depth, "seconds", (json_int_t)load->seconds,
		"offered_per_second", (json_int_t)load->rate, "value_bytes", (json_int_t)mix->value_size, "key_bytes",
		(json_int_t)mix->key_size, "reads_percent", (json_int_t)mix->reads_percent, "get",
		result_latency(&result->classes[CLASS_GET].response), "put",
		result_latency(&result->classes[CLASS_PUT].response));
	bool good = json != NULL && json_dump_file(json, path, JSON_INDENT(1)) == 0;

	json_decref(json);
	if (!good)
		fprintf(stderr, "dombench: cannot write %s\n", path);
	return good ? 0 : DOM_INVALID;
}

int bench_throughput(int argc, char **argv)
{
	static struct load_result result;
	struct run_flags run = RUN_FLAGS;
	struct mix mix = { .prefix = "bench/", .keys = 100000, .key_size = 24, .value_size = 128, .seed = 1 };
	const char *json_file = NULL;
	const struct flag flags[] = {
		RUN_FLAGS_TABLE(run),
		FLAG_NUMBER("reads", &mix.reads_percent, 0, 100, "percent of strong gets among the operations (0)"),
		FLAG_NUMBER("keys", &mix.keys, 1, UINT64_C(1) << 40, "number of keys (100000)"),
		FLAG_NUMBER("key-size", &mix.key_size, 1, KEY_TEXT_MAX, "bytes (24)"),
		FLAG_NUMBER("value-size", &mix.value_size, 0, 1 << 20, "bytes (128)"),
		FLAG_TEXT("prefix", &mix.prefix, "of every key (bench/)"),
		FLAG_NUMBER("seed", &mix.seed, 0, UINT64_MAX, "of keys and values (1)"),
		FLAG_TEXT("json", &json_file, "write the figures here"),
	};
	int code = flags_parse(argc, argv, "dombench throughput: operations a second against one cluster", flags,
		sizeof(flags) / sizeof(flags[0]));
	struct workload workload = { .arg = &mix,
		.names = class_names,
		.class_count = 2,
		.memory_size = KEY_TEXT_MAX + 1,
		.next = mix_next,
		.done = mix_done };

	if (code != 0 || !run_flags_complete(&run))
		return code == -1 ? 0 : 2;
	if (strlen(mix.prefix) + 1 > mix.key_size) {
		fputs("dombench: --key-size must exceed the prefix\n", stderr);
		return 2;
	}
	prng_seed(&mix.prng, mix.seed);
	mix.value = malloc(mix.value_size + 1);
	if (mix.value == NULL)
		return DOM_NO_MEMORY;
	for (uint64_t i = 0; i < mix.value_size; i++)
		mix.value[i] = (uint8_t)prng_next(&mix.prng);
	code = run_workload(&run, "Throughput", "throughput", &workload, &result, json_object());
	if (json_file != NULL && (code == 0 || code == RUN_CHECK_FAILED)) {
		int written = write_json(json_file, &run, &mix, &result);

		code = written != 0 ? written : code;
	}
	free(mix.value);
	return code;
}
