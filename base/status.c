/* base/status.c: the texts of base/status.h. Pure. */
#include "base/status.h"

#include <stddef.h>

struct status_row {
	const char *name, *text;
	uint32_t number;
	bool retryable, maybe_applied;
};

static const struct status_row rows[] = {
#define X(name, number, text, retryable, maybe) { #name, text, number, retryable, maybe },
	STATUS_LIST(X)
#undef X
};

static const struct status_row *row_of(uint32_t number)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].number == number)
			return &rows[i];
	return NULL;
}

const char *status_name(enum status status)
{
	const struct status_row *row = row_of((uint32_t)status);
	return row ? row->name : "UNKNOWN";
}

const char *status_text(enum status status)
{
	const struct status_row *row = row_of((uint32_t)status);
	return row ? row->text : "unknown status";
}

bool status_known(uint32_t number)
{
	return row_of(number) != NULL;
}

bool status_retryable(enum status status)
{
	const struct status_row *row = row_of((uint32_t)status);
	return row && row->retryable;
}

/* A status that this build does not know may have come after the effect: say so rather than promise nothing. */
bool status_maybe_applied(enum status status)
{
	const struct status_row *row = row_of((uint32_t)status);
	return !row || row->maybe_applied;
}
