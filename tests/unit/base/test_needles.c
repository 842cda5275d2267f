/* tests/unit/base/test_needles.c: secrets are found wherever they stand and in every form, also cut by pieces; nothing
 * else is; and what is sent says little of them. The bytes of the question: what decodes is in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/search.h"
#include "base/text.h"

enum { SECRETS = 6, SIZE = 4096 };

static struct needles needles, decoded;
static uint8_t secrets[SECRETS][NEEDLE_SECRET_SIZE];
static struct prng prng;

static void fill(uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)prng_next(&prng);
}

static int setup(void **state)
{
	uint8_t salt[NEEDLE_SALT_SIZE];
	(void)state;
	prng_seed(&prng, 7);
	fill(salt, sizeof(salt));
	needles_init(&needles, salt, prng_next(&prng));
	for (uint16_t i = 0; i < SECRETS; i++) {
		fill(secrets[i], sizeof(secrets[i]));
		needles_add(&needles, i, secrets[i]);
	}
	needles_seal(&needles);
	return 0;
}

struct count {
	unsigned hits, of[SECRETS], forms[NEEDLE_BASE64 + 1];
	size_t base, first, last;
};

static void count(void *arg, const struct needle *needle, size_t at)
{
	struct count *found = arg;
	assert_true(needle->of < SECRETS);
	found->last = found->base + at;
	found->first = found->hits == 0 ? found->last : found->first;
	found->hits++;
	found->of[needle->of]++;
	found->forms[needle->form]++;
}

static struct count search(const uint8_t *data, size_t size)
{
	struct count found = { 0 };
	needles_search(&needles, data, size, 0, count, &found);
	return found;
}

static void test_wherever_it_stands(void **state)
{
	uint8_t data[SIZE];
	(void)state;
	for (size_t at = 0; at + NEEDLE_SECRET_SIZE <= SIZE; at += 1 + at / 7) {
		fill(data, sizeof(data));
		assert_int_equal(search(data, sizeof(data)).hits, 0);
		memcpy(data + at, secrets[3], NEEDLE_SECRET_SIZE);
		struct count found = search(data, sizeof(data));
		assert_int_equal(found.hits, 3);
		assert_int_equal(found.of[3], 3);
		assert_int_equal(found.first, at);
		assert_int_equal(found.last, at + NEEDLE_SECRET_SIZE - NEEDLE_RAW_SIZE);
	}
	/* At the very end; and a byte short of it. */
	memcpy(data + SIZE - NEEDLE_SECRET_SIZE, secrets[0], NEEDLE_SECRET_SIZE);
	assert_int_equal(search(data, SIZE).of[0], 3);
	assert_int_equal(search(data, SIZE - 1).of[0], 2);
}

static void test_half_of_it_is_enough(void **state)
{
	uint8_t data[SIZE];
	(void)state;
	fill(data, sizeof(data));
	memcpy(data + 100, secrets[1], NEEDLE_RAW_SIZE);
	memcpy(data + 500, secrets[2] + NEEDLE_RAW_SIZE, NEEDLE_RAW_SIZE);
	memcpy(data + 900, secrets[4] + 5, NEEDLE_SECRET_SIZE - 10); /* as a compressor may cut it at both ends */
	memcpy(data + 1300, secrets[5], NEEDLE_RAW_SIZE - 1);
	struct count found = search(data, sizeof(data));
	assert_int_equal(found.hits, 3);
	assert_int_equal(found.of[1], 1);
	assert_int_equal(found.of[2], 1);
	assert_int_equal(found.of[4], 1);
}

static void test_in_digits(void **state)
{
	uint8_t wrapped[3 + NEEDLE_SECRET_SIZE + 5];
	char text[256];
	(void)state;
	for (size_t before = 0; before < 4; before++) {
		fill(wrapped, sizeof(wrapped));
		memcpy(wrapped + before, secrets[2], NEEDLE_SECRET_SIZE);
		struct bytes all = bytes_of(wrapped, before + NEEDLE_SECRET_SIZE + 4);
		size_t size = base64_encode(text, sizeof(text), all);
		struct count found = search((const uint8_t *)text, size);
		assert_int_equal(found.hits, 1);
		assert_int_equal(found.forms[NEEDLE_BASE64], 1);
		assert_int_equal(found.of[2], 1);
		size = hex_encode(text, sizeof(text), all);
		found = search((const uint8_t *)text, size);
		assert_int_equal(found.hits, 1);
		assert_int_equal(found.forms[NEEDLE_HEX], 1);
		for (size_t i = 0; i < size; i++)
			text[i] = (char)(text[i] >= 'a' ? text[i] - 32 : text[i]);
		found = search((const uint8_t *)text, size);
		assert_int_equal(found.hits, 1);
		assert_int_equal(found.forms[NEEDLE_HEX_CAPITAL], 1);
	}
}

/* However the bytes are cut into pieces, each needle is met once. */
static void test_in_pieces(void **state)
{
	uint8_t data[SIZE], piece[NEEDLE_OVERLAP + SIZE];
	char text[256];
	(void)state;
	fill(data, sizeof(data));
	for (unsigned i = 0; i < SECRETS; i++)
		memcpy(data + 97 + 301 * i, secrets[i], NEEDLE_SECRET_SIZE);
	size_t digits = hex_encode(text, sizeof(text), bytes_of(secrets[0], NEEDLE_SECRET_SIZE));
	memcpy(data + 3000, text, digits);
	const unsigned wanted = 3 * SECRETS + 1;
	assert_int_equal(search(data, sizeof(data)).hits, wanted);
	for (size_t step = 1; step < 600; step += 1 + step / 3) {
		struct count found = { 0 };
		size_t kept = 0;
		for (size_t at = 0; at < SIZE; at += step) {
			size_t size = at + step < SIZE ? step : SIZE - at;
			memcpy(piece + kept, data + at, size);
			found.base = at - kept;
			needles_search(&needles, piece, kept + size, kept, count, &found);
			size_t keep = kept + size < NEEDLE_OVERLAP ? kept + size : NEEDLE_OVERLAP;
			memmove(piece, piece + kept + size - keep, keep);
			kept = keep;
		}
		assert_int_equal(found.hits, wanted);
		assert_int_equal(found.first, 97);
	}
}

static void test_runs_of_equal_bytes(void **state)
{
	uint8_t *data = calloc(1, 1 << 20);
	(void)state;
	assert_non_null(data);
	for (unsigned byte = 0; byte < 256; byte += 51) {
		memset(data, (int)byte, 1 << 20);
		memcpy(data + 5000, secrets[1], NEEDLE_SECRET_SIZE);
		assert_int_equal(search(data, 1 << 20).hits, 3);
	}
	free(data);
}

/* A secret whose hash would be marked anyway is not taken for another one. */
static void test_a_mark_is_not_enough(void **state)
{
	uint8_t data[SIZE];
	(void)state;
	memset(needles.filter, 0xff, sizeof(needles.filter));
	fill(data, sizeof(data));
	assert_int_equal(search(data, sizeof(data)).hits, 0);
	memcpy(data + 7, secrets[5], NEEDLE_SECRET_SIZE);
	assert_int_equal(search(data, sizeof(data)).of[5], 3);
	needles_seal(&needles);
}

/* --- the question ----------------------------------------------------------------------------------- */

static uint8_t body[SEARCH_REQUEST_MAX];

static struct bytes encode(const struct search_place *from)
{
	struct packer packer;
	pack_init(&packer, body, sizeof(body));
	search_request_encode(from, &needles, &packer);
	assert_false(packer.overflow);
	return pack_result(&packer);
}

static void test_question(void **state)
{
	const struct search_place from = { .path = "shards/0000000000000004/000012.sst", .offset = 1234567 };
	struct search_place place;
	(void)state;
	struct bytes bytes = encode(&from);
	assert_int_equal(search_request_decode(bytes, &place, &decoded), STATUS_OK);
	assert_memory_equal(&decoded, &needles, sizeof(needles));
	assert_string_equal(place.path, from.path);
	assert_int_equal(place.offset, from.offset);
	/* Nothing of a secret is in it, not even four bytes in a row. */
	for (unsigned i = 0; i < SECRETS; i++)
		for (size_t at = 0; at + 4 <= NEEDLE_SECRET_SIZE; at++)
			for (size_t in = 0; in + 4 <= bytes.size; in++)
				assert_memory_not_equal(body + in, secrets[i] + at, 4);
	for (size_t size = 0; size < bytes.size; size++)
		assert_int_not_equal(search_request_decode(bytes_of(body, size), &place, &decoded), STATUS_OK);
}

/* Marks stand in their own order: which needle one is of cannot be told by where it stands. */
static void test_marks_and_digests_are_sorted_apart(void **state)
{
	(void)state;
	assert_int_equal(needles.count, SECRETS * NEEDLES_PER_SECRET);
	assert_true(needles_valid(&needles));
	unsigned same = 0;
	for (uint32_t i = 1; i < needles.count; i++)
		same += needles.at[i].of == needles.at[i - 1].of;
	assert_true(same < needles.count / 2);
}

static void test_disorder_is_refused(void **state)
{
	(void)state;
	decoded = needles;
	decoded.at[4] = decoded.at[3];
	assert_false(needles_valid(&decoded));
	decoded = needles;
	decoded.marks[0] = decoded.marks[1];
	assert_false(needles_valid(&decoded));
	decoded = needles;
	decoded.marks[decoded.mark_count - 1] = 1 << NEEDLE_MARK_BITS;
	assert_false(needles_valid(&decoded));
	decoded = needles;
	decoded.multiplier = 6;
	assert_false(needles_valid(&decoded));
	decoded = needles;
	decoded.at[0].of = NEEDLE_SECRETS_MAX;
	assert_false(needles_valid(&decoded));
	decoded = needles;
	decoded.at[0].form = 0;
	assert_false(needles_valid(&decoded));
}

static void test_the_largest_fits(void **state)
{
	uint8_t secret[NEEDLE_SECRET_SIZE];
	struct search_place from = { 0 };
	(void)state;
	memset(from.path, 'x', sizeof(from.path) - 1);
	needles_init(&needles, secrets[0], 99);
	for (uint16_t i = 0; i < NEEDLE_SECRETS_MAX; i++) {
		fill(secret, sizeof(secret));
		needles_add(&needles, i, secret);
	}
	assert_int_equal(search_request_decode(encode(&from), &from, &decoded), STATUS_OK);
	assert_int_equal(setup(NULL), 0);
}

static void test_answer(void **state)
{
	static struct search_slice slice, again;
	static uint8_t bytes[SEARCH_REPLY_MAX];
	struct packer packer;
	(void)state;
	slice = (struct search_slice){ .next = { .stage = SEARCH_OWN_LOG, .path = "(log)", .offset = 7 },
		.size = 5,
		.files = 6,
		.unread = 1,
		.unread_path = "x/y",
		.own_log = true,
		.pause_ms = 250,
		.count = SEARCH_HITS_MAX };
	for (unsigned i = 0; i < SEARCH_HITS_MAX; i++) {
		slice.at[i] = (struct search_hit){ .of = (uint16_t)(i / 2),
			.form = NEEDLE_HEX,
			.layer = (uint8_t)(i % SEARCH_LAYERS),
			.times = i,
			.offset = 1000 * i };
		memset(slice.at[i].path, 'p', sizeof(slice.at[i].path) - 1);
	}
	pack_init(&packer, bytes, sizeof(bytes));
	search_slice_encode(&slice, &packer);
	assert_false(packer.overflow);
	assert_int_equal(search_slice_decode(pack_result(&packer), &again), STATUS_OK);
	assert_memory_equal(&again, &slice, sizeof(slice));
	for (size_t size = 0; size < packer.size; size += 1 + size / 50)
		assert_int_not_equal(search_slice_decode(bytes_of(bytes, size), &again), STATUS_OK);
}

static void test_layers(void **state)
{
	static const struct {
		const char *path;
		enum search_layer layer;
	} rows[] = {
		{ "journal/0000000000000001.seg", SEARCH_JOURNAL },
		{ "shards/0000000000000004/000012.sst", SEARCH_TABLES },
		{ "shards/0000000000000004.incoming/000012.sst", SEARCH_TABLES },
		{ "shards/0000000000000004/MANIFEST-000005", SEARCH_TABLE_LIST },
		{ "shards/0000000000000004/LOG", SEARCH_ENGINE_LOG },
		{ "shards/0000000000000004/LOG.old.17", SEARCH_ENGINE_LOG },
		{ "shards/0000000000000004/CURRENT", SEARCH_ENGINE },
		{ "shards/0000000000000004.label", SEARCH_LABEL },
		{ "shards/notes", SEARCH_OTHER },
		{ "ledger/0000000000000001.led", SEARCH_LEDGER },
		{ "ERASURES", SEARCH_ERASURES },
		{ "ERASURES.new", SEARCH_ERASURES },
		{ "IDENTITY", SEARCH_IDENTITY },
		{ "LOCK", SEARCH_IDENTITY },
		{ "core.1234", SEARCH_OTHER },
		{ "journals/x", SEARCH_OTHER },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(search_layer_of(rows[i].path), rows[i].layer);
	/* What is in a directory follows its name, before its namesakes. */
	assert_true(search_path_compare("a", "a/b") < 0);
	assert_true(search_path_compare("a/b", "a.c") < 0);
	assert_true(search_path_compare("a/b", "a/c") < 0);
	assert_true(search_path_compare("journal/9", "shards") < 0);
	assert_int_equal(search_path_compare("a/b", "a/b"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wherever_it_stands),
		cmocka_unit_test(test_half_of_it_is_enough),
		cmocka_unit_test(test_in_digits),
		cmocka_unit_test(test_in_pieces),
		cmocka_unit_test(test_runs_of_equal_bytes),
		cmocka_unit_test(test_a_mark_is_not_enough),
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_marks_and_digests_are_sorted_apart),
		cmocka_unit_test(test_disorder_is_refused),
		cmocka_unit_test(test_the_largest_fits),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_layers),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
