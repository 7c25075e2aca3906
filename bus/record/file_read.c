/*
 * A delivered file, from its first byte to its last.
 *
 * A file is: perhaps a leader, perhaps a line of names, rows, perhaps a
 * trailer.  Its rows are judged one by one, its frame as a whole: a name that
 * is not the layout's, a count or sum that does not agree, and no row of it
 * can be trusted.  That is known at the last line, so whoever publishes reads
 * a file twice, the first time only for this.  Both times the same code runs
 * over the same bytes and says the same.
 *
 * The last line is the trailer, whatever it looks like: a file that was cut
 * has another last line, and that does not agree.  A row that is refused still
 * counts and, if its amount can be read, adds to the sum; a row whose amount
 * cannot be read makes the sum unknown, and the file is refused, with the line
 * of that row.
 *
 * A file being read is one object of one thread and holds no more than the
 * record at hand.  If we die on any line, the caller goes on behind the last
 * line it has noted, or begins again.
 */
#include "record/file_int.h"

struct gx_file {
	const struct gx_file_layout *l;
	uint64_t after;
	struct gx_file_count count;
	bool is_begun, has_ended;
	struct gx_file_record rec;
	struct gx_file_out json;
	struct gx_file_sum sums[GX_FILE_CHECKS];
	uint64_t unknown_line[GX_FILE_CHECKS]; /* first that has no number */
	/* What the leader claims; checked at the end. */
	uint64_t leader_line;
	uint64_t leader_count;
	struct gx_file_sum leader_sums[2 * GX_FILE_CHECKS];
	struct gx_err *e;
};

bool
gx_file_is_late(const struct gx_file_layout *l, struct gx_slice begin)
{
	return l->leader.n > 0 || l->trailer.n > 0 ||
	       (begin.n >= 2 && memcmp(begin.p, "\x1f\x8b", 2) == 0);
}

static enum gx_rc
refuse_frame(struct gx_file *r, const char *which, const char *why)
{
	return GX_ERR(r->e, GX_REJECT, "file.frame", "%s, line %llu: %s", which,
		      (unsigned long long)r->rec.line, why);
}

static enum gx_rc
refuse_total(struct gx_file *r, const char *which, uint64_t line,
	     const char *why)
{
	return GX_ERR(r->e, GX_REJECT, "file.total", "%s, line %llu: %s", which,
		      (unsigned long long)line, why);
}

static void
drop_bom(struct gx_file *r)
{
	static const struct gx_slice boms[] = {
		[GX_FILE_UTF8] = {"\xef\xbb\xbf", 3},
		[GX_FILE_GBK] = {"", 0},
		[GX_FILE_GB18030] = {"\x84\x31\x95\x33", 4}};
	struct gx_slice bom = boms[r->l->encoding];
	struct gx_file_bytes *b = &r->rec.bytes;

	if (bom.n > 0 && b->to - b->from >= bom.n &&
	    memcmp(b->p + b->from, bom.p, bom.n) == 0) {
		gx_file_bytes_skip(b, bom.n);
	}
}

/* A column of a leader or trailer as the sum or count it claims. */
static bool
read_claim(const struct gx_file_column *c, struct gx_slice v,
	   struct gx_file_sum *sum)
{
	struct gx_file_number number;

	v = gx_file_value_trim(v, c->trim);
	memset(sum, 0, sizeof(*sum));
	return gx_file_number_read(v, c->implied, &number) &&
	       (c->check != GX_FILE_COUNT ||
		(number.fraction.n == 0 && !number.is_negative)) &&
	       gx_file_sum_add(sum, &number);
}

/* The line at hand is a leader or trailer of this form: what must be equal,
 * is, and what it claims is read. */
static enum gx_rc
read_frame(struct gx_file *r, const char *which,
	   const struct gx_file_form *form, struct gx_file_sum *claims)
{
	if (r->rec.reason) {
		return refuse_frame(r, which, r->rec.reason);
	}
	for (size_t i = 0; i < form->n; i++) {
		const struct gx_file_column *c = &form->columns[i];
		struct gx_slice v = r->rec.fields[i];
		if (c->check == GX_FILE_EQUALS &&
		    !gx_slice_eq(gx_file_value_trim(v, c->trim), c->equals)) {
			return refuse_frame(r, which,
					    "a column is not what it must "
					    "equal");
		}
		if ((c->check == GX_FILE_COUNT || c->check == GX_FILE_SUM) &&
		    !read_claim(c, v, &claims[i])) {
			return refuse_frame(r, which,
					    "a count or sum is no number");
		}
	}
	return GX_OK;
}

/* Does what this form claims agree with the rows? */
static enum gx_rc
compare(struct gx_file *r, const char *which, uint64_t line,
	const struct gx_file_form *form, const struct gx_file_sum *claims)
{
	__extension__ __int128 unit = 1000000000000;

	for (size_t i = 0; i < form->n; i++) {
		const struct gx_file_column *c = &form->columns[i];
		if (c->check == GX_FILE_COUNT &&
		    claims[i].units != unit * r->count.rows) {
			return refuse_total(r, which, line,
					    "the count is not that of the "
					    "rows");
		}
		if (c->check != GX_FILE_SUM) {
			continue;
		}
		size_t k = r->l->row.columns[c->of].sum;
		if (r->unknown_line[k] > 0) {
			return refuse_total(r, "row", r->unknown_line[k],
					    "it has no number for a sum that "
					    "must agree");
		}
		if (claims[i].units != r->sums[k].units) {
			return refuse_total(r, which, line,
					    "the sum is not that of the rows");
		}
	}
	return GX_OK;
}

static enum gx_rc
read_leader(struct gx_file *r)
{
	enum gx_rc rc = gx_file_record_next(&r->rec, &r->l->leader, r->e);

	if (rc == GX_AGAIN) {
		return refuse_frame(r, "leader", "the file is empty");
	}
	r->leader_line = r->rec.line;
	return rc == GX_OK
		       ? read_frame(r, "leader", &r->l->leader, r->leader_sums)
		       : rc;
}

static enum gx_rc
refuse_header(struct gx_file *r, const char *why)
{
	return GX_ERR(r->e, GX_REJECT, "file.header", "line %llu: %s",
		      (unsigned long long)r->rec.line, why);
}

static enum gx_rc
read_header(struct gx_file *r)
{
	const struct gx_file_form *form = &r->l->row;

	r->rec.is_header = true;
	enum gx_rc rc = gx_file_record_next(&r->rec, form, r->e);
	r->rec.is_header = false;
	if (rc == GX_AGAIN) {
		return refuse_header(r, "the line of names is missing");
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (r->rec.reason) {
		return refuse_header(r, r->rec.reason);
	}
	for (size_t i = 0; i < form->n; i++) {
		struct gx_slice v = gx_file_value_trim(
			r->rec.fields[i],
			r->l->is_fixed ? GX_FILE_TRIM_RIGHT : 0);
		if (!gx_slice_eq(v, form->columns[i].name)) {
			return GX_ERR(r->e, GX_REJECT, "file.header",
				      "line %llu: the name of column %zu is "
				      "not the layout's",
				      (unsigned long long)r->rec.line, i + 1);
		}
	}
	return GX_OK;
}

static void
add_sums(struct gx_file *r)
{
	for (size_t i = 0; r->l->n_sums > 0 && i < r->l->row.n; i++) {
		const struct gx_file_column *c = &r->l->row.columns[i];
		struct gx_file_number number;
		if (c->sum == GX_FILE_NONE || r->unknown_line[c->sum] > 0) {
			continue;
		}
		struct gx_slice v = {NULL, 0};
		bool good = r->rec.n_fields == r->l->row.n;
		if (good) {
			v = gx_file_value_trim(r->rec.fields[i], c->trim);
		}
		if (good && v.n == 0) {
			continue;
		}
		if (!good || !gx_file_number_read(v, c->implied, &number) ||
		    !gx_file_sum_add(&r->sums[c->sum], &number)) {
			r->unknown_line[c->sum] = r->rec.line;
		}
	}
}

/* The fields of the record at hand as one JSON object. */
static void
make_json(struct gx_file *r)
{
	struct gx_file_out *o = &r->json;
	bool is_put = false, is_first = true;

	o->n = 0;
	for (size_t i = 0; i < r->l->row.n; i++) {
		const struct gx_file_column *c = &r->l->row.columns[i];
		if (!gx_file_out_need(o, 2)) {
			gx_file_record_fault(&r->rec,
					     "no memory for the record",
					     GX_FILE_NONE);
			return;
		}
		/* Overwritten if nothing is put behind it. */
		size_t before = o->n;
		o->p[o->n++] = is_first ? '{' : ',';
		const char *why =
			gx_file_value_put(o, c, r->rec.fields[i], &is_put);
		if (why) {
			gx_file_record_fault(&r->rec, why, i);
			return;
		}
		o->n = is_put && c->head.n > 0 ? o->n : before;
		is_first = is_first && o->n == before;
	}
	if (gx_file_out_need(o, 2)) {
		if (is_first) {
			o->p[o->n++] = '{';
		}
		o->p[o->n++] = '}';
	}
}

/* The record at hand as a row. */
static void
make_row(struct gx_file *r, struct gx_file_row *row)
{
	memset(row, 0, sizeof(*row));
	row->number = r->count.rows;
	row->line = r->rec.line;
	row->last_line = r->rec.last_line;
	if (!r->rec.reason) {
		make_json(r);
	}
	if (!r->rec.reason) {
		row->json = gx_slice(r->json.p, r->json.n);
		row->values = r->rec.fields;
		return;
	}
	row->reason = r->rec.reason;
	r->count.refused++;
	if (r->rec.column < r->l->row.n) {
		row->column = r->l->row.columns[r->rec.column].name;
	}
}

/* The record that comes next is the last line of the file, and the layout has
 * a trailer. */
static enum gx_rc
is_trailer(struct gx_file *r, bool *is_last)
{
	*is_last = false;
	return r->l->trailer.n > 0
		       ? gx_file_bytes_is_last(&r->rec.bytes, is_last, r->e)
		       : GX_OK;
}

static enum gx_rc
read_trailer(struct gx_file *r, struct gx_file_sum *claims)
{
	const struct gx_file_form *form = &r->l->trailer;
	enum gx_rc rc = gx_file_record_next(&r->rec, form, r->e);

	GX_ASSERT(rc != GX_AGAIN); /* the line is there */
	return rc == GX_OK ? read_frame(r, "trailer", form, claims) : rc;
}

/* What stands before the rows. */
static enum gx_rc
begin_file(struct gx_file *r)
{
	enum gx_rc rc = GX_OK;

	drop_bom(r);
	if (r->l->leader.n > 0) {
		rc = read_leader(r);
	}
	if (rc == GX_OK && r->l->has_header) {
		rc = read_header(r);
	}
	r->is_begun = rc == GX_OK;
	return rc;
}

/* The rows are over: GX_AGAIN if everything agrees. */
static enum gx_rc
end_file(struct gx_file *r, bool has_trailer)
{
	struct gx_file_sum claims[2 * GX_FILE_CHECKS];
	enum gx_rc rc = GX_OK;

	if (r->l->trailer.n > 0) {
		rc = has_trailer ? read_trailer(r, claims)
				 : refuse_frame(r, "trailer", "it is missing");
	}
	if (rc == GX_OK) {
		rc = compare(r, "leader", r->leader_line, &r->l->leader,
			     r->leader_sums);
	}
	if (rc == GX_OK) {
		rc = compare(r, "trailer", r->rec.line, &r->l->trailer, claims);
	}
	r->has_ended = rc == GX_OK;
	return rc == GX_OK ? GX_AGAIN : rc;
}

/* The next row behind "after", or the end.  row == NULL: only look. */
static enum gx_rc
next_row(struct gx_file *r, struct gx_file_row *row, struct gx_err *e)
{
	bool has_trailer;

	r->e = e;
	if (r->has_ended) {
		return GX_AGAIN;
	}
	enum gx_rc rc = r->is_begun ? GX_OK : begin_file(r);
	while (rc == GX_OK) {
		rc = is_trailer(r, &has_trailer);
		if (rc == GX_OK && has_trailer) {
			return end_file(r, true);
		}
		if (rc == GX_OK) {
			rc = gx_file_record_next(&r->rec, &r->l->row, e);
		}
		if (rc == GX_AGAIN) {
			return end_file(r, false);
		}
		if (rc != GX_OK) {
			break;
		}
		r->count.rows++;
		add_sums(r);
		if (row && r->rec.line > r->after) {
			make_row(r, row);
			break;
		}
	}
	return rc;
}

enum gx_rc
gx_file_open(const struct gx_file_layout *l, const struct gx_file_in *in,
	     struct gx_file **out, struct gx_err *e)
{
	struct gx_file *r = gx_mem_new(sizeof(*r));

	r->l = l;
	r->after = in->after;
	enum gx_rc rc = gx_file_record_open(&r->rec, l, in, e);
	if (rc != GX_OK) {
		gx_file_close(&r);
	}
	*out = r;
	return rc;
}

enum gx_rc
gx_file_next(struct gx_file *f, struct gx_file_row *row, struct gx_err *e)
{
	return next_row(f, row, e);
}

void
gx_file_close(struct gx_file **f)
{
	if (!f || !*f) {
		return;
	}
	gx_file_record_close(&(*f)->rec);
	gx_mem_free((*f)->json.p);
	gx_mem_free(*f);
	*f = NULL;
}

enum gx_rc
gx_file_read(const struct gx_file_layout *l, const struct gx_file_in *in,
	     struct gx_file_count *count, struct gx_err *e)
{
	struct gx_file_row row;
	struct gx_file *f;

	memset(count, 0, sizeof(*count));
	enum gx_rc rc = gx_file_open(l, in, &f, e);
	while (rc == GX_OK) {
		rc = next_row(f, in->take ? &row : NULL, e);
		if (rc == GX_OK && !in->take(in->ctx, &row)) {
			rc = GX_ERR(e, GX_FATAL, "file.read",
				    "the records could not be handed on");
		}
	}
	if (f) {
		*count = f->count;
	}
	gx_file_close(&f);
	return rc == GX_AGAIN ? GX_OK : rc;
}
