/*
 * Wiring: a flow's section of the configuration becomes a running worker.
 *
 * Each flow gets handles of its own: Kafka, store, keyring, verifier, and for
 * a source the private key.  Nothing is shared between workers but the
 * configuration and the declarations, which never change.  That costs a few
 * handles per flow and saves every lock; a flow is a pair of places, so there
 * are few.
 *
 * What a stream needs to be taken here is decided by admit(): it must lie in
 * the topic of the node that its name begins with (refuse), and its schema
 * must be one of our declarations, byte for byte, or a former text of one that
 * the declaration itself names (else wait: the declaration may still come, and
 * a restart with it goes on).
 *
 * If building fails half-way, what was made stays in the flow and is used by
 * the next attempt; nothing has been opened on a server by then.
 */
#include "node/node.h"

#include "base/log.h"
#include "flow/link.h"
#include "flow/reader.h"
#include "flow/store_pg.h"
#include "flow/writer.h"

#include <string.h>
#include <sys/random.h>

#define TOPICS_MAX 64
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

static enum gx_verdict
admit(void *ctx, struct gx_slice stream, struct gx_slice schema,
      struct gx_slice topic)
{
	static const char prefix[] = "gx.batch.";
	const struct gx_node *n = ctx;
	struct gx_stream_name name;
	size_t len = sizeof prefix - 1;

	if (!gx_stream_parse(stream, &name) || topic.n <= len ||
	    memcmp(topic.p, prefix, len) != 0 ||
	    !gx_slice_eq(name.node, gx_slice(topic.p + len, topic.n - len))) {
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

/* Keys and clients, made once. */
static enum gx_rc
equip(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	if (f->log == NULL) {
		rc = gx_node_kafka(n, false, &f->log, e);
	}
	if (rc == GX_OK && f->keyring == NULL) {
		rc = gx_keyring_load(
			gx_conf_str(n->conf, "node", NULL, "trust"),
			&f->keyring, e);
	}
	if (rc == GX_OK && f->verifier == NULL) {
		f->verifier = gx_verifier_new(f->keyring);
	}
	if (rc == GX_OK && f->store == NULL && f->kind != GX_NODE_LINK_UP) {
		rc = gx_node_store(n, f->name, &f->store, e);
	}
	return rc;
}

static enum gx_rc
source_streams(struct gx_node *n, const struct gx_node_flow *f,
	       struct gx_writer_stream *out, size_t *n_out, struct gx_err *e)
{
	size_t k = gx_src_pg_n_streams(f->src);

	if (k > STREAMS_MAX) {
		return GX_ERR(e, GX_REJECT, "writer.streams",
			      "flow %s declares %zu streams, at most %d",
			      f->name, k, STREAMS_MAX);
	}
	for (size_t i = 0; i < k; i++) {
		const char *stream = gx_src_pg_stream(f->src, i);
		const struct gx_rows *rows;
		enum gx_rc rc = gx_pg_query(
			n->pg,
			"SELECT partition FROM gx_stream WHERE stream = $1", 1,
			&stream, &rows, e);

		if (rc != GX_OK) {
			return rc;
		}
		out[i].stream = stream;
		out[i].schema_id =
			gx_node_resource(n, gx_src_pg_resource(f->src, i)->name)
				->id;
		out[i].partition =
			gx_rows_n(rows) > 0
				? (int32_t)gx_rows_int(rows, 0, 0)
				: gx_node_partition(stream, n->n_partitions);
	}
	*n_out = k;
	return GX_OK;
}

static int64_t
number(const struct gx_node *n, const struct gx_node_flow *f, const char *key)
{
	return gx_conf_int(n->conf, "flow", f->name, key);
}

static enum gx_rc
start_source(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct gx_writer_stream *streams =
		gx_mem_new(STREAMS_MAX * sizeof *streams);
	struct gx_writer_conf conf = {
		.flow = f->name,
		.topic = n->topic,
		.streams = streams,
		.max_lines = (size_t)number(n, f, "batch_max_lines"),
		.max_bytes = (size_t)number(n, f, "batch_max_bytes"),
		.linger_ms = (int)number(n, f, "linger"),
		.max_unread = (size_t)number(n, f, "max_unread"),
		.look_ms = 100,
		.release_ms = 1000,
		.guard_percent = (int)number(n, f, "guard_percent"),
		.guard_window_ms = number(n, f, "guard_window"),
		.guard_floor = (uint64_t)number(n, f, "guard_floor"),
		.random = draw,
	};
	struct gx_writer *w = NULL;
	void *flow;
	enum gx_rc rc = source_streams(n, f, streams, &conf.n_streams, e);

	if (rc == GX_OK && f->key == NULL) {
		rc = gx_key_load_private(
			gx_conf_str(n->conf, "node", NULL, "key"), &f->key, e);
	}
	if (rc == GX_OK && f->sealer == NULL) {
		f->sealer = gx_sealer_new(f->key);
	}
	if (rc == GX_OK) {
		conf.origin = gx_src_pg_origin(f->src);
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

static enum gx_rc
start_sink(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const char *topics[TOPICS_MAX + 1] = {0};
	struct gx_reader_conf conf = {
		.flow = f->name,
		.topics = topics,
		.own_topic = n->topic,
		.admit = admit,
		.admit_ctx = n,
		.txn_lines = (size_t)number(n, f, "txn_lines"),
		.txn_bytes = (size_t)number(n, f, "txn_bytes"),
		.txn_ms = (int)number(n, f, "txn_linger"),
		.retry_ms = (int)number(n, f, "retry"),
	};
	struct gx_reader *r = NULL;
	void *flow;
	enum gx_rc rc;

	for (size_t i = 0; i < TOPICS_MAX; i++) {
		topics[i] = gx_conf_word(n->conf, "flow", f->name, "topics", i);
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

static enum gx_rc
start_link(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const char *topic = gx_conf_str(n->conf, "flow", f->name, "topic");
	struct gx_link_conf conf = {
		.flow = f->name,
		.topic = topic[0] ? topic : n->topic,
		.max_in_flight = (size_t)number(n, f, "max_in_flight"),
		.tail = 2 * (size_t)number(n, f, "max_in_flight"),
		.check = gx_conf_bool(n->conf, "flow", f->name, "check"),
	};
	struct gx_link *l = NULL;
	void *flow;
	enum gx_rc rc = GX_OK;

	if (f->parent_log == NULL) {
		rc = gx_node_kafka(n, true, &f->parent_log, e);
	}
	if (rc == GX_OK) {
		rc = gx_link_new(&conf, f->log, f->parent_log, f->verifier, &l,
				 e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	flow = l;
	return gx_worker_start(f->name, &gx_link_ops, &flow, &f->worker, e);
}

enum gx_rc
gx_node_start_flow(struct gx_node *n, size_t i, struct gx_err *e)
{
	struct gx_node_flow *f = &n->flows[i];
	enum gx_rc rc = GX_OK;

	if (f->worker != NULL) {
		return GX_OK;
	}
	if (f->is_held) {
		gx_log(GX_LOG_ERROR, "guard.mass_change",
		       "held=\"since a former start\" next=\"if it is meant: "
		       "gxbus flow resume %s --accept\"",
		       f->name);
		return GX_OK;
	}
	rc = equip(n, f, e);
	if (rc == GX_OK) {
		switch (f->kind) {
		case GX_NODE_SOURCE:
			rc = start_source(n, f, e);
			break;
		case GX_NODE_SINK:
			rc = start_sink(n, f, e);
			break;
		case GX_NODE_LINK_UP:
			rc = start_link(n, f, e);
			break;
		}
	}
	if (rc != GX_OK) {
		gx_err_note(e, "flow %s", f->name);
	}
	return rc;
}
