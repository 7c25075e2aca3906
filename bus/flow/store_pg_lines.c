/*
 * Store on PostgreSQL: the lines of a transaction, read and checked.
 *
 * Each line is read in its exact form, its record is run through the
 * validator of its resource, whose spans become a row of COPY text, and its
 * key is compared with the record's.  Whoever sealed the batch has done the
 * same; but what a table holds is this node's promise, so nothing gets there
 * unchecked.  A line that does not pass is set aside with its reasons; its
 * neighbours do not notice.
 *
 * Within a segment the last line of a key wins.  A table of keys finds it
 * while reading, and each line remembers the one it replaced: should the
 * database refuse the last, the one before is what the row must hold.
 *
 * Memory grows to the largest transaction met and stays; a line allocates
 * nothing.  Nothing here speaks to the database.
 */
#include "base/clock.h"
#include "base/json.h"
#include "flow/store_pg_int.h"

/* ---- setting aside ---- */

enum gx_rc
gx_store_pg_set_aside(struct gx_store_pg *st, const struct spg_unit *u,
		      uint64_t seq, struct gx_slice key, struct gx_slice line,
		      struct gx_slice reasons, struct gx_err *e)
{
	struct gx_buf *c = st->asides.col;
	char now[GX_TIME_LEN + 1], pos[24];
	enum gx_rc rc;

	gx_time_format(gx_now_ms(), now);
	gx_store_pg_put(&c[0], u->stream);
	gx_store_pg_put_u64(&c[1], seq);
	gx_store_pg_put(&c[2], key);
	gx_store_pg_put(&c[3], reasons);
	(void)snprintf(pos, sizeof(pos), "%llu", (unsigned long long)seq);
	rc = gx_store_pg_put_sealed(st, &c[4], "original", u->stream,
				    gx_slice_str(pos), line, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_store_pg_put(&c[5], gx_slice(now, GX_TIME_LEN));
	gx_store_pg_put(&c[6], st->box ? GX_SLICE("t") : GX_SLICE("f"));
	st->asides.n++;
	st->n_aside++;
	for (size_t i = 0; i < SPG_COLS; i++) {
		if (c[i].failed) {
			return GX_ERR(e, GX_FATAL, "mem.full",
				      "%zu lines set aside at once do not fit",
				      st->asides.n);
		}
	}
	return GX_OK;
}

static void
put_reason(struct gx_jw *w, struct gx_slice pointer, struct gx_slice keyword,
	   struct gx_slice message)
{
	gx_jw_begin(w, '{');
	gx_jw_name(w, "pointer");
	gx_jw_str(w, pointer);
	gx_jw_name(w, "keyword");
	gx_jw_str(w, keyword);
	gx_jw_name(w, "message");
	gx_jw_str(w, message);
	gx_jw_end(w, '}');
}

/* Aside with one reason of our own, or with the validator's. */
static enum gx_rc
refuse(struct gx_store_pg *st, const struct spg_unit *u, uint64_t seq,
       const struct gx_line *ln, struct gx_slice line, const char *keyword,
       const char *message, struct gx_err *e)
{
	struct gx_buf raw;
	struct gx_jw w;
	enum gx_rc rc;

	gx_buf_init(&raw, 256u << 10);
	gx_jw_init(&w, &raw);
	gx_jw_begin(&w, '[');
	if (keyword != NULL) {
		put_reason(&w, GX_SLICE(""), gx_slice_str(keyword),
			   gx_slice_str(message));
	}
	for (size_t i = 0;
	     keyword == NULL && i < gx_check_n_faults(u->table->check); i++) {
		const struct gx_fault *f = gx_check_fault(u->table->check, i);

		put_reason(&w, f->pointer, f->keyword, f->message);
	}
	gx_jw_end(&w, ']');
	gx_buf_reset(&st->text);
	(void)gx_store_pg_clean_json(&st->text, gx_buf_view(&raw));
	rc = gx_store_pg_set_aside(
		st, u, seq, ln->key.n > STORE_PG_KEY ? GX_SLICE("") : ln->key,
		line, raw.failed ? GX_SLICE("[]") : gx_buf_view(&st->text), e);
	gx_buf_free(&raw);
	return rc;
}

/* ---- the table of keys ---- */

static uint64_t
hash_key(struct gx_slice origin, struct gx_slice key)
{
	uint64_t h = 0x9e3779b97f4a7c15u ^ key.n;
	struct gx_slice part[] = {origin, key};

	for (size_t k = 0; k < 2; k++) {
		const char *p = part[k].p;
		size_t n = part[k].n;

		for (; n >= 8; n -= 8, p += 8) {
			uint64_t v;

			memcpy(&v, p, 8);
			h = (h ^ v) * 0xff51afd7ed558ccdu;
			h ^= h >> 32;
		}
		for (; n > 0; n--, p++) {
			h = (h ^ (unsigned char)*p) * 0x100000001b3u;
		}
	}
	return h ^ h >> 29;
}

static bool
is_same_key(const struct gx_store_pg *st, const struct spg_item *a,
	    const struct spg_item *b)
{
	const struct spg_unit *x = &st->units[a->unit];
	const struct spg_unit *y = &st->units[b->unit];

	return a->hash == b->hash && x->table == y->table &&
	       gx_slice_eq(a->key, b->key) &&
	       (x == y || gx_slice_eq(x->origin, y->origin));
}

/* The slot of an item's key: where it is, or where it may be put. */
static struct spg_slot *
find_slot(const struct gx_store_pg *st, const struct spg_item *it)
{
	size_t mask = st->n_slots - 1;

	for (size_t i = (size_t)it->hash & mask;; i = (i + 1) & mask) {
		struct spg_slot *s = &st->slots[i];

		if (s->last == 0 ||
		    is_same_key(st, &st->items[s->last - 1], it)) {
			return s;
		}
	}
}

static void
link_item(struct gx_store_pg *st, size_t at)
{
	struct spg_item *it = &st->items[at];
	struct spg_slot *s = find_slot(st, it);

	if (s->last != 0) {
		st->items[s->last - 1].is_last = false;
		it->prior = s->last;
	}
	s->last = (uint32_t)at + 1;
	it->is_last = true;
	if (it->op == GX_OP_SET_ASIDE) {
		return;
	}
	if (s->row != 0) {
		st->items[s->row - 1].is_row = false;
		it->before = s->row;
	}
	s->row = (uint32_t)at + 1;
	it->is_row = true;
}

/* At most half full; grown by putting everything in again. */
static enum gx_rc
grow_slots(struct gx_store_pg *st, struct gx_err *e)
{
	size_t want = st->n_slots ? st->n_slots * 2 : 1024;
	void *p;

	if ((st->n_items + 1) * 2 <= st->n_slots) {
		return GX_OK;
	}
	p = gx_mem_grow(st->slots, want, sizeof(*st->slots));
	if (p == NULL) {
		return GX_ERR(e, GX_FATAL, "mem.none",
			      "no memory for the keys of a transaction");
	}
	st->slots = p;
	st->n_slots = want;
	memset(st->slots, 0, want * sizeof(*st->slots));
	for (size_t i = 0; i < st->n_items; i++) {
		st->items[i].before = 0;
		st->items[i].prior = 0;
		st->items[i].is_row = false;
		link_item(st, i);
	}
	return GX_OK;
}

static enum gx_rc
add_item(struct gx_store_pg *st, const struct spg_item *it, struct gx_err *e)
{
	enum gx_rc rc =
		gx_store_pg_room(&st->items, &st->items_max, st->n_items + 1,
				 sizeof(*st->items), e);

	if (rc == GX_OK) {
		rc = grow_slots(st, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	st->items[st->n_items] = *it;
	link_item(st, st->n_items++);
	return GX_OK;
}

/* ---- lines ---- */

/* One row of COPY text.  false: a value that no table holds. */
static bool
put_row(struct gx_store_pg *st, const struct spg_unit *u,
	const struct spg_item *it)
{
	const struct gx_resource *r = u->table->r;
	struct gx_buf *b = &st->rows;

	(void)gx_buf_printf(b, "%u\t", it->unit + 1);
	for (size_t i = 0; i < it->key.n; i++) { /* only \ is special here */
		if (it->key.p[i] == '\\') {
			(void)gx_buf_putc(b, '\\');
		}
		(void)gx_buf_putc(b, it->key.p[i]);
	}
	(void)gx_buf_printf(b, "\t%llu", (unsigned long long)it->seq);
	for (size_t i = 0; i < r->n_fields; i++) {
		(void)gx_buf_putc(b, '\t');
		if (!gx_resource_copy_value(
			    r, i, gx_check_field(u->table->check, i), b)) {
			return false;
		}
	}
	(void)gx_buf_putc(b, '\n');
	return true;
}

static enum gx_rc
take_upsert(struct gx_store_pg *st, const struct spg_unit *u,
	    struct spg_item *it, const struct gx_line *ln, struct gx_err *e)
{
	size_t start = st->rows.n;
	const char *code;

	if (!gx_check_run(u->table->check, ln->data)) {
		return refuse(st, u, it->seq, ln, it->line, NULL, NULL, e);
	}
	gx_buf_reset(&st->key);
	if (!gx_resource_key(u->table->r, u->table->check, &st->key) ||
	    !gx_slice_eq(gx_buf_view(&st->key), ln->key)) {
		return refuse(st, u, it->seq, ln, it->line, "key",
			      "the key of the line is not the record's", e);
	}
	code = st->check_line != NULL
		       ? st->check_line(st->check_ctx, u->table->r, ln)
		       : NULL;
	if (code != NULL) {
		return refuse(st, u, it->seq, ln, it->line, code,
			      gx_error_find(code)->text, e);
	}
	if (!put_row(st, u, it)) {
		bool is_full = st->rows.failed;

		gx_buf_cut(&st->rows, start);
		if (!is_full) {
			return refuse(st, u, it->seq, ln, it->line, "store",
				      "a value that a table cannot hold", e);
		}
	}
	if (st->rows.failed) {
		return GX_ERR(e, GX_FATAL, "mem.full",
			      "the rows of a transaction do not fit");
	}
	it->row_at = start;
	it->row_n = (uint32_t)(st->rows.n - start);
	return add_item(st, it, e);
}

/* The last s of a stream counts. */
static enum gx_rc
take_start(struct gx_store_pg *st, const struct spg_unit *u, uint64_t seq,
	   struct gx_err *e)
{
	enum gx_rc rc;

	for (size_t i = 0; i < st->n_started; i++) {
		if (gx_slice_eq(st->started[i], u->stream)) {
			st->started[i] = gx_slice("", 0);
		}
	}
	rc = gx_store_pg_room(&st->started, &st->started_max, st->n_started + 1,
			      sizeof(*st->started), e);
	if (rc != GX_OK) {
		return rc;
	}
	st->started[st->n_started++] = u->stream;
	gx_store_pg_put_u64(&st->starts.col[1], seq);
	return GX_OK;
}

/* Why a line may not name the origin that it names, or none; NULL: it may. */
static const char *
check_origin(const struct gx_store_pg *st, const struct spg_unit *u,
	     const struct gx_line *ln)
{
	struct gx_stream_name name;

	if (ln->origin.n == 0) {
		return u->is_down && ln->key.n > 0
			       ? "a line of this stream names its origin"
			       : NULL;
	}
	if (!u->is_down) {
		return "only a stream made for the node below it names origins";
	}
	(void)gx_origin_parse(ln->origin, &name); /* the line's form */
	return gx_store_pg_listed(st->subtree, st->n_subtree, name.node)
		       ? "it comes from this node or from below it"
		       : NULL;
}

/* The unit of a line's own origin; the likely one is the last. */
static enum gx_rc
line_unit(struct gx_store_pg *st, uint32_t *unit, struct gx_slice origin,
	  struct gx_err *e)
{
	struct gx_slice stream = st->units[*unit].stream;
	uint64_t epoch = st->units[*unit].epoch;
	enum gx_rc rc;

	for (size_t i = st->n_units; i-- > 0;) {
		const struct spg_unit *u = &st->units[i];

		if (u->is_line && u->epoch == epoch &&
		    gx_slice_eq(u->origin, origin) &&
		    gx_slice_eq(u->stream, stream)) {
			*unit = (uint32_t)i;
			return GX_OK;
		}
	}
	rc = gx_store_pg_room(&st->units, &st->units_max, st->n_units + 1,
			      sizeof(*st->units), e);
	if (rc == GX_OK) {
		st->units[st->n_units] = st->units[*unit];
		st->units[st->n_units].origin = origin;
		st->units[st->n_units].is_line = true;
		*unit = (uint32_t)st->n_units++;
	}
	return rc;
}

static enum gx_rc
take_line(struct gx_store_pg *st, uint32_t unit, uint64_t seq,
	  struct gx_slice text, bool *is_end, struct gx_err *e)
{
	const struct spg_unit *u = &st->units[unit];
	struct gx_line ln;
	const char *bad = gx_line_parse(text, &ln);
	struct spg_item it = {.line = text, .seq = seq};

	st->n_lines++;
	*is_end = false;
	if (bad != NULL) {
		ln.key = gx_slice("", 0);
		return refuse(st, u, seq, &ln, text, "syntax", bad, e);
	}
	if (ln.key.n > STORE_PG_KEY) {
		return refuse(st, u, seq, &ln, text, "key",
			      "the key is longer than a table can hold", e);
	}
	bad = check_origin(st, u, &ln);
	if (bad != NULL) {
		return refuse(st, u, seq, &ln, text, "origin", bad, e);
	}
	if (ln.origin.n > 0) {
		enum gx_rc rc = line_unit(st, &unit, ln.origin, e);

		if (rc != GX_OK) {
			return rc;
		}
		u = &st->units[unit];
	}
	it.unit = unit;
	it.op = ln.op;
	it.key = ln.key;
	it.time = ln.time;
	switch (ln.op) {
	case GX_OP_UPSERT:
		it.hash = hash_key(u->origin, ln.key);
		return take_upsert(st, u, &it, &ln, e);
	case GX_OP_DELETE:
	case GX_OP_SET_ASIDE:
		it.hash = hash_key(u->origin, ln.key);
		return add_item(st, &it, e);
	case GX_OP_START:
		return take_start(st, u, seq, e);
	case GX_OP_END_READING:
		*is_end = true;
		return GX_OK;
	case GX_OP_CLOSE:
		return GX_OK; /* what was taken stays */
	}
	return GX_OK;
}

static void
reset_segment(struct gx_store_pg *st)
{
	st->n_items = 0;
	st->n_started = 0;
	gx_buf_reset(&st->rows);
	gx_store_pg_arrays_reset(&st->asides);
	gx_store_pg_arrays_reset(&st->starts);
	gx_store_pg_arrays_reset(&st->redrives);
	if (st->n_slots > 0) {
		memset(st->slots, 0, st->n_slots * sizeof(*st->slots));
	}
}

/* The unit of an apply: the one whose stream and epoch are its. */
static uint32_t
find_unit(const struct gx_store_pg *st, const struct gx_apply *ap)
{
	size_t i = st->n_units;

	while (i-- > 0) {
		if (!st->units[i].is_line &&
		    st->units[i].epoch == ap->head->epoch &&
		    gx_slice_eq(st->units[i].stream, ap->stream)) {
			return (uint32_t)i;
		}
	}
	GX_ASSERT(false); /* made from the same applies */
	return 0;
}

enum gx_rc
gx_store_pg_collect(struct gx_store_pg *st, const struct gx_txn *t,
		    struct spg_cursor *c, const struct spg_unit **end,
		    struct gx_err *e)
{
	reset_segment(st);
	*end = NULL;
	for (; c->apply < t->n_applies; c->apply++, c->at = 0) {
		const struct gx_apply *ap = &t->applies[c->apply];
		struct gx_slice line;
		uint32_t unit;

		if (ap->head == NULL) {
			continue;
		}
		unit = find_unit(st, ap);
		if (c->at == 0) {
			gx_store_pg_note_redrive(st, ap);
		}
		if (st->units[unit].is_read_back) {
			st->n_lines += ap->head->n;
			continue;
		}
		c->seq = c->at == 0 ? ap->head->first : c->seq;
		while (gx_body_next(ap->head->body, &c->at, &line)) {
			bool is_end;
			enum gx_rc rc =
				take_line(st, unit, c->seq++, line, &is_end, e);

			if (rc != GX_OK) {
				return rc;
			}
			if (is_end) {
				*end = &st->units[unit];
				return GX_OK;
			}
		}
	}
	return GX_OK;
}
