/* Fuzzes what a stranger's bytes meet first: the frame, then the message inside, then a command inside an entry; and
 * the question and answer of a search.
 * The first byte says what the rest is. What decodes must encode to the bytes it came from; blocks are of exact
 * size, so that the sanitizer sees any read or write beside them.
 *
 * clang -fsanitize=fuzzer,address,undefined over this file, wire/codec.c, codec_group.c, command.c, frame.c,
 * base/pack.c, hash.c, status.c; -llz4. */
#include <assert.h>
#include <stdlib.h>

#include "base/search.h"
#include "wire/codec.h"
#include "wire/command.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct codec_scratch scratch;

static uint8_t *block_of(size_t size)
{
	uint8_t *block = malloc(size ? size : 1);
	if (!block)
		abort();
	return block;
}

static void check_command(struct bytes body)
{
	struct command command;
	if (command_decode(body, &command) != STATUS_OK)
		return;
	struct packer packer;
	uint8_t *again = block_of(body.size);
	pack_init(&packer, again, body.size);
	command_encode(&command, &packer);
	assert(bytes_equal(pack_result(&packer), body));
	free(again);
}

static void check_message(struct bytes bytes)
{
	struct message message;
	if (message_decode(bytes, &scratch, &message) != STATUS_OK)
		return;
	struct packer packer;
	uint8_t *again = block_of(bytes.size);
	pack_init(&packer, again, bytes.size);
	message_encode(&message, &packer);
	assert(bytes_equal(pack_result(&packer), bytes));
	free(again);
	bool entries = message.kind == MESSAGE_APPEND || message.kind == MESSAGE_REPAIR_REPLY;
	if (!entries || message.append.last < message.append.first)
		return;
	for (uint64_t i = 0; i <= message.append.last - message.append.first; i++)
		check_command(message.append.bodies[i]);
}

static void check_search(struct bytes bytes)
{
	static struct needles needles;
	static struct search_slice slice;
	struct search_place from;
	struct packer packer;
	uint8_t *again = block_of(bytes.size);
	pack_init(&packer, again, bytes.size);
	if (search_request_decode(bytes, &from, &needles) == STATUS_OK) {
		search_request_encode(&from, &needles, &packer);
		assert(bytes_equal(pack_result(&packer), bytes));
	}
	pack_init(&packer, again, bytes.size);
	if (search_slice_decode(bytes, &slice) == STATUS_OK) {
		search_slice_encode(&slice, &packer);
		assert(bytes_equal(pack_result(&packer), bytes));
	}
	free(again);
}

static void check_frame(const uint8_t *data, size_t size)
{
	struct frame_header header;
	if (size < FRAME_HEADER_SIZE || frame_header_decode(data, FRAME_SIZE_MAX_GREETING, &header) != STATUS_OK)
		return;
	assert(header.size <= FRAME_SIZE_MAX_GREETING);
	if (size - FRAME_HEADER_SIZE < header.wire_size)
		return;
	uint8_t *wire = block_of(header.wire_size), *out = block_of(header.size);
	memcpy(wire, data + FRAME_HEADER_SIZE, header.wire_size);
	struct bytes payload;
	if (frame_payload_decode(data, &header, wire, out, &payload) == STATUS_OK) {
		assert(payload.size == header.size);
		check_message(payload);
	}
	free(wire);
	free(out);
}

/* The checksum keeps a fuzzer out of what lies behind it: frame these bytes rightly, claiming `claim` decoded bytes. */
static void check_forged_frame(const uint8_t *data, size_t size)
{
	if (size < 3 || size > FRAME_SIZE_MAX_GREETING)
		return;
	size_t claim = (size_t)data[0] | (size_t)data[1] << 8, wire_size = size - 2;
	uint8_t *frame = block_of(frame_size_bound(wire_size));
	size_t frame_size = frame_encode(bytes_of(data + 2, wire_size), false, frame, frame_size_bound(wire_size));
	check_frame(frame, frame_size);
	frame[3] = 1; /* now it says LZ4, of `claim` bytes, under the checksum that belongs to that */
	frame[8] = data[0];
	frame[9] = data[1];
	frame[10] = frame[11] = 0;
	struct frame_header header;
	uint32_t sum = frame_checksum(frame, frame + FRAME_HEADER_SIZE, wire_size);
	for (unsigned i = 0; i < 4; i++)
		frame[12 + i] = (uint8_t)(sum >> (8 * i));
	if (frame_header_decode(frame, FRAME_SIZE_MAX_GREETING, &header) == STATUS_OK)
		assert(header.size == claim);
	check_frame(frame, frame_size);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	uint8_t *block = block_of(size - 1);
	memcpy(block, data + 1, size - 1);
	switch (data[0] % 5) {
	case 0:
		check_frame(block, size - 1);
		break;
	case 1:
		check_forged_frame(block, size - 1);
		break;
	case 2:
		check_message(bytes_of(block, size - 1));
		break;
	case 3:
		check_search(bytes_of(block, size - 1));
		break;
	default:
		check_command(bytes_of(block, size - 1));
	}
	free(block);
	return 0;
}
