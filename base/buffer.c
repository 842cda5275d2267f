/* base/buffer.c: see base/buffer.h. */
#include "base/buffer.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct buffer *buffer_new(size_t size)
{
	if (size > SIZE_MAX - sizeof(struct buffer))
		return NULL;
	struct buffer *buffer = malloc(sizeof(struct buffer) + size);
	if (!buffer)
		return NULL;
	buffer->size = size;
	atomic_init(&buffer->refs, 1);
	return buffer;
}

struct buffer *buffer_copy(struct bytes bytes)
{
	assert(bytes.data || bytes.size == 0);
	struct buffer *buffer = buffer_new(bytes.size);
	if (buffer && bytes.size > 0)
		memcpy(buffer->data, bytes.data, bytes.size);
	return buffer;
}

struct buffer *buffer_ref(struct buffer *buffer)
{
	uint32_t refs = atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
	assert(refs > 0);
	assert(refs < UINT32_MAX);
	return buffer;
}

/* Release on the way down and acquire at zero: whoever frees sees what every other holder did. */
void buffer_unref(struct buffer *buffer)
{
	if (!buffer)
		return;
	uint32_t refs = atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel);
	assert(refs > 0);
	if (refs == 1)
		free(buffer);
}

struct bytes buffer_bytes(const struct buffer *buffer)
{
	return buffer ? bytes_of(buffer->data, buffer->size) : bytes_of(NULL, 0);
}
