/* tools/command.h: what a verb of domctl is, and one line of it as it was given. One table (commands.c) drives the
 * parser, help, completion and docs/cli.md, so they cannot disagree.
 *
 * A flag's name means one thing everywhere: it takes a value in all commands that have it or in none, so that flags may
 * stand anywhere, before the words of the command too. */
#ifndef DOMICILE_TOOLS_COMMAND_H
#define DOMICILE_TOOLS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARGUMENTS_MAX = 1024, GIVEN_MAX = 64, COMMAND_FLAGS_MAX = 12 };

enum flag_kind { FLAG_SWITCH = 1, FLAG_TEXT, FLAG_NUMBER, FLAG_DURATION, FLAG_WORD };
struct flag {
	const char *name; /* without the dashes */
	char letter;	  /* short form; 0: none */
	uint8_t kind;
	const char *value; /* of what: "DIR"; of a word: "table|wide" */
	const char *help;
};

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_NAME };
enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* What completion offers for an argument; a list of words separated by '|' is offered as it is. */
#define COMPLETE_FILE	"@file"
#define COMPLETE_REGION "@region"
#define COMPLETE_POLICY "@policy"
#define COMPLETE_NODE	"@node"
#define COMPLETE_SHARD	"@shard"
#define COMPLETE_TOPIC	"@topic"

struct invocation;
struct command {
	const char *noun, *verb; /* verb NULL: the noun alone */
	const char *arguments;	 /* as help shows them: "KEY [VALUE]" */
	uint8_t argument_min;
	uint16_t argument_max;
	const char *complete; /* of its arguments; NULL: nothing */
	const char *summary;
	const char *detail; /* paragraphs for --help; NULL: none */
	const char *example;
	const struct flag *const *flags; /* ended with a NULL; NULL: none */
	const char *kind;		 /* of its JSON, and name of its schema file; NULL: text only */
	bool mutates;			 /* honours --dry-run */
	bool only_does;			 /* changes files that no cluster judges: refused with --dry-run */
	bool hidden;
	int (*run)(const struct invocation *invocation); /* the exit code */
};
extern const struct command commands[];
extern const size_t command_count;
extern const struct flag *const global_flags[]; /* ended with a NULL */

/* A command line that was understood. Texts are the caller's argv and environment. */
struct invocation {
	const struct command *command; /* NULL: help was asked for without one */
	const char *help_noun;	       /* help: of this noun; NULL: of all */
	bool help;
	enum output output;
	enum color color;
	bool quiet, yes, dry_run;
	uint32_t timeout_ms;
	const char *endpoint, *certs, *as_region, *confirm; /* NULL: not given */
	uint32_t argument_count;
	const char *arguments[ARGUMENTS_MAX];
	uint32_t separator; /* arguments from here on stood behind `--`; argument_count: none */
	uint32_t given_count;
	struct {
		const struct flag *flag;
		const char *value;
	} given[GIVEN_MAX];
};

const struct command *command_find(const char *noun, const char *verb);
bool command_noun_known(const char *noun);
const char *flag_text(const struct invocation *invocation, const char *name); /* the last one given; NULL: none */
bool flag_given(const struct invocation *invocation, const char *name);
/* Position after `from` of the next one with this name; -1: no more. Begin with -1. */
int flag_next(const struct invocation *invocation, const char *name, int from);
uint64_t flag_number(const struct invocation *invocation, const char *name, uint64_t otherwise);

/* The verbs, by file. */
int run_status(const struct invocation *invocation);
int run_demo(const struct invocation *invocation);
int run_cluster_init(const struct invocation *invocation);
int run_cluster_show(const struct invocation *invocation);
int run_cluster_wait(const struct invocation *invocation);
int run_region_add(const struct invocation *invocation);
int run_region_list(const struct invocation *invocation);
int run_region_rtt(const struct invocation *invocation);
int run_node_list(const struct invocation *invocation);
int run_node_show(const struct invocation *invocation);
int run_node_drain(const struct invocation *invocation);
int run_node_undrain(const struct invocation *invocation);
int run_node_decommission(const struct invocation *invocation);
int run_region_drain(const struct invocation *invocation);
int run_region_undrain(const struct invocation *invocation);
int run_region_fence(const struct invocation *invocation);
int run_region_readmit(const struct invocation *invocation);
int run_region_remove(const struct invocation *invocation);
int run_policy_lint(const struct invocation *invocation);
int run_policy_list(const struct invocation *invocation);
int run_policy_show(const struct invocation *invocation);
int run_policy_plan(const struct invocation *invocation);
int run_policy_apply(const struct invocation *invocation);
int run_policy_diff(const struct invocation *invocation);
int run_policy_history(const struct invocation *invocation);
int run_policy_rollback(const struct invocation *invocation);
int run_policy_verify(const struct invocation *invocation);
int run_policy_explain(const struct invocation *invocation);
int run_policy_test(const struct invocation *invocation);
int run_binding_list(const struct invocation *invocation);
int run_binding_set(const struct invocation *invocation);
int run_binding_unset(const struct invocation *invocation);
int run_key_rebind(const struct invocation *invocation);
int run_binding_which(const struct invocation *invocation);
int run_shard_list(const struct invocation *invocation);
int run_shard_show(const struct invocation *invocation);
int run_shard_of(const struct invocation *invocation);
int run_shard_lead(const struct invocation *invocation);
int run_shard_place(const struct invocation *invocation);
int run_shard_split(const struct invocation *invocation);
int run_shard_merge(const struct invocation *invocation);
int run_shard_rebalance(const struct invocation *invocation);
int run_key_get(const struct invocation *invocation);
int run_key_put(const struct invocation *invocation);
int run_key_delete(const struct invocation *invocation);
int run_key_cas(const struct invocation *invocation);
int run_key_scan(const struct invocation *invocation);
int run_key_where(const struct invocation *invocation);
int run_key_explain(const struct invocation *invocation);
int run_operation_list(const struct invocation *invocation);
int run_operation_show(const struct invocation *invocation);
int run_operation_wait(const struct invocation *invocation);
int run_operation_cancel(const struct invocation *invocation);
int run_audit_heads(const struct invocation *invocation);
int run_audit_check(const struct invocation *invocation);
int run_audit_proof(const struct invocation *invocation);
int run_audit_show(const struct invocation *invocation);
int run_audit_verify(const struct invocation *invocation);
int run_report_residency(const struct invocation *invocation);
int run_residency_scan(const struct invocation *invocation);
int run_cert_create_ca(const struct invocation *invocation);
int run_cert_create_node(const struct invocation *invocation);
int run_cert_create_client(const struct invocation *invocation);
int run_cert_create_admin(const struct invocation *invocation);
int run_cert_revoke(const struct invocation *invocation);
int run_cert_list(const struct invocation *invocation);
int run_cert_show(const struct invocation *invocation);
int run_cert_verify(const struct invocation *invocation);
int run_version(const struct invocation *invocation);
int run_help(const struct invocation *invocation);
int run_completion(const struct invocation *invocation);
int run_complete(const struct invocation *invocation);
int run_docs(const struct invocation *invocation);

#endif
