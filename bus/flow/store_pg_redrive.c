/*
 * Store on PostgreSQL: what is set aside, sealed; and its way home.
 *
 * Original and record of an item and the line of a replay lie in the database
 * as boxes (trust/box.h), labelled with their column and place: an insider who
 * reads the table reads nothing, and what he changes or exchanges does not open
 * and is never replayed.
 *
 * A replay is ordered by the API (node/api_quarantine.c): the item becomes
 * queued, and its line waits in gx_redrive.  The stream's own writer asks for
 * such lines, when all that he sent before is read back; so the items' states
 * tell the truth about everything that stands before the batch he makes.  That
 * the item is still queued is asked in the statement that gives out the line.
 *
 * The batch says in its src how far the replays in it go.  Whoever takes it
 * closes the items in the same transaction: replayed, or open again where this
 * very store sets the line aside.  So if we die on any line a replay is in the
 * log or it is not, and the items say which; a writer that was replaced with a
 * batch in hand sends a void one and has closed nothing.
 */
#include "base/log.h"
#include "flow/store_pg_int.h"

struct gx_slice
gx_store_pg_label(char out[GX_ASIDE_LABEL], const char *column,
		  struct gx_slice stream, struct gx_slice pos)
{
	int n = snprintf(out, GX_ASIDE_LABEL, "%s\n%.*s\n%.*s", column,
			 (int)stream.n, stream.p, (int)pos.n, pos.p);

	return gx_slice(out, n > 0 && n < GX_ASIDE_LABEL ? (size_t)n : 0);
}

enum gx_rc
gx_store_pg_put_sealed(struct gx_store_pg *st, struct gx_buf *col,
		       const char *column, struct gx_slice stream,
		       struct gx_slice pos, struct gx_slice bytes,
		       struct gx_err *e)
{
	char room[GX_ASIDE_LABEL];
	struct gx_slice label = gx_store_pg_label(room, column, stream, pos);

	if (st->box == NULL || bytes.n == 0) {
		gx_store_pg_put_hex(col, bytes.p, bytes.n);
		return GX_OK;
	}
	gx_buf_reset(&st->sealed);
	if (label.n == 0 || !gx_box_seal(st->box, label, bytes, &st->sealed)) {
		return GX_ERR(e, GX_FATAL, "mem.full",
			      "a record set aside cannot be sealed");
	}
	gx_store_pg_put_hex(col, st->sealed.p, st->sealed.n);
	return GX_OK;
}

/* ---- for the writer ---- */

#define QUEUED_SQL                                                             \
	"FROM gx_redrive r JOIN gx_quarantine q ON q.id = r.item AND "         \
	"q.state = 'queued' JOIN gx_stream s ON s.stream = r.stream AND "      \
	"s.reading_at IS NULL AND s.stopped_at IS NULL "

enum gx_rc
gx_store_pg_redrive_wanted(struct gx_store *s, const char *const *streams,
			   size_t n, bool *is_wanted, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	const struct gx_rows *rows;
	const char *params[1];
	enum gx_rc rc = gx_store_pg_connect(st, e);

	*is_wanted = false;
	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < n; i++) {
		gx_store_pg_put(&st->a.col[0], gx_slice_str(streams[i]));
	}
	if (rc == GX_OK) {
		rc = gx_store_pg_params(&st->a, 1, params, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "SELECT EXISTS (SELECT 1 " QUEUED_SQL
				 "WHERE r.stream = ANY($1::text[]))",
				 1, params, &rows, e);
	}
	if (rc == GX_OK) {
		*is_wanted = gx_rows_bool(rows, 0, 0);
	}
	return gx_store_pg_undo(st, rc, e);
}

/* Lines that do not open are no replays: a person must look at their items. */
static enum gx_rc
reopen_damaged(struct gx_store_pg *st, const char *stream, struct gx_err *e)
{
	const char *params[1];
	enum gx_rc rc;

	if (st->a.n == 0) {
		return GX_OK;
	}
	(void)GX_ERR(e, GX_REJECT, "quarantine.damaged",
		     "%zu replays of %s do not open: the database was changed, "
		     "or the key of the quarantine; their items are open again",
		     st->a.n, stream);
	gx_log_err(GX_LOG_ERROR, e);
	rc = gx_store_pg_params(&st->a, 1, params, e);
	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "WITH bad AS (DELETE FROM gx_redrive WHERE "
				 "id = ANY($1::bigint[]) RETURNING item) "
				 "UPDATE gx_quarantine q SET state = 'open' "
				 "FROM bad WHERE q.id = bad.item AND "
				 "q.state = 'queued'",
				 1, params, NULL, e);
	}
	if (rc == GX_OK && e != NULL) {
		e->code = NULL;
	}
	return rc;
}

static enum gx_rc
give_line(struct gx_store_pg *st, const struct gx_rows *rows, int i,
	  const char *stream, gx_redrive_f each, void *ctx, struct gx_err *e)
{
	char room[GX_ASIDE_LABEL];
	struct gx_slice label = gx_store_pg_label(
		room, "line", gx_slice_str(stream), gx_rows_slice(rows, i, 1));

	gx_buf_reset(&st->sealed);
	gx_buf_reset(&st->text);
	if (!gx_rows_bytea(rows, i, 2, &st->sealed) ||
	    !gx_box_open(st->box, label, gx_buf_view(&st->sealed), &st->text)) {
		gx_store_pg_put(&st->a.col[0], gx_rows_slice(rows, i, 0));
		st->a.n++;
		return GX_OK;
	}
	return each(ctx, (uint64_t)gx_rows_int(rows, i, 0),
		    gx_buf_view(&st->text), e);
}

enum gx_rc
gx_store_pg_redrive(struct gx_store *s, const char *stream, uint64_t after,
		    size_t max_lines, size_t max_bytes, gx_redrive_f each,
		    void *ctx, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	char from[24], lines[24], bytes[24];
	const char *params[] = {stream, from, lines, bytes};
	const struct gx_rows *rows;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	(void)snprintf(from, sizeof(from), "%llu", (unsigned long long)after);
	(void)snprintf(lines, sizeof(lines), "%zu", max_lines);
	(void)snprintf(bytes, sizeof(bytes), "%zu", max_bytes);
	gx_store_pg_arrays_reset(&st->a);
	if (rc == GX_OK) {
		rc = gx_pg_query(
			st->pg,
			"SELECT id, item, line FROM (SELECT x.*, "
			"sum(octet_length(line)) OVER (ORDER BY id) AS so_far "
			"FROM (SELECT r.id, r.item, r.line " QUEUED_SQL
			"WHERE r.stream = $1 AND r.id > $2::bigint "
			"ORDER BY r.id LIMIT $3::bigint) x) y WHERE "
			"so_far - octet_length(line) <= $4::bigint ORDER BY id",
			4, params, &rows, e);
	}
	if (rc == GX_OK && gx_rows_n(rows) > 0 && st->box == NULL) {
		return GX_ERR(e, GX_FATAL, "quarantine.key",
			      "replays are ordered and there is no key of the "
			      "quarantine");
	}
	for (int i = 0; rc == GX_OK && i < gx_rows_n(rows); i++) {
		rc = give_line(st, rows, i, stream, each, ctx, e);
	}
	if (rc == GX_OK) {
		rc = reopen_damaged(st, stream, e);
	}
	return gx_store_pg_undo(st, rc, e);
}

/* ---- in a transaction of the reader ---- */

void
gx_store_pg_note_redrive(struct gx_store_pg *st, const struct gx_apply *ap)
{
	uint64_t upto = gx_chain_redrive(&ap->after);
	struct gx_buf *c = st->redrives.col;

	if (upto == 0 ||
	    (!ap->is_new && upto == gx_chain_redrive(&ap->before))) {
		return;
	}
	gx_store_pg_put(&c[0], ap->stream);
	gx_store_pg_put_u64(&c[1], upto);
	gx_store_pg_put_u64(&c[2], ap->head->first);
	gx_store_pg_put_u64(&c[3], ap->head->first + ap->head->n);
	st->redrives.n++;
}

enum gx_rc
gx_store_pg_close_items(struct gx_store_pg *st, bool small, struct gx_err *e)
{
	static const char sql[] =
		"WITH gone AS (DELETE FROM gx_redrive r USING "
		"unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) "
		"v(stream, upto, first, past) WHERE r.stream = v.stream AND "
		"r.id <= v.upto RETURNING r.item, v.first, v.past) "
		"UPDATE gx_quarantine q SET state = CASE WHEN EXISTS (SELECT 1 "
		"FROM gx_quarantine k WHERE k.side = 'sink' AND "
		"k.stream = q.stream AND k.key = q.key AND "
		"k.seq >= gone.first AND k.seq < gone.past) "
		"THEN 'open' ELSE 'replayed' END FROM gone "
		"WHERE q.id = gone.item AND q.state = 'queued'";
	const char *params[4];
	enum gx_rc rc;

	if (st->redrives.n == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->redrives, 4, params, e);
	if (rc != GX_OK) {
		return rc;
	}
	return small ? gx_pg_pipe(st->pg, sql, 4, params, e)
		     : gx_pg_query(st->pg, sql, 4, params, NULL, e);
}
