/*
 * Writer, replays: another input of its streams (docs/quarantine.md).
 *
 * A record that was set aside and has been mended goes home through the writer
 * of its own stream, because nobody else may append to it.  The order of the
 * stream decides which record of a key is newest, so a replay must not stand
 * behind a newer record of its key that is already under way: that is what the
 * items' states in the store are for, and they know only what was read back.
 *
 * So a turn of replays begins only when all that we have sent is read back, no
 * line is open and no reject waits: until then the source is not read.  The
 * store gives out lines of items that are still queued at that moment; they are
 * sealed into batches of their own, with the source position as it stood and,
 * as "redrive" of src, the number of the last of them.  Then the source has its
 * turn, however many replays there are.  What a source says later stands
 * behind them, as it should.
 *
 * Nothing is written to the store here: who takes the batch closes the items.
 * If we die on any line the batch is in the log or it is not; the next writer
 * settles, waits until that is read back, and asks for what is still queued.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/writer_int.h"

#include <poll.h>

#define ASK_MS 500
#define TURN_BATCHES 8 /* of a stream, before the source is read again */

static bool
is_quiet(const struct gx_writer *w)
{
	for (size_t i = 0; i < w->n_streams; i++) {
		if (w->streams[i].n_lines > 0) {
			return false;
		}
	}
	return w->n_unread == 0 && !w->is_waiting && w->n_asides == 0 &&
	       gx_writer_is_owner_read(w);
}

static enum gx_rc
take_line(void *ctx, uint64_t id, struct gx_slice line, struct gx_err *e)
{
	struct wstream *ws = ctx;

	if (!gx_buf_slice(&ws->body, line) || !gx_buf_putc(&ws->body, '\n')) {
		return GX_ERR(e, GX_FATAL, "writer.line",
			      "replays of %s are longer than a batch may be",
			      ws->conf.stream);
	}
	ws->n_lines++;
	ws->redrive = id;
	return GX_OK;
}

/* One batch of replays of the stream, if there are any. */
static enum gx_rc
drive_batch(struct gx_writer *w, size_t i, bool *did, struct gx_err *e)
{
	struct wstream *ws = &w->streams[i];
	struct gx_slice pos = gx_chain_source(&ws->chain);
	uint64_t before = ws->redrive;
	enum gx_rc rc = w->store->ops->redrive(
		w->store, ws->conf.stream, before, w->conf.max_lines,
		w->conf.max_bytes, take_line, ws, e);

	*did = ws->n_lines > 0;
	if (rc != GX_OK) { /* lines of a half answer are no batch */
		gx_buf_reset(&ws->body);
		ws->n_lines = 0;
		ws->redrive = before;
		return rc;
	}
	if (!*did) {
		return GX_OK;
	}
	GX_ASSERT(pos.n < POS_MAX); /* it came from there */
	memcpy(ws->pos, pos.p, pos.n);
	ws->pos_n = pos.n;
	gx_log(GX_LOG_INFO, "writer.redrive", "stream=%s lines=%llu upto=%llu",
	       ws->conf.stream, (unsigned long long)ws->n_lines,
	       (unsigned long long)ws->redrive);
	rc = gx_writer_seal(w, i, e);
	gx_crash_point("writer.redrive_sent");
	return rc;
}

static enum gx_rc
drive_turn(struct gx_writer *w, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; i < w->n_streams && rc == GX_OK; i++) {
		bool did = !w->streams[i].is_stopped;

		for (int k = 0; k < TURN_BATCHES && did && rc == GX_OK &&
				gx_writer_has_room(w);
		     k++) {
			rc = drive_batch(w, i, &did, e);
		}
	}
	return rc;
}

/* An answer of the reader is waited for, not spun for. */
static enum gx_rc
wait_quiet(struct gx_writer *w, struct gx_err *e)
{
	enum gx_rc rc = gx_writer_flush(w, e);

	if (rc == GX_OK && gx_mono_ms() < w->look_at_ms) {
		(void)poll(NULL, 0, 5);
	}
	return rc;
}

enum gx_rc
gx_writer_redrive(struct gx_writer *w, bool *holds, struct gx_err *e)
{
	int64_t now_ms = gx_mono_ms();
	enum gx_rc rc;

	*holds = false;
	if (w->store->ops->redrive == NULL) {
		return GX_OK;
	}
	if (!w->wants_redrive && now_ms >= w->redrive_at_ms) {
		w->redrive_at_ms = now_ms + ASK_MS;
		rc = w->store->ops->redrive_wanted(
			w->store, w->names, w->n_streams, &w->wants_redrive, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	if (!w->wants_redrive) {
		return GX_OK;
	}
	if (!is_quiet(w)) {
		*holds = true;
		return wait_quiet(w, e);
	}
	w->wants_redrive = false;
	w->redrive_at_ms = now_ms; /* asked again after the source's turn */
	return drive_turn(w, e);
}
