/*
 * The XSD of a department's documents, and what its faults are called.
 *
 * libxml2 compiles the schema and checks documents as they stream by; here it
 * is only kept from loading anything it should not.  A schema may include and
 * import others; each goes through one loader, which opens a file only if it
 * really lies in the folder of the first or below, symbolic links resolved,
 * and has no DTD.  At all other times the loader opens nothing at all, so a
 * document cannot have anything fetched whatever it says.  The loader is one
 * for the process, as libxml2 wants it; which folder is open is known to the
 * one thread that reads a schema, and only while it does.
 *
 * A schema with any fault is refused, also one whose import leads nowhere:
 * libxml2 would go on without it and accept what it should not.
 *
 * libxml2's texts hold values and names of the document.  None of them leaves
 * this module: a fault is told by the rule of the standard that is broken (XML
 * Schema Part 1, appendix B.1, and Part 2), which is what people search for.
 * If we die on any line, nothing was written.
 */
#include "record/xml_int.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/uri.h>
#include <libxml/xmlschemas.h>
#include <pthread.h>
#include <string.h>

#define XSD_MAGIC 0x78787364u
#define FILES_MAX 256

/* What a thread that reads a schema may open. */
struct door {
	char *folder; /* with "/" at its end; NULL: nothing */
	int n_files;
	const char *fault; /* static */
	int line;	   /* of the first fault libxml2 saw */
	int code;
};
static _Thread_local struct door door;

static char *
resolve(const char *url)
{
	char *real = realpath(url, NULL);

	if (!real && strncmp(url, "file:///", 8) == 0) {
		real = realpath(url + 7, NULL);
	}
	if (!real && strchr(url, '%')) {
		char *plain = xmlURIUnescapeString(url, 0, NULL);
		real = plain ? realpath(plain, NULL) : NULL;
		xmlFree(plain);
	}
	return real;
}

static ptrdiff_t
read_file(void *ctx, char *p, size_t n)
{
	size_t got = fread(p, 1, n, ctx);

	return ferror((FILE *)ctx) ? -1 : (ptrdiff_t)got;
}

/* Why a file may not be part of a schema, NULL if it may. */
static const char *
look_at(const char *path)
{
	struct gx_xml_count count;
	struct gx_err e = {0};
	FILE *f = fopen(path, "rbe");
	struct gx_xml_in in = {.read = read_file, .ctx = f};

	if (!f) {
		return "a file cannot be read";
	}
	enum gx_rc rc = gx_xml_read(NULL, NULL, &in, &count, &e);
	(void)fclose(f);
	return rc == GX_OK			? NULL
	       : strcmp(e.code, "xml.dtd") == 0 ? "a file has a DTD"
						: "a file is not well formed";
}

static xmlParserInputPtr
open_part(const char *url, xmlParserCtxtPtr ctxt, const char *path)
{
	size_t n = strlen(door.folder);

	if (!path || strncmp(path, door.folder, n) != 0) {
		door.fault = path ? "a file lies outside of its folder"
				  : "a file is not there";
		return NULL;
	}
	if (++door.n_files > FILES_MAX) {
		door.fault = "more than 256 files";
		return NULL;
	}
	door.fault = look_at(path);
	(void)url;
	return door.fault ? NULL : xmlNewInputFromFile(ctxt, path);
}

/* The one loader of the process. */
static xmlParserInputPtr
load(const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
	(void)id;
	if (!door.folder || door.fault || !url) {
		return NULL;
	}
	char *path = resolve(url);
	xmlParserInputPtr in = open_part(url, ctxt, path);
	gx_mem_free(path);
	return in;
}

static void
prepare(void)
{
	xmlInitParser();
	xmlSetExternalEntityLoader(load);
}

void
gx_xml_prepare(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, prepare);
}

static void
take_fault(void *ctx, xmlErrorPtr err)
{
	bool is_warning = err->level == XML_ERR_WARNING &&
			  err->code != XML_SCHEMAP_WARN_UNLOCATED_SCHEMA;

	(void)ctx;
	if (!is_warning && door.code == 0) {
		door.code = err->code;
		door.line = err->line;
	}
}

static xmlSchemaPtr
compile(const char *path)
{
	xmlSchemaParserCtxtPtr ctxt = xmlSchemaNewParserCtxt(path);
	xmlSchemaPtr schema = NULL;

	xmlSetStructuredErrorFunc(NULL, take_fault);
	if (ctxt) {
		xmlSchemaSetParserStructuredErrors(ctxt, take_fault, NULL);
		schema = xmlSchemaParse(ctxt);
		xmlSchemaFreeParserCtxt(ctxt);
	}
	xmlSetStructuredErrorFunc(NULL, NULL);
	return schema;
}

enum gx_rc
gx_xml_xsd_load(const char *path, struct gx_xml_xsd **out, struct gx_err *e)
{
	char *real = realpath(path, NULL);
	enum gx_rc rc = GX_OK;

	*out = NULL;
	if (!real) {
		return GX_ERR(e, GX_REJECT, "xml.xsd", "%s", strerror(errno));
	}
	gx_xml_prepare();
	door = (struct door){.folder = gx_mem_strdup(real)};
	strrchr(door.folder, '/')[1] = '\0';
	xmlSchemaPtr schema = compile(real);
	if (!schema || door.fault || door.code != 0) {
		rc = GX_ERR(e, GX_REJECT, "xml.xsd",
			    "line %d: %s (code %d of libxml2)", door.line,
			    door.fault ? door.fault : "no good XSD", door.code);
		xmlSchemaFree(schema);
	} else {
		struct gx_xml_xsd *x = gx_mem_new(sizeof(*x));
		x->magic = XSD_MAGIC;
		x->schema = schema;
		*out = x;
	}
	gx_mem_free(door.folder);
	door = (struct door){0};
	gx_mem_free(real);
	return rc;
}

void
gx_xml_xsd_free(struct gx_xml_xsd **x)
{
	if (*x) {
		GX_ASSERT((*x)->magic == XSD_MAGIC);
		xmlSchemaFree((*x)->schema);
		(*x)->magic = 0;
		gx_mem_free(*x);
		*x = NULL;
	}
}

bool
gx_xml_xsd_is_content(int code)
{
	return code == XML_SCHEMAV_ELEMENT_CONTENT;
}

const char *
gx_xml_xsd_word(int code)
{
	static const char *const words[] = {
		"cvc-datatype-valid.1.2.1: a value is not of its type",
		"cvc-datatype-valid.1.2.2: a value is not of its list type",
		"cvc-datatype-valid.1.2.3: a value is not of its union type",
		"cvc-type.3.1.1: an attribute on an element of simple type",
		"cvc-type.3.1.2: an element in an element of simple type",
		"cvc-facet-valid: a value breaks a facet",
		"cvc-length-valid: a value is not of the length",
		"cvc-minLength-valid: a value is too short",
		"cvc-maxLength-valid: a value is too long",
		"cvc-minInclusive-valid: a value is too small",
		"cvc-maxInclusive-valid: a value is too large",
		"cvc-minExclusive-valid: a value is too small",
		"cvc-maxExclusive-valid: a value is too large",
		"cvc-totalDigits-valid: a value has too many digits",
		"cvc-fractionDigits-valid: too many digits after the point",
		"cvc-pattern-valid: a value does not match its pattern",
		"cvc-enumeration-valid: a value is none of those allowed",
		"cvc-complex-type.2.1: content in an empty element",
		"cvc-complex-type.2.2: an element where only text may be",
		"cvc-complex-type.2.3: text where only elements may be",
		"cvc-complex-type.2.4: an element that is not expected",
		"cvc-elt.1: an element that is not declared",
		"cvc-elt.2: an abstract element",
		"cvc-elt.3.1: xsi:nil where it may not be",
		"cvc-elt.3.2.1: a nil element with content",
		"cvc-elt.3.2.2: a nil element with a fixed value",
		"cvc-elt.4.1: xsi:type is no name",
		"cvc-elt.4.2: xsi:type names no type",
		"cvc-elt.4.3: xsi:type is not derived",
		"cvc-elt.5.1.1: a default is not of the type",
		"cvc-elt.5.1.2: a default is not of the type",
		"cvc-elt.5.2.1: an element is not of its type",
		"cvc-elt.5.2.2.1: elements beside a fixed value",
		"cvc-elt.5.2.2.2.1: not the fixed value",
		"cvc-elt.5.2.2.2.2: not the fixed value",
		"cvc-elt.6: a fault of identity",
		"cvc-elt.7: a fault of the root",
		"cvc-attribute.1: an attribute is not declared",
		"cvc-attribute.2: an attribute has no type",
		"cvc-attribute.3: an attribute is not of its type",
		"cvc-attribute.4: an attribute has not its fixed value",
		"cvc-complex-type.3.1: an attribute has not its fixed value",
		"cvc-complex-type.3.2.1: an attribute that is not allowed",
		"cvc-complex-type.3.2.2: an attribute that is not allowed",
		"cvc-complex-type.4: a required attribute is missing",
		"cvc-complex-type.5.1: two ids on one element",
		"cvc-complex-type.5.2: two ids on one element",
		"cvc-complex-type.2.4: an element is missing or not expected",
		"the root element is missing",
		"cvc-complex-type.1: an abstract type",
		"cvc-au: an attribute has not its fixed value",
		"cvc-type.1: a type is missing",
		"cvc-type.2: an abstract type",
		"cvc-identity-constraint: a key twice, missing or unknown",
		"cvc-wildcard: an element or attribute not allowed here",
	};
	const int first = XML_SCHEMAV_CVC_DATATYPE_VALID_1_2_1;
	const int n = (int)(sizeof(words) / sizeof(words[0]));

	return code >= first && code < first + n ? words[code - first]
						 : "not valid by the XSD";
}
