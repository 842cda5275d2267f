/* server/journal_thread.h: the one thread that waits for the disk on behalf of the journal (fdatasync blocks). One
 * flush at a time; its end comes back as an event of the loop. All calls from the loop's thread. */
#ifndef DOMICILE_SERVER_JOURNAL_THREAD_H
#define DOMICILE_SERVER_JOURNAL_THREAD_H

#include "base/status.h"

struct event_base;
struct journal_flush;
struct journal_thread;

typedef void journal_thread_done(void *arg, struct journal_flush *flush, enum status status);

enum status journal_thread_new(
	struct event_base *base, journal_thread_done *done, void *arg, struct journal_thread **thread) MUST;
bool journal_thread_busy(const struct journal_thread *thread);
void journal_thread_begin(struct journal_thread *thread, struct journal_flush *flush); /* not while it is busy */
/* Waits for a flush under way and calls done for it; then the thread is gone. NULL is fine. */
void journal_thread_free(struct journal_thread *thread);

#endif
