/*
 * API: from a request to the row that answers it.
 *
 * A request is matched against the table of routes, its caller is found out,
 * and only then the row's function runs.  In this order: path, method, who,
 * database, body.  A path outside the table is 404 for everybody; a caller
 * without credentials hears 401, one whose credentials do not suffice 403.
 *
 * Who calls: a bearer token wins, because somebody typed it; a token that is
 * not known is 401 even if a good certificate came along.  Else the name in
 * the client certificate, which nginx has verified and always overwrites, is
 * a node if our trust folder holds its key, and nobody if not.  Only the SM3 of a token is kept and compared; the token itself is
 * never stored and never logged.
 *
 * Connections to the database are few and lent for one request: a slot is
 * taken under the lock, used without it, given back.  When all are out the
 * request opens one of its own and closes it at the end.
 *
 * Nothing here keeps state between requests, so nothing can be half done when
 * we die; commands are single SQL statements.
 */
#include "node/api.h"

#include "base/log.h"
#include "base/metric.h"
#include "base/text.h"
#include "trust/sm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define POOL 4
#define ARENA_MAX (4u << 20)

#define SEE (GX_ROLE_OPERATOR | GX_ROLE_AUDITOR)
#define SEE_NODE (SEE | GX_ROLE_NODE)
#define ACT GX_ROLE_OPERATOR

struct gx_api {
	struct gx_node *n;
	pthread_mutex_t lock; /* guards free_pg */
	struct gx_pg *free_pg[POOL];
};

static const struct gx_route routes[] = {
	{"GET", "/livez", GX_ROLE_PUBLIC, false, NULL, gx_api_livez,
	 "Is the process alive?", "The word ok."},
	{"GET", "/readyz", GX_ROLE_PUBLIC, false, NULL, gx_api_readyz,
	 "May work be sent here?", "Each dependency and whether it is there."},
	{"GET", "/metrics", GX_ROLE_PUBLIC, false, NULL, gx_api_metrics,
	 "Counters of this process for Prometheus.",
	 "Prometheus text format 0.0.4."},
	{"GET", "/openapi.json", GX_ROLE_PUBLIC, false, NULL, gx_api_openapi,
	 "This description.", "An OpenAPI 3.1.1 document."},
	{"GET", "/errors/{code}", GX_ROLE_PUBLIC, false, NULL, gx_api_error,
	 "What an error means: the address in its \"type\".",
	 "Number, code, text, cause and remedy."},
	{"GET", "/api/v1/version", GX_ROLE_PUBLIC, false, NULL, gx_api_version,
	 "Versions of the program and its libraries.", "Versions by name."},
	{"GET", "/api/v1/status", SEE_NODE, true, NULL, gx_api_status,
	 "The node at one glance.",
	 "Identity, dependencies, counts of flows, streams and quarantine."},
	{"GET", "/api/v1/flows", SEE, true, NULL, gx_api_flows, "All flows.",
	 "Flows with their states."},
	{"GET", "/api/v1/flows/{id}", SEE, true, NULL, gx_api_flow, "One flow.",
	 "State, trouble and details of the flow."},
	{"POST", "/api/v1/flows/{id}/pause", ACT, true, "flow.pause",
	 gx_api_flow_pause, "Pause a flow until it is resumed.", "The flow."},
	{"POST", "/api/v1/flows/{id}/resume", ACT, true, "flow.resume",
	 gx_api_flow_resume,
	 "Resume a flow; {\"accept\":true} accepts a mass change.",
	 "The flow."},
	{"POST", "/api/v1/flows/{id}/restart", ACT, true, "flow.restart",
	 gx_api_flow_restart, "Close a flow and open it again.", "The flow."},
	{"GET", "/api/v1/streams", SEE_NODE, true, NULL, gx_api_streams,
	 "Streams with their heads; ?since= only those moved after it.",
	 "Streams with epoch, next seq and head hash."},
	{"GET", "/api/v1/streams/{name*}", SEE_NODE, true, NULL, gx_api_stream,
	 "One stream.", "Epoch, next seq, head hash and why it stands still."},
	{"GET", "/api/v1/receipts", SEE_NODE, true, NULL, gx_api_receipts,
	 "Receipts known here; ?stream= only of this stream.",
	 "The newest receipt of each sink for each stream and verdict."},
	{"GET", "/api/v1/quarantine", SEE, true, NULL, gx_api_quarantine,
	 "Records set aside, without their content.",
	 "Rows with their reasons."},
	{"GET", "/api/v1/quarantine/stats", SEE, true, NULL,
	 gx_api_quarantine_stats, "Counts of what was set aside.",
	 "Per stream and side: items in each state, the oldest open one."},
	{"GET", "/api/v1/quarantine/{id}", SEE, true, NULL,
	 gx_api_quarantine_one, "One record set aside, values masked.",
	 "The row, its reasons and its masked record."},
	{"GET", "/api/v1/quarantine/{id}/content", SEE, true, "quarantine.show",
	 gx_api_quarantine_content, "One record set aside, with its content.",
	 "The row, its reasons, key, record and original."},
	{"POST", "/api/v1/quarantine/replay", ACT, true,
	 "quarantine.replay_all", gx_api_quarantine_replay_all,
	 "Order replays of the next open items: {\"after\":..,\"stream\":..,"
	 "\"rule\":..,\"dry_run\":true}",
	 "How many were queued and refused, and where to go on."},
	{"POST", "/api/v1/quarantine/{id}/fix", ACT, true, "quarantine.fix",
	 gx_api_quarantine_fix,
	 "Mend a record: {\"set\":[{\"pointer\":\"/item\",\"value\":..}]}; "
	 "422 names what is still wrong.",
	 "The row."},
	{"POST", "/api/v1/quarantine/{id}/replay", ACT, true,
	 "quarantine.replay", gx_api_quarantine_replay,
	 "Order the replay of one item.", "The row."},
	{"POST", "/api/v1/quarantine/{id}/discard", ACT, true,
	 "quarantine.discard", gx_api_quarantine_discard,
	 "Close an item for good: {\"reason\":..}", "The row."},
	{"GET", "/api/v1/nodes", SEE, true, NULL, gx_api_nodes,
	 "This node and its neighbours.", "Nodes with their relation."},
	{"GET", "/api/v1/resources", SEE_NODE, false, NULL, gx_api_resources,
	 "Declared resources.", "Resources with version and digest."},
	{"GET", "/api/v1/reconcile/{resource}", SEE_NODE, true, NULL,
	 gx_api_reconcile,
	 "Counts and digests of a base table's parts; ?ranges= of these, "
	 "?digits= of the parts, ?keys=1 the rows in them, ?node= made there.",
	 "Parts with count and digest, or keys with digest, stream and seq; "
	 "what is set aside; heads of the streams; in one snapshot."},
	{"GET", "/api/v1/statements", SEE_NODE, true, NULL, gx_api_statements,
	 "Statements this node has signed; ?day= of that day, ?scope=",
	 "The newest of each scope, as they were signed."},
	{"POST", "/api/v1/statements", ACT, true, "reconcile.statement",
	 gx_api_statement_make,
	 "State what this node holds, signed: {\"scope\":node} whose records",
	 "The statement (docs/reconcile.md)."},
	{"GET", "/api/v1/trace/{resource}", SEE_NODE, true, NULL, gx_api_trace,
	 "Where a record is at this node, without its values: ?key=",
	 "Rows with stream, seq and head of their batch, receipts, "
	 "quarantine."},
	{"POST", "/api/v1/repair/{resource}", ACT, true, "reconcile.repair",
	 gx_api_repair,
	 "Make rows what this node's signed log says: {\"stream\":..,"
	 "\"from\":seq,\"keys\":[[..],..]}",
	 "How many were written, deleted, already so, and left."},
	{"GET", "/api/v1/topics/{topic}/tail", SEE, true, "topic.tail",
	 gx_api_tail, "The last messages of a batch topic, decoded; ?n=",
	 "Batches and markers with their lines."},
	{"GET", "/api/v1/evidence", SEE, true, NULL, gx_api_evidence,
	 "Proof of records, with their content: ?resource=&key= or "
	 "?stream=&first=&n=",
	 "Bundles that gxbus evidence verify takes (docs/evidence.md)."},
	{"GET", "/api/v1/doctor", SEE, true, NULL, gx_api_doctor,
	 "What a report of a fault needs, without secrets.",
	 "Checks with verdict and next step, and the last lines of the log."},
	{"GET", "/api/v1/tokens", ACT, true, NULL, gx_api_tokens,
	 "Tokens by name.", "Names, roles and times; never a token."},
	{"POST", "/api/v1/tokens", ACT, true, "token.create",
	 gx_api_token_create, "Make a token: {\"name\":..,\"role\":..}",
	 "The token, shown this once."},
	{"DELETE", "/api/v1/tokens/{name}", ACT, true, "token.revoke",
	 gx_api_token_revoke, "Revoke a token.", "Its name."},
	{"GET", "/api/v1/audit", SEE, true, NULL, gx_api_audit,
	 "Lines of the audit log in their order; ?after= a line's number.",
	 "Lines as they are chained."},
	{"GET", "/api/v1/audit/head", SEE, true, NULL, gx_api_audit_head,
	 "The end of the audit log, to be kept elsewhere.",
	 "Number and hash of the last line."},
};

const struct gx_route *
gx_api_route(size_t i)
{
	return i < sizeof routes / sizeof routes[0] ? &routes[i] : NULL;
}

const char *
gx_role_name(enum gx_role r)
{
	switch (r) {
	case GX_ROLE_PUBLIC:
		return "public";
	case GX_ROLE_OPERATOR:
		return "operator";
	case GX_ROLE_AUDITOR:
		return "auditor";
	case GX_ROLE_NODE:
		return "node";
	}
	return "none";
}

bool
gx_role_parse(const char *word, enum gx_role *r)
{
	if (strcmp(word, "operator") == 0) {
		*r = GX_ROLE_OPERATOR;
		return true;
	}
	if (strcmp(word, "auditor") == 0) {
		*r = GX_ROLE_AUDITOR;
		return true;
	}
	return false;
}

bool
gx_api_match(const char *pattern, const char *path, struct gx_arena *a,
	     const char *arg[GX_CALL_ARGS])
{
	size_t n_args = 0;

	while (*pattern != '\0') {
		const char *end;
		size_t n;

		if (*pattern != '{') {
			if (*pattern++ != *path++) {
				return false;
			}
			continue;
		}
		end = strchr(pattern, '}');
		n = end[-1] == '*' ? strlen(path) : strcspn(path, "/");
		if (n == 0 || n_args == GX_CALL_ARGS) {
			return false;
		}
		arg[n_args++] = gx_arena_dup(a, path, n);
		path += n;
		pattern = end + 1;
	}
	return *path == '\0';
}

/* ---- answers ---- */

void
gx_api_problem(struct gx_call *c, int status, const struct gx_err *e)
{
	const struct gx_error_def *def =
		gx_error_find(e->code ? e->code : "internal");
	char type[32], id[16];

	snprintf(id, sizeof id, "GX%d", def ? def->number : 1000);
	snprintf(type, sizeof type, "/errors/%s", id);
	c->out->status = status;
	c->out->content_type = "application/problem+json";
	gx_buf_reset(&c->out->body);
	gx_jw_init(&c->w, &c->out->body);
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_str(&c->w, "type", type);
	gx_jw_kv_str(&c->w, "title", def ? def->text : "An error.");
	gx_jw_kv_int(&c->w, "status", status);
	gx_jw_kv_str(&c->w, "detail", e->text);
	gx_jw_kv_str(&c->w, "instance", c->req->path);
	gx_jw_kv_str(&c->w, "code", id);
	gx_jw_kv_str(&c->w, "remedy", def ? def->remedy : "");
	gx_jw_end(&c->w, '}');
}

enum gx_rc
gx_api_limit(const struct gx_call *c, int *out, struct gx_err *e)
{
	const char *s = gx_http_query(c->req, "limit");
	uint64_t n = 50;

	if (s != NULL && (!gx_parse_u64(s, strlen(s), 1000, &n) || n == 0)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "limit: rows of a page, 1 to 1000");
	}
	*out = (int)n;
	return GX_OK;
}

void
gx_api_list_begin(struct gx_call *c)
{
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_int(&c->w, "v", 1);
	gx_jw_name(&c->w, "items");
	gx_jw_begin(&c->w, '[');
}

void
gx_api_list_end(struct gx_call *c, const char *next)
{
	gx_jw_end(&c->w, ']');
	gx_jw_kv_str(&c->w, "next", next);
	gx_jw_end(&c->w, '}');
}

void
gx_api_row(struct gx_jw *w, const struct gx_rows *rows, int row,
	   const char *fmt)
{
	for (int col = 0; *fmt != '\0'; fmt++, col++) {
		bool may_null = *fmt == '?';
		struct gx_slice v = gx_rows_slice(rows, row, col);

		fmt += may_null;
		gx_jw_name(w, gx_rows_name(rows, col));
		if (gx_rows_null(rows, row, col) || (may_null && v.n == 0)) {
			gx_jw_null(w);
		} else if (*fmt == 'i') {
			gx_jw_int(w, gx_rows_int(rows, row, col));
		} else if (*fmt == 'b') {
			gx_jw_bool(w, gx_rows_bool(rows, row, col));
		} else if (*fmt == 'j') {
			gx_jw_raw(w, v);
		} else {
			gx_jw_str(w, v);
		}
	}
}

/* ---- database ---- */

/* The server may have been away since a connection was used last. */
static bool
still_answers(struct gx_pg *pg)
{
	return gx_pg_alive(pg) &&
	       gx_pg_query(pg, "SELECT 1", 0, NULL, NULL, NULL) == GX_OK;
}

static enum gx_rc
take_pg(struct gx_api *api, struct gx_pg **pg, struct gx_err *e)
{
	*pg = NULL;
	pthread_mutex_lock(&api->lock);
	for (int i = 0; i < POOL && *pg == NULL; i++) {
		*pg = api->free_pg[i];
		api->free_pg[i] = NULL;
	}
	pthread_mutex_unlock(&api->lock);
	if (*pg != NULL && still_answers(*pg)) {
		return GX_OK;
	}
	gx_pg_close(pg);
	return gx_pg_open(api->n->conninfo, "gxbusd api", false, pg, e);
}

static void
give_pg(struct gx_api *api, struct gx_pg **pg)
{
	if (*pg != NULL && gx_pg_alive(*pg)) {
		gx_pg_rollback(*pg);
		pthread_mutex_lock(&api->lock);
		for (int i = 0; i < POOL && *pg != NULL; i++) {
			if (api->free_pg[i] == NULL) {
				api->free_pg[i] = *pg;
				*pg = NULL;
			}
		}
		pthread_mutex_unlock(&api->lock);
	}
	gx_pg_close(pg);
}

/* ---- who calls ---- */

void
gx_api_token_hash(const char *token, char out[65])
{
	unsigned char sum[GX_SM3];

	gx_sm3(token, strlen(token), sum);
	gx_hex(sum, sizeof sum, out);
}

/* The time it takes says nothing about where they differ. */
static bool
equal_hash(const char *a, const char *b)
{
	unsigned differ = strlen(a) != 64 || strlen(b) != 64;

	for (size_t i = 0; i < 64 && a[i] != '\0' && b[i] != '\0'; i++) {
		differ |= (unsigned char)a[i] ^ (unsigned char)b[i];
	}
	return differ == 0;
}

static enum gx_rc
know_token(struct gx_call *c, const char *token, struct gx_err *e)
{
	const struct gx_rows *rows;
	char hash[65];
	const char *p = hash;
	enum gx_rc rc;

	gx_api_token_hash(token, hash);
	rc = gx_pg_query(c->pg,
			 "SELECT hash, role, name FROM gx_token "
			 "WHERE hash = $1 "
			 "AND (expires_at IS NULL OR expires_at > now())",
			 1, &p, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(rows) != 1 ||
	    !equal_hash(gx_rows_str(rows, 0, 0), hash) ||
	    !gx_role_parse(gx_rows_str(rows, 0, 1), &c->role)) {
		return GX_ERR(e, GX_REJECT, "api.bad_token",
			      "the token is unknown, expired or revoked");
	}
	snprintf(c->caller, sizeof c->caller, "%s", gx_rows_str(rows, 0, 2));
	return GX_OK;
}

static enum gx_rc
know_caller(struct gx_call *c, struct gx_err *e)
{
	const char *auth = c->req->authorization;
	const char *cn = c->req->client_cn;
	enum gx_rc rc = GX_OK;

	if (auth != NULL) {
		if (strncasecmp(auth, "Bearer ", 7) != 0 ||
		    strlen(auth + 7) < 20 || strlen(auth + 7) > 200) {
			return GX_ERR(e, GX_REJECT, "api.bad_token",
				      "Authorization holds no bearer token");
		}
		if (c->pg == NULL) {
			rc = take_pg(c->api, &c->pg, e);
		}
		return rc == GX_OK ? know_token(c, auth + 7, e) : rc;
	}
	if (cn != NULL && cn[0] != '\0') {
		if (strncmp(cn, "node:", 5) == 0) {
			cn += 5;
		}
		if (!gx_node_trusts(c->n, cn)) {
			return GX_OK; /* somebody, but no role: 403 */
		}
		c->role = GX_ROLE_NODE;
		snprintf(c->caller, sizeof c->caller, "%s", cn);
		return GX_OK;
	}
	return GX_ERR(e, GX_REJECT, "api.no_credentials",
		      "this route wants a bearer token or a certificate");
}

/* 0 if the caller may go on, else the status. */
static int
admit(struct gx_call *c, const struct gx_route *r, struct gx_err *e)
{
	enum gx_rc rc;

	c->role = GX_ROLE_PUBLIC; /* nobody in particular */
	if (r->who & GX_ROLE_PUBLIC) {
		return 0;
	}
	rc = know_caller(c, e);
	if (rc == GX_REJECT) {
		return 401;
	}
	if (rc != GX_OK) {
		return 503;
	}
	if ((r->who & c->role) == 0) {
		(void)GX_ERR(e, GX_REJECT, "api.forbidden",
			     "the role %s may not call this route",
			     gx_role_name(c->role));
		return 403;
	}
	return 0;
}

/* ---- one request ---- */

static int
status_of(enum gx_rc rc, const struct gx_err *e)
{
	static const struct {
		const char *code;
		int status;
	} map[] = {
		{"api.not_found", 404},	     {"evidence.gone", 404},
		{"api.conflict", 409},	     {"api.bad_request", 400},
		{"log.no_topic", 404},	     {"quarantine.closed", 409},
		{"quarantine.no_way", 409},  {"quarantine.queued", 409},
		{"quarantine.damaged", 409}, {"quarantine.faults", 422},
	};

	for (size_t i = 0; e->code && i < sizeof map / sizeof map[0]; i++) {
		if (strcmp(map[i].code, e->code) == 0) {
			return map[i].status;
		}
	}
	return rc == GX_AGAIN || rc == GX_ABORT ? 503
	       : rc == GX_REJECT		? 400
						: 500;
}

static int
read_body(struct gx_call *c, struct gx_err *e)
{
	if (c->req->body.n == 0) {
		return 0;
	}
	if (gx_json_parse(c->arena, c->req->body, &c->body, e) != GX_OK) {
		return 400;
	}
	if (c->body->type != GX_JSON_OBJECT) {
		(void)GX_ERR(e, GX_REJECT, "api.bad_request",
			     "the body is not a JSON object");
		return 400;
	}
	return 0;
}

static void
serve(struct gx_call *c, const struct gx_route *r)
{
	struct gx_err e = {0};
	enum gx_rc rc = GX_OK;
	int status = admit(c, r, &e);

	if (status == 0 && r->wants_db && c->pg == NULL) {
		rc = take_pg(c->api, &c->pg, &e);
		status = rc == GX_OK ? 0 : 503;
	}
	if (status == 0) {
		status = read_body(c, &e);
	}
	if (status == 0) {
		status = gx_api_audit_before(c, r, &e);
	}
	if (status == 0) {
		rc = r->run(c, &e);
		status = rc == GX_OK ? 0 : status_of(rc, &e);
	}
	if (status == 0 && c->out->body.failed) {
		(void)GX_ERR(&e, GX_REJECT, "mem.full",
			     "the answer is too long: ask for less with limit");
		status = 500;
	}
	if (status == 403 && c->pg == NULL) { /* to be noted; or only counted */
		(void)take_pg(c->api, &c->pg, NULL);
	}
	status = gx_api_audit_after(c, r, status, &e);
	if (status != 0) {
		gx_api_problem(c, status, &e);
		if (status >= 500) {
			gx_log_err(GX_LOG_WARN, &e);
		}
	}
	if (c->role == GX_ROLE_OPERATOR && strcmp(r->method, "GET") != 0) {
		gx_log(GX_LOG_NOTICE, "api.command",
		       "route=%s caller=%s status=%d", r->path, c->caller,
		       c->out->status);
	}
}

static void
find_and_serve(struct gx_call *c)
{
	const struct gx_route *r;
	bool is_path = false;
	struct gx_err e = {0};

	for (size_t i = 0; (r = gx_api_route(i)) != NULL; i++) {
		if (!gx_api_match(r->path, c->req->path, c->arena, c->arg)) {
			continue;
		}
		is_path = true;
		if (strcmp(r->method, c->req->method) == 0) {
			serve(c, r);
			return;
		}
	}
	if (is_path) {
		(void)GX_ERR(&e, GX_REJECT, "api.method",
			     "this path has no method %.10s", c->req->method);
	} else {
		(void)GX_ERR(&e, GX_REJECT, "api.not_found",
			     "no such path; /openapi.json lists all");
	}
	gx_api_problem(c, is_path ? 405 : 404, &e);
}

void
gx_api_handle(void *ctx, const struct gx_http_request *req,
	      struct gx_http_answer *out)
{
	struct gx_api *api = ctx;
	struct gx_call c = {.api = api, .n = api->n, .req = req, .out = out};
	static const char *const class[] = {"other", "1xx", "2xx",
					    "3xx",   "4xx", "5xx"};
	const char *label[] = {NULL, NULL};

	c.arena = gx_arena_new(ARENA_MAX);
	out->status = 200;
	out->content_type = "application/json";
	gx_jw_init(&c.w, &out->body);
	find_and_serve(&c);
	give_pg(api, &c.pg);
	gx_arena_free(&c.arena);
	label[0] = class[out->status >= 100 && out->status < 600
				 ? out->status / 100
				 : 0];
	gx_metric_add(gx_metric(GX_M_HTTP_REQUESTS, label), 1);
}

struct gx_api *
gx_api_new(struct gx_node *n)
{
	struct gx_api *api = gx_mem_new(sizeof *api);

	api->n = n;
	pthread_mutex_init(&api->lock, NULL);
	return api;
}

void
gx_api_free(struct gx_api **apip)
{
	struct gx_api *api = *apip;

	if (api == NULL) {
		return;
	}
	*apip = NULL;
	for (int i = 0; i < POOL; i++) {
		gx_pg_close(&api->free_pg[i]);
	}
	pthread_mutex_destroy(&api->lock);
	gx_mem_free(api);
}
