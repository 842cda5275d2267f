/* server/node_open.c: how a node comes and goes: its identity, what journal and engines hold of its replicas, admission
 * to a cluster, closing. */
#include "server/node_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/codec.h"

/* --- opening --------------------------------------------------------------------------------------------------------
 */

enum { ORPHANS_MAX = 1024, STRANGER_MS = 5000 /* a node that was just admitted is in our map before that */ };

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
	hosted_options(node, 0, replica, &options);
	options.map = node->map;
	recovery->status = driver_open(&options, &driver);
	if (recovery->status == STATUS_NOT_FOUND) {
		/* Its birth never became durable: nothing was promised by it. */
		recovery->status = engine_remove(node->engines, replica);
		return recovery->status == STATUS_OK;
	}
	if (recovery->status != STATUS_OK)
		return false;
	hosted = hosted_add(node, driver_group_id(driver), 0, driver);
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
	status = node_ledger_begin(node, why);
	if (status != STATUS_OK)
		return status;
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
	status = node_ledger_reconcile(node, why);
	if (status == STATUS_OK)
		status = erasure_begin(node, why);
	if (status != STATUS_OK)
		return status;
	node->running = true;
	node_journal_judged(node);
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
		if (node->identity.map_epoch == IDENTITY_WITHDRAWN) {
			*why = "the node of this data directory was decommissioned; start with an empty one";
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
	void *map = calloc(1, cluster_map_size(limits)), *bootstrap = calloc(1, cluster_map_size(limits)),
	     *directory = calloc(1, cluster_map_size(limits));

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
	if (directory != NULL)
		node->directory_map = cluster_map_init(directory, limits);
	if (map == NULL || bootstrap == NULL || directory == NULL || node->liveness == NULL ||
		node->liveness_out == NULL || node->effects == NULL || node->scratch == NULL || node->pending == NULL ||
		node->rtt == NULL)
		return false;
	return hosted_grow(node);
}

/* The end of the last start came between the identity and meta's first replica here. Nothing else can be here, so
 * nothing was promised: the node is admitted, or the cluster made, once more; the incarnation is the same, so the id is
 * too. */
static void unbegin(struct node *node)
{
	assert(node->hosted_count == 0);
	node_ledger_end(node);
	erasure_end(node);
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
	node->mover_ns = node->probe_ns = node->erasure.next_ns = UINT64_MAX;
	node->time = (struct node_time){ options->now_ns, options->wall_us };
	node->boot = io->random(io->arg) | 1;
	node->adopt_number = node->boot; /* no answer to what an earlier process asked passes for one to us */
	node->owner = hosted_callbacks;
	node->owner.arg = node;
	list_init(&node->turns);
	list_init(&node->later);
	heap_init(&node->timers, NULL, 0);
	size_t data_size = strlen(options->data) + 1, name_size = strlen(options->cluster) + 1;

	if (data_size > sizeof(node->data) || name_size > sizeof(node->cluster_name)) {
		free(node);
		*why = "the data directory's path or the cluster's name is too long";
		return STATUS_INVALID;
	}
	memcpy(node->data, options->data, data_size);
	memcpy(node->cluster_name, options->cluster, name_size);
	node->site.place = options->place;
	node->options.certificate = bytes_of(NULL, 0); /* the caller's: kept as a copy */
	if (options->certificate.size > 0)
		node->certificate = buffer_copy(options->certificate);
	if (!allocate(node) || (options->certificate.size > 0 && node->certificate == NULL)) {
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
	node_map_noticed(node);
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
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL)
			rebind_forget(node->table[i]);
		free(node->table[i]);
	}
	for (uint32_t i = 0; i < node->pending_used; i++) {
		if (node->pending[i].kind != PENDING_FREE)
			pending_release(node, &node->pending[i]);
	}
	node_ledger_end(node);
	erasure_end(node);
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
	free(node->directory_map);
	free(node->liveness);
	free(node->liveness_out);
	free(node->effects);
	free(node->scratch);
	free(node->pending);
	free(node->rtt);
	buffer_unref(node->certificate);
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

/* Into bootstrap_map, as the node of this id. */
static enum status bootstrap_take(struct node *node, struct bytes map, uint64_t id, const char **why)
{
	const struct map_node *own;
	enum status status = cluster_map_decode(map, node->bootstrap_map);

	if (status != STATUS_OK) {
		*why = "the map in the answer does not decode";
		return status;
	}
	if (strcmp(node->bootstrap_map->name, node->cluster_name) != 0) {
		*why = "that is another cluster";
		return STATUS_CONFLICT;
	}
	own = map_node_find(node->bootstrap_map, id);
	if (own == NULL || !place_equal(&own->place, &node->options.place) ||
		own->incarnation != node->identity.incarnation) {
		*why = "the answer's map does not hold this node";
		return STATUS_NOT_FOUND;
	}
	node->bootstrap = true;
	return STATUS_OK;
}

enum status node_joined(struct node *node, const struct message *message, struct node_time time, const char **why)
{
	const struct map_node *own;
	enum status status;

	node_enter(node, time);
	if (node->running)
		return STATUS_OK;
	status = bootstrap_take(node, message->reply.detail, message->reply.version, why);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_INVALID : status;
	own = map_node_find(node->bootstrap_map, message->reply.version);
	node->identity.node = own->id;
	memcpy(node->identity.cluster, node->bootstrap_map->cluster, 16);
	status = node_begin(node, why);
	if (status == STATUS_OK && node->meta == NULL) {
		status = node_host(node, META_GROUP, own->meta_replica, false, 0, NULL);
		*why = "meta's replica could not be created";
	}
	node_map_noticed(node);
	node_turn(node);
	return status;
}

bool node_unmapped(const struct node *node)
{
	if (!node->running || node->failed || node->meta == NULL || driver_leads(node->meta->driver))
		return false;
	return node_map_in_force(node)->epoch == 0 ||
	       (node->stranger_ns != 0 && node->time.now_ns > node->stranger_ns + (uint64_t)STRANGER_MS * 1000000);
}

static enum status directory_take(struct node *node, struct bytes bytes, const char **why)
{
	struct cluster_map *map = node->directory_map;
	const struct map_node *own;
	enum status status;

	node->directory = false;
	node->stranger_ns = 0;
	status = cluster_map_decode(bytes, map);
	if (status != STATUS_OK) {
		*why = "the map in the answer does not decode";
		return status;
	}
	if (memcmp(map->cluster, node->identity.cluster, 16) != 0) {
		*why = "that is another cluster";
		return STATUS_CONFLICT;
	}
	own = map_node_find(map, node->identity.node);
	if (own == NULL || own->incarnation != node->identity.incarnation ||
		map->epoch <= node_map_in_force(node)->epoch) {
		*why = "that map is no newer, or does not name this node";
		return STATUS_NOT_FOUND;
	}
	node->directory = true;
	node->io.map_changed(node->io.arg, map);
	return STATUS_OK;
}

enum status node_mapped(struct node *node, const struct message *message, struct node_time time, const char **why)
{
	enum status status;

	node_enter(node, time);
	if (!node_unmapped(node))
		return STATUS_OK;
	if (node_map_in_force(node)->epoch != 0) {
		status = directory_take(node, message->map_reply.map, why);
		node_turn(node);
		return status;
	}
	status = bootstrap_take(node, message->map_reply.map, node->identity.node, why);
	if (status == STATUS_OK && memcmp(node->bootstrap_map->cluster, node->identity.cluster, 16) != 0) {
		node->bootstrap = false;
		*why = "that is another cluster";
		return STATUS_CONFLICT;
	}
	if (status != STATUS_OK)
		return status;
	node_map_noticed(node);
	node_turn(node);
	return STATUS_OK;
}
