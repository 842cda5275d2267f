/* bench/geo_settings.c: what `dombench geo` was asked for; see bench/geo.h. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "bench/geo.h"

static bool complain(const char *what, const char *value, const char *cure)
{
	fprintf(stderr, "dombench: %s '%s'%s%s\n", what, value, cure[0] == '\0' ? "" : ": ", cure);
	return false;
}

static bool load_map(struct geo_settings *settings)
{
	static struct config_errors errors;
	char text[CONFIG_ERROR_TEXT_MAX];

	if (topology_builtin(settings->map, &settings->topology))
		return true;
	config_errors_init(&errors);
	if (topology_load(settings->map, &settings->topology, &errors))
		return true;
	for (uint32_t i = 0; i < errors.count; i++)
		fprintf(stderr, "%s\n", config_error_format(&errors.at[i], text, sizeof(text)));
	return complain("no such map", settings->map, "lan3, eu3, wan3, wan5, or a file");
}

/* "put=10,strong=90": percents of the mix. */
static bool parse_mix(struct geo_settings *settings)
{
	char text[256], *state = NULL;
	uint64_t sum = 0;

	if (strlen(settings->mix_text) >= sizeof(text))
		return complain("no mix", settings->mix_text, "it is too long");
	memset(settings->percent, 0, sizeof(settings->percent));
	snprintf(text, sizeof(text), "%s", settings->mix_text);
	for (char *word = strtok_r(text, ",", &state); word != NULL; word = strtok_r(NULL, ",", &state)) {
		char *value = strchr(word, '=');
		unsigned class = 0;

		if (value == NULL)
			return complain("no share of a mix", word, "write put=10,strong=90");
		*value++ = '\0';
		while (class < GEO_ROAMED && strcmp(word, geo_class_labels[class]) != 0)
			class ++;
		if (class == GEO_ROAMED)
			return complain("a mix has no", word, "put, strong, session, bounded, nearest");
		if (!parse_u64(value, &settings->percent[class]) || settings->percent[class] > 100)
			return complain("no percent", value, "0 to 100");
		sum += settings->percent[class];
	}
	return sum == 100 || complain("the shares do not make 100:", settings->mix_text, "");
}

static bool parse_workload(struct geo_settings *settings)
{
	static const char *const names[] = { "mix", "home", "roam", "sun" };
	enum { NAMES = sizeof(names) / sizeof(names[0]) };
	unsigned workload = 0;

	while (workload < NAMES && strcmp(names[workload], settings->workload_text) != 0)
		workload++;
	if (workload == NAMES)
		return complain("no such workload", settings->workload_text, "mix, home, roam or sun");
	settings->workload = (uint8_t)workload;
	return true;
}

/* They are handed on to the workers as words. */
static bool no_spaces(const char *text)
{
	return text == NULL || strpbrk(text, " \t") == NULL || complain("white space does not do in", text, "");
}

bool geo_settings_complete(struct geo_settings *settings)
{
	if (!no_spaces(settings->map) || !no_spaces(settings->out) || !no_spaces(settings->prefix) ||
		!no_spaces(settings->load.certs))
		return false;
	if (!load_map(settings) || !parse_mix(settings) || !parse_workload(settings))
		return false;
	if (strlen(settings->prefix) > 128)
		return complain("the prefix is too long", settings->prefix, "at most 128 bytes");
	if (settings->load.rate == 0)
		return complain("no rate", "0", "geo is an open loop");
	return true;
}
