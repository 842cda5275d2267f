/* wire/resolve.c: see wire/resolve.h. The thread writes `addresses` and `error`, then `done` (release) and the eventfd;
 * the asker reads them only after `done` (acquire). */
#include "wire/resolve.h"

#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RESOLVE_THREADS_MAX = 64, RESOLVE_HOST_MAX = 256, RESOLVE_PORT_MAX = 8 };

struct resolve {
	_Atomic unsigned refs;
	_Atomic bool done;
	int fd;
	int error; /* of getaddrinfo */
	bool passive;
	struct addrinfo *addresses;
	char host[RESOLVE_HOST_MAX], port[RESOLVE_PORT_MAX];
};

static _Atomic unsigned threads;

static bool split(const char *address, struct resolve *resolve)
{
	const char *host = address, *colon = strrchr(address, ':');
	if (!colon)
		return false;
	size_t host_size = (size_t)(colon - address), port_size = strlen(colon + 1);
	if (address[0] == '[') {
		if (host_size < 3 || address[host_size - 1] != ']')
			return false;
		host++;
		host_size -= 2;
	} else if (memchr(address, ':', host_size)) {
		return false; /* an IPv6 address without brackets: which colon is it? */
	}
	if (host_size == 0 || host_size >= sizeof(resolve->host))
		return false;
	if (port_size == 0 || port_size > 5 || strspn(colon + 1, "0123456789") != port_size || atoi(colon + 1) > 65535)
		return false;
	memcpy(resolve->host, host, host_size);
	memcpy(resolve->port, colon + 1, port_size);
	return true;
}

static int look_up(struct resolve *resolve, int flags)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags | (resolve->passive ? AI_PASSIVE : 0),
	};
	return getaddrinfo(resolve->host, resolve->port, &hints, &resolve->addresses);
}

static void *run(void *arg)
{
	struct resolve *resolve = arg;
	resolve->error = look_up(resolve, AI_ADDRCONFIG);
	atomic_store_explicit(&resolve->done, true, memory_order_release);
	uint64_t one = 1;
	ssize_t written = write(resolve->fd, &one, sizeof(one));
	assert(written == sizeof(one)); /* the counter is far from full */
	resolve_release(resolve);
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

/* Signals belong to the main thread. */
static bool start_thread(struct resolve *resolve)
{
	pthread_t thread;
	pthread_attr_t attributes;
	sigset_t all, before;
	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	atomic_fetch_add(&resolve->refs, 1);
	bool started = pthread_create(&thread, &attributes, run, resolve) == 0;
	if (!started)
		atomic_fetch_sub(&resolve->refs, 1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return started;
}

enum status resolve_start(const char *address, bool passive, struct resolve **out)
{
	*out = NULL;
	struct resolve *resolve = calloc(1, sizeof(*resolve));
	if (!resolve)
		return STATUS_NO_MEMORY;
	enum status status = STATUS_INVALID;
	resolve->refs = 1;
	resolve->fd = -1;
	resolve->passive = passive;
	if (!split(address, resolve))
		goto undo;
	if (look_up(resolve, AI_NUMERICHOST) == 0) {
		resolve->done = true;
		*out = resolve;
		return STATUS_OK;
	}
	status = STATUS_BUSY;
	if (atomic_fetch_add(&threads, 1) >= RESOLVE_THREADS_MAX)
		goto undo_count;
	status = STATUS_CANNOT_CONNECT;
	resolve->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (resolve->fd < 0 || !start_thread(resolve))
		goto undo_count;
	*out = resolve;
	return STATUS_OK;
undo_count:
	atomic_fetch_sub(&threads, 1);
undo:
	resolve_release(resolve);
	return status;
}

int resolve_fd(const struct resolve *resolve)
{
	return resolve->fd;
}

bool resolve_done(const struct resolve *resolve)
{
	return atomic_load_explicit(&resolve->done, memory_order_acquire);
}

const struct addrinfo *resolve_answer(struct resolve *resolve, const char **why)
{
	assert(resolve_done(resolve));
	*why = resolve->error ? gai_strerror(resolve->error) : "";
	return resolve->error ? NULL : resolve->addresses;
}

void resolve_release(struct resolve *resolve)
{
	if (!resolve || atomic_fetch_sub(&resolve->refs, 1) != 1)
		return;
	if (resolve->addresses)
		freeaddrinfo(resolve->addresses);
	if (resolve->fd >= 0)
		close(resolve->fd);
	free(resolve);
}
