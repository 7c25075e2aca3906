/*
 * Schemas: from text to a program.
 *
 * A schema is read once into a tree (base/json), and each subschema becomes a
 * node of a flat array: which kinds of values it takes, the limits for each
 * kind, and the numbers of the nodes that apply to what lies within.  Then the
 * references are resolved and for each node is laid out which others apply at
 * the same place, so that a check never follows a reference.
 *
 * The reader is strict, since a keyword that is passed over is a rule that
 * nobody enforces: whatever is not in the table of keywords or an annotation
 * is refused with its pointer, and so is a value of the wrong kind.  What a
 * schema may cost is bounded here and not at run time: number of nodes, of
 * values in an enum, and of rules that meet in one place.
 *
 * Compiling is all or nothing: on a refusal everything is given back.  What
 * comes out is immutable, lies in one arena and may be used by any number of
 * threads, each with a workspace of its own (check.c).  Messages are written
 * here, once; a check only points at them.
 */
#include "record/schema_int.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

#define SCHEMA_MAGIC 0x73636865u
#define TEXT_MAX ((size_t)4 << 20)
#define TREE_MAX ((size_t)128 << 20)
#define ARENA_MAX ((size_t)64 << 20)

/* A word for an error text: printable and short. */
static void
put_word(struct gx_buf *b, const char *word, size_t max)
{
	size_t n = strlen(word), from = b->n;

	if (n > max) {
		n = max;
		while (n > 0 && ((unsigned char)word[n] & 0xc0) == 0x80) {
			n--;
		}
	}
	(void)gx_json_escape(b, gx_slice(word, n));
	if (b->n > from && !gx_text_printable(b->p + from, b->n - from)) {
		gx_buf_cut(b, from);
		(void)gx_buf_puts(b, "?");
	}
}

bool
gx_schema_refuse(struct gx_builder *b, const char *keyword, const char *why)
{
	struct gx_buf text;

	if (b->rc != GX_OK) {
		return false;
	}
	gx_buf_init(&text, 4096);
	put_word(&text, keyword, 60);
	(void)gx_buf_puts(&text, " at ");
	if (b->path.n) {
		put_word(&text, gx_buf_str(&b->path), 240);
	} else {
		(void)gx_buf_puts(&text, "the root");
	}
	b->rc = GX_ERR(b->e, GX_REJECT, "schema.refused", "%s: %s",
		       gx_buf_str(&text), why);
	gx_buf_free(&text);
	return false;
}

void *
gx_schema_alloc(struct gx_builder *b, size_t n, size_t size)
{
	size_t n_bytes;
	void *p = NULL;

	if (!__builtin_mul_overflow(n, size, &n_bytes)) {
		p = gx_arena_alloc(b->sch->arena, n_bytes);
	}
	if (!p) {
		gx_schema_refuse(b, "$schema", "the schema is too large");
		return NULL;
	}
	memset(p, 0, n_bytes);
	return p;
}

bool
gx_schema_push(struct gx_builder *b, const char *name, size_t *mark)
{
	*mark = b->path.n;
	(void)gx_buf_putc(&b->path, '/');
	for (; *name; name++) {
		if (*name == '~' || *name == '/') {
			(void)gx_buf_puts(&b->path, *name == '~' ? "~0" : "~1");
		} else {
			(void)gx_buf_putc(&b->path, *name);
		}
	}
	return !b->path.failed ||
	       gx_schema_refuse(b, "$schema", "names are too long");
}

void
gx_schema_pop(struct gx_builder *b, size_t mark)
{
	gx_buf_cut(&b->path, mark);
}

struct gx_rule
gx_schema_rule(struct gx_builder *b, const char *keyword, const char *fmt, ...)
{
	struct gx_rule r = {gx_slice(keyword, strlen(keyword)), {"", 0}};
	va_list ap;
	char text[160];

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	size_t len = n < 0			 ? 0
		     : (size_t)n >= sizeof(text) ? sizeof(text) - 1
						 : (size_t)n;
	char *copy = gx_arena_dup(b->sch->arena, text, len);
	if (copy) {
		r.message = gx_slice(copy, len);
	} else {
		gx_schema_refuse(b, keyword, "the schema is too large");
	}
	return r;
}

/* A new node that allows everything. */
static int32_t
new_node(struct gx_builder *b, const struct gx_json *json)
{
	struct gx_schema *s = b->sch;

	if (s->n_nodes == GX_SCHEMA_NODES) {
		gx_schema_refuse(b, "$schema", "too many subschemas");
		return GX_SCHEMA_NONE;
	}
	if (s->n_nodes == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64;
		struct gx_sch_node *grown =
			gx_mem_grow(s->node, cap, sizeof(*grown));
		if (!grown) {
			gx_schema_refuse(b, "$schema", "no memory");
			return GX_SCHEMA_NONE;
		}
		s->node = grown;
		b->cap = cap;
	}
	s->node[s->n_nodes] = (struct gx_sch_node){
		.kinds = KIND_ALL, .json = json, .ref = GX_SCHEMA_NONE};
	return (int32_t)s->n_nodes++;
}

int32_t
gx_schema_add(struct gx_builder *b, const struct gx_json *json,
	      const char *label)
{
	int32_t at = new_node(b, json);

	if (at < 0) {
		return at;
	}
	switch (json->type) {
	case GX_JSON_TRUE:
		break;
	case GX_JSON_FALSE:
		b->sch->node[at].kinds = 0;
		b->sch->node[at].on_kind =
			gx_schema_rule(b, label, "nothing may stand here");
		break;
	case GX_JSON_OBJECT:
		if (!gx_schema_read_keys(b, at, json)) {
			return GX_SCHEMA_NONE;
		}
		break;
	case GX_JSON_NULL:
	case GX_JSON_NUMBER:
	case GX_JSON_STRING:
	case GX_JSON_ARRAY:
		gx_schema_refuse(b, label,
				 "a schema is an object, true or false");
		return GX_SCHEMA_NONE;
	}
	return b->rc == GX_OK ? at : GX_SCHEMA_NONE;
}

static enum gx_rc
build(struct gx_builder *b)
{
	struct gx_schema *s = b->sch;

	if (gx_schema_add(b, b->root, "false") == 0 && gx_schema_link(b)) {
		const struct gx_json *p = gx_json_get(b->root, "properties");
		s->n_fields = p ? p->n : 0;
	}
	for (size_t i = 0; i < s->n_nodes; i++) {
		s->node[i].json = NULL; /* the tree goes */
	}
	return b->rc;
}

enum gx_rc
gx_schema_compile(struct gx_slice text, struct gx_schema **out,
		  struct gx_err *e)
{
	struct gx_builder b = {.e = e};
	struct gx_err why = {0};

	*out = NULL;
	if (text.n > TEXT_MAX) {
		return GX_ERR(e, GX_REJECT, "schema.refused",
			      "syntax at the root: longer than 4 MiB");
	}
	b.tree = gx_arena_new(TREE_MAX);
	if (gx_json_parse(b.tree, text, &b.root, &why) != GX_OK) {
		gx_arena_free(&b.tree);
		return GX_ERR(e, GX_REJECT, "schema.refused",
			      "syntax at the root: %s", why.text);
	}
	b.sch = gx_mem_new(sizeof(*b.sch));
	b.sch->magic = SCHEMA_MAGIC;
	b.sch->arena = gx_arena_new(ARENA_MAX);
	gx_digest_key_new(&b.sch->key);
	gx_buf_init(&b.path, 8192);
	enum gx_rc rc = build(&b);
	gx_buf_free(&b.path);
	gx_arena_free(&b.tree);
	if (rc != GX_OK) {
		gx_schema_free(&b.sch);
		return rc;
	}
	*out = b.sch;
	return GX_OK;
}

void
gx_schema_free(struct gx_schema **sch)
{
	struct gx_schema *s = *sch;

	*sch = NULL;
	if (!s) {
		return;
	}
	GX_ASSERT(s->magic == SCHEMA_MAGIC);
	for (size_t i = 0; i < s->n_nodes; i++) {
		struct gx_sch_node *n = &s->node[i];
		if (n->str) {
			gx_pattern_free(&n->str->pattern);
		}
		for (size_t k = 0; n->obj && k < n->obj->n_patterns; k++) {
			gx_pattern_free(&n->obj->pattern[k]);
		}
	}
	gx_mem_free(s->node);
	gx_arena_free(&s->arena);
	s->magic = 0;
	gx_mem_free(s);
}

void
gx_schema_demand_columns(struct gx_schema *s, const struct gx_column *columns)
{
	s->columns = columns;
}

size_t
gx_schema_n_fields(const struct gx_schema *s)
{
	return s->n_fields;
}

/* Properties come first among the names, in the order of the file. */
struct gx_slice
gx_schema_field(const struct gx_schema *s, size_t i)
{
	GX_ASSERT(i < s->n_fields);
	return s->node[0].obj->names.at[i];
}

int
gx_schema_field_index(const struct gx_schema *s, struct gx_slice name)
{
	if (s->n_fields == 0) {
		return -1;
	}
	int32_t at = gx_schema_names_find(&s->node[0].obj->names, name, 0);
	return at >= 0 && (size_t)at < s->n_fields ? at : -1;
}

bool
gx_schema_field_required(const struct gx_schema *s, size_t i)
{
	GX_ASSERT(i < s->n_fields);
	return s->node[0].obj->required[i / 64] >> i % 64 & 1;
}
