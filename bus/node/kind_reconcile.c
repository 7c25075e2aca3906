/*
 * Reconciliation by schedule: does the node above hold what we have sent?
 *
 * Now and then the flow reads, for each resource, count and digest of this
 * node's own records and the heads of its streams, here and at the node above
 * over its API, by this node's certificate.  Same digest: nothing to say.  Other
 * digests under equal heads are a real difference, because both answers carry
 * the heads that stood when the tables were read.  Other digests under other
 * heads are under way; the next look will see.
 *
 * A difference is not mended here, and not by guess: the flow shows it, in its
 * state and code until a look finds none, in the metric, and once, when it was
 * there at two looks, as a line of level error.  gxbus reconcile run names the
 * keys.
 *
 * Nothing is kept and nothing is written.  If we die, the next look sees the
 * same.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "node/api.h"
#include "node/kind.h"
#include "port/http.h"

#include <poll.h>
#include <string.h>

#define ASK_MS 60000
#define ANSWER_MAX (4u << 20)
#define ARENA_MAX (32u << 20)

struct watch {
	char name[64];
	struct gx_node *n; /* lent; only what never changes is read */
	struct gx_pg *pg;
	int64_t every_ms, look_at_ms;
	int64_t n_same, n_differ, n_under_way;
	int n_looks;	 /* that found a difference, one after another */
	char first[160]; /* a resource that differs, for people */
	char at[GX_TIME_LEN + 1];
};

static enum gx_rc
open_watch(void *flow, struct gx_err *e)
{
	struct watch *w = flow;

	return gx_pg_open(w->n->conninfo, "gxbusd reconcile", false, &w->pg, e);
}

static void
close_watch(void *flow)
{
	struct watch *w = flow;

	gx_pg_close(&w->pg);
}

static void
free_watch(void **flow)
{
	if (*flow != NULL) {
		close_watch(*flow);
		gx_mem_free(*flow);
		*flow = NULL;
	}
}

static void
status_watch(void *flow, struct gx_jw *jw)
{
	struct watch *w = flow;

	gx_jw_kv_str(jw, "looked_at", w->at[0] ? w->at : NULL);
	gx_jw_kv_int(jw, "same", w->n_same);
	gx_jw_kv_int(jw, "differ", w->n_differ);
	gx_jw_kv_int(jw, "under_way", w->n_under_way);
	gx_jw_kv_str(jw, "first", w->first[0] ? w->first : NULL);
}

static void
accept_watch(void *flow)
{
	(void)flow; /* no guard */
}

/* ---- both answers ---- */

/* This node's own, in one snapshot. */
static enum gx_rc
read_here(struct watch *w, const struct gx_resource *r, struct gx_arena *a,
	  const struct gx_json **out, struct gx_err *e)
{
	struct gx_call c = {.n = w->n, .pg = w->pg, .arena = a};
	struct gx_buf text;
	char *kept;
	enum gx_rc rc = gx_pg_exec(w->pg,
				   "BEGIN ISOLATION LEVEL REPEATABLE READ, "
				   "READ ONLY",
				   e);

	gx_buf_init(&text, ANSWER_MAX);
	gx_jw_init(&c.w, &text);
	if (rc == GX_OK) {
		rc = gx_api_put_state(&c, r, w->n->id, e);
	}
	gx_pg_rollback(w->pg);
	kept = gx_arena_dup(a, text.p ? text.p : "", text.n);
	if (rc == GX_OK) {
		rc = kept == NULL
			     ? GX_ERR(e, GX_AGAIN, "mem.none", "no memory")
			     : gx_json_parse(a, gx_slice(kept, text.n), out, e);
	}
	gx_buf_free(&text);
	return rc;
}

static const char *
parent_str(const struct watch *w, const char *key)
{
	const char *s = gx_conf_str(w->n->conf, "parent", NULL, key);

	return s[0] != '\0' ? s : NULL;
}

/* GX_AGAIN, also for an answer that is none: the node above may mend. */
static enum gx_rc
read_there(struct watch *w, const struct gx_resource *r, struct gx_arena *a,
	   const struct gx_json **out, struct gx_err *e)
{
	char url[600];
	struct gx_http_call h = {.method = "GET",
				 .url = url,
				 .ca_file = parent_str(w, "ca"),
				 .cert_file = parent_str(w, "cert"),
				 .key_file = parent_str(w, "cert_key"),
				 .timeout_ms = ASK_MS,
				 .max_answer = ANSWER_MAX};
	struct gx_buf body = {0};
	long status = 0;
	char *kept = NULL;
	enum gx_rc rc;

	snprintf(url, sizeof url, "%.300s/api/v1/reconcile/%s?node=%s",
		 parent_str(w, "url"), r->name, w->n->id);
	rc = gx_http_do(&h, &status, &body, e);
	if (rc == GX_OK && status != 200 && status != 404) {
		rc = GX_ERR(e, GX_AGAIN, "reconcile.peer",
			    "the node above answered with status %ld", status);
	}
	*out = NULL;
	if (rc == GX_OK && status == 200) {
		kept = gx_arena_dup(a, body.p ? body.p : "", body.n);
		rc = kept == NULL
			     ? GX_ERR(e, GX_AGAIN, "mem.none", "no memory")
			     : gx_json_parse(a, gx_slice(kept, body.n), out, e);
	}
	gx_buf_free(&body);
	return rc == GX_OK ? rc : GX_AGAIN;
}

/* ---- a look ---- */

static bool
has_same_heads(const struct gx_json *a, const struct gx_json *b)
{
	a = gx_json_get(a, "streams");
	b = gx_json_get(b, "streams");
	a = a ? a->child : NULL;
	b = b ? b->child : NULL;
	for (; a != NULL && b != NULL; a = a->next, b = b->next) {
		if (strcmp(gx_json_str(a, "stream", "a"),
			   gx_json_str(b, "stream", "b")) != 0 ||
		    strcmp(gx_json_str(a, "head", "a"),
			   gx_json_str(b, "head", "b")) != 0) {
			return false;
		}
	}
	return a == NULL && b == NULL;
}

static void
judge(struct watch *w, const struct gx_resource *r, const struct gx_json *here,
      const struct gx_json *there)
{
	if (there != NULL && strcmp(gx_json_str(here, "digest", "a"),
				    gx_json_str(there, "digest", "b")) == 0) {
		w->n_same++;
	} else if (there != NULL && has_same_heads(here, there)) {
		w->n_differ++;
		snprintf(w->first, sizeof w->first, "%.150s", r->name);
	} else {
		w->n_under_way++;
	}
}

static enum gx_rc
look_at(struct watch *w, const struct gx_resource *r, struct gx_err *e)
{
	struct gx_arena *a = gx_arena_new(ARENA_MAX);
	const struct gx_json *here, *there;
	enum gx_rc rc = read_here(w, r, a, &here, e);

	if (rc == GX_OK) {
		rc = read_there(w, r, a, &there, e);
	}
	if (rc == GX_OK) {
		judge(w, r, here, there);
	}
	gx_arena_free(&a);
	return rc;
}

static enum gx_rc
look(struct watch *w, struct gx_err *e)
{
	struct watch before = *w;
	enum gx_rc rc = GX_OK;

	w->n_same = w->n_differ = w->n_under_way = 0;
	w->first[0] = '\0';
	for (size_t i = 0; rc == GX_OK && i < w->n->n_resources; i++) {
		const struct gx_resource *r = w->n->resources[i].r;
		bool has = false;

		if (strcmp(r->domain, "gx") == 0) {
			continue; /* moved by looking, and by receipts */
		}
		rc = gx_api_has_table(w->pg, r, &has, e);
		if (rc == GX_OK && has) {
			rc = look_at(w, r, e);
		}
	}
	if (rc != GX_OK) {
		w->n_same = before.n_same;
		w->n_differ = before.n_differ;
		w->n_under_way = before.n_under_way;
		memcpy(w->first, before.first, sizeof w->first);
	}
	return rc;
}

static void
tell(struct watch *w)
{
	const char *label[] = {w->name, NULL};

	gx_time_format(gx_now_ms(), w->at);
	gx_metric_set(gx_metric(GX_M_RECONCILE_DIFFER, label),
		      (double)w->n_differ);
	w->n_looks = w->n_differ > 0 ? w->n_looks + 1 : 0;
	if (w->n_looks == 2) {
		gx_log(GX_LOG_ERROR, "reconcile.differs",
		       "resources=%lld first=%s next=\"gxbus reconcile run "
		       "%s\"",
		       (long long)w->n_differ, w->first, w->first);
	}
}

static enum gx_rc
step_watch(void *flow, int timeout_ms, struct gx_err *e)
{
	struct watch *w = flow;
	int64_t left_ms = w->look_at_ms - gx_mono_ms();
	enum gx_rc rc;

	if (left_ms > 0) {
		(void)poll(NULL, 0,
			   left_ms < timeout_ms ? (int)left_ms : timeout_ms);
	} else {
		w->look_at_ms = gx_mono_ms() + w->every_ms;
		rc = look(w, e);
		if (rc != GX_OK) {
			return rc;
		}
		tell(w);
	}
	return w->n_differ == 0
		       ? GX_AGAIN
		       : GX_ERR(e, GX_AGAIN, "reconcile.differs",
				"%lld resources differ under equal heads, "
				"first %s",
				(long long)w->n_differ, w->first);
}

static const struct gx_flow_ops watch_ops = {
	.kind = "reconcile",
	.open = open_watch,
	.step = step_watch,
	.close = close_watch,
	.status = status_watch,
	.accept = accept_watch,
	.free = free_watch,
};

static enum gx_rc
check_watch(const struct gx_conf *c, const char *flow, struct gx_err *e)
{
	if (gx_conf_str(c, "parent", NULL, "url")[0] == '\0') {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[flow %s] has nobody to compare with: set url, "
			      "ca, cert and cert_key in [parent]",
			      flow);
	}
	return GX_OK;
}

static enum gx_rc
start_watch(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	struct watch *w = gx_mem_new(sizeof *w);
	void *flow = w;

	snprintf(w->name, sizeof w->name, "%s", f->name);
	w->n = n;
	w->every_ms = gx_kind_number(n, f, "reconcile_every");
	return gx_worker_start(f->name, &watch_ops, &flow, &f->worker, e);
}

const struct gx_kind_ops gx_kind_reconcile = {
	.check = check_watch,
	.start = start_watch,
};
