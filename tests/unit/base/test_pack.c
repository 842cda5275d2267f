/* tests/unit/base/test_pack.c: what is packed comes back; what does not fit, or is cut or damaged, is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pack.h"
#include "base/prng.h"

static void pack_sample(struct packer *packer)
{
	pack_u8(packer, 0x12);
	pack_u16(packer, 0x3456);
	pack_u32(packer, 0x789abcde);
	pack_u64(packer, 0x0123456789abcdef);
	pack_bytes(packer, bytes_of("\0x", 2));
	pack_text(packer, "place");
	pack_raw(packer, "raw", 3);
	pack_bytes(packer, bytes_of(NULL, 0));
}

static const uint8_t sample[] = {
	0x12,
	0x56,
	0x34,
	0xde,
	0xbc,
	0x9a,
	0x78,
	0xef,
	0xcd,
	0xab,
	0x89,
	0x67,
	0x45,
	0x23,
	0x01,
	2,
	0,
	0,
	0,
	0,
	'x',
	5,
	0,
	0,
	0,
	'p',
	'l',
	'a',
	'c',
	'e',
	'r',
	'a',
	'w',
	0,
	0,
	0,
	0,
};

static void test_layout_is_little_endian(void **state)
{
	(void)state;
	uint8_t memory[64];
	struct packer packer;
	pack_init(&packer, memory, sizeof(memory));
	pack_sample(&packer);
	assert_false(packer.overflow);
	assert_true(bytes_equal(pack_result(&packer), bytes_of(sample, sizeof(sample))));
}

static void test_every_capacity(void **state)
{
	(void)state;
	for (size_t capacity = 0; capacity <= sizeof(sample) + 1; capacity++) {
		uint8_t memory[64];
		memset(memory, 0xa5, sizeof(memory));
		struct packer packer;
		pack_init(&packer, memory, capacity);
		pack_sample(&packer);
		assert_int_equal(packer.size, sizeof(sample));
		assert_int_equal(packer.overflow, capacity < sizeof(sample));
		assert_int_equal(pack_result(&packer).size, packer.overflow ? 0 : sizeof(sample));
		for (size_t i = capacity; i < sizeof(memory); i++)
			assert_int_equal(memory[i], 0xa5);
	}
}

static void test_counting(void **state)
{
	(void)state;
	struct packer packer;
	pack_init(&packer, NULL, 0);
	pack_sample(&packer);
	assert_int_equal(packer.size, sizeof(sample));
	assert_false(packer.overflow);
	assert_int_equal(pack_result(&packer).size, 0);
	packer.size = SIZE_MAX - 3;
	pack_u32(&packer, 1);
	assert_true(packer.overflow);
	assert_int_equal(packer.size, SIZE_MAX);
	pack_u8(&packer, 1);
	assert_int_equal(packer.size, SIZE_MAX);
}

static bool unpack_sample(struct bytes bytes)
{
	struct unpacker unpacker;
	char text[6];
	unpack_init(&unpacker, bytes);
	bool same = unpack_u8(&unpacker) == 0x12;
	same &= unpack_u16(&unpacker) == 0x3456;
	same &= unpack_u32(&unpacker) == 0x789abcde;
	same &= unpack_u64(&unpacker) == 0x0123456789abcdef;
	same &= bytes_equal(unpack_bytes(&unpacker, 2), bytes_of("\0x", 2));
	unpack_text(&unpacker, text, sizeof(text));
	same &= strcmp(text, "place") == 0;
	same &= bytes_equal(unpack_raw(&unpacker, 3), bytes_text("raw"));
	same &= unpack_bytes(&unpacker, 0).size == 0;
	if (unpack_end(&unpacker))
		assert_true(same);
	return unpack_end(&unpacker);
}

static void test_every_cut_is_bad(void **state)
{
	(void)state;
	assert_true(unpack_sample(bytes_of(sample, sizeof(sample))));
	for (size_t size = 0; size < sizeof(sample); size++) {
		uint8_t exact[sizeof(sample)]; /* at the end of it, so that a sanitizer sees one byte too many */
		memcpy(exact + sizeof(exact) - size, sample, size);
		assert_false(unpack_sample(bytes_of(exact + sizeof(exact) - size, size)));
	}
	uint8_t longer[sizeof(sample) + 1] = { 0 };
	memcpy(longer, sample, sizeof(sample));
	assert_false(unpack_sample(bytes_of(longer, sizeof(longer))));
}

static void test_bad_sticks(void **state)
{
	(void)state;
	static const uint8_t data[] = { 9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes_of(data, sizeof(data)));
	assert_int_equal(unpack_bytes(&unpacker, 100).size, 0);
	assert_true(unpacker.bad);
	assert_int_equal(unpack_u8(&unpacker), 0);
	assert_int_equal(unpack_u64(&unpacker), 0);
	assert_int_equal(unpack_raw(&unpacker, 1).size, 0);
	assert_false(unpack_end(&unpacker));
}

static void test_limits(void **state)
{
	(void)state;
	static const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff, 1 };
	static const uint8_t five[] = { 5, 0, 0, 0, 'p', 'l', 'a', 'c', 'e' };
	static const uint8_t with_nul[] = { 3, 0, 0, 0, 'a', 0, 'b' };
	struct unpacker unpacker;
	char text[8];
	unpack_init(&unpacker, bytes_of(huge, sizeof(huge)));
	unpack_bytes(&unpacker, SIZE_MAX);
	assert_true(unpacker.bad);
	unpack_init(&unpacker, bytes_of(five, sizeof(five)));
	unpack_bytes(&unpacker, 4);
	assert_true(unpacker.bad);
	unpack_init(&unpacker, bytes_of(five, sizeof(five)));
	unpack_text(&unpacker, text, 5);
	assert_true(unpacker.bad);
	assert_string_equal(text, "");
	unpack_init(&unpacker, bytes_of(five, sizeof(five)));
	unpack_text(&unpacker, text, 6);
	assert_true(unpack_end(&unpacker));
	assert_string_equal(text, "place");
	unpack_init(&unpacker, bytes_of(with_nul, sizeof(with_nul)));
	unpack_text(&unpacker, text, sizeof(text));
	assert_true(unpacker.bad);
	assert_string_equal(text, "");
	unpack_init(&unpacker, bytes_of(NULL, 0));
	assert_true(unpack_end(&unpacker));
	assert_int_equal(unpack_raw(&unpacker, 0).size, 0);
	assert_true(unpack_end(&unpacker));
}

/* Random bytes under random readers: never beyond the end, and at most the size is taken. */
static void test_random_input(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 7);
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t memory[40];
		size_t size = prng_below(&prng, sizeof(memory) + 1);
		uint8_t *data = memory + sizeof(memory) - size;
		for (size_t i = 0; i < size; i++)
			data[i] =
				prng_chance(&prng, 700000) ? (uint8_t)prng_below(&prng, 6) : (uint8_t)prng_next(&prng);
		struct unpacker unpacker;
		char text[9];
		unpack_init(&unpacker, bytes_of(data, size));
		for (unsigned step = 0; step < 8; step++) {
			size_t before = unpacker.at;
			struct bytes view = { NULL, 0 };
			switch (prng_below(&prng, 4)) {
			case 0:
				unpack_u16(&unpacker);
				break;
			case 1:
				view = unpack_bytes(&unpacker, prng_below(&prng, 12));
				break;
			case 2:
				unpack_text(&unpacker, text, sizeof(text));
				assert_true(strlen(text) < sizeof(text));
				break;
			default:
				view = unpack_raw(&unpacker, prng_below(&prng, 12));
			}
			assert_true(unpacker.at >= before);
			assert_true(unpacker.at <= size);
			if (view.size > 0)
				assert_ptr_equal((const uint8_t *)view.data + view.size, data + unpacker.at);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout_is_little_endian),
		cmocka_unit_test(test_every_capacity),
		cmocka_unit_test(test_counting),
		cmocka_unit_test(test_every_cut_is_bad),
		cmocka_unit_test(test_bad_sticks),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_random_input),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
