/*
 * Values of a result.
 *
 * A result is lent: it lives in its connection until the next call there.  All
 * values are text, as the server wrote them under the settings of gx_pg_open,
 * so a date reads the same on every node.
 *
 * Row and column come from our own code; what is outside of the result is our
 * mistake and asserted.  What stands in a value comes from elsewhere: a number
 * that is none reads as 0, a bytea that is none is refused.
 */
#include "port/pg_int.h"

#include "base/text.h"

#include <libpq-fe.h>

int
gx_rows_n(const struct gx_rows *r)
{
	return PQntuples(r->res);
}

const char *
gx_rows_name(const struct gx_rows *r, int col)
{
	const char *name = PQfname(r->res, col);

	return name != NULL ? name : "";
}

static void
check_place(const struct gx_rows *r, int row, int col)
{
	GX_ASSERT(row >= 0 && row < PQntuples(r->res));
	GX_ASSERT(col >= 0 && col < PQnfields(r->res));
}

const char *
gx_rows_str(const struct gx_rows *r, int row, int col)
{
	check_place(r, row, col);
	return PQgetvalue(r->res, row, col);
}

struct gx_slice
gx_rows_slice(const struct gx_rows *r, int row, int col)
{
	check_place(r, row, col);
	return gx_slice(PQgetvalue(r->res, row, col),
			(size_t)PQgetlength(r->res, row, col));
}

bool
gx_rows_null(const struct gx_rows *r, int row, int col)
{
	check_place(r, row, col);
	return PQgetisnull(r->res, row, col) != 0;
}

int64_t
gx_rows_int(const struct gx_rows *r, int row, int col)
{
	return strtoll(gx_rows_str(r, row, col), NULL, 10);
}

bool
gx_rows_bool(const struct gx_rows *r, int row, int col)
{
	return gx_rows_str(r, row, col)[0] == 't';
}

bool
gx_rows_bytea(const struct gx_rows *r, int row, int col, struct gx_buf *out)
{
	struct gx_slice s = gx_rows_slice(r, row, col);
	size_t start = out->n;

	if (s.n < 2 || s.n % 2 != 0 || memcmp(s.p, "\\x", 2) != 0) {
		return false;
	}
	for (size_t i = 2; i < s.n; i += 2) {
		char byte;

		if (!gx_unhex(s.p + i, 2, &byte, 1) ||
		    !gx_buf_putc(out, byte)) {
			gx_buf_cut(out, start);
			return false;
		}
	}
	return true;
}
