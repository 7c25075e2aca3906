/*
 * A declaration becomes a source by its "kind": the example of the project
 * does, and whoever made it is told by operations only; another word, no word
 * and no file are refused with what is there.
 */
#include "flow/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct gx_resource *insured;
static char file[] = "/tmp/t_source_kind.XXXXXX";

static const struct gx_resource *
find(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, insured->name) == 0 ? insured : NULL;
}

static enum gx_rc
make(const char *path, struct gx_source **s, struct gx_err *e)
{
	struct gx_source_conf conf = {
		.node = "450100", .path = path, .resource = find};

	return gx_source_new(&conf, s, e);
}

static enum gx_rc
make_of(const char *text, struct gx_source **s, struct gx_err *e)
{
	FILE *f = fopen(file, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return make(file, s, e);
}

/* Run in the folder of the project, as make does. */
static void
the_example_is_made(void **state)
{
	(void)state;
	struct gx_err e = {0};
	struct gx_source *s;

	if (make("conf/adapters/social.json", &s, &e) != GX_OK) {
		fail_msg("%s", e.text);
	}
	assert_string_equal(s->ops->origin(s), "/450100/hrss/social");
	assert_int_equal(s->ops->n_streams(s), insured->n_streams);
	assert_string_equal(s->ops->stream(s, 0),
			    "/450100/hrss/social/social.insured/0");
	assert_ptr_equal(s->ops->resource(s, 0), insured);
	gx_source_free(&s);
	assert_null(s);
	gx_source_free(&s);
}

static void
others_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *code, *says;
	} rows[] = {
		{"{\"kind\": \"pg-cdd\"}", "adapter.declaration",
		 "/kind: no such kind of source; there is \"pg-cdc\""},
		{"{}", "adapter.declaration", "/kind"},
		{"{\"kind\": 1}", "adapter.declaration", "/kind"},
		{"[\"pg-cdc\"]", "adapter.declaration", "/kind"},
		{"{\"kind\": \"pg-cdc\"}", "adapter.declaration", "/name"},
		{"{\"kind\": \"pg-cdc\", \"x\": 1}", "adapter.declaration",
		 "/x: unknown member"},
		{"{,", "json.syntax", "t_source_kind"},
		{"", "json.syntax", "t_source_kind"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct gx_err e = {0};
		struct gx_source *s;

		assert_int_equal(make_of(rows[i].text, &s, &e), GX_REJECT);
		assert_null(s);
		if (strcmp(e.code, rows[i].code) != 0 ||
		    strstr(e.text, rows[i].says) == NULL) {
			fail_msg("row %zu: %s: %s", i, e.code, e.text);
		}
	}
}

static void
files_that_are_none(void **state)
{
	(void)state;
	struct gx_err e = {0};
	struct gx_source *s;

	assert_int_equal(make("/tmp/no/such.json", &s, &e), GX_REJECT);
	assert_string_equal(e.code, "adapter.file");
	assert_non_null(strstr(e.text, "/tmp/no/such.json"));
	assert_int_equal(make("/tmp", &s, &e), GX_REJECT);
	assert_string_equal(e.code, "adapter.file");
	assert_null(s);
}

static int
begin(void **state)
{
	(void)state;
	struct gx_err e = {0};
	int fd = mkstemp(file);

	return fd < 0 || close(fd) != 0 ||
	       gx_resource_load("schemas/resources/social/insured.json",
				&insured, &e) != GX_OK;
}

static int
end(void **state)
{
	(void)state;
	gx_resource_free(&insured);
	return unlink(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_is_made),
		cmocka_unit_test(others_are_refused),
		cmocka_unit_test(files_that_are_none),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
