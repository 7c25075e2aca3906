/*
 * What records of an XML document cost: gx_xml_read() with map and XSD against
 * a bare libxml2 SAX parse of the same bytes with the same XSD and callbacks
 * that do nothing.  CPU time, best of several passes for both, taken in turn.
 * All projects must become records and none may be refused, and one whose code
 * is wrong must be, or it exits 1.  Run from the root of the tree.
 */
#include "base/clock.h"
#include "record/xml.h"

#include <libxml/parser.h>
#include <libxml/xmlschemas.h>

#define PROJECTS 40000
#define PASSES 5
#define XSD "schemas/xsd/investment-project.xsd"
#define MAP "schemas/maps/investment-project.json"

static const char project[] =
	"  <project code=\"2607-450100-04-01-%06d\" status=\"assigned\">\n"
	"    <name>某某路改造工程%d</name>\n"
	"    <unit uscc=\"91450100MA5KXY12X6\">"
	"<name>南宁市某某有限公司</name></unit>\n"
	"    <region>450100</region>\n"
	"    <investment><total>%d.50</total><start>2026-07-01</start>"
	"</investment>\n"
	"    <steps><step date=\"2026-05-01\"><name>备案</name></step>"
	"<step date=\"2026-06-01\"><name>环评</name></step></steps>\n"
	"    <documents><document number=\"桂发改〔2026〕%d号\"/>"
	"</documents>\n  </project>\n";

static void
make_document(struct gx_buf *b)
{
	gx_buf_puts(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		       "<projects xmlns=\"urn:gxbus:investment-project:1\">\n");
	for (int i = 0; i < PROJECTS; i++) {
		gx_buf_printf(b, project, i, i, i, i);
	}
	gx_buf_puts(b, "</projects>\n");
}

struct cursor {
	struct gx_slice rest;
	size_t n_bytes; /* of records */
};

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct cursor *c = ctx;

	n = n < c->rest.n ? n : c->rest.n;
	memcpy(p, c->rest.p, n);
	c->rest = gx_slice(c->rest.p + n, c->rest.n - n);
	return (ptrdiff_t)n;
}

static int
read_bare(void *ctx, char *p, int n)
{
	return (int)read_some(ctx, p, (size_t)n);
}

static bool
take(void *ctx, const struct gx_xml_row *row)
{
	((struct cursor *)ctx)->n_bytes += row->json.n;
	return true;
}

static void
start(void *ctx, const xmlChar *local, const xmlChar *prefix,
      const xmlChar *uri, int n_ns, const xmlChar **ns, int n, int n_defaulted,
      const xmlChar **a)
{
	(void)ctx, (void)local, (void)prefix, (void)uri, (void)n_ns, (void)ns;
	(void)n, (void)n_defaulted, (void)a;
}

static void
end(void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
	(void)ctx, (void)local, (void)prefix, (void)uri;
}

static void
text(void *ctx, const xmlChar *p, int n)
{
	(void)ctx, (void)p, (void)n;
}

static bool
parse_bare(xmlSchemaPtr schema, struct gx_slice doc)
{
	xmlSAXHandler sax = {.initialized = XML_SAX2_MAGIC,
			     .startElementNs = start,
			     .endElementNs = end,
			     .characters = text,
			     .ignorableWhitespace = text};
	struct cursor c = {.rest = doc};
	xmlParserCtxtPtr ctxt = xmlCreateIOParserCtxt(
		&sax, NULL, read_bare, NULL, &c, XML_CHAR_ENCODING_NONE);
	xmlSchemaValidCtxtPtr valid = xmlSchemaNewValidCtxt(schema);
	xmlSchemaSAXPlugPtr plug =
		xmlSchemaSAXPlug(valid, &ctxt->sax, &ctxt->userData);
	bool good = xmlParseDocument(ctxt) == 0;

	(void)xmlSchemaSAXUnplug(plug);
	good &= xmlSchemaIsValid(valid) == 1;
	xmlSchemaFreeValidCtxt(valid);
	xmlFreeParserCtxt(ctxt);
	return good;
}

static bool
read_records(const struct gx_xml_map *map, const struct gx_xml_xsd *xsd,
	     struct gx_slice doc, struct gx_xml_count *count)
{
	struct cursor c = {.rest = doc};
	struct gx_xml_in in = {.read = read_some, .take = take, .ctx = &c};
	struct gx_err e = {0};

	return gx_xml_read(map, xsd, &in, count, &e) == GX_OK && c.n_bytes > 0;
}

static bool
measure(const struct gx_xml_map *map, const struct gx_xml_xsd *xsd,
	xmlSchemaPtr schema, struct gx_slice doc)
{
	int64_t ours = INT64_MAX, bare = INT64_MAX;
	struct gx_xml_count count;

	for (int i = 0; i < PASSES; i++) {
		int64_t at_us = gx_cpu_us();
		if (!parse_bare(schema, doc)) {
			return false;
		}
		int64_t between_us = gx_cpu_us();
		if (!read_records(map, xsd, doc, &count) ||
		    count.taken != PROJECTS || count.refused != 0) {
			return false;
		}
		int64_t now_us = gx_cpu_us();
		bare = between_us - at_us < bare ? between_us - at_us : bare;
		ours = now_us - between_us < ours ? now_us - between_us : ours;
	}
	printf("document_mb %.1f\n", (double)doc.n / 1e6);
	printf("records_mb_per_s %.1f\n", (double)doc.n / (double)ours);
	printf("bare_sax_xsd_mb_per_s %.1f\n", (double)doc.n / (double)bare);
	printf("ratio xml_records_to_bare_sax %.2f (aim >= 0.70)\n",
	       (double)bare / (double)ours);
	return true;
}

/* A project code with a letter in it. */
static bool
is_fault_seen(const struct gx_xml_map *map, const struct gx_xml_xsd *xsd,
	      struct gx_buf *doc)
{
	struct gx_xml_count count;

	*strstr(doc->p, "2607-") = 'x';
	return read_records(map, xsd, gx_buf_view(doc), &count) &&
	       count.refused == 1 && count.taken == PROJECTS - 1;
}

static struct gx_xml_map *
load_map(void)
{
	static char json[65536];
	struct gx_xml_map *map = NULL;
	struct gx_err e = {0};
	FILE *f = fopen(MAP, "rb");
	size_t n = f ? fread(json, 1, sizeof(json), f) : 0;

	if (f) {
		fclose(f);
	}
	return gx_xml_map_new(gx_slice(json, n), &map, &e) == GX_OK ? map
								    : NULL;
}

int
main(void)
{
	xmlSchemaParserCtxtPtr ctxt = xmlSchemaNewParserCtxt(XSD);
	xmlSchemaPtr schema = xmlSchemaParse(ctxt);
	struct gx_xml_map *map = load_map();
	struct gx_xml_xsd *xsd = NULL;
	struct gx_err e = {0};
	struct gx_buf doc;

	gx_buf_init(&doc, (size_t)256 << 20);
	make_document(&doc);
	(void)gx_buf_str(&doc);
	bool good = schema && map && gx_xml_xsd_load(XSD, &xsd, &e) == GX_OK &&
		    measure(map, xsd, schema, gx_buf_view(&doc)) &&
		    is_fault_seen(map, xsd, &doc);
	gx_buf_free(&doc);
	gx_xml_xsd_free(&xsd);
	gx_xml_map_free(&map);
	xmlSchemaFree(schema);
	xmlSchemaFreeParserCtxt(ctxt);
	return good ? 0 : 1;
}
