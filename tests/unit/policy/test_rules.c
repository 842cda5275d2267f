/* tests/unit/policy/test_rules.c: defaults, contradictions, what a policy says of a site, and its bytes and words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/unit/policy/policies.h"

static struct policy complete(struct policy policy, uint32_t given)
{
	policy_complete(&policy, given);
	return policy;
}

static void test_defaults(void **state)
{
	(void)state;
	struct policy policy = complete(policy_named("p", "eu us"), FIELD_STORE_IN);
	assert_int_equal(policy.copies, 3);
	assert_int_equal(policy.spread, SPREAD_NODE);
	assert_int_equal(policy.survive, SURVIVE_NODE);
	assert_int_equal(policy.ack, ACK_MAJORITY);
	assert_int_equal(policy.reads, READS_LEADER);
	assert_int_equal(policy.transit, TRANSIT_STAY);
	assert_int_equal(policy.lead_in.count, 0);
	assert_int_equal(policy.read_from.count, 2);
	assert_string_equal(policy.write_from.at[1].text, "us");
	struct flaw flaw;
	assert_true(policy_check(&policy, &flaw));
}

static uint8_t survive_of(uint8_t copies, uint8_t spread, uint8_t ack, uint8_t ack_count)
{
	struct policy policy = policy_named("p", "*");
	policy.copies = copies;
	policy.spread = spread;
	policy.ack = ack;
	policy.ack_count = ack_count;
	policy_complete(&policy, FIELD_COPIES | FIELD_SPREAD | FIELD_ACK);
	struct flaw flaw;
	assert_true(policy_check(&policy, &flaw));
	return policy.survive;
}

static void test_survive_follows_the_spread(void **state)
{
	(void)state;
	assert_int_equal(survive_of(3, SPREAD_NODE, ACK_MAJORITY, 0), SURVIVE_NODE);
	assert_int_equal(survive_of(3, SPREAD_ZONE, ACK_MAJORITY, 0), SURVIVE_ZONE);
	assert_int_equal(survive_of(5, SPREAD_REGION, ACK_MAJORITY, 0), SURVIVE_REGION);
	/* but nothing survives where one copy, or all, must be there */
	assert_int_equal(survive_of(1, SPREAD_REGION, ACK_MAJORITY, 0), SURVIVE_NONE);
	assert_int_equal(survive_of(2, SPREAD_REGION, ACK_MAJORITY, 0), SURVIVE_NONE);
	assert_int_equal(survive_of(3, SPREAD_REGION, ACK_COPIES, 3), SURVIVE_NONE);
	assert_int_equal(survive_of(3, SPREAD_REGION, ACK_COPIES, 1), SURVIVE_NONE);
	assert_int_equal(survive_of(5, SPREAD_REGION, ACK_COPIES, 2), SURVIVE_REGION);
	assert_int_equal(survive_of(3, SPREAD_REGION, ACK_REGIONS, 2), SURVIVE_REGION);
	assert_int_equal(survive_of(3, SPREAD_REGION, ACK_REGIONS, 3), SURVIVE_NONE);
	struct policy policy = policy_named("p", "eu");
	policy.ack = ACK_ALL_OF;
	policy.ack_areas = selectors("eu/de eu/fr");
	policy.copies = 5;
	assert_int_equal(complete(policy, FIELD_ACK | FIELD_COPIES).survive, SURVIVE_NONE);
	copy_in(&policy, "eu/de", 1);
	copy_in(&policy, "eu/fr", 2);
	assert_int_equal(complete(policy, FIELD_ACK | FIELD_COPIES).survive, SURVIVE_NONE);
	policy.copy_in[0].copies = 2;
	assert_int_equal(complete(policy, FIELD_ACK | FIELD_COPIES).survive, SURVIVE_NODE);
}

static void refuse(const struct policy *policy, const char *part)
{
	struct flaw flaw;
	assert_false(policy_check(policy, &flaw));
	if (!strstr(flaw.reason, part))
		fail_msg("'%s' does not speak of '%s'", flaw.reason, part);
	assert_true(strlen(flaw.cure) > 0);
	assert_int_equal(flaw.line, policy->line);
}

#define REFUSE(change, part)                                                                                           \
	do {                                                                                                           \
		struct policy p = complete(policy_named("p", "eu"), FIELD_STORE_IN);                                   \
		p.line = 7;                                                                                            \
		change;                                                                                                \
		refuse(&p, part);                                                                                      \
	} while (0)

static void test_malformed(void **state)
{
	(void)state;
	REFUSE(p.name[0] = 0, "name");
	REFUSE(p.name[0] = '-', "name");
	REFUSE(p.name[0] = 'P', "name");
	REFUSE(memset(p.name, 'a', sizeof(p.name)), "name");
	REFUSE(p.store_in.count = 0, "store_in is empty");
	REFUSE(p.store_in.count = SELECTORS_MAX + 1, "store_in");
	REFUSE(p.copies = 0, "copies is 0");
	REFUSE(p.copies = 8, "copies is 8");
	REFUSE(p.spread = 0, "spread");
	REFUSE(p.spread = 4, "spread");
	REFUSE(p.survive = 4, "survive");
	REFUSE(p.ack = 4, "ack");
	REFUSE(p.ack = ACK_COPIES, "ack asks for nothing");
	REFUSE(p.ack = ACK_ALL_OF, "ack asks for nothing");
	REFUSE(p.reads = 2, "reads");
	REFUSE(p.transit = 2, "transit");
	REFUSE(p.isolated_stale_ms = ISOLATED_STALE_MS_MAX + 1, "isolated");
	REFUSE(p.erase_within_s = ERASE_WITHIN_S_MIN - 1, "erase_within");
	REFUSE(p.erase_within_s = ERASE_WITHIN_S_MAX + 1, "erase_within");
	REFUSE(p.read_from.at[0].kind = SELECTOR_TAG, "read_from");
	REFUSE(memset(p.write_from.at[0].text, 'a', SELECTOR_TEXT_MAX), "write_from");
	REFUSE(copy_in(&p, "eu/de", 0), "copy_in");
}

static void witnessed(struct policy *policy)
{
	policy->witness_in = selectors("uk");
	policy_complete(policy, FIELD_STORE_IN | FIELD_WITNESS_IN);
}

static void test_contradictions(void **state)
{
	(void)state;
	REFUSE(p.never_in = selectors("eu"), "never_in forbids every place");
	REFUSE(p.never_in = selectors("*"), "never_in forbids every place");
	REFUSE(copy_in(&p, "us", 1), "copy_in names us");
	REFUSE((copy_in(&p, "eu/de", 1), p.never_in = selectors("eu/de")), "never_in forbids");
	REFUSE(p.lead_in = selectors("eu/de us"), "lead_in names us");
	REFUSE((p.ack = ACK_ALL_OF, p.ack_areas = selectors("us")), "ack names us");
	REFUSE(copy_in(&p, "eu/de", 4), "asks for 4 copies");
	REFUSE((copy_in(&p, "eu/de", 2), copy_in(&p, "eu/fr", 2)), "asks for 4 copies, but copies is 3");
	REFUSE((copy_in(&p, "eu", 1), copy_in(&p, "eu/de", 2), copy_in(&p, "eu/fr", 2)), "asks for 4 copies");
	REFUSE((p.ack = ACK_COPIES, p.ack_count = 4), "ack asks for 4 copies");
	REFUSE((p.ack = ACK_REGIONS, p.ack_count = 4), "ack asks for 4 regions");
	REFUSE((p.ack = ACK_COPIES, p.ack_count = 3), "writes would stop");
	REFUSE((p.ack = ACK_COPIES, p.ack_count = 1), "no leader can be elected");
	REFUSE(p.copies = 2, "writes would stop");
	REFUSE(p.survive = SURVIVE_REGION, "survive is region, but spread is node");
	REFUSE((p.survive = SURVIVE_REGION, p.spread = SPREAD_ZONE), "survive is region, but spread is zone");
	REFUSE((p.survive = SURVIVE_REGION, p.copies = 4), "survive is region, but spread is node");
	REFUSE(p.witness_in = selectors("uk"), "witness_in is for two copies");
	REFUSE((p.witness_in = selectors("uk"), p.copies = 2), "witness_in is for two copies");
	REFUSE((witnessed(&p), p.ack = ACK_COPIES, p.ack_count = 1), "with witness_in, ack is majority");
	REFUSE((witnessed(&p), p.ack = ACK_ALL_OF, p.ack_areas = selectors("eu")), "with witness_in, ack is majority");
	REFUSE((witnessed(&p), p.ack = ACK_COPIES, p.ack_count = 2), "ack asks for both copies always");
	REFUSE((witnessed(&p), p.ack = ACK_REGIONS, p.ack_count = 2), "ack asks for both copies always");
}

static void accept(struct policy policy)
{
	struct flaw flaw;
	if (!policy_check(&policy, &flaw))
		fail_msg("%s", flaw.reason);
	assert_string_equal(flaw.reason, "");
}

static void test_no_contradictions(void **state)
{
	(void)state;
	struct policy p = complete(policy_named("p", "eu"), FIELD_STORE_IN);
	/* nested: the copy in eu/de is one of the three in eu */
	copy_in(&p, "eu", 3);
	copy_in(&p, "eu/de", 1);
	copy_in(&p, "eu/de/eu-central-1", 1);
	copy_in(&p, "eu/fr", 2);
	copy_in(&p, "cloud=aws", 3);
	accept(p);
	p.copies = 5;
	p.survive = SURVIVE_REGION; /* 2 + 2 + 1 */
	accept(p);
	p = complete(policy_named("p", "eu"), FIELD_STORE_IN);
	copy_in(&p, "eu/de", 2); /* twice the same is once */
	copy_in(&p, "eu/de", 2);
	accept(p);
	p = complete(policy_named("0-p", "*"), FIELD_STORE_IN);
	p.never_in = selectors("us cloud=aws");
	p.lead_in = selectors("eu");
	accept(p);
}

/* Two copies and a tie-breaker: the loss of a region is survived, or, where ack forbids it, nothing is promised. */
static void test_a_witness_makes_two_copies_enough(void **state)
{
	(void)state;
	struct flaw flaw;
	struct policy p = policy_named("p", "eu");
	witnessed(&p);
	assert_int_equal(p.copies, 2);
	assert_int_equal(p.spread, SPREAD_REGION);
	assert_int_equal(p.survive, SURVIVE_REGION);
	accept(p);
	assert_false(policy_doubt(&p, &flaw));
	struct quorum_rule rule = policy_quorum_rule(&p);
	assert_true(rule.voters == 0 && rule.copies == 2 && rule.degrade == DEGRADE_MAY);
	p.never_in = selectors("uk"); /* speaks of bytes */
	accept(p);
	struct site there = site("uk/lon/eu-west-2", "");
	assert_true(policy_may_witness(&p, &there));
	assert_false(policy_may_store(&p, &there));
	p.witness_in = selectors("uk eu/de");
	assert_true(policy_doubt(&p, &flaw));
	assert_non_null(strstr(flaw.reason, "witness_in names eu/de"));
	p = policy_named("p", "eu");
	p.ack = ACK_COPIES;
	p.ack_count = 2;
	p.witness_in = selectors("uk");
	policy_complete(&p, FIELD_STORE_IN | FIELD_WITNESS_IN | FIELD_ACK);
	assert_int_equal(p.survive, SURVIVE_NONE);
	accept(p);
	assert_int_equal(policy_quorum_rule(&p).degrade, DEGRADE_NEVER);
}

static void test_sites(void **state)
{
	(void)state;
	struct policy p = policy_named("p", "eu");
	p.never_in = selectors("cloud=x-corp eu/uk");
	p.read_from = selectors("eu us");
	p.lead_in = selectors("eu/de tier=edge");
	policy_complete(&p, FIELD_READ_FROM);
	struct site de = site("eu/de/eu-central-1/a/n1", "cloud=aws");
	struct site x = site("eu/ie/eu-west-1", "cloud=x-corp");
	struct site uk = site("eu/uk/london", "");
	struct site us = site("us/us-east-1", "cloud=aws");
	struct site edge = site("eu/fr/paris", "cloud=aws tier=edge");
	struct site fr = site("eu/fr/lyon", "");
	struct site europe = site("europe/fr", "");
	assert_true(policy_may_store(&p, &de));
	assert_false(policy_may_store(&p, &x));
	assert_false(policy_may_store(&p, &uk));
	assert_false(policy_may_store(&p, &us));
	assert_false(policy_may_store(&p, &europe));
	assert_true(policy_may_read(&p, &us));
	assert_false(policy_may_write(&p, &us));
	assert_true(policy_may_write(&p, &de));
	assert_false(policy_may_relay(&p, &us));
	assert_true(policy_may_relay(&p, &de));
	p.transit = TRANSIT_ANY;
	assert_true(policy_may_relay(&p, &us));
	assert_int_equal(policy_lead_rank(&p, &de), 0);
	assert_int_equal(policy_lead_rank(&p, &edge), 1);
	assert_true(policy_lead_rank(&p, &fr) == UINT_MAX);
	assert_true(policy_lead_rank(&p, &us) == UINT_MAX);
	p.lead_in.count = 0;
	assert_int_equal(policy_lead_rank(&p, &fr), 0);
	assert_true(policy_lead_rank(&p, &x) == UINT_MAX);
}

static void test_quorum_rule(void **state)
{
	(void)state;
	struct policy p = complete(policy_named("p", "eu"), FIELD_STORE_IN);
	struct quorum_rule rule = policy_quorum_rule(&p);
	assert_true(rule.voters == 0 && rule.regions == 0 && rule.copies == 0 && rule.areas == 0);
	p.ack = ACK_COPIES;
	p.ack_count = 2;
	rule = policy_quorum_rule(&p);
	assert_true(rule.voters == 2 && rule.regions == 0 && rule.copies == 2 && rule.areas == 0);
	p.ack = ACK_REGIONS;
	rule = policy_quorum_rule(&p);
	assert_true(rule.voters == 0 && rule.regions == 2 && rule.copies == 0 && rule.areas == 0);
	p.ack = ACK_ALL_OF;
	p.ack_areas = selectors("eu/de eu cloud=aws");
	rule = policy_quorum_rule(&p);
	assert_true(rule.voters == 0 && rule.regions == 0 && rule.copies == 0 && rule.areas == 7);
	struct site de = site("eu/de/eu-central-1", "");
	struct site us = site("us/us-east-1", "cloud=aws");
	assert_int_equal(policy_areas(&p, &de), 3);
	assert_int_equal(policy_areas(&p, &us), 4);
	p.ack = ACK_MAJORITY;
	assert_int_equal(policy_areas(&p, &de), 0);
}

/* --- bytes ------------------------------------------------------------------------------------------ */

static struct policy random_policy(struct prng *prng)
{
	static const char *const words[] = { "eu", "eu/de", "us/us-east-1", "*", "cloud=aws", "ap/sg", "tier=edge" };
	struct policy p = { .id = prng_next(prng), .epoch = prng_next(prng) };
	struct selectors *lists[] = { &p.store_in, &p.never_in, &p.lead_in, &p.read_from, &p.write_from, &p.ack_areas,
		&p.witness_in };
	p.name[0] = (char)('a' + prng_below(prng, 26));
	p.name[1] = (char)('0' + prng_below(prng, 10));
	for (unsigned i = 0; i < 6; i++)
		for (uint64_t n = (i == 0) + prng_below(prng, i == 5 ? 8 : 15); n > 0; n--)
			lists[i]->at[lists[i]->count++] = selector(words[prng_below(prng, 7)]);
	for (uint64_t n = prng_below(prng, COPY_RULES_MAX + 1); n > 0; n--)
		copy_in(&p, words[prng_below(prng, 7)], (uint8_t)(1 + prng_below(prng, 7)));
	p.copies = (uint8_t)(1 + prng_below(prng, 7));
	p.spread = (uint8_t)(1 + prng_below(prng, 3));
	p.survive = (uint8_t)prng_below(prng, 4);
	p.ack = (uint8_t)prng_below(prng, p.ack_areas.count ? 4 : 3);
	p.ack_count = (uint8_t)(1 + prng_below(prng, 7));
	p.reads = (uint8_t)prng_below(prng, 2);
	p.transit = (uint8_t)prng_below(prng, 2);
	p.follow = prng_below(prng, 2);
	p.isolated_stale_ms = (uint32_t)(prng_below(prng, 2) * prng_below(prng, ISOLATED_STALE_MS_MAX + 1));
	p.erase_within_s = (uint32_t)(ERASE_WITHIN_S_MIN + prng_below(prng, 1000));
	return p;
}

static size_t encode(const struct policy *policy, uint8_t *out, size_t capacity)
{
	struct packer packer;
	pack_init(&packer, out, capacity);
	policy_encode(policy, &packer);
	assert_false(packer.overflow);
	return packer.size;
}

static void test_bytes_and_back(void **state)
{
	(void)state;
	static uint8_t bytes[32768];
	struct prng prng;
	prng_seed(&prng, 7);
	for (unsigned run = 0; run < 500; run++) {
		struct policy before = random_policy(&prng);
		struct policy after;
		struct unpacker unpacker;
		size_t size = encode(&before, bytes, sizeof(bytes));
		unpack_init(&unpacker, bytes_of(bytes, size));
		assert_int_equal(policy_decode(&unpacker, &after), STATUS_OK);
		assert_true(unpack_end(&unpacker));
		assert_memory_equal(&before, &after, sizeof(before));
		assert_true(policy_equal(&before, &after));
		for (size_t cut = 0; cut < size; cut += 1 + size / 50) {
			unpack_init(&unpacker, bytes_of(bytes, cut));
			assert_int_equal(policy_decode(&unpacker, &after), STATUS_INVALID);
			assert_true(unpacker.bad);
			assert_int_equal(after.store_in.count, 0);
		}
	}
}

/* Whatever is decoded, is of a form that the rest may rely on. */
static void test_damaged_bytes(void **state)
{
	(void)state;
	static uint8_t bytes[32768];
	struct prng prng;
	prng_seed(&prng, 8);
	unsigned accepted = 0;
	for (unsigned run = 0; run < 20000; run++) {
		struct policy before = random_policy(&prng);
		struct policy after;
		struct unpacker unpacker;
		size_t size = encode(&before, bytes, sizeof(bytes));
		bytes[prng_below(&prng, size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
		unpack_init(&unpacker, bytes_of(bytes, size));
		if (policy_decode(&unpacker, &after) != STATUS_OK)
			continue;
		accepted++;
		struct flaw flaw;
		assert_true(after.copies >= 1 && after.copies <= COPIES_MAX && after.store_in.count > 0);
		if (policy_check(&after, &flaw))
			assert_true(policy_quorum_rule(&after).voters <= COPIES_MAX);
	}
	assert_true(accepted > 100);
	struct unpacker unpacker;
	struct policy after;
	for (unsigned version = 0; version < 256; version++) { /* another version is named as such */
		bytes[0] = (uint8_t)version;
		unpack_init(&unpacker, bytes_of(bytes, 100));
		assert_int_equal(policy_decode(&unpacker, &after) == STATUS_UNSUPPORTED, version != 4);
	}
}

static void test_equal(void **state)
{
	(void)state;
	struct policy a = complete(policy_named("p", "eu"), FIELD_STORE_IN);
	copy_in(&a, "eu/de", 1);
	struct policy b = a;
	b.id = 9;
	b.epoch = 9;
	b.line = 9;
	b.ack_count = 5; /* of no meaning with a majority */
	assert_true(policy_equal(&a, &b));
#define DIFFERS(change)                                                                                                \
	b = a;                                                                                                         \
	change;                                                                                                        \
	assert_false(policy_equal(&a, &b))
	DIFFERS(b.name[0] = 'q');
	DIFFERS(b.store_in = selectors("us"));
	DIFFERS(b.store_in = selectors("eu us"));
	DIFFERS(b.never_in = selectors("us"));
	DIFFERS(b.witness_in = selectors("us"));
	DIFFERS(b.lead_in = selectors("eu"));
	DIFFERS(b.read_from = selectors("us"));
	DIFFERS(b.write_from = selectors("us"));
	DIFFERS(b.copy_in_count = 0);
	DIFFERS(b.copy_in[0].copies = 2);
	DIFFERS(b.copy_in[0].in = selector("eu/fr"));
	DIFFERS(b.copies = 5);
	DIFFERS(b.spread = SPREAD_ZONE);
	DIFFERS(b.survive = SURVIVE_NONE);
	DIFFERS((b.ack = ACK_COPIES, b.ack_count = 2));
	DIFFERS(b.reads = READS_LOCAL);
	DIFFERS(b.transit = TRANSIT_ANY);
	DIFFERS(b.follow = true);
	DIFFERS(b.isolated_stale_ms = 1);
	DIFFERS(b.erase_within_s = 60);
	a.ack = ACK_COPIES;
	a.ack_count = 2;
	DIFFERS(b.ack_count = 3);
	a.ack = ACK_ALL_OF;
	DIFFERS(b.ack_areas = selectors("eu"));
}

static void test_describe(void **state)
{
	(void)state;
	char out[512];
	struct text text;
	struct policy p = complete(policy_named("p", "eu us"), FIELD_STORE_IN);
	text_init(&text, out, sizeof(out));
	policy_describe(&p, &text);
	assert_string_equal(out,
		"store_in eu, us; 3 copies, no two on one node; survives the loss of a node; ack majority; "
		"reads leader; read_from eu, us; write_from eu, us; transit stay");
	p.lead_in = selectors("eu us");
	p.follow = true;
	p.reads = READS_LOCAL;
	p.isolated_stale_ms = 90000;
	p.erase_within_s = 3600;
	text_init(&text, out, sizeof(out));
	policy_describe(&p, &text);
	assert_string_equal(out,
		"store_in eu, us; 3 copies, no two on one node; survives the loss of a node; ack majority; reads "
		"local; "
		"lead_in eu, us; follow; read_from eu, us; write_from eu, us; transit stay; isolated stale 90s; erase "
		"within 1h");
	p = complete(policy_named("p", "eu us"), FIELD_STORE_IN);
	p.ack = ACK_COPIES;
	p.ack_count = 2;
	p.copies = 1;
	p.survive = SURVIVE_NONE;
	p.never_in = selectors("cloud=x");
	copy_in(&p, "eu/de", 1);
	text_init(&text, out, sizeof(out));
	policy_describe(&p, &text);
	assert_string_equal(out,
		"store_in eu, us; never_in cloud=x; 1 copy; at least 1 in eu/de; survives no loss; ack 2 copies; "
		"reads leader; read_from eu, us; write_from eu, us; transit stay");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_survive_follows_the_spread),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_no_contradictions),
		cmocka_unit_test(test_a_witness_makes_two_copies_enough),
		cmocka_unit_test(test_sites),
		cmocka_unit_test(test_quorum_rule),
		cmocka_unit_test(test_bytes_and_back),
		cmocka_unit_test(test_damaged_bytes),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_describe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
