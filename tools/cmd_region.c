/* tools/cmd_region.c: domctl region and domctl node. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "policy/latency.h"
#include "tools/change_region.h"
#include "tools/errors.h"
#include "tools/form.h"
#include "tools/health.h"
#include "tools/output.h"
#include "wire/certificate.h"

enum { STATUS_TIMEOUT_MS = 3000, PEM_SIZE_MAX = 16384 };

/* --- adding ------------------------------------------------------------------------------------------ */

int change_region_make(const struct invocation *invocation, const struct site *site, const char *ca_file,
	double latitude, double longitude, struct map_region *region)
{
	char pem[PEM_SIZE_MAX];
	FILE *file = fopen(ca_file, "rb");
	size_t size = file == NULL ? 0 : fread(pem, 1, sizeof(pem), file), der_size = 0;

	if (file != NULL)
		fclose(file);
	if (size == 0 || size == sizeof(pem) ||
		certificate_pem_to_der(bytes_of(pem, size), region->ca_der, sizeof(region->ca_der), &der_size) !=
			STATUS_OK)
		return fail(invocation, "DOM-D003", "the region's CA cannot be read",
			"give --ca FILE, a PEM certificate made by `domctl cert create-ca`", "%s", ca_file);
	region->ca_size = (uint32_t)der_size;
	region->site = *site;
	region->latitude = latitude;
	region->longitude = longitude;
	snprintf(region->name, sizeof(region->name), "%s", place_last(&site->place));
	return EXIT_OK;
}

static bool parse_coordinates(const char *text, double *latitude, double *longitude)
{
	char *end;

	*latitude = strtod(text, &end);
	if (end == text || *end != ',')
		return false;
	text = end + 1;
	*longitude = strtod(text, &end);
	return end != text && *end == '\0' && fabs(*latitude) <= 90 && fabs(*longitude) <= 180;
}

int change_region_fill(const struct invocation *invocation, const char *place, struct map_region *region)
{
	const char *ca = flag_text(invocation, "ca"), *at = flag_text(invocation, "at"), *why = "";
	double latitude = NAN, longitude = NAN;
	struct site site = { 0 };

	if (ca == NULL)
		return fail(
			invocation, "DOM-U003", "which CA signs the region's certificates?", "give --ca FILE", NULL);
	if (!place_parse(place, &site.place, &why))
		return fail(invocation, "DOM-U003", "the region's place is not one",
			"write it wide to narrow: eu/ie/eu-west-1", "%s", why);
	if (at != NULL && !parse_coordinates(at, &latitude, &longitude))
		return fail(invocation, "DOM-U003", "the coordinates are not ones", "write --at 53.35,-6.26", "%s", at);
	for (int i = flag_next(invocation, "tag", -1); i >= 0; i = flag_next(invocation, "tag", i)) {
		if (site.tag_count == TAGS_MAX ||
			!tag_parse(invocation->given[i].value, site.tags[site.tag_count], &why))
			return fail(invocation, "DOM-U003", "a tag is not one", "write --tag cloud=aws, at most 8",
				"%s", why);
		site.tag_count++;
	}
	return change_region_make(invocation, &site, ca, latitude, longitude, region);
}

int run_region_add(const struct invocation *invocation)
{
	static struct change change;
	struct change_answer answer;
	struct session session;
	int code;

	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_REGION_ADD;
	code = change_region_fill(invocation, invocation->arguments[0], &change.region);
	if (code != EXIT_OK)
		return code;
	code = session_open_with_map(&session, invocation, AS_ADMIN);
	if (code == EXIT_OK)
		code = session_change(&session, &change, "the region is not added", &answer);
	if (code == EXIT_OK)
		code = session_report_change(&session, "region add", &answer);
	session_close(&session);
	return code;
}

/* --- regions ----------------------------------------------------------------------------------------- */

/* What the node is there for, as the map has it; whether it answers is another question. */
static const char *node_service(const struct cluster_map *map, const struct map_node *node)
{
	if (node->state == NODE_GONE)
		return "gone";
	if (map_node_fenced(map, node->id))
		return "fenced";
	if (!map_node_takes_replicas(map, node))
		return map_shard_on(map, node->id) != NULL || node->meta_voting ? "draining" : "drained";
	return map_node_takes_leads(map, node) ? "full" : "no leads";
}

static const char *region_service(const struct cluster_map *map, uint32_t index)
{
	if (map->regions[index].state == REGION_ACTIVE)
		return "full";
	if (map->regions[index].state == REGION_FENCED)
		return "fenced";
	for (uint32_t i = 0; i < map->node_count; i++) {
		if (map->nodes[i].region == index && strcmp(node_service(map, &map->nodes[i]), "draining") == 0)
			return "draining";
	}
	return "drained";
}

static json_t *region_item(const struct cluster_map *map, uint32_t index)
{
	const struct map_region *region = &map->regions[index];
	json_t *item = json_object(), *tags = json_array();
	unsigned nodes = 0;
	char key[72];

	for (uint32_t i = 0; i < map->node_count; i++)
		nodes += map->nodes[i].region == index;
	for (unsigned i = 0; i < region->site.tag_count; i++)
		json_array_append_new(tags, json_string(region->site.tags[i]));
	for (unsigned i = 0; i < 32; i++)
		snprintf(key + 2 * i, 3, "%02x", region->spki_sha256[i]);
	set(item, "name", json_string(region->name));
	set(item, "place", json_string(region->site.place.text));
	set(item, "nodes", json_integer(nodes));
	set(item, "service", json_string(region_service(map, index)));
	set(item, "latitude", isnan(region->latitude) ? json_null() : json_real(region->latitude));
	set(item, "longitude", isnan(region->longitude) ? json_null() : json_real(region->longitude));
	set(item, "tags", tags);
	set(item, "ca_spki_sha256", json_string(key));
	return item;
}

int run_region_list(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "REGION", .field = "name" },
		{ .title = "PLACE", .field = "place" }, { .title = "NODES", .field = "nodes", .right = true },
		{ .title = "SERVICE", .field = "service" }, { .title = "TAGS", .field = "tags" },
		{ .title = "LAT", .field = "latitude", .right = true, .wide = true },
		{ .title = "LON", .field = "longitude", .right = true, .wide = true },
		{ .title = "CA KEY", .field = "ca_spki_sha256", .wide = true }, { 0 } };
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK) {
		items = json_array();
		for (uint32_t i = 0; i < session.map->region_count; i++)
			json_array_append_new(items, region_item(session.map, i));
		code = output_items(invocation, "RegionList", session_cluster(&session), items, columns, "name");
	}
	session_close(&session);
	return code;
}

static json_t *pair_item(const struct cluster_map *map, const struct rtt_matrix *matrix, uint32_t a, uint32_t b)
{
	uint32_t floor_us = a == b ? LATENCY_UNKNOWN
				   : latency_fibre(map->regions[a].latitude, map->regions[a].longitude,
					     map->regions[b].latitude, map->regions[b].longitude);
	json_t *item = json_object();
	bool known = matrix->us[a][b] != LATENCY_UNKNOWN, floored = floor_us != LATENCY_UNKNOWN && floor_us > 0;

	set(item, "from", json_string(map->regions[a].name));
	set(item, "to", json_string(map->regions[b].name));
	set(item, "rtt_ms", known ? json_real(matrix->us[a][b] / 1000.0) : json_null());
	set(item, "floor_ms", floored ? json_real(floor_us / 1000.0) : json_null());
	set(item, "ratio", known && floored ? json_real((double)matrix->us[a][b] / floor_us) : json_null());
	return item;
}

static void print_matrix(const struct cluster_map *map, const struct rtt_matrix *matrix)
{
	printf("%s%-18s", paint(stdout, PAINT_HEAD), "RTT ms");
	for (uint32_t j = 0; j < matrix->count; j++)
		printf("  %14.14s", map->regions[j].name);
	printf("%s\n", paint(stdout, PAINT_OFF));
	for (uint32_t i = 0; i < matrix->count; i++) {
		printf("%-18.18s", map->regions[i].name);
		for (uint32_t j = 0; j < matrix->count; j++) {
			if (matrix->us[i][j] == LATENCY_UNKNOWN)
				printf("  %14s", "-");
			else
				printf("  %14.1f", matrix->us[i][j] / 1000.0);
		}
		printf("\n");
	}
}

int run_region_rtt(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "FROM", .field = "from" }, { .title = "TO", .field = "to" },
		{ .title = "RTT MS", .field = "rtt_ms", .right = true },
		{ .title = "FIBRE MS", .field = "floor_ms", .right = true },
		{ .title = "RATIO", .field = "ratio", .right = true }, { 0 } };
	static struct statuses statuses;
	static struct rtt_matrix matrix;
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK) {
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
		statuses_rtt(&statuses, session.map, &matrix);
		items = json_array();
		for (uint32_t i = 0; i < matrix.count; i++) {
			for (uint32_t j = i; j < matrix.count; j++) {
				if (i != j || matrix.us[i][j] != LATENCY_UNKNOWN)
					json_array_append_new(items, pair_item(session.map, &matrix, i, j));
			}
		}
		if (!output_machine(invocation, "RttMatrix", session_cluster(&session), items, "rtt_ms")) {
			if (flag_given(invocation, "floor") || invocation->output == OUTPUT_WIDE)
				output_table(stdout, items, columns, true);
			else
				print_matrix(session.map, &matrix);
		}
		json_decref(items);
		statuses_free(&statuses);
	}
	session_close(&session);
	return code;
}

/* --- nodes ------------------------------------------------------------------------------------------- */

static json_t *node_item(const struct session *session, const struct statuses *statuses, const struct map_node *node)
{
	json_t *item = json_object(), *addresses = json_array(), *json = NULL;
	const char *why = "", *address;
	size_t led = 0, at;
	json_t *replica;

	for (uint32_t i = 0; i < statuses->count; i++) {
		if (statuses->at[i].node == node->id) {
			json = statuses->at[i].json;
			why = statuses->at[i].why;
		}
	}
	json_array_foreach(json_object_get(json, "replicas"), at, replica)
	{
		led += strcmp(field_text(replica, "role"), "leader") == 0;
	}
	for (unsigned i = 0; i < node->addresses.count; i++) {
		json_t *one = json_object();

		set(one, "from", json_string(node->addresses.at[i].from));
		set(one, "address", json_string(node->addresses.at[i].address));
		json_array_append_new(addresses, one);
	}
	address = node->addresses.count == 0 ? "" : node->addresses.at[0].address;
	set(item, "id", json_id(node->id));
	set(item, "place", json_string(node->place.text));
	set(item, "region", json_string(region_of_node(session->map, node->id)));
	set(item, "alive", json_boolean(json != NULL));
	set(item, "state", json_string(json != NULL ? "alive" : "DOWN"));
	set(item, "service", json_string(node_service(session->map, node)));
	set(item, "why", json != NULL ? json_null() : json_string(why));
	set(item, "meta", json_string(node->meta_voting ? "voter" : node->meta_voter ? "voter to be" : "learner"));
	set(item, "replicas", json_integer((json_int_t)json_array_size(json_object_get(json, "replicas"))));
	set(item, "leads", json_integer((json_int_t)led));
	set(item, "map_epoch", json_integer((json_int_t)field_u64(json, "map_epoch")));
	set(item, "requests", json_integer((json_int_t)field_u64(json, "requests")));
	set(item, "address", json_string(address));
	set(item, "addresses", addresses);
	return item;
}

int run_node_list(const struct invocation *invocation)
{
	static const struct column columns[] = { { .title = "ID", .field = "id", .right = true },
		{ .title = "PLACE", .field = "place" }, { .title = "STATE", .field = "state" },
		{ .title = "SERVICE", .field = "service" }, { .title = "META", .field = "meta" },
		{ .title = "REPLICAS", .field = "replicas", .right = true },
		{ .title = "LEADS", .field = "leads", .right = true },
		{ .title = "EPOCH", .field = "map_epoch", .right = true }, { .title = "ADDRESS", .field = "address" },
		{ .title = "WHY", .field = "why", .wide = true }, { 0 } };
	static struct statuses statuses;
	struct session session;
	json_t *items;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK) {
		items = json_array();
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
		for (uint32_t i = 0; i < session.map->node_count; i++)
			json_array_append_new(items, node_item(&session, &statuses, &session.map->nodes[i]));
		code = output_items(invocation, "NodeList", session_cluster(&session), items, columns, "id");
		statuses_free(&statuses);
	}
	session_close(&session);
	return code;
}

static void print_node(const json_t *item)
{
	static const struct column replicas[] = { { .title = "SHARD", .field = "shard", .right = true },
		{ .title = "MEMBER", .field = "member" }, { .title = "ROLE", .field = "role" },
		{ .title = "TERM", .field = "term", .right = true },
		{ .title = "LAST", .field = "last", .right = true },
		{ .title = "COMMIT", .field = "commit", .right = true },
		{ .title = "APPLIED", .field = "applied", .right = true }, { 0 } };
	const json_t *addresses = json_object_get(item, "addresses"), *address,
		     *status = json_object_get(item, "status");
	size_t at;

	printf("node %s   %s   %s   service %s   meta %s\n", field_text(item, "id"), field_text(item, "place"),
		field_text(item, "state"), field_text(item, "service"), field_text(item, "meta"));
	json_array_foreach(addresses, at, address)
	{
		printf("dial      %s%s%s\n", field_text(address, "address"),
			field_text(address, "from")[0] == '\0' ? "" : "   from ", field_text(address, "from"));
	}
	if (json_is_object(status)) {
		printf("residency %llu violations, %llu refused\n\n",
			(unsigned long long)field_u64(status, "residency.violation_total"),
			(unsigned long long)field_u64(status, "residency.refused_total"));
		output_table(stdout, json_object_get(status, "replicas"), replicas, false);
	} else {
		printf("why       %s\n", field_text(item, "why"));
	}
}

int run_node_show(const struct invocation *invocation)
{
	static struct statuses statuses;
	const struct map_node *node = NULL;
	struct session session;
	json_t *items = json_array(), *item;
	int code = session_open_with_map(&session, invocation, AS_READER);

	if (code == EXIT_OK && (node = session_node(&session, invocation->arguments[0])) == NULL)
		code = EXIT_NOT_FOUND;
	if (code == EXIT_OK) {
		session_statuses(&session, STATUS_TIMEOUT_MS, &statuses);
		item = node_item(&session, &statuses, node);
		for (uint32_t i = 0; i < statuses.count; i++) {
			if (statuses.at[i].node == node->id)
				set(item, "status",
					statuses.at[i].json == NULL ? json_null() : json_incref(statuses.at[i].json));
		}
		json_array_append_new(items, item);
		if (!output_machine(invocation, "Node", session_cluster(&session), items, "id"))
			print_node(item);
		statuses_free(&statuses);
	}
	json_decref(items);
	session_close(&session);
	return code;
}
