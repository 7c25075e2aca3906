/*
 * API: what a node holds: digests of base tables, and the end of a topic.
 *
 * Reconciliation compares content.  For each row of a base table the digest
 * is SHA-256 (PostgreSQL's own) over origin and all declared items as text, in
 * the order of the declaration; stream, epoch and seq are left out, so that
 * two nodes are equal when their records are.  Rows fall into 256 buckets by
 * the digest of origin and key.  Two nodes first compare the whole, then only
 * the buckets that differ, then keys.  One statement is one snapshot.
 *
 * Time zone, date style and float form are set alike on every connection
 * (port/pg.h), else equal rows would read differently.
 *
 * Receipts are the rows of gx.receipt, a table that this node's sink makes when
 * the first one comes.  The same receipt may have come by several ways; the
 * newest of a sink for a stream and verdict counts.  Their signatures were checked before
 * they got there.
 *
 * The end of a topic is read with a client of its own, opened for the request
 * and closed with it, which commits nothing and holds up nobody.  Lines are
 * shown as they are: they are records, so the route is for those who may see.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/text.h"
#include "record/batch.h"

#include <string.h>

#define TAIL_MAX 200
#define TAIL_LINES 20
#define TAIL_WAIT_MS 3000

/* ---- reconcile ---- */

/* The rows of a resource as (origin, key, b, digest). */
static void
put_rows_sql(struct gx_buf *b, const struct gx_resource *r, const char *node)
{
	(void)gx_buf_puts(b, "SELECT gx_origin AS origin, jsonb_build_array(");
	for (size_t i = 0; i < r->n_keys; i++) {
		(void)gx_buf_puts(b, i ? ", " : "");
		(void)gx_pg_ident(b, r->fields[r->keys[i]].name);
		(void)gx_buf_puts(b, "::text");
	}
	(void)gx_buf_puts(b, ")::text AS key, sha256(convert_to("
			     "jsonb_build_array(gx_origin");
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_buf_puts(b, ", ");
		(void)gx_pg_ident(b, r->fields[i].name);
		(void)gx_buf_puts(b, "::text");
	}
	(void)gx_buf_puts(b, ")::text, 'UTF8')) AS digest FROM ");
	(void)gx_pg_ident(b, r->domain);
	(void)gx_buf_putc(b, '.');
	(void)gx_pg_ident(b, r->table);
	if (node != NULL) {
		char prefix[64];

		snprintf(prefix, sizeof prefix, "/%.40s/", node);
		(void)gx_buf_puts(b, " WHERE starts_with(gx_origin, ");
		(void)gx_pg_literal(b, gx_slice_str(prefix));
		(void)gx_buf_putc(b, ')');
	}
}

static void
put_buckets_sql(struct gx_buf *b, const struct gx_resource *r, const char *node)
{
	(void)gx_buf_puts(b, "WITH r AS (");
	put_rows_sql(b, r, node);
	(void)gx_buf_puts(
		b,
		"), k AS (SELECT get_byte(sha256(convert_to(origin || key, "
		"'UTF8')), 0) AS b, origin, key, digest FROM r) "
		"SELECT b AS bucket, count(*) AS count, "
		"encode(sha256(string_agg(digest, ''::bytea ORDER BY "
		"origin COLLATE \"C\", key COLLATE \"C\")), 'hex') AS digest "
		"FROM k GROUP BY b ORDER BY b");
}

static void
put_keys_sql(struct gx_buf *b, const struct gx_resource *r, const char *node)
{
	(void)gx_buf_puts(b, "WITH r AS (");
	put_rows_sql(b, r, node);
	(void)gx_buf_puts(
		b, ") SELECT origin, key, encode(digest, 'hex') AS digest "
		   "FROM r WHERE get_byte(sha256(convert_to(origin || key, "
		   "'UTF8')), 0) = $1::integer "
		   "ORDER BY origin COLLATE \"C\", key COLLATE \"C\"");
}

static enum gx_rc
answer_keys(struct gx_call *c, const char *sql, const char *bucket,
	    struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(c->pg, sql, 1, &bucket, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "sjs");
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

static enum gx_rc
put_held(struct gx_call *c, const char *resource, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(c->pg,
				    "SELECT count(*) AS held FROM gx_held "
				    "WHERE resource = $1",
				    1, &resource, &rows, e);

	if (rc == GX_OK) {
		gx_api_row(&c->w, rows, 0, "i");
	}
	return rc;
}

static enum gx_rc
answer_buckets(struct gx_call *c, const char *sql, const char *resource,
	       struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(c->pg, sql, 0, NULL, &rows, e);
	struct gx_buf all;
	int64_t count = 0;
	char digest[65];

	if (rc != GX_OK) {
		return rc;
	}
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_int(&c->w, "v", 1);
	gx_jw_kv_str(&c->w, "node", c->n->id);
	gx_jw_kv_str(&c->w, "resource", resource);
	gx_jw_name(&c->w, "buckets");
	gx_jw_begin(&c->w, '[');
	gx_buf_init(&all, 256 * 80);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "iis");
		gx_jw_end(&c->w, '}');
		count += gx_rows_int(rows, i, 1);
		(void)gx_buf_printf(&all, "%s:%s\n", gx_rows_str(rows, i, 0),
				    gx_rows_str(rows, i, 2));
	}
	gx_jw_end(&c->w, ']');
	gx_jw_kv_int(&c->w, "count", count);
	gx_api_token_hash(gx_buf_str(&all), digest); /* SM3 in hex */
	gx_buf_free(&all);
	gx_jw_kv_str(&c->w, "digest", digest);
	rc = put_held(c, resource, e);
	gx_jw_end(&c->w, '}');
	return rc;
}

enum gx_rc
gx_api_reconcile(struct gx_call *c, struct gx_err *e)
{
	const struct gx_node_resource *r = gx_node_resource(c->n, c->arg[0]);
	const char *bucket = gx_http_query(c->req, "bucket");
	const char *node = gx_http_query(c->req, "node");
	struct gx_buf sql;
	uint64_t b;
	enum gx_rc rc;

	if (r == NULL) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "no such resource is declared at this node");
	}
	if (bucket != NULL && !gx_parse_u64(bucket, strlen(bucket), 255, &b)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "bucket: a number from 0 to 255");
	}
	gx_buf_init(&sql, 256u << 10);
	if (bucket != NULL) {
		put_keys_sql(&sql, r->r, node);
		rc = answer_keys(c, gx_buf_str(&sql), bucket, e);
	} else {
		put_buckets_sql(&sql, r->r, node);
		rc = answer_buckets(c, gx_buf_str(&sql), r->r->name, e);
	}
	gx_buf_free(&sql);
	return rc;
}

/* ---- receipts ---- */

static enum gx_rc
has_receipts(struct gx_call *c, bool *out, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg, "SELECT to_regclass('gx.receipt') IS NOT NULL", 0, NULL,
		&rows, e);

	*out = rc == GX_OK && gx_rows_bool(rows, 0, 0);
	return rc;
}

enum gx_rc
gx_api_receipted_sql(struct gx_call *c, const char **out, struct gx_err *e)
{
	bool has = false;
	enum gx_rc rc = has_receipts(c, &has, e);

	*out = has ? "(SELECT DISTINCT ON (stream) stream, seq, sink FROM "
		     "(SELECT stream, sink, max(seq) AS seq FROM gx.receipt "
		     "WHERE verdict <> 'refused' GROUP BY stream, sink) x "
		     "ORDER BY stream, seq, sink)"
		   : "(SELECT '' AS stream, 0::bigint AS seq, '' AS sink "
		     "WHERE false)";
	return rc;
}

enum gx_rc
gx_api_receipts(struct gx_call *c, struct gx_err *e)
{
	const char *p[] = {gx_http_query(c->req, "stream")};
	const struct gx_rows *rows;
	bool has = false;
	enum gx_rc rc = has_receipts(c, &has, e);

	if (rc == GX_OK && has) {
		rc = gx_pg_query(
			c->pg,
			"SELECT DISTINCT ON (stream, sink, verdict) sink, "
			"stream, "
			"verdict, epoch, seq, head, applied, aside, reason, "
			"at FROM gx.receipt WHERE $1::text IS NULL OR "
			"stream = $1 ORDER BY stream, sink, verdict, seq DESC, "
			"at DESC",
			1, p, &rows, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; has && i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "sssiisii?ss");
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

/* ---- tail ---- */

static void
put_lines(struct gx_jw *w, const struct gx_head *h)
{
	struct gx_slice line;
	size_t at = 0, skip = h->n > TAIL_LINES ? (size_t)h->n - TAIL_LINES : 0;

	gx_jw_name(w, "lines");
	gx_jw_begin(w, '[');
	for (size_t i = 0; gx_body_next(h->body, &at, &line); i++) {
		if (i >= skip) {
			gx_jw_str(w, line);
		}
	}
	gx_jw_end(w, ']');
}

static void
put_message(struct gx_jw *w, const struct gx_msg *m, int32_t partition)
{
	struct gx_head h;
	const char *why = gx_head_parse(m->value, &h);

	gx_jw_begin(w, '{');
	gx_jw_kv_int(w, "partition", partition);
	gx_jw_kv_int(w, "offset", m->offset);
	gx_jw_kv_int(w, "bytes", (int64_t)m->value.n);
	if (why != NULL) {
		gx_jw_kv_str(w, "kind", "unreadable");
		gx_jw_kv_str(w, "why", why);
	} else {
		gx_jw_kv_str(w, "kind",
			     h.kind == GX_MSG_BATCH ? "batch" : "marker");
		gx_jw_name(w, "stream");
		gx_jw_str(w, h.stream);
		gx_jw_name(w, "epoch");
		gx_jw_u64(w, h.epoch);
		gx_jw_name(w, "at");
		gx_jw_str(w, h.at);
		gx_jw_name(w, "kid");
		gx_jw_str(w, h.kid);
		if (h.kind == GX_MSG_BATCH) {
			gx_jw_name(w, "first");
			gx_jw_u64(w, h.first);
			gx_jw_name(w, "n");
			gx_jw_u64(w, h.n);
			put_lines(w, &h);
		}
	}
	gx_jw_end(w, '}');
}

/* Read places up to their ends; messages that do not come in time are left
 * out, the list is what was there. */
static enum gx_rc
read_tail(struct gx_call *c, struct gx_log *log, const struct gx_place *places,
	  const int64_t *ends, size_t n, struct gx_err *e)
{
	int64_t until = gx_mono_ms() + TAIL_WAIT_MS;
	struct gx_in *in = NULL;
	size_t n_left = n;
	enum gx_rc rc = log->ops->open_in(log, places, n, &in, e);

	while (rc == GX_OK && n_left > 0 && gx_mono_ms() < until) {
		struct gx_msg m;

		rc = log->ops->next(in, 100, &m, e);
		if (rc == GX_AGAIN) {
			rc = GX_OK;
			continue;
		}
		if (rc != GX_OK) {
			break;
		}
		if (m.offset < ends[m.place]) {
			put_message(&c->w, &m, places[m.place].partition);
			n_left -= m.offset == ends[m.place] - 1;
		}
		log->ops->done(in, &m);
	}
	if (in != NULL) {
		log->ops->close_in(&in);
	}
	return rc;
}

static enum gx_rc
tail(struct gx_call *c, struct gx_log *log, int64_t n_wanted, struct gx_err *e)
{
	struct gx_place places[64];
	int64_t ends[64];
	size_t n = 0;
	int32_t n_parts = 0;
	enum gx_rc rc = log->ops->n_partitions(log, c->arg[0], &n_parts, e);

	for (int32_t i = 0; rc == GX_OK && i < n_parts && i < 64; i++) {
		int64_t low = 0, high = 0;

		rc = log->ops->range(log, c->arg[0], i, &low, &high, e);
		if (rc == GX_OK && high > low) {
			places[n].topic = c->arg[0];
			places[n].partition = i;
			places[n].offset =
				high - n_wanted > low ? high - n_wanted : low;
			ends[n++] = high;
		}
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	if (n > 0) {
		rc = read_tail(c, log, places, ends, n, e);
	}
	gx_api_list_end(c, NULL);
	return rc;
}

enum gx_rc
gx_api_tail(struct gx_call *c, struct gx_err *e)
{
	const char *word = gx_http_query(c->req, "n");
	struct gx_log *log = NULL;
	uint64_t n = 5;
	enum gx_rc rc;

	if (word != NULL &&
	    (!gx_parse_u64(word, strlen(word), TAIL_MAX, &n) || n == 0)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "n: messages of each partition, 1 to %d",
			      TAIL_MAX);
	}
	rc = gx_node_kafka(c->n, false, &log, e);
	if (rc == GX_OK) {
		rc = tail(c, log, (int64_t)n, e);
	}
	gx_kafka_free(&log);
	return rc;
}
