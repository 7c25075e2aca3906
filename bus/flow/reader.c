/*
 * Reader, first part: its life, its places and its transactions.
 *
 * A reader follows every partition of its topics through one consumer handle.
 * Each partition (a place) has its own open transaction: messages are judged
 * as they come (reader_take.c), what is taken is held, and after txn_ms, or
 * enough lines, the store commits states, data and the offset as one.  Only
 * the store's compare-and-set decides; an acknowledgement, a cached state or a
 * lock decides nothing.
 *
 * Whatever goes wrong while committing, we forget everything and begin again
 * from what the store really holds: a commit in doubt, a zombie that was
 * faster and a lost connection are one and the same case.  If we die on any
 * line the log is read again from the kept offset and what was taken shows
 * itself as repeats.
 *
 * A full reading whose end would delete too much is the one thing that the
 * store refuses about a single batch.  Then the same messages are committed
 * one by one, the guilty one makes its stream stand still, and the rest goes
 * on.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/reader_int.h"

#define READER_MAGIC 0x72656164u

static char **
copy_list(const char *const *list)
{
	size_t n = 0;
	char **copy;

	while (list[n]) {
		n++;
	}
	copy = gx_mem_new((n + 1) * sizeof *copy);
	for (size_t i = 0; i < n; i++) {
		copy[i] = gx_mem_strdup(list[i]);
	}
	return copy;
}

static void
free_list(char **list)
{
	for (size_t i = 0; list[i]; i++) {
		gx_mem_free(list[i]);
	}
	gx_mem_free(list);
}

enum gx_rc
gx_reader_new(const struct gx_reader_conf *conf, struct gx_log *log,
	      struct gx_store *store, struct gx_verifier *verifier,
	      struct gx_reader **out, struct gx_err *e)
{
	struct gx_reader *r = gx_mem_new(sizeof *r);
	const char *values[3] = {r->flow, NULL, NULL};

	(void)e;
	r->magic = READER_MAGIC;
	r->conf = *conf;
	snprintf(r->flow, sizeof r->flow, "%s", conf->flow);
	r->topics = copy_list(conf->topics);
	r->own_topics = copy_list(conf->own_topics);
	r->log = log;
	r->store = store;
	r->verifier = verifier;
	for (int v = 0; v < GX_V_COUNT; v++) {
		values[1] = gx_verdict_name((enum gx_verdict)v);
		r->verdicts[v] = gx_metric(GX_M_BATCHES, values);
	}
	values[1] = NULL;
	r->n_taken = gx_metric(GX_M_RECORDS_TAKEN, values);
	r->n_bytes = gx_metric(GX_M_BYTES, values);
	r->n_aside = gx_metric(GX_M_RECORDS_QUARANTINED, values);
	r->n_stopped = gx_metric(GX_M_STREAMS_STOPPED, values);
	r->latency = gx_metric(GX_M_END_TO_END, values);
	*out = r;
	return GX_OK;
}

/* ---- places ---- */

static void
release_held(struct gx_reader *r, struct place *pl)
{
	for (size_t i = 0; i < pl->n_held; i++) {
		r->log->ops->done(r->in, &pl->held[i]);
	}
	pl->n_held = 0;
	pl->n_applies = 0;
	pl->n_stops = 0;
	pl->n_refusals = 0;
	pl->n_rewound = 0;
	pl->n_lines = 0;
	pl->n_bytes = 0;
	pl->is_dirty = false;
}

static void
free_place(struct gx_reader *r, struct place *pl)
{
	struct entry *en;
	struct entry *next;

	release_held(r, pl);
	HASH_ITER (hh, pl->entries, en, next) {
		HASH_DEL(pl->entries, en);
		gx_mem_free(en);
	}
	gx_mem_free(pl->applies);
	gx_mem_free(pl->heads);
	gx_mem_free(pl->held);
	gx_mem_free(pl->stops);
	gx_mem_free(pl->refusals);
}

static void
close_reader(void *flow)
{
	struct gx_reader *r = flow;

	for (size_t i = 0; i < r->n_places; i++) {
		free_place(r, &r->places[i]);
	}
	gx_mem_free(r->places);
	r->places = NULL;
	r->n_places = 0;
	if (r->in) {
		r->log->ops->close_in(&r->in);
	}
}

static enum gx_rc
open_reader(void *flow, struct gx_err *e)
{
	struct gx_reader *r = flow;
	struct gx_place *from;
	enum gx_rc rc;

	GX_ASSERT(r->magic == READER_MAGIC);
	rc = gx_reader_open_places(r, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (r->n_holes != r->n_places) { /* at the first start */
		gx_mem_free(r->holes);
		r->holes = gx_mem_new((r->n_places + 1) * sizeof *r->holes);
		r->n_holes = r->n_places;
	}
	from = gx_mem_new((r->n_places + 1) * sizeof *from);
	for (size_t i = 0; i < r->n_places; i++) {
		from[i] = (struct gx_place){r->places[i].topic,
					    r->places[i].partition,
					    r->places[i].read_at};
	}
	rc = r->log->ops->open_in(r->log, from, r->n_places, &r->in, e);
	gx_mem_free(from);
	r->is_accepted = false; /* it held for what stood still until now */
	r->retry_at_ms = gx_mono_ms() + r->conf.retry_ms;
	return rc;
}

/* ---- transactions ---- */

static void
observe(struct gx_reader *r, const struct place *pl)
{
	for (size_t i = 0; i < pl->n_applies; i++) {
		const struct gx_head *h = pl->applies[i].head;
		int64_t ms;

		if (h && gx_time_parse(h->at.p, h->at.n, &ms)) {
			gx_metric_observe(r->latency,
					  (double)(gx_now_ms() - ms) / 1000.0);
		}
	}
	gx_metric_add(r->n_bytes, (int64_t)pl->n_bytes);
}

/* The store refused one batch for good: its stream stands still there. */
static enum gx_rc
stop_guarded(struct gx_reader *r, struct place *pl, struct gx_err *e)
{
	struct entry *en = NULL;
	size_t i = 0;

	if (pl->n_held != 1) {
		r->n_single_left = 4 * READER_MAX_APPLIES;
		return GX_ERR(e, GX_ABORT, "reader.single",
			      "one batch was refused by the guard: committing "
			      "one by one to find it");
	}
	while (i < pl->n_applies && !pl->applies[i].head) {
		i++;
	}
	GX_ASSERT(i < pl->n_applies); /* what is held has its move */
	HASH_FIND(hh, pl->entries, pl->applies[i].stream.p,
		  pl->applies[i].stream.n, en);
	GX_ASSERT(en != NULL);
	en->chain = pl->applies[i].before;
	pl->n_applies--;
	memmove(&pl->applies[i], &pl->applies[i + 1],
		(pl->n_applies - i) * sizeof *pl->applies);
	gx_reader_stop(r, pl, en, pl->held[0].offset, "guard.mass_delete",
		       "the end of a full reading would delete more rows than "
		       "the guard allows");
	return GX_OK;
}

/* A copied log that lost its end is read again from there.  If meanwhile it
 * was filled and trimmed, the store must not be told an offset that is gone, or
 * all streams here stand still for records that we have (simulation, seed
 * 1078103). */
static enum gx_rc
check_going_back(struct gx_reader *r, struct place *pl, struct gx_err *e)
{
	int64_t low = 0;
	int64_t high = 0;
	int64_t upto = gx_reader_commit_upto(pl);
	enum gx_rc rc;

	if (upto >= pl->next_offset) {
		return GX_OK;
	}
	rc = r->log->ops->range(r->log, pl->topic, pl->partition, &low, &high,
				e);
	if (rc != GX_OK || low <= upto) {
		return rc;
	}
	return GX_ERR(e, GX_ABORT, "log.moved_on",
		      "%s/%d lost its end at %lld and begins at %lld now: "
		      "looking again",
		      pl->topic, pl->partition, (long long)upto,
		      (long long)low);
}

static enum gx_rc
commit_place(struct gx_reader *r, struct place *pl, struct gx_err *e)
{
	struct gx_txn t = {
		.topic = pl->topic,
		.partition = pl->partition,
		.from_offset = pl->next_offset,
	};
	struct gx_txn_result res = {0};
	enum gx_rc rc = check_going_back(r, pl, e);

	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	for (int try = 0; try < 2; try++) {
		gx_reader_mark_behind(pl);
		t.to_offset = gx_reader_commit_upto(pl);
		t.applies = pl->applies;
		t.n_applies = pl->n_applies;
		t.stops = pl->stops;
		t.n_stops = pl->n_stops;
		t.refusals = pl->refusals;
		t.n_refusals = pl->n_refusals;
		gx_crash_point("reader.before_commit");
		rc = r->store->ops->commit(r->store, &t, &res, e);
		gx_crash_point("reader.after_commit");
		if (rc != GX_REJECT) {
			break;
		}
		rc = stop_guarded(r, pl, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	if (rc == GX_FENCED || rc == GX_AGAIN || rc == GX_ABORT) {
		if (e) {
			e->rc = GX_ABORT; /* reload before anything else */
		}
		return GX_ABORT;
	}
	if (rc != GX_OK) {
		return rc;
	}
	observe(r, pl);
	gx_metric_add(r->n_taken, (int64_t)res.n_applied);
	gx_metric_add(r->n_aside, (int64_t)res.n_set_aside);
	pl->next_offset = t.to_offset;
	pl->done = pl->upto;
	release_held(r, pl);
	pl->is_dirty = pl->has_behind && pl->read_at >= pl->upto;
	if (r->n_single_left > 0) {
		r->n_single_left--;
	}
	return GX_OK;
}

/* A place commits when it is full, or a while after its first message; plain
 * progress without anything taken is written down once in a while only. */
static bool
is_due(const struct gx_reader *r, const struct place *pl, int64_t now_ms)
{
	int64_t age_ms = now_ms - pl->began_ms;

	if (pl->is_dirty) {
		return age_ms >= r->conf.txn_ms || r->n_single_left > 0 ||
		       pl->n_lines >= r->conf.txn_lines ||
		       pl->n_bytes >= r->conf.txn_bytes ||
		       !gx_reader_has_room(pl);
	}
	return pl->upto != pl->done && age_ms >= 1000;
}

static enum gx_rc
commit_due(struct gx_reader *r, bool *did, struct gx_err *e)
{
	int64_t now_ms = gx_mono_ms();

	for (size_t i = 0; i < r->n_places; i++) {
		enum gx_rc rc;

		if (!is_due(r, &r->places[i], now_ms)) {
			continue;
		}
		rc = commit_place(r, &r->places[i], e);
		if (rc != GX_OK) {
			return rc;
		}
		*did = true;
	}
	return GX_OK;
}

static int
wait_ms(const struct gx_reader *r, int timeout_ms)
{
	int64_t now_ms = gx_mono_ms();
	int64_t wait = timeout_ms;

	for (size_t i = 0; i < r->n_places; i++) {
		const struct place *pl = &r->places[i];

		if (pl->is_dirty) {
			int64_t left = r->conf.txn_ms - (now_ms - pl->began_ms);

			wait = left < wait ? left : wait;
		}
	}
	return wait < 0 ? 0 : (int)wait;
}

/*
 * Copies stand in the order of their source, each offset behind the one before
 * it.  A jump shows that the log was cut and filled again while we stood above
 * its end, so that we have passed messages unread: look back once.
 */
static bool
is_hole(struct gx_reader *r, struct place *pl, const struct gx_msg *m)
{
	bool jumps = pl->from_high >= 0 && m->from > pl->from_high + 1;
	int64_t *looked = &r->holes[pl - r->places];

	if (pl->is_own || m->from < 0) {
		return false;
	}
	if (jumps && m->from > *looked) {
		*looked = m->from;
		return true;
	}
	pl->from_high = m->from > pl->from_high ? m->from : pl->from_high;
	return false;
}

static enum gx_rc
read_one(struct gx_reader *r, int timeout_ms, struct gx_err *e)
{
	struct gx_msg m;
	struct place *pl;
	bool was_dirty;
	bool keep = false;
	enum gx_rc rc = r->log->ops->next(r->in, timeout_ms, &m, e);

	if (rc != GX_OK) {
		return rc;
	}
	GX_ASSERT(m.place < r->n_places);
	pl = &r->places[m.place];
	was_dirty = pl->is_dirty;
	if (pl->lost) { /* somebody still writes there */
		r->log->ops->done(r->in, &m);
		return GX_OK;
	}
	if (is_hole(r, pl, &m)) {
		r->log->ops->done(r->in, &m);
		return GX_ERR(e, GX_ABORT, "reader.hole",
			      "%s/%d was cut and filled again: looking back",
			      pl->topic, pl->partition);
	}
	/* What take() asks for may lie lower than the next message. */
	pl->read_at = m.offset + 1;
	rc = gx_reader_take(r, pl, &m, &keep, e);
	if (!was_dirty && (pl->is_dirty || pl->upto == pl->done)) {
		pl->began_ms = gx_mono_ms();
	}
	if (rc == GX_OK && m.offset >= pl->upto) {
		pl->upto = m.offset + 1;
	}
	if (pl->has_behind && pl->read_at >= pl->upto) {
		pl->is_dirty = true; /* caught up: say so */
	}
	if (keep) {
		pl->held[pl->n_held++] = m;
	} else {
		r->log->ops->done(r->in, &m);
	}
	/* Not judged is not read: begin again from what the store holds. */
	return rc == GX_AGAIN ? GX_ABORT : rc;
}

static enum gx_rc
step_reader(void *flow, int timeout_ms, struct gx_err *e)
{
	struct gx_reader *r = flow;
	bool did = false;
	enum gx_rc rc;

	rc = gx_reader_look_again(r, e);
	if (rc != GX_OK) {
		return rc;
	}
	rc = read_one(r, wait_ms(r, timeout_ms), e);
	if (rc == GX_OK) {
		did = true;
	} else if (rc != GX_AGAIN) {
		return rc;
	} else if (e) {
		e->code = NULL;
	}
	rc = commit_due(r, &did, e);
	if (rc != GX_OK) {
		return rc;
	}
	return did ? GX_OK : GX_AGAIN;
}

/* ---- for people ---- */

static size_t
print_stops(const struct gx_reader *r, struct gx_jw *w)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_places; i++) {
		struct entry *en;
		struct entry *next;

		HASH_ITER (hh, r->places[i].entries, en, next) {
			if (!en->is_stopped) {
				continue;
			}
			n++;
			gx_jw_begin(w, '{');
			gx_jw_kv_str(w, "stream", en->stream);
			gx_jw_kv_int(w, "partition", r->places[i].partition);
			gx_jw_kv_str(w, "code", en->why);
			gx_jw_kv_int(w, "at", en->stopped_at);
			gx_jw_end(w, '}');
		}
	}
	return n;
}

static void
status_reader(void *flow, struct gx_jw *w)
{
	struct gx_reader *r = flow;
	size_t n_stopped;

	gx_jw_name(w, "places");
	gx_jw_begin(w, '[');
	for (size_t i = 0; i < r->n_places; i++) {
		const struct place *pl = &r->places[i];

		gx_jw_begin(w, '{');
		gx_jw_kv_str(w, "topic", pl->topic);
		gx_jw_kv_int(w, "partition", pl->partition);
		gx_jw_kv_int(w, "next_offset", pl->next_offset);
		gx_jw_kv_int(w, "n_streams", (int64_t)HASH_COUNT(pl->entries));
		gx_jw_kv_str(w, "code", pl->lost ? pl->lost : "");
		gx_jw_end(w, '}');
	}
	gx_jw_end(w, ']');
	gx_jw_kv_int(w, "records_taken", (int64_t)gx_metric_get(r->n_taken));
	gx_jw_name(w, "stopped");
	gx_jw_begin(w, '[');
	n_stopped = print_stops(r, w);
	gx_jw_end(w, ']');
	gx_metric_set(r->n_stopped, (double)n_stopped);
}

static void
accept_reader(void *flow)
{
	((struct gx_reader *)flow)->is_accepted = true;
}

static void
free_reader(void **flow)
{
	struct gx_reader *r = *flow;

	if (!r) {
		return;
	}
	close_reader(r);
	free_list(r->topics);
	free_list(r->own_topics);
	gx_mem_free(r->holes);
	r->magic = 0;
	gx_mem_free(r);
	*flow = NULL;
}

const struct gx_flow_ops gx_reader_ops = {
	.kind = "sink",
	.open = open_reader,
	.step = step_reader,
	.close = close_reader,
	.status = status_reader,
	.accept = accept_reader,
	.free = free_reader,
};
