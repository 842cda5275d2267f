/* storage/journal_erase.c: what must leave the disk, and a look whether it did.
 *
 * A tombstone names the last segment that may have bytes of what means nothing any more. Up to there every segment is
 * emptied and unlinked by the flushes that follow (journal_flush.c), never written again under another name: a file
 * that is has the bytes of its former life behind its last batch. For the same reason a file that was renamed for a
 * roll that did not happen counts too. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "storage/journal_internal.h"

/* The last segment that has anything of what was written until now. */
static uint64_t newest(const struct journal *journal)
{
	uint64_t sequence = journal->segment_count > 0 ? journal->segments[journal->segment_count - 1].sequence : 0;
	if (journal->prepared.file && journal->prepared.sequence > sequence)
		sequence = journal->prepared.sequence;
	return sequence;
}

void journal_bury(struct journal *journal)
{
	for (size_t i = 0; i < journal->tombstone_count; i++)
		if (journal->tombstones[i].segment == 0 && journal->tombstones[i].ticket <= journal->durable)
			journal->tombstones[i].segment = newest(journal);
}

enum status journal_erase(struct journal *journal, uint64_t *mark)
{
	*mark = journal->last;
	for (size_t i = 0; i < journal->tombstone_count; i++) {
		const struct tombstone *tombstone = &journal->tombstones[i];
		if (tombstone->group == 0 && tombstone->segment == 0 && tombstone->ticket == journal->last)
			return STATUS_OK;
	}
	enum status status = tombstone_push(journal, (struct tombstone){ .ticket = journal->last });
	if (status != STATUS_OK)
		return status;
	/* A flush under way may be copying what means nothing any more: its end buries. */
	if (!journal->flush)
		journal_bury(journal);
	struct tombstone *own = &journal->tombstones[journal->tombstone_count - 1];
	if (!journal->flush && own->segment == 0 && own->ticket == journal->durable)
		journal->tombstone_count--; /* there is no segment at all */
	return STATUS_OK;
}

bool journal_erased(const struct journal *journal, uint64_t mark)
{
	for (size_t i = 0; i < journal->tombstone_count; i++)
		if (journal->tombstones[i].group == 0 && journal->tombstones[i].ticket <= mark)
			return false;
	return true;
}

uint64_t journal_erased_segment(const struct journal *journal)
{
	return journal->erased;
}

/* --- looking ------------------------------------------------------------------------------------- */

enum { SEARCH_WINDOW = 1 << 20, NAME_DIGITS = 16, TYPE_AT = 24, GROUP_AT = 32 };

struct search {
	const char *dir;
	uint64_t incarnation;
	struct journal_trace *traces;
	size_t count;
	uint8_t *window;
	enum status status;
};

/* Sealed for this offset of this file, under its name of now, which most are, or one that it had before. */
static bool sealed(const struct search *search, const uint8_t *at, uint64_t sequence, uint64_t offset, uint64_t upto)
{
	struct record record;
	if (record_parse(at, record_seed(search->incarnation, sequence, offset), &record))
		return sequence <= upto;
	for (uint64_t before = sequence - 1; before > 0; before--)
		if (before <= upto && record_parse(at, record_seed(search->incarnation, before, offset), &record))
			return true;
	return false;
}

static struct journal_trace *trace_of(const struct search *search, uint64_t group)
{
	size_t first = 0, behind = search->count;
	while (first < behind) {
		size_t middle = first + (behind - first) / 2;
		if (search->traces[middle].group < group)
			first = middle + 1;
		else
			behind = middle;
	}
	return first < search->count && search->traces[first].group == group ? &search->traces[first] : NULL;
}

static void search_window(struct search *search, uint64_t sequence, uint64_t offset, size_t size)
{
	for (size_t at = 0; at + RECORD_HEADER_SIZE <= size; at += 8) {
		const uint8_t *head = search->window + at;
		struct unpacker unpacker;
		if (head[TYPE_AT] < RECORD_STATE || head[TYPE_AT] > RECORD_REMOVE)
			continue;
		unpack_init(&unpacker, bytes_of(head + GROUP_AT, 8));
		struct journal_trace *trace = trace_of(search, unpack_u64(&unpacker));
		if (trace && sealed(search, head, sequence, offset + at, trace->upto))
			trace->found++;
	}
}

static void search_file(struct search *search, const char *path, uint64_t sequence)
{
	struct disk_file *file;
	size_t got = SEARCH_WINDOW;
	search->status = disk_open(path, DISK_READ_ONLY, &file);
	if (search->status == STATUS_NOT_FOUND) { /* unlinked since it was listed */
		search->status = STATUS_OK;
		return;
	}
	if (search->status != STATUS_OK)
		return;
	/* Windows overlap by less than a header, so none is met twice. */
	const uint64_t step = SEARCH_WINDOW - RECORD_HEADER_SIZE + 8;
	for (uint64_t offset = 0; got == SEARCH_WINDOW && search->status == STATUS_OK; offset += step) {
		search->status = disk_read(file, offset, search->window, SEARCH_WINDOW, &got);
		if (search->status == STATUS_OK)
			search_window(search, sequence, offset, got);
	}
	disk_close(file);
}

static bool search_name(void *arg, const char *name)
{
	struct search *search = arg;
	char path[DISK_PATH_MAX], *end;
	uint64_t sequence = strtoull(name, &end, 16);
	if (end != name + NAME_DIGITS || strcmp(end, ".seg") != 0)
		return true;
	journal_path(search->dir, sequence, path);
	search_file(search, path, sequence);
	return search->status == STATUS_OK;
}

enum status journal_search(const char *dir, uint64_t incarnation, struct journal_trace *traces, size_t count)
{
	struct search search = { .dir = dir, .incarnation = incarnation, .traces = traces, .count = count };
	for (size_t i = 0; i < count; i++) {
		assert(traces[i].group > (i > 0 ? traces[i - 1].group : 0));
		traces[i].found = 0;
	}
	static_assert((SEARCH_WINDOW - RECORD_HEADER_SIZE + 8) % 8 == 0, "windows begin where headers may");
	search.window = malloc(SEARCH_WINDOW);
	if (!search.window)
		return STATUS_NO_MEMORY;
	enum status status = disk_list(dir, search_name, &search);
	free(search.window);
	return status == STATUS_OK ? search.status : status;
}
