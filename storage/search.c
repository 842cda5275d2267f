/* storage/search.c: see storage/search.h. The tree of directories is walked in order down to where the slice begins;
 * what lies before is listed and passed over. One buffer: a piece of a file behind the end of the piece before. */
#include "storage/search.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "storage/disk.h"

enum {
	PIECE_SIZE = 256 << 10,
	FILE_COST = 4 << 10, /* what a file costs of the budget besides its bytes */
	DEPTH_MAX = 8,
};

struct walk {
	const struct needles *needles;
	const struct search_place *from;
	struct search_slice *slice;
	uint64_t budget;
	const char *data;
	uint8_t *buffer; /* NEEDLE_OVERLAP + PIECE_SIZE */
	bool full;	 /* the slice ends here */
	enum status status;
};

/* --- hits ------------------------------------------------------------------------------------------ */

struct look {
	struct search_slice *slice;
	uint32_t first; /* of this file in the slice */
	uint8_t layer;
	const char *path;
	uint64_t offset; /* of the buffer's begin in the file */
};

static void found(void *arg, const struct needle *needle, size_t at)
{
	struct look *look = arg;
	struct search_slice *slice = look->slice;
	for (uint32_t i = look->first; i < slice->count; i++) {
		if (slice->at[i].of == needle->of) {
			slice->at[i].times += slice->at[i].times < UINT32_MAX;
			return;
		}
	}
	assert(slice->count < SEARCH_HITS_MAX); /* room for every secret was there when the piece was begun */
	struct search_hit *hit = &slice->at[slice->count++];
	struct text path;
	*hit = (struct search_hit){
		.of = needle->of, .form = needle->form, .layer = look->layer, .times = 1, .offset = look->offset + at
	};
	text_init(&path, hit->path, sizeof(hit->path));
	text_add(&path, look->path);
}

static bool has_room(const struct search_slice *slice)
{
	return slice->count + NEEDLE_SECRETS_MAX <= SEARCH_HITS_MAX;
}

/* --- one file -------------------------------------------------------------------------------------- */

static void unread(struct walk *walk, const char *path)
{
	struct text text;
	if (walk->slice->unread++ > 0)
		return;
	text_init(&text, walk->slice->unread_path, sizeof(walk->slice->unread_path));
	text_add(&text, path);
}

static void stop_at(struct walk *walk, uint8_t stage, const char *path, uint64_t offset)
{
	struct text text;
	walk->full = true;
	walk->slice->next = (struct search_place){ .stage = stage, .offset = offset };
	text_init(&text, walk->slice->next.path, sizeof(walk->slice->next.path));
	text_add(&text, path);
}

/* Much of a journal is zeroes that nothing was written over yet, and no needle is of zeroes. */
static bool all_zero(const uint8_t *data, size_t size)
{
	return size > 0 && data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* `real` is where it is, `path` what it is called here. */
static void search_file(
	struct walk *walk, uint8_t stage, const char *real, const char *path, uint8_t layer, uint64_t offset)
{
	struct look look = { .slice = walk->slice, .first = walk->slice->count, .layer = layer, .path = path };
	size_t kept = offset < NEEDLE_OVERLAP ? (size_t)offset : NEEDLE_OVERLAP, got = PIECE_SIZE, had;
	struct disk_file *file;
	enum status status = disk_open(real, DISK_READ_ONLY, &file);
	if (status == STATUS_NOT_FOUND) /* unlinked since it was listed; what it had is gone, or comes later */
		return;
	if (status != STATUS_OK) {
		unread(walk, path);
		return;
	}
	if (kept > 0) /* the end of the slice before */
		status = disk_read(file, offset - kept, walk->buffer, kept, &had);
	if (status == STATUS_OK && kept > 0 && had < kept)
		got = 0; /* it is shorter by now */
	while (status == STATUS_OK && got == PIECE_SIZE) {
		if (walk->budget == 0 || !has_room(walk->slice)) {
			stop_at(walk, stage, path, offset);
			break;
		}
		status = disk_read(file, offset, walk->buffer + kept, PIECE_SIZE, &got);
		if (status != STATUS_OK)
			break;
		if (offset == 0) {
			walk->slice->files++;
			walk->budget -= walk->budget < FILE_COST ? walk->budget : FILE_COST;
		}
		look.offset = offset - kept;
		if (!all_zero(walk->buffer + kept, got))
			needles_search(walk->needles, walk->buffer, kept + got, kept, found, &look);
		offset += got;
		walk->slice->size += got;
		walk->budget -= walk->budget < got ? walk->budget : got;
		size_t keep = kept + got < NEEDLE_OVERLAP ? kept + got : NEEDLE_OVERLAP;
		memmove(walk->buffer, walk->buffer + kept + got - keep, keep);
		kept = keep;
	}
	if (status != STATUS_OK)
		unread(walk, path);
	disk_close(file);
}

/* --- the tree -------------------------------------------------------------------------------------- */

struct names {
	char *text; /* each with its NUL */
	size_t size, capacity;
	char **at; /* sorted, once listed */
	size_t count;
	bool failed; /* no memory */
};

static bool name_take(void *arg, const char *name)
{
	struct names *names = arg;
	size_t size = strlen(name) + 1;
	if (names->size + size > names->capacity) {
		size_t capacity = 2 * (names->capacity + size + 512);
		char *grown = realloc(names->text, capacity);
		if (!grown) {
			names->failed = true;
			return false;
		}
		names->text = grown;
		names->capacity = capacity;
	}
	memcpy(names->text + names->size, name, size);
	names->size += size;
	names->count++;
	return true;
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum status names_list(const char *dir, struct names *names)
{
	enum status status = disk_list(dir, name_take, names);
	if (names->failed)
		return STATUS_NO_MEMORY;
	if (status != STATUS_OK || names->count == 0)
		return status;
	names->at = malloc(names->count * sizeof(names->at[0]));
	if (!names->at)
		return STATUS_NO_MEMORY;
	char *text = names->text;
	for (size_t i = 0; i < names->count; i++, text += strlen(text) + 1)
		names->at[i] = text;
	qsort(names->at, names->count, sizeof(names->at[0]), name_order);
	return STATUS_OK;
}

static void names_free(struct names *names)
{
	free(names->at);
	free(names->text);
}

static bool join(char out[], size_t capacity, const char *dir, const char *name)
{
	struct text text;
	text_init(&text, out, capacity);
	text_add(&text, dir);
	text_add(&text, dir[0] ? "/" : "");
	text_add(&text, name);
	return text.size == strlen(dir) + (dir[0] != 0) + strlen(name);
}

static void walk_dir(struct walk *walk, const char *dir, unsigned depth);

/* A name is where bytes may be, too. */
static void search_name(struct walk *walk, const char *path)
{
	struct look look = {
		.slice = walk->slice, .first = walk->slice->count, .layer = SEARCH_FILE_NAME, .path = path
	};
	needles_search(walk->needles, (const uint8_t *)path, strlen(path), 0, found, &look);
}

static void walk_entry(struct walk *walk, const char *path, unsigned depth)
{
	const struct search_place *from = walk->from;
	int order = search_path_compare(path, from->path);
	size_t size = strlen(path);
	bool above = strncmp(from->path, path, size) == 0 && from->path[size] == '/'; /* the slice begins in it */
	char real[DISK_PATH_MAX];
	enum disk_kind kind;
	if (order < 0 && !above)
		return;
	if (!join(real, sizeof(real), walk->data, path)) {
		unread(walk, path);
		return;
	}
	enum status status = disk_kind(real, &kind);
	if (status == STATUS_NOT_FOUND)
		return;
	uint64_t offset = order == 0 ? from->offset : 0;
	if (!above && (walk->budget == 0 || !has_room(walk->slice))) {
		stop_at(walk, SEARCH_FILES, path, offset);
		return;
	}
	if (!above && offset == 0)
		search_name(walk, path);
	if (status != STATUS_OK || kind == DISK_OTHER || depth == DEPTH_MAX)
		unread(walk, path);
	else if (kind == DISK_DIRECTORY)
		walk_dir(walk, path, depth + 1);
	else
		search_file(walk, SEARCH_FILES, real, path, (uint8_t)search_layer_of(path), offset);
}

static void walk_dir(struct walk *walk, const char *dir, unsigned depth)
{
	char path[SEARCH_PATH_MAX], real[DISK_PATH_MAX];
	struct names names = { 0 };
	enum status status = STATUS_TOO_LARGE;
	if (dir[0] == 0)
		status = names_list(walk->data, &names);
	else if (join(real, sizeof(real), walk->data, dir))
		status = names_list(real, &names);
	for (size_t i = 0; status == STATUS_OK && i < names.count && !walk->full && walk->status == STATUS_OK; i++) {
		if (join(path, sizeof(path), dir, names.at[i]))
			walk_entry(walk, path, depth);
		else
			unread(walk, path);
	}
	names_free(&names);
	if (status == STATUS_NO_MEMORY)
		walk->status = status;
	else if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		unread(walk, dir);
}

enum status search_files(const char *data, const char *log, const struct search_place *from,
	const struct needles *needles, uint64_t budget, struct search_slice *slice)
{
	struct walk walk = { .needles = needles,
		.from = from,
		.slice = slice,
		.budget = budget,
		.data = data,
		.buffer = malloc(NEEDLE_OVERLAP + PIECE_SIZE) };
	static_assert(SEARCH_HITS_MAX >= 2 * NEEDLE_SECRETS_MAX, "a slice gets on, whatever a piece has");
	slice->next = (struct search_place){ .stage = SEARCH_ENDED };
	slice->size = slice->files = slice->unread = slice->count = slice->pause_ms = 0;
	slice->unread_path[0] = 0;
	slice->own_log = log != NULL;
	if (!walk.buffer)
		return STATUS_NO_MEMORY;
	if (from->stage == SEARCH_FILES)
		walk_dir(&walk, "", 0);
	if (walk.status == STATUS_OK && !walk.full && log && from->stage < SEARCH_ENDED)
		search_file(&walk, SEARCH_OWN_LOG, log, "(log)", SEARCH_LOG,
			from->stage == SEARCH_OWN_LOG ? from->offset : 0);
	free(walk.buffer);
	return walk.status;
}
