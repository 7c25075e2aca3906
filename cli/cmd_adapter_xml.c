/*
 * "adapter preview --type xml": an XML document as records, offline.
 *
 * Whether a document is good is known at its last byte, and nothing of one
 * that is refused may be printed.  So its records go into a file without a
 * name first, and its refusals into another, as the document streams by once;
 * at its end they are poured out, or dropped.  Input may therefore be a pipe,
 * memory is constant, and the folder for temporary files needs room for the
 * records.  Both files are this user's alone and gone with the process, also
 * if it is killed.
 *
 * What a refused record held is never printed: one JSON object on stderr with
 * its number, the line and the reason.
 */
#include "cli/offline.h"
#include "cli/raw.h"
#include "record/xml.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MAP_BYTES ((size_t)4 << 20)

struct preview {
	FILE *in;
	FILE *records, *refusals; /* nameless */
	struct gx_buf line;	  /* of one refusal */
};

static bool
take_map(void *ctx, const char *p, size_t n)
{
	return gx_buf_put(ctx, p, n);
}

static int
load_map(const char *path, struct gx_xml_map **out)
{
	struct gx_err e = {0};
	struct gx_buf text;

	gx_buf_init(&text, MAP_BYTES + 1);
	int code = gx_raw_pour(path, take_map, &text);
	if (code == GX_X_OK &&
	    gx_xml_map_new(gx_buf_view(&text), out, &e) != GX_OK) {
		code = gx_raw_fail(GX_X_INVALID, e.code, e.text, NULL);
	}
	gx_buf_free(&text);
	return code;
}

static int
load_xsd(const char *path, struct gx_xml_xsd **out)
{
	struct gx_err e = {0};

	if (!path) {
		return GX_X_OK;
	}
	if (access(path, R_OK) != 0) {
		return gx_raw_fail(
			errno == ENOENT ? GX_X_NOT_FOUND : GX_X_FAILED,
			"cli.file", "the XSD cannot be read", strerror(errno));
	}
	if (gx_xml_xsd_load(path, out, &e) != GX_OK) {
		return gx_raw_fail(GX_X_INVALID, e.code, e.text, NULL);
	}
	return GX_X_OK;
}

/* A file of this user alone, which nobody finds. */
static FILE *
open_nameless(void)
{
	const char *dir = getenv("TMPDIR");
	char path[512];

	int n = snprintf(path, sizeof path, "%s/gxbus-XXXXXX",
			 dir && *dir ? dir : "/tmp");
	int fd = n > 0 && n < (int)sizeof path ? mkstemp(path) : -1;
	if (fd < 0) {
		return NULL;
	}
	(void)unlink(path);
	return fdopen(fd, "w+b");
}

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct preview *v = ctx;
	size_t got = fread(p, 1, n, v->in);

	return ferror(v->in) ? -1 : (ptrdiff_t)got;
}

static bool
put_refusal(struct preview *v, const struct gx_xml_row *row)
{
	struct gx_jw w;

	gx_buf_reset(&v->line);
	gx_jw_init(&w, &v->line);
	gx_jw_begin(&w, '{');
	gx_jw_name(&w, "record");
	gx_jw_u64(&w, row->number);
	gx_jw_name(&w, "line");
	gx_jw_u64(&w, row->line);
	if (row->field.n > 0) {
		gx_jw_name(&w, "field");
		gx_jw_str(&w, row->field);
	}
	gx_jw_kv_str(&w, "reason", row->reason);
	gx_jw_end(&w, '}');
	(void)gx_buf_putc(&v->line, '\n');
	return !v->line.failed &&
	       fwrite(v->line.p, 1, v->line.n, v->refusals) == v->line.n;
}

static bool
take_row(void *ctx, const struct gx_xml_row *row)
{
	struct preview *v = ctx;

	if (row->reason) {
		return put_refusal(v, row);
	}
	return fwrite(row->json.p, 1, row->json.n, v->records) == row->json.n &&
	       putc('\n', v->records) != EOF;
}

/* All of a nameless file. */
static bool
pour_out(FILE *from, FILE *to)
{
	char piece[65536];
	size_t n;

	if (fflush(from) != 0 || fseek(from, 0, SEEK_SET) != 0) {
		return false;
	}
	while ((n = fread(piece, 1, sizeof piece, from)) > 0) {
		if (fwrite(piece, 1, n, to) != n) {
			return false;
		}
	}
	return !ferror(from) && fflush(to) == 0;
}

static int
run(struct preview *v, const struct gx_xml_map *map,
    const struct gx_xml_xsd *xsd)
{
	struct gx_xml_in in = {.read = read_some, .take = take_row, .ctx = v};
	struct gx_xml_count count;
	struct gx_err e = {0};

	enum gx_rc rc = gx_xml_read(map, xsd, &in, &count, &e);
	if (rc != GX_OK) {
		return gx_raw_fail(rc == GX_REJECT ? GX_X_INVALID : GX_X_FAILED,
				   e.code, e.text, NULL);
	}
	if (!pour_out(v->refusals, stderr) || !pour_out(v->records, stdout)) {
		return gx_raw_fail(GX_X_FAILED, "cli.file",
				   "the records cannot be written",
				   strerror(errno));
	}
	return count.refused ? GX_X_DIFFERS : GX_X_OK;
}

static int
preview(const struct gx_xml_map *map, const struct gx_xml_xsd *xsd,
	const char *file)
{
	bool is_stdin = file == NULL || strcmp(file, "-") == 0;
	struct preview v = {.in = is_stdin ? stdin : fopen(file, "rbe")};
	int code;

	gx_buf_init(&v.line, 65536);
	if (v.in == NULL) {
		return gx_raw_fail(errno == ENOENT ? GX_X_NOT_FOUND
						   : GX_X_FAILED,
				   "cli.file", "the input cannot be read",
				   strerror(errno));
	}
	v.records = open_nameless();
	v.refusals = v.records ? open_nameless() : NULL;
	if (v.refusals) {
		code = run(&v, map, xsd);
	} else {
		code = gx_raw_fail(GX_X_FAILED, "cli.file",
				   "no temporary file can be made",
				   strerror(errno));
	}
	if (v.refusals) {
		(void)fclose(v.refusals);
	}
	if (v.records) {
		(void)fclose(v.records);
	}
	if (!is_stdin) {
		(void)fclose(v.in);
	}
	gx_buf_free(&v.line);
	return code;
}

int
gx_cmd_adapter_preview_xml(int argc, char **argv)
{
	struct gx_raw_opt opts[] = {{"type", NULL, false, false},
				    {"map", NULL, false, false},
				    {"xsd", NULL, true, false},
				    {NULL, NULL, false, false}};
	struct gx_xml_map *map = NULL;
	struct gx_xml_xsd *xsd = NULL;
	const char *file;

	int code = gx_raw_read(argc, argv, opts, &file);
	if (code == GX_X_OK) {
		code = load_map(opts[1].value, &map);
	}
	if (code == GX_X_OK) {
		code = load_xsd(opts[2].value, &xsd);
	}
	if (code == GX_X_OK) {
		code = preview(map, xsd, file);
	}
	gx_xml_xsd_free(&xsd);
	gx_xml_map_free(&map);
	return code;
}
