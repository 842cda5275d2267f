/* client/scan.c: the keys with a prefix, in order, over all shards of all policies whose keys may have it.
 *
 * A plan is made with one map: a part per shard. Each part asks its shard for a page behind where it is. When all pages
 * are there, everything up to the horizon is complete: the horizon is the least last key of the parts that have more.
 * Rows up to it are the answer; the rest is left for the next scan (`more`). When that is no row at all (the page held
 * only rows that the filter dropped) the parts at the horizon fetch their next page.
 *
 * Residency: the prefix and the place to resume are beginnings of keys too. A node whose place the policy of those
 * bytes does not allow gets only what a binding says anyway (router_sendable), and the rows that come too many are
 * dropped here.
 *
 * All or nothing: a part that is refused refuses the scan, naming its policy. A newer map makes a new plan. */
#include <stdlib.h>

#include "base/text.h"
#include "client/client_internal.h"

enum { SCAN_POLICIES_MAX = 32, SCAN_PARTS_MAX = SCAN_POLICIES_MAX * SHARDS_PER_POLICY_MAX, PLANS_MAX = 8 };

struct page {
	struct page *next;
	size_t size, used;
	uint8_t data[];
};
struct scan_part {
	struct run run;
	uint64_t policy, shard;
	struct call_row *rows;
	size_t row_count, row_capacity;
	struct bytes cursor; /* last key that came, kept or dropped; in a page */
	bool more, running;
};
struct scan {
	struct scan_part *parts;
	struct page *pages; /* what rows and cursors point into */
	uint32_t part_count, running;
	uint32_t plans;
	uint64_t map_epoch, deadline_ns;
	bool starting; /* parts may end while others are begun: judge afterwards */
	enum status failed;
	char why[MESSAGE_SIZE];
};

static void conclude(struct dom_call *call);
static void plan(struct dom_call *call);

static void drop_plan(struct scan *scan)
{
	for (uint32_t i = 0; i < scan->part_count; i++)
		free(scan->parts[i].rows);
	free(scan->parts);
	scan->parts = NULL;
	scan->part_count = scan->running = 0;
	for (struct page *page; (page = scan->pages);) {
		scan->pages = page->next;
		free(page);
	}
}

void scan_stop(struct scan *scan)
{
	for (uint32_t i = 0; i < scan->part_count; i++)
		run_abandon(&scan->parts[i].run);
}

void scan_free(struct scan *scan)
{
	if (!scan)
		return;
	drop_plan(scan);
	free(scan);
}

/* --- rows ------------------------------------------------------------------------------------------------- */

static bool copy_bytes(struct scan *scan, struct bytes bytes, struct bytes *out)
{
	struct page *page = scan->pages;
	if (!page || page->size - page->used < bytes.size) {
		size_t size = bytes.size > (64 << 10) ? bytes.size : (64 << 10);
		page = malloc(sizeof(*page) + size);
		if (!page)
			return false;
		*page = (struct page){ .next = scan->pages, .size = size };
		scan->pages = page;
	}
	if (bytes.size > 0)
		memcpy(page->data + page->used, bytes.data, bytes.size);
	*out = bytes_of(page->data + page->used, bytes.size);
	page->used += bytes.size;
	return true;
}

static bool keep_row(struct scan *scan, struct scan_part *part, const struct reply_row *row)
{
	if (part->row_count == part->row_capacity) {
		size_t capacity = part->row_capacity == 0 ? 64 : part->row_capacity * 2;
		struct call_row *grown = realloc(part->rows, capacity * sizeof(*grown));
		if (!grown)
			return false;
		part->rows = grown;
		part->row_capacity = capacity;
	}
	struct call_row *at = &part->rows[part->row_count];
	at->version = row->version;
	if (!copy_bytes(scan, row->key, &at->key) || !copy_bytes(scan, row->value, &at->value))
		return false;
	part->row_count++;
	return true;
}

/* The page's rows that were asked for. The page goes on behind where the part was, or is malformed. */
static enum status take_page(struct dom_call *call, struct scan_part *part, const struct message_reply *reply)
{
	struct scan *scan = call->scan;
	struct bytes last = part->cursor;
	part->more = reply->more;
	for (uint32_t i = 0; i < reply->row_count; i++) {
		const struct reply_row *row = &reply->rows[i];
		if (last.size > 0 && bytes_compare(row->key, last) <= 0)
			return STATUS_INVALID;
		last = row->key;
		if (!bytes_starts_with(row->key, call->key)) {
			if (bytes_compare(row->key, call->key) > 0)
				part->more = false; /* beyond all that begin with the prefix */
			continue;
		}
		if (call->after.size > 0 && bytes_compare(row->key, call->after) <= 0)
			continue;
		if (!keep_row(scan, part, row))
			return STATUS_NO_MEMORY;
	}
	if (part->more && reply->row_count == 0)
		return STATUS_INVALID;
	if (reply->row_count > 0 && !copy_bytes(scan, last, &part->cursor))
		return STATUS_NO_MEMORY;
	return STATUS_OK;
}

/* --- parts ------------------------------------------------------------------------------------------------- */

static void fail(struct dom_call *call, const struct scan_part *part, enum status status, const char *text)
{
	struct scan *scan = call->scan;
	const struct policy *policy = part ? map_policy_find(router_map(call->client->router), part->policy) : NULL;
	struct text why;
	if (scan->failed != STATUS_OK)
		return;
	scan->failed = status;
	text_init(&why, scan->why, sizeof(scan->why));
	if (policy) {
		text_add(&why, "policy ");
		text_add(&why, policy->name);
		text_add(&why, ": ");
	}
	text_add(&why, text && *text ? text : status_text(status));
}

static void part_start(struct dom_call *call, struct scan_part *part)
{
	struct scan *scan = call->scan;
	uint32_t limit = call->limit < SCAN_ROWS_MAX ? call->limit : SCAN_ROWS_MAX;
	struct operation_spec spec = {
		.operation = OPERATION_SCAN,
		.level = call->level,
		.staleness_max_ms = call->staleness_max_ms,
		.key = call->key,
		.after = part->cursor.size > 0 ? part->cursor : call->after,
		.limit = limit,
		.deadline_ns = scan->deadline_ns,
		.policy = part->policy,
		.shard = part->shard,
		.map_epoch = scan->map_epoch,
		.map_epoch_min = call_map_epoch_min(call),
	};
	part->running = true;
	scan->running++;
	run_start(&part->run, &spec);
}

void scan_part_done(
	struct run *run, const struct operation_action *action, const struct message_reply *reply, uint64_t node)
{
	struct dom_call *call = run->call;
	struct scan *scan = call->scan;
	struct scan_part *part = run->part;
	enum status status = action->status;
	assert(part->running);
	assert(scan->running > 0);
	run_abandon(run);
	part->running = false;
	scan->running--;
	if (action->answered && status == STATUS_OK) {
		status = take_page(call, part, reply);
		if (call->session) {
			session_advance(call->session, part->shard, reply->index);
			session_saw_map(call->session, scan->map_epoch);
		}
		if (reply->staleness_ms > call->staleness_ms)
			call->staleness_ms = reply->staleness_ms;
		call_set_served_by(call, node);
		if (status != STATUS_OK)
			fail(call, part, status, "the node's answer is malformed");
	} else {
		fail(call, part, status, run->operation.text);
	}
	if (!scan->starting && (scan->running == 0 || scan->failed != STATUS_OK))
		conclude(call);
}

static int compare_rows(const void *a, const void *b)
{
	return bytes_compare(((const struct call_row *)a)->key, ((const struct call_row *)b)->key);
}

/* False: no part has more. */
static bool find_horizon(const struct scan *scan, struct bytes *horizon)
{
	bool more = false;
	for (uint32_t i = 0; i < scan->part_count; i++) {
		const struct scan_part *part = &scan->parts[i];
		if (!part->more)
			continue;
		if (!more || bytes_compare(part->cursor, *horizon) < 0)
			*horizon = part->cursor;
		more = true;
	}
	return more;
}

/* The rows up to the horizon, merged. False: no memory. */
static bool merge(struct dom_call *call, bool bounded, struct bytes horizon, bool *left)
{
	struct scan *scan = call->scan;
	size_t count = 0, at = 0;
	for (uint32_t i = 0; i < scan->part_count; i++)
		count += scan->parts[i].row_count;
	struct call_row *rows = malloc((count == 0 ? 1 : count) * sizeof(*rows));
	if (!rows)
		return false;
	for (uint32_t i = 0; i < scan->part_count; i++)
		for (size_t j = 0; j < scan->parts[i].row_count; j++) {
			const struct call_row *row = &scan->parts[i].rows[j];
			if (!bounded || bytes_compare(row->key, horizon) <= 0)
				rows[at++] = *row;
		}
	qsort(rows, at, sizeof(*rows), compare_rows);
	*left = bounded || at > call->limit;
	free(call->rows);
	call->rows = rows;
	call->row_count = at < call->limit ? at : call->limit;
	return true;
}

static void next_pages(struct dom_call *call, struct bytes horizon)
{
	struct scan *scan = call->scan;
	scan->starting = true;
	for (uint32_t i = 0; i < scan->part_count && scan->failed == STATUS_OK; i++) {
		struct scan_part *part = &scan->parts[i];
		if (part->more && bytes_compare(part->cursor, horizon) == 0)
			part_start(call, part);
	}
	scan->starting = false;
}

static void give_up(struct dom_call *call)
{
	struct scan *scan = call->scan;
	bool replan = scan->failed == STATUS_STALE_MAP && scan->plans < PLANS_MAX;
	scan_stop(scan);
	if (replan) {
		drop_plan(scan);
		plan(call);
		return;
	}
	call_end(call, scan->failed, scan->failed == STATUS_STALE_MAP ? "the cluster map keeps changing" : scan->why);
}

/* All parts have ended, or one has failed. */
static void conclude(struct dom_call *call)
{
	struct scan *scan = call->scan;
	struct bytes horizon = { NULL, 0 };
	while (scan->failed == STATUS_OK && scan->running == 0) {
		bool left, more = find_horizon(scan, &horizon);
		if (!merge(call, more, horizon, &left)) {
			fail(call, NULL, STATUS_NO_MEMORY, "");
			break;
		}
		if (call->row_count > 0 || !more) {
			call->more = left;
			call_end(call, STATUS_OK, "");
			return;
		}
		next_pages(call, horizon);
	}
	if (scan->failed != STATUS_OK) {
		call->row_count = 0;
		give_up(call);
	}
}

/* --- the plan -------------------------------------------------------------------------------------------------- */

/* Every policy must let us read, or nothing is read. */
static enum status judge(struct dom_call *call, const uint64_t policies[], unsigned count)
{
	struct scan *scan = call->scan;
	struct router *router = call->client->router;
	for (unsigned i = 0; i < count; i++) {
		const struct policy *policy = map_policy_find(router_map(router), policies[i]);
		if (policy && call->policy[0] != '\0' && strcmp(call->policy, policy->name) != 0) {
			fail(call, NULL, STATUS_POLICY_MISMATCH, "keys with this prefix may be bound to policy ");
			struct text why = { scan->why, strlen(scan->why), sizeof(scan->why) };
			text_add(&why, policy->name);
			return STATUS_POLICY_MISMATCH;
		}
		char why[ROUTER_WHY_MAX];
		enum status status = router_may_access(router, policies[i], false, why);
		if (status != STATUS_OK) {
			fail(call, NULL, status, why);
			return status;
		}
	}
	return STATUS_OK;
}

static uint32_t count_parts(const struct cluster_map *map, const uint64_t policies[], unsigned count)
{
	uint32_t parts = 0;
	for (uint32_t i = 0; i < map->shard_count; i++)
		for (unsigned j = 0; j < count; j++)
			parts += map->shards[i].policy == policies[j] && !map_shard_empty(&map->shards[i]);
	return parts;
}

static void fill_parts(struct dom_call *call, const uint64_t policies[], unsigned count)
{
	const struct cluster_map *map = router_map(call->client->router);
	struct scan *scan = call->scan;
	uint32_t at = 0;
	for (uint32_t i = 0; i < map->shard_count; i++)
		for (unsigned j = 0; j < count; j++) {
			if (map->shards[i].policy != policies[j] || map_shard_empty(&map->shards[i]))
				continue;
			struct scan_part *part = &scan->parts[at++];
			run_init(&part->run, call);
			part->run.part = part;
			part->policy = policies[j];
			part->shard = map->shards[i].id;
		}
	assert(at == scan->part_count);
}

static void plan(struct dom_call *call)
{
	struct scan *scan = call->scan;
	const struct cluster_map *map = router_map(call->client->router);
	uint64_t policies[SCAN_POLICIES_MAX];
	unsigned count = map_policies_under(map, call->key, policies, SCAN_POLICIES_MAX);
	scan->plans++;
	scan->failed = STATUS_OK;
	scan->map_epoch = map->epoch;
	if (count > SCAN_POLICIES_MAX)
		fail(call, NULL, STATUS_INVALID,
			"more than 32 policies may hold keys with this prefix; give a longer one");
	else if (count == 0)
		fail(call, NULL, STATUS_RESIDENCY_REFUSED, "no binding covers any key with this prefix");
	else
		(void)(judge(call, policies, count) == STATUS_OK);
	uint32_t parts = scan->failed == STATUS_OK ? count_parts(map, policies, count) : 0;
	if (parts > SCAN_PARTS_MAX)
		fail(call, NULL, STATUS_INVALID, "too many shards may hold keys with this prefix; give a longer one");
	if (scan->failed == STATUS_OK) {
		scan->parts = calloc(parts == 0 ? 1 : parts, sizeof(*scan->parts));
		if (!scan->parts)
			fail(call, NULL, STATUS_NO_MEMORY, "");
	}
	if (scan->failed == STATUS_OK) {
		scan->part_count = parts;
		fill_parts(call, policies, count);
		scan->starting = true;
		for (uint32_t i = 0; i < parts && scan->failed == STATUS_OK; i++)
			part_start(call, &scan->parts[i]);
		scan->starting = false;
	}
	if (scan->running == 0 || scan->failed != STATUS_OK)
		conclude(call);
}

void scan_start(struct dom_call *call)
{
	struct dom_client *client = call->client;
	if (call->limit == 0)
		call->limit = SCAN_ROWS_MAX;
	call->scan = calloc(1, sizeof(*call->scan));
	if (!call->scan) {
		call_end(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	call->scan->deadline_ns = client_now() + call->timeout_ns;
	if (router_epoch(client->router) == 0) {
		call_end(call, STATUS_QUORUM_UNAVAILABLE, "no cluster map is known yet");
		return;
	}
	plan(call);
}
