/*
 * A compiled schema: what schema_*.c build and check*.c run.  Everything lies
 * in the schema's own arena and never changes once it is compiled.
 */
#ifndef GX_RECORD_SCHEMA_INT_H
#define GX_RECORD_SCHEMA_INT_H

#include "base/json.h"
#include "record/column.h"
#include "record/decimal.h"
#include "record/digest.h"
#include "record/format.h"
#include "record/pattern.h"
#include "record/scan.h"
#include "record/schema.h"

#include <stdint.h>

#define GX_SCHEMA_NODES 20000 /* subschemas of one schema */
#define GX_SCHEMA_SPREAD 4096 /* rules that may apply at one place */
#define GX_SCHEMA_NONE (-1)

/* Kinds of a value, as bits. */
enum {
	KIND_NULL = 1,
	KIND_BOOL = 2,
	KIND_INTEGER = 4,
	KIND_FRACTION = 8,
	KIND_STRING = 16,
	KIND_ARRAY = 32,
	KIND_OBJECT = 64,
	KIND_ALL = 127
};

/* One thing that can be wrong: keyword and what to tell. */
struct gx_rule {
	struct gx_slice keyword, message;
};

/* Names a schema mentions: an open hash table over slices. */
struct gx_names {
	struct gx_slice *at;
	uint32_t *table; /* index + 1, 0 is free */
	uint32_t n, mask;
};

struct gx_sch_string {
	uint64_t min, max; /* code points; max UINT64_MAX: none */
	struct gx_pattern *pattern;
	gx_format_f *format;
	struct gx_rule on_min, on_max, on_pattern, on_limit, on_format;
};

/* One of minimum, maximum, exclusive*. */
struct gx_bound {
	bool is_set, is_exclusive, is_small;
	int64_t small;
	struct gx_decimal value;
	struct gx_rule rule;
};

struct gx_sch_number {
	struct gx_bound low[2], high[2]; /* inclusive, exclusive */
	bool has_multiple;
	bool is_small; /* all of it can be decided in 64 bits */
	struct gx_decimal multiple;
	struct gx_rule on_multiple;
};

struct gx_sch_array {
	int32_t *prefix;
	size_t n_prefix;
	int32_t items, contains;
	uint64_t min, max, min_contains, max_contains;
	bool is_unique;
	struct gx_rule on_min, on_max, on_few, on_many, on_twin;
};

/*
 * What the usual member asks, together in one place: its name as the usual
 * record writes it, `"name":`, to be compared at once, and the one simple rule
 * for its value.
 */
#define GX_LEAD 16
struct gx_sch_usual {
	const struct gx_sch_node *node; /* NULL: no usual member */
	uint64_t text[2], care[2];	/* bytes in memory order; which count:
					   none of a name that is too long */
	bool is_literal; /* no character of the name is ever escaped */
};

struct gx_sch_need {
	uint32_t trigger, needed; /* indexes of names */
};

struct gx_sch_object {
	struct gx_names names;
	int32_t *child;		    /* by name: its schema, NONE */
	bool *is_declared;	    /* by name: stands in "properties" */
	struct gx_sch_usual *usual; /* by name */
	uint64_t *required;
	size_t n_words; /* of a set of names */
	size_t n_required, n_needs;
	struct gx_sch_need *needs; /* dependentRequired */
	struct gx_pattern **pattern;
	int32_t *pattern_child;
	size_t n_patterns;
	int32_t additional, property_names;
	bool is_plain; /* no patternProperties, no propertyNames */
	uint64_t min, max;
	struct gx_rule on_min, on_max, on_required, on_need, on_name;
};

struct gx_sch_value {
	struct gx_slice text; /* decoded, if it is a string */
	struct gx_digest digest;
	bool is_string;
};

/* enum and const. */
struct gx_sch_values {
	struct gx_sch_value *at;
	size_t n;
	struct gx_rule rule;
	struct gx_sch_values *next;
};

/* Branches whose results are combined. */
enum gx_app_kind { APP_ANY, APP_ONE, APP_NOT, APP_IF, APP_DEPENDENT };
struct gx_sch_app {
	enum gx_app_kind kind;
	int32_t *branch; /* APP_IF: if, then, else, NONE if absent */
	uint32_t n;
	uint32_t trigger; /* APP_DEPENDENT: index of a name */
	struct gx_rule rule, on_second;
};

struct gx_sch_node {
	unsigned kinds; /* that are allowed */
	struct gx_rule on_kind;
	struct gx_sch_string *str;
	struct gx_sch_number *num;
	struct gx_sch_array *arr;
	struct gx_sch_object *obj;
	struct gx_sch_values *values;
	struct gx_sch_app *apps;
	size_t n_apps;
	/* Itself, and what applies wherever it does: allOf, $ref. */
	uint32_t *closure;
	uint32_t n_closure;
	bool is_simple; /* alone, and without branches */
	/* While compiling. */
	const struct gx_json *json;
	int32_t *all;
	size_t n_all;
	int32_t ref;
	uint32_t spread;
	int mark;
};

struct gx_schema {
	unsigned magic;
	struct gx_arena *arena;
	struct gx_digest_key key;
	struct gx_sch_node *node; /* 0 is the root */
	size_t n_nodes;
	size_t n_fields;
	const struct gx_column *columns; /* of a resource, by field */
};

/* Everything while a schema is compiled. */
struct gx_builder {
	struct gx_schema *sch;
	const struct gx_json *root;
	struct gx_arena *tree;
	size_t cap;
	struct gx_slice id; /* of the root, without fragment */
	struct gx_buf text, path;
	struct gx_err *e;
	enum gx_rc rc;
};

/* Index of a name, NONE if it is not there.  hint: tried first. */
int32_t gx_schema_names_find(const struct gx_names *t, struct gx_slice name,
			     uint32_t hint);

/* Refuse: "<keyword> at <pointer>: why".  Always false. */
bool gx_schema_refuse(struct gx_builder *b, const char *keyword,
		      const char *why);
/* Room in the schema's arena; NULL after gx_schema_refuse. */
void *gx_schema_alloc(struct gx_builder *b, size_t n, size_t size);
bool gx_schema_push(struct gx_builder *b, const char *name, size_t *mark);
void gx_schema_pop(struct gx_builder *b, size_t mark);
/* Compile the subschema; its index, NONE after a refusal. */
int32_t gx_schema_add(struct gx_builder *b, const struct gx_json *json,
		      const char *label);
/* Read the keywords of node at, whose object this is. */
bool gx_schema_read_keys(struct gx_builder *b, int32_t at,
			 const struct gx_json *json);
/* Object keywords, which look at each other. */
bool gx_schema_read_object(struct gx_builder *b, int32_t at,
			   const struct gx_json *json);
struct gx_rule gx_schema_rule(struct gx_builder *b, const char *keyword,
			      const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A count: integer >= 0.  False after a refusal. */
bool gx_schema_count(struct gx_builder *b, const struct gx_json *v,
		     const char *keyword, uint64_t *out);
/* Resolve each $ref, refuse circles, lay out what applies together. */
bool gx_schema_link(struct gx_builder *b);
/* Of a resource: the column of each field, which it must fit; kept.  Strings
 * that no store can keep are faults from now on. */
void gx_schema_demand_columns(struct gx_schema *s,
			      const struct gx_column *columns);

#endif
