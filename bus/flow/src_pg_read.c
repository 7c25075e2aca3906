/*
 * Full readings of a PostgreSQL source.
 *
 * A stream begins with all rows its table has: s, the rows in key order, e.
 * All tables are read from one snapshot, by a second connection; the slot
 * stands still meanwhile, so that every change since lies behind it.
 *
 * The first reading uses the snapshot that the slot exported when it was made:
 * rows and changes then fit without a seam.  If we die within it, that
 * snapshot is gone.  The next reading goes on behind the last key taken, under
 * a snapshot of its own, and repeats on top of it all changes since the slot
 * began: the table then passes through older states of some rows.  So each
 * position names the point (until) up to which its stream is loading, and e
 * comes only when the changes have passed it.
 *
 * Sorting is asked of an index wherever there is one (enable_sort = off): rows
 * come at once, and the department's disk holds no sorted copy of its table.
 *
 * Where a table is cut into several streams, each has its own last key; the
 * server says for each row which of them have it already, because only it
 * knows the order of its keys.
 *
 * A table that the server cannot hand over stops alone: a savepoint before each
 * COPY keeps the snapshot for the others.  Values are asked for as they lie
 * there, so that bytes that are no character set only their row aside.  A row
 * that is longer than we keep in memory is handed over with its values cut;
 * what is left is still longer than a record may be, and so it is set aside.
 */
#include "base/text.h"
#include "base/log.h"
#include "flow/src_pg_int.h"

#define LONG_ROW (8u << 20)   /* kept of a row that is too long */
#define LONG_VALUE (2u << 20) /* and of each of its values */
#define LONG_REST 4096	      /* when that much is kept */

static enum gx_rc
again_is_abort(enum gx_rc rc)
{
	return rc == GX_AGAIN ? GX_ABORT : rc;
}

static bool
needs_reading(const struct gx_src_pg *src, const struct pg_table *t)
{
	for (size_t k = 0; k < t->n_streams; k++) {
		if (!src->streams[t->first_stream + k].is_read) {
			return !t->is_stopped;
		}
	}
	return false;
}

enum gx_rc
gx_src_pg_begin_reading(struct gx_src_pg *src, const char *name,
			struct gx_err *e)
{
	const struct gx_rows *r;
	char sql[160];
	enum gx_rc rc = gx_pg_open(gx_buf_str(&src->conninfo), src->app, false,
				   &src->snap, e);

	if (rc == GX_OK) {
		rc = gx_pg_exec(src->snap,
				"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE "
				"READ READ ONLY; SET LOCAL enable_sort = off; "
				"SET LOCAL row_security = off; "
				"SET LOCAL statement_timeout = 0; SET LOCAL "
				"idle_in_transaction_session_timeout = 0",
				e);
	}
	src->snap_lsn = src->slot_lsn;
	if (rc == GX_OK && name != NULL) {
		(void)snprintf(sql, sizeof(sql),
			       "SET TRANSACTION SNAPSHOT '%s'", name);
		rc = gx_pg_exec(src->snap, sql, e);
	} else if (rc == GX_OK) {
		rc = gx_pg_query(src->snap,
				 "SELECT pg_current_wal_insert_lsn()::text", 0,
				 NULL, &r, e);
		if (rc == GX_OK &&
		    !gx_lsn_parse(gx_rows_str(r, 0, 0), &src->snap_lsn)) {
			src->snap_lsn = src->server_end;
		}
	}
	if (rc != GX_OK) {
		return again_is_abort(rc);
	}
	for (size_t i = 0; i < src->n_streams; i++) {
		struct pg_stream *st = &src->streams[i];

		if (!st->is_read && st->pos.until < src->snap_lsn) {
			st->pos.until = src->snap_lsn;
		}
	}
	src->reading = 0;
	src->is_copying = false;
	src->phase = PG_READING;
	return GX_OK;
}

/* ---- the statement ---- */

static void
put_key_columns(struct gx_buf *b, const struct pg_table *t)
{
	const char *comma = "";

	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (gx_host_column_is_key(t->host, i)) {
			(void)gx_buf_puts(b, comma);
			(void)gx_pg_ident(b, gx_host_column(t->host, i));
			comma = ", ";
		}
	}
}

static bool
has_nullable_key(const struct pg_table *t)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (gx_host_column_is_key(t->host, i) && t->is_nullable[i]) {
			return true;
		}
	}
	return false;
}

/* "(k1, k2) > ('a', 'b')": true for the rows this stream has not taken. */
static bool
put_condition(struct gx_buf *b, const struct pg_table *t,
	      const struct pg_stream *st)
{
	char text[GX_PG_POS_KEY];
	struct gx_arena *a;
	const struct gx_json *keys;
	struct gx_err ignored;
	const char *comma = "";
	size_t n;

	if (st->is_read) {
		return gx_buf_puts(b, "false");
	}
	if (!st->has_begun || st->key.n == 0) {
		return gx_buf_puts(b, "true");
	}
	if (!gx_unbase64(st->key.p, st->key.n, text, sizeof(text), &n)) {
		return false;
	}
	a = gx_arena_new(64 * 1024);
	if (gx_json_parse(a, gx_slice(text, n), &keys, &ignored) != GX_OK) {
		gx_arena_free(&a);
		return false;
	}
	(void)gx_buf_puts(b, "(((");
	put_key_columns(b, t);
	(void)gx_buf_puts(b, ") > (");
	for (const struct gx_json *k = keys->child; k != NULL; k = k->next) {
		(void)gx_buf_puts(b, comma);
		(void)gx_pg_literal(b, k->text);
		comma = ", ";
	}
	(void)gx_buf_puts(b, has_nullable_key(t) ? ")) IS NOT FALSE)" : ")))");
	gx_arena_free(&a);
	return !b->failed;
}

/* One condition for one stream; with more, each is also a column of its own,
 * and the server need not order anything by it. */
static bool
put_copy(struct gx_src_pg *src, struct gx_buf *b, const struct pg_table *t)
{
	bool is_good = true;

	(void)gx_buf_puts(b, "COPY (SELECT ");
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		(void)gx_buf_puts(b, i ? ", " : "");
		(void)gx_pg_ident(b, gx_host_column(t->host, i));
	}
	for (size_t k = 0; t->n_streams > 1 && k < t->n_streams; k++) {
		(void)gx_buf_puts(b, ", ");
		is_good &=
			put_condition(b, t, &src->streams[t->first_stream + k]);
	}
	(void)gx_buf_puts(b, " FROM ");
	(void)gx_pg_ident(b, t->ns);
	(void)gx_buf_putc(b, '.');
	(void)gx_pg_ident(b, t->name);
	if (t->n_streams == 1 && src->streams[t->first_stream].key.n > 0) {
		(void)gx_buf_puts(b, " WHERE ");
		is_good &= put_condition(b, t, &src->streams[t->first_stream]);
	}
	(void)gx_buf_puts(b, " ORDER BY ");
	put_key_columns(b, t);
	(void)gx_buf_puts(b, ") TO STDOUT (ENCODING 'SQL_ASCII')");
	return is_good && !b->failed;
}

/* The server cannot hand this table over: it stops, and the snapshot is kept
 * for the others. */
static enum gx_rc
give_up_table(struct gx_src_pg *src, struct pg_table *t, struct gx_err *e)
{
	gx_err_note(e, "reading %s.%s", t->ns, t->name);
	gx_src_pg_stop_table(src, t, e);
	src->is_copying = false;
	src->reading++;
	return again_is_abort(
		gx_pg_exec(src->snap, "ROLLBACK TO SAVEPOINT gx_table", e));
}

static enum gx_rc
begin_table(struct gx_src_pg *src, struct pg_table *t, struct gx_err *e)
{
	struct gx_buf sql;
	enum gx_rc rc;

	gx_buf_init(&sql, 1u << 20);
	if (!put_copy(src, &sql, t)) {
		gx_buf_free(&sql);
		return GX_ERR(e, GX_FATAL, "source.position",
			      "the last key in a position of %s.%s cannot be "
			      "read",
			      t->ns, t->name);
	}
	rc = gx_pg_exec(src->snap, "SAVEPOINT gx_table", e);
	if (rc == GX_OK) {
		rc = gx_pg_copy_out(src->snap, gx_buf_str(&sql), e);
	}
	gx_buf_free(&sql);
	if (rc == GX_REJECT) {
		return give_up_table(src, t, e);
	}
	if (rc != GX_OK) {
		return again_is_abort(rc);
	}
	for (size_t k = 0; k < t->n_streams; k++) {
		struct pg_stream *st = &src->streams[t->first_stream + k];

		if (!st->has_begun && !st->is_read) {
			gx_src_pg_queue(src, TODO_START, t->first_stream + k,
					0);
		}
	}
	src->is_copying = true;
	src->n_read_rows = 0;
	gx_time_format(gx_now_ms(), src->time);
	gx_log(GX_LOG_INFO, "source.reading", "table=%s.%s", t->ns, t->name);
	return GX_OK;
}

static void
end_table(struct gx_src_pg *src, struct pg_table *t)
{
	for (size_t k = 0; k < t->n_streams; k++) {
		struct pg_stream *st = &src->streams[t->first_stream + k];

		if (st->is_read) {
			continue;
		}
		st->is_read = true;
		st->pos.is_reading = false;
		st->pos.key = gx_slice(NULL, 0);
		st->pos.idx = 0;
		st->pos.owes_end = true;
		if (st->pos.lsn < st->pos.until) {
			st->awaits_until = true;
		} else {
			gx_src_pg_queue(src, TODO_END, t->first_stream + k, 0);
		}
	}
	gx_log(GX_LOG_INFO, "source.read", "table=%s.%s rows=%llu", t->ns,
	       t->name, (unsigned long long)src->n_read_rows);
	src->is_copying = false;
	src->reading++;
}

/* ---- rows ---- */

static char
unescape(char c)
{
	static const char from[] = "bfnrtv", to[] = "\b\f\n\r\t\v";
	const char *at = c != '\0' ? strchr(from, c) : NULL;

	return at != NULL ? to[at - from] : c;
}

/* What is kept of a value in a row that does not fit: more than a record may
 * have, and of all together less than the buffer has, keys whole. */
static struct gx_slice
cut_long(struct gx_slice v, size_t kept)
{
	size_t max = kept < LONG_ROW ? LONG_VALUE : LONG_REST;

	if (v.n > max) {
		v.n = max;
		while (v.n > 0 && ((unsigned char)v.p[v.n] & 0xC0) == 0x80) {
			v.n--; /* not within a character */
		}
		while (v.n > 0 && v.p[v.n - 1] == '\\') {
			v.n--; /* nor within an escape */
		}
	}
	return v;
}

/* One value of COPY's text format; copied only where it has escapes. */
static bool
take_value(struct gx_buf *b, struct gx_slice v, struct gx_abi_text *out)
{
	size_t at = b->n;

	if (v.n == 2 && memcmp(v.p, "\\N", 2) == 0) {
		*out = (struct gx_abi_text){NULL, 0};
		return true;
	}
	*out = (struct gx_abi_text){v.p, v.n};
	if (v.n == 0 || memchr(v.p, '\\', v.n) == NULL) {
		return true;
	}
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];

		if (c == '\\' && i + 1 < v.n) {
			c = unescape(v.p[++i]);
		}
		(void)gx_buf_putc(b, c);
	}
	*out = (struct gx_abi_text){b->p + at, b->n - at};
	return !b->failed;
}

/* Split into n values.  Room for the whole row is made first, so that values
 * do not move while they are collected. */
static bool
split_row(struct gx_buf *b, struct gx_slice row, struct gx_abi_text *out,
	  size_t n)
{
	const char *p = row.p, *end = row.p + row.n;
	bool is_long = row.n > b->max;
	size_t kept = 0;

	if (row.n > 0 && end[-1] == '\n') {
		end--;
	}
	gx_buf_reset(b);
	if (memchr(row.p, '\\', row.n) != NULL) {
		(void)gx_buf_slice(b,
				   gx_slice(row.p, is_long ? b->max : row.n));
		if (b->failed) {
			return false;
		}
		gx_buf_cut(b, 0);
	}
	for (size_t i = 0; i < n; i++) {
		const char *tab = memchr(p, '\t', (size_t)(end - p));
		const char *stop = tab != NULL ? tab : end;
		struct gx_slice v = gx_slice(p, (size_t)(stop - p));

		v = is_long ? cut_long(v, kept) : v;
		kept += v.n;
		if ((tab == NULL) != (i + 1 == n) ||
		    !take_value(b, v, &out[i])) {
			return false;
		}
		p = tab != NULL ? tab + 1 : end;
	}
	return true;
}

/* The key columns' text as JSON, base64, into the stream; what is too long
 * for a position leaves the last one: that much is read again. */
static void
note_key(struct gx_src_pg *src, const struct pg_table *t, struct pg_stream *st)
{
	struct gx_jw w;
	char text[GX_PG_POS_KEY + 1];
	size_t n;

	gx_buf_reset(&src->fetched);
	gx_jw_init(&w, &src->fetched);
	gx_jw_begin(&w, '[');
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (!gx_host_column_is_key(t->host, i)) {
			continue;
		}
		if (src->row[i].p == NULL || src->spoilt[i]) {
			return; /* NULL has no place in an order */
		}
		gx_jw_str(&w, gx_slice(src->row[i].p, src->row[i].n));
	}
	gx_jw_end(&w, ']');
	if (src->fetched.failed ||
	    (src->fetched.n + 2) / 3 * 4 > GX_PG_POS_KEY) {
		return;
	}
	n = gx_base64(src->fetched.p, src->fetched.n, text, sizeof(text));
	gx_buf_reset(&st->key);
	(void)gx_buf_put(&st->key, text, n);
	st->pos.key = gx_buf_view(&st->key);
}

static enum gx_rc
take_row(struct gx_src_pg *src, struct pg_table *t, struct gx_slice row,
	 struct gx_rec *rec, bool *has_rec, struct gx_err *e)
{
	size_t n = gx_host_n_columns(t->host);
	size_t n_flags = t->n_streams > 1 ? t->n_streams : 0;
	struct gx_abi_text all[GX_HOST_COLUMNS + 256];
	struct gx_host_out *out = &src->new_out;
	struct pg_stream *st;
	size_t i;
	enum gx_rc rc;

	if (!split_row(&src->values, row, all, n + n_flags)) {
		return GX_ERR(e, GX_FATAL, "source.row",
			      "a row of %s.%s is not in COPY's format", t->ns,
			      t->name);
	}
	memcpy(src->row, all, n * sizeof(all[0]));
	gx_src_pg_decode(src, src->row, n, src->spoilt, &src->text);
	gx_src_pg_spoil(t, src->spoilt);
	rc = gx_host_row(t->host, src->row, gx_slice(src->time, GX_TIME_LEN),
			 out, e);
	if (rc != GX_OK) {
		return rc;
	}
	i = gx_src_pg_shard(t, out->line.key);
	st = &src->streams[t->first_stream + i];
	if (n_flags > 0 && (all[n + i].n != 1 || all[n + i].p[0] != 't')) {
		return GX_OK; /* this stream has it */
	}
	src->n_read_rows++;
	st->pos.idx++;
	note_key(src, t, st);
	rec->stream = t->first_stream + i;
	rec->line = out->line;
	rec->is_reject = out->is_reject;
	rec->faults = out->faults;
	rec->n_faults = out->n_faults;
	rec->original = out->original;
	rec->record = out->record;
	rec->pos = gx_src_pg_pos_text(src, &st->pos);
	*has_rec = true;
	return GX_OK;
}

static enum gx_rc
end_reading(struct gx_src_pg *src, struct gx_err *e)
{
	enum gx_rc rc = gx_pg_exec(src->snap, "COMMIT", e);

	if (rc != GX_OK) {
		return again_is_abort(rc);
	}
	gx_pg_close(&src->snap);
	src->phase = PG_CHANGES;
	return GX_OK;
}

enum gx_rc
gx_src_pg_read_on(struct gx_src_pg *src, int timeout_ms, struct gx_rec *rec,
		  bool *has_rec, struct gx_err *e)
{
	struct pg_table *t;
	struct gx_slice row;
	bool is_end;
	enum gx_rc rc;

	while (!src->is_copying) {
		if (src->reading == src->n_tables) {
			return end_reading(src, e);
		}
		if (needs_reading(src, &src->tables[src->reading])) {
			return begin_table(src, &src->tables[src->reading], e);
		}
		src->reading++;
	}
	t = &src->tables[src->reading];
	rc = gx_pg_copy_get(src->snap, timeout_ms, &row, &is_end, e);
	if (rc == GX_REJECT) {
		return give_up_table(src, t, e);
	}
	if (rc == GX_OK && is_end) {
		end_table(src, t);
		return GX_OK;
	}
	return rc == GX_OK ? take_row(src, t, row, rec, has_rec, e) : rc;
}
