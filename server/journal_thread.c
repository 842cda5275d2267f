/* server/journal_thread.c: see server/journal_thread.h. `flush` is the baton: the loop sets it and waits for the
 * eventfd, the thread takes it, sets `status` and `finished`. All of that under the mutex; it is held for a few
 * instructions. */
#include "server/journal_thread.h"

#include <assert.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "storage/journal.h"

struct journal_thread {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool stop, started, finished; /* under the mutex */
	enum status status;	      /* likewise */
	struct journal_flush *flush;  /* likewise; NULL: idle */
	int fd;
	struct event *event;
	journal_thread_done *done;
	void *arg;
};

static void *run(void *arg)
{
	struct journal_thread *thread = arg;
	pthread_mutex_lock(&thread->mutex);
	for (;;) {
		while (!thread->stop && (!thread->flush || thread->finished))
			pthread_cond_wait(&thread->wake, &thread->mutex);
		if (!thread->flush || thread->finished)
			break; /* to stop, with nothing left to do */
		struct journal_flush *flush = thread->flush;
		pthread_mutex_unlock(&thread->mutex);
		enum status status = journal_flush_run(flush);
		pthread_mutex_lock(&thread->mutex);
		thread->status = status;
		thread->finished = true;
		uint64_t one = 1;
		ssize_t written = write(thread->fd, &one, sizeof(one));
		assert(written == sizeof(one)); /* the counter is far from full */
	}
	pthread_mutex_unlock(&thread->mutex);
	return NULL;
}

static void finish(struct journal_thread *thread)
{
	pthread_mutex_lock(&thread->mutex);
	bool finished = thread->finished;
	struct journal_flush *flush = thread->flush;
	enum status status = thread->status;
	if (finished) {
		thread->flush = NULL;
		thread->finished = false;
	}
	pthread_mutex_unlock(&thread->mutex);
	if (finished)
		thread->done(thread->arg, flush, status);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	(void)what;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		finish(arg);
}

static bool start(struct journal_thread *thread)
{
	sigset_t all, before;
	sigfillset(&all); /* signals belong to the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	thread->started = pthread_create(&thread->thread, NULL, run, thread) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return thread->started;
}

enum status journal_thread_new(
	struct event_base *base, journal_thread_done *done, void *arg, struct journal_thread **out)
{
	struct journal_thread *thread = calloc(1, sizeof(*thread));
	*out = NULL;
	if (!thread)
		return STATUS_NO_MEMORY;
	thread->done = done;
	thread->arg = arg;
	pthread_mutex_init(&thread->mutex, NULL);
	pthread_cond_init(&thread->wake, NULL);
	thread->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (thread->fd >= 0)
		thread->event = event_new(base, thread->fd, EV_READ | EV_PERSIST, on_event, thread);
	if (!thread->event || event_add(thread->event, NULL) != 0 || !start(thread)) {
		journal_thread_free(thread);
		return STATUS_NO_MEMORY;
	}
	*out = thread;
	return STATUS_OK;
}

bool journal_thread_busy(const struct journal_thread *thread)
{
	return thread->flush != NULL; /* only the loop's thread sets and clears it */
}

void journal_thread_begin(struct journal_thread *thread, struct journal_flush *flush)
{
	assert(flush);
	pthread_mutex_lock(&thread->mutex);
	assert(!thread->flush);
	assert(!thread->stop);
	thread->flush = flush;
	pthread_cond_signal(&thread->wake);
	pthread_mutex_unlock(&thread->mutex);
}

void journal_thread_free(struct journal_thread *thread)
{
	if (!thread)
		return;
	if (thread->started) {
		pthread_mutex_lock(&thread->mutex);
		thread->stop = true;
		pthread_cond_signal(&thread->wake);
		pthread_mutex_unlock(&thread->mutex);
		pthread_join(thread->thread, NULL);
		finish(thread);
	}
	if (thread->event)
		event_free(thread->event);
	if (thread->fd >= 0)
		close(thread->fd);
	pthread_cond_destroy(&thread->wake);
	pthread_mutex_destroy(&thread->mutex);
	free(thread);
}
