/* server/erasure.h: the promise of `erase_within`: bytes that are no copy any more are gone from this node's disk in
 * time. Two kinds:
 *
 *   a replica that left: its engine is unlinked and its log's segments are emptied at once; when that is done the files
 *   are searched for it, and only what was not found counts as erased;
 *   what was deleted or overwritten in a replica that stays: marked when half of the time is over, cleaned
 * (driver_erase, journal_erase) when three quarters are, so that followers have a quarter to get the log before it is
 * cut.
 *
 * What is owed outlives the process (storage/erasures.h). While it runs the clock that counts is the one of leases. */
#ifndef DOMICILE_SERVER_ERASURE_H
#define DOMICILE_SERVER_ERASURE_H

#include "base/status.h"
#include "storage/erasures.h"

struct node;
struct hosted;
struct text;

enum cleaning { CLEANING_IDLE = 0, CLEANING_MARKED, CLEANING_ENGINE, CLEANING_LOG_DONE, CLEANING_JOURNAL };

/* Of a replica that stays; in struct hosted. */
struct cleanliness {
	int64_t since_ns;  /* our clock, perhaps from before the start: what was deleted before is gone */
	uint32_t within_s; /* by which since_ns counts */
	int64_t marked_ns;
	uint64_t marked_index, clean_index; /* clean: nothing was applied since the last time */
	uint64_t found_index;		    /* the end of the log that an earlier process left; 0: none did */
	enum cleaning state;
	bool known, late; /* known: since_ns is set; late: said */
	bool newcomer;	  /* it is being filled, and may be with what others have deleted already */
	bool hurry;	  /* marked, and to be cleaned at once */
	bool asking;	  /* marked, and waits for what was in the log then to be applied */
	bool doubtful;	  /* what is being cleaned is not all that may have been deleted before the mark */
};

struct node_erasure {
	struct erasures owed;
	uint64_t next_ns;	    /* the next look; UINT64_MAX: none */
	uint64_t stored_ns;	    /* the file was written then */
	uint64_t mark;		    /* the journal's, for all in CLEANING_JOURNAL */
	bool dirty, checking;	    /* the file is to be written; a search is out */
	struct purge_search *ended; /* a search that has come back, not judged yet */
	bool awaits_journal;	    /* segments are on their way out: the next flush may have been the last */
	uint64_t finished, late;    /* purges of replicas that left; promises not kept in time */
	uint64_t cleaned;	    /* times that a replica was cleaned */
	uint64_t last_us, last_ms;  /* the last purge that finished: when, and what it took */
};

/* With journal and replicas open: what an earlier process owes is taken up. */
enum status erasure_begin(struct node *node, const char **why) MUST;
void erasure_end(struct node *node);
/* Around a replica's removal: before, so that it is never forgotten; and when engine and log are told. */
void erasure_leaving(struct node *node, const struct hosted *hosted);
void erasure_left(struct node *node, uint64_t replica);
void erasure_take_gone(struct node *node);	   /* the ledger has removals that did not come by node_unhost */
bool erasure_owed(const struct node *node);	   /* replicas left, and are not known to be gone */
bool erasure_goes_on(const struct hosted *hosted); /* what it waited for has come: a look is due */
void erasure_run(struct node *node);		   /* a look, when it is time or something may have ended */
void erasure_cancel(struct node *node);
void erasure_json(const struct node *node, struct text *text);

#endif
