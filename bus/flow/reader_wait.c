/*
 * Reader, third part: a stream that waits for a key or a schema.
 *
 * A message under a key not known here may be of a node whose new key has not
 * come yet, or a forger's.  Nothing in it tells which, and no clock does.  So
 * the stream stands still at it, and follows on the side, in its probe, what it
 * would be without all such messages.  What proves them no part of it is what
 * the origin itself built:
 *
 * A writer reads its log to its own marker before it seals anything.  So once a
 * verified owner, whose marker stands behind the message, seals a batch that
 * continues the probe exactly, the message was before its eyes and was not
 * taken: a true marker there would have outbid the owner or deposed somebody
 * whose batches the probe followed, and a true batch there would be what it
 * builds on.  Epochs are not asked: a forger writes what he likes.  A verified
 * owner of a higher epoch than all such messages proves the same wherever its
 * marker stands: at most it has deposed them.
 *
 * One writer has one key ("a key changes at a marker").  So a batch of the
 * owner's epoch and writer under another key than his marker, or any verified
 * batch of his, is not his, and nobody waits for it.
 *
 * What was proven once holds for late copies too: they carry their place in the
 * origin.  What is forged after the last take-over of the origin holds the
 * stream up to the next one, and no longer.
 *
 * At each start some of what was decided is read again.  There a message of this
 * kind stops nobody: it was decided, unless the log was cut and filled again
 * under us.  What was taken behind it shows that; without that, and before
 * anything new is taken, the stream goes back and stands still at it.
 *
 * If we die anywhere all of this is found again from the log: there is nothing
 * here but doubt about messages that lie at or above the kept offset.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/reader_int.h"

#define PAUSE_MAX 60 /* times retry_ms, between two looks */

bool
gx_reader_is_wait(const char *why)
{
	return strncmp(why, "stream.wait_", 12) == 0;
}

bool
gx_reader_waits_for_key(const struct entry *en)
{
	return en->is_stopped && strcmp(en->why, "stream.wait_key") == 0;
}

static const struct spot nowhere = {-1, -1};

void
gx_reader_forget(struct entry *en)
{
	en->owner_at = en->proven = en->claim = nowhere;
	en->waits_at = en->late_at = -1;
}

static struct spot
spot_of(const struct gx_msg *m)
{
	return (struct spot){m->from, m->offset};
}

static bool
is_before(struct spot a, struct spot b)
{
	return a.from >= 0 && b.from >= 0 ? a.from < b.from
					  : a.offset < b.offset;
}

static void
copy_kid(char kid[GX_KID + 1], const struct gx_head *h)
{
	snprintf(kid, GX_KID + 1, "%.*s", (int)h->kid.n, h->kid.p);
}

static bool
has_kid(const struct gx_head *h, const char *kid)
{
	return gx_slice_eq(h->kid, gx_slice_str(kid));
}

static bool
is_owners(const struct gx_chain *c, const struct gx_head *h)
{
	return h->epoch == c->epoch && h->writer == c->writer;
}

/* ---- what is known ---- */

static void
prove(struct entry *en, const struct gx_head *h, struct spot marker)
{
	en->proven_epoch = h->epoch;
	en->proven = marker;
	copy_kid(en->proven_kid, h);
}

bool
gx_reader_has_late_doubt(const struct entry *en)
{
	return en->late_at >= 0;
}

/* Nothing that we have taken stood behind it: stand still there after all. */
enum gx_rc
gx_reader_insist(struct gx_reader *r, struct place *pl, struct entry *en,
		 struct gx_err *e)
{
	int64_t at = en->late_at;

	en->level_to = 0;
	en->late_at = -1;
	return gx_reader_rewind(r, pl, en, at, e);
}

/* The marker of our owner, or the head we stand at: what is before it in the
 * origin was decided when it was taken. */
static void
settle_late(struct entry *en, const struct gx_head *h,
	    const unsigned char *hash, const struct gx_msg *m)
{
	bool is_ours = hash ? memcmp(hash, en->chain.head, GX_HASH) == 0
			    : is_owners(&en->chain, h);

	if (en->late_at >= 0 && is_ours && m->offset < en->level_to &&
	    is_before(en->late, spot_of(m))) {
		prove(en, h, spot_of(m));
		en->late_at = -1;
	}
}

void
gx_reader_know_owner(struct entry *en, const struct gx_head *h,
		     const unsigned char *hash, const struct gx_msg *m)
{
	struct spot at = spot_of(m);

	settle_late(en, h, hash, m);
	if (!is_owners(&en->chain, h)) {
		return;
	}
	if (en->owner_epoch != h->epoch) {
		en->owner_epoch = h->epoch;
		en->owner_at = nowhere;
		copy_kid(en->owner_kid, h);
	}
	if (h->kind == GX_MSG_MARKER &&
	    (en->owner_at.offset < 0 || is_before(at, en->owner_at))) {
		en->owner_at = at;
	} else if (h->kind == GX_MSG_BATCH && !en->is_stopped &&
		   en->owner_at.offset >= 0 && en->proven_epoch != h->epoch &&
		   h->first + h->n == en->chain.next_seq) {
		prove(en, h, en->owner_at); /* it is what was just taken */
	}
}

/* Was this, under a key not known here, never part of the stream? */
static bool
is_disproved(const struct entry *en, const struct gx_head *h,
	     const struct gx_msg *m)
{
	if (h->kind == GX_MSG_BATCH && is_owners(&en->chain, h) &&
	    en->owner_epoch == h->epoch) {
		return !has_kid(h, en->owner_kid);
	}
	return en->proven_epoch != 0 && !has_kid(h, en->proven_kid) &&
	       (h->epoch < en->proven_epoch ||
		(h->epoch == en->proven_epoch && h->kind == GX_MSG_BATCH) ||
		is_before(spot_of(m), en->proven));
}

/* ---- standing still ---- */

static void
begin_doubt(struct entry *en, const struct gx_head *h, const struct gx_msg *m)
{
	en->doubt.spot = spot_of(m);
	en->doubt.is_owners =
		h->kind == GX_MSG_BATCH && is_owners(&en->chain, h);
	copy_kid(en->doubt.kid, h);
	en->doubt_epoch = h->epoch;
	en->probe = en->chain;
	en->has_claim = false;
}

/* It has no row to say so in: the partition's offset stays below. */
static void
stop_rowless(struct place *pl, struct entry *en, const struct gx_msg *m)
{
	if (en->stopped_at != m->offset || en->why[0] == '\0') {
		gx_log(GX_LOG_WARN, "stream.wait_key",
		       "stream=%s topic=%s partition=%d offset=%lld",
		       en->stream, pl->topic, pl->partition,
		       (long long)m->offset);
	}
	en->is_stopped = true;
	en->is_behind = false;
	en->is_seeking = false;
	en->stopped_at = m->offset;
	en->why = "stream.wait_key";
	pl->has_rowless = true;
}

/* Look again soon, unless it stood here before and nothing has changed. */
static void
pace(const struct gx_reader *r, struct entry *en, const struct gx_msg *m)
{
	if (en->waits_at != m->offset) {
		en->waits_at = m->offset;
		en->pause_ms = r->conf.retry_ms;
		en->look_at_ms = gx_mono_ms() + en->pause_ms;
	}
}

/* Without it what was forged long ago stops the stream again at each start
 * (simulation, seed 1369). */
static void
put_off(struct entry *en, const struct gx_msg *m)
{
	if (en->late_at < 0) {
		en->late_at = m->offset;
		en->late = spot_of(m);
	} else if (is_before(en->late, spot_of(m))) {
		en->late = spot_of(m);
	}
}

enum gx_rc
gx_reader_meet_unknown(struct gx_reader *r, struct place *pl, struct entry *en,
		       const struct gx_head *h, const struct gx_msg *m,
		       struct gx_err *e)
{
	if (is_disproved(en, h, m)) {
		gx_reader_refuse(r, pl, m,
				 "not part of what its successors built on");
		return GX_OK;
	}
	gx_reader_count(r, GX_V_WAIT);
	if (en->is_stopped) {
		en->doubt_epoch =
			h->epoch > en->doubt_epoch ? h->epoch : en->doubt_epoch;
		return GX_OK;
	}
	if (m->offset < en->level_to) {
		put_off(en, m);
		return GX_OK;
	}
	if (gx_reader_has_late_doubt(en)) {
		return gx_reader_insist(r, pl, en, e);
	}
	begin_doubt(en, h, m);
	pace(r, en, m);
	if (en->is_new) {
		stop_rowless(pl, en, m);
		return GX_OK;
	}
	gx_reader_stop(r, pl, en, m->offset, "stream.wait_key",
		       "sealed with a key not known here yet");
	return GX_OK;
}

void
gx_reader_wait_schema(struct gx_reader *r, struct place *pl, struct entry *en,
		      const struct gx_head *h, const struct gx_msg *m)
{
	gx_reader_count(r, GX_V_WAIT);
	if (en->is_stopped) {
		return;
	}
	snprintf(en->schema, sizeof en->schema, "%.*s", (int)h->schema.n,
		 h->schema.p);
	pace(r, en, m);
	gx_reader_stop(r, pl, en, m->offset, "stream.wait_schema",
		       "of a schema not known here yet");
}

bool
gx_reader_is_look_due(const struct gx_reader *r, const struct place *pl,
		      struct entry *en, int64_t now_ms)
{
	int64_t most = (int64_t)r->conf.retry_ms * PAUSE_MAX;

	if (strcmp(en->why, "stream.wait_schema") == 0 && en->schema[0] &&
	    r->conf.admit(r->conf.admit_ctx, gx_slice_str(en->stream),
			  gx_slice_str(en->schema),
			  gx_slice_str(pl->topic)) != GX_V_WAIT) {
		return true;
	}
	if (!gx_reader_is_wait(en->why)) {
		return strcmp(en->why, "stream.behind") == 0;
	}
	if (now_ms < en->look_at_ms) {
		return false;
	}
	en->pause_ms = en->pause_ms > 0 ? en->pause_ms * 2 : r->conf.retry_ms;
	en->pause_ms = en->pause_ms < most ? en->pause_ms : most;
	en->look_at_ms = now_ms + en->pause_ms;
	return true;
}

/* ---- proof ---- */

/* A verified marker: the probe's next owner. */
static void
follow_marker(struct entry *en, const struct gx_head *h, const struct gx_msg *m)
{
	if (gx_chain_marker(&en->probe, h) != GX_V_TAKE) {
		return;
	}
	gx_chain_take_marker(&en->probe, h);
	en->claim = spot_of(m);
	en->has_claim = is_before(en->doubt.spot, en->claim);
}

/* A verified batch: does it continue the probe, and does that prove it? */
static bool
follow_batch(struct entry *en, const struct gx_head *h,
	     const unsigned char hash[GX_HASH])
{
	const struct gx_taken none = {0};

	/* Another prev is no second history here: the probe may follow what an
	 * owner that we cannot check has deposed. */
	if (h->first != en->probe.next_seq ||
	    memcmp(h->prev, en->probe.head, GX_HASH) != 0 ||
	    gx_chain_batch(&en->probe, h, hash, &none) != GX_V_TAKE) {
		return false;
	}
	gx_chain_take_batch(&en->probe, h, hash);
	if (en->has_claim) {
		prove(en, h, en->claim);
		return true;
	}
	if (h->epoch > en->doubt_epoch) {
		prove(en, h, nowhere);
		return true;
	}
	return false;
}

enum gx_rc
gx_reader_follow(struct gx_reader *r, struct place *pl, struct entry *en,
		 const struct gx_head *h, const unsigned char hash[GX_HASH],
		 const struct gx_msg *m, struct gx_err *e)
{
	/* The key has come, or the batch we stand at was not the owner's. */
	bool is_over = has_kid(h, en->doubt.kid) ||
		       (en->doubt.is_owners && is_owners(&en->chain, h));

	if (!is_over && h->kind == GX_MSG_MARKER) {
		follow_marker(en, h, m);
	} else if (!is_over) {
		is_over = follow_batch(en, h, hash);
	}
	return is_over ? gx_reader_rewind(r, pl, en, en->stopped_at, e) : GX_OK;
}
