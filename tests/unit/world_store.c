/*
 * World, the databases.
 *
 * A database is one plain struct; a backup and a restore are copies of it.
 * A call is one transaction: it is refused before anything happened, or done,
 * or done while the caller hears that the answer was lost.  commit() compares
 * every row and the offset with what the caller believed, as the real store
 * does in SQL; the mistakes of M_NO_CAS, M_MARKER_APART and M_STOP_FORGOTTEN
 * are planted here because they would be mistakes of such a store.
 */
#include "world.h"

#include <stddef.h>

static enum w_node
node_of(const struct gx_store *s)
{
	return s == &W.store[CITY] ? CITY : HUB;
}

/* Of the many batches that a row may hold only those that it does hold. */
static void
copy_row(struct w_row *to, const struct w_row *from)
{
	memcpy(to, from,
	       offsetof(struct w_row, taken) +
		       from->n_taken * sizeof from->taken[0]);
}

static void
clear_row(struct w_row *row)
{
	memset(row, 0, offsetof(struct w_row, taken));
}

void
world_db_clear(struct w_db *db)
{
	size_t rest = offsetof(struct w_db, next_offset);

	for (size_t i = 0; i < W_ALL_STREAMS; i++) {
		clear_row(&db->row[i]);
	}
	memset((char *)db + rest, 0, sizeof *db - rest);
}

void
world_db_copy(struct w_db *to, const struct w_db *from)
{
	size_t rest = offsetof(struct w_db, next_offset);

	for (size_t i = 0; i < W_ALL_STREAMS; i++) {
		copy_row(&to->row[i], &from->row[i]);
	}
	memcpy((char *)to + rest, (const char *)from + rest, sizeof *to - rest);
}

/* Where a partition must still be readable from. */
int64_t
world_kept(const struct w_db *db, int32_t partition)
{
	int64_t kept = db->next_offset[partition];

	for (size_t i = 0; i < W.n_streams; i++) {
		const struct gx_stream_row *r = &db->row[i].row;

		if (db->row[i].is_there && r->partition == partition &&
		    r->is_stopped && r->stopped_at < kept &&
		    W.mistake != M_STOP_FORGOTTEN) {
			kept = r->stopped_at;
		}
	}
	return kept;
}

/* Does this row lie in the partition, as far as the caller is told? */
static bool
lies_in(const struct gx_stream_row *row, int32_t partition)
{
	int32_t p = row->partition;

	if (W.mistake == M_TWO_PARTITIONS && W.cur && W.cur->is_misplaced) {
		p = (p + 1) % W.n_partitions;
	}
	return p == partition;
}

static enum gx_rc
load(struct gx_store *s, const char *topic, int32_t partition,
     int64_t *next_offset, gx_stream_f each, void *ctx, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	const struct w_db *db = &W.db[node_of(s)];

	(void)topic;
	if (rc != GX_OK) {
		return rc;
	}
	*next_offset = db->next_offset[partition];
	for (size_t i = 0; i < W.n_streams; i++) {
		struct gx_stream_row row = db->row[i].row;

		if (!db->row[i].is_there || !lies_in(&row, partition)) {
			continue;
		}
		row.partition = partition;
		if (W.mistake == M_STOP_FORGOTTEN) {
			row.stopped_at = *next_offset;
		}
		each(ctx, &row);
	}
	return world_after(GX_OK, false, e);
}

static void
show(enum w_node n, size_t i, struct gx_stream_row *row)
{
	*row = W.db[n].row[i].row;
	if (!W.cur) {
		return;
	}
	if (W.mistake == M_BROKERS_WORD && W.cur->kind == WRITER &&
	    W.acked[i].epoch >= row->chain.epoch) {
		row->chain = W.acked[i];
	}
	if (W.mistake == M_TWO_PARTITIONS && W.cur->kind == READER) {
		row->partition = W.cur->at_partition;
	}
}

static enum gx_rc
look(struct gx_store *s, const char *const *streams, size_t n,
     struct gx_stream_row *rows, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	enum w_node node = node_of(s);

	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		size_t k = world_stream(gx_slice_str(streams[i]));

		if (k == W.n_streams || !W.db[node].row[k].is_there) {
			return GX_ERR(e, GX_FATAL, "stream.undeclared",
				      "no row");
		}
		show(node, k, &rows[i]);
	}
	return rc;
}

static enum gx_rc
taken(struct gx_store *s, struct gx_slice stream, uint64_t first,
      struct gx_taken *out, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	size_t k = world_stream(stream);
	const struct w_row *row = &W.db[node_of(s)].row[k];

	memset(out, 0, sizeof *out);
	if (rc != GX_OK || k == W.n_streams) {
		return rc;
	}
	for (size_t i = 0; i < row->n_taken; i++) {
		if (out->lowest_first == 0) {
			out->lowest_first = row->taken[i].first;
		}
		if (row->taken[i].first == first) {
			out->found = true;
			out->n = row->taken[i].n;
			memcpy(out->head, row->taken[i].head, GX_HASH);
		}
	}
	return GX_OK;
}

/* ---- commit ---- */

static bool
is_same(const struct gx_chain *a, const struct gx_chain *b)
{
	if (W.mistake == M_NO_CAS) {
		return true;
	}
	if (W.mistake != M_MARKER_APART &&
	    (a->epoch != b->epoch || a->writer != b->writer)) {
		return false;
	}
	return a->next_seq == b->next_seq &&
	       memcmp(a->head, b->head, GX_HASH) == 0;
}

/* What the row of apply i will be when its turn comes. */
static bool
compare(const struct w_db *db, const struct gx_txn *t, size_t i)
{
	const struct gx_apply *ap = &t->applies[i];
	const struct w_row *row = &db->row[world_stream(ap->stream)];

	for (size_t k = i; k-- > 0;) {
		if (gx_slice_eq(t->applies[k].stream, ap->stream)) {
			return is_same(&t->applies[k].after, &ap->before);
		}
	}
	if (ap->is_new) {
		return !row->is_there;
	}
	return row->is_there && is_same(&row->row.chain, &ap->before);
}

static void
insert(struct w_row *row, const struct gx_txn *t, struct gx_slice stream)
{
	clear_row(row);
	row->is_there = true;
	memcpy(row->row.stream, stream.p, stream.n);
	snprintf(row->row.topic, sizeof row->row.topic, "%s", t->topic);
	row->row.partition = t->partition;
	gx_chain_init(&row->row.chain);
}

static void
apply(enum w_node n, const struct gx_txn *t, const struct gx_apply *ap)
{
	size_t s = world_stream(ap->stream);
	struct w_row *row = &W.db[n].row[s];

	if (!row->is_there) {
		insert(row, t, ap->stream);
	}
	row->row.is_stopped = false;
	row->row.why[0] = '\0';
	if (!ap->head) {
		if (W.mistake != M_MARKER_APART) {
			row->row.chain = ap->after;
		}
		return;
	}
	world_check_apply(n, s, ap->head);
	row->row.chain = ap->after;
	row->n_lines += ap->head->n;
	GX_ASSERT(row->n_taken < W_TAKEN);
	row->taken[row->n_taken].first = ap->head->first;
	row->taken[row->n_taken].n = ap->head->n;
	memcpy(row->taken[row->n_taken].head, ap->head_hash, GX_HASH);
	row->n_taken++;
}

static void
stop(enum w_node n, const struct gx_stop *st)
{
	struct w_row *row = &W.db[n].row[world_stream(st->stream)];

	if (!row->is_there) {
		world_fail("a stop of a stream without a row");
		return;
	}
	world_say("%s stands still at %lld: %s", row->row.stream,
		  (long long)st->at, st->code);
	if (n == CITY && strcmp(st->code, "log.lost_tail") == 0) {
		W.has_said[row->row.partition] = true;
	}
	row->row.is_stopped = true;
	row->row.stopped_at = st->at;
	snprintf(row->row.why, sizeof row->row.why, "%s", st->code);
}

static enum gx_rc
commit(struct gx_store *s, const struct gx_txn *t, struct gx_txn_result *r,
       struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	enum w_node n = node_of(s);
	struct w_db *db = &W.db[n];

	if (rc != GX_OK) {
		return rc;
	}
	memset(r, 0, sizeof *r);
	if (db->next_offset[t->partition] != t->from_offset &&
	    W.mistake != M_NO_CAS) {
		return GX_ERR(e, GX_FENCED, "store.fenced", "another offset");
	}
	for (size_t i = 0; i < t->n_applies; i++) {
		if (!compare(db, t, i)) {
			return GX_ERR(e, GX_FENCED, "store.fenced",
				      "another state");
		}
	}
	for (size_t i = 0; i < t->n_applies; i++) {
		apply(n, t, &t->applies[i]);
		r->n_applied += t->applies[i].head ? t->applies[i].head->n : 0;
	}
	for (size_t i = 0; i < t->n_stops; i++) {
		stop(n, &t->stops[i]);
	}
	db->next_offset[t->partition] = t->to_offset;
	world_say("commits %d: %lld -> %lld, %zu moves, %zu stops",
		  t->partition, (long long)t->from_offset,
		  (long long)t->to_offset, t->n_applies, t->n_stops);
	return world_after(GX_OK, true, e);
}

static enum gx_rc
count(struct gx_store *s, struct gx_slice stream, uint64_t *n_rows,
      struct gx_err *e)
{
	(void)s;
	(void)stream;
	*n_rows = 0;
	(void)world_before(GX_OK, e);
	return GX_OK;
}

static enum gx_rc
declare(struct gx_store *s, const char *stream, const char *topic,
	int32_t partition, struct gx_err *e)
{
	struct gx_txn t = {.topic = topic, .partition = partition};
	struct w_row *row =
		&W.db[node_of(s)].row[world_stream(gx_slice_str(stream))];

	if (!row->is_there) {
		insert(row, &t, gx_slice_str(stream));
		row->row.is_own = true;
	}
	return row->row.partition == partition
		       ? GX_OK
		       : GX_ERR(e, GX_FATAL, "stream.moved", "elsewhere");
}

/* ---- quarantine and release ---- */

static size_t
number_in(struct gx_slice pos)
{
	size_t at = 0;
	size_t n = 0;

	while (at < pos.n && pos.p[at] != '/') {
		at++;
	}
	while (++at < pos.n) {
		n = n * 10 + (size_t)(pos.p[at] - '0');
	}
	return n;
}

static enum gx_rc
aside(struct gx_store *s, const struct gx_aside *rows, size_t n, uint64_t *upto,
      struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	struct w_db *db = &W.db[node_of(s)];

	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		size_t stream = world_stream(rows[i].stream);
		size_t pos = number_in(rows[i].pos);
		struct w_aside *as = NULL;

		for (size_t k = 0; k < db->n_asides; k++) {
			if (db->aside[k].stream == stream &&
			    db->aside[k].pos == pos) {
				as = &db->aside[k];
			}
		}
		if (!as) {
			GX_ASSERT(db->n_asides < W_ASIDES);
			as = &db->aside[db->n_asides++];
			as->is_there = false;
		}
		if (!as->is_there) {
			*as = (struct w_aside){stream,	      pos,
					       rows[i].seq,   ++db->last_id,
					       rows[i].epoch, true};
		} else if (as->epoch < rows[i].epoch) {
			as->epoch = rows[i].epoch;
			as->seq = rows[i].seq;
		}
		world_say("sets aside %zu, seq %llu", pos,
			  (unsigned long long)as->seq);
		*upto = as->id > *upto ? as->id : *upto;
	}
	return rc == GX_OK ? world_after(rc, true, e) : rc;
}

/* A writer may sleep for long between the source's word that it is its own and
 * this: others take over meanwhile. */
static enum gx_rc
settle(struct gx_store *s, struct gx_slice stream, uint64_t next_seq,
       uint64_t epoch, struct gx_err *e)
{
	struct w_db *db = &W.db[node_of(s)];
	size_t k = world_stream(stream);
	enum gx_rc rc;

	world_stall(8);
	rc = world_before(GX_AGAIN, e);
	for (size_t i = 0; rc == GX_OK && i < db->n_asides; i++) {
		struct w_aside *as = &db->aside[i];

		if (as->stream == k && as->seq >= next_seq &&
		    (as->epoch <= epoch || W.mistake == M_SETTLE_BLIND) &&
		    as->id > db->covered[W.stream[k].source]) {
			world_say("forgets aside %zu", as->pos);
			as->is_there = false;
		}
	}
	return rc == GX_OK ? world_after(rc, true, e) : rc;
}

/* Number of the source that a release belongs to; noted by origin. */
static size_t
source_of(const char *origin)
{
	return strcmp(origin, "/450100/civil/pop") == 0 ? 1 : 0;
}

static enum gx_rc
release(struct gx_store *s, const char *origin, struct gx_slice pos,
	uint64_t upto, uint64_t epoch, struct gx_err *e)
{
	struct w_db *db = &W.db[node_of(s)];
	size_t k = source_of(origin);
	enum gx_rc rc;

	world_stall(12);
	rc = world_before(GX_AGAIN, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (epoch < db->released_epoch[k] && W.mistake != M_RELEASE_BLIND) {
		return GX_ERR(e, GX_FENCED, "writer.fenced",
			      "a newer writer has released");
	}
	db->released_epoch[k] = epoch;
	world_say("notes released %.*s", (int)pos.n, pos.p);
	snprintf(db->released[k], sizeof db->released[k], "%.*s", (int)pos.n,
		 pos.p);
	db->covered[k] = upto > db->covered[k] ? upto : db->covered[k];
	return world_after(GX_OK, true, e);
}

static enum gx_rc
released(struct gx_store *s, const char *origin, struct gx_buf *pos,
	 struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);

	gx_buf_reset(pos);
	/* Nothing was ever noted under a flow's name in this world. */
	if (rc == GX_OK && origin[0] == '/') {
		gx_buf_puts(pos, W.db[node_of(s)].released[source_of(origin)]);
	}
	return rc;
}

/* Its database is the world's and stays. */
static void
leave(struct gx_store **s)
{
	*s = NULL;
}

const struct gx_store_ops world_store_ops = {
	.load = load,
	.look = look,
	.taken = taken,
	.commit = commit,
	.count = count,
	.declare = declare,
	.aside = aside,
	.settle = settle,
	.release = release,
	.released = released,
	.free = leave,
};
