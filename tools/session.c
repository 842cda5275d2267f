/* tools/session.c: see tools/session.h. */
#include "tools/session.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"
#include "tools/errors.h"
#include "tools/output.h"
#include "tools/pki.h"

enum { BAR_WIDTH = 24, REFRESHES_MAX = 50, WAIT_STEP_MS = 100, CHANGE_BYTES_MAX = 4 << 20 };

/* --- certificates ----------------------------------------------------------------------------------- */

static bool client_file(const char *name)
{
	size_t size = strlen(name);

	return size > 11 && strncmp(name, "client-", 7) == 0 && strcmp(name + size - 4, ".crt") == 0;
}

/* The clients' certificates of the directory: the first by name into `first`, all of them into `all`, for errors. */
static void find_clients(const char *dir, char first[NAME_MAX + 1], char *all, size_t all_size)
{
	struct dirent **entries = NULL;
	int count = scandir(dir, &entries, NULL, alphasort);
	size_t at = 0;

	first[0] = all[0] = '\0';
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;

		if (client_file(name)) {
			int size = (int)strlen(name) - 11;

			if (first[0] == '\0')
				snprintf(first, NAME_MAX + 1, "%.*s", size, name + 7);
			if (at + (size_t)size + 3 < all_size)
				at += (size_t)snprintf(
					all + at, all_size - at, "%s%.*s", at == 0 ? "" : ", ", size, name + 7);
		}
		free(entries[i]);
	}
	free(entries);
}

static bool have_file(const char *dir, const char *name)
{
	char path[PKI_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, R_OK) == 0;
}

/* A region is asked for by name or by place; files are named after its last component. */
static const char *last_component(const char *region)
{
	const char *slash = strrchr(region, '/');

	return slash == NULL ? region : slash + 1;
}

static int choose_certificate(const struct invocation *invocation, enum session_as as, char stem[NAME_MAX + 1])
{
	char first[NAME_MAX + 1], all[512], name[NAME_MAX + 16];

	if (as == AS_ADMIN || (as == AS_READER && have_file(invocation->certs, "admin.crt"))) {
		snprintf(stem, NAME_MAX + 1, "admin");
		if (have_file(invocation->certs, "admin.crt"))
			return EXIT_OK;
		return fail(invocation, "DOM-U007", "this needs an administrator's certificate",
			"`domctl cert create-admin` makes one", "%s/admin.crt cannot be read", invocation->certs);
	}
	find_clients(invocation->certs, first, all, sizeof(all));
	if (invocation->as_region != NULL)
		snprintf(first, sizeof(first), "%s", last_component(invocation->as_region));
	if (first[0] == '\0')
		return fail(invocation, "DOM-U007", "this needs a client's certificate",
			"`domctl cert create-client` makes one", "there is no client-REGION.crt in %s",
			invocation->certs);
	snprintf(stem, NAME_MAX + 1, "client-%.*s", NAME_MAX - 8, first);
	snprintf(name, sizeof(name), "%s.crt", stem);
	if (have_file(invocation->certs, name))
		return EXIT_OK;
	return fail(invocation, "DOM-U007", "there is no certificate of a client in that region",
		"choose one that is there with --as-region, or make one: `domctl cert create-client`",
		"%s/%s is missing; there are: %s", invocation->certs, name, all[0] == '\0' ? "none" : all);
}

/* --- the connection --------------------------------------------------------------------------------- */

/* HOST:PORT[,HOST:PORT...]; whether there is such a host is for later. */
static bool endpoints_valid(const char *text)
{
	for (;;) {
		size_t size = strcspn(text, ","), digits = 0;
		unsigned long port;

		while (digits < size && text[size - digits - 1] >= '0' && text[size - digits - 1] <= '9')
			digits++;
		if (digits == 0 || digits + 2 > size || text[size - digits - 1] != ':')
			return false;
		port = strtoul(text + size - digits, NULL, 10);
		if (port == 0 || port > UINT16_MAX)
			return false;
		if (text[size] == '\0')
			return true;
		text += size + 1;
	}
}

int session_open(struct session *session, const struct invocation *invocation, enum session_as as)
{
	dom_connect_options options = DOM_CONNECT_OPTIONS;
	char stem[NAME_MAX + 1], ca[PKI_PATH_MAX], cert[PKI_PATH_MAX], key[PKI_PATH_MAX], what[160], reason[128];
	struct text why;
	struct pki_info info;
	enum dom_status status;
	int code;

	memset(session, 0, sizeof(*session));
	session->invocation = invocation;
	if (invocation->endpoint == NULL)
		return fail(invocation, "DOM-U006", "which cluster?",
			"give --endpoint HOST:PORT, or set DOMCTL_ENDPOINT", NULL);
	if (!endpoints_valid(invocation->endpoint))
		return fail(invocation, "DOM-U003", "--endpoint is not HOST:PORT",
			"give HOST:PORT, several with commas: n1.example.net:7470,[2001:db8::1]:7470", "it is '%s'",
			invocation->endpoint);
	if (invocation->certs == NULL)
		return fail(
			invocation, "DOM-U006", "which certificates?", "give --certs DIR, or set DOMCTL_CERTS", NULL);
	code = choose_certificate(invocation, as, stem);
	if (code != EXIT_OK)
		return code;
	snprintf(ca, sizeof(ca), "%s/cas.pem", invocation->certs);
	snprintf(cert, sizeof(cert), "%s/%s.crt", invocation->certs, stem);
	snprintf(key, sizeof(key), "%s/%s.key", invocation->certs, stem);
	text_init(&why, reason, sizeof(reason));
	if (pki_read(cert, &info, &why) == STATUS_OK && info.kind == PKI_LEAF)
		snprintf(session->place.text, sizeof(session->place.text), "%s", info.name.place);
	options.endpoints = invocation->endpoint;
	options.ca_file = ca;
	options.cert_file = cert;
	options.key_file = key;
	options.timeout_ms = invocation->timeout_ms;
	if (invocation->timeout_ms < 3000)
		options.connect_timeout_ms = invocation->timeout_ms;
	status = dom_connect(&options, &session->client);
	if (status == DOM_OK)
		return EXIT_OK;
	snprintf(what, sizeof(what), "cannot reach the cluster at %.100s", invocation->endpoint);
	return fail(invocation, error_code_of(status, false), what,
		"is the node up, the address a node's, its region's authority in cas.pem?", "%s",
		dom_connect_message());
}

int session_refresh(struct session *session)
{
	dom_call *call = client_map(session->client, session->invocation->timeout_ms);
	dom_bytes bytes;
	int code;

	if (call == NULL)
		return fail(session->invocation, "DOM-X001", "out of memory", NULL, NULL);
	if (dom_call_wait(call) != DOM_OK) {
		code = fail_call(
			session->invocation, dom_call_status(call), dom_call_message(call), "the map cannot be read");
		dom_call_free(call);
		return code;
	}
	if (session->map == NULL) {
		session->map_memory = calloc(1, cluster_map_size(&map_limits_default));
		if (session->map_memory == NULL)
			abort();
		session->map = cluster_map_init(session->map_memory, &map_limits_default);
	}
	bytes = dom_call_value(call, 0);
	if (bytes.size > 0 && cluster_map_decode(bytes_of(bytes.data, bytes.size), session->map) != STATUS_OK) {
		dom_call_free(call);
		return fail(session->invocation, "DOM-X001", "the map does not decode",
			"is the cluster newer than this tool?", NULL);
	}
	dom_call_free(call);
	if (session->map->epoch == 0)
		return fail(session->invocation, "DOM-M001", "the node belongs to no cluster yet",
			"begin one: `domctl cluster init`", NULL);
	return EXIT_OK;
}

int session_open_with_map(struct session *session, const struct invocation *invocation, enum session_as as)
{
	int code = session_open(session, invocation, as);

	if (code == EXIT_OK && (code = session_refresh(session)) != EXIT_OK)
		session_close(session);
	return code;
}

void session_close(struct session *session)
{
	if (session->client != NULL)
		dom_close(session->client);
	free(session->map_memory);
	session->client = NULL;
	session->map_memory = NULL;
	session->map = NULL;
}

const char *session_cluster(const struct session *session)
{
	return session->map == NULL ? "" : session->map->name;
}

/* --- changes ---------------------------------------------------------------------------------------- */

int session_change(struct session *session, struct change *change, const char *what, struct change_answer *answer)
{
	dom_call *call;
	dom_bytes bytes;
	struct unpacker unpacker;
	int code = EXIT_OK;

	change->dry_run = session->invocation->dry_run;
	call = client_change(session->client, change, session->invocation->timeout_ms);
	if (call == NULL)
		return fail(session->invocation, "DOM-X001", "out of memory", NULL, NULL);
	*answer = (struct change_answer){ 0 };
	if (dom_call_wait(call) != DOM_OK) {
		enum dom_status status = dom_call_status(call);

		code = fail(session->invocation, error_code_of(status, true), what, NULL, "%s", dom_call_message(call));
	} else {
		answer->id = dom_call_rows(call) > 0 ? dom_call_version(call, 0) : 0;
		bytes = dom_call_rows(call) > 0 ? dom_call_value(call, 0) : (dom_bytes){ 0 };
		unpack_init(&unpacker, bytes_of(bytes.data, bytes.size));
		answer->epoch = bytes.size >= 8 ? unpack_u64(&unpacker) : 0;
	}
	dom_call_free(call);
	return code;
}

static bool wants_wait(const struct invocation *invocation)
{
	if (flag_given(invocation, "detach"))
		return false;
	return flag_given(invocation, "wait") || on_terminal(stdout);
}

/* The node that is asked may hear of a change later than the one that made it. */
static int refresh_upto(struct session *session, uint64_t epoch)
{
	int code = session_refresh(session);

	for (unsigned i = 0; i < REFRESHES_MAX && code == EXIT_OK && session->map->epoch < epoch; i++) {
		usleep(WAIT_STEP_MS * 1000);
		code = session_refresh(session);
	}
	return code;
}

int session_report_change(struct session *session, const char *what, const struct change_answer *answer)
{
	const struct invocation *invocation = session->invocation;
	const struct map_operation *operation;
	json_t *items = json_array(), *item = json_object();
	int code;

	/* The id made may be a node's or a policy's too: only the map knows whether it is an operation. */
	code = refresh_upto(session, answer->epoch);
	operation = code == EXIT_OK && answer->id != 0 ? map_operation_find(session->map, answer->id) : NULL;
	set(item, "what", json_string(what));
	set(item, "dry_run", json_boolean(invocation->dry_run));
	set(item, "epoch", json_integer((json_int_t)answer->epoch));
	set(item, "operation", operation == NULL ? json_null() : json_id(answer->id));
	json_array_append_new(items, item);
	if (!output_machine(invocation, "ChangeResult", session_cluster(session), items, "operation")) {
		printf("%s%s", what, invocation->dry_run ? ": would be accepted; nothing was changed" : "");
		if (!invocation->dry_run)
			printf("   epoch %llu", (unsigned long long)answer->epoch);
		if (operation != NULL)
			printf("   operation %llu: %s", (unsigned long long)answer->id, operation->text);
		printf("\n");
	}
	json_decref(items);
	if (code != EXIT_OK || operation == NULL || !wants_wait(invocation))
		return code;
	return session_wait_operations(
		session, &answer->id, 1, flag_given(invocation, "timeout") ? invocation->timeout_ms : 60000);
}

static void progress(const struct session *session, const struct map_operation *operation, uint64_t *said_ns)
{
	uint64_t now_ns = clock_boot_ns();
	bool redraw = on_terminal(stderr);

	if (session->invocation->quiet || (!redraw && now_ns - *said_ns < 5000000000u))
		return;
	*said_ns = now_ns;
	if (redraw) {
		uint32_t done = operation->steps == 0 ? 0 : BAR_WIDTH * operation->steps_done / operation->steps;

		fprintf(stderr, "\r\033[K[%.*s%.*s] ", (int)done, "########################", (int)(BAR_WIDTH - done),
			"........................");
	}
	fprintf(stderr, "operation %llu: %u of %u shards done%s", (unsigned long long)operation->id,
		operation->steps_done, operation->steps, redraw ? "" : "\n");
	fflush(stderr);
}

int session_wait_operations(struct session *session, const uint64_t ids[], size_t count, uint32_t timeout_ms)
{
	uint64_t end_ns = clock_boot_ns() + (uint64_t)timeout_ms * 1000000, said_ns = clock_boot_ns();
	bool drawn = false;

	for (;;) {
		const struct map_operation *running = NULL, *failed = NULL;
		int code;

		for (size_t i = 0; i < count; i++) {
			const struct map_operation *operation = map_operation_find(session->map, ids[i]);

			/* One that the map has forgotten ended long ago. */
			if (operation != NULL && operation->state == OPERATION_RUNNING)
				running = operation;
			if (operation != NULL && operation->state == OPERATION_FAILED &&
				!(operation->cancelled && session->invocation->command->run == run_operation_cancel))
				failed = operation;
		}
		if (running == NULL || failed != NULL) {
			if (drawn && on_terminal(stderr))
				fputs("\r\033[K", stderr);
			if (failed != NULL)
				return fail(session->invocation, "DOM-P004", "the operation failed", NULL, "%s",
					failed->text);
			return EXIT_OK;
		}
		if (clock_boot_ns() >= end_ns)
			return fail(session->invocation, "DOM-Q003", "the operation is still running",
				"it goes on by itself: `domctl operation wait ID`", "operation %llu: %s",
				(unsigned long long)running->id, running->text);
		progress(session, running, &said_ns);
		drawn = true;
		usleep(WAIT_STEP_MS * 1000);
		code = refresh_upto(session, session->map->epoch);
		if (code != EXIT_OK)
			return code;
	}
}

/* --- what the nodes say ------------------------------------------------------------------------------ */

void session_statuses(struct session *session, uint32_t timeout_ms, struct statuses *statuses)
{
	const struct cluster_map *map = session->map;
	dom_call *calls[MAP_NODES_MAX];

	statuses->count = map->node_count;
	for (uint32_t i = 0; i < map->node_count; i++)
		calls[i] =
			client_admin(session->client, map->nodes[i].id, "node.status", bytes_of(NULL, 0), timeout_ms);
	for (uint32_t i = 0; i < map->node_count; i++) {
		struct node_status *status = &statuses->at[i];
		json_error_t error;
		dom_bytes bytes;

		*status = (struct node_status){ .node = map->nodes[i].id };
		if (calls[i] == NULL)
			abort();
		if (dom_call_wait(calls[i]) == DOM_OK) {
			bytes = dom_call_value(calls[i], 0);
			status->json = json_loadb(bytes.data, bytes.size, JSON_REJECT_DUPLICATES, &error);
			if (status->json == NULL)
				snprintf(status->why, sizeof(status->why), "its answer is not JSON: %s", error.text);
		} else {
			snprintf(status->why, sizeof(status->why), "%s", dom_call_message(calls[i]));
		}
		dom_call_free(calls[i]);
	}
}

void statuses_free(struct statuses *statuses)
{
	for (uint32_t i = 0; i < statuses->count; i++)
		json_decref(statuses->at[i].json);
	statuses->count = 0;
}

const json_t *statuses_replica(const struct statuses *statuses, uint64_t node, uint64_t shard)
{
	for (uint32_t i = 0; i < statuses->count; i++) {
		const json_t *replicas, *replica;
		size_t at;

		if (statuses->at[i].node != node)
			continue;
		replicas = json_object_get(statuses->at[i].json, "replicas");
		json_array_foreach(replicas, at, replica)
		{
			if (field_u64(replica, "shard") == shard)
				return replica;
		}
	}
	return NULL;
}

uint64_t statuses_leader(const struct statuses *statuses, uint64_t shard)
{
	uint64_t leader = 0, term = 0;

	for (uint32_t i = 0; i < statuses->count; i++) {
		const json_t *replica = statuses_replica(statuses, statuses->at[i].node, shard);

		if (replica == NULL || strcmp(field_text(replica, "role"), "leader") != 0 ||
			field_u64(replica, "term") < term)
			continue;
		term = field_u64(replica, "term");
		leader = statuses->at[i].node;
	}
	return leader;
}

void statuses_rtt(const struct statuses *statuses, const struct cluster_map *map, struct rtt_matrix *matrix)
{
	rtt_matrix_init(matrix, map->region_count);
	for (uint32_t i = 0; i < statuses->count; i++) {
		const json_t *row = json_object_get(statuses->at[i].json, "rtt_us"), *value;
		const struct map_node *from = map_node_find(map, statuses->at[i].node), *to;
		const char *name;
		uint64_t id;

		json_object_foreach((json_t *)(uintptr_t)row, name, value)
		{
			uint32_t rtt = (uint32_t)json_integer_value(value);

			if (from == NULL || !parse_u64(name, &id) || (to = map_node_find(map, id)) == NULL || rtt == 0)
				continue;
			rtt_matrix_add(matrix, from->region, to->region, rtt);
		}
	}
}

/* --- names ------------------------------------------------------------------------------------------ */

static const void *unknown(const struct session *session, const char *kind, const char *text, const char *cure)
{
	char what[160];

	snprintf(what, sizeof(what), "no %s '%.80s'", kind, text);
	fail(session->invocation, "DOM-M001", what, cure, NULL);
	return NULL;
}

const struct map_node *session_node(const struct session *session, const char *text)
{
	const struct map_node *node;
	uint64_t id;

	node = parse_u64(text, &id) ? map_node_find(session->map, id) : map_node_by_place(session->map, text);
	return node != NULL ? node : unknown(session, "node", text, "`domctl node list` shows them");
}

const struct map_region *session_region(const struct session *session, const char *text)
{
	const struct map_region *region = map_region_find(session->map, text);

	return region != NULL ? region : unknown(session, "region", text, "`domctl region list` shows them");
}

const struct map_shard *session_shard(const struct session *session, const char *text)
{
	const struct map_shard *shard = NULL;
	uint64_t id;

	if (parse_u64(text, &id))
		shard = map_shard_find(session->map, id);
	return shard != NULL ? shard : unknown(session, "shard", text, "`domctl shard list` shows them");
}

const struct policy *session_policy(const struct session *session, const char *name)
{
	const struct policy *policy = map_policy_by_name(session->map, name);
	const char *candidates[MAP_POLICIES_MAX], *nearest;
	char cure[160];

	if (policy != NULL)
		return policy;
	for (uint32_t i = 0; i < session->map->policy_count; i++)
		candidates[i] = session->map->policies[i].name;
	nearest = strlen(name) > TEXT_WORD_MAX ? NULL : text_nearest(name, candidates, session->map->policy_count);
	if (nearest == NULL)
		return unknown(session, "policy", name, "`domctl policy list` shows them");
	snprintf(cure, sizeof(cure), "did you mean %s?", nearest);
	return unknown(session, "policy", name, cure);
}

const char *policy_name_of(const struct cluster_map *map, uint64_t policy)
{
	const struct policy *found = map_policy_find(map, policy);

	return found == NULL ? "?" : found->name;
}

void node_label(const struct cluster_map *map, uint64_t id, char out[PLACE_TEXT_MAX])
{
	const struct map_node *node = map_node_find(map, id);
	const char *place = node == NULL ? "" : node->place.text, *at = place + strlen(place);

	/* The last three components: region, zone, node. */
	for (unsigned slashes = 0; at > place; at--) {
		if (at[-1] == '/' && ++slashes == 3)
			break;
	}
	if (node == NULL)
		snprintf(out, PLACE_TEXT_MAX, "node %llu", (unsigned long long)id);
	else
		snprintf(out, PLACE_TEXT_MAX, "%s", at);
}

const char *region_of_node(const struct cluster_map *map, uint64_t id)
{
	const struct map_node *node = map_node_find(map, id);

	return node == NULL || node->region >= map->region_count ? "?" : map->regions[node->region].name;
}

const char *role_name(uint8_t role)
{
	static const char *const names[] = { "none", "voter", "learner", "witness" };

	return role < 4 ? names[role] : "?";
}

const char *duty_name(uint8_t role, bool leads)
{
	return leads ? "leader" : role == ROLE_WITNESS ? "witness (no data)" : role_name(role);
}
