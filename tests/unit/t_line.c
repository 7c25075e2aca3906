/*
 * Line codec.  What is written is read back byte for byte; a cut or any other
 * spelling of the same record is refused.  Only the inside of d is not this
 * parser's: a cut there may pass here and is caught by the schema.
 */
#include "record/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define O "\"o\":\"/450200/hrss/social\""
#define T "\"t\":\"2026-11-24T17:00:00.000+08:00\""

static void
good_lines_come_back(void **state)
{
	static const char *const good[] = {
		"{\"op\":\"u\",\"k\":[\"a\",\"\\\"\\\\\\n\\u001f\"]," T
		",\"d\":{}}",
		"{\"op\":\"u\",\"k\":[\"\"]," T ",\"d\":{\"x\":{\"y\":1}}}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T "}",
		"{\"op\":\"q\",\"k\":[\"\xe4\xb8\xad\"]," T "}",
		"{\"op\":\"s\"," T "}",
		"{\"op\":\"e\"," T "}",
		"{\"op\":\"end\"," T "}",
		"{\"op\":\"u\",\"k\":[\"a\"]," T "," O ",\"d\":{}}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T "," O "}",
		"{\"op\":\"q\",\"k\":[\"a\"]," T "," O "}",
	};
	struct gx_buf b;
	(void)state;
	gx_buf_init(&b, 1000);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct gx_line line;
		assert_null(gx_line_parse(gx_slice_str(good[i]), &line));
		gx_buf_reset(&b);
		assert_true(gx_line_put(&b, &line));
		assert_string_equal(gx_buf_str(&b), good[i]);
		/* what stands inside of d is the schema's to judge */
		size_t end = line.data.n > 2 ? (size_t)(line.data.p - good[i])
					     : strlen(good[i]);
		for (size_t n = 0; n < end; n++) {
			assert_non_null(
				gx_line_parse(gx_slice(good[i], n), &line));
		}
	}
	gx_buf_free(&b);
}

static void
other_forms_are_refused(void **state)
{
	static const char *const bad[] = {
		"{ \"op\":\"d\",\"k\":[\"a\"]," T "}",
		"{\"op\":\"x\",\"k\":[\"a\"]," T "}",
		"{\"op\":\"d\",\"k\":[]," T "}",
		"{\"op\":\"d\",\"k\":[1]," T "}",
		"{\"op\":\"d\",\"k\":[\"a\", \"b\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"\\u0041\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"\\u0000\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"\\u000a\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"\\u001F\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"\\/\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"\xff\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"a\tb\"]," T "}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T ",\"d\":{}}",
		"{\"op\":\"u\",\"k\":[\"a\"]," T "}",
		"{\"op\":\"u\",\"k\":[\"a\"]," T ",\"d\":[]}",
		"{\"op\":\"u\",\"k\":[\"a\"]," T ",\"d\":{}} ",
		"{\"op\":\"u\",\"k\":[\"a\"]," T ",\"d\":{\n}}",
		"{\"op\":\"s\"," T "," O "}",
		"{\"op\":\"d\",\"k\":[\"a\"]," O "," T "}",
		"{\"op\":\"u\",\"k\":[\"a\"]," T ",\"d\":{}," O "}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T "," O "," O "}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T ",\"o\":\"\"}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T ",\"o\":\"/a/b\"}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T ",\"o\":\"/a/b/c/d\"}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T ",\"o\":\"/A/b/c\"}",
		"{\"op\":\"d\",\"k\":[\"a\"]," T ",\"o\":\"/a/b/c\\u0061\"}",
		"{\"op\":\"s\",\"k\":[\"a\"]," T "}",
		"{\"op\":\"s\",\"t\":\"2026-11-24T17:00:00.000+00:00\"}",
		"{\"op\":\"s\",\"t\":\"2026-02-30T17:00:00.000+08:00\"}",
		"{\"op\":\"s\",\"t\":\"2026-11-24 17:00:00.000+08:00\"}",
	};
	struct gx_line line;
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!gx_line_parse(gx_slice_str(bad[i]), &line)) {
			fail_msg("row %zu passed", i);
		}
	}
}

static void
a_full_buffer_keeps_no_half_line(void **state)
{
	struct gx_buf b;
	struct gx_line line;
	(void)state;
	assert_null(gx_line_parse(
		gx_slice_str("{\"op\":\"d\",\"k\":[\"a\"]," T "}"), &line));
	gx_buf_init(&b, 40);
	assert_false(gx_line_put(&b, &line));
	assert_int_equal(b.n, 0);
	gx_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_lines_come_back),
		cmocka_unit_test(other_forms_are_refused),
		cmocka_unit_test(a_full_buffer_keeps_no_half_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
