/* base/list.h: a doubly linked ring whose links live in their owners. One struct serves as head and as link: an
 * initialised head alone is the empty list, an initialised link alone is in no list. Pure. */
#ifndef DOMICILE_BASE_LIST_H
#define DOMICILE_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev; /* never NULL once initialised */
};

/* The struct of `type` whose `member` is the link. */
#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Visits every link; the body may remove or free the one it is at, but no other. */
#define LIST_EACH_SAFE(link, head)                                                                                     \
	for (struct list *link = (head)->next, *link##_next = link->next; link != (head);                              \
		link = link##_next, link##_next = link->next)

static inline void list_init(struct list *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

/* Of a link: it is in some list. */
static inline bool list_linked(const struct list *link)
{
	return link->next != link;
}

static inline void list_insert_between(struct list *link, struct list *prev, struct list *next)
{
	assert(prev->next == next);
	assert(next->prev == prev);
	link->prev = prev;
	link->next = next;
	prev->next = next->prev = link;
}

/* The link is in no list: fresh, or removed. */
static inline void list_push_back(struct list *head, struct list *link)
{
	list_insert_between(link, head->prev, head);
}

static inline void list_push_front(struct list *head, struct list *link)
{
	list_insert_between(link, head, head->next);
}

/* Leaves the link initialised; removing it once more does nothing. */
static inline void list_remove(struct list *link)
{
	assert(link->prev->next == link);
	assert(link->next->prev == link);
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

static inline struct list *list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_pop_front(struct list *head)
{
	struct list *first = list_first(head);
	if (first)
		list_remove(first);
	return first;
}

#endif
