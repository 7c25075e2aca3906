/*
 * Keywords.
 *
 * One table says which keywords there are and who reads each.  A reader gets
 * the node and the keyword's value, fills in the node, or refuses.  A keyword
 * that is in no row is refused; annotations have a row without a reader, and
 * names that begin with "x-" are the business of others (resource.c).
 *
 * The keywords of objects look at each other (a name may stand in properties,
 * required and dependentSchemas), so schema_object.c reads them together, and
 * their rows here only say that they exist.
 *
 * Adding a subschema may move the array of nodes: readers keep the number of a
 * node, not its address, over such a call.
 */
#include "record/schema_int.h"

#define ENUM_MAX 20000

typedef bool read_f(struct gx_builder *b, int32_t at, const char *keyword,
		    const struct gx_json *v);

static struct gx_sch_node *
node_at(struct gx_builder *b, int32_t at)
{
	return &b->sch->node[at];
}

bool
gx_schema_count(struct gx_builder *b, const struct gx_json *v,
		const char *keyword, uint64_t *out)
{
	static const char why[] = "is a whole number, not negative";
	struct gx_decimal d;

	if (v->type != GX_JSON_NUMBER) {
		return gx_schema_refuse(b, keyword, why);
	}
	d = gx_decimal_parse(v->text.p, v->text.n);
	if (!gx_decimal_is_integer(&d) || d.is_negative) {
		return gx_schema_refuse(b, keyword, why);
	}
	if (d.n && d.low + (int64_t)d.n > 15) {
		return gx_schema_refuse(b, keyword, "is beyond 10^15");
	}
	*out = 0;
	for (const char *p = d.p; p < d.end; p++) {
		*out = *p == '.' ? *out : *out * 10 + (uint64_t)(*p - '0');
	}
	for (int64_t i = 0; d.n && i < d.low; i++) {
		*out *= 10;
	}
	return true;
}

static struct gx_sch_string *
string_of(struct gx_builder *b, int32_t at)
{
	struct gx_sch_node *n = node_at(b, at);

	if (!n->str) {
		n->str = gx_schema_alloc(b, 1, sizeof(*n->str));
		if (n->str) {
			n->str->max = UINT64_MAX;
		}
	}
	return n->str;
}

static struct gx_sch_number *
number_of(struct gx_builder *b, int32_t at)
{
	struct gx_sch_node *n = node_at(b, at);

	if (!n->num) {
		n->num = gx_schema_alloc(b, 1, sizeof(*n->num));
	}
	return n->num;
}

static struct gx_sch_array *
array_of(struct gx_builder *b, int32_t at)
{
	struct gx_sch_node *n = node_at(b, at);

	if (!n->arr) {
		n->arr = gx_schema_alloc(b, 1, sizeof(*n->arr));
		if (n->arr) {
			n->arr->items = n->arr->contains = GX_SCHEMA_NONE;
			n->arr->max = UINT64_MAX;
			n->arr->min_contains = 1;
			n->arr->max_contains = UINT64_MAX;
		}
	}
	return n->arr;
}

static unsigned
kind_of(struct gx_slice name)
{
	static const struct {
		const char *name;
		unsigned kinds;
	} kinds[] = {
		{"null", KIND_NULL},
		{"boolean", KIND_BOOL},
		{"string", KIND_STRING},
		{"integer", KIND_INTEGER},
		{"array", KIND_ARRAY},
		{"number", KIND_INTEGER | KIND_FRACTION},
		{"object", KIND_OBJECT},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (gx_slice_eq(name, gx_slice_str(kinds[i].name))) {
			return kinds[i].kinds;
		}
	}
	return 0;
}

static bool
read_type(struct gx_builder *b, int32_t at, const char *keyword,
	  const struct gx_json *v)
{
	bool is_list = v->type == GX_JSON_ARRAY;
	unsigned kinds = 0;
	char text[100];
	size_t n = 0;

	if (is_list && !v->child) {
		return gx_schema_refuse(b, keyword, "the list is empty");
	}
	for (const struct gx_json *m = is_list ? v->child : v; m;
	     m = is_list ? m->next : NULL) {
		unsigned k = m->type == GX_JSON_STRING ? kind_of(m->text) : 0;
		if (!k) {
			return gx_schema_refuse(b, keyword, "no such type");
		}
		for (const struct gx_json *o = v->child; is_list && o != m;
		     o = o->next) {
			if (gx_slice_eq(o->text, m->text)) {
				return gx_schema_refuse(b, keyword,
							"a type stands twice");
			}
		}
		kinds |= k;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
				      n ? " or " : "", m->text.p);
	}
	node_at(b, at)->kinds = kinds;
	node_at(b, at)->on_kind =
		gx_schema_rule(b, keyword, "is not of type %s", text);
	return true;
}

static bool
add_values(struct gx_builder *b, int32_t at, const struct gx_json *first,
	   size_t n, struct gx_rule rule)
{
	struct gx_sch_values *set = gx_schema_alloc(b, 1, sizeof(*set));

	if (!set) {
		return false;
	}
	*set = (struct gx_sch_values){.n = n, .rule = rule};
	set->at = gx_schema_alloc(b, n, sizeof(*set->at));
	if (!set->at) {
		return false;
	}
	struct gx_sch_value *v = set->at;
	for (const struct gx_json *m = first; n > 0; m = m->next, v++, n--) {
		v->is_string = m->type == GX_JSON_STRING;
		v->digest = gx_digest_value(&b->sch->key, m->raw);
		if (!v->is_string) {
			continue;
		}
		/* From the raw text: a lone surrogate equals only itself. */
		char *text = gx_schema_alloc(b, m->raw.n, 1);
		if (!text) {
			return false;
		}
		v->text = gx_slice(text,
				   gx_scan_decode(m->raw.p + 1, m->raw.n - 2,
						  false, text));
	}
	set->next = node_at(b, at)->values;
	node_at(b, at)->values = set;
	return true;
}

static bool
read_enum(struct gx_builder *b, int32_t at, const char *keyword,
	  const struct gx_json *v)
{
	if (v->type != GX_JSON_ARRAY) {
		return gx_schema_refuse(b, keyword, "is a list of values");
	}
	if (v->n > ENUM_MAX) {
		return gx_schema_refuse(b, keyword,
					"has more than 20000 "
					"values");
	}
	return add_values(b, at, v->child, v->n,
			  gx_schema_rule(b, keyword,
					 "is none of the %zu values allowed",
					 v->n));
}

static bool
read_const(struct gx_builder *b, int32_t at, const char *keyword,
	   const struct gx_json *v)
{
	return add_values(
		b, at, v, 1,
		gx_schema_rule(b, keyword, "is not the one value allowed"));
}

static bool
read_length(struct gx_builder *b, int32_t at, const char *keyword,
	    const struct gx_json *v)
{
	struct gx_sch_string *s = string_of(b, at);
	bool is_min = strcmp(keyword, "minLength") == 0;
	uint64_t limit;

	if (!s || !gx_schema_count(b, v, keyword, &limit)) {
		return false;
	}
	*(is_min ? &s->min : &s->max) = limit;
	*(is_min ? &s->on_min : &s->on_max) = gx_schema_rule(
		b, keyword, "has %s than %llu characters",
		is_min ? "fewer" : "more", (unsigned long long)limit);
	return true;
}

static bool
read_pattern(struct gx_builder *b, int32_t at, const char *keyword,
	     const struct gx_json *v)
{
	struct gx_sch_string *s = string_of(b, at);

	if (!s) {
		return false;
	}
	if (v->type != GX_JSON_STRING) {
		return gx_schema_refuse(b, keyword, "is a string");
	}
	const char *why = gx_pattern_new(v->text, &s->pattern);
	if (why) {
		return gx_schema_refuse(b, keyword, why);
	}
	s->on_pattern =
		gx_schema_rule(b, keyword, "does not match the pattern");
	s->on_limit = gx_schema_rule(
		b, keyword, "takes too many steps to match the pattern");
	return true;
}

static bool
read_format(struct gx_builder *b, int32_t at, const char *keyword,
	    const struct gx_json *v)
{
	struct gx_sch_string *s = string_of(b, at);

	if (!s) {
		return false;
	}
	s->format = v->type == GX_JSON_STRING ? gx_format_find(v->text) : NULL;
	s->on_format = gx_schema_rule(b, keyword, " ");
	return s->format || gx_schema_refuse(b, keyword, "no such format");
}

static bool
keep_decimal(struct gx_builder *b, const struct gx_json *v, const char *keyword,
	     struct gx_decimal *out)
{
	if (v->type != GX_JSON_NUMBER) {
		return gx_schema_refuse(b, keyword, "is a number");
	}
	char *text = gx_arena_dup(b->sch->arena, v->text.p, v->text.n);
	if (!text) {
		return gx_schema_refuse(b, keyword, "too large");
	}
	*out = gx_decimal_parse(text, v->text.n);
	return true;
}

/* So much of a number's text stands in a message; it ends in no NUL. */
static int
shown(const struct gx_json *v)
{
	return v->text.n < 60 ? (int)v->text.n : 60;
}

static bool
read_bound(struct gx_builder *b, int32_t at, const char *keyword,
	   const struct gx_json *v)
{
	struct gx_sch_number *num = number_of(b, at);
	bool is_exclusive = keyword[0] == 'e';
	bool is_low = strstr(keyword, "inimum") != NULL;
	struct gx_bound *limit;

	if (!num) {
		return false;
	}
	limit = &(is_low ? num->low : num->high)[is_exclusive];
	if (!keep_decimal(b, v, keyword, &limit->value)) {
		return false;
	}
	limit->is_set = true;
	limit->is_exclusive = is_exclusive;
	limit->is_small = gx_decimal_small(v->text.p, v->text.n, &limit->small);
	limit->rule = gx_schema_rule(b, keyword, "is %s %.*s",
				     is_low ? is_exclusive ? "not greater than"
							   : "less than"
				     : is_exclusive ? "not less than"
						    : "greater than",
				     shown(v), v->text.p);
	return true;
}

static bool
read_multiple(struct gx_builder *b, int32_t at, const char *keyword,
	      const struct gx_json *v)
{
	struct gx_sch_number *num = number_of(b, at);

	if (!num || !keep_decimal(b, v, keyword, &num->multiple)) {
		return false;
	}
	if (num->multiple.n == 0 || num->multiple.is_negative) {
		return gx_schema_refuse(b, keyword, "is greater than 0");
	}
	if (num->multiple.n > 18) {
		return gx_schema_refuse(b, keyword, "has more than 18 digits");
	}
	num->has_multiple = true;
	num->on_multiple = gx_schema_rule(b, keyword, "is no multiple of %.*s",
					  shown(v), v->text.p);
	return true;
}

static bool
read_item_count(struct gx_builder *b, int32_t at, const char *keyword,
		const struct gx_json *v)
{
	struct gx_sch_array *a = array_of(b, at);
	bool is_min = keyword[1] == 'i';
	bool is_contains = strstr(keyword, "Contains") != NULL;
	uint64_t limit;

	if (!a || !gx_schema_count(b, v, keyword, &limit)) {
		return false;
	}
	struct gx_rule rule = gx_schema_rule(
		b, keyword, "has %s than %llu %selements",
		is_min ? "fewer" : "more", (unsigned long long)limit,
		is_contains ? "matching " : "");
	if (is_contains) {
		*(is_min ? &a->min_contains : &a->max_contains) = limit;
		*(is_min ? &a->on_few : &a->on_many) = rule;
	} else {
		*(is_min ? &a->min : &a->max) = limit;
		*(is_min ? &a->on_min : &a->on_max) = rule;
	}
	return true;
}

static bool
read_unique(struct gx_builder *b, int32_t at, const char *keyword,
	    const struct gx_json *v)
{
	struct gx_sch_array *a = array_of(b, at);

	if (!a) {
		return false;
	}
	if (v->type != GX_JSON_TRUE && v->type != GX_JSON_FALSE) {
		return gx_schema_refuse(b, keyword, "is true or false");
	}
	a->is_unique = v->type == GX_JSON_TRUE;
	a->on_twin = gx_schema_rule(b, keyword, "two elements are equal");
	return true;
}

/* One subschema under a keyword, and perhaps a number or name. */
static int32_t
add_below(struct gx_builder *b, const char *keyword, const char *below,
	  const struct gx_json *v)
{
	size_t mark, inner = 0;
	int32_t at = GX_SCHEMA_NONE;

	if (!gx_schema_push(b, keyword, &mark)) {
		return at;
	}
	if (!below || gx_schema_push(b, below, &inner)) {
		at = gx_schema_add(b, v, keyword);
	}
	gx_schema_pop(b, mark);
	return at;
}

static bool
read_one_array(struct gx_builder *b, int32_t at, const char *keyword,
	       const struct gx_json *v)
{
	struct gx_sch_array *a = array_of(b, at);
	int32_t sub = a ? add_below(b, keyword, NULL, v) : GX_SCHEMA_NONE;

	if (sub < 0) {
		return false;
	}
	if (keyword[0] == 'i') {
		a->items = sub;
		return true;
	}
	a->contains = sub;
	if (!a->on_few.keyword.n) {
		a->on_few = gx_schema_rule(b, keyword, "no element matches");
	}
	return true;
}

/* A list of subschemas that is not empty; the numbers lie in the arena. */
static int32_t *
add_list(struct gx_builder *b, const char *keyword, const struct gx_json *v)
{
	char number[24];
	size_t i = 0;

	if (v->type != GX_JSON_ARRAY || !v->child) {
		gx_schema_refuse(b, keyword, "is a list of schemas, not empty");
		return NULL;
	}
	int32_t *list = gx_schema_alloc(b, v->n, sizeof(*list));
	for (const struct gx_json *m = v->child; list && m; m = m->next, i++) {
		snprintf(number, sizeof(number), "%zu", i);
		list[i] = add_below(b, keyword, number, m);
		if (list[i] < 0) {
			return NULL;
		}
	}
	return list;
}

static bool
read_prefix(struct gx_builder *b, int32_t at, const char *keyword,
	    const struct gx_json *v)
{
	struct gx_sch_array *a = array_of(b, at);

	if (!a) {
		return false;
	}
	a->prefix = add_list(b, keyword, v);
	a->n_prefix = v->n;
	return a->prefix != NULL;
}

static struct gx_sch_app *
add_app(struct gx_builder *b, int32_t at)
{
	struct gx_sch_node *n = node_at(b, at);
	struct gx_sch_app *grown =
		gx_schema_alloc(b, n->n_apps + 1, sizeof(*grown));

	if (!grown) {
		return NULL;
	}
	if (n->n_apps) {
		memcpy(grown, n->apps, n->n_apps * sizeof(*grown));
	}
	n->apps = grown;
	return &grown[n->n_apps++];
}

static bool
read_list(struct gx_builder *b, int32_t at, const char *keyword,
	  const struct gx_json *v)
{
	int32_t *list = add_list(b, keyword, v);

	if (!list) {
		return false;
	}
	if (keyword[1] == 'l') {
		node_at(b, at)->all = list;
		node_at(b, at)->n_all = v->n;
		return true;
	}
	struct gx_sch_app *app = add_app(b, at);
	if (!app) {
		return false;
	}
	bool is_any = keyword[0] == 'a';
	*app = (struct gx_sch_app){.kind = is_any ? APP_ANY : APP_ONE,
				   .branch = list,
				   .n = (uint32_t)v->n};
	app->rule =
		gx_schema_rule(b, keyword, "fits none of the %zu forms", v->n);
	app->on_second = gx_schema_rule(b, keyword, "fits more than one form");
	return true;
}

static bool
read_not(struct gx_builder *b, int32_t at, const char *keyword,
	 const struct gx_json *v)
{
	int32_t *branch = gx_schema_alloc(b, 1, sizeof(*branch));

	if (!branch) {
		return false;
	}
	*branch = add_below(b, keyword, NULL, v);
	struct gx_sch_app *app = *branch < 0 ? NULL : add_app(b, at);
	if (!app) {
		return false;
	}
	*app = (struct gx_sch_app){.kind = APP_NOT, .branch = branch, .n = 1};
	app->rule = gx_schema_rule(b, keyword, "has a form that is excluded");
	return true;
}

/* Takes then and else along; without if they only have to be schemas. */
static bool
read_if(struct gx_builder *b, int32_t at, const char *keyword,
	const struct gx_json *v)
{
	static const char *const words[] = {"if", "then", "else"};
	const struct gx_json *object = node_at(b, at)->json;
	int32_t *branch = gx_schema_alloc(b, 3, sizeof(*branch));

	(void)v;
	if (!branch) {
		return false;
	}
	/* The first of the three that stands there reads all. */
	for (const struct gx_json *m = object->child; m; m = m->next) {
		if (gx_slice_eq(m->name, GX_SLICE("if")) ||
		    gx_slice_eq(m->name, GX_SLICE("then")) ||
		    gx_slice_eq(m->name, GX_SLICE("else"))) {
			if (!gx_slice_eq(m->name, gx_slice_str(keyword))) {
				return true;
			}
			break;
		}
	}
	for (size_t i = 0; i < 3; i++) {
		const struct gx_json *m = gx_json_get(object, words[i]);
		branch[i] = GX_SCHEMA_NONE;
		if (m) {
			branch[i] = add_below(b, words[i], NULL, m);
			if (branch[i] < 0) {
				return false;
			}
		}
	}
	if (branch[0] < 0) {
		return true;
	}
	struct gx_sch_app *app = add_app(b, at);
	if (app) {
		*app = (struct gx_sch_app){
			.kind = APP_IF, .branch = branch, .n = 3};
	}
	return app != NULL;
}

static bool
read_defs(struct gx_builder *b, int32_t at, const char *keyword,
	  const struct gx_json *v)
{
	(void)at;
	if (v->type != GX_JSON_OBJECT) {
		return gx_schema_refuse(b, keyword, "is an object of schemas");
	}
	for (const struct gx_json *m = v->child; m; m = m->next) {
		if (add_below(b, keyword, m->name.p, m) < 0) {
			return false;
		}
	}
	return true;
}

static bool
read_ref(struct gx_builder *b, int32_t at, const char *keyword,
	 const struct gx_json *v)
{
	(void)at;
	return v->type == GX_JSON_STRING ||
	       gx_schema_refuse(b, keyword, "is a string");
}

static bool
read_schema(struct gx_builder *b, int32_t at, const char *keyword,
	    const struct gx_json *v)
{
	static const char uri[] =
		"https://json-schema.org/draft/2020-12/schema";

	if (at != 0) {
		return gx_schema_refuse(b, keyword, "stands at the root only");
	}
	return (v->type == GX_JSON_STRING &&
		(gx_slice_eq(v->text, gx_slice_str(uri)) ||
		 (v->text.n == sizeof(uri) && v->text.p[v->text.n - 1] == '#' &&
		  memcmp(v->text.p, uri, sizeof(uri) - 1) == 0))) ||
	       gx_schema_refuse(b, keyword, "only draft 2020-12 is supported");
}

static bool
read_id(struct gx_builder *b, int32_t at, const char *keyword,
	const struct gx_json *v)
{
	if (at != 0) {
		return gx_schema_refuse(b, keyword, "stands at the root only");
	}
	if (v->type != GX_JSON_STRING) {
		return gx_schema_refuse(b, keyword, "is a string");
	}
	const char *hash = memchr(v->text.p, '#', v->text.n);
	if (hash && hash != v->text.p + v->text.n - 1) {
		return gx_schema_refuse(b, keyword, "has a fragment");
	}
	b->id = gx_slice(v->text.p, v->text.n - (hash != NULL));
	return true;
}

static bool
read_text(struct gx_builder *b, int32_t at, const char *keyword,
	  const struct gx_json *v)
{
	(void)at;
	return v->type == GX_JSON_STRING ||
	       gx_schema_refuse(b, keyword, "is a string");
}

static bool
read_flag(struct gx_builder *b, int32_t at, const char *keyword,
	  const struct gx_json *v)
{
	(void)at;
	return v->type == GX_JSON_TRUE || v->type == GX_JSON_FALSE ||
	       gx_schema_refuse(b, keyword, "is true or false");
}

static bool
read_examples(struct gx_builder *b, int32_t at, const char *keyword,
	      const struct gx_json *v)
{
	(void)at;
	return v->type == GX_JSON_ARRAY ||
	       gx_schema_refuse(b, keyword, "is a list of values");
}

static const struct {
	const char *name;
	read_f *read; /* NULL: taken by gx_schema_read_object, or a remark */
} keywords[] = {
	{"$schema", read_schema},
	{"$id", read_id},
	{"$ref", read_ref},
	{"$defs", read_defs},
	{"$comment", read_text},
	{"title", read_text},
	{"description", read_text},
	{"default", NULL},
	{"deprecated", read_flag},
	{"readOnly", read_flag},
	{"writeOnly", read_flag},
	{"examples", read_examples},
	{"type", read_type},
	{"enum", read_enum},
	{"const", read_const},
	{"minLength", read_length},
	{"maxLength", read_length},
	{"pattern", read_pattern},
	{"format", read_format},
	{"minimum", read_bound},
	{"maximum", read_bound},
	{"exclusiveMinimum", read_bound},
	{"exclusiveMaximum", read_bound},
	{"multipleOf", read_multiple},
	{"minItems", read_item_count},
	{"maxItems", read_item_count},
	{"minContains", read_item_count},
	{"maxContains", read_item_count},
	{"uniqueItems", read_unique},
	{"prefixItems", read_prefix},
	{"items", read_one_array},
	{"contains", read_one_array},
	{"allOf", read_list},
	{"anyOf", read_list},
	{"oneOf", read_list},
	{"not", read_not},
	{"if", read_if},
	{"then", read_if},
	{"else", read_if},
	{"properties", NULL},
	{"required", NULL},
	{"additionalProperties", NULL},
	{"patternProperties", NULL},
	{"propertyNames", NULL},
	{"minProperties", NULL},
	{"maxProperties", NULL},
	{"dependentRequired", NULL},
	{"dependentSchemas", NULL},
};

static bool
read_key(struct gx_builder *b, int32_t at, const struct gx_json *v)
{
	if (v->name.n > 2 && memcmp(v->name.p, "x-", 2) == 0) {
		return true;
	}
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if (gx_slice_eq(v->name, gx_slice_str(keywords[i].name))) {
			return !keywords[i].read ||
			       keywords[i].read(b, at, keywords[i].name, v);
		}
	}
	return gx_schema_refuse(b, v->name.p, "unknown keyword");
}

bool
gx_schema_read_keys(struct gx_builder *b, int32_t at,
		    const struct gx_json *json)
{
	for (const struct gx_json *v = json->child; v; v = v->next) {
		if (!read_key(b, at, v)) {
			return false;
		}
	}
	return gx_schema_read_object(b, at, json);
}
