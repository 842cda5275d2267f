/* bench/geo_record.c: records of operations, in memory and as lines of a file; see bench/geo.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/geo.h"

#define HEADER                                                                                                         \
	"#class\tstatus\tserved\tfill\tsession\tstaleness_ms\tkey\tvalue\tversion\tplanned_ns\tsent_ns\tdone_ns\n"

const char *const geo_class_names[GEO_CLASSES] = { "put", "get.strong", "get.session", "get.bounded", "get.nearest",
	"get.roamed" };
const char *const geo_class_labels[GEO_CLASSES] = { "put", "strong", "session", "bounded", "nearest", "roamed" };

struct record *records_add(struct records *records)
{
	struct record *record;

	if (records->count == records->capacity) {
		records->capacity = records->capacity == 0 ? 4096 : records->capacity * 2;
		records->at = realloc(records->at, records->capacity * sizeof(*records->at));
		if (records->at == NULL) {
			fputs("dombench: out of memory\n", stderr);
			exit(DOM_NO_MEMORY);
		}
	}
	record = &records->at[records->count++];
	memset(record, 0, sizeof(*record));
	record->served = GEO_REGIONS_MAX;
	return record;
}

void records_free(struct records *records)
{
	free(records->at);
	memset(records, 0, sizeof(*records));
}

bool records_write(const struct records *records, const char *path)
{
	FILE *file = fopen(path, "w");

	if (file == NULL) {
		fprintf(stderr, "dombench: %s cannot be written: %s\n", path, strerror(errno));
		return false;
	}
	fputs(HEADER, file);
	for (size_t i = 0; i < records->count; i++) {
		const struct record *r = &records->at[i];

		fprintf(file,
			"%u\t%u\t%u\t%u\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64
			"\t%" PRIu64 "\t%" PRIu64 "\n",
			r->class, r->status, r->served, r->fill, r->session, r->staleness_ms, r->key, r->value,
			r->version, r->planned_ns, r->sent_ns, r->done_ns);
	}
	if (fclose(file) == 0)
		return true;
	fprintf(stderr, "dombench: %s cannot be written: %s\n", path, strerror(errno));
	return false;
}

static bool parse_record(const char *line, struct record *record)
{
	unsigned class, status, served, fill;

	if (sscanf(line,
		    "%u\t%u\t%u\t%u\t%" SCNu32 "\t%" SCNu32 "\t%" SCNu64 "\t%" SCNu64 "\t%" SCNu64 "\t%" SCNu64
		    "\t%" SCNu64 "\t%" SCNu64,
		    &class, &status, &served, &fill, &record->session, &record->staleness_ms, &record->key,
		    &record->value, &record->version, &record->planned_ns, &record->sent_ns, &record->done_ns) != 12)
		return false;
	if (class >= GEO_CLASSES || status >= LOAD_STATUSES || served > GEO_REGIONS_MAX || fill > 1 ||
		record->planned_ns > record->sent_ns || record->sent_ns > record->done_ns)
		return false;
	record->class = (uint8_t) class;
	record->status = (uint8_t)status;
	record->served = (uint8_t)served;
	record->fill = fill == 1;
	return true;
}

bool records_read(struct records *records, const char *path, uint8_t region)
{
	FILE *file = fopen(path, "r");
	char line[512];
	size_t number = 0;

	if (file == NULL) {
		fprintf(stderr, "dombench: %s cannot be read: %s\n", path, strerror(errno));
		return false;
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		struct record *record;

		number++;
		if (line[0] == '#')
			continue;
		record = records_add(records);
		record->region = region;
		if (!parse_record(line, record)) {
			fprintf(stderr, "dombench: %s:%zu is no record\n", path, number);
			records->count--;
			fclose(file);
			return false;
		}
	}
	fclose(file);
	return true;
}
