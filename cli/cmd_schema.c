/*
 * "schema check": records against a schema, or the syntax of one document.
 *
 * Needs no node and no configuration, so that anybody can run a schema before
 * it is registered, and a test suite of others can be run against ours.  The
 * output is for scripts: one line per line of input, in order, "ok" or
 * "reject", pointer, keyword and message with TABs between.  What could break
 * a line is written as in a JSON string, and a value is never printed; a
 * pointer holds names of members, since it would say nothing without.
 *
 * A schema that is refused leaves stdout empty; errors go to stderr in the form
 * of all commands.  Input is read line by line
 * into one buffer, so its length does not matter; a line longer than LINE_MAX
 * is a reject like any other that cannot be read.
 */
#include "cli/offline.h"
#include "cli/raw.h"
#include "record/schema.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA_BYTES ((size_t)8 << 20)
#define LINE_BYTES ((size_t)64 << 20)
#define DOCUMENT_BYTES ((size_t)1 << 30)

struct request {
	const char *schema, *file;
	bool is_syntax, is_all;
};

static int
read_request(int argc, char **argv, struct request *r)
{
	struct gx_raw_opt opts[] = {{"schema", NULL, true, false},
				    {"syntax", NULL, true, true},
				    {"all", NULL, true, true},
				    {NULL, NULL, false, false}};
	int code = gx_raw_read(argc, argv, opts, &r->file);

	r->schema = opts[0].value;
	r->is_syntax = opts[1].value != NULL;
	r->is_all = opts[2].value != NULL;
	if (code == GX_X_OK &&
	    (r->is_syntax ? r->schema || r->is_all : !r->schema)) {
		return gx_raw_fail(GX_X_USAGE, "cli.usage",
				   "--schema S.json or --syntax is needed, and "
				   "only one of them",
				   NULL);
	}
	return code;
}

/* NULL after saying why. */
static FILE *
open_file(const char *path)
{
	FILE *f = !path || strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");

	if (!f) {
		(void)gx_raw_fail(GX_X_NOT_FOUND, "cli.file", path,
				  strerror(errno));
	}
	return f;
}

static void
close_file(FILE *f)
{
	if (f && f != stdin) {
		(void)fclose(f);
	}
}

static int
fail_reading(const char *path)
{
	return gx_raw_fail(GX_X_FAILED, "cli.file",
			   path ? path : "standard input",
			   "it cannot be read to its end");
}

/* The rest of a file into b; false if it is longer or cannot be read. */
static bool
read_all(FILE *f, struct gx_buf *b)
{
	char piece[65536];
	size_t n;

	while ((n = fread(piece, 1, sizeof(piece), f)) > 0) {
		if (!gx_buf_put(b, piece, n)) {
			return false;
		}
	}
	return !ferror(f);
}

static void
print_column(struct gx_slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		switch (c) {
		case '\t':
			fputs("\\t", stdout);
			break;
		case '\n':
			fputs("\\n", stdout);
			break;
		case '\r':
			fputs("\\r", stdout);
			break;
		case '\\':
			fputs("\\\\", stdout);
			break;
		default:
			if (c < 0x20 || c == 0x7f) {
				printf("\\u%04x", c);
			} else {
				putchar(c);
			}
		}
	}
}

static void
print_reject(struct gx_slice pointer, struct gx_slice keyword,
	     struct gx_slice message)
{
	fputs("reject\t", stdout);
	print_column(pointer);
	putchar('\t');
	print_column(keyword);
	putchar('\t');
	print_column(message);
	putchar('\n');
}

/* One line of input; true if it conforms. */
static bool
check_line(struct gx_check *c, const struct request *r, const struct gx_buf *b)
{
	if (b->failed) {
		print_reject(GX_SLICE(""), GX_SLICE("syntax"),
			     GX_SLICE("the line is longer than 64 MiB"));
		return false;
	}
	if (gx_check_run(c, gx_buf_view(b))) {
		puts("ok");
		return true;
	}
	size_t n = r->is_all ? gx_check_n_faults(c) : 1;
	for (size_t i = 0; i < n; i++) {
		const struct gx_fault *f = gx_check_fault(c, i);
		print_reject(f->pointer, f->keyword, f->message);
	}
	return false;
}

static int
check_lines(struct gx_check *c, const struct request *r, FILE *f)
{
	int rc = GX_X_OK;
	char piece[65536];
	struct gx_buf line;
	size_t n;

	gx_buf_init(&line, LINE_BYTES);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0) {
		for (const char *p = piece, *end = piece + n; p < end;) {
			const char *lf = memchr(p, '\n', (size_t)(end - p));
			const char *to = lf ? lf : end;
			(void)gx_buf_put(&line, p, (size_t)(to - p));
			p = to;
			if (lf) {
				p++;
				rc = check_line(c, r, &line) ? rc
							     : GX_X_DIFFERS;
				gx_buf_reset(&line);
			}
		}
	}
	if (ferror(f)) {
		rc = fail_reading(r->file);
	} else if (line.n > 0 || line.failed) {
		rc = check_line(c, r, &line) ? rc : GX_X_DIFFERS;
	}
	gx_buf_free(&line);
	return rc;
}

static int
run_schema(const struct request *r)
{
	struct gx_schema *sch = NULL;
	struct gx_err e = {0};
	struct gx_buf text;
	FILE *f = open_file(r->schema), *in;
	enum gx_rc got;

	if (!f) {
		return GX_X_NOT_FOUND;
	}
	gx_buf_init(&text, SCHEMA_BYTES);
	bool good = read_all(f, &text);
	close_file(f);
	if (!good) {
		gx_buf_free(&text);
		return fail_reading(r->schema);
	}
	got = gx_schema_compile(gx_buf_view(&text), &sch, &e);
	gx_buf_free(&text);
	if (got != GX_OK) {
		return gx_raw_fail(GX_X_INVALID, e.code, e.text, NULL);
	}
	int rc = GX_X_NOT_FOUND;
	in = open_file(r->file);
	if (in) {
		struct gx_check *c = gx_check_new(sch);
		rc = check_lines(c, r, in);
		gx_check_free(&c);
		close_file(in);
	}
	gx_schema_free(&sch);
	return rc;
}

static int
run_syntax(const struct request *r)
{
	struct gx_buf text;
	FILE *f = open_file(r->file);
	int rc = GX_X_OK;
	char message[160];
	size_t at;

	if (!f) {
		return GX_X_NOT_FOUND;
	}
	gx_buf_init(&text, DOCUMENT_BYTES);
	if (!read_all(f, &text)) {
		rc = fail_reading(r->file);
	} else {
		const char *why = gx_json_syntax(gx_buf_view(&text), &at);
		if (why) {
			snprintf(message, sizeof(message), "%s at byte %zu",
				 why, at);
			print_reject(GX_SLICE(""), GX_SLICE("syntax"),
				     gx_slice_str(message));
			rc = GX_X_DIFFERS;
		} else {
			puts("ok");
		}
	}
	gx_buf_free(&text);
	close_file(f);
	return rc;
}

int
gx_cmd_schema_check(int argc, char **argv)
{
	struct request r = {0};
	int rc = read_request(argc, argv, &r);

	if (rc == GX_X_OK) {
		rc = r.is_syntax ? run_syntax(&r) : run_schema(&r);
	}
	if (fflush(stdout) != 0 && rc == GX_X_OK) {
		rc = GX_X_FAILED;
	}
	return rc;
}
