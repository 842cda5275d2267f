/* client/client.c: the handle: connect and close, the loop and its timers, one function per operation.
 *
 * A client lives on one libevent loop: the caller's, or one that it runs on a thread of its own. Calls come in from any
 * thread through the queue; on the loop's own thread they start at once. There is one libevent timer for all deadlines,
 * armed for the smallest of a heap, and one tick a second for probes.
 *
 * Closing: every open call ends first, then connections go. Within a callback the handle itself is freed only when the
 * last callback of it has returned (depth), because that one still stands on it. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "client/client_internal.h"

enum { TICK_MS = 1000, TICK_MS_FIRST = 200, BOOTSTRAP_STAGGER_MS = 300 };
#define MS_NS ((uint64_t)1000000)

static _Thread_local char connect_message[MESSAGE_SIZE];

uint64_t client_now(void)
{
	return clock_boot_ns();
}

/* --- life ------------------------------------------------------------------------------------------------- */

/* What open() made so far; the queue outlives it as long as calls refer to it. */
static void destroy(struct dom_client *client, bool in_callback)
{
	assert(list_empty(&client->calls));
	endpoints_free(client, in_callback);
	slots_free(&client->slots);
	if (client->tick)
		event_free(client->tick);
	if (client->timer)
		event_free(client->timer);
	if (client->queue) {
		if (client->queue->wake)
			event_free(client->queue->wake);
		queue_unref(client->queue);
	}
	if (client->own_thread && client->base)
		event_base_free(client->base);
	tls_context_free(client->tls);
	pthread_mutex_destroy(&client->lock);
	pthread_cond_destroy(&client->resolved_cond);
	free(client->heap.nodes);
	free(client->router);
	free(client);
}

void client_enter(struct dom_client *client)
{
	client->depth++;
	assert(client->depth < 1000);
}

void client_leave(struct dom_client *client)
{
	assert(client->depth > 0);
	if (--client->depth == 0 && client->free_when_left)
		destroy(client, true);
}

/* Every open call ends; none can begin. */
static void end_calls(struct dom_client *client)
{
	struct list calls;
	client->closing = true;
	queue_close(client->queue);
	for (struct list *link; (link = list_first(&client->calls));)
		call_end(LIST_ENTRY(link, struct dom_call, link), STATUS_CLOSED, "the client was closed");
	queue_take(client->queue, &calls);
	for (struct list *link; (link = list_pop_front(&calls));) {
		struct dom_call *call = LIST_ENTRY(link, struct dom_call, link);
		if (call->done) /* queued once more: its callback came after its end */
			call_notify(call);
		else
			call_start(call); /* ends at once: closing */
	}
}

/* --- the loop ------------------------------------------------------------------------------------------------ */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct dom_client *client = arg;
	struct list calls;
	(void)fd;
	(void)what;
	client_enter(client);
	if (queue_take(client->queue, &calls))
		event_base_loopbreak(client->base);
	for (struct list *link; (link = list_pop_front(&calls));) {
		struct dom_call *call = LIST_ENTRY(link, struct dom_call, link);
		if (call->done) /* queued once more: its callback came after its end */
			call_notify(call);
		else
			call_start(call);
	}
	client_leave(client);
}

static void arm(struct event *event, uint64_t wait_ns)
{
	struct timeval wait = { (time_t)(wait_ns / 1000000000), (suseconds_t)(wait_ns % 1000000000 / 1000) };
	event_add(event, &wait);
}

bool client_timer_add(struct dom_client *client, struct heap_node *node, uint64_t at_ns)
{
	struct heap *heap = &client->heap;
	if (heap_node_queued(node)) {
		heap_update(heap, node, at_ns);
	} else {
		if (heap->count == heap->capacity) {
			size_t capacity = heap->capacity == 0 ? 256 : heap->capacity * 2;
			struct heap_node **grown = realloc(heap->nodes, capacity * sizeof(struct heap_node *));
			if (!grown)
				return false;
			heap->nodes = grown;
			heap->capacity = capacity;
		}
		bool inserted = heap_insert(heap, node, at_ns);
		assert(inserted);
	}
	/* Armed late is wrong, armed early only costs a look: so it is moved forwards only. */
	if (client->timer_armed_ns == 0 || at_ns < client->timer_armed_ns) {
		uint64_t now_ns = client_now();
		client->timer_armed_ns = at_ns;
		arm(client->timer, at_ns > now_ns ? at_ns - now_ns : 0);
	}
	return true;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct dom_client *client = arg;
	struct heap_node *node;
	(void)fd;
	(void)what;
	client_enter(client);
	uint64_t now_ns = client_now();
	client->timer_armed_ns = 0;
	while (!client->closing && (node = heap_min(&client->heap)) && node->key <= now_ns) {
		struct run *run = LIST_ENTRY(node, struct run, timer);
		heap_remove(&client->heap, node);
		if (run->is_ask)
			ask_expired(run);
		else
			run_expired(run);
	}
	node = heap_min(&client->heap);
	if (node && !client->closing && (client->timer_armed_ns == 0 || node->key < client->timer_armed_ns)) {
		client->timer_armed_ns = node->key;
		arm(client->timer, node->key > now_ns ? node->key - now_ns : 0);
	}
	client_leave(client);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct dom_client *client = arg;
	uint64_t now_ns = client_now();
	(void)fd;
	(void)what;
	client_enter(client);
	if (!client->closing && !client->resolved) {
		if (now_ns >= client->connect_deadline_ns)
			client_resolved(
				client, false, client->why[0] != '\0' ? client->why : "no endpoint answered in time");
		else
			fetch_next_bootstrap(client);
		if (!client->resolved)
			arm(client->tick, BOOTSTRAP_STAGGER_MS * MS_NS);
	} else if (!client->closing) {
		endpoints_tend(client);
		fetch_heard(client, NULL, 0);
		arm(client->tick, TICK_MS * MS_NS);
	}
	client_leave(client);
}

static void *loop_main(void *arg)
{
	struct dom_client *client = arg;
	/* Before anybody else has the client: the thread that made it waits. */
	client->queue->loop_thread = pthread_self();
	fetch_next_bootstrap(client);
	event_base_loop(client->base, EVLOOP_NO_EXIT_ON_EMPTY);
	end_calls(client);
	if (client->free_when_left)
		destroy(client, false);
	return NULL;
}

/* --- connect --------------------------------------------------------------------------------------------------- */

void client_resolved(struct dom_client *client, bool connected, const char *why)
{
	pthread_mutex_lock(&client->lock);
	if (!client->resolved) {
		struct text text;
		char copy[MESSAGE_SIZE];
		text_init(&text, copy, sizeof(copy));
		text_add(&text, why); /* may be client->why itself */
		memcpy(client->why, copy, sizeof(copy));
		client->resolved = true;
		client->connected = connected;
		pthread_cond_broadcast(&client->resolved_cond);
	}
	pthread_mutex_unlock(&client->lock);
	arm(client->tick, TICK_MS_FIRST * MS_NS);
}

static enum status parse_endpoints(struct dom_client *client, const char *text, const char **why)
{
	*why = "endpoints: give \"host:port\", or several with commas between, at most 16";
	if (!text)
		return STATUS_INVALID;
	for (;;) {
		while (*text == ' ')
			text++;
		size_t size = strcspn(text, ",");
		size_t end = size;
		while (end > 0 && text[end - 1] == ' ')
			end--;
		if (end == 0 || end >= ADDRESS_SIZE_MAX || client->bootstrap_count == BOOTSTRAPS_MAX)
			return STATUS_INVALID;
		memcpy(client->bootstraps[client->bootstrap_count++], text, end);
		if (text[size] == '\0')
			return STATUS_OK;
		text += size + 1;
	}
}

/* "" or a region: its last component, or the whole path, of the certificate's place or of a place around it. */
static bool region_agrees(const char *place, const char *region)
{
	size_t size = strlen(region);
	for (const char *at = place; at && *at;) {
		const char *slash = strchr(at, '/');
		size_t component = slash ? (size_t)(slash - at) : strlen(at);
		bool whole = (size_t)(at + component - place) == size && strncmp(place, region, size) == 0;
		bool last = component == size && strncmp(at, region, size) == 0 && !slash;
		if (whole || last)
			return true;
		at = slash ? slash + 1 : NULL;
	}
	return false;
}

static enum status open_identity(struct dom_client *client, const dom_connect_options *options, const char **why)
{
	if (!options->ca_file || !options->cert_file || !options->key_file) {
		*why = "ca_file, cert_file and key_file must be given: both sides of a connection show a certificate";
		return STATUS_INVALID;
	}
	enum status status =
		tls_context_new(options->cert_file, options->key_file, options->ca_file, &client->tls, why);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_CANNOT_CONNECT;
	status = certificate_name_of(tls_context_certificate(client->tls), &client->who, why);
	if (status != STATUS_OK)
		return STATUS_CANNOT_CONNECT;
	if (options->region && !region_agrees(client->who.place, options->region)) {
		*why = "region: the certificate's place is another; a client's place is what its certificate says";
		return STATUS_INVALID;
	}
	if (client->who.role == CERTIFICATE_NODE) {
		*why = "the certificate is a node's: use a client's or an administrator's";
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

static enum status open_router(struct dom_client *client)
{
	uint64_t seeds[2];
	client->router = calloc(1, router_size(&map_limits_default));
	if (!client->router)
		return STATUS_NO_MEMORY;
	router_init(client->router, &map_limits_default, client->who.place);
	if (random_bytes(seeds, sizeof(seeds)) != STATUS_OK)
		return STATUS_UNSUPPORTED;
	lanes_init(&client->lanes, client->lane_memory, LANES_MAX, seeds[0]);
	client->seed = seeds[1];
	return STATUS_OK;
}

static enum status open_loop(struct dom_client *client, struct event_base *base)
{
	client->own_thread = base == NULL;
	client->base = base ? base : event_base_new();
	client->queue = queue_new();
	if (!client->base || !client->queue)
		return STATUS_NO_MEMORY;
	client->queue->wake = event_new(client->base, client->queue->wake_fd, EV_READ | EV_PERSIST, on_wake, client);
	client->tick = event_new(client->base, -1, 0, on_tick, client);
	client->timer = event_new(client->base, -1, 0, on_timer, client);
	if (!client->queue->wake || !client->tick || !client->timer)
		return STATUS_NO_MEMORY;
	event_add(client->queue->wake, NULL);
	client->tick_ns = client_now();
	client->connect_deadline_ns = client->tick_ns + client->connect_timeout_ms * MS_NS;
	arm(client->tick, BOOTSTRAP_STAGGER_MS * MS_NS);
	return STATUS_OK;
}

/* Until the first map is there, or cannot be had. */
static enum status wait_connected(struct dom_client *client)
{
	if (client->own_thread) {
		if (pthread_create(&client->thread, NULL, loop_main, client) != 0)
			return STATUS_NO_MEMORY;
		pthread_mutex_lock(&client->lock);
		while (!client->resolved)
			pthread_cond_wait(&client->resolved_cond, &client->lock);
		pthread_mutex_unlock(&client->lock);
		return client->connected ? STATUS_OK : STATUS_CANNOT_CONNECT;
	}
	client_enter(client);
	fetch_next_bootstrap(client);
	client_leave(client);
	while (!client->resolved)
		if (event_base_loop(client->base, EVLOOP_ONCE) < 0)
			return STATUS_INVALID;
	return client->connected ? STATUS_OK : STATUS_CANNOT_CONNECT;
}

static void set_connect_message(const char *text)
{
	struct text out;
	text_init(&out, connect_message, sizeof(connect_message));
	text_add(&out, text);
}

const char *dom_connect_message(void)
{
	return connect_message;
}

static struct dom_client *client_new(const dom_connect_options *options)
{
	struct dom_client *client = calloc(1, sizeof(*client));
	if (!client)
		return NULL;
	list_init(&client->calls);
	list_init(&client->endpoints);
	list_init(&client->awaiting_map);
	heap_init(&client->heap, NULL, 0);
	pthread_mutex_init(&client->lock, NULL);
	pthread_cond_init(&client->resolved_cond, NULL);
	client->connect_timeout_ms = options->connect_timeout_ms ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	client->in_flight_max = options->in_flight_max ? options->in_flight_max : IN_FLIGHT_MAX;
	client->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
	return client;
}

enum dom_status dom_connect(const dom_connect_options *given, dom_client **out)
{
	dom_connect_options options = { 0 };
	const char *why = "";
	*out = NULL;
	connect_message[0] = '\0';
	memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
	struct dom_client *client = client_new(&options);
	if (!client)
		return DOM_NO_MEMORY;
	enum status status = parse_endpoints(client, options.endpoints, &why);
	if (status == STATUS_OK)
		status = open_identity(client, &options, &why);
	if (status == STATUS_OK)
		status = open_router(client);
	if (status == STATUS_OK)
		status = open_loop(client, options.base);
	if (status != STATUS_OK) {
		set_connect_message(why && *why ? why : status_text(status));
		destroy(client, false);
		return (enum dom_status)(status == STATUS_UNSUPPORTED ? STATUS_INVALID : status);
	}
	status = wait_connected(client);
	if (status == STATUS_OK) {
		*out = client;
		return DOM_OK;
	}
	set_connect_message(client->why[0] != '\0' ? client->why : status_text(status));
	if (!client->own_thread || client->resolved)
		dom_close(client);
	else
		destroy(client, false); /* its thread never began */
	return (enum dom_status)status;
}

void dom_close(dom_client *client)
{
	if (!client)
		return;
	if (!client->own_thread) {
		bool in_callback = client->depth > 0;
		client_enter(client);
		end_calls(client);
		client->depth--;
		if (in_callback)
			client->free_when_left = true;
		else
			destroy(client, false);
		return;
	}
	if (queue_on_loop(client->queue)) {
		client->closing = true;
		client->free_when_left = true;
		client->depth++; /* the thread's end frees it, no callback does */
		pthread_detach(client->thread);
		event_base_loopbreak(client->base);
		return;
	}
	queue_stop(client->queue);
	pthread_join(client->thread, NULL);
	destroy(client, false);
}

/* --- operations ----------------------------------------------------------------------------------------------------
 */

static struct bytes bytes_from(dom_bytes bytes)
{
	return bytes_of(bytes.data, bytes.size);
}

static const char *read_flaw(const dom_options *options)
{
	if (options->read == DOM_BOUNDED && options->staleness_max_ms == 0)
		return "DOM_BOUNDED needs options.staleness_max_ms, at least 1; for none at all read DOM_STRONG";
	if (options->read != DOM_BOUNDED && options->staleness_max_ms != 0)
		return "options.staleness_max_ms is for DOM_BOUNDED; another read level has no use for it";
	if (options->read == DOM_SESSION && !options->session)
		return "DOM_SESSION needs options.session";
	if ((int)options->read < 0 || options->read > DOM_NEAREST)
		return "no such read level";
	return NULL;
}

/* What is wrong with the read level is said of writes too, which ignore it otherwise: options may serve both. */
static void with_options(struct dom_call *call, const dom_options *options)
{
	static_assert((int)DOM_STRONG == READ_STRONG && (int)DOM_SESSION == READ_SESSION, "one number in both lists");
	static_assert((int)DOM_BOUNDED == READ_BOUNDED && (int)DOM_NEAREST == READ_NEAREST, "likewise");
	const char *flaw = read_flaw(options);
	call->session = options->session;
	call->level = (uint8_t)(options->read == 0 ? READ_STRONG : (int)options->read);
	call->staleness_max_ms = options->staleness_max_ms;
	if (flaw) {
		call_refuse(call, DOM_INVALID, flaw);
		return;
	}
	if (options->policy) {
		if (strlen(options->policy) >= sizeof(call->policy))
			call_refuse(call, DOM_POLICY_MISMATCH, "no policy has so long a name");
		else
			memcpy(call->policy, options->policy, strlen(options->policy) + 1);
	}
}

static dom_call *begin(dom_client *client, enum operation operation, struct bytes key, struct bytes value,
	struct bytes after, uint64_t version, uint32_t limit, const dom_options *given)
{
	static const struct bytes none;
	dom_options options = { 0 };
	if (given)
		memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
	bool key_fits = key.size <= KEY_SIZE_MAX && after.size <= KEY_SIZE_MAX,
	     value_fits = value.size <= VALUE_SIZE_MAX;
	struct dom_call *call = call_new(client, operation == OPERATION_SCAN ? CALL_SCAN : CALL_OPERATION,
		key_fits ? key : none, value_fits ? value : none, key_fits ? after : none, options.timeout_ms);
	if (!call)
		return NULL;
	call->operation = (uint8_t)operation;
	call->version = version;
	call->limit = limit;
	with_options(call, &options);
	if (!key_fits || !value_fits)
		call_refuse(call, DOM_TOO_LARGE, key_fits ? "a value is at most 1 MiB" : "a key is at most 4 KiB");
	else if (key.size == 0 && operation != OPERATION_SCAN)
		call_refuse(call, DOM_INVALID, "a key has at least one byte");
	return call_submit(call);
}

dom_call *dom_get(dom_client *client, dom_bytes key, const dom_options *options)
{
	static const struct bytes none;
	return begin(client, OPERATION_GET, bytes_from(key), none, none, 0, 0, options);
}

dom_call *dom_put(dom_client *client, dom_bytes key, dom_bytes value, const dom_options *options)
{
	static const struct bytes none;
	return begin(client, OPERATION_PUT, bytes_from(key), bytes_from(value), none, 0, 0, options);
}

dom_call *dom_delete(dom_client *client, dom_bytes key, const dom_options *options)
{
	static const struct bytes none;
	return begin(client, OPERATION_DELETE, bytes_from(key), none, none, 0, 0, options);
}

dom_call *dom_cas(dom_client *client, dom_bytes key, uint64_t version, dom_bytes value, const dom_options *options)
{
	static const struct bytes none;
	return begin(client, OPERATION_CAS, bytes_from(key), bytes_from(value), none, version, 0, options);
}

dom_call *dom_scan(dom_client *client, dom_bytes prefix, dom_bytes after, uint32_t limit, const dom_options *options)
{
	static const struct bytes none;
	return begin(client, OPERATION_SCAN, bytes_from(prefix), none, bytes_from(after), 0, limit, options);
}

/* --- statuses -------------------------------------------------------------------------------------------------------
 */

unsigned dom_version(void)
{
	return DOM_VERSION;
}

const char *dom_status_name(enum dom_status status)
{
	return status_name((enum status)status);
}

bool dom_status_retryable(enum dom_status status)
{
	return status_retryable((enum status)status);
}

bool dom_status_maybe_applied(enum dom_status status)
{
	return status_maybe_applied((enum status)status);
}

#define SAME(name) _Static_assert((int)DOM_##name == (int)STATUS_##name, "one number in both lists")
SAME(OK);
SAME(NOT_FOUND);
SAME(RESIDENCY_REFUSED);
SAME(POLICY_MISMATCH);
SAME(QUORUM_UNAVAILABLE);
SAME(UNKNOWN_OUTCOME);
SAME(TIMED_OUT);
SAME(BUSY);
SAME(TOO_LARGE);
SAME(INVALID);
SAME(CANNOT_CONNECT);
SAME(CLOSED);
SAME(CONFLICT);
SAME(NO_MEMORY);
SAME(CANCELLED);
