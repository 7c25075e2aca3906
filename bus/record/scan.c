/*
 * JSON tokens.
 *
 * This is the innermost loop of the bus: every byte of every record runs
 * through gx_scan_string() at least once.  It steps sixteen or eight bytes at a time over
 * plain text and looks at single bytes only where something may end, be
 * escaped or be more than ASCII.  UTF-8 is checked on the way, strictly, so
 * nothing behind the scanner has to doubt it again.
 *
 * The scanner knows tokens, not documents: nesting, commas and names that come
 * twice are the business of its callers.  It refuses what RFC 8259 refuses and
 * nothing else; \u0000 and lone surrogates are legal and only marked, because
 * what becomes of them is for a schema to say.
 *
 * No state outlives a call, and no allocation is made: the caller lends the
 * bytes and the room for decoding.
 */
#include "record/scan.h"

#include "base/text.h"

#include <string.h>

#define ONES UINT64_C(0x0101010101010101)
#define HIGH UINT64_C(0x8080808080808080)

bool
gx_scan_fail(struct gx_scan *s, const char *fault)
{
	s->fault = fault;
	return false;
}

/* Step over bytes that need no look: ASCII, no control, quote, backslash. */
static inline const char *
skip_plain(const char *p, const char *end)
{
#ifdef __SSE2__
	/* Signed, so that one comparison finds controls and non-ASCII. */
	typedef signed char lanes __attribute__((vector_size(16)));
	typedef char bytes __attribute__((vector_size(16)));
	while (end - p >= 16) {
		lanes x;
		memcpy(&x, p, 16);
		lanes stop = (lanes)((x < 0x20) | (x == '"') | (x == '\\'));
		int mask = __builtin_ia32_pmovmskb128((bytes)stop);
		if (mask) {
			return p + __builtin_ctz((unsigned)mask);
		}
		p += 16;
	}
#endif
	while (end - p >= 8) {
		uint64_t x, quote, slash, hit;
		memcpy(&x, p, 8);
		quote = x ^ ONES * '"';
		slash = x ^ ONES * '\\';
		hit = ((x - ONES * 0x20) | (quote - ONES) | (slash - ONES) |
		       x) &
		      HIGH;
		if (hit) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
			/* Borrows only run upwards: the lowest is right, or
			 * early by a byte that the caller looks at. */
			return p + __builtin_ctzll(hit) / 8;
#else
			return p;
#endif
		}
		p += 8;
	}
	return p;
}

/* Bytes of the UTF-8 sequence at p that is no ASCII; 0 if it is none. */
static inline size_t
sequence(const char *text, size_t left)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned lead = p[0];

	if (lead >= 0xe0 && lead < 0xf0) {
		if (left < 3 || (p[1] & 0xc0) != 0x80 ||
		    (p[2] & 0xc0) != 0x80 || (lead == 0xe0 && p[1] < 0xa0) ||
		    (lead == 0xed && p[1] > 0x9f)) {
			return 0;
		}
		return 3;
	}
	if (lead >= 0xc2 && lead < 0xe0) {
		return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	}
	if (lead >= 0xf0 && lead <= 0xf4) {
		if (left < 4 || (p[1] & 0xc0) != 0x80 ||
		    (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80 ||
		    (lead == 0xf0 && p[1] < 0x90) ||
		    (lead == 0xf4 && p[1] > 0x8f)) {
			return 0;
		}
		return 4;
	}
	return 0;
}

/* Step over Chinese, which comes in runs: three bytes each, but for the two
 * leads whose second byte is not free. */
static inline const char *
skip_chinese(const char *p, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint32_t x;

	while (end - p >= 4) {
		memcpy(&x, p, 4);
		if ((x & 0xc0c0f0) != 0x8080e0 || (x & 0xff) == 0xe0 ||
		    (x & 0xff) == 0xed) {
			break;
		}
		p += 3;
	}
#else
	(void)end;
#endif
	return p;
}

/* Four hex digits; -1 if they are not. */
static int
hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int d;
		if (c >= '0' && c <= '9') {
			d = c - '0';
		} else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
			d = (c | 0x20) - 'a' + 10;
		} else {
			return -1;
		}
		v = v << 4 | d;
	}
	return v;
}

/* The code point of \uXXXX with p behind the u, pair included; *took is the
 * number of bytes from p.  -1 if it is malformed. */
static int32_t
unicode_escape(const char *p, const char *end, size_t *took)
{
	int32_t cp = end - p < 4 ? -1 : hex4(p);

	*took = 4;
	if (cp >= 0xd800 && cp <= 0xdbff && end - p >= 10 && p[4] == '\\' &&
	    p[5] == 'u') {
		int32_t low = hex4(p + 6);
		if (low >= 0xdc00 && low <= 0xdfff) {
			*took = 10;
			return 0x10000 + ((cp - 0xd800) << 10) + low - 0xdc00;
		}
	}
	return cp;
}

/* at stands on a backslash. */
static bool
scan_escape(struct gx_scan *s, struct gx_str *out)
{
	const char *p = s->at + 1;
	size_t took;

	out->is_escaped = true;
	if (p < s->end && *p && strchr("\"\\/bfnrt", *p)) {
		s->at += 2;
		return true;
	}
	if (p >= s->end || *p != 'u') {
		return gx_scan_fail(s, "an escape that JSON has not");
	}
	int32_t cp = unicode_escape(p + 1, s->end, &took);
	if (cp < 0) {
		return gx_scan_fail(s, "\\u without four hex digits");
	}
	if (cp == 0 || (cp >= 0xd800 && cp <= 0xdfff)) {
		out->is_unstorable = true;
	}
	s->at += 2 + took;
	return true;
}

bool
gx_scan_string(struct gx_scan *s, struct gx_str *out)
{
	const char *from = ++s->at;

	*out = (struct gx_str){.p = from, .is_ascii = true};
	for (;;) {
		s->at = skip_plain(s->at, s->end);
		if (s->at >= s->end) {
			return gx_scan_fail(s, "a string that does not end");
		}
		unsigned char c = (unsigned char)*s->at;
		if (c == '"') {
			out->n = (size_t)(s->at - from);
			s->at++;
			return true;
		}
		if (c == '\\') {
			if (!scan_escape(s, out)) {
				return false;
			}
		} else if (c < 0x20) {
			return gx_scan_fail(s, "a control character within a "
					       "string");
		} else if (c < 0x80) {
			s->at++;
		} else {
			size_t n = sequence(s->at, (size_t)(s->end - s->at));
			if (n == 0) {
				return gx_scan_fail(s, "not UTF-8");
			}
			out->is_ascii = false;
			s->at = skip_chinese(s->at + n, s->end);
		}
	}
}

static inline bool
skip_digits(struct gx_scan *s)
{
	const char *from = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
		s->at++;
	}
	return s->at > from;
}

bool
gx_scan_number(struct gx_scan *s, struct gx_num *out)
{
	const char *from = s->at;

	out->is_plain = true;
	s->at += *s->at == '-';
	if (s->at < s->end && *s->at == '0') {
		s->at++;
		if (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
			return gx_scan_fail(s, "a number with a leading zero");
		}
	} else if (!skip_digits(s)) {
		return gx_scan_fail(s, "a number without digits");
	}
	if (s->at < s->end && *s->at == '.') {
		s->at++;
		out->is_plain = false;
		if (!skip_digits(s)) {
			return gx_scan_fail(s, "no digit behind the point");
		}
	}
	if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
		s->at++;
		out->is_plain = false;
		if (s->at < s->end && (*s->at == '+' || *s->at == '-')) {
			s->at++;
		}
		if (!skip_digits(s)) {
			return gx_scan_fail(s, "an exponent without digits");
		}
	}
	out->p = from;
	out->n = (size_t)(s->at - from);
	return true;
}

bool
gx_scan_word(struct gx_scan *s, const char *word, size_t n)
{
	if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) {
		return gx_scan_fail(s, "a word that JSON has not");
	}
	s->at += n;
	return true;
}

size_t
gx_scan_decode(const char *p, size_t n, bool is_clean, char *out)
{
	static const char plain[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";
	const char *end = p + n;
	size_t to = 0, took;

	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((slash ? slash : end) - p);
		memcpy(out + to, p, run);
		to += run;
		p += run;
		if (!slash) {
			break;
		}
		if (p[1] != 'u') {
			out[to++] = meant[strchr(plain, p[1]) - plain];
			p += 2;
			continue;
		}
		int32_t cp = unicode_escape(p + 2, end, &took);
		p += 2 + took;
		if (is_clean && cp >= 0xd800 && cp <= 0xdfff) {
			cp = 0xfffd;
		}
		to += gx_utf8_put((uint32_t)cp, out + to);
	}
	return to;
}
