/*
 * PostgreSQL source, its start: may we go on?
 *
 * Three parties remember where we are: the log of the bus (the settled
 * position of each stream), the node's store (what was noted as released), and
 * the department's server (where the slot stands).  The slot must never stand
 * beyond what was noted, and the server must still be the one, and at least as
 * far, as what was taken from it.  Everything else is a loss that must be
 * named: a silent restart from wherever the slot happens to stand would be a
 * gap that nobody sees.
 *
 * The way on after a loss is a person's word: begin_again_after names the very
 * position that the error named, so that the word counts once and not for the
 * next loss.  Then a new slot is made, and every stream is read anew between s
 * and e.  If we die meanwhile, the streams that were not yet begun are known
 * by the older birth of the slot in their positions.
 *
 * What it refuses: to make a slot where one was; to read on behind a slot that
 * was moved beyond what was released; to compare positions of another server,
 * timeline or slot.
 */
#include "base/log.h"
#include "flow/src_pg_int.h"

struct standing {
	struct gx_pg_place place; /* of the newest position, if has_any */
	bool has_any;
	bool has_released;
	uint64_t released; /* LSN noted as released under the newest slot */
	uint64_t highest;  /* LSN settled or released */
	uint64_t lowest;   /* settled by a stream of the newest slot */
};

enum gx_rc
gx_src_pg_parse_pos(struct gx_slice text, struct gx_pg_place *place,
		    struct gx_pg_pos *pos, struct gx_err *e)
{
	if (!gx_pg_pos_parse(text, place, pos)) {
		return GX_ERR(e, GX_FATAL, "source.position",
			      "a settled position is not one of this kind of "
			      "source: was the stream written by another "
			      "adapter, or by a newer version?");
	}
	return GX_OK;
}

static enum gx_rc
check_place(const struct gx_src_pg *src, const struct gx_pg_place *place,
	    const struct gx_pg_pos *pos, struct gx_err *e)
{
	if (strcmp(place->slot, src->place.slot) != 0) {
		return GX_ERR(e, GX_FATAL, "source.restored",
			      "the streams were read through slot %s, the "
			      "declaration now says %s: put the old name back",
			      place->slot, src->place.slot);
	}
	if (place->system != src->place.system) {
		return GX_ERR(e, GX_FATAL, "source.restored",
			      "this is another database server than the one "
			      "the streams were read from: correct the "
			      "connection, or rebase the streams");
	}
	if (place->timeline != src->place.timeline) {
		return GX_ERR(e, GX_FATAL, "source.restored",
			      "the server is on timeline %u, the streams were "
			      "read on %u: it was restored or failed over, and "
			      "the streams need a rebase",
			      src->place.timeline, place->timeline);
	}
	if (src->server_end < pos->lsn) {
		return GX_ERR(e, GX_FATAL, "source.restored",
			      "the server's log ends before what was taken "
			      "from it: it was restored from a backup; the "
			      "streams need a rebase");
	}
	return GX_OK;
}

static enum gx_rc
note_standing(const struct gx_src_pg *src, struct standing *st,
	      struct gx_slice text, bool is_release, struct gx_err *e)
{
	struct gx_pg_place place;
	struct gx_pg_pos pos;
	enum gx_rc rc;

	if (text.n == 0) {
		return GX_OK;
	}
	rc = gx_src_pg_parse_pos(text, &place, &pos, e);
	if (rc == GX_OK) {
		rc = check_place(src, &place, &pos, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (!st->has_any || place.born > st->place.born) {
		st->place = place; /* a newer slot: the older do not count */
		st->has_released = false;
		st->lowest = UINT64_MAX;
		st->has_any = true;
	}
	if (pos.lsn > st->highest) {
		st->highest = pos.lsn;
	}
	if (place.born < st->place.born) {
		return GX_OK;
	}
	if (is_release) {
		st->has_released = true;
		st->released = pos.lsn;
	} else if (pos.lsn < st->lowest) {
		st->lowest = pos.lsn;
	}
	return GX_OK;
}

/* The slot is gone or was moved: only a person's word leads on. */
static enum gx_rc
check_slot(const struct gx_src_pg *src, const struct standing *st,
	   bool *begins_again, struct gx_err *e)
{
	uint64_t noted = st->has_released ? st->released : st->lowest;
	bool is_ahead = src->has_slot && st->has_any && src->slot_lsn > noted;
	char at[24];

	*begins_again = false;
	if (!st->has_any || (src->has_slot && !is_ahead)) {
		return GX_OK;
	}
	if (src->begin_again_after == st->highest) {
		*begins_again = true;
		return GX_OK;
	}
	gx_lsn_format(st->highest, at);
	if (is_ahead) {
		return GX_ERR(e, GX_FATAL, "source.released_beyond",
			      "slot %s stands beyond what was released: "
			      "somebody moved it, and changes may be lost; to "
			      "read everything again set \"begin_again_after\""
			      ": \"%s\" in the declaration and restart the "
			      "flow",
			      src->place.slot, at);
	}
	return GX_ERR(e, GX_FATAL, "slot.lost",
		      "slot %s %s: changes since are lost; to read everything "
		      "again set \"begin_again_after\": \"%s\" in the "
		      "declaration and restart the flow",
		      src->place.slot,
		      src->is_slot_lost ? "has lost its WAL" : "is gone", at);
}

static void
begin_stream(struct pg_stream *st, struct gx_slice text, uint64_t newest)
{
	struct gx_pg_place place;

	gx_buf_reset(&st->key);
	memset(&st->pos, 0, sizeof(st->pos));
	st->has_begun = text.n > 0 && gx_pg_pos_parse(text, &place, &st->pos) &&
			place.born == newest;
	st->is_read = st->has_begun && !st->pos.is_reading;
	st->awaits_until =
		st->is_read && st->pos.owes_end && st->pos.lsn < st->pos.until;
	if (!st->has_begun) {
		st->pos = (struct gx_pg_pos){.is_reading = true};
	} else if (st->pos.key.n > 0) {
		(void)gx_buf_slice(&st->key, st->pos.key);
	}
	st->pos.key = gx_buf_view(&st->key);
}

/* Nothing to publish: a slot made now would have no publication behind it. */
static bool
all_stopped(const struct gx_src_pg *src)
{
	for (size_t i = 0; i < src->n_tables; i++) {
		if (!src->tables[i].is_stopped) {
			return false;
		}
	}
	return true;
}

enum gx_rc
gx_src_pg_begin(struct gx_src_pg *src, const char *snapshot, struct gx_err *e)
{
	bool has_all = true;
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; i < src->n_streams; i++) {
		struct pg_stream *st = &src->streams[i];

		if (!st->has_begun) {
			st->pos.lsn = src->slot_lsn;
		}
		has_all &= st->is_read || src->tables[st->table].is_stopped;
	}
	src->released_lsn = src->slot_lsn;
	src->told_lsn = src->slot_lsn;
	src->idle_lsn = src->slot_lsn;
	src->phase = PG_CHANGES;
	if (!has_all && snapshot[0] == '\0') {
		rc = gx_src_pg_wait_older(src, e);
	}
	if (rc == GX_OK && !has_all) {
		rc = gx_src_pg_begin_reading(
			src, snapshot[0] != '\0' ? snapshot : NULL, e);
	}
	if (rc == GX_OK && !src->is_streaming) {
		rc = gx_src_pg_start_slot(src, e);
	}
	return rc == GX_AGAIN ? GX_ABORT : rc;
}

/* Where the streams stand is known: use the slot or ask for one. */
static enum gx_rc
begin(struct gx_src_pg *src, struct gx_err *e)
{
	enum gx_rc rc = gx_src_pg_publish(src, e);

	if (rc == GX_OK && src->has_slot) {
		return gx_src_pg_begin(src, "", e);
	}
	if (rc == GX_OK && all_stopped(src)) {
		src->phase = PG_CHANGES; /* read() says why, one by one */
		return GX_OK;
	}
	if (rc == GX_OK) {
		rc = gx_src_pg_ask_slot(src, e);
	}
	return rc == GX_AGAIN ? GX_ABORT : rc;
}

enum gx_rc
gx_src_pg_start(struct gx_source *s, const struct gx_slice *pos, size_t n,
		struct gx_slice released, struct gx_err *e)
{
	struct gx_src_pg *src = src_pg_of(s);
	struct standing st = {.lowest = UINT64_MAX};
	bool begins_again;
	enum gx_rc rc = GX_OK;

	GX_ASSERT(n == src->n_streams && src->phase == PG_TAKEN);
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		rc = note_standing(src, &st, pos[i], false, e);
	}
	if (rc == GX_OK) {
		rc = note_standing(src, &st, released, true, e);
	}
	if (rc == GX_OK) {
		rc = check_slot(src, &st, &begins_again, e);
	}
	if (rc == GX_OK && (begins_again || src->is_slot_lost)) {
		gx_log(GX_LOG_WARN, "source.begins_again",
		       "origin=%s text=\"a full reading of every table, %s\"",
		       src->origin,
		       begins_again ? "as begin_again_after orders"
				    : "nothing was ever taken");
		rc = gx_src_pg_drop_slot(src, e);
		if (rc == GX_OK && src->repl == NULL) {
			rc = gx_pg_open(gx_buf_str(&src->conninfo), src->app,
					true, &src->repl, e);
		}
		src->has_slot = false;
	}
	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	src->place.born = st.has_any ? st.place.born : src->slot_lsn;
	for (size_t i = 0; i < n; i++) {
		begin_stream(&src->streams[i],
			     begins_again ? gx_slice(NULL, 0) : pos[i],
			     src->place.born);
	}
	return begin(src, e);
}
