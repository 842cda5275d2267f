/* tools/form.h: keys and values as people and scripts write them. They are bytes; printable text is only one form. */
#ifndef DOMICILE_TOOLS_FORM_H
#define DOMICILE_TOOLS_FORM_H

#include <jansson.h>

#include "base/bytes.h"
#include "tools/command.h"

enum form { FORM_ESCAPE, FORM_UTF8, FORM_HEX, FORM_BASE64, FORM_RAW };
enum form form_of(const struct invocation *invocation, const char *flag);

struct owned_bytes {
	void *data; /* free */
	size_t size;
};
static inline struct bytes owned(const struct owned_bytes *bytes)
{
	return bytes_of(bytes->data, bytes->size);
}
/* False: *why says what is wrong with the text. */
bool form_decode(enum form form, const char *text, struct owned_bytes *out, const char **why);
char *form_encode(enum form form, struct bytes bytes); /* for the caller to free; utf8 falls back to escape */

/* An argument: its text in the form of --key-format or --value-format, `-` (standard input) or @FILE, whose bytes are
 * taken as they are. On failure it has printed the error and returns its exit code; 0 otherwise. */
int argument_bytes(
	const struct invocation *invocation, const char *argument, const char *flag, struct owned_bytes *out);
/* The same for a key: it is not empty. */
int argument_key(const struct invocation *invocation, const char *argument, struct owned_bytes *out);
/* {"key":..., "key_b64":...} into the object: text in the form, and always base64. */
void set_bytes(json_t *object, const char *name, enum form form, struct bytes bytes);

#endif
