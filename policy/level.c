/* policy/level.c: see policy/level.h. Greedy: of each policy the best move is looked for, and the best of all is made.
 *
 * What a policy's best move levels is kept until another policy's move has made it old; it is looked for again before
 * it counts. Most moves only make others smaller, so what is kept is a bound, and a policy whose bound is low is not
 * looked at. Some make others larger: so when nothing is left, all are looked at once more. How often shards are looked
 * at is bounded, whatever the map. */
#include "policy/level.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "policy/placement_search.h"

enum {
	WANTED_MAX = COPIES_MAX + 1,
	GAIN_UNKNOWN = UINT32_MAX,
	GAIN_MIN = 2,	     /* less only turns things round */
	LOOKS_PER_SHARD = 2, /* on average */
	LOOKS_MIN = 4096,    /* shards looked at; of a small map all moves are found */
	NOBODY = UINT16_MAX,
};
static_assert(MAP_NODES_MAX <= UINT8_MAX + 1, "a position of a node is a byte");

enum verdict { UNASKED, ALLOWED, FORBIDDEN };

struct level {
	const struct cluster_map *map;
	/* by position in map->nodes: */
	bool takes[MAP_NODES_MAX];
	uint16_t zones[MAP_NODES_MAX], regions[MAP_NODES_MAX]; /* equal means the same one */
	uint32_t loads[2][MAP_NODES_MAX];		       /* copies, witnesses */
	uint16_t takers;				       /* nodes that take replicas ... */
	uint8_t order[2][MAP_NODES_MAX];		       /* ... the least loaded first */
	uint8_t verdicts[2][MAP_NODES_MAX]; /* of the policy that is looked at: may it hold a copy, be a witness */
	struct placement_search search;	    /* its question; candidates by position, those that were asked about */
	/* by position in map->shards: */
	bool idle[MAP_SHARDS_MAX];		/* may be moved */
	uint8_t at[MAP_SHARDS_MAX][WANTED_MAX]; /* of idle ones: nodes, as the moves so far leave them */
	/* by position in map->policies: */
	uint32_t gains[MAP_POLICIES_MAX];			   /* bounds of what their best moves level */
	uint32_t first[MAP_POLICIES_MAX], count[MAP_POLICIES_MAX]; /* their shards */
};

struct best {
	uint32_t gain, score; /* score: the gain, and what decides between equal ones */
	uint32_t shard;
	uint8_t replica, to;
};

/* --- the map, once ------------------------------------------------------------------------------------------- */

static uint16_t position_of(const struct cluster_map *map, uint64_t node)
{
	uint16_t low = 0, high = (uint16_t)map->node_count; /* sorted by id: they grow along the array */
	while (low < high) {
		uint16_t middle = (uint16_t)((low + high) / 2);
		if (map->nodes[middle].id < node)
			low = (uint16_t)(middle + 1);
		else
			high = middle;
	}
	return low < map->node_count && map->nodes[low].id == node ? low : NOBODY;
}

/* Shards that are split or merged, at most two an operation. */
struct ranges {
	uint32_t count;
	uint64_t shards[2 * MAP_OPERATIONS_MAX];
};

static void read_ranges(const struct cluster_map *map, struct ranges *ranges)
{
	ranges->count = 0;
	assert(map->operation_count <= MAP_OPERATIONS_MAX);
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		if (operation->state != OPERATION_RUNNING || !operation_of_range(operation->kind))
			continue;
		ranges->shards[ranges->count++] = operation->shard_from;
		ranges->shards[ranges->count++] = operation->shard_to;
	}
}

static bool in_ranges(const struct ranges *ranges, uint64_t shard)
{
	for (uint32_t i = 0; i < ranges->count; i++)
		if (ranges->shards[i] == shard)
			return true;
	return false;
}

/* Its replicas are those that are wanted. */
static bool settled(const struct map_shard *shard)
{
	if (shard->replica_count != shard->wanted_count)
		return false;
	for (unsigned i = 0; i < shard->wanted_count; i++) {
		const struct map_replica *here =
			map_replica_on(shard->replicas, shard->replica_count, shard->wanted[i].node);
		if (!here || here->role != shard->wanted[i].role)
			return false;
	}
	return true;
}

static void read_nodes(struct level *level)
{
	const struct cluster_map *map = level->map;
	for (uint16_t i = 0; i < map->node_count; i++) {
		const struct map_node *node = &map->nodes[i];
		level->takes[i] = map_node_takes_replicas(map, node) && !node->away;
		level->regions[i] = node->region;
		level->zones[i] = i;
		for (uint16_t j = 0; j < i; j++) {
			if (map->nodes[j].region != node->region ||
				!placement_same_zone(&map->nodes[j].place, &node->place))
				continue;
			level->zones[i] = level->zones[j];
			break;
		}
	}
}

static void read_shards(struct level *level)
{
	const struct cluster_map *map = level->map;
	struct ranges ranges;
	read_ranges(map, &ranges);
	for (uint32_t i = 0; i < map->shard_count; i++) {
		const struct map_shard *shard = &map->shards[i];
		level->idle[i] = shard->operation == 0 && settled(shard) && !in_ranges(&ranges, shard->id);
		assert(shard->wanted_count <= WANTED_MAX);
		for (unsigned j = 0; j < shard->wanted_count; j++) {
			const uint16_t at = position_of(map, shard->wanted[j].node);
			level->idle[i] = level->idle[i] && at != NOBODY && level->takes[at];
			if (at == NOBODY)
				continue;
			level->at[i][j] = (uint8_t)at;
			level->loads[shard->wanted[j].role == ROLE_WITNESS][at]++;
		}
	}
	for (uint32_t i = 0, at = 0; i < map->policy_count; i++) { /* both by id of the policy */
		level->first[i] = at;
		while (at < map->shard_count && map->shards[at].policy == map->policies[i].id)
			at++;
		level->count[i] = at - level->first[i];
		level->gains[i] = GAIN_UNKNOWN;
	}
}

/* Loads of a role have changed by one, or everything is new. */
static void sort_takers(struct level *level, bool witness)
{
	uint8_t *order = level->order[witness];
	const uint32_t *loads = level->loads[witness];
	for (unsigned i = 1; i < level->takers; i++) {
		const uint8_t one = order[i];
		unsigned to = i;
		for (; to > 0 && (loads[one] < loads[order[to - 1]] ||
					 (loads[one] == loads[order[to - 1]] && one < order[to - 1]));
			to--)
			order[to] = order[to - 1];
		order[to] = one;
	}
}

static void read_order(struct level *level)
{
	for (unsigned i = 0; i < level->map->node_count; i++) {
		if (!level->takes[i])
			continue;
		level->order[false][level->takers] = level->order[true][level->takers] = (uint8_t)i;
		level->takers++;
	}
	sort_takers(level, false);
	sort_takers(level, true);
}

/* --- one policy ------------------------------------------------------------------------------------------------ */

/* By the policy, which is asked once about each node. */
static bool allowed(struct level *level, const struct policy *policy, bool witness, uint16_t node)
{
	uint8_t *verdict = &level->verdicts[witness][node];
	const struct map_node *there = &level->map->nodes[node];
	if (*verdict == UNASKED && witness) {
		*verdict = placement_may_witness(level->map, policy, there) ? ALLOWED : FORBIDDEN;
	} else if (*verdict == UNASKED) {
		struct candidate *one = &level->search.at[node];
		*verdict = placement_candidate(level->map, policy, there, one) ? ALLOWED : FORBIDDEN;
		one->zone = level->zones[node];
	}
	return *verdict == ALLOWED;
}

struct question { /* may this replica be elsewhere */
	const struct policy *policy;
	const struct map_shard *shard;
	uint32_t at; /* of the shard */
	uint8_t replica;
	unsigned copies; /* a witness stands behind them */
	uint16_t picked[COPIES_MAX];
	uint16_t refused[MAP_NODES_MAX]; /* by zone: the last node that was, + 1 */
};

static unsigned best_rank(const struct placement_search *search, const uint16_t picked[COPIES_MAX])
{
	unsigned best = UINT_MAX;
	for (unsigned i = 0; i < search->copies; i++)
		if (search->at[picked[i]].lead_rank < best)
			best = search->at[picked[i]].lead_rank;
	return best;
}

/* Placement's own judgement, and what it would rather have. */
static bool copy_may_go(struct level *level, struct question *question, uint16_t to)
{
	struct placement_search *search = &level->search;
	uint16_t *refused = &question->refused[level->zones[to]];
	uint16_t trial[COPIES_MAX] = { 0 };
	if (!allowed(level, question->policy, false, to))
		return false;
	if (*refused != 0 && placement_search_alike(&search->at[*refused - 1], &search->at[to]) &&
		search->at[*refused - 1].lead_rank == search->at[to].lead_rank)
		return false;
	memcpy(trial, question->picked, question->copies * sizeof(trial[0]));
	trial[question->replica] = to;
	bool apart = question->copies == question->shard->wanted_count ||
		     placement_apart(level->map, &to, 1, level->at[question->at][question->copies]);
	if (apart && placement_search_valid(search, trial) &&
		placement_search_zones(search, trial) >= placement_search_zones(search, question->picked) &&
		best_rank(search, trial) <= best_rank(search, question->picked))
		return true;
	*refused = (uint16_t)(to + 1);
	return false;
}

static bool may_go(struct level *level, struct question *question, uint16_t to)
{
	const struct map_shard *shard = question->shard;
	const struct map_replica *was = map_replica_on(shard->wanted, shard->wanted_count, level->map->nodes[to].id);
	if (was && (was->role == ROLE_WITNESS) != (question->replica >= question->copies))
		return false; /* a node is one or the other of a shard, also while it goes from one to the other */
	for (unsigned i = 0; i < shard->wanted_count; i++)
		if (level->at[question->at][i] == to)
			return false;
	if (question->replica < question->copies)
		return copy_may_go(level, question, to);
	return allowed(level, question->policy, true, to) &&
	       placement_apart(level->map, question->picked, question->copies, to);
}

static uint32_t score_of(const struct level *level, uint32_t gain, uint16_t from, uint16_t to, bool first)
{
	uint32_t near = level->zones[from] == level->zones[to] ? 2 : level->regions[from] == level->regions[to];
	return gain * 8 + near * 2 + !first;
}

static void look_at_replica(struct level *level, struct question *question, struct best *best)
{
	const bool witness = question->replica >= question->copies;
	const uint32_t *loads = level->loads[witness];
	const uint16_t from = level->at[question->at][question->replica];
	if (question->shard->wanted[question->replica].node == question->shard->lead_wanted)
		return;
	memset(question->refused, 0, sizeof(question->refused));
	for (uint16_t i = 0; i < level->takers; i++) {
		const uint8_t to = level->order[witness][i];
		if (loads[from] < loads[to] + GAIN_MIN || loads[from] - loads[to] < best->gain)
			return;
		const uint32_t gain = loads[from] - loads[to];
		const uint32_t score = score_of(level, gain, from, to, question->replica == 0);
		if (score <= best->score || !may_go(level, question, to))
			continue;
		*best = (struct best){ gain, score, question->at, question->replica, to };
	}
}

static void look_at_shard(struct level *level, const struct policy *policy, uint32_t at, struct best *best)
{
	const struct map_shard *shard = &level->map->shards[at];
	struct question question = { .policy = policy, .shard = shard, .at = at, .copies = policy->copies };
	assert(question.copies <= shard->wanted_count);
	for (unsigned i = 0; i < question.copies; i++) {
		question.picked[i] = level->at[at][i];
		if (!allowed(level, policy, false, level->at[at][i]))
			return; /* where it is was allowed once; who changed that moves it */
	}
	for (uint8_t i = 0; i < shard->wanted_count; i++) {
		question.replica = i;
		look_at_replica(level, &question, best);
	}
}

static struct best look_at_policy(struct level *level, uint32_t at)
{
	const struct policy *policy = &level->map->policies[at];
	struct best best = { 0 };
	memset(level->verdicts, UNASKED, sizeof(level->verdicts));
	placement_ask(policy, &level->search);
	level->search.count = (uint16_t)level->map->node_count;
	for (uint32_t i = level->first[at]; i < level->first[at] + level->count[at]; i++)
		if (level->idle[i])
			look_at_shard(level, policy, i, &best);
	return best;
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

static void take(struct level *level, const struct best *best, struct level_plan *plan)
{
	const struct cluster_map *map = level->map;
	const struct map_shard *shard = &map->shards[best->shard];
	const bool witness = shard->wanted[best->replica].role == ROLE_WITNESS;
	uint8_t *at = &level->at[best->shard][best->replica];
	assert(level->loads[witness][*at] >= level->loads[witness][best->to] + GAIN_MIN);
	level->loads[witness][*at]--;
	level->loads[witness][best->to]++;
	plan->moves[plan->count++] = (struct level_move){ .shard = best->shard,
		.replica = best->replica,
		.from = map->nodes[*at].id,
		.to = map->nodes[best->to].id };
	*at = best->to;
	sort_takers(level, witness);
}

/* The policy with the highest bound; *other: the bound of the next one. */
static uint32_t highest(const struct level *level, uint32_t *other)
{
	uint32_t at = 0;
	*other = 0;
	for (uint32_t i = 1; i < level->map->policy_count; i++) {
		uint32_t gain = level->gains[i];
		if (gain > level->gains[at]) {
			gain = level->gains[at];
			at = i;
		}
		*other = gain > *other ? gain : *other;
	}
	return at;
}

void level_plan(const struct cluster_map *map, struct level_plan *plan)
{
	struct level level = { .map = map };
	const uint32_t looks_max = LOOKS_PER_SHARD * map->shard_count + LOOKS_MIN;
	bool made = false; /* since all were looked at */
	assert(map->node_count <= MAP_NODES_MAX);
	assert(map->shard_count <= MAP_SHARDS_MAX);
	assert(map->policy_count <= MAP_POLICIES_MAX);
	plan->count = 0;
	plan->complete = false;
	read_nodes(&level);
	read_shards(&level);
	read_order(&level);
	for (uint32_t looks = 0; map->policy_count > 0 && plan->count < LEVEL_MOVES_MAX && looks < looks_max;) {
		uint32_t other, at = highest(&level, &other);
		if (level.gains[at] < GAIN_MIN && !made) {
			plan->complete = true;
			return;
		}
		if (level.gains[at] < GAIN_MIN) {
			for (uint32_t i = 0; i < map->policy_count; i++)
				level.gains[i] = GAIN_UNKNOWN;
			made = false;
			continue;
		}
		const struct best best = look_at_policy(&level, at);
		looks += level.count[at] + 1;
		level.gains[at] = best.gain;
		if (best.gain < GAIN_MIN || best.gain < other - other / 4)
			continue;
		take(&level, &best, plan);
		made = true;
	}
	plan->complete = map->policy_count == 0;
}
