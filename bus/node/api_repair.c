/*
 * API: repair, by which a node makes rows what its own signed log says.
 *
 * Reconciliation finds keys whose rows differ at two nodes with the same
 * history.  Then at least one table is not what its log says, and the log says
 * which.  Whoever asks for a repair names keys of one stream and a seq to begin
 * from; nobody hands over content.  The node reads its own log from that seq to
 * the stream's head, every batch checked as its reader checks it, and finds the
 * last line of each key: an upsert, a delete, or the end of a full reading that
 * did not have the key.  What that line says, the row becomes; a key of which
 * no line speaks in that stretch is left as it is, and so is a line that this
 * store has in quarantine.
 *
 * Seq, epoch and stream of the row become those of the line, so the next lines
 * of the stream find what they would have found.  The log is read before
 * anything is locked; then the stream's row is locked, which holds up its
 * reader, what came meanwhile is read too, and the rows are written.  All of it
 * is one transaction with its line of the audit log: if we die on any line,
 * nothing happened.
 *
 * Records assembled from others, and what was shown to nodes below, are not
 * made anew by this: they follow changes that lines bring.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 1000
#define READ_MS 20000
#define SKIP 64 /* messages read over rather than sought over */
#define CATCH_UP 5

/* A key and the last that was said of it. */
struct want {
	const char *key;
	uint64_t seq; /* 0: nothing was */
	uint64_t epoch;
	bool is_delete, is_held;
	char *line; /* an upsert's, with NUL */
};

struct row {
	uint64_t first, n;
	char head[2 * GX_HASH + 1];
	int64_t offset;
};

struct job {
	struct gx_call *c;
	const struct gx_resource *r;
	struct gx_stream_name name;
	const char *stream;
	char topic[64];
	int32_t partition;
	uint64_t from, next; /* seqs: read so far; the stream's next */
	uint64_t reading;    /* seq of the s line of an open full reading */
	struct want *wants;  /* by key */
	size_t n_wants;
	struct row *rows;
	size_t n_rows;
	struct gx_keyring *ring;
	struct gx_verifier *verifier;
	int64_t n_written, n_deleted, n_same, n_left;
};

/* ---- what is asked ---- */

static int
by_key(const void *a, const void *b)
{
	const struct want *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static enum gx_rc
bad_request(struct gx_err *e, const char *why)
{
	return GX_ERR(e, GX_REJECT, "api.bad_request", "%s", why);
}

static enum gx_rc
read_keys(struct job *j, const struct gx_json *keys, struct gx_err *e)
{
	if (keys == NULL || keys->type != GX_JSON_ARRAY || keys->n == 0 ||
	    keys->n > KEYS_MAX) {
		return bad_request(e, "keys: an array of 1 to 1000 keys, each "
				      "itself an array");
	}
	j->wants = gx_mem_array(keys->n, sizeof *j->wants);
	for (const struct gx_json *v = keys->child; v && j->wants;
	     v = v->next) {
		if (v->type != GX_JSON_ARRAY) {
			return bad_request(e, "keys: each is an array");
		}
		j->wants[j->n_wants++].key =
			gx_arena_dup(j->c->arena, v->raw.p, v->raw.n);
	}
	for (size_t i = 0; i < keys->n; i++) {
		if (j->wants == NULL || j->wants[i].key == NULL) {
			return GX_ERR(e, GX_AGAIN, "mem.none",
				      "no memory for keys");
		}
	}
	qsort(j->wants, j->n_wants, sizeof *j->wants, by_key);
	return GX_OK;
}

static enum gx_rc
read_order(struct job *j, struct gx_err *e)
{
	const struct gx_node_resource *r =
		gx_node_resource(j->c->n, j->c->arg[0]);
	const struct gx_json *body = j->c->body;
	int64_t from = body ? gx_json_int(body, "from", 0) : 0;
	struct gx_slice child;

	if (r == NULL) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "no such resource is declared at this node");
	}
	j->r = r->r;
	j->stream = body ? gx_json_str(body, "stream", "") : "";
	if (!gx_stream_parse(gx_slice_str(j->stream), &j->name) ||
	    !gx_slice_eq(j->name.resource, gx_slice_str(j->r->name)) ||
	    (gx_stream_is_down(&j->name, &child) &&
	     gx_slice_eq(j->name.node, gx_slice_str(j->c->n->id)))) {
		return bad_request(e, "stream: one of the resource whose lines "
				      "this node applies");
	}
	if (from <= 0) {
		return bad_request(e, "from: a seq, not above the last line "
				      "of any of the keys");
	}
	j->from = (uint64_t)from;
	return read_keys(j, gx_json_get(body, "keys"), e);
}

/* ---- the log ---- */

/* The head as it is now; with the lock it stays there. */
static enum gx_rc
find_head(struct job *j, bool locks, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		j->c->pg,
		locks ? "SELECT topic, partition, next_seq FROM gx_stream "
			"WHERE stream = $1 FOR UPDATE"
		      : "SELECT topic, partition, next_seq FROM gx_stream "
			"WHERE stream = $1",
		1, &j->stream, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(rows) == 0) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "this node has no such stream");
	}
	snprintf(j->topic, sizeof j->topic, "%s", gx_rows_str(rows, 0, 0));
	j->partition = (int32_t)gx_rows_int(rows, 0, 1);
	j->next = (uint64_t)gx_rows_int(rows, 0, 2);
	return GX_OK;
}

/* Batches from the one of seq from on, without a hole, up to the head. */
static enum gx_rc
find_batches(struct job *j, struct gx_err *e)
{
	char from[24];
	const char *p[] = {j->stream, from};
	const struct gx_rows *rows;
	uint64_t at = j->from;
	enum gx_rc rc;

	snprintf(from, sizeof from, "%llu", (unsigned long long)j->from);
	rc = gx_pg_query(j->c->pg,
			 "SELECT first, n, head, coalesce(at_offset, -1) FROM "
			 "gx_batch WHERE stream = $1 AND first + n > "
			 "$2::bigint ORDER BY first",
			 2, p, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_mem_free(j->rows);
	j->n_rows = 0;
	j->rows = gx_mem_array((size_t)gx_rows_n(rows) + 1, sizeof *j->rows);
	if (j->rows == NULL) {
		return GX_ERR(e, GX_AGAIN, "mem.none", "no memory for batches");
	}
	for (int i = 0; i < gx_rows_n(rows); i++) {
		struct row *r = &j->rows[j->n_rows++];

		r->first = (uint64_t)gx_rows_int(rows, i, 0);
		r->n = (uint64_t)gx_rows_int(rows, i, 1);
		snprintf(r->head, sizeof r->head, "%s",
			 gx_rows_str(rows, i, 2));
		r->offset = gx_rows_int(rows, i, 3);
		if (r->first > at || r->offset < 0) {
			break;
		}
		at = r->first + r->n;
	}
	if (at < j->next) {
		return GX_ERR(e, GX_REJECT, "evidence.gone",
			      "batches of the stream between seq %llu and its "
			      "head are not kept here",
			      (unsigned long long)j->from);
	}
	return GX_OK;
}

static struct want *
find_want(struct job *j, struct gx_slice key)
{
	size_t lo = 0, hi = j->n_wants;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const char *k = j->wants[mid].key;
		int d = strncmp(k, key.p, key.n);

		d = d == 0 && k[key.n] != '\0' ? 1 : d;
		if (d == 0) {
			return &j->wants[mid];
		}
		lo = d < 0 ? mid + 1 : lo;
		hi = d < 0 ? hi : mid;
	}
	return NULL;
}

/* A full reading has ended: what it did not have is gone, but keys on hold. */
static void
end_reading(struct job *j, uint64_t seq)
{
	for (size_t i = 0; j->reading > 0 && i < j->n_wants; i++) {
		struct want *w = &j->wants[i];

		if (w->seq > 0 && w->seq < j->reading && !w->is_held) {
			w->is_delete = true;
			w->seq = seq;
		}
	}
	j->reading = 0;
}

static enum gx_rc
use_line(struct job *j, const struct gx_head *h, uint64_t seq,
	 struct gx_slice text, struct gx_err *e)
{
	struct gx_line line;
	const char *why = gx_line_parse(text, &line);
	struct want *w;

	if (why != NULL) {
		return GX_ERR(e, GX_FATAL, "evidence.log",
			      "seq %llu is no line: %s",
			      (unsigned long long)seq, why);
	}
	if (line.op == GX_OP_START) {
		j->reading = seq;
	} else if (line.op == GX_OP_END_READING) {
		end_reading(j, seq);
	}
	w = line.key.n > 0 ? find_want(j, line.key) : NULL;
	if (w == NULL) {
		return GX_OK;
	}
	w->is_held = line.op == GX_OP_SET_ASIDE;
	if (w->is_held) {
		return GX_OK; /* the last good row stays */
	}
	w->seq = seq;
	w->epoch = h->epoch;
	w->is_delete = line.op == GX_OP_DELETE;
	gx_mem_free(w->line);
	w->line = gx_mem_slicedup(text);
	return w->line ? GX_OK
		       : GX_ERR(e, GX_AGAIN, "mem.none", "no memory for lines");
}

static enum gx_rc
use_message(struct job *j, const struct row *row, const struct gx_msg *m,
	    struct gx_err *e)
{
	unsigned char hash[GX_HASH];
	char hex[2 * GX_HASH + 1] = "";
	struct gx_slice line;
	struct gx_head h;
	uint64_t seq = row->first;
	enum gx_rc rc = GX_OK;

	if (gx_head_parse(m->value, &h) == NULL && h.kind == GX_MSG_BATCH &&
	    gx_seal_check(j->verifier, &h, true, hash) == GX_SEAL_GOOD) {
		gx_hex(hash, sizeof hash, hex);
	}
	if (strcmp(hex, row->head) != 0) {
		return GX_ERR(e, GX_FATAL, "evidence.log",
			      "offset %lld of %s/%d holds another message than "
			      "the one that was taken",
			      (long long)m->offset, j->topic, j->partition);
	}
	for (size_t at = 0; rc == GX_OK && gx_body_next(h.body, &at, &line);
	     seq++) {
		if (seq >= j->from) {
			rc = use_line(j, &h, seq, line, e);
		}
	}
	j->from = rc == GX_OK ? seq : j->from;
	return rc;
}

static enum gx_rc
read_log(struct job *j, struct gx_log *log, struct gx_in *in, struct gx_err *e)
{
	int64_t until = gx_mono_ms() + READ_MS;
	enum gx_rc rc = GX_OK;
	size_t i = 0;

	while (rc == GX_OK && j->from < j->next && i < j->n_rows) {
		int64_t want = j->rows[i].offset;
		struct gx_msg m;

		if (gx_mono_ms() > until) {
			return GX_ERR(e, GX_AGAIN, "repair.slow",
				      "the log was not read to its end from "
				      "the seq that was named");
		}
		rc = log->ops->next(in, 100, &m, e);
		if (rc == GX_AGAIN) {
			rc = GX_OK;
			continue;
		}
		if (rc != GX_OK) {
			break;
		}
		if (m.offset == want) {
			rc = use_message(j, &j->rows[i++], &m, e);
		} else if (m.offset > want) {
			rc = GX_ERR(e, GX_REJECT, "evidence.gone",
				    "a batch is no longer in the log");
		} else if (want - m.offset > SKIP) {
			rc = log->ops->seek(in, 0, want, e);
		}
		log->ops->done(in, &m);
	}
	return rc;
}

/* From j->from to the head. */
static enum gx_rc
read_on(struct job *j, struct gx_err *e)
{
	struct gx_log *log = NULL;
	struct gx_in *in = NULL;
	enum gx_rc rc = find_batches(j, e);

	if (rc != GX_OK || j->n_rows == 0) {
		return rc;
	}
	struct gx_place place = {j->topic, j->partition, j->rows[0].offset};

	rc = gx_node_kafka(j->c->n, false, &log, e);
	if (rc == GX_OK) {
		rc = log->ops->open_in(log, &place, 1, &in, e);
	}
	if (rc == GX_OK) {
		rc = read_log(j, log, in, e);
	}
	if (in != NULL) {
		log->ops->close_in(&in);
	}
	gx_kafka_free(&log);
	return rc;
}

/* Read all, then lock the stream and read what came meanwhile. */
static enum gx_rc
read_all(struct job *j, struct gx_err *e)
{
	enum gx_rc rc = find_head(j, false, e);

	for (int i = 0; rc == GX_OK && i < CATCH_UP; i++) {
		if (j->from < j->next) {
			rc = read_on(j, e);
		}
		if (rc == GX_OK) {
			rc = find_head(j, true, e);
		}
		if (rc == GX_OK && j->from >= j->next) {
			return GX_OK;
		}
	}
	return rc == GX_OK ? GX_ERR(e, GX_AGAIN, "repair.slow",
				    "the stream was faster than the reading")
			   : rc;
}

/* ---- the rows ---- */

/* A line that this store set aside is in its quarantine, not in its table. */
static enum gx_rc
is_aside(struct job *j, const struct want *w, bool *out, struct gx_err *e)
{
	char seq[24];
	const char *p[] = {j->stream, seq};
	const struct gx_rows *rows;
	enum gx_rc rc;

	snprintf(seq, sizeof seq, "%llu", (unsigned long long)w->seq);
	rc = gx_pg_query(j->c->pg,
			 "SELECT 1 FROM gx_quarantine WHERE side = 'sink' AND "
			 "stream = $1 AND seq = $2::bigint",
			 2, p, &rows, e);
	*out = rc == GX_OK && gx_rows_n(rows) > 0;
	return rc;
}

static void
put_columns(struct gx_buf *b, const struct gx_resource *r, const char *before)
{
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_buf_puts(b, before);
		(void)gx_pg_ident(b, r->fields[i].name);
	}
}

/* Only where another content, seq or epoch stands; a row of another stream of
 * the origin is not this stream's to change. */
static void
put_upsert(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_buf_puts(b, "INSERT INTO ");
	gx_api_put_table(b, r);
	(void)gx_buf_puts(b, " AS b (gx_origin, gx_key, gx_stream, gx_epoch, "
			     "gx_seq");
	put_columns(b, r, ", ");
	(void)gx_buf_puts(b, ") SELECT $1, $2, $3, $4::bigint, $5::bigint");
	put_columns(b, r, ", r.");
	(void)gx_buf_puts(b, " FROM jsonb_populate_record(NULL::");
	gx_api_put_table(b, r);
	(void)gx_buf_puts(b, ", $6::jsonb) r ON CONFLICT (gx_origin, gx_key) "
			     "DO UPDATE SET gx_epoch = excluded.gx_epoch, "
			     "gx_seq = excluded.gx_seq");
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_buf_puts(b, ", ");
		(void)gx_pg_ident(b, r->fields[i].name);
		(void)gx_buf_puts(b, " = excluded.");
		(void)gx_pg_ident(b, r->fields[i].name);
	}
	(void)gx_buf_puts(b, " WHERE b.gx_stream = excluded.gx_stream AND "
			     "(b.gx_epoch, b.gx_seq");
	put_columns(b, r, ", b.");
	(void)gx_buf_puts(b, ") IS DISTINCT FROM (excluded.gx_epoch, "
			     "excluded.gx_seq");
	put_columns(b, r, ", excluded.");
	(void)gx_buf_putc(b, ')');
}

static void
put_delete(struct gx_buf *b, const struct gx_resource *r)
{
	(void)gx_buf_puts(b, "DELETE FROM ");
	gx_api_put_table(b, r);
	(void)gx_buf_puts(b, " WHERE gx_origin = $1 AND gx_key = $2 AND "
			     "gx_stream = $3");
}

static enum gx_rc
write_row(struct job *j, const struct want *w, struct gx_err *e)
{
	char origin[GX_STREAM_MAX + 1], epoch[24], seq[24];
	struct gx_line line = {0};
	struct gx_slice o = j->name.origin;
	struct gx_buf sql;
	enum gx_rc rc;

	if (w->line != NULL &&
	    gx_line_parse(gx_slice_str(w->line), &line) == NULL &&
	    line.origin.n > 0) {
		o = line.origin;
	}
	snprintf(origin, sizeof origin, "%.*s", (int)o.n, o.p);
	snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)w->epoch);
	snprintf(seq, sizeof seq, "%llu", (unsigned long long)w->seq);
	const char *p[] = {origin,
			   w->key,
			   j->stream,
			   epoch,
			   seq,
			   gx_arena_dup(j->c->arena,
					line.data.p ? line.data.p : "",
					line.data.n)};

	gx_buf_init(&sql, 256u << 10);
	if (w->is_delete) {
		put_delete(&sql, j->r);
	} else {
		put_upsert(&sql, j->r);
	}
	rc = p[5] == NULL ? GX_ERR(e, GX_AGAIN, "mem.none",
				   "too many long records at once")
			  : gx_pg_query(j->c->pg, gx_buf_str(&sql),
					w->is_delete ? 3 : 6, p, NULL, e);
	gx_buf_free(&sql);
	if (rc == GX_OK) {
		int64_t *n = gx_pg_n_changed(j->c->pg) == 0 ? &j->n_same
			     : w->is_delete		    ? &j->n_deleted
							    : &j->n_written;
		(*n)++;
	}
	return rc;
}

static enum gx_rc
write_rows(struct job *j, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; rc == GX_OK && i < j->n_wants; i++) {
		struct want *w = &j->wants[i];
		bool aside = false;

		if (w->seq > 0 && !w->is_delete) {
			rc = is_aside(j, w, &aside, e);
		}
		if (w->seq == 0 || aside) {
			j->n_left++;
		} else if (rc == GX_OK) {
			rc = write_row(j, w, e);
		}
	}
	return rc;
}

static void
answer(struct job *j)
{
	struct gx_jw *w = &j->c->w;

	gx_jw_begin(w, '{');
	gx_jw_kv_int(w, "v", 1);
	gx_jw_kv_str(w, "stream", j->stream);
	gx_jw_kv_int(w, "written", j->n_written);
	gx_jw_kv_int(w, "deleted", j->n_deleted);
	gx_jw_kv_int(w, "same", j->n_same);
	gx_jw_kv_int(w, "left", j->n_left);
	gx_jw_end(w, '}');
	gx_log(GX_LOG_NOTICE, "reconcile.repair",
	       "stream=%s written=%lld deleted=%lld same=%lld left=%lld",
	       j->stream, (long long)j->n_written, (long long)j->n_deleted,
	       (long long)j->n_same, (long long)j->n_left);
}

enum gx_rc
gx_api_repair(struct gx_call *c, struct gx_err *e)
{
	struct job j = {.c = c};
	enum gx_rc rc = read_order(&j, e);

	if (rc == GX_OK) {
		rc = gx_keyring_load(
			gx_conf_str(c->n->conf, "node", NULL, "trust"), &j.ring,
			e);
	}
	if (rc == GX_OK) {
		j.verifier = gx_verifier_new(j.ring);
		rc = read_all(&j, e);
	}
	if (rc == GX_OK) {
		rc = write_rows(&j, e);
	}
	if (rc == GX_OK) {
		answer(&j);
	}
	gx_verifier_free(&j.verifier);
	gx_keyring_free(&j.ring);
	for (size_t i = 0; i < j.n_wants; i++) {
		gx_mem_free(j.wants[i].line);
	}
	gx_mem_free(j.wants);
	gx_mem_free(j.rows);
	return rc;
}
