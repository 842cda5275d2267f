/* The control socket's language: what it takes, what it refuses and with which words, which pairs it means. */
#include "bench/wan/command.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const regions[] = { "us-east-1", "eu-west-1", "ap-southeast-1" };
enum { US, EU, AP, REGIONS };

static struct command command;
static char reason[256];

static bool parse(const char *line)
{
	char copy[COMMAND_LINE_MAX];
	struct text why;

	text_init(&why, reason, sizeof(reason));
	snprintf(copy, sizeof(copy), "%s", line);
	return command_parse(copy, regions, REGIONS, &command, &why);
}

static void refuses(const char *line, const char *words)
{
	if (parse(line))
		fail_msg("taken: %s", line);
	if (strstr(reason, words) == NULL)
		fail_msg("'%s' is refused with '%s', which lacks '%s'", line, reason, words);
}

static void test_a_link_with_everything(void **state)
{
	const struct link_settings *settings = &command.settings;

	(void)state;
	assert_true(
		parse("link us-east-1 eu-west-1 delay 34ms jitter 1ms loss 0.1% duplicate 2% reorder 0.0001% by 2ms "
		      "rate 100mbit queue 2MiB burst 64KiB"));
	assert_int_equal(command.kind, COMMAND_LINK);
	assert_int_equal(command.from, US);
	assert_int_equal(command.to, EU);
	assert_false(command.one_way);
	assert_int_equal(settings->delay_us, 34000);
	assert_int_equal(settings->jitter_us, 1000);
	assert_int_equal(settings->loss_ppm, 1000);
	assert_int_equal(settings->duplicate_ppm, 20000);
	assert_int_equal(settings->reorder_ppm, 1);
	assert_int_equal(settings->reorder_by_us, 2000);
	assert_int_equal(settings->rate_bits, 100000000);
	assert_int_equal(settings->queue_bytes, 2 << 20);
	assert_int_equal(settings->burst_bytes, 64 << 10);
	assert_true(parse("link * eu-west-1 one-way rate unlimited loss 100%"));
	assert_true(command.one_way);
	assert_int_equal(settings->rate_bits, 0);
	assert_int_equal(settings->loss_ppm, 1000000);
}

static void test_the_short_commands(void **state)
{
	(void)state;
	assert_true(parse("cut us-east-1 eu-west-1"));
	assert_int_equal(command.kind, COMMAND_CUT);
	assert_true(parse("  cut\tus-east-1 eu-west-1 one-way \r"));
	assert_true(command.one_way);
	assert_true(parse("heal us-east-1 *"));
	assert_int_equal(command.to, COMMAND_ANY);
	assert_true(parse("heal"));
	assert_int_equal(command.kind, COMMAND_HEAL);
	assert_int_equal(command.from, COMMAND_ANY);
	assert_true(parse("delays on"));
	assert_int_equal(command.kind, COMMAND_DELAYS_ON);
	assert_true(parse("delays off"));
	assert_int_equal(command.kind, COMMAND_DELAYS_OFF);
	assert_true(parse("show"));
	assert_int_equal(command.kind, COMMAND_SHOW);
	assert_true(parse("stats"));
	assert_int_equal(command.kind, COMMAND_STATS);
	assert_true(parse("reset"));
	assert_int_equal(command.kind, COMMAND_RESET);
}

static void test_what_is_refused(void **state)
{
	static const char *const bad_percents[] = { "1", "%", ".5%", "1.%", "1.00001%", "101%", "100.1%", "-1%", "1%%",
		"1%5", "0x1%" };
	static const char *const bad_rates[] = { "1", "mbit", "1bit", "1.5mbit", "0kbit", "101gbit", "99999999gbit",
		"1mbits" };
	char line[COMMAND_LINE_MAX];

	(void)state;
	refuses("", "empty");
	refuses("lnik a b", "no such command 'lnik': link");
	refuses("cut", "two regions");
	refuses("cut us-east-1", "two regions");
	refuses("cut us-east-1 us-west-1", "no such region 'us-west-1'");
	refuses("cut us-east-1 eu-west-2", "eu-west-1");
	refuses("cut us-east-1 eu-west-1 both", "one word too many 'both'");
	refuses("show all", "one word too many");
	refuses("delays", "on or off");
	refuses("delays maybe", "on or off");
	refuses("link us-east-1 eu-west-1", "nothing to set");
	refuses("link us-east-1 eu-west-1 dely 3ms", "a link has no 'dely': delay");
	refuses("link us-east-1 eu-west-1 delay", "a value is wanted after 'delay'");
	refuses("link us-east-1 eu-west-1 delay 34", "delay '34': write 34ms");
	refuses("link us-east-1 eu-west-1 delay 11s", "at most 10s");
	refuses("link us-east-1 eu-west-1 delay 1ms delay 2ms", "twice 'delay'");
	refuses("link us-east-1 eu-west-1 queue 17MiB", "at most 16MiB");
	for (size_t i = 0; i < sizeof(bad_percents) / sizeof(bad_percents[0]); i++) {
		snprintf(line, sizeof(line), "link us-east-1 eu-west-1 loss %s", bad_percents[i]);
		refuses(line, "from 0% to 100%");
	}
	for (size_t i = 0; i < sizeof(bad_rates) / sizeof(bad_rates[0]); i++) {
		snprintf(line, sizeof(line), "link us-east-1 eu-west-1 rate %s", bad_rates[i]);
		refuses(line, "from 1kbit to 100gbit");
	}
	memset(line, 'a', sizeof(line));
	for (size_t i = 1; i < sizeof(line); i += 2)
		line[i] = ' ';
	line[sizeof(line) - 1] = '\0';
	refuses(line, "too many words");
}

static void test_merging_replaces_only_what_is_named(void **state)
{
	struct link_settings settings = { .delay_us = 34000, .jitter_us = 500, .loss_ppm = 7, .queue_bytes = 9 },
			     before;
	struct text why;

	(void)state;
	assert_true(parse("link us-east-1 eu-west-1 loss 1% delay 10ms"));
	text_init(&why, reason, sizeof(reason));
	assert_true(command_merge(&command, &settings, &why));
	assert_int_equal(settings.delay_us, 10000);
	assert_int_equal(settings.jitter_us, 500);
	assert_int_equal(settings.loss_ppm, 10000);
	assert_int_equal(settings.queue_bytes, 9);
	before = settings;
	assert_true(parse("link us-east-1 eu-west-1 delay 100us rate 1mbit"));
	assert_false(command_merge(&command, &settings, &why)); /* the jitter that it has would be more */
	assert_non_null(strstr(reason, "jitter"));
	assert_memory_equal(&settings, &before, sizeof(settings));
}

/* The pairs that a line means, as a picture: rows from, columns to. */
static void covers(const char *line, const char *picture)
{
	assert_true(parse(line));
	for (uint32_t i = 0; i < REGIONS * REGIONS; i++) {
		if (command_covers(&command, i / REGIONS, i % REGIONS) != (picture[i] == 'x'))
			fail_msg("%s: pair %u to %u", line, i / REGIONS, i % REGIONS);
	}
}

static void test_the_pairs_that_are_meant(void **state)
{
	(void)state;
	covers("cut us-east-1 eu-west-1", ".x.x.....");
	covers("cut us-east-1 eu-west-1 one-way", ".x.......");
	covers("cut us-east-1 us-east-1", "x........");
	covers("cut us-east-1 *", ".xxx..x..");
	covers("cut us-east-1 * one-way", ".xx......");
	covers("cut * us-east-1 one-way", "...x..x..");
	covers("cut * *", ".xxx.xxx.");
	covers("cut * * one-way", ".xxx.xxx.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_with_everything),
		cmocka_unit_test(test_the_short_commands),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_merging_replaces_only_what_is_named),
		cmocka_unit_test(test_the_pairs_that_are_meant),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
