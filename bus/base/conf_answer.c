/*
 * What a loaded configuration answers, and the sample file.
 *
 * Nothing here fails: a loaded configuration has a value for every key of its
 * table, and it does not change.  A caller that asks for a key the table has
 * not, or forgets the name of a named section, is wrong in every run and is
 * stopped at once.  A named section that the file has not answers NULL, 0 or
 * no.  Strings are lent for the life of the configuration.
 *
 * The sample holds every key as a comment with its prose, kind, range and
 * default; taking the '#' away from a line makes it count.
 */
#include "base/conf_int.h"

/* The value of a key; asking for what the table has not is our bug.  NULL
 * only if there is no section of that name. */
static const struct gx_conf_value *
look_up(const struct gx_conf *c, const char *section, const char *name,
	const char *key)
{
	const struct gx_conf_key *row = gx_conf_find_row(c->rows, section, key);

	GX_ASSERT(row && !gx_conf_is_pattern(row));
	GX_ASSERT(row->named == (name != NULL));
	const struct gx_conf_section *s =
		gx_conf_find_section(c, section, name);
	return s ? gx_conf_find_value(s, row, NULL) : NULL;
}

const char *
gx_conf_str(const struct gx_conf *c, const char *section, const char *name,
	    const char *key)
{
	const struct gx_conf_value *v = look_up(c, section, name, key);

	return v ? v->text : NULL;
}

int64_t
gx_conf_int(const struct gx_conf *c, const char *section, const char *name,
	    const char *key)
{
	const struct gx_conf_value *v = look_up(c, section, name, key);

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
	const struct gx_conf_value *v = look_up(c, section, name, key);

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
	for (const struct gx_conf_section *s = c->first; s; s = s->next) {
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
	const struct gx_conf_section *s =
		gx_conf_find_section(c, section, name);
	size_t n = strlen(prefix);

	/* "kafka.", "kafka.*" and "kafka" name the same row. */
	n -= n > 0 && prefix[n - 1] == '*';
	n -= n > 0 && prefix[n - 1] == '.';
	for (const struct gx_conf_value *v = s ? s->first : NULL; v;
	     v = v->next) {
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
	gx_buf_puts(out, "# It is ");
	gx_conf_describe(row, out);
	gx_buf_puts(out, row->dflt || gx_conf_is_pattern(row)
				 ? ".\n"
				 : "; required.\n");
	gx_buf_printf(out, "#%s =%s%s\n", row->key,
		      row->dflt && row->dflt[0] ? " " : "",
		      row->dflt ? row->dflt : "");
}

void
gx_conf_sample(const struct gx_conf_key *rows, struct gx_buf *out)
{
	for (const struct gx_conf_key *row = rows; row->section; row++) {
		const struct gx_conf_key *of =
			gx_conf_find_kind(rows, row->section);
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
