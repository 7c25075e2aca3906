/*
 * Reader: looking again.
 *
 * Once in a while a reader asks what no message tells it.  Has the key or the
 * schema come that a stream waits for?  Then it reads its partition again from
 * where it stands; as long as that took, what moves has the partition to
 * itself.  Does a partition that had lost its end reach it again, or does one
 * that is read again still reach where it was read to?  If not as believed,
 * everything is loaded anew.
 *
 * A partition looks again only when it has written down what it passed over and
 * has arrived at its end: else those that wait would hold up those that move.
 *
 * Nothing is decided here, and if we die anywhere nothing has happened: what is
 * read again is judged as it was the first time (reader_take.c).
 */
#include "base/clock.h"
#include "flow/reader_int.h"

/* Reading again is done: what moves has the partition to itself for as long.
 * Without this those that wait far below leave their neighbours no time (in the
 * simulation one seed of 170,000 ran out of rounds). */
static bool
is_resting(struct place *pl, int64_t now_ms)
{
	if (pl->is_looking) {
		pl->is_looking = false;
		pl->rest_until_ms = now_ms + (now_ms - pl->looked_at_ms);
	}
	return now_ms < pl->rest_until_ms;
}

/* Some of a place's waiting streams look again, others at the next turn. */
static enum gx_rc
retry_place(struct gx_reader *r, struct place *pl, struct gx_err *e)
{
	struct entry *en;
	struct entry *next;
	int64_t now_ms = gx_mono_ms();

	if (pl->lost) {
		return GX_OK;
	}
	if (pl->upto != pl->done) {
		pl->is_dirty = true; /* what was passed over first */
		return GX_OK;
	}
	if (pl->has_behind || pl->read_at < pl->upto) {
		return GX_OK; /* reading again as it is: let it arrive */
	}
	if (is_resting(pl, now_ms)) {
		return GX_OK;
	}
	HASH_ITER (hh, pl->entries, en, next) {
		enum gx_rc rc;

		if (!en->is_stopped ||
		    !gx_reader_is_look_due(r, pl, en, now_ms)) {
			continue;
		}
		if (!gx_reader_has_room(pl)) {
			return GX_OK;
		}
		pl->is_looking = true;
		pl->looked_at_ms = now_ms;
		rc = gx_reader_rewind(r, pl, en, en->stopped_at, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	return GX_OK;
}

/* Does the log hold again what it had lost, or at least reach so far?  Without
 * this look another reader may end the stops, and this one never reads on
 * (simulation, seed 400422). */
static enum gx_rc
check_lost_again(struct gx_reader *r, const struct place *pl, struct gx_err *e)
{
	int64_t low = 0;
	int64_t high = 0;
	enum gx_rc rc = r->log->ops->range(r->log, pl->topic, pl->partition,
					   &low, &high, e);

	if (rc != GX_OK || low > pl->next_offset || high < pl->next_offset) {
		return rc;
	}
	return GX_ERR(e, GX_ABORT, "log.refilled",
		      "%s/%d reaches %lld again: comparing it with what was "
		      "taken",
		      pl->topic, pl->partition, (long long)pl->next_offset);
}

/* A place that reads again stands below its end: if the log was cut between
 * the two, no consumer is told, and the end never comes. */
static enum gx_rc
check_end(struct gx_reader *r, const struct place *pl, struct gx_err *e)
{
	int64_t low = 0;
	int64_t high = 0;
	enum gx_rc rc;

	if (pl->lost) {
		return check_lost_again(r, pl, e);
	}
	if (!pl->has_behind || pl->read_at >= pl->upto) {
		return GX_OK;
	}
	rc = r->log->ops->range(r->log, pl->topic, pl->partition, &low, &high,
				e);
	if (rc != GX_OK || high >= pl->upto) {
		return rc;
	}
	return GX_ERR(e, GX_ABORT, "log.out_of_range",
		      "%s/%d ends at %lld and was read up to %lld", pl->topic,
		      pl->partition, (long long)high, (long long)pl->upto);
}

enum gx_rc
gx_reader_look_again(struct gx_reader *r, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	if (gx_mono_ms() < r->retry_at_ms) {
		return GX_OK;
	}
	r->retry_at_ms = gx_mono_ms() + r->conf.retry_ms;
	for (size_t i = 0; i < r->n_places && rc == GX_OK; i++) {
		rc = check_end(r, &r->places[i], e);
		if (rc == GX_OK) {
			rc = retry_place(r, &r->places[i], e);
		}
	}
	return rc == GX_AGAIN ? GX_ABORT : rc;
}
