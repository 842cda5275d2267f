/* wire/codec.h: messages to bytes and back. Pure; limits are checked before anything is believed.
 * Layout to the byte: docs/protocol.md. */
#ifndef DOMICILE_WIRE_CODEC_H
#define DOMICILE_WIRE_CODEC_H

#include "base/pack.h"
#include "wire/message.h"

/* Room for what a decoded message points at. One a thread is enough: a message lives until the next decode. */
struct codec_scratch {
	struct entry entries[APPEND_ENTRIES_MAX];
	struct bytes bodies[APPEND_ENTRIES_MAX];
	struct reply_row rows[SCAN_ROWS_MAX];
	struct relay relays[RELAYS_MAX];
};

void message_encode(const struct message *message, struct packer *packer);
/* INVALID for anything malformed, UNSUPPORTED for an unknown kind. The message borrows from bytes and scratch. */
enum status message_decode(struct bytes bytes, struct codec_scratch *scratch, struct message *message) MUST;

void membership_encode(const struct membership *membership, struct packer *packer);
enum status membership_decode(struct unpacker *unpacker, struct membership *membership) MUST;

#endif
