/* tests/unit/wire/random_message.h: a random valid message of any kind, as a function of a seed, and the comparison
 * of two messages field by field. Every field is set from the generator, so one that the codec forgot comes back as
 * zero and the comparison fails. */
#ifndef DOMICILE_TESTS_RANDOM_MESSAGE_H
#define DOMICILE_TESTS_RANDOM_MESSAGE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/prng.h"
#include "wire/codec.h"

static const uint8_t message_kinds[] = {
	MESSAGE_APPEND,
	MESSAGE_APPEND_REPLY,
	MESSAGE_VOTE,
	MESSAGE_VOTE_REPLY,
	MESSAGE_TIMEOUT_NOW,
	MESSAGE_READ_INDEX,
	MESSAGE_READ_INDEX_REPLY,
	MESSAGE_SNAPSHOT,
	MESSAGE_SNAPSHOT_CHUNK,
	MESSAGE_SNAPSHOT_ACK,
	MESSAGE_REPAIR,
	MESSAGE_REPAIR_REPLY,
	MESSAGE_GRANT,
	MESSAGE_GRANT_REPLY,
	MESSAGE_NOTE,
	MESSAGE_FORWARD,
	MESSAGE_FORWARD_REPLY,
	MESSAGE_HELLO,
	MESSAGE_PING,
	MESSAGE_PONG,
	MESSAGE_MAP_REQUEST,
	MESSAGE_MAP_REPLY,
	MESSAGE_JOIN,
	MESSAGE_ADOPT,
	MESSAGE_ADOPT_REPLY,
	MESSAGE_REQUEST,
	MESSAGE_REPLY,
	MESSAGE_ADMIN,
};
enum { MESSAGE_KIND_COUNT = sizeof(message_kinds) };

/* What random messages point into. */
struct random_source {
	struct prng prng;
	struct codec_scratch scratch;
	uint8_t pool[4096];
};

static void random_source_init(struct random_source *source, uint64_t seed)
{
	prng_seed(&source->prng, seed);
	for (size_t i = 0; i < sizeof(source->pool); i++)
		source->pool[i] = (uint8_t)prng_next(&source->prng);
}

/* Not zero in the low byte, so that narrow fields differ from a forgotten one too. */
static uint64_t any64(struct random_source *source)
{
	return prng_next(&source->prng) | 1;
}

static bool any_flag(struct random_source *source)
{
	return prng_chance(&source->prng, 500000);
}

static uint8_t any_of(struct random_source *source, unsigned first, unsigned last)
{
	return (uint8_t)(first + prng_below(&source->prng, last - first + 1));
}

static struct bytes any_bytes(struct random_source *source, size_t size_max)
{
	size_t size = prng_below(&source->prng, size_max + 1);
	return bytes_of(source->pool + prng_below(&source->prng, sizeof(source->pool) - size), size);
}

static struct quorum_rule any_rule(struct random_source *source)
{
	return (struct quorum_rule){ .voters = (uint8_t)any64(source),
		.regions = (uint8_t)any64(source),
		.copies = (uint8_t)any64(source),
		.areas = (uint8_t)any64(source),
		.degrade = any_of(source, DEGRADE_NEVER, DEGRADED) };
}

static void any_membership(struct random_source *source, struct membership *membership)
{
	membership->index = any64(source);
	membership->count = any_of(source, 0, REPLICAS_MAX);
	membership->joint = any_flag(source);
	membership->rule_old = any_rule(source);
	membership->rule_new = any_rule(source);
	for (unsigned i = 0; i < membership->count; i++) {
		struct member *member = &membership->at[i];
		member->replica = any64(source);
		member->node = any64(source);
		member->role_old = any_of(source, ROLE_NONE, ROLE_WITNESS);
		member->role_new = any_of(source, ROLE_NONE, ROLE_WITNESS);
		member->region = (uint8_t)any64(source);
		member->zone = (uint8_t)any64(source);
		member->areas = (uint8_t)any64(source);
	}
}

static void any_append(struct random_source *source, struct message_append *append)
{
	append->prev_index = any64(source);
	append->prev_term = any64(source);
	append->commit = any64(source);
	append->probe = any64(source);
	append->first = 1 + prng_below(&source->prng, UINT64_MAX / 2);
	uint64_t count = prng_below(&source->prng, 6);
	append->last = append->first + count - 1;
	append->entries = source->scratch.entries;
	append->bodies = source->scratch.bodies;
	for (uint64_t i = 0; i < count; i++) {
		source->scratch.bodies[i] = any_bytes(source, 40);
		struct entry *entry = &source->scratch.entries[i];
		memset(entry, 0, sizeof(*entry));
		entry->index = append->first + i;
		entry->term = any64(source);
		entry->version = any64(source);
		entry->key_hash = any64(source);
		entry->size = (uint32_t)source->scratch.bodies[i].size;
		entry->origin = (uint16_t)any64(source);
		entry->kind = any_of(source, ENTRY_NOOP, ENTRY_MEMBERSHIP);
	}
}

static void any_forward(struct random_source *source, struct message_forward *forward)
{
	forward->boot = any64(source);
	forward->first = any64(source);
	forward->count = (uint32_t)prng_below(&source->prng, 6);
	forward->entries = source->scratch.entries;
	forward->bodies = source->scratch.bodies;
	for (uint32_t i = 0; i < forward->count; i++) {
		source->scratch.bodies[i] = any_bytes(source, 40);
		source->scratch.entries[i] = (struct entry){ .kind = ENTRY_COMMAND,
			.key_hash = any64(source),
			.size = (uint32_t)source->scratch.bodies[i].size };
	}
}

static void any_chunk(struct random_source *source, struct message_snapshot_chunk *chunk)
{
	chunk->transfer = any64(source);
	chunk->index = any64(source);
	chunk->term = any64(source);
	chunk->sequence = any_flag(source) ? 0 : any64(source);
	chunk->count = any64(source);
	chunk->hash = any64(source);
	chunk->last = any_flag(source);
	if (chunk->sequence == 0)
		any_membership(source, &chunk->membership);
	chunk->data = any_bytes(source, 300);
}

static void any_request(struct random_source *source, struct message_request *ask)
{
	ask->operation = any_of(source, OPERATION_GET, OPERATION_PING);
	ask->level = any_of(source, 0, READ_NEAREST);
	ask->retry = any_flag(source);
	ask->map_epoch = any64(source);
	ask->policy = any64(source);
	ask->policy_epoch = any64(source);
	ask->shard = any64(source);
	ask->client = any64(source);
	ask->sequence = any64(source);
	ask->low_water = any64(source);
	ask->version = any64(source);
	ask->session_index = any64(source);
	ask->staleness_max_ms = (uint32_t)any64(source);
	ask->limit = (uint32_t)any64(source);
	ask->timeout_ms = (uint32_t)any64(source);
	ask->key = any_bytes(source, 64);
	ask->after = any_bytes(source, 64);
	ask->value = any_bytes(source, 200);
}

static void any_reply(struct random_source *source, struct message_reply *reply)
{
	static const uint32_t statuses[] = { STATUS_OK, STATUS_NOT_FOUND, STATUS_CONFLICT, STATUS_NOT_LEADER };
	reply->status = statuses[prng_below(&source->prng, 4)];
	reply->version = any64(source);
	reply->index = any64(source);
	reply->leader_node = any64(source);
	reply->map_epoch = any64(source);
	reply->staleness_ms = (uint32_t)any64(source);
	reply->more = any_flag(source);
	reply->duplicate = any_flag(source);
	reply->degraded = any_flag(source);
	reply->row_count = (uint32_t)prng_below(&source->prng, 6);
	reply->rows = source->scratch.rows;
	for (uint32_t i = 0; i < reply->row_count; i++)
		source->scratch.rows[i] =
			(struct reply_row){ any_bytes(source, 32), any_bytes(source, 64), any64(source) };
	reply->detail = any_bytes(source, 100);
}

static void any_node_message(struct random_source *source, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_HELLO:
		message->hello = (struct message_hello){ .version = (uint32_t)any64(source),
			.node = any64(source),
			.boot = any64(source),
			.map_epoch = any64(source),
			.place = any_bytes(source, PLACE_SIZE_MAX - 1) };
		for (unsigned i = 0; i < sizeof(message->hello.cluster); i++)
			message->hello.cluster[i] = (uint8_t)any64(source);
		break;
	case MESSAGE_PING:
		message->ping = (struct message_ping){ any64(source), any64(source), any64(source), any64(source),
			(uint32_t)any64(source) };
		break;
	case MESSAGE_PONG:
		message->pong = (struct message_pong){ any64(source), any64(source), any64(source), any64(source),
			any64(source), any64(source), any64(source), any64(source),
			(uint32_t)(any64(source) % (RELAYS_MAX + 1)), source->scratch.relays };
		for (uint32_t i = 0; i < message->pong.relay_count; i++)
			source->scratch.relays[i] = (struct relay){ any64(source), any64(source), any64(source) };
		break;
	case MESSAGE_MAP_REQUEST:
		message->map_request.epoch = any64(source);
		break;
	case MESSAGE_MAP_REPLY:
		message->map_reply = (struct message_map_reply){ any64(source), any_bytes(source, 300) };
		break;
	case MESSAGE_JOIN:
		message->join = (struct message_join){ any_bytes(source, PLACE_SIZE_MAX - 1), any64(source),
			any_bytes(source, 200) };
		break;
	case MESSAGE_ADOPT:
		message->adopt = (struct message_adopt){ any64(source), any64(source), any64(source), any64(source),
			any64(source), any64(source), any64(source) % 2 == 1, any64(source) % 2 == 1,
			any_bytes(source, 300) };
		break;
	case MESSAGE_ADOPT_REPLY:
		message->adopt_reply =
			(struct message_adopt_reply){ any64(source), any64(source), any64(source), STATUS_STALE_MAP };
		break;
	case MESSAGE_REQUEST:
		any_request(source, &message->ask);
		break;
	case MESSAGE_REPLY:
		any_reply(source, &message->reply);
		break;
	case MESSAGE_ADMIN:
		message->admin = (struct message_admin){ any_bytes(source, VERB_SIZE_MAX), any_bytes(source, 300),
			(uint32_t)any64(source) };
		break;
	default:
		fail_msg("kind %u has no generator", message->kind);
	}
}

static void any_group_message(struct random_source *source, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_APPEND:
		any_append(source, &message->append);
		break;
	case MESSAGE_REPAIR_REPLY:
		any_append(source, &message->repair_reply);
		break;
	case MESSAGE_APPEND_REPLY:
		message->append_reply = (struct message_append_reply){ any64(source), any64(source), any64(source),
			any64(source), any64(source), any_flag(source) };
		break;
	case MESSAGE_VOTE:
		message->vote =
			(struct message_vote){ any64(source), any64(source), any_flag(source), any_flag(source) };
		break;
	case MESSAGE_VOTE_REPLY:
		message->vote_reply = (struct message_vote_reply){ any_flag(source), any_flag(source) };
		break;
	case MESSAGE_TIMEOUT_NOW:
		break;
	case MESSAGE_READ_INDEX:
		message->read_index.nonce = any64(source);
		break;
	case MESSAGE_READ_INDEX_REPLY:
		message->read_index_reply =
			(struct message_read_index_reply){ any64(source), any64(source), any_flag(source) };
		break;
	case MESSAGE_SNAPSHOT:
		message->snapshot.index = any64(source);
		message->snapshot.term = any64(source);
		any_membership(source, &message->snapshot.membership);
		break;
	case MESSAGE_SNAPSHOT_CHUNK:
		any_chunk(source, &message->chunk);
		break;
	case MESSAGE_SNAPSHOT_ACK:
		message->snapshot_ack =
			(struct message_snapshot_ack){ any64(source), any64(source), STATUS_DENIED, any_flag(source) };
		break;
	case MESSAGE_REPAIR:
		message->repair = (struct message_repair){ any64(source), any64(source) };
		break;
	case MESSAGE_GRANT:
		message->grant = (struct message_grant){ any64(source), any64(source), any64(source), any64(source),
			any64(source), any_of(source, 0, REPLICAS_MAX), { 0 } };
		for (unsigned i = 0; i < message->grant.count; i++)
			message->grant.support_epochs[i] = any64(source);
		break;
	case MESSAGE_GRANT_REPLY:
		message->grant_reply = (struct message_grant_reply){ any64(source), any64(source), any_flag(source) };
		break;
	case MESSAGE_NOTE:
		message->note.match = any64(source);
		break;
	case MESSAGE_FORWARD:
		any_forward(source, &message->forward);
		break;
	case MESSAGE_FORWARD_REPLY:
		message->forward_reply = (struct message_forward_reply){ any64(source), (uint32_t)any64(source),
			STATUS_BUSY, any64(source) };
		break;
	default:
		any_node_message(source, message);
	}
}

/* Valid until the next one of this source. */
static void random_message(struct random_source *source, uint8_t kind, struct message *message)
{
	memset(message, 0, sizeof(*message));
	message->kind = kind;
	if (kind <= MESSAGE_FORWARD_REPLY) {
		message->group = any64(source);
		message->from = any64(source);
		message->to = any64(source);
		message->term = any64(source);
	} else {
		message->request = any64(source);
	}
	any_group_message(source, message);
}

static void assert_bytes(struct bytes a, struct bytes b)
{
	assert_true(bytes_equal(a, b));
}

static void assert_appends(const struct message_append *a, const struct message_append *b)
{
	assert_int_equal(a->prev_index, b->prev_index);
	assert_int_equal(a->prev_term, b->prev_term);
	assert_int_equal(a->commit, b->commit);
	assert_int_equal(a->probe, b->probe);
	assert_int_equal(a->first, b->first);
	assert_int_equal(a->last, b->last);
	for (uint64_t i = 0; a->last >= a->first && i <= a->last - a->first; i++) {
		assert_memory_equal(&a->entries[i], &b->entries[i], sizeof(a->entries[i]));
		assert_bytes(a->bodies[i], b->bodies[i]);
	}
}

/* Compares what is left once pointers have been compared by what they point at and cleared in both. */
static void assert_messages(struct message a, struct message b)
{
	struct bytes none = bytes_of(NULL, 0);
#define SAME_BYTES(field) (assert_bytes(a.field, b.field), a.field = none, b.field = none)
	switch (a.kind) {
	case MESSAGE_APPEND:
	case MESSAGE_REPAIR_REPLY:
		assert_appends(&a.append, &b.append);
		a.append.entries = b.append.entries = NULL;
		a.append.bodies = b.append.bodies = NULL;
		break;
	case MESSAGE_FORWARD:
		assert_int_equal(a.forward.count, b.forward.count);
		for (uint32_t i = 0; i < a.forward.count; i++) {
			assert_memory_equal(&a.forward.entries[i], &b.forward.entries[i], sizeof(struct entry));
			assert_bytes(a.forward.bodies[i], b.forward.bodies[i]);
		}
		a.forward.entries = b.forward.entries = NULL;
		a.forward.bodies = b.forward.bodies = NULL;
		break;
	case MESSAGE_PONG:
		assert_int_equal(a.pong.relay_count, b.pong.relay_count);
		if (a.pong.relay_count > 0)
			assert_memory_equal(a.pong.relays, b.pong.relays, a.pong.relay_count * sizeof(struct relay));
		a.pong.relays = b.pong.relays = NULL;
		break;
	case MESSAGE_SNAPSHOT_CHUNK:
		SAME_BYTES(chunk.data);
		break;
	case MESSAGE_HELLO:
		SAME_BYTES(hello.place);
		break;
	case MESSAGE_MAP_REPLY:
		SAME_BYTES(map_reply.map);
		break;
	case MESSAGE_JOIN:
		SAME_BYTES(join.place);
		SAME_BYTES(join.addresses);
		break;
	case MESSAGE_ADOPT:
		SAME_BYTES(adopt.rows);
		break;
	case MESSAGE_REQUEST:
		SAME_BYTES(ask.key);
		SAME_BYTES(ask.after);
		SAME_BYTES(ask.value);
		break;
	case MESSAGE_REPLY:
		assert_int_equal(a.reply.row_count, b.reply.row_count);
		for (uint32_t i = 0; i < a.reply.row_count; i++) {
			assert_bytes(a.reply.rows[i].key, b.reply.rows[i].key);
			assert_bytes(a.reply.rows[i].value, b.reply.rows[i].value);
			assert_int_equal(a.reply.rows[i].version, b.reply.rows[i].version);
		}
		a.reply.rows = b.reply.rows = NULL;
		SAME_BYTES(reply.detail);
		break;
	case MESSAGE_ADMIN:
		SAME_BYTES(admin.verb);
		SAME_BYTES(admin.body);
		break;
	default:
		break;
	}
#undef SAME_BYTES
	assert_memory_equal(&a, &b, sizeof(a));
}

#endif
