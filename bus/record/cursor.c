/*
 * Cursor: how headers, receipts and bundles are read.
 *
 * What was signed must be what was read, so a text of ours has one spelling:
 * members in one order, no spaces, no escapes, lower-case hex, canonical
 * numbers.  A reader then needs no JSON parser.  It lays the fixed text beside
 * the bytes, takes the values between, and refuses the first byte that stands
 * elsewhere; there is no second meaning that another reader could see.
 *
 * Nothing is allocated and nothing has state beyond the place in the text.
 * Every step looks at the length first: the text comes from a stranger and
 * ends where its slice ends, not at a NUL.
 */
#include "record/cursor.h"

#include "base/clock.h"
#include "base/text.h"

#define NODE_MAX 32

bool
gx_cursor_lit(struct gx_cursor *c, const char *lit)
{
	size_t n = strlen(lit);
	if (c->s.n - c->at < n || memcmp(c->s.p + c->at, lit, n) != 0) {
		return false;
	}
	c->at += n;
	return true;
}

bool
gx_cursor_text(struct gx_cursor *c, size_t max, struct gx_slice *out)
{
	size_t start = c->at;
	for (; c->at < c->s.n && c->at - start <= max; c->at++) {
		unsigned char b = (unsigned char)c->s.p[c->at];
		if (b == '"') {
			*out = gx_slice(c->s.p + start, c->at - start);
			c->at++;
			return true;
		}
		if (b < 0x20 || b > 0x7e || b == '\\') {
			return false;
		}
	}
	return false;
}

bool
gx_cursor_node(struct gx_cursor *c, struct gx_slice *out)
{
	if (!gx_cursor_text(c, NODE_MAX, out) || out->n == 0) {
		return false;
	}
	for (size_t i = 0; i < out->n; i++) {
		char b = out->p[i];
		if (!(b >= 'a' && b <= 'z') && !(b >= '0' && b <= '9') &&
		    b != '-') {
			return false;
		}
	}
	return true;
}

bool
gx_cursor_u64(struct gx_cursor *c, uint64_t max, uint64_t *out)
{
	size_t start = c->at;
	while (c->at < c->s.n && c->s.p[c->at] >= '0' && c->s.p[c->at] <= '9') {
		c->at++;
	}
	return gx_parse_u64(c->s.p + start, c->at - start, max, out);
}

bool
gx_cursor_hex(struct gx_cursor *c, unsigned char *out, size_t n)
{
	struct gx_slice hex;
	return gx_cursor_text(c, 2 * n, &hex) && gx_unhex(hex.p, hex.n, out, n);
}

bool
gx_cursor_time(struct gx_cursor *c, struct gx_slice *out)
{
	int64_t ms = 0;
	return gx_cursor_text(c, GX_TIME_LEN, out) && out->n == GX_TIME_LEN &&
	       out->p[10] == 'T' && out->p[19] == '.' &&
	       memcmp(out->p + 23, "+08:00", 6) == 0 &&
	       gx_time_parse(out->p, out->n, &ms);
}
