/* client/call.c: a call from its making, on any thread, to its end, on the loop's; and what it hands out. One
 * allocation holds the call, its key and its value, and as a rule the value that comes back. Everything the caller
 * reads is written before `done` is set, and never after.
 *
 * Waiting and callbacks are under one of a few mutexes that calls share by their address, so that a call is made
 * without making a mutex. Lock order: nothing else is taken while a stripe is held. */
#include <stdlib.h>

#include "base/text.h"
#include "client/client_internal.h"

enum { STRIPES = 64, ANSWER_SIZE_MIN = 256 };

static struct stripe {
	pthread_mutex_t lock;
	pthread_cond_t done;
} stripes[STRIPES];
static pthread_once_t stripes_once = PTHREAD_ONCE_INIT;

static void stripes_init(void)
{
	for (unsigned i = 0; i < STRIPES; i++) {
		pthread_mutex_init(&stripes[i].lock, NULL);
		pthread_cond_init(&stripes[i].done, NULL);
	}
}

static struct stripe *stripe_of(const struct dom_call *call)
{
	pthread_once(&stripes_once, stripes_init);
	return &stripes[((uintptr_t)call >> 8) % STRIPES];
}

static struct bytes area_copy(struct dom_call *call, struct bytes bytes)
{
	uint8_t *to = call->area + call->area_used;
	assert(call->area_used + bytes.size <= call->area_size);
	if (bytes.size > 0)
		memcpy(to, bytes.data, bytes.size);
	call->area_used += bytes.size;
	return bytes_of(to, bytes.size);
}

struct dom_call *call_new(struct dom_client *client, enum call_kind kind, struct bytes key, struct bytes value,
	struct bytes after, uint32_t timeout_ms)
{
	size_t area_size = key.size + value.size + after.size + ANSWER_SIZE_MIN;
	struct dom_call *call = malloc(sizeof(*call) + area_size);
	if (!call)
		return NULL;
	memset(call, 0, offsetof(struct dom_call, run));
	memset(&call->scan, 0, offsetof(struct dom_call, message) - offsetof(struct dom_call, scan));
	call->message[0] = '\0';
	call->served_by[0] = '\0';
	call->rows = NULL;
	call->row_count = 0;
	call->owned = NULL;
	call->area_size = area_size;
	call->area_used = 0;
	atomic_init(&call->refs, 2);
	atomic_init(&call->done, false);
	call->client = client;
	call->queue = client->queue;
	queue_ref(call->queue);
	list_init(&call->link);
	run_init(&call->run, call);
	call->kind = (uint8_t)kind;
	call->timeout_ns = (uint64_t)(timeout_ms == 0 ? client->timeout_ms : timeout_ms) * 1000000;
	call->status = DOM_INVALID;
	call->key = area_copy(call, key);
	call->value = area_copy(call, value);
	call->after = area_copy(call, after);
	return call;
}

void call_unref(struct dom_call *call)
{
	if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
		return;
	assert(call->done);
	scan_free(call->scan);
	ask_free(call->ask);
	queue_unref(call->queue);
	if (call->rows != &call->row)
		free(call->rows);
	free(call->owned);
	free(call);
}

/* --- start and end ---------------------------------------------------------------------------------------- */

static void finish(struct dom_call *call)
{
	struct stripe *stripe = stripe_of(call);
	pthread_mutex_lock(&stripe->lock);
	assert(!call->done);
	call->client = NULL;
	atomic_store_explicit(&call->done, true, memory_order_release);
	dom_done_fn *fn = call->fn;
	void *arg = call->arg;
	if (call->waited)
		pthread_cond_broadcast(&stripe->done);
	pthread_mutex_unlock(&stripe->lock);
	if (fn)
		fn(call, arg);
	call_unref(call);
}

/* What never leaves the product becomes what it means to a caller. */
static enum dom_status public_status(enum status status)
{
	switch (status) {
	case STATUS_DENIED:
		return DOM_CANNOT_CONNECT;
	case STATUS_UNSUPPORTED:
		return DOM_INVALID;
	case STATUS_NOT_LEADER:
	case STATUS_STALE_MAP:
		return DOM_QUORUM_UNAVAILABLE;
	case STATUS_CORRUPT:
	case STATUS_IO:
	case STATUS_NO_SPACE:
	case STATUS_END:
		return DOM_BUSY;
	default:
		return (enum dom_status)status;
	}
}

static void set_message(struct dom_call *call, enum status status, const char *message)
{
	struct text text;
	text_init(&text, call->message, sizeof(call->message));
	if (message && message[0] != '\0')
		text_add(&text, message);
	else if (status != STATUS_OK)
		text_add(&text, status_text(status));
}

void call_end(struct dom_call *call, enum status status, const char *message)
{
	struct dom_client *client = call->client;
	assert(!call->done);
	run_abandon(&call->run);
	if (call->scan)
		scan_stop(call->scan);
	if (call->has_ticket)
		lanes_return(&client->lanes, &call->ticket);
	if (call->counted)
		atomic_fetch_sub_explicit(&client->in_flight, 1, memory_order_relaxed);
	list_remove(&call->link);
	call->status = public_status(status);
	set_message(call, status, message);
	if (status == STATUS_RESIDENCY_REFUSED)
		fetch_doubted(client);
	finish(call);
}

static dom_call *end_unsubmitted(struct dom_call *call, enum dom_status status, const char *message)
{
	call->status = status;
	set_message(call, (enum status)status, message);
	finish(call);
	return call;
}

dom_call *call_refuse(struct dom_call *call, enum dom_status status, const char *message)
{
	assert(status != DOM_OK);
	call->status = status;
	set_message(call, (enum status)status, message);
	return call;
}

dom_call *call_submit(struct dom_call *call)
{
	struct dom_client *client = call->client;
	if (call->message[0] != '\0') { /* refused while it was made */
		finish(call);
		return call;
	}
	if (atomic_fetch_add_explicit(&client->in_flight, 1, memory_order_relaxed) >= client->in_flight_max) {
		atomic_fetch_sub_explicit(&client->in_flight, 1, memory_order_relaxed);
		return end_unsubmitted(
			call, DOM_BUSY, "this client has in_flight_max calls open; wait for some to end");
	}
	call->counted = true;
	if (queue_on_loop(call->queue) && !client->closing) {
		client_enter(client);
		call_start(call);
		client_leave(client);
	} else if (!queue_push(call->queue, call)) {
		return end_unsubmitted(call, DOM_CLOSED, "the client is closed");
	}
	return call;
}

uint64_t call_map_epoch_min(const struct dom_call *call)
{
	bool reads = call->kind == CALL_SCAN || !operation_is_write(call->operation);
	return reads && call->session && call->level == READ_SESSION ? session_map_epoch(call->session) : 0;
}

void call_start(struct dom_call *call)
{
	struct dom_client *client = call->client;
	struct operation_spec spec;
	list_push_back(&client->calls, &call->link);
	if (client->closing) {
		call_end(call, STATUS_CLOSED, "the client was closed");
		return;
	}
	if (call->session && router_epoch(client->router) != 0 &&
		!session_join(call->session, router_map(client->router)->cluster)) {
		call_end(call, STATUS_INVALID, "the session is of another cluster: its token says nothing here");
		return;
	}
	if (call->kind == CALL_SCAN) {
		scan_start(call);
		return;
	}
	if (call->kind == CALL_ASK) {
		ask_start(call);
		return;
	}
	memset(&spec, 0, sizeof(spec));
	spec.operation = call->operation;
	spec.level = call->level;
	spec.staleness_max_ms = call->staleness_max_ms;
	spec.key = call->key;
	spec.value = call->value;
	spec.version = call->version;
	spec.guard = call->policy[0] != '\0' ? call->policy : NULL;
	spec.map_epoch_min = call_map_epoch_min(call);
	spec.deadline_ns = client_now() + call->timeout_ns;
	if (operation_is_write(call->operation)) {
		call->has_ticket = lanes_take(&client->lanes, &call->ticket);
		if (!call->has_ticket) {
			call_end(call, STATUS_BUSY, "too many writes are open in this client; wait for some to end");
			return;
		}
		spec.lanes = &client->lanes;
		spec.ticket = call->ticket;
	}
	run_start(&call->run, &spec);
}

/* --- results ------------------------------------------------------------------------------------------------ */

bool call_set_value(struct dom_call *call, struct bytes value, uint64_t version)
{
	uint8_t *to = call->area + call->area_used;
	if (value.size > call->area_size - call->area_used) {
		to = malloc(value.size);
		if (!to)
			return false;
		free(call->owned);
		call->owned = to;
	}
	if (value.size > 0)
		memcpy(to, value.data, value.size);
	call->row = (struct call_row){ .key = call->key, .value = bytes_of(to, value.size), .version = version };
	call->rows = &call->row;
	call->row_count = 1;
	return true;
}

void call_set_served_by(struct dom_call *call, uint64_t node_id)
{
	const struct map_node *node = map_node_find(router_map(call->client->router), node_id);
	if (node)
		memcpy(call->served_by, node->place.text, sizeof(call->served_by));
}

/* --- the face ------------------------------------------------------------------------------------------------- */

static bool is_done(const struct dom_call *call)
{
	return atomic_load_explicit(&call->done, memory_order_acquire);
}

void call_notify(struct dom_call *call)
{
	assert(is_done(call));
	call->fn(call, call->arg);
	call_unref(call);
}

void dom_call_on_done(dom_call *call, dom_done_fn *fn, void *arg)
{
	struct stripe *stripe = stripe_of(call);
	pthread_mutex_lock(&stripe->lock);
	bool late = is_done(call);
	assert(!call->fn);
	call->fn = fn;
	call->arg = arg;
	pthread_mutex_unlock(&stripe->lock);
	if (!late)
		return;
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
	if (!queue_push(call->queue, call))
		call_notify(call); /* there is no loop any more */
}

enum dom_status dom_call_wait(dom_call *call)
{
	struct stripe *stripe = stripe_of(call);
	if (!is_done(call)) {
		if (queue_on_loop(call->queue))
			return DOM_INVALID;
		pthread_mutex_lock(&stripe->lock);
		call->waited = true;
		while (!is_done(call))
			pthread_cond_wait(&stripe->done, &stripe->lock);
		pthread_mutex_unlock(&stripe->lock);
	}
	return call->status;
}

void dom_call_free(dom_call *call)
{
	if (!call)
		return;
	struct stripe *stripe = stripe_of(call);
	pthread_mutex_lock(&stripe->lock);
	if (!is_done(call))
		call->fn = NULL; /* forgotten */
	pthread_mutex_unlock(&stripe->lock);
	call_unref(call);
}

enum dom_status dom_call_status(const dom_call *call)
{
	return is_done(call) ? call->status : DOM_INVALID;
}

const char *dom_call_message(const dom_call *call)
{
	if (!is_done(call))
		return "the call is not done";
	return call->status == DOM_OK ? "" : call->message;
}

size_t dom_call_rows(const dom_call *call)
{
	return is_done(call) ? call->row_count : 0;
}

static const struct call_row *row_of(const dom_call *call, size_t row)
{
	return row < dom_call_rows(call) ? &call->rows[row] : NULL;
}

static dom_bytes public_bytes(const struct bytes *bytes)
{
	return bytes ? (dom_bytes){ bytes->data, bytes->size } : (dom_bytes){ NULL, 0 };
}

dom_bytes dom_call_key(const dom_call *call, size_t row)
{
	const struct call_row *at = row_of(call, row);
	return public_bytes(at ? &at->key : NULL);
}

dom_bytes dom_call_value(const dom_call *call, size_t row)
{
	const struct call_row *at = row_of(call, row);
	return public_bytes(at ? &at->value : NULL);
}

uint64_t dom_call_version(const dom_call *call, size_t row)
{
	const struct call_row *at = row_of(call, row);
	if (at)
		return at->version;
	return is_done(call) && row == 0 ? call->version : 0;
}

int64_t dom_call_written_us(const dom_call *call, size_t row)
{
	return (int64_t)(dom_call_version(call, row) >> 12);
}

bool dom_call_more(const dom_call *call)
{
	return is_done(call) && call->more;
}

bool dom_call_degraded(const dom_call *call)
{
	return is_done(call) && call->degraded;
}

uint32_t dom_call_staleness_ms(const dom_call *call)
{
	return is_done(call) && call->level != READ_STRONG ? call->staleness_ms : 0;
}

const char *dom_call_served_by(const dom_call *call)
{
	return is_done(call) ? call->served_by : "";
}
