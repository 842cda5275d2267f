/* Messages: what goes in comes out, for every kind; cut, lengthened or flipped bytes are refused or mean something
 * that encodes to exactly these bytes; claims beyond the limits are refused. Buffers are of exact size on the heap,
 * so that a sanitizer sees a read behind the end. */
#include <stdlib.h>

#include "random_message.h"

static struct random_source source;
static struct codec_scratch scratch;

/* Encodes into a block of exactly the size needed; the caller frees it. */
static uint8_t *encode_exact(const struct message *message, size_t *size)
{
	struct packer counter, packer;
	pack_init(&counter, NULL, 0);
	message_encode(message, &counter);
	uint8_t *data = malloc(counter.size);
	assert_non_null(data);
	pack_init(&packer, data, counter.size);
	message_encode(message, &packer);
	assert_false(packer.overflow);
	assert_int_equal(packer.size, counter.size);
	*size = counter.size;
	return data;
}

static void test_round_trip(void **state)
{
	(void)state;
	random_source_init(&source, 1);
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < MESSAGE_KIND_COUNT; i++) {
			struct message message, decoded;
			size_t size;
			random_message(&source, message_kinds[i], &message);
			uint8_t *data = encode_exact(&message, &size);
			assert_int_equal(data[0], message_kinds[i]);
			assert_int_equal(message_decode(bytes_of(data, size), &scratch, &decoded), STATUS_OK);
			assert_messages(message, decoded);
			free(data);
		}
	}
}

static void test_truncation(void **state)
{
	(void)state;
	random_source_init(&source, 2);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < MESSAGE_KIND_COUNT; i++) {
			struct message message, decoded;
			size_t size;
			random_message(&source, message_kinds[i], &message);
			uint8_t *data = encode_exact(&message, &size);
			for (size_t cut = 0; cut < size; cut++) {
				uint8_t *part = malloc(cut ? cut : 1);
				assert_non_null(part);
				memcpy(part, data, cut);
				assert_int_equal(
					message_decode(bytes_of(part, cut), &scratch, &decoded), STATUS_INVALID);
				free(part);
			}
			uint8_t *longer = malloc(size + 1);
			assert_non_null(longer);
			memcpy(longer, data, size);
			longer[size] = 0;
			assert_int_equal(
				message_decode(bytes_of(longer, size + 1), &scratch, &decoded), STATUS_INVALID);
			free(longer);
			free(data);
		}
	}
}

/* Any byte changed: refused, or a message whose one encoding is just these bytes. */
static void test_flipped_bytes(void **state)
{
	(void)state;
	unsigned accepted = 0, refused = 0;
	random_source_init(&source, 3);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < MESSAGE_KIND_COUNT; i++) {
			struct message message, decoded;
			size_t size;
			random_message(&source, message_kinds[i], &message);
			uint8_t *data = encode_exact(&message, &size);
			for (unsigned flip = 0; flip < 40; flip++) {
				size_t at = prng_below(&source.prng, size);
				uint8_t was = data[at];
				data[at] = (uint8_t)prng_next(&source.prng);
				if (message_decode(bytes_of(data, size), &scratch, &decoded) == STATUS_OK) {
					size_t again_size;
					uint8_t *again = encode_exact(&decoded, &again_size);
					assert_true(bytes_equal(bytes_of(data, size), bytes_of(again, again_size)));
					free(again);
					accepted++;
				} else {
					refused++;
				}
				data[at] = was;
			}
			free(data);
		}
	}
	assert_true(accepted > 1000);
	assert_true(refused > 300);
}

static void test_unknown_kinds(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind <= 255; kind++) {
		bool known = false;
		for (unsigned i = 0; i < MESSAGE_KIND_COUNT; i++)
			known = known || message_kinds[i] == kind;
		uint8_t data[1] = { (uint8_t)kind };
		struct message message;
		enum status status = message_decode(bytes_of(data, 1), &scratch, &message);
		assert_int_equal(status, known ? STATUS_INVALID : STATUS_UNSUPPORTED);
	}
	struct message message;
	assert_int_equal(message_decode(bytes_of(NULL, 0), &scratch, &message), STATUS_INVALID);
}

/* The bytes of a message with some of them overwritten, decoded. */
static enum status decode_patched(const struct message *message, size_t at, uint64_t value, unsigned width)
{
	size_t size;
	struct message decoded;
	uint8_t *data = encode_exact(message, &size);
	assert_true(at + width <= size);
	for (unsigned i = 0; i < width; i++)
		data[at + i] = (uint8_t)(value >> (8 * i));
	enum status status = message_decode(bytes_of(data, size), &scratch, &decoded);
	free(data);
	return status;
}

static void test_append_claims(void **state)
{
	(void)state;
	const size_t first_at = 33 + 32, last_at = first_at + 8; /* head; prev_index, prev_term, commit, probe */
	struct message message = { .kind = MESSAGE_APPEND, .append = { .first = 5, .last = 4 } };
	assert_int_equal(decode_patched(&message, last_at, 4, 8), STATUS_OK);
	assert_int_equal(decode_patched(&message, last_at, 0, 8), STATUS_OK); /* still: none */
	assert_int_equal(decode_patched(&message, last_at, 5, 8), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, last_at, 5 + APPEND_ENTRIES_MAX - 1, 8), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, last_at, 5 + APPEND_ENTRIES_MAX, 8), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, last_at, UINT64_MAX, 8), STATUS_INVALID);
	message.append.first = 0;
	message.append.last = 0;
	struct message whole = { .kind = MESSAGE_APPEND, .append = { .first = 1, .last = 0 } };
	assert_int_equal(decode_patched(&whole, first_at, 0, 8), STATUS_INVALID); /* 0..0: no entry has index 0 */
}

/* As many entries as allowed pass, empty ones, and the scratch holds them all. */
static void test_append_full(void **state)
{
	(void)state;
	static struct entry entries[APPEND_ENTRIES_MAX];
	static struct bytes bodies[APPEND_ENTRIES_MAX];
	for (unsigned i = 0; i < APPEND_ENTRIES_MAX; i++)
		entries[i] = (struct entry){ .index = 7 + i, .term = 1, .kind = ENTRY_NOOP };
	struct message message = { .kind = MESSAGE_APPEND,
		.append = { .first = 7, .last = 7 + APPEND_ENTRIES_MAX - 1, .entries = entries, .bodies = bodies } };
	struct message decoded;
	size_t size;
	uint8_t *data = encode_exact(&message, &size);
	assert_int_equal(message_decode(bytes_of(data, size), &scratch, &decoded), STATUS_OK);
	assert_messages(message, decoded);
	free(data);
}

static void test_request_limits(void **state)
{
	(void)state;
	static uint8_t key[KEY_SIZE_MAX], value[VALUE_SIZE_MAX];
	struct message message = { .kind = MESSAGE_REQUEST,
		.ask = { .operation = OPERATION_PUT, .key = { key, sizeof(key) }, .value = { value, sizeof(value) } } };
	const size_t key_at = 9 + 3 + 9 * 8 + 3 * 4; /* head; operation, level, retry; ids; staleness, limit, timeout */
	const size_t value_at = key_at + 4 + sizeof(key) + 4;
	assert_int_equal(decode_patched(&message, key_at, sizeof(key), 4), STATUS_OK);
	assert_int_equal(decode_patched(&message, value_at, sizeof(value), 4), STATUS_OK);
	assert_int_equal(decode_patched(&message, key_at, sizeof(key) + 1, 4), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, value_at, sizeof(value) + 1, 4), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, key_at, UINT32_MAX, 4), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, 9, 0, 1), STATUS_INVALID); /* operation */
	assert_int_equal(decode_patched(&message, 9, OPERATION_PING + 1, 1), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, 10, READ_NEAREST + 1, 1), STATUS_INVALID); /* level */
	assert_int_equal(decode_patched(&message, 11, 2, 1), STATUS_INVALID);		     /* retry */
}

static void test_reply_claims(void **state)
{
	(void)state;
	struct message message = { .kind = MESSAGE_REPLY, .request = 9 };
	const size_t status_at = 9, count_at = status_at + 4 + 4 * 8 + 4 + 3;
	assert_int_equal(decode_patched(&message, count_at, 0, 4), STATUS_OK);
	assert_int_equal(decode_patched(&message, count_at, 1, 4), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, count_at, SCAN_ROWS_MAX + 1, 4), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, count_at, UINT32_MAX, 4), STATUS_INVALID);
	assert_int_equal(decode_patched(&message, status_at, 2, 4), STATUS_INVALID); /* an exit code, never a status */
	assert_int_equal(decode_patched(&message, status_at, STATUS_BUSY, 4), STATUS_OK);
}

static void test_membership(void **state)
{
	(void)state;
	struct membership membership = { .index = 3, .count = REPLICAS_MAX, .map_epoch = 77 };
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		membership.at[i] = (struct member){ .replica = i + 1, .node = i + 50, .role_new = ROLE_VOTER };
	uint8_t data[1024];
	struct packer packer;
	pack_init(&packer, data, sizeof(data));
	membership_encode(&membership, &packer);

	struct unpacker unpacker;
	struct membership decoded;
	unpack_init(&unpacker, pack_result(&packer));
	assert_int_equal(membership_decode(&unpacker, &decoded), STATUS_OK);
	assert_true(unpack_end(&unpacker));
	assert_memory_equal(&membership, &decoded, sizeof(decoded));

	data[8] = REPLICAS_MAX + 1; /* behind the index: the count */
	unpack_init(&unpacker, pack_result(&packer));
	assert_int_equal(membership_decode(&unpacker, &decoded), STATUS_INVALID);
	assert_int_equal(decoded.count, 0);
	data[8] = REPLICAS_MAX;
	data[8 + 2 + 10 + 8 + 16] = ROLE_WITNESS + 1; /* the first member's old role */
	unpack_init(&unpacker, pack_result(&packer));
	assert_int_equal(membership_decode(&unpacker, &decoded), STATUS_INVALID);
}

/* The layout is a promise to other versions: these bytes may not change. */
static void test_golden(void **state)
{
	(void)state;
	const uint8_t expected[] = { 3, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0,
		0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 6, 0, 0, 0, 0, 0, 0, 0, 1, 0 };
	struct message message = { .kind = MESSAGE_VOTE,
		.group = 1,
		.from = 2,
		.to = 3,
		.term = 4,
		.vote = { .last_index = 0x1122334455667788, .last_term = 6, .pre = true } };
	size_t size;
	uint8_t *data = encode_exact(&message, &size);
	assert_int_equal(size, sizeof(expected));
	assert_memory_equal(data, expected, size);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_unknown_kinds),
		cmocka_unit_test(test_append_claims),
		cmocka_unit_test(test_append_full),
		cmocka_unit_test(test_request_limits),
		cmocka_unit_test(test_reply_claims),
		cmocka_unit_test(test_membership),
		cmocka_unit_test(test_golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
