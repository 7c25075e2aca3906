/*
 * JSON trees and a JSON writer, for declarations, configuration, HTTP bodies
 * and API answers (the per-record path has its own scanner in record/).
 * Policy of RFC 8259 within limits: UTF-8, no BOM, no comments, no duplicate
 * member names, depth <= 64.  yajl (event API only) lives only here.
 */
#ifndef GX_BASE_JSON_H
#define GX_BASE_JSON_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

enum gx_json_type {
	GX_JSON_NULL,
	GX_JSON_FALSE,
	GX_JSON_TRUE,
	GX_JSON_NUMBER,
	GX_JSON_STRING,
	GX_JSON_ARRAY,
	GX_JSON_OBJECT
};

/* A value.  Everything lives in the arena given to gx_json_parse. */
struct gx_json {
	enum gx_json_type type;
	struct gx_slice text; /* string: decoded, NUL-terminated; number: raw */
	struct gx_slice name; /* member name if the parent is an object */
	struct gx_slice raw;  /* the bytes of this value in the input */
	struct gx_json *child; /* first element or member */
	struct gx_json *next;  /* next sibling */
	size_t n;	       /* number of children */
};

/* GX_REJECT "json.syntax" with byte offset and reason (no input bytes). */
enum gx_rc gx_json_parse(struct gx_arena *a, struct gx_slice in,
			 const struct gx_json **out,
			 struct gx_err *e) GX_MUSTCHECK;

/* Member of an object, element of an array; NULL if absent or wrong type. */
const struct gx_json *gx_json_get(const struct gx_json *obj, const char *name);
const struct gx_json *gx_json_at(const struct gx_json *arr, size_t i);
/* NUL-terminated text of a string member, or dflt. */
const char *gx_json_str(const struct gx_json *obj, const char *name,
			const char *dflt);
int64_t gx_json_int(const struct gx_json *obj, const char *name, int64_t dflt);
bool gx_json_bool(const struct gx_json *obj, const char *name, bool dflt);

/* Writer: appends to b.  Commas are the writer's business: begin/end pairs
 * nest, each value inside an object is preceded by gx_jw_name. */
struct gx_jw {
	struct gx_buf *b;
	bool need_comma;
};
void gx_jw_init(struct gx_jw *w, struct gx_buf *b);
void gx_jw_begin(struct gx_jw *w, char open); /* '{' or '[' */
void gx_jw_end(struct gx_jw *w, char close);  /* '}' or ']' */
void gx_jw_name(struct gx_jw *w, const char *name);
void gx_jw_str(struct gx_jw *w,
	       struct gx_slice s);		 /* invalid UTF-8 -> U+FFFD */
void gx_jw_cstr(struct gx_jw *w, const char *s); /* NULL -> null */
void gx_jw_int(struct gx_jw *w, int64_t v);
void gx_jw_u64(struct gx_jw *w, uint64_t v);
void gx_jw_double(struct gx_jw *w, double v);
void gx_jw_bool(struct gx_jw *w, bool v);
void gx_jw_null(struct gx_jw *w);
void gx_jw_raw(struct gx_jw *w, struct gx_slice json); /* trusted JSON text */
/* name + value in one call */
void gx_jw_kv_str(struct gx_jw *w, const char *name, const char *v);
void gx_jw_kv_int(struct gx_jw *w, const char *name, int64_t v);
void gx_jw_kv_bool(struct gx_jw *w, const char *name, bool v);

/* Append s as the inside of a JSON string (without quotes) to b. */
bool gx_json_escape(struct gx_buf *b, struct gx_slice s);

#endif
