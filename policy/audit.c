/* policy/audit.c: see policy/audit.h. */
#include "policy/audit.h"

#include <assert.h>
#include <string.h>

enum { AUDIT_REGIONS_MAX = 4 * MAP_REGIONS_MAX }; /* with those that have gone */

struct audit {
	audit_fn *fn;
	void *arg;
	struct place place;
	uint64_t node;
	uint64_t last_us; /* of the last record */
	uint8_t cluster[16];
	uint32_t region_count, policy_count, replica_count;
	struct site regions[AUDIT_REGIONS_MAX]; /* no two contain one another: the older of such two has gone */
	struct audit_policy policies[MAP_POLICIES_MAX];
	struct audit_replica replicas[MAP_SHARDS_MAX];
};

const char *audit_kind_name(enum audit_kind kind)
{
	switch (kind) {
	case AUDIT_IDENTITY:
		return "identity";
	case AUDIT_NO_REGION:
		return "no-region";
	case AUDIT_RULES:
		return "rules";
	case AUDIT_NO_RULES:
		return "no-rules";
	case AUDIT_AGAINST_RULES:
		return "against-rules";
	case AUDIT_UNRECORDED:
		return "unrecorded";
	case AUDIT_ORDER:
		return "order";
	case AUDIT_TOO_MANY:
		return "too-many";
	case AUDIT_LATE:
		return "late";
	}
	return "?";
}

size_t audit_size(void)
{
	return sizeof(struct audit);
}

struct audit *audit_init(void *memory, const struct place *place, audit_fn *fn, void *arg)
{
	struct audit *audit = memory;
	audit->fn = fn;
	audit->arg = arg;
	audit->place = *place;
	audit->node = audit->last_us = 0;
	memset(audit->cluster, 0, sizeof(audit->cluster));
	audit->region_count = audit->policy_count = audit->replica_count = 0;
	return audit;
}

static void find(struct audit *audit, enum audit_kind kind, const struct ledger_record *record, const char *what)
{
	struct audit_finding finding = { kind, what, record };
	audit->fn(audit->arg, &finding);
}

/* --- rules ------------------------------------------------------------------------------------------- */

static struct audit_policy *policy_of(struct audit *audit, uint64_t id)
{
	for (uint32_t i = 0; i < audit->policy_count; i++)
		if (audit->policies[i].id == id)
			return &audit->policies[i];
	return NULL;
}

/* A place with the tags of its region. False: none is recorded. */
static bool site_of(const struct audit *audit, const struct place *place, struct site *site)
{
	for (uint32_t i = 0; i < audit->region_count; i++) {
		if (!place_within(place, audit->regions[i].place.text))
			continue;
		*site = audit->regions[i];
		site->place = *place;
		return true;
	}
	return false;
}

static void take_region(struct audit *audit, const struct ledger_record *record)
{
	struct site site = { .place = record->place };
	if (ledger_tags_decode(record->body, &site) != STATUS_OK) {
		find(audit, AUDIT_RULES, record, "the tags of a region do not decode");
		return;
	}
	uint32_t kept = 0;
	for (uint32_t i = 0; i < audit->region_count; i++) {
		const struct site *other = &audit->regions[i];
		if (!place_within(&other->place, site.place.text) && !place_within(&site.place, other->place.text))
			audit->regions[kept++] = *other;
	}
	audit->region_count = kept;
	if (kept == AUDIT_REGIONS_MAX)
		find(audit, AUDIT_TOO_MANY, record, "more regions than a cluster has");
	else
		audit->regions[audit->region_count++] = site;
}

static bool may_be(const struct policy *rules, const struct site *site, bool witness)
{
	return witness ? policy_may_witness(rules, site) : policy_may_store(rules, site);
}

/* Since when the rules want a replica elsewhere. */
static void judge_held(struct audit *audit, const struct audit_policy *policy, const struct ledger_record *record)
{
	struct site site;
	bool known = site_of(audit, &audit->place, &site);
	for (uint32_t i = 0; i < audit->replica_count; i++) {
		struct audit_replica *replica = &audit->replicas[i];
		if (replica->policy != policy->id || replica->removed_us != 0)
			continue;
		if (known && may_be(&policy->rules, &site, replica->witness))
			replica->forbidden_us = 0;
		else if (replica->forbidden_us == 0)
			replica->forbidden_us = record->time_us;
	}
}

static void take_policy(struct audit *audit, const struct ledger_record *record)
{
	uint8_t digest[SHA256_SIZE];
	struct unpacker unpacker;
	uint32_t at = 0;
	while (at < audit->policy_count && audit->policies[at].id != record->policy)
		at++;
	if (at == MAP_POLICIES_MAX) {
		find(audit, AUDIT_TOO_MANY, record, "more policies than a cluster has");
		return;
	}
	struct audit_policy *policy = &audit->policies[at];
	sha256_of(record->body, digest);
	if (memcmp(digest, record->digest, SHA256_SIZE) != 0)
		find(audit, AUDIT_RULES, record, "the rules are not those of the digest beside them");
	if (at < audit->policy_count && record->policy_epoch <= policy->epoch)
		find(audit, AUDIT_RULES, record, "rules were taken that are not newer than those in force");
	unpack_init(&unpacker, record->body);
	if (policy_decode(&unpacker, &policy->rules) != STATUS_OK || !unpack_end(&unpacker) ||
		policy->rules.id != record->policy || policy->rules.epoch != record->policy_epoch) {
		find(audit, AUDIT_RULES, record, "the rules do not decode, or are another policy's");
		if (at < audit->policy_count) /* what stood there is overwritten: nothing is known of it any more */
			audit->policies[at] = audit->policies[--audit->policy_count];
		return;
	}
	policy->id = record->policy;
	policy->epoch = record->policy_epoch;
	if (at == audit->policy_count)
		policy->late = 0;
	memcpy(policy->digest, record->digest, SHA256_SIZE);
	if (at == audit->policy_count)
		audit->policy_count++;
	judge_held(audit, policy, record);
}

/* May bytes of this policy, or a witness of it, be at this place, by the rules in force? Says what is wrong. */
static void judge_place(struct audit *audit, const struct ledger_record *record, uint64_t policy_id, bool witness,
	const struct place *place, const char *what)
{
	struct site site;
	if (policy_id == 0)
		return; /* meta */
	const struct audit_policy *policy = policy_of(audit, policy_id);
	if (!policy)
		find(audit, AUDIT_NO_RULES, record, "it happened by rules that are not recorded before it");
	else if (!site_of(audit, place, &site))
		find(audit, AUDIT_NO_REGION, record, "no region that is recorded before it contains the place");
	else if (!may_be(&policy->rules, &site, witness))
		find(audit, AUDIT_AGAINST_RULES, record, what);
}

/* --- replicas ---------------------------------------------------------------------------------------- */

static struct audit_replica *replica_of(struct audit *audit, const struct ledger_record *record)
{
	for (uint32_t i = 0; i < audit->replica_count; i++)
		if (audit->replicas[i].shard == record->shard && audit->replicas[i].replica == record->replica)
			return &audit->replicas[i];
	return NULL;
}

static void take_created(struct audit *audit, const struct ledger_record *record)
{
	bool witness = (record->flags & LEDGER_WITNESS) != 0;
	if (record->flags & LEDGER_RECONCILED)
		find(audit, AUDIT_UNRECORDED, record, "a replica was on the disk that no record had announced");
	else
		judge_place(audit, record, record->policy, witness, &audit->place,
			"a replica was created where its policy forbids it");
	const struct audit_policy *policy = policy_of(audit, record->policy);
	if (record->policy != 0 && policy && policy->epoch != record->policy_epoch)
		find(audit, AUDIT_NO_RULES, record, "it names another epoch of its policy than the one in force");
	if (replica_of(audit, record)) {
		find(audit, AUDIT_ORDER, record, "this replica was created before");
		return;
	}
	if (audit->replica_count == MAP_SHARDS_MAX) {
		find(audit, AUDIT_TOO_MANY, record, "more replicas than a node holds");
		return;
	}
	audit->replicas[audit->replica_count++] = (struct audit_replica){ .shard = record->shard,
		.replica = record->replica,
		.policy = record->policy,
		.created_us = record->time_us,
		.witness = witness };
}

static void take_removed(struct audit *audit, const struct ledger_record *record)
{
	struct audit_replica *replica = replica_of(audit, record);
	if (!replica || replica->removed_us != 0) {
		find(audit, AUDIT_ORDER, record, "a replica was removed that was not there");
		return;
	}
	const struct audit_policy *policy = policy_of(audit, replica->policy);
	replica->removed_us = record->time_us ? record->time_us : 1;
	replica->removed_sequence = record->sequence;
	replica->overdue = false; /* all of it is owed from now on */
	if (policy && !replica->witness)
		replica->purge_by_us = replica->removed_us + (uint64_t)policy->rules.erase_within_s * 1000000;
}

static void find_late(
	struct audit *audit, const struct audit_replica *replica, const struct ledger_record *record, const char *what)
{
	struct audit_policy *policy = policy_of(audit, replica->policy);
	if (policy)
		policy->late++;
	find(audit, AUDIT_LATE, record, what);
}

static bool purge_late(const struct audit_replica *replica, uint64_t at_us)
{
	return replica->purge_by_us != 0 && at_us > replica->purge_by_us;
}

static void take_purged(struct audit *audit, const struct ledger_record *record)
{
	struct audit_replica *replica = replica_of(audit, record);
	if (!replica || replica->removed_us == 0) {
		find(audit, AUDIT_ORDER, record, "a replica was purged that was not removed before");
		return;
	}
	if (purge_late(replica, record->time_us))
		find_late(audit, replica, record,
			"a replica that was removed was purged later than erase_within of its policy allowed");
	*replica = audit->replicas[--audit->replica_count];
}

static void take_overdue(struct audit *audit, const struct ledger_record *record)
{
	struct audit_replica *replica = replica_of(audit, record);
	bool begins = record->kind == LEDGER_OVERDUE;
	if (!replica || replica->removed_us != 0 || replica->overdue == begins) {
		find(audit, AUDIT_ORDER, record,
			"what was deleted in a replica was late, or not any more, out of turn");
		return;
	}
	replica->overdue = begins;
	if (begins)
		find_late(audit, replica, record,
			"what was deleted in a replica stayed longer than erase_within of its policy allowed");
}

static void take_snapshot(struct audit *audit, const struct ledger_record *record)
{
	const struct audit_replica *replica = replica_of(audit, record);
	if (!replica || replica->removed_us != 0)
		find(audit, AUDIT_ORDER, record, "a snapshot of a replica that was not there");
	else if (record->kind == LEDGER_SNAPSHOT_SENT)
		judge_place(audit, record, replica->policy, false, &record->place,
			"a snapshot was sent to where its policy forbids it");
	else
		judge_place(audit, record, replica->policy, false, &audit->place,
			"a snapshot was taken where its policy forbids it");
}

/* Keys of one policy come to be of another: to where they went the new one must allow them, and so it must here. */
static void take_keys(struct audit *audit, const struct ledger_record *record)
{
	const struct audit_replica *replica = replica_of(audit, record);
	bool sent = record->kind == LEDGER_KEYS_SENT;
	if (!replica || replica->removed_us != 0) {
		find(audit, AUDIT_ORDER, record, "keys of a replica that was not there");
		return;
	}
	if (replica->witness)
		find(audit, AUDIT_AGAINST_RULES, record, "a witness had keys");
	if (!sent) {
		judge_place(audit, record, replica->policy, false, &audit->place,
			"keys were taken where their new policy forbids them");
		return;
	}
	judge_place(audit, record, record->policy, false, &record->place,
		"keys were sent to where their new policy forbids them");
	const struct audit_policy *policy = policy_of(audit, record->policy);
	if (policy && policy->epoch != record->policy_epoch)
		find(audit, AUDIT_NO_RULES, record, "it names another epoch of the new policy than the one in force");
}

static void take_started(struct audit *audit, const struct ledger_record *record)
{
	bool first = audit->node == 0;
	if (!place_equal(&record->place, &audit->place))
		find(audit, AUDIT_IDENTITY, record, "it started as a node of another place");
	if (record->body.size != sizeof(audit->cluster)) {
		find(audit, AUDIT_IDENTITY, record, "it started without the id of a cluster");
		return;
	}
	/* A first start that was cut off before it held anything is begun anew, in another cluster even. */
	if (!first && audit->replica_count > 0 &&
		(record->node != audit->node || memcmp(record->body.data, audit->cluster, sizeof(audit->cluster)) != 0))
		find(audit, AUDIT_IDENTITY, record, "it started as another node, or in another cluster");
	audit->node = record->node;
	memcpy(audit->cluster, record->body.data, sizeof(audit->cluster));
}

void audit_record(struct audit *audit, const struct ledger_record *record)
{
	audit->last_us = record->time_us;
	if (audit->node == 0 && record->kind != LEDGER_STARTED)
		find(audit, AUDIT_IDENTITY, record, "the ledger does not begin with a start");
	switch ((enum ledger_kind)record->kind) {
	case LEDGER_STARTED:
		take_started(audit, record);
		return;
	case LEDGER_REGION:
		take_region(audit, record);
		return;
	case LEDGER_POLICY:
		take_policy(audit, record);
		return;
	case LEDGER_CREATED:
		take_created(audit, record);
		return;
	case LEDGER_REMOVED:
		take_removed(audit, record);
		return;
	case LEDGER_PURGED:
		take_purged(audit, record);
		return;
	case LEDGER_SNAPSHOT_SENT:
	case LEDGER_SNAPSHOT_TAKEN:
		take_snapshot(audit, record);
		return;
	case LEDGER_OVERDUE:
	case LEDGER_ERASED:
		take_overdue(audit, record);
		return;
	case LEDGER_KEYS_SENT:
	case LEDGER_KEYS_TAKEN:
		take_keys(audit, record);
		return;
	case LEDGER_CERTIFICATE:
	case LEDGER_KINDS:
		return;
	}
}

void audit_end(struct audit *audit, uint64_t read_us)
{
	uint64_t at_us = read_us > audit->last_us ? read_us : audit->last_us;
	for (uint32_t i = 0; i < audit->replica_count; i++) {
		const struct audit_replica *replica = &audit->replicas[i];
		struct ledger_record record = { .kind = LEDGER_REMOVED,
			.sequence = replica->removed_sequence,
			.time_us = replica->removed_us,
			.shard = replica->shard,
			.replica = replica->replica };
		if (purge_late(replica, at_us))
			find_late(audit, replica, &record,
				"a replica that was removed is not purged, and erase_within of its policy is over");
	}
}

const struct audit_replica *audit_replicas(const struct audit *audit, uint32_t *count)
{
	*count = audit->replica_count;
	return audit->replicas;
}

const struct audit_policy *audit_policies(const struct audit *audit, uint32_t *count)
{
	*count = audit->policy_count;
	return audit->policies;
}

uint64_t audit_node(const struct audit *audit, uint8_t cluster[16])
{
	memcpy(cluster, audit->cluster, sizeof(audit->cluster));
	return audit->node;
}
