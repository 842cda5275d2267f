/* Session tokens: what one session has seen, another goes on from; damaged ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_internal.h"

static const dom_bytes fresh = { NULL, 0 };

static void test_indexes_only_grow(void **state)
{
	(void)state;
	dom_session *session = dom_session_new(fresh);
	assert_int_equal(session_index(session, 5), 0);
	session_advance(session, 5, 10);
	session_advance(session, 5, 7);
	session_advance(session, 5, 0);
	assert_int_equal(session_index(session, 5), 10);
	session_advance(session, 4, 3);
	session_advance(session, 6, 1);
	assert_int_equal(session_index(session, 4), 3);
	assert_int_equal(session_index(session, 5), 10);
	assert_int_equal(session_index(session, 6), 1);
	dom_session_free(session);
}

static void test_a_token_carries_all(void **state)
{
	(void)state;
	dom_session *session = dom_session_new(fresh);
	for (uint64_t shard = 200; shard > 0; shard--)
		session_advance(session, shard * 3, shard * 1000);
	dom_bytes token = dom_session_token(session);
	assert_int_equal(token.size, 5 + 200 * 16);
	dom_session *other = dom_session_new(token);
	assert_non_null(other);
	for (uint64_t shard = 1; shard <= 200; shard++)
		assert_int_equal(session_index(other, shard * 3), shard * 1000);
	assert_int_equal(session_index(other, 4), 0);
	dom_bytes again = dom_session_token(other);
	assert_int_equal(again.size, token.size);
	assert_memory_equal(again.data, token.data, token.size);
	dom_session_free(session);
	dom_session_free(other);
}

static void test_damaged_tokens(void **state)
{
	(void)state;
	dom_session *session = dom_session_new(fresh);
	session_advance(session, 1, 11);
	session_advance(session, 2, 22);
	dom_bytes token = dom_session_token(session);
	uint8_t copy[64];
	for (size_t size = 1; size < token.size; size++)
		assert_null(dom_session_new((dom_bytes){ token.data, size }));
	memcpy(copy, token.data, token.size);
	copy[0] = 2; /* a newer version */
	assert_null(dom_session_new((dom_bytes){ copy, token.size }));
	copy[0] = 1;
	copy[5] = 2; /* the same shard twice */
	assert_null(dom_session_new((dom_bytes){ copy, token.size }));
	copy[5] = 0; /* no shard */
	assert_null(dom_session_new((dom_bytes){ copy, token.size }));
	memset(copy + 1, 0xff, 4); /* a claim of more than follows */
	assert_null(dom_session_new((dom_bytes){ copy, token.size }));
	dom_session_free(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_indexes_only_grow),
		cmocka_unit_test(test_a_token_carries_all),
		cmocka_unit_test(test_damaged_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
