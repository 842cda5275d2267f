/* An auditor's judgement of one ledger, with real certificates and signatures: whole, changed byte by byte, written
 * anew with a chain that closes, cut, signed by another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/wire/authority.h"
#include "tools/chain.c"
#include "tools/errors.c"
#include "tools/output.c"

#include <cmocka.h> /* behind ours: it makes a macro of `fail` */

static const char place_text[] = "eu/ie/eu-west-1/a/n1";
static const uint8_t cluster[16] = { 7 };
static const uint64_t incarnation = 99, node_id = 2;
static struct cast cast;
static struct trusted trusted;
static uint8_t der[4096];
static size_t der_size;
static EVP_PKEY *key;

static EVP_PKEY *key_of(const char *leaf)
{
	FILE *file = fopen(authority_path(leaf, ".key"), "r");
	assert_non_null(file);
	EVP_PKEY *read = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(read);
	return read;
}

static void take_leaf(const char *leaf)
{
	X509 *certificate = certificate_load(authority_path(leaf, ".crt"));
	unsigned char *at = der;
	der_size = (size_t)i2d_X509(certificate, &at);
	assert_true(der_size > 0 && der_size < sizeof(der));
	X509_free(certificate);
	EVP_PKEY_free(key);
	key = key_of(leaf);
}

static int set_up(void **state)
{
	struct invocation invocation = { 0 };
	(void)state;
	cast_begin(&cast);
	assert_int_equal(trusted_load(&invocation, authority_path("cas", ".pem"), &trusted), EXIT_OK);
	take_leaf("eu-n1");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	key = NULL;
	trusted_free(&trusted);
	cast_end(&cast);
	return 0;
}

/* --- a ledger in memory ------------------------------------------------------------------------------- */

struct written {
	uint8_t bytes[64 << 10];
	size_t size;
	struct ledger_position at;
};

static void write_batch(struct written *written, struct ledger_record *records, uint32_t count)
{
	static uint8_t body[32 << 10];
	struct ledger_position behind = written->at;
	struct packer packer;
	pack_init(&packer, body, sizeof(body));
	for (uint32_t i = 0; i < count; i++) {
		uint8_t digest[SHA256_SIZE], encoded[8192];
		struct packer one;
		records[i].sequence = behind.sequence + 1;
		records[i].time_us = 1000000 * records[i].sequence;
		pack_init(&one, encoded, sizeof(encoded));
		ledger_record_encode(&records[i], &one);
		pack_bytes(&packer, pack_result(&one));
		sha256_of(pack_result(&one), digest);
		ledger_advance(&behind, digest);
	}
	size_t size = ledger_batch_size(packer.size);
	assert_true(written->size + size + LEDGER_BLOCK <= sizeof(written->bytes));
	ledger_batch_encode(&written->at, &behind, count, pack_result(&packer), written->bytes + written->size, size);
	written->size += size;
	written->at = behind;
	ledger_batch_encode(/* the seal; the next batch takes its place */
		&behind, &behind, 0, bytes_of(NULL, 0), written->bytes + written->size, LEDGER_BLOCK);
}

/* Started, certificate, meta's replica; then one removal a batch, of shards from `shard` on. */
static void write_ledger(struct written *written, uint64_t shard, unsigned batches)
{
	struct ledger_segment segment = { .incarnation = incarnation };
	assert_true(place_parse(place_text, &segment.place, NULL));
	segment.before = ledger_origin(incarnation, &segment.place);
	memset(written, 0, sizeof(*written));
	ledger_segment_encode(&segment, written->bytes);
	written->size = LEDGER_BLOCK;
	written->at = segment.before;
	struct ledger_record first[3] = {
		{ .kind = LEDGER_STARTED, .node = node_id, .place = segment.place, .body = bytes_of(cluster, 16) },
		{ .kind = LEDGER_CERTIFICATE, .body = bytes_of(der, der_size) },
		{ .kind = LEDGER_CREATED, .shard = 1, .replica = 3 },
	};
	write_batch(written, first, 3);
	for (unsigned i = 0; i < batches; i++) {
		struct ledger_record pair[2] = { { .kind = LEDGER_CREATED, .shard = shard + i, .replica = 100 + i },
			{ .kind = LEDGER_REMOVED, .shard = shard + i, .replica = 100 + i } };
		write_batch(written, pair, 2);
	}
}

static struct kept_head head_of(const struct written *written)
{
	struct kept_head kept = { .node = node_id, .incarnation = incarnation };
	uint8_t bytes[LEDGER_HEAD_TEXT_MAX];
	size_t size = 0;
	kept.head.at = written->at;
	kept.head.time_us = 5;
	struct bytes text = ledger_head_text(cluster, node_id, incarnation, &kept.head, bytes);
	assert_int_equal(
		certificate_sign(key, text, kept.head.signature, sizeof(kept.head.signature), &size), STATUS_OK);
	kept.head.signature_size = (uint8_t)size;
	return kept;
}

/* The names of the findings, with a space behind each. */
static const char *judged(const struct written *written, const struct kept_head *kept)
{
	static char names[1024];
	struct chain chain;
	size_t size = written->size + LEDGER_BLOCK;
	uint8_t *copy = malloc(size);
	assert_non_null(copy);
	memcpy(copy, written->bytes, size);
	chain_init(&chain);
	assert_true(chain_add(&chain, copy, size, "file"));
	chain_judge(&chain, &trusted);
	if (kept)
		chain_judge_head(&chain, kept);
	struct text text;
	text_init(&text, names, sizeof(names));
	for (size_t i = 0; i < json_array_size(chain.findings); i++) {
		text_add(&text, field_text(json_array_get(chain.findings, i), "finding"));
		text_add(&text, " ");
	}
	chain_free(&chain);
	return names;
}

static struct written whole, other;

static void in_order(void **state)
{
	(void)state;
	write_ledger(&whole, 50, 3);
	struct kept_head kept = head_of(&whole);
	assert_string_equal(judged(&whole, &kept), "");
	struct kept_head older = kept;
	write_ledger(&whole, 50, 5); /* it has gone on since */
	assert_string_equal(judged(&whole, &older), "");
}

static void every_byte(void **state)
{
	(void)state;
	write_ledger(&whole, 50, 2);
	struct kept_head kept = head_of(&whole);
	for (size_t at = 0; at < whole.size + LEDGER_BLOCK; at += at % LEDGER_BLOCK < 400 ? 3 : 61) {
		whole.bytes[at] ^= (uint8_t)(1 << at % 8);
		if (judged(&whole, &kept)[0] == 0)
			fail_msg("byte %zu", at);
		whole.bytes[at] ^= (uint8_t)(1 << at % 8);
	}
	assert_string_equal(judged(&whole, &kept), "");
}

/* By who has the node's disk and this program, but not meta's quorum. */
static void another_past(void **state)
{
	(void)state;
	write_ledger(&whole, 50, 3);
	write_ledger(&other, 60, 3);
	struct kept_head kept = head_of(&whole);
	assert_string_equal(judged(&other, NULL), ""); /* it is whole by itself */
	assert_string_equal(judged(&other, &kept), "head ");
	write_ledger(&other, 50, 2);
	assert_string_equal(judged(&other, &kept), "dropped ");
	write_ledger(&other, 60, 5);
	assert_string_equal(judged(&other, &kept), "head ");
}

static void signed_by_another(void **state)
{
	(void)state;
	write_ledger(&whole, 50, 1);
	struct kept_head kept = head_of(&whole);
	kept.head.time_us++;
	assert_string_equal(judged(&whole, &kept), "signature ");
	kept.head.time_us--;
	kept.node = 4;
	assert_non_null(strstr(judged(&whole, &kept), "head "));
	EVP_PKEY *own = key;
	key = key_of("us-n1");
	kept = head_of(&whole);
	assert_string_equal(judged(&whole, &kept), "signature ");
	EVP_PKEY_free(key);
	key = own;
}

/* A certificate of another place, or of an authority that nobody trusts, is none; then nothing has signed the head. */
static void not_its_certificate(void **state)
{
	(void)state;
	take_leaf("us-n1");
	write_ledger(&whole, 50, 1);
	struct kept_head kept = head_of(&whole);
	assert_string_equal(judged(&whole, &kept), "certificate signature ");
	leaf_write(&cast.foreign, "foreign-n1", &(struct leaf_form){ .names = "DNS:n1.a.eu-west-1.ie.eu.place.acme" });
	take_leaf("foreign-n1");
	write_ledger(&whole, 50, 1);
	kept = head_of(&whole);
	assert_string_equal(judged(&whole, &kept), "certificate signature ");
	take_leaf("eu-n1");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_order), cmocka_unit_test(every_byte),
		cmocka_unit_test(another_past), cmocka_unit_test(signed_by_another),
		cmocka_unit_test(not_its_certificate) };
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
