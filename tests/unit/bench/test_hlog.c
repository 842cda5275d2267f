/* What bench/hlog.c writes, read back by a decoder that was written from the format's description alone
 * (decode_hlog.py): every bucket with its count, counts that need nine bytes, the empty histogram. */
#include "bench/histogram.c"
#include "bench/hlog.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/prng.h"

enum { LINE_MAX_SIZE = 4 << 20 };

static char path[] = "/tmp/test_hlog.XXXXXX";

/* The decoder's line for one histogram, as it should be. */
static char *expected_line(const char *tag, double start, double length, const struct histogram *histogram)
{
	char *text = malloc(LINE_MAX_SIZE);
	size_t size;

	assert_non_null(text);
	size = (size_t)snprintf(
		text, LINE_MAX_SIZE, "%s %.3f %.3f %.3f", tag, start, length, (double)histogram->max_us / 1000);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t low = histogram_low(i);

		if (histogram->buckets[i] > 0)
			size += (size_t)snprintf(
				text + size, LINE_MAX_SIZE - size, " %" PRIu64 ":%" PRIu64, low, histogram->buckets[i]);
	}
	snprintf(text + size, LINE_MAX_SIZE - size, "\n");
	return text;
}

static void assert_decodes(const struct histogram *histograms, unsigned count)
{
	static char line[LINE_MAX_SIZE];
	char command[256];
	FILE *file = fopen(path, "w"), *decoder;

	assert_non_null(file);
	hlog_begin(file, UINT64_C(1700000000123456));
	for (unsigned i = 0; i < count; i++)
		assert_true(hlog_write(file, "us-east-1.put.rt", i, 1, &histograms[i]));
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof(command), "python3 tests/unit/bench/decode_hlog.py %s", path);
	decoder = popen(command, "r");
	assert_non_null(decoder);
	for (unsigned i = 0; i < count; i++) {
		char *wanted = expected_line("us-east-1.put.rt", i, 1, &histograms[i]);

		assert_non_null(fgets(line, sizeof(line), decoder));
		assert_string_equal(line, wanted);
		free(wanted);
	}
	assert_null(fgets(line, sizeof(line), decoder));
	assert_int_equal(pclose(decoder), 0);
}

static void test_random_histograms_decode(void **state)
{
	static struct histogram histograms[8];
	struct prng prng;

	(void)state;
	prng_seed(&prng, 11);
	for (unsigned i = 0; i < 8; i++) {
		histogram_init(&histograms[i]);
		for (unsigned n = 0; n < 1u << (2 * i); n++)
			histogram_add(&histograms[i], prng_below(&prng, UINT64_C(1) << (1 + prng_below(&prng, 33))));
	}
	assert_decodes(histograms, 8);
}

static void test_edges_decode(void **state)
{
	static struct histogram histograms[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		histogram_init(&histograms[i]); /* the first stays empty */
	histogram_add(&histograms[1], 0);
	histogram_add(&histograms[1], UINT64_MAX);
	histogram_add(&histograms[2], 2047);
	histogram_add(&histograms[2], 2048);
	histograms[2].buckets[77] = INT64_MAX; /* nine bytes */
	histograms[2].buckets[78] = UINT64_C(1) << 55;
	histograms[2].buckets[79] = (UINT64_C(1) << 55) - 1;
	assert_decodes(histograms, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_histograms_decode),
		cmocka_unit_test(test_edges_decode),
	};
	int descriptor = mkstemp(path), code;

	if (descriptor < 0)
		return 1;
	close(descriptor);
	code = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return code;
}
