/* server/erasure.c: see server/erasure.h. Two replicas are compacted at a time, and the journal is emptied once for all
 * that wait for it: the work is bounded by the slowest disk, not by how many shards there are. */
#include "server/erasure.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "server/node_internal.h"
#include "storage/disk.h"
#include "storage/journal.h"

enum { LOOK_MS = 500, STORE_MS = 1000, COMPACTING_MAX = 2 };
static const int64_t second_ns = 1000000000;

static int64_t now_of(const struct node *node)
{
	return (int64_t)node->time.now_ns;
}

/* By the rules in force; of a policy that is gone, or while the map of before a start is not back yet or comes back by
 * older ones, by the last that the ledger has. */
static uint32_t within_s(const struct node *node, uint64_t policy_id)
{
	const struct policy *policy = map_policy_find(node_map_in_force(node), policy_id);
	uint64_t recorded_epoch;
	uint32_t recorded_s = node_ledger_erase_within_s(node, policy_id, &recorded_epoch);

	if (policy != NULL && (recorded_s == 0 || policy->epoch >= recorded_epoch))
		return policy->erase_within_s;
	return recorded_s != 0 ? recorded_s : ERASE_WITHIN_S_DEFAULT;
}

static void look_by(struct node *node, int64_t at_ns)
{
	uint64_t at = at_ns < now_of(node) ? node->time.now_ns : (uint64_t)at_ns;

	if (at < node->erasure.next_ns)
		node->erasure.next_ns = at;
}

static void store(struct node *node)
{
	enum status status = erasures_store(node->data, &node->erasure.owed);

	node->erasure.stored_ns = node->time.now_ns;
	node->erasure.dirty = status != STATUS_OK;
	if (status == STATUS_OK || status == STATUS_NO_SPACE)
		return; /* without room: tried again; what is owed is done meanwhile */
	node->failed = true;
	node->io.fatal(node->io.arg, status, "the list of what is to be erased could not be written");
}

/* --- replicas that left ---------------------------------------------------------------------------------------------
 */

void erasure_leaving(struct node *node, const struct hosted *hosted)
{
	struct erasure *erasure;
	uint64_t replica = driver_replica_id(hosted->driver);

	if (erasures_get(&node->erasure.owed, replica, &erasure) != STATUS_OK) {
		log_warn("a replica's removal is not on record: too many are owed", LOG_U("replica", replica));
		return;
	}
	if (erasure->left)
		return; /* its removal was cut short by the end of a process: it counts from then */
	*erasure = (struct erasure){ .replica = replica,
		.group = hosted->group,
		.policy = hosted->policy,
		.since_us = node->time.wall_us,
		.within_s = within_s(node, hosted->policy),
		.left = true };
	store(node);
}

/* What the ledger has as removed and not as purged is owed, whoever removed it: a replica that was recorded and never
 * made; a record of a purge that was cut off by a crash, when ERASURES did not have the replica any more. */
void erasure_take_gone(struct node *node)
{
	struct ledger_gone gone;
	struct erasure *erasure;
	bool taken = false;

	for (uint32_t at = 0; node_ledger_gone(node, &at, &gone);) {
		erasure = erasures_find(&node->erasure.owed, gone.replica);
		if (erasure != NULL && erasure->left)
			continue;
		if (erasures_get(&node->erasure.owed, gone.replica, &erasure) != STATUS_OK)
			continue; /* the next start takes it */
		*erasure = (struct erasure){ .replica = gone.replica,
			.group = gone.group,
			.policy = gone.policy,
			.since_us = gone.removed_us,
			.within_s = within_s(node, gone.policy),
			.left = true };
		taken = true;
	}
	if (!taken)
		return;
	node->erasure.dirty = true;
	look_by(node, now_of(node));
}

bool erasure_owed(const struct node *node)
{
	for (uint32_t i = 0; i < node->erasure.owed.count; i++)
		if (node->erasure.owed.at[i].left)
			return true;
	return false;
}

void erasure_left(struct node *node, uint64_t replica)
{
	struct erasure *erasure = erasures_find(&node->erasure.owed, replica);

	if (erasure == NULL)
		return;
	erasure->removed = journal_erase(node->journal, &erasure->mark) == STATUS_OK;
	node->io.flush_wanted(node->io.arg);
	look_by(node, now_of(node));
}

/* The one place where a purge ends: searched for, and not found. */
static void purge_finished(struct node *node, const struct erasure *erasure)
{
	uint64_t took_us = node->time.wall_us > erasure->since_us ? node->time.wall_us - erasure->since_us : 0;

	node->erasure.finished++;
	node->erasure.last_us = node->time.wall_us;
	node->erasure.last_ms = took_us / 1000;
	log_info("purge finished", LOG_H("group", erasure->group), LOG_U("replica", erasure->replica),
		LOG_U("took_ms", took_us / 1000));
	node_ledger_purged(node, erasure->group, erasure->replica);
}

enum { SEARCH_MAX = 64 };

struct purge_search { /* a look at the files, on a thread that may block */
	struct node *node;
	struct engine_shared *engines;
	char journal[DISK_PATH_MAX];
	uint64_t incarnation, replicas[SEARCH_MAX], files[SEARCH_MAX];
	struct journal_trace traces[SEARCH_MAX]; /* by rising group */
	uint32_t count, trace_count;
	enum status status;
};

static void search_run(void *arg)
{
	struct purge_search *search = arg;

	for (uint32_t i = 0; i < search->count && search->status == STATUS_OK; i++)
		search->status = engine_leftovers(search->engines, search->replicas[i], &search->files[i]);
	if (search->status == STATUS_OK)
		search->status =
			journal_search(search->journal, search->incarnation, search->traces, search->trace_count);
}

static uint64_t records_found(const struct purge_search *search, uint64_t group)
{
	for (uint32_t i = 0; i < search->trace_count; i++) {
		if (search->traces[i].group == group)
			return search->traces[i].found;
	}
	return 0;
}

static void search_judge(struct node *node, const struct purge_search *search, uint32_t at)
{
	struct erasure *erasure = erasures_find(&node->erasure.owed, search->replicas[at]);
	uint64_t records;

	if (erasure == NULL)
		return;
	records = records_found(search, erasure->group);
	if (search->status == STATUS_OK && search->files[at] == 0 && records == 0) {
		purge_finished(node, erasure);
		erasures_drop(&node->erasure.owed, search->replicas[at]);
		return;
	}
	log_warn("a removed replica has bytes on the disk still", LOG_H("group", erasure->group),
		LOG_U("replica", erasure->replica), LOG_U("files", search->files[at]), LOG_U("records", records),
		LOG_S("status", status_name(search->status)));
	erasure->removed = false; /* once more */
}

/* It is judged in the next turn: when that is, is told of the purge. */
static void search_done(void *arg)
{
	struct purge_search *search = arg;
	struct node *node = search->node;

	node->erasure.ended = search;
	node->erasure.next_ns = 0;
	node->io.flush_wanted(node->io.arg); /* whoever owns the loop looks at the deadline anew */
}

static void search_end(struct node *node)
{
	struct purge_search *search = node->erasure.ended;

	if (search == NULL)
		return;
	node->erasure.checking = false;
	node->erasure.ended = NULL;
	for (uint32_t i = 0; i < search->count; i++)
		search_judge(node, search, i);
	free(search);
	store(node);
}

static void search_add(struct node *node, struct purge_search *search, const struct erasure *erasure)
{
	uint32_t at = search->trace_count;

	search->replicas[search->count++] = erasure->replica;
	for (uint32_t i = 0; i < search->trace_count; i++) {
		if (search->traces[i].group == erasure->group)
			return; /* it was here twice */
	}
	for (; at > 0 && search->traces[at - 1].group > erasure->group; at--)
		search->traces[at] = search->traces[at - 1];
	/* While the group lives here again, what was written since is another replica's. */
	search->traces[at] = (struct journal_trace){ .group = erasure->group,
		.upto = node_hosted(node, erasure->group) == NULL ? UINT64_MAX
								  : journal_erased_segment(node->journal) };
	search->trace_count++;
}

/* For all whose segments are gone, as the journal says. */
static void search_begin(struct node *node)
{
	const struct erasures *owed = &node->erasure.owed;
	struct purge_search *search = calloc(1, sizeof(*search));
	struct text path;

	if (search == NULL)
		return;
	search->node = node;
	search->engines = node->engines;
	search->incarnation = node->identity.incarnation;
	text_init(&path, search->journal, sizeof(search->journal));
	text_add(&path, node->data);
	text_add(&path, "/journal");
	for (uint32_t i = 0; i < owed->count && search->count < SEARCH_MAX; i++) {
		if (owed->at[i].left && owed->at[i].removed && journal_erased(node->journal, owed->at[i].mark))
			search_add(node, search, &owed->at[i]);
	}
	if (search->count == 0) {
		free(search);
		return;
	}
	node->erasure.checking = true;
	if (node->io.block != NULL) {
		node->io.block(node->io.arg, search_run, search_done, search);
	} else {
		search_run(search);
		search_done(search);
	}
}

static bool still_hosted(const struct node *node, const struct erasure *erasure)
{
	const struct hosted *hosted = node_hosted(node, erasure->group);

	return hosted != NULL && driver_replica_id(hosted->driver) == erasure->replica;
}

static void look_at_left(struct node *node)
{
	struct erasures *owed = &node->erasure.owed;

	search_end(node);
	for (uint32_t i = 0; i < owed->count && !node->failed; i++) {
		struct erasure *erasure = &owed->at[i];
		uint64_t due_us = erasure->since_us + (uint64_t)erasure->within_s * 1000000;

		if (!erasure->left || still_hosted(node, erasure))
			continue;
		look_by(node, now_of(node) + LOOK_MS * (second_ns / 1000));
		if (!erasure->late && node->time.wall_us > due_us) {
			erasure->late = true;
			node->erasure.late++;
			log_warn("a purge is late", LOG_H("group", erasure->group), LOG_U("replica", erasure->replica),
				LOG_U("within_s", erasure->within_s));
		}
		node->erasure.awaits_journal = true;
		if (!erasure->removed)
			erasure_left(node, erasure->replica); /* without memory before, or by an earlier process */
	}
	if (!node->erasure.checking)
		search_begin(node);
}

/* --- what was deleted in those that stay -----------------------------------------------------------------------------
 */

static uint64_t last_of(const struct node *node, const struct hosted *hosted)
{
	return group_status(driver_group(hosted->driver), node->time.now_ns).last;
}

/* What is there was deleted under rules that left it longer: until then it may stay, or as long as it may by the new
 * ones if that is sooner. */
static void shorten(struct node *node, struct cleanliness *clean, uint32_t before_s, uint32_t after_s)
{
	int64_t since_ns = clean->since_ns + ((int64_t)before_s - (int64_t)after_s) * second_ns;

	clean->within_s = after_s;
	if (after_s >= before_s)
		return;
	clean->since_ns = since_ns < now_of(node) ? since_ns : now_of(node);
	node->erasure.dirty = true;
}

static void clean_begin(struct node *node, struct hosted *hosted)
{
	const struct erasure *erasure = erasures_find(&node->erasure.owed, driver_replica_id(hosted->driver));
	uint64_t ago_us = 0;

	if (erasure != NULL && !erasure->left && node->time.wall_us > erasure->since_us)
		ago_us = node->time.wall_us - erasure->since_us;
	if (ago_us > (uint64_t)ERASE_WITHIN_S_MAX * 1000000)
		ago_us = (uint64_t)ERASE_WITHIN_S_MAX * 1000000;
	hosted->clean = (struct cleanliness){ .known = true,
		.since_ns = now_of(node) - (int64_t)ago_us * 1000,
		.clean_index = UINT64_MAX,
		.found_index = last_of(node, hosted),
		.newcomer = hosted->clean.newcomer };
	shorten(node, &hosted->clean, erasure != NULL && !erasure->left ? erasure->within_s : 0,
		within_s(node, hosted->policy));
	if (erasure == NULL)
		node->erasure.dirty = true; /* from now on there is a record of it */
}

/* Since when it is clean, as a record for the next process. */
static void clean_record(struct node *node, const struct hosted *hosted)
{
	struct erasure *erasure;
	int64_t ago_us = (now_of(node) - hosted->clean.since_ns) / 1000;

	if (erasures_get(&node->erasure.owed, driver_replica_id(hosted->driver), &erasure) != STATUS_OK ||
		erasure->left)
		return;
	erasure->group = hosted->group;
	erasure->policy = hosted->policy;
	erasure->within_s = hosted->clean.within_s;
	erasure->since_us = node->time.wall_us > (uint64_t)ago_us ? node->time.wall_us - (uint64_t)ago_us : 0;
}

static void clean_ended(struct node *node, struct hosted *hosted)
{
	struct cleanliness *clean = &hosted->clean;

	clean->clean_index = clean->marked_index;
	clean->state = CLEANING_IDLE;
	clean->hurry = false;
	node->erasure.cleaned++;
	if (clean->doubtful)
		return; /* not all that had been deleted before the mark */
	clean->since_ns = clean->marked_ns;
	clean->late = false;
	node_ledger_erased(node, hosted->group, driver_replica_id(hosted->driver));
	node->erasure.dirty = true;
}

/* The end of a log at rest may not be known to be committed: whoever leads is asked. */
static void ask_leader(struct node *node, struct hosted *hosted)
{
	hosted->clean.asking = true;
	driver_refresh(hosted->driver);
	node_touch(node, hosted);
}

/* What an earlier process had in its log it may have applied: deletions that were known here, and are not again until
 * they are applied once more. */
static bool in_doubt(const struct node *node, const struct hosted *hosted)
{
	uint64_t last = last_of(node, hosted), found = hosted->clean.found_index;

	return driver_applied(hosted->driver) < (found < last ? found : last);
}

/* All that was in the log when it was marked is to be applied. What nobody says in time is committed is no deletion
 * here yet, unless it may have been one before a start: then what is applied is cleaned, and the rest goes on being
 * owed from when it was. */
static bool clean_engine(struct node *node, struct hosted *hosted, int64_t patience_ends_ns)
{
	struct cleanliness *clean = &hosted->clean;
	uint64_t applied = driver_applied(hosted->driver), last = last_of(node, hosted);

	if (clean->marked_index > last)
		clean->marked_index = last; /* it was cut since */
	clean->doubtful = in_doubt(node, hosted);
	if (applied < clean->marked_index &&
		(now_of(node) < patience_ends_ns || (clean->doubtful && applied == clean->clean_index))) {
		ask_leader(node, hosted);
		return false;
	}
	clean->asking = false;
	if (applied < clean->marked_index)
		clean->marked_index = applied; /* what is cleaned; not all, when in doubt */
	driver_erase(hosted->driver, clean->marked_index);
	node_touch(node, hosted);
	return true;
}

static void mark(struct node *node, struct hosted *hosted)
{
	struct cleanliness *clean = &hosted->clean;

	clean->marked_ns = now_of(node);
	clean->marked_index = last_of(node, hosted);
	clean->state = CLEANING_MARKED;
	if (driver_applied(hosted->driver) < clean->marked_index)
		ask_leader(node, hosted);
}

/* A replica that has just come was given the log from its beginning, if there still was one, and in it what was deleted
 * long before: by its own clock that would go a whole erase_within from now. So it is cleaned as soon as it has caught
 * up; by then it has little. What came as a snapshot has nothing of the kind. */
static void newcomer_look(struct node *node, struct hosted *hosted)
{
	struct cleanliness *clean = &hosted->clean;

	if (driver_installed(hosted->driver)) {
		clean->newcomer = false;
	} else if (driver_fresh_ns(hosted->driver) == 0) {
		driver_refresh(hosted->driver);
		node_touch(node, hosted);
	} else {
		clean->newcomer = false;
		clean->hurry = true;
		mark(node, hosted);
	}
}

bool erasure_goes_on(const struct hosted *hosted)
{
	const struct cleanliness *clean = &hosted->clean;

	if (clean->state == CLEANING_ENGINE)
		return driver_erased(hosted->driver); /* another may begin */
	return clean->state == CLEANING_MARKED && clean->asking &&
	       driver_applied(hosted->driver) >= clean->marked_index;
}

/* True: from now on this one is being compacted. */
static bool clean_step(struct node *node, struct hosted *hosted, bool full)
{
	struct cleanliness *clean = &hosted->clean;
	int64_t within_ns, due_ns;
	bool begun = false;

	if (!clean->known)
		clean_begin(node, hosted);
	if (erasure_goes_on(hosted))
		clean->asking = false;
	if (within_s(node, hosted->policy) != clean->within_s)
		shorten(node, clean, clean->within_s, within_s(node, hosted->policy));
	within_ns = (int64_t)within_s(node, hosted->policy) * second_ns;
	due_ns = clean->since_ns + within_ns;
	if (clean->state == CLEANING_IDLE && clean->newcomer)
		newcomer_look(node, hosted);
	if (clean->state == CLEANING_IDLE && now_of(node) >= due_ns - within_ns / 2) {
		if (driver_applied(hosted->driver) == clean->clean_index && !in_doubt(node, hosted)) {
			clean->since_ns = now_of(node); /* nothing was written: nothing was deleted */
			due_ns = clean->since_ns + within_ns;
			node->erasure.dirty = true;
		} else {
			mark(node, hosted);
		}
	}
	if (clean->state == CLEANING_MARKED && (clean->hurry || now_of(node) >= due_ns - within_ns / 4) && !full)
		begun = clean_engine(node, hosted, due_ns - within_ns / 8);
	if (begun)
		clean->state = CLEANING_ENGINE;
	if (!clean->late && now_of(node) > due_ns) {
		clean->late = true;
		node->erasure.late++;
		log_warn("deleted values of a replica are on the disk for longer than its policy allows",
			LOG_H("group", hosted->group), LOG_U("within_s", (uint64_t)(within_ns / second_ns)));
		node_ledger_overdue(node, hosted->group, driver_replica_id(hosted->driver));
	}
	if (clean->state == CLEANING_IDLE && !clean->newcomer)
		look_by(node, due_ns - within_ns / 2);
	else if (clean->state == CLEANING_MARKED && !clean->hurry && now_of(node) < due_ns - within_ns / 4)
		look_by(node, due_ns - within_ns / 4);
	else
		look_by(node, now_of(node) + LOOK_MS * (second_ns / 1000));
	return begun;
}

static bool pressed(const struct node *node, const struct hosted *hosted)
{
	int64_t within_ns = (int64_t)within_s(node, hosted->policy) * second_ns;

	return now_of(node) >= hosted->clean.since_ns + within_ns - within_ns / 8;
}

/* Once for all whose engines and logs are clean, when no other is being compacted, or one of them has no more time:
 * where there are many, some always are. */
static void empty_journal(struct node *node, unsigned compacting)
{
	bool wanted = false, waits = false, now = compacting == 0;

	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];

		if (hosted == NULL)
			continue;
		if (hosted->clean.state == CLEANING_JOURNAL && journal_erased(node->journal, node->erasure.mark))
			clean_ended(node, hosted);
		waits = waits || hosted->clean.state == CLEANING_JOURNAL;
		if (hosted->clean.state != CLEANING_LOG_DONE)
			continue;
		wanted = true;
		now = now || pressed(node, hosted);
	}
	node->erasure.awaits_journal = node->erasure.awaits_journal || waits;
	if (!wanted || waits || !now || journal_erase(node->journal, &node->erasure.mark) != STATUS_OK)
		return;
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL && node->table[i]->clean.state == CLEANING_LOG_DONE)
			node->table[i]->clean.state = CLEANING_JOURNAL;
	}
	node->erasure.awaits_journal = true;
	node->io.flush_wanted(node->io.arg);
}

static void look_at_hosted(struct node *node)
{
	unsigned compacting = 0;

	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];

		if (hosted == NULL || hosted->clean.state != CLEANING_ENGINE)
			continue;
		if (driver_erased(hosted->driver))
			hosted->clean.state = CLEANING_LOG_DONE;
		else
			compacting++;
	}
	for (size_t i = 0; i < node->table_size; i++) {
		struct hosted *hosted = node->table[i];

		if (hosted == NULL || hosted == node->meta || hosted->doomed || hosted->policy == 0)
			continue;
		if (driver_is_witness(hosted->driver))
			continue; /* nothing was ever written that could be deleted (docs/witness.md) */
		compacting += clean_step(node, hosted, compacting >= COMPACTING_MAX);
	}
	empty_journal(node, compacting);
}

static void records_store(struct node *node)
{
	int64_t at_ns = (int64_t)node->erasure.stored_ns + STORE_MS * (second_ns / 1000);

	if (!node->erasure.dirty)
		return;
	if (node->erasure.stored_ns != 0 && now_of(node) < at_ns) {
		look_by(node, at_ns);
		return;
	}
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL && node->table[i]->clean.known)
			clean_record(node, node->table[i]);
	}
	for (uint32_t i = node->erasure.owed.count; i-- > 0;) {
		const struct erasure *erasure = &node->erasure.owed.at[i];
		const struct hosted *hosted = node_hosted(node, erasure->group);

		if (!erasure->left && (hosted == NULL || driver_replica_id(hosted->driver) != erasure->replica))
			erasures_drop(&node->erasure.owed, erasure->replica); /* its birth was never durable */
	}
	store(node);
	if (node->erasure.dirty)
		look_by(node, at_ns);
}

void erasure_run(struct node *node)
{
	if (node->failed || !node->running)
		return;
	node->erasure.next_ns = UINT64_MAX;
	node->erasure.awaits_journal = false;
	look_at_left(node);
	look_at_hosted(node);
	records_store(node);
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

enum status erasure_begin(struct node *node, const char **why)
{
	struct erasures *owed = &node->erasure.owed;
	enum status status = erasures_load(node->data, owed);
	bool unknown = status == STATUS_CORRUPT;
	uint64_t mark;

	if (unknown) {
		log_warn("the list of what is to be erased is damaged: all that can be erased is");
		status = STATUS_OK;
	}
	if (status != STATUS_OK) {
		*why = status == STATUS_UNSUPPORTED ? "the file ERASURES was written by a newer version"
						    : "the file ERASURES could not be read";
		return status;
	}
	node->erasure.next_ns = node->time.now_ns;
	erasure_take_gone(node);
	if (unknown)
		status = journal_erase(node->journal, &mark); /* leftovers of engines went when they were opened */
	if (status != STATUS_OK)
		*why = "out of memory";
	return status;
}

void erasure_end(struct node *node)
{
	free(node->erasure.ended);
	node->erasure.ended = NULL;
	erasures_deinit(&node->erasure.owed);
}

void erasure_cancel(struct node *node)
{
	for (size_t i = 0; i < node->table_size; i++) {
		if (node->table[i] != NULL && node->table[i]->clean.state == CLEANING_ENGINE)
			driver_erase_cancel(node->table[i]->driver);
	}
}

/* --- for people ------------------------------------------------------------------------------------------------------
 */

static void json_number(struct text *text, const char *name, uint64_t value)
{
	text_add(text, "\"");
	text_add(text, name);
	text_add(text, "\":");
	text_add_u64(text, value);
}

void erasure_json(const struct node *node, struct text *text)
{
	uint64_t pending = 0, late = 0, oldest_us = 0, deleted_ns = 0;

	for (uint32_t i = 0; i < node->erasure.owed.count; i++) {
		const struct erasure *erasure = &node->erasure.owed.at[i];

		if (!erasure->left || still_hosted(node, erasure))
			continue;
		pending++;
		late += erasure->late;
		if (oldest_us == 0 || erasure->since_us < oldest_us)
			oldest_us = erasure->since_us;
	}
	for (size_t i = 0; i < node->table_size; i++) {
		const struct hosted *hosted = node->table[i];

		if (hosted == NULL || !hosted->clean.known)
			continue;
		late += hosted->clean.late;
		if (now_of(node) - hosted->clean.since_ns > (int64_t)deleted_ns)
			deleted_ns = (uint64_t)(now_of(node) - hosted->clean.since_ns);
	}
	text_add(text, "\"erasure\":{");
	json_number(text, "purges_pending", pending);
	text_add(text, ",");
	json_number(text, "oldest_purge_s",
		pending > 0 && node->time.wall_us > oldest_us ? (node->time.wall_us - oldest_us) / 1000000 : 0);
	text_add(text, ",");
	json_number(text, "late", late);
	text_add(text, ",");
	json_number(text, "late_total", node->erasure.late);
	text_add(text, ",");
	json_number(text, "purges_total", node->erasure.finished);
	text_add(text, ",");
	json_number(text, "last_purge_ms", node->erasure.last_ms);
	text_add(text, ",");
	json_number(text, "cleanings_total", node->erasure.cleaned);
	text_add(text, ",");
	json_number(text, "oldest_deletion_s", deleted_ns / 1000000000);
	text_add(text, "}");
}
