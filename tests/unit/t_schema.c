/*
 * Schemas and checks: each row is a schema, a value and all faults it has, as
 * "pointer keyword" in order, or none.  Refusals name keyword and pointer.
 * The published suite is run by scenario b10; here stands what is ours.
 */
#include "record/schema.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct gx_schema *
compile(const char *text)
{
	struct gx_schema *s = NULL;
	struct gx_err e = {0};

	if (gx_schema_compile(gx_slice_str(text), &s, &e) != GX_OK) {
		print_error("%s\n%s\n", text, e.text);
	}
	assert_non_null(s);
	return s;
}

/* The faults as one text. */
static void
check_is(const char *schema, const char *value, const char *want)
{
	struct gx_schema *s = compile(schema);
	struct gx_check *c = gx_check_new(s);
	struct gx_buf got;

	gx_buf_init(&got, 65536);
	/* Twice: a workspace that has been used gives the same. */
	for (int round = 0; round < 2; round++) {
		bool good = gx_check_run(c, gx_slice_str(value));
		gx_buf_reset(&got);
		for (size_t i = 0; i < gx_check_n_faults(c); i++) {
			const struct gx_fault *f = gx_check_fault(c, i);
			gx_buf_printf(&got, "%s%.*s %.*s", i ? ", " : "",
				      (int)f->pointer.n, f->pointer.p,
				      (int)f->keyword.n, f->keyword.p);
		}
		assert_string_equal(gx_buf_str(&got), want);
		assert_int_equal(good, !*want);
	}
	gx_buf_free(&got);
	gx_check_free(&c);
	gx_schema_free(&s);
}

static void
all_faults_are_found(void **state)
{
	(void)state;
	check_is("{\"required\":[\"a\",\"b\",\"c/~d\"],\"properties\":{\"a\":"
		 "{\"minLength\":3,\"pattern\":\"^x\",\"type\":\"string\"}}}",
		 "{\"a\":\"y\"}",
		 "/a minLength, /a pattern, /b required, /c~1~0d required");
	check_is("{\"items\":{\"properties\":{\"n\":{\"maximum\":1}}}}",
		 "[{\"n\":1},{\"n\":2},{\"n\":3}]",
		 "/1/n maximum, /2/n maximum");
	check_is("{\"additionalProperties\":false,\"properties\":{\"a\":true},"
		 "\"maxProperties\":2}",
		 "{\"x/y\":1,\"a\":2,\"\\u0078\":3}",
		 "/x~1y additionalProperties, /x additionalProperties, "
		 " maxProperties");
}

static void
branches_tell_what_applies(void **state)
{
	static const char cond[] =
		"{\"if\":{\"properties\":{\"k\":{\"const\":1}}},"
		"\"then\":{\"required\":[\"t\"]},"
		"\"else\":{\"required\":[\"e\"],\"properties\":{\"n\":"
		"{\"minimum\":5}}}}";
	(void)state;
	check_is(cond, "{\"k\":1.0}", "/t required");
	check_is(cond, "{\"k\":2,\"n\":4}", "/n minimum, /e required");
	check_is(cond, "{\"k\":2,\"n\":4,\"e\":0}", "/n minimum");
	check_is(cond, "{\"k\":1,\"n\":4,\"t\":0}", "");
	check_is("{\"dependentSchemas\":{\"a\":{\"properties\":{\"b\":"
		 "{\"type\":\"null\"}}}}}",
		 "{\"b\":1,\"a\":1}", "/b type");
	check_is("{\"dependentSchemas\":{\"a\":{\"properties\":{\"b\":"
		 "{\"type\":\"null\"}}}}}",
		 "{\"b\":1}", "");
	check_is("{\"anyOf\":[{\"type\":\"null\"},{\"minimum\":3,\"not\":"
		 "{\"const\":4}}]}",
		 "4.0", " anyOf");
	check_is("{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":3}]}", "3",
		 " oneOf");
	check_is("{\"contains\":{\"type\":\"string\"},\"maxContains\":1}",
		 "[1,\"a\",\"b\"]", " maxContains");
	check_is("{\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"$ref\":\"#/$defs/"
		 "a\"}],\"$defs\":{\"a\":{\"type\":\"null\"}}}",
		 "1", " type");
}

static void
numbers_are_exact(void **state)
{
	(void)state;
	check_is("{\"multipleOf\":0.01}", "4.35", "");
	check_is("{\"multipleOf\":0.01}", "1e400", "");
	check_is("{\"multipleOf\":0.01}", "4.351", " multipleOf");
	check_is("{\"multipleOf\":0.1}",
		 "100000000000000000000000000000000000000.3", "");
	check_is("{\"maximum\":9007199254740993}", "9007199254740993", "");
	check_is("{\"maximum\":9007199254740993}", "9007199254740994",
		 " maximum");
	check_is("{\"exclusiveMaximum\":1}", "0.99999999999999999999999", "");
	check_is("{\"exclusiveMaximum\":1}", "1.0e0", " exclusiveMaximum");
	check_is("{\"minimum\":-0.5}", "-5e-1", "");
	check_is("{\"minimum\":-0.5}", "-0.50000000000000000001", " minimum");
	check_is("{\"type\":\"integer\"}", "1.50e1", "");
	check_is("{\"type\":\"integer\"}", "1.50", " type");
	check_is("{\"enum\":[1e2]}", "100.0", "");
	check_is("{\"uniqueItems\":true}", "[1,10e-1]", " uniqueItems");
	check_is("{\"const\":{\"a\":[1,{\"b\":null}],\"c\":\"\\u00e9\"}}",
		 "{\"c\":\"\xc3\xa9\",\"a\":[1.0,{\"b\":null}]}", "");
	check_is("{\"const\":{\"a\":[1,2]}}", "{\"a\":[2,1]}", " const");
	check_is("{\"enum\":[\"1\",false]}", "0", " enum");
}

static void
strings_count_code_points(void **state)
{
	(void)state;
	check_is("{\"maxLength\":2,\"minLength\":2}",
		 "\"\xe4\xb8\xad\xf0\xa0\x82\x87\"", "");
	check_is("{\"maxLength\":1}", "\"\\ud840\\udc87\"", "");
	check_is("{\"maxLength\":1}", "\"\\ud840x\"", " maxLength");
	check_is("{\"pattern\":\"^\\\\S+$\"}", "\"a\xc2\xa0z\"", " pattern");
	check_is("{\"pattern\":\"^a$\"}", "\"a\\n\"", " pattern");
	check_is("{\"pattern\":\"^[[:alpha:]+$\"}", "\"b\"", " pattern");
	check_is("{\"pattern\":\"^.$\"}", "\"\\u2028\"", " pattern");
	check_is("{\"pattern\":\"^\\\\d$\"}", "\"\xd9\xa1\"", " pattern");
	check_is("{\"pattern\":\"^\\\\p{L}\\\\v\\\\u{20087}$\"}",
		 "\"\xe9\x9f\xa6\\u000b\xf0\xa0\x82\x87\"", "");
	check_is("{\"not\":{\"pattern\":\"^(a+)+$\"}}",
		 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"",
		 " pattern,  not");
	check_is("{\"pattern\":\"^[0-9A-Z]{2,3}$\"}", "\"A\"", " pattern");
	check_is("{\"pattern\":\"^[0-9A-Z]{2,3}$\"}", "\"A9Z\"", "");
	check_is("{\"pattern\":\"^[0-9A-Z]{2,3}$\"}", "\"A9ZZ\"", " pattern");
}

static void
syntax_is_strict(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"\xef\xbb\xbf{}",
		"{\"a\":1,\"a\":2}",
		"{\"a\":1,\"\\u0061\":2}",
		"[1,]",
		"{,}",
		"01",
		"1.",
		"-",
		"+1",
		"\"\t\"",
		"\"\\x\"",
		"\"\xff\"",
		"\"\xed\xa0\x80\"",
		"\"\xc0\xaf\"",
		"nul",
		"[1] 2",
		"\"a",
		"{\"a\"}",
		"{1:2}",
		"[1\f]",
		"\"\\ud8\"",
		"\"\"\"x1",
		("{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,"
		 "\"h\":1,\"i\":1,\"j\":1,\"a\":1}")};
	static const char *const good[] = {
		"0",	       "-0.0e+5", "\"\\u0000\"",      "\"\\ud800\"",
		"1e999999999", " [ ] ",	  "{\"a\":{\"a\":1}}"};
	char deep[200];
	size_t at;
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_non_null(gx_json_syntax(gx_slice_str(bad[i]), &at));
		assert_true(at <= strlen(bad[i]));
		check_is("true", bad[i], " syntax");
	}
	/* Declared names come twice, too. */
	check_is("{\"properties\":{\"a\":{\"type\":\"integer\"}}}",
		 "{\"a\":1,\"a\":2}", " syntax");
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_null(gx_json_syntax(gx_slice_str(good[i]), &at));
		check_is("true", good[i], "");
	}
	memset(deep, '[', 64);
	memset(deep + 64, ']', 64);
	assert_null(gx_json_syntax(gx_slice(deep, 128), &at));
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	assert_non_null(gx_json_syntax(gx_slice(deep, 130), &at));
	assert_int_equal(at, 64);
}

static void
refusals_name_keyword_and_pointer(void **state)
{
	static const char *const rows[][2] = {
		{"{\"properties\":{\"a\":{\"minLenght\":1}}}",
		 "minLenght at /properties/a: "},
		{"{\"$defs\":{\"a/b\":{\"type\":\"text\"}}}",
		 "type at /$defs/a~1b: "},
		{"{\"unevaluatedProperties\":false}", "unevaluatedProperties"},
		{"{\"$ref\":\"other.json\"}", "$ref at "},
		{"{\"items\":{\"$ref\":\"#/$defs/x\"}}", "$ref at /items: "},
		{"{\"$ref\":\"#/title\",\"title\":\"x\"}", "$ref at "},
		{"{\"$ref\":\"#\"}", "$ref at "},
		{"{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"}]},"
		 "\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
		 "goes round"},
		{"{\"format\":\"hostname\"}", "format at "},
		{"{\"pattern\":\"(\"}", "pattern at "},
		{"{\"pattern\":\"[[:alpha:]]\"}", "pattern at "},
		{"{\"pattern\":\"a++\"}", "pattern at "},
		{"{\"pattern\":\"(?i)a\"}", "pattern at "},
		{"{\"pattern\":\"\\\\Aa\"}", "pattern at "},
		{"{\"pattern\":\"(a)*\\\\1\"}", "pattern at "},
		{"{\"patternProperties\":{\"[\":true}}", "patternProperties"},
		{"{\"minLength\":-1}", "minLength at "},
		{"{\"minLength\":1.5}", "minLength at "},
		{"{\"multipleOf\":0}", "multipleOf at "},
		{"{\"required\":[\"a\",\"a\"]}", "required at "},
		{"{\"type\":[]}", "type at "},
		{"{\"anyOf\":[]}", "anyOf at "},
		{"{\"items\":[true]}", "items at /items: "},
		{"{\"then\":5}", "then at /then: "},
		{"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
		 "$schema at "},
		{"{\"items\":{\"$id\":\"x\"}}", "$id at /items: "},
		{"{\"a\":1", "syntax at "},
		{"7", "a schema is an object"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gx_schema *s = NULL;
		struct gx_err e = {0};
		assert_int_equal(
			gx_schema_compile(gx_slice_str(rows[i][0]), &s, &e),
			GX_REJECT);
		assert_null(s);
		assert_string_equal(e.code, "schema.refused");
		if (!strstr(e.text, rows[i][1])) {
			print_error("%s: %s\n", rows[i][0], e.text);
		}
		assert_non_null(strstr(e.text, rows[i][1]));
	}
}

/* 2^40 rules at one place must be refused, not tried. */
static void
a_bomb_is_refused(void **state)
{
	struct gx_schema *s = NULL;
	struct gx_err e = {0};
	struct gx_buf b;
	(void)state;
	gx_buf_init(&b, 65536);
	gx_buf_puts(&b, "{\"$ref\":\"#/$defs/n0\",\"$defs\":{");
	for (int i = 0; i < 40; i++) {
		gx_buf_printf(&b,
			      "\"n%d\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
			      "n%d\"},{\"$ref\":\"#/$defs/n%d\"}]},",
			      i, i + 1, i + 1);
	}
	gx_buf_puts(&b, "\"n40\":{\"type\":\"null\"}}}");
	assert_int_equal(gx_schema_compile(gx_buf_view(&b), &s, &e), GX_REJECT);
	assert_non_null(strstr(e.text, "too many rules"));
	gx_buf_free(&b);
}

static void
faults_are_kept_up_to_64(void **state)
{
	struct gx_schema *s = compile("{\"items\":false}");
	struct gx_check *c = gx_check_new(s);
	struct gx_buf b;
	(void)state;
	gx_buf_init(&b, 65536);
	gx_buf_puts(&b, "[0");
	for (int i = 0; i < 999; i++) {
		gx_buf_puts(&b, ",1");
	}
	gx_buf_puts(&b, "]");
	assert_false(gx_check_run(c, gx_buf_view(&b)));
	assert_int_equal(gx_check_n_faults(c), 64);
	assert_null(gx_check_fault(c, 64));
	gx_buf_free(&b);
	gx_check_free(&c);
	gx_schema_free(&s);
}

static void
fields_are_handed_on(void **state)
{
	struct gx_schema *s = compile(
		"{\"properties\":{\"b\":{\"type\":\"string\"},\"a\":true,"
		"\"c\":{\"properties\":{\"a\":true}}},\"required\":[\"a\"]}");
	struct gx_check *c = gx_check_new(s);
	(void)state;
	assert_int_equal(gx_schema_n_fields(s), 3);
	assert_int_equal(gx_schema_field_index(s, GX_SLICE("a")), 1);
	assert_int_equal(gx_schema_field_index(s, GX_SLICE("x")), -1);
	assert_true(gx_schema_field_required(s, 1));
	assert_false(gx_schema_field_required(s, 0));
	assert_false(gx_check_run(
		c,
		GX_SLICE("{\"c\": {\"a\":7} ,\"b\":1,\"\\u0061\": [1, 2] }")));
	assert_true(gx_slice_eq(gx_check_field(c, 0), GX_SLICE("1")));
	assert_true(gx_slice_eq(gx_check_field(c, 1), GX_SLICE("[1, 2]")));
	assert_true(gx_slice_eq(gx_check_field(c, 2), GX_SLICE("{\"a\":7}")));
	assert_true(gx_check_run(c, GX_SLICE("{\"a\":null}")));
	assert_int_equal(gx_check_field(c, 0).n, 0);
	gx_check_free(&c);
	gx_schema_free(&s);
}

/* No message and no keyword holds what the record holds; its pointer holds
 * names only. */
static void
no_value_is_echoed(void **state)
{
	struct gx_schema *s =
		compile("{\"properties\":{\"a\":{\"type\":\"null\",\"pattern\""
			":\"^x\",\"maxLength\":1,\"format\":\"uscc\",\"enum\":"
			"[1],\"not\":true}}}");
	struct gx_check *c = gx_check_new(s);
	(void)state;
	assert_false(gx_check_run(c, GX_SLICE("{\"a\":\"GEHEIM7\"}")));
	assert_int_equal(gx_check_n_faults(c), 6);
	for (size_t i = 0; i < gx_check_n_faults(c); i++) {
		const struct gx_fault *f = gx_check_fault(c, i);
		assert_null(memmem(f->message.p, f->message.n, "GEHEIM", 6));
		assert_null(memmem(f->pointer.p, f->pointer.n, "GEHEIM", 6));
	}
	gx_check_free(&c);
	gx_schema_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_faults_are_found),
		cmocka_unit_test(branches_tell_what_applies),
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(strings_count_code_points),
		cmocka_unit_test(syntax_is_strict),
		cmocka_unit_test(refusals_name_keyword_and_pointer),
		cmocka_unit_test(a_bomb_is_refused),
		cmocka_unit_test(faults_are_kept_up_to_64),
		cmocka_unit_test(fields_are_handed_on),
		cmocka_unit_test(no_value_is_echoed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
