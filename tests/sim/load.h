/* tests/sim/load.h: clients with the product's own routing (client/router.h, operation.h, lanes.h), and the history of
 * what they asked and were answered. */
#ifndef DOMICILE_TESTS_SIM_LOAD_H
#define DOMICILE_TESTS_SIM_LOAD_H

#include "tests/sim/world.h"

enum { LOAD_HISTORY_MAX = 1 << 15 };

struct load_record {
	uint16_t client;
	uint16_t key;				 /* 0..keys-1: the world's; keys..2*keys-1: the EU's */
	uint8_t operation;			 /* enum operation */
	uint8_t level;				 /* enum read_level, of GET and SCAN */
	uint32_t staleness_max_ms, staleness_ms; /* asked; said with the answer */
	uint32_t status;			 /* enum status of the outcome */
	bool done;
	uint64_t value;	   /* written; or read, 0: absent */
	uint64_t version;  /* of the written or read value; CAS: current one on conflict */
	uint64_t expected; /* CAS: a version, and the value that was known by it */
	uint64_t expected_value;
	uint64_t invoked_ns, returned_ns;
};

void load_key_text(const struct world *world, unsigned key, char text[64]);
struct load *load_new(struct world *world);
void load_free(struct load *load);
void load_start(struct world *world); /* from now on clients work */
void load_stop(struct world *world);  /* no new operations; those under way end by their deadlines */
bool load_idle(const struct world *world);
unsigned load_open(const struct world *world); /* operations under way */
const struct load_record *load_history(const struct world *world, size_t *count);
/* Operations that began after this time and did not succeed. */
unsigned load_failed_since(const struct world *world, uint64_t since_ns);

#endif
