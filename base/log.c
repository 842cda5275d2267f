/* base/log.c: see base/log.h. A line is built on the stack: the head, then field by field what fits, then the tail,
 * for which room is kept, so that a cut line is still well formed. */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

enum { FIELD_MAX = 1024, TAIL_MAX = 32 };

static _Atomic int format_now = LOG_LOGFMT;
static _Atomic int level_now = LOG_INFO;
static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_init(enum log_format format, enum log_level level)
{
	assert(format == LOG_LOGFMT || format == LOG_JSON);
	assert(level <= LOG_DEBUG);
	atomic_store(&format_now, (int)format);
	atomic_store(&level_now, (int)level);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *level)
{
	for (unsigned i = 0; i <= LOG_DEBUG; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static void add_digits(struct text *out, int value, unsigned width)
{
	char digits[4];
	assert(width <= sizeof(digits));
	for (unsigned i = width; i > 0; i--, value /= 10)
		digits[i - 1] = (char)('0' + value % 10);
	text_add_bytes(out, bytes_of(digits, width));
}

/* 2024-02-29T12:34:56.789Z */
static void add_time(struct text *out)
{
	struct timespec now = { 0 };
	struct tm utc = { 0 };
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	const struct {
		int value;
		unsigned width;
		const char *after;
	} parts[] = {
		{ utc.tm_year + 1900, 4, "-" },
		{ utc.tm_mon + 1, 2, "-" },
		{ utc.tm_mday, 2, "T" },
		{ utc.tm_hour, 2, ":" },
		{ utc.tm_min, 2, ":" },
		{ utc.tm_sec, 2, "." },
		{ (int)(now.tv_nsec / 1000000), 3, "Z" },
	};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		add_digits(out, parts[i].value, parts[i].width);
		text_add(out, parts[i].after);
	}
}

/* The size of the well-formed UTF-8 character of two to four bytes at `at` (no surrogates, no overlong forms, nothing
 * above U+10FFFF); 0 when there is none. A NUL ends the text and is no continuation byte. */
static size_t utf8_size(const uint8_t *at)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t size = 0;
	if (at[0] >= 0xc2 && at[0] <= 0xdf)
		size = 2;
	else if (at[0] >= 0xe0 && at[0] <= 0xef)
		size = 3;
	else if (at[0] >= 0xf0 && at[0] <= 0xf4)
		size = 4;
	if (at[0] == 0xe0)
		low = 0xa0;
	else if (at[0] == 0xed)
		high = 0x9f;
	else if (at[0] == 0xf0)
		low = 0x90;
	else if (at[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < size; i++, low = 0x80, high = 0xbf)
		if (at[i] < low || at[i] > high)
			return 0;
	return size;
}

/* One character of `at` into out, escaped so that both a JSON string and a quoted logfmt value may hold it; gives how
 * many bytes it took. Bytes that are no UTF-8 become U+FFFD in JSON and \xNN in logfmt. */
static size_t add_character(struct text *out, const uint8_t *at, bool json)
{
	static const char hex[] = "0123456789abcdef";
	char escaped[6] = { '\\', 'x', hex[at[0] >> 4], hex[at[0] & 15] };
	size_t took = 1;
	if (at[0] == '"' || at[0] == '\\') {
		escaped[1] = (char)at[0];
		text_add_bytes(out, bytes_of(escaped, 2));
	} else if (at[0] == '\n') {
		text_add(out, "\\n");
	} else if (at[0] >= 0x20 && at[0] < 0x7f) {
		text_add_bytes(out, bytes_of(at, 1));
	} else if (at[0] >= 0x80 && utf8_size(at) > 0) {
		took = utf8_size(at);
		text_add_bytes(out, bytes_of(at, took));
	} else if (!json) {
		text_add_bytes(out, bytes_of(escaped, 4));
	} else if (at[0] >= 0x80) {
		text_add(out, "\\ufffd");
	} else {
		text_add(out, "\\u00");
		text_add_bytes(out, bytes_of(escaped + 2, 2));
	}
	return took;
}

/* A logfmt value stands bare when no reader could mistake where it ends. */
static bool bare(const char *value)
{
	const uint8_t *at = (const uint8_t *)value;
	for (; *at; at++)
		if (*at <= ' ' || *at >= 0x7f || *at == '"' || *at == '=' || *at == '\\')
			return false;
	return at != (const uint8_t *)value;
}

static void add_string(struct text *out, const char *value, bool json)
{
	if (!json && bare(value)) {
		text_add(out, value);
		return;
	}
	text_add(out, "\"");
	for (const uint8_t *at = (const uint8_t *)value; *at;)
		at += add_character(out, at, json);
	text_add(out, "\"");
}

static void add_value(struct text *out, const struct log_field *field, bool json)
{
	switch (field->kind) {
	case LOG_KIND_TEXT:
		add_string(out, field->text ? field->text : "", json);
		break;
	case LOG_KIND_U64:
		text_add_u64(out, field->u64);
		break;
	case LOG_KIND_I64:
		text_add_i64(out, field->i64);
		break;
	case LOG_KIND_HEX: /* a string: JSON numbers lose bits above 2^53 */
		text_add(out, json ? "\"" : "");
		text_add_hex64(out, field->u64);
		text_add(out, json ? "\"" : "");
		break;
	case LOG_KIND_BOOL:
		text_add(out, field->boolean ? "true" : "false");
		break;
	}
}

/* False, and nothing added, when the field as a whole does not fit. */
static bool add_field(struct text *line, const struct log_field *field, bool json)
{
	char memory[FIELD_MAX];
	struct text part;
	text_init(&part, memory, sizeof(memory));
	text_add(&part, json ? ",\"" : " ");
	text_add(&part, field->name);
	text_add(&part, json ? "\":" : "=");
	add_value(&part, field, json);
	if (text_full(&part) || part.size > line->capacity - 1 - line->size - TAIL_MAX)
		return false;
	text_add_bytes(line, bytes_of(part.data, part.size));
	return true;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count)
{
	assert(level <= LOG_DEBUG);
	const int errno_before = errno;
	const bool json = atomic_load_explicit(&format_now, memory_order_relaxed) == LOG_JSON;
	char memory[LOG_LINE_MAX];
	struct text line;
	text_init(&line, memory, sizeof(memory));
	text_add(&line, json ? "{\"time\":\"" : "time=");
	add_time(&line);
	text_add(&line, json ? "\",\"level\":\"" : " level=");
	text_add(&line, level_names[level]);
	text_add(&line, json ? "\"" : "");
	const struct log_field message_field = { .name = "msg", .kind = LOG_KIND_TEXT, .text = message };
	bool whole = add_field(&line, &message_field, json);
	for (size_t i = 0; i < count; i++)
		whole = add_field(&line, &fields[i], json) && whole;
	if (!whole)
		text_add(&line, json ? ",\"cut\":true" : " cut=true");
	text_add(&line, json ? "}\n" : "\n");
	assert(!text_full(&line));
	/* a log that cannot be written has nobody to tell; only an interruption is worth another try */
	while (write(STDERR_FILENO, line.data, line.size) < 0 && errno == EINTR)
		;
	errno = errno_before;
}
