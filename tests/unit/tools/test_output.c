/* Keys and values in their forms, tables, the envelope, errors by code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/errors.c"
#include "tools/form.c"
#include "tools/output.c"

#include <cmocka.h> /* behind ours: it makes a macro of `fail` */

/* A command line with one flag, without the parser. */
static const char *given_name, *given_value;
const char *flag_text(const struct invocation *invocation, const char *name)
{
	(void)invocation;
	return given_name != NULL && strcmp(name, given_name) == 0 ? given_value : NULL;
}

static void check_form(enum form form, const char *text, struct bytes bytes)
{
	struct owned_bytes decoded;
	const char *why = "";
	char *encoded = form_encode(form, bytes);

	assert_string_equal(encoded, text);
	assert_true(form_decode(form, text, &decoded, &why));
	assert_int_equal(decoded.size, bytes.size);
	assert_true(bytes.size == 0 || memcmp(decoded.data, bytes.data, bytes.size) == 0);
	free(encoded);
	free(decoded.data);
}

static void forms_go_both_ways(void **state)
{
	static const uint8_t odd[] = { 'a', 0, 0xff, '\\', ' ', 0xc3, 0xa9 };

	(void)state;
	check_form(FORM_ESCAPE, "a\\x00\\xff\\\\ \\xc3\\xa9", bytes_of(odd, sizeof(odd)));
	check_form(FORM_HEX, "6100ff5c20c3a9", bytes_of(odd, sizeof(odd)));
	check_form(FORM_BASE64, "YQD/XCDDqQ==", bytes_of(odd, sizeof(odd)));
	check_form(FORM_UTF8, "h\xc3\xa9", bytes_text("h\xc3\xa9"));
	check_form(FORM_ESCAPE, "", bytes_text(""));
	check_form(FORM_HEX, "", bytes_text(""));
}

static void all_bytes_survive_every_form(void **state)
{
	static const enum form forms[] = { FORM_ESCAPE, FORM_HEX, FORM_BASE64 };
	uint8_t all[256];

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	for (unsigned f = 0; f < 3; f++) {
		char *text = form_encode(forms[f], bytes_of(all, sizeof(all)));
		struct owned_bytes back;
		const char *why;

		assert_true(form_decode(forms[f], text, &back, &why));
		assert_int_equal(back.size, sizeof(all));
		assert_memory_equal(back.data, all, sizeof(all));
		free(text);
		free(back.data);
	}
}

static void what_is_not_utf8_is_escaped(void **state)
{
	char *text = form_encode(FORM_UTF8, bytes_of("\xff\n", 2));

	(void)state;
	assert_string_equal(text, "\\xff\\x0a");
	free(text);
}

static void malformed_text_is_refused(void **state)
{
	static const struct {
		enum form form;
		const char *text;
	} cases[] = { { FORM_ESCAPE, "\\" }, { FORM_ESCAPE, "\\x1" }, { FORM_ESCAPE, "\\n" }, { FORM_ESCAPE, "\\xgg" },
		{ FORM_HEX, "abc" }, { FORM_HEX, "zz" }, { FORM_BASE64, "YQ" }, { FORM_BASE64, "YQ= =" } };
	struct owned_bytes out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = "";

		assert_false(form_decode(cases[i].form, cases[i].text, &out, &why));
		assert_null(out.data);
		assert_true(strlen(why) > 0);
	}
}

static void a_file_is_read_as_it_is(void **state)
{
	char path[] = "/tmp/domctl-test.XXXXXX", argument[64];
	static const uint8_t content[] = { 0, '\\', 'x', 0xff, '\n' };
	struct invocation invocation = { 0 };
	struct owned_bytes bytes;
	int fd = mkstemp(path);

	(void)state;
	assert_true(write(fd, content, sizeof(content)) == sizeof(content));
	close(fd);
	snprintf(argument, sizeof(argument), "@%s", path);
	given_name = "key-format";
	given_value = "hex"; /* forms are for what is typed, not for files */
	assert_int_equal(argument_bytes(&invocation, argument, "key-format", &bytes), EXIT_OK);
	assert_int_equal(bytes.size, sizeof(content));
	assert_memory_equal(bytes.data, content, sizeof(content));
	free(bytes.data);
	assert_int_equal(argument_bytes(&invocation, "6162", "key-format", &bytes), EXIT_OK);
	assert_int_equal(bytes.size, 2);
	free(bytes.data);
	given_name = NULL;
	unlink(path);
}

/* What a function writes to the stream, in the caller's buffer. */
static void table_text(const json_t *items, const struct column *columns, bool wide, char *out, size_t capacity)
{
	FILE *file = fmemopen(out, capacity, "w");

	assert_non_null(file);
	output_table(file, items, columns, wide);
	fclose(file);
}

static void a_table_lines_up(void **state)
{
	static const struct column columns[] = { { .title = "NAME", .field = "name" },
		{ .title = "N", .field = "deep.n", .right = true },
		{ .title = "MS", .field = "us", .right = true, .form = FORM_MS }, { .title = "LIST", .field = "list" },
		{ .title = "MORE", .field = "yes", .wide = true }, { 0 } };
	json_t *items = json_pack("[{s:s,s:{s:i},s:i,s:[s,s],s:b},{s:s,s:n}]", "name", "h\xc3\xa9llo", "deep", "n",
		12345, "us", 68180, "list", "a", "b", "yes", 1, "name", "", "us");
	char text[1024];

	(void)state;
	assert_non_null(items);
	paint_init(COLOR_NEVER);
	table_text(items, columns, false, text, sizeof(text));
	assert_string_equal(text, "NAME       N    MS  LIST\n"
				  "h\xc3\xa9llo  12345  68.2  a,b\n"
				  "\"\"         -     -  -\n");
	table_text(items, columns, true, text, sizeof(text));
	assert_non_null(strstr(text, "LIST  MORE\n"));
	assert_non_null(strstr(text, "a,b   yes\n"));
	json_decref(items);
}

static void colour_only_where_it_is_wanted(void **state)
{
	(void)state;
	paint_init(COLOR_NEVER);
	assert_string_equal(paint(stdout, PAINT_BAD), "");
	paint_init(COLOR_ALWAYS);
	assert_string_equal(paint(stdout, PAINT_BAD), "\033[31m");
	paint_init(COLOR_AUTO);
	setenv("NO_COLOR", "1", 1);
	setenv("CLICOLOR_FORCE", "1", 1);
	assert_string_equal(paint(stdout, PAINT_BAD), "");
	unsetenv("NO_COLOR");
	assert_string_equal(paint(stdout, PAINT_BAD), "\033[31m");
	unsetenv("CLICOLOR_FORCE");
	paint_init(COLOR_NEVER);
}

static void ids_are_text_and_times_are_utc(void **state)
{
	json_t *id = json_id(UINT64_MAX), *time = json_time_us(1700000000000001), *none = json_time_us(0);
	json_t *object = json_object();

	(void)state;
	assert_string_equal(json_string_value(id), "18446744073709551615");
	assert_string_equal(json_string_value(time), "2023-11-14T22:13:20.000001Z");
	assert_true(json_is_null(none));
	set(object, "id", id);
	assert_true(field_u64(object, "id") == UINT64_MAX);
	assert_true(field_u64(object, "none") == 0);
	assert_string_equal(field_text(object, "none"), "");
	json_decref(object);
	json_decref(time);
	json_decref(none);
}

static void every_code_is_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < error_code_count; i++) {
		assert_true(strncmp(error_codes[i].code, "DOM-", 4) == 0);
		assert_int_equal(strlen(error_codes[i].code), 8);
		assert_true(strlen(error_codes[i].text) > 20);
		assert_ptr_equal(error_code_find(error_codes[i].code), &error_codes[i]);
		assert_ptr_equal(error_code_find(error_codes[i].code + 4), &error_codes[i]);
	}
	assert_null(error_code_find("DOM-Z999"));
	assert_null(error_code_find(""));
}

static void statuses_keep_their_exit_codes(void **state)
{
	static const enum dom_status statuses[] = { DOM_NOT_FOUND, DOM_RESIDENCY_REFUSED, DOM_POLICY_MISMATCH,
		DOM_QUORUM_UNAVAILABLE, DOM_UNKNOWN_OUTCOME, DOM_TIMED_OUT, DOM_BUSY, DOM_TOO_LARGE, DOM_INVALID,
		DOM_CANNOT_CONNECT, DOM_CLOSED, DOM_CONFLICT };

	(void)state;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		for (unsigned change = 0; change < 2; change++) {
			const struct error_code *error = error_code_find(error_code_of(statuses[i], change == 1));

			assert_non_null(error);
			assert_int_equal(error->exit, statuses[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_go_both_ways),
		cmocka_unit_test(all_bytes_survive_every_form),
		cmocka_unit_test(what_is_not_utf8_is_escaped),
		cmocka_unit_test(malformed_text_is_refused),
		cmocka_unit_test(a_file_is_read_as_it_is),
		cmocka_unit_test(a_table_lines_up),
		cmocka_unit_test(colour_only_where_it_is_wanted),
		cmocka_unit_test(ids_are_text_and_times_are_utc),
		cmocka_unit_test(every_code_is_told_apart),
		cmocka_unit_test(statuses_keep_their_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
