/*
 * Values and columns.
 *
 * One value that PostgreSQL refuses fails a whole COPY, and with it a batch of
 * records that were all good.  So the check of a record asks here, at the
 * source, whether each field will fit its column, and the sink, which must not
 * trust that, asks again when it writes.  A value that would be stored as
 * another one does not fit either: digits beyond the scale are refused and not
 * rounded.
 *
 * PostgreSQL's own limits that RFC 3339 and JSON do not have: no \u0000 and no
 * lone surrogate in text or jsonb, offsets of less than 16 hours, time texts
 * of bounded length, numbers of bounded size.
 *
 * Nothing is kept; a put that fails may leave a part behind, which the caller
 * cuts off.
 */
#include "record/column.h"

#include "base/text.h"
#include "record/decimal.h"
#include "record/scan.h"
#include "record/schema.h"

#include <string.h>

#define SHORT 64    /* bytes of a date, time or number in a string */
#define PLACES 1000 /* on either side of the point without a precision */

static bool
is_null(struct gx_slice raw)
{
	return raw.n == 4 && memcmp(raw.p, "null", 4) == 0;
}

/* The text of a short string, or of a number; 0 bytes if it is neither. */
static size_t
take_short(struct gx_slice raw, char out[SHORT * 6])
{
	struct gx_scan s = {raw.p, raw.p + raw.n, NULL};
	struct gx_str str;

	if (raw.n == 0 || raw.n > (size_t)SHORT * 6) {
		return 0;
	}
	if (*raw.p != '"') {
		memcpy(out, raw.p, raw.n);
		return raw.n;
	}
	if (!gx_scan_string(&s, &str) || str.is_unstorable) {
		return 0;
	}
	size_t n = gx_scan_decode(str.p, str.n, true, out);
	return n <= SHORT ? n : 0;
}

/* Text that is exactly one number of JSON. */
static bool
take_decimal(const char *p, size_t n, struct gx_decimal *out)
{
	struct gx_scan s = {p, p + n, NULL};
	struct gx_num num;

	if (n == 0 || (*p != '-' && (*p < '0' || *p > '9')) ||
	    !gx_scan_number(&s, &num) || s.at != s.end) {
		return false;
	}
	*out = gx_decimal_parse(p, n);
	return true;
}

static bool
fits_numeric(const struct gx_column *col, const struct gx_decimal *d)
{
	int64_t whole = col->precision ? col->precision - col->scale : PLACES;
	int64_t behind = col->precision ? col->scale : PLACES;

	return d->n == 0 ||
	       (d->low + (int64_t)d->n <= whole && -d->low <= behind);
}

/* "123.45" or 123.45 as most amounts are written, decided by counting; false
 * if it takes a closer look. */
static bool
fits_plainly(const struct gx_column *col, struct gx_slice raw)
{
	const char *p = raw.p, *end = p + raw.n;

	if (raw.n > 2 && *p == '"') {
		p++;
		end--;
	}
	const char *from = p;
	while (p < end && *p >= '0' && *p <= '9') {
		p++;
	}
	int64_t whole = p - from;
	if (whole == 0 || (whole > 1 && *from == '0') ||
	    whole > col->precision - col->scale) {
		return false;
	}
	if (p == end) {
		return true;
	}
	if (*p++ != '.' || p == end || end - p > col->scale) {
		return false;
	}
	while (p < end && *p >= '0' && *p <= '9') {
		p++;
	}
	return p == end;
}

/* The value of a whole number within the column; false if it is not. */
static bool
take_integer(const struct gx_column *col, const struct gx_decimal *d,
	     int64_t *out)
{
	uint64_t v = 0;
	uint64_t max = col->kind == GX_COLUMN_INTEGER ? INT32_MAX : INT64_MAX;

	if (d->n && (d->low < 0 || d->low + (int64_t)d->n > 19)) {
		return false;
	}
	for (const char *p = d->p; p < d->end; p++) {
		if (*p != '.') {
			v = v * 10 + (uint64_t)(*p - '0');
		}
	}
	for (int64_t i = 0; d->n && i < d->low; i++) {
		v *= 10;
	}
	if (v > max) {
		return false; /* the lowest one too: not worth a case */
	}
	*out = d->is_negative ? -(int64_t)v : (int64_t)v;
	return true;
}

/* YYYY-MM-DD with anything behind it, or 0000. */
static bool
fits_date(const char *p, size_t n)
{
	return n >= 10 && memcmp(p, "0000", 4) != 0;
}

/* "...Z" or "...+HH:MM" with an offset that PostgreSQL takes. */
static bool
fits_time(const char *p, size_t n)
{
	if (n < 20 || !fits_date(p, n)) {
		return false;
	}
	const char *offset = p + n - 6;
	return (*offset != '+' && *offset != '-') || offset[1] == '0' ||
	       (offset[1] == '1' && offset[2] <= '5');
}

/* No string and no number in it that jsonb refuses. */
static bool
fits_json(struct gx_slice raw)
{
	struct gx_scan s = {raw.p, raw.p + raw.n, NULL};
	struct gx_column any = {.kind = GX_COLUMN_NUMERIC};
	struct gx_str str;
	struct gx_num num;

	while (s.at < s.end) {
		if (*s.at == '"') {
			if (!gx_scan_string(&s, &str) || str.is_unstorable) {
				return false;
			}
		} else if (*s.at == '-' || (*s.at >= '0' && *s.at <= '9')) {
			struct gx_decimal d;
			if (!gx_scan_number(&s, &num)) {
				return false;
			}
			d = gx_decimal_parse(num.p, num.n);
			if (!fits_numeric(&any, &d)) {
				return false;
			}
		} else {
			s.at++;
		}
	}
	return true;
}

static bool
fits_text(struct gx_slice raw)
{
	struct gx_scan s = {raw.p, raw.p + raw.n, NULL};
	struct gx_str str;

	return *raw.p == '"' && gx_scan_string(&s, &str) && s.at == s.end &&
	       !str.is_unstorable;
}

bool
gx_column_fits(const struct gx_column *col, struct gx_slice raw)
{
	char text[SHORT * 6];
	struct gx_decimal d;
	int64_t v;
	size_t n;

	if (raw.n == 0 || is_null(raw)) {
		return raw.n > 0;
	}
	switch (col->kind) {
	case GX_COLUMN_TEXT:
		return fits_text(raw);
	case GX_COLUMN_JSON:
		return fits_json(raw);
	case GX_COLUMN_BOOLEAN:
		return *raw.p == 't' || *raw.p == 'f';
	case GX_COLUMN_DATE:
		n = take_short(raw, text);
		return n == 10 && fits_date(text, n);
	case GX_COLUMN_TIME:
		if (raw.n <= SHORT && *raw.p == '"' &&
		    !memchr(raw.p, '\\', raw.n)) {
			return fits_time(raw.p + 1, raw.n - 2);
		}
		n = take_short(raw, text);
		return fits_time(text, n);
	case GX_COLUMN_NUMERIC:
		if (fits_plainly(col, raw)) {
			return true;
		}
		n = take_short(raw, text);
		return take_decimal(text, n, &d) && fits_numeric(col, &d);
	case GX_COLUMN_INTEGER:
	case GX_COLUMN_BIGINT:
		n = take_short(raw, text);
		return take_decimal(text, n, &d) && take_integer(col, &d, &v);
	}
	return false;
}

/* Bytes as COPY text wants them. */
static bool
put_escaped(struct gx_buf *out, const char *p, size_t n)
{
	static const char special[] = "\b\f\n\r\t\v\\";
	static const char letters[] = "bfnrtv\\";

	while (n > 0) {
		size_t run = 0;
		while (run < n && p[run] != '\\' &&
		       (unsigned char)p[run] >= 0x20) {
			run++;
		}
		if (!gx_buf_put(out, p, run)) {
			return false;
		}
		if (run == n) {
			break;
		}
		const char *at = p[run] ? strchr(special, p[run]) : NULL;
		if (at) {
			(void)gx_buf_putc(out, '\\');
			(void)gx_buf_putc(out, letters[at - special]);
		} else {
			(void)gx_buf_putc(out, p[run]);
		}
		p += run + 1;
		n -= run + 1;
	}
	return !out->failed;
}

/* A string of any length: decoded behind what is there, then escaped over it
 * only if something needs it. */
static bool
put_text(struct gx_slice raw, struct gx_buf *out)
{
	struct gx_scan s = {raw.p, raw.p + raw.n, NULL};
	struct gx_str str;

	if (!gx_scan_string(&s, &str)) {
		return false;
	}
	if (!str.is_escaped) {
		return put_escaped(out, str.p, str.n);
	}
	/* Escape by escape: each decodes to at most four bytes. */
	const char *p = str.p, *end = str.p + str.n;
	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((slash ? slash : end) - p), took = 2;
		char one[16];
		if (!put_escaped(out, p, run)) {
			return false;
		}
		if (!slash) {
			break;
		}
		if (slash[1] == 'u') {
			/* No surrogate stands alone here: the pair is 12. */
			bool high = (slash[2] | 0x20) == 'd' && slash[3] > '7';
			took = high ? 12 : 6;
		}
		size_t n = gx_scan_decode(slash, took, true, one);
		if (!put_escaped(out, one, n)) {
			return false;
		}
		p = slash + took;
	}
	return true;
}

bool
gx_column_put(const struct gx_column *col, struct gx_slice raw,
	      struct gx_buf *out)
{
	char text[SHORT * 6];
	struct gx_decimal d;
	int64_t v = 0;
	size_t n;

	if (raw.n == 0 || is_null(raw)) {
		return gx_buf_puts(out, "\\N");
	}
	if (!gx_column_fits(col, raw)) {
		return false;
	}
	switch (col->kind) {
	case GX_COLUMN_TEXT:
		return put_text(raw, out);
	case GX_COLUMN_JSON:
		return put_escaped(out, raw.p, raw.n);
	case GX_COLUMN_BOOLEAN:
		return gx_buf_putc(out, *raw.p);
	case GX_COLUMN_DATE:
	case GX_COLUMN_TIME:
	case GX_COLUMN_NUMERIC:
		n = take_short(raw, text);
		return gx_buf_put(out, text, n);
	case GX_COLUMN_INTEGER:
	case GX_COLUMN_BIGINT:
		n = take_short(raw, text);
		return take_decimal(text, n, &d) && take_integer(col, &d, &v) &&
		       gx_buf_printf(out, "%lld", (long long)v);
	}
	return false;
}
