/*
 * Preparing: what must be there before flows run.
 *
 * In order: the tables of the node (migrations), its batch topic and those its
 * sinks follow, the topic at the node above, and a row for each stream made
 * here.  Each step asks first and changes only what is missing, so the whole
 * may be done at every start, by several daemons of one node at once, and
 * again after a server was away half-way.
 *
 * A stream keeps the partition it was born in: gx_stream is asked first, and
 * only a stream that has no row gets one, by the hash of its name.
 *
 * A server that is away is GX_AGAIN, and the caller waits and shows it in
 * /readyz.  Wrong passwords, another number of partitions, a changed migration
 * are for a person: the start ends with the named error.
 *
 * If we die on any line, the next start does what is left.
 */
#include "node/node.h"

#include "base/text.h"
#include "flow/store_pg.h"
#include "trust/sm.h"

#include <string.h>

#define PING_MS 3000

static enum gx_rc
prepare_database(struct gx_node *n, struct gx_err *e)
{
	enum gx_rc rc;

	if (n->pg != NULL && !gx_pg_alive(n->pg)) {
		gx_pg_close(&n->pg);
	}
	if (n->pg != NULL) {
		return GX_OK;
	}
	rc = gx_pg_open(n->conninfo, "gxbusd", false, &n->pg, e);
	if (rc == GX_OK) {
		rc = gx_pg_migrate(
			n->pg, gx_conf_str(n->conf, "node", NULL, "migrations"),
			e);
	}
	if (rc != GX_OK) {
		gx_pg_close(&n->pg);
	}
	return rc;
}

static enum gx_rc
make_topic(const struct gx_node *n, struct gx_log *log, const char *topic,
	   int replication, struct gx_err *e)
{
	/* Nothing leaves a batch topic by age, and a broker flushes before it
	 * acknowledges (docs/protocol.md 7). */
	static const char *const props[] = {"cleanup.policy",
					    "delete",
					    "retention.ms",
					    "-1",
					    "retention.bytes",
					    "-1",
					    "flush.messages",
					    "1",
					    "max.message.bytes",
					    "4194304",
					    NULL};

	return gx_kafka_create_topic(log, topic, n->n_partitions, replication,
				     props, e);
}

/* Topics that the sinks of this process follow; a child's topic is made here
 * so that its sink can wait for the child's first link. */
static enum gx_rc
make_sink_topics(const struct gx_node *n, struct gx_log *log, int replication,
		 struct gx_err *e)
{
	enum gx_rc rc = GX_OK;
	const char *topic;

	for (size_t i = 0; i < n->n_flows; i++) {
		for (size_t k = 0;
		     rc == GX_OK && n->flows[i].kind == GX_NODE_SINK &&
		     (topic = gx_conf_word(n->conf, "flow", n->flows[i].name,
					   "topics", k)) != NULL;
		     k++) {
			rc = make_topic(n, log, topic, replication, e);
		}
	}
	return rc;
}

static enum gx_rc
prepare_kafka(const struct gx_node *n, bool is_parent, struct gx_err *e)
{
	const char *section = is_parent ? "parent" : "kafka";
	int replication =
		(int)gx_conf_int(n->conf, section, NULL, "replication");
	struct gx_log *log = NULL;
	enum gx_rc rc = gx_node_kafka(n, is_parent, &log, e);

	if (rc == GX_OK) {
		rc = gx_kafka_ping(log, PING_MS, e);
	}
	if (rc == GX_OK) {
		rc = make_topic(n, log, n->topic, replication, e);
	}
	if (rc == GX_OK && !is_parent) {
		rc = make_sink_topics(n, log, replication, e);
	}
	gx_kafka_free(&log);
	return rc;
}

int32_t
gx_node_partition(const char *stream, int n_partitions)
{
	unsigned char sum[GX_SM3];
	uint32_t x = 0;

	gx_sm3(stream, strlen(stream), sum);
	for (int i = 0; i < 4; i++) {
		x = x << 8 | sum[i];
	}
	return (int32_t)(x % (uint32_t)n_partitions);
}

/* The partition of a stream that has a row, else the one it will get. */
static enum gx_rc
find_partition(struct gx_node *n, const char *stream, int32_t *partition,
	       struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(n->pg,
				    "SELECT partition FROM gx_stream "
				    "WHERE stream = $1 AND is_own",
				    1, &stream, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	*partition = gx_rows_n(rows) > 0
			     ? (int32_t)gx_rows_int(rows, 0, 0)
			     : gx_node_partition(stream, n->n_partitions);
	return GX_OK;
}

static const struct gx_resource *
find_resource(void *ctx, const char *name)
{
	const struct gx_node_resource *r = gx_node_resource(ctx, name);

	return r ? r->r : NULL;
}

static enum gx_rc
declare_streams(struct gx_node *n, struct gx_store *store,
		struct gx_node_flow *f, struct gx_err *e)
{
	struct gx_src_pg_conf conf = {
		.node = n->id,
		.path = gx_conf_str(n->conf, "flow", f->name, "adapter"),
		.resource = find_resource,
		.ctx = n,
	};
	enum gx_rc rc = GX_OK;

	if (f->src == NULL) {
		rc = gx_src_pg_new(&conf, &f->src, e);
	}
	for (size_t i = 0; rc == GX_OK && i < gx_src_pg_n_streams(f->src);
	     i++) {
		const char *stream = gx_src_pg_stream(f->src, i);
		int32_t partition;

		rc = find_partition(n, stream, &partition, e);
		if (rc == GX_OK) {
			rc = store->ops->declare(store, stream, n->topic,
						 partition, e);
		}
	}
	if (rc != GX_OK) {
		gx_err_note(e, "flow %s", f->name);
	}
	return rc;
}

static enum gx_rc
prepare_sources(struct gx_node *n, struct gx_err *e)
{
	struct gx_store *store = NULL;
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; rc == GX_OK && i < n->n_flows; i++) {
		if (n->flows[i].kind != GX_NODE_SOURCE) {
			continue;
		}
		if (store == NULL) {
			rc = gx_node_store(n, NULL, &store, e);
		}
		if (rc == GX_OK) {
			rc = declare_streams(n, store, &n->flows[i], e);
		}
	}
	gx_store_pg_free(&store);
	return rc;
}

enum gx_rc
gx_node_prepare(struct gx_node *n, struct gx_err *e)
{
	enum gx_rc rc = prepare_database(n, e);

	if (rc != GX_OK) {
		atomic_fetch_and(&n->ready, ~(unsigned)GX_DEP_DATABASE);
		return rc;
	}
	atomic_fetch_or(&n->ready, GX_DEP_DATABASE);
	rc = prepare_kafka(n, false, e);
	if (rc != GX_OK) {
		return rc;
	}
	atomic_fetch_or(&n->ready, GX_DEP_KAFKA);
	if (atomic_load(&n->wants) & GX_DEP_PARENT) {
		rc = prepare_kafka(n, true, e);
		if (rc != GX_OK) {
			gx_err_note(e, "the node above");
			return rc;
		}
		atomic_fetch_or(&n->ready, GX_DEP_PARENT);
	}
	return prepare_sources(n, e);
}
