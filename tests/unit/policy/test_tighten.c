/* tests/unit/policy/test_tighten.c: a policy inside another allows nothing that the other forbids: field by field, and
 * for random pairs, over every site that could be registered later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/unit/policy/policies.h"

static struct site sites[6];
enum { SITES = sizeof(sites) / sizeof(sites[0]) };

static int set_up(void **state)
{
	(void)state;
	sites[0] = site("eu/de/eu-central-1", "cloud=aws");
	sites[1] = site("eu/ie/eu-west-1", "cloud=aws");
	sites[2] = site("eu/fr/paris", "cloud=x-corp");
	sites[3] = site("us/us-east-1", "cloud=aws tier=edge");
	sites[4] = site("us/us-west-2", "cloud=aws");
	sites[5] = site("ap/sg/ap-southeast-1", "cloud=aws");
	return 0;
}

static struct policy made(const char *name, const char *store_in, const char *never_in)
{
	struct policy policy = policy_named(name, store_in);
	policy.never_in = selectors(never_in);
	policy_complete(&policy, FIELD_STORE_IN | FIELD_NEVER_IN);
	return policy;
}

static void check(struct policy inner, struct policy outer, const char *field)
{
	struct flaw flaw;
	bool tightens = policy_tightens(&inner, &outer, sites, SITES, &flaw);
	if (!field && !tightens)
		fail_msg("%s", flaw.reason);
	if (!field)
		return;
	assert_false(tightens);
	if (strncmp(flaw.reason, field, strlen(field)) != 0)
		fail_msg("'%s' does not begin with '%s'", flaw.reason, field);
	assert_non_null(strstr(flaw.cure, field));
}

static void test_store_in(void **state)
{
	(void)state;
	check(made("in", "eu", ""), made("out", "*", ""), NULL);
	check(made("in", "eu", ""), made("out", "eu", ""), NULL);
	check(made("in", "eu/de eu/fr", ""), made("out", "us eu", ""), NULL);
	check(made("in", "*", ""), made("out", "eu", ""), "store_in");
	check(made("in", "*", ""), made("out", "eu us ap", ""), "store_in"); /* all of today's, not all of tomorrow's */
	check(made("in", "eu", ""), made("out", "eu/de", ""), "store_in");
	check(made("in", "eu uk", ""), made("out", "eu", ""), "store_in"); /* nothing is in uk yet */
	check(made("in", "europe", ""), made("out", "eu", ""), "store_in");
}

static void test_never_in(void **state)
{
	(void)state;
	check(made("in", "eu/de", ""), made("out", "eu", "eu/fr"), NULL);
	check(made("in", "eu", "eu/fr"), made("out", "eu", "eu/fr"), NULL);
	check(made("in", "eu", "eu/fr"), made("out", "eu", "eu/fr/paris"), NULL);
	check(made("in", "eu", ""), made("out", "eu", "eu/fr"), "store_in");
	check(made("in", "eu", ""), made("out", "eu", "eu/uk"), "never_in"); /* nothing is in eu/uk yet */
	check(made("in", "eu/de", ""), made("out", "eu", "cloud=x-corp"), "never_in");
	check(made("in", "eu/de", "cloud=x-corp"), made("out", "eu", "cloud=x-corp"), NULL);
	check(made("in", "cloud=aws", ""), made("out", "*", "ap/sg/zone"), "never_in");
}

static void test_tags(void **state)
{
	(void)state;
	check(made("in", "cloud=aws", ""), made("out", "cloud=aws", ""), NULL);
	check(made("in", "tier=edge", ""), made("out", "us", ""), NULL); /* all with that tag are in us */
	check(made("in", "cloud=aws", ""), made("out", "us", ""), "store_in");
	check(made("in", "cloud=none", ""), made("out", "us", ""), "store_in");	  /* nobody knows where that is */
	check(made("in", "eu/de", ""), made("out", "cloud=aws", ""), "store_in"); /* a place is in no tag */
}

static void test_readers_writers_transit(void **state)
{
	(void)state;
	struct policy outer = made("out", "eu", "");
	struct policy inner = made("in", "eu", "");
	inner.read_from = selectors("eu/de");
	check(inner, outer, NULL);
	inner.read_from = selectors("eu us");
	check(inner, outer, "read_from");
	inner.read_from = selectors("eu uk");
	check(inner, outer, "read_from");
	outer.read_from = selectors("eu uk");
	check(inner, outer, NULL);
	inner.write_from = selectors("us");
	check(inner, outer, "write_from");
	inner.write_from = selectors("");
	check(inner, outer, NULL);
	inner.transit = TRANSIT_ANY;
	check(inner, outer, "transit");
	outer.transit = TRANSIT_ANY;
	check(inner, outer, NULL);
	inner.transit = TRANSIT_STAY;
	check(inner, outer, NULL);
}

static void test_witnesses(void **state)
{
	(void)state;
	struct policy outer = made("out", "eu", ""), inner = made("in", "eu/de", "");
	inner.witness_in = selectors("us");
	check(inner, outer, "witness_in");
	outer.witness_in = selectors("us/us-east-1");
	check(inner, outer, "witness_in");
	inner.witness_in = selectors("us/us-east-1");
	check(inner, outer, NULL);
	inner.witness_in = selectors("uk"); /* no region of it yet */
	check(inner, outer, "witness_in");
	inner.witness_in = selectors("eu/fr"); /* where a copy may be, a witness may */
	check(inner, outer, NULL);
	inner.witness_in = selectors("tier=edge");
	check(inner, outer, NULL);
	inner.witness_in = selectors("cloud=aws");
	check(inner, outer, "witness_in");
	outer.never_in = selectors("eu/fr");
	inner.never_in = selectors("eu/fr");
	inner.witness_in = selectors("eu/fr");
	check(inner, outer, "witness_in");
}

static void test_erase_within(void **state)
{
	(void)state;
	struct policy outer = made("out", "eu", "");
	struct policy inner = made("in", "eu", "");
	inner.erase_within_s = outer.erase_within_s - 1;
	check(inner, outer, NULL);
	check(outer, inner, "erase_within");
}

static void test_the_rest_is_free(void **state)
{
	(void)state;
	struct policy outer = made("out", "eu", "");
	struct policy inner = made("in", "eu", "");
	inner.copies = 1;
	inner.spread = SPREAD_REGION;
	inner.survive = SURVIVE_NONE;
	inner.ack = ACK_COPIES;
	inner.ack_count = 1;
	inner.reads = READS_LOCAL;
	inner.lead_in = selectors("eu/de");
	check(inner, outer, NULL);
	check(outer, inner, NULL);
}

static struct selectors random_selectors(struct prng *prng)
{
	static const char *const words[] = { "eu", "eu/de", "us", "us/us-east-1", "*", "cloud=aws", "cloud=x-corp",
		"tier=edge" };
	struct selectors list = { 0 };
	for (uint64_t n = prng_below(prng, 3); n > 0; n--)
		list.at[list.count++] = selector(words[prng_below(prng, 8)]);
	return list;
}

/* Where tags are judged by the sites that exist, only those can be held against it; places hold for all. */
static void test_what_is_accepted_allows_no_more(void **state)
{
	(void)state;
	struct prng prng;
	prng_seed(&prng, 5);
	unsigned accepted = 0;
	static const char *const places[] = { "eu", "eu/de", "eu/de/x", "eu/uk/x", "us/us-east-1", "us/x", "ap",
		"zz/x" };
	static const char *const tags[] = { "", "cloud=aws", "cloud=x-corp", "tier=edge" };
	for (unsigned run = 0; run < 40000; run++) {
		struct policy p[2] = { policy_named("in", ""), policy_named("out", "") };
		bool tag_in_inner = false;
		for (unsigned i = 0; i < 2; i++) {
			p[i].store_in = random_selectors(&prng);
			p[i].never_in = random_selectors(&prng);
			p[i].read_from = random_selectors(&prng);
			p[i].write_from = random_selectors(&prng);
			p[i].transit = (uint8_t)prng_below(&prng, 2);
			p[i].erase_within_s = 3600 + (uint32_t)(prng_below(&prng, 4) == 0 ? 3600 : 0);
		}
		for (unsigned i = 0; i < p[0].store_in.count; i++)
			tag_in_inner |= p[0].store_in.at[i].kind == SELECTOR_TAG;
		for (unsigned i = 0; i < p[0].read_from.count; i++)
			tag_in_inner |= p[0].read_from.at[i].kind == SELECTOR_TAG;
		struct flaw flaw;
		if (!policy_tightens(&p[0], &p[1], sites, SITES, &flaw))
			continue;
		accepted++;
		assert_true(p[0].transit <= p[1].transit);
		assert_true(p[0].erase_within_s <= p[1].erase_within_s);
		for (unsigned i = 0; i < SITES; i++) {
			assert_true(!policy_may_store(&p[0], &sites[i]) || policy_may_store(&p[1], &sites[i]));
			assert_true(!policy_may_read(&p[0], &sites[i]) || policy_may_read(&p[1], &sites[i]));
			assert_true(!policy_may_write(&p[0], &sites[i]) || policy_may_write(&p[1], &sites[i]));
		}
		for (unsigned i = 0; !tag_in_inner && i < 32; i++) {
			struct site new = site(places[i % 8], tags[i / 8]);
			assert_true(!policy_may_store(&p[0], &new) || policy_may_store(&p[1], &new));
			assert_true(!policy_may_read(&p[0], &new) || policy_may_read(&p[1], &new));
		}
	}
	assert_true(accepted > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store_in),
		cmocka_unit_test(test_never_in),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_readers_writers_transit),
		cmocka_unit_test(test_witnesses),
		cmocka_unit_test(test_erase_within),
		cmocka_unit_test(test_the_rest_is_free),
		cmocka_unit_test(test_what_is_accepted_allows_no_more),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
