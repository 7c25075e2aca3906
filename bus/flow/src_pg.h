/*
 * Source over PostgreSQL logical decoding (pgoutput), proto_version 1: a full
 * reading first, then changes in commit order.  docs/adapter.md shows how to
 * declare an instance.
 *
 * One declaration file per adapter instance: name, org, kind "pg-cdc",
 * connection, slot, publication, tables with their mapping, ceilings.  Strict:
 * an unknown member is refused by its pointer.
 *
 * Position of a stream (opaque to others):
 *   pg:<system>:<timeline>:<slot>:<born>:S:<from>:<until>:<n>:<base64 of key>
 *   pg:<system>:<timeline>:<slot>:<born>:C:<lsn>:<idx>:<until>[:R]
 * born: the slot's first position; a stream that still carries an older one is
 * read anew.  S: within a full reading, n-th row, the last key taken; changes begin at
 * from.  C: change idx of the transaction that commits at lsn; idx 0: all
 * before lsn is done.  until: the stream is loading while lsn < until.
 * R: a TRUNCATE was met and the difference (the e line) is still owed.
 */
#ifndef GX_FLOW_SRC_PG_H
#define GX_FLOW_SRC_PG_H

#include "flow/source.h"
#include "record/resource.h"

struct gx_src_pg_conf {
	const char *node; /* "450100": first part of the stream names */
	const char
		*path; /* declaration; files named in it are relative to it */
	/* Declared resource by name, NULL if there is none; lent for the life
	 * of the source. */
	const struct gx_resource *(*resource)(void *ctx, const char *name);
	void *ctx;
};

/* Read and check the declaration; connects to nothing.  GX_REJECT
 * "adapter.declaration" with pointer and reason. */
enum gx_rc gx_src_pg_new(const struct gx_src_pg_conf *conf,
			 struct gx_source **out, struct gx_err *e) GX_MUSTCHECK;

/* What the declaration makes: /node/org/name, and its streams in the order
 * that gx_rec.stream and start() use.  Lent for the life of the source. */
const char *gx_src_pg_origin(const struct gx_source *s);
size_t gx_src_pg_n_streams(const struct gx_source *s);
const char *gx_src_pg_stream(const struct gx_source *s, size_t i);
const struct gx_resource *gx_src_pg_resource(const struct gx_source *s,
					     size_t i);
/* A position says whether its stream is still loading. */
bool gx_src_pg_is_loading(struct gx_slice pos);

#endif
