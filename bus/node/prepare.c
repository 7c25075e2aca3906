/*
 * Preparing: what must be there before flows run.
 *
 * In order: the tables of the node (migrations), its batch topic and those its
 * flows follow, and those they want at the node above.  What one flow alone needs is
 * its kind's to prepare (kind_*.c).  Each step asks first and changes only what is missing, so the whole
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
	static const char *const props[] = {
		"cleanup.policy", "delete", "retention.ms", "-1",
		"retention.bytes", "-1", "flush.messages", "1",
		/* else a broker refuses who is an
					     * hour ahead of it */
		"message.timestamp.type", "LogAppendTime", "max.message.bytes",
		"4194304", NULL};

	return gx_kafka_create_topic(log, topic, n->n_partitions, replication,
				     props, e);
}

/* Topics that the flows of this process want there. */
static enum gx_rc
make_flow_topics(const struct gx_node *n, struct gx_log *log, bool is_parent,
		 int replication, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;
	const char *topic;

	for (size_t i = 0; i < n->n_flows; i++) {
		const struct gx_node_flow *f = &n->flows[i];
		const struct gx_kind_ops *ops = f->kind->ops;
		const char *(*ask)(const struct gx_node *,
				   const struct gx_node_flow *, size_t) =
			is_parent ? ops->parent_topic : ops->topic;

		for (size_t k = 0; rc == GX_OK && ask != NULL &&
				   (topic = ask(n, f, k)) != NULL;
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
	if (rc == GX_OK && !is_parent) {
		rc = make_topic(n, log, n->topic, replication, e);
	}
	if (rc == GX_OK) {
		rc = make_flow_topics(n, log, is_parent, replication, e);
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

enum gx_rc
gx_node_stream_partition(struct gx_node *n, const char *stream,
			 int32_t *partition, struct gx_err *e)
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
	return GX_OK;
}
