/*
 * Store on PostgreSQL: quarantine at the source, and releases.
 *
 * A row is keyed by (stream, position), so that reading a source twice sets
 * nothing aside twice.  It is committed before a batch passes its record; if
 * we die between, the take-over forgets it (settle) unless a release covers
 * it, and the record is read again.
 *
 * A writer that was replaced may come here late, and nothing in the database
 * fences it.  So a row carries the epoch of its writer: a higher one takes it
 * over, and whoever settles forgets rows of its own epoch and of lower ones
 * only.  A zombie so touches nothing that the new owner counts on.
 *
 * A release is one transaction: the position, and the rows it covers; one of a
 * lower epoch than the last changes nothing, or a zombie would take the note
 * back behind what its successor has let the source forget.  Numbers
 * of rows are shared by all flows of the node, so a release covers only rows
 * of streams that this store has settled or set aside for: its flow's.
 *
 * The ceiling counts open rows of the flow.  Rows that were there before never
 * meet it, so a flow that stands at its ceiling can still repeat itself.
 */
#include "flow/store_pg_int.h"

/* ---- setting aside ---- */

static enum gx_rc
put_aside(struct gx_store_pg *st, const struct gx_aside *as, struct gx_err *e)
{
	struct gx_buf *c = st->a.col;
	enum gx_rc rc;

	gx_store_pg_put(&c[0], as->stream);
	gx_store_pg_put(&c[1], as->pos);
	gx_store_pg_put_u64(&c[2], as->seq);
	gx_store_pg_put(&c[3], as->key);
	gx_buf_reset(&st->text);
	if (!gx_store_pg_clean_json(&st->text, as->reasons)) {
		return GX_ERR(e, GX_FATAL, "mem.full",
			      "the reasons of a refused record are too long");
	}
	gx_store_pg_put(&c[4], gx_buf_view(&st->text));
	gx_store_pg_put(&st->b.col[0], as->time);
	gx_store_pg_put_u64(&st->b.col[1], as->epoch);
	gx_store_pg_put(&st->b.col[3], st->box ? GX_SLICE("t") : GX_SLICE("f"));
	st->a.n++;
	rc = gx_store_pg_put_sealed(st, &c[5], "original", as->stream, as->pos,
				    as->original, e);
	if (rc == GX_OK) { /* "" is none: an empty one would be no object */
		rc = gx_store_pg_put_sealed(
			st, &st->b.col[2], "record", as->stream, as->pos,
			st->box ? as->record : gx_slice("", 0), e);
	}
	return rc;
}

/* One row per key: a statement may change a row only once.  *n_new: those
 * that were not there, not those that were taken over. */
static enum gx_rc
insert_asides(struct gx_store_pg *st, int64_t *n_new, struct gx_err *e)
{
	const char *params[10];
	const struct gx_rows *r;
	enum gx_rc rc = gx_store_pg_params(&st->a, 6, params, e);

	if (rc == GX_OK) {
		rc = gx_store_pg_params(&st->b, 4, params + 6, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(
			st->pg,
			"WITH put AS (INSERT INTO gx_quarantine AS q (side, "
			"stream, pos, seq, key, reasons, original, first_seen, "
			"last_seen, epoch, record, is_sealed) "
			"SELECT 'source', v.stream, v.pos, "
			"v.seq, v.key, v.reasons, v.original, v.at, v.at, "
			"v.epoch, nullif(v.record, ''), v.is_sealed FROM "
			"(SELECT DISTINCT ON (u.stream, u.pos) "
			"u.* FROM unnest($1::text[], $2::text[], "
			"$3::bigint[], $4::text[], $5::jsonb[], $6::bytea[], "
			"$7::timestamptz[], $8::bigint[], $9::bytea[], "
			"$10::boolean[]) WITH ORDINALITY "
			"u(stream, pos, seq, key, reasons, original, at, "
			"epoch, record, is_sealed, i) ORDER BY u.stream, "
			"u.pos, u.i) v "
			"ORDER BY v.i ON CONFLICT (side, stream, pos) DO "
			"UPDATE SET seq = excluded.seq, key = excluded.key, "
			"reasons = excluded.reasons, original = "
			"excluded.original, record = excluded.record, "
			"is_sealed = excluded.is_sealed, last_seen = "
			"excluded.last_seen, "
			"epoch = excluded.epoch, n_seen = q.n_seen + 1 "
			"WHERE q.epoch < excluded.epoch AND NOT q.is_released "
			"RETURNING q.n_seen) "
			"SELECT count(*) FROM put WHERE n_seen = 1",
			10, params, &r, e);
	}
	*n_new = rc == GX_OK ? gx_rows_int(r, 0, 0) : 0;
	return rc;
}

static enum gx_rc
find_upto(struct gx_store_pg *st, struct gx_err *e)
{
	/* Closed and still in place from the insert. */
	const char *params[] = {gx_buf_str(&st->a.col[0]),
				gx_buf_str(&st->a.col[1])};
	const struct gx_rows *r;
	enum gx_rc rc =
		gx_pg_query(st->pg,
			    "SELECT max(q.id) FROM gx_quarantine q JOIN "
			    "unnest($1::text[], $2::text[]) v(stream, pos) "
			    "ON q.side = 'source' AND q.stream = v.stream "
			    "AND q.pos = v.pos",
			    2, params, &r, e);

	if (rc == GX_OK && (uint64_t)gx_rows_int(r, 0, 0) > st->upto) {
		st->upto = (uint64_t)gx_rows_int(r, 0, 0);
	}
	return rc;
}

/* The names of this flow's streams as the only column of a. */
static enum gx_rc
put_own(struct gx_store_pg *st, struct spg_arrays *a, const char **param,
	struct gx_err *e)
{
	gx_store_pg_arrays_reset(a);
	for (size_t i = 0; i < st->n_streams; i++) {
		gx_store_pg_put(&a->col[0], gx_slice_str(st->streams[i]));
	}
	return gx_store_pg_params(a, 1, param, e);
}

static enum gx_rc
check_ceiling(struct gx_store_pg *st, struct gx_err *e)
{
	const char *params[1];
	const struct gx_rows *r;
	enum gx_rc rc = put_own(st, &st->b, params, e);

	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "SELECT count(*) FROM gx_quarantine WHERE "
				 "side = 'source' AND state = 'open' AND "
				 "stream = ANY($1::text[])",
				 1, params, &r, e);
	}
	if (rc == GX_OK &&
	    (uint64_t)gx_rows_int(r, 0, 0) > st->quarantine_max_rows) {
		return GX_ERR(e, GX_AGAIN, "quarantine.full",
			      "the quarantine of the flow would hold more than "
			      "%llu records",
			      (unsigned long long)st->quarantine_max_rows);
	}
	return rc;
}

enum gx_rc
gx_store_pg_aside(struct gx_store *s, const struct gx_aside *rows, size_t n,
		  uint64_t *upto, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	int64_t n_new = 0;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	gx_store_pg_arrays_reset(&st->a);
	gx_store_pg_arrays_reset(&st->b);
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		gx_store_pg_list(&st->streams, &st->n_streams, rows[i].stream);
		rc = put_aside(st, &rows[i], e);
	}
	if (rc == GX_OK && n > 0) {
		rc = gx_pg_exec(st->pg, "BEGIN", e);
		if (rc == GX_OK) {
			rc = insert_asides(st, &n_new, e);
		}
		if (rc == GX_OK && n_new > 0 && st->quarantine_max_rows > 0) {
			rc = check_ceiling(st, e);
		}
		if (rc == GX_OK) {
			rc = find_upto(st, e);
		}
		if (rc == GX_OK) {
			rc = gx_pg_exec(st->pg, "COMMIT", e);
		}
	}
	*upto = st->upto;
	return gx_store_pg_undo(st, rc, e);
}

/* ---- settling and releasing ---- */

enum gx_rc
gx_store_pg_settle(struct gx_store *s, struct gx_slice stream,
		   uint64_t next_seq, uint64_t epoch, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	char name[GX_STREAM_MAX + 1], number[24], own[24];
	const char *params[] = {name, number, own};
	enum gx_rc rc = gx_store_pg_connect(st, e);

	gx_store_pg_list(&st->streams, &st->n_streams, stream);
	(void)snprintf(name, sizeof(name), "%.*s", (int)stream.n, stream.p);
	(void)snprintf(number, sizeof(number), "%llu",
		       (unsigned long long)next_seq);
	(void)snprintf(own, sizeof(own), "%llu", (unsigned long long)epoch);
	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "DELETE FROM gx_quarantine WHERE side = "
				 "'source' AND stream = $1 AND "
				 "seq >= $2::bigint AND epoch <= $3::bigint "
				 "AND NOT is_released",
				 3, params, NULL, e);
	}
	return gx_store_pg_undo(st, rc, e);
}

enum gx_rc
gx_store_pg_release(struct gx_store *s, const char *flow, struct gx_slice pos,
		    uint64_t upto, uint64_t epoch, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	char number[24], own[24];
	const char *params[] = {flow, NULL, own};
	const char *covered[] = {NULL, number, flow, own};
	int64_t changed[2] = {0, 0};
	enum gx_rc rc = gx_store_pg_connect(st, e);

	(void)snprintf(number, sizeof(number), "%llu",
		       (unsigned long long)upto);
	(void)snprintf(own, sizeof(own), "%llu", (unsigned long long)epoch);
	gx_buf_reset(&st->text);
	if (rc == GX_OK && !gx_buf_slice(&st->text, pos)) {
		rc = GX_ERR(e, GX_FATAL, "mem.full",
			    "a position is too long to be released");
	}
	params[1] = gx_buf_str(&st->text);
	if (rc == GX_OK) {
		rc = put_own(st, &st->a, covered, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_pipe(
			st->pg,
			"INSERT INTO gx_release AS r (flow, pos, epoch) "
			"VALUES ($1, $2, $3::bigint) ON CONFLICT (flow) "
			"DO UPDATE SET pos = excluded.pos, at = now(), "
			"epoch = excluded.epoch "
			"WHERE r.epoch <= excluded.epoch",
			3, params, e);
	}
	if (rc == GX_OK && upto > 0) {
		rc = gx_pg_pipe(st->pg,
				"UPDATE gx_quarantine SET is_released = true "
				"WHERE side = 'source' AND NOT is_released AND "
				"stream = ANY($1::text[]) AND id <= $2::bigint "
				"AND EXISTS (SELECT 1 FROM gx_release WHERE "
				"flow = $3 AND epoch = $4::bigint)",
				4, covered, e);
	}
	if (rc == GX_OK) { /* one implicit transaction up to here */
		rc = gx_pg_pipe_sync(st->pg, changed, 2, e);
	}
	if (rc == GX_OK && changed[0] == 0) {
		rc = GX_ERR(e, GX_FENCED, "writer.fenced",
			    "another writer has released %s further", flow);
	}
	return gx_store_pg_undo(st, rc, e);
}

enum gx_rc
gx_store_pg_released(struct gx_store *s, const char *flow, struct gx_buf *pos,
		     struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	const char *params[] = {flow};
	const struct gx_rows *r;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "SELECT pos FROM gx_release WHERE flow = $1",
				 1, params, &r, e);
	}
	if (rc == GX_OK && gx_rows_n(r) > 0 &&
	    !gx_buf_slice(pos, gx_rows_slice(r, 0, 0))) {
		return GX_ERR(e, GX_FATAL, "mem.full",
			      "the released position of %s does not fit", flow);
	}
	return gx_store_pg_undo(st, rc, e);
}
