/* tools/explain.c: domctl key explain: what would happen to an operation, from the map and what nodes measured. Nothing
 * about the key is sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/errors.h"
#include "tools/form.h"
#include "tools/judge.h"
#include "tools/output.h"
#include "tools/session.h"

enum { STATUS_TIMEOUT_MS = 3000, RULES_WIDTH = 88 };

struct explanation {
	struct session session;
	struct owned_bytes key;
	struct judgement judgement;
	struct place from;
	int region; /* of the map; -1: the place is in none */
	bool write;
	uint64_t leader;
	struct path path;
	struct path paths[MAP_REGIONS_MAX]; /* from each region of the map */
	unsigned matching;		    /* prefix bindings that cover the key, and the exact one */
};

static int resolve_from(struct explanation *explanation)
{
	const struct invocation *invocation = explanation->session.invocation;
	const char *text = flag_text(invocation, "from"), *why = "";
	const struct map_region *region;

	explanation->region = -1;
	if (text == NULL) {
		explanation->from = explanation->session.place;
	} else if ((region = map_region_find(explanation->session.map, text)) != NULL) {
		explanation->from = region->site.place;
	} else if (strchr(text, '/') == NULL || !place_parse(text, &explanation->from, &why)) {
		return fail(invocation, "DOM-M001", "no such region",
			"`domctl region list` shows them; a place has a slash", "%s", text);
	}
	region = map_region_of(explanation->session.map, &explanation->from);
	if (region != NULL)
		explanation->region = (int)(region - explanation->session.map->regions);
	return EXIT_OK;
}

static unsigned count_matching(const struct cluster_map *map, struct bytes key)
{
	struct hash128 hash = hash_keyed(key, map->hash_secret);
	unsigned count = 0;

	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i];

		count += binding->exact ? hash128_equal(binding->hash, hash)
					: bytes_starts_with(key, bytes_of(binding->prefix, binding->prefix_size));
	}
	return count;
}

static json_t *ms(uint32_t us)
{
	return us == LATENCY_UNKNOWN ? json_null() : json_real(us / 1000.0);
}

static json_t *replicas_json(const struct explanation *explanation)
{
	const struct map_shard *shard = explanation->judgement.shard;
	const struct cluster_map *map = explanation->session.map;
	json_t *list = json_array();

	for (unsigned i = 0; shard != NULL && i < shard->replica_count; i++) {
		const struct map_node *node = map_node_find(map, shard->replicas[i].node);
		char label[PLACE_TEXT_MAX];
		json_t *item = json_object();

		node_label(map, shard->replicas[i].node, label);
		set(item, "node", json_id(shard->replicas[i].node));
		set(item, "label", json_string(label));
		set(item, "place", json_string(node == NULL ? "" : node->place.text));
		set(item, "role", json_string(role_name(shard->replicas[i].role)));
		set(item, "duty", json_string(duty_name(shard->replicas[i].role, false)));
		set(item, "leads", json_boolean(shard->replicas[i].node == explanation->leader));
		json_array_append_new(list, item);
	}
	return list;
}

/* What operations take from each region, beside their floors; null where the policy refuses them. */
static json_t *regions_json(const struct explanation *explanation)
{
	const struct cluster_map *map = explanation->session.map;
	const struct policy *policy = explanation->judgement.policy;
	json_t *list = json_array();

	for (uint32_t i = 0; policy != NULL && explanation->judgement.shard != NULL && i < map->region_count; i++) {
		const struct latency_estimate *estimate = &explanation->paths[i].estimate;
		bool writes = policy_may_write(policy, &map->regions[i].site);
		bool reads = policy_may_read(policy, &map->regions[i].site);
		json_t *item = json_object();

		set(item, "region", json_string(map->regions[i].name));
		set(item, "may_write", json_boolean(writes));
		set(item, "write_ms", ms(writes ? estimate->write_us : LATENCY_UNKNOWN));
		set(item, "write_floor_ms", ms(writes ? estimate->write_floor_us : LATENCY_UNKNOWN));
		set(item, "may_read", json_boolean(reads));
		set(item, "read_ms", ms(reads ? estimate->read_us : LATENCY_UNKNOWN));
		set(item, "read_floor_ms", ms(reads ? estimate->read_floor_us : LATENCY_UNKNOWN));
		json_array_append_new(list, item);
	}
	return list;
}

static void binding_text_of(const struct map_binding *binding, char *out, size_t capacity)
{
	char *text;

	if (binding == NULL || binding->exact) {
		snprintf(out, capacity, "%s", binding == NULL ? "none" : "exact binding of this key");
		return;
	}
	text = form_encode(FORM_ESCAPE, bytes_of(binding->prefix, binding->prefix_size));
	snprintf(out, capacity, "prefix binding \"%s\"", text);
	free(text);
}

static json_t *explanation_item(const struct explanation *explanation)
{
	const struct judgement *judgement = &explanation->judgement;
	const struct policy *policy = judgement->policy;
	const struct latency_estimate *estimate = &explanation->path.estimate;
	json_t *item = json_object();
	char hash[24], binding[1200], ack[96], lead[512] = "", description[1024] = "";
	struct text text;

	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)hash_key(owned(&explanation->key)));
	binding_text_of(judgement->binding, binding, sizeof(binding));
	set_bytes(item, "key", form_of(explanation->session.invocation, "key-format"), owned(&explanation->key));
	set(item, "op", json_string(explanation->write ? "put" : "get"));
	set(item, "from", json_string(explanation->from.text));
	set(item, "hash", json_string(hash));
	set(item, "shard", judgement->shard == NULL ? json_null() : json_id(judgement->shard->id));
	set(item, "policy", policy == NULL ? json_null() : json_string(policy->name));
	set(item, "policy_epoch", policy == NULL ? json_null() : json_integer((json_int_t)policy->epoch));
	set(item, "binding", json_string(binding));
	set(item, "bindings_matching", json_integer(explanation->matching));
	set(item, "replicas", replicas_json(explanation));
	if (policy != NULL) {
		text_init(&text, description, sizeof(description));
		policy_describe(policy, &text);
		selectors_text(&policy->lead_in, lead, sizeof(lead));
		snprintf(ack, sizeof(ack),
			policy->ack == ACK_MAJORITY  ? "majority"
			: policy->ack == ACK_COPIES  ? "copies %u"
			: policy->ack == ACK_REGIONS ? "regions %u"
						     : "all_of %u areas",
			policy->ack == ACK_ALL_OF ? policy->ack_areas.count : policy->ack_count);
	}
	set(item, "ack", policy == NULL ? json_null() : json_string(ack));
	set(item, "survive", policy == NULL ? json_null() : json_string(survive_name(policy->survive)));
	set(item, "lead_in", policy == NULL || policy->lead_in.count == 0 ? json_null() : json_string(lead));
	set(item, "rules", json_string(description));
	set(item, "allowed", json_boolean(judgement->code == NULL));
	set(item, "code", judgement->code == NULL ? json_null() : json_string(judgement->code));
	set(item, "rule", json_string(judgement->rule));
	set(item, "reason", json_string(judgement->reason));
	set(item, "fix", json_string(judgement->cure));
	set(item, "expected_ms", ms(explanation->write ? estimate->write_us : estimate->read_us));
	set(item, "floor_ms", ms(explanation->write ? estimate->write_floor_us : estimate->read_floor_us));
	set(item, "to_leader_ms", ms(estimate->to_leader_us));
	set(item, "commit_ms", ms(estimate->commit_us));
	set(item, "via_leader_ms", ms(explanation->write ? estimate->via_leader_us : LATENCY_UNKNOWN));
	set(item, "regions", regions_json(explanation));
	return item;
}

static void print_path(const struct explanation *explanation, const char *head)
{
	const struct cluster_map *map = explanation->session.map;
	const struct latency_estimate *estimate = &explanation->path.estimate;
	uint32_t total = explanation->write ? estimate->write_us : estimate->read_us;
	uint32_t floor = explanation->write ? estimate->write_floor_us : estimate->read_floor_us;
	char label[PLACE_TEXT_MAX], leader[PLACE_TEXT_MAX];

	if (total == LATENCY_UNKNOWN || explanation->region < 0)
		return;
	node_label(map, explanation->path.nearest, label);
	node_label(map, explanation->leader, leader);
	if (explanation->write)
		printf("%-10s replica %s, leader %s\n%-10s %.1f ms expected, floor %.1f ms; through the leader %.1f + "
		       "%.1f ms\n",
			head, label, leader, "", total / 1000.0, floor / 1000.0, estimate->to_leader_us / 1000.0,
			estimate->commit_us / 1000.0);
	else
		printf("%-10s replica %s, which %s: %.1f ms expected, floor %.1f ms\n", head, label,
			total == floor ? "answers alone" : "asks the leader", total / 1000.0, floor / 1000.0);
}

static void print_ms(const json_t *item, const char *field, const char *allowed)
{
	const json_t *value = json_object_get(item, field);

	if (json_is_real(value))
		printf("%9.1f", json_real_value(value));
	else
		printf("%9s", json_is_true(json_object_get(item, allowed)) ? "-" : "refused");
}

static void print_regions(const json_t *item)
{
	const json_t *regions = json_object_get(item, "regions"), *region;
	size_t at;

	json_array_foreach(regions, at, region)
	{
		if (at == 0)
			printf("%-10s %-20s %9s%9s%9s%9s\n", "ms from", "", "write", "floor", "read", "floor");
		printf("%-10s %-20s ", "", field_text(region, "region"));
		print_ms(region, "write_ms", "may_write");
		print_ms(region, "write_floor_ms", "may_write");
		print_ms(region, "read_ms", "may_read");
		print_ms(region, "read_floor_ms", "may_read");
		printf("\n");
	}
}

static void print_replicas(const json_t *item)
{
	const json_t *replicas = json_object_get(item, "replicas"), *replica;
	size_t at;

	json_array_foreach(replicas, at, replica)
	{
		printf("%-10s %-28s %s%s   (%s)\n", at == 0 ? "replicas" : "", field_text(replica, "label"),
			json_is_true(json_object_get(replica, "leads")) ? "leader, " : "", field_text(replica, "duty"),
			field_text(replica, "place"));
	}
}

/* Broken at its semicolons, so that it stands in 90 columns. */
static void print_rules(const char *rules)
{
	size_t column = 0;

	for (const char *at = rules; *at != '\0';) {
		size_t size = strcspn(at, ";");

		size += at[size] == ';' ? 1 : 0;
		if (column == 0 || column + size > RULES_WIDTH) {
			printf("%s%-10s ", column == 0 ? "" : "\n", column == 0 ? "rules" : "");
			at += *at == ' ' ? 1 : 0;
			size = strcspn(at, ";") + (at[strcspn(at, ";")] == ';' ? 1 : 0);
			column = 11;
		}
		printf("%.*s", (int)size, at);
		column += size;
		at += size;
	}
	printf("\n");
}

static void print_explanation(const struct explanation *explanation, const json_t *item)
{
	const struct judgement *judgement = &explanation->judgement;
	const char *op = explanation->write ? "write" : "read";
	const char *from = explanation->from.text[0] == '\0' ? "an administrator" : explanation->from.text;

	printf("key        %s   hash %s%s%s\n", field_text(item, "key"), field_text(item, "hash"),
		judgement->shard == NULL ? "" : "   shard ", field_text(item, "shard"));
	if (judgement->policy != NULL) {
		printf("policy     %s epoch %llu   by %s", judgement->policy->name,
			(unsigned long long)judgement->policy->epoch, field_text(item, "binding"));
		if (explanation->matching > 1)
			printf(" (longest of %u)", explanation->matching);
		printf("\n");
		print_rules(field_text(item, "rules"));
	}
	print_replicas(item);
	if (judgement->policy != NULL)
		printf("ack        %s   survive: %s%s%s\n", field_text(item, "ack"), field_text(item, "survive"),
			judgement->policy->lead_in.count == 0 ? "" : "   lead_in: ", field_text(item, "lead_in"));
	if (judgement->code == NULL) {
		printf("%-10s from %s: %sallowed%s by %s\n", op, from, paint(stdout, PAINT_GOOD),
			paint(stdout, PAINT_OFF), judgement->rule);
		print_path(explanation, "path");
		print_regions(item);
		return;
	}
	printf("%-10s from %s: %sREFUSED%s before any byte leaves the client\n", op, from, paint(stdout, PAINT_BAD),
		paint(stdout, PAINT_OFF));
	printf("%-10s %s\n", "rule", judgement->rule);
	printf("%-10s %s\n", "fix", judgement->cure);
	print_path(explanation, "if allowed");
	print_regions(item);
}

static int explain(struct explanation *explanation)
{
	static struct statuses statuses;
	static struct rtt_matrix matrix;
	const struct invocation *invocation = explanation->session.invocation;
	json_t *items = json_array(), *item;

	judge(explanation->session.map, owned(&explanation->key), &explanation->from, explanation->write,
		&explanation->judgement);
	explanation->matching = count_matching(explanation->session.map, owned(&explanation->key));
	memset(&explanation->path, 0xff, sizeof(explanation->path));
	session_statuses(&explanation->session, STATUS_TIMEOUT_MS, &statuses);
	statuses_rtt(&statuses, explanation->session.map, &matrix);
	if (explanation->judgement.shard != NULL) {
		explanation->leader = statuses_leader(&statuses, explanation->judgement.shard->id);
		for (uint32_t i = 0; i < explanation->session.map->region_count; i++)
			path_of(explanation->session.map, &matrix, explanation->judgement.shard, i, explanation->leader,
				&explanation->paths[i]);
		if (explanation->region >= 0)
			explanation->path = explanation->paths[explanation->region];
	}
	statuses_free(&statuses);
	item = explanation_item(explanation);
	json_array_append_new(items, item);
	if (!output_machine(invocation, "Explanation", session_cluster(&explanation->session), items, "allowed"))
		print_explanation(explanation, item);
	json_decref(items);
	return explanation->judgement.code == NULL ? EXIT_OK : EXIT_RESIDENCY;
}

int run_key_explain(const struct invocation *invocation)
{
	static struct explanation explanation;
	const char *op = flag_text(invocation, "op");
	int code;

	memset(&explanation, 0, sizeof(explanation));
	explanation.write = op != NULL && strcmp(op, "put") == 0;
	code = argument_key(invocation, invocation->arguments[0], &explanation.key);
	if (code != EXIT_OK)
		return code;
	code = session_open_with_map(
		&explanation.session, invocation, flag_given(invocation, "from") ? AS_READER : AS_CLIENT);
	if (code == EXIT_OK)
		code = resolve_from(&explanation);
	if (code == EXIT_OK)
		code = explain(&explanation);
	free(explanation.key.data);
	session_close(&explanation.session);
	return code;
}
