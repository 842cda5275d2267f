/* server/node_ledger.c: see server/node_ledger.h.
 *
 * In memory stands what the records add up to: which replicas are recorded and not gone, which policies, regions and
 * certificate were last recorded. It is rebuilt from the records at the start, so nothing else need be kept on disk.
 *
 * One flush at a time, on a thread that may block; whatever comes meanwhile is the next batch. A ledger that cannot be
 * written stops the node; a full disk does not: records wait, and with them the replicas that are to be made. */
#include "server/node_ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "server/node_internal.h"
#include "storage/ledger.h"

enum {
	HEAD_PERIOD_MS = 10000,
	PART_SIZE = 64 << 10,
	HEADS_SIZE = (MAP_NODES_MAX + MAP_FORMERS_MAX) * (PLACE_TEXT_MAX + 256)
};

struct recorded_replica {
	uint64_t group, replica, policy;
	uint64_t sequence;   /* of its LEDGER_CREATED */
	uint64_t removed_us; /* with gone */
	bool gone;	     /* removed; its bytes may still be here */
	bool unmade;	     /* with gone: at a start it was not there, so maybe it never was */
	bool overdue;	     /* what was deleted in it is */
};
struct recorded_policy {
	uint64_t id, epoch;
	uint32_t erase_within_s;
};
struct recorded_region {
	uint64_t place; /* hash */
	uint8_t digest[SHA256_SIZE];
};

struct node_ledger {
	struct ledger *ledger;
	struct recorded_replica *replicas;
	uint32_t replica_count, replica_capacity;
	struct recorded_policy policies[MAP_POLICIES_MAX];
	uint32_t policy_count;
	struct recorded_region regions[MAP_REGIONS_MAX];
	uint32_t region_count;
	uint8_t certificate[SHA256_SIZE]; /* digest of the one last recorded */
	uint64_t map_epoch;		  /* recorded */
	bool map_due;			  /* the map in force was not recorded as a whole: too much waits */
	uint64_t head_ns;		  /* when a head was last told */
	uint8_t body[LEDGER_BODY_MAX];
};

/* --- what is recorded -------------------------------------------------------------------------------- */

static struct recorded_replica *replica_find(struct node_ledger *ledger, uint64_t group, uint64_t replica)
{
	for (uint32_t i = 0; i < ledger->replica_count; i++)
		if (ledger->replicas[i].group == group && ledger->replicas[i].replica == replica)
			return &ledger->replicas[i];
	return NULL;
}

static bool replica_add(struct node_ledger *ledger, const struct ledger_record *record)
{
	if (ledger->replica_count == ledger->replica_capacity) {
		uint32_t capacity = ledger->replica_capacity == 0 ? 64 : 2 * ledger->replica_capacity;
		struct recorded_replica *grown = realloc(ledger->replicas, capacity * sizeof(*grown));

		if (grown == NULL)
			return false;
		ledger->replicas = grown;
		ledger->replica_capacity = capacity;
	}
	ledger->replicas[ledger->replica_count++] = (struct recorded_replica){ .group = record->shard,
		.replica = record->replica,
		.policy = record->policy,
		.sequence = record->sequence };
	return true;
}

static void replica_forget(struct node_ledger *ledger, struct recorded_replica *replica)
{
	*replica = ledger->replicas[--ledger->replica_count];
}

static struct recorded_policy *policy_find(struct node_ledger *ledger, uint64_t id, uint32_t hint)
{
	for (uint32_t i = 0; i < ledger->policy_count; i++) {
		struct recorded_policy *policy = &ledger->policies[(hint + i) % ledger->policy_count];

		if (policy->id == id)
			return policy;
	}
	return NULL;
}

static bool policy_note(struct node_ledger *ledger, const struct ledger_record *record)
{
	struct recorded_policy *policy = policy_find(ledger, record->policy, 0);
	struct policy rules;
	struct unpacker unpacker;

	if (policy == NULL) {
		if (ledger->policy_count == MAP_POLICIES_MAX)
			return false;
		policy = &ledger->policies[ledger->policy_count++];
		policy->id = record->policy;
	}
	policy->epoch = record->policy_epoch;
	unpack_init(&unpacker, record->body);
	policy->erase_within_s = policy_decode(&unpacker, &rules) == STATUS_OK ? rules.erase_within_s : 0;
	return true;
}

static void region_digest(const struct ledger_record *record, uint8_t digest[SHA256_SIZE])
{
	struct sha256 sha256;

	sha256_init(&sha256);
	sha256_add(&sha256, bytes_of(record->digest, SHA256_SIZE));
	sha256_add(&sha256, record->body);
	sha256_end(&sha256, digest);
}

static struct recorded_region *region_find(struct node_ledger *ledger, const struct place *place)
{
	uint64_t hash = hash64(bytes_text(place->text));

	for (uint32_t i = 0; i < ledger->region_count; i++)
		if (ledger->regions[i].place == hash)
			return &ledger->regions[i];
	return NULL;
}

static bool region_note(struct node_ledger *ledger, const struct ledger_record *record)
{
	struct recorded_region *region = region_find(ledger, &record->place);

	if (region == NULL) {
		if (ledger->region_count == MAP_REGIONS_MAX) /* some have gone; what is missed is recorded again */
			memmove(&ledger->regions[0], &ledger->regions[1],
				--ledger->region_count * sizeof(ledger->regions[0]));
		region = &ledger->regions[ledger->region_count++];
		region->place = hash64(bytes_text(record->place.text));
	}
	region_digest(record, region->digest);
	return true;
}

static void replica_note(
	struct node_ledger *ledger, struct recorded_replica *replica, const struct ledger_record *record)
{
	if (record->kind == LEDGER_PURGED) {
		replica_forget(ledger, replica);
		return;
	}
	if (record->kind == LEDGER_REMOVED) {
		replica->gone = true;
		replica->unmade = (record->flags & LEDGER_RECONCILED) != 0;
		replica->removed_us = record->time_us;
	}
	replica->overdue = record->kind == LEDGER_OVERDUE;
}

/* One record, taken or found. False: no memory, or more than a map can hold. */
static bool note(struct node_ledger *ledger, const struct ledger_record *record)
{
	struct recorded_replica *replica;

	switch ((enum ledger_kind)record->kind) {
	case LEDGER_CERTIFICATE:
		sha256_of(record->body, ledger->certificate);
		return true;
	case LEDGER_REGION:
		return region_note(ledger, record);
	case LEDGER_POLICY:
		return policy_note(ledger, record);
	case LEDGER_CREATED:
		return replica_add(ledger, record);
	case LEDGER_REMOVED:
	case LEDGER_PURGED:
	case LEDGER_OVERDUE:
	case LEDGER_ERASED:
		replica = replica_find(ledger, record->shard, record->replica);
		if (replica != NULL)
			replica_note(ledger, replica, record);
		return true;
	case LEDGER_STARTED:
	case LEDGER_SNAPSHOT_SENT:
	case LEDGER_SNAPSHOT_TAKEN:
	case LEDGER_KEYS_SENT:
	case LEDGER_KEYS_TAKEN:
	case LEDGER_KINDS:
		break;
	}
	return true;
}

static bool found(
	void *arg, const struct ledger_record *record, struct bytes encoded, const struct ledger_position *behind)
{
	(void)encoded;
	(void)behind;
	return note(arg, record);
}

/* --- writing ----------------------------------------------------------------------------------------- */

static void fail(struct node *node, enum status status)
{
	if (node->failed)
		return;
	node->failed = true;
	node->io.fatal(node->io.arg, status, "the ledger could not be written");
}

/* BUSY: too much waits for the disk, nothing was taken. */
static enum status append(struct node *node, struct ledger_record *record)
{
	enum status status;

	record->time_us = node->time.wall_us;
	record->map_epoch = node_map_in_force(node)->epoch;
	status = ledger_append(node->ledger->ledger, record);
	if (status == STATUS_OK && !note(node->ledger, record))
		status = STATUS_NO_MEMORY;
	if (status != STATUS_OK && status != STATUS_BUSY)
		fail(node, status);
	return status;
}

/* Of what has happened already: it must not be lost, so a ledger that cannot take it stops the node. */
static void append_fact(struct node *node, struct ledger_record *record)
{
	if (append(node, record) == STATUS_BUSY)
		fail(node, STATUS_NO_SPACE);
}

struct ledger_job {
	struct node *node;
	struct ledger_flush *flush;
	enum status ran;
};

static void head_tell(struct node *node);
static void write_begin(struct node *node);

static void job_run(void *arg)
{
	struct ledger_job *job = arg;

	job->ran = ledger_flush_run(job->flush);
}

static void job_done(void *arg)
{
	struct ledger_job *job = arg;
	struct node *node = job->node;
	enum status status = ledger_flush_end(node->ledger->ledger, job->flush, job->ran);

	free(job);
	if (status == STATUS_CANCELLED || status == STATUS_NO_SPACE || node->failed)
		return; /* the tick tries again */
	if (status != STATUS_OK) {
		fail(node, status);
		return;
	}
	if (node->ledger->map_due)
		node_ledger_map(node);
	head_tell(node);
	write_begin(node);
	node->mover_ns = node->time.now_ns;  /* replicas wait for what is durable now */
	node->io.flush_wanted(node->io.arg); /* whoever owns the loop looks at the deadline anew */
}

static void write_begin(struct node *node)
{
	struct ledger_job *job;
	struct ledger_flush *flush;

	if (node->failed || !ledger_flush_begin(node->ledger->ledger, &flush))
		return;
	job = calloc(1, sizeof(*job));
	if (job == NULL) {
		enum status status = ledger_flush_end(node->ledger->ledger, flush, STATUS_CANCELLED);

		(void)status; /* nothing was written; the tick tries again */
		return;
	}
	*job = (struct ledger_job){ node, flush, STATUS_CANCELLED };
	if (node->io.block != NULL) {
		node->io.block(node->io.arg, job_run, job_done, job);
		return;
	}
	job_run(job);
	job_done(job);
}

/* All that waits, now: when the node begins and when it ends. */
static enum status write_all(struct node *node)
{
	struct ledger *ledger = node->ledger->ledger;
	enum status status = STATUS_OK;

	while (status == STATUS_OK && ledger_durable(ledger).sequence < ledger_appended(ledger)) {
		struct ledger_flush *flush;

		if (!ledger_flush_begin(ledger, &flush))
			return STATUS_BUSY; /* one is under way, or no memory */
		status = ledger_flush_end(ledger, flush, ledger_flush_run(flush));
	}
	return status;
}

/* --- the beginning and the end ----------------------------------------------------------------------- */

void node_ledger_certificate(struct node *node, struct bytes certificate)
{
	uint8_t digest[SHA256_SIZE];
	struct ledger_record record = { .kind = LEDGER_CERTIFICATE };
	struct buffer *copy = certificate.size == 0 ? NULL : buffer_copy(certificate);

	if (copy != NULL) {
		buffer_unref(node->certificate);
		node->certificate = copy;
	}
	if (node->ledger == NULL || node->certificate == NULL)
		return;
	record.body = buffer_bytes(node->certificate);
	sha256_of(record.body, digest);
	if (memcmp(digest, node->ledger->certificate, sizeof(digest)) == 0)
		return;
	append_fact(node, &record);
	if (node->running)
		write_begin(node);
}

enum status node_ledger_begin(struct node *node, const char **why)
{
	struct ledger_options options = {
		.dir = node->data, .incarnation = node->identity.incarnation, .place = node->options.place
	};
	struct ledger_record record = { .kind = LEDGER_STARTED,
		.node = node->identity.node,
		.place = node->options.place,
		.body = bytes_of(node->identity.cluster, sizeof(node->identity.cluster)) };
	const char *what = NULL;
	enum status status;

	assert(node->ledger == NULL);
	*why = "out of memory";
	node->ledger = calloc(1, sizeof(*node->ledger));
	if (node->ledger == NULL)
		return STATUS_NO_MEMORY;
	status = ledger_open(&options, found, node->ledger, &node->ledger->ledger, &what);
	*why = "the ledger could not be opened";
	if (status == STATUS_CONFLICT)
		*why = "the ledger in this data directory is another node's";
	if (status == STATUS_UNSUPPORTED)
		*why = "the ledger in this data directory was written by another version of domiciled";
	if (status == STATUS_CORRUPT) {
		log_error("the ledger is not what was written", LOG_S("what", what));
		*why = "the ledger is not what was written (`domctl audit verify` with its files says where); keep it "
		       "for the audit and join anew with an empty directory";
	}
	if (status == STATUS_OK && append(node, &record) != STATUS_OK)
		status = STATUS_IO;
	if (status == STATUS_OK) {
		node_ledger_certificate(node, bytes_of(NULL, 0));
		status = write_all(node);
		*why = "the ledger could not be written";
	}
	if (status != STATUS_OK) {
		ledger_close(node->ledger->ledger);
		free(node->ledger->replicas);
		free(node->ledger);
		node->ledger = NULL;
	}
	return status;
}

/* A crash came between a replica's files and its record: what is on the disk is true, and the record says that it was
 * found so. A replica without any record of its creation cannot come about by that; an audit asks about it. */
enum status node_ledger_reconcile(struct node *node, const char **why)
{
	struct node_ledger *ledger = node->ledger;
	struct ledger_record record = { .flags = LEDGER_RECONCILED };

	*why = "the ledger could not be written";
	for (uint32_t i = 0; i < ledger->replica_count; i++) {
		const struct hosted *hosted = node_hosted(node, ledger->replicas[i].group);

		if (ledger->replicas[i].gone ||
			(hosted != NULL && driver_replica_id(hosted->driver) == ledger->replicas[i].replica))
			continue;
		record.kind = LEDGER_REMOVED;
		record.shard = ledger->replicas[i].group;
		record.replica = ledger->replicas[i].replica;
		append_fact(node, &record);
	}
	for (size_t i = 0; i < node->table_size; i++) {
		const struct hosted *hosted = node->table[i];
		const struct recorded_replica *recorded;

		if (hosted == NULL)
			continue;
		recorded = replica_find(ledger, hosted->group, driver_replica_id(hosted->driver));
		if (recorded != NULL && !recorded->gone)
			continue;
		log_error("a replica is here that the ledger knows nothing of", LOG_H("group", hosted->group),
			LOG_U("replica", driver_replica_id(hosted->driver)));
		record.kind = LEDGER_CREATED;
		record.flags = LEDGER_RECONCILED | (driver_is_witness(hosted->driver) ? LEDGER_WITNESS : 0);
		record.shard = hosted->group;
		record.replica = driver_replica_id(hosted->driver);
		append_fact(node, &record);
	}
	return node->failed ? STATUS_IO : write_all(node);
}

uint64_t node_ledger_durable(const struct node *node)
{
	return node->ledger == NULL ? 0 : ledger_durable(node->ledger->ledger).sequence;
}

void node_ledger_end(struct node *node)
{
	enum status status;

	if (node->ledger == NULL)
		return;
	status = node->failed ? STATUS_OK : write_all(node);
	if (status != STATUS_OK)
		log_warn("the end of the ledger is not written", LOG_S("status", status_name(status)));
	ledger_close(node->ledger->ledger);
	free(node->ledger->replicas);
	free(node->ledger);
	node->ledger = NULL;
}

/* --- replicas ---------------------------------------------------------------------------------------- */

enum status node_ledger_host(struct node *node, uint64_t group, uint64_t replica, bool witness, uint64_t policy)
{
	struct node_ledger *ledger = node->ledger;
	struct recorded_replica *recorded = replica_find(ledger, group, replica);
	struct ledger_record record = { .kind = LEDGER_CREATED,
		.flags = witness ? LEDGER_WITNESS : 0,
		.shard = group,
		.replica = replica,
		.policy = policy };
	enum status status = STATUS_OK;

	if (recorded != NULL && recorded->gone) {
		assert(recorded->unmade); /* ids of replicas are never given twice */
		return STATUS_BUSY;	  /* a crash came before it was made: as soon as that is settled, it is */
	}
	if (recorded == NULL) {
		if (policy != 0) {
			const struct policy *rules = map_policy_find(node_map_in_force(node), policy);
			const struct recorded_policy *known = policy_find(ledger, policy, 0);

			if (rules == NULL || known == NULL || known->epoch != rules->epoch)
				return STATUS_BUSY;
			record.policy_epoch = rules->epoch;
		}
		status = append(node, &record);
		if (status != STATUS_OK)
			return status;
		recorded = replica_find(ledger, group, replica);
		if (group == META_GROUP)
			return write_all(node);
		write_begin(node);
	}
	return recorded->sequence <= ledger_durable(ledger->ledger).sequence ? STATUS_OK : STATUS_BUSY;
}

static void record_of(struct node *node, uint8_t kind, uint64_t group, uint64_t replica)
{
	struct ledger_record record = { .kind = kind, .shard = group, .replica = replica };

	append_fact(node, &record);
	write_begin(node);
}

void node_ledger_removed(struct node *node, uint64_t group, uint64_t replica)
{
	record_of(node, LEDGER_REMOVED, group, replica);
}

bool node_ledger_unborn(struct node *node, uint64_t group, uint64_t wanted)
{
	bool any = false;

	for (uint32_t i = 0; i < node->ledger->replica_count; i++) {
		const struct recorded_replica *recorded = &node->ledger->replicas[i];

		if (recorded->group == group && recorded->replica != wanted && !recorded->gone) {
			node_ledger_removed(node, group, recorded->replica);
			any = true;
		}
	}
	return any;
}

bool node_ledger_here(const struct node *node, uint32_t *at, uint64_t *group)
{
	const struct node_ledger *ledger = node->ledger;

	while (*at < ledger->replica_count && ledger->replicas[*at].gone)
		++*at;
	if (*at == ledger->replica_count)
		return false;
	*group = ledger->replicas[(*at)++].group;
	return true;
}

/* --- erasure ----------------------------------------------------------------------------------------- */

bool node_ledger_gone(const struct node *node, uint32_t *at, struct ledger_gone *gone)
{
	const struct node_ledger *ledger = node->ledger;

	while (*at < ledger->replica_count && !ledger->replicas[*at].gone)
		++*at;
	if (*at == ledger->replica_count)
		return false;
	const struct recorded_replica *recorded = &ledger->replicas[(*at)++];

	*gone = (struct ledger_gone){ recorded->group, recorded->replica, recorded->policy, recorded->removed_us };
	return true;
}

uint32_t node_ledger_erase_within_s(const struct node *node, uint64_t policy, uint64_t *epoch)
{
	const struct recorded_policy *recorded = policy_find(node->ledger, policy, 0);

	*epoch = recorded == NULL ? 0 : recorded->epoch;
	return recorded == NULL ? 0 : recorded->erase_within_s;
}

void node_ledger_purged(struct node *node, uint64_t group, uint64_t replica)
{
	const struct recorded_replica *recorded = replica_find(node->ledger, group, replica);

	if (recorded != NULL && recorded->gone)
		record_of(node, LEDGER_PURGED, group, replica);
}

void node_ledger_overdue(struct node *node, uint64_t group, uint64_t replica)
{
	const struct recorded_replica *recorded = replica_find(node->ledger, group, replica);

	if (recorded != NULL && !recorded->gone && !recorded->overdue)
		record_of(node, LEDGER_OVERDUE, group, replica);
}

void node_ledger_erased(struct node *node, uint64_t group, uint64_t replica)
{
	const struct recorded_replica *recorded = replica_find(node->ledger, group, replica);

	if (recorded != NULL && recorded->overdue)
		record_of(node, LEDGER_ERASED, group, replica);
}

/* --- snapshots --------------------------------------------------------------------------------------- */

void node_ledger_snapshot(
	struct node *node, struct hosted *hosted, uint64_t peer, const struct message *message, bool sent)
{
	struct snapshot_told *told = &hosted->snapshots;
	const struct map_node *there;
	struct ledger_record record = { .kind = sent ? LEDGER_SNAPSHOT_SENT : LEDGER_SNAPSHOT_TAKEN };

	if (message->kind != MESSAGE_SNAPSHOT_CHUNK || message->chunk.sequence != 0 || node->ledger == NULL)
		return;
	if (message->chunk.last && message->chunk.count == 0)
		return; /* a witness's */
	there = map_node_find(node_map_in_force(node), peer);
	if (node_map_in_force(node)->epoch != node->ledger->map_epoch)
		node_ledger_map(node); /* the rules stand in the ledger before what happens by them */
	if (there == NULL)
		return; /* not a member then: the group does not look at it */
	for (unsigned i = 0; i < SNAPSHOTS_TOLD_MAX; i++) {
		if (told->at[i].peer == peer && told->at[i].sent == sent && told->at[i].index == message->chunk.index)
			return;
	}
	told->at[told->next % SNAPSHOTS_TOLD_MAX].peer = peer;
	told->at[told->next % SNAPSHOTS_TOLD_MAX].sent = sent;
	told->at[told->next++ % SNAPSHOTS_TOLD_MAX].index = message->chunk.index;
	record.shard = hosted->group;
	record.replica = driver_replica_id(hosted->driver);
	record.node = peer;
	record.place = there->place;
	record.last = message->chunk.index;
	append_fact(node, &record);
	write_begin(node);
}

enum status node_ledger_keys(struct node *node, struct hosted *hosted, const struct keys_moved *moved)
{
	struct node_ledger *ledger = node->ledger;
	struct keys_told *told = &hosted->keys;
	const struct policy *rules = map_policy_find(node_map_in_force(node), moved->policy);
	const struct map_node *there = map_node_find(node_map_in_force(node), moved->peer);
	const struct recorded_policy *known;
	struct ledger_record record = { .kind = moved->sent ? LEDGER_KEYS_SENT : LEDGER_KEYS_TAKEN };
	enum status status;

	if (ledger == NULL)
		return STATUS_OK;
	for (unsigned i = 0; i < KEYS_TOLD_MAX; i++) {
		const struct keys_moved *at = &told->at[i].moved;

		if (told->at[i].sequence != 0 && at->operation == moved->operation && at->shard == moved->shard &&
			at->peer == moved->peer && at->sent == moved->sent)
			return told->at[i].sequence <= ledger_durable(ledger->ledger).sequence ? STATUS_OK
											       : STATUS_BUSY;
	}
	if (node_map_in_force(node)->epoch != ledger->map_epoch)
		node_ledger_map(node);
	known = policy_find(ledger, moved->policy, 0);
	if (rules == NULL || there == NULL || known == NULL || known->epoch != rules->epoch)
		return STATUS_BUSY; /* their rules stand in the ledger before them */
	record.shard = hosted->group;
	record.replica = driver_replica_id(hosted->driver);
	record.policy = rules->id;
	record.policy_epoch = rules->epoch;
	record.node = moved->peer;
	record.place = there->place;
	record.first = moved->shard;
	record.last = moved->operation;
	status = append(node, &record);
	if (status != STATUS_OK)
		return status;
	told->at[told->next % KEYS_TOLD_MAX].moved = *moved;
	told->at[told->next++ % KEYS_TOLD_MAX].sequence = record.sequence;
	write_begin(node);
	return record.sequence <= ledger_durable(ledger->ledger).sequence ? STATUS_OK : STATUS_BUSY;
}

/* --- rules ------------------------------------------------------------------------------------------- */

static bool record_region(struct node *node, const struct map_region *region)
{
	struct ledger_record record = { .kind = LEDGER_REGION, .place = region->site.place };
	const struct recorded_region *known = region_find(node->ledger, &region->site.place);
	uint8_t digest[SHA256_SIZE];
	struct packer packer;

	pack_init(&packer, node->ledger->body, sizeof(node->ledger->body));
	ledger_tags_encode(&region->site, &packer);
	assert(!packer.overflow);
	memcpy(record.digest, region->spki_sha256, sizeof(record.digest));
	record.body = pack_result(&packer);
	region_digest(&record, digest);
	if (known != NULL && memcmp(known->digest, digest, sizeof(digest)) == 0)
		return true;
	return append(node, &record) == STATUS_OK;
}

static bool record_policy(struct node *node, const struct policy *policy, uint32_t hint)
{
	struct ledger_record record = { .kind = LEDGER_POLICY, .policy = policy->id, .policy_epoch = policy->epoch };
	const struct recorded_policy *known = policy_find(node->ledger, policy->id, hint);
	struct packer packer;

	/* After a start the map comes back step by step: rules older than those acted on before are no news. */
	if (known != NULL && known->epoch >= policy->epoch)
		return true;
	pack_init(&packer, node->ledger->body, sizeof(node->ledger->body));
	policy_encode(policy, &packer);
	assert(!packer.overflow);
	record.body = pack_result(&packer);
	sha256_of(record.body, record.digest);
	return append(node, &record) == STATUS_OK;
}

/* The head that meta keeps is of this ledger's past, or this is not the directory that it was told from. */
static void kept_head_look(struct node *node)
{
	const struct map_node *own = map_node_find(node_map_in_force(node), node->identity.node);

	if (own == NULL || node->failed || own->ledger.at.sequence <= ledger_durable(node->ledger->ledger).sequence)
		return;
	node->failed = true;
	node->io.fatal(node->io.arg, STATUS_CORRUPT,
		"the ledger is shorter than the head of it that meta keeps: this data directory is an older one");
}

/* Of regions that went: when one comes back, it is recorded as if it were new, for an audit may have dropped it. */
static void regions_forget(struct node_ledger *ledger, const struct cluster_map *map)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < ledger->region_count; i++) {
		bool there = false;

		for (uint32_t j = 0; j < map->region_count && !there; j++)
			there = ledger->regions[i].place == hash64(bytes_text(map->regions[j].site.place.text));
		if (there)
			ledger->regions[kept++] = ledger->regions[i];
	}
	ledger->region_count = kept;
}

void node_ledger_map(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	bool whole = true;

	if (node->ledger == NULL || node->failed)
		return;
	for (uint32_t i = 0; i < map->region_count && whole; i++)
		whole = record_region(node, &map->regions[i]);
	for (uint32_t i = 0; i < map->policy_count && whole; i++)
		whole = record_policy(node, &map->policies[i], i);
	if (whole && map->epoch > 0)
		regions_forget(node->ledger, map);
	node->ledger->map_due = !whole;
	node->ledger->map_epoch = map->epoch;
	kept_head_look(node);
	write_begin(node);
}

/* --- heads ------------------------------------------------------------------------------------------- */

static void head_tell(struct node *node)
{
	static const uint64_t period_ns = (uint64_t)HEAD_PERIOD_MS * 1000000;
	const struct map_node *own = map_node_find(node_map_in_force(node), node->identity.node);
	uint8_t bytes[LEDGER_HEAD_TEXT_MAX];
	struct ledger_head *head;
	struct change change;
	size_t size = 0;

	if (node->io.sign == NULL || own == NULL || node->meta == NULL || node->failed ||
		driver_leader_node(node->meta->driver) == 0)
		return;
	if (own->ledger.at.sequence == ledger_durable(node->ledger->ledger).sequence ||
		(node->ledger->head_ns != 0 && node->time.now_ns - node->ledger->head_ns < period_ns))
		return;
	node->ledger->head_ns = node->time.now_ns;
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_LEDGER_HEAD;
	change.node.id = node->identity.node;
	head = &change.node.ledger;
	head->at = ledger_durable(node->ledger->ledger);
	head->time_us = node->time.wall_us;
	if (!node->io.sign(node->io.arg,
		    ledger_head_text(
			    node->identity.cluster, node->identity.node, node->identity.incarnation, head, bytes),
		    head->signature, sizeof(head->signature), &size)) {
		log_error("the head of the ledger cannot be signed");
		return;
	}
	assert(size <= sizeof(head->signature));
	head->signature_size = (uint8_t)size;
	mover_send_change(node, &change);
}

void node_ledger_tick(struct node *node)
{
	if (node->ledger == NULL || node->failed)
		return;
	if (node->ledger->map_due)
		node_ledger_map(node);
	write_begin(node);
	head_tell(node);
}

/* --- administrators ---------------------------------------------------------------------------------- */

static enum status read_part(struct node *node, struct bytes body, struct packer *packer)
{
	struct unpacker unpacker;
	struct ledger_part part;
	uint64_t sequence, offset;
	uint8_t *bytes;
	enum status status;

	unpack_init(&unpacker, body);
	sequence = unpack_u64(&unpacker);
	offset = unpack_u64(&unpacker);
	if (!unpack_end(&unpacker))
		return STATUS_INVALID;
	bytes = malloc(PART_SIZE);
	if (bytes == NULL)
		return STATUS_NO_MEMORY;
	status = ledger_read(node->ledger->ledger, sequence, offset, bytes, PART_SIZE, &part);
	pack_u64(packer, part.first);
	pack_u64(packer, part.next);
	pack_u64(packer, part.size);
	pack_bytes(packer, bytes_of(bytes, part.got));
	free(bytes);
	return status;
}

/* gone_us 0: of a node that is in the cluster. */
static void pack_head(struct packer *packer, uint64_t node, uint64_t incarnation, const struct place *place,
	uint64_t gone_us, const struct ledger_head *head)
{
	pack_u64(packer, node);
	pack_u64(packer, incarnation);
	pack_text(packer, place->text);
	pack_u64(packer, gone_us);
	ledger_head_encode(head, packer);
}

static void pack_heads(const struct node *node, struct packer *packer)
{
	const struct cluster_map *map = node->map;

	pack_u32(packer, map->node_count + map->former_count);
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *one = &map->nodes[i];

		pack_head(packer, one->id, one->incarnation, &one->place, 0, &one->ledger);
	}
	for (uint32_t i = 0; i < map->former_count; i++) {
		const struct map_former *one = &map->formers[i];

		pack_head(packer, one->id, one->incarnation, &one->place, one->gone_us, &one->ledger);
	}
}

void node_ledger_requested(struct node *node, uint64_t connection, const struct message *message)
{
	size_t capacity = PART_SIZE + 64 > HEADS_SIZE ? PART_SIZE + 64 : HEADS_SIZE;
	struct buffer *buffer = buffer_new(capacity);
	enum status status = STATUS_OK;
	struct message reply;
	struct packer packer;

	if (buffer == NULL || node->ledger == NULL) {
		gateway_reply(node, connection, message->request, STATUS_BUSY,
			buffer == NULL ? "this node is out of memory" : "this node belongs to no cluster yet");
		buffer_unref(buffer);
		return;
	}
	pack_init(&packer, buffer->data, buffer->size);
	if (bytes_equal(message->admin.verb, bytes_text("ledger.heads")))
		pack_heads(node, &packer);
	else
		status = read_part(node, message->admin.body, &packer);
	assert(!packer.overflow);
	if (status == STATUS_OK) {
		gateway_reply_begin(node, &reply, message->request, STATUS_OK);
		reply.reply.detail = pack_result(&packer);
		node->io.reply(node->io.arg, connection, &reply);
	} else {
		gateway_reply(node, connection, message->request, status,
			status == STATUS_NOT_FOUND ? "the ledger has no such record" : "the ledger could not be read");
	}
	buffer_unref(buffer);
}
