/* policy/rules_internal.h: what the files of policy/ share about rules: flaws as texts, and the order of selectors.
 * Folder-internal. */
#ifndef DOMICILE_POLICY_RULES_INTERNAL_H
#define DOMICILE_POLICY_RULES_INTERNAL_H

#include "policy/rules.h"

enum { NUMBER_TEXT_MAX = 21 };

/* Fills the flaw from lists of strings that end with NULL, the line from the policy. Returns false, for `return`. */
bool flaw_set(struct flaw *flaw, const struct policy *policy, const char *const reason[], const char *const cure[]);
#define REASON(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define CURE(...)   ((const char *const[]){ __VA_ARGS__, NULL })

const char *number_text(char out[NUMBER_TEXT_MAX], uint64_t number);

/* NULL, or the name of the field that is out of range or of no form. Contradictions are policy_check's. */
const char *policy_malformed(const struct policy *policy);

/* As texts: whatever matches inner matches outer. A tag and a place never cover one another. */
bool selector_covers(const struct selector *outer, const struct selector *inner);
bool selectors_cover(const struct selectors *outer, const struct selector *inner);

#endif
