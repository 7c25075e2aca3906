/*
 * Flows from a department's system into this node's log.
 *
 * The declaration of the adapter instance says what kind of source reads there
 * and which streams it makes; nothing here knows a kind of source.  Before the
 * flow starts each of its streams has a row at this node: that is the act by
 * which a stream begins, and it fixes the partition for good.
 *
 * The declaration is read by the main thread, once for each start of the flow,
 * and what was made of it goes to the writer.  A declaration that is refused
 * stops this flow and no other; a restart of the flow reads the file again.
 *
 * If we die on any line some streams are declared and others are not: the next
 * start declares the rest.
 */
#include "node/kind.h"

#include "flow/writer.h"
#include "node/node.h"

#include <string.h>
#include <sys/random.h>

#define STREAMS_MAX 512

static uint64_t
draw(void *ctx)
{
	uint64_t x = 0;

	(void)ctx;
	/* 8 bytes never come short once the pool is ready. */
	if (getrandom(&x, sizeof x, 0) != (ssize_t)sizeof x) {
		GX_ASSERT(false);
	}
	return x;
}

static enum gx_rc
check_source(const struct gx_conf *c, const char *flow, struct gx_err *e)
{
	if (gx_conf_str(c, "flow", flow, "adapter")[0] == '\0') {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[flow %s] is a source: set adapter to the path "
			      "of its declaration",
			      flow);
	}
	return GX_OK;
}

static const struct gx_resource *
find_resource(void *ctx, const char *name)
{
	const struct gx_node_resource *r = gx_node_resource(ctx, name);

	return r ? r->r : NULL;
}

static enum gx_rc
read_source(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct gx_source_conf conf = {
		.node = n->id,
		.path = gx_conf_str(n->conf, "flow", f->name, "adapter"),
		.resource = find_resource,
		.ctx = n,
	};

	return f->src != NULL ? GX_OK : gx_source_new(&conf, &f->src, e);
}

/* By a store of our own: the flow's belongs to its worker. */
/* Keys are spread over the streams of a resource by their number: another one
 * would move keys between streams that live (docs/protocol.md 1).  What was
 * declared and never claimed by a writer does not count: we may have died
 * before all of it was. */
static enum gx_rc
check_count(struct gx_node *n, const struct gx_source *src, size_t i,
	    struct gx_err *e)
{
	const char *stream = src->ops->stream(src, i);
	size_t len = (size_t)(strrchr(stream, '/') - stream) + 1;
	size_t n_declared = 0;
	char prefix[GX_STREAM_MAX + 1];
	const char *p[] = {prefix};
	const struct gx_rows *rows;
	enum gx_rc rc;

	snprintf(prefix, sizeof prefix, "%.*s", (int)len, stream);
	for (size_t k = 0; k < src->ops->n_streams(src); k++) {
		n_declared +=
			strncmp(src->ops->stream(src, k), prefix, len) == 0;
	}
	rc = gx_pg_query(n->pg,
			 "SELECT count(*), coalesce(max(epoch), 0) "
			 "FROM gx_stream "
			 "WHERE is_own AND starts_with(stream, $1)",
			 1, p, &rows, e);
	if (rc != GX_OK || gx_rows_int(rows, 0, 1) == 0 ||
	    gx_rows_int(rows, 0, 0) == (int64_t)n_declared) {
		return rc;
	}
	return GX_ERR(e, GX_FATAL, "stream.count",
		      "%s has %lld streams, the declaration says %zu: put the "
		      "old number back",
		      prefix, (long long)gx_rows_int(rows, 0, 0), n_declared);
}

static const char *
topic_of(const struct gx_node *n, const struct gx_node_flow *f)
{
	return f->topic != NULL ? f->topic : n->topic;
}

static enum gx_rc
declare_streams(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	size_t n_streams = f->src->ops->n_streams(f->src);
	struct gx_store *store = NULL;
	enum gx_rc rc = gx_node_store(n, NULL, &store, e);

	for (size_t i = 0; rc == GX_OK && i < n_streams; i++) {
		const char *stream = f->src->ops->stream(f->src, i);
		int32_t partition;

		rc = check_count(n, f->src, i, e);
		if (rc == GX_OK) {
			rc = gx_node_stream_partition(n, stream, &partition, e);
		}
		if (rc == GX_OK) {
			rc = store->ops->declare(store, stream, topic_of(n, f),
						 partition, e);
		}
	}
	gx_store_free(&store);
	return rc;
}

static enum gx_rc
list_streams(struct gx_node *n, const struct gx_node_flow *f,
	     struct gx_writer_stream *out, size_t *n_out, struct gx_err *e)
{
	const struct gx_source_ops *ops = f->src->ops;
	size_t k = ops->n_streams(f->src);

	if (k > STREAMS_MAX) {
		return GX_ERR(e, GX_REJECT, "writer.streams",
			      "flow %s declares %zu streams, at most %d",
			      f->name, k, STREAMS_MAX);
	}
	for (size_t i = 0; i < k; i++) {
		const struct gx_resource *r = ops->resource(f->src, i);
		enum gx_rc rc;

		out[i].stream = ops->stream(f->src, i);
		out[i].schema_id = gx_node_resource(n, r->name)->id;
		rc = gx_node_stream_partition(n, out[i].stream,
					      &out[i].partition, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	*n_out = k;
	return GX_OK;
}

static enum gx_rc
start_source(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct gx_writer_stream *streams =
		gx_mem_new(STREAMS_MAX * sizeof *streams);
	struct gx_writer_conf conf = {
		.flow = f->name,
		.topic = topic_of(n, f),
		.streams = streams,
		.max_lines = (size_t)gx_kind_number(n, f, "batch_max_lines"),
		.max_bytes = (size_t)gx_kind_number(n, f, "batch_max_bytes"),
		.linger_ms = (int)gx_kind_number(n, f, "linger"),
		.max_unread = (size_t)gx_kind_number(n, f, "max_unread"),
		.look_ms = 100,
		.release_ms = 1000,
		.guard_percent = (int)gx_kind_number(n, f, "guard_percent"),
		.guard_window_ms = gx_kind_number(n, f, "guard_window"),
		.guard_floor = (uint64_t)gx_kind_number(n, f, "guard_floor"),
		.random = draw,
	};
	struct gx_writer *w = NULL;
	void *flow;
	enum gx_rc rc = list_streams(n, f, streams, &conf.n_streams, e);

	if (rc == GX_OK) {
		conf.origin = f->src->ops->origin(f->src);
		rc = gx_writer_new(&conf, f->log, f->store, f->sealer,
				   f->verifier, &f->src, &w, e);
	}
	gx_mem_free(streams);
	if (rc != GX_OK) {
		return rc;
	}
	flow = w;
	return gx_worker_start(f->name, &gx_writer_ops, &flow, &f->worker, e);
}

const struct gx_kind_ops gx_kind_source = {
	.check = check_source,
	.read = read_source,
	.prepare = declare_streams,
	.start = start_source,
};
