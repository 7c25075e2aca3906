/*
 * Values of the configuration: from text to what a key's type says.
 *
 * Each type has one reading and no second chance: sizes and times want their
 * units, yes and no are the only truths, a word is one of its set, a list has no empty word, a number
 * keeps to the range of its row.  What is refused is told by the kind and
 * range that is wanted, never by the value, which may be a secret that was
 * put in the wrong line.
 *
 * Ranges stand in the table as text in the unit of the key, so that the manual
 * prints what the person would write.  A range that cannot be read is a
 * mistake in our table and ends the program.
 */
#include "base/conf_int.h"
#include "base/text.h"

#include <sys/stat.h>

#define WORD_MAX 32 /* of a closed set, with its end */

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
describe_type(enum gx_conf_type type)
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
	case GX_CONF_WORD:
		return "a word";
	}
	return "?";
}

/* The next word of a WORD row's set; false at its end. */
static bool
next_word(const char **p, char word[WORD_MAX])
{
	size_t n;

	*p += strspn(*p, " ");
	n = strcspn(*p, " ");
	if (n == 0) {
		return false;
	}
	GX_ASSERT(n < WORD_MAX); /* of our own table */
	memcpy(word, *p, n);
	word[n] = '\0';
	*p += n;
	return true;
}

/* "source, sink or link-up" */
static void
describe_words(const char *set, struct gx_buf *out)
{
	char word[WORD_MAX], after[WORD_MAX];
	bool has_word = next_word(&set, word);

	for (const char *between = ""; has_word; between = ", ") {
		has_word = next_word(&set, after);
		gx_buf_printf(out, "%s%s",
			      has_word || between[0] == '\0' ? between : " or ",
			      word);
		memcpy(word, after, sizeof(word));
	}
}

void
gx_conf_describe(const struct gx_conf_key *row, struct gx_buf *out)
{
	if (row->type == GX_CONF_WORD) {
		describe_words(row->min, out);
		return;
	}
	gx_buf_puts(out, describe_type(row->type));
	if (row->min) {
		gx_buf_printf(out, ", at least %s", row->min);
	}
	if (row->max) {
		gx_buf_printf(out, ", at most %s", row->max);
	}
}

static enum gx_rc
bad_value(const struct gx_conf_reader *r, const struct gx_conf_key *row,
	  struct gx_err *e)
{
	struct gx_buf want;
	enum gx_rc rc;

	gx_buf_init(&want, 256);
	gx_conf_describe(row, &want);
	rc = gx_conf_fault(r, e, "conf.bad_value", "%s wants %s", row->key,
			   gx_buf_str(&want));
	gx_buf_free(&want);
	return rc;
}

/* The nearest word is one of ours; what stood there is not told. */
static enum gx_rc
check_word(const struct gx_conf_reader *r, const struct gx_conf_value *v,
	   struct gx_err *e)
{
	char word[WORD_MAX], best[WORD_MAX] = "";
	enum gx_rc rc;

	for (const char *set = v->row->min; next_word(&set, word);) {
		const char *near = best[0] ? best : NULL;

		if (strcmp(word, v->text) == 0) {
			return GX_OK;
		}
		if (gx_conf_nearer(v->text, near, word) == word) {
			memcpy(best, word, sizeof(best));
		}
	}
	rc = bad_value(r, v->row, e);
	if (best[0] != '\0') {
		gx_err_note(e, "did you mean %s?", best);
	}
	return rc;
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
split_words(struct gx_conf_value *v)
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

	if (path[0] == '/' || path[0] == '\0' || !slash) {
		return gx_mem_strdup(path);
	}
	size_t n = (size_t)(slash - file) + 1;
	char *out = gx_mem_new(n + strlen(path) + 1);
	memcpy(out, file, n);
	memcpy(out + n, path, strlen(path));
	return out;
}

static enum gx_rc
check_secret(const struct gx_conf_reader *r, const struct gx_conf_value *v,
	     struct gx_err *e)
{
	struct stat st;

	if (v->text[0] == '\0' || stat(v->text, &st) != 0) {
		return GX_OK;
	}
	if (!S_ISREG(st.st_mode) ||
	    ((st.st_mode & 07777) != 0600 && (st.st_mode & 07777) != 0400)) {
		return gx_conf_fault(
			r, e, "conf.secret_mode",
			"%s = %s: it must be a plain file with mode 0600 or "
			"0400",
			v->row->key, v->text);
	}
	return GX_OK;
}

enum gx_rc
gx_conf_convert(const struct gx_conf_reader *r, struct gx_conf_value *v,
		const char *text, struct gx_err *e)
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
	case GX_CONF_WORD:
		v->text = gx_mem_strdup(text);
		return check_word(r, v, e);
	}
	return bad_value(r, row, e);
}
