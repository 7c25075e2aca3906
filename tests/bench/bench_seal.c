/*
 * What a seal costs: milliseconds to sign and to check a batch of 1,000 lines
 * of 300 bytes, SM3 in MB/s, and nanoseconds of the Merkle root per line, one
 * hash at a time and as fast as this processor can, with the ratio; and what a
 * receipt costs.  CPU time, so that neighbours on the machine count less.
 * Both roots must be equal, every check good, and a message or receipt with
 * one changed bit must not be, or it exits 1.
 */
#include "base/clock.h"
#include "trust/receipt.h"

#define LINES 1000
#define LINE 300
#define ROUNDS 200

static void
fill(struct gx_buf *body)
{
	char line[LINE + 1];
	memset(line, 'x', LINE);
	line[LINE] = '\n';
	for (size_t i = 0; i < LINES; i++) {
		gx_buf_put(body, line, sizeof(line));
	}
}

/* The root of the body, nanoseconds of it per line. */
static double
root_ns(const struct gx_merkle_hash *hash, struct gx_slice body,
	unsigned char root[GX_SM3])
{
	struct gx_merkle *m = gx_merkle_new_with(hash);
	int64_t at_us = gx_cpu_us();
	for (int i = 0; i < ROUNDS; i++) {
		gx_merkle_begin(m);
		gx_merkle_body(m, body);
		gx_merkle_root(m, root);
	}
	double us = (double)(gx_cpu_us() - at_us);
	gx_merkle_free(&m);
	return us * 1000 / ROUNDS / LINES;
}

static bool
hashing(struct gx_slice body)
{
	unsigned char plain_root[GX_SM3], root[GX_SM3];
	int64_t at_us = gx_cpu_us();
	for (int i = 0; i < ROUNDS; i++) {
		gx_sm3(body.p, body.n, root);
	}
	double us = (double)(gx_cpu_us() - at_us);
	printf("sm3_mb_per_s %.0f\n", (double)body.n * ROUNDS / us);
	double plain = root_ns(&gx_merkle_sm3_plain, body, plain_root);
	double fast = root_ns(&gx_merkle_sm3, body, root);
	printf("merkle_ns_per_line{hash=one_at_a_time} %.0f\n", plain);
	printf("merkle_ns_per_line{hash=fastest} %.0f\n", fast);
	printf("merkle_gain %.2f\n", plain / fast);
	return memcmp(plain_root, root, GX_SM3) == 0;
}

static bool
sealing(struct gx_key *k, struct gx_slice body, struct gx_buf *msg)
{
	static const char zeros[] = "social.insured@1:"
				    "00000000000000000000000000000000"
				    "00000000000000000000000000000000";
	unsigned char head[GX_HASH];
	struct gx_err e;
	struct gx_head h = {
		.stream = GX_SLICE("/450100/hrss/social/social.insured/0"),
		.epoch = 1,
		.first = 1,
		.n = LINES,
		.at = GX_SLICE("2026-11-24T17:00:00.000+08:00"),
		.schema = GX_SLICE(zeros),
		.src = GX_SLICE("{}")};
	struct gx_sealer *s = gx_sealer_new(k);
	bool good = true;
	int64_t at_us = gx_cpu_us();
	for (int i = 0; good && i < ROUNDS; i++) {
		good = gx_seal_batch(s, &h, body, msg, head, &e) == GX_OK;
	}
	printf("seal_ms_per_batch %.3f\n",
	       (double)(gx_cpu_us() - at_us) / 1000 / ROUNDS);
	gx_sealer_free(&s);
	return good;
}

static bool
checking(const struct gx_keyring *ring, struct gx_buf *msg, bool leaves)
{
	unsigned char head[GX_HASH];
	struct gx_head h;
	struct gx_verifier *v = gx_verifier_new(ring);
	bool good = true;
	int64_t at_us = gx_cpu_us();
	for (int i = 0; good && i < ROUNDS; i++) {
		good = !gx_head_parse(gx_buf_view(msg), &h) &&
		       gx_seal_check(v, &h, leaves, head) == GX_SEAL_GOOD;
	}
	printf("check_ms_per_batch{leaves=%d} %.3f\n", leaves,
	       (double)(gx_cpu_us() - at_us) / 1000 / ROUNDS);
	if (leaves) {
		msg->p[msg->n - 2] ^= 1;
		good = good &&
		       gx_seal_check(v, &h, true, head) == GX_SEAL_FORGED;
	}
	gx_verifier_free(&v);
	return good;
}

/* What one receipt costs its sink, and everybody who takes it. */
static bool
receipts(struct gx_key *k, const struct gx_keyring *ring)
{
	struct gx_receipt back,
		r = {.sink = GX_SLICE("450100"),
		     .stream = GX_SLICE("/450100/hrss/social/social.insured/0"),
		     .epoch = 1,
		     .seq = 1,
		     .head = {1},
		     .applied = 1,
		     .aside_seq = GX_SLICE("[]"),
		     .reason = GX_SLICE(""),
		     .at = GX_SLICE("2026-11-24T17:00:00.000+08:00")};
	struct gx_buf text;
	struct gx_err e;
	bool good = true;
	gx_buf_init(&text, GX_RECEIPT_MAX);
	int64_t at_us = gx_cpu_us();
	for (int i = 0; good && i < ROUNDS; i++) {
		good = gx_receipt_sign(k, &r, &text, &e) == GX_OK;
	}
	int64_t signed_us = gx_cpu_us();
	for (int i = 0; good && i < ROUNDS; i++) {
		good = !gx_receipt_parse(gx_buf_view(&text), &back) &&
		       gx_receipt_check(ring, &back) == GX_SEAL_GOOD;
	}
	printf("receipt_ms{does=sign} %.3f\n",
	       (double)(signed_us - at_us) / 1000 / ROUNDS);
	printf("receipt_ms{does=check} %.3f\n",
	       (double)(gx_cpu_us() - signed_us) / 1000 / ROUNDS);
	back.signed_bytes.n--;
	good = good && gx_receipt_check(ring, &back) == GX_SEAL_FORGED;
	gx_buf_free(&text);
	return good;
}

int
main(void)
{
	struct gx_err e;
	struct gx_key *k = NULL;
	struct gx_buf body, msg;
	gx_buf_init(&body, GX_BATCH_MAX);
	gx_buf_init(&msg, GX_BATCH_MAX);
	fill(&body);
	if (gx_key_random(&k, &e) != GX_OK) {
		return 1;
	}
	struct gx_key *lent = k;
	struct gx_keyring *ring = gx_keyring_new();
	gx_keyring_add(ring, "450100", &k);
	bool good = hashing(gx_buf_view(&body)) &&
		    sealing(lent, gx_buf_view(&body), &msg) &&
		    checking(ring, &msg, false) && checking(ring, &msg, true) &&
		    receipts(lent, ring);
	gx_keyring_free(&ring);
	gx_buf_free(&body);
	gx_buf_free(&msg);
	return good ? 0 : 1;
}
