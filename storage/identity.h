/* storage/identity.h: whose data directory this is: a small file, IDENTITY, that is made once and read before anything
 * else in the directory is touched. It is bound to its own inode and birth time, so that a copied directory is told
 * from one that was renamed: two nodes with one identity would vote twice. What that can not see is in
 * docs/storage.md. Through storage/disk.h; one thread. */
#ifndef DOMICILE_STORAGE_IDENTITY_H
#define DOMICILE_STORAGE_IDENTITY_H

#include <stdint.h>

#include "base/status.h"

enum { IDENTITY_CLUSTER_SIZE = 16, IDENTITY_PLACE_MAX = 256, IDENTITY_NAME_MAX = 64 };

struct identity {
	uint8_t cluster[IDENTITY_CLUSTER_SIZE]; /* all zero: in none yet */
	char name[IDENTITY_NAME_MAX];		/* of the cluster */
	char place[IDENTITY_PLACE_MAX];		/* the node's path */
	uint64_t node;				/* id given by meta; 0: none yet */
	uint64_t incarnation;			/* new with each new directory */
	uint64_t support_max_us;		/* the longest promise ever configured: how long a restart must wait */
	uint64_t boot;				/* random, of the last start; the caller's */
	uint64_t map_epoch; /* the newest map by which replicas were made or removed here: none older is acted on */
};
/* As map_epoch: the node was decommissioned, and no map is acted on any more. */
#define IDENTITY_WITHDRAWN UINT64_MAX

struct identity_lock;

/* One process a directory: CONFLICT while another has it. Makes the directory (not its parents). */
enum status identity_lock(const char *dir, struct identity_lock **lock) MUST;
void identity_unlock(struct identity_lock *lock);

/* NOT_FOUND: a new directory. CONFLICT: the directory is a copy. CORRUPT. UNSUPPORTED: a newer version's. */
enum status identity_load(const char *dir, struct identity *identity) MUST;
/* Atomic: after a crash the old one or this one is there. Durable when it returns. */
enum status identity_store(const char *dir, const struct identity *identity) MUST;

#endif
