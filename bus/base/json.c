/*
 * JSON trees: yajl reads, we decide.
 *
 * yajl's event interface does the grammar; its tree interface takes comments
 * and numbers like 00 and is not used.  Before it sees a byte, the whole text
 * is checked here for what it lets pass: bytes that are no strict UTF-8, a
 * byte order mark, and form feed or vertical tab as white space.  In the
 * callbacks we refuse more than 64 levels and a member name that comes twice.
 *
 * Each value knows its bytes in the input.  yajl does not tell where a token
 * began, but between two tokens there is only white space, comma and colon,
 * so a cursor that skips those stands on the next token.  Strings are decoded
 * here, from those bytes: yajl turns a lone surrogate escape into '?', and
 * then two names that differ would be one.  A lone surrogate is legal JSON
 * (RFC 8259, section 8.2) and no Unicode; it is held in its three-byte form
 * until the names of the object have been compared, then becomes U+FFFD.
 *
 * Names are compared at the end of an object, by sorting when there are more
 * than a few, so that a hostile object of a million members costs n log n.
 *
 * The tree lives in the caller's arena and shares its ceiling; nothing is
 * kept here between calls.  No input byte ever goes into an error text.
 */
#include "base/json.h"

#include "base/text.h"

#include <yajl/yajl_parse.h>
#include <yajl/yajl_version.h>

#if YAJL_MAJOR != 2 || YAJL_MINOR < 1
#error "yajl 2.1 is needed; lint checks for the distribution's fixed package"
#endif

#define DEPTH_MAX 64
#define QUADRATIC_MAX 8

struct parse {
	struct gx_arena *arena;
	struct gx_slice in;
	size_t at;	   /* just behind the last token */
	const char *fault; /* ours; NULL if yajl found it */
	bool is_full;
	bool has_surrogate; /* the string decoded last holds a lone one */
	struct gx_json *root;
	size_t depth;
	struct level {
		struct gx_json *value, *last; /* container, its last child */
		struct gx_slice name; /* of the member whose value comes */
		bool has_surrogate;
	} levels[DEPTH_MAX];
};

/* Stop with our own reason. */
static int
refuse(struct parse *p, const char *fault)
{
	p->fault = fault;
	return 0;
}

/* Skip what may stand between tokens. */
static void
seek_token(struct parse *p)
{
	while (p->at < p->in.n && strchr(" \t\r\n,:", p->in.p[p->at])) {
		p->at++;
	}
}

/* A new value of the container that is open, its raw bytes n long. */
static struct gx_json *
add(struct parse *p, enum gx_json_type type, size_t n)
{
	struct gx_json *v = gx_arena_alloc(p->arena, sizeof(*v));

	if (!v) {
		p->is_full = true;
		return NULL;
	}
	*v = (struct gx_json){.type = type};
	v->raw = gx_slice(p->in.p + p->at, n);
	if (p->depth == 0) {
		p->root = v;
		return v;
	}
	struct level *l = &p->levels[p->depth - 1];
	v->name = l->name;
	if (l->last) {
		l->last->next = v;
	} else {
		l->value->child = v;
	}
	l->last = v;
	l->value->n++;
	return v;
}

static int
on_literal(struct parse *p, enum gx_json_type type, size_t n)
{
	seek_token(p);
	struct gx_json *v = add(p, type, n);
	p->at += n;
	return v != NULL;
}

static int
on_null(void *ctx)
{
	return on_literal(ctx, GX_JSON_NULL, 4);
}

static int
on_bool(void *ctx, int value)
{
	return value ? on_literal(ctx, GX_JSON_TRUE, 4)
		     : on_literal(ctx, GX_JSON_FALSE, 5);
}

static int
on_number(void *ctx, const char *text, size_t n)
{
	struct parse *p = ctx;

	(void)text;
	seek_token(p);
	struct gx_json *v = add(p, GX_JSON_NUMBER, n);
	if (!v) {
		return 0;
	}
	v->text = v->raw;
	p->at += n;
	return 1;
}

/* Four hex digits, known to be there. */
static uint32_t
hex4(const char *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];
		uint32_t d = c <= '9' ? (uint32_t)(c - '0')
				      : (uint32_t)((c | 0x20) - 'a' + 10);
		v = v << 4 | d;
	}
	return v;
}

/* Decode the escape behind a backslash; returns the bytes it took. */
static size_t
decode_escape(struct parse *p, const char *from, char *to, size_t *n_to)
{
	static const char plain[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";

	if (*from != 'u') {
		const char *at = strchr(plain, *from);
		GX_ASSERT(*from && at);
		*to = meant[at - plain];
		*n_to = 1;
		return 1;
	}
	uint32_t cp = hex4(from + 1);
	size_t took = 5;
	if (cp >= 0xd800 && cp <= 0xdbff && from[5] == '\\' && from[6] == 'u') {
		uint32_t low = hex4(from + 7);
		if (low >= 0xdc00 && low <= 0xdfff) {
			cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
			took = 11;
		}
	}
	if (cp >= 0xd800 && cp <= 0xdfff) {
		p->has_surrogate = true;
	}
	*n_to = gx_utf8_put(cp, to);
	return took;
}

/* Lone surrogates (ED A0..BF xx) to U+FFFD, as long as they. */
static void
replace_surrogates(struct gx_slice s)
{
	union {
		const char *lent;
		char *own; /* decoded by us, in the arena */
	} p = {s.p};

	for (size_t i = 0; i + 2 < s.n; i++) {
		if ((unsigned char)p.own[i] == 0xed &&
		    (unsigned char)p.own[i + 1] >= 0xa0) {
			memcpy(p.own + i, "\xef\xbf\xbd", 3);
		}
	}
}

/*
 * The string token at p->at, which yajl has already found good: quotes,
 * escapes and controls need no check.  Leaves p->at behind it.
 */
static bool
take_string(struct parse *p, struct gx_slice *raw, struct gx_slice *text)
{
	seek_token(p);
	const char *from = p->in.p + p->at, *q = from + 1;
	size_t n_escapes = 0;
	while (*q != '"') {
		bool escaped = *q == '\\';
		n_escapes += escaped;
		q += escaped ? 2 : 1;
	}
	size_t n = (size_t)(q - from) - 1;
	*raw = gx_slice(from, n + 2);
	p->at += n + 2;
	p->has_surrogate = false;
	char *out = gx_arena_dup(p->arena, from + 1, n);
	if (!out) {
		p->is_full = true;
		return false;
	}
	*text = gx_slice(out, n);
	if (n_escapes == 0) {
		return true;
	}
	/* Shorter or as long: no escape stands for more bytes than it has. */
	size_t to = 0;
	for (const char *r = from + 1; r < q;) {
		if (*r != '\\') {
			out[to++] = *r++;
			continue;
		}
		size_t n_to;
		r++;
		r += decode_escape(p, r, out + to, &n_to);
		to += n_to;
	}
	out[to] = '\0';
	text->n = to;
	return true;
}

static int
on_string(void *ctx, const unsigned char *text, size_t n)
{
	struct parse *p = ctx;
	struct gx_slice raw, decoded;

	(void)text;
	(void)n;
	if (!take_string(p, &raw, &decoded)) {
		return 0;
	}
	if (p->has_surrogate) {
		replace_surrogates(decoded);
	}
	struct gx_json *v = add(p, GX_JSON_STRING, raw.n);
	if (!v) {
		return 0;
	}
	v->raw = raw;
	v->text = decoded;
	return 1;
}

static int
on_name(void *ctx, const unsigned char *text, size_t n)
{
	struct parse *p = ctx;
	struct level *l = &p->levels[p->depth - 1];
	struct gx_slice raw;

	(void)text;
	(void)n;
	if (!take_string(p, &raw, &l->name)) {
		return 0;
	}
	l->has_surrogate |= p->has_surrogate;
	return 1;
}

static int
open_container(struct parse *p, enum gx_json_type type)
{
	seek_token(p);
	if (p->depth == DEPTH_MAX) {
		return refuse(p, "nested deeper than 64 levels");
	}
	struct gx_json *v = add(p, type, 1);
	if (!v) {
		return 0;
	}
	p->at++;
	p->levels[p->depth++] = (struct level){.value = v};
	return 1;
}

static int
on_object(void *ctx)
{
	return open_container(ctx, GX_JSON_OBJECT);
}

static int
on_array(void *ctx)
{
	return open_container(ctx, GX_JSON_ARRAY);
}

static struct gx_json *
close_container(struct parse *p)
{
	seek_token(p);
	struct gx_json *v = p->levels[--p->depth].value;
	p->at++;
	v->raw.n = (size_t)(p->in.p + p->at - v->raw.p);
	return v;
}

static int
on_array_end(void *ctx)
{
	close_container(ctx);
	return 1;
}

static int
compare_slices(const void *a, const void *b)
{
	const struct gx_slice *x = a, *y = b;
	size_t n = x->n < y->n ? x->n : y->n;
	int order = n ? memcmp(x->p, y->p, n) : 0;

	return order ? order : (x->n > y->n) - (x->n < y->n);
}

static bool
has_twin_sorted(struct parse *p, const struct gx_json *object)
{
	struct gx_slice *names = gx_mem_array(object->n, sizeof(*names));
	size_t n = 0;
	bool twin = false;

	if (!names) {
		p->is_full = true;
		return true;
	}
	for (const struct gx_json *m = object->child; m; m = m->next) {
		names[n++] = m->name;
	}
	qsort(names, n, sizeof(*names), compare_slices);
	for (size_t i = 1; i < n && !twin; i++) {
		twin = gx_slice_eq(names[i - 1], names[i]);
	}
	gx_mem_free(names);
	return twin;
}

/* Do two members have the same name? */
static bool
has_twin(struct parse *p, const struct gx_json *object)
{
	if (object->n > QUADRATIC_MAX) {
		return has_twin_sorted(p, object);
	}
	for (const struct gx_json *m = object->child; m; m = m->next) {
		for (const struct gx_json *o = m->next; o; o = o->next) {
			if (gx_slice_eq(m->name, o->name)) {
				return true;
			}
		}
	}
	return false;
}

static int
on_object_end(void *ctx)
{
	struct parse *p = ctx;
	struct gx_json *v = close_container(p);

	if (has_twin(p, v)) {
		return refuse(p, "a member name comes twice in one object");
	}
	if (p->levels[p->depth].has_surrogate) {
		for (struct gx_json *m = v->child; m; m = m->next) {
			replace_surrogates(m->name);
		}
	}
	return 1;
}

/* What yajl lets pass and RFC 8259 does not; NULL if nothing. */
static const char *
find_foul(struct gx_slice in, size_t *at)
{
	*at = 0;
	if (in.n >= 3 && memcmp(in.p, "\xef\xbb\xbf", 3) == 0) {
		return "a byte order mark";
	}
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if (c < 0x20 && c != '\t' && c != '\n' && c != '\r') {
			*at = i;
			return "a control character";
		}
	}
	*at = gx_utf8_check(in.p, in.n);
	return *at < in.n ? "a byte that is not UTF-8" : NULL;
}

/* yajl does not look at what its allocator returns. */
static void *
yajl_new(void *ctx, size_t n)
{
	(void)ctx;
	return gx_mem_new(n);
}

static void *
yajl_grow(void *ctx, void *p, size_t n)
{
	(void)ctx;
	void *q = gx_mem_grow(p, n, 1);
	if (!q) {
		fprintf(stderr, "gxbus: no memory for %zu bytes\n", n);
		abort();
	}
	return q;
}

static void
yajl_release(void *ctx, void *p)
{
	(void)ctx;
	gx_mem_free(p);
}

static enum gx_rc
syntax(struct gx_err *e, size_t at, const char *why)
{
	return GX_ERR(e, GX_REJECT, "json.syntax", "byte %zu: %.*s", at,
		      (int)strcspn(why, "\n"), why);
}

/* yajl takes a token that is cut off by the end of the text ('1"x') for the
 * end: nothing but white space may follow the value. */
static enum gx_rc
check_end(struct parse *p, struct gx_err *e)
{
	const char *at = p->root->raw.p + p->root->raw.n;
	const char *end = p->in.p + p->in.n;

	while (at < end && strchr(" \t\r\n", *at) && *at) {
		at++;
	}
	return at == end ? GX_OK
			 : syntax(e, (size_t)(at - p->in.p),
				  "text after the value");
}

static enum gx_rc
run(struct parse *p, yajl_handle h, struct gx_err *e)
{
	const unsigned char *text = (const unsigned char *)p->in.p;
	yajl_status rc = yajl_parse(h, text, p->in.n);

	if (rc == yajl_status_ok) {
		rc = yajl_complete_parse(h);
	}
	if (rc == yajl_status_ok) {
		GX_ASSERT(p->root && p->depth == 0);
		return check_end(p, e);
	}
	if (p->is_full) {
		return GX_ERR(e, GX_REJECT, "mem.full",
			      "the JSON text is too large for its limit");
	}
	if (p->fault) {
		return syntax(e, p->at, p->fault);
	}
	/* Not verbose: the reason alone, without input. */
	unsigned char *why = yajl_get_error(h, 0, text, p->in.n);
	size_t at = yajl_get_bytes_consumed(h);
	syntax(e, at < p->in.n ? at : p->in.n, (const char *)why);
	yajl_free_error(h, why);
	return GX_REJECT;
}

enum gx_rc
gx_json_parse(struct gx_arena *a, struct gx_slice in,
	      const struct gx_json **out, struct gx_err *e)
{
	static const yajl_callbacks callbacks = {
		.yajl_null = on_null,
		.yajl_boolean = on_bool,
		.yajl_number = on_number,
		.yajl_string = on_string,
		.yajl_start_map = on_object,
		.yajl_map_key = on_name,
		.yajl_end_map = on_object_end,
		.yajl_start_array = on_array,
		.yajl_end_array = on_array_end,
	};
	yajl_alloc_funcs alloc = {yajl_new, yajl_grow, yajl_release, NULL};
	struct parse p = {.arena = a, .in = in};
	size_t at;

	*out = NULL;
	const char *foul = find_foul(in, &at);
	if (foul) {
		return syntax(e, at, foul);
	}
	yajl_handle h = yajl_alloc(&callbacks, &alloc, &p);
	if (!h) {
		return GX_ERR(e, GX_REJECT, "mem.full", "no memory");
	}
	enum gx_rc rc = run(&p, h, e);
	yajl_free(h);
	if (rc == GX_OK) {
		*out = p.root;
	}
	return rc;
}

const struct gx_json *
gx_json_get(const struct gx_json *obj, const char *name)
{
	if (!obj || obj->type != GX_JSON_OBJECT) {
		return NULL;
	}
	struct gx_slice want = gx_slice_str(name);
	for (const struct gx_json *m = obj->child; m; m = m->next) {
		if (gx_slice_eq(m->name, want)) {
			return m;
		}
	}
	return NULL;
}

const struct gx_json *
gx_json_at(const struct gx_json *arr, size_t i)
{
	if (!arr || arr->type != GX_JSON_ARRAY) {
		return NULL;
	}
	const struct gx_json *v = arr->child;
	while (v && i > 0) {
		v = v->next;
		i--;
	}
	return v;
}

const char *
gx_json_str(const struct gx_json *obj, const char *name, const char *dflt)
{
	const struct gx_json *v = gx_json_get(obj, name);

	return v && v->type == GX_JSON_STRING ? v->text.p : dflt;
}

int64_t
gx_json_int(const struct gx_json *obj, const char *name, int64_t dflt)
{
	const struct gx_json *v = gx_json_get(obj, name);
	uint64_t u;

	if (!v || v->type != GX_JSON_NUMBER) {
		return dflt;
	}
	bool minus = v->text.p[0] == '-';
	if (!gx_parse_u64(v->text.p + minus, v->text.n - minus,
			  (uint64_t)INT64_MAX + minus, &u)) {
		return dflt;
	}
	/* -2^63 has no positive twin. */
	return minus ? (int64_t)(0 - u) : (int64_t)u;
}

bool
gx_json_bool(const struct gx_json *obj, const char *name, bool dflt)
{
	const struct gx_json *v = gx_json_get(obj, name);

	if (!v || (v->type != GX_JSON_TRUE && v->type != GX_JSON_FALSE)) {
		return dflt;
	}
	return v->type == GX_JSON_TRUE;
}
