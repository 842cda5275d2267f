/* server/search.c: MESSAGE_ADMIN `residency.search`, from an administrator: a slice of a search of all that this node
 * has on its disk, for what the needles in the body stand for (base/search.h). They say nothing of the bytes
 * themselves, so the question may go where those may not be. Read only, on a thread that may block.
 *
 * One slice at a time, whoever asks, and so many bytes a second at most: in between the node answers BUSY, and each
 * answer says when the next one is welcome. Nothing is remembered from one slice to the next, so who goes away leaves
 * nothing behind. */
#include "server/node_internal.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/log.h"
#include "storage/search.h"

enum {
	SLICE_SIZE = 32 << 20,		   /* bytes */
	SEARCH_BYTES_A_SECOND = 128 << 20, /* what a disk can spare */
};

struct search_job {
	struct node *node;
	uint64_t connection, request, began_ns;
	struct search_place from;
	enum status status;
	struct needles needles;
	struct search_slice slice;
};

static void search_run(void *arg)
{
	struct search_job *job = arg;

	job->status = search_files(
		job->node->data, job->node->options.log, &job->from, &job->needles, SLICE_SIZE, &job->slice);
}

/* No more bytes a second than that, and no more than half of a core. */
static void pace(struct search_job *job)
{
	struct node *node = job->node;
	uint64_t now_ns = node->io.now(node->io.arg);

	node->search_ns = job->began_ns + job->slice.size * 1000 / (SEARCH_BYTES_A_SECOND / 1000000);
	if (node->search_ns < now_ns + (now_ns - job->began_ns))
		node->search_ns = now_ns + (now_ns - job->began_ns);
	if (node->search_ns > now_ns && job->slice.next.stage != SEARCH_ENDED)
		job->slice.pause_ms = (uint32_t)((node->search_ns - now_ns) / 1000000) + 1;
}

static void search_done(void *arg)
{
	struct search_job *job = arg;
	struct node *node = job->node;
	struct buffer *buffer = buffer_new(SEARCH_REPLY_MAX);
	struct message reply;
	struct packer packer;

	node->searching = false;
	pace(job);
	if (buffer == NULL || job->status != STATUS_OK) {
		gateway_reply(node, job->connection, job->request, STATUS_BUSY, "this node is out of memory");
	} else {
		pack_init(&packer, buffer->data, buffer->size);
		search_slice_encode(&job->slice, &packer);
		assert(!packer.overflow);
		gateway_reply_begin(node, &reply, job->request, STATUS_OK);
		reply.reply.detail = pack_result(&packer);
		node->io.reply(node->io.arg, job->connection, &reply);
	}
	buffer_unref(buffer);
	free(job);
}

void search_requested(
	struct node *node, uint64_t connection, const struct peer_identity *who, const struct message *message)
{
	struct search_job *job;
	enum status status;

	if (who->role != PEER_ADMIN) {
		gateway_reply(node, connection, message->request, STATUS_DENIED,
			"only an administrator has a node searched; use an admin certificate");
		return;
	}
	if (node->searching || node->time.now_ns < node->search_ns) {
		gateway_reply(node, connection, message->request, STATUS_BUSY,
			"this node searches for somebody, or has just done so; ask again soon");
		return;
	}
	job = calloc(1, sizeof(*job));
	status = job == NULL ? STATUS_BUSY : search_request_decode(message->admin.body, &job->from, &job->needles);
	if (status != STATUS_OK) {
		gateway_reply(node, connection, message->request, status,
			status == STATUS_BUSY ? "this node is out of memory"
					      : "the question does not decode; is this tool of another version?");
		free(job);
		return;
	}
	job->node = node;
	job->connection = connection;
	job->request = message->request;
	job->began_ns = node->time.now_ns;
	node->searching = true;
	if (job->from.stage == SEARCH_FILES && job->from.path[0] == '\0')
		log_info("a search of this node's files begins", LOG_S("for", who->name),
			LOG_U("needles", job->needles.count));
	if (node->io.block != NULL) {
		node->io.block(node->io.arg, search_run, search_done, job);
	} else {
		search_run(job);
		search_done(job);
	}
}
