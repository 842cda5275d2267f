/* tests/unit/base/test_bytes.c: comparing views of bytes, the empty one with its NULL among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_order(void **state)
{
	(void)state;
	/* ascending */
	const struct bytes rows[] = {
		bytes_of(NULL, 0),
		bytes_of("\0", 1),
		bytes_of("\0\0", 2),
		bytes_text("a"),
		bytes_of("a\0", 2),
		bytes_text("aa"),
		bytes_text("ab"),
		bytes_text("b"),
		bytes_of("\x7f", 1),
		bytes_of("\x80", 1),
		bytes_of("\xff", 1),
		bytes_of("\xff\xff", 2),
	};
	const size_t count = sizeof(rows) / sizeof(rows[0]);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++) {
			assert_int_equal(bytes_compare(rows[i], rows[j]), (i > j) - (i < j));
			assert_int_equal(bytes_equal(rows[i], rows[j]), i == j);
		}
	}
	assert_true(bytes_equal(bytes_of("", 0), bytes_of(NULL, 0)));
	assert_int_equal(bytes_compare(bytes_of("", 0), bytes_of(NULL, 0)), 0);
}

static void test_prefix(void **state)
{
	(void)state;
	struct bytes key = bytes_text("user:1");
	assert_true(bytes_starts_with(key, bytes_text("user:")));
	assert_true(bytes_starts_with(key, key));
	assert_true(bytes_starts_with(key, bytes_text("")));
	assert_true(bytes_starts_with(bytes_of(NULL, 0), bytes_of(NULL, 0)));
	assert_false(bytes_starts_with(key, bytes_text("user:12")));
	assert_false(bytes_starts_with(key, bytes_text("ser")));
	assert_false(bytes_starts_with(bytes_of(NULL, 0), key));
	assert_int_equal(bytes_text(NULL).size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_prefix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
