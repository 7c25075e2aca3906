/*
 * Resources: the declaration of social.insured loads with the columns it
 * asks for; each wrong one is refused with its pointer; and a value passes the
 * check exactly if its column can be given it, which is also what COPY gets.
 */
#include "record/resource.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define HEAD                                                                   \
	"\"type\":\"object\",\"additionalProperties\":false,"                  \
	"\"x-gx-resource\":{\"name\":\"a.b\",\"version\":1,\"key\":[\"k\"]},"  \
	"\"required\":[\"k\"],"
#define KEY                                                                    \
	"\"k\":{\"type\":\"string\",\"x-gx-item\":{\"type\":\"C\","            \
	"\"share\":1,\"level\":1}}"

static struct gx_resource *
parse_with(const char *property, struct gx_err *e)
{
	struct gx_resource *r = NULL;
	struct gx_buf b;

	gx_buf_init(&b, 65536);
	gx_buf_printf(&b, "{" HEAD "\"properties\":{" KEY ",\"v\":%s}}",
		      property);
	enum gx_rc rc = gx_resource_parse(gx_buf_view(&b), &r, e);
	assert_int_equal(rc == GX_OK, r != NULL);
	gx_buf_free(&b);
	return r;
}

static void
insured_loads(void **state)
{
	struct gx_resource *r = NULL;
	struct gx_err e = {0};
	(void)state;
	assert_int_equal(
		gx_resource_load("schemas/resources/social/insured.json", &r,
				 &e),
		GX_OK);
	assert_string_equal(r->name, "social.insured");
	assert_string_equal(r->domain, "social");
	assert_string_equal(r->table, "insured");
	assert_int_equal(r->n_fields, 18);
	assert_int_equal(r->n_keys, 1);
	assert_string_equal(r->fields[r->keys[0]].name, "aac001");
	assert_true(r->fields[0].is_key && r->fields[0].is_required);
	assert_string_equal(r->fields[1].mask, "resident-id");
	assert_string_equal(r->fields[5].pg_type, "date");
	assert_string_equal(r->fields[13].pg_type, "numeric(16,2)");
	assert_string_equal(r->fields[14].pg_type, "integer");
	assert_string_equal(r->fields[17].pg_type, "timestamptz");
	assert_int_equal(r->fields[1].level, 4);
	for (size_t i = 0; i < r->n_fields; i++) {
		assert_true(gx_slice_eq(gx_schema_field(r->schema, i),
					gx_slice_str(r->fields[i].name)));
	}
	gx_resource_free(&r);
	assert_null(r);
	assert_int_equal(gx_resource_load("/nowhere.json", &r, &e), GX_REJECT);
	assert_string_equal(e.code, "resource.refused");
}

#define ITEM(x) "\"x-gx-item\":{" x "\"share\":1,\"level\":1}}"

static void
wrong_ones_are_refused(void **state)
{
	static const char *const rows[][2] = {
		{"{\"type\":\"string\"}", "/properties/v/x-gx-item"},
		{"{\"type\":\"string\"," ITEM("\"type\":\"Q\","), "type is"},
		{"{\"type\":\"string\"," ITEM("\"type\":\"C\",\"x\":1,"),
		 "unknown member"},
		{"{\"type\":\"string\"," ITEM("\"type\":\"D\","),
		 "format date"},
		{"{\"format\":\"date\"," ITEM("\"type\":\"D\","),
		 "format date"},
		{"{\"type\":\"string\"," ITEM("\"type\":\"I\","), "integer"},
		{"{\"type\":\"string\",\"maxLength\":9," ITEM(
			 "\"type\":\"C\",\"length\":8,"),
		 "length"},
		{"{\"type\":\"string\"," ITEM(
			 "\"type\":\"N\",\"precision\":2,\"scale\":3,"),
		 "precision"},
		{"{\"type\":\"strin\"," ITEM("\"type\":\"C\","), "type at"},
	};
	static const char *const whole[][2] = {
		{"{}", "/x-gx-resource"},
		{"{\"x-gx-resource\":{}}", "/type"},
		{"{\"x-gx-resource\":{},\"type\":\"object\"}",
		 "/additionalProperties"},
		{"{" HEAD "\"properties\":{\"z\":{\"type\":\"string\"}}}",
		 "/x-gx-resource/key"},
	};
	(void)state;
	struct gx_err e = {0};
	struct gx_resource *r =
		parse_with("{\"type\":\"string\"," ITEM("\"type\":\"C\","), &e);
	assert_non_null(r); /* the control */
	gx_resource_free(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_null(parse_with(rows[i][0], &e));
		assert_int_equal(e.rc, GX_REJECT);
		if (!strstr(e.text, rows[i][1])) {
			print_error("%s: %s\n", rows[i][0], e.text);
		}
		assert_non_null(strstr(e.text, rows[i][1]));
	}
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		assert_int_equal(
			gx_resource_parse(gx_slice_str(whole[i][0]), &r, &e),
			GX_REJECT);
		assert_non_null(strstr(e.text, whole[i][1]));
	}
}

/* Property, value, what COPY gets; NULL: the record is refused. */
static void
what_passes_can_be_stored(void **state)
{
	static const char num[] =
		"{\"type\":[\"string\",\"number\",\"null\"]," ITEM(
			"\"type\":\"N\",\"precision\":5,\"scale\":2,");
	static const char text[] =
		"{"
		"\"type\":\"string\"," ITEM("\"type\":\"C\",");
	static const char time[] =
		"{\"type\":\"string\",\"format\":\"date-time\"," ITEM(
			"\"type\":\"T\",");
	static const char date[] =
		"{\"type\":\"string\",\"format\":\"date\"," ITEM(
			"\"type\":\"D\",");
	static const char whole[] =
		"{\"type\":\"integer\"," ITEM("\"type\":\"I\",");
	static const char any[] = "{" ITEM("\"type\":\"G\",");
	static const char flag[] =
		"{\"type\":\"boolean\"," ITEM("\"type\":\"L\",");
	static const char *const rows[][3] = {
		{num, "\"123.45\"", "123.45"},
		{num, "123.45", "123.45"},
		{num, "\"999.99\"", "999.99"},
		{num, "\"1000\"", NULL},
		{num, "\"1.234\"", NULL},
		{num, "\"1.230\"", "1.230"},
		{num, "\"01\"", NULL},
		{num, "\"1e2\"", "1e2"},
		{num, "\"NaN\"", NULL},
		{num, "\"\"", NULL},
		{num, "null", "\\N"},
		{text, "\"a\\tb\\\\c\\u000a\\u0001\"", "a\\tb\\\\c\\n\001"},
		{text, "\"\xe4\xb8\xad\\u4e2d\\ud840\\udc87\"",
		 "\xe4\xb8\xad\xe4\xb8\xad\xf0\xa0\x82\x87"},
		{text, "\"\\\\N\"", "\\\\N"},
		{text, "\"\"", ""},
		{text, "\"\\u0000\"", NULL},
		{text, "\"\\ud800\"", NULL},
		{date, "\"2024-02-29\"", "2024-02-29"},
		{date, "\"2023-02-29\"", NULL},
		{date, "\"0000-01-01\"", NULL},
		{date, "\"2024\\u002d02-29\"", "2024-02-29"},
		{time, "\"2026-11-24T17:00:00.000+08:00\"",
		 "2026-11-24T17:00:00.000+08:00"},
		{time, "\"2026-11-24T17:00:00+15:59\"",
		 "2026-11-24T17:00:00+15:59"},
		{time, "\"2026-11-24T17:00:00+16:00\"", NULL},
		{whole, "9223372036854775807", "9223372036854775807"},
		{whole, "9223372036854775808", NULL},
		{whole, "-1.50e1", "-15"},
		{any, "{\"a\":[1,\"\\n\"]}", "{\"a\":[1,\"\\\\n\"]}"},
		{any, "[\"\\u0000\"]", NULL},
		{any, "{\"\\u0000\":1}", NULL},
		{any, "1e99999", NULL},
		{flag, "true", "t"},
	};
	struct gx_buf b, out;
	(void)state;
	gx_buf_init(&b, 65536);
	gx_buf_init(&out, 65536);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gx_err e = {0};
		struct gx_resource *r = parse_with(rows[i][0], &e);
		if (!r) {
			print_error("%s: %s\n", rows[i][0], e.text);
		}
		assert_non_null(r);
		struct gx_check *c = gx_check_new(r->schema);
		gx_buf_reset(&b);
		gx_buf_printf(&b, "{\"k\":\"x\",\"v\":%s}", rows[i][1]);
		bool good = gx_check_run(c, gx_buf_view(&b));
		gx_buf_reset(&out);
		if (good != (rows[i][2] != NULL)) {
			print_error("%s\n", rows[i][1]);
		}
		assert_int_equal(good, rows[i][2] != NULL);
		bool stored = gx_resource_copy_value(r, 1, gx_check_field(c, 1),
						     &out);
		if (good) {
			assert_true(stored);
			assert_string_equal(gx_buf_str(&out), rows[i][2]);
		}
		gx_check_free(&c);
		gx_resource_free(&r);
	}
	gx_buf_free(&b);
	gx_buf_free(&out);
}

static void
keys_are_canonical(void **state)
{
	static const char *const rows[][2] = {
		{"\"\\u0061\\/b\\\"\\n\"", "[\"a/b\\\"\\n\"]"},
		{"\"\xe4\xb8\xad\"", "[\"\xe4\xb8\xad\"]"},
		{"\"\\u0000\"", NULL},
		{"true", NULL},
		{"12.0", "[\"12.0\"]"},
	};
	struct gx_err e = {0};
	struct gx_resource *r =
		parse_with("{\"type\":\"string\"," ITEM("\"type\":\"C\","), &e);
	struct gx_check *c = gx_check_new(r->schema);
	struct gx_buf b, out;
	(void)state;
	gx_buf_init(&b, 65536);
	gx_buf_init(&out, 65536);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		gx_buf_reset(&b);
		gx_buf_reset(&out);
		gx_buf_printf(&b, "{\"k\":%s}", rows[i][0]);
		(void)gx_check_run(c, gx_buf_view(&b));
		bool good = gx_resource_key(r, c, &out);
		assert_int_equal(good, rows[i][1] != NULL);
		assert_string_equal(gx_buf_str(&out), good ? rows[i][1] : "");
	}
	for (int n = 256; n <= 257; n++) {
		gx_buf_reset(&b);
		gx_buf_reset(&out);
		gx_buf_printf(&b, "{\"k\":\"%0*d\"}", n, 7);
		assert_true(gx_check_run(c, gx_buf_view(&b)));
		assert_int_equal(gx_resource_key(r, c, &out), n == 256);
	}
	gx_buf_reset(&out);
	(void)gx_check_run(c, GX_SLICE("{}"));
	assert_false(gx_resource_key(r, c, &out));
	gx_check_free(&c);
	gx_resource_free(&r);
	gx_buf_free(&b);
	gx_buf_free(&out);
}

/* Former texts are named by 64 hex digits in lower case. */
static void
former_texts_are_named(void **state)
{
#define D "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
	static const struct {
		const char *list;
		size_t n; /* 0: refused */
	} rows[] = {{"[\"" D "f\"]", 1}, {"[\"" D "f\",\"" D "0\"]", 2},
		    {"[]", 0},		 {"\"" D "f\"", 0},
		    {"[\"" D "\"]", 0},	 {"[\"" D "F\"]", 0},
		    {"[1]", 0}};
	struct gx_buf b;

	(void)state;
	gx_buf_init(&b, 65536);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct gx_resource *r = NULL;
		struct gx_err e = {0};

		gx_buf_reset(&b);
		gx_buf_printf(&b,
			      "{\"type\":\"object\",\"required\":[\"k\"],"
			      "\"additionalProperties\":false,"
			      "\"x-gx-resource\":{\"name\":\"a.b\","
			      "\"version\":1,\"key\":[\"k\"],\"former\":%s},"
			      "\"properties\":{" KEY "}}",
			      rows[i].list);
		assert_int_equal(gx_resource_parse(gx_buf_view(&b), &r, &e),
				 rows[i].n ? GX_OK : GX_REJECT);
		if (r) {
			assert_int_equal(r->n_former, rows[i].n);
		} else {
			assert_non_null(strstr(e.text, "former"));
		}
		gx_resource_free(&r);
	}
	gx_buf_free(&b);
}

/* Whom a record concerns is said by an item that is there and is text. */
static void
return_names_an_item(void **state)
{
	static const struct {
		const char *text;
		enum gx_return by; /* NONE: refused */
	} rows[] = {{"{\"by\":\"region\",\"item\":\"k\"}", GX_RETURN_REGION},
		    {"{\"by\":\"stream\",\"item\":\"k\"}", GX_RETURN_STREAM},
		    {"{\"by\":\"name\",\"item\":\"k\"}", GX_RETURN_NONE},
		    {"{\"by\":\"region\",\"item\":\"x\"}", GX_RETURN_NONE},
		    {"{\"by\":\"region\"}", GX_RETURN_NONE},
		    {"{\"by\":\"region\",\"item\":\"k\",\"to\":\"x\"}",
		     GX_RETURN_NONE},
		    {"[]", GX_RETURN_NONE}};
	struct gx_buf b;

	(void)state;
	gx_buf_init(&b, 65536);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct gx_resource *r = NULL;
		struct gx_err e = {0};

		gx_buf_reset(&b);
		gx_buf_printf(&b,
			      "{\"type\":\"object\",\"required\":[\"k\"],"
			      "\"additionalProperties\":false,"
			      "\"x-gx-resource\":{\"name\":\"a.b\","
			      "\"version\":1,\"key\":[\"k\"],\"return\":%s},"
			      "\"properties\":{" KEY "}}",
			      rows[i].text);
		assert_int_equal(gx_resource_parse(gx_buf_view(&b), &r, &e),
				 rows[i].by ? GX_OK : GX_REJECT);
		if (r) {
			assert_int_equal(r->return_by, rows[i].by);
			assert_int_equal(r->return_item, 0);
		} else {
			assert_non_null(strstr(e.text, "return"));
		}
		gx_resource_free(&r);
	}
	gx_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(insured_loads),
		cmocka_unit_test(wrong_ones_are_refused),
		cmocka_unit_test(what_passes_can_be_stored),
		cmocka_unit_test(keys_are_canonical),
		cmocka_unit_test(former_texts_are_named),
		cmocka_unit_test(return_names_an_item),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
