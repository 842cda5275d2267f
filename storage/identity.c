/* storage/identity.c: one block, packed little-endian, with a checksum over all of it. It is written to IDENTITY.new,
 * which learns its own inode and birth before it is filled, synced, renamed, and its directory synced. */
#include "storage/identity.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/pack.h"
#include "storage/disk.h"

enum { IDENTITY_VERSION = 1, IDENTITY_SIZE = 512, IDENTITY_CHECK_AT = IDENTITY_SIZE - 8 };
static const char magic[8] = { 'D', 'O', 'M', 'I', 'D', 'E', 'N', '\n' };

struct identity_lock {
	struct disk_lock *lock;
};

enum status identity_lock(const char *dir, struct identity_lock **lock)
{
	*lock = NULL;
	enum status status = disk_make_dir(dir);
	if (status != STATUS_OK)
		return status;
	struct identity_lock *held = malloc(sizeof(*held));
	if (!held)
		return STATUS_NO_MEMORY;
	status = disk_lock(dir, &held->lock);
	if (status != STATUS_OK) {
		free(held);
		return status;
	}
	*lock = held;
	return STATUS_OK;
}

void identity_unlock(struct identity_lock *lock)
{
	if (!lock)
		return;
	disk_unlock(lock->lock);
	free(lock);
}

static enum status path_of(const char *dir, const char *name, char path[DISK_PATH_MAX])
{
	int length = snprintf(path, DISK_PATH_MAX, "%s/%s", dir, name);
	return length >= 0 && length < DISK_PATH_MAX ? STATUS_OK : STATUS_TOO_LARGE;
}

static enum status encode(const struct identity *identity, uint64_t inode, uint64_t birth_ns, uint8_t *block)
{
	struct packer packer;
	memset(block, 0, IDENTITY_SIZE);
	pack_init(&packer, block, IDENTITY_CHECK_AT);
	pack_raw(&packer, magic, sizeof(magic));
	pack_u32(&packer, IDENTITY_VERSION);
	pack_raw(&packer, identity->cluster, sizeof(identity->cluster));
	pack_u64(&packer, identity->node);
	pack_u64(&packer, identity->incarnation);
	pack_u64(&packer, identity->support_max_us);
	pack_u64(&packer, identity->boot);
	pack_u64(&packer, identity->map_epoch);
	pack_u64(&packer, inode);
	pack_u64(&packer, birth_ns);
	pack_text(&packer, identity->name);
	pack_text(&packer, identity->place);
	if (packer.overflow)
		return STATUS_TOO_LARGE;
	uint64_t check = hash64(bytes_of(block, IDENTITY_CHECK_AT));
	pack_init(&packer, block + IDENTITY_CHECK_AT, 8);
	pack_u64(&packer, check);
	return STATUS_OK;
}

static enum status decode(
	const uint8_t *block, size_t size, struct identity *identity, uint64_t *inode, uint64_t *birth_ns)
{
	struct unpacker unpacker;
	if (size < sizeof(magic) + 4 || memcmp(block, magic, sizeof(magic)) != 0)
		return STATUS_CORRUPT;
	unpack_init(&unpacker, bytes_of(block + sizeof(magic), size - sizeof(magic)));
	uint32_t version = unpack_u32(&unpacker);
	bool whole = false;
	if (size == IDENTITY_SIZE) {
		struct unpacker tail;
		unpack_init(&tail, bytes_of(block + IDENTITY_CHECK_AT, 8));
		whole = unpack_u64(&tail) == hash64(bytes_of(block, IDENTITY_CHECK_AT));
	}
	if (version != IDENTITY_VERSION)
		return version > IDENTITY_VERSION ? STATUS_UNSUPPORTED : STATUS_CORRUPT;
	if (!whole)
		return STATUS_CORRUPT;
	struct bytes cluster = unpack_raw(&unpacker, IDENTITY_CLUSTER_SIZE);
	memset(identity, 0, sizeof(*identity));
	if (cluster.size == IDENTITY_CLUSTER_SIZE)
		memcpy(identity->cluster, cluster.data, IDENTITY_CLUSTER_SIZE);
	identity->node = unpack_u64(&unpacker);
	identity->incarnation = unpack_u64(&unpacker);
	identity->support_max_us = unpack_u64(&unpacker);
	identity->boot = unpack_u64(&unpacker);
	identity->map_epoch = unpack_u64(&unpacker);
	*inode = unpack_u64(&unpacker);
	*birth_ns = unpack_u64(&unpacker);
	unpack_text(&unpacker, identity->name, sizeof(identity->name));
	unpack_text(&unpacker, identity->place, sizeof(identity->place));
	return unpacker.bad ? STATUS_CORRUPT : STATUS_OK;
}

enum status identity_load(const char *dir, struct identity *identity)
{
	char path[DISK_PATH_MAX];
	uint8_t block[IDENTITY_SIZE + 1];
	struct disk_file *file;
	size_t got;
	uint64_t inode, birth_ns, inode_bound, birth_bound_ns;
	enum status status = path_of(dir, "IDENTITY", path);
	if (status == STATUS_OK)
		status = disk_open(path, DISK_READ_ONLY, &file);
	if (status != STATUS_OK)
		return status;
	status = disk_read(file, 0, block, sizeof(block), &got);
	if (status == STATUS_OK)
		status = disk_file_birth(file, &inode, &birth_ns);
	disk_close(file);
	if (status == STATUS_OK)
		status = decode(block, got, identity, &inode_bound, &birth_bound_ns);
	if (status != STATUS_OK)
		return status;
	if (inode != inode_bound)
		return STATUS_CONFLICT;
	return birth_ns == birth_bound_ns ? STATUS_OK : STATUS_CONFLICT;
}

static enum status fill(struct disk_file *file, const struct identity *identity)
{
	uint8_t block[IDENTITY_SIZE];
	uint64_t inode, birth_ns;
	enum status status = disk_file_birth(file, &inode, &birth_ns);
	if (status == STATUS_OK)
		status = encode(identity, inode, birth_ns, block);
	if (status != STATUS_OK)
		return status;
	struct bytes slice = bytes_of(block, sizeof(block));
	status = disk_write(file, 0, &slice, 1);
	return status == STATUS_OK ? disk_sync(file) : status;
}

enum status identity_store(const char *dir, const struct identity *identity)
{
	assert(memchr(identity->name, 0, sizeof(identity->name)));
	assert(memchr(identity->place, 0, sizeof(identity->place)));
	char path[DISK_PATH_MAX], fresh[DISK_PATH_MAX];
	struct disk_file *file;
	enum status status = path_of(dir, "IDENTITY", path);
	if (status == STATUS_OK)
		status = path_of(dir, "IDENTITY.new", fresh);
	if (status != STATUS_OK)
		return status;
	status = disk_remove(fresh); /* of a start that was cut off */
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	status = disk_open(fresh, DISK_CREATE | DISK_EXCLUSIVE, &file);
	if (status != STATUS_OK)
		return status;
	status = fill(file, identity);
	disk_close(file);
	if (status == STATUS_OK)
		status = disk_rename(fresh, path);
	return status == STATUS_OK ? disk_sync_dir(dir) : status;
}
