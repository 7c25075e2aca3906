/*
 * COPY in both directions.
 *
 * Into the server: rows are handed over in pieces of any size and only the end
 * says whether they were taken.  Until then everything is undecided, and a
 * rollback ends an open COPY as failed.
 *
 * Out of the server: one row at a time, lent until the next call.  The end is
 * GX_AGAIN, so an outage must not be: cut off in the middle, a table would
 * seem to have ended.  It is GX_ABORT here, whatever it is elsewhere.
 */
#include "port/pg_int.h"

#include <libpq-fe.h>

enum gx_rc
gx_pg_copy_in(struct gx_pg *pg, const char *sql, struct gx_err *e)
{
	enum gx_rc rc = gx_pg_begin_copy(pg, sql, PGRES_COPY_IN, e);

	pg->in_copy_in = rc == GX_OK;
	return rc;
}

enum gx_rc
gx_pg_copy_put(struct gx_pg *pg, struct gx_slice rows, struct gx_err *e)
{
	GX_ASSERT(pg->in_copy_in);
	while (rows.n > 0) {
		size_t n = rows.n < (1u << 20) ? rows.n : 1u << 20;

		if (PQputCopyData(pg->conn, rows.p, (int)n) != 1) {
			return gx_pg_away(pg, e);
		}
		rows.p += n;
		rows.n -= n;
	}
	return GX_OK;
}

enum gx_rc
gx_pg_copy_end(struct gx_pg *pg, int64_t *n_rows, struct gx_err *e)
{
	GX_ASSERT(pg->in_copy_in);
	pg->in_copy_in = false;
	if (PQputCopyEnd(pg->conn, NULL) != 1) {
		return gx_pg_away(pg, e);
	}
	return gx_pg_drain(pg, n_rows, e);
}

enum gx_rc
gx_pg_copy_out(struct gx_pg *pg, const char *sql, struct gx_err *e)
{
	enum gx_rc rc = gx_pg_begin_copy(pg, sql, PGRES_COPY_OUT, e);

	pg->in_copy_out = rc == GX_OK;
	return rc;
}

static enum gx_rc
cut_off(enum gx_rc rc, struct gx_err *e)
{
	if (rc != GX_AGAIN) {
		return rc;
	}
	if (e != NULL) {
		e->rc = GX_ABORT;
	}
	return GX_ABORT;
}

enum gx_rc
gx_pg_copy_get(struct gx_pg *pg, struct gx_slice *row, struct gx_err *e)
{
	int n;
	enum gx_rc rc;

	GX_ASSERT(pg->in_copy_out);
	gx_pg_forget(pg);
	*row = gx_slice(NULL, 0);
	n = PQgetCopyData(pg->conn, &pg->copied, 0);
	if (n > 0) {
		*row = gx_slice(pg->copied, (size_t)n);
		return GX_OK;
	}
	pg->in_copy_out = false;
	if (n != -1) {
		return cut_off(gx_pg_away(pg, e), e);
	}
	rc = gx_pg_drain(pg, NULL, e);
	return rc == GX_OK ? GX_AGAIN : cut_off(rc, e);
}
