/* storage/engine_label.c: shards/<id>.label: what an engine is, outside of it, for when it cannot be read any more. The
 * bytes are the caller's, below u64 XXH3-64 of them; written to .label.new, synced, renamed, and the directory synced.
 */
#include "storage/engine_internal.h"

#include <assert.h>

#include "base/hash.h"
#include "base/pack.h"

enum { CHECK_SIZE = 8, LABEL_SIZE_MAX = 64 << 20 };

static enum status fill(struct disk_file *file, struct bytes label)
{
	uint8_t check[CHECK_SIZE];
	struct packer packer;
	pack_init(&packer, check, sizeof(check));
	pack_u64(&packer, hash64(label));
	struct bytes slices[2] = { bytes_of(check, sizeof(check)), label };
	enum status status = disk_write(file, 0, slices, 2);
	return status == STATUS_OK ? disk_sync(file) : status;
}

enum status engine_label_write(struct engine_shared *shared, uint64_t id, struct bytes label)
{
	char path[ENGINE_PATH_MAX], fresh[ENGINE_PATH_MAX];
	struct disk_file *file;
	assert(label.size > 0);
	assert(label.size <= LABEL_SIZE_MAX);
	engine_path(shared, id, ".label", path);
	engine_path(shared, id, ".label.new", fresh);
	if (engine_disk_short(shared, label.size))
		return STATUS_NO_SPACE;
	enum status status = disk_remove(fresh);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	status = disk_open(fresh, DISK_CREATE | DISK_EXCLUSIVE, &file);
	if (status != STATUS_OK)
		return status;
	status = fill(file, label);
	disk_close(file);
	if (status == STATUS_OK)
		status = disk_rename(fresh, path);
	return status == STATUS_OK ? disk_sync_dir(shared->dir) : status;
}

static enum status check(struct disk_file *file, struct buffer **label)
{
	uint64_t size = 0;
	uint8_t head[CHECK_SIZE];
	size_t got = 0;
	enum status status = disk_size(file, &size);
	if (status != STATUS_OK)
		return status;
	if (size <= CHECK_SIZE || size > CHECK_SIZE + LABEL_SIZE_MAX)
		return STATUS_CORRUPT;
	struct buffer *bytes = buffer_new((size_t)size - CHECK_SIZE);
	if (!bytes)
		return STATUS_NO_MEMORY;
	status = disk_read(file, 0, head, sizeof(head), &got);
	if (status == STATUS_OK && got == sizeof(head))
		status = disk_read(file, CHECK_SIZE, bytes->data, bytes->size, &got);
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes_of(head, sizeof(head)));
	if (status == STATUS_OK && (got != bytes->size || unpack_u64(&unpacker) != hash64(buffer_bytes(bytes))))
		status = STATUS_CORRUPT;
	if (status == STATUS_OK)
		*label = bytes;
	else
		buffer_unref(bytes);
	return status;
}

enum status engine_label_read(struct engine_shared *shared, uint64_t id, struct buffer **label)
{
	char path[ENGINE_PATH_MAX];
	struct disk_file *file;
	*label = NULL;
	engine_path(shared, id, ".label", path);
	enum status status = disk_open(path, DISK_READ_ONLY, &file);
	if (status != STATUS_OK)
		return status;
	status = check(file, label);
	disk_close(file);
	return status;
}

/* Without its engine a label says nothing. The directory is synced by whoever goes on. */
enum status engine_label_remove(struct engine_shared *shared, uint64_t id)
{
	static const char *const names[] = { ".label", ".label.new" };
	for (unsigned i = 0; i < 2; i++) {
		char path[ENGINE_PATH_MAX];
		engine_path(shared, id, names[i], path);
		enum status status = disk_remove(path);
		if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			return status;
	}
	return STATUS_OK;
}
