/*
 * The record that is being read, and its JSON.
 *
 * Text is gathered in one buffer while any element that a field wants is open,
 * and the value of an element is a range of it; so a value inside another
 * costs nothing.  Attributes have a buffer of their own, lest they become
 * text.  Each value stands in the list of its field; when the record ends the
 * fields are written in the order of the map.
 *
 * Everything is used again for the next record, so a reader in its stride
 * allocates nothing.  Its size has a ceiling: what is too long refuses the
 * record, never more, and from the first fault on nothing is gathered.
 *
 * A reason is one of ours and holds no byte of the document.
 */
#include "record/xml_int.h"

#include "record/ids.h"

#include "base/json.h"

#define VALUE_MAX ((size_t)1 << 20)
#define RECORD_MAX ((size_t)4 << 20)
#define JSON_MAX (6 * RECORD_MAX + ((size_t)1 << 20))
#define VALUES_MAX 65536u

static const char too_long[] = "the record is longer than 4 MiB";

struct gx_xml_record *
gx_xml_record_new(const struct gx_xml_map *map)
{
	struct gx_xml_record *rec = gx_mem_new(sizeof(*rec));

	rec->map = map;
	rec->today_ymd = gx_id_today();
	rec->ends = gx_mem_new(map->n_fields * sizeof(*rec->ends));
	gx_buf_init(&rec->text, RECORD_MAX);
	gx_buf_init(&rec->attributes, RECORD_MAX);
	gx_buf_init(&rec->json, JSON_MAX);
	return rec;
}

void
gx_xml_record_free(struct gx_xml_record **rec)
{
	if (*rec) {
		gx_buf_free(&(*rec)->json);
		gx_buf_free(&(*rec)->attributes);
		gx_buf_free(&(*rec)->text);
		gx_mem_free((*rec)->values);
		gx_mem_free((*rec)->ends);
		gx_mem_free(*rec);
		*rec = NULL;
	}
}

void
gx_xml_record_reject(struct gx_xml_record *rec, const char *reason,
		     struct gx_slice field)
{
	if (!rec->row.reason) {
		rec->row.reason = reason;
		rec->row.field = field;
		rec->row.line = rec->line;
	}
}

static void
reject_field(struct gx_xml_record *rec, const struct gx_xml_field *f,
	     const char *reason)
{
	gx_xml_record_reject(rec, reason, gx_slice_str(f->name));
}

void
gx_xml_record_begin(struct gx_xml_record *rec, uint64_t number)
{
	rec->row = (struct gx_xml_row){.number = number, .line = rec->line};
	gx_buf_reset(&rec->text);
	gx_buf_reset(&rec->attributes);
	rec->n_values = 0;
	memset(rec->ends, 0xff, rec->map->n_fields * sizeof(*rec->ends));
}

static bool
grow_values(struct gx_xml_record *rec)
{
	uint32_t cap = rec->cap_values ? 2 * rec->cap_values : 256;
	struct gx_xml_value *more =
		cap <= VALUES_MAX
			? gx_mem_grow(rec->values, cap, sizeof(*rec->values))
			: NULL;

	if (more) {
		rec->values = more;
		rec->cap_values = cap;
	}
	return more != NULL;
}

/* A value for each field that takes it. */
static void
add_value(struct gx_xml_record *rec, uint32_t field, struct gx_xml_value v)
{
	for (; field != GX_XML_NONE; field = rec->map->fields[field].next) {
		const struct gx_xml_field *f = &rec->map->fields[field];
		struct gx_xml_ends *ends = &rec->ends[field];
		uint32_t i = rec->n_values;

		if (v.n > VALUE_MAX) {
			reject_field(rec, f, "a value is longer than 1 MiB");
		} else if (ends->first != GX_XML_NONE && !f->is_array) {
			reject_field(rec, f, "it stands more than once");
		} else if (i == rec->cap_values && !grow_values(rec)) {
			reject_field(rec, f, "the record has too many values");
		}
		if (rec->row.reason) {
			return;
		}
		rec->values[i] = v;
		rec->values[i].next = GX_XML_NONE;
		if (ends->first == GX_XML_NONE) {
			ends->first = i;
		} else {
			rec->values[ends->last].next = i;
		}
		ends->last = i;
		rec->n_values++;
	}
}

void
gx_xml_record_text(struct gx_xml_record *rec, const char *p, size_t n)
{
	if (!rec->row.reason && !gx_buf_put(&rec->text, p, n)) {
		gx_xml_record_reject(rec, too_long, GX_SLICE(""));
	}
}

void
gx_xml_record_element(struct gx_xml_record *rec, uint32_t field, size_t from)
{
	struct gx_xml_value v = {.from = from, .n = rec->text.n - from};

	add_value(rec, field, v);
}

/*
 * libxml2 2.9 hands an ampersand of a value over as "&#38;" and everything
 * else as what it is (xmlParseAttValueComplex, without XML_PARSE_NOENT); so an
 * ampersand can only begin that.  t_xml.references would notice a change.
 */
static void
put_attribute(struct gx_buf *b, const char *p, const char *end)
{
	while (p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *to = amp ? amp : end;

		(void)gx_buf_put(b, p, (size_t)(to - p));
		p = to;
		if (amp) {
			bool is_long =
				end - p >= 5 && memcmp(p, "&#38;", 5) == 0;
			(void)gx_buf_putc(b, '&');
			p += is_long ? 5 : 1;
		}
	}
}

void
gx_xml_record_attribute(struct gx_xml_record *rec, uint32_t field,
			const char *p, const char *end)
{
	struct gx_xml_value v = {.from = rec->attributes.n,
				 .is_attribute = true};

	put_attribute(&rec->attributes, p, end);
	if (rec->attributes.failed) {
		gx_xml_record_reject(rec, too_long, GX_SLICE(""));
		return;
	}
	v.n = rec->attributes.n - v.from;
	add_value(rec, field, v);
}

/* XML's blanks and the full-width one (U+3000). */
static struct gx_slice
trim(struct gx_slice s)
{
	for (;;) {
		if (s.n && strchr(" \t\r\n", s.p[0])) {
			s = gx_slice(s.p + 1, s.n - 1);
		} else if (s.n >= 3 && memcmp(s.p, "\xe3\x80\x80", 3) == 0) {
			s = gx_slice(s.p + 3, s.n - 3);
		} else if (s.n && strchr(" \t\r\n", s.p[s.n - 1])) {
			s.n--;
		} else if (s.n >= 3 &&
			   memcmp(s.p + s.n - 3, "\xe3\x80\x80", 3) == 0) {
			s.n -= 3;
		} else {
			return s;
		}
	}
}

static size_t
count_digits(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] >= '0' && p[i] <= '9') {
		i++;
	}
	return i;
}

/* As JSON has it: no plus, no leading zeros, no negative zero. */
static bool
put_integer(struct gx_buf *b, struct gx_slice s)
{
	bool is_negative = s.n && s.p[0] == '-';
	size_t sign = s.n && (s.p[0] == '-' || s.p[0] == '+');

	s = gx_slice(s.p + sign, s.n - sign);
	if (s.n == 0 || count_digits(s.p, s.n) != s.n) {
		return false;
	}
	while (s.n > 1 && s.p[0] == '0') {
		s = gx_slice(s.p + 1, s.n - 1);
	}
	if (is_negative && s.p[0] != '0') {
		(void)gx_buf_putc(b, '-');
	}
	(void)gx_buf_slice(b, s);
	return true;
}

static bool
is_decimal(struct gx_slice s)
{
	size_t sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
	const char *p = s.p + sign;
	size_t n = s.n - sign, whole = count_digits(p, n), part = 0;

	if (whole < n && p[whole] == '.') {
		part = count_digits(p + whole + 1, n - whole - 1);
		n--;
	}
	return whole + part > 0 && whole + part == n;
}

static void
put_string(struct gx_buf *b, struct gx_slice s)
{
	(void)gx_buf_putc(b, '"');
	(void)gx_json_escape(b, s);
	(void)gx_buf_putc(b, '"');
}

static void
put_value(struct gx_xml_record *rec, const struct gx_xml_field *f,
	  const struct gx_xml_value *v)
{
	const struct gx_buf *of =
		v->is_attribute ? &rec->attributes : &rec->text;
	struct gx_slice s = {(of->p ? of->p : "") + v->from, v->n};
	const char *why = NULL;

	if (f->has_trim || f->type != GX_XML_STRING) {
		s = trim(s);
	}
	switch (f->type) {
	case GX_XML_STRING:
		if (f->format) {
			why = f->format(s.p, s.n, rec->today_ymd);
		}
		put_string(&rec->json, s);
		break;
	case GX_XML_DECIMAL:
		why = is_decimal(s) ? NULL : "not a decimal number";
		put_string(&rec->json, s);
		break;
	case GX_XML_INTEGER:
		why = put_integer(&rec->json, s) ? NULL : "not an integer";
		break;
	case GX_XML_BOOLEAN:
		if (gx_slice_eq(s, GX_SLICE("true")) ||
		    gx_slice_eq(s, GX_SLICE("1"))) {
			(void)gx_buf_puts(&rec->json, "true");
		} else if (gx_slice_eq(s, GX_SLICE("false")) ||
			   gx_slice_eq(s, GX_SLICE("0"))) {
			(void)gx_buf_puts(&rec->json, "false");
		} else {
			why = "not true, false, 1 or 0";
		}
		break;
	}
	if (why) {
		reject_field(rec, f, why);
	}
}

static void
put_member(struct gx_xml_record *rec, const struct gx_xml_field *f,
	   uint32_t first)
{
	if (rec->json.n > 1) {
		(void)gx_buf_putc(&rec->json, ',');
	}
	(void)gx_buf_slice(&rec->json, f->head);
	if (f->is_array) {
		(void)gx_buf_putc(&rec->json, '[');
	}
	for (uint32_t i = first; i != GX_XML_NONE; i = rec->values[i].next) {
		if (i != first) {
			(void)gx_buf_putc(&rec->json, ',');
		}
		put_value(rec, f, &rec->values[i]);
	}
	if (f->is_array) {
		(void)gx_buf_putc(&rec->json, ']');
	}
}

void
gx_xml_record_end(struct gx_xml_record *rec)
{
	const struct gx_xml_map *map = rec->map;

	gx_buf_reset(&rec->json);
	(void)gx_buf_putc(&rec->json, '{');
	for (uint32_t i = 0; i < map->n_fields && !rec->row.reason; i++) {
		const struct gx_xml_field *f = &map->fields[i];

		if (rec->ends[i].first != GX_XML_NONE) {
			put_member(rec, f, rec->ends[i].first);
		} else if (f->is_required) {
			reject_field(rec, f, "it is missing");
		}
	}
	(void)gx_buf_putc(&rec->json, '}');
	if (rec->json.failed) {
		gx_xml_record_reject(rec, too_long, GX_SLICE(""));
	}
	rec->row.json = gx_buf_view(&rec->json);
}
