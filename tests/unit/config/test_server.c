/* domiciled's configuration: defaults, every key, precedence of flag over environment over file over default, and a
 * table of mistakes with the very place and words of their errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "config/server.h"

static struct server_config config;
static struct config_errors errors;
static char path[64];

static int make_path(void **state)
{
	(void)state;
	strcpy(path, "/tmp/domicile-config-XXXXXX");
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

static bool load(const char *text, char *const arguments[], char *const environment[])
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	config_errors_init(&errors);
	return config_server_load(path, arguments, environment, &config, &errors);
}

static void show_errors(void)
{
	char line[CONFIG_ERROR_TEXT_MAX];
	for (uint32_t i = 0; i < errors.count; i++)
		print_message("%s\n", config_error_format(&errors.at[i], line, sizeof(line)));
}

#define SMALLEST "cluster: acme\nplace: eu/ie/eu-west-1/a/n1\nadvertise: { default: n1:7470 }\n"

static void test_defaults(void **state)
{
	(void)state;
	assert_true(load(SMALLEST, NULL, NULL));
	assert_string_equal(config.cluster, "acme");
	assert_string_equal(config.place.text, "eu/ie/eu-west-1/a/n1");
	assert_string_equal(config.listen, "0.0.0.0:7470");
	assert_int_equal(config.advertise.count, 1);
	assert_string_equal(config.advertise.at[0].from, "");
	assert_string_equal(config.advertise.at[0].address, "n1:7470");
	assert_string_equal(config.http_listen, "");
	assert_string_equal(config.redis_listen, "");
	assert_int_equal(config.log_format, LOG_LOGFMT);
	assert_int_equal(config.log_level, LOG_INFO);
	assert_string_equal(config.data, "/var/lib/domicile");
	assert_string_equal(config.certs, "/etc/domicile/certs");
	assert_string_equal(config.crl, "");
	assert_int_equal(config.join_count, 0);
	assert_int_equal(config.reactors, 1);
	assert_int_equal(config.cache_size, 256 << 20);
	assert_int_equal(config.memory_size, 512 << 20);
	assert_int_equal(config.journal_segment_size, 64 << 20);
	assert_int_equal(config.lease_us, 1000000);
	assert_int_equal(config.heartbeat_us, 100000);
}

static const char everything[] = "# all of it\n"
				 "cluster: acme\n"
				 "place: eu/ie/eu-west-1/a/n1\n"
				 "listen: '[::1]:7000'\n"
				 "advertise:\n"
				 "  default: n1.example.net:7470\n"
				 "  from: { us: 203.0.113.7:7470, ap/sg: sg.example.net:1 }\n"
				 "http: { listen: off }\n"
				 "redis: { listen: off, databases: {}, mset: whole }\n"
				 "log: { format: json, level: debug }\n"
				 "data: /tmp/d\n"
				 "certs: c\n"
				 "crl: c/crls.pem\n"
				 "join: [n2.example.net:7470, 10.0.0.1:7471]\n"
				 "reactors: 1\n"
				 "cache: 16MiB\n"
				 "memory: 64MiB\n"
				 "journal: { segment: 4MiB }\n"
				 "lease: 200ms\n"
				 "heartbeat: 50ms\n";

static void check_everything(void)
{
	assert_string_equal(config.listen, "[::1]:7000");
	assert_int_equal(config.advertise.count, 3);
	assert_string_equal(config.advertise.at[0].address, "n1.example.net:7470");
	assert_string_equal(config.advertise.at[1].from, "us");
	assert_string_equal(config.advertise.at[1].address, "203.0.113.7:7470");
	assert_string_equal(config.advertise.at[2].from, "ap/sg");
	assert_int_equal(config.log_format, LOG_JSON);
	assert_int_equal(config.log_level, LOG_DEBUG);
	assert_string_equal(config.data, "/tmp/d");
	assert_string_equal(config.certs, "c");
	assert_string_equal(config.crl, "c/crls.pem");
	assert_int_equal(config.join_count, 2);
	assert_string_equal(config.join[1], "10.0.0.1:7471");
	assert_int_equal(config.cache_size, 16 << 20);
	assert_int_equal(config.memory_size, 64 << 20);
	assert_int_equal(config.journal_segment_size, 4 << 20);
	assert_int_equal(config.lease_us, 200000);
	assert_int_equal(config.heartbeat_us, 50000);
}

static void test_everything(void **state)
{
	(void)state;
	bool ok = load(everything, NULL, NULL);
	show_errors();
	assert_true(ok);
	check_everything();
}

static void test_json(void **state)
{
	(void)state;
	bool ok = load("{\n\t\"cluster\": \"acme\", \"place\":\"eu/ie/eu-west-1/a/n1\", \"listen\":\"[::1]:7000\",\n"
		       "\t\"advertise\": {\"default\":\"n1.example.net:7470\",\"from\":{\"us\":\"203.0.113.7:7470\","
		       "\"ap/sg\":\"sg.example.net:1\"}},\n"
		       "\t\"log\":{\"format\":\"json\",\"level\":\"debug\"}, \"data\":\"/tmp/d\", \"certs\":\"c\", "
		       "\"crl\":\"c/crls.pem\",\n"
		       "\t\"join\":[\"n2.example.net:7470\",\"10.0.0.1:7471\"], \"reactors\":1,\n"
		       "\t\"cache\":\"16MiB\", \"memory\":67108864, \"journal\":{\"segment\":\"4MiB\"},\n"
		       "\t\"lease\":\"200ms\", \"heartbeat\":\"50ms\"\n}\n",
		NULL, NULL);
	show_errors();
	assert_true(ok);
	check_everything();
}

/* Everything by flags alone, without a file. */
static void test_flags_alone(void **state)
{
	(void)state;
	char *arguments[] = { "--cluster", "acme", "--place=eu/ie/eu-west-1/a/n1", "--listen", "[::1]:7000",
		"--advertise.default=n1.example.net:7470", "--advertise.from",
		"{us: 203.0.113.7:7470, ap/sg: sg.example.net:1}", "--log.format", "json", "--log.level=debug",
		"--data", "/tmp/d", "--certs=c", "--crl=c/crls.pem", "--join", "[n2.example.net:7470, 10.0.0.1:7471]",
		"--cache=16MiB", "--memory", "64MiB", "--journal.segment=4MiB", "--lease=200ms", "--heartbeat", "50ms",
		NULL };
	config_errors_init(&errors);
	bool ok = config_server_load(NULL, arguments, NULL, &config, &errors);
	show_errors();
	assert_true(ok);
	check_everything();
}

static void test_precedence(void **state)
{
	(void)state;
	char *environment[] = { "DOMICILED_CACHE=32MiB", "DOMICILED_LOG_LEVEL=warn", "PATH=/bin",
		"DOMICILED_SERVICE_HOST=10.0.0.1", "DOMICILED_JOIN=[e:1]", NULL };
	char *arguments[] = { "--cache=64MiB", NULL };
	static const char text[] = SMALLEST "cache: 16MiB\nlog: { level: debug }\njoin: [f:1, f:2]\n";
	assert_true(load(text, NULL, NULL));
	assert_int_equal(config.cache_size, 16 << 20);
	assert_int_equal(config.log_level, LOG_DEBUG);
	assert_int_equal(config.join_count, 2);
	assert_true(load(text, NULL, environment));
	assert_int_equal(config.cache_size, 32 << 20);
	assert_int_equal(config.log_level, LOG_WARN);
	assert_int_equal(config.join_count, 1);
	assert_string_equal(config.join[0], "e:1");
	assert_true(load(text, arguments, environment));
	assert_int_equal(config.cache_size, 64 << 20);
	assert_int_equal(config.log_level, LOG_WARN);
}

/* Each key can be told by flag and by variable, and each has help. */
static void test_every_key_has_flag_and_variable(void **state)
{
	(void)state;
	uint32_t count;
	const struct server_config_key *keys = server_config_keys(&count);
	assert_int_equal(count, 21);
	for (uint32_t i = 0; i < count; i++) {
		char flag[128], variable[128] = "DOMICILED_";
		assert_true(keys[i].what[0] != 0);
		snprintf(flag, sizeof(flag), "--%s=~", keys[i].name);
		size_t size = strlen(variable);
		for (const char *c = keys[i].name; *c; c++)
			variable[size++] = *c == '.' ? '_' : (char)(*c - 'a' + 'A');
		strcpy(variable + size, "=/");
		char *arguments[] = { flag, NULL }, *environment[] = { variable, NULL };
		bool text = strcmp(keys[i].type, "directory") == 0 || strcmp(keys[i].type, "file") == 0;
		assert_int_equal(load(SMALLEST, arguments, NULL), text);
		assert_int_equal(load(SMALLEST, NULL, environment), text);
		if (text)
			continue;
		assert_int_equal(errors.count, 1);
		assert_memory_equal(errors.at[0].source, "environment DOMICILED_", 22);
	}
}

static void test_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *text; /* behind SMALLEST, so the first line is 4 */
		const char *error;
	} table[] = {
		{ "cahce: 1GiB\n", ":4:1: unknown key 'cahce' at the top; did you mean cache?" },
		{ "log: { levle: info }\n", ":4:8: unknown key 'levle' in log; did you mean level?" },
		{ "log.level: info\n",
			":4:1: unknown key 'log.level' at the top; known are cluster, place, listen, "
			"advertise, http, redis, "
			"log, data, certs, crl, join, reactors, cache, memory, journal, lease, heartbeat" },
		{ "crl: ''\n", ":4:6: '' is not a file; leave it out" },
		{ "crl: [a, b]\n", ":4:6: a list is not a file" },
		{ "log: info\n", ":4:6: 'info' is not a map of settings" },
		{ "log: { level: loud }\n", ":4:15: 'loud' is not error, warn, info or debug" },
		{ "log: { level: inf }\n", ":4:15: 'inf' is not error, warn, info or debug; did you mean info?" },
		{ "cache: 12 apples\n", ":4:8: '12 apples' is not a size from 1MiB to 16TiB; write bytes, or a number "
					"with KiB, MiB, GiB or TiB" },
		{ "cache: -1\n", ":4:8: '-1' is not a size from 1MiB to 16TiB; write bytes, or a number with KiB, MiB, "
				 "GiB or TiB" },
		{ "cache:\n", ":4:1: nothing is not a size from 1MiB to 16TiB; write bytes, or a number with KiB, MiB, "
			      "GiB or TiB" },
		{ "cache: [1MiB]\n", ":4:8: a list is not a size from 1MiB to 16TiB; write bytes, or a number with "
				     "KiB, MiB, GiB or TiB" },
		{ "cache: 1GiB\ncache: 2GiB\n",
			":5:1: the key 'cache' stands here again, first in line 4; keep one of them" },
		{ "lease: 11s\n",
			":4:8: '11s' is not a duration from 200ms to 10s; write a number with us, ms, s or m" },
		{ "heartbeat: 600ms\n", ":4:12: heartbeat is more than half of lease: one lost message would end every "
					"lease; lower heartbeat or "
					"raise lease" },
		{ "reactors: 2\n", ":4:11: reactors other than 1 is not supported yet; write 1, or leave it out" },
		{ "reactors: many\n", ":4:11: 'many' is not a number from 1 to 64" },
		{ "http: { listen: 127.0.0.1:7471 }\n",
			":4:17: http.listen other than off is not supported yet; write off, or leave it out" },
		{ "redis:\n  listen: 0.0.0.0:7479\n",
			":5:11: redis.listen other than off is not supported yet; write off, or leave it out" },
		{ "redis: { databases: { 1: \"eu:\" } }\n",
			":4:21: redis.databases is not supported yet; leave it out" },
		{ "listen: 7470\n", ":4:9: '7470' is not an address; write host:port, like n1.example.net:7470" },
		{ "listen: a:70000\n", ":4:9: 'a:70000' is not an address; write host:port, like n1.example.net:7470" },
		{ "listen: \"a b:1\"\n", ":4:9: 'a b:1' is not an address; write host:port, like n1.example.net:7470" },
		{ "join: n2:7470\n", ":4:7: 'n2:7470' is not a list of addresses; write it in brackets: [a, b]" },
		{ "join: [n2:7470, n3]\n", ":4:17: 'n3' is not an address; write host:port, like n1.example.net:7470" },
		{ "join: &all [n2:7470]\n",
			":4:7: anchors (&name) are not supported; write the value out where it is meant" },
		{ "data: *x\n", ":4:7: aliases (*name) are not supported; write the value out where it is meant" },
		{ "data: !!str x\n", ":4:7: tags (!name) are not supported; leave it out: every key knows its type" },
		{ "data: [[[[[[[[[[1]]]]]]]]]]\n",
			":4:14: lists and maps are nested too deeply; no setting needs more than 8 levels" },
		{ "? [a]\n: b\n", ":4:3: a list or a map stands as a key; keys are plain or quoted text" },
		{ "---\na: b\n", ":4:1: the file holds a second document; keep one, without '---' lines" },
		{ "data: a\x01z\n", ":4:8: a control character stands here; take it out" },
		{ "data: \xff\n", ":4:7: the file is not UTF-8 here; save it as UTF-8" },
		{ "data: \"a\\0b\"\n", ":4:7: a text holds a NUL character; take it out" },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[1024], line[CONFIG_ERROR_TEXT_MAX];
		snprintf(text, sizeof(text), SMALLEST "%s", table[i].text);
		assert_false(load(text, NULL, NULL));
		assert_int_equal(errors.count, 1);
		config_error_format(&errors.at[0], line, sizeof(line));
		assert_memory_equal(line, path, strlen(path));
		if (strcmp(line + strlen(path), table[i].error) != 0)
			print_message("case %zu\n", i);
		assert_string_equal(line + strlen(path), table[i].error);
	}
}

static void test_whole_file_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} table[] = {
		{ "", ":1:1: the file is empty" },
		{ "# only a comment\n", ":1:1: the file is empty" },
		{ "[a, b]\n", ":1:1: a list is not a map of settings, like place: eu/ie/..." },
		{ "cluster: acme\nadvertise: { default: a:1 }\n",
			": place is missing; write place: eu/ie/eu-west-1/a/n1" },
		{ "place: eu/ie/eu-west-1/a/n1\nadvertise: { default: a:1 }\n",
			": cluster is missing; write cluster: NAME" },
		{ "cluster: acme\nplace: eu/ie/eu-west-1/a/n1\n", ": advertise.default is missing, and listen names no "
								  "address that others could dial; write advertise: "
								  "{ default: HOST:PORT }" },
		{ "cluster: Acme\nplace: eu/ie/eu-west-1/a/n1\nadvertise: { default: a:1 }\n",
			":1:10: 'Acme' is not a cluster's name; use a-z, 0-9 and -, not starting with -" },
		{ "cluster: acme\nplace: eu/n1\nadvertise: { default: a:1 }\n",
			":2:8: a node's place has at least region, zone and node; write the region's path, zone and "
			"node: "
			"eu/ie/eu-west-1/a/n1" },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char line[CONFIG_ERROR_TEXT_MAX];
		assert_false(load(table[i].text, NULL, NULL));
		assert_int_equal(errors.count, 1);
		config_error_format(&errors.at[0], line, sizeof(line));
		assert_string_equal(line + strlen(path), table[i].error);
	}
}

/* What the parser itself says is libfyaml's; the place is what counts. */
static void test_malformed(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t line;
	} table[] = { { "cluster: [a, b\n", 2 }, { "cluster: \"a\n", 2 }, { "a: b\n c: d\n", 2 }, { "a: }\n", 1 } };
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_false(load(table[i].text, NULL, NULL));
		assert_int_equal(errors.count, 1);
		assert_memory_equal(errors.at[0].reason, "the YAML is malformed: ", 23);
		assert_in_range(errors.at[0].line, 1, table[i].line);
	}
}

static void test_flag_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *arguments[4];
		const char *error;
	} table[] = {
		{ { "--cahce", "1GiB" }, "flags: unknown flag '--cahce'; did you mean --cache?" },
		{ { "--zzz" }, "flags: unknown flag '--zzz'; --help lists them" },
		{ { "--cache" }, "flags: no value after '--cache'" },
		{ { "cache" }, "flags: not a flag: 'cache'; flags are --key value or --key=value" },
		{ { "--cache=1MiB", "--cache=2MiB" }, "flags: given twice: '--cache=2MiB'; keep one" },
		{ { "--cache=1" },
			"flag --cache: '1' is not a size from 1MiB to 16TiB; write bytes, or a number with KiB, "
			"MiB, GiB or TiB" },
		{ { "--join=[a" }, NULL },
		{ { "--heartbeat=900ms" },
			"flag --heartbeat: heartbeat is more than half of lease: one lost message would "
			"end every lease; lower heartbeat or raise lease" },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *arguments[5] = { NULL }, line[CONFIG_ERROR_TEXT_MAX];
		for (size_t j = 0; j < 4 && table[i].arguments[j]; j++)
			arguments[j] = (char *)table[i].arguments[j];
		assert_false(load(SMALLEST, arguments, NULL));
		assert_int_equal(errors.count, 1);
		if (table[i].error)
			assert_string_equal(config_error_format(&errors.at[0], line, sizeof(line)), table[i].error);
	}
}

static void test_many_mistakes(void **state)
{
	(void)state;
	char text[4096] = "";
	for (unsigned i = 0; i < 30; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "wrong%u: 1\n", i);
	assert_false(load(text, NULL, NULL));
	assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
	assert_int_equal(errors.dropped, 10);
	assert_int_equal(errors.at[19].line, 20);
}

static void test_files_that_cannot_be_read(void **state)
{
	(void)state;
	static char large[70000];
	memset(large, '#', sizeof(large) - 1);
	assert_false(load(large, NULL, NULL));
	assert_string_equal(errors.at[0].reason, "the file is larger than 64 KiB");
	config_errors_init(&errors);
	assert_false(config_server_load("/nonexistent/domiciled.yaml", NULL, NULL, &config, &errors));
	assert_string_equal(errors.at[0].reason, "cannot read the file: No such file or directory");
	config_errors_init(&errors);
	assert_false(config_server_load("/tmp", NULL, NULL, &config, &errors));
	assert_string_equal(errors.at[0].reason, "cannot read the file: Is a directory");
}

static void test_advertise_falls_back_to_listen(void **state)
{
	(void)state;
	assert_true(load("cluster: acme\nplace: a/b/c\nlisten: 10.1.2.3:7470\n", NULL, NULL));
	assert_string_equal(config.advertise.at[0].address, "10.1.2.3:7470");
	assert_false(load("cluster: acme\nplace: a/b/c\nlisten: 10.1.2.3:0\n", NULL, NULL));
	assert_true(load("cluster: acme\nplace: a/b/c\nlisten: 10.1.2.3:0\nadvertise: { default: x:9 }\n", NULL, NULL));
	assert_string_equal(config.advertise.at[0].address, "x:9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_flags_alone),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_every_key_has_flag_and_variable),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_whole_file_mistakes),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_flag_mistakes),
		cmocka_unit_test(test_many_mistakes),
		cmocka_unit_test(test_files_that_cannot_be_read),
		cmocka_unit_test(test_advertise_falls_back_to_listen),
	};
	return cmocka_run_group_tests(tests, make_path, remove_path);
}
