/*
 * API: flows, streams and tokens.
 *
 * All of these are rows of the node's database, read and answered as they
 * stand at that moment; nothing is cached.  A command changes one row of
 * gx_flow in one statement, and the daemon that runs the flow obeys it within
 * a second (control.c); the answer is the flow as it stands then, with the
 * wish beside the state, so a caller sees whether it was obeyed already.
 *
 * Lists of streams and flows are short and come whole.
 *
 * Sort order and column names are part of the API.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static enum gx_rc
not_found(struct gx_err *e, const char *what)
{
	return GX_ERR(e, GX_REJECT, "api.not_found", "there is no such %s",
		      what);
}

/* ---- flows ---- */

#define FLOW_SQL                                                               \
	"SELECT flow AS id, status->>'kind' AS kind, wish, "                   \
	"CASE WHEN seen_at < now() - interval '15 s' THEN 'away' "             \
	"ELSE state END AS state, code, detail, "                              \
	"status->>'since' AS since, " GX_SQL_TIME(                             \
		"seen_at") " AS seen_at, process, restarts"

static void
put_flow(struct gx_call *c, const struct gx_rows *rows, int i, bool with_detail)
{
	const char *code = gx_rows_str(rows, i, 4);

	gx_jw_begin(&c->w, '{');
	gx_api_row(&c->w, rows, i, "ssss?s?s?sssi");
	if (code[0] != '\0') {
		char number[16];

		snprintf(number, sizeof number, "GX%d", gx_error_number(code));
		gx_jw_kv_str(&c->w, "number", number);
	}
	if (with_detail) {
		gx_jw_name(&c->w, "status");
		if (gx_rows_null(rows, i, 10)) {
			gx_jw_null(&c->w);
		} else {
			gx_jw_raw(&c->w, gx_rows_slice(rows, i, 10));
		}
	}
	gx_jw_end(&c->w, '}');
}

enum gx_rc
gx_api_flows(struct gx_call *c, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc =
		gx_pg_query(c->pg, FLOW_SQL " FROM gx_flow ORDER BY flow", 0,
			    NULL, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		put_flow(c, rows, i, false);
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

enum gx_rc
gx_api_flow(struct gx_call *c, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(c->pg,
				    FLOW_SQL ", status->'detail' FROM gx_flow "
					     "WHERE flow = $1",
				    1, c->arg, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(rows) == 0) {
		return not_found(e, "flow; gxbus flow list names all");
	}
	put_flow(c, rows, 0, true);
	return GX_OK;
}

static enum gx_rc
command(struct gx_call *c, const char *sql, struct gx_err *e)
{
	enum gx_rc rc = gx_pg_query(c->pg, sql, 1, c->arg, NULL, e);

	if (rc == GX_OK && gx_pg_n_changed(c->pg) == 0) {
		return not_found(e, "flow; gxbus flow list names all");
	}
	return rc == GX_OK ? gx_api_flow(c, e) : rc;
}

enum gx_rc
gx_api_flow_pause(struct gx_call *c, struct gx_err *e)
{
	return command(c, "UPDATE gx_flow SET wish = 'pause' WHERE flow = $1",
		       e);
}

enum gx_rc
gx_api_flow_resume(struct gx_call *c, struct gx_err *e)
{
	bool accept = c->body && gx_json_bool(c->body, "accept", false);

	c->act = accept ? "flow.accept" : c->act;
	return command(c,
		       accept ? "UPDATE gx_flow SET wish = 'run', "
				"accept = true WHERE flow = $1"
			      : "UPDATE gx_flow SET wish = 'run' "
				"WHERE flow = $1",
		       e);
}

enum gx_rc
gx_api_flow_restart(struct gx_call *c, struct gx_err *e)
{
	return command(c,
		       "UPDATE gx_flow SET restarts = restarts + 1 "
		       "WHERE flow = $1",
		       e);
}

/* ---- streams ---- */

/* $2: JSON array of the resources that are declared here.  A stream of another
 * cannot be taken, even before its first batch makes it stand still. */
#define STREAM_SQL                                                             \
	"SELECT s.stream, topic, partition, is_own, epoch, writer, next_seq, " \
	"head, reading_at IS NOT NULL AS is_reading, "                         \
	"CASE WHEN stopped_at IS NOT NULL THEN 'stopped' "                     \
	"WHEN jsonb_exists($2::jsonb, split_part(s.stream, '/', 5)) "          \
	"THEN 'running' ELSE 'undeclared' END "                                \
	"AS state, stopped_at, why AS code, why_text AS detail, " GX_SQL_TIME( \
		"moved_at") " AS moved_at, r.seq AS receipted_seq, "           \
			    "r.sink AS receipted_by FROM gx_stream s "         \
			    "LEFT JOIN %s r ON r.stream = s.stream "
#define STREAM_FMT "ssibisisbsi?s?ssis"

/* Declarations never change while the daemon runs. */
static void
put_resources(const struct gx_node *n, struct gx_buf *b)
{
	struct gx_jw w;

	gx_buf_init(b, GX_NODE_RESOURCES * 256);
	gx_jw_init(&w, b);
	gx_jw_begin(&w, '[');
	for (size_t i = 0; i < n->n_resources; i++) {
		gx_jw_str(&w, gx_slice_str(n->resources[i].r->name));
	}
	gx_jw_end(&w, ']');
}

/* The streams that where takes; p[0] is its parameter. */
static enum gx_rc
query_streams(struct gx_call *c, const char *where, const char **p,
	      const struct gx_rows **rows, struct gx_err *e)
{
	struct gx_buf declared, sql;
	const char *receipted;
	enum gx_rc rc = gx_api_receipted_sql(c, &receipted, e);

	if (rc != GX_OK) {
		return rc;
	}
	put_resources(c->n, &declared);
	p[1] = gx_buf_str(&declared);
	gx_buf_init(&sql, 4096);
	(void)gx_buf_printf(&sql, STREAM_SQL "%s", receipted, where);
	rc = gx_pg_query(c->pg, gx_buf_str(&sql), 2, p, rows, e);
	gx_buf_free(&sql);
	gx_buf_free(&declared);
	return rc;
}

enum gx_rc
gx_api_streams(struct gx_call *c, struct gx_err *e)
{
	const char *p[] = {gx_http_query(c->req, "since"), NULL};
	const struct gx_rows *rows;
	int64_t ms;
	enum gx_rc rc;

	if (p[0] != NULL && !gx_time_parse(p[0], strlen(p[0]), &ms)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "since: a time as in moved_at of this list");
	}
	rc = query_streams(c,
			   "WHERE $1::timestamptz IS NULL OR "
			   "moved_at > $1::timestamptz ORDER BY s.stream",
			   p, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, STREAM_FMT);
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

enum gx_rc
gx_api_stream(struct gx_call *c, struct gx_err *e)
{
	const struct gx_rows *rows;
	char name[300];
	const char *p[] = {name, NULL};
	enum gx_rc rc;

	snprintf(name, sizeof name, "%s%s", c->arg[0][0] == '/' ? "" : "/",
		 c->arg[0]);
	rc = query_streams(c, "WHERE s.stream = $1", p, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(rows) == 0) {
		return not_found(e, "stream; gxbus stream list names all");
	}
	gx_jw_begin(&c->w, '{');
	gx_api_row(&c->w, rows, 0, STREAM_FMT);
	gx_jw_end(&c->w, '}');
	return GX_OK;
}

/* ---- tokens ---- */

#define CREATED GX_SQL_TIME("created_at") " AS created_at, "
#define EXPIRES GX_SQL_TIME("expires_at") " AS expires_at "

static enum gx_rc
keep_token(struct gx_pg *pg, const char *name, const char *role,
	   const char *token, struct gx_err *e)
{
	char hash[65];
	const char *p[] = {name, role, hash};
	enum gx_rc rc;

	gx_api_token_hash(token, hash);
	rc = gx_pg_query(pg,
			 "INSERT INTO gx_token (name, role, hash) "
			 "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			 3, p, NULL, e);
	if (rc == GX_OK && gx_pg_n_changed(pg) == 0) {
		return GX_ERR(e, GX_REJECT, "api.conflict",
			      "a token of this name, or this token, exists: "
			      "revoke it first, or choose another name");
	}
	return rc;
}

enum gx_rc
gx_api_token_make(struct gx_pg *pg, const char *name, const char *role,
		  char out[GX_TOKEN_LEN + 1], struct gx_err *e)
{
	unsigned char bytes[20];
	enum gx_role r;
	enum gx_rc rc;

	if (!gx_role_parse(role, &r)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "role: write operator or auditor");
	}
	if (name[0] == '\0' || strlen(name) > 60 ||
	    !gx_text_printable(name, strlen(name))) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "name: 1 to 60 printable characters");
	}
	if (out[0] != '\0') {
		return keep_token(pg, name, role, out, e);
	}
	if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
		return GX_ERR(e, GX_AGAIN, "api.unavailable",
			      "the system gives no random bytes");
	}
	memcpy(out, "gxbus_", 6);
	gx_hex(bytes, sizeof bytes, out + 6);
	gx_mem_wipe(bytes, sizeof bytes);
	rc = keep_token(pg, name, role, out, e);
	if (rc != GX_OK) {
		gx_mem_wipe(out, GX_TOKEN_LEN);
	}
	return rc;
}

enum gx_rc
gx_api_tokens(struct gx_call *c, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(c->pg,
				    "SELECT name, role, " CREATED EXPIRES
				    "FROM gx_token ORDER BY name",
				    0, NULL, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "ssss");
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

enum gx_rc
gx_api_token_create(struct gx_call *c, struct gx_err *e)
{
	const char *name = c->body ? gx_json_str(c->body, "name", "") : "";
	const char *role = c->body ? gx_json_str(c->body, "role", "") : "";
	char token[GX_TOKEN_LEN + 1] = "";
	enum gx_rc rc = gx_api_token_make(c->pg, name, role, token, e);

	if (rc != GX_OK) {
		return rc;
	}
	c->out->status = 201;
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_str(&c->w, "name", name);
	gx_jw_kv_str(&c->w, "role", role);
	gx_jw_kv_str(&c->w, "token", token);
	gx_jw_end(&c->w, '}');
	gx_mem_wipe(token, sizeof token);
	return GX_OK;
}

enum gx_rc
gx_api_token_revoke(struct gx_call *c, struct gx_err *e)
{
	enum gx_rc rc =
		gx_pg_query(c->pg, "DELETE FROM gx_token WHERE name = $1", 1,
			    c->arg, NULL, e);

	if (rc == GX_OK && gx_pg_n_changed(c->pg) == 0) {
		return not_found(e, "token; gxbus token list names all");
	}
	if (rc == GX_OK) {
		gx_jw_begin(&c->w, '{');
		gx_jw_kv_str(&c->w, "revoked", c->arg[0]);
		gx_jw_end(&c->w, '}');
	}
	return rc;
}
