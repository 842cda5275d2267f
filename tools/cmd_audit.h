/* tools/cmd_audit.h: the ledgers of all nodes in hand, read from the cluster or from files, each judged. */
#ifndef DOMICILE_TOOLS_CMD_AUDIT_H
#define DOMICILE_TOOLS_CMD_AUDIT_H

#include "tools/chain.h"

enum { AUDITED_MAX = MAP_NODES_MAX + MAP_FORMERS_MAX };
struct heads {
	uint32_t count;
	struct kept_head at[AUDITED_MAX];
};
struct audited {
	struct chain chain;
	bool read;
	uint64_t gone_us; /* of a node that was decommissioned: only files can tell; 0: it is in the cluster */
	char why[192];
	const struct kept_head *head; /* that meta keeps; NULL: none was told */
};
struct auditing {
	bool online;
	struct session session; /* online */
	struct trusted trusted;
	struct trusted given; /* of files, beside a cluster: also of regions that the map has no more */
	struct heads heads;
	uint32_t count;
	struct audited at[AUDITED_MAX];
};
enum audit_source {
	AUDIT_FILES_OR_CLUSTER, /* the files that the arguments name, or without any the cluster */
	AUDIT_CLUSTER_AND_FILES /* the second argument and those behind it: of nodes that have left it */
};
/* Every chain that was read is judged. */
int auditing_begin(const struct invocation *invocation, struct auditing *auditing, enum audit_source source);
void auditing_end(struct auditing *auditing); /* also after a failure */
/* After the answer: was anything found, or a node of the cluster not read? The exit code, and why. */
int auditing_verdict(const struct invocation *invocation, const struct auditing *auditing);
/* Whom to trust without a cluster: --cas, or cas.pem of --certs. */
int audit_trust(const struct invocation *invocation, struct trusted *trusted);
int heads_fetch(struct session *session, struct heads *heads);
/* A head as JSON and back. False: it does not read. */
json_t *audit_head_item(const struct kept_head *kept);
bool audit_head_read(const json_t *item, struct kept_head *kept);
json_t *audit_hex(const uint8_t *bytes, size_t size);
bool audit_unhex(const char *text, uint8_t *bytes, size_t size);
const char *audit_policy_name(const struct chain *chain, uint64_t id); /* as the ledger has it; "": not at all */

#endif
