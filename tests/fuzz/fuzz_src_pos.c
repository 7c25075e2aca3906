/*
 * Any bytes as a position of a PostgreSQL source.  What is accepted must be
 * printable, within its length, and mean the same when written and read again.
 */
#include "base/text.h"
#include "flow/src_pg_pos.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct gx_slice text = gx_slice((const char *)data, n);
	struct gx_pg_place place, place2;
	struct gx_pg_pos pos, pos2;
	struct gx_buf b;

	if (!gx_pg_pos_parse(text, &place, &pos)) {
		return 0;
	}
	if (n > GX_PG_POS_MAX || !gx_text_printable(text.p, n)) {
		abort();
	}
	gx_buf_init(&b, 2 * GX_PG_POS_MAX);
	if (!gx_pg_pos_put(&b, &place, &pos) ||
	    !gx_pg_pos_parse(gx_buf_view(&b), &place2, &pos2) ||
	    !gx_pg_place_eq(&place, &place2) || place.born != place2.born ||
	    pos.is_reading != pos2.is_reading || pos.lsn != pos2.lsn ||
	    pos.idx != pos2.idx || pos.until != pos2.until ||
	    pos.owes_end != pos2.owes_end || !gx_slice_eq(pos.key, pos2.key)) {
		abort();
	}
	gx_buf_free(&b);
	return 0;
}
