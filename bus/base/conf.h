/*
 * Strict INI configuration.
 *
 *   # comment            ; comment (whole lines only)
 *   [section]            [section name]   <- a named section, e.g. [flow up]
 *   key = value          value runs to the end of the line, trimmed
 *
 * One table of gx_conf_key rows drives parsing, checking, the commented sample
 * file, "gxbus config explain" and the manual.  Unknown or repeated keys and
 * sections, over-long lines (4096 bytes) and bad values refuse the file with
 * line number and the nearest known key.
 */
#ifndef GX_BASE_CONF_H
#define GX_BASE_CONF_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

enum gx_conf_type {
	GX_CONF_STR,
	GX_CONF_INT,
	GX_CONF_BOOL,	  /* yes|no */
	GX_CONF_SIZE,	  /* bytes, with k M G */
	GX_CONF_DURATION, /* ms, with ms s m h */
	GX_CONF_PATH,	  /* relative paths are against the file's folder */
	GX_CONF_SECRET,	  /* path of a 0600/0400 file; its mode is checked if
			   * it exists, "" is none */
	GX_CONF_LIST,	  /* comma separated words */
	GX_CONF_WORD	  /* one of a closed set */
};

struct gx_conf_key {
	const char *section; /* "node", "flow" ... */
	const char *key;     /* a final '*' takes any suffix ("kafka.*") */
	enum gx_conf_type type;
	/* NULL: required; an unnamed section's even if the file has none */
	const char *dflt;
	/* For INT, SIZE, DURATION; NULL: none.  For WORD min holds the set,
	 * separated by blanks. */
	const char *min, *max;
	const char *help; /* prose; "" never */
	bool named;	  /* the section takes a name: [flow NAME] */
};

struct gx_conf; /* immutable after load */

/* rows ends with a row whose section is NULL.  GX_REJECT "conf.*" names file,
 * line, what is wrong and the nearest key. */
enum gx_rc gx_conf_load(const char *path, const struct gx_conf_key *rows,
			struct gx_conf **out, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_conf_parse(const char *name, struct gx_slice text,
			 const struct gx_conf_key *rows, struct gx_conf **out,
			 struct gx_err *e) GX_MUSTCHECK;
void gx_conf_free(struct gx_conf **c);

/* Values; name is NULL for unnamed sections.  Every key of the table that has
 * a default always answers.  Asking for a key outside the table is a bug. */
const char *gx_conf_str(const struct gx_conf *c, const char *section,
			const char *name, const char *key);
int64_t gx_conf_int(const struct gx_conf *c, const char *section,
		    const char *name, const char *key); /* INT SIZE DURATION */
bool gx_conf_bool(const struct gx_conf *c, const char *section,
		  const char *name, const char *key);
/* Word i of a LIST, NULL past the end. */
const char *gx_conf_word(const struct gx_conf *c, const char *section,
			 const char *name, const char *key, size_t i);
/* i-th name of a named section in file order, NULL past the end. */
const char *gx_conf_name(const struct gx_conf *c, const char *section,
			 size_t i);
/* Pairs taken by a "prefix.*" row: suffix and value; false past the end. */
bool gx_conf_pair(const struct gx_conf *c, const char *section,
		  const char *name, const char *prefix, size_t i,
		  const char **suffix, const char **value);
/* Write the commented sample file the table describes. */
void gx_conf_sample(const struct gx_conf_key *rows, struct gx_buf *out);

#endif
