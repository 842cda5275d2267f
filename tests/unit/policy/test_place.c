/* tests/unit/policy/test_place.c: places and selectors: what is one, and that only whole components count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/place.h"

static struct place place(const char *text)
{
	struct place parsed;
	const char *why = NULL;
	if (!place_parse(text, &parsed, &why))
		fail_msg("%s: %s", text, why);
	return parsed;
}

static void refuse(const char *text)
{
	struct place parsed;
	const char *why = NULL;
	memset(&parsed, 'x', sizeof(parsed));
	assert_false(place_parse(text, &parsed, &why));
	assert_non_null(why);
	assert_string_equal(parsed.text, "");
	assert_false(place_parse(text, &parsed, NULL));
}

static void test_parse(void **state)
{
	(void)state;
	assert_string_equal(place("eu/ie/eu-west-1/a/n1").text, "eu/ie/eu-west-1/a/n1");
	assert_string_equal(place("a/b/c/d/e/f/g/h").text, "a/b/c/d/e/f/g/h");
	refuse("");
	refuse("/");
	refuse("/eu");
	refuse("eu/");
	refuse("eu//ie");
	refuse("EU");
	refuse("eu ie");
	refuse("eu_ie");
	refuse("*");
	refuse("eu.ie");
	refuse("a/b/c/d/e/f/g/h/i");
}

static void test_lengths(void **state)
{
	(void)state;
	char text[400];
	memset(text, 'a', sizeof(text));
	text[63] = 0;
	assert_int_equal(strlen(place(text).text), 63);
	text[63] = 'a';
	text[64] = 0;
	refuse(text);
	/* four of 63 and a short one: 255 fit, 256 do not */
	for (unsigned i = 0; i < 255; i++)
		text[i] = i % 64 == 63 ? '/' : 'a';
	text[255] = 0;
	assert_int_equal(strlen(place(text).text), 255);
	text[255] = '/';
	text[256] = 'a';
	text[257] = 0;
	refuse(text);
}

static void test_within_whole_components(void **state)
{
	(void)state;
	struct place node = place("eu/ie/eu-west-1/a/n1");
	assert_true(place_within(&node, "eu"));
	assert_true(place_within(&node, "eu/ie"));
	assert_true(place_within(&node, "eu/ie/eu-west-1/a/n1"));
	assert_true(place_within(&node, "*"));
	assert_false(place_within(&node, ""));
	assert_false(place_within(&node, "e"));
	assert_false(place_within(&node, "eu/ie/eu-west"));
	assert_false(place_within(&node, "eu/ie/eu-west-1/a/n1/x"));
	assert_false(place_within(&node, "ie"));
	struct place europe = place("europe/ie");
	assert_false(place_within(&europe, "eu"));
	struct place none = { 0 };
	assert_false(place_within(&none, "eu"));
}

static void test_parts(void **state)
{
	(void)state;
	struct place node = place("eu/ie/eu-west-1/a/n1");
	struct place none = { 0 };
	assert_int_equal(place_depth(&node), 5);
	assert_int_equal(place_depth(&none), 0);
	assert_string_equal(place_last(&node), "n1");
	assert_string_equal(place_last(&none), "");
	assert_string_equal(place_prefix(&node, 0).text, "");
	assert_string_equal(place_prefix(&node, 1).text, "eu");
	assert_string_equal(place_prefix(&node, 3).text, "eu/ie/eu-west-1");
	assert_string_equal(place_prefix(&node, 5).text, node.text);
	assert_string_equal(place_prefix(&node, 9).text, node.text);
	struct place same = place("eu/ie/eu-west-1/a/n1");
	struct place other = place("eu/ie/eu-west-1/a/n2");
	assert_true(place_equal(&node, &same));
	assert_false(place_equal(&node, &other));
}

static bool matches(const char *text, const char *where)
{
	static const char tags[2][TAG_TEXT_MAX] = { "cloud=aws", "tier=edge" };
	struct selector selector;
	struct place at = place(where);
	const char *why = NULL;
	if (!selector_parse(text, &selector, &why))
		fail_msg("%s: %s", text, why);
	return selector_matches(&selector, &at, tags, 2);
}

static void test_selectors(void **state)
{
	(void)state;
	assert_true(matches("*", "us/us-east-1"));
	assert_true(matches("us", "us/us-east-1"));
	assert_false(matches("u", "us/us-east-1"));
	assert_true(matches("cloud=aws", "us/us-east-1"));
	assert_true(matches("tier=edge", "us/us-east-1"));
	assert_false(matches("cloud=aw", "us/us-east-1"));
	assert_false(matches("cloud=gcp", "us/us-east-1"));
	struct selector none = { 0 };
	struct place at = place("us");
	assert_false(selector_matches(&none, &at, NULL, 0));
}

static void refuse_selector(const char *text)
{
	struct selector selector;
	const char *why = NULL;
	assert_false(selector_parse(text, &selector, &why));
	assert_non_null(why);
	assert_int_equal(selector.kind, 0);
}

static void test_no_selectors(void **state)
{
	(void)state;
	char text[200];
	refuse_selector("");
	refuse_selector("**");
	refuse_selector("eu/*");
	refuse_selector("=x");
	refuse_selector("cloud=");
	refuse_selector("cloud=a b");
	refuse_selector("cloud=a=b");
	refuse_selector("Cloud=a");
	memset(text, 'a', sizeof(text));
	text[5] = '=';
	text[TAG_TEXT_MAX] = 0;
	refuse_selector(text);
	text[TAG_TEXT_MAX - 1] = 0;
	struct selector selector;
	assert_true(selector_parse(text, &selector, NULL));
	assert_int_equal(selector.kind, SELECTOR_TAG);
	memset(text, 'a', sizeof(text));
	text[60] = text[120] = '/';
	text[SELECTOR_TEXT_MAX] = 0;
	refuse_selector(text);
	text[SELECTOR_TEXT_MAX - 1] = 0;
	assert_true(selector_parse(text, &selector, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_within_whole_components),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_selectors),
		cmocka_unit_test(test_no_selectors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
