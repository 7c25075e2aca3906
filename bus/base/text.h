/* Text: UTF-8, hex, base64, numbers, iconv.  iconv(3) lives only here. */
#ifndef GX_BASE_TEXT_H
#define GX_BASE_TEXT_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

/* Strict UTF-8 (no surrogates, no overlong, <= U+10FFFF).  Byte offset of the
 * first fault, or n if there is none. */
size_t gx_utf8_check(const char *p, size_t n);
/* Decode one code point from valid UTF-8; returns its bytes (1..4). */
size_t gx_utf8_next(const char *p, size_t n, uint32_t *cp);
size_t gx_utf8_put(uint32_t cp, char out[4]);
size_t gx_utf8_count(const char *p, size_t n); /* code points of valid UTF-8 */

/* Lower-case hex; out holds 2n + 1 bytes and is NUL-terminated. */
void gx_hex(const void *p, size_t n, char *out);
/* Exactly n bytes from 2n hex digits (lower case only); false if not. */
bool gx_unhex(const char *hex, size_t hex_n, void *out, size_t n);

/* RFC 4648 base64 with padding.  out_max >= 4*((n+2)/3)+1. */
size_t gx_base64(const void *p, size_t n, char *out, size_t out_max);
/* Strict; returns false on any stray byte or if it does not fit. */
bool gx_unbase64(const char *p, size_t n, void *out, size_t out_max,
		 size_t *out_n);

/* Canonical unsigned decimal (no sign, no leading zero) up to max. */
bool gx_parse_u64(const char *p, size_t n, uint64_t max, uint64_t *out);
/* "10", "10k", "4M", "1G" bytes; "250ms", "10s", "5m", "1h" -> ms. */
bool gx_parse_size(const char *s, uint64_t *bytes);
bool gx_parse_duration(const char *s, uint64_t *ms);

/* True if a line holds no control characters; used before logging. */
bool gx_text_printable(const char *p, size_t n);
/* Edit distance, capped at 8: nearest-match suggestions. */
int gx_text_distance(const char *a, const char *b);

/* Decode from a named charset ("GB18030", "GBK", "UTF-8") into out (appends).
 * GX_REJECT with the byte offset in *bad_at on the first undecodable byte. */
struct gx_iconv;
enum gx_rc gx_iconv_new(const char *charset, struct gx_iconv **out,
			struct gx_err *e) GX_MUSTCHECK;
void gx_iconv_free(struct gx_iconv **c);
enum gx_rc gx_iconv_run(struct gx_iconv *c, struct gx_slice in,
			struct gx_buf *out, size_t *bad_at,
			struct gx_err *e) GX_MUSTCHECK;

#endif
