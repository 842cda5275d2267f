/* server/group_driver_label.c: the label of a replica's engine: what the replica must know of itself to ask its peers
 * for a state when that engine cannot be opened any more. Written at birth, with the flush that follows a membership,
 * after a snapshot; so it is never older than the begin of the journal's log. Meta's holds the map of its last
 * checkpoint too: without it the node would not know who its peers are.
 *
 * u8 version, u64 group, 16 bytes hash secret, then with a length each: the membership (empty: none known), the map. */
#include "server/group_driver_internal.h"

#include <assert.h>

#include "base/log.h"
#include "policy/quorum.h"

enum { LABEL_VERSION = 2 };

static void pack_label(const struct driver *driver, struct packer *packer, struct bytes map)
{
	uint8_t row[MEMBERSHIP_ROW_MAX];
	struct packer membership;
	pack_init(&membership, row, sizeof(row));
	if (driver->membership.count > 0)
		membership_encode(&driver->membership, &membership);
	assert(!membership.overflow);
	pack_u8(packer, LABEL_VERSION);
	pack_u64(packer, driver->options.group);
	pack_raw(packer, driver->options.hash_secret, sizeof(driver->options.hash_secret));
	pack_bytes(packer, bytes_of(row, membership.size));
	pack_bytes(packer, map);
}

/* NULL: no memory. */
struct buffer *label_of(const struct driver *driver)
{
	struct buffer *map = NULL;
	if (driver_is_meta(driver)) {
		map = map_packed(driver->options.map);
		if (!map)
			return NULL;
	}
	struct packer packer;
	pack_init(&packer, NULL, 0);
	pack_label(driver, &packer, buffer_bytes(map));
	struct buffer *label = buffer_new(packer.size);
	if (label) {
		pack_init(&packer, label->data, label->size);
		pack_label(driver, &packer, buffer_bytes(map));
		assert(!packer.overflow);
	}
	buffer_unref(map);
	return label;
}

/* Here and now. What fails is tried again with the next flush. */
void label_write(struct driver *driver)
{
	struct buffer *label = label_of(driver);
	enum status status = STATUS_NO_MEMORY;
	if (label)
		status = engine_label_write(driver->options.engines, driver->options.replica, buffer_bytes(label));
	driver->label_due = status != STATUS_OK;
	buffer_unref(label);
}

/* At the start, when it is not what it should be: of an older version, or of before a crash. */
void label_check(struct driver *driver)
{
	struct buffer *found = NULL, *label = label_of(driver);
	enum status status = engine_label_read(driver->options.engines, driver->options.replica, &found);
	if (!label || status != STATUS_OK || !bytes_equal(buffer_bytes(found), buffer_bytes(label)))
		label_write(driver);
	buffer_unref(found);
	buffer_unref(label);
}

static enum status take_membership(struct driver *driver, struct bytes row)
{
	driver->membership = (struct membership){ 0 };
	if (row.size == 0)
		return STATUS_OK;
	struct unpacker unpacker;
	unpack_init(&unpacker, row);
	enum status status = membership_decode(&unpacker, &driver->membership);
	return status == STATUS_OK && !unpack_end(&unpacker) ? STATUS_CORRUPT : status;
}

static enum status take_map(struct driver *driver, struct bytes row)
{
	if (driver->options.group != META_GROUP) {
		driver->options.map = NULL; /* offered before the group was known */
		return STATUS_OK;
	}
	struct cluster_map *map = driver->options.map;
	enum status status = map ? cluster_map_decode(row, map) : STATUS_INVALID;
	if (status == STATUS_OK && map->epoch != 0)
		driver->owner->map_changed(driver->owner->arg, driver);
	return status;
}

/* The label becomes what the replica knows of itself. CORRUPT: there is none, or not of this group. */
enum status label_load(struct driver *driver)
{
	struct buffer *label = NULL;
	enum status status = engine_label_read(driver->options.engines, driver->options.replica, &label);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	struct unpacker unpacker;
	unpack_init(&unpacker, buffer_bytes(label));
	uint8_t version = unpack_u8(&unpacker);
	uint64_t group = unpack_u64(&unpacker);
	struct bytes secret = unpack_raw(&unpacker, sizeof(driver->options.hash_secret));
	struct bytes membership = unpack_bytes(&unpacker, MEMBERSHIP_ROW_MAX);
	struct bytes map = unpack_bytes(&unpacker, UINT32_MAX);
	bool named = group != 0 && (driver->options.group == 0 || driver->options.group == group);
	if (!unpack_end(&unpacker) || !named || version == 0)
		status = STATUS_CORRUPT;
	else if (version != LABEL_VERSION)
		status = STATUS_UNSUPPORTED;
	if (status == STATUS_OK) {
		driver->options.group = group;
		memcpy(driver->options.hash_secret, secret.data, secret.size);
		status = take_membership(driver, membership);
	}
	if (status == STATUS_OK)
		status = take_map(driver, map);
	buffer_unref(label);
	return status;
}
