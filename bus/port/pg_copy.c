/*
 * COPY in both directions.
 *
 * Into the server: rows are handed over in pieces of any size and only the end
 * says whether they were taken.  Until then everything is undecided, and a
 * rollback ends an open COPY as failed.
 *
 * Out of the server: one row at a time, lent until the next call.  Nothing yet
 * is GX_AGAIN, because a server may sort for long before its first row, and
 * the caller has other duties meanwhile.  An outage must be neither that nor
 * the end: cut off in the middle, a table would seem to have ended.  It is
 * GX_ABORT here, whatever it is elsewhere.  Whoever goes on reading behind the
 * end is told so, and never crashes: an end may be the server's word.
 */
#include "port/pg_int.h"

#include "base/clock.h"

#include <libpq-fe.h>
#include <poll.h>

/* A server that sorts a large table is silent; one that is dead, too. */
#define SILENT_MS 1800000

enum gx_rc
gx_pg_copy_in(struct gx_pg *pg, const char *sql, struct gx_err *e)
{
	enum gx_rc rc = gx_pg_begin_copy(pg, sql, PGRES_COPY_IN, e);

	pg->in_copy_in = rc == GX_OK;
	return rc;
}

static enum gx_rc
no_copy(const struct gx_pg *pg, struct gx_err *e)
{
	return GX_ERR(e, GX_ABORT, "pg.aborted",
		      "no COPY with PostgreSQL at %s is under way", pg->where);
}

enum gx_rc
gx_pg_copy_put(struct gx_pg *pg, struct gx_slice rows, struct gx_err *e)
{
	if (!pg->in_copy_in) {
		return no_copy(pg, e);
	}
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
	if (!pg->in_copy_in) {
		return no_copy(pg, e);
	}
	pg->in_copy_in = false;
	if (PQputCopyEnd(pg->conn, NULL) != 1) {
		return gx_pg_away(pg, e);
	}
	return gx_pg_drain(pg, n_rows, e);
}

enum gx_rc
gx_pg_copy_out(struct gx_pg *pg, const char *sql, struct gx_err *e)
{
	GX_ASSERT(pg->magic == PG_MAGIC && !pg->in_pipe);
	gx_pg_forget(pg);
	if (!gx_pg_alive(pg) || !PQsendQuery(pg->conn, sql)) {
		return gx_pg_away(pg, e);
	}
	pg->in_copy_out = true;
	pg->has_begun_out = false;
	pg->copied_at_ms = gx_mono_ms();
	return GX_OK;
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

/* The server says that a COPY has begun together with its first rows, which
 * may be long after.  1: it has; 0 nothing yet; -1 it failed, -2 the
 * connection did. */
static int
wait_begin(struct gx_pg *pg, int timeout_ms, struct gx_err *e, enum gx_rc *rc)
{
	struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
	PGresult *res;

	if (PQisBusy(pg->conn)) {
		if (poll(&fd, 1, timeout_ms) > 0 && !PQconsumeInput(pg->conn)) {
			return -2;
		}
		if (PQisBusy(pg->conn)) {
			return 0;
		}
	}
	res = PQgetResult(pg->conn);
	pg->has_begun_out = PQresultStatus(res) == PGRES_COPY_OUT;
	if (!pg->has_begun_out) {
		*rc = gx_pg_fault(pg, res, e);
	}
	PQclear(res);
	return pg->has_begun_out ? 1 : -1;
}

/* PQgetCopyData's answer: bytes of a row, 0 nothing yet, -1 the end or a
 * fault of the statement, -2 the connection's. */
static int
wait_row(struct gx_pg *pg, int timeout_ms)
{
	int64_t until_ms = gx_mono_ms() + timeout_ms;

	for (;;) {
		struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
		int64_t left_ms = until_ms - gx_mono_ms();
		int n = PQgetCopyData(pg->conn, &pg->copied, 1);

		if (n != 0) {
			return n;
		}
		if (poll(&fd, 1, left_ms > 0 ? (int)left_ms : 0) <= 0) {
			if (left_ms <= 0) {
				return 0;
			}
		} else if (!PQconsumeInput(pg->conn)) {
			return -2;
		}
	}
}

enum gx_rc
gx_pg_copy_get(struct gx_pg *pg, int timeout_ms, struct gx_slice *row,
	       bool *is_end, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;
	int n = 1;

	gx_pg_forget(pg);
	*row = gx_slice(NULL, 0);
	*is_end = false;
	if (!pg->in_copy_out) {
		return no_copy(pg, e);
	}
	if (!pg->has_begun_out) {
		n = wait_begin(pg, timeout_ms, e, &rc);
	}
	if (n > 0) {
		n = wait_row(pg, timeout_ms);
	}
	if (n > 0) {
		*row = gx_slice(pg->copied, (size_t)n);
		pg->copied_at_ms = gx_mono_ms();
		return GX_OK;
	}
	if (n == 0 && gx_mono_ms() - pg->copied_at_ms < SILENT_MS) {
		return GX_AGAIN;
	}
	pg->in_copy_out = false;
	if (n != -1) {
		return cut_off(gx_pg_away(pg, e), e);
	}
	if (rc != GX_OK) {
		(void)!gx_pg_drain(pg, NULL, NULL);
		return cut_off(rc, e);
	}
	*is_end = true;
	return cut_off(gx_pg_drain(pg, NULL, e), e);
}
