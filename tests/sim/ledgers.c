/* tests/sim/ledgers.c: see tests/sim/ledgers.h. Reads the files that lie on the modelled disks, with the code that an
 * auditor uses. */
#include "tests/sim/ledgers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit.h"
#include "policy/ledger_segment.h"
#include "server/node_internal.h"
#include "tests/sim/disk_model.h"
#include "tests/sim/erased.h"

enum { FILES_MAX = 64, SEEN_MAX = 8192, SEEN_SLOTS = 2 * SEEN_MAX };

struct seen { /* a replica that was on a node */
	uint64_t group, replica;
	unsigned slot, life; /* lives before it on that machine: each began with an empty disk */
};
struct ledgers {
	struct seen seen[SEEN_SLOTS]; /* by replica, linear probing; replica 0: free */
	uint32_t seen_count;
	uint64_t looked[WORLD_NODES_MAX]; /* up to this record: whether what is said to be purged is */
	void *audit_memory;
};

struct ledgers *ledgers_new(void)
{
	struct ledgers *ledgers = calloc(1, sizeof(*ledgers));

	if (ledgers == NULL || (ledgers->audit_memory = malloc(audit_size())) == NULL)
		abort();
	return ledgers;
}

void ledgers_free(struct ledgers *ledgers)
{
	free(ledgers->audit_memory);
	free(ledgers);
}

/* --- a node's files ---------------------------------------------------------------------------------- */

struct files {
	uint32_t count;
	struct bytes at[FILES_MAX]; /* by first sequence; borrowed from the disk */
};

static uint64_t first_of(struct bytes file)
{
	struct ledger_segment segment;

	return ledger_segment_decode(file, &segment) == STATUS_OK ? segment.before.sequence + 1 : 0;
}

static void take_file(void *arg, const char *path, struct bytes content)
{
	struct files *files = arg;
	size_t size = strlen(path);
	uint32_t at = files->count;

	if (size < 4 || strcmp(path + size - 4, ".led") != 0 || files->count == FILES_MAX)
		return;
	for (; at > 0 && first_of(files->at[at - 1]) > first_of(content); at--)
		files->at[at] = files->at[at - 1];
	files->at[at] = content;
	files->count++;
}

struct look {
	uint64_t group, replica;
	bool created, removed;
	struct audit *audit;
	struct ledger_position wanted; /* a head: the chain must pass through it */
	bool passed;
	const struct world_node *purged_of; /* records behind `purged_behind`: purges are looked at */
	uint64_t purged_behind;
	struct world *world;
	uint64_t other, operation; /* keys went from `group` there (`sent`), or came from there (`taken`) */
	bool sent, taken;
};

static bool look_at(
	void *arg, const struct ledger_record *record, struct bytes encoded, const struct ledger_position *behind)
{
	struct look *look = arg;

	(void)encoded;
	if (record->shard == look->group && record->replica == look->replica) {
		look->created = look->created || record->kind == LEDGER_CREATED;
		/* One that a start did not find, since the power had gone before it was made, is made after all. */
		look->removed = (look->removed && record->kind != LEDGER_CREATED) || record->kind == LEDGER_REMOVED;
	}
	if (record->kind == LEDGER_KEYS_SENT && record->shard == look->group && record->first == look->other)
		look->sent = look->sent || record->last == look->operation;
	if (record->kind == LEDGER_KEYS_TAKEN)
		look->taken = look->taken || record->first == look->other;
	if (look->audit != NULL)
		audit_record(look->audit, record);
	if (look->purged_of != NULL && record->kind == LEDGER_PURGED && record->sequence > look->purged_behind)
		erased_purged(look->world, look->purged_of, record->shard, record->replica);
	if (behind->sequence == look->wanted.sequence)
		look->passed = memcmp(behind->hash, look->wanted.hash, SHA256_SIZE) == 0;
	return true;
}

static void read_all(struct world *world, const struct world_node *node, const struct files *files, struct look *look)
{
	for (uint32_t i = 0; i < files->count && world->failure[0] == '\0'; i++) {
		struct ledger_scan scan;

		if (ledger_segment_scan(files->at[i], i + 1 == files->count, look_at, look, &scan) != STATUS_OK)
			world_fail(world, "the ledger of node %u: %s", node->slot, scan.damage);
	}
}

/* --- what must hold ---------------------------------------------------------------------------------- */

/* Its place in the table, or the free one where it belongs. */
static struct seen *seen_find(struct ledgers *ledgers, uint64_t replica, unsigned slot)
{
	size_t at = (size_t)(replica * UINT64_C(0x9e3779b97f4a7c15) >> 40) % SEEN_SLOTS;

	while (ledgers->seen[at].replica != 0 &&
		(ledgers->seen[at].replica != replica || ledgers->seen[at].slot != slot))
		at = (at + 1) % SEEN_SLOTS;
	return &ledgers->seen[at];
}

static void seen_first(struct world *world, struct ledgers *ledgers, const struct world_node *node, struct seen *seen)
{
	struct look look = { .group = seen->group, .replica = seen->replica };
	struct files files = { 0 };

	if (++ledgers->seen_count > SEEN_MAX) {
		world_fail(world, "more replicas than the simulator keeps account of");
		return;
	}
	disk_model_files(node->dir, take_file, &files);
	read_all(world, node, &files, &look);
	if (!look.created)
		world_fail(world, "replica %llu of group %llx is on node %u, and its ledger does not say so",
			(unsigned long long)look.replica, (unsigned long long)look.group, node->slot);
}

/* As soon as it is durable that a replica is purged. */
static void look_at_purges(struct world *world, struct ledgers *ledgers, const struct world_node *node)
{
	uint64_t durable = node_ledger_durable(node->node);
	struct look look = { .world = world, .purged_of = node, .purged_behind = ledgers->looked[node->slot] };
	struct files files = { 0 };

	if (world->knobs.erase_within_s == 0 || durable == look.purged_behind)
		return;
	ledgers->looked[node->slot] = durable;
	if (durable < look.purged_behind)
		return; /* another life of the machine */
	disk_model_files(node->dir, take_file, &files);
	read_all(world, node, &files, &look);
}

void ledgers_observe(struct world *world, struct ledgers *ledgers, struct world_node *node)
{
	look_at_purges(world, ledgers, node);
}

void ledgers_came(
	struct world *world, struct ledgers *ledgers, const struct world_node *node, uint64_t group, uint64_t replica)
{
	struct seen *seen = seen_find(ledgers, replica, node->slot);

	if (seen->replica != 0)
		return;
	*seen = (struct seen){ group, replica, node->slot, node->former_count };
	seen_first(world, ledgers, node, seen);
}

void ledgers_sent(struct world *world, const struct world_node *from, const struct message *message)
{
	bool leave = message->kind == MESSAGE_ADOPT;
	struct look look = { .group = 0 };
	struct files files = { 0 };

	if (!leave && (message->kind != MESSAGE_ADOPT_REPLY || message->adopt_reply.status != STATUS_OK))
		return;
	if (leave) {
		look.group = message->adopt.source;
		look.other = message->adopt.shard;
		look.operation = message->adopt.operation;
	} else {
		look.other = message->adopt_reply.source;
	}
	disk_model_files(from->dir, take_file, &files);
	read_all(world, from, &files, &look);
	if (leave ? !look.sent : !look.taken)
		world_fail(world, "keys %s node %u, and its ledger does not say so (shard %llx)",
			leave ? "leave" : "were taken at", from->slot, (unsigned long long)look.other);
}

struct judged {
	struct world *world;
	const struct world_node *node;
};

static void on_finding(void *arg, const struct audit_finding *finding)
{
	const struct judged *judged = arg;

	if (finding->kind == AUDIT_LATE && !judged->world->knobs.erased_in_time)
		return; /* whose disk is full, who is paused or away is late, and says so */
	world_fail(judged->world, "audit of node %u, record %llu (%s): %s: %s", judged->node->slot,
		(unsigned long long)finding->record->sequence, ledger_kind_name(finding->record->kind),
		audit_kind_name(finding->kind), finding->what);
}

/* What the ledger adds up to is what is there. */
static void compare_held(struct world *world, const struct world_node *node, const struct audit *audit)
{
	uint32_t count, held = 0;
	const struct audit_replica *replicas = audit_replicas(audit, &count);

	for (uint32_t i = 0; i < count; i++) {
		const struct hosted *hosted = node_hosted(node->node, replicas[i].shard);

		if (replicas[i].removed_us != 0)
			continue;
		held++;
		if (hosted == NULL || driver_replica_id(hosted->driver) != replicas[i].replica)
			world_fail(world, "node %u has no replica %llu, its ledger says it has", node->slot,
				(unsigned long long)replicas[i].replica);
		else if (replicas[i].policy != hosted->policy)
			world_fail(world, "the ledger of node %u has replica %llu under another policy", node->slot,
				(unsigned long long)replicas[i].replica);
	}
	if (held != node->node->hosted_count && world->failure[0] == '\0')
		world_fail(
			world, "node %u has %zu replicas, its ledger %u", node->slot, node->node->hosted_count, held);
}

/* What meta's leader has; NULL: nobody leads. */
static const struct cluster_map *map_that_counts(const struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		const struct node *node = world->nodes[i].node;

		if (node != NULL && node->meta != NULL && driver_leads(node->meta->driver))
			return node->map;
	}
	return NULL;
}

/* Meta's word of a node's ledger is of this ledger. */
static struct ledger_position kept_head(const struct world *world, const struct world_node *node)
{
	const struct cluster_map *map = map_that_counts(world);
	const struct map_node *kept = map == NULL ? NULL : map_node_find(map, node->id);

	return kept == NULL ? (struct ledger_position){ .sequence = 0 } : kept->ledger.at;
}

/* The ledgers of nodes that were decommissioned lie where they were, and are in order up to the heads that are kept. */
static void check_former(struct world *world, struct ledgers *ledgers, const struct map_former *former)
{
	const struct world_node *node = world_node_of(world, former->id);
	struct judged judged = { world, node };
	struct files files = { 0 };
	struct look look = { .wanted = former->ledger.at };
	unsigned life = 0;
	char dir[WORLD_DIR_MAX];

	while (node != NULL && life < node->former_count && node->former[life] != former->id)
		life++;
	if (node == NULL || node->ruined)
		return;
	world_node_dir(node->slot, life, dir);
	disk_model_files(dir, take_file, &files);
	look.audit = audit_init(ledgers->audit_memory, &node->who.place, on_finding, &judged);
	read_all(world, node, &files, &look);
	/* 0: gone before it told of any. */
	if (look.wanted.sequence != 0 && !look.passed)
		world_fail(world, "what meta keeps of node %u's life %u is not of its ledger", node->slot, life);
}

void ledgers_check(struct world *world, struct ledgers *ledgers)
{
	const struct cluster_map *map = map_that_counts(world);

	for (uint32_t i = 0; map != NULL && i < map->former_count && world->failure[0] == '\0'; i++)
		check_former(world, ledgers, &map->formers[i]);
	for (unsigned i = 0; i < world->node_count && world->failure[0] == '\0'; i++) {
		struct world_node *node = &world->nodes[i];
		struct judged judged = { world, node };
		struct files files = { 0 };
		struct look look = { .group = 0 };

		if (node->node == NULL || node->id == 0)
			continue;
		disk_model_files(node->dir, take_file, &files);
		look.audit = audit_init(ledgers->audit_memory, &node->who.place, on_finding, &judged);
		look.wanted = kept_head(world, node);
		read_all(world, node, &files, &look);
		audit_end(look.audit, node->node->time.wall_us);
		if (look.wanted.sequence == 0)
			world_fail(world, "meta keeps no head of node %u's ledger", i);
		else if (!look.passed)
			world_fail(world, "the head that meta keeps of node %u is not of its ledger", i);
		compare_held(world, node, look.audit);
		for (uint32_t at = 0; at < SEEN_SLOTS && world->failure[0] == '\0'; at++) {
			const struct seen *seen = &ledgers->seen[at];
			const struct hosted *hosted = node_hosted(node->node, seen->group);
			struct look of = { .group = seen->group, .replica = seen->replica };
			bool there = hosted != NULL && driver_replica_id(hosted->driver) == seen->replica;

			if (seen->replica == 0 || seen->slot != i || seen->life != node->former_count)
				continue;
			read_all(world, node, &files, &of);
			if (!of.created || of.removed == there)
				world_fail(world, "replica %llu of group %llx %s on node %u: the ledger says otherwise",
					(unsigned long long)seen->replica, (unsigned long long)seen->group,
					there ? "is" : "was", i);
		}
	}
}
