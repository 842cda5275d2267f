/* tools/errors.c: see tools/errors.h. */
#include "tools/errors.h"

#include <assert.h>
#include <stdatomic.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/output.h"

const struct error_code error_codes[] = {
	{ "DOM-U001", EXIT_USAGE, "unknown command",
		"The first word is a noun, the second its verb: `domctl key get`. `domctl help` lists them all; the\n"
		"error names the nearest one." },
	{ "DOM-U002", EXIT_USAGE, "unknown flag",
		"Flags may stand anywhere, but each command knows only its own and the global ones: `domctl NOUN\n"
		"VERB --help`. What begins with a dash and is no flag goes behind `--`." },
	{ "DOM-U003", EXIT_USAGE, "a flag's value is missing or not of its type",
		"Durations carry a unit (10s, 250ms), numbers are decimal digits, words are those that help lists." },
	{ "DOM-U004", EXIT_USAGE, "too few or too many arguments", "`domctl NOUN VERB --help` shows what it takes." },
	{ "DOM-U005", EXIT_USAGE, "bytes that do not decode",
		"Keys and values are bytes. By default \\xNN stands for the byte NN and \\\\ for a backslash;\n"
		"--key-format and --value-format choose utf8 (as they are), hex or base64. `-` reads standard\n"
		"input, @FILE a file." },
	{ "DOM-U006", EXIT_USAGE, "no endpoint or no certificates given",
		"A cluster is reached through --endpoint HOST:PORT (or DOMCTL_ENDPOINT) with certificates from\n"
		"--certs DIR (or DOMCTL_CERTS). `domctl demo` makes a cluster and sets both for the command that it\n"
		"runs." },
	{ "DOM-U007", EXIT_USAGE, "the certificate for this is not in the directory",
		"Verbs on the cluster act with admin.crt, verbs on keys with client-REGION.crt of --as-region (or\n"
		"the first one there). Each has its .key beside it, and cas.pem holds the CAs that the nodes'\n"
		"certificates come from." },
	{ "DOM-C001", EXIT_CONNECT, "cannot connect",
		"No endpoint answered within the connect timeout, or the TLS handshake failed: the node is down,\n"
		"the address is another service, the certificate has expired, or cas.pem lacks the CA of the node's\n"
		"region. The reason given is the last one seen. `domctl cert list` shows the dates." },
	{ "DOM-C002", EXIT_CONNECT, "denied",
		"The node knows who you are and says no: only an administrator changes the map, only clients read\n"
		"and write keys, and a certificate must come from the CA that the cluster has pinned for its\n"
		"region." },
	{ "DOM-C003", EXIT_CLOSED, "closed", "The client was closed while the call was open." },
	{ "DOM-R001", EXIT_RESIDENCY, "no binding covers the key",
		"A key that no binding covers has no policy, and so no place where it may be: it is refused before\n"
		"a byte of it leaves this machine. Bind its prefix: `domctl binding set PREFIX POLICY`. The prefix\n"
		"\"\" catches all." },
	{ "DOM-R002", EXIT_RESIDENCY, "the policy does not let this place read the key",
		"`read_from` of the key's policy names the places whose clients may read it; a client's place is\n"
		"its certificate's. Refused before a byte of the key leaves this machine. Use a certificate of an\n"
		"allowed region, or change the policy. `domctl key explain KEY` shows the rule." },
	{ "DOM-R003", EXIT_RESIDENCY, "the policy does not let this place write the key",
		"`write_from` of the key's policy names the places whose clients may write it; a client's place is\n"
		"its certificate's. Refused before a byte of the key leaves this machine. Use a certificate of an\n"
		"allowed region, or change the policy. `domctl key explain KEY --op put` shows the rule." },
	{ "DOM-R004", EXIT_RESIDENCY, "the key's binding is being changed",
		"An operation decides on a new binding of this key; until it ends, writes are refused so that no\n"
		"value can land in shards of the wrong policy. `domctl operation list` shows it." },
	{ "DOM-R005", EXIT_RESIDENCY, "a node refused: residency",
		"The node that was asked may not do this for the place it attests you. Its map may be newer than\n"
		"this tool's: `domctl key explain KEY` reads the newest." },
	{ "DOM-R006", EXIT_RESIDENCY, "rules about places forbid the change",
		"No choice of registered nodes satisfies a policy, or a copy would lie where its policy allows\n"
		"none, or a binding inside another would allow what that forbids: it may only tighten where bytes\n"
		"may be and who may touch them. Nothing was changed. The reason names the rule, and what to change." },
	{ "DOM-P001", EXIT_INVALID, "the file is wrong",
		"Each line names file, line and column, what is wrong and what to change. `domctl policy lint FILE`\n"
		"shows the same without a cluster." },
	{ "DOM-P002", EXIT_INVALID, "the cluster refuses the change",
		"The change contradicts itself or the map: quorums would not intersect, a name is taken, too few\n"
		"nodes are named. Nothing was changed. The reason and the cure are meta's." },
	{ "DOM-P003", EXIT_MISMATCH, "the key is bound to another policy",
		"The call demanded a policy (--must-be), and the key's binding names another one." },
	{ "DOM-P004", EXIT_CONFLICT, "the operation failed",
		"What it had begun is undone or stays as it was; its text says why. A binding takes its keys\n"
		"along; it fails when one of them may not go, or another operation decides on some of them too.\n"
		"One that was cancelled has failed too." },
	{ "DOM-P005", EXIT_CONFLICT, "the world has changed",
		"The change asked for a state that is no longer (or not yet) there: a cluster that exists already,\n"
		"a shard that another operation moves, an epoch that has passed, a plan that no longer holds. Look\n"
		"again, then repeat." },
	{ "DOM-Q001", EXIT_QUORUM, "no quorum",
		"Nothing was proposed: the shard (or meta) has no majority that can hear each other. `domctl\n"
		"status` names the nodes that do not answer. Residency wins over availability: copies never move to\n"
		"a place that may not hold them." },
	{ "DOM-Q002", EXIT_UNKNOWN, "the outcome is unknown",
		"The write was sent and no answer came in time: it may have been applied, or may yet be. Read the\n"
		"key before you repeat it, or repeat it with `key cas`." },
	{ "DOM-Q003", EXIT_TIMED_OUT, "timed out",
		"A read, or a write that was certainly not proposed. Repeating is safe; --timeout allows more." },
	{ "DOM-Q004", EXIT_BUSY, "busy",
		"The node has as much in flight as its memory bound allows. Nothing happened; try again shortly." },
	{ "DOM-K001", EXIT_NOT_FOUND, "no such key",
		"The read found none at the level it asked for, or the key to delete was absent." },
	{ "DOM-K002", EXIT_TOO_LARGE, "too large", "Keys hold up to 4 KiB, values up to 1 MiB." },
	{ "DOM-K003", EXIT_CONFLICT, "the version differs",
		"Compare-and-set found another version than the expected one. The current one is printed: read,\n"
		"decide, repeat." },
	{ "DOM-K004", EXIT_INVALID, "invalid",
		"The request makes no sense as it stands: an empty key, an unsupported level of reading." },
	{ "DOM-M001", EXIT_NOT_FOUND, "the map has no such thing",
		"No region, node, policy, binding, shard or operation of this name. The error names the nearest\n"
		"one; the list verb of the noun shows all." },
	{ "DOM-N001", EXIT_INVALID, "a node's configuration is wrong",
		"domiciled does not start: each line names file, line and column (or flag, or variable), what is\n"
		"wrong and what to change. `domiciled --check-config FILE` shows the same without starting." },
	{ "DOM-N002", EXIT_CONNECT, "a node's certificates cannot be read",
		"domiciled does not start: node.crt, node.key or cas.pem of its `certs` directory is missing, not\n"
		"ours, or the key may be read by others. `domctl cert list` and `domctl cert verify` look at them." },
	{ "DOM-N003", EXIT_CONNECT, "a node's certificate says something else than its configuration",
		"domiciled does not start: place and cluster must equal those in node.crt, which must be a node's.\n"
		"A node does not choose its place: its region's authority attests it." },
	{ "DOM-N004", EXIT_CONNECT, "no other node would accept a node's certificate",
		"domiciled does not start: the certificate does not come from an authority in cas.pem that may sign\n"
		"for its place, or it has expired. Make one with the region's authority: `domctl cert create-node`." },
	{ "DOM-N005", EXIT_CONFLICT, "the data directory is another's",
		"domiciled does not start: the directory belongs to another node or cluster, is a copy, its node\n"
		"was decommissioned, or a process uses it. A copied directory is never a second node; a new node\n"
		"begins with an empty one." },
	{ "DOM-N006", 1, "the data directory cannot be opened",
		"domiciled does not start: the disk refused, or what is there is damaged beyond what a peer could\n"
		"mend." },
	{ "DOM-N007", 1, "a node cannot listen",
		"The address is not of this machine, the port is taken, or the listening file cannot be written." },
	{ "DOM-N008", 1, "a node lacks memory or threads", "The machine gave none at start." },
	{ "DOM-N009", EXIT_CONNECT, "a node's own check of certificates does not work",
		"domiciled refuses to start when a certificate that must be refused would be accepted: look at\n"
		"cas.pem and at this machine's OpenSSL configuration." },
	{ "DOM-N010", 1, "a node stopped because it can no longer keep its promises",
		"The disk failed a write or sync, or every copy of a shard is damaged. The node stops rather than\n"
		"answer from what may be wrong; the other copies go on. Mend the disk, or put a new node, under a\n"
		"name of its own, in its place." },
	{ "DOM-N011", EXIT_CONNECT, "a node's list of revoked certificates cannot be used",
		"domiciled does not start: the file that its `crl` names is missing, torn, or holds a list that its\n"
		"authority did not sign. A node that runs keeps the list it has, also when the new one is older or\n"
		"lacks an authority's, and says so in its log. Make it anew with `domctl cert revoke`." },
	{ "DOM-L001", EXIT_CHECK, "the audit found something",
		"damaged, chain, torn: bytes of the ledger are not what was written, or a file is missing; torn may\n"
		"be a crash's, until the node has started again. head, dropped: meta keeps a head that this ledger\n"
		"does not lead to: its past was written anew, or its end is gone. signature, certificate: the head\n"
		"is not signed by a certificate of this node that the ledger records, or that certificate is not to\n"
		"be trusted. against-rules: a copy or a snapshot was where the policy in force forbade it.\n"
		"no-rules, no-region, rules, rules-differ: the rules by which something happened are missing,\n"
		"contradict themselves, or another node recorded others. unrecorded: a replica was on the disk that\n"
		"no record had announced. order, identity, too-many: the events do not fit each other. Keep the\n"
		"files, and do not let the node go on before the cause is known. late: bytes that were no copy any\n"
		"more stayed on the disk for longer than erase_within of their policy; docs/erasure.md has causes." },
	{ "DOM-L002", EXIT_PARTIAL, "not every node's ledger was read",
		"What was read is in order. A node that does not answer is judged by its files: copy\n"
		"DATA/ledger/*.led from it and give them to `domctl audit verify` with --cas and --heads." },
	{ "DOM-S001", EXIT_CHECK, "degraded",
		"Some node does not answer, some shard has fewer copies than wanted or no leader that answers, or a\n"
		"residency counter is not 0. `domctl status details` names them." },
	{ "DOM-S002", EXIT_CHECK, "measured round trips differ from the configured ones",
		"The demo's proxy could not hold the map's round trips within 2% + 0.3 ms, three times: the machine\n"
		"is too busy for figures to mean anything. Try again with less running beside it." },
	{ "DOM-S003", EXIT_CHECK, "a certificate is not as it should be",
		"It has expired or soon will, or its names do not stand for what was asked." },
	{ "DOM-S004", EXIT_CHECK, "the demo found bytes where they may not be, or missed them where they must be",
		"This is a bug in Domicile. Please report it with the demo's output; --keep DIR keeps the evidence." },
	{ "DOM-S005", EXIT_CHECK, "canaries are where they may not be, or not where they must be",
		"leak: bytes of a key or value are on a node where its policy allows none, or in a file in which\n"
		"there are no keys and values (a log, the ledger, a file that is not Domicile's). stray: on a node\n"
		"that the policy allows and that has no copy of the shard. missing: a node was searched and does\n"
		"not have what it must have, so the search shows nothing about the others either; a copy that lags\n"
		"far behind does that. docs/policy.md has what is searched." },
	{ "DOM-S006", EXIT_PARTIAL, "not all of every node was searched",
		"A node did not answer, is of a version that cannot search, or could not read one of its files. What\n"
		"was searched is in order. `-o wide` names the reason for each." },
	{ "DOM-A001", EXIT_CONFIRM, "needs confirmation",
		"There is no terminal to ask on. Give -y, or --confirm NAME where the help says so." },
	{ "DOM-D001", EXIT_CHECK, "the demo's cluster did not come up",
		"A node stopped or did not join in time; the last lines of its log are shown. --keep DIR keeps the\n"
		"whole log." },
	{ "DOM-D002", EXIT_INVALID, "the demo's map is wrong",
		"The map file has a mistake, or more regions than a node has addresses for (7)." },
	{ "DOM-D003", EXIT_INVALID, "a file or directory cannot be used",
		"It cannot be read or written, or it is not empty where it must be." },
	{ "DOM-X001", EXIT_BUG, "a bug",
		"This should not happen. Please report it with the command line and its output." },
};
const size_t error_code_count = sizeof(error_codes) / sizeof(error_codes[0]);

const struct error_code *error_code_find(const char *code)
{
	if (strncasecmp(code, "DOM-", 4) == 0)
		code += 4;
	for (size_t i = 0; i < error_code_count; i++) {
		if (strcasecmp(error_codes[i].code + 4, code) == 0)
			return &error_codes[i];
	}
	return NULL;
}

static void fail_json(const struct error_code *error, const char *what, const char *why, const char *cure)
{
	json_t *json = json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:s, s:s}", "kind", "Error", "v", 1, "code",
		error->code, "exit", error->exit, "title", error->title, "what", what, "why", why, "do", cure);

	if (json == NULL) {
		/* Not UTF-8: the code still says what it is. */
		fprintf(stderr, "{\"kind\":\"Error\",\"v\":1,\"code\":\"%s\",\"exit\":%d}\n", error->code, error->exit);
		return;
	}
	json_dumpf(json, stderr, JSON_COMPACT);
	fputc('\n', stderr);
	json_decref(json);
}

static atomic_bool silent;

void errors_silence(void)
{
	atomic_store(&silent, true);
}

int fail(
	const struct invocation *invocation, const char *code, const char *what, const char *cure, const char *why, ...)
{
	const struct error_code *error = error_code_find(code);
	char reason[2048] = "";
	va_list list;

	assert(error != NULL);
	if (why != NULL) {
		va_start(list, why);
		vsnprintf(reason, sizeof(reason), why, list);
		va_end(list);
	}
	if (atomic_load(&silent))
		return error->exit;
	fflush(stdout);
	if (invocation != NULL && (invocation->output == OUTPUT_JSON || invocation->output == OUTPUT_JSONL)) {
		fail_json(error, what, reason, cure == NULL ? "" : cure);
		return error->exit;
	}
	fprintf(stderr, "%sdomctl: %s%s\n", paint(stderr, PAINT_BAD), what, paint(stderr, PAINT_OFF));
	if (reason[0] != '\0')
		fprintf(stderr, "  why   %s\n", reason);
	if (cure != NULL && cure[0] != '\0')
		fprintf(stderr, "  do    %s\n", cure);
	fprintf(stderr, "  code  %s: %s   (domctl help %s)\n", error->code, error->title, error->code);
	return error->exit;
}

const char *error_code_of(enum dom_status status, bool change)
{
	switch (status) {
	case DOM_NOT_FOUND:
		return change ? "DOM-M001" : "DOM-K001";
	case DOM_RESIDENCY_REFUSED:
		return change ? "DOM-R006" : "DOM-R005";
	case DOM_POLICY_MISMATCH:
		return "DOM-P003";
	case DOM_QUORUM_UNAVAILABLE:
		return "DOM-Q001";
	case DOM_UNKNOWN_OUTCOME:
		return "DOM-Q002";
	case DOM_TIMED_OUT:
		return "DOM-Q003";
	case DOM_BUSY:
		return "DOM-Q004";
	case DOM_TOO_LARGE:
		return "DOM-K002";
	case DOM_INVALID:
		return change ? "DOM-P002" : "DOM-K004";
	case DOM_CANNOT_CONNECT:
		return "DOM-C001";
	case DOM_CLOSED:
		return "DOM-C003";
	case DOM_CONFLICT:
		return change ? "DOM-P005" : "DOM-K003";
	default:
		return (int)status == 45 ? "DOM-C002" : "DOM-X001"; /* denied */
	}
}

int fail_call(const struct invocation *invocation, enum dom_status status, const char *message, const char *what)
{
	return fail(invocation, error_code_of(status, invocation->command != NULL && invocation->command->mutates),
		what, NULL, "%s", message != NULL && message[0] != '\0' ? message : dom_status_name(status));
}
