/* config/map_file.c: see config/map_file.h. The built-in maps are data; figures are the usual round trips between
 * these regions of a public cloud. */
#include "config/map_file.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "config/schema.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { INSIDE_US = 500, RTT_MS_MAX = 10000 };

struct known_region {
	const char *place;
	double latitude, longitude;
};
static const struct known_region us_east_1 = { "us/us-east-1", 38.95, -77.45 };
static const struct known_region us_west_2 = { "us/us-west-2", 45.84, -119.70 };
static const struct known_region eu_west_1 = { "eu/ie/eu-west-1", 53.35, -6.26 };
static const struct known_region eu_central_1 = { "eu/de/eu-central-1", 50.11, 8.68 };
static const struct known_region eu_north_1 = { "eu/se/eu-north-1", 59.33, 18.07 };
static const struct known_region ap_southeast_1 = { "ap/sg/ap-southeast-1", 1.35, 103.82 };
static const struct known_region ap_northeast_1 = { "ap/jp/ap-northeast-1", 35.68, 139.69 };
static const struct known_region lan_a = { "lan/lan-a", NAN, NAN };
static const struct known_region lan_b = { "lan/lan-b", NAN, NAN };
static const struct known_region lan_c = { "lan/lan-c", NAN, NAN };

enum { BUILTIN_REGIONS_MAX = 5, BUILTIN_PAIRS_MAX = 10 };
static const struct builtin {
	const char *name;
	uint32_t nodes_per_region, inside_us, region_count;
	const struct known_region *regions[BUILTIN_REGIONS_MAX];
	uint32_t rtt_ms[BUILTIN_PAIRS_MAX]; /* 0-1, 0-2, ... 1-2, ... */
} builtins[] = {
	{ "lan3", 1, 0, 3, { &lan_a, &lan_b, &lan_c }, { 0, 0, 0 } },
	{ "eu3", 1, INSIDE_US, 3, { &eu_west_1, &eu_central_1, &eu_north_1 }, { 25, 39, 22 } },
	{ "wan3", 3, INSIDE_US, 3, { &us_east_1, &eu_west_1, &ap_southeast_1 }, { 68, 215, 175 } },
	{ "wan5", 1, INSIDE_US, 5, { &us_east_1, &us_west_2, &eu_west_1, &ap_southeast_1, &ap_northeast_1 },
		{ 63, 68, 215, 148, 118, 162, 97, 175, 203, 70 } },
};
static const char *const builtin_names[] = { "lan3", "eu3", "wan3", "wan5" };
static_assert(COUNT(builtins) == COUNT(builtin_names), "every map has its name listed");

const char *const *topology_builtin_names(uint32_t *count)
{
	*count = COUNT(builtin_names);
	return builtin_names;
}

static void set_rtt(struct topology *topology, uint32_t a, uint32_t b, uint32_t rtt_us)
{
	assert(a < topology->region_count);
	assert(b < topology->region_count);
	topology->rtt_us[a][b] = topology->rtt_us[b][a] = rtt_us;
}

static bool set_place(struct topology_region *region, const char *text, const char **why)
{
	if (!place_parse(text, &region->site.place, why))
		return false;
	if (place_depth(&region->site.place) + 2 > PLACE_DEPTH_MAX) {
		*why = "it leaves no room for zone and node";
		return false;
	}
	struct text name;
	text_init(&name, region->name, sizeof(region->name));
	text_add(&name, place_last(&region->site.place));
	return true;
}

bool topology_builtin(const char *name, struct topology *topology)
{
	const struct builtin *builtin = NULL;
	for (size_t i = 0; i < COUNT(builtins); i++) {
		if (strcmp(builtins[i].name, name) == 0)
			builtin = &builtins[i];
	}
	if (!builtin)
		return false;
	memset(topology, 0, sizeof(*topology));
	struct text text;
	text_init(&text, topology->name, sizeof(topology->name));
	text_add(&text, name);
	topology->nodes_per_region = builtin->nodes_per_region;
	topology->region_count = builtin->region_count;
	size_t pair = 0;
	for (uint32_t i = 0; i < builtin->region_count; i++) {
		struct topology_region *region = &topology->regions[i];
		const char *why;
		bool ok = set_place(region, builtin->regions[i]->place, &why);
		assert(ok);
		region->latitude = builtin->regions[i]->latitude;
		region->longitude = builtin->regions[i]->longitude;
		set_rtt(topology, i, i, builtin->inside_us);
		for (uint32_t j = i + 1; j < builtin->region_count; j++)
			set_rtt(topology, i, j, builtin->rtt_ms[pair++] * 1000);
	}
	return true;
}

/* A decimal number, sign and up to six digits behind the point, in millionths. */
static bool parse_millionths(const char *text, int64_t *out)
{
	char whole[12], part[7] = "000000";
	bool negative = text[0] == '-';
	text += negative ? 1 : 0;
	size_t whole_size = strcspn(text, "."), part_size = 0;
	if (whole_size == 0 || whole_size >= sizeof(whole))
		return false;
	memcpy(whole, text, whole_size);
	whole[whole_size] = 0;
	if (text[whole_size] == '.') {
		part_size = strlen(text + whole_size + 1);
		if (part_size == 0 || part_size > 6)
			return false;
		memcpy(part, text + whole_size + 1, part_size);
	}
	uint64_t integer, fraction;
	if (!parse_u64(whole, &integer) || !parse_u64(part, &fraction))
		return false;
	int64_t value = (int64_t)(integer * 1000000 + fraction);
	*out = negative ? -value : value;
	return true;
}

static bool read_degrees(
	struct schema_reader *reader, const struct yaml_node *node, int64_t max, const char *what, double *out)
{
	int64_t millionths;
	if (node->kind != YAML_SCALAR || !parse_millionths(node->text, &millionths) || millionths < -max * 1000000 ||
		millionths > max * 1000000)
		return schema_mistake(reader, node, what, NULL);
	*out = (double)millionths / 1e6;
	return true;
}

static bool read_ms(struct schema_reader *reader, const struct yaml_node *node, uint32_t *out_us)
{
	int64_t millionths;
	if (node->kind != YAML_SCALAR || !parse_millionths(node->text, &millionths) || millionths < 0 ||
		millionths > (int64_t)RTT_MS_MAX * 1000000)
		return schema_mistake(reader, node, "a round trip in ms from 0 to 10000", "write 68, or 0.5");
	*out_us = (uint32_t)(millionths / 1000);
	return true;
}

static bool read_at(struct schema_reader *reader, const struct yaml_node *node, struct topology_region *region)
{
	if (node->kind != YAML_LIST || node->count != 2)
		return schema_mistake(reader, node, "a latitude and a longitude", "write [53.35, -6.26]");
	return read_degrees(reader, node->first, 90, "a latitude from -90 to 90", &region->latitude) &&
	       read_degrees(reader, node->first->next, 180, "a longitude from -180 to 180", &region->longitude);
}

static bool read_tags(struct schema_reader *reader, const struct yaml_node *node, struct site *site)
{
	if (!schema_is_list(reader, node, "a list of tags"))
		return false;
	if (node->count > TAGS_MAX)
		return schema_fault(reader, node, "keep eight", "more than 8 tags");
	site->tag_count = 0;
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		struct selector selector;
		const char *why;
		char *out = site->tags[site->tag_count++];
		if (!schema_text(reader, item, "a tag", out, TAG_TEXT_MAX))
			return false;
		if (!selector_parse(out, &selector, &why) || selector.kind != SELECTOR_TAG)
			return schema_mistake(reader, item, "a tag", "write key=value, like cloud=aws");
	}
	return true;
}

static bool read_region(struct schema_reader *reader, const struct yaml_node *entry, struct topology_region *region)
{
	static const char *const known[] = { "place", "at", "tags" };
	const char *why = NULL;
	bool ok = true, placed = false;
	region->latitude = region->longitude = NAN;
	if (!schema_is_map(reader, entry, "a region, like { place: eu/ie/eu-west-1 }") ||
		!schema_no_duplicates(reader, entry))
		return false;
	for (const struct yaml_node *field = entry->first; field; field = field->next) {
		if (schema_is(field->key, "at")) {
			ok = read_at(reader, field, region) && ok;
		} else if (schema_is(field->key, "tags")) {
			ok = read_tags(reader, field, &region->site) && ok;
		} else if (!schema_is(field->key, "place")) {
			ok = schema_unknown(reader, field->key, "in a region", known, COUNT(known));
		} else if (!schema_is_text(reader, field, "a place")) {
			placed = true;
			ok = false;
		} else {
			placed = true;
			if (!set_place(region, field->text, &why))
				ok = schema_fault(reader, field, "write a path like eu/ie/eu-west-1", why);
			else if (!schema_is(entry->key, region->name))
				ok = schema_fault(reader, field, "name the region as its place ends",
					"the place does not end in the region's name");
		}
	}
	if (!placed)
		return schema_fault(reader, entry->key, "write place: eu/ie/eu-west-1", "the region has no place");
	return ok;
}

static bool read_regions(struct schema_reader *reader, const struct yaml_node *node, struct topology *topology)
{
	if (!schema_is_map(reader, node, "a map of regions") || !schema_no_duplicates(reader, node))
		return false;
	if (node->count == 0 || node->count > TOPOLOGY_REGIONS_MAX)
		return schema_fault(reader, node, "name 1 to 16", "no region, or more than 16");
	bool ok = true;
	for (const struct yaml_node *entry = node->first; entry; entry = entry->next)
		ok = read_region(reader, entry, &topology->regions[topology->region_count++]) && ok;
	return ok;
}

static uint32_t find_region(const struct topology *topology, const struct yaml_node *node)
{
	uint32_t at = 0;
	while (at < topology->region_count && !schema_is(node, topology->regions[at].name))
		at++;
	return at;
}

static bool read_pair(struct schema_reader *reader, const struct yaml_node *item, struct topology *topology,
	bool seen[TOPOLOGY_REGIONS_MAX][TOPOLOGY_REGIONS_MAX])
{
	if (item->kind != YAML_LIST || item->count != 3)
		return schema_mistake(reader, item, "two regions and a round trip", "write [us-east-1, eu-west-1, 68]");
	const struct yaml_node *first = item->first, *second = first->next;
	uint32_t a = find_region(topology, first), b = find_region(topology, second), rtt_us;
	if (a == topology->region_count)
		return schema_mistake(reader, first, "a region of this map", NULL);
	if (b == topology->region_count)
		return schema_mistake(reader, second, "a region of this map", NULL);
	if (a == b)
		return schema_fault(reader, item, "inside_ms says it for all", "the pair names one region twice");
	if (seen[a][b])
		return schema_fault(reader, item, "keep one of them", "the pair stands here again");
	if (!read_ms(reader, second->next, &rtt_us))
		return false;
	seen[a][b] = seen[b][a] = true;
	set_rtt(topology, a, b, rtt_us);
	return true;
}

static bool read_pairs(struct schema_reader *reader, const struct yaml_node *root, const struct yaml_node *node,
	struct topology *topology)
{
	bool seen[TOPOLOGY_REGIONS_MAX][TOPOLOGY_REGIONS_MAX] = { { false } };
	bool ok = true;
	if (node && !schema_is_list(reader, node, "a list of pairs"))
		return false;
	for (const struct yaml_node *item = node ? node->first : NULL; item; item = item->next)
		ok = read_pair(reader, item, topology, seen) && ok;
	for (uint32_t a = 0; ok && a < topology->region_count; a++) {
		for (uint32_t b = a + 1; b < topology->region_count; b++) {
			if (seen[a][b])
				continue;
			yaml_fault(reader->errors, reader->source, node ? node : root,
				"write a line for every pair of regions", "no round trip between ",
				topology->regions[a].name, " and ", topology->regions[b].name, NULL);
			ok = false;
		}
	}
	return ok;
}

static bool read_map(struct schema_reader *reader, const struct yaml_node *root, struct topology *topology)
{
	static const char *const known[] = { "regions", "rtt_ms", "inside_ms" };
	const struct yaml_node *regions = NULL, *pairs = NULL;
	uint32_t inside_us = INSIDE_US;
	bool ok = true;
	if (!schema_is_map(reader, root, "a map with regions and rtt_ms") || !schema_no_duplicates(reader, root))
		return false;
	for (const struct yaml_node *entry = root->first; entry; entry = entry->next) {
		if (schema_is(entry->key, "regions"))
			regions = entry;
		else if (schema_is(entry->key, "rtt_ms"))
			pairs = entry;
		else if (schema_is(entry->key, "inside_ms"))
			ok = read_ms(reader, entry, &inside_us) && ok;
		else
			ok = schema_unknown(reader, entry->key, "at the top", known, COUNT(known));
	}
	if (!regions)
		return schema_fault(reader, root, "write regions:", "the map names no region");
	if (!read_regions(reader, regions, topology) || !read_pairs(reader, root, pairs, topology))
		return false;
	for (uint32_t i = 0; i < topology->region_count; i++)
		set_rtt(topology, i, i, inside_us);
	return ok;
}

static bool read_tree(struct yaml *yaml, struct topology *topology, struct config_errors *errors)
{
	struct schema_reader reader = { .source = yaml->source, .errors = errors };
	memset(topology, 0, sizeof(*topology));
	const char *slash = strrchr(yaml->source, '/');
	struct text text;
	text_init(&text, topology->name, sizeof(topology->name));
	text_add(&text, slash ? slash + 1 : yaml->source);
	topology->nodes_per_region = 1;
	bool ok = read_map(&reader, yaml->root, topology);
	yaml_free(yaml);
	return ok;
}

bool topology_load(const char *path, struct topology *topology, struct config_errors *errors)
{
	struct yaml yaml;
	return yaml_load(path, &yaml, errors) && read_tree(&yaml, topology, errors);
}

bool topology_parse(const char *source, struct bytes text, struct topology *topology, struct config_errors *errors)
{
	struct yaml yaml;
	return yaml_parse(source, text, &yaml, errors) && read_tree(&yaml, topology, errors);
}
