/*
 * Statements: signed by the very node that speaks, and no byte of one can be
 * another.  Each refusal stands beside the twin that passes.
 */
#include "trust/statement.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD                                                                   \
	"{\"v\":\"gxbus.statement.1\",\"node\":\"450000\",\"scope\":"          \
	"\"450100\",\"day\":\"2026-11-24\",\"at\":"                            \
	"\"2026-11-24T17:00:00.000+08:00\",\"resources\":"
#define STREAM                                                                 \
	"{\"stream\":\"/450100/hrss/social/social.insured/0\","                \
	"\"next_seq\":8,\"head\":\"" HEX64 "\",\"is_stopped\":false}"
#define RESOURCE                                                               \
	"{\"resource\":\"social.insured\",\"count\":7,\"digest\":\"" HEX64     \
	"\",\"held\":1,\"aside\":0,\"streams\":[" STREAM "]}"

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

static enum gx_rc
make(const char *text, struct gx_key *k, struct gx_buf *out, struct gx_err *e)
{
	gx_buf_init(out, 65536);
	gx_buf_puts(out, text);
	return gx_statement_sign(k, out, e);
}

static const char *
check(struct gx_slice text, struct gx_statement *out)
{
	struct gx_arena *a = gx_arena_new(1u << 20);
	const char *why = gx_statement_check(text, ring, a, out);

	gx_arena_free(&a);
	return why;
}

static void
signed_and_read(void **state)
{
	struct gx_statement s;
	struct gx_buf b;
	struct gx_err e = {0};
	struct gx_arena *a = gx_arena_new(1u << 20);

	(void)state;
	assert_int_equal(make(HEAD "[" RESOURCE "]", hub, &b, &e), GX_OK);
	assert_null(gx_statement_check(gx_buf_view(&b), ring, a, &s));
	assert_string_equal(s.node, "450000");
	assert_string_equal(s.scope, "450100");
	assert_string_equal(s.kid, gx_key_id(hub));
	assert_int_equal(s.resources->n, 1);
	gx_arena_free(&a);
	gx_buf_free(&b);
}

/* Every byte, each of its bits; and cut at every byte. */
static void
no_byte_can_change(void **state)
{
	struct gx_statement s;
	struct gx_buf b;
	struct gx_err e = {0};

	(void)state;
	assert_int_equal(make(HEAD "[" RESOURCE "]", hub, &b, &e), GX_OK);
	for (size_t i = 0; i < b.n; i++) {
		for (int bit = 0; bit < 8; bit++) {
			b.p[i] = (char)(b.p[i] ^ 1 << bit);
			assert_non_null(check(gx_buf_view(&b), &s));
			b.p[i] = (char)(b.p[i] ^ 1 << bit);
		}
		assert_non_null(check(gx_slice(b.p, i), &s));
	}
	assert_null(check(gx_buf_view(&b), &s));
	gx_buf_puts(&b, "\n");
	assert_non_null(check(gx_buf_view(&b), &s));
	gx_buf_free(&b);
}

static void
nobody_speaks_for_another(void **state)
{
	struct gx_statement s;
	struct gx_buf b;
	struct gx_err e = {0};
	struct gx_key *stranger = NULL;

	(void)state;
	assert_int_equal(make(HEAD "[]", hub, &b, &e), GX_OK);
	assert_null(check(gx_buf_view(&b), &s));
	gx_buf_free(&b);
	/* A good key, of another node. */
	assert_int_equal(make(HEAD "[]", city, &b, &e), GX_OK);
	assert_non_null(check(gx_buf_view(&b), &s));
	gx_buf_free(&b);
	assert_int_equal(gx_key_random(&stranger, &e), GX_OK);
	assert_int_equal(make(HEAD "[]", stranger, &b, &e), GX_OK);
	assert_non_null(check(gx_buf_view(&b), &s));
	gx_buf_free(&b);
	gx_key_free(&stranger);
}

static void
malformed_is_never_signed(void **state)
{
	static const char *const bad[] = {
		HEAD "{}",
		HEAD "[{\"resource\":\"social.insured\"}]",
		HEAD "[{\"resource\":\"a.b\",\"count\":-1,\"digest\":\"" HEX64
		     "\",\"held\":0,\"aside\":0,\"streams\":[]}]",
		HEAD "[{\"resource\":\"a.b\",\"count\":1,\"digest\":\"" HEX64
		     "\",\"held\":0,\"aside\":0,\"streams\":[{\"stream\":\"x\","
		     "\"next_seq\":1,\"head\":\"" HEX64 "\"}]}]",
		"{\"v\":\"gxbus.receipt.1\",\"node\":\"450000\"",
		HEAD,
	};
	struct gx_err e = {0};
	struct gx_buf b;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(make(bad[i], hub, &b, &e), GX_REJECT);
		assert_string_equal(e.code, "statement.form");
		gx_buf_free(&b);
	}
	/* The twin. */
	assert_int_equal(make(HEAD "[" RESOURCE "," RESOURCE "]", hub, &b, &e),
			 GX_OK);
	gx_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signed_and_read),
		cmocka_unit_test(no_byte_can_change),
		cmocka_unit_test(nobody_speaks_for_another),
		cmocka_unit_test(malformed_is_never_signed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
