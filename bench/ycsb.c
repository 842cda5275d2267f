/* bench/ycsb.c: the six core workloads of YCSB by their letters, as it defines them: zipfian 0.99 scrambled over the
 * records, latest for d, short scans for e, read-modify-write for f.
 *
 * A record is one value of fields x field-size bytes; an update replaces all of it. Keys are PREFIX{BLOCK}NN, a hundred
 * records to a block: what is in braces decides the shard, so a block lies in one shard and a scan of up to a hundred
 * records from any start is one ordered range, or two when it crosses into the next block. Keys that were hashed one
 * by one would have no neighbours to scan.
 *
 * f reads with its version and writes by compare-and-set; a conflict starts it over, within the same latency. */
#include "bench/bench.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "bench/run.h"
#include "bench/zipf.h"

enum { KEY_SIZE = 192, BLOCK = 100, SCAN_MAX = 100, OPEN_INSERTS_MAX = 1 << 20 };
enum ycsb_class { CLASS_READ, CLASS_UPDATE, CLASS_INSERT, CLASS_SCAN, CLASS_RMW, CLASSES };
static const char *const class_names[CLASSES] = { "read", "update", "insert", "scan", "rmw" };

static const struct recipe {
	char letter;
	const char *what;
	uint8_t percent[CLASSES];
	bool latest;
} recipes[] = {
	{ 'a', "update heavy: 50 % reads, 50 % updates", { 50, 50, 0, 0, 0 }, false },
	{ 'b', "read mostly: 95 % reads, 5 % updates", { 95, 5, 0, 0, 0 }, false },
	{ 'c', "read only", { 100, 0, 0, 0, 0 }, false },
	{ 'd', "read latest: 95 % reads of what came last, 5 % inserts", { 95, 0, 5, 0, 0 }, true },
	{ 'e', "short ranges: 95 % scans, 5 % inserts", { 0, 0, 5, 95, 0 }, false },
	{ 'f', "read-modify-write: 50 % reads, 50 % reads and compare-and-sets", { 50, 0, 0, 0, 50 }, false },
};

struct ycsb {
	const struct recipe *recipe;
	const char *prefix;
	uint64_t records, fields, field_size, seed;
	struct prng prng;
	struct zipf wide, latest;
	uint8_t *value;
	size_t value_size;
	uint64_t started, acknowledged; /* inserts count on from the records; below `acknowledged` all have an answer */
	bool *answered;			/* of started inserts, modulo OPEN_INSERTS_MAX */
	uint64_t conflicts, scanned, loading;
};

struct step { /* in the slot's memory */
	char key[KEY_SIZE], after[KEY_SIZE];
	uint64_t record;
	uint32_t left; /* of a scan */
	bool modifying;
};

/* --- keys and values --------------------------------------------------------------------------------- */

static void set_key(const struct ycsb *ycsb, uint64_t record, struct load_operation *operation)
{
	struct step *step = operation->memory;
	int size = snprintf(step->key, KEY_SIZE, "%s{%010" PRIu64 "}%02u", ycsb->prefix, record / BLOCK,
		(unsigned)(record % BLOCK));

	assert(size > 0);
	assert(size < KEY_SIZE);
	step->record = record;
	operation->key = (dom_bytes){ step->key, (size_t)size };
}

/* The block of the record from it on: the prefix is the block, `after` what sorts just before the record. */
static void set_range(const struct ycsb *ycsb, uint64_t record, struct load_operation *operation)
{
	struct step *step = operation->memory;
	int size;

	set_key(ycsb, record, operation);
	operation->key.size -= 2;
	operation->after = (dom_bytes){ NULL, 0 };
	if (record % BLOCK > 0) {
		size = snprintf(step->after, KEY_SIZE, "%s{%010" PRIu64 "}%02u", ycsb->prefix, record / BLOCK,
			(unsigned)(record % BLOCK - 1));
		operation->after = (dom_bytes){ step->after, (size_t)size };
	}
	operation->limit = step->left;
}

static dom_bytes fresh_value(struct ycsb *ycsb)
{
	uint64_t stamp = prng_next(&ycsb->prng);

	memcpy(ycsb->value, &stamp, ycsb->value_size < sizeof(stamp) ? ycsb->value_size : sizeof(stamp));
	return (dom_bytes){ ycsb->value, ycsb->value_size };
}

static uint64_t choose_record(struct ycsb *ycsb)
{
	if (ycsb->recipe->latest) {
		zipf_grow(&ycsb->latest, ycsb->acknowledged);
		return ycsb->acknowledged - 1 - zipf_next(&ycsb->latest, &ycsb->prng);
	}
	return zipf_scrambled(&ycsb->wide, ycsb->acknowledged, &ycsb->prng);
}

/* --- operations -------------------------------------------------------------------------------------- */

static uint8_t choose_class(struct ycsb *ycsb)
{
	uint64_t percent = prng_below(&ycsb->prng, 100);
	uint8_t class = 0;

	while (percent >= ycsb->recipe->percent[class])
		percent -= ycsb->recipe->percent[class ++];
	assert(class < CLASSES);
	/* More inserts without an answer than can be noted: another read instead, so that the plan goes on. */
	if (class == CLASS_INSERT && ycsb->started - ycsb->acknowledged >= OPEN_INSERTS_MAX)
		class = CLASS_READ;
	return class;
}

static bool ycsb_next(void *arg, uint32_t connection, uint64_t planned_ns, struct load_operation *operation)
{
	struct ycsb *ycsb = arg;
	struct step *step = operation->memory;

	(void)connection;
	(void)planned_ns;
	operation->class = choose_class(ycsb);
	step->modifying = false;
	switch ((enum ycsb_class)operation->class) {
	case CLASS_READ:
	case CLASS_RMW:
		operation->kind = LOAD_GET;
		set_key(ycsb, choose_record(ycsb), operation);
		break;
	case CLASS_UPDATE:
		operation->kind = LOAD_PUT;
		set_key(ycsb, choose_record(ycsb), operation);
		operation->value = fresh_value(ycsb);
		break;
	case CLASS_INSERT:
		operation->kind = LOAD_PUT;
		ycsb->answered[ycsb->started % OPEN_INSERTS_MAX] = false;
		set_key(ycsb, ycsb->started++, operation);
		operation->value = fresh_value(ycsb);
		break;
	case CLASS_SCAN:
		operation->kind = LOAD_SCAN;
		step->left = 1 + (uint32_t)prng_below(&ycsb->prng, SCAN_MAX);
		set_range(ycsb, choose_record(ycsb), operation);
		break;
	case CLASSES:
		assert(false);
	}
	return true;
}

static void insert_answered(struct ycsb *ycsb, uint64_t record)
{
	ycsb->answered[record % OPEN_INSERTS_MAX] = true;
	while (ycsb->acknowledged < ycsb->started && ycsb->answered[ycsb->acknowledged % OPEN_INSERTS_MAX])
		ycsb->acknowledged++;
}

/* A range that ends with its block goes on in the next one, as long as there are records. */
static enum load_verdict scan_done(
	struct ycsb *ycsb, struct load_operation *operation, const struct load_outcome *outcome)
{
	struct step *step = operation->memory;
	uint64_t next = (step->record / BLOCK + 1) * BLOCK;
	size_t rows = dom_call_rows(outcome->call);

	ycsb->scanned += outcome->measured ? rows : 0;
	step->left -= rows < step->left ? (uint32_t)rows : step->left;
	if (step->left == 0 || next >= ycsb->acknowledged)
		return LOAD_GOOD;
	set_range(ycsb, next, operation);
	return LOAD_AGAIN;
}

static enum load_verdict rmw_done(
	struct ycsb *ycsb, struct load_operation *operation, const struct load_outcome *outcome)
{
	struct step *step = operation->memory;

	if (!step->modifying && outcome->status == DOM_OK) {
		step->modifying = true;
		operation->kind = LOAD_CAS;
		operation->version = dom_call_version(outcome->call, 0);
		operation->value = fresh_value(ycsb);
		return LOAD_AGAIN;
	}
	if (step->modifying && outcome->status == DOM_CONFLICT) {
		step->modifying = false;
		operation->kind = LOAD_GET;
		ycsb->conflicts++;
		return LOAD_AGAIN;
	}
	return outcome->status == DOM_OK ? LOAD_GOOD : LOAD_FAILED;
}

static enum load_verdict ycsb_done(void *arg, struct load_operation *operation, const struct load_outcome *outcome)
{
	struct ycsb *ycsb = arg;

	if (operation->class == CLASS_INSERT)
		insert_answered(ycsb, ((struct step *)operation->memory)->record);
	if (operation->class == CLASS_RMW && outcome->call != NULL)
		return rmw_done(ycsb, operation, outcome);
	if (outcome->status != DOM_OK)
		return LOAD_FAILED;
	return operation->class == CLASS_SCAN ? scan_done(ycsb, operation, outcome) : LOAD_GOOD;
}

/* --- the records, before the run --------------------------------------------------------------------- */

static bool fill_next(void *arg, uint32_t connection, uint64_t planned_ns, struct load_operation *operation)
{
	struct ycsb *ycsb = arg;

	(void)connection;
	(void)planned_ns;
	if (ycsb->loading >= ycsb->records)
		return false;
	operation->class = 0;
	operation->kind = LOAD_PUT;
	set_key(ycsb, ycsb->loading++, operation);
	operation->value = fresh_value(ycsb);
	return true;
}

static enum load_verdict fill_done(void *arg, struct load_operation *operation, const struct load_outcome *outcome)
{
	(void)arg;
	(void)operation;
	return outcome->status == DOM_OK ? LOAD_GOOD : LOAD_FAILED;
}

static int fill(struct ycsb *ycsb, const struct run_flags *run, struct load_result *result)
{
	static const char *const names[] = { "fill" };
	const struct workload workload = { ycsb, names, 1, sizeof(struct step), fill_next, fill_done };
	struct load_settings settings = run->load;
	int code;

	settings.rate = 0;
	settings.warmup = 0;
	settings.seconds = 86400; /* it ends when the records are in */
	settings.depth = settings.depth < 4 ? 4 : settings.depth;
	settings.quiet = true;
	code = load_run(&settings, &workload, result);
	if (code == 0 && result->failed > 0) {
		fprintf(stderr, "dombench: %" PRIu64 " of %" PRIu64 " records were not written\n", result->failed,
			ycsb->records);
		code = RUN_CHECK_FAILED;
	}
	return code;
}

/* --- the whole --------------------------------------------------------------------------------------- */

static const struct recipe *recipe_of(const char *text)
{
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		if (text[0] == recipes[i].letter && text[1] == '\0')
			return &recipes[i];
	}
	return NULL;
}

static int run_recipe(struct ycsb *ycsb, const struct run_flags *run, bool filled)
{
	static struct load_result result;
	const struct workload workload = { ycsb, class_names, CLASSES, sizeof(struct step), ycsb_next, ycsb_done };
	char title[128], letter[] = { ycsb->recipe->letter, '\0' };
	int code = filled ? 0 : fill(ycsb, run, &result);
	json_t *config;

	if (code != 0)
		return code;
	zipf_init(&ycsb->wide, ZIPF_WIDE);
	zipf_init(&ycsb->latest, ycsb->records);
	ycsb->started = ycsb->acknowledged = ycsb->records;
	snprintf(title, sizeof(title), "ycsb %c: %s", ycsb->recipe->letter, ycsb->recipe->what);
	config = json_pack("{s:s,s:I,s:I,s:I,s:I}", "workload", letter, "records", (json_int_t)ycsb->records, "fields",
		(json_int_t)ycsb->fields, "field_bytes", (json_int_t)ycsb->field_size, "seed", (json_int_t)ycsb->seed);
	code = run_workload(run, "Ycsb", title, &workload, &result, config);
	if (ycsb->scanned > 0)
		printf("scan     %.1f records each\n",
			(double)ycsb->scanned / ((double)result.classes[CLASS_SCAN].good + 0.5));
	if (ycsb->conflicts > 0)
		printf("rmw      %" PRIu64 " conflicts, each started over\n", ycsb->conflicts);
	return code;
}

int bench_ycsb(int argc, char **argv)
{
	struct run_flags run = RUN_FLAGS;
	struct ycsb ycsb = { .prefix = "ycsb/", .records = 100000, .fields = 10, .field_size = 100, .seed = 1 };
	bool filled = false;
	const struct flag flags[] = {
		RUN_FLAGS_TABLE(run),
		FLAG_NUMBER("records", &ycsb.records, 1, UINT64_C(1) << 32, "in the store before the run (100000)"),
		FLAG_NUMBER("fields", &ycsb.fields, 1, 1000, "of a record (10)"),
		FLAG_NUMBER("field-size", &ycsb.field_size, 1, 1 << 20, "bytes (100)"),
		FLAG_TEXT("prefix", &ycsb.prefix, "of every key (ycsb/)"),
		FLAG_NUMBER("seed", &ycsb.seed, 0, UINT64_MAX, "of keys and values (1)"),
		FLAG_ON("filled", &filled, "the records are there from an earlier run"),
	};
	int code = flags_parse(argc, argv,
		"dombench ycsb a|b|c|d|e|f: the core workloads of YCSB\n\n"
		"  a 50 % reads, 50 % updates   b 95 % reads, 5 % updates   c reads\n"
		"  d reads of the latest, 5 % inserts   e short scans, 5 % inserts   f 50 % read-modify-writes",
		flags, sizeof(flags) / sizeof(flags[0]));

	if (code < 0)
		return code == -1 ? 0 : 2;
	ycsb.recipe = code == 1 ? recipe_of(argv[1]) : NULL;
	ycsb.value_size = ycsb.fields * ycsb.field_size;
	if (ycsb.recipe == NULL || ycsb.value_size > 1 << 20 || strlen(ycsb.prefix) > KEY_SIZE - 32 ||
		strpbrk(ycsb.prefix, "{}") != NULL) {
		fputs(ycsb.recipe == NULL	    ? "dombench: ycsb takes one of a b c d e f\n"
			: ycsb.value_size > 1 << 20 ? "dombench: a record is at most 1 MiB\n"
						    : "dombench: the prefix is at most 160 bytes, without braces\n",
			stderr);
		return 2;
	}
	if (!run_flags_complete(&run))
		return 2;
	prng_seed(&ycsb.prng, ycsb.seed);
	ycsb.value = malloc(ycsb.value_size);
	ycsb.answered = calloc(OPEN_INSERTS_MAX, sizeof(bool));
	if (ycsb.value == NULL || ycsb.answered == NULL)
		return DOM_NO_MEMORY;
	for (size_t i = 0; i < ycsb.value_size; i++)
		ycsb.value[i] = (uint8_t)prng_next(&ycsb.prng);
	code = run_recipe(&ycsb, &run, filled);
	free(ycsb.value);
	free(ycsb.answered);
	return code;
}
