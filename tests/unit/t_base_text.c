/*
 * Text: the fault table of UTF-8 against a second, slow reading of RFC 3629,
 * the vectors of RFC 4648, units, and foreign character sets with the byte at
 * which they fail.
 */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void
utf8_faults(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t n, fault;
	} rows[] = {
		{"", 0, 0},
		{"abc", 3, 3},
		{"\0a", 2, 2},
		{"\xc3\xa9", 2, 2},
		{"\xe5\x8d\x97\xe5\xae\x81", 6, 6},
		{"\xf0\xa0\x82\x87", 4, 4},
		{"\xf4\x8f\xbf\xbf", 4, 4},
		{"\xef\xbf\xbf", 3, 3},
		{"a\x80", 2, 1},	    /* stray tail */
		{"\xc0\x80", 2, 0},	    /* overlong NUL */
		{"\xc1\xbf", 2, 0},	    /* overlong */
		{"\xe0\x9f\xbf", 3, 0},	    /* overlong */
		{"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
		{"\xed\xa0\x80", 3, 0},	    /* surrogate */
		{"\xed\xbf\xbf", 3, 0},	    /* surrogate */
		{"\xed\x9f\xbf", 3, 3},	    /* the one before */
		{"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
		{"\xf5\x80\x80\x80", 4, 0},
		{"\xff", 1, 0},
		{"12345678\xe5\x8d", 10, 8}, /* cut */
		{"12345678abc\xc3", 12, 11}, /* cut */
		{"12345678\xe5\x8d\x97"
		 "90123456\xfe",
		 20, 19},
		{"\xe5\x8d"
		 "a",
		 3, 0},
	};

	for (size_t i = 0; i < N(rows); i++) {
		assert_int_equal(gx_utf8_check(rows[i].text, rows[i].n),
				 rows[i].fault);
	}
}

/* Every code point there is: put, check, next; all others are refused. */
static void
utf8_every_character(void **state)
{
	(void)state;

	for (uint32_t cp = 0; cp < 0x110800; cp++) {
		char p[8] = {0};
		uint32_t back;
		size_t n = gx_utf8_put(cp, p);
		bool good = cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff);
		size_t fault = gx_utf8_check(p, n);
		if (fault != (good ? n : 0)) {
			fail_msg("U+%04X", (unsigned)cp);
		}
		if (!good) {
			continue;
		}
		if (gx_utf8_next(p, n, &back) != n || back != cp ||
		    gx_utf8_count(p, n) != 1) {
			fail_msg("U+%04X", (unsigned)cp);
		}
	}
}

/* Every two bytes before a fixed tail, by the ranges of RFC 3629 written out
 * a second time. */
static void
utf8_every_pair(void **state)
{
	(void)state;

	for (int a = 0x80; a < 0x100; a++) {
		for (int b = 0; b < 0x100; b++) {
			char p[] = {(char)a, (char)b, (char)0x80, (char)0x80};
			bool tail = b >= 0x80 && b <= 0xbf;
			bool two = a >= 0xc2 && a <= 0xdf && tail;
			bool three = (a == 0xe0 && b >= 0xa0 && tail) ||
				     (a >= 0xe1 && a <= 0xec && tail) ||
				     (a == 0xed && b >= 0x80 && b <= 0x9f) ||
				     ((a == 0xee || a == 0xef) && tail);
			bool four = (a == 0xf0 && b >= 0x90 && tail) ||
				    (a >= 0xf1 && a <= 0xf3 && tail) ||
				    (a == 0xf4 && b >= 0x80 && b <= 0x8f);
			size_t n = two ? 2 : three ? 3 : 4;
			bool good = gx_utf8_check(p, n) == n;
			if (good != (two || three || four)) {
				fail_msg("%02x %02x", a, b);
			}
		}
	}
}

static void
hex_both_ways(void **state)
{
	(void)state;
	unsigned char all[256], back[256];
	char text[513];

	for (size_t i = 0; i < sizeof(all); i++) {
		all[i] = (unsigned char)i;
	}
	gx_hex(all, sizeof(all), text);
	assert_int_equal(strlen(text), 512);
	assert_memory_equal(text, "000102", 6);
	assert_true(gx_unhex(text, 512, back, 256));
	assert_memory_equal(all, back, 256);
	assert_false(gx_unhex("0A", 2, back, 1));
	assert_false(gx_unhex("0g", 2, back, 1));
	assert_false(gx_unhex("0", 1, back, 1));
	assert_false(gx_unhex("0000", 4, back, 1));
	assert_true(gx_unhex("", 0, back, 0));
}

static void
base64_vectors(void **state)
{
	(void)state;
	/* RFC 4648, section 10. */
	static const char *const rows[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
	};
	static const char *const wrong[] = {
		"Zg=",	"Zg",	  "Zg===", "Zh==",     "Zm9=", "=g==",
		"Z===", "Zm9v\n", "Zm 9",  "Zg==Zm9v", "Zm-v", "====",
	};
	char text[16];
	unsigned char back[8];
	size_t n;

	for (size_t i = 0; i < N(rows); i++) {
		n = strlen(rows[i][0]);
		assert_int_equal(gx_base64(rows[i][0], n, text, sizeof(text)),
				 strlen(rows[i][1]));
		assert_string_equal(text, rows[i][1]);
		size_t back_n;
		assert_true(gx_unbase64(text, strlen(text), back, n, &back_n));
		assert_int_equal(back_n, n);
		assert_memory_equal(back, rows[i][0], n);
		if (n > 0) {
			assert_false(gx_unbase64(text, strlen(text), back,
						 n - 1, &back_n));
		}
	}
	for (size_t i = 0; i < N(wrong); i++) {
		if (gx_unbase64(wrong[i], strlen(wrong[i]), back, sizeof(back),
				&n)) {
			fail_msg("took %s", wrong[i]);
		}
	}
}

static void
numbers(void **state)
{
	(void)state;
	uint64_t v;

	assert_true(gx_parse_u64("0", 1, 0, &v));
	assert_int_equal(v, 0);
	assert_true(gx_parse_u64("18446744073709551615", 20, UINT64_MAX, &v));
	assert_true(v == UINT64_MAX);
	static const char *const wrong[] = {"",
					    "00",
					    "01",
					    "+1",
					    "-1",
					    "1 ",
					    " 1",
					    "1a",
					    "0x1",
					    "18446744073709551616",
					    "99999999999999999999"};
	for (size_t i = 0; i < N(wrong); i++) {
		assert_false(gx_parse_u64(wrong[i], strlen(wrong[i]),
					  UINT64_MAX, &v));
	}
	assert_true(gx_parse_u64("255", 3, 255, &v));
	assert_false(gx_parse_u64("256", 3, 255, &v));
}

static void
units(void **state)
{
	(void)state;
	uint64_t v;

	assert_true(gx_parse_size("10", &v) && v == 10);
	assert_true(gx_parse_size("10k", &v) && v == 10240);
	assert_true(gx_parse_size("4M", &v) && v == 4194304);
	assert_true(gx_parse_size("1G", &v) && v == 1073741824);
	assert_true(gx_parse_duration("250ms", &v) && v == 250);
	assert_true(gx_parse_duration("10s", &v) && v == 10000);
	assert_true(gx_parse_duration("5m", &v) && v == 300000);
	assert_true(gx_parse_duration("1h", &v) && v == 3600000);
	assert_true(gx_parse_duration("0", &v) && v == 0);
	static const char *const sizes[] = {
		"",	"k",	"10K",
		"10 k", "1.5M", "-1k",
		"1T",	"10kk", "18014398509481984k"};
	for (size_t i = 0; i < N(sizes); i++) {
		assert_false(gx_parse_size(sizes[i], &v));
	}
	static const char *const times[] = {
		"",   "10",   "s",   "10 s",
		"1d", "1.5s", "-1s", "9999999999999999999h"};
	for (size_t i = 0; i < N(times); i++) {
		assert_false(gx_parse_duration(times[i], &v));
	}
}

static void
printable(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"", true},
		{"\xe5\x8d\x97 a~", true},
		{"a\nb", false},
		{"a\tb", false},
		{"a\x1b[0m", false},
		{"\x7f", false},
		{"\xc2\x85", false}, /* NEL */
		{"\xc2\xa0", true},
		{"\xe2\x80\xa8", false}, /* line separator */
		{"\xe2\x80\xae", false}, /* right-to-left override */
		{"\xe2\x81\xa6", false}, /* isolate */
		{"\xe2\x80\x94", true},
		{"\xff", false},
	};

	for (size_t i = 0; i < N(rows); i++) {
		if (gx_text_printable(rows[i].text, strlen(rows[i].text)) !=
		    rows[i].good) {
			fail_msg("row %zu", i);
		}
	}
	assert_false(gx_text_printable("a\0b", 3));
}

static void
distances(void **state)
{
	(void)state;
	char far[200];

	assert_int_equal(gx_text_distance("", ""), 0);
	assert_int_equal(gx_text_distance("listen", "listen"), 0);
	assert_int_equal(gx_text_distance("lisen", "listen"), 1);
	assert_int_equal(gx_text_distance("kitten", "sitting"), 3);
	assert_int_equal(gx_text_distance("sitting", "kitten"), 3);
	assert_int_equal(gx_text_distance("", "abc"), 3);
	assert_int_equal(gx_text_distance("abcdefghijkl", ""), 8);
	memset(far, 'x', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_int_equal(gx_text_distance(far, "x"), 8);
	assert_int_equal(gx_text_distance(far, far), 0);
}

/* Decode; returns the offset of the fault or -1. */
static int
decode(const char *charset, const char *in, size_t n, struct gx_buf *out)
{
	struct gx_err e = {0};
	struct gx_iconv *c;
	size_t bad;

	gx_buf_reset(out);
	assert_int_equal(gx_iconv_new(charset, &c, &e), GX_OK);
	enum gx_rc rc = gx_iconv_run(c, gx_slice(in, n), out, &bad, &e);
	gx_iconv_free(&c);
	assert_null(c);
	if (rc == GX_OK) {
		return -1;
	}
	assert_int_equal(rc, GX_REJECT);
	assert_string_equal(e.code, "text.undecodable");
	assert_int_equal(out->n, 0);
	return (int)bad;
}

static void
charsets(void **state)
{
	(void)state;
	static const struct {
		const char *charset, *in;
		size_t n;
		const char *out;
		int fault;
	} rows[] = {
		{"GB18030", "\xc4\xcf\xc4\xfe", 4, "南宁", -1},
		{"GBK", "\xc4\xcf\xc4\xfe", 4, "南宁", -1},
		{"UTF-8", "\xe5\x8d\x97", 3, "南", -1},
		{"GB18030", "\x95\x32\x90\x31", 4, "\xf0\xa0\x82\x87", -1},
		{"GB18030", "ab\xff", 3, "", 2},
		{"GB18030", "ab\xc4", 3, "", 2}, /* cut */
		{"GBK", "a\x81", 2, "", 1},
		{"GB18030", "ab\x81\x30\x81\x30", 6, "", 2},	   /* U+0080 */
		{"GB18030", "\xc4\xcf\x84\x31\xa4\x39", 6, "", 2}, /* U+FFFF */
		{"GB18030",
		 "\x84\x31\x95\x33"
		 "a",
		 5, "a", -1}, /* BOM */
		{"UTF-8",
		 "\xef\xbb\xbf"
		 "a",
		 4, "a", -1},
		{"UTF-8", "a\xc0\x80", 3, "", 1},
		{"UTF-8", "a\xf6\x8c\x8b\x95", 5, "", 1},
		{"GB18030", "a@|$b", 5, "a@|$b", -1},
		{"GB18030", "", 0, "", -1},
	};
	struct gx_buf out;

	gx_buf_init(&out, (size_t)1 << 20);
	for (size_t i = 0; i < N(rows); i++) {
		int fault =
			decode(rows[i].charset, rows[i].in, rows[i].n, &out);
		if (fault != rows[i].fault ||
		    strcmp(gx_buf_str(&out), rows[i].out) != 0) {
			fail_msg("row %zu: fault %d", i, fault);
		}
	}
	gx_buf_free(&out);
}

/* A fault far behind, in text longer than one piece of the converter. */
static void
charset_long(void **state)
{
	(void)state;
	enum { CHARS = 9001 };
	static char in[2 * CHARS + 4];
	struct gx_buf out;

	for (size_t i = 0; i < CHARS; i++) {
		memcpy(in + 2 * i, "\xc4\xcf", 2);
	}
	gx_buf_init(&out, 3 * CHARS);
	assert_int_equal(decode("GB18030", in, 2 * CHARS, &out), -1);
	assert_int_equal(out.n, 3 * CHARS);
	assert_int_equal(gx_utf8_count(out.p, out.n), CHARS);
	/* A mark in the middle is text, wherever the pieces meet. */
	for (size_t at = 2; at < 6000; at += 2) {
		char keep[4];
		memcpy(keep, in + at, 4);
		memcpy(in + at, "\x84\x31\x95\x33", 4);
		assert_int_equal(decode("GB18030", in, 8000, &out), -1);
		assert_int_equal(out.n, 3 * 3999);
		memcpy(in + at, keep, 4);
	}
	for (size_t at = 0; at < 2 * CHARS; at += 1998) {
		char keep[4];
		memcpy(keep, in + at, 4);
		memcpy(in + at, "\x84\x31\xa4\x39", 4);
		assert_int_equal(decode("GB18030", in, 2 * CHARS + 2, &out),
				 at);
		memcpy(in + at, keep, 4);
	}
	gx_buf_free(&out);
}

static void
charset_names(void **state)
{
	(void)state;
	static const char *const wrong[] = {"", "GB18030//IGNORE", "no-such",
					    "UTF-8//TRANSLIT", "a b"};

	for (size_t i = 0; i < N(wrong); i++) {
		struct gx_err e = {0};
		struct gx_iconv *c;
		assert_int_equal(gx_iconv_new(wrong[i], &c, &e), GX_REJECT);
		assert_string_equal(e.code, "text.charset");
		assert_null(c);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8_faults),
		cmocka_unit_test(utf8_every_character),
		cmocka_unit_test(utf8_every_pair),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(numbers),
		cmocka_unit_test(units),
		cmocka_unit_test(printable),
		cmocka_unit_test(distances),
		cmocka_unit_test(charsets),
		cmocka_unit_test(charset_long),
		cmocka_unit_test(charset_names),
	};

	return cmocka_run_group_tests_name("base_text", tests, NULL, NULL);
}
