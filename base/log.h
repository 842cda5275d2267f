/* base/log.h: events to stderr, one line and one write(2) each, so that threads never tear each other's lines.
 * The message is a constant; what varies goes into typed fields. Keys and values of users never do: log their hash
 * (LOG_H). A field that no longer fits is left out and the line says "cut". Any thread may log; log_init comes
 * before the first of them. Never in policy/ or replication/.
 *
 *	log_info("listening", LOG_S("address", address), LOG_U("port", port)); */
#ifndef DOMICILE_BASE_LOG_H
#define DOMICILE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT, LOG_JSON };
enum log_kind { LOG_KIND_TEXT, LOG_KIND_U64, LOG_KIND_I64, LOG_KIND_HEX, LOG_KIND_BOOL };
enum { LOG_LINE_MAX = 4096 };

struct log_field {
	const char *name; /* a plain word, constant */
	enum log_kind kind;
	union {
		const char *text; /* NULL is empty; borrowed for the call */
		uint64_t u64;
		int64_t i64;
		bool boolean;
	};
};

#define LOG_S(field, value) ((struct log_field){ .name = (field), .kind = LOG_KIND_TEXT, .text = (value) })
#define LOG_U(field, value) ((struct log_field){ .name = (field), .kind = LOG_KIND_U64, .u64 = (value) })
#define LOG_I(field, value) ((struct log_field){ .name = (field), .kind = LOG_KIND_I64, .i64 = (value) })
#define LOG_H(field, value) ((struct log_field){ .name = (field), .kind = LOG_KIND_HEX, .u64 = (value) })
#define LOG_B(field, value) ((struct log_field){ .name = (field), .kind = LOG_KIND_BOOL, .boolean = (value) })

void log_init(enum log_format format, enum log_level level); /* before it: logfmt, info */
bool log_enabled(enum log_level level);
bool log_level_parse(const char *name, enum log_level *level); /* "error" "warn" "info" "debug" */
void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count);

/* The array begins with an unused field, so that an event may have none. Fields are evaluated only when the level is
 * enabled. */
#define LOG_FIELDS(...) ((const struct log_field[]){ { .name = NULL }, ##__VA_ARGS__ })
#define log_event(level, message, ...)                                                                                 \
	do {                                                                                                           \
		if (log_enabled(level))                                                                                \
			log_write(level, "" message, LOG_FIELDS(__VA_ARGS__) + 1,                                      \
				sizeof(LOG_FIELDS(__VA_ARGS__)) / sizeof(struct log_field) - 1);                       \
	} while (0)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)

#endif
