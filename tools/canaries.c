/* tools/canaries.c: see tools/canaries.h. */
#include "tools/canaries.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "tools/errors.h"
#include "tools/form.h"
#include "tools/judge.h"
#include "tools/output.h"

enum { KEYS_DEFAULT = 8, KEYS_MAX = 64, TRIES_MAX = 4096, STATUS_TIMEOUT_MS = 3000, STEP_MS = 50, READS_MAX = 100 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

bool canaries_interrupted(void)
{
	return interrupted != 0;
}

void canaries_init(struct canaries *canaries, struct session *session)
{
	/* The first one ends the scan in order, another one the process. */
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };

	memset(canaries, 0, sizeof(*canaries));
	canaries->session = session;
	canaries->writers = calloc(MAP_REGIONS_MAX, sizeof(canaries->writers[0]));
	if (canaries->writers == NULL)
		abort();
	interrupted = 0;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void canaries_free(struct canaries *canaries)
{
	for (unsigned i = 0; i < MAP_REGIONS_MAX; i++) {
		if (canaries->writers[i].region[0] != '\0')
			session_close(&canaries->writers[i].session);
	}
	free(canaries->writers);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

static struct bytes key_of(const struct canary *canary)
{
	return bytes_of(canary->key, canary->key_size);
}

static dom_bytes view(const void *data, size_t size)
{
	return (dom_bytes){ data, size };
}

/* --- which ------------------------------------------------------------------------------------------ */

static int random_failed(const struct canaries *canaries)
{
	return fail(canaries->session->invocation, "DOM-X001", "the kernel gives no random numbers", NULL, NULL);
}

static const struct map_shard *nth_shard(const struct cluster_map *map, uint64_t policy, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < map->shard_count; i++)
		count += map->shards[i].policy == policy;
	for (uint32_t i = 0, seen = 0; i < map->shard_count; i++) {
		if (map->shards[i].policy == policy && seen++ == n % count)
			return &map->shards[i];
	}
	return NULL;
}

/* A key of the policy, in its n-th shard if the prefix lets it: each shard is to have some. */
static bool make(struct canaries *canaries, const struct map_binding *binding, uint32_t n, struct canary *canary)
{
	const struct cluster_map *map = canaries->session->map;
	const struct map_shard *wanted = nth_shard(map, binding->policy, n);
	const struct map_binding *found;
	size_t at = binding->prefix_size;

	canary->policy = binding->policy;
	memcpy(canary->key, binding->prefix, at);
	memcpy(canary->key + at, CANARY_WORD, sizeof(CANARY_WORD) - 1);
	at += sizeof(CANARY_WORD) - 1;
	canary->key_size = at + NEEDLE_SECRET_SIZE;
	if (random_bytes(canary->value, sizeof(canary->value)) != STATUS_OK)
		return false;
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		if (random_bytes(canary->key + at, NEEDLE_SECRET_SIZE) != STATUS_OK)
			return false;
		found = map_binding_of(map, key_of(canary));
		if (found != NULL && found->policy == binding->policy &&
			map_shard_of(map, binding->policy, key_of(canary)) == wanted)
			break;
	}
	return true;
}

/* The shortest prefix whose keys go to the policy and to no closer binding, and that nobody changes just now. */
static const struct map_binding *prefix_of(const struct cluster_map *map, uint64_t policy)
{
	const struct map_binding *best = NULL;

	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *binding = &map->bindings[i], *found;
		uint8_t key[CANARY_KEY_MAX];

		if (binding->exact || binding->policy != policy || binding->pending_operation != 0)
			continue;
		memcpy(key, binding->prefix, binding->prefix_size);
		memcpy(key + binding->prefix_size, CANARY_WORD, sizeof(CANARY_WORD) - 1);
		found = map_binding_of(map, bytes_of(key, binding->prefix_size + sizeof(CANARY_WORD) - 1));
		if (found == binding && (best == NULL || binding->prefix_size < best->prefix_size))
			best = binding;
	}
	return best;
}

static int choose_of(struct canaries *canaries, const struct policy *policy, uint32_t keys)
{
	const struct invocation *invocation = canaries->session->invocation;
	const struct map_binding *binding = prefix_of(canaries->session->map, policy->id);

	if (binding == NULL)
		return fail(invocation, "DOM-M001", "no canary can be planted",
			"bind a prefix to it (`domctl binding set`), or wait for the operation that does",
			"policy %s has no prefix whose keys are its own", policy->name);
	for (uint32_t i = 0; i < canaries->policy_count; i++) {
		if (canaries->policies[i] == policy->id)
			return EXIT_OK; /* named twice */
	}
	if (canaries->count + keys > CANARIES_MAX)
		return fail(invocation, "DOM-U003", "too many canaries for one scan",
			"give fewer --keys, or name some of the policies with --policy", "at most %u together",
			(unsigned)CANARIES_MAX);
	canaries->policies[canaries->policy_count++] = policy->id;
	for (uint32_t i = 0; i < keys; i++) {
		if (!make(canaries, binding, i, &canaries->at[canaries->count]))
			return random_failed(canaries);
		canaries->count++;
	}
	return EXIT_OK;
}

int canaries_choose(struct canaries *canaries)
{
	const struct invocation *invocation = canaries->session->invocation;
	const struct cluster_map *map = canaries->session->map;
	uint64_t keys = flag_number(invocation, "keys", KEYS_DEFAULT);
	int code = EXIT_OK;

	if (keys == 0 || keys > KEYS_MAX)
		return fail(invocation, "DOM-U003", "--keys is out of range", "give 1 to 64", NULL);
	for (int i = flag_next(invocation, "policy", -1); i >= 0 && code == EXIT_OK;
		i = flag_next(invocation, "policy", i)) {
		const struct policy *policy = session_policy(canaries->session, invocation->given[i].value);

		code = policy == NULL ? EXIT_NOT_FOUND : choose_of(canaries, policy, (uint32_t)keys);
	}
	for (uint32_t i = 0; i < map->policy_count && code == EXIT_OK && !flag_given(invocation, "policy"); i++) {
		if (prefix_of(map, map->policies[i].id) != NULL)
			code = choose_of(canaries, &map->policies[i], (uint32_t)keys);
	}
	if (code == EXIT_OK && canaries->count == 0)
		return fail(invocation, "DOM-M001", "no canary can be planted",
			"bind a prefix: `domctl binding set PREFIX POLICY`", "no prefix is bound to any policy");
	return code;
}

/* --- who writes ------------------------------------------------------------------------------------- */

static bool have_certificate(const struct invocation *invocation, const char *region)
{
	char path[1024];

	return snprintf(path, sizeof(path), "%s/client-%s.crt", invocation->certs, region) < (int)sizeof(path) &&
	       access(path, R_OK) == 0;
}

static int open_writer(struct canaries *canaries, const char *region, struct canary_writer **out)
{
	struct canary_writer *writer = canaries->writers;
	int code;

	while (writer->region[0] != '\0' && strcmp(writer->region, region) != 0)
		writer++; /* there is one for each region that a map can have */
	*out = writer;
	if (writer->region[0] != '\0')
		return EXIT_OK;
	snprintf(writer->region, sizeof(writer->region), "%s", region);
	writer->invocation = *canaries->session->invocation;
	writer->invocation.as_region = writer->region;
	code = session_open(&writer->session, &writer->invocation, AS_CLIENT);
	if (code != EXIT_OK)
		writer->region[0] = '\0';
	return code;
}

/* A client of --as-region where that may write, else of the first region that may and of which there is a certificate.
 */
static int writer_of(struct canaries *canaries, uint64_t policy_id, struct canary_writer **out)
{
	const struct invocation *invocation = canaries->session->invocation;
	const struct cluster_map *map = canaries->session->map;
	const struct policy *policy = map_policy_find(map, policy_id);
	const struct map_region *chosen = NULL;
	char list[512];

	*out = NULL;
	for (uint32_t i = 0; policy != NULL && i < map->region_count; i++) {
		const struct map_region *region = &map->regions[i];
		bool preferred = invocation->as_region != NULL && map_region_find(map, invocation->as_region) == region;

		if ((chosen == NULL || preferred) && policy_may_write(policy, &region->site) &&
			have_certificate(invocation, region->name))
			chosen = region;
	}
	if (chosen != NULL)
		return open_writer(canaries, chosen->name, out);
	if (policy == NULL)
		return fail(invocation, "DOM-M001", "the policy of a canary is gone", NULL, NULL);
	selectors_text(&policy->write_from, list, sizeof(list));
	return fail(invocation, "DOM-R003", "no canary can be written",
		"put a client-REGION.crt of a region that may write into --certs (`domctl cert create-client`), or "
		"name "
		"other policies with --policy",
		"policy %s has write_from = %s, and there is no certificate of a client there", policy->name, list);
}

int canaries_describe(struct canaries *canaries, const char *verb)
{
	const struct cluster_map *map = canaries->session->map;

	for (uint32_t i = 0; i < canaries->policy_count; i++) {
		struct canary_writer *writer;
		const struct canary *first = NULL;
		uint32_t keys = 0;
		char *prefix;
		int code = writer_of(canaries, canaries->policies[i], &writer);

		if (code != EXIT_OK)
			return code;
		for (uint32_t c = 0; c < canaries->count; c++) {
			if (canaries->at[c].policy != canaries->policies[i])
				continue;
			first = first == NULL ? &canaries->at[c] : first;
			keys++;
		}
		if (first == NULL || canaries->session->invocation->quiet)
			continue;
		prefix = form_encode(FORM_ESCAPE, bytes_of(first->key, first->key_size - NEEDLE_SECRET_SIZE));
		fprintf(stderr, "%s %u keys under %s (policy %s, as a client of %s)\n", verb, keys, prefix,
			policy_name_of(map, first->policy), writer->region);
		free(prefix);
	}
	return EXIT_OK;
}

/* --- writing ---------------------------------------------------------------------------------------- */

static dom_options options_of(const struct canaries *canaries)
{
	dom_options options = DOM_OPTIONS;

	options.timeout_ms = canaries->session->invocation->timeout_ms;
	return options;
}

/* Every canary's call at once; the first failure is the answer, the others are waited for. */
typedef dom_call *canary_start_fn(
	const struct canaries *canaries, const struct canary_writer *writer, const struct canary *canary);
typedef enum dom_status canary_end_fn(struct canary *canary, dom_call *call, enum dom_status status);

static int each(struct canaries *canaries, canary_start_fn *start, canary_end_fn *end, const char *what)
{
	static dom_call *calls[CANARIES_MAX];
	int code = EXIT_OK;

	for (uint32_t i = 0; i < canaries->count; i++) {
		struct canary_writer *writer;

		calls[i] = NULL;
		if (code == EXIT_OK)
			code = writer_of(canaries, canaries->at[i].policy, &writer);
		if (code == EXIT_OK)
			calls[i] = start(canaries, writer, &canaries->at[i]);
	}
	for (uint32_t i = 0; i < canaries->count; i++) {
		enum dom_status status;

		if (calls[i] == NULL)
			continue;
		status = end(&canaries->at[i], calls[i], dom_call_wait(calls[i]));
		if (status != DOM_OK && code == EXIT_OK)
			code = fail(canaries->session->invocation, error_code_of(status, false), what, NULL, "%s",
				dom_call_message(calls[i]));
		dom_call_free(calls[i]);
	}
	return code;
}

static dom_call *start_put(
	const struct canaries *canaries, const struct canary_writer *writer, const struct canary *canary)
{
	dom_options options = options_of(canaries);

	options.policy = policy_name_of(canaries->session->map, canary->policy);
	return dom_put(writer->session.client, view(canary->key, canary->key_size),
		view(canary->value, sizeof(canary->value)), &options);
}

static enum dom_status end_put(struct canary *canary, dom_call *call, enum dom_status status)
{
	(void)call;
	canary->written = status == DOM_OK || dom_status_maybe_applied(status);
	return status;
}

static dom_call *start_get(
	const struct canaries *canaries, const struct canary_writer *writer, const struct canary *canary)
{
	const struct cluster_map *map = canaries->session->map;
	const struct policy *policy = map_policy_find(map, canary->policy);
	dom_options options = options_of(canaries);
	struct site site;

	if (policy == NULL || !map_site(map, &writer->session.place, &site) || !policy_may_read(policy, &site))
		return NULL; /* who may write need not be allowed to read */
	return dom_get(writer->session.client, view(canary->key, canary->key_size), &options);
}

static enum dom_status end_get(struct canary *canary, dom_call *call, enum dom_status status)
{
	dom_bytes value = status == DOM_OK ? dom_call_value(call, 0) : view(NULL, 0);

	if (status == DOM_OK &&
		(value.size != sizeof(canary->value) || memcmp(value.data, canary->value, value.size) != 0))
		return DOM_NOT_FOUND;
	return status;
}

static dom_call *start_delete(
	const struct canaries *canaries, const struct canary_writer *writer, const struct canary *canary)
{
	dom_options options = options_of(canaries);

	return canary->written ? dom_delete(writer->session.client, view(canary->key, canary->key_size), &options)
			       : NULL;
}

static enum dom_status end_delete(struct canary *canary, dom_call *call, enum dom_status status)
{
	(void)call;
	if (status == DOM_NOT_FOUND)
		status = DOM_OK;
	canary->written = status != DOM_OK;
	return status;
}

/* The end of each shard's log as it is now: the canaries lie before it. */
static uint64_t end_of(const struct statuses *statuses, uint64_t shard)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < statuses->count; i++) {
		const json_t *replica = statuses_replica(statuses, statuses->at[i].node, shard);

		if (replica != NULL && field_u64(replica, "last") > last)
			last = field_u64(replica, "last");
	}
	return last;
}

static bool applied(const struct cluster_map *map, const struct statuses *statuses, uint64_t shard_id, uint64_t upto)
{
	const struct map_shard *shard = map_shard_find(map, shard_id);

	for (unsigned i = 0; shard != NULL && i < shard->replica_count; i++) {
		const json_t *replica = statuses_replica(statuses, shard->replicas[i].node, shard_id);

		if (shard->replicas[i].role == ROLE_VOTER && replica != NULL && field_u64(replica, "applied") < upto)
			return false;
	}
	return true;
}

static void await_copies(struct canaries *canaries)
{
	static struct statuses statuses;
	static uint64_t upto[CANARIES_MAX];
	const struct cluster_map *map = canaries->session->map;
	uint64_t end_ns = clock_boot_ns() + (uint64_t)canaries->session->invocation->timeout_ms * 1000000;
	bool all = false;

	for (bool first = true; !all && !canaries_interrupted() && clock_boot_ns() < end_ns; first = false) {
		if (!first)
			usleep(STEP_MS * 1000);
		session_statuses(canaries->session, STATUS_TIMEOUT_MS, &statuses);
		all = true;
		for (uint32_t i = 0; i < canaries->count; i++) {
			const struct canary *canary = &canaries->at[i];
			const struct map_shard *shard = map_shard_of(map, canary->policy, key_of(canary));

			if (shard == NULL)
				continue;
			if (first)
				upto[i] = end_of(&statuses, shard->id);
			all = all && applied(map, &statuses, shard->id, upto[i]);
		}
		statuses_free(&statuses);
	}
}

int canaries_write(struct canaries *canaries)
{
	int code = each(canaries, start_put, end_put, "a canary cannot be written");

	if (code == EXIT_OK)
		code = each(canaries, start_get, end_get, "a canary that was written cannot be read");
	if (code == EXIT_OK)
		await_copies(canaries);
	return code;
}

int canaries_delete(struct canaries *canaries)
{
	int code = each(canaries, start_delete, end_delete, "a canary cannot be deleted");
	uint32_t left = 0;

	for (uint32_t i = 0; i < canaries->count; i++)
		left += canaries->at[i].written;
	if (left > 0)
		fprintf(stderr,
			"%u canaries may be left behind: harmless keys that begin with a bound prefix and %s; "
			"`domctl key scan PREFIX%s` shows them\n",
			left, CANARY_WORD, CANARY_WORD);
	return code;
}

/* --- files ------------------------------------------------------------------------------------------ */

int canaries_store(const struct canaries *canaries, const char *path)
{
	const struct invocation *invocation = canaries->session->invocation;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	json_t *list = json_object(), *items = json_array();
	bool written;

	set(list, "kind", json_string("CanaryList"));
	set(list, "v", json_integer(1));
	set(list, "cluster", json_string(session_cluster(canaries->session)));
	for (uint32_t i = 0; i < canaries->count; i++) {
		const struct canary *canary = &canaries->at[i];
		json_t *item = json_object();

		set(item, "policy", json_string(policy_name_of(canaries->session->map, canary->policy)));
		set(item, "key_b64", json_bytes_base64(canary->key, canary->key_size));
		set(item, "value_b64", json_bytes_base64(canary->value, sizeof(canary->value)));
		json_array_append_new(items, item);
	}
	set(list, "items", items);
	written = file != NULL && json_dumpf(list, file, JSON_INDENT(1)) == 0 && fputc('\n', file) != EOF;
	written = file != NULL && fclose(file) == 0 && written;
	if (file == NULL && fd >= 0)
		close(fd);
	json_decref(list);
	if (written)
		return EXIT_OK;
	return fail(invocation, "DOM-D003", "the canaries cannot be written down",
		"give --keep a path where there is no file yet", "%s: %s", path, strerror(errno));
}

static bool load_item(struct canaries *canaries, const json_t *item, struct canary *canary)
{
	const struct policy *policy = map_policy_by_name(canaries->session->map, field_text(item, "policy"));
	const char *key = field_text(item, "key_b64"), *value = field_text(item, "value_b64");
	size_t value_size = 0;
	bool known = false;

	if (policy == NULL || !base64_decode(canary->key, sizeof(canary->key), bytes_text(key), &canary->key_size) ||
		canary->key_size < NEEDLE_SECRET_SIZE ||
		!base64_decode(canary->value, sizeof(canary->value), bytes_text(value), &value_size) ||
		value_size != sizeof(canary->value))
		return false;
	canary->policy = policy->id;
	canary->written = true;
	for (uint32_t i = 0; i < canaries->policy_count; i++)
		known = known || canaries->policies[i] == policy->id;
	if (!known)
		canaries->policies[canaries->policy_count++] = policy->id;
	return true;
}

int canaries_load(struct canaries *canaries, const char *path)
{
	json_error_t error = { .text = "" };
	json_t *list = json_load_file(path, 0, &error), *items = json_object_get(list, "items"), *item;
	const char *why = list == NULL ? error.text : NULL;
	size_t at;

	if (why == NULL && (strcmp(field_text(list, "kind"), "CanaryList") != 0 || field_u64(list, "v") != 1))
		why = "it is no list of canaries that this version knows";
	if (why == NULL && strcmp(field_text(list, "cluster"), session_cluster(canaries->session)) != 0)
		why = "it is of another cluster";
	if (why == NULL && (json_array_size(items) == 0 || json_array_size(items) > CANARIES_MAX))
		why = "it lists none, or too many";
	json_array_foreach(items, at, item)
	{
		if (why == NULL && !load_item(canaries, item, &canaries->at[canaries->count]))
			why = "an entry is malformed, or of a policy that is gone";
		canaries->count += why == NULL;
	}
	json_decref(list);
	if (why == NULL)
		return EXIT_OK;
	return fail(canaries->session->invocation, "DOM-D003", "the canaries cannot be read",
		"give a file that `domctl residency scan --keep FILE` has written", "%s: %s", path, why);
}
