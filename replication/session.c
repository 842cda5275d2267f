/* replication/session.c: see replication/session.h.
 *
 * One block: the header, `clients` (compact, so that the search for who was used longest ago stays in few cache
 * lines), an index by client (open addressing, linear probing, backward-shift deletion), and the rings. All zero is
 * an empty table, and a ring is first touched when its client writes.
 *
 * Nothing here depends on where in the block a client landed: the verdicts, the eviction and the digest are functions
 * of the set of records and of `evicted_ever` alone, so a table restored in any order goes on like the one that was
 * written. The last use of a client is the highest log index among its records. The newest record is only ever replaced
 * by a newer one, so that index is never lost from the ring. */
#include "replication/session.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"

struct entry {
	uint64_t sequence, version, index; /* sequence 0: empty */
	uint32_t status;
};
struct client {
	uint64_t id;
	uint64_t last_index; /* of its last record */
};
struct session_table {
	uint32_t clients_max, count;
	uint32_t bucket_count; /* power of two, at least twice clients_max */
	bool evicted_ever;
	struct client *clients;			/* [clients_max], the first `count` in use */
	struct entry (*rings)[SESSION_RESULTS]; /* [clients_max] */
	uint32_t *buckets;			/* position in clients + 1; 0: empty */
};

static uint32_t bucket_count_for(uint32_t clients_max)
{
	uint32_t count = 2;
	while (count < 2 * clients_max)
		count *= 2;
	return count;
}

static size_t aligned(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

size_t session_table_size(uint32_t clients_max)
{
	assert(clients_max > 0);
	assert(clients_max <= 1U << 24);
	return aligned(sizeof(struct session_table)) + aligned(clients_max * sizeof(struct client)) +
	       aligned(bucket_count_for(clients_max) * sizeof(uint32_t)) +
	       clients_max * sizeof(struct entry[SESSION_RESULTS]);
}

struct session_table *session_table_init(void *memory, uint32_t clients_max)
{
	assert(memory);
	assert(clients_max > 0);
	uint8_t *at = memory;
	struct session_table *table = memory;
	*table = (struct session_table){ .clients_max = clients_max, .bucket_count = bucket_count_for(clients_max) };
	at += aligned(sizeof(*table));
	table->clients = (struct client *)(void *)at;
	at += aligned(clients_max * sizeof(struct client));
	table->buckets = (uint32_t *)(void *)at;
	at += aligned(table->bucket_count * sizeof(uint32_t));
	table->rings = (struct entry(*)[SESSION_RESULTS])(void *)at;
	at += clients_max * sizeof(struct entry[SESSION_RESULTS]);
	assert((size_t)(at - (uint8_t *)memory) == session_table_size(clients_max));
	return table;
}

/* --- the index ------------------------------------------------------------------------------------- */

static uint32_t home(const struct session_table *table, uint64_t client)
{
	uint64_t mixed = (client ^ client >> 32) * 0x9e3779b97f4a7c15;
	return (uint32_t)(mixed >> 32) & (table->bucket_count - 1);
}

/* The bucket of the client, or the empty one where it would go. */
static uint32_t bucket_of(const struct session_table *table, uint64_t client)
{
	assert(table->count < table->bucket_count);
	uint32_t bucket = home(table, client);
	while (table->buckets[bucket] != 0 && table->clients[table->buckets[bucket] - 1].id != client)
		bucket = (bucket + 1) & (table->bucket_count - 1);
	return bucket;
}

/* Position in clients, or -1. */
static int64_t find(const struct session_table *table, uint64_t client)
{
	uint32_t held = table->buckets[bucket_of(table, client)];
	return (int64_t)held - 1;
}

static void index_remove(struct session_table *table, uint64_t client)
{
	uint32_t mask = table->bucket_count - 1, hole = bucket_of(table, client);
	assert(table->buckets[hole] != 0);
	table->buckets[hole] = 0;
	for (uint32_t at = (hole + 1) & mask; table->buckets[at] != 0; at = (at + 1) & mask) {
		uint32_t wanted = home(table, table->clients[table->buckets[at] - 1].id);
		/* It may fill the hole unless its home lies after the hole, on the way from there to where it is. */
		if (((at - wanted) & mask) < ((at - hole) & mask))
			continue;
		table->buckets[hole] = table->buckets[at];
		table->buckets[at] = 0;
		hole = at;
	}
}

/* --- records ---------------------------------------------------------------------------------------- */

enum session_verdict session_check(const struct session_table *table, uint64_t client, uint64_t sequence,
	uint64_t low_water, bool retry, struct session_result *result)
{
	*result = (struct session_result){ .client = client, .sequence = sequence };
	if (sequence == 0 || sequence < low_water)
		return SESSION_UNKNOWN; /* the client itself says that it is done with it */
	int64_t at = find(table, client);
	if (at < 0)
		return retry && table->evicted_ever ? SESSION_UNKNOWN : SESSION_NEW;
	const struct entry *entry = &table->rings[at][sequence % SESSION_RESULTS];
	if (entry->sequence == sequence) {
		result->version = entry->version;
		result->index = entry->index;
		result->status = entry->status;
		return SESSION_REPEAT;
	}
	if (entry->sequence > sequence)
		return SESSION_UNKNOWN; /* what may have stood here was overwritten */
	return retry && table->evicted_ever ? SESSION_UNKNOWN : SESSION_NEW;
}

static uint32_t oldest(const struct session_table *table)
{
	assert(table->count > 0);
	uint32_t oldest = 0;
	for (uint32_t i = 1; i < table->count; i++) {
		const struct client *a = &table->clients[i], *b = &table->clients[oldest];
		if (a->last_index < b->last_index || (a->last_index == b->last_index && a->id < b->id))
			oldest = i;
	}
	return oldest;
}

static void place(struct session_table *table, uint32_t at, uint64_t client)
{
	assert(table->rings[at][0].sequence == 0);
	table->clients[at] = (struct client){ .id = client };
	uint32_t bucket = bucket_of(table, client);
	assert(table->buckets[bucket] == 0);
	table->buckets[bucket] = at + 1;
}

static void put(struct session_table *table, uint32_t at, const struct session_result *result)
{
	struct entry *entry = &table->rings[at][result->sequence % SESSION_RESULTS];
	assert(entry->sequence < result->sequence);
	*entry = (struct entry){ .sequence = result->sequence,
		.version = result->version,
		.index = result->index,
		.status = result->status };
	if (table->clients[at].last_index < result->index)
		table->clients[at].last_index = result->index;
}

void session_record(struct session_table *table, const struct session_result *result, uint32_t *slot, uint64_t *evicted)
{
	assert(result->client != 0);
	assert(result->sequence != 0);
	*slot = (uint32_t)(result->sequence % SESSION_RESULTS);
	*evicted = 0;
	int64_t at = find(table, result->client);
	if (at < 0 && table->count < table->clients_max) {
		at = table->count;
		place(table, table->count, result->client);
		table->count++;
	} else if (at < 0) {
		at = oldest(table);
		*evicted = table->clients[at].id;
		table->evicted_ever = true;
		index_remove(table, *evicted);
		memset(table->rings[at], 0, sizeof(table->rings[at]));
		place(table, (uint32_t)at, result->client);
	}
	put(table, (uint32_t)at, result);
	assert(table->count <= table->clients_max);
}

bool session_restore(struct session_table *table, const struct session_result *result)
{
	if (result->client == 0 || result->sequence == 0)
		return false;
	int64_t at = find(table, result->client);
	if (at < 0) {
		if (table->count == table->clients_max)
			return false;
		at = table->count;
		place(table, table->count, result->client);
		table->count++;
	}
	if (table->rings[at][result->sequence % SESSION_RESULTS].sequence >= result->sequence)
		return false;
	put(table, (uint32_t)at, result);
	return true;
}

bool session_evicted_ever(const struct session_table *table)
{
	return table->evicted_ever;
}

void session_set_evicted_ever(struct session_table *table)
{
	table->evicted_ever = true;
}

/* A sum over the records: the same whatever the order in which they came. */
uint64_t session_digest(const struct session_table *table)
{
	uint64_t digest = table->evicted_ever ? 0x5851f42d4c957f2d : 0;
	for (uint32_t at = 0; at < table->count; at++) {
		for (unsigned i = 0; i < SESSION_RESULTS; i++) {
			const struct entry *entry = &table->rings[at][i];
			uint64_t record[5] = { table->clients[at].id, entry->sequence, entry->version, entry->index,
				entry->status };
			if (entry->sequence != 0)
				digest += hash64(bytes_of(record, sizeof(record)));
		}
	}
	return digest;
}
