/*
 * ECMA-262 expressions (u flag) as PCRE2 reads them.
 *
 * The two dialects share most of their signs and differ in what some mean: in
 * JSON Schema a pattern is ECMAScript's, so "\s" holds the no-break space,
 * "\v" is one character, "$" is the end alone, "[]" is empty and "[[:alpha:]]"
 * is a class of punctuation and letters followed by a "]".  This file reads
 * the expression by ECMAScript's grammar and writes one for PCRE2 that means
 * the same; single characters are written as \x{...}, so none of PCRE2's own
 * signs can slip in.
 *
 * What ECMAScript calls a syntax error is refused, and so is what the two
 * would run differently: a reference back together with a quantified group
 * (captures begin anew in each round there) or with a look-behind (read from
 * right to left there).  Whatever remains and PCRE2 does not know, its own
 * compiler refuses.
 *
 * One pass, one bounded buffer, no memory of its own.
 */
#include "record/pattern.h"

#include "base/text.h"

#include <stdint.h>
#include <string.h>

#define GROUPS 100 /* within each other */

/* White space and line ends of ECMA-262 12.2 and 12.3. */
#define SPACES                                                                 \
	"\\x09-\\x0d\\x20\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"  \
	"\\x{202f}\\x{205f}\\x{3000}\\x{feff}"
#define NO_SPACES                                                              \
	"\\x00-\\x08\\x0e-\\x1f\\x21-\\x9f\\xa1-\\x{167f}\\x{1681}-\\x{1fff}"  \
	"\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}"            \
	"\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}"

struct translator {
	const char *p, *end;
	struct gx_buf *out;
	const char *why;
	bool has_backref, has_behind, has_loop; /* a quantified group */
	bool is_atom;				/* a quantifier may follow */
	bool is_group;				/* and the atom is a group */
	size_t depth;
	bool is_look[GROUPS]; /* the open group is an assertion */
};

static bool
refuse(struct translator *t, const char *why)
{
	if (!t->why) {
		t->why = why;
	}
	return false;
}

static void
put(struct translator *t, const char *text)
{
	(void)gx_buf_puts(t->out, text);
}

static void
put_char(struct translator *t, uint32_t cp)
{
	(void)gx_buf_printf(t->out, "\\x{%x}", cp);
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* n hex digits at p; -1 if they are not there. */
static int32_t
take_hex(struct translator *t, int n)
{
	int32_t v = 0;

	for (; n > 0; n--) {
		int d = t->p < t->end ? hex_value(*t->p) : -1;
		if (d < 0) {
			return -1;
		}
		v = v << 4 | d;
		t->p++;
	}
	return v;
}

/* Behind \u: four digits, a pair of them, or {digits}. */
static int32_t
take_unicode(struct translator *t)
{
	int32_t cp = 0;

	if (t->p < t->end && *t->p == '{') {
		for (t->p++; t->p < t->end && *t->p != '}'; t->p++) {
			int d = hex_value(*t->p);
			if (d < 0 || cp > 0x10ffff) {
				return -1;
			}
			cp = cp << 4 | d;
		}
		bool empty = t->p[-1] == '{';
		return t->p++ < t->end && !empty ? cp : -1;
	}
	cp = take_hex(t, 4);
	if (cp >= 0xd800 && cp <= 0xdbff && t->end - t->p >= 6 &&
	    t->p[0] == '\\' && t->p[1] == 'u') {
		t->p += 2;
		int32_t low = take_hex(t, 4);
		return low >= 0xdc00 && low <= 0xdfff
			       ? 0x10000 + ((cp - 0xd800) << 10) + low - 0xdc00
			       : -1;
	}
	return cp;
}

/* A character escape with p behind its letter c; -1 if c begins none. */
static int32_t
take_character(struct translator *t, char c)
{
	static const char letters[] = "fnrtv";
	static const char meant[] = "\f\n\r\t\v";
	const char *at;
	int32_t cp;

	switch (c) {
	case '0':
		return t->p < t->end && *t->p >= '0' && *t->p <= '9' ? -1 : 0;
	case 'c':
		if (t->p == t->end || (*t->p | 0x20) < 'a' ||
		    (*t->p | 0x20) > 'z') {
			return -1;
		}
		return *t->p++ & 0x1f;
	case 'x':
		return take_hex(t, 2);
	case 'u':
		cp = take_unicode(t);
		return cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff) ? -1
								       : cp;
	default:
		at = c ? strchr(letters, c) : NULL;
		if (at) {
			return meant[at - letters];
		}
		return c && strchr("^$\\.*+?()[]{}|/", c) ? c : -1;
	}
}

/* Long names of general categories, and their short ones. */
static const char *const categories[][2] = {
	{"Letter", "L"},
	{"Cased_Letter", "L&"},
	{"LC", "L&"},
	{"Uppercase_Letter", "Lu"},
	{"Lowercase_Letter", "Ll"},
	{"Titlecase_Letter", "Lt"},
	{"Modifier_Letter", "Lm"},
	{"Other_Letter", "Lo"},
	{"Mark", "M"},
	{"Combining_Mark", "M"},
	{"Nonspacing_Mark", "Mn"},
	{"Spacing_Mark", "Mc"},
	{"Enclosing_Mark", "Me"},
	{"Number", "N"},
	{"Decimal_Number", "Nd"},
	{"digit", "Nd"},
	{"Letter_Number", "Nl"},
	{"Other_Number", "No"},
	{"Punctuation", "P"},
	{"punct", "P"},
	{"Connector_Punctuation", "Pc"},
	{"Dash_Punctuation", "Pd"},
	{"Open_Punctuation", "Ps"},
	{"Close_Punctuation", "Pe"},
	{"Initial_Punctuation", "Pi"},
	{"Final_Punctuation", "Pf"},
	{"Other_Punctuation", "Po"},
	{"Symbol", "S"},
	{"Math_Symbol", "Sm"},
	{"Currency_Symbol", "Sc"},
	{"Modifier_Symbol", "Sk"},
	{"Other_Symbol", "So"},
	{"Separator", "Z"},
	{"Space_Separator", "Zs"},
	{"Line_Separator", "Zl"},
	{"Paragraph_Separator", "Zp"},
	{"Other", "C"},
	{"Control", "Cc"},
	{"cntrl", "Cc"},
	{"Format", "Cf"},
	{"Surrogate", "Cs"},
	{"Private_Use", "Co"},
	{"Unassigned", "Cn"},
};

/* PCRE2's name of a category, NULL if there is none. */
static const char *
find_category(struct gx_slice name)
{
	for (size_t i = 0; i < sizeof(categories) / sizeof(categories[0]);
	     i++) {
		const char *brief = categories[i][1];
		if (gx_slice_eq(name, gx_slice_str(categories[i][0])) ||
		    gx_slice_eq(name, gx_slice_str(brief))) {
			return brief;
		}
	}
	return gx_slice_eq(name, GX_SLICE("Any")) ? "Any" : NULL;
}

/* \p{...} with p behind the letter. */
static bool
put_property(struct translator *t, char letter)
{
	const char *close = t->p < t->end && *t->p == '{'
				    ? memchr(t->p, '}', (size_t)(t->end - t->p))
				    : NULL;

	if (!close) {
		return refuse(t, "\\p without a property");
	}
	struct gx_slice name = gx_slice(t->p + 1, (size_t)(close - t->p) - 1);
	const char *equals = memchr(name.p, '=', name.n);
	struct gx_slice key = {name.p, equals ? (size_t)(equals - name.p) : 0};
	t->p = close + 1;
	if (equals) {
		name = gx_slice(equals + 1, name.n - key.n - 1);
	}
	bool is_script = gx_slice_eq(key, GX_SLICE("Script")) ||
			 gx_slice_eq(key, GX_SLICE("sc"));
	bool is_wide = gx_slice_eq(key, GX_SLICE("Script_Extensions")) ||
		       gx_slice_eq(key, GX_SLICE("scx"));
	if (is_script || is_wide) {
		for (size_t i = 0; i < name.n; i++) {
			if (hex_value(name.p[i]) < 0 && name.p[i] != '_' &&
			    !((name.p[i] | 0x20) >= 'a' &&
			      (name.p[i] | 0x20) <= 'z')) {
				return refuse(t, "an unknown property");
			}
		}
		(void)gx_buf_printf(t->out, "\\%c{%s:%.*s}", letter,
				    is_script ? "sc" : "scx", (int)name.n,
				    name.p);
		return true;
	}
	const char *brief = find_category(name);
	if (!brief || (equals && !gx_slice_eq(key, GX_SLICE("gc")) &&
		       !gx_slice_eq(key, GX_SLICE("General_Category")))) {
		return refuse(t, "an unknown property");
	}
	(void)gx_buf_printf(t->out, "\\%c{%s}", letter, brief);
	return true;
}

/* A reference back, p on its first digit or behind the k. */
static bool
put_reference(struct translator *t, char c)
{
	t->has_backref = true;
	if (c == 'k') {
		const char *close =
			t->p < t->end && *t->p == '<'
				? memchr(t->p, '>', (size_t)(t->end - t->p))
				: NULL;
		if (!close) {
			return refuse(t, "\\k without a name");
		}
		put(t, "\\k");
		(void)gx_buf_put(t->out, t->p, (size_t)(close - t->p) + 1);
		t->p = close + 1;
		return true;
	}
	unsigned v = 0;
	for (t->p--; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++) {
		v = v < 10000 ? v * 10 + (unsigned)(*t->p - '0') : v;
	}
	(void)gx_buf_printf(t->out, "\\g{%u}", v);
	return true;
}

/* p stands behind a backslash outside of a class. */
static bool
put_escape(struct translator *t)
{
	if (t->p == t->end) {
		return refuse(t, "a backslash at the end");
	}
	char c = *t->p++;
	t->is_atom = c != 'b' && c != 'B';
	t->is_group = false;
	switch (c) {
	case 'b':
	case 'B':
	case 'd':
	case 'D':
	case 'w':
	case 'W':
		(void)gx_buf_printf(t->out, "\\%c", c);
		return true;
	case 's':
		put(t, "[" SPACES "]");
		return true;
	case 'S':
		put(t, "[^" SPACES "]");
		return true;
	case 'p':
	case 'P':
		return put_property(t, c);
	default:
		break;
	}
	if (c == 'k' || (c >= '1' && c <= '9')) {
		return put_reference(t, c);
	}
	int32_t cp = take_character(t, c);
	if (cp < 0) {
		return refuse(t, "an escape that ECMA-262 has not");
	}
	put_char(t, (uint32_t)cp);
	return true;
}

/* One atom of a class; *cp = -1 if it is a set, which is then written. */
static bool
take_class_atom(struct translator *t, int32_t *cp)
{
	uint32_t plain;

	if (*t->p != '\\') {
		t->p += gx_utf8_next(t->p, (size_t)(t->end - t->p), &plain);
		*cp = (int32_t)plain;
		return true;
	}
	if (++t->p == t->end) {
		return refuse(t, "a class that does not end");
	}
	char c = *t->p++;
	*cp = -1;
	switch (c) {
	case 'd':
	case 'D':
	case 'w':
	case 'W':
		(void)gx_buf_printf(t->out, "\\%c", c);
		return true;
	case 's':
		put(t, SPACES);
		return true;
	case 'S':
		put(t, NO_SPACES);
		return true;
	case 'p':
	case 'P':
		return put_property(t, c);
	case 'b':
		*cp = '\b';
		return true;
	case '-':
		*cp = '-';
		return true;
	default:
		*cp = take_character(t, c);
		return *cp >= 0 || refuse(t, "an escape that ECMA-262 has not");
	}
}

/* p stands behind "[". */
static bool
put_class(struct translator *t)
{
	bool is_not = t->p < t->end && *t->p == '^';
	int32_t from, to;

	t->p += is_not;
	t->is_atom = true;
	t->is_group = false;
	if (t->p < t->end && *t->p == ']') {
		t->p++;
		put(t, is_not ? "(?s:.)" : "(?!)");
		return true;
	}
	put(t, is_not ? "[^" : "[");
	while (t->p < t->end && *t->p != ']') {
		if (!take_class_atom(t, &from)) {
			return false;
		}
		if (from >= 0) {
			put_char(t, (uint32_t)from);
		}
		if (t->end - t->p < 2 || t->p[0] != '-' || t->p[1] == ']') {
			continue;
		}
		t->p++;
		put(t, "-");
		if (from < 0 || !take_class_atom(t, &to) || to < from) {
			return refuse(t, "a range that is none");
		}
		put_char(t, (uint32_t)to);
	}
	if (t->p == t->end) {
		return refuse(t, "a class that does not end");
	}
	t->p++;
	put(t, "]");
	return true;
}

static bool
put_name(struct translator *t)
{
	const char *from = t->p;

	while (t->p < t->end && *t->p != '>') {
		char c = *t->p;
		bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
		if (!letter && c != '_' &&
		    (t->p == from || c < '0' || c > '9')) {
			return refuse(t, "a name of a group that is none");
		}
		t->p++;
	}
	if (t->p == t->end || t->p == from) {
		return refuse(t, "a name of a group that is none");
	}
	put(t, "(?<");
	(void)gx_buf_put(t->out, from, (size_t)(++t->p - from));
	return true;
}

/* p stands behind "(". */
static bool
open_group(struct translator *t)
{
	static const struct {
		const char *sign;
		bool is_look, is_behind;
	} kinds[] = {{"?:", false, false},
		     {"?=", true, false},
		     {"?!", true, false},
		     {"?<=", true, true},
		     {"?<!", true, true}};

	if (t->depth == GROUPS) {
		return refuse(t, "groups nested too deeply");
	}
	t->is_atom = false;
	t->is_look[t->depth] = false;
	if (t->p == t->end || *t->p != '?') {
		t->depth++;
		put(t, "(");
		return true;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].sign);
		if ((size_t)(t->end - t->p) >= n &&
		    memcmp(t->p, kinds[i].sign, n) == 0) {
			t->is_look[t->depth++] = kinds[i].is_look;
			t->has_behind |= kinds[i].is_behind;
			t->p += n;
			put(t, "(");
			put(t, kinds[i].sign);
			return true;
		}
	}
	if (t->end - t->p < 2 || t->p[1] != '<') {
		return refuse(t, "a group that ECMA-262 has not");
	}
	t->depth++;
	t->p += 2;
	return put_name(t);
}

/* "{n}", "{n,}", "{n,m}" with p on the brace. */
static bool
put_braces(struct translator *t)
{
	const char *from = t->p++;
	int n_commas = 0, n_digits = 0;

	for (; t->p < t->end && *t->p != '}'; t->p++) {
		bool comma = *t->p == ',';
		if ((!comma && (*t->p < '0' || *t->p > '9')) ||
		    (comma && (n_commas++ || !n_digits))) {
			return refuse(t, "a brace that counts nothing");
		}
		n_digits += !comma;
	}
	if (t->p == t->end || !n_digits) {
		return refuse(t, "a brace that counts nothing");
	}
	t->p++;
	(void)gx_buf_put(t->out, from, (size_t)(t->p - from));
	return true;
}

static bool
put_quantifier(struct translator *t)
{
	if (!t->is_atom) {
		return refuse(t, "a quantifier that follows nothing");
	}
	t->has_loop |= t->is_group;
	t->is_atom = false;
	if (*t->p == '{') {
		if (!put_braces(t)) {
			return false;
		}
	} else {
		(void)gx_buf_putc(t->out, *t->p++);
	}
	if (t->p < t->end && *t->p == '?') {
		t->p++;
		put(t, "?");
	}
	return true;
}

static bool
close_group(struct translator *t)
{
	if (t->depth == 0) {
		return refuse(t, "a bracket that was not opened");
	}
	t->is_atom = !t->is_look[--t->depth];
	t->is_group = true;
	put(t, ")");
	return true;
}

static bool
put_term(struct translator *t)
{
	uint32_t cp;

	switch (*t->p) {
	case '*':
	case '+':
	case '?':
	case '{':
		return put_quantifier(t);
	case '(':
		t->p++;
		return open_group(t);
	case ')':
		t->p++;
		return close_group(t);
	case '[':
		t->p++;
		return put_class(t);
	case '\\':
		t->p++;
		return put_escape(t);
	case ']':
	case '}':
		return refuse(t, "a bracket that was not opened");
	case '^':
	case '$':
	case '|':
		t->is_atom = false;
		(void)gx_buf_putc(t->out, *t->p++);
		return true;
	case '.':
		t->p++;
		put(t, "[^\\x0a\\x0d\\x{2028}\\x{2029}]");
		break;
	default:
		t->p += gx_utf8_next(t->p, (size_t)(t->end - t->p), &cp);
		put_char(t, cp);
		break;
	}
	t->is_atom = true;
	t->is_group = false;
	return true;
}

const char *
gx_pattern_translate(struct gx_slice ecma, struct gx_buf *out,
		     bool *has_backref)
{
	struct translator t = {.p = ecma.p, .end = ecma.p + ecma.n, .out = out};

	if (ecma.n > GX_PATTERN_MAX) {
		return "longer than 4096 bytes";
	}
	while (t.p < t.end && put_term(&t)) {
	}
	*has_backref = t.has_backref;
	if (t.why) {
		return t.why;
	}
	if (t.depth > 0) {
		return "a group that does not end";
	}
	if (t.has_backref && (t.has_loop || t.has_behind)) {
		return "a reference back with a quantified group or a "
		       "look-behind, which PCRE2 runs differently";
	}
	return out->failed ? "too long" : NULL;
}
