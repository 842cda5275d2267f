/* server/node.c: a node's life and its dispatch. Every entry point ends with node_turn: drivers that gathered something
 * propose it, replicas that are to go are destroyed, the mover runs when something it looks at has changed. */
#include "server/node_internal.h"

#include <assert.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"

/* --- maps -----------------------------------------------------------------------------------------------------------
 */

const struct cluster_map *node_map_in_force(const struct node *node)
{
	return node->bootstrap ? node->bootstrap_map : node->map;
}

const struct cluster_map *node_directory(const struct node *node)
{
	return node->directory ? node->directory_map : node_map_in_force(node);
}

void node_stranger(struct node *node, struct node_time time)
{
	if (node->running && node->stranger_ns == 0)
		node->stranger_ns = time.now_ns;
}

const struct cluster_map *node_map(const struct node *node)
{
	return node_map_in_force(node);
}

struct bytes node_map_bytes(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);

	if (node->map_bytes != NULL && node->map_bytes_epoch == map->epoch)
		return buffer_bytes(node->map_bytes);
	buffer_unref(node->map_bytes);
	node->map_bytes = map_packed(map);
	node->map_bytes_epoch = map->epoch;
	return buffer_bytes(node->map_bytes);
}

void node_map_noticed(struct node *node)
{
	const struct cluster_map *map;

	if (node->bootstrap && node->map->epoch >= node->bootstrap_map->epoch)
		node->bootstrap = false;
	map = node_map_in_force(node);
	if (node->directory && map->epoch >= node->directory_map->epoch)
		node->directory = false;
	if (map->epoch == node->map_epoch_seen)
		return;
	node->map_epoch_seen = map->epoch;
	node->stranger_ns = 0; /* who is still none knocks again */
	node->mover_wanted = true;
	node_ledger_map(node);
	node->erasure.next_ns = node->time.now_ns; /* it may be promised sooner now */
	if (map_switches(map) != node->switches) {
		node->switches = map_switches(map);
		node->switched_ns = node->time.now_ns;
	}
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

		/* A leader that was voted out hands over first: it leads no more within an election time. Where the
		 * whole shard is gone there is nobody to hand over to. */
		if (hosted != NULL && hosted->doomed && hosted->reading == 0 && hosted != node->meta &&
			(hosted->gone || !driver_leads(hosted->driver)))
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

/* How many entries it applied. A replica that wants another turn (it has much to apply, after a start) gets that one
 * when the loop has looked at messages and clocks, not after each message: peers would take the node for dead
 * meanwhile. */
static uint64_t turn_take(struct node *node, struct list *turns)
{
	struct hosted *hosted = LIST_ENTRY(list_first(turns), struct hosted, turns);
	uint64_t applied = driver_applied(hosted->driver);

	list_remove(&hosted->turns);
	hosted->queued = false;
	driver_turn(hosted->driver, node->time);
	node_touch(node, hosted);
	if (hosted->queued) {
		list_remove(&hosted->turns);
		list_push_back(&node->later, &hosted->turns);
	}
	flushes_wanted(node);
	return driver_applied(hosted->driver) - applied;
}

/* Rounds of reads begin in a turn, and a leader answers its own by its lease: by a clock read after they were asked,
 * whenever the caller read its own. The turn is an event's end: nothing goes on with the older time. */
static void clock_look(struct node *node)
{
	uint64_t now_ns = node->io.now(node->io.arg);

	if (now_ns > node->time.now_ns)
		node->time.now_ns = now_ns;
}

enum { LATER_ENTRIES = 2048 };

static void later_turns(struct node *node)
{
	uint64_t applied = 0;

	clock_look(node);
	for (size_t i = 0; i < node->hosted_count && !list_empty(&node->later) && !node->failed; i++) {
		applied += turn_take(node, &node->later);
		if (applied >= LATER_ENTRIES)
			return;
	}
}

void node_turn(struct node *node)
{
	if (!node->running || node->failed)
		return;
	clock_look(node);
	for (unsigned round = 0; round < 64; round++) {
		while (!list_empty(&node->turns) && !node->failed)
			turn_take(node, &node->turns);
		node_map_noticed(node);
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
	if (node->erasure.next_ns <= node->time.now_ns)
		erasure_run(node);
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
	static const char *const words[] = {
		[LIVENESS_UP] = "up", [LIVENESS_DOWN] = "down", [LIVENESS_RESTARTED] = "restarted"
	};

	log_info("peer", LOG_U("node", peer), LOG_S("change", words[change]));
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

void node_enter(struct node *node, struct node_time time)
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
	node_ledger_snapshot(node, hosted, from, message, false);
	if (message->kind == MESSAGE_FORWARD)
		driver_received_forward(hosted->driver, from, message, residency_evacuates(node, hosted), node->time);
	else
		driver_received(hosted->driver, from, message, node->time);
	node_touch(node, hosted);
}

void node_received(struct node *node, uint64_t from, const struct peer_identity *who, const struct message *message,
	struct node_time time)
{
	node_enter(node, time);
	if (!node->running || node->failed || who->role != PEER_NODE)
		return;
	if (map_node_fenced(node_directory(node), from)) { /* declared lost: nothing it says counts */
		if (node->meta != NULL && driver_leader_node(node->meta->driver) == 0)
			node_stranger(node, time); /* or readmitted, and leads meta: who else would tell us? */
		node->dropped++;
		return;
	}
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
	case MESSAGE_ADOPT:
		rebind_adopt(node, from, message);
		break;
	case MESSAGE_ADOPT_REPLY:
		rebind_adopted(node, from, message);
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
	node_enter(node, time);
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
		if (pending->kind != PENDING_INTERNAL && pending->kind != PENDING_ADOPT &&
			pending->connection == connection) {
			pending_release(node, pending); /* what it proposed goes on; nobody waits for the answer */
			continue;
		}
		seen++;
	}
}

void node_peer_connected(struct node *node, uint64_t peer, struct node_time time)
{
	node_enter(node, time);
	if (!node->running || node->failed)
		return;
	peer_changed(node, peer, LIVENESS_UP); /* leaders probe: what was on the old connection may be lost */
	node_turn(node);
}

enum { DISK_PROBE_MS = 500 };

void node_expired(struct node *node, struct node_time time)
{
	node_enter(node, time);
	if (!node->running || node->failed)
		return;
	if (liveness_deadline(node->liveness) <= time.now_ns) {
		liveness_expired(node->liveness, time.now_ns, node_map_in_force(node)->epoch, node->liveness_out);
		liveness_carry_out(node);
	}
	if (node->tick_ns <= time.now_ns) {
		node->tick_ns = time.now_ns + (uint64_t)TICK_MS * 1000000;
		rtt_tick(node);
		node_ledger_tick(node);
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
	later_turns(node);
	node_turn(node);
}

uint64_t node_deadline(const struct node *node)
{
	uint64_t deadline = UINT64_MAX;
	const struct heap_node *first;

	if (!node->running || node->failed)
		return UINT64_MAX;
	if (!list_empty(&node->turns) || !list_empty(&node->later))
		return node->time.now_ns;
	deadline = liveness_deadline(node->liveness);
	first = heap_min(&node->timers);
	if (first != NULL && first->key < deadline)
		deadline = first->key;
	if (node->probe_ns < deadline)
		deadline = node->probe_ns;
	if (node->tick_ns < deadline)
		deadline = node->tick_ns;
	if (node->erasure.next_ns < deadline)
		deadline = node->erasure.next_ns;
	return node->mover_ns < deadline ? node->mover_ns : deadline;
}

bool node_flush_begin(struct node *node, struct journal_flush **flush)
{
	return node->running && !node->failed && journal_flush_begin(node->journal, flush);
}

void node_journal_judged(struct node *node)
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

	node_enter(node, time);
	node_journal_judged(node);
	if (ended == STATUS_NO_SPACE)
		return;
	if (ended != STATUS_OK) {
		node->failed = true;
		node->io.fatal(node->io.arg, ended, "the journal could not be synced");
		return;
	}
	if (node->erasure.awaits_journal)
		node->erasure.next_ns = node->time.now_ns;
	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];

		if (hosted != NULL && driver_awaits_durable(hosted->driver)) {
			driver_durable(hosted->driver, ticket, node->time);
			node_touch(node, hosted);
		}
	}
	node_turn(node);
}

/* --- what it is
 * --------------------------------------------------------------------------------------------------------
 */

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

enum status node_admits_counted(struct node *node, const struct peer_identity *who, const char **why)
{
	enum status status = node_admits(node, who, why);

	if (status != STATUS_OK)
		node->residency.refused[RESIDENCY_CERTIFICATE]++;
	return status;
}

void node_set_certificate(
	struct node *node, const uint8_t issuer_spki_sha256[32], int64_t ends_s, struct bytes certificate)
{
	memcpy(node->options.issuer_spki_sha256, issuer_spki_sha256, 32);
	node->options.certificate_ends_s = ends_s;
	node_ledger_certificate(node, certificate);
}

bool node_resign(struct node *node, struct node_time time)
{
	bool leads = false;

	node_enter(node, time);
	if (!node->running || node->failed)
		return true;
	node->resigning = true;
	erasure_cancel(node);
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
