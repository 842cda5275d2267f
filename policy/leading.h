/* policy/leading.h: when the lead of a shard goes elsewhere. Kept by the node that leads: who writes from where,
 * decayed by half every LEADING_HALF_LIFE_MS, and when it last gave the lead away. Pure: time comes with each call,
 * costs come from policy/paths.h.
 *
 * Without follow the able candidate of the best rank of lead_in leads, at once. With follow it is the one at which the
 * writes there are take the least time, each region's weighted by its writes; it must save more than
 * LEADING_GAIN_PERCENT and LEADING_GAIN_US, for LEADING_HOLD_MS. Who leads where the policy lets nobody lead gives way
 * as without follow.
 *
 * No storm: a lead is not given away within the pause after the last time, unless nobody may lead here; with follow
 * neither within the pause after it was taken. The pause begins at LEADING_PAUSE_MS (LEADING_PAUSE_RANK_MS by rank) and
 * doubles up to LEADING_PAUSE_MAX_MS while the node gives the lead away again within LEADING_CALM pauses. Each node
 * counts its own moves only, and nothing is sent: where a lead goes to and fro, each end meets its own memory of it. */
#ifndef DOMICILE_POLICY_LEADING_H
#define DOMICILE_POLICY_LEADING_H

#include <stdbool.h>
#include <stdint.h>

enum {
	LEADING_REGIONS_MAX = 16, /* writing regions remembered; the least of them makes room */
	LEADING_HALF_LIFE_MS = 30000,
	LEADING_WRITES_MIN = 8, /* fewer, decayed, say nothing */
	LEADING_GAIN_PERCENT = 10,
	LEADING_GAIN_US = 2000,
	LEADING_HOLD_MS = 10000,
	LEADING_PAUSE_MS = 30000,
	LEADING_PAUSE_RANK_MS = 3000,
	LEADING_PAUSE_MAX_MS = 480000,
	LEADING_CALM = 8,
	LEADING_TRIED_MS = 10000, /* a lead lost so soon after it was offered was given away */
};

struct leading_region {
	uint32_t region;
	uint64_t weight; /* writes, in units of 1/1024 */
};
struct leading {
	uint8_t count;
	struct leading_region regions[LEADING_REGIONS_MAX];
	uint64_t decayed_ns;		  /* up to when; 0: never */
	uint64_t led_since_ns;		  /* 0: does not lead */
	uint64_t wanted, wanted_since_ns; /* replica that would be best; since when somebody is better; 0: nobody */
	uint64_t tried_ns, moved_ns;	  /* offered, given away, last; 0: never */
	uint32_t pause_ms;		  /* 0: nothing was given away yet */
	bool tried_follow;
};

/* Zeroed memory is a leading that knows nothing. */
void leading_wrote(struct leading *leading, uint32_t region);
/* To be called when the lead was taken or lost; again is harmless. */
void leading_role(struct leading *leading, bool leads, uint64_t now_ns);
void leading_decay(struct leading *leading, uint64_t now_ns);

struct leading_candidate {
	uint64_t replica;
	unsigned rank; /* policy_lead_rank: UINT_MAX: may not lead */
	bool able;     /* a voter, reachable, caught up; of the leader itself: true */
	/* By position in leading->regions: what a write from there takes with this leader, and how far it is. */
	uint32_t write_us[LEADING_REGIONS_MAX], to_leader_us[LEADING_REGIONS_MAX];
};
struct leading_choice {
	uint64_t to; /* offer the lead to this replica now; 0: stay */
	bool waits;  /* somebody would be better, and hold or pause are not over: ask again in a few seconds */
};
/* candidates[own] leads now. */
struct leading_choice leading_choose(struct leading *leading, const struct leading_candidate candidates[],
	unsigned count, unsigned own, bool follow, uint64_t now_ns);
/* The able candidate of the best rank; `own` when nobody is better. */
unsigned leading_best_rank(const struct leading_candidate candidates[], unsigned count, unsigned own);
void leading_tried(struct leading *leading, bool follow, uint64_t now_ns); /* the lead is being offered */

#endif
