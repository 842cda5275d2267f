/* tools/search.c: see tools/search.h. */
#include "tools/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/errors.h"
#include "tools/output.h"

enum { TRIES_MAX = 3, BUSY_PAUSE_MS = 50, PAUSE_MAX_MS = 1000 };

struct asking { /* of one node */
	struct search_place from;
	uint64_t patience_ns; /* BUSY is taken until then */
	unsigned tries;
	dom_call *call;
};

uint32_t search_begin(const struct session *session, struct searched nodes[MAP_NODES_MAX])
{
	for (uint32_t i = 0; i < session->map->node_count; i++)
		nodes[i] = (struct searched){ .node = session->map->nodes[i].id, .wanted = true };
	return session->map->node_count;
}

void search_end(struct searched nodes[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		free(nodes[i].finds);
}

static void add(struct searched *node, const struct search_hit *hit)
{
	struct search_find *find;

	for (uint32_t i = 0; i < node->count; i++) {
		find = &node->finds[i];
		if (find->of == hit->of && find->layer == hit->layer) {
			find->times += hit->times;
			return;
		}
	}
	if (node->count == node->capacity) {
		node->capacity = node->capacity == 0 ? 64 : 2 * node->capacity;
		node->finds = realloc(node->finds, node->capacity * sizeof(node->finds[0]));
		if (node->finds == NULL)
			abort();
	}
	find = &node->finds[node->count++];
	*find = (struct search_find){
		.of = hit->of, .layer = hit->layer, .form = hit->form, .times = hit->times, .offset = hit->offset
	};
	memcpy(find->path, hit->path, sizeof(find->path));
}

/* --- what the node says of itself --------------------------------------------------------------------- */

static void found_in_status(void *arg, const struct needle *needle, size_t at)
{
	struct search_hit hit = { .of = needle->of,
		.layer = SEARCH_STATUS,
		.form = needle->form,
		.times = 1,
		.offset = at,
		.path = "node.status" };

	add(arg, &hit);
}

static void search_statuses(struct session *session, const struct needles *needles, struct searched nodes[],
	struct asking asking[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		asking[i].call = nodes[i].wanted ? client_admin(session->client, nodes[i].node, "node.status",
							   bytes_of(NULL, 0), session->invocation->timeout_ms)
						 : NULL;
	for (uint32_t i = 0; i < count; i++) {
		dom_bytes said;

		if (!nodes[i].wanted)
			continue;
		if (asking[i].call == NULL)
			abort();
		if (dom_call_wait(asking[i].call) == DOM_OK) {
			said = dom_call_value(asking[i].call, 0);
			needles_search(needles, said.data, said.size, 0, found_in_status, &nodes[i]);
		} else {
			snprintf(nodes[i].why, sizeof(nodes[i].why), "%s", dom_call_message(asking[i].call));
			nodes[i].wanted = false;
		}
		dom_call_free(asking[i].call);
	}
}

/* --- its files ---------------------------------------------------------------------------------------- */

static dom_call *ask(struct session *session, const struct needles *needles, uint64_t node, const struct asking *asking)
{
	static uint8_t body[SEARCH_REQUEST_MAX];
	struct packer packer;

	pack_init(&packer, body, sizeof(body));
	search_request_encode(&asking->from, needles, &packer);
	if (packer.overflow)
		abort();
	return client_admin(
		session->client, node, "residency.search", pack_result(&packer), session->invocation->timeout_ms);
}

static uint32_t take(struct searched *node, struct asking *asking, struct search_slice *slice)
{
	node->size += slice->size;
	node->files += slice->files;
	if (node->unread == 0 && slice->unread > 0)
		memcpy(node->unread_path, slice->unread_path, sizeof(node->unread_path));
	node->unread += slice->unread;
	node->own_log = node->own_log || slice->own_log;
	for (uint32_t i = 0; i < slice->count; i++)
		add(node, &slice->at[i]);
	asking->from = slice->next;
	asking->tries = 0;
	asking->patience_ns = 0;
	if (slice->next.stage == SEARCH_ENDED) {
		node->whole = true;
		node->wanted = false;
	}
	return slice->pause_ms < PAUSE_MAX_MS ? slice->pause_ms : PAUSE_MAX_MS;
}

/* How long to wait before it is asked again, in ms. */
static uint32_t answered(const struct session *session, struct searched *node, struct asking *asking)
{
	static struct search_slice slice;
	enum dom_status status = dom_call_wait(asking->call);
	uint64_t now_ns = clock_boot_ns();
	dom_bytes bytes;

	if (status == DOM_OK) {
		bytes = dom_call_value(asking->call, 0);
		if (search_slice_decode(bytes_of(bytes.data, bytes.size), &slice) == STATUS_OK)
			return take(node, asking, &slice);
		snprintf(node->why, sizeof(node->why), "its answer does not decode: is it of another version?");
		node->wanted = false;
		return 0;
	}
	snprintf(node->why, sizeof(node->why), "%s", dom_call_message(asking->call));
	if (asking->patience_ns == 0)
		asking->patience_ns = now_ns + (uint64_t)session->invocation->timeout_ms * 1000000;
	if (status == DOM_BUSY) /* somebody else's slice is in the way, or ours of before */
		node->wanted = now_ns < asking->patience_ns;
	else
		node->wanted = (dom_status_retryable(status) || status == DOM_CANNOT_CONNECT) &&
			       ++asking->tries < TRIES_MAX && now_ns < asking->patience_ns;
	return BUSY_PAUSE_MS;
}

static void progress(const struct session *session, const struct searched nodes[], uint32_t count, bool last)
{
	uint64_t size = 0;
	uint32_t left = 0;

	if (session->invocation->quiet || !on_terminal(stderr))
		return;
	for (uint32_t i = 0; i < count; i++) {
		size += nodes[i].size;
		left += nodes[i].wanted;
	}
	if (last)
		fputs("\r\033[K", stderr);
	else
		fprintf(stderr, "\r\033[Ksearched %llu MiB, %u nodes left", (unsigned long long)(size >> 20), left);
	fflush(stderr);
}

void search_nodes(struct session *session, const struct needles *needles, struct searched nodes[], uint32_t count,
	bool (*stop)(void))
{
	static struct asking asking[MAP_NODES_MAX];
	bool more = true;

	if (stop())
		return;
	memset(asking, 0, sizeof(asking));
	search_statuses(session, needles, nodes, asking, count);
	for (uint32_t i = 0; i < count; i++) {
		if (!nodes[i].wanted)
			continue;
		nodes[i].whole = false;
		nodes[i].size = nodes[i].files = nodes[i].unread = 0;
	}
	while (more && !stop()) {
		uint32_t pause_ms = 0;

		more = false;
		for (uint32_t i = 0; i < count; i++)
			asking[i].call = nodes[i].wanted ? ask(session, needles, nodes[i].node, &asking[i]) : NULL;
		for (uint32_t i = 0; i < count; i++) {
			uint32_t wait_ms;

			if (asking[i].call == NULL)
				continue;
			wait_ms = answered(session, &nodes[i], &asking[i]);
			dom_call_free(asking[i].call);
			more = more || nodes[i].wanted;
			pause_ms = nodes[i].wanted && wait_ms > pause_ms ? wait_ms : pause_ms;
		}
		progress(session, nodes, count, !more);
		if (more)
			usleep(pause_ms * 1000);
	}
}
