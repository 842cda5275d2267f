/* storage/erasures.c: see storage/erasures.h and docs/storage.md. */
#include "storage/erasures.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/pack.h"
#include "storage/disk.h"

enum { VERSION = 1, HEAD_SIZE = 16, ITEM_SIZE = 37, CHECK_SIZE = 8 };
static const char magic[8] = { 'D', 'O', 'M', 'E', 'R', 'A', 'S', '\n' };

static enum status path_of(const char *dir, const char *name, char path[DISK_PATH_MAX])
{
	int length = snprintf(path, DISK_PATH_MAX, "%s/%s", dir, name);
	return length > 0 && length < DISK_PATH_MAX ? STATUS_OK : STATUS_TOO_LARGE;
}

static size_t size_of(uint32_t count)
{
	return HEAD_SIZE + (size_t)count * ITEM_SIZE + CHECK_SIZE;
}

struct erasure *erasures_find(const struct erasures *erasures, uint64_t replica)
{
	uint32_t first = 0, behind = erasures->count;
	while (first < behind) {
		uint32_t middle = first + (behind - first) / 2;
		if (erasures->at[middle].replica < replica)
			first = middle + 1;
		else
			behind = middle;
	}
	return first < erasures->count && erasures->at[first].replica == replica ? &erasures->at[first] : NULL;
}

enum status erasures_get(struct erasures *erasures, uint64_t replica, struct erasure **out)
{
	*out = erasures_find(erasures, replica);
	if (*out)
		return STATUS_OK;
	if (erasures->count == ERASURES_MAX)
		return STATUS_BUSY;
	if (erasures->count == erasures->capacity) {
		uint32_t capacity = erasures->capacity ? 2 * erasures->capacity : 16;
		struct erasure *at = realloc(erasures->at, capacity * sizeof(*at));
		if (!at)
			return STATUS_NO_MEMORY;
		erasures->at = at;
		erasures->capacity = capacity;
	}
	uint32_t to = erasures->count++;
	for (; to > 0 && erasures->at[to - 1].replica > replica; to--)
		erasures->at[to] = erasures->at[to - 1];
	erasures->at[to] = (struct erasure){ .replica = replica };
	*out = &erasures->at[to];
	return STATUS_OK;
}

void erasures_drop(struct erasures *erasures, uint64_t replica)
{
	struct erasure *erasure = erasures_find(erasures, replica);
	if (!erasure)
		return;
	uint32_t at = (uint32_t)(erasure - erasures->at);
	erasures->count--;
	memmove(erasure, erasure + 1, (erasures->count - at) * sizeof(*erasure));
}

void erasures_deinit(struct erasures *erasures)
{
	free(erasures->at);
	*erasures = (struct erasures){ 0 };
}

/* --- bytes --------------------------------------------------------------------------------------- */

static void encode(const struct erasures *erasures, uint8_t *data, size_t size)
{
	struct packer packer;
	pack_init(&packer, data, size);
	pack_raw(&packer, magic, sizeof(magic));
	pack_u32(&packer, VERSION);
	pack_u32(&packer, erasures->count);
	for (uint32_t i = 0; i < erasures->count; i++) {
		const struct erasure *erasure = &erasures->at[i];
		pack_u64(&packer, erasure->replica);
		pack_u64(&packer, erasure->group);
		pack_u64(&packer, erasure->policy);
		pack_u64(&packer, erasure->since_us);
		pack_u32(&packer, erasure->within_s);
		pack_u8(&packer, erasure->left);
	}
	pack_u64(&packer, hash64(bytes_of(data, packer.size)));
	assert(packer.size == size);
	assert(!packer.overflow);
}

static enum status decode_item(struct unpacker *unpacker, struct erasures *erasures)
{
	uint64_t replica = unpack_u64(unpacker), before = erasures->count;
	struct erasure *erasure;
	enum status status = erasures_get(erasures, replica, &erasure);
	if (status != STATUS_OK)
		return status;
	if (erasures->count == before || replica == 0)
		return STATUS_CORRUPT;
	erasure->group = unpack_u64(unpacker);
	erasure->policy = unpack_u64(unpacker);
	erasure->since_us = unpack_u64(unpacker);
	erasure->within_s = unpack_u32(unpacker);
	erasure->left = unpack_u8(unpacker) == 1;
	return STATUS_OK;
}

static enum status decode(const uint8_t *data, size_t size, struct erasures *erasures)
{
	struct unpacker unpacker, tail;
	if (size < size_of(0) || memcmp(data, magic, sizeof(magic)) != 0)
		return STATUS_CORRUPT;
	unpack_init(&unpacker, bytes_of(data + sizeof(magic), size - sizeof(magic) - CHECK_SIZE));
	uint32_t version = unpack_u32(&unpacker), count = unpack_u32(&unpacker);
	if (version > VERSION)
		return STATUS_UNSUPPORTED;
	unpack_init(&tail, bytes_of(data + size - CHECK_SIZE, CHECK_SIZE));
	if (unpack_u64(&tail) != hash64(bytes_of(data, size - CHECK_SIZE)))
		return STATUS_CORRUPT;
	if (version == 0 || count > ERASURES_MAX || size != size_of(count))
		return STATUS_CORRUPT;
	enum status status = STATUS_OK;
	for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
		status = decode_item(&unpacker, erasures);
	return status;
}

/* --- the file ------------------------------------------------------------------------------------ */

enum status erasures_load(const char *dir, struct erasures *erasures)
{
	char path[DISK_PATH_MAX];
	struct disk_file *file;
	size_t got = 0;
	*erasures = (struct erasures){ 0 };
	enum status status = path_of(dir, "ERASURES", path);
	if (status == STATUS_OK)
		status = disk_open(path, DISK_READ_ONLY, &file);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	uint8_t *data = malloc(size_of(ERASURES_MAX) + 1);
	status = data ? disk_read(file, 0, data, size_of(ERASURES_MAX) + 1, &got) : STATUS_NO_MEMORY;
	disk_close(file);
	if (status == STATUS_OK)
		status = decode(data, got, erasures);
	free(data);
	if (status != STATUS_OK)
		erasures_deinit(erasures);
	return status;
}

static enum status fill(struct disk_file *file, const struct erasures *erasures)
{
	size_t size = size_of(erasures->count);
	uint8_t *data = malloc(size);
	if (!data)
		return STATUS_NO_MEMORY;
	encode(erasures, data, size);
	struct bytes slice = bytes_of(data, size);
	enum status status = disk_write(file, 0, &slice, 1);
	free(data);
	return status == STATUS_OK ? disk_sync(file) : status;
}

enum status erasures_store(const char *dir, const struct erasures *erasures)
{
	char path[DISK_PATH_MAX], fresh[DISK_PATH_MAX];
	struct disk_file *file;
	enum status status = path_of(dir, "ERASURES", path);
	if (status == STATUS_OK)
		status = path_of(dir, "ERASURES.new", fresh);
	if (status != STATUS_OK)
		return status;
	status = disk_remove(fresh); /* of a write that was cut off */
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	status = disk_open(fresh, DISK_CREATE | DISK_EXCLUSIVE, &file);
	if (status != STATUS_OK)
		return status;
	status = fill(file, erasures);
	disk_close(file);
	if (status == STATUS_OK)
		status = disk_rename(fresh, path);
	return status == STATUS_OK ? disk_sync_dir(dir) : status;
}
