/* tests/unit/base/test_sha256.c: the vectors of FIPS 180-4, and that pieces add up to the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/sha256.h"

static void assert_digest(const uint8_t digest[SHA256_SIZE], const char *wanted)
{
	char text[2 * SHA256_SIZE + 1];
	for (unsigned i = 0; i < SHA256_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(text, wanted);
}

static void published(void **state)
{
	(void)state;
	static const struct {
		const char *text, *digest;
	} vectors[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmno"
		  "pqrstnopqrstu",
			"cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};
	uint8_t digest[SHA256_SIZE];
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		sha256_of(bytes_text(vectors[i].text), digest);
		assert_digest(digest, vectors[i].digest);
	}
}

static void a_million(void **state)
{
	(void)state;
	uint8_t piece[1000], digest[SHA256_SIZE];
	struct sha256 sha256;
	memset(piece, 'a', sizeof(piece));
	sha256_init(&sha256);
	for (unsigned i = 0; i < 1000; i++)
		sha256_add(&sha256, bytes_of(piece, sizeof(piece)));
	sha256_end(&sha256, digest);
	assert_digest(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Every length around the blocks, cut in two anywhere. */
static void in_pieces(void **state)
{
	(void)state;
	struct prng prng;
	uint8_t bytes[200], whole[SHA256_SIZE], pieces[SHA256_SIZE];
	prng_seed(&prng, 1);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)prng_next(&prng);
	for (size_t size = 0; size <= sizeof(bytes); size++) {
		sha256_of(bytes_of(bytes, size), whole);
		for (size_t cut = 0; cut <= size; cut++) {
			struct sha256 sha256;
			sha256_init(&sha256);
			sha256_add(&sha256, bytes_of(bytes, cut));
			sha256_add(&sha256, bytes_of(bytes + cut, size - cut));
			sha256_end(&sha256, pieces);
			assert_memory_equal(whole, pieces, SHA256_SIZE);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(published), cmocka_unit_test(a_million),
		cmocka_unit_test(in_pieces) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
