/* The load engine against a store that is a timer: what it answers, and when, the test decides. A stall shows in the
 * latency of everything planned meanwhile; who is never answered counts with its age; a store that is too slow makes
 * the run saturated, one that is slow and wide does not. Real time, judged with room for a busy machine. */
#include "bench/histogram.c"
#include "bench/load.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* --- the store: dom_* as the engine calls it ---------------------------------------------------------- */

struct dom_call {
	struct event *event;
	dom_done_fn *fn;
	void *arg;
	enum dom_status status;
	uint64_t at_ns;
};
static struct {
	struct event_base *base;
	uint64_t service_us;		/* of one operation */
	bool serial;			/* one after the other: each waits for those before it */
	uint64_t stall_at_us, stall_us; /* from the first operation on: answers of that time come at its end */
	uint64_t first_ns, free_ns, calls;
	enum dom_status status;
	uint64_t timeout_us; /* not 0: answers DOM_TIMED_OUT after so long */
} store;

int load_connect(const struct load_settings *settings, struct event_base *base, dom_client **client)
{
	(void)settings;
	store.base = base;
	*client = (dom_client *)&store;
	return 0;
}

void dom_close(dom_client *client)
{
	(void)client;
}

static void answer(evutil_socket_t fd, short what, void *arg)
{
	struct dom_call *call = arg;

	(void)fd;
	(void)what;
	if (clock_boot_ns() < call->at_ns) /* a timer counts from the loop's own, older, time */
		arm(call->event, call->at_ns);
	else
		call->fn(call, call->arg);
}

static dom_call *begin(void)
{
	struct dom_call *call = calloc(1, sizeof(*call));
	uint64_t now_ns = clock_boot_ns(), at_ns, stall_begin_ns, stall_end_ns;

	assert_non_null(call);
	store.calls++;
	if (store.first_ns == 0)
		store.first_ns = now_ns;
	at_ns = (store.serial && store.free_ns > now_ns ? store.free_ns : now_ns) + store.service_us * 1000;
	store.free_ns = at_ns;
	stall_begin_ns = store.first_ns + store.stall_at_us * 1000;
	stall_end_ns = stall_begin_ns + store.stall_us * 1000;
	if (store.stall_us > 0 && at_ns >= stall_begin_ns && at_ns < stall_end_ns)
		at_ns = stall_end_ns;
	call->status = store.status;
	if (store.timeout_us > 0) {
		at_ns = now_ns + store.timeout_us * 1000;
		call->status = DOM_TIMED_OUT;
	}
	call->at_ns = at_ns;
	call->event = evtimer_new(store.base, answer, call);
	arm(call->event, at_ns);
	return call;
}

dom_call *dom_get(dom_client *client, dom_bytes key, const dom_options *options)
{
	(void)client, (void)key, (void)options;
	return begin();
}
dom_call *dom_put(dom_client *client, dom_bytes key, dom_bytes value, const dom_options *options)
{
	(void)client, (void)key, (void)value, (void)options;
	return begin();
}
dom_call *dom_cas(dom_client *client, dom_bytes key, uint64_t version, dom_bytes value, const dom_options *options)
{
	(void)client, (void)key, (void)version, (void)value, (void)options;
	return begin();
}
dom_call *dom_scan(dom_client *client, dom_bytes prefix, dom_bytes after, uint32_t limit, const dom_options *options)
{
	(void)client, (void)prefix, (void)after, (void)limit, (void)options;
	return begin();
}
void dom_call_on_done(dom_call *call, dom_done_fn *fn, void *arg)
{
	call->fn = fn;
	call->arg = arg;
}
enum dom_status dom_call_status(const dom_call *call)
{
	return call->status;
}
void dom_call_free(dom_call *call)
{
	event_free(call->event);
	free(call);
}

/* The log of intervals is another file's matter. */
bool hlog_write(FILE *out, const char *tag, double start_s, double length_s, const struct histogram *histogram)
{
	(void)out, (void)tag, (void)start_s, (void)length_s, (void)histogram;
	return true;
}

/* --- the workload ------------------------------------------------------------------------------------- */

static struct {
	uint64_t next, done, left; /* left: closed loop, until there is nothing more */
	unsigned steps;		   /* of each operation */
} work;

static bool work_next(void *arg, uint32_t connection, uint64_t planned_ns, struct load_operation *operation)
{
	(void)arg, (void)connection, (void)planned_ns;
	if (work.left == 0)
		return false;
	work.left--;
	work.next++;
	operation->kind = LOAD_GET;
	operation->class = 0;
	*(unsigned *)operation->memory = work.steps;
	return true;
}

static enum load_verdict work_done(void *arg, struct load_operation *operation, const struct load_outcome *outcome)
{
	unsigned *steps = operation->memory;

	(void)arg;
	if (outcome->status == DOM_OK && --*steps > 0)
		return LOAD_AGAIN;
	work.done++;
	return outcome->status == DOM_OK ? LOAD_GOOD : LOAD_FAILED;
}

static struct load_result result;

static const struct histogram *run(uint64_t rate, uint64_t slots, uint64_t timeout_ms)
{
	static const char *const names[] = { "get" };
	const struct workload workload = { NULL, names, 1, sizeof(unsigned), work_next, work_done };
	const struct load_settings settings = {
		.connections = 1, .depth = slots, .seconds = 1, .rate = rate, .timeout_ms = timeout_ms, .quiet = true
	};

	work.next = work.done = 0;
	assert_int_equal(load_run(&settings, &workload, &result), 0);
	assert_int_equal(work.next, work.done + result.unsent);
	return &result.classes[0].response;
}

static int reset(void **state)
{
	(void)state;
	memset(&store, 0, sizeof(store));
	work.left = UINT64_MAX;
	work.steps = 1;
	return 0;
}

/* --- tests -------------------------------------------------------------------------------------------- */

/* 1 s at 500/s with 400 ms in which nothing comes back: what was planned in it waits for its end, though one slot alone
 * could not even have sent it. */
static void test_a_stall_is_not_hidden(void **state)
{
	(void)state;
	for (uint64_t slots = 1; slots <= 256; slots *= 256) {
		const struct histogram *times;
		uint64_t slow = 0;

		reset(NULL);
		store.service_us = 100;
		store.stall_at_us = 300000;
		store.stall_us = 400000;
		times = run(500, slots, 5000);
		assert_int_equal(times->count, 500);
		for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
			slow += histogram_low(i) >= 100000 ? times->buckets[i] : 0;
		assert_in_range(slow, 140, 500); /* 150 of them waited for 100 ms and more */
		assert_in_range(times->max_us, 390000, 1500000);
	}
}

/* A store that is slow and wide: everything comes back, later. */
static void test_slow_is_not_saturated(void **state)
{
	const struct histogram *times;

	(void)state;
	store.service_us = 200000;
	times = run(200, 256, 5000);
	assert_int_equal(times->count, 200);
	assert_in_range(times->min_us, 200000, 300000);
	assert_int_equal(result.failed, 0);
	assert_false(result.saturated);
}

/* One that bears half of what is offered: the rest comes late or never, and the run says so. */
static void test_too_slow_is_saturated(void **state)
{
	const struct histogram *times;

	(void)state;
	store.service_us = 10000;
	store.serial = true;
	times = run(200, 256, 60000);
	assert_int_equal(times->count, 200);
	assert_true(result.saturated);
	assert_true(result.rate < 175);
	assert_in_range(times->max_us, 900000, 10000000);
}

static void test_who_is_not_answered_counts_with_its_age(void **state)
{
	const struct histogram *times;

	(void)state;
	store.timeout_us = 700000;
	times = run(100, 256, 700);
	assert_int_equal(times->count, 100);
	assert_int_equal(result.classes[0].by_status[DOM_TIMED_OUT], 100);
	assert_int_equal(result.good, 0);
	assert_in_range(times->min_us, 700000, 2000000);
	assert_true(result.saturated);
}

/* With one slot and answers after 700 ms, most of the plan is never sent: given up after the timeout and a grace, each
 * at its age. */
static void test_who_is_never_sent_counts_with_its_age(void **state)
{
	const struct histogram *times;

	(void)state;
	store.timeout_us = 700000;
	times = run(100, 1, 700);
	assert_int_equal(times->count, 100);
	assert_true(result.unsent > 75);
	assert_in_range(times->max_us, 3000000, 8000000);
	assert_true(result.saturated);
}

static void test_a_failure_is_no_latency(void **state)
{
	const struct histogram *times;

	(void)state;
	store.status = DOM_BUSY;
	times = run(100, 16, 1000);
	assert_int_equal(times->count, 0);
	assert_int_equal(result.failed, 100);
	assert_int_equal(result.classes[0].by_status[DOM_BUSY], 100);
}

static void test_a_closed_loop_ends_with_its_work(void **state)
{
	(void)state;
	store.service_us = 1000;
	work.left = 100;
	run(0, 8, 1000);
	assert_int_equal(work.done, 100);
	assert_int_equal(result.good, 100);
}

static void test_a_closed_loop_keeps_its_depth(void **state)
{
	(void)state;
	store.service_us = 20000;
	run(0, 4, 1000);
	assert_in_range(result.good, 50, 204); /* 4 at a time, 20 ms each, 1 s */
	assert_false(result.saturated);
}

/* Three steps are one operation and one latency. */
static void test_steps_are_one_operation(void **state)
{
	const struct histogram *times;

	(void)state;
	store.service_us = 10000;
	work.steps = 3;
	times = run(50, 16, 1000);
	assert_int_equal(times->count, 50);
	assert_int_equal(store.calls, 150);
	assert_in_range(times->min_us, 30000, 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_stall_is_not_hidden, reset),
		cmocka_unit_test_setup(test_slow_is_not_saturated, reset),
		cmocka_unit_test_setup(test_too_slow_is_saturated, reset),
		cmocka_unit_test_setup(test_who_is_not_answered_counts_with_its_age, reset),
		cmocka_unit_test_setup(test_who_is_never_sent_counts_with_its_age, reset),
		cmocka_unit_test_setup(test_a_failure_is_no_latency, reset),
		cmocka_unit_test_setup(test_a_closed_loop_ends_with_its_work, reset),
		cmocka_unit_test_setup(test_a_closed_loop_keeps_its_depth, reset),
		cmocka_unit_test_setup(test_steps_are_one_operation, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
