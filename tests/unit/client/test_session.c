/* Session tokens: what one session has seen, another goes on from; damaged ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
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
	assert_int_equal(token.size, 29 + 200 * 16 + 8);
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

/* Every byte counts, and so does every missing one. */
static void test_damaged_tokens(void **state)
{
	(void)state;
	dom_session *session = dom_session_new(fresh);
	session_advance(session, 1, 11);
	session_advance(session, 2, 22);
	dom_bytes token = dom_session_token(session);
	uint8_t copy[72];
	assert_int_equal(token.size, 29 + 2 * 16 + 8);
	for (size_t size = 1; size < token.size; size++) {
		assert_null(dom_session_new((dom_bytes){ token.data, size }));
		assert_non_null(strstr(dom_session_message(), "damaged"));
	}
	for (size_t at = 0; at < token.size; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(copy, token.data, token.size);
			copy[at] ^= (uint8_t)(1u << bit);
			assert_null(dom_session_new((dom_bytes){ copy, token.size }));
			assert_int_equal(dom_session_merge(session, (dom_bytes){ copy, token.size }), DOM_INVALID);
		}
	assert_int_equal(session_index(session, 1), 11);
	memcpy(copy, token.data, token.size);
	copy[0] = 4;
	assert_null(dom_session_new((dom_bytes){ copy, token.size }));
	assert_non_null(strstr(dom_session_message(), "version 4"));
	dom_session *fine = dom_session_new(token);
	assert_non_null(fine);
	assert_string_equal(dom_session_message(), "");
	dom_session_free(fine);
	dom_session_free(session);
}

/* Which of two maps is the newer one, a session knows for good. */
static void test_the_newest_map_is_remembered(void **state)
{
	(void)state;
	dom_session *session = dom_session_new(fresh), *other = dom_session_new(fresh);
	assert_int_equal(session_map_epoch(session), 0);
	session_saw_map(session, 70);
	session_saw_map(session, 69);
	assert_int_equal(session_map_epoch(session), 70);
	dom_session *copy = dom_session_new(dom_session_token(session));
	assert_int_equal(session_map_epoch(copy), 70);
	session_saw_map(other, 60);
	assert_int_equal(dom_session_merge(session, dom_session_token(other)), DOM_OK);
	assert_int_equal(session_map_epoch(session), 70);
	assert_int_equal(dom_session_merge(other, dom_session_token(session)), DOM_OK);
	assert_int_equal(session_map_epoch(other), 70);
	dom_session_free(session);
	dom_session_free(other);
	dom_session_free(copy);
}

/* As libraries wrote them before there was an epoch in them. */
static void test_tokens_of_version_2(void **state)
{
	(void)state;
	const uint8_t acme[16] = { 1 };
	uint8_t token[21 + 16 + 8] = { 2, 1 };
	token[17] = 1, token[21] = 7, token[29] = 70;
	uint64_t hash = hash64(bytes_of(token, 37));
	memcpy(token + 37, &hash, sizeof(hash)); /* little-endian here */
	dom_session *session = dom_session_new((dom_bytes){ token, sizeof(token) });
	assert_non_null(session);
	assert_int_equal(session_index(session, 7), 70);
	assert_int_equal(session_map_epoch(session), 0);
	assert_true(session_join(session, acme));
	dom_session_free(session);
	for (size_t size = 1; size < sizeof(token); size++)
		assert_null(dom_session_new((dom_bytes){ token, size }));
}

/* As libraries wrote them before there was a cluster id and a hash in them. */
static void test_tokens_of_version_1(void **state)
{
	(void)state;
	uint8_t token[5 + 2 * 16] = { 1, 2 };
	token[5] = 7, token[13] = 70;
	token[21] = 9, token[29] = 90;
	dom_session *session = dom_session_new((dom_bytes){ token, sizeof(token) });
	assert_non_null(session);
	assert_int_equal(session_index(session, 7), 70);
	assert_int_equal(session_index(session, 9), 90);
	dom_session_free(session);
	for (size_t size = 1; size < sizeof(token); size++)
		assert_null(dom_session_new((dom_bytes){ token, size }));
	token[21] = 7; /* the same shard twice */
	assert_null(dom_session_new((dom_bytes){ token, sizeof(token) }));
	token[21] = 9, token[5] = 0; /* no shard */
	assert_null(dom_session_new((dom_bytes){ token, sizeof(token) }));
	memset(token + 1, 0xff, 4); /* a claim of more than follows */
	assert_null(dom_session_new((dom_bytes){ token, sizeof(token) }));
}

static void test_merging_takes_the_newer(void **state)
{
	(void)state;
	dom_session *one = dom_session_new(fresh), *two = dom_session_new(fresh);
	session_advance(one, 1, 10);
	session_advance(one, 2, 50);
	session_advance(two, 2, 40);
	session_advance(two, 3, 7);
	session_advance(two, 1, 11);
	assert_int_equal(dom_session_merge(one, dom_session_token(two)), DOM_OK);
	assert_int_equal(session_index(one, 1), 11);
	assert_int_equal(session_index(one, 2), 50);
	assert_int_equal(session_index(one, 3), 7);
	assert_int_equal(session_index(two, 2), 40);
	assert_int_equal(dom_session_merge(one, fresh), DOM_OK);
	dom_session_free(one);
	dom_session_free(two);
}

static void test_of_one_cluster(void **state)
{
	(void)state;
	const uint8_t acme[16] = { 1 }, other[16] = { 2 };
	dom_session *session = dom_session_new(fresh), *foreign = dom_session_new(fresh);
	assert_true(session_join(session, acme)); /* the first one it meets */
	assert_true(session_join(session, acme));
	assert_false(session_join(session, other));
	session_advance(session, 1, 10);
	assert_true(session_join(foreign, other));
	session_advance(foreign, 1, 99);
	assert_int_equal(dom_session_merge(session, dom_session_token(foreign)), DOM_INVALID);
	assert_non_null(strstr(dom_session_message(), "another cluster"));
	assert_int_equal(session_index(session, 1), 10);
	dom_session *copy = dom_session_new(dom_session_token(session)); /* the token says which */
	assert_false(session_join(copy, other));
	assert_true(session_join(copy, acme));
	dom_session_free(copy);
	dom_session_free(session);
	dom_session_free(foreign);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_indexes_only_grow),
		cmocka_unit_test(test_a_token_carries_all),
		cmocka_unit_test(test_damaged_tokens),
		cmocka_unit_test(test_the_newest_map_is_remembered),
		cmocka_unit_test(test_tokens_of_version_2),
		cmocka_unit_test(test_tokens_of_version_1),
		cmocka_unit_test(test_merging_takes_the_newer),
		cmocka_unit_test(test_of_one_cluster),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
