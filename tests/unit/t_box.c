/*
 * Boxes of the quarantine: SM4-CTR as the standard's example has it; what was
 * sealed is what is opened; and no byte of a box, of its label, or of its key
 * can be another one.
 */
#include "base/text.h"
#include "trust/box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char secret[GX_SECRET] = {1, 2, 3, 4};

/* GB/T 32907 appendix A, example 1: one block; a counter that is the plain
 * text of the example ciphers zeros to its cipher text. */
static void
test_sm4(void **state)
{
	static const unsigned char key[GX_SM4] = {
		0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
		0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
	unsigned char zeros[GX_SM4] = {0}, out[GX_SM4];
	char hex[2 * GX_SM4 + 1];

	(void)state;
	gx_sm4_ctr(key, key, zeros, sizeof zeros, out);
	gx_hex(out, sizeof out, hex);
	assert_string_equal(hex, "681edf34d206965e86b3e94f536e4246");
}

static void
test_round(void **state)
{
	struct gx_box *box = gx_box_new(secret);
	static char text[3000];
	struct gx_buf a, b, out;

	(void)state;
	memset(text, 'x', sizeof text);
	gx_buf_init(&a, 8192);
	gx_buf_init(&b, 8192);
	gx_buf_init(&out, 8192);
	for (size_t n = 0; n <= sizeof text; n = n * 2 + 1) {
		gx_buf_reset(&a);
		gx_buf_reset(&b);
		gx_buf_reset(&out);
		assert_true(
			gx_box_seal(box, GX_SLICE("l"), gx_slice(text, n), &a));
		assert_true(
			gx_box_seal(box, GX_SLICE("l"), gx_slice(text, n), &b));
		assert_int_equal(a.n, n + GX_BOX_EXTRA);
		/* never twice the same, and the text does not shine through */
		assert_memory_not_equal(a.p + 1, b.p + 1, GX_SM4);
		assert_true(n < 8 || memmem(a.p, a.n, text, 8) == NULL);
		assert_true(
			gx_box_open(box, GX_SLICE("l"), gx_buf_view(&a), &out));
		assert_true(gx_slice_eq(gx_buf_view(&out), gx_slice(text, n)));
	}
	gx_buf_free(&a);
	gx_buf_free(&b);
	gx_buf_free(&out);
	gx_box_free(&box);
}

static void
test_tamper(void **state)
{
	static const char plain[] = "{\"aac003\":\"invented\"}";
	unsigned char other[GX_SECRET];
	struct gx_box *box = gx_box_new(secret), *wrong;
	struct gx_slice label = GX_SLICE("original\n/s\n12");
	struct gx_buf a, out;

	(void)state;
	gx_buf_init(&a, 4096);
	gx_buf_init(&out, 4096);
	assert_true(gx_box_seal(box, label, gx_slice_str(plain), &a));
	for (size_t i = 0; i < a.n; i++) {
		for (int bit = 0; bit < 8; bit++) {
			a.p[i] ^= (char)(1 << bit);
			assert_false(
				gx_box_open(box, label, gx_buf_view(&a), &out));
			a.p[i] ^= (char)(1 << bit);
		}
	}
	for (size_t n = 0; n < a.n; n++) {
		assert_false(gx_box_open(box, label, gx_slice(a.p, n), &out));
	}
	/* another row, another column, a byte moved into the label */
	assert_false(gx_box_open(box, GX_SLICE("original\n/s\n13"),
				 gx_buf_view(&a), &out));
	assert_false(gx_box_open(box, GX_SLICE("record\n/s\n12"),
				 gx_buf_view(&a), &out));
	for (size_t i = 0; i < GX_SECRET; i++) {
		memcpy(other, secret, sizeof other);
		other[i] ^= 1;
		wrong = gx_box_new(other);
		assert_false(gx_box_open(wrong, label, gx_buf_view(&a), &out));
		gx_box_free(&wrong);
	}
	assert_int_equal(out.n, 0);
	/* the control: untouched it opens */
	assert_true(gx_box_open(box, label, gx_buf_view(&a), &out));
	assert_string_equal(gx_buf_str(&out), plain);
	gx_buf_free(&a);
	gx_buf_free(&out);
	gx_box_free(&box);
}

static void
test_file(void **state)
{
	char dir[] = "/tmp/t_box.XXXXXX", path[64];
	struct gx_box *box = NULL, *same = NULL;
	struct gx_buf a, out;
	struct gx_err e = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/q.key", dir);
	assert_int_equal(gx_box_load(path, &box, &e), GX_FATAL);
	assert_string_equal(e.code, "key.open");
	assert_int_equal(gx_secret_make(path, &e), GX_OK);
	assert_int_equal(gx_secret_make(path, &e), GX_FATAL); /* never twice */
	assert_int_equal(gx_box_load(path, &box, &e), GX_OK);
	assert_int_equal(gx_box_load(path, &same, &e), GX_OK);
	gx_buf_init(&a, 4096);
	gx_buf_init(&out, 4096);
	assert_true(gx_box_seal(box, GX_SLICE(""), GX_SLICE("abc"), &a));
	assert_true(gx_box_open(same, GX_SLICE(""), gx_buf_view(&a), &out));
	assert_string_equal(gx_buf_str(&out), "abc");
	gx_box_free(&same);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(gx_box_load(path, &same, &e), GX_FATAL);
	assert_string_equal(e.code, "key.mode");
	assert_int_equal(truncate(path, 60), 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(gx_box_load(path, &same, &e), GX_FATAL);
	assert_string_equal(e.code, "key.bad");
	gx_buf_free(&a);
	gx_buf_free(&out);
	gx_box_free(&box);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sm4),
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_tamper),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
