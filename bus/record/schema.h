/*
 * JSON Schema 2020-12, compiled to a flat program, run in one pass over the
 * bytes of a record with its own strict scanner; no allocation per record.
 *
 * Supported keywords are exactly those of the project's list (README, docs);
 * any other is refused by name and pointer, never ignored.  Annotations: the
 * standard annotation keywords, and names that begin with "x-".
 */
#ifndef GX_RECORD_SCHEMA_H
#define GX_RECORD_SCHEMA_H

#include "base/err.h"
#include "base/mem.h"

struct gx_schema;

/* Compile.  GX_REJECT "schema.refused": e->text is "<keyword> at <pointer>: why"
 * ("minLenght at /properties/a: unknown keyword").  text is not kept.
 * The result is immutable and may be shared by threads. */
enum gx_rc gx_schema_compile(struct gx_slice text, struct gx_schema **out,
			     struct gx_err *e) GX_MUSTCHECK;
void gx_schema_free(struct gx_schema **s);

/* Declared top-level properties in the order of the file. */
size_t gx_schema_n_fields(const struct gx_schema *s);
struct gx_slice gx_schema_field(const struct gx_schema *s, size_t i);
/* Index of a top-level property, -1 if not declared. */
int gx_schema_field_index(const struct gx_schema *s, struct gx_slice name);
/* True for the top-level property's "required". */
bool gx_schema_field_required(const struct gx_schema *s, size_t i);

/* One fault of a record.  pointer is RFC 6901 into the value, keyword as in
 * the schema ("format", "minLength", "syntax" for text that is not JSON);
 * message tells the rule and never echoes the value. */
struct gx_fault {
	struct gx_slice pointer, keyword, message;
};

/* Workspace of one thread for one schema; reused for every record. */
struct gx_check;
struct gx_check *gx_check_new(const struct gx_schema *s);
void gx_check_free(struct gx_check **c);

/* Check one JSON text.  true = it conforms.  All faults of the record are
 * kept (up to 64) until the next run.  No I/O, no allocation once warm. */
bool gx_check_run(struct gx_check *c, struct gx_slice json);
size_t gx_check_n_faults(const struct gx_check *c);
const struct gx_fault *gx_check_fault(const struct gx_check *c, size_t i);
/* Raw JSON text of top-level property i in the last record, n = 0 if absent.
 * Valid also after a false run as far as the record was JSON. */
struct gx_slice gx_check_field(const struct gx_check *c, size_t i);

/* Strict RFC 8259 within policy (no BOM, no duplicate member names, depth
 * <= 64, UTF-8).  NULL if good, else a static reason; *at = byte offset. */
const char *gx_json_syntax(struct gx_slice json, size_t *at);

#endif
