/* policy/change.c: a change to bytes and back. Each kind carries only its own fields; the rest decode as zero, so two
 * replicas that decode the same bytes hold the same struct. Decoding judges form only (bounds, kinds, text without
 * NUL); whether a change makes sense is meta's to say, with a flaw. */
#include "policy/change.h"

#include <assert.h>
#include <string.h>

enum { CHANGE_FORMAT = 6, FLAG_DRY_RUN = 1 };
static_assert(sizeof(double) == sizeof(uint64_t), "coordinates travel as the bits of a double");

static void pack_double(struct packer *packer, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	pack_u64(packer, bits);
}

static double unpack_double(struct unpacker *unpacker)
{
	uint64_t bits = unpack_u64(unpacker);
	double value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

static void unpack_exactly(struct unpacker *unpacker, void *out, size_t size)
{
	struct bytes from = unpack_raw(unpacker, size);
	if (from.size == size)
		memcpy(out, from.data, size);
	else
		assert(unpacker->bad);
}

static void region_encode(const struct map_region *region, struct packer *packer)
{
	assert(region->site.tag_count <= TAGS_MAX);
	assert(region->ca_size <= CERTIFICATE_SIZE_MAX);
	pack_text(packer, region->name);
	pack_text(packer, region->site.place.text);
	pack_u8(packer, region->site.tag_count);
	for (unsigned i = 0; i < region->site.tag_count; i++)
		pack_text(packer, region->site.tags[i]);
	pack_double(packer, region->latitude);
	pack_double(packer, region->longitude);
	pack_raw(packer, region->spki_sha256, sizeof(region->spki_sha256));
	pack_bytes(packer, bytes_of(region->ca_der, region->ca_size));
}

static void region_decode(struct unpacker *unpacker, struct map_region *region)
{
	unpack_text(unpacker, region->name, sizeof(region->name));
	unpack_text(unpacker, region->site.place.text, sizeof(region->site.place.text));
	region->site.tag_count = unpack_u8(unpacker);
	if (region->site.tag_count > TAGS_MAX) {
		unpacker->bad = true;
		region->site.tag_count = 0;
	}
	for (unsigned i = 0; i < region->site.tag_count; i++)
		unpack_text(unpacker, region->site.tags[i], sizeof(region->site.tags[i]));
	region->latitude = unpack_double(unpacker);
	region->longitude = unpack_double(unpacker);
	unpack_exactly(unpacker, region->spki_sha256, sizeof(region->spki_sha256));
	struct bytes ca = unpack_bytes(unpacker, CERTIFICATE_SIZE_MAX);
	region->ca_size = (uint32_t)ca.size;
	if (ca.size > 0)
		memcpy(region->ca_der, ca.data, ca.size);
}

static void node_encode(const struct map_node *node, struct packer *packer)
{
	pack_u64(packer, node->id);
	pack_u64(packer, node->incarnation);
	pack_text(packer, node->place.text);
	address_list_encode(&node->addresses, packer);
}

static void node_decode(struct unpacker *unpacker, struct map_node *node)
{
	node->id = unpack_u64(unpacker);
	node->incarnation = unpack_u64(unpacker);
	unpack_text(unpacker, node->place.text, sizeof(node->place.text));
	if (address_list_decode(unpacker, &node->addresses) != STATUS_OK)
		unpacker->bad = true;
}

static void binding_encode(const struct change_binding *binding, struct packer *packer)
{
	assert(binding->prefix_size <= BINDING_PREFIX_MAX);
	pack_u8(packer, binding->exact ? 1 : 0);
	if (binding->exact) {
		pack_u64(packer, binding->hash.high);
		pack_u64(packer, binding->hash.low);
	} else {
		pack_bytes(packer, bytes_of(binding->prefix, binding->prefix_size));
	}
	pack_text(packer, binding->policy);
	pack_u32(packer, binding->line);
}

static void binding_decode(struct unpacker *unpacker, struct change_binding *binding)
{
	uint8_t exact = unpack_u8(unpacker);
	memset(binding, 0, sizeof(*binding));
	if (exact > 1)
		unpacker->bad = true;
	binding->exact = exact == 1;
	if (binding->exact) {
		binding->hash.high = unpack_u64(unpacker);
		binding->hash.low = unpack_u64(unpacker);
	} else {
		struct bytes prefix = unpack_bytes(unpacker, BINDING_PREFIX_MAX);
		binding->prefix_size = (uint16_t)prefix.size;
		if (prefix.size > 0)
			memcpy(binding->prefix, prefix.data, prefix.size);
	}
	unpack_text(unpacker, binding->policy, sizeof(binding->policy));
	binding->line = unpack_u32(unpacker);
}

/* The line of a policy is not part of its rules, yet a refusal should name it: so it travels here. */
static void rules_encode(const struct change *change, struct packer *packer)
{
	pack_u32(packer, change->policy_count);
	for (uint32_t i = 0; i < change->policy_count; i++) {
		policy_encode(&change->policies[i], packer);
		pack_u32(packer, change->policies[i].line);
	}
	pack_u32(packer, change->binding_count);
	for (uint32_t i = 0; i < change->binding_count; i++)
		binding_encode(&change->bindings[i], packer);
}

static enum status rules_decode(struct unpacker *unpacker, const struct change_scratch *scratch, struct change *change)
{
	uint32_t count = unpack_u32(unpacker);
	if (count > scratch->policy_max)
		return STATUS_TOO_LARGE;
	change->policies = scratch->policies;
	for (; change->policy_count < count && !unpacker->bad; change->policy_count++) {
		struct policy *policy = &change->policies[change->policy_count];
		enum status status = policy_decode(unpacker, policy);
		if (status != STATUS_OK)
			return status;
		policy->line = unpack_u32(unpacker);
	}
	count = unpack_u32(unpacker);
	if (count > scratch->binding_max)
		return STATUS_TOO_LARGE;
	change->bindings = scratch->bindings;
	for (; change->binding_count < count && !unpacker->bad; change->binding_count++)
		binding_decode(unpacker, &change->bindings[change->binding_count]);
	return STATUS_OK;
}

static void report_encode(const struct change *change, struct packer *packer)
{
	assert(change->replica_count <= REPLICAS_MAX);
	pack_u64(packer, change->shard);
	pack_u64(packer, change->operation);
	pack_u64(packer, change->generation);
	pack_u64(packer, change->membership_index);
	pack_u64(packer, change->target_node);
	pack_u64(packer, change->keys_found);
	pack_u64(packer, change->version);
	pack_u8(packer, change->replica_count);
	for (unsigned i = 0; i < change->replica_count; i++) {
		pack_u64(packer, change->replicas[i].replica);
		pack_u64(packer, change->replicas[i].node);
		pack_u8(packer, change->replicas[i].role);
	}
}

static void report_decode(struct unpacker *unpacker, struct change *change)
{
	change->shard = unpack_u64(unpacker);
	change->operation = unpack_u64(unpacker);
	change->generation = unpack_u64(unpacker);
	change->membership_index = unpack_u64(unpacker);
	change->target_node = unpack_u64(unpacker);
	change->keys_found = unpack_u64(unpacker);
	change->version = unpack_u64(unpacker);
	change->replica_count = unpack_u8(unpacker);
	if (change->replica_count > REPLICAS_MAX) {
		unpacker->bad = true;
		change->replica_count = 0;
	}
	for (unsigned i = 0; i < change->replica_count; i++) {
		change->replicas[i].replica = unpack_u64(unpacker);
		change->replicas[i].node = unpack_u64(unpacker);
		change->replicas[i].role = unpack_u8(unpacker);
		if (change->replicas[i].role > ROLE_WITNESS)
			unpacker->bad = true;
	}
}

static void move_report_encode(const struct change *change, struct packer *packer)
{
	pack_u64(packer, change->shard);
	pack_u64(packer, change->operation);
	pack_u64(packer, change->keys_found);
	pack_u8(packer, change->phase);
}

static void move_report_decode(struct unpacker *unpacker, struct change *change)
{
	change->shard = unpack_u64(unpacker);
	change->operation = unpack_u64(unpacker);
	change->keys_found = unpack_u64(unpacker);
	change->phase = unpack_u8(unpacker);
	if (change->phase > PHASE_ABORT)
		unpacker->bad = true;
}

static void init_encode(const struct change *change, struct packer *packer)
{
	pack_text(packer, change->name);
	pack_raw(packer, change->cluster, sizeof(change->cluster));
	pack_raw(packer, change->hash_secret, sizeof(change->hash_secret));
	pack_raw(packer, change->admin_spki_sha256, sizeof(change->admin_spki_sha256));
	region_encode(&change->region, packer);
	node_encode(&change->node, packer);
}

static void init_decode(struct unpacker *unpacker, struct change *change)
{
	unpack_text(unpacker, change->name, sizeof(change->name));
	unpack_exactly(unpacker, change->cluster, sizeof(change->cluster));
	unpack_exactly(unpacker, change->hash_secret, sizeof(change->hash_secret));
	unpack_exactly(unpacker, change->admin_spki_sha256, sizeof(change->admin_spki_sha256));
	region_decode(unpacker, &change->region);
	node_decode(unpacker, &change->node);
}

static void state_encode(const struct change *change, struct packer *packer)
{
	pack_u64(packer, change->target_node);
	pack_text(packer, change->name);
	pack_u8(packer, change->state);
}

static void state_decode(struct unpacker *unpacker, struct change *change)
{
	change->target_node = unpack_u64(unpacker);
	unpack_text(unpacker, change->name, sizeof(change->name));
	change->state = unpack_u8(unpacker);
}

static void away_encode(const struct change *change, struct packer *packer)
{
	assert(change->away_count <= MAP_NODES_MAX);
	pack_u16(packer, change->away_count);
	for (unsigned i = 0; i < change->away_count; i++)
		pack_u64(packer, change->away[i]);
}

static void away_decode(struct unpacker *unpacker, struct change *change)
{
	uint16_t count = unpack_u16(unpacker);
	if (count > MAP_NODES_MAX)
		unpacker->bad = true;
	for (; change->away_count < count && !unpacker->bad; change->away_count++)
		change->away[change->away_count] = unpack_u64(unpacker);
}

void change_encode(const struct change *change, struct packer *packer)
{
	pack_u8(packer, CHANGE_FORMAT);
	pack_u8(packer, change->kind);
	pack_u8(packer, change->dry_run ? FLAG_DRY_RUN : 0);
	pack_u64(packer, change->epoch);
	pack_u64(packer, change->plan);
	pack_u64(packer, change->now_us);
	switch ((enum change_kind)change->kind) {
	case CHANGE_INIT:
		init_encode(change, packer);
		return;
	case CHANGE_REGION_ADD:
		region_encode(&change->region, packer);
		return;
	case CHANGE_NODE_ADMIT:
	case CHANGE_NODE_ADDRESSES:
		node_encode(&change->node, packer);
		return;
	case CHANGE_LEDGER_HEAD:
		pack_u64(packer, change->node.id);
		ledger_head_encode(&change->node.ledger, packer);
		return;
	case CHANGE_APPLY:
	case CHANGE_BINDING_SET:
	case CHANGE_BINDING_UNSET:
		rules_encode(change, packer);
		return;
	case CHANGE_SHARD_PLACE:
	case CHANGE_SHARD_LEAD:
	case CHANGE_SHARD_REPORT:
	case CHANGE_FENCE_REPORT:
	case CHANGE_META_REPORT:
		report_encode(change, packer);
		return;
	case CHANGE_NODE_STATE:
	case CHANGE_REGION_STATE:
	case CHANGE_NODE_REMOVE:
	case CHANGE_REGION_REMOVE:
		state_encode(change, packer);
		away_encode(change, packer);
		return;
	case CHANGE_MOVE_REPORT:
		move_report_encode(change, packer);
		return;
	case CHANGE_CANCEL:
		pack_u64(packer, change->operation);
		return;
	case CHANGE_SHARD_SPLIT:
	case CHANGE_SHARD_MERGE:
		pack_u64(packer, change->shard);
		pack_u64(packer, change->merged);
		return;
	case CHANGE_REBALANCE:
		away_encode(change, packer);
		return;
	}
	assert(false); /* a kind that nobody made */
}

static enum status body_decode(struct unpacker *unpacker, const struct change_scratch *scratch, struct change *change)
{
	switch ((enum change_kind)change->kind) {
	case CHANGE_INIT:
		init_decode(unpacker, change);
		return STATUS_OK;
	case CHANGE_REGION_ADD:
		region_decode(unpacker, &change->region);
		return STATUS_OK;
	case CHANGE_NODE_ADMIT:
	case CHANGE_NODE_ADDRESSES:
		node_decode(unpacker, &change->node);
		return STATUS_OK;
	case CHANGE_LEDGER_HEAD:
		change->node.id = unpack_u64(unpacker);
		ledger_head_decode(unpacker, &change->node.ledger);
		return STATUS_OK;
	case CHANGE_APPLY:
	case CHANGE_BINDING_SET:
	case CHANGE_BINDING_UNSET:
		return rules_decode(unpacker, scratch, change);
	case CHANGE_SHARD_PLACE:
	case CHANGE_SHARD_LEAD:
	case CHANGE_SHARD_REPORT:
	case CHANGE_FENCE_REPORT:
	case CHANGE_META_REPORT:
		report_decode(unpacker, change);
		return STATUS_OK;
	case CHANGE_NODE_STATE:
	case CHANGE_REGION_STATE:
	case CHANGE_NODE_REMOVE:
	case CHANGE_REGION_REMOVE:
		state_decode(unpacker, change);
		away_decode(unpacker, change);
		return STATUS_OK;
	case CHANGE_MOVE_REPORT:
		move_report_decode(unpacker, change);
		return STATUS_OK;
	case CHANGE_CANCEL:
		change->operation = unpack_u64(unpacker);
		return STATUS_OK;
	case CHANGE_SHARD_SPLIT:
	case CHANGE_SHARD_MERGE:
		change->shard = unpack_u64(unpacker);
		change->merged = unpack_u64(unpacker);
		return STATUS_OK;
	case CHANGE_REBALANCE:
		away_decode(unpacker, change);
		return STATUS_OK;
	}
	return STATUS_UNSUPPORTED;
}

enum status change_decode(struct bytes bytes, const struct change_scratch *scratch, struct change *change)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes);
	memset(change, 0, sizeof(*change));
	uint8_t format = unpack_u8(&unpacker);
	if (unpacker.bad || format == 0)
		return STATUS_INVALID;
	if (format != CHANGE_FORMAT)
		return STATUS_UNSUPPORTED;
	change->kind = unpack_u8(&unpacker);
	uint8_t flags = unpack_u8(&unpacker);
	change->dry_run = (flags & FLAG_DRY_RUN) != 0;
	change->epoch = unpack_u64(&unpacker);
	change->plan = unpack_u64(&unpacker);
	change->now_us = unpack_u64(&unpacker);
	if (unpacker.bad || (flags & ~FLAG_DRY_RUN) != 0)
		return STATUS_INVALID;
	enum status status = body_decode(&unpacker, scratch, change);
	if (unpacker.bad)
		return STATUS_INVALID;
	if (status != STATUS_OK)
		return status;
	return unpack_end(&unpacker) ? STATUS_OK : STATUS_INVALID;
}
