#include "tests/sim/load.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "client/operation.h"
#include "tests/sim/checkers.h"
#include "tests/sim/found.h"

enum { OPEN_PER_CLIENT = 2, LANES_MAX = 4, PATIENCE_SECONDS = 8, VALUE_MAX = 8192, SCAN_LIMIT = 200 };

static const char *const prefixes[] = { "w/", "eu/" CANARY_EU "/" };

struct sim_operation {
	bool busy, fetching;
	struct operation_machine machine;
	char key[64], value[VALUE_MAX];
	uint64_t generation; /* replies and timers of an earlier one are dropped */
	size_t record;
	struct {
		uint32_t attempt, request;
		unsigned slot;
	} sent[OPERATION_OPEN_MAX];
	unsigned sent_count;
	uint64_t timer_ns;
};

enum { SEEN_MAX = 512 };
struct seen { /* a session: how far an answer of the shard was */
	uint64_t shard, index;
};

struct sim_client {
	unsigned number, region;
	struct peer_identity who;
	struct router *router;
	struct lane lane_memory[LANES_MAX];
	struct lanes lanes;
	struct sim_operation operations[OPEN_PER_CLIENT];
	struct seen seen[SEEN_MAX];
	bool map_asked;
	uint64_t map_asked_ns;
};

struct load {
	struct sim_client clients[WORLD_CLIENTS_MAX];
	unsigned count;
	uint32_t request_next;
	uint64_t value_next;
	bool running;
	struct load_record *history;
	size_t history_count;
};

static const struct map_limits limits = {
	.regions = 8, .nodes = 32, .policies = 8, .bindings = 32, .shards = 256, .operations = 256
};

static void carry_out(struct world *world, struct sim_client *client, struct sim_operation *operation,
	struct operation_action action, const struct message_reply *reply);
static void on_client_timer(struct world *world, void *arg, uint64_t value, struct buffer *bytes);

static uint64_t parse_value(struct bytes value)
{
	const char *text = value.data;
	uint64_t number = 0;

	/* "<canary> <number>" */
	for (size_t i = 0; i < value.size; i++) {
		if (text[i] == ' ')
			number = 0;
		else if (text[i] >= '0' && text[i] <= '9')
			number = number * 10 + (uint64_t)(text[i] - '0');
	}
	return number;
}

void load_key_text(const struct world *world, unsigned key, char text[64])
{
	snprintf(text, 64, "%sk%u", prefixes[key >= world->knobs.keys], key);
}

/* Where the session's index for the shard is kept. */
static uint64_t *seen_of(struct sim_client *client, uint64_t shard)
{
	for (unsigned i = 0; i < SEEN_MAX; i++) {
		if (client->seen[i].shard == 0)
			client->seen[i].shard = shard;
		if (client->seen[i].shard == shard)
			return &client->seen[i].index;
	}
	abort(); /* those that split and merge make new ones, a few in a second */
}

static struct load_record *record_new(struct load *load, const struct sim_client *client, uint8_t operation)
{
	struct load_record *record = &load->history[load->history_count++];

	memset(record, 0, sizeof(*record));
	record->client = (uint16_t)client->number;
	record->operation = operation;
	return record;
}

/* A scan of a shard reads each key that lies in it, those too that are not there: as many reads for the history. */
static void scanned(struct world *world, struct sim_client *client, struct sim_operation *operation,
	const struct message_reply *reply)
{
	struct load *load = world->load_state;
	const struct operation_spec *spec = &operation->machine.spec;
	struct load_record scan = load->history[operation->record];
	unsigned found = 0;

	/* A node with a newer map may hold keys that the client's map binds to another policy: where they left it is
	 * told. To which shard of the policy they belong it and the client agree on, or it does not answer. */
	if (reply->more || spec->map_epoch != router_epoch(client->router) ||
		(world->knobs.bindings && reply->map_epoch > spec->map_epoch))
		return;
	for (unsigned key = 0; key < 2 * world->knobs.keys && load->history_count < LOAD_HISTORY_MAX; key++) {
		struct router_target target;
		char text[64], why[ROUTER_WHY_MAX];
		struct load_record *record;

		load_key_text(world, key, text);
		if (strncmp(text, operation->key, strlen(operation->key)) != 0 ||
			router_resolve(client->router, bytes_text(text), false, NULL, &target, why) != STATUS_OK ||
			target.shard != spec->shard)
			continue;
		record = record_new(load, client, OPERATION_GET);
		record->key = (uint16_t)key;
		record->level = scan.level;
		record->staleness_max_ms = scan.staleness_max_ms;
		record->staleness_ms = reply->staleness_ms;
		record->done = true;
		record->invoked_ns = scan.invoked_ns;
		record->returned_ns = scan.returned_ns;
		record->status = STATUS_NOT_FOUND;
		for (size_t i = 0; i < reply->row_count; i++) {
			if (!bytes_equal(reply->rows[i].key, bytes_text(text)))
				continue;
			record->status = STATUS_OK;
			record->value = parse_value(reply->rows[i].value);
			record->version = reply->rows[i].version;
			found++;
		}
	}
	if (found != reply->row_count)
		world_fail(world, "a scan of shard %llx found %zu rows, %u of which are keys of it",
			(unsigned long long)spec->shard, (size_t)reply->row_count, found);
}

static void ask_map(struct world *world, struct sim_client *client)
{
	struct message message = { .kind = MESSAGE_MAP_REQUEST };
	unsigned slot = (unsigned)prng_below(&world->load, world->node_count);

	if (client->map_asked && world->now_ns - client->map_asked_ns < WORLD_SECOND / 2)
		return;
	client->map_asked = true;
	client->map_asked_ns = world->now_ns;
	message.request = ++world->load_state->request_next;
	message.map_request.epoch = router_epoch(client->router);
	world_request(world, client->number, client->region, &client->who, slot, &message);
}

static void finish(struct world *world, struct sim_client *client, struct sim_operation *operation,
	const struct operation_action *action, const struct message_reply *reply)
{
	struct load *load = world->load_state;
	struct load_record *record = &load->history[operation->record];

	record->done = true;
	record->returned_ns = world->now_ns;
	record->status = (uint32_t)action->status;
	if (record->operation == OPERATION_SCAN && action->status == STATUS_OK && action->answered && reply != NULL)
		scanned(world, client, operation, reply);
	if (action->answered && reply != NULL) {
		uint64_t *seen = action->status == STATUS_UNKNOWN_OUTCOME ? NULL : seen_of(client, action->shard);

		if (seen != NULL && reply->index > *seen)
			*seen = reply->index;
		record->version = reply->version;
		record->staleness_ms = reply->staleness_ms;
		if (record->operation == OPERATION_GET && action->status == STATUS_OK && reply->row_count == 1) {
			record->value = parse_value(reply->rows[0].value);
			record->version = reply->rows[0].version;
		}
	}
	world_log(world, "client %u: operation %u on key %u: %s %s", client->number, record->operation, record->key,
		status_name(action->status), operation->machine.text);
	if (operation_is_write(record->operation))
		lanes_return(&client->lanes, &operation->machine.spec.ticket);
	if (action->status == STATUS_OK || action->status == STATUS_NOT_FOUND || action->status == STATUS_CONFLICT)
		world->stats.acknowledged++;
	else if (action->status == STATUS_UNKNOWN_OUTCOME)
		world->stats.unknown++;
	else
		world->stats.refused++;
	if (action->status == STATUS_RESIDENCY_REFUSED && record->key < world->knobs.keys &&
		!(world->removed >> client->region & 1)) /* who is in no region is nobody's client */
		world_fail(world, "client %u was refused by residency where all may read and write", client->number);
	operation->busy = false;
	operation->generation++;
	if (action->status == STATUS_RESIDENCY_REFUSED && !action->answered)
		ask_map(world, client); /* as client/fetch.c, fetch_doubted */
}

static void arm(struct world *world, struct sim_client *client, struct sim_operation *operation, uint64_t until_ns)
{
	if (until_ns == UINT64_MAX)
		return;
	operation->timer_ns = until_ns;
	world_at(world, until_ns, on_client_timer, operation, operation->generation << 8 | client->number, NULL);
}

/* One that was admitted, and does not know it yet, is known by its place. */
static struct world_node *node_addressed(struct world *world, const struct sim_client *client, uint64_t id)
{
	const struct map_node *there = map_node_find(router_map(client->router), id);
	struct world_node *node = world_node_of(world, id);

	for (unsigned i = 0; node == NULL && there != NULL && i < world->node_count; i++) {
		if (place_equal(&world->nodes[i].who.place, &there->place))
			node = &world->nodes[i];
	}
	return node;
}

static void send_attempt(struct world *world, struct sim_client *client, struct sim_operation *operation,
	const struct operation_action *action)
{
	struct world_node *to = node_addressed(world, client, action->node);
	struct message message;

	operation_message(&operation->machine, action->node, world->now_ns, &message);
	message.request = ++world->load_state->request_next;
	message.ask.session_index = *seen_of(client, message.ask.shard);
	assert(to != NULL);
	if (operation->sent_count == OPERATION_OPEN_MAX) { /* the oldest has been given up by the machine */
		memmove(operation->sent, operation->sent + 1, (OPERATION_OPEN_MAX - 1) * sizeof(operation->sent[0]));
		operation->sent_count--;
	}
	operation->sent[operation->sent_count].attempt = action->attempt;
	operation->sent[operation->sent_count].request = (uint32_t)message.request;
	operation->sent[operation->sent_count++].slot = to->slot;
	/* No key of the EU's goes to a node outside, whatever the client is told. */
	if (world->load_state->history[operation->record].key >= world->knobs.keys &&
		!place_within(&to->who.place, "eu"))
		world_fail(world, "client %u sent an eu-only key to node %u", client->number, to->slot);
	world_request(world, client->number, client->region, &client->who, to->slot, &message);
}

static void carry_out(struct world *world, struct sim_client *client, struct sim_operation *operation,
	struct operation_action action, const struct message_reply *reply)
{
	operation_check(&operation->machine);
	switch (action.kind) {
	case OPERATION_SEND:
		send_attempt(world, client, operation, &action);
		arm(world, client, operation, action.until_ns);
		break;
	case OPERATION_WAIT:
		arm(world, client, operation, action.until_ns);
		break;
	case OPERATION_FETCH_MAP:
		operation->fetching = true;
		ask_map(world, client);
		arm(world, client, operation, action.until_ns);
		break;
	default:
		finish(world, client, operation, &action, reply);
		break;
	}
}

static void on_client_timer(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	struct sim_operation *operation = arg;
	struct sim_client *client = &world->load_state->clients[value & 0xff];

	(void)bytes;
	if (!operation->busy || operation->generation != value >> 8 || operation->timer_ns > world->now_ns)
		return;
	if (operation->fetching)
		ask_map(world, client);
	carry_out(world, client, operation, operation_expired(&operation->machine, world->now_ns), NULL);
}

static void replied(struct world *world, unsigned number, const struct message *message)
{
	struct sim_client *client;

	if (number >= ADMIN_CLIENT) {
		found_replied(world, number, message);
		return;
	}
	client = &world->load_state->clients[number];
	if (message->kind == MESSAGE_MAP_REPLY) {
		client->map_asked = false;
		if (message->map_reply.map.size > 0 &&
			router_learn_map(client->router, message->map_reply.map) != STATUS_OK)
			world_fail(world, "a client could not learn a map");
		for (unsigned i = 0; i < OPEN_PER_CLIENT; i++) {
			struct sim_operation *operation = &client->operations[i];

			if (operation->busy && operation->fetching) {
				operation->fetching = false;
				carry_out(world, client, operation,
					operation_map_arrived(&operation->machine, world->now_ns), NULL);
			}
		}
		return;
	}
	if (message->reply.map_epoch > router_epoch(client->router))
		ask_map(world, client); /* as the library does (fetch_heard) */
	for (unsigned i = 0; i < OPEN_PER_CLIENT; i++) {
		struct sim_operation *operation = &client->operations[i];

		for (unsigned s = 0; operation->busy && s < operation->sent_count; s++) {
			uint32_t attempt = operation->sent[s].attempt;

			if (operation->sent[s].request != message->request)
				continue;
			operation->sent[s] = operation->sent[--operation->sent_count];
			carry_out(world, client, operation,
				operation_replied(&operation->machine, attempt, &message->reply, world->now_ns),
				&message->reply);
			return;
		}
	}
}

static void lost(struct world *world, unsigned number, unsigned slot, uint64_t undelivered)
{
	for (unsigned c = 0; c < world->load_state->count; c++) {
		struct sim_client *client = &world->load_state->clients[c];

		for (unsigned i = 0; i < OPEN_PER_CLIENT && (number == UINT32_MAX || number == c); i++) {
			struct sim_operation *operation = &client->operations[i];

			for (unsigned s = 0; operation->busy && s < operation->sent_count;) {
				uint32_t attempt = operation->sent[s].attempt;
				bool delivered = operation->sent[s].request != undelivered;

				if (operation->sent[s].slot != slot) {
					s++;
					continue;
				}
				operation->sent[s] = operation->sent[--operation->sent_count];
				carry_out(world, client, operation,
					operation_lost(&operation->machine, attempt, delivered, world->now_ns), NULL);
			}
		}
	}
}

/* --- what clients do ------------------------------------------------------------------------------------------------
 */

static unsigned concurrent_on_key(const struct load *load, unsigned key)
{
	unsigned count = 0;

	for (unsigned c = 0; c < load->count; c++) {
		for (unsigned i = 0; i < OPEN_PER_CLIENT; i++)
			count += load->clients[c].operations[i].busy &&
				 load->history[load->clients[c].operations[i].record].key == key &&
				 load->history[load->clients[c].operations[i].record].operation != OPERATION_SCAN;
	}
	return count;
}

/* The newest that the history knows of the key, as a CAS expects it. */
static void expect_known(const struct load *load, unsigned key, struct load_record *cas)
{
	cas->expected = 0;
	cas->expected_value = 0;
	for (size_t i = load->history_count; i > 0; i--) {
		const struct load_record *record = &load->history[i - 1];

		if (record->key != key || !record->done || record->version == 0 || record->status != STATUS_OK)
			continue;
		if (record->operation != OPERATION_DELETE) {
			cas->expected = record->version;
			cas->expected_value = record->value;
		}
		return;
	}
}

static void begin(struct world *world, struct sim_client *client, struct sim_operation *operation,
	struct operation_spec *spec, struct load_record *record)
{
	static const uint8_t levels[] = { READ_STRONG, READ_STRONG, READ_SESSION, READ_BOUNDED, READ_NEAREST };

	spec->level = READ_STRONG;
	if (world->knobs.levels && spec->operation == OPERATION_GET)
		spec->level = levels[prng_below(&world->load, sizeof(levels))];
	if (world->knobs.old_scans && spec->operation == OPERATION_SCAN)
		spec->level = prng_below(&world->load, 2) == 0 ? READ_BOUNDED : READ_NEAREST;
	if (spec->level == READ_BOUNDED)
		spec->staleness_max_ms = 1 + (uint32_t)prng_below(&world->load, 3000);
	record->level = spec->level;
	record->staleness_max_ms = spec->staleness_max_ms;
	spec->deadline_ns = world->now_ns + PATIENCE_SECONDS * (uint64_t)WORLD_SECOND;
	operation->busy = true;
	operation->fetching = false;
	operation->sent_count = 0;
	operation->record = (size_t)(record - world->load_state->history);
	record->invoked_ns = world->now_ns;
	world->stats.operations++;
	carry_out(world, client, operation,
		operation_start(&operation->machine, spec, client->router, prng_next(&world->load), world->now_ns),
		NULL);
}

/* One shard of one policy, as the client's map has them. */
static void start_scan(struct world *world, struct sim_client *client, struct sim_operation *operation, bool eu)
{
	const struct cluster_map *map = router_map(client->router);
	struct operation_spec spec = { .operation = OPERATION_SCAN, .limit = SCAN_LIMIT };
	const char *policy = eu ? "eu-only" : "world";
	struct load_record *record;
	unsigned count = 0, chosen;

	if (world->knobs.old_scans && prng_below(&world->load, 2) == 0)
		policy = eu ? "eu-other" : "other";
	for (uint32_t i = 0; i < map->policy_count; i++) {
		if (strcmp(map->policies[i].name, policy) == 0)
			spec.policy = map->policies[i].id;
	}
	for (uint32_t i = 0; i < map->shard_count; i++)
		count += map->shards[i].policy == spec.policy && !map_shard_empty(&map->shards[i]);
	if (count == 0)
		return;
	chosen = (unsigned)prng_below(&world->load, count);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		if (map->shards[i].policy == spec.policy && !map_shard_empty(&map->shards[i]) && chosen-- == 0)
			spec.shard = map->shards[i].id;
	}
	spec.map_epoch = router_epoch(client->router);
	snprintf(operation->key, sizeof(operation->key), "%s", prefixes[eu]);
	spec.key = bytes_text(operation->key);
	record = record_new(world->load_state, client, OPERATION_SCAN);
	record->key = eu ? (uint16_t)world->knobs.keys : 0;
	begin(world, client, operation, &spec, record);
}

static void start_operation(struct world *world, struct sim_client *client, struct sim_operation *operation)
{
	static const uint8_t kinds[] = { OPERATION_GET, OPERATION_GET, OPERATION_GET, OPERATION_GET, OPERATION_PUT,
		OPERATION_PUT, OPERATION_PUT, OPERATION_PUT, OPERATION_DELETE, OPERATION_CAS };
	struct load *load = world->load_state;
	struct load_record *record;
	struct operation_spec spec = { 0 };
	unsigned key = (unsigned)prng_below(&world->load, world->knobs.keys);
	bool eu = place_within(&client->who.place, "eu") && prng_below(&world->load, 2) == 0;
	size_t pad = prng_below(&world->load, world->knobs.value_size_max + 1);

	if (eu)
		key += world->knobs.keys;
	if (load->history_count == LOAD_HISTORY_MAX || world->silent >> client->region & 1)
		return;
	if (prng_below(&world->load, 16) == 0) {
		start_scan(world, client, operation, eu);
		return;
	}
	if (concurrent_on_key(load, key) >= 6)
		return;
	spec.operation = kinds[prng_below(&world->load, sizeof(kinds))];
	if (world->writers != 0 && !(world->writers >> client->region & 1))
		spec.operation = OPERATION_GET;
	if (operation_is_write(spec.operation) && !lanes_take(&client->lanes, &spec.ticket))
		return;
	spec.lanes = operation_is_write(spec.operation) ? &client->lanes : NULL;
	load_key_text(world, key, operation->key);
	memset(operation->value, '.', pad);
	snprintf(operation->value + pad, sizeof(operation->value) - pad, "%s %llu", eu ? CANARY_EU : "world",
		(unsigned long long)++load->value_next);
	spec.key = bytes_text(operation->key);
	if (spec.operation == OPERATION_PUT || spec.operation == OPERATION_CAS)
		spec.value = bytes_text(operation->value);
	record = record_new(load, client, spec.operation);
	if (spec.operation == OPERATION_CAS)
		expect_known(load, key, record);
	record->key = (uint16_t)key;
	record->value = spec.value.size > 0 ? load->value_next : 0;
	spec.version = record->expected;
	begin(world, client, operation, &spec, record);
}

static void on_work(struct world *world, void *arg, uint64_t number, struct buffer *bytes)
{
	struct load *load = world->load_state;
	struct sim_client *client = &load->clients[number];

	(void)arg;
	(void)bytes;
	if (!load->running)
		return;
	if (router_epoch(client->router) == 0)
		ask_map(world, client); /* as connecting does */
	for (unsigned i = 0; i < OPEN_PER_CLIENT && router_epoch(client->router) != 0; i++) {
		if (!client->operations[i].busy && prng_below(&world->load, 2) == 0)
			start_operation(world, client, &client->operations[i]);
	}
	world_at(world, world->now_ns + 20000000 + prng_below(&world->load, 400000000), on_work, NULL, number, NULL);
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

struct load *load_new(struct world *world)
{
	struct load *load = calloc(1, sizeof(*load));

	if (load == NULL)
		abort();
	load->history = calloc(LOAD_HISTORY_MAX, sizeof(struct load_record));
	if (load->history == NULL)
		abort();
	load->count = world->knobs.regions * world->knobs.clients_per_region;
	assert(load->count <= WORLD_CLIENTS_MAX);
	for (unsigned i = 0; i < load->count; i++) {
		struct sim_client *client = &load->clients[i];
		const char *why;
		void *memory = calloc(1, router_size(&limits));

		if (memory == NULL)
			abort();
		client->number = i;
		client->region = i % world->knobs.regions;
		client->who.role = PEER_CLIENT;
		snprintf(client->who.name, sizeof(client->who.name), "app%u", i);
		if (!place_parse(world_places[client->region], &client->who.place, &why))
			abort();
		memset(client->who.issuer_spki_sha256, (int)client->region + 1, 32);
		client->router = router_init(memory, &limits, client->who.place.text);
		lanes_init(&client->lanes, client->lane_memory, LANES_MAX, prng_next(&world->load) ^ i);
	}
	world->load_state = load;
	world_on_reply(world, replied, lost);
	return load;
}

void load_free(struct load *load)
{
	for (unsigned i = 0; i < load->count; i++)
		free(load->clients[i].router);
	free(load->history);
	free(load);
}

void load_start(struct world *world)
{
	world->load_state->running = true;
	for (unsigned i = 0; i < world->load_state->count; i++)
		world_at(world, world->now_ns + prng_below(&world->load, 100000000), on_work, NULL, i, NULL);
}

void load_stop(struct world *world)
{
	world->load_state->running = false;
}

unsigned load_open(const struct world *world)
{
	unsigned open = 0;

	for (unsigned c = 0; c < world->load_state->count; c++) {
		for (unsigned i = 0; i < OPEN_PER_CLIENT; i++)
			open += world->load_state->clients[c].operations[i].busy;
	}
	return open;
}

bool load_idle(const struct world *world)
{
	return load_open(world) == 0;
}

const struct load_record *load_history(const struct world *world, size_t *count)
{
	*count = world->load_state->history_count;
	return world->load_state->history;
}

unsigned load_failed_since(const struct world *world, uint64_t since_ns)
{
	unsigned failed = 0;

	for (size_t i = 0; i < world->load_state->history_count; i++) {
		const struct load_record *record = &world->load_state->history[i];

		if (record->invoked_ns < since_ns)
			continue;
		if (record->operation == OPERATION_SCAN && record->status == STATUS_STALE_MAP)
			continue; /* its plan was made with another map: it makes a new one */
		if (!record->done || (record->status != STATUS_OK && record->status != STATUS_NOT_FOUND &&
					     record->status != STATUS_CONFLICT))
			failed++;
	}
	return failed;
}
