/*
 * XML in, records out.
 *
 * libxml2 reads the document and calls us for each start, text and end; no
 * tree is built.  We walk the map's tree along with it: open[] holds, for each
 * element that is open, the node of the map it stands at, or none.  Text is
 * gathered in one buffer while any element that a field wants is open, and the
 * value of an element is a range of it; so a value inside another costs
 * nothing.  Attributes have a buffer of their own, lest they become text.
 *
 * A record is complete one event after its end tag, not at it: what the XSD
 * has to say about the end of an element comes after our own callback.  Until
 * then it is "pending" and a fault is still its own.  A fault that comes while
 * no record is open or pending is the document's.  So is a record element
 * where the schema allows none, because libxml2 does not look at the
 * siblings behind it any more and nobody could vouch for them.
 *
 * Any error of the parser, and any warning but those on how a namespace is
 * spelt (which Namespaces in XML 1.0 does not call an error), ends the
 * document.  The parser is not ended inside its own error callback, where it
 * may hold pointers into its input; it gets no more bytes instead.
 *
 * It refuses what docs/xml-map.md lists.  It writes nothing, has no clock but
 * the day for formats that ask for it, and keeps no more than one record.
 */
#include "record/xml_int.h"

#include "record/ids.h"

#include "base/json.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlschemas.h>
#include <string.h>

#define DEPTH_MAX 256
#define NAME_BYTES 1024
#define VALUE_MAX ((size_t)1 << 20)
#define RECORD_MAX ((size_t)4 << 20)
#define JSON_MAX (6 * RECORD_MAX + ((size_t)1 << 20))
#define VALUES_MAX 65536u
#define XSI "http://www.w3.org/2001/XMLSchema-instance"

/* One value of the record that is open: a range of text or attributes. */
struct value {
	size_t from, n;
	bool is_attribute;
	uint32_t next; /* of the same field */
};

/* An element that is open. */
struct open {
	uint32_t node; /* GX_XML_NONE: no path leads here */
	size_t from;   /* of its text, if a field wants it */
	bool is_nil, has_child;
};

/* First and last value of a field. */
struct ends {
	uint32_t first, last;
};

struct run {
	const struct gx_xml_map *map;
	const struct gx_xml_in *in;
	struct gx_xml_count *count;
	xmlParserCtxtPtr ctxt;
	struct gx_xml_scan scan;

	struct gx_xml_name *names; /* of nodes, in libxml2's dictionary */
	const xmlChar *xsi, *nil;
	struct open open[DEPTH_MAX + 1]; /* [1..depth] */
	unsigned depth;
	unsigned n_wanted; /* open elements whose text a field wants */

	/* The record: open from its start tag, pending behind its end tag. */
	bool is_open, is_pending, is_at_start;
	uint64_t number;
	struct gx_xml_row row;
	struct gx_buf text, attributes, json;
	struct ends *ends; /* by field */
	struct value *values;
	uint32_t n_values, cap_values;
	int today_ymd;

	/* Why the document is refused; code NULL while it is not. */
	const char *code, *fault;
	uint64_t fault_line;
	int fault_number;
	bool is_stopped; /* by read() or take() */
};

static uint64_t
line_of(const struct run *r)
{
	return r->ctxt->input && r->ctxt->input->line > 0
		       ? (uint64_t)r->ctxt->input->line
		       : 0;
}

/* The document is refused; the first reason counts. */
static void
refuse(struct run *r, const char *code, const char *fault, uint64_t line,
       int number)
{
	if (!r->code) {
		r->code = code;
		r->fault = fault;
		r->fault_line = line;
		r->fault_number = number;
	}
}

/* The record is refused; the first reason counts. */
static void
reject(struct run *r, const char *reason, struct gx_slice field)
{
	if (!r->row.reason) {
		r->row.reason = reason;
		r->row.field = field;
		r->row.line = line_of(r);
	}
}

static void
reject_field(struct run *r, const struct gx_xml_field *f, const char *reason)
{
	reject(r, reason, gx_slice_str(f->name));
}

/* From here on the parser calls nobody.  Only from SAX callbacks. */
static void
stop(struct run *r)
{
	xmlStopParser(r->ctxt);
}

/* Hand the pending record over: every callback begins with this. */
static bool
go_on(struct run *r)
{
	r->is_at_start = false;
	if (r->is_pending && !r->code) {
		r->is_pending = false;
		if (r->number > r->in->after) {
			r->count->taken += r->row.reason == NULL;
			r->count->refused += r->row.reason != NULL;
			if (r->in->take && !r->in->take(r->in->ctx, &r->row)) {
				r->is_stopped = true;
			}
		}
	}
	if (r->code || r->is_stopped) {
		stop(r);
		return false;
	}
	return true;
}

static void
begin_record(struct run *r)
{
	r->is_open = r->is_at_start = true;
	r->row = (struct gx_xml_row){.number = ++r->number, .line = line_of(r)};
	gx_buf_reset(&r->text);
	gx_buf_reset(&r->attributes);
	r->n_values = 0;
	r->n_wanted = 0;
	memset(r->ends, 0xff, r->map->n_fields * sizeof(*r->ends));
}

static bool
grow_values(struct run *r)
{
	uint32_t cap = r->cap_values ? 2 * r->cap_values : 256;
	struct value *more = cap <= VALUES_MAX ? gx_mem_grow(r->values, cap,
							     sizeof(*r->values))
					       : NULL;

	if (more) {
		r->values = more;
		r->cap_values = cap;
	}
	return more != NULL;
}

/* A value for each field that takes it. */
static void
add_value(struct run *r, uint32_t field, struct value v)
{
	for (; field != GX_XML_NONE; field = r->map->fields[field].next) {
		const struct gx_xml_field *f = &r->map->fields[field];
		struct ends *ends = &r->ends[field];
		uint32_t i = r->n_values;

		if (v.n > VALUE_MAX) {
			reject_field(r, f, "a value is longer than 1 MiB");
		} else if (ends->first != GX_XML_NONE && !f->is_array) {
			reject_field(r, f, "it stands more than once");
		} else if (i == r->cap_values && !grow_values(r)) {
			reject_field(r, f, "the record has too many values");
		}
		if (r->row.reason) {
			return;
		}
		r->values[i] = v;
		r->values[i].next = GX_XML_NONE;
		if (ends->first == GX_XML_NONE) {
			ends->first = i;
		} else {
			r->values[ends->last].next = i;
		}
		ends->last = i;
		r->n_values++;
	}
}

/*
 * libxml2 2.9 hands an ampersand of a value over as "&#38;" and everything
 * else as what it is (xmlParseAttValueComplex, without XML_PARSE_NOENT); so an
 * ampersand can only begin that.  t_xml.references would notice a change.
 */
static void
put_attribute(struct gx_buf *b, const char *p, const char *end)
{
	while (p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *to = amp ? amp : end;

		(void)gx_buf_put(b, p, (size_t)(to - p));
		p = to;
		if (amp) {
			bool is_long =
				end - p >= 5 && memcmp(p, "&#38;", 5) == 0;
			(void)gx_buf_putc(b, '&');
			p += is_long ? 5 : 1;
		}
	}
}

static void
take_attribute(struct run *r, uint32_t field, const xmlChar **a)
{
	struct value v = {.from = r->attributes.n, .is_attribute = true};

	put_attribute(&r->attributes, (const char *)a[3], (const char *)a[4]);
	if (r->attributes.failed) {
		reject(r, "the record is longer than 4 MiB", GX_SLICE(""));
		return;
	}
	v.n = r->attributes.n - v.from;
	add_value(r, field, v);
}

static bool
is_true(const xmlChar *p, const xmlChar *end)
{
	struct gx_slice s = {(const char *)p, (size_t)(end - p)};

	while (s.n && strchr(" \t\r\n", s.p[0])) {
		s = gx_slice(s.p + 1, s.n - 1);
	}
	while (s.n && strchr(" \t\r\n", s.p[s.n - 1])) {
		s.n--;
	}
	return gx_slice_eq(s, GX_SLICE("true")) ||
	       gx_slice_eq(s, GX_SLICE("1"));
}

/* Each attribute is five pointers: name, prefix, namespace, value, its end. */
static void
take_attributes(struct run *r, struct open *o, const xmlChar **a, int n)
{
	const struct gx_xml_node *nodes = r->map->nodes;

	for (; n > 0; n--, a += 5) {
		uint32_t i = nodes[o->node].child;

		if (a[2] == r->xsi && a[0] == r->nil && r->xsi) {
			o->is_nil = is_true(a[3], a[4]);
		}
		for (; i != GX_XML_NONE; i = nodes[i].sibling) {
			if (nodes[i].is_attribute &&
			    (const char *)a[0] == r->names[i].local &&
			    (const char *)a[2] == r->names[i].uri) {
				take_attribute(r, nodes[i].field, a);
				break;
			}
		}
	}
}

static uint32_t
find_node(const struct run *r, uint32_t parent, const xmlChar *local,
	  const xmlChar *uri)
{
	if (parent == GX_XML_NONE) {
		return GX_XML_NONE;
	}
	const struct gx_xml_node *nodes = r->map->nodes;
	for (uint32_t i = nodes[parent].child; i != GX_XML_NONE;
	     i = nodes[i].sibling) {
		if ((const char *)local == r->names[i].local &&
		    (const char *)uri == r->names[i].uri &&
		    !nodes[i].is_attribute) {
			return i;
		}
	}
	return GX_XML_NONE;
}

static bool
are_names_short(const xmlChar *local, const xmlChar **a, int n)
{
	bool good = strnlen((const char *)local, NAME_BYTES + 1) <= NAME_BYTES;

	for (int i = 0; i < n; i++) {
		good &= strnlen((const char *)a[5 * i], NAME_BYTES + 1) <=
			NAME_BYTES;
	}
	return good;
}

static void
on_start(void *ctx, const xmlChar *local, const xmlChar *prefix,
	 const xmlChar *uri, int n_ns, const xmlChar **ns, int n_attributes,
	 int n_defaulted, const xmlChar **attributes)
{
	struct run *r = ctx;

	(void)prefix, (void)n_ns, (void)ns, (void)n_defaulted;
	if (!go_on(r)) {
		return;
	}
	if (r->depth == DEPTH_MAX ||
	    !are_names_short(local, attributes, n_attributes)) {
		refuse(r, "xml.document",
		       r->depth == DEPTH_MAX ? "more than 256 levels"
					     : "a name is too long",
		       line_of(r), 0);
		stop(r);
		return;
	}
	r->open[r->depth].has_child = true;
	uint32_t parent = r->map ? r->open[r->depth].node : GX_XML_NONE;
	struct open *o = &r->open[++r->depth];
	*o = (struct open){.node = find_node(r, parent, local, uri)};
	if (o->node == GX_XML_NONE) {
		return;
	}
	if (o->node == r->map->record) {
		begin_record(r);
	}
	if (!r->is_open || r->row.reason) {
		return;
	}
	take_attributes(r, o, attributes, n_attributes);
	if (r->map->nodes[o->node].field != GX_XML_NONE) {
		o->from = r->text.n;
		r->n_wanted++;
	}
}

static void
on_text(void *ctx, const xmlChar *p, int n)
{
	struct run *r = ctx;

	if (!go_on(r) || r->n_wanted == 0 || r->row.reason) {
		return;
	}
	if (!gx_buf_put(&r->text, p, (size_t)n)) {
		reject(r, "the record is longer than 4 MiB", GX_SLICE(""));
	}
}

/* XML's blanks and the full-width one (U+3000). */
static struct gx_slice
trim(struct gx_slice s)
{
	for (;;) {
		if (s.n && strchr(" \t\r\n", s.p[0])) {
			s = gx_slice(s.p + 1, s.n - 1);
		} else if (s.n >= 3 && memcmp(s.p, "\xe3\x80\x80", 3) == 0) {
			s = gx_slice(s.p + 3, s.n - 3);
		} else if (s.n && strchr(" \t\r\n", s.p[s.n - 1])) {
			s.n--;
		} else if (s.n >= 3 &&
			   memcmp(s.p + s.n - 3, "\xe3\x80\x80", 3) == 0) {
			s.n -= 3;
		} else {
			return s;
		}
	}
}

static size_t
count_digits(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] >= '0' && p[i] <= '9') {
		i++;
	}
	return i;
}

/* As JSON has it: no plus, no leading zeros, no negative zero. */
static bool
put_integer(struct gx_buf *b, struct gx_slice s)
{
	bool is_negative = s.n && s.p[0] == '-';
	size_t sign = s.n && (s.p[0] == '-' || s.p[0] == '+');

	s = gx_slice(s.p + sign, s.n - sign);
	if (s.n == 0 || count_digits(s.p, s.n) != s.n) {
		return false;
	}
	while (s.n > 1 && s.p[0] == '0') {
		s = gx_slice(s.p + 1, s.n - 1);
	}
	if (is_negative && s.p[0] != '0') {
		(void)gx_buf_putc(b, '-');
	}
	(void)gx_buf_slice(b, s);
	return true;
}

static bool
is_decimal(struct gx_slice s)
{
	size_t sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
	const char *p = s.p + sign;
	size_t n = s.n - sign, whole = count_digits(p, n), part = 0;

	if (whole < n && p[whole] == '.') {
		part = count_digits(p + whole + 1, n - whole - 1);
		n--;
	}
	return whole + part > 0 && whole + part == n;
}

static void
put_string(struct gx_buf *b, struct gx_slice s)
{
	(void)gx_buf_putc(b, '"');
	(void)gx_json_escape(b, s);
	(void)gx_buf_putc(b, '"');
}

static void
put_value(struct run *r, const struct gx_xml_field *f, const struct value *v)
{
	const struct gx_buf *of = v->is_attribute ? &r->attributes : &r->text;
	struct gx_slice s = {(of->p ? of->p : "") + v->from, v->n};
	const char *why = NULL;

	if (f->has_trim || f->type != GX_XML_STRING) {
		s = trim(s);
	}
	switch (f->type) {
	case GX_XML_STRING:
		if (f->format) {
			why = f->format(s.p, s.n, r->today_ymd);
		}
		put_string(&r->json, s);
		break;
	case GX_XML_DECIMAL:
		why = is_decimal(s) ? NULL : "not a decimal number";
		put_string(&r->json, s);
		break;
	case GX_XML_INTEGER:
		why = put_integer(&r->json, s) ? NULL : "not an integer";
		break;
	case GX_XML_BOOLEAN:
		if (gx_slice_eq(s, GX_SLICE("true")) ||
		    gx_slice_eq(s, GX_SLICE("1"))) {
			(void)gx_buf_puts(&r->json, "true");
		} else if (gx_slice_eq(s, GX_SLICE("false")) ||
			   gx_slice_eq(s, GX_SLICE("0"))) {
			(void)gx_buf_puts(&r->json, "false");
		} else {
			why = "not true, false, 1 or 0";
		}
		break;
	}
	if (why) {
		reject_field(r, f, why);
	}
}

static void
put_member(struct run *r, const struct gx_xml_field *f, uint32_t first)
{
	if (r->json.n > 1) {
		(void)gx_buf_putc(&r->json, ',');
	}
	(void)gx_buf_slice(&r->json, f->head);
	if (f->is_array) {
		(void)gx_buf_putc(&r->json, '[');
	}
	for (uint32_t i = first; i != GX_XML_NONE; i = r->values[i].next) {
		if (i != first) {
			(void)gx_buf_putc(&r->json, ',');
		}
		put_value(r, f, &r->values[i]);
	}
	if (f->is_array) {
		(void)gx_buf_putc(&r->json, ']');
	}
}

static void
end_record(struct run *r)
{
	gx_buf_reset(&r->json);
	(void)gx_buf_putc(&r->json, '{');
	for (uint32_t i = 0; i < r->map->n_fields && !r->row.reason; i++) {
		const struct gx_xml_field *f = &r->map->fields[i];

		if (r->ends[i].first != GX_XML_NONE) {
			put_member(r, f, r->ends[i].first);
		} else if (f->is_required) {
			reject_field(r, f, "it is missing");
		}
	}
	(void)gx_buf_putc(&r->json, '}');
	if (r->json.failed) {
		reject(r, "the record is longer than 4 MiB", GX_SLICE(""));
	}
	r->row.json = gx_buf_view(&r->json);
	r->is_open = false;
	r->n_wanted = 0;
	r->is_pending = true;
}

static void
on_end(void *ctx, const xmlChar *local, const xmlChar *prefix,
       const xmlChar *uri)
{
	struct run *r = ctx;

	(void)local, (void)prefix, (void)uri;
	if (!go_on(r)) {
		return;
	}
	struct open *o = &r->open[r->depth--];
	if (o->node == GX_XML_NONE || !r->is_open) {
		return;
	}
	uint32_t field = r->map->nodes[o->node].field;
	if (field != GX_XML_NONE && !r->row.reason) {
		struct value v = {.from = o->from, .n = r->text.n - o->from};
		r->n_wanted--;
		if (!o->is_nil) {
			add_value(r, field, v);
		} else if (v.n > 0 || o->has_child) {
			reject_field(r, &r->map->fields[field],
				     "xsi:nil on an element with content");
		}
	}
	if (o->node == r->map->record) {
		end_record(r);
	}
}

/* A comment or a processing instruction. */
static void
on_remark(void *ctx, const xmlChar *text)
{
	(void)text;
	(void)go_on(ctx);
}

static void
on_pi(void *ctx, const xmlChar *target, const xmlChar *text)
{
	(void)target;
	on_remark(ctx, text);
}

/* The scan sees a DTD first; this stands behind it. */
static void
on_dtd(void *ctx, const xmlChar *name, const xmlChar *id, const xmlChar *uri)
{
	struct run *r = ctx;

	(void)name, (void)id, (void)uri;
	refuse(r, "xml.dtd", "it has a DTD", line_of(r), 0);
	stop(r);
}

/* Is the encoding one that the scan has read rightly? */
static bool
is_encoding_good(const struct run *r, const char *name)
{
	static const char *const singles[] = {"UTF-8", "UTF8", "US-ASCII",
					      "ASCII"};
	static const char *const doubles[] = {"GB18030", "GBK", "GB2312",
					      "Big5"};

	if (r->scan.width == 2) {
		return strncasecmp(name, "UTF-16", 6) == 0;
	}
	for (size_t i = 0; i < 4; i++) {
		if (strcasecmp(name, singles[i]) == 0) {
			return !r->scan.is_double;
		}
		if (strcasecmp(name, doubles[i]) == 0) {
			return r->scan.is_double && !r->scan.has_bom;
		}
	}
	return strncasecmp(name, "ISO-8859-", 9) == 0 && !r->scan.is_double &&
	       !r->scan.has_bom;
}

static void
on_document(void *ctx)
{
	struct run *r = ctx;
	const xmlChar *declared = r->ctxt->encoding;

	if (!declared && r->ctxt->input) {
		declared = r->ctxt->input->encoding;
	}
	if (declared && !is_encoding_good(r, (const char *)declared)) {
		refuse(r, "xml.document",
		       "its encoding is not taken, or not the declared one", 1,
		       0);
		stop(r);
	}
}

/* Any error of the parser; also of decoding, which has no parser. */
static void
on_error(void *ctx, xmlErrorPtr err)
{
	struct run *r = ctx;
	bool is_spelling = err->domain == XML_FROM_NAMESPACE &&
			   (err->code == XML_WAR_NS_URI ||
			    err->code == XML_WAR_NS_URI_RELATIVE);

	if (!is_spelling) {
		refuse(r, "xml.document", "not well formed", line_of(r),
		       err->code);
	}
}

static void
on_invalid(void *ctx, xmlErrorPtr err)
{
	struct run *r = ctx;
	bool is_parent = r->is_at_start && gx_xml_xsd_is_content(err->code);
	const char *word = gx_xml_xsd_word(err->code);

	if (err->code != XML_SCHEMAV_INTERNAL && !is_parent &&
	    (r->is_open || r->is_pending)) {
		reject(r, word, GX_SLICE(""));
	} else {
		refuse(r, "xml.invalid", word, line_of(r), 0);
	}
}

/* libxml2 wants bytes: scanned first, none after a fault. */
static int
on_read(void *ctx, char *p, int n)
{
	struct run *r = ctx;
	size_t got = 0;

	while (!r->code && !r->is_stopped && got < (size_t)n) {
		ptrdiff_t m = r->in->read(r->in->ctx, p + got, (size_t)n - got);
		if (m <= 0) {
			r->is_stopped = m < 0;
			break;
		}
		got += (size_t)m;
	}
	if (r->is_stopped || r->code) {
		return 0;
	}
	if (got > 0 && !gx_xml_scan(&r->scan, p, got)) {
		refuse(r, r->scan.is_dtd ? "xml.dtd" : "xml.document",
		       r->scan.fault, line_of(r), 0);
		return 0;
	}
	return (int)got;
}

static const xmlSAXHandler handlers = {
	.initialized = XML_SAX2_MAGIC,
	.internalSubset = on_dtd,
	.startDocument = on_document,
	.startElementNs = on_start,
	.endElementNs = on_end,
	.characters = on_text,
	.ignorableWhitespace = on_text,
	.cdataBlock = on_text,
	.comment = on_remark,
	.processingInstruction = on_pi,
};

/* The map's names as libxml2 will hand them over: equal if the same pointer. */
static void
make_names(struct run *r)
{
	xmlDictPtr dict = r->ctxt->dict;

	if (!r->map) {
		return;
	}
	r->names = gx_mem_new(r->map->n_nodes * sizeof(*r->names));
	for (uint32_t i = 1; i < r->map->n_nodes; i++) {
		const struct gx_xml_name *name = &r->map->nodes[i].name;
		r->names[i].local = (const char *)xmlDictLookup(
			dict, (const xmlChar *)name->local, -1);
		if (name->uri) {
			r->names[i].uri = (const char *)xmlDictLookup(
				dict, (const xmlChar *)name->uri, -1);
		}
	}
	r->xsi = xmlDictLookup(dict, (const xmlChar *)XSI, -1);
	r->nil = xmlDictLookup(dict, (const xmlChar *)"nil", -1);
	r->ends = gx_mem_new(r->map->n_fields * sizeof(*r->ends));
	r->open[0].node = 0;
}

static bool
open_parser(struct run *r)
{
	xmlSAXHandler copy = handlers;

	r->ctxt = xmlCreateIOParserCtxt(&copy, r, on_read, NULL, r,
					XML_CHAR_ENCODING_NONE);
	if (!r->ctxt) {
		return false;
	}
	(void)xmlCtxtUseOptions(r->ctxt, XML_PARSE_NONET);
	make_names(r);
	return true;
}

static void
parse(struct run *r, const struct gx_xml_xsd *xsd)
{
	xmlSchemaValidCtxtPtr valid = NULL;
	xmlSchemaSAXPlugPtr plug = NULL;

	if (xsd) {
		valid = xmlSchemaNewValidCtxt(xsd->schema);
		if (valid) {
			xmlSchemaSetValidStructuredErrors(valid, on_invalid, r);
			plug = xmlSchemaSAXPlug(valid, &r->ctxt->sax,
						&r->ctxt->userData);
		}
		if (!plug) {
			refuse(r, "xml.invalid", "the XSD cannot be used", 0,
			       0);
		}
	}
	if (!xsd || plug) {
		(void)xmlParseDocument(r->ctxt);
		r->count->line = line_of(r);
	}
	if (plug) {
		(void)xmlSchemaSAXUnplug(plug);
	}
	xmlSchemaFreeValidCtxt(valid);
}

/* Are bytes left that begin a character and do not end it?  libxml2 2.9 is
 * silent about them. */
static bool
is_character_cut(const struct run *r)
{
	const struct _xmlParserInputBuffer *b =
		r->ctxt->input ? r->ctxt->input->buf : NULL;

	return b && b->encoder && b->raw && xmlBufUse(b->raw) > 0;
}

/* What came of it, after the last byte. */
static enum gx_rc
judge(struct run *r, struct gx_err *e)
{
	if (!r->code && !r->is_stopped) {
		(void)go_on(r); /* a record that ends with the document */
	}
	if (r->is_stopped) {
		return GX_ERR(e, GX_FATAL, "xml.read", "the reading was ended");
	}
	if (!r->code && !r->ctxt->wellFormed) {
		refuse(r, "xml.document", "not well formed", r->count->line,
		       r->ctxt->errNo);
	} else if (is_character_cut(r)) {
		refuse(r, "xml.document", "its last character is cut",
		       r->count->line, 0);
	}
	if (!r->code) {
		return GX_OK;
	}
	if (r->fault_number) {
		return GX_ERR(e, GX_REJECT, r->code,
			      "line %llu: %s (code %d of libxml2)",
			      (unsigned long long)r->fault_line, r->fault,
			      r->fault_number);
	}
	return GX_ERR(e, GX_REJECT, r->code, "line %llu: %s",
		      (unsigned long long)r->fault_line, r->fault);
}

enum gx_rc
gx_xml_read(const struct gx_xml_map *map, const struct gx_xml_xsd *xsd,
	    const struct gx_xml_in *in, struct gx_xml_count *count,
	    struct gx_err *e)
{
	struct run *r = gx_mem_new(sizeof(*r));
	xmlStructuredErrorFunc outer = xmlStructuredError;
	void *outer_ctx = xmlStructuredErrorContext;
	enum gx_rc rc;

	gx_xml_prepare();
	*count = (struct gx_xml_count){0};
	r->map = map;
	r->in = in;
	r->count = count;
	r->today_ymd = gx_id_today();
	r->open[0].node = GX_XML_NONE;
	gx_buf_init(&r->text, RECORD_MAX);
	gx_buf_init(&r->attributes, RECORD_MAX);
	gx_buf_init(&r->json, JSON_MAX);
	xmlSetStructuredErrorFunc(r, on_error);
	if (open_parser(r)) {
		parse(r, xsd);
		rc = judge(r, e);
		xmlFreeParserCtxt(r->ctxt);
	} else {
		rc = GX_ERR(e, GX_FATAL, "xml.read", "no memory");
	}
	xmlSetStructuredErrorFunc(outer_ctx, outer);
	xmlResetLastError();
	gx_buf_free(&r->json);
	gx_buf_free(&r->attributes);
	gx_buf_free(&r->text);
	gx_mem_free(r->values);
	gx_mem_free(r->ends);
	gx_mem_free(r->names);
	gx_mem_free(r);
	return rc;
}
