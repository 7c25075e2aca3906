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
 * document.  The parser is not ended inside a callback, where it and the XSD
 * may hold pointers into its input; it gets no more bytes instead.
 *
 * It refuses what docs/xml-map.md lists.  It writes nothing, has no clock but
 * the day for formats that ask for it, and keeps no more than one record.
 */
#include "record/xml_int.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlschemas.h>
#include <string.h>

#define DEPTH_MAX 256
#define NAME_BYTES 1024
#define XSI "http://www.w3.org/2001/XMLSchema-instance"

/* An element that is open. */
struct open {
	const xmlChar *local, *uri;
	uint32_t node; /* GX_XML_NONE: no path leads here */
	size_t from;   /* of its text, if a field wants it */
	bool is_nil, has_child;
};

struct run {
	const struct gx_xml_map *map;
	const struct gx_xml_in *in;
	struct gx_xml_count *count;
	xmlParserCtxtPtr ctxt;
	struct gx_xml_scan scan;

	struct gx_xml_name *names; /* of nodes, in libxml2's dictionary */
	const xmlChar *xsi, *nil;
	struct open open[DEPTH_MAX + 2]; /* [1..depth] */
	unsigned depth;
	unsigned n_wanted; /* open elements whose text a field wants */

	/* The record: open from its start tag, pending behind its end tag. */
	bool is_open, is_pending, is_at_start;
	uint64_t number;
	struct gx_xml_record *rec; /* NULL: there is no map */

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

/*
 * From here on the parser calls nobody, and on_read() gives it no more bytes.
 * Not xmlStopParser(): it frees the input, and the XSD is still to be handed
 * the event that we stop in (libxml2 2.9, found by fuzz_xml).
 */
static void
stop(struct run *r)
{
	r->ctxt->disableSAX = 1;
}

/* Hand the pending record over: every callback begins with this. */
static bool
go_on(struct run *r)
{
	r->is_at_start = false;
	if (r->rec) {
		r->rec->line = line_of(r);
	}
	if (r->is_pending && !r->code && !r->is_stopped) {
		r->is_pending = false;
		if (r->number > r->in->after) {
			r->count->taken += r->rec->row.reason == NULL;
			r->count->refused += r->rec->row.reason != NULL;
			if (r->in->take &&
			    !r->in->take(r->in->ctx, &r->rec->row)) {
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
	r->n_wanted = 0;
	gx_xml_record_begin(r->rec, ++r->number);
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
				gx_xml_record_attribute(r->rec, nodes[i].field,
							(const char *)a[3],
							(const char *)a[4]);
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
	bool goes_on = go_on(r);
	struct open *parent = &r->open[r->depth], *o = parent + 1;
	if (r->depth <= DEPTH_MAX) {
		r->depth++;
		*o = (struct open){
			.local = local, .uri = uri, .node = GX_XML_NONE};
		parent->has_child = true;
	}
	if (!goes_on) {
		return;
	}
	if (r->depth > DEPTH_MAX ||
	    !are_names_short(local, attributes, n_attributes)) {
		refuse(r, "xml.document",
		       r->depth > DEPTH_MAX ? "more than 256 levels"
					    : "a name is too long",
		       line_of(r), 0);
		stop(r);
		return;
	}
	o->node = r->map ? find_node(r, parent->node, local, uri) : GX_XML_NONE;
	if (o->node == GX_XML_NONE) {
		return;
	}
	if (o->node == r->map->record) {
		begin_record(r);
	}
	if (!r->is_open || r->rec->row.reason) {
		return;
	}
	take_attributes(r, o, attributes, n_attributes);
	if (r->map->nodes[o->node].field != GX_XML_NONE) {
		o->from = r->rec->text.n;
		r->n_wanted++;
	}
}

static void
on_text(void *ctx, const xmlChar *p, int n)
{
	struct run *r = ctx;

	if (go_on(r) && r->n_wanted > 0) {
		gx_xml_record_text(r->rec, (const char *)p, (size_t)n);
	}
}

static void
on_end(void *ctx, const xmlChar *local, const xmlChar *prefix,
       const xmlChar *uri)
{
	struct run *r = ctx;

	(void)local, (void)prefix, (void)uri;
	struct open *o = &r->open[r->depth];
	r->depth -= r->depth > 0;
	if (!go_on(r)) {
		return;
	}
	if (o->node == GX_XML_NONE || !r->is_open) {
		return;
	}
	uint32_t field = r->map->nodes[o->node].field;
	if (field != GX_XML_NONE && !r->rec->row.reason) {
		bool is_empty = r->rec->text.n == o->from && !o->has_child;
		r->n_wanted--;
		if (!o->is_nil) {
			gx_xml_record_element(r->rec, field, o->from);
		} else if (!is_empty) {
			gx_xml_record_reject(
				r->rec, "xsi:nil on an element with content",
				gx_slice_str(r->map->fields[field].name));
		}
	}
	if (o->node == r->map->record) {
		gx_xml_record_end(r->rec);
		r->is_open = false;
		r->n_wanted = 0;
		r->is_pending = true;
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
		r->rec->line = line_of(r);
		gx_xml_record_reject(r->rec, word, GX_SLICE(""));
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
	r->rec = gx_xml_record_new(r->map);
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

/*
 * A document that was given up leaves elements open, and libxml2 2.9 frees
 * what it keeps of a key (xs:unique and the like) only when its element ends.
 * The leak checker of fuzz_xml would notice if this were not done.
 */
static void
end_open(struct run *r)
{
	while (r->depth > 0) {
		const struct open *o = &r->open[r->depth];

		r->ctxt->sax->endElementNs(r->ctxt->userData, o->local, NULL,
					   o->uri);
	}
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
		end_open(r);
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
	r->open[0].node = GX_XML_NONE;
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
	gx_xml_record_free(&r->rec);
	gx_mem_free(r->names);
	gx_mem_free(r);
	return rc;
}
