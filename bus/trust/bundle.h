/*
 * Evidence bundle: what a stranger needs to check that records were sealed by
 * their maker and what sinks said of them (docs/evidence.md).  The format
 * only: no I/O.  Text, each line ended by one LF, in this order:
 *
 *   {"v":"gxbus.bundle.1","stream":"..","first":A,"n":N,
 *    "keys":K,"headers":H,"receipts":R}                    one line
 *   {"v":"gxbus.key.1","node":"450100","kid":"..","point":"04.."}   K times,
 *       ascending by node and kid; the point is 65 bytes in hex
 *   the header lines of H batches that follow one another, as they were
 *       sealed; the first holds seq A; behind each, for each of the records
 *       A .. A+N-1 that it holds:
 *         {"v":"gxbus.proof.1","seq":S,"path":["<64 hex>",..]}  RFC 9162
 *         the record's line, as it was sealed
 *   R receipts (trust/receipt.h), ascending by sink
 *   {"v":"gxbus.export.1","node":"450000","at":"..","text":"<SM3 of all bytes
 *    before this line>","alg":"SM2-SM3","kid":"..","sig":".."}    who gave it
 *
 * Nothing may be left out, added, repeated or stand elsewhere.  The last
 * header is the one of record A+N-1 or, if a receipt names a later head, the
 * latest named.  Every key has signed something here.
 */
#ifndef GX_TRUST_BUNDLE_H
#define GX_TRUST_BUNDLE_H

#include "trust/receipt.h"

#define GX_BUNDLE_LINES 1000
#define GX_BUNDLE_HEADERS 2000
#define GX_BUNDLE_KEYS 32
#define GX_BUNDLE_RECEIPTS 32
#define GX_BUNDLE_MAX (12u << 20) /* bytes; one record may have 1 MiB */

struct gx_bundle_key {
	struct gx_slice node, kid;
	unsigned char point[GX_POINT];
	bool is_used;
};

/* Slices lie in the text. */
struct gx_bundle {
	struct gx_slice stream;
	uint64_t first, n;
	uint64_t n_keys, n_headers, n_receipts;
	struct gx_bundle_key keys[GX_BUNDLE_KEYS];
	struct gx_receipt receipts[GX_BUNDLE_RECEIPTS];
	struct gx_slice giver, at; /* who exported it, and when he says */
	size_t line; /* of the text, from 1, that was looked at last */
};

/* Write the parts in their order, each appended to b; false if b is full.
 * Receipts are put as they are, with an LF. */
bool gx_bundle_put_claim(struct gx_buf *b, const struct gx_bundle *what);
bool gx_bundle_put_key(struct gx_buf *b, struct gx_slice node,
		       const struct gx_key *k);
/* The header of a batch's message, and the records of what that it holds with
 * their paths.  Also false if there is no memory for its tree. */
bool gx_bundle_put_batch(struct gx_buf *b, const struct gx_bundle *what,
			 const struct gx_head *h, struct gx_slice msg);
/* The last line, signed by the node that gives it.  GX_REJECT "bundle.size" if
 * b is or was full. */
enum gx_rc gx_bundle_close(struct gx_buf *b, struct gx_slice node,
			   struct gx_slice at, struct gx_key *k,
			   struct gx_err *e) GX_MUSTCHECK;

/*
 * Check all of it: form, hashes, paths, chain, receipts and signatures.  NULL
 * if every byte is accounted for, else what is wrong (static); out->line says
 * where.  What it proves stands in out either way and is to be used only on
 * NULL.
 *
 * trust NULL: proved under the keys in the bundle, which anybody may have
 * made; who they are is for the caller to say.  Else each of them must be a
 * key of its node there.
 */
const char *gx_bundle_check(struct gx_slice text,
			    const struct gx_keyring *trust,
			    struct gx_bundle *out);

#endif
