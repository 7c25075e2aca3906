/*
 * Batch and marker codec: the exact bytes of a message.
 *
 * Reading is by position, like the line's: a cursor runs over the header and
 * each step must find its fixed text and a value of its narrow form, or the
 * message is refused with the name of what was wrong.  One message has one
 * form, so that the bytes that were signed are the bytes that were read, and
 * no second reader can see another meaning in them.  Only "src" holds free
 * JSON: it is walked without spaces, to a small depth, to find its end.
 *
 * Nothing is allocated, everything but the decoded hashes lies in the
 * message, and nothing has state.  Form only: who sealed it and whether the
 * lines are those that were sealed is seal.c's to say.
 */
#include "record/batch.h"

#include "base/text.h"
#include "record/cursor.h"

#define LINES_MAX 100000
#define SRC_DEPTH 8
#define HEX_HASH ((size_t)2 * GX_HASH)

/* A name of [a-z0-9-] or, for words, [a-z][a-z0-9_]. */
static bool
is_name(struct gx_slice s, bool word)
{
	if (s.n < 1 || s.n > (word ? 63 : 32) ||
	    (word && !(s.p[0] >= 'a' && s.p[0] <= 'z'))) {
		return false;
	}
	for (size_t i = 0; i < s.n; i++) {
		char b = s.p[i];
		if (!(b >= 'a' && b <= 'z') && !(b >= '0' && b <= '9') &&
		    b != (word ? '_' : '-')) {
			return false;
		}
	}
	return true;
}

/* Cut at the first byte of this kind; false if there is none. */
static bool
cut_at(struct gx_slice s, char b, struct gx_slice *left, struct gx_slice *right)
{
	const char *p = s.n ? memchr(s.p, b, s.n) : NULL;
	if (!p) {
		return false;
	}
	size_t n = (size_t)(p - s.p);
	*left = gx_slice(s.p, n);
	*right = gx_slice(p + 1, s.n - n - 1);
	return true;
}

static bool
is_resource(struct gx_slice s)
{
	struct gx_slice domain, table;
	return cut_at(s, '.', &domain, &table) && is_name(domain, true) &&
	       is_name(table, true);
}

static bool
is_count(struct gx_slice s)
{
	uint64_t v = 0;
	return gx_parse_u64(s.p, s.n, UINT32_MAX, &v);
}

/* "0" or "0.3" */
static bool
is_stream_no(struct gx_slice s)
{
	struct gx_slice no, generation;
	if (!cut_at(s, '.', &no, &generation)) {
		return is_count(s);
	}
	return is_count(no) && is_count(generation);
}

/* "/node/org/adapter": rest is what follows, with its slash. */
static bool
parse_origin(struct gx_slice s, struct gx_stream_name *out,
	     struct gx_slice *rest)
{
	struct gx_slice *parts[] = {&out->node, &out->org, &out->adapter};
	const char *start = s.p;
	for (size_t i = 0; i < 3; i++) {
		if (s.n == 0 || s.p[0] != '/') {
			return false;
		}
		s = gx_slice(s.p + 1, s.n - 1);
		const char *p = s.n ? memchr(s.p, '/', s.n) : NULL;
		size_t n = p ? (size_t)(p - s.p) : s.n;
		*parts[i] = gx_slice(s.p, n);
		if (!is_name(*parts[i], false)) {
			return false;
		}
		s = gx_slice(s.p + n, s.n - n);
	}
	out->origin = gx_slice(start, (size_t)(s.p - start));
	*rest = s;
	return true;
}

bool
gx_stream_parse(struct gx_slice stream, struct gx_stream_name *out)
{
	struct gx_slice rest;
	*out = (struct gx_stream_name){0};
	if (stream.n > GX_STREAM_MAX || !parse_origin(stream, out, &rest) ||
	    rest.n == 0) {
		return false;
	}
	rest = gx_slice(rest.p + 1, rest.n - 1);
	return cut_at(rest, '/', &out->resource, &out->n) &&
	       is_resource(out->resource) && is_stream_no(out->n);
}

bool
gx_origin_parse(struct gx_slice origin, struct gx_stream_name *out)
{
	struct gx_slice rest;
	*out = (struct gx_stream_name){0};
	return origin.n <= GX_STREAM_MAX && parse_origin(origin, out, &rest) &&
	       rest.n == 0;
}

bool
gx_stream_is_down(const struct gx_stream_name *name, struct gx_slice *child)
{
	static const char down[] = "down-";
	size_t n = sizeof(down) - 1;
	if (!gx_slice_eq(name->org, gx_slice("gx", 2)) ||
	    name->adapter.n <= n || memcmp(name->adapter.p, down, n) != 0) {
		return false;
	}
	*child = gx_slice(name->adapter.p + n, name->adapter.n - n);
	return true;
}

/* "social.insured@1:<64 hex>" */
static bool
is_schema_id(struct gx_slice s)
{
	unsigned char hash[GX_HASH];
	struct gx_slice name, version, hex;
	return cut_at(s, '@', &name, &s) && cut_at(s, ':', &version, &hex) &&
	       is_resource(name) && is_count(version) &&
	       gx_unhex(hex.p, hex.n, hash, sizeof(hash));
}

static bool
skip_string(struct gx_cursor *c)
{
	if (!gx_cursor_lit(c, "\"")) {
		return false;
	}
	while (c->at < c->s.n) {
		unsigned char b = (unsigned char)c->s.p[c->at++];
		if (b == '"') {
			return true;
		}
		if (b < 0x20 || (b == '\\' && c->at == c->s.n)) {
			return false;
		}
		if (b == '\\') {
			char kind = c->s.p[c->at++];
			unsigned char two[2];
			if (kind == 'u') {
				if (c->s.n - c->at < 4 ||
				    !gx_unhex(c->s.p + c->at, 4, two, 2)) {
					return false;
				}
				c->at += 4;
			} else if (!kind || !strchr("\"\\/bfnrt", kind)) {
				return false;
			}
		}
	}
	return false;
}

/* Whole numbers are enough for positions. */
static bool
skip_number(struct gx_cursor *c)
{
	uint64_t v = 0;
	(void)gx_cursor_lit(c, "-");
	return gx_cursor_u64(c, UINT64_MAX, &v);
}

static bool skip_value(struct gx_cursor *c, int depth);

/* The inside of an object or array, behind its bracket. */
static bool
skip_members(struct gx_cursor *c, bool named, int depth)
{
	const char *close = named ? "}" : "]";
	if (gx_cursor_lit(c, close)) {
		return true;
	}
	do {
		if (named && (!skip_string(c) || !gx_cursor_lit(c, ":"))) {
			return false;
		}
		if (!skip_value(c, depth)) {
			return false;
		}
	} while (gx_cursor_lit(c, ","));
	return gx_cursor_lit(c, close);
}

static bool
skip_value(struct gx_cursor *c, int depth)
{
	if (depth == 0 || c->at == c->s.n) {
		return false;
	}
	switch (c->s.p[c->at]) {
	case '"':
		return skip_string(c);
	case '{':
		c->at++;
		return skip_members(c, true, depth - 1);
	case '[':
		c->at++;
		return skip_members(c, false, depth - 1);
	case 't':
		return gx_cursor_lit(c, "true");
	case 'f':
		return gx_cursor_lit(c, "false");
	case 'n':
		return gx_cursor_lit(c, "null");
	default:
		return skip_number(c);
	}
}

static bool
take_src(struct gx_cursor *c, struct gx_slice *out)
{
	size_t start = c->at;
	if (c->at == c->s.n || c->s.p[c->at] != '{' ||
	    !skip_value(c, SRC_DEPTH)) {
		return false;
	}
	*out = gx_slice(c->s.p + start, c->at - start);
	return out->n <= GX_SRC_MAX && gx_utf8_check(out->p, out->n) == out->n;
}

bool
gx_marker_next(struct gx_slice streams, size_t *at, struct gx_slice *name)
{
	struct gx_cursor c = {streams, *at};
	if (*at >= streams.n ||
	    !(gx_cursor_lit(&c, "[\"") || gx_cursor_lit(&c, ",\"")) ||
	    !gx_cursor_text(&c, GX_STREAM_MAX, name)) {
		return false;
	}
	*at = c.at;
	return true;
}

/* The array of names; each a stream of the origin. */
static bool
take_streams(struct gx_cursor *c, struct gx_slice origin, struct gx_slice *out)
{
	size_t start = c->at, n = 0;
	if (!gx_cursor_lit(c, "[")) {
		return false;
	}
	do {
		struct gx_slice name;
		struct gx_stream_name parts;
		if (++n > GX_MARKER_STREAMS || !gx_cursor_lit(c, "\"") ||
		    !gx_cursor_text(c, GX_STREAM_MAX, &name) ||
		    !gx_stream_parse(name, &parts) ||
		    !gx_slice_eq(parts.origin, origin)) {
			return false;
		}
	} while (gx_cursor_lit(c, ","));
	if (!gx_cursor_lit(c, "]")) {
		return false;
	}
	*out = gx_slice(c->s.p + start, c->at - start);
	return true;
}

/* ,"partition":N,"epoch":N,"writer":"<hex>" */
static const char *
parse_owner(struct gx_cursor *c, struct gx_head *h)
{
	unsigned char id[8];
	uint64_t v = 0;
	if (!gx_cursor_lit(c, ",\"partition\":") ||
	    !gx_cursor_u64(c, INT32_MAX, &v)) {
		return "partition";
	}
	h->partition = (uint32_t)v;
	if (!gx_cursor_lit(c, ",\"epoch\":") ||
	    !gx_cursor_u64(c, GX_SEQ_MAX, &h->epoch)) {
		return "epoch";
	}
	if (!gx_cursor_lit(c, ",\"writer\":\"") ||
	    !gx_cursor_hex(c, id, sizeof(id))) {
		return "writer";
	}
	for (size_t i = 0; i < sizeof(id); i++) {
		h->writer = h->writer << 8 | id[i];
	}
	return NULL;
}

static const char *
parse_batch(struct gx_cursor *c, struct gx_head *h)
{
	struct gx_stream_name name;
	if (!gx_cursor_lit(c, ",\"stream\":\"") ||
	    !gx_cursor_text(c, GX_STREAM_MAX, &h->stream) ||
	    !gx_stream_parse(h->stream, &name)) {
		return "stream";
	}
	const char *why = parse_owner(c, h);
	if (why) {
		return why;
	}
	if (!gx_cursor_lit(c, ",\"first\":") ||
	    !gx_cursor_u64(c, GX_SEQ_MAX, &h->first) || h->first == 0) {
		return "first";
	}
	if (!gx_cursor_lit(c, ",\"n\":") ||
	    !gx_cursor_u64(c, LINES_MAX, &h->n) || h->n == 0 ||
	    h->n - 1 > GX_SEQ_MAX - h->first) {
		return "n";
	}
	if (!gx_cursor_lit(c, ",\"at\":\"") || !gx_cursor_time(c, &h->at)) {
		return "at";
	}
	if (!gx_cursor_lit(c, ",\"schema\":\"") ||
	    !gx_cursor_text(c, 256, &h->schema) || !is_schema_id(h->schema)) {
		return "schema";
	}
	if (!gx_cursor_lit(c, ",\"src\":") || !take_src(c, &h->src)) {
		return "src";
	}
	if (!gx_cursor_lit(c, ",\"prev\":\"") ||
	    !gx_cursor_hex(c, h->prev, GX_HASH)) {
		return "prev";
	}
	if (!gx_cursor_lit(c, ",\"root\":\"") ||
	    !gx_cursor_hex(c, h->root, GX_HASH)) {
		return "root";
	}
	return NULL;
}

static const char *
parse_marker(struct gx_cursor *c, struct gx_head *h)
{
	struct gx_stream_name name;
	struct gx_slice rest;
	if (!gx_cursor_lit(c, ",\"origin\":\"") ||
	    !gx_cursor_text(c, GX_STREAM_MAX, &h->stream) ||
	    !parse_origin(h->stream, &name, &rest) || rest.n != 0) {
		return "origin";
	}
	const char *why = parse_owner(c, h);
	if (why) {
		return why;
	}
	if (!gx_cursor_lit(c, ",\"streams\":") ||
	    !take_streams(c, h->stream, &h->streams)) {
		return "streams";
	}
	if (!gx_cursor_lit(c, ",\"at\":\"") || !gx_cursor_time(c, &h->at)) {
		return "at";
	}
	return NULL;
}

/* Algorithm, key id and signature, up to and with the line feed. */
static const char *
parse_seal(struct gx_cursor *c, struct gx_head *h)
{
	unsigned char id[16];
	struct gx_slice hex;
	if (!gx_cursor_lit(c, ",\"alg\":\"SM2-SM3\",\"kid\":\"")) {
		return "alg";
	}
	if (!gx_cursor_text(c, 32, &h->kid) ||
	    !gx_unhex(h->kid.p, h->kid.n, id, sizeof(id))) {
		return "kid";
	}
	h->signed_bytes = gx_slice(c->s.p, c->at);
	if (!gx_cursor_lit(c, ",\"sig\":\"") ||
	    !gx_cursor_text(c, (size_t)2 * GX_SIG_MAX, &hex) || hex.n == 0 ||
	    hex.n % 2 != 0 || !gx_unhex(hex.p, hex.n, h->sig, hex.n / 2)) {
		return "sig";
	}
	h->sig_n = hex.n / 2;
	return gx_cursor_lit(c, "}\n") ? NULL : "end of the header";
}

static bool
has_lines(struct gx_slice body, uint64_t n)
{
	struct gx_slice line;
	size_t at = 0;
	if (body.n == 0 || body.p[body.n - 1] != '\n') {
		return false;
	}
	while (gx_body_next(body, &at, &line)) {
		if (n-- == 0) {
			return false;
		}
	}
	return n == 0;
}

/* The header; what stands behind it is the body. */
static const char *
parse_header(struct gx_slice msg, struct gx_head *out)
{
	struct gx_cursor c = {msg, 0};
	const char *why = NULL;
	*out = (struct gx_head){0};
	if (msg.n > GX_BATCH_MAX) {
		return "size";
	}
	if (gx_cursor_lit(&c, "{\"v\":\"gxbus.batch.1\"")) {
		out->kind = GX_MSG_BATCH;
		why = parse_batch(&c, out);
	} else if (gx_cursor_lit(&c, "{\"v\":\"gxbus.marker.1\"")) {
		out->kind = GX_MSG_MARKER;
		why = parse_marker(&c, out);
	} else {
		why = "version";
	}
	if (!why) {
		why = parse_seal(&c, out);
	}
	if (!why) {
		out->body = gx_slice(msg.p + c.at, msg.n - c.at);
	}
	return why;
}

const char *
gx_head_parse(struct gx_slice msg, struct gx_head *out)
{
	const char *why = parse_header(msg, out);
	if (why) {
		return why;
	}
	if (out->kind == GX_MSG_MARKER) {
		return out->body.n ? "bytes after the marker" : NULL;
	}
	return has_lines(out->body, out->n) ? NULL : "lines";
}

const char *
gx_head_parse_line(struct gx_slice line, struct gx_head *out)
{
	const char *why = parse_header(line, out);
	if (!why && out->kind != GX_MSG_BATCH) {
		why = "version";
	}
	return why || out->body.n == 0 ? why : "bytes after the header";
}

bool
gx_body_next(struct gx_slice body, size_t *at, struct gx_slice *line)
{
	if (*at >= body.n) {
		return false;
	}
	const char *p = body.p + *at;
	const char *end = memchr(p, '\n', body.n - *at);
	size_t n = end ? (size_t)(end - p) : body.n - *at;
	*line = gx_slice(p, n);
	*at += n + (end ? 1 : 0);
	return true;
}

static void
put_hash(struct gx_buf *b, const char *name, const unsigned char *hash)
{
	char hex[HEX_HASH + 1];
	gx_hex(hash, GX_HASH, hex);
	gx_buf_printf(b, ",\"%s\":\"%s\"", name, hex);
}

static void
put_member(struct gx_buf *b, const char *open, struct gx_slice v,
	   const char *close)
{
	gx_buf_puts(b, open);
	gx_buf_slice(b, v);
	gx_buf_puts(b, close);
}

bool
gx_head_put_unsigned(struct gx_buf *b, const struct gx_head *h)
{
	bool is_batch = h->kind == GX_MSG_BATCH;
	put_member(b,
		   is_batch ? "{\"v\":\"gxbus.batch.1\",\"stream\":\""
			    : "{\"v\":\"gxbus.marker.1\",\"origin\":\"",
		   h->stream, "\"");
	gx_buf_printf(b,
		      ",\"partition\":%u,\"epoch\":%llu,\"writer\":\"%016llx\"",
		      h->partition, (unsigned long long)h->epoch,
		      (unsigned long long)h->writer);
	if (is_batch) {
		gx_buf_printf(b, ",\"first\":%llu,\"n\":%llu",
			      (unsigned long long)h->first,
			      (unsigned long long)h->n);
	} else {
		put_member(b, ",\"streams\":", h->streams, "");
	}
	put_member(b, ",\"at\":\"", h->at, "\"");
	if (is_batch) {
		put_member(b, ",\"schema\":\"", h->schema, "\"");
		put_member(b, ",\"src\":", h->src, "");
		put_hash(b, "prev", h->prev);
		put_hash(b, "root", h->root);
	}
	put_member(b, ",\"alg\":\"SM2-SM3\",\"kid\":\"", h->kid, "\"");
	return !b->failed;
}

bool
gx_head_put_sig(struct gx_buf *b, const unsigned char *der, size_t n)
{
	char hex[2 * GX_SIG_MAX + 1];
	GX_ASSERT(n <= GX_SIG_MAX);
	gx_hex(der, n, hex);
	gx_buf_puts(b, ",\"sig\":\"");
	gx_buf_put(b, hex, 2 * n);
	gx_buf_puts(b, "\"}\n");
	return !b->failed;
}
