/* tests/sim/disk_model.h: what the simulator does to the modelled disks behind storage/disk.h. A file knows which of
 * its writes have not been synced, a directory which of its names. A process that dies leaves the page cache as it is;
 * a power cut takes what was not synced, wholly or in part. */
#ifndef DOMICILE_TESTS_SIM_DISK_MODEL_H
#define DOMICILE_TESTS_SIM_DISK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/prng.h"

/* The process whose files lie under `dir` is dead: its handles and locks have no effect any more. */
void disk_model_crash(const char *dir);
/* The same, and the machine lost power: each un-synced write is lost, kept or torn at a sector, as the prng says. */
void disk_model_power_cut(const char *dir, struct prng *prng);
/* While set, disk_sync says OK and syncs nothing: used to leave a flush half done before a crash. */
void disk_model_skip_sync(const char *dir, bool skip);
void disk_model_fail_sync(const char *dir, bool fail);	     /* disk_sync fails with IO */
void disk_model_quota(const char *dir, uint64_t free_bytes); /* UINT64_MAX: none; below: growth says NO_SPACE */
/* Flips one bit of one synced, written byte of a file under dir whose name contains `part`. False: there is none. */
bool disk_model_flip(const char *dir, const char *part, struct prng *prng);
typedef void disk_model_file_fn(void *arg, const char *path, struct bytes content);
void disk_model_files(const char *dir, disk_model_file_fn *fn, void *arg);
void disk_model_reset(void);
uint64_t disk_model_syncs(void);

#endif
