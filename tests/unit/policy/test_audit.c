/* tests/unit/policy/test_audit.c: records to bytes and back, and what an audit says of ledgers told record by record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "policy/audit.h"
#include "tests/unit/policy/policies.h"

enum { FINDINGS_MAX = 8 };
static struct audit *audit;
static void *memory;
static uint64_t sequence, slept_us;
static uint32_t within_s; /* of rules that are told; 0: the default */
static unsigned finding_count;
static enum audit_kind findings[FINDINGS_MAX];

static void on_finding(void *arg, const struct audit_finding *finding)
{
	(void)arg;
	assert_non_null(finding->what);
	assert_true(finding_count < FINDINGS_MAX);
	findings[finding_count++] = finding->kind;
}

static int setup(void **state)
{
	(void)state;
	struct place place;
	memory = malloc(audit_size());
	assert_non_null(memory);
	assert_true(place_parse("eu/ie/eu-west-1/a/n1", &place, NULL));
	audit = audit_init(memory, &place, on_finding, NULL);
	sequence = slept_us = 0;
	within_s = 0;
	finding_count = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(memory);
	return 0;
}

/* As a node writes it and an auditor reads it. */
static void tell(struct ledger_record record)
{
	static uint8_t bytes[LEDGER_RECORD_MAX];
	struct ledger_record read;
	struct packer packer;
	record.sequence = ++sequence;
	record.time_us = slept_us + 1000 * sequence;
	pack_init(&packer, bytes, sizeof(bytes));
	ledger_record_encode(&record, &packer);
	assert_int_equal(ledger_record_decode(pack_result(&packer), &read), STATUS_OK);
	audit_record(audit, &read);
}

static struct ledger_record at_place(uint8_t kind, const char *place)
{
	struct ledger_record record = { .kind = kind };
	assert_true(place_parse(place, &record.place, NULL));
	return record;
}

static void tell_started(uint64_t node, const char *place)
{
	static const uint8_t cluster[16] = { 1 };
	struct ledger_record record = at_place(LEDGER_STARTED, place);
	record.node = node;
	record.body = bytes_of(cluster, sizeof(cluster));
	tell(record);
}

static void tell_region(const char *place, const char *tags)
{
	struct ledger_record record = at_place(LEDGER_REGION, place);
	struct site region = site(place, tags);
	uint8_t body[512];
	struct packer packer;
	pack_init(&packer, body, sizeof(body));
	ledger_tags_encode(&region, &packer);
	record.body = pack_result(&packer);
	record.digest[0] = 1;
	tell(record);
}

static void tell_rules(uint64_t id, uint64_t epoch, const char *store_in, const char *never_in, const char *witness_in)
{
	static uint8_t body[LEDGER_BODY_MAX];
	struct ledger_record record = { .kind = LEDGER_POLICY, .policy = id, .policy_epoch = epoch };
	struct policy policy = policy_named("p", store_in);
	struct packer packer;
	policy.never_in = selectors(never_in);
	policy.witness_in = selectors(witness_in);
	policy.copies = 3;
	policy_complete(&policy, FIELD_STORE_IN | FIELD_NEVER_IN | FIELD_COPIES);
	policy.id = id;
	policy.epoch = epoch;
	if (within_s != 0)
		policy.erase_within_s = within_s;
	pack_init(&packer, body, sizeof(body));
	policy_encode(&policy, &packer);
	record.body = pack_result(&packer);
	sha256_of(record.body, record.digest);
	tell(record);
}

static void tell_policy(uint64_t id, uint64_t epoch, const char *store_in, const char *never_in)
{
	tell_rules(id, epoch, store_in, never_in, "");
}

static void tell_replica(uint8_t kind, uint64_t shard, uint64_t policy, uint64_t epoch)
{
	tell((struct ledger_record){
		.kind = kind, .shard = shard, .replica = shard + 1, .policy = policy, .policy_epoch = epoch });
}

static void tell_sent(uint64_t shard, const char *place)
{
	struct ledger_record record = at_place(LEDGER_SNAPSHOT_SENT, place);
	record.shard = shard;
	record.replica = shard + 1;
	record.node = 9;
	record.last = 100;
	tell(record);
}

static void begin(void)
{
	tell_started(2, "eu/ie/eu-west-1/a/n1");
	tell_region("eu/ie/eu-west-1", "cloud=x");
	tell_region("us/us-east-1", "");
	tell_policy(50, 7, "eu", "");
	assert_int_equal(finding_count, 0);
}

static void assert_found(enum audit_kind kind)
{
	assert_int_equal(finding_count, 1);
	assert_int_equal(findings[0], kind);
	finding_count = 0;
}

static void a_good_life(void **state)
{
	(void)state;
	uint32_t count;
	begin();
	tell_replica(LEDGER_CREATED, 1, 0, 0); /* meta's */
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_sent(100, "eu/ie/eu-west-1/b/n2");
	tell_started(2, "eu/ie/eu-west-1/a/n1");
	tell_replica(LEDGER_REMOVED, 100, 0, 0);
	const struct audit_replica *replicas = audit_replicas(audit, &count);
	assert_int_equal(count, 2);
	assert_true(replicas[1].removed_us > replicas[1].created_us);
	tell_replica(LEDGER_PURGED, 100, 0, 0);
	audit_replicas(audit, &count);
	assert_int_equal(count, 1);
	assert_int_equal(finding_count, 0);
}

static void a_copy_where_it_may_not_be(void **state)
{
	(void)state;
	begin();
	tell_policy(51, 8, "us", "");
	tell_replica(LEDGER_CREATED, 100, 51, 8);
	assert_found(AUDIT_AGAINST_RULES);
	tell_policy(52, 9, "*", "cloud=x"); /* by its region's tag */
	tell_replica(LEDGER_CREATED, 101, 52, 9);
	assert_found(AUDIT_AGAINST_RULES);
}

static void a_snapshot_to_where_it_may_not_be(void **state)
{
	(void)state;
	begin();
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_sent(100, "us/us-east-1/a/n1");
	assert_found(AUDIT_AGAINST_RULES);
	tell_policy(50, 9, "eu us", "");
	tell_sent(100, "us/us-east-1/a/n1");
	assert_int_equal(finding_count, 0);
	tell_sent(100, "ap/sg/ap-southeast-1/a/n1"); /* of a region that it never recorded */
	assert_found(AUDIT_NO_REGION);
}

static void tell_keys(uint8_t kind, uint64_t shard, uint64_t policy, uint64_t epoch, const char *place)
{
	struct ledger_record record = at_place(kind, place);
	record.shard = shard;
	record.replica = shard + 1;
	record.policy = policy;
	record.policy_epoch = epoch;
	record.node = 9;
	record.first = 300;
	record.last = 77;
	tell(record);
}

/* Keys that a changed binding takes to another policy go only where that one allows them. */
static void keys_to_where_they_may_not_be(void **state)
{
	(void)state;
	begin();
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_keys(LEDGER_KEYS_SENT, 100, 51, 8, "us/us-east-1/a/n1");
	assert_found(AUDIT_NO_RULES);
	tell_policy(51, 8, "eu", "");
	tell_keys(LEDGER_KEYS_SENT, 100, 51, 8, "eu/ie/eu-west-1/b/n2");
	assert_int_equal(finding_count, 0);
	tell_keys(LEDGER_KEYS_SENT, 100, 51, 8, "us/us-east-1/a/n1");
	assert_found(AUDIT_AGAINST_RULES);
	tell_keys(LEDGER_KEYS_SENT, 100, 51, 6, "eu/ie/eu-west-1/b/n2"); /* by other rules than those in force */
	assert_found(AUDIT_NO_RULES);
	tell_keys(LEDGER_KEYS_SENT, 101, 51, 8, "eu/ie/eu-west-1/b/n2"); /* of a shard that is not here */
	assert_found(AUDIT_ORDER);
	/* Taken: by the rules of the shard that they come to, whoever had them. */
	tell_keys(LEDGER_KEYS_TAKEN, 100, 52, 9, "us/us-east-1/a/n1");
	assert_int_equal(finding_count, 0);
	tell_policy(50, 10, "us", "");
	finding_count = 0;
	tell_keys(LEDGER_KEYS_TAKEN, 100, 52, 9, "us/us-east-1/a/n1");
	assert_found(AUDIT_AGAINST_RULES);
}

static void a_witness_with_keys(void **state)
{
	(void)state;
	begin();
	tell_rules(51, 8, "eu us", "", "eu");
	tell((struct ledger_record){ .kind = LEDGER_CREATED,
		.flags = LEDGER_WITNESS,
		.shard = 100,
		.replica = 101,
		.policy = 51,
		.policy_epoch = 8 });
	assert_int_equal(finding_count, 0);
	tell_keys(LEDGER_KEYS_TAKEN, 100, 50, 7, "eu/ie/eu-west-1/b/n2");
	assert_found(AUDIT_AGAINST_RULES);
}

/* What holds no data may be where the rules want witnesses, and a copy may not be there because of that. */
static void a_witness_where_copies_may_not_be(void **state)
{
	(void)state;
	uint32_t count;
	struct ledger_record witness = {
		.kind = LEDGER_CREATED, .flags = LEDGER_WITNESS, .replica = 200, .policy = 51, .policy_epoch = 8
	};
	begin();
	tell_rules(51, 8, "us", "", "eu");
	witness.shard = 100;
	tell(witness);
	assert_int_equal(finding_count, 0);
	tell_replica(LEDGER_CREATED, 101, 51, 8);
	assert_found(AUDIT_AGAINST_RULES);
	tell_rules(51, 9, "us", "", "");
	assert_int_equal(finding_count, 0);
	assert_int_equal(audit_replicas(audit, &count)[0].forbidden_us, 1000 * sequence);
	witness.shard = 102;
	witness.policy_epoch = 9;
	tell(witness);
	assert_found(AUDIT_AGAINST_RULES);
}

/* Rules that want a replica elsewhere make it no crime to hold it until it is moved; since when is told. */
static void rules_that_change(void **state)
{
	(void)state;
	uint32_t count;
	begin();
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_policy(50, 8, "us", "");
	assert_int_equal(finding_count, 0);
	assert_int_equal(audit_replicas(audit, &count)[0].forbidden_us, 1000 * sequence);
	tell_policy(50, 9, "eu", "");
	assert_int_equal(audit_replicas(audit, &count)[0].forbidden_us, 0);
	tell_policy(50, 8, "us", "");
	assert_found(AUDIT_RULES);
}

static void rules_that_are_missing(void **state)
{
	(void)state;
	begin();
	tell_replica(LEDGER_CREATED, 100, 51, 8);
	assert_found(AUDIT_NO_RULES);
	tell_replica(LEDGER_CREATED, 101, 50, 6);
	assert_found(AUDIT_NO_RULES);
	struct ledger_record forged = { .kind = LEDGER_POLICY, .policy = 60, .policy_epoch = 9 };
	forged.body = bytes_text("no rules");
	sha256_of(forged.body, forged.digest);
	tell(forged);
	assert_found(AUDIT_RULES);
}

static void the_wrong_order(void **state)
{
	(void)state;
	begin();
	tell_replica(LEDGER_REMOVED, 100, 0, 0);
	assert_found(AUDIT_ORDER);
	tell_sent(100, "eu/ie/eu-west-1/b/n2");
	assert_found(AUDIT_ORDER);
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	assert_found(AUDIT_ORDER);
	tell_replica(LEDGER_PURGED, 100, 0, 0);
	assert_found(AUDIT_ORDER);
	tell((struct ledger_record){
		.kind = LEDGER_CREATED, .flags = LEDGER_RECONCILED, .shard = 200, .replica = 201 });
	assert_found(AUDIT_UNRECORDED);
	tell_started(3, "eu/ie/eu-west-1/a/n1");
	assert_found(AUDIT_IDENTITY);
	tell_started(3, "eu/ie/eu-west-1/a/n2");
	assert_found(AUDIT_IDENTITY);
}

static void sleep_s(uint64_t seconds)
{
	slept_us += seconds * 1000000;
}

/* By the rules that were in force when it was removed, whatever they are afterwards. */
static void purges_that_were_late(void **state)
{
	(void)state;
	begin();
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_replica(LEDGER_CREATED, 101, 50, 7);
	tell_replica(LEDGER_CREATED, 102, 50, 7);
	tell_replica(LEDGER_REMOVED, 100, 0, 0);
	sleep_s(23 * 3600);
	tell_replica(LEDGER_PURGED, 100, 0, 0);
	within_s = 60;
	tell_policy(50, 8, "eu", "");
	tell_replica(LEDGER_REMOVED, 101, 0, 0);
	within_s = 3600;
	tell_policy(50, 9, "eu", "");
	tell_replica(LEDGER_REMOVED, 102, 0, 0);
	sleep_s(60);
	assert_int_equal(finding_count, 0);
	tell_replica(LEDGER_PURGED, 101, 0, 0);
	assert_found(AUDIT_LATE);
	tell_replica(LEDGER_PURGED, 102, 0, 0);
	assert_int_equal(finding_count, 0);
	uint32_t count;
	assert_int_equal(audit_policies(audit, &count)[0].late, 1);
	assert_int_equal(count, 1);
}

/* What nobody has purged is found too, by the last that the ledger says or by when it was read. */
static void purges_that_never_came(void **state)
{
	(void)state;
	within_s = 60;
	begin();
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_replica(LEDGER_REMOVED, 100, 0, 0);
	sleep_s(59);
	tell_started(2, "eu/ie/eu-west-1/a/n1");
	audit_end(audit, 0);
	assert_int_equal(finding_count, 0);
	audit_end(audit, slept_us + 2000000);
	assert_found(AUDIT_LATE);
	sleep_s(2);
	tell_started(2, "eu/ie/eu-west-1/a/n1");
	audit_end(audit, 0);
	assert_found(AUDIT_LATE);
}

/* A witness has nothing to be purged of, and meta no bytes of a user's. */
static void nothing_to_purge(void **state)
{
	(void)state;
	within_s = 60;
	tell_started(3, "eu/ie/eu-west-1/a/n1");
	tell_region("eu/ie/eu-west-1", "");
	tell_rules(50, 7, "us", "", "eu/ie");
	tell((struct ledger_record){ .kind = LEDGER_CREATED,
		.flags = LEDGER_WITNESS,
		.shard = 100,
		.replica = 101,
		.policy = 50,
		.policy_epoch = 7 });
	tell((struct ledger_record){ .kind = LEDGER_CREATED, .shard = 1, .replica = 2 });
	tell((struct ledger_record){ .kind = LEDGER_REMOVED, .shard = 100, .replica = 101 });
	tell((struct ledger_record){ .kind = LEDGER_REMOVED, .shard = 1, .replica = 2 });
	sleep_s(3600);
	tell((struct ledger_record){ .kind = LEDGER_PURGED, .shard = 100, .replica = 101 });
	audit_end(audit, slept_us + 1000000);
	assert_int_equal(finding_count, 0);
}

static void deletions_that_stayed(void **state)
{
	(void)state;
	begin();
	tell_replica(LEDGER_OVERDUE, 100, 0, 0);
	assert_found(AUDIT_ORDER); /* it is not here */
	tell_replica(LEDGER_CREATED, 100, 50, 7);
	tell_replica(LEDGER_ERASED, 100, 0, 0);
	assert_found(AUDIT_ORDER); /* it was not late */
	tell_replica(LEDGER_OVERDUE, 100, 0, 0);
	assert_found(AUDIT_LATE);
	uint32_t count;
	assert_true(audit_replicas(audit, &count)[0].overdue);
	tell_replica(LEDGER_OVERDUE, 100, 0, 0);
	assert_found(AUDIT_ORDER);
	tell_replica(LEDGER_ERASED, 100, 0, 0);
	assert_false(audit_replicas(audit, &count)[0].overdue);
	tell_replica(LEDGER_OVERDUE, 100, 0, 0);
	assert_found(AUDIT_LATE);
	tell_replica(LEDGER_REMOVED, 100, 0, 0);
	assert_false(audit_replicas(audit, &count)[0].overdue);
	tell_replica(LEDGER_ERASED, 100, 0, 0);
	assert_found(AUDIT_ORDER);
	tell_replica(LEDGER_PURGED, 100, 0, 0);
	assert_int_equal(finding_count, 0);
	assert_int_equal(audit_policies(audit, &count)[0].late, 2);
}

/* Bytes have one meaning, and a meaning one encoding. */
static void no_other_encoding(void **state)
{
	(void)state;
	uint8_t bytes[512];
	struct ledger_record record = at_place(LEDGER_SNAPSHOT_SENT, "eu/ie/eu-west-1/b/n2"), read;
	struct packer packer;
	struct prng prng;
	record.sequence = 5;
	record.shard = record.replica = record.node = 7;
	pack_init(&packer, bytes, sizeof(bytes));
	ledger_record_encode(&record, &packer);
	struct bytes whole = pack_result(&packer);
	assert_int_equal(ledger_record_decode(bytes_of(bytes, whole.size - 1), &read), STATUS_INVALID);
	bytes[whole.size] = 0;
	assert_int_equal(ledger_record_decode(bytes_of(bytes, whole.size + 1), &read), STATUS_INVALID);
	bytes[0]++;
	assert_int_equal(ledger_record_decode(whole, &read), STATUS_UNSUPPORTED);
	bytes[0]--;
	bytes[1] = LEDGER_KINDS;
	assert_int_equal(ledger_record_decode(whole, &read), STATUS_INVALID);
	bytes[1] = LEDGER_REMOVED; /* which has no place */
	assert_int_equal(ledger_record_decode(whole, &read), STATUS_INVALID);
	bytes[1] = LEDGER_SNAPSHOT_SENT;
	prng_seed(&prng, 3);
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t damaged[512], again[512];
		memcpy(damaged, bytes, whole.size);
		for (uint64_t flips = 1 + prng_below(&prng, 3); flips > 0; flips--)
			damaged[prng_below(&prng, whole.size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
		if (ledger_record_decode(bytes_of(damaged, whole.size), &read) != STATUS_OK)
			continue;
		pack_init(&packer, again, sizeof(again));
		ledger_record_encode(&read, &packer);
		assert_true(bytes_equal(pack_result(&packer), bytes_of(damaged, whole.size)));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A region that was removed and another registered inside it, or around it: the newer one's tags count. */
static void a_region_in_the_place_of_another(void **state)
{
	(void)state;
	tell_started(5, "eu/ie/eu-west-1/a/n1");
	tell_region("eu/ie/eu-west-1", "cloud=old");
	tell_rules(7, 4, "*", "cloud=bad", "");
	tell_region("eu/ie", "cloud=bad");
	struct ledger_record created = { .kind = LEDGER_CREATED, .policy = 7, .shard = 9, .replica = 11 };
	created.policy_epoch = 4;
	tell(created);
	assert_int_equal(finding_count, 1);
	assert_int_equal(findings[0], AUDIT_AGAINST_RULES);
	tell_region("eu/ie/eu-west-1", "cloud=good");
	created.shard = 10;
	created.replica = 12;
	tell(created);
	assert_int_equal(finding_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(a_good_life), TEST(a_copy_where_it_may_not_be),
		TEST(a_snapshot_to_where_it_may_not_be), TEST(keys_to_where_they_may_not_be), TEST(a_witness_with_keys),
		TEST(a_witness_where_copies_may_not_be), TEST(rules_that_change), TEST(rules_that_are_missing),
		TEST(the_wrong_order), TEST(purges_that_were_late), TEST(purges_that_never_came),
		TEST(nothing_to_purge), TEST(deletions_that_stayed), TEST(a_region_in_the_place_of_another),
		TEST(no_other_encoding) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
