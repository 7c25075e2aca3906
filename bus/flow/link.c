/*
 * Link: one topic of one log copied to its like in another.
 *
 * The place to go on is found in the receiving log itself: the highest source
 * offset among its last messages, looked up at every start and after every
 * doubt of the producer.  Nothing that was acknowledged, and nothing stored
 * elsewhere, is believed: a receiving log that lost its tail is simply found
 * shorter, and is filled again from there.  So the first copies of all
 * messages stand in every log in the order of the origin, and what a link in
 * doubt or a zombie link writes twice is a repeat that readers skip.
 *
 * The link copies all it reads, whatever it thinks of it.  It looks at header,
 * signature and chain on the way so that the alarm rings near the cause: it
 * counts and logs, it never drops.  What it knows of a chain begins with the
 * first batch of a stream that it sees after a start, and is a guess until the
 * owner's marker comes by: before that, no break is an alarm.
 *
 * A partition whose log lost what the receiver has, or needs, is left alone and
 * named in the state of the flow until somebody restarts it; the others are
 * copied.  If none is left the flow stops.
 *
 * If we die on any line the receiving log holds a prefix of the origin's,
 * perhaps with repeats.  There is no other state.
 */
#include "flow/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define LINK_MAGIC 0x6c696e6bu
#define SETTLE_MS 30000 /* to read a tail before we call the log away */
#define BURST 64	/* messages copied in one step */

/* What the link saw last of a stream: enough to notice a break. */
struct watched {
	struct gx_chain chain;
	bool is_begun;
	bool is_owned; /* we saw the owner's marker: more than a guess */
	char stream[GX_STREAM_MAX + 1];
	UT_hash_handle hh;
};

struct lane {
	char why[64];	   /* code, if it is not copied; "" else */
	char text[400];	   /* and for people */
	int64_t next;	   /* source offset to be copied next */
	int64_t tail_low;  /* receiving log: its first message */
	int64_t tail_from; /* where the tail begins */
	int64_t tail_end;  /* and its end when we looked */
	int64_t highest;   /* highest gx-from in the tail, -1 none */
	bool is_settled;
	struct watched *watched;
};

struct gx_link {
	unsigned magic;
	struct gx_link_conf conf;
	char flow[64];
	char topic[64];
	struct gx_log *from, *to;
	struct gx_verifier *verifier;

	struct gx_in *in;   /* origin */
	struct gx_out *out; /* receiver */
	struct gx_in *tail; /* receiver, only while the place is looked up */
	int64_t settle_by_ms;
	int64_t n_tail; /* messages of the tail to be looked at */
	struct lane *lanes;
	int32_t n_lanes;
	int32_t *copied; /* partition of each place of in */
	int32_t n_copied;
	size_t n_in_flight;
	struct gx_msg waiting; /* read, but the queue was full */
	bool is_waiting;

	struct gx_series *n_bytes, *n_resumes, *verdicts[GX_V_COUNT];
};

enum gx_rc
gx_link_new(const struct gx_link_conf *conf, struct gx_log *from,
	    struct gx_log *to, struct gx_verifier *verifier,
	    struct gx_link **out, struct gx_err *e)
{
	struct gx_link *l = gx_mem_new(sizeof *l);
	const char *values[3] = {l->flow, NULL, NULL};

	(void)e;
	l->magic = LINK_MAGIC;
	l->conf = *conf;
	snprintf(l->flow, sizeof l->flow, "%s", conf->flow);
	snprintf(l->topic, sizeof l->topic, "%s", conf->topic);
	l->from = from;
	l->to = to;
	l->verifier = verifier;
	l->n_tail = (int64_t)conf->tail;
	l->n_bytes = gx_metric(GX_M_BYTES, values);
	l->n_resumes = gx_metric(GX_M_LINK_RESUMES, values);
	for (int v = 0; v < GX_V_COUNT; v++) {
		values[1] = gx_verdict_name((enum gx_verdict)v);
		l->verdicts[v] = gx_metric(GX_M_BATCHES, values);
	}
	*out = l;
	return GX_OK;
}

static void
close_link(void *flow)
{
	struct gx_link *l = flow;

	if (l->is_waiting) {
		l->from->ops->done(l->in, &l->waiting);
		l->is_waiting = false;
	}
	/* The producer first: messages it still pins belong to the consumer. */
	if (l->out) {
		l->to->ops->close_out(&l->out);
	}
	if (l->tail) {
		l->to->ops->close_in(&l->tail);
	}
	if (l->in) {
		l->from->ops->close_in(&l->in);
	}
	for (int32_t i = 0; i < l->n_lanes; i++) {
		struct watched *wt;
		struct watched *next;

		HASH_ITER (hh, l->lanes[i].watched, wt, next) {
			HASH_DEL(l->lanes[i].watched, wt);
			gx_mem_free(wt);
		}
	}
	gx_mem_free(l->lanes);
	gx_mem_free(l->copied);
	l->lanes = NULL;
	l->copied = NULL;
	l->n_lanes = 0;
	l->n_copied = 0;
	l->n_in_flight = 0;
}

static enum gx_rc
check_partitions(struct gx_link *l, struct gx_err *e)
{
	int32_t n_from;
	int32_t n_to;
	enum gx_rc rc =
		l->from->ops->n_partitions(l->from, l->topic, &n_from, e);

	if (rc == GX_OK) {
		rc = l->to->ops->n_partitions(l->to, l->topic, &n_to, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (n_from != n_to) {
		return GX_ERR(e, GX_FATAL, "link.partitions",
			      "%s has %d partitions here and %d at the "
			      "receiver: they are fixed at joining; make both "
			      "equal",
			      l->topic, n_from, n_to);
	}
	l->n_lanes = n_from;
	l->lanes = gx_mem_new((size_t)n_from * sizeof *l->lanes);
	return GX_OK;
}

/* Open the last messages of every partition of the receiving log. */
static enum gx_rc
open_tail(struct gx_link *l, struct gx_err *e)
{
	struct gx_place *at = gx_mem_new((size_t)l->n_lanes * sizeof *at);
	enum gx_rc rc = GX_OK;

	for (int32_t p = 0; p < l->n_lanes && rc == GX_OK; p++) {
		struct lane *la = &l->lanes[p];
		int64_t low = 0;
		int64_t high = 0;

		rc = l->to->ops->range(l->to, l->topic, p, &low, &high, e);
		la->tail_end = high;
		la->tail_low = low;
		la->tail_from = high - l->n_tail;
		la->tail_from = la->tail_from < low ? low : la->tail_from;
		la->highest = -1;
		la->is_settled = la->tail_from >= high;
		at[p] = (struct gx_place){l->topic, p, la->tail_from};
	}
	if (rc == GX_OK) {
		rc = l->to->ops->open_in(l->to, at, (size_t)l->n_lanes,
					 &l->tail, e);
	}
	gx_mem_free(at);
	l->settle_by_ms = gx_mono_ms() + SETTLE_MS;
	return rc;
}

static enum gx_rc
open_link(void *flow, struct gx_err *e)
{
	struct gx_link *l = flow;
	enum gx_rc rc;

	GX_ASSERT(l->magic == LINK_MAGIC);
	rc = check_partitions(l, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_metric_add(l->n_resumes, 1);
	/* Before we look: if the log is cut after that, the producer knows. */
	rc = l->to->ops->open_out(l->to, l->topic, &l->out, e);
	return rc == GX_OK ? open_tail(l, e) : rc;
}

static bool
is_settled(const struct gx_link *l)
{
	for (int32_t p = 0; p < l->n_lanes; p++) {
		if (!l->lanes[p].is_settled) {
			return false;
		}
	}
	return true;
}

/* The place seems to lie below this log.  Is it really so?  Late copies of
 * former links may cover it, or another link has gone on since we looked. */
static enum gx_rc
look_deeper(struct gx_link *l, const struct lane *la, int32_t p,
	    struct gx_err *e)
{
	int64_t low = 0;
	int64_t high = 0;
	enum gx_rc rc = l->to->ops->range(l->to, l->topic, p, &low, &high, e);

	if (rc != GX_OK ||
	    (la->tail_from <= la->tail_low && high == la->tail_end)) {
		return rc;
	}
	if (la->tail_from > la->tail_low) {
		l->n_tail *= 4;
	}
	return GX_ERR(e, GX_ABORT, "link.tail_deeper",
		      "the last messages of %s/%d at the receiver are all "
		      "older than this log: looking again, further back",
		      l->topic, p);
}

/* The place of one partition from what its tail holds. */
static enum gx_rc
find_place(struct gx_link *l, int32_t p, struct gx_err *e)
{
	struct lane *la = &l->lanes[p];
	int64_t low = 0;
	int64_t high = 0;
	enum gx_rc rc =
		l->from->ops->range(l->from, l->topic, p, &low, &high, e);

	if (rc != GX_OK) {
		return rc;
	}
	la->next = la->highest + 1;
	if (la->next < low) {
		rc = look_deeper(l, la, p, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (la->highest < 0 && la->tail_end > la->tail_from) {
		return GX_ERR(e, GX_FATAL, "link.foreign_tail",
			      "the last messages of %s/%d at the receiver were "
			      "not copied by a link: something else writes "
			      "there; take its right to",
			      l->topic, p);
	}
	if (la->next > high) {
		return GX_ERR(e, GX_FATAL, "link.ahead",
			      "the receiver holds %s/%d up to %lld, this log "
			      "ends at %lld: this log was restored or lost "
			      "its end",
			      l->topic, p, (long long)la->highest,
			      (long long)high);
	}
	if (la->next < low) {
		return GX_ERR(e, GX_FATAL, "link.trimmed",
			      "%s/%d begins at %lld, the receiver needs %lld: "
			      "it must be seeded",
			      l->topic, p, (long long)low, (long long)la->next);
	}
	return GX_OK;
}

/* One partition that cannot go on is left alone, loudly; the others go on. */
static void
leave_lane(struct gx_link *l, int32_t p, struct gx_err *e)
{
	struct lane *la = &l->lanes[p];

	gx_log_err(GX_LOG_ERROR, e);
	snprintf(la->why, sizeof la->why, "%s", e->code);
	snprintf(la->text, sizeof la->text, "%s", e->text);
}

/* The place of every partition; the first one's error if none can go on. */
static enum gx_rc
find_places(struct gx_link *l, struct gx_place *at, struct gx_err *e)
{
	struct gx_err first = {0};

	for (int32_t p = 0; p < l->n_lanes; p++) {
		struct gx_err mine = {0};
		enum gx_rc rc = find_place(l, p, &mine);

		if (rc == GX_FATAL) {
			first = first.code ? first : mine;
			leave_lane(l, p, &mine);
			continue;
		}
		if (rc != GX_OK) {
			*e = mine;
			return rc;
		}
		l->copied[l->n_copied] = p;
		at[l->n_copied++] =
			(struct gx_place){l->topic, p, l->lanes[p].next};
		gx_log(GX_LOG_INFO, "link.place",
		       "topic=%s partition=%d from=%lld", l->topic, p,
		       (long long)l->lanes[p].next);
	}
	if (l->n_copied == 0 && first.code) {
		*e = first;
		return GX_FATAL;
	}
	return GX_OK;
}

/* All tails are read: close them, open the two ends. */
static enum gx_rc
begin_copy(struct gx_link *l, struct gx_err *e)
{
	struct gx_place *at = gx_mem_new((size_t)l->n_lanes * sizeof *at);
	enum gx_rc rc;

	if (l->tail) {
		l->to->ops->close_in(&l->tail);
	}
	/* Again, if the origin could not be asked the last time. */
	gx_mem_free(l->copied);
	l->copied = gx_mem_new((size_t)l->n_lanes * sizeof *l->copied);
	l->n_copied = 0;
	rc = find_places(l, at, e);
	if (rc == GX_OK) {
		l->n_tail = (int64_t)l->conf.tail;
		rc = l->from->ops->open_in(l->from, at, (size_t)l->n_copied,
					   &l->in, e);
	}
	gx_mem_free(at);
	return rc;
}

static enum gx_rc
read_tail(struct gx_link *l, int timeout_ms, struct gx_err *e)
{
	struct gx_msg m;
	struct lane *la;
	enum gx_rc rc;

	if (is_settled(l)) {
		return begin_copy(l, e);
	}
	rc = l->to->ops->poll_out(l->out, 0, &l->n_in_flight, e);
	if (rc == GX_OK || rc == GX_AGAIN) {
		rc = l->to->ops->next(l->tail, timeout_ms, &m, e);
	}
	if (rc == GX_AGAIN && gx_mono_ms() > l->settle_by_ms) {
		return GX_ERR(e, GX_ABORT, "link.tail_away",
			      "the end of %s at the receiver could not be read "
			      "within %d s",
			      l->topic, SETTLE_MS / 1000);
	}
	if (rc != GX_OK) {
		return rc;
	}
	la = &l->lanes[m.place];
	la->highest = m.from > la->highest ? m.from : la->highest;
	la->is_settled = la->is_settled || m.offset + 1 >= la->tail_end;
	l->to->ops->done(l->tail, &m);
	return GX_OK;
}

/* ---- the alarm near the cause ---- */

static struct watched *
watch(struct lane *la, struct gx_slice stream)
{
	struct watched *wt;

	HASH_FIND(hh, la->watched, stream.p, stream.n, wt);
	if (!wt) {
		wt = gx_mem_new(sizeof *wt);
		memcpy(wt->stream, stream.p, stream.n);
		gx_chain_init(&wt->chain);
		HASH_ADD_KEYPTR(hh, la->watched, wt->stream, stream.n, wt);
	}
	return wt;
}

static void
alarm_at(struct gx_link *l, const struct gx_msg *m, enum gx_verdict v,
	 const char *why)
{
	gx_metric_add(l->verdicts[v], 1);
	gx_log(GX_LOG_WARN, "link.alarm",
	       "topic=%s partition=%d offset=%lld verdict=%s reason=\"%s\"",
	       l->topic, l->copied[m->place], (long long)m->offset,
	       gx_verdict_name(v), why);
}

static void
check_marker(struct lane *la, const struct gx_head *h)
{
	struct gx_slice name;
	size_t at = 0;

	while (gx_marker_next(h->streams, &at, &name)) {
		struct watched *wt = watch(la, name);

		if (h->epoch > wt->chain.epoch) {
			gx_chain_take_marker(&wt->chain, h);
			/* What we followed may have been void, even under its
			 * marker: a late copy of that, seen after a start. */
			wt->is_begun = false;
			wt->is_owned = true;
		}
	}
}

static void
check_batch(struct gx_link *l, struct lane *la, const struct gx_msg *m,
	    const struct gx_head *h, const unsigned char hash[GX_HASH])
{
	struct watched *wt = watch(la, h->stream);
	/* A link keeps no list of what it saw: old runs pass as repeats. */
	struct gx_taken none = {.lowest_first = wt->chain.next_seq};
	enum gx_verdict v;

	/* Without a marker the first we see may be void: follow the higher. */
	if (!wt->is_owned && h->epoch != wt->chain.epoch) {
		wt->is_begun = wt->is_begun && h->epoch < wt->chain.epoch;
	}
	if (!wt->is_begun && h->epoch >= wt->chain.epoch) {
		wt->chain.epoch = h->epoch;
		wt->chain.writer = h->writer;
		wt->chain.next_seq = h->first;
		memcpy(wt->chain.head, h->prev, GX_HASH);
		wt->is_begun = true;
	}
	v = gx_chain_batch(&wt->chain, h, hash, &none);
	if (v == GX_V_TAKE) {
		gx_chain_take_batch(&wt->chain, h, hash);
		gx_metric_add(l->verdicts[v], 1);
	} else if (v == GX_V_GAP || v == GX_V_EQUIVOCATION) {
		if (wt->is_owned) {
			alarm_at(l, m, v, "the chain breaks here");
		}
		wt->is_begun = false;
	} else {
		gx_metric_add(l->verdicts[v], 1);
	}
}

static void
check_message(struct gx_link *l, const struct gx_msg *m)
{
	struct lane *la = &l->lanes[l->copied[m->place]];
	unsigned char hash[GX_HASH];
	struct gx_head h;
	const char *bad = gx_head_parse(m->value, &h);

	if (bad) {
		alarm_at(l, m, GX_V_REFUSE, bad);
		return;
	}
	switch (gx_seal_check(l->verifier, &h, false, hash)) {
	case GX_SEAL_UNKNOWN_KEY:
		alarm_at(l, m, GX_V_WAIT, "sealed with a key not known here");
		return;
	case GX_SEAL_NOT_ALLOWED:
	case GX_SEAL_FORGED:
		alarm_at(l, m, GX_V_REFUSE, "seal is wrong");
		return;
	case GX_SEAL_GOOD:
		break;
	}
	if (h.kind == GX_MSG_MARKER) {
		check_marker(la, &h);
	} else {
		check_batch(l, la, m, &h, hash);
	}
}

/* ---- copying ---- */

static enum gx_rc
copy_one(struct gx_link *l, int timeout_ms, struct gx_err *e)
{
	struct gx_msg m = l->waiting;
	int64_t n = 0;
	enum gx_rc rc;

	if (!l->is_waiting) {
		rc = l->from->ops->next(l->in, timeout_ms, &m, e);
		if (rc != GX_OK) {
			return rc;
		}
		if (l->conf.check) {
			check_message(l, &m);
		}
	}
	n = (int64_t)m.value.n;
	/* The partition of the copy is the partition it came from. */
	rc = l->to->ops->forward(l->out, l->copied[m.place], l->in, &m,
				 m.offset, e);
	l->is_waiting = rc != GX_OK;
	if (l->is_waiting) {
		l->waiting = m;
		return rc;
	}
	gx_metric_add(l->n_bytes, n);
	gx_crash_point("link.after_send");
	return GX_OK;
}

static enum gx_rc
copy_some(struct gx_link *l, int timeout_ms, struct gx_err *e)
{
	enum gx_rc rc;
	bool did = false;

	for (int i = 0; i < BURST; i++) {
		size_t before = l->n_in_flight;
		bool is_full = before >= l->conf.max_in_flight;

		rc = l->to->ops->poll_out(l->out, is_full ? timeout_ms : 0,
					  &l->n_in_flight, e);
		if (rc != GX_OK && rc != GX_AGAIN) {
			return rc;
		}
		if (l->n_in_flight < before) {
			did = true;
			gx_crash_point("link.after_ack");
		}
		if (l->n_in_flight >= l->conf.max_in_flight) {
			return did ? GX_OK : GX_AGAIN;
		}
		/* While copies are under way, do not sleep on the origin. */
		rc = copy_one(l,
			      did				 ? 0
			      : l->n_in_flight && timeout_ms > 5 ? 5
								 : timeout_ms,
			      e);
		if (rc == GX_AGAIN) {
			break;
		}
		if (rc != GX_OK) {
			return rc;
		}
		did = true;
	}
	if (e) {
		e->code = NULL;
	}
	return did ? GX_OK : GX_AGAIN;
}

static enum gx_rc
step_link(void *flow, int timeout_ms, struct gx_err *e)
{
	struct gx_link *l = flow;
	enum gx_rc rc;

	if (l->out && l->in) {
		return copy_some(l, timeout_ms, e);
	}
	rc = read_tail(l, timeout_ms, e);
	if (rc == GX_AGAIN && e) {
		e->code = NULL;
	}
	return rc;
}

/* ---- for people ---- */

static void
print_left(const struct gx_link *l, struct gx_jw *w)
{
	gx_jw_name(w, "stopped");
	gx_jw_begin(w, '[');
	for (int32_t p = 0; p < l->n_lanes; p++) {
		if (l->lanes[p].why[0] == '\0') {
			continue;
		}
		gx_jw_begin(w, '{');
		gx_jw_kv_int(w, "partition", p);
		gx_jw_kv_str(w, "code", l->lanes[p].why);
		gx_jw_kv_str(w, "detail", l->lanes[p].text);
		gx_jw_end(w, '}');
	}
	gx_jw_end(w, ']');
}

static void
status_link(void *flow, struct gx_jw *w)
{
	struct gx_link *l = flow;

	gx_jw_kv_str(w, "topic", l->topic);
	gx_jw_kv_int(w, "partitions", l->n_lanes);
	gx_jw_kv_int(w, "in_flight", (int64_t)l->n_in_flight);
	gx_jw_kv_int(w, "bytes", (int64_t)gx_metric_get(l->n_bytes));
	gx_jw_kv_int(w, "resumes", (int64_t)gx_metric_get(l->n_resumes));
	print_left(l, w);
}

static void
accept_link(void *flow)
{
	(void)flow; /* nothing here is held up by a guard */
}

static void
free_link(void **flow)
{
	struct gx_link *l = *flow;

	if (!l) {
		return;
	}
	close_link(l);
	l->magic = 0;
	gx_mem_free(l);
	*flow = NULL;
}

const struct gx_flow_ops gx_link_ops = {
	.kind = "link-up",
	.open = open_link,
	.step = step_link,
	.close = close_link,
	.status = status_link,
	.accept = accept_link,
	.free = free_link,
};
