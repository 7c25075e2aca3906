/*
 * Text for statements: identifiers, literals, and positions in the WAL.
 *
 * Quoting needs no connection, because every connection of ours has UTF-8 and
 * standard_conforming_strings: doubling the quote is all there is.  A NUL
 * cannot stand in a statement and is refused, so that nothing is cut there.
 *
 * A position in the WAL is written "hex/hex" and is a number of 64 bits.  Only
 * that form is read, to its end.
 */
#include "port/pg_int.h"

#include <inttypes.h>
#include <libpq-fe.h>

static bool
put_quoted(struct gx_buf *b, struct gx_slice s, char quote)
{
	if (s.n > 0 && memchr(s.p, '\0', s.n) != NULL) {
		b->failed = true;
		return false;
	}
	(void)gx_buf_putc(b, quote);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == quote) {
			(void)gx_buf_putc(b, quote);
		}
		(void)gx_buf_putc(b, s.p[i]);
	}
	return gx_buf_putc(b, quote) && !b->failed;
}

bool
gx_pg_ident(struct gx_buf *b, const char *name)
{
	return put_quoted(b, gx_slice_str(name), '"');
}

bool
gx_pg_literal(struct gx_buf *b, struct gx_slice s)
{
	return put_quoted(b, s, '\'');
}

/* One to eight hex digits. */
static bool
take_half(const char **s, uint64_t *out)
{
	uint64_t v = 0;
	int n = 0;

	for (; n < 9; n++, (*s)++) {
		char c = **s;

		if (c >= '0' && c <= '9') {
			v = v << 4 | (uint64_t)(c - '0');
		} else if (c >= 'A' && c <= 'F') {
			v = v << 4 | (uint64_t)(c - 'A' + 10);
		} else if (c >= 'a' && c <= 'f') {
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		} else {
			break;
		}
	}
	*out = v;
	return n > 0 && n < 9;
}

bool
gx_lsn_parse(const char *s, uint64_t *lsn)
{
	uint64_t high, low;

	if (!take_half(&s, &high) || *s++ != '/' || !take_half(&s, &low) ||
	    *s != '\0') {
		return false;
	}
	*lsn = high << 32 | low;
	return true;
}

void
gx_lsn_format(uint64_t lsn, char out[24])
{
	(void)snprintf(out, 24, "%" PRIX64 "/%" PRIX64, lsn >> 32,
		       lsn & 0xffffffffu);
}

int
gx_pg_lib_version(void)
{
	return PQlibVersion();
}
