/* tools/output.h: the answer, from one tree of JSON in every form: `-o json` is the tree in its envelope, a table is
 * the tree's items through columns. So a table never shows what JSON does not have. stdout only; what is not the answer
 * goes to stderr. */
#ifndef DOMICILE_TOOLS_OUTPUT_H
#define DOMICILE_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "tools/command.h"

enum column_form { FORM_PLAIN = 0, FORM_MS, FORM_ONE_DECIMAL };
struct column {
	const char *title; /* in capitals; ended with a NULL one */
	const char *field; /* of the item; "a.b" reaches into objects */
	bool right, wide;  /* wide: only with -o wide */
	uint8_t form;	   /* enum column_form: MS takes microseconds */
};

/* Takes over `items` (an array). name_field: what -o name and -q print. A kind of one thing (no "List" at its end)
 * is an array of one here too: kinds never change shape. Returns EXIT_OK. */
int output_items(const struct invocation *invocation, const char *kind, const char *cluster, json_t *items,
	const struct column *columns, const char *name_field);
/* The same without a table, and items are borrowed. False: nothing was printed, people's form is the caller's to print.
 */
bool output_machine(const struct invocation *invocation, const char *kind, const char *cluster, json_t *items,
	const char *name_field);
/* To any stream, for the demo. Borrows items. */
void output_table(FILE *out, const json_t *items, const struct column *columns, bool wide);

json_t *json_id(uint64_t id); /* as text: ids exceed 2^53 */
json_t *json_bytes_base64(const void *data, size_t size);
json_t *json_time_us(uint64_t wall_us);				/* "2026-11-24T11:00:54.123456Z"; null for 0 */
void set(json_t *object, const char *name, json_t *value);	/* takes the value over; no memory: stops */
const char *field_text(const json_t *object, const char *name); /* "" when it is no text */
uint64_t field_u64(const json_t *object, const char *name);	/* of a number or of digits; 0 otherwise */

/* Colour, only where it is wanted: "" elsewhere. */
enum paint { PAINT_OFF, PAINT_GOOD, PAINT_BAD, PAINT_WARN, PAINT_HEAD, PAINT_DIM, PAINT_ACCENT };
void paint_init(enum color color);
const char *paint(FILE *stream, enum paint paint);
bool on_terminal(FILE *stream);

#endif
