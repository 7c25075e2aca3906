/*
 * Evidence bundles: what is proved passes, for every record and range; each
 * thing that could be told instead is refused, by its name.  Paths are laid
 * beside those a stranger computes from the definition.  The change of any
 * byte is t_mutate's.
 */
#include "evid.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define STREAM "/450100/hrss/social/social.insured/0"

static struct evid v, other, fork;

static int
setup(void **state)
{
	(void)state;
	evid_open(&v, STREAM, NULL, "a");
	evid_open(&other, "/450100/hrss/social/social.insured/1", &v, "a");
	evid_open(&fork, STREAM, &v, "b"); /* the maker has two histories */
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	evid_close(&v);
	evid_close(&other);
	evid_close(&fork);
	return 0;
}

static const int none[] = {-1, -1, -1};
static const int both[] = {-1, 4, 5};

static void
every_record_can_be_proved(void **state)
{
	(void)state;
	struct gx_bundle b;
	struct gx_buf out;
	gx_buf_init(&out, GX_BUNDLE_MAX);
	for (uint64_t seq = 1; seq <= 56; seq++) {
		evid_bundle(&v, seq, 1, seq > 51 ? none : both, &out);
		assert_null(gx_bundle_check(gx_buf_view(&out), v.ring, &b));
		assert_int_equal(b.first, seq);
		assert_int_equal(b.n_receipts, seq > 51 ? 0 : 2);
	}
	for (uint64_t first = 1; first <= 51; first += 3) {
		evid_bundle(&v, first, 52 - first, both, &out);
		assert_null(gx_bundle_check(gx_buf_view(&out), NULL, &b));
		assert_true(
			gx_slice_eq(b.receipts[0].sink, GX_SLICE("450000")));
	}
	gx_buf_free(&out);
}

/* PATH(m, D[n]) of RFC 9162 2.1.3.1, word for word, over one-byte leaves. */
static void
slow_root(const char *p, size_t n, unsigned char out[GX_SM3])
{
	struct gx_merkle *m = gx_merkle_new();
	gx_merkle_begin(m);
	for (size_t i = 0; i < n; i++) {
		gx_merkle_add(m, gx_slice(p + i, 1));
	}
	gx_merkle_root(m, out);
	gx_merkle_free(&m);
}

static size_t
slow_path(size_t m, const char *p, size_t n, unsigned char (*out)[GX_SM3])
{
	size_t k = 1, at;
	if (n == 1) {
		return 0;
	}
	while (k * 2 < n) {
		k *= 2;
	}
	if (m < k) {
		at = slow_path(m, p, k, out);
		slow_root(p + k, n - k, out[at]);
	} else {
		at = slow_path(m - k, p + k, n - k, out);
		slow_root(p, k, out[at]);
	}
	return at + 1;
}

static void
paths_are_the_rfc(void **state)
{
	(void)state;
	unsigned char want[GX_PATH_MAX][GX_SM3], got[GX_PATH_MAX][GX_SM3];
	char leaves[70], body[140];
	for (size_t i = 0; i < sizeof(leaves); i++) {
		leaves[i] = body[2 * i] = (char)('a' + i % 20);
		body[2 * i + 1] = '\n';
	}
	assert_null(gx_merkle_tree_new(GX_SLICE("")));
	for (size_t n = 1; n <= sizeof(leaves); n++) {
		struct gx_merkle_tree *t =
			gx_merkle_tree_new(gx_slice(body, 2 * n));
		for (size_t i = 0; i < n; i++) {
			size_t k = slow_path(i, leaves, n, want);
			assert_int_equal(gx_merkle_path(t, i, got), k);
			assert_memory_equal(got, want, k * GX_SM3);
		}
		gx_merkle_tree_free(&t);
	}
}

/* Text of a bundle made by hand from parts, given by the hub. */
static const char *
check_parts(struct gx_buf *b, const struct gx_keyring *trust)
{
	struct gx_bundle out;
	evid_give(&v, b);
	return gx_bundle_check(gx_buf_view(b), trust, &out);
}

static struct gx_bundle
claim(uint64_t first, uint64_t n, uint64_t keys, uint64_t headers,
      uint64_t receipts)
{
	return (struct gx_bundle){.stream = GX_SLICE(STREAM),
				  .first = first,
				  .n = n,
				  .n_keys = keys,
				  .n_headers = headers,
				  .n_receipts = receipts};
}

static void
begin(struct gx_buf *b, const struct gx_bundle *what, bool has_nation)
{
	gx_buf_reset(b);
	gx_bundle_put_claim(b, what);
	gx_bundle_put_key(b, GX_SLICE("450000"), v.key[EVID_HUB]);
	gx_bundle_put_key(b, GX_SLICE("450100"), v.key[EVID_CITY]);
	if (has_nation) {
		gx_bundle_put_key(b, GX_SLICE("national"), v.key[EVID_NATION]);
	}
}

static void
batch(struct gx_buf *b, const struct gx_bundle *what, const struct evid *of,
      int i)
{
	assert_true(gx_bundle_put_batch(b, what, &of->head[i],
					gx_buf_view(&of->msg[i])));
}

/* Record 4 stands in batch 2; batches 2 .. last, receipts at the end. */
static void
chain(struct gx_buf *b, const struct gx_bundle *what, int last)
{
	begin(b, what, what->n_keys == 3);
	for (int i = 2; i <= last; i++) {
		batch(b, what, &v, i);
	}
}

static void
a_stranger_is_not_told_more_than_is_true(void **state)
{
	(void)state;
	struct gx_buf b;
	gx_buf_init(&b, GX_BUNDLE_MAX);
	struct gx_bundle c = claim(4, 1, 2, 2, 1);
	chain(&b, &c, 3);
	evid_receipt(&v, EVID_HUB, 3, &b);
	assert_null(check_parts(&b, v.ring)); /* the control */
	chain(&b, &c, 3); /* the receipt is for less than it shows */
	evid_receipt(&v, EVID_HUB, 2, &b);
	assert_string_equal(check_parts(&b, NULL),
			    "headers that no record and no receipt needs");
	chain(&b, &c, 3); /* the other history of the same maker */
	evid_receipt(&fork, EVID_HUB, 3, &b);
	assert_string_equal(check_parts(&b, NULL),
			    "a receipt of another history");
	chain(&b, &c, 3);
	evid_receipt(&other, EVID_HUB, 3, &b);
	assert_string_equal(check_parts(&b, NULL),
			    "a receipt of another stream");
	chain(&b, &c, 2);
	batch(&b, &c, &fork, 3);
	evid_receipt(&fork, EVID_HUB, 3, &b);
	assert_string_equal(check_parts(&b, NULL),
			    "a batch that does not follow");
	c.n_headers = 1;
	chain(&b, &c, 2); /* a receipt from before the record */
	evid_receipt(&v, EVID_HUB, 1, &b);
	assert_string_equal(check_parts(&b, NULL),
			    "a receipt of another history");
	c = claim(4, 8, 2, 2, 1);
	chain(&b, &c, 3); /* records of two batches, a receipt of the first */
	evid_receipt(&v, EVID_HUB, 2, &b);
	assert_string_equal(check_parts(&b, NULL),
			    "a receipt that does not cover the records");
	c = claim(4, 1, 2, 1, 1);
	chain(&b, &c, 2); /* the city speaks for the nation it is not */
	evid_receipt(&v, EVID_NATION, 2, &b);
	assert_string_equal(check_parts(&b, NULL),
			    "the key of a signature is not in the bundle");
	c = claim(4, 1, 3, 1, 0);
	chain(&b, &c, 2);
	assert_string_equal(check_parts(&b, NULL), "a key that signed nothing");
	c = claim(4, 1, 2, 1, 2);
	chain(&b, &c, 2);
	evid_receipt(&v, EVID_HUB, 2, &b);
	evid_receipt(&v, EVID_HUB, 2, &b);
	assert_string_equal(check_parts(&b, NULL), "receipts are not in order");
	gx_buf_free(&b);
}

/* A receipt signed by the hub about the end of batch 2, with this epoch. */
static void
receipt_of(struct gx_buf *b, uint64_t epoch, int batch)
{
	struct gx_buf text;
	struct gx_err e;
	uint64_t end = v.head[batch].first + v.head[batch].n - 1;
	struct gx_receipt r = {.sink = GX_SLICE("450000"),
			       .stream = GX_SLICE(STREAM),
			       .epoch = epoch,
			       .seq = end,
			       .applied = end,
			       .aside_seq = GX_SLICE("[]"),
			       .reason = GX_SLICE(""),
			       .at = GX_SLICE(EVID_AT)};
	memcpy(r.head, v.hash[batch], GX_HASH);
	gx_buf_init(&text, GX_RECEIPT_MAX);
	assert_int_equal(gx_receipt_sign(v.key[EVID_HUB], &r, &text, &e),
			 GX_OK);
	gx_buf_slice(b, gx_buf_view(&text));
	gx_buf_putc(b, '\n');
	gx_buf_free(&text);
}

static void
an_epoch_is_of_its_time(void **state)
{
	(void)state;
	struct gx_buf b;
	gx_buf_init(&b, GX_BUNDLE_MAX);
	struct gx_bundle c = claim(4, 1, 2, 1, 1);
	chain(&b, &c, 2);
	receipt_of(&b, 1800, 2); /* a marker came, and nothing since */
	assert_null(check_parts(&b, NULL));
	chain(&b, &c, 2);
	receipt_of(&b, 1795, 2);
	assert_string_equal(check_parts(&b, NULL),
			    "a receipt of another epoch");
	gx_buf_free(&b);
}

static void
keys_are_trusted_or_named(void **state)
{
	(void)state;
	struct gx_keyring *part = gx_keyring_new();
	struct gx_key *k = NULL;
	struct gx_bundle b;
	struct gx_buf out;
	struct gx_err e;
	gx_buf_init(&out, GX_BUNDLE_MAX);
	evid_bundle(&v, 4, 1, both, &out);
	assert_null(gx_bundle_check(gx_buf_view(&out), NULL, &b));
	assert_int_equal(b.n_keys, 3);
	assert_string_equal(gx_bundle_check(gx_buf_view(&out), part, &b),
			    "a key that is not trusted for its node");
	assert_int_equal(b.line, 2);
	const unsigned char *p = gx_key_point(v.key[EVID_CITY]);
	assert_int_equal(
		gx_key_from_point(gx_slice((const char *)p, GX_POINT), &k, &e),
		GX_OK);
	gx_keyring_add(part, "450000", &k); /* the city's, as the hub's */
	assert_string_equal(gx_bundle_check(gx_buf_view(&out), part, &b),
			    "a key that is not trusted for its node");
	gx_keyring_free(&part);
	gx_buf_free(&out);
}

static void
the_fault_is_found_where_it_is(void **state)
{
	(void)state;
	struct gx_bundle b;
	struct gx_buf out;
	gx_buf_init(&out, GX_BUNDLE_MAX);
	evid_bundle(&v, 4, 2, both, &out);
	size_t line = 0;
	for (size_t i = 0; i < out.n; i++) {
		if (out.p[i] != '\n') {
			continue;
		}
		line++;
		char *p = &out.p[i - 5]; /* a signature's, a path's, .. */
		*p = (char)(*p ^ 1);
		assert_non_null(gx_bundle_check(gx_buf_view(&out), NULL, &b));
		*p = (char)(*p ^ 1);
		/* a wrong path shows at its record */
		assert_in_range(b.line, line, line + 1);
	}
	assert_int_equal(line, 15);
	assert_null(gx_bundle_check(gx_buf_view(&out), NULL, &b));
	gx_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_record_can_be_proved),
		cmocka_unit_test(paths_are_the_rfc),
		cmocka_unit_test(a_stranger_is_not_told_more_than_is_true),
		cmocka_unit_test(an_epoch_is_of_its_time),
		cmocka_unit_test(keys_are_trusted_or_named),
		cmocka_unit_test(the_fault_is_found_where_it_is),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
