/* tests/unit/base/test_heap.c: order, equal keys, and a random run against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/prng.h"

static void test_equal_keys_leave_in_order(void **state)
{
	(void)state;
	struct heap_node nodes[100] = { 0 }, *slots[100];
	struct heap heap;
	heap_init(&heap, slots, 100);
	assert_null(heap_min(&heap));
	for (size_t i = 0; i < 100; i++)
		assert_true(heap_insert(&heap, &nodes[i], i % 3));
	for (uint64_t key = 0; key < 3; key++) {
		for (size_t i = key; i < 100; i += 3) {
			assert_ptr_equal(heap_min(&heap), &nodes[i]);
			heap_remove(&heap, &nodes[i]);
			assert_false(heap_node_queued(&nodes[i]));
			heap_check(&heap);
		}
	}
	assert_null(heap_min(&heap));
}

static void test_full(void **state)
{
	(void)state;
	struct heap_node nodes[3] = { 0 }, *slots[2];
	struct heap heap;
	heap_init(&heap, slots, 2);
	assert_true(heap_insert(&heap, &nodes[0], 5));
	assert_true(heap_insert(&heap, &nodes[1], 4));
	assert_false(heap_insert(&heap, &nodes[2], 1));
	assert_false(heap_node_queued(&nodes[2]));
	assert_ptr_equal(heap_min(&heap), &nodes[1]);
	heap_remove(&heap, &nodes[1]);
	assert_true(heap_insert(&heap, &nodes[2], 9));
	assert_ptr_equal(heap_min(&heap), &nodes[0]);
	/* an update goes behind its equals */
	heap_update(&heap, &nodes[0], 9);
	assert_ptr_equal(heap_min(&heap), &nodes[2]);
}

enum { NODES = 50 };

/* The least of the queued by key, then by when it was queued or updated. */
static struct heap_node *least_of(struct heap_node *nodes)
{
	struct heap_node *least = NULL;
	for (size_t i = 0; i < NODES; i++) {
		if (!heap_node_queued(&nodes[i]))
			continue;
		if (!least || nodes[i].key < least->key ||
			(nodes[i].key == least->key && nodes[i].sequence < least->sequence))
			least = &nodes[i];
	}
	return least;
}

static void test_random_run(void **state)
{
	(void)state;
	struct heap_node nodes[NODES] = { 0 }, *slots[NODES];
	struct heap heap;
	struct prng prng;
	prng_seed(&prng, 11);
	heap_init(&heap, slots, NODES);
	size_t queued = 0;
	for (unsigned step = 0; step < 20000; step++) {
		struct heap_node *node = &nodes[prng_below(&prng, NODES)];
		uint64_t key = prng_below(&prng, 20);
		if (!heap_node_queued(node)) {
			assert_true(heap_insert(&heap, node, key));
			queued++;
		} else if (prng_chance(&prng, 500000)) {
			heap_update(&heap, node, key);
		} else {
			heap_remove(&heap, node);
			queued--;
		}
		heap_check(&heap);
		assert_int_equal(heap.count, queued);
		assert_ptr_equal(heap_min(&heap), least_of(nodes));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_keys_leave_in_order),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_random_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
