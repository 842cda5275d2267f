/* server/gateway.c: clients' operations at this node. A write is taken by any replica with data: the leader proposes
 * it, another forwards it and is its origin. Reads: server/gateway_read.c. The key is resolved again with this node's
 * own map: a client with an older map is told to refetch and nothing is stored under a rule it did not know. */
#include "server/node_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"

void gateway_reply_begin(const struct node *node, struct message *reply, uint64_t request, enum status status)
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

	gateway_reply_begin(node, &reply, request, status);
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

void gateway_not_leader(struct node *node, uint64_t connection, uint64_t request, uint64_t leader_node)
{
	struct message reply;

	gateway_reply_begin(node, &reply, request, leader_node == 0 ? STATUS_QUORUM_UNAVAILABLE : STATUS_NOT_LEADER);
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

		fits = binding != NULL && binding->policy == ask->policy && map_shard_has(shard, hash_key(ask->key));
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

	bool holds = driver_leads(hosted->driver) || residency_hold(node, hosted->policy, false);
	if (!holds)
		node->residency.refused[RESIDENCY_STORAGE]++;
	if (!holds || !driver_takes_writes(hosted->driver)) {
		gateway_not_leader(node, connection, message->request, driver_leader_node(hosted->driver));
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
	if ((ask->operation == OPERATION_GET || ask->operation == OPERATION_SCAN) &&
		(ask->level < READ_STRONG || ask->level > READ_NEAREST)) {
		gateway_reply(node, connection, message->request, STATUS_INVALID, "no such read level");
		return;
	}
	if (judge_key(node, connection, who, message) == NULL)
		return;
	hosted = node_hosted(node, ask->shard);
	if (hosted == NULL || hosted->doomed || driver_is_witness(hosted->driver)) {
		/* Only a client with an old map comes here for a shard that moved; one with ours came before the
		 * replica was born, or by a hint of a leader that has gone: it looks elsewhere and drops the hint. */
		gateway_reply(node, connection, message->request,
			node_map_in_force(node)->epoch > ask->map_epoch ? STATUS_STALE_MAP : STATUS_QUORUM_UNAVAILABLE,
			"no copy of that shard is here");
		return;
	}
	if (ask->operation == OPERATION_GET || ask->operation == OPERATION_SCAN) {
		gateway_read(node, hosted, connection, who, message);
	} else {
		leading_wrote_at(node, hosted, &who->place);
		request_write(node, hosted, connection, message);
	}
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
	if (pending->kind == PENDING_ADOPT) {
		rebind_proposed(node, hosted, pending, outcome);
		pending_release(node, pending);
		return;
	}
	if (outcome->status == STATUS_NOT_LEADER) {
		gateway_not_leader(node, pending->connection, pending->request,
			gateway_leader_node(node, hosted, outcome->leader));
		pending_release(node, pending);
		return;
	}
	gateway_reply_begin(node, &reply, pending->request, outcome->status);
	reply.reply.version = outcome->version;
	reply.reply.leader_node = driver_leader_node(hosted->driver);
	reply.reply.index = outcome->index;
	reply.reply.duplicate = outcome->duplicate;
	reply.reply.degraded = outcome->degraded;
	if (outcome->meta != NULL) {
		/* A change of the map: the id it made, and why not when it was refused. */
		static char text[sizeof(outcome->meta->flaw.reason) + sizeof(outcome->meta->flaw.cure) + 64];
		struct text line;

		text_init(&line, text, sizeof(text));
		if (outcome->meta->status == STATUS_RESIDENCY_REFUSED)
			node->residency.refused[RESIDENCY_POLICY]++;
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
