/*
 * Fuzz the reader of delivered files, and the layouts.
 *
 * The first byte chooses a layout (or says that the rest is one), the second
 * how large the pieces are.  Every line belongs to exactly one row; a record
 * is JSON within policy; another size of pieces changes nothing; reading goes
 * on behind any row as if it had never stopped; and what was taken, written
 * again with everything quoted, is taken as the same values.
 */
#include "record/file.h"
#include "record/schema.h"

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

#define TAIL                                                                   \
	"\"trailer\":{\"columns\":[{\"equals\":\"T\",\"width\":1},{\"count\":" \
	"true,\"width\":2},{\"sum\":\"n\",\"width\":3}]}"
static const char *const layouts[] = {
	"{\"format\":\"csv\",\"columns\":[\"a\",\"b\"],\"quote\":\"\\\"\"}",
	"{\"format\":\"csv\",\"encoding\":\"gb18030\",\"delimiter\":\"@|$\","
	"\"trailing_delimiter\":true,\"quote\":\"'\",\"columns\":[\"a\","
	"\"b\"]}",
	"{\"format\":\"csv\",\"encoding\":\"gbk\",\"delimiter\":\"|\","
	"\"header\":true,\"columns\":[\"a\",{\"name\":\"n\",\"type\":"
	"\"decimal\",\"scale\":2}]}",
	"{\"format\":\"csv\",\"quote\":\"\\\"\",\"trim\":\"both\",\"columns\":["
	"{\"name\":\"n\",\"type\":\"integer\"},{\"name\":\"d\",\"type\":"
	"\"date\"},{\"name\":\"t\",\"type\":\"timestamp\"},{\"name\":\"m\","
	"\"type\":\"month\"},{\"name\":\"b\",\"type\":\"boolean\"}],"
	"\"trailer\":{\"columns\":[{\"count\":true},{\"sum\":\"n\"}]}}",
	"{\"format\":\"fixed\",\"encoding\":\"gb18030\",\"columns\":[{\"name\":"
	"\"a\",\"item\":null,\"width\":4},{\"name\":\"n\",\"width\":2,\"type\":"
	"\"decimal\","
	"\"implied\":1}]," TAIL "}",
	"{\"format\":\"fixed\",\"encoding\":\"gb18030\",\"width_unit\":"
	"\"characters\",\"columns\":[{\"name\":\"a\",\"width\":2,\"trim\":"
	"\"right\"},{\"name\":\"b\",\"width\":1}]}",
};
#define N_LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))
static const char plain_json[] =
	"{\"format\":\"csv\",\"quote\":\"\\\"\",\"columns\":[\"a\",\"b\"]}";

struct source {
	struct gx_slice rest;
	size_t piece, n_columns;
	uint64_t last, middle; /* a line in the middle */
	struct gx_buf out, quoted;
};

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct source *s = ctx;

	n = n < s->rest.n ? n : s->rest.n;
	n = n < s->piece ? n : s->piece;
	if (n) {
		memcpy(p, s->rest.p, n);
		s->rest = gx_slice(s->rest.p + n, s->rest.n - n);
	}
	return (ptrdiff_t)n;
}

static void
put_quoted(struct gx_buf *b, struct gx_slice v)
{
	gx_buf_putc(b, '"');
	for (size_t i = 0; i < v.n; i++) {
		gx_buf_puts(b, v.p[i] == '"' ? "\"" : "");
		gx_buf_putc(b, v.p[i]);
	}
	gx_buf_putc(b, '"');
}

static bool
take(void *ctx, const struct gx_file_row *row)
{
	struct source *s = ctx;
	size_t at;

	GX_ASSERT(row->last_line >= row->line);
	GX_ASSERT(s->last == 0 || row->line == s->last + 1);
	s->last = row->last_line;
	s->middle = row->number == 2 ? row->last_line : s->middle;
	gx_buf_printf(&s->out, "%d %d %s ", (int)row->line, (int)row->last_line,
		      row->reason ? row->reason : "");
	if (!row->reason) {
		GX_ASSERT(gx_json_syntax(row->json, &at) == NULL);
		gx_buf_slice(&s->out, row->json);
		for (size_t i = 0; i < s->n_columns && i < 2; i++) {
			gx_buf_puts(&s->quoted, i ? "," : "");
			put_quoted(&s->quoted, row->values[i]);
		}
		gx_buf_putc(&s->quoted, '\n');
	}
	gx_buf_putc(&s->out, '\n');
	return true;
}

static struct source
read_all(const struct gx_file_layout *l, struct gx_slice text, size_t piece,
	 uint64_t after, enum gx_rc *rc)
{
	struct source s = {.rest = text,
			   .piece = piece,
			   .n_columns = gx_file_n_columns(l)};
	struct gx_file_in in = {read_some, take, &s, after};
	struct gx_file_count count;
	struct gx_err e = {0};

	gx_buf_init(&s.out, (size_t)64 << 20);
	gx_buf_init(&s.quoted, (size_t)64 << 20);
	*rc = gx_file_read(l, &in, &count, &e);
	return s;
}

static void
drop(struct source *s)
{
	gx_buf_free(&s->out);
	gx_buf_free(&s->quoted);
}

static struct gx_file_layout *
compile(const char *json)
{
	struct gx_file_layout *l;
	struct gx_err e = {0};

	if (gx_file_layout_new(gx_slice_str(json), &l, &e) != GX_OK) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	return l;
}

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
	static struct gx_file_layout *all[N_LAYOUTS], *plain;
	enum gx_rc rc, rc2;

	if (n < 2) {
		return 0;
	}
	if (!plain) {
		plain = compile(plain_json);
		for (size_t i = 0; i < N_LAYOUTS; i++) {
			all[i] = compile(layouts[i]);
		}
	}
	struct gx_slice text = {(const char *)p + 2, n - 2};
	size_t which = p[0] % (N_LAYOUTS + 1);
	if (which == N_LAYOUTS) {
		struct gx_file_layout *l = NULL;
		struct gx_err e = {0};
		if (gx_file_layout_new(text, &l, &e) == GX_OK) {
			gx_file_layout_free(&l);
		}
		return 0;
	}
	struct source a = read_all(all[which], text, 1u + p[1], 0, &rc);
	struct source b = read_all(all[which], text, SIZE_MAX, 0, &rc2);
	GX_ASSERT(rc == rc2);
	/* When damage is seen depends on how much is read at a time. */
	size_t both = a.out.n < b.out.n ? a.out.n : b.out.n;
	GX_ASSERT(rc != GX_OK || a.out.n == b.out.n);
	GX_ASSERT(both == 0 || memcmp(a.out.p, b.out.p, both) == 0);
	if (a.middle > 0 && rc == GX_OK) {
		struct source c =
			read_all(all[which], text, 64, a.middle, &rc2);
		GX_ASSERT(rc == rc2 && c.out.n <= a.out.n);
		GX_ASSERT(c.out.n == 0 ||
			  memcmp(c.out.p, a.out.p + a.out.n - c.out.n,
				 c.out.n) == 0);
		drop(&c);
	}
	if (a.n_columns == 2) {
		struct source d =
			read_all(plain, gx_buf_view(&a.quoted), 4096, 0, &rc2);
		GX_ASSERT(rc2 == GX_OK);
		GX_ASSERT(gx_slice_eq(gx_buf_view(&a.quoted),
				      gx_buf_view(&d.quoted)));
		drop(&d);
	}
	drop(&a);
	drop(&b);
	return 0;
}
