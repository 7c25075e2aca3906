/*
 * Source over the outbox, what of it needs no server: positions written, read
 * back, every damaged text refused; which streams a declaration makes.
 */
#include "base/err.h"
#include "flow/src_outbox.h"
#include "record/batch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
there_and_back(void **state)
{
	(void)state;
	static const struct gx_outbox_pos rows[] = {
		{"a", 0, ""},
		{"0123456789abcdef0123456789abcdef", 1, ""},
		{"0123456789abcdef0123456789abcdef"
		 "0123456789abcdef0123456789abcdef",
		 INT64_MAX, "0123456789abcdef"},
	};
	struct gx_buf b;

	gx_buf_init(&b, 1500);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gx_outbox_pos pos;

		gx_buf_reset(&b);
		assert_true(gx_src_outbox_pos_put(&b, &rows[i]));
		assert_true(gx_src_outbox_pos_parse(gx_buf_view(&b), &pos));
		assert_string_equal(pos.incarnation, rows[i].incarnation);
		assert_int_equal(pos.id, rows[i].id);
		assert_string_equal(pos.mark, rows[i].mark);
	}
	gx_buf_free(&b);
}

static void
damaged_is_refused(void **state)
{
	(void)state;
	static const char good[] = "ob:0123abcd:42";
	static const char *const bad[] = {
		"ob:", "ob::1", "ob:a", "ob:a:", "ob:A:1", "ob:a:01", "ob:a:-1",
		"ob:a:1 ", "ob:a b:1", "pg:a:1", "ob:a:1:2", "OB:a:1",
		"ob:a:9223372036854775808", " ob:a:1",
		"ob:a:1:", "ob:a:1:0123456789abcde", "ob:a:1:0123456789ABCDEF",
		"ob:a:1:0123456789abcdef0",
		/* 65 characters of incarnation */
		("ob:01234567890123456789012345678901234567890123456789"
		 "012345678901234:1")};
	struct gx_outbox_pos pos;

	assert_true(gx_src_outbox_pos_parse(gx_slice_str(good), &pos));
	for (size_t n = 0; n < sizeof(good) - 3; n++) { /* "...:4" is one too */
		assert_false(gx_src_outbox_pos_parse(gx_slice(good, n), &pos));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(
			gx_src_outbox_pos_parse(gx_slice_str(bad[i]), &pos));
	}
}

static struct gx_resource *
load_receipt(void)
{
	struct gx_resource *r = NULL;
	struct gx_err e = {0};

	if (gx_resource_load("schemas/resources/gx/receipt.json", &r, &e) !=
	    GX_OK) {
		fail_msg("%s", e.text);
	}
	return r;
}

static void
streams_of_a_declaration(void **state)
{
	(void)state;
	struct gx_resource *r = load_receipt();
	const struct gx_resource *list[] = {r, r};
	struct gx_src_outbox_conf conf = {
		.conninfo = "host=127.0.0.1",
		.origin = "/450100/gx/own",
		.resources = list,
		.n_resources = 1,
	};
	struct gx_source *src = NULL;
	struct gx_stream_name name;
	struct gx_err e = {0};

	assert_int_equal(gx_src_outbox_new(&conf, &src, &e), GX_OK);
	assert_string_equal(src->ops->origin(src), "/450100/gx/own");
	assert_int_equal(src->ops->n_streams(src), 1);
	assert_string_equal(src->ops->stream(src, 0),
			    "/450100/gx/own/gx.receipt/0");
	assert_ptr_equal(src->ops->resource(src, 0), r);
	assert_true(
		gx_stream_parse(gx_slice_str(src->ops->stream(src, 0)), &name));
	gx_source_free(&src);
	assert_null(src);

	conf.n_resources = 2; /* the same one twice */
	assert_int_equal(gx_src_outbox_new(&conf, &src, &e), GX_REJECT);
	assert_string_equal(e.code, "outbox.streams");
	assert_null(src);
	conf.n_resources = 0;
	assert_int_equal(gx_src_outbox_new(&conf, &src, &e), GX_REJECT);
	assert_string_equal(e.code, "outbox.streams");
	conf.n_resources = 1;
	conf.origin = "not/an/origin";
	assert_int_equal(gx_src_outbox_new(&conf, &src, &e), GX_REJECT);
	assert_string_equal(e.code, "outbox.streams");
	gx_resource_free(&r);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(damaged_is_refused),
		cmocka_unit_test(streams_of_a_declaration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
