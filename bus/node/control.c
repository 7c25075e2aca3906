/*
 * Control: what operators wish, and what the flows of this process say.
 *
 * A node's flows may be spread over several daemons, and only one of them
 * answers HTTP.  So a wish is a row of gx_flow, written by whoever answers the
 * API, and obeyed by the daemon that runs the flow, a few times a second.  The
 * same rows carry each flow's state back, so that any process of the node can
 * tell of all.
 *
 * A wish survives a restart: a paused flow stays paused.  An order to restart
 * is a counter, so that two orders are two, and one that stood there before we
 * came is none.  A restart of a flow that has files of its own, such as the
 * declaration of a source, ends its worker and builds it anew from what the
 * files then say; it is done between two looks, so that a worker that is slow
 * to end holds up nobody.  An acceptance is taken once, by the daemon that lives: one
 * that stood there when we start is dropped, because nobody knows any more
 * which change it was meant for.
 *
 * A source that its guard stopped stays so over a restart, however old the
 * changes are by then: its worker rests, and only looks after its source, until
 * an operator accepts.  Its row keeps the reason.
 *
 * A flow that could not be built, because its declaration is refused, has no
 * worker either.  Its row shows it as stopped, with the error, and an order to
 * restart it builds it anew from what its files then say.
 *
 * If the database is away, flows go on as last told.  If we die between taking
 * an acceptance and handing it on, the operator has to say it again: the guard
 * errs on the side of waiting.
 */
#include "node/node.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

#include <string.h>

#define STATUS_MAX (300u << 10)

enum gx_rc
gx_control_begin(struct gx_node *n, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; rc == GX_OK && i < n->n_flows; i++) {
		struct gx_node_flow *f = &n->flows[i];
		const char *p[] = {f->name, n->process};
		const struct gx_rows *rows;

		rc = gx_pg_query(n->pg,
				 "INSERT INTO gx_flow (flow, process) "
				 "VALUES ($1, $2) ON CONFLICT (flow) DO UPDATE "
				 "SET process = excluded.process, "
				 "accept = false "
				 "RETURNING restarts, wish, state = 'stopped' "
				 "AND code = 'guard.mass_change'",
				 2, p, &rows, e);
		if (rc == GX_OK) {
			f->is_held =
				f->worker == NULL && gx_rows_bool(rows, 0, 2);
			f->restarts = gx_rows_int(rows, 0, 0);
			f->is_paused =
				strcmp(gx_rows_str(rows, 0, 1), "pause") == 0;
		}
	}
	return rc;
}

/* A flow with files of its own is built anew from what they then say.  Not one
 * that the guard has stopped: its writer holds the count. */
static void
restart(struct gx_node_flow *f)
{
	struct gx_worker_view v;

	gx_worker_view(f->worker, &v);
	gx_mem_free(v.status);
	if (f->kind->ops->read == NULL ||
	    strcmp(v.code, "guard.mass_change") == 0) {
		gx_worker_restart(f->worker);
		return;
	}
	gx_worker_ask_end(f->worker);
	f->is_renewed = true;
}

/* Wishes of one flow, and the acceptance taken out of the row. */
static enum gx_rc
obey(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const struct gx_rows *rows;
	bool wants_pause, accept;
	int64_t restarts;
	enum gx_rc rc = gx_pg_query(
		n->pg,
		"SELECT wish, accept, restarts FROM gx_flow WHERE flow = $1", 1,
		&f->name, &rows, e);

	if (rc != GX_OK || gx_rows_n(rows) == 0) {
		return rc;
	}
	wants_pause = strcmp(gx_rows_str(rows, 0, 0), "pause") == 0;
	accept = gx_rows_bool(rows, 0, 1);
	restarts = gx_rows_int(rows, 0, 2);
	if (accept) {
		rc = gx_pg_query(n->pg,
				 "UPDATE gx_flow SET accept = false "
				 "WHERE flow = $1",
				 1, &f->name, NULL, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	if (wants_pause && !f->is_paused) {
		gx_worker_pause(f->worker);
	} else if (!wants_pause && (f->is_paused || accept)) {
		gx_worker_resume(f->worker, accept);
	}
	f->is_paused = wants_pause;
	if (restarts > f->restarts) {
		restart(f);
	}
	f->restarts = restarts;
	return GX_OK;
}

static void
note_phase(const struct gx_node_flow *f, enum gx_worker_phase phase)
{
	const char *label[] = {f->name, NULL};

	gx_metric_set(gx_metric(GX_M_FLOW_STATE, label), (double)phase);
}

/* The flow as its worker, or in place of one its fault, says it is. */
static void
view(const struct gx_node_flow *f, struct gx_worker_view *v)
{
	if (f->worker != NULL) {
		gx_worker_view(f->worker, v);
		if (f->is_held) {
			v->phase = GX_W_STOPPED;
		}
		if (f->is_held && v->code[0] == '\0') {
			snprintf(v->code, sizeof v->code, "guard.mass_change");
		}
		return;
	}
	*v = (struct gx_worker_view){
		.phase = GX_W_STOPPED,
		.since_ms = f->fault_at_ms,
		.status = gx_mem_strdup("{}"),
	};
	snprintf(v->code, sizeof v->code, "%s", f->fault.code);
	snprintf(v->text, sizeof v->text, "%s", f->fault.text);
}

static enum gx_rc
tell(struct gx_node *n, const struct gx_node_flow *f, struct gx_err *e)
{
	struct gx_worker_view v;
	char since[GX_TIME_LEN + 1];
	struct gx_buf b;
	struct gx_jw w;
	enum gx_rc rc;

	view(f, &v);
	note_phase(f, v.phase);
	gx_time_format(v.since_ms, since);
	gx_buf_init(&b, STATUS_MAX);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "kind", f->kind->word);
	gx_jw_kv_str(&w, "since", since);
	gx_jw_name(&w, "detail");
	gx_jw_raw(&w, gx_slice_str(v.status));
	gx_jw_end(&w, '}');
	const char *p[] = {f->name,
			   gx_worker_phase_name(v.phase),
			   v.code,
			   f->is_held && v.text[0] == '\0' ? NULL : v.text,
			   b.failed ? "{}" : gx_buf_str(&b),
			   n->process};
	rc = gx_pg_query(n->pg,
			 "UPDATE gx_flow SET state = $2, code = $3, "
			 "detail = coalesce($4, detail), status = $5::jsonb, "
			 "process = $6, "
			 "seen_at = now() WHERE flow = $1",
			 6, p, NULL, e);
	gx_buf_free(&b);
	gx_mem_free(v.status);
	return rc;
}

/* A flow that could not be built: an order to restart it reads its files
 * again.  Kept as it is while a server is away. */
static enum gx_rc
mend(struct gx_node *n, size_t i, struct gx_err *e)
{
	struct gx_node_flow *f = &n->flows[i];
	struct gx_err fault = f->fault;
	const struct gx_rows *rows;
	int64_t restarts;
	enum gx_rc rc = gx_pg_query(n->pg,
				    "SELECT restarts, wish FROM gx_flow "
				    "WHERE flow = $1",
				    1, &f->name, &rows, e);

	if (rc != GX_OK || gx_rows_n(rows) == 0) {
		return rc;
	}
	restarts = gx_rows_int(rows, 0, 0);
	f->is_paused = strcmp(gx_rows_str(rows, 0, 1), "pause") == 0;
	if (restarts > f->restarts) {
		f->fault.code = NULL;
		gx_node_drop_flow(f);
		rc = gx_node_start_flow(n, i, e);
		if (rc != GX_OK) {
			f->fault = fault;
			return rc;
		}
		f->restarts = restarts;
	}
	return tell(n, f, e);
}

/* Once the old worker has ended the flow begins again; a server that is away
 * is tried at the next look. */
static enum gx_rc
renew(struct gx_node *n, size_t i, struct gx_err *e)
{
	struct gx_node_flow *f = &n->flows[i];
	enum gx_rc rc;

	if (f->worker != NULL && !gx_worker_join(&f->worker, 0)) {
		return tell(n, f, e);
	}
	gx_node_drop_flow(f);
	rc = gx_node_start_flow(n, i, e);
	f->is_renewed = rc != GX_OK;
	return rc;
}

/* Only an acceptance lets the flow begin; it is handed on at the next look. */
static enum gx_rc
hold(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = tell(n, f, e);

	if (rc == GX_OK) {
		rc = gx_pg_query(n->pg,
				 "SELECT accept FROM gx_flow WHERE flow = $1",
				 1, &f->name, &rows, e);
	}
	if (rc == GX_OK && gx_rows_n(rows) > 0 && gx_rows_bool(rows, 0, 0)) {
		f->is_held = false;
	}
	return rc;
}

enum gx_rc
gx_control_tick(struct gx_node *n, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	if (n->pg != NULL && !gx_pg_alive(n->pg)) {
		gx_pg_close(&n->pg);
	}
	if (n->pg == NULL) {
		rc = gx_pg_open(n->conninfo, "gxbusd", false, &n->pg, e);
	}
	for (size_t i = 0; rc == GX_OK && i < n->n_flows; i++) {
		struct gx_node_flow *f = &n->flows[i];

		if (f->is_renewed) {
			rc = renew(n, i, e);
			continue;
		}
		if (f->fault.code != NULL) {
			rc = mend(n, i, e);
			continue;
		}
		if (f->worker == NULL) {
			continue;
		}
		if (f->is_held) {
			rc = hold(n, f, e);
			continue;
		}
		rc = obey(n, f, e);
		if (rc == GX_OK) {
			rc = tell(n, f, e);
		}
	}
	if (rc == GX_OK) {
		atomic_fetch_or(&n->ready, GX_DEP_DATABASE);
	} else {
		atomic_fetch_and(&n->ready, ~(unsigned)GX_DEP_DATABASE);
	}
	return rc;
}
