/*
 * Resources: one declaration, read once, from which everybody takes his part.
 *
 * The file is a JSON Schema; what a schema cannot say stands in x-gx-resource
 * at the root and in x-gx-item at each property (docs/resource.md).  The
 * schema compiler passes over both, so they are read here, as strictly: an
 * unknown member or a value of the wrong kind refuses the declaration.
 *
 * What is checked beyond form is that schema and store agree.  Each property
 * gets the column its item type asks for, and the schema must allow only what
 * such a column can be given: a date is asserted as a date, a key is required
 * and never null, and members that are not declared are not allowed, since the
 * table would have no place for them and they would vanish.  The columns are
 * then handed to the schema, so that a record that passes its check can be
 * stored.
 *
 * A refused declaration is read on, so that its writer meets all its faults at
 * once; the first is what a daemon says.  Only where the schema itself is
 * refused nothing is said of its properties.
 *
 * A resource is immutable and lives until it is freed; it owns its schema, a
 * copy of its text and all strings it lends.  If anything is refused, nothing
 * of it stays.
 */
#include "record/resource.h"

#include "record/ids.h"
#include "record/schema_int.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>

#define TEXT_MAX ((size_t)4 << 20)
#define KEY_MAX 256
#define KEYS_MAX 16
#define FIELDS_MAX 1000 /* PostgreSQL has 1,600 columns at most */
#define STREAMS_MAX 64

struct loader {
	struct gx_resource *r;
	struct gx_arena *arena; /* of the resource */
	struct gx_schema *sch;
	struct gx_field *fields;
	struct gx_column *columns;
	const struct gx_json *root;
	struct gx_err *e; /* the first fault */
	bool is_bad;
	gx_resource_fault_f each; /* NULL: nobody wants the others */
	void *ctx;
};

/* What a resource owns beside itself. */
struct owned {
	struct gx_resource r;
	struct gx_arena *arena;
	struct gx_schema *sch;
	struct gx_column *columns;
};

static void
tell(struct loader *l, const struct gx_err *fault)
{
	if (!l->is_bad && l->e) {
		*l->e = *fault;
	}
	l->is_bad = true;
	if (l->each) {
		l->each(l->ctx, fault);
	}
}

static bool
refuse(struct loader *l, const char *pointer, const char *why)
{
	struct gx_err fault = {0};

	(void)GX_ERR(&fault, GX_REJECT, "resource.refused", "%.120s: %s",
		     pointer, why);
	tell(l, &fault);
	return false;
}

/* Same, for a member of a property's item. */
static bool
refuse_item(struct loader *l, size_t i, const char *why)
{
	struct gx_err fault = {0};

	(void)GX_ERR(&fault, GX_REJECT, "resource.refused",
		     "/properties/%.60s/x-gx-item: %s", l->fields[i].name, why);
	tell(l, &fault);
	return false;
}

static const char *
keep(struct loader *l, struct gx_slice s)
{
	const char *p = gx_arena_dup(l->arena, s.p, s.n);

	GX_ASSERT(p); /* the arena has room for several times the text */
	return p;
}

/* [a-z][a-z0-9_]*, at most 63 bytes: a name in SQL without quotes. */
static bool
is_name(const char *p, size_t n)
{
	if (n == 0 || n > 63 || p[0] < 'a' || p[0] > 'z') {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (!(p[i] >= 'a' && p[i] <= 'z') &&
		    !(p[i] >= '0' && p[i] <= '9') && p[i] != '_') {
			return false;
		}
	}
	return true;
}

/* Are all members of obj among these words? */
static bool
has_only(const struct gx_json *obj, const char *words)
{
	for (const struct gx_json *m = obj->child; m; m = m->next) {
		const char *p = strstr(words, m->name.p);
		size_t n = m->name.n;
		while (p && n &&
		       !((p == words || p[-1] == ' ') &&
			 (p[n] == ' ' || p[n] == '\0'))) {
			p = strstr(p + 1, m->name.p);
		}
		if (!p || n == 0 || strlen(m->name.p) != n) {
			return false;
		}
	}
	return true;
}

/* Integer of a member within limits; dflt if absent, -1 if wrong. */
static int
small_int(const struct gx_json *obj, const char *name, int dflt, int min,
	  int max)
{
	const struct gx_json *v = gx_json_get(obj, name);

	if (!v) {
		return dflt;
	}
	int64_t n = gx_json_int(obj, name, -1);
	return v->type == GX_JSON_NUMBER && n >= min && n <= max ? (int)n : -1;
}

/* Former texts of the file, by digest. */
static bool
read_former(struct loader *l, const struct gx_json *list)
{
	static const char at[] = "/x-gx-resource/former";
	unsigned char digest[32];
	const char **former;
	size_t n = 0;

	if (!list) {
		return true;
	}
	if (list->type != GX_JSON_ARRAY || list->n == 0 || list->n > 64) {
		return refuse(l, at, "is an array of 1 to 64 digests");
	}
	former = gx_arena_alloc(l->arena, list->n * sizeof *former);
	for (const struct gx_json *v = list->child; v; v = v->next) {
		if (v->type != GX_JSON_STRING ||
		    !gx_unhex(v->text.p, v->text.n, digest, sizeof digest)) {
			return refuse(l, at,
				      "holds SM3 digests, 64 hex digits in "
				      "lower case");
		}
		former[n++] = keep(l, v->text);
	}
	l->r->former = former;
	l->r->n_former = n;
	return true;
}

static void
read_name(struct loader *l, const char *name)
{
	const char *dot = strchr(name, '.');
	struct gx_resource *r = l->r;

	if (!dot || !is_name(name, (size_t)(dot - name)) ||
	    !is_name(dot + 1, strlen(dot + 1))) {
		(void)refuse(l, "/x-gx-resource/name",
			     "is <domain>.<name> of a-z, 0-9 and _");
		return;
	}
	r->name = keep(l, gx_slice_str(name));
	r->domain = keep(l, gx_slice(name, (size_t)(dot - name)));
	r->table = keep(l, gx_slice_str(dot + 1));
}

static void
read_head(struct loader *l, const struct gx_json *x)
{
	struct gx_resource *r = l->r;
	const char *name = gx_json_str(x, "name", "");

	if (!has_only(x, "name version key streams return former "
			 "catalogue")) {
		(void)refuse(l, "/x-gx-resource", "has an unknown member");
	}
	read_name(l, name);
	r->title = keep(l, gx_slice_str(gx_json_str(l->root, "title", name)));
	r->version = small_int(x, "version", -1, 1, 1000000);
	if (r->version < 0) {
		(void)refuse(l, "/x-gx-resource/version",
			     "is a whole number from 1");
	}
	r->n_streams = small_int(x, "streams", 1, 1, STREAMS_MAX);
	if (r->n_streams < 0) {
		(void)refuse(l, "/x-gx-resource/streams",
			     "is a whole number from 1 to 64");
	}
	(void)read_former(l, gx_json_get(x, "former"));
}

/* Of the members that are there; publication asks for all (docs). */
static void
read_catalogue(struct loader *l, const struct gx_json *c)
{
	static const char at[] = "/x-gx-resource/catalogue";
	const char *code = gx_json_str(c, "code", NULL);
	const char *provider = gx_json_str(c, "provider_code", NULL);
	const struct gx_json *sharing = gx_json_get(c, "sharing");

	if (!c) {
		return;
	}
	if (c->type != GX_JSON_OBJECT ||
	    !has_only(c, "classification name code provider provider_code "
			 "abstract format items sharing openness update_cycle "
			 "published_on related")) {
		(void)refuse(l, at, "is an object of the 13 elements");
	}
	if (code && gx_id_check(GX_ID_RESOURCE_CODE, code, strlen(code), 0)) {
		(void)refuse(l, at, "code is no resource code");
	}
	if (provider &&
	    gx_id_check(GX_ID_USCC, provider, strlen(provider), 0)) {
		(void)refuse(l, at,
			     "provider_code is no unified social "
			     "credit code");
	}
	int share = sharing ? small_int(sharing, "type", -1, 1, 3) : 1;
	if (sharing && share < 0) {
		(void)refuse(l, at, "sharing has a type from 1 to 3");
	}
	if (share > 1 && !*gx_json_str(sharing, "condition", "")) {
		(void)refuse(l, at, "sharing of type 2 and 3 has a condition");
	}
	if (small_int(c, "update_cycle", 7, 1, 7) < 0) {
		(void)refuse(l, at, "update_cycle is 1 to 7");
	}
}

/* Kinds that all rules of the property allow together, and whether one of
 * them asserts this format. */
static unsigned
kinds_of(const struct loader *l, size_t i, const char *format, bool *has_it)
{
	const struct gx_sch_node *root = &l->sch->node[0];
	const struct gx_sch_node *top = &l->sch->node[root->obj->child[i]];
	gx_format_f *f = gx_format_find(gx_slice_str(format));
	unsigned kinds = KIND_ALL;

	*has_it = false;
	for (uint32_t k = 0; k < top->n_closure; k++) {
		const struct gx_sch_node *n = &l->sch->node[top->closure[k]];
		kinds &= n->kinds;
		*has_it |= f && n->str && n->str->format == f;
	}
	return kinds;
}

/* Are the limits of the property within those of a 32-bit integer? */
static bool
is_small_integer(const struct gx_json *p)
{
	const struct gx_json *low = gx_json_get(p, "minimum");
	const struct gx_json *high = gx_json_get(p, "maximum");
	int64_t min = 0, max = 0;

	return low && high && low->type == GX_JSON_NUMBER &&
	       high->type == GX_JSON_NUMBER &&
	       gx_decimal_small(low->text.p, low->text.n, &min) &&
	       gx_decimal_small(high->text.p, high->text.n, &max) &&
	       min >= -INT32_MAX && max <= INT32_MAX;
}

static bool
set_numeric(struct loader *l, size_t i, const struct gx_json *item)
{
	struct gx_column *col = &l->columns[i];
	char text[40];

	*col = (struct gx_column){.kind = GX_COLUMN_NUMERIC};
	if (!gx_json_get(item, "precision") && !gx_json_get(item, "scale")) {
		l->fields[i].pg_type = "numeric";
		return true;
	}
	col->precision = small_int(item, "precision", -1, 1, 1000);
	col->scale = small_int(item, "scale", 0, 0, 1000);
	if (col->precision < 0 || col->scale < 0 ||
	    col->scale > col->precision) {
		return refuse_item(l, i,
				   "precision is 1 to 1000, scale not more");
	}
	snprintf(text, sizeof(text), "numeric(%d,%d)", col->precision,
		 col->scale);
	l->fields[i].pg_type = keep(l, gx_slice_str(text));
	return true;
}

/* Data types of the catalogue guide, and what the schema must allow only. */
static const struct item_type {
	const char *name;
	enum gx_column_kind kind;
	const char *pg_type, *format;
	unsigned kinds;
	const char *why;
} item_types[] = {
	{"C", GX_COLUMN_TEXT, "text", "", KIND_STRING,
	 "a property of type C is a string"},
	{"M", GX_COLUMN_TEXT, "text", "", KIND_STRING,
	 "a property of type M is a string"},
	{"D", GX_COLUMN_DATE, "date", "date", KIND_STRING,
	 "a property of type D is a string of format date"},
	{"T", GX_COLUMN_TIME, "timestamptz", "date-time", KIND_STRING,
	 "a property of type T is a string of format date-time"},
	{"N", GX_COLUMN_NUMERIC, NULL, "",
	 KIND_STRING | KIND_INTEGER | KIND_FRACTION,
	 "a property of type N is a decimal string or a number"},
	{"Y", GX_COLUMN_NUMERIC, NULL, "",
	 KIND_STRING | KIND_INTEGER | KIND_FRACTION,
	 "a property of type Y is a decimal string or a number"},
	{"B", GX_COLUMN_NUMERIC, NULL, "", KIND_INTEGER | KIND_FRACTION,
	 "a property of type B is a number"},
	{"F", GX_COLUMN_NUMERIC, NULL, "", KIND_INTEGER | KIND_FRACTION,
	 "a property of type F is a number"},
	{"I", GX_COLUMN_BIGINT, "bigint", "", KIND_INTEGER,
	 "a property of type I is an integer"},
	{"L", GX_COLUMN_BOOLEAN, "boolean", "", KIND_BOOL,
	 "a property of type L is a boolean"},
	{"G", GX_COLUMN_JSON, "jsonb", "", KIND_ALL, ""},
};

static bool
set_column(struct loader *l, size_t i, const struct gx_json *p,
	   const struct gx_json *item)
{
	const char *name = gx_json_str(item, "type", "");
	const struct item_type *t = item_types;
	const struct item_type *end =
		t + sizeof(item_types) / sizeof(item_types[0]);
	struct gx_field *f = &l->fields[i];
	bool has_format;

	while (t < end && strcmp(t->name, name) != 0) {
		t++;
	}
	if (t == end) {
		return refuse_item(l, i,
				   "type is one of C M D T N Y B F I L G");
	}
	unsigned kinds = kinds_of(l, i, t->format, &has_format);
	bool is_good = true;
	if ((kinds & ~(t->kinds | KIND_NULL)) || (*t->format && !has_format)) {
		is_good = refuse_item(l, i, t->why);
	}
	if ((kinds & KIND_NULL) && !f->is_key) {
		f->is_required = false; /* present, but NULL in the table */
	} else if (kinds & KIND_NULL) {
		is_good = refuse_item(l, i, "a field of the key is never null");
	} else if (f->is_key &&
		   (kinds &
		    ~(unsigned)(KIND_STRING | KIND_INTEGER | KIND_FRACTION))) {
		is_good = refuse_item(l, i,
				      "a field of the key is a string or a "
				      "number");
	}
	/* Text that no store can keep is reported when it is scanned; a date
	 * is asserted, a boolean is one. */
	l->columns[i] =
		(struct gx_column){.kind = t->kind,
				   .is_sure = t->kind == GX_COLUMN_TEXT ||
					      t->kind == GX_COLUMN_DATE ||
					      t->kind == GX_COLUMN_BOOLEAN};
	f->pg_type = t->pg_type;
	f->is_string = kinds & KIND_STRING;
	if (t->kind == GX_COLUMN_NUMERIC) {
		return set_numeric(l, i, item) && is_good;
	}
	if (t->kind == GX_COLUMN_BIGINT && is_small_integer(p)) {
		l->columns[i].kind = GX_COLUMN_INTEGER;
		l->columns[i].is_sure = true;
		f->pg_type = "integer";
	}
	return is_good;
}

static bool
is_word(const char *p)
{
	size_t n = strlen(p);

	return n > 0 && n <= 40 &&
	       strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

static bool
read_sharing(struct loader *l, size_t i, const struct gx_json *p,
	     const struct gx_json *item)
{
	struct gx_field *f = &l->fields[i];
	int length = small_int(item, "length", 0, 1, 1 << 20);
	const char *mask = gx_json_str(item, "mask", NULL);
	bool is_good = true;

	f->share = small_int(item, "share", -1, 1, 3);
	f->level = small_int(item, "level", -1, 1, 4);
	if (f->share < 0 || f->level < 0) {
		is_good = refuse_item(l, i, "share is 1 to 3 and level 1 to 4");
	}
	if (length < 0 ||
	    (length > 0 && gx_json_int(p, "maxLength", 0) > length)) {
		is_good = refuse_item(l, i,
				      "length is a whole number, not less "
				      "than maxLength");
	}
	if (gx_json_get(item, "mask") && (!mask || !is_word(mask))) {
		is_good = refuse_item(l, i, "mask is a word");
	}
	f->mask = mask ? keep(l, gx_slice_str(mask)) : NULL;
	return is_good;
}

static bool
read_field(struct loader *l, size_t i, const struct gx_json *p)
{
	const struct gx_json *item = gx_json_get(p, "x-gx-item");
	struct gx_field *f = &l->fields[i];
	bool is_good = true;

	if (!is_name(f->name, p->name.n) || memcmp(f->name, "gx_", 3) == 0) {
		is_good = refuse_item(
			l, i,
			"the property's name is a column: a-z, 0-9 and _, at "
			"most 63, not gx_...");
	}
	if (!item || item->type != GX_JSON_OBJECT) {
		return refuse_item(l, i, "is missing, or no object");
	}
	if (!has_only(item, "type length precision scale share level mask")) {
		is_good = refuse_item(l, i, "has an unknown member");
	}
	f->title = keep(l, gx_slice_str(gx_json_str(p, "title", f->name)));
	is_good &= read_sharing(l, i, p, item);
	return set_column(l, i, p, item) && is_good;
}

static void
read_key(struct loader *l, const struct gx_json *m, int *keys)
{
	static const char at[] = "/x-gx-resource/key";
	int i = m->type == GX_JSON_STRING
			? gx_schema_field_index(l->sch, m->text)
			: -1;

	if (i < 0 || !gx_schema_field_required(l->sch, (size_t)i)) {
		(void)refuse(l, at,
			     "names a property that is not declared or not "
			     "required");
	} else if (l->fields[i].is_key) {
		(void)refuse(l, at, "names a property twice");
	} else {
		l->fields[i].is_key = true;
		keys[l->r->n_keys++] = i;
	}
}

static void
read_keys(struct loader *l, const struct gx_json *key)
{
	int *keys = gx_arena_alloc(l->arena, KEYS_MAX * sizeof(*keys));

	if (!key || key->type != GX_JSON_ARRAY || key->n == 0 ||
	    key->n > KEYS_MAX || !keys) {
		(void)refuse(l, "/x-gx-resource/key",
			     "is a list of 1 to 16 properties");
		return;
	}
	for (const struct gx_json *m = key->child; m; m = m->next) {
		read_key(l, m, keys);
	}
	l->r->keys = keys;
}

/* x: NULL if there is none; nothing is said of keys then. */
static void
read_fields(struct loader *l, const struct gx_json *x)
{
	const struct gx_json *p = gx_json_get(l->root, "properties");
	size_t n = gx_schema_n_fields(l->sch);

	if (!p || n == 0 || n > FIELDS_MAX) {
		(void)refuse(l, "/properties", "has 1 to 1000 members");
		return;
	}
	l->fields = gx_arena_alloc(l->arena, n * sizeof(*l->fields));
	l->columns = gx_arena_alloc(l->arena, n * sizeof(*l->columns));
	GX_ASSERT(l->fields && l->columns);
	memset(l->fields, 0, n * sizeof(*l->fields));
	for (size_t i = 0; i < n; i++) {
		l->fields[i].name = keep(l, gx_schema_field(l->sch, i));
		l->fields[i].is_required = gx_schema_field_required(l->sch, i);
	}
	if (x) {
		read_keys(l, gx_json_get(x, "key"));
	}
	size_t i = 0;
	for (p = p->child; p; p = p->next, i++) {
		(void)read_field(l, i, p);
	}
	l->r->fields = l->fields;
	l->r->n_fields = n;
}

/* Behind the fields, of which it names one. */
static bool
read_return(struct loader *l, const struct gx_json *x)
{
	static const char at[] = "/x-gx-resource/return";
	const struct gx_json *item;
	const char *by;
	int i;

	if (!x) {
		return true;
	}
	if (x->type != GX_JSON_OBJECT || !has_only(x, "by item")) {
		return refuse(l, at, "is an object of by and item");
	}
	by = gx_json_str(x, "by", "");
	item = gx_json_get(x, "item");
	if (strcmp(by, "region") != 0 && strcmp(by, "stream") != 0) {
		return refuse(l, at, "by is region or stream");
	}
	i = item && item->type == GX_JSON_STRING && l->columns
		    ? gx_schema_field_index(l->sch, item->text)
		    : -1;
	if (i < 0 || l->columns[i].kind != GX_COLUMN_TEXT) {
		return refuse(l, at, "item names a property that is a string");
	}
	l->r->return_by = *by == 'r' ? GX_RETURN_REGION : GX_RETURN_STREAM;
	l->r->return_item = (size_t)i;
	return true;
}

/* All of the declaration but the schema itself.  What is not refused is read
 * to its end, so that a person meets all faults at once. */
static void
read_declaration(struct loader *l)
{
	const struct gx_json *x = gx_json_get(l->root, "x-gx-resource");
	const struct gx_json *more =
		gx_json_get(l->root, "additionalProperties");
	const char *type = gx_json_str(l->root, "type", "");

	if (!x || x->type != GX_JSON_OBJECT) {
		(void)refuse(l, "/x-gx-resource", "is missing, or no object");
		x = NULL;
	}
	if (strcmp(type, "object") != 0) {
		(void)refuse(l, "/type", "is \"object\"");
	}
	if (!more || more->type != GX_JSON_FALSE) {
		(void)refuse(l, "/additionalProperties",
			     "is false: what is not declared cannot be "
			     "stored");
	}
	if (x) {
		read_head(l, x);
		read_catalogue(l, gx_json_get(x, "catalogue"));
	}
	if (l->sch) {
		read_fields(l, x);
		(void)read_return(l, x ? gx_json_get(x, "return") : NULL);
	}
}

static enum gx_rc
parse(struct gx_slice text, gx_resource_fault_f each, void *ctx,
      struct gx_resource **out, struct gx_err *e)
{
	struct owned *o = gx_mem_new(sizeof(*o));
	struct gx_arena *tree = gx_arena_new((size_t)128 << 20);
	struct loader l = {.r = &o->r, .e = e, .each = each, .ctx = ctx};
	struct gx_err fault = {0};

	if (gx_schema_compile(text, &o->sch, &fault) != GX_OK) {
		tell(&l, &fault);
	}
	o->arena = l.arena = gx_arena_new(8 * text.n + ((size_t)1 << 20));
	l.sch = o->sch;
	o->r.schema = o->sch;
	o->r.text = gx_slice(keep(&l, text), text.n);
	if (gx_json_parse(tree, text, &l.root, &fault) == GX_OK) {
		read_declaration(&l);
	} else if (!l.is_bad) {
		tell(&l, &fault);
	}
	gx_arena_free(&tree);
	*out = &o->r;
	if (l.is_bad) {
		gx_resource_free(out);
		return GX_REJECT;
	}
	o->columns = l.columns;
	gx_schema_demand_columns(o->sch, l.columns);
	return GX_OK;
}

enum gx_rc
gx_resource_parse(struct gx_slice text, struct gx_resource **out,
		  struct gx_err *e)
{
	return parse(text, NULL, NULL, out, e);
}

enum gx_rc
gx_resource_check(const char *path, gx_resource_fault_f each, void *ctx,
		  struct gx_resource **out, struct gx_err *e)
{
	FILE *f = fopen(path, "rb");
	struct gx_buf text;
	char piece[16384];
	size_t n;
	enum gx_rc rc = GX_OK;

	*out = NULL;
	if (!f) {
		return GX_ERR(e, GX_REJECT, "resource.refused",
			      "the file cannot be read: %s", strerror(errno));
	}
	gx_buf_init(&text, TEXT_MAX);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0) {
		(void)gx_buf_put(&text, piece, n);
	}
	if (ferror(f) || text.failed) {
		rc = GX_ERR(e, GX_REJECT, "resource.refused",
			    "the file cannot be read to its end, or is longer "
			    "than 4 MiB");
	}
	(void)fclose(f);
	if (rc == GX_OK) {
		rc = parse(gx_buf_view(&text), each, ctx, out, e);
	}
	gx_buf_free(&text);
	return rc;
}

enum gx_rc
gx_resource_load(const char *path, struct gx_resource **out, struct gx_err *e)
{
	return gx_resource_check(path, NULL, NULL, out, e);
}

void
gx_resource_free(struct gx_resource **r)
{
	struct owned *o = (struct owned *)*r; /* r is its first member */

	*r = NULL;
	if (!o) {
		return;
	}
	gx_schema_free(&o->sch);
	gx_arena_free(&o->arena);
	gx_mem_free(o);
}

/* One field of a key as a JSON string. */
static bool
put_key_field(struct gx_slice raw, struct gx_buf *out)
{
	char text[KEY_MAX];
	struct gx_scan s;
	struct gx_str str;

	if (raw.n == 0) {
		return false;
	}
	s = (struct gx_scan){raw.p, raw.p + raw.n, NULL};
	if (*raw.p == '-' || (*raw.p >= '0' && *raw.p <= '9')) {
		return raw.n <= KEY_MAX && gx_json_escape(out, raw);
	}
	/* Six bytes at most stand for one. */
	if (*raw.p != '"' || !gx_scan_string(&s, &str) || str.is_unstorable ||
	    str.n > (size_t)KEY_MAX * 6) {
		return false;
	}
	if (!str.is_escaped) {
		return str.n <= KEY_MAX &&
		       gx_json_escape(out, gx_slice(str.p, str.n));
	}
	char wide[KEY_MAX * 6];
	size_t n = gx_scan_decode(str.p, str.n, true, wide);
	if (n > KEY_MAX) {
		return false;
	}
	memcpy(text, wide, n);
	return gx_json_escape(out, gx_slice(text, n));
}

bool
gx_resource_key(const struct gx_resource *r, const struct gx_check *c,
		struct gx_buf *out)
{
	size_t from = out->n;
	bool good = gx_buf_putc(out, '[');

	for (size_t i = 0; good && i < r->n_keys; i++) {
		struct gx_slice raw = gx_check_field(c, (size_t)r->keys[i]);
		good = gx_buf_puts(out, i ? ",\"" : "\"") &&
		       put_key_field(raw, out) && gx_buf_putc(out, '"');
	}
	good = good && gx_buf_putc(out, ']');
	if (!good && out->n > from) {
		gx_buf_cut(out, from);
	}
	return good;
}

bool
gx_resource_copy_value(const struct gx_resource *r, size_t i,
		       struct gx_slice raw, struct gx_buf *out)
{
	const struct owned *o = (const struct owned *)r;

	GX_ASSERT(i < r->n_fields);
	return gx_column_put(&o->columns[i], raw, out);
}
