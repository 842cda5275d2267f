/* server/plan.c: what a change would do: MESSAGE_ADMIN `plan`, to meta's leader, with the body of a `change`. The
 * change is applied, by the code that would apply it, to a copy of the map, and the answer is that copy, as a
 * MAP_REPLY: the map as it would be, its epoch one above that of the map it was made from, or the same when nothing
 * would change. Refused: the reply of a refused change. Nothing enters the log, and nothing is kept.
 *
 * The copy is as large as a map may be, rare, and freed at once; untouched pages of it cost nothing. */
#include "server/node_internal.h"

#include <stdlib.h>

#include "base/buffer.h"

/* The kinds that are judged by the map alone, and by who answers. */
static bool plannable(uint8_t kind)
{
	switch (kind) {
	case CHANGE_APPLY:
	case CHANGE_BINDING_SET:
	case CHANGE_BINDING_UNSET:
	case CHANGE_SHARD_PLACE:
	case CHANGE_REBALANCE:
		return true;
	default:
		return false;
	}
}

static bool answer_map(struct node *node, uint64_t connection, uint64_t request, const struct cluster_map *map)
{
	struct message reply = { .kind = MESSAGE_MAP_REPLY, .request = request };
	struct buffer *bytes = map_packed(map);

	if (bytes == NULL)
		return false;
	reply.map_reply.epoch = map->epoch;
	reply.map_reply.map = buffer_bytes(bytes);
	node->io.reply(node->io.arg, connection, &reply);
	buffer_unref(bytes);
	return true;
}

/* False: no memory. */
static bool plan(struct node *node, uint64_t connection, uint64_t request, struct change *change)
{
	struct meta_result result;
	void *memory = calloc(1, cluster_map_size(&map_limits_default));
	struct cluster_map *map = memory == NULL ? NULL : cluster_map_init(memory, &map_limits_default);
	bool done = map != NULL && cluster_map_copy(node->map, map);

	if (done) {
		change->dry_run = false;
		change->now_us = node->time.wall_us;
		admin_name_away(node, change);
		meta_apply(map, change, &result);
		if (result.status == STATUS_OK)
			done = answer_map(node, connection, request, map);
		else
			admin_answer_judged(node, connection, request, PENDING_CHANGE, &result);
	}
	free(memory);
	return done;
}

void plan_request(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	struct change change;
	void *memory = NULL;
	enum status status;

	if (who->role != PEER_ADMIN) {
		gateway_reply(node, connection, message->request, STATUS_DENIED,
			"this certificate may not plan changes; use an admin certificate");
		return;
	}
	if (node->meta == NULL || !driver_leads(node->meta->driver)) {
		admin_not_leader(node, connection, message->request);
		return;
	}
	status = admin_change_decode(message->admin.body, &change, &memory);
	if (status != STATUS_OK)
		gateway_reply(node, connection, message->request, status,
			"the change does not decode; is this tool of another version?");
	else if (!plannable(change.kind))
		gateway_reply(node, connection, message->request, STATUS_DENIED,
			"only changes of rules and of placement can be planned");
	else if (!plan(node, connection, message->request, &change))
		gateway_reply(node, connection, message->request, STATUS_BUSY, "this node is out of memory");
	free(memory);
}
