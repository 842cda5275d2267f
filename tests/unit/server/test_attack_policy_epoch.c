/* tests/unit/server/test_attack_policy_epoch.c: a policy is tightened, and a client that knows writes at once, through
 * a node that does not know yet. What it sends must not be kept by the rules of before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "replication/meta.h"
#include "server/node.h"

static char directory[64];
static uint64_t randoms;
static struct message last_reply;
static char last_detail[200];
static struct change change;

static void on_send(void *arg, uint64_t node, const struct message *message)
{
	(void)arg;
	(void)node;
	(void)message;
}
static void on_reply(void *arg, uint64_t connection, const struct message *message)
{
	(void)arg;
	assert_int_equal(connection, 9);
	last_reply = *message;
	snprintf(last_detail, sizeof(last_detail), "%.*s", (int)message->reply.detail.size,
		message->reply.detail.size > 0 ? (const char *)message->reply.detail.data : "");
}
static void on_flush_wanted(void *arg)
{
	(void)arg;
}
static void on_map_changed(void *arg, const struct cluster_map *map)
{
	(void)arg;
	(void)map;
}
static void on_fatal(void *arg, enum status status, const char *what)
{
	(void)arg;
	fail_msg("%s: %s", status_name(status), what);
}
static uint64_t on_random(void *arg)
{
	(void)arg;
	return ++randoms * 0x9e3779b97f4a7c15;
}

static uint64_t on_now(void *arg)
{
	(void)arg;
	return 1000000000;
}

static const struct node_io io = { .send = on_send,
	.reply = on_reply,
	.flush_wanted = on_flush_wanted,
	.map_changed = on_map_changed,
	.fatal = on_fatal,
	.random = on_random,
	.now = on_now };

static int setup(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/domicile-epoch-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];
	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static uint64_t apply(struct cluster_map *map)
{
	struct meta_result result;
	meta_apply(map, &change, &result);
	if (result.status != STATUS_OK)
		fail_msg("%s", result.flaw.reason);
	return result.id;
}

/* A cluster of another node and ours, which keeps everything under one policy. Gives our node's id. */
static uint64_t make_map(struct cluster_map *map, uint64_t incarnation)
{
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_INIT;
	strcpy(change.name, "acme");
	change.cluster[0] = 1;
	strcpy(change.region.site.place.text, "eu/r0");
	strcpy(change.region.name, "r0");
	change.region.ca_size = 100;
	memset(change.region.ca_der, 1, 100);
	strcpy(change.node.place.text, "eu/r0/a/n1");
	change.node.incarnation = 11;
	change.node.addresses.count = 1;
	strcpy(change.node.addresses.at[0].address, "127.0.0.1:1");
	apply(map);
	change.kind = CHANGE_NODE_ADMIT;
	strcpy(change.node.place.text, "eu/r0/a/n2");
	change.node.incarnation = incarnation;
	uint64_t id = apply(map);
	struct policy policy = { .copies = 2, .spread = SPREAD_NODE };
	strcpy(policy.name, "all");
	assert_true(selector_parse("*", &policy.store_in.at[policy.store_in.count++], NULL));
	policy_complete(&policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_SPREAD);
	struct change_binding binding = { 0 };
	strcpy(binding.policy, "all");
	memset(&change, 0, sizeof(change));
	change.kind = CHANGE_APPLY;
	change.policies = &policy;
	change.policy_count = 1;
	change.bindings = &binding;
	change.binding_count = 1;
	apply(map);
	return id;
}

static struct node *member(struct cluster_map *map)
{
	const struct node_time time = { 2000000000, 2000000 };
	struct node_options options = { .data = directory,
		.cluster = "acme",
		.cache_size = 4 << 20,
		.memory_size = 64 << 20,
		.journal_segment_size = 1 << 20,
		.support_us = 1000000,
		.heartbeat_us = 100000,
		.drift_ppm = 10000,
		.now_ns = 1000000000,
		.wall_us = 1000000,
		.join = true };
	const char *why = "";
	struct node *node = NULL;
	struct message join, reply = { .kind = MESSAGE_REPLY };
	assert_true(place_parse("eu/r0/a/n2", &options.place, &why));
	assert_int_equal(node_open(&options, &io, &node, &why), STATUS_OK);
	node_join_message(node, &join);
	reply.reply.version = make_map(map, join.join.incarnation);
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	uint8_t *bytes = malloc(packer.size);
	pack_init(&packer, bytes, packer.size);
	cluster_map_encode(map, &packer);
	reply.reply.detail = pack_result(&packer);
	if (node_joined(node, &reply, time, &why) != STATUS_OK)
		fail_msg("%s", why);
	free(bytes);
	return node;
}

static uint32_t ask(struct node *node, const struct cluster_map *map, uint64_t policy_epoch)
{
	static struct node_time time = { 2100000000, 2100000 };
	struct peer_identity who = { .role = PEER_CLIENT };
	const char *why;
	const struct policy *policy = map_policy_by_name(map, "all");
	const struct map_shard *shard = map_shard_of(map, policy->id, bytes_text("k"));
	struct message message = { .kind = MESSAGE_REQUEST, .request = 1 };
	assert_true(place_parse("eu/r0", &who.place, &why));
	message.ask = (struct message_request){ .operation = OPERATION_PUT,
		.map_epoch = policy_epoch > map->epoch ? policy_epoch : map->epoch,
		.policy = policy->id,
		.policy_epoch = policy_epoch,
		.shard = shard->id,
		.client = 1,
		.sequence = 1,
		.low_water = 1,
		.key = bytes_text("k"),
		.value = bytes_text("v") };
	last_reply.reply.status = UINT32_MAX;
	node_requested(node, 9, &who, &message, time);
	if (last_reply.reply.status == UINT32_MAX) { /* it has waited for a leader in vain */
		time.now_ns += 5000000000;
		node_expired(node, time);
	}
	assert_int_not_equal(last_reply.reply.status, UINT32_MAX);
	return last_reply.reply.status;
}

static void test_a_node_that_lags_takes_nothing_under_rules_it_does_not_know(void **state)
{
	(void)state;
	struct cluster_map *map =
		cluster_map_init(calloc(1, cluster_map_size(&map_limits_default)), &map_limits_default);
	struct node *node = member(map);
	uint64_t epoch = map_policy_by_name(map, "all")->epoch;
	/* Judged by what both know, the request comes as far as the shard, which has no leader yet. */
	assert_int_equal(ask(node, map, epoch), STATUS_QUORUM_UNAVAILABLE);
	assert_int_equal(ask(node, map, epoch + 1), STATUS_BUSY);
	assert_non_null(strstr(last_detail, "that change of the policy"));
	assert_int_equal(ask(node, map, epoch - 1), STATUS_STALE_MAP);
	node_close(node);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_node_that_lags_takes_nothing_under_rules_it_does_not_know, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
