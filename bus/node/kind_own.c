/*
 * Flows from this node's outbox into its own log.
 *
 * What the node's own services say (receipts first of all) are records like
 * any other: of the origin /<node>/gx/own, one stream for each resource that
 * the flow's section names.  A service that emits a resource which is not
 * named stops this flow, so nothing is left behind unseen.
 *
 * Streams are declared and the writer is built as for any source
 * (kind_source.c); only what the source is made from differs.  No connection
 * is opened here, and if we die on any line there is nothing to clean up.
 */
#include "node/kind.h"

#include "flow/src_outbox.h"
#include "node/node.h"

#include <string.h>

static enum gx_rc
read_own(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const struct gx_resource *list[GX_NODE_RESOURCES];
	char origin[64];
	struct gx_src_outbox_conf conf = {
		.conninfo = n->conninfo,
		.origin = origin,
		.resources = list,
		.keep_ms = gx_kind_number(n, f, "outbox_keep"),
	};
	const char *name;

	if (f->src != NULL) {
		return GX_OK;
	}
	(void)snprintf(origin, sizeof origin, "/%s/gx/own", n->id);
	while (conf.n_resources < GX_NODE_RESOURCES &&
	       (name = gx_conf_word(n->conf, "flow", f->name, "resources",
				    conf.n_resources)) != NULL) {
		const struct gx_node_resource *r = gx_node_resource(n, name);

		if (r == NULL) {
			return GX_ERR(e, GX_REJECT, "outbox.resource",
				      "[flow %s] resources names %s, which is "
				      "not declared at this node",
				      f->name, name);
		}
		list[conf.n_resources++] = r->r;
	}
	return gx_src_outbox_new(&conf, &f->src, e);
}

static enum gx_rc
prepare_own(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	return gx_kind_source.prepare(n, f, e);
}

static enum gx_rc
start_own(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	return gx_kind_source.start(n, f, e);
}

const struct gx_kind_ops gx_kind_own = {
	.read = read_own,
	.prepare = prepare_own,
	.start = start_own,
};
