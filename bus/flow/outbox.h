/*
 * Outbox: how a service of this node says something on the bus.  It puts rows
 * into gx_outbox within its own SQL transaction, and the flow over the origin
 * (flow/src_outbox.h) carries them into the log.  What is committed is said;
 * what is rolled back never was.
 */
#ifndef GX_FLOW_OUTBOX_H
#define GX_FLOW_OUTBOX_H

#include "port/pg.h"

/* All lent until the call returns. */
struct gx_outbox_row {
	const char *stream;   /* one of the origin's: "/450100/gx/own/x.y/0" */
	char op;	      /* 'u' or 'd' */
	struct gx_slice key;  /* canonical JSON array of strings */
	struct gx_slice time; /* RFC 3339; n = 0: now */
	struct gx_slice origin; /* "o" of the line; n = 0: none */
	struct gx_slice data;	/* JSON object on one line; n = 0 with 'd' */
};

/* Put n rows in the open transaction of pg.  Locks the origin's head row to
 * the end of that transaction: call it last, then commit.  Whoever emits for
 * several origins calls it in the order of their names.
 * GX_FATAL "mem.full": too much at once; others as gx_pg_query. */
enum gx_rc gx_outbox_put(struct gx_pg *pg, const char *origin,
			 const struct gx_outbox_row *rows, size_t n,
			 struct gx_err *e) GX_MUSTCHECK;

/* Make the head of an origin if there is none, with an incarnation of its own.
 * Done twice it changes nothing. */
enum gx_rc gx_outbox_declare(struct gx_pg *pg, const char *origin,
			     struct gx_err *e) GX_MUSTCHECK;

#endif
