/*
 * PostgreSQL source: the face that the writer sees.
 *
 * Life: take() connects, looks at server and tables, and holds the slot;
 * start() compares where the streams stand with where the slot stands, and
 * either goes on, begins with a full reading, or says why it cannot; read()
 * hands over one record after the other, first of full readings, then of
 * changes; release() lets the server forget; drop() closes all of it, and
 * take() may follow again.
 *
 * What to hand over next stands in a short queue (struct pg_todo): one message
 * of the server may mean two records, or an s for many streams.  The next
 * message is fetched only when the queue is empty, because all that is lent
 * to the caller lies in the message and in the host's buffers.
 *
 * What stays true if we die on any line: nothing is confirmed to the server
 * that release() was not told; a stream's position moves only with the record
 * that carries it.  Both ends are then compared anew by start().
 *
 * Whether start() may go on at all stands in src_pg_start.c.
 */
#include "flow/src_pg_int.h"

#include "base/log.h"
#include "base/text.h"

#define STATUS_MS 1000	   /* word to the server that we live */
#define LOOK_MS 5000	   /* look at the lag */
#define PUBLISHED_MS 60000 /* look at the publication */
#define SKIP_MS 20	   /* longest run over known changes in one read */

static const struct gx_source_ops src_pg_ops;

/* ---- made and freed ---- */

static void
drop_source(struct gx_source *s)
{
	struct gx_src_pg *src = src_pg_of(s);

	gx_pg_close(&src->snap);
	gx_src_pg_close_repl(src);
	gx_pg_close(&src->ctl);
	src->phase = PG_IDLE;
	src->is_copying = false;
	src->in_tx = false;
	src->n_todo = 0;
	src->todo_at = 0;
	src->own_pid = 0;
	src->n_fetched = 0;
	src->lag = -1;
}

static void
free_source(struct gx_source **s)
{
	struct gx_src_pg *src;

	if (*s == NULL) {
		return;
	}
	src = src_pg_of(*s);
	*s = NULL;
	drop_source(&src->base);
	for (size_t i = 0; i < src->n_tables; i++) {
		gx_host_free(&src->tables[i].host);
		gx_buf_free(&src->tables[i].seen_columns);
	}
	for (size_t i = 0; src->streams != NULL && i < src->n_streams; i++) {
		gx_buf_free(&src->streams[i].key);
	}
	if (src->conninfo.p != NULL) {
		gx_mem_wipe(src->conninfo.p, src->conninfo.cap);
	}
	gx_buf_free(&src->conninfo);
	gx_buf_free(&src->pos);
	gx_buf_free(&src->values);
	gx_buf_free(&src->fetched);
	gx_buf_free(&src->text);
	gx_buf_free(&src->old_text);
	gx_buf_free(&src->name);
	gx_iconv_free(&src->charset);
	gx_mem_free(src->todo);
	gx_mem_free(src->tables);
	gx_mem_free(src->streams);
	gx_arena_free(&src->conf);
	src->magic = 0;
	gx_mem_free(src);
}

enum gx_rc
gx_src_pg_new(const struct gx_source_conf *conf, struct gx_source **out,
	      struct gx_err *e)
{
	struct gx_src_pg *src = gx_mem_new(sizeof(*src));
	enum gx_rc rc;

	src->base.ops = &src_pg_ops;
	src->magic = SRC_PG_MAGIC;
	gx_buf_init(&src->pos, GX_PG_POS_MAX);
	gx_buf_init(&src->values, 32u << 20);
	gx_buf_init(&src->fetched, 1u << 20);
	gx_buf_init(&src->text, 64u << 20);
	gx_buf_init(&src->old_text, 64u << 20);
	gx_buf_init(&src->name, 4096);
	src->lag = -1;
	*out = &src->base;
	rc = gx_src_pg_read_conf(src, conf, e);
	if (rc != GX_OK) {
		free_source(out);
	}
	return rc;
}

static const char *
origin_of(const struct gx_source *s)
{
	return ((const struct gx_src_pg *)s)->origin;
}

static size_t
n_streams_of(const struct gx_source *s)
{
	return ((const struct gx_src_pg *)s)->n_streams;
}

static const char *
stream_of(const struct gx_source *s, size_t i)
{
	return ((const struct gx_src_pg *)s)->streams[i].name;
}

static const struct gx_resource *
resource_of(const struct gx_source *s, size_t i)
{
	const struct gx_src_pg *src = (const struct gx_src_pg *)s;

	return src->tables[src->streams[i].table].resource;
}

/* ---- shared with the other files ---- */

void
gx_src_pg_queue(struct gx_src_pg *src, enum pg_todo_kind kind, size_t stream,
		uint64_t idx)
{
	if (src->n_todo == src->todo_max) {
		size_t max = src->todo_max * 2 + 16;
		struct pg_todo *todo =
			gx_mem_grow(src->todo, max, sizeof(*todo));

		GX_ASSERT(todo != NULL); /* at most a few for each stream */
		src->todo = todo;
		src->todo_max = max;
	}
	src->todo[src->n_todo++] = (struct pg_todo){kind, stream, idx, false};
}

struct gx_slice
gx_src_pg_pos_text(struct gx_src_pg *src, const struct gx_pg_pos *pos)
{
	gx_buf_reset(&src->pos);
	(void)gx_pg_pos_put(&src->pos, &src->place, pos);
	return gx_buf_view(&src->pos);
}

size_t
gx_src_pg_shard(const struct pg_table *t, struct gx_slice key)
{
	uint64_t h = 14695981039346656037u; /* FNV-1a */

	if (t->n_streams == 1) {
		return 0;
	}
	for (size_t i = 0; i < key.n; i++) {
		h = (h ^ (unsigned char)key.p[i]) * 1099511628211u;
	}
	return (size_t)((h ^ h >> 32) % t->n_streams);
}

void
gx_src_pg_stop_table(struct gx_src_pg *src, struct pg_table *t,
		     const struct gx_err *e)
{
	if (t->is_stopped) {
		return;
	}
	t->is_stopped = true;
	t->stop = *e;
	for (size_t k = 0; k < t->n_streams; k++) {
		gx_src_pg_queue(src, TODO_STOP, t->first_stream + k, 0);
	}
}

/* ---- take ---- */

static enum gx_rc
take_source(struct gx_source *s, struct gx_err *e)
{
	struct gx_src_pg *src = src_pg_of(s);
	enum gx_rc rc;

	drop_source(s);
	for (size_t i = 0; i < src->n_tables; i++) {
		struct pg_table *t = &src->tables[i];

		t->is_stopped = false;
		t->oid = 0;
		t->tx_lsn = 0;
		t->quiet_since_ms = gx_mono_ms();
		t->quiet_until_lsn = 0;
		memset(t->read_holds, 0, sizeof(t->read_holds));
	}
	rc = gx_src_pg_take_slot(src, e);
	if (rc == GX_OK) {
		src->phase = PG_TAKEN;
	} else {
		drop_source(s);
	}
	return rc;
}

/* ---- read ---- */

/* Tell the server that we live, and look at the lag now and then. */
static enum gx_rc
tend(struct gx_src_pg *src, struct gx_err *e)
{
	int64_t now_ms = gx_mono_ms();
	enum gx_rc rc = GX_OK;

	if (src->is_streaming && now_ms - src->confirmed_at_ms >= STATUS_MS) {
		src->confirmed_at_ms = now_ms;
		rc = gx_pg_repl_confirm(src->repl, src->released_lsn, e);
		if (rc != GX_OK) {
			return gx_src_pg_lost(src, e);
		}
	}
	if (now_ms - src->looked_at_ms >= LOOK_MS) {
		rc = gx_src_pg_look(src, e);
	}
	if (rc == GX_OK && src->is_streaming &&
	    now_ms - src->published_at_ms >= PUBLISHED_MS) {
		rc = gx_src_pg_look_published(src, e);
	}
	return rc;
}

/* Also when nothing is taken: a slot that stands still keeps WAL all the same.
 * What is away is for take() and read() to report. */
static enum gx_rc
tend_source(struct gx_source *s, struct gx_err *e)
{
	struct gx_src_pg *src = src_pg_of(s);
	struct gx_err away = {0};
	enum gx_rc rc;

	if (src->ctl == NULL || !gx_pg_alive(src->ctl)) {
		if (gx_mono_ms() - src->looked_at_ms < LOOK_MS) {
			return GX_OK;
		}
		src->looked_at_ms = gx_mono_ms();
		if (gx_src_pg_open_ctl(src, &away) != GX_OK) {
			return GX_OK;
		}
		src->looked_at_ms = 0;
	}
	rc = tend(src, &away);
	if (rc == GX_FATAL || rc == GX_FENCED) {
		*e = away;
		return rc;
	}
	return GX_OK;
}

static void
put_mark(struct gx_src_pg *src, struct gx_rec *rec, enum gx_op op)
{
	if (src->phase == PG_READING || !src->in_tx) {
		gx_time_format(gx_now_ms(), src->time);
	}
	rec->line.op = op;
	rec->line.time = gx_slice(src->time, GX_TIME_LEN);
}

static void
give_start(struct gx_src_pg *src, const struct pg_todo *todo,
	   struct gx_rec *rec)
{
	struct pg_stream *st = &src->streams[todo->stream];

	if (src->phase == PG_CHANGES) { /* TRUNCATE */
		st->pos.lsn = src->tx_lsn;
		st->pos.idx = todo->idx;
		st->pos.owes_end = true;
		st->awaits_until = false;
	}
	st->has_begun = true;
	put_mark(src, rec, GX_OP_START);
	rec->pos = gx_src_pg_pos_text(src, &st->pos);
}

static void
give_end(struct gx_src_pg *src, const struct pg_todo *todo, struct gx_rec *rec)
{
	struct pg_stream *st = &src->streams[todo->stream];

	if (todo->idx > 0) { /* with the commit */
		st->pos.lsn = src->tx_lsn;
		st->pos.idx = todo->idx;
	} else if (src->phase == PG_CHANGES && src->idle_lsn > st->pos.lsn) {
		st->pos.lsn = src->idle_lsn; /* everything before is done */
		st->pos.idx = 0;
	}
	st->pos.owes_end = false;
	st->awaits_until = false;
	put_mark(src, rec, GX_OP_END_READING);
	rec->pos = gx_src_pg_pos_text(src, &st->pos);
}

static void
give_row(struct gx_src_pg *src, const struct pg_todo *todo,
	 const struct gx_host_out *out, struct gx_rec *rec)
{
	struct pg_stream *st = &src->streams[todo->stream];

	st->pos.lsn = src->tx_lsn;
	st->pos.idx = todo->idx;
	rec->line = out->line;
	rec->is_reject = out->is_reject;
	rec->faults = out->faults;
	rec->n_faults = out->n_faults;
	rec->original = out->original;
	rec->record = out->record;
	rec->is_change = todo->is_change;
	rec->pos = gx_src_pg_pos_text(src, &st->pos);
}

static void
give_progress(struct gx_src_pg *src, struct gx_rec *rec)
{
	struct gx_pg_pos pos = {.lsn = src->idle_lsn};

	rec->is_progress = true;
	rec->pos = gx_src_pg_pos_text(src, &pos);
	src->told_lsn = src->idle_lsn;
	src->told_at_ms = gx_mono_ms();
}

static enum gx_rc
give(struct gx_src_pg *src, struct gx_rec *rec, struct gx_err *e)
{
	const struct pg_todo *todo = &src->todo[src->todo_at++];

	memset(rec, 0, sizeof(*rec));
	rec->stream = todo->stream;
	switch (todo->kind) {
	case TODO_START:
		give_start(src, todo, rec);
		return GX_OK;
	case TODO_END:
		give_end(src, todo, rec);
		return GX_OK;
	case TODO_OLD:
		give_row(src, todo, &src->old_out, rec);
		return GX_OK;
	case TODO_NEW:
		give_row(src, todo, &src->new_out, rec);
		return GX_OK;
	case TODO_PROGRESS:
		give_progress(src, rec);
		return GX_OK;
	case TODO_STOP:
		*e = src->tables[src->streams[todo->stream].table].stop;
		return GX_REJECT;
	}
	return GX_OK;
}

/* One message of the server, if there is one within wait_ms. */
static enum gx_rc
take_message(struct gx_src_pg *src, int wait_ms, struct gx_err *e)
{
	struct gx_repl_msg m;
	struct gx_err err = {0};
	enum gx_rc rc = gx_pg_repl_next(src->repl, wait_ms, &m, &err);

	if (rc == GX_AGAIN) {
		return GX_AGAIN;
	}
	if (rc != GX_OK) {
		*e = err;
		return gx_src_pg_lost(src, e);
	}
	if (!m.is_keepalive) {
		return gx_src_pg_change(src, m.data, e);
	}
	if (!src->in_tx && m.wal_end > src->idle_lsn) {
		src->idle_lsn = m.wal_end;
	}
	if (m.reply_wanted) {
		src->confirmed_at_ms = 0; /* tend() answers at once */
	}
	return GX_OK;
}

static enum gx_rc
read_change(struct gx_src_pg *src, int timeout_ms, struct gx_rec *rec,
	    struct gx_err *e)
{
	int64_t began_ms = gx_mono_ms();

	if (!src->is_streaming) { /* every table is stopped: no slot */
		return GX_ERR(e, GX_ABORT, "source.not_taken",
			      "no declared table can be read");
	}
	for (;;) {
		int64_t spent_ms = gx_mono_ms() - began_ms;
		int wait_ms =
			spent_ms < timeout_ms ? timeout_ms - (int)spent_ms : 0;
		/* Word to the server is due every second, waiting or not. */
		enum gx_rc rc = take_message(
			src, wait_ms < STATUS_MS ? wait_ms : STATUS_MS, e);

		if (rc != GX_OK && rc != GX_AGAIN) {
			return rc;
		}
		if (rc == GX_AGAIN || src->n_todo == 0) {
			gx_src_pg_idle(src);
		}
		if (src->n_todo > 0) {
			return give(src, rec, e);
		}
		spent_ms = gx_mono_ms() - began_ms;
		if (spent_ms >= timeout_ms &&
		    (rc == GX_AGAIN || spent_ms >= SKIP_MS)) {
			return GX_AGAIN;
		}
		rc = tend(src, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
}

static enum gx_rc
read_source(struct gx_source *s, int timeout_ms, struct gx_rec *rec,
	    struct gx_err *e)
{
	struct gx_src_pg *src = src_pg_of(s);
	enum gx_rc rc;

	memset(rec, 0, sizeof(*rec));
	for (;;) {
		bool has_rec = false;

		if (src->todo_at < src->n_todo) {
			return give(src, rec, e);
		}
		src->n_todo = 0;
		src->todo_at = 0;
		rc = tend(src, e);
		if (rc != GX_OK) {
			return rc;
		}
		if (src->n_todo > 0) {
			continue; /* a table left the publication */
		}
		if (src->phase == PG_CHANGES) {
			return read_change(src, timeout_ms, rec, e);
		}
		if (src->phase == PG_IDLE || src->phase == PG_TAKEN) {
			return GX_ERR(e, GX_ABORT, "source.not_taken",
				      "the source is not taken");
		}
		rc = src->phase == PG_MAKING
			     ? gx_src_pg_await_slot(src, timeout_ms, e)
			     : gx_src_pg_read_on(src, timeout_ms, rec, &has_rec,
						 e);
		if (rc != GX_OK || has_rec) {
			return rc;
		}
	}
}

/* ---- release ---- */

static enum gx_rc
release_source(struct gx_source *s, struct gx_slice text, struct gx_err *e)
{
	struct gx_src_pg *src = src_pg_of(s);
	struct gx_pg_place place;
	struct gx_pg_pos pos;
	enum gx_rc rc = gx_src_pg_parse_pos(text, &place, &pos, e);

	if (rc != GX_OK || !src->is_streaming ||
	    !gx_pg_place_eq(&place, &src->place) ||
	    place.born != src->place.born) {
		return rc;
	}
	/* A reading confirms nothing: the changes since it began are unread. */
	if (pos.is_reading || pos.lsn <= src->released_lsn) {
		return GX_OK;
	}
	src->released_lsn = pos.lsn;
	src->confirmed_at_ms = gx_mono_ms();
	rc = gx_pg_repl_confirm(src->repl, pos.lsn, e);
	return rc == GX_OK ? GX_OK : gx_src_pg_lost(src, e);
}

static int64_t
lag_of_source(struct gx_source *s)
{
	struct gx_src_pg *src = src_pg_of(s);

	return src->lag;
}

static const struct gx_source_ops src_pg_ops = {
	.origin = origin_of,
	.n_streams = n_streams_of,
	.stream = stream_of,
	.resource = resource_of,
	.take = take_source,
	.start = gx_src_pg_start,
	.read = read_source,
	.tend = tend_source,
	.release = release_source,
	.drop = drop_source,
	.lag_bytes = lag_of_source,
	.free = free_source,
};
