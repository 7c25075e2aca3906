/*
 * Tokens of JSON, strictly by RFC 8259: the one scanner of the record path.
 * A scanner is a cursor over lent bytes; it never allocates and never writes.
 */
#ifndef GX_RECORD_SCAN_H
#define GX_RECORD_SCAN_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

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
/* at stands on '-' or a digit. */
bool gx_scan_number(struct gx_scan *s, struct gx_num *out);
/* The word itself ("true", 4). */
bool gx_scan_word(struct gx_scan *s, const char *word, size_t n);

/* Decode the inside of a good string token; out has room for n bytes, which
 * is always enough.  A lone surrogate becomes its three-byte form, or U+FFFD
 * if is_clean.  Returns the bytes written. */
size_t gx_scan_decode(const char *p, size_t n, bool is_clean, char *out);

#endif
