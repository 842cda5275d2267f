/* tests/unit/replication/test_meta_random.c: random runs of changes on two replicas of meta, one of which is decoded
 * from bytes now and again, beside a model of where the keys are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/unit/replication/meta_binding.h"

static const char *const stores[] = { "*", "eu", "us", "eu/de", "eu/ie", "cloud=aws", "eu/se" };
static const char *const names[] = { "p0", "p1", "p2", "p3", "p4", "p5" };
static const char *const prefixes[] = { "", "a", "ab", "abc", "b", "bc", "bcd", "c" };

static struct policy random_policy(struct prng *prng)
{
	struct policy policy = policy_of(names[prng_below(prng, 6)], stores[prng_below(prng, 7)],
		(uint8_t)(1 + prng_below(prng, 3)), (uint8_t)(1 + prng_below(prng, 3)));
	if (prng_chance(prng, 200000))
		policy.transit = TRANSIT_ANY;
	if (prng_chance(prng, 100000))
		policy.copies = (uint8_t)(1 + prng_below(prng, COPIES_MAX));
	if (prng_chance(prng, 100000))
		policy.survive = (uint8_t)prng_below(prng, 4);
	return policy;
}

/* Keys that clients of the random runs write and delete. */
static const char *const keys[] = { "a1", "ab1", "abc1", "b1", "bc1", "bcd1", "c1", "d1" };
enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
enum { STORE_SHARDS_MAX = 1024 };
struct store {
	uint64_t version[KEYS]; /* 0: the key is not there */
	uint64_t last;
	unsigned shard_count;
	struct {
		uint64_t id;
		uint64_t rows[KEYS]; /* version of the row that the shard has; 0: none */
	} shards[STORE_SHARDS_MAX];
};

/* What the shard has of the key. */
static uint64_t *row_in(struct store *store, uint64_t shard, unsigned key)
{
	unsigned at = 0;
	while (at < store->shard_count && store->shards[at].id != shard)
		at++;
	assert_true(at < STORE_SHARDS_MAX);
	store->shard_count += at == store->shard_count;
	store->shards[at].id = shard;
	return &store->shards[at].rows[key];
}

static struct change_binding random_binding(struct prng *prng)
{
	uint8_t secret[16];
	memset(secret, 8, sizeof(secret)); /* of change_init */
	const char *policy = prng_chance(prng, 50000) ? "nobody" : names[prng_below(prng, 6)];
	if (prng_chance(prng, 150000)) {
		struct change_binding binding = exact_of(0, policy);
		binding.hash = hash_keyed(bytes_text(keys[prng_below(prng, KEYS)]), secret);
		return binding;
	}
	return binding_of(prefixes[prng_below(prng, 8)], policy);
}

struct random_change {
	struct change change;
	struct policy policies[3];
	struct change_binding bindings[4];
};

static void random_rules(struct prng *prng, struct random_change *out)
{
	out->change.policies = out->policies;
	out->change.bindings = out->bindings;
	bool file = out->change.kind == CHANGE_APPLY;
	out->change.policy_count = file ? (uint32_t)prng_below(prng, 4) : 0;
	out->change.binding_count = file ? (uint32_t)prng_below(prng, 5) : 1;
	for (unsigned i = 0; i < out->change.policy_count; i++)
		out->policies[i] = random_policy(prng);
	for (unsigned i = 0; i < out->change.binding_count; i++)
		out->bindings[i] = random_binding(prng);
}

static void random_report(struct prng *prng, const struct cluster_map *map, struct random_change *out)
{
	struct change *change = &out->change;
	const struct map_shard *shard = &map->shards[prng_below(prng, map->shard_count)];
	for (unsigned i = 0; i < 8 && shard->operation == 0; i++)
		shard = &map->shards[prng_below(prng, map->shard_count)];
	*change = report_of(shard, shard->membership_index + prng_below(prng, 3));
	if (prng_chance(prng, 300000))
		change->replicas[prng_below(prng, change->replica_count)].role = (uint8_t)prng_below(prng, 4);
	if (prng_chance(prng, 100000))
		change->generation += prng_below(prng, 3) - 1;
	if (prng_chance(prng, 100000))
		change->replicas[0].replica++;
}

/* What an honest shard does and finds, in its step of the operation. */
static uint64_t shard_works(const struct cluster_map *map, struct store *store, const struct map_operation *operation,
	const struct map_shard *shard)
{
	uint64_t found = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		struct bytes key = bytes_text(keys[i]);
		uint64_t *row = row_in(store, shard->id, i);
		const struct map_shard *to = NULL;
		if (*row == 0 || !map_operation_has(map, operation, key))
			continue;
		enum map_move move = operation->phase == PHASE_COPY
					     ? map_operation_moves_from(map, operation, shard, key, &to)
					     : MOVE_STAYS;
		if (operation->phase == PHASE_FENCE || move == MOVE_NOWHERE)
			found++;
		else if (move == MOVE_GOES && *row_in(store, to->id, i) < *row)
			*row_in(store, to->id, i) = *row;
		else if (operation->phase >= PHASE_PURGE && !map_lives_in(map, shard, key))
			*row = 0;
	}
	return found;
}

static void random_step(
	struct prng *prng, const struct cluster_map *map, struct store *store, struct random_change *out)
{
	const struct map_operation *operation = &map->operations[prng_below(prng, map->operation_count)];
	for (unsigned i = 0; i < 4 && operation->state != OPERATION_RUNNING; i++)
		operation = &map->operations[prng_below(prng, map->operation_count)];
	if (!operation_moves_keys(operation->kind)) {
		random_report(prng, map, out);
		return;
	}
	bool fence = operation->phase == PHASE_FENCE;
	out->change = (struct change){ .kind = fence ? CHANGE_FENCE_REPORT : CHANGE_MOVE_REPORT,
		.operation = operation->id,
		.phase = fence ? PHASE_NONE : operation->phase,
		.shard = operation->shards_done[prng_below(prng, operation->steps)] };
	if (prng_chance(prng, 20000))
		out->change.operation = map->id_next;
	const struct map_shard *shard = map_shard_find(map, out->change.shard);
	if (!shard || prng_chance(prng, 20000)) /* gone, and the operation over */
		shard = &map->shards[prng_below(prng, map->shard_count)];
	out->change.shard = shard->id;
	if (map_operation_awaits(operation, shard->id))
		out->change.keys_found = shard_works(map, store, operation, shard);
	if (operation->phase == PHASE_COPY && prng_chance(prng, 30000))
		out->change.keys_found = 1; /* it was refused where it goes */
}

/* Clients write where the key's binding is in force and nothing is pending. A shard that has answered for a fence
 * refuses what is behind it, which is the same keys. */
static void random_writes(struct prng *prng, const struct cluster_map *map, struct store *store)
{
	unsigned at = (unsigned)prng_below(prng, KEYS);
	const struct map_binding *binding = map_binding_of(map, bytes_text(keys[at]));
	if (!binding || map_binding_pending_of(map, bytes_text(keys[at])))
		return;
	const struct map_shard *shard = map_shard_of(map, binding->policy, bytes_text(keys[at]));
	for (uint32_t i = 0; i < map->operation_count; i++) {
		const struct map_operation *operation = &map->operations[i];
		if (operation_of_range(operation->kind) && operation->shard_from == shard->id &&
			map_operation_fences(operation) && operation->phase > PHASE_FENCE &&
			map_operation_has(map, operation, bytes_text(keys[at])))
			return;
	}
	store->version[at] = prng_chance(prng, 300000) ? ++store->last : 0;
	*row_in(store, shard->id, at) = store->version[at];
}

/* No change of bindings leaves a key behind where nobody looks for it, or brings one back that was deleted. */
static void check_reachable(const struct cluster_map *map, struct store *store)
{
	bool moves = false;
	for (unsigned i = 0; i < KEYS; i++) {
		const struct map_binding *binding = map_binding_of(map, bytes_text(keys[i]));
		if (store->version[i] != 0)
			assert_non_null(binding);
		if (binding)
			assert_int_equal(*row_in(store, map_shard_of(map, binding->policy, bytes_text(keys[i]))->id, i),
				store->version[i]);
	}
	for (uint32_t i = 0; i < map->operation_count; i++)
		moves |= operation_moves_keys(map->operations[i].kind) &&
			 map->operations[i].state == OPERATION_RUNNING && map->operations[i].phase >= PHASE_COPY;
	/* When nothing is under way each is in one shard. */
	for (uint32_t i = 0; !moves && i < map->shard_count; i++)
		for (unsigned j = 0; j < KEYS; j++)
			if (*row_in(store, map->shards[i].id, j) != 0)
				assert_true(map_lives_in(map, &map->shards[i], bytes_text(keys[j])));
}

/* Of a shard that some key is in, and its neighbour. */
static void random_range(struct prng *prng, const struct cluster_map *map, struct change *change)
{
	const struct map_shard *shard = &map->shards[prng_below(prng, map->shard_count)];
	const struct map_shard *of_key = map_shard_of(map, shard->policy, bytes_text(keys[prng_below(prng, KEYS)]));
	bool next = of_key + 1 < map->shards + map->shard_count;
	change->kind = prng_chance(prng, 500000) ? CHANGE_SHARD_SPLIT : CHANGE_SHARD_MERGE;
	change->shard = of_key->id;
	if (change->kind == CHANGE_SHARD_SPLIT)
		return;
	change->merged = next ? of_key[1].id : map->id_next;
	if (prng_chance(prng, 500000)) {
		change->shard = change->merged;
		change->merged = of_key->id;
	}
}

static void random_change(
	struct prng *prng, const struct cluster_map *map, struct store *store, struct random_change *out)
{
	memset(out, 0, sizeof(*out));
	struct change *change = &out->change;
	unsigned dice = (unsigned)prng_below(prng, 100);
	if (dice < 12 || map->shard_count == 0) {
		change->kind = CHANGE_APPLY;
		random_rules(prng, out);
	} else if (dice < 24) {
		change->kind = dice < 19 ? CHANGE_BINDING_SET : CHANGE_BINDING_UNSET;
		random_rules(prng, out);
	} else if (dice < 27) {
		const struct map_shard *shard = &map->shards[prng_below(prng, map->shard_count)];
		change->kind = CHANGE_SHARD_PLACE;
		change->shard = shard->id;
		change->replica_count = shard->wanted_count;
		for (unsigned i = 0; i < change->replica_count; i++)
			change->replicas[i].node = map->nodes[prng_below(prng, map->node_count)].id;
	} else if (dice < 30) {
		const struct map_shard *shard = &map->shards[prng_below(prng, map->shard_count)];
		change->kind = CHANGE_SHARD_LEAD;
		change->shard = shard->id;
		change->target_node = prng_chance(prng, 300000) ? map->nodes[prng_below(prng, map->node_count)].id
								: shard->wanted[0].node;
	} else if (dice < 32) {
		char place[] = "eu/ie/eu-west-1/a/m0";
		place[19] = (char)('0' + prng_below(prng, 10));
		change_node(change, place, 1 + prng_below(prng, 2));
	} else if (dice < 36) {
		change->kind = dice < 34 ? CHANGE_NODE_STATE : dice < 35 ? CHANGE_REGION_STATE : CHANGE_NODE_REMOVE;
		change->target_node = map->nodes[prng_below(prng, map->node_count)].id;
		change->state = (uint8_t)prng_below(prng, 4);
		strcpy(change->name, map->regions[prng_below(prng, map->region_count)].name);
	} else if (dice < 37) {
		change->kind = CHANGE_META_REPORT;
		for (uint32_t i = 0; i < map->node_count && change->replica_count < REPLICAS_MAX; i++)
			if (prng_chance(prng, 700000))
				change->replicas[change->replica_count++] =
					(struct map_replica){ .replica = map->nodes[i].meta_replica,
						.node = map->nodes[i].id,
						.role = map->nodes[i].meta_voter ? ROLE_VOTER : ROLE_LEARNER };
		if (prng_chance(prng, 100000))
			change->replicas[0].replica++;
	} else if (dice < 38) {
		change->kind = CHANGE_LEDGER_HEAD;
		change->node.id = map->nodes[prng_below(prng, map->node_count)].id;
		change->node.ledger.at.sequence = 1 + prng_below(prng, 50);
		change->node.ledger.signature_size = 1;
	} else if (dice < 39 && prng_chance(prng, 500000)) {
		change->kind = CHANGE_CANCEL;
		change->operation = map->operation_count == 0 || prng_chance(prng, 100000)
					    ? map->id_next
					    : map->operations[prng_below(prng, map->operation_count)].id;
	} else if (dice < 39) {
		const char *const places[] = { "eu/fr/eu-fr-1", "us/us-west-2", "ap/ap-1" };
		change_region(change, places[prng_below(prng, 3)], prng_chance(prng, 500000) ? "cloud=aws" : NULL);
		if (prng_chance(prng, 500000)) {
			memset(change, 0, sizeof(*change));
			change->kind = CHANGE_REGION_REMOVE;
			snprintf(change->name, sizeof(change->name), "%s",
				map->regions[prng_below(prng, map->region_count)].name);
		}
	} else if (dice < 43) {
		random_range(prng, map, change);
	} else if (dice < 44) {
		change->kind = CHANGE_REBALANCE;
	} else if (dice < 60 || map->operation_count == 0) {
		random_report(prng, map, out);
	} else {
		random_step(prng, map, store, out);
	}
	change->dry_run = prng_chance(prng, 50000);
	change->now_us = prng_below(prng, 1000000);
}

/* The change as it comes out of the log. */
static void decoded(const struct random_change *from, struct random_change *to)
{
	static uint8_t bytes[256 * 1024];
	struct packer packer;
	pack_init(&packer, bytes, sizeof(bytes));
	change_encode(&from->change, &packer);
	assert_false(packer.overflow);
	struct change_scratch scratch = {
		.policies = to->policies, .policy_max = 3, .bindings = to->bindings, .binding_max = 4
	};
	assert_int_equal(change_decode(pack_result(&packer), &scratch, &to->change), STATUS_OK);
}

static void run_random(uint64_t seed, unsigned *accepted, unsigned *refused, unsigned *levelled)
{
	struct prng prng;
	prng_seed(&prng, seed);
	struct cluster_map *map = cluster(), *other = cluster();
	static struct random_change change, again;
	static struct store store;
	memset(&store, 0, sizeof(store));
	for (unsigned i = 0; i < 250; i++) {
		random_writes(&prng, map, &store);
		random_change(&prng, map, &store, &change);
		struct meta_result result = apply(map, &change.change), second;
		decoded(&change, &again);
		meta_apply(other, &again.change, &second);
		assert_int_equal(second.status, result.status);
		assert_int_equal(second.id, result.id);
		assert_string_equal(second.flaw.reason, result.flaw.reason);
		assert_int_equal(second.flaw.line, result.flaw.line);
		assert_int_equal(meta_digest(other), meta_digest(map));
		check_reachable(map, &store);
		accepted[change.change.kind] += result.status == STATUS_OK;
		if (change.change.kind == CHANGE_REBALANCE && !change.change.dry_run && result.status == STATUS_OK)
			*levelled += map_operation_find(map, result.id) != NULL;
		refused[change.change.kind] += result.status != STATUS_OK;
		if (prng_chance(&prng, 100000))
			other = reopened(other);
	}
	free(map);
	free(other);
}

static void test_random_runs(void **state)
{
	(void)state;
	unsigned accepted[CHANGE_KIND_LAST + 1] = { 0 }, refused[CHANGE_KIND_LAST + 1] = { 0 };
	unsigned levelled = 0;
	for (uint64_t seed = 1; seed <= 40; seed++)
		run_random(seed, accepted, refused, &levelled);
	/* The runs must have met both answers of what they are made of, or they show nothing. */
	for (unsigned kind = CHANGE_REGION_ADD; kind <= CHANGE_KIND_LAST; kind++) {
		if (kind == CHANGE_NODE_ADDRESSES)
			continue;
		if (accepted[kind] == 0 || refused[kind] == 0)
			fail_msg("kind %u: %u accepted, %u refused", kind, accepted[kind], refused[kind]);
	}
	assert_true(levelled > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
