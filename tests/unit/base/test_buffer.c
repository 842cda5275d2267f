/* tests/unit/base/test_buffer.c: counting of references, also by several threads (for the thread sanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "base/buffer.h"

static void test_copy_and_share(void **state)
{
	(void)state;
	char source[] = "body";
	struct buffer *buffer = buffer_copy(bytes_text(source));
	assert_non_null(buffer);
	source[0] = 'x';
	assert_true(bytes_equal(buffer_bytes(buffer), bytes_text("body")));
	assert_ptr_equal(buffer_ref(buffer), buffer);
	assert_int_equal(buffer->refs, 2);
	buffer_unref(buffer);
	assert_int_equal(buffer->refs, 1);
	assert_true(bytes_equal(buffer_bytes(buffer), bytes_text("body")));
	buffer_unref(buffer);
}

static void test_empty_and_impossible(void **state)
{
	(void)state;
	struct buffer *empty = buffer_copy(bytes_of(NULL, 0));
	assert_non_null(empty);
	assert_int_equal(buffer_bytes(empty).size, 0);
	buffer_unref(empty);
	buffer_unref(NULL);
	assert_int_equal(buffer_bytes(NULL).size, 0);
	assert_null(buffer_new(SIZE_MAX));
	assert_null(buffer_new(SIZE_MAX - 4));
}

static void *take_and_drop(void *arg)
{
	struct buffer *buffer = arg;
	for (unsigned i = 0; i < 10000; i++) {
		struct buffer *mine = buffer_ref(buffer);
		if (mine->data[i % mine->size] != 'b')
			abort();
		buffer_unref(mine);
	}
	buffer_unref(buffer);
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	enum { THREADS = 4 };
	pthread_t threads[THREADS];
	struct buffer *buffer = buffer_new(64);
	assert_non_null(buffer);
	memset(buffer->data, 'b', buffer->size);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, buffer_ref(buffer)), 0);
	buffer_unref(buffer); /* the last thread frees it */
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy_and_share),
		cmocka_unit_test(test_empty_and_impossible),
		cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
