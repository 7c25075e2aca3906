/*
 * Store on PostgreSQL: base tables and the statements on them.
 *
 * A base table is made from the declaration of its resource when the resource
 * is first met: "<domain>"."<table>", a column per field, and beside them
 * gx_origin and gx_key (the primary key), gx_stream, gx_epoch and gx_seq: who
 * wrote the row last.  The key is the one that travels, as its canonical JSON
 * text: two spellings of one number are two keys everywhere or nowhere.
 *
 * Several processes may meet a resource at once; an advisory lock lets one
 * make the table and the others find it.  A field that a newer declaration has
 * more becomes a column more.  A column of another type is a stop: somebody
 * else's table, or a declaration that changed its mind.
 *
 * The temporary table that COPY fills belongs to the connection and forgets
 * its rows with each transaction.
 *
 * If we die on any line there is the table as it was, or as it should be.
 */
#include "flow/store_pg_int.h"

#define STATEMENT_BYTES (1u << 20)

/* The resource's own columns, with what stands before each. */
static void
put_fields(struct gx_buf *b, const struct gx_resource *r, const char *before)
{
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_buf_puts(b, before);
		(void)gx_pg_ident(b, r->fields[i].name);
	}
}

static void
put_name(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_pg_ident(b, r->domain);
	(void)gx_buf_putc(b, '.');
	(void)gx_pg_ident(b, r->table);
}

static char *
keep(struct gx_buf *b)
{
	char *s;

	GX_ASSERT(!b->failed); /* a declaration is far smaller */
	s = gx_mem_strdup(gx_buf_str(b));
	gx_buf_reset(b);
	return s;
}

/* ---- statements ---- */

static char *
copy_sql(struct gx_buf *b, const struct spg_table *t)
{
	(void)gx_buf_printf(b, "COPY gx_in_%u (gx_unit, gx_key, gx_seq",
			    t->number);
	put_fields(b, t->r, ", ");
	(void)gx_buf_puts(b, ") FROM STDIN");
	return keep(b);
}

static char *
temp_sql(struct gx_buf *b, const struct spg_table *t)
{
	(void)gx_buf_printf(b,
			    "CREATE TEMPORARY TABLE gx_in_%u (gx_unit integer, "
			    "gx_key text COLLATE \"C\", gx_seq bigint",
			    t->number);
	for (size_t i = 0; i < t->r->n_fields; i++) {
		(void)gx_buf_puts(b, ", ");
		(void)gx_pg_ident(b, t->r->fields[i].name);
		(void)gx_buf_printf(b, " %s", t->r->fields[i].pg_type);
	}
	(void)gx_buf_puts(b, ") ON COMMIT DELETE ROWS");
	return keep(b);
}

static void
put_insert(struct gx_buf *b, const struct spg_table *t)
{
	(void)gx_buf_puts(b, "INSERT INTO ");
	put_name(b, t->r);
	(void)gx_buf_puts(b, " AS b (gx_origin, gx_stream, gx_epoch, gx_key, "
			     "gx_seq");
	put_fields(b, t->r, ", ");
	(void)gx_buf_puts(b, ") ");
}

/* Only newer lines win; another stream or generation is always older. */
static void
put_conflict(struct gx_buf *b, const struct spg_table *t)
{
	(void)gx_buf_puts(b, " ON CONFLICT (gx_origin, gx_key) DO UPDATE SET "
			     "gx_stream = excluded.gx_stream, "
			     "gx_epoch = excluded.gx_epoch, "
			     "gx_seq = excluded.gx_seq");
	for (size_t i = 0; i < t->r->n_fields; i++) {
		(void)gx_buf_puts(b, ", ");
		(void)gx_pg_ident(b, t->r->fields[i].name);
		(void)gx_buf_puts(b, " = excluded.");
		(void)gx_pg_ident(b, t->r->fields[i].name);
	}
	(void)gx_buf_puts(b, " WHERE b.gx_stream <> excluded.gx_stream OR "
			     "b.gx_seq < excluded.gx_seq");
}

static char *
upsert_sql(struct gx_buf *b, const struct spg_table *t)
{
	put_insert(b, t);
	(void)gx_buf_puts(b, "SELECT v.origin, v.stream, v.epoch, i.gx_key, "
			     "i.gx_seq");
	put_fields(b, t->r, ", i.");
	(void)gx_buf_printf(b,
			    " FROM gx_in_%u i JOIN unnest($1::text[], "
			    "$2::text[], $3::bigint[]) WITH ORDINALITY "
			    "v(origin, stream, epoch, n) ON v.n = i.gx_unit "
			    "ORDER BY v.origin, i.gx_key",
			    t->number);
	put_conflict(b, t);
	return keep(b);
}

static char *
one_sql(struct gx_buf *b, const struct spg_table *t)
{
	put_insert(b, t);
	(void)gx_buf_puts(b, "VALUES ($1, $2, $3, $4, $5");
	for (size_t i = 0; i < t->r->n_fields; i++) {
		(void)gx_buf_printf(b, ", $%zu", i + 6);
	}
	(void)gx_buf_putc(b, ')');
	put_conflict(b, t);
	return keep(b);
}

static char *
remove_sql(struct gx_buf *b, const struct spg_table *t)
{
	(void)gx_buf_puts(b, "DELETE FROM ");
	put_name(b, t->r);
	(void)gx_buf_puts(b, " b USING unnest($1::text[], $2::text[], "
			     "$3::text[], $4::bigint[]) v(origin, stream, key, "
			     "seq) WHERE b.gx_origin = v.origin AND "
			     "b.gx_key = v.key AND (b.gx_stream <> v.stream OR "
			     "b.gx_seq < v.seq)");
	return keep(b);
}

/* Rows that the end of a full reading deletes: $1 stream, $2 origin, $3 the
 * stream's name without generation, $4 resource.  Kept are keys on hold, and
 * keys whose newest line this store itself has set aside. */
#define DOOMED                                                                 \
	" b, gx_stream s WHERE s.stream = $1 AND b.gx_origin = $2 AND "        \
	"s.reading_at IS NOT NULL AND ((b.gx_stream = $1 AND "                 \
	"b.gx_seq < s.reading_at) OR (b.gx_stream <> $1 AND "                  \
	"(b.gx_stream = $3 OR starts_with(b.gx_stream, $3 || '.')))) AND "     \
	"NOT EXISTS (SELECT 1 FROM gx_held h WHERE h.origin = $2 AND "         \
	"h.resource = $4 AND h.key = b.gx_key) AND "                           \
	"NOT EXISTS (SELECT 1 FROM gx_quarantine q WHERE q.stream = $1 AND "   \
	"q.side = 'sink' AND q.state = 'open' AND q.key = b.gx_key AND "       \
	"q.seq >= s.reading_at)"

static char *
doomed_count_sql(struct gx_buf *b, const struct spg_table *t)
{
	(void)gx_buf_puts(b, "SELECT (SELECT count(*) FROM ");
	put_name(b, t->r);
	(void)gx_buf_puts(b, DOOMED "), (SELECT count(*) FROM ");
	put_name(b, t->r);
	(void)gx_buf_puts(b, " WHERE gx_origin = $2)");
	return keep(b);
}

static char *
doomed_delete_sql(struct gx_buf *b, const struct spg_table *t, bool returns)
{
	static const char doomed[] = DOOMED;
	const char *rest = strstr(doomed, ", gx_stream s WHERE") + 1;

	(void)gx_buf_puts(b, "DELETE FROM ");
	put_name(b, t->r);
	(void)gx_buf_puts(b, " b USING");
	(void)gx_buf_puts(b, rest);
	if (returns) {
		(void)gx_buf_puts(b, " RETURNING b.gx_key");
	}
	return keep(b);
}

static char *
count_sql(struct gx_buf *b, const struct spg_table *t)
{
	(void)gx_buf_puts(b, "SELECT count(*) FROM ");
	put_name(b, t->r);
	(void)gx_buf_puts(b, " WHERE gx_origin = $1");
	return keep(b);
}

static void
build_statements(const struct gx_store_pg *st, struct spg_table *t)
{
	struct gx_buf b;

	gx_buf_init(&b, STATEMENT_BYTES);
	t->copy = copy_sql(&b, t);
	t->temp = temp_sql(&b, t);
	t->upsert = upsert_sql(&b, t);
	t->one = one_sql(&b, t);
	t->remove = remove_sql(&b, t);
	t->count = count_sql(&b, t);
	t->doomed_count = doomed_count_sql(&b, t);
	t->doomed_delete = doomed_delete_sql(&b, t, gx_store_pg_shows(st, t));
	(void)gx_buf_printf(&b, "TRUNCATE gx_in_%u", t->number);
	t->truncate = keep(&b);
	gx_buf_free(&b);
}

void
gx_store_pg_free_table(struct spg_table *t)
{
	gx_check_free(&t->check);
	gx_mem_free(t->copy);
	gx_mem_free(t->temp);
	gx_mem_free(t->upsert);
	gx_mem_free(t->one);
	gx_mem_free(t->remove);
	gx_mem_free(t->count);
	gx_mem_free(t->doomed_count);
	gx_mem_free(t->doomed_delete);
	gx_mem_free(t->show);
	gx_store_pg_arrays_free(&t->touched);
	gx_mem_free(t->truncate);
}

enum gx_rc
gx_store_pg_table(struct gx_store_pg *st, struct gx_slice stream,
		  struct gx_stream_name *name, struct spg_table **out,
		  struct gx_err *e)
{
	*out = NULL;
	for (size_t i = 0; gx_stream_parse(stream, name) && i < st->n_tables;
	     i++) {
		struct spg_table *t = &st->tables[i];

		if (!gx_slice_eq(name->resource, gx_slice_str(t->r->name))) {
			continue;
		}
		if (t->check == NULL) {
			t->check = gx_check_new(t->r->schema);
			build_statements(st, t);
		}
		*out = t;
		return GX_OK;
	}
	return GX_ERR(e, GX_FATAL, "stream.undeclared",
		      "the resource of a stream is not declared at this node");
}

/* ---- base tables ---- */

static void
put_create(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_buf_puts(b, "CREATE SCHEMA IF NOT EXISTS ");
	(void)gx_pg_ident(b, r->domain);
	(void)gx_buf_puts(b, "; CREATE TABLE IF NOT EXISTS ");
	put_name(b, r);
	(void)gx_buf_puts(b, " (");
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_pg_ident(b, r->fields[i].name);
		(void)gx_buf_printf(b, " %s, ", r->fields[i].pg_type);
	}
	(void)gx_buf_puts(b, "gx_origin text COLLATE \"C\" NOT NULL, "
			     "gx_key text COLLATE \"C\" NOT NULL, "
			     "gx_stream text COLLATE \"C\" NOT NULL, "
			     "gx_epoch bigint NOT NULL, "
			     "gx_seq bigint NOT NULL, "
			     "PRIMARY KEY (gx_origin, gx_key))");
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_buf_puts(b, "; ALTER TABLE ");
		put_name(b, r);
		(void)gx_buf_puts(b, " ADD COLUMN IF NOT EXISTS ");
		(void)gx_pg_ident(b, r->fields[i].name);
		(void)gx_buf_printf(b, " %s", r->fields[i].pg_type);
	}
}

/* Wanted columns as (name, type) against the catalogue: *n_missing, and a
 * stop at the first of another type. */
static enum gx_rc
look_columns(struct gx_store_pg *st, const struct gx_resource *r,
	     int64_t *n_missing, struct gx_err *e)
{
	static const char *const own[] = {
		"gx_origin", "text",	 "gx_key", "text",   "gx_stream",
		"text",	     "gx_epoch", "bigint", "gx_seq", "bigint"};
	const char *params[4] = {r->domain, r->table};
	const struct gx_rows *rows;
	enum gx_rc rc;

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		gx_store_pg_put(&st->a.col[i % 2], gx_slice_str(own[i]));
	}
	for (size_t i = 0; i < r->n_fields; i++) {
		const char *type = r->fields[i].pg_type;

		gx_store_pg_put(&st->a.col[0], gx_slice_str(r->fields[i].name));
		gx_store_pg_put(&st->a.col[1],
				gx_slice_str(strcmp(type, "timestamptz") == 0
						     ? "timestamp with time "
						       "zone"
						     : type));
	}
	rc = gx_store_pg_params(&st->a, 2, params + 2, e);
	if (rc == GX_OK) {
		rc = gx_pg_query(
			st->pg,
			"SELECT v.name, a.type IS NULL FROM "
			"unnest($3::text[], $4::text[]) v(name, type) "
			"LEFT JOIN (SELECT attname::text AS name, "
			"format_type(atttypid, atttypmod) AS type "
			"FROM pg_attribute WHERE attnum > 0 AND NOT "
			"attisdropped AND attrelid = (SELECT c.oid FROM "
			"pg_class c JOIN pg_namespace n ON n.oid = "
			"c.relnamespace WHERE n.nspname = $1 AND "
			"c.relname = $2)) a ON a.name = v.name "
			"WHERE a.type IS DISTINCT FROM v.type",
			4, params, &rows, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	*n_missing = gx_rows_n(rows);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		if (!gx_rows_bool(rows, i, 1)) {
			return GX_ERR(e, GX_FATAL, "store.table",
				      "column %s of %s.%s has another type "
				      "than declared",
				      gx_rows_str(rows, i, 0), r->domain,
				      r->table);
		}
	}
	return GX_OK;
}

static enum gx_rc
create(struct gx_store_pg *st, const struct gx_resource *r, struct gx_err *e)
{
	struct gx_buf b;
	enum gx_rc rc = gx_pg_exec(
		st->pg, "BEGIN; SELECT pg_advisory_xact_lock(7381239, 2)", e);

	gx_buf_init(&b, STATEMENT_BYTES);
	put_create(&b, r);
	if (rc == GX_OK) {
		rc = gx_pg_exec(st->pg, gx_buf_str(&b), e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_exec(st->pg, "COMMIT", e);
	}
	gx_buf_free(&b);
	return gx_store_pg_undo(st, rc, e);
}

enum gx_rc
gx_store_pg_make_table(struct gx_store_pg *st, struct spg_table *t,
		       struct gx_err *e)
{
	int64_t n_missing = 0;
	enum gx_rc rc;

	if (t->is_made) {
		return GX_OK;
	}
	rc = look_columns(st, t->r, &n_missing, e);
	if (rc == GX_OK && n_missing > 0) {
		rc = create(st, t->r, e);
		if (rc == GX_OK) {
			rc = look_columns(st, t->r, &n_missing, e);
		}
		if (rc == GX_OK && n_missing > 0) {
			return GX_ERR(e, GX_FATAL, "store.table",
				      "%s.%s is not a base table of ours: it "
				      "lacks columns",
				      t->r->domain, t->r->table);
		}
	}
	t->is_made = rc == GX_OK;
	return rc;
}

enum gx_rc
gx_store_pg_make_temp(struct gx_store_pg *st, struct spg_table *t,
		      struct gx_err *e)
{
	enum gx_rc rc;

	if (t->has_temp) {
		return GX_OK;
	}
	rc = gx_pg_exec(st->pg, t->temp, e);
	t->has_temp = rc == GX_OK;
	t->is_temp_full = false;
	return rc;
}
