/*
 * Flows that copy this node's log to the node above.
 *
 * A link needs no database: what the receiving log holds says where to go on.
 * Whether there is a node above, and another than this one, is checked for
 * every kind that needs one (conf_table.c).
 *
 * Nothing is opened on a server before the worker runs.
 */
#include "node/kind.h"

#include "flow/link.h"
#include "node/node.h"

static enum gx_rc
start_link(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const char *topic = gx_conf_str(n->conf, "flow", f->name, "topic");
	struct gx_link_conf conf = {
		.flow = f->name,
		.topic = topic[0] ? topic : n->topic,
		.max_in_flight = (size_t)gx_kind_number(n, f, "max_in_flight"),
		.tail = 2 * (size_t)gx_kind_number(n, f, "max_in_flight"),
		.check = gx_conf_bool(n->conf, "flow", f->name, "check"),
	};
	struct gx_link *l = NULL;
	void *flow;
	enum gx_rc rc =
		gx_link_new(&conf, f->log, f->parent_log, f->verifier, &l, e);

	if (rc != GX_OK) {
		return rc;
	}
	flow = l;
	return gx_worker_start(f->name, &gx_link_ops, &flow, &f->worker, e);
}

const struct gx_kind_ops gx_kind_link = {
	.start = start_link,
};
