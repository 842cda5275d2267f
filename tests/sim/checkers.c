#define _GNU_SOURCE
#include "tests/sim/checkers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "replication/group_internal.h" /* read on every event: group_status would cost more than the run */
#include "server/group_driver.h"
#include "server/node_internal.h"
#include "tests/sim/disk_model.h"
#include "tests/sim/engine_model.h"
#include "tests/sim/ledgers.h"

enum { GROUPS_MAX = 256, BUCKETS = 1024, CHECK_EVERY = 64 };

/* A table of facts: (group, number) -> value; a second, different value for the same is a broken invariant. */
struct fact {
	uint64_t group, number, value; /* group 0: free */
};
struct facts {
	struct fact *at;
	size_t count, capacity;
};

struct group_watch {
	uint64_t group;
	uint64_t commit_max;		    /* highest index seen committed by anybody */
	uint64_t commit_term;		    /* the highest term of who was first to see one committed */
	uint64_t seen[WORLD_NODES_MAX];	    /* commit as last looked at, this incarnation */
	uint64_t led_term[WORLD_NODES_MAX]; /* last term in which we saw it lead */
	uint64_t replica[WORLD_NODES_MAX];  /* the last that we saw there */
	bool degraded;			    /* as its leader was last seen */
};

struct checkers {
	struct facts leaders, commits;
	struct group_watch groups[GROUPS_MAX];
	unsigned group_count;
	uint16_t buckets[BUCKETS]; /* position in groups + 1, by group; linear probing */
	uint64_t observed;
	struct ledgers *ledgers;
};

static struct fact *facts_find(struct facts *facts, uint64_t group, uint64_t number)
{
	uint64_t key[2] = { group, number };
	size_t at = (size_t)hash64(bytes_of(key, sizeof(key))) & (facts->capacity - 1);

	while (facts->at[at].group != 0 && (facts->at[at].group != group || facts->at[at].number != number))
		at = (at + 1) & (facts->capacity - 1);
	return &facts->at[at];
}

static void facts_grow(struct facts *facts)
{
	struct facts old = *facts;

	facts->capacity = old.capacity == 0 ? 4096 : old.capacity * 2;
	facts->at = calloc(facts->capacity, sizeof(struct fact));
	if (facts->at == NULL)
		abort();
	for (size_t i = 0; i < old.capacity; i++) {
		if (old.at[i].group != 0)
			*facts_find(facts, old.at[i].group, old.at[i].number) = old.at[i];
	}
	free(old.at);
}

/* False: another value stands there; *was is it. */
static bool facts_state(struct facts *facts, uint64_t group, uint64_t number, uint64_t value, uint64_t *was)
{
	struct fact *fact;

	if ((facts->count + 1) * 2 > facts->capacity)
		facts_grow(facts);
	fact = facts_find(facts, group, number);
	if (fact->group == 0) {
		*fact = (struct fact){ group, number, value };
		facts->count++;
		return true;
	}
	*was = fact->value;
	return fact->value == value;
}

struct checkers *checkers_new(struct world *world)
{
	struct checkers *checkers = calloc(1, sizeof(*checkers));

	(void)world;
	if (checkers == NULL)
		abort();
	checkers->ledgers = ledgers_new();
	return checkers;
}

void checkers_free(struct checkers *checkers)
{
	free(checkers->leaders.at);
	free(checkers->commits.at);
	ledgers_free(checkers->ledgers);
	free(checkers);
}

void checkers_started(struct world *world, struct world_node *node)
{
	(void)world;
	(void)node;
}

void checkers_crashed(struct world *world, struct world_node *node)
{
	for (unsigned i = 0; i < world->checkers->group_count; i++)
		world->checkers->groups[i].seen[node->slot] = 0;
}

static struct group_watch *watch_of(struct checkers *checkers, uint64_t group)
{
	unsigned at = (unsigned)(group * UINT64_C(0x9e3779b97f4a7c15) >> 54) % BUCKETS;

	for (; checkers->buckets[at] != 0; at = (at + 1) % BUCKETS) {
		if (checkers->groups[checkers->buckets[at] - 1].group == group)
			return &checkers->groups[checkers->buckets[at] - 1];
	}
	if (checkers->group_count == GROUPS_MAX)
		return NULL;
	checkers->groups[checkers->group_count].group = group;
	checkers->buckets[at] = (uint16_t)(checkers->group_count + 1);
	return &checkers->groups[checkers->group_count++];
}

static void look_at_leader(
	struct world *world, struct world_node *node, const struct group *group, struct group_watch *watch)
{
	struct checkers *checkers = world->checkers;
	uint64_t was = 0;

	if (watch->led_term[node->slot] == group->term)
		return;
	watch->led_term[node->slot] = group->term;
	if (!facts_state(&checkers->leaders, watch->group, group->term, node->slot + 1, &was))
		world_fail(world, "two leaders in term %llu of group %llx: nodes %llu and %u",
			(unsigned long long)group->term, (unsigned long long)watch->group, (unsigned long long)was - 1,
			node->slot);
	/* A vote that comes late may still elect somebody in a term that others have left, and in which nobody will
	 * follow: what was committed in a later term it need not have. */
	if (group->term < watch->commit_term)
		return;
	if (group->last < watch->commit_max)
		world_fail(world, "leader %u of group %llx in term %llu ends at %llu, but %llu was committed",
			node->slot, (unsigned long long)watch->group, (unsigned long long)group->term,
			(unsigned long long)group->last, (unsigned long long)watch->commit_max);
	for (uint64_t index = watch->commit_max > 64 ? watch->commit_max - 64 : 1; index <= watch->commit_max;
		index++) {
		uint64_t term = group_term_of(group, index);

		if (term != 0 && !facts_state(&checkers->commits, watch->group, index, term, &was))
			world_fail(world,
				"leader %u of group %llx lacks committed entry %llu (term %llu, its own %llu)",
				node->slot, (unsigned long long)watch->group, (unsigned long long)index,
				(unsigned long long)was, (unsigned long long)term);
	}
}

static void look_at_group(struct world *world, struct world_node *node, const struct hosted *hosted)
{
	struct checkers *checkers = world->checkers;
	const struct group *group = driver_group(hosted->driver);
	struct group_watch *watch = watch_of(checkers, hosted->group);
	uint64_t was = 0;

	if (watch == NULL)
		return;
	if (watch->replica[node->slot] != driver_replica_id(hosted->driver)) {
		watch->replica[node->slot] = driver_replica_id(hosted->driver);
		ledgers_came(world, checkers->ledgers, node, hosted->group, watch->replica[node->slot]);
	}
	for (uint64_t index = watch->seen[node->slot] + 1; index <= group->commit; index++) {
		uint64_t term = group_term_of(group, index);

		if (term != 0 && !facts_state(&checkers->commits, hosted->group, index, term, &was))
			world_fail(world,
				"entry %llu of group %llx committed with term %llu by node %u and with %llu elsewhere",
				(unsigned long long)index, (unsigned long long)hosted->group, (unsigned long long)term,
				node->slot, (unsigned long long)was);
	}
	if (group->commit > watch->seen[node->slot])
		watch->seen[node->slot] = group->commit;
	if (group->commit > watch->commit_max) {
		watch->commit_max = group->commit;
		if (group->term > watch->commit_term)
			watch->commit_term = group->term;
	}
	if (group->role != GROUP_LEADER)
		return;
	look_at_leader(world, node, group, watch);
	if (driver_is_witness(hosted->driver))
		world_fail(world, "node %u, a witness of group %llx, leads it", node->slot,
			(unsigned long long)hosted->group);
	world->stats.degraded += !watch->degraded && rule_degraded(membership_in_force(group));
	watch->degraded = rule_degraded(membership_in_force(group));
}

void checkers_observe(struct world *world, struct world_node *node)
{
	for (size_t i = 0; i < node->node->table_size; i++) {
		if (node->node->table[i] != NULL)
			look_at_group(world, node, node->node->table[i]);
	}
	ledgers_observe(world, world->checkers->ledgers, node);
	if (world->checkers->observed++ % CHECK_EVERY == 0)
		node_check(node->node);
	for (unsigned i = 0; i < RESIDENCY_LAYERS; i++) {
		if (node_residency(node->node)->violation[i] != 0)
			world_fail(world, "node %u counted a residency violation (%s)", node->slot,
				residency_layer_name(i));
	}
}

static bool has_canary(struct bytes bytes)
{
	return bytes.size >= strlen(CANARY_EU) && memmem(bytes.data, bytes.size, CANARY_EU, strlen(CANARY_EU)) != NULL;
}

static bool outside_eu(const struct world_node *node)
{
	return !place_within(&node->who.place, "eu");
}

/* A witness gets positions, terms and memberships, from whoever it is. */
static void look_at_witness(struct world *world, const struct world_node *to, const struct message *message)
{
	const struct hosted *hosted = to->node == NULL ? NULL : node_hosted(to->node, message->group);
	const struct message_append *append = &message->append;
	bool bare = true;

	if (message->kind == MESSAGE_ADOPT) {
		const struct hosted *of = to->node == NULL ? NULL : node_hosted(to->node, message->adopt.shard);

		if (of != NULL && driver_is_witness(of->driver))
			world_fail(world, "node %u, a witness of shard %llx, was sent keys that it takes over",
				to->slot, (unsigned long long)message->adopt.shard);
	}
	if (hosted == NULL || !driver_is_witness(hosted->driver) || message->to != driver_replica_id(hosted->driver))
		return;
	if (message->kind == MESSAGE_SNAPSHOT_CHUNK)
		bare = message->chunk.data.size == 0;
	if (message->kind != MESSAGE_APPEND && message->kind != MESSAGE_REPAIR_REPLY)
		append = NULL;
	for (uint64_t i = append == NULL ? UINT64_MAX : append->first; append != NULL && i <= append->last; i++) {
		const struct entry *entry = &append->entries[i - append->first];

		bare = bare && entry->key_hash == 0 && entry->version == 0 &&
		       (entry->kind == ENTRY_MEMBERSHIP || append->bodies[i - append->first].size == 0);
	}
	if (!bare || message->kind == MESSAGE_FORWARD)
		world_fail(world, "node %u, a witness, was sent more than positions and terms (message kind %u)",
			to->slot, message->kind);
}

void checkers_sent(
	struct world *world, const struct world_node *from, const struct world_node *to, const struct message *message)
{
	bool found = false;

	look_at_witness(world, to, message);
	ledgers_sent(world, from, message);
	if (!outside_eu(to))
		return;
	if (message->kind == MESSAGE_APPEND || message->kind == MESSAGE_REPAIR_REPLY) {
		const struct message_append *append =
			message->kind == MESSAGE_APPEND ? &message->append : &message->repair_reply;

		for (uint64_t i = 0; append->last >= append->first && i <= append->last - append->first; i++)
			found = found || has_canary(append->bodies[i]);
	} else if (message->kind == MESSAGE_FORWARD) {
		for (uint32_t i = 0; i < message->forward.count; i++)
			found = found || has_canary(message->forward.bodies[i]);
	} else if (message->kind == MESSAGE_SNAPSHOT_CHUNK) {
		found = has_canary(message->chunk.data);
	} else if (message->kind == MESSAGE_ADOPT) {
		found = has_canary(message->adopt.rows);
	} else if (message->kind == MESSAGE_ADMIN) {
		found = has_canary(message->admin.body);
	}
	if (found)
		world_fail(world, "node %u sent bytes of an eu-only key to node %u (message kind %u)", from->slot,
			to->slot, message->kind);
}

struct search {
	struct world *world;
	unsigned slot, eu_rows;
	bool allowed;
};

static void search_file(void *arg, const char *path, struct bytes content)
{
	struct search *search = arg;

	if (!has_canary(content))
		return;
	search->eu_rows++;
	if (!search->allowed)
		world_fail(search->world, "bytes of an eu-only key lie in %s", path);
}

static void search_row(void *arg, uint64_t id, struct bytes key, struct bytes value)
{
	struct search *search = arg;

	if (!has_canary(key) && !has_canary(value))
		return;
	search->eu_rows++;
	if (!search->allowed)
		world_fail(search->world, "a row of an eu-only key lies in engine %llu of node %u",
			(unsigned long long)id, search->slot);
}

void checkers_search(struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		struct search search = { .world = world, .slot = i, .allowed = !outside_eu(&world->nodes[i]) };

		disk_model_files(world->nodes[i].dir, search_file, &search);
		engine_model_rows(world->nodes[i].dir, search_row, &search);
	}
}

void checkers_ledgers(struct world *world)
{
	ledgers_check(world, world->checkers->ledgers);
}

bool checkers_converged(struct world *world)
{
	for (unsigned g = 0; g < world->checkers->group_count; g++) {
		uint64_t group = world->checkers->groups[g].group, applied = 0, digest = 0;
		bool first = true;

		for (unsigned i = 0; i < world->node_count; i++) {
			const struct hosted *hosted =
				world->nodes[i].node == NULL ? NULL : node_hosted(world->nodes[i].node, group);

			if (hosted == NULL || driver_is_witness(hosted->driver)) /* it has no state to compare */
				continue;
			uint64_t own = driver_digest(hosted->driver);

			if (engine_damaged(driver_engine(hosted->driver)))
				return false; /* this read has met it: it is about to be mended */
			if (first) {
				applied = driver_applied(hosted->driver);
				digest = own;
				first = false;
				continue;
			}
			if (driver_applied(hosted->driver) != applied)
				return false;
			if (own != digest) {
				world_fail(world, "replicas of group %llx differ at index %llu",
					(unsigned long long)group, (unsigned long long)applied);
				return false;
			}
		}
	}
	return true;
}

bool checkers_settled(const struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		const struct cluster_map *map = world->nodes[i].node == NULL ? NULL : node_map(world->nodes[i].node);

		for (uint32_t j = 0; map != NULL && j < map->operation_count; j++) {
			if (operation_moves_keys(map->operations[j].kind) &&
				map->operations[j].state == OPERATION_RUNNING)
				return false;
		}
		for (size_t j = 0; map != NULL && j < world->nodes[i].node->table_size; j++) {
			const struct hosted *hosted = world->nodes[i].node->table[j];

			if (hosted != NULL && hosted->group != META_GROUP && map_shard_find(map, hosted->group) == NULL)
				return false; /* it was merged */
		}
	}
	return true;
}

static void look_at_rows(struct world *world, const struct world_node *node, const struct hosted *hosted)
{
	const struct cluster_map *map = node_map(node->node);
	struct engine_iter *iter = NULL;
	struct bytes key, value, none = bytes_of(NULL, 0);
	enum status status = engine_iter_open(driver_engine(hosted->driver), ENGINE_SPACE_KEYS, none, none, &iter);

	while (status == STATUS_OK) {
		status = engine_iter_next(iter, &key, &value);
		if (status == STATUS_OK && !map_lives_in(map, map_shard_find(map, hosted->group), key))
			world_fail(world, "a row of %.*s lies in shard %llx of node %u, and does not live there",
				(int)key.size, (const char *)key.data, (unsigned long long)hosted->group, node->slot);
	}
	if (iter != NULL)
		engine_iter_close(iter);
}

void checkers_homes(struct world *world)
{
	const struct cluster_map *map = world_newest_map(world);

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct world_node *node = &world->nodes[i];

		for (size_t j = 0; node->node != NULL && j < node->node->table_size; j++) {
			const struct hosted *hosted = node->node->table[j];

			if (hosted != NULL && hosted->policy != 0 && !hosted->doomed)
				look_at_rows(world, node, hosted);
		}
	}
	for (uint32_t j = 0; map != NULL && j < map->operation_count; j++) {
		world->stats.moved += map->operations[j].phase == PHASE_PURGE;
		world->stats.aborted += map->operations[j].phase == PHASE_ABORT;
	}
}

uint64_t checkers_committed(const struct world *world)
{
	return world->checkers->commits.count;
}

void checkers_describe(struct world *world)
{
	for (unsigned g = 0; world->verbose && g < world->checkers->group_count; g++) {
		for (unsigned i = 0; i < world->node_count; i++) {
			const struct hosted *hosted =
				world->nodes[i].node == NULL
					? NULL
					: node_hosted(world->nodes[i].node, world->checkers->groups[g].group);
			char text[512] = "";

			if (hosted == NULL)
				continue;
			group_describe(driver_group(hosted->driver), text, sizeof(text));
			world_log(world, "group %llx at node %u: %s; applied %llu digest %llx",
				(unsigned long long)world->checkers->groups[g].group, i, text,
				(unsigned long long)driver_applied(hosted->driver),
				(unsigned long long)driver_digest(hosted->driver));
		}
	}
}
