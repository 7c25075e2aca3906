/*
 * Receipts: one spelling, numbers that add up, and a signature of the very
 * node that speaks.  Each refusal stands beside a twin that passes, and what
 * is refused when it is read cannot be signed either.
 */
#include "trust/receipt.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define STREAM "/450100/hrss/social/social.insured/0"
#define AT "2026-11-24T17:00:00.000+08:00"

static struct gx_key *hub, *city; /* the ring's */
static struct gx_keyring *ring;

static int
setup(void **state)
{
	struct gx_err e;
	struct gx_key *k = NULL;
	(void)state;
	ring = gx_keyring_new();
	assert_int_equal(gx_key_random(&k, &e), GX_OK);
	hub = k;
	gx_keyring_add(ring, "450000", &k);
	assert_int_equal(gx_key_random(&k, &e), GX_OK);
	city = k;
	gx_keyring_add(ring, "450100", &k);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	gx_keyring_free(&ring);
	return 0;
}

/* Up to seq 1,000, of which 3 and 17 are set aside. */
static struct gx_receipt
good(void)
{
	struct gx_receipt r = {
		.sink = GX_SLICE("450000"),
		.stream = GX_SLICE(STREAM),
		.epoch = 1796000000000,
		.seq = 1000,
		.applied = 998,
		.aside = 2,
		.aside_seq = GX_SLICE("[3,17]"),
		.reason = GX_SLICE(""),
		.at = GX_SLICE(AT),
	};
	gx_sm3("head", 4, r.head);
	return r;
}

static const char *
sign(struct gx_key *k, struct gx_receipt *r, struct gx_buf *out)
{
	struct gx_err e = {0};
	return gx_receipt_sign(k, r, out, &e) == GX_OK ? NULL : e.code;
}

static void
its_bytes_are_the_contract(void **state)
{
	char head[2 * GX_HASH + 1], want[1000];
	struct gx_receipt r = good(), back;
	struct gx_buf out, again;
	(void)state;
	gx_buf_init(&out, GX_RECEIPT_MAX);
	gx_buf_init(&again, GX_RECEIPT_MAX);
	assert_null(sign(hub, &r, &out));
	gx_hex(r.head, GX_HASH, head);
	int n = snprintf(
		want, sizeof(want),
		"{\"v\":\"gxbus.receipt.1\",\"sink\":\"450000\",\"stream\":"
		"\"" STREAM "\",\"verdict\":\"applied\",\"epoch\":"
		"1796000000000,\"seq\":1000,\"head\":\"%s\",\"applied\":998,"
		"\"aside\":2,\"aside_seq\":[3,17],\"reason\":\"\",\"at\":"
		"\"" AT "\",\"alg\":\"SM2-SM3\",\"kid\":\"%s\"",
		head, gx_key_id(hub));
	assert_true(out.n > (size_t)n + 10);
	assert_memory_equal(out.p, want, (size_t)n);
	assert_null(gx_receipt_parse(gx_buf_view(&out), &back));
	assert_int_equal(back.signed_bytes.n, n);
	assert_int_equal(gx_receipt_check(ring, &back), GX_SEAL_GOOD);
	assert_true(gx_receipt_put(&again, &back));
	assert_true(gx_slice_eq(gx_buf_view(&out), gx_buf_view(&again)));
	gx_buf_free(&out);
	gx_buf_free(&again);
}

struct change {
	const char *why; /* NULL: it passes */
	struct gx_receipt r;
};

/* What is refused, each next to what is not. */
static void
numbers_add_up(void **state)
{
	(void)state;
	static const unsigned char zeros[GX_HASH];
	struct change c[17];
	size_t n = 0;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		c[i] = (struct change){"receipt.form", good()};
	}
	c[n++].why = NULL;
	c[n++].r.applied = 997;
	c[n++].r.aside = 3;
	c[n].r.applied = 1001; /* the sum wraps */
	c[n++].r.aside = UINT64_MAX;
	c[n++].r.aside_seq = GX_SLICE("[17,3]");
	c[n++].r.aside_seq = GX_SLICE("[3,3]");
	c[n++].r.aside_seq = GX_SLICE("[3,17,20]"); /* more than aside */
	c[n++].r.aside_seq = GX_SLICE("[1001]");
	c[n++].r.aside_seq = GX_SLICE("[0]");
	c[n++].r.aside_seq = GX_SLICE("[3,]");
	c[n++].r.reason = GX_SLICE("batch.root");
	memcpy(c[n++].r.head, zeros, GX_HASH);
	c[n].r.verdict = GX_RECEIPT_HELD;
	c[n++].r.aside_seq = GX_SLICE("[]");
	c[n].why = NULL;
	c[n].r.verdict = GX_RECEIPT_HELD;
	c[n].r.applied = c[n].r.aside = 0;
	c[n++].r.aside_seq = GX_SLICE("[]");
	c[n] = c[n - 1];
	c[n].why = "receipt.form"; /* without a reason */
	c[n++].r.verdict = GX_RECEIPT_REFUSED;
	c[n] = c[n - 1];
	c[n].why = NULL;
	c[n++].r.reason = GX_SLICE("batch.root");
	c[n].r.stream = GX_SLICE("/450100/hrss/social");
	n++;
	assert_int_equal(n, sizeof(c) / sizeof(c[0]));
	struct gx_buf out;
	gx_buf_init(&out, GX_RECEIPT_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *why = sign(hub, &c[i].r, &out);
		if (!c[i].why != !why || (why && strcmp(why, c[i].why) != 0)) {
			fail_msg("case %zu: %s", i, why ? why : "passes");
		}
	}
	gx_buf_free(&out);
}

/* A list of n numbers from 1 in b. */
static void
put_list(struct gx_buf *b, unsigned n)
{
	gx_buf_reset(b);
	for (unsigned i = 1; i <= n; i++) {
		gx_buf_printf(b, "%c%u", i == 1 ? '[' : ',', i);
	}
	gx_buf_putc(b, ']');
}

static void
a_thousand_are_named_and_no_more(void **state)
{
	(void)state;
	struct gx_buf list, out;
	struct gx_receipt r = good();
	size_t at = 0, n = 0;
	uint64_t seq = 0;
	gx_buf_init(&list, GX_RECEIPT_MAX);
	gx_buf_init(&out, GX_RECEIPT_MAX);
	r.seq = r.aside = 2000;
	r.applied = 0;
	put_list(&list, GX_RECEIPT_ASIDE);
	r.aside_seq = gx_buf_view(&list);
	assert_null(sign(hub, &r, &out));
	while (gx_receipt_next(r.aside_seq, &at, &seq)) {
		assert_int_equal(seq, ++n);
	}
	assert_int_equal(n, GX_RECEIPT_ASIDE);
	put_list(&list, GX_RECEIPT_ASIDE + 1);
	r.aside_seq = gx_buf_view(&list);
	assert_string_equal(sign(hub, &r, &out), "receipt.form");
	assert_int_equal(out.n, 0);
	gx_buf_free(&list);
	gx_buf_free(&out);
}

static void
only_the_sink_speaks_for_itself(void **state)
{
	(void)state;
	struct gx_receipt r = good(), back;
	struct gx_keyring *empty = gx_keyring_new();
	struct gx_buf out;
	gx_buf_init(&out, GX_RECEIPT_MAX);
	assert_null(sign(city, &r, &out)); /* the city says it is the hub */
	assert_null(gx_receipt_parse(gx_buf_view(&out), &back));
	assert_int_equal(gx_receipt_check(ring, &back), GX_SEAL_NOT_ALLOWED);
	r.sink = GX_SLICE("450100");
	assert_null(sign(city, &r, &out));
	assert_null(gx_receipt_parse(gx_buf_view(&out), &back));
	assert_int_equal(gx_receipt_check(ring, &back), GX_SEAL_GOOD);
	assert_int_equal(gx_receipt_check(empty, &back), GX_SEAL_UNKNOWN_KEY);
	back.signed_bytes.n--;
	assert_int_equal(gx_receipt_check(ring, &back), GX_SEAL_FORGED);
	gx_keyring_free(&empty);
	gx_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_bytes_are_the_contract),
		cmocka_unit_test(numbers_add_up),
		cmocka_unit_test(a_thousand_are_named_and_no_more),
		cmocka_unit_test(only_the_sink_speaks_for_itself),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
