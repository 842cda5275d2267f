/* base/search.c: see base/search.h. */
#include "base/search.h"

#include <assert.h>
#include <string.h>

static const char *const layer_names[SEARCH_LAYERS] = { "journal", "tables", "table-list", "engine", "engine-log",
	"label", "erasures", "ledger", "identity", "other", "file-name", "log", "status" };

const char *search_layer_name(unsigned layer)
{
	return layer < SEARCH_LAYERS ? layer_names[layer] : "?";
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
	size_t size = strlen(text), tail = strlen(with);
	return size >= tail && strcmp(text + size - tail, with) == 0;
}

enum search_layer search_layer_of(const char *path)
{
	const char *name = path;
	for (const char *at = path; *at; at++)
		name = *at == '/' ? at + 1 : name;
	if (begins(path, "journal/"))
		return SEARCH_JOURNAL;
	if (begins(path, "ledger/"))
		return SEARCH_LEDGER;
	if (begins(path, "ERASURES"))
		return SEARCH_ERASURES;
	if (begins(path, "IDENTITY") || strcmp(path, "LOCK") == 0)
		return SEARCH_IDENTITY;
	if (!begins(path, "shards/"))
		return SEARCH_OTHER;
	if (name == path + strlen("shards/"))
		return ends(name, ".label") || ends(name, ".label.new") ? SEARCH_LABEL : SEARCH_OTHER;
	if (ends(name, ".sst"))
		return SEARCH_TABLES;
	if (begins(name, "MANIFEST"))
		return SEARCH_TABLE_LIST;
	return begins(name, "LOG") ? SEARCH_ENGINE_LOG : SEARCH_ENGINE;
}

int search_path_compare(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	unsigned left = *a == '/' ? 1 : (unsigned char)*a, right = *b == '/' ? 1 : (unsigned char)*b;
	return left < right ? -1 : left > right;
}

static void place_pack(const struct search_place *place, struct packer *packer)
{
	pack_u8(packer, place->stage);
	pack_text(packer, place->path);
	pack_u64(packer, place->offset);
}

static void place_unpack(struct unpacker *unpacker, struct search_place *place)
{
	place->stage = unpack_u8(unpacker);
	unpack_text(unpacker, place->path, sizeof(place->path));
	place->offset = unpack_u64(unpacker);
	if (place->stage > SEARCH_ENDED)
		unpacker->bad = true;
}

void search_request_encode(const struct search_place *from, const struct needles *needles, struct packer *packer)
{
	pack_u32(packer, SEARCH_VERSION);
	place_pack(from, packer);
	pack_raw(packer, needles->salt, sizeof(needles->salt));
	pack_u64(packer, needles->multiplier);
	pack_u32(packer, needles->mark_count);
	for (uint32_t i = 0; i < needles->mark_count; i++)
		pack_u32(packer, needles->marks[i]);
	pack_u32(packer, needles->count);
	for (uint32_t i = 0; i < needles->count; i++) {
		pack_raw(packer, needles->at[i].digest, SHA256_SIZE);
		pack_u16(packer, needles->at[i].of);
		pack_u8(packer, needles->at[i].form);
	}
}

enum status search_request_decode(struct bytes bytes, struct search_place *from, struct needles *needles)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes);
	if (unpack_u32(&unpacker) != SEARCH_VERSION)
		return unpacker.bad ? STATUS_INVALID : STATUS_UNSUPPORTED;
	place_unpack(&unpacker, from);
	struct bytes salt = unpack_raw(&unpacker, NEEDLE_SALT_SIZE);
	needles->multiplier = unpack_u64(&unpacker);
	needles->mark_count = unpack_u32(&unpacker);
	if (unpacker.bad || needles->mark_count > NEEDLES_MAX)
		return STATUS_INVALID;
	memcpy(needles->salt, salt.data, NEEDLE_SALT_SIZE);
	for (uint32_t i = 0; i < needles->mark_count; i++)
		needles->marks[i] = unpack_u32(&unpacker);
	needles->count = unpack_u32(&unpacker);
	if (unpacker.bad || needles->count > NEEDLES_MAX)
		return STATUS_INVALID;
	for (uint32_t i = 0; i < needles->count && !unpacker.bad; i++) {
		struct bytes digest = unpack_raw(&unpacker, SHA256_SIZE);
		if (digest.size == SHA256_SIZE)
			memcpy(needles->at[i].digest, digest.data, SHA256_SIZE);
		needles->at[i].of = unpack_u16(&unpacker);
		needles->at[i].form = unpack_u8(&unpacker);
	}
	if (!unpack_end(&unpacker) || !needles_valid(needles))
		return STATUS_INVALID;
	needles_seal(needles);
	return STATUS_OK;
}

void search_slice_encode(const struct search_slice *slice, struct packer *packer)
{
	assert(slice->count <= SEARCH_HITS_MAX);
	pack_u32(packer, SEARCH_VERSION);
	place_pack(&slice->next, packer);
	pack_u64(packer, slice->size);
	pack_u32(packer, slice->files);
	pack_u32(packer, slice->unread);
	pack_text(packer, slice->unread_path);
	pack_u8(packer, slice->own_log);
	pack_u32(packer, slice->pause_ms);
	pack_u32(packer, slice->count);
	for (uint32_t i = 0; i < slice->count; i++) {
		const struct search_hit *hit = &slice->at[i];
		pack_u16(packer, hit->of);
		pack_u8(packer, hit->form);
		pack_u8(packer, hit->layer);
		pack_u32(packer, hit->times);
		pack_u64(packer, hit->offset);
		pack_text(packer, hit->path);
	}
}

enum status search_slice_decode(struct bytes bytes, struct search_slice *slice)
{
	struct unpacker unpacker;
	unpack_init(&unpacker, bytes);
	if (unpack_u32(&unpacker) != SEARCH_VERSION)
		return unpacker.bad ? STATUS_INVALID : STATUS_UNSUPPORTED;
	place_unpack(&unpacker, &slice->next);
	slice->size = unpack_u64(&unpacker);
	slice->files = unpack_u32(&unpacker);
	slice->unread = unpack_u32(&unpacker);
	unpack_text(&unpacker, slice->unread_path, sizeof(slice->unread_path));
	uint8_t own_log = unpack_u8(&unpacker);
	slice->own_log = own_log != 0;
	slice->pause_ms = unpack_u32(&unpacker);
	slice->count = unpack_u32(&unpacker);
	if (unpacker.bad || own_log > 1 || slice->count > SEARCH_HITS_MAX)
		return STATUS_INVALID;
	for (uint32_t i = 0; i < slice->count && !unpacker.bad; i++) {
		struct search_hit *hit = &slice->at[i];
		hit->of = unpack_u16(&unpacker);
		hit->form = unpack_u8(&unpacker);
		hit->layer = unpack_u8(&unpacker);
		hit->times = unpack_u32(&unpacker);
		hit->offset = unpack_u64(&unpacker);
		unpack_text(&unpacker, hit->path, sizeof(hit->path));
		if (hit->of >= NEEDLE_SECRETS_MAX || hit->layer >= SEARCH_LAYERS || hit->form < NEEDLE_RAW ||
			hit->form > NEEDLE_BASE64)
			return STATUS_INVALID;
	}
	return unpack_end(&unpacker) ? STATUS_OK : STATUS_INVALID;
}
