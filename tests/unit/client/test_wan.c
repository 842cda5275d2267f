/* Which node hears what: the whole library against three nodes of the test's own, two in the client's region and one
 * beyond an ocean, whose answers come 60 ms later. They count every message. What an operation on a key at home sends
 * beyond the ocean is nothing, and what the library sends there by itself is rare. */
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
#include <time.h>

#include "base/clock.h"
#include "client/domicile.h"
#include "tests/unit/policy/policies.h"
#include "tests/unit/wire/authority.h"
#include "wire/connection.h"
#include "wire/frame.h"

enum { EU1 = 2, EU2, US1, NODES = 3, HOME = 20, SPREAD = 21, OCEAN_MS = 60, CONNECTIONS_MAX = 64 };
static const struct map_limits limits = { 4, 8, 8, 8, 64, 4, 2, 2 };

/* --- the nodes: one thread for all three --------------------------------------------------------------------- */

struct heard {
	unsigned connections, hellos, maps, pings, requests, retries;
};
struct wan_node {
	uint64_t id;
	const char *place;
	unsigned delay_ms;
	char address[32];
	struct evconnlistener *listener;
	struct tls_context *tls;
	struct heard heard;
	unsigned answer_nothing; /* so many requests */
	unsigned unknown;	 /* so many writes are lost track of */
	bool no_origin;		 /* names US1 as the leader of everything */
};
struct link {
	struct wan_node *node;
	struct connection *connection; /* NULL: free */
	uint64_t generation;
};
struct answer { /* on its way back */
	struct link *link;
	uint64_t generation, request;
	uint8_t operation;
	bool is_map, empty_map;
	enum status status;
	uint64_t leader;
};
static struct {
	pthread_t thread;
	pthread_mutex_t lock; /* of the counts and knobs */
	struct event_base *base;
	struct event *stop;
	int stop_fd[2];
	struct wan_node nodes[NODES];
	struct link links[CONNECTIONS_MAX];
	void *map;
	size_t map_size;
	uint64_t version;
} wan = { .nodes = {
		  { .id = EU1, .place = "eu/ie/eu-west-1/a/n1" },
		  { .id = EU2, .place = "eu/ie/eu-west-1/b/n1" },
		  { .id = US1, .place = "us/us-east-1/a/n1", .delay_ms = OCEAN_MS },
	  } };

static void deliver(evutil_socket_t fd, short what, void *arg)
{
	struct answer *answer = arg;
	struct connection *connection = answer->link->connection;
	struct message message = { .kind = MESSAGE_REPLY, .request = answer->request };
	struct reply_row row = { { NULL, 0 }, bytes_text("v"), 1 };
	(void)fd, (void)what;
	if (answer->is_map) {
		message.kind = MESSAGE_MAP_REPLY;
		message.map_reply.epoch = 7;
		if (!answer->empty_map)
			message.map_reply.map = bytes_of(wan.map, wan.map_size);
	} else {
		message.reply.map_epoch = 7;
		message.reply.status = (uint32_t)answer->status;
		message.reply.leader_node = answer->leader;
		message.reply.index = message.reply.version = ++wan.version;
		if (answer->operation == OPERATION_GET && answer->status == STATUS_OK) {
			message.reply.rows = &row;
			message.reply.row_count = 1;
		}
	}
	if (connection && answer->generation == answer->link->generation &&
		connection_send(connection, &message) != STATUS_OK)
		connection_close(connection, "full");
	free(answer);
}

/* False: it is not answered. */
static bool take(struct wan_node *node, const struct message *message, struct answer *answer)
{
	bool answered = true;
	pthread_mutex_lock(&wan.lock);
	if (message->kind == MESSAGE_HELLO) {
		node->heard.hellos++;
		answered = false;
	} else if (message->kind == MESSAGE_MAP_REQUEST) {
		node->heard.maps++;
		answer->is_map = true;
		answer->empty_map = message->map_request.epoch == 7;
	} else if (message->ask.operation == OPERATION_PING) {
		node->heard.pings++;
	} else {
		bool write = message->ask.operation == OPERATION_PUT;
		node->heard.requests++;
		node->heard.retries += message->ask.retry;
		if (node->answer_nothing > 0) {
			node->answer_nothing--;
			answered = false;
		} else if (write && node->unknown > 0) {
			node->unknown--;
			answer->status = STATUS_UNKNOWN_OUTCOME;
		} else if (write && node->no_origin) {
			answer->status = STATUS_NOT_LEADER;
			answer->leader = US1;
		}
	}
	answer->operation = message->ask.operation;
	pthread_mutex_unlock(&wan.lock);
	return answered;
}

static enum status node_received(struct connection *connection, void *arg, const struct message *message)
{
	struct link *link = arg;
	struct timeval delay = { 0, (suseconds_t)link->node->delay_ms * 1000 };
	struct answer *answer = calloc(1, sizeof(*answer));
	assert(answer);
	*answer = (struct answer){ .link = link, .generation = link->generation, .request = message->request };
	if (message->kind == MESSAGE_HELLO)
		connection_set_frame_size_max(connection, FRAME_SIZE_MAX_CLIENT);
	if (!take(link->node, message, answer)) {
		free(answer);
		return STATUS_OK;
	}
	int scheduled = event_base_once(wan.base, -1, EV_TIMEOUT, deliver, answer, &delay);
	assert(scheduled == 0);
	return STATUS_OK;
}

static enum status node_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer[32], const char **why)
{
	struct link *link = arg;
	struct message hello = { .kind = MESSAGE_HELLO };
	(void)who, (void)issuer, (void)why;
	hello.hello.version = PROTOCOL_VERSION;
	hello.hello.cluster[0] = 0xac;
	hello.hello.node = link->node->id;
	hello.hello.map_epoch = 7;
	hello.hello.place = bytes_text(link->node->place);
	return connection_send(connection, &hello);
}

static void node_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	struct link *link = arg;
	(void)connection, (void)status, (void)why;
	link->connection = NULL;
	link->generation++;
}

static void node_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int size, void *arg)
{
	static const struct connection_events events = { node_established, node_received, node_closed };
	struct wan_node *node = arg;
	struct link *link = wan.links;
	(void)listener, (void)from, (void)size;
	while (link->connection)
		link++;
	assert(link < wan.links + CONNECTIONS_MAX);
	link->node = node;
	struct connection_options options = { .base = wan.base,
		.tls = node->tls,
		.alpn = TLS_ALPN_ANY,
		.frame_size_max = FRAME_SIZE_MAX_GREETING,
		.output_size_max = 8 << 20,
		.connect_timeout_ms = 3000,
		.events = &events,
		.arg = link };
	enum status status = connection_accept(&options, fd, &link->connection);
	assert(status == STATUS_OK);
	pthread_mutex_lock(&wan.lock);
	node->heard.connections++;
	pthread_mutex_unlock(&wan.lock);
}

static void wan_stop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	event_base_loopbreak(wan.base);
}

static void *wan_main(void *arg)
{
	(void)arg;
	event_base_dispatch(wan.base);
	return NULL;
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

static struct cast cast;

static void pin(struct map_region *region, const struct authority *authority)
{
	unsigned char *der = region->ca_der;
	int size = i2d_X509(authority->certificate, &der);
	assert(size > 0);
	region->ca_size = (uint32_t)size;
	assert_int_equal(certificate_spki_sha256(authority->certificate, region->spki_sha256), STATUS_OK);
}

static void add_policy(struct cluster_map *map, uint64_t id, const char *name, const char *store_in,
	const uint64_t nodes[], uint8_t count)
{
	struct policy *policy = &map->policies[map->policy_count++];
	*policy = policy_named(name, store_in);
	policy->id = id;
	policy->epoch = 1;
	policy->copies = count;
	policy->read_from = policy->write_from = selectors("*");
	policy_complete(policy, FIELD_STORE_IN | FIELD_COPIES | FIELD_READ_FROM | FIELD_WRITE_FROM);
	struct map_shard *shard = &map->shards[map->shard_count++];
	*shard = (struct map_shard){
		.id = id * 10, .policy = id, .hash_last = UINT64_MAX, .replica_count = count, .lead_wanted = US1
	};
	for (uint8_t i = 0; i < count; i++)
		shard->replicas[i] = (struct map_replica){ id * 10 + i, nodes[i], ROLE_VOTER };
}

static void make_map(void)
{
	struct cluster_map *map = calloc(1, cluster_map_size(&limits));
	map = cluster_map_init(map, &limits);
	map->epoch = 7;
	map->id_next = EU1;
	map->cluster[0] = 0xac;
	memcpy(map->name, "acme", 5);
	pin(add_region(map, "eu/ie/eu-west-1", ""), &cast.eu);
	pin(add_region(map, "us/us-east-1", ""), &cast.us);
	map->regions[0].latitude = 53.3, map->regions[0].longitude = -6.2;
	map->regions[1].latitude = 39.0, map->regions[1].longitude = -77.5;
	for (unsigned i = 0; i < NODES; i++) {
		struct map_node *at = add_node(map, wan.nodes[i].place);
		at->addresses.count = 1;
		memcpy(at->addresses.at[0].address, wan.nodes[i].address, sizeof(wan.nodes[i].address));
	}
	add_policy(map, HOME, "home", "eu", (const uint64_t[]){ EU1, EU2 }, 2);
	map->shards[0].lead_wanted = EU1;
	add_policy(map, SPREAD, "spread", "*", (const uint64_t[]){ EU1, US1 }, 2);
	bind_prefix(map, "home/", HOME);
	bind_prefix(map, "spread/", SPREAD);
	map->id_next = 10000;
	struct packer packer;
	pack_init(&packer, NULL, 0);
	cluster_map_encode(map, &packer);
	wan.map_size = packer.size;
	wan.map = malloc(wan.map_size);
	pack_init(&packer, wan.map, wan.map_size);
	cluster_map_encode(map, &packer);
	free(map);
}

static int set_up(void **state)
{
	static const char *const certificates[NODES] = { "eu-n1", "eu-n2", "us-n1" };
	const char *why;
	(void)state;
	cast_begin(&cast);
	leaf_write(&cast.eu, "eu-n2", &(struct leaf_form){ .names = "DNS:n1.b.eu-west-1.ie.eu.place.acme" });
	pthread_mutex_init(&wan.lock, NULL);
	wan.base = event_base_new();
	for (unsigned i = 0; i < NODES; i++) {
		struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t size = sizeof(any);
		struct wan_node *node = &wan.nodes[i];
		assert_int_equal(tls_context_new(authority_path(certificates[i], ".crt"),
					 authority_path(certificates[i], ".key"), authority_path("cas", ".pem"),
					 &node->tls, &why),
			STATUS_OK);
		node->listener = evconnlistener_new_bind(wan.base, node_accept, node,
			LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, -1, (struct sockaddr *)&any, sizeof(any));
		assert_non_null(node->listener);
		getsockname(evconnlistener_get_fd(node->listener), (struct sockaddr *)&any, &size);
		snprintf(node->address, sizeof(node->address), "127.0.0.1:%u", ntohs(any.sin_port));
	}
	make_map();
	assert_int_equal(pipe(wan.stop_fd), 0);
	wan.stop = event_new(wan.base, wan.stop_fd[0], EV_READ, wan_stop, NULL);
	event_add(wan.stop, NULL);
	assert_int_equal(pthread_create(&wan.thread, NULL, wan_main, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(wan.stop_fd[1]);
	pthread_join(wan.thread, NULL);
	for (unsigned i = 0; i < NODES; i++)
		evconnlistener_free(wan.nodes[i].listener);
	event_free(wan.stop);
	/* What is still on its way is delivered to nobody, and the ends of connections are seen. */
	for (unsigned i = 0; i < 2 * OCEAN_MS; i++) {
		struct timespec ms = { 0, 1000000 };
		event_base_loop(wan.base, EVLOOP_NONBLOCK);
		nanosleep(&ms, NULL);
	}
	event_base_free(wan.base);
	for (unsigned i = 0; i < NODES; i++)
		tls_context_free(wan.nodes[i].tls);
	close(wan.stop_fd[0]);
	free(wan.map);
	cast_end(&cast);
	return 0;
}

static dom_client *client_of(uint64_t first_contact)
{
	dom_connect_options options = DOM_CONNECT_OPTIONS;
	dom_client *client;
	options.endpoints = wan.nodes[first_contact - EU1].address;
	options.ca_file = authority_path("cas", ".pem");
	options.cert_file = authority_path("app", ".crt");
	options.key_file = authority_path("app", ".key");
	enum dom_status status = dom_connect(&options, &client);
	if (status != DOM_OK)
		fail_msg("%s: %s", dom_status_name(status), dom_connect_message());
	return client;
}

static dom_bytes text(const char *string)
{
	return (dom_bytes){ string, strlen(string) };
}

static struct heard heard_by(uint64_t node)
{
	pthread_mutex_lock(&wan.lock);
	struct heard heard = wan.nodes[node - EU1].heard;
	pthread_mutex_unlock(&wan.lock);
	return heard;
}

static unsigned messages(const struct heard *heard)
{
	return heard->hellos + heard->maps + heard->pings + heard->requests;
}

/* Ends well, and says who answered. */
static void expect_served(dom_call *call, uint64_t node)
{
	enum dom_status status = dom_call_wait(call);
	if (status != DOM_OK)
		fail_msg("%s: %s", dom_status_name(status), dom_call_message(call));
	if (node != 0)
		assert_string_equal(dom_call_served_by(call), wan.nodes[node - EU1].place);
	dom_call_free(call);
}

/* Reads and writes under this prefix until the library has looked after its nodes so often: a node at home is pinged
 * each second. */
static unsigned work_through_pings(dom_client *client, const char *prefix, unsigned pings)
{
	uint64_t give_up_ns = clock_boot_ns() + 30000000000ULL;
	unsigned operations = 0, first = heard_by(EU1).pings;
	char key[32];
	while (heard_by(EU1).pings < first + pings) {
		assert_true(clock_boot_ns() < give_up_ns);
		snprintf(key, sizeof(key), "%s%u", prefix, operations % 100);
		expect_served(dom_put(client, text(key), text("v"), NULL), 0);
		expect_served(dom_get(client, text(key), NULL), 0);
		operations += 2;
	}
	return operations;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void test_keys_at_home_touch_home_only(void **state)
{
	(void)state;
	struct heard before = heard_by(US1), home = heard_by(EU1), beside = heard_by(EU2);
	dom_client *client = client_of(EU1);
	unsigned operations = work_through_pings(client, "home/", 4);
	struct heard after = heard_by(US1);
	assert_int_equal(after.connections, before.connections);
	assert_int_equal(messages(&after), messages(&before));
	unsigned served = heard_by(EU1).requests - home.requests + heard_by(EU2).requests - beside.requests;
	assert_in_range(served, operations, operations + operations / 10);
	dom_close(client);
}

/* The first address that a caller knows may be anywhere. */
static void test_first_contact_beyond_the_ocean(void **state)
{
	(void)state;
	dom_client *client = client_of(US1);
	expect_served(dom_put(client, text("home/1"), text("v"), NULL), 0);
	struct heard before = heard_by(US1);
	(void)work_through_pings(client, "home/", 3);
	struct heard after = heard_by(US1);
	assert_int_equal(messages(&after), messages(&before));
	dom_close(client);
}

/* A key with a replica here and one there: operations stay here, and the distance is measured now and then. */
static void test_spread_keys_are_served_at_home(void **state)
{
	(void)state;
	struct heard before = heard_by(US1);
	dom_client *client = client_of(EU1);
	unsigned operations = work_through_pings(client, "spread/", 4);
	struct heard after = heard_by(US1);
	assert_true(operations > 10);
	/* Answers later than a held read's are possible on a machine this busy; their second question is budgeted. */
	assert_in_range(after.requests - before.requests, 0, operations / 10 + 10);
	assert_in_range(after.pings - before.pings, 0, 3); /* one on connecting, one each ten seconds */
	assert_int_equal(after.maps, before.maps);
	dom_close(client);
}

static void test_a_held_read(void **state)
{
	(void)state;
	dom_client *client = client_of(EU1);
	expect_served(dom_get(client, text("spread/1"), NULL), EU1);
	pthread_mutex_lock(&wan.lock);
	wan.nodes[0].answer_nothing = 1;
	pthread_mutex_unlock(&wan.lock);
	expect_served(dom_get(client, text("spread/1"), NULL), US1);
	/* It was only slow: were it lost, the other one would be asked first now. */
	expect_served(dom_get(client, text("spread/1"), NULL), EU1);
	dom_close(client);
}

static void test_writes_through_the_nearest(void **state)
{
	(void)state;
	dom_client *client = client_of(EU1);
	expect_served(dom_put(client, text("spread/1"), text("v"), NULL), EU1); /* US1 leads */
	struct heard before = heard_by(US1);
	pthread_mutex_lock(&wan.lock);
	wan.nodes[0].unknown = 1;
	pthread_mutex_unlock(&wan.lock);
	expect_served(dom_put(client, text("spread/1"), text("v"), NULL), US1);
	assert_int_equal(heard_by(US1).retries, before.retries + 1);
	pthread_mutex_lock(&wan.lock);
	wan.nodes[0].answer_nothing = 1;
	pthread_mutex_unlock(&wan.lock);
	expect_served(dom_put(client, text("spread/1"), text("v"), NULL), US1); /* the origin is slow */
	assert_int_equal(heard_by(US1).retries, before.retries + 2);
	expect_served(dom_put(client, text("spread/1"), text("v"), NULL), EU1);
	/* One that does not forward, as servers did before origins. */
	pthread_mutex_lock(&wan.lock);
	wan.nodes[0].no_origin = true;
	pthread_mutex_unlock(&wan.lock);
	struct heard home = heard_by(EU1);
	for (unsigned i = 0; i < 5; i++)
		expect_served(dom_put(client, text("spread/1"), text("v"), NULL), US1);
	assert_int_equal(heard_by(EU1).requests, home.requests + 1); /* asked once, not each time */
	pthread_mutex_lock(&wan.lock);
	wan.nodes[0].no_origin = false;
	pthread_mutex_unlock(&wan.lock);
	dom_close(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_at_home_touch_home_only),
		cmocka_unit_test(test_first_contact_beyond_the_ocean),
		cmocka_unit_test(test_spread_keys_are_served_at_home),
		cmocka_unit_test(test_a_held_read),
		cmocka_unit_test(test_writes_through_the_nearest),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
