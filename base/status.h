/* base/status.h: how anything in Domicile can fail, one list for core, wire, client and tools.
 *
 * The number of a status is its number on the wire, the value of `enum dom_status`, and, where both
 * exist, the exit code of domctl. Append only: a released number keeps its meaning. 2, 12, 14 and 15 are
 * exit codes and never a status. */
#ifndef DOMICILE_BASE_STATUS_H
#define DOMICILE_BASE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/* name, number, text, retryable (nothing happened: try again), maybe applied (it may have happened) */
#define STATUS_LIST(X)                                                                                                 \
	X(OK, 0, "ok", false, false)                                                                                   \
	X(NOT_FOUND, 1, "not found", false, false)                                                                     \
	X(RESIDENCY_REFUSED, 3, "refused by residency", false, false)                                                  \
	X(POLICY_MISMATCH, 4, "the key is bound to another policy", true, false)                                       \
	X(QUORUM_UNAVAILABLE, 5, "no quorum is known", true, false)                                                    \
	X(UNKNOWN_OUTCOME, 6, "the outcome is unknown", false, true)                                                   \
	X(TIMED_OUT, 7, "timed out", true, false)                                                                      \
	X(BUSY, 8, "busy", true, false)                                                                                \
	X(TOO_LARGE, 9, "too large", false, false)                                                                     \
	X(INVALID, 10, "invalid", false, false)                                                                        \
	X(CANNOT_CONNECT, 11, "cannot connect", true, false)                                                           \
	X(CLOSED, 13, "closed", false, true)                                                                           \
	X(CONFLICT, 16, "conflict", false, false)                                                                      \
	X(NO_MEMORY, 17, "out of memory", false, false)                                                                \
	X(CANCELLED, 18, "cancelled", false, false)                                                                    \
	/* below: inside the product; never reaches a client as a final answer */                                      \
	X(NOT_LEADER, 40, "another replica leads", true, false)                                                        \
	X(STALE_MAP, 41, "a newer map is in force", true, false)                                                       \
	X(CORRUPT, 42, "data failed its checksum", false, false)                                                       \
	X(IO, 43, "the disk refused", false, false)                                                                    \
	X(NO_SPACE, 44, "the disk is full", true, false)                                                               \
	X(DENIED, 45, "denied", false, false)                                                                          \
	X(UNSUPPORTED, 46, "not supported", false, false)                                                              \
	X(END, 47, "no more", false, false)

enum status {
#define X(name, number, text, retryable, maybe) STATUS_##name = number,
	STATUS_LIST(X)
#undef X
};

#define MUST __attribute__((warn_unused_result))

const char *status_name(enum status status); /* "RESIDENCY_REFUSED"; "UNKNOWN" for a number not listed */
const char *status_text(enum status status);
bool status_known(uint32_t number);
bool status_retryable(enum status status);
bool status_maybe_applied(enum status status);

#endif
