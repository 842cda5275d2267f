/* tools/demo_tour.c: what the demo shows when nobody gives it a command: a key with a domicile, who may touch it, why,
 * what it costs, and where its bytes are. The commands shown are run as they stand, by this very program. */
#include "tools/demo.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "tools/output.h"

enum { CANARY_SIZE = 16, SEARCH_TIMEOUT_MS = 10000, WORDS_MAX = 16 };

void demo_heading(const char *text, const char *aside)
{
	printf("\n%s%s%s%s%s%s%s\n", paint(stdout, PAINT_HEAD), text, paint(stdout, PAINT_OFF),
		paint(stdout, PAINT_DIM), aside[0] == '\0' ? "" : "   ", aside, paint(stdout, PAINT_OFF));
	fflush(stdout);
}

/* Shows `domctl WORDS...` and runs it; the words are separated by single spaces. EXIT_OK when it ended as it should. */
static int show(struct demo *demo, const char *words, int wanted)
{
	char copy[512], *rest = copy, *argv[WORDS_MAX + 1] = { demo->domctl };
	size_t count = 1;
	int code;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok_r(copy, " ", &rest); word != NULL && count < WORDS_MAX;
		word = strtok_r(NULL, " ", &rest))
		argv[count++] = word;
	argv[count] = NULL;
	printf("  %s$ domctl %s%s\n", paint(stdout, PAINT_ACCENT), words, paint(stdout, PAINT_OFF));
	code = demo_run(demo, argv, "    ");
	if (wanted != EXIT_OK)
		printf("    %sexit %d%s\n", paint(stdout, PAINT_DIM), code, paint(stdout, PAINT_OFF));
	fflush(stdout);
	if (code == wanted)
		return EXIT_OK;
	return fail(demo->invocation, "DOM-D001", "a command of the tour ended otherwise than it should", NULL,
		"exit %d instead of %d", code, wanted);
}

static bool is_home(const struct demo *demo, const struct demo_node *node)
{
	return place_within(&node->place, demo->home);
}

static const char *home_region(const struct demo *demo)
{
	for (uint32_t i = 0; i < demo->topology.region_count; i++) {
		if (place_within(&demo->topology.regions[i].site.place, demo->home))
			return demo->topology.regions[i].name;
	}
	return demo->topology.regions[0].name;
}

static int show_key(struct demo *demo, const char *canary)
{
	char words[400];
	int code;

	demo_heading("A key with a domicile", "");
	printf("  policy %s-only: store_in [%s], no two copies in one zone; bound to \"pat/%s/\"\n", demo->home_label,
		demo->home, demo->home_label);
	snprintf(words, sizeof(words), "--as-region %s key put pat/%s/4711 %s", home_region(demo), demo->home_label,
		canary);
	if ((code = show(demo, words, EXIT_OK)) != EXIT_OK)
		return code;
	snprintf(words, sizeof(words), "key where pat/%s/4711", demo->home_label);
	return show(demo, words, EXIT_OK);
}

static int show_refusals(struct demo *demo)
{
	unsigned shown = 0;
	char words[400];
	int code = EXIT_OK;

	demo_heading("Who may not touch it", "refused before a byte of the key leaves the client");
	for (uint32_t i = 0; i < demo->topology.region_count && code == EXIT_OK && shown < 2; i++) {
		const struct topology_region *region = &demo->topology.regions[i];

		if (place_within(&region->site.place, demo->home))
			continue;
		/* A reader, then a writer. */
		snprintf(words, sizeof(words), "--as-region %s key %s pat/%s/4711%s", region->name,
			shown == 0 ? "get" : "put", demo->home_label, shown == 0 ? "" : " other");
		code = show(demo, words, EXIT_RESIDENCY);
		shown++;
	}
	return code;
}

static int show_explanation(struct demo *demo)
{
	char words[400];

	for (uint32_t i = 0; i < demo->topology.region_count; i++) {
		const struct topology_region *region = &demo->topology.regions[i];

		if (place_within(&region->site.place, demo->home))
			continue;
		demo_heading("Why", "");
		snprintf(words, sizeof(words), "key explain pat/%s/4711 --op put --from %s", demo->home_label,
			region->name);
		return show(demo, words, EXIT_RESIDENCY);
	}
	return EXIT_OK;
}

/* Every file of every node, log included. A copy that did not count for the write may arrive a moment later. */
static int show_bytes(struct demo *demo, const char *canary)
{
	uint64_t end_ns = clock_boot_ns() + (uint64_t)SEARCH_TIMEOUT_MS * 1000000;
	unsigned inside, outside, home_nodes, counts[DEMO_NODES_MAX];

	demo_heading("Where its bytes are", "the value, searched in every file of every node");
	do {
		inside = outside = home_nodes = 0;
		for (uint32_t i = 0; i < demo->node_count; i++) {
			counts[i] = demo_search(&demo->nodes[i], bytes_text(canary));
			home_nodes += is_home(demo, &demo->nodes[i]);
			if (is_home(demo, &demo->nodes[i]))
				inside += counts[i] > 0;
			else
				outside += counts[i] > 0;
		}
		if (inside < (home_nodes < 3 ? home_nodes : 3) && outside == 0)
			usleep(100000);
	} while (inside < (home_nodes < 3 ? home_nodes : 3) && outside == 0 && clock_boot_ns() < end_ns);
	for (uint32_t r = 0; r < demo->topology.region_count; r++) {
		printf("  %-20s", demo->topology.regions[r].name);
		for (uint32_t i = 0; i < demo->node_count; i++) {
			if (demo->nodes[i].region != r)
				continue;
			printf("%s%s: %-9s%s", paint(stdout, counts[i] > 0 ? PAINT_GOOD : PAINT_DIM),
				place_last(&demo->nodes[i].place), counts[i] > 0 ? "found" : "nothing",
				paint(stdout, PAINT_OFF));
		}
		printf("\n");
	}
	fflush(stdout);
	if (inside == 0 || outside > 0)
		return fail(demo->invocation, "DOM-S004",
			outside > 0 ? "bytes were found where they may not be" : "the bytes were not found", NULL,
			"%u nodes inside, %u outside hold them", inside, outside);
	printf("  found on %u nodes in %s, on none elsewhere\n", inside, demo->home);
	return EXIT_OK;
}

int demo_tour(struct demo *demo)
{
	char raw[CANARY_SIZE], canary[2 * CANARY_SIZE + 1];
	int code;

	if (flag_text(demo->invocation, "policies") != NULL) {
		/* Other people's policies: what they bind is theirs to show. */
		demo_heading("The cluster", "");
		code = show(demo, "status", EXIT_OK);
		return code != EXIT_OK ? code : show(demo, "policy list", EXIT_OK);
	}
	if (random_bytes(raw, sizeof(raw)) != STATUS_OK)
		return fail(demo->invocation, "DOM-X001", "no random bytes", NULL, NULL);
	hex_encode(canary, sizeof(canary), bytes_of(raw, sizeof(raw)));
	if ((code = show_key(demo, canary)) != EXIT_OK || (code = show_refusals(demo)) != EXIT_OK ||
		(code = show_explanation(demo)) != EXIT_OK)
		return code;
	demo_heading("What it costs", "an open key, copies in three regions; median of 9, in ms");
	if ((code = demo_measure_latencies(demo, "tour/{x}")) != EXIT_OK)
		return code;
	demo_heading("The same, reads: local", "strong reads at every copy");
	if ((code = demo_measure_latencies(demo, "local/{x}")) != EXIT_OK)
		return code;
	if ((code = show_bytes(demo, canary)) != EXIT_OK)
		return code;
	demo_heading("How it is", "");
	return show(demo, "status", EXIT_OK);
}
