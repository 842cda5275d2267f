/* Maps: the figures of the built-in ones, a file's, and mistakes in files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "config/map_file.h"

static struct topology topology;
static struct config_errors errors;

static uint32_t rtt(const char *a, const char *b)
{
	uint32_t from = topology.region_count, to = topology.region_count;
	for (uint32_t i = 0; i < topology.region_count; i++) {
		from = strcmp(topology.regions[i].name, a) == 0 ? i : from;
		to = strcmp(topology.regions[i].name, b) == 0 ? i : to;
	}
	assert_true(from < topology.region_count);
	assert_true(to < topology.region_count);
	assert_int_equal(topology.rtt_us[from][to], topology.rtt_us[to][from]);
	return topology.rtt_us[from][to];
}

static void test_builtin(void **state)
{
	(void)state;
	assert_false(topology_builtin("wan4", &topology));
	assert_true(topology_builtin("wan3", &topology));
	assert_int_equal(topology.region_count, 3);
	assert_int_equal(topology.nodes_per_region, 3);
	assert_string_equal(topology.regions[0].name, "us-east-1");
	assert_string_equal(topology.regions[1].site.place.text, "eu/ie/eu-west-1");
	assert_int_equal(rtt("us-east-1", "eu-west-1"), 68000);
	assert_int_equal(rtt("us-east-1", "ap-southeast-1"), 215000);
	assert_int_equal(rtt("eu-west-1", "ap-southeast-1"), 175000);
	assert_int_equal(rtt("eu-west-1", "eu-west-1"), 500);

	assert_true(topology_builtin("eu3", &topology));
	assert_int_equal(topology.nodes_per_region, 1);
	assert_int_equal(rtt("eu-west-1", "eu-central-1"), 25000);
	assert_int_equal(rtt("eu-west-1", "eu-north-1"), 39000);
	assert_int_equal(rtt("eu-central-1", "eu-north-1"), 22000);

	assert_true(topology_builtin("lan3", &topology));
	assert_string_equal(topology.regions[2].site.place.text, "lan/lan-c");
	assert_int_equal(rtt("lan-a", "lan-b"), 0);
	assert_int_equal(rtt("lan-a", "lan-a"), 0);

	assert_true(topology_builtin("wan5", &topology));
	assert_int_equal(topology.region_count, 5);
	assert_int_equal(rtt("us-east-1", "us-west-2"), 63000);
	assert_int_equal(rtt("us-east-1", "ap-northeast-1"), 148000);
	assert_int_equal(rtt("us-west-2", "eu-west-1"), 118000);
	assert_int_equal(rtt("us-west-2", "ap-southeast-1"), 162000);
	assert_int_equal(rtt("us-west-2", "ap-northeast-1"), 97000);
	assert_int_equal(rtt("eu-west-1", "ap-northeast-1"), 203000);
	assert_int_equal(rtt("ap-southeast-1", "ap-northeast-1"), 70000);
}

static void test_names(void **state)
{
	(void)state;
	uint32_t count;
	const char *const *names = topology_builtin_names(&count);
	assert_int_equal(count, 4);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(topology_builtin(names[i], &topology));
		assert_string_equal(topology.name, names[i]);
	}
}

static bool parse(const char *text)
{
	config_errors_init(&errors);
	return topology_parse("maps/m.yaml", bytes_text(text), &topology, &errors);
}

static void test_file(void **state)
{
	(void)state;
	assert_true(parse("regions:\n  b: { place: x/b, at: [53.35, -6.260001], tags: [cloud=aws, tier=edge] }\n"
			  "  a: { place: y/a }\n  c: { place: c }\n"
			  "rtt_ms:\n  - [a, b, 68]\n  - [c, a, 0.25]\n  - [b, c, 10000]\ninside_ms: 1.5\n"));
	assert_string_equal(topology.name, "m.yaml");
	assert_int_equal(topology.region_count, 3);
	assert_string_equal(topology.regions[0].site.place.text, "x/b");
	assert_true(fabs(topology.regions[0].latitude - 53.35) < 1e-9);
	assert_true(fabs(topology.regions[0].longitude + 6.260001) < 1e-9);
	assert_true(isnan(topology.regions[1].latitude));
	assert_int_equal(topology.regions[0].site.tag_count, 2);
	assert_string_equal(topology.regions[0].site.tags[1], "tier=edge");
	assert_int_equal(rtt("a", "b"), 68000);
	assert_int_equal(rtt("a", "c"), 250);
	assert_int_equal(rtt("b", "c"), 10000000);
	assert_int_equal(rtt("b", "b"), 1500);
}

#define TWO "regions: { a: { place: x/a }, b: { place: x/b } }\n"

static void test_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} table[] = {
		{ "rtt_ms: []\n", "maps/m.yaml:1:1: the map names no region; write regions:" },
		{ "regions: {}\n", "maps/m.yaml:1:10: no region, or more than 16; name 1 to 16" },
		{ "regions: { a: { at: [0, 0] } }\n",
			"maps/m.yaml:1:12: the region has no place; write place: eu/ie/eu-west-1" },
		{ "regions: { a: { place: x/b } }\n", "maps/m.yaml:1:24: the place does not end in the region's name; "
						      "name the region as its place ends" },
		{ "regions: { a: { place: x/a, lat: 1 } }\n",
			"maps/m.yaml:1:29: unknown key 'lat' in a region; did you mean at?" },
		{ "regions: { a: { place: x/a, at: [91, 0] } }\n",
			"maps/m.yaml:1:34: '91' is not a latitude from -90 to 90" },
		{ "regions: { a: { place: x/a, at: [1, 2, 3] } }\n",
			"maps/m.yaml:1:33: a list is not a latitude and a longitude; write [53.35, -6.26]" },
		{ "regions: { a: { place: x/a, tags: [aws] } }\n",
			"maps/m.yaml:1:36: 'aws' is not a tag; write key=value, like cloud=aws" },
		{ TWO, "maps/m.yaml:1:1: no round trip between a and b; write a line for every pair of regions" },
		{ TWO "rtt_ms: []\n",
			"maps/m.yaml:2:9: no round trip between a and b; write a line for every pair of regions" },
		{ TWO "rtt_ms: [[a, c, 1]]\n", "maps/m.yaml:2:14: 'c' is not a region of this map" },
		{ TWO "rtt_ms: [[a, a, 1]]\n",
			"maps/m.yaml:2:10: the pair names one region twice; inside_ms says it for all" },
		{ TWO "rtt_ms: [[a, b, 1], [b, a, 2]]\n",
			"maps/m.yaml:2:21: the pair stands here again; keep one of them" },
		{ TWO "rtt_ms: [[a, b, -1]]\n",
			"maps/m.yaml:2:17: '-1' is not a round trip in ms from 0 to 10000; write 68, or 0.5" },
		{ TWO "rtt_ms: [[a, b, 1.0000001]]\n",
			"maps/m.yaml:2:17: '1.0000001' is not a round trip in ms from 0 to 10000; write 68, or 0.5" },
		{ TWO "rtt_ms: [[a, b, 1]]\ninside_m: 1\n",
			"maps/m.yaml:3:1: unknown key 'inside_m' at the top; did you mean inside_ms?" },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char line[CONFIG_ERROR_TEXT_MAX];
		assert_false(parse(table[i].text));
		config_error_format(&errors.at[0], line, sizeof(line));
		if (strcmp(line, table[i].error) != 0)
			print_message("case %zu\n", i);
		assert_string_equal(line, table[i].error);
		assert_int_equal(errors.count, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_builtin),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_mistakes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
