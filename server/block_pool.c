/* server/block_pool.c: see server/block_pool.h. Two lists under one mutex: waiting, and ended. The owner bounds how
 * many jobs there are (a request that waits for one is a pending request). */
#include "server/block_pool.h"

#include <assert.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/list.h"

enum { SPARE_MAX = 256 };

struct job {
	struct list link;
	void (*job)(void *);
	void (*done)(void *);
	void *arg;
};

struct block_pool {
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct list waiting, ended; /* under the mutex */
	bool stop;		    /* likewise */
	struct list spare;	    /* the loop's */
	uint32_t spare_count, thread_count;
	pthread_t threads[BLOCK_POOL_THREADS_MAX];
	int fd;
	struct event *event;
};

static void *run(void *arg)
{
	struct block_pool *pool = arg;
	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		struct list *link;
		while (!(link = list_pop_front(&pool->waiting)) && !pool->stop)
			pthread_cond_wait(&pool->wake, &pool->mutex);
		if (!link)
			break;
		struct job *job = LIST_ENTRY(link, struct job, link);
		pthread_mutex_unlock(&pool->mutex);
		job->job(job->arg);
		pthread_mutex_lock(&pool->mutex);
		bool first = list_empty(&pool->ended);
		list_push_back(&pool->ended, &job->link);
		uint64_t one = 1;
		if (first) {
			ssize_t written = write(pool->fd, &one, sizeof(one));
			assert(written == sizeof(one)); /* the counter is far from full */
		}
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

static void finish(struct block_pool *pool)
{
	for (;;) {
		pthread_mutex_lock(&pool->mutex);
		struct list *link = list_pop_front(&pool->ended);
		pthread_mutex_unlock(&pool->mutex);
		if (!link)
			return;
		struct job *job = LIST_ENTRY(link, struct job, link);
		job->done(job->arg);
		if (pool->spare_count < SPARE_MAX) {
			list_push_front(&pool->spare, &job->link);
			pool->spare_count++;
		} else {
			free(job);
		}
	}
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	(void)what;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		finish(arg);
}

static bool start(struct block_pool *pool, uint32_t threads)
{
	sigset_t all, before;
	sigfillset(&all); /* signals belong to the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (pool->thread_count < threads && pthread_create(&pool->threads[pool->thread_count], NULL, run, pool) == 0)
		pool->thread_count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pool->thread_count == threads;
}

enum status block_pool_new(struct event_base *base, uint32_t threads, struct block_pool **out)
{
	assert(threads > 0);
	assert(threads <= BLOCK_POOL_THREADS_MAX);
	struct block_pool *pool = calloc(1, sizeof(*pool));
	*out = NULL;
	if (!pool)
		return STATUS_NO_MEMORY;
	list_init(&pool->waiting);
	list_init(&pool->ended);
	list_init(&pool->spare);
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pool->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->fd >= 0)
		pool->event = event_new(base, pool->fd, EV_READ | EV_PERSIST, on_event, pool);
	if (!pool->event || event_add(pool->event, NULL) != 0 || !start(pool, threads)) {
		block_pool_free(pool);
		return STATUS_NO_MEMORY;
	}
	*out = pool;
	return STATUS_OK;
}

void block_pool_run(struct block_pool *pool, void (*job_run)(void *), void (*done)(void *), void *arg)
{
	struct list *link = list_pop_front(&pool->spare);
	struct job *job = link ? LIST_ENTRY(link, struct job, link) : malloc(sizeof(*job));
	if (link)
		pool->spare_count--;
	if (!job) {
		job_run(arg);
		done(arg);
		return;
	}
	*job = (struct job){ .job = job_run, .done = done, .arg = arg };
	list_init(&job->link);
	pthread_mutex_lock(&pool->mutex);
	assert(!pool->stop);
	list_push_back(&pool->waiting, &job->link);
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->mutex);
}

void block_pool_free(struct block_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->stop = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->mutex);
	for (uint32_t i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	finish(pool);
	for (struct list *link; (link = list_pop_front(&pool->spare));)
		free(LIST_ENTRY(link, struct job, link));
	if (pool->event)
		event_free(pool->event);
	if (pool->fd >= 0)
		close(pool->fd);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}
