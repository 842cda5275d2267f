/* tests/sim/main.c: the simulator's command line. One run is a function of its seed: a cluster from nothing, at least
 * 60 virtual seconds of load and faults, then healing, in which everything must work again and all replicas become
 * equal. */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/sim/checkers.h"
#include "tests/sim/drains.h"
#include "tests/sim/faults.h"
#include "tests/sim/found.h"
#include "tests/sim/freshness.h"
#include "tests/sim/history.h"
#include "tests/sim/load.h"
#include "tests/sim/scenarios.h"

enum { LOAD_SECONDS = 60, HEAL_SECONDS = 60, OPERATIONS_MIN = 200 };

struct totals {
	uint64_t runs, failed, events, virtual_ns, digest;
	struct world_stats stats;
};

static void add(struct totals *totals, const struct world *world)
{
	uint64_t *into = (uint64_t *)&totals->stats;
	const uint64_t *from = (const uint64_t *)&world->stats;

	for (size_t i = 0; i < sizeof(totals->stats) / sizeof(uint64_t); i++)
		into[i] += from[i];
	totals->runs++;
	totals->virtual_ns += world->now_ns;
	totals->digest = world->digest;
}

/* After healing: new operations succeed, replicas become equal. */
static void heal_and_check(struct world *world)
{
	uint64_t healed_ns, end_ns;

	faults_stop(world);
	world_heal(world);
	drains_readmit(world);
	if (world->failure[0] != '\0' || !world_run_until(world, world->now_ns + 20 * (uint64_t)WORLD_SECOND))
		return;
	drains_replace(world);
	healed_ns = world->now_ns;
	if (!world_run_until(world, world->now_ns + 10 * (uint64_t)WORLD_SECOND))
		return;
	load_stop(world);
	end_ns = world->now_ns + HEAL_SECONDS * (uint64_t)WORLD_SECOND;
	while (!load_idle(world) || !drains_done(world) || !checkers_settled(world) || !checkers_converged(world)) {
		if (world->failure[0] != '\0')
			return;
		if (world->now_ns > end_ns) {
			checkers_describe(world);
			drains_describe(world);
			world_fail(world, !load_idle(world) ? "operations never end after healing"
					  : !drains_done(world)
						  ? "an operation never ends after healing, or what was drained "
						    "still holds replicas, or leads"
					  : !checkers_settled(world) ? "keys that move do not arrive after healing"
								     : "replicas do not become equal after healing");
			return;
		}
		if (!world_run_until(world, world->now_ns + WORLD_SECOND / 2))
			return;
	}
	if (load_failed_since(world, healed_ns) > 0)
		world_fail(world, "%u operations that began 20 s after healing did not succeed",
			load_failed_since(world, healed_ns));
	checkers_search(world);
	if (world->failure[0] == '\0')
		checkers_ledgers(world);
	checkers_homes(world);
}

static uint64_t trace_group, failures_max = 10;

static bool run(uint64_t seed, const struct scenario *scenario, bool verbose, struct totals *totals, char *failure,
	size_t failure_size)
{
	struct world *world = world_new(seed, scenario == NULL ? NULL : scenario->knobs, verbose);
	struct load *load = load_new(world);
	bool good;

	world->trace_group = trace_group;

	if (found_cluster(world)) {
		uint64_t end_ns = world->now_ns + LOAD_SECONDS * (uint64_t)WORLD_SECOND;

		load_start(world);
		if (scenario == NULL) {
			faults_start(world);
		} else {
			faults_start_compactions(world);
			scenario->play(world);
		}
		if (world_run_until(world, end_ns > world->now_ns ? end_ns : world->now_ns))
			heal_and_check(world);
		if (world->failure[0] == '\0')
			history_check(world);
		if (world->failure[0] == '\0')
			freshness_check(world);
		if (world->failure[0] == '\0' && world->stats.operations < OPERATIONS_MIN)
			world_fail(
				world, "only %" PRIu64 " operations: the run does not count", world->stats.operations);
		if (world->failure[0] == '\0' && world->stats.faults == 0)
			world_fail(world, "no fault: the run does not count");
	}
	good = world->failure[0] == '\0';
	snprintf(failure, failure_size, "%s", world->failure);
	add(totals, world);
	totals->failed += !good;
	world_free(world);
	load_free(load);
	return good;
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void report(const struct totals *totals, double seconds)
{
	const struct world_stats *stats = &totals->stats;

	printf("%" PRIu64 " runs, %" PRIu64 " failed; %.2f M events/s, %.1f cluster-hours in %.0f s\n", totals->runs,
		totals->failed, (double)stats->events / seconds / 1e6, (double)totals->virtual_ns / 3.6e12, seconds);
	printf("operations %" PRIu64 " (acknowledged %" PRIu64 ", unknown %" PRIu64 ", refused %" PRIu64
	       "), all histories checked; reads of an age or a session %" PRIu64 "; messages %" PRIu64
	       ", dropped %" PRIu64 "\n",
		stats->operations, stats->acknowledged, stats->unknown, stats->refused, stats->reads_checked,
		stats->messages, stats->dropped);
	printf("faults %" PRIu64 ": crashes %" PRIu64 ", power cuts %" PRIu64 ", partitions %" PRIu64
	       ", pauses %" PRIu64 ", disk stalls %" PRIu64 ", transfers %" PRIu64 ", policy moves %" PRIu64
	       ", bindings %" PRIu64 ", splits and merges %" PRIu64 " (%" PRIu64 " with their keys, %" PRIu64
	       " given up), drains %" PRIu64 ", cancellations %" PRIu64 ", levellings %" PRIu64
	       ", decommissions %" PRIu64 ", regions removed %" PRIu64 ", engines damaged %" PRIu64
	       "; logs compacted %" PRIu64 "; witnesses stood in %" PRIu64 " times\n",
		stats->faults, stats->crashes, stats->power_cuts, stats->partitions, stats->pauses, stats->stalls,
		stats->transfers, stats->moves, stats->rebinds, stats->ranges, stats->moved, stats->aborted,
		stats->drains, stats->cancels, stats->levellings, stats->decommissions, stats->removals, stats->damages,
		stats->compactions, stats->degraded);
}

/* Seeds first, first + step, ... One child of --jobs. */
static void run_many(uint64_t first, uint64_t step, uint64_t count, const struct scenario *scenario, bool verbose,
	struct totals *totals)
{
	char failure[512];

	for (uint64_t i = 0; i < count; i++) {
		uint64_t seed = first + i * step;
		struct totals again = { 0 };

		if (!run(seed, scenario, verbose, totals, failure, sizeof(failure))) {
			printf("FAILED seed %" PRIu64 ": %s\n    make sim %s%s%sSEED=%" PRIu64 "\n", seed, failure,
				scenario == NULL ? "" : "SCENARIO=", scenario == NULL ? "" : scenario->name,
				scenario == NULL ? "" : " ", seed);
			fflush(stdout);
			if (totals->failed >= failures_max)
				return;
		} else if (seed % 20 == 0) {
			/* One run in twenty is made twice: the same seed must do the same. */
			uint64_t digest = totals->digest;

			(void)run(seed, scenario, false, &again, failure, sizeof(failure));
			if (again.digest != digest) {
				printf("FAILED seed %" PRIu64 ": two runs of it differ\n    make sim SEED=%" PRIu64
				       "\n",
					seed, seed);
				totals->failed++;
			}
		}
	}
}

static void run_all(uint64_t first, uint64_t step, uint64_t count, const struct scenario *scenario, bool all,
	bool verbose, struct totals *totals)
{
	if (!all) {
		run_many(first, step, count, scenario, verbose, totals);
		return;
	}
	for (unsigned i = 0; scenario_at(i) != NULL; i++)
		run_many(first, step, count, scenario_at(i), verbose, totals);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", 1, NULL, 's' },
		{ "runs", 1, NULL, 'r' },
		{ "jobs", 1, NULL, 'j' },
		{ "verbose", 0, NULL, 'v' },
		{ "trace", 1, NULL, 't' },
		{ "fail-fast", 0, NULL, 'f' },
		{ "scenario", 1, NULL, 'c' },
		{ 0 },
	};
	uint64_t seed = 1, runs = 0, jobs = 1;
	bool verbose = false, given = false, all = false;
	const struct scenario *scenario = NULL;
	struct totals totals = { 0 };
	double begin = seconds_now();
	int option;

	while ((option = getopt_long(argc, argv, "v", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seed = strtoull(optarg, NULL, 10);
			given = true;
			break;
		case 'r':
			runs = strtoull(optarg, NULL, 10);
			break;
		case 'j':
			jobs = strtoull(optarg, NULL, 10);
			break;
		case 't':
			trace_group = strtoull(optarg, NULL, 16);
			break;
		case 'c':
			if (strcmp(optarg, "all") != 0 && (scenario = scenario_find(optarg)) == NULL) {
				fprintf(stderr, "no scenario %s; there are:\n", optarg);
				for (unsigned i = 0; (scenario = scenario_at(i)) != NULL; i++)
					fprintf(stderr, "    %-16s %s\n", scenario->name, scenario->what);
				return 2;
			}
			all = scenario == NULL;
			break;
		case 'f':
			failures_max = 1;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			fputs("usage: sim [--seed N] [--runs N] [--jobs N] [--fail-fast] [--scenario NAME|all] "
			      "[--verbose] [--trace GROUP]\n",
				stderr);
			return 2;
		}
	}
	mallopt(M_MMAP_THRESHOLD, 1 << 20); /* maps are megabytes of zeroes, hardly touched */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	if (runs == 0)
		runs = given ? 1 : scenario != NULL || all ? 10 : 100;
	if (!verbose)
		log_init(LOG_LOGFMT, LOG_ERROR);
	if (jobs < 1 || jobs > 64 || jobs > runs)
		jobs = 1;
	if (jobs == 1) {
		run_all(seed, 1, runs, scenario, all, verbose, &totals);
	} else {
		int pipes[64][2];

		fflush(stdout);
		for (uint64_t j = 0; j < jobs; j++) {
			if (pipe(pipes[j]) != 0)
				return 1;
			if (fork() == 0) {
				struct totals mine = { 0 };

				run_all(seed + j, jobs, runs / jobs + (j < runs % jobs), scenario, all, verbose, &mine);
				fflush(stdout);
				_exit(write(pipes[j][1], &mine, sizeof(mine)) == (ssize_t)sizeof(mine) ? 0 : 1);
			}
			close(pipes[j][1]);
		}
		for (uint64_t j = 0; j < jobs; j++) {
			struct totals part = { 0 };
			uint64_t *into = (uint64_t *)&totals;
			const uint64_t *from = (const uint64_t *)&part;

			if (read(pipes[j][0], &part, sizeof(part)) != (ssize_t)sizeof(part)) {
				printf("FAILED: a process of the simulator died\n");
				totals.failed++;
			}
			for (size_t i = 0; i < sizeof(totals) / sizeof(uint64_t); i++)
				into[i] += from[i];
		}
		while (wait(NULL) > 0)
			;
	}
	report(&totals, seconds_now() - begin);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n",
		totals.runs - (totals.failed < totals.runs ? totals.failed : totals.runs), totals.failed);
	return totals.failed == 0 ? 0 : 1;
}
