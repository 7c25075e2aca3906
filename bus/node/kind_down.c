/*
 * Flows of what this node makes for a node below it.
 *
 * One flow for each node below: the origin /<node>/gx/down-<child>, a stream
 * for each resource that the child gets, the topic gx.down.<child>, which the
 * child copies home (kind_link.c).  Rows come from the outbox; who puts them
 * there is the sink, in the transaction that changes what they tell of
 * (flow/store_pg_show.c).  So this flow has two duties: to carry the outbox,
 * as every flow of the node's own does, and before that to write down, from
 * the section [child NAME], what the child gets.
 *
 * A resource that is no longer listed there is ended, not forgotten: what the
 * child holds of it is taken back, line by line, and its stream stays, so that
 * these lines have a way.  Listed again it begins anew.
 *
 * If we die on any line some subscriptions are noted with all that follows
 * from them, and others are not: the next start does the rest.
 */
#include "node/kind.h"

#include "flow/src_outbox.h"
#include "flow/store_pg.h"
#include "node/node.h"

#include <string.h>

static const char *
child_of(const struct gx_conf *c, const char *flow)
{
	return gx_conf_str(c, "flow", flow, "child");
}

static enum gx_rc
check_down(const struct gx_conf *c, const char *flow, struct gx_err *e)
{
	const char *child = child_of(c, flow), *name;

	for (size_t i = 0; (name = gx_conf_name(c, "child", i)) != NULL; i++) {
		if (strcmp(name, child) == 0 &&
		    gx_conf_word(c, "child", child, "return", 0) != NULL) {
			return GX_OK;
		}
	}
	return GX_ERR(e, GX_REJECT, "node.conf",
		      "[flow %s] is a down: set child to the name of a section "
		      "[child NAME] that has a key return",
		      flow);
}

static const char *
down_topic(const struct gx_node *n, const struct gx_node_flow *f, size_t i)
{
	const char *child = child_of(n->conf, f->name);

	for (size_t k = 0; i == 0 && k < n->n_children; k++) {
		if (strcmp(n->children[k].id, child) == 0) {
			return n->children[k].topic;
		}
	}
	return NULL;
}

/* ---- the source ---- */

static enum gx_rc
add_resource(const struct gx_node *n, const char *child, const char *name,
	     const struct gx_resource **list, size_t *n_list, struct gx_err *e)
{
	const struct gx_node_resource *r = gx_node_resource(n, name);

	for (size_t i = 0; i < *n_list; i++) {
		if (strcmp(list[i]->name, name) == 0) {
			return GX_OK;
		}
	}
	if (r == NULL || r->r->return_by == GX_RETURN_NONE) {
		return GX_ERR(e, GX_REJECT, "down.resource",
			      "[child %s] return: %s is %s", child, name,
			      r == NULL ? "not declared at this node"
					: "not of a kind that says whom a "
					  "record concerns");
	}
	if (r->r->return_by == GX_RETURN_REGION &&
	    gx_conf_str(n->conf, "child", child, "region")[0] == '\0') {
		return GX_ERR(e, GX_REJECT, "down.resource",
			      "[child %s] return: %s goes by region, and the "
			      "section has none",
			      child, name);
	}
	if (*n_list == GX_NODE_RESOURCES) {
		return GX_ERR(e, GX_REJECT, "down.resource",
			      "[child %s] return: more than %d resources",
			      child, GX_NODE_RESOURCES);
	}
	list[(*n_list)++] = r->r;
	return GX_OK;
}

static enum gx_rc
listed(const struct gx_node *n, const char *child,
       const struct gx_resource **list, size_t *n_list, struct gx_err *e)
{
	const char *name;
	enum gx_rc rc = GX_OK;

	*n_list = 0;
	for (size_t i = 0;
	     rc == GX_OK && (name = gx_conf_word(n->conf, "child", child,
						 "return", i)) != NULL;
	     i++) {
		rc = add_resource(n, child, name, list, n_list, e);
	}
	return rc;
}

static enum gx_rc
make_source(struct gx_node *n, struct gx_node_flow *f,
	    const struct gx_resource *const *list, size_t n_list,
	    struct gx_err *e)
{
	char origin[80];
	struct gx_src_outbox_conf conf = {
		.conninfo = n->conninfo,
		.origin = origin,
		.resources = list,
		.n_resources = n_list,
		.keep_ms = gx_kind_number(n, f, "outbox_keep"),
	};

	(void)snprintf(origin, sizeof origin, "/%s/gx/down-%s", n->id,
		       child_of(n->conf, f->name));
	gx_source_free(&f->src);
	return gx_src_outbox_new(&conf, &f->src, e);
}

static enum gx_rc
read_down(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const struct gx_resource *list[GX_NODE_RESOURCES];
	size_t n_list;
	enum gx_rc rc;

	f->topic = down_topic(n, f, 0);
	if (f->src != NULL) {
		return GX_OK;
	}
	rc = listed(n, child_of(n->conf, f->name), list, &n_list, e);
	return rc == GX_OK ? make_source(n, f, list, n_list, e) : rc;
}

/* ---- subscriptions ---- */

/* Zeros of a level say "all of it": 450100 is 4501.  Levels end at 2, 4, 6, 9
 * and 12 digits (GB/T 2260, GB/T 10114); 450102100000 is one township, and no
 * shorter prefix names it alone. */
static void
trim_region(const char *region, char out[16])
{
	static const size_t ends[] = {12, 9, 6, 4, 2};
	size_t len = strlen(region);

	for (size_t i = 0; i + 1 < sizeof ends / sizeof ends[0]; i++) {
		size_t n = ends[i] - ends[i + 1];

		if (len == ends[i] && strspn(region + ends[i + 1], "0") >= n) {
			len = ends[i + 1];
		}
	}
	(void)snprintf(out, 16, "%.*s", (int)len, region);
}

static void
list_subtree(const struct gx_node *n, const char *child, const char **out)
{
	const char *below;
	size_t k = 0;

	out[k++] = child;
	for (size_t i = 0; (below = gx_conf_word(n->conf, "child", child,
						 "subtree", i)) != NULL;
	     i++) {
		if (strcmp(below, child) != 0 && k < GX_NODE_SUBTREE) {
			out[k++] = below;
		}
	}
	out[k] = NULL;
}

/* Those noted before and not listed any more: ended, and carried on. */
static enum gx_rc
end_others(struct gx_node *n, struct gx_store *store,
	   struct gx_store_pg_give *g, const struct gx_resource **list,
	   size_t *n_list, struct gx_err *e)
{
	const char *names[GX_NODE_RESOURCES];
	const struct gx_rows *rows;
	size_t n_listed = *n_list, n_names = 0;
	enum gx_rc rc = gx_pg_query(n->pg,
				    "SELECT resource FROM gx_subscription "
				    "WHERE child = $1 ORDER BY resource",
				    1, &g->child, &rows, e);

	for (int i = 0; rc == GX_OK && i < gx_rows_n(rows); i++) {
		rc = add_resource(n, g->child, gx_rows_str(rows, i, 0), list,
				  n_list, e);
	}
	for (size_t i = n_listed; rc == GX_OK && i < *n_list; i++) {
		names[n_names++] = list[i]->name;
	}
	for (size_t i = 0; rc == GX_OK && i < n_names; i++) {
		g->resource = names[i];
		g->is_ended = true;
		rc = gx_store_pg_give(store, g, e);
	}
	return rc;
}

static enum gx_rc
subscribe(struct gx_node *n, struct gx_store *store, const char *child,
	  const struct gx_resource **list, size_t *n_list, struct gx_err *e)
{
	const char *subtree[GX_NODE_SUBTREE + 1];
	char region[16];
	struct gx_store_pg_give g = {
		.child = child, .region = region, .subtree = subtree};
	enum gx_rc rc = listed(n, child, list, n_list, e);

	trim_region(gx_conf_str(n->conf, "child", child, "region"), region);
	list_subtree(n, child, subtree);
	for (size_t i = 0; rc == GX_OK && i < *n_list; i++) {
		g.resource = list[i]->name;
		rc = gx_store_pg_give(store, &g, e);
	}
	return rc == GX_OK ? end_others(n, store, &g, list, n_list, e) : rc;
}

static enum gx_rc
prepare_down(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const struct gx_resource *list[GX_NODE_RESOURCES];
	struct gx_store *store = NULL;
	size_t n_list = 0;
	enum gx_rc rc = gx_node_store(n, NULL, &store, e);

	if (rc == GX_OK) {
		rc = subscribe(n, store, child_of(n->conf, f->name), list,
			       &n_list, e);
	}
	gx_store_free(&store);
	if (rc == GX_OK) {
		rc = make_source(n, f, list, n_list, e);
	}
	return rc == GX_OK ? gx_kind_source.prepare(n, f, e) : rc;
}

static enum gx_rc
start_down(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	return gx_kind_source.start(n, f, e);
}

const struct gx_kind_ops gx_kind_down = {
	.check = check_down,
	.topic = down_topic,
	.read = read_down,
	.prepare = prepare_down,
	.start = start_down,
};
