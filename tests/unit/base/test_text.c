/* tests/unit/base/test_text.c: the builder against snprintf, the encodings there and back, and what is suggested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/prng.h"
#include "base/text.h"

static void test_numbers_as_printf(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 21);
	for (unsigned round = 0; round < 3000; round++) {
		uint64_t value = prng_next(&prng) >> prng_below(&prng, 64);
		if (round < 3)
			value = round == 0 ? 0 : round == 1 ? UINT64_MAX : (uint64_t)INT64_MIN;
		char ours[80], theirs[80];
		struct text text;
		text_init(&text, ours, sizeof(ours));
		text_add_u64(&text, value);
		text_add(&text, " ");
		text_add_i64(&text, (int64_t)value);
		text_add(&text, " ");
		text_add_hex64(&text, value);
		snprintf(theirs, sizeof(theirs), "%" PRIu64 " %" PRId64 " %016" PRIx64, value, (int64_t)value, value);
		assert_string_equal(ours, theirs);
		assert_int_equal(text.size, strlen(theirs));
	}
}

static void test_ms(void **state)
{
	(void)state;
	static const struct {
		int64_t us;
		const char *text;
	} rows[] = {
		{ 0, "0.00" },
		{ 4, "0.00" },
		{ 5, "0.01" },
		{ 12340, "12.34" },
		{ 12345, "12.35" },
		{ 999994, "999.99" },
		{ 999995, "1000.00" },
		{ -12340, "-12.34" },
		{ -3, "0.00" },
		{ INT64_MAX, "9223372036854775.81" },
		{ INT64_MIN, "-9223372036854775.81" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char memory[32];
		struct text text;
		text_init(&text, memory, sizeof(memory));
		text_add_ms(&text, rows[i].us);
		assert_string_equal(memory, rows[i].text);
	}
}

static void test_cut(void **state)
{
	(void)state;
	for (size_t capacity = 1; capacity <= 12; capacity++) {
		char memory[16];
		memset(memory, '#', sizeof(memory));
		struct text text;
		text_init(&text, memory, capacity);
		text_add(&text, "abc");
		text_add_u64(&text, 12345);
		text_add_bytes(&text, bytes_of(NULL, 0));
		size_t expected = capacity - 1 < 8 ? capacity - 1 : 8;
		assert_int_equal(text.size, expected);
		assert_memory_equal(memory, "abc12345", expected);
		assert_int_equal(memory[expected], 0);
		assert_int_equal(text_full(&text), capacity <= 9);
		for (size_t i = capacity; i < sizeof(memory); i++)
			assert_int_equal(memory[i], '#');
	}
}

static void test_escape(void **state)
{
	(void)state;
	char out[32];
	assert_int_equal(text_escape(out, sizeof(out), bytes_of("a\\\n\0\xff~", 6)), 16);
	assert_string_equal(out, "a\\\\\\x0a\\x00\\xff~");
	/* never half an escape */
	for (size_t capacity = 1; capacity < 5; capacity++) {
		assert_int_equal(text_escape(out, capacity, bytes_of("\n", 1)), 0);
		assert_string_equal(out, "");
	}
	assert_int_equal(text_escape(out, 5, bytes_of("\n", 1)), 4);
	assert_int_equal(text_escape(out, 1, bytes_of(NULL, 0)), 0);
}

static void test_base64_vectors(void **state)
{
	(void)state;
	/* RFC 4648, section 10 */
	static const char *const rows[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char out[16];
		assert_int_equal(base64_encode(out, sizeof(out), bytes_text(rows[i][0])), strlen(rows[i][1]));
		assert_string_equal(out, rows[i][1]);
	}
	static const char *const wrong[] = { "Z", "Zg",
		"Zg=", "Zg===", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm9v Zg==", "Zm-v", "=m9v", "Zm9\n" };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint8_t out[16];
		size_t size = 99;
		assert_false(base64_decode(out, sizeof(out), bytes_text(wrong[i]), &size));
		assert_int_equal(size, 0);
	}
}

static void test_there_and_back(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 22);
	for (unsigned round = 0; round < 2000; round++) {
		uint8_t data[40], back[40];
		char out[100];
		size_t size = prng_below(&prng, sizeof(data) + 1), got = 0;
		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)prng_next(&prng);
		struct bytes bytes = bytes_of(data, size);

		size_t length = hex_encode(out, sizeof(out), bytes);
		assert_int_equal(length, 2 * size);
		assert_true(hex_decode(back, size, bytes_text(out), &got));
		assert_true(bytes_equal(bytes_of(back, got), bytes));
		assert_int_equal(hex_encode(out, 2 * size + 1, bytes), length);
		if (size > 0) {
			assert_int_equal(hex_encode(out, 2 * size, bytes), 0);
			hex_encode(out, sizeof(out), bytes);
			assert_false(hex_decode(back, size - 1, bytes_text(out), &got));
		}

		length = base64_encode(out, sizeof(out), bytes);
		assert_int_equal(length, (size + 2) / 3 * 4);
		assert_true(base64_decode(back, size, bytes_text(out), &got));
		assert_true(bytes_equal(bytes_of(back, got), bytes));
		assert_int_equal(base64_encode(out, length + 1, bytes), length);
		if (size > 0) {
			assert_false(base64_decode(back, size - 1, bytes_text(out), &got));
			assert_int_equal(base64_encode(out, length, bytes), 0);
		}
	}
	size_t size = 0;
	uint8_t back[4];
	assert_true(hex_decode(back, 4, bytes_text("DEadbe0f"), &size));
	assert_memory_equal(back, "\xde\xad\xbe\x0f", 4);
	assert_false(hex_decode(back, 4, bytes_text("abc"), &size));
	assert_false(hex_decode(back, 4, bytes_text("ag"), &size));
	assert_false(hex_decode(back, 4, bytes_text("0x12"), &size));
}

static void test_distance(void **state)
{
	(void)state;
	assert_int_equal(text_distance("", ""), 0);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("abc", ""), 3);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	assert_int_equal(text_distance("statsu", "status"), 1);
	assert_int_equal(text_distance("ab", "ba"), 1);
	assert_int_equal(text_distance("ca", "abc"), 3); /* no edit within a swapped pair */
	char longest[TEXT_WORD_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	longest[TEXT_WORD_MAX] = 0;
	assert_int_equal(text_distance(longest, longest), 0);
	assert_int_equal(text_distance(longest, ""), TEXT_WORD_MAX);
	longest[TEXT_WORD_MAX] = 'a';
	longest[TEXT_WORD_MAX + 1] = 0;
	assert_true(text_distance(longest, "a") == SIZE_MAX);
	assert_true(text_distance("a", longest) == SIZE_MAX);
	/* it is a metric as far as symmetry goes */
	struct prng prng;
	prng_seed(&prng, 23);
	for (unsigned round = 0; round < 2000; round++) {
		char a[9] = { 0 }, b[9] = { 0 };
		for (size_t i = 0, n = prng_below(&prng, 9); i < n; i++)
			a[i] = (char)('a' + prng_below(&prng, 3));
		for (size_t i = 0, n = prng_below(&prng, 9); i < n; i++)
			b[i] = (char)('a' + prng_below(&prng, 3));
		size_t distance = text_distance(a, b);
		assert_int_equal(distance, text_distance(b, a));
		assert_int_equal(distance == 0, strcmp(a, b) == 0);
		assert_true(distance <= (strlen(a) > strlen(b) ? strlen(a) : strlen(b)));
	}
}

static void test_nearest(void **state)
{
	(void)state;
	static const char *const words[] = { "store_in", NULL, "never_in", "copies", "spread", "survive", "ack", "go" };
	const size_t count = sizeof(words) / sizeof(words[0]);
	assert_string_equal(text_nearest("stor_in", words, count), "store_in");
	assert_string_equal(text_nearest("copeis", words, count), "copies");
	assert_string_equal(text_nearest("ak", words, count), "ack");
	assert_string_equal(text_nearest("spread", words, count), "spread");
	assert_null(text_nearest("banana", words, count));
	assert_null(text_nearest("", words, count));
	assert_null(text_nearest("g", words, count));
	assert_null(text_nearest("copies", words, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_as_printf),
		cmocka_unit_test(test_ms),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_base64_vectors),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_nearest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
