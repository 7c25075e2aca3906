/*
 * Receipt maker.
 *
 * The node's sink moves rows of gx_stream in the transaction that holds the
 * data.  So what another connection sees there is committed, and with
 * synchronous_commit on, which every connection of ours asks for, and fsync,
 * it is flushed: that, and nothing earlier, may be receipted.  A server that
 * does not flush gets no receipts from us.
 *
 * One look is one statement: streams whose row is above what was receipted,
 * with the lines set aside between.  Each becomes a receipt, signed before any
 * transaction is open.  Then one transaction moves gx_receipted, from exactly
 * what was read to exactly what was signed, and puts the receipts into the
 * outbox; the outbox comes last, because it holds the head of the origin.
 *
 * If we die before the commit, nothing was said, and the next look finds the
 * streams again; if behind it, the receipts are in the outbox and are not made
 * twice.  next_seq only rises there, so there is never a second receipt for
 * one stream and seq.  A second maker, in another process, finds that
 * gx_receipted was moved under it, rolls back and looks again.
 *
 * What the node's reader refused is said in the same way, of streams that are
 * known here: the newest of each stream and reason, which marks those before it
 * as told.  So nobody who floods a topic makes us sign for each message; the
 * others stay in gx_refusal.
 *
 * Streams of the bus's own resources (gx.*) get none, else each receipt would
 * ask for another; nor do streams that this node makes for others under its
 * own org gx, of which it applies nothing.
 *
 * A stream whose row stands below its receipt, or has another history up to
 * there, is evidence of a restored or edited table: we have said more than we
 * hold.  That is told aloud, and no further receipt is made for it.
 */
#include "flow/receipt_maker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "flow/outbox.h"
#include "port/pg.h"

#include <poll.h>

#define MAKER_MAGIC 0x72636d6bu
#define AT_ONCE 200 /* receipts in one transaction */
#define ROOM (AT_ONCE * (GX_RECEIPT_MAX + 400))
#define AHEAD_MS 60000 /* how often rows below their receipt are looked for */
#define COLUMNS 6

/* Streams of the bus's own get no receipts; s is gx_stream. */
#define RECEIPTED                                                              \
	"split_part(s.stream, '/', 5) NOT LIKE 'gx.%' AND NOT (s.is_own AND "  \
	"split_part(s.stream, '/', 3) = 'gx') "

/* The batch that was receipted last is still known here, and is another: the
 * row has grown past it from elsewhere. */
#define OTHER_HISTORY                                                          \
	"NOT coalesce((SELECT b.first + b.n = r.next_seq AND b.head = r.head " \
	"FROM gx_batch b WHERE b.stream = s.stream AND b.first < r.next_seq "  \
	"ORDER BY b.first DESC LIMIT 1), true)"

struct gx_receipt_maker {
	unsigned magic;
	char flow[64], node[40], origin[64], stream[GX_STREAM_MAX + 1];
	char *conninfo;
	int64_t every_ms;
	struct gx_key *key; /* lent */

	struct gx_pg *pg;
	int64_t look_at_ms, ahead_at_ms;
	int64_t n_made, n_ahead;
	char after[GX_STREAM_MAX + 1]; /* where the next look goes on */

	/* The look in hand. */
	struct gx_outbox_row rows[AT_ONCE];
	size_t n_rows;
	struct gx_arena *a;
	struct gx_buf text, col[COLUMNS];
};

struct gx_receipt_maker *
gx_receipt_maker_new(const struct gx_receipt_maker_conf *conf,
		     struct gx_key *key)
{
	struct gx_receipt_maker *m = gx_mem_new(sizeof *m);

	m->magic = MAKER_MAGIC;
	(void)snprintf(m->flow, sizeof m->flow, "%s", conf->flow);
	(void)snprintf(m->node, sizeof m->node, "%s", conf->node);
	(void)snprintf(m->origin, sizeof m->origin, "/%s/gx/own", m->node);
	(void)snprintf(m->stream, sizeof m->stream, "%s/gx.receipt/0",
		       m->origin);
	m->conninfo = gx_mem_strdup(conf->conninfo);
	m->every_ms = conf->every_ms;
	m->key = key;
	m->a = gx_arena_new(ROOM);
	gx_buf_init(&m->text, GX_RECEIPT_MAX);
	for (size_t i = 0; i < COLUMNS; i++) {
		gx_buf_init(&m->col[i], AT_ONCE * (GX_STREAM_MAX + 8));
	}
	return m;
}

static void
close_maker(void *flow)
{
	struct gx_receipt_maker *m = flow;

	gx_pg_close(&m->pg);
}

static void
free_maker(void **flow)
{
	struct gx_receipt_maker *m = *flow;

	if (m == NULL) {
		return;
	}
	close_maker(m);
	gx_mem_free(m->conninfo);
	gx_arena_free(&m->a);
	gx_buf_free(&m->text);
	for (size_t i = 0; i < COLUMNS; i++) {
		gx_buf_free(&m->col[i]);
	}
	m->magic = 0;
	gx_mem_free(m);
	*flow = NULL;
}

/* ---- opening ---- */

static enum gx_rc
check_flushes(struct gx_receipt_maker *m, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(m->pg,
				    "SELECT current_setting('fsync'), "
				    "current_setting('synchronous_commit')",
				    0, NULL, &r, e);

	if (rc == GX_OK && (strcmp(gx_rows_str(r, 0, 0), "on") != 0 ||
			    strcmp(gx_rows_str(r, 0, 1), "off") == 0)) {
		return GX_ERR(e, GX_FATAL, "receipt.unflushed",
			      "the node's database has fsync %s and "
			      "synchronous_commit %s: what it has committed "
			      "may still be lost, so nothing is receipted",
			      gx_rows_str(r, 0, 0), gx_rows_str(r, 0, 1));
	}
	return rc;
}

static enum gx_rc
open_maker(void *flow, struct gx_err *e)
{
	struct gx_receipt_maker *m = flow;
	enum gx_rc rc;

	GX_ASSERT(m->magic == MAKER_MAGIC);
	rc = gx_pg_open(m->conninfo, "gxbus-receipt", false, &m->pg, e);
	if (rc == GX_OK) {
		rc = check_flushes(m, e);
	}
	m->look_at_ms = 0;
	m->ahead_at_ms = 0;
	m->after[0] = '\0';
	return rc;
}

/* ---- one look ---- */

/* Columns of the look, in the order of its statement. */
enum col {
	COL_STREAM,
	COL_EPOCH,
	COL_NEXT,
	COL_HEAD,
	COL_ASIDE,
	COL_BEFORE,
	COL_ASIDES
};

static enum gx_rc
look(struct gx_receipt_maker *m, const struct gx_rows **r, struct gx_err *e)
{
	const char *after = m->after;

	return gx_pg_query(
		m->pg,
		"SELECT s.stream, s.epoch, s.next_seq, s.head, s.n_aside, "
		"coalesce(r.next_seq, 1), (SELECT '[' || coalesce("
		"string_agg(q.seq::text, ',' ORDER BY q.seq), '') || ']' FROM "
		"(SELECT seq FROM gx_quarantine WHERE side = 'sink' AND "
		"stream = s.stream AND seq >= coalesce(r.next_seq, 1) AND "
		"seq < s.next_seq ORDER BY seq LIMIT 1000) q) FROM gx_stream s "
		"LEFT JOIN gx_receipted r ON r.stream = s.stream "
		"WHERE " RECEIPTED "AND s.next_seq > coalesce(r.next_seq, 1) "
		"AND s.stream COLLATE \"C\" > $1 AND NOT (" OTHER_HISTORY
		") ORDER BY s.stream COLLATE \"C\" LIMIT 200",
		1, &after, r, e);
}

/* One element of an array literal; values here need no escape. */
static void
put(struct gx_buf *b, const char *v)
{
	(void)gx_buf_printf(b, "%c\"%s\"", b->n == 0 ? '{' : ',', v);
}

/* The receipt as a row of the outbox, kept to the end of the look. */
static enum gx_rc
keep(struct gx_receipt_maker *m, const char *stream, const char *verdict,
     const char *at, struct gx_err *e)
{
	struct gx_outbox_row *row = &m->rows[m->n_rows];
	char key[GX_STREAM_MAX + 64];
	int n = snprintf(key, sizeof key, "[\"%s\",\"%s\",\"%s\"]", m->node,
			 stream, verdict);
	char *text = gx_arena_dup(m->a, m->text.p, m->text.n);
	char *name = gx_arena_dup(m->a, key, (size_t)n);
	char *time = gx_arena_dup(m->a, at, GX_TIME_LEN);

	GX_ASSERT(n > 0 &&
		  (size_t)n < sizeof key); /* a stream's name is short */
	if (text == NULL || name == NULL || time == NULL) {
		return GX_ERR(e, GX_FATAL, "mem.full",
			      "%zu receipts do not fit", m->n_rows);
	}
	*row = (struct gx_outbox_row){
		.stream = m->stream,
		.op = 'u',
		.key = gx_slice(name, (size_t)n),
		.time = gx_slice(time, GX_TIME_LEN),
		.data = gx_slice(text, m->text.n),
	};
	m->n_rows++;
	return GX_OK;
}

static enum gx_rc
finish(struct gx_receipt_maker *m, struct gx_receipt *rec, const char *stream,
       const char *at, struct gx_err *e)
{
	bool is_refused = rec->verdict == GX_RECEIPT_REFUSED;
	enum gx_rc rc = gx_receipt_sign(m->key, rec, &m->text, e);

	if (rc != GX_OK) {
		return rc;
	}
	return keep(m, stream, is_refused ? "refused" : "applied", at, e);
}

static enum gx_rc
sign_applied(struct gx_receipt_maker *m, const struct gx_rows *r, int i,
	     const char *at, struct gx_err *e)
{
	uint64_t aside = (uint64_t)gx_rows_int(r, i, COL_ASIDE);
	struct gx_receipt rec = {
		.sink = gx_slice_str(m->node),
		.stream = gx_rows_slice(r, i, COL_STREAM),
		.verdict = GX_RECEIPT_APPLIED,
		.epoch = (uint64_t)gx_rows_int(r, i, COL_EPOCH),
		.seq = (uint64_t)gx_rows_int(r, i, COL_NEXT) - 1,
		.aside = aside,
		.aside_seq = gx_rows_slice(r, i, COL_ASIDES),
		.at = gx_slice(at, GX_TIME_LEN),
	};
	struct gx_slice head = gx_rows_slice(r, i, COL_HEAD);

	if (aside > rec.seq ||
	    !gx_unhex(head.p, head.n, rec.head, sizeof rec.head)) {
		return GX_ERR(e, GX_FATAL, "store.row",
			      "the row of %s in gx_stream cannot be read",
			      gx_rows_str(r, i, COL_STREAM));
	}
	rec.applied = rec.seq - aside;
	return finish(m, &rec, gx_rows_str(r, i, COL_STREAM), at, e);
}

typedef enum gx_rc (*sign_f)(struct gx_receipt_maker *m,
			     const struct gx_rows *r, int i, const char *at,
			     struct gx_err *e);

/* Sign what a look found, row by row; its first columns go into col, for the
 * statement that moves them. */
static enum gx_rc
prepare(struct gx_receipt_maker *m, const struct gx_rows *r, sign_f sign,
	struct gx_err *e)
{
	char at[GX_TIME_LEN + 1];
	enum gx_rc rc = GX_OK;

	gx_arena_reset(m->a);
	m->n_rows = 0;
	for (size_t k = 0; k < COLUMNS; k++) {
		gx_buf_reset(&m->col[k]);
	}
	gx_time_format(gx_now_ms(), at);
	for (int i = 0; i < gx_rows_n(r) && i < AT_ONCE; i++) {
		rc = sign(m, r, i, at, e);
		if (rc != GX_OK) {
			return rc;
		}
		for (int k = 0; k < COLUMNS; k++) {
			put(&m->col[k], gx_rows_str(r, i, k));
		}
	}
	return GX_OK;
}

static enum gx_rc
close_columns(struct gx_receipt_maker *m, const char **params, struct gx_err *e)
{
	for (size_t k = 0; k < COLUMNS; k++) {
		(void)gx_buf_putc(&m->col[k], '}');
		params[k] = gx_buf_str(&m->col[k]);
		if (m->col[k].failed) {
			return GX_ERR(e, GX_FATAL, "mem.full",
				      "%zu receipts do not fit", m->n_rows);
		}
	}
	return GX_OK;
}

/* The last statement must have moved all of them, or another maker did. */
static enum gx_rc
check_moved(struct gx_receipt_maker *m, struct gx_err *e)
{
	if (gx_pg_n_changed(m->pg) != (int64_t)m->n_rows) {
		return GX_ERR(e, GX_ABORT, "receipt.fenced",
			      "another process makes this node's receipts");
	}
	return GX_OK;
}

/* Every stream from what was read to what was signed, or nothing. */
static enum gx_rc
move_receipted(struct gx_receipt_maker *m, struct gx_err *e)
{
	const char *params[COLUMNS];
	enum gx_rc rc = close_columns(m, params, e);

	if (rc != GX_OK) {
		return rc;
	}
	rc = gx_pg_query(m->pg,
			 "INSERT INTO gx_receipted (stream, epoch, next_seq, "
			 "head, n_aside) SELECT v, 0, 1, repeat('0', 64), 0 "
			 "FROM unnest($1::text[]) v ON CONFLICT DO NOTHING",
			 1, params, NULL, e);
	if (rc == GX_OK) {
		rc = gx_pg_query(
			m->pg,
			"UPDATE gx_receipted r SET epoch = v.epoch, next_seq = "
			"v.next, head = v.head, n_aside = v.n_aside FROM "
			"unnest($1::text[], $2::bigint[], $3::bigint[], "
			"$4::text[], $5::bigint[], $6::bigint[]) v(stream, "
			"epoch, next, head, n_aside, before) WHERE r.stream = "
			"v.stream AND r.next_seq = v.before",
			COLUMNS, params, NULL, e);
	}
	return rc == GX_OK ? check_moved(m, e) : rc;
}

/* ---- refusals ---- */

enum refusal_col {
	RF_TOPIC,
	RF_PARTITION,
	RF_OFFSET,
	RF_STREAM,
	RF_REASON,
	RF_AT,
	RF_DIGEST,
	RF_EPOCH,
	RF_NEXT
};

static enum gx_rc
look_refused(struct gx_receipt_maker *m, const struct gx_rows **r,
	     struct gx_err *e)
{
	return gx_pg_query(
		m->pg,
		"SELECT DISTINCT ON (f.stream, f.reason) f.topic, f.partition, "
		"f.at_offset, f.stream, f.reason, f.at, f.digest, s.epoch, "
		"s.next_seq FROM gx_refusal f JOIN gx_stream s ON s.stream = "
		"f.stream WHERE " RECEIPTED "AND NOT f.is_receipted ORDER BY "
		"f.stream, f.reason, f.at DESC, f.at_offset DESC LIMIT 200",
		0, NULL, r, e);
}

static enum gx_rc
sign_refused(struct gx_receipt_maker *m, const struct gx_rows *r, int i,
	     const char *at, struct gx_err *e)
{
	struct gx_receipt rec = {
		.sink = gx_slice_str(m->node),
		.stream = gx_rows_slice(r, i, RF_STREAM),
		.verdict = GX_RECEIPT_REFUSED,
		.epoch = (uint64_t)gx_rows_int(r, i, RF_EPOCH),
		.seq = (uint64_t)gx_rows_int(r, i, RF_NEXT) - 1,
		.aside_seq = GX_SLICE("[]"),
		.reason = gx_rows_slice(r, i, RF_REASON),
		.at = gx_slice(at, GX_TIME_LEN),
	};
	struct gx_slice head = gx_rows_slice(r, i, RF_DIGEST);

	if (!gx_unhex(head.p, head.n, rec.head, sizeof rec.head)) {
		return GX_ERR(e, GX_FATAL, "store.row",
			      "a row of gx_refusal cannot be read");
	}
	return finish(m, &rec, gx_rows_str(r, i, RF_STREAM), at, e);
}

/* Those that are told, then what they cover. */
static enum gx_rc
move_refused(struct gx_receipt_maker *m, struct gx_err *e)
{
	const char *params[COLUMNS];
	enum gx_rc rc = close_columns(m, params, e);

	if (rc == GX_OK) {
		rc = gx_pg_query(
			m->pg,
			"UPDATE gx_refusal f SET is_receipted = true FROM "
			"unnest($1::text[], $2::integer[], $3::bigint[]) "
			"v(topic, partition, at_offset) WHERE f.topic = "
			"v.topic AND f.partition = v.partition AND "
			"f.at_offset = v.at_offset AND NOT f.is_receipted",
			3, params, NULL, e);
	}
	if (rc == GX_OK) {
		rc = check_moved(m, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(
			m->pg,
			"UPDATE gx_refusal f SET is_receipted = true FROM "
			"unnest($1::text[], $2::text[], $3::timestamptz[]) "
			"v(stream, reason, at) WHERE f.stream = v.stream AND "
			"f.reason = v.reason AND f.at <= v.at AND "
			"NOT f.is_receipted",
			3, params + RF_STREAM, NULL, e);
	}
	return rc;
}

/* ---- saying it ---- */

typedef enum gx_rc (*move_f)(struct gx_receipt_maker *m, struct gx_err *e);

static enum gx_rc
emit(struct gx_receipt_maker *m, move_f move, struct gx_err *e)
{
	enum gx_rc rc;

	gx_crash_point("receipt.signed");
	rc = gx_pg_exec(m->pg, "BEGIN", e);
	if (rc == GX_OK) {
		rc = move(m, e);
	}
	if (rc == GX_OK) {
		rc = gx_outbox_put(m->pg, m->origin, m->rows, m->n_rows, e);
	}
	if (rc == GX_OK) {
		gx_crash_point("receipt.before_commit");
		rc = gx_pg_exec(m->pg, "COMMIT", e);
	}
	if (rc != GX_OK) {
		gx_pg_rollback(m->pg);
		return rc;
	}
	gx_crash_point("receipt.after_commit");
	m->n_made += (int64_t)m->n_rows;
	return GX_OK;
}

/* What a look has found, signed and moved; if it was full, the next is due at
 * once. */
static enum gx_rc
say(struct gx_receipt_maker *m, const struct gx_rows *r, sign_f sign,
    move_f move, struct gx_err *e)
{
	enum gx_rc rc;

	if (gx_rows_n(r) == 0) {
		return GX_OK;
	}
	if (gx_rows_n(r) == AT_ONCE) {
		m->look_at_ms = 0;
	}
	rc = prepare(m, r, sign, e);
	return rc == GX_OK ? emit(m, move, e) : rc;
}

/* Have we said more of a stream than its row holds? */
static enum gx_rc
look_ahead(struct gx_receipt_maker *m, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(
		m->pg,
		"SELECT count(*), coalesce(min(s.stream), '') FROM gx_stream s "
		"JOIN gx_receipted r ON r.stream = s.stream WHERE s.next_seq < "
		"r.next_seq OR (s.next_seq = r.next_seq AND s.head <> r.head) "
		"OR " OTHER_HISTORY,
		0, NULL, &r, e);
	struct gx_err found = {0};
	int64_t n = rc == GX_OK ? gx_rows_int(r, 0, 0) : m->n_ahead;

	if (n > m->n_ahead) {
		(void)GX_ERR(&found, GX_FATAL, "receipt.ahead",
			     "%lld streams stand below what was receipted of "
			     "them, first %s",
			     (long long)n, gx_rows_str(r, 0, 1));
		gx_log_err(GX_LOG_ERROR, &found);
	}
	m->n_ahead = n;
	return rc;
}

/* ---- stepping ---- */

/* Where more streams move than one look takes, the next begins behind its
 * last: none waits for ever behind others. */
static void
go_on_after(struct gx_receipt_maker *m, const struct gx_rows *r)
{
	int n = gx_rows_n(r);

	(void)snprintf(m->after, sizeof m->after, "%s",
		       n == AT_ONCE ? gx_rows_str(r, n - 1, COL_STREAM) : "");
}

static enum gx_rc
step_maker(void *flow, int timeout_ms, struct gx_err *e)
{
	struct gx_receipt_maker *m = flow;
	int64_t left_ms = m->look_at_ms - gx_mono_ms();
	const struct gx_rows *r;
	enum gx_rc rc = GX_OK;

	if (left_ms > 0) {
		(void)poll(NULL, 0,
			   left_ms < timeout_ms ? (int)left_ms : timeout_ms);
		return GX_AGAIN;
	}
	if (gx_mono_ms() >= m->ahead_at_ms) {
		m->ahead_at_ms = gx_mono_ms() + AHEAD_MS;
		rc = look_ahead(m, e);
	}
	m->look_at_ms = gx_mono_ms() + m->every_ms;
	if (rc == GX_OK) {
		rc = check_flushes(m, e);
	}
	if (rc == GX_OK) {
		rc = look(m, &r, e);
	}
	if (rc == GX_OK) {
		go_on_after(m, r);
		rc = say(m, r, sign_applied, move_receipted, e);
	}
	if (rc == GX_OK) {
		rc = look_refused(m, &r, e);
	}
	if (rc == GX_OK) {
		rc = say(m, r, sign_refused, move_refused, e);
	}
	/* Nothing says whether a commit in doubt came through: look again. */
	return rc == GX_AGAIN ? GX_ABORT : rc;
}

static void
status_maker(void *flow, struct gx_jw *w)
{
	struct gx_receipt_maker *m = flow;

	gx_jw_kv_int(w, "receipts_made", m->n_made);
	gx_jw_kv_int(w, "streams_below_their_receipt", m->n_ahead);
}

static void
accept_maker(void *flow)
{
	(void)flow; /* there is no guard here */
}

const struct gx_flow_ops gx_receipt_maker_ops = {
	.kind = "receipt",
	.open = open_maker,
	.step = step_maker,
	.close = close_maker,
	.status = status_maker,
	.accept = accept_maker,
	.free = free_maker,
};
