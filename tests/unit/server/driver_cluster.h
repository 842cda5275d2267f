/* tests/unit/server/driver_cluster.h: nodes in one process for the driver's tests: real journals and engines in a
 * directory of their own, a network that loses nothing unless told to (messages pass through the codec), time that
 * advances when nothing else can happen. Each node may hold a replica of one shard and one of meta. */
#ifndef DOMICILE_TESTS_UNIT_SERVER_DRIVER_CLUSTER_H
#define DOMICILE_TESTS_UNIT_SERVER_DRIVER_CLUSTER_H

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/text.h"
#include "policy/quorum.h"
#include "server/group_driver.h"
#include "server/node.h"
#include "storage/disk.h"
#include "wire/codec.h"

enum { NODES = 4, SHARD_GROUP = 7, TOKENS_MAX = 4096, STEPS_MAX = 200000 };
enum { SLOT_SHARD, SLOT_META, SLOTS };

struct cluster;
struct answer {
	bool done;
	struct driver_outcome outcome;
	struct meta_result meta;
};
struct test_node {
	struct cluster *cluster;
	uint64_t id;
	bool up, cut; /* cut: no message comes in or goes out */
	char dir[256], journal_dir[300];
	uint64_t boot;
	struct journal *journal;
	struct engine_shared *engines;
	struct liveness *liveness;
	struct cluster_map *map;
	struct driver *drivers[SLOTS];
	uint64_t flush_wanted, fences_seen, maps_seen;
	enum status fatal;
	uint64_t corrupt_index; /* of the shard: fed as lost at the next start; 0: none */
	bool corrupt_term_known;
};
struct packet {
	uint64_t from, to;
	struct buffer *bytes;
};
struct cluster {
	char dir[200];
	struct test_node nodes[NODES + 1]; /* by id */
	struct node_time time;
	struct packet *packets;
	size_t begin, end, capacity;
	struct answer answers[TOKENS_MAX];
	uint64_t token, chunks_sent, repairs_sent, retries_sent;
	struct driver_owner owners[NODES + 1];
	uint64_t unanswered; /* the node that hears no answer to its appends; 0: none */
};

static struct group_effects test_effects;
static struct liveness_effects test_liveness_effects;
static struct codec_scratch test_scratch_in, test_scratch_out;

static inline uint64_t replica_of(uint64_t node, unsigned slot)
{
	return node * 10 + slot;
}

/* --- network -------------------------------------------------------------------------------------- */

static inline void cluster_post(struct cluster *cluster, uint64_t from, uint64_t to, const struct message *message)
{
	if (to > NODES || cluster->nodes[from].cut || cluster->nodes[to].cut || !cluster->nodes[to].up)
		return;
	if (to == cluster->unanswered && message->kind == MESSAGE_APPEND_REPLY)
		return;
	struct packer packer;
	pack_init(&packer, NULL, 0);
	message_encode(message, &packer);
	struct buffer *bytes = buffer_new(packer.size);
	pack_init(&packer, bytes->data, bytes->size);
	message_encode(message, &packer);
	assert_false(packer.overflow);
	if (cluster->end == cluster->capacity) {
		cluster->capacity = cluster->capacity ? 2 * cluster->capacity : 1024;
		cluster->packets = realloc(cluster->packets, cluster->capacity * sizeof(struct packet));
		assert_non_null(cluster->packets);
	}
	cluster->packets[cluster->end++] = (struct packet){ from, to, bytes };
	cluster->chunks_sent += message->kind == MESSAGE_SNAPSHOT_CHUNK;
	cluster->repairs_sent += message->kind == MESSAGE_REPAIR;
	const struct message_append *append = &message->append;
	for (uint64_t i = 0;
		message->kind == MESSAGE_APPEND && message->group != META_GROUP && append->first + i <= append->last;
		i++) {
		struct command command;
		if (append->entries[i].kind != ENTRY_COMMAND)
			continue;
		assert_int_equal(command_decode(append->bodies[i], &command), STATUS_OK);
		cluster->retries_sent += command.retry;
	}
}

static inline struct driver *node_driver(struct test_node *node, uint64_t group)
{
	return group == META_GROUP ? node->drivers[SLOT_META] : node->drivers[SLOT_SHARD];
}

static inline void node_liveness(struct test_node *node)
{
	struct liveness_effects *effects = &test_liveness_effects;
	for (uint32_t i = 0; i < effects->count; i++) {
		const struct liveness_effect *effect = &effects->at[i];
		if (effect->kind == LIVENESS_SEND) {
			cluster_post(node->cluster, node->id, effect->node, &effect->message);
			continue;
		}
		for (unsigned slot = 0; slot < SLOTS; slot++)
			if (node->drivers[slot])
				driver_peer(node->drivers[slot], effect->node, effect->change, node->cluster->time);
	}
}

static inline void node_deliver(struct test_node *node, const struct packet *packet)
{
	struct cluster *cluster = node->cluster;
	struct message message;
	assert_int_equal(message_decode(buffer_bytes(packet->bytes), &test_scratch_in, &message), STATUS_OK);
	if (message.kind == MESSAGE_PING || message.kind == MESSAGE_PONG) {
		test_liveness_effects.count = 0;
		liveness_received(
			node->liveness, packet->from, &message, cluster->time.now_ns, 0, &test_liveness_effects);
		node_liveness(node);
		return;
	}
	struct driver *driver = node_driver(node, message.group);
	if (driver && message.kind == MESSAGE_FORWARD)
		driver_received_forward(driver, packet->from, &message, false, cluster->time);
	else if (driver)
		driver_received(driver, packet->from, &message, cluster->time);
}

/* --- what drivers call ---------------------------------------------------------------------------- */

static inline void on_send(void *arg, struct driver *driver, uint64_t to, const struct message *message)
{
	struct test_node *node = arg;
	assert_int_equal(message->from, driver_replica_id(driver));
	cluster_post(node->cluster, node->id, to, message);
}

static inline void on_proposed(void *arg, struct driver *driver, uint64_t token, const struct driver_outcome *outcome)
{
	struct test_node *node = arg;
	(void)driver;
	assert_true(token < TOKENS_MAX);
	struct answer *answer = &node->cluster->answers[token];
	assert_false(answer->done); /* exactly once */
	answer->done = true;
	answer->outcome = *outcome;
	if (outcome->meta)
		answer->meta = *outcome->meta;
	answer->outcome.meta = NULL;
}

static inline void on_readable(void *arg, struct driver *driver, uint64_t token, enum status status, uint64_t leader)
{
	struct driver_outcome outcome = { .status = status, .leader = leader, .index = driver_applied(driver) };
	on_proposed(arg, driver, token, &outcome);
}

static inline void on_role_changed(void *arg, struct driver *driver)
{
	(void)arg;
	(void)driver;
}

static inline void on_membership_changed(void *arg, struct driver *driver, bool committed)
{
	(void)arg;
	(void)driver;
	(void)committed;
}

static inline void on_map_changed(void *arg, struct driver *driver)
{
	struct test_node *node = arg;
	(void)driver;
	node->maps_seen++;
}

static inline void on_fenced(void *arg, struct driver *driver, const struct command *fence)
{
	struct test_node *node = arg;
	(void)driver;
	node->fences_seen += fence->kind == COMMAND_FENCE;
}

static inline void on_flush_wanted(void *arg)
{
	struct test_node *node = arg;
	node->flush_wanted++;
}

static inline void on_fatal(void *arg, struct driver *driver, enum status status, const char *what)
{
	struct test_node *node = arg;
	(void)driver;
	(void)what;
	node->fatal = status;
}

static inline void on_watch(void *arg, uint64_t peer, bool watch)
{
	struct test_node *node = arg;
	if (watch)
		assert_true(liveness_watch(node->liveness, peer, node->cluster->time.now_ns));
	else
		liveness_unwatch(node->liveness, peer);
}

/* --- nodes ---------------------------------------------------------------------------------------- */

static inline struct driver_options node_options_of(struct test_node *node, uint64_t group, uint64_t replica)
{
	return (struct driver_options){ .group = group,
		.replica = replica,
		.node = node->id,
		.seed = node->boot * 1000 + node->id,
		.liveness = node->liveness,
		.journal = node->journal,
		.engines = node->engines,
		.map = group == SHARD_GROUP ? NULL : node->map,
		.owner = &node->cluster->owners[node->id],
		.election_us = 200000,
		.retransmit_us = 100000,
		.drift_ppm = 10000,
		.inflight_max = 1024,
		.tail_size_max = 8 << 20,
		.effects = &test_effects,
		.scratch = &test_scratch_out,
		.hash_secret = { 1, 2, 3, 4, 5 } };
}

static inline bool found_engine(void *arg, uint64_t replica)
{
	struct test_node *node = arg;
	struct driver_options options = node_options_of(node, 0, replica);
	struct driver *driver = NULL;
	assert_int_equal(driver_open(&options, &driver), STATUS_OK);
	node->drivers[driver_group_id(driver) == META_GROUP ? SLOT_META : SLOT_SHARD] = driver;
	return true;
}

static inline void recover_state(void *arg, uint64_t group, uint64_t term, uint64_t vote)
{
	if (node_driver(arg, group))
		driver_recovered_state(node_driver(arg, group), term, vote);
}

static inline void recover_entry(void *arg, const struct journal_entry *entry)
{
	struct test_node *node = arg;
	struct driver *driver = node_driver(node, entry->group);
	if (!driver)
		return;
	if (entry->group == SHARD_GROUP && entry->index == node->corrupt_index)
		driver_recovered_corrupt(driver, entry->index, node->corrupt_term_known ? entry->term : 0);
	else
		driver_recovered_entry(driver, entry);
}

static inline void recover_cut(void *arg, uint64_t group, uint64_t from)
{
	if (node_driver(arg, group))
		driver_recovered_cut(node_driver(arg, group), from);
}

static inline void recover_reset(void *arg, uint64_t group, uint64_t index, uint64_t term)
{
	if (node_driver(arg, group))
		driver_recovered_reset(node_driver(arg, group), index, term);
}

static inline void recover_corrupt(void *arg, uint64_t group, uint64_t index, uint64_t term)
{
	assert_non_null(node_driver(arg, group));
	driver_recovered_corrupt(node_driver(arg, group), index, term);
}

/* Opens what is in the node's directory; with_drivers: and starts what was found. */
static inline void node_open_storage(struct test_node *node)
{
	struct cluster *cluster = node->cluster;
	node->boot++;
	node->fatal = STATUS_OK;
	struct liveness_config config = { .node = node->id,
		.boot = node->boot,
		.seed = node->boot * 100 + node->id,
		.started_ns = cluster->time.now_ns,
		.heartbeat_us = 50000,
		.support_us = 300000,
		.support_max_us = 300000,
		.drift_ppm = 10000,
		.fresh = node->boot == 1 };
	node->liveness = liveness_init(calloc(1, liveness_size()), &config);
	node->map = cluster_map_init(calloc(1, cluster_map_size(&map_limits_default)), &map_limits_default);
	struct engine_options engines = { .dir = node->dir, .cache_size = 4 << 20, .write_buffer_budget = 16 << 20 };
	assert_int_equal(engine_shared_open(&engines, &node->engines), STATUS_OK);
	assert_int_equal(engine_list(node->engines, found_engine, node), STATUS_OK);
	struct journal_options options = { .dir = node->journal_dir, .incarnation = node->id, .segment_size = 4 << 20 };
	struct journal_recovery recovery = { .arg = node,
		.state = recover_state,
		.entry = recover_entry,
		.cut = recover_cut,
		.reset = recover_reset,
		.corrupt = recover_corrupt };
	assert_int_equal(journal_open(&options, &recovery, &node->journal), STATUS_OK);
	node->up = true;
}

static inline void node_start(struct test_node *node)
{
	node_open_storage(node);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (!node->drivers[slot])
			continue;
		driver_set_journal(node->drivers[slot], node->journal);
		assert_int_equal(driver_started(node->drivers[slot], node->cluster->time), STATUS_OK);
	}
}

static inline void shell(const char *text, const struct test_node *node)
{
	char command[1400];
	int size = snprintf(command, sizeof(command), text, node->dir, node->dir, node->dir);
	assert_true(size > 0 && (size_t)size < sizeof(command));
	assert_int_equal(system(command), 0);
}

/* A background thread may just be deleting a file: then once more. */
static inline void copy_live(const struct test_node *node)
{
	char command[1400];
	int size = snprintf(command, sizeof(command),
		"cd '%s' && [ -d shards ] || exit 0; for i in 1 2 3 4 5 6 7 8 9; do rm -rf crashed; "
		"cp -a shards crashed 2>/dev/null && exit 0; sleep 0.01; done; exit 1",
		node->dir);
	assert_true(size > 0 && (size_t)size < sizeof(command));
	assert_int_equal(system(command), 0);
}

/* flush: an orderly end. Otherwise what a crash leaves: the engines' files as they are before the engines are closed (a
 * close may flush), and of the journal what was synced. */
static inline void node_stop(struct test_node *node, bool flush)
{
	node->up = false;
	if (!flush)
		copy_live(node);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (node->drivers[slot] && flush)
			driver_close(node->drivers[slot]);
		else if (node->drivers[slot])
			driver_abandon(node->drivers[slot]);
		node->drivers[slot] = NULL;
	}
	journal_close(node->journal);
	engine_shared_close(node->engines);
	if (!flush)
		shell("if [ -d '%s/crashed' ]; then rm -rf '%s/shards' && cd '%s' && mv crashed shards; fi", node);
	free(node->liveness);
	free(node->map);
	node->journal = NULL;
	node->engines = NULL;
}

static inline bool node_flush_journal(struct test_node *node)
{
	struct journal_flush *flush = NULL;
	if (!journal_flush_begin(node->journal, &flush))
		return false;
	enum status status = journal_flush_run(flush);
	uint64_t ticket = 0;
	assert_int_equal(journal_flush_end(node->journal, flush, status, &ticket), STATUS_OK);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (node->drivers[slot])
			driver_durable(node->drivers[slot], ticket, node->cluster->time);
	return true;
}

static inline bool node_turn(struct test_node *node)
{
	bool did = false;
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct driver *driver = node->drivers[slot];
		if (!driver || node->fatal != STATUS_OK)
			continue;
		while (node->fatal == STATUS_OK && driver_needs_turn(driver)) {
			uint64_t applied = driver_applied(driver);
			driver_turn(driver, node->cluster->time);
			/* However much there is: the loop of a node looks after others in between. */
			assert_true(driver_applied(driver) <= applied + 1024);
			did = true;
		}
		driver_check(driver);
	}
	return did;
}

/* --- the cluster ---------------------------------------------------------------------------------- */

static inline void cluster_open(struct cluster *cluster)
{
	memset(cluster, 0, sizeof(*cluster));
	const char *tmp = getenv("TMPDIR");
	snprintf(cluster->dir, sizeof(cluster->dir), "%s/driver-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(cluster->dir));
	cluster->time = (struct node_time){ 1000000000, 1700000000000000 };
	for (uint64_t id = 1; id <= NODES; id++) {
		struct test_node *node = &cluster->nodes[id];
		node->cluster = cluster;
		node->id = id;
		struct text path;
		text_init(&path, node->dir, sizeof(node->dir));
		text_add(&path, cluster->dir);
		text_add(&path, "/n");
		text_add_u64(&path, id);
		text_init(&path, node->journal_dir, sizeof(node->journal_dir));
		text_add(&path, node->dir);
		text_add(&path, "/journal");
		assert_int_equal(disk_make_dir(node->dir), STATUS_OK);
		cluster->owners[id] = (struct driver_owner){ .arg = node,
			.send = on_send,
			.proposed = on_proposed,
			.readable = on_readable,
			.role_changed = on_role_changed,
			.membership_changed = on_membership_changed,
			.map_changed = on_map_changed,
			.fenced = on_fenced,
			.flush_wanted = on_flush_wanted,
			.fatal = on_fatal,
			.watch = on_watch };
		node_start(node);
	}
}

static inline void packets_drop(struct cluster *cluster)
{
	while (cluster->begin < cluster->end)
		buffer_unref(cluster->packets[cluster->begin++].bytes);
	cluster->begin = cluster->end = 0;
}

static inline void cluster_close(struct cluster *cluster)
{
	for (uint64_t id = 1; id <= NODES; id++)
		if (cluster->nodes[id].up)
			node_stop(&cluster->nodes[id], true);
	packets_drop(cluster);
	free(cluster->packets);
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", cluster->dir);
	assert_int_equal(system(command), 0);
}

static inline struct membership membership_of(unsigned slot, const uint64_t *nodes, unsigned count)
{
	struct membership membership = { .count = (uint8_t)count };
	for (unsigned i = 0; i < count; i++)
		membership.at[i] = (struct member){ .replica = replica_of(nodes[i], slot),
			.node = nodes[i],
			.role_new = ROLE_VOTER,
			.region = (uint8_t)nodes[i],
			.zone = (uint8_t)nodes[i] };
	return membership;
}

static inline void node_create_as(
	struct test_node *node, unsigned slot, uint64_t replica, const struct membership *membership)
{
	struct driver_options options = node_options_of(node, slot == SLOT_META ? META_GROUP : SHARD_GROUP, replica);
	assert_int_equal(driver_create(&options, membership, node->cluster->time, &node->drivers[slot]), STATUS_OK);
}

/* membership NULL: a replica that joins later. */
static inline void node_create(struct test_node *node, unsigned slot, const struct membership *membership)
{
	node_create_as(node, slot, replica_of(node->id, slot), membership);
}

static inline uint64_t cluster_next_ns(const struct cluster *cluster)
{
	uint64_t next = UINT64_MAX;
	for (uint64_t id = 1; id <= NODES; id++) {
		const struct test_node *node = &cluster->nodes[id];
		if (!node->up)
			continue;
		uint64_t at = liveness_deadline(node->liveness);
		next = at < next ? at : next;
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			at = node->drivers[slot] ? driver_deadline(node->drivers[slot]) : UINT64_MAX;
			next = at < next ? at : next;
		}
	}
	return next;
}

static inline void node_expire(struct test_node *node)
{
	struct cluster *cluster = node->cluster;
	if (liveness_deadline(node->liveness) <= cluster->time.now_ns) {
		test_liveness_effects.count = 0;
		liveness_expired(node->liveness, cluster->time.now_ns, 0, &test_liveness_effects);
		node_liveness(node);
	}
	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (node->drivers[slot] && driver_deadline(node->drivers[slot]) <= cluster->time.now_ns)
			driver_expired(node->drivers[slot], cluster->time);
}

/* One round: everything that can happen now; else time passes to the next deadline. False: nothing will ever happen. */
static inline bool cluster_step(struct cluster *cluster)
{
	bool did = false;
	for (uint64_t id = 1; id <= NODES; id++) {
		if (!cluster->nodes[id].up)
			continue;
		did = node_turn(&cluster->nodes[id]) || did;
		did = node_flush_journal(&cluster->nodes[id]) || did;
	}
	for (size_t count = cluster->end - cluster->begin; count > 0; count--) {
		struct packet packet = cluster->packets[cluster->begin++];
		struct test_node *to = &cluster->nodes[packet.to];
		if (to->up && !to->cut && !cluster->nodes[packet.from].cut)
			node_deliver(to, &packet);
		buffer_unref(packet.bytes);
		did = true;
	}
	if (cluster->begin == cluster->end)
		cluster->begin = cluster->end = 0;
	if (did) {
		cluster->time.now_ns += 100000; /* a round takes 0.1 ms */
		cluster->time.wall_us += 100;
		return true;
	}
	uint64_t next = cluster_next_ns(cluster);
	if (next == UINT64_MAX)
		return false;
	if (next > cluster->time.now_ns) {
		cluster->time.wall_us += (next - cluster->time.now_ns) / 1000;
		cluster->time.now_ns = next;
	}
	for (uint64_t id = 1; id <= NODES; id++)
		if (cluster->nodes[id].up)
			node_expire(&cluster->nodes[id]);
	return true;
}

static inline void cluster_run(struct cluster *cluster, uint64_t ms)
{
	uint64_t end = cluster->time.now_ns + ms * 1000000;
	for (unsigned steps = 0; cluster->time.now_ns < end; steps++) {
		assert_true(steps < STEPS_MAX);
		if (!cluster_step(cluster))
			return;
	}
}

static inline uint64_t cluster_leader(struct cluster *cluster, unsigned slot)
{
	for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
		for (uint64_t id = 1; id <= NODES; id++) {
			struct test_node *node = &cluster->nodes[id];
			if (!node->up || node->cut || !node->drivers[slot] || !driver_leads(node->drivers[slot]))
				continue;
			struct group_status status =
				group_status(driver_group(node->drivers[slot]), cluster->time.now_ns);
			if (status.commit == status.last && driver_applied(node->drivers[slot]) == status.last &&
				status.lead_until_ns > cluster->time.now_ns)
				return id;
		}
		cluster_step(cluster);
	}
	fail_msg("nobody leads");
	return 0;
}

static inline uint64_t token_next(struct cluster *cluster)
{
	assert_true(cluster->token + 1 < TOKENS_MAX);
	return ++cluster->token;
}

static inline struct answer *await(struct cluster *cluster, uint64_t token)
{
	for (unsigned steps = 0; steps < STEPS_MAX && !cluster->answers[token].done; steps++)
		cluster_step(cluster);
	assert_true(cluster->answers[token].done);
	return &cluster->answers[token];
}

static inline uint64_t propose(struct cluster *cluster, uint64_t node, const struct command *command)
{
	uint64_t token = token_next(cluster);
	driver_propose(cluster->nodes[node].drivers[SLOT_SHARD], command, hash64(command->key), token, cluster->time);
	return token;
}

/* Through whoever leads, until it is taken. */
static inline struct driver_outcome commit(struct cluster *cluster, const struct command *command)
{
	for (unsigned tries = 0; tries < 50; tries++) {
		uint64_t token = propose(cluster, cluster_leader(cluster, SLOT_SHARD), command);
		struct answer *answer = await(cluster, token);
		if (answer->outcome.status != STATUS_NOT_LEADER && answer->outcome.status != STATUS_BUSY)
			return answer->outcome;
		cluster_run(cluster, 50);
	}
	fail_msg("never taken");
	return (struct driver_outcome){ 0 };
}

static inline struct command put(const char *key, const char *value)
{
	return (struct command){ .kind = COMMAND_PUT, .key = bytes_text(key), .value = bytes_text(value) };
}

static inline struct command by(struct command command, uint64_t client, uint64_t sequence, bool retry)
{
	command.client = client;
	command.sequence = sequence;
	command.low_water = 1;
	command.retry = retry;
	return command;
}

/* What a node's engine has under the key, by a strong read first; "" and version 0: nothing. */
static inline uint64_t read_at(struct cluster *cluster, uint64_t node, const char *key, char *value, size_t capacity)
{
	struct driver *driver = cluster->nodes[node].drivers[SLOT_SHARD];
	struct answer *answer = NULL;
	for (unsigned tries = 0; tries < 50 && (!answer || answer->outcome.status != STATUS_OK); tries++) {
		uint64_t token = token_next(cluster);
		driver_read(driver, token, cluster->time);
		answer = await(cluster, token);
		if (answer->outcome.status != STATUS_OK)
			cluster_run(cluster, 50);
	}
	assert_int_equal(answer->outcome.status, STATUS_OK);
	struct buffer *row = NULL;
	value[0] = 0;
	enum status status = engine_get(driver_engine(driver), ENGINE_SPACE_KEYS, bytes_text(key), &row);
	if (status == STATUS_NOT_FOUND)
		return 0;
	assert_int_equal(status, STATUS_OK);
	struct stored_value stored;
	assert_int_equal(stored_value_decode(buffer_bytes(row), &stored), STATUS_OK);
	assert_true(stored.value.size < capacity);
	if (stored.value.size > 0)
		memcpy(value, stored.value.data, stored.value.size);
	value[stored.value.size] = 0;
	buffer_unref(row);
	return stored.version;
}

/* Every replica comes to the same applied index and the same digest. */
static inline void assert_converged(struct cluster *cluster, unsigned slot)
{
	uint64_t leader = cluster_leader(cluster, slot);
	for (unsigned tries = 0; tries < 200; tries++) {
		uint64_t applied = driver_applied(cluster->nodes[leader].drivers[slot]);
		bool same = true;
		for (uint64_t id = 1; id <= NODES; id++) {
			struct test_node *node = &cluster->nodes[id];
			if (node->up && node->drivers[slot])
				same = same && driver_applied(node->drivers[slot]) == applied;
		}
		if (same)
			break;
		cluster_run(cluster, 20);
	}
	uint64_t applied = driver_applied(cluster->nodes[leader].drivers[slot]);
	uint64_t digest = driver_digest(cluster->nodes[leader].drivers[slot]);
	for (uint64_t id = 1; id <= NODES; id++) {
		struct test_node *node = &cluster->nodes[id];
		if (!node->up || !node->drivers[slot])
			continue;
		assert_int_equal(driver_applied(node->drivers[slot]), applied);
		assert_int_equal(driver_digest(node->drivers[slot]), digest);
		assert_int_equal(node->fatal, STATUS_OK);
	}
}

/* Nodes 1..3 with a replica each. */
static inline void cluster_of_three(struct cluster *cluster, unsigned slot)
{
	struct membership membership = membership_of(slot, (const uint64_t[]){ 1, 2, 3 }, 3);
	for (uint64_t id = 1; id <= 3; id++)
		node_create(&cluster->nodes[id], slot, &membership);
}

#endif
