/*
 * Decoder of pgoutput messages.
 *
 * The bytes come from a department's server, which is not ours: every length
 * is held against what is really there before it is believed, and trailing
 * bytes refuse the message.  A message that cannot be decoded stops the flow,
 * for what would a skipped change be but a silent difference.
 *
 * A message is parsed once and completely; the walkers then only repeat steps
 * that are known to fit.  Nothing is copied and nothing allocated: a
 * transaction of any size passes through one message at a time.
 */
#include "flow/src_pg_out.h"

struct cursor {
	const unsigned char *p;
	size_t n;
	bool is_short; /* something did not fit; all later reads answer 0 */
};

static const unsigned char *
take(struct cursor *c, size_t n)
{
	const unsigned char *p = c->p;

	if (c->is_short || n > c->n) {
		c->is_short = true;
		return NULL;
	}
	c->p += n;
	c->n -= n;
	return p;
}

static uint64_t
take_number(struct cursor *c, size_t n_bytes)
{
	const unsigned char *p = take(c, n_bytes);
	uint64_t v = 0;

	for (size_t i = 0; p != NULL && i < n_bytes; i++) {
		v = v << 8 | p[i];
	}
	return v;
}

static struct gx_slice
take_text(struct cursor *c)
{
	const unsigned char *end =
		c->is_short || c->n == 0 ? NULL : memchr(c->p, 0, c->n);
	struct gx_slice s = {NULL, 0};

	if (end == NULL) {
		c->is_short = true;
		return s;
	}
	s = gx_slice((const char *)c->p, (size_t)(end - c->p));
	(void)take(c, s.n + 1);
	return s;
}

static struct gx_slice
since(const struct cursor *c, const unsigned char *from)
{
	return gx_slice((const char *)from, (size_t)(c->p - from));
}

static struct cursor
cursor_of(struct gx_slice s)
{
	return (struct cursor){(const unsigned char *)s.p, s.n, false};
}

static void
take_value(struct cursor *c, struct gx_pgo_value *v)
{
	const unsigned char *p;

	v->kind = (char)take_number(c, 1);
	v->text = gx_slice(NULL, 0);
	if (v->kind == 't') {
		size_t n = (size_t)take_number(c, 4);

		p = take(c, n);
		v->text = gx_slice((const char *)p, p ? n : 0);
	} else if (v->kind != 'n' && v->kind != 'u') {
		c->is_short = true; /* 'b' was not asked for */
	}
}

static void
take_tuple(struct cursor *c, char kind, struct gx_pgo_tuple *t)
{
	const unsigned char *from;
	struct gx_pgo_value v;

	t->kind = kind;
	t->n = (uint16_t)take_number(c, 2);
	from = c->p;
	if (t->n > GX_PGO_COLUMNS) {
		c->is_short = true;
	}
	for (unsigned i = 0; i < t->n && !c->is_short; i++) {
		take_value(c, &v);
	}
	t->raw = since(c, from);
}

static void
take_column(struct cursor *c, struct gx_pgo_column *col)
{
	col->is_key = (take_number(c, 1) & 1) != 0;
	col->name = take_text(c);
	col->type = (uint32_t)take_number(c, 4);
	(void)take_number(c, 4); /* type modifier */
}

static void
parse_relation(struct cursor *c, struct gx_pgo_msg *m)
{
	const unsigned char *from;
	struct gx_pgo_column col;

	m->kind = GX_PGO_RELATION;
	m->relation = (uint32_t)take_number(c, 4);
	m->ns = take_text(c);
	m->name = take_text(c);
	m->identity = (char)take_number(c, 1);
	m->n_columns = (uint16_t)take_number(c, 2);
	from = c->p;
	if (m->n_columns > GX_PGO_COLUMNS) {
		c->is_short = true;
	}
	for (unsigned i = 0; i < m->n_columns && !c->is_short; i++) {
		take_column(c, &col);
	}
	m->columns = since(c, from);
}

/* insert: N; update: [K|O] N; delete: K|O. */
static const char *
parse_change(struct cursor *c, struct gx_pgo_msg *m)
{
	char kind;

	m->relation = (uint32_t)take_number(c, 4);
	kind = (char)take_number(c, 1);
	if (m->kind != GX_PGO_INSERT && (kind == 'K' || kind == 'O')) {
		take_tuple(c, kind, &m->old_row);
		if (m->kind == GX_PGO_DELETE) {
			return NULL;
		}
		kind = (char)take_number(c, 1);
	}
	if (c->is_short) {
		return NULL;
	}
	if (kind != 'N' || m->kind == GX_PGO_DELETE) {
		return "a row of an unknown kind";
	}
	take_tuple(c, kind, &m->new_row);
	return NULL;
}

static void
parse_truncate(struct cursor *c, struct gx_pgo_msg *m)
{
	const unsigned char *from;

	m->kind = GX_PGO_TRUNCATE;
	m->n_relations = (uint32_t)take_number(c, 4);
	(void)take_number(c, 1); /* CASCADE, RESTART IDENTITY */
	from = c->p;
	if (m->n_relations > c->n / 4 || c->is_short) {
		c->is_short = true;
		return;
	}
	(void)take(c, (size_t)m->n_relations * 4);
	m->relations = since(c, from);
}

static const char *
parse_body(struct cursor *c, char type, struct gx_pgo_msg *m)
{
	switch (type) {
	case 'B':
		m->kind = GX_PGO_BEGIN;
		m->lsn = take_number(c, 8);
		m->time_us = (int64_t)take_number(c, 8);
		(void)take_number(c, 4); /* xid */
		return NULL;
	case 'C':
		m->kind = GX_PGO_COMMIT;
		(void)take_number(c, 1);
		m->lsn = take_number(c, 8);
		m->end_lsn = take_number(c, 8);
		m->time_us = (int64_t)take_number(c, 8);
		return NULL;
	case 'R':
		parse_relation(c, m);
		return NULL;
	case 'I':
		m->kind = GX_PGO_INSERT;
		return parse_change(c, m);
	case 'U':
		m->kind = GX_PGO_UPDATE;
		return parse_change(c, m);
	case 'D':
		m->kind = GX_PGO_DELETE;
		return parse_change(c, m);
	case 'T':
		parse_truncate(c, m);
		return NULL;
	case 'Y': /* type */
	case 'O': /* origin */
	case 'M': /* logical decoding message */
		m->kind = GX_PGO_OTHER;
		(void)take(c, c->n);
		return NULL;
	default:
		return "a message of an unknown kind";
	}
}

const char *
gx_pgo_parse(struct gx_slice data, struct gx_pgo_msg *out)
{
	struct cursor c = cursor_of(data);
	const char *why;
	char type;

	memset(out, 0, sizeof(*out));
	type = (char)take_number(&c, 1);
	if (c.is_short) {
		return "an empty message";
	}
	why = parse_body(&c, type, out);
	if (why != NULL) {
		return why;
	}
	if (c.is_short) {
		return "a message that ends early or holds a bad value";
	}
	return c.n > 0 ? "a message with bytes behind its end" : NULL;
}

bool
gx_pgo_column_next(const struct gx_pgo_msg *m, size_t *at,
		   struct gx_pgo_column *out)
{
	struct cursor c = cursor_of(m->columns);

	if (*at >= m->columns.n) {
		return false;
	}
	(void)take(&c, *at);
	take_column(&c, out);
	*at = m->columns.n - c.n;
	return !c.is_short;
}

bool
gx_pgo_relation_next(const struct gx_pgo_msg *m, size_t *at, uint32_t *oid)
{
	struct cursor c = cursor_of(m->relations);

	if (*at >= m->relations.n) {
		return false;
	}
	(void)take(&c, *at);
	*oid = (uint32_t)take_number(&c, 4);
	*at += 4;
	return !c.is_short;
}

void
gx_pgo_values(const struct gx_pgo_tuple *t, struct gx_pgo_value *out)
{
	struct cursor c = cursor_of(t->raw);

	for (unsigned i = 0; i < t->n; i++) {
		take_value(&c, &out[i]);
	}
}
