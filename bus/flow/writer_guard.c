/*
 * Writer, the mass-change guard: a source that suddenly deletes or changes a
 * large share of its rows is more often a mistake than news.
 *
 * Changes are counted per stream in buckets of a twentieth of the window; when
 * their sum passes both the floor and the share of the base rows, the flow
 * stops before the record that would pass it, until an operator says that it
 * is meant (gxbus flow resume --accept).  Nothing is lost by it: what was not
 * sealed is read from the source again.
 *
 * What was counted travels with the batch it was counted for, as the member
 * "guard" of its src: [wall time in ms, ms for which an acceptance still
 * stands, ms of a bucket, buckets from the newest on].  So it is settled with
 * the batch and lies in the stream's row with it, and whoever takes the stream
 * over counts on: no restart, no other daemon and no death on any line forgets
 * a change that went out, or counts twice one that is read again.  The wall
 * clock says only how old the counts are; a clock put back makes them younger,
 * never more.
 *
 * An acceptance that no batch has carried yet is forgotten if we die: the flow
 * stops again and says so.
 */
#include "base/clock.h"
#include "base/text.h"
#include "flow/writer_int.h"

static const char member[] = ",\"guard\":[";

static int64_t
width_of(const struct gx_writer *w)
{
	return w->conf.guard_window_ms / GUARD_BUCKETS + 1;
}

static bool
is_off(const struct gx_writer *w)
{
	return w->conf.guard_percent == 0 ||
	       gx_mono_ms() < w->guard_off_until_ms;
}

/* The bucket that was the newest so many buckets ago. */
static uint64_t *
bucket(struct wstream *ws, int64_t ago)
{
	return &ws->buckets[(ws->bucket_no - ago + GUARD_BUCKETS) %
			    GUARD_BUCKETS];
}

/* Forget what left the window; the newest bucket is the one of now. */
static void
slide(const struct gx_writer *w, struct wstream *ws)
{
	int64_t now_no = gx_mono_ms() / width_of(w);

	if (now_no - ws->bucket_no >= GUARD_BUCKETS) {
		memset(ws->buckets, 0, sizeof ws->buckets);
		ws->bucket_no = now_no;
	}
	while (ws->bucket_no < now_no) {
		ws->bucket_no++;
		*bucket(ws, 0) = 0;
	}
}

static uint64_t
count(const struct gx_writer *w, struct wstream *ws)
{
	uint64_t sum = 0;

	slide(w, ws);
	(*bucket(ws, 0))++;
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

	if (is_off(w)) {
		return GX_OK;
	}
	sum = count(w, ws);
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

/* ---- with the batches ---- */

void
gx_writer_guard_put(const struct gx_writer *w, struct wstream *ws, char *out)
{
	int64_t off_ms = w->guard_off_until_ms - gx_mono_ms();
	int64_t n = GUARD_BUCKETS;
	int at;

	out[0] = '\0';
	slide(w, ws);
	while (n > 0 && *bucket(ws, n - 1) == 0) {
		n--;
	}
	if (w->conf.guard_percent == 0 || (n == 0 && off_ms <= 0)) {
		return;
	}
	at = snprintf(out, GUARD_TEXT, "%s%lld,%lld,%lld", member,
		      (long long)gx_now_ms(),
		      (long long)(off_ms > 0 ? off_ms : 0),
		      (long long)width_of(w));
	for (int64_t i = 0; i < n; i++) {
		/* Above this much every guard has long gone off. */
		uint64_t sum = *bucket(ws, i) < 9999999999u ? *bucket(ws, i)
							    : 9999999999u;

		at += snprintf(out + at, (size_t)(GUARD_TEXT - at), ",%llu",
			       (unsigned long long)sum);
	}
	at += snprintf(out + at, (size_t)(GUARD_TEXT - at), "]");
	GX_ASSERT(at < GUARD_TEXT);
}

/* The next number of the array; false at its end, or if it is none. */
static bool
next_number(const char **p, uint64_t *out)
{
	size_t n = strcspn(*p, ",]");
	bool is_good = gx_parse_u64(*p, n, INT64_MAX / 4, out);

	*p += n + ((*p)[n] == ',');
	return is_good;
}

void
gx_writer_guard_load(struct gx_writer *w, struct wstream *ws)
{
	const char *p = strstr(ws->chain.src, member);
	uint64_t at_ms, off_ms, width_ms, n;
	int64_t age_ms;

	memset(ws->buckets, 0, sizeof ws->buckets);
	slide(w, ws);
	p = p != NULL ? p + sizeof member - 1 : "";
	if (is_off(w) || !next_number(&p, &at_ms) ||
	    !next_number(&p, &off_ms) || !next_number(&p, &width_ms)) {
		return;
	}
	age_ms = gx_now_ms() - (int64_t)at_ms;
	age_ms = age_ms > 0 ? age_ms : 0;
	if ((int64_t)off_ms > age_ms) {
		w->guard_off_until_ms = gx_mono_ms() + (int64_t)off_ms - age_ms;
	}
	while (age_ms / width_of(w) < GUARD_BUCKETS && next_number(&p, &n)) {
		*bucket(ws, age_ms / width_of(w)) += n;
		age_ms += (int64_t)width_ms;
	}
}

void
gx_writer_guard_accept(struct gx_writer *w)
{
	w->guard_off_until_ms = gx_mono_ms() + w->conf.guard_window_ms;
	for (size_t i = 0; i < w->n_streams; i++) {
		memset(w->streams[i].buckets, 0, sizeof w->streams[i].buckets);
	}
}
