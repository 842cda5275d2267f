/* tools/output.c: see tools/output.h. */
#include "tools/output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"

enum { COLUMNS_MAX = 24, CELL_MAX = 512 };

static enum color wanted_color = COLOR_AUTO;

void paint_init(enum color color)
{
	wanted_color = color;
}

bool on_terminal(FILE *stream)
{
	return isatty(fileno(stream)) == 1;
}

static bool colored(FILE *stream)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM"), *force = getenv("CLICOLOR_FORCE");

	if (wanted_color != COLOR_AUTO)
		return wanted_color == COLOR_ALWAYS;
	if (none != NULL && none[0] != '\0')
		return false;
	if (force != NULL && force[0] != '\0' && strcmp(force, "0") != 0)
		return true;
	return on_terminal(stream) && !(term != NULL && strcmp(term, "dumb") == 0);
}

const char *paint(FILE *stream, enum paint paint)
{
	static const char *const codes[] = { "\033[0m", "\033[32m", "\033[31m", "\033[33m", "\033[1m", "\033[2m",
		"\033[36m" };

	return colored(stream) ? codes[paint] : "";
}

json_t *json_id(uint64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)id);
	return json_string(text);
}

json_t *json_bytes_base64(const void *data, size_t size)
{
	size_t capacity = size / 3 * 4 + 8;
	char *text = malloc(capacity);
	json_t *json;

	if (text == NULL)
		abort();
	base64_encode(text, capacity, bytes_of(data, size));
	json = json_string(text);
	free(text);
	return json;
}

json_t *json_time_us(uint64_t wall_us)
{
	time_t seconds = (time_t)(wall_us / 1000000);
	struct tm parts;
	char text[64];
	size_t size;

	if (wall_us == 0 || gmtime_r(&seconds, &parts) == NULL)
		return json_null();
	size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text + size, sizeof(text) - size, ".%06uZ", (unsigned)(wall_us % 1000000));
	return json_string(text);
}

void set(json_t *object, const char *name, json_t *value)
{
	if (value == NULL || json_object_set_new(object, name, value) != 0) {
		fprintf(stderr, "domctl: out of memory, or a text that is not UTF-8, at '%s'\n", name);
		abort();
	}
}

static const json_t *field_of(const json_t *item, const char *path)
{
	char name[64];

	for (const char *at = path; item != NULL && *at != '\0';) {
		size_t size = strcspn(at, ".");

		snprintf(name, sizeof(name), "%.*s", (int)size, at);
		item = json_object_get(item, name);
		at += size + (at[size] == '.' ? 1 : 0);
	}
	return item;
}

const char *field_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(field_of(object, name));

	return text == NULL ? "" : text;
}

uint64_t field_u64(const json_t *object, const char *name)
{
	const json_t *value = field_of(object, name);
	uint64_t number = 0;

	if (json_is_integer(value))
		return (uint64_t)json_integer_value(value);
	if (json_is_string(value) && !parse_u64(json_string_value(value), &number))
		return 0;
	return number;
}

/* --- tables ---------------------------------------------------------------------------------------- */

static void cell(char out[CELL_MAX], const json_t *value, uint8_t form)
{
	struct text text;

	text_init(&text, out, CELL_MAX);
	if (value == NULL || json_is_null(value)) {
		text_add(&text, "-");
	} else if (json_is_string(value)) {
		text_add(&text, json_string_length(value) == 0 ? "\"\"" : json_string_value(value));
	} else if (json_is_boolean(value)) {
		text_add(&text, json_is_true(value) ? "yes" : "no");
	} else if (json_is_number(value)) {
		if (form == FORM_MS)
			snprintf(out, CELL_MAX, "%.1f", json_number_value(value) / 1000);
		else if (form == FORM_ONE_DECIMAL || json_is_real(value))
			snprintf(out, CELL_MAX, "%.1f", json_number_value(value));
		else
			snprintf(out, CELL_MAX, "%lld", (long long)json_integer_value(value));
	} else if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			char part[CELL_MAX];

			cell(part, json_array_get(value, i), form);
			text_add(&text, i == 0 ? "" : ",");
			text_add(&text, part);
		}
		if (json_array_size(value) == 0)
			text_add(&text, "-");
	} else {
		text_add(&text, "{}");
	}
}

/* How wide it stands: characters of UTF-8, not bytes. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void pad(FILE *out, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fputc(' ', out);
}

static void put_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
	size_t have = width_of(text);

	if (right)
		pad(out, width - have);
	fputs(text, out);
	if (!right && !last)
		pad(out, width - have);
	if (!last)
		fputs("  ", out);
}

void output_table(FILE *out, const json_t *items, const struct column *columns, bool wide)
{
	const struct column *shown[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX], count = 0;
	char text[CELL_MAX];

	for (const struct column *column = columns; column->title != NULL; column++) {
		if (column->wide && !wide)
			continue;
		assert(count < COLUMNS_MAX);
		widths[count] = width_of(column->title);
		for (size_t i = 0; i < json_array_size(items); i++) {
			size_t width;

			cell(text, field_of(json_array_get(items, i), column->field), column->form);
			width = width_of(text);
			widths[count] = width > widths[count] ? width : widths[count];
		}
		shown[count++] = column;
	}
	fputs(paint(out, PAINT_HEAD), out);
	for (size_t c = 0; c < count; c++)
		put_cell(out, shown[c]->title, widths[c], shown[c]->right, c + 1 == count);
	fprintf(out, "%s\n", paint(out, PAINT_OFF));
	for (size_t i = 0; i < json_array_size(items); i++) {
		for (size_t c = 0; c < count; c++) {
			cell(text, field_of(json_array_get(items, i), shown[c]->field), shown[c]->form);
			put_cell(out, text, widths[c], shown[c]->right, c + 1 == count);
		}
		fputc('\n', out);
	}
}

/* --- forms ----------------------------------------------------------------------------------------- */

static void dump(const json_t *json, size_t flags)
{
	if (json == NULL || json_dumpf(json, stdout, flags) != 0)
		abort();
	fputc('\n', stdout);
}

bool output_machine(const struct invocation *invocation, const char *kind, const char *cluster, json_t *items,
	const char *name_field)
{
	json_t *envelope;

	assert(json_is_array(items));
	if (invocation->output == OUTPUT_JSON) {
		envelope = json_object();
		set(envelope, "kind", json_string(kind));
		set(envelope, "v", json_integer(1));
		set(envelope, "cluster", cluster == NULL || cluster[0] == '\0' ? json_null() : json_string(cluster));
		set(envelope, "as_of", json_time_us(clock_wall_us()));
		set(envelope, "items", json_incref(items));
		dump(envelope, on_terminal(stdout) ? JSON_INDENT(2) : JSON_COMPACT);
		json_decref(envelope);
		return true;
	}
	if (invocation->output == OUTPUT_JSONL) {
		for (size_t i = 0; i < json_array_size(items); i++)
			dump(json_array_get(items, i), JSON_COMPACT);
	} else if ((invocation->output == OUTPUT_NAME || invocation->quiet) && name_field != NULL) {
		for (size_t i = 0; i < json_array_size(items); i++) {
			char text[CELL_MAX];

			cell(text, field_of(json_array_get(items, i), name_field), FORM_PLAIN);
			puts(text);
		}
	} else {
		return false;
	}
	return true;
}

int output_items(const struct invocation *invocation, const char *kind, const char *cluster, json_t *items,
	const struct column *columns, const char *name_field)
{
	if (!output_machine(invocation, kind, cluster, items, name_field))
		output_table(stdout, items, columns, invocation->output == OUTPUT_WIDE);
	json_decref(items);
	return 0;
}
