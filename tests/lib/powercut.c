/* tests/lib/powercut.c: a power cut for one process, by LD_PRELOAD. Every change to a file under $POWERCUT_DIR is noted
 * before it is made, with the bytes that it replaces; a sync forgets the notes of its file. At the cut, which is a file
 * named .cut in $POWERCUT_DIR (looked for by a thread every few milliseconds), all writers are stopped at the door, the
 * notes are undone from the newest to the oldest, and the process ends with 137. So a file has exactly what was synced;
 * a file that was made, renamed or removed since its directory was last synced is so no more.
 *
 *   POWERCUT_DIR=dir            what is covered; required
 *   POWERCUT_FAIL_SYNC=k        the k-th sync of a file (from 1) fails with EIO, the next ones succeed
 *   dir/.full exists            writes that make a file longer, and allocations, fail with ENOSPC
 *   dir/.cut exists             the cut
 *
 * gcc -shared -fPIC -o libpowercut.so tests/lib/powercut.c -ldl -lpthread
 *
 * Not covered: mmap writes (RocksDB's are off by default), io_uring, hard links. A removed file is kept aside under a
 * hidden name until its directory is synced. */
#undef _FORTIFY_SOURCE /* its inline open and friends would be ours */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS_MAX = 65536, POLL_US = 2000 };

enum change_kind { CHANGE_WRITE, CHANGE_CREATE, CHANGE_RENAME, CHANGE_UNLINK };

struct change {
	struct change *older, *newer;
	enum change_kind kind;
	uint64_t inode;		      /* WRITE: of the file */
	uint64_t offset, size_before; /* WRITE: where, and how long the file was */
	size_t size;		      /* WRITE: bytes kept */
	uint8_t *bytes;
	char *path, *aside; /* WRITE, CREATE: the file; RENAME: from aside to path; UNLINK: kept aside */
	char *replaced;	    /* RENAME: what stood at path, kept aside */
};

static char root[PATH_MAX];
static size_t root_size;
static char *names[FDS_MAX]; /* path of each covered descriptor */
static uint64_t inodes[FDS_MAX];
static struct change *newest, *oldest;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t aside_count;
static long fail_sync, syncs;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_sync_file_range)(int, off64_t, off64_t, unsigned);

static void say(const char *text)
{
	ssize_t n = real_write(2, text, strlen(text));
	(void)n;
}

static void stop(const char *why)
{
	say("powercut: ");
	say(why);
	say("\n");
	_exit(138);
}

static void *must(void *memory)
{
	if (!memory)
		stop("out of memory");
	return memory;
}

static bool covered(const char *path)
{
	return root_size > 0 && strncmp(path, root, root_size) == 0 &&
	       (path[root_size] == '/' || path[root_size] == '\0');
}

/* The path without links and dots of its directory, so that one file has one name. */
static bool full_path(const char *path, char *out)
{
	char copy[PATH_MAX], dir[PATH_MAX];
	const char *name = path;
	if (strlen(path) >= sizeof(copy))
		return false;
	strcpy(copy, path);
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	char *slash = strrchr(copy, '/');
	if (slash) {
		*slash = '\0';
		name = slash + 1;
	} else {
		name = copy;
	}
	if (!realpath(slash ? (copy[0] ? copy : "/") : ".", dir))
		return false;
	return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

static bool control_file(const char *name)
{
	char path[PATH_MAX + 16];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", root, name);
	return stat(path, &st) == 0;
}

/* --- notes ----------------------------------------------------------------------------------------- */

static struct change *note(enum change_kind kind)
{
	struct change *change = must(calloc(1, sizeof(*change)));
	change->kind = kind;
	change->older = newest;
	if (newest)
		newest->newer = change;
	else
		oldest = change;
	newest = change;
	return change;
}

static void forget(struct change *change)
{
	if (change->older)
		change->older->newer = change->newer;
	else
		oldest = change->newer;
	if (change->newer)
		change->newer->older = change->older;
	else
		newest = change->older;
	free(change->bytes);
	free(change->path);
	free(change->aside);
	free(change->replaced);
	free(change);
}

/* Before size bytes at offset of fd change. With the lock. */
static void note_write(int fd, uint64_t offset, size_t size)
{
	struct stat st;
	if (size == 0 || fstat(fd, &st) != 0)
		return;
	struct change *change = note(CHANGE_WRITE);
	change->inode = st.st_ino;
	change->offset = offset;
	change->size_before = (uint64_t)st.st_size;
	change->path = must(strdup(names[fd]));
	if (offset >= change->size_before)
		return;
	size_t kept = change->size_before - offset < size ? (size_t)(change->size_before - offset) : size;
	change->bytes = must(malloc(kept));
	int reader = real_open(names[fd], O_RDONLY | O_CLOEXEC); /* fd may be write-only */
	if (reader < 0) {
		char link[64];
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		reader = real_open(link, O_RDONLY | O_CLOEXEC);
	}
	ssize_t got = reader >= 0 ? pread(reader, change->bytes, kept, (off_t)offset) : -1;
	if (got < 0 || (size_t)got != kept)
		stop("the bytes before a write could not be read");
	real_close(reader);
	change->size = kept;
}

/* `from` is `to` for good: older notes of what is under it, and descriptors, follow. */
static void follow(char **name, const char *from, const char *to)
{
	size_t size = strlen(from);
	char path[2 * PATH_MAX];
	if (!*name || strncmp(*name, from, size) != 0 || ((*name)[size] != '\0' && (*name)[size] != '/'))
		return;
	snprintf(path, sizeof(path), "%s%s", to, *name + size);
	free(*name);
	*name = must(strdup(path));
}

static void forget_rename(struct change *change)
{
	for (struct change *older = change->older; older; older = older->older)
		if (older->kind == CHANGE_WRITE)
			follow(&older->path, change->aside, change->path);
}

static bool dir_is(const char *path, const char *dir)
{
	size_t size = strlen(dir);
	return strncmp(path, dir, size) == 0 && path[size] == '/' && !strchr(path + size + 1, '/');
}

static void forget_synced(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return;
	for (struct change *change = oldest, *next; change; change = next) {
		next = change->newer;
		if (S_ISDIR(st.st_mode)) {
			if (change->kind == CHANGE_WRITE || !dir_is(change->path, names[fd]))
				continue;
			if (change->kind == CHANGE_UNLINK)
				real_unlink(change->aside);
			if (change->replaced)
				real_unlink(change->replaced);
			if (change->kind == CHANGE_RENAME)
				forget_rename(change);
			forget(change);
		} else if (change->kind == CHANGE_WRITE && change->inode == st.st_ino) {
			forget(change);
		}
	}
}

static void undo_write(const struct change *change)
{
	int fd = real_open(change->path, O_WRONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return; /* made and removed since */
	if (fstat(fd, &st) == 0 && st.st_ino == change->inode) {
		if (change->size > 0 && real_pwrite(fd, change->bytes, change->size, (off_t)change->offset) < 0)
			stop("a write could not be undone");
		if (real_ftruncate(fd, (off_t)change->size_before) != 0)
			stop("a length could not be undone");
	}
	real_close(fd);
}

static void undo(const struct change *change)
{
	switch (change->kind) {
	case CHANGE_WRITE:
		undo_write(change);
		break;
	case CHANGE_CREATE:
		real_unlink(change->path);
		break;
	case CHANGE_RENAME:
		real_rename(change->path, change->aside);
		if (change->replaced)
			real_rename(change->replaced, change->path);
		break;
	case CHANGE_UNLINK:
		real_rename(change->aside, change->path);
		break;
	}
}

/* Paths of notes follow their files, so that undoing finds them: newest first, each under the name of its time. */
static void cut(void)
{
	pthread_mutex_lock(&lock); /* never given back: nobody writes any more */
	for (const struct change *change = newest; change; change = change->older)
		undo(change);
	_exit(137);
}

static void *watch(void *arg)
{
	(void)arg;
	while (root_size > 0) {
		if (control_file(".cut"))
			cut();
		usleep(POLL_US);
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
#define REAL(name) real_##name = (__typeof__(real_##name))(uintptr_t)dlsym(RTLD_NEXT, #name)
	REAL(open), REAL(close), REAL(write), REAL(pwrite), REAL(writev), REAL(pwritev), REAL(fsync), REAL(fdatasync);
	REAL(rename), REAL(unlink), REAL(ftruncate), REAL(fallocate), REAL(sync_file_range);
	const char *dir = getenv("POWERCUT_DIR"), *fail = getenv("POWERCUT_FAIL_SYNC");
	pthread_t thread;
	if (!dir || !realpath(dir, root))
		return;
	fail_sync = fail ? atol(fail) : 0;
	root_size = strlen(root);
	if (pthread_create(&thread, NULL, watch, NULL) != 0)
		stop("no thread to watch for the cut");
	pthread_detach(thread);
}

static bool mine(int fd)
{
	struct stat st;
	if (root_size == 0 || fd < 0 || fd >= FDS_MAX || !names[fd])
		return false;
	return fstat(fd, &st) == 0 && st.st_ino == inodes[fd]; /* fclose does not come by our close */
}

/* --- the doors ------------------------------------------------------------------------------------- */

static int open_noted(const char *path, int flags, mode_t mode)
{
	char full[PATH_MAX];
	struct stat st;
	if (root_size == 0 || !full_path(path, full) || !covered(full))
		return real_open(path, flags, mode);
	pthread_mutex_lock(&lock);
	bool there = stat(full, &st) == 0;
	int fd = real_open(path, flags & ~O_TRUNC, mode);
	int error = errno;
	if (fd >= FDS_MAX)
		stop("too many descriptors");
	if (fd >= 0) {
		free(names[fd]);
		names[fd] = must(strdup(full));
		struct stat opened;
		inodes[fd] = fstat(fd, &opened) == 0 ? opened.st_ino : 0;
		if (!there)
			note(CHANGE_CREATE)->path = must(strdup(full));
		if (there && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY && S_ISREG(st.st_mode)) {
			note_write(fd, 0, (size_t)st.st_size);
			real_ftruncate(fd, 0);
		}
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return fd;
}

#define OPEN_DOOR(name)                                                                                                \
	int name(const char *path, int flags, ...)                                                                     \
	{                                                                                                              \
		va_list list;                                                                                          \
		va_start(list, flags);                                                                                 \
		mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;                              \
		va_end(list);                                                                                          \
		return open_noted(path, flags, mode);                                                                  \
	}
int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);
OPEN_DOOR(open)
OPEN_DOOR(open64)

int openat(int dir, const char *path, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
	va_end(list);
	if (dir == AT_FDCWD || path[0] == '/')
		return open_noted(path, flags, mode);
	char full[PATH_MAX];
	char link[64], base[PATH_MAX];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	ssize_t size = readlink(link, base, sizeof(base) - 1);
	if (size < 0)
		return -1;
	base[size] = '\0';
	if (snprintf(full, sizeof(full), "%.*s/%.*s", PATH_MAX / 2, base, PATH_MAX / 2 - 2, path) >= PATH_MAX)
		stop("a path is too long");
	return open_noted(full, flags, mode);
}

int creat(const char *path, mode_t mode)
{
	return open_noted(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* Streams open by themselves inside libc; RocksDB reads CURRENT that way only, never writes. */

int close(int fd)
{
	if (!mine(fd))
		return real_close(fd);
	pthread_mutex_lock(&lock);
	free(names[fd]);
	names[fd] = NULL;
	int code = real_close(fd);
	pthread_mutex_unlock(&lock);
	return code;
}

/* Begins a change of size bytes at offset (-1: where the descriptor stands); false: refused, as a full disk does. */
static bool change_begin(int fd, off_t offset, size_t size)
{
	struct stat st;
	pthread_mutex_lock(&lock);
	if (offset < 0) {
		int flags = fcntl(fd, F_GETFL);
		offset = flags & O_APPEND && fstat(fd, &st) == 0 ? st.st_size : lseek(fd, 0, SEEK_CUR);
	}
	if (fstat(fd, &st) == 0 && (uint64_t)offset + size > (uint64_t)st.st_size && control_file(".full")) {
		pthread_mutex_unlock(&lock);
		errno = ENOSPC;
		return false;
	}
	note_write(fd, (uint64_t)offset, size);
	return true;
}

static size_t total(const struct iovec *iov, int count)
{
	size_t size = 0;
	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	return size;
}

#define THROUGH(type, call)                                                                                            \
	do {                                                                                                           \
		type result = (call);                                                                                  \
		int error = errno;                                                                                     \
		pthread_mutex_unlock(&lock);                                                                           \
		errno = error;                                                                                         \
		return result;                                                                                         \
	} while (0)

ssize_t write(int fd, const void *data, size_t size)
{
	if (!mine(fd))
		return real_write(fd, data, size);
	if (!change_begin(fd, -1, size))
		return -1;
	THROUGH(ssize_t, real_write(fd, data, size));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	if (!mine(fd))
		return real_pwrite(fd, data, size, offset);
	if (!change_begin(fd, offset, size))
		return -1;
	THROUGH(ssize_t, real_pwrite(fd, data, size, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	return pwrite(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	if (!mine(fd))
		return real_writev(fd, iov, count);
	if (!change_begin(fd, -1, total(iov, count)))
		return -1;
	THROUGH(ssize_t, real_writev(fd, iov, count));
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	if (!mine(fd))
		return real_pwritev(fd, iov, count, offset);
	if (!change_begin(fd, offset, total(iov, count)))
		return -1;
	THROUGH(ssize_t, real_pwritev(fd, iov, count, offset));
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
	return pwritev(fd, iov, count, offset);
}

int ftruncate(int fd, off_t size)
{
	struct stat st;
	if (!mine(fd))
		return real_ftruncate(fd, size);
	pthread_mutex_lock(&lock);
	if (fstat(fd, &st) == 0) {
		uint64_t now = (uint64_t)st.st_size, wanted = (uint64_t)size;
		if (wanted < now)
			note_write(fd, wanted, (size_t)(now - wanted));
		else if (wanted > now)
			note_write(fd, now, (size_t)(wanted - now));
	}
	THROUGH(int, real_ftruncate(fd, size));
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	if (!mine(fd))
		return real_fallocate(fd, mode, offset, size);
	if (control_file(".full")) {
		errno = ENOSPC;
		return -1;
	}
	pthread_mutex_lock(&lock);
	if (!(mode & FALLOC_FL_KEEP_SIZE) || mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		note_write(fd, (uint64_t)offset, (size_t)size);
	THROUGH(int, real_fallocate(fd, mode, offset, size));
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
	return fallocate(fd, mode, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
	return fallocate(fd, 0, offset, size) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
	return posix_fallocate(fd, offset, size);
}

/* Promises nothing about durability, so nothing is forgotten. */
int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags)
{
	return real_sync_file_range(fd, offset, size, flags);
}

static int sync_noted(int fd, int (*real)(int))
{
	struct stat st;
	if (!mine(fd))
		return real(fd);
	pthread_mutex_lock(&lock);
	bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	if (file && fail_sync > 0 && ++syncs == fail_sync) {
		pthread_mutex_unlock(&lock);
		errno = EIO;
		return -1;
	}
	int code = real(fd);
	int error = errno;
	if (code == 0)
		forget_synced(fd);
	pthread_mutex_unlock(&lock);
	errno = error;
	return code;
}

int fsync(int fd)
{
	return sync_noted(fd, real_fsync);
}

int fdatasync(int fd)
{
	return sync_noted(fd, real_fdatasync);
}

static char *aside_name(void)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/.aside-%d-%llu", root, (int)getpid(), (unsigned long long)aside_count++);
	return must(strdup(path));
}

int rename(const char *from, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX];
	struct stat st;
	if (root_size == 0 || !full_path(from, a) || !full_path(to, b) || !covered(a) || !covered(b))
		return real_rename(from, to);
	pthread_mutex_lock(&lock);
	char *replaced = stat(b, &st) == 0 && S_ISREG(st.st_mode) ? aside_name() : NULL;
	if (replaced && link(b, replaced) != 0)
		stop("what a rename replaces could not be kept");
	int code = real_rename(from, to);
	int error = errno;
	if (code == 0) {
		struct change *change = note(CHANGE_RENAME);
		change->aside = must(strdup(a));
		change->path = must(strdup(b));
		change->replaced = replaced;
		for (int fd = 0; fd < FDS_MAX; fd++)
			follow(&names[fd], a, b);
	} else if (replaced) {
		real_unlink(replaced);
		free(replaced);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return code;
}

int unlink(const char *path)
{
	char full[PATH_MAX];
	struct stat st;
	if (root_size == 0 || !full_path(path, full) || !covered(full))
		return real_unlink(path);
	pthread_mutex_lock(&lock);
	if (lstat(full, &st) != 0 || !S_ISREG(st.st_mode)) {
		int refused = real_unlink(path);
		int error = errno;
		pthread_mutex_unlock(&lock);
		errno = error;
		return refused;
	}
	char *aside = aside_name();
	int code = real_rename(full, aside);
	int error = errno;
	if (code == 0) {
		struct change *change = note(CHANGE_UNLINK);
		change->path = must(strdup(full));
		change->aside = aside;
	} else {
		free(aside);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return code;
}
