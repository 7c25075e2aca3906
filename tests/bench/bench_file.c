/*
 * What records of a GB18030 file cost: gx_file_read() against iconv alone on
 * the same bytes (GB18030 to UTF-8, in pieces of 64 KiB, the result dropped).
 * CPU time, best of several passes for both, taken in turn.  All rows must
 * become records and none may be refused, and one that holds a byte that is no
 * character must be, or it exits 1.  Run from the root of the tree.
 */
#include "base/clock.h"
#include "record/file.h"

#include <errno.h>
#include <iconv.h>
#include <time.h>

#define ROWS 200000
#define PASSES 5
#define PIECE 65536

static const char layout_json[] =
	"{\"format\":\"csv\",\"encoding\":\"gb18030\",\"delimiter\":\"@|$\","
	"\"trailing_delimiter\":true,\"columns\":[\"no\",\"name\",\"unit\","
	"{\"name\":\"amount\",\"type\":\"decimal\",\"scale\":2},"
	"{\"name\":\"opened\",\"type\":\"date\"},\"state\"]}";

struct cursor {
	struct gx_slice rest;
	size_t n_bytes; /* of records */
};

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct cursor *c = ctx;

	n = n < c->rest.n ? n : c->rest.n;
	memcpy(p, c->rest.p, n);
	c->rest = gx_slice(c->rest.p + n, c->rest.n - n);
	return (ptrdiff_t)n;
}

static bool
take(void *ctx, const struct gx_file_row *row)
{
	((struct cursor *)ctx)->n_bytes += row->json.n;
	return true;
}

/* GB18030 of a text of ours; true if all of it was converted. */
static bool
convert(const char *to, const char *from, struct gx_slice in, char *out,
	size_t room, size_t *n)
{
	iconv_t cd = iconv_open(to, from);
	union {
		const char *in;
		char *out;
	} p = {in.p};
	bool good = cd != (iconv_t)-1;

	*n = 0;
	while (good && in.n > 0) {
		char *o = room == PIECE ? out : out + *n;
		size_t left = room == PIECE ? PIECE : room - *n, had = left;
		size_t rc = iconv(cd, &p.out, &in.n, &o, &left);
		*n += had - left;
		good = rc != (size_t)-1 || errno == E2BIG;
	}
	if (cd != (iconv_t)-1) {
		iconv_close(cd);
	}
	return good;
}

static bool
make_file(struct gx_buf *b, struct gx_buf *gb)
{
	size_t n;

	for (int i = 0; i < ROWS; i++) {
		gx_buf_printf(b,
			      "%d@|$张三某某%d@|$南宁市某某有限责任公司第%d"
			      "分公司@|$%d.%02d@|$20240229@|$正常缴存@|$\n",
			      i, i % 97, i % 13, i % 9999, i % 100);
	}
	char *out = gx_mem_array(b->n + 16, 1);
	bool good = out && convert("GB18030", "UTF-8", gx_buf_view(b), out,
				   b->n + 16, &n);
	good = good && gx_buf_put(gb, out, n);
	gx_mem_free(out);
	return good;
}

static bool
read_records(const struct gx_file_layout *l, struct gx_slice text,
	     struct gx_file_count *count)
{
	struct cursor c = {.rest = text};
	struct gx_file_in in = {read_some, take, &c, 0};
	struct gx_err e = {0};

	bool good = gx_file_read(l, &in, count, &e) == GX_OK;
	if (!good) {
		fprintf(stderr, "%s\n", e.text);
	}
	return good && c.n_bytes > 0;
}

static bool
sees_a_bad_row(const struct gx_file_layout *l)
{
	struct gx_file_count count;

	return read_records(l,
			    GX_SLICE("1@|$a@|$b@|$1@|$20240229@|$c@|$\n"
				     "1@|$\xff@|$b@|$1@|$20240229@|$c@|$\n"),
			    &count) &&
	       count.rows == 2 && count.refused == 1;
}

static double
cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(void)
{
	double best_iconv = 1e9, best_file = 1e9;
	struct gx_file_layout *l = NULL;
	struct gx_buf utf8, gb;
	struct gx_err e = {0};
	static char sink[PIECE];
	bool good = true;

	gx_buf_init(&utf8, (size_t)1 << 30);
	gx_buf_init(&gb, (size_t)1 << 30);
	if (!make_file(&utf8, &gb) ||
	    gx_file_layout_new(gx_slice_str(layout_json), &l, &e) != GX_OK ||
	    !sees_a_bad_row(l)) {
		fprintf(stderr, "bench_file: %s\n", e.text);
		return 1;
	}
	for (int i = 0; i < PASSES && good; i++) {
		struct gx_file_count count;
		size_t n;
		double at = cpu();
		good = convert("UTF-8", "GB18030", gx_buf_view(&gb), sink,
			       PIECE, &n) &&
		       n == utf8.n;
		double mid = cpu();
		good = good && read_records(l, gx_buf_view(&gb), &count) &&
		       count.rows == ROWS && count.refused == 0;
		double end = cpu();
		best_iconv = mid - at < best_iconv ? mid - at : best_iconv;
		best_file = end - mid < best_file ? end - mid : best_file;
	}
	printf("file     %.1f MB, %d rows: %.0f ns a record, iconv %.0f\n",
	       (double)gb.n / 1e6, ROWS, best_file * 1e9 / ROWS,
	       best_iconv * 1e9 / ROWS);
	printf("ratio file_iconv %.2f (aim >= 0.5)\n", best_iconv / best_file);
	gx_file_layout_free(&l);
	gx_buf_free(&utf8);
	gx_buf_free(&gb);
	return good ? 0 : 1;
}
