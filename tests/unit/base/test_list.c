/* tests/unit/base/test_list.c: order, removal, and removal while walking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
	int number;
	struct list link;
};

static int numbers(const struct list *head)
{
	int digits = 0;
	for (const struct list *link = head->next; link != head; link = link->next)
		digits = digits * 10 + LIST_ENTRY(link, struct item, link)->number;
	return digits;
}

static void fill(struct list *head, struct item *items, int count)
{
	list_init(head);
	for (int i = 0; i < count; i++) {
		items[i].number = i + 1;
		list_push_back(head, &items[i].link);
	}
}

static void test_order(void **state)
{
	(void)state;
	struct list head;
	struct item items[4], first = { .number = 9 };
	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_first(&head));
	assert_null(list_pop_front(&head));
	fill(&head, items, 4);
	list_push_front(&head, &first.link);
	assert_int_equal(numbers(&head), 91234);
	assert_true(list_linked(&items[1].link));
	list_remove(&items[1].link);
	assert_false(list_linked(&items[1].link));
	list_remove(&items[1].link);
	assert_int_equal(numbers(&head), 9134);
	assert_ptr_equal(list_pop_front(&head), &first.link);
	assert_ptr_equal(LIST_ENTRY(list_first(&head), struct item, link), &items[0]);
	list_push_back(&head, &items[1].link);
	assert_int_equal(numbers(&head), 1342);
}

static void test_removing_while_walking(void **state)
{
	(void)state;
	struct list head, moved;
	struct item items[6];
	fill(&head, items, 6);
	list_init(&moved);
	LIST_EACH_SAFE(link, &head)
	{
		if (LIST_ENTRY(link, struct item, link)->number % 2 == 0) {
			list_remove(link);
			list_push_back(&moved, link);
		}
	}
	assert_int_equal(numbers(&head), 135);
	assert_int_equal(numbers(&moved), 246);
	LIST_EACH_SAFE(link, &head)
	list_remove(link);
	assert_true(list_empty(&head));
	LIST_EACH_SAFE(link, &head)
	fail();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_removing_while_walking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
