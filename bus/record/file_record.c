/*
 * Records of a delivered file: lines to fields.
 *
 * A record is one line, or, where a quoted field holds line ends, several.  A
 * line is decoded first and split then: in GBK a delimiter of "@|$" may stand
 * within characters.  Fields lie in one text that is used again for the next
 * record; a quoted field is rubbed down in place to what it means.
 *
 * Quoting is RFC 4180's and strict: a quote opens only where a field begins,
 * two stand for one, and behind the closing one comes a delimiter or the end.
 * What is wrong refuses the record and is then stepped over as the grammar
 * has it: a record's end never depends on whether it is good.  So every line
 * belongs to exactly one record, and a quote that is never closed refuses the
 * record that holds all the rest, with its first and last line.
 *
 * A record longer than GX_FILE_RECORD_BYTES is dead: nothing of it is kept and
 * only its end is looked for, by counting its quotes.
 *
 * A fixed-width record is cut by bytes of the file (each field decoded by
 * itself, so that half a character is seen) or by characters.
 */
#include "record/file_int.h"

#define START_BYTES ((size_t)64 << 10)

static const char bad_bytes[] = "bytes that are no characters of the encoding";
static const char too_long[] = "the record is longer than 4 MiB";

void
gx_file_record_fault(struct gx_file_record *rec, const char *reason,
		     size_t column)
{
	if (!rec->reason) {
		rec->reason = reason;
		rec->column = column;
	}
}

enum gx_rc
gx_file_record_open(struct gx_file_record *rec, const struct gx_file_layout *l,
		    const struct gx_file_in *in, struct gx_err *e)
{
	memset(rec, 0, sizeof(*rec));
	rec->l = l;
	rec->cap = START_BYTES;
	rec->text = gx_mem_new(rec->cap);
	rec->fields = gx_mem_new((GX_FILE_COLUMNS + 1) * sizeof(*rec->fields));
	rec->places = gx_mem_new((GX_FILE_COLUMNS + 1) * sizeof(*rec->places));
	enum gx_rc rc = gx_file_text_open(&rec->decoder, l, e);
	if (rc == GX_OK) {
		rc = gx_file_bytes_open(&rec->bytes, in->read, in->ctx, e);
	}
	return rc;
}

void
gx_file_record_close(struct gx_file_record *rec)
{
	gx_file_bytes_close(&rec->bytes);
	gx_file_text_close(&rec->decoder);
	gx_mem_free(rec->text);
	gx_mem_free(rec->fields);
	gx_mem_free(rec->places);
	memset(rec, 0, sizeof(*rec));
}

static void
kill_record(struct gx_file_record *rec)
{
	gx_file_record_fault(rec, too_long, GX_FILE_NONE);
	rec->is_dead = true;
	rec->n_text = 0;
	rec->n_fields = 0;
	rec->state =
		rec->state == GX_FILE_QUOTED ? GX_FILE_QUOTED : GX_FILE_PLAIN;
}

/* Room for n bytes more of text. */
static bool
need_text(struct gx_file_record *rec, size_t n)
{
	size_t cap = rec->cap;

	while (cap < rec->n_text + n) {
		cap *= 2;
	}
	if (cap == rec->cap) {
		return true;
	}
	char *p = gx_mem_grow(rec->text, cap, 1);
	if (p) {
		rec->text = p;
		rec->cap = cap;
	}
	return p != NULL;
}

static void
close_field(struct gx_file_record *rec, size_t end)
{
	size_t n = end - rec->begin;

	if (n > GX_FILE_FIELD_BYTES) {
		gx_file_record_fault(rec, "the field is longer than 1 MiB",
				     rec->n_fields);
	}
	if (rec->n_fields <= GX_FILE_COLUMNS) {
		rec->places[rec->n_fields] =
			(struct gx_file_place){rec->begin, n};
	}
	rec->n_fields++;
	rec->state = GX_FILE_AT_START;
}

static const char *
find_delimiter(struct gx_slice d, const char *p, const char *end)
{
	while (p < end) {
		const char *at = memchr(p, d.p[0], (size_t)(end - p));
		if (!at || d.n == 1) {
			return at;
		}
		if ((size_t)(end - at) >= d.n && memcmp(at, d.p, d.n) == 0) {
			return at;
		}
		p = at + 1;
	}
	return NULL;
}

/* Where a line is being split: at..end is not read yet, what was ends at w in
 * the same text. */
struct cut {
	char *at, *end, *w;
	bool has_quote;
};

static void
move_to(struct cut *c, char *to)
{
	size_t n = (size_t)(to - c->at);

	if (c->w != c->at) {
		memmove(c->w, c->at, n);
	}
	c->w += n;
	c->at = to;
}

/* A delimiter or the end of the line; true if the line goes on. */
static bool
end_field(struct gx_file_record *rec, struct cut *c)
{
	bool goes_on = c->at < c->end;

	close_field(rec, (size_t)(c->w - rec->text));
	if (goes_on) {
		c->at += rec->l->delimiter.n;
		rec->is_trailed = c->at == c->end;
	}
	return goes_on;
}

static bool
cut_plain(struct gx_file_record *rec, struct cut *c)
{
	const char *d = find_delimiter(rec->l->delimiter, c->at, c->end);
	char *to = d ? c->at + (d - c->at) : c->end;

	if (c->has_quote &&
	    memchr(c->at, rec->l->quote, (size_t)(to - c->at))) {
		gx_file_record_fault(rec, "a quote within a field",
				     rec->n_fields);
	}
	move_to(c, to);
	return end_field(rec, c);
}

/* false: the line ends within quotes. */
static bool
cut_quoted(struct gx_file_record *rec, struct cut *c)
{
	char *q = memchr(c->at, rec->l->quote, (size_t)(c->end - c->at));

	move_to(c, q ? q : c->end);
	if (q) {
		c->at++;
		rec->state = GX_FILE_CLOSED;
	}
	return q != NULL;
}

static bool
cut_closed(struct gx_file_record *rec, struct cut *c)
{
	struct gx_slice d = rec->l->delimiter;

	if (c->at < c->end && *c->at == rec->l->quote) {
		*c->w++ = *c->at++;
		rec->state = GX_FILE_QUOTED;
		return true;
	}
	if (c->at == c->end ||
	    ((size_t)(c->end - c->at) >= d.n && memcmp(c->at, d.p, d.n) == 0)) {
		return end_field(rec, c);
	}
	gx_file_record_fault(rec, "text behind a closing quote", rec->n_fields);
	rec->state = GX_FILE_PLAIN;
	return true;
}

/* Split the line that stands in text from at to its end. */
static void
cut_line(struct gx_file_record *rec, size_t at)
{
	struct cut c = {rec->text + at, rec->text + rec->n_text, rec->text + at,
			false};
	bool goes_on = true;

	c.has_quote = rec->l->has_quote &&
		      memchr(c.at, rec->l->quote, rec->n_text - at) != NULL;
	while (goes_on) {
		switch (rec->state) {
		case GX_FILE_AT_START:
			rec->begin = (size_t)(c.w - rec->text);
			rec->state = GX_FILE_PLAIN;
			if (c.has_quote && c.at < c.end &&
			    *c.at == rec->l->quote) {
				c.at++;
				rec->state = GX_FILE_QUOTED;
			}
			break;
		case GX_FILE_PLAIN:
			goes_on = cut_plain(rec, &c);
			break;
		case GX_FILE_QUOTED:
			goes_on = cut_quoted(rec, &c);
			break;
		case GX_FILE_CLOSED:
			goes_on = cut_closed(rec, &c);
			break;
		}
	}
	rec->n_text = (size_t)(c.w - rec->text);
}

/* A piece of a record that is dead: what matters is whether it ends within
 * quotes. */
static void
count_quotes(struct gx_file_record *rec)
{
	const char *p = rec->text, *end = p + rec->n_text;

	while (rec->l->has_quote && p < end &&
	       (p = memchr(p, rec->l->quote, (size_t)(end - p)))) {
		rec->state = rec->state == GX_FILE_QUOTED ? GX_FILE_PLAIN
							  : GX_FILE_QUOTED;
		p++;
	}
	rec->n_text = 0;
}

/* One field of a fixed-width record, from raw bytes. */
static void
put_fixed(struct gx_file_record *rec, struct gx_slice raw)
{
	size_t n_left;
	bool is_bad = false;

	rec->begin = rec->n_text;
	rec->n_text +=
		gx_file_text_decode(&rec->decoder, raw, rec->text + rec->n_text,
				    true, &is_bad, &n_left);
	if (is_bad) {
		gx_file_record_fault(rec, bad_bytes, rec->n_fields);
	}
	close_field(rec, rec->n_text);
}

static void
cut_bytes(struct gx_file_record *rec, const struct gx_file_form *form,
	  struct gx_slice raw)
{
	if (raw.n != form->width) {
		gx_file_record_fault(rec,
				     "the line is not as wide as its "
				     "columns",
				     GX_FILE_NONE);
		return;
	}
	for (size_t i = 0, at = 0; i < form->n; i++) {
		put_fixed(rec, gx_slice(raw.p + at, form->columns[i].width));
		at += form->columns[i].width;
	}
}

/* Bytes of so many characters of text; what is none counts for one. */
static size_t
measure(const char *p, size_t n, size_t n_characters)
{
	size_t at = 0;
	uint32_t cp;

	while (n_characters-- > 0 && at < n) {
		at += gx_utf8_next(p + at, n - at, &cp);
	}
	return n_characters == SIZE_MAX ? at : SIZE_MAX;
}

static void
cut_characters(struct gx_file_record *rec, const struct gx_file_form *form,
	       struct gx_slice raw)
{
	size_t n_left, at = 0;

	rec->n_text = gx_file_text_decode(&rec->decoder, raw, rec->text, true,
					  &rec->is_bad, &n_left);
	for (size_t i = 0; i < form->n && at != SIZE_MAX; i++) {
		size_t n = measure(rec->text + at, rec->n_text - at,
				   form->columns[i].width);
		rec->begin = at;
		at = n == SIZE_MAX ? n : at + n;
		if (n != SIZE_MAX) {
			close_field(rec, at);
		}
	}
	if (at != rec->n_text) {
		gx_file_record_fault(rec,
				     "the line is not as wide as its "
				     "columns",
				     GX_FILE_NONE);
	}
}

static void
cut_fixed(struct gx_file_record *rec, const struct gx_file_form *form,
	  struct gx_slice raw)
{
	if (!need_text(rec, GX_FILE_TEXT_ROOM(raw.n) + 16 * form->n)) {
		kill_record(rec);
	} else if (rec->l->is_characters) {
		cut_characters(rec, form, raw);
	} else {
		cut_bytes(rec, form, raw);
	}
	rec->state = GX_FILE_AT_START;
}

/* One line, or a piece of one, of a record with delimiters.  Returns how many
 * bytes of it are left for the next piece. */
static size_t
cut_delimited(struct gx_file_record *rec, struct gx_slice raw, bool is_whole,
	      bool has_lf)
{
	bool has_cr = is_whole && raw.n > 0 && raw.p[raw.n - 1] == '\r';
	size_t n_left = 0;

	raw.n -= has_cr;
	rec->n_bytes += raw.n;
	if (!rec->is_dead &&
	    (!is_whole || rec->n_bytes > GX_FILE_RECORD_BYTES)) {
		kill_record(rec);
	}
	if (!need_text(rec, GX_FILE_TEXT_ROOM(raw.n))) {
		kill_record(rec);
		return 0;
	}
	size_t at = rec->n_text;
	rec->n_text += gx_file_text_decode(&rec->decoder, raw, rec->text + at,
					   is_whole, &rec->is_bad, &n_left);
	if (rec->is_dead) {
		count_quotes(rec);
		return n_left;
	}
	cut_line(rec, at);
	/* Within quotes the end of the line is text; there is room. */
	if (rec->state == GX_FILE_QUOTED && has_cr) {
		rec->text[rec->n_text++] = '\r';
	}
	if (rec->state == GX_FILE_QUOTED && has_lf) {
		rec->text[rec->n_text++] = '\n';
	}
	return 0;
}

static void
begin_record(struct gx_file_record *rec)
{
	rec->line = rec->last_line + 1;
	rec->n_text = rec->n_fields = rec->n_bytes = rec->begin = 0;
	rec->reason = NULL;
	rec->column = GX_FILE_NONE;
	rec->state = GX_FILE_AT_START;
	rec->is_bad = rec->is_dead = rec->is_trailed = false;
}

/* Take the line at hand.  *ends: the record ends with it. */
static void
take_line(struct gx_file_record *rec, const struct gx_file_form *form,
	  struct gx_slice raw, bool is_whole, bool has_lf)
{
	size_t n_left = 0, n = raw.n + has_lf;

	if (!rec->l->is_fixed) {
		n_left = cut_delimited(rec, raw, is_whole, has_lf);
	} else if (rec->is_dead || !is_whole || raw.n > GX_FILE_RECORD_BYTES) {
		kill_record(rec);
	} else {
		raw.n -= raw.n > 0 && raw.p[raw.n - 1] == '\r';
		cut_fixed(rec, form, raw);
	}
	gx_file_bytes_skip(&rec->bytes, n - n_left);
	rec->last_line += is_whole;
}

static void
find_bad_field(struct gx_file_record *rec)
{
	for (size_t i = 0; i < rec->n_fields && i < GX_FILE_COLUMNS; i++) {
		struct gx_slice v = rec->fields[i];
		if (gx_utf8_check(v.p, v.n) != v.n) {
			gx_file_record_fault(rec, bad_bytes, i);
			return;
		}
	}
	gx_file_record_fault(rec, bad_bytes, GX_FILE_NONE);
}

static void
count_fields(struct gx_file_record *rec, size_t n)
{
	if (rec->l->has_trailing && rec->is_trailed) {
		rec->n_fields--;
	} else if (rec->l->has_trailing && !rec->is_header) {
		gx_file_record_fault(rec, "no delimiter at its end",
				     GX_FILE_NONE);
	}
	if (rec->n_fields > GX_FILE_COLUMNS) {
		gx_file_record_fault(rec, "more than 1024 fields",
				     GX_FILE_NONE);
	} else if (rec->n_fields != n && rec->n_fields == 1 &&
		   rec->n_text == 0) {
		gx_file_record_fault(rec, "an empty line", GX_FILE_NONE);
	} else if (rec->n_fields != n) {
		gx_file_record_fault(rec,
				     rec->n_fields < n
					     ? "fewer fields than columns"
					     : "more fields than columns",
				     GX_FILE_NONE);
	}
}

static void
finish(struct gx_file_record *rec, const struct gx_file_form *form)
{
	for (size_t i = 0; i < rec->n_fields && i <= GX_FILE_COLUMNS; i++) {
		rec->fields[i] = gx_slice(rec->text + rec->places[i].from,
					  rec->places[i].n);
	}
	if (rec->state == GX_FILE_QUOTED && !rec->is_dead) {
		gx_file_record_fault(rec, "a quote that is never closed",
				     rec->n_fields);
	}
	if (rec->is_bad) {
		find_bad_field(rec);
	}
	if (!rec->l->is_fixed && !rec->is_dead) {
		count_fields(rec, form->n);
	}
}

enum gx_rc
gx_file_record_next(struct gx_file_record *rec, const struct gx_file_form *form,
		    struct gx_err *e)
{
	bool is_first = true, is_whole = true, has_lf = true;
	struct gx_slice raw;

	begin_record(rec);
	for (;;) {
		enum gx_rc rc = gx_file_bytes_line(&rec->bytes, &raw, &is_whole,
						   &has_lf, e);
		if (rc == GX_AGAIN && !is_first) {
			break; /* the file ends within quotes */
		}
		if (rc != GX_OK) {
			return rc;
		}
		is_first = false;
		take_line(rec, form, raw, is_whole, has_lf);
		if (is_whole && (!has_lf || rec->state != GX_FILE_QUOTED)) {
			break;
		}
	}
	finish(rec, form);
	return GX_OK;
}
