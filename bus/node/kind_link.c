/*
 * Flows between this node's log and that of the node above.
 *
 * A link-up copies topics of batches to the node above: this node's own, and
 * those of the nodes below it, which it carries on.  A link-down copies the
 * one topic that the node above fills for this node, gx.down.<this node>, to
 * its like here.  Both are run by the node below, which alone opens
 * connections.  A link-up takes no gx.down.*: what came down never goes up.
 *
 * One link copies one topic.  A flow of several is a row of links that take
 * turns; when a server is in trouble the flow is opened anew with all of them,
 * which costs nothing but a look at the receiving log.  A link that cannot go
 * on, because its logs contradict each other, is left alone and named in the
 * state of the flow until it is opened anew; the others copy on, and only if
 * none is left the flow stops.  While nothing comes, each waits a moment in its
 * turn.
 *
 * A link needs no database: what the receiving log holds says where to go on.
 * Whether there is a node above, and another than this one, is checked for
 * every kind that needs one (conf_table.c).
 *
 * Nothing is opened on a server before the worker runs.  There is no state to
 * lose: if we die on any line it is as if each link had died alone.
 */
#include "node/kind.h"

#include "base/log.h"
#include "flow/link.h"
#include "node/node.h"

#include <string.h>

#define LINKS_MAX 64
#define TURN_MS 20 /* at most, for one of several */

struct links {
	void *link[LINKS_MAX];	       /* of gx_link_ops */
	struct gx_err left[LINKS_MAX]; /* code set: it is left alone */
	size_t n;
};

/* After one link's error: it is left alone, or all begin anew.  GX_OK: the
 * others go on. */
static enum gx_rc
leave(struct links *ls, size_t i, enum gx_rc rc, struct gx_err *e)
{
	size_t n_left = 0;

	if (rc != GX_FATAL && rc != GX_REJECT) {
		return rc;
	}
	ls->left[i] = *e;
	gx_link_ops.close(ls->link[i]);
	for (size_t k = 0; k < ls->n; k++) {
		n_left += ls->left[k].code != NULL;
	}
	if (n_left == ls->n) {
		return rc;
	}
	gx_log_err(GX_LOG_ERROR, e);
	e->code = NULL;
	return GX_OK;
}

static enum gx_rc
open_links(void *flow, struct gx_err *e)
{
	struct links *ls = flow;
	enum gx_rc rc = GX_OK;

	memset(ls->left, 0, sizeof ls->left);
	for (size_t i = 0; rc == GX_OK && i < ls->n; i++) {
		rc = gx_link_ops.open(ls->link[i], e);
		if (rc != GX_OK) {
			rc = leave(ls, i, rc, e);
		}
	}
	return rc;
}

static enum gx_rc
step_all(struct links *ls, int timeout_ms, bool *did, struct gx_err *e)
{
	for (size_t i = 0; i < ls->n; i++) {
		enum gx_rc rc;

		if (ls->left[i].code != NULL) {
			continue;
		}
		rc = gx_link_ops.step(ls->link[i], timeout_ms, e);
		*did |= rc == GX_OK;
		if (rc != GX_OK && rc != GX_AGAIN) {
			rc = leave(ls, i, rc, e);
			if (rc != GX_OK) {
				return rc;
			}
		}
	}
	return GX_OK;
}

static enum gx_rc
step_links(void *flow, int timeout_ms, struct gx_err *e)
{
	struct links *ls = flow;
	bool did = false;
	enum gx_rc rc = step_all(ls, 0, &did, e);

	timeout_ms /= (int)ls->n;
	if (ls->n > 1 && timeout_ms > TURN_MS) {
		timeout_ms = TURN_MS;
	}
	if (rc == GX_OK && !did) {
		rc = step_all(ls, timeout_ms, &did, e);
	}
	return rc != GX_OK ? rc : did ? GX_OK : GX_AGAIN;
}

static void
close_links(void *flow)
{
	struct links *ls = flow;

	for (size_t i = 0; i < ls->n; i++) {
		gx_link_ops.close(ls->link[i]);
	}
}

static void
status_links(void *flow, struct gx_jw *w)
{
	struct links *ls = flow;

	gx_jw_name(w, "links");
	gx_jw_begin(w, '[');
	for (size_t i = 0; i < ls->n; i++) {
		gx_jw_begin(w, '{');
		gx_link_ops.status(ls->link[i], w);
		gx_jw_kv_str(w, "code", ls->left[i].code);
		gx_jw_kv_str(w, "detail",
			     ls->left[i].code ? ls->left[i].text : NULL);
		gx_jw_end(w, '}');
	}
	gx_jw_end(w, ']');
}

static void
accept_links(void *flow)
{
	(void)flow; /* nothing here is held up by a guard */
}

static void
free_links(void **flow)
{
	struct links *ls = *flow;

	if (ls == NULL) {
		return;
	}
	for (size_t i = 0; i < ls->n; i++) {
		gx_link_ops.free(&ls->link[i]);
	}
	gx_mem_free(ls);
	*flow = NULL;
}

static const struct gx_flow_ops links_ops = {
	.kind = "link",
	.open = open_links,
	.step = step_links,
	.close = close_links,
	.status = status_links,
	.accept = accept_links,
	.free = free_links,
};

static enum gx_rc
add_link(struct links *ls, struct gx_node *n, struct gx_node_flow *f,
	 const char *topic, bool is_down, struct gx_err *e)
{
	struct gx_link_conf conf = {
		.flow = f->name,
		.topic = topic,
		.max_in_flight = (size_t)gx_kind_number(n, f, "max_in_flight"),
		.tail = 2 * (size_t)gx_kind_number(n, f, "max_in_flight"),
		.check = gx_conf_bool(n->conf, "flow", f->name, "check"),
	};
	struct gx_link *l = NULL;
	enum gx_rc rc = gx_link_new(&conf, is_down ? f->parent_log : f->log,
				    is_down ? f->log : f->parent_log,
				    f->verifier, &l, e);

	if (rc == GX_OK) {
		ls->link[ls->n++] = l;
	}
	return rc;
}

/* ---- up ---- */

static const char *
up_topic(const struct gx_node *n, const struct gx_node_flow *f, size_t i)
{
	const char *topic = gx_conf_word(n->conf, "flow", f->name, "topics", i);

	return topic == NULL && i == 0 ? n->topic : topic;
}

static enum gx_rc
check_up(const struct gx_conf *c, const char *flow, struct gx_err *e)
{
	const char *topic;

	for (size_t i = 0;
	     (topic = gx_conf_word(c, "flow", flow, "topics", i)) != NULL;
	     i++) {
		if (strncmp(topic, "gx.batch.", 9) != 0 || i == LINKS_MAX) {
			return GX_ERR(e, GX_REJECT, "node.conf",
				      "[flow %s] topics: up to %d topics "
				      "gx.batch.<node>; what came down never "
				      "goes up",
				      flow, LINKS_MAX);
		}
	}
	return GX_OK;
}

static enum gx_rc
start_up(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct links *ls = gx_mem_new(sizeof *ls);
	void *flow = ls;
	const char *topic;
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; rc == GX_OK && (topic = up_topic(n, f, i)) != NULL;
	     i++) {
		rc = add_link(ls, n, f, topic, false, e);
	}
	if (rc != GX_OK) {
		free_links(&flow);
		return rc;
	}
	return gx_worker_start(f->name, &links_ops, &flow, &f->worker, e);
}

const struct gx_kind_ops gx_kind_link = {
	.check = check_up,
	.topic = up_topic,
	.parent_topic = up_topic,
	.start = start_up,
};

/* ---- down ---- */

static const char *
down_topic(const struct gx_node *n, const struct gx_node_flow *f, size_t i)
{
	(void)f;
	return i == 0 ? n->down_topic : NULL;
}

static enum gx_rc
start_down(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct links *ls = gx_mem_new(sizeof *ls);
	void *flow = ls;
	enum gx_rc rc = add_link(ls, n, f, n->down_topic, true, e);

	if (rc != GX_OK) {
		free_links(&flow);
		return rc;
	}
	return gx_worker_start(f->name, &links_ops, &flow, &f->worker, e);
}

const struct gx_kind_ops gx_kind_link_down = {
	.topic = down_topic,
	.parent_topic = down_topic,
	.start = start_down,
};
