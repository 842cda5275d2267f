/* config/errors.c: see config/errors.h. */
#include "config/errors.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

void config_errors_init(struct config_errors *errors)
{
	memset(errors, 0, sizeof(*errors));
}

struct config_error *config_error_add(struct config_errors *errors, const char *source, uint32_t line, uint32_t column)
{
	static _Thread_local struct config_error beyond;
	assert(errors->count <= CONFIG_ERRORS_MAX);
	struct config_error *error = &beyond;
	if (errors->count < CONFIG_ERRORS_MAX)
		error = &errors->at[errors->count++];
	else
		errors->dropped++;
	memset(error, 0, sizeof(*error));
	struct text text;
	text_init(&text, error->source, sizeof(error->source));
	text_add(&text, source);
	error->line = line;
	error->column = column;
	return error;
}

const char *config_error_format(const struct config_error *error, char *out, size_t capacity)
{
	struct text text;
	text_init(&text, out, capacity);
	text_add(&text, error->source);
	if (error->line > 0) {
		text_add(&text, ":");
		text_add_u64(&text, error->line);
		text_add(&text, ":");
		text_add_u64(&text, error->column);
	}
	text_add(&text, error->warning ? ": warning: " : ": ");
	text_add(&text, error->reason);
	if (error->cure[0]) {
		text_add(&text, "; ");
		text_add(&text, error->cure);
	}
	return out;
}
