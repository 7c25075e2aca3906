/*
 * Fuzz the check of a record, with a declaration that uses most keywords.
 *
 * Our scanner and the tree reader of base/json, which is yajl's, must agree on
 * what is JSON.  A record that conforms has a key and a COPY text for every
 * field, and the fields' bytes lie in the record.  The text of a COPY field
 * holds no raw TAB or LF.
 */
#include "base/json.h"
#include "record/resource.h"

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

#define ITEM(t) "\"x-gx-item\":{\"type\":\"" t "\",\"share\":2,\"level\":1}"

static const char declaration[] =
	"{\"type\":\"object\",\"additionalProperties\":false,"
	"\"required\":[\"k\"],\"x-gx-resource\":{\"name\":\"a.b\","
	"\"version\":1,\"key\":[\"k\"]},"
	"\"properties\":{"
	"\"k\":{\"type\":\"string\",\"maxLength\":200," ITEM(
		"C") "},"
		     "\"d\":{\"type\":[\"string\",\"null\"],\"format\":"
		     "\"date\"," ITEM(
			     "D") "},"
				  "\"t\":{\"type\":\"string\",\"format\":"
				  "\"date-time\"," ITEM(
					  "T") "},"
					       "\"n\":{\"type\":[\"string\","
					       "\"number\"],\"x-gx-item\":{"
					       "\"type\":"
					       "\"N\",\"precision\":9,"
					       "\"scale\":2,\"share\":1,"
					       "\"level\":1}},"
					       "\"i\":{\"type\":\"integer\","
					       "\"multipleOf\":0.5," ITEM(
						       "I") "},"
							    "\"s\":{\"type\":"
							    "\"string\","
							    "\"minLength\":1,"
							    "\"pattern\":"
							    "\"^(a|b)*\\\\s?$"
							    "\"," ITEM(
								    "C") "},"
									 "\"j\""
									 ":{"
									 "\"any"
									 "Of\":"
									 "[{"
									 "\"typ"
									 "e\":"
									 "\"arr"
									 "ay\","
									 "\"uni"
									 "queIt"
									 "ems\""
									 ":true"
									 ","
									 "\"con"
									 "tains"
									 "\":{"
									 "\"con"
									 "st\":"
									 "{\"x"
									 "\":1}"
									 "}},{"
									 "\"typ"
									 "e\":"
									 "\"obj"
									 "ect\""
									 ","
									 "\"pro"
									 "perty"
									 "Names"
									 "\":{"
									 "\"max"
									 "Lengt"
									 "h\":"
									 "3},"
									 "\"pat"
									 "ternP"
									 "roper"
									 "ties"
									 "\":"
									 "{\"^"
									 "x\":{"
									 "\"$"
									 "ref\""
									 ":\"#/"
									 "prope"
									 "rties"
									 "/j\"}"
									 "},"
									 "\"dep"
									 "enden"
									 "tRequ"
									 "ired"
									 "\":"
									 "{\"a"
									 "\":["
									 "\"b\""
									 "]}}],"
									 "\"not"
									 "\":{"
									 "\"con"
									 "st\":"
									 "[]},"
									 "\"if"
									 "\":{"
									 "\"typ"
									 "e\":"
									 "\"arr"
									 "ay\"}"
									 ",\"th"
									 "en\":"
									 "{\"ma"
									 "xItem"
									 "s\":"
									 "4}"
									 "," ITEM(
										 "G") "}}}";

static void
put_fields(const struct gx_resource *r, const struct gx_check *c,
	   struct gx_slice text, struct gx_buf *out)
{
	for (size_t i = 0; i < r->n_fields; i++) {
		struct gx_slice raw = gx_check_field(c, i);
		GX_ASSERT(raw.n == 0 || (raw.p >= text.p &&
					 raw.p + raw.n <= text.p + text.n));
		gx_buf_reset(out);
		GX_ASSERT(gx_resource_copy_value(r, i, raw, out));
		GX_ASSERT(!memchr(gx_buf_str(out), '\n', out->n) &&
			  !memchr(gx_buf_str(out), '\t', out->n));
	}
}

static bool
is_blank(const char *p, const char *end)
{
	while (p < end &&
	       (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
		p++;
	}
	return p == end;
}

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
	static struct gx_resource *r;
	static struct gx_check *c;
	struct gx_slice text = {(const char *)p, n};
	const struct gx_json *tree;
	struct gx_err e = {0};
	struct gx_buf out;
	size_t at;

	if (!r) {
		if (gx_resource_parse(GX_SLICE(declaration), &r, &e) != GX_OK) {
			fprintf(stderr, "%s\n", e.text);
			abort();
		}
		c = gx_check_new(r->schema);
	}
	struct gx_arena *a = gx_arena_new((size_t)64 << 20);
	bool is_json = gx_json_parse(a, text, &tree, &e) == GX_OK;
	/* yajl 2.1 takes a token that is cut short behind the value ("" "x);
	 * ours does not. */
	if (is_json && !is_blank(tree->raw.p + tree->raw.n, text.p + n)) {
		is_json = false;
	}
	GX_ASSERT(is_json == (gx_json_syntax(text, &at) == NULL));
	gx_arena_free(&a);
	gx_buf_init(&out, (size_t)8 << 20);
	if (gx_check_run(c, text)) {
		GX_ASSERT(is_json);
		put_fields(r, c, text, &out);
		gx_buf_reset(&out);
		struct gx_slice k =
			gx_check_field(c, (size_t)gx_schema_field_index(
						  r->schema, GX_SLICE("k")));
		GX_ASSERT(gx_resource_key(r, c, &out) || k.n > 256);
	}
	gx_buf_free(&out);
	return 0;
}
