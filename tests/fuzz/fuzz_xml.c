/*
 * Fuzz the XML reader, with and without an XSD.
 *
 * The first byte says how large the pieces are and whether an XSD is there.
 * What comes out must be JSON within policy, numbered without a gap, and the
 * same when the document is read again in other pieces; a document that is
 * refused must be so both times.
 */
#include "record/schema.h"
#include "record/xml.h"

#include <unistd.h>

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

static const char map_json[] =
	"{\"record\":\"/a/r\",\"namespaces\":{\"p\":\"urn:1\"},\"fields\":["
	"{\"name\":\"all\",\"path\":\".\"},{\"name\":\"x\",\"path\":\"x\"},"
	"{\"name\":\"l\",\"path\":\"p:y/@p:k\",\"array\":true},"
	"{\"name\":\"i\",\"path\":\"@i\",\"type\":\"integer\"},"
	"{\"name\":\"d\",\"path\":\"d\",\"type\":\"decimal\"},"
	"{\"name\":\"b\",\"path\":\"b\",\"type\":\"boolean\"},"
	"{\"name\":\"c\",\"path\":\"@c\",\"format\":\"project-code\","
	"\"trim\":true}]}";
static const char xsd_text[] =
	"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>"
	"<xs:element name='a'><xs:complexType><xs:sequence>"
	"<xs:element name='r' minOccurs='0' maxOccurs='9'><xs:complexType "
	"mixed='true'><xs:sequence><xs:element name='x' minOccurs='0' "
	"nillable='true'><xs:simpleType><xs:restriction base='xs:string'>"
	"<xs:pattern value='[a-c]{1,3}'/></xs:restriction></xs:simpleType>"
	"</xs:element><xs:any processContents='lax' minOccurs='0' "
	"maxOccurs='9'/></xs:sequence><xs:attribute name='i' "
	"type='xs:integer'/></xs:complexType></xs:element></xs:sequence>"
	"</xs:complexType><xs:unique name='u'><xs:selector xpath='r'/>"
	"<xs:field xpath='@i'/></xs:unique></xs:element></xs:schema>";

struct source {
	struct gx_slice rest;
	size_t piece;
	uint64_t last;
	struct gx_buf out;
};

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct source *s = ctx;

	n = n < s->rest.n ? n : s->rest.n;
	n = n < s->piece ? n : s->piece;
	if (n) {
		memcpy(p, s->rest.p, n);
		s->rest = gx_slice(s->rest.p + n, s->rest.n - n);
	}
	return (ptrdiff_t)n;
}

static bool
take(void *ctx, const struct gx_xml_row *row)
{
	struct source *s = ctx;
	size_t at;

	GX_ASSERT(row->number == ++s->last);
	GX_ASSERT(row->reason || !gx_json_syntax(row->json, &at));
	gx_buf_printf(&s->out, "%d:", (int)row->line);
	if (row->reason) {
		gx_buf_puts(&s->out, row->reason);
		gx_buf_slice(&s->out, row->field);
	} else {
		gx_buf_slice(&s->out, row->json);
	}
	gx_buf_putc(&s->out, '\n');
	return true;
}

static struct gx_xml_map *map;
static struct gx_xml_xsd *xsd;

static void
prepare(void)
{
	char path[] = "/tmp/gx-fuzz-xml.XXXXXX";
	struct gx_err e = {0};
	int fd = mkstemp(path);

	GX_ASSERT(write(fd, xsd_text, sizeof(xsd_text) - 1) ==
		  (ssize_t)sizeof(xsd_text) - 1);
	close(fd);
	GX_ASSERT(gx_xml_map_new(gx_slice_str(map_json), &map, &e) == GX_OK);
	GX_ASSERT(gx_xml_xsd_load(path, &xsd, &e) == GX_OK);
	unlink(path);
}

static enum gx_rc
read_in(struct source *s, struct gx_slice doc, size_t piece, bool has_xsd)
{
	struct gx_xml_in in = {.read = read_some, .take = take, .ctx = s};
	struct gx_xml_count count;
	struct gx_err e = {0};

	*s = (struct source){.rest = doc, .piece = piece};
	gx_buf_init(&s->out, (size_t)32 << 20);
	return gx_xml_read(map, has_xsd ? xsd : NULL, &in, &count, &e);
}

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
	struct source one, two;

	if (n < 1) {
		return 0;
	}
	if (!map) {
		prepare();
	}
	struct gx_slice doc = {(const char *)p + 1, n - 1};
	enum gx_rc a = read_in(&one, doc, SIZE_MAX, p[0] & 1);
	enum gx_rc b = read_in(&two, doc, 1 + (p[0] >> 1), p[0] & 1);
	GX_ASSERT(a == b && (a == GX_OK || a == GX_REJECT));
	GX_ASSERT(a != GX_OK ||
		  gx_slice_eq(gx_buf_view(&one.out), gx_buf_view(&two.out)));
	gx_buf_free(&one.out);
	gx_buf_free(&two.out);
	return 0;
}
