/*
 * API: the node itself: health, metrics, status, neighbours, declarations,
 * and the description of the API made from its own table.
 *
 * /livez says only that the process answers.  /readyz looks at the flags that
 * the main thread keeps, opens nothing and is therefore cheap; it is 503 until
 * all that the flows of this process need has been there.  Servers that are
 * away later show as a waiting flow.
 *
 * /metrics is of this process; a node whose flows are spread over several
 * daemons has the states of all of them in gx_flow, and the state of each
 * flow is taken from there.
 *
 * The doctor gathers what a report of a fault needs: versions, dependencies,
 * flows in trouble, streams that stand still, the last lines of the log.  Each
 * check has a name and says what it found; what only another node can mend is
 * a note, not trouble.  It reads no key, token or record, and log lines hold
 * none.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum gx_rc
gx_api_error(struct gx_call *c, struct gx_err *e)
{
	const struct gx_error_def *def = gx_error_find(c->arg[0]);
	char number[16];

	if (def == NULL) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "no error has this number or code");
	}
	snprintf(number, sizeof number, "GX%d", def->number);
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_str(&c->w, "number", number);
	gx_jw_kv_str(&c->w, "code", def->code);
	gx_jw_kv_str(&c->w, "text", def->text);
	gx_jw_kv_str(&c->w, "cause", def->cause);
	gx_jw_kv_str(&c->w, "remedy", def->remedy);
	gx_jw_end(&c->w, '}');
	return GX_OK;
}

enum gx_rc
gx_api_livez(struct gx_call *c, struct gx_err *e)
{
	(void)e;
	c->out->content_type = "text/plain; charset=utf-8";
	(void)gx_buf_puts(&c->out->body, "ok\n");
	return GX_OK;
}

static const struct {
	enum gx_node_dep dep;
	const char *name;
} deps[] = {
	{GX_DEP_DATABASE, "database"},
	{GX_DEP_KAFKA, "kafka"},
	{GX_DEP_PARENT, "parent"},
	{GX_DEP_FLOWS, "flows"},
};

static bool
put_deps(struct gx_call *c)
{
	unsigned wants = atomic_load(&c->n->wants);
	unsigned ready = atomic_load(&c->n->ready);

	gx_jw_name(&c->w, "dependencies");
	gx_jw_begin(&c->w, '{');
	for (size_t i = 0; i < sizeof deps / sizeof deps[0]; i++) {
		if (wants & deps[i].dep) {
			gx_jw_kv_str(&c->w, deps[i].name,
				     ready & deps[i].dep ? "ok" : "away");
		}
	}
	gx_jw_end(&c->w, '}');
	return (wants & ~ready) == 0;
}

enum gx_rc
gx_api_readyz(struct gx_call *c, struct gx_err *e)
{
	bool is_ready;

	(void)e;
	gx_jw_begin(&c->w, '{');
	is_ready = put_deps(c);
	gx_jw_kv_bool(&c->w, "ready", is_ready);
	gx_jw_end(&c->w, '}');
	c->out->status = is_ready ? 200 : 503;
	return GX_OK;
}

enum gx_rc
gx_api_metrics(struct gx_call *c, struct gx_err *e)
{
	static const char *const version[] = {GX_VERSION, NULL};
	static const char *const none[] = {NULL};

	(void)e;
	c->out->content_type = "text/plain; version=0.0.4; charset=utf-8";
	gx_metric_set(gx_metric(GX_M_BUILD_INFO, version), 1);
	gx_metric_set(gx_metric(GX_M_LOG_ERRORS, none),
		      (double)gx_log_n_errors());
	gx_metric_print(&c->out->body);
	return GX_OK;
}

enum gx_rc
gx_api_version(struct gx_call *c, struct gx_err *e)
{
	(void)e;
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_str(&c->w, "gxbus", GX_VERSION);
	gx_jw_kv_str(&c->w, "librdkafka", gx_kafka_version());
	gx_jw_kv_int(&c->w, "libpq", gx_pg_lib_version());
	gx_jw_end(&c->w, '}');
	return GX_OK;
}

enum gx_rc
gx_api_status(struct gx_call *c, struct gx_err *e)
{
	char now[GX_TIME_LEN + 1];
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg,
		"SELECT (SELECT count(*) FROM gx_flow) AS flows, "
		"(SELECT count(*) FROM gx_flow WHERE state IN "
		"('starting','running','paused') AND "
		"seen_at >= now() - interval '15 s') AS flows_well, "
		"(SELECT count(*) FROM gx_stream) AS streams, "
		"(SELECT count(*) FROM gx_stream WHERE stopped_at IS NOT NULL)"
		" AS streams_stopped, "
		"(SELECT coalesce(sum(next_seq - 1), 0)::bigint FROM gx_stream)"
		" AS records_taken, "
		"(SELECT count(*) FROM gx_quarantine WHERE state = 'open') "
		"AS quarantine_open, "
		"(SELECT count(*) FROM gx_held) AS keys_held",
		0, NULL, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_time_format(gx_now_ms(), now);
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_int(&c->w, "v", 1);
	gx_jw_kv_str(&c->w, "node", c->n->id);
	gx_jw_kv_str(&c->w, "region",
		     gx_conf_str(c->n->conf, "node", NULL, "region"));
	gx_jw_kv_str(&c->w, "parent",
		     gx_conf_str(c->n->conf, "parent", NULL, "id"));
	gx_jw_kv_str(&c->w, "version", GX_VERSION);
	gx_jw_kv_str(&c->w, "at", now);
	(void)put_deps(c);
	gx_api_row(&c->w, rows, 0, "iiiiiii");
	gx_jw_end(&c->w, '}');
	return GX_OK;
}

/* This node, the one above, and those below whose streams have come. */
enum gx_rc
gx_api_nodes(struct gx_call *c, struct gx_err *e)
{
	const char *parent = gx_conf_str(c->n->conf, "parent", NULL, "id");
	const char *p[] = {c->n->id, parent};
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg,
		"SELECT split_part(stream, '/', 2) AS id, "
		"CASE split_part(stream, '/', 2) WHEN $1 THEN 'self' "
		"WHEN $2 THEN 'above' ELSE 'below' END AS relation, count(*) "
		"AS streams, "
		"sum(next_seq - 1)::bigint AS records, " GX_SQL_TIME(
			"max(moved_at)") " AS moved_at "
					 "FROM gx_stream GROUP BY 1, 2 ORDER "
					 "BY 1",
		2, p, &rows, e);
	bool is_seen = false, has_above = parent[0] == '\0';

	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		is_seen |= strcmp(gx_rows_str(rows, i, 1), "self") == 0;
		has_above |= strcmp(gx_rows_str(rows, i, 1), "above") == 0;
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "ssiis");
		gx_jw_end(&c->w, '}');
	}
	for (int i = 0; i < 2; i++) {
		if (i == 0 ? is_seen : has_above) {
			continue;
		}
		gx_jw_begin(&c->w, '{');
		gx_jw_kv_str(&c->w, "id", i == 0 ? c->n->id : parent);
		gx_jw_kv_str(&c->w, "relation", i == 0 ? "self" : "above");
		gx_jw_kv_int(&c->w, "streams", 0);
		gx_jw_kv_int(&c->w, "records", 0);
		gx_jw_kv_str(&c->w, "moved_at", NULL);
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

enum gx_rc
gx_api_resources(struct gx_call *c, struct gx_err *e)
{
	(void)e;
	gx_api_list_begin(c);
	for (size_t i = 0; i < c->n->n_resources; i++) {
		const struct gx_resource *r = c->n->resources[i].r;

		gx_jw_begin(&c->w, '{');
		gx_jw_kv_str(&c->w, "name", r->name);
		gx_jw_kv_str(&c->w, "title", r->title);
		gx_jw_kv_int(&c->w, "version", r->version);
		gx_jw_kv_str(&c->w, "schema", c->n->resources[i].id);
		gx_jw_kv_int(&c->w, "items", (int64_t)r->n_fields);
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

/* ---- doctor ---- */

static void
put_finding(struct gx_call *c, const char *check, const char *verdict,
	    const char *finding, const char *next)
{
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_str(&c->w, "check", check);
	gx_jw_kv_str(&c->w, "verdict", verdict);
	gx_jw_kv_str(&c->w, "finding", finding);
	gx_jw_kv_str(&c->w, "next", next);
	gx_jw_end(&c->w, '}');
}

/* What is asked of the database: rows (which, n) of what is not as it should
 * be. */
struct check {
	const char *name, *rows;
	const char *good; /* the finding if there is none */
	const char *bad;  /* stands between the number and which */
	const char *next;
	bool is_by_node; /* which are nodes, and only ours are our trouble */
};

static enum gx_rc
put_check(struct gx_call *c, const struct check *k, struct gx_err *e)
{
	const char *p[] = {c->n->id};
	const struct gx_rows *rows;
	char finding[512], sql[640];
	enum gx_rc rc;

	snprintf(sql, sizeof sql,
		 "SELECT coalesce(sum(n), 0)::bigint, left(string_agg(which, "
		 "', ' ORDER BY which), 100), coalesce(bool_and(which <> $1), "
		 "false) FROM (%s) s(which, n)",
		 k->rows);
	rc = gx_pg_query(c->pg, sql, 1, p, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_int(rows, 0, 0) == 0) {
		put_finding(c, k->name, "ok", k->good, NULL);
		return GX_OK;
	}
	snprintf(finding, sizeof finding, "%" PRId64 " %s%s",
		 gx_rows_int(rows, 0, 0), k->bad, gx_rows_str(rows, 0, 1));
	put_finding(c, k->name,
		    k->is_by_node && gx_rows_str(rows, 0, 2)[0] == 't'
			    ? "note"
			    : "trouble",
		    finding, k->next);
	return GX_OK;
}

static void
put_servers(struct gx_call *c)
{
	unsigned missing =
		atomic_load(&c->n->wants) & ~atomic_load(&c->n->ready);
	char finding[80] = "away:";

	for (size_t i = 0; i < sizeof deps / sizeof deps[0]; i++) {
		size_t at = strlen(finding);

		if (missing & deps[i].dep) {
			snprintf(finding + at, sizeof finding - at, " %s",
				 deps[i].name);
		}
	}
	put_finding(c, "servers", missing ? "trouble" : "ok",
		    missing ? finding : "all that this daemon needs are there",
		    missing ? "start what is away; /readyz follows it" : NULL);
}

enum gx_rc
gx_api_doctor(struct gx_call *c, struct gx_err *e)
{
	static const struct check checks[] = {
		{"daemons",
		 "SELECT flow, 1 FROM gx_flow "
		 "WHERE seen_at < now() - interval '15 s'",
		 "every flow is run by a living daemon",
		 "flows without a living daemon: ",
		 "start the daemon that runs it; gxbus flow list", false},
		{"flows", "SELECT flow, 1 FROM gx_flow WHERE state = 'stopped'",
		 "none is stopped by an error", "stopped by an error: ",
		 "gxbus flow show FLOW names the error and the next step",
		 false},
		{"streams",
		 "SELECT stream, 1 FROM gx_stream "
		 "WHERE stopped_at IS NOT NULL",
		 "none stands still", "stand still: ",
		 "gxbus stream show STREAM names the reason", false},
		{"quarantine",
		 "SELECT stream, count(*) FROM gx_quarantine "
		 "WHERE state = 'open' GROUP BY stream",
		 "no record waits in it", "records wait in it, of ",
		 "gxbus quarantine list; correct them at the source", false},
		{"held keys",
		 "SELECT split_part(origin, '/', 2), count(*) FROM gx_held "
		 "GROUP BY 1",
		 "no key keeps an older row", "keys held; source node ",
		 "gxbus quarantine list at that node shows the reasons", true},
		{"database settings",
		 "SELECT name, 1 FROM pg_settings WHERE name IN "
		 "('fsync','full_page_writes') AND setting = 'off'",
		 "it flushes before it commits", "switched off: ",
		 "set fsync and full_page_writes to on", false},
	};
	struct gx_buf lines;
	enum gx_rc rc = GX_OK;

	gx_api_list_begin(c);
	put_servers(c);
	for (size_t i = 0; rc == GX_OK && i < sizeof checks / sizeof checks[0];
	     i++) {
		rc = put_check(c, &checks[i], e);
	}
	gx_jw_end(&c->w, ']');
	gx_jw_kv_str(&c->w, "next", NULL);
	gx_jw_kv_str(&c->w, "node", c->n->id);
	gx_jw_kv_str(&c->w, "version", GX_VERSION);
	gx_buf_init(&lines, 1u << 20);
	gx_log_recent(&lines);
	gx_jw_name(&c->w, "log");
	gx_jw_str(&c->w, gx_buf_view(&lines));
	gx_buf_free(&lines);
	gx_jw_end(&c->w, '}');
	return rc;
}

/* ---- openapi ---- */

static void
put_response(struct gx_jw *w, const char *status, const char *what,
	     const char *type)
{
	gx_jw_name(w, status);
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, "description", what);
	gx_jw_name(w, "content");
	gx_jw_begin(w, '{');
	gx_jw_name(w, type);
	gx_jw_begin(w, '{');
	gx_jw_name(w, "schema");
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, strstr(type, "problem") ? "$ref" : "description",
		     strstr(type, "problem") ? "#/components/schemas/Problem"
					     : what);
	gx_jw_end(w, '}');
	gx_jw_end(w, '}');
	gx_jw_end(w, '}');
	gx_jw_end(w, '}');
}

/* {name*} becomes {name}; names are given to the parameter list. */
static void
put_path_name(struct gx_jw *w, const char *path)
{
	char out[128];
	size_t n = 0;

	for (; *path != '\0' && n + 1 < sizeof out; path++) {
		if (*path != '*') {
			out[n++] = *path;
		}
	}
	out[n] = '\0';
	gx_jw_name(w, out);
}

static void
put_parameters(struct gx_jw *w, const char *path)
{
	gx_jw_name(w, "parameters");
	gx_jw_begin(w, '[');
	while ((path = strchr(path, '{')) != NULL) {
		char name[32];

		snprintf(name, sizeof name, "%.*s",
			 (int)strcspn(path + 1, "*}"), path + 1);
		gx_jw_begin(w, '{');
		gx_jw_kv_str(w, "name", name);
		gx_jw_kv_str(w, "in", "path");
		gx_jw_kv_bool(w, "required", true);
		gx_jw_name(w, "schema");
		gx_jw_begin(w, '{');
		gx_jw_kv_str(w, "type", "string");
		gx_jw_end(w, '}');
		gx_jw_end(w, '}');
		path++;
	}
	gx_jw_end(w, ']');
}

static void
put_security(struct gx_jw *w, unsigned who)
{
	gx_jw_name(w, "security");
	gx_jw_begin(w, '[');
	for (int i = 0; i < 2; i++) {
		unsigned mask = i == 0 ? GX_ROLE_OPERATOR | GX_ROLE_AUDITOR
				       : GX_ROLE_NODE;

		if (who & mask) {
			gx_jw_begin(w, '{');
			gx_jw_name(w, i == 0 ? "token" : "certificate");
			gx_jw_begin(w, '[');
			gx_jw_end(w, ']');
			gx_jw_end(w, '}');
		}
	}
	gx_jw_end(w, ']');
}

static void
put_operation(struct gx_jw *w, const struct gx_route *r)
{
	char id[96], verb[8];
	size_t n = 0;

	for (; r->method[n] != '\0' && n + 1 < sizeof verb; n++) {
		verb[n] = (char)(r->method[n] | 0x20);
	}
	verb[n] = '\0';
	gx_jw_name(w, verb);
	gx_jw_begin(w, '{');
	snprintf(id, sizeof id, "%s", verb);
	n = strlen(id);
	for (const char *p = r->path; *p != '\0' && n + 1 < sizeof id; p++) {
		if (strchr("{}*", *p) == NULL) {
			id[n++] = *p == '/' || *p == '.' ? '_' : *p;
		}
	}
	id[n] = '\0';
	gx_jw_kv_str(w, "operationId", id);
	gx_jw_kv_str(w, "summary", r->summary);
	put_security(w, r->who);
	put_parameters(w, r->path);
	gx_jw_name(w, "responses");
	gx_jw_begin(w, '{');
	put_response(w,
		     strcmp(r->path, "/api/v1/tokens") == 0 &&
				     strcmp(verb, "post") == 0
			     ? "201"
			     : "200",
		     r->answer,
		     r->run == gx_api_livez || r->run == gx_api_metrics
			     ? "text/plain"
			     : "application/json");
	put_response(w, "4XX", "The request is refused.",
		     "application/problem+json");
	gx_jw_end(w, '}');
	gx_jw_end(w, '}');
}

static const char components[] =
	"{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":"
	"\"bearer\"},\"certificate\":{\"type\":\"mutualTLS\"}},\"schemas\":{"
	"\"Problem\":{\"type\":\"object\",\"description\":\"RFC 9457\","
	"\"required\":[\"type\",\"title\",\"status\",\"code\"],"
	"\"properties\":{\"type\":{\"type\":\"string\"},\"title\":{\"type\":"
	"\"string\"},\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":"
	"\"string\"},\"instance\":{\"type\":\"string\"},\"code\":{\"type\":"
	"\"string\",\"pattern\":\"^GX[0-9]{4}$\"},\"remedy\":{\"type\":"
	"\"string\"}}}}}";

enum gx_rc
gx_api_openapi(struct gx_call *c, struct gx_err *e)
{
	const struct gx_route *r, *before = NULL;
	struct gx_jw *w = &c->w;

	(void)e;
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, "openapi", "3.1.1");
	gx_jw_name(w, "info");
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, "title", "gxbus node");
	gx_jw_kv_str(w, "version", GX_VERSION);
	gx_jw_name(w, "license");
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, "name", "Apache-2.0");
	gx_jw_kv_str(w, "identifier", "Apache-2.0");
	gx_jw_end(w, '}');
	gx_jw_end(w, '}');
	gx_jw_name(w, "servers");
	gx_jw_raw(w, GX_SLICE("[{\"url\":\"/\"}]"));
	gx_jw_name(w, "paths");
	gx_jw_begin(w, '{');
	for (size_t i = 0; (r = gx_api_route(i)) != NULL; i++) {
		/* rows of one path stand together */
		if (before == NULL || strcmp(before->path, r->path) != 0) {
			if (before != NULL) {
				gx_jw_end(w, '}');
			}
			put_path_name(w, r->path);
			gx_jw_begin(w, '{');
		}
		put_operation(w, r);
		before = r;
	}
	gx_jw_end(w, '}');
	gx_jw_end(w, '}');
	gx_jw_name(w, "components");
	gx_jw_raw(w, GX_SLICE(components));
	gx_jw_end(w, '}');
	return GX_OK;
}
