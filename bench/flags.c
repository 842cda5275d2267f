/* bench/flags.c: see bench/flags.h. */
#include "bench/flags.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"

enum { FLAGS_MAX = 48, FIRST = 256 };

static void help(FILE *out, const char *about, const struct flag *flags, unsigned count)
{
	static const char *const arguments[] = { "", "TEXT", "N", "DURATION", "" };

	fprintf(out, "%s\n\n", about);
	for (unsigned i = 0; i < count; i++) {
		char name[64];

		snprintf(name, sizeof(name), "--%s %s", flags[i].name, arguments[flags[i].kind]);
		fprintf(out, "  %-24s %s\n", name, flags[i].help);
	}
}

static bool set(const struct flag *flag, const char *value)
{
	uint64_t number;

	switch ((enum flag_kind)flag->kind) {
	case FLAG_TEXT:
		*flag->text = value;
		return true;
	case FLAG_ON:
		*flag->on = true;
		return true;
	case FLAG_NUMBER:
		if (parse_u64(value, &number) && number >= flag->min && number <= flag->max) {
			*flag->number = number;
			return true;
		}
		fprintf(stderr, "dombench: --%s: '%s' is no number from %" PRIu64 " to %" PRIu64 "\n", flag->name,
			value, flag->min, flag->max);
		return false;
	case FLAG_MS:
		if (parse_duration_us(value, &number) && number / 1000 >= flag->min && number / 1000 <= flag->max) {
			*flag->number = number / 1000;
			return true;
		}
		fprintf(stderr, "dombench: --%s: '%s' is no duration from 1ms to 1h\n", flag->name, value);
		return false;
	}
	return false;
}

int flags_parse(int argc, char **argv, const char *about, const struct flag *flags, unsigned count)
{
	struct option options[FLAGS_MAX + 2] = { 0 };
	int option, left = 0;

	assert(count <= FLAGS_MAX);
	for (unsigned i = 0; i < count; i++)
		options[i] = (struct option){ flags[i].name, flags[i].kind == FLAG_ON ? 0 : 1, NULL, FIRST + (int)i };
	options[count] = (struct option){ "help", 0, NULL, FIRST + (int)count };
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == FIRST + (int)count) {
			help(stdout, about, flags, count);
			return -1;
		}
		if (option < FIRST) {
			fprintf(stderr, "see: dombench %s --help\n", argv[0]);
			return -2;
		}
		if (!set(&flags[option - FIRST], optarg))
			return -2;
	}
	while (optind < argc)
		argv[++left] = argv[optind++];
	return left;
}
