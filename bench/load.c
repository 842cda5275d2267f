/* bench/load.c: see bench/load.h. A slot is room for one operation in flight; in an open loop idle slots wait in a
 * stack for what the plan holds. */
#include "bench/load.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "bench/hlog.h"

#define SECOND_NS UINT64_C(1000000000)
enum {
	GRACE_MS = 2000,       /* beyond the timeout, until what is in flight is given up */
	IN_FLIGHT_US = 500000, /* an answer that comes so long after the end may have been on its way, no backlog */
};

struct run;
struct slot {
	struct run *run;
	dom_call *call; /* NULL: idle */
	uint32_t connection;
	uint64_t planned_ns, sent_ns;
	struct load_operation operation;
};

struct run {
	const struct load_settings *settings;
	const struct workload *workload;
	struct load_result *result;
	struct event_base *base;
	struct event *pace, *second, *begin, *end;
	dom_client **clients;
	struct slot *slots, **idle;
	uint8_t *memory;
	size_t slot_count, idle_count;
	struct histogram *intervals; /* one a class, of the current second */
	uint64_t start_ns, measure_ns, end_ns, give_up_ns, next_ns, gap_ns;
	uint64_t interval_failed, interval_index;
	struct histogram after_end; /* how long after the end good answers came; 0: before it */
	bool over;		    /* nothing new is planned */
	struct rusage usage;
};

static void start_operation(struct slot *slot);

static double cpu_seconds(const struct rusage *usage)
{
	return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
	       (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static struct timeval until(uint64_t at_ns)
{
	uint64_t now_ns = clock_boot_ns(), us = at_ns > now_ns ? (at_ns - now_ns + 999) / 1000 : 0;

	return (struct timeval){ .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };
}

static void arm(struct event *event, uint64_t at_ns)
{
	struct timeval wait = until(at_ns);

	evtimer_add(event, &wait);
}

/* Everything planned has been sent or given up, and everything sent has its answer. */
static bool is_empty(const struct run *run)
{
	return run->over && run->idle_count == run->slot_count;
}

static void stop_when_empty(struct run *run)
{
	if (is_empty(run))
		event_base_loopbreak(run->base);
}

/* --- one operation ----------------------------------------------------------------------------------- */

static bool planned_in_time(const struct run *run, uint64_t planned_ns)
{
	return planned_ns >= run->measure_ns && planned_ns < run->end_ns;
}

static void account(struct run *run, const struct load_operation *operation, const struct load_outcome *outcome,
	enum load_verdict verdict)
{
	struct load_class *class = &run->result->classes[operation->class];
	uint64_t response_us = (outcome->done_ns - outcome->planned_ns) / 1000;
	bool aged = outcome->status == DOM_TIMED_OUT || outcome->status == DOM_UNKNOWN_OUTCOME;

	assert(operation->class < run->workload->class_count);
	if (!outcome->measured)
		return;
	if (verdict == LOAD_GOOD || aged) {
		histogram_add(&class->response, response_us);
		histogram_add(&class->service, (outcome->done_ns - outcome->sent_ns) / 1000);
		histogram_add(&run->intervals[operation->class], response_us);
	}
	if (verdict == LOAD_GOOD) {
		class->good++;
		histogram_add(
			&run->after_end, outcome->done_ns > run->end_ns ? (outcome->done_ns - run->end_ns) / 1000 : 0);
	} else {
		class->failed++;
		run->interval_failed++;
		class->by_status[(unsigned)outcome->status < LOAD_STATUSES ? (unsigned)outcome->status
									   : LOAD_STATUSES - 1]++;
	}
}

static void send_step(struct slot *slot);

static void free_slot(struct slot *slot)
{
	struct run *run = slot->run;

	slot->call = NULL;
	run->idle[run->idle_count++] = slot;
}

static void operation_done(dom_call *call, void *arg)
{
	struct slot *slot = arg;
	struct run *run = slot->run;
	struct load_outcome outcome = {
		.status = dom_call_status(call),
		.call = call,
		.planned_ns = slot->planned_ns,
		.sent_ns = slot->sent_ns,
		.done_ns = clock_boot_ns(),
		.measured = planned_in_time(run, slot->planned_ns),
	};
	enum load_verdict verdict = run->workload->done(run->workload->arg, &slot->operation, &outcome);

	dom_call_free(call);
	if (verdict == LOAD_AGAIN) {
		send_step(slot);
		return;
	}
	account(run, &slot->operation, &outcome, verdict);
	free_slot(slot);
	if (run->settings->rate == 0 && !run->over) {
		struct slot *same = run->idle[--run->idle_count];

		same->planned_ns = outcome.done_ns;
		start_operation(same);
	} else if (run->settings->rate != 0 && !run->over && !evtimer_pending(run->pace, NULL)) {
		arm(run->pace, run->next_ns); /* what waits for a slot goes at once */
	}
	stop_when_empty(run);
}

static void send_step(struct slot *slot)
{
	const struct load_operation *operation = &slot->operation;
	dom_client *client = slot->run->clients[slot->connection];

	switch ((enum load_kind)operation->kind) {
	case LOAD_GET:
		slot->call = dom_get(client, operation->key, &operation->options);
		break;
	case LOAD_PUT:
		slot->call = dom_put(client, operation->key, operation->value, &operation->options);
		break;
	case LOAD_CAS:
		slot->call = dom_cas(client, operation->key, operation->version, operation->value, &operation->options);
		break;
	case LOAD_SCAN:
		slot->call = dom_scan(client, operation->key, operation->after, operation->limit, &operation->options);
		break;
	}
	if (slot->call == NULL) {
		fputs("dombench: out of memory\n", stderr);
		exit(DOM_NO_MEMORY);
	}
	dom_call_on_done(slot->call, operation_done, slot);
}

/* False: the workload leaves this turn out. */
static bool take_next(struct slot *slot)
{
	struct run *run = slot->run;
	struct load_operation *operation = &slot->operation;

	operation->options = (dom_options)DOM_OPTIONS;
	operation->options.timeout_ms = (uint32_t)run->settings->timeout_ms;
	if (!run->workload->next(run->workload->arg, slot->connection, slot->planned_ns, operation))
		return false;
	if (planned_in_time(run, slot->planned_ns))
		run->result->planned++;
	return true;
}

/* Of an idle slot that has been taken off the stack. */
static void start_operation(struct slot *slot)
{
	if (!take_next(slot)) {
		slot->run->over |= slot->run->settings->rate == 0;
		free_slot(slot);
		return;
	}
	slot->sent_ns = clock_boot_ns();
	send_step(slot);
}

/* --- the plan ---------------------------------------------------------------------------------------- */

/* Open loop: everything planned up to now that finds an idle slot. The rest stays planned, its age goes on. */
static void on_pace(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	uint64_t now_ns = clock_boot_ns();

	(void)fd;
	(void)what;
	while (run->next_ns <= now_ns && run->next_ns < run->end_ns && run->idle_count > 0) {
		struct slot *slot = run->idle[--run->idle_count];

		slot->planned_ns = run->next_ns;
		run->next_ns += run->gap_ns;
		start_operation(slot);
	}
	if (run->next_ns >= run->end_ns)
		run->over = true;
	else if (run->idle_count > 0)
		arm(run->pace, run->next_ns);
	stop_when_empty(run);
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;

	(void)fd;
	(void)what;
	getrusage(RUSAGE_SELF, &run->usage);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	struct rusage usage;

	(void)fd;
	(void)what;
	getrusage(RUSAGE_SELF, &usage);
	run->result->cpu = (cpu_seconds(&usage) - cpu_seconds(&run->usage)) / run->result->seconds;
	if (run->settings->rate == 0)
		run->over = true;
	stop_when_empty(run);
}

static void print_interval(struct run *run, const struct histogram *all)
{
	fprintf(stderr, "%4" PRIu64 " s  %8" PRIu64 " op/s  p50 %6.2f  p99 %6.2f  max %7.2f ms  errors %" PRIu64 "\n",
		run->interval_index, all->count, (double)histogram_quantile(all, 0.5) / 1000,
		(double)histogram_quantile(all, 0.99) / 1000, (double)all->max_us / 1000, run->interval_failed);
}

static void close_interval(struct run *run)
{
	static struct histogram all;

	histogram_init(&all);
	run->interval_index++;
	for (uint32_t i = 0; i < run->workload->class_count; i++) {
		struct histogram *interval = &run->intervals[i];

		if (interval->count > 0 && run->settings->hlog != NULL &&
			!hlog_write(run->settings->hlog, run->workload->names[i], (double)(run->interval_index - 1), 1,
				interval))
			fputs("dombench: the histogram log cannot be written\n", stderr);
		histogram_merge(&all, interval);
		histogram_init(interval);
	}
	if (!run->settings->quiet && all.count + run->interval_failed > 0)
		print_interval(run, &all);
	run->interval_failed = 0;
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;

	(void)fd;
	(void)what;
	if (clock_boot_ns() >= run->give_up_ns)
		event_base_loopbreak(run->base);
	close_interval(run);
	arm(run->second, run->measure_ns + (run->interval_index + 1) * SECOND_NS);
}

/* What never got an answer, or was never sent, has its full age by now. */
static void give_up(struct run *run)
{
	uint64_t now_ns = clock_boot_ns();

	for (size_t i = 0; i < run->slot_count; i++) {
		struct slot *slot = &run->slots[i];
		struct load_outcome outcome = { DOM_TIMED_OUT, NULL, slot->planned_ns, slot->sent_ns, now_ns,
			planned_in_time(run, slot->planned_ns) };

		if (slot->call == NULL)
			continue;
		dom_call_free(slot->call);
		slot->call = NULL;
		(void)run->workload->done(run->workload->arg, &slot->operation, &outcome);
		account(run, &slot->operation, &outcome, LOAD_FAILED);
	}
	while (run->settings->rate != 0 && run->next_ns < run->end_ns) {
		struct slot *slot = &run->slots[0];
		struct load_outcome outcome = { DOM_TIMED_OUT, NULL, run->next_ns, run->next_ns, now_ns,
			planned_in_time(run, run->next_ns) };

		slot->planned_ns = run->next_ns;
		run->next_ns += run->gap_ns;
		if (!take_next(slot))
			continue;
		run->result->unsent++;
		account(run, &slot->operation, &outcome, LOAD_FAILED);
	}
}

/* --- the whole --------------------------------------------------------------------------------------- */

static int prepare(struct run *run)
{
	const struct load_settings *settings = run->settings;
	struct event_config *config = event_config_new();
	size_t stride = (run->workload->memory_size + 15) & ~(size_t)15;

	/* Without it a timer is up to a millisecond late, which would count as the store's. */
	if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
		run->base = event_base_new_with_config(config);
	if (config != NULL)
		event_config_free(config);
	run->slot_count = settings->connections * settings->depth;
	run->clients = calloc(settings->connections, sizeof(dom_client *));
	run->slots = calloc(run->slot_count, sizeof(*run->slots));
	run->idle = calloc(run->slot_count, sizeof(struct slot *));
	run->memory = calloc(run->slot_count, stride + 1);
	run->intervals = calloc(run->workload->class_count, sizeof(*run->intervals));
	if (run->base == NULL || run->clients == NULL || run->slots == NULL || run->idle == NULL ||
		run->memory == NULL || run->intervals == NULL) {
		fputs("dombench: out of memory\n", stderr);
		return DOM_NO_MEMORY;
	}
	for (uint32_t i = 0; i < run->workload->class_count; i++) {
		histogram_init(&run->intervals[i]);
		histogram_init(&run->result->classes[i].response);
		histogram_init(&run->result->classes[i].service);
	}
	/* The stack gives the slots of all connections in turn, not all of one first. */
	for (size_t i = run->slot_count; i-- > 0;) {
		run->slots[i].run = run;
		run->slots[i].connection = (uint32_t)(i % settings->connections);
		run->slots[i].operation.memory = run->memory + i * stride;
		run->idle[run->idle_count++] = &run->slots[i];
	}
	return 0;
}

static void plan(struct run *run)
{
	const struct load_settings *settings = run->settings;

	run->start_ns = settings->start_ns != 0 ? settings->start_ns : clock_boot_ns();
	run->measure_ns = run->start_ns + settings->warmup * SECOND_NS;
	run->end_ns = run->measure_ns + settings->seconds * SECOND_NS;
	run->give_up_ns = run->end_ns + (settings->timeout_ms + GRACE_MS) * 1000000;
	run->next_ns = run->start_ns;
	run->gap_ns = settings->rate == 0 ? 0 : SECOND_NS / settings->rate;
	run->result->seconds = (double)settings->seconds;
	run->pace = evtimer_new(run->base, on_pace, run);
	run->begin = evtimer_new(run->base, on_begin, run);
	run->end = evtimer_new(run->base, on_end, run);
	run->second = evtimer_new(run->base, on_second, run);
	if (run->pace == NULL || run->begin == NULL || run->end == NULL || run->second == NULL)
		abort();
	arm(run->begin, run->measure_ns);
	arm(run->end, run->end_ns);
	arm(run->second, run->measure_ns + SECOND_NS);
}

static void start_closed_loop(struct run *run)
{
	for (size_t i = 0; i < run->slot_count && !run->over; i++) {
		struct slot *slot = run->idle[--run->idle_count];

		slot->planned_ns = clock_boot_ns();
		start_operation(slot);
	}
}

/* What was planned in the measured time and came back by its end is in time, and so is what was only on its way: twice
 * the median from send to answer later, or half a second. */
static uint64_t good_in_time(const struct run *run, const struct histogram *service)
{
	uint64_t allowed_us = 2 * histogram_quantile(service, 0.5), good = 0;

	if (allowed_us > IN_FLIGHT_US)
		allowed_us = IN_FLIGHT_US;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS && histogram_low(i) <= allowed_us; i++)
		good += run->after_end.buckets[i];
	return good;
}

static void judge(struct run *run)
{
	static struct histogram service;
	struct load_result *result = run->result;
	uint64_t good;

	histogram_init(&service);
	for (uint32_t i = 0; i < run->workload->class_count; i++) {
		result->good += result->classes[i].good;
		result->failed += result->classes[i].failed;
		histogram_merge(&service, &result->classes[i].service);
	}
	good = good_in_time(run, &service);
	result->rate = (double)good / result->seconds;
	/* One operation more or less is where the window's edges fall, not a lack of speed. */
	result->saturated = run->settings->rate != 0 && (double)good + 1 < 0.99 * (double)result->planned;
	result->suspect = result->cpu > 0.7;
}

static void clean_up(struct run *run)
{
	for (uint64_t i = 0; run->clients != NULL && i < run->settings->connections; i++) {
		if (run->clients[i] != NULL)
			dom_close(run->clients[i]);
	}
	if (run->pace != NULL) {
		event_free(run->pace);
		event_free(run->begin);
		event_free(run->end);
		event_free(run->second);
	}
	free(run->clients);
	free(run->slots);
	free(run->idle);
	free(run->memory);
	free(run->intervals);
	if (run->base != NULL)
		event_base_free(run->base);
}

int load_run(const struct load_settings *settings, const struct workload *workload, struct load_result *result)
{
	static struct run run;
	int code;

	assert(workload->class_count > 0);
	assert(workload->class_count <= LOAD_CLASSES_MAX);
	memset(result, 0, sizeof(*result));
	run = (struct run){ .settings = settings, .workload = workload, .result = result };
	histogram_init(&run.after_end);
	code = prepare(&run);
	for (uint64_t i = 0; i < settings->connections && code == 0; i++)
		code = load_connect(settings, run.base, &run.clients[i]);
	if (code == 0) {
		plan(&run);
		if (settings->rate != 0)
			arm(run.pace, run.next_ns);
		else
			start_closed_loop(&run);
		if (!is_empty(&run))
			event_base_dispatch(run.base);
		give_up(&run);
		close_interval(&run);
		judge(&run);
	}
	clean_up(&run);
	return code;
}
