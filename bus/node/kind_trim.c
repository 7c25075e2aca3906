/*
 * Flows that take out of this node's log what everybody who needs it has.
 *
 * Runs in any daemon of the node that may ask the Kafka of the node above, if
 * there is one: that log is asked up to where it was copied.  A daemon that may
 * not ask it does not start with such a flow, rather than trim without knowing
 * (check_trim).  The trimmer owns that client; its own log's is the flow's.
 *
 * Nothing is opened on a server before the worker runs.
 */
#include "node/kind.h"

#include "flow/trimmer.h"
#include "node/node.h"

static enum gx_rc
check_trim(const struct gx_conf *c, const char *flow, struct gx_err *e)
{
	if (gx_conf_str(c, "parent", NULL, "id")[0] != '\0' &&
	    gx_conf_str(c, "parent", NULL, "kafka")[0] == '\0') {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[flow %s] trims what the node above has copied: "
			      "set kafka in [parent], or run it in the daemon "
			      "of the link",
			      flow);
	}
	return GX_OK;
}

static enum gx_rc
start_trim(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct gx_trimmer_conf conf = {
		.flow = f->name,
		.conninfo = n->conninfo,
		.node = n->id,
		.parent = gx_conf_str(n->conf, "parent", NULL, "id"),
		.every_ms = gx_kind_number(n, f, "trim_every"),
		.age_ms = gx_kind_number(n, f, "trim_age"),
	};
	struct gx_log *parent = NULL;
	void *flow;
	enum gx_rc rc = GX_OK;

	if (conf.parent[0] != '\0') {
		rc = gx_node_kafka(n, true, &parent, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	flow = gx_trimmer_new(&conf, f->log, &parent, gx_kafka_free);
	return gx_worker_start(f->name, &gx_trimmer_ops, &flow, &f->worker, e);
}

const struct gx_kind_ops gx_kind_trim = {
	.check = check_trim,
	.start = start_trim,
};
