/* Records as lines of a file: what is written is read back, and what is no record is refused with its line. */
#include "bench/geo_record.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/prng.h"

static char path[] = "/tmp/test_geo_record.XXXXXX";

static void test_what_is_written_is_read(void **state)
{
	enum { COUNT = 5000 };
	struct records written = { 0 }, read = { 0 };
	struct prng prng;

	(void)state;
	prng_seed(&prng, 5);
	for (unsigned i = 0; i < COUNT; i++) {
		struct record *record = records_add(&written);

		record->class = (uint8_t)prng_below(&prng, GEO_CLASSES);
		record->status = (uint8_t)prng_below(&prng, LOAD_STATUSES);
		record->served = (uint8_t)prng_below(&prng, GEO_REGIONS_MAX + 1);
		record->region = 3;
		record->fill = prng_below(&prng, 2) == 1;
		record->session = (uint32_t)prng_next(&prng);
		record->staleness_ms = (uint32_t)prng_next(&prng);
		record->key = prng_next(&prng);
		record->value = prng_next(&prng);
		record->version = prng_next(&prng);
		record->planned_ns = prng_next(&prng) >> 2;
		record->sent_ns = record->planned_ns + prng_below(&prng, 1000);
		record->done_ns = record->sent_ns + prng_below(&prng, 1000);
	}
	assert_true(records_write(&written, path));
	assert_true(records_read(&read, path, 3));
	assert_int_equal(read.count, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		assert_memory_equal(&read.at[i], &written.at[i], sizeof(struct record));
	records_free(&written);
	records_free(&read);
}

static void test_what_is_no_record_is_refused(void **state)
{
	static const char *const lines[] = {
		"0\t0\t0\t0\t0\t0\t1\t2\t3\t10\t20",	  /* one field short */
		"9\t0\t0\t0\t0\t0\t1\t2\t3\t10\t20\t30",  /* no such class */
		"0\t99\t0\t0\t0\t0\t1\t2\t3\t10\t20\t30", /* no such status */
		"0\t0\t17\t0\t0\t0\t1\t2\t3\t10\t20\t30", /* no such region */
		"0\t0\t0\t0\t0\t0\t1\t2\t3\t10\t20\t19",  /* answered before it was sent */
		"nonsense",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct records read = { 0 };
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		fprintf(file, HEADER "0\t0\t0\t0\t0\t0\t1\t2\t3\t10\t20\t30\n%s\n", lines[i]);
		fclose(file);
		assert_false(records_read(&read, path, 0));
		assert_int_equal(read.count, 1);
		records_free(&read);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_what_is_no_record_is_refused),
	};
	int descriptor = mkstemp(path), code;

	if (descriptor < 0)
		return 1;
	close(descriptor);
	code = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return code;
}
