/* base/search.h: a search of everything that a node has on its disk, in slices: what is asked for one slice, and what
 * is found in it. Whoever asks goes on from where the slice ended, so a node remembers nothing between two of them.
 * Plain structs and their bytes, shared by who asks (tools/) and who searches (storage/search.h, server/search.c).
 *
 * A request carries needles (base/needles.h), never a byte of what is looked for. Pure; caller's memory, which is
 * large.
 */
#ifndef DOMICILE_BASE_SEARCH_H
#define DOMICILE_BASE_SEARCH_H

#include "base/needles.h"
#include "base/pack.h"

enum {
	SEARCH_VERSION = 1,
	SEARCH_PATH_MAX = 256,			  /* of a file, below the data directory, with its NUL */
	SEARCH_HITS_MAX = 2 * NEEDLE_SECRETS_MAX, /* of one slice */
	SEARCH_REQUEST_MAX = 256 << 10,		  /* bytes of any */
	SEARCH_REPLY_MAX = 512 << 10,
};

/* What kind of file, by its name. The first four are a replica's: that is where keys and values are. */
enum search_layer {
	SEARCH_JOURNAL = 0,
	SEARCH_TABLES,	   /* *.sst */
	SEARCH_TABLE_LIST, /* MANIFEST: names keys */
	SEARCH_ENGINE,	   /* whatever else an engine has, but for its log */
	SEARCH_ENGINE_LOG, /* RocksDB's own */
	SEARCH_LABEL,
	SEARCH_ERASURES,
	SEARCH_LEDGER,
	SEARCH_IDENTITY,
	SEARCH_OTHER,	  /* no file of ours */
	SEARCH_FILE_NAME, /* not in a file: its name */
	SEARCH_LOG,	  /* what the node says on stderr, where that is a file */
	SEARCH_STATUS,	  /* no file: what the node says of itself; searched by who asks */
	SEARCH_LAYERS,
};
const char *search_layer_name(unsigned layer);	     /* "journal", ...; "?" */
enum search_layer search_layer_of(const char *path); /* of a file below the data directory */

/* Files in the order of search_path_compare, then the log. Bytes move forward in this order, from the journal to the
 * tables and from older files to newer ones, so that a search does not miss what is on its way. */
enum search_stage { SEARCH_FILES = 0, SEARCH_OWN_LOG, SEARCH_ENDED };
struct search_place {
	uint8_t stage; /* enum search_stage */
	char path[SEARCH_PATH_MAX];
	uint64_t offset; /* in that file */
};
/* As the names would be sorted in each directory, what is in one following its name. */
int search_path_compare(const char *a, const char *b);

struct search_hit {	/* one secret in one file */
	uint16_t of;	/* its number */
	uint8_t form;	/* enum needle_form, of the first */
	uint8_t layer;	/* enum search_layer */
	uint32_t times; /* needles: several of one secret may be in the same place */
	uint64_t offset;
	char path[SEARCH_PATH_MAX];
};
struct search_slice {
	struct search_place next;
	uint64_t size;	/* bytes searched */
	uint32_t files; /* that were begun */
	uint32_t unread;
	char unread_path[SEARCH_PATH_MAX]; /* the first that could not be read */
	bool own_log;			   /* there is one; said where it is begun */
	uint32_t pause_ms;		   /* the node takes no other slice before */
	uint32_t count;
	struct search_hit at[SEARCH_HITS_MAX];
};

void search_request_encode(const struct search_place *from, const struct needles *needles, struct packer *packer);
/* The needles are sealed. */
enum status search_request_decode(struct bytes bytes, struct search_place *from, struct needles *needles) MUST;
void search_slice_encode(const struct search_slice *slice, struct packer *packer);
enum status search_slice_decode(struct bytes bytes, struct search_slice *slice) MUST;

#endif
