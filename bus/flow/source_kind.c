/*
 * Kinds of sources, and how a declaration becomes one of them.
 *
 * A declaration of an adapter instance is one JSON file.  Its member "kind"
 * says what reads the department's system, and everything else in it is that
 * reader's business.  So the file is looked at twice: here only for the word,
 * then by the kind itself, which is strict about every member.  Whoever wires
 * a node calls gx_source_new() and the operations, and knows no kind.
 *
 * A new kind of source is a file src_<x>.c with its operations and one row of
 * the table below.  Its word is part of people's files: it never changes.
 *
 * Nothing is connected to and nothing is kept: if we die on any line, nothing
 * was begun.  A file that is changed between the two looks is refused or taken
 * as the kind sees it; it cannot become a source of two kinds, because each
 * kind knows members that the others refuse.
 */
#include "flow/source.h"

#include "base/json.h"
#include "flow/src_pg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DECL_MAX (4u << 20)

struct source_kind {
	const char *name;
	enum gx_rc (*make)(const struct gx_source_conf *conf,
			   struct gx_source **out, struct gx_err *e);
};

static const struct source_kind kinds[] = {
	{"pg-cdc", gx_src_pg_new},
};

#define N_KINDS (sizeof kinds / sizeof kinds[0])

static enum gx_rc
read_file(const char *path, struct gx_buf *out, struct gx_err *e)
{
	FILE *f = fopen(path, "re");
	char part[4096];
	size_t n;
	bool is_bad;

	if (f == NULL) {
		return GX_ERR(e, GX_REJECT, "adapter.file",
			      "%s cannot be read: %s", path, strerror(errno));
	}
	while ((n = fread(part, 1, sizeof part, f)) > 0 &&
	       gx_buf_put(out, part, n)) {
	}
	is_bad = ferror(f) != 0;
	(void)fclose(f);
	if (is_bad || out->failed) {
		return GX_ERR(e, GX_REJECT, "adapter.file", "%s %s", path,
			      is_bad ? "is no file that can be read"
				     : "is too long");
	}
	return GX_OK;
}

static enum gx_rc
find_kind(const struct gx_json *decl, const struct source_kind **out,
	  struct gx_err *e)
{
	const char *word = gx_json_str(decl, "kind", "");
	char known[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < N_KINDS; i++) {
		if (strcmp(word, kinds[i].name) == 0) {
			*out = &kinds[i];
			return GX_OK;
		}
		n += (size_t)snprintf(known + n, sizeof known - n, "%s\"%s\"",
				      i == 0 ? "" : ", ", kinds[i].name);
		GX_ASSERT(n < sizeof known); /* of our own table */
	}
	return GX_ERR(e, GX_REJECT, "adapter.declaration",
		      "/kind: no such kind of source; there is %s", known);
}

enum gx_rc
gx_source_new(const struct gx_source_conf *conf, struct gx_source **out,
	      struct gx_err *e)
{
	struct gx_arena *a = gx_arena_new(2 * DECL_MAX);
	const struct source_kind *kind = NULL;
	const struct gx_json *decl = NULL;
	struct gx_buf text;
	enum gx_rc rc;

	*out = NULL;
	gx_buf_init(&text, DECL_MAX);
	rc = read_file(conf->path, &text, e);
	if (rc == GX_OK) {
		rc = gx_json_parse(a, gx_buf_view(&text), &decl, e);
	}
	if (rc == GX_OK) {
		rc = find_kind(decl, &kind, e);
	}
	if (rc != GX_OK) {
		gx_err_note(e, "%s", conf->path);
	}
	gx_buf_free(&text);
	gx_arena_free(&a);
	return rc == GX_OK ? kind->make(conf, out, e) : rc;
}
