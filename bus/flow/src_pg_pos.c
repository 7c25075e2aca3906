/*
 * Positions: where a stream stands in the source.
 *
 * A position is written into the header of every batch and read back after
 * every restart, perhaps by a later release of this program, so its form is
 * append-only and its parser strict: what it does not know exactly it refuses,
 * because a position that is read wrongly loses or repeats a department's
 * changes in silence.
 *
 * It carries the incarnation of the source (system id, timeline, slot) and is
 * compared only within it.  A key within a position is base64: printable
 * without escapes, and not read by accident in a log.
 */
#include "flow/src_pg_pos.h"

#include "base/text.h"
#include "flow/src_pg.h"

static bool
put_hex(struct gx_buf *b, uint64_t v, int min_digits)
{
	static const char digits[] = "0123456789abcdef";
	char text[16];
	int n = 0;

	for (int i = 15; i >= 0; i--, v >>= 4) {
		text[i] = digits[v & 15];
		n = v != 0 ? 16 - i : n;
	}
	if (n < min_digits) {
		n = min_digits;
	}
	return gx_buf_put(b, text + 16 - n, (size_t)n);
}

static bool
put_decimal(struct gx_buf *b, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	return gx_buf_put(b, text + at, sizeof(text) - at);
}

bool
gx_pg_place_eq(const struct gx_pg_place *a, const struct gx_pg_place *b)
{
	return a->system == b->system && a->timeline == b->timeline &&
	       strcmp(a->slot, b->slot) == 0;
}

bool
gx_pg_pos_put(struct gx_buf *b, const struct gx_pg_place *place,
	      const struct gx_pg_pos *pos)
{
	(void)gx_buf_put(b, "pg:", 3);
	(void)put_decimal(b, place->system);
	(void)gx_buf_putc(b, ':');
	(void)put_decimal(b, place->timeline);
	(void)gx_buf_putc(b, ':');
	(void)gx_buf_puts(b, place->slot);
	(void)gx_buf_putc(b, ':');
	(void)put_hex(b, place->born, 16);
	(void)gx_buf_put(b, pos->is_reading ? ":S:" : ":C:", 3);
	(void)put_hex(b, pos->lsn, 16);
	(void)gx_buf_putc(b, ':');
	if (pos->is_reading) {
		(void)put_hex(b, pos->until, 16);
		(void)gx_buf_putc(b, ':');
		(void)put_hex(b, pos->idx, 8);
		(void)gx_buf_putc(b, ':');
		(void)gx_buf_slice(b, pos->key);
	} else {
		(void)put_hex(b, pos->idx, 8);
		(void)gx_buf_putc(b, ':');
		(void)put_hex(b, pos->until, 16);
		if (pos->owes_end) {
			(void)gx_buf_put(b, ":R", 2);
		}
	}
	return !b->failed;
}

/* Cut the part before the next ':' (or the rest) off text. */
static bool
next_part(struct gx_slice *text, struct gx_slice *part)
{
	const char *colon;

	if (text->p == NULL) {
		return false;
	}
	colon = text->n > 0 ? memchr(text->p, ':', text->n) : NULL;
	*part = *text;
	if (colon == NULL) {
		*text = gx_slice(NULL, 0);
		return true;
	}
	part->n = (size_t)(colon - text->p);
	*text = gx_slice(colon + 1, text->n - part->n - 1);
	return true;
}

static bool
parse_hex(struct gx_slice s, size_t min_digits, uint64_t *out)
{
	*out = 0;
	if (s.n < min_digits || s.n > 16) {
		return false;
	}
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9') {
			*out = *out << 4 | (uint64_t)(c - '0');
		} else if (c >= 'a' && c <= 'f') {
			*out = *out << 4 | (uint64_t)(c - 'a' + 10);
		} else {
			return false;
		}
	}
	return true;
}

static bool
next_hex(struct gx_slice *text, size_t min_digits, uint64_t *out)
{
	struct gx_slice part;

	return next_part(text, &part) && parse_hex(part, min_digits, out);
}

static bool
parse_slot(struct gx_slice s, char out[GX_PG_SLOT_MAX + 1])
{
	if (s.n == 0 || s.n > GX_PG_SLOT_MAX) {
		return false;
	}
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '_')) {
			return false;
		}
		out[i] = c;
	}
	out[s.n] = '\0';
	return true;
}

static bool
parse_place(struct gx_slice *text, struct gx_pg_place *place)
{
	struct gx_slice part;
	uint64_t timeline;

	if (!next_part(text, &part) || !gx_slice_eq(part, GX_SLICE("pg"))) {
		return false;
	}
	if (!next_part(text, &part) ||
	    !gx_parse_u64(part.p, part.n, UINT64_MAX, &place->system)) {
		return false;
	}
	if (!next_part(text, &part) ||
	    !gx_parse_u64(part.p, part.n, UINT32_MAX, &timeline)) {
		return false;
	}
	place->timeline = (uint32_t)timeline;
	return next_part(text, &part) && parse_slot(part, place->slot) &&
	       next_hex(text, 16, &place->born);
}

static bool
is_base64(struct gx_slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '+' || c == '/' ||
		      c == '=')) {
			return false;
		}
	}
	return s.n <= GX_PG_POS_KEY && s.n % 4 == 0;
}

bool
gx_pg_pos_parse(struct gx_slice text, struct gx_pg_place *place,
		struct gx_pg_pos *out)
{
	struct gx_slice part;

	memset(out, 0, sizeof(*out));
	memset(place, 0, sizeof(*place));
	if (text.n > GX_PG_POS_MAX || !parse_place(&text, place) ||
	    !next_part(&text, &part)) {
		return false;
	}
	if (gx_slice_eq(part, GX_SLICE("S"))) {
		out->is_reading = true;
		return next_hex(&text, 16, &out->lsn) &&
		       next_hex(&text, 16, &out->until) &&
		       next_hex(&text, 8, &out->idx) &&
		       next_part(&text, &out->key) && is_base64(out->key) &&
		       text.p == NULL;
	}
	if (!gx_slice_eq(part, GX_SLICE("C")) ||
	    !next_hex(&text, 16, &out->lsn) || !next_hex(&text, 8, &out->idx) ||
	    !next_hex(&text, 16, &out->until)) {
		return false;
	}
	if (text.p != NULL) {
		out->owes_end = gx_slice_eq(text, GX_SLICE("R"));
		return out->owes_end;
	}
	return true;
}

int
gx_pg_pos_cmp(const struct gx_pg_pos *a, uint64_t lsn, uint64_t idx)
{
	uint64_t a_idx = a->is_reading ? 0 : a->idx;

	if (a->lsn != lsn) {
		return a->lsn < lsn ? -1 : 1;
	}
	return a_idx < idx ? -1 : a_idx > idx;
}

bool
gx_src_pg_is_loading(struct gx_slice text)
{
	struct gx_pg_place place;
	struct gx_pg_pos pos;

	return text.n == 0 || (gx_pg_pos_parse(text, &place, &pos) &&
			       (pos.is_reading || pos.lsn < pos.until));
}
