/*
 * Line: one record as it travels.  Exact bytes, members in this order:
 *
 *   {"op":"u","k":["key"],"t":"2026-11-24T17:00:00.000+08:00","d":{...}}
 *   {"op":"d","k":["key"],"t":"..."}   delete
 *   {"op":"q","k":["key"],"t":"..."}   key set aside at the source
 *   {"op":"s","t":"..."} {"op":"e","t":"..."}   a full reading begins, ends
 *   {"op":"end","t":"..."}             the stream is closed
 *
 * k is a canonical JSON array of strings (no spaces, shortest escapes).  On a
 * stream that a node made for one below it (docs/levels.md) a line with a key
 * names between t and d where the record comes from:
 *
 *   {"op":"u","k":["key"],"t":"...","o":"/450200/hrss/social","d":{...}}
 */
#ifndef GX_RECORD_LINE_H
#define GX_RECORD_LINE_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

enum gx_op {
	GX_OP_UPSERT,
	GX_OP_DELETE,
	GX_OP_SET_ASIDE,
	GX_OP_START,
	GX_OP_END_READING,
	GX_OP_CLOSE
};
#define GX_LINE_MAX (1u << 20) /* bytes of one line: longer is quarantined */

/* All slices lie in the line parsed. */
struct gx_line {
	enum gx_op op;
	struct gx_slice key;	/* raw JSON array, n = 0 for s, e, end */
	struct gx_slice time;	/* without quotes */
	struct gx_slice origin; /* n = 0: none; never of s, e, end */
	struct gx_slice data;	/* raw JSON object, n = 0 unless op is u */
};

/* Append the line, without newline.  false if b is full. */
bool gx_line_put(struct gx_buf *b, const struct gx_line *line);
/* Strict: exactly the form above (d is found by position, not validated
 * inside).  NULL if good, else a static reason. */
const char *gx_line_parse(struct gx_slice text, struct gx_line *out);

#endif
