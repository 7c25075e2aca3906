/*
 * The flow that makes this node's receipts, and the check of those that come.
 *
 * A maker needs the node's key and its database and nothing else; what it says
 * goes out through a flow of kind "own".
 *
 * A receipt of another node is a record that this node's sink takes from a
 * stream, and whoever sealed that stream need not be the one who signed the
 * receipt: it may have been carried on.  So before a line of gx.receipt gets
 * into a table, its own signature is checked against the key ring of that
 * sink's flow, and one that does not hold is set aside with the reason.
 *
 * Nothing is opened on a server before the worker runs.
 */
#include "node/kind.h"

#include "flow/receipt_maker.h"
#include "node/node.h"

#include <string.h>

const char *
gx_node_check_line(void *ctx, const struct gx_resource *r,
		   const struct gx_line *line)
{
	const struct gx_node_flow *f = ctx;
	struct gx_receipt rec;

	if (strcmp(r->name, "gx.receipt") != 0) {
		return NULL;
	}
	if (gx_receipt_parse(line->data, &rec) != NULL) {
		return "receipt.malformed";
	}
	switch (gx_receipt_check(f->keyring, &rec)) {
	case GX_SEAL_GOOD:
		return NULL;
	case GX_SEAL_UNKNOWN_KEY:
		return "receipt.unknown_key";
	case GX_SEAL_NOT_ALLOWED:
	case GX_SEAL_FORGED:
		return "receipt.forged";
	}
	return "receipt.forged";
}

static enum gx_rc
start_receipt(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct gx_receipt_maker_conf conf = {
		.flow = f->name,
		.conninfo = n->conninfo,
		.node = n->id,
		.every_ms = gx_kind_number(n, f, "every"),
	};
	void *flow = gx_receipt_maker_new(&conf, f->key);

	return gx_worker_start(f->name, &gx_receipt_maker_ops, &flow,
			       &f->worker, e);
}

const struct gx_kind_ops gx_kind_receipt = {
	.start = start_receipt,
};
