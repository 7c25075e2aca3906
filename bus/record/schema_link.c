/*
 * Linking: references, circles, and what applies together.
 *
 * A reference is a JSON pointer into the same file and must lead to what the
 * compiler took for a schema; it is resolved by the tree's node, so that two
 * spellings of one place are one.  Nothing is ever fetched.
 *
 * allOf and $ref apply at the same place and unconditionally, so a node's
 * closure, itself and all it reaches by them, is laid out here once.  Branches
 * (anyOf, not, if...) apply at the same place too, but their results are
 * combined.  A circle through either would never consume a byte of a record
 * and never end: it is refused.  A circle through properties or items is what
 * describes a tree, and is fine.
 *
 * How many rules can meet at one place is summed up on the way, because a
 * short schema can ask for 2^n of them.
 */
#include "record/schema_int.h"

#include <stdlib.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo the percent escapes of a URI fragment. */
static bool
decode_fragment(struct gx_slice ref, struct gx_buf *out)
{
	for (size_t i = 0; i < ref.n; i++) {
		char c = ref.p[i];
		if (c == '%') {
			int high = ref.n - i > 2 ? hex_digit(ref.p[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(ref.p[i + 2]) : -1;
			if (low < 0) {
				return false;
			}
			c = (char)(high << 4 | low);
			i += 2;
		}
		(void)gx_buf_putc(out, c);
	}
	return !out->failed;
}

/* Undo ~0 and ~1 (RFC 6901) in place. */
static bool
decode_token(char *p, size_t *n)
{
	size_t to = 0;

	for (size_t i = 0; i < *n; i++) {
		char c = p[i];
		if (c == '~') {
			i++;
			if (i == *n || (p[i] != '0' && p[i] != '1')) {
				return false;
			}
			c = p[i] == '0' ? '~' : '/';
		}
		p[to++] = c;
	}
	*n = to;
	return true;
}

static const struct gx_json *
step(const struct gx_json *v, struct gx_slice token)
{
	size_t i = 0;

	if (v->type == GX_JSON_OBJECT) {
		for (const struct gx_json *m = v->child; m; m = m->next) {
			if (gx_slice_eq(m->name, token)) {
				return m;
			}
		}
		return NULL;
	}
	if (v->type != GX_JSON_ARRAY || token.n == 0 || token.n > 9 ||
	    (token.n > 1 && token.p[0] == '0')) {
		return NULL;
	}
	for (size_t k = 0; k < token.n; k++) {
		if (token.p[k] < '0' || token.p[k] > '9') {
			return NULL;
		}
		i = i * 10 + (size_t)(token.p[k] - '0');
	}
	return gx_json_at(v, i);
}

/* The value a reference leads to, NULL if none. */
static const struct gx_json *
follow(struct gx_builder *b, struct gx_slice ref)
{
	const struct gx_json *v = b->root;
	struct gx_buf text;
	size_t at = 0;

	gx_buf_init(&text, 8192);
	if (!decode_fragment(ref, &text)) {
		v = NULL;
	}
	while (v && at < text.n) {
		char *p = text.p + at + 1;
		const char *end = memchr(p, '/', text.n - at - 1);
		size_t n = end ? (size_t)(end - p) : text.n - at - 1;
		bool good = text.p[at] == '/';
		at += n + 1;
		v = good && decode_token(p, &n) ? step(v, gx_slice(p, n))
						: NULL;
	}
	gx_buf_free(&text);
	return v;
}

struct place {
	const struct gx_json *json;
	int32_t node;
};

static int
compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return (x->json > y->json) - (x->json < y->json);
}

/* Go down to the object that holds the $ref, for the error's pointer. */
static bool
refuse_ref(struct gx_builder *b, const struct gx_json *json, const char *why)
{
	const struct gx_json *at = b->root;

	gx_buf_reset(&b->path);
	/* Bytes of a value lie within the bytes of what holds it. */
	while (at != json) {
		const struct gx_json *m = at->child;
		size_t i = 0, mark;
		char number[24];
		while (m && !(json->raw.p >= m->raw.p &&
			      json->raw.p < m->raw.p + m->raw.n)) {
			m = m->next;
			i++;
		}
		if (!m) {
			break;
		}
		snprintf(number, sizeof(number), "%zu", i);
		(void)gx_schema_push(
			b, at->type == GX_JSON_OBJECT ? m->name.p : number,
			&mark);
		at = m;
	}
	return gx_schema_refuse(b, "$ref", why);
}

static bool
resolve(struct gx_builder *b, const struct place *places, struct gx_sch_node *n)
{
	const struct gx_json *ref = gx_json_get(n->json, "$ref");
	struct gx_slice text = ref->text;

	/* The root's own name may stand in front of the fragment. */
	if (b->id.n && text.n >= b->id.n &&
	    memcmp(text.p, b->id.p, b->id.n) == 0 &&
	    (text.n == b->id.n || text.p[b->id.n] == '#')) {
		text = gx_slice(text.p + b->id.n, text.n - b->id.n);
	} else if (text.n == 0 || text.p[0] != '#') {
		return refuse_ref(b, n->json,
				  "leads out of this file; only #... is "
				  "followed");
	}
	if (text.n) {
		text = gx_slice(text.p + 1, text.n - 1);
	}
	struct place key = {.json = follow(b, text)};
	if (!key.json) {
		return refuse_ref(b, n->json, "leads nowhere");
	}
	const struct place *found = bsearch(&key, places, b->sch->n_nodes,
					    sizeof(key), compare_places);
	if (!found) {
		return refuse_ref(b, n->json, "leads to what is no schema");
	}
	n->ref = found->node;
	return true;
}

static bool
resolve_all(struct gx_builder *b)
{
	struct gx_schema *s = b->sch;
	struct place *places = gx_mem_array(s->n_nodes, sizeof(*places));

	if (!places) {
		return gx_schema_refuse(b, "$schema", "no memory");
	}
	for (size_t i = 0; i < s->n_nodes; i++) {
		places[i] = (struct place){s->node[i].json, (int32_t)i};
	}
	qsort(places, s->n_nodes, sizeof(*places), compare_places);
	for (size_t i = 0; i < s->n_nodes && b->rc == GX_OK; i++) {
		if (s->node[i].json->type == GX_JSON_OBJECT &&
		    gx_json_get(s->node[i].json, "$ref")) {
			(void)resolve(b, places, &s->node[i]);
		}
	}
	gx_mem_free(places);
	return b->rc == GX_OK;
}

/* Neighbours at the same place, one after the other; NONE at the end. */
static int32_t
neighbour(const struct gx_sch_node *n, size_t i)
{
	if (n->ref >= 0) {
		if (i == 0) {
			return n->ref;
		}
		i--;
	}
	if (i < n->n_all) {
		return n->all[i];
	}
	i -= n->n_all;
	for (size_t k = 0; k < n->n_apps; k++) {
		for (uint32_t j = 0; j < n->apps[k].n; j++) {
			if (n->apps[k].branch[j] >= 0 && i-- == 0) {
				return n->apps[k].branch[j];
			}
		}
	}
	return GX_SCHEMA_NONE;
}

struct visit {
	uint32_t node;
	size_t next;
};

/* Depth first, with a stack of our own: a chain of references may be as long
 * as the schema.  mark: 0 new, 1 open, 2 done. */
static bool
walk(struct gx_builder *b, struct visit *stack, uint32_t from)
{
	struct gx_sch_node *node = b->sch->node;
	size_t n = 0;

	if (node[from].mark) {
		return true;
	}
	stack[n++] = (struct visit){from, 0};
	node[from].mark = 1;
	node[from].spread = 1;
	while (n > 0) {
		struct visit *v = &stack[n - 1];
		struct gx_sch_node *mine = &node[v->node];
		int32_t to = neighbour(mine, v->next);
		if (to < 0) {
			mine->mark = 2;
			n--;
			continue;
		}
		if (node[to].mark == 1) {
			return refuse_ref(b, mine->json,
					  "goes round without consuming "
					  "anything");
		}
		if (node[to].mark == 0) {
			node[to].mark = 1;
			node[to].spread = 1;
			stack[n++] = (struct visit){(uint32_t)to, 0};
			continue;
		}
		mine->spread += node[to].spread;
		if (mine->spread > GX_SCHEMA_SPREAD) {
			return refuse_ref(b, mine->json,
					  "too many rules meet at one place");
		}
		v->next++;
	}
	return true;
}

/* Itself, then all that $ref and allOf reach, each once. */
static bool
lay_out(struct gx_builder *b, uint32_t at, uint32_t *list, bool *seen)
{
	struct gx_sch_node *node = b->sch->node, *mine = &node[at];
	uint32_t n = 0;

	list[n++] = at;
	seen[at] = true;
	for (uint32_t i = 0; i < n; i++) {
		const struct gx_sch_node *v = &node[list[i]];
		if (v->ref >= 0 && !seen[v->ref]) {
			seen[v->ref] = true;
			list[n++] = (uint32_t)v->ref;
		}
		for (size_t k = 0; k < v->n_all; k++) {
			if (!seen[v->all[k]]) {
				seen[v->all[k]] = true;
				list[n++] = (uint32_t)v->all[k];
			}
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		seen[list[i]] = false;
	}
	mine->closure = gx_schema_alloc(b, n, sizeof(*list));
	if (!mine->closure) {
		return false;
	}
	memcpy(mine->closure, list, n * sizeof(*list));
	mine->n_closure = n;
	mine->is_simple = n == 1 && mine->n_apps == 0;
	if (mine->num) {
		mine->num->is_small = !mine->num->has_multiple;
		for (int k = 0; k < 2; k++) {
			const struct gx_bound *low = &mine->num->low[k];
			const struct gx_bound *high = &mine->num->high[k];
			mine->num->is_small &=
				(!low->is_set || low->is_small) &&
				(!high->is_set || high->is_small);
		}
	}
	return true;
}

/* Members whose value one simple node is all there is to say about. */
static void
find_usual(struct gx_schema *s, struct gx_sch_object *o)
{
	for (uint32_t k = 0; o && k < o->names.n; k++) {
		if (o->usual[k].is_literal && o->child[k] >= 0 &&
		    s->node[o->child[k]].is_simple) {
			o->usual[k].node = &s->node[o->child[k]];
		}
	}
}

static bool
link_nodes(struct gx_builder *b, struct visit *stack, uint32_t *list,
	   bool *seen)
{
	for (size_t i = 0; i < b->sch->n_nodes; i++) {
		if (!walk(b, stack, (uint32_t)i)) {
			return false;
		}
	}
	for (size_t i = 0; i < b->sch->n_nodes; i++) {
		if (!lay_out(b, (uint32_t)i, list, seen)) {
			return false;
		}
	}
	for (size_t i = 0; i < b->sch->n_nodes; i++) {
		find_usual(b->sch, b->sch->node[i].obj);
	}
	return true;
}

bool
gx_schema_link(struct gx_builder *b)
{
	size_t n = b->sch->n_nodes;

	gx_buf_reset(&b->path);
	if (!resolve_all(b)) {
		return false;
	}
	struct visit *stack = gx_mem_array(n, sizeof(*stack));
	uint32_t *list = gx_mem_array(n, sizeof(*list));
	bool *seen = gx_mem_array(n, sizeof(*seen));
	bool good = stack && list && seen && link_nodes(b, stack, list, seen);
	gx_mem_free(stack);
	gx_mem_free(list);
	gx_mem_free(seen);
	return good ||
	       gx_schema_refuse(b, "$schema", "the schema is too large");
}
