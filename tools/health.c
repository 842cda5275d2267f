/* tools/health.c: see tools/health.h. */
#include "tools/health.h"

#include <stdio.h>
#include <string.h>

#include "policy/latency.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "wire/message.h"

const char *verdict_word(enum verdict verdict)
{
	static const char *const words[] = { "well", "degraded", "unavailable" };

	return words[verdict];
}

int verdict_exit(enum verdict verdict)
{
	return verdict == VERDICT_WELL ? EXIT_OK : verdict == VERDICT_DEGRADED ? EXIT_CHECK : EXIT_QUORUM;
}

static void worse(struct health *health, enum verdict verdict, const char *format, const char *text, uint64_t number)
{
	if (health->verdict >= verdict)
		return;
	health->verdict = verdict;
	snprintf(health->problem, sizeof(health->problem), format, text, (unsigned long long)number);
}

static void nodes_health(const struct cluster_map *map, const struct statuses *statuses, struct health *health)
{
	for (uint32_t i = 0; i < statuses->count; i++) {
		const struct map_node *node = map_node_find(map, statuses->at[i].node);
		struct region_health *region = node == NULL ? NULL : &health->regions[node->region];
		char label[PLACE_TEXT_MAX];

		if (node == NULL)
			continue;
		health->nodes++;
		region->nodes++;
		health->meta_voters_wanted += node->meta_voter;
		health->meta_voters += node->meta_voting;
		if (statuses->at[i].json != NULL) {
			health->alive++;
			region->alive++;
			health->meta_voters_alive += node->meta_voting;
			health->refused_total += field_u64(statuses->at[i].json, "residency.refused_total");
			health->violation_total += field_u64(statuses->at[i].json, "residency.violation_total");
			health->purges_pending += field_u64(statuses->at[i].json, "erasure.purges_pending");
			health->purges_total += field_u64(statuses->at[i].json, "erasure.purges_total");
			health->erasures_late += field_u64(statuses->at[i].json, "erasure.late");
			health->erasures_late_total += field_u64(statuses->at[i].json, "erasure.late_total");
			continue;
		}
		node_label(map, node->id, label);
		worse(health, VERDICT_DEGRADED, "node %s does not answer", label, 0);
	}
}

static void shard_health(const struct cluster_map *map, const struct statuses *statuses, const struct map_shard *shard,
	struct health *health)
{
	const struct policy *policy = map_policy_find(map, shard->policy);
	const struct map_node *leader = map_node_find(map, statuses_leader(statuses, shard->id));
	bool counted[MAP_REGIONS_MAX] = { false }, under;
	unsigned copies = 0;

	for (unsigned i = 0; i < shard->replica_count; i++)
		copies += shard->replicas[i].role == ROLE_VOTER &&
			  statuses_replica(statuses, shard->replicas[i].node, shard->id) != NULL;
	under = policy != NULL && copies < policy->copies;
	health->shards++;
	health->under_copied += under;
	health->led += leader != NULL;
	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_node *node = map_node_find(map, shard->replicas[i].node);

		if (node == NULL || counted[node->region])
			continue;
		counted[node->region] = true;
		health->regions[node->region].shards++;
		health->regions[node->region].under_copied += under;
	}
	if (leader != NULL)
		health->regions[leader->region].leaders++;
	else
		worse(health, VERDICT_UNAVAILABLE, "%s%llu has no leader that answers", "shard ", shard->id);
	if (under)
		worse(health, VERDICT_DEGRADED, "%s%llu has fewer live copies than its policy wants", "shard ",
			shard->id);
}

void health_of(const struct cluster_map *map, const struct statuses *statuses, struct health *health)
{
	memset(health, 0, sizeof(*health));
	nodes_health(map, statuses, health);
	health->meta_leader = statuses_leader(statuses, META_GROUP);
	if (health->meta_leader == 0)
		worse(health, VERDICT_UNAVAILABLE, "meta has no leader that answers%s", "", 0);
	for (uint32_t i = 0; i < map->shard_count; i++)
		shard_health(map, statuses, &map->shards[i], health);
	for (uint32_t i = 0; i < map->operation_count; i++)
		health->operations += map->operations[i].state == OPERATION_RUNNING;
	if (health->meta_voters < health->meta_voters_wanted)
		worse(health, VERDICT_DEGRADED, "meta has fewer voters than wanted%s", "", 0);
	if (health->violation_total > 0)
		worse(health, VERDICT_DEGRADED, "residency violated%s: %llu times; this must never happen", "",
			health->violation_total);
	if (health->erasures_late > 0)
		worse(health, VERDICT_DEGRADED,
			"erasure is late%s: %llu replicas have bytes on a disk for longer than erase_within", "",
			health->erasures_late);
}

static json_t *nodes_json(const struct session *session, const struct statuses *statuses)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < statuses->count; i++) {
		const struct node_status *status = &statuses->at[i];
		const struct map_node *node = map_node_find(session->map, status->node);
		json_t *item = json_object(), *residency = json_object_get(status->json, "residency");
		json_t *erasure = json_object_get(status->json, "erasure");
		json_t *days_left = json_object_get(status->json, "certificate_days_left");
		char label[PLACE_TEXT_MAX];

		node_label(session->map, status->node, label);
		set(item, "node", json_id(status->node));
		set(item, "label", json_string(label));
		set(item, "place", json_string(node == NULL ? "" : node->place.text));
		set(item, "region", json_string(region_of_node(session->map, status->node)));
		set(item, "answers", json_boolean(status->json != NULL));
		set(item, "why", status->json == NULL ? json_string(status->why) : json_null());
		set(item, "map_epoch", json_integer((json_int_t)field_u64(status->json, "map_epoch")));
		set(item, "replicas",
			json_integer((json_int_t)json_array_size(json_object_get(status->json, "replicas"))));
		set(item, "residency", residency == NULL ? json_null() : json_incref(residency));
		set(item, "erasure", erasure == NULL ? json_null() : json_incref(erasure));
		set(item, "certificate_days_left", json_is_integer(days_left) ? json_incref(days_left) : json_null());
		json_array_append_new(list, item);
	}
	return list;
}

static void set_worst_rtt(json_t *item, const struct session *session, const struct statuses *statuses)
{
	static struct rtt_matrix matrix;
	const struct cluster_map *map = session->map;
	uint32_t worst = 0, a = 0, b = 0, floor_us;
	json_t *rtt = json_object();

	statuses_rtt(statuses, map, &matrix);
	for (uint32_t i = 0; i < matrix.count; i++) {
		for (uint32_t j = i + 1; j < matrix.count; j++) {
			if (matrix.us[i][j] == LATENCY_UNKNOWN || matrix.us[i][j] <= worst)
				continue;
			worst = matrix.us[i][j];
			a = i;
			b = j;
		}
	}
	if (worst == 0) {
		json_decref(rtt);
		set(item, "worst_rtt", json_null());
		return;
	}
	floor_us = latency_fibre(map->regions[a].latitude, map->regions[a].longitude, map->regions[b].latitude,
		map->regions[b].longitude);
	set(rtt, "from", json_string(map->regions[a].name));
	set(rtt, "to", json_string(map->regions[b].name));
	set(rtt, "rtt_ms", json_real(worst / 1000.0));
	set(rtt, "floor_ms", floor_us == LATENCY_UNKNOWN ? json_null() : json_real(floor_us / 1000.0));
	set(item, "worst_rtt", rtt);
}

json_t *health_item(const struct session *session, const struct statuses *statuses, const struct health *health)
{
	const struct cluster_map *map = session->map;
	json_t *item = json_object(), *regions = json_array(), *residency = json_object(), *erasure = json_object();
	char label[PLACE_TEXT_MAX];

	for (uint32_t i = 0; i < map->region_count; i++) {
		const struct region_health *region = &health->regions[i];
		json_t *row = json_object();

		set(row, "region", json_string(map->regions[i].name));
		set(row, "place", json_string(map->regions[i].site.place.text));
		set(row, "nodes", json_integer(region->nodes));
		set(row, "alive", json_integer(region->alive));
		set(row, "shards", json_integer(region->shards));
		set(row, "leaders", json_integer(region->leaders));
		set(row, "under_copied", json_integer(region->under_copied));
		json_array_append_new(regions, row);
	}
	if (health->meta_leader != 0)
		node_label(map, health->meta_leader, label);
	set(residency, "refused_total", json_integer((json_int_t)health->refused_total));
	set(residency, "violation_total", json_integer((json_int_t)health->violation_total));
	set(erasure, "purges_pending", json_integer((json_int_t)health->purges_pending));
	set(erasure, "purges_total", json_integer((json_int_t)health->purges_total));
	set(erasure, "late", json_integer((json_int_t)health->erasures_late));
	set(erasure, "late_total", json_integer((json_int_t)health->erasures_late_total));
	set(item, "verdict", json_string(verdict_word(health->verdict)));
	set(item, "problem", health->problem[0] == '\0' ? json_null() : json_string(health->problem));
	set(item, "epoch", json_integer((json_int_t)map->epoch));
	set(item, "nodes_total", json_integer(health->nodes));
	set(item, "nodes_alive", json_integer(health->alive));
	set(item, "shards", json_integer(health->shards));
	set(item, "shards_led", json_integer(health->led));
	set(item, "under_copied", json_integer(health->under_copied));
	set(item, "operations_running", json_integer(health->operations));
	set(item, "meta_leader", health->meta_leader == 0 ? json_null() : json_string(label));
	set(item, "meta_voters", json_integer(health->meta_voters));
	set(item, "meta_voters_alive", json_integer(health->meta_voters_alive));
	set(item, "meta_voters_wanted", json_integer(health->meta_voters_wanted));
	set(item, "residency", residency);
	set(item, "erasure", erasure);
	set(item, "regions", regions);
	set(item, "nodes", nodes_json(session, statuses));
	set_worst_rtt(item, session, statuses);
	return item;
}
