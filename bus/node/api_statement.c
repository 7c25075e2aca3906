/*
 * API: signed statements of what this node holds (trust/statement.h).
 *
 * A statement is made when an operator asks for it, read in one snapshot on a
 * connection of its own, signed with the node's key, and kept in gx_statement
 * together with its line of the audit log.  It says only what this node's own
 * database held; the other side signs its own.
 *
 * Resources of the bus itself (gx.*) are not in it: what is stated of them
 * would be old when it is signed, because signing and receipting move them.
 * Nor are resources whose table no sink here has made yet.
 *
 * If we die before the commit, nothing was said.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/text.h"
#include "trust/statement.h"

#include <string.h>

static enum gx_rc
put_resources(struct gx_call *c, const char *scope, struct gx_err *e)
{
	enum gx_rc rc = gx_pg_exec(c->pg,
				   "BEGIN ISOLATION LEVEL REPEATABLE READ, "
				   "READ ONLY",
				   e);

	gx_jw_name(&c->w, "resources");
	gx_jw_begin(&c->w, '[');
	for (size_t i = 0; rc == GX_OK && i < c->n->n_resources; i++) {
		const struct gx_resource *r = c->n->resources[i].r;
		bool has = false;

		if (strcmp(r->domain, "gx") == 0) {
			continue;
		}
		rc = gx_api_has_table(c->pg, r, &has, e);
		if (rc == GX_OK && has) {
			rc = gx_api_put_state(c, r, scope[0] ? scope : NULL, e);
		}
	}
	gx_jw_end(&c->w, ']');
	return rc == GX_OK ? gx_pg_exec(c->pg, "COMMIT", e) : rc;
}

/* The unsigned text: written where answers are, on another connection. */
static enum gx_rc
put_statement(struct gx_call *c, const char *scope, const char *at,
	      struct gx_buf *text, struct gx_err *e)
{
	struct gx_call own = *c;
	enum gx_rc rc;

	own.pg = NULL;
	gx_jw_init(&own.w, text);
	rc = gx_pg_open(c->n->conninfo, "gxbusd statement", false, &own.pg, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_jw_begin(&own.w, '{');
	gx_jw_kv_str(&own.w, "v", "gxbus.statement.1");
	gx_jw_kv_str(&own.w, "node", c->n->id);
	gx_jw_kv_str(&own.w, "scope", scope);
	gx_jw_name(&own.w, "day");
	gx_jw_str(&own.w, gx_slice(at, 10));
	gx_jw_kv_str(&own.w, "at", at);
	rc = put_resources(&own, scope, e);
	gx_pg_close(&own.pg);
	return rc;
}

static enum gx_rc
sign(struct gx_call *c, struct gx_buf *text, struct gx_err *e)
{
	struct gx_key *k = NULL;
	enum gx_rc rc = gx_key_load_private(
		gx_conf_str(c->n->conf, "node", NULL, "key"), &k, e);

	if (rc == GX_OK) {
		rc = gx_statement_sign(k, text, e);
	}
	gx_key_free(&k);
	return rc;
}

enum gx_rc
gx_api_statement_make(struct gx_call *c, struct gx_err *e)
{
	const char *scope = c->body ? gx_json_str(c->body, "scope", "") : "";
	char at[GX_TIME_LEN + 1], day[11];
	const char *p[3] = {day, scope};
	struct gx_buf text;
	enum gx_rc rc;

	if (strlen(scope) > 32 ||
	    strspn(scope, "abcdefghijklmnopqrstuvwxyz0123456789-") !=
		    strlen(scope)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "scope: the name of a node, whose records");
	}
	gx_time_format(gx_now_ms(), at);
	snprintf(day, sizeof day, "%.10s", at);
	gx_buf_init(&text, GX_STATEMENT_MAX);
	rc = put_statement(c, scope, at, &text, e);
	if (rc == GX_OK) {
		rc = sign(c, &text, e);
	}
	if (rc == GX_OK) {
		p[2] = gx_buf_str(&text);
		rc = gx_pg_query(c->pg,
				 "INSERT INTO gx_statement (day, scope, line) "
				 "VALUES ($1::date, $2, $3)",
				 3, p, NULL, e);
	}
	if (rc == GX_OK) {
		c->out->status = 201;
		gx_jw_begin(&c->w, '{');
		gx_jw_kv_int(&c->w, "v", 1);
		gx_jw_name(&c->w, "statement");
		gx_jw_str(&c->w, gx_buf_view(&text));
		gx_jw_end(&c->w, '}');
	}
	gx_buf_free(&text);
	return rc;
}

enum gx_rc
gx_api_statements(struct gx_call *c, struct gx_err *e)
{
	const char *p[] = {gx_http_query(c->req, "day"),
			   gx_http_query(c->req, "scope")};
	const struct gx_rows *rows;
	enum gx_rc rc;

	if (p[0] != NULL &&
	    (strlen(p[0]) != 10 || strspn(p[0], "0123456789-") != 10)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "day: as 2026-11-24");
	}
	rc = gx_pg_query(c->pg,
			 "SELECT DISTINCT ON (day, scope) day::text, scope, "
			 "line AS statement FROM gx_statement WHERE "
			 "($1::text IS NULL OR day::text = $1) AND "
			 "($2::text IS NULL OR scope = $2) "
			 "ORDER BY day DESC, scope, id DESC LIMIT 100",
			 2, p, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "sss");
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}
