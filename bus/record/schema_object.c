/*
 * Keywords of objects.
 *
 * properties, required, dependentRequired and dependentSchemas all speak of
 * names.  They are gathered into one table per schema, properties first and in
 * the order of the file, so that a check looks a member's name up once and has
 * its number: for the child schema, for the set of names seen, and, at the
 * root, for the field.
 *
 * The table is open addressing over a cheap hash of the name; its size is set
 * by the schema, never by a record, so nobody can make it slow.  The caller's
 * guess is tried first, as records mostly come in the order of the file.
 */
#include "record/schema_int.h"

static uint32_t
hash_name(struct gx_slice name)
{
	uint64_t h = name.n * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < name.n; i++) {
		h = (h ^ (unsigned char)name.p[i]) * UINT64_C(0x100000001b3);
	}
	return (uint32_t)(h ^ h >> 32);
}

int32_t
gx_schema_names_find(const struct gx_names *t, struct gx_slice name,
		     uint32_t hint)
{
	if (hint < t->n && t->at[hint].n == name.n &&
	    memcmp(t->at[hint].p, name.p, name.n) == 0) {
		return (int32_t)hint;
	}
	if (t->n == 0) {
		return GX_SCHEMA_NONE;
	}
	for (uint32_t i = hash_name(name) & t->mask; t->table[i];
	     i = (i + 1) & t->mask) {
		if (gx_slice_eq(t->at[t->table[i] - 1], name)) {
			return (int32_t)(t->table[i] - 1);
		}
	}
	return GX_SCHEMA_NONE;
}

/* Index of a name, added if it is new; at most cap are. */
static uint32_t
add_name(struct gx_builder *b, struct gx_names *t, struct gx_slice name)
{
	int32_t at = gx_schema_names_find(t, name, 0);
	if (at >= 0) {
		return (uint32_t)at;
	}
	char *copy = gx_arena_dup(b->sch->arena, name.p, name.n);
	if (!copy) {
		gx_schema_refuse(b, "properties", "the schema is too large");
		return 0;
	}
	uint32_t i = hash_name(name) & t->mask;
	while (t->table[i]) {
		i = (i + 1) & t->mask;
	}
	t->at[t->n] = gx_slice(copy, name.n);
	t->table[i] = ++t->n;
	return t->n - 1;
}

/* Names that may come together, counted too high rather than too low. */
static size_t
count_names(const struct gx_json *json)
{
	static const char *const words[] = {"properties", "required",
					    "dependentSchemas",
					    "dependentRequired"};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const struct gx_json *v = gx_json_get(json, words[i]);
		n += v ? v->n : 0;
	}
	const struct gx_json *v = gx_json_get(json, "dependentRequired");
	for (v = v ? v->child : NULL; v; v = v->next) {
		n += v->n;
	}
	return n;
}

static bool
make_table(struct gx_builder *b, struct gx_sch_object *o, size_t n)
{
	uint32_t size = 8;

	while (size < 2 * n) {
		size *= 2;
	}
	o->n_words = (n + 63) / 64;
	o->names.mask = size - 1;
	o->names.at = gx_schema_alloc(b, n, sizeof(*o->names.at));
	o->names.table = gx_schema_alloc(b, size, sizeof(*o->names.table));
	o->child = gx_schema_alloc(b, n, sizeof(*o->child));
	o->is_declared = gx_schema_alloc(b, n, sizeof(*o->is_declared));
	o->usual = gx_schema_alloc(b, n, sizeof(*o->usual));
	o->required = gx_schema_alloc(b, o->n_words, sizeof(*o->required));
	for (size_t i = 0; o->child && i < n; i++) {
		o->child[i] = GX_SCHEMA_NONE;
	}
	return b->rc == GX_OK;
}

/* The member under its keyword and name, compiled. */
static int32_t
add_member(struct gx_builder *b, const char *keyword, const struct gx_json *m)
{
	size_t mark, inner;
	int32_t at = GX_SCHEMA_NONE;

	if (!gx_schema_push(b, keyword, &mark)) {
		return at;
	}
	if (gx_schema_push(b, m->name.p, &inner)) {
		at = gx_schema_add(b, m, keyword);
	}
	gx_schema_pop(b, mark);
	return at;
}

static bool
is_object(struct gx_builder *b, const char *keyword, const struct gx_json *v)
{
	return v->type == GX_JSON_OBJECT ||
	       gx_schema_refuse(b, keyword, "is an object");
}

/* Only letters, digits and _: as written in a record, it is the name. */
static bool
is_literal(struct gx_slice name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
		    !(c >= '0' && c <= '9') && c != '_') {
			return false;
		}
	}
	return true;
}

static void
set_usual(struct gx_sch_usual *l, struct gx_slice name)
{
	char text[GX_LEAD] = {'"'}, care[GX_LEAD] = {0};

	l->is_literal = true;
	if (name.n + 3 > GX_LEAD) {
		return;
	}
	memcpy(text + 1, name.p, name.n);
	memcpy(text + 1 + name.n, "\":", 2);
	memset(care, -1, name.n + 3);
	memcpy(l->text, text, GX_LEAD);
	memcpy(l->care, care, GX_LEAD);
}

static bool
read_properties(struct gx_builder *b, struct gx_sch_object *o,
		const struct gx_json *v)
{
	if (!v) {
		return true;
	}
	if (!is_object(b, "properties", v)) {
		return false;
	}
	/* All names first: a child may not take a number in between. */
	for (const struct gx_json *m = v->child; m; m = m->next) {
		uint32_t k = add_name(b, &o->names, m->name);
		o->is_declared[k] = true;
		if (is_literal(m->name)) {
			set_usual(&o->usual[k], m->name);
		}
	}
	uint32_t i = 0;
	for (const struct gx_json *m = v->child; m; m = m->next, i++) {
		o->child[i] = add_member(b, "properties", m);
		if (o->child[i] < 0) {
			return false;
		}
	}
	return true;
}

/* A list of names that differ. */
static bool
is_name_list(struct gx_builder *b, const char *keyword, const struct gx_json *v)
{
	static const char why[] = "is a list of names, none twice";

	if (v->type != GX_JSON_ARRAY) {
		return gx_schema_refuse(b, keyword, why);
	}
	for (const struct gx_json *m = v->child; m; m = m->next) {
		if (m->type != GX_JSON_STRING) {
			return gx_schema_refuse(b, keyword, why);
		}
	}
	struct gx_digest *d = gx_mem_array(v->n, sizeof(*d));
	size_t n = 0;
	for (const struct gx_json *m = v->child; d && m; m = m->next) {
		d[n++] = gx_digest_bytes(&b->sch->key, m->text);
	}
	bool good = d && !gx_digest_has_twin(d, n);
	gx_mem_free(d);
	return good || gx_schema_refuse(b, keyword, why);
}

static bool
read_required(struct gx_builder *b, struct gx_sch_object *o,
	      const struct gx_json *v)
{
	if (!v) {
		return true;
	}
	if (!is_name_list(b, "required", v)) {
		return false;
	}
	for (const struct gx_json *m = v->child; m; m = m->next) {
		uint32_t i = add_name(b, &o->names, m->text);
		o->required[i / 64] |= UINT64_C(1) << i % 64;
		o->n_required++;
	}
	o->on_required = gx_schema_rule(b, "required", "is missing");
	return true;
}

static bool
read_needs(struct gx_builder *b, struct gx_sch_object *o,
	   const struct gx_json *v)
{
	size_t n = 0;

	if (!v) {
		return true;
	}
	if (!is_object(b, "dependentRequired", v)) {
		return false;
	}
	for (const struct gx_json *m = v->child; m; m = m->next) {
		if (!is_name_list(b, "dependentRequired", m)) {
			return false;
		}
		n += m->n;
	}
	o->needs = gx_schema_alloc(b, n, sizeof(*o->needs));
	if (!o->needs) {
		return false;
	}
	for (const struct gx_json *m = v->child; m; m = m->next) {
		for (const struct gx_json *k = m->child; k; k = k->next) {
			o->needs[o->n_needs++] = (struct gx_sch_need){
				add_name(b, &o->names, m->name),
				add_name(b, &o->names, k->text)};
		}
	}
	o->on_need = gx_schema_rule(b, "dependentRequired",
				    "is missing beside another member");
	return true;
}

static bool
read_patterns(struct gx_builder *b, struct gx_sch_object *o,
	      const struct gx_json *v)
{
	if (!v) {
		return true;
	}
	if (!is_object(b, "patternProperties", v)) {
		return false;
	}
	o->pattern = gx_schema_alloc(b, v->n, sizeof(struct gx_pattern *));
	o->pattern_child = gx_schema_alloc(b, v->n, sizeof(int32_t));
	for (const struct gx_json *m = v->child; m && b->rc == GX_OK;
	     m = m->next) {
		size_t i = o->n_patterns;
		const char *why = gx_pattern_new(m->name, &o->pattern[i]);
		if (why) {
			return gx_schema_refuse(b, "patternProperties", why);
		}
		o->n_patterns++;
		o->pattern_child[i] = add_member(b, "patternProperties", m);
		if (o->pattern_child[i] < 0) {
			return false;
		}
	}
	return b->rc == GX_OK;
}

static bool
read_one(struct gx_builder *b, const struct gx_json *v, const char *keyword,
	 int32_t *out)
{
	size_t mark;

	*out = GX_SCHEMA_NONE;
	if (!v) {
		return true;
	}
	if (!gx_schema_push(b, keyword, &mark)) {
		return false;
	}
	*out = gx_schema_add(b, v, keyword);
	gx_schema_pop(b, mark);
	return *out >= 0;
}

static bool
read_counts(struct gx_builder *b, struct gx_sch_object *o,
	    const struct gx_json *json)
{
	const struct gx_json *min = gx_json_get(json, "minProperties");
	const struct gx_json *max = gx_json_get(json, "maxProperties");

	o->max = UINT64_MAX;
	if ((min && !gx_schema_count(b, min, "minProperties", &o->min)) ||
	    (max && !gx_schema_count(b, max, "maxProperties", &o->max))) {
		return false;
	}
	o->on_min = gx_schema_rule(b, "minProperties",
				   "has fewer than %llu members",
				   (unsigned long long)o->min);
	o->on_max =
		gx_schema_rule(b, "maxProperties", "has more than %llu members",
			       (unsigned long long)o->max);
	return b->rc == GX_OK;
}

/* dependentSchemas: one branch each, behind the apps there are. */
static bool
read_dependents(struct gx_builder *b, int32_t at, struct gx_sch_object *o,
		const struct gx_json *v)
{
	if (!v) {
		return true;
	}
	if (!is_object(b, "dependentSchemas", v)) {
		return false;
	}
	size_t n = b->sch->node[at].n_apps;
	struct gx_sch_app *apps = gx_schema_alloc(b, n + v->n, sizeof(*apps));
	if (!apps) {
		return false;
	}
	if (n) {
		memcpy(apps, b->sch->node[at].apps, n * sizeof(*apps));
	}
	for (const struct gx_json *m = v->child; m; m = m->next) {
		int32_t *branch = gx_schema_alloc(b, 1, sizeof(*branch));
		if (!branch) {
			return false;
		}
		*branch = add_member(b, "dependentSchemas", m);
		if (*branch < 0) {
			return false;
		}
		apps[n++] = (struct gx_sch_app){
			.kind = APP_DEPENDENT,
			.branch = branch,
			.n = 1,
			.trigger = add_name(b, &o->names, m->name)};
	}
	b->sch->node[at].apps = apps;
	b->sch->node[at].n_apps = n;
	return true;
}

static bool
has_any(const struct gx_json *json)
{
	static const char *const words[] = {
		"properties",	     "required",
		"patternProperties", "additionalProperties",
		"propertyNames",     "minProperties",
		"maxProperties",     "dependentRequired",
		"dependentSchemas"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (gx_json_get(json, words[i])) {
			return true;
		}
	}
	return false;
}

bool
gx_schema_read_object(struct gx_builder *b, int32_t at,
		      const struct gx_json *json)
{
	if (!has_any(json)) {
		return true;
	}
	struct gx_sch_object *o = gx_schema_alloc(b, 1, sizeof(*o));
	if (!o) {
		return false;
	}
	/* Known to the node at once: a refusal frees its patterns. */
	b->sch->node[at].obj = o;
	o->on_name = gx_schema_rule(b, "propertyNames",
				    "the name of the member is not allowed");
	o->is_plain = !gx_json_get(json, "patternProperties") &&
		      !gx_json_get(json, "propertyNames");
	return make_table(b, o, count_names(json)) &&
	       read_properties(b, o, gx_json_get(json, "properties")) &&
	       read_required(b, o, gx_json_get(json, "required")) &&
	       read_needs(b, o, gx_json_get(json, "dependentRequired")) &&
	       read_patterns(b, o, gx_json_get(json, "patternProperties")) &&
	       read_one(b, gx_json_get(json, "additionalProperties"),
			"additionalProperties", &o->additional) &&
	       read_one(b, gx_json_get(json, "propertyNames"), "propertyNames",
			&o->property_names) &&
	       read_counts(b, o, json) &&
	       read_dependents(b, at, o, gx_json_get(json, "dependentSchemas"));
}
