/*
 * Tokens of JSON, strictly by RFC 8259: the one scanner of the record path.
 * A scanner is a cursor over lent bytes; it never allocates and never writes.
 */
#ifndef GX_RECORD_SCAN_H
#define GX_RECORD_SCAN_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>
#include <string.h>

#define GX_SCAN_DEPTH 64 /* containers within each other */

/* at <= end; fault is set with at standing on the byte that is wrong. */
struct gx_scan {
	const char *at, *end;
	const char *fault; /* static; NULL while all is well */
};

/* A string token without its quotes. */
struct gx_str {
	const char *p;
	size_t n;
	bool is_escaped;    /* holds a backslash: decode before use */
	bool is_ascii;	    /* as written: one byte is one code point */
	bool is_unstorable; /* holds \u0000 or a lone surrogate */
};

struct gx_num {
	const char *p;
	size_t n;
	bool is_plain; /* no fraction and no exponent */
};

/* Skip white space. */
static inline void
gx_scan_space(struct gx_scan *s)
{
	if (s->at < s->end && (unsigned char)*s->at > ' ') {
		return;
	}
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' ||
				  *s->at == '\r' || *s->at == '\t')) {
		s->at++;
	}
}

/* Set the fault; always false. */
bool gx_scan_fail(struct gx_scan *s, const char *fault);
/* at stands on the opening quote, behind the closing one afterwards. */
bool gx_scan_string(struct gx_scan *s, struct gx_str *out);
/*
 * The same for the usual string, in line: fewer than 32 bytes of plain ASCII.
 * false if it is not so, with nothing changed: gx_scan_string() says what it
 * is then.
 */
static inline bool
gx_scan_short_string(struct gx_scan *s, struct gx_str *out)
{
#ifdef __SSE2__
	/* Signed, so that one comparison finds controls and non-ASCII. */
	typedef signed char lanes __attribute__((vector_size(16)));
	typedef char bytes __attribute__((vector_size(16)));
	const char *from = s->at + 1;

	for (size_t at = 0; at < 32; at += 16) {
		lanes x;
		if ((size_t)(s->end - from) < at + 16) {
			return false;
		}
		memcpy(&x, from + at, 16);
		lanes stop = (lanes)((x < 0x20) | (x == '"') | (x == '\\'));
		int mask = __builtin_ia32_pmovmskb128((bytes)stop);
		if (mask == 0) {
			continue;
		}
		size_t n = at + (size_t)__builtin_ctz((unsigned)mask);
		if (from[n] != '"') {
			return false;
		}
		*out = (struct gx_str){.p = from, .n = n, .is_ascii = true};
		s->at = from + n + 1;
		return true;
	}
#else
	(void)s;
	(void)out;
#endif
	return false;
}
/* at stands on '-' or a digit. */
bool gx_scan_number(struct gx_scan *s, struct gx_num *out);
/* The word itself ("true", 4). */
bool gx_scan_word(struct gx_scan *s, const char *word, size_t n);

/* Decode the inside of a good string token; out has room for n bytes, which
 * is always enough.  A lone surrogate becomes its three-byte form, or U+FFFD
 * if is_clean.  Returns the bytes written. */
size_t gx_scan_decode(const char *p, size_t n, bool is_clean, char *out);

#endif
