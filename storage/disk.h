/* storage/disk.h: the only door to the file system for the journal and the identity, so that the simulator can put its
 * own disk behind it. No errno leaves: NOT_FOUND, CONFLICT (exists, or held by another process), NO_SPACE, DENIED,
 * TOO_LARGE (a path too long), NO_MEMORY, IO for all else. Blocking; a file may be used from several threads, but one
 * thread at a time writes it. Nothing here is durable before the disk_sync, or disk_sync_dir, that follows it. */
#ifndef DOMICILE_STORAGE_DISK_H
#define DOMICILE_STORAGE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

struct disk_file;
struct disk_lock;

enum {
	DISK_CREATE = 1,    /* make it, readable by its owner only, if it does not exist */
	DISK_EXCLUSIVE = 2, /* with DISK_CREATE: CONFLICT if it exists */
	DISK_READ_ONLY = 4,
	DISK_PATH_MAX = 1024, /* with the NUL */
};

enum status disk_open(const char *path, unsigned flags, struct disk_file **file) MUST;
void disk_close(struct disk_file *file); /* NULL is fine; says nothing about durability */
enum status disk_size(struct disk_file *file, uint64_t *size) MUST;
enum disk_kind { DISK_FILE = 1, DISK_DIRECTORY, DISK_OTHER }; /* OTHER: opening it may block or do things */
enum status disk_kind(const char *path, enum disk_kind *kind) MUST;
/* As much as there is, up to size: *got < size only at the end of the file. */
enum status disk_read(struct disk_file *file, uint64_t offset, void *data, size_t size, size_t *got) MUST;
/* All slices one after the other at offset, whatever short writes and signals say. After a failure any part may have
 * been written. */
enum status disk_write(struct disk_file *file, uint64_t offset, const struct bytes *slices, size_t count) MUST;
/* fdatasync: what was written before is durable, size included. Never retry one that failed: the kernel may have
 * dropped the pages and would say OK. */
enum status disk_sync(struct disk_file *file) MUST;
/* Grows the file to at least size with real zeroes, so that writing there later changes no metadata and finds its
 * space reserved. Never shrinks. After NO_SPACE the file may have grown in part. */
enum status disk_allocate(struct disk_file *file, uint64_t size) MUST;

enum status disk_rename(const char *from, const char *to) MUST; /* replaces `to` atomically */
enum status disk_remove(const char *path) MUST;			/* a file */
enum status disk_make_dir(const char *path) MUST;		/* OK if it is there already; its parent must be */
enum status disk_sync_dir(const char *path) MUST;		/* names made, changed and removed in it are durable */
/* Every name in it but . and .., in no order, as long as the callback says true. */
typedef bool disk_list_fn(void *arg, const char *name);
enum status disk_list(const char *dir, disk_list_fn *fn, void *arg) MUST;

/* One process at a time: CONFLICT while another holds it. The kernel lets go when the process ends, however it ends. */
enum status disk_lock(const char *dir, struct disk_lock **lock) MUST;
void disk_unlock(struct disk_lock *lock);
enum status disk_free_bytes(const char *dir, uint64_t *bytes) MUST;
/* What a copy of the file does not share with it, and what stays when it is renamed or the machine restarts: its inode
 * number and the time of its birth (0 where the file system keeps none). */
enum status disk_file_birth(struct disk_file *file, uint64_t *inode, uint64_t *birth_ns) MUST;

#endif
