/*
 * JSON: what is taken and what is refused, by table; the tree with decoded
 * text and raw bytes; the writer, whose output must read back.
 */
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

struct row {
	const char *text;
	size_t n; /* 0: strlen */
};

static enum gx_rc
parse(struct gx_arena *a, struct gx_slice in, const struct gx_json **out,
      struct gx_err *e)
{
	/* A copy of just this length: a read past the end is seen by ASan. */
	char *copy = gx_arena_dup(a, in.p, in.n);
	char *exact = gx_mem_array(in.n, 1);

	assert_non_null(copy);
	memcpy(exact, copy, in.n);
	enum gx_rc rc = gx_json_parse(a, gx_slice(exact, in.n), out, e);
	gx_mem_free(exact);
	if (rc == GX_OK) {
		rc = gx_json_parse(a, gx_slice(copy, in.n), out, e);
	}
	return rc;
}

static struct gx_slice
text_of(const struct row *r)
{
	return gx_slice(r->text, r->n ? r->n : strlen(r->text));
}

static void
takes(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"0", 0},
		{"-0", 0},
		{"-0.0e-0", 0},
		{"1E400", 0},
		{"123456789012345678901234567890", 0},
		{" \t\r\n[ \t\r\n] \t\r\n", 0},
		{"\"\"", 0},
		{"\"\\u0000\"", 0},
		{"\"\\ud800\"", 0}, /* lone surrogates are legal */
		{"\"\\udc00\\ud800\"", 0},
		{"[\"\\/\\\\\\\"\\b\\f\\n\\r\\t\\u00e9\"]", 0},
		{"\"\x7f\"", 0},
		{"\"\xe2\x80\xa8\"", 0},
		{"{\"a\":1,\"A\":2,\"\":3}", 0},
		{"{\"\\ud800\":1,\"\\ud801\":2}", 0},
		{"true", 0},
		{"null", 0},
		{"[[],{},[[]]]", 0},
	};
	struct gx_arena *a = gx_arena_new((size_t)1 << 20);

	for (size_t i = 0; i < N(rows); i++) {
		struct gx_err e = {0};
		const struct gx_json *j;
		if (parse(a, text_of(&rows[i]), &j, &e) != GX_OK) {
			fail_msg("refused %s: %s", rows[i].text, e.text);
		}
		gx_arena_reset(a);
	}
	gx_arena_free(&a);
}

static void
refuses(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"", 0},
		{" ", 0},
		{"\xef\xbb\xbf{}", 0}, /* BOM */
		{"\f1", 0},
		{"[1,\v2]", 0},
		{"1\0", 2},
		{"\"a\0b\"", 5},
		{"\"\x01\"", 0},
		{"\"a\nb\"", 0},
		{"\"\x80\"", 0},
		{"\"\xc0\x80\"", 0},
		{"\"\xed\xa0\x80\"", 0}, /* a surrogate in bytes */
		{"\"\xf4\x90\x80\x80\"", 0},
		{"\"\xe5\x8d\"", 0},
		{"// c\n1", 0},
		{"/* c */1", 0},
		{"00", 0},
		{"01", 0},
		{"-", 0},
		{"+1", 0},
		{".5", 0},
		{"1.", 0},
		{"1e", 0},
		{"0x1", 0},
		{"NaN", 0},
		{"Infinity", 0},
		{"tru", 0},
		{"True", 0},
		{"[1,]", 0},
		{"[,1]", 0},
		{"[1 2]", 0},
		{"[1", 0},
		{"1]", 0},
		{"{", 0},
		{"{\"a\"}", 0},
		{"{\"a\":}", 0},
		{"{\"a\":1,}", 0},
		{"{a:1}", 0},
		{"{1:1}", 0},
		{"{'a':1}", 0},
		{"1 2", 0},
		{"1\"x", 0},
		{"\"\"\"x1", 0},
		{"{}\"x", 0},
		{"{}{}", 0},
		{"\"", 0},
		{"\"\\", 0},
		{"\"\\\"", 0},
		{"\"\\x\"", 0},
		{"\"\\u12\"", 0},
		{"\"\\u12g4\"", 0},
		{"\"\\ud800\\u12\"", 0},
		{"{\"a\":1,\"a\":1}", 0},
		{"{\"a\":1,\"\\u0061\":1}", 0},
		{"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}", 0},
		{"{\"x\":{\"\":1,\"\":1}}", 0},
		{"{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,"
		 "\"h\":0,\"i\":0,\"j\":0,\"a\":0}",
		 0},
	};
	struct gx_arena *a = gx_arena_new((size_t)1 << 20);

	for (size_t i = 0; i < N(rows); i++) {
		struct gx_err e = {0};
		const struct gx_json *j;
		if (parse(a, text_of(&rows[i]), &j, &e) != GX_REJECT) {
			fail_msg("row %zu: took %s", i, rows[i].text);
		}
		assert_null(j);
		assert_string_equal(e.code, "json.syntax");
		assert_memory_equal(e.text, "byte ", 5);
		gx_arena_reset(a);
	}
	gx_arena_free(&a);
}

/* depth times open, then as many close. */
static enum gx_rc
nest(struct gx_arena *a, size_t depth, char open, char close)
{
	struct gx_err e = {0};
	const struct gx_json *j;
	struct gx_buf b;

	gx_buf_init(&b, (size_t)8 << 20);
	for (size_t i = 0; i < depth; i++) {
		gx_buf_puts(&b, open == '{' ? "{\"a\":" : "[");
	}
	gx_buf_putc(&b, '1');
	for (size_t i = 0; i < depth; i++) {
		gx_buf_putc(&b, close);
	}
	enum gx_rc rc = gx_json_parse(a, gx_buf_view(&b), &j, &e);
	gx_buf_free(&b);
	gx_arena_reset(a);
	return rc;
}

static void
depth(void **state)
{
	(void)state;
	struct gx_arena *a = gx_arena_new((size_t)1 << 20);

	assert_int_equal(nest(a, 64, '[', ']'), GX_OK);
	assert_int_equal(nest(a, 65, '[', ']'), GX_REJECT);
	assert_int_equal(nest(a, 64, '{', '}'), GX_OK);
	assert_int_equal(nest(a, 65, '{', '}'), GX_REJECT);
	assert_int_equal(nest(a, 1000000, '[', ']'), GX_REJECT);
	gx_arena_free(&a);
}

/* No input byte in an error text. */
static void
errors_hold_no_input(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"{\"geheim\":geheim}",
		"{\"geheim\":1,\"geheim\":2}",
		"[\"geheim\" geheim]",
		"\"geheim\\q\"",
		"\"geheim",
	};
	struct gx_arena *a = gx_arena_new((size_t)1 << 20);

	for (size_t i = 0; i < N(rows); i++) {
		struct gx_err e = {0};
		const struct gx_json *j;
		assert_int_equal(
			gx_json_parse(a, gx_slice_str(rows[i]), &j, &e),
			GX_REJECT);
		assert_null(strstr(e.text, "geheim"));
	}
	gx_arena_free(&a);
}

static void
ceiling(void **state)
{
	(void)state;
	struct gx_arena *a = gx_arena_new(4096);
	struct gx_err e = {0};
	const struct gx_json *j;
	struct gx_buf b;

	gx_buf_init(&b, 100000);
	gx_buf_puts(&b, "[0");
	for (int i = 0; i < 1000; i++) {
		gx_buf_puts(&b, ",0");
	}
	gx_buf_puts(&b, "]");
	assert_int_equal(gx_json_parse(a, gx_buf_view(&b), &j, &e), GX_REJECT);
	assert_string_equal(e.code, "mem.full");
	gx_buf_free(&b);
	gx_arena_free(&a);
}

static void
tree(void **state)
{
	(void)state;
	static const char text[] =
		" {\"n\" : -12.50 ,\"s\":\"a\\u0041\\ud83d\\ude00\\ud800z\","
		"\"l\":[ 1, {\"x\":true} ,[]], \"t\":true,\"f\":false,"
		"\"z\":null, \"\\udc00k\":0, \"i\":-9223372036854775808, "
		"\"big\":1e3} ";
	struct gx_arena *a = gx_arena_new((size_t)1 << 20);
	struct gx_err e = {0};
	const struct gx_json *j, *m;

	assert_int_equal(gx_json_parse(a, GX_SLICE(text), &j, &e), GX_OK);
	assert_int_equal(j->type, GX_JSON_OBJECT);
	assert_int_equal(j->n, 9);
	assert_true(j->raw.p == text + 1 && j->raw.n == sizeof(text) - 3);
	m = gx_json_get(j, "n");
	assert_true(gx_slice_eq(m->raw, GX_SLICE("-12.50")));
	assert_true(gx_slice_eq(m->text, m->raw));
	m = gx_json_get(j, "s");
	assert_string_equal(m->text.p, "aA\xf0\x9f\x98\x80\xef\xbf\xbdz");
	assert_int_equal(m->text.n, 10);
	assert_int_equal(m->raw.p[0], '"');
	assert_int_equal(m->raw.p[m->raw.n - 1], '"');
	m = gx_json_get(j, "l");
	assert_int_equal(m->n, 3);
	assert_true(gx_slice_eq(m->raw, GX_SLICE("[ 1, {\"x\":true} ,[]]")));
	assert_true(gx_slice_eq(gx_json_at(m, 0)->raw, GX_SLICE("1")));
	assert_true(
		gx_slice_eq(gx_json_at(m, 1)->raw, GX_SLICE("{\"x\":true}")));
	assert_true(gx_slice_eq(gx_json_at(m, 2)->raw, GX_SLICE("[]")));
	assert_null(gx_json_at(m, 3));
	assert_null(gx_json_at(j, 0));
	assert_null(gx_json_get(m, "n"));
	assert_null(gx_json_get(NULL, "n"));
	assert_non_null(gx_json_get(j, "\xef\xbf\xbdk"));
	assert_true(gx_json_bool(j, "t", false));
	assert_false(gx_json_bool(j, "f", true));
	assert_true(gx_json_bool(j, "z", true));
	assert_true(gx_json_int(j, "i", 0) == INT64_MIN);
	assert_int_equal(gx_json_int(j, "n", 7), 7);
	assert_int_equal(gx_json_int(j, "big", 7), 7);
	assert_int_equal(gx_json_int(j, "none", 7), 7);
	assert_string_equal(gx_json_str(j, "none", "d"), "d");
	assert_string_equal(gx_json_str(j, "n", "d"), "d");
	gx_arena_free(&a);
}

static void
wide_objects(void **state)
{
	(void)state;
	struct gx_arena *a = gx_arena_new((size_t)64 << 20);
	struct gx_err e = {0};
	const struct gx_json *j;
	struct gx_buf b;

	gx_buf_init(&b, (size_t)16 << 20);
	gx_buf_putc(&b, '{');
	for (int i = 0; i < 200000; i++) {
		gx_buf_printf(&b, "\"k%d\":0,", i);
	}
	size_t n = b.n;
	gx_buf_puts(&b, "\"last\":0}");
	assert_int_equal(gx_json_parse(a, gx_buf_view(&b), &j, &e), GX_OK);
	assert_int_equal(j->n, 200001);
	gx_arena_reset(a);
	gx_buf_cut(&b, n);
	gx_buf_puts(&b, "\"k77\":0}");
	assert_int_equal(gx_json_parse(a, gx_buf_view(&b), &j, &e), GX_REJECT);
	gx_buf_free(&b);
	gx_arena_free(&a);
}

static void
writer(void **state)
{
	(void)state;
	struct gx_buf b;
	struct gx_jw w;

	gx_buf_init(&b, 4096);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "s", "a\"\\\n\x01\xff");
	gx_jw_kv_str(&w, "nil", NULL);
	gx_jw_kv_int(&w, "i", INT64_MIN);
	gx_jw_kv_bool(&w, "b", true);
	gx_jw_name(&w, "l");
	gx_jw_begin(&w, '[');
	gx_jw_u64(&w, UINT64_MAX);
	gx_jw_begin(&w, '{');
	gx_jw_end(&w, '}');
	gx_jw_begin(&w, '[');
	gx_jw_end(&w, ']');
	gx_jw_raw(&w, GX_SLICE("[1]"));
	gx_jw_null(&w);
	gx_jw_double(&w, 0.1);
	gx_jw_double(&w, 1e300);
	gx_jw_double(&w, (double)NAN);
	gx_jw_end(&w, ']');
	gx_jw_kv_bool(&w, "after", false);
	gx_jw_end(&w, '}');
	assert_string_equal(
		gx_buf_str(&b),
		"{\"s\":\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\",\"nil\":null,"
		"\"i\":-9223372036854775808,\"b\":true,"
		"\"l\":[18446744073709551615,{},[],[1],null,0.1,1e+300,null],"
		"\"after\":false}");
	gx_buf_free(&b);
}

/* Whatever bytes go in, what comes out is read back, good text unchanged. */
static void
escapes_read_back(void **state)
{
	(void)state;
	struct gx_arena *a = gx_arena_new((size_t)1 << 20);
	uint32_t seed = 1;
	struct gx_buf b;

	gx_buf_init(&b, 65536);
	for (int run = 0; run < 2000; run++) {
		char in[40];
		for (size_t i = 0; i < sizeof(in); i++) {
			seed = seed * 1664525u + 1013904223u;
			unsigned byte = seed >> 24;
			in[i] = (char)(run % 2 ? byte : byte & 0x7f);
		}
		struct gx_err e = {0};
		const struct gx_json *j;
		gx_buf_reset(&b);
		gx_buf_putc(&b, '"');
		assert_true(gx_json_escape(&b, gx_slice(in, sizeof(in))));
		gx_buf_putc(&b, '"');
		assert_int_equal(gx_json_parse(a, gx_buf_view(&b), &j, &e),
				 GX_OK);
		if (run % 2 == 0) {
			assert_true(
				gx_slice_eq(j->text, gx_slice(in, sizeof(in))));
		}
		gx_arena_reset(a);
	}
	gx_buf_free(&b);
	gx_buf_init(&b, 3);
	assert_false(gx_json_escape(&b, GX_SLICE("abcd")));
	gx_buf_free(&b);
	gx_arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes),
		cmocka_unit_test(refuses),
		cmocka_unit_test(depth),
		cmocka_unit_test(errors_hold_no_input),
		cmocka_unit_test(ceiling),
		cmocka_unit_test(tree),
		cmocka_unit_test(wide_objects),
		cmocka_unit_test(writer),
		cmocka_unit_test(escapes_read_back),
	};

	return cmocka_run_group_tests_name("base_json", tests, NULL, NULL);
}
