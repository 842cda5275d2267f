/* server/group_driver_state.c: the rows of a replica's engine that are not keys. All are written in the batch of the
 * entries they follow from, so that they are the state at exactly the engine's applied index, on disk and in snapshots.
 *
 *   space   key                          value
 *   marks   "birth"                      version u8, group. Its absence: a replica that was never born
 *   marks   "witness"                    empty. Its presence: a replica that holds no data
 *   marks   "secret"                     the cluster's hash secret, by which exact fences are told
 *   marks   "mark"                       version u8, highest version applied, evicted-ever
 *   marks   "membership"                 as of the applied index
 *   marks   "move"                       version u8, newest map by which keys were moved, and by which a fence was
 *                                        lifted; absent: never
 *   marks   "fence/" operation           the FENCE command
 *   sessions client, slot (big-endian)   version u8, client, sequence, version, index, status
 *
 * A witness has the first five only. */
#include "server/group_driver_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"

enum { ROW_VERSION = 2, ROW_SIZE_MAX = 64, FENCE_KEY_SIZE = 6 + 8, SESSION_KEY_SIZE = 8 + 4 };

static void big_endian(uint8_t *out, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		out[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static void put_packed(struct engine_batch *batch, const char *key, const struct packer *packer)
{
	assert(!packer->overflow);
	engine_batch_put(batch, ENGINE_SPACE_MARKS, bytes_text(key), pack_result(packer));
}

void state_put_birth(struct driver *driver, struct engine_batch *batch)
{
	uint8_t row[ROW_SIZE_MAX];
	struct packer packer;
	pack_init(&packer, row, sizeof(row));
	pack_u8(&packer, ROW_VERSION);
	pack_u64(&packer, driver->options.group);
	put_packed(batch, "birth", &packer);
	if (driver->options.witness)
		engine_batch_put(batch, ENGINE_SPACE_MARKS, bytes_text("witness"), bytes_of(NULL, 0));
}

void state_put_secret(struct driver *driver, struct engine_batch *batch)
{
	engine_batch_put(batch, ENGINE_SPACE_MARKS, bytes_text("secret"),
		bytes_of(driver->options.hash_secret, sizeof(driver->options.hash_secret)));
}

void state_put_mark(struct driver *driver, struct engine_batch *batch)
{
	uint8_t row[ROW_SIZE_MAX];
	struct packer packer;
	pack_init(&packer, row, sizeof(row));
	pack_u8(&packer, ROW_VERSION);
	pack_u64(&packer, driver->version_max);
	pack_u8(&packer, driver->sessions && session_evicted_ever(driver->sessions) ? 1 : 0);
	put_packed(batch, "mark", &packer);
}

void state_put_membership(struct engine_batch *batch, const struct membership *membership)
{
	uint8_t row[MEMBERSHIP_ROW_MAX];
	struct packer packer;
	pack_init(&packer, row, sizeof(row));
	membership_encode(membership, &packer);
	put_packed(batch, "membership", &packer);
}

void state_put_move(struct driver *driver, struct engine_batch *batch)
{
	uint8_t row[ROW_SIZE_MAX];
	struct packer packer;
	pack_init(&packer, row, sizeof(row));
	pack_u8(&packer, ROW_VERSION);
	pack_u64(&packer, driver->move_epoch);
	pack_u64(&packer, driver->write_epoch);
	put_packed(batch, "move", &packer);
}

/* --- fences --------------------------------------------------------------------------------------- */

static void fence_key(uint8_t key[FENCE_KEY_SIZE], uint64_t operation)
{
	memcpy(key, "fence/", 6);
	big_endian(key + 6, operation, 8);
}

static void fence_forget(struct driver *driver, uint32_t at)
{
	assert(at < driver->fence_count);
	buffer_unref(driver->fences[at].prefix);
	for (uint32_t i = at; i + 1 < driver->fence_count; i++)
		driver->fences[i] = driver->fences[i + 1];
	driver->fence_count--;
}

static uint32_t fence_find(const struct driver *driver, uint64_t operation)
{
	uint32_t at = 0;
	while (at < driver->fence_count && driver->fences[at].operation != operation)
		at++;
	return at;
}

/* Sorted by operation, so that equal states look equal. */
static enum status fence_keep(struct driver *driver, const struct command *command)
{
	uint32_t found = fence_find(driver, command->operation);
	if (found < driver->fence_count)
		fence_forget(driver, found);
	assert(driver->fence_count < FENCES_MAX);
	struct fence *fences = realloc(driver->fences, (driver->fence_count + 1) * sizeof(*fences));
	if (!fences)
		return STATUS_NO_MEMORY;
	driver->fences = fences;
	bool of_prefix = !command->exact && !command->range;
	struct buffer *prefix = of_prefix ? buffer_copy(command->key) : NULL;
	if (of_prefix && !prefix)
		return STATUS_NO_MEMORY;
	uint32_t at = driver->fence_count;
	for (; at > 0 && fences[at - 1].operation > command->operation; at--)
		fences[at] = fences[at - 1];
	fences[at] = (struct fence){ .operation = command->operation,
		.map_epoch = command->map_epoch,
		.exact = command->exact,
		.range = command->range,
		.exact_hash = { command->exact_hash[0], command->exact_hash[1] },
		.hash_first = command->hash_first,
		.hash_last = command->hash_last,
		.prefix = prefix };
	driver->fence_count++;
	return STATUS_OK;
}

/* BUSY: there are as many as a replica keeps, and every replica says so alike. */
enum status state_fence(
	struct driver *driver, struct engine_batch *batch, const struct command *command, struct bytes body)
{
	assert(command->kind == COMMAND_FENCE);
	if (driver->fence_count == FENCES_MAX && fence_find(driver, command->operation) == driver->fence_count)
		return STATUS_BUSY;
	enum status status = fence_keep(driver, command);
	if (status != STATUS_OK) {
		driver_fail(driver, status, "no memory to keep a fence");
		return status;
	}
	uint8_t key[FENCE_KEY_SIZE];
	fence_key(key, command->operation);
	engine_batch_put(batch, ENGINE_SPACE_MARKS, bytes_of(key, sizeof(key)), body);
	return STATUS_OK;
}

void state_unfence(struct driver *driver, struct engine_batch *batch, uint64_t operation)
{
	uint32_t at = fence_find(driver, operation);
	if (at == driver->fence_count)
		return;
	fence_forget(driver, at);
	uint8_t key[FENCE_KEY_SIZE];
	fence_key(key, operation);
	engine_batch_delete(batch, ENGINE_SPACE_MARKS, bytes_of(key, sizeof(key)));
}

bool driver_rows_whole(const struct driver *driver)
{
	return !driver->failed && driver->started && !driver->flush.restore_due && !driver->reseed.running;
}

bool driver_fence_of(const struct driver *driver, uint64_t operation)
{
	return fence_find(driver, operation) < driver->fence_count;
}

bool driver_fenced(const struct driver *driver, struct bytes key, const uint64_t exact_hash[2])
{
	const uint64_t hash = driver->fence_count > 0 ? hash_key(key) : 0;
	for (uint32_t i = 0; i < driver->fence_count; i++) {
		const struct fence *fence = &driver->fences[i];
		if (!fence->exact && !fence->range && bytes_starts_with(key, buffer_bytes(fence->prefix)))
			return true;
		if (fence->range && hash_within(hash, fence->hash_first, fence->hash_last))
			return true;
		if (fence->exact && exact_hash && memcmp(fence->exact_hash, exact_hash, sizeof(fence->exact_hash)) == 0)
			return true;
	}
	return false;
}

/* The same at apply, where the key's hash is made only if some fence asks for one. */
bool state_key_fenced(const struct driver *driver, struct bytes key)
{
	bool exact = false;
	for (uint32_t i = 0; i < driver->fence_count; i++)
		exact = exact || driver->fences[i].exact;
	if (!exact)
		return driver->fence_count > 0 && driver_fenced(driver, key, NULL);
	struct hash128 hash = hash_keyed(key, driver->options.hash_secret);
	return driver_fenced(driver, key, (const uint64_t[2]){ hash.high, hash.low });
}

bool driver_fence_at(const struct driver *driver, uint32_t at, struct command *command)
{
	if (at >= driver->fence_count)
		return false;
	const struct fence *fence = &driver->fences[at];
	*command = (struct command){ .kind = COMMAND_FENCE,
		.operation = fence->operation,
		.map_epoch = fence->map_epoch,
		.exact = fence->exact,
		.range = fence->range,
		.exact_hash = { fence->exact_hash[0], fence->exact_hash[1] },
		.hash_first = fence->hash_first,
		.hash_last = fence->hash_last,
		.key = buffer_bytes(fence->prefix) };
	return true;
}

/* --- sessions ------------------------------------------------------------------------------------- */

static void session_key(uint8_t key[SESSION_KEY_SIZE], uint64_t client, uint32_t slot)
{
	big_endian(key, client, 8);
	big_endian(key + 8, slot, 4);
}

void state_record(struct driver *driver, struct engine_batch *batch, const struct session_result *result)
{
	uint32_t slot = 0;
	uint64_t evicted = 0;
	session_record(driver->sessions, result, &slot, &evicted);
	uint8_t key[SESSION_KEY_SIZE];
	for (uint32_t i = 0; evicted != 0 && i < SESSION_RESULTS; i++) {
		session_key(key, evicted, i);
		engine_batch_delete(batch, ENGINE_SPACE_SESSIONS, bytes_of(key, sizeof(key)));
	}
	uint8_t row[ROW_SIZE_MAX];
	struct packer packer;
	pack_init(&packer, row, sizeof(row));
	pack_u8(&packer, ROW_VERSION);
	pack_u64(&packer, result->client);
	pack_u64(&packer, result->sequence);
	pack_u64(&packer, result->version);
	pack_u64(&packer, result->index);
	pack_u32(&packer, result->status);
	session_key(key, result->client, slot);
	engine_batch_put(batch, ENGINE_SPACE_SESSIONS, bytes_of(key, sizeof(key)), pack_result(&packer));
}

bool driver_evicted_ever(const struct driver *driver)
{
	return driver->sessions && session_evicted_ever(driver->sessions);
}

enum status driver_session_decode(struct bytes row, struct session_result *result)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, row);
	uint8_t version = unpack_u8(&unpacker);
	*result = (struct session_result){ .client = unpack_u64(&unpacker) };
	result->sequence = unpack_u64(&unpacker);
	result->version = unpack_u64(&unpacker);
	result->index = unpack_u64(&unpacker);
	result->status = unpack_u32(&unpacker);
	if (!unpack_end(&unpacker) || version == 0 || result->client == 0)
		return STATUS_CORRUPT;
	return version == ROW_VERSION ? STATUS_OK : STATUS_UNSUPPORTED;
}

static enum status session_row(struct driver *driver, struct bytes row)
{
	struct session_result result;
	enum status status = driver_session_decode(row, &result);
	if (status != STATUS_OK)
		return status;
	return session_restore(driver->sessions, &result) ? STATUS_OK : STATUS_CORRUPT;
}

/* --- loading -------------------------------------------------------------------------------------- */

static enum status get_mark(struct driver *driver, const char *key, struct buffer **row)
{
	return engine_get(driver->engine, ENGINE_SPACE_MARKS, bytes_text(key), row);
}

static enum status load_witness(struct driver *driver)
{
	struct buffer *row = NULL;
	enum status status = get_mark(driver, "witness", &row);
	driver->options.witness = status == STATUS_OK;
	buffer_unref(row);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status state_load_birth(struct driver *driver)
{
	struct buffer *row = NULL;
	enum status status = get_mark(driver, "birth", &row);
	if (status != STATUS_OK)
		return status;
	struct unpacker unpacker;
	unpack_init(&unpacker, buffer_bytes(row));
	uint8_t version = unpack_u8(&unpacker);
	uint64_t group = unpack_u64(&unpacker);
	if (!unpack_end(&unpacker) || version == 0 || group == 0)
		status = STATUS_CORRUPT;
	else if (version != ROW_VERSION)
		status = STATUS_UNSUPPORTED;
	else if (driver->options.group != 0 && driver->options.group != group)
		status = STATUS_CONFLICT;
	else
		driver->options.group = group;
	buffer_unref(row);
	return status == STATUS_OK ? load_witness(driver) : status;
}

static enum status load_secret(struct driver *driver)
{
	struct buffer *row = NULL;
	enum status status = get_mark(driver, "secret", &row);
	if (status == STATUS_OK && row->size != sizeof(driver->options.hash_secret))
		status = STATUS_CORRUPT;
	if (status == STATUS_OK)
		memcpy(driver->options.hash_secret, row->data, row->size);
	buffer_unref(row);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status load_mark(struct driver *driver)
{
	struct buffer *row = NULL;
	enum status status = get_mark(driver, "mark", &row);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	struct unpacker unpacker;
	unpack_init(&unpacker, buffer_bytes(row));
	uint8_t version = unpack_u8(&unpacker);
	driver->version_max = unpack_u64(&unpacker);
	uint8_t evicted = unpack_u8(&unpacker);
	if (!unpack_end(&unpacker) || version == 0)
		status = STATUS_CORRUPT;
	else if (version != ROW_VERSION)
		status = STATUS_UNSUPPORTED;
	else if (evicted && driver->sessions)
		session_set_evicted_ever(driver->sessions);
	buffer_unref(row);
	return status;
}

static enum status load_move(struct driver *driver)
{
	struct buffer *row = NULL;
	enum status status = get_mark(driver, "move", &row);
	driver->move_epoch = driver->write_epoch = 0;
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	struct unpacker unpacker;
	unpack_init(&unpacker, buffer_bytes(row));
	uint8_t version = unpack_u8(&unpacker);
	driver->move_epoch = unpack_u64(&unpacker);
	driver->write_epoch = unpack_u64(&unpacker);
	if (!unpack_end(&unpacker) || version == 0)
		status = STATUS_CORRUPT;
	else if (version != ROW_VERSION)
		status = STATUS_UNSUPPORTED;
	buffer_unref(row);
	return status;
}

/* Absent: a replica that joins and has not heard of any membership. */
static enum status load_membership(struct driver *driver)
{
	driver->membership = (struct membership){ 0 };
	struct buffer *row = NULL;
	enum status status = get_mark(driver, "membership", &row);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	struct unpacker unpacker;
	unpack_init(&unpacker, buffer_bytes(row));
	status = membership_decode(&unpacker, &driver->membership);
	if (status != STATUS_OK || !unpack_end(&unpacker))
		status = STATUS_CORRUPT;
	buffer_unref(row);
	return status;
}

static enum status load_rows(struct driver *driver, enum engine_space space, struct bytes prefix,
	enum status (*take)(struct driver *driver, struct bytes row))
{
	struct engine_iter *iter = NULL;
	enum status status = engine_iter_open(driver->engine, space, prefix, bytes_of(NULL, 0), &iter);
	while (status == STATUS_OK) {
		struct bytes key, row;
		status = engine_iter_next(iter, &key, &row);
		if (status == STATUS_OK)
			status = take(driver, row);
	}
	if (iter)
		engine_iter_close(iter);
	return status == STATUS_END ? STATUS_OK : status;
}

static enum status fence_row(struct driver *driver, struct bytes row)
{
	struct command command;
	enum status status = command_decode(row, &command);
	if (status != STATUS_OK)
		return status;
	if (command.kind != COMMAND_FENCE || driver->fence_count == FENCES_MAX)
		return STATUS_CORRUPT;
	return fence_keep(driver, &command);
}

void state_forget(struct driver *driver)
{
	while (driver->fence_count > 0)
		fence_forget(driver, driver->fence_count - 1);
	free(driver->fences);
	driver->fences = NULL;
	free(driver->sessions_memory);
	driver->sessions_memory = NULL;
	driver->sessions = NULL;
}

/* Everything that is kept in memory of the applied state, from the engine: at open, and after a snapshot. */
enum status state_load(struct driver *driver)
{
	state_forget(driver);
	if (!driver_is_meta(driver) && !driver->options.witness) {
		driver->sessions_memory = calloc(1, session_table_size(SESSION_CLIENTS_DEFAULT));
		if (!driver->sessions_memory)
			return STATUS_NO_MEMORY;
		driver->sessions = session_table_init(driver->sessions_memory, SESSION_CLIENTS_DEFAULT);
	}
	engine_applied(driver->engine, &driver->applied, &driver->applied_term);
	driver->engine_applied = driver->applied;
	enum status status = load_secret(driver);
	if (status == STATUS_OK)
		status = load_mark(driver);
	if (status == STATUS_OK)
		status = load_move(driver);
	if (status == STATUS_OK)
		status = load_membership(driver);
	if (status == STATUS_OK)
		status = load_rows(driver, ENGINE_SPACE_MARKS, bytes_text("fence/"), fence_row);
	if (status == STATUS_OK && driver->sessions)
		status = load_rows(driver, ENGINE_SPACE_SESSIONS, bytes_of(NULL, 0), session_row);
	if (status == STATUS_OK && driver_is_meta(driver))
		status = meta_load(driver);
	return status;
}
