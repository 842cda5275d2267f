/* base/units.h: numbers, sizes and durations as people write them. Strict: the whole text, no spaces, no signs, no
 * fractions, no overflow; false leaves *out alone. What format_* writes, parse_* reads back as the same value. Pure. */
#ifndef DOMICILE_BASE_UNITS_H
#define DOMICILE_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { UNITS_TEXT_MAX = 24 }; /* room for whatever format_* writes */

bool parse_u64(const char *text, uint64_t *out) MUST;	      /* decimal digits */
bool parse_size(const char *text, uint64_t *out) MUST;	      /* "4096", "64KiB"; B KiB MiB GiB TiB, KB MB GB TB */
bool parse_duration_us(const char *text, uint64_t *out) MUST; /* "0", or with us ms s m h d */

/* In the largest unit that gives a whole number: "64MiB", "90s". They give back out. */
const char *format_size(char *out, size_t capacity, uint64_t size);
const char *format_duration(char *out, size_t capacity, uint64_t us);
/* Whole days until then, both in seconds since 1970; negative: it is over. */
int64_t days_until(int64_t then_s, int64_t now_s);

#endif
