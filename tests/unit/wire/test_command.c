/* Commands: each kind carries its own fields and no others, every cut is CORRUPT, newer formats are UNSUPPORTED. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "wire/command.h"
#include "wire/message.h"

static const struct command full = {
	.retry = true,
	.exact = true,
	.client = 1,
	.sequence = 2,
	.low_water = 3,
	.map_epoch = 4,
	.version = 5,
	.operation = 6,
	.exact_hash = { 7, 8 },
	.hash_first = 9,
	.hash_last = 10,
	.key = { "k", 1 },
	.value = { "val", 3 },
};

static size_t encode(const struct command *command, uint8_t *data, size_t capacity)
{
	struct packer packer;
	pack_init(&packer, data, capacity);
	command_encode(command, &packer);
	assert_false(packer.overflow);
	return packer.size;
}

/* What must come back of `full` for this kind. */
static struct command expected_of(uint8_t kind, bool exact, bool range)
{
	struct command expected = { .kind = kind, .map_epoch = full.map_epoch };
	if (kind <= COMMAND_CAS) {
		expected.retry = full.retry;
		expected.client = full.client;
		expected.sequence = full.sequence;
		expected.low_water = full.low_water;
		expected.key = full.key;
	} else {
		expected.operation = full.operation;
	}
	if (kind == COMMAND_PUT || kind == COMMAND_CAS)
		expected.value = full.value;
	if (kind == COMMAND_CAS)
		expected.version = full.version;
	if (kind == COMMAND_FENCE) {
		expected.exact = exact;
		expected.range = range;
		if (range) {
			expected.hash_first = 9;
			expected.hash_last = 10;
		} else if (exact) {
			expected.exact_hash[0] = 7;
			expected.exact_hash[1] = 8;
		} else {
			expected.key = full.key;
		}
	}
	return expected;
}

static void assert_commands(const struct command *a, const struct command *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->retry, b->retry);
	assert_int_equal(a->exact, b->exact);
	assert_int_equal(a->client, b->client);
	assert_int_equal(a->sequence, b->sequence);
	assert_int_equal(a->low_water, b->low_water);
	assert_int_equal(a->map_epoch, b->map_epoch);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->operation, b->operation);
	assert_int_equal(a->range, b->range);
	assert_int_equal(a->hash_first, b->hash_first);
	assert_int_equal(a->hash_last, b->hash_last);
	assert_int_equal(a->exact_hash[0], b->exact_hash[0]);
	assert_int_equal(a->exact_hash[1], b->exact_hash[1]);
	assert_true(bytes_equal(a->key, b->key));
	assert_true(bytes_equal(a->value, b->value));
}

static void test_kinds(void **state)
{
	(void)state;
	for (uint8_t kind = COMMAND_PUT; kind <= COMMAND_UNFENCE; kind++) {
		for (unsigned way = 0; way < 3; way++) {
			const bool exact = way == 1, range = way == 2;
			struct command command = full, decoded, expected = expected_of(kind, exact, range);
			uint8_t data[256];
			command.kind = kind;
			command.exact = exact;
			command.range = range;
			size_t size = encode(&command, data, sizeof(data));
			assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
			assert_commands(&decoded, &expected);
			for (size_t cut = 0; cut < size; cut++) {
				uint8_t *part = malloc(cut ? cut : 1);
				assert_non_null(part);
				memcpy(part, data, cut);
				assert_int_equal(command_decode(bytes_of(part, cut), &decoded), STATUS_CORRUPT);
				free(part);
			}
			data[size] = 0;
			assert_int_equal(command_decode(bytes_of(data, size + 1), &decoded), STATUS_CORRUPT);
		}
	}
}

static void test_refusals(void **state)
{
	(void)state;
	struct command command = full, decoded;
	uint8_t data[256];
	command.kind = COMMAND_DELETE;
	size_t size = encode(&command, data, sizeof(data));
	data[0] = 3;
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_UNSUPPORTED);
	data[0] = 0;
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
	data[0] = 2;
	data[1] = COMMAND_INHERIT + 1;
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_UNSUPPORTED);
	data[1] = COMMAND_DELETE;
	data[2] = 1 << 1; /* exact has no meaning here */
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
	data[2] = 1 << 2; /* nor has a range */
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
	data[2] = 1 << 7;
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
	data[2] = 0;
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
	assert_false(decoded.retry);
	data[3 + 8 + 24 + 1] = (KEY_SIZE_MAX + 1) >> 8; /* the key's length, beyond the limit and the body */
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
	assert_int_equal(decoded.kind, 0);
}

static void test_a_range_is_one(void **state)
{
	(void)state;
	struct command command = { .kind = COMMAND_FENCE, .range = true, .hash_first = 5, .hash_last = 5 }, decoded;
	uint8_t data[256];
	size_t size = encode(&command, data, sizeof(data));
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
	data[size - 8] = 4; /* it would end before it begins */
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
	data[size - 8] = 6;
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
	data[2] |= 1 << 1; /* and exact */
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
}

static void test_largest(void **state)
{
	(void)state;
	static uint8_t key[KEY_SIZE_MAX], value[VALUE_SIZE_MAX], data[KEY_SIZE_MAX + VALUE_SIZE_MAX + 256];
	struct command command = full, decoded;
	command.kind = COMMAND_PUT;
	command.key = bytes_of(key, sizeof(key));
	command.value = bytes_of(value, sizeof(value));
	size_t size = encode(&command, data, sizeof(data));
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
	assert_true(bytes_equal(decoded.value, command.value));
}

static struct bytes rows_of(uint8_t kind, const struct command_row *rows, unsigned count, struct packer *packer)
{
	for (unsigned i = 0; i < count; i++)
		assert_true(command_row_add(kind, packer, &rows[i]));
	return pack_result(packer);
}

static void test_rows(void **state)
{
	(void)state;
	static const struct command_row rows[] = { { 5, { "a", 1 }, { "one", 3 } }, { 7, { "bb", 2 }, { "", 0 } } };
	for (uint8_t kind = COMMAND_ADOPT; kind <= COMMAND_PURGE; kind++) {
		uint8_t packed[256], data[256];
		struct packer packer;
		struct command command = { .kind = kind, .operation = 9, .map_epoch = 4 }, decoded;
		struct command_row row;
		struct unpacker left;
		bool adopts = kind == COMMAND_ADOPT;
		pack_init(&packer, packed, sizeof(packed));
		command.version = kind == COMMAND_PURGE ? 0 : 7;
		command.retry = kind == COMMAND_CLOSE;
		command.value = kind == COMMAND_CLOSE ? bytes_of(NULL, 0) : rows_of(kind, rows, 2, &packer);
		size_t size = encode(&command, data, sizeof(data));
		assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
		assert_commands(&decoded, &command);
		assert_int_equal(command_rows(bytes_of(data, size)), kind == COMMAND_CLOSE ? 0 : 2);
		unpack_init(&left, decoded.value);
		for (unsigned i = 0; i < 2 && kind != COMMAND_CLOSE; i++) {
			assert_true(command_row_next(kind, &left, &row));
			assert_int_equal(row.version, rows[i].version);
			assert_true(bytes_equal(row.key, rows[i].key));
			assert_int_equal(row.value.size, adopts ? rows[i].value.size : 0);
		}
		assert_false(command_row_next(kind, &left, &row));
		assert_false(left.bad);
		for (size_t cut = 0; cut < size; cut++)
			assert_int_equal(command_decode(bytes_of(data, cut), &decoded), STATUS_CORRUPT);
		if (kind == COMMAND_CLOSE)
			continue;
		data[size - command.value.size - 4]--; /* the last row is cut */
		assert_int_equal(command_decode(bytes_of(data, size - 1), &decoded), STATUS_CORRUPT);
	}
}

static void test_records(void **state)
{
	(void)state;
	static uint8_t packed[COMMAND_ROWS_BYTES], data[1 << 20];
	const struct command_record records[] = { { 1, 2, 3, 0 }, { 4, 5, 6, STATUS_NOT_FOUND } };
	struct command command = { .kind = COMMAND_INHERIT, .operation = 9, .map_epoch = 4, .retry = true }, decoded;
	struct command_record record;
	struct packer packer;
	struct unpacker left;
	pack_init(&packer, packed, sizeof(packed));
	for (unsigned i = 0; i < 2; i++)
		assert_true(command_record_add(&packer, &records[i]));
	command.value = pack_result(&packer);
	size_t size = encode(&command, data, sizeof(data));
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
	assert_commands(&decoded, &command);
	assert_int_equal(command_rows(bytes_of(data, size)), 0);
	unpack_init(&left, decoded.value);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(command_record_next(&left, &record));
		assert_memory_equal(&record, &records[i], offsetof(struct command_record, status) + 4);
	}
	assert_false(command_record_next(&left, &record));
	assert_false(left.bad);
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(command_decode(bytes_of(data, cut), &decoded), STATUS_CORRUPT);
	data[size - 28] = 0; /* of no client */
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
	unsigned count = 2;
	while (command_record_add(&packer, &records[0]))
		count++;
	assert_int_equal(count, COMMAND_ROWS_BYTES / 28);
	command.value = pack_result(&packer);
	size = encode(&command, data, sizeof(data));
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
}

static void test_rows_are_bounded(void **state)
{
	(void)state;
	static uint8_t key[KEY_SIZE_MAX], value[VALUE_SIZE_MAX], packed[COMMAND_ROWS_BYTES_MAX], data[1 << 21];
	struct command_row large = { 1, { key, sizeof(key) }, { value, sizeof(value) } },
			   small = { 1, { "k", 1 }, { 0 } };
	struct packer packer;
	struct command command = { .kind = COMMAND_ADOPT }, decoded;
	pack_init(&packer, packed, sizeof(packed));
	assert_true(command_row_add(COMMAND_ADOPT, &packer, &large)); /* alone, whatever its size */
	assert_false(command_row_add(COMMAND_ADOPT, &packer, &small));
	command.value = pack_result(&packer);
	size_t size = encode(&command, data, sizeof(data));
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_OK);
	pack_init(&packer, packed, sizeof(packed));
	for (unsigned i = 0; i <= COMMAND_ROWS_MAX; i++)
		assert_true(command_row_add(COMMAND_PURGE, &packer, &small));
	command = (struct command){ .kind = COMMAND_PURGE, .value = pack_result(&packer) };
	size = encode(&command, data, sizeof(data));
	assert_int_equal(command_decode(bytes_of(data, size), &decoded), STATUS_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_a_range_is_one),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_rows_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
