/*
 * Flows from the log into base tables.
 *
 * A sink follows its own node's batch topic or those of the nodes below; a
 * topic that it names is made here if it is not there yet, so that the sink
 * can wait for the first link of a child.
 *
 * What a stream needs to be taken here is decided by admit().  It must lie in
 * its topic, or it is refused: gx.batch.<node> holds streams of the node that
 * their names begin with, and gx.down.<child> those that were made for that
 * child.  At the child only the node above may have made them, and at the node
 * above only that one itself, which so reads back what it has made.  And its
 * schema must be one of our declarations, byte for byte, or a former text of
 * one that the declaration itself names (else wait: the declaration may still
 * come, and a restart with it goes on).
 *
 * Nothing is opened on a server before the worker runs.
 */
#include "node/kind.h"

#include "flow/reader.h"
#include "node/node.h"

#include <string.h>

#define TOPICS_MAX 64

/* "social.insured@1:<64 hex>": of this declaration, or of a former text? */
static bool
is_known_schema(const struct gx_node_resource *r, struct gx_slice schema)
{
	const char *digest = schema.p + schema.n - 64;

	if (gx_slice_eq(gx_slice_str(r->id), schema)) {
		return true;
	}
	for (size_t i = 0; schema.n > 64 && i < r->r->n_former; i++) {
		if (memcmp(r->r->former[i], digest, 64) == 0) {
			return true;
		}
	}
	return false;
}

/* What stands behind the prefix of a topic; n = 0: another topic. */
static struct gx_slice
behind(struct gx_slice topic, const char *prefix)
{
	size_t n = strlen(prefix);

	return topic.n > n && memcmp(topic.p, prefix, n) == 0
		       ? gx_slice(topic.p + n, topic.n - n)
		       : gx_slice("", 0);
}

bool
gx_kind_sink_belongs(const struct gx_node *n, struct gx_slice stream,
		     struct gx_slice topic)
{
	struct gx_slice of = behind(topic, "gx.batch.");
	struct gx_slice to = behind(topic, "gx.down.");
	struct gx_stream_name name;
	struct gx_slice child = {0};
	const char *maker = n->id;
	bool is_down;

	if (!gx_stream_parse(stream, &name)) {
		return false;
	}
	is_down = gx_stream_is_down(&name, &child);
	if (of.n > 0) {
		return !is_down && gx_slice_eq(name.node, of);
	}
	if (gx_slice_eq(to, gx_slice_str(n->id))) {
		maker = gx_conf_str(n->conf, "parent", NULL, "id");
	}
	return is_down && to.n > 0 && gx_slice_eq(child, to) &&
	       gx_slice_eq(name.node, gx_slice_str(maker));
}

static enum gx_verdict
admit(void *ctx, struct gx_slice stream, struct gx_slice schema,
      struct gx_slice topic)
{
	const struct gx_node *n = ctx;
	struct gx_stream_name name;

	if (!gx_kind_sink_belongs(n, stream, topic) ||
	    !gx_stream_parse(stream, &name)) {
		return GX_V_REFUSE;
	}
	for (size_t i = 0; i < n->n_resources; i++) {
		if (gx_slice_eq(gx_slice_str(n->resources[i].r->name),
				name.resource) &&
		    is_known_schema(&n->resources[i], schema)) {
			return GX_V_TAKE;
		}
	}
	return GX_V_WAIT;
}

static const char *
topic_of(const struct gx_node *n, const struct gx_node_flow *f, size_t i)
{
	return gx_conf_word(n->conf, "flow", f->name, "topics", i);
}

static enum gx_rc
start_sink(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const char *topics[TOPICS_MAX + 1] = {0};
	struct gx_reader_conf conf = {
		.flow = f->name,
		.topics = topics,
		.own_topics = n->own_topics,
		.admit = admit,
		.admit_ctx = n,
		.txn_lines = (size_t)gx_kind_number(n, f, "txn_lines"),
		.txn_bytes = (size_t)gx_kind_number(n, f, "txn_bytes"),
		.txn_ms = (int)gx_kind_number(n, f, "txn_linger"),
		.retry_ms = (int)gx_kind_number(n, f, "retry"),
	};
	struct gx_reader *r = NULL;
	void *flow;
	enum gx_rc rc;

	for (size_t i = 0; i < TOPICS_MAX; i++) {
		topics[i] = topic_of(n, f, i);
		if (topics[i] == NULL) {
			break;
		}
	}
	if (topics[0] == NULL) {
		topics[0] = n->topic;
	}
	rc = gx_reader_new(&conf, f->log, f->store, f->verifier, &r, e);
	if (rc != GX_OK) {
		return rc;
	}
	flow = r;
	return gx_worker_start(f->name, &gx_reader_ops, &flow, &f->worker, e);
}

const struct gx_kind_ops gx_kind_sink = {
	.topic = topic_of,
	.start = start_sink,
};
