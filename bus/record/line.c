/*
 * Line codec: the exact bytes of one record.
 *
 * The parser compares by position.  What stands between the values is fixed
 * text, so a line has one form only and a reader needs no JSON parser to find
 * key, time and data; nothing is allocated and every slice lies in the line.
 * The key is read to its end because it is compared as bytes everywhere: two
 * spellings of one key would be two rows.  Hence shortest escapes, UTF-8, no
 * NUL (no store could hold it).
 *
 * The data is found, not read: it runs from its brace to the brace before the
 * last, and may hold anything but a line feed.  The schema's validator reads
 * it, and an object that ends early is refused there.
 *
 * Nothing here has state.
 */
#include "record/line.h"

#include "base/clock.h"
#include "base/text.h"
#include "record/batch.h"

static const struct {
	const char *open; /* up to the value of k, or of t without key */
	size_t n;
	bool has_key, has_data;
} forms[] = {
	[GX_OP_UPSERT] = {"{\"op\":\"u\",\"k\":", 14, true, true},
	[GX_OP_DELETE] = {"{\"op\":\"d\",\"k\":", 14, true, false},
	[GX_OP_SET_ASIDE] = {"{\"op\":\"q\",\"k\":", 14, true, false},
	[GX_OP_START] = {"{\"op\":\"s\"", 9, false, false},
	[GX_OP_END_READING] = {"{\"op\":\"e\"", 9, false, false},
	[GX_OP_CLOSE] = {"{\"op\":\"end\"", 11, false, false},
};
#define N_FORMS (sizeof(forms) / sizeof(forms[0]))

/* Move *at behind the literal if it stands there. */
static bool
take(struct gx_slice s, size_t *at, const char *lit, size_t n)
{
	if (s.n - *at < n || memcmp(s.p + *at, lit, n) != 0) {
		return false;
	}
	*at += n;
	return true;
}
#define TAKE(s, at, lit) take((s), (at), (lit), sizeof(lit) - 1)

bool
gx_line_put(struct gx_buf *b, const struct gx_line *line)
{
	size_t start = b->n;
	size_t op = (size_t)line->op;
	GX_ASSERT(op < N_FORMS);
	gx_buf_put(b, forms[op].open, forms[op].n);
	if (forms[op].has_key) {
		gx_buf_slice(b, line->key);
	}
	gx_buf_puts(b, ",\"t\":\"");
	gx_buf_slice(b, line->time);
	gx_buf_putc(b, '"');
	if (line->origin.n > 0) {
		gx_buf_puts(b, ",\"o\":\"");
		gx_buf_slice(b, line->origin);
		gx_buf_putc(b, '"');
	}
	if (forms[op].has_data) {
		gx_buf_puts(b, ",\"d\":");
		gx_buf_slice(b, line->data);
	}
	gx_buf_putc(b, '}');
	if (b->failed) {
		gx_buf_cut(b, start);
		return false;
	}
	return true;
}

/* \u00xx of a control character that has no shorter form. */
static bool
take_control(struct gx_slice s, size_t at)
{
	if (s.n - at < 6 || memcmp(s.p + at, "\\u00", 4) != 0) {
		return false;
	}
	unsigned char c = 0;
	return gx_unhex(s.p + at + 4, 2, &c, 1) && c > 0 && c < 0x20 &&
	       c != '\b' && c != '\t' && c != '\n' && c != '\f' && c != '\r';
}

static bool
take_key_string(struct gx_slice s, size_t *at)
{
	if (!TAKE(s, at, "\"")) {
		return false;
	}
	while (*at < s.n) {
		unsigned char c = (unsigned char)s.p[*at];
		if (c == '"') {
			(*at)++;
			return true;
		}
		if (c < 0x20) {
			return false;
		}
		if (c != '\\') {
			(*at)++;
		} else if (s.n - *at > 1 && s.p[*at + 1] != '\0' &&
			   strchr("\"\\bfnrt", s.p[*at + 1])) {
			*at += 2;
		} else if (take_control(s, *at)) {
			*at += 6;
		} else {
			return false;
		}
	}
	return false;
}

static bool
take_key(struct gx_slice s, size_t *at, struct gx_slice *key)
{
	size_t start = *at;
	if (!TAKE(s, at, "[")) {
		return false;
	}
	do {
		if (!take_key_string(s, at)) {
			return false;
		}
	} while (TAKE(s, at, ","));
	if (!TAKE(s, at, "]")) {
		return false;
	}
	*key = gx_slice(s.p + start, *at - start);
	return gx_utf8_check(key->p, key->n) == key->n;
}

/* The one form that gx_time_format writes. */
static bool
take_time(struct gx_slice s, size_t *at, struct gx_slice *time)
{
	int64_t ms = 0;
	if (s.n - *at < GX_TIME_LEN) {
		return false;
	}
	*time = gx_slice(s.p + *at, GX_TIME_LEN);
	if (time->p[10] != 'T' || time->p[19] != '.' ||
	    memcmp(time->p + 23, "+08:00", 6) != 0 ||
	    !gx_time_parse(time->p, time->n, &ms)) {
		return false;
	}
	*at += GX_TIME_LEN;
	return true;
}

/* An origin holds no character that JSON would escape. */
static bool
take_origin(struct gx_slice s, size_t *at, struct gx_slice *origin)
{
	struct gx_stream_name name;
	const char *end = memchr(s.p + *at, '"', s.n - *at);

	if (end == NULL) {
		return false;
	}
	*origin = gx_slice(s.p + *at, (size_t)(end - s.p) - *at);
	*at += origin->n + 1;
	return gx_origin_parse(*origin, &name);
}

const char *
gx_line_parse(struct gx_slice text, struct gx_line *out)
{
	size_t at = 0, op = 0;
	*out = (struct gx_line){0};
	if (text.n > GX_LINE_MAX) {
		return "line is too long";
	}
	if (memchr(text.p, '\n', text.n)) {
		return "line feed inside a line";
	}
	while (!take(text, &at, forms[op].open, forms[op].n)) {
		if (++op == N_FORMS) {
			return "unknown operation or order of members";
		}
	}
	out->op = (enum gx_op)op;
	if (forms[op].has_key && !take_key(text, &at, &out->key)) {
		return "key is not a canonical array of strings";
	}
	if (!TAKE(text, &at, ",\"t\":\"") ||
	    !take_time(text, &at, &out->time) || !TAKE(text, &at, "\"")) {
		return "time is not in its form";
	}
	if (forms[op].has_key && TAKE(text, &at, ",\"o\":\"") &&
	    !take_origin(text, &at, &out->origin)) {
		return "origin is not in its form";
	}
	if (forms[op].has_data) {
		if (!TAKE(text, &at, ",\"d\":") || text.n - at < 3 ||
		    text.p[at] != '{' || text.p[text.n - 2] != '}') {
			return "data is not an object at its place";
		}
		out->data = gx_slice(text.p + at, text.n - 1 - at);
		at = text.n - 1;
	}
	if (!TAKE(text, &at, "}") || at != text.n) {
		return "bytes after the end of the record";
	}
	return NULL;
}
