/* storage/search.h: whether bytes that somebody knows are in the files of a node, by needles (base/needles.h). Reads
 * what is there and changes nothing; blocking, for a thread that may. Files may come and go meanwhile. */
#ifndef DOMICILE_STORAGE_SEARCH_H
#define DOMICILE_STORAGE_SEARCH_H

#include "base/search.h"

/* From `from` on, until about `budget` bytes were read or there is no room for what may be found yet. data: the
 * directory; log: a file to search behind it, or NULL. slice->pause_ms is the caller's. NO_MEMORY is the only failure:
 * what cannot be read is counted. */
enum status search_files(const char *data, const char *log, const struct search_place *from,
	const struct needles *needles, uint64_t budget, struct search_slice *slice) MUST;

#endif
