/* bench/floors.c: dombench floors: what a map allows, before anything runs: for every client region the floors of
 * bench/floor.h with the leader where it does best, and the policies with which `dombench geo` measures them. */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

#include "bench/flags.h"
#include "bench/floor.h"
#include "bench/geo.h"

static void floors_of(const struct topology *topology, struct floors *floors)
{
	memset(floors, 0, sizeof(*floors));
	floors->count = topology->region_count;
	for (uint32_t i = 0; i < floors->count; i++) {
		floors->voter[i] = true;
		for (uint32_t j = 0; j < floors->count; j++)
			floors->rtt_us[i][j] = topology->rtt_us[i][j];
	}
}

static double mean(const struct floors *floors, floor_formula *formula, uint32_t leader)
{
	double sum = 0;

	for (uint32_t client = 0; client < floors->count; client++)
		sum += (double)formula(floors, client, leader);
	return sum / floors->count / 1000;
}

static uint64_t quorum_of(const struct floors *floors, uint32_t client, uint32_t leader)
{
	(void)leader;
	return floor_quorum(floors, client);
}

static void print_floors(const struct topology *topology, const struct floors *floors)
{
	static const struct {
		const char *name;
		floor_formula *formula;
	} columns[] = { { "quorum", quorum_of }, { "via-leader", floor_via_leader },
		{ "origin-acks", floor_origin_acks }, { "all-acks", floor_all_acks } };
	enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
	uint32_t leaders[COLUMNS];

	printf("a put by the fastest majority, with a copy in each region of %s, ms\n\n%-16s", topology->name,
		"client");
	for (unsigned c = 0; c < COLUMNS; c++) {
		leaders[c] = floor_best_leader(floors, columns[c].formula);
		printf(" %12s", columns[c].name);
	}
	puts("");
	for (uint32_t i = 0; i < floors->count; i++) {
		printf("%-16s", topology->regions[i].name);
		for (unsigned c = 0; c < COLUMNS; c++)
			printf(" %12.1f", (double)columns[c].formula(floors, i, leaders[c]) / 1000);
		puts("");
	}
	printf("%-16s", "mean");
	for (unsigned c = 0; c < COLUMNS; c++)
		printf(" %12.1f", mean(floors, columns[c].formula, leaders[c]));
	puts("\n");
	for (unsigned c = 1; c < COLUMNS; c++)
		printf("best leader %-12s %s\n", columns[c].name, topology->regions[leaders[c]].name);
}

static void print_policy(const struct topology *topology, const char *name, const char *of, const char *rest)
{
	printf("  %s%s: { store_in: [\"*\"], copies: %u, spread: region, survive: region, read_from: [\"*\"], "
	       "write_from: "
	       "[\"*\"], %s }\n",
		name, of, topology->region_count, rest);
}

/* maj/ and loc/: a copy in each region, strong reads at the leader and at every copy; move/: as loc, its leader
 * anywhere; home/REGION/: the leader in that region; sun/: the leader follows the writers. */
static void print_policies(const struct topology *topology, const struct floors *floors)
{
	const char *maj = topology->regions[floor_best_leader(floors, floor_origin_acks)].site.place.text,
		   *loc = topology->regions[floor_best_leader(floors, floor_all_acks)].site.place.text;
	char rest[PLACE_TEXT_MAX + 64];

	printf("# For `dombench geo %s`: a copy in each region, the leader where bench/floor.h says it does best.\n"
	       "policies:\n",
		topology->name);
	snprintf(rest, sizeof(rest), "lead_in: [%s]", maj);
	print_policy(topology, "maj", "", rest);
	snprintf(rest, sizeof(rest), "lead_in: [%s], reads: local", loc);
	print_policy(topology, "loc", "", rest);
	print_policy(topology, "move", "", "reads: local");
	print_policy(topology, "sun", "", "follow: true");
	for (uint32_t i = 0; i < topology->region_count; i++) {
		snprintf(rest, sizeof(rest), "lead_in: [%s]", topology->regions[i].site.place.text);
		print_policy(topology, "home-", topology->regions[i].name, rest);
	}
	puts("bindings:\n  \"\": maj\n  \"maj/\": maj\n  \"loc/\": loc\n  \"move/\": move\n  \"sun/\": sun");
	for (uint32_t i = 0; i < topology->region_count; i++)
		printf("  \"home/%s/\": home-%s\n", topology->regions[i].name, topology->regions[i].name);
}

int bench_floors(int argc, char **argv)
{
	static struct geo_settings settings = { .prefix = "", .mix_text = "put=100", .workload_text = "mix" };
	static struct floors floors;
	bool policies = false;
	const struct flag flags[] = {
		FLAG_ON("policies", &policies, "the policies with which geo measures, as a policy file"),
	};
	int left = flags_parse(argc, argv, "dombench floors MAP: what physics allows on a map, before anything runs",
		flags, sizeof(flags) / sizeof(flags[0]));

	if (left < 0)
		return left == -1 ? 0 : 2;
	if (left != 1) {
		fputs("dombench: floors takes one map\n", stderr);
		return 2;
	}
	settings.map = argv[1];
	settings.load.rate = 1;
	if (!geo_settings_complete(&settings))
		return 2;
	floors_of(&settings.topology, &floors);
	if (policies)
		print_policies(&settings.topology, &floors);
	else
		print_floors(&settings.topology, &floors);
	return 0;
}
