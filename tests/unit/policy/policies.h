/* tests/unit/policy/policies.h: policies, sites and maps written in a line, for the tests of this folder. */
#ifndef DOMICILE_TESTS_POLICIES_H
#define DOMICILE_TESTS_POLICIES_H

#include <stdlib.h>
#include <string.h>

#include "policy/map.h"

static inline struct selector selector(const char *text)
{
	struct selector parsed;
	if (!selector_parse(text, &parsed, NULL))
		fail_msg("'%s' is no selector", text);
	return parsed;
}

/* "eu us/us-east-1 cloud=aws"; "" is the empty list. */
static inline struct selectors selectors(const char *words)
{
	struct selectors list = { 0 };
	while (*words) {
		char word[SELECTOR_TEXT_MAX] = { 0 };
		size_t size = strcspn(words, " ");
		assert_true(size < sizeof(word));
		memcpy(word, words, size);
		list.at[list.count++] = selector(word);
		words += size;
		words += *words == ' ';
	}
	return list;
}

/* Bare: policy_complete is up to the caller. */
static inline struct policy policy_named(const char *name, const char *store_in)
{
	struct policy policy = { .store_in = selectors(store_in) };
	memcpy(policy.name, name, strlen(name) + 1);
	return policy;
}

static inline void copy_in(struct policy *policy, const char *in, uint8_t copies)
{
	policy->copy_in[policy->copy_in_count++] = (struct copy_rule){ .in = selector(in), .copies = copies };
}

static inline struct site site(const char *place, const char *tags)
{
	struct site made = { 0 };
	struct selectors list = selectors(tags);
	if (!place_parse(place, &made.place, NULL))
		fail_msg("'%s' is no place", place);
	for (unsigned i = 0; i < list.count; i++)
		memcpy(made.tags[made.tag_count++], list.at[i].text, TAG_TEXT_MAX);
	return made;
}

static inline struct cluster_map *map_new(void)
{
	struct cluster_map *map = calloc(1, cluster_map_size(&map_limits_default));
	assert_non_null(map);
	map = cluster_map_init(map, &map_limits_default);
	map->epoch = 1;
	map->id_next = 2;
	return map;
}

static inline struct map_region *add_region(struct cluster_map *map, const char *place, const char *tags)
{
	struct map_region *region = &map->regions[map->region_count++];
	*region = (struct map_region){ .site = site(place, tags) };
	const char *name = place_last(&region->site.place);
	memcpy(region->name, name, strlen(name) + 1);
	return region;
}

/* The place's region must be there. */
static inline struct map_node *add_node(struct cluster_map *map, const char *place)
{
	struct map_node *node = &map->nodes[map->node_count++];
	*node = (struct map_node){ .id = map->id_next++, .place = site(place, "").place };
	const struct map_region *region = map_region_of(map, &node->place);
	assert_non_null(region);
	node->region = (uint16_t)(region - map->regions);
	return node;
}

/* Where it belongs in the order. */
static inline struct map_binding *add_binding(struct cluster_map *map, struct map_binding binding)
{
	uint32_t at = map->binding_count++;
	for (; at > 0 && map_binding_compare(&binding, &map->bindings[at - 1]) < 0; at--)
		map->bindings[at] = map->bindings[at - 1];
	map->bindings[at] = binding;
	return &map->bindings[at];
}

static inline struct map_binding *bind_prefix(struct cluster_map *map, const char *prefix, uint64_t policy)
{
	struct map_binding binding = { .policy = policy, .prefix_size = (uint16_t)strlen(prefix) };
	memcpy(binding.prefix, prefix, binding.prefix_size);
	return add_binding(map, binding);
}

static inline struct map_binding *bind_key(struct cluster_map *map, const char *key, uint64_t policy)
{
	struct map_binding binding = { .policy = policy, .exact = true };
	binding.hash = hash_keyed(bytes_text(key), map->hash_secret);
	return add_binding(map, binding);
}

#endif
