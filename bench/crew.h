/* bench/crew.h: one worker process per region, started in the region's environment and at one instant. Workers say
 * "ready" and are told "go NS"; see bench/geo_worker.c. Ended by their process ids, whatever happens. */
#ifndef DOMICILE_BENCH_CREW_H
#define DOMICILE_BENCH_CREW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { CREW_MAX = 16, CREW_WORDS_MAX = 96 };

struct crew_member {
	char name[64]; /* the region's */
	pid_t pid;     /* 0: ended */
	FILE *to;
	int from;
	bool ready;
	int code; /* once it has ended */
};
struct crew {
	uint32_t count;
	struct crew_member members[CREW_MAX];
};

/* Splits `text` at white space behind the words already there, `%s` in it standing for `region`; the words are on the
 * heap, for crew_words_free. False: too many. */
bool crew_words(char *words[CREW_WORDS_MAX], uint32_t *count, const char *text, const char *region);
void crew_words_free(char *words[CREW_WORDS_MAX], uint32_t count);
/* Starts one member; what it says on standard error goes to the file `log`. False: said why. */
bool crew_start(struct crew *crew, const char *name, char *const words[], const char *log);
bool crew_await_ready(struct crew *crew, uint64_t timeout_ns); /* false: said who is not */
void crew_go(struct crew *crew, uint64_t start_ns);
/* True: all have ended by now; their codes tell how. */
bool crew_ended(struct crew *crew);
void crew_stop(struct crew *crew); /* whoever still runs */

#endif
