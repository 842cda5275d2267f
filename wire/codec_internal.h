/* wire/codec_internal.h: what the codec's two halves share: the node and client messages (codec.c) and the groups'
 * (codec_group.c). Readers leave errors in the unpacker; message_decode asks once at the end. */
#ifndef DOMICILE_WIRE_CODEC_INTERNAL_H
#define DOMICILE_WIRE_CODEC_INTERNAL_H

#include "wire/codec.h"

static inline void pack_flag(struct packer *packer, bool flag)
{
	pack_u8(packer, flag ? 1 : 0);
}

/* One encoding for each value: anything but 0 and 1 is malformed. */
static inline bool unpack_flag(struct unpacker *unpacker)
{
	uint8_t value = unpack_u8(unpacker);
	if (value > 1)
		unpacker->bad = true;
	return value == 1;
}

bool message_is_group(uint8_t kind); /* travels between replicas: carries group, from, to, term */
void group_message_encode(const struct message *message, struct packer *packer);
void group_message_decode(struct unpacker *unpacker, struct codec_scratch *scratch, struct message *message);

#endif
