/* policy/ledger_record.h: what a node's ledger says of one event of a replica's life, as bytes, and the chain that
 * binds the events. docs/ledger.md has the format and what it proves. Never a byte of a key, a value or a binding's
 * prefix.
 *
 * The chain: hash of nothing = SHA-256 of the ledger's name (its node's incarnation and place); the hash behind record
 * i = SHA-256(hash behind record i - 1, SHA-256(record i)). So a proof may show some records and only the digests of
 * the others.
 *
 * Written by storage/ledger.c, read by domctl and the simulator too, therefore here. Pure. */
#ifndef DOMICILE_POLICY_LEDGER_RECORD_H
#define DOMICILE_POLICY_LEDGER_RECORD_H

#include "base/pack.h"
#include "base/sha256.h"
#include "base/status.h"
#include "policy/place.h"
#include "policy/rules.h"

enum { LEDGER_BODY_MAX = 48 << 10, LEDGER_RECORD_MAX = LEDGER_BODY_MAX + 1024, LEDGER_SIGNATURE_MAX = 128 };

/* Which fields count beside sequence, time, map epoch and kind; all others are 0. */
enum ledger_kind {
	LEDGER_STARTED = 1,	   /* place, node: ours; body: cluster id. The process began */
	LEDGER_CERTIFICATE = 2,	   /* body: our certificate, DER; when it is another than before */
	LEDGER_REGION = 3,	   /* place: the region's; digest: pinned key of its CA; body: its tags */
	LEDGER_POLICY = 4,	   /* policy, its epoch; body: the rules; digest: of the body. First acted on by us */
	LEDGER_CREATED = 5,	   /* shard, replica, policy, its epoch; written before its first byte can be on disk */
	LEDGER_REMOVED = 6,	   /* shard, replica; its files are unlinked and their directory synced */
	LEDGER_PURGED = 7,	   /* shard, replica; a search of all files found no byte of it any more */
	LEDGER_SNAPSHOT_SENT = 8,  /* shard, replica: ours; to node at place; last: index. When it was begun */
	LEDGER_SNAPSHOT_TAKEN = 9, /* shard, replica: ours; from node at place; last: index. When it was installed */
	LEDGER_OVERDUE = 10,	   /* shard, replica: what was deleted in it is here for longer than erase_within */
	LEDGER_ERASED = 11,	   /* shard, replica: what was overdue is gone */
	/* Keys whose binding changes go from a shard of one policy to one of another's. Written before the first of an
	 * operation leaves, or is taken. last: the operation */
	LEDGER_KEYS_SENT = 12, /* shard, replica: ours; to shard `first` of policy, its epoch; node, place: to whom */
	LEDGER_KEYS_TAKEN =
		13, /* shard, replica: ours; from shard `first` of policy, its epoch; node, place: from whom */
	LEDGER_KINDS = 14,
};
enum ledger_flag {
	LEDGER_RECONCILED = 1, /* found at a start, a crash had come between the event and its record */
	LEDGER_WITNESS = 2,    /* of LEDGER_CREATED: a replica without data (docs/witness.md) */
};

struct ledger_record {
	uint64_t sequence; /* from 1, without gaps */
	uint64_t time_us;  /* the node's wall clock, since 1970 */
	uint64_t map_epoch;
	uint8_t kind;  /* enum ledger_kind */
	uint8_t flags; /* enum ledger_flag */
	uint64_t shard, replica;
	uint64_t policy, policy_epoch; /* policy 0: meta, which holds no user's bytes */
	uint64_t node;
	struct place place;
	uint64_t first, last; /* range of the log, inclusive; KEYS: see there */
	uint8_t digest[SHA256_SIZE];
	struct bytes body; /* borrowed */
};

void ledger_record_encode(const struct ledger_record *record, struct packer *packer);
/* The one encoding of each record and nothing else: INVALID; UNSUPPORTED: a newer version's. Borrows. */
enum status ledger_record_decode(struct bytes bytes, struct ledger_record *record) MUST;
const char *ledger_kind_name(uint8_t kind); /* "created"; "?" for none of them */

/* A region as a LEDGER_REGION's body has its tags. */
void ledger_tags_encode(const struct site *site, struct packer *packer);
enum status ledger_tags_decode(struct bytes body, struct site *site) MUST; /* site->place is set already */

/* Where a chain stands: behind record `sequence`. */
struct ledger_position {
	uint64_t sequence;
	uint8_t hash[SHA256_SIZE];
};
struct ledger_position ledger_origin(uint64_t incarnation, const struct place *place);
void ledger_advance(struct ledger_position *position, const uint8_t digest[SHA256_SIZE]); /* of the next record */

/* What a node signs of its chain and meta keeps: the newest one of each node. */
struct ledger_head {
	struct ledger_position at; /* sequence 0: none yet */
	uint64_t time_us;
	uint8_t signature_size;
	uint8_t signature[LEDGER_SIGNATURE_MAX];
};
enum { LEDGER_HEAD_TEXT_MAX = 128 };
/* The bytes that are signed. */
struct bytes ledger_head_text(const uint8_t cluster[16], uint64_t node, uint64_t incarnation,
	const struct ledger_head *head, uint8_t out[LEDGER_HEAD_TEXT_MAX]);
void ledger_head_encode(const struct ledger_head *head, struct packer *packer);
void ledger_head_decode(struct unpacker *unpacker, struct ledger_head *head); /* bad: see the unpacker */

#endif
