/* bench/wan/command.c: see bench/wan/command.h. */
#include "bench/wan/command.h"

#include <assert.h>
#include <string.h>

#include "base/units.h"

enum { WORDS_MAX = 40, DELAY_US_MAX = 10000000, RATE_BITS_MIN = 1000, QUEUE_BYTES_MAX = 16 << 20 };
static const uint64_t RATE_BITS_MAX = 100000000000;

enum link_setting {
	SET_DELAY,
	SET_JITTER,
	SET_LOSS,
	SET_DUPLICATE,
	SET_REORDER,
	SET_BY,
	SET_RATE,
	SET_QUEUE,
	SET_BURST
};
static const char *const setting_names[] = { "delay", "jitter", "loss", "duplicate", "reorder", "by", "rate", "queue",
	"burst" };
enum { SETTINGS = sizeof(setting_names) / sizeof(setting_names[0]) };

struct words {
	const char *at[WORDS_MAX];
	uint32_t count, next;
};

static bool complain(struct text *why, const char *what, const char *word, const char *cure)
{
	text_add(why, what);
	if (word != NULL) {
		text_add(why, " '");
		text_add(why, word);
		text_add(why, "'");
	}
	if (cure != NULL) {
		text_add(why, ": ");
		text_add(why, cure);
	}
	return false;
}

static const char *next_word(struct words *words)
{
	return words->next < words->count ? words->at[words->next++] : NULL;
}

static bool split(char *line, struct words *words, struct text *why)
{
	char *state = NULL;

	words->count = words->next = 0;
	for (char *word = strtok_r(line, " \t\r", &state); word != NULL; word = strtok_r(NULL, " \t\r", &state)) {
		if (words->count == WORDS_MAX)
			return complain(why, "too many words", NULL, NULL);
		words->at[words->count++] = word;
	}
	return words->count > 0 || complain(why, "an empty line", NULL, NULL);
}

/* --- values ------------------------------------------------------------------------------------------- */

/* "0.1%": up to four digits behind the point, in millionths. */
static bool parse_percent(const char *word, uint32_t *ppm)
{
	char whole[4], part[5] = "0000";
	size_t size = strlen(word), point = strcspn(word, ".%"), part_size;
	uint64_t integer, fraction;

	if (size < 2 || word[size - 1] != '%' || point >= sizeof(whole))
		return false;
	memcpy(whole, word, point);
	whole[point] = '\0';
	if (word[point] == '.') {
		part_size = size - point - 2;
		if (part_size == 0 || part_size > 4)
			return false;
		memcpy(part, word + point + 1, part_size);
	} else if (point != size - 1) {
		return false;
	}
	if (!parse_u64(whole, &integer) || !parse_u64(part, &fraction) || integer * 10000 + fraction > 1000000)
		return false;
	*ppm = (uint32_t)(integer * 10000 + fraction);
	return true;
}

static bool parse_rate(const char *word, uint64_t *bits)
{
	static const struct {
		const char *name;
		uint64_t scale;
	} units[] = { { "gbit", 1000000000 }, { "mbit", 1000000 }, { "kbit", 1000 } };
	char number[8];
	size_t digits = strspn(word, "0123456789");
	uint64_t value;

	if (strcmp(word, "unlimited") == 0) {
		*bits = 0;
		return true;
	}
	if (digits >= sizeof(number))
		return false;
	memcpy(number, word, digits);
	number[digits] = '\0';
	if (!parse_u64(number, &value))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(word + digits, units[i].name) != 0)
			continue;
		*bits = value * units[i].scale;
		return *bits >= RATE_BITS_MIN && *bits <= RATE_BITS_MAX;
	}
	return false;
}

static bool parse_delay(const char *word, uint64_t *us)
{
	uint64_t value;

	if (!parse_duration_us(word, &value) || value > DELAY_US_MAX)
		return false;
	*us = value;
	return true;
}

static bool parse_bytes(const char *word, uint64_t *bytes)
{
	uint64_t value;

	if (!parse_size(word, &value) || value > QUEUE_BYTES_MAX)
		return false;
	*bytes = value;
	return true;
}

static bool parse_value(
	enum link_setting setting, const char *word, struct link_settings *settings, const char **wanted)
{
	switch (setting) {
	case SET_DELAY:
		*wanted = "write 34ms, or 500us; at most 10s";
		return parse_delay(word, &settings->delay_us);
	case SET_JITTER:
		*wanted = "write 1ms, or 500us; at most 10s";
		return parse_delay(word, &settings->jitter_us);
	case SET_BY:
		*wanted = "write 1ms, or 500us; at most 10s";
		return parse_delay(word, &settings->reorder_by_us);
	case SET_LOSS:
		*wanted = "write 0.1%, from 0% to 100%";
		return parse_percent(word, &settings->loss_ppm);
	case SET_DUPLICATE:
		*wanted = "write 0.1%, from 0% to 100%";
		return parse_percent(word, &settings->duplicate_ppm);
	case SET_REORDER:
		*wanted = "write 0.1%, from 0% to 100%";
		return parse_percent(word, &settings->reorder_ppm);
	case SET_RATE:
		*wanted = "write 100mbit, from 1kbit to 100gbit, or unlimited";
		return parse_rate(word, &settings->rate_bits);
	case SET_QUEUE:
		*wanted = "write 1MiB; at most 16MiB";
		return parse_bytes(word, &settings->queue_bytes);
	case SET_BURST:
		*wanted = "write 32KiB; at most 16MiB";
		return parse_bytes(word, &settings->burst_bytes);
	}
	return false;
}

/* --- commands ----------------------------------------------------------------------------------------- */

static bool parse_region(
	struct words *words, const char *const regions[], uint32_t count, uint32_t *out, struct text *why)
{
	const char *word = next_word(words);

	if (word == NULL)
		return complain(why, "two regions are wanted", NULL, "write for example: cut eu-west-1 us-east-1");
	if (strcmp(word, "*") == 0) {
		*out = COMMAND_ANY;
		return true;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(word, regions[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return complain(why, "no such region", word, text_nearest(word, regions, count));
}

static bool parse_pair(
	struct words *words, const char *const regions[], uint32_t count, struct command *command, struct text *why)
{
	if (!parse_region(words, regions, count, &command->from, why) ||
		!parse_region(words, regions, count, &command->to, why))
		return false;
	if (words->next < words->count && strcmp(words->at[words->next], "one-way") == 0) {
		command->one_way = true;
		words->next++;
	}
	return true;
}

static bool parse_settings(struct words *words, struct command *command, struct text *why)
{
	const char *name, *value, *wanted = NULL;

	while ((name = next_word(words)) != NULL) {
		uint32_t setting = 0;

		while (setting < SETTINGS && strcmp(name, setting_names[setting]) != 0)
			setting++;
		if (setting == SETTINGS)
			return complain(why, "a link has no", name, text_nearest(name, setting_names, SETTINGS));
		if ((value = next_word(words)) == NULL)
			return complain(why, "a value is wanted after", name, NULL);
		if (!parse_value((enum link_setting)setting, value, &command->settings, &wanted))
			return complain(why, name, value, wanted);
		if (command->set & 1u << setting)
			return complain(why, "twice", name, NULL);
		command->set |= 1u << setting;
	}
	return command->set != 0 || complain(why, "nothing to set", NULL, "write for example: delay 34ms loss 0.1%");
}

static bool parse_delays(struct words *words, struct command *command, struct text *why)
{
	const char *word = next_word(words);

	if (word == NULL || (strcmp(word, "on") != 0 && strcmp(word, "off") != 0))
		return complain(why, "on or off is wanted after", "delays", NULL);
	command->kind = strcmp(word, "on") == 0 ? COMMAND_DELAYS_ON : COMMAND_DELAYS_OFF;
	return true;
}

bool command_parse(
	char *line, const char *const regions[], uint32_t region_count, struct command *command, struct text *why)
{
	static const char *const names[] = { "link", "cut", "heal", "delays", "show", "stats", "reset" };
	static const enum command_kind kinds[] = { COMMAND_LINK, COMMAND_CUT, COMMAND_HEAL, COMMAND_DELAYS_ON,
		COMMAND_SHOW, COMMAND_STATS, COMMAND_RESET };
	enum { NAMES = sizeof(names) / sizeof(names[0]) };
	struct words words;
	const char *name;
	uint32_t which = 0;
	bool ok = true;

	memset(command, 0, sizeof(*command));
	if (!split(line, &words, why))
		return false;
	name = next_word(&words);
	while (which < NAMES && strcmp(name, names[which]) != 0)
		which++;
	if (which == NAMES)
		return complain(why, "no such command", name, text_nearest(name, names, NAMES));
	command->kind = kinds[which];
	if (command->kind == COMMAND_HEAL && words.next == words.count)
		command->from = command->to = COMMAND_ANY;
	else if (command->kind <= COMMAND_HEAL)
		ok = parse_pair(&words, regions, region_count, command, why);
	else if (command->kind == COMMAND_DELAYS_ON)
		ok = parse_delays(&words, command, why);
	if (ok && command->kind == COMMAND_LINK)
		ok = parse_settings(&words, command, why);
	return ok && (words.next == words.count || complain(why, "one word too many", words.at[words.next], NULL));
}

bool command_merge(const struct command *command, struct link_settings *settings, struct text *why)
{
	struct link_settings merged = *settings;
	const struct link_settings *new = &command->settings;

	assert(command->kind == COMMAND_LINK);
	for (uint32_t i = 0; i < SETTINGS; i++) {
		if (!(command->set & 1u << i))
			continue;
		switch ((enum link_setting)i) {
		case SET_DELAY:
			merged.delay_us = new->delay_us;
			break;
		case SET_JITTER:
			merged.jitter_us = new->jitter_us;
			break;
		case SET_LOSS:
			merged.loss_ppm = new->loss_ppm;
			break;
		case SET_DUPLICATE:
			merged.duplicate_ppm = new->duplicate_ppm;
			break;
		case SET_REORDER:
			merged.reorder_ppm = new->reorder_ppm;
			break;
		case SET_BY:
			merged.reorder_by_us = new->reorder_by_us;
			break;
		case SET_RATE:
			merged.rate_bits = new->rate_bits;
			break;
		case SET_QUEUE:
			merged.queue_bytes = new->queue_bytes;
			break;
		case SET_BURST:
			merged.burst_bytes = new->burst_bytes;
			break;
		}
	}
	if (merged.jitter_us > merged.delay_us)
		return complain(why, "jitter is more than the delay", NULL, "set it to the delay at most");
	*settings = merged;
	return true;
}

static bool one_way(const struct command *command, uint32_t from, uint32_t to)
{
	bool any = command->from == COMMAND_ANY || command->to == COMMAND_ANY;

	return (command->from == COMMAND_ANY || command->from == from) &&
	       (command->to == COMMAND_ANY || command->to == to) && !(any && from == to);
}

bool command_covers(const struct command *command, uint32_t from, uint32_t to)
{
	return one_way(command, from, to) || (!command->one_way && one_way(command, to, from));
}
