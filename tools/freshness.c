/* tools/freshness.c: see tools/freshness.h. */
#include "tools/freshness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "tools/errors.h"

enum { TOKEN_SIZE_MAX = 256 << 10, LOCK_TRIES = 16 };

static int unusable(const struct invocation *invocation, const char *path, const char *why)
{
	return fail(invocation, "DOM-D003", "the session's file cannot be used",
		"name another file, or remove this one to begin a fresh session", "%s: %s", path, why);
}

/* The file's bytes, for the caller to free. NULL: errno says why. */
static uint8_t *read_whole(int fd, size_t *size)
{
	uint8_t *bytes = malloc(TOKEN_SIZE_MAX + 1);
	ssize_t got = 1;

	if (bytes == NULL)
		return NULL;
	*size = 0;
	while (got != 0) {
		got = read(fd, bytes + *size, TOKEN_SIZE_MAX + 1 - *size);
		if (got > 0)
			*size += (size_t)got;
		if (*size > TOKEN_SIZE_MAX)
			errno = EFBIG;
		if (*size > TOKEN_SIZE_MAX || (got < 0 && errno != EINTR)) {
			free(bytes);
			return NULL;
		}
	}
	return bytes;
}

static int load(struct freshness *freshness, const struct invocation *invocation)
{
	/* Opened for writing too: what cannot be written back is better not begun. */
	int fd = open(freshness->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), code = EXIT_OK;
	uint8_t *bytes;
	size_t size;

	if (fd < 0)
		return unusable(invocation, freshness->path, strerror(errno));
	bytes = read_whole(fd, &size);
	if (bytes == NULL)
		code = unusable(invocation, freshness->path, strerror(errno));
	close(fd);
	if (code == EXIT_OK) {
		freshness->session = dom_session_new((dom_bytes){ bytes, size });
		if (freshness->session == NULL)
			code = unusable(invocation, freshness->path, dom_session_message());
	}
	free(bytes);
	return code;
}

int freshness_begin(struct freshness *freshness, const struct invocation *invocation, dom_options *options)
{
	const char *read = flag_text(invocation, "read");
	uint64_t bound_ms = 0;

	*freshness = (struct freshness){ .path = flag_text(invocation, "session") };
	if (read == NULL)
		options->read = freshness->path != NULL ? DOM_SESSION : DOM_STRONG;
	else if (strcmp(read, "session") == 0)
		options->read = DOM_SESSION;
	else if (strcmp(read, "nearest") == 0)
		options->read = DOM_NEAREST;
	else if (strncmp(read, "bounded=", 8) == 0)
		options->read = DOM_BOUNDED;
	else
		options->read = DOM_STRONG;
	if (options->read == DOM_BOUNDED && (!parse_u64(read + 8, &bound_ms) || bound_ms == 0 || bound_ms > UINT32_MAX))
		return fail(invocation, "DOM-U003", "--read bounded=MS takes milliseconds",
			"give a whole number from 1 on; for none at all `--read strong`", NULL);
	options->staleness_max_ms = (uint32_t)bound_ms;
	if (freshness->path != NULL) {
		int code = load(freshness, invocation);

		if (code != EXIT_OK)
			return code;
	} else if (options->read == DOM_SESSION) {
		freshness->session = dom_session_new((dom_bytes){ 0 });
		if (freshness->session == NULL)
			return fail(invocation, "DOM-X001", "out of memory", NULL, NULL);
	}
	options->session = freshness->session;
	return EXIT_OK;
}

/* --- back into the file ------------------------------------------------------------------------------ */

/* The file that the path names now, locked: a rename may have put another one there while we waited. -1: errno. */
static int open_locked(const char *path)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		struct stat mine, named;
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		if (fd < 0)
			return -1;
		if (flock(fd, LOCK_EX) == 0 && fstat(fd, &mine) == 0 && stat(path, &named) == 0 &&
			mine.st_ino == named.st_ino && mine.st_dev == named.st_dev)
			return fd;
		close(fd);
	}
	errno = EBUSY;
	return -1;
}

static bool write_whole(const char *path, dom_bytes bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t done = 0;

	if (fd < 0)
		return false;
	while (done < bytes.size) {
		ssize_t wrote = write(fd, (const char *)bytes.data + done, bytes.size - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			break;
		done += (size_t)wrote;
	}
	bool synced = fsync(fd) == 0;
	return close(fd) == 0 && synced && done == bytes.size;
}

static int store(struct freshness *freshness, const struct invocation *invocation)
{
	char fresh[PATH_MAX];
	const char *why = NULL;
	size_t size = 0;
	int fd = open_locked(freshness->path);
	uint8_t *seen = fd < 0 ? NULL : read_whole(fd, &size);

	/* The name is safe to share: whoever writes it holds the lock. */
	if (snprintf(fresh, sizeof(fresh), "%s.new", freshness->path) >= (int)sizeof(fresh))
		why = "its name is too long";
	else if (seen == NULL)
		why = strerror(errno);
	else if (dom_session_merge(freshness->session, (dom_bytes){ seen, size }) != DOM_OK)
		why = dom_session_message();
	if (why == NULL) {
		dom_bytes token = dom_session_token(freshness->session);

		if (token.size == 0)
			why = "out of memory";
		else if (!write_whole(fresh, token) || rename(fresh, freshness->path) != 0)
			why = strerror(errno);
	}
	free(seen);
	if (fd >= 0)
		close(fd);
	return why == NULL ? EXIT_OK : unusable(invocation, freshness->path, why);
}

int freshness_end(struct freshness *freshness, const struct invocation *invocation)
{
	int code = EXIT_OK;

	if (freshness->session != NULL && freshness->path != NULL)
		code = store(freshness, invocation);
	if (freshness->session != NULL)
		dom_session_free(freshness->session);
	freshness->session = NULL;
	return code;
}
