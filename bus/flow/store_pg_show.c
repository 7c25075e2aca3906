/*
 * Store on PostgreSQL: what is shown to the nodes below.
 *
 * A node below may subscribe to the records of a resource that concern it and
 * come from elsewhere (docs/levels.md).  Which ones these are is a question to
 * the base table, asked again for each key that a transaction has touched,
 * after its rows are written and before it commits.  gx_shown holds what the
 * node below was told last.  What differs goes into the outbox of the stream
 * that is made for it, an upsert for a record that is new or other than shown,
 * a delete for one that was shown and concerns it no longer; what is the same
 * is not sent, however often it is read again.
 *
 * Never shown are records from the node below itself or from below that: they
 * came from there.  A key whose newest record was set aside keeps its last good
 * row here, and so there.
 *
 * All who show something take one advisory lock, held to the commit, and look
 * only then.  So of two that touch the same record the second sees what the
 * first has shown, and the heads of several outboxes are never locked crosswise.
 * A new or another subscription walks the whole table under the same lock: a
 * transaction that waits meanwhile looks afterwards, with the subscription, and
 * one that was first is seen.
 *
 * If we die on any line the transaction is rolled back with the rows that it
 * was about: shown, said and stored are one.
 */
#include "base/text.h"
#include "flow/outbox.h"
#include "flow/store_pg_int.h"
#include "flow/worker.h"
#include "trust/sm.h"

#define STATEMENT_BYTES (1u << 20)
#define CHUNK 50 /* PostgreSQL takes 100 arguments */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(7381239, 5)"

/* As it is, without spaces where that is easily had: json_strip_nulls leaves
 * them out, and nulls. */
static void
put_json(struct gx_buf *b, const char *name)
{
	(void)gx_buf_puts(b, "CASE WHEN jsonb_path_exists(b.");
	(void)gx_pg_ident(b, name);
	(void)gx_buf_puts(b, ", '$.** ? (@ == null)') THEN b.");
	(void)gx_pg_ident(b, name);
	(void)gx_buf_puts(b, "::text ELSE json_strip_nulls(b.");
	(void)gx_pg_ident(b, name);
	(void)gx_buf_puts(b, "::json)::text END");
}

/* The value of a field as JSON text, NULL if it is NULL. */
static void
put_value(struct gx_buf *b, const struct gx_field *f)
{
	const char *type = f->pg_type;
	const char *before = "to_json(b.", *after = ")::text";

	if (strcmp(type, "jsonb") == 0) {
		put_json(b, f->name);
		return;
	}
	if (strcmp(type, "date") == 0) {
		before = "to_json(to_char(b.";
		after = ", 'YYYY-MM-DD'))::text";
	} else if (strcmp(type, "timestamptz") == 0) {
		before = "to_json(to_char(b.";
		after = " AT TIME ZONE INTERVAL '08:00', "
			"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+08:00\"'))::"
			"text";
	} else if (strncmp(type, "numeric", 7) == 0 && f->is_string) {
		after = "::text)::text";
	}
	(void)gx_buf_puts(b, before);
	(void)gx_pg_ident(b, f->name);
	(void)gx_buf_puts(b, after);
}

/* The record as its schema wants it, without what is NULL. */
static void
put_record(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_buf_puts(b, "'{' || concat_ws(','");
	for (size_t i = 0; i < r->n_fields; i++) {
		if (i % CHUNK == 0) {
			(void)gx_buf_puts(b, i > 0 ? "), ''), " : ", ");
			(void)gx_buf_puts(b, "nullif(concat_ws(','");
		}
		(void)gx_buf_printf(b, ", '\"%s\":' || ", r->fields[i].name);
		put_value(b, &r->fields[i]);
	}
	(void)gx_buf_puts(b, "), '')) || '}'");
}

/* Does row b of the base table concern the subscription s? */
static void
put_concerns(struct gx_buf *b, const struct gx_resource *r)
{
	const char *item = r->fields[r->return_item].name;

	(void)gx_buf_puts(b, "s.by <> 'ended' AND ");
	if (r->return_by == GX_RETURN_REGION) {
		(void)gx_buf_puts(b, "starts_with(b.");
		(void)gx_pg_ident(b, item);
		(void)gx_buf_puts(b, ", s.value)");
	} else {
		(void)gx_buf_puts(b, "split_part(b.");
		(void)gx_pg_ident(b, item);
		(void)gx_buf_puts(b, ", '/', 2) = ANY (s.subtree)");
	}
	(void)gx_buf_puts(
		b, " AND split_part(b.gx_origin, '/', 2) <> ALL (s.subtree)");
}

static void
put_table(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_pg_ident(b, r->domain);
	(void)gx_buf_putc(b, '.');
	(void)gx_pg_ident(b, r->table);
}

/* $1 this node, $2 resource, and then either $3 origins and $4 keys touched,
 * or $3 the child whose whole view is walked. */
static void
put_statement(struct gx_buf *b, const struct gx_resource *r, bool is_walk)
{
	(void)gx_buf_puts(
		b, "WITH s AS (SELECT by, value, subtree, '/' || $1::text || "
		   "'/gx/down-' || child AS maker, '/' || $1::text || "
		   "'/gx/down-' || child || '/' || $2::text || '/0' AS view "
		   "FROM gx_subscription "
		   "WHERE resource = $2");
	(void)gx_buf_puts(b,
			  is_walk ? " AND child = $3), t AS (SELECT "
				    "gx_origin AS origin, gx_key AS key FROM "
				  : "), t AS (SELECT DISTINCT origin, key "
				    "FROM unnest($3::text[], $4::text[]) "
				    "u(origin, key)");
	if (is_walk) {
		put_table(b, r);
		(void)gx_buf_puts(b, " UNION SELECT g.origin, g.key FROM "
				     "gx_shown g JOIN s ON g.view = s.view");
	}
	(void)gx_buf_puts(b, "), n AS MATERIALIZED (SELECT s.maker, s.view, "
			     "t.origin, t.key, ");
	put_record(b, r);
	(void)gx_buf_puts(b, " AS d FROM t JOIN ");
	put_table(b, r);
	(void)gx_buf_puts(b, " b ON b.gx_origin = t.origin AND "
			     "b.gx_key = t.key JOIN s ON ");
	put_concerns(b, r);
	/* Joined with tables by their keys, and not with each other: what a
	 * transaction has touched may be many thousands. */
	(void)gx_buf_puts(
		b, "), ch AS MATERIALIZED (SELECT n.*, encode(sha256("
		   "convert_to(n.d, 'UTF8')), 'hex') AS digest FROM n LEFT "
		   "JOIN gx_shown g ON g.view = n.view AND g.origin = n.origin "
		   "AND g.key = n.key WHERE g.digest IS DISTINCT FROM "
		   "encode(sha256(convert_to(n.d, 'UTF8')), 'hex')), "
		   "put AS (INSERT INTO gx_shown AS g (view, origin, key, "
		   "digest) SELECT view, origin, key, digest FROM ch "
		   "ON CONFLICT (view, origin, key) DO UPDATE SET "
		   "digest = excluded.digest), "
		   "gone AS (DELETE FROM gx_shown g USING t, s WHERE "
		   "g.view = s.view AND g.origin = t.origin AND "
		   "g.key = t.key AND NOT EXISTS (SELECT 1 FROM ");
	put_table(b, r);
	(void)gx_buf_puts(b, " b WHERE b.gx_origin = t.origin AND "
			     "b.gx_key = t.key AND ");
	put_concerns(b, r);
	(void)gx_buf_puts(
		b,
		") RETURNING s.maker, g.view, g.origin, g.key), "
		"c AS (SELECT maker, view, origin, key, 'u' AS op, d FROM ch "
		"UNION ALL "
		"SELECT maker, view, origin, key, 'd', '' FROM gone), "
		"h AS (UPDATE gx_outbox_head h SET last_id = h.last_id + k.n "
		"FROM (SELECT maker, count(*) AS n FROM c GROUP BY maker) k "
		"WHERE h.origin = k.maker "
		"RETURNING h.origin, h.last_id - k.n AS before) "
		/* No head: no id, and the transaction fails. */
		"INSERT INTO gx_outbox (origin, id, stream, op, key, at, o, d) "
		"SELECT c.maker, h.before + row_number() OVER (PARTITION BY "
		"c.maker ORDER BY c.origin, c.key), c.view, c.op, c.key, "
		"now(), c.origin, c.d FROM c LEFT JOIN h ON h.origin = "
		"c.maker");
}

static char *
show_sql(const struct gx_resource *r, bool is_walk)
{
	struct gx_buf b;
	char *s;

	gx_buf_init(&b, STATEMENT_BYTES);
	put_statement(&b, r, is_walk);
	GX_ASSERT(!b.failed); /* a declaration is far smaller */
	s = gx_mem_strdup(gx_buf_str(&b));
	gx_buf_free(&b);
	return s;
}

/* ---- in a transaction of the sink ---- */

bool
gx_store_pg_shows(const struct gx_store_pg *st, const struct spg_table *t)
{
	return st->gives && t->r->return_by != GX_RETURN_NONE;
}

void
gx_store_pg_forget_touched(struct gx_store_pg *st)
{
	for (size_t i = 0; i < st->n_tables; i++) {
		if (gx_store_pg_shows(st, &st->tables[i])) {
			gx_store_pg_arrays_reset(&st->tables[i].touched);
		}
	}
}

void
gx_store_pg_touch(struct spg_table *t, struct gx_slice origin,
		  struct gx_slice key)
{
	gx_store_pg_put(&t->touched.col[0], origin);
	gx_store_pg_put(&t->touched.col[1], key);
	t->touched.n++;
}

void
gx_store_pg_touch_segment(struct gx_store_pg *st)
{
	for (size_t i = 0; i < st->n_items; i++) {
		const struct spg_item *it = &st->items[i];
		const struct spg_unit *u = &st->units[it->unit];

		if (it->is_row && gx_store_pg_shows(st, u->table)) {
			gx_store_pg_touch(u->table, u->origin, it->key);
		}
	}
}

static enum gx_rc
run(struct gx_store_pg *st, bool small, const char *sql, int n,
    const char *const *params, struct gx_err *e)
{
	return small ? gx_pg_pipe(st->pg, sql, n, params, e)
		     : gx_pg_query(st->pg, sql, n, params, NULL, e);
}

enum gx_rc
gx_store_pg_show(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	bool is_locked = false;
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; rc == GX_OK && i < st->n_tables; i++) {
		struct spg_table *t = &st->tables[i];
		const char *params[4] = {st->node, t->r->name};

		if (!gx_store_pg_shows(st, t) || t->touched.n == 0) {
			continue;
		}
		if (t->show == NULL) {
			t->show = show_sql(t->r, false);
		}
		rc = gx_store_pg_params(&t->touched, 2, params + 2, e);
		if (rc == GX_OK && !is_locked) {
			rc = run(st, small, LOCK_SQL, 0, NULL, e);
			is_locked = true;
		}
		if (rc == GX_OK) {
			rc = run(st, small, t->show, 4, params, e);
		}
	}
	return rc;
}

/* ---- subscriptions ---- */

/* $1 child, $2 resource, $3 by, $4 value, $5 subtree, $6 digest of the
 * declaration, which names the item and the form; no row: it is so. */
static enum gx_rc
note_subscription(struct gx_store_pg *st, const char *const params[6],
		  bool *is_new, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(
		st->pg,
		"INSERT INTO gx_subscription AS s (child, resource, by, value, "
		"subtree, declared) VALUES ($1, $2, $3, $4, $5::text[], $6) "
		"ON CONFLICT (child, resource) DO UPDATE SET by = excluded.by, "
		"value = excluded.value, subtree = excluded.subtree, "
		"declared = excluded.declared, "
		"since = now() WHERE (s.by, s.value, s.subtree, s.declared) <> "
		"(excluded.by, excluded.value, excluded.subtree, "
		"excluded.declared) RETURNING 1",
		6, params, &r, e);

	*is_new = rc == GX_OK && gx_rows_n(r) > 0;
	return rc;
}

static enum gx_rc
walk(struct gx_store_pg *st, const struct gx_resource *r, const char *child,
     struct gx_err *e)
{
	const char *params[3] = {st->node, r->name, child};
	char *sql = show_sql(r, true);
	enum gx_rc rc = gx_pg_query(st->pg, sql, 3, params, NULL, e);

	gx_mem_free(sql);
	return rc;
}

/* "{a,b}": names of nodes need no quotes. */
static void
put_subtree(struct gx_buf *b, const char *const *subtree)
{
	(void)gx_buf_putc(b, '{');
	for (size_t i = 0; subtree[i] != NULL; i++) {
		(void)gx_buf_printf(b, "%s%s", i > 0 ? "," : "", subtree[i]);
	}
	(void)gx_buf_putc(b, '}');
}

static void
digest_of(const struct gx_resource *r, char out[2 * GX_HASH + 1])
{
	unsigned char sum[GX_HASH];

	gx_sm3(r->text.p, r->text.n, sum);
	gx_hex(sum, sizeof sum, out);
}

static enum gx_rc
subscribe(struct gx_store_pg *st, struct spg_table *t,
	  const struct gx_store_pg_give *g, struct gx_err *e)
{
	const char *by =
		t->r->return_by == GX_RETURN_REGION ? "region" : "stream";
	char declared[2 * GX_HASH + 1];
	const char *params[6] = {
		g->child,  t->r->name, g->is_ended ? "ended" : by,
		g->region, NULL,       declared};
	char origin[GX_STREAM_MAX + 1];
	bool is_new = false;
	struct gx_buf subtree;
	enum gx_rc rc;

	(void)snprintf(origin, sizeof(origin), "/%s/gx/down-%s", st->node,
		       g->child);
	digest_of(t->r, declared);
	gx_buf_init(&subtree, 64u << 10);
	put_subtree(&subtree, g->subtree);
	params[4] = gx_buf_str(&subtree);
	rc = gx_pg_exec(st->pg, "BEGIN; " LOCK_SQL, e);
	if (rc == GX_OK) {
		rc = gx_outbox_declare(st->pg, origin, e);
	}
	if (rc == GX_OK) {
		rc = note_subscription(st, params, &is_new, e);
	}
	if (rc == GX_OK && is_new) {
		rc = walk(st, t->r, g->child, e);
	}
	gx_crash_point("show.before_commit");
	if (rc == GX_OK) {
		rc = gx_pg_exec(st->pg, "COMMIT", e);
	}
	gx_buf_free(&subtree);
	return gx_store_pg_undo(st, rc, e);
}

enum gx_rc
gx_store_pg_give(struct gx_store *s, const struct gx_store_pg_give *g,
		 struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	struct spg_table *t = NULL;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	for (size_t i = 0; i < st->n_tables; i++) {
		if (strcmp(st->tables[i].r->name, g->resource) == 0) {
			t = &st->tables[i];
		}
	}
	GX_ASSERT(t != NULL && t->r->return_by != GX_RETURN_NONE);
	if (rc == GX_OK) {
		rc = gx_store_pg_make_table(st, t, e);
	}
	return rc == GX_OK ? subscribe(st, t, g, e)
			   : gx_store_pg_undo(st, rc, e);
}
