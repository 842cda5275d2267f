/* bench/flags.h: the flags of one subcommand as a table: from it come the parser, its complaints and the help text. */
#ifndef DOMICILE_BENCH_FLAGS_H
#define DOMICILE_BENCH_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

enum flag_kind { FLAG_TEXT = 1, FLAG_NUMBER, FLAG_MS, FLAG_ON };
struct flag {
	const char *name, *help; /* help: "" shares the line above */
	uint8_t kind;
	union {
		const char **text;
		uint64_t *number; /* FLAG_MS: milliseconds, written as a duration */
		bool *on;
	};
	uint64_t min, max;
};
#define FLAG_TEXT(flag_name, to, about)                                                                                \
	{                                                                                                              \
		.name = flag_name, .kind = FLAG_TEXT, .text = to, .help = about                                        \
	}
#define FLAG_NUMBER(flag_name, to, least, most, about)                                                                 \
	{                                                                                                              \
		.name = flag_name, .kind = FLAG_NUMBER, .number = to, .min = least, .max = most, .help = about         \
	}
#define FLAG_MS(flag_name, to, about)                                                                                  \
	{                                                                                                              \
		.name = flag_name, .kind = FLAG_MS, .number = to, .min = 1, .max = 3600000, .help = about              \
	}
#define FLAG_ON(flag_name, to, about)                                                                                  \
	{                                                                                                              \
		.name = flag_name, .kind = FLAG_ON, .on = to, .help = about                                            \
	}

/* Number of positional arguments left, moved to the front behind argv[0]; -1: help was shown, exit 0; -2: a complaint
 * was printed, exit 2. `about` is the first lines of the help text. */
int flags_parse(int argc, char **argv, const char *about, const struct flag *flags, unsigned count);

#endif
