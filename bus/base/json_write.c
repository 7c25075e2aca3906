/*
 * The JSON writer.
 *
 * It appends to a buffer that is born with its maximum, so nothing here can
 * fail but that buffer, and the caller looks at b->failed once at the end.
 * There is no tree and no stack: the writer knows only whether a comma is due
 * before the next value.  Nesting is the caller's text, which makes a wrong
 * nesting a mistake of ours that the first test of the answer shows.
 *
 * What comes out is strict JSON whatever goes in: bytes that are no UTF-8
 * become U+FFFD, controls are escaped in the shortest form of RFC 8785,
 * section 3.2.2.2, numbers that JSON has no word for (NaN, infinity) become
 * null.  A number of type double is written with the fewest digits that read
 * back as the same double, with a point whatever the locale says.  U+2028 and
 * U+2029 are left as they are: the pages read this with JSON.parse.
 */
#include "base/json.h"
#include "base/text.h"

#include <inttypes.h>
#include <math.h>

/* Bytes that stand for themselves in a string: no control, quote, backslash,
 * and ASCII. */
static size_t
count_plain(const unsigned char *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' &&
	       p[i] != '\\') {
		i++;
	}
	return i;
}

static void
put_ascii(struct gx_buf *b, unsigned char c)
{
	static const char escaped[] = "\"\\\b\f\n\r\t";
	static const char letters[] = "\"\\bfnrt";
	const char *at = c ? strchr(escaped, c) : NULL;

	if (at) {
		gx_buf_putc(b, '\\');
		gx_buf_putc(b, letters[at - escaped]);
	} else {
		gx_buf_printf(b, "\\u%04x", c);
	}
}

bool
gx_json_escape(struct gx_buf *b, struct gx_slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	for (size_t i = 0; i < s.n;) {
		size_t n = count_plain(p + i, s.n - i);
		gx_buf_put(b, s.p + i, n);
		i += n;
		if (i == s.n) {
			break;
		}
		if (p[i] < 0x80) {
			put_ascii(b, p[i++]);
			continue;
		}
		uint32_t cp;
		n = gx_utf8_next(s.p + i, s.n - i, &cp);
		if (n == 1) {
			gx_buf_put(b, "\xef\xbf\xbd", 3);
		} else {
			gx_buf_put(b, s.p + i, n);
		}
		i += n;
	}
	return !b->failed;
}

void
gx_jw_init(struct gx_jw *w, struct gx_buf *b)
{
	w->b = b;
	w->need_comma = false;
}

/* Before a value or a name. */
static void
separate(struct gx_jw *w)
{
	if (w->need_comma) {
		gx_buf_putc(w->b, ',');
	}
	w->need_comma = true;
}

void
gx_jw_begin(struct gx_jw *w, char open)
{
	separate(w);
	gx_buf_putc(w->b, open);
	w->need_comma = false;
}

void
gx_jw_end(struct gx_jw *w, char close)
{
	gx_buf_putc(w->b, close);
	w->need_comma = true;
}

static void
put_quoted(struct gx_buf *b, struct gx_slice s)
{
	gx_buf_putc(b, '"');
	gx_json_escape(b, s);
	gx_buf_putc(b, '"');
}

void
gx_jw_name(struct gx_jw *w, const char *name)
{
	separate(w);
	put_quoted(w->b, gx_slice_str(name));
	gx_buf_putc(w->b, ':');
	w->need_comma = false;
}

void
gx_jw_str(struct gx_jw *w, struct gx_slice s)
{
	separate(w);
	put_quoted(w->b, s);
}

void
gx_jw_cstr(struct gx_jw *w, const char *s)
{
	if (s) {
		gx_jw_str(w, gx_slice_str(s));
	} else {
		gx_jw_null(w);
	}
}

void
gx_jw_int(struct gx_jw *w, int64_t v)
{
	separate(w);
	gx_buf_printf(w->b, "%" PRId64, v);
}

void
gx_jw_u64(struct gx_jw *w, uint64_t v)
{
	separate(w);
	gx_buf_printf(w->b, "%" PRIu64, v);
}

void
gx_jw_double(struct gx_jw *w, double v)
{
	char text[40];

	if (!isfinite(v)) {
		gx_jw_null(w);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		double back = strtod(text, NULL);
		if (memcmp(&back, &v, sizeof(v)) == 0) {
			break;
		}
	}
	char *comma = strchr(text, ',');
	if (comma) {
		*comma = '.';
	}
	separate(w);
	gx_buf_puts(w->b, text);
}

void
gx_jw_bool(struct gx_jw *w, bool v)
{
	separate(w);
	gx_buf_puts(w->b, v ? "true" : "false");
}

void
gx_jw_null(struct gx_jw *w)
{
	separate(w);
	gx_buf_puts(w->b, "null");
}

void
gx_jw_raw(struct gx_jw *w, struct gx_slice json)
{
	separate(w);
	gx_buf_slice(w->b, json);
}

void
gx_jw_kv_str(struct gx_jw *w, const char *name, const char *v)
{
	gx_jw_name(w, name);
	gx_jw_cstr(w, v);
}

void
gx_jw_kv_int(struct gx_jw *w, const char *name, int64_t v)
{
	gx_jw_name(w, name);
	gx_jw_int(w, v);
}

void
gx_jw_kv_bool(struct gx_jw *w, const char *name, bool v)
{
	gx_jw_name(w, name);
	gx_jw_bool(w, v);
}
