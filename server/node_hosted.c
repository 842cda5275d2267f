/* server/node_hosted.c: the replicas of a node: a table by group, their options and callbacks, one made, one removed.
 */
#include "server/node_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

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

bool hosted_grow(struct node *node)
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

	if ((node->hosted_count + 1) * 2 > node->table_size && !hosted_grow(node))
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

	if (hosted == NULL || to == node->identity.node || map_node_fenced(node_directory(node), to) ||
		!residency_send(node, hosted, to, message))
		return;
	node_ledger_snapshot(node, hosted, to, message, true);
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

	log_debug("role", LOG_H("group", driver_group_id(driver)), LOG_B("leads", driver_leads(driver)),
		LOG_U("leader_node", driver_leader_node(driver)),
		LOG_U("term", group_status(driver_group(driver), node->time.now_ns).term));
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
		rebind_applied(hosted, fence);
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

const struct driver_owner hosted_callbacks = {
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

void hosted_options(struct node *node, uint64_t group, uint64_t replica, struct driver_options *options)
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

struct hosted *hosted_add(struct node *node, uint64_t group, uint64_t policy, struct driver *driver)
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
	node->erasure.next_ns = node->time.now_ns;
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
	if (erasure_goes_on(hosted))
		node->erasure.next_ns = node->time.now_ns;
	if (driver_needs_turn(hosted->driver) && !hosted->queued) {
		hosted->queued = true;
		list_push_back(&node->turns, &hosted->turns);
	}
}

enum status node_host(struct node *node, uint64_t group, uint64_t replica, bool witness, uint64_t policy,
	const struct membership *birth)
{
	struct driver_options options;
	struct driver *driver;
	struct hosted *hosted;
	enum status status;

	status = node_ledger_host(node, group, replica, witness, policy);
	if (status != STATUS_OK)
		return status;
	hosted_options(node, group, replica, &options);
	options.witness = witness;
	status = driver_create(&options, birth, node->time, &driver);
	if (status != STATUS_OK)
		return status;
	hosted = hosted_add(node, group, policy, driver);
	if (hosted == NULL) {
		driver_close(driver);
		return STATUS_NO_MEMORY;
	}
	hosted->clean.newcomer = birth == NULL;
	log_info("replica created", LOG_H("group", group), LOG_U("replica", replica), LOG_B("learns", birth == NULL),
		LOG_B("witness", witness));
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
	erasure_leaving(node, hosted);
	rebind_forget(hosted);
	status = driver_destroy(hosted->driver);
	table_remove(node, hosted);
	free(hosted);
	log_info("replica removed", LOG_H("group", group), LOG_U("replica", replica),
		LOG_S("status", status_name(status)));
	if (status != STATUS_OK) {
		node->io.fatal(node->io.arg, status, "a removed replica's files could not be deleted");
		return;
	}
	node_ledger_removed(node, group, replica);
	erasure_left(node, replica);
}
