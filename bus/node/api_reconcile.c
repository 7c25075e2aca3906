/*
 * API: what a node holds of a resource, so that another can compare.
 *
 * Content is compared.  The digest of a row is SHA-256 (PostgreSQL's own) over
 * origin and all declared items as text, in the order of the declaration;
 * stream, epoch and seq are left out, so that two nodes are equal when their
 * records are.  Each row has a place, 32 bits of the SHA-256 of origin and key
 * (gx_place, schemas/sql), written as hex digits; a range is all places that
 * begin with the same digits.  Asked for ranges, the node answers with their
 * parts one digit longer, each with count and digest; asked for keys, with the
 * rows.  So whoever compares walks down 16-fold only where digests differ.
 *
 * Many ranges may be asked at once: a walk costs as many scans of the table as
 * it has levels, about the logarithm of the rows to the base 16, however many
 * differences there are.  The content is only read of rows in the ranges.  An
 * index on gx_place saves those scans; docs/reconcile.md says what it costs.
 *
 * Rows, heads of streams and what is set aside are read in one snapshot, so
 * that a row can be laid beside the head that this very table had.
 *
 * Time zone, date style and float form are set alike on every connection
 * (port/pg.h), else equal rows would read differently.
 *
 * Nothing is written.
 */
#include "node/api.h"

#include "base/text.h"

#include <string.h>

#define DIGITS 8	/* of a place */
#define RANGES_MAX 500	/* in one question */
#define ANSWER_MS 25000 /* below what a caller waits */

/* ---- statements ---- */

/* Places that begin with these digits, on the place that expr names. */
static void
put_range(struct gx_buf *b, const char *expr, const char *digits, size_t n)
{
	uint64_t lo = 0;
	unsigned shift = 4 * (unsigned)(DIGITS - n);

	for (size_t i = 0; i < n; i++) {
		char c = digits[i];

		lo = lo << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	lo <<= shift;
	(void)gx_buf_printf(b, "%s BETWEEN %llu AND %llu", expr,
			    (unsigned long long)lo,
			    (unsigned long long)(lo + (1ull << shift) - 1));
}

static bool
is_hex(const char *s, size_t n)
{
	return strspn(s, "0123456789abcdef") >= n;
}

/* " AND (range OR range ..)" of a comma list; false if it is none. */
static bool
put_ranges(struct gx_buf *b, const char *expr, const char *list)
{
	size_t count = 0;

	if (list == NULL) {
		return true;
	}
	(void)gx_buf_puts(b, " AND (");
	for (const char *p = list; count < RANGES_MAX; p++) {
		size_t n = strcspn(p, ",");

		if (n == 0 || n > DIGITS || !is_hex(p, n)) {
			return false;
		}
		(void)gx_buf_puts(b, count++ ? " OR " : "");
		put_range(b, expr, p, n);
		p += n;
		if (*p == '\0') {
			(void)gx_buf_putc(b, ')');
			return true;
		}
	}
	return false;
}

static void
put_whose(struct gx_buf *b, const char *origin, const char *node)
{
	char prefix[64];

	if (node == NULL) {
		return;
	}
	snprintf(prefix, sizeof prefix, "/%.40s/", node);
	(void)gx_buf_printf(b, " AND starts_with(%s, ", origin);
	(void)gx_pg_literal(b, gx_slice_str(prefix));
	(void)gx_buf_putc(b, ')');
}

#define PLACE "gx_place(gx_origin, gx_key)"

void
gx_api_put_digest(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_buf_puts(b, "sha256(convert_to(jsonb_build_array(gx_origin");
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_buf_puts(b, ", ");
		(void)gx_pg_ident(b, r->fields[i].name);
		(void)gx_buf_puts(b, "::text");
	}
	(void)gx_buf_puts(b, ")::text, 'UTF8'))");
}

void
gx_api_put_table(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_pg_ident(b, r->domain);
	(void)gx_buf_putc(b, '.');
	(void)gx_pg_ident(b, r->table);
}

/* What a request asks for. */
struct question {
	const struct gx_resource *r;
	const char *node, *ranges;
	unsigned digits; /* of the parts that are answered */
	bool wants_keys;
};

static bool
put_rows_sql(struct gx_buf *b, const struct question *q)
{
	(void)gx_buf_puts(b, "SELECT gx_origin AS origin, gx_key AS key, "
			     "gx_stream AS stream, gx_seq AS seq, " PLACE
			     " AS place, ");
	gx_api_put_digest(b, q->r);
	(void)gx_buf_puts(b, " AS digest FROM ");
	gx_api_put_table(b, q->r);
	(void)gx_buf_puts(b, " WHERE true");
	put_whose(b, "gx_origin", q->node);
	return put_ranges(b, PLACE, q->ranges);
}

static bool
put_parts_sql(struct gx_buf *b, const struct question *q)
{
	bool is_good;

	(void)gx_buf_puts(b, "WITH r AS (");
	is_good = put_rows_sql(b, q);
	(void)gx_buf_printf(
		b,
		") SELECT lpad(to_hex(place >> %u), %u, '0') AS range, "
		"count(*) AS count, encode(sha256(string_agg(digest, "
		"''::bytea ORDER BY digest)), 'hex') AS digest FROM r GROUP BY "
		"1 ORDER BY 1",
		4 * (DIGITS - q->digits), q->digits);
	return is_good;
}

static bool
put_keys_sql(struct gx_buf *b, const struct question *q)
{
	bool is_good;

	(void)gx_buf_puts(b, "WITH r AS (");
	is_good = put_rows_sql(b, q);
	(void)gx_buf_puts(b, ") SELECT origin, key, stream, seq, "
			     "encode(digest, 'hex') AS digest FROM r "
			     "ORDER BY origin COLLATE \"C\", "
			     "key COLLATE \"C\"");
	return is_good;
}

/* Keys set aside: at their source, or by this node's store. */
static bool
put_aside_sql(struct gx_buf *b, const struct question *q)
{
	bool is_good;

	(void)gx_buf_puts(
		b, "SELECT * FROM (SELECT 'source' AS side, origin, key, "
		   "stream, seq FROM gx_held WHERE resource = ");
	(void)gx_pg_literal(b, gx_slice_str(q->r->name));
	(void)gx_buf_puts(
		b, " UNION ALL "
		   "SELECT 'sink', '/' || split_part(stream, '/', 2) || '/' || "
		   "split_part(stream, '/', 3) || '/' || "
		   "split_part(stream, '/', 4), key, stream, max(seq) FROM "
		   "gx_quarantine WHERE side = 'sink' AND state = 'open' AND "
		   "key <> '' AND split_part(stream, '/', 5) = ");
	(void)gx_pg_literal(b, gx_slice_str(q->r->name));
	(void)gx_buf_puts(b, " GROUP BY stream, key) x WHERE true");
	put_whose(b, "origin", q->node);
	is_good = put_ranges(b, "gx_place(origin, key)", q->ranges);
	(void)gx_buf_puts(b, " ORDER BY origin COLLATE \"C\", key "
			     "COLLATE \"C\", side LIMIT 10000");
	return is_good;
}

static enum gx_rc
bad_ranges(struct gx_err *e)
{
	return GX_ERR(e, GX_REJECT, "api.bad_request",
		      "ranges: 1 to %d of 1 to %d hex digits, with commas",
		      RANGES_MAX, DIGITS);
}

/* Ranges stand in the text, so it is not worth preparing. */
static enum gx_rc
ask(struct gx_call *c, struct gx_buf *sql, const struct gx_rows **rows,
    struct gx_err *e)
{
	enum gx_rc rc = gx_pg_ask(c->pg, gx_buf_str(sql), e);

	if (rc == GX_OK) {
		rc = gx_pg_answer(c->pg, ANSWER_MS, rows, e);
	}
	if (rc == GX_OK && *rows == NULL) {
		gx_pg_cancel(c->pg);
		return GX_ERR(e, GX_AGAIN, "reconcile.slow",
			      "the table was not read within %d s",
			      ANSWER_MS / 1000);
	}
	return rc;
}

/* ---- answers ---- */

static enum gx_rc
put_list(struct gx_call *c, const char *name, const struct gx_rows *rows,
	 const char *fmt)
{
	gx_jw_name(&c->w, name);
	gx_jw_begin(&c->w, '[');
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, fmt);
		gx_jw_end(&c->w, '}');
	}
	gx_jw_end(&c->w, ']');
	return GX_OK;
}

/* Streams of the resource that touch the table, with their heads. */
static enum gx_rc
put_streams(struct gx_call *c, const struct question *q, struct gx_err *e)
{
	const struct gx_rows *rows;
	struct gx_buf sql;
	enum gx_rc rc;

	gx_buf_init(&sql, 4096);
	(void)gx_buf_puts(&sql,
			  "SELECT stream, next_seq, head, "
			  "stopped_at IS NOT NULL AS is_stopped FROM "
			  "gx_stream WHERE split_part(stream, '/', 5) = ");
	(void)gx_pg_literal(&sql, gx_slice_str(q->r->name));
	put_whose(&sql, "stream", q->node);
	(void)gx_buf_puts(&sql, " ORDER BY stream COLLATE \"C\"");
	rc = ask(c, &sql, &rows, e);
	gx_buf_free(&sql);
	return rc == GX_OK ? put_list(c, "streams", rows, "sisb") : rc;
}

static enum gx_rc
put_aside(struct gx_call *c, const struct question *q, struct gx_err *e)
{
	const struct gx_rows *rows;
	struct gx_buf sql;
	enum gx_rc rc;

	gx_buf_init(&sql, 256u << 10);
	rc = put_aside_sql(&sql, q) ? GX_OK : bad_ranges(e);
	if (rc == GX_OK) {
		rc = ask(c, &sql, &rows, e);
	}
	gx_buf_free(&sql);
	return rc == GX_OK ? put_list(c, "aside", rows, "ssssi") : rc;
}

/* How many keys are set aside: at their source, and by this store. */
static enum gx_rc
put_held(struct gx_call *c, const char *resource, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg,
		"SELECT (SELECT count(*) FROM gx_held WHERE resource = $1) AS "
		"held, (SELECT count(*) FROM gx_quarantine WHERE side = 'sink' "
		"AND state = 'open' AND split_part(stream, '/', 5) = $1) AS "
		"aside",
		1, &resource, &rows, e);

	if (rc == GX_OK) {
		gx_api_row(&c->w, rows, 0, "ii");
	}
	return rc;
}

/* Count of the parts, and a digest over them all. */
static void
put_sum(struct gx_call *c, const struct gx_rows *rows)
{
	struct gx_buf all;
	int64_t count = 0;
	char digest[65];

	gx_buf_init(&all, (size_t)RANGES_MAX * 16 * 80);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		count += gx_rows_int(rows, i, 1);
		(void)gx_buf_printf(&all, "%s:%s\n", gx_rows_str(rows, i, 0),
				    gx_rows_str(rows, i, 2));
	}
	gx_jw_kv_int(&c->w, "count", count);
	gx_api_token_hash(gx_buf_str(&all), digest); /* SM3 in hex */
	gx_buf_free(&all);
	gx_jw_kv_str(&c->w, "digest", digest);
}

static enum gx_rc
answer(struct gx_call *c, const struct question *q, struct gx_err *e)
{
	const struct gx_rows *rows;
	struct gx_buf sql;
	enum gx_rc rc;

	gx_buf_init(&sql, 512u << 10);
	rc = (q->wants_keys ? put_keys_sql : put_parts_sql)(&sql, q)
		     ? GX_OK
		     : bad_ranges(e);
	if (rc == GX_OK) {
		rc = ask(c, &sql, &rows, e);
	}
	gx_buf_free(&sql);
	if (rc != GX_OK) {
		return rc;
	}
	if (q->wants_keys) {
		(void)put_list(c, "items", rows, "sssis");
		rc = put_aside(c, q, e);
	} else {
		(void)put_list(c, "parts", rows, "sis");
		put_sum(c, rows);
		rc = put_held(c, q->r->name, e);
	}
	return rc == GX_OK ? put_streams(c, q, e) : rc;
}

enum gx_rc
gx_api_has_table(struct gx_pg *pg, const struct gx_resource *r, bool *out,
		 struct gx_err *e)
{
	struct gx_buf name;
	const struct gx_rows *rows;
	const char *p[1];
	enum gx_rc rc;

	gx_buf_init(&name, 1024);
	gx_api_put_table(&name, r);
	p[0] = gx_buf_str(&name);
	rc = gx_pg_query(pg, "SELECT to_regclass($1) IS NOT NULL", 1, p, &rows,
			 e);
	*out = rc == GX_OK && gx_rows_bool(rows, 0, 0);
	gx_buf_free(&name);
	return rc;
}

enum gx_rc
gx_api_put_state(struct gx_call *c, const struct gx_resource *r,
		 const char *node, struct gx_err *e)
{
	struct question q = {.r = r, .node = node, .digits = 1};
	const struct gx_rows *rows;
	struct gx_buf sql;
	enum gx_rc rc;

	gx_buf_init(&sql, 512u << 10);
	(void)put_parts_sql(&sql, &q);
	rc = ask(c, &sql, &rows, e);
	gx_buf_free(&sql);
	if (rc != GX_OK) {
		return rc;
	}
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_str(&c->w, "resource", r->name);
	put_sum(c, rows);
	rc = put_held(c, r->name, e);
	if (rc == GX_OK) {
		rc = put_streams(c, &q, e);
	}
	gx_jw_end(&c->w, '}');
	return rc;
}

static enum gx_rc
read_question(struct gx_call *c, struct question *q, struct gx_err *e)
{
	const struct gx_node_resource *r = gx_node_resource(c->n, c->arg[0]);
	const char *keys = gx_http_query(c->req, "keys");
	const char *digits = gx_http_query(c->req, "digits");
	uint64_t n = 1;

	if (r == NULL) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "no such resource is declared at this node");
	}
	q->r = r->r;
	q->node = gx_http_query(c->req, "node");
	q->ranges = gx_http_query(c->req, "ranges");
	q->wants_keys = keys != NULL && strcmp(keys, "1") == 0;
	if (digits != NULL &&
	    (!gx_parse_u64(digits, strlen(digits), DIGITS, &n) || n == 0)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "digits: of the parts, 1 to %d", DIGITS);
	}
	q->digits = (unsigned)n;
	if (q->ranges == NULL && (q->wants_keys || n > 2)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "name the ranges: of a whole table only parts of "
			      "1 or 2 digits are given");
	}
	return GX_OK;
}

enum gx_rc
gx_api_reconcile(struct gx_call *c, struct gx_err *e)
{
	struct question q = {0};
	enum gx_rc rc = read_question(c, &q, e);

	if (rc == GX_OK) {
		rc = gx_pg_exec(c->pg,
				"BEGIN ISOLATION LEVEL REPEATABLE READ, "
				"READ ONLY",
				e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_int(&c->w, "v", 1);
	gx_jw_kv_str(&c->w, "node", c->n->id);
	gx_jw_kv_str(&c->w, "resource", q.r->name);
	rc = answer(c, &q, e);
	gx_jw_end(&c->w, '}');
	if (rc == GX_OK) {
		rc = gx_pg_exec(c->pg, "COMMIT", e);
	}
	if (rc != GX_OK) {
		gx_pg_rollback(c->pg);
	}
	return rc;
}
