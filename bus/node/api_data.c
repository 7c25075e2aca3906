/*
 * API: receipts known here, and the end of a topic.
 *
 * Receipts are the rows of gx.receipt, a table that this node's sink makes when
 * the first one comes.  The same receipt may have come by several ways; the
 * newest of a sink for a stream and verdict counts.  Their signatures were checked before
 * they got there.
 *
 * The end of a topic is read with a client of its own, opened for the request
 * and closed with it, which commits nothing and holds up nobody.  Lines are
 * shown as they are: they are records, so the route is for those who may see.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/text.h"
#include "record/batch.h"

#include <string.h>

#define TAIL_MAX 200
#define TAIL_LINES 20
#define TAIL_WAIT_MS 3000

/* ---- receipts ---- */

static enum gx_rc
has_receipts(struct gx_call *c, bool *out, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg, "SELECT to_regclass('gx.receipt') IS NOT NULL", 0, NULL,
		&rows, e);

	*out = rc == GX_OK && gx_rows_bool(rows, 0, 0);
	return rc;
}

enum gx_rc
gx_api_receipted_sql(struct gx_call *c, const char **out, struct gx_err *e)
{
	bool has = false;
	enum gx_rc rc = has_receipts(c, &has, e);

	*out = has ? "(SELECT DISTINCT ON (stream) stream, seq, sink FROM "
		     "(SELECT stream, sink, max(seq) AS seq FROM gx.receipt "
		     "WHERE verdict <> 'refused' GROUP BY stream, sink) x "
		     "ORDER BY stream, seq, sink)"
		   : "(SELECT '' AS stream, 0::bigint AS seq, '' AS sink "
		     "WHERE false)";
	return rc;
}

enum gx_rc
gx_api_receipts(struct gx_call *c, struct gx_err *e)
{
	const char *p[] = {gx_http_query(c->req, "stream")};
	const struct gx_rows *rows;
	bool has = false;
	enum gx_rc rc = has_receipts(c, &has, e);

	if (rc == GX_OK && has) {
		rc = gx_pg_query(
			c->pg,
			"SELECT DISTINCT ON (stream, sink, verdict) sink, "
			"stream, "
			"verdict, epoch, seq, head, applied, aside, reason, "
			"at FROM gx.receipt WHERE $1::text IS NULL OR "
			"stream = $1 ORDER BY stream, sink, verdict, seq DESC, "
			"at DESC",
			1, p, &rows, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; has && i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "sssiisii?ss");
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

/* ---- tail ---- */

static void
put_lines(struct gx_jw *w, const struct gx_head *h)
{
	struct gx_slice line;
	size_t at = 0, skip = h->n > TAIL_LINES ? (size_t)h->n - TAIL_LINES : 0;

	gx_jw_name(w, "lines");
	gx_jw_begin(w, '[');
	for (size_t i = 0; gx_body_next(h->body, &at, &line); i++) {
		if (i >= skip) {
			gx_jw_str(w, line);
		}
	}
	gx_jw_end(w, ']');
}

static void
put_message(struct gx_jw *w, const struct gx_msg *m, int32_t partition)
{
	struct gx_head h;
	const char *why = gx_head_parse(m->value, &h);

	gx_jw_begin(w, '{');
	gx_jw_kv_int(w, "partition", partition);
	gx_jw_kv_int(w, "offset", m->offset);
	gx_jw_kv_int(w, "bytes", (int64_t)m->value.n);
	if (why != NULL) {
		gx_jw_kv_str(w, "kind", "unreadable");
		gx_jw_kv_str(w, "why", why);
	} else {
		gx_jw_kv_str(w, "kind",
			     h.kind == GX_MSG_BATCH ? "batch" : "marker");
		gx_jw_name(w, "stream");
		gx_jw_str(w, h.stream);
		gx_jw_name(w, "epoch");
		gx_jw_u64(w, h.epoch);
		gx_jw_name(w, "at");
		gx_jw_str(w, h.at);
		gx_jw_name(w, "kid");
		gx_jw_str(w, h.kid);
		if (h.kind == GX_MSG_BATCH) {
			gx_jw_name(w, "first");
			gx_jw_u64(w, h.first);
			gx_jw_name(w, "n");
			gx_jw_u64(w, h.n);
			put_lines(w, &h);
		}
	}
	gx_jw_end(w, '}');
}

/* Read places up to their ends; messages that do not come in time are left
 * out, the list is what was there. */
static enum gx_rc
read_tail(struct gx_call *c, struct gx_log *log, const struct gx_place *places,
	  const int64_t *ends, size_t n, struct gx_err *e)
{
	int64_t until = gx_mono_ms() + TAIL_WAIT_MS;
	struct gx_in *in = NULL;
	size_t n_left = n;
	enum gx_rc rc = log->ops->open_in(log, places, n, &in, e);

	while (rc == GX_OK && n_left > 0 && gx_mono_ms() < until) {
		struct gx_msg m;

		rc = log->ops->next(in, 100, &m, e);
		if (rc == GX_AGAIN) {
			rc = GX_OK;
			continue;
		}
		if (rc != GX_OK) {
			break;
		}
		if (m.offset < ends[m.place]) {
			put_message(&c->w, &m, places[m.place].partition);
			n_left -= m.offset == ends[m.place] - 1;
		}
		log->ops->done(in, &m);
	}
	if (in != NULL) {
		log->ops->close_in(&in);
	}
	return rc;
}

static enum gx_rc
tail(struct gx_call *c, struct gx_log *log, int64_t n_wanted, struct gx_err *e)
{
	struct gx_place places[64];
	int64_t ends[64];
	size_t n = 0;
	int32_t n_parts = 0;
	enum gx_rc rc = log->ops->n_partitions(log, c->arg[0], &n_parts, e);

	for (int32_t i = 0; rc == GX_OK && i < n_parts && i < 64; i++) {
		int64_t low = 0, high = 0;

		rc = log->ops->range(log, c->arg[0], i, &low, &high, e);
		if (rc == GX_OK && high > low) {
			places[n].topic = c->arg[0];
			places[n].partition = i;
			places[n].offset =
				high - n_wanted > low ? high - n_wanted : low;
			ends[n++] = high;
		}
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	if (n > 0) {
		rc = read_tail(c, log, places, ends, n, e);
	}
	gx_api_list_end(c, NULL);
	return rc;
}

enum gx_rc
gx_api_tail(struct gx_call *c, struct gx_err *e)
{
	const char *word = gx_http_query(c->req, "n");
	struct gx_log *log = NULL;
	uint64_t n = 5;
	enum gx_rc rc;

	if (word != NULL &&
	    (!gx_parse_u64(word, strlen(word), TAIL_MAX, &n) || n == 0)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "n: messages of each partition, 1 to %d",
			      TAIL_MAX);
	}
	rc = gx_node_kafka(c->n, false, &log, e);
	if (rc == GX_OK) {
		rc = tail(c, log, (int64_t)n, e);
	}
	gx_kafka_free(&log);
	return rc;
}
