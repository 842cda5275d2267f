/* tests/cluster/hostile_peer.c: a node's certificate, key and address in the wrong hands, on the protocol between
 * nodes.
 *
 * The thief dials the target as that node and says what it likes; what the target answers goes to the node's address,
 * where the thief listens. A PING that is answered by a PONG there is the end of a round: all that was said before was
 * judged before, because a connection keeps its order, so silence is proved without waiting for it. */
#define _GNU_SOURCE /* memmem */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/prng.h"
#include "policy/change.h"
#include "tests/cluster/hostile.h"

#define BARRIER_NS 5000000000ull
#define PING_NS	   200000000ull

struct theft {
	const struct thief *thief;
	const char *address, *canary;
	struct cluster_map *map;
	const struct map_node *own, *target;
	const struct map_shard *shard; /* of home's, on the target, not on us */
	uint64_t there;		       /* the target's replica of it */
	int listen_fd;
	struct line out, in; /* what we say; what the target says to us */
	unsigned group_heard, canary_heard, others_heard;
	uint64_t term, last; /* of meta, as its leader says */
};

static int listen_on(const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	unsigned port = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	assert(fd >= 0);
	if (sscanf(strrchr(text, ':'), ":%u", &port) != 1)
		return -1;
	address.sin_port = htons((uint16_t)port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 16) == 0 ? fd : -1;
}

static bool dial(struct theft *theft)
{
	struct message hello;
	return line_open(&theft->out, theft->address, theft->thief, "domicile-peer/1") &&
	       line_greet(&theft->out, theft->own->place.text, theft->own->id, &hello);
}

/* Others dial this address too: the one whose HELLO is the target's stays. */
static bool await_target(struct theft *theft)
{
	for (unsigned i = 0; i < 64; i++) {
		struct message hello;
		if (!line_accept(&theft->in, theft->listen_fd, theft->thief, "domicile-peer/1", 15000))
			return false;
		/* Ours goes first on a line that we accept. */
		struct message own = { .kind = MESSAGE_HELLO };
		own.hello.version = PROTOCOL_VERSION;
		memcpy(own.hello.cluster, theft->map->cluster, 16);
		own.hello.node = theft->own->id;
		own.hello.boot = line_boot();
		own.hello.place = bytes_text(theft->own->place.text);
		line_send(&theft->in, &own);
		if (line_hear(&theft->in, 10000, &hello) == HEARD_MESSAGE && hello.kind == MESSAGE_HELLO &&
			hello.hello.node == theft->target->id)
			return true;
		line_close(&theft->in);
	}
	return false;
}

static void note(struct theft *theft, const struct message *message)
{
	bool canary = theft->in.payload && theft->in.size >= theft->in.taken &&
		      memmem(theft->in.in, theft->in.taken, theft->canary, strlen(theft->canary)) != NULL;
	theft->canary_heard += canary;
	if (message->kind == MESSAGE_APPEND && message->group == META_GROUP && message->term >= theft->term) {
		theft->term = message->term;
		theft->last = message->append.prev_index;
	}
	if (message_is_group(message->kind) && message->group != META_GROUP &&
		map_shard_find(theft->map, message->group)->policy == theft->shard->policy)
		theft->group_heard++;
	else
		theft->others_heard++;
}

/* Until all that was said is judged. A PONG may be lost while the target's line to us is new, so it is asked for again;
 * each was asked for after what is to be judged. False: the target has closed. */
static bool barrier(struct theft *theft)
{
	static uint64_t number = 1000;
	struct message ping = { .kind = MESSAGE_PING }, heard;
	uint64_t first = number + 1, until_ns = clock_boot_ns() + BARRIER_NS, next_ns = 0;
	while (clock_boot_ns() < until_ns) {
		if (clock_boot_ns() >= next_ns) {
			next_ns = clock_boot_ns() + PING_NS;
			ping.ping.sent_ns = ++number;
			ping.ping.boot = line_boot();
			if (!line_send(&theft->out, &ping) || line_hear(&theft->out, 0, &heard) == HEARD_END)
				return false;
		}
		enum heard what = line_hear(&theft->in, 100, &heard);
		if (what == HEARD_END)
			return false;
		if (what == HEARD_NOTHING)
			continue;
		note(theft, &heard);
		if (heard.kind == MESSAGE_PING) { /* another process than before is believed when it answers */
			struct message pong = { .kind = MESSAGE_PONG };
			pong.pong.echo_ns = heard.ping.sent_ns;
			pong.pong.boot = line_boot();
			pong.pong.echo_boot = heard.ping.boot;
			line_send(&theft->out, &pong);
		}
		if (heard.kind == MESSAGE_PONG && heard.pong.echo_ns >= first && heard.pong.echo_ns <= number)
			return true;
	}
	return false;
}

/* Both lines, and a round on them. The target may give up its dial while ours is in the making: then once more. */
static bool meet(struct theft *theft)
{
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		if (dial(theft) && await_target(theft) && barrier(theft))
			return true;
		line_close(&theft->out);
		line_close(&theft->in);
	}
	return false;
}

static struct message from_to(uint8_t kind, uint64_t group, uint64_t from, uint64_t to, uint64_t term)
{
	return (struct message){ .kind = kind, .group = group, .from = from, .to = to, .term = term };
}

static void membership_of_us(const struct theft *theft, struct membership *membership)
{
	memset(membership, 0, sizeof(*membership));
	membership->count = 1;
	membership->at[0] = (struct member){ .replica = 424242, .node = theft->own->id, .role_new = ROLE_VOTER };
}

/* Every kind of message for a group, in one voice: a replica that is ours, nobody's, or another node's. */
static void say_all(struct theft *theft, uint64_t group, uint64_t from, uint64_t to, uint64_t term)
{
	static struct entry entry;
	static struct bytes body;
	struct line *out = &theft->out;
	struct message message = from_to(MESSAGE_APPEND, group, from, to, term);
	message.append.first = 1; /* none follow; committed beyond all ends */
	message.append.commit = UINT64_MAX / 4;
	line_send(out, &message);
	entry = (struct entry){ .index = 1, .term = 1, .version = 1, .size = 6, .kind = ENTRY_COMMAND };
	body = bytes_text("forged");
	message.append.last = 1;
	message.append.entries = &entry;
	message.append.bodies = &body;
	line_send(out, &message);
	message = from_to(MESSAGE_APPEND_REPLY, group, from, to, term);
	message.append_reply.match = message.append_reply.commit = UINT64_MAX / 4;
	line_send(out, &message);
	message = from_to(MESSAGE_VOTE, group, from, to, term);
	message.vote = (struct message_vote){ .last_index = UINT64_MAX / 4, .last_term = term, .transfer = true };
	line_send(out, &message);
	message.vote.pre = true;
	line_send(out, &message);
	message = from_to(MESSAGE_VOTE_REPLY, group, from, to, term);
	message.vote_reply.granted = true;
	line_send(out, &message);
	message = from_to(MESSAGE_TIMEOUT_NOW, group, from, to, term);
	line_send(out, &message);
	message = from_to(MESSAGE_READ_INDEX, group, from, to, term);
	message.read_index.nonce = 1;
	line_send(out, &message);
	message = from_to(MESSAGE_READ_INDEX_REPLY, group, from, to, term); /* as an old one, sent again */
	message.read_index_reply = (struct message_read_index_reply){ .nonce = 1, .index = 1 };
	line_send(out, &message);
	message = from_to(MESSAGE_SNAPSHOT, group, from, to, term);
	message.snapshot.index = 1 << 20;
	message.snapshot.term = term;
	membership_of_us(theft, &message.snapshot.membership);
	line_send(out, &message);
	message = from_to(MESSAGE_SNAPSHOT_CHUNK, group, from, to, term);
	message.chunk.transfer = 7;
	message.chunk.index = 1 << 20;
	message.chunk.term = term;
	message.chunk.last = true;
	membership_of_us(theft, &message.chunk.membership);
	message.chunk.data = bytes_text("not a chunk at all");
	line_send(out, &message);
	message = from_to(MESSAGE_SNAPSHOT_ACK, group, from, to, term);
	message.snapshot_ack.transfer = 7;
	message.snapshot_ack.installed = true;
	line_send(out, &message);
	message = from_to(MESSAGE_REPAIR, group, from, to, term);
	message.repair.first = 1;
	message.repair.last = 1000;
	line_send(out, &message);
	message = from_to(MESSAGE_REPAIR_REPLY, group, from, to, term);
	message.repair_reply.first = message.repair_reply.last = 1;
	message.repair_reply.entries = &entry;
	message.repair_reply.bodies = &body;
	line_send(out, &message);
}

static void attack_shard(struct theft *theft, const char *voice, uint64_t from)
{
	const uint64_t terms[] = { 0, 1, 2, 1000000, UINT64_MAX };
	char name[96];
	for (unsigned i = 0; i < sizeof(terms) / sizeof(terms[0]); i++)
		say_all(theft, theft->shard->id, from, theft->there, terms[i]);
	bool lives = barrier(theft);
	snprintf(name, sizeof(name), "every message for another region's shard as %s", voice);
	tally(lives && theft->group_heard == 0 && theft->canary_heard == 0, name, "%s; %u answers of such groups",
		lives ? "dropped" : theft->out.why, theft->group_heard);
}

static void send_change(struct theft *theft, const struct change *change)
{
	static uint8_t body[1 << 16];
	struct packer packer;
	struct message message = { .kind = MESSAGE_ADMIN };
	pack_init(&packer, body, sizeof(body));
	change_encode(change, &packer);
	assert(!packer.overflow);
	message.admin.verb = bytes_text("change");
	message.admin.body = bytes_of(body, packer.size);
	line_send(&theft->out, &message);
}

static struct cluster_map *fetch_map(const struct theft *theft)
{
	struct line line;
	struct message hello;
	struct cluster_map *map = NULL;
	if (line_open(&line, theft->address, theft->thief, "domicile/1") && line_greet(&line, "", 0, &hello))
		map = line_map(&line);
	line_close(&line);
	return map;
}

/* What a node may say of shards, of meta and of other nodes that are none of its business. */
static void attack_reports(struct theft *theft)
{
	struct change change = { .kind = CHANGE_SHARD_REPORT };
	change.shard = theft->shard->id;
	change.operation = theft->shard->operation;
	change.generation = theft->shard->generation + 1;
	change.membership_index = UINT64_MAX / 2;
	change.replica_count = 1;
	change.replicas[0] = theft->shard->replicas[0]; /* the others are gone, it says */
	send_change(theft, &change);
	change.replicas[1] = (struct map_replica){ 424242, theft->own->id, ROLE_VOTER };
	change.replica_count = 2;
	send_change(theft, &change);
	change = (struct change){ .kind = CHANGE_FENCE_REPORT, .shard = theft->shard->id, .operation = 1 };
	send_change(theft, &change);
	change = (struct change){ .kind = CHANGE_META_REPORT, .replica_count = 1 };
	change.replicas[0] = (struct map_replica){ theft->own->meta_replica, theft->own->id, ROLE_VOTER };
	send_change(theft, &change);
	change = (struct change){ .kind = CHANGE_NODE_ADDRESSES, .node = *theft->target };
	snprintf(change.node.addresses.at[0].address, ADDRESS_TEXT_MAX, "127.0.0.1:1");
	send_change(theft, &change);
	change = (struct change){ .kind = CHANGE_NODE_ADMIT, .node = *theft->target };
	send_change(theft, &change);
	change = (struct change){ .kind = CHANGE_SHARD_PLACE, .shard = theft->shard->id, .replica_count = 1 };
	change.replicas[0] = (struct map_replica){ 0, theft->own->id, ROLE_VOTER };
	send_change(theft, &change);
	change = (struct change){ .kind = CHANGE_BINDING_SET, .binding_count = 1 };
	struct change_binding binding = { .prefix_size = 1, .prefix = "p" };
	snprintf(binding.policy, sizeof(binding.policy), "default");
	change.bindings = &binding;
	send_change(theft, &change);
	bool lives = barrier(theft);
	struct cluster_map *after = lives ? fetch_map(theft) : NULL;
	const struct map_shard *shard = after ? map_shard_find(after, theft->shard->id) : NULL;
	tally(shard && shard->generation == theft->shard->generation && after->epoch == theft->map->epoch,
		"changes and reports by a node that has no say", "epoch %llu, was %llu",
		after ? (unsigned long long)after->epoch : 0, (unsigned long long)theft->map->epoch);
	free(after);
}

/* Meta has a replica on every node, so here the thief is a member: what is impossible must still do nothing. */
static void attack_meta(struct theft *theft)
{
	uint64_t own = theft->own->meta_replica, there = theft->target->meta_replica;
	say_all(theft, META_GROUP, there, there, 1);
	say_all(theft, META_GROUP, own, there, 0);
	say_all(theft, META_GROUP, own, there, UINT64_MAX);
	for (uint32_t i = 0; i < theft->map->node_count; i++) /* in others' voices */
		if (&theft->map->nodes[i] != theft->own)
			say_all(theft, META_GROUP, theft->map->nodes[i].meta_replica, there, 1 << 20);
	say_all(theft, 999999, own, there, 1);
	tally(barrier(theft), "impossible messages for meta", "dropped");
}

static bool prepare(struct theft *theft, const char *own_place, const char *home);

/* A member that poses as leader, candidate and voter by turns, with numbers near the true ones. It may stop meta and
 * spoil what the target holds of it, see docs/security.md; no assertion of the target may fail. Seeded. */
static void say_at_random(struct theft *theft, struct prng *prng)
{
	static struct entry entries[8];
	static struct bytes bodies[8];
	static uint8_t noise[512];
	const uint8_t kinds[] = { MESSAGE_APPEND, MESSAGE_APPEND, MESSAGE_APPEND, MESSAGE_APPEND_REPLY, MESSAGE_VOTE,
		MESSAGE_VOTE_REPLY, MESSAGE_TIMEOUT_NOW, MESSAGE_READ_INDEX, MESSAGE_READ_INDEX_REPLY, MESSAGE_SNAPSHOT,
		MESSAGE_SNAPSHOT_CHUNK, MESSAGE_SNAPSHOT_ACK, MESSAGE_REPAIR, MESSAGE_REPAIR_REPLY };
	uint64_t term = theft->term + prng_below(prng, 3), index = prng_below(prng, theft->last + 4);
	struct message message = from_to(kinds[prng_below(prng, sizeof(kinds))], META_GROUP, theft->own->meta_replica,
		theft->target->meta_replica, term);
	for (unsigned i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)prng_next(prng);
	switch (message.kind) {
	case MESSAGE_APPEND:
	case MESSAGE_REPAIR_REPLY:
		message.append.prev_index = index;
		message.append.prev_term = index == 0 ? 0 : 1 + prng_below(prng, term + 1);
		message.append.commit = prng_below(prng, 3) ? 0 : prng_below(prng, theft->last + 8);
		message.append.probe = prng_next(prng) >> prng_below(prng, 64);
		message.append.first = index + 1;
		message.append.last = index + prng_below(prng, 8);
		for (unsigned i = 0; i < 8; i++) {
			entries[i] = (struct entry){ .index = index + 1 + i,
				.term = 1 + prng_below(prng, term + 1),
				.version = prng_next(prng) >> prng_below(prng, 64),
				.size = (uint32_t)prng_below(prng, sizeof(noise)),
				.kind = (uint8_t)(ENTRY_NOOP + prng_below(prng, 3)) };
			bodies[i] = bytes_of(noise, entries[i].size);
		}
		message.append.entries = entries;
		message.append.bodies = bodies;
		break;
	case MESSAGE_APPEND_REPLY:
		message.append_reply = (struct message_append_reply){ .match = index,
			.commit = index,
			.probe = prng_below(prng, 1000),
			.support_epoch = prng_below(prng, 4),
			.rejected = prng_below(prng, 2) };
		break;
	case MESSAGE_VOTE:
		message.vote = (struct message_vote){ .last_index = index,
			.last_term = prng_below(prng, term + 1),
			.pre = prng_below(prng, 2),
			.transfer = prng_below(prng, 2) };
		break;
	case MESSAGE_VOTE_REPLY:
		message.vote_reply.pre = prng_below(prng, 2);
		message.vote_reply.granted = prng_below(prng, 2);
		break;
	case MESSAGE_SNAPSHOT:
		message.snapshot.index = index;
		message.snapshot.term = term;
		membership_of_us(theft, &message.snapshot.membership);
		break;
	case MESSAGE_SNAPSHOT_CHUNK:
		message.chunk.transfer = 1 + prng_below(prng, 4);
		message.chunk.sequence = prng_below(prng, 3);
		message.chunk.index = index;
		message.chunk.term = term;
		message.chunk.last = prng_below(prng, 2);
		membership_of_us(theft, &message.chunk.membership);
		message.chunk.data = bytes_of(noise, prng_below(prng, sizeof(noise)));
		break;
	case MESSAGE_SNAPSHOT_ACK:
		message.snapshot_ack.transfer = 1 + prng_below(prng, 4);
		message.snapshot_ack.sequence = prng_below(prng, 3);
		message.snapshot_ack.installed = prng_below(prng, 2);
		break;
	case MESSAGE_REPAIR:
		message.repair.first = index;
		message.repair.last = index + prng_below(prng, 100);
		break;
	default:
		break;
	}
	line_send(&theft->out, &message);
}

int attack_as_member(
	const char *address, const struct thief *thief, const char *own_place, const char *home, uint64_t seed)
{
	struct theft theft = { .thief = thief, .address = address, .canary = "\1\2\3\4\5\6\7" };
	struct prng prng;
	prng_seed(&prng, seed);
	theft.map = fetch_map(&theft);
	if (!theft.map || !prepare(&theft, own_place, home))
		return tally(false, "the scene", "no map"), tally_end();
	theft.listen_fd = listen_on(address_for(&theft.own->addresses, &theft.target->place));
	if (theft.listen_fd < 0 || !meet(&theft))
		return tally(false, "the scene", "the target does not come: %s", theft.in.why), tally_end();
	unsigned rounds = 0;
	while (rounds < 100 && barrier(&theft)) {
		for (unsigned i = 0; i < 20; i++)
			say_at_random(&theft, &prng);
		rounds++;
	}
	tally(rounds == 100, "a member of meta that lies at random", "%u rounds, term %llu, seed %llu", rounds,
		(unsigned long long)theft.term, (unsigned long long)seed);
	line_close(&theft.out);
	line_close(&theft.in);
	close(theft.listen_fd);
	free(theft.map);
	return tally_end();
}

static void attack_size(struct theft *theft)
{
	uint8_t header[FRAME_HEADER_SIZE] = { 'd', 'm', 1, 0 };
	uint32_t size = FRAME_SIZE_MAX_PEER + 1;
	struct message message;
	for (unsigned i = 0; i < 4; i++)
		header[4 + i] = header[8 + i] = (uint8_t)(size >> (8 * i));
	line_raw(&theft->out, header, sizeof(header));
	enum heard heard = line_hear(&theft->out, 10000, &message);
	tally(heard == HEARD_END, "a frame above 17 MiB", "%s", theft->out.why);
	line_close(&theft->out);
	/* And a claim to be somebody else is not attributed to anybody: no PONG goes out for its PING. */
	const struct map_node *own = theft->own;
	theft->own = theft->target;
	bool greeted = dial(theft);
	struct message ping = { .kind = MESSAGE_PING };
	ping.ping.sent_ns = 31337;
	ping.ping.boot = line_boot();
	say_all(theft, META_GROUP, theft->target->meta_replica, theft->target->meta_replica, 1 << 20);
	line_send(&theft->out, &ping);
	theft->own = own;
	struct line spoof = theft->out;
	bool answered = false;
	if (dial(theft)) { /* the honest line's PONG comes after what the other line could have caused */
		uint64_t until_ns = clock_boot_ns() + 3000000000ull;
		ping.ping.sent_ns = 4711;
		line_send(&theft->out, &ping);
		while (clock_boot_ns() < until_ns && line_hear(&theft->in, 1000, &message) != HEARD_END) {
			answered = answered || (message.kind == MESSAGE_PONG && message.pong.echo_ns == 31337);
			if (message.kind == MESSAGE_PONG && message.pong.echo_ns == 4711)
				break;
		}
		tally(greeted && !answered && message.kind == MESSAGE_PONG && message.pong.echo_ns == 4711,
			"another node's id with this certificate", "nothing said there is believed");
	} else {
		tally(false, "another node's id with this certificate", "%s", theft->out.why);
	}
	line_close(&spoof);
}

static bool prepare(struct theft *theft, const char *own_place, const char *home)
{
	theft->own = map_node_by_place(theft->map, own_place);
	const struct policy *policy = map_policy_by_name(theft->map, home);
	for (uint32_t i = 0; policy && i < theft->map->shard_count; i++) {
		const struct map_shard *shard = &theft->map->shards[i];
		if (shard->policy == policy->id)
			theft->shard = shard;
	}
	if (!theft->own || !theft->shard)
		return false;
	for (uint32_t i = 0; i < theft->map->node_count; i++) {
		const struct address_list *list = &theft->map->nodes[i].addresses;
		const char *address = address_for(list, &theft->own->place);
		if (address && strcmp(address, theft->address) == 0)
			theft->target = &theft->map->nodes[i];
	}
	for (unsigned i = 0; theft->target && i < theft->shard->replica_count; i++)
		if (theft->shard->replicas[i].node == theft->target->id)
			theft->there = theft->shard->replicas[i].replica;
	return theft->there != 0;
}

int attack_as_peer(
	const char *address, const struct thief *thief, const char *own_place, const char *home, const char *canary)
{
	struct theft theft = { .thief = thief, .address = address, .canary = canary };
	theft.map = fetch_map(&theft);
	if (!theft.map || !prepare(&theft, own_place, home)) {
		tally(false, "the scene", "no map, no such policy, or the target holds none of its shards");
		return tally_end();
	}
	const char *listen_at = address_for(&theft.own->addresses, &theft.target->place);
	theft.listen_fd = listen_on(listen_at);
	if (theft.listen_fd < 0 || !meet(&theft)) {
		tally(false, "the scene", "%s is not ours, or the target does not come: in %s, out %s, %u heard",
			listen_at, theft.in.why, theft.out.why, theft.others_heard);
		return tally_end();
	}
	attack_shard(&theft, "a replica of its own making", 424242);
	attack_shard(&theft, "its replica of meta", theft.own->meta_replica);
	for (unsigned i = 0; i < theft.shard->replica_count; i++)
		if (theft.shard->replicas[i].replica != theft.there)
			attack_shard(&theft, "another node's replica", theft.shard->replicas[i].replica);
	attack_shard(&theft, "the target's own replica", theft.there);
	attack_shard(&theft, "nobody", 0);
	attack_reports(&theft);
	attack_meta(&theft);
	attack_size(&theft);
	tally(theft.group_heard == 0 && theft.canary_heard == 0, "what came to the stolen address",
		"%u messages, %u of the shards, %u with the secret", theft.others_heard, theft.group_heard,
		theft.canary_heard);
	line_close(&theft.out);
	line_close(&theft.in);
	close(theft.listen_fd);
	free(theft.map);
	return tally_end();
}
