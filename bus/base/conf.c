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

#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define FILE_MAX_BYTES ((size_t)1 << 20)
#define NAME_MAX_BYTES 64
#define NEAR 3 /* edits to a name that is worth suggesting */

struct value {
	struct value *next;
	const struct gx_conf_key *row;
	char *suffix; /* what a '*' took, else NULL */
	char *text;   /* resolved path, or words separated by NUL */
	size_t n_words;
	int64_t number; /* INT SIZE DURATION BOOL */
};

struct section {
	struct section *next;
	const char *kind; /* the row's string */
	char *name;	  /* NULL for an unnamed one */
	int line;	  /* 0: not in the file */
	struct value *first, *last;
};

struct gx_conf {
	const struct gx_conf_key *rows;
	struct section *first, *last;
};

/* Where a fault is and who reads. */
struct reader {
	const char *file;
	const struct gx_conf_key *rows;
	struct gx_conf *conf;
	struct section *section; /* the one that is open */
	int line;
};

#define FAULT(r, e, code, ...) fault((r), (e), (code), __VA_ARGS__)

static enum gx_rc GX_PRINTF(4, 5)
fault(const struct reader *r, struct gx_err *e, const char *code,
      const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->line > 0) {
		return GX_ERR(e, GX_REJECT, code, "%s:%d: %s", r->file,
			      r->line, text);
	}
	return GX_ERR(e, GX_REJECT, code, "%s: %s", r->file, text);
}

static bool
is_pattern(const struct gx_conf_key *row)
{
	size_t n = strlen(row->key);

	return n > 0 && row->key[n - 1] == '*';
}

/* The nearest of two names so far; best starts as NULL. */
static const char *
nearer(const char *word, const char *best, const char *candidate)
{
	int distance = gx_text_distance(word, candidate);

	if (distance > NEAR || (size_t)distance >= strlen(word)) {
		return best;
	}
	return best && gx_text_distance(word, best) <= distance ? best
								: candidate;
}

static const struct gx_conf_key *
find_kind(const struct gx_conf_key *rows, const char *kind)
{
	for (; rows->section; rows++) {
		if (strcmp(rows->section, kind) == 0) {
			return rows;
		}
	}
	return NULL;
}

static const struct gx_conf_key *
find_row(const struct gx_conf_key *rows, const char *kind, const char *key)
{
	for (; rows->section; rows++) {
		size_t n = strlen(rows->key);
		if (strcmp(rows->section, kind) != 0) {
			continue;
		}
		if (strcmp(rows->key, key) == 0) {
			return rows;
		}
		if (is_pattern(rows) && strncmp(key, rows->key, n - 1) == 0 &&
		    key[n - 1] != '\0') {
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

static struct section *
find_section(const struct gx_conf *c, const char *kind, const char *name)
{
	for (struct section *s = c->first; s; s = s->next) {
		if (strcmp(s->kind, kind) == 0 &&
		    (name ? s->name && strcmp(s->name, name) == 0 : !s->name)) {
			return s;
		}
	}
	return NULL;
}

static struct section *
add_section(struct gx_conf *c, const char *kind, const char *name, int line)
{
	struct section *s = gx_mem_new(sizeof(*s));

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

static struct value *
find_value(const struct section *s, const struct gx_conf_key *row,
	   const char *suffix)
{
	for (struct value *v = s->first; v; v = v->next) {
		if (v->row == row &&
		    (!suffix || !v->suffix || strcmp(v->suffix, suffix) == 0)) {
			return v;
		}
	}
	return NULL;
}

static void
add_value(struct section *s, struct value *v)
{
	if (s->last) {
		s->last->next = v;
	} else {
		s->first = v;
	}
	s->last = v;
}

static void
free_value(struct value *v)
{
	if (v) {
		gx_mem_free(v->suffix);
		gx_mem_free(v->text);
		gx_mem_free(v);
	}
}

static bool
parse_int(const char *s, int64_t *out)
{
	bool minus = s[0] == '-';
	uint64_t u;

	if (!gx_parse_u64(s + minus, strlen(s + minus),
			  (uint64_t)INT64_MAX + minus, &u)) {
		return false;
	}
	*out = minus ? (int64_t)(0 - u) : (int64_t)u;
	return true;
}

/* A number in the unit of its type. */
static bool
parse_number(enum gx_conf_type type, const char *s, int64_t *out)
{
	uint64_t u = 0;

	if (type == GX_CONF_INT) {
		return parse_int(s, out);
	}
	bool ok = type == GX_CONF_SIZE ? gx_parse_size(s, &u)
				       : gx_parse_duration(s, &u);
	if (!ok || u > INT64_MAX) {
		return false;
	}
	*out = (int64_t)u;
	return true;
}

static const char *
describe(enum gx_conf_type type)
{
	switch (type) {
	case GX_CONF_STR:
		return "a text";
	case GX_CONF_INT:
		return "a whole number";
	case GX_CONF_BOOL:
		return "yes or no";
	case GX_CONF_SIZE:
		return "a size like 512, 64k, 10M or 1G";
	case GX_CONF_DURATION:
		return "a time like 250ms, 10s, 5m or 1h";
	case GX_CONF_PATH:
		return "a path";
	case GX_CONF_SECRET:
		return "the path of a file with mode 0600 or 0400";
	case GX_CONF_LIST:
		return "words separated by commas";
	}
	return "?";
}

static enum gx_rc
bad_value(const struct reader *r, const struct gx_conf_key *row,
	  struct gx_err *e)
{
	const char *low = row->min ? row->min : "";
	const char *high = row->max ? row->max : "";

	if (!row->min && !row->max) {
		return FAULT(r, e, "conf.bad_value", "%s wants %s", row->key,
			     describe(row->type));
	}
	return FAULT(r, e, "conf.bad_value", "%s wants %s%s%s%s%s", row->key,
		     describe(row->type), row->min ? ", at least " : "", low,
		     row->max ? ", at most " : "", high);
}

static bool
in_range(const struct gx_conf_key *row, int64_t v)
{
	int64_t limit;

	if (row->min) {
		GX_ASSERT(parse_number(row->type, row->min, &limit));
		if (v < limit) {
			return false;
		}
	}
	if (row->max) {
		GX_ASSERT(parse_number(row->type, row->max, &limit));
		if (v > limit) {
			return false;
		}
	}
	return true;
}

/* "a, b" to "a\0b\0" and a count; false on an empty word. */
static bool
split_words(struct value *v)
{
	char *to = v->text;

	for (const char *p = v->text; *p;) {
		p += strspn(p, " \t");
		size_t n = strcspn(p, ",");
		size_t len = n;
		while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t')) {
			len--;
		}
		if (len == 0) {
			return false;
		}
		bool more = p[n] == ',';
		memmove(to, p, len);
		p += n + more;
		to += len;
		v->n_words++;
		if (more && *p == '\0') {
			return false;
		}
		*to++ = '\0';
	}
	return true;
}

/* Relative to the folder of the file. */
static char *
resolve(const char *file, const char *path)
{
	const char *slash = strrchr(file, '/');
	struct gx_buf b;

	if (path[0] == '/' || path[0] == '\0' || !slash) {
		return gx_mem_strdup(path);
	}
	gx_buf_init(&b, SIZE_MAX / 2);
	gx_buf_put(&b, file, (size_t)(slash - file) + 1);
	gx_buf_puts(&b, path);
	char *out = gx_mem_strdup(gx_buf_str(&b));
	gx_buf_free(&b);
	return out;
}

static enum gx_rc
check_secret(const struct reader *r, const struct value *v, struct gx_err *e)
{
	struct stat st;

	if (v->text[0] == '\0' || stat(v->text, &st) != 0) {
		return GX_OK;
	}
	if (!S_ISREG(st.st_mode) ||
	    ((st.st_mode & 07777) != 0600 && (st.st_mode & 07777) != 0400)) {
		return FAULT(r, e, "conf.secret_mode",
			     "the file of %s must be a plain file with mode "
			     "0600 or 0400",
			     v->row->key);
	}
	return GX_OK;
}

/* Read text by the type of v->row into v. */
static enum gx_rc
convert(const struct reader *r, struct value *v, const char *text,
	struct gx_err *e)
{
	const struct gx_conf_key *row = v->row;

	switch (row->type) {
	case GX_CONF_STR:
		v->text = gx_mem_strdup(text);
		return GX_OK;
	case GX_CONF_INT:
	case GX_CONF_SIZE:
	case GX_CONF_DURATION:
		v->text = gx_mem_strdup(text);
		if (!parse_number(row->type, text, &v->number) ||
		    !in_range(row, v->number)) {
			return bad_value(r, row, e);
		}
		return GX_OK;
	case GX_CONF_BOOL:
		v->text = gx_mem_strdup(text);
		v->number = strcmp(text, "yes") == 0;
		if (!v->number && strcmp(text, "no") != 0) {
			return bad_value(r, row, e);
		}
		return GX_OK;
	case GX_CONF_PATH:
		v->text = resolve(r->file, text);
		return GX_OK;
	case GX_CONF_SECRET:
		v->text = resolve(r->file, text);
		return check_secret(r, v, e);
	case GX_CONF_LIST:
		v->text = gx_mem_strdup(text);
		return split_words(v) ? GX_OK : bad_value(r, row, e);
	}
	return bad_value(r, row, e);
}

static enum gx_rc
put_value(const struct reader *r, struct section *s,
	  const struct gx_conf_key *row, const char *suffix, const char *text,
	  struct gx_err *e)
{
	struct value *v = gx_mem_new(sizeof(*v));

	v->row = row;
	v->suffix = suffix ? gx_mem_strdup(suffix) : NULL;
	enum gx_rc rc = convert(r, v, text, e);
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
open_section(struct reader *r, char *text, struct gx_err *e)
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
		return FAULT(r, e, "conf.syntax",
			     "a section is [word] or [word name], of letters, "
			     "digits, '.', '_' and '-'");
	}
	const struct gx_conf_key *row = find_kind(r->rows, kind);
	if (!row) {
		const char *near = NULL;
		for (row = r->rows; row->section; row++) {
			near = nearer(kind, near, row->section);
		}
		return FAULT(r, e, "conf.unknown_section",
			     "unknown section [%s]%s%s%s", kind,
			     near ? "; did you mean [" : "", near ? near : "",
			     near ? "]?" : "");
	}
	if (row->named != (name != NULL)) {
		return FAULT(r, e, "conf.syntax",
			     row->named ? "section [%s] wants a name: [%s NAME]"
					: "section [%s] takes no name: [%s]",
			     kind, kind);
	}
	if (find_section(r->conf, kind, name)) {
		return FAULT(r, e, "conf.duplicate",
			     "section [%s%s%s] stands twice", kind,
			     name ? " " : "", name ? name : "");
	}
	r->section = add_section(r->conf, row->section, name, r->line);
	return GX_OK;
}

static enum gx_rc
unknown_key(const struct reader *r, const char *key, struct gx_err *e)
{
	const char *near = NULL;

	for (const struct gx_conf_key *row = r->rows; row->section; row++) {
		if (strcmp(row->section, r->section->kind) == 0) {
			near = nearer(key, near, row->key);
		}
	}
	return FAULT(r, e, "conf.unknown_key", "unknown key %s in [%s]%s%s%s",
		     key, r->section->kind, near ? "; did you mean " : "",
		     near ? near : "", near ? "?" : "");
}

/* "key = value" */
static enum gx_rc
read_pair(struct reader *r, char *text, struct gx_err *e)
{
	char *equals = strchr(text, '=');

	if (!equals) {
		return FAULT(r, e, "conf.syntax",
			     "neither [section] nor key = value nor # comment");
	}
	*equals = '\0';
	char *key = trim(text), *value = trim(equals + 1);
	if (!is_word(key)) {
		return FAULT(r, e, "conf.syntax",
			     "a key is of letters, digits, '.', '_' and '-'");
	}
	if (!r->section) {
		return FAULT(r, e, "conf.syntax",
			     "key %s stands before the first section", key);
	}
	const struct gx_conf_key *row =
		find_row(r->rows, r->section->kind, key);
	if (!row) {
		return unknown_key(r, key, e);
	}
	const char *suffix =
		is_pattern(row) ? key + strlen(row->key) - 1 : NULL;
	if (find_value(r->section, row, suffix)) {
		return FAULT(r, e, "conf.duplicate",
			     "key %s stands twice in this section", key);
	}
	return put_value(r, r->section, row, suffix, value, e);
}

static enum gx_rc
read_line(struct reader *r, struct gx_slice raw, struct gx_err *e)
{
	char line[LINE_MAX_BYTES + 1];

	if (raw.n > 0 && raw.p[raw.n - 1] == '\r') {
		raw.n--;
	}
	if (raw.n > LINE_MAX_BYTES) {
		return FAULT(r, e, "conf.long_line",
			     "longer than %d bytes", LINE_MAX_BYTES);
	}
	for (size_t i = 0; i < raw.n; i++) {
		line[i] = raw.p[i] == '\t' ? ' ' : raw.p[i];
	}
	line[raw.n] = '\0';
	if (!gx_text_printable(line, raw.n)) {
		return FAULT(r, e, "conf.syntax",
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
		return FAULT(r, e, "conf.syntax",
			     "a section ends with ] and nothing behind it");
	}
	text[n - 1] = '\0';
	return open_section(r, text + 1, e);
}

/* Fill in one section what the file left out. */
static enum gx_rc
fill_section(struct reader *r, struct section *s, struct gx_err *e)
{
	for (const struct gx_conf_key *row = r->rows; row->section; row++) {
		if (strcmp(row->section, s->kind) != 0 || is_pattern(row) ||
		    find_value(s, row, NULL)) {
			continue;
		}
		r->line = s->line;
		if (!row->dflt) {
			return FAULT(r, e, "conf.missing",
				     "section [%s%s%s] wants key %s", s->kind,
				     s->name ? " " : "",
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
fill(struct reader *r, struct gx_err *e)
{
	for (const struct gx_conf_key *row = r->rows; row->section; row++) {
		if (!row->named && !find_section(r->conf, row->section, NULL)) {
			add_section(r->conf, row->section, NULL, 0);
		}
	}
	for (struct section *s = r->conf->first; s; s = s->next) {
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
	struct reader r = {.file = name, .rows = rows, .conf = c};
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
			    b.failed ? "larger than 1 MiB"
				     : "cannot be read");
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
	for (struct section *s = (*c)->first; s;) {
		struct section *next = s->next;
		for (struct value *v = s->first; v;) {
			struct value *after = v->next;
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

/* The value of a key; asking for what the table has not is our bug.  NULL
 * only if there is no section of that name. */
static const struct value *
look_up(const struct gx_conf *c, const char *section, const char *name,
	const char *key)
{
	const struct gx_conf_key *row = find_row(c->rows, section, key);

	GX_ASSERT(row && !is_pattern(row));
	GX_ASSERT(row->named == (name != NULL));
	const struct section *s = find_section(c, section, name);
	return s ? find_value(s, row, NULL) : NULL;
}

const char *
gx_conf_str(const struct gx_conf *c, const char *section, const char *name,
	    const char *key)
{
	const struct value *v = look_up(c, section, name, key);

	return v ? v->text : NULL;
}

int64_t
gx_conf_int(const struct gx_conf *c, const char *section, const char *name,
	    const char *key)
{
	const struct value *v = look_up(c, section, name, key);

	return v ? v->number : 0;
}

bool
gx_conf_bool(const struct gx_conf *c, const char *section, const char *name,
	     const char *key)
{
	return gx_conf_int(c, section, name, key) != 0;
}

const char *
gx_conf_word(const struct gx_conf *c, const char *section, const char *name,
	     const char *key, size_t i)
{
	const struct value *v = look_up(c, section, name, key);

	if (!v || i >= v->n_words) {
		return NULL;
	}
	const char *word = v->text;
	while (i-- > 0) {
		word += strlen(word) + 1;
	}
	return word;
}

const char *
gx_conf_name(const struct gx_conf *c, const char *section, size_t i)
{
	for (const struct section *s = c->first; s; s = s->next) {
		if (s->name && strcmp(s->kind, section) == 0 && i-- == 0) {
			return s->name;
		}
	}
	return NULL;
}

bool
gx_conf_pair(const struct gx_conf *c, const char *section, const char *name,
	     const char *prefix, size_t i, const char **suffix,
	     const char **value)
{
	const struct section *s = find_section(c, section, name);
	size_t n = strlen(prefix);

	/* "kafka.", "kafka.*" and "kafka" name the same row. */
	n -= n > 0 && prefix[n - 1] == '*';
	n -= n > 0 && prefix[n - 1] == '.';
	for (const struct value *v = s ? s->first : NULL; v; v = v->next) {
		if (v->suffix && strncmp(v->row->key, prefix, n) == 0 &&
		    strcmp(v->row->key + n, ".*") == 0 && i-- == 0) {
			*suffix = v->suffix;
			*value = v->text;
			return true;
		}
	}
	return false;
}

/* Prose as comment lines of at most 78 columns. */
static void
put_comment(struct gx_buf *out, const char *prose)
{
	size_t column = 0;

	while (*prose) {
		size_t n = strcspn(prose, " ");
		if (column > 0 && column + 1 + n > 78) {
			gx_buf_putc(out, '\n');
			column = 0;
		}
		gx_buf_puts(out, column == 0 ? "# " : " ");
		gx_buf_put(out, prose, n);
		column += n + (column == 0 ? 2 : 1);
		prose += n;
		prose += strspn(prose, " ");
	}
	gx_buf_putc(out, '\n');
}

static void
put_sample_key(const struct gx_conf_key *row, struct gx_buf *out)
{
	gx_buf_putc(out, '\n');
	put_comment(out, row->help);
	gx_buf_printf(out, "# It is %s", describe(row->type));
	if (row->min) {
		gx_buf_printf(out, ", at least %s", row->min);
	}
	if (row->max) {
		gx_buf_printf(out, ", at most %s", row->max);
	}
	gx_buf_puts(out, row->dflt || is_pattern(row) ? ".\n" : "; required.\n");
	gx_buf_printf(out, "#%s =%s%s\n", row->key,
		      row->dflt && row->dflt[0] ? " " : "",
		      row->dflt ? row->dflt : "");
}

void
gx_conf_sample(const struct gx_conf_key *rows, struct gx_buf *out)
{
	for (const struct gx_conf_key *row = rows; row->section; row++) {
		const struct gx_conf_key *of =
			find_kind(rows, row->section);
		if (of != row) {
			continue;
		}
		gx_buf_printf(out, row->named ? "%s#[%s NAME]\n" : "%s[%s]\n",
			      row == rows ? "" : "\n", row->section);
		for (; of->section; of++) {
			if (strcmp(of->section, row->section) == 0) {
				put_sample_key(of, out);
			}
		}
	}
}
