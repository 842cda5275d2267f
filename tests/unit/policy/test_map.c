/* tests/unit/policy/test_map.c: lookups against plain search, the map's bytes, and damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/unit/policy/policies.h"

static struct cluster_map *map;

static int set_up(void **state)
{
	(void)state;
	map = map_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(map);
	return 0;
}

static uint64_t policy_of(const char *key)
{
	const struct map_binding *binding = map_binding_of(map, bytes_text(key));
	return binding ? binding->policy : 0;
}

static void test_longest_match(void **state)
{
	(void)state;
	assert_int_equal(policy_of("pat/eu/1"), 0);
	bind_prefix(map, "pat/", 2);
	bind_prefix(map, "pat/eu/", 3);
	bind_prefix(map, "pat/us/", 4);
	bind_key(map, "pat/eu/7", 5);
	assert_int_equal(policy_of("other"), 0);
	assert_int_equal(policy_of("pat"), 0);
	assert_int_equal(policy_of("pat/"), 2);
	assert_int_equal(policy_of("pat/x"), 2);
	assert_int_equal(policy_of("pat/eu/"), 3);
	assert_int_equal(policy_of("pat/us/1"), 4);
	assert_int_equal(policy_of("pat/eu/7"), 5);
	assert_int_equal(policy_of("pat/eu/70"), 3);
	bind_prefix(map, "", 1);
	assert_int_equal(policy_of("other"), 1);
	assert_int_equal(policy_of("pat"), 1);
	assert_int_equal(map_binding_by_prefix(map, bytes_text(""))->policy, 1);
	assert_int_equal(map_binding_by_prefix(map, bytes_text("pat/us/"))->policy, 4);
	assert_null(map_binding_by_prefix(map, bytes_text("pat/u")));
	assert_null(map_binding_by_prefix(map, bytes_text("pat/eu/7")));
	struct hash128 hash = hash_keyed(bytes_text("pat/eu/7"), map->hash_secret);
	assert_int_equal(map_binding_by_hash(map, hash)->policy, 5);
	hash.low++;
	assert_null(map_binding_by_hash(map, hash));
}

/* A pending binding that is still to come is passed over. */
static void test_pending(void **state)
{
	(void)state;
	bind_prefix(map, "", 1);
	bind_prefix(map, "a/", 2)->pending_operation = 77;
	bind_key(map, "k", 3)->pending_operation = 77;
	assert_int_equal(policy_of("a/1"), 1);
	assert_int_equal(policy_of("k"), 1);
	assert_int_equal(map_binding_pending_of(map, bytes_text("a/1"))->policy, 2);
	assert_int_equal(map_binding_pending_of(map, bytes_text("k"))->policy, 3);
	assert_null(map_binding_pending_of(map, bytes_text("b")));
	bind_prefix(map, "a/b/", 4); /* closer than what is pending: not concerned */
	assert_int_equal(policy_of("a/b/1"), 4);
	assert_null(map_binding_pending_of(map, bytes_text("a/b/1")));
}

static size_t random_key(struct prng *prng, char *out, size_t max)
{
	size_t size = prng_below(prng, max);
	for (size_t i = 0; i < size; i++)
		out[i] = (char)('a' + prng_below(prng, 2));
	return size;
}

static const struct map_binding *slow_binding(struct bytes key)
{
	const struct map_binding *best = NULL;
	struct hash128 hash = hash_keyed(key, map->hash_secret);
	for (uint32_t i = 0; i < map->binding_count; i++) {
		const struct map_binding *one = &map->bindings[i];
		if (one->exact && hash128_equal(one->hash, hash))
			return one;
		if (!one->exact && bytes_starts_with(key, bytes_of(one->prefix, one->prefix_size)) &&
			(!best || one->prefix_size > best->prefix_size))
			best = one;
	}
	return best;
}

static void random_bindings(struct prng *prng, unsigned count)
{
	map->binding_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct map_binding binding = { .policy = 1 + prng_below(prng, 9), .exact = prng_below(prng, 4) == 0 };
		char key[12];
		size_t size = random_key(prng, key, sizeof(key));
		if (binding.exact) {
			binding.hash = hash_keyed(bytes_of(key, size), map->hash_secret);
		} else {
			binding.prefix_size = (uint16_t)size;
			memcpy(binding.prefix, key, size);
		}
		bool twice = false;
		for (uint32_t j = 0; j < map->binding_count; j++)
			twice |= map_binding_compare(&map->bindings[j], &binding) == 0;
		if (!twice)
			add_binding(map, binding);
	}
}

static void test_bindings_against_plain_search(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 3);
	for (unsigned run = 0; run < 300; run++) {
		random_bindings(&prng, (unsigned)prng_below(&prng, 60));
		for (unsigned i = 0; i < 100; i++) {
			char key[14];
			size_t size = random_key(&prng, key, sizeof(key));
			assert_ptr_equal(map_binding_of(map, bytes_of(key, size)), slow_binding(bytes_of(key, size)));
		}
	}
}

static bool holds(const uint64_t *policies, unsigned count, uint64_t policy)
{
	for (unsigned i = 0; i < count; i++)
		if (policies[i] == policy)
			return true;
	return false;
}

static void test_policies_under(void **state)
{
	(void)state;
	uint64_t policies[8];
	bind_prefix(map, "", 1);
	bind_prefix(map, "pat/", 2);
	bind_prefix(map, "pat/eu/", 3);
	bind_prefix(map, "pat/us/", 3);
	bind_prefix(map, "zzz/", 9);
	assert_int_equal(map_policies_under(map, bytes_text(""), policies, 8), 4);
	assert_int_equal(policies[0], 1);
	assert_int_equal(policies[3], 9);
	assert_int_equal(map_policies_under(map, bytes_text("pa"), policies, 8), 3);
	assert_int_equal(map_policies_under(map, bytes_text("pat/"), policies, 8), 2);
	assert_int_equal(policies[0], 2);
	assert_int_equal(policies[1], 3);
	assert_int_equal(map_policies_under(map, bytes_text("pat/eu/1"), policies, 8), 1);
	assert_int_equal(policies[0], 3);
	/* more than there is room for is told */
	assert_int_equal(map_policies_under(map, bytes_text(""), policies, 4), 4);
	assert_int_equal(map_policies_under(map, bytes_text(""), policies, 3), 4);
	assert_int_equal(map_policies_under(map, bytes_text(""), policies, 0), 1);
	/* an exact key could begin with anything */
	bind_key(map, "pat/eu/7", 5);
	assert_int_equal(map_policies_under(map, bytes_text("zzz/"), policies, 8), 2);
	map->binding_count = 0;
	assert_int_equal(map_policies_under(map, bytes_text(""), policies, 8), 0);
}

/* Whatever key begins with the prefix: its policy is among them. */
static void test_policies_under_miss_no_key(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 4);
	for (unsigned run = 0; run < 3000; run++) {
		if (run % 50 == 0)
			random_bindings(&prng, 40);
		char key[14];
		uint64_t policies[10];
		size_t size = random_key(&prng, key, sizeof(key));
		size_t prefix = prng_below(&prng, size + 1);
		const struct map_binding *binding = map_binding_of(map, bytes_of(key, size));
		unsigned count = map_policies_under(map, bytes_of(key, prefix), policies, 10);
		assert_true(count <= 9);
		if (binding)
			assert_true(holds(policies, count, binding->policy));
		for (unsigned i = 1; i < count; i++)
			assert_true(policies[i - 1] < policies[i]);
	}
}

static void add_shards(uint64_t policy, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct map_shard *shard = &map->shards[map->shard_count++];
		uint64_t width = UINT64_MAX / count + 1;
		*shard = (struct map_shard){ .id = map->id_next++, .policy = policy, .hash_first = width * i };
		shard->hash_last = i + 1 == count ? UINT64_MAX : width * (i + 1) - 1;
	}
}

static void test_shard_of(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 6);
	assert_null(map_shard_of(map, 10, bytes_text("k")));
	add_shards(10, 8);
	add_shards(12, 2);
	add_shards(14, 4);
	unsigned used[16] = { 0 };
	for (unsigned i = 0; i < 2000; i++) {
		char key[16];
		size_t size = random_key(&prng, key, sizeof(key));
		uint64_t hash = hash_key(bytes_of(key, size));
		for (uint64_t policy = 9; policy <= 15; policy++) {
			const struct map_shard *shard = map_shard_of(map, policy, bytes_of(key, size));
			assert_int_equal(shard != NULL, policy == 10 || policy == 12 || policy == 14);
			if (!shard)
				continue;
			assert_int_equal(shard->policy, policy);
			assert_true(hash >= shard->hash_first && hash <= shard->hash_last);
			used[shard - map->shards]++;
		}
	}
	for (unsigned i = 0; i < map->shard_count; i++)
		assert_true(used[i] > 0);
	map->shards[0].hash_last = 0; /* a gap: nobody's */
	unsigned missed = 0;
	for (char c = 'a'; c <= 'z'; c++)
		missed += map_shard_of(map, 10, bytes_of(&c, 1)) == NULL;
	assert_true(missed > 0);
}

static void test_find_by_id(void **state)
{
	(void)state;
	add_shards(10, 8);
	for (uint64_t id = 0; id < 20; id++) {
		const struct map_shard *shard = map_shard_find(map, id);
		assert_int_equal(shard != NULL, id >= 2 && id < 10);
		if (shard)
			assert_int_equal(shard->id, id);
	}
	/* not in order of id: still found */
	struct map_shard first = map->shards[0];
	map->shards[0] = map->shards[7];
	map->shards[7] = first;
	for (uint64_t id = 2; id < 10; id++)
		assert_int_equal(map_shard_find(map, id)->id, id);
	assert_null(map_node_find(map, 2));
	assert_null(map_policy_find(map, 2));
	assert_null(map_policy_by_name(map, "p"));
	struct policy p = policy_named("p", "*");
	p.id = 44;
	map->policies[map->policy_count++] = p;
	assert_ptr_equal(map_policy_find(map, 44), map->policies);
	assert_ptr_equal(map_policy_by_name(map, "p"), map->policies);
	assert_null(map_policy_by_name(map, "pp"));
}

static void test_regions_nodes_sites(void **state)
{
	(void)state;
	add_region(map, "eu/ie/eu-west-1", "cloud=aws tier=edge");
	add_region(map, "us/us-east-1", "");
	add_node(map, "eu/ie/eu-west-1/a/n1");
	add_node(map, "us/us-east-1/a/n1");
	add_node(map, "us/us-east-1/b/n2");
	assert_ptr_equal(map_region_find(map, "eu-west-1"), &map->regions[0]);
	assert_ptr_equal(map_region_find(map, "us/us-east-1"), &map->regions[1]);
	assert_null(map_region_find(map, "us"));
	assert_ptr_equal(map_node_by_place(map, "us/us-east-1/a/n1"), &map->nodes[1]);
	assert_ptr_equal(map_node_by_place(map, "n2"), &map->nodes[2]);
	assert_ptr_equal(map_node_by_place(map, "eu-west-1/a/n1"), &map->nodes[0]);
	assert_null(map_node_by_place(map, "a/n1")); /* two of them */
	assert_null(map_node_by_place(map, "1"));
	assert_null(map_node_by_place(map, ""));
	struct site made;
	assert_true(map_site(map, &map->nodes[0].place, &made));
	assert_string_equal(made.place.text, "eu/ie/eu-west-1/a/n1");
	assert_int_equal(made.tag_count, 2);
	assert_string_equal(made.tags[1], "tier=edge");
	struct place elsewhere = site("eu/ie/eu-west-11/a/n1", "").place;
	assert_false(map_site(map, &elsewhere, &made));
	elsewhere = site("eu", "").place;
	assert_null(map_region_of(map, &elsewhere));
}

static void add_address(struct address_list *list, const char *from, const char *address)
{
	struct address_from *at = &list->at[list->count++];
	*at = (struct address_from){ 0 };
	memcpy(at->from, from, strlen(from) + 1);
	memcpy(at->address, address, strlen(address) + 1);
}

static void test_addresses(void **state)
{
	(void)state;
	struct address_list list = { 0 };
	struct place dialler = site("us/us-east-1/a/n1", "").place;
	assert_null(address_for(&list, &dialler));
	add_address(&list, "eu", "eu.example:1");
	assert_null(address_for(&list, &dialler));
	add_address(&list, "", "any.example:1");
	assert_string_equal(address_for(&list, &dialler), "any.example:1");
	add_address(&list, "us/us-east-1", "east.example:1");
	add_address(&list, "us", "us.example:1");
	assert_string_equal(address_for(&list, &dialler), "east.example:1");
	uint8_t bytes[4096];
	struct packer packer;
	struct unpacker unpacker;
	struct address_list after;
	pack_init(&packer, bytes, sizeof(bytes));
	address_list_encode(&list, &packer);
	unpack_init(&unpacker, pack_result(&packer));
	assert_int_equal(address_list_decode(&unpacker, &after), STATUS_OK);
	assert_true(unpack_end(&unpacker));
	assert_memory_equal(&list, &after, sizeof(list));
	bytes[0] = ADDRESSES_MAX + 1;
	unpack_init(&unpacker, pack_result(&packer));
	assert_int_equal(address_list_decode(&unpacker, &after), STATUS_INVALID);
	assert_int_equal(after.count, 0);
}

/* --- bytes ---------------------------------------------------------------------------------------------- */

static struct bytes full_map(uint8_t *out, size_t capacity)
{
	struct prng prng;
	prng_seed(&prng, 9);
	map->epoch = 17;
	memcpy(map->name, "acme", 5);
	memset(map->hash_secret, 7, sizeof(map->hash_secret));
	struct map_region *region = add_region(map, "eu/ie/eu-west-1", "cloud=aws");
	region->latitude = 53.3;
	region->longitude = -6.2;
	region->ca_size = 300;
	memset(region->ca_der, 3, 300);
	region = add_region(map, "us/us-east-1", "");
	region->latitude = region->longitude = __builtin_nan("");
	add_address(&add_node(map, "eu/ie/eu-west-1/a/n1")->addresses, "", "h:1");
	struct map_node *node = add_node(map, "us/us-east-1/a/n1");
	node->meta_voter = true;
	node->meta_replica = 4;
	node->incarnation = 5;
	struct policy p = policy_named("p", "eu us");
	p.id = 10;
	policy_complete(&p, FIELD_STORE_IN);
	map->policies[map->policy_count++] = p;
	random_bindings(&prng, 30);
	map->bindings[3].pending_operation = 8;
	map->id_next = 100;
	add_shards(10, 8);
	map->shards[0].replica_count = map->shards[0].wanted_count = 2;
	map->shards[0].replicas[0] = map->shards[0].wanted[1] = (struct map_replica){ 30, 2, ROLE_VOTER };
	map->shards[0].replicas[1] = map->shards[0].wanted[0] = (struct map_replica){ 31, 3, ROLE_LEARNER };
	struct map_operation *operation = &map->operations[map->operation_count++];
	*operation = (struct map_operation){ .id = 8,
		.kind = OPERATION_BINDING,
		.state = OPERATION_RUNNING,
		.steps = 3,
		.phase = PHASE_COPY,
		.phase_epoch = 5,
		.keys = 7,
		.version = 8,
		.source_count = 1,
		.sources = { 2 },
		.target_count = 2,
		.targets = { 3, 4 },
		.prefix_size = 2,
		.prefix = "a/" };
	memcpy(operation->text, "moves", 6);
	operation->shards_done[2] = 12;
	struct packer packer;
	pack_init(&packer, out, capacity);
	cluster_map_encode(map, &packer);
	assert_false(packer.overflow);
	struct packer counter;
	pack_init(&counter, NULL, 0);
	cluster_map_encode(map, &counter);
	assert_int_equal(counter.size, packer.size);
	return pack_result(&packer);
}

static void test_bytes_and_back(void **state)
{
	(void)state;
	static uint8_t bytes[65536];
	static uint8_t again[65536];
	struct bytes encoded = full_map(bytes, sizeof(bytes));
	struct cluster_map *copy = map_new();
	/* over the remains of another map */
	assert_int_equal(cluster_map_decode(encoded, copy), STATUS_OK);
	assert_int_equal(cluster_map_decode(encoded, copy), STATUS_OK);
	assert_int_equal(copy->epoch, 17);
	assert_string_equal(copy->name, "acme");
	assert_memory_equal(copy->regions, map->regions, 2 * sizeof(*map->regions));
	assert_memory_equal(copy->nodes, map->nodes, 2 * sizeof(*map->nodes));
	assert_memory_equal(copy->policies, map->policies, sizeof(*map->policies));
	assert_memory_equal(copy->shards, map->shards, 8 * sizeof(*map->shards));
	assert_memory_equal(copy->operations, map->operations, sizeof(*map->operations));
	for (uint32_t i = 0; i < map->binding_count; i++)
		assert_int_equal(map_binding_compare(&copy->bindings[i], &map->bindings[i]), 0);
	struct packer packer;
	pack_init(&packer, again, sizeof(again));
	cluster_map_encode(copy, &packer);
	assert_true(bytes_equal(pack_result(&packer), encoded));
	free(copy);
}

static void expect_empty(const struct cluster_map *copy)
{
	static const uint8_t zeroes[16];
	assert_int_equal(copy->epoch, 0);
	assert_int_equal(copy->region_count + copy->node_count + copy->policy_count, 0);
	assert_int_equal(copy->binding_count + copy->shard_count + copy->operation_count + copy->version_count, 0);
	assert_memory_equal(copy->hash_secret, zeroes, sizeof(zeroes));
}

static void test_damaged_bytes(void **state)
{
	(void)state;
	static uint8_t bytes[65536];
	static uint8_t bad[65536];
	struct bytes encoded = full_map(bytes, sizeof(bytes));
	struct cluster_map *copy = map_new();
	struct prng prng;
	prng_seed(&prng, 10);
	for (size_t size = 0; size < encoded.size; size++) {
		assert_int_equal(cluster_map_decode(bytes_of(bytes, size), copy), STATUS_INVALID);
		expect_empty(copy);
	}
	memcpy(bad, bytes, encoded.size);
	assert_int_equal(cluster_map_decode(bytes_of(bad, encoded.size + 1), copy), STATUS_INVALID);
	unsigned accepted = 0;
	for (unsigned run = 0; run < 20000; run++) {
		memcpy(bad, bytes, encoded.size);
		for (uint64_t n = 1 + prng_below(&prng, 3); n > 0; n--)
			bad[prng_below(&prng, encoded.size)] = (uint8_t)prng_next(&prng);
		if (cluster_map_decode(bytes_of(bad, encoded.size), copy) != STATUS_OK) {
			expect_empty(copy);
			continue;
		}
		accepted++;
		for (uint32_t i = 0; i < copy->node_count; i++)
			assert_true(copy->nodes[i].region < copy->region_count);
		for (uint32_t i = 1; i < copy->binding_count; i++)
			assert_true(map_binding_compare(&copy->bindings[i - 1], &copy->bindings[i]) < 0);
		assert_true(copy->shards[0].replica_count <= REPLICAS_MAX);
		map_binding_of(copy, bytes_of(bad, 9));
		map_shard_of(copy, 10, bytes_of(bad, 9));
	}
	assert_true(accepted > 1000); /* most bytes are free: ids, keys */
	memcpy(bad, bytes, encoded.size);
	for (unsigned version = 1; version < 256; version++) { /* newer ones, and older ones, are refused by name */
		bad[0] = (uint8_t)version;
		if (version == bytes[0])
			continue;
		assert_int_equal(cluster_map_decode(bytes_of(bad, encoded.size), copy), STATUS_UNSUPPORTED);
		expect_empty(copy);
	}
	copy->binding_max = map->binding_count - 1;
	assert_int_equal(cluster_map_decode(encoded, copy), STATUS_TOO_LARGE);
	expect_empty(copy);
	free(copy);
}

static void test_order_is_asked(void **state)
{
	(void)state;
	static uint8_t bytes[65536];
	struct cluster_map *copy = map_new();
	struct packer packer;
	bind_prefix(map, "a", 1);
	bind_prefix(map, "b", 1);
	add_shards(10, 2);
	pack_init(&packer, bytes, sizeof(bytes));
	cluster_map_encode(map, &packer);
	assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_OK);
	map->bindings[0].prefix[0] = 'c';
	pack_init(&packer, bytes, sizeof(bytes));
	cluster_map_encode(map, &packer);
	assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_INVALID);
	map->bindings[0].prefix[0] = 'a';
	map->shards[0].hash_last++; /* two shards for one hash */
	pack_init(&packer, bytes, sizeof(bytes));
	cluster_map_encode(map, &packer);
	assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_INVALID);
	free(copy);
}

/* Three versions of a policy at the epochs 3, 5 and 9. */
static void add_versions(struct cluster_map *in)
{
	static const uint64_t epochs[] = { 3, 5, 9 };
	struct policy policy = policy_named("p", "eu");
	policy.copies = 3;
	policy.spread = SPREAD_NODE;
	policy_complete(&policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD);
	policy.id = 70;
	for (unsigned i = 0; i < 2; i++) {
		in->versions[i] = (struct policy_version){ .rules = policy,
			.since_us = epochs[i] * 100,
			.until_epoch = epochs[i + 1],
			.until_us = epochs[i + 1] * 100 };
		in->versions[i].rules.epoch = epochs[i];
		in->versions[i].rules.copies = (uint8_t)(i + 1);
	}
	in->version_count = 2;
	policy.epoch = epochs[2];
	policy.changed_us = 900;
	in->policies[0] = policy;
	in->policy_count = 1;
}

static void test_rules_as_of(void **state)
{
	(void)state;
	add_versions(map);
	uint64_t since, until;
	assert_null(map_policy_as_of(map, 70, 2, &since, &until));
	assert_null(map_policy_as_of(map, 71, 5, &since, &until));
	assert_int_equal(map_policy_as_of(map, 70, 3, &since, &until)->copies, 1);
	assert_int_equal(since, 300);
	assert_int_equal(until, 500);
	assert_int_equal(map_policy_as_of(map, 70, 4, &since, &until)->copies, 1);
	assert_int_equal(map_policy_as_of(map, 70, 8, &since, &until)->copies, 2);
	assert_int_equal(map_policy_as_of(map, 70, 9, &since, &until)->copies, 3);
	assert_int_equal(since, 900);
	assert_int_equal(until, 0);
	assert_int_equal(map_policy_as_of(map, 70, 1000, &since, &until)->copies, 3);
}

/* There and back; a map with room for less keeps the newest. */
static void test_versions_as_bytes(void **state)
{
	(void)state;
	static uint8_t bytes[16 * 1024];
	struct packer packer;
	uint64_t since, until;
	add_versions(map);
	pack_init(&packer, bytes, sizeof(bytes));
	cluster_map_encode(map, &packer);
	assert_false(packer.overflow);
	struct map_limits limits = map_limits_default;
	for (limits.versions = 0; limits.versions < 4; limits.versions++) {
		void *memory = calloc(1, cluster_map_size(&limits));
		assert_non_null(memory);
		struct cluster_map *copy = cluster_map_init(memory, &limits);
		assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_OK);
		assert_int_equal(copy->version_count, limits.versions > 2 ? 2 : limits.versions);
		assert_int_equal(copy->policies[0].changed_us, 900);
		const struct policy *first = map_policy_as_of(copy, 70, 3, &since, &until);
		assert_true((first != NULL) == (limits.versions >= 2));
		const struct policy *second = map_policy_as_of(copy, 70, 5, &since, &until);
		assert_true((second != NULL) == (limits.versions >= 1));
		free(memory);
	}
	map->versions[0].until_epoch = map->versions[0].rules.epoch; /* never in force */
	pack_init(&packer, bytes, sizeof(bytes));
	cluster_map_encode(map, &packer);
	struct cluster_map *copy = map_new();
	assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_INVALID);
	assert_int_equal(copy->version_count, 0);
	free(copy);
}

/* Of those that were decommissioned a reader keeps the last, as many as it has room for. */
static void test_formers_as_bytes(void **state)
{
	(void)state;
	static uint8_t bytes[1 << 20];
	struct packer packer;
	for (uint32_t i = 0; i < 3; i++) {
		struct map_former *former = &map->formers[map->former_count++];
		*former = (struct map_former){ .id = 100 + i, .incarnation = 5 + i, .gone_us = 1000 + i };
		assert_true(place_parse("eu/de/eu-central-1/a/n3", &former->place, NULL));
		former->ledger.at.sequence = 9 + i;
		former->ledger.signature_size = 3;
	}
	pack_init(&packer, bytes, sizeof(bytes));
	cluster_map_encode(map, &packer);
	assert_false(packer.overflow);
	struct map_limits limits = map_limits_default;
	for (limits.formers = 0; limits.formers < 5; limits.formers++) {
		void *memory = calloc(1, cluster_map_size(&limits));
		assert_non_null(memory);
		struct cluster_map *copy = cluster_map_init(memory, &limits);
		assert_int_equal(cluster_map_decode(pack_result(&packer), copy), STATUS_OK);
		assert_int_equal(copy->former_count, limits.formers > 3 ? 3 : limits.formers);
		for (uint32_t i = 0; i < copy->former_count; i++)
			assert_memory_equal(
				&copy->formers[i], &map->formers[3 - copy->former_count + i], sizeof(copy->formers[i]));
		free(memory);
	}
}

static void test_memory_is_laid_out_apart(void **state)
{
	(void)state;
	struct map_limits limits = { 1, 3, 1, 5, 7, 2, 3, 2 };
	size_t size = cluster_map_size(&limits);
	uint8_t *memory = calloc(1, size);
	assert_non_null(memory);
	struct cluster_map *small = cluster_map_init(memory, &limits);
	const void *arrays[] = { small->regions, small->nodes, small->policies, small->bindings, small->shards,
		small->operations, small->versions, small->formers };
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal((uintptr_t)arrays[i] % 8, 0);
	/* the last byte of each is ours: the sanitizer watches */
	memset(small->regions, 1, sizeof(*small->regions));
	memset(small->nodes, 2, 3 * sizeof(*small->nodes));
	memset(small->policies, 3, sizeof(*small->policies));
	memset(small->bindings, 4, 5 * sizeof(*small->bindings));
	memset(small->shards, 5, 7 * sizeof(*small->shards));
	memset(small->operations, 6, 2 * sizeof(*small->operations));
	memset(small->versions, 7, 3 * sizeof(*small->versions));
	memset(small->formers, 8, 2 * sizeof(*small->formers));
	assert_int_equal(small->region_max, 1);
	assert_int_equal(((const uint8_t *)small->regions)[sizeof(*small->regions) - 1], 1);
	assert_int_equal(((const uint8_t *)small->bindings)[5 * sizeof(*small->bindings) - 1], 4);
	assert_true((const uint8_t *)(small->operations + 2) <= (const uint8_t *)small->versions);
	assert_true((const uint8_t *)(small->versions + 3) <= (const uint8_t *)small->formers);
	assert_true((const uint8_t *)(small->formers + 2) <= memory + size);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_longest_match, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pending, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bindings_against_plain_search, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_policies_under, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_policies_under_miss_no_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_shard_of, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_find_by_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_regions_nodes_sites, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bytes_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order_is_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rules_as_of, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_versions_as_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_formers_as_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_memory_is_laid_out_apart, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
