/*
 * Store on PostgreSQL: the end of a full reading.
 *
 * Between s and e the source has sent every row it has, or a hold in place of
 * one it could not send.  At e the stream's rows not written since s go, those
 * of its former generations too; keys on hold keep their last good row.  A
 * hold from before s that was not renewed is over: the source has nothing
 * under that key any more.
 *
 * A source that reads an empty table would so empty ours.  Above the guard's
 * share nothing is changed and the reader is told to let the stream stand
 * until an operator accepts.  Acceptance comes with the reader's ending of that
 * stop (is_accept), and holds for one e.  It is kept in memory only: after a
 * restart the guard asks again.
 */
#include "flow/store_pg_int.h"

struct end {
	char stream[GX_STREAM_MAX + 1], origin[GX_STREAM_MAX + 1];
	const char *params[4];
};

static enum gx_rc
end_old_holds(struct gx_store_pg *st, const struct end *end, struct gx_err *e)
{
	return gx_pg_query(
		st->pg,
		"DELETE FROM gx_held h USING gx_stream s WHERE s.stream = $1 "
		"AND s.reading_at IS NOT NULL AND h.origin = $2 AND "
		"h.resource = $4 AND ((h.stream = $1 AND "
		"h.seq < s.reading_at) OR (h.stream <> $1 AND "
		"(h.stream = $3 OR starts_with(h.stream, $3 || '.'))))",
		4, end->params, NULL, e);
}

/* What was set aside before the reading and is not met in it is gone from the
 * source: no replay may bring it back. */
static enum gx_rc
end_old_items(struct gx_store_pg *st, const struct end *end, struct gx_err *e)
{
	return gx_pg_query(
		st->pg,
		"WITH old AS (UPDATE gx_quarantine q SET state = 'superseded' "
		"FROM gx_stream s WHERE s.stream = $1 AND "
		"s.reading_at IS NOT NULL AND q.stream = $1 AND q.key <> '' "
		"AND q.state IN ('open', 'queued') AND "
		"q.side = 'source' AND q.seq < s.reading_at RETURNING q.id) "
		"DELETE FROM gx_redrive r USING old WHERE r.item = old.id",
		1, end->params, NULL, e);
}

static enum gx_rc
check_guard(struct gx_store_pg *st, const struct spg_unit *u,
	    const struct end *end, struct gx_err *e)
{
	const struct gx_rows *r;
	uint64_t n_doomed, n_all;
	enum gx_rc rc;

	if (st->guard_percent == 0 ||
	    gx_store_pg_listed(st->accepted, st->n_accepted, u->stream)) {
		return GX_OK;
	}
	rc = gx_pg_query(st->pg, u->table->doomed_count, 4, end->params, &r, e);
	if (rc != GX_OK) {
		return rc;
	}
	n_doomed = (uint64_t)gx_rows_int(r, 0, 0);
	n_all = (uint64_t)gx_rows_int(r, 0, 1);
	if (n_doomed <= st->guard_floor ||
	    n_doomed * 100 <= (uint64_t)st->guard_percent * n_all) {
		return GX_OK;
	}
	return GX_ERR(e, GX_REJECT, "guard.mass_delete",
		      "the end of a full reading of %s would delete %llu of "
		      "%llu rows, more than %d %%",
		      end->stream, (unsigned long long)n_doomed,
		      (unsigned long long)n_all, st->guard_percent);
}

/* Whoever was shown a row that goes is told. */
static enum gx_rc
delete_doomed(struct gx_store_pg *st, const struct spg_unit *u,
	      const struct end *end, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(st->pg, u->table->doomed_delete, 4,
				    end->params, &r, e);

	if (rc == GX_OK && gx_store_pg_shows(st, u->table)) {
		for (int i = 0; i < gx_rows_n(r); i++) {
			gx_store_pg_touch(u->table, u->origin,
					  gx_rows_slice(r, i, 0));
		}
	}
	return rc;
}

enum gx_rc
gx_store_pg_end(struct gx_store_pg *st, const struct spg_unit *u,
		struct gx_err *e)
{
	struct end end;
	enum gx_rc rc;

	(void)snprintf(end.stream, sizeof(end.stream), "%.*s", (int)u->stream.n,
		       u->stream.p);
	(void)snprintf(end.origin, sizeof(end.origin), "%.*s", (int)u->origin.n,
		       u->origin.p);
	end.params[0] = end.stream;
	end.params[1] = end.origin;
	end.params[2] = u->base;
	end.params[3] = u->table->r->name;
	rc = end_old_holds(st, &end, e);
	if (rc == GX_OK) {
		rc = check_guard(st, u, &end, e);
	}
	if (rc == GX_OK) {
		rc = end_old_items(st, &end, e);
	}
	if (rc == GX_OK) {
		rc = delete_doomed(st, u, &end, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "UPDATE gx_stream SET reading_at = NULL "
				 "WHERE stream = $1",
				 1, end.params, NULL, e);
	}
	return rc;
}
