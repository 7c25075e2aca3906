/*
 * Evidence of records of one stream, for whoever has to show what was sealed
 * and who took it (trust/bundle.h, docs/evidence.md).
 *
 * gx_batch says which batches hold them and where in the log of the stream's topic they lie; the very messages are
 * read from there, their records proved, and the headers of the batches behind
 * them added up to the heads that receipts name, so that each receipt reaches
 * the records.  What is given is signed as a whole with the node's key and
 * checked once more as a stranger would: evidence that does not hold is not
 * given, it is an alarm.
 *
 * The database is a hint and is not believed: a message counts only if its
 * head hash is the one that was taken, a receipt only with a good signature.
 * Receipts that cover less than what is asked are left out, and those that
 * name a head further on than a bundle may go.
 *
 * Each request opens a client of its own, commits nothing, writes nothing,
 * holds up nobody, and ends after a while.  If we die on any line nobody has
 * been told anything.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/text.h"
#include "trust/bundle.h"

#include <stdlib.h>
#include <string.h>

#define READ_MS 20000
#define SKIP 64 /* messages read over rather than sought over */

struct row {
	uint64_t first, n;
	char head[2 * GX_HASH + 1];
	int64_t offset;
};

struct said {
	struct gx_buf text;
	struct gx_receipt r;
};

struct job {
	struct gx_call *c;
	struct gx_bundle what;
	char stream[GX_STREAM_MAX + 1], topic[64];
	int32_t partition;
	struct row *rows; /* batches from the one of the first record on */
	size_t n_rows;	  /* cut to those that are needed */
	struct said said[GX_BUNDLE_RECEIPTS];
	size_t n_said;
	struct gx_bundle_key keys[GX_BUNDLE_KEYS]; /* that signed something */
	size_t n_keys;
	struct gx_buf chain; /* headers and records */
	struct gx_keyring *ring;
	struct gx_key *own;
};

static enum gx_rc
gone(struct gx_err *e, const char *why)
{
	return GX_ERR(e, GX_REJECT, "evidence.gone", "%s", why);
}

/* ---- what the database says ---- */

static enum gx_rc
find_place(struct job *j, struct gx_err *e)
{
	const char *p = j->stream;
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		j->c->pg,
		"SELECT topic, partition FROM gx_stream WHERE stream = $1", 1,
		&p, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(rows) == 0) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "this node has no such stream");
	}
	snprintf(j->topic, sizeof j->topic, "%s", gx_rows_str(rows, 0, 0));
	j->partition = (int32_t)gx_rows_int(rows, 0, 1);
	return GX_OK;
}

static uint64_t
last_seq(const struct job *j)
{
	return j->what.first + j->what.n - 1;
}

/* Batches from the one that holds the first record on. */
static enum gx_rc
find_batches(struct job *j, struct gx_err *e)
{
	char first[24], max[16];
	const char *params[] = {j->stream, first, max};
	const struct gx_rows *rows;
	enum gx_rc rc;

	snprintf(first, sizeof first, "%llu",
		 (unsigned long long)j->what.first);
	snprintf(max, sizeof max, "%d", GX_BUNDLE_HEADERS);
	rc = gx_pg_query(
		j->c->pg,
		"SELECT first, n, head, coalesce(at_offset, -1) FROM gx_batch "
		"WHERE stream = $1 AND first >= (SELECT max(first) FROM "
		"gx_batch WHERE stream = $1 AND first <= $2::bigint) "
		"ORDER BY first LIMIT $3::integer",
		3, params, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
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
	}
	return GX_OK;
}

/* The row whose batch ends with this seq; n_rows if there is none. */
static size_t
find_end(const struct job *j, uint64_t seq)
{
	size_t i = 0;

	while (i < j->n_rows && j->rows[i].first + j->rows[i].n - 1 != seq) {
		i++;
	}
	return i;
}

/* One row of gx.receipt as its text; false if it is none that counts here. */
static bool
take_receipt(struct job *j, const struct gx_rows *rows, int row, struct said *s)
{
	const char *names[] = {"applied", "held"};
	struct gx_receipt r = {.sink = gx_rows_slice(rows, row, 0),
			       .stream = gx_slice_str(j->stream),
			       .epoch = (uint64_t)gx_rows_int(rows, row, 2),
			       .seq = (uint64_t)gx_rows_int(rows, row, 3),
			       .applied = (uint64_t)gx_rows_int(rows, row, 5),
			       .aside = (uint64_t)gx_rows_int(rows, row, 6),
			       .aside_seq = gx_rows_slice(rows, row, 7),
			       .at = gx_rows_slice(rows, row, 8),
			       .kid = gx_rows_slice(rows, row, 9)};
	struct gx_slice head = gx_rows_slice(rows, row, 4);
	struct gx_slice sig = gx_rows_slice(rows, row, 10);
	size_t at = find_end(j, r.seq);

	r.verdict = strcmp(gx_rows_str(rows, row, 1), names[0]) == 0
			    ? GX_RECEIPT_APPLIED
			    : GX_RECEIPT_HELD;
	r.sig_n = sig.n / 2;
	return r.seq >= last_seq(j) && at < j->n_rows &&
	       gx_slice_eq(head, gx_slice_str(j->rows[at].head)) &&
	       gx_unhex(head.p, head.n, r.head, GX_HASH) &&
	       r.sig_n <= GX_SIG_MAX &&
	       gx_unhex(sig.p, sig.n, r.sig, r.sig_n) &&
	       gx_receipt_put(&s->text, &r) &&
	       gx_receipt_parse(gx_buf_view(&s->text), &s->r) == NULL &&
	       gx_receipt_check(j->ring, &s->r) == GX_SEAL_GOOD;
}

/* The newest of each sink. */
static enum gx_rc
find_receipts(struct job *j, struct gx_err *e)
{
	const char *p = j->stream;
	const struct gx_rows *rows;
	enum gx_rc rc;

	if (gx_node_resource(j->c->n, "gx.receipt") == NULL) {
		return GX_OK;
	}
	rc = gx_pg_query(j->c->pg,
			 "SELECT 1 WHERE to_regclass('gx.receipt') IS NOT NULL",
			 0, NULL, &rows, e);
	if (rc != GX_OK || gx_rows_n(rows) == 0) {
		return rc;
	}
	rc = gx_pg_query(
		j->c->pg,
		"SELECT DISTINCT ON (sink COLLATE \"C\") sink, verdict, epoch, "
		"seq, head, applied, aside, "
		"replace(aside_seq::text, ' ', ''), \"at\", kid, sig "
		"FROM gx.receipt WHERE stream = $1 AND verdict <> 'refused' "
		"ORDER BY sink COLLATE \"C\", seq DESC, \"at\" DESC",
		1, &p, &rows, e);
	for (int i = 0; rc == GX_OK && i < gx_rows_n(rows) &&
			j->n_said < GX_BUNDLE_RECEIPTS;
	     i++) {
		struct said *s = &j->said[j->n_said];

		gx_buf_init(&s->text, GX_RECEIPT_MAX);
		if (take_receipt(j, rows, i, s)) {
			j->n_said++;
		} else {
			gx_buf_free(&s->text);
		}
	}
	return rc;
}

/* Which of the batches are needed, and are they all there? */
static enum gx_rc
cut_rows(struct job *j, struct gx_err *e)
{
	size_t n = 0;

	while (n < j->n_rows && j->rows[n].first <= last_seq(j)) {
		n++;
	}
	if (n == 0 || j->rows[n - 1].first + j->rows[n - 1].n <= last_seq(j)) {
		return gone(e, "not all of these records are kept here");
	}
	for (size_t i = 0; i < j->n_said; i++) {
		size_t at = find_end(j, j->said[i].r.seq) + 1;

		n = at > n ? at : n;
	}
	j->n_rows = n;
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && j->rows[i].first !=
				     j->rows[i - 1].first + j->rows[i - 1].n) {
			return gone(e, "a batch between them is not kept here");
		}
		if (j->rows[i].offset < 0) {
			return gone(e, "a batch was taken by an older program, "
				       "which did not note its offset");
		}
	}
	return GX_OK;
}

/* ---- what the log holds ---- */

static int
compare(struct gx_slice a, struct gx_slice b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Keep the list in order and without doubles. */
static enum gx_rc
note_key(struct job *j, struct gx_slice node, struct gx_slice kid,
	 struct gx_err *e)
{
	struct gx_bundle_key k = {.node = node};
	size_t i = 0;
	int order = 1;

	while (i < j->n_keys) {
		order = compare(j->keys[i].node, node);
		order = order ? order : compare(j->keys[i].kid, kid);
		if (order >= 0) {
			break;
		}
		i++;
	}
	if (i < j->n_keys && order == 0) {
		return GX_OK;
	}
	if (j->n_keys == GX_BUNDLE_KEYS) {
		return GX_ERR(e, GX_REJECT, "bundle.size",
			      "more than %d keys signed this", GX_BUNDLE_KEYS);
	}
	k.kid.p = gx_arena_dup(j->c->arena, kid.p, kid.n);
	k.kid.n = kid.n;
	memmove(&j->keys[i + 1], &j->keys[i],
		(j->n_keys - i) * sizeof j->keys[0]);
	j->keys[i] = k;
	j->n_keys++;
	return GX_OK;
}

static enum gx_rc
use_message(struct job *j, const struct row *row, const struct gx_msg *m,
	    struct gx_err *e)
{
	unsigned char hash[GX_HASH];
	char hex[2 * GX_HASH + 1] = "";
	struct gx_stream_name name;
	struct gx_head h;

	if (gx_head_parse(m->value, &h) == NULL && h.kind == GX_MSG_BATCH) {
		gx_sm3(h.signed_bytes.p, h.signed_bytes.n, hash);
		gx_hex(hash, sizeof hash, hex);
	}
	if (strcmp(hex, row->head) != 0) {
		return GX_ERR(e, GX_FATAL, "evidence.log",
			      "offset %lld of %s/%d holds another message than "
			      "the one that was taken",
			      (long long)m->offset, j->topic, j->partition);
	}
	if (!gx_bundle_put_batch(&j->chain, &j->what, &h, m->value)) {
		return GX_ERR(e, GX_REJECT, "bundle.size",
			      "the records do not fit into one bundle");
	}
	(void)gx_stream_parse(j->what.stream, &name);
	return note_key(j, name.node, h.kid, e);
}

static enum gx_rc
read_log(struct job *j, struct gx_log *log, struct gx_in *in, struct gx_err *e)
{
	int64_t until = gx_mono_ms() + READ_MS;
	enum gx_rc rc = GX_OK;
	size_t i = 0;

	while (rc == GX_OK && i < j->n_rows) {
		int64_t want = j->rows[i].offset;
		struct gx_msg m;

		if (gx_mono_ms() > until) {
			return GX_ERR(e, GX_AGAIN, "evidence.slow",
				      "batch %zu of %zu was not read in time",
				      i + 1, j->n_rows);
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
			rc = gone(e, "a batch is no longer in the log");
		} else if (want - m.offset > SKIP) {
			rc = log->ops->seek(in, 0, want, e);
		}
		log->ops->done(in, &m);
	}
	if (rc != GX_OK && e->code &&
	    strcmp(e->code, "log.out_of_range") == 0) {
		return gone(e, "a batch is no longer in the log");
	}
	return rc;
}

static enum gx_rc
read_batches(struct job *j, struct gx_err *e)
{
	struct gx_place place = {j->topic, j->partition, j->rows[0].offset};
	struct gx_log *log = NULL;
	struct gx_in *in = NULL;
	enum gx_rc rc = gx_node_kafka(j->c->n, false, &log, e);

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

/* ---- what is given ---- */

static enum gx_rc
put_keys(struct job *j, struct gx_buf *b, struct gx_err *e)
{
	for (size_t i = 0; i < j->n_keys; i++) {
		const struct gx_bundle_key *k = &j->keys[i];
		bool allowed = false;
		const struct gx_key *key =
			gx_keyring_find(j->ring, k->kid, k->node, &allowed);

		if (key == NULL &&
		    gx_slice_eq(k->kid, gx_slice(gx_key_id(j->own), GX_KID))) {
			key = j->own;
			allowed = true;
		}
		if (key == NULL || !allowed) {
			return GX_ERR(e, GX_FATAL, "evidence.key",
				      "key %.32s of node %.*s", k->kid.p,
				      (int)k->node.n, k->node.p);
		}
		gx_bundle_put_key(b, k->node, key);
	}
	return GX_OK;
}

static enum gx_rc
note_keys(struct job *j, struct gx_err *e)
{
	enum gx_rc rc = note_key(j, gx_slice_str(j->c->n->id),
				 gx_slice(gx_key_id(j->own), GX_KID), e);

	for (size_t i = 0; rc == GX_OK && i < j->n_said; i++) {
		rc = note_key(j, j->said[i].r.sink, j->said[i].r.kid, e);
	}
	j->what.n_keys = j->n_keys;
	j->what.n_headers = j->n_rows;
	j->what.n_receipts = j->n_said;
	return rc;
}

/* All parts in their order, signed, and read back. */
static enum gx_rc
assemble(struct job *j, struct gx_buf *b, struct gx_err *e)
{
	char at[GX_TIME_LEN + 1];
	struct gx_bundle *back;
	const char *why;
	enum gx_rc rc = note_keys(j, e);

	gx_bundle_put_claim(b, &j->what);
	if (rc == GX_OK) {
		rc = put_keys(j, b, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_buf_slice(b, gx_buf_view(&j->chain));
	for (size_t i = 0; i < j->n_said; i++) {
		gx_buf_slice(b, gx_buf_view(&j->said[i].text));
		gx_buf_putc(b, '\n');
	}
	gx_time_format(gx_now_ms(), at);
	rc = gx_bundle_close(b, gx_slice_str(j->c->n->id), gx_slice_str(at),
			     j->own, e);
	if (rc != GX_OK) {
		return rc;
	}
	back = gx_mem_new(sizeof *back);
	/* our own key need not be in our own trust folder */
	why = gx_bundle_check(gx_buf_view(b), NULL, back);
	if (why != NULL) {
		rc = GX_ERR(e, GX_FATAL, "evidence.form",
			    "line %zu of the evidence does not hold: %s",
			    back->line, why);
	}
	gx_mem_free(back);
	return rc;
}

static enum gx_rc
gather(struct job *j, struct gx_err *e)
{
	const struct gx_conf *conf = j->c->n->conf;
	enum gx_rc rc = gx_keyring_load(
		gx_conf_str(conf, "node", NULL, "trust"), &j->ring, e);

	if (rc == GX_OK) {
		rc = gx_key_load_private(gx_conf_str(conf, "node", NULL, "key"),
					 &j->own, e);
	}
	if (rc == GX_OK) {
		rc = find_place(j, e);
	}
	if (rc == GX_OK) {
		rc = find_batches(j, e);
	}
	if (rc == GX_OK) {
		rc = find_receipts(j, e);
	}
	if (rc == GX_OK) {
		rc = cut_rows(j, e);
	}
	return rc == GX_OK ? read_batches(j, e) : rc;
}

enum gx_rc
gx_evidence_make(struct gx_call *c, const char *stream, uint64_t first,
		 uint64_t n, struct gx_buf *out, struct gx_err *e)
{
	struct job *j = gx_mem_new(sizeof *j);
	enum gx_rc rc;

	j->c = c;
	snprintf(j->stream, sizeof j->stream, "%s", stream);
	j->what.stream = gx_slice_str(j->stream);
	j->what.first = first;
	j->what.n = n;
	gx_buf_init(&j->chain, GX_BUNDLE_MAX);
	rc = gather(j, e);
	if (rc == GX_OK) {
		rc = assemble(j, out, e);
	}
	for (size_t i = 0; i < j->n_said; i++) {
		gx_buf_free(&j->said[i].text);
	}
	gx_buf_free(&j->chain);
	gx_key_free(&j->own);
	gx_keyring_free(&j->ring);
	gx_mem_free(j->rows);
	gx_mem_free(j);
	return rc;
}
