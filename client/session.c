/* client/session.c: what a session has seen: per shard the highest log index that an answer included. A session read
 * waits at its replica until it has applied that far, so it sees the session's own writes and never goes back.
 *
 * Token: u8 version (1), u32 count, then count times u64 shard, u64 index; little-endian, shards ascending. It holds no
 * byte of any key. Any thread: one lock, held for a look-up. */
#include <stdlib.h>

#include "base/pack.h"
#include "client/client_internal.h"

enum { TOKEN_VERSION = 1 };

struct seen {
	uint64_t shard, index;
};
struct dom_session {
	pthread_mutex_t lock;
	struct seen *at; /* ascending by shard */
	size_t count, capacity;
	uint8_t *token;
	bool lost; /* no memory for a shard: the token would promise less than was seen */
};

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

static bool token_read(dom_session *session, struct bytes token)
{
	struct unpacker in;
	unpack_init(&in, token);
	if (unpack_u8(&in) != TOKEN_VERSION)
		return false;
	uint32_t count = unpack_u32(&in);
	if (count > MAP_SHARDS_MAX || token.size != 5 + (size_t)count * 16)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		struct seen seen = { .shard = unpack_u64(&in) };
		seen.index = unpack_u64(&in);
		if (seen.shard == 0 || (i > 0 && seen.shard <= session->at[i - 1].shard))
			return false;
		if (!insert(session, i, seen))
			return false;
	}
	return unpack_end(&in);
}

dom_session *dom_session_new(dom_bytes token)
{
	dom_session *session = calloc(1, sizeof(*session));
	if (!session)
		return NULL;
	pthread_mutex_init(&session->lock, NULL);
	if (token.size > 0 && !token_read(session, bytes_of(token.data, token.size))) {
		dom_session_free(session);
		return NULL;
	}
	return session;
}

dom_bytes dom_session_token(const dom_session *constant)
{
	/* The token lives in the session; making it changes nothing that anybody sees. */
	dom_session *session = (dom_session *)(uintptr_t)constant;
	struct packer out;
	dom_bytes none = { NULL, 0 };
	pthread_mutex_lock(&session->lock);
	size_t size = 5 + session->count * 16;
	uint8_t *token = session->lost ? NULL : realloc(session->token, size);
	if (token) {
		session->token = token;
		pack_init(&out, token, size);
		pack_u8(&out, TOKEN_VERSION);
		pack_u32(&out, (uint32_t)session->count);
		for (size_t i = 0; i < session->count; i++) {
			pack_u64(&out, session->at[i].shard);
			pack_u64(&out, session->at[i].index);
		}
		assert(!out.overflow);
		assert(out.size == size);
	}
	pthread_mutex_unlock(&session->lock);
	return token ? (dom_bytes){ token, size } : none;
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
	size_t at = position(session, shard);
	if (at == session->count || session->at[at].shard != shard)
		session->lost |= !insert(session, at, (struct seen){ shard, index });
	else if (session->at[at].index < index)
		session->at[at].index = index;
	pthread_mutex_unlock(&session->lock);
}
