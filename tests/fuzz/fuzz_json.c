/*
 * Fuzz the JSON reader.
 *
 * What it takes must be within policy when looked at a second time: raw bytes
 * inside the input, text valid UTF-8 and ended by NUL, no name twice, and
 * writing the strings again must give JSON that reads back the same.
 */
#include "base/json.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

static void
walk(const struct gx_json *v, struct gx_slice in, struct gx_jw *w)
{
	GX_ASSERT(v->raw.p >= in.p && v->raw.n <= in.n &&
		  (size_t)(v->raw.p - in.p) <= in.n - v->raw.n);
	GX_ASSERT(gx_utf8_check(v->text.p, v->text.n) == v->text.n);
	switch (v->type) {
	case GX_JSON_OBJECT:
		gx_jw_begin(w, '{');
		for (const struct gx_json *m = v->child; m; m = m->next) {
			GX_ASSERT(m->name.p[m->name.n] == '\0');
			GX_ASSERT(gx_utf8_check(m->name.p, m->name.n) ==
				  m->name.n);
			/* A name may hold NUL, which gx_jw_name cannot. */
			gx_jw_str(w, m->name);
			gx_buf_putc(w->b, ':');
			w->need_comma = false;
			walk(m, in, w);
		}
		gx_jw_end(w, '}');
		return;
	case GX_JSON_ARRAY:
		gx_jw_begin(w, '[');
		for (const struct gx_json *m = v->child; m; m = m->next) {
			walk(m, in, w);
		}
		gx_jw_end(w, ']');
		return;
	case GX_JSON_STRING:
		GX_ASSERT(v->text.p[v->text.n] == '\0');
		gx_jw_str(w, v->text);
		return;
	case GX_JSON_NULL:
	case GX_JSON_FALSE:
	case GX_JSON_TRUE:
	case GX_JSON_NUMBER:
		gx_jw_raw(w, v->raw);
		return;
	}
}

/* Lone surrogates become U+FFFD, after which two names may be one. */
static bool
has_replacement(struct gx_slice s)
{
	return memmem(s.p, s.n, "\xef\xbf\xbd", 3) != NULL;
}

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
	struct gx_arena *a = gx_arena_new((size_t)32 << 20);
	struct gx_slice in = {(const char *)p, n};
	const struct gx_json *v, *again;
	struct gx_buf first, second;
	struct gx_err e = {0};
	struct gx_jw w;

	gx_buf_init(&first, (size_t)8 << 20);
	gx_buf_init(&second, (size_t)8 << 20);
	if (gx_json_parse(a, in, &v, &e) == GX_OK) {
		gx_jw_init(&w, &first);
		walk(v, in, &w);
		if (!first.failed && !has_replacement(gx_buf_view(&first))) {
			struct gx_slice text = gx_buf_view(&first);
			GX_ASSERT(gx_json_parse(a, text, &again, &e) == GX_OK);
			gx_jw_init(&w, &second);
			walk(again, text, &w);
			GX_ASSERT(gx_slice_eq(text, gx_buf_view(&second)));
		}
	}
	gx_buf_free(&second);
	gx_buf_free(&first);
	gx_arena_free(&a);
	return 0;
}
