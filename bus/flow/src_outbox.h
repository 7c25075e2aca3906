/*
 * Source over this node's outbox: one origin, one stream for each resource
 * that is named.  Rows come in the order of their ids, each is run through the
 * validator of its resource, and one that does not pass is set aside.
 *
 * Position: ob:<incarnation>:<id>[:<mark>], the incarnation 1 to 64 of a-z 0-9,
 * the mark 16 hex digits of a digest of the row: a database that lost its last
 * rows and gave their ids again is found out by it.
 *
 * Released rows stay until they are older than keep_ms, the newest of each
 * stream for good: by it a later start sees whether the log still holds what
 * was released.
 */
#ifndef GX_FLOW_SRC_OUTBOX_H
#define GX_FLOW_SRC_OUTBOX_H

#include "flow/source.h"

#include <stdint.h>

struct gx_src_outbox_conf {
	const char *conninfo; /* of the node's database */
	const char *origin;   /* "/450100/gx/own" */
	/* Streams <origin>/<resource>/0, in this order.  The array is copied,
	 * the resources are lent. */
	const struct gx_resource *const *resources;
	size_t n_resources;
	int64_t keep_ms;
};

/* Connects to nothing.  GX_REJECT "outbox.streams": no resource, or one
 * twice. */
enum gx_rc gx_src_outbox_new(const struct gx_src_outbox_conf *conf,
			     struct gx_source **out,
			     struct gx_err *e) GX_MUSTCHECK;

#define GX_OUTBOX_INCARNATION 64
#define GX_OUTBOX_MARK 16
#define GX_OUTBOX_PARTS 5
struct gx_outbox_pos {
	char incarnation[GX_OUTBOX_INCARNATION + 1];
	uint64_t id;		       /* all at or below it was handed over */
	char mark[GX_OUTBOX_MARK + 1]; /* of row id; "" not known */
};
/* Append the text.  false if b is full. */
bool gx_src_outbox_pos_put(struct gx_buf *b, const struct gx_outbox_pos *pos);
/* The mark of a row: of its stream, op, key, o and d. */
void gx_src_outbox_mark(const struct gx_slice part[GX_OUTBOX_PARTS],
			char out[GX_OUTBOX_MARK + 1]);
/* Strict: nothing but what the former writes. */
bool gx_src_outbox_pos_parse(struct gx_slice text, struct gx_outbox_pos *out);

#endif
