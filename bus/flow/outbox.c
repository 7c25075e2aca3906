/*
 * Outbox, the emitting end.
 *
 * A service that changes the database and wants to tell of it has one way to
 * do both or neither: a row beside the change, in the same transaction.  The
 * rows of an origin are numbered by one counter, its head row.  The head is
 * taken last and held to the commit, so the next emitter waits there for a
 * moment and then gets the numbers behind ours: ids have no holes and stand in
 * the order of the commits.  Whoever reads "above the last id" so never misses
 * one that commits late, which a sequence could not promise.
 *
 * An origin's ids mean something only together with its incarnation, drawn
 * when the head is made.  A head that is made anew, because the tables were
 * lost, numbers from 1 again under another incarnation, and no position of the
 * former one is mistaken for one of its own.
 *
 * Nothing is begun, committed or kept here: it is the caller's transaction,
 * and if we die on any line it is rolled back with all that stands in it.
 * Nothing is checked either: the reading end runs every row through the
 * validator of its resource, like what comes from a department.
 */
#include "flow/outbox.h"

#define COLUMN_BYTES (64u << 20)
#define COLUMNS 6

/* One element of an array literal. */
static void
put(struct gx_buf *b, struct gx_slice v)
{
	(void)gx_buf_puts(b, b->n == 0 ? "{\"" : ",\"");
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '"' || v.p[i] == '\\') {
			(void)gx_buf_putc(b, '\\');
		} else if (v.p[i] == '\0') { /* no text holds it */
			b->failed = true;
		}
		(void)gx_buf_putc(b, v.p[i]);
	}
	(void)gx_buf_putc(b, '"');
}

static void
put_row(struct gx_buf *col, const struct gx_outbox_row *row)
{
	put(&col[0], gx_slice_str(row->stream));
	put(&col[1], gx_slice(&row->op, 1));
	put(&col[2], row->key);
	put(&col[3], row->time);
	put(&col[4], row->origin);
	put(&col[5], row->data);
}

static enum gx_rc
insert_rows(struct gx_pg *pg, const char *origin, struct gx_buf *col, size_t n,
	    struct gx_err *e)
{
	const char *params[COLUMNS + 2] = {origin};
	char number[24];

	(void)snprintf(number, sizeof number, "%zu", n);
	params[1] = number;
	for (size_t i = 0; i < COLUMNS; i++) {
		(void)gx_buf_putc(&col[i], '}');
		params[i + 2] = gx_buf_str(&col[i]);
		if (col[i].failed) {
			return GX_ERR(e, GX_FATAL, "mem.full",
				      "%zu rows for an outbox do not fit", n);
		}
	}
	return gx_pg_query(
		pg,
		"WITH head AS (INSERT INTO gx_outbox_head AS h (origin, "
		"incarnation, last_id) VALUES ($1, "
		"replace(gen_random_uuid()::text, '-', ''), $2::bigint) "
		"ON CONFLICT (origin) DO UPDATE SET "
		"last_id = h.last_id + excluded.last_id RETURNING last_id) "
		"INSERT INTO gx_outbox (origin, id, stream, op, key, at, o, d) "
		"SELECT $1, head.last_id - $2::bigint + v.i, v.stream, v.op, "
		"v.key, coalesce(nullif(v.at, '')::timestamptz, "
		"clock_timestamp()), v.o, v.d FROM head, unnest($3::text[], "
		"$4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) "
		"WITH ORDINALITY v(stream, op, key, at, o, d, i)",
		COLUMNS + 2, params, NULL, e);
}

enum gx_rc
gx_outbox_put(struct gx_pg *pg, const char *origin,
	      const struct gx_outbox_row *rows, size_t n, struct gx_err *e)
{
	struct gx_buf col[COLUMNS];
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; i < COLUMNS; i++) {
		gx_buf_init(&col[i], COLUMN_BYTES);
	}
	for (size_t i = 0; i < n; i++) {
		put_row(col, &rows[i]);
	}
	if (n > 0) {
		rc = insert_rows(pg, origin, col, n, e);
	}
	for (size_t i = 0; i < COLUMNS; i++) {
		gx_buf_free(&col[i]);
	}
	return rc;
}

enum gx_rc
gx_outbox_declare(struct gx_pg *pg, const char *origin, struct gx_err *e)
{
	return gx_pg_query(pg,
			   "INSERT INTO gx_outbox_head (origin, incarnation, "
			   "last_id) VALUES ($1, replace(gen_random_uuid()::"
			   "text, '-', ''), 0) ON CONFLICT (origin) DO NOTHING",
			   1, &origin, NULL, e);
}
