/* client/attempt.c: see client/attempt.h. */
#include "client/attempt.h"

#include <assert.h>

#include "client/patience.h"

static bool is_write(const struct operation_machine *operation)
{
	return operation_is_write(operation->spec.operation);
}

/* A scan's pages differ too much to say anything of the node. */
static bool teaches(const struct operation_machine *operation)
{
	return operation->spec.operation != OPERATION_SCAN;
}

/* What is still unanswered took at least so long: the slow ones would else never count. */
void attempts_learn_unanswered(const struct operation_machine *operation, uint64_t now_ns)
{
	for (unsigned i = 0; i < operation->open_count && teaches(operation); i++) {
		const struct operation_attempt *open = &operation->open[i];
		patience_learn_unanswered(operation->router, open->node, is_write(operation), now_ns - open->sent_ns);
	}
}

static bool was_tried(const struct operation_machine *operation, uint64_t node)
{
	for (unsigned i = 0; i < operation->tried_count; i++)
		if (operation->tried[i] == node)
			return true;
	return false;
}

static void mark_tried(struct operation_machine *operation, uint64_t node)
{
	if (!was_tried(operation, node) && operation->tried_count < REPLICAS_MAX)
		operation->tried[operation->tried_count++] = node;
}

/* Sent there in this round and still unanswered: once more tells nothing new before the others were asked. */
static bool is_open_at(const struct operation_machine *operation, uint64_t node)
{
	if (!was_tried(operation, node))
		return false;
	for (unsigned i = 0; i < operation->open_count; i++)
		if (operation->open[i].node == node)
			return true;
	return false;
}

/* The replicas that were not tried in this round, best first. A write that may have been proposed goes to the leader,
 * who knows what became of it. */
unsigned attempts_untried(struct operation_machine *operation, uint64_t now_ns, uint64_t nodes[REPLICAS_MAX])
{
	unsigned left = 0,
		 count = router_candidates(operation->router, operation->target.shard, operation->spec.operation,
			 operation_may_have_been_proposed(operation), now_ns, nodes);
	bool near = count > 2 && router_is_near(operation->router, nodes[0]);
	router_want(operation->router, nodes, near ? 2 : count, now_ns);
	operation->has_nobody = count == 0;
	for (unsigned i = 0; i < count; i++)
		if (!was_tried(operation, nodes[i]))
			nodes[left++] = nodes[i];
	return left;
}

/* The leader, if this client knows it, may send there, and has no answer outstanding from there. */
uint64_t attempt_leader(const struct operation_machine *operation, uint64_t now_ns)
{
	uint64_t leader = router_leader_guess(operation->router, operation->target.shard);
	if (leader == 0 || was_tried(operation, leader) ||
		!router_may_send(operation->router, operation->target.policy, leader) ||
		router_is_suspect(operation->router, leader, now_ns))
		return 0;
	return leader;
}

/* Where to send now, and where a read would go next; 0: none is left in this round. */
uint64_t attempt_choose(struct operation_machine *operation, uint64_t now_ns, uint64_t *next)
{
	uint64_t hint = operation->hint, nodes[REPLICAS_MAX];
	operation->hint = 0;
	*next = 0;
	if (hint != 0 && operation->hints_left > 0 && !is_open_at(operation, hint)) {
		operation->hints_left--;
		if (router_may_send(operation->router, operation->target.policy, hint))
			return hint;
	}
	unsigned count = attempts_untried(operation, now_ns, nodes);
	*next = count > 1 ? nodes[1] : 0;
	return count > 0 ? nodes[0] : 0;
}

struct operation_attempt *attempt_find(struct operation_machine *operation, uint32_t number)
{
	for (unsigned i = 0; i < operation->open_count; i++)
		if (operation->open[i].number == number)
			return &operation->open[i];
	return NULL;
}

/* When another is asked beside this attempt, if nothing comes before; 0: none. */
static uint64_t plan_second(
	const struct operation_machine *operation, uint64_t node, uint64_t next, bool second, uint64_t now_ns)
{
	const struct operation_spec *spec = &operation->spec;
	if (operation->seconds == OPERATION_SECONDS_MAX || operation->open_count == OPERATION_OPEN_MAX)
		return 0;
	if (!is_write(operation)) {
		next = next != 0 ? next : attempt_leader(operation, now_ns);
		return next == 0 ? 0
				 : now_ns + patience_read_ns(operation->router, operation->target.shard, node, next,
						    spec->operation == OPERATION_SCAN);
	}
	uint64_t leader = second ? 0 : attempt_leader(operation, now_ns);
	return leader == 0 ? 0 : now_ns + patience_write_ns(operation->router, operation->target.shard, node, leader);
}

/* A second question came to nothing: the first one is still on its way. */
bool attempt_falls_back(struct operation_machine *operation, const struct operation_attempt *ended, uint64_t now_ns)
{
	const struct operation_attempt *first = NULL;
	for (unsigned i = 0; ended->second && i < operation->open_count; i++)
		if (operation->open[i].silent_ns > now_ns && (!first || operation->open[i].number > first->number))
			first = &operation->open[i];
	if (!first)
		return false;
	operation->attempt_current = first->number;
	operation->second_ns = 0;
	return true;
}

struct operation_attempt *attempt_push(
	struct operation_machine *operation, uint64_t node, uint64_t next, bool second, uint64_t now_ns)
{
	uint64_t silence_ns = patience_silence_ns(operation->router, node, is_write(operation));
	assert(operation->open_count < OPERATION_OPEN_MAX);
	mark_tried(operation, node);
	router_node_tried(operation->router, node, now_ns);
	operation->attempt_current = ++operation->attempt_last;
	struct operation_attempt *attempt = &operation->open[operation->open_count++];
	*attempt = (struct operation_attempt){ .number = operation->attempt_current,
		.second = second,
		.node = node,
		.shard = operation->target.shard,
		.sent_ns = now_ns,
		.silent_ns = now_ns + silence_ns };
	operation->second_ns = plan_second(operation, node, next, second, now_ns);
	return attempt;
}

void attempt_answered(
	const struct operation_machine *operation, const struct operation_attempt *attempt, uint64_t now_ns)
{
	if (teaches(operation))
		patience_learn(operation->router, attempt->node, is_write(operation), now_ns - attempt->sent_ns);
	attempts_learn_unanswered(operation, now_ns);
}

/* Takes the attempt off the unanswered ones. False: it is not among them (it was answered before). */
bool attempt_close(struct operation_machine *operation, uint32_t attempt, struct operation_attempt *closed)
{
	struct operation_attempt *open = attempt_find(operation, attempt);
	if (!open)
		return false;
	*closed = *open;
	*open = operation->open[--operation->open_count];
	return true;
}
