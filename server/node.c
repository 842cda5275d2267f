/* server/node.c: a node's life and its dispatch. Every entry point ends with node_turn: drivers that gathered something
 * propose it, replicas that are to go are destroyed, the mover runs when something it looks at has changed. */
#include "server/node_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/codec.h"

static void node_turn(struct node *node);
static void host_members_watch(struct node *node, uint64_t peer, bool watch);

/* --- hosted replicas: a table by group ------------------------------------------------------------------------------
 */

static size_t table_slot(const struct node *node, uint64_t group)
{
	return (size_t)(hash64(bytes_of(&group, sizeof(group))) & (node->table_size - 1));
}

struct hosted *node_hosted(const struct node *node, uint64_t group)
{
	if (node->table_size == 0)
		return NULL;
	for (size_t i = table_slot(node, group);; i = (i + 1) & (node->table_size - 1)) {
		if (node->table[i] == NULL)
			return NULL;
		if (node->table[i]->group == group)
			return node->table[i];
	}
}

static bool table_grow(struct node *node)
{
	size_t size = node->table_size == 0 ? 64 : node->table_size * 2;
	struct hosted **table = calloc(size, sizeof(struct hosted *)), **old = node->table;
	struct heap_node **timers = calloc(size, sizeof(struct heap_node *));
	size_t old_size = node->table_size;

	if (table == NULL || timers == NULL) {
		free(table);
		free(timers);
		return false;
	}
	if (node->timers.count > 0)
		memcpy(timers, node->timer_nodes, node->timers.count * sizeof(struct heap_node *));
	free(node->timer_nodes);
	node->timer_nodes = timers;
	node->timers.nodes = timers;
	node->timers.capacity = size;
	node->table = table;
	node->table_size = size;
	for (size_t i = 0; i < old_size; i++) {
		if (old[i] == NULL)
			continue;
		size_t at = table_slot(node, old[i]->group);

		while (table[at] != NULL)
			at = (at + 1) & (size - 1);
		table[at] = old[i];
	}
	free(old);
	return true;
}

static bool table_insert(struct node *node, struct hosted *hosted)
{
	size_t at;

	if ((node->hosted_count + 1) * 2 > node->table_size && !table_grow(node))
		return false;
	at = table_slot(node, hosted->group);
	while (node->table[at] != NULL) {
		assert(node->table[at]->group != hosted->group);
		at = (at + 1) & (node->table_size - 1);
	}
	node->table[at] = hosted;
	node->hosted_count++;
	return true;
}

static void table_remove(struct node *node, struct hosted *hosted)
{
	size_t mask = node->table_size - 1, hole = table_slot(node, hosted->group);

	while (node->table[hole] != hosted)
		hole = (hole + 1) & mask;
	node->table[hole] = NULL;
	node->hosted_count--;
	/* Close the gap: whatever probed past the hole moves into it. */
	for (size_t i = (hole + 1) & mask; node->table[i] != NULL; i = (i + 1) & mask) {
		size_t home = table_slot(node, node->table[i]->group);

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			node->table[hole] = node->table[i];
			node->table[i] = NULL;
			hole = i;
		}
	}
}

/* --- pending requests: a slot table, tokens carry a generation ------------------------------------------------------
 */

struct pending *pending_take(struct node *node, enum pending_kind kind, uint64_t *token)
{
	uint32_t at = node->pending_free;
	struct pending *pending;

	if (at == 0 && node->pending_used == PENDING_MAX)
		return NULL;
	if (at == 0) {
		at = ++node->pending_used;
		node->pending[at - 1].generation = 1;
	}
	pending = &node->pending[at - 1];
	assert(pending->kind == PENDING_FREE);
	node->pending_free = pending->next_free;
	pending->kind = kind;
	node->pending_count++;
	*token = (uint64_t)pending->generation << 32 | at;
	return pending;
}

struct pending *pending_find(struct node *node, uint64_t token)
{
	uint32_t at = (uint32_t)token;
	struct pending *pending;

	if (at == 0 || at > PENDING_MAX)
		return NULL;
	pending = &node->pending[at - 1];
	return pending->kind != PENDING_FREE && pending->generation == token >> 32 ? pending : NULL;
}

void pending_release(struct node *node, struct pending *pending)
{
	uint32_t generation = pending->generation + 1;

	assert(pending->kind != PENDING_FREE);
	if (pending->key != NULL)
		buffer_unref(pending->key);
	if (pending->after != NULL)
		buffer_unref(pending->after);
	memset(pending, 0, sizeof(*pending));
	pending->generation = generation;
	pending->next_free = node->pending_free;
	node->pending_free = (uint32_t)(pending - node->pending) + 1;
	node->pending_count--;
}

/* --- what the drivers call ------------------------------------------------------------------------------------------
 */

static struct hosted *hosted_of(struct node *node, const struct driver *driver)
{
	struct hosted *hosted = node_hosted(node, driver_group_id(driver));

	return hosted;
}

static void on_send(void *arg, struct driver *driver, uint64_t to, const struct message *message)
{
	struct node *node = arg;
	struct hosted *hosted = hosted_of(node, driver);

	if (hosted != NULL && to != node->identity.node && residency_send(node, hosted, to, message))
		node->io.send(node->io.arg, to, message);
}

static void on_proposed(void *arg, struct driver *driver, uint64_t token, const struct driver_outcome *outcome)
{
	struct node *node = arg;
	struct hosted *hosted = hosted_of(node, driver);

	if (hosted != NULL)
		gateway_proposed(node, hosted, token, outcome);
}

static void on_readable(void *arg, struct driver *driver, uint64_t token, enum status status, uint64_t leader)
{
	struct node *node = arg;
	struct hosted *hosted = hosted_of(node, driver);

	if (hosted != NULL)
		gateway_readable(node, hosted, token, status, leader);
}

static void on_role_changed(void *arg, struct driver *driver)
{
	struct node *node = arg;

	(void)driver;
	node->mover_wanted = true;
}

static void on_membership_changed(void *arg, struct driver *driver, bool committed)
{
	struct node *node = arg;

	(void)driver;
	(void)committed;
	node->mover_wanted = true;
}

static void on_forwarded(void *arg, struct driver *driver, uint16_t origin)
{
	struct node *node = arg;
	struct hosted *hosted = hosted_of(node, driver);

	if (hosted != NULL)
		leading_forwarded(node, hosted, origin);
}

static void on_map_changed(void *arg, struct driver *driver)
{
	struct node *node = arg;

	(void)driver;
	node->mover_wanted = true;
}

static void on_fenced(void *arg, struct driver *driver, const struct command *fence)
{
	struct node *node = arg;
	struct hosted *hosted = hosted_of(node, driver);

	node->mover_wanted = true;
	if (hosted != NULL)
		mover_fenced(node, hosted, fence);
}

static void on_flush_wanted(void *arg)
{
	struct node *node = arg;

	node->io.flush_wanted(node->io.arg);
}

static void on_fatal(void *arg, struct driver *driver, enum status status, const char *what)
{
	struct node *node = arg;

	(void)driver;
	node->failed = true;
	node->io.fatal(node->io.arg, status, what);
}

static void on_watch(void *arg, uint64_t peer, bool watch)
{
	host_members_watch(arg, peer, watch);
}

/* A driver's job on a thread that may block. */
struct driver_job {
	struct node *node;
	uint64_t group;
	void (*job)(void *), (*done)(void *);
	void *arg;
};

static void driver_job_run(void *arg)
{
	struct driver_job *job = arg;

	job->job(job->arg);
}

static void driver_job_done(void *arg)
{
	struct driver_job *job = arg;
	struct node *node = job->node;
	struct hosted *hosted = node_hosted(node, job->group);

	assert(hosted != NULL); /* a replica with a job under way is not removed */
	assert(hosted->reading > 0);
	hosted->reading--;
	job->done(job->arg);
	free(job);
	node_touch(node, hosted);
	node->io.flush_wanted(node->io.arg); /* whoever owns the loop looks at the deadline anew */
}

static void on_block(void *arg, struct driver *driver, void (*run)(void *), void (*done)(void *), void *job_arg)
{
	struct node *node = arg;
	struct hosted *hosted = node_hosted(node, driver_group_id(driver));
	struct driver_job *job = NULL;

	if (hosted != NULL && node->io.block != NULL)
		job = calloc(1, sizeof(*job));
	if (job == NULL) {
		run(job_arg);
		done(job_arg);
		return;
	}
	*job = (struct driver_job){ node, hosted->group, run, done, job_arg };
	hosted->reading++;
	node->io.block(node->io.arg, driver_job_run, driver_job_done, job);
}

static void host_members_watch(struct node *node, uint64_t peer, bool watch)
{
	if (peer == node->identity.node)
		return;
	if (watch) {
		if (!liveness_watch(node->liveness, peer, node->time.now_ns))
			log_warn("too many peers to watch", LOG_U("peer", peer));
	} else {
		liveness_unwatch(node->liveness, peer);
	}
}

static const struct driver_owner driver_callbacks = {
	.send = on_send,
	.proposed = on_proposed,
	.readable = on_readable,
	.role_changed = on_role_changed,
	.membership_changed = on_membership_changed,
	.map_changed = on_map_changed,
	.fenced = on_fenced,
	.forwarded = on_forwarded,
	.flush_wanted = on_flush_wanted,
	.fatal = on_fatal,
	.watch = on_watch,
	.block = on_block,
};

static void driver_options_of(struct node *node, uint64_t group, uint64_t replica, struct driver_options *options)
{
	uint64_t support_us = node->options.support_us;

	memset(options, 0, sizeof(*options));
	options->group = group;
	options->replica = replica;
	options->node = node->identity.node;
	options->seed = node->boot ^ hash64(bytes_of(&group, sizeof(group)));
	options->liveness = node->liveness;
	options->journal = node->journal;
	options->engines = node->engines;
	options->map = group == META_GROUP ? node->map : NULL;
	options->owner = &node->owner;
	options->election_us = support_us / 4;
	options->retransmit_us = support_us / 3;
	options->drift_ppm = node->options.drift_ppm;
	options->inflight_max = 16384;
	options->tail_size_max = node->options.memory_size / 16;
	options->effects = node->effects;
	options->scratch = node->scratch;
	memcpy(options->hash_secret, node_map_in_force(node)->hash_secret, sizeof(options->hash_secret));
}

/* --- hosting --------------------------------------------------------------------------------------------------------
 */

static struct hosted *hosted_new(struct node *node, uint64_t group, uint64_t policy, struct driver *driver)
{
	struct hosted *hosted = calloc(1, sizeof(*hosted));

	if (hosted == NULL)
		return NULL;
	hosted->driver = driver;
	hosted->group = group;
	hosted->policy = policy;
	list_init(&hosted->turns);
	if (!table_insert(node, hosted)) {
		free(hosted);
		return NULL;
	}
	if (group == META_GROUP)
		node->meta = hosted;
	return hosted;
}

void node_touch(struct node *node, struct hosted *hosted)
{
	uint64_t deadline = driver_deadline(hosted->driver);

	if (heap_node_queued(&hosted->timer)) {
		if (deadline == UINT64_MAX)
			heap_remove(&node->timers, &hosted->timer);
		else if (hosted->timer.key != deadline)
			heap_update(&node->timers, &hosted->timer, deadline);
	} else if (deadline != UINT64_MAX) {
		bool queued = heap_insert(&node->timers, &hosted->timer, deadline);

		assert(queued); /* the heap grows with the table */
	}
	if (driver_needs_turn(hosted->driver) && !hosted->queued) {
		hosted->queued = true;
		list_push_back(&node->turns, &hosted->turns);
	}
}

enum status node_host(
	struct node *node, uint64_t group, uint64_t replica, uint64_t policy, const struct membership *birth)
{
	struct driver_options options;
	struct driver *driver;
	struct hosted *hosted;
	enum status status;

	driver_options_of(node, group, replica, &options);
	status = driver_create(&options, birth, node->time, &driver);
	if (status != STATUS_OK)
		return status;
	hosted = hosted_new(node, group, policy, driver);
	if (hosted == NULL) {
		driver_close(driver);
		return STATUS_NO_MEMORY;
	}
	log_info("replica created", LOG_H("group", group), LOG_U("replica", replica), LOG_B("learns", birth == NULL));
	node_touch(node, hosted);
	return STATUS_OK;
}

void node_unhost(struct node *node, struct hosted *hosted)
{
	uint64_t group = hosted->group, replica = driver_replica_id(hosted->driver);
	enum status status;

	assert(hosted != node->meta);
	if (heap_node_queued(&hosted->timer))
		heap_remove(&node->timers, &hosted->timer);
	if (hosted->queued)
		list_remove(&hosted->turns);
	status = driver_destroy(hosted->driver);
	table_remove(node, hosted);
	free(hosted);
	log_info("replica removed", LOG_H("group", group), LOG_U("replica", replica),
		LOG_S("status", status_name(status)));
	if (status != STATUS_OK)
		node->io.fatal(node->io.arg, status, "a removed replica's files could not be deleted");
}

/* --- maps -----------------------------------------------------------------------------------------------------------
 */

const struct cluster_map *node_map_in_force(const struct node *node)
{
	return node->bootstrap ? node->bootstrap_map : node->map;
}

const struct cluster_map *node_map(const struct node *node)
{
	return node_map_in_force(node);
}

struct bytes node_map_bytes(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct packer packer = { 0 };

	if (node->map_bytes != NULL && node->map_bytes_epoch == map->epoch)
		return buffer_bytes(node->map_bytes);
	cluster_map_encode(map, &packer); /* counts */
	if (node->map_bytes != NULL)
		buffer_unref(node->map_bytes);
	node->map_bytes = buffer_new(packer.size);
	if (node->map_bytes == NULL)
		return bytes_of(NULL, 0);
	packer = (struct packer){ .data = node->map_bytes->data, .capacity = node->map_bytes->size };
	cluster_map_encode(map, &packer);
	assert(!packer.overflow);
	node->map_bytes_epoch = map->epoch;
	return buffer_bytes(node->map_bytes);
}

static void map_noticed(struct node *node)
{
	const struct cluster_map *map;

	if (node->bootstrap && node->map->epoch >= node->bootstrap_map->epoch)
		node->bootstrap = false;
	map = node_map_in_force(node);
	if (map->epoch == node->map_epoch_seen)
		return;
	node->map_epoch_seen = map->epoch;
	node->mover_wanted = true;
	if (!map_site(map, &node->options.place, &node->site)) {
		memset(&node->site, 0, sizeof(node->site));
		node->site.place = node->options.place;
	}
	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];
		const struct map_shard *shard = hosted == NULL ? NULL : map_shard_find(map, hosted->group);

		if (shard != NULL)
			hosted->policy = shard->policy;
	}
	node->io.map_changed(node->io.arg, map);
}

/* --- the turn -------------------------------------------------------------------------------------------------------
 */

static void sweep_doomed(struct node *node)
{
	for (size_t i = 0; i < node->table_size;) {
		struct hosted *hosted = node->table[i];

		/* A leader that was voted out hands over first: it leads no more within an election time. */
		if (hosted != NULL && hosted->doomed && hosted->reading == 0 && hosted != node->meta &&
			!driver_leads(hosted->driver))
			node_unhost(node, hosted); /* another may have moved into slot i */
		else
			i++;
	}
}

/* All memtables together are above their budget, and one that is not written now is the largest. */
static void flushes_wanted(struct node *node)
{
	if (!engine_shared_flush_wanted(node->engines))
		return;
	for (size_t i = 0; i < node->table_size; i++)
		if (node->table[i] != NULL)
			node_touch(node, node->table[i]);
}

static void node_turn(struct node *node)
{
	if (!node->running || node->failed)
		return;
	for (unsigned round = 0; round < 64; round++) {
		while (!list_empty(&node->turns) && !node->failed) {
			struct hosted *hosted = LIST_ENTRY(list_first(&node->turns), struct hosted, turns);

			list_remove(&hosted->turns);
			hosted->queued = false;
			driver_turn(hosted->driver, node->time);
			node_touch(node, hosted);
			flushes_wanted(node);
		}
		map_noticed(node);
		if (!node->mover_wanted && node->mover_ns > node->time.now_ns)
			break;
		mover_run(node);
		sweep_doomed(node);
		node->mover_wanted = false;
		if (node->mover_ns <= node->time.now_ns)
			node->mover_ns = node->time.now_ns + (uint64_t)MOVER_PERIOD_MS * 1000000;
		if (list_empty(&node->turns))
			break;
	}
	admin_init_continue(node);
	/* What the mover's own effects changed is looked at in its next period. */
	if (node->mover_wanted) {
		uint64_t soon = node->time.now_ns + (uint64_t)MOVER_PERIOD_MS * 1000000;

		node->mover_wanted = false;
		if (node->mover_ns > soon)
			node->mover_ns = soon;
	}
}

static void peer_changed(struct node *node, uint64_t peer, enum liveness_change change)
{
	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];
		const struct membership *membership;

		if (hosted == NULL)
			continue;
		membership = group_membership(driver_group(hosted->driver));
		for (unsigned m = 0; m < membership->count; m++) {
			if (membership->at[m].node == peer) {
				driver_peer(hosted->driver, peer, change, node->time);
				node_touch(node, hosted);
				break;
			}
		}
	}
	node->mover_wanted = true;
}

static void liveness_carry_out(struct node *node)
{
	/* peer_changed may make a group withdraw support, never send a ping: the list is stable while we walk it. */
	for (uint32_t i = 0; i < node->liveness_out->count; i++) {
		const struct liveness_effect *effect = &node->liveness_out->at[i];

		if (effect->kind == LIVENESS_SEND)
			node->io.send(node->io.arg, effect->node, &effect->message);
		else
			peer_changed(node, effect->node, effect->change);
	}
	node->liveness_out->count = 0;
}

/* --- entry points ---------------------------------------------------------------------------------------------------
 */

static void enter(struct node *node, struct node_time time)
{
	assert(time.now_ns >= node->time.now_ns);
	node->time = time;
}

/* A replica answers for the node the map says it is on: a member cannot speak for another. */
static bool sender_is_member(
	const struct hosted *hosted, uint64_t from_node, uint64_t from_replica, const struct cluster_map *map)
{
	const struct membership *membership = group_membership(driver_group(hosted->driver));
	int at = membership_find(membership, from_replica);
	const struct map_shard *shard;

	if (at >= 0)
		return membership->at[at].node == from_node;
	/* A membership that this replica has not heard of yet: then the map must know the sender. */
	if (hosted->group == META_GROUP) {
		const struct map_node *there = map_node_find(map, from_node);

		return there == NULL || there->meta_replica == from_replica;
	}
	shard = map_shard_find(map, hosted->group);
	if (shard == NULL)
		return false;
	for (unsigned i = 0; i < shard->replica_count; i++) {
		if (shard->replicas[i].replica == from_replica)
			return shard->replicas[i].node == from_node;
	}
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		if (shard->wanted[i].replica == from_replica)
			return shard->wanted[i].node == from_node;
	}
	return false;
}

static void group_received(struct node *node, uint64_t from, const struct message *message)
{
	struct hosted *hosted = node_hosted(node, message->group);

	if (hosted == NULL || (hosted->doomed && !driver_leads(hosted->driver)) ||
		message->to != driver_replica_id(hosted->driver) ||
		!sender_is_member(hosted, from, message->from, node_map_in_force(node))) {
		node->dropped++;
		return;
	}
	if (!residency_receive(node, hosted, from, message))
		return;
	if (message->kind == MESSAGE_FORWARD)
		driver_received_forward(hosted->driver, from, message, residency_evacuates(node, hosted), node->time);
	else
		driver_received(hosted->driver, from, message, node->time);
	node_touch(node, hosted);
}

void node_received(struct node *node, uint64_t from, const struct peer_identity *who, const struct message *message,
	struct node_time time)
{
	enter(node, time);
	if (!node->running || node->failed || who->role != PEER_NODE)
		return;
	switch (message->kind) {
	case MESSAGE_APPEND:
	case MESSAGE_APPEND_REPLY:
	case MESSAGE_VOTE:
	case MESSAGE_VOTE_REPLY:
	case MESSAGE_TIMEOUT_NOW:
	case MESSAGE_READ_INDEX:
	case MESSAGE_READ_INDEX_REPLY:
	case MESSAGE_SNAPSHOT:
	case MESSAGE_SNAPSHOT_CHUNK:
	case MESSAGE_SNAPSHOT_ACK:
	case MESSAGE_REPAIR:
	case MESSAGE_REPAIR_REPLY:
	case MESSAGE_GRANT:
	case MESSAGE_GRANT_REPLY:
	case MESSAGE_NOTE:
	case MESSAGE_FORWARD:
	case MESSAGE_FORWARD_REPLY:
		group_received(node, from, message);
		break;
	case MESSAGE_PING:
	case MESSAGE_PONG:
		liveness_received(node->liveness, from, message, node->time.now_ns, node_map_in_force(node)->epoch,
			node->liveness_out);
		liveness_carry_out(node);
		break;
	case MESSAGE_ADMIN:
		admin_from_peer(node, from, message);
		break;
	default:
		node->dropped++;
		break;
	}
	node_turn(node);
}

void node_requested(struct node *node, uint64_t connection, const struct peer_identity *who,
	const struct message *message, struct node_time time)
{
	enter(node, time);
	if (node->failed)
		return;
	switch (message->kind) {
	case MESSAGE_REQUEST:
		gateway_request(node, connection, who, message);
		break;
	case MESSAGE_MAP_REQUEST: {
		struct message reply = { .kind = MESSAGE_MAP_REPLY, .request = message->request };

		reply.map_reply.epoch = node_map_in_force(node)->epoch;
		if (reply.map_reply.epoch != message->map_request.epoch)
			reply.map_reply.map = node_map_bytes(node);
		node->io.reply(node->io.arg, connection, &reply);
		break;
	}
	case MESSAGE_ADMIN:
		admin_request(node, connection, who, message);
		break;
	case MESSAGE_JOIN:
		admin_join(node, connection, who, message);
		break;
	default:
		gateway_reply(node, connection, message->request, STATUS_INVALID, "not a request");
		break;
	}
	node_turn(node);
}

void node_connection_closed(struct node *node, uint64_t connection)
{
	/* Closing is rare beside requests: a walk over the slots in use is cheaper than a list kept by every request.
	 */
	for (uint32_t i = 0, seen = 0; i < node->pending_used && seen < node->pending_count; i++) {
		struct pending *pending = &node->pending[i];

		if (pending->kind == PENDING_FREE)
			continue;
		if (pending->kind != PENDING_INTERNAL && pending->connection == connection) {
			pending_release(node, pending); /* what it proposed goes on; nobody waits for the answer */
			continue;
		}
		seen++;
	}
}

void node_peer_connected(struct node *node, uint64_t peer, struct node_time time)
{
	enter(node, time);
	if (!node->running || node->failed)
		return;
	peer_changed(node, peer, LIVENESS_UP); /* leaders probe: what was on the old connection may be lost */
	node_turn(node);
}

enum { DISK_PROBE_MS = 500 };

void node_expired(struct node *node, struct node_time time)
{
	enter(node, time);
	if (!node->running || node->failed)
		return;
	if (liveness_deadline(node->liveness) <= time.now_ns) {
		liveness_expired(node->liveness, time.now_ns, node_map_in_force(node)->epoch, node->liveness_out);
		liveness_carry_out(node);
	}
	if (node->tick_ns <= time.now_ns) {
		node->tick_ns = time.now_ns + (uint64_t)TICK_MS * 1000000;
		rtt_tick(node);
		node->mover_wanted = node->mover_wanted || node->leads_move;
	}
	for (unsigned i = 0; i < 4096;
		i++) { /* bounded: a driver whose deadline does not move on is met again next time */
		struct heap_node *first = heap_min(&node->timers);
		struct hosted *hosted;

		if (first == NULL || first->key > time.now_ns)
			break;
		hosted = LIST_ENTRY(first, struct hosted, timer);
		driver_expired(hosted->driver, time);
		node_touch(node, hosted);
	}
	if (node->probe_ns <= time.now_ns) {
		node->probe_ns = time.now_ns + (uint64_t)DISK_PROBE_MS * 1000000;
		journal_probe(node->journal);
		node->io.flush_wanted(node->io.arg);
	}
	node_turn(node);
}

uint64_t node_deadline(const struct node *node)
{
	uint64_t deadline = UINT64_MAX;
	const struct heap_node *first;

	if (!node->running || node->failed)
		return UINT64_MAX;
	deadline = liveness_deadline(node->liveness);
	first = heap_min(&node->timers);
	if (first != NULL && first->key < deadline)
		deadline = first->key;
	if (node->probe_ns < deadline)
		deadline = node->probe_ns;
	if (node->tick_ns < deadline)
		deadline = node->tick_ns;
	return node->mover_ns < deadline ? node->mover_ns : deadline;
}

bool node_flush_begin(struct node *node, struct journal_flush **flush)
{
	return node->running && !node->failed && journal_flush_begin(node->journal, flush);
}

static void journal_judged(struct node *node)
{
	bool full = journal_full(node->journal);

	if (full && !node->disk_full)
		log_warn("the journal's disk is full", LOG_S("effect", "writes wait, reads go on"));
	if (!full && node->disk_full)
		log_info("the journal's disk has room again");
	node->disk_full = full;
	node->probe_ns = full ? node->time.now_ns + (uint64_t)DISK_PROBE_MS * 1000000 : UINT64_MAX;
}

void node_flush_end(struct node *node, struct journal_flush *flush, enum status status, struct node_time time)
{
	uint64_t ticket = 0;
	enum status ended = journal_flush_end(node->journal, flush, status, &ticket);

	enter(node, time);
	journal_judged(node);
	if (ended == STATUS_NO_SPACE)
		return;
	if (ended != STATUS_OK) {
		node->failed = true;
		node->io.fatal(node->io.arg, ended, "the journal could not be synced");
		return;
	}
	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];

		if (hosted != NULL && driver_awaits_durable(hosted->driver)) {
			driver_durable(hosted->driver, ticket, node->time);
			node_touch(node, hosted);
		}
	}
	node_turn(node);
}

/* --- opening --------------------------------------------------------------------------------------------------------
 */

enum { ORPHANS_MAX = 1024 };

struct recovery {
	struct node *node;
	enum status status;
	bool distrusted;  /* something durable was lost and even its group with it */
	uint32_t orphans; /* groups with records and no engine: a removal was cut short */
	uint64_t orphan[ORPHANS_MAX];
};

static struct driver *recovered(void *arg, uint64_t group)
{
	struct recovery *recovery = arg;
	struct hosted *hosted = node_hosted(recovery->node, group);

	if (hosted != NULL)
		return hosted->driver;
	for (uint32_t i = 0; i < recovery->orphans; i++) {
		if (recovery->orphan[i] == group)
			return NULL;
	}
	if (recovery->orphans < ORPHANS_MAX)
		recovery->orphan[recovery->orphans++] = group;
	return NULL;
}

static void recover_state(void *arg, uint64_t group, uint64_t term, uint64_t vote)
{
	struct driver *driver = recovered(arg, group);

	if (driver != NULL)
		driver_recovered_state(driver, term, vote);
}

static void recover_entry(void *arg, const struct journal_entry *entry)
{
	struct driver *driver = recovered(arg, entry->group);

	if (driver != NULL)
		driver_recovered_entry(driver, entry);
}

static void recover_cut(void *arg, uint64_t group, uint64_t from)
{
	struct driver *driver = recovered(arg, group);

	if (driver != NULL)
		driver_recovered_cut(driver, from);
}

static void recover_reset(void *arg, uint64_t group, uint64_t index, uint64_t term)
{
	struct driver *driver = recovered(arg, group);

	if (driver != NULL)
		driver_recovered_reset(driver, index, term);
}

static void recover_corrupt(void *arg, uint64_t group, uint64_t index, uint64_t term)
{
	struct recovery *recovery = arg;
	struct driver *driver;

	log_warn("a journal record failed its checksum", LOG_H("group", group), LOG_U("index", index));
	if (group == 0) {
		recovery->distrusted = true;
		return;
	}
	driver = recovered(arg, group);
	if (driver != NULL)
		driver_recovered_corrupt(driver, index, term);
}

static bool found_engine(void *arg, uint64_t replica)
{
	struct recovery *recovery = arg;
	struct node *node = recovery->node;
	struct driver_options options;
	struct driver *driver;
	struct hosted *hosted;

	/* Which group it is of is in the engine itself. */
	driver_options_of(node, 0, replica, &options);
	options.map = node->map;
	recovery->status = driver_open(&options, &driver);
	if (recovery->status == STATUS_NOT_FOUND) {
		/* Its birth never became durable: nothing was promised by it. */
		recovery->status = engine_remove(node->engines, replica);
		return recovery->status == STATUS_OK;
	}
	if (recovery->status != STATUS_OK)
		return false;
	hosted = hosted_new(node, driver_group_id(driver), 0, driver);
	if (hosted == NULL) {
		driver_close(driver);
		recovery->status = STATUS_NO_MEMORY;
	}
	return hosted != NULL;
}

static enum status start_replicas(struct node *node, const char **why)
{
	for (size_t i = 0; i < node->table_size; i++) {
		enum status status;

		if (node->table[i] == NULL)
			continue;
		status = driver_started(node->table[i]->driver, node->time);
		if (status != STATUS_OK) {
			*why = "a replica could not be brought back from engine and journal";
			return status;
		}
		node_touch(node, node->table[i]);
	}
	return STATUS_OK;
}

/* With an identity: the journal, the engines, and every replica found there. */
enum status node_begin(struct node *node, const char **why)
{
	struct liveness_config liveness = {
		.node = node->identity.node,
		.boot = node->boot,
		.seed = node->io.random(node->io.arg),
		.started_ns = node->time.now_ns,
		.heartbeat_us = node->options.heartbeat_us,
		.support_us = node->options.support_us,
		.support_max_us = node->options.support_us,
		.drift_ppm = node->options.drift_ppm,
	};
	struct recovery recovery = { .node = node, .status = STATUS_OK };
	struct journal_recovery callbacks = {
		.arg = &recovery,
		.state = recover_state,
		.entry = recover_entry,
		.cut = recover_cut,
		.reset = recover_reset,
		.corrupt = recover_corrupt,
	};
	struct engine_options engines = { .cache_size = node->options.cache_size,
		.write_buffer_budget = node->options.memory_size / 4 };
	struct journal_options journal = { .incarnation = node->identity.incarnation,
		.segment_size = node->options.journal_segment_size };
	char engines_path[600], journal_path[600];
	struct text path;
	enum status status;

	assert(!node->running);
	assert(node->identity.node != 0);
	liveness.fresh = node->identity.boot == 0; /* nothing was begun with this identity, so nothing was promised */
	if (liveness.support_max_us < node->identity.support_max_us)
		liveness.support_max_us = node->identity.support_max_us;
	node->identity.support_max_us = liveness.support_max_us;
	node->identity.boot = node->boot;
	status = identity_store(node->data, &node->identity);
	if (status != STATUS_OK) {
		*why = "the data directory's identity could not be written";
		return status;
	}
	liveness_init(node->liveness, &liveness);
	node->tick_ns = node->time.now_ns + (uint64_t)TICK_MS * 1000000;

	text_init(&path, engines_path, sizeof(engines_path));
	text_add(&path, node->data);
	engines.dir = engines_path;
	text_init(&path, journal_path, sizeof(journal_path));
	text_add(&path, node->data);
	text_add(&path, "/journal");
	journal.dir = journal_path;
	memcpy(journal.cluster, node->identity.cluster, 16);

	status = engine_shared_open(&engines, &node->engines);
	if (status != STATUS_OK) {
		*why = "the shard engines' directory could not be opened";
		return status;
	}
	status = engine_list(node->engines, found_engine, &recovery);
	if (status == STATUS_OK)
		status = recovery.status;
	if (status != STATUS_OK) {
		*why = "a shard engine could not be opened";
		return status;
	}
	status = journal_open(&journal, &callbacks, &node->journal);
	if (status != STATUS_OK) {
		*why = status == STATUS_CONFLICT ? "the journal is another node's or another cluster's"
						 : "the journal could not be opened";
		return status;
	}
	if (recovery.distrusted) {
		/* Votes and log ends may be missing: whoever took part with those could elect a leader without what was
		 * acknowledged. */
		*why = "the journal lost records that were durable, and with them whose they were; wipe this data "
		       "directory and join anew";
		return STATUS_CORRUPT;
	}
	for (uint32_t i = 0; i < recovery.orphans; i++) {
		status = journal_append_remove(node->journal, recovery.orphan[i]);
		if (status != STATUS_OK && status != STATUS_INVALID) {
			*why = "records of a removed replica could not be dropped from the journal";
			return status;
		}
	}
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL)
			driver_set_journal(node->table[i]->driver, node->journal);
	}
	node->running = true;
	journal_judged(node);
	return start_replicas(node, why);
}

/* The identity of a directory: found, or made. Another's is refused before anything in it is touched. */
static enum status take_identity(struct node *node, const char **why)
{
	enum status status = identity_lock(node->data, &node->lock);

	if (status != STATUS_OK) {
		*why = status == STATUS_CONFLICT ? "another process uses this data directory"
						 : "the data directory could not be locked";
		return status;
	}
	status = identity_load(node->data, &node->identity);
	bool elsewhere = strcmp(node->identity.place, node->options.place.text) != 0 ||
			 strcmp(node->identity.name, node->cluster_name) != 0;
	if (status == STATUS_OK && node->identity.node == 0 && elsewhere)
		status = STATUS_NOT_FOUND; /* never admitted anywhere, and configured anew since */
	if (status == STATUS_OK) {
		if (strcmp(node->identity.place, node->options.place.text) != 0) {
			*why = "this data directory belongs to a node of another place; give each node its own";
			return STATUS_CONFLICT;
		}
		if (strcmp(node->identity.name, node->cluster_name) != 0) {
			*why = "this data directory belongs to another cluster; give each node its own";
			return STATUS_CONFLICT;
		}
		return STATUS_OK;
	}
	if (status != STATUS_NOT_FOUND) {
		*why = status == STATUS_CONFLICT ? "this data directory is a copy; a node's directory may be moved, "
						   "never copied: join with an empty one, under a place of its own"
						 : "the data directory's identity could not be read";
		return status;
	}
	memset(&node->identity, 0, sizeof(node->identity));
	node->identity.incarnation = node->io.random(node->io.arg);
	memcpy(node->identity.place, node->options.place.text, sizeof(node->identity.place));
	memcpy(node->identity.name, node->cluster_name, sizeof(node->identity.name));
	/* Before anybody hears of this incarnation: whoever admits it gives the place to it, and to no other. */
	status = identity_store(node->data, &node->identity);
	if (status != STATUS_OK)
		*why = "the data directory's identity could not be written";
	return status;
}

static bool allocate(struct node *node)
{
	const struct map_limits *limits = &map_limits_default;
	void *map = calloc(1, cluster_map_size(limits)), *bootstrap = calloc(1, cluster_map_size(limits));

	node->liveness = calloc(1, liveness_size());
	node->liveness_out = calloc(1, sizeof(*node->liveness_out));
	node->effects = calloc(1, sizeof(*node->effects));
	node->scratch = calloc(1, sizeof(*node->scratch));
	node->pending = calloc(PENDING_MAX, sizeof(*node->pending));
	node->rtt = calloc(1, sizeof(*node->rtt));
	if (map != NULL)
		node->map = cluster_map_init(map, limits);
	if (bootstrap != NULL)
		node->bootstrap_map = cluster_map_init(bootstrap, limits);
	if (map == NULL || bootstrap == NULL || node->liveness == NULL || node->liveness_out == NULL ||
		node->effects == NULL || node->scratch == NULL || node->pending == NULL || node->rtt == NULL)
		return false;
	return table_grow(node);
}

/* The end of the last start came between the identity and meta's first replica here. Nothing else can be here, so
 * nothing was promised: the node is admitted, or the cluster made, once more; the incarnation is the same, so the id is
 * too. */
static void unbegin(struct node *node)
{
	assert(node->hosted_count == 0);
	journal_close(node->journal);
	engine_shared_close(node->engines);
	node->journal = NULL;
	node->engines = NULL;
	node->identity.node = 0;
	node->running = false;
}

enum status node_open(const struct node_options *options, const struct node_io *io, struct node **out, const char **why)
{
	struct node *node = calloc(1, sizeof(*node));
	enum status status;

	*why = "out of memory";
	if (node == NULL)
		return STATUS_NO_MEMORY;
	node->options = *options;
	node->io = *io;
	node->mover_ns = node->probe_ns = UINT64_MAX;
	node->time = (struct node_time){ options->now_ns, options->wall_us };
	node->boot = io->random(io->arg) | 1;
	node->owner = driver_callbacks;
	node->owner.arg = node;
	list_init(&node->turns);
	heap_init(&node->timers, NULL, 0);
	if (strlen(options->data) >= sizeof(node->data) || strlen(options->cluster) >= sizeof(node->cluster_name)) {
		free(node);
		*why = "the data directory's path or the cluster's name is too long";
		return STATUS_INVALID;
	}
	strcpy(node->data, options->data);
	strcpy(node->cluster_name, options->cluster);
	node->site.place = options->place;
	if (!allocate(node)) {
		node_close(node);
		return STATUS_NO_MEMORY;
	}
	status = take_identity(node, why);
	if (status == STATUS_OK && node->identity.node != 0)
		status = node_begin(node, why);
	if (status == STATUS_OK && node->running && node->hosted_count == 0)
		unbegin(node);
	if (status != STATUS_OK) {
		node_close(node);
		return status;
	}
	map_noticed(node);
	node->mover_wanted = true;
	node_turn(node);
	*out = node;
	return STATUS_OK;
}

void node_close(struct node *node)
{
	/* What still waits in a driver is answered now, and found through the table: that goes last. */
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL)
			driver_close(node->table[i]->driver);
	}
	for (size_t i = 0; i < node->table_size; i++)
		free(node->table[i]);
	for (uint32_t i = 0; i < node->pending_used; i++) {
		if (node->pending[i].kind != PENDING_FREE)
			pending_release(node, &node->pending[i]);
	}
	if (node->journal != NULL)
		journal_close(node->journal);
	if (node->engines != NULL)
		engine_shared_close(node->engines);
	if (node->lock != NULL)
		identity_unlock(node->lock);
	if (node->map_bytes != NULL)
		buffer_unref(node->map_bytes);
	free(node->table);
	free(node->timer_nodes);
	free(node->map);
	free(node->bootstrap_map);
	free(node->liveness);
	free(node->liveness_out);
	free(node->effects);
	free(node->scratch);
	free(node->pending);
	free(node->rtt);
	free(node);
}

/* --- joining --------------------------------------------------------------------------------------------------------
 */

void node_join_message(const struct node *node, struct message *message)
{
	static uint8_t addresses[ADDRESSES_MAX * (SELECTOR_TEXT_MAX + ADDRESS_TEXT_MAX + 16)];
	struct packer packer = { .data = addresses, .capacity = sizeof(addresses) };

	memset(message, 0, sizeof(*message));
	message->kind = MESSAGE_JOIN;
	message->join.place = bytes_text(node->options.place.text);
	message->join.incarnation = node->identity.incarnation;
	address_list_encode(&node->options.addresses, &packer);
	assert(!packer.overflow);
	message->join.addresses = bytes_of(addresses, packer.size);
}

enum status node_joined(struct node *node, const struct message *message, struct node_time time, const char **why)
{
	const struct map_node *own;
	enum status status;

	enter(node, time);
	if (node->running)
		return STATUS_OK;
	status = cluster_map_decode(message->reply.detail, node->bootstrap_map);
	if (status != STATUS_OK) {
		*why = "the map in the answer does not decode";
		return status;
	}
	own = map_node_find(node->bootstrap_map, message->reply.version);
	if (own == NULL || !place_equal(&own->place, &node->options.place) ||
		own->incarnation != node->identity.incarnation) {
		*why = "the answer's map does not hold this node";
		return STATUS_INVALID;
	}
	if (strcmp(node->bootstrap_map->name, node->cluster_name) != 0) {
		*why = "that is another cluster";
		return STATUS_CONFLICT;
	}
	node->bootstrap = true;
	node->identity.node = own->id;
	memcpy(node->identity.cluster, node->bootstrap_map->cluster, 16);
	status = node_begin(node, why);
	if (status == STATUS_OK && node->meta == NULL) {
		status = node_host(node, META_GROUP, own->meta_replica, 0, NULL);
		*why = "meta's replica could not be created";
	}
	map_noticed(node);
	node_turn(node);
	return status;
}

uint64_t node_id(const struct node *node)
{
	return node->running ? node->identity.node : 0;
}

void node_hello(const struct node *node, struct message *message)
{
	memset(message, 0, sizeof(*message));
	message->kind = MESSAGE_HELLO;
	message->hello.version = PROTOCOL_VERSION;
	memcpy(message->hello.cluster, node->identity.cluster, 16);
	message->hello.node = node_id(node);
	message->hello.boot = node->boot;
	message->hello.map_epoch = node_map_in_force(node)->epoch;
	message->hello.place = bytes_text(node->options.place.text);
}

enum status node_admits(const struct node *node, const struct peer_identity *who, const char **why)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_region *region;

	if (map->epoch == 0)
		return STATUS_OK; /* only cas.pem speaks yet; nothing but init and join is answered */
	if (who->role == PEER_ADMIN) {
		*why = "this admin certificate was not signed by the cluster's admin CA";
		return memcmp(who->issuer_spki_sha256, map->admin_spki_sha256, 32) == 0 ? STATUS_OK : STATUS_DENIED;
	}
	region = map_region_of(map, &who->place);
	if (region == NULL) {
		*why = "no region is registered for this certificate's place";
		return STATUS_DENIED;
	}
	*why = "this certificate was not signed by the CA pinned for its region";
	return memcmp(who->issuer_spki_sha256, region->spki_sha256, 32) == 0 ? STATUS_OK : STATUS_DENIED;
}

bool node_resign(struct node *node, struct node_time time)
{
	bool leads = false;

	enter(node, time);
	if (!node->running || node->failed)
		return true;
	node->resigning = true;
	node->mover_wanted = true;
	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];
		const struct membership *membership;

		if (hosted == NULL || !driver_leads(hosted->driver))
			continue;
		membership = group_membership(driver_group(hosted->driver));
		for (unsigned m = 0; m < membership->count; m++) {
			if (membership->at[m].node != node->identity.node && membership->at[m].role_new == ROLE_VOTER &&
				liveness_alive(node->liveness, membership->at[m].node, time.now_ns))
				leads = true; /* somebody could take it */
		}
		if (hosted == node->meta)
			mover_hand_over(node, hosted);
	}
	node_turn(node);
	return !leads;
}

void node_check(const struct node *node)
{
	if (!node->running)
		return;
	liveness_check(node->liveness);
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL)
			driver_check(node->table[i]->driver);
	}
	if (node->map->epoch != 0)
		meta_check(node->map);
}

uint64_t node_digest(const struct node *node)
{
	uint64_t digest = hash64(bytes_of(&node->identity.node, sizeof(node->identity.node)));

	/* Summed, so that the order of the table (a function of its growth) does not matter. */
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL)
			digest += group_digest(driver_group(node->table[i]->driver)) * 31 +
				  driver_digest(node->table[i]->driver);
	}
	return digest;
}

const struct group *node_group(const struct node *node, uint64_t group)
{
	const struct hosted *hosted = node_hosted(node, group);

	return hosted == NULL ? NULL : driver_group(hosted->driver);
}
