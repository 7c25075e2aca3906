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

/* Read and check the declaration; connects to nothing.  GX_REJECT
 * "adapter.declaration" with pointer and reason. */
enum gx_rc gx_src_pg_new(const struct gx_source_conf *conf,
			 struct gx_source **out, struct gx_err *e) GX_MUSTCHECK;

/* A position says whether its stream is still loading. */
bool gx_src_pg_is_loading(struct gx_slice pos);

#endif
