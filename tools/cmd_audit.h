/* tools/cmd_audit.h: the ledgers of all nodes in hand, read from the cluster or from files, each judged. */
#ifndef DOMICILE_TOOLS_CMD_AUDIT_H
#define DOMICILE_TOOLS_CMD_AUDIT_H

#include "tools/chain.h"

enum { AUDITED_MAX = MAP_NODES_MAX };
struct heads {
	uint32_t count;
	struct kept_head at[MAP_NODES_MAX];
};
struct audited {
	struct chain chain;
	bool read;
	char why[192];
	uint64_t head; /* sequence that meta keeps; 0: none */
};
struct auditing {
	bool online;
	struct session session; /* online */
	struct trusted trusted;
	struct heads heads;
	uint32_t count;
	struct audited at[AUDITED_MAX];
};
/* From the files that were given, else from the cluster; every chain that was read is judged. */
int auditing_begin(const struct invocation *invocation, struct auditing *auditing);
void auditing_end(struct auditing *auditing); /* also after a failure */
int heads_fetch(struct session *session, struct heads *heads);

#endif
