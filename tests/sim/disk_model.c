/* tests/sim/disk_model.c: storage/disk.h for the simulator: files in memory, with an undo list of what was not synced.
 */
#include "tests/sim/disk_model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/disk.h"

enum { SECTOR = 512 };

struct undo {
	struct undo *before;
	uint64_t offset, size_before; /* of the file */
	size_t size;
	uint8_t old[]; /* what stood there; beyond the end: zeroes */
};

struct inode {
	uint32_t refs;				  /* names (current and durable) and open handles */
	uint64_t number, size, capacity, written; /* written: the highest byte ever written */
	uint8_t *data;
	struct undo *undo; /* newest first */
};

struct name {
	char text[128];
	struct inode *inode; /* NULL: a directory */
};
struct names {
	size_t count, capacity;
	struct name *at;
};
struct directory {
	struct directory *next;
	char path[DISK_PATH_MAX];
	struct names current, durable;
};

struct root { /* what belongs to one node: everything under its dir */
	struct root *next;
	char dir[256];
	uint64_t generation, quota, used;
	bool skip_sync, fail_sync, locked;
};

struct disk_file {
	struct inode *inode;
	struct root *root;
	uint64_t generation;
	bool read_only;
};
struct disk_lock {
	struct root *root;
	uint64_t generation;
};

static struct directory *directories;
static struct root *roots;
static uint64_t inode_next = 1, syncs;

static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

/* --- inodes ---------------------------------------------------------------------------------------------------------
 */

static void undo_clear(struct inode *inode)
{
	while (inode->undo != NULL) {
		struct undo *undo = inode->undo;

		inode->undo = undo->before;
		free(undo);
	}
}

static void inode_unref(struct inode *inode)
{
	if (inode == NULL || --inode->refs > 0)
		return;
	undo_clear(inode);
	free(inode->data);
	free(inode);
}

static void inode_reserve(struct inode *inode, uint64_t size)
{
	uint64_t capacity = inode->capacity == 0 ? 4096 : inode->capacity;

	if (size <= inode->capacity)
		return;
	while (capacity < size)
		capacity *= 2;
	inode->data = must(realloc(inode->data, capacity));
	memset(inode->data + inode->capacity, 0, capacity - inode->capacity);
	inode->capacity = capacity;
}

static void inode_write(struct inode *inode, uint64_t offset, const void *data, size_t size, bool zeroes)
{
	struct undo *undo;

	inode_reserve(inode, offset + size);
	if (!zeroes) {
		undo = must(malloc(sizeof(*undo) + size));
		undo->offset = offset;
		undo->size = size;
		undo->size_before = inode->size;
		memcpy(undo->old, inode->data + offset, size);
		undo->before = inode->undo;
		inode->undo = undo;
		memcpy(inode->data + offset, data, size);
		if (offset + size > inode->written)
			inode->written = offset + size;
	}
	if (offset + size > inode->size)
		inode->size = offset + size;
}

/* Un-synced writes, newest first: each is undone, kept, or undone from some sector on. */
static void inode_power_cut(struct inode *inode, struct prng *prng)
{
	while (inode->undo != NULL) {
		struct undo *undo = inode->undo;
		uint64_t choice = prng_below(prng, 4), from = 0;

		inode->undo = undo->before;
		if (choice == 0)
			from = undo->size;
		else if (choice == 1)
			from = prng_below(prng, undo->size / SECTOR + 1) * SECTOR;
		if (from < undo->size)
			memcpy(inode->data + undo->offset + from, undo->old + from, undo->size - from);
		free(undo);
	}
}

/* --- names ----------------------------------------------------------------------------------------------------------
 */

static void names_set(struct names *names, const char *text, struct inode *inode)
{
	assert(strlen(text) < sizeof(names->at[0].text));
	if (inode != NULL)
		inode->refs++;
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->at[i].text, text) == 0) {
			inode_unref(names->at[i].inode);
			names->at[i].inode = inode;
			return;
		}
	}
	if (names->count == names->capacity) {
		names->capacity = names->capacity * 2 + 8;
		names->at = must(realloc(names->at, names->capacity * sizeof(struct name)));
	}
	strcpy(names->at[names->count].text, text);
	names->at[names->count++].inode = inode;
}

static void names_remove(struct names *names, size_t at)
{
	inode_unref(names->at[at].inode);
	names->count--;
	memmove(names->at + at, names->at + at + 1, (names->count - at) * sizeof(struct name));
}

static void names_copy(struct names *to, const struct names *from)
{
	while (to->count > 0)
		names_remove(to, to->count - 1);
	for (size_t i = 0; i < from->count; i++)
		names_set(to, from->at[i].text, from->at[i].inode);
}

static size_t names_find(const struct names *names, const char *text)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->at[i].text, text) == 0)
			return i;
	}
	return SIZE_MAX;
}

static struct directory *directory_of(const char *path)
{
	struct directory *directory;

	for (directory = directories; directory != NULL; directory = directory->next) {
		if (strcmp(directory->path, path) == 0)
			return directory;
	}
	directory = must(calloc(1, sizeof(*directory)));
	strcpy(directory->path, path);
	directory->next = directories;
	directories = directory;
	return directory;
}

static const char *split(const char *path, char parent[DISK_PATH_MAX])
{
	const char *slash = strrchr(path, '/');

	assert(slash != NULL);
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	return slash + 1;
}

static bool under(const char *path, const char *dir)
{
	size_t size = strlen(dir);

	return strncmp(path, dir, size) == 0 && (path[size] == '\0' || path[size] == '/');
}

static struct root *root_of(const char *path)
{
	struct root *root;
	size_t size;

	for (root = roots; root != NULL; root = root->next) {
		if (under(path, root->dir))
			return root;
	}
	/* The first component names the node. */
	root = must(calloc(1, sizeof(*root)));
	size = strcspn(path + 1, "/") + 1;
	assert(size < sizeof(root->dir));
	memcpy(root->dir, path, size);
	root->quota = UINT64_MAX;
	root->next = roots;
	roots = root;
	return root;
}

/* --- faults ---------------------------------------------------------------------------------------------------------
 */

void disk_model_crash(const char *dir)
{
	struct root *root = root_of(dir);

	root->generation++;
	root->locked = false;
	root->skip_sync = false;
	root->fail_sync = false;
}

void disk_model_power_cut(const char *dir, struct prng *prng)
{
	disk_model_crash(dir);
	for (struct directory *directory = directories; directory != NULL; directory = directory->next) {
		if (!under(directory->path, dir))
			continue;
		if (prng_below(prng, 2) == 0)
			names_copy(&directory->current, &directory->durable);
		else
			names_copy(&directory->durable, &directory->current);
		for (size_t i = 0; i < directory->current.count; i++) {
			if (directory->current.at[i].inode != NULL)
				inode_power_cut(directory->current.at[i].inode, prng);
		}
	}
}

void disk_model_skip_sync(const char *dir, bool skip)
{
	root_of(dir)->skip_sync = skip;
}

void disk_model_fail_sync(const char *dir, bool fail)
{
	root_of(dir)->fail_sync = fail;
}

void disk_model_quota(const char *dir, uint64_t free_bytes)
{
	struct root *root = root_of(dir);

	root->quota = free_bytes == UINT64_MAX ? UINT64_MAX : root->used + free_bytes;
}

bool disk_model_flip(const char *dir, const char *part, struct prng *prng)
{
	for (struct directory *directory = directories; directory != NULL; directory = directory->next) {
		for (size_t i = 0; under(directory->path, dir) && i < directory->current.count; i++) {
			struct inode *inode = directory->current.at[i].inode;

			if (inode == NULL || inode->undo != NULL || inode->written == 0 ||
				strstr(directory->current.at[i].text, part) == NULL)
				continue;
			inode->data[prng_below(prng, inode->written)] ^= (uint8_t)(1u << prng_below(prng, 8));
			return true;
		}
	}
	return false;
}

void disk_model_files(const char *dir, disk_model_file_fn *fn, void *arg)
{
	char path[DISK_PATH_MAX + 130];

	for (struct directory *directory = directories; directory != NULL; directory = directory->next) {
		for (size_t i = 0; under(directory->path, dir) && i < directory->current.count; i++) {
			const struct inode *inode = directory->current.at[i].inode;

			if (inode == NULL)
				continue;
			strcpy(path, directory->path);
			strcat(path, "/");
			strcat(path, directory->current.at[i].text);
			fn(arg, path, bytes_of(inode->data, inode->size));
		}
	}
}

void disk_model_reset(void)
{
	while (directories != NULL) {
		struct directory *directory = directories;
		struct names none = { 0 };

		directories = directory->next;
		names_copy(&directory->current, &none);
		names_copy(&directory->durable, &none);
		free(directory->current.at);
		free(directory->durable.at);
		free(directory);
	}
	while (roots != NULL) {
		struct root *root = roots;

		roots = root->next;
		free(root);
	}
	inode_next = 1;
}

uint64_t disk_model_syncs(void)
{
	return syncs;
}

/* --- storage/disk.h -------------------------------------------------------------------------------------------------
 */

static bool dead(const struct disk_file *file)
{
	return file->generation != file->root->generation;
}

enum status disk_open(const char *path, unsigned flags, struct disk_file **out)
{
	char parent[DISK_PATH_MAX];
	const char *name = split(path, parent);
	struct directory *directory = directory_of(parent);
	size_t at = names_find(&directory->current, name);
	struct disk_file *file;
	struct inode *inode;

	if (at == SIZE_MAX && !(flags & DISK_CREATE))
		return STATUS_NOT_FOUND;
	if (at != SIZE_MAX && (flags & DISK_CREATE) && (flags & DISK_EXCLUSIVE))
		return STATUS_CONFLICT;
	if (at == SIZE_MAX) {
		inode = must(calloc(1, sizeof(*inode)));
		inode->number = inode_next++;
		names_set(&directory->current, name, inode);
	} else {
		inode = directory->current.at[at].inode;
	}
	file = must(calloc(1, sizeof(*file)));
	file->inode = inode;
	inode->refs++;
	file->root = root_of(path);
	file->generation = file->root->generation;
	file->read_only = (flags & DISK_READ_ONLY) != 0;
	*out = file;
	return STATUS_OK;
}

void disk_close(struct disk_file *file)
{
	if (file == NULL)
		return;
	inode_unref(file->inode);
	free(file);
}

enum status disk_size(struct disk_file *file, uint64_t *size)
{
	*size = file->inode->size;
	return STATUS_OK;
}

enum status disk_kind(const char *path, enum disk_kind *kind)
{
	char parent[DISK_PATH_MAX];
	const char *name = split(path, parent);
	const struct directory *directory = directory_of(parent);

	for (size_t i = 0; i < directory->current.count; i++) {
		if (strcmp(directory->current.at[i].text, name) != 0)
			continue;
		*kind = directory->current.at[i].inode == NULL ? DISK_DIRECTORY : DISK_FILE;
		return STATUS_OK;
	}
	return STATUS_NOT_FOUND;
}

enum status disk_read(struct disk_file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
	uint64_t there = offset >= file->inode->size ? 0 : file->inode->size - offset;

	*got = there < size ? (size_t)there : size;
	if (*got > 0)
		memcpy(data, file->inode->data + offset, *got);
	return STATUS_OK;
}

static bool charge(struct root *root, const struct inode *inode, uint64_t end)
{
	if (end <= inode->size)
		return true;
	if (root->used + (end - inode->size) > root->quota)
		return false;
	root->used += end - inode->size;
	return true;
}

enum status disk_write(struct disk_file *file, uint64_t offset, const struct bytes *slices, size_t count)
{
	assert(!file->read_only);
	if (dead(file))
		return STATUS_OK;
	for (size_t i = 0; i < count; i++) {
		if (!charge(file->root, file->inode, offset + slices[i].size))
			return STATUS_NO_SPACE;
		if (slices[i].size > 0)
			inode_write(file->inode, offset, slices[i].data, slices[i].size, false);
		offset += slices[i].size;
	}
	return STATUS_OK;
}

enum status disk_sync(struct disk_file *file)
{
	if (dead(file) || file->root->skip_sync)
		return STATUS_OK;
	if (file->root->fail_sync)
		return STATUS_IO;
	syncs++;
	undo_clear(file->inode);
	return STATUS_OK;
}

enum status disk_allocate(struct disk_file *file, uint64_t size)
{
	if (dead(file) || size <= file->inode->size)
		return STATUS_OK;
	if (!charge(file->root, file->inode, size))
		return STATUS_NO_SPACE;
	inode_write(file->inode, file->inode->size, NULL, (size_t)(size - file->inode->size), true);
	return STATUS_OK;
}

enum status disk_rename(const char *from, const char *to)
{
	char parent[DISK_PATH_MAX];
	const char *name = split(from, parent);
	struct directory *directory = directory_of(parent);
	size_t at = names_find(&directory->current, name);
	struct inode *inode;

	if (at == SIZE_MAX)
		return STATUS_NOT_FOUND;
	inode = directory->current.at[at].inode;
	inode->refs++;
	names_remove(&directory->current, at);
	name = split(to, parent);
	names_set(&directory_of(parent)->current, name, inode);
	inode_unref(inode);
	return STATUS_OK;
}

enum status disk_remove(const char *path)
{
	char parent[DISK_PATH_MAX];
	const char *name = split(path, parent);
	struct directory *directory = directory_of(parent);
	size_t at = names_find(&directory->current, name);
	struct root *root = root_of(path);

	if (at == SIZE_MAX)
		return STATUS_NOT_FOUND;
	root->used -=
		root->used < directory->current.at[at].inode->size ? root->used : directory->current.at[at].inode->size;
	names_remove(&directory->current, at);
	return STATUS_OK;
}

enum status disk_make_dir(const char *path)
{
	char parent[DISK_PATH_MAX];
	const char *name = split(path, parent);

	if (parent[0] != '\0' && names_find(&directory_of(parent)->current, name) == SIZE_MAX)
		names_set(&directory_of(parent)->current, name, NULL);
	(void)directory_of(path);
	return STATUS_OK;
}

enum status disk_sync_dir(const char *path)
{
	struct root *root = root_of(path);
	struct directory *directory = directory_of(path);

	if (root->skip_sync)
		return STATUS_OK;
	if (root->fail_sync)
		return STATUS_IO;
	names_copy(&directory->durable, &directory->current);
	return STATUS_OK;
}

enum status disk_list(const char *dir, disk_list_fn *fn, void *arg)
{
	const struct directory *directory = directory_of(dir);
	char names[512][128];
	size_t count = 0;

	for (size_t i = 0; i < directory->current.count && count < 512; i++)
		strcpy(names[count++], directory->current.at[i].text);
	for (size_t i = 0; i < count; i++) {
		if (!fn(arg, names[i]))
			break;
	}
	return STATUS_OK;
}

enum status disk_lock(const char *dir, struct disk_lock **lock)
{
	struct root *root = root_of(dir);

	if (root->locked)
		return STATUS_CONFLICT;
	root->locked = true;
	*lock = must(calloc(1, sizeof(**lock)));
	(*lock)->root = root;
	(*lock)->generation = root->generation;
	return STATUS_OK;
}

void disk_unlock(struct disk_lock *lock)
{
	if (lock->generation == lock->root->generation)
		lock->root->locked = false;
	free(lock);
}

enum status disk_free_bytes(const char *dir, uint64_t *bytes)
{
	const struct root *root = root_of(dir);

	*bytes = root->quota == UINT64_MAX  ? UINT64_C(1) << 40
		 : root->quota > root->used ? root->quota - root->used
					    : 0;
	return STATUS_OK;
}

enum status disk_file_birth(struct disk_file *file, uint64_t *inode, uint64_t *birth_ns)
{
	*inode = file->inode->number;
	*birth_ns = 0;
	return STATUS_OK;
}
