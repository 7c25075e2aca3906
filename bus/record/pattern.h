/*
 * Regular expressions of "pattern": ECMA-262 with the u flag, unanchored, run
 * by PCRE2 as far as both read an expression alike; any other is refused.
 * PCRE2 lives only in this module.
 */
#ifndef GX_RECORD_PATTERN_H
#define GX_RECORD_PATTERN_H

#include "base/err.h"
#include "base/mem.h"

#define GX_PATTERN_MAX 4096 /* bytes of an expression */

struct gx_pattern;
struct gx_matcher;

/* NULL and *out, else a static reason.  Immutable, shared by threads. */
const char *gx_pattern_new(struct gx_slice ecma, struct gx_pattern **out);
void gx_pattern_free(struct gx_pattern **p);

/* Write what PCRE2 is given for an expression; NULL, else a static reason. */
const char *gx_pattern_translate(struct gx_slice ecma, struct gx_buf *out,
				 bool *has_backref);

/* Workspace of one thread, for all patterns. */
struct gx_matcher *gx_matcher_new(void);
void gx_matcher_free(struct gx_matcher **m);

enum gx_match { GX_MATCH_YES, GX_MATCH_NO, GX_MATCH_LIMIT };
/* text is valid UTF-8.  LIMIT: given up after too many steps. */
enum gx_match gx_pattern_match(const struct gx_pattern *p, struct gx_matcher *m,
			       const char *text, size_t n);

#endif
