/* wire/command.c: see wire/command.h. A body carries the fields of its kind only; the rest come back as zero. It is
 * on disk for as long as the log is: a change of layout is a new COMMAND_VERSION beside this one. */
#include "wire/command.h"

#include <assert.h>
#include <string.h>

#include "wire/message.h"

enum { COMMAND_VERSION = 2 };
enum { FLAG_RETRY = 1 << 0, FLAG_EXACT = 1 << 1, FLAG_RANGE = 1 << 2 };
enum { RECORD_SIZE = 3 * 8 + 4 };

static bool command_is_write(uint8_t kind)
{
	return kind == COMMAND_PUT || kind == COMMAND_DELETE || kind == COMMAND_CAS;
}

static bool command_has_value(uint8_t kind)
{
	return kind == COMMAND_PUT || kind == COMMAND_CAS;
}

static uint8_t flags_of(uint8_t kind)
{
	if (command_is_write(kind) || kind == COMMAND_ADOPT || kind == COMMAND_CLOSE || kind == COMMAND_INHERIT)
		return FLAG_RETRY;
	return kind == COMMAND_FENCE ? FLAG_EXACT | FLAG_RANGE : 0;
}

static bool command_moves(uint8_t kind)
{
	return kind >= COMMAND_ADOPT && kind <= COMMAND_INHERIT;
}

bool command_row_add(uint8_t kind, struct packer *packer, const struct command_row *row)
{
	size_t value = kind == COMMAND_ADOPT ? 4 + row->value.size : 0;
	size_t size = 8 + 4 + row->key.size + value;
	bool first = packer->size == 0;
	assert(kind == COMMAND_ADOPT || kind == COMMAND_PURGE);
	if (size > packer->capacity - packer->size || (!first && packer->size + size > COMMAND_ROWS_BYTES))
		return false;
	pack_u64(packer, row->version);
	pack_bytes(packer, row->key);
	if (kind == COMMAND_ADOPT)
		pack_bytes(packer, row->value);
	return true;
}

bool command_row_next(uint8_t kind, struct unpacker *rows, struct command_row *row)
{
	if (rows->bad || rows->at == rows->size)
		return false;
	row->version = unpack_u64(rows);
	row->key = unpack_bytes(rows, KEY_SIZE_MAX);
	row->value = kind == COMMAND_ADOPT ? unpack_bytes(rows, VALUE_SIZE_MAX) : bytes_of(NULL, 0);
	return !rows->bad;
}

bool command_record_add(struct packer *packer, const struct command_record *record)
{
	if (packer->size + RECORD_SIZE > COMMAND_ROWS_BYTES)
		return false;
	pack_u64(packer, record->client);
	pack_u64(packer, record->sequence);
	pack_u64(packer, record->version);
	pack_u32(packer, record->status);
	return true;
}

bool command_record_next(struct unpacker *records, struct command_record *record)
{
	if (records->bad || records->at == records->size)
		return false;
	record->client = unpack_u64(records);
	record->sequence = unpack_u64(records);
	record->version = unpack_u64(records);
	record->status = unpack_u32(records);
	if (record->client == 0 || record->sequence == 0)
		records->bad = true;
	return !records->bad;
}

static bool command_has_floor(uint8_t kind)
{
	return kind == COMMAND_ADOPT || kind == COMMAND_CLOSE;
}

static void move_encode(const struct command *command, struct packer *packer)
{
	pack_u64(packer, command->operation);
	if (command_has_floor(command->kind))
		pack_u64(packer, command->version);
	if (command->kind == COMMAND_CLOSE)
		return;
	assert(command->value.size <= COMMAND_ROWS_BYTES_MAX);
	pack_bytes(packer, command->value);
}

/* The rows are looked at here, so that whoever applies them meets no malformed one half-way. */
static void move_decode(struct unpacker *unpacker, struct command *command)
{
	struct unpacker rows;
	struct command_record record;
	struct command_row row;
	unsigned count = 0;
	command->operation = unpack_u64(unpacker);
	if (command_has_floor(command->kind))
		command->version = unpack_u64(unpacker);
	if (command->kind == COMMAND_CLOSE)
		return;
	command->value = unpack_bytes(unpacker, COMMAND_ROWS_BYTES_MAX);
	unpack_init(&rows, command->value);
	if (command->kind == COMMAND_INHERIT)
		while (command_record_next(&rows, &record))
			;
	else
		while (command_row_next(command->kind, &rows, &row))
			count++;
	if (rows.bad || count > COMMAND_ROWS_MAX)
		unpacker->bad = true;
}

static void write_encode(const struct command *command, struct packer *packer)
{
	assert(command->key.size <= KEY_SIZE_MAX);
	pack_u64(packer, command->client);
	pack_u64(packer, command->sequence);
	pack_u64(packer, command->low_water);
	if (command->kind == COMMAND_CAS)
		pack_u64(packer, command->version);
	pack_bytes(packer, command->key);
	if (command_has_value(command->kind)) {
		assert(command->value.size <= VALUE_SIZE_MAX);
		pack_bytes(packer, command->value);
	}
}

static void fence_encode(const struct command *command, struct packer *packer)
{
	pack_u64(packer, command->operation);
	if (command->kind == COMMAND_UNFENCE)
		return;
	if (command->exact) {
		pack_u64(packer, command->exact_hash[0]);
		pack_u64(packer, command->exact_hash[1]);
	} else if (command->range) {
		pack_u64(packer, command->hash_first);
		pack_u64(packer, command->hash_last);
	} else {
		assert(command->key.size <= KEY_SIZE_MAX);
		pack_bytes(packer, command->key);
	}
}

void command_encode(const struct command *command, struct packer *packer)
{
	bool write = command_is_write(command->kind);
	assert(write || command->kind == COMMAND_FENCE || command->kind == COMMAND_UNFENCE ||
		command_moves(command->kind));
	bool retry = (flags_of(command->kind) & FLAG_RETRY) && command->retry;
	bool exact = command->kind == COMMAND_FENCE && command->exact;
	bool range = command->kind == COMMAND_FENCE && command->range;
	assert(!exact || !range);
	pack_u8(packer, COMMAND_VERSION);
	pack_u8(packer, command->kind);
	pack_u8(packer, (uint8_t)((retry ? FLAG_RETRY : 0) | (exact ? FLAG_EXACT : 0) | (range ? FLAG_RANGE : 0)));
	pack_u64(packer, command->map_epoch);
	if (write)
		write_encode(command, packer);
	else if (command_moves(command->kind))
		move_encode(command, packer);
	else
		fence_encode(command, packer);
}

static void write_decode(struct unpacker *unpacker, struct command *command)
{
	command->client = unpack_u64(unpacker);
	command->sequence = unpack_u64(unpacker);
	command->low_water = unpack_u64(unpacker);
	if (command->kind == COMMAND_CAS)
		command->version = unpack_u64(unpacker);
	command->key = unpack_bytes(unpacker, KEY_SIZE_MAX);
	if (command_has_value(command->kind))
		command->value = unpack_bytes(unpacker, VALUE_SIZE_MAX);
}

static void fence_decode(struct unpacker *unpacker, struct command *command)
{
	command->operation = unpack_u64(unpacker);
	if (command->kind == COMMAND_UNFENCE)
		return;
	if (command->exact && !command->range) {
		command->exact_hash[0] = unpack_u64(unpacker);
		command->exact_hash[1] = unpack_u64(unpacker);
	} else if (command->range) {
		command->hash_first = unpack_u64(unpacker);
		command->hash_last = unpack_u64(unpacker);
		if (command->exact || command->hash_first > command->hash_last)
			unpacker->bad = true;
	} else {
		command->key = unpack_bytes(unpacker, KEY_SIZE_MAX);
	}
}

enum status command_decode(struct bytes body, struct command *command)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, body);
	memset(command, 0, sizeof(*command));
	uint8_t version = unpack_u8(&unpacker);
	uint8_t kind = unpack_u8(&unpacker);
	uint8_t flags = unpack_u8(&unpacker);
	if (unpacker.bad || version == 0)
		return STATUS_CORRUPT;
	if (version != COMMAND_VERSION || kind < COMMAND_PUT || kind > COMMAND_INHERIT)
		return STATUS_UNSUPPORTED;
	if (flags & ~flags_of(kind))
		return STATUS_CORRUPT;
	command->kind = kind;
	command->retry = flags & FLAG_RETRY;
	command->exact = flags & FLAG_EXACT;
	command->range = flags & FLAG_RANGE;
	command->map_epoch = unpack_u64(&unpacker);
	if (command_is_write(kind))
		write_decode(&unpacker, command);
	else if (command_moves(kind))
		move_decode(&unpacker, command);
	else
		fence_decode(&unpacker, command);
	if (unpack_end(&unpacker))
		return STATUS_OK;
	memset(command, 0, sizeof(*command));
	return STATUS_CORRUPT;
}

uint32_t command_rows(struct bytes body)
{
	struct command command;
	struct unpacker rows;
	struct command_row row;
	uint32_t count = 0;
	if (body.size < 2 || !command_moves(((const uint8_t *)body.data)[1]))
		return 1;
	if (command_decode(body, &command) != STATUS_OK || command.kind == COMMAND_INHERIT)
		return 0;
	unpack_init(&rows, command.value);
	while (command_row_next(command.kind, &rows, &row))
		count++;
	return count;
}
