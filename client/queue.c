/* client/queue.c: from any thread to the loop. Many submissions cost one wake-up: the first after the loop looked
 * writes to the eventfd, the others find `woken` set. Calls hold a reference, so a callback may still be set on a call
 * whose client is closed. Lock order: the queue's lock is never held while another is taken. */
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/client_internal.h"

struct queue *queue_new(void)
{
	struct queue *queue = calloc(1, sizeof(*queue));
	if (!queue)
		return NULL;
	queue->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (queue->wake_fd < 0) {
		free(queue);
		return NULL;
	}
	atomic_init(&queue->refs, 1);
	pthread_mutex_init(&queue->lock, NULL);
	list_init(&queue->calls);
	queue->loop_thread = pthread_self();
	return queue;
}

void queue_ref(struct queue *queue)
{
	atomic_fetch_add_explicit(&queue->refs, 1, memory_order_relaxed);
}

void queue_unref(struct queue *queue)
{
	if (atomic_fetch_sub_explicit(&queue->refs, 1, memory_order_acq_rel) != 1)
		return;
	assert(list_empty(&queue->calls));
	close(queue->wake_fd);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

bool queue_on_loop(const struct queue *queue)
{
	return pthread_equal(queue->loop_thread, pthread_self()) != 0;
}

/* Under the lock: once closed, nobody touches the descriptor. It cannot be full. */
static void wake(struct queue *queue)
{
	uint64_t one = 1;
	if (queue->woken)
		return;
	queue->woken = true;
	ssize_t written = write(queue->wake_fd, &one, sizeof(one));
	assert(written == (ssize_t)sizeof(one));
}

bool queue_push(struct queue *queue, struct dom_call *call)
{
	pthread_mutex_lock(&queue->lock);
	bool open = !queue->closed;
	if (open) {
		list_push_back(&queue->calls, &call->link);
		wake(queue);
	}
	pthread_mutex_unlock(&queue->lock);
	return open;
}

void queue_stop(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->stop = true;
	wake(queue);
	pthread_mutex_unlock(&queue->lock);
}

bool queue_take(struct queue *queue, struct list *calls)
{
	uint64_t count;
	list_init(calls);
	pthread_mutex_lock(&queue->lock);
	if (queue->woken) {
		queue->woken = false;
		ssize_t got = read(queue->wake_fd, &count, sizeof(count));
		assert(got == (ssize_t)sizeof(count));
	}
	for (struct list *link; (link = list_pop_front(&queue->calls));)
		list_push_back(calls, link);
	bool stop = queue->stop;
	pthread_mutex_unlock(&queue->lock);
	return stop;
}

void queue_close(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	pthread_mutex_unlock(&queue->lock);
}
