/* policy/ledger_record.c: see policy/ledger_record.h. Every record has every field: what does not count is 0, and a
 * decoder that meets another value there refuses it, so that equal records are equal bytes. */
#include "policy/ledger_record.h"

#include <assert.h>
#include <string.h>

enum { RECORD_VERSION = 3 }; /* 2 added overdue and erased, 3 keys-sent and keys-taken */

enum field {
	HAS_SHARD = 1,
	HAS_POLICY = 2,
	HAS_NODE = 4, /* and a place */
	HAS_RANGE = 8,
	HAS_DIGEST = 16,
	HAS_BODY = 32,
	HAS_PLACE = 64,
};
static const struct {
	const char *name;
	unsigned fields;
} kinds[LEDGER_KINDS] = {
	[LEDGER_STARTED] = { "started", HAS_NODE | HAS_PLACE | HAS_BODY },
	[LEDGER_CERTIFICATE] = { "certificate", HAS_BODY },
	[LEDGER_REGION] = { "region", HAS_PLACE | HAS_DIGEST | HAS_BODY },
	[LEDGER_POLICY] = { "policy", HAS_POLICY | HAS_DIGEST | HAS_BODY },
	[LEDGER_CREATED] = { "created", HAS_SHARD | HAS_POLICY },
	[LEDGER_REMOVED] = { "removed", HAS_SHARD },
	[LEDGER_PURGED] = { "purged", HAS_SHARD },
	[LEDGER_SNAPSHOT_SENT] = { "snapshot-sent", HAS_SHARD | HAS_NODE | HAS_PLACE | HAS_RANGE },
	[LEDGER_SNAPSHOT_TAKEN] = { "snapshot-taken", HAS_SHARD | HAS_NODE | HAS_PLACE | HAS_RANGE },
	[LEDGER_OVERDUE] = { "overdue", HAS_SHARD },
	[LEDGER_ERASED] = { "erased", HAS_SHARD },
	[LEDGER_KEYS_SENT] = { "keys-sent", HAS_SHARD | HAS_POLICY | HAS_NODE | HAS_PLACE | HAS_RANGE },
	[LEDGER_KEYS_TAKEN] = { "keys-taken", HAS_SHARD | HAS_POLICY | HAS_NODE | HAS_PLACE | HAS_RANGE },
};

const char *ledger_kind_name(uint8_t kind)
{
	return kind > 0 && kind < LEDGER_KINDS ? kinds[kind].name : "?";
}

static bool zeroes(const uint8_t *at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (at[i] != 0)
			return false;
	return true;
}

/* Only the fields of its kind are set. */
static bool well_formed(const struct ledger_record *record)
{
	if (record->kind == 0 || record->kind >= LEDGER_KINDS || record->sequence == 0 ||
		(record->flags & ~(unsigned)(LEDGER_RECONCILED | LEDGER_WITNESS)) != 0 ||
		((record->flags & LEDGER_WITNESS) && record->kind != LEDGER_CREATED))
		return false;
	unsigned fields = kinds[record->kind].fields;
	bool has_digest = !zeroes(record->digest, sizeof(record->digest));
	return ((fields & HAS_SHARD) ? record->shard != 0 && record->replica != 0
				     : record->shard == 0 && record->replica == 0) &&
	       ((fields & HAS_POLICY) || (record->policy == 0 && record->policy_epoch == 0)) &&
	       (fields & HAS_NODE ? record->node != 0 : record->node == 0) &&
	       ((fields & HAS_PLACE) || record->place.text[0] == 0) &&
	       ((fields & HAS_RANGE) || (record->first == 0 && record->last == 0)) &&
	       ((fields & HAS_DIGEST) || !has_digest) && ((fields & HAS_BODY) || record->body.size == 0) &&
	       record->body.size <= LEDGER_BODY_MAX;
}

void ledger_record_encode(const struct ledger_record *record, struct packer *packer)
{
	assert(well_formed(record));
	pack_u8(packer, RECORD_VERSION);
	pack_u8(packer, record->kind);
	pack_u8(packer, record->flags);
	pack_u64(packer, record->sequence);
	pack_u64(packer, record->time_us);
	pack_u64(packer, record->map_epoch);
	pack_u64(packer, record->shard);
	pack_u64(packer, record->replica);
	pack_u64(packer, record->policy);
	pack_u64(packer, record->policy_epoch);
	pack_u64(packer, record->node);
	pack_text(packer, record->place.text);
	pack_u64(packer, record->first);
	pack_u64(packer, record->last);
	pack_raw(packer, record->digest, sizeof(record->digest));
	pack_bytes(packer, record->body);
}

enum status ledger_record_decode(struct bytes bytes, struct ledger_record *record)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes);
	memset(record, 0, sizeof(*record));
	uint8_t version = unpack_u8(&unpacker);
	if (version != RECORD_VERSION)
		return version > RECORD_VERSION && !unpacker.bad ? STATUS_UNSUPPORTED : STATUS_INVALID;
	record->kind = unpack_u8(&unpacker);
	record->flags = unpack_u8(&unpacker);
	record->sequence = unpack_u64(&unpacker);
	record->time_us = unpack_u64(&unpacker);
	record->map_epoch = unpack_u64(&unpacker);
	record->shard = unpack_u64(&unpacker);
	record->replica = unpack_u64(&unpacker);
	record->policy = unpack_u64(&unpacker);
	record->policy_epoch = unpack_u64(&unpacker);
	record->node = unpack_u64(&unpacker);
	char place[PLACE_TEXT_MAX];
	unpack_text(&unpacker, place, sizeof(place));
	record->first = unpack_u64(&unpacker);
	record->last = unpack_u64(&unpacker);
	struct bytes digest = unpack_raw(&unpacker, sizeof(record->digest));
	record->body = unpack_bytes(&unpacker, LEDGER_BODY_MAX);
	if (!unpack_end(&unpacker) || (place[0] != 0 && !place_parse(place, &record->place, NULL)))
		return STATUS_INVALID;
	memcpy(record->digest, digest.data, sizeof(record->digest));
	return well_formed(record) ? STATUS_OK : STATUS_INVALID;
}

void ledger_tags_encode(const struct site *site, struct packer *packer)
{
	assert(site->tag_count <= TAGS_MAX);
	pack_u8(packer, site->tag_count);
	for (unsigned i = 0; i < site->tag_count; i++)
		pack_text(packer, site->tags[i]);
}

enum status ledger_tags_decode(struct bytes body, struct site *site)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, body);
	uint8_t count = unpack_u8(&unpacker);
	site->tag_count = 0;
	if (count > TAGS_MAX)
		return STATUS_INVALID;
	for (; site->tag_count < count; site->tag_count++)
		unpack_text(&unpacker, site->tags[site->tag_count], TAG_TEXT_MAX);
	return unpack_end(&unpacker) ? STATUS_OK : STATUS_INVALID;
}

/* --- the chain --------------------------------------------------------------------------------------- */

struct ledger_position ledger_origin(uint64_t incarnation, const struct place *place)
{
	uint8_t bytes[PLACE_TEXT_MAX + 64];
	struct packer packer;
	struct ledger_position position = { .sequence = 0 };
	pack_init(&packer, bytes, sizeof(bytes));
	pack_text(&packer, "domicile ledger");
	pack_u64(&packer, incarnation);
	pack_text(&packer, place->text);
	assert(!packer.overflow);
	sha256_of(pack_result(&packer), position.hash);
	return position;
}

void ledger_advance(struct ledger_position *position, const uint8_t digest[SHA256_SIZE])
{
	struct sha256 sha256;
	sha256_init(&sha256);
	sha256_add(&sha256, bytes_of(position->hash, SHA256_SIZE));
	sha256_add(&sha256, bytes_of(digest, SHA256_SIZE));
	sha256_end(&sha256, position->hash);
	position->sequence++;
}

struct bytes ledger_head_text(const uint8_t cluster[16], uint64_t node, uint64_t incarnation,
	const struct ledger_head *head, uint8_t out[LEDGER_HEAD_TEXT_MAX])
{
	struct packer packer;
	pack_init(&packer, out, LEDGER_HEAD_TEXT_MAX);
	pack_text(&packer, "domicile ledger head");
	pack_raw(&packer, cluster, 16);
	pack_u64(&packer, node);
	pack_u64(&packer, incarnation);
	pack_u64(&packer, head->at.sequence);
	pack_raw(&packer, head->at.hash, SHA256_SIZE);
	pack_u64(&packer, head->time_us);
	assert(!packer.overflow);
	return pack_result(&packer);
}

void ledger_head_encode(const struct ledger_head *head, struct packer *packer)
{
	assert(head->signature_size <= LEDGER_SIGNATURE_MAX);
	pack_u64(packer, head->at.sequence);
	if (head->at.sequence == 0)
		return;
	pack_raw(packer, head->at.hash, SHA256_SIZE);
	pack_u64(packer, head->time_us);
	pack_bytes(packer, bytes_of(head->signature, head->signature_size));
}

void ledger_head_decode(struct unpacker *unpacker, struct ledger_head *head)
{
	memset(head, 0, sizeof(*head));
	head->at.sequence = unpack_u64(unpacker);
	if (head->at.sequence == 0)
		return;
	struct bytes hash = unpack_raw(unpacker, SHA256_SIZE);
	head->time_us = unpack_u64(unpacker);
	struct bytes signature = unpack_bytes(unpacker, LEDGER_SIGNATURE_MAX);
	if (unpacker->bad) {
		memset(head, 0, sizeof(*head));
		return;
	}
	memcpy(head->at.hash, hash.data, SHA256_SIZE);
	head->signature_size = (uint8_t)signature.size;
	if (signature.size > 0)
		memcpy(head->signature, signature.data, signature.size);
}
