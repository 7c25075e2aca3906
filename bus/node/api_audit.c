/*
 * API: the audit log around each route, and its reading.
 *
 * What is in it is said by the table of routes: each command, done or failed;
 * each look at content, before the content goes out; and everybody who was
 * refused although he has a name here, or came with credentials that are not
 * known.  A request without any credentials is nobody's act and only counted.
 *
 * A command and its line are one transaction, which this file begins and ends
 * around the route's function: if the line cannot be written the command is
 * undone and answered with 503.  What failed is undone first and noted after.
 *
 * Being refused costs nothing, and must not be able to fill the log: of those
 * lines REFUSED_MAX a minute are written and the rest is left to the counters.
 * A token can be revoked even when the log is full, or whoever filled it could
 * not be shut out.
 *
 * The answer is written to its buffer before the commit and sent after it; if
 * we die between, the caller hears nothing of an act that is done and noted.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "node/audit.h"

#include <stdatomic.h>
#include <string.h>

#define REFUSED_MAX 60

static bool
is_command(const struct gx_route *r)
{
	return strcmp(r->method, "GET") != 0;
}

static uint64_t
max_lines(const struct gx_call *c)
{
	if (c->act && strcmp(c->act, "token.revoke") == 0) {
		return 0;
	}
	return (uint64_t)gx_conf_int(c->n->conf, "node", NULL,
				     "audit_max_lines");
}

/* What the act is on: what the path names, or a body's name. */
static const char *
object_of(const struct gx_call *c)
{
	if (c->arg[0] != NULL) {
		return c->arg[0];
	}
	return c->body ? gx_json_str(c->body, "name", "") : "";
}

static void
make_act(const struct gx_call *c, const struct gx_route *r, const char *outcome,
	 const char *why, struct gx_act *out)
{
	*out = (struct gx_act){
		.node = c->n->id,
		.who = c->caller,
		.role = c->caller[0] ? gx_role_name(c->role) : "unknown",
		.act = c->act	? c->act
		       : r->act ? r->act
				: r->path,
		.on = object_of(c),
		.outcome = outcome,
		.why = why,
	};
}

/* The log itself is the trouble: say so, whatever else was wrong. */
static int
unwritable(struct gx_err *e)
{
	struct gx_err cause = *e;

	if (cause.code == NULL || strcmp(cause.code, "audit.full") != 0) {
		(void)GX_ERR(e, GX_AGAIN, "audit.unwritable",
			     "nothing was done: the audit log cannot be "
			     "written (%.200s)",
			     cause.text);
	}
	return 503;
}

int
gx_api_audit_before(struct gx_call *c, const struct gx_route *r,
		    struct gx_err *e)
{
	struct gx_act a;

	if (r->act == NULL) {
		return 0;
	}
	c->act = r->act;
	if (is_command(r)) {
		return gx_pg_exec(c->pg, "BEGIN", e) == GX_OK ? 0 : 503;
	}
	make_act(c, r, "shown", "", &a);
	return gx_audit_note(c->pg, &a, max_lines(c), e) == GX_OK
		       ? 0
		       : unwritable(e);
}

/* May one more line about somebody refused be written this minute? */
static bool
has_room_for_refused(void)
{
	static atomic_int_least64_t minute;
	static atomic_int n;
	int64_t now = gx_mono_ms() / 60000;

	if (atomic_exchange(&minute, now) != now) {
		atomic_store(&n, 0);
	}
	return atomic_fetch_add(&n, 1) < REFUSED_MAX;
}

static bool
is_worth_a_line(const struct gx_call *c, const struct gx_route *r, int status,
		const struct gx_err *e)
{
	if (c->pg == NULL) {
		return false;
	}
	if (status == 401) {
		return e->code && strcmp(e->code, "api.bad_token") == 0 &&
		       has_room_for_refused();
	}
	return status == 403 ? has_room_for_refused() : r->act && is_command(r);
}

/* It was not done: undo, then note that. */
static int
note_failure(struct gx_call *c, const struct gx_route *r, int status,
	     struct gx_err *e)
{
	struct gx_err own = {0};
	struct gx_act a;
	char why[16];

	gx_pg_rollback(c->pg);
	snprintf(why, sizeof why, "GX%d",
		 gx_error_number(e->code ? e->code : "internal"));
	make_act(c, r, status == 401 || status == 403 ? "refused" : "failed",
		 why, &a);
	if (gx_audit_note(c->pg, &a, max_lines(c), &own) != GX_OK) {
		gx_log_err(GX_LOG_WARN, &own); /* refused all the same */
	}
	return status;
}

int
gx_api_audit_after(struct gx_call *c, const struct gx_route *r, int status,
		   struct gx_err *e)
{
	struct gx_act a;
	enum gx_rc rc;

	if (status != 0) {
		return is_worth_a_line(c, r, status, e)
			       ? note_failure(c, r, status, e)
			       : status;
	}
	if (r->act == NULL || !is_command(r)) {
		return 0;
	}
	make_act(c, r, "done",
		 c->body ? gx_json_str(c->body, "reason", "") : "", &a);
	if (gx_audit_append(c->pg, &a, max_lines(c), e) != GX_OK) {
		gx_pg_rollback(c->pg);
		return unwritable(e);
	}
	rc = gx_pg_exec(c->pg, "COMMIT", e);
	if (rc == GX_AGAIN || rc == GX_ABORT) {
		(void)GX_ERR(e, GX_AGAIN, "audit.in_doubt",
			     "the database went away while this was being "
			     "committed: it was done, with its line, or not");
		return 503;
	}
	return rc == GX_OK ? 0 : unwritable(e);
}

/* ---- reading ---- */

enum gx_rc
gx_api_audit(struct gx_call *c, struct gx_err *e)
{
	const char *after = gx_http_query(c->req, "after");
	char limit[16];
	const char *p[] = {after ? after : "0", limit};
	const struct gx_rows *rows;
	uint64_t n;
	int max = 0;
	enum gx_rc rc = gx_api_limit(c, &max, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (!gx_parse_u64(p[0], strlen(p[0]), INT64_MAX, &n)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "after: the number of a line");
	}
	snprintf(limit, sizeof limit, "%d", max + 1);
	rc = gx_pg_query(c->pg,
			 "SELECT n, line FROM gx_audit WHERE n > $1::bigint "
			 "ORDER BY n LIMIT $2::integer",
			 2, p, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows) && i < max; i++) {
		gx_jw_str(&c->w, gx_rows_slice(rows, i, 1));
	}
	gx_api_list_end(c, gx_rows_n(rows) > max ? gx_rows_str(rows, max - 1, 0)
						 : NULL);
	return GX_OK;
}

enum gx_rc
gx_api_audit_head(struct gx_call *c, struct gx_err *e)
{
	const struct gx_rows *rows;
	char now[GX_TIME_LEN + 1];
	enum gx_rc rc = gx_pg_query(c->pg, "SELECT n, hash FROM gx_audit_head",
				    0, NULL, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_time_format(gx_now_ms(), now);
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_int(&c->w, "v", 1);
	gx_jw_kv_str(&c->w, "node", c->n->id);
	gx_jw_kv_int(&c->w, "n", gx_rows_n(rows) ? gx_rows_int(rows, 0, 0) : 0);
	gx_jw_kv_str(&c->w, "hash",
		     gx_rows_n(rows) ? gx_rows_str(rows, 0, 1) : "");
	gx_jw_kv_str(&c->w, "at", now);
	gx_jw_end(&c->w, '}');
	return GX_OK;
}
