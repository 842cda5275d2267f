/* server/rtt.c: see server/rtt.h. */
#include "server/rtt.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "server/node_internal.h"

enum { RTT_VERSION = 2, RTT_CHANGE_US = 1000, RTT_BODY_MAX = 11 + 6 * MAP_REGIONS_MAX };

static uint64_t digest_of(const struct cluster_map *map, uint32_t count)
{
	uint64_t digest = 0;

	for (uint32_t i = 0; i < count; i++)
		digest = hash64_seeded(bytes_text(map->regions[i].name), digest);
	return digest;
}

/* A region that came stands behind the others. When one went, positions mean others: what was by them is forgotten, and
 * comes again. */
static void regions_look(struct node *node)
{
	const struct cluster_map *map = node_map_in_force(node);
	struct rtt_rows *rtt = node->rtt;
	uint64_t digest;

	if (map->epoch == rtt->map_epoch)
		return;
	rtt->map_epoch = map->epoch;
	digest = digest_of(map, map->region_count);
	if (digest == rtt->regions && map->region_count == rtt->region_count)
		return;
	if (map->region_count < rtt->region_count || digest_of(map, rtt->region_count) != rtt->regions) {
		memset(rtt->heard, 0, sizeof(rtt->heard));
		for (size_t i = 0; i < node->table_size; i++) {
			if (node->table[i] != NULL)
				node->table[i]->leading.count = 0; /* who writes, by region */
		}
	}
	rtt->regions = digest;
	rtt->region_count = map->region_count;
	rtt->told_ns = rtt->matrix_ns = 0;
}

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

	regions_look(node);
	own_row(node, row_us);
	if (!worth_telling(node, row_us))
		return;
	for (unsigned i = 0; i < MAP_REGIONS_MAX; i++)
		count = (uint16_t)(count + (row_us[i] != LATENCY_UNKNOWN));
	if (count == 0)
		return;
	pack_init(&packer, body, sizeof(body));
	pack_u8(&packer, RTT_VERSION);
	pack_u64(&packer, node->rtt->regions);
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

/* A node speaks for its own region only. */
void rtt_received(struct node *node, uint64_t from, struct bytes body)
{
	const struct cluster_map *map = node_map_in_force(node);
	const struct map_node *sender = map_node_find(map, from);
	struct unpacker unpacker;
	uint16_t count;

	regions_look(node);
	unpack_init(&unpacker, body);
	if (sender == NULL || unpack_u8(&unpacker) != RTT_VERSION ||
		unpack_u64(&unpacker) != node->rtt->regions) { /* or it speaks of another list */
		node->dropped++;
		return;
	}
	count = unpack_u16(&unpacker);
	for (unsigned i = 0; i < count && i < MAP_REGIONS_MAX && !unpacker.bad; i++) {
		uint16_t region = unpack_u16(&unpacker);
		uint32_t us = unpack_u32(&unpacker);
		struct rtt_heard *heard;

		if (unpacker.bad || region >= map->region_count || us == 0 || us == LATENCY_UNKNOWN)
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

	regions_look(node);
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
