/*
 * HTTP, the target of a request: path and query from the bytes of the line.
 *
 * The library below hands over a target that is cut at %00 and decodes what it
 * cannot decode to itself, so that two programs may read two paths from one
 * line.  Here there is one reading or none: it begins with a slash, every %
 * has two hex digits, nothing decodes to a control character, the result is
 * UTF-8, a name stands once, and there are not too many.
 *
 * One copy is made of the target and decoded in place: decoding never makes it
 * longer.  Nothing is logged here; a query may hold what is nobody's business.
 */
#include "port/http_int.h"

#include "base/text.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode in place; false if it has no single reading. */
static bool
decode(char *s, bool is_query)
{
	char *to = s;

	for (const char *p = s; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '%') {
			int hi = hex_digit(p[1]);
			int lo = hi < 0 ? -1 : hex_digit(p[2]);

			if (lo < 0) {
				return false;
			}
			c = (unsigned char)(hi * 16 + lo);
			p += 2;
		} else if (c == '+' && is_query) {
			c = ' ';
		}
		*to++ = (char)c;
	}
	*to = '\0';
	return gx_text_printable(s, (size_t)(to - s)); /* and UTF-8 */
}

static const char *
parse_param(char *s, struct gx_http_target *t)
{
	char *value = strchr(s, '=');
	struct gx_http_param *pa = &t->params[t->n_params];

	if (t->n_params == GX_HTTP_PARAMS) {
		return "too many parameters";
	}
	if (value != NULL) {
		*value++ = '\0';
	}
	if (!decode(s, true) || (value != NULL && !decode(value, true))) {
		return "the query cannot be decoded";
	}
	pa->name = s;
	pa->value = value ? value : "";
	for (size_t i = 0; i < t->n_params; i++) {
		if (strcmp(t->params[i].name, s) == 0) {
			return "a parameter stands twice";
		}
	}
	t->n_params++;
	return NULL;
}

static const char *
parse_query(char *s, struct gx_http_target *t)
{
	while (s != NULL) {
		char *next = strchr(s, '&');
		const char *bad;

		if (next != NULL) {
			*next++ = '\0';
		}
		bad = *s != '\0' ? parse_param(s, t) : NULL;
		if (bad != NULL) {
			return bad;
		}
		s = next;
	}
	return NULL;
}

const char *
gx_http_target_parse(const char *uri, struct gx_http_target *t)
{
	char *query;

	memset(t, 0, sizeof *t);
	if (uri[0] != '/') {
		return "the target is no path";
	}
	if (strnlen(uri, GX_HTTP_URI_MAX) == GX_HTTP_URI_MAX) {
		return "the target is too long";
	}
	t->memory = gx_mem_strdup(uri);
	query = strchr(t->memory, '?');
	if (query != NULL) {
		*query++ = '\0';
	}
	if (!decode(t->memory, false)) {
		return "the path cannot be decoded";
	}
	t->path = t->memory;
	return parse_query(query, t);
}
