/* tests/sim/world.c: events, network, clocks and the life of nodes. */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "server/node_internal.h"
#include "storage/journal.h"
#include "tests/sim/checkers.h"
#include "tests/sim/disk_model.h"
#include "tests/sim/engine_model.h"

const char *const world_places[WORLD_REGIONS_MAX] = { "eu/ie/eu-west-1", "eu/de/eu-central-1", "us/us-east-1",
	"eu/se/eu-north-1", "ap/sg/ap-southeast-1" };
const char *const world_region_names[WORLD_REGIONS_MAX] = { "eu-west-1", "eu-central-1", "us-east-1", "eu-north-1",
	"ap-southeast-1" };
/* Round trips between them, ms. */
static const uint16_t wide_rtt[WORLD_REGIONS_MAX][WORLD_REGIONS_MAX] = {
	{ 1, 25, 68, 39, 175 },
	{ 25, 1, 86, 22, 178 },
	{ 68, 86, 1, 95, 215 },
	{ 39, 22, 95, 1, 190 },
	{ 175, 178, 215, 190, 1 },
};

struct world_event {
	struct heap_node node;
	event_fn *fn;
	void *arg;
	uint64_t value;
	struct buffer *bytes;
	uint32_t next_free;
};

static world_reply_fn *reply_fn;
static world_lost_fn *lost_fn;

void world_fail(struct world *world, const char *format, ...)
{
	va_list list;

	if (world->failure[0] != '\0')
		return;
	va_start(list, format);
	vsnprintf(world->failure, sizeof(world->failure), format, list);
	va_end(list);
	if (world->verbose)
		fprintf(stderr, "%12.6f FAIL %s\n", (double)world->now_ns / 1e9, world->failure);
}

void world_log(struct world *world, const char *format, ...)
{
	va_list list;

	if (!world->verbose)
		return;
	fprintf(stderr, "%12.6f ", (double)world->now_ns / 1e9);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}

void world_at(struct world *world, uint64_t at_ns, event_fn *fn, void *arg, uint64_t value, struct buffer *bytes)
{
	uint32_t at = world->event_free;
	struct world_event *event;

	if (at == 0) {
		world_fail(world, "more than %d events wait", WORLD_EVENTS_MAX);
		if (bytes != NULL)
			buffer_unref(bytes);
		return;
	}
	event = &world->event_pool[at - 1];
	world->event_free = event->next_free;
	event->fn = fn;
	event->arg = arg;
	event->value = value;
	event->bytes = bytes;
	if (!heap_insert(&world->events, &event->node, at_ns < world->now_ns ? world->now_ns : at_ns))
		abort();
}

bool world_step(struct world *world)
{
	struct heap_node *first = heap_min(&world->events);
	struct world_event *event, copy;

	if (first == NULL || world->failure[0] != '\0')
		return false;
	heap_remove(&world->events, first);
	event = (struct world_event *)(void *)((char *)first - offsetof(struct world_event, node));
	copy = *event;
	assert(first->key >= world->now_ns);
	world->now_ns = first->key;
	event->next_free = world->event_free;
	event->bytes = NULL;
	world->event_free = (uint32_t)(event - world->event_pool) + 1;
	world->stats.events++;
	world->digest = hash64_seeded(bytes_of(&world->now_ns, sizeof(world->now_ns)), world->digest ^ copy.value);
	copy.fn(world, copy.arg, copy.value, copy.bytes);
	if (copy.bytes != NULL)
		buffer_unref(copy.bytes);
	return world->failure[0] == '\0';
}

bool world_run_until(struct world *world, uint64_t at_ns)
{
	for (;;) {
		const struct heap_node *first = heap_min(&world->events);

		if (first == NULL || first->key > at_ns) {
			world->now_ns = at_ns;
			return world->failure[0] == '\0';
		}
		if (!world_step(world))
			return false;
	}
}

/* --- clocks ---------------------------------------------------------------------------------------------------------
 */

struct node_time node_now(struct world_node *node)
{
	uint64_t local = node->offset_ns + (uint64_t)((double)node->world->now_ns * node->rate);

	if (local < node->last_local_ns)
		local = node->last_local_ns;
	node->last_local_ns = local;
	return (struct node_time){ .now_ns = local,
		.wall_us = (uint64_t)((int64_t)(UINT64_C(1790000000000000) + node->world->now_ns / 1000) +
				      node->wall_error_us) };
}

static uint64_t true_of_local(const struct world_node *node, uint64_t local_ns)
{
	if (local_ns <= node->offset_ns)
		return node->world->now_ns;
	return (uint64_t)((double)(local_ns - node->offset_ns) / node->rate) + 1000;
}

/* A loop that keeps the time of its turn: a process that stops between reading the clock and reading its sockets finds
 * there what was asked meanwhile. Only requests come with that clock, until the node has looked at its own; all else is
 * the next turn's. */
static struct node_time taken_up(struct world_node *node)
{
	bool old = node->world->knobs.old_clock && node->paused_until_ns == node->world->now_ns &&
		   node->before_pause.now_ns >= node->node->time.now_ns;

	return old ? node->before_pause : node_now(node);
}

static uint64_t next_turn_ns(const struct world_node *node)
{
	return node->paused_until_ns + (node->world->knobs.old_clock ? 1000 : 0);
}

/* --- timers and flushes ---------------------------------------------------------------------------------------------
 */

/* A clock read back from local time is a microsecond late, so a deadline that stays behind comes again a thousand times
 * in a millisecond. */
enum { TIMERS_PER_MS_MAX = 300 };

static void on_timer(struct world *world, void *arg, uint64_t incarnation, struct buffer *bytes)
{
	struct world_node *node = arg;

	(void)bytes;
	if (node->node == NULL || node->incarnation != incarnation || node->timer_ns > world->now_ns)
		return;
	node->timer_ns = UINT64_MAX;
	if (node->paused_until_ns > world->now_ns) {
		node->timer_ns = next_turn_ns(node);
		world_at(world, node->timer_ns, on_timer, node, incarnation, NULL);
		return;
	}
	if (node->timers_ms != world->now_ns / 1000000)
		node->timers = 0;
	node->timers_ms = world->now_ns / 1000000;
	if (++node->timers > TIMERS_PER_MS_MAX) {
		world_fail(world, "node %u spins: a deadline of it does not move on", node->slot);
		return;
	}
	node_expired(node->node, node_now(node));
	node_kick(node);
}

static void on_flush_done(struct world *world, void *arg, uint64_t incarnation, struct buffer *bytes)
{
	struct world_node *node = arg;
	struct journal_flush *flush = node->flush;
	enum status status;

	(void)bytes;
	if (node->node == NULL || node->incarnation != incarnation || flush == NULL)
		return;
	if (node->paused_until_ns > world->now_ns) {
		world_at(world, next_turn_ns(node), on_flush_done, node, incarnation, NULL);
		return;
	}
	status = journal_flush_run(flush);
	node->flush = NULL;
	node_flush_end(node->node, flush, status, node_now(node));
	node_kick(node);
}

static uint64_t disk_latency_ns(struct world_node *node)
{
	struct world *world = node->world;
	uint64_t us = world->knobs.disk_us / 2 + prng_below(&world->disk, world->knobs.disk_us + 1);

	if (node->slow_disk && prng_chance(&world->disk, 200000)) {
		us += prng_below(&world->disk, world->knobs.disk_stall_us + 1);
		world->stats.stalls++;
	}
	return us * 1000;
}

/* --- jobs that may block: they run when a thread comes to them, and the node hears of it later ----------------------
 */

struct world_job {
	struct list link; /* in its node's jobs */
	struct world_node *node;
	void (*job)(void *), (*done)(void *);
	void *arg;
	bool over; /* the node has gone */
};

static void on_job_done(struct world *world, void *arg, uint64_t incarnation, struct buffer *bytes)
{
	struct world_job *job = arg;
	struct world_node *node = job->node;

	(void)bytes;
	if (!job->over && node->paused_until_ns > world->now_ns) {
		world_at(world, next_turn_ns(node), on_job_done, job, incarnation, NULL);
		return;
	}
	if (!job->over) {
		assert(node->node != NULL);
		list_remove(&job->link);
		job->done(job->arg);
		node_kick(node);
	}
	free(job);
}

static void on_job_run(struct world *world, void *arg, uint64_t incarnation, struct buffer *bytes)
{
	struct world_job *job = arg;

	(void)bytes;
	if (!job->over)
		job->job(job->arg);
	world_at(world, world->now_ns + prng_below(&world->disk, 1000 * world->knobs.job_late_us), on_job_done, job,
		incarnation, NULL);
}

static void io_block(void *arg, void (*run)(void *), void (*done)(void *), void *job_arg)
{
	struct world_node *node = arg;
	struct world_job *job = calloc(1, sizeof(*job));
	uint64_t wait_ns;

	if (job == NULL)
		abort();
	*job = (struct world_job){ .node = node, .job = run, .done = done, .arg = job_arg };
	list_push_back(&node->jobs, &job->link);
	wait_ns = 3 * disk_latency_ns(node);
	if (node->world->knobs.job_wait_us > 0 && prng_below(&node->world->disk, 4) == 0)
		wait_ns += prng_below(&node->world->disk, 1000 * node->world->knobs.job_wait_us);
	world_at(node->world, node->world->now_ns + wait_ns, on_job_run, job, node->incarnation, NULL);
}

/* The process ends: what has run has run; what has not never will. */
static void jobs_end(struct world_node *node)
{
	for (struct list *link; (link = list_pop_front(&node->jobs)) != NULL;) {
		struct world_job *job = LIST_ENTRY(link, struct world_job, link);

		job->over = true;
		job->done(job->arg);
	}
}

static void on_flush_begin(struct world *world, void *arg, uint64_t incarnation, struct buffer *bytes)
{
	struct world_node *node = arg;

	(void)bytes;
	if (node->incarnation != incarnation)
		return;
	node->flush_queued = false;
	if (node->node == NULL || node->flush != NULL)
		return;
	if (node_flush_begin(node->node, &node->flush))
		world_at(world, world->now_ns + disk_latency_ns(node), on_flush_done, node, incarnation, NULL);
	else
		node->flush = NULL;
}

/* A node that stopped of itself is started again, as a supervisor would. */
static void on_supervisor(struct world *world, void *arg, uint64_t incarnation, struct buffer *bytes)
{
	struct world_node *node = arg;

	(void)bytes;
	if (node->node == NULL && node->incarnation == incarnation && !node->ruined)
		node_start(world, node->slot);
}

/* Looked at: it may have changed something that the checkers judge. */
static void kick(struct world_node *node, bool looked_at)
{
	struct world *world = node->world;
	uint64_t deadline, at_ns;

	if (node->node == NULL)
		return;
	if (node->failed) {
		node_crash(world, node->slot, false);
		world_at(world, world->now_ns + WORLD_SECOND / 2, on_supervisor, node, node->incarnation, NULL);
		return;
	}
	if (looked_at)
		checkers_observe(world, node);
	if (node->id == 0 && node_id(node->node) != 0)
		node->id = node_id(node->node);
	if (!node->flush_queued && node->flush == NULL) {
		node->flush_queued = true;
		world_at(world, world->now_ns, on_flush_begin, node, node->incarnation, NULL);
	}
	deadline = node_deadline(node->node);
	if (deadline == UINT64_MAX)
		return;
	at_ns = true_of_local(node, deadline);
	if (at_ns < world->now_ns + 1000)
		at_ns = world->now_ns + 1000; /* a process does not come back to its loop in no time */
	if (at_ns < node->timer_ns) {
		node->timer_ns = at_ns;
		world_at(world, at_ns, on_timer, node, node->incarnation, NULL);
	}
}

void node_kick(struct world_node *node)
{
	kick(node, true);
}

/* --- network --------------------------------------------------------------------------------------------------------
 */

static struct buffer *encode(struct world *world, const struct message *message)
{
	struct packer packer = { 0 };
	struct buffer *bytes;

	message_encode(message, &packer);
	bytes = buffer_new(packer.size);
	if (bytes == NULL)
		abort();
	packer = (struct packer){ .data = bytes->data, .capacity = bytes->size };
	message_encode(message, &packer);
	assert(!packer.overflow);
	world->stats.messages++;
	return bytes;
}

static uint64_t network_delay_ns(struct world *world, unsigned from_region, unsigned to_region)
{
	uint64_t base = world->delay_ns[from_region][to_region];
	uint64_t jitter = base * world->knobs.jitter_percent / 100 + 50000;

	base *= 1 + world->congested;

	return base + prng_below(&world->network, jitter + 1);
}

static void on_peer_delivery(struct world *world, void *arg, uint64_t route, struct buffer *bytes)
{
	struct world_node *to = arg;
	struct world_node *from = &world->nodes[route & 0xff];
	struct message message;

	if (to->node == NULL || world->cut[from->slot][to->slot]) {
		world->stats.dropped++;
		return;
	}
	if (to->paused_until_ns > world->now_ns) {
		world_at(world, next_turn_ns(to) + prng_below(&world->network, 1000000), on_peer_delivery, to, route,
			buffer_ref(bytes));
		return;
	}
	if (from->id == 0 || map_node_find(node_directory(to->node), from->id) == NULL) {
		node_stranger(to->node, node_now(to));
		world->stats.dropped++; /* as the listener does with whom the map does not name */
		return;
	}
	if (message_decode(buffer_bytes(bytes), &world->scratch, &message) != STATUS_OK) {
		world_fail(world, "a message of node %u does not decode", from->slot);
		return;
	}
	node_received(to->node, from->id, &from->who, &message, node_now(to));
	/* Most messages are of liveness. What groups do about it is seen at the node's next event. */
	kick(to, message.kind != MESSAGE_PING && message.kind != MESSAGE_PONG);
}

static void io_send(void *arg, uint64_t to_id, const struct message *message)
{
	struct world_node *from = arg, *to;
	struct world *world = from->world;
	struct buffer *bytes;
	unsigned copies = 1;

	to = world_node_by_id(world, to_id);
	if (to == NULL || from->dead)
		return;
	checkers_sent(world, from, to, message);
	if (world->verbose && message->group != 0 && message->group == world->trace_group)
		world_log(world, "node %u -> %u: kind %u term %llu%s", from->slot, to->slot, message->kind,
			(unsigned long long)message->term,
			message->kind == MESSAGE_APPEND_REPLY && message->append_reply.rejected ? " rejected" : "");
	bytes = encode(world, message);
	if (world->cut[from->slot][to->slot] || to->node == NULL ||
		(!world->healing && prng_chance(&world->network, world->knobs.loss_ppm))) {
		world->stats.dropped++;
		copies = 0;
	} else if (!world->healing && prng_chance(&world->network, world->knobs.duplicate_ppm)) {
		copies = 2;
	}
	for (unsigned i = 0; i < copies; i++)
		world_at(world, world->now_ns + network_delay_ns(world, from->region, to->region), on_peer_delivery, to,
			from->slot | (uint64_t)message->kind << 8, buffer_ref(bytes));
	buffer_unref(bytes);
}

struct request {
	unsigned client, region, slot;
	uint64_t number;
	struct peer_identity who;
};

static void on_request(struct world *world, void *arg, uint64_t value, struct buffer *bytes)
{
	struct request *request = arg;
	struct world_node *to = &world->nodes[request->slot];
	struct message message;

	(void)value;
	if (to->node != NULL && to->paused_until_ns > world->now_ns) {
		world_at(world, to->paused_until_ns, on_request, request, 0, buffer_ref(bytes));
		return;
	}
	if (to->node != NULL && !(world->cut_clients[to->slot] && request->region != to->region)) {
		if (message_decode(buffer_bytes(bytes), &world->scratch, &message) != STATUS_OK)
			world_fail(world, "a client's message does not decode");
		else
			node_requested(to->node, (uint64_t)request->client + 1 + ((uint64_t)request->region << 32),
				&request->who, &message, taken_up(to));
		node_kick(to);
	} else if (lost_fn != NULL) {
		lost_fn(world, request->client, request->slot, request->number);
	}
	free(request);
}

void world_request(struct world *world, unsigned client, unsigned region, const struct peer_identity *who,
	unsigned slot, const struct message *message)
{
	struct request *request = malloc(sizeof(*request));

	if (request == NULL)
		abort();
	*request = (struct request){
		.client = client, .region = region, .slot = slot, .number = message->request, .who = *who
	};
	world_at(world, world->now_ns + network_delay_ns(world, region, world->nodes[slot].region), on_request, request,
		client, encode(world, message));
}

static void on_reply(struct world *world, void *arg, uint64_t client, struct buffer *bytes)
{
	struct message message;

	(void)arg;
	if (message_decode(buffer_bytes(bytes), &world->scratch, &message) != STATUS_OK)
		world_fail(world, "a reply does not decode");
	else if (reply_fn != NULL)
		reply_fn(world, (unsigned)client, &message);
}

void world_on_reply(struct world *world, world_reply_fn *fn, world_lost_fn *lost)
{
	(void)world;
	reply_fn = fn;
	lost_fn = lost;
}

static void io_reply(void *arg, uint64_t connection, const struct message *message)
{
	struct world_node *from = arg;
	struct world *world = from->world;
	unsigned region = (unsigned)(connection >> 32), client = (unsigned)((connection & 0xffffffff) - 1);

	if (from->dead || world->mute || (world->cut_clients[from->slot] && region != from->region))
		return;
	world_at(world, world->now_ns + network_delay_ns(world, from->region, region), on_reply, from, client,
		encode(world, message));
}

static void io_flush_wanted(void *arg)
{
	struct world_node *node = arg;

	if (node->flush_queued || node->flush != NULL)
		return;
	node->flush_queued = true;
	world_at(node->world, node->world->now_ns, on_flush_begin, node, node->incarnation, NULL);
}

static void io_map_changed(void *arg, const struct cluster_map *map)
{
	(void)arg;
	(void)map;
}

/* Who was decommissioned and stops is needed by nobody, and leaves nothing. */
static void check_withdrawn(const struct world_node *node)
{
	for (size_t h = 0; node->node != NULL && h < node->node->table_size; h++) {
		const struct hosted *hosted = node->node->table[h];

		if (hosted != NULL && hosted->group != META_GROUP)
			world_fail(node->world, "node %u stops with a replica of %llx", node->slot,
				(unsigned long long)hosted->group);
		if (hosted != NULL && hosted->group == META_GROUP &&
			membership_is_voter(
				group_membership(driver_group(hosted->driver)), driver_replica_id(hosted->driver)))
			world_fail(node->world, "node %u stops while it votes in meta", node->slot);
	}
}

static void io_fatal(void *arg, enum status status, const char *what)
{
	struct world_node *node = arg;

	world_log(node->world, "node %u stops: %s: %s", node->slot, status_name(status), what);
	if (status == STATUS_DENIED)
		check_withdrawn(node);
	node->failed = true;
}

/* Not a signature: what it stands under is what it says. */
static bool io_sign(void *arg, struct bytes text, uint8_t *signature, size_t capacity, size_t *size)
{
	uint64_t hash = hash64(text);

	(void)arg;
	assert(capacity >= sizeof(hash));
	memcpy(signature, &hash, sizeof(hash));
	*size = sizeof(hash);
	return true;
}

static uint64_t io_random(void *arg)
{
	struct world_node *node = arg;

	return prng_next(&node->prng);
}

/* --- life of a node -------------------------------------------------------------------------------------------------
 */

bool world_node_up(const struct world *world, unsigned slot)
{
	return world->nodes[slot].node != NULL;
}

const struct cluster_map *world_newest_map(const struct world *world)
{
	const struct cluster_map *map = NULL;

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct cluster_map *other = world->nodes[i].node == NULL ? NULL : node_map(world->nodes[i].node);

		if (other != NULL && (map == NULL || other->epoch > map->epoch))
			map = other;
	}
	return map;
}

struct world_node *world_node_by_id(struct world *world, uint64_t id)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		if (world->nodes[i].id == id)
			return &world->nodes[i];
	}
	return NULL;
}

void world_node_dir(unsigned slot, unsigned life, char dir[WORLD_DIR_MAX])
{
	snprintf(dir, WORLD_DIR_MAX, life == 0 ? "/n%u" : "/n%u-%u", slot, life);
}

struct world_node *world_node_of(struct world *world, uint64_t id)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->nodes[i].former_count; j++) {
			if (world->nodes[i].former[j] == id)
				return &world->nodes[i];
		}
	}
	return world_node_by_id(world, id);
}

static uint64_t io_clock(void *arg)
{
	return node_now(arg).now_ns;
}

void node_start(struct world *world, unsigned slot)
{
	struct world_node *node = &world->nodes[slot];
	struct node_options options = {
		.data = node->dir,
		.cluster = "sim",
		.place = node->who.place,
		.cache_size = 1 << 20,
		.journal_segment_size = world->knobs.segment_size,
		.memory_size = world->knobs.memory_size,
		.support_us = world->knobs.support_us,
		.heartbeat_us = world->knobs.heartbeat_us,
		.drift_ppm = world->knobs.drift_ppm,
		.join = slot != 0 || node->former_count > 0,
	};
	struct node_io io = {
		.arg = node,
		.send = io_send,
		.reply = io_reply,
		.flush_wanted = io_flush_wanted,
		.map_changed = io_map_changed,
		.fatal = io_fatal,
		.block = io_block,
		.random = io_random,
		.sign = io_sign,
		.now = io_clock,
	};
	struct node_time time = node_now(node);
	const char *why = "";
	enum status status;

	assert(node->node == NULL);
	if (node->lost)
		return;
	memcpy(options.issuer_spki_sha256, node->who.issuer_spki_sha256, 32);
	options.addresses.count = 1;
	snprintf(options.addresses.at[0].address, sizeof(options.addresses.at[0].address), "n%u:1", slot);
	options.now_ns = time.now_ns;
	options.wall_us = time.wall_us;
	node->incarnation++;
	node->failed = false;
	node->flush = NULL;
	node->flush_queued = false;
	node->timer_ns = UINT64_MAX;
	node->paused_until_ns = 0;
	status = node_open(&options, &io, &node->node, &why);
	if (status == STATUS_CORRUPT && node->flipped) {
		/* A flipped bit took more than can be mended: the node says so and stays away. Its region is lost, no
		 * other may be. */
		world_log(world, "node %u cannot start: %s", slot, why);
		node->node = NULL;
		node->ruined = true;
		world->ruined = true;
		return;
	}
	if (status == STATUS_CONFLICT && world->knobs.drains) {
		world_log(world, "node %u does not start: %s", slot, why); /* until an operator comes */
		node->node = NULL;
		return;
	}
	if (status == STATUS_NO_SPACE && !world->healing) {
		world_log(world, "node %u does not start: its disk is full", slot);
		node->node = NULL;
		world_at(world, world->now_ns + WORLD_SECOND / 2, on_supervisor, node, node->incarnation, NULL);
		return;
	}
	if (status != STATUS_OK) {
		node->node = NULL;
		world_fail(world, "node %u does not start: %s: %s", slot, status_name(status), why);
		return;
	}
	world_log(world, "node %u up, id %llu", slot, (unsigned long long)node_id(node->node));
	checkers_started(world, node);
	for (unsigned i = 0; i < world->node_count; i++) {
		if (i != slot && world->nodes[i].node != NULL && node_id(node->node) != 0) {
			node_peer_connected(world->nodes[i].node, node->id, node_now(&world->nodes[i]));
			node_kick(&world->nodes[i]);
		}
	}
	node_kick(node);
}

void node_crash(struct world *world, unsigned slot, bool power_cut)
{
	struct world_node *node = &world->nodes[slot];
	struct journal_flush *flush = node->flush;
	struct node *dead = node->node;

	if (dead == NULL)
		return;
	world_log(world, "node %u %s", slot, power_cut ? "loses power" : "is killed");
	node->node = NULL; /* nothing finds it any more */
	node->dead = true;
	node->flush = NULL;
	if (flush != NULL) {
		/* The flush was under way: some of its writes may have reached the page cache, none was synced. */
		uint64_t ticket;

		disk_model_fail_sync(node->dir, true);
		if (prng_chance(&world->disk, 500000)) {
			enum status status = journal_flush_run(flush);

			(void)status;
		}
		disk_model_fail_sync(node->dir, false);
		if (power_cut)
			disk_model_power_cut(node->dir, &world->disk);
		else
			disk_model_crash(node->dir);
		engine_model_crash(node->dir);
		(void)ticket;
		node_flush_end(dead, flush, STATUS_IO,
			node_now(node)); /* hands the job back so that the journal may be freed */
	} else {
		if (power_cut)
			disk_model_power_cut(node->dir, &world->disk);
		else
			disk_model_crash(node->dir);
		engine_model_crash(node->dir);
	}
	checkers_crashed(world, node);
	if (lost_fn != NULL)
		lost_fn(world, UINT32_MAX, slot, 0);
	jobs_end(node);
	node_close(dead);
	node->dead = node->failed = false;
}

void node_replace(struct world *world, unsigned slot)
{
	struct world_node *node = &world->nodes[slot];

	node_crash(world, slot, false);
	if (node->former_count == WORLD_FORMER_MAX) {
		world_fail(world, "node %u was replaced too often", slot);
		return;
	}
	node->former[node->former_count++] = node->id;
	node->id = 0;
	node->lost = false;
	world_node_dir(slot, node->former_count, node->dir);
	node_start(world, slot);
}

void node_pause(struct world *world, unsigned slot, uint64_t for_ns)
{
	struct world_node *node = &world->nodes[slot];

	if (node->node == NULL)
		return;
	world_log(world, "node %u pauses for %llu ms", slot, (unsigned long long)(for_ns / 1000000));
	if (node->paused_until_ns <= world->now_ns)
		node->before_pause = node_now(node);
	node->paused_until_ns = world->now_ns + for_ns;
	world->stats.pauses++;
}

void world_heal(struct world *world)
{
	world->healing = true;
	world->congested = 0;
	world->writers = world->silent = 0;
	memset(world->cut, 0, sizeof(world->cut));
	memset(world->cut_clients, 0, sizeof(world->cut_clients));
	world->mute = false;
	for (unsigned i = 0; i < world->node_count; i++) {
		world->nodes[i].slow_disk = false;
		disk_model_quota(world->nodes[i].dir, UINT64_MAX);
		disk_model_fail_sync(world->nodes[i].dir, false);
		engine_model_fail(world->nodes[i].dir, 0);
	}
	for (unsigned i = 0; i < world->node_count; i++) {
		if (world->nodes[i].node == NULL && !world->nodes[i].ruined)
			node_start(world, i);
	}
	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned j = 0; j < world->node_count && world->nodes[i].node != NULL; j++) {
			if (i != j && world->nodes[j].id != 0)
				node_peer_connected(
					world->nodes[i].node, world->nodes[j].id, node_now(&world->nodes[i]));
		}
		node_kick(&world->nodes[i]);
	}
}

/* --- the world ------------------------------------------------------------------------------------------------------
 */

void world_knobs_from_seed(struct world *world)
{
	struct world_knobs *knobs = &world->knobs;
	struct prng prng;

	prng_seed(&prng, world->seed * UINT64_C(0x9e3779b97f4a7c15) + 1);
	knobs->regions = prng_below(&prng, 4) == 0 ? 5 : 4;
	knobs->nodes_per_region = prng_below(&prng, 4) != 0 ? 1 : prng_below(&prng, 4) == 0 ? 3 : 2;
	knobs->copies = knobs->regions == 5 && prng_below(&prng, 2) == 0 ? 5 : 3;
	knobs->clients_per_region = 1 + (unsigned)prng_below(&prng, 2);
	knobs->keys = 4 + (unsigned)prng_below(&prng, 12);
	knobs->wide = prng_below(&prng, 2) == 0;
	knobs->support_us = 300000 + prng_below(&prng, 1200000);
	if (knobs->wide && knobs->support_us < 800000)
		knobs->support_us += 600000;
	knobs->heartbeat_us = knobs->support_us / 10;
	knobs->disk_us = 50 + prng_below(&prng, 3000);
	knobs->disk_stall_us = 200000 + prng_below(&prng, 1500000);
	knobs->segment_size = UINT64_C(1) << 20;
	knobs->memory_size = UINT64_C(64) << (10 + prng_below(&prng, 10));
	knobs->drift_ppm = 10000;
	knobs->clock_error_ppm =
		prng_below(&prng, 2) == 0 ? 100 : 4900; /* each clock; two differ by twice that at most */
	knobs->loss_ppm = prng_below(&prng, 3) == 0 ? 0 : (uint32_t)prng_below(&prng, 30000);
	knobs->duplicate_ppm = prng_below(&prng, 3) == 0 ? 0 : (uint32_t)prng_below(&prng, 30000);
	knobs->jitter_percent = (uint32_t)prng_below(&prng, 60);
	knobs->crashes = prng_below(&prng, 2) == 0;
	knobs->power_cuts = prng_below(&prng, 2) == 0;
	knobs->all_power_cut = prng_below(&prng, 4) == 0;
	knobs->partitions = prng_below(&prng, 2) == 0;
	knobs->one_way = prng_below(&prng, 3) == 0;
	knobs->pauses = prng_below(&prng, 3) == 0;
	knobs->clock_jumps = prng_below(&prng, 3) == 0;
	knobs->disk_slow = prng_below(&prng, 3) == 0;
	knobs->disk_full = prng_below(&prng, 6) == 0;
	knobs->moves = prng_below(&prng, 3) == 0;
	knobs->transfers = prng_below(&prng, 2) == 0;
	knobs->bindings = prng_below(&prng, 4) == 0;
	knobs->local_reads = prng_below(&prng, 3) != 0;
	knobs->bit_flips = prng_below(&prng, 6) == 0;
	knobs->fault_gap_ms = prng_below(&prng, 4) == 0 ? 500 : 3000;
	knobs->congestion = prng_below(&prng, 4) == 0;
	knobs->splits = prng_below(&prng, 3) == 0;
	knobs->compactions = prng_below(&prng, 2) == 0;
	knobs->overlap = prng_below(&prng, 3) == 0;
	knobs->value_size_max = prng_below(&prng, 4) == 0 ? (unsigned)prng_below(&prng, 6000) : 0;
	knobs->levels = prng_below(&prng, 2) == 0;
	/* A journal that lost more than can be mended takes its region's copies away: one such loss is what counts. */
	knobs->damages = prng_below(&prng, 4) == 0 && !knobs->bit_flips;
	knobs->follow = prng_below(&prng, 3) == 0;
	knobs->job_late_us = 1000;
	knobs->cold = prng_below(&prng, 3) == 0 ? 2 + (unsigned)prng_below(&prng, 4) : 0;
	/* Who stands alone with the witness has the only copy: its disk is not what `survive` speaks of. */
	knobs->witness = prng_below(&prng, 3) == 0 && !knobs->bit_flips && !knobs->damages;
	knobs->drains = prng_below(&prng, 4) == 0;
	knobs->erase_within_s = prng_below(&prng, 4) == 0 ? ERASE_WITHIN_S_MIN : 0;
	knobs->ranges = prng_below(&prng, 4) == 0;
	if (knobs->drains && knobs->nodes_per_region == 1)
		knobs->nodes_per_region = 2; /* or there is hardly a place to go to */
	if (knobs->drains)
		knobs->disk_full = false; /* who is admitted on a full disk is in the map, and never comes */
	if (!knobs->crashes && !knobs->power_cuts && !knobs->partitions && !knobs->pauses)
		knobs->crashes = true;
}

struct world *world_new(uint64_t seed, knobs_fn *adjust, bool verbose)
{
	struct world *world = calloc(1, sizeof(*world));
	struct prng root;

	if (world == NULL)
		abort();
	disk_model_reset();
	engine_model_reset();
	world->seed = seed;
	world->verbose = verbose;
	prng_seed(&root, seed);
	world->network = prng_fork(&root, 1);
	world->disk = prng_fork(&root, 2);
	world->faults = prng_fork(&root, 3);
	world->load = prng_fork(&root, 4);
	world->clocks = prng_fork(&root, 5);
	world->drains = prng_fork(&root, 6);
	world->ranges = prng_fork(&root, 7);
	world->event_pool = calloc(WORLD_EVENTS_MAX, sizeof(struct world_event));
	world->event_nodes = calloc(WORLD_EVENTS_MAX, sizeof(struct heap_node *));
	if (world->event_pool == NULL || world->event_nodes == NULL)
		abort();
	for (uint32_t i = WORLD_EVENTS_MAX; i > 0; i--) {
		world->event_pool[i - 1].next_free = world->event_free;
		world->event_free = i;
	}
	heap_init(&world->events, world->event_nodes, WORLD_EVENTS_MAX);
	world_knobs_from_seed(world);
	if (adjust != NULL)
		adjust(&world->knobs);
	engine_model_cold(world->knobs.cold);
	for (unsigned a = 0; a < WORLD_REGIONS_MAX; a++) {
		for (unsigned b = 0; b < WORLD_REGIONS_MAX; b++)
			world->delay_ns[a][b] = world->knobs.wide ? (uint64_t)wide_rtt[a][b] * 500000
						: a == b	  ? 100000
								  : 400000;
	}
	world->node_count = world->knobs.regions * world->knobs.nodes_per_region;
	assert(world->node_count <= WORLD_NODES_MAX);
	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *node = &world->nodes[i];
		char place[PLACE_TEXT_MAX];
		const char *why;

		node->world = world;
		node->slot = i;
		node->region = i % world->knobs.regions;
		world_node_dir(i, 0, node->dir);
		snprintf(place, sizeof(place), "%s/%c/n%u", world_places[node->region],
			(char)('a' + i / world->knobs.regions), i);
		node->who.role = PEER_NODE;
		if (!place_parse(place, &node->who.place, &why))
			abort();
		memset(node->who.issuer_spki_sha256, (int)node->region + 1, 32);
		node->offset_ns = prng_below(&world->clocks, UINT64_C(1000000) * WORLD_SECOND / 1000);
		node->rate = 1 + ((double)prng_below(&world->clocks, 2 * world->knobs.clock_error_ppm + 1) -
					 (double)world->knobs.clock_error_ppm) /
					 1e6;
		node->prng = prng_fork(&root, 100 + i);
		node->timer_ns = UINT64_MAX;
		list_init(&node->jobs);
	}
	world->checkers = checkers_new(world);
	return world;
}

void world_free(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++)
		node_crash(world, i, false);
	for (struct heap_node *first; (first = heap_min(&world->events)) != NULL;) {
		struct world_event *event =
			(struct world_event *)(void *)((char *)first - offsetof(struct world_event, node));

		heap_remove(&world->events, first);
		if (event->bytes != NULL)
			buffer_unref(event->bytes);
		if (event->fn == on_request || event->fn == on_job_run || event->fn == on_job_done)
			free(event->arg);
	}
	checkers_free(world->checkers);
	disk_model_reset();
	engine_model_reset();
	free(world->event_pool);
	free(world->event_nodes);
	free(world);
}
