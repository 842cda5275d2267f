/* storage/disk.c: storage/disk.h on POSIX. One function a system call or two; the loops against short reads, short
 * writes and signals, and the translation of errno, are here and nowhere else in storage/. */
#define _GNU_SOURCE /* statx */
#include "storage/disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

struct disk_file {
	int fd;
};

struct disk_lock {
	int fd;
};

enum { ZEROES_SIZE = 64 << 10, SLICES_MAX = 64 };

static enum status status_of(int error)
{
	assert(error != 0);
	switch (error) {
	case ENOENT:
		return STATUS_NOT_FOUND;
	case EEXIST:
	case ENOTEMPTY:
		return STATUS_CONFLICT;
	case ENOSPC:
	case EDQUOT:
		return STATUS_NO_SPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return STATUS_DENIED;
	case ENAMETOOLONG:
		return STATUS_TOO_LARGE;
	case ENOMEM:
		return STATUS_NO_MEMORY;
	default:
		return STATUS_IO;
	}
}

enum status disk_open(const char *path, unsigned flags, struct disk_file **file)
{
	assert(path);
	assert(!(flags & DISK_EXCLUSIVE) || (flags & DISK_CREATE));
	*file = NULL;
	struct disk_file *opened = malloc(sizeof(*opened));
	if (!opened)
		return STATUS_NO_MEMORY;
	int mode = flags & DISK_READ_ONLY ? O_RDONLY : O_RDWR;
	if (flags & DISK_CREATE)
		mode |= O_CREAT;
	if (flags & DISK_EXCLUSIVE)
		mode |= O_EXCL;
	do
		opened->fd = open(path, mode | O_CLOEXEC, 0600);
	while (opened->fd < 0 && errno == EINTR);
	if (opened->fd < 0) {
		int error = errno;
		free(opened);
		return status_of(error);
	}
	*file = opened;
	return STATUS_OK;
}

void disk_close(struct disk_file *file)
{
	if (!file)
		return;
	(void)close(file->fd);
	free(file);
}

enum status disk_size(struct disk_file *file, uint64_t *size)
{
	struct stat st;
	if (fstat(file->fd, &st) != 0)
		return status_of(errno);
	assert(st.st_size >= 0);
	*size = (uint64_t)st.st_size;
	return STATUS_OK;
}

enum status disk_kind(const char *path, enum disk_kind *kind)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return status_of(errno);
	*kind = S_ISREG(st.st_mode) ? DISK_FILE : S_ISDIR(st.st_mode) ? DISK_DIRECTORY : DISK_OTHER;
	return STATUS_OK;
}

enum status disk_read(struct disk_file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
	assert(data || size == 0);
	uint8_t *to = data;
	*got = 0;
	while (*got < size) {
		ssize_t n = pread(file->fd, to + *got, size - *got, (off_t)(offset + *got));
		if (n == 0)
			break;
		if (n > 0)
			*got += (size_t)n;
		else if (errno != EINTR && errno != EAGAIN)
			return status_of(errno);
	}
	assert(*got <= size);
	return STATUS_OK;
}

/* Fills iov with what is left behind the first `skip` bytes of the slices. */
static int gather(struct iovec *iov, const struct bytes *slices, size_t count, size_t skip)
{
	int used = 0;
	for (size_t i = 0; i < count && used < SLICES_MAX; i++) {
		if (skip >= slices[i].size) {
			skip -= slices[i].size;
			continue;
		}
		iov[used].iov_base = (void *)((uintptr_t)slices[i].data + skip);
		iov[used].iov_len = slices[i].size - skip;
		skip = 0;
		used++;
	}
	return used;
}

enum status disk_write(struct disk_file *file, uint64_t offset, const struct bytes *slices, size_t count)
{
	assert(slices || count == 0);
	struct iovec iov[SLICES_MAX];
	size_t done = 0, size = 0;
	for (size_t i = 0; i < count; i++)
		size += slices[i].size;
	while (done < size) {
		int used = gather(iov, slices, count, done);
		assert(used > 0);
		ssize_t n = pwritev(file->fd, iov, used, (off_t)(offset + done));
		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			return STATUS_IO;
		else if (errno != EINTR && errno != EAGAIN)
			return status_of(errno);
	}
	assert(done == size);
	return STATUS_OK;
}

enum status disk_sync(struct disk_file *file)
{
	return fdatasync(file->fd) == 0 ? STATUS_OK : status_of(errno);
}

enum status disk_allocate(struct disk_file *file, uint64_t size)
{
	static const uint8_t zeroes[ZEROES_SIZE];
	uint64_t have = 0;
	enum status status = disk_size(file, &have);
	while (status == STATUS_OK && have < size) {
		struct bytes slice = bytes_of(zeroes, size - have < ZEROES_SIZE ? (size_t)(size - have) : ZEROES_SIZE);
		status = disk_write(file, have, &slice, 1);
		have += slice.size;
	}
	return status;
}

enum status disk_rename(const char *from, const char *to)
{
	return rename(from, to) == 0 ? STATUS_OK : status_of(errno);
}

enum status disk_remove(const char *path)
{
	return unlink(path) == 0 ? STATUS_OK : status_of(errno);
}

enum status disk_make_dir(const char *path)
{
	if (mkdir(path, 0700) == 0)
		return STATUS_OK;
	if (errno != EEXIST)
		return status_of(errno);
	struct stat st;
	if (stat(path, &st) != 0)
		return status_of(errno);
	return S_ISDIR(st.st_mode) ? STATUS_OK : STATUS_CONFLICT;
}

static int open_dir(const char *path)
{
	int fd;
	do
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd;
}

enum status disk_sync_dir(const char *path)
{
	int fd = open_dir(path);
	if (fd < 0)
		return status_of(errno);
	enum status status = fsync(fd) == 0 ? STATUS_OK : status_of(errno);
	(void)close(fd);
	return status;
}

enum status disk_list(const char *dir, disk_list_fn *fn, void *arg)
{
	DIR *stream = opendir(dir);
	if (!stream)
		return status_of(errno);
	enum status status = STATUS_OK;
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(stream);
		if (!entry) {
			if (errno != 0)
				status = status_of(errno);
			break;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (!fn(arg, entry->d_name))
			break;
	}
	(void)closedir(stream);
	return status;
}

enum status disk_lock(const char *dir, struct disk_lock **lock)
{
	char path[DISK_PATH_MAX];
	*lock = NULL;
	int length = snprintf(path, sizeof(path), "%s/LOCK", dir);
	if (length < 0 || (size_t)length >= sizeof(path))
		return STATUS_TOO_LARGE;
	struct disk_lock *held = malloc(sizeof(*held));
	if (!held)
		return STATUS_NO_MEMORY;
	do
		held->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	while (held->fd < 0 && errno == EINTR);
	if (held->fd < 0) {
		int error = errno;
		free(held);
		return status_of(error);
	}
	if (flock(held->fd, LOCK_EX | LOCK_NB) != 0) {
		int error = errno;
		disk_unlock(held);
		return error == EWOULDBLOCK ? STATUS_CONFLICT : status_of(error);
	}
	*lock = held;
	return STATUS_OK;
}

void disk_unlock(struct disk_lock *lock)
{
	if (!lock)
		return;
	(void)close(lock->fd);
	free(lock);
}

enum status disk_free_bytes(const char *dir, uint64_t *bytes)
{
	struct statvfs st;
	if (statvfs(dir, &st) != 0)
		return status_of(errno);
	*bytes = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
	return STATUS_OK;
}

enum status disk_file_birth(struct disk_file *file, uint64_t *inode, uint64_t *birth_ns)
{
	struct statx st;
	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0)
		return status_of(errno);
	*inode = st.stx_ino;
	*birth_ns = 0;
	if (st.stx_mask & STATX_BTIME)
		*birth_ns = (uint64_t)st.stx_btime.tv_sec * 1000000000u + st.stx_btime.tv_nsec;
	return STATUS_OK;
}
