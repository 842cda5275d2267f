/* The certificates that the tools make are those that nodes accept, and no others can be made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tools/cert.c"
#include "tools/pki.c"
#include "tools/pki_revoke.c"
#include "wire/revocations.h"
#include "wire/tls.h"

static char root[64];
static char said[2048];
static struct text out;

static const char *under(const char *name)
{
	static char paths[64][256];
	static unsigned turn;
	char *path = paths[turn++ % 64];
	snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
	return path;
}

static struct text *fresh(void)
{
	text_init(&out, said, sizeof(said));
	return &out;
}

static void check(enum status status, enum status expected, const char *part)
{
	if (status != expected || (part && !strstr(said, part)))
		fail_msg("status %s, said '%s'", status_name(status), said);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/test-pki-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	struct cert_args eu = { .ca_dir = under("cas"), .cluster = "acme", .place = "eu/ie/eu-west-1" };
	struct cert_args us = { .ca_dir = under("cas"), .cluster = "acme", .place = "us/us-east-1" };
	struct cert_args admin = { .ca_dir = under("cas"), .cluster = "acme", .admin = true };
	check(cert_create_ca(&eu, fresh()), STATUS_OK, "ca-eu-west-1.crt");
	check(cert_create_ca(&us, fresh()), STATUS_OK, "ca-us-east-1.crt");
	check(cert_create_ca(&admin, fresh()), STATUS_OK, "ca-admin.crt");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static struct cert_args args_of(const char *to, const char *place)
{
	return (struct cert_args){ .ca_dir = under("cas"), .out = under(to), .cluster = "acme", .place = place };
}

static unsigned mode_of(const char *path)
{
	struct stat about;
	assert_int_equal(stat(path, &about), 0);
	return about.st_mode & 0777;
}

static void leaves_are_accepted_by_nodes(void **state)
{
	(void)state;
	struct tls_context *node, *client;
	const char *why;
	struct cert_args n1 = args_of("n1", "eu/ie/eu-west-1/a/n1"), app = args_of("app", "us/us-east-1");
	check(cert_create_node(&n1, fresh()), STATUS_OK, "made the node certificate");
	check(cert_create_client(&app, fresh()), STATUS_OK, "made the client certificate");
	assert_int_equal(tls_context_new(under("n1/node.crt"), under("n1/node.key"), under("n1/cas.pem"), &node, &why),
		STATUS_OK);
	assert_int_equal(tls_context_new(under("app/client-us-east-1.crt"), under("app/client-us-east-1.key"),
				 under("app/cas.pem"), &client, &why),
		STATUS_OK);
	assert_int_equal(tls_context_check(node, NULL, &why), STATUS_OK);
	struct tls *a = tls_new(client, false, TLS_ALPN_CLIENT), *b = tls_new(node, true, TLS_ALPN_ANY);
	for (unsigned turn = 0; turn < 6; turn++) {
		struct tls *from = turn % 2 ? b : a, *to = turn % 2 ? a : b;
		struct bytes pending = tls_pending(from);
		assert_int_equal(tls_feed(to, pending, &why), STATUS_OK);
		tls_consumed(from, pending.size);
	}
	assert_true(tls_established(b));
	struct certificate_name name;
	assert_int_equal(certificate_name_of(tls_peer_certificate(b), &name, &why), STATUS_OK);
	assert_string_equal(name.place, "us/us-east-1");
	assert_string_equal(name.name, "app");
	tls_free(a);
	tls_free(b);
	tls_context_free(node);
	tls_context_free(client);
}

static void keys_are_private_and_nothing_is_overwritten(void **state)
{
	(void)state;
	struct pki_info before, after;
	struct cert_args n2 = args_of("n2", "eu/ie/eu-west-1/a/n2"), n3 = args_of("a/b/n3", "eu/ie/eu-west-1/a/n3");
	struct cert_args eu = { .ca_dir = under("cas"), .cluster = "acme", .place = "eu/ie/eu-west-1" };
	check(cert_create_node(&n2, fresh()), STATUS_OK, NULL);
	check(cert_create_node(&n3, fresh()), STATUS_OK, NULL);
	assert_int_equal(mode_of(under("a/b/n3")), 0700);
	n3.out = under("n2/node.crt/n3");
	check(cert_create_node(&n3, fresh()), STATUS_IO, "n2/node.crt/n3 cannot be made: Not a directory");
	assert_int_equal(mode_of(under("n2")), 0700);
	assert_int_equal(mode_of(under("n2/node.key")), 0600);
	assert_int_equal(mode_of(under("cas/ca-eu-west-1.key")), 0600);
	assert_int_equal(pki_read(under("n2/node.crt"), &before, fresh()), STATUS_OK);
	check(cert_create_node(&n2, fresh()), STATUS_CONFLICT, "not overwritten");
	check(cert_create_ca(&eu, fresh()), STATUS_CONFLICT, "not overwritten");
	assert_int_equal(pki_read(under("n2/node.crt"), &after, fresh()), STATUS_OK);
	assert_memory_equal(before.serial, after.serial, sizeof(before.serial));
	/* A key without its certificate is not overwritten either. */
	assert_int_equal(unlink(under("n2/node.crt")), 0);
	check(cert_create_node(&n2, fresh()), STATUS_CONFLICT, "node.key");
	assert_int_not_equal(access(under("n2/node.crt"), F_OK), 0);
}

static void wrong_names_are_refused(void **state)
{
	(void)state;
	struct cert_args args = args_of("wrong", "eu/ie/eu-west-1");
	check(cert_create_node(&args, fresh()), STATUS_NOT_FOUND,
		"of region eu first"); /* ie/eu-west-1 as zone and node */
	args.place = "eu/ie";
	check(cert_create_node(&args, fresh()), STATUS_INVALID, "malformed");
	args.place = "eu/ie/eu-west-1/client/n1";
	check(cert_create_node(&args, fresh()), STATUS_INVALID, "client");
	args.place = "EU/ie/eu-west-1/a/n1";
	check(cert_create_node(&args, fresh()), STATUS_INVALID, "malformed");
	args.place = "eu/de/eu-west-1/a/n1"; /* the region's name, under another path */
	check(cert_create_node(&args, fresh()), STATUS_INVALID, "name constraint");
	args.place = "eu/ie/eu-west-1/a/n1";
	args.cluster = "other";
	check(cert_create_node(&args, fresh()), STATUS_INVALID, "name constraint");
	args.cluster = "Not A Name";
	check(cert_create_node(&args, fresh()), STATUS_INVALID, "cluster");
	args.cluster = NULL;
	check(cert_create_node(&args, fresh()), STATUS_INVALID, "missing");
	args = args_of("wrong", "eu/ie/eu-west-1");
	args.name = "a.b";
	check(cert_create_client(&args, fresh()), STATUS_INVALID, "components");
	args.name = NULL;
	args.days = PKI_DAYS_MAX + 1;
	check(cert_create_client(&args, fresh()), STATUS_INVALID, "twenty years");
	struct cert_args ca = { .ca_dir = under("cas"), .cluster = "acme", .place = "a/b/c/d/e/f/g" };
	check(cert_create_ca(&ca, fresh()), STATUS_INVALID, "too deep");
	ca.place = "eu/admin";
	check(cert_create_ca(&ca, fresh()), STATUS_INVALID, "admin");
	assert_int_not_equal(access(under("wrong"), F_OK), 0);
}

/* The authority of one region signs a name of another with OpenSSL's own means: nobody believes it. */
static void an_authority_cannot_reach_beyond_its_place(void **state)
{
	(void)state;
	struct pki_key_pair ca = { 0 }, leaf = { 0 };
	struct certificate_name name = {
		.role = CERTIFICATE_NODE, .place = "eu/ie/eu-west-1/a/n1", .name = "n1", .cluster = "acme"
	};
	assert_int_equal(pki_load_authority(under("cas"), "ca-us-east-1", NULL, "acme", &ca, fresh()), STATUS_OK);
	assert_int_equal(make_leaf(&ca, &name, "n1.a.eu-west-1.ie.eu.place.acme", 1, &leaf), STATUS_OK);
	assert_int_equal(pki_make_directory(under("forged"), fresh()), STATUS_OK);
	assert_int_equal(write_pair(under("forged"), "node", &leaf, fresh()), STATUS_OK);
	check(pki_verify(under("forged/node.crt"), NULL, under("n1/cas.pem"), fresh()), STATUS_DENIED,
		"permitted subtree");
	pki_key_pair_free(&ca);
	pki_key_pair_free(&leaf);
}

static void certificates_are_listed_shown_and_verified(void **state)
{
	(void)state;
	struct cert_args ops = args_of("ops", NULL), list = { .ca_dir = under("cas") };
	ops.name = "ops";
	ops.days = 10;
	check(cert_create_admin(&ops, fresh()), STATUS_OK, NULL);
	int64_t now = (int64_t)time(NULL) + 3600; /* clear of the second in which they were made */
	check(cert_list(&list, now, fresh()), STATUS_OK, "admin CA  acme  1825 days left");
	check(STATUS_OK, STATUS_OK, "region CA  eu/ie/eu-west-1 in acme  1825 days left");
	list.ca_dir = under("ops");
	check(cert_list(&list, now + 20 * 86400, fresh()), STATUS_OK, "admin  ops in acme  -11 days: over");
	list.ca_dir = under("nowhere");
	check(cert_list(&list, now, fresh()), STATUS_NOT_FOUND, "cannot be read");
	struct cert_args one = { .file = under("ops/admin.crt"), .key = under("ops/admin.key") };
	check(cert_show(&one, now, fresh()), STATUS_OK, "who         ops in acme\nsigned by   admin CA");
	check(cert_verify(&one, fresh()), STATUS_OK, "would be accepted");
	assert_int_equal(chmod(under("ops/admin.key"), 0644), 0);
	check(cert_verify(&one, fresh()), STATUS_DENIED, "read by others");
	one.key = under("n1/node.key");
	check(cert_verify(&one, fresh()), STATUS_DENIED, "not the certificate's key");
	one.file = under("ops/admin.key");
	check(cert_show(&one, now, fresh()), STATUS_INVALID, "holds no certificate");
}

/* --- revoking ------------------------------------------------------------------------------------------- */

static bool is_named(const struct revocations *lists, const char *file, const char *authority)
{
	X509 *leaf = pki_load_certificate(under(file)), *ca = pki_load_certificate(under(authority));
	assert_non_null(leaf);
	assert_non_null(ca);
	bool named = revocations_hold(lists, leaf, ca);
	X509_free(leaf);
	X509_free(ca);
	return named;
}

static struct revocations *lists_now(void)
{
	struct revocations *lists;
	const char *why;
	if (revocations_read(under("bring/crls.pem"), &lists, &why) != STATUS_OK)
		fail_msg("%s", why);
	return lists;
}

/* What nodes read after it: a list that follows the one before. */
static struct revocations *next_lists(struct revocations *before)
{
	struct revocations *lists = lists_now();
	const char *why;
	if (revocations_follow(before, lists, &why) != STATUS_OK)
		fail_msg("%s", why);
	revocations_unref(before);
	return lists;
}

static void what_is_revoked_is_on_a_list_that_nodes_take(void **state)
{
	(void)state;
	struct tls_context *node;
	unsigned strangers;
	const char *why, *eu = "cas/ca-eu-west-1.crt", *us = "cas/ca-us-east-1.crt";
	struct cert_args r1 = args_of("r1", "eu/ie/eu-west-1/a/r1"), r2 = args_of("r2", "us/us-east-1/a/r2"),
			 admin = args_of("r3", NULL);
	check(cert_create_node(&r1, fresh()), STATUS_OK, NULL);
	check(cert_create_node(&r2, fresh()), STATUS_OK, NULL);
	check(cert_create_admin(&admin, fresh()), STATUS_OK, NULL);
	struct cert_args revoke_r1 = { .ca_dir = under("cas"), .out = under("bring"), .file = under("r1/node.crt") };
	check(cert_revoke(&revoke_r1, fresh()), STATUS_OK, "ca-eu-west-1.crl names 1 and");
	struct revocations *lists = lists_now();
	assert_true(is_named(lists, "r1/node.crt", eu));
	assert_false(is_named(lists, "r2/node.crt", us));
	/* Again: nothing more. Another authority: its own list, both in the sum. */
	check(cert_revoke(&revoke_r1, fresh()), STATUS_OK, "ca-eu-west-1.crl names 1 and");
	lists = next_lists(lists);
	struct cert_args revoke_r2 = revoke_r1, revoke_admin = revoke_r1;
	revoke_r2.file = under("r2/node.crt");
	revoke_admin.file = under("r3/admin.crt");
	check(cert_revoke(&revoke_r2, fresh()), STATUS_OK, "ca-us-east-1.crl names 1 and");
	check(cert_revoke(&revoke_admin, fresh()), STATUS_OK, "ca-admin.crl names 1 and");
	lists = next_lists(lists);
	assert_true(is_named(lists, "r1/node.crt", eu));
	assert_true(is_named(lists, "r2/node.crt", us));
	assert_true(is_named(lists, "r3/admin.crt", "cas/ca-admin.crt"));
	/* By number, where the file is gone; and a list that is only made anew. */
	struct cert_args by_number = { .ca_dir = under("cas"), .out = under("bring"), .place = "eu/ie/eu-west-1" };
	by_number.serial = "0fF3";
	check(cert_revoke(&by_number, fresh()), STATUS_OK, "revoked 0ff3; ");
	check(STATUS_OK, STATUS_OK, "ca-eu-west-1.crl names 2 and");
	by_number.serial = NULL;
	by_number.days = 7;
	check(cert_revoke(&by_number, fresh()), STATUS_OK, "nobody more is revoked");
	check(STATUS_OK, STATUS_OK, "names 2 and is to be made anew within 7 days");
	lists = next_lists(lists);
	int64_t left = revocations_due_s(lists) - (int64_t)time(NULL);
	assert_true(left > 6 * 86400 && left <= 7 * 86400);
	assert_int_equal(revocations_count(lists), 4);
	assert_true(is_named(lists, "r1/node.crt", eu));
	/* And a node takes it. */
	assert_int_equal(tls_context_new(under("r1/node.crt"), under("r1/node.key"), under("r1/cas.pem"), &node, &why),
		STATUS_OK);
	assert_int_equal(tls_context_check(node, NULL, &why), STATUS_OK);
	assert_int_equal(tls_context_revoke(node, lists, &strangers, &why), STATUS_OK);
	assert_int_equal(strangers, 0);
	assert_int_equal(tls_context_check(node, NULL, &why), STATUS_DENIED);
	tls_context_free(node);
	revocations_unref(lists);
}

static void shell(const char *command)
{
	char line[300];
	snprintf(line, sizeof(line), "cd %s/cas && %s", root, command);
	assert_int_equal(system(line), 0);
}

static void what_cannot_be_revoked_leaves_the_list_alone(void **state)
{
	(void)state;
	struct cert_args args = { .ca_dir = under("cas"), .out = under("bring"), .file = under("r1/node.crt") };
	shell("cp ca-eu-west-1.crl kept && cp ../bring/crls.pem sum");
	args.file = under("cas/ca-eu-west-1.crt");
	check(cert_revoke(&args, fresh()), STATUS_INVALID, "an authority's certificate");
	args.file = under("nowhere.crt");
	check(cert_revoke(&args, fresh()), STATUS_NOT_FOUND, "cannot be read");
	args.file = NULL;
	check(cert_revoke(&args, fresh()), STATUS_INVALID, "either --place or --admin");
	args.place = "eu/ie/eu-west-1";
	static const char *const wrong[] = { "", "0", "xyz", "-1", "12 ", "00000000000000000000000000000000000000001" };
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		args.serial = wrong[i];
		check(cert_revoke(&args, fresh()), STATUS_INVALID, "1 to 40 hexadecimal digits");
	}
	args.serial = "12";
	args.place = "ap/sg/ap-southeast-1";
	check(cert_revoke(&args, fresh()), STATUS_NOT_FOUND, "ca-ap-southeast-1.crt cannot be read");
	args.place = "eu/de/eu-west-1"; /* another region of the same last name */
	check(cert_revoke(&args, fresh()), STATUS_INVALID, "not exactly its region's place");
	/* Signed by an authority of the same name with another key. */
	struct cert_args other = { .ca_dir = under("other"), .cluster = "acme", .place = "eu/ie/eu-west-1" };
	check(cert_create_ca(&other, fresh()), STATUS_OK, NULL);
	other.place = "eu/ie/eu-west-1/a/r9";
	other.out = under("r9");
	check(cert_create_node(&other, fresh()), STATUS_OK, NULL);
	args = (struct cert_args){ .ca_dir = under("cas"), .out = under("bring"), .file = under("r9/node.crt") };
	check(cert_revoke(&args, fresh()), STATUS_INVALID, "is not signed by the key of ca-eu-west-1");
	shell("cmp ca-eu-west-1.crl kept && cmp ../bring/crls.pem sum");
	/* A list that is damaged, or another authority's, is not replaced by a shorter one. */
	args.file = under("r1/node.crt");
	shell("head -c 300 kept >ca-eu-west-1.crl && cp ca-eu-west-1.crl torn");
	check(cert_revoke(&args, fresh()), STATUS_INVALID, "is damaged or cannot be read");
	shell("cmp ca-eu-west-1.crl torn && cp ca-us-east-1.crl ca-eu-west-1.crl");
	check(cert_revoke(&args, fresh()), STATUS_INVALID, "is of another authority");
	shell("cmp ca-eu-west-1.crl ca-us-east-1.crl && cp kept ca-eu-west-1.crl");
	/* Another one revokes at this moment. */
	shell("touch ca-eu-west-1.crl.new");
	check(cert_revoke(&args, fresh()), STATUS_CONFLICT, "ca-eu-west-1.crl.new is there already");
	shell("rm ca-eu-west-1.crl.new && cmp ca-eu-west-1.crl kept && cmp ../bring/crls.pem sum && ! ls *.new");
	/* The sum is not made without one of its parts. */
	shell("cp ca-us-east-1.crl us && head -c 300 us >ca-us-east-1.crl");
	check(cert_revoke(&args, fresh()), STATUS_IO, "ca-us-east-1.crl cannot be read or copied");
	shell("cmp ../bring/crls.pem sum && cp us ca-us-east-1.crl && ! ls ../bring/*.new");
	check(cert_revoke(&args, fresh()), STATUS_OK, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_are_accepted_by_nodes),
		cmocka_unit_test(keys_are_private_and_nothing_is_overwritten),
		cmocka_unit_test(wrong_names_are_refused),
		cmocka_unit_test(an_authority_cannot_reach_beyond_its_place),
		cmocka_unit_test(certificates_are_listed_shown_and_verified),
		cmocka_unit_test(what_is_revoked_is_on_a_list_that_nodes_take),
		cmocka_unit_test(what_cannot_be_revoked_leaves_the_list_alone),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
