/* tests/unit/replication/meta_map.h: a cluster map and changes of it, for the tests of meta. */
#ifndef DOMICILE_TESTS_REPLICATION_META_MAP_H
#define DOMICILE_TESTS_REPLICATION_META_MAP_H

#include <stdlib.h>
#include <string.h>

#include "policy/change.h"
#include "replication/meta.h"

static const struct map_limits test_limits = { .regions = 6,
	.nodes = 24,
	.policies = 16,
	.bindings = 40,
	.shards = 128,
	.operations = 6,
	.versions = 12,
	.formers = 2 };

static inline struct cluster_map *map_new(void)
{
	return cluster_map_init(calloc(1, cluster_map_size(&test_limits)), &test_limits);
}

static inline void change_region(struct change *change, const char *place, const char *tag)
{
	memset(change, 0, sizeof(*change));
	change->kind = CHANGE_REGION_ADD;
	strcpy(change->region.site.place.text, place);
	if (tag) {
		change->region.site.tag_count = 1;
		strcpy(change->region.site.tags[0], tag);
	}
	change->region.latitude = 50;
	change->region.longitude = 8.5;
	change->region.ca_size = 3;
	memcpy(change->region.ca_der, "der", 3);
	memset(change->region.spki_sha256, place[0], sizeof(change->region.spki_sha256));
}

static inline void change_node(struct change *change, const char *place, uint64_t incarnation)
{
	memset(change, 0, sizeof(*change));
	change->kind = CHANGE_NODE_ADMIT;
	strcpy(change->node.place.text, place);
	change->node.incarnation = incarnation;
	change->node.addresses.count = 1;
	strcpy(change->node.addresses.at[0].address, "127.0.0.1:7470");
}

static inline void change_init(struct change *change, const char *region, const char *node)
{
	struct change admit;
	change_node(&admit, node, 1);
	change_region(change, region, NULL);
	change->kind = CHANGE_INIT;
	change->node = admit.node;
	strcpy(change->name, "acme");
	memset(change->cluster, 7, sizeof(change->cluster));
	memset(change->hash_secret, 8, sizeof(change->hash_secret));
}

static inline bool selectors_add(struct selectors *selectors, const char *text)
{
	return selector_parse(text, &selectors->at[selectors->count++], NULL);
}

/* Open to all readers, so that only store_in tells policies apart unless a test says more. */
static inline struct policy policy_of(const char *name, const char *store_in, uint8_t copies, uint8_t spread)
{
	struct policy policy = { .copies = copies, .spread = spread };
	strcpy(policy.name, name);
	selectors_add(&policy.store_in, store_in);
	selectors_add(&policy.read_from, "*");
	selectors_add(&policy.write_from, "*");
	policy_complete(&policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD | FIELD_READ_FROM | FIELD_WRITE_FROM);
	return policy;
}

static inline struct change_binding binding_of(const char *prefix, const char *policy)
{
	struct change_binding binding = { .prefix_size = (uint16_t)strlen(prefix) };
	memcpy(binding.prefix, prefix, strlen(prefix));
	strcpy(binding.policy, policy);
	return binding;
}

static inline struct change_binding exact_of(uint64_t hash, const char *policy)
{
	struct change_binding binding = { .exact = true, .hash = { .high = hash, .low = ~hash } };
	strcpy(binding.policy, policy);
	return binding;
}

static inline const struct map_binding *binding_at(const struct cluster_map *map, const char *prefix)
{
	return map_binding_by_prefix(map, bytes_text(prefix));
}

#endif
