/* server/gateway_read.c: reads at this node, from the request to the value. A strong read is served by the replica's
 * own lease when it holds one (docs/leases.md), else after a round of ReadIndex; reads that may be old are served at
 * once while it is known how old the state is at most, and say so.
 *
 *     strong: lease ---------------> serve --> lease still there? --> answer
 *               |  held on a write --^             | no
 *               +--> round of ReadIndex --> serve  +--> round of ReadIndex
 *     session: what it has seen is applied --> serve; else as strong
 *     bounded, nearest: the state is young enough --> serve; else as strong */
#include "server/node_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"

enum {
	REFRESH_MS = 250,  /* reads of any age: a state older than that is asked about in the background */
	DRIFT_PERCENT = 1, /* our clock against true time */
	MS_NS = 1000 * 1000,
};

/* --- how old --------------------------------------------------------------------------------------------- */

/* At most so many milliseconds before `at_ns` lies the instant since which a state that is known up to `fresh_ns` may
 * lack something. */
static uint64_t age_ms(uint64_t fresh_ns, uint64_t at_ns)
{
	uint64_t age_ns = at_ns > fresh_ns ? at_ns - fresh_ns : 0;
	age_ns += age_ns * DRIFT_PERCENT / 100;
	return (age_ns + MS_NS - 1) / MS_NS;
}

static bool young_enough(const struct node *node, const struct hosted *hosted, const struct pending *pending)
{
	const struct policy *policy = map_policy_find(node_map_in_force(node), hosted->policy);
	uint64_t age = age_ms(driver_fresh_ns(hosted->driver), node->time.now_ns);
	if (driver_fresh_ns(hosted->driver) == 0 || policy == NULL)
		return false;
	/* Cut off from the leader: only what the policy lets such a place say. */
	if (driver_leader_node(hosted->driver) == 0 && age > policy->isolated_stale_ms)
		return false;
	return pending->level == READ_NEAREST || age <= pending->staleness_max_ms;
}

/* Keys may have come here from another shard: what the state was before that is no answer by the map. */
static bool since_switch(const struct node *node, const struct hosted *hosted)
{
	return driver_fresh_ns(hosted->driver) >= node->switched_ns;
}

static bool refresh_due(const struct node *node, const struct hosted *hosted, const struct pending *pending)
{
	uint64_t age = age_ms(driver_fresh_ns(hosted->driver), node->time.now_ns);
	return pending->level == READ_NEAREST ? age > REFRESH_MS : 2 * age > pending->staleness_max_ms;
}

/* By what was known when the value was read, not now: a read that misses the cache waits, and the state goes on. */
static void staleness_tell(const struct pending *pending, struct message_reply *reply)
{
	uint64_t age = pending->by == READ_BY_AGE ? age_ms(pending->fresh_ns, pending->arrived_ns) : 0;
	reply->staleness_ms = age < UINT32_MAX ? (uint32_t)age : UINT32_MAX;
}

/* --- values ------------------------------------------------------------------------------------------------ */

/* The rules may have changed while the read waited. False: answered. */
static bool still_allowed(struct node *node, struct pending *pending)
{
	const struct policy *policy = map_policy_find(node_map_in_force(node), pending->policy);
	char why[256];

	if (policy != NULL && residency_reader(node, policy, &pending->place, false, why, sizeof(why)))
		return true;
	gateway_reply(node, pending->connection, pending->request,
		policy == NULL ? STATUS_STALE_MAP : STATUS_RESIDENCY_REFUSED,
		policy == NULL ? "a newer map is in force" : why);
	return false;
}

/* After the value was read, with a clock read after that. False: it may not be shown; a round of ReadIndex follows. */
static bool lease_stood(struct node *node, struct hosted *hosted, struct pending *pending, uint64_t token)
{
	if (pending->by != READ_BY_LEASE || driver_may_read(hosted->driver, node->io.now(node->io.arg)))
		return true;
	pending->by = READ_BY_ROUND;
	driver_read(hosted->driver, token, node->time);
	node_touch(node, hosted);
	return false;
}

static void answer_get(struct node *node, const struct hosted *hosted, struct pending *pending, enum status status,
	const struct buffer *row, uint64_t index)
{
	struct message reply;
	struct reply_row answer = { 0 };
	struct stored_value stored;

	if (!still_allowed(node, pending))
		return;
	if (status == STATUS_OK)
		status = stored_value_decode(buffer_bytes(row), &stored);
	else if (status == STATUS_CORRUPT)
		status = STATUS_BUSY; /* never told as an answer: another copy has it, and mends this one */
	gateway_reply_begin(node, &reply, pending->request, status);
	reply.reply.leader_node = driver_leader_node(hosted->driver);
	reply.reply.index = index;
	staleness_tell(pending, &reply.reply);
	if (status == STATUS_OK) {
		answer.value = stored.value;
		answer.version = stored.version;
		reply.reply.version = stored.version;
		reply.reply.row_count = 1;
		reply.reply.rows = &answer;
	} else if (status != STATUS_NOT_FOUND) {
		reply.reply.detail = bytes_text("the replica could not read its disk");
	}
	node->replies++;
	node->io.reply(node->io.arg, pending->connection, &reply);
}

static bool fence_covers(const struct node *node, const struct command *fence, const struct pending *pending)
{
	struct bytes key = buffer_bytes(pending->key);

	if (fence->range)
		return pending->kind == PENDING_SCAN || hash_within(hash_key(key), fence->hash_first, fence->hash_last);
	if (fence->exact) {
		struct hash128 hash = hash_keyed(key, node_map_in_force(node)->hash_secret);

		return pending->kind == PENDING_SCAN ||
		       (hash.high == fence->exact_hash[0] && hash.low == fence->exact_hash[1]);
	}
	return bytes_starts_with(key, fence->key) ||
	       (pending->kind == PENDING_SCAN && bytes_starts_with(fence->key, key));
}

/* What lies behind a fence may live elsewhere by now, whether our map knows that yet or not: an answer from here could
 * be old. A scan is answered to whoever knows what our map knows; its plan asks there too. */
static enum status judge_fences(const struct node *node, const struct hosted *hosted, const struct pending *pending)
{
	struct command fence;

	for (uint32_t i = 0; driver_fence_at(hosted->driver, i, &fence); i++) {
		if (!fence_covers(node, &fence, pending))
			continue;
		if (!mover_fence_moved(node, hosted, &fence))
			return STATUS_BUSY;
		if (fence.range && pending->kind == PENDING_SCAN)
			continue; /* by the range of the shard, below */
		if (pending->kind == PENDING_READ || pending->map_epoch < node_map_in_force(node)->epoch)
			return STATUS_STALE_MAP;
	}
	return STATUS_OK;
}

/* Whoever scans by a map in which the shard has other hashes asks too many shards, or too few. */
static bool range_differs(const struct node *node, const struct hosted *hosted, const struct pending *pending)
{
	const struct map_shard *shard = map_shard_find(node_map_in_force(node), hosted->group);

	if (pending->kind != PENDING_SCAN)
		return false;
	return shard == NULL || map_shard_empty(shard) || pending->map_epoch < shard->range_epoch;
}

/* Which rows of ours live here, our map must say; and it must be the asker's, who left others to other shards. Of one
 * key that was said when it was asked for. */
static bool map_too_old(const struct node *node, const struct hosted *hosted, const struct pending *pending)
{
	uint64_t epoch = node_map_in_force(node)->epoch;

	if (pending->judged_epoch < driver_write_epoch(hosted->driver))
		return true;
	return pending->kind == PENDING_SCAN &&
	       (epoch < driver_move_epoch(hosted->driver) || epoch < pending->map_epoch);
}

/* What the fences and maps say against an answer from here. True: that was answered. */
static bool refused(struct node *node, const struct hosted *hosted, const struct pending *pending)
{
	enum status fences = judge_fences(node, hosted, pending);

	if (fences == STATUS_OK && range_differs(node, hosted, pending))
		fences = STATUS_STALE_MAP;
	if (map_too_old(node, hosted, pending))
		gateway_reply(node, pending->connection, pending->request, STATUS_BUSY,
			"this node has not heard of that map yet");
	else if (fences != STATUS_OK)
		gateway_reply(node, pending->connection, pending->request, fences,
			fences == STATUS_BUSY ? "the key is being moved to another shard" : "a newer map is in force");
	else
		return false;
	return true;
}

/* A read that misses the block cache: on a thread that may block; the loop goes on. */
struct read_job {
	struct node *node;
	struct engine *engine;
	struct buffer *key, *row;
	uint64_t token, group, index;
	enum status status;
};

static void read_job_run(void *arg)
{
	struct read_job *job = arg;

	job->status = engine_get(job->engine, ENGINE_SPACE_KEYS, buffer_bytes(job->key), &job->row);
}

static void read_job_done(void *arg)
{
	struct read_job *job = arg;
	struct hosted *hosted = node_hosted(job->node, job->group);
	struct pending *pending = pending_find(job->node, job->token);

	assert(hosted != NULL); /* a replica with a read under way is not removed */
	hosted->reading--;
	node_touch(job->node, hosted);		       /* the read may have found the engine damaged */
	job->node->io.flush_wanted(job->node->io.arg); /* whoever owns the loop looks at the deadline anew */
	if (pending != NULL && lease_stood(job->node, hosted, pending, job->token)) { /* else the client has gone */
		/* While it waited for the disk, its key may have gone to another policy's shard, and its row with it.
		 */
		if (!refused(job->node, hosted, pending))
			answer_get(job->node, hosted, pending, job->status, job->row, job->index);
		pending_release(job->node, pending);
	}
	if (job->row != NULL)
		buffer_unref(job->row);
	buffer_unref(job->key);
	free(job);
}

/* False: no memory for the job. */
static bool read_blocking(
	struct node *node, struct hosted *hosted, const struct pending *pending, uint64_t token, uint64_t index)
{
	struct read_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return false;
	job->node = node;
	job->engine = driver_engine(hosted->driver);
	job->key = buffer_ref(pending->key);
	job->token = token;
	job->group = hosted->group;
	job->index = index;
	hosted->reading++;
	node->io.block(node->io.arg, read_job_run, read_job_done, job);
	return true;
}

/* The rows of a scan, copied out of the engine; one thread. */
struct scan_rows {
	struct reply_row rows[SCAN_ROWS_MAX];
	struct buffer *owners[SCAN_ROWS_MAX];
	uint32_t count;
	size_t size;
	bool more;
};

static enum status scan_take(struct scan_rows *rows, struct bytes key, const struct stored_value *stored)
{
	struct buffer *owner = buffer_new(key.size + stored->value.size);
	struct reply_row *row = &rows->rows[rows->count];

	if (owner == NULL)
		return STATUS_BUSY;
	memcpy(owner->data, key.data, key.size);
	if (stored->value.size > 0)
		memcpy(owner->data + key.size, stored->value.data, stored->value.size);
	row->key = bytes_of(owner->data, key.size);
	row->value = bytes_of(owner->data + key.size, stored->value.size);
	row->version = stored->version;
	rows->owners[rows->count++] = owner;
	rows->size += owner->size;
	return STATUS_OK;
}

static enum status scan_fill(
	const struct node *node, const struct hosted *hosted, const struct pending *pending, struct scan_rows *rows)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_shard *shard = map_shard_find(map, hosted->group);
	bool moves = map_moves_under(map, shard, buffer_bytes(pending->key));
	struct engine_iter *iter;
	struct bytes key, value;
	enum status status = engine_iter_open(driver_engine(hosted->driver), ENGINE_SPACE_KEYS,
		buffer_bytes(pending->key), buffer_bytes(pending->after), &iter);

	rows->count = 0;
	rows->size = 0;
	rows->more = false;
	while (status == STATUS_OK) {
		struct stored_value stored;

		status = engine_iter_next(iter, &key, &value);
		if (status != STATUS_OK)
			break;
		/* Rows on their way live where the map says, and are shown by nobody else. */
		if (moves && !map_lives_in(map, shard, key))
			continue;
		if (rows->count == pending->limit ||
			(rows->count > 0 && rows->size + key.size + value.size > SCAN_BYTES_MAX)) {
			rows->more = true;
			break;
		}
		status = stored_value_decode(value, &stored);
		if (status == STATUS_OK)
			status = scan_take(rows, key, &stored);
	}
	if (iter != NULL)
		engine_iter_close(iter);
	if (status == STATUS_CORRUPT)
		return STATUS_BUSY;
	return status == STATUS_END ? STATUS_OK : status;
}

/* False: the lease did not stand; the read goes on. */
static bool answer_scan(
	struct node *node, struct hosted *hosted, struct pending *pending, uint64_t token, uint64_t index)
{
	static struct scan_rows rows;
	struct message reply;
	enum status status;
	bool stood;

	if (!still_allowed(node, pending))
		return true;
	status = scan_fill(node, hosted, pending, &rows);
	stood = lease_stood(node, hosted, pending, token);
	if (stood) {
		gateway_reply_begin(node, &reply, pending->request, status);
		reply.reply.leader_node = driver_leader_node(hosted->driver);
		reply.reply.index = index;
		staleness_tell(pending, &reply.reply);
		reply.reply.more = rows.more;
		reply.reply.row_count = status == STATUS_OK ? rows.count : 0;
		reply.reply.rows = rows.rows;
		node->replies++;
		node->io.reply(node->io.arg, pending->connection, &reply);
	}
	for (uint32_t i = 0; i < rows.count; i++)
		buffer_unref(rows.owners[i]);
	return stood;
}

/* False: it goes on, here or on another thread, and keeps its `pending`. */
static bool read_get(struct node *node, struct hosted *hosted, struct pending *pending, uint64_t token, uint64_t index)
{
	struct buffer *row = NULL;
	enum status got =
		engine_get_cached(driver_engine(hosted->driver), ENGINE_SPACE_KEYS, buffer_bytes(pending->key), &row);
	bool stood;

	if (got == STATUS_BUSY && node->io.block != NULL && read_blocking(node, hosted, pending, token, index))
		return false;
	if (got == STATUS_BUSY)
		got = engine_get(driver_engine(hosted->driver), ENGINE_SPACE_KEYS, buffer_bytes(pending->key), &row);
	stood = lease_stood(node, hosted, pending, token);
	if (stood)
		answer_get(node, hosted, pending, got, row, index);
	if (row != NULL)
		buffer_unref(row);
	return stood;
}

static void serve(struct node *node, struct hosted *hosted, struct pending *pending, uint64_t token)
{
	uint64_t index = driver_applied(hosted->driver);
	bool done = true;

	if (pending->session_index > index)
		gateway_reply(node, pending->connection, pending->request, STATUS_BUSY,
			"this replica has not applied what the session saw");
	else if (!refused(node, hosted, pending))
		done = pending->kind == PENDING_READ ? read_get(node, hosted, pending, token, index)
						     : answer_scan(node, hosted, pending, token, index);
	if (done)
		pending_release(node, pending);
}

static void read_strong(struct node *node, struct hosted *hosted, struct pending *pending, uint64_t token)
{
	struct driver_read_of of = { .scan = pending->kind == PENDING_SCAN };

	if (of.scan)
		of.prefix = buffer_bytes(pending->key);
	else
		of.key_hash = hash64(buffer_bytes(pending->key));
	pending->by = READ_BY_LEASE;
	/* By a clock read now: what the read waits for is settled here. A process that was stopped meanwhile would
	 * settle it by a log that lacks what its lapsed lease let pass, and find a new lease standing when it answers.
	 */
	switch (driver_read_by_lease(hosted->driver, token, &of, node->io.now(node->io.arg))) {
	case DRIVER_READ_SERVE:
		serve(node, hosted, pending, token);
		break;
	case DRIVER_READ_HELD:
		break;
	case DRIVER_READ_ASK:
		pending->by = READ_BY_ROUND;
		driver_read(hosted->driver, token, node->time);
		break;
	}
}

void gateway_readable(struct node *node, struct hosted *hosted, uint64_t token, enum status status, uint64_t leader)
{
	struct pending *pending = pending_find(node, token);

	if (pending == NULL)
		return;
	if (status == STATUS_OK) {
		serve(node, hosted, pending, token);
		return;
	}
	if (status == STATUS_CANCELLED) { /* it was held, and another leader or log has come */
		read_strong(node, hosted, pending, token);
		node_touch(node, hosted);
		return;
	}
	if (status == STATUS_NOT_LEADER || status == STATUS_QUORUM_UNAVAILABLE)
		gateway_not_leader(
			node, pending->connection, pending->request, gateway_leader_node(node, hosted, leader));
	else
		gateway_reply(node, pending->connection, pending->request, status,
			"the read could not be served here; try again");
	pending_release(node, pending);
}

/* --- the way there ---------------------------------------------------------------------------------------- */

/* What the state may be is decided before it is read; it only gets younger. */
static void read_begin(struct node *node, struct hosted *hosted, struct pending *pending, uint64_t token)
{
	bool old_will_do = false;

	if (pending->level == READ_SESSION)
		old_will_do = driver_applied(hosted->driver) >= pending->session_index &&
			      driver_fresh_ns(hosted->driver) != 0;
	else if (pending->level != READ_STRONG && !driver_may_read(hosted->driver, node->time.now_ns))
		old_will_do = young_enough(node, hosted, pending);
	if (!old_will_do || !since_switch(node, hosted)) {
		read_strong(node, hosted, pending, token);
		return;
	}
	if (pending->level != READ_SESSION && refresh_due(node, hosted, pending))
		driver_refresh(hosted->driver);
	pending->by = READ_BY_AGE;
	pending->fresh_ns = driver_fresh_ns(hosted->driver);
	serve(node, hosted, pending, token);
}

void gateway_read(struct node *node, struct hosted *hosted, uint64_t connection, const struct peer_identity *who,
	const struct message *message)
{
	const struct message_request *ask = &message->ask;
	uint64_t token;
	struct pending *pending =
		pending_take(node, ask->operation == OPERATION_GET ? PENDING_READ : PENDING_SCAN, &token);

	if (pending == NULL) {
		gateway_reply(node, connection, message->request, STATUS_BUSY, "too many requests wait at this node");
		return;
	}
	pending->connection = connection;
	pending->request = message->request;
	pending->group = hosted->group;
	pending->policy = hosted->policy;
	pending->place = who->place;
	pending->limit = ask->limit;
	pending->level = ask->level;
	pending->map_epoch = ask->map_epoch;
	pending->judged_epoch = node_map_in_force(node)->epoch;
	if (pending->judged_epoch < ask->map_epoch)
		pending->judged_epoch = ask->map_epoch;
	pending->arrived_ns = node->time.now_ns;
	pending->session_index = ask->level == READ_SESSION ? ask->session_index : 0;
	pending->staleness_max_ms = ask->staleness_max_ms;
	pending->key = buffer_copy(ask->key);
	pending->after = buffer_copy(ask->after);
	if (pending->key == NULL || pending->after == NULL) {
		pending_release(node, pending);
		gateway_reply(node, connection, message->request, STATUS_BUSY, "this node is out of memory");
		return;
	}
	read_begin(node, hosted, pending, token);
	node_touch(node, hosted);
}
