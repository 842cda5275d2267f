/* wire/codec_group.c: the bodies of the messages between replicas of a group, and memberships.
 *
 * Indexes of entries are not sent: the n-th of first..last has index first + n. An entry's size is the length of its
 * body. Both are asserted when encoding and restored when decoding. */
#include <assert.h>
#include <string.h>

#include "wire/codec_internal.h"

enum { MEMBERSHIP_JOINT = 1, MEMBERSHIP_LOCAL_READS = 2 }; /* flags of a membership */

static void rule_encode(const struct quorum_rule *rule, struct packer *packer)
{
	pack_u8(packer, rule->voters);
	pack_u8(packer, rule->regions);
	pack_u8(packer, rule->copies);
	pack_u8(packer, rule->areas);
	pack_u8(packer, rule->degrade);
}

static struct quorum_rule rule_decode(struct unpacker *unpacker)
{
	struct quorum_rule rule;
	rule.voters = unpack_u8(unpacker);
	rule.regions = unpack_u8(unpacker);
	rule.copies = unpack_u8(unpacker);
	rule.areas = unpack_u8(unpacker);
	rule.degrade = unpack_u8(unpacker);
	if (rule.degrade > DEGRADED)
		unpacker->bad = true;
	return rule;
}

void membership_encode(const struct membership *membership, struct packer *packer)
{
	assert(membership->count <= REPLICAS_MAX);
	pack_u64(packer, membership->index);
	pack_u8(packer, membership->count);
	pack_u8(packer, (uint8_t)((membership->joint ? MEMBERSHIP_JOINT : 0) |
				  (membership->local_reads ? MEMBERSHIP_LOCAL_READS : 0)));
	rule_encode(&membership->rule_old, packer);
	rule_encode(&membership->rule_new, packer);
	pack_u64(packer, membership->map_epoch);
	for (unsigned i = 0; i < membership->count; i++) {
		const struct member *member = &membership->at[i];
		assert(member->role_old <= ROLE_WITNESS);
		assert(member->role_new <= ROLE_WITNESS);
		pack_u64(packer, member->replica);
		pack_u64(packer, member->node);
		pack_u8(packer, member->role_old);
		pack_u8(packer, member->role_new);
		pack_u8(packer, member->region);
		pack_u8(packer, member->zone);
		pack_u8(packer, member->areas);
	}
}

static void member_decode(struct unpacker *unpacker, struct member *member)
{
	member->replica = unpack_u64(unpacker);
	member->node = unpack_u64(unpacker);
	member->role_old = unpack_u8(unpacker);
	member->role_new = unpack_u8(unpacker);
	member->region = unpack_u8(unpacker);
	member->zone = unpack_u8(unpacker);
	member->areas = unpack_u8(unpacker);
	if (member->role_old > ROLE_WITNESS || member->role_new > ROLE_WITNESS)
		unpacker->bad = true;
}

enum status membership_decode(struct unpacker *unpacker, struct membership *membership)
{
	memset(membership, 0, sizeof(*membership));
	membership->index = unpack_u64(unpacker);
	uint8_t count = unpack_u8(unpacker);
	uint8_t flags = unpack_u8(unpacker);
	membership->joint = flags & MEMBERSHIP_JOINT;
	membership->local_reads = flags & MEMBERSHIP_LOCAL_READS;
	membership->rule_old = rule_decode(unpacker);
	membership->rule_new = rule_decode(unpacker);
	membership->map_epoch = unpack_u64(unpacker);
	if (count > REPLICAS_MAX || (flags & ~(MEMBERSHIP_JOINT | MEMBERSHIP_LOCAL_READS)) != 0)
		unpacker->bad = true;
	for (unsigned i = 0; i < count && !unpacker->bad; i++)
		member_decode(unpacker, &membership->at[i]);
	if (unpacker->bad) {
		memset(membership, 0, sizeof(*membership));
		return STATUS_INVALID;
	}
	membership->count = count;
	return STATUS_OK;
}

static void append_encode(const struct message_append *append, struct packer *packer)
{
	pack_u64(packer, append->prev_index);
	pack_u64(packer, append->prev_term);
	pack_u64(packer, append->commit);
	pack_u64(packer, append->probe);
	pack_u64(packer, append->first);
	pack_u64(packer, append->last);
	if (append->last < append->first)
		return;
	assert(append->first > 0);
	assert(append->last - append->first < APPEND_ENTRIES_MAX);
	uint64_t count = append->last - append->first + 1;
	for (uint64_t i = 0; i < count; i++) {
		const struct entry *entry = &append->entries[i];
		assert(entry->index == append->first + i);
		assert(entry->size == append->bodies[i].size);
		assert(entry->kind >= ENTRY_NOOP);
		assert(entry->kind <= ENTRY_MEMBERSHIP);
		pack_u64(packer, entry->term);
		pack_u64(packer, entry->version);
		pack_u64(packer, entry->key_hash);
		pack_u16(packer, entry->origin);
		pack_u8(packer, entry->kind);
		pack_bytes(packer, append->bodies[i]);
	}
}

static void append_decode(struct unpacker *unpacker, struct codec_scratch *scratch, struct message_append *append)
{
	append->prev_index = unpack_u64(unpacker);
	append->prev_term = unpack_u64(unpacker);
	append->commit = unpack_u64(unpacker);
	append->probe = unpack_u64(unpacker);
	append->first = unpack_u64(unpacker);
	append->last = unpack_u64(unpacker);
	if (append->last < append->first)
		return;
	/* Before the subtraction plus one is believed: 0..UINT64_MAX would wrap. */
	if (append->first == 0 || append->last - append->first >= APPEND_ENTRIES_MAX)
		unpacker->bad = true;
	uint64_t count = unpacker->bad ? 0 : append->last - append->first + 1;
	for (uint64_t i = 0; i < count && !unpacker->bad; i++) {
		struct entry *entry = &scratch->entries[i];
		memset(entry, 0, sizeof(*entry));
		entry->index = append->first + i;
		entry->term = unpack_u64(unpacker);
		entry->version = unpack_u64(unpacker);
		entry->key_hash = unpack_u64(unpacker);
		entry->origin = unpack_u16(unpacker);
		entry->kind = unpack_u8(unpacker);
		scratch->bodies[i] = unpack_bytes(unpacker, UINT32_MAX);
		entry->size = (uint32_t)scratch->bodies[i].size;
		if (entry->kind < ENTRY_NOOP || entry->kind > ENTRY_MEMBERSHIP)
			unpacker->bad = true;
	}
	append->entries = scratch->entries;
	append->bodies = scratch->bodies;
}

static void chunk_encode(const struct message_snapshot_chunk *chunk, struct packer *packer)
{
	assert(chunk->data.size <= SNAPSHOT_CHUNK_SIZE_MAX);
	pack_u64(packer, chunk->transfer);
	pack_u64(packer, chunk->index);
	pack_u64(packer, chunk->term);
	pack_u64(packer, chunk->sequence);
	pack_u64(packer, chunk->count);
	pack_u64(packer, chunk->hash);
	pack_flag(packer, chunk->last);
	if (chunk->sequence == 0)
		membership_encode(&chunk->membership, packer);
	pack_bytes(packer, chunk->data);
}

static void chunk_decode(struct unpacker *unpacker, struct message_snapshot_chunk *chunk)
{
	chunk->transfer = unpack_u64(unpacker);
	chunk->index = unpack_u64(unpacker);
	chunk->term = unpack_u64(unpacker);
	chunk->sequence = unpack_u64(unpacker);
	chunk->count = unpack_u64(unpacker);
	chunk->hash = unpack_u64(unpacker);
	chunk->last = unpack_flag(unpacker);
	if (chunk->sequence == 0 && membership_decode(unpacker, &chunk->membership) != STATUS_OK)
		unpacker->bad = true;
	chunk->data = unpack_bytes(unpacker, SNAPSHOT_CHUNK_SIZE_MAX);
}

static void grant_encode(const struct message_grant *grant, struct packer *packer)
{
	assert(grant->count <= REPLICAS_MAX);
	pack_u64(packer, grant->number);
	pack_u64(packer, grant->roster);
	pack_u64(packer, grant->floor);
	pack_u64(packer, grant->incarnation);
	pack_u64(packer, grant->lent_epoch);
	pack_u8(packer, grant->count);
	for (unsigned i = 0; i < grant->count; i++)
		pack_u64(packer, grant->support_epochs[i]);
}

static void grant_decode(struct unpacker *unpacker, struct message_grant *grant)
{
	grant->number = unpack_u64(unpacker);
	grant->roster = unpack_u64(unpacker);
	grant->floor = unpack_u64(unpacker);
	grant->incarnation = unpack_u64(unpacker);
	grant->lent_epoch = unpack_u64(unpacker);
	grant->count = unpack_u8(unpacker);
	if (grant->count > REPLICAS_MAX)
		unpacker->bad = true;
	for (unsigned i = 0; i < grant->count && !unpacker->bad; i++)
		grant->support_epochs[i] = unpack_u64(unpacker);
}

static void forward_encode(const struct message_forward *forward, struct packer *packer)
{
	assert(forward->count <= APPEND_ENTRIES_MAX);
	pack_u64(packer, forward->boot);
	pack_u64(packer, forward->first);
	pack_u32(packer, forward->count);
	for (uint32_t i = 0; i < forward->count; i++) {
		assert(forward->entries[i].kind == ENTRY_COMMAND);
		assert(forward->entries[i].size == forward->bodies[i].size);
		pack_u64(packer, forward->entries[i].key_hash);
		pack_bytes(packer, forward->bodies[i]);
	}
}

static void forward_decode(struct unpacker *unpacker, struct codec_scratch *scratch, struct message_forward *forward)
{
	forward->boot = unpack_u64(unpacker);
	forward->first = unpack_u64(unpacker);
	forward->count = unpack_u32(unpacker);
	if (forward->count > APPEND_ENTRIES_MAX)
		unpacker->bad = true;
	for (uint32_t i = 0; i < forward->count && !unpacker->bad; i++) {
		scratch->entries[i] = (struct entry){ .kind = ENTRY_COMMAND, .key_hash = unpack_u64(unpacker) };
		scratch->bodies[i] = unpack_bytes(unpacker, UINT32_MAX);
		scratch->entries[i].size = (uint32_t)scratch->bodies[i].size;
	}
	forward->entries = scratch->entries;
	forward->bodies = scratch->bodies;
}

void group_message_encode(const struct message *message, struct packer *packer)
{
	switch (message->kind) {
	case MESSAGE_APPEND:
		append_encode(&message->append, packer);
		break;
	case MESSAGE_APPEND_REPLY:
		pack_u64(packer, message->append_reply.match);
		pack_u64(packer, message->append_reply.commit);
		pack_u64(packer, message->append_reply.probe);
		pack_u64(packer, message->append_reply.support_epoch);
		pack_u64(packer, message->append_reply.incarnation);
		pack_flag(packer, message->append_reply.rejected);
		break;
	case MESSAGE_VOTE:
		pack_u64(packer, message->vote.last_index);
		pack_u64(packer, message->vote.last_term);
		pack_flag(packer, message->vote.pre);
		pack_flag(packer, message->vote.transfer);
		break;
	case MESSAGE_VOTE_REPLY:
		pack_flag(packer, message->vote_reply.pre);
		pack_flag(packer, message->vote_reply.granted);
		break;
	case MESSAGE_TIMEOUT_NOW:
		break;
	case MESSAGE_READ_INDEX:
		pack_u64(packer, message->read_index.nonce);
		break;
	case MESSAGE_READ_INDEX_REPLY:
		pack_u64(packer, message->read_index_reply.nonce);
		pack_u64(packer, message->read_index_reply.index);
		pack_flag(packer, message->read_index_reply.refused);
		break;
	case MESSAGE_SNAPSHOT:
		pack_u64(packer, message->snapshot.index);
		pack_u64(packer, message->snapshot.term);
		membership_encode(&message->snapshot.membership, packer);
		break;
	case MESSAGE_SNAPSHOT_CHUNK:
		chunk_encode(&message->chunk, packer);
		break;
	case MESSAGE_SNAPSHOT_ACK:
		assert(status_known(message->snapshot_ack.status));
		pack_u64(packer, message->snapshot_ack.transfer);
		pack_u64(packer, message->snapshot_ack.sequence);
		pack_u32(packer, message->snapshot_ack.status);
		pack_flag(packer, message->snapshot_ack.installed);
		break;
	case MESSAGE_REPAIR:
		pack_u64(packer, message->repair.first);
		pack_u64(packer, message->repair.last);
		break;
	case MESSAGE_REPAIR_REPLY:
		append_encode(&message->repair_reply, packer);
		break;
	case MESSAGE_GRANT:
		grant_encode(&message->grant, packer);
		break;
	case MESSAGE_GRANT_REPLY:
		pack_u64(packer, message->grant_reply.number);
		pack_u64(packer, message->grant_reply.incarnation);
		pack_flag(packer, message->grant_reply.refused);
		break;
	case MESSAGE_NOTE:
		pack_u64(packer, message->note.match);
		break;
	case MESSAGE_FORWARD:
		forward_encode(&message->forward, packer);
		break;
	case MESSAGE_FORWARD_REPLY:
		assert(status_known(message->forward_reply.status));
		pack_u64(packer, message->forward_reply.first);
		pack_u32(packer, message->forward_reply.count);
		pack_u32(packer, message->forward_reply.status);
		pack_u64(packer, message->forward_reply.leader);
		break;
	default:
		assert(false); /* not a group's message */
	}
}

void group_message_decode(struct unpacker *unpacker, struct codec_scratch *scratch, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_APPEND:
		append_decode(unpacker, scratch, &message->append);
		break;
	case MESSAGE_APPEND_REPLY:
		message->append_reply.match = unpack_u64(unpacker);
		message->append_reply.commit = unpack_u64(unpacker);
		message->append_reply.probe = unpack_u64(unpacker);
		message->append_reply.support_epoch = unpack_u64(unpacker);
		message->append_reply.incarnation = unpack_u64(unpacker);
		message->append_reply.rejected = unpack_flag(unpacker);
		break;
	case MESSAGE_VOTE:
		message->vote.last_index = unpack_u64(unpacker);
		message->vote.last_term = unpack_u64(unpacker);
		message->vote.pre = unpack_flag(unpacker);
		message->vote.transfer = unpack_flag(unpacker);
		break;
	case MESSAGE_VOTE_REPLY:
		message->vote_reply.pre = unpack_flag(unpacker);
		message->vote_reply.granted = unpack_flag(unpacker);
		break;
	case MESSAGE_TIMEOUT_NOW:
		break;
	case MESSAGE_READ_INDEX:
		message->read_index.nonce = unpack_u64(unpacker);
		break;
	case MESSAGE_READ_INDEX_REPLY:
		message->read_index_reply.nonce = unpack_u64(unpacker);
		message->read_index_reply.index = unpack_u64(unpacker);
		message->read_index_reply.refused = unpack_flag(unpacker);
		break;
	case MESSAGE_SNAPSHOT:
		message->snapshot.index = unpack_u64(unpacker);
		message->snapshot.term = unpack_u64(unpacker);
		if (membership_decode(unpacker, &message->snapshot.membership) != STATUS_OK)
			unpacker->bad = true;
		break;
	case MESSAGE_SNAPSHOT_CHUNK:
		chunk_decode(unpacker, &message->chunk);
		break;
	case MESSAGE_SNAPSHOT_ACK:
		message->snapshot_ack.transfer = unpack_u64(unpacker);
		message->snapshot_ack.sequence = unpack_u64(unpacker);
		message->snapshot_ack.status = unpack_u32(unpacker);
		message->snapshot_ack.installed = unpack_flag(unpacker);
		if (!status_known(message->snapshot_ack.status))
			unpacker->bad = true;
		break;
	case MESSAGE_REPAIR:
		message->repair.first = unpack_u64(unpacker);
		message->repair.last = unpack_u64(unpacker);
		break;
	case MESSAGE_REPAIR_REPLY:
		append_decode(unpacker, scratch, &message->repair_reply);
		break;
	case MESSAGE_GRANT:
		grant_decode(unpacker, &message->grant);
		break;
	case MESSAGE_GRANT_REPLY:
		message->grant_reply.number = unpack_u64(unpacker);
		message->grant_reply.incarnation = unpack_u64(unpacker);
		message->grant_reply.refused = unpack_flag(unpacker);
		break;
	case MESSAGE_NOTE:
		message->note.match = unpack_u64(unpacker);
		break;
	case MESSAGE_FORWARD:
		forward_decode(unpacker, scratch, &message->forward);
		break;
	case MESSAGE_FORWARD_REPLY:
		message->forward_reply.first = unpack_u64(unpacker);
		message->forward_reply.count = unpack_u32(unpacker);
		message->forward_reply.status = unpack_u32(unpacker);
		message->forward_reply.leader = unpack_u64(unpacker);
		if (!status_known(message->forward_reply.status) || message->forward_reply.status == STATUS_OK)
			unpacker->bad = true;
		break;
	default:
		assert(false); /* not a group's message: message_decode has looked */
	}
}
