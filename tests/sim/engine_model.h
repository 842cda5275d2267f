/* tests/sim/engine_model.h: what the simulator does to the modelled engines behind storage/engine.h. An engine is an
 * ordered table of rows; what engine_flush has not seen is lost by any crash, as with RocksDB without its log. */
#ifndef DOMICILE_TESTS_SIM_ENGINE_MODEL_H
#define DOMICILE_TESTS_SIM_ENGINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/prng.h"

/* All engines under this data directory lose what was not flushed, and calls through handles of before have no effect
 * any more (their owner is dead and is only being freed). */
void engine_model_crash(const char *dir);
/* Every row of every engine under dir, flushed or not; for canary searches. */
typedef void engine_model_row_fn(void *arg, uint64_t id, struct bytes key, struct bytes value);
void engine_model_rows(const char *dir, engine_model_row_fn *fn, void *arg);
/* Rows that are no row of this engine any more and lie in its files still, of those that did at the last mark. */
size_t engine_model_stale(const char *dir, uint64_t id, bool mark);
/* From now on engine_apply and engine_flush under dir fail with IO / NO_SPACE; 0: work again. */
void engine_model_fail(const char *dir, int status);
/* Something that was flushed of one engine under dir is not any more what was written: sooner or later a call meets it.
 * False: nothing is there. */
bool engine_model_damage(const char *dir, struct prng *prng);
bool engine_model_damaged(void); /* some engine anywhere, found or not */
/* From now on one read in so many finds nothing in the cache; 0: none. */
void engine_model_cold(unsigned one_in);
void engine_model_reset(void); /* forget everything: a new run */

#endif
