/* policy/placement_search.c: see policy/placement_search.h.
 *
 * Exhaustive: take or skip each candidate in order of region and zone. What keeps it small with 256 nodes:
 *  - alike candidates (same region, zone, areas, copy_in, right to lead): to skip one is to skip the rest;
 *  - what matters of a choice is not which regions were taken but their shape (how many in which zones, with which
 *    areas), what copy_in still lacks, and whether one may lead. A (position, shape) that failed once fails again. The
 *    shape of a closed region enters by a sum, so the order of regions does not matter;
 *  - counts that can no longer be met end a branch.
 * The same search says with some candidates forced and others banned which of the current copies can stay. Then single
 * swaps make the choice better while every rule holds. Deterministic: no random choice, ties by id. */
#include "policy/placement_search.h"

#include <assert.h>
#include <limits.h>

enum { STEPS_MAX = 100000, SEEN_MAX = 8192, SEEN_PROBES = 8 };

/* The shape of what is taken. Sums, so that order does not matter; a part is mixed when it is closed. */
struct shape {
	uint64_t regions; /* closed ones */
	uint64_t zones;	  /* closed ones of the open region */
	uint64_t zone;	  /* the open one */
	uint8_t lacking[COPY_RULES_MAX];
	bool leads;
	uint8_t areas;
	uint8_t taken;
};
struct walk {
	struct placement_search *search;
	uint32_t steps;
	/* from position i on, with nothing banned: candidates in copy_in[j], areas, a right to lead, candidates,
	 * forced ones */
	uint16_t copy_in_left[MAP_NODES_MAX + 1][COPY_RULES_MAX];
	uint8_t areas_left[MAP_NODES_MAX + 1];
	bool lead_left[MAP_NODES_MAX + 1];
	uint16_t left[MAP_NODES_MAX + 1];
	uint16_t forced_left[MAP_NODES_MAX + 1];
	uint64_t seen[SEEN_MAX]; /* failed (position, shape), 0: free */
};

static uint64_t mix(uint64_t value)
{
	value += UINT64_C(0x9e3779b97f4a7c15);
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

bool placement_search_alike(const struct candidate *a, const struct candidate *b)
{
	if (a->region != b->region || a->zone != b->zone || a->areas != b->areas || a->copy_in != b->copy_in)
		return false;
	if ((a->lead_rank == UINT_MAX) != (b->lead_rank == UINT_MAX))
		return false;
	return a->forced == b->forced && a->banned == b->banned;
}

/* --- are the rules met ------------------------------------------------------------------------------- */

static unsigned shared_max(const struct placement_search *search)
{
	unsigned votes = search->rule.voters ? search->rule.voters : search->copies / 2u + 1;
	return votes >= search->copies ? 1 : search->copies - votes;
}

/* Whether one more may stand beside those taken: by spread, and by how many may be lost at once. */
static bool fits(const struct placement_search *search, const uint16_t picked[], unsigned taken, unsigned next)
{
	const struct candidate *one = &search->at[next];
	unsigned same_region = 0;
	unsigned same_zone = 0;
	for (unsigned i = 0; i < taken; i++) {
		const struct candidate *other = &search->at[picked[i]];
		if (picked[i] == next)
			return false;
		same_region += other->region == one->region;
		same_zone += other->zone == one->zone;
	}
	if ((search->spread == SPREAD_REGION && same_region > 0) || (search->spread == SPREAD_ZONE && same_zone > 0))
		return false;
	if (search->survive == SURVIVE_REGION)
		return same_region < shared_max(search);
	return search->survive != SURVIVE_ZONE || same_zone < shared_max(search);
}

static bool quorums_sound(const struct placement_search *search, const uint16_t picked[COPIES_MAX])
{
	struct membership membership = { .count = search->copies, .rule_new = search->rule };
	uint8_t regions[COPIES_MAX];
	uint8_t zones[COPIES_MAX];
	for (uint8_t i = 0; i < search->copies; i++) {
		const struct candidate *one = &search->at[picked[i]];
		regions[i] = zones[i] = i;
		for (uint8_t j = i; j-- > 0;) {
			if (search->at[picked[j]].region == one->region)
				regions[i] = regions[j];
			if (search->at[picked[j]].zone == one->zone)
				zones[i] = zones[j];
		}
		membership.at[i] = (struct member){ .replica = i + 1u,
			.node = one->node,
			.role_new = ROLE_VOTER,
			.region = regions[i],
			.zone = zones[i],
			.areas = one->areas };
	}
	if (search->witnessed)
		membership_add_witness(&membership, search->copies + 1u, UINT64_MAX);
	struct quorum_flaw flaw;
	return quorum_check(&membership, (enum survive)search->survive, &flaw);
}

bool placement_search_valid(const struct placement_search *search, const uint16_t picked[COPIES_MAX])
{
	bool leads = !search->lead_needed;
	unsigned copy_in[COPY_RULES_MAX] = { 0 };
	for (unsigned i = 0; i < search->copies; i++) {
		const struct candidate *one = &search->at[picked[i]];
		if (!fits(search, picked, i, picked[i]))
			return false;
		leads |= one->lead_rank != UINT_MAX;
		for (unsigned j = 0; j < search->copy_in_count; j++)
			copy_in[j] += one->copy_in >> j & 1;
	}
	for (unsigned j = 0; j < search->copy_in_count; j++)
		if (copy_in[j] < search->copy_in_needed[j])
			return false;
	return leads && quorums_sound(search, picked);
}

/* --- the walk --------------------------------------------------------------------------------------------- */

static void take(struct shape *shape, const struct placement_search *search, unsigned at)
{
	const struct candidate *one = &search->at[at];
	shape->zone += mix(one->areas);
	shape->areas |= one->areas;
	shape->leads |= one->lead_rank != UINT_MAX;
	shape->taken++;
	for (unsigned j = 0; j < search->copy_in_count; j++)
		if ((one->copy_in >> j & 1) && shape->lacking[j] > 0)
			shape->lacking[j]--;
}

/* The shape as it stands before position `at`, what ended there closed. */
static void close_before(struct shape *shape, const struct placement_search *search, unsigned at)
{
	if (at == 0)
		return;
	const struct candidate *before = &search->at[at - 1];
	bool end = at == search->count;
	if ((end || search->at[at].zone != before->zone) && shape->zone != 0) {
		shape->zones += mix(shape->zone);
		shape->zone = 0;
	}
	if ((end || search->at[at].region != before->region) && shape->zones != 0) {
		shape->regions += mix(shape->zones ^ 1);
		shape->zones = 0;
	}
}

/* True: it has failed before. Else it is noted, as failed by whoever asks next. */
static bool seen(struct walk *walk, unsigned at, const struct shape *shape)
{
	uint64_t lacking = 0;
	memcpy(&lacking, shape->lacking, sizeof(lacking));
	uint64_t key = mix(mix(shape->regions) ^ mix(shape->zones + 1) ^ mix(shape->zone + 2));
	key = mix(key ^ mix(lacking) ^ mix((uint64_t)at << 16 | (uint64_t)shape->taken << 1 | shape->leads));
	key += key == 0;
	for (unsigned i = 0; i < SEEN_PROBES; i++) {
		uint64_t *slot = &walk->seen[(key + i) % SEEN_MAX];
		if (*slot == key)
			return true;
		if (*slot == 0) {
			*slot = key;
			return false;
		}
	}
	walk->seen[key % SEEN_MAX] = key;
	return false;
}

static bool hopeless(const struct walk *walk, unsigned at, const struct shape *shape)
{
	const struct placement_search *search = walk->search;
	unsigned room = search->copies - shape->taken;
	if (walk->left[at] < room || walk->forced_left[at] > room)
		return true;
	for (unsigned j = 0; j < search->copy_in_count; j++)
		if (shape->lacking[j] > room || shape->lacking[j] > walk->copy_in_left[at][j])
			return true;
	if (search->rule.areas & ~(shape->areas | walk->areas_left[at]))
		return true;
	return search->lead_needed && !shape->leads && !walk->lead_left[at];
}

/* The depth is the number of candidates: each call goes on with a later one. */
static bool walk_from(struct walk *walk, unsigned at, struct shape shape)
{
	struct placement_search *search = walk->search;
	close_before(&shape, search, at);
	if (at == search->count)
		return shape.taken == search->copies && placement_search_valid(search, search->picked);
	const struct candidate *one = &search->at[at];
	if (shape.taken == search->copies)
		return walk->forced_left[at] == 0 && placement_search_valid(search, search->picked);
	if (hopeless(walk, at, &shape) || walk->steps >= STEPS_MAX)
		return false;
	walk->steps++;
	if (seen(walk, at, &shape))
		return false;
	if (!one->banned && fits(search, search->picked, shape.taken, at)) {
		struct shape taken = shape;
		search->picked[shape.taken] = (uint16_t)at;
		take(&taken, search, at);
		if (walk_from(walk, at + 1, taken))
			return true;
	}
	if (one->forced)
		return false;
	unsigned next = at + 1;
	while (next < search->count && search->at[next].zone == one->zone &&
		placement_search_alike(one, &search->at[next]))
		next++;
	return walk_from(walk, next, shape);
}

static bool walk_all(struct walk *walk, struct placement_search *search)
{
	*walk = (struct walk){ .search = search };
	for (unsigned i = search->count; i-- > 0;) {
		const struct candidate *one = &search->at[i];
		bool free = !one->banned;
		for (unsigned j = 0; j < COPY_RULES_MAX; j++)
			walk->copy_in_left[i][j] =
				(uint16_t)(walk->copy_in_left[i + 1][j] + (free && (one->copy_in >> j & 1)));
		walk->areas_left[i] = (uint8_t)(walk->areas_left[i + 1] | (free ? one->areas : 0));
		walk->lead_left[i] = walk->lead_left[i + 1] || (free && one->lead_rank != UINT_MAX);
		walk->left[i] = (uint16_t)(walk->left[i + 1] + free);
		walk->forced_left[i] = (uint16_t)(walk->forced_left[i + 1] + one->forced);
	}
	struct shape shape = { 0 };
	memcpy(shape.lacking, search->copy_in_needed, search->copy_in_count);
	return walk_from(walk, 0, shape);
}

/* --- keeping what is there ------------------------------------------------------------------------------------ */

static unsigned bits_of(unsigned set)
{
	unsigned count = 0;
	for (; set; set &= set - 1)
		count++;
	return count;
}

/* Forces the current copies of this set and bans the other ones, with whoever the spread keeps from standing beside a
 * forced one. False: they cannot all stay. */
static bool force(struct placement_search *search, const uint16_t current[], unsigned count, unsigned set)
{
	uint16_t forced[COPIES_MAX];
	unsigned forced_count = 0;
	for (unsigned i = 0; i < search->count; i++)
		search->at[i].forced = search->at[i].banned = false;
	for (unsigned i = 0; i < count; i++) {
		bool stays = set >> i & 1;
		search->at[current[i]].forced = stays;
		search->at[current[i]].banned = !stays;
		if (stays && !fits(search, forced, forced_count, current[i]))
			return false;
		if (stays)
			forced[forced_count++] = current[i];
	}
	for (unsigned i = 0; i < search->count; i++)
		if (!search->at[i].forced && !fits(search, forced, forced_count, i))
			search->at[i].banned = true;
	return true;
}

/* Every set of current copies to stay, the largest first. `picked` holds an answer already, the one to fall back on. */
static void keep_most(struct walk *walk, struct placement_search *search)
{
	uint16_t current[COPIES_MAX];
	uint16_t answer[COPIES_MAX];
	unsigned count = 0;
	for (uint16_t i = 0; i < search->count && count < COPIES_MAX; i++)
		if (search->at[i].current)
			current[count++] = i;
	memcpy(answer, search->picked, sizeof(answer));
	bool done = false;
	for (unsigned size = count < search->copies ? count : search->copies; size > 0 && !done; size--)
		for (unsigned set = 0; set < 1u << count && !done; set++)
			if (bits_of(set) == size && force(search, current, count, set))
				done = walk_all(walk, search);
	if (!done)
		memcpy(search->picked, answer, sizeof(answer));
	for (unsigned i = 0; i < search->count; i++)
		search->at[i].forced = search->at[i].banned = false;
}

/* --- making it better ----------------------------------------------------------------------------------------------
 */

struct merit {
	unsigned zones; /* more is better */
	uint64_t load;	/* less is better; squares, so that it levels */
};

unsigned placement_search_zones(const struct placement_search *search, const uint16_t picked[COPIES_MAX])
{
	unsigned zones = 0;
	for (unsigned i = 0; i < search->copies; i++) {
		bool first = true;
		for (unsigned j = 0; j < i; j++)
			first &= search->at[picked[j]].zone != search->at[picked[i]].zone;
		zones += first;
	}
	return zones;
}

static struct merit merit_of(const struct placement_search *search, const uint16_t picked[COPIES_MAX])
{
	struct merit merit = { .zones = placement_search_zones(search, picked) };
	for (unsigned i = 0; i < search->copies; i++)
		merit.load += (uint64_t)search->at[picked[i]].load * search->at[picked[i]].load;
	return merit;
}

static bool better(struct merit a, struct merit b)
{
	return a.zones != b.zones ? a.zones > b.zones : a.load < b.load;
}

/* The best single swap of a copy that is new anyway. */
static bool improve(struct placement_search *search)
{
	struct merit best = merit_of(search, search->picked);
	uint16_t choice[COPIES_MAX];
	bool found = false;
	for (unsigned i = 0; i < search->copies; i++) {
		uint16_t trial[COPIES_MAX];
		memcpy(trial, search->picked, sizeof(trial));
		if (search->at[trial[i]].current)
			continue;
		for (uint16_t with = 0; with < search->count; with++) {
			trial[i] = with;
			struct merit merit = merit_of(search, trial);
			if (!better(merit, best) || !placement_search_valid(search, trial))
				continue;
			best = merit;
			memcpy(choice, trial, sizeof(choice));
			found = true;
		}
	}
	if (found)
		memcpy(search->picked, choice, sizeof(choice));
	return found;
}

bool placement_search(struct placement_search *search)
{
	assert(search->copies >= 1);
	assert(search->copies <= COPIES_MAX);
	assert(search->count <= MAP_NODES_MAX);
	struct walk walk;
	bool any_current = false;
	for (unsigned i = 0; i < search->count; i++)
		any_current |= search->at[i].current;
	if (!walk_all(&walk, search))
		return false;
	if (any_current)
		keep_most(&walk, search);
	for (unsigned rounds = 0; rounds < 4 * COPIES_MAX && improve(search);)
		rounds++;
	assert(placement_search_valid(search, search->picked));
	return true;
}
