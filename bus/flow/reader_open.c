/*
 * Reader, fourth part: where each partition and each stream goes on.
 *
 * At each opening the store says what was taken and where each stream stands,
 * the log says what it holds.  A partition is read from its kept offset; a copy
 * a little lower, for what is found again there; a stream that stood still from
 * where it stood, or, if something was missing, from the begin of the log.
 *
 * A log that begins above what we need, or, being the node's own, ends below
 * what we have taken, has lost records.  That is an affair of its partition: its
 * streams stand still and say why, in the store, and nothing is read there.  The
 * others go on.  Only if no partition is left does the whole flow stop.  When
 * the log reaches the place again its streams compare it from its begin with
 * what was taken, and stop where it differs.
 *
 * If we die on any line nothing has happened: stops are written by the
 * transactions that follow.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/reader_int.h"

#define LOOK_BACK 64 /* messages of a copied log read again at each start */

static const char *
static_why(const char *why)
{
	static const char *const known[] = {
		"stream.gap",	     "stream.marker_missing",
		"stream.wait_key",   "stream.wait_schema",
		"guard.mass_delete", "stream.equivocation",
		"stream.behind",     "log.lost_tail",
		"log.trimmed"};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (strcmp(known[i], why) == 0) {
			return known[i];
		}
	}
	return "stream.stopped";
}

static bool
is_lost(const char *why)
{
	return strncmp(why, "log.", 4) == 0;
}

static void
load_row(void *ctx, const struct gx_stream_row *row)
{
	struct place *pl = ctx;
	struct entry *en = gx_mem_new(sizeof *en);

	memcpy(en->stream, row->stream, sizeof en->stream);
	en->chain = row->chain;
	en->is_stopped = row->is_stopped;
	en->is_row_stopped = row->is_stopped;
	en->stopped_at = row->stopped_at;
	en->why = row->is_stopped ? static_why(row->why) : "";
	en->row_why = en->why;
	en->need_epoch = UINT64_MAX; /* until it is met again */
	gx_reader_forget(en);
	HASH_ADD_KEYPTR(hh, pl->entries, en->stream, strlen(en->stream), en);
}

/* A stream that stood still looks again whether it can go on.  What the log
 * had lost is compared from its begin with what was taken. */
static void
resume(struct gx_reader *r, struct place *pl, struct entry *en, int64_t low)
{
	bool is_gap = gx_reader_is_gap(en->why) || is_lost(en->why);

	if (strcmp(en->why, "guard.mass_delete") == 0) {
		if (!r->is_accepted) {
			return;
		}
		gx_reader_end_stop(pl, en, true);
	} else if (!is_gap && !gx_reader_is_wait(en->why) &&
		   strcmp(en->why, "stream.behind") != 0) {
		return;
	}
	if (!gx_reader_has_room(pl)) {
		return; /* at a later turn */
	}
	pl->n_rewound++;
	en->is_stopped = false;
	en->is_behind = true;
	pl->has_behind = true;
	pl->is_dirty = true;
	if (is_gap) {
		en->is_seeking = true;
		en->seek_end = en->stopped_at;
		en->live_from = low;
	} else if (en->stopped_at < en->live_from) {
		en->live_from = en->stopped_at < low ? low : en->stopped_at;
	}
}

/* Where each stream goes on, once the ends of the log are known. */
static void
place_streams(struct gx_reader *r, struct place *pl, int64_t low)
{
	int64_t from = pl->upto;
	struct entry *en;
	struct entry *next;

	if (!pl->is_own) {
		from = from - LOOK_BACK > low ? from - LOOK_BACK : low;
	}
	pl->read_at = from;
	HASH_ITER (hh, pl->entries, en, next) {
		en->live_from = from;
		en->level_to = en->is_stopped ? 0 : pl->next_offset;
		if (en->is_stopped) {
			resume(r, pl, en, low);
		}
		if (!en->is_stopped && en->live_from < pl->read_at) {
			pl->read_at = en->live_from;
		}
	}
}

/*
 * The log of this partition lost what we need next, or what we have taken: its
 * streams stand still and say so, and nothing is read here.  Those of other
 * partitions go on.  What stands still for ever already keeps its reason.
 */
static void
lose_place(struct gx_reader *r, struct place *pl, int64_t low, int64_t high)
{
	struct entry *en;
	struct entry *next;

	pl->lost = low > pl->next_offset ? "log.trimmed" : "log.lost_tail";
	pl->read_at = high;
	pl->began_ms = gx_mono_ms();
	gx_log(GX_LOG_ERROR, pl->lost,
	       "topic=%s partition=%d low=%lld end=%lld read=%lld", pl->topic,
	       pl->partition, (long long)low, (long long)high,
	       (long long)pl->next_offset);
	HASH_ITER (hh, pl->entries, en, next) {
		int64_t at = en->is_stopped ? en->stopped_at : pl->next_offset;

		if (en->is_stopped && !gx_reader_is_gap(en->why) &&
		    !gx_reader_is_wait(en->why) && !is_lost(en->why) &&
		    strcmp(en->why, "stream.behind") != 0) {
			continue;
		}
		gx_reader_stop(r, pl, en, at, pl->lost,
			       pl->is_own ? "this node's log lost what it held"
					  : "the log begins above it");
	}
}

/* Nothing is left to be followed: the whole flow waits for a person. */
static enum gx_rc
check_lost(const struct gx_reader *r, struct gx_err *e)
{
	const struct place *pl = r->n_places > 0 ? &r->places[0] : NULL;

	for (size_t i = 0; i < r->n_places; i++) {
		if (!r->places[i].lost) {
			return GX_OK;
		}
	}
	if (!pl) {
		return GX_OK;
	}
	return strcmp(pl->lost, "log.trimmed") == 0
		       ? GX_ERR(e, GX_FATAL, "log.trimmed",
				"%s/%d begins above what this node has read "
				"(%lld): records are missing; restore the log "
				"or rebase its streams",
				pl->topic, pl->partition,
				(long long)pl->next_offset)
		       : GX_ERR(e, GX_FATAL, "log.lost_tail",
				"%s/%d ends below what this node has taken "
				"(%lld): the log was restored or lost its end; "
				"copy it home from the neighbour",
				pl->topic, pl->partition,
				(long long)pl->next_offset);
}

static bool
is_listed(char *const *list, const char *topic)
{
	while (*list && strcmp(*list, topic) != 0) {
		list++;
	}
	return *list != NULL;
}

static enum gx_rc
open_place(struct gx_reader *r, struct place *pl, struct gx_err *e)
{
	int64_t low;
	int64_t high;
	enum gx_rc rc;

	pl->from_high = -1;
	/* Large, mostly unused, and written before it is read: not cleared. */
	pl->heads = gx_mem_grow(NULL, READER_MAX_APPLIES, sizeof *pl->heads);
	pl->held = gx_mem_grow(NULL, READER_MAX_APPLIES, sizeof *pl->held);
	if (!pl->heads || !pl->held) {
		return GX_ERR(e, GX_FATAL, "mem.none", "no memory for %s/%d",
			      pl->topic, pl->partition);
	}
	rc = r->store->ops->load(r->store, pl->topic, pl->partition,
				 &pl->next_offset, load_row, pl, e);
	if (rc != GX_OK) {
		return rc;
	}
	rc = r->log->ops->range(r->log, pl->topic, pl->partition, &low, &high,
				e);
	if (rc != GX_OK) {
		return rc;
	}
	pl->upto = pl->next_offset;
	pl->done = pl->next_offset;
	if (low > pl->next_offset || (high < pl->next_offset && pl->is_own)) {
		lose_place(r, pl, low, high);
		return GX_OK;
	}
	if (high < pl->next_offset) {
		gx_log(GX_LOG_WARN, "log.lost_tail",
		       "topic=%s partition=%d end=%lld read=%lld", pl->topic,
		       pl->partition, (long long)high,
		       (long long)pl->next_offset);
		pl->upto = high;
		pl->is_dirty = true;
	}
	place_streams(r, pl, low);
	pl->began_ms = gx_mono_ms();
	return GX_OK;
}

enum gx_rc
gx_reader_open_places(struct gx_reader *r, struct gx_err *e)
{
	size_t n = 0;

	for (size_t t = 0; r->topics[t]; t++) {
		int32_t n_parts;
		enum gx_rc rc = r->log->ops->n_partitions(r->log, r->topics[t],
							  &n_parts, e);
		void *grown;

		if (rc != GX_OK) {
			return rc;
		}
		grown = gx_mem_grow(r->places, n + (size_t)n_parts,
				    sizeof *r->places);
		if (!grown) {
			return GX_ERR(e, GX_FATAL, "mem.none",
				      "no memory for %d partitions", n_parts);
		}
		r->places = grown;
		memset(r->places + n, 0, (size_t)n_parts * sizeof *r->places);
		for (int32_t p = 0; p < n_parts; p++) {
			struct place *pl = &r->places[n];

			pl->topic = r->topics[t];
			pl->partition = p;
			pl->is_own = is_listed(r->own_topics, pl->topic);
			r->n_places = ++n;
			rc = open_place(r, pl, e);
			if (rc != GX_OK) {
				return rc;
			}
		}
	}
	return check_lost(r, e);
}
