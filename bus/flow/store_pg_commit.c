/*
 * Store on PostgreSQL: one transaction of a reader.
 *
 * The offset of the partition and the rows of the streams move by
 * compare-and-set, each in one statement that must change exactly as many rows
 * as it names; then the batches taken and what their lines change; then
 * COMMIT.  Two processes with the same messages meet at the offset's row: the
 * second waits there, finds another offset, changes nothing and is told
 * GX_FENCED.  Locks are always taken in that order, offset before streams.
 *
 * If the connection ends before COMMIT was answered we do not know what
 * happened, and say so (GX_AGAIN): the reader loads again what the store
 * really holds.  If we die on any line it is the same.
 *
 * A small transaction is two round trips: everything in one pipeline, then
 * COMMIT once the counts are right.  When the database refuses a value the
 * whole is undone and done once more, carefully (store_pg_write.c).
 *
 * A stop and a move of one stream in one transaction have no order here; the
 * stop is written last and stands.  That is the safe one: any later move ends
 * it, and at a start the stream is read again from where it stood.
 */
#include "base/text.h"
#include "flow/store_pg_int.h"

#define HEADERS_MAX 9

/* Statements of the header and how many rows each must change. */
struct header {
	int64_t want[HEADERS_MAX]; /* -1: any */
	size_t n;
	size_t batches_at, held_at, open_at; /* where these stand; 0 none */
};

/* A stream's way through the transaction, its moves taken together. */
struct move {
	struct gx_slice stream;
	const struct gx_chain *before, *after;
	bool is_new;
};

/* ---- preparing ---- */

static bool
is_same_chain(const struct gx_chain *a, const struct gx_chain *b)
{
	return a->epoch == b->epoch && a->writer == b->writer &&
	       a->next_seq == b->next_seq &&
	       memcmp(a->head, b->head, GX_HASH) == 0;
}

static size_t
merge_moves(const struct gx_txn *t, struct move *moves)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_applies; i++) {
		const struct gx_apply *ap = &t->applies[i];
		size_t k = n;

		while (k-- > 0 && !gx_slice_eq(moves[k].stream, ap->stream)) {
		}
		if (k == SIZE_MAX) {
			moves[n++] = (struct move){ap->stream, &ap->before,
						   &ap->after, ap->is_new};
		} else {
			moves[k].after = &ap->after;
		}
	}
	return n;
}

/* Stream, origin and table of each batch; streams follow one another in long
 * stretches, so the last unit is the likely one. */
static enum gx_rc
add_unit(struct gx_store_pg *st, const struct gx_apply *ap, struct gx_err *e)
{
	struct gx_stream_name name;
	struct gx_slice child;
	struct spg_unit *u;
	size_t n_base;
	const char *dot;
	enum gx_rc rc;

	for (size_t i = st->n_units; i-- > 0;) {
		if (st->units[i].epoch == ap->head->epoch &&
		    gx_slice_eq(st->units[i].stream, ap->stream)) {
			return GX_OK;
		}
	}
	rc = gx_store_pg_room(&st->units, &st->units_max, st->n_units + 1,
			      sizeof(*st->units), e);
	if (rc != GX_OK) {
		return rc;
	}
	u = &st->units[st->n_units];
	memset(u, 0, sizeof(*u));
	u->stream = ap->stream;
	u->epoch = ap->head->epoch;
	rc = gx_store_pg_table(st, ap->stream, &name, &u->table, e);
	if (rc != GX_OK) {
		return rc;
	}
	u->origin = name.origin;
	u->is_down = gx_stream_is_down(&name, &child);
	u->is_read_back = u->is_down && st->node != NULL &&
			  gx_slice_eq(name.node, gx_slice_str(st->node));
	dot = memchr(name.n.p, '.', name.n.n);
	n_base = dot != NULL ? (size_t)(dot - ap->stream.p) : ap->stream.n;
	(void)snprintf(u->base, sizeof(u->base), "%.*s", (int)n_base,
		       ap->stream.p);
	st->n_units++;
	u->table->is_met = true;
	rc = gx_store_pg_make_table(st, u->table, e);
	return rc == GX_OK ? gx_store_pg_make_temp(st, u->table, e) : rc;
}

/* An operator's word on the guard holds from this transaction on, or is
 * forgotten with it. */
static void
note_accepted(struct gx_store_pg *st, const struct gx_txn *t, bool is_undone)
{
	for (size_t i = 0; i < t->n_applies; i++) {
		if (t->applies[i].is_accept && is_undone) {
			gx_store_pg_unlist(st->accepted, &st->n_accepted,
					   t->applies[i].stream);
		} else if (t->applies[i].is_accept) {
			gx_store_pg_list(&st->accepted, &st->n_accepted,
					 t->applies[i].stream);
		}
	}
}

/* A reader that has not heard of another's guard must not end its stop. */
static enum gx_rc
check_guarded(struct gx_store_pg *st, const struct gx_txn *t, struct gx_err *e)
{
	const char *params[1];
	const struct gx_rows *r;
	enum gx_rc rc;

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < t->n_applies; i++) {
		const struct gx_apply *ap = &t->applies[i];

		if (ap->head == NULL && !ap->is_new && !ap->is_accept &&
		    is_same_chain(&ap->before, &ap->after)) {
			gx_store_pg_put(&st->a.col[0], ap->stream);
			st->a.n++;
		}
	}
	if (st->a.n == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->a, 1, params, e);
	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "SELECT stream FROM gx_stream WHERE stream = "
				 "ANY($1::text[]) AND stopped_at IS NOT NULL "
				 "AND why = 'guard.mass_delete'",
				 1, params, &r, e);
	}
	if (rc == GX_OK && gx_rows_n(r) > 0) {
		return GX_ERR(e, GX_FENCED, "store.fenced",
			      "another reader has let a stream stand for the "
			      "guard");
	}
	return rc;
}

static enum gx_rc
prepare(struct gx_store_pg *st, const struct gx_txn *t, struct gx_err *e)
{
	enum gx_rc rc = gx_store_pg_connect(st, e);

	st->n_units = 0;
	for (size_t i = 0; i < st->n_tables; i++) {
		st->tables[i].is_met = false;
		st->tables[i].is_temp_full = false;
	}
	for (size_t i = 0; rc == GX_OK && i < t->n_applies; i++) {
		if (t->applies[i].head != NULL) {
			rc = add_unit(st, &t->applies[i], e);
		}
	}
	return rc == GX_OK ? check_guarded(st, t, e) : rc;
}

/* ---- the header ---- */

static enum gx_rc
queue(struct gx_store_pg *st, struct header *h, int64_t want, const char *sql,
      int n, const char *const *params, struct gx_err *e)
{
	GX_ASSERT(h->n < HEADERS_MAX);
	h->want[h->n++] = want;
	return gx_pg_pipe(st->pg, sql, n, params, e);
}

static enum gx_rc
queue_offset(struct gx_store_pg *st, struct header *h, const struct gx_txn *t,
	     struct gx_err *e)
{
	char partition[16], from[24], to[24];
	const char *params[] = {t->topic, partition, to, from};

	(void)snprintf(partition, sizeof(partition), "%d", t->partition);
	(void)snprintf(from, sizeof(from), "%lld", (long long)t->from_offset);
	(void)snprintf(to, sizeof(to), "%lld", (long long)t->to_offset);
	if (t->from_offset != 0) {
		return queue(st, h, 1,
			     "UPDATE gx_read SET next_offset = $3::bigint "
			     "WHERE topic = $1 AND partition = $2::integer "
			     "AND next_offset = $4::bigint",
			     4, params, e);
	}
	return queue(st, h, 1,
		     "INSERT INTO gx_read AS r (topic, partition, next_offset) "
		     "VALUES ($1, $2::integer, $3::bigint) "
		     "ON CONFLICT (topic, partition) DO UPDATE SET "
		     "next_offset = excluded.next_offset "
		     "WHERE r.next_offset = $4::bigint",
		     4, params, e);
}

static void
put_chain(struct gx_buf *c, const struct gx_chain *ch)
{
	char hex[2 * GX_HASH + 1];

	gx_store_pg_put_u64(&c[0], ch->epoch);
	(void)snprintf(hex, sizeof(hex), "%016llx",
		       (unsigned long long)ch->writer);
	gx_store_pg_put(&c[1], gx_slice_str(hex));
	gx_store_pg_put_u64(&c[2], ch->next_seq);
	gx_hex(ch->head, GX_HASH, hex);
	gx_store_pg_put(&c[3], gx_slice_str(hex));
}

/* Streams that have a row (is_new false) or get one. */
static enum gx_rc
queue_moves(struct gx_store_pg *st, struct header *h, const struct gx_txn *t,
	    const struct move *moves, size_t n, bool is_new, struct gx_err *e)
{
	char partition[16];
	const char *params[12] = {t->topic, partition};
	int64_t n_put = 0;
	enum gx_rc rc;

	(void)snprintf(partition, sizeof(partition), "%d", t->partition);
	gx_store_pg_arrays_reset(&st->a);
	gx_store_pg_arrays_reset(&st->b);
	for (size_t i = 0; i < n; i++) {
		if (moves[i].is_new != is_new) {
			continue;
		}
		put_chain(st->a.col, moves[i].after);
		gx_store_pg_put(&st->a.col[4], moves[i].stream);
		gx_store_pg_put(&st->a.col[5],
				gx_slice_str(moves[i].after->src));
		put_chain(st->b.col, moves[i].before);
		n_put++;
	}
	if (n_put == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->a, 6, params + 2, e);
	if (rc == GX_OK) {
		rc = gx_store_pg_params(&st->b, 4, params + 8, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (is_new) {
		return queue(st, h, n_put,
			     "INSERT INTO gx_stream (stream, topic, partition, "
			     "epoch, writer, next_seq, head, src) SELECT "
			     "v.stream, $1, $2::integer, v.epoch, v.writer, "
			     "v.next, v.head, v.src FROM unnest($3::bigint[], "
			     "$4::text[], $5::bigint[], $6::text[], "
			     "$7::text[], $8::text[]) v(epoch, writer, next, "
			     "head, stream, src) "
			     "ON CONFLICT (stream) DO NOTHING",
			     8, params, e);
	}
	return queue(
		st, h, n_put,
		"UPDATE gx_stream s SET epoch = v.epoch, writer = v.writer, "
		"next_seq = v.next, head = v.head, src = v.src, "
		"stopped_at = NULL, why = '', why_text = '', "
		"moved_at = now() FROM unnest($3::bigint[], $4::text[], "
		"$5::bigint[], $6::text[], $7::text[], $8::text[], "
		"$9::bigint[], $10::text[], $11::bigint[], $12::text[]) "
		"v(epoch, writer, next, head, stream, src, epoch0, writer0, "
		"next0, head0) WHERE s.stream = v.stream AND s.topic = $1 AND "
		"s.partition = $2::integer AND s.epoch = v.epoch0 AND "
		"s.writer = v.writer0 AND s.next_seq = v.next0 AND "
		"s.head = v.head0",
		12, params, e);
}

static enum gx_rc
queue_batches(struct gx_store_pg *st, struct header *h, const struct gx_txn *t,
	      struct gx_err *e)
{
	const char *params[5];
	int64_t n = 0;
	enum gx_rc rc;

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < t->n_applies; i++) {
		const struct gx_apply *ap = &t->applies[i];
		char hex[2 * GX_HASH + 1];

		if (ap->head == NULL) {
			continue;
		}
		gx_hex(ap->head_hash, GX_HASH, hex);
		gx_store_pg_put(&st->a.col[0], ap->stream);
		gx_store_pg_put_u64(&st->a.col[1], ap->head->first);
		gx_store_pg_put_u64(&st->a.col[2], ap->head->n);
		gx_store_pg_put(&st->a.col[3], gx_slice_str(hex));
		gx_store_pg_put_u64(&st->a.col[4], (uint64_t)ap->offset);
		n++;
	}
	if (n == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->a, 5, params, e);
	if (rc != GX_OK) {
		return rc;
	}
	h->batches_at = h->n;
	return queue(st, h, n,
		     "INSERT INTO gx_batch (stream, first, n, head, at_offset) "
		     "SELECT * FROM unnest($1::text[], $2::bigint[], "
		     "$3::bigint[], $4::text[], $5::bigint[]) "
		     "ON CONFLICT DO NOTHING",
		     5, params, e);
}

static enum gx_rc
queue_stops(struct gx_store_pg *st, struct header *h, const struct gx_txn *t,
	    struct gx_err *e)
{
	char partition[16];
	const char *params[6] = {t->topic, partition};
	int64_t n = 0;
	enum gx_rc rc;

	(void)snprintf(partition, sizeof(partition), "%d", t->partition);
	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < t->n_stops; i++) {
		const struct gx_stop *sp = &t->stops[i];
		bool is_last = true; /* one row, one stop: the last */

		for (size_t k = i + 1; k < t->n_stops; k++) {
			is_last &= !gx_slice_eq(t->stops[k].stream, sp->stream);
		}
		if (!is_last) {
			continue;
		}
		gx_store_pg_put(&st->a.col[0], sp->stream);
		gx_store_pg_put_u64(&st->a.col[1], (uint64_t)sp->at);
		gx_store_pg_put(&st->a.col[2], gx_slice_str(sp->code));
		gx_store_pg_put(&st->a.col[3], gx_slice_str(sp->text));
		n++;
	}
	if (n == 0) {
		return GX_OK;
	}
	rc = gx_store_pg_params(&st->a, 4, params + 2, e);
	if (rc != GX_OK) {
		return rc;
	}
	return queue(st, h, n,
		     "UPDATE gx_stream s SET stopped_at = v.at, why = v.why, "
		     "why_text = v.text, moved_at = now() FROM "
		     "unnest($3::text[], $4::bigint[], $5::text[], $6::text[]) "
		     "v(stream, at, why, text) WHERE s.stream = v.stream AND "
		     "s.topic = $1 AND s.partition = $2::integer",
		     6, params, e);
}

/* One met again, because a stream reads its partition again, is the same. */
static enum gx_rc
queue_refusals(struct gx_store_pg *st, struct header *h, const struct gx_txn *t,
	       struct gx_err *e)
{
	char partition[16], hex[2 * GX_HASH + 1];
	const char *params[6] = {t->topic, partition};
	enum gx_rc rc;

	if (t->n_refusals == 0) {
		return GX_OK;
	}
	(void)snprintf(partition, sizeof(partition), "%d", t->partition);
	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < t->n_refusals; i++) {
		const struct gx_refusal *rf = &t->refusals[i];

		gx_hex(rf->digest, GX_HASH, hex);
		gx_store_pg_put_u64(&st->a.col[0], (uint64_t)rf->at);
		gx_store_pg_put(&st->a.col[1], gx_slice_str(rf->reason));
		gx_store_pg_put(&st->a.col[2], gx_slice_str(hex));
		gx_store_pg_put(&st->a.col[3], gx_slice_str(rf->stream));
	}
	rc = gx_store_pg_params(&st->a, 4, params + 2, e);
	if (rc != GX_OK) {
		return rc;
	}
	return queue(st, h, -1,
		     "INSERT INTO gx_refusal (topic, partition, at_offset, "
		     "reason, digest, stream) SELECT $1, $2::integer, v.* FROM "
		     "unnest($3::bigint[], $4::text[], $5::text[], "
		     "$6::text[]) v ON CONFLICT DO NOTHING",
		     6, params, e);
}

/* Is anything on hold, or open in the quarantine, of what we touch?  Asked
 * only where the answer saves work; told by the count of rows. */
static enum gx_rc
queue_probes(struct gx_store_pg *st, struct header *h, struct gx_err *e)
{
	const char *params[3];
	enum gx_rc rc;

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < st->n_units; i++) {
		const struct spg_unit *u = &st->units[i];

		gx_store_pg_put(&st->a.col[0], u->origin);
		gx_store_pg_put(&st->a.col[1], gx_slice_str(u->table->r->name));
		gx_store_pg_put(&st->a.col[2], u->stream);
	}
	rc = gx_store_pg_params(&st->a, 3, params, e);
	h->held_at = h->n;
	if (rc == GX_OK) {
		rc = queue(st, h, -1,
			   "SELECT 1 FROM unnest($1::text[], $2::text[]) "
			   "v(origin, resource) WHERE EXISTS (SELECT 1 FROM "
			   "gx_held h WHERE h.origin = v.origin AND "
			   "h.resource = v.resource) LIMIT 1",
			   2, params, e);
	}
	h->open_at = h->n;
	if (rc == GX_OK) {
		rc = queue(st, h, -1,
			   "SELECT 1 FROM unnest($1::text[]) v(stream) WHERE "
			   "EXISTS (SELECT 1 FROM gx_quarantine q WHERE "
			   "q.stream = v.stream AND q.state IN ('open', "
			   "'queued')) LIMIT 1",
			   1, params + 2, e);
	}
	return rc;
}

static enum gx_rc
queue_header(struct gx_store_pg *st, struct header *h, const struct gx_txn *t,
	     struct gx_err *e)
{
	struct move *moves = gx_mem_array(t->n_applies + 1, sizeof(*moves));
	size_t n;
	enum gx_rc rc;

	if (moves == NULL) {
		return GX_ERR(e, GX_FATAL, "mem.none",
			      "no memory for %zu moves", t->n_applies);
	}
	n = merge_moves(t, moves);
	rc = queue(st, h, -1, "BEGIN", 0, NULL, e);
	if (rc == GX_OK) {
		rc = queue_offset(st, h, t, e);
	}
	if (rc == GX_OK) {
		rc = queue_moves(st, h, t, moves, n, false, e);
	}
	if (rc == GX_OK) {
		rc = queue_moves(st, h, t, moves, n, true, e);
	}
	if (rc == GX_OK) {
		rc = queue_stops(st, h, t, e);
	}
	if (rc == GX_OK) {
		rc = queue_refusals(st, h, t, e);
	}
	if (rc == GX_OK) {
		rc = queue_batches(st, h, t, e);
	}
	gx_mem_free(moves);
	return rc;
}

static enum gx_rc
sync_header(struct gx_store_pg *st, const struct header *h, bool has_probes,
	    struct gx_err *e)
{
	int64_t changed[HEADERS_MAX] = {0};
	enum gx_rc rc = gx_pg_pipe_sync(st->pg, changed, HEADERS_MAX, e);

	if (rc != GX_OK) {
		return rc;
	}
	for (size_t i = 0; i < h->n; i++) {
		if (h->want[i] < 0 || changed[i] == h->want[i]) {
			continue;
		}
		if (i == h->batches_at) { /* what moves was as it should be */
			return GX_ERR(e, GX_FATAL, "store.row",
				      "gx_batch holds a batch already that its "
				      "stream has not taken");
		}
		return GX_ERR(e, GX_FENCED, "store.fenced",
			      "an offset or a stream was not as it was read: "
			      "another process has moved it");
	}
	if (has_probes) {
		st->has_held = changed[h->held_at] > 0;
		st->has_open = changed[h->open_at] > 0;
	}
	return GX_OK;
}

/* ---- the whole ---- */

static uint64_t
count_lines(const struct gx_txn *t)
{
	uint64_t n = 0;

	for (size_t i = 0; i < t->n_applies; i++) {
		n += t->applies[i].head != NULL ? t->applies[i].head->n : 0;
	}
	return n;
}

/* Segments behind the first are collected while the transaction is open. */
static enum gx_rc
write_segments(struct gx_store_pg *st, const struct gx_txn *t,
	       struct spg_cursor *c, const struct spg_unit *end,
	       struct gx_err *e)
{
	enum gx_rc rc = gx_store_pg_write(st, false, e);

	while (rc == GX_OK && end != NULL) {
		rc = gx_store_pg_end(st, end, e);
		if (rc == GX_OK) {
			st->has_held = true; /* may be, from this segment on */
			rc = gx_store_pg_collect(st, t, c, &end, e);
		}
		if (rc == GX_OK) {
			rc = gx_store_pg_write(st, false, e);
		}
	}
	return rc;
}

/* A REJECT of the header is no record's fault. */
static enum gx_rc
as_fatal(enum gx_rc rc, struct gx_err *e)
{
	if (rc == GX_REJECT && e != NULL) {
		e->rc = GX_FATAL;
	}
	return rc == GX_REJECT ? GX_FATAL : rc;
}

static enum gx_rc
try_commit(struct gx_store_pg *st, const struct gx_txn *t, struct gx_err *e)
{
	struct spg_cursor c = {0};
	const struct spg_unit *end = NULL;
	struct header h = {.n = 0};
	bool small;
	enum gx_rc rc;

	st->n_lines = 0;
	st->n_aside = 0;
	gx_store_pg_forget_touched(st);
	rc = gx_store_pg_collect(st, t, &c, &end, e);
	small = !st->is_careful && end == NULL &&
		count_lines(t) <= STORE_PG_SMALL;
	if (rc == GX_OK) {
		rc = queue_header(st, &h, t, e);
	}
	if (rc == GX_OK && small) {
		rc = gx_store_pg_write(st, true, e);
		if (rc == GX_OK) {
			rc = gx_store_pg_show(st, true, e);
		}
		if (rc == GX_OK) {
			rc = sync_header(st, &h, false, e);
		}
	} else if (rc == GX_OK) {
		rc = queue_probes(st, &h, e);
		if (rc == GX_OK) {
			rc = as_fatal(sync_header(st, &h, true, e), e);
		}
		if (rc == GX_OK) {
			rc = write_segments(st, t, &c, end, e);
		}
		if (rc == GX_OK) {
			rc = as_fatal(gx_store_pg_show(st, false, e), e);
		}
	}
	return rc == GX_OK ? as_fatal(gx_pg_exec(st->pg, "COMMIT", e), e) : rc;
}

static bool
is_guard(const struct gx_err *e)
{
	return e->code != NULL && strcmp(e->code, "guard.mass_delete") == 0;
}

/* An acceptance was for one e. */
static void
forget_accepted(struct gx_store_pg *st, const struct gx_txn *t)
{
	for (size_t i = 0; i < t->n_applies && st->n_accepted > 0; i++) {
		const struct gx_head *head = t->applies[i].head;
		struct gx_slice line;
		size_t at = 0;

		while (head != NULL && gx_body_next(head->body, &at, &line)) {
			if (line.n > 9 &&
			    memcmp(line.p, "{\"op\":\"e\",", 10) == 0) {
				gx_store_pg_unlist(st->accepted,
						   &st->n_accepted,
						   t->applies[i].stream);
			}
		}
	}
}

enum gx_rc
gx_store_pg_commit(struct gx_store *s, const struct gx_txn *t,
		   struct gx_txn_result *r, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	struct gx_err own = {0};
	enum gx_rc rc;

	e = e != NULL ? e : &own;
	memset(r, 0, sizeof(*r));
	rc = prepare(st, t, e);
	if (rc != GX_OK) {
		return gx_store_pg_undo(st, rc, e);
	}
	st->is_careful = false;
	note_accepted(st, t, false);
	rc = try_commit(st, t, e);
	if (rc == GX_REJECT && !is_guard(e)) {
		gx_pg_rollback(st->pg);
		st->is_careful = true;
		for (size_t i = 0; i < st->n_tables; i++) {
			st->tables[i].is_temp_full = false;
		}
		rc = try_commit(st, t, e);
		st->is_careful = false;
	}
	if (rc != GX_OK) {
		note_accepted(st, t, true);
	}
	if (rc == GX_REJECT && is_guard(e)) {
		gx_pg_rollback(st->pg);
		return GX_REJECT;
	}
	if (rc != GX_OK) {
		return gx_store_pg_undo(st, rc, e);
	}
	forget_accepted(st, t);
	r->n_set_aside = st->n_aside;
	r->n_applied = st->n_lines - st->n_aside;
	e->code = NULL;
	return GX_OK;
}
