/* wire/codec.c: messages to bytes and back: the head of every message, and the bodies of what nodes and clients say.
 *
 * A message is its kind, then the address of a group's message or the request id of any other, then the fields of its
 * kind in the order of wire/message.h. Each value has one encoding, so decoding and encoding again yields the same
 * bytes: the fuzzer holds us to it. Limits are asserted on the way out, where breaking one is our mistake, and
 * refused on the way in, where it is the peer's. */
#include <assert.h>
#include <string.h>

#include "wire/codec_internal.h"
#include "wire/command.h"

bool message_is_group(uint8_t kind)
{
	return kind >= MESSAGE_APPEND && kind <= MESSAGE_FORWARD_REPLY;
}

static bool message_is_known(uint8_t kind)
{
	bool node = kind >= MESSAGE_HELLO && kind <= MESSAGE_ADOPT_REPLY;
	bool client = kind >= MESSAGE_REQUEST && kind <= MESSAGE_ADMIN;
	return message_is_group(kind) || node || client;
}

static void limited_encode(struct packer *packer, struct bytes bytes, size_t size_max)
{
	assert(bytes.size <= size_max);
	pack_bytes(packer, bytes);
}

static void ping_encode(const struct message_ping *ping, struct packer *packer)
{
	pack_u64(packer, ping->sent_ns);
	pack_u64(packer, ping->boot);
	pack_u64(packer, ping->heard_boot);
	pack_u64(packer, ping->map_epoch);
	pack_u32(packer, ping->rtt_us);
}

static void ping_decode(struct unpacker *unpacker, struct message_ping *ping)
{
	ping->sent_ns = unpack_u64(unpacker);
	ping->boot = unpack_u64(unpacker);
	ping->heard_boot = unpack_u64(unpacker);
	ping->map_epoch = unpack_u64(unpacker);
	ping->rtt_us = unpack_u32(unpacker);
}

static void pong_encode(const struct message_pong *pong, struct packer *packer)
{
	pack_u64(packer, pong->echo_ns);
	pack_u64(packer, pong->boot);
	pack_u64(packer, pong->echo_boot);
	pack_u64(packer, pong->support_epoch);
	pack_u64(packer, pong->support_us);
	pack_u64(packer, pong->map_epoch);
	pack_u64(packer, pong->lent_epoch);
	pack_u64(packer, pong->lent_us);
	assert(pong->relay_count <= RELAYS_MAX);
	pack_u32(packer, pong->relay_count);
	for (uint32_t i = 0; i < pong->relay_count; i++) {
		pack_u64(packer, pong->relays[i].node);
		pack_u64(packer, pong->relays[i].epoch);
		pack_u64(packer, pong->relays[i].remaining_us);
	}
}

static void pong_decode(struct unpacker *unpacker, struct codec_scratch *scratch, struct message_pong *pong)
{
	pong->echo_ns = unpack_u64(unpacker);
	pong->boot = unpack_u64(unpacker);
	pong->echo_boot = unpack_u64(unpacker);
	pong->support_epoch = unpack_u64(unpacker);
	pong->support_us = unpack_u64(unpacker);
	pong->map_epoch = unpack_u64(unpacker);
	pong->lent_epoch = unpack_u64(unpacker);
	pong->lent_us = unpack_u64(unpacker);
	pong->relay_count = unpack_u32(unpacker);
	if (pong->relay_count > RELAYS_MAX)
		unpacker->bad = true;
	for (uint32_t i = 0; i < pong->relay_count && !unpacker->bad; i++) {
		scratch->relays[i].node = unpack_u64(unpacker);
		scratch->relays[i].epoch = unpack_u64(unpacker);
		scratch->relays[i].remaining_us = unpack_u64(unpacker);
	}
	pong->relays = scratch->relays;
}

static void hello_encode(const struct message_hello *hello, struct packer *packer)
{
	pack_u32(packer, hello->version);
	pack_raw(packer, hello->cluster, sizeof(hello->cluster));
	pack_u64(packer, hello->node);
	pack_u64(packer, hello->boot);
	pack_u64(packer, hello->map_epoch);
	limited_encode(packer, hello->place, PLACE_SIZE_MAX - 1);
}

static void hello_decode(struct unpacker *unpacker, struct message_hello *hello)
{
	hello->version = unpack_u32(unpacker);
	struct bytes cluster = unpack_raw(unpacker, sizeof(hello->cluster));
	if (cluster.size == sizeof(hello->cluster))
		memcpy(hello->cluster, cluster.data, sizeof(hello->cluster));
	hello->node = unpack_u64(unpacker);
	hello->boot = unpack_u64(unpacker);
	hello->map_epoch = unpack_u64(unpacker);
	hello->place = unpack_bytes(unpacker, PLACE_SIZE_MAX - 1);
}

static void adopt_encode(const struct message_adopt *adopt, struct packer *packer)
{
	pack_u64(packer, adopt->operation);
	pack_u64(packer, adopt->source);
	pack_u64(packer, adopt->shard);
	pack_u64(packer, adopt->map_epoch);
	pack_u64(packer, adopt->version);
	pack_u64(packer, adopt->number);
	pack_u8(packer, adopt->records);
	pack_u8(packer, adopt->evicted);
	limited_encode(packer, adopt->rows, COMMAND_ROWS_BYTES_MAX);
}

static void adopt_decode(struct unpacker *unpacker, struct message_adopt *adopt)
{
	adopt->operation = unpack_u64(unpacker);
	adopt->source = unpack_u64(unpacker);
	adopt->shard = unpack_u64(unpacker);
	adopt->map_epoch = unpack_u64(unpacker);
	adopt->version = unpack_u64(unpacker);
	adopt->number = unpack_u64(unpacker);
	adopt->records = unpack_flag(unpacker);
	adopt->evicted = unpack_flag(unpacker);
	adopt->rows = unpack_bytes(unpacker, COMMAND_ROWS_BYTES_MAX);
}

static void adopt_reply_encode(const struct message_adopt_reply *reply, struct packer *packer)
{
	assert(status_known(reply->status));
	pack_u64(packer, reply->source);
	pack_u64(packer, reply->number);
	pack_u64(packer, reply->leader_node);
	pack_u32(packer, reply->status);
}

static void adopt_reply_decode(struct unpacker *unpacker, struct message_adopt_reply *reply)
{
	reply->source = unpack_u64(unpacker);
	reply->number = unpack_u64(unpacker);
	reply->leader_node = unpack_u64(unpacker);
	reply->status = unpack_u32(unpacker);
	if (!status_known(reply->status))
		unpacker->bad = true;
}

static void request_encode(const struct message_request *ask, struct packer *packer)
{
	assert(ask->operation >= OPERATION_GET);
	assert(ask->operation <= OPERATION_PING);
	assert(ask->level <= READ_NEAREST);
	pack_u8(packer, ask->operation);
	pack_u8(packer, ask->level);
	pack_flag(packer, ask->retry);
	pack_u64(packer, ask->map_epoch);
	pack_u64(packer, ask->policy);
	pack_u64(packer, ask->policy_epoch);
	pack_u64(packer, ask->shard);
	pack_u64(packer, ask->client);
	pack_u64(packer, ask->sequence);
	pack_u64(packer, ask->low_water);
	pack_u64(packer, ask->version);
	pack_u64(packer, ask->session_index);
	pack_u32(packer, ask->staleness_max_ms);
	pack_u32(packer, ask->limit);
	pack_u32(packer, ask->timeout_ms);
	limited_encode(packer, ask->key, KEY_SIZE_MAX);
	limited_encode(packer, ask->after, KEY_SIZE_MAX);
	limited_encode(packer, ask->value, VALUE_SIZE_MAX);
}

static void request_decode(struct unpacker *unpacker, struct message_request *ask)
{
	ask->operation = unpack_u8(unpacker);
	ask->level = unpack_u8(unpacker);
	ask->retry = unpack_flag(unpacker);
	ask->map_epoch = unpack_u64(unpacker);
	ask->policy = unpack_u64(unpacker);
	ask->policy_epoch = unpack_u64(unpacker);
	ask->shard = unpack_u64(unpacker);
	ask->client = unpack_u64(unpacker);
	ask->sequence = unpack_u64(unpacker);
	ask->low_water = unpack_u64(unpacker);
	ask->version = unpack_u64(unpacker);
	ask->session_index = unpack_u64(unpacker);
	ask->staleness_max_ms = unpack_u32(unpacker);
	ask->limit = unpack_u32(unpacker);
	ask->timeout_ms = unpack_u32(unpacker);
	ask->key = unpack_bytes(unpacker, KEY_SIZE_MAX);
	ask->after = unpack_bytes(unpacker, KEY_SIZE_MAX);
	ask->value = unpack_bytes(unpacker, VALUE_SIZE_MAX);
	if (ask->operation < OPERATION_GET || ask->operation > OPERATION_PING || ask->level > READ_NEAREST)
		unpacker->bad = true;
}

static void reply_encode(const struct message_reply *reply, struct packer *packer)
{
	assert(status_known(reply->status));
	assert(reply->row_count <= SCAN_ROWS_MAX);
	pack_u32(packer, reply->status);
	pack_u64(packer, reply->version);
	pack_u64(packer, reply->index);
	pack_u64(packer, reply->leader_node);
	pack_u64(packer, reply->map_epoch);
	pack_u32(packer, reply->staleness_ms);
	pack_flag(packer, reply->more);
	pack_flag(packer, reply->duplicate);
	pack_flag(packer, reply->degraded);
	pack_u32(packer, reply->row_count);
	for (uint32_t i = 0; i < reply->row_count; i++) {
		limited_encode(packer, reply->rows[i].key, KEY_SIZE_MAX);
		limited_encode(packer, reply->rows[i].value, VALUE_SIZE_MAX);
		pack_u64(packer, reply->rows[i].version);
	}
	limited_encode(packer, reply->detail, DETAIL_SIZE_MAX);
}

static void reply_decode(struct unpacker *unpacker, struct codec_scratch *scratch, struct message_reply *reply)
{
	reply->status = unpack_u32(unpacker);
	reply->version = unpack_u64(unpacker);
	reply->index = unpack_u64(unpacker);
	reply->leader_node = unpack_u64(unpacker);
	reply->map_epoch = unpack_u64(unpacker);
	reply->staleness_ms = unpack_u32(unpacker);
	reply->more = unpack_flag(unpacker);
	reply->duplicate = unpack_flag(unpacker);
	reply->degraded = unpack_flag(unpacker);
	uint32_t count = unpack_u32(unpacker);
	if (count > SCAN_ROWS_MAX || !status_known(reply->status))
		unpacker->bad = true;
	for (uint32_t i = 0; i < count && !unpacker->bad; i++) {
		struct reply_row *row = &scratch->rows[i];
		row->key = unpack_bytes(unpacker, KEY_SIZE_MAX);
		row->value = unpack_bytes(unpacker, VALUE_SIZE_MAX);
		row->version = unpack_u64(unpacker);
	}
	reply->row_count = unpacker->bad ? 0 : count;
	reply->rows = scratch->rows;
	reply->detail = unpack_bytes(unpacker, DETAIL_SIZE_MAX);
}

static void other_message_encode(const struct message *message, struct packer *packer)
{
	switch (message->kind) {
	case MESSAGE_HELLO:
		hello_encode(&message->hello, packer);
		break;
	case MESSAGE_PING:
		ping_encode(&message->ping, packer);
		break;
	case MESSAGE_PONG:
		pong_encode(&message->pong, packer);
		break;
	case MESSAGE_MAP_REQUEST:
		pack_u64(packer, message->map_request.epoch);
		break;
	case MESSAGE_MAP_REPLY:
		pack_u64(packer, message->map_reply.epoch);
		pack_bytes(packer, message->map_reply.map);
		break;
	case MESSAGE_JOIN:
		limited_encode(packer, message->join.place, PLACE_SIZE_MAX - 1);
		pack_u64(packer, message->join.incarnation);
		limited_encode(packer, message->join.addresses, ADDRESSES_SIZE_MAX);
		break;
	case MESSAGE_ADOPT:
		adopt_encode(&message->adopt, packer);
		break;
	case MESSAGE_ADOPT_REPLY:
		adopt_reply_encode(&message->adopt_reply, packer);
		break;
	case MESSAGE_REQUEST:
		request_encode(&message->ask, packer);
		break;
	case MESSAGE_REPLY:
		reply_encode(&message->reply, packer);
		break;
	case MESSAGE_ADMIN:
		limited_encode(packer, message->admin.verb, VERB_SIZE_MAX);
		limited_encode(packer, message->admin.body, ADMIN_SIZE_MAX);
		pack_u32(packer, message->admin.timeout_ms);
		break;
	default:
		assert(false); /* not a message of a known kind */
	}
}

static void other_message_decode(struct unpacker *unpacker, struct codec_scratch *scratch, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_HELLO:
		hello_decode(unpacker, &message->hello);
		break;
	case MESSAGE_PING:
		ping_decode(unpacker, &message->ping);
		break;
	case MESSAGE_PONG:
		pong_decode(unpacker, scratch, &message->pong);
		break;
	case MESSAGE_MAP_REQUEST:
		message->map_request.epoch = unpack_u64(unpacker);
		break;
	case MESSAGE_MAP_REPLY:
		message->map_reply.epoch = unpack_u64(unpacker);
		message->map_reply.map = unpack_bytes(unpacker, UINT32_MAX);
		break;
	case MESSAGE_JOIN:
		message->join.place = unpack_bytes(unpacker, PLACE_SIZE_MAX - 1);
		message->join.incarnation = unpack_u64(unpacker);
		message->join.addresses = unpack_bytes(unpacker, ADDRESSES_SIZE_MAX);
		break;
	case MESSAGE_ADOPT:
		adopt_decode(unpacker, &message->adopt);
		break;
	case MESSAGE_ADOPT_REPLY:
		adopt_reply_decode(unpacker, &message->adopt_reply);
		break;
	case MESSAGE_REQUEST:
		request_decode(unpacker, &message->ask);
		break;
	case MESSAGE_REPLY:
		reply_decode(unpacker, scratch, &message->reply);
		break;
	case MESSAGE_ADMIN:
		message->admin.verb = unpack_bytes(unpacker, VERB_SIZE_MAX);
		message->admin.body = unpack_bytes(unpacker, ADMIN_SIZE_MAX);
		message->admin.timeout_ms = unpack_u32(unpacker);
		break;
	default:
		assert(false); /* not a message of a known kind: message_decode has looked */
	}
}

void message_encode(const struct message *message, struct packer *packer)
{
	pack_u8(packer, message->kind);
	if (message_is_group(message->kind)) {
		assert(message->request == 0);
		pack_u64(packer, message->group);
		pack_u64(packer, message->from);
		pack_u64(packer, message->to);
		pack_u64(packer, message->term);
		group_message_encode(message, packer);
	} else {
		assert(message->group == 0);
		pack_u64(packer, message->request);
		other_message_encode(message, packer);
	}
}

enum status message_decode(struct bytes bytes, struct codec_scratch *scratch, struct message *message)
{
	assert(scratch);
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes);
	memset(message, 0, sizeof(*message));
	uint8_t kind = unpack_u8(&unpacker);
	if (unpacker.bad)
		return STATUS_INVALID;
	if (!message_is_known(kind))
		return STATUS_UNSUPPORTED;
	message->kind = kind;
	if (message_is_group(kind)) {
		message->group = unpack_u64(&unpacker);
		message->from = unpack_u64(&unpacker);
		message->to = unpack_u64(&unpacker);
		message->term = unpack_u64(&unpacker);
		group_message_decode(&unpacker, scratch, message);
	} else {
		message->request = unpack_u64(&unpacker);
		other_message_decode(&unpacker, scratch, message);
	}
	if (unpack_end(&unpacker))
		return STATUS_OK;
	memset(message, 0, sizeof(*message)); /* nobody acts on half a message */
	return STATUS_INVALID;
}
