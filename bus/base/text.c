/*
 * Text: UTF-8, hex, base64, numbers with units, and foreign character sets.
 *
 * All of it works on bytes with a length, because what comes from a peer or a
 * file never promises a NUL.  Everything that reads is strict and says no by
 * a return value; everything that writes is handed its room by the caller.
 *
 * UTF-8 is checked by RFC 3629, table in section 4: no overlong forms, no
 * surrogates, nothing above U+10FFFF.  The check is on the way of every
 * record, so runs of ASCII are stepped over eight bytes at a time.
 *
 * iconv(3) converts what is declared as GB18030, GBK and the like.  It is
 * asked without //IGNORE and //TRANSLIT: a byte it cannot decode is a fault
 * of the source with a byte offset, never a question mark in a record.  glibc
 * lets C1 controls and non-characters through; they are refused here, since
 * no later step could tell where they came from.  A leading U+FEFF is a mark
 * of the sender's editor and is dropped.  Each run is a whole text: a
 * character cut at its end is undecodable.  If we die inside a run, out holds
 * a valid prefix; on GX_REJECT it is as it was before.
 */
#include "base/text.h"

#include <errno.h>
#include <iconv.h>

/* Length of the valid sequence at p (n > 0 bytes left), 0 if there is none. */
static size_t
sequence(const unsigned char *p, size_t n)
{
	unsigned char c = p[0];

	if (c < 0x80) {
		return 1;
	}
	if (c < 0xc2 || c > 0xf4) {
		return 0;
	}
	size_t want = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (n < want) {
		return 0;
	}
	/* The second byte carries the limits; the others are 80..BF. */
	unsigned char low = 0x80, high = 0xbf;
	if (c == 0xe0) {
		low = 0xa0;
	} else if (c == 0xed) {
		high = 0x9f;
	} else if (c == 0xf0) {
		low = 0x90;
	} else if (c == 0xf4) {
		high = 0x8f;
	}
	if (p[1] < low || p[1] > high) {
		return 0;
	}
	for (size_t i = 2; i < want; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	return want;
}

size_t
gx_utf8_check(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint64_t eight;
		if (n - i >= sizeof(eight)) {
			memcpy(&eight, p + i, sizeof(eight));
			if ((eight & UINT64_C(0x8080808080808080)) == 0) {
				i += sizeof(eight);
				continue;
			}
		}
		size_t len = sequence((const unsigned char *)p + i, n - i);
		if (len == 0) {
			return i;
		}
		i += len;
	}
	return n;
}

size_t
gx_utf8_next(const char *p, size_t n, uint32_t *cp)
{
	const unsigned char *u = (const unsigned char *)p;

	if (n == 0) {
		*cp = 0;
		return 0;
	}
	size_t len = sequence(u, n);
	switch (len) {
	case 2:
		*cp = (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
		return 2;
	case 3:
		*cp = (uint32_t)(u[0] & 0x0f) << 12 |
		      (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
		return 3;
	case 4:
		*cp = (uint32_t)(u[0] & 0x07) << 18 |
		      (uint32_t)(u[1] & 0x3f) << 12 |
		      (uint32_t)(u[2] & 0x3f) << 6 | (u[3] & 0x3f);
		return 4;
	default:
		/* ASCII, or a stray byte that the caller did not check. */
		*cp = len == 1 ? u[0] : 0xfffd;
		return 1;
	}
}

size_t
gx_utf8_put(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | (cp >> 18 & 0x07));
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

size_t
gx_utf8_count(const char *p, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		count += ((unsigned char)p[i] & 0xc0) != 0x80;
	}
	return count;
}

void
gx_hex(const void *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *u = p;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[u[i] >> 4];
		out[2 * i + 1] = digits[u[i] & 15];
	}
	out[2 * n] = '\0';
}

/* 0x10 and the value, 0 for what is no digit.  A table, because digits of hashes
 * are random and a branch on each is guessed wrong every other time. */
static const unsigned char hex_value[256] = {
	['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13,
	['4'] = 0x14, ['5'] = 0x15, ['6'] = 0x16, ['7'] = 0x17,
	['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b,
	['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
};

bool
gx_unhex(const char *hex, size_t hex_n, void *out, size_t n)
{
	unsigned char *u = out;

	if (hex_n % 2 != 0 || hex_n / 2 != n) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned high = hex_value[(unsigned char)hex[2 * i]];
		unsigned low = hex_value[(unsigned char)hex[2 * i + 1]];
		if ((high & low) == 0) {
			return false;
		}
		u[i] = (unsigned char)(high << 4 | (low & 15));
	}
	return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
gx_base64(const void *p, size_t n, char *out, size_t out_max)
{
	const unsigned char *u = p;
	size_t at = 0;

	GX_ASSERT(out_max >= 4 * ((n + 2) / 3) + 1);
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t v = (uint32_t)u[i] << 16;
		v |= left > 1 ? (uint32_t)u[i + 1] << 8 : 0;
		v |= left > 2 ? u[i + 2] : 0;
		out[at++] = base64_digits[v >> 18 & 63];
		out[at++] = base64_digits[v >> 12 & 63];
		out[at++] = left > 1 ? base64_digits[v >> 6 & 63] : '=';
		out[at++] = left > 2 ? base64_digits[v & 63] : '=';
	}
	out[at] = '\0';
	return at;
}

static int
base64_digit(char c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;

	return at ? (int)(at - base64_digits) : -1;
}

bool
gx_unbase64(const char *p, size_t n, void *out, size_t out_max, size_t *out_n)
{
	unsigned char *u = out;
	size_t at = 0;

	*out_n = 0;
	if (n % 4 != 0) {
		return false;
	}
	for (size_t i = 0; i < n; i += 4) {
		bool last = i + 4 == n;
		size_t pad = !last || p[i + 3] != '=' ? 0
			     : p[i + 2] != '='	      ? 1
						      : 2;
		uint32_t v = 0;
		for (size_t k = 0; k < 4 - pad; k++) {
			int d = base64_digit(p[i + k]);
			if (d < 0) {
				return false;
			}
			v |= (uint32_t)d << (18 - 6 * k);
		}
		/* Bits that no byte takes must be zero: one text per value. */
		if (at + 3 - pad > out_max || (v & ((1u << 8 * pad) - 1))) {
			return false;
		}
		for (size_t k = 0; k < 3 - pad; k++) {
			u[at++] = (unsigned char)(v >> (16 - 8 * k));
		}
	}
	*out_n = at;
	return true;
}

bool
gx_parse_u64(const char *p, size_t n, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (n == 0 || (n > 1 && p[0] == '0')) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9' ||
		    __builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(p[i] - '0'), &v)) {
			return false;
		}
	}
	if (v > max) {
		return false;
	}
	*out = v;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* Digits and one of the units. */
static bool
parse_with_unit(const char *s, const struct unit *units, uint64_t *out)
{
	size_t n = strspn(s, "0123456789");
	uint64_t v;

	if (!gx_parse_u64(s, n, UINT64_MAX, &v)) {
		return false;
	}
	for (; units->name; units++) {
		if (strcmp(s + n, units->name) == 0) {
			return !__builtin_mul_overflow(v, units->factor, out);
		}
	}
	return false;
}

bool
gx_parse_size(const char *s, uint64_t *bytes)
{
	static const struct unit units[] = {{"", 1},
					    {"k", UINT64_C(1) << 10},
					    {"M", UINT64_C(1) << 20},
					    {"G", UINT64_C(1) << 30},
					    {NULL, 0}};

	return parse_with_unit(s, units, bytes);
}

bool
gx_parse_duration(const char *s, uint64_t *ms)
{
	static const struct unit units[] = {{"ms", 1},
					    {"s", 1000},
					    {"m", 60 * 1000},
					    {"h", 3600 * 1000},
					    {NULL, 0}};

	/* No time needs no unit. */
	if (strcmp(s, "0") == 0) {
		*ms = 0;
		return true;
	}
	return parse_with_unit(s, units, ms);
}

/* Controls, line ends of Unicode and overrides of the writing direction. */
static bool
is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x2028 ||
	       cp == 0x2029 || (cp >= 0x202a && cp <= 0x202e) ||
	       (cp >= 0x2066 && cp <= 0x2069);
}

bool
gx_text_printable(const char *p, size_t n)
{
	if (gx_utf8_check(p, n) != n) {
		return false;
	}
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		i += gx_utf8_next(p + i, n - i, &cp);
		if (is_control(cp)) {
			return false;
		}
	}
	return true;
}

#define DISTANCE_MAX 8
#define DISTANCE_WIDTH 64

int
gx_text_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	int row[DISTANCE_WIDTH + 1];

	if (n > DISTANCE_WIDTH || m > DISTANCE_WIDTH) {
		return strcmp(a, b) == 0 ? 0 : DISTANCE_MAX;
	}
	for (size_t j = 0; j <= m; j++) {
		row[j] = (int)j;
	}
	for (size_t i = 1; i <= n; i++) {
		int diagonal = row[0];
		row[0] = (int)i;
		for (size_t j = 1; j <= m; j++) {
			int best = diagonal + (a[i - 1] != b[j - 1]);
			best = row[j] + 1 < best ? row[j] + 1 : best;
			best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[m] < DISTANCE_MAX ? row[m] : DISTANCE_MAX;
}

struct gx_iconv {
	iconv_t cd;
};

enum gx_rc
gx_iconv_new(const char *charset, struct gx_iconv **out, struct gx_err *e)
{
	size_t n = charset ? strlen(charset) : 0;

	*out = NULL;
	/* A slash would let the name switch on //IGNORE. */
	if (n == 0 || n > 32 ||
	    strspn(charset, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
			    "yz0123456789-_.:") != n) {
		return GX_ERR(e, GX_REJECT, "text.charset",
			      "not the name of a character set");
	}
	iconv_t cd = iconv_open("UTF-8", charset);
	if (cd == (iconv_t)-1) {
		return GX_ERR(e, GX_REJECT, "text.charset",
			      "character set %s is not known here", charset);
	}
	*out = gx_mem_new(sizeof(**out));
	(*out)->cd = cd;
	return GX_OK;
}

void
gx_iconv_free(struct gx_iconv **c)
{
	if (!c || !*c) {
		return;
	}
	iconv_close((*c)->cd);
	gx_mem_free(*c);
	*c = NULL;
}

/* C1 controls and non-characters, which no register holds on purpose. */
static bool
is_unwanted(uint32_t cp)
{
	return (cp >= 0x80 && cp <= 0x9f) || (cp >= 0xfdd0 && cp <= 0xfdef) ||
	       (cp & 0xfffe) == 0xfffe;
}

/* Offset of the first unwanted character, n if there is none.  glibc's own
 * reader of UTF-8 lets through what is above U+10FFFF. */
static size_t
find_unwanted(const char *p, size_t n)
{
	size_t good = gx_utf8_check(p, n);

	for (size_t i = 0; i < good;) {
		uint32_t cp;
		size_t len = gx_utf8_next(p + i, n - i, &cp);
		if (is_unwanted(cp)) {
			return i;
		}
		i += len;
	}
	return good;
}

/* Convert *in into at most *n bytes at p; errno-like result, 0 if all. */
static int
convert(struct gx_iconv *c, struct gx_slice *in, char *p, size_t *n)
{
	/* iconv(3) takes char ** but does not write to the input. */
	union {
		const char *in;
		char *out;
	} from = {in->p};
	char *to = p;
	size_t room = *n;

	iconv(c->cd, NULL, NULL, NULL, NULL);
	size_t rc = iconv(c->cd, &from.out, &in->n, &to, &room);
	int fault = rc == (size_t)-1 ? errno : 0;
	in->p = from.in;
	*n -= room;
	return fault;
}

enum gx_rc
gx_iconv_run(struct gx_iconv *c, struct gx_slice in, struct gx_buf *out,
	     size_t *bad_at, struct gx_err *e)
{
	const size_t n_before = out->n;
	struct gx_slice rest = in;
	char piece[4096];

	*bad_at = in.n;
	while (rest.n > 0) {
		struct gx_slice begin = rest;
		size_t n = sizeof(piece);
		int fault = convert(c, &rest, piece, &n);
		size_t good = find_unwanted(piece, n);
		if (good < n) {
			/* Again, only up to it: where was it in the input? */
			char sink[sizeof(piece)];
			rest = begin;
			n = good;
			convert(c, &rest, sink, &n);
			fault = EILSEQ;
		}
		if (fault != 0 && fault != E2BIG) {
			*bad_at = in.n - rest.n;
			gx_buf_cut(out, n_before);
			return GX_ERR(e, GX_REJECT, "text.undecodable",
				      "undecodable byte at offset %zu",
				      *bad_at);
		}
		size_t skip =
			begin.p == in.p && n >= 3 &&
					memcmp(piece, "\xef\xbb\xbf", 3) == 0
				? 3
				: 0;
		if (!gx_buf_put(out, piece + skip, n - skip)) {
			*bad_at = in.n - begin.n;
			gx_buf_cut(out, n_before);
			return GX_ERR(e, GX_REJECT, "mem.full",
				      "decoded text is longer than %zu bytes",
				      out->max);
		}
	}
	return GX_OK;
}
