/* bench/wan/command.h: the lines that the control socket takes, parsed.
 *
 *   link A B [one-way] SETTING...   delay 34ms | jitter 1ms | loss 0.1% | duplicate 1% | reorder 1% | by 2ms |
 *                                   rate 100mbit | rate unlimited | queue 1MiB | burst 32KiB
 *   cut A B [one-way]               nothing passes from A to B, nor back unless one-way
 *   heal A B [one-way] | heal       ends cuts; alone, all of them
 *   delays on | delays off          off: no delay, jitter, rate or reordering anywhere
 *   show | stats | reset            settings; counts; counts from zero
 *
 * A and B are regions; `*` is every region, of pairs of two different ones; the same region twice is the inside of it.
 * Pure, one thread. */
#ifndef DOMICILE_BENCH_WAN_COMMAND_H
#define DOMICILE_BENCH_WAN_COMMAND_H

#include "base/text.h"
#include "bench/wan/link.h"

enum { COMMAND_LINE_MAX = 512, COMMAND_ANY = UINT32_MAX };

enum command_kind {
	COMMAND_LINK,
	COMMAND_CUT,
	COMMAND_HEAL,
	COMMAND_DELAYS_ON,
	COMMAND_DELAYS_OFF,
	COMMAND_SHOW,
	COMMAND_STATS,
	COMMAND_RESET
};
struct command {
	enum command_kind kind;
	uint32_t from, to; /* regions, or COMMAND_ANY */
	bool one_way;
	/* COMMAND_LINK: what is named in `set` replaces the link's. */
	uint32_t set; /* bits of enum link_setting */
	struct link_settings settings;
};

/* `line` without its end, changed by the parser. False: `why` says what is wrong. */
bool command_parse(
	char *line, const char *const regions[], uint32_t region_count, struct command *command, struct text *why);
/* False: the settings that come out contradict each other; then *settings is as it was. */
bool command_merge(const struct command *command, struct link_settings *settings, struct text *why);
/* Does the command mean this ordered pair? */
bool command_covers(const struct command *command, uint32_t from, uint32_t to);

#endif
