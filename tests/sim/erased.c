/* tests/sim/erased.c: see tests/sim/erased.h. An entry of the journal is known by its header alone, at any multiple of
 * eight: sizes at byte 16 and 20, type at 24, group at 32, index at 40 (docs/storage.md). Checksums are not looked at:
 * a file's former life counts. Without a body it has no byte of a key. */
#include "tests/sim/erased.h"

#include <string.h>

#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/disk_model.h"
#include "tests/sim/engine_model.h"

enum { GROUPS = 64, TYPE_ENTRY = 4, HEADER = 80, BODY_MAX = 1 << 20 };

struct watched {
	uint64_t hosted_ns; /* when it was last seen to be hosted; 0: never */
	uint64_t marked;    /* applied then; 0: not marked */
	bool looked;	    /* since it left, when its time was over */
};
static struct {
	uint64_t within_ns, groups[GROUPS];
	uint64_t applied[GROUPS]; /* by any replica, at the mark */
	unsigned group_count, judged, purged;
	struct watched at[WORLD_NODES_MAX][GROUPS];
} erased;

void erased_begin(uint64_t within_ns)
{
	memset(&erased, 0, sizeof(erased));
	erased.within_ns = within_ns;
}

unsigned erased_judged(void)
{
	return erased.judged;
}

unsigned erased_purges(void)
{
	return erased.purged;
}

static int group_at(uint64_t group)
{
	unsigned at = 0;

	while (at < erased.group_count && erased.groups[at] != group)
		at++;
	if (at == GROUPS)
		return -1;
	if (at == erased.group_count)
		erased.groups[erased.group_count++] = group;
	return (int)at;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

struct look {
	struct world *world;
	const struct world_node *node;
	uint64_t group, upto; /* entries up to that index; UINT64_MAX: all. Of a row: its engine */
	const char *what;
};

static void look_at_file(void *arg, const char *path, struct bytes content)
{
	const struct look *look = arg;
	const uint8_t *data = content.data;

	if (strstr(path, ".seg") == NULL)
		return;
	for (size_t at = 0; at + HEADER <= content.size; at += 8) {
		uint64_t group, index;
		uint32_t stored_size, body_size;

		memcpy(&group, data + at + 32, 8);
		if (group != look->group || data[at + 24] != TYPE_ENTRY)
			continue;
		memcpy(&index, data + at + 40, 8);
		memcpy(&stored_size, data + at + 16, 4);
		memcpy(&body_size, data + at + 20, 4);
		if (index > look->upto || stored_size == 0 || stored_size > body_size || body_size > BODY_MAX)
			continue;
		world_fail(look->world, "%s of group %llx: entry %llu lies at %zu of %s", look->what,
			(unsigned long long)look->group, (unsigned long long)index, at, path);
		return;
	}
}

static void look_at_row(void *arg, uint64_t id, struct bytes key, struct bytes value)
{
	const struct look *look = arg;
	const struct node *node = look->node->node;

	(void)key;
	(void)value;
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL && driver_replica_id(node->table[i]->driver) == id)
			return;
	}
	world_fail(look->world, "a row of replica %llu, which left, lies in an engine of node %u",
		(unsigned long long)id, look->node->slot);
}

/* --- replicas that left ------------------------------------------------------------------------------------------- */

static void look_for_left(struct world *world, const struct world_node *node, unsigned at)
{
	struct watched *watched = &erased.at[node->slot][at];
	struct look look = { world, node, erased.groups[at], UINT64_MAX, "a replica that left" };

	if (watched->hosted_ns == 0 || watched->looked || world->now_ns < watched->hosted_ns + erased.within_ns)
		return;
	watched->looked = true;
	erased.judged++;
	disk_model_files(node->dir, look_at_file, &look);
	engine_model_rows(node->dir, look_at_row, &look);
}

static void look_at_purged_row(void *arg, uint64_t id, struct bytes key, struct bytes value)
{
	const struct look *look = arg;

	(void)key;
	(void)value;
	if (id == look->upto)
		world_fail(look->world, "a row of replica %llu lies in an engine of node %u: its ledger says purged",
			(unsigned long long)id, look->node->slot);
}

void erased_purged(struct world *world, const struct world_node *node, uint64_t group, uint64_t replica)
{
	struct look bytes = { world, node, group, UINT64_MAX, "what the ledger says is purged" };
	struct look rows = { world, node, group, replica, NULL };

	erased.purged++;
	engine_model_rows(node->dir, look_at_purged_row, &rows);
	if (node_hosted(node->node, group) == NULL) /* else there is another's */
		disk_model_files(node->dir, look_at_file, &bytes);
}

void erased_look(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		const struct world_node *node = &world->nodes[i];

		if (node->node == NULL || !node->node->running)
			continue;
		for (size_t t = 0; t < node->node->table_size; t++) {
			const struct hosted *hosted = node->node->table[t];
			int at = hosted == NULL || hosted->group == META_GROUP ? -1 : group_at(hosted->group);

			if (at < 0)
				continue;
			erased.at[i][at].hosted_ns = world->now_ns;
			erased.at[i][at].looked = false;
		}
		for (unsigned at = 0; at < erased.group_count && world->failure[0] == '\0'; at++) {
			if (erased.at[i][at].hosted_ns != world->now_ns) {
				erased.at[i][at].marked = 0;
				look_for_left(world, node, at);
			}
		}
	}
}

/* --- what was deleted in those that stay ----------------------------------------------------------------------------
 */

static void each_hosted(struct world *world, void (*fn)(struct world *, struct world_node *, struct hosted *, unsigned))
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *node = &world->nodes[i];

		for (size_t t = 0; node->node != NULL && node->node->running && t < node->node->table_size; t++) {
			struct hosted *hosted = node->node->table[t];
			int at = hosted == NULL || hosted->group == META_GROUP ? -1 : group_at(hosted->group);

			if (at >= 0 && world->failure[0] == '\0')
				fn(world, node, hosted, (unsigned)at);
		}
	}
}

static void mark_one(struct world *world, struct world_node *node, struct hosted *hosted, unsigned at)
{
	uint64_t applied = driver_applied(hosted->driver);

	(void)world;
	erased.at[node->slot][at].marked = applied;
	if (applied > erased.applied[at])
		erased.applied[at] = applied;
	engine_model_stale(node->dir, driver_replica_id(hosted->driver), true);
}

void erased_mark(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		for (unsigned at = 0; at < GROUPS; at++)
			erased.at[i][at].marked = 0;
	}
	memset(erased.applied, 0, sizeof(erased.applied));
	each_hosted(world, mark_one);
}

static void judge_one(struct world *world, struct world_node *node, struct hosted *hosted, unsigned at)
{
	struct look look = { world, node, erased.groups[at], erased.at[node->slot][at].marked, "what was cut" };
	size_t stale;

	bool newcomer = look.upto == 0;

	if (newcomer)
		look.upto = erased.applied[at]; /* what it was given was deleted before it came */
	if (look.upto == 0 || driver_is_witness(hosted->driver))
		return; /* of a witness's entries only memberships have a body, and no byte of a user's */
	erased.judged++;
	disk_model_files(node->dir, look_at_file, &look);
	if (newcomer)
		return;
	stale = engine_model_stale(node->dir, driver_replica_id(hosted->driver), false);
	if (stale > 0)
		world_fail(world, "%zu rows of group %llx that were deleted or overwritten lie in an engine of node %u",
			stale, (unsigned long long)hosted->group, node->slot);
}

void erased_judge(struct world *world)
{
	each_hosted(world, judge_one);
}
