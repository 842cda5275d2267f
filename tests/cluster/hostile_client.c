/* tests/cluster/hostile_client.c: what a client's, an administrator's or a node's certificate can try over the clients'
 * protocol: bytes that are no frames, frames that lie, messages that it may not send, requests that name what is not
 * its own. What must come of each is said beside it; afterwards the node must still serve. */
#define _GNU_SOURCE /* memmem */
#include <assert.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/change.h"
#include "tests/cluster/hostile.h"
#include "wire/certificate.h"

/* --- frames ------------------------------------------------------------------------------------------- */

enum spoil { SPOIL_NONE, SPOIL_MAGIC, SPOIL_VERSION, SPOIL_FLAG, SPOIL_WIRE_SIZE, SPOIL_SIZE, SPOIL_CHECKSUM };

static void put32(uint8_t *to, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

/* Header and payload as claimed; the checksum is right unless it is what is spoiled. */
static size_t forge(uint8_t *frame, const void *payload, uint32_t size, enum spoil spoil, uint32_t value)
{
	uint8_t *wire = frame + FRAME_HEADER_SIZE;
	memcpy(wire, payload, size);
	frame[0] = spoil == SPOIL_MAGIC ? 'D' : 'd';
	frame[1] = 'm';
	frame[2] = spoil == SPOIL_VERSION ? (uint8_t)value : 1;
	frame[3] = spoil == SPOIL_FLAG ? (uint8_t)value : 0;
	put32(frame + 4, spoil == SPOIL_WIRE_SIZE ? value : size);
	put32(frame + 8, spoil == SPOIL_SIZE ? value : size);
	put32(frame + 12, frame_checksum(frame, wire, size) ^ (spoil == SPOIL_CHECKSUM));
	return FRAME_HEADER_SIZE + size;
}

static bool open_client(struct line *line, const char *address, const struct thief *thief, const char *place)
{
	struct message hello;
	return line_open(line, address, thief, "domicile/1") && line_greet(line, place, 0, &hello);
}

/* After it the line must be closed, and nothing but a refusal said. */
static void expect_closed(struct line *line, const char *name)
{
	struct message message;
	enum heard heard;
	while ((heard = line_hear(line, 10000, &message)) == HEARD_MESSAGE)
		if (message.kind != MESSAGE_REPLY || message.reply.status == STATUS_OK || message.reply.row_count > 0)
			break;
	tally(heard == HEARD_END, name, "%s",
		heard == HEARD_END	 ? line->why
		: heard == HEARD_MESSAGE ? "it was answered"
					 : "the line stays open");
	line_close(line);
}

static void attack_header(const char *address, const struct thief *thief, const char *place, const char *name,
	enum spoil spoil, uint32_t value)
{
	static const uint8_t ping[32];
	uint8_t frame[FRAME_HEADER_SIZE + sizeof(ping)];
	struct line line;
	if (!open_client(&line, address, thief, place)) {
		tally(false, name, "not greeted: %s", line.why);
		return;
	}
	size_t size = forge(frame, ping, sizeof(ping), spoil, value);
	line_raw(&line, frame, size);
	expect_closed(&line, name);
}

/* Compressed claims: `claimed` bytes out of `size`. */
static void attack_lz4(const char *address, const struct thief *thief, const char *place, const char *name,
	const void *block, uint32_t size, uint32_t claimed)
{
	struct line line;
	uint8_t *frame = malloc(FRAME_HEADER_SIZE + size);
	assert(frame);
	memcpy(frame + FRAME_HEADER_SIZE, block, size);
	memcpy(frame, "dm\1\1", 4);
	put32(frame + 4, size);
	put32(frame + 8, claimed);
	put32(frame + 12, frame_checksum(frame, frame + FRAME_HEADER_SIZE, size));
	if (open_client(&line, address, thief, place)) {
		line_raw(&line, frame, FRAME_HEADER_SIZE + size);
		expect_closed(&line, name);
	} else {
		tally(false, name, "not greeted: %s", line.why);
	}
	free(frame);
}

static void attack_compression(const char *address, const struct thief *thief, const char *place)
{
	enum { BOMB = FRAME_SIZE_MAX_CLIENT };
	char *zeros = calloc(1, BOMB), *block = malloc((size_t)LZ4_compressBound(BOMB));
	uint8_t garbage[4096];
	assert(zeros);
	assert(block);
	uint32_t size = (uint32_t)LZ4_compress_default(zeros, block, BOMB, LZ4_compressBound(BOMB));
	memset(garbage, 0xf7, sizeof(garbage));
	attack_lz4(address, thief, place, "lz4 bomb of 4 MiB", block, size, BOMB);
	attack_lz4(address, thief, place, "lz4 that yields less than claimed", block, size, BOMB - 4096);
	attack_lz4(address, thief, place, "lz4 bomb beyond the limit", block, size, BOMB + 1);
	attack_lz4(address, thief, place, "lz4 ratio that no block has", garbage, 64, 1 << 20);
	attack_lz4(address, thief, place, "lz4 garbage", garbage, sizeof(garbage), 100000);
	attack_lz4(address, thief, place, "lz4 that claims to shrink", garbage, sizeof(garbage), 100);
	free(zeros);
	free(block);
}

static void attack_kind(const char *address, const struct thief *thief, const char *place, uint8_t kind)
{
	struct line line;
	struct message message = { .kind = kind };
	char name[64];
	snprintf(name, sizeof(name), "a message of kind %u on the clients' protocol", kind);
	if (!open_client(&line, address, thief, place)) {
		tally(false, name, "not greeted: %s", line.why);
		return;
	}
	if (kind <= MESSAGE_REPAIR_REPLY && kind >= MESSAGE_APPEND) {
		message.group = META_GROUP;
		message.from = 1;
		message.to = 2;
		message.term = 1;
		message.append.first = 1; /* none follow */
		if (kind == MESSAGE_VOTE)
			message.vote = (struct message_vote){ .last_index = 1 << 20, .last_term = 1 };
		else if (kind == MESSAGE_VOTE_REPLY)
			message.vote_reply = (struct message_vote_reply){ .granted = true };
		else if (kind == MESSAGE_SNAPSHOT || kind == MESSAGE_SNAPSHOT_CHUNK)
			memset(&message.chunk, 0, sizeof(message.chunk));
		else if (kind == MESSAGE_SNAPSHOT_ACK)
			message.snapshot_ack.status = STATUS_OK;
	}
	bool known = message_is_group(kind) || kind == MESSAGE_PING || kind == MESSAGE_PONG || kind == MESSAGE_HELLO ||
		     kind == MESSAGE_REPLY || kind == MESSAGE_MAP_REPLY;
	uint8_t unknown[9] = { kind };
	if (known)
		line_send(&line, &message);
	else
		line_payload(&line, unknown, sizeof(unknown));
	expect_closed(&line, name);
}

/* Every cut of a request, and one byte too many. */
static void attack_cuts(const char *address, const struct thief *thief, const char *place)
{
	uint8_t payload[256] = { 0 };
	struct packer packer;
	struct message message = { .kind = MESSAGE_REQUEST, .request = 7 };
	message.ask.operation = OPERATION_PING;
	pack_init(&packer, payload, sizeof(payload));
	message_encode(&message, &packer);
	assert(!packer.overflow);
	unsigned closed = 0, tried = 0;
	for (size_t size = 1; size <= packer.size + 1; size += size < packer.size - 2 ? 5 : 1) {
		struct line line;
		struct message answer;
		if (size == packer.size || !open_client(&line, address, thief, place))
			continue;
		tried++;
		line_payload(&line, payload, size);
		closed += line_hear(&line, 10000, &answer) == HEARD_END;
		line_close(&line);
	}
	tally(tried > 10 && closed == tried, "messages cut short or with a tail", "%u of %u closed", closed, tried);
}

static void attack_greeting(const char *address, const struct thief *thief, const char *name, uint32_t version,
	uint8_t cluster, bool request_first, bool large)
{
	struct line line;
	struct message message;
	if (!line_open(&line, address, thief, "domicile/1") || line_hear(&line, 10000, &message) != HEARD_MESSAGE) {
		tally(false, name, "no HELLO");
		return;
	}
	struct message hello = { .kind = MESSAGE_HELLO, .hello = message.hello };
	hello.hello.version = version;
	hello.hello.place = bytes_of(NULL, 0);
	hello.hello.cluster[3] ^= cluster;
	if (request_first)
		hello = (struct message){ .kind = MESSAGE_MAP_REQUEST, .request = 1 };
	uint8_t *large_payload = calloc(1, FRAME_SIZE_MAX_GREETING + 1);
	assert(large_payload);
	large_payload[0] = MESSAGE_HELLO;
	if (large)
		line_payload(&line, large_payload, FRAME_SIZE_MAX_GREETING + 1);
	else
		line_send(&line, &hello);
	free(large_payload);
	expect_closed(&line, name);
}

int attack_frames(const char *address, const struct thief *thief, const char *place)
{
	attack_header(address, thief, place, "bytes that are no frame", SPOIL_MAGIC, 0);
	attack_header(address, thief, place, "a frame of version 0", SPOIL_VERSION, 0);
	attack_header(address, thief, place, "a frame of version 9", SPOIL_VERSION, 9);
	attack_header(address, thief, place, "unknown flags", SPOIL_FLAG, 0x80);
	attack_header(address, thief, place, "a size above the limit", SPOIL_WIRE_SIZE, FRAME_SIZE_MAX_CLIENT + 1);
	attack_header(address, thief, place, "a size of 4 GiB", SPOIL_WIRE_SIZE, UINT32_MAX);
	attack_header(address, thief, place, "a size of nothing", SPOIL_WIRE_SIZE, 0);
	attack_header(address, thief, place, "two sizes that differ", SPOIL_SIZE, 33);
	attack_header(address, thief, place, "a decoded size of 4 GiB", SPOIL_SIZE, UINT32_MAX);
	attack_header(address, thief, place, "a wrong checksum", SPOIL_CHECKSUM, 0);
	attack_compression(address, thief, place);
	for (unsigned kind = 0; kind <= 44; kind++) {
		bool asked = kind == MESSAGE_REQUEST || kind == MESSAGE_ADMIN || kind == MESSAGE_JOIN ||
			     kind == MESSAGE_MAP_REQUEST;
		if (!asked)
			attack_kind(address, thief, place, (uint8_t)kind);
	}
	attack_kind(address, thief, place, 255);
	attack_cuts(address, thief, place);
	attack_greeting(address, thief, "HELLO of version 0", 0, 0, false, false);
	attack_greeting(address, thief, "HELLO of a newer version", PROTOCOL_VERSION + 1, 0, false, false);
	attack_greeting(address, thief, "HELLO of another cluster's id", PROTOCOL_VERSION, 1, false, false);
	attack_greeting(address, thief, "a request before HELLO", PROTOCOL_VERSION, 0, true, false);
	attack_greeting(address, thief, "a frame above 16 KiB before HELLO", PROTOCOL_VERSION, 0, false, true);
	struct line line;
	bool served = open_client(&line, address, thief, place);
	struct message ping = { .kind = MESSAGE_REQUEST }, reply;
	ping.ask.operation = OPERATION_PING;
	served = served && line_ask(&line, &ping, &reply) && reply.reply.status == STATUS_OK;
	tally(served, "the node still serves", "%s", served ? "it does" : line.why);
	line_close(&line);
	return tally_end();
}

/* --- requests ---------------------------------------------------------------------------------------------- */

struct scene {
	struct line line;
	struct cluster_map *map;
	const struct policy *home, *other;
	struct bytes key;  /* of home */
	const char *value; /* that stands there */
};

static const struct map_shard *any_shard(const struct cluster_map *map, uint64_t policy)
{
	for (uint32_t i = 0; i < map->shard_count; i++)
		if (map->shards[i].policy == policy)
			return &map->shards[i];
	return NULL;
}

static bool holds(struct bytes in, const char *text)
{
	return in.size > 0 && memmem(in.data, in.size, text, strlen(text)) != NULL;
}

static void attack(struct scene *scene, const char *name, uint8_t operation, uint64_t policy, uint64_t shard,
	struct bytes key, enum status wanted)
{
	struct message ask = { .kind = MESSAGE_REQUEST }, reply;
	ask.ask = (struct message_request){ .operation = operation,
		.level = operation == OPERATION_GET || operation == OPERATION_SCAN ? READ_STRONG : 0,
		.map_epoch = scene->map->epoch,
		.policy = policy,
		.shard = shard,
		.client = 77,
		.sequence = 1,
		.limit = operation == OPERATION_SCAN ? 1000 : 0,
		.timeout_ms = 1000,
		.key = key,
		.value = bytes_text(operation == OPERATION_PUT || operation == OPERATION_CAS ? "forged" : "") };
	if (!line_ask(&scene->line, &ask, &reply)) {
		tally(false, name, "no answer: %s", scene->line.why);
		return;
	}
	bool leaks = holds(reply.reply.detail, scene->value);
	for (uint32_t i = 0; i < reply.reply.row_count; i++)
		leaks = leaks || holds(reply.reply.rows[i].value, scene->value) ||
			holds(reply.reply.rows[i].key, scene->key.data);
	tally(!leaks && reply.reply.status == wanted && (wanted == STATUS_OK || reply.reply.row_count == 0), name,
		"%s, %u rows%s: %.*s", status_name((enum status)reply.reply.status), reply.reply.row_count,
		leaks ? ", WITH THE SECRET" : "", (int)reply.reply.detail.size, (const char *)reply.reply.detail.data);
}

static void attack_data(struct scene *scene)
{
	static const struct {
		uint8_t operation;
		const char *name;
	} all[] = { { OPERATION_GET, "get" }, { OPERATION_SCAN, "scan" }, { OPERATION_PUT, "put" },
		{ OPERATION_DELETE, "delete" }, { OPERATION_CAS, "cas" } };
	uint64_t home = scene->home->id, other = scene->other->id;
	const struct map_shard *shard = map_shard_of(scene->map, home, scene->key);
	const struct map_shard *foreign = map_shard_of(scene->map, other, scene->key);
	assert(shard);
	assert(foreign);
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char name[96];
		uint8_t operation = all[i].operation;
		bool scan = operation == OPERATION_SCAN;
		snprintf(name, sizeof(name), "%s of another region's key", all[i].name);
		attack(scene, name, operation, home, shard->id, scene->key, STATUS_RESIDENCY_REFUSED);
		snprintf(name, sizeof(name), "%s with a policy that is open, on its shard", all[i].name);
		attack(scene, name, operation, other, shard->id, scene->key, STATUS_STALE_MAP);
		snprintf(name, sizeof(name), "%s with its policy, on an open shard", all[i].name);
		attack(scene, name, operation, home, foreign->id, scene->key, STATUS_STALE_MAP);
		if (!scan) { /* a scan of that shard is its own, and is looked at below */
			snprintf(name, sizeof(name), "%s of its key as if bound to an open policy", all[i].name);
			attack(scene, name, operation, other, foreign->id, scene->key, STATUS_STALE_MAP);
		}
		snprintf(name, sizeof(name), "%s of meta's group", all[i].name);
		attack(scene, name, operation, other, META_GROUP, bytes_text("map"), STATUS_STALE_MAP);
		snprintf(name, sizeof(name), "%s of policy 0", all[i].name);
		attack(scene, name, operation, 0, shard->id, scene->key, STATUS_STALE_MAP);
		snprintf(name, sizeof(name), "%s of a shard that never was", all[i].name);
		attack(scene, name, operation, home, UINT64_MAX, scene->key, STATUS_STALE_MAP);
	}
	attack(scene, "an empty key", OPERATION_PUT, other, foreign->id, bytes_text(""), STATUS_INVALID);
	/* A key of the open policy on a shard that its hash does not belong to. */
	for (uint32_t i = 0; i < scene->map->shard_count; i++) {
		const struct map_shard *wrong = &scene->map->shards[i];
		struct bytes key = bytes_text("zzz");
		if (wrong->policy != other || wrong == map_shard_of(scene->map, other, key))
			continue;
		attack(scene, "a key that does not hash to the shard", OPERATION_PUT, other, wrong->id, key,
			STATUS_STALE_MAP);
		break;
	}
	/* The open policy's shards hold nothing of home's, whatever the prefix. */
	for (uint32_t i = 0; i < scene->map->shard_count; i++) {
		const struct map_shard *at = &scene->map->shards[i];
		if (at->policy != other)
			continue;
		attack(scene, "a scan of an open shard with home's key as prefix", OPERATION_SCAN, other, at->id,
			scene->key, STATUS_OK);
		attack(scene, "a scan of everything in an open shard", OPERATION_SCAN, other, at->id, bytes_text(""),
			STATUS_OK);
	}
}

/* A change of every kind, as well formed as one can make it. */
static void attack_change(struct scene *scene, uint8_t kind, const char *verb)
{
	static uint8_t body[1 << 16];
	struct change change = { .kind = kind };
	const struct map_shard *shard = any_shard(scene->map, scene->home->id);
	struct message ask = { .kind = MESSAGE_ADMIN }, reply;
	struct packer packer;
	char name[96];
	change.shard = shard->id;
	change.generation = shard->generation + 1;
	change.target_node = scene->map->nodes[0].id;
	change.replica_count = 1;
	change.replicas[0] = shard->replicas[0];
	change.node = scene->map->nodes[0];
	change.region = scene->map->regions[0];
	if (kind == CHANGE_APPLY) {
		change.policy_count = 1;
		change.policies = (struct policy *)(uintptr_t)scene->other;
	}
	struct change_binding binding = { .prefix_size = 0 };
	snprintf(binding.policy, sizeof(binding.policy), "%s", scene->other->name);
	if (kind == CHANGE_BINDING_SET || kind == CHANGE_BINDING_UNSET) {
		change.binding_count = 1;
		change.bindings = &binding;
	}
	pack_init(&packer, body, sizeof(body));
	change_encode(&change, &packer);
	assert(!packer.overflow);
	ask.admin.verb = bytes_text(verb);
	ask.admin.body = bytes_of(body, packer.size);
	snprintf(name, sizeof(name), "%s of kind %u", verb, kind);
	if (!line_ask(&scene->line, &ask, &reply)) {
		tally(false, name, "no answer: %s", scene->line.why);
		return;
	}
	tally(reply.reply.status == STATUS_DENIED, name, "%s: %.*s", status_name((enum status)reply.reply.status),
		(int)reply.reply.detail.size, (const char *)reply.reply.detail.data);
}

static void attack_admin(struct scene *scene)
{
	struct message ask = { .kind = MESSAGE_ADMIN }, reply;
	for (uint8_t kind = CHANGE_INIT; kind <= CHANGE_KIND_LAST; kind++)
		attack_change(scene, kind, "change");
	attack_change(scene, CHANGE_INIT, "cluster.init");
	ask.admin.verb = bytes_text("shard.export");
	bool asked = line_ask(&scene->line, &ask, &reply);
	tally(asked && reply.reply.status == STATUS_INVALID, "a verb that there is not", "refused");
	ask.admin.verb = bytes_text("node.status");
	asked = line_ask(&scene->line, &ask, &reply);
	tally(asked && reply.reply.status == STATUS_OK && !holds(reply.reply.detail, scene->value) &&
			!holds(reply.reply.detail, scene->key.data),
		"the node's status holds no key and no value", "%zu bytes", reply.reply.detail.size);
	struct message join = { .kind = MESSAGE_JOIN };
	join.join.place = bytes_text(scene->map->nodes[0].place.text);
	join.join.incarnation = 1;
	asked = line_ask(&scene->line, &join, &reply);
	tally(asked && reply.reply.status == STATUS_DENIED, "a client that joins", "%.*s", (int)reply.reply.detail.size,
		(const char *)reply.reply.detail.data);
}

static void attack_map(struct scene *scene)
{
	struct message ask = { .kind = MESSAGE_MAP_REQUEST }, reply;
	bool asked = line_ask(&scene->line, &ask, &reply) && reply.kind == MESSAGE_MAP_REPLY;
	tally(asked && !holds(reply.map_reply.map, scene->value) && !holds(reply.map_reply.map, scene->key.data),
		"the map holds no key and no value", "%zu bytes", reply.map_reply.map.size);
}

int attack_requests(const char *address, const struct thief *thief, const char *claim, const char *home,
	const char *key, const char *value)
{
	struct scene scene = { .key = bytes_text(key), .value = value };
	if (!open_client(&scene.line, address, thief, claim) || !(scene.map = line_map(&scene.line))) {
		tally(false, "the clients' protocol", "no map: %s", scene.line.why);
		return tally_end();
	}
	uint64_t epoch = scene.map->epoch;
	scene.home = map_policy_by_name(scene.map, home);
	scene.other = map_policy_by_name(scene.map, "default");
	assert(scene.home);
	assert(scene.other);
	attack_data(&scene);
	attack_admin(&scene);
	attack_map(&scene);
	struct cluster_map *after = line_map(&scene.line);
	tally(after && after->epoch == epoch, "nothing has changed", "epoch %llu", (unsigned long long)epoch);
	free(after);
	free(scene.map);
	line_close(&scene.line);
	return tally_end();
}

/* --- a node's certificate on the clients' protocol -------------------------------------------------------------- */

int attack_as_node(const char *address, const struct thief *thief)
{
	struct line line;
	struct message ask = { .kind = MESSAGE_REQUEST }, reply;
	struct cluster_map *map;
	if (!open_client(&line, address, thief, "") || !(map = line_map(&line))) {
		tally(false, "a node on the clients' protocol", "no map: %s", line.why);
		return tally_end();
	}
	for (uint8_t operation = OPERATION_GET; operation <= OPERATION_SCAN; operation++) {
		ask.ask = (struct message_request){ .operation = operation,
			.level = READ_STRONG,
			.policy = map->policies[0].id,
			.shard = any_shard(map, map->policies[0].id)->id,
			.limit = 1000,
			.key = bytes_text("a") };
		bool asked = line_ask(&line, &ask, &reply);
		tally(asked && reply.reply.status == STATUS_DENIED && reply.reply.row_count == 0,
			"a node's certificate on data", "operation %u: %.*s", operation, (int)reply.reply.detail.size,
			(const char *)reply.reply.detail.data);
	}
	struct scene scene = { .line = line, .map = map, .home = &map->policies[0], .other = &map->policies[0] };
	for (uint8_t kind = CHANGE_INIT; kind <= CHANGE_KIND_LAST; kind++)
		attack_change(&scene, kind, "change");
	line = scene.line;
	/* Its own place, another incarnation: as a copy of its directory, or a thief who starts afresh, would. */
	uint8_t addresses[1024];
	struct packer packer;
	struct message join = { .kind = MESSAGE_JOIN };
	pack_init(&packer, addresses, sizeof(addresses));
	address_list_encode(&map->nodes[0].addresses, &packer);
	assert(!packer.overflow);
	join.join =
		(struct message_join){ bytes_text(map->nodes[0].place.text), 0xbad, bytes_of(addresses, packer.size) };
	bool asked = line_ask(&line, &join, &reply);
	tally(asked && reply.reply.status == STATUS_CONFLICT, "JOIN for a place that is taken", "%.*s",
		(int)reply.reply.detail.size, (const char *)reply.reply.detail.data);
	struct cluster_map *after = line_map(&line);
	tally(after && after->epoch == map->epoch, "nothing has changed", "epoch %llu", (unsigned long long)map->epoch);
	free(after);
	free(map);
	line_close(&line);
	return tally_end();
}

/* --- an administrator's certificate ------------------------------------------------------------------------------ */

/* No ambient authority: who may change every rule may read and write nothing, not even where all may. */
int attack_as_admin(const char *address, const struct thief *thief, const char *key, const char *value)
{
	struct scene scene = { .key = bytes_text(key), .value = value };
	if (!open_client(&scene.line, address, thief, "") || !(scene.map = line_map(&scene.line))) {
		tally(false, "the clients' protocol", "no map: %s", scene.line.why);
		return tally_end();
	}
	const struct map_binding *binding = map_binding_of(scene.map, scene.key);
	assert(binding);
	const struct map_shard *shard = map_shard_of(scene.map, binding->policy, scene.key);
	for (uint8_t operation = OPERATION_GET; operation <= OPERATION_SCAN; operation++) {
		attack(&scene, "an administrator on data", operation, binding->policy, shard->id, scene.key,
			STATUS_RESIDENCY_REFUSED);
		for (uint32_t i = 0; operation == OPERATION_SCAN && i < scene.map->shard_count; i++)
			attack(&scene, "an administrator who scans", operation, scene.map->shards[i].policy,
				scene.map->shards[i].id, bytes_text(""), STATUS_RESIDENCY_REFUSED);
	}
	free(scene.map);
	line_close(&scene.line);
	return tally_end();
}

/* A region with this authority, straight to the node: a tool may look first, an attacker does not. 0: it was taken. */
int attack_region(const char *address, const struct thief *thief, const char *place, const char *ca_file)
{
	static uint8_t body[1 << 14], pem[1 << 14];
	struct line line;
	struct change change = { .kind = CHANGE_REGION_ADD, .dry_run = true };
	struct message ask = { .kind = MESSAGE_ADMIN }, reply;
	struct packer packer;
	const char *why;
	size_t size = 0;
	FILE *file = fopen(ca_file, "re");
	assert(file);
	size_t pem_size = fread(pem, 1, sizeof(pem), file);
	fclose(file);
	if (certificate_pem_to_der(
		    bytes_of(pem, pem_size), change.region.ca_der, sizeof(change.region.ca_der), &size) != STATUS_OK ||
		!place_parse(place, &change.region.site.place, &why)) {
		printf("no certificate or no place\n");
		return 2;
	}
	change.region.ca_size = (uint32_t)size;
	snprintf(change.region.name, sizeof(change.region.name), "%s", strrchr(place, '/') + 1);
	pack_init(&packer, body, sizeof(body));
	change_encode(&change, &packer);
	assert(!packer.overflow);
	ask.admin.verb = bytes_text("change");
	ask.admin.body = bytes_of(body, packer.size);
	if (!open_client(&line, address, thief, "") || !line_ask(&line, &ask, &reply)) {
		printf("no answer: %s\n", line.why);
		return 2;
	}
	printf("%s: %.*s\n", status_name((enum status)reply.reply.status), (int)reply.reply.detail.size,
		(const char *)reply.reply.detail.data);
	int code = reply.reply.status == STATUS_OK ? 0 : 3;
	line_close(&line);
	return code;
}
