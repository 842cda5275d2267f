/* policy/tighten.c: whether one policy may stand inside another (policy_tightens).
 *
 * Two views must agree. The sites that are registered: none may do under the inner what it may not under the outer.
 * And the texts, for the sites of tomorrow: each selector of the inner must lie within one of the outer, and each
 * never_in of the outer must be repeated by the inner, unless their places lie apart. Where texts can not tell (a
 * place against a tag), the answer is no: a `never_in` or a tag written once more costs a line, a hole costs more. */
#include "policy/rules.h"
#include "policy/rules_internal.h"

#include <assert.h>

#include "base/units.h"

struct comparison {
	const struct policy *inner, *outer;
	const struct site *sites;
	unsigned site_count;
	struct flaw *flaw;
};

static bool refuse(const struct comparison *comparison, const char *field, const char *what, const char *why)
{
	const struct policy *inner = comparison->inner;
	const char *outer = comparison->outer->name;
	return flaw_set(comparison->flaw, inner,
		REASON(field, " of ", inner->name, " loosens ", outer, " around it: ", what, why),
		CURE("narrow ", field, " of ", inner->name, " to what ", outer, " allows, or widen ", outer, " first"));
}

typedef bool site_predicate(const struct policy *policy, const struct site *site);

static bool sites_allow_no_more(const struct comparison *comparison, const char *field, site_predicate *allows)
{
	for (unsigned i = 0; i < comparison->site_count; i++) {
		const struct site *site = &comparison->sites[i];
		if (allows(comparison->inner, site) && !allows(comparison->outer, site))
			return refuse(comparison, field, site->place.text, " is allowed by it and not there");
	}
	return true;
}

/* A tag of the inner, where the outer does not name it: there must be sites with it, and the outer must allow each. */
static bool tag_allowed(const struct comparison *comparison, const struct selector *tag, site_predicate *allows)
{
	unsigned matching = 0;
	for (unsigned i = 0; i < comparison->site_count; i++) {
		const struct site *site = &comparison->sites[i];
		if (!selector_matches(tag, &site->place, site->tags, site->tag_count))
			continue;
		matching++;
		if (!allows(comparison->outer, site))
			return false;
	}
	return matching > 0;
}

static bool texts_within(const struct comparison *comparison, const char *field, const struct selectors *inner,
	const struct selectors *outer, site_predicate *allows)
{
	for (unsigned i = 0; i < inner->count; i++) {
		const struct selector *selector = &inner->at[i];
		if (selectors_cover(outer, selector))
			continue;
		if (selector->kind == SELECTOR_TAG && tag_allowed(comparison, selector, allows))
			continue;
		return refuse(comparison, field, selector->text, " is within nothing that it names");
	}
	return true;
}

static bool apart(const struct selector *a, const struct selector *b)
{
	if (a->kind != SELECTOR_PLACE || b->kind != SELECTOR_PLACE)
		return false;
	return !selector_covers(a, b) && !selector_covers(b, a);
}

/* What the outer forbids, the inner forbids too, or never comes near. */
static bool never_kept(const struct comparison *comparison)
{
	const struct policy *inner = comparison->inner;
	const struct policy *outer = comparison->outer;
	for (unsigned i = 0; i < outer->never_in.count; i++) {
		const struct selector *never = &outer->never_in.at[i];
		if (selectors_cover(&inner->never_in, never))
			continue;
		for (unsigned j = 0; j < inner->store_in.count; j++) {
			const struct selector *store = &inner->store_in.at[j];
			if (!apart(store, never) && !selectors_cover(&inner->never_in, store))
				return refuse(comparison, "never_in", never->text, " is forbidden there and not by it");
		}
	}
	return true;
}

/* What a witness tells is less than what a copy does. */
static bool may_witness_or_store(const struct policy *policy, const struct site *site)
{
	return policy_may_witness(policy, site) || policy_may_store(policy, site);
}

static bool witnesses_within(const struct comparison *comparison)
{
	const struct policy *inner = comparison->inner, *outer = comparison->outer;
	for (unsigned i = 0; i < comparison->site_count; i++) {
		const struct site *site = &comparison->sites[i];
		if (policy_may_witness(inner, site) && !may_witness_or_store(outer, site))
			return refuse(comparison, "witness_in", site->place.text, " is allowed by it and not there");
	}
	for (unsigned i = 0; i < inner->witness_in.count; i++) {
		const struct selector *selector = &inner->witness_in.at[i];
		bool copies = selectors_cover(&outer->store_in, selector);
		for (unsigned j = 0; j < outer->never_in.count; j++)
			copies &= apart(selector, &outer->never_in.at[j]);
		if (copies || selectors_cover(&outer->witness_in, selector))
			continue;
		if (selector->kind == SELECTOR_TAG && tag_allowed(comparison, selector, may_witness_or_store))
			continue;
		return refuse(comparison, "witness_in", selector->text, " is within nothing that it names");
	}
	return true;
}

bool policy_tightens(const struct policy *inner, const struct policy *outer, const struct site *sites,
	unsigned site_count, struct flaw *flaw)
{
	assert(sites || site_count == 0);
	*flaw = (struct flaw){ 0 };
	struct comparison comparison = { inner, outer, sites, site_count, flaw };
	if (!sites_allow_no_more(&comparison, "store_in", policy_may_store) || !never_kept(&comparison))
		return false;
	if (!texts_within(&comparison, "store_in", &inner->store_in, &outer->store_in, policy_may_store))
		return false;
	if (!witnesses_within(&comparison))
		return false;
	if (!sites_allow_no_more(&comparison, "read_from", policy_may_read))
		return false;
	if (!texts_within(&comparison, "read_from", &inner->read_from, &outer->read_from, policy_may_read))
		return false;
	if (!sites_allow_no_more(&comparison, "write_from", policy_may_write))
		return false;
	if (!texts_within(&comparison, "write_from", &inner->write_from, &outer->write_from, policy_may_write))
		return false;
	if (inner->transit == TRANSIT_ANY && outer->transit != TRANSIT_ANY)
		return refuse(&comparison, "transit", "any", " gateway may relay values under it");
	if (inner->erase_within_s > outer->erase_within_s) {
		char within[UNITS_TEXT_MAX];
		format_duration(within, sizeof(within), (uint64_t)inner->erase_within_s * 1000000);
		return refuse(&comparison, "erase_within", within, " is longer than there");
	}
	return true;
}
