/* tools/cmd_residency.c: domctl residency scan: canaries are written where a policy lets them be, and every node is
 * asked to look for them in all that it has. They must be found where their copies are, or the search has shown
 * nothing; and nowhere else. The question does not say what the canaries are (base/needles.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/units.h"
#include "tools/canaries.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "tools/search.h"

enum { PASSES_MAX = 3, EXIT_INTERRUPTED = 130 };

/* Of what was found in a layer. */
enum where { HELD = 0, STRAY, LEAK, WHERES };
static const char *const where_names[WHERES] = { "held", "stray", "leak" };

struct scan {
	struct session session;
	struct canaries canaries;
	struct needles needles;
	uint32_t count;
	struct searched nodes[MAP_NODES_MAX];
	/* A copy of this canary's shard is, or may be, on that node; by the maps of before and after. */
	bool must[CANARIES_MAX][MAP_NODES_MAX], may[CANARIES_MAX][MAP_NODES_MAX];
	json_t *items;
	uint32_t leaks, strays, missing, unasked; /* rows */
	uint32_t held;				  /* nodes with all that they must have */
};

/* --- what is looked for ----------------------------------------------------------------------------- */

static int make_needles(struct scan *scan)
{
	struct {
		uint8_t salt[NEEDLE_SALT_SIZE];
		uint64_t multiplier;
	} secret;

	if (random_bytes(&secret, sizeof(secret)) != STATUS_OK)
		return fail(scan->session.invocation, "DOM-X001", "the kernel gives no random numbers", NULL, NULL);
	needles_init(&scan->needles, secret.salt, secret.multiplier);
	for (uint32_t i = 0; i < scan->canaries.count; i++) {
		const struct canary *canary = &scan->canaries.at[i];

		needles_add(
			&scan->needles, canary_secret(i, false), canary->key + canary->key_size - NEEDLE_SECRET_SIZE);
		needles_add(&scan->needles, canary_secret(i, true), canary->value);
	}
	needles_seal(&scan->needles);
	return EXIT_OK;
}

/* --- where it may be -------------------------------------------------------------------------------- */

static const struct map_shard *shard_of(const struct scan *scan, uint32_t canary)
{
	const struct canary *at = &scan->canaries.at[canary];

	return map_shard_of(scan->session.map, at->policy, bytes_of(at->key, at->key_size));
}

static bool on_node(const struct map_replica replicas[], unsigned count, uint64_t node, bool must)
{
	const struct map_replica *replica = map_replica_on(replicas, count, node);

	return replica != NULL && (must ? replica->role == ROLE_VOTER : replica->role != ROLE_WITNESS);
}

static void look_at_map(struct scan *scan, bool first)
{
	for (uint32_t c = 0; c < scan->canaries.count; c++) {
		const struct map_shard *shard = shard_of(scan, c);

		for (uint32_t n = 0; n < scan->count; n++) {
			uint64_t node = scan->nodes[n].node;
			bool must = shard != NULL && on_node(shard->replicas, shard->replica_count, node, true);

			scan->must[c][n] = must && (first || scan->must[c][n]);
			if (shard != NULL && (on_node(shard->replicas, shard->replica_count, node, false) ||
						     on_node(shard->wanted, shard->wanted_count, node, false)))
				scan->may[c][n] = true;
		}
	}
}

static bool of_replica(unsigned layer)
{
	return layer <= SEARCH_ENGINE;
}

static enum where judge_find(const struct scan *scan, uint32_t n, const struct search_find *find, bool may_store)
{
	if (!may_store || !of_replica(find->layer))
		return LEAK;
	return scan->may[find->of / 2][n] ? HELD : STRAY;
}

/* Secrets of the policy that must be on the node; *held: those that are, in a replica. */
static uint32_t control(const struct scan *scan, uint64_t policy, uint32_t n, uint32_t *held)
{
	const struct searched *node = &scan->nodes[n];
	uint32_t must = 0;

	*held = 0;
	for (uint32_t c = 0; c < scan->canaries.count; c++) {
		bool found[2] = { false, false };

		if (scan->canaries.at[c].policy != policy || !scan->must[c][n])
			continue;
		must += 2;
		for (uint32_t i = 0; i < node->count; i++) {
			if (node->finds[i].of / 2 == c && of_replica(node->finds[i].layer))
				found[node->finds[i].of % 2] = true;
		}
		*held += (uint32_t)found[0] + found[1];
	}
	return must;
}

/* --- searching -------------------------------------------------------------------------------------- */

/* A copy that has not caught up yet, or has its newest entries in memory, is looked at again. */
static bool want_again(struct scan *scan)
{
	bool any = false;

	for (uint32_t n = 0; n < scan->count; n++) {
		for (uint32_t p = 0; p < scan->canaries.policy_count && scan->nodes[n].whole; p++) {
			uint32_t held, must = control(scan, scan->canaries.policies[p], n, &held);

			if (held < must)
				any = scan->nodes[n].wanted = true;
		}
	}
	return any;
}

static int search(struct scan *scan)
{
	int code;

	look_at_map(scan, true);
	for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
		search_nodes(&scan->session, &scan->needles, scan->nodes, scan->count, canaries_interrupted);
		code = session_refresh(&scan->session);
		if (code != EXIT_OK)
			return code;
		look_at_map(scan, false);
		if (canaries_interrupted() || !want_again(scan))
			break;
	}
	return EXIT_OK;
}

/* --- rows ------------------------------------------------------------------------------------------- */

static json_t *layer_item(
	const struct scan *scan, uint64_t policy, uint32_t n, unsigned layer, enum where where, bool may_store)
{
	static const char *const forms[] = { "?", "raw", "hex", "hex", "base64" };
	const struct searched *node = &scan->nodes[n];
	const struct search_find *first = NULL;
	uint32_t secrets = 0;
	json_t *item;

	for (uint32_t i = 0; i < node->count; i++) {
		const struct search_find *find = &node->finds[i];

		if (find->layer != layer || scan->canaries.at[find->of / 2].policy != policy ||
			judge_find(scan, n, find, may_store) != where)
			continue;
		first = first == NULL ? find : first;
		secrets++;
	}
	if (first == NULL)
		return NULL;
	item = json_object();
	set(item, "layer", json_string(search_layer_name(layer)));
	set(item, "verdict", json_string(where_names[where]));
	set(item, "secrets", json_integer(secrets));
	set(item, "form", json_string(forms[first->form]));
	set(item, "file", json_string(first->path));
	set(item, "offset", json_integer((json_int_t)first->offset));
	return item;
}

/* "journal 16, tables 4"; what is wrong first. */
static json_t *layer_items(const struct scan *scan, uint64_t policy, uint32_t n, bool may_store, char *text,
	size_t capacity, unsigned counts[WHERES], char *file, size_t file_capacity)
{
	json_t *items = json_array();
	size_t at = 0;

	text[0] = file[0] = '\0';
	for (unsigned where = WHERES; where-- > 0;) {
		for (unsigned layer = 0; layer < SEARCH_LAYERS; layer++) {
			json_t *item = layer_item(scan, policy, n, layer, (enum where)where, may_store);

			if (item == NULL)
				continue;
			counts[where]++;
			if (at < capacity)
				at += (size_t)snprintf(text + at, capacity - at, "%s%s %llu", at == 0 ? "" : ", ",
					search_layer_name(layer), (unsigned long long)field_u64(item, "secrets"));
			if (file[0] == '\0')
				snprintf(file, file_capacity, "%s @%llu", field_text(item, "file"),
					(unsigned long long)field_u64(item, "offset"));
			json_array_append_new(items, item);
		}
	}
	return items;
}

static const char *verdict_of(
	struct scan *scan, const struct searched *node, const unsigned counts[WHERES], uint32_t must, uint32_t held)
{
	if (counts[LEAK] > 0) {
		scan->leaks++;
		return "leak";
	}
	if (counts[STRAY] > 0) {
		scan->strays++;
		return "stray";
	}
	if (!node->whole || node->unread > 0) {
		scan->unasked++;
		return node->whole || node->size > 0 ? "partly" : "not-asked";
	}
	if (held < must) {
		scan->missing++;
		return "missing";
	}
	scan->held += must > 0;
	return must > 0 ? "held" : "clean";
}

static json_t *text_or_null(const char *text)
{
	return text[0] == '\0' ? json_null() : json_string(text);
}

static void add_row(struct scan *scan, uint64_t policy_id, uint32_t n)
{
	const struct cluster_map *map = scan->session.map;
	const struct searched *node = &scan->nodes[n];
	const struct map_node *at = map_node_find(map, node->node);
	const struct policy *policy = map_policy_find(map, policy_id);
	unsigned counts[WHERES] = { 0 };
	char label[PLACE_TEXT_MAX], text[256], file[SEARCH_PATH_MAX + 32];
	uint32_t held, must = control(scan, policy_id, n, &held);
	json_t *item = json_object(), *layers;
	struct site site;
	bool may_store =
		at != NULL && policy != NULL && map_site(map, &at->place, &site) && policy_may_store(policy, &site);

	layers = layer_items(scan, policy_id, n, may_store, text, sizeof(text), counts, file, sizeof(file));
	node_label(map, node->node, label);
	set(item, "policy", json_string(policy_name_of(map, policy_id)));
	set(item, "node", json_id(node->node));
	set(item, "label", json_string(label));
	set(item, "place", json_string(at == NULL ? "" : at->place.text));
	set(item, "may_store", json_boolean(may_store));
	set(item, "must", json_integer(must));
	set(item, "held", json_integer(held));
	set(item, "verdict", json_string(verdict_of(scan, node, counts, must, held)));
	set(item, "where", text_or_null(text));
	set(item, "first", text_or_null(file));
	set(item, "layers", layers);
	set(item, "files", json_integer(node->files));
	set(item, "size_bytes", json_integer((json_int_t)node->size));
	set(item, "log_searched", json_boolean(node->own_log));
	set(item, "unread", json_integer(node->unread));
	set(item, "why", text_or_null(!node->whole ? node->why : node->unread > 0 ? node->unread_path : ""));
	json_array_append_new(scan->items, item);
}

static int report(struct scan *scan)
{
	static const struct column columns[] = { { .title = "POLICY", .field = "policy" },
		{ .title = "NODE", .field = "label" }, { .title = "MAY STORE", .field = "may_store" },
		{ .title = "MUST HAVE", .field = "must", .right = true },
		{ .title = "HAS", .field = "held", .right = true }, { .title = "VERDICT", .field = "verdict" },
		{ .title = "FOUND IN", .field = "where" }, { .title = "FIRST", .field = "first", .wide = true },
		{ .title = "FILES", .field = "files", .right = true, .wide = true },
		{ .title = "BYTES", .field = "size_bytes", .right = true, .wide = true },
		{ .title = "WHY", .field = "why", .wide = true }, { 0 } };
	const struct invocation *invocation = scan->session.invocation;
	uint64_t size = 0;
	char text[UNITS_TEXT_MAX];

	scan->items = json_array();
	for (uint32_t p = 0; p < scan->canaries.policy_count; p++) {
		for (uint32_t n = 0; n < scan->count; n++)
			add_row(scan, scan->canaries.policies[p], n);
	}
	for (uint32_t n = 0; n < scan->count; n++)
		size += scan->nodes[n].size;
	output_items(invocation, "ResidencyScan", session_cluster(&scan->session), scan->items, columns, "label");
	fflush(stdout);
	if (scan->leaks > 0)
		return fail(invocation, "DOM-S005", "canaries are where they may not be",
			"keep that node's directory as it is; -o wide names the first file and the offset",
			"%u times a node has some where its policy, or any, forbids it", scan->leaks);
	if (scan->strays > 0)
		return fail(invocation, "DOM-S005", "canaries are on nodes without a copy",
			"is a shard on its way (`domctl operation list`)? Then scan again", "%u times", scan->strays);
	if (scan->missing > 0)
		return fail(invocation, "DOM-S005", "the scan has proved nothing",
			"a copy that lags is no cause for alarm: scan again",
			"%u times a node was searched in vain for what it must have", scan->missing);
	if (scan->unasked > 0)
		return fail(invocation, "DOM-S006", "not all of every node was searched",
			"-o wide says why; what was searched is in order", "%u of %u rows", scan->unasked,
			scan->count * scan->canaries.policy_count);
	if (!invocation->quiet)
		fprintf(stderr, "%u canaries found where they must be, and nowhere else: %u nodes, %s searched\n",
			scan->canaries.count, scan->count, format_size(text, sizeof(text), size >> 20 << 20));
	return EXIT_OK;
}

/* --- the verb ---------------------------------------------------------------------------------------- */

static int prepare(struct scan *scan)
{
	const struct invocation *invocation = scan->session.invocation;
	const char *from = flag_text(invocation, "canaries"), *to = flag_text(invocation, "keep");
	int code = from != NULL ? canaries_load(&scan->canaries, from) : canaries_choose(&scan->canaries);

	if (code == EXIT_OK)
		code = canaries_describe(&scan->canaries, from != NULL		? "looking for"
							  : invocation->dry_run ? "would plant"
										: "planting");
	if (code == EXIT_OK)
		code = make_needles(scan);
	/* Before they are planted: whatever comes then, it is known what they are. */
	if (code == EXIT_OK && to != NULL && !invocation->dry_run && (from == NULL || strcmp(from, to) != 0))
		code = canaries_store(&scan->canaries, to);
	return code;
}

int run_residency_scan(const struct invocation *invocation)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	bool keep = flag_text(invocation, "keep") != NULL, planted = flag_text(invocation, "canaries") == NULL;
	bool ended = false;
	int code, deleted = EXIT_OK;

	if (scan == NULL)
		abort();
	code = session_open_with_map(&scan->session, invocation, AS_ADMIN);
	if (code != EXIT_OK) {
		free(scan);
		return code;
	}
	canaries_init(&scan->canaries, &scan->session);
	scan->count = search_begin(&scan->session, scan->nodes);
	code = prepare(scan);
	if (code == EXIT_OK && !invocation->dry_run) {
		if (planted)
			code = canaries_write(&scan->canaries);
		if (code == EXIT_OK)
			code = search(scan);
		ended = code == EXIT_OK && !canaries_interrupted();
		if (ended)
			code = report(scan);
		else if (code == EXIT_OK)
			code = EXIT_INTERRUPTED;
		if (!keep && (planted || ended)) /* else a file says what they are */
			deleted = canaries_delete(&scan->canaries);
		code = code == EXIT_OK ? deleted : code;
	} else if (code == EXIT_OK) {
		printf("%u nodes would be searched; nothing was written\n", scan->count);
	}
	search_end(scan->nodes, scan->count);
	canaries_free(&scan->canaries);
	session_close(&scan->session);
	free(scan);
	return code;
}
