/* tools/canaries.h: keys and values of random bytes that domctl writes to see where they go. A canary's key is a prefix
 * that is bound to the policy in question, then a word that names it for whoever meets it, then 32 random bytes; its
 * value is 32 random bytes. They take the way that every key takes: as a client of a region that may write them. */
#ifndef DOMICILE_TOOLS_CANARIES_H
#define DOMICILE_TOOLS_CANARIES_H

#include "base/needles.h"
#include "tools/session.h"

#define CANARY_WORD "domicile-canary/"
enum {
	CANARY_KEY_MAX = BINDING_PREFIX_MAX + sizeof(CANARY_WORD) - 1 + NEEDLE_SECRET_SIZE,
	CANARIES_MAX = NEEDLE_SECRETS_MAX / 2,
};

struct canary {
	uint64_t policy;
	size_t key_size;
	uint8_t key[CANARY_KEY_MAX]; /* the last NEEDLE_SECRET_SIZE bytes are random */
	uint8_t value[NEEDLE_SECRET_SIZE];
	bool written; /* or perhaps */
};
struct canary_writer { /* a client of one region */
	struct invocation invocation;
	struct session session;
	char region[REGION_NAME_MAX]; /* "": not open */
};
struct canaries {
	struct session *session; /* the administrator's, with the map */
	uint32_t count, policy_count;
	uint64_t policies[CANARIES_MAX]; /* that have any, in the order in which they were asked for */
	struct canary at[CANARIES_MAX];
	struct canary_writer *writers; /* MAP_REGIONS_MAX */
};

/* The secrets' numbers in needles: a key's and its value's. */
static inline uint16_t canary_secret(uint32_t canary, bool value)
{
	return (uint16_t)(2 * canary + value);
}

/* All print their failure and return its exit code. */
void canaries_init(struct canaries *canaries, struct session *session);
/* Of --policy, else of each policy that a prefix is bound to; --keys of each. Writes nothing yet. */
int canaries_choose(struct canaries *canaries);
int canaries_load(struct canaries *canaries, const char *path); /* what canaries_store wrote */
int canaries_store(const struct canaries *canaries, const char *path);
int canaries_describe(struct canaries *canaries, const char *verb); /* to stderr; who writes them is settled then */
/* Until every copy that answers has applied them, as long as --timeout. */
int canaries_write(struct canaries *canaries);
int canaries_delete(struct canaries *canaries); /* those that were, or may have been, written */
void canaries_free(struct canaries *canaries);

bool canaries_interrupted(void); /* SIGINT came since canaries_init: what was written is to be deleted, and no more */

#endif
