/* server/gateway.c: clients' operations at this node. A write goes to the shard's leader, which this node must be; a
 * strong read is served by any replica once ReadIndex has told it how far to apply. The key is resolved again with this
 * node's own map: a client with an older map is told to refetch and nothing is stored under a rule it did not know. */
#include "server/node_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"

static void reply_begin(const struct node *node, struct message *reply, uint64_t request, enum status status)
{
	memset(reply, 0, sizeof(*reply));
	reply->kind = MESSAGE_REPLY;
	reply->request = request;
	reply->reply.status = (uint32_t)status;
	reply->reply.map_epoch = node_map_in_force(node)->epoch;
}

void gateway_reply(struct node *node, uint64_t connection, uint64_t request, enum status status, const char *detail)
{
	struct message reply;

	reply_begin(node, &reply, request, status);
	if (detail != NULL)
		reply.reply.detail = bytes_text(detail);
	node->replies++;
	node->io.reply(node->io.arg, connection, &reply);
}

uint64_t gateway_leader_node(const struct node *node, const struct hosted *hosted, uint64_t leader_replica)
{
	const struct membership *membership = group_membership(driver_group(hosted->driver));
	int at = leader_replica == 0 ? -1 : membership_find(membership, leader_replica);

	(void)node;
	return at < 0 ? 0 : membership->at[at].node;
}

static void reply_not_leader(struct node *node, uint64_t connection, uint64_t request, uint64_t leader_node)
{
	struct message reply;

	reply_begin(node, &reply, request, leader_node == 0 ? STATUS_QUORUM_UNAVAILABLE : STATUS_NOT_LEADER);
	reply.reply.leader_node = leader_node;
	reply.reply.detail = bytes_text(leader_node == 0 ? "no leader is known: the shard has no quorum at the moment"
							 : "another replica leads");
	node->replies++;
	node->io.reply(node->io.arg, connection, &reply);
}

/* The key, judged by our own map. NULL: answered. */
static const struct policy *judge_key(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	const struct message_request *ask = &message->ask;
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_shard *shard = map_shard_find(map, ask->shard);
	const struct policy *policy = map_policy_find(map, ask->policy);
	bool behind = map->epoch < ask->map_epoch;
	bool write = ask->operation != OPERATION_GET && ask->operation != OPERATION_SCAN;
	bool fits = shard != NULL && policy != NULL && shard->policy == ask->policy;
	char why[256];

	if (fits && ask->operation != OPERATION_SCAN) {
		const struct map_binding *binding = map_binding_of(map, ask->key);
		uint64_t hash = hash_key(ask->key);

		fits = binding != NULL && binding->policy == ask->policy && hash >= shard->hash_first &&
		       hash <= shard->hash_last;
	}
	if (!fits) {
		if (behind)
			gateway_reply(node, connection, message->request, STATUS_BUSY,
				"this node has not heard of that map yet");
		else
			gateway_reply(node, connection, message->request, STATUS_STALE_MAP, "a newer map is in force");
		return NULL;
	}
	/* What the client wants kept by newer rules is not kept by older ones; what it judged by older ones is judged
	 * again by the newer. */
	if (ask->policy_epoch != 0 && policy->epoch != ask->policy_epoch) {
		if (policy->epoch < ask->policy_epoch)
			gateway_reply(node, connection, message->request, STATUS_BUSY,
				"this node has not heard of that change of the policy yet");
		else
			gateway_reply(node, connection, message->request, STATUS_STALE_MAP,
				"the policy was changed since that map");
		return NULL;
	}
	if (!residency_reader(node, policy, &who->place, write, why, sizeof(why))) {
		gateway_reply(node, connection, message->request, STATUS_RESIDENCY_REFUSED, why);
		return NULL;
	}
	return policy;
}

static enum status check_limits(const struct message_request *ask)
{
	if (ask->key.size > KEY_SIZE_MAX || ask->value.size > VALUE_SIZE_MAX || ask->after.size > KEY_SIZE_MAX)
		return STATUS_TOO_LARGE;
	if (ask->operation == OPERATION_SCAN)
		return ask->limit >= 1 && ask->limit <= SCAN_ROWS_MAX ? STATUS_OK : STATUS_INVALID;
	return ask->key.size > 0 ? STATUS_OK : STATUS_INVALID;
}

static void request_write(struct node *node, struct hosted *hosted, uint64_t connection, const struct message *message)
{
	const struct message_request *ask = &message->ask;
	struct command command = {
		.kind = ask->operation == OPERATION_PUT	     ? COMMAND_PUT
			: ask->operation == OPERATION_DELETE ? COMMAND_DELETE
							     : COMMAND_CAS,
		.retry = ask->retry,
		.client = ask->client,
		.sequence = ask->sequence,
		.low_water = ask->low_water,
		.map_epoch = ask->map_epoch,
		.version = ask->version,
		.key = ask->key,
		.value = ask->value,
	};
	struct pending *pending;
	uint64_t token;

	if (!driver_leads(hosted->driver)) {
		reply_not_leader(node, connection, message->request, driver_leader_node(hosted->driver));
		return;
	}
	if (residency_evacuates(node, hosted)) {
		gateway_reply(node, connection, message->request, STATUS_BUSY,
			"the shard moves to places that its policy allows; try again when it is there");
		return;
	}
	pending = pending_take(node, PENDING_WRITE, &token);
	if (pending == NULL) {
		gateway_reply(node, connection, message->request, STATUS_BUSY, "too many requests wait at this node");
		return;
	}
	pending->connection = connection;
	pending->request = message->request;
	pending->group = hosted->group;
	pending->policy = hosted->policy;
	driver_propose(hosted->driver, &command, hash64(ask->key), token, node->time);
	node_touch(node, hosted);
}

static void request_read(struct node *node, struct hosted *hosted, uint64_t connection, const struct peer_identity *who,
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
	pending->map_epoch = ask->map_epoch;
	pending->session_index = ask->session_index;
	pending->key = buffer_copy(ask->key);
	pending->after = buffer_copy(ask->after);
	if (pending->key == NULL || pending->after == NULL) {
		pending_release(node, pending);
		gateway_reply(node, connection, message->request, STATUS_BUSY, "this node is out of memory");
		return;
	}
	if (ask->level == READ_SESSION && driver_applied(hosted->driver) >= ask->session_index &&
		ask->session_index > 0) {
		/* What the session has seen is here: no need to ask the leader. */
		gateway_readable(node, hosted, token, STATUS_OK, 0);
		return;
	}
	driver_read(hosted->driver, token, node->time);
	node_touch(node, hosted);
}

void gateway_request(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	const struct message_request *ask = &message->ask;
	struct hosted *hosted;
	enum status status;

	node->requests++;
	if (ask->operation == OPERATION_PING) {
		gateway_reply(node, connection, message->request, STATUS_OK, NULL);
		return;
	}
	if (ask->operation < OPERATION_GET || ask->operation > OPERATION_SCAN) {
		gateway_reply(node, connection, message->request, STATUS_INVALID, "no such operation");
		return;
	}
	if (node_map_in_force(node)->epoch == 0) {
		gateway_reply(node, connection, message->request, STATUS_QUORUM_UNAVAILABLE,
			"this node belongs to no cluster yet");
		return;
	}
	status = check_limits(ask);
	if (status != STATUS_OK) {
		gateway_reply(node, connection, message->request, status,
			status == STATUS_TOO_LARGE ? "key above 4 KiB or value above 1 MiB"
						   : "empty key, or limit out of range");
		return;
	}
	if (ask->level != READ_STRONG && ask->level != READ_SESSION &&
		(ask->operation == OPERATION_GET || ask->operation == OPERATION_SCAN)) {
		gateway_reply(
			node, connection, message->request, STATUS_INVALID, "this read level is not supported yet");
		return;
	}
	if (judge_key(node, connection, who, message) == NULL)
		return;
	hosted = node_hosted(node, ask->shard);
	if (hosted == NULL || hosted->doomed) {
		/* Only a client with an old map comes here for a shard that moved; one with ours came before the
		 * replica was born, or by a hint of a leader that has gone: it looks elsewhere and drops the hint. */
		gateway_reply(node, connection, message->request,
			node_map_in_force(node)->epoch > ask->map_epoch ? STATUS_STALE_MAP : STATUS_QUORUM_UNAVAILABLE,
			"no replica of that shard is here");
		return;
	}
	if (ask->operation == OPERATION_GET || ask->operation == OPERATION_SCAN)
		request_read(node, hosted, connection, who, message);
	else
		request_write(node, hosted, connection, message);
}

void gateway_proposed(struct node *node, struct hosted *hosted, uint64_t token, const struct driver_outcome *outcome)
{
	struct pending *pending = pending_find(node, token);
	struct message reply;

	if (pending == NULL)
		return;
	if (pending->kind == PENDING_INTERNAL) { /* our own; the mover judges by what came of it */
		pending_release(node, pending);
		return;
	}
	if (outcome->status == STATUS_NOT_LEADER) {
		reply_not_leader(node, pending->connection, pending->request,
			gateway_leader_node(node, hosted, outcome->leader));
		pending_release(node, pending);
		return;
	}
	reply_begin(node, &reply, pending->request, outcome->status);
	reply.reply.version = outcome->version;
	reply.reply.index = outcome->index;
	reply.reply.duplicate = outcome->duplicate;
	if (outcome->meta != NULL) {
		/* A change of the map: the id it made, and why not when it was refused. */
		static char text[sizeof(outcome->meta->flaw.reason) + sizeof(outcome->meta->flaw.cure) + 64];
		struct text line;

		text_init(&line, text, sizeof(text));
		if (outcome->meta->status != STATUS_OK) {
			if (outcome->meta->flaw.line != 0) {
				text_add(&line, "line ");
				text_add_u64(&line, outcome->meta->flaw.line);
				text_add(&line, ": ");
			}
			text_add(&line, outcome->meta->flaw.reason);
			text_add(&line, "; ");
			text_add(&line, outcome->meta->flaw.cure);
		}
		reply.reply.status = (uint32_t)outcome->meta->status;
		reply.reply.version = outcome->meta->id;
		reply.reply.index = outcome->meta->epoch;
		reply.reply.detail = bytes_text(text);
		if (pending->kind == PENDING_JOIN && outcome->meta->status == STATUS_OK)
			reply.reply.detail = node_map_bytes(node);
	} else if (outcome->status == STATUS_QUORUM_UNAVAILABLE) {
		reply.reply.detail = bytes_text("the shard has no quorum at the moment; nothing was proposed");
	}
	node->replies++;
	node->io.reply(node->io.arg, pending->connection, &reply);
	pending_release(node, pending);
}

/* Reads happen here, after ReadIndex said "readable", on an engine state that includes everything acknowledged before
 * the request came. */
static void answer_get(
	struct node *node, struct pending *pending, enum status status, const struct buffer *row, uint64_t index)
{
	struct message reply;
	struct reply_row answer = { 0 };
	struct stored_value stored;
	const struct policy *policy = map_policy_find(node_map_in_force(node), pending->policy);
	char why[256];

	if (policy == NULL || !residency_reader(node, policy, &pending->place, false, why, sizeof(why))) {
		/* The rules changed while the read waited. */
		gateway_reply(node, pending->connection, pending->request,
			policy == NULL ? STATUS_STALE_MAP : STATUS_RESIDENCY_REFUSED,
			policy == NULL ? "a newer map is in force" : why);
		return;
	}
	if (status == STATUS_OK)
		status = stored_value_decode(buffer_bytes(row), &stored);
	else if (status == STATUS_CORRUPT)
		status = STATUS_BUSY; /* never told as an answer: another copy has it, and this one is mended from that
				       */
	reply_begin(node, &reply, pending->request, status);
	reply.reply.index = index;
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
	node_touch(job->node, hosted); /* the read may have found the engine damaged */
	if (pending != NULL) {	       /* else the client has gone */
		answer_get(job->node, pending, job->status, job->row, job->index);
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

static bool fence_covers(const struct node *node, const struct command *fence, const struct pending *pending)
{
	struct bytes key = buffer_bytes(pending->key);

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
		if (!map_fence_moved(node_map_in_force(node), fence.operation, hosted->policy, fence.exact,
			    fence.exact_hash, fence.key))
			return STATUS_BUSY;
		if (pending->kind == PENDING_READ || pending->map_epoch < node_map_in_force(node)->epoch)
			return STATUS_STALE_MAP;
	}
	return STATUS_OK;
}

static void answer_scan(struct node *node, struct hosted *hosted, struct pending *pending, uint64_t index)
{
	static struct reply_row rows[SCAN_ROWS_MAX];
	static struct buffer *owners[SCAN_ROWS_MAX];
	struct message reply;
	struct engine_iter *iter;
	struct bytes key, value;
	uint32_t count = 0;
	size_t total = 0;
	const struct policy *policy = map_policy_find(node_map_in_force(node), pending->policy);
	char why[256];
	enum status status;
	bool more = false;

	if (policy == NULL || !residency_reader(node, policy, &pending->place, false, why, sizeof(why))) {
		/* The rules changed while the scan waited. */
		gateway_reply(node, pending->connection, pending->request,
			policy == NULL ? STATUS_STALE_MAP : STATUS_RESIDENCY_REFUSED,
			policy == NULL ? "a newer map is in force" : why);
		return;
	}
	status = engine_iter_open(driver_engine(hosted->driver), ENGINE_SPACE_KEYS, buffer_bytes(pending->key),
		buffer_bytes(pending->after), &iter);
	while (status == STATUS_OK) {
		struct stored_value stored;

		status = engine_iter_next(iter, &key, &value);
		if (status != STATUS_OK)
			break;
		if (count == pending->limit || (count > 0 && total + key.size + value.size > SCAN_BYTES_MAX)) {
			more = true;
			break;
		}
		status = stored_value_decode(value, &stored);
		if (status != STATUS_OK)
			break;
		owners[count] = buffer_new(key.size + stored.value.size);
		if (owners[count] == NULL) {
			status = STATUS_BUSY;
			break;
		}
		memcpy(owners[count]->data, key.data, key.size);
		if (stored.value.size > 0)
			memcpy(owners[count]->data + key.size, stored.value.data, stored.value.size);
		rows[count].key = bytes_of(owners[count]->data, key.size);
		rows[count].value = bytes_of(owners[count]->data + key.size, stored.value.size);
		rows[count].version = stored.version;
		total += key.size + stored.value.size;
		count++;
	}
	if (iter != NULL)
		engine_iter_close(iter);
	if (status == STATUS_END)
		status = STATUS_OK;
	else if (status == STATUS_CORRUPT)
		status = STATUS_BUSY;
	reply_begin(node, &reply, pending->request, status);
	reply.reply.index = index;
	reply.reply.more = more;
	reply.reply.row_count = status == STATUS_OK ? count : 0;
	reply.reply.rows = rows;
	node->replies++;
	node->io.reply(node->io.arg, pending->connection, &reply);
	for (uint32_t i = 0; i < count; i++)
		buffer_unref(owners[i]);
}

void gateway_readable(struct node *node, struct hosted *hosted, uint64_t token, enum status status, uint64_t leader)
{
	struct pending *pending = pending_find(node, token);
	uint64_t index = driver_applied(hosted->driver);
	enum status fences;

	if (pending == NULL)
		return;
	fences = status == STATUS_OK ? judge_fences(node, hosted, pending) : STATUS_OK;
	if (status == STATUS_NOT_LEADER || status == STATUS_QUORUM_UNAVAILABLE) {
		reply_not_leader(
			node, pending->connection, pending->request, gateway_leader_node(node, hosted, leader));
	} else if (status != STATUS_OK) {
		gateway_reply(node, pending->connection, pending->request, status,
			"the read could not be served here; try again");
	} else if (pending->session_index > index) {
		gateway_reply(node, pending->connection, pending->request, STATUS_BUSY,
			"this replica has not applied what the session saw");
	} else if (fences != STATUS_OK) {
		gateway_reply(node, pending->connection, pending->request, fences,
			fences == STATUS_BUSY ? "a binding of the key is being changed" : "a newer map is in force");
	} else if (pending->kind == PENDING_READ) {
		struct buffer *row = NULL;
		enum status got = engine_get_cached(
			driver_engine(hosted->driver), ENGINE_SPACE_KEYS, buffer_bytes(pending->key), &row);

		if (got == STATUS_BUSY && node->io.block != NULL && read_blocking(node, hosted, pending, token, index))
			return;
		if (got == STATUS_BUSY)
			got = engine_get(
				driver_engine(hosted->driver), ENGINE_SPACE_KEYS, buffer_bytes(pending->key), &row);
		answer_get(node, pending, got, row, index);
		if (row != NULL)
			buffer_unref(row);
	} else {
		answer_scan(node, hosted, pending, index);
	}
	pending_release(node, pending);
}
