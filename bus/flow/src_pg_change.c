/*
 * Changes of a PostgreSQL source, in commit order.
 *
 * The server sends whole transactions, one after the other, as they commit.
 * Each message about a table of ours counts within its transaction, whether it
 * is used or not, so that the same log gives the same positions after every
 * restart: message n gives idx 2n for the row that is gone and 2n + 1 for the
 * row that is there.  What stands at or below a stream's own position is
 * skipped.  Nothing of a transaction is kept but these counts; 200,000 rows
 * pass through as one row at a time.
 *
 * An UPDATE of the key is a delete and an upsert.  A value that was not sent
 * because it did not change (large, stored out of line) is taken from the old
 * row where the table sends it (REPLICA IDENTITY FULL), else read by key from
 * the table: that reads the newest value, and the change that made it follows.
 * A row that is gone by then is skipped: its delete follows.  The values of a
 * column that was dropped or retyped for a while are read the same way.
 *
 * TRUNCATE is no wipe.  It begins a full reading in the stream (s); whatever
 * is inserted afterwards is written again, and at e the receivers drop what
 * was not.  e comes with the commit if the same transaction filled the table
 * again, else when the table has been quiet for a while and everything the
 * server had by then was read.  The position says that e is still owed.  The e
 * of a full reading that was resumed is owed the same way (src_pg_read.c).
 */
#include "base/log.h"
#include "flow/src_pg_int.h"

static struct pg_table *
find_relation(struct gx_src_pg *src, uint32_t oid)
{
	for (size_t i = 0; i < src->n_tables; i++) {
		if (src->tables[i].oid == oid && oid != 0) {
			return &src->tables[i];
		}
	}
	return NULL;
}

static enum gx_rc
take_relation(struct gx_src_pg *src, const struct gx_pgo_msg *m,
	      struct gx_err *e)
{
	for (size_t i = 0; i < src->n_tables; i++) {
		struct pg_table *t = &src->tables[i];

		if (gx_slice_eq(gx_src_pg_name(src, m->ns),
				gx_slice_str(t->ns)) &&
		    gx_slice_eq(gx_src_pg_name(src, m->name),
				gx_slice_str(t->name))) {
			return gx_src_pg_relation(src, m, t, e);
		}
		if (t->oid == m->relation) {
			t->oid = 0; /* renamed: not ours any more */
			src->published_at_ms = 0;
		}
	}
	return GX_OK;
}

/* Count the message; answers its idx for the row that is gone. */
static uint64_t
touch(struct gx_src_pg *src, struct pg_table *t)
{
	if (t->tx_lsn != src->tx_lsn) {
		t->tx_lsn = src->tx_lsn;
		t->n_msgs = 0;
		t->is_truncated = false;
		t->has_refilled = false;
	}
	t->quiet_since_ms = gx_mono_ms();
	t->quiet_until_lsn = 0;
	return ++t->n_msgs * 2;
}

static bool
is_known(const struct gx_src_pg *src, size_t stream, uint64_t idx)
{
	return gx_pg_pos_cmp(&src->streams[stream].pos, src->tx_lsn, idx) >= 0;
}

static bool
all_know(const struct gx_src_pg *src, const struct pg_table *t, uint64_t idx)
{
	for (size_t k = 0; k < t->n_streams; k++) {
		if (!is_known(src, t->first_stream + k, idx)) {
			return false;
		}
	}
	return true;
}

/* A column that was dropped or of a type that no conversion takes when the
 * message was written, and is mended since: only the table has its value. */
static bool
is_mended(const struct pg_table *t, size_t i)
{
	return t->col_at[i] == UINT16_MAX ||
	       (t->holds[i] & gx_host_column_holds(t->host, i)) == 0;
}

/* Pick the mapped columns of a tuple.  *n_unsent: values not sent, marked by
 * p == NULL and n == 1. */
static enum gx_rc
pick_row(struct gx_src_pg *src, const struct pg_table *t,
	 const struct gx_pgo_tuple *tuple, struct gx_abi_text *row,
	 size_t *n_unsent, struct gx_err *e)
{
	bool is_old = row == src->old_row;

	*n_unsent = 0;
	if (tuple->n != t->n_rel_columns) {
		return GX_ERR(e, GX_FATAL, "source.protocol",
			      "a row of %s.%s has another number of columns "
			      "than its relation",
			      t->ns, t->name);
	}
	gx_pgo_values(tuple, src->cells);
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		const struct gx_pgo_value *v;

		row[i] = (struct gx_abi_text){NULL, 0};
		if (is_mended(t, i) && !gx_host_column_is_key(t->host, i)) {
			row[i].n = 1;
			(*n_unsent)++;
			continue;
		}
		if (t->col_at[i] == UINT16_MAX) {
			continue;
		}
		v = &src->cells[t->col_at[i]];
		if (v->kind == 't') {
			row[i] = (struct gx_abi_text){v->text.p, v->text.n};
		} else if (v->kind == 'u') {
			row[i].n = 1;
			(*n_unsent)++;
		}
	}
	gx_src_pg_decode(src, row, gx_host_n_columns(t->host),
			 is_old ? src->old_spoilt : src->spoilt,
			 is_old ? &src->old_text : &src->text);
	return GX_OK;
}

/* ---- values that were not sent ---- */

static bool
put_fetch(struct gx_buf *b, const struct pg_table *t)
{
	const char *word = " WHERE ";
	int n = 0;

	(void)gx_buf_puts(b, "SELECT ");
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		(void)gx_buf_puts(b, i ? ", " : "");
		(void)gx_pg_ident(b, gx_host_column(t->host, i));
	}
	(void)gx_buf_puts(b, " FROM ");
	(void)gx_pg_ident(b, t->ns);
	(void)gx_buf_putc(b, '.');
	(void)gx_pg_ident(b, t->name);
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (gx_host_column_is_key(t->host, i)) {
			(void)gx_buf_puts(b, word);
			(void)gx_pg_ident(b, gx_host_column(t->host, i));
			(void)gx_buf_printf(b, " = $%d", ++n);
			word = " AND ";
		}
	}
	(void)gx_buf_puts(b, " LIMIT 1");
	return !b->failed;
}

/* NUL-terminated copies of the key columns; false if one is missing. */
static bool
key_params(struct gx_src_pg *src, const struct pg_table *t,
	   const char *params[GX_HOST_COLUMNS], int *n_params)
{
	struct gx_buf *b = &src->fetched;
	size_t at[GX_HOST_COLUMNS];
	int n = 0;

	gx_buf_reset(b);
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (!gx_host_column_is_key(t->host, i)) {
			continue;
		}
		if (src->row[i].p == NULL || src->spoilt[i]) {
			return false;
		}
		at[n++] = b->n;
		(void)gx_buf_put(b, src->row[i].p, src->row[i].n);
		(void)gx_buf_putc(b, '\0');
	}
	for (int i = 0; i < n; i++) {
		params[i] = b->p + at[i];
	}
	*n_params = n;
	return n > 0 && !b->failed;
}

static bool
is_unsent(const struct gx_abi_text *v)
{
	return v->p == NULL && v->n == 1;
}

/* No value of these can be told: the row is set aside. */
static void
spoil_unsent(struct gx_src_pg *src, const struct pg_table *t)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (is_unsent(&src->row[i])) {
			src->row[i].n = 0;
			src->spoilt[i] = true;
		}
	}
}

/* 22021 and 22P05: the server met bytes that are no character. */
static bool
is_no_text(enum gx_rc rc, const struct gx_err *e)
{
	return rc == GX_REJECT && (strstr(e->text, "22021") != NULL ||
				   strstr(e->text, "22P05") != NULL);
}

static bool
has_spoilt_key(const struct gx_src_pg *src, const struct pg_table *t)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (gx_host_column_is_key(t->host, i) && src->spoilt[i]) {
			return true;
		}
	}
	return false;
}

/* Fill the values of src->row that were not sent.  *is_gone: no such row. */
static enum gx_rc
fetch_unsent(struct gx_src_pg *src, struct pg_table *t, bool *is_gone,
	     struct gx_err *e)
{
	const char *params[GX_HOST_COLUMNS];
	const struct gx_rows *r;
	struct gx_buf sql;
	int n = 0;
	enum gx_rc rc;

	*is_gone = !has_spoilt_key(src, t);
	if (!key_params(src, t, params, &n)) {
		return GX_OK;
	}
	gx_buf_init(&sql, 64 * 1024);
	(void)put_fetch(&sql, t);
	rc = gx_pg_query(src->ctl, gx_buf_str(&sql), n, params, &r, e);
	gx_buf_free(&sql);
	if (is_no_text(rc, e)) {
		*is_gone = false;
		spoil_unsent(src, t);
		return GX_OK;
	}
	if (rc == GX_REJECT) { /* a key of another type */
		gx_err_note(e, "fetching from %s.%s", t->ns, t->name);
		gx_src_pg_stop_table(src, t, e);
		return GX_OK;
	}
	if (rc != GX_OK) {
		/* A statement that worked on this connection may be stale
		 * since the table was altered: a new one will tell. */
		return rc == GX_AGAIN || src->n_fetched > 0 ? GX_ABORT : rc;
	}
	src->n_fetched++;
	if (gx_rows_n(r) == 0) {
		return GX_OK;
	}
	*is_gone = false;
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		struct gx_abi_text *v = &src->row[i];

		if (is_unsent(v)) {
			struct gx_slice s = gx_rows_slice(r, 0, (int)i);

			*v = (struct gx_abi_text){
				gx_rows_null(r, 0, (int)i) ? NULL : s.p, s.n};
		}
	}
	return GX_OK;
}

static enum gx_rc
complete_row(struct gx_src_pg *src, struct pg_table *t,
	     const struct gx_pgo_msg *m, bool *is_gone, struct gx_err *e)
{
	bool has_all = m->old_row.kind == 'O';

	for (size_t i = 0; has_all && i < gx_host_n_columns(t->host); i++) {
		struct gx_abi_text *v = &src->row[i];

		if (is_unsent(v)) {
			*v = src->old_row[i];
			src->spoilt[i] = src->old_spoilt[i];
			has_all = v->p != NULL || v->n == 0;
		}
	}
	*is_gone = false;
	return has_all ? GX_OK : fetch_unsent(src, t, is_gone, e);
}

/* ---- rows ---- */

static void
note_types(struct pg_table *t)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (t->read_holds[i] == 0 && t->col_at[i] != UINT16_MAX) {
			t->read_holds[i] = t->holds[i];
		}
	}
}

static void
queue_row(struct gx_src_pg *src, struct pg_table *t, enum pg_todo_kind kind,
	  const struct gx_host_out *out, uint64_t idx, bool is_change)
{
	size_t stream = t->first_stream + gx_src_pg_shard(t, out->line.key);

	if (is_known(src, stream, idx)) {
		return;
	}
	gx_src_pg_queue(src, kind, stream, idx);
	src->todo[src->n_todo - 1].is_change = is_change;
	note_types(t);
}

/* The key that the row had before; is_other if the new row has another. */
static enum gx_rc
take_old(struct gx_src_pg *src, struct pg_table *t, const struct gx_pgo_msg *m,
	 bool *has_old, struct gx_err *e)
{
	struct gx_err no_key = {0}; /* nothing was published under it then */
	size_t n_unsent;
	enum gx_rc rc;

	*has_old = false;
	if (m->old_row.kind == 0) {
		return GX_OK;
	}
	rc = pick_row(src, t, &m->old_row, src->old_row, &n_unsent, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_src_pg_spoil(t, src->old_spoilt);
	rc = gx_host_key(t->host, src->old_row,
			 gx_slice(src->time, GX_TIME_LEN), &src->old_out,
			 &no_key);
	*has_old = rc == GX_OK;
	if (rc == GX_OK || rc == GX_REJECT) {
		return GX_OK;
	}
	*e = no_key;
	return rc;
}

static enum gx_rc
take_upsert(struct gx_src_pg *src, struct pg_table *t,
	    const struct gx_pgo_msg *m, uint64_t idx, struct gx_err *e)
{
	bool is_update = m->kind == GX_PGO_UPDATE, has_old, is_gone = false;
	size_t n_unsent;
	enum gx_rc rc = take_old(src, t, m, &has_old, e);

	if (rc == GX_OK) {
		rc = pick_row(src, t, &m->new_row, src->row, &n_unsent, e);
	}
	if (rc == GX_OK && n_unsent > 0) {
		rc = complete_row(src, t, m, &is_gone, e);
	}
	if (rc == GX_OK && t->is_stopped) {
		return GX_OK; /* the change stays unread, and so unreleased */
	}
	if (rc == GX_OK && !is_gone) {
		gx_src_pg_spoil(t, src->spoilt);
		rc = gx_host_row(t->host, src->row,
				 gx_slice(src->time, GX_TIME_LEN),
				 &src->new_out, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (has_old && (is_gone || !gx_slice_eq(src->old_out.line.key,
						src->new_out.line.key))) {
		queue_row(src, t, TODO_OLD, &src->old_out, idx, true);
	}
	if (!is_gone) {
		queue_row(src, t, TODO_NEW, &src->new_out, idx + 1, is_update);
	}
	return GX_OK;
}

static enum gx_rc
take_change(struct gx_src_pg *src, const struct gx_pgo_msg *m, struct gx_err *e)
{
	struct pg_table *t = find_relation(src, m->relation);
	bool has_old;
	uint64_t idx;
	enum gx_rc rc;

	if (!src->in_tx) {
		return GX_ERR(e, GX_FATAL, "source.protocol",
			      "a change outside a transaction");
	}
	if (t == NULL || t->is_stopped) {
		return GX_OK;
	}
	idx = touch(src, t);
	if (m->kind == GX_PGO_INSERT) {
		t->has_refilled = true;
	}
	if (all_know(src, t, idx + 1)) {
		return GX_OK;
	}
	if (m->kind != GX_PGO_DELETE) {
		return take_upsert(src, t, m, idx, e);
	}
	rc = take_old(src, t, m, &has_old, e);
	if (rc == GX_OK && has_old) {
		queue_row(src, t, TODO_OLD, &src->old_out, idx, true);
	}
	return rc;
}

static void
take_truncate(struct gx_src_pg *src, const struct gx_pgo_msg *m)
{
	uint32_t oid;

	for (size_t at = 0; gx_pgo_relation_next(m, &at, &oid);) {
		struct pg_table *t = find_relation(src, oid);
		uint64_t idx;

		if (t == NULL || t->is_stopped) {
			continue;
		}
		idx = touch(src, t);
		t->is_truncated = true;
		t->has_refilled = false;
		gx_log(GX_LOG_NOTICE, "source.truncated", "table=%s.%s", t->ns,
		       t->name);
		for (size_t k = 0; k < t->n_streams; k++) {
			if (!is_known(src, t->first_stream + k, idx)) {
				gx_src_pg_queue(src, TODO_START,
						t->first_stream + k, idx);
			}
		}
	}
}

static void
take_commit(struct gx_src_pg *src, const struct gx_pgo_msg *m)
{
	for (size_t i = 0; i < src->n_tables; i++) {
		struct pg_table *t = &src->tables[i];
		uint64_t idx = (t->n_msgs + 1) * 2;

		if (t->tx_lsn != src->tx_lsn || t->is_stopped ||
		    !t->is_truncated || !t->has_refilled) {
			continue;
		}
		for (size_t k = 0; k < t->n_streams; k++) {
			size_t s = t->first_stream + k;

			if (src->streams[s].pos.owes_end &&
			    !is_known(src, s, idx)) {
				gx_src_pg_queue(src, TODO_END, s, idx);
			}
		}
	}
	src->in_tx = false;
	if (src->idle_lsn < m->end_lsn) {
		src->idle_lsn = m->end_lsn;
	}
}

enum gx_rc
gx_src_pg_change(struct gx_src_pg *src, struct gx_slice data, struct gx_err *e)
{
	struct gx_pgo_msg m;
	const char *why = gx_pgo_parse(data, &m);

	if (why != NULL) {
		return GX_ERR(e, GX_FATAL, "source.protocol",
			      "the server sent %s: is it a PostgreSQL whose "
			      "pgoutput speaks version 1?",
			      why);
	}
	switch (m.kind) {
	case GX_PGO_BEGIN:
		src->in_tx = true;
		src->tx_lsn = m.lsn;
		gx_time_format(gx_pgo_time_ms(m.time_us), src->time);
		return GX_OK;
	case GX_PGO_COMMIT:
		take_commit(src, &m);
		return GX_OK;
	case GX_PGO_RELATION:
		return take_relation(src, &m, e);
	case GX_PGO_INSERT:
	case GX_PGO_UPDATE:
	case GX_PGO_DELETE:
		return take_change(src, &m, e);
	case GX_PGO_TRUNCATE:
		take_truncate(src, &m);
		return GX_OK;
	case GX_PGO_OTHER:
		return GX_OK;
	}
	return GX_OK;
}

/* ---- when nothing comes ---- */

/* After a TRUNCATE: has the table been quiet for long enough, and was
 * everything read that the server had by then? */
static bool
is_settled(struct gx_src_pg *src, struct pg_table *t)
{
	struct gx_err ignored;

	if (gx_mono_ms() - t->quiet_since_ms < src->reload_quiet_ms) {
		return false;
	}
	if (t->quiet_until_lsn == 0) {
		if (gx_src_pg_look(src, &ignored) != GX_OK) {
			return false; /* the next read will say why */
		}
		t->quiet_until_lsn = src->server_end;
	}
	return src->idle_lsn >= t->quiet_until_lsn;
}

static void
queue_owed_ends(struct gx_src_pg *src, struct pg_table *t)
{
	for (size_t k = 0; k < t->n_streams; k++) {
		struct pg_stream *st = &src->streams[t->first_stream + k];

		if (!st->pos.owes_end || t->is_stopped) {
			continue;
		}
		if (st->awaits_until ? src->idle_lsn >= st->pos.until
				     : is_settled(src, t)) {
			gx_src_pg_queue(src, TODO_END, t->first_stream + k, 0);
		}
	}
}

void
gx_src_pg_idle(struct gx_src_pg *src)
{
	if (src->in_tx || src->phase != PG_CHANGES) {
		return;
	}
	for (size_t i = 0; i < src->n_tables; i++) {
		queue_owed_ends(src, &src->tables[i]);
	}
	if (src->n_todo == 0 && src->idle_lsn > src->told_lsn &&
	    gx_mono_ms() - src->told_at_ms >= 1000) {
		gx_src_pg_queue(src, TODO_PROGRESS, 0, 0);
	}
}
