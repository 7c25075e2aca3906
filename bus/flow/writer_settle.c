/*
 * Writer, the take-over: who owns the streams, and where do they stand?
 *
 * First the source is ours, so that whoever had it can no longer release it.
 * Then a marker with a higher epoch goes into every partition concerned, and
 * each is read from where our reader stands to that marker.  What is before is
 * settled: readers will take exactly this, and whatever the former writer
 * still sends stands behind our marker and is void.  Only when all partitions
 * are settled does the source begin to be read.
 *
 * A marker of the same or a higher epoch before our own means that another
 * writer outbid us: we begin again, higher, in all partitions, after a random
 * pause.  A writer that had owned the streams before and finds them with
 * another, higher owner has been replaced, and ends: otherwise two would take
 * the source from each other for ever.
 *
 * A stream that stands still at this node (a fork, a schema not known here), or
 * whose partition lost what was taken, or that the log does not settle, is left
 * out: not read, and nothing of the source is released while it stands.  Its
 * neighbours go on.  When it is mended all is claimed anew.
 *
 * If we die on any line there is a marker more in the log, at most.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/writer_int.h"

#define SETTLE_MS 60000
#define PAUSE_MAX_MS 200

static struct wstream *
find_stream(struct gx_writer *w, struct gx_slice name)
{
	for (size_t i = 0; i < w->n_streams; i++) {
		if (gx_slice_eq(name,
				gx_slice_str(w->streams[i].conf.stream))) {
			return &w->streams[i];
		}
	}
	return NULL;
}

struct load {
	struct gx_writer *w;
	size_t n_met;
	int32_t partition;
	const char *stopped; /* a stream of ours that stands still */
	size_t n_stopped;
	bool is_behind;	   /* one that will be level in a moment */
	const char *moved; /* one whose row names another partition */
	bool is_deposed;
};

static void
load_row(void *ctx, const struct gx_stream_row *row)
{
	struct load *ld = ctx;
	struct gx_writer *w = ld->w;
	struct wstream *ws = find_stream(w, gx_slice_str(row->stream));

	if (!ws) {
		return;
	}
	ld->n_met++;
	if (ws->conf.partition != ld->partition) {
		ld->moved = ws->conf.stream;
	}
	ws->chain = row->chain;
	ws->n_folded = 0;
	ws->is_stopped = ws->is_left_out = row->is_stopped;
	ws->is_ahead = false;
	if (row->is_stopped) {
		ld->stopped = ws->conf.stream;
		ld->n_stopped++;
		ld->is_behind |= strcmp(row->why, "stream.behind") == 0;
		snprintf(ws->why, sizeof ws->why, "%s", row->why);
	}
	/* One that only outbid us is answered with a higher claim. */
	if (w->has_owned && row->chain.epoch > w->highest_seen &&
	    row->chain.writer != w->id) {
		ld->is_deposed = true;
	}
	if (row->chain.epoch > w->highest_seen) {
		w->highest_seen = row->chain.epoch;
	}
}

/* Load the states of all streams; the reader's offset goes into each lane.
 * A foreign stream that stands still lower is no affair of ours, and if one of
 * ours does, we wait: what the rows say is all that stands below. */
static enum gx_rc
load_lanes(struct gx_writer *w, struct gx_err *e)
{
	struct load ld = {.w = w};

	for (size_t i = 0; i < w->n_lanes; i++) {
		struct wlane *la = &w->lanes[i];
		enum gx_rc rc;

		ld.partition = la->partition;
		rc = w->store->ops->load(w->store, w->topic, la->partition,
					 &la->from, load_row, &ld, e);
		if (rc != GX_OK) {
			return rc;
		}
		la->is_settled = false;
	}
	if (ld.moved) {
		return GX_ERR(e, GX_FATAL, "stream.moved",
			      "%s was begun in another partition than it is "
			      "set up for now: correct the flow",
			      ld.moved);
	}
	if (ld.n_met != w->n_streams) {
		return GX_ERR(e, GX_FATAL, "stream.undeclared",
			      "only %zu of %zu streams of %s are declared at "
			      "this node: a row is missing, it was restored or "
			      "its table was edited",
			      ld.n_met, w->n_streams, w->origin);
	}
	if (ld.is_deposed) {
		w->has_owned = false; /* a restart may take it back */
		return GX_ERR(e, GX_FATAL, "writer.deposed",
			      "another writer has taken %s over: this one "
			      "ends; restart the flow here to take it back",
			      w->origin);
	}
	if (ld.n_stopped == w->n_streams || ld.is_behind) {
		return GX_ERR(e, GX_AGAIN, "writer.stream_stopped",
			      "%s stands still at this node: see gxbus stream "
			      "show",
			      ld.stopped);
	}
	w->is_blocked = ld.n_stopped > 0; /* its records are still owed */
	return GX_OK;
}

static bool
is_wanted(const struct gx_writer *w, int32_t partition)
{
	for (size_t i = 0; i < w->n_streams; i++) {
		if (w->streams[i].conf.partition == partition &&
		    !w->streams[i].is_stopped) {
			return true;
		}
	}
	return false;
}

static bool
put_streams(const struct gx_writer *w, int32_t partition, struct gx_buf *b)
{
	bool is_first = true;

	gx_buf_putc(b, '[');
	for (size_t i = 0; i < w->n_streams; i++) {
		const struct gx_writer_stream *c = &w->streams[i].conf;

		if (c->partition != partition || w->streams[i].is_stopped) {
			continue;
		}
		gx_buf_printf(b, "%s\"%s\"", is_first ? "" : ",", c->stream);
		is_first = false;
	}
	return gx_buf_putc(b, ']') && !b->failed;
}

static enum gx_rc
send_marker(struct gx_writer *w, int32_t partition, struct gx_err *e)
{
	struct gx_head h = {.kind = GX_MSG_MARKER};
	char at[GX_TIME_LEN + 1];
	struct gx_buf names;
	enum gx_rc rc;

	gx_buf_init(&names, GX_MARKER_STREAMS * (GX_STREAM_MAX + 3) + 2);
	if (!put_streams(w, partition, &names)) {
		gx_buf_free(&names);
		return GX_ERR(e, GX_FATAL, "writer.streams",
			      "too many streams of %s in one partition",
			      w->origin);
	}
	gx_time_format(gx_now_ms(), at);
	h.stream = gx_slice_str(w->origin);
	h.partition = (uint32_t)partition;
	h.epoch = w->epoch;
	h.writer = w->id;
	h.at = gx_slice_str(at);
	h.streams = gx_buf_view(&names);
	rc = gx_seal_marker(w->sealer, &h, &w->sealed, e);
	gx_buf_free(&names);
	if (rc != GX_OK) {
		return rc;
	}
	return w->log->ops->append(w->out, partition, gx_slice_str(w->origin),
				   gx_buf_view(&w->sealed), -1, e);
}

enum gx_rc
gx_writer_leave_out(struct gx_writer *w, struct wstream *ws, struct gx_err *e)
{
	size_t n_stopped = 0;
	bool may_mend = false;

	ws->is_stopped = ws->is_left_out = ws->is_ahead = true;
	snprintf(ws->why, sizeof ws->why, "%s", e->code);
	w->is_blocked = true;
	for (size_t i = 0; i < w->n_streams; i++) {
		n_stopped += w->streams[i].is_stopped;
		may_mend |=
			w->streams[i].is_left_out && !w->streams[i].is_ahead;
	}
	gx_metric_set(w->n_stopped, (double)n_stopped);
	if (n_stopped == w->n_streams) {
		/* One that stands still at this node may go on by itself. */
		e->rc = may_mend ? GX_ABORT : GX_FATAL;
		return e->rc;
	}
	gx_log_err(GX_LOG_ERROR, e);
	e->code = NULL;
	return GX_OK;
}

/* The log of one partition lost what this node has taken: its streams are left
 * out, those of other partitions go on. */
static enum gx_rc
lose_lane(struct gx_writer *w, const struct wlane *la, int64_t low,
	  int64_t high, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; i < w->n_streams && rc == GX_OK; i++) {
		struct wstream *ws = &w->streams[i];

		if (ws->is_stopped || ws->conf.partition != la->partition) {
			continue;
		}
		(void)GX_ERR(e, GX_FATAL, "log.lost_tail",
			     "%s/%d holds %lld to %lld, this node has read up "
			     "to %lld: the log lost records of %s; copy them "
			     "home from the neighbour",
			     w->topic, la->partition, (long long)low,
			     (long long)high, (long long)la->from,
			     ws->conf.stream);
		rc = gx_writer_leave_out(w, ws, e);
	}
	return rc;
}

static enum gx_rc
open_lanes(struct gx_writer *w, struct gx_err *e)
{
	struct gx_place *at = gx_mem_new(w->n_lanes * sizeof *at);
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; i < w->n_lanes && rc == GX_OK; i++) {
		struct wlane *la = &w->lanes[i];
		int64_t low = 0;
		int64_t high = 0;

		rc = w->log->ops->range(w->log, w->topic, la->partition, &low,
					&high, e);
		at[i] = (struct gx_place){w->topic, la->partition, la->from};
		if (rc != GX_OK || (low <= la->from && high >= la->from)) {
			continue;
		}
		at[i].offset = high; /* what comes there is nothing to us */
		rc = lose_lane(w, la, low, high, e);
	}
	if (rc == GX_OK) {
		rc = w->log->ops->open_in(w->log, at, w->n_lanes, &w->in, e);
	}
	gx_mem_free(at);
	return rc;
}

enum gx_rc
gx_writer_claim(struct gx_writer *w, struct gx_err *e)
{
	/* Before the store is asked: it may be away for long. */
	enum gx_rc rc = w->src->ops->tend(w->src, e);

	if (rc == GX_OK) {
		rc = load_lanes(w, e);
	}
	if (rc == GX_OK) {
		rc = w->src->ops->take(w->src, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	w->has_source = true;
	/* Again, now that the former holder can move nothing any more. */
	rc = load_lanes(w, e);
	if (rc == GX_OK) {
		rc = w->log->ops->open_out(w->log, w->topic, &w->out, e);
	}
	if (rc == GX_OK) {
		rc = open_lanes(w, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	w->epoch = gx_chain_epoch(w->highest_seen, gx_now_ms());
	w->highest_seen = w->epoch;
	w->id = w->conf.random(w->conf.random_ctx);
	for (size_t i = 0; i < w->n_lanes; i++) {
		struct wlane *la = &w->lanes[i];

		la->is_settled = !is_wanted(w, la->partition);
		if (la->is_settled) {
			continue; /* all its streams stand still */
		}
		rc = send_marker(w, la->partition, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	gx_crash_point("writer.after_marker");
	gx_metric_add(w->n_takeovers, 1);
	w->settle_by_ms = gx_mono_ms() + SETTLE_MS;
	w->phase = WR_SETTLE;
	return GX_OK;
}

static enum gx_rc
outbid(struct gx_writer *w, uint64_t epoch)
{
	uint64_t dice = w->conf.random(w->conf.random_ctx);

	w->highest_seen = epoch > w->highest_seen ? epoch : w->highest_seen;
	w->pause_until_ms = gx_mono_ms() + (int64_t)(dice % PAUSE_MAX_MS);
	w->phase = WR_PAUSE;
	return GX_OK;
}

static enum gx_rc
fold_marker(struct gx_writer *w, struct wlane *la, const struct gx_head *h)
{
	struct gx_slice name;
	size_t at = 0;

	if (h->epoch == w->epoch && h->writer == w->id) {
		la->is_settled = true;
	}
	while (gx_marker_next(h->streams, &at, &name)) {
		struct wstream *ws = find_stream(w, name);

		if (!ws || ws->is_stopped ||
		    ws->conf.partition != la->partition) {
			continue;
		}
		if (!la->is_settled && h->epoch >= w->epoch) {
			return outbid(w, h->epoch);
		}
		if (gx_chain_marker(&ws->chain, h) == GX_V_TAKE) {
			gx_chain_take_marker(&ws->chain, h);
		}
	}
	return GX_OK;
}

/* Was this run taken before: while settling, or by the node's reader? */
static enum gx_rc
find_taken(struct gx_writer *w, const struct wstream *ws,
	   const struct gx_head *h, struct gx_taken *t, struct gx_err *e)
{
	memset(t, 0, sizeof *t);
	if (h->first >= ws->chain.next_seq) {
		return GX_OK;
	}
	for (size_t i = ws->n_folded; i-- > 0;) {
		if (ws->folded[i].first == h->first) {
			t->found = true;
			t->n = ws->folded[i].n;
			memcpy(t->head, ws->folded[i].head, GX_HASH);
			t->lowest_first = h->first;
			return GX_OK;
		}
	}
	return w->store->ops->taken(w->store, h->stream, h->first, t, e);
}

static enum gx_rc
remember(struct wstream *ws, const struct gx_head *h,
	 const unsigned char hash[GX_HASH], struct gx_err *e)
{
	struct folded *f =
		gx_mem_grow(ws->folded, ws->n_folded + 1, sizeof *ws->folded);

	if (!f) {
		return GX_ERR(e, GX_FATAL, "mem.none", "no memory to settle %s",
			      ws->conf.stream);
	}
	ws->folded = f;
	f = &ws->folded[ws->n_folded++];
	f->first = h->first;
	f->n = h->n;
	memcpy(f->head, hash, GX_HASH);
	return GX_OK;
}

static enum gx_rc
fold_batch(struct gx_writer *w, const struct wlane *la, const struct gx_head *h,
	   const unsigned char hash[GX_HASH], struct gx_err *e)
{
	struct wstream *ws = find_stream(w, h->stream);
	struct gx_taken t;
	enum gx_verdict v;
	enum gx_rc rc;

	if (!ws || ws->is_stopped || ws->conf.partition != la->partition) {
		return GX_OK;
	}
	rc = find_taken(w, ws, h, &t, e);
	if (rc != GX_OK) {
		return rc;
	}
	v = gx_chain_batch(&ws->chain, h, hash, &t);
	if (v == GX_V_TAKE) {
		gx_chain_take_batch(&ws->chain, h, hash);
		return remember(ws, h, hash, e);
	}
	if (v == GX_V_GAP || v == GX_V_EQUIVOCATION) {
		(void)GX_ERR(e, GX_FATAL, "writer.unsettled",
			     "the own log does not settle %s (%s): nothing "
			     "is sealed on a guess; see gxbus stream show",
			     ws->conf.stream, gx_verdict_name(v));
		return gx_writer_leave_out(w, ws, e);
	}
	return GX_OK;
}

static enum gx_rc
fold(struct gx_writer *w, const struct gx_msg *m, struct gx_err *e)
{
	unsigned char hash[GX_HASH];
	struct wlane *la = &w->lanes[m->place];
	struct gx_head h;

	/* The same checks as every reader makes, so that what we call settled
	 * is what they will take. */
	if (la->is_settled || gx_head_parse(m->value, &h) ||
	    (int64_t)h.partition != la->partition ||
	    gx_seal_check(w->verifier, &h, true, hash) != GX_SEAL_GOOD) {
		return GX_OK;
	}
	if (h.kind == GX_MSG_MARKER) {
		return fold_marker(w, la, &h);
	}
	if (!gx_slice_eq(m->key, h.stream)) {
		return GX_OK;
	}
	return fold_batch(w, la, &h, hash, e);
}

/* Forget what was set aside beyond the settled positions: it is read again. */
static enum gx_rc
settle_asides(struct gx_writer *w, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; i < w->n_streams && rc == GX_OK; i++) {
		struct wstream *ws = &w->streams[i];
		struct gx_slice name = gx_slice_str(ws->conf.stream);

		if (ws->is_stopped) {
			continue;
		}
		rc = w->store->ops->settle(w->store, name, ws->chain.next_seq,
					   w->epoch, e);
		if (rc == GX_OK) {
			rc = w->store->ops->count(w->store, name, &ws->n_rows,
						  e);
		}
	}
	return rc;
}

/* What was noted under our origin; or, by a version before, under the name of
 * the flow, which may have changed since and be another's now. */
static enum gx_rc
find_released(struct gx_writer *w, const struct gx_slice *pos,
	      struct gx_buf *released, struct gx_err *e)
{
	bool has_any = false;
	enum gx_rc rc =
		w->store->ops->released(w->store, w->origin, released, e);

	for (size_t i = 0; i < w->n_streams; i++) {
		has_any |= pos[i].n > 0;
	}
	if (rc == GX_OK && released->n == 0 && has_any) {
		rc = w->store->ops->released(w->store, w->flow, released, e);
	}
	return rc;
}

/*
 * All partitions are settled: tell the source where to go on.  The source says
 * whether it is still ours.  By the time the store hears of it another may have
 * taken over: rows of the quarantine are forgotten only up to our own epoch.
 * If the store is away we begin again.
 */
static enum gx_rc
start_source(struct gx_writer *w, struct gx_err *e)
{
	struct gx_slice *pos = gx_mem_new(w->n_streams * sizeof *pos);
	struct gx_buf released;
	enum gx_rc rc;

	gx_buf_init(&released, POS_MAX);
	for (size_t i = 0; i < w->n_streams; i++) {
		struct wstream *ws = &w->streams[i];

		pos[i] = gx_chain_source(&ws->chain);
		ws->redrive = gx_chain_redrive(&ws->chain);
		gx_writer_guard_load(w, ws);
		gx_log(GX_LOG_INFO, "writer.settled",
		       "stream=%s epoch=%llu next_seq=%llu", ws->conf.stream,
		       (unsigned long long)w->epoch,
		       (unsigned long long)ws->chain.next_seq);
	}
	rc = find_released(w, pos, &released, e);
	if (rc == GX_OK) {
		rc = w->src->ops->start(w->src, pos, w->n_streams,
					gx_buf_view(&released), e);
		if (rc == GX_OK) {
			rc = settle_asides(w, e);
		}
		rc = rc == GX_AGAIN ? GX_ABORT : rc;
	}
	gx_buf_free(&released);
	gx_mem_free(pos);
	return rc;
}

/* One message of the log; *all: every partition has shown our marker. */
static enum gx_rc
settle_one(struct gx_writer *w, int timeout_ms, bool *all, struct gx_err *e)
{
	size_t n_in_flight;
	size_t n_settled = 0;
	struct gx_msg m;
	enum gx_rc rc = w->log->ops->poll_out(w->out, 0, &n_in_flight, e);

	if (rc != GX_OK && rc != GX_AGAIN) {
		return rc;
	}
	rc = w->log->ops->next(w->in, timeout_ms, &m, e);
	if (rc == GX_AGAIN && gx_mono_ms() > w->settle_by_ms) {
		return GX_ERR(e, GX_ABORT, "writer.no_marker",
			      "the own marker did not come back from %s within "
			      "%d s",
			      w->topic, SETTLE_MS / 1000);
	}
	if (rc != GX_OK) {
		return rc;
	}
	rc = fold(w, &m, e);
	w->log->ops->done(w->in, &m);
	for (size_t i = 0; i < w->n_lanes; i++) {
		n_settled += w->lanes[i].is_settled;
	}
	*all = n_settled == w->n_lanes;
	return rc;
}

enum gx_rc
gx_writer_settle(struct gx_writer *w, int timeout_ms, struct gx_err *e)
{
	bool all = w->in == NULL; /* settled before, the source was not ready */
	enum gx_rc rc = GX_OK;

	if (!all) {
		rc = settle_one(w, timeout_ms, &all, e);
	}
	if (w->phase == WR_PAUSE) { /* outbid: nothing of this claim stays */
		w->log->ops->close_in(&w->in);
		w->log->ops->close_out(&w->out);
		return rc;
	}
	if (rc != GX_OK || !all) {
		return rc;
	}
	if (w->in) {
		w->log->ops->close_in(&w->in);
	}
	gx_crash_point("writer.settled");
	rc = start_source(w, e);
	if (rc == GX_OK) {
		w->phase = WR_RUN;
		w->has_owned = true;
		w->unread_ms = gx_mono_ms();
	}
	return rc;
}
