/*
 * API: who asks for evidence, for what, and what he is given.
 *
 * Asked by stream and seq, or by a resource's key, which leads to the stream
 * and seq of the row that stands today; a key may stand in several origins,
 * and each is an item of its own.  evidence.c makes what is given.
 *
 * Lines are given with their content, to operators and auditors only, and
 * every giving is a line of the audit log before it leaves: without that line
 * nothing is given.  Nothing else is written.
 */
#include "node/api.h"

#include "base/text.h"
#include "node/audit.h"
#include "trust/audit.h"
#include "trust/bundle.h"

#include <string.h>

#define ROWS_OF_KEY 10

/* What is given out, and to whom, is noted before it is: a line for each
 * bundle, which names more than the route could.  No key of a record. */
static enum gx_rc
note_access(const struct gx_call *c, const char *stream, uint64_t first,
	    uint64_t n, struct gx_err *e)
{
	char on[GX_AUDIT_TEXT];
	struct gx_act a = {.node = c->n->id,
			   .who = c->caller,
			   .role = gx_role_name(c->role),
			   .act = "evidence.export",
			   .on = on,
			   .outcome = "shown",
			   .why = ""};
	int64_t max = gx_conf_int(c->n->conf, "node", NULL, "audit_max_lines");
	struct gx_err cause = {0};

	snprintf(on, sizeof on, "%s %llu-%llu", stream,
		 (unsigned long long)first,
		 (unsigned long long)(first + n - 1));
	if (gx_audit_note(c->pg, &a, (uint64_t)max, &cause) == GX_OK) {
		return GX_OK;
	}
	return GX_ERR(e, GX_AGAIN, "audit.unwritable",
		      "nothing was given: the audit log cannot be written "
		      "(%.200s)",
		      cause.text);
}

/* One item of the answer. */
static enum gx_rc
give(struct gx_call *c, const char *stream, uint64_t first, uint64_t n,
     struct gx_err *e)
{
	struct gx_buf text;
	enum gx_rc rc;

	gx_buf_init(&text, GX_BUNDLE_MAX);
	rc = gx_evidence_make(c, stream, first, n, &text, e);
	if (rc == GX_OK) {
		rc = note_access(c, stream, first, n, e);
	}
	if (rc == GX_OK) {
		gx_jw_begin(&c->w, '{');
		gx_jw_kv_str(&c->w, "stream", stream);
		gx_jw_kv_int(&c->w, "first", (int64_t)first);
		gx_jw_kv_int(&c->w, "n", (int64_t)n);
		gx_jw_name(&c->w, "bundle");
		gx_jw_str(&c->w, gx_buf_view(&text));
		gx_jw_end(&c->w, '}');
	}
	gx_buf_free(&text);
	return rc;
}

static enum gx_rc
bad_request(struct gx_err *e, const char *why)
{
	return GX_ERR(e, GX_REJECT, "api.bad_request", "%s", why);
}

/* ?key= as base tables hold it: one value as it is, several as an array. */
static bool
put_key(struct gx_call *c, const struct gx_resource *r, const char *given,
	struct gx_buf *b)
{
	const struct gx_json *list = NULL, *v;
	struct gx_jw w;

	gx_jw_init(&w, b);
	gx_jw_begin(&w, '[');
	if (r->n_keys == 1) {
		gx_jw_cstr(&w, given);
		gx_jw_end(&w, ']');
		return true;
	}
	if (gx_json_parse(c->arena, gx_slice_str(given), &list, NULL) !=
		    GX_OK ||
	    list->type != GX_JSON_ARRAY || list->n != r->n_keys) {
		return false;
	}
	for (v = list->child; v != NULL; v = v->next) {
		if (v->type != GX_JSON_STRING && v->type != GX_JSON_NUMBER) {
			return false;
		}
		gx_jw_str(&w, v->text);
	}
	gx_jw_end(&w, ']');
	return true;
}

struct found {
	char stream[GX_STREAM_MAX + 1];
	uint64_t seq;
};

/* The rows of a key, of every origin.  *n 0: none. */
static enum gx_rc
find_rows(struct gx_call *c, const struct gx_resource *r, const char *key,
	  struct found *out, size_t *n, struct gx_err *e)
{
	const struct gx_rows *rows;
	struct gx_buf sql;
	enum gx_rc rc;

	gx_buf_init(&sql, 4096);
	(void)gx_buf_puts(&sql, "SELECT gx_stream, gx_seq FROM ");
	(void)gx_pg_ident(&sql, r->domain);
	(void)gx_buf_putc(&sql, '.');
	(void)gx_pg_ident(&sql, r->table);
	(void)gx_buf_puts(&sql, " WHERE gx_key = $1 ORDER BY gx_origin "
				"COLLATE \"C\" LIMIT 10");
	rc = gx_pg_query(c->pg, gx_buf_str(&sql), 1, &key, &rows, e);
	gx_buf_free(&sql);
	*n = 0;
	for (int i = 0; rc == GX_OK && i < gx_rows_n(rows); i++) {
		struct found *f = &out[(*n)++];

		snprintf(f->stream, sizeof f->stream, "%s",
			 gx_rows_str(rows, i, 0));
		f->seq = (uint64_t)gx_rows_int(rows, i, 1);
	}
	return rc;
}

static enum gx_rc
by_key(struct gx_call *c, const char *resource, const char *key,
       struct gx_err *e)
{
	const struct gx_node_resource *r = gx_node_resource(c->n, resource);
	struct found found[ROWS_OF_KEY];
	struct gx_buf text;
	size_t n = 0;
	enum gx_rc rc;

	if (r == NULL) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "no such resource is declared at this node");
	}
	gx_buf_init(&text, 8192);
	if (!put_key(c, r->r, key, &text)) {
		gx_buf_free(&text);
		return bad_request(e, "key: a JSON array with one string for "
				      "each key field of the resource");
	}
	rc = find_rows(c, r->r, gx_buf_str(&text), found, &n, e);
	gx_buf_free(&text);
	if (rc == GX_OK && n == 0) {
		rc = GX_ERR(e, GX_REJECT, "api.not_found",
			    "no row has this key here; what was deleted is "
			    "found by stream and seq");
	}
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		rc = give(c, found[i].stream, found[i].seq, 1, e);
	}
	return rc;
}

static enum gx_rc
by_seq(struct gx_call *c, const char *stream, struct gx_err *e)
{
	const char *first = gx_http_query(c->req, "first");
	const char *n = gx_http_query(c->req, "n");
	struct gx_stream_name name;
	uint64_t a = 0, count = 1;

	if (!gx_stream_parse(gx_slice_str(stream), &name)) {
		return bad_request(e, "stream: the full name of a stream");
	}
	if (first == NULL ||
	    !gx_parse_u64(first, strlen(first), GX_SEQ_MAX, &a) || a == 0) {
		return bad_request(e, "first: seq of the first record");
	}
	if (n != NULL &&
	    (!gx_parse_u64(n, strlen(n), GX_BUNDLE_LINES, &count) ||
	     count == 0 || count - 1 > GX_SEQ_MAX - a)) {
		return bad_request(e, "n: number of records, 1 to 1000");
	}
	return give(c, stream, a, count, e);
}

enum gx_rc
gx_api_evidence(struct gx_call *c, struct gx_err *e)
{
	const char *stream = gx_http_query(c->req, "stream");
	const char *resource = gx_http_query(c->req, "resource");
	const char *key = gx_http_query(c->req, "key");
	enum gx_rc rc;

	if ((stream == NULL) == (resource == NULL || key == NULL)) {
		return bad_request(e, "either resource and key, or stream, "
				      "first and n");
	}
	gx_api_list_begin(c);
	rc = stream != NULL ? by_seq(c, stream, e)
			    : by_key(c, resource, key, e);
	gx_api_list_end(c, NULL);
	return rc;
}
