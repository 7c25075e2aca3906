/*
 * Configuration: a table of keys, a file, and an immutable answer.
 *
 * The table is the truth.  What is not in it is refused with the nearest name
 * that is, because a misspelt key that is silently ignored is found months
 * later and in production.  All faults are found before anything starts; the
 * first one ends the reading, with file and line.  Values never go into the
 * text of an error: a connection string may hold a password.
 *
 * A loaded configuration is a list of sections, each with one value per key of
 * the table, defaults filled in, units converted, relative paths resolved
 * against the folder of the file.  It never changes; a reload makes another
 * one.  The rows are lent for the life of the answer (they are static).
 *
 * A key without default is required: in the unnamed section it belongs to,
 * whether the file has that section or not, and in each named section that
 * the file has.  A "prefix.*" row is never required.
 *
 * The mode of a secret's file is looked at when there is a file; that it is
 * missing is for its reader to say, since the first "init" makes it.
 */
#include "base/conf.h"

#include "base/conf_int.h"
#include "base/text.h"

#include <fcntl.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define FILE_MAX_BYTES ((size_t)1 << 20)
#define NAME_MAX_BYTES 64
#define NEAR 3 /* edits to a name that is worth suggesting */

enum gx_rc
gx_conf_fault(const struct gx_conf_reader *r, struct gx_err *e,
	      const char *code, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->line > 0) {
		return GX_ERR(e, GX_REJECT, code, "%s:%d: %s", r->file, r->line,
			      text);
	}
	return GX_ERR(e, GX_REJECT, code, "%s: %s", r->file, text);
}

bool
gx_conf_is_pattern(const struct gx_conf_key *row)
{
	size_t n = strlen(row->key);

	return n > 0 && row->key[n - 1] == '*';
}

const char *
gx_conf_nearer(const char *word, const char *best, const char *candidate)
{
	int distance = gx_text_distance(word, candidate);

	if (distance > NEAR || (size_t)distance >= strlen(word)) {
		return best;
	}
	return best && gx_text_distance(word, best) <= distance ? best
								: candidate;
}

const struct gx_conf_key *
gx_conf_find_kind(const struct gx_conf_key *rows, const char *kind)
{
	for (; rows->section; rows++) {
		if (strcmp(rows->section, kind) == 0) {
			return rows;
		}
	}
	return NULL;
}

const struct gx_conf_key *
gx_conf_find_row(const struct gx_conf_key *rows, const char *kind,
		 const char *key)
{
	for (; rows->section; rows++) {
		size_t n = strlen(rows->key);
		if (strcmp(rows->section, kind) != 0) {
			continue;
		}
		if (strcmp(rows->key, key) == 0) {
			return rows;
		}
		if (gx_conf_is_pattern(rows) &&
		    strncmp(key, rows->key, n - 1) == 0 && key[n - 1] != '\0') {
			return rows;
		}
	}
	return NULL;
}

static bool
is_word(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= NAME_MAX_BYTES &&
	       strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789._-") == n;
}

struct gx_conf_section *
gx_conf_find_section(const struct gx_conf *c, const char *kind,
		     const char *name)
{
	for (struct gx_conf_section *s = c->first; s; s = s->next) {
		if (strcmp(s->kind, kind) == 0 &&
		    (name ? s->name && strcmp(s->name, name) == 0 : !s->name)) {
			return s;
		}
	}
	return NULL;
}

static struct gx_conf_section *
add_section(struct gx_conf *c, const char *kind, const char *name, int line)
{
	struct gx_conf_section *s = gx_mem_new(sizeof(*s));

	s->kind = kind;
	s->name = name ? gx_mem_strdup(name) : NULL;
	s->line = line;
	if (c->last) {
		c->last->next = s;
	} else {
		c->first = s;
	}
	c->last = s;
	return s;
}

struct gx_conf_value *
gx_conf_find_value(const struct gx_conf_section *s,
		   const struct gx_conf_key *row, const char *suffix)
{
	for (struct gx_conf_value *v = s->first; v; v = v->next) {
		if (v->row == row &&
		    (!suffix || !v->suffix || strcmp(v->suffix, suffix) == 0)) {
			return v;
		}
	}
	return NULL;
}

static void
add_value(struct gx_conf_section *s, struct gx_conf_value *v)
{
	if (s->last) {
		s->last->next = v;
	} else {
		s->first = v;
	}
	s->last = v;
}

static void
free_value(struct gx_conf_value *v)
{
	if (v) {
		gx_mem_free(v->suffix);
		gx_mem_free(v->text);
		gx_mem_free(v);
	}
}

static enum gx_rc
put_value(const struct gx_conf_reader *r, struct gx_conf_section *s,
	  const struct gx_conf_key *row, const char *suffix, const char *text,
	  struct gx_err *e)
{
	struct gx_conf_value *v = gx_mem_new(sizeof(*v));

	v->row = row;
	v->suffix = suffix ? gx_mem_strdup(suffix) : NULL;
	enum gx_rc rc = gx_conf_convert(r, v, text, e);
	if (rc != GX_OK) {
		free_value(v);
		return rc;
	}
	add_value(s, v);
	return GX_OK;
}

/* Cut white space at both ends, in place. */
static char *
trim(char *s)
{
	s += strspn(s, " \t");
	size_t n = strlen(s);
	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t')) {
		n--;
	}
	s[n] = '\0';
	return s;
}

/* "[kind]" or "[kind name]", brackets already cut. */
static enum gx_rc
open_section(struct gx_conf_reader *r, char *text, struct gx_err *e)
{
	char *kind = trim(text);
	char *name = kind + strcspn(kind, " \t");

	if (*name) {
		*name++ = '\0';
		name = trim(name);
	} else {
		name = NULL;
	}
	if (!is_word(kind) || (name && !is_word(name))) {
		return gx_conf_fault(
			r, e, "conf.syntax",
			"a section is [word] or [word name], of letters, "
			"digits, '.', '_' and '-'");
	}
	const struct gx_conf_key *row = gx_conf_find_kind(r->rows, kind);
	if (!row) {
		const char *near = NULL;
		for (row = r->rows; row->section; row++) {
			near = gx_conf_nearer(kind, near, row->section);
		}
		return gx_conf_fault(r, e, "conf.unknown_section",
				     "unknown section [%s]%s%s%s", kind,
				     near ? "; did you mean [" : "",
				     near ? near : "", near ? "]?" : "");
	}
	if (row->named != (name != NULL)) {
		return gx_conf_fault(
			r, e, "conf.syntax",
			row->named ? "section [%s] wants a name: [%s NAME]"
				   : "section [%s] takes no name: [%s]",
			kind, kind);
	}
	if (gx_conf_find_section(r->conf, kind, name)) {
		return gx_conf_fault(r, e, "conf.duplicate",
				     "section [%s%s%s] stands twice", kind,
				     name ? " " : "", name ? name : "");
	}
	r->section = add_section(r->conf, row->section, name, r->line);
	return GX_OK;
}

static enum gx_rc
unknown_key(const struct gx_conf_reader *r, const char *key, struct gx_err *e)
{
	const char *near = NULL;

	for (const struct gx_conf_key *row = r->rows; row->section; row++) {
		if (strcmp(row->section, r->section->kind) == 0) {
			near = gx_conf_nearer(key, near, row->key);
		}
	}
	return gx_conf_fault(r, e, "conf.unknown_key",
			     "unknown key %s in [%s]%s%s%s", key,
			     r->section->kind, near ? "; did you mean " : "",
			     near ? near : "", near ? "?" : "");
}

/* "key = value" */
static enum gx_rc
read_pair(struct gx_conf_reader *r, char *text, struct gx_err *e)
{
	char *equals = strchr(text, '=');

	if (!equals) {
		return gx_conf_fault(
			r, e, "conf.syntax",
			"neither [section] nor key = value nor # comment");
	}
	*equals = '\0';
	char *key = trim(text), *value = trim(equals + 1);
	if (!is_word(key)) {
		return gx_conf_fault(
			r, e, "conf.syntax",
			"a key is of letters, digits, '.', '_' and '-'");
	}
	if (!r->section) {
		return gx_conf_fault(r, e, "conf.syntax",
				     "key %s stands before the first section",
				     key);
	}
	const struct gx_conf_key *row =
		gx_conf_find_row(r->rows, r->section->kind, key);
	if (!row) {
		return unknown_key(r, key, e);
	}
	const char *suffix =
		gx_conf_is_pattern(row) ? key + strlen(row->key) - 1 : NULL;
	if (gx_conf_find_value(r->section, row, suffix)) {
		return gx_conf_fault(r, e, "conf.duplicate",
				     "key %s stands twice in this section",
				     key);
	}
	return put_value(r, r->section, row, suffix, value, e);
}

static enum gx_rc
read_line(struct gx_conf_reader *r, struct gx_slice raw, struct gx_err *e)
{
	char line[LINE_MAX_BYTES + 1];

	if (raw.n > 0 && raw.p[raw.n - 1] == '\r') {
		raw.n--;
	}
	if (raw.n > LINE_MAX_BYTES) {
		return gx_conf_fault(r, e, "conf.long_line",
				     "longer than %d bytes", LINE_MAX_BYTES);
	}
	for (size_t i = 0; i < raw.n; i++) {
		line[i] = raw.p[i] == '\t' ? ' ' : raw.p[i];
	}
	line[raw.n] = '\0';
	if (!gx_text_printable(line, raw.n)) {
		return gx_conf_fault(r, e, "conf.syntax",
				     "a control character, or not UTF-8");
	}
	char *text = trim(line);
	size_t n = strlen(text);
	if (n == 0 || text[0] == '#' || text[0] == ';') {
		return GX_OK;
	}
	if (text[0] != '[') {
		return read_pair(r, text, e);
	}
	if (text[n - 1] != ']') {
		return gx_conf_fault(
			r, e, "conf.syntax",
			"a section ends with ] and nothing behind it");
	}
	text[n - 1] = '\0';
	return open_section(r, text + 1, e);
}

/* Fill in one section what the file left out. */
static enum gx_rc
fill_section(struct gx_conf_reader *r, struct gx_conf_section *s,
	     struct gx_err *e)
{
	for (const struct gx_conf_key *row = r->rows; row->section; row++) {
		if (strcmp(row->section, s->kind) != 0 ||
		    gx_conf_is_pattern(row) ||
		    gx_conf_find_value(s, row, NULL)) {
			continue;
		}
		r->line = s->line;
		if (!row->dflt) {
			return gx_conf_fault(r, e, "conf.missing",
					     "section [%s%s%s] wants key %s",
					     s->kind, s->name ? " " : "",
					     s->name ? s->name : "", row->key);
		}
		enum gx_rc rc = put_value(r, s, row, NULL, row->dflt, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	return GX_OK;
}

static enum gx_rc
fill(struct gx_conf_reader *r, struct gx_err *e)
{
	for (const struct gx_conf_key *row = r->rows; row->section; row++) {
		if (!row->named &&
		    !gx_conf_find_section(r->conf, row->section, NULL)) {
			add_section(r->conf, row->section, NULL, 0);
		}
	}
	for (struct gx_conf_section *s = r->conf->first; s; s = s->next) {
		enum gx_rc rc = fill_section(r, s, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	return GX_OK;
}

enum gx_rc
gx_conf_parse(const char *name, struct gx_slice text,
	      const struct gx_conf_key *rows, struct gx_conf **out,
	      struct gx_err *e)
{
	struct gx_conf *c = gx_mem_new(sizeof(*c));
	struct gx_conf_reader r = {.file = name, .rows = rows, .conf = c};
	enum gx_rc rc = GX_OK;

	*out = NULL;
	c->rows = rows;
	while (rc == GX_OK && text.n > 0) {
		const char *end = memchr(text.p, '\n', text.n);
		size_t n = end ? (size_t)(end - text.p) : text.n;
		r.line++;
		rc = read_line(&r, gx_slice(text.p, n), e);
		n += end != NULL;
		text = gx_slice(text.p + n, text.n - n);
	}
	if (rc == GX_OK) {
		rc = fill(&r, e);
	}
	if (rc != GX_OK) {
		gx_conf_free(&c);
		return rc;
	}
	*out = c;
	return GX_OK;
}

static bool
read_file(const char *path, struct gx_buf *b)
{
	char piece[8192];
	ssize_t n = -1;

	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return false;
	}
	while ((n = read(fd, piece, sizeof(piece))) > 0) {
		if (!gx_buf_put(b, piece, (size_t)n)) {
			break;
		}
	}
	close(fd);
	return n == 0;
}

enum gx_rc
gx_conf_load(const char *path, const struct gx_conf_key *rows,
	     struct gx_conf **out, struct gx_err *e)
{
	struct gx_buf b;
	enum gx_rc rc;

	*out = NULL;
	gx_buf_init(&b, FILE_MAX_BYTES);
	if (read_file(path, &b)) {
		rc = gx_conf_parse(path, gx_buf_view(&b), rows, out, e);
	} else {
		rc = GX_ERR(e, GX_REJECT, "conf.open", "%s: %s", path,
			    b.failed ? "larger than 1 MiB" : "cannot be read");
	}
	/* A value may be a password in a connection string. */
	gx_mem_wipe(b.p, b.n);
	gx_buf_free(&b);
	return rc;
}

void
gx_conf_free(struct gx_conf **c)
{
	if (!c || !*c) {
		return;
	}
	for (struct gx_conf_section *s = (*c)->first; s;) {
		struct gx_conf_section *next = s->next;
		for (struct gx_conf_value *v = s->first; v;) {
			struct gx_conf_value *after = v->next;
			free_value(v);
			v = after;
		}
		gx_mem_free(s->name);
		gx_mem_free(s);
		s = next;
	}
	gx_mem_free(*c);
	*c = NULL;
}
