/* tests/unit/server/test_attack_admission.c: a node dies while it is being admitted. Its place is given to its
 * incarnation by then, for good: it must come back as the same one, and be able to go on. */
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

#include "server/node.h"
#include "storage/identity.h"

static char directory[64];
static uint64_t randoms;

static void on_send(void *arg, uint64_t node, const struct message *message)
{
	(void)arg;
	(void)node;
	(void)message;
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
	return ++randoms * 0x9e3779b97f4a7c15; /* no two alike */
}

static uint64_t on_now(void *arg)
{
	(void)arg;
	return 1000000000;
}

static const struct node_io io = { .send = on_send,
	.reply = on_send,
	.flush_wanted = on_flush_wanted,
	.map_changed = on_map_changed,
	.fatal = on_fatal,
	.random = on_random,
	.now = on_now };

static struct node *open_at(const char *place)
{
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
	assert_true(place_parse(place, &options.place, &why));
	if (node_open(&options, &io, &node, &why) != STATUS_OK)
		fail_msg("%s", why);
	return node;
}

static uint64_t incarnation_of(const struct node *node)
{
	struct message join;
	assert_int_equal(node_id(node), 0); /* it asks to be admitted */
	node_join_message(node, &join);
	return join.join.incarnation;
}

static int setup(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/domicile-admission-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];
	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* The answer to JOIN never came; by then the place may be this incarnation's. */
static void test_it_asks_again_as_the_same(void **state)
{
	(void)state;
	struct node *node = open_at("eu/r0/a/n1");
	uint64_t incarnation = incarnation_of(node);
	node_close(node);
	node = open_at("eu/r0/a/n1");
	assert_int_equal(incarnation_of(node), incarnation);
	node_close(node);
	node = open_at("eu/r0/a/n2"); /* nobody has admitted it, so it may be configured anew */
	assert_int_not_equal(incarnation_of(node), incarnation);
	node_close(node);
}

/* The identity with the node's id is on the disk, and nothing else yet. */
static void test_it_goes_on_after_its_identity(void **state)
{
	(void)state;
	struct node *node = open_at("eu/r0/a/n1");
	uint64_t incarnation = incarnation_of(node);
	node_close(node);
	struct identity identity;
	assert_int_equal(identity_load(directory, &identity), STATUS_OK);
	identity.node = 5;
	identity.cluster[0] = 1;
	identity.boot = 77;
	identity.support_max_us = 1000000;
	assert_int_equal(identity_store(directory, &identity), STATUS_OK);
	node = open_at("eu/r0/a/n1");
	assert_int_equal(incarnation_of(node), incarnation);
	node_close(node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_it_asks_again_as_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_it_goes_on_after_its_identity, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
