/* config/errors.h: what is wrong with a configuration, for people: where, why, what to change. A caller's array of
 * bounded size that collects up to CONFIG_ERRORS_MAX of them, so that one run shows everything. */
#ifndef DOMICILE_CONFIG_ERRORS_H
#define DOMICILE_CONFIG_ERRORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { CONFIG_ERRORS_MAX = 20, CONFIG_SOURCE_MAX = 256, CONFIG_ERROR_TEXT_MAX = 960 };

struct config_error {
	char source[CONFIG_SOURCE_MAX]; /* the file as it was named; or "flag --cache", "environment DOMICILED_CACHE" */
	uint32_t line, column;		/* from 1; 0: the source has none */
	char reason[320];
	char cure[240]; /* "": none known */
	bool warning;	/* the file can be used as it is */
};
struct config_errors {
	uint32_t count, dropped; /* dropped: found when `at` was full */
	struct config_error at[CONFIG_ERRORS_MAX];
};

void config_errors_init(struct config_errors *errors);
/* The new error, its source and position set, for the caller to fill; a dummy once the array is full. */
struct config_error *config_error_add(struct config_errors *errors, const char *source, uint32_t line, uint32_t column);
/* "policies.yaml:3:5: reason; cure", "policies.yaml:3:5: warning: reason; cure", without a newline. Returns out. */
const char *config_error_format(const struct config_error *error, char *out, size_t capacity);

#endif
