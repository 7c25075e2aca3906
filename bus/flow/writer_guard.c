/*
 * Writer, the mass-change guard: a source that suddenly deletes or changes a
 * large share of its rows is more often a mistake than news.
 *
 * Changes are counted per stream in buckets of a sixtieth of the window; when
 * their sum passes both the floor and the share of the base rows, the flow
 * stops before the record that would pass it, until an operator says that it
 * is meant (gxbus flow resume --accept).  Nothing is lost by it: what was not
 * sealed is read from the source again.
 */
#include "base/clock.h"
#include "flow/writer_int.h"

static uint64_t
slide(struct wstream *ws, int64_t window_ms)
{
	int64_t width_ms = window_ms / GUARD_BUCKETS + 1;
	int64_t now_no = gx_mono_ms() / width_ms;
	uint64_t sum = 0;

	if (now_no - ws->bucket_no >= GUARD_BUCKETS) {
		memset(ws->buckets, 0, sizeof ws->buckets);
		ws->bucket_no = now_no;
	}
	while (ws->bucket_no < now_no) {
		ws->bucket_no++;
		ws->buckets[ws->bucket_no % GUARD_BUCKETS] = 0;
	}
	ws->buckets[now_no % GUARD_BUCKETS]++;
	for (size_t i = 0; i < GUARD_BUCKETS; i++) {
		sum += ws->buckets[i];
	}
	return sum;
}

enum gx_rc
gx_writer_guard(struct gx_writer *w, struct wstream *ws, struct gx_err *e)
{
	uint64_t percent = (uint64_t)w->conf.guard_percent;
	uint64_t sum;
	enum gx_rc rc;

	if (percent == 0 || gx_mono_ms() < w->guard_off_until_ms) {
		return GX_OK;
	}
	sum = slide(ws, w->conf.guard_window_ms);
	if (sum <= w->conf.guard_floor || sum * 100 <= percent * ws->n_rows) {
		return GX_OK;
	}
	/* The table may have grown since it was counted. */
	rc = w->store->ops->count(w->store, gx_slice_str(ws->conf.stream),
				  &ws->n_rows, e);
	if (rc != GX_OK) {
		/* The record is not ours yet and the source has passed it:
		 * only taking over again brings it back. */
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	if (sum * 100 <= percent * ws->n_rows) {
		return GX_OK;
	}
	return GX_ERR(e, GX_FATAL, "guard.mass_change",
		      "%s: more than %d %% of %llu rows changed or deleted "
		      "within %lld min; if that is meant: gxbus flow resume %s "
		      "--accept",
		      ws->conf.stream, w->conf.guard_percent,
		      (unsigned long long)ws->n_rows,
		      (long long)(w->conf.guard_window_ms / 60000), w->flow);
}
