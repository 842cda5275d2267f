/* tests/unit/policy/test_change.c: changes come back from their bytes; cut, damaged and oversized ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "policy/change.h"

enum { POLICIES_MAX = 4, BINDINGS_MAX = 8, BYTES_MAX = 128 * 1024 };
struct whole {
	struct change change;
	struct policy policies[POLICIES_MAX];
	struct change_binding bindings[BINDINGS_MAX];
};

static void random_bytes(struct prng *prng, void *out, size_t size)
{
	uint8_t *to = out;
	for (size_t i = 0; i < size; i++)
		to[i] = (uint8_t)prng_next(prng);
}

static void random_text(struct prng *prng, char *out, size_t capacity)
{
	size_t size = 1 + prng_below(prng, capacity - 1);
	for (size_t i = 0; i < size; i++)
		out[i] = (char)('a' + prng_below(prng, 26));
}

static void random_place(struct prng *prng, struct place *place)
{
	char text[PLACE_TEXT_MAX] = "eu/ie/r";
	random_text(prng, text + 7, 40);
	assert_true(place_parse(text, place, NULL));
}

static void random_region(struct prng *prng, struct map_region *region)
{
	random_text(prng, region->name, sizeof(region->name));
	random_place(prng, &region->site.place);
	region->site.tag_count = (uint8_t)prng_below(prng, TAGS_MAX + 1);
	for (unsigned i = 0; i < region->site.tag_count; i++)
		random_text(prng, region->site.tags[i], TAG_TEXT_MAX);
	region->latitude = prng_chance(prng, 500000) ? __builtin_nan("") : prng_double(prng);
	region->longitude = -prng_double(prng);
	random_bytes(prng, region->spki_sha256, sizeof(region->spki_sha256));
	region->ca_size = (uint32_t)prng_below(prng, CERTIFICATE_SIZE_MAX + 1);
	random_bytes(prng, region->ca_der, region->ca_size);
}

static void random_node(struct prng *prng, struct map_node *node)
{
	node->id = prng_next(prng);
	node->incarnation = prng_next(prng);
	random_place(prng, &node->place);
	node->addresses.count = (uint8_t)prng_below(prng, ADDRESSES_MAX + 1);
	for (unsigned i = 0; i < node->addresses.count; i++) {
		random_text(prng, node->addresses.at[i].address, ADDRESS_TEXT_MAX);
		if (i > 0)
			random_text(prng, node->addresses.at[i].from, 60);
	}
}

static void random_policy(struct prng *prng, struct policy *policy)
{
	static const char *const stores[] = { "*", "eu", "eu/de/eu-central-1", "cloud=aws" };
	policy->copies = (uint8_t)(1 + prng_below(prng, COPIES_MAX));
	policy->spread = (uint8_t)(SPREAD_NODE + prng_below(prng, 3));
	random_text(prng, policy->name, sizeof(policy->name));
	policy->store_in.count = (uint8_t)(1 + prng_below(prng, SELECTORS_MAX));
	for (unsigned i = 0; i < policy->store_in.count; i++)
		assert_true(selector_parse(stores[prng_below(prng, 4)], &policy->store_in.at[i], NULL));
	policy_complete(policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD);
	policy->line = (uint32_t)prng_next(prng);
}

static void random_binding(struct prng *prng, struct change_binding *binding)
{
	binding->exact = prng_chance(prng, 300000);
	if (binding->exact) {
		binding->hash.high = prng_next(prng);
		binding->hash.low = prng_next(prng);
	} else {
		binding->prefix_size = (uint16_t)prng_below(prng, BINDING_PREFIX_MAX + 1);
		random_bytes(prng, binding->prefix, binding->prefix_size);
	}
	random_text(prng, binding->policy, sizeof(binding->policy));
	binding->line = (uint32_t)prng_next(prng);
}

static void random_rules(struct prng *prng, struct whole *out)
{
	struct change *change = &out->change;
	change->policies = out->policies;
	change->bindings = out->bindings;
	change->policy_count = (uint32_t)prng_below(prng, POLICIES_MAX + 1);
	change->binding_count = (uint32_t)prng_below(prng, BINDINGS_MAX + 1);
	for (uint32_t i = 0; i < change->policy_count; i++)
		random_policy(prng, &change->policies[i]);
	for (uint32_t i = 0; i < change->binding_count; i++)
		random_binding(prng, &change->bindings[i]);
}

static void random_report(struct prng *prng, struct change *change)
{
	change->shard = prng_next(prng);
	change->operation = prng_next(prng);
	change->generation = prng_next(prng);
	change->membership_index = prng_next(prng);
	change->target_node = prng_next(prng);
	change->keys_found = prng_next(prng);
	change->version = prng_next(prng);
	change->replica_count = (uint8_t)prng_below(prng, REPLICAS_MAX + 1);
	for (unsigned i = 0; i < change->replica_count; i++) {
		change->replicas[i].replica = prng_next(prng);
		change->replicas[i].node = prng_next(prng);
		change->replicas[i].role = (uint8_t)prng_below(prng, ROLE_WITNESS + 1);
	}
}

static void random_head(struct prng *prng, struct ledger_head *head)
{
	head->at.sequence = 1 + prng_below(prng, 1000);
	random_bytes(prng, head->at.hash, sizeof(head->at.hash));
	head->time_us = prng_next(prng);
	head->signature_size = (uint8_t)prng_below(prng, LEDGER_SIGNATURE_MAX + 1);
	random_bytes(prng, head->signature, head->signature_size);
}

static void random_change(struct prng *prng, uint8_t kind, struct whole *out)
{
	memset(out, 0, sizeof(*out));
	struct change *change = &out->change;
	change->kind = kind;
	change->dry_run = prng_chance(prng, 500000);
	change->epoch = prng_next(prng);
	change->plan = prng_next(prng);
	change->now_us = prng_next(prng);
	if (kind == CHANGE_INIT) {
		random_text(prng, change->name, sizeof(change->name));
		random_bytes(prng, change->cluster, sizeof(change->cluster));
		random_bytes(prng, change->hash_secret, sizeof(change->hash_secret));
		random_bytes(prng, change->admin_spki_sha256, sizeof(change->admin_spki_sha256));
	}
	if (kind == CHANGE_INIT || kind == CHANGE_REGION_ADD)
		random_region(prng, &change->region);
	if (kind == CHANGE_INIT || kind == CHANGE_NODE_ADMIT || kind == CHANGE_NODE_ADDRESSES)
		random_node(prng, &change->node);
	if (kind == CHANGE_APPLY || kind == CHANGE_BINDING_SET || kind == CHANGE_BINDING_UNSET)
		random_rules(prng, out);
	if (kind >= CHANGE_SHARD_PLACE && kind <= CHANGE_META_REPORT)
		random_report(prng, change);
	if (kind == CHANGE_MOVE_REPORT) {
		change->shard = prng_next(prng);
		change->operation = prng_next(prng);
		change->keys_found = prng_next(prng);
		change->phase = (uint8_t)prng_below(prng, PHASE_ABORT + 1);
	}
	if ((kind >= CHANGE_NODE_STATE && kind <= CHANGE_NODE_REMOVE) || kind == CHANGE_REBALANCE)
		while (change->away_count < MAP_NODES_MAX && prng_below(prng, 4) != 0)
			change->away[change->away_count++] = prng_next(prng);
	if (kind == CHANGE_CANCEL)
		change->operation = prng_next(prng);
	if (kind == CHANGE_SHARD_SPLIT || kind == CHANGE_SHARD_MERGE) {
		change->shard = prng_next(prng);
		change->merged = prng_next(prng);
	}
	if (kind == CHANGE_LEDGER_HEAD) {
		change->node.id = prng_next(prng);
		random_head(prng, &change->node.ledger);
	}
	if ((kind >= CHANGE_NODE_STATE && kind <= CHANGE_NODE_REMOVE) || kind == CHANGE_REGION_REMOVE) {
		change->target_node = prng_next(prng);
		random_text(prng, change->name, sizeof(change->name));
		change->state = (uint8_t)prng_next(prng);
	}
}

static struct bytes encoded(const struct change *change, uint8_t *bytes)
{
	struct packer counter, packer;
	pack_init(&counter, NULL, 0);
	change_encode(change, &counter);
	pack_init(&packer, bytes, BYTES_MAX);
	change_encode(change, &packer);
	assert_false(packer.overflow);
	assert_int_equal(counter.size, packer.size);
	return pack_result(&packer);
}

static enum status decode(struct bytes bytes, struct whole *out)
{
	struct change_scratch scratch = { .policies = out->policies,
		.policy_max = POLICIES_MAX,
		.bindings = out->bindings,
		.binding_max = BINDINGS_MAX };
	return change_decode(bytes, &scratch, &out->change);
}

/* Every field, by way of the bytes: encoding is injective on what it carries, and a field that it forgot would come
 * back as zero. */
static void assert_same(const struct whole *a, const struct whole *b)
{
	struct change left = a->change, right = b->change;
	left.policies = right.policies = NULL;
	left.bindings = right.bindings = NULL;
	assert_memory_equal(&left, &right, sizeof(left));
	for (uint32_t i = 0; i < a->change.policy_count; i++) {
		assert_true(policy_equal(&a->policies[i], &b->policies[i]));
		assert_string_equal(a->policies[i].name, b->policies[i].name);
		assert_int_equal(a->policies[i].line, b->policies[i].line);
	}
	assert_memory_equal(a->bindings, b->bindings, sizeof(a->bindings[0]) * a->change.binding_count);
}

static struct whole from, to;
static uint8_t space[BYTES_MAX], damaged[BYTES_MAX];

static void test_round_trip(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 3);
	for (unsigned i = 0; i < 600; i++) {
		random_change(&prng, (uint8_t)(CHANGE_INIT + i % CHANGE_KIND_LAST), &from);
		memset(&to, 0xee, sizeof(to));
		assert_int_equal(decode(encoded(&from.change, space), &to), STATUS_OK);
		assert_same(&from, &to);
	}
}

static void test_every_cut_is_refused(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 4);
	for (uint8_t kind = CHANGE_INIT; kind <= CHANGE_KIND_LAST; kind++) {
		random_change(&prng, kind, &from);
		struct bytes bytes = encoded(&from.change, space);
		size_t step = 1 + bytes.size / 400;
		for (size_t size = 0; size < bytes.size; size += step)
			assert_int_not_equal(decode(bytes_of(bytes.data, size), &to), STATUS_OK);
		assert_int_not_equal(decode(bytes_of(bytes.data, bytes.size - 1), &to), STATUS_OK);
		space[bytes.size] = 0;
		assert_int_equal(decode(bytes_of(space, bytes.size + 1), &to), STATUS_INVALID);
	}
}

/* Whatever the bytes: no crash (under the sanitizers), and what decodes is within bounds and encodes again. */
static void test_damage_is_contained(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 5);
	unsigned decoded = 0, refused = 0;
	for (unsigned i = 0; i < 20000; i++) {
		random_change(&prng, (uint8_t)(CHANGE_INIT + i % CHANGE_KIND_LAST), &from);
		struct bytes bytes = encoded(&from.change, space);
		for (uint64_t flips = 1 + prng_below(&prng, 3); flips > 0; flips--)
			space[prng_below(&prng, bytes.size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
		if (decode(bytes, &to) != STATUS_OK) {
			refused++;
			continue;
		}
		decoded++;
		assert_true(to.change.policy_count <= POLICIES_MAX);
		assert_true(to.change.binding_count <= BINDINGS_MAX);
		assert_true(to.change.replica_count <= REPLICAS_MAX);
		for (uint32_t j = 0; j < to.change.binding_count; j++)
			assert_true(to.bindings[j].prefix_size <= BINDING_PREFIX_MAX);
		struct bytes again = encoded(&to.change, damaged);
		assert_true(bytes_equal(again, bytes));
	}
	assert_true(decoded > 100);
	assert_true(refused > 100);
}

static void test_versions_kinds_and_room(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 6);
	random_change(&prng, CHANGE_SHARD_LEAD, &from);
	struct bytes bytes = encoded(&from.change, space);
	space[0]++;
	assert_int_equal(decode(bytes, &to), STATUS_UNSUPPORTED); /* a newer format */
	space[0] = 0;
	assert_int_equal(decode(bytes, &to), STATUS_INVALID);
	space[0] = 1;
	space[1] = 200; /* a newer kind */
	assert_int_equal(decode(bytes, &to), STATUS_UNSUPPORTED);
	do
		random_change(&prng, CHANGE_APPLY, &from);
	while (from.change.policy_count < 2 || from.change.binding_count < 2);
	bytes = encoded(&from.change, space);
	struct change_scratch scratch = {
		.policies = to.policies, .policy_max = 1, .bindings = to.bindings, .binding_max = BINDINGS_MAX
	};
	assert_int_equal(change_decode(bytes, &scratch, &to.change), STATUS_TOO_LARGE);
	scratch.policy_max = POLICIES_MAX;
	scratch.binding_max = 1;
	assert_int_equal(change_decode(bytes, &scratch, &to.change), STATUS_TOO_LARGE);
	assert_int_equal(decode(bytes, &to), STATUS_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_cut_is_refused),
		cmocka_unit_test(test_damage_is_contained),
		cmocka_unit_test(test_versions_kinds_and_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
