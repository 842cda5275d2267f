/* Frames: round trips plain and compressed, every flipped bit refused, lies about sizes refused by the header alone,
 * LZ4 blocks of the wrong length refused even under a right checksum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lz4.h>

#include "base/hash.h"
#include "base/prng.h"
#include "wire/frame.h"

static void put32(uint8_t *to, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

/* A frame by the text of the header file, not by the code under test. */
static void frame_by_hand(uint8_t *out, uint8_t flags, uint32_t size, const void *wire, uint32_t wire_size)
{
	memcpy(out, "dm\1", 3);
	out[3] = flags;
	put32(out + 4, wire_size);
	put32(out + 8, size);
	memmove(out + FRAME_HEADER_SIZE, wire, wire_size);
	uint8_t *joined = malloc(12 + (size_t)wire_size);
	assert_non_null(joined);
	memcpy(joined, out, 12);
	memcpy(joined + 12, wire, wire_size);
	put32(out + 12, (uint32_t)hash64(bytes_of(joined, 12 + (size_t)wire_size)));
	free(joined);
}

/* Decodes as a receiver does, from blocks of exact size. */
static enum status decode(
	const uint8_t *frame, size_t frame_size, uint32_t size_max, uint8_t **out, struct bytes *payload)
{
	struct frame_header header;
	*out = NULL;
	assert_true(frame_size >= FRAME_HEADER_SIZE);
	enum status status = frame_header_decode(frame, size_max, &header);
	if (status != STATUS_OK)
		return status;
	if (frame_size - FRAME_HEADER_SIZE != header.wire_size)
		return STATUS_END;
	if (header.compressed) {
		*out = malloc(header.size);
		assert_non_null(*out);
	}
	return frame_payload_decode(frame, &header, frame + FRAME_HEADER_SIZE, *out, payload);
}

static void round_trip(const uint8_t *data, size_t size, bool compress, bool expect_compressed)
{
	size_t bound = frame_size_bound(size);
	uint8_t *frame = malloc(bound), *out;
	assert_non_null(frame);
	struct bytes payload;
	size_t frame_size = frame_encode(bytes_of(data, size), compress, frame, bound);
	assert_true(frame_size <= bound);
	assert_int_equal(frame[3], expect_compressed ? 1 : 0);
	assert_int_equal(decode(frame, frame_size, FRAME_SIZE_MAX_PEER, &out, &payload), STATUS_OK);
	assert_true(bytes_equal(payload, bytes_of(data, size)));
	free(out);
	free(frame);
}

static void test_round_trips(void **state)
{
	(void)state;
	static const size_t sizes[] = { 1, 2, 15, 4096, 4097, 5000, 70000, 1 << 20, FRAME_SIZE_MAX_PEER };
	uint8_t *data = malloc(FRAME_SIZE_MAX_PEER);
	assert_non_null(data);
	struct prng prng;
	prng_seed(&prng, 1);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i];
		memset(data, 'a', size);
		round_trip(data, size, false, false);
		round_trip(data, size, true, size > FRAME_COMPRESS_ABOVE);
		for (size_t at = 0; at < size; at++)
			data[at] = (uint8_t)prng_next(&prng);
		round_trip(data, size, true, false); /* does not pay */
	}
	free(data);
}

static void test_in_place(void **state)
{
	(void)state;
	uint8_t frame[FRAME_HEADER_SIZE + 5] = { 0 };
	uint8_t *out;
	struct bytes payload;
	memcpy(frame + FRAME_HEADER_SIZE, "hello", 5);
	size_t size = frame_encode(bytes_of(frame + FRAME_HEADER_SIZE, 5), false, frame, sizeof(frame));
	assert_int_equal(decode(frame, size, FRAME_SIZE_MAX_GREETING, &out, &payload), STATUS_OK);
	assert_true(bytes_equal(payload, bytes_text("hello")));
}

static void test_layout(void **state)
{
	(void)state;
	uint8_t by_hand[64], encoded[64];
	frame_by_hand(by_hand, 0, 5, "hello", 5);
	assert_int_equal(frame_encode(bytes_text("hello"), true, encoded, sizeof(encoded)), FRAME_HEADER_SIZE + 5);
	assert_memory_equal(encoded, by_hand, FRAME_HEADER_SIZE + 5);
}

static void flip_each_bit(bool compress)
{
	uint8_t data[6000], frame[FRAME_HEADER_SIZE + 6000];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 50);
	size_t size = frame_encode(bytes_of(data, compress ? sizeof(data) : 40), compress, frame, sizeof(frame));
	for (size_t bit = 0; bit < size * 8; bit++) {
		struct bytes payload;
		uint8_t *out;
		frame[bit / 8] ^= (uint8_t)(1 << (bit % 8));
		assert_int_not_equal(decode(frame, size, FRAME_SIZE_MAX_PEER, &out, &payload), STATUS_OK);
		free(out);
		frame[bit / 8] ^= (uint8_t)(1 << (bit % 8));
	}
}

static void test_flipped_bits(void **state)
{
	(void)state;
	flip_each_bit(false);
	flip_each_bit(true);
}

static enum status header_status(
	const char *magic, uint8_t version, uint8_t flags, uint32_t wire_size, uint32_t size, uint32_t size_max)
{
	uint8_t data[FRAME_HEADER_SIZE] = { (uint8_t)magic[0], (uint8_t)magic[1], version, flags };
	struct frame_header header;
	put32(data + 4, wire_size);
	put32(data + 8, size);
	enum status status = frame_header_decode(data, size_max, &header);
	if (status != STATUS_OK)
		assert_int_equal(header.size, 0);
	return status;
}

static void test_headers(void **state)
{
	(void)state;
	const uint32_t max = FRAME_SIZE_MAX_CLIENT;
	assert_int_equal(header_status("dm", 1, 0, 10, 10, max), STATUS_OK);
	assert_int_equal(header_status("GE", 1, 0, 10, 10, max), STATUS_INVALID);
	assert_int_equal(header_status("dx", 1, 0, 10, 10, max), STATUS_INVALID);
	assert_int_equal(header_status("dm", 0, 0, 10, 10, max), STATUS_INVALID);
	assert_int_equal(header_status("dm", 2, 0, 10, 10, max), STATUS_UNSUPPORTED);
	assert_int_equal(header_status("dm", 1, 2, 10, 10, max), STATUS_INVALID);
	assert_int_equal(header_status("dm", 1, 0, 0, 0, max), STATUS_INVALID);
	assert_int_equal(header_status("dm", 1, 0, 10, 11, max), STATUS_INVALID);
	assert_int_equal(header_status("dm", 1, 0, max, max, max), STATUS_OK);
	assert_int_equal(header_status("dm", 1, 0, max + 1, max + 1, max), STATUS_TOO_LARGE);
	assert_int_equal(header_status("dm", 1, 0, UINT32_MAX, UINT32_MAX, max), STATUS_TOO_LARGE);
	assert_int_equal(header_status("dm", 1, 1, 100, max + 1, max), STATUS_TOO_LARGE);
	assert_int_equal(header_status("dm", 1, 1, max + 1, max, max), STATUS_TOO_LARGE);
	assert_int_equal(header_status("dm", 1, 1, 100, 100, max), STATUS_INVALID); /* compressed to nothing saved */
	assert_int_equal(header_status("dm", 1, 1, 100, 25500, max), STATUS_OK);
	assert_int_equal(header_status("dm", 1, 1, 100, 25501 + 254, max), STATUS_INVALID); /* more than 255 to 1 */
	assert_int_equal(header_status("dm", 1, 1, 0, 100, max), STATUS_INVALID);
}

/* Right checksum, wrong block: one byte more or less than claimed, a cut block, noise. */
static void test_forged_blocks(void **state)
{
	(void)state;
	char data[5000], block[6000];
	uint8_t frame[6000 + FRAME_HEADER_SIZE], *out;
	struct bytes payload;
	memset(data, 'b', sizeof(data));
	uint32_t size = sizeof(data), wire = (uint32_t)LZ4_compress_default(data, block, sizeof(data), sizeof(block));
	assert_true(wire > 0);
	frame_by_hand(frame, 1, size, block, wire);
	assert_int_equal(decode(frame, FRAME_HEADER_SIZE + wire, FRAME_SIZE_MAX_CLIENT, &out, &payload), STATUS_OK);
	assert_int_equal(payload.size, size);
	free(out);
	const int32_t lies[] = { -1, 1, -2000, 100 };
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		frame_by_hand(frame, 1, (uint32_t)((int32_t)size + lies[i]), block, wire);
		assert_int_equal(
			decode(frame, FRAME_HEADER_SIZE + wire, FRAME_SIZE_MAX_CLIENT, &out, &payload), STATUS_INVALID);
		assert_int_equal(payload.size, 0);
		free(out);
	}
	struct prng prng;
	prng_seed(&prng, 2);
	for (unsigned round = 0; round < 2000; round++) {
		for (uint32_t at = 0; at < wire; at++)
			block[at] = (char)prng_next(&prng);
		frame_by_hand(frame, 1, size, block, wire);
		enum status status = decode(frame, FRAME_HEADER_SIZE + wire, FRAME_SIZE_MAX_CLIENT, &out, &payload);
		assert_true(status == STATUS_INVALID || payload.size == size);
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_forged_blocks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
