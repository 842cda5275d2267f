/* The library against a node of the test's own: real sockets, TLS and certificates, a map in the node's memory, and
 * knobs for what goes wrong. The node runs on a thread of its own, so that calls may be waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "client/admin.h"
#include "client/client_internal.h"
#include "tests/unit/policy/policies.h"
#include "tests/unit/wire/authority.h"
#include "wire/connection.h"
#include "wire/frame.h"

enum { EU_NODE = 2, US_NODE = 3, ANYWHERE = 20, EU_ONLY = 21, US_ONLY = 22 };
static const struct map_limits limits = { 4, 8, 8, 8, 64, 4, 2, 2 };

/* --- the node ------------------------------------------------------------------------------------------- */

enum { ROWS_MAX = 4000, SEEN_MAX = 64 };
struct row {
	char key[32], value[64];
	size_t value_size;
	uint64_t version;
};
static struct node {
	pthread_t thread;
	pthread_mutex_t lock; /* of all that follows `map` */
	struct event_base *base;
	struct evconnlistener *listener;
	struct event *stop;
	int stop_fd[2];
	struct tls_context *tls;
	uint16_t port;
	void *map, *newer; /* newer: of epoch 8, told only to who asks for maps, once it is there */
	size_t map_size, newer_size;
	unsigned tells_newer;
	struct row rows[ROWS_MAX];
	unsigned row_count;
	uint64_t version, index;
	uint64_t client, sequence; /* of the write that was applied last */
	unsigned requests, retries, accepted, duplicates;
	unsigned break_after_applying, answer_nothing, busy; /* so many times */
	uint32_t staleness_ms;				     /* said with every answer */
	struct message_request last;			     /* without its bytes */
	char last_text[32];
} node;

static struct row *find_row(struct bytes key, bool make)
{
	for (unsigned i = 0; i < node.row_count; i++)
		if (strlen(node.rows[i].key) == key.size && memcmp(node.rows[i].key, key.data, key.size) == 0)
			return &node.rows[i];
	if (!make)
		return NULL;
	assert(node.row_count < ROWS_MAX);
	struct row *row = &node.rows[node.row_count++];
	memset(row, 0, sizeof(*row));
	assert(key.size < sizeof(row->key));
	memcpy(row->key, key.data, key.size);
	return row;
}

static void write_row(const struct message_request *ask, struct message_reply *reply)
{
	struct row *row = find_row(ask->key, false);
	if (node.client == ask->client && node.sequence == ask->sequence) {
		node.duplicates++;
		reply->version = node.version;
		return;
	}
	if (ask->operation == OPERATION_CAS && ask->version != (row ? row->version : 0)) {
		reply->status = STATUS_CONFLICT;
		reply->version = row ? row->version : 0;
		return;
	}
	node.client = ask->client;
	node.sequence = ask->sequence;
	reply->version = ++node.version;
	if (ask->operation == OPERATION_DELETE) {
		if (row)
			*row = node.rows[--node.row_count];
		else
			reply->status = STATUS_NOT_FOUND;
		return;
	}
	row = find_row(ask->key, true);
	row->value_size = ask->value.size < sizeof(row->value) ? ask->value.size : sizeof(row->value);
	memcpy(row->value, ask->value.data, row->value_size);
	row->version = node.version;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->key, ((const struct row *)b)->key);
}

static void scan_rows(const struct message_request *ask, struct message_reply *reply)
{
	static struct reply_row rows[SCAN_ROWS_MAX];
	uint64_t half = ask->shard % 2;
	qsort(node.rows, node.row_count, sizeof(node.rows[0]), by_key);
	reply->rows = rows;
	for (unsigned i = 0; i < node.row_count; i++) {
		struct row *row = &node.rows[i];
		struct bytes key = bytes_text(row->key);
		if (hash_key(key) >> 63 != half || !bytes_starts_with(key, ask->key) ||
			(ask->after.size > 0 && bytes_compare(key, ask->after) <= 0))
			continue;
		if (reply->row_count == ask->limit) {
			reply->more = true;
			return;
		}
		rows[reply->row_count++] =
			(struct reply_row){ key, bytes_of(row->value, row->value_size), row->version };
	}
}

/* False: the connection is to break. */
static bool serve(struct connection *connection, const struct message *message)
{
	const struct message_request *ask = &message->ask;
	struct message answer = { .kind = MESSAGE_REPLY, .request = message->request };
	struct message_reply *reply = &answer.reply;
	struct reply_row row;
	reply->map_epoch = 7;
	if (ask->operation == OPERATION_PING)
		return connection_send(connection, &answer) == STATUS_OK;
	node.requests++;
	node.retries += ask->retry;
	node.last = *ask;
	memset(node.last_text, 0, sizeof(node.last_text));
	memcpy(node.last_text, ask->key.data, ask->key.size < 31 ? ask->key.size : 31);
	reply->index = ++node.index;
	reply->staleness_ms = node.staleness_ms;
	if (node.answer_nothing > 0) {
		node.answer_nothing--;
		return true;
	}
	if (node.busy > 0) {
		node.busy--;
		reply->status = STATUS_BUSY;
		return connection_send(connection, &answer) == STATUS_OK;
	}
	if (ask->operation == OPERATION_SCAN) {
		scan_rows(ask, reply);
	} else if (ask->operation == OPERATION_GET) {
		struct row *found = find_row(ask->key, false);
		reply->status = found ? STATUS_OK : STATUS_NOT_FOUND;
		if (found) {
			row = (struct reply_row){ { NULL, 0 }, bytes_of(found->value, found->value_size),
				found->version };
			reply->rows = &row;
			reply->row_count = 1;
			reply->version = found->version;
		}
	} else {
		write_row(ask, reply);
		if (node.break_after_applying > 0) {
			node.break_after_applying--;
			return false;
		}
	}
	return connection_send(connection, &answer) == STATUS_OK;
}

static void greet(struct connection *connection)
{
	struct message hello = { .kind = MESSAGE_HELLO };
	hello.hello.version = PROTOCOL_VERSION;
	hello.hello.cluster[0] = 0xac;
	hello.hello.node = EU_NODE;
	hello.hello.map_epoch = 7;
	hello.hello.place = bytes_text("eu/ie/eu-west-1/a/n1");
	enum status status = connection_send(connection, &hello);
	assert(status == STATUS_OK);
}

static enum status node_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer[32], const char **why)
{
	(void)arg, (void)who, (void)issuer, (void)why;
	greet(connection);
	return STATUS_OK;
}

static enum status node_received(struct connection *connection, void *arg, const struct message *message)
{
	struct message answer = { .kind = MESSAGE_MAP_REPLY, .request = message->request };
	bool fine = true;
	(void)arg;
	pthread_mutex_lock(&node.lock);
	if (message->kind == MESSAGE_HELLO) {
		connection_set_frame_size_max(connection, FRAME_SIZE_MAX_CLIENT);
	} else if (message->kind == MESSAGE_MAP_REQUEST) {
		answer.map_reply.epoch = node.tells_newer ? 8 : 7;
		if (message->map_request.epoch != answer.map_reply.epoch)
			answer.map_reply.map = node.tells_newer ? bytes_of(node.newer, node.newer_size)
								: bytes_of(node.map, node.map_size);
		fine = connection_send(connection, &answer) == STATUS_OK;
	} else if (message->kind == MESSAGE_ADMIN) {
		answer.kind = MESSAGE_REPLY;
		answer.reply.status = message->admin.body.size == 0 ? STATUS_OK : STATUS_DENIED;
		answer.reply.detail = message->admin.verb;
		fine = connection_send(connection, &answer) == STATUS_OK;
	} else if (message->kind == MESSAGE_REQUEST) {
		fine = serve(connection, message);
	}
	pthread_mutex_unlock(&node.lock);
	return fine ? STATUS_OK : STATUS_CLOSED;
}

static void node_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	(void)connection, (void)arg, (void)status, (void)why;
}

static void node_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int size, void *arg)
{
	static const struct connection_events events = { node_established, node_received, node_closed };
	struct connection_options options = { .base = node.base,
		.tls = node.tls,
		.alpn = TLS_ALPN_ANY,
		.frame_size_max = FRAME_SIZE_MAX_GREETING,
		.output_size_max = 8 << 20,
		.connect_timeout_ms = 3000,
		.events = &events };
	struct connection *connection;
	(void)listener, (void)from, (void)size, (void)arg;
	enum status status = connection_accept(&options, fd, &connection);
	assert(status == STATUS_OK);
	pthread_mutex_lock(&node.lock);
	node.accepted++;
	pthread_mutex_unlock(&node.lock);
}

static void node_stop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	event_base_loopbreak(node.base);
}

static void *node_main(void *arg)
{
	(void)arg;
	event_base_dispatch(node.base);
	return NULL;
}

/* --- the world ---------------------------------------------------------------------------------------------- */

static struct cast cast;
static char address[32];

static void pin(struct map_region *region, const struct authority *authority)
{
	unsigned char *der = region->ca_der;
	int size = i2d_X509(authority->certificate, &der);
	assert(size > 0);
	region->ca_size = (uint32_t)size;
	assert_int_equal(certificate_spki_sha256(authority->certificate, region->spki_sha256), STATUS_OK);
}

static void add_policy(struct cluster_map *map, uint64_t id, const char *name, const char *store_in, const char *from,
	uint64_t node_id)
{
	struct policy *policy = &map->policies[map->policy_count++];
	*policy = policy_named(name, store_in);
	policy->id = id;
	policy->epoch = 1;
	policy->copies = 1;
	policy->read_from = policy->write_from = selectors(from);
	policy_complete(policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_READ_FROM | FIELD_WRITE_FROM);
	for (unsigned half = 0; half < 2; half++) {
		struct map_shard *shard = &map->shards[map->shard_count++];
		*shard = (struct map_shard){ .id = id * 10 + half,
			.policy = id,
			.hash_first = half == 0 ? 0 : (uint64_t)1 << 63,
			.hash_last = half == 0 ? ((uint64_t)1 << 63) - 1 : UINT64_MAX,
			.replica_count = 1 };
		shard->replicas[0] = (struct map_replica){ id * 10 + half, node_id, ROLE_VOTER };
	}
}

static void make_map(uint64_t epoch, uint64_t closed, void **bytes, size_t *size)
{
	struct cluster_map *map = calloc(1, cluster_map_size(&limits));
	map = cluster_map_init(map, &limits);
	map->epoch = epoch;
	map->id_next = EU_NODE;
	map->cluster[0] = 0xac;
	memcpy(map->name, "acme", 5);
	pin(add_region(map, "eu/ie/eu-west-1", ""), &cast.eu);
	pin(add_region(map, "us/us-east-1", ""), &cast.us);
	for (unsigned i = 0; i < 2; i++) {
		/* The us node's address leads to the eu node: an impostor, as far as the client is concerned. */
		struct map_node *at = add_node(map, i == 0 ? "eu/ie/eu-west-1/a/n1" : "us/us-east-1/a/n1");
		at->addresses.count = 1;
		memcpy(at->addresses.at[0].address, address, strlen(address) + 1);
	}
	add_policy(map, ANYWHERE, "anywhere", "*", "*", EU_NODE);
	add_policy(map, EU_ONLY, "eu-only", "eu", "us", EU_NODE);
	add_policy(map, US_ONLY, "us-only", "us", "*", US_NODE);
	bind_prefix(map, "k/", ANYWHERE);
	bind_prefix(map, "closed/", closed);
	bind_prefix(map, "us/", US_ONLY);
	map->id_next = 10000;
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	*size = packer.size;
	*bytes = malloc(*size);
	pack_init(&packer, *bytes, *size);
	cluster_map_encode(map, &packer);
	free(map);
}

static int set_up(void **state)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(any);
	const char *why;
	(void)state;
	cast_begin(&cast);
	pthread_mutex_init(&node.lock, NULL);
	node.base = event_base_new();
	assert_int_equal(tls_context_new(authority_path("eu-n1", ".crt"), authority_path("eu-n1", ".key"),
				 authority_path("cas", ".pem"), &node.tls, &why),
		STATUS_OK);
	node.listener = evconnlistener_new_bind(node.base, node_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
		-1, (struct sockaddr *)&any, sizeof(any));
	assert_non_null(node.listener);
	getsockname(evconnlistener_get_fd(node.listener), (struct sockaddr *)&any, &size);
	node.port = ntohs(any.sin_port);
	snprintf(address, sizeof(address), "127.0.0.1:%u", node.port);
	make_map(7, EU_ONLY, &node.map, &node.map_size);
	make_map(8, ANYWHERE, &node.newer, &node.newer_size);
	assert_int_equal(pipe(node.stop_fd), 0);
	node.stop = event_new(node.base, node.stop_fd[0], EV_READ, node_stop, NULL);
	event_add(node.stop, NULL);
	assert_int_equal(pthread_create(&node.thread, NULL, node_main, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(node.stop_fd[1]);
	pthread_join(node.thread, NULL);
	evconnlistener_free(node.listener);
	event_free(node.stop);
	/* Connections that clients closed are gone; their ends are seen in one more turn. */
	event_base_loop(node.base, EVLOOP_NONBLOCK);
	event_base_free(node.base);
	tls_context_free(node.tls);
	close(node.stop_fd[0]);
	free(node.map);
	free(node.newer);
	cast_end(&cast);
	return 0;
}

static dom_connect_options options_of(const char *who)
{
	dom_connect_options options = DOM_CONNECT_OPTIONS;
	options.endpoints = address;
	options.ca_file = authority_path("cas", ".pem");
	options.cert_file = authority_path(who, ".crt");
	options.key_file = authority_path(who, ".key");
	return options;
}

static dom_client *client_of(const char *who)
{
	dom_connect_options options = options_of(who);
	dom_client *client;
	enum dom_status status = dom_connect(&options, &client);
	if (status != DOM_OK)
		fail_msg("%s: %s", dom_status_name(status), dom_connect_message());
	return client;
}

static dom_bytes text(const char *string)
{
	return (dom_bytes){ string, strlen(string) };
}

static unsigned node_count(const unsigned *which)
{
	pthread_mutex_lock(&node.lock);
	unsigned count = *which;
	pthread_mutex_unlock(&node.lock);
	return count;
}

static void node_set(unsigned *which, unsigned count)
{
	pthread_mutex_lock(&node.lock);
	*which = count;
	pthread_mutex_unlock(&node.lock);
}

static enum dom_status ended(dom_call *call)
{
	enum dom_status status = dom_call_wait(call);
	dom_call_free(call);
	return status;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_operations(void **state)
{
	(void)state;
	dom_client *client = client_of("app");
	dom_call *put = dom_put(client, text("k/one"), text("first"), NULL);
	assert_int_equal(dom_call_wait(put), DOM_OK);
	uint64_t version = dom_call_version(put, 0);
	assert_int_not_equal(version, 0);
	assert_int_equal(dom_call_rows(put), 0);
	assert_string_equal(dom_call_message(put), "");
	assert_string_equal(dom_call_served_by(put), "eu/ie/eu-west-1/a/n1");
	dom_call_free(put);
	dom_call *get = dom_get(client, text("k/one"), NULL);
	assert_int_equal(dom_call_wait(get), DOM_OK);
	assert_int_equal(dom_call_rows(get), 1);
	assert_int_equal(dom_call_value(get, 0).size, 5);
	assert_memory_equal(dom_call_value(get, 0).data, "first", 5);
	assert_memory_equal(dom_call_key(get, 0).data, "k/one", 5);
	assert_int_equal(dom_call_version(get, 0), version);
	assert_null(dom_call_value(get, 1).data);
	dom_call_free(get);
	assert_int_equal(ended(dom_cas(client, text("k/one"), version, text("second"), NULL)), DOM_OK);
	dom_call *cas = dom_cas(client, text("k/one"), version, text("third"), NULL);
	assert_int_equal(dom_call_wait(cas), DOM_CONFLICT);
	assert_true(dom_call_version(cas, 0) > version);
	dom_call_free(cas);
	assert_int_equal(ended(dom_delete(client, text("k/one"), NULL)), DOM_OK);
	assert_int_equal(ended(dom_delete(client, text("k/one"), NULL)), DOM_NOT_FOUND);
	assert_int_equal(ended(dom_get(client, text("k/one"), NULL)), DOM_NOT_FOUND);
	dom_close(client);
}

static void test_refused_here(void **state)
{
	(void)state;
	static char large[KEY_SIZE_MAX + 1], huge[VALUE_SIZE_MAX + 1];
	dom_client *client = client_of("app");
	dom_options options = DOM_OPTIONS;
	unsigned before = node_count(&node.requests);
	assert_int_equal(ended(dom_get(client, text("unbound"), NULL)), DOM_RESIDENCY_REFUSED);
	dom_call *call = dom_get(client, text("closed/1"), NULL);
	assert_int_equal(dom_call_wait(call), DOM_RESIDENCY_REFUSED);
	assert_non_null(strstr(dom_call_message(call), "eu-only"));
	dom_call_free(call);
	assert_int_equal(ended(dom_scan(client, text("closed/"), text(""), 0, NULL)), DOM_RESIDENCY_REFUSED);
	assert_int_equal(ended(dom_scan(client, text("un"), text(""), 0, NULL)), DOM_RESIDENCY_REFUSED);
	assert_int_equal(ended(dom_get(client, text(""), NULL)), DOM_INVALID);
	assert_int_equal(ended(dom_get(client, (dom_bytes){ large, sizeof(large) }, NULL)), DOM_TOO_LARGE);
	assert_int_equal(ended(dom_put(client, text("k/1"), (dom_bytes){ huge, sizeof(huge) }, NULL)), DOM_TOO_LARGE);
	options.policy = "eu-only";
	assert_int_equal(ended(dom_get(client, text("k/1"), &options)), DOM_POLICY_MISMATCH);
	options.policy = NULL;
	static const struct {
		int read;
		uint32_t staleness_max_ms;
		const char *says;
	} bad[] = { { DOM_SESSION, 0, "options.session" }, { DOM_BOUNDED, 0, "staleness_max_ms" },
		{ DOM_NEAREST, 10, "staleness_max_ms" }, { 0, 10, "staleness_max_ms" },
		{ DOM_STRONG, 10, "staleness_max_ms" }, { DOM_NEAREST + 1, 0, "read level" }, { -1, 0, "read level" } };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		options.read = (enum dom_read)bad[i].read;
		options.staleness_max_ms = bad[i].staleness_max_ms;
		call = dom_get(client, text("k/1"), &options);
		assert_int_equal(dom_call_wait(call), DOM_INVALID);
		assert_non_null(strstr(dom_call_message(call), bad[i].says));
		dom_call_free(call);
		assert_int_equal(ended(dom_scan(client, text("k/"), text(""), 0, &options)), DOM_INVALID);
	}
	assert_int_equal(node_count(&node.requests), before);
	dom_close(client);
}

/* Who is refused by his own map sends nothing, so nobody's answer tells him of a newer one: he asks. */
static void test_refused_by_an_old_map(void **state)
{
	(void)state;
	dom_client *client = client_of("app");
	enum dom_status status = DOM_RESIDENCY_REFUSED;
	assert_int_equal(ended(dom_get(client, text("closed/1"), NULL)), DOM_RESIDENCY_REFUSED);
	node_set(&node.tells_newer, 1);
	for (uint64_t end_ns = clock_boot_ns() + 5000000000u;
		status == DOM_RESIDENCY_REFUSED && clock_boot_ns() < end_ns;)
		status = ended(dom_get(client, text("closed/1"), NULL));
	node_set(&node.tells_newer, 0);
	assert_int_equal(status, DOM_NOT_FOUND);
	dom_close(client);
}

static void test_a_node_elsewhere_gets_nothing(void **state)
{
	(void)state;
	dom_client *client = client_of("app");
	dom_options options = DOM_OPTIONS;
	unsigned before = node_count(&node.requests);
	options.timeout_ms = 400;
	assert_int_equal(ended(dom_put(client, text("us/secret"), text("v"), &options)), DOM_CANNOT_CONNECT);
	assert_int_equal(node_count(&node.requests), before);
	dom_close(client);
}

static void test_a_broken_connection_applies_once(void **state)
{
	(void)state;
	dom_client *client = client_of("app");
	unsigned duplicates = node_count(&node.duplicates), retries = node_count(&node.retries);
	node_set(&node.break_after_applying, 2);
	dom_call *put = dom_put(client, text("k/once"), text("v"), NULL);
	assert_int_equal(dom_call_wait(put), DOM_OK);
	dom_call_free(put);
	assert_int_equal(node_count(&node.duplicates), duplicates + 2);
	assert_int_equal(node_count(&node.retries), retries + 2);
	node_set(&node.busy, 3);
	assert_int_equal(ended(dom_get(client, text("k/once"), NULL)), DOM_OK);
	assert_int_equal(node_count(&node.busy), 0);
	dom_close(client);
}

static void test_time_runs_out(void **state)
{
	(void)state;
	dom_client *client = client_of("app");
	dom_options options = DOM_OPTIONS;
	options.timeout_ms = 100;
	node_set(&node.answer_nothing, 2);
	assert_int_equal(ended(dom_get(client, text("k/x"), &options)), DOM_TIMED_OUT);
	dom_call *put = dom_put(client, text("k/x"), text("v"), &options);
	assert_int_equal(dom_call_wait(put), DOM_UNKNOWN_OUTCOME);
	assert_true(dom_status_maybe_applied(dom_call_status(put)));
	dom_call_free(put);
	node_set(&node.answer_nothing, 0);
	dom_close(client);
}

static void test_sessions(void **state)
{
	(void)state;
	dom_client *client = client_of("app");
	dom_options options = DOM_OPTIONS;
	options.session = dom_session_new((dom_bytes){ NULL, 0 });
	assert_int_equal(ended(dom_put(client, text("k/s"), text("v"), &options)), DOM_OK);
	pthread_mutex_lock(&node.lock);
	uint64_t written = node.index;
	pthread_mutex_unlock(&node.lock);
	dom_session *other = dom_session_new(dom_session_token(options.session));
	dom_session_free(options.session);
	options.session = other;
	options.read = DOM_SESSION;
	assert_int_equal(ended(dom_get(client, text("k/s"), &options)), DOM_OK);
	pthread_mutex_lock(&node.lock);
	assert_int_equal(node.last.session_index, written);
	assert_int_equal(node.last.level, READ_SESSION);
	pthread_mutex_unlock(&node.lock);
	dom_session_free(other);
	dom_close(client);
}

/* What it has seen may be in a shard that the client's own map does not know of yet: the client asks for a map as new.
 */
static void test_a_session_that_saw_a_newer_map(void **state)
{
	(void)state;
	dom_client *client = client_of("app"), *lagging = client_of("app");
	dom_options options = DOM_OPTIONS;
	options.session = dom_session_new((dom_bytes){ NULL, 0 });
	assert_int_equal(ended(dom_put(client, text("k/s"), text("v"), &options)), DOM_OK);
	assert_int_equal(session_map_epoch(options.session), 7);
	assert_int_equal(ended(dom_get(lagging, text("k/s"), NULL)), DOM_OK); /* it has a map */
	node_set(&node.tells_newer, 1);
	for (unsigned scan = 0; scan < 2; scan++) {
		session_saw_map(options.session, 8);
		options.read = DOM_STRONG; /* asks whoever serves it: its own map will do */
		assert_int_equal(ended(dom_get(lagging, text("k/s"), &options)), DOM_OK);
		pthread_mutex_lock(&node.lock);
		assert_int_equal(node.last.map_epoch, 7);
		pthread_mutex_unlock(&node.lock);
		options.read = DOM_SESSION;
		assert_int_equal(ended(scan ? dom_scan(lagging, text("k/s"), text(""), 0, &options)
					    : dom_get(lagging, text("k/s"), &options)),
			DOM_OK);
		pthread_mutex_lock(&node.lock);
		assert_int_equal(node.last.map_epoch, 8);
		pthread_mutex_unlock(&node.lock);
		dom_close(lagging);
		if (scan == 0) {
			node_set(&node.tells_newer, 0);
			lagging = client_of("app");
			assert_int_equal(ended(dom_get(lagging, text("k/s"), NULL)), DOM_OK);
			node_set(&node.tells_newer, 1);
		}
	}
	node_set(&node.tells_newer, 0);
	dom_session_free(options.session);
	dom_close(client);
}

/* What a level asks, and what comes back with the value. */
static void test_read_levels(void **state)
{
	(void)state;
	static const struct {
		enum dom_read read;
		uint32_t staleness_max_ms, told;
	} cases[] = { { DOM_STRONG, 0, 0 }, { DOM_BOUNDED, 250, 120 }, { DOM_NEAREST, 0, 120 } };
	dom_client *client = client_of("app");
	dom_options options = DOM_OPTIONS;
	dom_call *put = dom_put(client, text("k/level"), text("v"), NULL);
	node_set(&node.staleness_ms, 120);
	assert_int_equal(dom_call_wait(put), DOM_OK);
	assert_int_equal(dom_call_staleness_ms(put), 0);
	dom_call_free(put);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		options.read = cases[i].read;
		options.staleness_max_ms = cases[i].staleness_max_ms;
		for (unsigned scan = 0; scan < 2; scan++) {
			dom_call *call = scan ? dom_scan(client, text("k/level"), text(""), 0, &options)
					      : dom_get(client, text("k/level"), &options);
			assert_int_equal(dom_call_wait(call), DOM_OK);
			assert_int_equal(dom_call_rows(call), 1);
			assert_int_equal(dom_call_staleness_ms(call), cases[i].told);
			assert_string_equal(dom_call_served_by(call), "eu/ie/eu-west-1/a/n1");
			dom_call_free(call);
			pthread_mutex_lock(&node.lock);
			assert_int_equal(node.last.level, cases[i].read);
			assert_int_equal(node.last.staleness_max_ms, cases[i].staleness_max_ms);
			pthread_mutex_unlock(&node.lock);
		}
		dom_call *none = dom_get(client, text("k/not there"), &options);
		assert_int_equal(dom_call_wait(none), DOM_NOT_FOUND);
		assert_int_equal(dom_call_staleness_ms(none), cases[i].told);
		dom_call_free(none);
	}
	node_set(&node.staleness_ms, 0);
	dom_close(client);
}

static void test_a_session_of_another_cluster(void **state)
{
	(void)state;
	const uint8_t elsewhere[16] = { 0xee };
	dom_client *client = client_of("app");
	dom_options options = DOM_OPTIONS;
	options.session = dom_session_new((dom_bytes){ NULL, 0 });
	assert_true(session_join(options.session, elsewhere));
	unsigned before = node_count(&node.requests);
	dom_call *call = dom_put(client, text("k/s"), text("v"), &options);
	assert_int_equal(dom_call_wait(call), DOM_INVALID);
	assert_non_null(strstr(dom_call_message(call), "another cluster"));
	dom_call_free(call);
	assert_int_equal(ended(dom_scan(client, text("k/"), text(""), 0, &options)), DOM_INVALID);
	assert_int_equal(node_count(&node.requests), before);
	dom_session_free(options.session);
	dom_close(client);
}

static void test_scans_merge_shards(void **state)
{
	(void)state;
	enum { KEYS = 250 };
	char key[32], expected[32], after[32] = "";
	unsigned seen = 0, calls = 0;
	bool more = true;
	dom_client *client = client_of("app");
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k/scan/%04u", i);
		assert_int_equal(ended(dom_put(client, text(key), text("v"), NULL)), DOM_OK);
	}
	while (more) {
		dom_call *scan = dom_scan(client, text("k/scan/"), text(after), 40, NULL);
		assert_int_equal(dom_call_wait(scan), DOM_OK);
		assert_true(dom_call_rows(scan) <= 40);
		assert_true(dom_call_rows(scan) > 0);
		for (size_t i = 0; i < dom_call_rows(scan); i++) {
			snprintf(expected, sizeof(expected), "k/scan/%04u", seen++);
			assert_int_equal(dom_call_key(scan, i).size, strlen(expected));
			assert_memory_equal(dom_call_key(scan, i).data, expected, strlen(expected));
			assert_int_equal(dom_call_value(scan, i).size, 1);
			memcpy(after, expected, sizeof(after));
		}
		more = dom_call_more(scan);
		dom_call_free(scan);
		assert_true(calls++ < 20);
	}
	assert_int_equal(seen, KEYS);
	dom_call *none = dom_scan(client, text("k/scan/9"), text(""), 0, NULL);
	assert_int_equal(dom_call_wait(none), DOM_OK);
	assert_int_equal(dom_call_rows(none), 0);
	assert_false(dom_call_more(none));
	dom_call_free(none);
	dom_close(client);
}

struct tally {
	_Atomic unsigned done, fine, closed;
};

static void count_done(dom_call *call, void *arg)
{
	struct tally *tally = arg;
	tally->fine += dom_call_status(call) == DOM_OK;
	tally->closed += dom_call_status(call) == DOM_CLOSED;
	tally->done++;
	dom_call_free(call);
}

static void test_many_at_once(void **state)
{
	(void)state;
	enum { CALLS = 3000 };
	struct tally tally = { 0 };
	char key[32];
	dom_client *client = client_of("app");
	dom_call *last = NULL;
	for (unsigned i = 0; i < CALLS; i++) {
		snprintf(key, sizeof(key), "k/many/%04u", i % 100);
		dom_call *call = dom_put(client, text(key), text("v"), NULL);
		dom_call_on_done(call, count_done, &tally); /* perhaps when it is done already */
	}
	/* One after the other on one connection: when the last is answered, so are all before it. */
	last = dom_get(client, text("k/many/0000"), NULL);
	assert_int_equal(dom_call_wait(last), DOM_OK);
	dom_call_free(last);
	dom_close(client);
	assert_int_equal(tally.done, CALLS);
	assert_int_equal(tally.fine, CALLS);
}

static void test_too_many_and_closed(void **state)
{
	(void)state;
	dom_connect_options options = options_of("app");
	struct tally tally = { 0 };
	dom_client *client;
	options.in_flight_max = 4;
	assert_int_equal(dom_connect(&options, &client), DOM_OK);
	node_set(&node.answer_nothing, 4);
	for (unsigned i = 0; i < 4; i++)
		dom_call_on_done(dom_put(client, text("k/x"), text("v"), NULL), count_done, &tally);
	assert_int_equal(ended(dom_get(client, text("k/x"), NULL)), DOM_BUSY);
	dom_close(client);
	assert_int_equal(tally.done, 4);
	assert_int_equal(tally.closed, 4);
	node_set(&node.answer_nothing, 0);
}

static void test_connecting(void **state)
{
	(void)state;
	char endpoints[64];
	dom_client *client;
	dom_connect_options options = options_of("app");
	snprintf(endpoints, sizeof(endpoints), "127.0.0.1:1, %s", address);
	options.endpoints = endpoints;
	options.region = "eu-west-1";
	assert_int_equal(dom_connect(&options, &client), DOM_OK); /* the second one answers */
	dom_close(client);
	options.region = "us-east-1";
	assert_int_equal(dom_connect(&options, &client), DOM_INVALID);
	assert_null(client);
	assert_non_null(strstr(dom_connect_message(), "region"));
	options.region = NULL;
	options.endpoints = "127.0.0.1:1";
	assert_int_equal(dom_connect(&options, &client), DOM_CANNOT_CONNECT);
	assert_non_null(strstr(dom_connect_message(), "127.0.0.1:1"));
	options.endpoints = ",";
	assert_int_equal(dom_connect(&options, &client), DOM_INVALID);
	options = options_of("app");
	options.ca_file = authority_path("ca-foreign", ".crt");
	assert_int_equal(dom_connect(&options, &client), DOM_CANNOT_CONNECT);
	assert_true(dom_connect_message()[0] != '\0');
	options = options_of("app");
	options.cert_file = "/nonexistent";
	assert_int_equal(dom_connect(&options, &client), DOM_CANNOT_CONNECT);
	options = options_of("eu-n1");
	assert_int_equal(dom_connect(&options, &client), DOM_INVALID);
}

static void test_what_tools_ask(void **state)
{
	(void)state;
	dom_client *client = client_of("ops");
	dom_call *map = client_map(client, 0);
	assert_int_equal(dom_call_wait(map), DOM_OK);
	assert_int_equal(dom_call_value(map, 0).size, node.map_size);
	assert_memory_equal(dom_call_value(map, 0).data, node.map, node.map_size);
	dom_call_free(map);
	dom_call *ping = client_ping(client, EU_NODE, 0);
	assert_int_equal(dom_call_wait(ping), DOM_OK);
	assert_true(dom_call_version(ping, 0) < 1000000);
	dom_call_free(ping);
	dom_call *status = client_admin(client, ADMIN_ANY_NODE, "node.status", bytes_text(""), 0);
	assert_int_equal(dom_call_wait(status), DOM_OK);
	assert_memory_equal(dom_call_value(status, 0).data, "node.status", 11);
	dom_call_free(status);
	struct change change = { .kind = CHANGE_SHARD_LEAD, .shard = 1 };
	assert_int_equal(ended(client_change(client, &change, 500)), DOM_CANNOT_CONNECT); /* denied */
	assert_int_equal(ended(dom_get(client, text("k/1"), NULL)), DOM_RESIDENCY_REFUSED);
	dom_close(client);
}

struct own_loop {
	struct event_base *base;
	dom_client *client;
	unsigned done;
	enum dom_status wait, last;
};

static void go_on(dom_call *call, void *arg)
{
	struct own_loop *loop = arg;
	loop->last = dom_call_status(call);
	dom_call_free(call);
	if (++loop->done == 3) {
		dom_call *open = dom_get(loop->client, text("k/own"), NULL);
		loop->wait = dom_call_wait(open);
		dom_close(loop->client); /* from within its own callback, with a call open */
		assert_int_equal(dom_call_status(open), DOM_CLOSED);
		dom_call_free(open);
		event_base_loopbreak(loop->base);
		return;
	}
	dom_call_on_done(dom_put(loop->client, text("k/own"), text("v"), NULL), go_on, loop);
}

static void test_on_the_callers_loop(void **state)
{
	(void)state;
	struct own_loop loop = { .base = event_base_new() };
	dom_connect_options options = options_of("app");
	options.base = loop.base;
	assert_int_equal(dom_connect(&options, &loop.client), DOM_OK);
	dom_call_on_done(dom_put(loop.client, text("k/own"), text("v"), NULL), go_on, &loop);
	dom_call *refused = dom_get(loop.client, text("unbound"), NULL); /* done at once, told from the loop */
	assert_int_equal(dom_call_status(refused), DOM_RESIDENCY_REFUSED);
	dom_call_free(refused);
	event_base_dispatch(loop.base);
	assert_int_equal(loop.done, 3);
	assert_int_equal(loop.wait, DOM_INVALID);
	assert_int_equal(loop.last, DOM_OK);
	event_base_loop(loop.base, EVLOOP_NONBLOCK); /* the connection's end */
	event_base_free(loop.base);
	assert_int_equal(dom_connect_message()[0], '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_refused_here),
		cmocka_unit_test(test_refused_by_an_old_map),
		cmocka_unit_test(test_a_node_elsewhere_gets_nothing),
		cmocka_unit_test(test_a_broken_connection_applies_once),
		cmocka_unit_test(test_time_runs_out),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_a_session_that_saw_a_newer_map),
		cmocka_unit_test(test_read_levels),
		cmocka_unit_test(test_a_session_of_another_cluster),
		cmocka_unit_test(test_scans_merge_shards),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_too_many_and_closed),
		cmocka_unit_test(test_connecting),
		cmocka_unit_test(test_what_tools_ask),
		cmocka_unit_test(test_on_the_callers_loop),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
