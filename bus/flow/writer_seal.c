/*
 * Writer, records into batches: lines gather in one open batch per stream,
 * are sealed with the position of the last of them, and sent in order.
 *
 * What could not pass is written into the quarantine before any batch that
 * stands behind it in the source is sent, so that no position ever passes a
 * record that is neither in the log nor set aside.
 *
 * A sealed batch that does not fit the producer's queue waits here, whole, and
 * is sent before anything else: its seq and hash are spent.  If we die, what
 * was sealed and not sent is forgotten together with its seqs; the next
 * take-over settles on what the log really holds.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "flow/writer_int.h"

/* Refused records are written down when so many bytes of them are kept: what
 * is left of their arena takes one more of any size. */
#define ASIDES_BYTES (8u << 20)

bool
gx_writer_is_full(const struct gx_writer *w)
{
	for (size_t i = 0; i < w->n_streams; i++) {
		const struct wstream *ws = &w->streams[i];

		if (ws->n_lines >= w->conf.max_lines ||
		    ws->body.n >= w->conf.max_bytes) {
			return true;
		}
	}
	return w->n_asides == ASIDES_MAX ||
	       gx_arena_used(w->aside_arena) > ASIDES_BYTES;
}

static bool
can_send(const struct gx_writer *w)
{
	return !w->is_waiting && w->n_unread < w->conf.max_unread;
}

bool
gx_writer_has_room(const struct gx_writer *w)
{
	return can_send(w) && !gx_writer_is_full(w);
}

static enum gx_rc
flush_asides(struct gx_writer *w, struct gx_err *e)
{
	enum gx_rc rc;

	if (w->n_asides == 0) {
		return GX_OK;
	}
	rc = w->store->ops->aside(w->store, w->asides, w->n_asides, &w->upto,
				  e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_metric_add(w->n_aside_total, (int64_t)w->n_asides);
	w->n_asides = 0;
	gx_arena_reset(w->aside_arena);
	gx_crash_point("writer.after_aside");
	return GX_OK;
}

enum gx_rc
gx_writer_send_waiting(struct gx_writer *w, struct gx_err *e)
{
	struct wstream *ws = &w->streams[w->waiting_stream];
	struct sent *s;
	enum gx_rc rc;

	if (!w->is_waiting) {
		return GX_OK;
	}
	rc = w->log->ops->append(w->out, ws->conf.partition,
				 gx_slice_str(ws->conf.stream),
				 gx_buf_view(&w->sealed), -1, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_crash_point("writer.after_send");
	w->is_waiting = false;
	s = &w->sent[(w->sent_at + w->n_unread) % w->conf.max_unread];
	s->stream = w->waiting_stream;
	s->next_seq = ws->chain.next_seq;
	w->n_unread++;
	w->n_sent++;
	gx_metric_add(w->n_bytes, (int64_t)w->sealed.n);
	return GX_OK;
}

enum gx_rc
gx_writer_seal(struct gx_writer *w, size_t i, struct gx_err *e)
{
	struct wstream *ws = &w->streams[i];
	struct gx_head h = {.kind = GX_MSG_BATCH};
	unsigned char hash[GX_HASH];
	char src[POS_MAX + GUARD_TEXT + 64];
	char guard[GUARD_TEXT], redrive[40] = "";
	char at[GX_TIME_LEN + 1];
	enum gx_rc rc = flush_asides(w, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_time_format(gx_now_ms(), at);
	gx_writer_guard_put(w, ws, guard);
	if (ws->redrive > 0) {
		snprintf(redrive, sizeof redrive, ",\"redrive\":%llu",
			 (unsigned long long)ws->redrive);
	}
	snprintf(src, sizeof src, "{\"source\":\"%.*s\"%s%s}", (int)ws->pos_n,
		 ws->pos, redrive, guard);
	h.stream = gx_slice_str(ws->conf.stream);
	h.partition = (uint32_t)ws->conf.partition;
	h.epoch = w->epoch;
	h.writer = w->id;
	h.first = ws->chain.next_seq;
	h.n = ws->n_lines;
	h.at = gx_slice_str(at);
	h.schema = gx_slice_str(ws->conf.schema_id);
	h.src = gx_slice_str(src);
	memcpy(h.prev, ws->chain.head, GX_HASH);
	rc = gx_seal_batch(w->sealer, &h, gx_buf_view(&ws->body), &w->sealed,
			   hash, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_metric_add(w->n_published, (int64_t)ws->n_lines);
	gx_chain_take_batch(&ws->chain, &h, hash);
	gx_buf_reset(&ws->body);
	ws->n_lines = 0;
	w->is_waiting = true;
	w->waiting_stream = i;
	gx_crash_point("writer.after_seal");
	return gx_writer_send_waiting(w, e);
}

/* Everything read so far is sealed: note how far that is. */
static void
push_check(struct gx_writer *w)
{
	struct check *c;

	if (!w->has_new_pos || w->is_blocked) {
		return;
	}
	if (w->n_checks == CHECKS_MAX) {
		w->n_checks--; /* the newest stands for the one before it */
	}
	c = &w->checks[(w->check_at + w->n_checks) % CHECKS_MAX];
	c->n_sent = w->n_sent;
	c->upto = w->upto;
	c->pos_n = w->last_pos_n;
	memcpy(c->pos, w->last_pos, w->last_pos_n);
	w->n_checks++;
	w->has_new_pos = false;
}

enum gx_rc
gx_writer_flush(struct gx_writer *w, struct gx_err *e)
{
	enum gx_rc rc = gx_writer_send_waiting(w, e);

	for (size_t i = 0; i < w->n_streams && rc == GX_OK; i++) {
		if (w->streams[i].n_lines == 0) {
			continue;
		}
		if (!can_send(w)) {
			return GX_AGAIN;
		}
		rc = gx_writer_seal(w, i, e);
	}
	if (rc == GX_OK) {
		rc = flush_asides(w, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	w->first_ms = 0;
	w->goes_at_once = false;
	push_check(w);
	return GX_OK;
}

/* ---- records ---- */

static struct gx_slice
keep(struct gx_writer *w, struct gx_slice s, bool *ok)
{
	char *p = gx_arena_dup(w->aside_arena, s.p, s.n);

	*ok = *ok && p != NULL;
	return gx_slice(p, p ? s.n : 0);
}

static bool
put_reasons(struct gx_buf *b, const struct gx_rec *rec)
{
	struct gx_jw j;

	gx_jw_init(&j, b);
	gx_jw_begin(&j, '[');
	for (size_t i = 0; i < rec->n_faults; i++) {
		gx_jw_begin(&j, '{');
		gx_jw_name(&j, "pointer");
		gx_jw_str(&j, rec->faults[i].pointer);
		gx_jw_name(&j, "keyword");
		gx_jw_str(&j, rec->faults[i].keyword);
		gx_jw_name(&j, "message");
		gx_jw_str(&j, rec->faults[i].message);
		gx_jw_end(&j, '}');
	}
	gx_jw_end(&j, ']');
	return !b->failed;
}

static enum gx_rc
put_aside(struct gx_writer *w, const struct gx_rec *rec, struct gx_err *e)
{
	const struct wstream *ws = &w->streams[rec->stream];
	struct gx_aside *as = &w->asides[w->n_asides];
	struct gx_buf reasons;
	bool ok;

	gx_buf_init(&reasons, 256u << 10);
	ok = put_reasons(&reasons, rec);
	as->stream = gx_slice_str(ws->conf.stream);
	as->seq = ws->chain.next_seq + ws->n_lines;
	as->epoch = w->epoch;
	as->pos = keep(w, rec->pos, &ok);
	as->key = keep(w, rec->line.key, &ok);
	as->time = keep(w, rec->line.time, &ok);
	as->original = keep(w, rec->original, &ok);
	as->record = keep(w, rec->record, &ok);
	as->reasons = keep(w, gx_buf_view(&reasons), &ok);
	gx_buf_free(&reasons);
	if (!ok) {
		return GX_ERR(e, GX_FATAL, "quarantine.memory",
			      "a refused record of %s does not fit the memory "
			      "set aside for them",
			      ws->conf.stream);
	}
	w->n_asides++;
	return GX_OK;
}

static void
note_pos(struct gx_writer *w, struct gx_slice pos)
{
	GX_ASSERT(pos.n < POS_MAX); /* the contract of sources */
	memcpy(w->last_pos, pos.p, pos.n);
	w->last_pos_n = pos.n;
	w->has_new_pos = true;
}

static enum gx_rc
put_line(struct gx_writer *w, const struct gx_rec *rec, struct gx_err *e)
{
	struct wstream *ws = &w->streams[rec->stream];
	int64_t now_ms = gx_mono_ms();

	if (!gx_line_put(&ws->body, &rec->line) ||
	    !gx_buf_putc(&ws->body, '\n')) {
		return GX_ERR(e, GX_FATAL, "writer.line",
			      "a line of %s is longer than a batch may be: "
			      "its adapter must set it aside",
			      ws->conf.stream);
	}
	ws->n_lines++;
	memcpy(ws->pos, rec->pos.p, rec->pos.n);
	ws->pos_n = rec->pos.n;
	if (w->first_ms == 0) {
		w->first_ms = now_ms;
		w->goes_at_once = now_ms - w->last_ms >= w->conf.linger_ms;
	}
	w->last_ms = now_ms;
	return GX_OK;
}

enum gx_rc
gx_writer_put(struct gx_writer *w, const struct gx_rec *rec, struct gx_err *e)
{
	struct wstream *ws;
	enum gx_rc rc = GX_OK;

	if (rec->is_progress) {
		note_pos(w, rec->pos);
		return GX_OK;
	}
	GX_ASSERT(rec->stream < w->n_streams);
	ws = &w->streams[rec->stream];
	if (ws->is_stopped) {
		return GX_OK;
	}
	gx_metric_add(w->n_read, 1);
	if (rec->is_change) {
		rc = gx_writer_guard(w, ws, e);
	}
	if (rc == GX_OK && rec->is_reject) {
		rc = put_aside(w, rec, e);
	}
	if (rc == GX_OK && !(rec->is_reject && rec->line.key.n == 0)) {
		rc = put_line(w, rec, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	note_pos(w, rec->pos);
	/* Room for one more line of any length stays in the buffer. */
	if (ws->n_lines >= w->conf.max_lines ||
	    ws->body.n >= w->conf.max_bytes) {
		return gx_writer_seal(w, rec->stream, e);
	}
	if (w->n_asides == ASIDES_MAX) {
		return flush_asides(w, e);
	}
	return GX_OK;
}
