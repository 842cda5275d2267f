/* tests/unit/base/test_status.c: names, texts and predicates of the statuses; their numbers are a promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"

static void test_numbers_are_kept(void **state)
{
	(void)state;
	static const struct {
		enum status status;
		unsigned number;
		const char *name;
	} promised[] = {
		{ STATUS_OK, 0, "OK" },
		{ STATUS_NOT_FOUND, 1, "NOT_FOUND" },
		{ STATUS_RESIDENCY_REFUSED, 3, "RESIDENCY_REFUSED" },
		{ STATUS_POLICY_MISMATCH, 4, "POLICY_MISMATCH" },
		{ STATUS_QUORUM_UNAVAILABLE, 5, "QUORUM_UNAVAILABLE" },
		{ STATUS_UNKNOWN_OUTCOME, 6, "UNKNOWN_OUTCOME" },
		{ STATUS_TIMED_OUT, 7, "TIMED_OUT" },
		{ STATUS_BUSY, 8, "BUSY" },
		{ STATUS_TOO_LARGE, 9, "TOO_LARGE" },
		{ STATUS_INVALID, 10, "INVALID" },
		{ STATUS_CANNOT_CONNECT, 11, "CANNOT_CONNECT" },
		{ STATUS_CLOSED, 13, "CLOSED" },
		{ STATUS_CONFLICT, 16, "CONFLICT" },
		{ STATUS_NO_MEMORY, 17, "NO_MEMORY" },
		{ STATUS_CANCELLED, 18, "CANCELLED" },
	};
	for (size_t i = 0; i < sizeof(promised) / sizeof(promised[0]); i++) {
		assert_int_equal(promised[i].status, promised[i].number);
		assert_string_equal(status_name(promised[i].status), promised[i].name);
		assert_true(status_known(promised[i].number));
		assert_true(status_text(promised[i].status)[0] != 0);
	}
}

static void test_exit_codes_are_no_status(void **state)
{
	(void)state;
	static const uint32_t reserved[] = { 2, 12, 14, 15, 19, 39, 1000, UINT32_MAX };
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		assert_false(status_known(reserved[i]));
		assert_string_equal(status_name((enum status)reserved[i]), "UNKNOWN");
	}
}

static void test_a_retry_is_never_offered_for_what_may_have_happened(void **state)
{
	(void)state;
	unsigned known = 0, retryable = 0;
	for (uint32_t number = 0; number < 256; number++) {
		known += status_known(number);
		retryable += status_retryable((enum status)number);
		assert_false(status_retryable((enum status)number) && status_maybe_applied((enum status)number));
	}
	assert_true(known > 15);
	assert_true(retryable > 3);
	assert_true(status_maybe_applied(STATUS_UNKNOWN_OUTCOME));
	assert_true(status_retryable(STATUS_BUSY));
	assert_false(status_retryable(STATUS_RESIDENCY_REFUSED));
	assert_true(status_maybe_applied((enum status)200)); /* not known here: promise nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_are_kept),
		cmocka_unit_test(test_exit_codes_are_no_status),
		cmocka_unit_test(test_a_retry_is_never_offered_for_what_may_have_happened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
