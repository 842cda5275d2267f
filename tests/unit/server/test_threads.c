/* The threads beside the loop: what they are given is done, comes back on the loop's thread, and nothing is lost at the
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/block_pool.h"
#include "server/journal_thread.h"
#include "storage/journal.h"

enum { JOBS = 2000 };

struct work {
	_Atomic unsigned ran, elsewhere;
	unsigned done, here;
	pthread_t loop;
};

static void job(void *arg)
{
	struct work *work = arg;
	work->ran++;
	work->elsewhere += !pthread_equal(pthread_self(), work->loop);
}

static void done(void *arg)
{
	struct work *work = arg;
	work->done++;
	work->here += pthread_equal(pthread_self(), work->loop) != 0;
}

static void jobs_run_elsewhere_and_end_here(void **state)
{
	(void)state;
	struct event_base *base = event_base_new();
	struct block_pool *pool;
	struct work work = { .loop = pthread_self() };
	assert_int_equal(block_pool_new(base, 2, &pool), STATUS_OK);
	for (unsigned i = 0; i < JOBS; i++)
		block_pool_run(pool, job, done, &work);
	while (work.done < JOBS)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(work.ran, JOBS);
	assert_int_equal(work.elsewhere, JOBS);
	assert_int_equal(work.here, JOBS);
	block_pool_free(pool);
	event_base_free(base);
}

static void the_end_of_the_pool_loses_no_job(void **state)
{
	(void)state;
	struct event_base *base = event_base_new();
	struct block_pool *pool;
	struct work work = { .loop = pthread_self() };
	assert_int_equal(block_pool_new(base, 2, &pool), STATUS_OK);
	for (unsigned i = 0; i < JOBS; i++)
		block_pool_run(pool, job, done, &work);
	block_pool_free(pool);
	assert_int_equal(work.ran, JOBS);
	assert_int_equal(work.done, JOBS);
	event_base_free(base);
}

struct flushing {
	struct journal *journal;
	struct journal_thread *thread;
	uint64_t durable;
	unsigned ended;
};

static void flushed(void *arg, struct journal_flush *flush, enum status status)
{
	struct flushing *flushing = arg;
	assert_int_equal(journal_flush_end(flushing->journal, flush, status, &flushing->durable), STATUS_OK);
	flushing->ended++;
}

static void append(struct flushing *flushing, uint64_t index)
{
	struct journal_entry entry = { .group = 5, .index = index, .term = 1, .body = bytes_text("body") };
	struct journal_flush *flush;
	assert_int_equal(journal_append_entry(flushing->journal, &entry, NULL), STATUS_OK);
	if (!journal_thread_busy(flushing->thread) && journal_flush_begin(flushing->journal, &flush))
		journal_thread_begin(flushing->thread, flush);
}

static void flushes_come_back_one_at_a_time(void **state)
{
	(void)state;
	char directory[] = "/tmp/test-threads-XXXXXX", command[64];
	struct event_base *base = event_base_new();
	struct flushing flushing = { 0 };
	struct journal_recovery nothing = { 0 };
	assert_non_null(mkdtemp(directory));
	char journal[64];
	snprintf(journal, sizeof(journal), "%s/journal", directory);
	struct journal_options options = { .dir = journal, .incarnation = 1, .segment_size = JOURNAL_SEGMENT_SIZE_MIN };
	assert_int_equal(journal_open(&options, &nothing, &flushing.journal), STATUS_OK);
	assert_int_equal(journal_thread_new(base, flushed, &flushing, &flushing.thread), STATUS_OK);
	assert_int_equal(journal_append_state(flushing.journal, 5, 1, 0), STATUS_OK);
	for (uint64_t index = 1; index <= 50; index++) {
		append(&flushing, index);
		event_base_loop(base, index % 5 ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
	}
	assert_true(flushing.ended > 0);
	while (journal_thread_busy(flushing.thread))
		event_base_loop(base, EVLOOP_ONCE);
	/* One under way when the thread ends still ends properly. */
	unsigned before = flushing.ended;
	append(&flushing, 51);
	assert_true(journal_thread_busy(flushing.thread));
	journal_thread_free(flushing.thread);
	assert_int_equal(flushing.ended, before + 1);
	assert_true(flushing.durable == journal_ticket(flushing.journal));
	journal_close(flushing.journal);
	event_base_free(base);
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_run_elsewhere_and_end_here),
		cmocka_unit_test(the_end_of_the_pool_loses_no_job),
		cmocka_unit_test(flushes_come_back_one_at_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
