/* client/endpoint.c: one connection per node, dialled on demand at the address that the node advertises to our place.
 *
 *	DOWN -> DIALLING -> READY -> DOWN ...
 *
 * Nothing of a request leaves before TLS is up and the certificate names the cluster, the role of a node, and the place
 * that the map gives the node we meant: what is queued until then is dropped with the connection. The first contact
 *goes to an address, not to a node; such an endpoint carries no key until its node is known and checked (node != 0).
 *
 * A request is a slot until it is answered or its connection ends. Its id is (generation, index), so that an answer
 *that comes twice, or was never asked for, meets no slot. */
#include "client/client_internal.h"

#include <stdlib.h>

#include "base/text.h"
#include "wire/frame.h"

enum {
	REDIAL_MS_FIRST = 50,
	REDIAL_DOUBLINGS_MAX = 5, /* 1.6 s */
	PROBE_MS = 1000,
	CLOSED_AT_ONCE_MAX = 64,
	STUCK_MS_MAX = 1000,
	STUCK_MS = 200,	   /* and four round trips: TLS takes three */
	SILENCE_MS = 5000, /* unanswered requests and not a byte for so long: the connection is dead */
};
#define MS_NS ((uint64_t)1000000)

static enum status on_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer_spki_sha256[32], const char **why);
static enum status on_received(struct connection *connection, void *arg, const struct message *message);
static void on_closed(struct connection *connection, void *arg, enum status status, const char *why);

static const struct connection_events events = { on_established, on_received, on_closed };

/* --- slots ------------------------------------------------------------------------------------------------ */

static struct slot *slot_at(const struct slots *slots, uint32_t index)
{
	if (index / SLOT_BLOCK >= slots->block_count)
		return NULL;
	return &slots->blocks[index / SLOT_BLOCK][index % SLOT_BLOCK];
}

static bool slots_grow(struct slots *slots)
{
	if (slots->block_count == SLOT_BLOCKS_MAX)
		return false;
	struct slot *block = calloc(SLOT_BLOCK, sizeof(*block));
	if (!block)
		return false;
	uint32_t first = slots->block_count * SLOT_BLOCK;
	slots->blocks[slots->block_count++] = block;
	for (uint32_t i = SLOT_BLOCK; i-- > 0;) {
		block[i].index = first + i;
		block[i].free_next = slots->free_first;
		slots->free_first = first + i + 1;
	}
	return true;
}

static struct slot *slot_take(struct slots *slots)
{
	if (slots->free_first == 0 && !slots_grow(slots))
		return NULL;
	struct slot *slot = slot_at(slots, slots->free_first - 1);
	assert(slot->kind == SLOT_FREE);
	slots->free_first = slot->free_next;
	slot->generation++;
	slot->run = NULL;
	slot->attempt = 0;
	list_init(&slot->of_endpoint);
	list_init(&slot->of_owner);
	return slot;
}

void slot_release(struct dom_client *client, struct slot *slot)
{
	assert(slot->kind != SLOT_FREE);
	list_remove(&slot->of_endpoint);
	list_remove(&slot->of_owner);
	slot->kind = SLOT_FREE;
	slot->run = NULL;
	slot->free_next = client->slots.free_first;
	client->slots.free_first = slot->index + 1;
}

void slots_free(struct slots *slots)
{
	for (uint32_t i = 0; i < slots->block_count; i++)
		free(slots->blocks[i]);
	slots->block_count = 0;
}

/* --- dialling ----------------------------------------------------------------------------------------------- */

static void went_down(struct endpoint *endpoint, uint64_t now_ns)
{
	unsigned doublings =
		endpoint->failures < REDIAL_DOUBLINGS_MAX ? endpoint->failures : (unsigned)REDIAL_DOUBLINGS_MAX;
	/* One that was up is dialled again at once. */
	endpoint->redial_ns =
		endpoint->established ? now_ns : now_ns + ((uint64_t)REDIAL_MS_FIRST << doublings) * MS_NS;
	endpoint->failures = endpoint->established ? 0 : endpoint->failures + 1;
	endpoint->state = ENDPOINT_DOWN;
	endpoint->connection = NULL;
	endpoint->ping_open = false;
}

static bool dial(struct endpoint *endpoint)
{
	struct dom_client *client = endpoint->client;
	struct message hello = { .kind = MESSAGE_HELLO };
	uint64_t now_ns = client_now();
	struct connection_options options = {
		.base = client->base,
		.tls = client->tls,
		.alpn = TLS_ALPN_CLIENT,
		.frame_size_max = FRAME_SIZE_MAX_GREETING,
		.output_size_max = OUTPUT_SIZE_MAX,
		.connect_timeout_ms = client->connect_timeout_ms,
		.events = &events,
		.arg = endpoint,
	};
	assert(endpoint->state == ENDPOINT_DOWN);
	endpoint->established = false;
	endpoint->claim = 0;
	if (now_ns < endpoint->redial_ns)
		return false;
	if (connection_dial(&options, endpoint->address, &endpoint->connection) != STATUS_OK) {
		went_down(endpoint, now_ns);
		return false;
	}
	hello.hello.version = PROTOCOL_VERSION;
	hello.hello.map_epoch = router_epoch(client->router);
	hello.hello.place = bytes_text(client->who.place);
	memcpy(hello.hello.cluster, router_map(client->router)->cluster, sizeof(hello.hello.cluster));
	endpoint->state = ENDPOINT_DIALLING;
	endpoint->heard_ns = endpoint->dialled_ns = now_ns;
	if (connection_send(endpoint->connection, &hello) != STATUS_OK) {
		connection_free(endpoint->connection);
		went_down(endpoint, now_ns);
		return false;
	}
	return true;
}

static struct endpoint *endpoint_new(struct dom_client *client, const char *address)
{
	struct endpoint *endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return NULL;
	endpoint->client = client;
	memcpy(endpoint->address, address, strlen(address) + 1);
	list_init(&endpoint->slots);
	list_init(&endpoint->link);
	list_push_back(&client->endpoints, &endpoint->link);
	return endpoint;
}

static struct endpoint *find_node(struct dom_client *client, uint64_t node)
{
	LIST_EACH_SAFE(link, &client->endpoints)
	{
		struct endpoint *endpoint = LIST_ENTRY(link, struct endpoint, link);
		if (endpoint->node == node)
			return endpoint;
	}
	return NULL;
}

struct endpoint *endpoint_of_node(struct dom_client *client, uint64_t node_id)
{
	assert(node_id != 0);
	struct endpoint *endpoint = find_node(client, node_id);
	if (!endpoint || endpoint->state == ENDPOINT_DOWN) {
		const struct map_node *node = map_node_find(router_map(client->router), node_id);
		struct place place = { .text = "" };
		memcpy(place.text, client->who.place, strlen(client->who.place) + 1);
		const char *address = node ? address_for(&node->addresses, &place) : NULL;
		if (!address || client->closing)
			return NULL;
		if (!endpoint)
			endpoint = endpoint_new(client, address);
		if (!endpoint)
			return NULL;
		endpoint->node = node_id;
		memcpy(endpoint->address, address, strlen(address) + 1);
		if (!dial(endpoint))
			return NULL;
	}
	if (list_first(&client->endpoints) != &endpoint->link) {
		list_remove(&endpoint->link);
		list_push_front(&client->endpoints, &endpoint->link);
	}
	return endpoint;
}

/* By address alone, for the first contact: one of its own until its node is known. */
struct endpoint *endpoint_of_address(struct dom_client *client, const char *address)
{
	struct endpoint *found = NULL;
	LIST_EACH_SAFE(link, &client->endpoints)
	{
		struct endpoint *endpoint = LIST_ENTRY(link, struct endpoint, link);
		if (strcmp(endpoint->address, address) == 0 && (!found || endpoint->state == ENDPOINT_READY))
			found = endpoint;
	}
	if (!found)
		found = endpoint_new(client, address);
	if (!found || (found->state == ENDPOINT_DOWN && !dial(found)))
		return NULL;
	return found;
}

/* The nearest connected one but that; that one if it is the only one. */
struct endpoint *endpoint_any(struct dom_client *client, const struct endpoint *but)
{
	struct endpoint *any = NULL;
	uint32_t least_us = 0;
	LIST_EACH_SAFE(link, &client->endpoints)
	{
		struct endpoint *endpoint = LIST_ENTRY(link, struct endpoint, link);
		bool measured;
		if (endpoint->state != ENDPOINT_READY)
			continue;
		uint32_t rtt_us =
			endpoint->node == 0 ? UINT32_MAX : router_rtt_us(client->router, endpoint->node, &measured);
		if (any && any != but && (endpoint == but || rtt_us >= least_us))
			continue;
		any = endpoint;
		least_us = rtt_us;
	}
	return any;
}

/* --- sending and hearing -------------------------------------------------------------------------------------- */

struct slot *endpoint_send(struct endpoint *endpoint, enum slot_kind kind, struct message *message, enum status *status)
{
	struct dom_client *client = endpoint->client;
	assert(endpoint->state != ENDPOINT_DOWN);
	struct slot *slot = slot_take(&client->slots);
	if (!slot) {
		*status = STATUS_BUSY;
		return NULL;
	}
	slot->kind = (uint8_t)kind;
	slot->endpoint = endpoint;
	message->request = (uint64_t)slot->generation << 32 | slot->index;
	*status = connection_send(endpoint->connection, message);
	if (*status != STATUS_OK) {
		slot_release(client, slot);
		return NULL;
	}
	slot->sent_ns = client_now();
	/* Silence counts from when there was something to answer. */
	if (list_empty(&endpoint->slots))
		endpoint->heard_ns = slot->sent_ns;
	list_push_back(&endpoint->slots, &slot->of_endpoint);
	return slot;
}

void endpoint_ping(struct endpoint *endpoint)
{
	struct message message = { .kind = MESSAGE_REQUEST };
	enum status status;
	if (endpoint->ping_open || endpoint->state == ENDPOINT_DOWN)
		return;
	message.ask.operation = OPERATION_PING;
	message.ask.timeout_ms = SILENCE_MS;
	endpoint->ping_open = endpoint_send(endpoint, SLOT_PING, &message, &status) != NULL;
}

static void heard_pong(struct endpoint *endpoint, const struct slot *slot, uint64_t now_ns)
{
	endpoint->ping_open = false;
	if (slot->sent_ns < endpoint->ready_ns) {
		endpoint_ping(endpoint); /* it waited for the handshake: that is no round trip */
		return;
	}
	if (endpoint->node == 0)
		return;
	uint64_t rtt_us = (now_ns - slot->sent_ns) / 1000;
	router_learn_rtt(endpoint->client->router, endpoint->node, rtt_us > UINT32_MAX ? UINT32_MAX : (uint32_t)rtt_us);
	router_node_answered(endpoint->client->router, endpoint->node);
}

static void slot_answered(struct endpoint *endpoint, struct slot *slot, const struct message *message, uint64_t now_ns)
{
	struct dom_client *client = endpoint->client;
	struct run *run = slot->run;
	list_remove(&slot->of_endpoint);
	list_remove(&slot->of_owner);
	switch (slot->kind) {
	case SLOT_RUN:
		if (run)
			run_answered(run, slot, message);
		break;
	case SLOT_ASK:
		if (run)
			ask_answered(run, slot, message);
		break;
	case SLOT_PING:
		heard_pong(endpoint, slot, now_ns);
		break;
	default:
		assert(slot->kind == SLOT_MAP);
		if (client->fetch == slot)
			client->fetch = NULL;
		if (message->kind == MESSAGE_MAP_REPLY)
			fetch_answered(client, endpoint, &message->map_reply);
	}
	slot_release(client, slot);
}

/* Does the node that claims this id have the place that the certificate attests, signed by its region's authority?
 * Without a map nothing can be said yet. */
static bool is_node(const struct endpoint *endpoint, uint64_t node_id)
{
	const struct cluster_map *map = router_map(endpoint->client->router);
	const struct map_node *node = map_node_find(map, node_id);
	const struct map_region *region = node ? map_region_of(map, &node->place) : NULL;
	if (!region)
		return false;
	return strcmp(node->place.text, connection_who(endpoint->connection)->place) == 0 &&
	       memcmp(region->spki_sha256, endpoint->issuer_spki_sha256, 32) == 0;
}

static enum status on_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer_spki_sha256[32], const char **why)
{
	struct endpoint *endpoint = arg;
	struct dom_client *client = endpoint->client;
	assert(connection == endpoint->connection);
	memcpy(endpoint->issuer_spki_sha256, issuer_spki_sha256, 32);
	if (who->role != CERTIFICATE_NODE) {
		*why = "its certificate is not a node's";
		return STATUS_DENIED;
	}
	if (strcmp(who->cluster, client->who.cluster) != 0) {
		*why = "its certificate is of another cluster than ours";
		return STATUS_DENIED;
	}
	if (endpoint->node != 0 && !is_node(endpoint, endpoint->node)) {
		*why = "its certificate is not of the place that the cluster map gives that node";
		return STATUS_DENIED;
	}
	const struct map_region *ours = NULL;
	if (client->who.place[0] != '\0') {
		struct place place = { .text = "" };
		memcpy(place.text, client->who.place, strlen(client->who.place) + 1);
		ours = map_region_of(router_map(client->router), &place);
	}
	struct place theirs = { .text = "" };
	memcpy(theirs.text, who->place, strlen(who->place) + 1);
	connection_set_compress(connection, ours && !place_within(&theirs, ours->site.place.text));
	endpoint->established = true;
	return STATUS_OK;
}

/* Which node is it? Known by id and place once there is a map. False: it is not what it says. */
static bool identify(struct endpoint *endpoint)
{
	struct dom_client *client = endpoint->client;
	if (endpoint->node != 0)
		return is_node(endpoint, endpoint->node);
	if (endpoint->claim == 0 || router_epoch(client->router) == 0)
		return true;
	if (!map_node_find(router_map(client->router), endpoint->claim))
		return true; /* a younger node than the map: not used for keys until it is in there */
	if (!is_node(endpoint, endpoint->claim))
		return false;
	struct endpoint *other = find_node(client, endpoint->claim);
	if (!other)
		endpoint->node = endpoint->claim;
	return true;
}

static enum status heard_hello(struct endpoint *endpoint, const struct message_hello *hello)
{
	static const uint8_t unknown[16];
	struct dom_client *client = endpoint->client;
	const struct cluster_map *map = router_map(client->router);
	if (endpoint->state == ENDPOINT_READY || hello->version == 0)
		return STATUS_INVALID;
	if (hello->version > PROTOCOL_VERSION)
		return STATUS_UNSUPPORTED;
	if (map->epoch != 0 && memcmp(hello->cluster, unknown, 16) != 0 &&
		memcmp(hello->cluster, map->cluster, 16) != 0)
		return STATUS_DENIED;
	if (endpoint->node != 0 && hello->node != 0 && hello->node != endpoint->node)
		return STATUS_DENIED;
	endpoint->claim = hello->node;
	if (!identify(endpoint))
		return STATUS_DENIED;
	endpoint->state = ENDPOINT_READY;
	endpoint->ready_ns = client_now();
	endpoint->failures = 0;
	connection_set_frame_size_max(endpoint->connection, FRAME_SIZE_MAX_CLIENT);
	if (endpoint->node != 0)
		router_node_answered(client->router, endpoint->node);
	if (router_epoch(client->router) == 0)
		fetch_map(client, endpoint);
	else
		fetch_heard(client, endpoint, hello->map_epoch);
	endpoint_ping(endpoint);
	return STATUS_OK;
}

static enum status on_message(struct endpoint *endpoint, const struct message *message)
{
	struct dom_client *client = endpoint->client;
	uint64_t now_ns = client_now();
	endpoint->heard_ns = now_ns;
	if (message->kind == MESSAGE_HELLO)
		return heard_hello(endpoint, &message->hello);
	if (message->kind != MESSAGE_REPLY && message->kind != MESSAGE_MAP_REPLY)
		return STATUS_INVALID;
	if (endpoint->state != ENDPOINT_READY)
		return STATUS_INVALID;
	if (message->kind == MESSAGE_REPLY)
		fetch_heard(client, endpoint, message->reply.map_epoch);
	struct slot *slot = slot_at(&client->slots, (uint32_t)message->request);
	if (!slot || slot->kind == SLOT_FREE || slot->generation != message->request >> 32 ||
		slot->endpoint != endpoint)
		return STATUS_OK; /* answered before */
	slot_answered(endpoint, slot, message, now_ns);
	return STATUS_OK;
}

static enum status on_received(struct connection *connection, void *arg, const struct message *message)
{
	struct endpoint *endpoint = arg;
	struct dom_client *client = endpoint->client;
	(void)connection;
	client_enter(client);
	enum status status = client->closing ? STATUS_OK : on_message(endpoint, message);
	client_leave(client);
	return status;
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void slot_lost(struct dom_client *client, struct slot *slot, bool delivered)
{
	struct run *run = slot->run;
	uint32_t attempt = slot->attempt;
	uint8_t kind = slot->kind;
	bool fetching = client->fetch == slot;
	if (fetching)
		client->fetch = NULL;
	slot_release(client, slot);
	if (kind == SLOT_RUN && run)
		run_lost(run, attempt, delivered);
	else if (kind == SLOT_ASK && run)
		ask_lost(run, delivered);
	else if (fetching)
		fetch_lost(client);
}

/* The connection is gone: everybody who waits there is told. What they then start goes elsewhere, or dials anew. */
static void fail_slots(struct endpoint *endpoint, bool delivered)
{
	struct list lost;
	list_init(&lost);
	for (struct list *link; (link = list_pop_front(&endpoint->slots));)
		list_push_back(&lost, link);
	for (struct list *link; (link = list_first(&lost));)
		slot_lost(endpoint->client, LIST_ENTRY(link, struct slot, of_endpoint), delivered);
}

static void lost(struct endpoint *endpoint)
{
	struct dom_client *client = endpoint->client;
	bool delivered = endpoint->established;
	bool missed = !delivered || !list_empty(&endpoint->slots); /* else it was only idle */
	went_down(endpoint, client_now());
	if (endpoint->node != 0 && missed)
		router_node_lost(client->router, endpoint->node, client_now());
	fail_slots(endpoint, delivered);
}

static void on_closed(struct connection *connection, void *arg, enum status status, const char *why)
{
	struct endpoint *endpoint = arg;
	struct dom_client *client = endpoint->client;
	(void)status;
	client_enter(client);
	if (endpoint->connection == connection) {
		if (!client->resolved) {
			struct text text;
			text_init(&text, client->why, sizeof(client->why));
			text_add(&text, endpoint->address);
			text_add(&text, ": ");
			text_add(&text, why ? why : "closed");
		}
		lost(endpoint);
		if (!client->resolved)
			fetch_next_bootstrap(client);
	}
	client_leave(client);
}

static enum status no_message(struct connection *connection, void *arg, const struct message *message)
{
	(void)connection;
	(void)arg;
	(void)message;
	return STATUS_CLOSED;
}
static enum status never_established(struct connection *connection, void *arg, const struct certificate_name *who,
	const uint8_t issuer_spki_sha256[32], const char **why)
{
	(void)connection;
	(void)arg;
	(void)who;
	(void)issuer_spki_sha256;
	*why = "no longer wanted";
	return STATUS_CLOSED;
}
static void closed_unheard(struct connection *connection, void *arg, enum status status, const char *why)
{
	(void)connection;
	(void)arg;
	(void)status;
	(void)why;
}
/* Of a connection that the client has let go of: it ends by itself, and knows nobody here. */
static const struct connection_events orphan = { never_established, no_message, closed_unheard };

void endpoint_close(struct endpoint *endpoint, const char *why)
{
	struct connection *connection = endpoint->connection;
	if (!connection)
		return;
	connection_set_events(connection, &orphan, NULL);
	connection_close(connection, why);
	lost(endpoint);
}

bool endpoint_is_stuck(const struct endpoint *endpoint)
{
	bool measured;
	uint64_t rtt_us =
		endpoint->node == 0 ? UINT32_MAX : router_rtt_us(endpoint->client->router, endpoint->node, &measured);
	uint64_t stuck_ns = STUCK_MS * MS_NS + rtt_us * 4000;
	if (stuck_ns > STUCK_MS_MAX * MS_NS)
		stuck_ns = STUCK_MS_MAX * MS_NS;
	return endpoint->state == ENDPOINT_DIALLING && !endpoint->established &&
	       client_now() - endpoint->dialled_ns >= stuck_ns;
}

/* Closing one makes its requests go elsewhere, which moves others in the list: so they are gathered first. */
static void close_all(struct endpoint *const closing[], unsigned count, const char *why)
{
	for (unsigned i = 0; i < count; i++)
		endpoint_close(closing[i], why);
}

void endpoints_map_changed(struct dom_client *client)
{
	struct endpoint *closing[CLOSED_AT_ONCE_MAX];
	unsigned count = 0;
	LIST_EACH_SAFE(link, &client->endpoints)
	{
		struct endpoint *endpoint = LIST_ENTRY(link, struct endpoint, link);
		if (endpoint->state == ENDPOINT_READY && !identify(endpoint) && count < CLOSED_AT_ONCE_MAX)
			closing[count++] = endpoint;
	}
	close_all(closing, count, "not the node that the cluster map knows");
}

void endpoints_free(struct dom_client *client, bool in_callback)
{
	for (struct list *link; (link = list_pop_front(&client->endpoints));) {
		struct endpoint *endpoint = LIST_ENTRY(link, struct endpoint, link);
		if (endpoint->connection && !in_callback)
			connection_free(endpoint->connection);
		else if (endpoint->connection) {
			connection_set_events(endpoint->connection, &orphan, NULL);
			connection_close(endpoint->connection, "the client was closed");
		}
		endpoint->connection = NULL;
		for (struct list *at; (at = list_first(&endpoint->slots));)
			slot_release(client, LIST_ENTRY(at, struct slot, of_endpoint));
		free(endpoint);
	}
}

/* --- once a second --------------------------------------------------------------------------------------------------
 */

/* An administrator touches no keys: nobody is near. */
static void probe(struct dom_client *client, uint64_t now_ns)
{
	uint64_t nodes[NODES_PROBED_MAX];
	if (client->who.place[0] == '\0' || router_epoch(client->router) == 0)
		return;
	unsigned count = router_probes(client->router, now_ns, nodes, NODES_PROBED_MAX);
	for (unsigned i = 0; i < count; i++) {
		struct endpoint *endpoint = endpoint_of_node(client, nodes[i]);
		if (endpoint)
			endpoint_ping(endpoint);
	}
}

void endpoints_tend(struct dom_client *client)
{
	uint64_t now_ns = client_now();
	bool late =
		now_ns - client->tick_ns > 3 * PROBE_MS * MS_NS; /* the loop itself was away: judge nobody by that */
	struct endpoint *silent[CLOSED_AT_ONCE_MAX];
	unsigned silent_count = 0;
	client->tick_ns = now_ns;
	LIST_EACH_SAFE(link, &client->endpoints)
	{
		struct endpoint *endpoint = LIST_ENTRY(link, struct endpoint, link);
		if (late)
			endpoint->heard_ns = now_ns;
		if (endpoint->state != ENDPOINT_READY)
			continue;
		bool is_silent = !list_empty(&endpoint->slots) && now_ns - endpoint->heard_ns > SILENCE_MS * MS_NS;
		if (is_silent && silent_count < CLOSED_AT_ONCE_MAX)
			silent[silent_count++] = endpoint;
	}
	close_all(silent, silent_count, "no answer for too long");
	probe(client, now_ns);
}
