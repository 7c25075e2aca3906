/*
 * Writer, its life: from a source into this node's log.
 *
 * Opening claims the streams (writer_settle.c); stepping settles them, then
 * reads the source, seals and sends (writer_seal.c), looks at what the node's
 * own reader has taken, and releases the source up to there.
 *
 * Two numbers keep it bounded: at most max_unread batches are on their way
 * (sent and not yet read back), and the source is not read while the queue of
 * the producer is full.  A broker's acknowledgement is used for neither.
 *
 * A release is written to the store before the source is told, and only for a
 * checkpoint: a moment when everything read so far was sealed or set aside.
 * The batches before it must all be read back under our own epoch.
 *
 * Every doubt of the producer, a lost source and a higher owner end the same
 * way: close, claim again.  If we die on any line the next writer does that.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/writer_int.h"

#define WRITER_MAGIC 0x77726974u
#define BURST 4000 /* records read in one step */
#define UNREAD_MS 60000

static void
copy_conf(struct gx_writer *w, const struct gx_writer_conf *c)
{
	w->conf = *c;
	snprintf(w->flow, sizeof w->flow, "%s", c->flow);
	snprintf(w->origin, sizeof w->origin, "%s", c->origin);
	snprintf(w->topic, sizeof w->topic, "%s", c->topic);
	w->n_streams = c->n_streams;
	w->streams = gx_mem_new(c->n_streams * sizeof *w->streams);
	w->rows = gx_mem_new(c->n_streams * sizeof *w->rows);
	w->names = gx_mem_new(c->n_streams * sizeof *w->names);
	w->lanes = gx_mem_new(c->n_streams * sizeof *w->lanes);
	for (size_t i = 0; i < c->n_streams; i++) {
		struct wstream *ws = &w->streams[i];
		size_t k = 0;

		ws->conf.stream = gx_mem_strdup(c->streams[i].stream);
		ws->conf.schema_id = gx_mem_strdup(c->streams[i].schema_id);
		ws->conf.partition = c->streams[i].partition;
		gx_buf_init(&ws->body, c->max_bytes + GX_LINE_MAX + 1);
		w->names[i] = ws->conf.stream;
		while (k < w->n_lanes &&
		       w->lanes[k].partition != ws->conf.partition) {
			k++;
		}
		if (k == w->n_lanes) {
			w->lanes[w->n_lanes++].partition = ws->conf.partition;
		}
	}
}

static void
make_series(struct gx_writer *w)
{
	const char *values[2] = {w->flow, NULL};

	w->n_read = gx_metric(GX_M_RECORDS_READ, values);
	w->n_published = gx_metric(GX_M_RECORDS_PUBLISHED, values);
	w->n_aside_total = gx_metric(GX_M_RECORDS_QUARANTINED, values);
	w->n_bytes = gx_metric(GX_M_BYTES, values);
	w->n_takeovers = gx_metric(GX_M_TAKEOVERS, values);
	w->lag = gx_metric(GX_M_SOURCE_LAG, values);
	w->n_stopped = gx_metric(GX_M_STREAMS_STOPPED, values);
}

enum gx_rc
gx_writer_new(const struct gx_writer_conf *conf, struct gx_log *log,
	      struct gx_store *store, struct gx_sealer *sealer,
	      struct gx_verifier *verifier, struct gx_source **src,
	      struct gx_writer **out, struct gx_err *e)
{
	struct gx_writer *w;

	if (conf->n_streams == 0 || conf->max_unread == 0) {
		return GX_ERR(e, GX_FATAL, "writer.streams",
			      "flow %s has no stream to write", conf->flow);
	}
	w = gx_mem_new(sizeof *w);
	w->magic = WRITER_MAGIC;
	copy_conf(w, conf);
	make_series(w);
	w->log = log;
	w->store = store;
	w->sealer = sealer;
	w->verifier = verifier;
	w->src = *src;
	*src = NULL;
	w->sent = gx_mem_new(conf->max_unread * sizeof *w->sent);
	w->checks = gx_mem_new(CHECKS_MAX * sizeof *w->checks);
	w->aside_arena = gx_arena_new(16u << 20);
	gx_buf_init(&w->sealed, GX_BATCH_MAX);
	*out = w;
	return GX_OK;
}

static void
close_writer(void *flow)
{
	struct gx_writer *w = flow;

	if (w->in) {
		w->log->ops->close_in(&w->in);
	}
	if (w->out) {
		w->log->ops->close_out(&w->out);
	}
	if (w->has_source) {
		w->src->ops->drop(w->src);
		w->has_source = false;
	}
	for (size_t i = 0; i < w->n_streams; i++) {
		gx_buf_reset(&w->streams[i].body);
		w->streams[i].n_lines = 0;
		w->streams[i].is_stopped = false;
		w->streams[i].is_left_out = false;
		w->streams[i].is_ahead = false;
		gx_mem_free(w->streams[i].folded);
		w->streams[i].folded = NULL;
		w->streams[i].n_folded = 0;
	}
	w->is_waiting = false;
	w->n_unread = 0;
	w->n_sent = 0;
	w->n_taken = 0;
	w->n_checks = 0;
	w->n_asides = 0;
	w->first_ms = 0;
	w->last_pos_n = 0;
	w->has_new_pos = false;
	w->is_blocked = false;
	w->wants_redrive = false;
	gx_arena_reset(w->aside_arena);
}

static enum gx_rc
open_writer(void *flow, struct gx_err *e)
{
	struct gx_writer *w = flow;

	GX_ASSERT(w->magic == WRITER_MAGIC);
	return gx_writer_claim(w, e);
}

/* ---- reading back ---- */

static bool
is_taken(const struct gx_writer *w, const struct sent *s)
{
	const struct gx_chain *c = &w->rows[s->stream].chain;

	return c->epoch == w->epoch && c->writer == w->id &&
	       c->next_seq >= s->next_seq;
}

/* Has the reader passed our marker everywhere?  Until then it may not have
 * read what former writers left before it, which we found settled only. */
bool
gx_writer_is_owner_read(const struct gx_writer *w)
{
	for (size_t i = 0; i < w->n_streams; i++) {
		const struct gx_chain *c = &w->rows[i].chain;

		if (!w->streams[i].is_left_out &&
		    (c->epoch != w->epoch || c->writer != w->id)) {
			return false;
		}
	}
	return true;
}

/* What has the node's own reader taken?  A higher owner: we are fenced. */
static enum gx_rc
look(struct gx_writer *w, struct gx_err *e)
{
	int64_t now_ms = gx_mono_ms();
	enum gx_rc rc;

	if (now_ms < w->look_at_ms) {
		return GX_OK;
	}
	w->look_at_ms = now_ms + w->conf.look_ms;
	rc = w->store->ops->look(w->store, w->names, w->n_streams, w->rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	for (size_t i = 0; i < w->n_streams; i++) {
		const struct gx_chain *c = &w->rows[i].chain;

		if (w->streams[i].is_left_out && w->rows[i].is_stopped) {
			w->streams[i].is_ahead = false;
			continue;
		}
		if (w->streams[i].is_ahead) {
			continue; /* the reader will meet it, or a person */
		}
		if (w->streams[i].is_left_out) {
			return GX_ERR(e, GX_ABORT, "writer.stream_mended",
				      "%s goes on at this node: claiming it "
				      "with its neighbours",
				      w->names[i]);
		}
		if (c->epoch > w->epoch ||
		    (c->epoch == w->epoch && c->writer != w->id)) {
			return GX_ERR(e, GX_FENCED, "writer.fenced",
				      "another writer owns %s now",
				      w->names[i]);
		}
		if (w->rows[i].is_stopped) {
			return GX_ERR(e, GX_ABORT, "writer.stream_stopped",
				      "%s stands still at this node: see "
				      "gxbus stream show",
				      w->names[i]);
		}
	}
	while (w->n_unread > 0 && is_taken(w, &w->sent[w->sent_at])) {
		w->sent_at = (w->sent_at + 1) % w->conf.max_unread;
		w->n_unread--;
		w->n_taken++;
		w->unread_ms = now_ms;
	}
	if (w->n_unread == 0 && gx_writer_is_owner_read(w)) {
		w->unread_ms = now_ms;
	}
	return GX_OK;
}

/* Nothing of ours is read back any more: wait, but not in silence. */
static enum gx_rc
check_unread(const struct gx_writer *w, struct gx_err *e)
{
	if (gx_mono_ms() - w->unread_ms < UNREAD_MS) {
		return GX_AGAIN;
	}
	return GX_ERR(e, GX_AGAIN, "writer.unread",
		      "this node's reader has taken nothing of %s for %d s: "
		      "see its flow; if that runs, the log lost its end: "
		      "restart this flow",
		      w->origin, UNREAD_MS / 1000);
}

static enum gx_rc
release(struct gx_writer *w, struct gx_err *e)
{
	const struct check *best = NULL;
	int64_t now_ms = gx_mono_ms();
	struct gx_slice pos;
	enum gx_rc rc;

	if (now_ms < w->release_at_ms || !gx_writer_is_owner_read(w)) {
		return GX_OK;
	}
	while (w->n_checks > 0 && w->checks[w->check_at].n_sent <= w->n_taken) {
		best = &w->checks[w->check_at];
		w->check_at = (w->check_at + 1) % CHECKS_MAX;
		w->n_checks--;
	}
	if (!best) {
		return GX_OK;
	}
	w->release_at_ms = now_ms + w->conf.release_ms;
	pos = gx_slice(best->pos, best->pos_n);
	gx_crash_point("writer.before_release");
	rc = w->store->ops->release(w->store, w->origin, pos, best->upto,
				    w->epoch, e);
	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	gx_crash_point("writer.after_release");
	return w->src->ops->release(w->src, pos, e);
}

/* ---- running ---- */

/* The source cannot go on with one stream; its neighbours do. */
static enum gx_rc
stop_stream(struct gx_writer *w, size_t i, struct gx_err *e)
{
	struct wstream *ws = &w->streams[i];
	size_t n_stopped = 0;

	ws->is_stopped = true;
	snprintf(ws->why, sizeof ws->why, "%s", e && e->code ? e->code : "");
	w->is_blocked = true;
	for (size_t k = 0; k < w->n_streams; k++) {
		n_stopped += w->streams[k].is_stopped;
	}
	gx_metric_set(w->n_stopped, (double)n_stopped);
	if (n_stopped == w->n_streams) {
		return GX_FATAL;
	}
	gx_log_err(GX_LOG_ERROR, e);
	if (e) {
		e->code = NULL; /* told: the flow waits for nothing */
	}
	return GX_OK;
}

static int
read_wait_ms(const struct gx_writer *w, int timeout_ms)
{
	int64_t now_ms = gx_mono_ms();
	int64_t wait = w->look_at_ms - now_ms;

	if (w->first_ms != 0) {
		int64_t left = w->conf.linger_ms - (now_ms - w->first_ms);

		wait = left < wait ? left : wait;
	}
	wait = wait < timeout_ms ? wait : timeout_ms;
	return wait < 0 ? 0 : (int)wait;
}

static bool
is_flush_due(const struct gx_writer *w)
{
	if (w->first_ms == 0) {
		return w->has_new_pos || w->n_asides > 0;
	}
	return w->goes_at_once || gx_writer_is_full(w) ||
	       gx_mono_ms() - w->first_ms >= w->conf.linger_ms;
}

/* Read until there is nothing, no room, or the burst is over. */
static enum gx_rc
read_source(struct gx_writer *w, int timeout_ms, bool *did, struct gx_err *e)
{
	struct gx_rec rec;
	int wait = 0;

	for (int i = 0; i < BURST && gx_writer_has_room(w); i++) {
		enum gx_rc rc;

		memset(&rec, 0, sizeof rec);
		rc = w->src->ops->read(w->src, wait, &rec, e);
		if (rc == GX_AGAIN && e && e->code) {
			return rc;
		}
		if (rc == GX_AGAIN) {
			if (*did || wait > 0 || is_flush_due(w)) {
				return GX_OK;
			}
			wait = read_wait_ms(w, timeout_ms);
			if (wait == 0) {
				return GX_OK;
			}
			continue;
		}
		if (rc == GX_REJECT) {
			rc = stop_stream(w, rec.stream, e);
		} else if (rc == GX_OK) {
			rc = gx_writer_put(w, &rec, e);
		}
		if (rc != GX_OK) {
			return rc;
		}
		*did = true;
		wait = 0;
		if (w->first_ms != 0 && !w->goes_at_once && is_flush_due(w)) {
			return GX_OK;
		}
	}
	return GX_OK;
}

static enum gx_rc
run_writer(struct gx_writer *w, int timeout_ms, struct gx_err *e)
{
	size_t n_in_flight;
	bool did = false, holds = false;
	enum gx_rc rc = w->log->ops->poll_out(
		w->out, gx_writer_has_room(w) ? 0 : 5, &n_in_flight, e);

	if (rc != GX_OK && rc != GX_AGAIN) {
		return rc;
	}
	if (e) {
		e->code = NULL;
	}
	rc = look(w, e);
	if (rc == GX_OK) {
		rc = release(w, e);
	}
	if (rc == GX_OK) {
		rc = gx_writer_send_waiting(w, e);
	}
	if (rc == GX_OK) {
		rc = gx_writer_redrive(w, &holds, e);
	}
	if (rc == GX_OK && !holds) {
		rc = read_source(w, timeout_ms, &did, e);
	}
	if (rc == GX_OK && is_flush_due(w)) {
		rc = gx_writer_flush(w, e);
	}
	return rc == GX_OK && !did ? check_unread(w, e) : rc;
}

static enum gx_rc
tend_writer(void *flow, struct gx_err *e)
{
	struct gx_writer *w = flow;
	enum gx_rc rc = w->src->ops->tend(w->src, e);

	gx_metric_set(w->lag, (double)w->src->ops->lag_bytes(w->src));
	return rc;
}

static enum gx_rc
step_writer(void *flow, int timeout_ms, struct gx_err *e)
{
	struct gx_writer *w = flow;
	/* Even while all the rest stands still. */
	enum gx_rc rc = tend_writer(w, e);

	if (rc != GX_OK) {
		return rc;
	}
	switch (w->phase) {
	case WR_PAUSE:
		if (gx_mono_ms() < w->pause_until_ms) {
			return GX_AGAIN;
		}
		return GX_ERR(e, GX_ABORT, "writer.outbid",
			      "another writer claimed %s at the same time: "
			      "claiming again, higher",
			      w->origin);
	case WR_SETTLE:
		rc = gx_writer_settle(w, timeout_ms, e);
		if (rc == GX_AGAIN && e && e->code &&
		    strncmp(e->code, "log.", 4) == 0) {
			e->code = NULL; /* nothing to read within the time */
		}
		return rc;
	case WR_RUN:
		return run_writer(w, timeout_ms, e);
	}
	return GX_OK;
}

/* ---- for people ---- */

static const char *
phase_name(enum writer_phase p)
{
	static const char *const name[] = {"outbid", "settling", "running"};

	return name[p];
}

static void
status_writer(void *flow, struct gx_jw *j)
{
	struct gx_writer *w = flow;

	gx_jw_kv_str(j, "phase", phase_name(w->phase));
	gx_jw_name(j, "epoch");
	gx_jw_u64(j, w->epoch);
	gx_jw_kv_int(j, "unread_batches", (int64_t)w->n_unread);
	gx_jw_kv_int(j, "records_read", (int64_t)gx_metric_get(w->n_read));
	gx_jw_kv_int(j, "records_quarantined",
		     (int64_t)gx_metric_get(w->n_aside_total));
	gx_jw_kv_int(j, "source_lag_bytes", (int64_t)gx_metric_get(w->lag));
	gx_jw_name(j, "streams");
	gx_jw_begin(j, '[');
	for (size_t i = 0; i < w->n_streams; i++) {
		const struct wstream *ws = &w->streams[i];

		gx_jw_begin(j, '{');
		gx_jw_kv_str(j, "stream", ws->conf.stream);
		gx_jw_kv_int(j, "partition", ws->conf.partition);
		gx_jw_kv_int(j, "next_seq", (int64_t)ws->chain.next_seq);
		gx_jw_kv_bool(j, "stopped", ws->is_stopped);
		gx_jw_kv_str(j, "why", ws->is_stopped ? ws->why : "");
		gx_jw_end(j, '}');
	}
	gx_jw_end(j, ']');
}

static void
accept_writer(void *flow)
{
	gx_writer_guard_accept(flow);
}

static void
free_string(const char **s)
{
	char *p;

	memcpy(&p, s, sizeof p); /* we made it; const was for the others */
	gx_mem_free(p);
	*s = NULL;
}

static void
free_writer(void **flow)
{
	struct gx_writer *w = *flow;

	if (!w) {
		return;
	}
	close_writer(w);
	w->src->ops->free(&w->src);
	for (size_t i = 0; i < w->n_streams; i++) {
		free_string(&w->streams[i].conf.stream);
		free_string(&w->streams[i].conf.schema_id);
		gx_buf_free(&w->streams[i].body);
	}
	gx_mem_free(w->streams);
	gx_mem_free(w->rows);
	gx_mem_free(w->names);
	gx_mem_free(w->lanes);
	gx_mem_free(w->sent);
	gx_mem_free(w->checks);
	gx_arena_free(&w->aside_arena);
	gx_buf_free(&w->sealed);
	w->magic = 0;
	gx_mem_free(w);
	*flow = NULL;
}

const struct gx_flow_ops gx_writer_ops = {
	.kind = "source",
	.open = open_writer,
	.step = step_writer,
	.close = close_writer,
	.tend = tend_writer,
	.status = status_writer,
	.accept = accept_writer,
	.free = free_writer,
};
