/* tests/sim/story.h: what scenarios are told with: the words that several themes use, and the knobs that they begin
 * with. A theme is a file story_THEME.c with a table of its scenarios (scenarios.c joins them). */
#ifndef DOMICILE_TESTS_SIM_STORY_H
#define DOMICILE_TESTS_SIM_STORY_H

#include "tests/sim/scenarios.h"

struct stories {
	const struct scenario *at;
	unsigned count;
};
extern const struct stories stories_faults;
extern const struct stories stories_witness;
extern const struct stories stories_moves;
extern const struct stories stories_leads;
extern const struct stories stories_drains;
extern const struct stories stories_bindings;
extern const struct stories stories_ranges;
extern const struct stories stories_erasure;

void story_wait_ms(struct world *world, uint64_t ms);
void story_cut(struct world *world, unsigned from, unsigned to);
/* Nodes of these regions (bits) and the others do not hear each other, nor do clients across. */
void story_cut_regions(struct world *world, unsigned regions);
void story_whole_again(struct world *world);
void story_kill(struct world *world, unsigned slot, bool power);
void story_start(struct world *world, unsigned slot);
void story_apply_world(struct world *world, bool eu_only, unsigned copies);
/* Operations that succeeded and began in this time. */
unsigned story_succeeded_since(const struct world *world, uint64_t since_ns);
void story_calm(struct world_knobs *knobs);
void story_lossy(struct world_knobs *knobs);
void story_five_regions(struct world_knobs *knobs);
/* Slot of the node that leads a group; -1: none does. */
int story_leader_slot_of(const struct world *world, uint64_t id);
void story_name_leader(struct world *world, uint64_t shard, uint64_t node);
bool story_of_world(const struct cluster_map *map, const struct map_shard *shard);
/* As a draw, with what matters to who comes and goes. */
void story_drained(struct world_knobs *knobs);
/* A node crashes, loses its power, is not heard by another, or none of these; soon all is well again. */
void story_disturb(struct world *world, unsigned slot, unsigned other);
/* Somebody who holds keys that are being copied says that one of them cannot go. */
void story_one_cannot_go(struct world *world);
/* Policies move, nodes are drained and go, all while bindings take keys along. */
void story_rehomed_drains(struct world *world);

#endif
