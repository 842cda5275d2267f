/* server/main.c: domiciled's command line: its own few flags here, every key of the configuration in config/server.h.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/server.h"
#include "server/server.h"

extern char **environ;

enum { EXIT_USAGE = 2, EXIT_INVALID = 10, ARGUMENTS_MAX = 256 };

struct command {
	const char *config, *check, *listening;
	bool version, help;
	char *keys[ARGUMENTS_MAX]; /* flags that are keys, ended with a NULL */
	int key_count;
};

/* The value of `--name VALUE` or `--name=VALUE` at *at, which then moves on to the value. NULL: not that flag. */
static const char *flag_value(const char *name, char **argv, int argc, int *at, bool *missing)
{
	size_t size = strlen(name);
	const char *argument = argv[*at];
	if (strncmp(argument, name, size) != 0 || (argument[size] != '\0' && argument[size] != '='))
		return NULL;
	if (argument[size] == '=')
		return argument + size + 1;
	if (*at + 1 >= argc) {
		*missing = true;
		return "";
	}
	return argv[++*at];
}

static bool parse(struct command *command, int argc, char **argv)
{
	bool missing = false;
	for (int at = 1; at < argc && !missing; at++) {
		const char *value, *flag = argv[at];
		if ((value = flag_value("--config", argv, argc, &at, &missing)))
			command->config = value;
		else if ((value = flag_value("--check-config", argv, argc, &at, &missing)))
			command->check = value;
		else if ((value = flag_value("--listening-file", argv, argc, &at, &missing)))
			command->listening = value;
		else if (strcmp(flag, "--version") == 0)
			command->version = true;
		else if (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0)
			command->help = true;
		else if (command->key_count < ARGUMENTS_MAX - 1)
			command->keys[command->key_count++] = argv[at];
		else
			missing = true;
		if (missing)
			fprintf(stderr, "domiciled: %s: its value is missing; see domiciled --help\n", flag);
	}
	return !missing;
}

static void print_help(void)
{
	uint32_t count;
	const struct server_config_key *keys = server_config_keys(&count);
	printf("domiciled %s: a node of a Domicile cluster\n\n"
	       "usage: domiciled [--config FILE] [--KEY VALUE]...\n"
	       "       domiciled --check-config FILE\n\n"
	       "  --config FILE          YAML or JSON; flags win over DOMICILED_<KEY>, that over the file\n"
	       "  --check-config FILE    say what is wrong with it, or nothing; exit 0 or 10\n"
	       "  --listening-file FILE  write the bound port there once the node listens (listen may say port 0)\n"
	       "  --version, --help\n\nkeys:\n",
		DOMICILE_VERSION);
	for (uint32_t i = 0; i < count; i++)
		printf("  --%-20s %-10s %s%s%s\n", keys[i].name, keys[i].type, keys[i].what,
			keys[i].default_value && keys[i].default_value[0] ? "; default " : "",
			keys[i].default_value ? keys[i].default_value : "; required");
	printf("\nexit codes: 0 ok, 2 usage, 10 configuration, 11 certificates, 16 the data directory is another's, 1 "
	       "other\n");
}

static int print_errors(const struct config_errors *errors)
{
	char line[CONFIG_ERROR_TEXT_MAX];
	for (uint32_t i = 0; i < errors->count; i++)
		fprintf(stderr, "domiciled: DOM-N001 %s\n", config_error_format(&errors->at[i], line, sizeof(line)));
	if (errors->dropped > 0)
		fprintf(stderr, "domiciled: DOM-N001 and %u more\n", errors->dropped);
	return EXIT_INVALID;
}

/* Keys and values never reach a core file, nor another process of this user; and files are made for us alone. */
static void protect(void)
{
	struct rlimit none = { 0, 0 }, files;
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(077);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	static struct command command;
	static struct server_config config;
	static struct config_errors errors;
	static struct server_failure failure;
	struct server *server;
	if (!parse(&command, argc, argv))
		return EXIT_USAGE;
	if (command.help || command.version) {
		if (command.help)
			print_help();
		else
			printf("domiciled %s\n", DOMICILE_VERSION);
		return 0;
	}
	config_errors_init(&errors);
	if (!config_server_load(
		    command.check ? command.check : command.config, command.keys, environ, &config, &errors))
		return print_errors(&errors);
	if (command.check)
		return 0;
	protect();
	log_init(config.log_format, config.log_level);
	if (!server_start(&config, command.listening, &server, &failure)) {
		fprintf(stderr, "domiciled: %s %s\n", failure.code, failure.text);
		return failure.exit_code;
	}
	int exit_code = server_run(server);
	server_free(server);
	return exit_code;
}
