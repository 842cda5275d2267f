/* server/rebind.c: keys go from one shard to another: from the shards of a policy to those of another when their
 * binding changes, from a shard to another of its policy when shards split or merge (replication/meta_rebind.c and
 * meta_split.c have the phases).
 *
 *  - BIRTH: the new shard's leader says that there is one.
 *  - COPY: the leader of a shard that they leave reads them behind its fence, which it renews first, since nothing
 *    changes behind it but by operations inside this one, and those have ended; and sends them in batches, one at a
 *    time, to the leader of the shard that they come to, which proposes them (ADOPT) and answers when they are applied.
 *    Both write it into their ledgers first. When shards split or merge, what the shard knows of its clients' writes
 *    goes before (INHERIT): who sends one again gets the same answer.
 *  - CLOSE, SEAL: the leader of a shard that they come to ends that (CLOSE), in its log, before anybody may write them
 *    there.
 *  - PURGE: the leader of a shard that they left removes them through its log; ABORT: of those that they came to in
 *    vain, likewise.
 *
 * Nothing is remembered that the map and the applied state do not say: a new leader begins its step anew, and all of it
 * may be done twice. While the engine lacks some of that state, since its disk is full, nothing is done. Each key
 * leaves, and is taken, only if an operation that the node's own map has in COPY moves it there and the node may hold
 * it: both ends look (residency.c counts what they refuse). A witness has no key to send, and is sent none. */
#include "server/node_internal.h"

#include <assert.h>

#include "base/buffer.h"
#include "replication/hlc.h"

enum {
	ANSWER_MS = 1000,	/* to a batch, or until what was proposed is applied: then again */
	REPORT_MS = 1000,	/* an unanswered report is sent again */
	TRIES_AT_ONCE = 3,	/* nodes asked one after the other before the mover's next round */
	ROWS_LOOKED_AT = 16384, /* of a shard in one round */
};
#define CLOCK_AHEAD_US ((uint64_t)366 * 86400 * 1000000) /* of who wrote a key that is taken over, at most */

static bool elapsed(const struct node *node, uint64_t since_ns, uint64_t ms)
{
	return since_ns == 0 || node->time.now_ns - since_ns >= ms * 1000000;
}

/* All versions to come where keys are taken over are above this one: a node elsewhere has no power over them. */
static bool far_ahead(const struct node *node, uint64_t version)
{
	return hlc_wall_us(version) > node->time.wall_us + CLOCK_AHEAD_US;
}

void rebind_forget(struct hosted *hosted)
{
	buffer_unref(hosted->rebind.after);
	buffer_unref(hosted->rebind.next);
	hosted->rebind = (struct rebind){ 0 };
}

/* --- which rows ---------------------------------------------------------------------------------------- */

struct gathered {
	struct packer rows;
	unsigned count;
	uint64_t shard;	     /* COPY: that all of them go to */
	bool ended;	     /* there are no others */
	bool stuck;	     /* COPY: one cannot go anywhere */
	bool records;	     /* they are of sessions */
	struct buffer *last; /* key up to which all were looked at; NULL: none was */
};

/* What is around an exact key only its owner knows: here meta's rule, that a binding tightens, is kept. */
static bool loosens(const struct cluster_map *map, const struct map_operation *operation, struct bytes key)
{
	struct flaw flaw;

	if (!operation->exact || operation->binding_policy == 0)
		return false;
	for (size_t size = key.size + 1; size-- > 0;) {
		const struct map_binding *around = map_binding_by_prefix(map, bytes_of(key.data, size));

		if (around != NULL && map_binding_in_force(map, around))
			return around->policy != operation->binding_policy &&
			       !placement_tightens(map, map_policy_find(map, operation->binding_policy),
				       map_policy_find(map, around->policy), &flaw);
	}
	return false;
}

/* False: the row is of the next batch. */
static bool take_leaving(const struct cluster_map *map, const struct map_operation *operation,
	const struct map_shard *shard, struct gathered *gathered, const struct command_row *row)
{
	const struct map_shard *to;
	enum map_move move = map_operation_moves_from(map, operation, shard, row->key, &to);

	if (move == MOVE_STAYS)
		return true;
	if (to == NULL || loosens(map, operation, row->key)) {
		gathered->stuck = true;
		return false;
	}
	if (gathered->count == COMMAND_ROWS_MAX || (gathered->count > 0 && gathered->shard != to->id) ||
		!command_row_add(COMMAND_ADOPT, &gathered->rows, row))
		return false;
	gathered->shard = to->id;
	gathered->count++;
	return true;
}

static bool take_left(const struct cluster_map *map, const struct map_operation *operation,
	const struct map_shard *shard, struct gathered *gathered, const struct command_row *row)
{
	if (map_lives_in(map, shard, row->key) || !map_operation_has(map, operation, row->key))
		return true;
	if (gathered->count == COMMAND_ROWS_MAX || !command_row_add(COMMAND_PURGE, &gathered->rows, row))
		return false;
	gathered->count++;
	return true;
}

static bool take_counted(const struct cluster_map *map, const struct map_operation *operation,
	struct gathered *gathered, const struct command_row *row)
{
	gathered->count += map_operation_has(map, operation, row->key);
	return true;
}

static enum status looked_at(struct gathered *gathered, struct bytes key)
{
	buffer_unref(gathered->last);
	gathered->last = buffer_copy(key);
	return gathered->last == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

/* Rows of the operation's that this shard is to count, to hand over, or to remove, behind where the last round ended.
 * The packed ones last until the next call. Not OK: the engine could not be read. */
static enum status gather(const struct cluster_map *map, struct hosted *hosted, const struct map_shard *shard,
	const struct map_operation *operation, struct gathered *gathered)
{
	static uint8_t packed[COMMAND_ROWS_BYTES_MAX];
	struct engine_iter *iter = NULL;
	struct bytes key, value;
	enum status status = engine_iter_open(driver_engine(hosted->driver), ENGINE_SPACE_KEYS,
		bytes_of(operation->prefix, operation->prefix_size), buffer_bytes(hosted->rebind.after), &iter);

	*gathered = (struct gathered){ 0 };
	pack_init(&gathered->rows, packed, sizeof(packed));
	for (unsigned looked = 0; status == STATUS_OK && looked < ROWS_LOOKED_AT; looked++) {
		struct stored_value stored;
		struct command_row row;
		bool taken;

		status = engine_iter_next(iter, &key, &value);
		if (status == STATUS_OK)
			status = stored_value_decode(value, &stored);
		if (status != STATUS_OK)
			break;
		row = (struct command_row){ stored.version, key, stored.value };
		switch ((enum operation_phase)operation->phase) {
		case PHASE_FENCE:
			taken = take_counted(map, operation, gathered, &row);
			break;
		case PHASE_COPY:
			taken = take_leaving(map, operation, shard, gathered, &row);
			break;
		default:
			taken = take_left(map, operation, shard, gathered, &row);
			break;
		}
		if (!taken)
			break;
		status = looked_at(gathered, key);
	}
	if (iter != NULL)
		engine_iter_close(iter);
	gathered->ended = status == STATUS_END;
	return status == STATUS_END ? STATUS_OK : status;
}

/* The session records of a shard whose hashes go, all of them: which key each is of nobody knows. Behind the fence none
 * of a key that goes is added. */
static enum status gather_records(
	struct hosted *hosted, const struct map_operation *operation, struct gathered *gathered)
{
	static uint8_t packed[COMMAND_ROWS_BYTES];
	struct engine_iter *iter = NULL;
	struct bytes key, row;
	enum status status = engine_iter_open(driver_engine(hosted->driver), ENGINE_SPACE_SESSIONS, bytes_of(NULL, 0),
		buffer_bytes(hosted->rebind.after), &iter);

	*gathered = (struct gathered){ .records = true, .shard = operation->shard_to };
	pack_init(&gathered->rows, packed, sizeof(packed));
	while (status == STATUS_OK) {
		struct session_result result = { 0 };
		struct command_record record;

		status = engine_iter_next(iter, &key, &row);
		if (status == STATUS_OK)
			status = driver_session_decode(row, &result);
		if (status != STATUS_OK)
			break;
		record = (struct command_record){ result.client, result.sequence, result.version, result.status };
		if (!command_record_add(&gathered->rows, &record))
			break;
		status = looked_at(gathered, key);
	}
	if (iter != NULL)
		engine_iter_close(iter);
	gathered->ended = status == STATUS_END;
	return status == STATUS_END ? STATUS_OK : status;
}

static void go_on_behind(struct rebind *rebind, struct gathered *gathered)
{
	if (gathered->last == NULL)
		return;
	buffer_unref(rebind->after);
	rebind->after = gathered->last;
	gathered->last = NULL;
}

/* --- what is said and proposed ------------------------------------------------------------------------- */

/* found: FENCE: keys behind it; else: those that are stuck. */
static void report(struct node *node, struct hosted *hosted, const struct map_operation *operation, uint64_t found)
{
	struct change change = { .kind = CHANGE_MOVE_REPORT,
		.shard = hosted->group,
		.operation = operation->id,
		.phase = operation->phase,
		.keys_found = found };

	if (operation->phase == PHASE_FENCE) {
		change.kind = CHANGE_FENCE_REPORT;
		change.version = driver_version_max(hosted->driver);
	}
	if (!elapsed(node, hosted->rebind.reported_ns, REPORT_MS))
		return;
	hosted->rebind.reported_ns = node->time.now_ns;
	mover_send_change(node, &change);
}

/* It is applied when rebind_applied hears of it; until then, and a while after it may have been lost, nothing else is
 * proposed. */
static void propose(
	struct node *node, struct hosted *hosted, const struct map_operation *operation, struct command *command)
{
	uint64_t token;

	if (pending_take(node, PENDING_INTERNAL, &token) == NULL)
		return;
	command->operation = operation->id;
	command->map_epoch = node_map_in_force(node)->epoch;
	hosted->rebind.sent_ns = node->time.now_ns;
	driver_propose(hosted->driver, command, 0, token, node->time);
	node_touch(node, hosted);
}

void rebind_applied(struct hosted *hosted, const struct command *command)
{
	if (command->operation == hosted->rebind.operation && command->kind != COMMAND_ADOPT)
		hosted->rebind.sent_ns = 0;
}

/* --- FENCE --------------------------------------------------------------------------------------------- */

/* The fence is in the log before the count, so no write can come between. A part of the rows at a time: an exact key is
 * known by its hash only, so all of them are looked at. */
static void count(
	struct node *node, struct hosted *hosted, const struct map_shard *shard, const struct map_operation *operation)
{
	struct rebind *rebind = &hosted->rebind;
	struct gathered gathered = { 0 };

	if (!driver_fence_of(hosted->driver, operation->id))
		return;
	if (!rebind->ended && gather(node_map_in_force(node), hosted, shard, operation, &gathered) == STATUS_OK) {
		go_on_behind(rebind, &gathered);
		rebind->counted += gathered.count;
		rebind->ended = gathered.ended || rebind->counted >= FENCE_SCAN_ROWS;
	}
	buffer_unref(gathered.last);
	if (rebind->ended)
		report(node, hosted, operation, rebind->counted);
}

/* --- COPY: who hands over ------------------------------------------------------------------------------ */

/* To a node, which may be this one. */
static void tell(struct node *node, uint64_t to, const struct message *message)
{
	if (to != node->identity.node)
		node->io.send(node->io.arg, to, message);
	else if (message->kind == MESSAGE_ADOPT)
		rebind_adopt(node, to, message);
	else
		rebind_adopted(node, to, message);
}

/* It may be where copies may, and is sent no key all the same. */
static bool witnesses(const struct map_shard *shard, uint64_t node)
{
	const struct map_replica *at = map_replica_on(shard->replicas, shard->replica_count, node);

	return at != NULL && at->role == ROLE_WITNESS;
}

/* The node to ask: the one that was named as the leader, or that answered last; else one after the other. 0: none that
 * may hold the keys. */
static uint64_t node_to_ask(struct node *node, const struct rebind *rebind, const struct map_shard *shard)
{
	const struct hosted *here = node_hosted(node, shard->id);

	if (rebind->leader != 0 && !witnesses(shard, rebind->leader) &&
		residency_adopt_send(node, shard->policy, rebind->leader))
		return rebind->leader;
	if (here != NULL && !here->doomed && driver_leads(here->driver))
		return node->identity.node;
	for (unsigned i = 0; i < shard->replica_count; i++) {
		const struct map_replica *at = &shard->replicas[(rebind->tries + i) % shard->replica_count];

		if (at->role == ROLE_VOTER && residency_adopt_send(node, shard->policy, at->node))
			return at->node;
	}
	return 0;
}

/* The ledger has it, durably, that keys go to `shard` by way of that node, or come from there. */
static bool told(struct node *node, struct hosted *hosted, uint64_t operation, const struct map_shard *shard,
	uint64_t peer, bool sent)
{
	struct keys_moved moved = {
		.operation = operation, .shard = shard->id, .policy = shard->policy, .peer = peer, .sent = sent
	};

	return node_ledger_keys(node, hosted, &moved) == STATUS_OK;
}

static void hand_over(
	struct node *node, struct hosted *hosted, const struct map_operation *operation, struct gathered *gathered)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_shard *shard = map_shard_find(map, gathered->shard);
	struct rebind *rebind = &hosted->rebind;
	struct message message = { .kind = MESSAGE_ADOPT };
	uint64_t to;

	if (rebind->shard != gathered->shard)
		rebind->leader = 0;
	rebind->shard = gathered->shard;
	to = node_to_ask(node, rebind, shard);
	if (to == 0 || !told(node, hosted, operation->id, shard, to, true))
		return;
	message.adopt = (struct message_adopt){ .operation = operation->id,
		.source = hosted->group,
		.shard = shard->id,
		.map_epoch = map->epoch,
		.version = driver_version_max(hosted->driver),
		.number = ++node->adopt_number,
		.records = gathered->records,
		.evicted = gathered->records && driver_evicted_ever(hosted->driver),
		.rows = pack_result(&gathered->rows) };
	rebind->asked = to;
	rebind->number = message.adopt.number;
	rebind->sent_ns = node->time.now_ns;
	rebind->last = gathered->ended;
	rebind->records = gathered->records;
	buffer_unref(rebind->next);
	rebind->next = gathered->last;
	gathered->last = NULL;
	tell(node, to, &message);
}

/* What is applied here has all that lay behind the fence when the phase began. That it has the fence is not enough:
 * keys may have come behind it since, of an operation inside this one, and who begins to lead, or leads no more and
 * does not know it yet, may lack them. So the fence is proposed once more. */
static bool fenced_anew(struct node *node, struct hosted *hosted, const struct map_operation *operation)
{
	struct command fence;

	for (uint32_t i = 0; driver_fence_at(hosted->driver, i, &fence); i++) {
		if (fence.operation != operation->id)
			continue;
		if (fence.map_epoch >= operation->phase_epoch)
			return true;
		if (elapsed(node, hosted->rebind.sent_ns, ANSWER_MS))
			propose(node, hosted, operation, &fence);
		return false;
	}
	return false; /* not applied here yet */
}

static void copy(
	struct node *node, struct hosted *hosted, const struct map_shard *shard, const struct map_operation *operation)
{
	struct rebind *rebind = &hosted->rebind;
	struct gathered gathered = { 0 };
	enum status status = STATUS_OK;

	if (!fenced_anew(node, hosted, operation))
		return;
	if (rebind->number != 0) {
		if (!elapsed(node, rebind->sent_ns, ANSWER_MS))
			return;
		rebind->number = 0;
		rebind->leader = 0;
		rebind->tries++;
	}
	if (rebind->refused) {
		report(node, hosted, operation, 1);
		return;
	}
	if (operation_of_range(operation->kind) && !rebind->inherited)
		status = gather_records(hosted, operation, &gathered);
	else if (!rebind->ended)
		status = gather(node_map_in_force(node), hosted, shard, operation, &gathered);
	if (status != STATUS_OK) {
		buffer_unref(gathered.last);
		return; /* another copy may lead soon, or this one is mended: later */
	}
	if (gathered.count > 0 || gathered.records) {
		hand_over(node, hosted, operation, &gathered);
	} else {
		go_on_behind(rebind, &gathered);
		rebind->ended = rebind->ended || gathered.ended;
		if (rebind->ended || gathered.stuck)
			report(node, hosted, operation, gathered.stuck);
	}
	buffer_unref(gathered.last);
}

void rebind_adopted(struct node *node, uint64_t from, const struct message *message)
{
	const struct message_adopt_reply *reply = &message->adopt_reply;
	struct hosted *hosted = node_hosted(node, reply->source);
	struct rebind *rebind = hosted == NULL ? NULL : &hosted->rebind;

	if (rebind == NULL || rebind->number == 0 || rebind->number != reply->number || rebind->asked != from)
		return;
	rebind->number = 0;
	if (reply->status == STATUS_OK) {
		buffer_unref(rebind->after);
		rebind->after = rebind->next;
		rebind->next = NULL;
		rebind->inherited = rebind->inherited || (rebind->records && rebind->last);
		rebind->ended = rebind->last && !rebind->records;
		if (rebind->records && rebind->last) { /* now the keys */
			buffer_unref(rebind->after);
			rebind->after = NULL;
		}
		rebind->tries = 0;
		node->mover_wanted = true;
		return;
	}
	rebind->refused = reply->status == STATUS_INVALID;
	rebind->leader = reply->status == STATUS_NOT_LEADER ? reply->leader_node
			 : reply->status == STATUS_BUSY	    ? rebind->asked
							    : 0;
	rebind->tries++;
	if (reply->status == STATUS_NOT_LEADER && rebind->tries < TRIES_AT_ONCE)
		node->mover_wanted = true;
}

/* --- COPY: who takes ----------------------------------------------------------------------------------- */

static void answer(
	struct node *node, uint64_t to, uint64_t source, uint64_t number, enum status status, uint64_t leader_node)
{
	struct message message = { .kind = MESSAGE_ADOPT_REPLY };

	message.adopt_reply = (struct message_adopt_reply){
		.source = source, .number = number, .leader_node = leader_node, .status = (uint32_t)status
	};
	tell(node, to, &message);
}

/* A copy of the shard is, or is to be, there; a witness has none. */
static bool holds(const struct map_shard *shard, uint64_t node)
{
	const struct map_replica *now = map_replica_on(shard->replicas, shard->replica_count, node);
	const struct map_replica *then = map_replica_on(shard->wanted, shard->wanted_count, node);

	return (now != NULL && now->role != ROLE_WITNESS) || (then != NULL && then->role != ROLE_WITNESS);
}

/* What the sender says, by our own map: it holds the source, and every key goes from there to this shard. */
static enum status judge(
	const struct node *node, uint64_t from, const struct message_adopt *adopt, const struct map_shard *shard)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_operation *operation = map_operation_find(map, adopt->operation);
	const struct map_shard *source = map_shard_find(map, adopt->source);
	struct unpacker rows;
	struct command_row row;
	unsigned count = 0;

	if (operation == NULL || !operation_moves_keys(operation->kind) || operation->state != OPERATION_RUNNING ||
		operation->phase != PHASE_COPY)
		return map->epoch < adopt->map_epoch ? STATUS_BUSY : STATUS_STALE_MAP;
	if (source == NULL || !holds(source, from))
		return STATUS_RESIDENCY_REFUSED;
	if (!map_operation_awaits(operation, source->id))
		return STATUS_STALE_MAP; /* all of its keys are here: a late copy */
	if (far_ahead(node, adopt->version))
		return STATUS_INVALID;
	unpack_init(&rows, adopt->rows);
	if (adopt->records) {
		struct command_record record;

		if (!operation_of_range(operation->kind) || operation->shard_from != source->id ||
			operation->shard_to != shard->id)
			return STATUS_RESIDENCY_REFUSED;
		while (command_record_next(&rows, &record))
			if (far_ahead(node, record.version) || !status_known(record.status))
				return STATUS_INVALID;
		return rows.bad || adopt->rows.size > COMMAND_ROWS_BYTES ? STATUS_INVALID : STATUS_OK;
	}
	for (; command_row_next(COMMAND_ADOPT, &rows, &row); count++) {
		const struct map_shard *to;

		if (row.version > adopt->version)
			return STATUS_INVALID;
		if (map_operation_moves_from(map, operation, source, row.key, &to) != MOVE_GOES || to != shard ||
			loosens(map, operation, row.key))
			return STATUS_RESIDENCY_REFUSED;
	}
	return rows.bad || count > COMMAND_ROWS_MAX ? STATUS_INVALID : STATUS_OK;
}

void rebind_adopt(struct node *node, uint64_t from, const struct message *message)
{
	const struct message_adopt *adopt = &message->adopt;
	const struct map_shard *shard = map_shard_find(node_map_in_force(node), adopt->shard);
	struct hosted *hosted = node_hosted(node, adopt->shard);
	struct command command = { .kind = COMMAND_ADOPT,
		.operation = adopt->operation,
		.map_epoch = node_map_in_force(node)->epoch,
		.version = adopt->version,
		.value = adopt->rows };
	struct pending *pending = NULL;
	enum status status;
	uint64_t token;

	if (shard == NULL || hosted == NULL || hosted->doomed || !driver_leads(hosted->driver)) {
		answer(node, from, adopt->source, adopt->number, STATUS_NOT_LEADER,
			hosted == NULL ? 0 : driver_leader_node(hosted->driver));
		return;
	}
	status = judge(node, from, adopt, shard);
	if (!residency_adopt_receive(node, shard->policy, status))
		status = STATUS_RESIDENCY_REFUSED;
	if (status == STATUS_OK && residency_evacuates(node, hosted))
		status = STATUS_BUSY;
	if (status == STATUS_OK && !told(node, hosted, adopt->operation,
					   map_shard_find(node_map_in_force(node), adopt->source), from, false))
		status = STATUS_BUSY;
	if (status == STATUS_OK)
		pending = pending_take(node, PENDING_ADOPT, &token);
	if (pending == NULL) {
		answer(node, from, adopt->source, adopt->number, status == STATUS_OK ? STATUS_BUSY : status, 0);
		return;
	}
	pending->connection = from;
	pending->request = adopt->number;
	pending->group = adopt->source;
	if (adopt->records) {
		command.kind = COMMAND_INHERIT;
		command.retry = adopt->evicted;
	} else { /* of another policy: the records stay where they are */
		command.retry =
			map_operation_find(node_map_in_force(node), adopt->operation)->kind == OPERATION_BINDING;
	}
	driver_propose(hosted->driver, &command, 0, token, node->time);
	node_touch(node, hosted);
}

void rebind_proposed(struct node *node, const struct hosted *hosted, const struct pending *pending,
	const struct driver_outcome *outcome)
{
	answer(node, pending->connection, pending->group, pending->request, outcome->status,
		outcome->status == STATUS_NOT_LEADER ? gateway_leader_node(node, hosted, outcome->leader) : 0);
}

/* --- CLOSE, PURGE, ABORT ------------------------------------------------------------------------------- */

static void close_copies(struct node *node, struct hosted *hosted, const struct map_operation *operation)
{
	struct command close = { .kind = COMMAND_CLOSE,
		.version = operation->version,
		.retry = operation->phase == PHASE_CLOSE && operation->kind == OPERATION_BINDING };

	if (far_ahead(node, operation->version))
		report(node, hosted, operation, 1);
	else if (driver_closed_at(hosted->driver, operation->phase_epoch, close.version, close.retry))
		report(node, hosted, operation, 0);
	else if (elapsed(node, hosted->rebind.sent_ns, ANSWER_MS))
		propose(node, hosted, operation, &close);
}

static void purge(
	struct node *node, struct hosted *hosted, const struct map_shard *shard, const struct map_operation *operation)
{
	struct rebind *rebind = &hosted->rebind;
	struct gathered gathered = { 0 };
	struct command removal = { .kind = COMMAND_PURGE };
	enum status status = STATUS_OK;

	if (!elapsed(node, rebind->sent_ns, ANSWER_MS))
		return;
	if (!rebind->ended)
		status = gather(node_map_in_force(node), hosted, shard, operation, &gathered);
	if (status == STATUS_OK && gathered.count > 0) {
		removal.value = pack_result(&gathered.rows);
		propose(node, hosted, operation, &removal);
	} else if (status == STATUS_OK) {
		go_on_behind(rebind, &gathered);
		rebind->ended = rebind->ended || gathered.ended;
		if (rebind->ended)
			report(node, hosted, operation, 0);
	}
	buffer_unref(gathered.last);
}

/* --- a shard's step ------------------------------------------------------------------------------------ */

/* The shard has a step of it to do. Fences first: to count is quick, and others may wait for whom copies. */
static const struct map_operation *operation_awaiting(const struct cluster_map *map, const struct map_shard *shard)
{
	const struct map_operation *moves = NULL;

	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *at = &map->operations[i];

		if (!operation_moves_keys(at->kind) || at->phase == PHASE_WAIT || !map_operation_awaits(at, shard->id))
			continue;
		if (at->phase == PHASE_FENCE)
			return at;
		if (moves == NULL)
			moves = at;
	}
	return moves;
}

bool rebind_run(struct node *node, struct hosted *hosted, const struct map_shard *shard)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_operation *operation = operation_awaiting(map, shard);
	struct rebind *rebind = &hosted->rebind;
	uint64_t term = group_status(driver_group(hosted->driver), node->time.now_ns).term;

	if (operation == NULL || rebind->operation != operation->id || rebind->phase != operation->phase ||
		rebind->term != term)
		rebind_forget(hosted);
	if (operation == NULL)
		return true;
	if (!driver_rows_whole(hosted->driver))
		return false; /* a fence may be known here, and the last rows behind it are not there yet */
	rebind->operation = operation->id;
	rebind->phase = operation->phase;
	rebind->term = term;
	switch ((enum operation_phase)operation->phase) {
	case PHASE_BIRTH:
		if (driver_takes_writes(hosted->driver))
			report(node, hosted, operation, 0);
		break;
	case PHASE_FENCE:
		count(node, hosted, shard, operation);
		break;
	case PHASE_COPY:
		copy(node, hosted, shard, operation);
		break;
	case PHASE_CLOSE:
	case PHASE_SEAL:
		close_copies(node, hosted, operation);
		break;
	case PHASE_PURGE:
	case PHASE_ABORT: /* all that came in time is here, and nothing comes after it */
		if (driver_move_epoch(hosted->driver) >= operation->phase_epoch)
			purge(node, hosted, shard, operation);
		else if (elapsed(node, rebind->sent_ns, ANSWER_MS))
			propose(node, hosted, operation, &(struct command){ .kind = COMMAND_PURGE });
		break;
	case PHASE_NONE:
	case PHASE_WAIT:
		break;
	}
	return false;
}
