/*
 * Receipt codec: the exact bytes of what a sink states, who signs and who
 * checks it.
 *
 * A receipt outlives the log it speaks of.  Years later somebody lays it
 * beside a batch and asks whether this node had this record; so it is read as
 * strictly as a batch header is: by position, one spelling, and the numbers
 * must add up.  A receipt that counts fewer lines than it covers would leave
 * records unexplained under a good signature; it is refused as malformed, at
 * the sink that wants to sign it as well as at everybody who reads it.
 *
 * Its first member is its context.  The bytes that are signed begin with
 * "gxbus.receipt.1" where a batch's begin with "gxbus.batch.1", so neither
 * signature can stand under the other.
 *
 * Who may sign is read from the ring, never from the text: the key must be
 * one of the node that the receipt names as its sink.  A key that is not
 * there is no forgery; the caller asks for it.
 *
 * Nothing is kept and nothing is allocated but the caller's buffer.  If we die
 * on any line no text has left that its own reader had not accepted.
 */
#include "trust/receipt.h"

#include "base/text.h"
#include "record/cursor.h"

static const char *const verdicts[] = {
	[GX_RECEIPT_APPLIED] = "applied",
	[GX_RECEIPT_HELD] = "held",
	[GX_RECEIPT_REFUSED] = "refused",
};
#define N_VERDICTS (sizeof(verdicts) / sizeof(verdicts[0]))

static void
put_text(struct gx_buf *b, const char *open, struct gx_slice s)
{
	gx_buf_puts(b, open);
	gx_buf_slice(b, s);
}

static void
put_number(struct gx_buf *b, const char *name, uint64_t v)
{
	gx_buf_printf(b, ",\"%s\":%llu", name, (unsigned long long)v);
}

bool
gx_receipt_put_unsigned(struct gx_buf *b, const struct gx_receipt *r)
{
	char head[2 * GX_HASH + 1];
	GX_ASSERT((size_t)r->verdict < N_VERDICTS);
	gx_hex(r->head, GX_HASH, head);
	put_text(b, "{\"v\":\"gxbus.receipt.1\",\"sink\":\"", r->sink);
	put_text(b, "\",\"stream\":\"", r->stream);
	gx_buf_printf(b, "\",\"verdict\":\"%s\"", verdicts[r->verdict]);
	put_number(b, "epoch", r->epoch);
	put_number(b, "seq", r->seq);
	gx_buf_printf(b, ",\"head\":\"%s\"", head);
	put_number(b, "applied", r->applied);
	put_number(b, "aside", r->aside);
	put_text(b, ",\"aside_seq\":", r->aside_seq);
	put_text(b, ",\"reason\":\"", r->reason);
	put_text(b, "\",\"at\":\"", r->at);
	put_text(b, "\",\"alg\":\"SM2-SM3\",\"kid\":\"", r->kid);
	gx_buf_putc(b, '"');
	return !b->failed;
}

static bool
put_sig(struct gx_buf *b, const struct gx_receipt *r)
{
	char hex[2 * GX_SIG_MAX + 1];
	GX_ASSERT(r->sig_n <= GX_SIG_MAX);
	gx_hex(r->sig, r->sig_n, hex);
	return gx_buf_printf(b, ",\"sig\":\"%s\"}", hex);
}

bool
gx_receipt_put(struct gx_buf *b, const struct gx_receipt *r)
{
	return gx_receipt_put_unsigned(b, r) && put_sig(b, r);
}

bool
gx_receipt_next(struct gx_slice aside_seq, size_t *at, uint64_t *seq)
{
	struct gx_cursor c = {aside_seq, *at};
	if (*at >= aside_seq.n || !gx_cursor_lit(&c, *at == 0 ? "[" : ",") ||
	    !gx_cursor_u64(&c, GX_SEQ_MAX, seq)) {
		return false;
	}
	*at = c.at;
	return true;
}

/* "[]" or ascending numbers from 1 to seq. */
static const char *
take_aside_seq(struct gx_cursor *c, struct gx_receipt *r)
{
	uint64_t before = 0, n = 0, seq = 0;
	if (!gx_cursor_lit(c, ",\"aside_seq\":[")) {
		return "aside_seq";
	}
	size_t start = c->at - 1;
	while (!gx_cursor_lit(c, "]")) {
		if (n++ == GX_RECEIPT_ASIDE ||
		    (before > 0 && !gx_cursor_lit(c, ",")) ||
		    !gx_cursor_u64(c, r->seq, &seq) || seq <= before) {
			return "aside_seq";
		}
		before = seq;
	}
	r->aside_seq = gx_slice(c->s.p + start, c->at - start);
	return n <= r->aside ? NULL : "aside_seq";
}

static const char *
take_place(struct gx_cursor *c, struct gx_receipt *r)
{
	struct gx_stream_name name;
	struct gx_slice verdict;
	size_t v = 0;
	if (!gx_cursor_lit(c, "{\"v\":\"gxbus.receipt.1\"")) {
		return "version";
	}
	if (!gx_cursor_lit(c, ",\"sink\":\"") || !gx_cursor_node(c, &r->sink)) {
		return "sink";
	}
	if (!gx_cursor_lit(c, ",\"stream\":\"") ||
	    !gx_cursor_text(c, GX_STREAM_MAX, &r->stream) ||
	    !gx_stream_parse(r->stream, &name)) {
		return "stream";
	}
	if (!gx_cursor_lit(c, ",\"verdict\":\"") ||
	    !gx_cursor_text(c, 16, &verdict)) {
		return "verdict";
	}
	while (v < N_VERDICTS &&
	       !gx_slice_eq(verdict, gx_slice_str(verdicts[v]))) {
		v++;
	}
	r->verdict = (enum gx_receipt_verdict)v;
	return v < N_VERDICTS ? NULL : "verdict";
}

static const char *
take_counts(struct gx_cursor *c, struct gx_receipt *r)
{
	if (!gx_cursor_lit(c, ",\"epoch\":") ||
	    !gx_cursor_u64(c, GX_SEQ_MAX, &r->epoch)) {
		return "epoch";
	}
	if (!gx_cursor_lit(c, ",\"seq\":") ||
	    !gx_cursor_u64(c, GX_SEQ_MAX, &r->seq)) {
		return "seq";
	}
	if (!gx_cursor_lit(c, ",\"head\":\"") ||
	    !gx_cursor_hex(c, r->head, GX_HASH)) {
		return "head";
	}
	if (!gx_cursor_lit(c, ",\"applied\":") ||
	    !gx_cursor_u64(c, GX_SEQ_MAX, &r->applied)) {
		return "applied";
	}
	if (!gx_cursor_lit(c, ",\"aside\":") ||
	    !gx_cursor_u64(c, GX_SEQ_MAX, &r->aside)) {
		return "aside";
	}
	return take_aside_seq(c, r);
}

/* A code like "batch.root". */
static bool
is_code(struct gx_slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char b = s.p[i];
		if (!(b >= 'a' && b <= 'z') && !(b >= '0' && b <= '9') &&
		    b != '_' && b != '.') {
			return false;
		}
	}
	return s.n > 0;
}

static const char *
take_seal(struct gx_cursor *c, struct gx_receipt *r)
{
	unsigned char id[GX_KID / 2];
	struct gx_slice hex;
	if (!gx_cursor_lit(c, ",\"reason\":\"") ||
	    !gx_cursor_text(c, GX_RECEIPT_REASON_MAX, &r->reason)) {
		return "reason";
	}
	if (!gx_cursor_lit(c, ",\"at\":\"") || !gx_cursor_time(c, &r->at)) {
		return "at";
	}
	if (!gx_cursor_lit(c, ",\"alg\":\"SM2-SM3\"")) {
		return "alg";
	}
	if (!gx_cursor_lit(c, ",\"kid\":\"") ||
	    !gx_cursor_text(c, GX_KID, &r->kid) ||
	    !gx_unhex(r->kid.p, r->kid.n, id, sizeof(id))) {
		return "kid";
	}
	r->signed_bytes = gx_slice(c->s.p, c->at);
	if (!gx_cursor_lit(c, ",\"sig\":\"") ||
	    !gx_cursor_text(c, (size_t)2 * GX_SIG_MAX, &hex) || hex.n == 0 ||
	    hex.n % 2 != 0 || !gx_unhex(hex.p, hex.n, r->sig, hex.n / 2)) {
		return "sig";
	}
	r->sig_n = hex.n / 2;
	return gx_cursor_lit(c, "}") && c->at == c->s.n ? NULL : "end";
}

static bool
is_zero(const unsigned char *hash)
{
	static const unsigned char zeros[GX_HASH];
	return memcmp(hash, zeros, GX_HASH) == 0;
}

/* What the words and the numbers say together. */
static const char *
add_up(const struct gx_receipt *r)
{
	bool is_refused = r->verdict == GX_RECEIPT_REFUSED;
	if (is_refused ? !is_code(r->reason) : r->reason.n != 0) {
		return "reason";
	}
	if (!is_refused && is_zero(r->head) != (r->seq == 0)) {
		return "head";
	}
	if (r->verdict == GX_RECEIPT_APPLIED) {
		return r->applied <= r->seq && r->aside == r->seq - r->applied
			       ? NULL
			       : "applied and aside do not add up to seq";
	}
	return r->applied == 0 && r->aside == 0 ? NULL
						: "applied without a store";
}

const char *
gx_receipt_parse(struct gx_slice text, struct gx_receipt *out)
{
	struct gx_cursor c = {text, 0};
	*out = (struct gx_receipt){0};
	if (text.n > GX_RECEIPT_MAX) {
		return "size";
	}
	const char *why = take_place(&c, out);
	if (!why) {
		why = take_counts(&c, out);
	}
	if (!why) {
		why = take_seal(&c, out);
	}
	return why ? why : add_up(out);
}

enum gx_rc
gx_receipt_sign(struct gx_key *k, struct gx_receipt *r, struct gx_buf *out,
		struct gx_err *e)
{
	unsigned char der[GX_SM2_DER_MAX];
	struct gx_receipt check;
	r->kid = gx_slice(gx_key_id(k), GX_KID);
	gx_buf_reset(out);
	if (!gx_receipt_put_unsigned(out, r)) {
		return GX_ERR(e, GX_REJECT, "receipt.size",
			      "receipt above %zu bytes", out->max);
	}
	enum gx_rc rc = gx_sm2_sign(k, gx_buf_view(out), der, &r->sig_n, e);
	if (rc != GX_OK) {
		return rc;
	}
	memcpy(r->sig, der, r->sig_n);
	if (!put_sig(out, r)) {
		return GX_ERR(e, GX_REJECT, "receipt.size",
			      "receipt above %zu bytes", out->max);
	}
	const char *why = gx_receipt_parse(gx_buf_view(out), &check);
	if (why) {
		gx_buf_reset(out);
		return GX_ERR(e, GX_FATAL, "receipt.form",
			      "our own receipt is malformed at %s; nothing "
			      "was said, report it",
			      why);
	}
	r->signed_bytes = check.signed_bytes;
	return GX_OK;
}

enum gx_seal
gx_receipt_check(const struct gx_keyring *ring, const struct gx_receipt *r)
{
	bool allowed = false;
	struct gx_key *k = gx_keyring_find(ring, r->kid, r->sink, &allowed);
	if (!k) {
		return GX_SEAL_UNKNOWN_KEY;
	}
	if (!allowed) {
		return GX_SEAL_NOT_ALLOWED;
	}
	return gx_sm2_verify(k, r->signed_bytes, r->sig, r->sig_n)
		       ? GX_SEAL_GOOD
		       : GX_SEAL_FORGED;
}
