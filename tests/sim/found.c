#include "tests/sim/found.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/attest.h"
#include "server/node_internal.h"
#include "tests/sim/checkers.h"

static struct {
	uint64_t request_last, answered;
	enum status status;
	uint64_t leader_node, version;
	char detail[512];
} admin;

/* The simulator's regions are attested by their number. */
enum status attest_region_ca(
	struct bytes der, const char *place, const char *cluster, uint8_t spki_sha256[32], const char **why)
{
	(void)place;
	(void)cluster;
	*why = "no CA";
	if (der.size != 1)
		return STATUS_INVALID;
	memset(spki_sha256, *(const uint8_t *)der.data, 32);
	return STATUS_OK;
}

/* A node asks by this number: what is answered to who was there before it comes to nobody any more. */
static uint64_t life(const struct world_node *node)
{
	return 1 + node->former_count;
}

void found_replied(struct world *world, unsigned client, const struct message *reply)
{
	if (client >= JOIN_CLIENT) {
		struct world_node *node = &world->nodes[client - JOIN_CLIENT];
		const char *why = "";
		enum status status;

		if (reply->request != life(node))
			return;
		if (node->node != NULL && node->id != 0 && reply->kind == MESSAGE_MAP_REPLY) {
			status = node_mapped(node->node, reply, node_now(node), &why);
			world_log(world, "node %u has a map: %s %s", node->slot, status_name(status), why);
			node_kick(node);
			return;
		}
		if (node->node == NULL || node->id != 0 || reply->kind != MESSAGE_REPLY ||
			reply->reply.status != STATUS_OK)
			return;
		status = node_joined(node->node, reply, node_now(node), &why);
		if (status != STATUS_OK)
			world_fail(world, "node %u could not join: %s: %s", node->slot, status_name(status), why);
		node->id = node_id(node->node);
		world_log(world, "node %u joined as %llu", node->slot, (unsigned long long)node->id);
		for (unsigned i = 0; i < world->node_count; i++) {
			if (i == node->slot || world->nodes[i].node == NULL || world->nodes[i].id == 0)
				continue;
			node_peer_connected(world->nodes[i].node, node->id, node_now(&world->nodes[i]));
			node_kick(&world->nodes[i]);
		}
		node_kick(node);
		return;
	}
	if (reply->kind != MESSAGE_REPLY || reply->request != admin.request_last)
		return;
	admin.answered = reply->request;
	admin.status = (enum status)reply->reply.status;
	admin.leader_node = reply->reply.leader_node;
	admin.version = reply->reply.version;
	snprintf(admin.detail, sizeof(admin.detail), "%.*s",
		(int)(reply->reply.detail.size > 500 ? 500 : reply->reply.detail.size),
		(const char *)reply->reply.detail.data);
}

static bool ask(struct world *world, unsigned slot, const char *verb, struct bytes body, uint64_t wait_ns)
{
	struct message message = { .kind = MESSAGE_ADMIN, .request = ++admin.request_last };
	uint64_t end_ns = world->now_ns + wait_ns;

	message.admin.verb = bytes_text(verb);
	message.admin.body = body;
	message.admin.timeout_ms = 1000;
	world_request(world, ADMIN_CLIENT, world->nodes[slot].region, &world->admin, slot, &message);
	while (admin.answered != admin.request_last && world->now_ns < end_ns) {
		if (!world_step(world))
			return false;
	}
	return admin.answered == admin.request_last;
}

static struct bytes encode(const struct change *change)
{
	static uint8_t bytes[1 << 17];
	struct packer packer = { .data = bytes, .capacity = sizeof(bytes) };

	change_encode(change, &packer);
	assert(!packer.overflow);
	return bytes_of(bytes, packer.size);
}

static unsigned leader_slot(struct world *world, unsigned otherwise)
{
	struct world_node *leader = admin.leader_node == 0 ? NULL : world_node_by_id(world, admin.leader_node);

	return leader == NULL ? otherwise : leader->slot;
}

enum status found_change(struct world *world, struct change *change, uint64_t for_ns)
{
	uint64_t end_ns = world->now_ns + for_ns;
	unsigned slot = leader_slot(world, 0), next = 0;

	while (world->now_ns < end_ns && world->failure[0] == '\0') {
		if (world->nodes[slot].node == NULL || !ask(world, slot, "change", encode(change), WORLD_SECOND)) {
			slot = next++ % world->node_count;
			world_run_until(world, world->now_ns + WORLD_SECOND / 20);
			continue;
		}
		if (admin.status == STATUS_NOT_LEADER) {
			slot = leader_slot(world, next++ % world->node_count);
		} else if (admin.status == STATUS_QUORUM_UNAVAILABLE || admin.status == STATUS_BUSY ||
			   admin.status == STATUS_UNKNOWN_OUTCOME) {
			slot = next++ % world->node_count;
			world_run_until(world, world->now_ns + WORLD_SECOND / 20);
		} else {
			return admin.status;
		}
	}
	return STATUS_TIMED_OUT;
}

const char *found_detail(void)
{
	return admin.detail;
}

void found_change_async(struct world *world, const struct change *change)
{
	/* To every node: only meta's leader takes it. */
	for (unsigned i = 0; i < world->node_count; i++) {
		struct message message = { .kind = MESSAGE_ADMIN, .request = ++admin.request_last };

		if (world->nodes[i].node == NULL)
			continue;
		message.admin.verb = bytes_text("change");
		message.admin.body = encode(change);
		message.admin.timeout_ms = 1000;
		world_request(world, ADMIN_CLIENT, world->nodes[i].region, &world->admin, i, &message);
	}
}

void found_maps(struct world *world)
{
	struct message message = { .kind = MESSAGE_MAP_REQUEST };

	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *node = &world->nodes[i];

		if (node->node == NULL || node->id == 0 || node->join_ns > world->now_ns || !node_unmapped(node->node))
			continue;
		node->join_ns = world->now_ns + WORLD_SECOND / 2;
		message.request = life(node);
		world_request(world, JOIN_CLIENT + i, node->region, &node->who,
			(unsigned)prng_below(&world->drains, world->node_count), &message);
	}
}

void found_joins(struct world *world)
{
	found_maps(world);
	for (unsigned i = 0; i < world->node_count; i++) {
		struct world_node *node = &world->nodes[i];
		bool again = node->former_count > 0; /* whoever leads meta now */
		struct message message;

		if (node->node == NULL || (i == 0 && !again) || node->id != 0 || node->join_ns > world->now_ns)
			continue;
		node->join_ns = world->now_ns + WORLD_SECOND / 2;
		node_join_message(node->node, &message);
		message.request = life(node);
		world_request(world, JOIN_CLIENT + i, node->region, &node->who,
			again ? (unsigned)prng_below(&world->drains, world->node_count) : leader_slot(world, 0),
			&message);
	}
}

static void set_selectors(struct selectors *selectors, const char *text)
{
	const char *why;

	selectors->count = 1;
	if (!selector_parse(text, &selectors->at[0], &why))
		abort();
}

void found_policy_world(struct policy *policy, bool eu_only, unsigned copies, unsigned ack, bool local_reads)
{
	memset(policy, 0, sizeof(*policy));
	strcpy(policy->name, "world");
	set_selectors(&policy->store_in, eu_only ? "eu" : "*");
	set_selectors(&policy->read_from, "*");
	set_selectors(&policy->write_from, "*");
	policy->copies = (uint8_t)copies;
	policy->spread = SPREAD_REGION;
	policy->ack = ack == 1 ? ACK_COPIES : ack == 2 ? ACK_REGIONS : ACK_MAJORITY;
	policy->ack_count = ack == 0 ? 0 : 2;
	policy->reads = local_reads ? READS_LOCAL : READS_LEADER;
	policy_complete(policy, FIELD_STORE_IN | FIELD_READ_FROM | FIELD_WRITE_FROM | FIELD_COPIES | FIELD_SPREAD |
					FIELD_ACK | FIELD_READS);
}

void found_policy_other(struct policy *policy, bool local_reads)
{
	found_policy_world(policy, false, 3, 0, local_reads);
	strcpy(policy->name, "other");
}

void found_policy_witnessed(struct policy *policy, const char *witness_in)
{
	set_selectors(&policy->store_in, "eu");
	set_selectors(&policy->witness_in, witness_in);
	policy->ack = ACK_MAJORITY;
	policy_complete(policy,
		FIELD_STORE_IN | FIELD_WITNESS_IN | FIELD_ACK | FIELD_READS | FIELD_READ_FROM | FIELD_WRITE_FROM);
}

static void policy_eu(struct policy *policy, const char *name, bool local_reads, bool witness)
{
	memset(policy, 0, sizeof(*policy));
	strcpy(policy->name, name);
	set_selectors(&policy->store_in, "eu");
	policy->copies = 3;
	policy->spread = SPREAD_REGION;
	policy->reads = local_reads ? READS_LOCAL : READS_LEADER;
	policy_complete(policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD | FIELD_READS);
	if (witness)
		found_policy_witnessed(policy, "us");
}

void found_region(struct map_region *region, unsigned number)
{
	const char *why;

	memset(region, 0, sizeof(*region));
	strcpy(region->name, world_region_names[number]);
	if (!place_parse(world_places[number], &region->site.place, &why))
		abort();
	region->latitude = 1;
	region->longitude = 1;
	region->ca_size = 1;
	region->ca_der[0] = (uint8_t)(number + 1);
}

static bool everybody_knows(const struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		if (world->nodes[i].id == 0 || world->nodes[i].node == NULL ||
			node_map(world->nodes[i].node)->node_count != world->node_count)
			return false;
	}
	return true;
}

static bool everybody_has_policies(const struct world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		if (node_map(world->nodes[i].node)->policy_count != (world->knobs.bindings ? 4U : 2U))
			return false;
	}
	return true;
}

static bool fail_change(struct world *world, const char *what, enum status status)
{
	world_fail(world, "%s: %s: %s", what, status_name(status), admin.detail);
	return false;
}

bool found_cluster(struct world *world)
{
	static struct change change;
	struct policy policies[4];
	struct change_binding bindings[2];
	enum status status;

	memset(&admin, 0, sizeof(admin));
	memset(&world->admin, 0, sizeof(world->admin));
	world->admin.role = PEER_ADMIN;
	strcpy(world->admin.name, "ops");
	memset(world->admin.issuer_spki_sha256, 0xad, 32);
	for (unsigned i = 0; i < world->node_count; i++)
		node_start(world, i);
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_INIT;
	strcpy(change.name, "sim");
	found_region(&change.region, 0);
	if (!ask(world, 0, "cluster.init", encode(&change), 10 * (uint64_t)WORLD_SECOND) || admin.status != STATUS_OK)
		return fail_change(world, "init", admin.status);
	world->nodes[0].id = node_id(world->nodes[0].node);
	for (unsigned i = 1; i < world->knobs.regions; i++) {
		memset(&change, 0, sizeof(change));
		change.kind = CHANGE_REGION_ADD;
		found_region(&change.region, i);
		status = found_change(world, &change, 10 * (uint64_t)WORLD_SECOND);
		if (status != STATUS_OK)
			return fail_change(world, "region add", status);
	}
	for (uint64_t end_ns = world->now_ns + 60 * (uint64_t)WORLD_SECOND; !everybody_knows(world);) {
		found_joins(world);
		if (world->now_ns > end_ns || !world_run_until(world, world->now_ns + WORLD_SECOND / 20)) {
			checkers_describe(world);
			world_fail(world, "not every node joined");
			return false;
		}
	}
	memset(&change, 0, sizeof(change));
	memset(bindings, 0, sizeof(bindings));
	change.kind = CHANGE_APPLY;
	change.policies = policies;
	change.policy_count = world->knobs.bindings ? 4 : 2;
	change.bindings = bindings;
	change.binding_count = 2;
	policy_eu(&policies[0], "eu-only", world->knobs.local_reads, world->knobs.witness);
	found_policy_world(&policies[1], false, world->knobs.copies, (unsigned)prng_below(&world->load, 3),
		world->knobs.local_reads);
	found_policy_other(&policies[2], world->knobs.local_reads);
	policy_eu(&policies[3], "eu-other", world->knobs.local_reads, world->knobs.witness);
	policies[1].follow = policies[2].follow = world->knobs.follow;
	for (unsigned i = 0; i < 3 && world->knobs.erase_within_s > 0; i++)
		policies[i].erase_within_s = world->knobs.erase_within_s;
	bindings[0].prefix_size = 3;
	memcpy(bindings[0].prefix, "eu/", 3);
	strcpy(bindings[0].policy, "eu-only");
	strcpy(bindings[1].policy, "world");
	status = found_change(world, &change, 20 * (uint64_t)WORLD_SECOND);
	if (status != STATUS_OK)
		return fail_change(world, "policies", status);
	for (uint64_t end_ns = world->now_ns + 30 * (uint64_t)WORLD_SECOND; !everybody_has_policies(world);) {
		if (world->now_ns > end_ns || !world_run_until(world, world->now_ns + WORLD_SECOND / 20)) {
			world_fail(world, "not every node heard of the policies");
			checkers_describe(world);
			return false;
		}
	}
	return true;
}
