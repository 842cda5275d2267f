/* Lists of revoked certificates: which are believed, which may follow which, and whom they keep out at a handshake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "tests/unit/wire/authority.h"
#include "wire/revocations.h"
#include "wire/tls.h"

static struct cast cast;

static int set_up(void **state)
{
	(void)state;
	cast_begin(&cast);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cast_end(&cast);
	return 0;
}

static struct revocations *read_list(const char *name)
{
	struct revocations *read;
	const char *why;
	if (revocations_read(authority_path(name, ".pem"), &read, &why) != STATUS_OK)
		fail_msg("%s: %s", name, why);
	return read;
}

static struct revocations *list_of(const struct authority *by, const struct list_form *form)
{
	list_write(by, "list", "w", form);
	return read_list("list");
}

/* --- files ---------------------------------------------------------------------------------------------- */

static void check_unread(enum status wanted, const char *reason)
{
	struct revocations *read;
	const char *why = "";
	assert_int_equal(revocations_read(authority_path("list", ".pem"), &read, &why), wanted);
	assert_null(read);
	if (!strstr(why, reason))
		fail_msg("'%s' does not say '%s'", why, reason);
}

static void edit(const char *command)
{
	char line[300];
	snprintf(line, sizeof(line), "cd %s && %s", authority_directory, command);
	assert_int_equal(system(line), 0);
}

static void files_that_are_no_lists_are_named(void **state)
{
	(void)state;
	check_unread(STATUS_NOT_FOUND, "cannot be read");
	edit(": >list.pem");
	check_unread(STATUS_INVALID, "holds no list");
	edit("cp cas.pem list.pem");
	check_unread(STATUS_INVALID, "holds no list");
	/* Torn at any byte of the second list: never taken for one that names fewer. */
	list_write(&cast.eu, "list", "w", &(struct list_form){ .number = 1 });
	FILE *file = fopen(authority_path("list", ".pem"), "r");
	fseek(file, 0, SEEK_END);
	long first = ftell(file);
	fclose(file);
	list_write(&cast.us, "list", "a", &(struct list_form){ .number = 1, .revoked = { "us-n1" } });
	file = fopen(authority_path("list", ".pem"), "r");
	static char whole[8192];
	long size = (long)fread(whole, 1, sizeof(whole), file);
	fclose(file);
	for (long cut = first + 30; cut < size - 1; cut++) {
		file = fopen(authority_path("list", ".pem"), "w");
		fwrite(whole, 1, (size_t)cut, file);
		fclose(file);
		check_unread(STATUS_INVALID, "damaged or not whole");
	}
	list_write(&cast.eu, "list", "w", &(struct list_form){ .number = 1 });
	list_write(&cast.eu, "list", "a", &(struct list_form){ .number = 2 });
	check_unread(STATUS_INVALID, "the list of 'ca-eu' is there twice");
	list_write(&cast.eu, "list", "w", &(struct list_form){ .number = 1, .extension = "critical,onlyuser:TRUE" });
	check_unread(STATUS_INVALID, "not understood");
	list_write(&cast.eu, "list", "w", &(struct list_form){ .number = 1 });
	edit("truncate -s 16777217 list.pem");
	check_unread(STATUS_TOO_LARGE, "larger than 16 MiB");
}

static void check_follow(const struct list_form *old_form, const struct list_form *fresh_form, enum status wanted)
{
	const char *why;
	struct revocations *old = list_of(&cast.eu, old_form), *fresh = list_of(&cast.eu, fresh_form);
	assert_int_equal(revocations_follow(old, fresh, &why), wanted);
	assert_int_equal(strstr(why, "older") != NULL, wanted != STATUS_OK);
	revocations_unref(old);
	revocations_unref(fresh);
}

static void an_older_or_missing_list_does_not_follow(void **state)
{
	(void)state;
	const char *why;
	check_follow(&(struct list_form){ .number = 4 }, &(struct list_form){ .number = 4 }, STATUS_OK);
	check_follow(&(struct list_form){ .number = 4 }, &(struct list_form){ .number = 300 }, STATUS_OK);
	check_follow(&(struct list_form){ .number = 300 }, &(struct list_form){ .number = 4 }, STATUS_CONFLICT);
	struct revocations *eu = list_of(&cast.eu, &(struct list_form){ .number = 1 });
	struct revocations *us = list_of(&cast.us, &(struct list_form){ .number = 9 });
	list_write(&cast.eu, "list", "a", &(struct list_form){ .number = 1 });
	struct revocations *both = read_list("list");
	assert_int_equal(revocations_follow(NULL, eu, &why), STATUS_OK);
	assert_int_equal(revocations_follow(eu, both, &why), STATUS_OK);
	assert_int_equal(revocations_follow(eu, us, &why), STATUS_CONFLICT);
	assert_non_null(strstr(why, "the list of 'ca-eu' is missing"));
	assert_int_equal(revocations_follow(both, us, &why), STATUS_CONFLICT);
	revocations_unref(eu);
	revocations_unref(us);
	revocations_unref(both);
}

/* --- handshakes ------------------------------------------------------------------------------------------ */

static struct tls_context *context_of(const char *name, struct revocations *revocations)
{
	struct tls_context *context;
	unsigned strangers;
	const char *why;
	assert_int_equal(tls_context_new(authority_path(name, ".crt"), authority_path(name, ".key"),
				 authority_path("cas", ".pem"), &context, &why),
		STATUS_OK);
	if (tls_context_revoke(context, revocations, &strangers, &why) != STATUS_OK)
		fail_msg("%s", why);
	assert_int_equal(strangers, 0);
	return context;
}

static void shake_hands(struct tls *a, struct tls *b)
{
	const char *why;
	for (unsigned turn = 0; turn < 10; turn++) {
		struct tls *const ends[2] = { a, b };
		for (unsigned i = 0; i < 2; i++) {
			struct bytes pending = tls_pending(ends[i]);
			if (pending.size > 0 && tls_feed(ends[!i], pending, &why) == STATUS_OK)
				assert_int_equal(tls_status(ends[!i], &why), STATUS_OK);
			tls_consumed(ends[i], pending.size);
		}
	}
}

/* Does a server with these lists let the client in? And, the other way round, a client such a server? */
static bool lets_in(struct tls_context *door, const char *name)
{
	bool in[2];
	struct tls_context *guest = context_of(name, NULL);
	for (unsigned i = 0; i < 2; i++) {
		const char *why;
		struct tls *inside = tls_new(door, i == 0, i == 0 ? TLS_ALPN_ANY : TLS_ALPN_PEER);
		struct tls *outside = tls_new(guest, i == 1, i == 1 ? TLS_ALPN_ANY : TLS_ALPN_PEER);
		shake_hands(inside, outside);
		in[i] = tls_status(inside, &why) == STATUS_OK && tls_established(inside);
		if (!in[i] && !strstr(why, "certificate revoked"))
			fail_msg("%s: '%s'", name, why);
		tls_free(inside);
		tls_free(outside);
	}
	tls_context_free(guest);
	assert_int_equal(in[0], in[1]);
	return in[0];
}

static void who_is_named_stays_out_and_nobody_else(void **state)
{
	(void)state;
	leaf_write(&cast.us, "us-n2", &(struct leaf_form){ .names = "DNS:n2.a.us-east-1.us.place.acme" });
	list_write(&cast.us, "list", "w", &(struct list_form){ .number = 1, .revoked = { "us-n1" } });
	list_write(&cast.admin, "list", "a", &(struct list_form){ .number = 1, .revoked = { "ops" } });
	struct revocations *lists = read_list("list");
	assert_int_equal(revocations_count(lists), 2);
	struct tls_context *door = context_of("eu-n1", lists);
	revocations_unref(lists); /* the context has its own */
	assert_false(lets_in(door, "us-n1"));
	assert_false(lets_in(door, "ops"));
	assert_true(lets_in(door, "us-n2"));
	assert_true(lets_in(door, "app")); /* its authority has no list */
	tls_context_free(door);
}

/* In both directions of time a list says no to whom it names, and to nobody else. */
static void a_list_past_its_time_still_counts(void **state)
{
	(void)state;
	static const long times[3][2] = { { -7200, -3600 }, { 3600, 7200 }, { -7200, 3600 } };
	leaf_write(&cast.eu, "app2", &(struct leaf_form){ .names = "DNS:app2.client.eu-west-1.ie.eu.place.acme" });
	for (unsigned i = 0; i < 3; i++) {
		struct revocations *list = list_of(&cast.eu,
			&(struct list_form){
				.number = 1, .from_s = times[i][0], .to_s = times[i][1], .revoked = { "app" } });
		struct tls_context *door = context_of("us-n1", list);
		assert_false(lets_in(door, "app"));
		assert_true(lets_in(door, "app2"));
		tls_context_free(door);
		revocations_unref(list);
	}
}

static void lists_change_under_a_context_and_its_connections(void **state)
{
	(void)state;
	struct revocations *none = list_of(&cast.eu, &(struct list_form){ .number = 1 });
	struct tls_context *door = context_of("us-n1", none), *guest = context_of("app", NULL);
	struct tls *inside = tls_new(door, true, TLS_ALPN_ANY), *outside = tls_new(guest, false, TLS_ALPN_CLIENT);
	struct revocations *one = list_of(&cast.eu, &(struct list_form){ .number = 2, .revoked = { "app" } });
	unsigned strangers;
	const char *why;
	assert_false(tls_peer_revoked(inside, one)); /* nobody is there yet */
	shake_hands(inside, outside);
	assert_true(tls_established(inside));
	assert_false(tls_peer_revoked(inside, NULL));
	assert_false(tls_peer_revoked(inside, none));
	assert_true(tls_peer_revoked(inside, one));
	assert_false(tls_peer_revoked(outside, one)); /* us-n1 is not named */
	assert_true(lets_in(door, "app"));
	assert_int_equal(tls_context_revoke(door, one, &strangers, &why), STATUS_OK);
	assert_false(lets_in(door, "app"));
	/* A node whose own certificate is named knows that it would not be accepted. */
	assert_int_equal(tls_context_check(door, NULL, &why), STATUS_OK);
	struct revocations *own = list_of(&cast.us, &(struct list_form){ .number = 1, .revoked = { "us-n1" } });
	assert_int_equal(tls_context_revoke(door, own, &strangers, &why), STATUS_OK);
	assert_int_equal(tls_context_check(door, NULL, &why), STATUS_DENIED);
	assert_non_null(strstr(why, "revoked"));
	tls_free(inside);
	tls_free(outside);
	tls_context_free(door);
	tls_context_free(guest);
	revocations_unref(none);
	revocations_unref(one);
	revocations_unref(own);
}

static void only_the_authority_itself_revokes(void **state)
{
	(void)state;
	unsigned strangers;
	const char *why;
	struct tls_context *door = context_of("us-n1", NULL);
	/* Signed by another: not taken, and what was there stays. */
	struct revocations *forged =
		list_of(&cast.eu, &(struct list_form){ .number = 1, .revoked = { "app" }, .key = cast.us.key });
	assert_int_equal(tls_context_revoke(door, forged, &strangers, &why), STATUS_INVALID);
	assert_non_null(strstr(why, "the list of 'ca-eu' is not signed by that authority"));
	assert_true(lets_in(door, "app"));
	/* Of an authority of the same name with another key, in no cas.pem: it names nobody of the first one's. */
	struct authority twin = authority_new("twin", "critical,permitted;DNS:eu-west-1.ie.eu.place.acme");
	X509_set_subject_name(twin.certificate, X509_get_subject_name(cast.eu.certificate));
	struct revocations *strange = list_of(&twin, &(struct list_form){ .number = 1, .revoked = { "app" } });
	assert_int_equal(tls_context_revoke(door, strange, &strangers, &why), STATUS_OK);
	assert_int_equal(strangers, 1);
	assert_true(lets_in(door, "app"));
	struct tls_context *guest = context_of("app", NULL);
	struct tls *inside = tls_new(door, true, TLS_ALPN_ANY), *outside = tls_new(guest, false, TLS_ALPN_CLIENT);
	shake_hands(inside, outside);
	assert_false(tls_peer_revoked(inside, strange));
	assert_false(tls_peer_revoked(inside, forged));
	tls_free(inside);
	tls_free(outside);
	tls_context_free(guest);
	tls_context_free(door);
	authority_free(&twin);
	revocations_unref(forged);
	revocations_unref(strange);
}

static void the_first_list_that_is_due_is_told(void **state)
{
	(void)state;
	assert_true(revocations_due_s(NULL) == INT64_MAX);
	list_write(&cast.eu, "list", "w", &(struct list_form){ .number = 1, .from_s = -100, .to_s = 500 });
	list_write(&cast.us, "list", "a", &(struct list_form){ .number = 1, .from_s = -100, .to_s = -50 });
	struct revocations *lists = read_list("list");
	int64_t from_now = revocations_due_s(lists) - (int64_t)time(NULL);
	assert_true(from_now >= -60 && from_now <= -49);
	revocations_unref(lists);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_that_are_no_lists_are_named),
		cmocka_unit_test(an_older_or_missing_list_does_not_follow),
		cmocka_unit_test(who_is_named_stays_out_and_nobody_else),
		cmocka_unit_test(a_list_past_its_time_still_counts),
		cmocka_unit_test(lists_change_under_a_context_and_its_connections),
		cmocka_unit_test(only_the_authority_itself_revokes),
		cmocka_unit_test(the_first_list_that_is_due_is_told),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
