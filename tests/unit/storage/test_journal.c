/* The journal: round trips, cuts, resets, removal, recycling, group commit, torn tails, flipped bytes, full disks. Each
 * test has a directory of its own; what recovery hands out is compared with a model. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/prng.h"
#include "storage/disk.h"
#include "storage/journal.h"
#include "storage/journal_record.h"

enum { GROUPS = 8, ENTRIES = 4096, CORRUPT_MAX = 64 };

struct seen_group {
	uint64_t term, vote, base, base_term, last;
	bool removed;
	uint64_t terms[ENTRIES]; /* by index; 0: not handed out */
};
struct seen {
	struct seen_group group[GROUPS];
	struct {
		uint64_t group, index, term;
	} corrupt[CORRUPT_MAX];
	size_t corrupt_count;
};

static char dir[128];
static struct seen seen;

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/domicile-journal-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static bool wipe_name(void *arg, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
	return disk_remove(path) == STATUS_OK;
}

static void wipe(const char *path)
{
	if (disk_list(path, wipe_name, (void *)(uintptr_t)path) == STATUS_OK)
		rmdir(path);
}

static int teardown(void **state)
{
	(void)state;
	wipe(dir);
	return 0;
}

/* --- what recovery says --------------------------------------------------------------------------- */

static void on_state(void *arg, uint64_t group, uint64_t term, uint64_t vote)
{
	struct seen *to = arg;
	to->group[group].term = term;
	to->group[group].vote = vote;
}

static size_t body_of(uint64_t group, uint64_t index, uint64_t term, uint8_t *out)
{
	struct prng prng;
	prng_seed(&prng, group * 1000003 + index * 7919 + term);
	size_t size = (size_t)prng_below(&prng, 300);
	if (index % 50 == 7)
		size += 9000; /* compressed, for half of it repeats */
	for (size_t i = 0; i < size; i++)
		out[i] = i > 64 && i % 2 ? (uint8_t)group : (uint8_t)prng_next(&prng);
	return size;
}

static void on_entry(void *arg, const struct journal_entry *entry)
{
	struct seen *to = arg;
	uint8_t body[16384];
	size_t size = body_of(entry->group, entry->index, entry->term, body);
	assert_true(entry->index < ENTRIES);
	assert_int_equal(entry->size, size);
	assert_true(bytes_equal(entry->body, bytes_of(body, size)));
	assert_int_equal(entry->version, entry->index * 3);
	assert_int_equal(entry->key_hash, entry->index * 5);
	assert_int_equal(entry->request, entry->index * 7);
	assert_int_equal(entry->origin, 11);
	assert_int_equal(entry->kind, 2);
	assert_int_equal(to->group[entry->group].terms[entry->index], 0);
	to->group[entry->group].terms[entry->index] = entry->term;
	to->group[entry->group].last = entry->index;
}

static void on_cut(void *arg, uint64_t group, uint64_t from)
{
	struct seen *to = arg;
	to->group[group].last = from - 1;
}

static void on_reset(void *arg, uint64_t group, uint64_t index, uint64_t term)
{
	struct seen *to = arg;
	to->group[group].base = to->group[group].last = index;
	to->group[group].base_term = term;
}

static void on_removed(void *arg, uint64_t group)
{
	struct seen *to = arg;
	to->group[group].removed = true;
}

static void on_corrupt(void *arg, uint64_t group, uint64_t index, uint64_t term)
{
	struct seen *to = arg;
	assert_true(to->corrupt_count < CORRUPT_MAX);
	to->corrupt[to->corrupt_count].group = group;
	to->corrupt[to->corrupt_count].index = index;
	to->corrupt[to->corrupt_count++].term = term;
}

static const struct journal_recovery recovery = { .arg = &seen,
	.state = on_state,
	.entry = on_entry,
	.cut = on_cut,
	.reset = on_reset,
	.removed = on_removed,
	.corrupt = on_corrupt };

static struct journal_options options_of(void)
{
	return (struct journal_options){
		.dir = dir, .cluster = { 1, 2, 3 }, .incarnation = 77, .segment_size = JOURNAL_SEGMENT_SIZE_MIN
	};
}

static struct journal *open_journal(void)
{
	struct journal_options options = options_of();
	struct journal *journal;
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(journal_open(&options, &recovery, &journal), STATUS_OK);
	journal_check(journal);
	return journal;
}

static void append(struct journal *journal, uint64_t group, uint64_t index, uint64_t term)
{
	uint8_t body[16384];
	size_t size = body_of(group, index, term, body);
	struct journal_entry entry = { .group = group,
		.index = index,
		.term = term,
		.version = index * 3,
		.key_hash = index * 5,
		.request = index * 7,
		.origin = 11,
		.kind = 2,
		.body = bytes_of(body, size) };
	assert_int_equal(journal_append_entry(journal, &entry, NULL), STATUS_OK);
}

static void repair(struct journal *journal, uint64_t group, uint64_t index, uint64_t term)
{
	uint8_t body[16384];
	size_t size = body_of(group, index, term, body);
	struct buffer *buffer = buffer_copy(bytes_of(body, size));
	struct journal_entry entry = { .group = group,
		.index = index,
		.term = term,
		.version = index * 3,
		.key_hash = index * 5,
		.request = index * 7,
		.origin = 11,
		.kind = 2 };
	assert_int_equal(journal_repair_entry(journal, &entry, buffer), STATUS_OK);
	buffer_unref(buffer);
}

/* Gives whether there was anything to flush. */
static bool flush(struct journal *journal)
{
	struct journal_flush *job;
	uint64_t ticket = 0;
	if (!journal_flush_begin(journal, &job))
		return false;
	assert_int_equal(journal_flush_end(journal, job, journal_flush_run(job), &ticket), STATUS_OK);
	assert_int_equal(ticket, journal_durable(journal));
	journal_check(journal);
	return true;
}

static void flush_all(struct journal *journal)
{
	unsigned count = 0;
	while (flush(journal))
		assert_true(count++ < 1000);
	assert_int_equal(journal_durable(journal), journal_ticket(journal));
}

static void check_read(struct journal *journal, uint64_t group, uint64_t index, uint64_t term)
{
	uint8_t body[16384];
	struct journal_entry entry;
	struct buffer *owner;
	size_t size = body_of(group, index, term, body);
	assert_int_equal(journal_read_entry(journal, group, index, &entry, &owner), STATUS_OK);
	assert_int_equal(entry.term, term);
	assert_true(bytes_equal(entry.body, bytes_of(body, size)));
	buffer_unref(owner);
}

static enum status read_status(struct journal *journal, uint64_t group, uint64_t index)
{
	struct journal_entry entry;
	struct buffer *owner;
	enum status status = journal_read_entry(journal, group, index, &entry, &owner);
	buffer_unref(owner);
	return status;
}

/* --- tests ----------------------------------------------------------------------------------------- */

static void round_trip(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	for (uint64_t i = 1; i <= 120; i++)
		for (uint64_t g = 1; g <= 3; g++) {
			append(journal, g, i, 1 + i / 40);
			if (i % 10 == 0)
				assert_int_equal(journal_append_state(journal, g, 1 + i / 40, g + 100), STATUS_OK);
			check_read(journal, g, i, 1 + i / 40); /* pending */
			if (i % 7 == 0)
				flush(journal);
			check_read(journal, g, i, 1 + i / 40);
		}
	flush_all(journal);
	check_read(journal, 2, 57, 2);
	assert_int_equal(read_status(journal, 2, 121), STATUS_NOT_FOUND);
	assert_int_equal(read_status(journal, 5, 1), STATUS_NOT_FOUND);
	journal_close(journal);
	journal = open_journal();
	for (uint64_t g = 1; g <= 3; g++) {
		assert_int_equal(seen.group[g].last, 120);
		assert_int_equal(seen.group[g].term, 4);
		assert_int_equal(seen.group[g].vote, g + 100);
		for (uint64_t i = 1; i <= 120; i++) {
			assert_int_equal(seen.group[g].terms[i], 1 + i / 40);
			check_read(journal, g, i, 1 + i / 40);
		}
	}
	assert_int_equal(seen.corrupt_count, 0);
	append(journal, 1, 121, 5); /* goes on where it ended */
	flush_all(journal);
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.group[1].last, 121);
	struct journal_stats stats;
	journal_stats(journal, &stats);
	assert_int_equal(stats.damaged, 0);
	journal_close(journal);
}

static void unflushed_is_lost(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	append(journal, 1, 1, 1);
	flush_all(journal);
	append(journal, 1, 2, 1);
	uint64_t ticket = journal_ticket(journal);
	assert_true(ticket > journal_durable(journal));
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.group[1].last, 1);
	journal_close(journal);
}

static void tickets(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	struct journal_flush *job, *second;
	uint64_t ticket;
	assert_false(journal_flush_begin(journal, &job));
	append(journal, 1, 1, 1);
	append(journal, 1, 2, 1);
	uint64_t before = journal_ticket(journal);
	assert_true(journal_flush_begin(journal, &job));
	append(journal, 1, 3, 1); /* while the flush is under way */
	append(journal, 2, 1, 1);
	assert_int_equal(journal_append_cut(journal, 1, 2), STATUS_OK);
	assert_false(journal_flush_begin(journal, &second));
	assert_int_equal(journal_flush_end(journal, job, journal_flush_run(job), &ticket), STATUS_OK);
	assert_int_equal(ticket, before);
	check_read(journal, 1, 1, 1);
	assert_int_equal(read_status(journal, 1, 2), STATUS_NOT_FOUND);
	append(journal, 1, 2, 9);
	check_read(journal, 1, 2, 9);
	flush_all(journal);
	struct journal_stats stats;
	journal_stats(journal, &stats);
	assert_int_equal(stats.flushes, 3); /* one at open */
	assert_int_equal(stats.records, 6);
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.group[1].last, 2);
	assert_int_equal(seen.group[1].terms[2], 9);
	journal_close(journal);
}

static void refusals(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	struct journal_entry entry = { .group = 1, .index = 2, .term = 1 };
	assert_int_equal(journal_append_entry(journal, &entry, NULL), STATUS_INVALID);
	assert_int_equal(journal_append_cut(journal, 1, 1), STATUS_INVALID);
	assert_int_equal(journal_repair_entry(journal, &entry, NULL), STATUS_INVALID);
	assert_int_equal(journal_append_remove(journal, 1), STATUS_OK); /* never there: nothing to do */
	assert_int_equal(journal_trim(journal, 1, 5), STATUS_OK);
	struct buffer *large = buffer_new(JOURNAL_SEGMENT_SIZE_MIN);
	memset(large->data, 0, large->size);
	entry.index = 1;
	assert_int_equal(journal_append_entry(journal, &entry, large), STATUS_TOO_LARGE);
	buffer_unref(large);
	journal_close(journal);
	struct journal_options options = options_of();
	options.pending_size_max = 10000;
	assert_int_equal(journal_open(&options, NULL, &journal), STATUS_OK);
	for (entry.index = 1; entry.index < 1000; entry.index++)
		if (journal_append_entry(journal, &entry, NULL) != STATUS_OK)
			break;
	assert_true(entry.index > 50);
	assert_int_equal(journal_append_entry(journal, &entry, NULL), STATUS_BUSY);
	assert_int_equal(journal_append_state(journal, 1, 1, 1), STATUS_OK); /* small ones have a margin */
	flush_all(journal);
	assert_int_equal(journal_append_entry(journal, &entry, NULL), STATUS_OK);
	journal_close(journal);
}

static void foreign_directories(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	append(journal, 1, 1, 1);
	flush_all(journal);
	journal_close(journal);
	struct journal_options options = options_of();
	options.cluster[0] = 9;
	assert_int_equal(journal_open(&options, NULL, &journal), STATUS_CONFLICT);
	options = options_of();
	options.incarnation++;
	assert_int_equal(journal_open(&options, NULL, &journal), STATUS_CONFLICT);
	options = options_of();
	options.segment_size = 4096;
	assert_int_equal(journal_open(&options, NULL, &journal), STATUS_INVALID);
	options.dir = "";
	assert_int_equal(journal_open(&options, NULL, &journal), STATUS_INVALID);
}

/* Of records of the group, in the files. */
static uint64_t headers_of(uint64_t group)
{
	struct journal_trace trace = { .group = group, .upto = UINT64_MAX };
	assert_int_equal(journal_search(dir, 77, &trace, 1), STATUS_OK);
	return trace.found;
}

static void cut_reset_remove(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	for (uint64_t i = 1; i <= 20; i++) {
		append(journal, 1, i, 1);
		append(journal, 2, i, 1);
		append(journal, 3, i, 1);
	}
	flush_all(journal);
	assert_int_equal(journal_append_cut(journal, 1, 11), STATUS_OK);
	append(journal, 1, 11, 2);
	assert_int_equal(journal_append_reset(journal, 2, 500, 7), STATUS_OK);
	append(journal, 2, 501, 8);
	assert_int_equal(journal_append_remove(journal, 3), STATUS_OK);
	assert_true(headers_of(3) > 0);
	struct journal_flush *job;
	uint64_t ticket;
	assert_true(journal_flush_begin(journal, &job));
	assert_int_equal(journal_flush_end(journal, job, journal_flush_run(job), &ticket), STATUS_OK);
	assert_true(headers_of(3) > 0); /* durable, and its bytes still there */
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.group[1].last, 11);
	assert_int_equal(seen.group[1].terms[11], 2);
	assert_int_equal(seen.group[2].base, 500);
	assert_int_equal(seen.group[2].base_term, 7);
	assert_int_equal(seen.group[2].last, 501);
	assert_true(seen.group[3].removed);
	assert_int_equal(seen.group[3].last, 0);
	assert_int_equal(seen.corrupt_count, 0);
	flush_all(journal); /* what is left of the old segment is copied, and it goes */
	assert_int_equal(headers_of(3), 0);
	for (uint64_t i = 1; i <= 10; i++)
		check_read(journal, 1, i, 1);
	append(journal, 3, 1, 9); /* the same group, born again */
	flush_all(journal);
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.group[3].last, 1);
	assert_false(seen.group[3].removed);
	assert_int_equal(seen.group[1].last, 11);
	assert_int_equal(seen.corrupt_count, 0);
	journal_close(journal);
}

struct needle {
	const char *bytes;
	bool found;
};

static bool search_file(void *arg, const char *name)
{
	struct needle *needle = arg;
	char path[512];
	static uint8_t data[2 << 20];
	size_t got;
	struct disk_file *file;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(disk_open(path, DISK_READ_ONLY, &file), STATUS_OK);
	assert_int_equal(disk_read(file, 0, data, sizeof(data), &got), STATUS_OK);
	disk_close(file);
	needle->found = needle->found || memmem(data, got, needle->bytes, strlen(needle->bytes));
	return true;
}

static bool on_disk(const char *bytes)
{
	struct needle needle = { bytes, false };
	assert_int_equal(disk_list(dir, search_file, &needle), STATUS_OK);
	return needle.found;
}

/* Residency: after a removal no file of the journal has a byte of the group, though others live in the same segments.
 */
static void removal_is_physical(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	append(journal, 1, 1, 1);
	assert_int_equal(journal_append_state(journal, 2, 3, 4), STATUS_OK);
	struct journal_entry entry = { .group = 5, .index = 1, .term = 1, .body = bytes_text("canary-0123456789") };
	assert_int_equal(journal_append_entry(journal, &entry, NULL), STATUS_OK);
	flush_all(journal);
	assert_true(on_disk("canary-0123456789"));
	assert_int_equal(journal_append_remove(journal, 5), STATUS_OK);
	flush_all(journal);
	assert_int_equal(headers_of(5), 0);
	assert_false(on_disk("canary-0123456789"));
	check_read(journal, 1, 1, 1);
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.group[1].last, 1);
	assert_int_equal(seen.group[2].term, 3);
	assert_int_equal(seen.group[2].vote, 4);
	journal_close(journal);
}

/* A long life: segments are used again, an idle group does not pin the oldest, restarts find what the model says. */
static void recycling(void **state)
{
	(void)state;
	static uint64_t last[GROUPS], base[GROUPS];
	memset(last, 0, sizeof(last));
	memset(base, 0, sizeof(base));
	struct prng prng;
	prng_seed(&prng, 42);
	struct journal *journal = open_journal();
	assert_int_equal(journal_append_state(journal, 7, 70, 71), STATUS_OK); /* never again */
	append(journal, 7, 1, 70);
	append(journal, 7, 2, 70);
	uint64_t segments_most = 0;
	for (unsigned round = 0; round < 2500; round++) {
		uint64_t g = 1 + prng_below(&prng, 5);
		uint64_t count = prng_below(&prng, 8);
		for (uint64_t i = 0; i < count && last[g] + 1 < ENTRIES; i++) {
			last[g]++;
			append(journal, g, last[g], 1 + last[g] / 500);
		}
		if (prng_chance(&prng, 300000))
			flush(journal);
		if (prng_chance(&prng, 200000) && last[g] > base[g] + 8) {
			base[g] = last[g] - prng_below(&prng, 8);
			assert_int_equal(journal_trim(journal, g, base[g]), STATUS_OK);
		}
		if (prng_chance(&prng, 50000) && last[g] > base[g]) {
			assert_int_equal(journal_append_cut(journal, g, last[g]), STATUS_OK);
			last[g]--;
		}
		struct journal_stats stats;
		journal_stats(journal, &stats);
		if (stats.segments > segments_most)
			segments_most = stats.segments;
		if (!prng_chance(&prng, 10000))
			continue;
		flush_all(journal);
		journal_close(journal);
		journal = open_journal();
		assert_int_equal(seen.corrupt_count, 0);
		assert_int_equal(seen.group[7].last, 2);
		assert_int_equal(seen.group[7].vote, 71);
		for (uint64_t i = 1; i <= 5; i++) {
			assert_int_equal(seen.group[i].last, last[i]);
			assert_int_equal(seen.group[i].base, base[i]);
		}
	}
	assert_true(segments_most >= 3);
	assert_true(segments_most <= 12);
	check_read(journal, 7, 2, 70);
	journal_close(journal);
}

/* More is pending than one flush, or one segment, takes; at each step of the way a restart finds a state that was. */
static void narrow_flushes(void **state)
{
	(void)state;
	struct journal_options options = options_of();
	struct journal *journal;
	options.flush_size_max = 20000;
	assert_int_equal(journal_open(&options, NULL, &journal), STATUS_OK);
	for (uint64_t i = 1; i <= 300; i++)
		append(journal, 1, i, 1);
	flush_all(journal);
	for (uint64_t i = 301; i <= 3000; i++)
		append(journal, 1, i, 1); /* then a cut and a trim, far behind in the queue */
	assert_int_equal(journal_append_cut(journal, 1, 250), STATUS_OK);
	for (uint64_t i = 250; i <= 270; i++)
		append(journal, 1, i, 2);
	assert_int_equal(journal_trim(journal, 1, 260), STATUS_OK);
	struct journal_stats stats;
	for (unsigned steps = 0; flush(journal); steps++) {
		assert_true(steps < 1000);
		if (steps % 8 != 3)
			continue;
		bool all = journal_durable(journal) == journal_ticket(journal);
		journal_close(journal); /* what is still pending is lost */
		memset(&seen, 0, sizeof(seen));
		assert_int_equal(journal_open(&options, &recovery, &journal), STATUS_OK);
		assert_int_equal(seen.corrupt_count, 0);
		assert_true(all || (seen.group[1].base == 0 && seen.group[1].last > 300));
		for (uint64_t i = seen.group[1].last + 1; i <= 3000 && !all; i++)
			append(journal, 1, i, 1);
		if (steps > 16 && !all) {
			assert_int_equal(journal_append_cut(journal, 1, 250), STATUS_OK);
			append(journal, 1, 250, 2);
		}
	}
	journal_stats(journal, &stats);
	assert_true(stats.flushes > 1);
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.corrupt_count, 0);
	assert_int_equal(seen.group[1].last, 250);
	assert_int_equal(seen.group[1].terms[250], 2);
	assert_int_equal(seen.group[1].terms[249], 1);
	journal_close(journal);
}

/* --- images of a disk -------------------------------------------------------------------------------- */

struct image {
	char name[64];
	uint8_t *data;
	size_t size;
};
static struct image images[16];
static size_t image_count;

static bool image_take(void *arg, const char *name)
{
	(void)arg;
	char path[512];
	struct image *image = &images[image_count++];
	uint64_t size;
	struct disk_file *file;
	snprintf(image->name, sizeof(image->name), "%s", name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(disk_open(path, DISK_READ_ONLY, &file), STATUS_OK);
	assert_int_equal(disk_size(file, &size), STATUS_OK);
	image->data = malloc((size_t)size);
	assert_int_equal(disk_read(file, 0, image->data, (size_t)size, &image->size), STATUS_OK);
	disk_close(file);
	return image_count < 16;
}

static void images_take(void)
{
	image_count = 0;
	assert_int_equal(disk_list(dir, image_take, NULL), STATUS_OK);
}

static void images_put(void)
{
	assert_int_equal(disk_list(dir, wipe_name, dir), STATUS_OK);
	for (size_t i = 0; i < image_count; i++) {
		char path[2048];
		struct disk_file *file;
		struct bytes slice = bytes_of(images[i].data, images[i].size);
		snprintf(path, sizeof(path), "%s/%s", dir, images[i].name);
		assert_int_equal(disk_open(path, DISK_CREATE, &file), STATUS_OK);
		assert_int_equal(disk_write(file, 0, &slice, 1), STATUS_OK);
		disk_close(file);
	}
}

static void images_free(void)
{
	for (size_t i = 0; i < image_count; i++)
		free(images[i].data);
	image_count = 0;
}

/* The image with the highest name. */
static struct image *newest_image(void)
{
	struct image *newest = &images[0];
	for (size_t i = 1; i < image_count; i++)
		if (strcmp(images[i].name, newest->name) > 0)
			newest = &images[i];
	return newest;
}

/* Finds the batches of an image: where the MARK is and how long the batch is. */
static size_t batches_of(const struct image *image, uint64_t sequence, uint64_t *offset, uint64_t *size, size_t max)
{
	size_t count = 0;
	for (uint64_t at = JOURNAL_DATA_BEGIN; at + RECORD_HEADER_SIZE <= image->size && count < max;) {
		struct record record;
		if (!record_parse(image->data + at, record_seed(77, sequence, at), &record) ||
			record.type != RECORD_MARK)
			break;
		offset[count] = at;
		size[count++] = record.key_hash;
		at = align_up(at + record.key_hash, JOURNAL_BLOCK);
	}
	return count;
}

static void three_flushes(void)
{
	struct journal *journal = open_journal();
	append(journal, 1, 1, 1);
	append(journal, 1, 2, 1);
	assert_int_equal(journal_append_state(journal, 2, 5, 6), STATUS_OK);
	flush(journal);
	append(journal, 1, 3, 1);
	append(journal, 2, 1, 5);
	append(journal, 1, 4, 2);
	flush(journal);
	append(journal, 1, 5, 2);
	append(journal, 2, 2, 5);
	flush(journal);
	journal_close(journal);
}

/* Cut anywhere inside the last flush: what was durable before is all there, and nothing is called corrupt. */
static void torn_at_each_byte(void **state)
{
	(void)state;
	uint64_t offset[8], size[8];
	three_flushes();
	images_take();
	struct image *image = newest_image();
	size_t count = batches_of(image, strtoull(image->name, NULL, 16), offset, size, 8);
	assert_int_equal(count, 4); /* one at open */
	uint8_t *whole = malloc(image->size);
	memcpy(whole, image->data, image->size);
	for (uint64_t cut = 0; cut < size[3]; cut++) {
		memcpy(image->data, whole, image->size);
		memset(image->data + offset[3] + cut, 0, image->size - offset[3] - cut);
		if (memcmp(image->data + offset[3], whole + offset[3], size[3]) == 0)
			continue; /* only zeroes were cut */
		images_put();
		struct journal *journal = open_journal();
		assert_int_equal(seen.corrupt_count, 0);
		assert_true(seen.group[1].last == 4 || seen.group[1].last == 5);
		assert_int_equal(seen.group[2].last, 1);
		assert_int_equal(seen.group[2].vote, 6);
		uint64_t last = seen.group[1].last;
		append(journal, 1, last + 1, 3);
		flush_all(journal);
		journal_close(journal);
		journal = open_journal(); /* what was cut stays cut */
		assert_int_equal(seen.group[1].last, last + 1);
		assert_int_equal(seen.group[1].terms[last + 1], 3);
		assert_int_equal(seen.group[2].last, 1);
		assert_int_equal(seen.corrupt_count, 0);
		journal_close(journal);
	}
	free(whole);
	images_free();
}

static bool was_corrupt(uint64_t group, uint64_t index)
{
	for (size_t i = 0; i < seen.corrupt_count; i++)
		if (seen.corrupt[i].group == group && seen.corrupt[i].index == index)
			return true;
	return false;
}

/* Flip any byte of any flush but the last: nothing acknowledged vanishes in silence, and what is lost comes back by
 * repair. */
static void flipped_byte(void **state)
{
	(void)state;
	uint64_t offset[8], size[8];
	three_flushes();
	images_take();
	struct image *image = newest_image();
	size_t count = batches_of(image, strtoull(image->name, NULL, 16), offset, size, 8);
	assert_int_equal(count, 4);
	size_t reported = 0, mended = 0;
	for (size_t b = 1; b < 3; b++) {
		for (uint64_t at = offset[b]; at < offset[b] + size[b]; at++) {
			image->data[at] ^= 0x20;
			images_put();
			image->data[at] ^= 0x20;
			struct journal *journal = open_journal();
			struct journal_stats stats;
			journal_stats(journal, &stats);
			assert_true(stats.damaged > 0);
			assert_int_equal(seen.group[2].term, 5);
			assert_int_equal(seen.group[2].vote, 6);
			static const uint64_t terms[6] = { 0, 1, 1, 1, 2, 2 };
			for (uint64_t i = 1; i <= 5; i++)
				if (seen.group[1].terms[i] != terms[i])
					assert_true(was_corrupt(1, i));
			for (uint64_t i = 1; i <= 2; i++)
				if (seen.group[2].terms[i] != 5)
					assert_true(was_corrupt(2, i));
			assert_true(seen.corrupt_count <= 1);
			reported += seen.corrupt_count;
			mended += seen.corrupt_count == 0;
			if (seen.corrupt_count == 1) {
				uint64_t g = seen.corrupt[0].group, i = seen.corrupt[0].index, t = seen.corrupt[0].term;
				assert_int_equal(t, g == 1 ? terms[i] : 5);
				assert_int_equal(read_status(journal, g, i), STATUS_CORRUPT);
				journal_close(journal);
				journal = open_journal(); /* and is not forgotten */
				assert_true(was_corrupt(g, i));
				repair(journal, g, i, t);
				check_read(journal, g, i, t);
				flush_all(journal);
				check_read(journal, g, i, t);
				journal_close(journal);
				journal = open_journal();
				assert_int_equal(seen.corrupt_count, 0);
				assert_int_equal(seen.group[g].terms[i], t);
			}
			journal_close(journal);
		}
	}
	assert_true(reported > 300);
	assert_true(mended > 300); /* MARKs and states are there twice */
	images_free();
}

/* Either copy of a header may go; both, or the whole file, is a loss without names. */
static void damaged_headers(void **state)
{
	(void)state;
	three_flushes();
	struct journal *journal = open_journal();
	append(journal, 1, 6, 3);
	flush_all(journal);
	journal_close(journal);
	images_take();
	struct image *image = newest_image();
	for (unsigned which = 1; which <= 3; which++) {
		if (which & 1)
			image->data[30] ^= 1;
		if (which & 2)
			image->data[JOURNAL_BLOCK + 30] ^= 1;
		images_put();
		if (which & 1)
			image->data[30] ^= 1;
		if (which & 2)
			image->data[JOURNAL_BLOCK + 30] ^= 1;
		journal = open_journal();
		assert_int_equal(seen.group[1].last, 6);
		assert_int_equal(was_corrupt(0, 0), which == 3);
		journal_close(journal);
	}
	/* an older segment is gone */
	for (size_t i = 0; i < image_count; i++) {
		images_put();
		if (&images[i] == image)
			continue;
		char path[2048];
		snprintf(path, sizeof(path), "%s/%s", dir, images[i].name);
		assert_int_equal(disk_remove(path), STATUS_OK);
		journal = open_journal();
		assert_true(was_corrupt(0, 0));
		journal_close(journal);
		journal = open_journal();
		assert_true(was_corrupt(0, 0)); /* for ever */
		journal_close(journal);
	}
	images_put();
	image->data[8] = 2; /* the version, in both copies */
	image->data[JOURNAL_BLOCK + 8] = 2;
	images_put();
	struct journal_options options = options_of();
	assert_int_equal(journal_open(&options, NULL, &journal), STATUS_UNSUPPORTED);
	images_free();
}

/* A failed flush is final, whatever the next one would say. */
static void failure_is_final(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	struct journal_flush *job;
	uint64_t ticket;
	append(journal, 1, 1, 1);
	assert_true(journal_flush_begin(journal, &job));
	assert_int_equal(journal_flush_run(job), STATUS_OK);
	assert_int_equal(journal_flush_end(journal, job, STATUS_IO, &ticket), STATUS_IO);
	assert_false(journal_flush_begin(journal, &job));
	assert_int_equal(journal_append_state(journal, 1, 1, 1), STATUS_IO);
	assert_int_equal(journal_trim(journal, 1, 1), STATUS_IO);
	assert_int_equal(read_status(journal, 1, 1), STATUS_IO);
	journal_close(journal);
}

/* NO_SPACE before a sync: the records wait, and the next flush takes them. */
static void full_disk_waits(void **state)
{
	(void)state;
	struct journal *journal = open_journal();
	struct journal_flush *job;
	uint64_t ticket;
	append(journal, 1, 1, 1);
	assert_true(journal_flush_begin(journal, &job));
	assert_int_equal(journal_flush_end(journal, job, STATUS_NO_SPACE, &ticket), STATUS_NO_SPACE);
	assert_true(journal_full(journal));
	assert_int_equal(journal_durable(journal), 0);
	check_read(journal, 1, 1, 1);
	append(journal, 1, 2, 1);
	flush_all(journal);
	assert_false(journal_full(journal));
	check_read(journal, 1, 1, 1);
	journal_close(journal);
	journal = open_journal();
	assert_int_equal(seen.group[1].last, 2);
	journal_close(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(unflushed_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(tickets, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_directories, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_reset_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_is_physical, setup, teardown),
		cmocka_unit_test_setup_teardown(recycling, setup, teardown),
		cmocka_unit_test_setup_teardown(narrow_flushes, setup, teardown),
		cmocka_unit_test_setup_teardown(torn_at_each_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(flipped_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(failure_is_final, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk_waits, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
