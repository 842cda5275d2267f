/* client/fetch.c: getting the cluster map: at first contact from any of the addresses that the caller gave, later from
 * any node that is connected, whenever somebody needs a newer one or an answer told of one. One request at a time. */
#include "client/client_internal.h"

enum {
	FETCH_PATIENCE_MS = 1000, /* then another node is asked */
	FETCH_PAUSE_MS = 100,	  /* between fetches that nobody waits for */
};
#define MS_NS ((uint64_t)1000000)

/* Somebody to ask: connected ones first, never twice the same in a row when there is a choice. */
static struct endpoint *choose(struct dom_client *client, const struct endpoint *but)
{
	uint64_t nodes[NODES_PROBED_MAX];
	struct endpoint *endpoint = endpoint_any(client, but);
	if (endpoint && endpoint != but)
		return endpoint;
	unsigned count = router_nodes(client->router, nodes, NODES_PROBED_MAX);
	for (unsigned i = 0; i < count; i++) {
		struct endpoint *node = endpoint_of_node(client, nodes[(client->fetch_node + i) % count]);
		if (!node)
			continue;
		client->fetch_node = (client->fetch_node + i + 1) % count;
		return node;
	}
	for (uint32_t i = 0; !endpoint && i < client->bootstrap_count; i++)
		endpoint = endpoint_of_address(
			client, client->bootstraps[(client->bootstrap_next++) % client->bootstrap_count]);
	return endpoint;
}

void fetch_map(struct dom_client *client, struct endpoint *prefer)
{
	struct message message = { .kind = MESSAGE_MAP_REQUEST };
	uint64_t now_ns = client_now();
	enum status status;
	struct endpoint *asked = client->fetch ? client->fetch->endpoint : NULL;
	if (asked && now_ns - client->fetch_ns < FETCH_PATIENCE_MS * MS_NS)
		return;
	struct endpoint *endpoint =
		prefer && prefer != asked && prefer->state == ENDPOINT_READY ? prefer : choose(client, asked);
	if (!endpoint)
		return; /* whoever waits asks again */
	message.map_request.epoch = router_epoch(client->router);
	struct slot *slot = endpoint_send(endpoint, SLOT_MAP, &message, &status);
	if (!slot)
		return;
	client->fetch = slot;
	client->fetch_ns = now_ns;
}

/* Trust the authorities of regions that were added after our files were written: the map pins them. */
static void trust_regions(struct dom_client *client)
{
	const struct cluster_map *map = router_map(client->router);
	if (client->trusted_epoch == map->epoch)
		return;
	client->trusted_epoch = map->epoch;
	for (uint32_t i = 0; i < map->region_count; i++) { /* again is harmless */
		const struct map_region *region = &map->regions[i];
		enum status status = tls_context_trust(client->tls, bytes_of(region->ca_der, region->ca_size));
		(void)status; /* not to be used: its nodes will not be reached, which their dialling will tell */
	}
}

static void wake_waiting(struct dom_client *client)
{
	struct list waiting;
	list_init(&waiting);
	for (struct list *link; (link = list_pop_front(&client->awaiting_map));)
		list_push_back(&waiting, link);
	for (struct list *link; (link = list_pop_front(&waiting));)
		run_map_arrived(LIST_ENTRY(link, struct run, awaiting_map));
}

void fetch_answered(struct dom_client *client, struct endpoint *from, const struct message_map_reply *reply)
{
	uint64_t before = router_epoch(client->router);
	if (reply->map.size > 0 && router_learn_map(client->router, reply->map) != STATUS_OK) {
		if (!client->resolved)
			client_resolved(client, false,
				"the node's cluster map is malformed, of a newer format, or of another cluster");
		return;
	}
	if (router_epoch(client->router) > before) {
		trust_regions(client);
		endpoints_map_changed(client);
	}
	if (!client->resolved) {
		bool admin = client->who.role == CERTIFICATE_ADMIN;
		if (router_epoch(client->router) == 0 && !admin)
			client_resolved(client, false,
				"the node belongs to no cluster yet; begin one with domctl cluster init, or let it "
				"join");
		else if (from->state == ENDPOINT_READY)
			client_resolved(client, true, "");
		else
			fetch_next_bootstrap(client); /* it was not what the map says, and is closed */
	}
	wake_waiting(client);
}

void fetch_lost(struct dom_client *client)
{
	if (!list_empty(&client->awaiting_map))
		fetch_map(client, NULL);
}

void fetch_heard(struct dom_client *client, struct endpoint *from, uint64_t epoch)
{
	if (epoch > client->epoch_heard)
		client->epoch_heard = epoch;
	if (client->epoch_heard <= router_epoch(client->router) || client->fetch)
		return;
	if (client_now() - client->fetch_ns >= FETCH_PAUSE_MS * MS_NS)
		fetch_map(client, epoch == client->epoch_heard ? from : NULL);
}

/* Who is refused by its own map sends nothing, and so hears of no other one. */
void fetch_doubted(struct dom_client *client)
{
	if (!client->closing && !client->fetch && client_now() - client->fetch_ns >= FETCH_PAUSE_MS * MS_NS)
		fetch_map(client, NULL);
}

/* First contact: the addresses in their order, the next as soon as one fails. */
void fetch_next_bootstrap(struct dom_client *client)
{
	while (!client->resolved && client->bootstrap_next < client->bootstrap_count)
		if (endpoint_of_address(client, client->bootstraps[client->bootstrap_next++]))
			return;
	LIST_EACH_SAFE(link, &client->endpoints)
	if (LIST_ENTRY(link, struct endpoint, link)->state != ENDPOINT_DOWN)
		return;
	if (!client->resolved)
		client_resolved(client, false, client->why[0] != '\0' ? client->why : "no endpoint could be dialled");
}
