/* tests/unit/server/test_rtt.c: what a node tells of its round trips, when, and what others make of it; damaged rows
 * too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/prng.h"
#include "server/node_internal.h"

enum { NODES = 4, REGIONS = 3, ROW_MAX = 512 };
#define MS UINT64_C(1000000)

/* Nodes 1 (region 0), 2 and 3 (region 1), 4 (region 2). */
static const uint16_t region_of[NODES + 1] = { 0, 0, 1, 1, 2 };

struct told {
	unsigned count; /* messages */
	uint8_t body[ROW_MAX];
	size_t size;
};

static void send(void *arg, uint64_t to, const struct message *message)
{
	struct told *told = arg;
	assert_in_range(to, 1, NODES);
	assert_int_equal(message->kind, MESSAGE_ADMIN);
	assert_true(bytes_equal(message->admin.verb, bytes_text("rtt")));
	assert_true(message->admin.body.size <= ROW_MAX);
	told->size = message->admin.body.size;
	memcpy(told->body, message->admin.body.data, told->size);
	told->count++;
}

static struct node *node_of(uint64_t id, struct told *told)
{
	static const struct map_limits limits = {
		.regions = 8, .nodes = 8, .policies = 1, .bindings = 1, .shards = 1, .operations = 1
	};
	struct node *node = calloc(1, sizeof(*node));
	struct liveness_config config = { .node = id,
		.seed = id,
		.boot = 100 + id,
		.started_ns = 1000 * MS,
		.heartbeat_us = 100000,
		.support_us = 1000000,
		.support_max_us = 1000000,
		.drift_ppm = 10000,
		.fresh = true };
	node->map = cluster_map_init(calloc(1, cluster_map_size(&limits)), &limits);
	node->rtt = calloc(1, sizeof(*node->rtt));
	node->liveness = liveness_init(calloc(1, liveness_size()), &config);
	node->liveness_out = calloc(1, sizeof(*node->liveness_out));
	node->identity.node = id;
	node->time.now_ns = 1000 * MS;
	node->io = (struct node_io){ .arg = told, .send = send };
	node->map->epoch = 1;
	node->map->region_count = REGIONS;
	for (uint64_t i = 1; i <= NODES; i++) {
		node->map->nodes[node->map->node_count++] = (struct map_node){ .id = i, .region = region_of[i] };
		if (i != id)
			assert_true(liveness_watch(node->liveness, i, node->time.now_ns));
	}
	memset(told, 0, sizeof(*told));
	return node;
}

static void node_done(struct node *node)
{
	free(node->map);
	free(node->rtt);
	free(node->liveness);
	free(node->liveness_out);
	free(node);
}

/* Time passes; each second every peer answers a ping after its round trip, in us; 0: it does not. */
static void live(struct node *node, unsigned seconds, const uint32_t rtt_us[NODES + 1])
{
	for (unsigned s = 0; s < seconds; s++) {
		const uint64_t pinged_ns = node->time.now_ns;
		for (uint64_t i = 1; i <= NODES; i++) {
			struct message pong = { .kind = MESSAGE_PONG };
			if (i == node->identity.node || rtt_us[i] == 0)
				continue;
			pong.pong.echo_ns = pinged_ns;
			pong.pong.boot = 100 + i;
			pong.pong.echo_boot = 100 + node->identity.node;
			pong.pong.support_us = 1000000;
			pong.pong.support_epoch = 1;
			liveness_received(
				node->liveness, i, &pong, pinged_ns + rtt_us[i] * 1000, 1, node->liveness_out);
			node->liveness_out->count = 0;
		}
		node->time.now_ns = pinged_ns + 500 * MS;
		rtt_tick(node);
		node->time.now_ns = pinged_ns + 1000 * MS;
		liveness_expired(node->liveness, node->time.now_ns, 1, node->liveness_out);
		node->liveness_out->count = 0;
	}
}

static void test_told_when_it_matters(void **state)
{
	(void)state;
	struct told told;
	struct node *node = node_of(1, &told);
	const uint32_t silent[] = { 0, 0, 0, 0, 0 }, calm[] = { 0, 0, 70000, 68000, 215000 },
		       close[] = { 0, 0, 70900, 68900, 215900 }, far[] = { 0, 0, 90000, 88000, 215000 };
	live(node, 20, silent);
	assert_int_equal(told.count, 0); /* nothing is known, nothing is said */
	live(node, 1, calm);
	assert_int_equal(told.count, NODES - 1);
	live(node, 29, calm);
	assert_int_equal(told.count, NODES - 1);
	live(node, 20, close);			       /* less than a millisecond more */
	assert_int_equal(told.count, 2 * (NODES - 1)); /* the repetition */
	live(node, 9, close);
	told.count = 0;
	live(node, 15, far);
	assert_in_range(told.count, NODES - 1, 2 * (NODES - 1)); /* soon, and not at every step of the mean */
	const struct rtt_matrix *matrix = rtt_matrix_now(node);
	assert_int_equal(matrix->count, REGIONS);
	assert_in_range(matrix->us[0][1], 84000, 88000); /* the least of the two nodes there */
	assert_int_equal(matrix->us[0][1], matrix->us[1][0]);
	assert_true(matrix->us[1][2] == LATENCY_UNKNOWN);
	live(node, 3, silent); /* whoever is not heard is not told of */
	assert_true(rtt_matrix_now(node)->us[0][2] == LATENCY_UNKNOWN);
	node_done(node);
}

static void row(struct node *node, uint64_t from, uint16_t region, uint32_t us)
{
	uint8_t body[32];
	struct packer packer;
	uint64_t regions = 0;
	for (uint32_t i = 0; i < node->map->region_count; i++)
		regions = hash64_seeded(bytes_text(node->map->regions[i].name), regions);
	pack_init(&packer, body, sizeof(body));
	pack_u8(&packer, 2);
	pack_u64(&packer, regions);
	pack_u16(&packer, 1);
	pack_u16(&packer, region);
	pack_u32(&packer, us);
	rtt_received(node, from, pack_result(&packer));
	node->time.now_ns += 1001 * MS;
}

static void test_what_others_tell(void **state)
{
	(void)state;
	struct told told, told_by;
	struct node *node = node_of(1, &told), *other = node_of(2, &told_by);
	live(other, 1, (const uint32_t[]){ 0, 68000, 0, 1000, 175000 });
	assert_int_equal(told_by.count, NODES - 1);
	rtt_received(node, 2, bytes_of(told_by.body, told_by.size));
	const struct rtt_matrix *matrix = rtt_matrix_now(node);
	assert_int_equal(matrix->us[0][1], 68000); /* it measured us, we did not measure it yet */
	assert_int_equal(matrix->us[1][1], 1000);
	assert_int_equal(matrix->us[2][1], 175000);
	node->time.now_ns += 1001 * MS;

	row(node, 3, 2, 170000); /* another node of that region is nearer */
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 170000);
	row(node, 2, 2, 180000);
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 170000);
	row(node, 3, 2, 190000); /* it takes its own word back */
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 190000);
	row(node, 4, 1, 185000); /* seen from the other end */
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 185000);
	for (unsigned i = 0; i < 70; i++) /* what is repeated stays, what is not is forgotten */
		row(node, 2, 0, 68000);
	row(node, 2, 2, 200000);
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 185000);
	for (unsigned i = 0; i < 60; i++)
		row(node, 2, 2, 200000);
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 200000);
	node->time.now_ns += (RTT_FRESH_MS + 1) * MS;
	assert_true(rtt_matrix_now(node)->us[1][2] == LATENCY_UNKNOWN);
	node_done(node);
	node_done(other);
}

static void test_damaged_rows(void **state)
{
	(void)state;
	struct told told, told_by;
	struct node *node = node_of(1, &told), *other = node_of(2, &told_by);
	struct prng prng;
	live(other, 1, (const uint32_t[]){ 0, 68000, 0, 1000, 175000 });
	rtt_received(node, 9, bytes_of(told_by.body, told_by.size)); /* a node that the map does not have */
	assert_int_equal(node->dropped, 1);
	row(node, 2, 0, 0);
	row(node, 2, 0, LATENCY_UNKNOWN);
	row(node, 2, MAP_REGIONS_MAX, 1000);
	row(node, 2, UINT16_MAX, 1000);
	for (unsigned i = 0; i < REGIONS; i++)
		assert_true(rtt_matrix_now(node)->us[1][i] == LATENCY_UNKNOWN);
	row(node, 2, REGIONS, 1000); /* a region that there is not */
	assert_true(rtt_matrix_now(node)->us[1][REGIONS] == LATENCY_UNKNOWN);
	told_by.body[0] = 3; /* a later version */
	rtt_received(node, 2, bytes_of(told_by.body, told_by.size));
	assert_int_equal(node->dropped, 2);
	told_by.body[0] = 2;
	prng_seed(&prng, 5);
	for (unsigned run = 0; run < 5000; run++) {
		uint8_t body[ROW_MAX];
		size_t size = prng_below(&prng, told_by.size + 1);
		memcpy(body, told_by.body, told_by.size);
		for (unsigned n = 0; n < 3 && size > 0; n++)
			body[prng_below(&prng, size)] = (uint8_t)prng_below(&prng, 256);
		rtt_received(node, 2, bytes_of(body, size));
		node->time.now_ns += 1001 * MS;
		(void)rtt_matrix_now(node);
	}
	node_done(node);
	node_done(other);
}

/* Positions mean regions only by the same list. */
static void test_regions_that_go(void **state)
{
	(void)state;
	struct told told, told_by;
	struct node *node = node_of(1, &told), *other = node_of(2, &told_by);
	struct hosted hosted = { 0 }, *table[] = { NULL, &hosted };
	node->table = table;
	node->table_size = 2;
	for (unsigned i = 0; i < REGIONS; i++) {
		snprintf(node->map->regions[i].name, REGION_NAME_MAX, "region-%u", i);
		snprintf(other->map->regions[i].name, REGION_NAME_MAX, "region-%u", i);
	}
	row(node, 2, 2, 175000);
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 175000);
	leading_wrote(&hosted.leading, 2);
	/* One more behind them changes nothing; and is not believed of who does not know of it. */
	snprintf(node->map->regions[REGIONS].name, sizeof(node->map->regions[REGIONS].name), "region-new");
	node->map->region_count++;
	node->map->epoch++;
	assert_int_equal(rtt_matrix_now(node)->us[1][2], 175000);
	assert_int_equal(hosted.leading.count, 1);
	live(other, 1, (const uint32_t[]){ 0, 68000, 0, 1000, 160000 });
	assert_int_equal(told_by.count, NODES - 1);
	rtt_received(node, 2, bytes_of(told_by.body, told_by.size));
	assert_int_equal(node->dropped, 1);
	/* The first but one goes: what was the third is the second now, and nobody is taken for another. */
	memmove(&node->map->regions[1], &node->map->regions[2], 2 * sizeof(node->map->regions[0]));
	node->map->region_count--;
	node->map->epoch++;
	node->time.now_ns += 1001 * MS;
	for (unsigned i = 0; i < REGIONS; i++)
		for (unsigned j = 0; j < REGIONS; j++)
			assert_true(rtt_matrix_now(node)->us[i][j] == LATENCY_UNKNOWN);
	assert_int_equal(hosted.leading.count, 0);
	rtt_received(node, 2, bytes_of(told_by.body, told_by.size));
	assert_int_equal(node->dropped, 2);
	row(node, 4, 1, 90000);
	assert_int_equal(rtt_matrix_now(node)->us[2][1], 90000);
	node->table = NULL;
	node->table_size = 0;
	node_done(node);
	node_done(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_when_it_matters),
		cmocka_unit_test(test_what_others_tell),
		cmocka_unit_test(test_damaged_rows),
		cmocka_unit_test(test_regions_that_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
