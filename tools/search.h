/* tools/search.h: asks nodes whether certain bytes are on their disks, slice by slice (base/search.h), all at once. */
#ifndef DOMICILE_TOOLS_SEARCH_H
#define DOMICILE_TOOLS_SEARCH_H

#include "base/search.h"
#include "tools/session.h"

struct search_find { /* one secret in one layer of a node */
	uint16_t of;
	uint8_t layer, form;
	uint64_t times, offset;
	char path[SEARCH_PATH_MAX]; /* the first */
};
struct searched {
	uint64_t node;
	bool wanted; /* is to be asked by the next search_nodes */
	bool whole;  /* all that it has was searched, but for `unread` */
	bool own_log;
	uint64_t size;
	uint32_t files, unread;
	char unread_path[SEARCH_PATH_MAX];
	char why[192]; /* not whole: why */
	struct search_find *finds;
	uint32_t count, capacity;
};
/* The map's nodes, all wanted. */
uint32_t search_begin(const struct session *session, struct searched nodes[MAP_NODES_MAX]);
/* Those that are wanted, from the begin; what was found before stays. Needles are sealed. stop: asked between slices.
 */
void search_nodes(struct session *session, const struct needles *needles, struct searched nodes[], uint32_t count,
	bool (*stop)(void));
void search_end(struct searched nodes[], uint32_t count);

#endif
