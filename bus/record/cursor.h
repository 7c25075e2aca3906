/*
 * Cursor: reads a text that has one form only, by position.  Each step finds
 * exactly what it asks for and moves behind it, or answers false; after a
 * false the place is undefined and the text is to be refused.  Nothing is
 * copied, slices lie in the text.
 */
#ifndef GX_RECORD_CURSOR_H
#define GX_RECORD_CURSOR_H

#include "base/mem.h"

#include <stdint.h>

struct gx_cursor {
	struct gx_slice s;
	size_t at; /* 0..s.n */
};

/* These bytes. */
bool gx_cursor_lit(struct gx_cursor *c, const char *lit);
/* Up to the next quote, which is taken too: at most max bytes of printable
 * ASCII without backslash, so that text and value are the same. */
bool gx_cursor_text(struct gx_cursor *c, size_t max, struct gx_slice *out);
/* The same, [a-z0-9-]{1,32}: the name of a node. */
bool gx_cursor_node(struct gx_cursor *c, struct gx_slice *out);
/* Canonical decimal up to max. */
bool gx_cursor_u64(struct gx_cursor *c, uint64_t max, uint64_t *out);
/* n bytes as lower-case hex, and the quote behind it. */
bool gx_cursor_hex(struct gx_cursor *c, unsigned char *out, size_t n);
/* The one form that gx_time_format writes, and the quote behind it. */
bool gx_cursor_time(struct gx_cursor *c, struct gx_slice *out);

#endif
