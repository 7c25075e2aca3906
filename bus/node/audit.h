/*
 * The audit log of a node: lines of trust/audit.h in gx_audit, one chain.
 */
#ifndef GX_NODE_AUDIT_H
#define GX_NODE_AUDIT_H

#include "port/pg.h"

#include <stdint.h>

struct gx_act {
	const char *node, *who, *role, *act, *on, *outcome, *why;
};

/* Append one line, in the transaction that is open on pg: it is there if and
 * only if what else the transaction does is done.  The end of the chain stays
 * locked until it ends, so append last.  max: lines the log may hold, 0 any.
 * GX_AGAIN "audit.full"; others as gx_pg_query. */
enum gx_rc gx_audit_append(struct gx_pg *pg, const struct gx_act *a,
			   uint64_t max, struct gx_err *e) GX_MUSTCHECK;
/* The same in a transaction of its own, committed when it returns GX_OK. */
enum gx_rc gx_audit_note(struct gx_pg *pg, const struct gx_act *a, uint64_t max,
			 struct gx_err *e) GX_MUSTCHECK;

#endif
