/*
 * Reader, second part: one message in, its consequences in the open
 * transaction.
 *
 * Form, place, right and seal are checked first, then the chain gives its
 * verdict.  What is taken is put into the transaction together with the
 * tentative state of its stream; what is void or known is counted; what is
 * forged is counted and logged and otherwise as if it were not there; what
 * shows that something is missing makes its stream stand still.
 *
 * A stream that stands still ignores everything except the one piece that
 * continues it exactly, or the very marker that was missing.  What one does that
 * waits for a key or a schema is in reader_wait.c.
 *
 * On a gap the partition is first read once more from its start for this stream
 * alone: a receiving log that lost its tail has been filled up again out of
 * place, and the missing piece may stand lower than where we read.  Only if it
 * is not there does the stream stand still.  Order is not bent by this: nothing
 * is taken that does not continue the chain of the owner.
 *
 * A stream that goes on reads again from where it stood, while its partition
 * is far ahead.  The partition's offset must not stand for it: until it has
 * caught up each commit leaves a stop in the store, at the place where this
 * stream would have to go on.
 *
 * If we die anywhere nothing has happened: all of this lives in the open
 * transaction.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/reader_int.h"

bool
gx_reader_has_room(const struct place *pl)
{
	return pl->n_applies < READER_MAX_APPLIES &&
	       pl->n_refusals < READER_MAX_STOPS &&
	       pl->n_stops < READER_MAX_STOPS &&
	       pl->n_rewound < READER_MAX_STOPS;
}

bool
gx_reader_is_gap(const char *why)
{
	return strcmp(why, "stream.gap") == 0 ||
	       strcmp(why, "stream.marker_missing") == 0;
}

static struct entry *
find_entry(struct place *pl, struct gx_slice stream)
{
	struct entry *en;

	HASH_FIND(hh, pl->entries, stream.p, stream.n, en);
	return en;
}

/* Bigger when it is full; a transaction holds few. */
static void *
make_room(void *array, size_t n, size_t *max, size_t size)
{
	if (n < *max) {
		return array;
	}
	*max = *max ? *max * 2 : 16;
	array = gx_mem_grow(array, *max, size);
	GX_ASSERT(array != NULL);
	return array;
}

/* What moves does not stand still: forget a stop of this transaction. */
static void
drop_stops(struct place *pl, const struct entry *en)
{
	size_t n = 0;

	for (size_t i = 0; i < pl->n_stops; i++) {
		if (pl->stops[i].stream.p != en->stream) {
			pl->stops[n++] = pl->stops[i];
		}
	}
	pl->n_stops = n;
}

static struct gx_apply *
push_apply(struct place *pl, struct entry *en)
{
	struct gx_apply *ap;

	pl->applies = make_room(pl->applies, pl->n_applies, &pl->max_applies,
				sizeof *pl->applies);
	ap = &pl->applies[pl->n_applies++];
	memset(ap, 0, sizeof *ap);
	ap->stream = gx_slice_str(en->stream);
	ap->before = en->chain;
	ap->after = en->chain;
	ap->is_new = en->is_new;
	en->is_new = false;
	en->is_row_stopped = false;
	drop_stops(pl, en);
	pl->is_dirty = true;
	return ap;
}

void
gx_reader_end_stop(struct place *pl, struct entry *en, bool is_accept)
{
	push_apply(pl, en)->is_accept = is_accept;
}

static bool
has_move(const struct place *pl, const struct entry *en)
{
	for (size_t i = pl->n_applies; i-- > 0;) {
		if (pl->applies[i].stream.p == en->stream) {
			return true;
		}
	}
	return false;
}

static void
push_stop(struct place *pl, struct entry *en, const char *code,
	  const char *text)
{
	struct gx_stop *st;

	if (en->is_new) { /* a stop needs a row to stand in */
		(void)push_apply(pl, en);
	}
	drop_stops(pl, en);
	/* Only on the state it was judged on.  Of the guard nothing else may
	 * be said: its stop is ended by an operator only. */
	if (strcmp(en->row_why, "guard.mass_delete") != 0 &&
	    strcmp(code, "guard.mass_delete") != 0 && !has_move(pl, en)) {
		(void)push_apply(pl, en);
	}
	pl->stops = make_room(pl->stops, pl->n_stops, &pl->max_stops,
			      sizeof *pl->stops);
	st = &pl->stops[pl->n_stops++];
	st->stream = gx_slice_str(en->stream);
	st->at = en->stopped_at;
	st->code = code;
	st->text = text;
	en->row_why = code;
	en->is_row_stopped = true;
	pl->is_dirty = true;
}

void
gx_reader_stop(struct gx_reader *r, struct place *pl, struct entry *en,
	       int64_t at, const char *code, const char *text)
{
	bool is_known = en->is_row_stopped && en->stopped_at == at &&
			strcmp(en->row_why, code) == 0;

	(void)r;
	en->is_stopped = true;
	en->is_behind = false;
	en->is_seeking = false;
	en->stopped_at = at;
	en->why = code;
	if (is_known) { /* it looked again, and nothing has changed */
		return;
	}
	gx_log(GX_LOG_WARN, code, "stream=%s topic=%s partition=%d offset=%lld",
	       en->stream, pl->topic, pl->partition, (long long)at);
	push_stop(pl, en, code, text);
}

/*
 * A message is passed over for a stream that stands still.  The partition's
 * offset will pass it too, so the stop is written again: another reader may
 * have ended it, and then the row would miss this message.
 */
static void
pass_over(struct place *pl, struct entry *en, const struct gx_msg *m)
{
	if (m->offset < pl->done || en->is_new) {
		return; /* it was passed before, or the offset stays below */
	}
	for (size_t i = 0; i < pl->n_stops; i++) {
		if (pl->stops[i].stream.p == en->stream) {
			return;
		}
	}
	push_stop(pl, en, en->why, "it still stands here");
}

void
gx_reader_mark_behind(struct place *pl)
{
	bool is_caught_up = pl->read_at >= pl->upto;
	struct entry *en;
	struct entry *next;

	if (!pl->has_behind) {
		return;
	}
	HASH_ITER (hh, pl->entries, en, next) {
		if (!en->is_behind) {
			continue;
		}
		if (is_caught_up) {
			en->is_behind = false;
			if (en->is_row_stopped) {
				gx_reader_end_stop(pl, en, false);
			}
		}
		/* Another reader may have ended the stop: as above. */
		if (en->is_behind && !en->is_new &&
		    (!en->is_row_stopped || pl->upto != pl->done)) {
			push_stop(pl, en, "stream.behind",
				  "it reads again what it has missed");
		}
	}
	pl->has_behind = !is_caught_up;
}

int64_t
gx_reader_commit_upto(struct place *pl)
{
	int64_t upto = pl->upto;
	int64_t floor;
	bool has_rowless = false;
	struct entry *en;
	struct entry *next;

	if (!pl->has_rowless) {
		return upto;
	}
	HASH_ITER (hh, pl->entries, en, next) {
		if (!en->is_new || !(en->is_stopped || en->is_behind)) {
			continue;
		}
		has_rowless = true;
		upto = en->stopped_at < upto ? en->stopped_at : upto;
	}
	pl->has_rowless = has_rowless;
	/* Back only as far as the log lost its end: below that lies what was
	 * committed. */
	floor = pl->next_offset < pl->upto ? pl->next_offset : pl->upto;
	return upto > floor ? upto : floor;
}

enum gx_rc
gx_reader_rewind(struct gx_reader *r, struct place *pl, struct entry *en,
		 int64_t from, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	if (from < pl->read_at) {
		rc = r->log->ops->seek(r->in, (size_t)(pl - r->places), from,
				       e);
		pl->read_at = from;
	}
	en->is_stopped = false;
	en->is_seeking = false;
	en->is_behind = true;
	en->live_from = from;
	pl->n_rewound++;
	pl->has_behind = true;
	pl->is_dirty = true;
	return rc;
}

void
gx_reader_count(struct gx_reader *r, enum gx_verdict v)
{
	gx_metric_add(r->verdicts[v], 1);
}

void
gx_reader_refuse(struct gx_reader *r, struct place *pl, const struct gx_msg *m,
		 const char *why)
{
	gx_reader_count(r, GX_V_REFUSE);
	gx_reader_note_refusal(pl, m, why);
	gx_log(GX_LOG_WARN, "batch.refused",
	       "topic=%s partition=%d offset=%lld reason=\"%s\"", pl->topic,
	       pl->partition, (long long)m->offset, why);
}

/*
 * The entry of a stream, made if the store has its row or if it may begin
 * here.  *out = NULL: the stream has no business in this partition.
 */
static enum gx_rc
meet_stream(struct gx_reader *r, struct place *pl, struct gx_slice stream,
	    struct entry **out, struct gx_err *e)
{
	struct gx_stream_row row;
	struct entry *en = find_entry(pl, stream);
	char name[GX_STREAM_MAX + 1];
	const char *names[1] = {name};
	enum gx_rc rc;

	*out = NULL;
	if (en) {
		*out = en->is_elsewhere ? NULL : en;
		return GX_OK;
	}
	GX_ASSERT(stream.n <= GX_STREAM_MAX); /* the codec's bound */
	memcpy(name, stream.p, stream.n);
	name[stream.n] = '\0';
	rc = r->store->ops->look(r->store, names, 1, &row, e);
	if (rc != GX_OK && !(rc == GX_FATAL && e && e->code &&
			     strcmp(e->code, "stream.undeclared") == 0)) {
		return rc;
	}
	if (rc != GX_OK && pl->is_own) {
		return GX_OK; /* an own stream begins by declaration */
	}
	en = gx_mem_new(sizeof *en);
	memcpy(en->stream, name, stream.n + 1);
	gx_reader_forget(en);
	en->why = "";
	en->row_why = "";
	if (rc == GX_OK) {
		en->chain = row.chain;
		en->is_elsewhere = row.partition != pl->partition ||
				   strcmp(row.topic, pl->topic) != 0;
	} else {
		gx_chain_init(&en->chain);
		en->is_new = true;
	}
	if (e) {
		e->code = NULL;
	}
	HASH_ADD_KEYPTR(hh, pl->entries, en->stream, stream.n, en);
	*out = en->is_elsewhere ? NULL : en;
	return GX_OK;
}

/* The message shows a hole before it: look lower once, then stand still. */
static enum gx_rc
meet_gap(struct gx_reader *r, struct place *pl, struct entry *en,
	 const struct gx_head *h, const struct gx_msg *m, struct gx_err *e)
{
	bool no_marker = h->epoch > en->chain.epoch;
	int64_t low = 0;
	int64_t high = 0;
	enum gx_rc rc;

	if (en->is_stopped) {
		return GX_OK;
	}
	if (en->is_seeking && m->offset < en->seek_end) {
		return GX_OK;
	}
	gx_reader_count(r, GX_V_GAP);
	en->need_epoch = h->epoch;
	if (!en->is_seeking) {
		rc = r->log->ops->range(r->log, pl->topic, pl->partition, &low,
					&high, e);
		if (rc != GX_OK) {
			return rc;
		}
		if (low < m->offset) {
			en->why = no_marker ? "stream.marker_missing"
					    : "stream.gap";
			en->stopped_at = m->offset;
			rc = gx_reader_rewind(r, pl, en, low, e);
			en->is_seeking = true;
			en->seek_end = m->offset;
			return rc;
		}
	}
	if (no_marker) {
		gx_reader_stop(r, pl, en, m->offset, "stream.marker_missing",
			       "a batch of an owner whose marker is missing");
	} else {
		gx_reader_stop(r, pl, en, m->offset, "stream.gap",
			       "batches before this one are missing");
	}
	return GX_OK;
}

/* What was taken before at this seq: in the open transaction, or stored. */
static enum gx_rc
find_taken(struct gx_reader *r, struct place *pl, struct entry *en,
	   const struct gx_head *h, struct gx_taken *t, struct gx_err *e)
{
	memset(t, 0, sizeof *t);
	if (h->first >= en->chain.next_seq) {
		return GX_OK;
	}
	for (size_t i = pl->n_applies; i-- > 0;) {
		const struct gx_apply *ap = &pl->applies[i];

		if (ap->head && ap->head->first == h->first &&
		    gx_slice_eq(ap->stream, gx_slice_str(en->stream))) {
			t->found = true;
			t->n = ap->head->n;
			memcpy(t->head, ap->head_hash, GX_HASH);
			t->lowest_first = h->first;
			return GX_OK;
		}
	}
	return r->store->ops->taken(r->store, gx_slice_str(en->stream),
				    h->first, t, e);
}

static void
take_batch(struct gx_reader *r, struct place *pl, struct entry *en,
	   const struct gx_head *h, const unsigned char hash[GX_HASH],
	   const struct gx_msg *m)
{
	struct gx_head *copy = &pl->heads[pl->n_held];
	struct gx_apply *ap = push_apply(pl, en);

	/* Held messages and heads go together. */
	GX_ASSERT(pl->n_held < READER_MAX_APPLIES);
	gx_reader_count(r, GX_V_TAKE);
	*copy = *h;
	ap->head = copy;
	ap->offset = m->offset;
	memcpy(ap->head_hash, hash, GX_HASH);
	gx_chain_take_batch(&en->chain, h, hash);
	ap->after = en->chain;
	pl->n_lines += h->n;
	pl->n_bytes += h->body.n;
}

/* The stream has moved.  If it stood still it reads what it ignored. */
static enum gx_rc
go_on(struct gx_reader *r, struct place *pl, struct entry *en,
      const struct gx_msg *m, struct gx_err *e)
{
	if (en->is_stopped) {
		return gx_reader_rewind(r, pl, en, en->stopped_at, e);
	}
	if (en->is_behind) {
		en->stopped_at = m->offset + 1;
	}
	return GX_OK;
}

static enum gx_rc
judge_batch(struct gx_reader *r, struct place *pl, struct entry *en,
	    const struct gx_head *h, const unsigned char hash[GX_HASH],
	    const struct gx_msg *m, bool *keep, struct gx_err *e)
{
	struct gx_taken taken;
	enum gx_verdict v;
	enum gx_rc rc = find_taken(r, pl, en, h, &taken, e);

	if (rc != GX_OK) {
		return rc;
	}
	v = gx_chain_batch(&en->chain, h, hash, &taken);
	if (v == GX_V_TAKE && gx_reader_has_late_doubt(en)) {
		return gx_reader_insist(r, pl, en, e);
	}
	switch (v) {
	case GX_V_TAKE:
		take_batch(r, pl, en, h, hash, m);
		gx_reader_know_owner(en, h, hash, m);
		*keep = true;
		return go_on(r, pl, en, m, e);
	case GX_V_GAP:
		return meet_gap(r, pl, en, h, m, e);
	case GX_V_EQUIVOCATION:
		gx_reader_count(r, v);
		if (!en->is_stopped) {
			gx_reader_stop(r, pl, en, m->offset,
				       "stream.equivocation",
				       "two histories under one stream");
		}
		return GX_OK;
	case GX_V_REPEAT:
	case GX_V_VOID:
	case GX_V_REFUSE:
	case GX_V_WAIT:
		break;
	}
	gx_reader_count(r, v);
	return GX_OK;
}

/* What is void or known whoever made it is nothing to wait for. */
static bool
may_be_next(const struct entry *en, const struct gx_head *h)
{
	return h->first >= en->chain.next_seq &&
	       (h->epoch > en->chain.epoch ||
		(h->epoch == en->chain.epoch && h->writer == en->chain.writer));
}

/* This message is handled for the stream, whatever comes of it. */
static void
pass(struct entry *en, const struct gx_msg *m)
{
	en->live_from = m->offset + 1;
	if (en->is_seeking && m->offset > en->seek_end) {
		en->is_seeking = false;
	}
}

static enum gx_rc
take_batch_message(struct gx_reader *r, struct place *pl,
		   const struct gx_head *h, struct gx_msg *m, bool *keep,
		   struct gx_err *e)
{
	unsigned char hash[GX_HASH];
	struct entry *en;
	enum gx_verdict adm;
	enum gx_seal seal;
	enum gx_rc rc;

	if (!gx_slice_eq(m->key, h->stream)) {
		gx_reader_refuse(r, pl, m, "key is not the stream");
		return GX_OK;
	}
	adm = r->conf.admit(r->conf.admit_ctx, h->stream, h->schema,
			    gx_slice_str(pl->topic));
	if (adm == GX_V_REFUSE) {
		gx_reader_refuse(r, pl, m,
				 "stream is not declared for this topic");
		return GX_OK;
	}
	rc = meet_stream(r, pl, h->stream, &en, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (!en) {
		gx_reader_refuse(r, pl, m,
				 "stream does not belong to this partition");
		return GX_OK;
	}
	if (m->offset < en->live_from) {
		return GX_OK;
	}
	pass(en, m);
	if (en->is_stopped) {
		pass_over(pl, en, m);
	}
	if (en->is_stopped && !gx_reader_is_gap(en->why) &&
	    !gx_reader_waits_for_key(en)) {
		return GX_OK;
	}
	seal = gx_seal_check(r->verifier, h, true, hash);
	if (seal == GX_SEAL_UNKNOWN_KEY && !pl->is_own) {
		if (may_be_next(en, h)) {
			return gx_reader_meet_unknown(r, pl, en, h, m, e);
		}
		gx_reader_count(r, GX_V_WAIT);
		return GX_OK;
	}
	if (seal != GX_SEAL_GOOD) {
		gx_reader_refuse(r, pl, m,
				 seal == GX_SEAL_FORGED
					 ? "seal is wrong"
					 : "key may not seal this stream");
		return GX_OK;
	}
	gx_reader_know_owner(en, h, hash, m);
	if (gx_reader_waits_for_key(en)) {
		return gx_reader_follow(r, pl, en, h, hash, m, e);
	}
	if (adm == GX_V_WAIT && may_be_next(en, h)) {
		gx_reader_wait_schema(r, pl, en, h, m);
		return GX_OK;
	}
	return judge_batch(r, pl, en, h, hash, m, keep, e);
}

/* One stream of a marker. */
static enum gx_rc
claim_stream(struct gx_reader *r, struct place *pl, const struct gx_head *h,
	     struct gx_slice stream, const struct gx_msg *m, bool is_known,
	     struct gx_err *e)
{
	struct gx_stream_name nm;
	struct gx_apply *ap;
	struct entry *en;
	enum gx_rc rc;

	if (!gx_stream_parse(stream, &nm) ||
	    !gx_slice_eq(nm.origin, h->stream) ||
	    r->conf.admit(r->conf.admit_ctx, stream, gx_slice("", 0),
			  gx_slice_str(pl->topic)) == GX_V_REFUSE) {
		gx_reader_refuse(r, pl, m,
				 "marker claims a stream that is not its own");
		return GX_OK;
	}
	rc = meet_stream(r, pl, stream, &en, e);
	if (rc != GX_OK || !en) {
		if (rc == GX_OK) {
			gx_reader_refuse(r, pl, m,
					 "marker claims an undeclared stream");
		}
		return rc;
	}
	if (m->offset < en->live_from) {
		return GX_OK;
	}
	pass(en, m);
	if (en->is_stopped) {
		pass_over(pl, en, m);
	}
	if (is_known) {
		gx_reader_know_owner(en, h, NULL, m);
	}
	if (gx_reader_waits_for_key(en) && is_known) {
		return gx_reader_follow(r, pl, en, h, NULL, m, e);
	}
	if (gx_reader_waits_for_key(en)) {
		return gx_reader_meet_unknown(r, pl, en, h, m, e);
	}
	if (en->is_stopped && (strcmp(en->why, "stream.marker_missing") != 0 ||
			       h->epoch != en->need_epoch)) {
		return GX_OK; /* stands still, markers included */
	}
	if (gx_chain_marker(&en->chain, h) != GX_V_TAKE) {
		gx_reader_count(r, GX_V_VOID);
		return GX_OK;
	}
	if (!is_known) {
		return gx_reader_meet_unknown(r, pl, en, h, m, e);
	}
	if (gx_reader_has_late_doubt(en)) {
		return gx_reader_insist(r, pl, en, e);
	}
	gx_reader_count(r, GX_V_TAKE);
	ap = push_apply(pl, en);
	gx_chain_take_marker(&en->chain, h);
	gx_reader_know_owner(en, h, NULL, m);
	ap->after = en->chain;
	return go_on(r, pl, en, m, e);
}

static enum gx_rc
take_marker_message(struct gx_reader *r, struct place *pl,
		    const struct gx_head *h, struct gx_msg *m, struct gx_err *e)
{
	unsigned char hash[GX_HASH];
	struct gx_slice name;
	bool is_known = true;
	enum gx_rc rc = GX_OK;
	size_t at = 0;

	switch (gx_seal_check(r->verifier, h, true, hash)) {
	case GX_SEAL_GOOD:
		break;
	case GX_SEAL_UNKNOWN_KEY: /* its streams wait here, as for a batch */
		if (pl->is_own) {
			gx_reader_refuse(r, pl, m, "not a key of this node");
			return GX_OK;
		}
		is_known = false;
		break;
	case GX_SEAL_NOT_ALLOWED:
	case GX_SEAL_FORGED:
		gx_reader_refuse(r, pl, m, "marker's seal is wrong");
		return GX_OK;
	}
	while (rc == GX_OK && gx_marker_next(h->streams, &at, &name)) {
		rc = claim_stream(r, pl, h, name, m, is_known, e);
	}
	return rc;
}

enum gx_rc
gx_reader_take(struct gx_reader *r, struct place *pl, struct gx_msg *m,
	       bool *keep, struct gx_err *e)
{
	struct gx_head h;
	const char *bad = gx_head_parse(m->value, &h);

	*keep = false;
	if (bad) {
		gx_reader_refuse(r, pl, m, bad);
		return GX_OK;
	}
	if ((int64_t)h.partition != pl->partition) {
		gx_reader_refuse(r, pl, m, "made for another partition");
		return GX_OK;
	}
	if (h.kind == GX_MSG_MARKER) {
		return take_marker_message(r, pl, &h, m, e);
	}
	return take_batch_message(r, pl, &h, m, keep, e);
}
