/*
 * Store on PostgreSQL: what a segment changes, written.
 *
 * Rows first, then what was set aside, then holds, then what that leaves
 * behind in the quarantine.  A small segment is only queued in the pipeline of
 * its transaction, a statement per row.  A large one goes by COPY into the
 * temporary table and from there, sorted, into the base table in one
 * statement.
 *
 * Should the database refuse a value that our own checks let pass, the whole
 * transaction is undone and done again carefully: rows go in under a
 * savepoint, halved until the guilty one stands alone.  That one is set aside
 * with the database's SQLSTATE, and the line of its key that it had replaced
 * takes its place, so that the table holds what it would if every line had
 * come in a transaction of its own.
 *
 * All of this lies within the open transaction: if we die on any line, none of
 * it happened.
 */
#include "base/json.h"
#include "flow/store_pg_int.h"

/* One statement: queued, or done at once. */
static enum gx_rc
run(struct gx_store_pg *st, bool small, const char *sql, int n,
    const char *const *params, struct gx_err *e)
{
	return small ? gx_pg_pipe(st->pg, sql, n, params, e)
		     : gx_pg_query(st->pg, sql, n, params, NULL, e);
}

/* ---- one row, one statement ---- */

static char
unescape(char c)
{
	static const char from[] = "bfnrtv", to[] = "\b\f\n\r\t\v";
	const char *at = c != '\0' ? strchr(from, c) : NULL;

	return at != NULL ? to[at - from] : c;
}

/* Split COPY text into values, each ended by NUL where its tab was.  What is
 * written is never longer than what was read, so nothing moves. */
static bool
split_row(struct gx_buf *b, struct gx_slice row, const char **out, size_t n)
{
	size_t k = 0;
	bool is_null = false, at_start = true;

	gx_buf_reset(b);
	if (!gx_buf_slice(b, row)) {
		return false;
	}
	gx_buf_cut(b, 0);
	for (size_t i = 0; i < row.n && k < n; i++) {
		char c = row.p[i];

		if (at_start) {
			out[k] = b->p + b->n;
			at_start = false;
		}
		if (c == '\t' || c == '\n') {
			out[k] = is_null ? NULL : out[k];
			k++;
			(void)gx_buf_putc(b, '\0');
			at_start = true;
			is_null = false;
		} else if (c == '\\' && i + 1 < row.n) {
			is_null = row.p[i + 1] == 'N';
			(void)gx_buf_putc(b, unescape(row.p[++i]));
		} else {
			(void)gx_buf_putc(b, c);
		}
	}
	return k == n;
}

static enum gx_rc
put_one(struct gx_store_pg *st, struct spg_table *t, const struct spg_item *it,
	struct gx_err *e)
{
	const struct spg_unit *u = &st->units[it->unit];
	size_t n = t->r->n_fields + 3; /* unit, key, seq before the fields */
	char origin[GX_STREAM_MAX + 1], stream[GX_STREAM_MAX + 1], epoch[24];
	enum gx_rc rc = gx_store_pg_room(&st->params, &st->params_max, n + 2,
					 sizeof(*st->params), e);

	if (rc != GX_OK) {
		return rc;
	}
	if (!split_row(&st->text, gx_slice(st->rows.p + it->row_at, it->row_n),
		       st->params + 2, n)) {
		return GX_ERR(e, GX_FATAL, "mem.full",
			      "a row does not fit a statement");
	}
	(void)snprintf(origin, sizeof(origin), "%.*s", (int)u->origin.n,
		       u->origin.p);
	(void)snprintf(stream, sizeof(stream), "%.*s", (int)u->stream.n,
		       u->stream.p);
	(void)snprintf(epoch, sizeof(epoch), "%llu",
		       (unsigned long long)u->epoch);
	st->params[0] = origin;
	st->params[1] = stream;
	st->params[2] = epoch; /* in place of the unit */
	return gx_pg_pipe(st->pg, t->one, (int)n + 2, st->params, e);
}

/* ---- many rows ---- */

static enum gx_rc
copy_rows(struct gx_store_pg *st, struct spg_table *t, const uint32_t *idx,
	  size_t n, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;
	int64_t n_rows = 0;
	size_t from = 0, len = 0;

	if (t->is_temp_full) {
		rc = gx_pg_exec(st->pg, t->truncate, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_copy_in(st->pg, t->copy, e);
	}
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		const struct spg_item *it = &st->items[idx[i]];

		if (len > 0 && from + len != it->row_at) {
			rc = gx_pg_copy_put(
				st->pg, gx_slice(st->rows.p + from, len), e);
			len = 0;
		}
		from = len == 0 ? it->row_at : from;
		len += it->row_n;
	}
	if (rc == GX_OK) {
		rc = gx_pg_copy_put(st->pg, gx_slice(st->rows.p + from, len),
				    e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_copy_end(st->pg, &n_rows, e);
	}
	t->is_temp_full = true;
	if (rc == GX_OK && (size_t)n_rows != n) {
		return GX_ERR(e, GX_FATAL, "store.table",
			      "COPY took %lld of %zu rows", (long long)n_rows,
			      n);
	}
	return rc;
}

static enum gx_rc
put_many(struct gx_store_pg *st, struct spg_table *t, const uint32_t *idx,
	 size_t n, struct gx_err *e)
{
	const char *params[3];
	enum gx_rc rc = copy_rows(st, t, idx, n, e);

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; rc == GX_OK && i < st->n_units; i++) {
		gx_store_pg_put(&st->a.col[0], st->units[i].origin);
		gx_store_pg_put(&st->a.col[1], st->units[i].stream);
		gx_store_pg_put_u64(&st->a.col[2], st->units[i].epoch);
	}
	if (rc == GX_OK) {
		rc = gx_store_pg_params(&st->a, 3, params, e);
	}
	return rc == GX_OK ? gx_pg_query(st->pg, t->upsert, 3, params, NULL, e)
			   : rc;
}

/* ---- carefully ---- */

/* PostgreSQL refused this line alone: aside it goes, and whatever it had
 * replaced stands again.  *again: a row to be tried in its place, + 1. */
static enum gx_rc
yield_line(struct gx_store_pg *st, struct spg_item *it, uint32_t *again,
	   const struct gx_err *why, struct gx_err *e)
{
	struct gx_buf b;
	struct gx_jw w;
	enum gx_rc rc;

	gx_buf_init(&b, 4096);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '[');
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "pointer", "");
	gx_jw_kv_str(&w, "keyword", "store");
	gx_jw_kv_str(&w, "message", why->text);
	gx_jw_end(&w, '}');
	gx_jw_end(&w, ']');
	rc = gx_store_pg_set_aside(st, &st->units[it->unit], it->seq, it->key,
				   it->line, gx_buf_view(&b), e);
	gx_buf_free(&b);
	*again = 0;
	it->is_row = false;
	if (it->is_last && it->prior != 0) {
		st->items[it->prior - 1].is_last = true;
	}
	it->is_last = false;
	if (it->before != 0) {
		struct spg_item *old = &st->items[it->before - 1];

		old->is_row = true;
		*again = old->op == GX_OP_UPSERT ? it->before : 0;
	}
	return rc;
}

static enum gx_rc
try_rows(struct gx_store_pg *st, struct spg_table *t, const uint32_t *idx,
	 size_t n, struct gx_err *e)
{
	bool was_full = t->is_temp_full;
	enum gx_rc rc = gx_pg_exec(st->pg, "SAVEPOINT gx", e);

	if (rc == GX_OK) {
		rc = put_many(st, t, idx, n, e);
	}
	if (rc == GX_OK) {
		return gx_pg_exec(st->pg, "RELEASE SAVEPOINT gx", e);
	}
	if (rc == GX_REJECT) {
		enum gx_rc back = gx_pg_exec(st->pg,
					     "ROLLBACK TO SAVEPOINT gx; "
					     "RELEASE SAVEPOINT gx",
					     NULL);

		t->is_temp_full = was_full;
		if (back != GX_OK) {
			return GX_ERR(e, GX_ABORT, "pg.aborted",
				      "the way back to a savepoint failed");
		}
	}
	return rc;
}

/* Halves are done by a loop over a stack of ranges: 64 halvings are more than
 * any count of lines. */
static enum gx_rc
put_carefully(struct gx_store_pg *st, struct spg_table *t, uint32_t *idx,
	      size_t n, struct gx_err *e)
{
	struct {
		size_t from, n;
	} todo[66] = {{0, n}};
	size_t n_todo = 1;

	while (n_todo > 0) {
		size_t from = todo[n_todo - 1].from;
		size_t len = todo[--n_todo].n;
		struct gx_err why = {0};
		uint32_t again;
		enum gx_rc rc = try_rows(st, t, idx + from, len, &why);

		if (rc != GX_OK && rc != GX_REJECT) {
			if (e != NULL) {
				*e = why;
			}
			return rc;
		}
		if (rc == GX_OK) {
			continue;
		}
		if (len > 1) {
			todo[n_todo].from = from + len / 2;
			todo[n_todo++].n = len - len / 2;
			todo[n_todo].from = from;
			todo[n_todo++].n = len / 2;
			continue;
		}
		rc = yield_line(st, &st->items[idx[from]], &again, &why, e);
		if (rc != GX_OK) {
			return rc;
		}
		if (again != 0) {
			idx[from] = again - 1;
			todo[n_todo].from = from;
			todo[n_todo++].n = 1;
		}
	}
	return GX_OK;
}

/* ---- rows of a table ---- */

static enum gx_rc
put_rows(struct gx_store_pg *st, struct spg_table *t, bool small,
	 struct gx_err *e)
{
	size_t n = 0;
	enum gx_rc rc = gx_store_pg_room(&st->picked, &st->picked_max,
					 st->n_items, sizeof(*st->picked), e);

	if (rc != GX_OK) {
		return rc;
	}
	for (size_t i = 0; i < st->n_items; i++) {
		const struct spg_item *it = &st->items[i];

		if (it->is_row && it->op == GX_OP_UPSERT &&
		    st->units[it->unit].table == t) {
			st->picked[n++] = (uint32_t)i;
		}
	}
	for (size_t i = 0; rc == GX_OK && small && i < n; i++) {
		rc = put_one(st, t, &st->items[st->picked[i]], e);
	}
	if (n == 0 || small) {
		return rc;
	}
	return st->is_careful ? put_carefully(st, t, st->picked, n, e)
			      : put_many(st, t, st->picked, n, e);
}

static enum gx_rc
remove_rows(struct gx_store_pg *st, struct spg_table *t, bool small,
	    struct gx_err *e)
{
	const char *params[4];
	enum gx_rc rc;

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < st->n_items; i++) {
		const struct spg_item *it = &st->items[i];
		const struct spg_unit *u = &st->units[it->unit];

		if (!it->is_row || it->op != GX_OP_DELETE || u->table != t) {
			continue;
		}
		gx_store_pg_put(&st->a.col[0], u->origin);
		gx_store_pg_put(&st->a.col[1], u->stream);
		gx_store_pg_put(&st->a.col[2], it->key);
		gx_store_pg_put_u64(&st->a.col[3], it->seq);
		st->a.n++;
	}
	if (st->a.n == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->a, 4, params, e);
	return rc == GX_OK ? run(st, small, t->remove, 4, params, e) : rc;
}

/* ---- what goes with rows ---- */

static enum gx_rc
put_starts(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	const char *params[2];
	enum gx_rc rc;

	if (st->n_started == 0) {
		return GX_OK;
	}
	for (size_t i = 0; i < st->n_started; i++) {
		gx_store_pg_put(&st->starts.col[0], st->started[i]);
	}
	rc = gx_store_pg_params(&st->starts, 2, params, e);
	if (rc != GX_OK) {
		return rc;
	}
	return run(st, small,
		   "UPDATE gx_stream s SET reading_at = v.at FROM "
		   "unnest($1::text[], $2::bigint[]) v(stream, at) "
		   "WHERE s.stream = v.stream",
		   2, params, e);
}

/* What is set aside is counted in the stream's row: receipts tell it. */
static enum gx_rc
put_asides(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	const char *params[SPG_COLS];
	enum gx_rc rc;

	if (st->asides.n == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->asides, SPG_COLS, params, e);
	if (rc != GX_OK) {
		return rc;
	}
	st->has_open = true;
	return run(st, small,
		   "WITH put AS (INSERT INTO gx_quarantine AS q (side, stream, "
		   "pos, seq, key, reasons, original, first_seen, last_seen, "
		   "is_sealed) "
		   "SELECT 'sink', v.stream, v.seq::text, v.seq, v.key, "
		   "v.reasons, v.original, v.at, v.at, v.is_sealed "
		   "FROM unnest($1::text[], "
		   "$2::bigint[], $3::text[], $4::jsonb[], $5::bytea[], "
		   "$6::timestamptz[], $7::boolean[]) v(stream, seq, key, "
		   "reasons, original, at, is_sealed) ON CONFLICT (side, "
		   "stream, pos) DO UPDATE SET "
		   "last_seen = excluded.last_seen, n_seen = q.n_seen + 1 "
		   "RETURNING q.stream, q.n_seen) "
		   "UPDATE gx_stream s SET n_aside = s.n_aside + v.n FROM "
		   "(SELECT stream, count(*) AS n FROM put WHERE n_seen = 1 "
		   "GROUP BY stream) v WHERE s.stream = v.stream",
		   SPG_COLS, params, e);
}

/* The newest line of each key: those set aside, or all others.  *params stays
 * NULL if there are none; the sixth column, the time, is for the former. */
static enum gx_rc
gather_holds(struct gx_store_pg *st, bool is_aside, const char *params[6],
	     struct gx_err *e)
{
	params[0] = NULL;
	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < st->n_items; i++) {
		const struct spg_item *it = &st->items[i];
		const struct spg_unit *u = &st->units[it->unit];
		struct gx_buf *c = st->a.col;

		if (!it->is_last || (it->op == GX_OP_SET_ASIDE) != is_aside) {
			continue;
		}
		gx_store_pg_put(&c[0], u->origin);
		gx_store_pg_put(&c[1], gx_slice_str(u->table->r->name));
		gx_store_pg_put(&c[2], it->key);
		gx_store_pg_put(&c[3], u->stream);
		gx_store_pg_put_u64(&c[4], it->seq);
		gx_store_pg_put(&c[5], it->time);
		st->a.n++;
	}
	return st->a.n == 0 ? GX_OK : gx_store_pg_params(&st->a, 6, params, e);
}

static enum gx_rc
put_holds(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	const char *params[6];
	enum gx_rc rc = gather_holds(st, true, params, e);

	if (rc != GX_OK || params[0] == NULL) {
		return rc;
	}
	return run(st, small,
		   "INSERT INTO gx_held AS h (origin, resource, key, stream, "
		   "seq, since) SELECT * FROM unnest($1::text[], $2::text[], "
		   "$3::text[], $4::text[], $5::bigint[], $6::timestamptz[]) "
		   "ON CONFLICT (origin, resource, key) DO UPDATE SET "
		   "stream = excluded.stream, seq = excluded.seq "
		   "WHERE h.stream <> excluded.stream OR "
		   "h.seq < excluded.seq",
		   6, params, e);
}

static enum gx_rc
end_holds(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	const char *params[6];
	enum gx_rc rc = gather_holds(st, false, params, e);

	if (rc != GX_OK || params[0] == NULL) {
		return rc;
	}
	return run(st, small,
		   "DELETE FROM gx_held h USING unnest($1::text[], "
		   "$2::text[], $3::text[], $4::text[], $5::bigint[]) "
		   "v(origin, resource, key, stream, seq) WHERE "
		   "h.origin = v.origin AND h.resource = v.resource AND "
		   "h.key = v.key AND (h.stream <> v.stream OR "
		   "h.seq < v.seq)",
		   5, params, e);
}

/* A newer line of a key: what was set aside of it before is history, also if
 * its replay is ordered already. */
static enum gx_rc
supersede(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	const char *params[3];
	enum gx_rc rc;

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < st->n_items; i++) {
		const struct spg_item *it = &st->items[i];

		if (it->is_last) {
			gx_store_pg_put(&st->a.col[0],
					st->units[it->unit].stream);
			gx_store_pg_put(&st->a.col[1], it->key);
			gx_store_pg_put_u64(&st->a.col[2], it->seq);
			st->a.n++;
		}
	}
	if (st->a.n == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->a, 3, params, e);
	if (rc != GX_OK) {
		return rc;
	}
	return run(st, small,
		   "WITH old AS (UPDATE gx_quarantine q "
		   "SET state = 'superseded' FROM "
		   "unnest($1::text[], $2::text[], $3::bigint[]) "
		   "v(stream, key, seq) WHERE q.stream = v.stream AND "
		   "q.key = v.key AND q.state IN ('open', 'queued') "
		   "AND q.seq < v.seq RETURNING q.id) "
		   "DELETE FROM gx_redrive r USING old WHERE r.item = old.id",
		   3, params, e);
}

enum gx_rc
gx_store_pg_write(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	enum gx_rc rc = put_starts(st, small, e);

	gx_store_pg_touch_segment(st);
	for (size_t i = 0; rc == GX_OK && i < st->n_tables; i++) {
		struct spg_table *t = &st->tables[i];

		if (!t->is_met || st->n_items == 0) {
			continue;
		}
		rc = put_rows(st, t, small, e);
		if (rc == GX_OK) {
			rc = remove_rows(st, t, small, e);
		}
	}
	if (rc == GX_OK) {
		rc = put_asides(st, small, e);
	}
	if (rc == GX_OK) { /* before they could be taken for superseded */
		rc = gx_store_pg_close_items(st, small, e);
	}
	if (rc == GX_OK) {
		rc = put_holds(st, small, e);
	}
	if (rc == GX_OK && (small || st->has_held)) {
		rc = end_holds(st, small, e);
	}
	if (rc == GX_OK && (small || st->has_open)) {
		rc = supersede(st, small, e);
	}
	return rc;
}
