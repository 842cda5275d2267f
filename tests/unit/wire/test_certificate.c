/* What a certificate must look like to be believed, and each way in which it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/wire/authority.h"
#include "wire/certificate.h"

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

static void check_name(
	const char *dns, enum certificate_role role, const char *place, const char *name, const char *cluster)
{
	struct certificate_name read;
	const char *why;
	char back[256];
	assert_int_equal(certificate_name_parse(dns, &read, &why), STATUS_OK);
	assert_int_equal(read.role, role);
	assert_string_equal(read.place, place);
	assert_string_equal(read.name, name);
	assert_string_equal(read.cluster, cluster);
	assert_true(certificate_dns_of(&read, back, sizeof(back)));
	assert_string_equal(back, dns);
	assert_false(certificate_dns_of(&read, back, strlen(dns)));
}

static void names_are_read_and_written(void **state)
{
	(void)state;
	check_name("n1.a.eu-west-1.ie.eu.place.acme", CERTIFICATE_NODE, "eu/ie/eu-west-1/a/n1", "n1", "acme");
	check_name("n1.a.lan-a.place.x", CERTIFICATE_NODE, "lan-a/a/n1", "n1", "x");
	check_name("app1.client.eu-west-1.ie.eu.place.acme", CERTIFICATE_CLIENT, "eu/ie/eu-west-1", "app1", "acme");
	check_name("ops.admin.acme", CERTIFICATE_ADMIN, "", "ops", "acme");
	check_name("place.admin.acme", CERTIFICATE_ADMIN, "", "place", "acme");
	check_name("client.a.r.place.acme", CERTIFICATE_NODE, "r/a/client", "client", "acme");
	check_name("h.g.f.e.d.c.b.a.place.acme", CERTIFICATE_NODE, "a/b/c/d/e/f/g/h", "h", "acme");
}

static void wrong_names_are_refused(void **state)
{
	(void)state;
	char label64[80], deep[400];
	memset(label64, 'a', 64);
	strcpy(label64 + 64, ".a.r.place.acme");
	deep[0] = '\0';
	for (unsigned i = 0; i < 5; i++)
		strcat(deep, "a1234567890123456789012345678901234567890123456789012345678.");
	strcat(deep, "place.acme");
	const char *const wrong[] = { "", ".", "acme", "place.acme", "n1.place.acme", "a.r.place.acme",
		"N1.a.r.place.acme", "n_1.a.r.place.acme", "n1..r.place.acme", "n1.a.r.place.acme.",
		".n1.a.r.place.acme", "*.a.r.place.acme", "n1.a.r.site.acme", "x.client.place.acme", "ops.x.admin.acme",
		"admin.acme", "n1.a.r.place.ac me", "i.h.g.f.e.d.c.b.a.place.acme",
		"z.i.h.g.f.e.d.c.b.a.x.y.place.acme", label64, deep };
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct certificate_name read;
		const char *why = NULL;
		if (certificate_name_parse(wrong[i], &read, &why) == STATUS_OK)
			fail_msg("accepted: '%s'", wrong[i]);
		assert_int_equal(read.role, 0);
		assert_true(why && why[0]);
	}
}

static void check_leaf(const struct leaf_form *form, const char *reason)
{
	struct certificate_name name;
	const char *why = "";
	leaf_write(&cast.eu, "leaf", form);
	X509 *leaf = certificate_load(authority_path("leaf", ".crt"));
	enum status status = certificate_name_of(leaf, &name, &why);
	X509_free(leaf);
	if (!reason) {
		assert_int_equal(status, STATUS_OK);
		assert_string_equal(name.place, "eu/ie/eu-west-1/a/n1");
		return;
	}
	if (status != STATUS_DENIED)
		fail_msg("accepted, but: %s", reason);
	if (!strstr(why, reason))
		fail_msg("'%s' does not say '%s'", why, reason);
}

#define RIGHT "DNS:n1.a.eu-west-1.ie.eu.place.acme"

static void leaves_are_judged_by_their_form(void **state)
{
	(void)state;
	check_leaf(&(struct leaf_form){ .names = RIGHT }, NULL);
	check_leaf(&(struct leaf_form){ .names = RIGHT ",DNS:n2.a.eu-west-1.ie.eu.place.acme" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = RIGHT "," RIGHT }, "more than one");
	check_leaf(&(struct leaf_form){ .names = RIGHT ",DNS:n1.a.us-east-1.us.place.acme" }, "more than one");
	check_leaf(
		&(struct leaf_form){ .names = RIGHT ",DNS:app1.client.eu-west-1.ie.eu.place.acme" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = RIGHT ",DNS:www.example.net" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = RIGHT ",otherName:1.2.3.4;UTF8:n2" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = RIGHT ",RID:1.2.3.4" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = "otherName:1.2.3.4;UTF8:n1.a.eu-west-1.ie.eu.place.acme" },
		"not a DNS name");
	check_leaf(&(struct leaf_form){ .names = RIGHT ",URI:spiffe://acme/n1" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = RIGHT ",IP:127.0.0.1" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = RIGHT ",email:a@b.example" }, "more than one");
	check_leaf(&(struct leaf_form){ .names = "URI:spiffe://acme/n1" }, "not a DNS name");
	check_leaf(&(struct leaf_form){ .names = "IP:127.0.0.1" }, "not a DNS name");
	check_leaf(&(struct leaf_form){ .names = "" }, "no subject alternative name");
	check_leaf(&(struct leaf_form){ .names = "DNS:N1.a.eu-west-1.ie.eu.place.acme" }, "lower-case");
	check_leaf(&(struct leaf_form){ .names = RIGHT, .extended = "serverAuth" }, "extended key usage");
	check_leaf(&(struct leaf_form){ .names = RIGHT, .extended = "clientAuth" }, "extended key usage");
	check_leaf(&(struct leaf_form){ .names = RIGHT, .usage = "digitalSignature" }, "critical");
	check_leaf(&(struct leaf_form){ .names = RIGHT, .usage = "critical,keyAgreement" }, "lacks digitalSignature");
	check_leaf(&(struct leaf_form){ .names = RIGHT, .usage = "critical,digitalSignature,cRLSign" }, "signing");
	check_leaf(&(struct leaf_form){ .names = RIGHT, .basic = "critical,CA:TRUE" }, "an authority's");
}

/* A NUL in the name must not end it: n1...acme\0.evil. */
static void a_nul_in_the_name_is_refused(void **state)
{
	(void)state;
	static const char text[] = "n1.a.eu-west-1.ie.eu.place.acme\0.evil";
	struct certificate_name name;
	const char *why = "";
	leaf_write(&cast.eu, "leaf", &(struct leaf_form){ .names = "" });
	X509 *leaf = certificate_load(authority_path("leaf", ".crt"));
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *one = GENERAL_NAME_new();
	ASN1_IA5STRING *string = ASN1_IA5STRING_new();
	ASN1_STRING_set(string, text, sizeof(text) - 1);
	GENERAL_NAME_set0_value(one, GEN_DNS, string);
	sk_GENERAL_NAME_push(names, one);
	assert_int_equal(X509_add1_ext_i2d(leaf, NID_subject_alt_name, names, 0, 0), 1);
	GENERAL_NAMES_free(names);
	assert_int_equal(certificate_name_of(leaf, &name, &why), STATUS_DENIED);
	assert_non_null(strstr(why, "NUL"));
	X509_free(leaf);
}

/* Two lists of one name each are two names: neither is believed, not even when they agree. */
static void a_second_list_of_names_is_refused(void **state)
{
	(void)state;
	static const char *const second[] = { RIGHT, "DNS:n2.a.eu-west-1.ie.eu.place.acme", "URI:spiffe://acme/n1" };
	for (unsigned i = 0; i < 3; i++) {
		struct certificate_name name;
		const char *why = "";
		leaf_write(&cast.eu, "leaf", &(struct leaf_form){ .names = RIGHT });
		X509 *leaf = certificate_load(authority_path("leaf", ".crt"));
		add_extension(leaf, cast.eu.certificate, NID_subject_alt_name, second[i]);
		X509_sign(leaf, cast.eu.key, EVP_sha256());
		assert_int_equal(certificate_name_of(leaf, &name, &why), STATUS_DENIED);
		if (!strstr(why, "more than one list") && !strstr(why, "malformed"))
			fail_msg("'%s'", why);
		assert_int_equal(name.role, 0);
		X509_free(leaf);
	}
}

static void check_authority(const char *constraints, const char *reason)
{
	const char *why = "";
	struct authority made = authority_new("ca-try", constraints);
	enum status status = certificate_check_region_ca(made.certificate, "eu/ie/eu-west-1", "acme", &why);
	authority_free(&made);
	assert_int_equal(status, reason ? STATUS_INVALID : STATUS_OK);
	if (reason && !strstr(why, reason))
		fail_msg("'%s' does not say '%s'", why, reason);
}

static void a_regions_authority_is_bound_to_exactly_its_place(void **state)
{
	(void)state;
	const char *why;
	check_authority("critical,permitted;DNS:eu-west-1.ie.eu.place.acme", NULL);
	check_authority("critical,permitted;DNS:.eu-west-1.ie.eu.place.acme", NULL);
	check_authority(NULL, "no critical name constraint");
	check_authority("permitted;DNS:eu-west-1.ie.eu.place.acme", "no critical name constraint");
	check_authority("critical,permitted;DNS:ie.eu.place.acme", "not exactly");
	check_authority("critical,permitted;DNS:eu-west-1.ie.eu.place.other", "not exactly");
	check_authority("critical,permitted;DNS:eu-west-1.ie.eu.place.acme,permitted;DNS:us.place.acme", "not exactly");
	check_authority("critical,permitted;DNS:eu-west-1.ie.eu.place.acme,excluded;DNS:x.acme", "not exactly");
	check_authority("critical,permitted;email:eu-west-1.ie.eu.place.acme", "not exactly");
	X509 *leaf = certificate_load(authority_path("eu-n1", ".crt"));
	assert_int_equal(certificate_check_region_ca(leaf, "eu/ie/eu-west-1", "acme", &why), STATUS_INVALID);
	assert_non_null(strstr(why, "no authority's"));
	X509_free(leaf);
}

static void pem_becomes_der_and_keys_have_digests(void **state)
{
	(void)state;
	char pem[4096];
	uint8_t der[2048], a[32], b[32];
	size_t size;
	FILE *file = fopen(authority_path("ca-eu", ".crt"), "r");
	size_t pem_size = fread(pem, 1, sizeof(pem), file);
	fclose(file);
	assert_int_equal(certificate_pem_to_der(bytes_of(pem, pem_size), der, sizeof(der), &size), STATUS_OK);
	const unsigned char *at = der;
	X509 *back = d2i_X509(NULL, &at, (long)size);
	assert_int_equal(X509_cmp(back, cast.eu.certificate), 0);
	assert_int_equal(certificate_spki_sha256(back, a), STATUS_OK);
	assert_int_equal(certificate_spki_sha256(cast.eu.certificate, b), STATUS_OK);
	assert_memory_equal(a, b, 32);
	assert_int_equal(certificate_spki_sha256(cast.us.certificate, b), STATUS_OK);
	assert_memory_not_equal(a, b, 32);
	X509_free(back);
	assert_int_equal(certificate_pem_to_der(bytes_of(pem, pem_size), der, 10, &size), STATUS_TOO_LARGE);
	assert_int_equal(certificate_pem_to_der(bytes_of(pem, pem_size / 2), der, sizeof(der), &size), STATUS_INVALID);
	assert_int_equal(certificate_pem_to_der(bytes_of(NULL, 0), der, sizeof(der), &size), STATUS_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read_and_written),
		cmocka_unit_test(wrong_names_are_refused),
		cmocka_unit_test(leaves_are_judged_by_their_form),
		cmocka_unit_test(a_nul_in_the_name_is_refused),
		cmocka_unit_test(a_second_list_of_names_is_refused),
		cmocka_unit_test(a_regions_authority_is_bound_to_exactly_its_place),
		cmocka_unit_test(pem_becomes_der_and_keys_have_digests),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
