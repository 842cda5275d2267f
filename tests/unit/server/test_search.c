/* tests/unit/server/test_search.c: a node is searched for administrators only, a slice at a time, at a bounded rate,
 * and what is no question is refused; through the shell, over real connections. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/search.h"
#include "tests/unit/server/shell.h"

static struct needles needles;
static uint8_t secret[NEEDLE_SECRET_SIZE], body[SEARCH_REQUEST_MAX];

static struct message question(const struct search_place *from, uint64_t request)
{
	struct message message = { .kind = MESSAGE_ADMIN, .request = request };
	struct packer packer;
	uint8_t salt[NEEDLE_SALT_SIZE] = { 4 };
	memset(secret, 0x5a, sizeof(secret));
	secret[7] = 1;
	needles_init(&needles, salt, 12345678901);
	needles_add(&needles, 3, secret);
	needles_seal(&needles);
	pack_init(&packer, body, sizeof(body));
	search_request_encode(from, &needles, &packer);
	message.admin.verb = bytes_text("residency.search");
	message.admin.body = pack_result(&packer);
	return message;
}

static void plant(const char *name, off_t at)
{
	char path[1200];
	snprintf(path, sizeof(path), "%s/%s", config.data, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fseeko(file, at, SEEK_SET), 0);
	assert_int_equal(fwrite(secret, sizeof(secret), 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

static void only_administrators(void **state)
{
	(void)state;
	struct search_place from = { 0 };
	struct guest guest = { 0 };
	guest_begin(&guest, "app", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	struct message message = question(&from, 1);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 1);
	assert_int_equal(guest.status, STATUS_DENIED);
	assert_non_null(strstr(guest.detail, "admin certificate"));
	guest_end(&guest);
}

static void what_is_no_question_is_refused(void **state)
{
	(void)state;
	struct search_place from = { 0 };
	struct guest guest = { 0 };
	guest_begin(&guest, "ops", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	struct message message = question(&from, 1);
	message.admin.body.size--;
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 1);
	assert_int_equal(guest.status, STATUS_INVALID);
	message = question(&from, 2);
	body[0] = 99; /* a version of later */
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies == 2);
	assert_int_equal(guest.status, STATUS_UNSUPPORTED);
	guest_end(&guest);
}

/* Two questions at once: one is answered, the other told to wait; and the next slice is not due at once either. */
static void a_slice_at_a_time(void **state)
{
	(void)state;
	static struct search_slice slice;
	struct search_place from = { 0 };
	struct guest guest = { 0 };
	uint32_t statuses[2];
	struct message message = question(&from, 1);
	plant("zz-large", 40 << 20);
	guest_begin(&guest, "ops", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	message.request = 2;
	assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
	UNTIL(guest.replies >= 1);
	statuses[0] = guest.status; /* whoever comes second is told first */
	UNTIL(guest.replies == 2);
	statuses[1] = guest.status;
	assert_int_equal(statuses[0], STATUS_BUSY);
	assert_int_equal(statuses[1], STATUS_OK);
	assert_int_equal(search_slice_decode(bytes_of(guest.bytes, guest.size), &slice), STATUS_OK);
	assert_int_equal(slice.next.stage, SEARCH_FILES);
	assert_string_equal(slice.next.path, "zz-large");
	assert_int_equal(slice.count, 0);
	assert_true(slice.size <= (33 << 20));
	from = slice.next;
	unsigned asked = 2;
	do { /* until its time has come */
		message = question(&from, ++asked);
		assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
		UNTIL(guest.replies == asked);
	} while (guest.status == STATUS_BUSY);
	assert_int_equal(guest.status, STATUS_OK);
	assert_int_equal(search_slice_decode(bytes_of(guest.bytes, guest.size), &slice), STATUS_OK);
	assert_int_equal(slice.next.stage, SEARCH_ENDED);
	assert_int_equal(slice.count, 1);
	assert_int_equal(slice.at[0].of, 3);
	assert_int_equal(slice.at[0].offset, 40 << 20);
	assert_string_equal(slice.at[0].path, "zz-large");
	guest_end(&guest);
}

/* The answer to who has gone meanwhile goes nowhere, and the next one is served. */
static void who_asked_goes_away(void **state)
{
	(void)state;
	struct search_place from = { 0 };
	struct guest guest = { 0 };
	struct message message = question(&from, 1);
	guest_begin(&guest, "ops", TLS_ALPN_CLIENT);
	UNTIL(guest.hello);
	unsigned tries = 0;
	do { /* until its time has come */
		message.request = ++tries;
		assert_int_equal(connection_send(guest.connection, &message), STATUS_OK);
		UNTIL(listener_inflight(server->listener) == 1 || guest.replies == tries);
	} while (guest.replies == tries && guest.status == STATUS_BUSY);
	assert_int_equal(listener_inflight(server->listener), 1);
	connection_close(guest.connection, "gone");
	UNTIL(guest.closed);
	guest_end(&guest);
	UNTIL(listener_inflight(server->listener) == 0);
	struct guest next = { 0 };
	guest_begin(&next, "ops", TLS_ALPN_CLIENT);
	UNTIL(next.hello);
	unsigned asked = 0;
	do {
		message.request = ++asked;
		assert_int_equal(connection_send(next.connection, &message), STATUS_OK);
		UNTIL(next.replies == asked);
	} while (next.status == STATUS_BUSY);
	assert_int_equal(next.status, STATUS_OK);
	guest_end(&next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_administrators),
		cmocka_unit_test(what_is_no_question_is_refused),
		cmocka_unit_test(a_slice_at_a_time),
		cmocka_unit_test(who_asked_goes_away),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
