/*
 * XML as records: what becomes a value, what refuses one record, what refuses
 * the document, and that neither a piece's end nor a fault's neighbour changes
 * anything.  Each refusal has a twin in the same table that passes.
 */
#include "record/schema.h"
#include "record/xml_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A document, its answer: rows as JSON, "!<record>:<line>:<field>" of one that
 * is refused, each with a line end; or the code that refuses it whole. */
struct source {
	struct gx_slice rest;
	size_t piece; /* at most so many bytes at a time */
	struct gx_buf out;
	bool fails;
};

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct source *s = ctx;

	if (s->fails && s->rest.n < 10) {
		return -1;
	}
	n = n < s->rest.n ? n : s->rest.n;
	n = n < s->piece ? n : s->piece;
	memcpy(p, s->rest.p, n);
	s->rest = gx_slice(s->rest.p + n, s->rest.n - n);
	return (ptrdiff_t)n;
}

static bool
take(void *ctx, const struct gx_xml_row *row)
{
	struct source *s = ctx;

	if (row->reason) {
		gx_buf_printf(&s->out, "!%d:%d:%.*s\n", (int)row->number,
			      (int)row->line, (int)row->field.n,
			      row->field.n ? row->field.p : "");
	} else {
		assert_null(gx_json_syntax(row->json, &(size_t){0}));
		gx_buf_slice(&s->out, row->json);
		gx_buf_putc(&s->out, '\n');
	}
	return true;
}

static struct gx_xml_map *
compile(const char *json)
{
	struct gx_xml_map *map = NULL;
	struct gx_err e = {0};

	if (gx_xml_map_new(gx_slice_str(json), &map, &e) != GX_OK) {
		print_error("%s\n", e.text);
	}
	assert_non_null(map);
	return map;
}

static void
answer(const struct gx_xml_map *map, const struct gx_xml_xsd *xsd,
       struct gx_slice doc, size_t piece, struct gx_buf *out)
{
	struct source s = {.rest = doc, .piece = piece};
	struct gx_xml_in in = {.read = read_some, .take = take, .ctx = &s};
	struct gx_xml_count count;
	struct gx_err e = {0};

	gx_buf_init(&s.out, (size_t)64 << 20);
	enum gx_rc rc = gx_xml_read(map, xsd, &in, &count, &e);
	if (rc != GX_OK) {
		assert_int_equal(rc, GX_REJECT);
		assert_non_null(strstr(e.text, "line "));
		gx_buf_reset(&s.out);
		gx_buf_puts(&s.out, e.code);
	}
	*out = s.out;
}

static void
expect(const struct gx_xml_map *map, const struct gx_xml_xsd *xsd,
       struct gx_slice doc, const char *want)
{
	static const size_t pieces[] = {SIZE_MAX, 1, 7};

	for (size_t i = 0; i < 3; i++) {
		struct gx_buf out;
		answer(map, xsd, doc, pieces[i], &out);
		if (strcmp(gx_buf_str(&out), want) != 0) {
			print_error("of %.*s\n", (int)doc.n, doc.p);
		}
		assert_string_equal(gx_buf_str(&out), want);
		gx_buf_free(&out);
	}
}

#define MAP                                                                    \
	"{\"record\":\"/a/r\",\"fields\":["                                    \
	"{\"name\":\"t\",\"path\":\"x\"},"                                     \
	"{\"name\":\"n\",\"path\":\"y/@k\"},"                                  \
	"{\"name\":\"l\",\"path\":\"z/w\",\"array\":true},"                    \
	"{\"name\":\"i\",\"path\":\"@i\",\"type\":\"integer\"},"               \
	"{\"name\":\"d\",\"path\":\"d\",\"type\":\"decimal\"},"                \
	"{\"name\":\"b\",\"path\":\"b\",\"type\":\"boolean\"}]}"

struct pair {
	const char *doc, *want;
};

static void
expect_all(const char *json, const struct pair *p, size_t n)
{
	struct gx_xml_map *map = compile(json);

	for (size_t i = 0; i < n; i++) {
		expect(map, NULL, gx_slice_str(p[i].doc), p[i].want);
	}
	gx_xml_map_free(&map);
}
#define EXPECT(json, pairs)                                                    \
	expect_all(json, pairs, sizeof(pairs) / sizeof((pairs)[0]))

static void
values(void **state)
{
	static const struct pair pairs[] = {
		{"<a><r><x>1</x></r></a>", "{\"t\":\"1\"}\n"},
		{"<a><r><x> 1\n</x></r></a>", "{\"t\":\" 1\\n\"}\n"},
		{"<a><r><x>1\r\n2\r3</x></r></a>", "{\"t\":\"1\\n2\\n3\"}\n"},
		{"<a><r><x/></r></a>", "{\"t\":\"\"}\n"},
		{"<a><r/></a>", "{}\n"},
		{"<a/>", ""},
		{"<b><r><x>1</x></r></b>", ""},
		{"<a><b><r><x>1</x></r></b></a>", ""},
		{"<a><r><x>1</x><x2>3</x2></r></a>", "{\"t\":\"1\"}\n"},
		{"<a><r><q><x>1</x></q></r></a>", "{}\n"},
		{"<a><r><x>1<q>2<q>3</q></q>4</x></r></a>",
		 "{\"t\":\"1234\"}\n"},
		{"<a><r><y k='v'/></r></a>", "{\"n\":\"v\"}\n"},
		{"<a><r><y k=''/></r></a>", "{\"n\":\"\"}\n"},
		{"<a><r><y k='1\n2\t3'/></r></a>", "{\"n\":\"1 2 3\"}\n"},
		{"<a><r><z><w>1</w><w/></z><z><w>3</w></z></r></a>",
		 "{\"l\":[\"1\",\"\",\"3\"]}\n"},
		{"<a><r><x>1</x></r><r><x>2</x></r></a>",
		 "{\"t\":\"1\"}\n{\"t\":\"2\"}\n"},
		{"<a><r><x>\"\\\x7f</x></r></a>", "{\"t\":\"\\\"\\\\\x7f\"}\n"},
	};

	(void)state;
	EXPECT(MAP, pairs);
}

static void
references(void **state)
{
	static const struct pair pairs[] = {
		{"<a><r><x>&lt;&gt;&amp;&apos;&quot;</x></r></a>",
		 "{\"t\":\"<>&'\\\"\"}\n"},
		{"<a><r><x>&#65;&#x4e2d;&#x20087;&#38;lt;</x></r></a>",
		 "{\"t\":\"A中\xf0\xa0\x82\x87&lt;\"}\n"},
		{"<a><r><y k='&amp;&#38;&lt;&#38;#38;&amp;amp;&#10;'/></r></a>",
		 "{\"n\":\"&&<&#38;&amp;\\n\"}\n"},
		{"<a><r><x>1<![CDATA[<&]] >]]>2</x></r></a>",
		 "{\"t\":\"1<&]] >2\"}\n"},
		{"<a><r><x>1<!-- < & -->2<?p < & ?>3</x></r></a>",
		 "{\"t\":\"123\"}\n"},
		{"<a><r><x>&nbsp;</x></r></a>", "xml.document"},
		{"<a><r><y k='&e;'/></r></a>", "xml.document"},
		{"<a><r><x>&#0;</x></r></a>", "xml.document"},
		{"<a><r><x>&#xFFFE;</x></r></a>", "xml.document"},
		{"<a><r><x>&#xD800;</x></r></a>", "xml.document"},
	};

	(void)state;
	EXPECT(MAP, pairs);
}

static void
types(void **state)
{
	static const struct pair pairs[] = {
		{"<a><r i='007'/></a>", "{\"i\":7}\n"},
		{"<a><r i=' -0 '/></a>", "{\"i\":0}\n"},
		{"<a><r i='-12'/></a>", "{\"i\":-12}\n"},
		{"<a><r i='123456789012345678901234567890'/></a>",
		 "{\"i\":123456789012345678901234567890}\n"},
		{"<a><r i='1.0'/></a>", "!1:1:i\n"},
		{"<a><r i=''/></a>", "!1:1:i\n"},
		{"<a><r i='-'/></a>", "!1:1:i\n"},
		{"<a><r i='1e3'/></a>", "!1:1:i\n"},
		{"<a><r><d> 01.50\n</d></r></a>", "{\"d\":\"01.50\"}\n"},
		{"<a><r><d>.5</d></r></a>", "{\"d\":\".5\"}\n"},
		{"<a><r><d>-5.</d></r></a>", "{\"d\":\"-5.\"}\n"},
		{"<a><r><d>.</d></r></a>", "!1:1:d\n"},
		{"<a><r><d>1,5</d></r></a>", "!1:1:d\n"},
		{"<a><r><d>1.5.</d></r></a>", "!1:1:d\n"},
		{"<a><r><b>1</b></r><r><b>false</b></r></a>",
		 "{\"b\":true}\n{\"b\":false}\n"},
		{"<a><r><b>yes</b></r></a>", "!1:1:b\n"},
	};

	(void)state;
	EXPECT(MAP, pairs);
}

static void
one_record_is_refused(void **state)
{
	static const struct pair pairs[] = {
		{"<a><r><x>1</x></r>\n<r><x>1</x>\n<x>2</x></r>\n"
		 "<r><x>3</x></r></a>",
		 "{\"t\":\"1\"}\n!2:3:t\n{\"t\":\"3\"}\n"},
		{"<a><r><x>1</x><x/></r><r/></a>", "!1:1:t\n{}\n"},
		{"<a><r><y k='1'/><y/></r></a>", "{\"n\":\"1\"}\n"},
		{"<a><r><y k='1'/><y k='2'/></r></a>", "!1:1:n\n"},
	};
	static const struct pair wanted[] = {
		{"<a><r><x>1</x></r><r/><r><x>3</x></r></a>",
		 "{\"t\":\"1\"}\n!2:1:t\n{\"t\":\"3\"}\n"},
		{"<a><r><x/></r></a>", "{\"t\":\"\"}\n"},
	};

	(void)state;
	EXPECT(MAP, pairs);
	EXPECT("{\"record\":\"/a/r\",\"fields\":[{\"name\":\"t\",\"path\":"
	       "\"x\",\"required\":true}]}",
	       wanted);
}

static void
nil_is_missing(void **state)
{
#define NIL "<a xmlns:i='http://www.w3.org/2001/XMLSchema-instance'>"
	static const struct pair pairs[] = {
		{NIL "<r><x i:nil='true'/></r></a>", "{}\n"},
		{NIL "<r><x i:nil=' 1 '></x></r></a>", "{}\n"},
		{NIL "<r><x i:nil='false'/></r></a>", "{\"t\":\"\"}\n"},
		{NIL "<r><x i:nil='true'>1</x></r></a>", "!1:1:t\n"},
		{NIL "<r><x i:nil='true'><q/></x></r></a>", "!1:1:t\n"},
		{"<a><r><x nil='true'/></r></a>", "{\"t\":\"\"}\n"},
	};

	(void)state;
	EXPECT(MAP, pairs);
}

static void
own_text_and_overlaps(void **state)
{
	static const struct pair pairs[] = {
		{"<r>1</r>", "{\"all\":\"1\"}\n"},
		{"<r k='5'>1<x k='6'>2</x>3</r>",
		 "{\"all\":\"123\",\"x\":\"2\",\"again\":\"2\",\"k\":\"5\","
		 "\"xk\":\"6\"}\n"},
		{"<r> <x> \xe3\x80\x80</x> </r>",
		 "{\"all\":\"  \xe3\x80\x80 \",\"x\":\" \xe3\x80\x80\","
		 "\"again\":\"\"}\n"},
	};

	(void)state;
	EXPECT("{\"record\":\"/r\",\"fields\":[{\"name\":\"all\",\"path\":"
	       "\".\"},{\"name\":\"x\",\"path\":\"x\"},{\"name\":\"again\","
	       "\"path\":\"./x\",\"trim\":true},{\"name\":\"k\",\"path\":"
	       "\"./@k\"},{\"name\":\"xk\",\"path\":\"x/@k\"}]}",
	       pairs);
}

static void
namespaces(void **state)
{
	static const char json[] =
		"{\"record\":\"/p:a/p:r\",\"namespaces\":{\"p\":\"urn:1\","
		"\"q\":\"urn:2\"},\"fields\":[{\"name\":\"t\",\"path\":"
		"\"p:x\"},{\"name\":\"k\",\"path\":\"@k\"},{\"name\":\"qk\","
		"\"path\":\"@q:k\"},{\"name\":\"u\",\"path\":\"x\"}]}";
	static const struct pair pairs[] = {
		{"<a xmlns='urn:1'><r><x>1</x></r></a>", "{\"t\":\"1\"}\n"},
		{"<z:a xmlns:z='urn:1'><z:r><z:x>1</z:x></z:r></z:a>",
		 "{\"t\":\"1\"}\n"},
		{"<a xmlns='urn:1'><r k='1' xmlns:o='urn:2' o:k='2'/></a>",
		 "{\"k\":\"1\",\"qk\":\"2\"}\n"},
		{"<a xmlns='urn:1'><r><x xmlns=''>1</x></r></a>",
		 "{\"u\":\"1\"}\n"},
		{"<a xmlns='urn:2'><r><x>1</x></r></a>", ""},
		{"<a><r><x>1</x></r></a>", ""},
		{"<p:a><p:r/></p:a>", "xml.document"},
		{"<a xmlns:p=''/>", "xml.document"},
		{"<a xmlns:p='u' xmlns:q='u' p:k='' q:k=''/>", "xml.document"},
		{"<a xmlns='relative'/>", ""},
		{"<a xmlns='http://x/中'/>", ""},
		{"<a:b:c xmlns:a='urn:1'/>", "xml.document"},
	};
	static const struct pair plain[] = {
		{"<a xmlns='urn:1'><r><x>1</x></r></a>", "{\"t\":\"1\"}\n"},
		{"<a><r><x>1</x></r></a>", ""},
	};

	(void)state;
	EXPECT(json, pairs);
	EXPECT("{\"record\":\"/a/r\",\"namespaces\":{\"\":\"urn:1\"},"
	       "\"fields\":[{\"name\":\"t\",\"path\":\"x\"}]}",
	       plain);
}

static void
documents_are_refused(void **state)
{
	static const struct pair pairs[] = {
		{"", "xml.document"},
		{" <?xml version='1.0'?><a/>", "xml.document"},
		{"<?xml version='1.1'?><a/>", "xml.document"},
		{"<?xml version='1.0'?><a/>", ""},
		{"<a><r><x>1</x></r>", "xml.document"},
		{"<a><r><x>1</x></r></a><a/>", "xml.document"},
		{"<a><r><x>1</x></r></a>x", "xml.document"},
		{"<a><r><x>1</x></r></a> <!-- --> <?p?> ", "{\"t\":\"1\"}\n"},
		{"<a><r><x>1</y></r></a>", "xml.document"},
		{"<a><r k='1' k='2'/></a>", "xml.document"},
		{"<a><r k=1/></a>", "xml.document"},
		{"<a><r><x>]]></x></r></a>", "xml.document"},
		{"<a><r><x>\x01</x></r></a>", "xml.document"},
		{"<a><r><x>\xff</x></r></a>", "xml.document"},
		{"<a><r><x>\xed\xa0\x80</x></r></a>", "xml.document"},
		{"<a><r/></a><!-- -- -->", "xml.document"},
		{"<!DOCTYPE a><a/>", "xml.dtd"},
		{"<!DOCTYPE a [<!ENTITY e 'x'>]><a><r><x>&e;</x></r></a>",
		 "xml.dtd"},
		{"<!DOCTYPE a SYSTEM 'file:///etc/hostname'><a/>", "xml.dtd"},
		{"<a><r><x>1</x></r></a><!DOCTYPE a>", "xml.dtd"},
		{"<!-- <!DOCTYPE a> --><a><r><x><![CDATA[<!DOCTYPE a>]]></x>"
		 "</r></a>",
		 "{\"t\":\"<!DOCTYPE a>\"}\n"},
	};

	(void)state;
	EXPECT(MAP, pairs);
}

/* s again and again, between two others. */
static struct gx_buf
repeat(const char *before, const char *s, size_t n, const char *after)
{
	struct gx_buf b;

	gx_buf_init(&b, (size_t)64 << 20);
	gx_buf_puts(&b, before);
	for (size_t i = 0; i < n; i++) {
		if (strchr(s, '%')) {
			gx_buf_printf(&b, " k%zu=''", i);
		} else {
			gx_buf_puts(&b, s);
		}
	}
	gx_buf_puts(&b, after);
	assert_false(b.failed);
	return b;
}

static void
expect_repeat(const char *before, const char *s, size_t n, const char *after,
	      const char *want)
{
	struct gx_xml_map *map = compile(MAP);
	struct gx_buf b = repeat(before, s, n, after), out;

	answer(map, NULL, gx_buf_view(&b), SIZE_MAX, &out);
	if (*want == '{') {
		assert_memory_equal(gx_buf_str(&out), want, strlen(want));
	} else {
		assert_string_equal(gx_buf_str(&out), want);
	}
	gx_buf_free(&out);
	gx_buf_free(&b);
	gx_xml_map_free(&map);
}

static void
limits(void **state)
{
	static const size_t mib = (size_t)1 << 20;

	(void)state;
	expect_repeat("<a><r><x>", "x", mib, "</x></r></a>", "{\"t\":\"xxx");
	expect_repeat("<a><r><x>", "x", mib + 1, "</x></r><r/></a>",
		      "!1:1:t\n{}\n");
	expect_repeat("<a><r><q>", "x", 12 * mib, "</q></r></a>", "{}\n");
	expect_repeat("<a><r><x>", "x", 5 * mib, "</x></r><r/></a>",
		      "!1:1:\n{}\n");
	expect_repeat("<a><r><z>", "<w/>", 65536, "</z></r><r/></a>",
		      "{\"l\":[");
	expect_repeat("<a><r><z>", "<w/>", 65537, "</z></r><r/></a>",
		      "!1:1:l\n{}\n");
	expect_repeat("<a><r", " %", 256, "/></a>", "{}\n");
	expect_repeat("<a><r", " %", 257, "/></a>", "xml.document");
	expect_repeat("<a><r k='", "x", 65000, "'/></a>", "{}\n");
	expect_repeat("<a><r k='", "x", 65536, "'/></a>", "xml.document");
	expect_repeat("<a><r", " ", 65000, "/></a>", "{}\n");
	expect_repeat("<a><r", " ", 65536, "/></a>", "xml.document");
	expect_repeat("<a><", "x", 1024, "/></a>", "");
	expect_repeat("<a><", "x", 1025, "/></a>", "xml.document");
	expect_repeat("<a>", "<q>", 300, "</a>", "xml.document");
	expect_repeat("<a><!--", "x", 11 * mib, "--></a>", "xml.document");
	expect_repeat("<a><!--", "x", 9 * mib, "--></a>", "");
}

static void
expect_bytes(const char *p, size_t n, const char *want)
{
	struct gx_xml_map *map = compile(MAP);

	expect(map, NULL, gx_slice(p, n), want);
	gx_xml_map_free(&map);
}
#define BYTES(lit, want) expect_bytes(lit, sizeof(lit) - 1, want)

static void
encodings(void **state)
{
	(void)state;
	BYTES("\xef\xbb\xbf<a><r><x>1</x></r></a>", "{\"t\":\"1\"}\n");
	BYTES("<?xml version='1.0' encoding='utf-8'?><a><r><x>中</x></r></a>",
	      "{\"t\":\"中\"}\n");
	BYTES("<?xml version='1.0' encoding='GBK'?><a><r><x>\xd6\xd0</x></r>"
	      "</a>",
	      "{\"t\":\"中\"}\n");
	BYTES("<?xml version='1.0' encoding='GB18030'?><a><r><x>"
	      "\xd6\xd0\x95\x32\x90\x31</x></r></a>",
	      "{\"t\":\"中\xf0\xa0\x82\x87\"}\n");
	/* 0x5d is the second byte of a character: no end of CDATA. */
	BYTES("<?xml version='1.0' encoding='GBK'?><a><r><x><![CDATA["
	      "\x81\x5d]><!DOCTYPE \x81\x5d]]></x></r></a>",
	      "{\"t\":\"\xe4\xb9\x9a]><!DOCTYPE \xe4\xb9\x9a\"}\n");
	BYTES("<?xml version='1.0' encoding='GBK'?><a><r><x>\xff</x></r></a>",
	      "xml.document");
	BYTES("<?xml version='1.0' encoding='GB18030'?><a><r><x>\x81</x></r>"
	      "</a>",
	      "xml.document");
	BYTES("<?xml version='1.0' encoding='GB18030'?><a/>\xff",
	      "xml.document");
	BYTES("<?xml version='1.0' encoding='GB18030'?><a/>\x81\x30",
	      "xml.document");
	BYTES("<?xml version='1.0' encoding='GBK'?><a/>\x81", "xml.document");
	BYTES("\xff\xfe<\0a\0/\0>\0\n", "xml.document");
	BYTES("\xff\xfe<\0a\0/\0>\0\n\0", "");
	BYTES("<?xml version='1.0' encoding='ISO-8859-1'?><a><r><x>\xe9</x>"
	      "</r></a>",
	      "{\"t\":\"é\"}\n");
	BYTES("<?xml version='1.0' encoding='UTF-16'?><a/>", "xml.document");
	BYTES("<?xml version='1.0' encoding='UTF-16LE'?><a/>", "xml.document");
	BYTES("<?xml version='1.0' encoding='ISO-2022-JP'?><a/>",
	      "xml.document");
	BYTES("<?xml version='1.0' encoding='UTF-7'?><a/>", "xml.document");
	BYTES("<?xml version='1.0' encoding='nothing'?><a/>", "xml.document");
	BYTES("\xef\xbb\xbf<?xml version='1.0' encoding='GBK'?><a/>",
	      "xml.document");
	BYTES("\xff\xfe<\0a\0>\0<\0r\0>\0<\0x\0>\0-N<\0/\0x\0>\0<\0/\0r\0>\0"
	      "<\0/\0a\0>\0",
	      "{\"t\":\"中\"}\n");
	BYTES("\xfe\xff\0<\0a\0>\0<\0r\0>\0<\0x\0>N-\0<\0/\0x\0>\0<\0/\0r\0>"
	      "\0<\0/\0a\0>",
	      "{\"t\":\"中\"}\n");
	BYTES("\xff\xfe<\0a\0>\0<\0/\0a\0>", "xml.document");
	BYTES("\xff\xfe<\0!\0D\0O\0C\0T\0Y\0P\0E\0 \0a\0>\0<\0a\0/\0>\0",
	      "xml.dtd");
	BYTES("\xff\xfe\0\0<\0\0\0a\0\0\0/\0\0\0>\0\0\0", "xml.document");
	BYTES("\x4c\x6f\xa7\x94\x93\x40", "xml.document");
}

static void
position(void **state)
{
	static const char doc[] =
		"<a><r><x>1</x></r><r><x>2</x><x/></r><r><x>3</x></r></a>";
	struct gx_xml_map *map = compile(MAP);
	struct source s = {.piece = 100};
	struct gx_xml_in in = {.read = read_some, .take = take, .ctx = &s};
	struct gx_xml_count count;
	struct gx_err e = {0};

	(void)state;
	gx_buf_init(&s.out, 1000);
	for (uint64_t after = 0; after < 4; after++) {
		s.rest = gx_slice_str(doc);
		in.after = after;
		gx_buf_reset(&s.out);
		assert_int_equal(gx_xml_read(map, NULL, &in, &count, &e),
				 GX_OK);
		assert_int_equal(count.taken, 2 - (after > 0) - (after > 2));
		assert_int_equal(count.refused, after < 2);
		assert_int_equal(s.out.n > 0 && s.out.p[0] == '!', after == 1);
	}
	s.rest = gx_slice_str(doc);
	s.fails = true;
	assert_int_equal(gx_xml_read(map, NULL, &in, &count, &e), GX_FATAL);
	assert_string_equal(e.code, "xml.read");
	gx_buf_free(&s.out);
	gx_xml_map_free(&map);
}

static void
maps_are_strict(void **state)
{
#define F "\"fields\":[{\"name\":\"t\",\"path\":\"x\"}]"
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"record\":\"/a\"}",
		"{" F "}",
		"{\"record\":\"a\"," F "}",
		"{\"record\":\"/\"," F "}",
		"{\"record\":\"/a/\"," F "}",
		"{\"record\":\"//a\"," F "}",
		"{\"record\":\"/a/@b\"," F "}",
		"{\"record\":\"/a[1]\"," F "}",
		"{\"record\":\"/*\"," F "}",
		"{\"record\":\"/p:a\"," F "}",
		"{\"record\":\"/a\",\"more\":1," F "}",
		"{\"record\":\"/a\",\"trim\":1," F "}",
		"{\"record\":\"/a\",\"namespaces\":[]," F "}",
		"{\"record\":\"/a\",\"namespaces\":{\"p\":1}," F "}",
		"{\"record\":\"/a\",\"namespaces\":{\"p\":\"\"}," F "}",
		"{\"record\":\"/a\",\"namespaces\":{\"1\":\"u\"}," F "}",
		"{\"record\":\"/a\",\"record\":\"/a\"," F "}",
		"{\"record\":\"/a\",\"fields\":[]}",
		"{\"record\":\"/a\",\"fields\":{}}",
		"{\"record\":\"/a\",\"fields\":[1]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"path\":\"x\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"\",\"path\":\"x\"}"
		"]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":\"\"}"
		"]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":\"@\""
		"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":"
		"\"@a/b\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":"
		"\"/b\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":"
		"\"..\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":\"b\""
		",\"type\":\"float\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":\"b\""
		",\"format\":\"x\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":\"b\""
		",\"type\":\"integer\",\"format\":\"date\"}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":\"b\""
		",\"arrray\":true}]}",
		"{\"record\":\"/a\",\"fields\":[{\"name\":\"t\",\"path\":\"b\""
		"},{\"name\":\"t\",\"path\":\"c\"}]}",
	};
	struct gx_xml_map *map;
	struct gx_err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (gx_xml_map_new(gx_slice_str(bad[i]), &map, &e) !=
		    GX_REJECT) {
			fail_msg("taken: %s", bad[i]);
		}
		assert_null(map);
		assert_string_equal(e.code, "xml.map");
	}
	map = compile("{\"record\":\"/a\"," F "}");
	gx_xml_map_free(&map);
	gx_xml_map_free(&map);
}

static void
project_codes(void **state)
{
	gx_format_f *f = gx_format_find(GX_SLICE("project-code"));
	static const char *const good[] = {
		"2607-450100-04-01-123456", "2011-450100-04-01-12345X",
		"2018-450100-04-01-123456", "2020-000052-04-01-123456",
		"2013-451400-04-01-000000"};
	static const char *const bad[] = {
		"2613-450100-04-01-123456",  "2000-450100-04-01-123456",
		"2021-450100-04-01-123456",  "2607-990100-04-01-123456",
		"2607-452900-04-01-123456",  "2607-450100-04-01-12345",
		"2607-450100-04-01-1234567", "2607 450100-04-01-123456",
		"2607-450100-0a-01-123456",  "2607-450100-04-01-12345x",
		"2018-450100-04-01-12345X",  ""};

	(void)state;
	assert_non_null(f);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_null(f(good[i], strlen(good[i]), 20261124));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *why = f(bad[i], strlen(bad[i]), 20261124);
		if (!why) {
			fail_msg("taken: %s", bad[i]);
		}
	}
}

/* A folder with files; removed by the one who made it. */
static char folder[] = "/tmp/gx-t-xml.XXXXXX";

static void
write_file(const char *name, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static struct gx_xml_xsd *
load(const char *name)
{
	struct gx_xml_xsd *x = NULL;
	struct gx_err e = {0};
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (gx_xml_xsd_load(path, &x, &e) != GX_OK) {
		assert_int_equal(e.rc, GX_REJECT);
		assert_string_equal(e.code, "xml.xsd");
		assert_null(x);
	}
	return x;
}

#define XS "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>"
#define TYPES                                                                  \
	XS "<xs:simpleType name='n'><xs:restriction base='xs:integer'>"        \
	   "<xs:maxInclusive value='9'/></xs:restriction></xs:simpleType>"     \
	   "</xs:schema>"
#define INCLUDE(where)                                                         \
	XS "<xs:include schemaLocation='" where "'/>"                          \
	   "<xs:element name='a'><xs:complexType><xs:sequence>"                \
	   "<xs:element name='r' minOccurs='0' maxOccurs='4'>"                 \
	   "<xs:complexType><xs:sequence><xs:element name='x' type='n'/>"      \
	   "<xs:element name='b' type='xs:string' minOccurs='0'/>"             \
	   "</xs:sequence><xs:attribute name='i' type='n'/></xs:complexType>"  \
	   "</xs:element></xs:sequence></xs:complexType>"                      \
	   "<xs:unique name='u'><xs:selector xpath='r'/>"                      \
	   "<xs:field xpath='@i'/></xs:unique></xs:element></xs:schema>"

static void
xsd_spares_neighbours(void **state)
{
	static const char map_json[] =
		"{\"record\":\"/a/r\",\"fields\":[{\"name\":\"t\",\"path\":"
		"\"x\"}]}";
	static const struct pair pairs[] = {
		{"<a><r><x>1</x></r></a>", "{\"t\":\"1\"}\n"},
		{"<a/>", ""},
		{"<a><r><x>1</x></r><r><x>10</x></r><r><x>3</x></r></a>",
		 "{\"t\":\"1\"}\n!2:1:\n{\"t\":\"3\"}\n"},
		{"<a><r/><r><x>10</x></r><r><x>3</x></r></a>",
		 "!1:1:\n!2:1:\n{\"t\":\"3\"}\n"},
		{"<a><r><x>1</x><q/></r><r><x>10</x></r><r><x>3</x></r></a>",
		 "!1:1:\n!2:1:\n{\"t\":\"3\"}\n"},
		{"<a><r i='x'><x>1</x></r><r j=''><x>1</x></r><r><x>3</x></r>"
		 "</a>",
		 "!1:1:\n!2:1:\n{\"t\":\"3\"}\n"},
		{"<a><r>t<x>1</x></r><r><x>1</x>t</r><r><x>3</x></r></a>",
		 "!1:1:\n!2:1:\n{\"t\":\"3\"}\n"},
		{"<a><r><x>1</x></r><r/></a>", "{\"t\":\"1\"}\n!2:1:\n"},
		{"<a><r i='1'><x>1</x></r><r i='1'><x>2</x></r><r i='2'>"
		 "<x>3</x></r></a>",
		 "{\"t\":\"1\"}\n!2:1:\n{\"t\":\"3\"}\n"},
		{"<a><r><x>1</x></r><q/></a>", "xml.invalid"},
		{"<a><r><x>1</x></r>text</a>", "xml.invalid"},
		{"<a q=''><r><x>1</x></r></a>", "xml.invalid"},
		{"<b/>", "xml.invalid"},
		{"<a><r><x>1</x></r><r><x>1</x></r><r><x>1</x></r>"
		 "<r><x>1</x></r><r><x>1</x></r></a>",
		 "xml.invalid"},
		{"<a><r><x>1</x></r><r></a>", "xml.document"},
		/* Found by fuzz_xml: text in the event that ends it. */
		{"<a><r i='1'><x>1</x></r><r><x>abcd<-x></r></a>",
		 "xml.document"},
		{"<!DOCTYPE a><a/>", "xml.dtd"},
		{"<a xmlns:s='http://www.w3.org/2001/XMLSchema-instance' "
		 "s:noNamespaceSchemaLocation='other.xsd'><r><x>1</x></r></a>",
		 "{\"t\":\"1\"}\n"},
	};
	struct gx_xml_map *map = compile(map_json);
	struct gx_xml_xsd *x;

	(void)state;
	write_file("types.xsd", TYPES);
	write_file("a.xsd", INCLUDE("types.xsd"));
	x = load("a.xsd");
	assert_non_null(x);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		expect(map, x, gx_slice_str(pairs[i].doc), pairs[i].want);
	}
	gx_xml_xsd_free(&x);
	gx_xml_map_free(&map);
}

static void
xsd_stays_in_its_folder(void **state)
{
	static const char *const bad[] = {
		INCLUDE("../types.xsd"),
		INCLUDE("none.xsd"),
		INCLUDE("http://127.0.0.1:9/types.xsd"),
		INCLUDE("link.xsd"),
		INCLUDE("dtd.xsd"),
		INCLUDE("broken.xsd"),
		XS "<xs:import namespace='u' schemaLocation='none.xsd'/>"
		   "</xs:schema>",
		"<!DOCTYPE x><xs:schema "
		"xmlns:xs='http://www.w3.org/2001/XMLSchema'/>",
		XS "<xs:element name='a' type='none'/></xs:schema>",
		XS,
		"<a/>",
		"",
	};
	struct gx_xml_xsd *x;
	char inside[200], outside[200];

	(void)state;
	snprintf(inside, sizeof(inside), "%s/in/link.xsd", folder);
	snprintf(outside, sizeof(outside), "%s/types.xsd", folder);
	write_file("types.xsd", TYPES);
	write_file("in/types.xsd", TYPES);
	write_file("in/dtd.xsd", "<!DOCTYPE x>" TYPES);
	write_file("in/broken.xsd", XS);
	assert_int_equal(symlink(outside, inside), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file("in/a.xsd", bad[i]);
		x = load("in/a.xsd");
		if (x) {
			fail_msg("taken: %s", bad[i]);
		}
	}
	write_file("in/a.xsd", INCLUDE("types.xsd"));
	x = load("in/a.xsd");
	assert_non_null(x);
	gx_xml_xsd_free(&x);
	write_file("b.xsd", INCLUDE("in/types.xsd"));
	x = load("b.xsd");
	assert_non_null(x);
	gx_xml_xsd_free(&x);
	assert_null(load("nothing.xsd"));
}

static int
make_folder(void **state)
{
	char command[200];

	(void)state;
	snprintf(command, sizeof(command), "%s/in", mkdtemp(folder));
	return mkdir(command, 0700);
}

static int
remove_folder(void **state)
{
	static const char *const names[] = {"in/a.xsd",	   "in/types.xsd",
					    "in/dtd.xsd",  "in/broken.xsd",
					    "in/link.xsd", "types.xsd",
					    "a.xsd",	   "b.xsd",
					    "in",	   ""};
	char path[200];
	int n_left = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		n_left += remove(path) != 0;
	}
	return n_left;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(references),
		cmocka_unit_test(types),
		cmocka_unit_test(one_record_is_refused),
		cmocka_unit_test(nil_is_missing),
		cmocka_unit_test(own_text_and_overlaps),
		cmocka_unit_test(namespaces),
		cmocka_unit_test(documents_are_refused),
		cmocka_unit_test(limits),
		cmocka_unit_test(encodings),
		cmocka_unit_test(position),
		cmocka_unit_test(maps_are_strict),
		cmocka_unit_test(project_codes),
		cmocka_unit_test(xsd_spares_neighbours),
		cmocka_unit_test(xsd_stays_in_its_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
