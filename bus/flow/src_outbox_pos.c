/*
 * Source over an outbox: its positions.
 *
 * An id alone says where a reader stands only as long as nobody gives ids
 * again.  A database that was failed over to a standby does: it lost the last
 * rows, and whoever speaks next gets their ids.  The incarnation is the same,
 * and the end is soon beyond what was taken.  So a position carries a mark of
 * the row that it names, made of all that the row says but its time; a row
 * with the same mark says the same, whenever it was said.
 *
 * Positions of before have no mark, and are believed.  Pure: bytes in, bytes
 * out; there is nothing to die on.
 */
#include "base/text.h"
#include "flow/src_outbox.h"
#include "trust/sm.h"

#include <string.h>

bool
gx_src_outbox_pos_put(struct gx_buf *b, const struct gx_outbox_pos *pos)
{
	return gx_buf_printf(b, "ob:%s:%llu%s%s", pos->incarnation,
			     (unsigned long long)pos->id,
			     pos->mark[0] ? ":" : "", pos->mark);
}

/* The id and what may follow it. */
static bool
parse_id(struct gx_slice text, struct gx_outbox_pos *out)
{
	const char *colon = text.n > 0 ? memchr(text.p, ':', text.n) : NULL;
	unsigned char bytes[8];

	if (colon != NULL) {
		size_t n = text.n - (size_t)(colon - text.p) - 1;

		if (!gx_unhex(colon + 1, n, bytes, sizeof bytes)) {
			return false;
		}
		memcpy(out->mark, colon + 1, n);
		text.n -= n + 1;
	}
	return gx_parse_u64(text.p, text.n, INT64_MAX, &out->id);
}

bool
gx_src_outbox_pos_parse(struct gx_slice text, struct gx_outbox_pos *out)
{
	const char *colon;
	size_t n;

	memset(out, 0, sizeof *out);
	if (text.n < 3 || memcmp(text.p, "ob:", 3) != 0) {
		return false;
	}
	text = gx_slice(text.p + 3, text.n - 3);
	colon = text.n > 0 ? memchr(text.p, ':', text.n) : NULL;
	n = colon != NULL ? (size_t)(colon - text.p) : 0;
	if (n == 0 || n > GX_OUTBOX_INCARNATION) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		char c = text.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) {
			return false;
		}
		out->incarnation[i] = c;
	}
	return parse_id(gx_slice(colon + 1, text.n - n - 1), out);
}

void
gx_src_outbox_mark(const struct gx_slice part[GX_OUTBOX_PARTS],
		   char out[GX_OUTBOX_MARK + 1])
{
	unsigned char sum[GX_SM3];
	struct gx_sm3 *h = gx_sm3_new();

	gx_sm3_begin(h);
	for (size_t i = 0; i < GX_OUTBOX_PARTS; i++) {
		gx_sm3_add(h, part[i].p, part[i].n);
		gx_sm3_add(h, "", 1); /* no part holds a NUL */
	}
	gx_sm3_end(h, sum);
	gx_sm3_free(&h);
	gx_hex(sum, GX_OUTBOX_MARK / 2, out);
}
