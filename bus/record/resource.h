/*
 * A resource: one JSON Schema file whose x-gx-* annotations say the rest.
 * From it come validator, table, key, catalogue entry and docs.
 *
 * Top level:
 *   "x-gx-resource": {
 *      "name": "social.insured",      <domain>.<name>, also the table's name
 *      "version": 1,
 *      "key": ["aac001"],             required properties, in key order
 *      "streams": 1,                  number of streams per origin
 *      "return": {"by": "region", "item": "region"},  how a record is found
 *                                     to concern a node below (docs/levels.md)
 *      "former": ["<64 hex>"],        SM3 of former texts of this file whose
 *                                     batches may still be under way
 *      "catalogue": { the 13 core metadata elements of the 1272 guide }
 *   }
 * Each property:
 *   "x-gx-item": {
 *      "type": "C", "length": 18,     data type of standards.md 3
 *      "precision": 16, "scale": 2,   for N and Y: value is a decimal string
 *      "share": 2, "level": 3, "mask": "resident-id"
 *   }
 * "title" of a property is its Chinese name.
 */
#ifndef GX_RECORD_RESOURCE_H
#define GX_RECORD_RESOURCE_H

#include "record/schema.h"

struct gx_field {
	const char *name;    /* property and column name */
	const char *title;   /* Chinese name */
	const char *pg_type; /* "text", "date", "numeric(16,2)", "timestamptz",
				"integer", "bigint", "boolean", "jsonb" */
	bool is_key, is_required;
	bool is_string; /* the schema allows a string for it */
	int share;	/* 1 unconditional, 2 conditional, 3 not shared */
	int level;	/* sensitivity 1..4 */
	const char *mask;
};

struct gx_resource {
	const char *name;   /* "social.insured" */
	const char *domain; /* "social" */
	const char *table;  /* "insured" */
	const char *title;
	int version;
	int n_streams;
	size_t n_fields;
	const struct gx_field *fields; /* same index as gx_schema_field */
	size_t n_keys;
	const int *keys; /* field indexes in key order */
	const struct gx_schema *schema;
	struct gx_slice text; /* the file's bytes, for its digest */
	/* SM3 (64 hex digits) of former texts of the file: batches sealed
	 * under them are still taken. */
	size_t n_former;
	const char *const *former;
	/* Which item says whom below a record concerns. */
	enum gx_return {
		GX_RETURN_NONE,
		GX_RETURN_REGION,
		GX_RETURN_STREAM
	} return_by;
	size_t return_item; /* its field */
};

/* Load and check a declaration (docs/resource.md).  GX_REJECT
 * "resource.refused" with pointer, or "schema.refused" if it is already wrong
 * as a schema.  A check of its schema also refuses what the table could not
 * hold: keyword "x-gx-item" or "x-gx-resource". */
enum gx_rc gx_resource_load(const char *path, struct gx_resource **out,
			    struct gx_err *e) GX_MUSTCHECK;
/* The same, and each fault is told in the order it was found; e is the first.
 * A schema that is refused hides the faults of its properties. */
typedef void (*gx_resource_fault_f)(void *ctx, const struct gx_err *fault);
enum gx_rc gx_resource_check(const char *path, gx_resource_fault_f each,
			     void *ctx, struct gx_resource **out,
			     struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_resource_parse(struct gx_slice text, struct gx_resource **out,
			     struct gx_err *e) GX_MUSTCHECK;
void gx_resource_free(struct gx_resource **r);

/* Append the record's key as a canonical JSON array of strings, e.g.
 * ["450100001234"], from the fields of the last run of c.  Strings keep their
 * decoded text, numbers their raw text.  false if a key field is absent, not
 * a string or number, longer than 256 bytes, or not storable. */
bool gx_resource_key(const struct gx_resource *r, const struct gx_check *c,
		     struct gx_buf *out);

/* Append one value of a COPY text row for field i from raw JSON text: "\N" if
 * absent; strings decoded and escaped.  false if the store cannot hold it
 * (\u0000, lone surrogate). */
bool gx_resource_copy_value(const struct gx_resource *r, size_t i,
			    struct gx_slice raw, struct gx_buf *out);

#endif
