/*
 * What the files of the XML reader share: the compiled map, the scan of raw
 * bytes, words for faults of an XSD.
 */
#ifndef GX_RECORD_XML_INT_H
#define GX_RECORD_XML_INT_H

#include "record/format.h"
#include "record/xml.h"

#define GX_XML_FIELDS 1024
#define GX_XML_STEPS 32
#define GX_XML_NODES 4096
#define GX_XML_NONE UINT32_MAX

enum gx_xml_type {
	GX_XML_STRING,
	GX_XML_INTEGER,
	GX_XML_DECIMAL,
	GX_XML_BOOLEAN
};

/* A name as XML has it: uri == NULL is no namespace. */
struct gx_xml_name {
	const char *uri, *local;
};

/* One declared member. */
struct gx_xml_field {
	const char *name;
	struct gx_slice head; /* "name": as it stands in a record */
	enum gx_xml_type type;
	gx_format_f *format; /* NULL: none */
	bool is_array, has_trim, is_required;
	uint32_t next; /* of the same element or attribute, GX_XML_NONE: last */
};

/*
 * The steps of all paths are one tree; nodes[0] is the document, the record's
 * path its first chain.  Elements and attributes are siblings.
 */
struct gx_xml_node {
	struct gx_xml_name name;
	bool is_attribute;
	uint32_t child, sibling; /* GX_XML_NONE: no more */
	uint32_t field;		 /* first that takes its value */
};

struct gx_xml_map {
	unsigned magic;
	struct gx_arena *arena;
	struct gx_xml_node *nodes;
	uint32_t n_nodes;
	struct gx_xml_field *fields;
	uint32_t n_fields;
	uint32_t record; /* node of the record */
};

/* One value: a range of text or attributes. */
struct gx_xml_value {
	size_t from, n;
	bool is_attribute;
	uint32_t next; /* of the same field */
};

/* First and last value of a field. */
struct gx_xml_ends {
	uint32_t first, last;
};

/* The record being read; one is used for all of a document. */
struct gx_xml_record {
	const struct gx_xml_map *map;
	uint64_t line; /* where the reader is: set by it before it calls */
	struct gx_xml_row row;
	struct gx_buf text, attributes, json;
	struct gx_xml_ends *ends; /* by field */
	struct gx_xml_value *values;
	uint32_t n_values, cap_values;
	int today_ymd;
};
struct gx_xml_record *gx_xml_record_new(const struct gx_xml_map *map);
void gx_xml_record_free(struct gx_xml_record **rec);
void gx_xml_record_begin(struct gx_xml_record *rec, uint64_t number);
/* It is refused; the first reason counts. */
void gx_xml_record_reject(struct gx_xml_record *rec, const char *reason,
			  struct gx_slice field);
/* Text while an element that a field wants is open. */
void gx_xml_record_text(struct gx_xml_record *rec, const char *p, size_t n);
/* The text from there to its end is a value of this field and its next. */
void gx_xml_record_element(struct gx_xml_record *rec, uint32_t field,
			   size_t from);
/* A value as libxml2 hands it over. */
void gx_xml_record_attribute(struct gx_xml_record *rec, uint32_t field,
			     const char *p, const char *end);
/* row is complete but for what the XSD still has to say. */
void gx_xml_record_end(struct gx_xml_record *rec);

/*
 * Scan of raw bytes in front of libxml2, whose cost grows with the square of
 * the attributes of one tag before it asks anybody.  Zeroed, but for width.
 */
struct gx_xml_scan {
	unsigned width; /* 1 or 2 bytes a unit, 0: not known yet */
	bool is_big;	/* the high byte first */
	bool has_bom;	/* of UTF-8 */
	bool is_double; /* declared: a byte above 0x80 takes the next along */
	bool has_odd;	/* the first byte of a unit is in odd */
	unsigned char odd;
	unsigned state;
	unsigned quote;	   /* that ends the value we are in */
	unsigned matched;  /* units of what would end a comment and the like */
	size_t n_tag;	   /* units since '<' */
	size_t n_equals;   /* of them '=' outside of values */
	const char *fault; /* static; NULL while all is well */
	bool is_dtd;	   /* the fault is a DTD */
};
/* Look at the next bytes, in order; the first piece has at least 4 bytes if
 * the document has.  false once there is a fault. */
bool gx_xml_scan(struct gx_xml_scan *s, const char *p, size_t n);

struct gx_xml_xsd {
	unsigned magic;
	void *schema; /* xmlSchemaPtr */
};
/* Words for the code of a fault found by an XSD: static. */
const char *gx_xml_xsd_word(int code);
/* Is it the content of the parent that is wrong? */
bool gx_xml_xsd_is_content(int code);
/* libxml2 is made ready once, with nothing it may load. */
void gx_xml_prepare(void);

#endif
