/* client/session.c: what a session has seen: per shard the highest log index that an answer included, and the newest
 * map by which one was asked for. A session read waits at its replica until it has applied that far, so it sees the
 * session's own writes and never goes back. It is not sent by an older map: that may name the shard that the key was in
 * before it was moved, of which the session knows nothing. A shard's id is never used again, so an index of it never
 * means another log.
 *
 * Token, little-endian: u8 version (3), 16 bytes cluster id (zeros: of none yet), u64 map epoch, u32 count, count times
 * u64 shard and u64 index with shards ascending, u64 XXH3-64 of all before. Still read: version 2, which has no epoch;
 * version 1, which has neither cluster nor hash. It holds no byte of any key. Any thread: one lock, held for a look-up.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "base/pack.h"
#include "base/text.h"
#include "client/client_internal.h"

enum {
	TOKEN_VERSION = 3,
	TOKEN_VERSION_NO_EPOCH = 2,
	TOKEN_VERSION_FIRST = 1,
	TOKEN_HEAD = 1 + 16 + 8 + 4,
	TOKEN_HASH = 8,
	PAIR = 16
};

struct seen {
	uint64_t shard, index;
};
struct dom_session {
	pthread_mutex_t lock;
	uint8_t cluster[16]; /* zeros: of none yet */
	uint64_t map_epoch;  /* newest by which it was answered */
	struct seen *at;     /* ascending by shard */
	size_t count, capacity;
	uint8_t *token;
	bool lost; /* no memory for a shard: the token would promise less than was seen */
};

static const uint8_t no_cluster[16];
static _Thread_local char session_message[MESSAGE_SIZE];

static void say(const char *text)
{
	struct text out;
	text_init(&out, session_message, sizeof(session_message));
	text_add(&out, text);
}

const char *dom_session_message(void)
{
	return session_message;
}

/* Where the shard is, or would be. */
static size_t position(const dom_session *session, uint64_t shard)
{
	size_t first = 0;
	for (size_t end = session->count; first < end;) {
		size_t middle = first + (end - first) / 2;
		if (session->at[middle].shard < shard)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

static bool insert(dom_session *session, size_t at, struct seen seen)
{
	if (session->count == session->capacity) {
		size_t capacity = session->capacity == 0 ? 16 : session->capacity * 2;
		struct seen *grown = realloc(session->at, capacity * sizeof(*grown));
		if (!grown)
			return false;
		session->at = grown;
		session->capacity = capacity;
	}
	memmove(session->at + at + 1, session->at + at, (session->count - at) * sizeof(*session->at));
	session->at[at] = seen;
	session->count++;
	assert(at == 0 || session->at[at - 1].shard < seen.shard);
	return true;
}

static bool see(dom_session *session, struct seen seen)
{
	size_t at = position(session, seen.shard);
	if (at == session->count || session->at[at].shard != seen.shard)
		return insert(session, at, seen);
	if (session->at[at].index < seen.index)
		session->at[at].index = seen.index;
	return true;
}

/* --- tokens -------------------------------------------------------------------------------------------------- */

/* The head; what is left in *in are the pairs. INVALID with a text. */
static enum status token_open(struct bytes token, struct unpacker *in, dom_session *session, uint32_t *count)
{
	const uint8_t *data = token.data;
	size_t head = TOKEN_HEAD, tail = TOKEN_HASH;
	struct unpacker in_head;
	if (data[0] > TOKEN_VERSION) {
		struct text out;
		text_init(&out, session_message, sizeof(session_message));
		text_add(&out, "the session token is of version ");
		text_add_u64(&out, data[0]);
		text_add(&out, "; this library reads up to version ");
		text_add_u64(&out, TOKEN_VERSION);
		return STATUS_INVALID;
	}
	say("the session token is damaged, or is none");
	if (data[0] == TOKEN_VERSION_FIRST)
		head -= 16 + 8, tail = 0;
	else if (data[0] == TOKEN_VERSION_NO_EPOCH)
		head -= 8;
	else if (data[0] != TOKEN_VERSION)
		return STATUS_INVALID;
	if (token.size < head + tail || (token.size - head - tail) % PAIR != 0)
		return STATUS_INVALID;
	if (tail != 0) {
		struct unpacker hash;
		unpack_init(&hash, bytes_of(data + token.size - tail, tail));
		if (unpack_u64(&hash) != hash64(bytes_of(data, token.size - tail)))
			return STATUS_INVALID;
		memcpy(session->cluster, data + 1, 16);
	}
	if (data[0] == TOKEN_VERSION) {
		unpack_init(&in_head, bytes_of(data + 1 + 16, 8));
		session->map_epoch = unpack_u64(&in_head);
	}
	unpack_init(in, bytes_of(data + head - 4, token.size - tail - (head - 4)));
	*count = unpack_u32(in);
	return *count == (token.size - head - tail) / PAIR && *count <= MAP_SHARDS_MAX ? STATUS_OK : STATUS_INVALID;
}

/* All of the token or nothing: it is read as a session of its own first. */
static enum status token_read(dom_session *session, struct bytes token)
{
	struct unpacker in;
	uint64_t before = 0;
	uint32_t count;
	enum status status = token_open(token, &in, session, &count);
	for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
		struct seen seen = { .shard = unpack_u64(&in) };
		seen.index = unpack_u64(&in);
		if (seen.shard <= before)
			return STATUS_INVALID;
		before = seen.shard;
		if (!insert(session, i, seen)) {
			say("out of memory");
			return STATUS_NO_MEMORY;
		}
	}
	return status;
}

static dom_session *session_read(dom_bytes token, enum status *status)
{
	dom_session *session = calloc(1, sizeof(*session));
	session_message[0] = '\0';
	if (!session) {
		say("out of memory");
		*status = STATUS_NO_MEMORY;
		return NULL;
	}
	pthread_mutex_init(&session->lock, NULL);
	*status = token.size == 0 ? STATUS_OK : token_read(session, bytes_of(token.data, token.size));
	if (*status != STATUS_OK) {
		dom_session_free(session);
		return NULL;
	}
	session_message[0] = '\0';
	return session;
}

dom_session *dom_session_new(dom_bytes token)
{
	enum status status;
	return session_read(token, &status);
}

/* Under the lock of a session that others may use. */
static bool joins(dom_session *session, const uint8_t cluster[16])
{
	if (memcmp(cluster, no_cluster, 16) == 0)
		return true;
	if (memcmp(session->cluster, no_cluster, 16) == 0)
		memcpy(session->cluster, cluster, 16);
	return memcmp(session->cluster, cluster, 16) == 0;
}

enum dom_status dom_session_merge(dom_session *session, dom_bytes token)
{
	enum status status;
	dom_session *other = session_read(token, &status);
	if (!other)
		return (enum dom_status)status;
	pthread_mutex_lock(&session->lock);
	if (!joins(session, other->cluster)) {
		say("the session token is of another cluster than the session");
		status = STATUS_INVALID;
	}
	/* No memory half-way: more was seen than was asked for, which only makes a read wait. */
	for (size_t i = 0; status == STATUS_OK && i < other->count; i++)
		if (!see(session, other->at[i])) {
			say("out of memory");
			status = STATUS_NO_MEMORY;
		}
	if (status == STATUS_OK && other->map_epoch > session->map_epoch)
		session->map_epoch = other->map_epoch;
	pthread_mutex_unlock(&session->lock);
	dom_session_free(other);
	return (enum dom_status)status;
}

dom_bytes dom_session_token(const dom_session *constant)
{
	/* The token lives in the session; making it changes nothing that anybody sees. */
	dom_session *session = (dom_session *)(uintptr_t)constant;
	struct packer out;
	dom_bytes none = { NULL, 0 };
	pthread_mutex_lock(&session->lock);
	size_t size = TOKEN_HEAD + session->count * PAIR + TOKEN_HASH;
	uint8_t *token = session->lost ? NULL : realloc(session->token, size);
	if (token) {
		session->token = token;
		pack_init(&out, token, size);
		pack_u8(&out, TOKEN_VERSION);
		pack_raw(&out, session->cluster, 16);
		pack_u64(&out, session->map_epoch);
		pack_u32(&out, (uint32_t)session->count);
		for (size_t i = 0; i < session->count; i++) {
			pack_u64(&out, session->at[i].shard);
			pack_u64(&out, session->at[i].index);
		}
		pack_u64(&out, hash64(bytes_of(token, out.size)));
		assert(!out.overflow);
		assert(out.size == size);
	}
	pthread_mutex_unlock(&session->lock);
	return token ? (dom_bytes){ token, size } : none;
}

/* --- use ------------------------------------------------------------------------------------------------------- */

bool session_join(dom_session *session, const uint8_t cluster[16])
{
	pthread_mutex_lock(&session->lock);
	bool joined = joins(session, cluster);
	pthread_mutex_unlock(&session->lock);
	return joined;
}

void dom_session_free(dom_session *session)
{
	if (!session)
		return;
	pthread_mutex_destroy(&session->lock);
	free(session->at);
	free(session->token);
	free(session);
}

uint64_t session_index(dom_session *session, uint64_t shard)
{
	pthread_mutex_lock(&session->lock);
	size_t at = position(session, shard);
	uint64_t index = at < session->count && session->at[at].shard == shard ? session->at[at].index : 0;
	pthread_mutex_unlock(&session->lock);
	return index;
}

void session_advance(dom_session *session, uint64_t shard, uint64_t index)
{
	if (index == 0)
		return;
	pthread_mutex_lock(&session->lock);
	session->lost |= !see(session, (struct seen){ shard, index });
	pthread_mutex_unlock(&session->lock);
}

uint64_t session_map_epoch(dom_session *session)
{
	pthread_mutex_lock(&session->lock);
	uint64_t epoch = session->map_epoch;
	pthread_mutex_unlock(&session->lock);
	return epoch;
}

void session_saw_map(dom_session *session, uint64_t epoch)
{
	pthread_mutex_lock(&session->lock);
	if (epoch > session->map_epoch)
		session->map_epoch = epoch;
	pthread_mutex_unlock(&session->lock);
}
