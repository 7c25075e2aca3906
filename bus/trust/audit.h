/*
 * Audit line: one act at a node, chained to the one before it.  Exact bytes,
 * members in this order, hex in lower case, strings with the shortest escapes:
 *
 *   {"v":"gxbus.audit.1","node":"450000","n":7,"prev":"<64 hex>",
 *    "at":"2026-11-24T17:00:00.000+08:00","who":"anna","role":"operator",
 *    "act":"flow.pause","on":"sink","outcome":"done","why":"",
 *    "hash":"<64 hex>"}
 *
 * hash is SM3 over all that stands before ,"hash"; prev is the hash of line
 * n - 1, 64 zeros for n = 1.  A line has no payload: names of principals,
 * flows, streams, tokens, never a record, key or reason in free text of one.
 *
 * outcome: done, shown (content was given out), refused, failed.
 */
#ifndef GX_TRUST_AUDIT_H
#define GX_TRUST_AUDIT_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

#define GX_AUDIT_LINE 4096 /* bytes of a line, without its newline */
#define GX_AUDIT_TEXT 300  /* bytes of who, act, on and why */

struct gx_audit {
	const char *node;
	uint64_t n;
	char prev[65]; /* hex */
	const char *at, *who, *role, *act, *on, *outcome, *why;
	char hash[65]; /* hex, filled by put and parse */
};

/* Append the line of all but hash, and set hash.  false: b is full, or a text
 * is longer than GX_AUDIT_TEXT. */
bool gx_audit_put(struct gx_audit *a, struct gx_buf *b);

/* Strict: exactly these bytes, hash recomputed.  NULL if good, else a static
 * reason; texts lie in the arena. */
const char *gx_audit_parse(struct gx_slice line, struct gx_arena *arena,
			   struct gx_audit *out);

/* Where a verifier stands: the line last read.  Zero to begin with. */
struct gx_audit_chain {
	char node[64];
	uint64_t n; /* of the last line, 0 none */
	char hash[65];
	uint64_t first; /* n of the first line read */
};
/* Does the line continue the chain?  The first line read may be any, so that
 * a part can be verified.  NULL if it does, else a static reason. */
const char *gx_audit_follow(struct gx_audit_chain *c, const struct gx_audit *a);

#endif
