/*
 * The HTTP API of a node.
 *
 * Every route is a row: method, path, who may call it, what it does, and what
 * it answers.  /openapi.json is made from the rows; what has no row does not
 * exist, and who is not named is refused.
 */
#ifndef GX_NODE_API_H
#define GX_NODE_API_H

#include "base/json.h"
#include "node/node.h"
#include "port/http.h"

enum gx_role {
	GX_ROLE_PUBLIC = 1,   /* anybody, also without credentials */
	GX_ROLE_OPERATOR = 2, /* may command */
	GX_ROLE_AUDITOR = 4,  /* may see */
	GX_ROLE_NODE = 8      /* another node, by its certificate */
};
const char *gx_role_name(enum gx_role r);
/* operator or auditor; false for any other word. */
bool gx_role_parse(const char *word, enum gx_role *r);

struct gx_api;
/* Lends n.  The handle is given to gx_http_serve as its context. */
struct gx_api *gx_api_new(struct gx_node *n);
void gx_api_free(struct gx_api **api); /* after gx_http_stop */
void gx_api_handle(void *api, const struct gx_http_request *r,
		   struct gx_http_answer *a);

/* Make a token and keep its hash.  out: the token's text and NUL; a text that
 * stands there already is taken instead of a new one. */
#define GX_TOKEN_LEN 46
enum gx_rc gx_api_token_make(struct gx_pg *pg, const char *name,
			     const char *role, char out[GX_TOKEN_LEN + 1],
			     struct gx_err *e) GX_MUSTCHECK;
/* SM3 of a token in hex. */
void gx_api_token_hash(const char *token, char out[65]);

/* ---- for the files of this module ---- */

#define GX_CALL_ARGS 2
/* One request on its way. */
struct gx_call {
	struct gx_api *api;
	const struct gx_node *n;
	const struct gx_http_request *req;
	struct gx_http_answer *out;
	struct gx_jw w;		       /* onto out->body */
	struct gx_pg *pg;	       /* only if the route wants it */
	struct gx_arena *arena;	       /* body and small texts */
	const struct gx_json *body;    /* NULL if there is none */
	const char *arg[GX_CALL_ARGS]; /* what {..} of the path took */
	enum gx_role role;
	char caller[64]; /* name of token or node, "" for public */
	const char *act; /* for the audit log: the route's, or a closer word */
};

typedef enum gx_rc (*gx_route_f)(struct gx_call *c, struct gx_err *e);
struct gx_route {
	const char *method, *path; /* {x}: one segment; {x*}: the rest */
	unsigned who;		   /* gx_role bits */
	bool wants_db;
	/* Word for the audit log, NULL: not in it.  A GET with a word gives out
	 * content: it is noted before. */
	const char *act;
	gx_route_f run;
	const char *summary;
	const char *answer; /* what 200 holds */
};
/* Rows of all files; NULL past the end. */
const struct gx_route *gx_api_route(size_t i);
/* Does path fit pattern?  Copies what {..} took into the arena. */
bool gx_api_match(const char *pattern, const char *path, struct gx_arena *a,
		  const char *arg[GX_CALL_ARGS]);

/* Answers an error as RFC 9457; any body so far is dropped. */
void gx_api_problem(struct gx_call *c, int status, const struct gx_err *e);
/* "2026-..+08:00" of now in SQL, for timestamps as the API shows them. */
#define GX_SQL_TIME(col)                                                       \
	"to_char(" col " AT TIME ZONE 'Asia/Shanghai', "                       \
	"'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"+08:00\"')"
/* Query parameter limit: 50 if there is none; REJECT beyond 1..1000. */
enum gx_rc gx_api_limit(const struct gx_call *c, int *out, struct gx_err *e);
/* Open and close {"v":1,"items":[ .. ],"next":..}. */
void gx_api_list_begin(struct gx_call *c);
void gx_api_list_end(struct gx_call *c, const char *next);
/* One result column by name: s text, i integer, b boolean, j JSON; '?' in
 * front: null if empty.  fmt "si.." has one letter per column. */
void gx_api_row(struct gx_jw *w, const struct gx_rows *rows, int row,
		const char *fmt);
/* The bundle of n records of a stream from first on, appended to out, which
 * was made with GX_BUNDLE_MAX.  GX_REJECT "api.not_found", "evidence.gone" or
 * "bundle.size"; GX_AGAIN: a server is away or slow; GX_FATAL: what is kept
 * does not hold, or a key is not there. */
enum gx_rc gx_evidence_make(struct gx_call *c, const char *stream,
			    uint64_t first, uint64_t n, struct gx_buf *out,
			    struct gx_err *e) GX_MUSTCHECK;

/*
 * api_audit.c: what stands around a route's function.  before: a command runs
 * in a transaction, content is noted first.  after: the line of what became of
 * it, committed with it; status as the caller will see it.  Both return it, or
 * 503 if the log cannot be written: then nothing was done or given out.
 */
int gx_api_audit_before(struct gx_call *c, const struct gx_route *r,
			struct gx_err *e);
int gx_api_audit_after(struct gx_call *c, const struct gx_route *r, int status,
		       struct gx_err *e);

enum gx_rc gx_api_audit(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_audit_head(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_openapi(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_error(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_livez(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_readyz(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_metrics(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_status(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_version(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_doctor(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_nodes(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_resources(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_flows(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_flow(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_flow_pause(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_flow_resume(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_flow_restart(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_streams(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_stream(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_receipts(struct gx_call *c, struct gx_err *e);
/* A subquery of the receipts in the node's table: stream, seq and sink of the
 * one that goes least far.  Static; of no rows while there is no table. */
enum gx_rc gx_api_receipted_sql(struct gx_call *c, const char **out,
				struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_api_quarantine(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_quarantine_one(struct gx_call *c, struct gx_err *e);
/* SQL: the digest of a row's content (bytea), and a resource's table. */
void gx_api_put_digest(struct gx_buf *b, const struct gx_resource *r);
void gx_api_put_table(struct gx_buf *b, const struct gx_resource *r);
/* Has a sink here made the resource's table yet? */
enum gx_rc gx_api_has_table(struct gx_pg *pg, const struct gx_resource *r,
			    bool *out, struct gx_err *e) GX_MUSTCHECK;
/* One resource of a statement (trust/statement.h) onto c->w. */
enum gx_rc gx_api_put_state(struct gx_call *c, const struct gx_resource *r,
			    const char *node, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_api_statements(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_statement_make(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_trace(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_quarantine_content(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_quarantine_stats(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_quarantine_fix(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_quarantine_replay(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_quarantine_replay_all(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_quarantine_discard(struct gx_call *c, struct gx_err *e);
/* Resource of a stream; NULL if it is not declared here. */
const struct gx_resource *gx_api_resource_of(const struct gx_call *c,
					     struct gx_slice stream);
/* Append what a row's column holds, opened if it is sealed; false if it does
 * not open.  column: "original", "record". */
bool gx_api_open_column(struct gx_box *box, const char *column,
			const struct gx_rows *rows, int row, int col,
			struct gx_slice stream, struct gx_slice pos,
			struct gx_buf *out);
enum gx_rc gx_api_reconcile(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_repair(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_evidence(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_tail(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_tokens(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_token_create(struct gx_call *c, struct gx_err *e);
enum gx_rc gx_api_token_revoke(struct gx_call *c, struct gx_err *e);

#endif
