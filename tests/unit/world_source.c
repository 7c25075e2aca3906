/*
 * World, the department's system: a row of records, numbered from 1, of which
 * everything at or below "released" is gone for good.
 *
 * A position is "<incarnation>/<number>".  A handle is what one writer holds;
 * who takes the source last has it, and the handles before can neither read
 * nor release.  A restored source has another incarnation, as PostgreSQL has
 * another timeline, or simply ends too low.
 */
#include "world.h"

struct handle {
	struct gx_source s; /* first */
	struct w_source *db;
	unsigned ticket;
	size_t at;
	size_t skip[W_STREAMS];
	char pos[32], key[32], data[48];
};

static struct handle *
handle_of(struct gx_source *s)
{
	return (struct handle *)(void *)s;
}

static bool
parse(struct gx_slice text, unsigned *incarnation, size_t *n)
{
	char s[64];

	if (text.n == 0) {
		return false;
	}
	snprintf(s, sizeof s, "%.*s", (int)text.n, text.p);
	if (sscanf(s, "%u/%zu", incarnation, n) != 2) {
		world_fail("a position that no source has given");
		return false;
	}
	return true;
}

static enum gx_rc
take(struct gx_source *s, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	struct handle *h = handle_of(s);

	if (rc != GX_OK) {
		return rc;
	}
	h->ticket = ++W.tickets;
	h->db->holder = h->ticket;
	world_say("takes source %zu", h->db->no);
	return world_after(GX_OK, false, e);
}

static enum gx_rc
check_incarnation(const struct w_source *db, unsigned incarnation, size_t n,
		  struct gx_err *e)
{
	if (incarnation != db->incarnation || n > db->n) {
		return GX_ERR(e, GX_FATAL, "source.restored",
			      "the source is older than its stream");
	}
	return GX_OK;
}

static enum gx_rc
start(struct gx_source *s, const struct gx_slice *pos, size_t n,
      struct gx_slice released, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_ABORT, e);
	struct handle *h = handle_of(s);
	unsigned inc = 0;
	size_t noted = 0;

	if (rc == GX_OK && h->db->holder != h->ticket) {
		return GX_ERR(e, GX_FENCED, "slot.taken", "another has it");
	}
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		h->skip[i] = 0;
		if (parse(pos[i], &inc, &h->skip[i])) {
			rc = check_incarnation(h->db, inc, h->skip[i], e);
		}
	}
	if (rc == GX_OK && parse(released, &inc, &noted)) {
		rc = check_incarnation(h->db, inc, noted, e);
	}
	if (rc == GX_OK && h->db->released > noted) {
		rc = GX_ERR(e, GX_FATAL, "source.released_beyond",
			    "the source stands at %zu, noted is %zu",
			    h->db->released, noted);
	}
	h->at = h->db->released;
	return rc;
}

static void
make_line(struct handle *h, const struct w_rec *r, struct gx_rec *rec)
{
	snprintf(h->key, sizeof h->key, "[\"k%zu\"]", h->at % 7);
	snprintf(h->data, sizeof h->data, "{\"n\":%zu}", h->at);
	rec->stream = r->stream;
	rec->line.op = GX_OP_UPSERT;
	rec->line.key = gx_slice_str(h->key);
	rec->line.time = GX_SLICE("2026-11-24T17:00:00.000+08:00");
	rec->line.data = gx_slice_str(h->data);
	if (r->kind == REC_GOOD) {
		return;
	}
	rec->is_reject = true;
	rec->line.op = GX_OP_SET_ASIDE;
	rec->line.data.n = 0;
	rec->original = gx_slice_str(h->data);
	if (r->kind == REC_BAD_NO_KEY) {
		rec->line.key.n = 0;
	}
}

static enum gx_rc
read_one(struct gx_source *s, int timeout_ms, struct gx_rec *rec,
	 struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_ABORT, e);
	struct handle *h = handle_of(s);
	const struct w_rec *r;

	(void)timeout_ms;
	if (rc != GX_OK) {
		return rc;
	}
	if (h->db->holder != h->ticket) {
		return GX_ERR(e, GX_FENCED, "slot.taken", "another has it");
	}
	if (h->at >= h->db->n || world_one_in(5)) {
		return GX_AGAIN;
	}
	r = &h->db->rec[h->at++];
	snprintf(h->pos, sizeof h->pos, "%u/%zu", h->db->incarnation, h->at);
	rec->pos = gx_slice_str(h->pos);
	rec->is_progress =
		r->kind == REC_FILTERED || h->at <= h->skip[r->stream];
	if (!rec->is_progress) {
		make_line(h, r, rec);
	}
	return GX_OK;
}

static enum gx_rc
release(struct gx_source *s, struct gx_slice pos, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_ABORT, e);
	struct handle *h = handle_of(s);
	unsigned inc = 0;
	size_t n = 0;

	if (rc != GX_OK) {
		return rc;
	}
	if (h->db->holder != h->ticket) {
		return GX_ERR(e, GX_FENCED, "slot.taken", "another has it");
	}
	(void)parse(pos, &inc, &n);
	if (inc != h->db->incarnation) {
		return GX_ERR(e, GX_ABORT, "source.away", "restarted");
	}
	world_say("releases %zu", n);
	world_check_release(h->db, n);
	h->db->released = n > h->db->released ? n : h->db->released;
	T.releases++;
	return world_after(GX_OK, false, e);
}

static void
drop(struct gx_source *s)
{
	struct handle *h = handle_of(s);

	if (h->db->holder == h->ticket) {
		h->db->holder = 0;
	}
}

static const char *
origin(const struct gx_source *s)
{
	return ((const struct handle *)(const void *)s)->db->no
		       ? "/450100/civil/pop"
		       : "/450100/hrss/social";
}

static size_t
n_streams(const struct gx_source *s)
{
	return ((const struct handle *)(const void *)s)->db->n_streams;
}

static const char *
stream(const struct gx_source *s, size_t i)
{
	const struct handle *h = (const struct handle *)(const void *)s;

	return W.stream[h->db->first + i].name;
}

/* No resource is declared in this world: its readers admit by themselves. */
static const struct gx_resource *
resource(const struct gx_source *s, size_t i)
{
	(void)s;
	(void)i;
	return NULL;
}

static enum gx_rc
tend(struct gx_source *s, struct gx_err *e)
{
	(void)s; /* nothing of the world fills a disk */
	(void)e;
	return GX_OK;
}

static int64_t
lag_bytes(struct gx_source *s)
{
	(void)s;
	return -1;
}

static void
free_handle(struct gx_source **s)
{
	gx_mem_free(*s);
	*s = NULL;
}

static const struct gx_source_ops ops = {
	.origin = origin,
	.n_streams = n_streams,
	.stream = stream,
	.resource = resource,
	.take = take,
	.start = start,
	.read = read_one,
	.tend = tend,
	.release = release,
	.drop = drop,
	.lag_bytes = lag_bytes,
	.free = free_handle,
};

struct gx_source *
world_source_new(struct w_source *db)
{
	struct handle *h = gx_mem_new(sizeof *h);

	h->s.ops = &ops;
	h->db = db;
	return &h->s;
}

static void
add_record(struct w_source *db)
{
	struct w_rec *r = &db->rec[db->n];
	size_t dice = world_below(20);
	struct w_stream *st;

	r->stream = world_below(db->n_streams);
	r->kind = dice < 16    ? REC_GOOD
		  : dice == 16 ? REC_BAD
		  : dice == 17 ? REC_BAD_NO_KEY
			       : REC_FILTERED;
	db->n++;
	T.records++;
	if (r->kind == REC_GOOD || r->kind == REC_BAD) {
		st = &W.stream[db->first + r->stream];
		st->want[st->n_want++] = db->n;
	}
}

void
world_source_fill(size_t n)
{
	while (n-- > 0) {
		struct w_source *db = &W.source[world_below(W.n_sources)];

		if (!db->is_lost && db->n < db->n_end) {
			add_record(db);
		}
	}
}

bool
world_source_nudge(size_t s)
{
	struct w_stream *st = &W.stream[s];
	struct w_source *db = &W.source[st->source];

	if (db->is_lost || db->n == W_RECORDS) {
		return false;
	}
	db->rec[db->n++] = (struct w_rec){s - db->first, REC_GOOD};
	st->want[st->n_want++] = db->n;
	T.records++;
	return true;
}
