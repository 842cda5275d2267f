/* server/admin.c: what administrators and other nodes ask of this node: changes of the map (for meta's leader), the
 * birth of a cluster, admission of a node, and this node's own view of itself.
 *
 * Verbs, over MESSAGE_ADMIN:
 *   change        body: a packed change of the rules or of placement, from an administrator; from a node, over the
 *                 peer protocol, what a shard that it holds did.
 *   rtt           from a node, over the peer protocol: its row of round trips (server/rtt.h).
 *   plan          body: likewise, from an administrator: what it would do (server/plan.c).
 *   cluster.init  body: a packed INIT change without id and secret; only at a node that belongs to no cluster.
 *   node.status   JSON: this node's replicas, RTT row, residency counters.
 *   residency.search  from an administrator: are certain bytes on this disk? (server/search.c).
 *   ledger.read   from an administrator: a part of a file of this node's ledger (server/node_ledger.h).
 *   ledger.heads  from an administrator: the heads that meta keeps. */
#include "server/node_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "server/attest.h"

enum { ADMIN_POLICIES_MAX = 256, ADMIN_BINDINGS_MAX = 2048, STATUS_JSON_MAX = 1 << 20 };

static void refuse(struct node *node, uint64_t connection, uint64_t request, enum status status, const char *reason)
{
	gateway_reply(node, connection, request, status, reason);
}

void admin_not_leader(struct node *node, uint64_t connection, uint64_t request)
{
	uint64_t leader = node->meta == NULL ? 0 : driver_leader_node(node->meta->driver);
	struct message reply = { .kind = MESSAGE_REPLY, .request = request };

	reply.reply.status = leader == 0 ? STATUS_QUORUM_UNAVAILABLE : STATUS_NOT_LEADER;
	reply.reply.leader_node = leader;
	reply.reply.map_epoch = node_map_in_force(node)->epoch;
	reply.reply.detail = bytes_text(leader == 0 ? "meta has no leader at the moment" : "another node leads meta");
	node->io.reply(node->io.arg, connection, &reply);
}

/* Only an administrator changes rules. */
static bool may_change(const struct peer_identity *who, uint8_t kind)
{
	switch (kind) {
	case CHANGE_REGION_ADD:
	case CHANGE_APPLY:
	case CHANGE_BINDING_SET:
	case CHANGE_BINDING_UNSET:
	case CHANGE_SHARD_PLACE:
	case CHANGE_SHARD_LEAD:
	case CHANGE_SHARD_SPLIT:
	case CHANGE_SHARD_MERGE:
	case CHANGE_REBALANCE:
	case CHANGE_NODE_STATE:
	case CHANGE_REGION_STATE:
	case CHANGE_REGION_REMOVE:
	case CHANGE_NODE_REMOVE:
	case CHANGE_CANCEL:
	case CHANGE_NODE_ADDRESSES: /* when nodes have moved and cannot reach each other to say so */
		return who->role == PEER_ADMIN;
	default:
		return false; /* reports are nodes', over their own protocol; INIT and NODE_ADMIT are made here */
	}
}

/* A decoded change needs room for its policies and bindings: big, rare, and freed at once. */
enum status admin_change_decode(struct bytes body, struct change *change, void **memory)
{
	struct change_scratch scratch = { .policy_max = ADMIN_POLICIES_MAX, .binding_max = ADMIN_BINDINGS_MAX };
	enum status status;

	*memory = calloc(
		1, ADMIN_POLICIES_MAX * sizeof(struct policy) + ADMIN_BINDINGS_MAX * sizeof(struct change_binding));
	if (*memory == NULL)
		return STATUS_NO_MEMORY;
	scratch.policies = *memory;
	scratch.bindings = (struct change_binding *)(void *)(scratch.policies + ADMIN_POLICIES_MAX);
	status = change_decode(body, &scratch, change);
	if (status != STATUS_OK) {
		free(*memory);
		*memory = NULL;
	}
	return status;
}

/* Judged here, before the log, because it needs more than pure code: a region's CA must be constrained to its region.
 */
static enum status attest(struct map_region *region, const char *cluster, const char **why)
{
	return attest_region_ca(
		bytes_of(region->ca_der, region->ca_size), region->site.place.text, cluster, region->spki_sha256, why);
}

/* Of what moves replicas off nodes: who does not answer gets nothing, if there is another place. Whom this node does
 * not watch is as well as any. */
void admin_name_away(const struct node *node, struct change *change)
{
	change->away_count = 0;
	if (change->kind != CHANGE_NODE_STATE && change->kind != CHANGE_REGION_STATE &&
		change->kind != CHANGE_REBALANCE)
		return;
	for (uint32_t i = 0; i < node->map->node_count; i++) {
		const uint64_t id = node->map->nodes[i].id;

		if (id != node->identity.node && liveness_watches(node->liveness, id) &&
			!liveness_alive(node->liveness, id, node->time.now_ns))
			change->away[change->away_count++] = id;
	}
}

static void propose(
	struct node *node, uint64_t connection, uint64_t request, enum pending_kind kind, struct change *change)
{
	uint64_t token;
	struct pending *pending = pending_take(node, kind, &token);

	if (pending == NULL) {
		refuse(node, connection, request, STATUS_BUSY, "too many requests wait at this node");
		return;
	}
	pending->connection = connection;
	pending->request = request;
	pending->group = META_GROUP;
	change->now_us = node->time.wall_us;
	admin_name_away(node, change);
	driver_propose_change(node->meta->driver, change, token, node->time);
	node_touch(node, node->meta);
}

/* Answers as if the change had been applied. */
void admin_answer_judged(struct node *node, uint64_t connection, uint64_t request, enum pending_kind kind,
	const struct meta_result *result)
{
	struct driver_outcome outcome = { .status = STATUS_OK, .meta = result };
	uint64_t token;
	struct pending *pending = pending_take(node, kind, &token);

	if (pending == NULL) {
		refuse(node, connection, request, STATUS_BUSY, "too many requests wait at this node");
		return;
	}
	pending->connection = connection;
	pending->request = request;
	gateway_proposed(node, node->meta, token, &outcome);
}

static void admin_change(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	struct change change;
	const char *why = NULL;
	void *memory;
	enum status status;

	if (who->role != PEER_ADMIN) { /* before a byte of it is decoded; nodes report over their own protocol */
		refuse(node, connection, message->request, STATUS_DENIED,
			"this certificate may not make that change; use an admin certificate");
		return;
	}
	if (node->meta == NULL || !driver_leads(node->meta->driver)) {
		admin_not_leader(node, connection, message->request);
		return;
	}
	status = admin_change_decode(message->admin.body, &change, &memory);
	if (status != STATUS_OK) {
		refuse(node, connection, message->request, status,
			"the change does not decode; is this tool of another version?");
		return;
	}
	if (!may_change(who, change.kind)) {
		refuse(node, connection, message->request, STATUS_DENIED,
			"this certificate may not make that change; use an admin certificate");
	} else if (change.kind == CHANGE_REGION_ADD &&
		   (status = attest(&change.region, node->map->name, &why)) != STATUS_OK) {
		refuse(node, connection, message->request, status, why);
	} else if (change.dry_run) {
		/* Judged by the leader's own map; nothing enters the log. */
		struct meta_result result;

		meta_apply(node->map, &change, &result);
		admin_answer_judged(node, connection, message->request, PENDING_CHANGE, &result);
	} else {
		propose(node, connection, message->request, PENDING_CHANGE, &change);
	}
	free(memory);
}

/* --- birth of a cluster ---------------------------------------------------------------------------------------------
 */

static void cluster_init(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	struct change change;
	struct membership birth;
	const char *why = NULL;
	void *memory;
	enum status status;

	if (who->role != PEER_ADMIN) {
		refuse(node, connection, message->request, STATUS_DENIED,
			"only an admin certificate may begin a cluster");
		return;
	}
	if (node->running || node->options.join) {
		refuse(node, connection, message->request, STATUS_CONFLICT,
			node->running ? "this node belongs to a cluster already"
				      : "this node is configured to join; start one without `join`");
		return;
	}
	status = admin_change_decode(message->admin.body, &change, &memory);
	if (status != STATUS_OK || change.kind != CHANGE_INIT) {
		refuse(node, connection, message->request, STATUS_INVALID, "not a change that begins a cluster");
		free(status == STATUS_OK ? memory : NULL);
		return;
	}
	free(memory);
	if (strcmp(change.name, node->cluster_name) != 0) {
		refuse(node, connection, message->request, STATUS_INVALID,
			"the name differs from the cluster in this node's certificate");
		return;
	}
	status = attest(&change.region, change.name, &why);
	if (status == STATUS_OK && !place_within(&node->options.place, change.region.site.place.text)) {
		status = STATUS_INVALID;
		why = "the first region must contain the node that the cluster begins at";
	}
	if (status == STATUS_OK && memcmp(change.region.spki_sha256, node->options.issuer_spki_sha256, 32) != 0) {
		status = STATUS_INVALID;
		why = "this node's certificate was not signed by the CA given for its region";
	}
	if (status != STATUS_OK) {
		refuse(node, connection, message->request, status, why);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		uint64_t bits = node->io.random(node->io.arg), secret = node->io.random(node->io.arg);

		memcpy(change.cluster + 8 * i, &bits, 8);
		memcpy(change.hash_secret + 8 * i, &secret, 8);
	}
	memcpy(change.admin_spki_sha256, who->issuer_spki_sha256, 32);
	memset(&change.node, 0, sizeof(change.node));
	change.node.place = node->options.place;
	change.node.addresses = node->options.addresses;
	change.node.incarnation = node->identity.incarnation;

	memcpy(node->identity.cluster, change.cluster, 16);
	node->identity.node = META_FIRST_NODE;
	status = node_begin(node, &why);
	if (status == STATUS_OK) {
		memset(&birth, 0, sizeof(birth));
		birth.count = 1;
		birth.at[0] = (struct member){
			.replica = META_FIRST_REPLICA, .node = META_FIRST_NODE, .role_new = ROLE_VOTER
		};
		status = node_host(node, META_GROUP, META_FIRST_REPLICA, false, 0, &birth);
		why = "meta's first replica could not be created";
	}
	if (status != STATUS_OK) {
		refuse(node, connection, message->request, status, why);
		node->failed = true;
		node->io.fatal(node->io.arg, status, why);
		return;
	}
	/* The only voter elects itself within the first event; the change is gathered until then. */
	driver_expired(node->meta->driver, node->time);
	node_touch(node, node->meta);
	node->init_change = change;
	node->init_connection = connection;
	node->init_request = message->request;
	node->init_pending = true;
}

/* Called at the end of each turn until meta's first leader, this node, can take the first change. */
void admin_init_continue(struct node *node)
{
	if (!node->init_pending || !driver_leads(node->meta->driver))
		return;
	node->init_pending = false;
	propose(node, node->init_connection, node->init_request, PENDING_CHANGE, &node->init_change);
}

/* --- admission ------------------------------------------------------------------------------------------------------
 */

static bool admitted_already(const struct cluster_map *map, const struct map_node *asker)
{
	for (uint32_t i = 0; i < map->node_count; i++) {
		if (place_equal(&map->nodes[i].place, &asker->place))
			return map->nodes[i].incarnation == asker->incarnation;
	}
	return false;
}

void admin_join(struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	struct unpacker unpacker;
	struct change change;
	const struct map_region *region;

	if (who->role != PEER_NODE) {
		refuse(node, connection, message->request, STATUS_DENIED, "only a node certificate may join");
		return;
	}
	if (node->meta == NULL || !driver_leads(node->meta->driver)) {
		admin_not_leader(node, connection, message->request);
		return;
	}
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_NODE_ADMIT;
	change.node.place = who->place; /* attested; what the message claims is not looked at */
	change.node.incarnation = message->join.incarnation;
	unpack_init(&unpacker, message->join.addresses);
	if (address_list_decode(&unpacker, &change.node.addresses) != STATUS_OK || change.node.addresses.count == 0) {
		refuse(node, connection, message->request, STATUS_INVALID,
			"the addresses do not decode; set `advertise`");
		return;
	}
	region = map_region_of(node->map, &who->place);
	if (region == NULL) {
		refuse(node, connection, message->request, STATUS_DENIED,
			"no region is registered for this node's place; `domctl region add` first");
		return;
	}
	if (memcmp(region->spki_sha256, who->issuer_spki_sha256, 32) != 0) {
		node->residency.refused[RESIDENCY_CERTIFICATE]++;
		refuse(node, connection, message->request, STATUS_DENIED,
			"this certificate was not signed by the CA pinned for its region");
		return;
	}
	/* What would be refused does not enter the log, and neither does what is so already: a node that asks over and
	 * over fills nothing. */
	struct meta_result result;
	bool known = admitted_already(node->map, &change.node);

	change.dry_run = true;
	meta_apply(node->map, &change, &result);
	change.dry_run = false;
	if (known || result.status != STATUS_OK)
		admin_answer_judged(node, connection, message->request, PENDING_JOIN, &result);
	else
		propose(node, connection, message->request, PENDING_JOIN, &change);
}

static bool may_lead(const struct map_replica replicas[], unsigned count, uint64_t node)
{
	const struct map_replica *at = map_replica_on(replicas, count, node);

	return at != NULL && at->role != ROLE_WITNESS;
}

/* Who holds a copy of a shard, or is to hold one, may lead it and report of it. What another node, or a witness, says
 * of it could have its data removed (the move is done) or its keys re-homed (none were found). Of meta only its leader
 * reports, and to itself. */
static bool may_report(const struct cluster_map *map, uint64_t from, const struct change *change)
{
	const struct map_shard *shard;

	if (change->kind == CHANGE_NODE_ADDRESSES || change->kind == CHANGE_LEDGER_HEAD)
		return change->node.id == from;
	if (change->kind != CHANGE_SHARD_REPORT && change->kind != CHANGE_FENCE_REPORT &&
		change->kind != CHANGE_MOVE_REPORT)
		return false;
	shard = map_shard_find(map, change->shard);
	return shard != NULL && (may_lead(shard->replicas, shard->replica_count, from) ||
					may_lead(shard->wanted, shard->wanted_count, from));
}

/* A report of another node, over the peer connection. */
void admin_from_peer(struct node *node, uint64_t from, const struct message *message)
{
	struct change change;
	uint64_t token;
	struct pending *pending;
	void *memory;

	if (bytes_equal(message->admin.verb, bytes_text("rtt"))) {
		rtt_received(node, from, message->admin.body);
		return;
	}
	if (node->meta == NULL || !driver_leads(node->meta->driver) ||
		!bytes_equal(message->admin.verb, bytes_text("change")))
		return;
	if (admin_change_decode(message->admin.body, &change, &memory) != STATUS_OK)
		return;
	if (!may_report(node->map, from, &change)) {
		node->dropped++;
	} else {
		pending = pending_take(node, PENDING_INTERNAL, &token);
		if (pending != NULL) {
			pending->group = META_GROUP;
			change.now_us = node->time.wall_us;
			driver_propose_change(node->meta->driver, &change, token, node->time);
			node_touch(node, node->meta);
		}
	}
	free(memory);
}

/* --- status ---------------------------------------------------------------------------------------------------------
 */

static void json_u64(struct text *text, const char *name, uint64_t value)
{
	text_add(text, "\"");
	text_add(text, name);
	text_add(text, "\":");
	text_add_u64(text, value);
}

static void json_id(struct text *text, const char *name, uint64_t value)
{
	/* Ids may exceed 2^53: text, as the JSON rules say. */
	text_add(text, "\"");
	text_add(text, name);
	text_add(text, "\":\"");
	text_add_u64(text, value);
	text_add(text, "\"");
}

static const char *member_role_name(uint8_t role)
{
	return role == ROLE_VOTER ? "voter" : role == ROLE_WITNESS ? "witness" : "learner";
}

static void status_replica(const struct node *node, const struct hosted *hosted, struct text *text)
{
	static const char *const roles[] = { "none", "follower", "precandidate", "candidate", "leader" };
	const struct group *group = driver_group(hosted->driver);
	struct group_status status = group_status(group, node->time.now_ns);
	const struct membership *membership = group_membership(group);
	int own = membership_find(membership, driver_replica_id(hosted->driver));
	struct journal_stats;

	text_add(text, "{");
	json_id(text, "shard", hosted->group);
	text_add(text, ",");
	json_id(text, "policy", hosted->policy);
	text_add(text, ",");
	json_id(text, "replica", driver_replica_id(hosted->driver));
	text_add(text, ",\"role\":\"");
	text_add(text, roles[status.role]);
	text_add(text, "\",\"member\":\"");
	text_add(text, own < 0 ? "none" : member_role_name(membership->at[own].role_new));
	text_add(text, "\",");
	json_u64(text, "term", status.term);
	text_add(text, ",");
	json_u64(text, "last", status.last);
	text_add(text, ",");
	json_u64(text, "commit", status.commit);
	text_add(text, ",");
	json_u64(text, "applied", driver_applied(hosted->driver));
	text_add(text, ",");
	json_u64(text, "size", engine_size(driver_engine(hosted->driver)));
	text_add(text, ",");
	json_id(text, "leader_node", driver_leader_node(hosted->driver));
	text_add(text, ",\"lease\":");
	text_add(text, status.lead_until_ns > node->time.now_ns ? "true" : "false");
	if (status.role == GROUP_LEADER) {
		text_add(text, status.degraded ? ",\"degraded\":true" : "");
		text_add(text, ",\"members\":[");
		for (unsigned i = 0; i < membership->count; i++) {
			struct group_progress progress = { 0 };

			text_add(text, i == 0 ? "{" : ",{");
			json_id(text, "node", membership->at[i].node);
			text_add(text, ",");
			json_u64(text, "match",
				group_progress(group, membership->at[i].replica, &progress) ? progress.match
											    : status.durable);
			text_add(text, ",\"role\":\"");
			text_add(text, member_role_name(membership->at[i].role_new));
			text_add(text, "\"}");
		}
		text_add(text, "]");
	}
	text_add(text, "}");
}

static void status_residency(const struct node *node, struct text *text)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		uint64_t total = 0;

		text_add(text, pass == 0 ? "\"residency\":{\"refused\":{" : ",\"violation\":{");
		for (unsigned i = 0; i < RESIDENCY_LAYERS; i++) {
			uint64_t count = pass == 0 ? node->residency.refused[i] : node->residency.violation[i];

			if (i > 0)
				text_add(text, ",");
			json_u64(text, residency_layer_name((enum residency_layer)i), count);
			total += count;
		}
		text_add(text, pass == 0 ? "}," : "},");
		json_u64(text, pass == 0 ? "refused_total" : "violation_total", total);
	}
	text_add(text, "}");
}

/* Whole days; negative: over. */
static void status_certificate(const struct node *node, struct text *text)
{
	text_add(text, ",\"certificate_days_left\":");
	if (node->options.certificate_ends_s == 0)
		text_add(text, "null");
	else
		text_add_i64(
			text, days_until(node->options.certificate_ends_s, (int64_t)(node->time.wall_us / 1000000)));
}

static void node_status(struct node *node, uint64_t connection, uint64_t request)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct buffer *buffer = buffer_new(STATUS_JSON_MAX);
	struct message reply = { .kind = MESSAGE_REPLY, .request = request };
	struct text text;
	bool first = true;

	if (buffer == NULL) {
		refuse(node, connection, request, STATUS_BUSY, "this node is out of memory");
		return;
	}
	text_init(&text, (char *)buffer->data, buffer->size);
	text_add(&text, "{");
	json_id(&text, "node", node->identity.node);
	text_add(&text, ",\"place\":\"");
	text_add(&text, node->options.place.text);
	text_add(&text, "\",");
	json_u64(&text, "map_epoch", map->epoch);
	text_add(&text, ",");
	json_u64(&text, "requests", node->requests);
	text_add(&text, ",\"rtt_us\":{");
	for (uint32_t i = 0; i < map->node_count; i++) {
		uint32_t rtt = map->nodes[i].id == node->identity.node || !node->running
				       ? 0
				       : liveness_rtt_us(node->liveness, map->nodes[i].id);

		if (rtt == 0)
			continue;
		text_add(&text, first ? "\"" : ",\"");
		text_add_u64(&text, map->nodes[i].id);
		text_add(&text, "\":");
		text_add_u64(&text, rtt);
		first = false;
	}
	text_add(&text, "},\"alive\":[");
	first = true;
	for (uint32_t i = 0; i < map->node_count && node->running; i++) {
		if (map->nodes[i].id != node->identity.node &&
			!liveness_alive(node->liveness, map->nodes[i].id, node->time.now_ns))
			continue;
		text_add(&text, first ? "\"" : ",\"");
		text_add_u64(&text, map->nodes[i].id);
		text_add(&text, "\"");
		first = false;
	}
	text_add(&text, "],\"replicas\":[");
	first = true;
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] == NULL || text.size + 4096 > text.capacity)
			continue;
		if (!first)
			text_add(&text, ",");
		status_replica(node, node->table[i], &text);
		first = false;
	}
	text_add(&text, "],");
	status_residency(node, &text);
	text_add(&text, ",");
	erasure_json(node, &text);
	status_certificate(node, &text);
	text_add(&text, "}");
	reply.reply.map_epoch = map->epoch;
	reply.reply.detail = bytes_of(buffer->data, text.size);
	node->io.reply(node->io.arg, connection, &reply);
	buffer_unref(buffer);
}

void admin_request(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	struct bytes verb = message->admin.verb;

	if (bytes_equal(verb, bytes_text("node.status"))) {
		if (who->role != PEER_ADMIN && who->role != PEER_CLIENT)
			refuse(node, connection, message->request, STATUS_DENIED,
				"nodes do not ask for each other's status");
		else
			node_status(node, connection, message->request);
	} else if (bytes_equal(verb, bytes_text("change"))) {
		admin_change(node, connection, who, message);
	} else if (bytes_equal(verb, bytes_text("plan"))) {
		plan_request(node, connection, who, message);
	} else if (bytes_equal(verb, bytes_text("residency.search"))) {
		search_requested(node, connection, who, message);
	} else if (bytes_equal(verb, bytes_text("cluster.init"))) {
		cluster_init(node, connection, who, message);
	} else if (bytes_equal(verb, bytes_text("ledger.read")) || bytes_equal(verb, bytes_text("ledger.heads"))) {
		if (who->role != PEER_ADMIN)
			refuse(node, connection, message->request, STATUS_DENIED,
				"only an administrator reads the ledger; use an admin certificate");
		else
			node_ledger_requested(node, connection, message);
	} else {
		refuse(node, connection, message->request, STATUS_INVALID,
			"this node knows no such verb; is the tool newer than the node?");
	}
}
