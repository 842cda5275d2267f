/* tests/unit/base/test_log.c: the bytes of a line, with stderr led into a pipe. A datagram socket keeps the borders
 * between writes, so "one write a line" is seen and not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

static int stderr_before, capture[2];

static int begin_capture(void **state)
{
	(void)state;
	stderr_before = dup(STDERR_FILENO);
	if (stderr_before < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, capture) != 0)
		return -1;
	return dup2(capture[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int end_capture(void **state)
{
	(void)state;
	dup2(stderr_before, STDERR_FILENO);
	close(stderr_before);
	close(capture[0]);
	close(capture[1]);
	return 0;
}

/* The next write to stderr as a string; "" when there was none. */
static const char *written(void)
{
	static char line[2 * LOG_LINE_MAX];
	ssize_t size = recv(capture[0], line, sizeof(line) - 1, MSG_DONTWAIT);
	line[size > 0 ? size : 0] = 0;
	return line;
}

/* What follows the time, after checking that the time looks like one: digits where the pattern has a 0. */
static const char *after_time(const char *line, const char *pattern)
{
	size_t i = 0;
	for (; pattern[i]; i++) {
		if (pattern[i] == '0')
			assert_in_range(line[i], '0', '9');
		else
			assert_int_equal(line[i], pattern[i]);
	}
	return line + i;
}

#define LOGFMT_TIME "time=0000-00-00T00:00:00.000Z "
#define JSON_TIME   "{\"time\":\"0000-00-00T00:00:00.000Z\","

static void test_logfmt(void **state)
{
	(void)state;
	log_init(LOG_LOGFMT, LOG_INFO);
	log_info("listening", LOG_S("address", "[::]:7400"), LOG_U("port", UINT64_MAX), LOG_I("delta", INT64_MIN),
		LOG_H("key", 0xabc), LOG_B("tls", true));
	assert_string_equal(after_time(written(), LOGFMT_TIME),
		"level=info msg=listening address=[::]:7400 port=18446744073709551615 "
		"delta=-9223372036854775808 key=0000000000000abc tls=true\n");
	log_error("it is over");
	assert_string_equal(after_time(written(), LOGFMT_TIME), "level=error msg=\"it is over\"\n");
	log_warn("odd", LOG_S("empty", ""), LOG_S("none", NULL), LOG_S("quote", "a \"b\" \\ c=d"),
		LOG_S("lines", "one\ntwo\r\x01"), LOG_S("utf8", "caf\xc3\xa9"), LOG_S("torn", "\xc3"));
	assert_string_equal(after_time(written(), LOGFMT_TIME),
		"level=warn msg=odd empty=\"\" none=\"\" quote=\"a \\\"b\\\" \\\\ c=d\" "
		"lines=\"one\\ntwo\\x0d\\x01\" utf8=\"caf\xc3\xa9\" torn=\"\\xc3\"\n");
	assert_string_equal(written(), "");
}

static void test_json(void **state)
{
	(void)state;
	log_init(LOG_JSON, LOG_INFO);
	log_info("it listens", LOG_S("address", "a\"b\\c\n\t\x7f"), LOG_U("port", 7400), LOG_I("delta", -1),
		LOG_H("key", UINT64_MAX), LOG_B("tls", false));
	assert_string_equal(after_time(written(), JSON_TIME),
		"\"level\":\"info\",\"msg\":\"it listens\",\"address\":\"a\\\"b\\\\c\\n\\u0009\\u007f\",\"port\":7400,"
		"\"delta\":-1,\"key\":\"ffffffffffffffff\",\"tls\":false}\n");
	/* what is no UTF-8 (torn, overlong, surrogate, too high) is replaced byte by byte */
	log_info("utf8", LOG_S("good", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), LOG_S("torn", "\xe2\x82"),
		LOG_S("overlong", "\xc0\x80\xe0\x9f\xbf\xf0\x8f\xbf\xbf"), LOG_S("surrogate", "\xed\xa0\x80"),
		LOG_S("high", "\xf4\x90\x80\x80"));
	assert_string_equal(after_time(written(), JSON_TIME),
		"\"level\":\"info\",\"msg\":\"utf8\",\"good\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\","
		"\"torn\":\"\\ufffd\\ufffd\",\"overlong\":"
		"\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\","
		"\"surrogate\":\"\\ufffd\\ufffd\\ufffd\",\"high\":\"\\ufffd\\ufffd\\ufffd\\ufffd\"}\n");
}

static unsigned evaluated;

static uint64_t evaluate(void)
{
	return ++evaluated;
}

static void test_levels(void **state)
{
	(void)state;
	static const char *const names[] = { "error", "warn", "info", "debug" };
	for (unsigned level = LOG_ERROR; level <= LOG_DEBUG; level++) {
		enum log_level parsed = LOG_ERROR;
		assert_true(log_level_parse(names[level], &parsed));
		assert_int_equal(parsed, level);
		log_init(LOG_LOGFMT, (enum log_level)level);
		unsigned lines = 0;
		evaluated = 0;
		log_error("e", LOG_U("n", evaluate()));
		log_warn("w", LOG_U("n", evaluate()));
		log_info("i", LOG_U("n", evaluate()));
		log_debug("d", LOG_U("n", evaluate()));
		while (*written())
			lines++;
		assert_int_equal(lines, level + 1);
		assert_int_equal(evaluated, lines);
	}
	enum log_level untouched = LOG_WARN;
	assert_false(log_level_parse("trace", &untouched));
	assert_false(log_level_parse("", &untouched));
	assert_int_equal(untouched, LOG_WARN);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
	(void)state;
	char longer[2000], middle[900];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	memset(middle, 'y', sizeof(middle) - 1);
	middle[sizeof(middle) - 1] = 0;
	log_init(LOG_JSON, LOG_INFO);
	log_info("long", LOG_S("longer", longer), LOG_U("after", 1));
	assert_string_equal(
		after_time(written(), JSON_TIME), "\"level\":\"info\",\"msg\":\"long\",\"after\":1,\"cut\":true}\n");
	log_info("many", LOG_S("a", middle), LOG_S("b", middle), LOG_S("c", middle), LOG_S("d", middle),
		LOG_S("e", middle), LOG_B("small", true));
	const char *line = written();
	assert_in_range(strlen(line), 3600, LOG_LINE_MAX - 1);
	assert_non_null(strstr(line, "\"d\":\"yyy"));
	assert_null(strstr(line, "\"e\":"));
	assert_non_null(strstr(line, "y\",\"small\":true,\"cut\":true}\n"));
}

static void test_errno_survives(void **state)
{
	(void)state;
	log_init(LOG_LOGFMT, LOG_INFO);
	errno = ENOSPC;
	log_info("x");
	assert_int_equal(errno, ENOSPC);
	assert_true(*written() != 0);
	/* also when the log itself fails; the teardown brings stderr back */
	close(STDERR_FILENO);
	errno = ENOSPC;
	log_info("x");
	int after = errno;
	assert_int_equal(dup2(capture[1], STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(after, ENOSPC);
}

enum { THREADS = 4, LINES = 50 };

static void *log_lines(void *arg)
{
	const char *name = arg;
	for (unsigned i = 0; i < LINES; i++)
		log_info("thread", LOG_S("name", name), LOG_U("i", i));
	return NULL;
}

static void *read_lines(void *arg)
{
	unsigned *whole = arg;
	char line[LOG_LINE_MAX];
	for (unsigned i = 0; i < THREADS * LINES; i++) {
		ssize_t size = recv(capture[0], line, sizeof(line) - 1, 0);
		if (size <= 0)
			break;
		line[size] = 0;
		*whole += strncmp(line, "time=", 5) == 0 && strchr(line, '\n') == line + size - 1;
	}
	return NULL;
}

static void test_threads_do_not_tear_lines(void **state)
{
	(void)state;
	static char names[THREADS][2] = { "a", "b", "c", "d" };
	pthread_t threads[THREADS], reader;
	unsigned whole = 0;
	log_init(LOG_LOGFMT, LOG_INFO);
	assert_int_equal(pthread_create(&reader, NULL, read_lines, &whole), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_lines, names[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(pthread_join(reader, NULL), 0);
	assert_int_equal(whole, THREADS * LINES);
}

#define CAPTURED(test) cmocka_unit_test_setup_teardown(test, begin_capture, end_capture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAPTURED(test_logfmt),
		CAPTURED(test_json),
		CAPTURED(test_levels),
		CAPTURED(test_what_does_not_fit_is_left_out),
		CAPTURED(test_errno_survives),
		CAPTURED(test_threads_do_not_tear_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
