/* storage/journal_record.h: what is in a segment, to the byte (docs/storage.md has the tables). A segment is two copies
 * of a header block, then batches, one a flush, each at a multiple of a block so that durable bytes are never written
 * again. A batch is a MARK, which says how many records follow and names them all a second time, then the records. Each
 * record is a header of 80 bytes, then its body, padded with zeroes to a multiple of eight.
 *
 * Every checksum is seeded with the journal's incarnation, the segment's sequence and the record's offset: bytes of a
 * segment's former life, of another segment or of another journal do not pass. Pure. */
#ifndef DOMICILE_STORAGE_JOURNAL_RECORD_H
#define DOMICILE_STORAGE_JOURNAL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

enum {
	JOURNAL_VERSION = 1,
	JOURNAL_BLOCK = 4096,
	JOURNAL_DATA_BEGIN = 2 * JOURNAL_BLOCK,
	RECORD_HEADER_SIZE = 80,
	MARK_ITEM_SIZE = 48,
	COMPRESS_ABOVE = 4096, /* bytes of body */
};

enum record_type {
	RECORD_MARK = 1, /* index: flush number; term: lowest segment still needed; version: records; key_hash: size */
	RECORD_ACKED =
		2, /* index: number of a flush that is durable; written without a sync, overwritten by the next */
	RECORD_STATE = 3, /* index, key_hash: base index and term; term; version: vote */
	RECORD_ENTRY = 4,
	RECORD_LOST = 5,   /* index, term of an entry that was durable once and is lost */
	RECORD_CUT = 6,	   /* index: first that is gone */
	RECORD_RESET = 7,  /* like STATE, and all entries before it are gone */
	RECORD_REMOVE = 8, /* the group is gone */
};

struct record {
	uint64_t group, index, term, version, key_hash, request;
	uint64_t body_check;
	uint32_t stored_size, body_size; /* equal unless compressed */
	uint32_t ordinal;		 /* in the batch; the MARK is 0 */
	uint16_t origin;
	uint8_t type, kind;
};

struct mark_item { /* `count` records: of consecutive indexes if entries, else 1 */
	uint64_t group, index, term, version, key_hash;
	uint32_t count;
	uint8_t type;
};

struct segment_header {
	uint8_t cluster[16];
	uint64_t incarnation, sequence, segment_size;
	uint64_t previous_sequence; /* 0: the first of this journal */
	uint64_t previous_end;	    /* offset behind the last good byte of it */
	uint64_t first_flush;	    /* number of the first MARK */
	uint64_t needed;	    /* lowest segment still needed when this one began */
	bool unknown_loss;	    /* something durable was lost whose name is not known */
};

static inline uint64_t align_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

static inline uint64_t record_size(uint64_t stored_size)
{
	return RECORD_HEADER_SIZE + align_up(stored_size, 8);
}

uint64_t record_seed(uint64_t incarnation, uint64_t sequence, uint64_t offset);
/* The stored body and its padding stand behind `at` already. */
void record_seal(uint8_t *at, struct record *record, uint64_t seed);
bool record_parse(const uint8_t *at, uint64_t seed, struct record *record);		/* RECORD_HEADER_SIZE bytes */
bool record_body_good(const uint8_t *body, const struct record *record, uint64_t seed); /* padding included */
/* The body as it was appended, into out[body_size]. CORRUPT: it does not unpack to that size. */
enum status record_unpack(const uint8_t *body, const struct record *record, uint8_t *out) MUST;
/* Into out[size]: the stored form; gives its size, which is less than `size` if it was compressed. */
uint32_t record_pack(struct bytes body, uint8_t *out);

bool record_follows(const struct mark_item *item, const struct record *record); /* one more of the same run */
struct mark_item mark_item_of(const struct record *record);
void mark_item_encode(uint8_t *at, const struct mark_item *item);
void mark_item_decode(const uint8_t *at, struct mark_item *item);

void segment_header_encode(uint8_t *blocks, const struct segment_header *header); /* JOURNAL_DATA_BEGIN bytes: both */
/* The copy at block `copy`. CORRUPT, or UNSUPPORTED when it is a newer version's. */
enum status segment_header_decode(const uint8_t *block, unsigned copy, struct segment_header *header) MUST;

#endif
