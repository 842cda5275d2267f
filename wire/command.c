/* wire/command.c: see wire/command.h. A body carries the fields of its kind only; the rest come back as zero. It is
 * on disk for as long as the log is: a change of layout is a new COMMAND_VERSION beside this one. */
#include "wire/command.h"

#include <assert.h>
#include <string.h>

#include "wire/message.h"

enum { COMMAND_VERSION = 1 };
enum { FLAG_RETRY = 1 << 0, FLAG_EXACT = 1 << 1 };

static bool command_is_write(uint8_t kind)
{
	return kind == COMMAND_PUT || kind == COMMAND_DELETE || kind == COMMAND_CAS;
}

static bool command_has_value(uint8_t kind)
{
	return kind == COMMAND_PUT || kind == COMMAND_CAS;
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
	} else {
		assert(command->key.size <= KEY_SIZE_MAX);
		pack_bytes(packer, command->key);
	}
}

void command_encode(const struct command *command, struct packer *packer)
{
	bool write = command_is_write(command->kind);
	assert(write || command->kind == COMMAND_FENCE || command->kind == COMMAND_UNFENCE);
	bool retry = write && command->retry;
	bool exact = command->kind == COMMAND_FENCE && command->exact;
	pack_u8(packer, COMMAND_VERSION);
	pack_u8(packer, command->kind);
	pack_u8(packer, (uint8_t)((retry ? FLAG_RETRY : 0) | (exact ? FLAG_EXACT : 0)));
	pack_u64(packer, command->map_epoch);
	if (write)
		write_encode(command, packer);
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
	if (command->exact) {
		command->exact_hash[0] = unpack_u64(unpacker);
		command->exact_hash[1] = unpack_u64(unpacker);
	} else {
		command->key = unpack_bytes(unpacker, KEY_SIZE_MAX);
	}
}

static uint8_t flags_of(uint8_t kind)
{
	if (command_is_write(kind))
		return FLAG_RETRY;
	return kind == COMMAND_FENCE ? FLAG_EXACT : 0;
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
	if (version > COMMAND_VERSION || kind < COMMAND_PUT || kind > COMMAND_UNFENCE)
		return STATUS_UNSUPPORTED;
	if (flags & ~flags_of(kind))
		return STATUS_CORRUPT;
	command->kind = kind;
	command->retry = flags & FLAG_RETRY;
	command->exact = flags & FLAG_EXACT;
	command->map_epoch = unpack_u64(&unpacker);
	if (command_is_write(kind))
		write_decode(&unpacker, command);
	else
		fence_decode(&unpacker, command);
	if (unpack_end(&unpacker))
		return STATUS_OK;
	memset(command, 0, sizeof(*command));
	return STATUS_CORRUPT;
}
