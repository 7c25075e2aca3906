/*
 * Delivered files as records: what becomes a value, what refuses a row, what
 * refuses the file, and that neither a piece's end nor a fault's neighbour
 * changes anything.  Each refusal has a twin in the same table that passes.
 * tests/scenario/file_corpus.py holds the long list.
 */
#include "record/file_int.h"
#include "record/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* A file and its answer: rows as JSON, "!<line>-<last line>:<column>" of one
 * that is refused, each with a line end; or the code that refuses it whole. */
struct source {
	struct gx_slice rest;
	size_t piece; /* at most so many bytes at a time */
	struct gx_buf out;
	size_t takes; /* rows until take() gives up */
	bool fails;   /* the last bytes cannot be read */
};

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct source *s = ctx;

	if (s->fails && s->rest.n < 2) {
		return -1;
	}
	n = n < s->rest.n ? n : s->rest.n;
	n = n < s->piece ? n : s->piece;
	memcpy(p, s->rest.p, n);
	s->rest = gx_slice(s->rest.p + n, s->rest.n - n);
	return (ptrdiff_t)n;
}

static bool
take(void *ctx, const struct gx_file_row *row)
{
	struct source *s = ctx;

	if (row->reason) {
		gx_buf_printf(&s->out, "!%d-%d:%.*s\n", (int)row->line,
			      (int)row->last_line, (int)row->column.n,
			      row->column.n ? row->column.p : "");
	} else {
		assert_null(gx_json_syntax(row->json, &(size_t){0}));
		gx_buf_slice(&s->out, row->json);
		gx_buf_putc(&s->out, '\n');
	}
	return s->takes-- > 1;
}

static struct gx_file_layout *
compile(const char *json)
{
	struct gx_file_layout *l = NULL;
	struct gx_err e = {0};

	if (gx_file_layout_new(gx_slice_str(json), &l, &e) != GX_OK) {
		print_error("%s\n", e.text);
	}
	assert_non_null(l);
	return l;
}

static void
expect_after(const struct gx_file_layout *l, struct gx_slice text,
	     uint64_t after, const char *want)
{
	static const size_t pieces[] = {SIZE_MAX, 1, 7};

	for (size_t i = 0; i < 3; i++) {
		struct source s = {
			.rest = text, .piece = pieces[i], .takes = SIZE_MAX};
		struct gx_file_in in = {read_some, take, &s, after};
		struct gx_file_count count;
		struct gx_err e = {0};

		gx_buf_init(&s.out, (size_t)64 << 20);
		if (gx_file_read(l, &in, &count, &e) != GX_OK) {
			assert_int_equal(e.rc, GX_REJECT);
			gx_buf_puts(&s.out, e.code);
		}
		assert_string_equal(gx_buf_str(&s.out), want);
		gx_buf_free(&s.out);
	}
}

static void
expect(const struct gx_file_layout *l, const char *text, const char *want)
{
	expect_after(l, gx_slice_str(text), 0, want);
}

#define AB "\"columns\":[\"a\",\"b\"]"
#define QUOTED "{\"format\":\"csv\",\"quote\":\"\\\"\"," AB "}"
#define FUND                                                                   \
	"{\"format\":\"csv\",\"encoding\":\"gbk\",\"delimiter\":\"@|$\","      \
	"\"trailing_delimiter\":true," AB "}"

static void
quoting(void **state)
{
	struct gx_file_layout *l = compile(QUOTED);

	(void)state;
	expect(l, "1,2\r\n\"3\",\"4\"\"\"\n",
	       "{\"a\":\"1\",\"b\":\"2\"}\n{\"a\":\"3\",\"b\":\"4\\\"\"}\n");
	expect(l, "\"1\r\n,2\n\",3\n4\n5,6",
	       "{\"a\":\"1\\r\\n,2\\n\",\"b\":\"3\"}\n!4-4:\n"
	       "{\"a\":\"5\",\"b\":\"6\"}\n");
	expect(l, "1\"x,2\n\"1\"x,2\n5,6\n",
	       "!1-1:a\n!2-2:a\n{\"a\":\"5\",\"b\":\"6\"}\n");
	expect(l, "1,2\n3,\"4\n5,6\n", "{\"a\":\"1\",\"b\":\"2\"}\n!2-3:b\n");
	expect_after(l, GX_SLICE("\xef\xbb\xbf\"1\",\0\n"), 0,
		     "{\"a\":\"1\",\"b\":\"\\u0000\"}\n");
	gx_file_layout_free(&l);
}

static void
separators_within_characters(void **state)
{
	struct gx_file_layout *l = compile(FUND);

	(void)state;
	/* 8140 and 817C are characters whose second bytes are @ and |. */
	expect(l, "\x81@|@|$\x81|$@|$\n", "{\"a\":\"丂|\",\"b\":\"亅$\"}\n");
	expect(l, "\xff@|$1@|$\n\x80@|$1@|$\n1@|$2@|$\n1@|$2\n",
	       "!1-1:a\n!2-2:a\n{\"a\":\"1\",\"b\":\"2\"}\n!4-4:\n");
	gx_file_layout_free(&l);
}

static void
position(void **state)
{
	struct gx_file_layout *l = compile(QUOTED);
	struct gx_slice text = GX_SLICE("1,2\n\"3\n\",4\n5\n6,7\n");

	(void)state;
	expect_after(l, text, 0,
		     "{\"a\":\"1\",\"b\":\"2\"}\n{\"a\":\"3\\n\",\"b\":\"4\"}\n"
		     "!4-4:\n{\"a\":\"6\",\"b\":\"7\"}\n");
	expect_after(l, text, 1,
		     "{\"a\":\"3\\n\",\"b\":\"4\"}\n!4-4:\n"
		     "{\"a\":\"6\",\"b\":\"7\"}\n");
	expect_after(l, text, 3, "!4-4:\n{\"a\":\"6\",\"b\":\"7\"}\n");
	expect_after(l, text, 5, "");
	gx_file_layout_free(&l);
}

#define TOTAL                                                                  \
	"{\"format\":\"csv\",\"header\":true,\"columns\":[\"a\",{\"name\":"    \
	"\"v\",\"type\":\"decimal\"}],\"trailer\":{\"columns\":[{\"equals\":"  \
	"\"T\"},{\"count\":true},{\"sum\":\"v\"}]}}"

static void
totals(void **state)
{
	struct gx_file_layout *l = compile(TOTAL);

	(void)state;
	assert_true(gx_file_is_late(l, GX_SLICE("")));
	expect(l, "a,v\nx,0.1\ny,-0.30\nT,2,-0.2\n",
	       "{\"a\":\"x\",\"v\":\"0.1\"}\n{\"a\":\"y\",\"v\":\"-0.30\"}\n");
	/* Rows were handed over before: whoever publishes reads twice. */
	struct gx_file_in in = {.read = read_some};
	static const char *const texts[][2] = {
		{"a,v\nx,0.1\nT,1,0.1\n", NULL},
		{"a,v\nx,0.1\nT,1,0.1000000000001\n", "file.frame"},
		{"a,v\nx,0.1\nT,1,0.11\n", "file.total"},
		{"a,v\nx,0.1\nT,2,0.1\n", "file.total"},
		{"a,v\nx,z\nT,1,0\n", "file.total"},
		{"a,v\nx,0.1\n", "file.frame"},
		{"a,v\n", "file.frame"},
		{"a,w\nT,0,0\n", "file.header"},
		{"", "file.header"},
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct source s = {.rest = gx_slice_str(texts[i][0]),
				   .piece = 5};
		struct gx_file_count count;
		struct gx_err e = {0};
		in.ctx = &s;
		enum gx_rc rc = gx_file_read(l, &in, &count, &e);
		assert_int_equal(rc, texts[i][1] ? GX_REJECT : GX_OK);
		if (texts[i][1]) {
			assert_string_equal(e.code, texts[i][1]);
		}
	}
	gx_file_layout_free(&l);
}

static void
the_caller_gives_up(void **state)
{
	struct gx_file_layout *l = compile(QUOTED);
	struct source s = {.rest = GX_SLICE("1,2\n3,4\n"), .piece = 1};
	struct gx_file_in in = {read_some, take, &s, 0};
	struct gx_file_count count;
	struct gx_err e = {0};

	(void)state;
	gx_buf_init(&s.out, 4096);
	s.takes = 1;
	assert_int_equal(gx_file_read(l, &in, &count, &e), GX_FATAL);
	assert_string_equal(e.code, "file.read");
	s.rest = GX_SLICE("1,2\n3,4\n");
	s.takes = 9;
	s.fails = true;
	assert_int_equal(gx_file_read(l, &in, &count, &e), GX_FATAL);
	assert_string_equal(e.code, "file.read");
	s.rest = GX_SLICE("1,2\n3,4\n");
	s.takes = 9;
	s.fails = false;
	assert_int_equal(gx_file_read(l, &in, &count, &e), GX_OK);
	assert_int_equal(count.rows, 2);
	gx_buf_free(&s.out);
	gx_file_layout_free(&l);
}

/* A sum is exact to its last unit and says when it has no room. */
static void
sums(void **state)
{
	struct gx_file_sum s = {0};
	struct gx_file_number n;
	struct gx_slice big = GX_SLICE("9999999999999999999999.999999999999");
	int k = 0;

	(void)state;
	assert_true(gx_file_number_read(big, 0, &n));
	while (gx_file_sum_add(&s, &n)) {
		k++;
	}
	assert_in_range(k, 10000, 20000);
	assert_true(gx_file_number_read(GX_SLICE("10000000000000000000000"), 0,
					&n));
	assert_false(gx_file_sum_add(&s, &n));
	memset(&s, 0, sizeof(s));
	for (k = 0; k < 10; k++) {
		assert_true(gx_file_number_read(GX_SLICE("0.1"), 0, &n));
		assert_true(gx_file_sum_add(&s, &n));
	}
	assert_true(gx_file_number_read(GX_SLICE("-1"), 0, &n));
	assert_true(gx_file_sum_add(&s, &n));
	assert_true(s.units == 0);
}

static void
layouts_are_strict(void **state)
{
	static const char *const bad[] = {
		"",
		"{\"format\":\"csv\"}",
		"{\"format\":\"csv\",\"columns\":[\"a\",\"a\"]}",
		"{\"format\":\"csv\",\"Header\":true," AB "}",
		"{\"format\":\"fixed\"," AB "}",
		"{\"format\":\"csv\",\"quote\":\"\"," AB "}",
		"{\"format\":\"csv\",\"trailer\":{\"columns\":[{\"sum\":\"a\"}]"
		"}"
		"," AB "}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gx_file_layout *l = NULL;
		struct gx_err e = {0};
		assert_int_equal(
			gx_file_layout_new(gx_slice_str(bad[i]), &l, &e),
			GX_REJECT);
		assert_null(l);
	}
	struct gx_file_layout *l = compile(QUOTED);
	assert_int_equal(gx_file_n_columns(l), 2);
	assert_string_equal(gx_file_column(l, 1), "b");
	assert_false(gx_file_is_late(l, GX_SLICE("a,")));
	assert_true(gx_file_is_late(l, GX_SLICE("\x1f\x8b")));
	gx_file_layout_free(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quoting),
		cmocka_unit_test(separators_within_characters),
		cmocka_unit_test(position),
		cmocka_unit_test(totals),
		cmocka_unit_test(the_caller_gives_up),
		cmocka_unit_test(sums),
		cmocka_unit_test(layouts_are_strict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
