/*
 * Batch codec: each member in turn takes a wrong form, and the parser names
 * that member.  The message that is not touched passes, before and after.
 * What was signed and whose it is stands in t_trust.
 */
#include "record/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define Z32 "00000000000000000000000000000000"
#define AT "2026-11-24T17:00:00.000+08:00"
#define STREAM "/450100/hrss/social/social.insured/0"
#define OWNER ",\"partition\":0,\"epoch\":7,\"writer\":\"f123456789abcdef\""
#define SEAL                                                                   \
	",\"alg\":\"SM2-SM3\",\"kid\":\"" Z32                                  \
	"\",\"sig\":\"3006020101020101\"}\n"

static const char batch[] = "{\"v\":\"gxbus.batch.1\",\"stream\":\"" STREAM
			    "\"" OWNER ",\"first\":1,\"n\":2,\"at\":\"" AT
			    "\",\"schema\":\"social.insured@1:" Z32 Z32
			    "\",\"src\":{\"cdc\":\"0/1\"},\"prev\":\"" Z32 Z32
			    "\",\"root\":\"" Z32 Z32 "\"" SEAL "one\ntwo\n";
static const char marker[] =
	"{\"v\":\"gxbus.marker.1\",\"origin\":\"/450100/hrss/social\"" OWNER
	",\"streams\":[\"" STREAM "\",\"" STREAM ".1\"],\"at\":\"" AT "\"" SEAL;

/* Parse with the first "from" replaced by "to". */
static const char *
parse_changed(const char *msg, const char *from, const char *to)
{
	struct gx_buf b;
	struct gx_head h;
	const char *p = strstr(msg, from);
	assert_non_null(p);
	gx_buf_init(&b, 8192);
	gx_buf_put(&b, msg, (size_t)(p - msg));
	gx_buf_puts(&b, to);
	assert_true(gx_buf_puts(&b, p + strlen(from)));
	const char *why = gx_head_parse(gx_buf_view(&b), &h);
	gx_buf_free(&b);
	return why;
}

static void
wrong_members_are_named(void **state)
{
	static const struct {
		const char *msg, *from, *to, *why;
	} rows[] = {
		{batch, "batch.1", "batch.2", "version"},
		{batch, "/450100/", "/45_100/", "stream"},
		{batch, "/0\"", "/00\"", "stream"},
		{batch, "partition\":0", "partition\":00", "partition"},
		{batch, "epoch\":7", "epoch\":9007199254740992", "epoch"},
		{batch, "f123", "F123", "writer"},
		{batch, "first\":1", "first\":0", "first"},
		{batch, "\"n\":2", "\"n\":0", "n"},
		{batch, "\"n\":2", "\"n\":100001", "n"},
		{batch, "\"n\":2", "\"n\":3", "lines"},
		{batch, "first\":1", "first\":9007199254740991", "n"},
		{batch, "+08:00", "+00:00", "at"},
		{batch, "insured@1", "insured@01", "schema"},
		{batch, "{\"cdc\":", "{\"cdc\": ", "src"},
		{batch, "\"0/1\"", "[[[[[[[[1]]]]]]]]", "src"},
		{batch, "\"0/1\"", "\"\\x\"", "src"},
		{batch, "prev\":\"0", "prev\":\"g", "prev"},
		{batch, "root\":\"0", "root\":\"", "root"},
		{batch, "SM2-SM3", "none", "alg"},
		{batch, "kid\":\"0", "kid\":\"A", "kid"},
		{batch, "sig\":\"3", "sig\":\"", "sig"},
		{batch, "two\n", "two", "lines"},
		{batch, "two\n", "two\nthree\n", "lines"},
		{marker, "/social\"", "/social/\"", "origin"},
		{marker, "[\"" STREAM "\",", "[", NULL},
		{marker, "[\"/450100", "[\"/450200", "streams"},
		{marker, "\"}\n", "\"}\n\n", "bytes after the marker"},
	};
	struct gx_head h;
	(void)state;
	assert_null(gx_head_parse(gx_slice_str(batch), &h));
	assert_int_equal(h.n, 2);
	assert_null(gx_head_parse(gx_slice_str(marker), &h));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *why =
			parse_changed(rows[i].msg, rows[i].from, rows[i].to);
		if (!rows[i].why ? why != NULL
				 : !why || strcmp(why, rows[i].why) != 0) {
			fail_msg("row %zu: %s", i, why ? why : "passed");
		}
	}
}

static void
headers_come_back(void **state)
{
	static const char *const all[] = {batch, marker};
	struct gx_buf b;
	struct gx_head h;
	(void)state;
	gx_buf_init(&b, 8192);
	for (size_t i = 0; i < 2; i++) {
		assert_null(gx_head_parse(gx_slice_str(all[i]), &h));
		gx_buf_reset(&b);
		assert_true(gx_head_put_unsigned(&b, &h));
		assert_true(gx_slice_eq(gx_buf_view(&b), h.signed_bytes));
		assert_true(gx_head_put_sig(&b, h.sig, h.sig_n));
		gx_buf_slice(&b, h.body);
		assert_string_equal(gx_buf_str(&b), all[i]);
	}
	gx_buf_free(&b);
}

static void
walks(void **state)
{
	struct gx_head h;
	struct gx_slice s;
	size_t at = 0;
	(void)state;
	assert_null(gx_head_parse(gx_slice_str(batch), &h));
	assert_true(gx_body_next(h.body, &at, &s));
	assert_true(gx_slice_eq(s, GX_SLICE("one")));
	assert_true(gx_body_next(h.body, &at, &s));
	assert_true(gx_slice_eq(s, GX_SLICE("two")));
	assert_false(gx_body_next(h.body, &at, &s));
	assert_null(gx_head_parse(gx_slice_str(marker), &h));
	at = 0;
	assert_true(gx_marker_next(h.streams, &at, &s));
	assert_true(gx_slice_eq(s, GX_SLICE(STREAM)));
	assert_true(gx_marker_next(h.streams, &at, &s));
	assert_true(gx_slice_eq(s, GX_SLICE(STREAM ".1")));
	assert_false(gx_marker_next(h.streams, &at, &s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_members_are_named),
		cmocka_unit_test(headers_come_back),
		cmocka_unit_test(walks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
