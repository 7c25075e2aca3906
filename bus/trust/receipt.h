/*
 * Receipt: what a sink says of a stream, signed (docs/evidence.md).  The
 * format only: no I/O, no clock, nothing is kept.  One JSON object, exact
 * bytes, no spaces, no line feed, members in this order:
 *
 *   {"v":"gxbus.receipt.1",
 *    "sink":"450000",         the node that says it
 *    "stream":"/450100/hrss/social/social.insured/0",
 *    "verdict":"applied",     applied | held | refused
 *    "epoch":1796..,          of the stream's owner at that point
 *    "seq":N,                 up to and with this one; 0: none yet
 *    "head":"<64 hex>",       head hash of the batch that ends at seq
 *    "applied":A,             lines since seq 1 that are in the store
 *    "aside":S,               lines since seq 1 in the sink's quarantine
 *    "aside_seq":[..],        which of them since the receipt before,
 *                             ascending, at most the first 1000
 *    "reason":"",             a code, only if refused
 *    "at":"2026-..+08:00",
 *    "alg":"SM2-SM3",
 *    "kid":"<32 hex>",
 *    "sig":"<hex>"}           SM2 over all before `,"sig"`, strict DER
 *
 * It must add up: applied, A + S = seq; held (the history is kept, no store
 * here takes it) and refused (the message with this head was not taken; seq
 * is where the sink stands), A = S = 0.  At seq 0 an applied or held head is
 * all zeros, as prev of a first batch is; a refused one is zeros if the
 * message had no readable header.
 *
 * As a record of the bus this object is `d` of resource gx.receipt, key
 * [sink, stream].
 */
#ifndef GX_TRUST_RECEIPT_H
#define GX_TRUST_RECEIPT_H

#include "trust/seal.h"

#define GX_RECEIPT_MAX 20000  /* bytes */
#define GX_RECEIPT_ASIDE 1000 /* numbers in aside_seq */
#define GX_RECEIPT_REASON_MAX 64

enum gx_receipt_verdict {
	GX_RECEIPT_APPLIED,
	GX_RECEIPT_HELD,
	GX_RECEIPT_REFUSED
};

/* Slices are lent; in a parsed receipt they lie in its text. */
struct gx_receipt {
	struct gx_slice sink, stream;
	enum gx_receipt_verdict verdict;
	uint64_t epoch, seq;
	unsigned char head[GX_HASH];
	uint64_t applied, aside;
	struct gx_slice aside_seq; /* raw array: "[3,17]", "[]" */
	struct gx_slice reason;	   /* n = 0 unless refused */
	struct gx_slice at;	   /* as gx_time_format writes it */
	struct gx_slice kid;	   /* GX_KID hex digits */
	unsigned char sig[GX_SIG_MAX];
	size_t sig_n;
	struct gx_slice signed_bytes; /* set by parse, not read by put */
};

/* Append the whole text, or without sig and closing brace what is signed.
 * The same fields always give the same bytes: a receipt can be rebuilt from
 * the columns of a table.  false if b is full; nothing is checked. */
bool gx_receipt_put(struct gx_buf *b, const struct gx_receipt *r);
bool gx_receipt_put_unsigned(struct gx_buf *b, const struct gx_receipt *r);

/* Sign under this key, whose node the caller knows to be r->sink: fills in
 * kid (lent from the key), sig, and signed_bytes (in out), and writes the text
 * to out (reset first).  It is read back before it is given away: GX_FATAL
 * "receipt.form" names the member that a reader would refuse; GX_REJECT
 * "receipt.size" if out is too small (GX_RECEIPT_MAX is enough). */
enum gx_rc gx_receipt_sign(struct gx_key *k, struct gx_receipt *r,
			   struct gx_buf *out, struct gx_err *e) GX_MUSTCHECK;

/* Strict: exactly the form above and adding up, no other byte anywhere.  No
 * signature.  NULL if good, else the member that is wrong (static). */
const char *gx_receipt_parse(struct gx_slice text, struct gx_receipt *out);
/* Walk aside_seq: *at starts at 0; false at the end. */
bool gx_receipt_next(struct gx_slice aside_seq, size_t *at, uint64_t *seq);

/* Is a parsed receipt signed by a key of the node that it names as sink?
 * Never GX_SEAL_GOOD for any other node's key. */
enum gx_seal gx_receipt_check(const struct gx_keyring *ring,
			      const struct gx_receipt *r);

#endif
