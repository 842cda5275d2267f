/* policy/quorum_internal.h: the check of quorum.h with the predicates as arguments, so that the tests can show that it
 * finds what a wrong predicate would let through. Folder-internal. */
#ifndef DOMICILE_POLICY_QUORUM_INTERNAL_H
#define DOMICILE_POLICY_QUORUM_INTERNAL_H

#include "policy/quorum.h"

typedef bool quorum_predicate(const struct membership *membership, member_set set);

bool quorum_check_by(const struct membership *membership, enum survive survive, quorum_predicate *commits,
	quorum_predicate *elects, struct quorum_flaw *flaw);

#endif
