/*
 * Statement (对账单): what a node held of each resource when it was asked,
 * signed, to be laid beside the other side's (docs/reconcile.md).  The format
 * only.  One JSON object in one line, no line feed:
 *
 *   {"v":"gxbus.statement.1","node":"450000","scope":"450100",
 *    "day":"2026-11-24","at":"..","resources":[{"resource":"social.insured",
 *    "count":N,"digest":"<64 hex>","held":N,"aside":N,"streams":[
 *    {"stream":"..","next_seq":N,"head":"<64 hex>","is_stopped":false}]}],
 *    "alg":"SM2-SM3","kid":"<32 hex>","sig":"<hex>"}
 *
 * scope: whose records, "" all.  Signed are all bytes before `,"sig"`.
 */
#ifndef GX_TRUST_STATEMENT_H
#define GX_TRUST_STATEMENT_H

#include "base/json.h"
#include "trust/seal.h"

#define GX_STATEMENT_MAX (8u << 20)

struct gx_statement {
	const char *node, *scope, *day, *at, *kid;
	const struct gx_json *resources; /* array */
};

/* text: the object up to and with its "resources", without closing brace.
 * Appends alg, kid, signature and brace.  GX_REJECT "statement.form" if the
 * result is not what check takes, or too long. */
enum gx_rc gx_statement_sign(struct gx_key *k, struct gx_buf *text,
			     struct gx_err *e) GX_MUSTCHECK;

/* Form and signature by a key of the node that it names; ring NULL: form only,
 * nothing is proved.  NULL if good, else what is wrong (static).  out lies in
 * the arena. */
const char *gx_statement_check(struct gx_slice text,
			       const struct gx_keyring *ring,
			       struct gx_arena *a, struct gx_statement *out);

#endif
