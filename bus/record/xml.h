/*
 * XML documents as records: a declared map, perhaps an XSD, a document read
 * once from its beginning.  libxml2 lives only in bus/record/xml*.c.
 * docs/xml-map.md says what a map may hold and what is refused.
 */
#ifndef GX_RECORD_XML_H
#define GX_RECORD_XML_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

/* A map: immutable, may be shared by threads. */
struct gx_xml_map;
/* GX_REJECT "xml.map" with the pointer of the place.  text is not kept. */
enum gx_rc gx_xml_map_new(struct gx_slice text, struct gx_xml_map **out,
			  struct gx_err *e) GX_MUSTCHECK;
void gx_xml_map_free(struct gx_xml_map **m);

/* An XSD with what it includes from its own folder: immutable, may be shared
 * by threads.  GX_REJECT "xml.xsd". */
struct gx_xml_xsd;
enum gx_rc gx_xml_xsd_load(const char *path, struct gx_xml_xsd **out,
			   struct gx_err *e) GX_MUSTCHECK;
void gx_xml_xsd_free(struct gx_xml_xsd **x);

/* One record, lent until the callback returns. */
struct gx_xml_row {
	uint64_t number; /* in the document, from 1, refused ones too */
	uint64_t line;	 /* its first line, or that of the fault */
	struct gx_slice
		json;	    /* one object without a line end; if not refused */
	const char *reason; /* NULL: taken.  static, echoes no value */
	struct gx_slice field; /* whose fault it is; n = 0: nobody's */
};

/* A document is given by a function that fills p with up to n bytes: how many,
 * 0 at the end, -1 if it cannot be read. */
typedef ptrdiff_t gx_xml_read_f(void *ctx, char *p, size_t n);
/* false ends the reading. */
typedef bool gx_xml_take_f(void *ctx, const struct gx_xml_row *row);

struct gx_xml_in {
	gx_xml_read_f *read;
	gx_xml_take_f *take; /* NULL: only look at the document */
	void *ctx;
	/* Records up to this number are counted but not made: with the digest
	 * of the document it is the position to go on from. */
	uint64_t after;
};
struct gx_xml_count {
	uint64_t taken, refused; /* of those behind "after" */
	uint64_t line;		 /* where reading ended */
};

/*
 * Read a document to its end, handing over each record as it is complete.
 * The records handed over stand only if the answer is GX_OK: whether a
 * document is good is known at its end, so a caller keeps them aside, or reads
 * twice and publishes the second time.
 *
 * GX_REJECT: the whole document is refused: "xml.document" (not well formed,
 * a limit, an encoding), "xml.dtd", "xml.invalid" (by the XSD, outside of
 * every record); the text has the line.  GX_FATAL "xml.read": read() or
 * take() gave up.  xsd may be NULL.  map may be NULL: no records, the document
 * is only looked at.  Needs a few MiB, whatever the size of the document.
 */
enum gx_rc gx_xml_read(const struct gx_xml_map *map,
		       const struct gx_xml_xsd *xsd, const struct gx_xml_in *in,
		       struct gx_xml_count *count,
		       struct gx_err *e) GX_MUSTCHECK;

#endif
