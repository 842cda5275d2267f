/* tools/form.c: see tools/form.h. */
#include "tools/form.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/errors.h"
#include "tools/output.h"

enum { INPUT_SIZE_MAX = 4 << 20 };

enum form form_of(const struct invocation *invocation, const char *flag)
{
	static const char *const names[] = { "escape", "utf8", "hex", "base64", "raw" };
	const char *text = flag_text(invocation, flag);

	for (unsigned i = 0; text != NULL && i < 5; i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum form)i;
	}
	return FORM_ESCAPE;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place is fine: the result is never longer. */
static bool unescape(const char *text, uint8_t *out, size_t *size, const char **why)
{
	*size = 0;
	for (; *text != '\0'; text++) {
		if (*text != '\\') {
			out[(*size)++] = (uint8_t)*text;
		} else if (text[1] == '\\') {
			out[(*size)++] = '\\';
			text++;
		} else if (text[1] == 'x' && digit(text[2]) >= 0 && digit(text[3]) >= 0) {
			out[(*size)++] = (uint8_t)(digit(text[2]) * 16 + digit(text[3]));
			text += 3;
		} else {
			*why = "a backslash begins \\xNN (two hexadecimal digits) or \\\\";
			return false;
		}
	}
	return true;
}

bool form_decode(enum form form, const char *text, struct owned_bytes *out, const char **why)
{
	size_t capacity = strlen(text) + 1;
	bool good = true;

	out->data = malloc(capacity);
	out->size = 0;
	if (out->data == NULL)
		abort();
	if (form == FORM_UTF8 || form == FORM_RAW) {
		memcpy(out->data, text, capacity);
		out->size = capacity - 1;
	} else if (form == FORM_ESCAPE) {
		good = unescape(text, out->data, &out->size, why);
	} else if (form == FORM_HEX) {
		good = hex_decode(out->data, capacity, bytes_text(text), &out->size);
		*why = "hexadecimal digits come in pairs of 0-9 a-f";
	} else {
		good = base64_decode(out->data, capacity, bytes_text(text), &out->size);
		*why = "base64 is padded with = and has no spaces";
	}
	if (!good) {
		free(out->data);
		*out = (struct owned_bytes){ 0 };
	}
	return good;
}

static bool is_utf8(struct bytes bytes)
{
	json_t *json = json_stringn(bytes.size == 0 ? "" : bytes.data, bytes.size);
	bool valid = json != NULL;

	for (size_t i = 0; i < bytes.size && valid; i++)
		valid = ((const uint8_t *)bytes.data)[i] >= 0x20 && ((const uint8_t *)bytes.data)[i] != 0x7f;
	json_decref(json);
	return valid;
}

char *form_encode(enum form form, struct bytes bytes)
{
	size_t capacity = 4 * bytes.size + 8;
	char *text = malloc(capacity);

	if (text == NULL)
		abort();
	if (form == FORM_HEX) {
		hex_encode(text, capacity, bytes);
	} else if (form == FORM_BASE64) {
		base64_encode(text, capacity, bytes);
	} else if ((form == FORM_UTF8 || form == FORM_RAW) && is_utf8(bytes)) {
		if (bytes.size > 0)
			memcpy(text, bytes.data, bytes.size);
		text[bytes.size] = '\0';
	} else {
		text_escape(text, capacity, bytes);
	}
	return text;
}

static bool read_all(FILE *file, struct owned_bytes *out)
{
	size_t capacity = 65536, got;

	out->data = malloc(capacity);
	out->size = 0;
	while (out->data != NULL && (got = fread((char *)out->data + out->size, 1, capacity - out->size, file)) > 0) {
		out->size += got;
		if (out->size < capacity)
			continue;
		if (capacity > INPUT_SIZE_MAX)
			return true; /* far above what any key or value may be: refused as too large later */
		capacity *= 2;
		out->data = realloc(out->data, capacity);
	}
	if (out->data == NULL)
		abort();
	return ferror(file) == 0;
}

int argument_bytes(const struct invocation *invocation, const char *argument, const char *flag, struct owned_bytes *out)
{
	const char *why = "";
	char what[128];
	FILE *file;
	bool read;

	*out = (struct owned_bytes){ 0 };
	if (strcmp(argument, "-") == 0 || argument[0] == '@') {
		bool standard = argument[0] == '-';

		file = standard ? stdin : fopen(argument + 1, "rb");
		read = file != NULL && read_all(file, out);
		if (file != NULL && !standard)
			fclose(file);
		if (read)
			return EXIT_OK;
		free(out->data);
		*out = (struct owned_bytes){ 0 };
		return fail(invocation, "DOM-D003", "an argument cannot be read",
			"give - or @FILE of a file that can be read", "%s: %s",
			standard ? "standard input" : argument + 1, strerror(errno));
	}
	if (form_decode(form_of(invocation, flag), argument, out, &why))
		return EXIT_OK;
	snprintf(what, sizeof(what), "an argument does not decode as --%s %s", flag,
		flag_text(invocation, flag) == NULL ? "escape" : flag_text(invocation, flag));
	return fail(invocation, "DOM-U005", what,
		form_of(invocation, flag) == FORM_ESCAPE ? "write \\\\ for a backslash, or choose another form"
							 : "mend the argument, or choose another form",
		"%s", why);
}

int argument_key(const struct invocation *invocation, const char *argument, struct owned_bytes *out)
{
	int code = argument_bytes(invocation, argument, "key-format", out);

	if (code != EXIT_OK || out->size > 0)
		return code;
	free(out->data);
	*out = (struct owned_bytes){ 0 };
	return fail(invocation, "DOM-K004", "this is no key", "name one", "a key has at least one byte");
}

void set_bytes(json_t *object, const char *name, enum form form, struct bytes bytes)
{
	char *text = form_encode(form, bytes), field[64];

	set(object, name, json_string(text));
	snprintf(field, sizeof(field), "%s_b64", name);
	set(object, field, json_bytes_base64(bytes.size == 0 ? "" : bytes.data, bytes.size));
	free(text);
}
