/* server/rtt.c: see server/rtt.h. */
#include "server/rtt.h"

#include <assert.h>
#include <string.h>

#include "server/node_internal.h"

enum { RTT_VERSION = 1, RTT_CHANGE_US = 1000, RTT_BODY_MAX = 3 + 6 * MAP_REGIONS_MAX };

static bool over(const struct node *node, uint64_t since_ns, uint64_t ms)
{
	return since_ns == 0 || node->time.now_ns - since_ns >= ms * 1000000;
}

/* The least to any node there. */
static void own_row(const struct node *node, uint32_t row_us[MAP_REGIONS_MAX])
{
	const struct cluster_map *map = node_map_in_force(node);

	memset(row_us, 0xff, MAP_REGIONS_MAX * sizeof(row_us[0]));
	for (uint32_t i = 0; i < map->node_count; i++) {
		const struct map_node *there = &map->nodes[i];
		uint32_t us = liveness_rtt_us(node->liveness, there->id);

		if (us != 0 && us < row_us[there->region] &&
			liveness_alive(node->liveness, there->id, node->time.now_ns))
			row_us[there->region] = us;
	}
}

static bool differs(uint32_t a_us, uint32_t b_us)
{
	uint32_t smaller = a_us < b_us ? a_us : b_us, larger = a_us < b_us ? b_us : a_us;

	return larger - smaller > RTT_CHANGE_US && larger - smaller > smaller / 10;
}

static bool worth_telling(const struct node *node, const uint32_t row_us[MAP_REGIONS_MAX])
{
	if (over(node, node->rtt->told_ns, RTT_REPEAT_MS))
		return true;
	if (!over(node, node->rtt->told_ns, RTT_TELL_MS))
		return false;
	for (unsigned i = 0; i < MAP_REGIONS_MAX; i++) {
		if (row_us[i] != LATENCY_UNKNOWN && differs(row_us[i], node->rtt->told_us[i]))
			return true;
	}
	return false;
}

void rtt_tick(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct message message = { .kind = MESSAGE_ADMIN };
	uint32_t row_us[MAP_REGIONS_MAX];
	uint8_t body[RTT_BODY_MAX];
	struct packer packer;
	uint16_t count = 0;

	own_row(node, row_us);
	if (!worth_telling(node, row_us))
		return;
	for (unsigned i = 0; i < MAP_REGIONS_MAX; i++)
		count = (uint16_t)(count + (row_us[i] != LATENCY_UNKNOWN));
	if (count == 0)
		return;
	pack_init(&packer, body, sizeof(body));
	pack_u8(&packer, RTT_VERSION);
	pack_u16(&packer, count);
	for (uint16_t i = 0; i < MAP_REGIONS_MAX; i++) {
		if (row_us[i] == LATENCY_UNKNOWN)
			continue;
		pack_u16(&packer, i);
		pack_u32(&packer, row_us[i]);
	}
	assert(!packer.overflow);
	message.admin.verb = bytes_text("rtt");
	message.admin.body = pack_result(&packer);
	for (uint32_t i = 0; i < map->node_count; i++) {
		if (map->nodes[i].id != node->identity.node)
			node->io.send(node->io.arg, map->nodes[i].id, &message);
	}
	memcpy(node->rtt->told_us, row_us, sizeof(row_us));
	node->rtt->told_ns = node->time.now_ns;
}

/* A node speaks for its own region only, and regions keep their positions. */
void rtt_received(struct node *node, uint64_t from, struct bytes body)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_node *sender = map_node_find(map, from);
	struct unpacker unpacker;
	uint16_t count;

	unpack_init(&unpacker, body);
	if (sender == NULL || unpack_u8(&unpacker) != RTT_VERSION) {
		node->dropped++;
		return;
	}
	count = unpack_u16(&unpacker);
	for (unsigned i = 0; i < count && i < MAP_REGIONS_MAX && !unpacker.bad; i++) {
		uint16_t region = unpack_u16(&unpacker);
		uint32_t us = unpack_u32(&unpacker);
		struct rtt_heard *heard;

		if (unpacker.bad || region >= MAP_REGIONS_MAX || us == 0 || us == LATENCY_UNKNOWN)
			break;
		heard = &node->rtt->heard[sender->region][region];
		/* Of several nodes of a region the least counts, and each may take its own word back. */
		if (us <= heard->us || heard->from == from || over(node, heard->heard_ns, RTT_FRESH_MS / 2))
			*heard = (struct rtt_heard){ us, from, node->time.now_ns };
	}
}

const struct rtt_matrix *rtt_matrix_now(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct rtt_rows *rtt = node->rtt;
	const struct map_node *own = map_node_find(map, node->identity.node);
	uint32_t row_us[MAP_REGIONS_MAX];

	if (!over(node, rtt->matrix_ns, RTT_MATRIX_MS) && rtt->matrix.count == map->region_count)
		return &rtt->matrix;
	rtt->matrix_ns = node->time.now_ns;
	rtt_matrix_init(&rtt->matrix, map->region_count);
	for (uint32_t i = 0; i < map->region_count; i++) {
		for (uint32_t j = 0; j < map->region_count; j++) {
			if (rtt->heard[i][j].from != 0 && !over(node, rtt->heard[i][j].heard_ns, RTT_FRESH_MS))
				rtt_matrix_add(&rtt->matrix, i, j, rtt->heard[i][j].us);
		}
	}
	own_row(node, row_us);
	for (uint32_t i = 0; own != NULL && i < map->region_count; i++)
		rtt_matrix_add(&rtt->matrix, own->region, i, row_us[i]);
	return &rtt->matrix;
}
