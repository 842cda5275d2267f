/* tests/unit/server/test_group_driver_random.c: a shard under writes, crashes, cuts and trimmed logs in random order,
 * from seeds. At the end all replicas are equal, nothing that was acknowledged is missing, and no retry was applied
 * twice. DRIVER_SEED=n replays one run, DRIVER_RUNS=n makes so many. */
#include "base/prng.h"
#include "tests/unit/server/driver_cluster.h"

enum { KEYS = 12, STEPS = 250, RUNS = 12, SEQUENCES_MAX = 1000 };

static struct cluster cluster;
static struct prng prng;

/* The newest acknowledged write of each key. */
struct known {
	uint64_t index, version;
	bool deleted;
};
static struct known known[KEYS];

struct write {
	uint64_t token;
	unsigned key;
	struct command command;
	bool open; /* its answer was not looked at yet */
	uint64_t first_version;
};
static struct write writes[SEQUENCES_MAX];
static char names[KEYS][8];
static unsigned write_count;
static uint64_t last[NODES + 1]; /* indexes of the logs when they were stopped */

static void answer_seen(struct write *write)
{
	const struct answer *answer = &cluster.answers[write->token];
	if (!write->open || !answer->done)
		return;
	write->open = false;
	const struct driver_outcome *outcome = &answer->outcome;
	if (outcome->status != STATUS_OK && outcome->status != STATUS_NOT_FOUND)
		return;
	if (write->first_version != 0) /* a retry has one answer, for ever */
		assert_int_equal(outcome->version, write->first_version);
	write->first_version = outcome->version;
	struct known *best = &known[write->key];
	if (outcome->status == STATUS_NOT_FOUND || outcome->index <= best->index)
		return;
	assert_true(outcome->version > best->version);
	*best = (struct known){ outcome->index, outcome->version, write->command.kind == COMMAND_DELETE };
}

static void write_sent(struct write *write)
{
	uint64_t nodes[NODES];
	unsigned count = 0;
	for (uint64_t id = 1; id <= NODES; id++)
		if (cluster.nodes[id].up && cluster.nodes[id].drivers[SLOT_SHARD])
			nodes[count++] = id;
	if (count == 0)
		return;
	uint64_t to = nodes[prng_below(&prng, count)];
	for (unsigned i = 0; i < count; i++) /* mostly to who thinks that it leads */
		if (driver_leads(cluster.nodes[nodes[i]].drivers[SLOT_SHARD]) && prng_below(&prng, 10) != 0)
			to = nodes[i];
	write->token = propose(&cluster, to, &write->command);
	write->open = true;
}

static void act_write(void)
{
	if (write_count == SEQUENCES_MAX || cluster.token + 100 > TOKENS_MAX)
		return;
	struct write *write = &writes[write_count++];
	memset(write, 0, sizeof(*write));
	write->key = (unsigned)prng_below(&prng, KEYS);
	static char value[40000];
	struct command command = put(names[write->key], "");
	command.value = bytes_of(value, prng_below(&prng, prng_below(&prng, 20) == 0 ? sizeof(value) : 100));
	if (prng_below(&prng, 4) == 0)
		command = (struct command){ .kind = COMMAND_DELETE, .key = command.key };
	write->command = by(command, 1 + write_count % 3, write_count, false);
	write->command.low_water = write_count > 40 ? write_count - 40 : 1;
	write_sent(write);
}

static void act_retry(void)
{
	if (write_count == 0 || cluster.token + 100 > TOKENS_MAX)
		return;
	unsigned back = (unsigned)prng_below(&prng, write_count < 20 ? write_count : 20);
	struct write *write = &writes[write_count - 1 - back];
	answer_seen(write);
	if (write->open)
		return;
	write->command.retry = true;
	write_sent(write);
}

static void act_crash(bool flush)
{
	uint64_t id = 1 + prng_below(&prng, 3);
	struct test_node *node = &cluster.nodes[id];
	if (node->up) {
		last[id] = group_status(driver_group(node->drivers[SLOT_SHARD]), cluster.time.now_ns).last;
		node_stop(node, flush);
		return;
	}
	/* One node's disk loses records now and then; the others have them. */
	node->corrupt_term_known = true;
	node->corrupt_index = id == 1 && prng_below(&prng, 3) == 0 ? last[id] - prng_below(&prng, last[id] + 1) : 0;
	node_start(node);
	node->corrupt_index = 0;
}

static void act_cut(void)
{
	struct test_node *node = &cluster.nodes[1 + prng_below(&prng, 3)];
	node->cut = !node->cut;
}

static void act_flush(void)
{
	struct test_node *node = &cluster.nodes[1 + prng_below(&prng, 3)];
	if (node->up)
		assert_int_equal(driver_flush(node->drivers[SLOT_SHARD], prng_below(&prng, 2) ? 0 : 20, cluster.time),
			STATUS_OK);
}

static void act(void)
{
	uint64_t dice = prng_below(&prng, 100);
	if (dice < 50)
		for (uint64_t count = 1 + prng_below(&prng, 5); count > 0; count--)
			act_write();
	else if (dice < 60)
		act_retry();
	else if (dice < 66)
		act_crash(prng_below(&prng, 2) == 0);
	else if (dice < 71)
		act_cut();
	else if (dice < 76)
		act_flush();
	else if (dice < 90)
		cluster_step(&cluster);
	else
		cluster_run(&cluster, prng_below(&prng, 400));
	for (unsigned i = 0; i < write_count; i++)
		answer_seen(&writes[i]);
}

/* By a delete whose outcome nobody heard. */
static bool maybe_deleted(unsigned key)
{
	for (unsigned i = 0; i < write_count; i++)
		if (writes[i].key == key && writes[i].command.kind == COMMAND_DELETE && writes[i].first_version == 0)
			return true;
	return false;
}

static void run(uint64_t seed)
{
	prng_seed(&prng, seed);
	memset(known, 0, sizeof(known));
	write_count = 0;
	cluster_open(&cluster);
	cluster_of_three(&cluster, SLOT_SHARD);
	for (unsigned step = 0; step < STEPS; step++)
		act();
	for (uint64_t id = 1; id <= 3; id++) {
		cluster.nodes[id].cut = false;
		if (!cluster.nodes[id].up)
			node_start(&cluster.nodes[id]);
	}
	cluster_run(&cluster, 2000);
	assert_converged(&cluster, SLOT_SHARD);
	for (unsigned i = 0; i < write_count; i++)
		answer_seen(&writes[i]);
	static char value[50000];
	for (unsigned key = 0; key < KEYS; key++) {
		uint64_t version = read_at(&cluster, 1 + key % 3, names[key], value, sizeof(value));
		if (known[key].index != 0 && !known[key].deleted && !maybe_deleted(key))
			assert_true(version > 0);
		if (version != 0)
			assert_true(version >= known[key].version);
	}
	cluster_close(&cluster);
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KEYS; i++)
		snprintf(names[i], sizeof(names[i]), "key%u", i);
	const char *seed = getenv("DRIVER_SEED"), *runs = getenv("DRIVER_RUNS");
	uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
	uint64_t count = seed ? 1 : runs ? strtoull(runs, NULL, 10) : RUNS;
	for (uint64_t i = 0; i < count; i++) {
		print_message("DRIVER_SEED=%llu\n", (unsigned long long)(first + i));
		run(first + i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
