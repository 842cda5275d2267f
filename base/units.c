/* base/units.c: see base/units.h. */
#include "base/units.h"

#include <string.h>

#include "base/text.h"

struct unit {
	const char *name;
	uint64_t scale;
};

/* Largest first; format_* takes the first that divides, and stops before the decimal sizes. */
static const struct unit sizes[] = {
	{ "TiB", UINT64_C(1) << 40 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "KiB", UINT64_C(1) << 10 },
	{ "B", 1 },
	{ "TB", UINT64_C(1000000000000) },
	{ "GB", 1000000000 },
	{ "MB", 1000000 },
	{ "KB", 1000 },
	{ "kB", 1000 },
};
static const struct unit durations[] = {
	{ "d", UINT64_C(86400000000) },
	{ "h", UINT64_C(3600000000) },
	{ "m", 60000000 },
	{ "s", 1000000 },
	{ "ms", 1000 },
	{ "us", 1 },
};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), DURATIONS = sizeof(durations) / sizeof(durations[0]) };

/* The digits at the start of text; gives what follows them, NULL when there are none or they overflow. */
static const char *digits(const char *text, uint64_t *out)
{
	uint64_t value = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return NULL;
	*out = value;
	return at == text ? NULL : at;
}

bool parse_u64(const char *text, uint64_t *out)
{
	uint64_t value = 0;
	const char *rest = digits(text, &value);
	if (!rest || *rest)
		return false;
	*out = value;
	return true;
}

static bool parse_scaled(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
	uint64_t value = 0;
	const char *name = digits(text, &value);
	for (size_t i = 0; name && i < count; i++) {
		if (strcmp(name, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(value, units[i].scale, &value))
			return false;
		*out = value;
		return true;
	}
	return false;
}

bool parse_size(const char *text, uint64_t *out)
{
	return parse_u64(text, out) || parse_scaled(text, sizes, SIZES, out);
}

bool parse_duration_us(const char *text, uint64_t *out)
{
	if (strcmp(text, "0") != 0)
		return parse_scaled(text, durations, DURATIONS, out);
	*out = 0;
	return true;
}

static const char *format(char *out, size_t capacity, uint64_t value, const struct unit *units, const char *zero)
{
	struct text text;
	text_init(&text, out, capacity);
	if (value == 0) {
		text_add(&text, zero);
		return out;
	}
	while (value % units->scale != 0) /* ends: every table has a unit of 1 */
		units++;
	text_add_u64(&text, value / units->scale);
	text_add(&text, units->name);
	return out;
}

const char *format_size(char *out, size_t capacity, uint64_t size)
{
	return format(out, capacity, size, sizes, "0B");
}

const char *format_duration(char *out, size_t capacity, uint64_t us)
{
	return format(out, capacity, us, durations, "0s");
}

int64_t days_until(int64_t then_s, int64_t now_s)
{
	int64_t left_s = then_s - now_s;
	return left_s >= 0 ? left_s / 86400 : -((-left_s + 86399) / 86400);
}
