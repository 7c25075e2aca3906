/*
 * Characters of a delivered file: UTF-8, GBK and GB18030 to UTF-8.
 *
 * iconv(3) is the judge of what a pair of bytes means, and is asked once for
 * each pair, through base/text.h, when a layout is made: 24,000 answers that
 * make one table.  Decoding is then a look into it, several times faster than
 * iconv.  Characters of four bytes: those beyond the BMP are counted out, as
 * the standard does; the others, rare, are asked one at a time.
 *
 * "gbk" is the two-byte set and nothing else: glibc's euro sign at 80 is not
 * in it, and characters of four bytes are not.  A source that has them
 * declares gb18030.  In both, C1 controls and non-characters are refused, as
 * text.h does: no register holds them on purpose.  UTF-8 is what RFC 3629 says.
 *
 * A byte that is none of a character is replaced by FF, alone, so that the
 * next byte may be a delimiter again; a pair that is well formed but means
 * nothing is replaced as a whole, so that its second byte is never taken for
 * a delimiter.  Whoever reads the text has been told that it is bad.
 */
#include "record/file_int.h"

#define LEADS 126  /* 81..FE */
#define TRAILS 191 /* 40..FE */

static bool
ask(struct gx_iconv *c, const char *p, size_t n, struct gx_buf *out)
{
	size_t bad_at;

	gx_buf_reset(out);
	return gx_iconv_run(c, gx_slice(p, n), out, &bad_at, NULL) == GX_OK &&
	       out->n > 0;
}

enum gx_rc
gx_file_pairs_new(enum gx_file_encoding encoding, uint32_t **out,
		  struct gx_err *e)
{
	const char *name = encoding == GX_FILE_GBK ? "GBK" : "GB18030";
	struct gx_iconv *c = NULL;
	struct gx_buf b;
	uint32_t *pairs;

	*out = NULL;
	enum gx_rc rc = gx_iconv_new(name, &c, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_buf_init(&b, 16);
	pairs = gx_mem_new(sizeof(*pairs) * LEADS * TRAILS);
	for (unsigned i = 0; i < LEADS * TRAILS; i++) {
		char pair[2] = {(char)(0x81 + i / TRAILS),
				(char)(0x40 + i % TRAILS)};
		unsigned char u[4] = {0};
		if (pair[1] == 0x7f || !ask(c, pair, 2, &b) || b.n > 3) {
			continue;
		}
		memcpy(u, b.p, b.n);
		u[3] = (unsigned char)b.n;
		memcpy(&pairs[i], u, sizeof(u));
	}
	gx_buf_free(&b);
	gx_iconv_free(&c);
	*out = pairs;
	return GX_OK;
}

enum gx_rc
gx_file_text_open(struct gx_file_text *t, const struct gx_file_layout *l,
		  struct gx_err *e)
{
	memset(t, 0, sizeof(*t));
	t->l = l;
	gx_buf_init(&t->scratch, 16);
	return l->encoding == GX_FILE_GB18030
		       ? gx_iconv_new("GB18030", &t->four, e)
		       : GX_OK;
}

void
gx_file_text_close(struct gx_file_text *t)
{
	gx_iconv_free(&t->four);
	gx_buf_free(&t->scratch);
}

/* A well-formed character of four bytes; the bytes it has become, or 0. */
static size_t
decode_four(struct gx_file_text *t, const unsigned char *p, char *out)
{
	if (p[0] >= 0x90) {
		uint32_t cp = 0x10000 +
			      ((p[0] - 0x90u) * 10 + p[1] - 0x30) * 1260 +
			      (p[2] - 0x81u) * 10 + p[3] - 0x30;
		bool is_good = cp <= 0x10ffff && (cp & 0xfffe) != 0xfffe;
		return is_good ? gx_utf8_put(cp, out) : 0;
	}
	if (memcmp(p, "\x84\x31\x95\x33", 4) == 0) {
		/* U+FEFF, which text.h takes for the mark of an editor. */
		return gx_utf8_put(0xfeff, out);
	}
	if (!ask(t->four, (const char *)p, 4, &t->scratch)) {
		return 0;
	}
	memcpy(out, t->scratch.p, t->scratch.n);
	return t->scratch.n;
}

static bool
is_digit(unsigned char c)
{
	return c >= 0x30 && c <= 0x39;
}

static bool
is_lead(unsigned char c)
{
	return c >= 0x81 && c <= 0xfe;
}

/* Bytes of the character at p (n > 0 left), 1 also if it is none, 0 if it
 * would go on behind n.  *m: what it has become, 0 if it is none. */
static size_t
decode_one(struct gx_file_text *t, const unsigned char *p, size_t n, char *out,
	   size_t *m)
{
	*m = 0;
	if (!is_lead(p[0])) {
		return 1;
	}
	if (n < 2) {
		return 0;
	}
	if (!is_digit(p[1])) {
		return p[1] >= 0x40 && p[1] <= 0xfe && p[1] != 0x7f ? 2 : 1;
	}
	if (t->l->encoding != GX_FILE_GB18030) {
		return 1;
	}
	if (n < 4) {
		return n < 3 || is_lead(p[2]) ? 0 : 1;
	}
	if (!is_lead(p[2]) || !is_digit(p[3])) {
		return 1;
	}
	*m = decode_four(t, p, out);
	return 4;
}

/* The run of ASCII at p, eight at a time; the room has 16 to spare. */
static inline size_t
copy_ascii(const unsigned char *p, size_t n, char *o, char **o_end)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t v;
		memcpy(&v, p + i, 8);
		memcpy(o + i, &v, 8);
		if ((v & UINT64_C(0x8080808080808080)) != 0) {
			break;
		}
	}
	while (i < n && p[i] < 0x80) {
		o[i] = (char)p[i];
		i++;
	}
	*o_end = o + i;
	return i;
}

/* Whole characters; bytes at the end that are none yet are left. */
static size_t
decode_gb(struct gx_file_text *t, const unsigned char *p, size_t n, char *out,
	  bool *is_bad, size_t *n_left)
{
	const uint32_t *pairs = t->l->pairs;
	const unsigned char *end = p + n;
	char *o = out;

	while (p < end) {
		if (*p < 0x80) {
			p += copy_ascii(p, (size_t)(end - p), o, &o);
			continue;
		}
		if (end - p >= 2 && is_lead(p[0]) && p[1] >= 0x40 &&
		    p[1] != 0xff) {
			uint32_t u =
				pairs[(p[0] - 0x81u) * TRAILS + p[1] - 0x40u];
			unsigned char m[4];
			memcpy(m, &u, sizeof(m));
			if (m[3] > 0) {
				memcpy(o, m, sizeof(m));
				o += m[3];
				p += 2;
				continue;
			}
		}
		size_t m;
		size_t used = decode_one(t, p, (size_t)(end - p), o, &m);
		if (used == 0) {
			break;
		}
		if (m == 0) {
			*o = (char)0xff;
			*is_bad = true;
			m = 1;
		}
		o += m;
		p += used;
	}
	*n_left = (size_t)(end - p);
	return (size_t)(o - out);
}

size_t
gx_file_text_decode(struct gx_file_text *t, struct gx_slice in, char *out,
		    bool is_last, bool *is_bad, size_t *n_left)
{
	*n_left = 0;
	if (t->l->encoding == GX_FILE_UTF8) {
		*is_bad |= gx_utf8_check(in.p, in.n) != in.n;
		memcpy(out, in.p, in.n);
		return in.n;
	}
	size_t n = decode_gb(t, (const unsigned char *)in.p, in.n, out, is_bad,
			     n_left);
	/* Cut by the end of the line: each byte for itself. */
	while (is_last && *n_left > 0) {
		size_t m = 0, left = *n_left - 1;
		const unsigned char *p =
			(const unsigned char *)in.p + in.n - left;
		*is_bad = true;
		out[n++] = (char)0xff;
		m = decode_gb(t, p, left, out + n, is_bad, n_left);
		n += m;
	}
	return n;
}
