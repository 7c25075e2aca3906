/*
 * The layout of a delivered file: JSON in, forms of lines out.
 *
 * A layout says how the bytes of a file are cut into columns, which of them
 * are members of a record, and what the first and the last line claim about
 * the rest.  docs/layout.md explains all keys.
 *
 * It is strict: an unknown key, one of the wrong kind, one that means nothing
 * for this format, two columns of one name or two members of one item refuse
 * the layout with the JSON pointer of the place.  What is accepted does
 * exactly what it says: a typing mistake never becomes a check that is
 * silently not made.
 *
 * A layout is immutable and owns all it lends: its text in one arena, and the
 * table of its encoding.  If we die on any line, or refuse, nothing of it
 * stays.
 */
#include "record/file_int.h"

#include "base/json.h"

#include <strings.h>

#define LAYOUT_MAGIC 0x666c6179u
#define TEXT_MAX ((size_t)4 << 20)
#define SCALE_MAX 18

struct maker {
	struct gx_file_layout *l;
	unsigned trim;
	char at[80]; /* pointer of what is being read */
	struct gx_err *e;
};

static bool
refuse(struct maker *m, const char *key, const char *why)
{
	(void)GX_ERR(m->e, GX_REJECT, "file.layout", "%s%s%.40s: %s", m->at,
		     *key ? "/" : "", key, why);
	return false;
}

/* Is the name one of these words, which are separated by blanks? */
static bool
is_word(struct gx_slice name, const char *words)
{
	for (const char *p = words; *p;) {
		size_t n = strcspn(p, " ");
		if (gx_slice_eq(name, gx_slice(p, n))) {
			return true;
		}
		p += n + (p[n] == ' ');
	}
	return false;
}

static bool
has_only(struct maker *m, const struct gx_json *obj, const char *words)
{
	if (obj->type != GX_JSON_OBJECT) {
		return refuse(m, "", "must be an object");
	}
	for (const struct gx_json *v = obj->child; v; v = v->next) {
		if (!is_word(v->name, words)) {
			/* A key is the author's word, not data. */
			return refuse(m,
				      gx_text_printable(v->name.p, v->name.n)
					      ? v->name.p
					      : "",
				      "an unknown key, or one that means "
				      "nothing here");
		}
	}
	return true;
}

static bool
read_flag(struct maker *m, const struct gx_json *obj, const char *key,
	  bool *out)
{
	const struct gx_json *v = gx_json_get(obj, key);

	*out = v && v->type == GX_JSON_TRUE;
	if (v && v->type != GX_JSON_TRUE && v->type != GX_JSON_FALSE) {
		return refuse(m, key, "must be true or false");
	}
	return true;
}

/* A whole number from min to max; *out is left alone if there is none. */
static bool
read_number(struct maker *m, const struct gx_json *obj, const char *key,
	    uint64_t max, uint64_t *out)
{
	const struct gx_json *v = gx_json_get(obj, key);

	if (v && (v->type != GX_JSON_NUMBER ||
		  !gx_parse_u64(v->text.p, v->text.n, max, out))) {
		return refuse(m, key, "must be a whole number in its range");
	}
	return true;
}

struct word {
	const char *word;
	unsigned value;
};

/* One of the words; *out is left alone if there is none. */
static bool
read_word(struct maker *m, const struct gx_json *obj, const char *key,
	  const struct word *words, unsigned *out)
{
	const struct gx_json *v = gx_json_get(obj, key);
	char list[120];
	size_t n = 0;

	if (!v) {
		return true;
	}
	for (const struct word *w = words; w->word; w++) {
		if (v->type == GX_JSON_STRING && v->text.n == strlen(w->word) &&
		    strcasecmp(v->text.p, w->word) == 0) {
			*out = w->value;
			return true;
		}
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
				      w == words ? "must be " : " or ",
				      w->word);
	}
	return refuse(m, key, list);
}

/* Text of a string member, n = 0 if there is none. */
static bool
read_text(struct maker *m, const struct gx_json *obj, const char *key,
	  struct gx_slice *out)
{
	const struct gx_json *v = gx_json_get(obj, key);

	*out = v ? v->text : gx_slice("", 0);
	return !v || v->type == GX_JSON_STRING ||
	       refuse(m, key, "must be a string");
}

static struct gx_slice
keep(struct maker *m, struct gx_slice s)
{
	char *copy = gx_arena_dup(m->l->arena, s.p, s.n);

	GX_ASSERT(copy); /* the arena has room for several times the text */
	return gx_slice(copy, s.n);
}

/* "item": with its quotes and colon. */
static struct gx_slice
make_head(struct maker *m, struct gx_slice item)
{
	struct gx_file_out o = {0};

	bool good = gx_file_out_need(&o, 1);
	GX_ASSERT(good);
	o.p[o.n++] = '"';
	good = gx_file_out_escape(&o, item) && gx_file_out_need(&o, 2);
	GX_ASSERT(good); /* an item is no longer than the layout */
	memcpy(o.p + o.n, "\":", 2);
	struct gx_slice head = keep(m, gx_slice(o.p, o.n + 2));
	gx_mem_free(o.p);
	return head;
}

static bool
read_trim(struct maker *m, const struct gx_json *obj, unsigned *out)
{
	static const struct word words[] = {
		{"none", 0},
		{"left", GX_FILE_TRIM_LEFT},
		{"right", GX_FILE_TRIM_RIGHT},
		{"both", GX_FILE_TRIM_LEFT | GX_FILE_TRIM_RIGHT},
		{NULL, 0}};

	return read_word(m, obj, "trim", words, out);
}

static bool
read_width(struct maker *m, const struct gx_json *obj, size_t *out)
{
	uint64_t width = 0;

	if (!read_number(m, obj, "width", GX_FILE_FIELD_BYTES, &width)) {
		return false;
	}
	if (m->l->is_fixed && width == 0) {
		return refuse(m, "width", "is needed, 1 or more");
	}
	if (!m->l->is_fixed && gx_json_get(obj, "width")) {
		return refuse(m, "width", "only with format fixed");
	}
	*out = (size_t)width;
	return true;
}

static bool
read_type(struct maker *m, const struct gx_json *obj, struct gx_file_column *c)
{
	static const struct word words[] = {
		{"string", GX_FILE_STRING},   {"integer", GX_FILE_INTEGER},
		{"decimal", GX_FILE_DECIMAL}, {"date", GX_FILE_DATE},
		{"month", GX_FILE_MONTH},     {"timestamp", GX_FILE_TIMESTAMP},
		{"boolean", GX_FILE_BOOLEAN}, {NULL, 0}};
	unsigned type = GX_FILE_STRING;
	uint64_t scale = UINT64_MAX, implied = 0;

	if (!read_word(m, obj, "type", words, &type) ||
	    !read_number(m, obj, "scale", SCALE_MAX, &scale) ||
	    !read_number(m, obj, "implied", SCALE_MAX, &implied)) {
		return false;
	}
	c->type = (enum gx_file_type)type;
	c->scale = scale == UINT64_MAX ? -1 : (int)scale;
	c->implied = (unsigned)implied;
	if (c->type != GX_FILE_DECIMAL && (c->scale >= 0 || implied > 0)) {
		return refuse(m, c->scale >= 0 ? "scale" : "implied",
			      "only with type decimal");
	}
	if (m->l->is_fixed && c->type != GX_FILE_STRING) {
		/* What fills a typed column up is no part of it. */
		c->trim = GX_FILE_TRIM_LEFT | GX_FILE_TRIM_RIGHT;
	}
	return true;
}

static bool
read_item(struct maker *m, const struct gx_json *obj, struct gx_file_column *c)
{
	const struct gx_json *v = gx_json_get(obj, "item");

	if (v && v->type == GX_JSON_NULL) {
		return true;
	}
	if (v && (v->type != GX_JSON_STRING || v->text.n == 0)) {
		return refuse(m, "item", "must be a name or null");
	}
	c->head = make_head(m, v ? v->text : c->name);
	return true;
}

/* A column of the rows. */
static bool
read_column(struct maker *m, const struct gx_json *obj,
	    struct gx_file_column *c)
{
	struct gx_slice name;

	c->head = gx_slice("", 0);
	c->sum = GX_FILE_NONE;
	c->scale = -1;
	c->trim = m->trim;
	if (obj->type == GX_JSON_STRING) {
		if (m->l->is_fixed) {
			return refuse(m, "", "must be an object with a width");
		}
		name = obj->text;
	} else if (!has_only(m, obj,
			     "name type width item trim scale implied "
			     "required title") ||
		   !read_text(m, obj, "name", &name) ||
		   !read_trim(m, obj, &c->trim) ||
		   !read_width(m, obj, &c->width) || !read_type(m, obj, c) ||
		   !read_flag(m, obj, "required", &c->is_required)) {
		return false;
	}
	if (name.n == 0) {
		return refuse(m, "", "a column needs a name");
	}
	c->name = keep(m, name);
	if (obj->type == GX_JSON_STRING) {
		c->head = make_head(m, name);
		return true;
	}
	return read_item(m, obj, c);
}

static size_t
find_column(const struct gx_file_form *form, struct gx_slice name)
{
	for (size_t i = 0; i < form->n; i++) {
		if (gx_slice_eq(form->columns[i].name, name)) {
			return i;
		}
	}
	return GX_FILE_NONE;
}

/* The column of the rows that a leader or trailer has the sum of. */
static bool
read_sum(struct maker *m, const struct gx_json *v, struct gx_file_column *c)
{
	struct gx_file_form *row = &m->l->row;

	c->of = v->type == GX_JSON_STRING ? find_column(row, v->text)
					  : GX_FILE_NONE;
	if (c->of == GX_FILE_NONE) {
		return refuse(m, "sum", "must be the name of a column");
	}
	struct gx_file_column *summed = &row->columns[c->of];
	if (summed->type != GX_FILE_DECIMAL &&
	    summed->type != GX_FILE_INTEGER) {
		return refuse(m, "sum",
			      "the column must be a decimal or an "
			      "integer");
	}
	if (summed->sum == GX_FILE_NONE) {
		summed->sum = m->l->n_sums++;
	}
	c->check = GX_FILE_SUM;
	return true;
}

/* What a column of a leader or trailer must be: at most one of the three. */
static bool
read_check(struct maker *m, const struct gx_json *obj, struct gx_file_column *c)
{
	const struct gx_json *sum = gx_json_get(obj, "sum");
	bool has_count, has_equals = gx_json_get(obj, "equals") != NULL;
	struct gx_slice equals;

	if (!read_flag(m, obj, "count", &has_count) ||
	    !read_text(m, obj, "equals", &equals)) {
		return false;
	}
	if (has_count + has_equals + (sum != NULL) > 1) {
		return refuse(m, "", "only one of equals, count and sum");
	}
	if (gx_json_get(obj, "implied") && !sum) {
		return refuse(m, "implied", "only with sum");
	}
	if (has_equals) {
		c->check = GX_FILE_EQUALS;
		c->equals = keep(m, equals);
	} else if (has_count) {
		c->check = GX_FILE_COUNT;
	}
	return !sum || read_sum(m, sum, c);
}

/* A column of a leader or trailer. */
static bool
read_mark(struct maker *m, const struct gx_json *obj, struct gx_file_column *c)
{
	struct gx_slice name;
	uint64_t implied = 0;

	c->sum = GX_FILE_NONE;
	c->trim = m->l->is_fixed ? GX_FILE_TRIM_LEFT | GX_FILE_TRIM_RIGHT : 0;
	if (obj->type == GX_JSON_STRING && !m->l->is_fixed) {
		c->name = keep(m, obj->text);
		return true;
	}
	if (!has_only(m, obj,
		      "name width trim equals count sum implied title") ||
	    !read_text(m, obj, "name", &name) || !read_trim(m, obj, &c->trim) ||
	    !read_width(m, obj, &c->width) ||
	    !read_number(m, obj, "implied", SCALE_MAX, &implied)) {
		return false;
	}
	c->name = keep(m, name);
	c->implied = (unsigned)implied;
	return read_check(m, obj, c);
}

/* The columns of one form of line; is_row: of the rows. */
static bool
read_columns(struct maker *m, const struct gx_json *array, bool is_row,
	     struct gx_file_form *form)
{
	char base[80];
	size_t i = 0;

	snprintf(base, sizeof(base), "%s", m->at);
	if (!array || array->type != GX_JSON_ARRAY || array->n == 0 ||
	    array->n > GX_FILE_COLUMNS) {
		return refuse(m, "", "must be a list of 1 to 1024 columns");
	}
	form->columns =
		gx_arena_alloc(m->l->arena, array->n * sizeof(*form->columns));
	GX_ASSERT(form->columns);
	memset(form->columns, 0, array->n * sizeof(*form->columns));
	for (const struct gx_json *v = array->child; v; v = v->next, i++) {
		struct gx_file_column *c = &form->columns[i];
		snprintf(m->at, sizeof(m->at), "%.60s/%zu", base, i);
		if (!(is_row ? read_column(m, v, c) : read_mark(m, v, c))) {
			return false;
		}
		if (is_row && find_column(form, c->name) != GX_FILE_NONE) {
			return refuse(m, "name", "the name stands twice");
		}
		for (size_t k = 0; is_row && c->head.n && k < i; k++) {
			if (gx_slice_eq(c->head, form->columns[k].head)) {
				return refuse(m, "item",
					      "the item stands twice");
			}
		}
		form->width += c->width;
		form->n++;
	}
	if (form->width > GX_FILE_RECORD_BYTES) {
		return refuse(m, "", "all columns are wider than 4 MiB");
	}
	return true;
}

/* "leader" or "trailer". */
static bool
read_frame(struct maker *m, const struct gx_json *obj, const char *key,
	   struct gx_file_form *form)
{
	const struct gx_json *v = gx_json_get(obj, key);

	if (!v) {
		return true;
	}
	snprintf(m->at, sizeof(m->at), "/%s", key);
	if (!has_only(m, v, "columns title")) {
		return false;
	}
	snprintf(m->at, sizeof(m->at), "/%s/columns", key);
	bool good = read_columns(m, gx_json_get(v, "columns"), false, form);
	m->at[0] = 0;
	return good;
}

static bool
has_line_end(struct gx_slice s)
{
	return memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n);
}

static bool
read_marks(struct maker *m, const struct gx_json *obj)
{
	struct gx_file_layout *l = m->l;
	struct gx_slice delimiter, quote;

	if (!read_text(m, obj, "delimiter", &delimiter) ||
	    !read_text(m, obj, "quote", &quote) ||
	    !read_flag(m, obj, "trailing_delimiter", &l->has_trailing)) {
		return false;
	}
	if (!gx_json_get(obj, "delimiter")) {
		delimiter = GX_SLICE(",");
	}
	if (delimiter.n == 0 || delimiter.n > 64 || has_line_end(delimiter)) {
		return refuse(m, "delimiter",
			      "must be 1 to 64 bytes without "
			      "line ends");
	}
	l->delimiter = keep(m, delimiter);
	l->has_quote = gx_json_get(obj, "quote") != NULL;
	if (!l->has_quote) {
		return true;
	}
	if (quote.n != 1 || has_line_end(quote) || (quote.p[0] & 0x80) ||
	    memchr(delimiter.p, quote.p[0], delimiter.n)) {
		return refuse(m, "quote",
			      "must be one character of ASCII "
			      "that is not in the delimiter");
	}
	l->quote = quote.p[0];
	return true;
}

static bool
read_format(struct maker *m, const struct gx_json *obj)
{
	static const struct word formats[] = {
		{"csv", 0}, {"fixed", 1}, {NULL, 0}};
	static const struct word encodings[] = {{"utf-8", GX_FILE_UTF8},
						{"gbk", GX_FILE_GBK},
						{"gb18030", GX_FILE_GB18030},
						{NULL, 0}};
	static const struct word units[] = {
		{"bytes", 0}, {"characters", 1}, {NULL, 0}};
	unsigned format = 2, encoding = GX_FILE_UTF8, unit = 0;

	if (!read_word(m, obj, "format", formats, &format) ||
	    !read_word(m, obj, "encoding", encodings, &encoding) ||
	    !read_word(m, obj, "width_unit", units, &unit) ||
	    !read_trim(m, obj, &m->trim)) {
		return false;
	}
	if (format == 2) {
		return refuse(m, "format", "is needed: csv or fixed");
	}
	m->l->is_fixed = format == 1;
	m->l->encoding = (enum gx_file_encoding)encoding;
	m->l->is_characters = unit == 1;
	return true;
}

static bool
read_layout(struct maker *m, const struct gx_json *obj)
{
	static const char csv[] = "format encoding columns header leader "
				  "trailer trim title description delimiter "
				  "quote trailing_delimiter";
	static const char fixed[] = "format encoding columns header leader "
				    "trailer trim title description "
				    "width_unit";
	struct gx_file_layout *l = m->l;

	if (obj->type != GX_JSON_OBJECT) {
		return refuse(m, "", "the layout must be an object");
	}
	if (!read_format(m, obj) ||
	    !has_only(m, obj, l->is_fixed ? fixed : csv) ||
	    !read_flag(m, obj, "header", &l->has_header) ||
	    (!l->is_fixed && !read_marks(m, obj))) {
		return false;
	}
	snprintf(m->at, sizeof(m->at), "/columns");
	if (!read_columns(m, gx_json_get(obj, "columns"), true, &l->row)) {
		return false;
	}
	m->at[0] = 0;
	if (!read_frame(m, obj, "leader", &l->leader) ||
	    !read_frame(m, obj, "trailer", &l->trailer)) {
		return false;
	}
	if (l->leader.n + l->trailer.n > 2 * GX_FILE_CHECKS ||
	    l->n_sums > GX_FILE_CHECKS) {
		return refuse(m, "",
			      "more columns in leader and trailer than "
			      "128, or more sums than 64");
	}
	return true;
}

enum gx_rc
gx_file_layout_new(struct gx_slice text, struct gx_file_layout **out,
		   struct gx_err *e)
{
	struct gx_file_layout *l = gx_mem_new(sizeof(*l));
	struct maker m = {.l = l, .e = e};
	struct gx_arena *a = gx_arena_new((size_t)64 << 20);
	const struct gx_json *tree;
	enum gx_rc rc;

	*out = NULL;
	l->magic = LAYOUT_MAGIC;
	l->arena = gx_arena_new((size_t)64 << 20);
	if (text.n > TEXT_MAX) {
		rc = GX_ERR(e, GX_REJECT, "file.layout",
			    "the layout is longer than 4 MiB");
	} else if (gx_json_parse(a, text, &tree, e) != GX_OK) {
		rc = GX_REJECT;
	} else {
		rc = read_layout(&m, tree) ? GX_OK : GX_REJECT;
	}
	if (rc == GX_OK && l->encoding != GX_FILE_UTF8) {
		rc = gx_file_pairs_new(l->encoding, &l->pairs, e);
	}
	gx_arena_free(&a);
	if (rc == GX_OK) {
		*out = l;
	} else {
		gx_file_layout_free(&l);
	}
	return rc;
}

void
gx_file_layout_free(struct gx_file_layout **l)
{
	if (!l || !*l) {
		return;
	}
	GX_ASSERT((*l)->magic == LAYOUT_MAGIC);
	(*l)->magic = 0;
	gx_arena_free(&(*l)->arena);
	gx_mem_free((*l)->pairs);
	gx_mem_free(*l);
	*l = NULL;
}

size_t
gx_file_n_columns(const struct gx_file_layout *l)
{
	return l->row.n;
}

const char *
gx_file_column(const struct gx_file_layout *l, size_t i)
{
	return l->row.columns[i].name.p;
}
