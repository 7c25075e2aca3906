/* Inside of conf: what its three files share.  Not for other modules. */
#ifndef GX_BASE_CONF_INT_H
#define GX_BASE_CONF_INT_H

#include "base/conf.h"

struct gx_conf_value {
	struct gx_conf_value *next;
	const struct gx_conf_key *row;
	char *suffix; /* what a '*' took, else NULL */
	char *text;   /* resolved path, or words separated by NUL */
	size_t n_words;
	int64_t number; /* INT SIZE DURATION BOOL */
};

struct gx_conf_section {
	struct gx_conf_section *next;
	const char *kind; /* the row's string */
	char *name;	  /* NULL for an unnamed one */
	int line;	  /* 0: not in the file */
	struct gx_conf_value *first, *last;
};

struct gx_conf {
	const struct gx_conf_key *rows;
	struct gx_conf_section *first, *last;
};

/* Where a fault is and who reads. */
struct gx_conf_reader {
	const char *file;
	const struct gx_conf_key *rows;
	struct gx_conf *conf;
	struct gx_conf_section *section; /* the one that is open */
	int line;
};

/* GX_REJECT with file and line in front of the text. */
enum gx_rc gx_conf_fault(const struct gx_conf_reader *r, struct gx_err *e,
			 const char *code, const char *fmt, ...)
	GX_PRINTF(4, 5);

/* Is the key of this row "prefix.*"? */
bool gx_conf_is_pattern(const struct gx_conf_key *row);
/* First row of a section; the row that takes a key.  NULL if none. */
const struct gx_conf_key *gx_conf_find_kind(const struct gx_conf_key *rows,
					    const char *kind);
const struct gx_conf_key *gx_conf_find_row(const struct gx_conf_key *rows,
					   const char *kind, const char *key);
struct gx_conf_section *gx_conf_find_section(const struct gx_conf *c,
					     const char *kind,
					     const char *name);
/* suffix NULL: any */
struct gx_conf_value *gx_conf_find_value(const struct gx_conf_section *s,
					 const struct gx_conf_key *row,
					 const char *suffix);

/* Read text by the type of v->row into v. */
enum gx_rc gx_conf_convert(const struct gx_conf_reader *r,
			   struct gx_conf_value *v, const char *text,
			   struct gx_err *e) GX_MUSTCHECK;
/* What the row wants, for people: "a whole number, at least 1". */
void gx_conf_describe(const struct gx_conf_key *row, struct gx_buf *out);
/* The nearer to word of two names, if one is worth suggesting; best starts as
 * NULL. */
const char *gx_conf_nearer(const char *word, const char *best,
			   const char *candidate);

#endif
