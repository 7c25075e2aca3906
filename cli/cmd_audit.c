/*
 * audit tail, export, verify: the audit log of a node.
 *
 * export writes the lines as they are chained, one a line, and says the head
 * on stderr: whoever keeps that head somewhere else can prove later that
 * nothing up to it was changed, taken out or cut off.  verify reads files of
 * an export, in their order, or else the node itself; it needs no node for
 * files and believes none: each hash is made anew.
 *
 * verify --head N:HASH also wants the log to hold that line: a log that was
 * cut off at its end, or written anew as a whole, is found by nothing else.
 *
 * Exit 0 if all is well, 10 with the first line that is wrong.
 */
#include "base/text.h"
#include "cli/cmd.h"
#include "cli/raw.h"
#include "trust/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE "1000"

/* ---- asking the node ---- */

/* One page after line n.  *next: there is more. */
static int
ask(struct gx_cli *cli, int64_t after, const char *limit,
    const struct gx_json **items, bool *next)
{
	const struct gx_json *a;
	char path[96];
	int code;

	snprintf(path, sizeof path,
		 "/api/v1/audit?after=%" PRId64 "&limit=%.10s", after, limit);
	code = gx_net_call(cli, false, "GET", path, NULL, &a);
	if (code == GX_X_OK) {
		*items = gx_json_get(a, "items");
		*next = gx_json_str(a, "next", NULL) != NULL;
	}
	return code;
}

typedef int (*line_f)(void *ctx, struct gx_slice line);

/* All lines of the node, a page at a time. */
static int
each_line(struct gx_cli *cli, line_f f, void *ctx)
{
	const struct gx_json *items = NULL;
	int64_t n = 0;
	bool more = true;

	while (more) {
		int code = ask(cli, n, PAGE, &items, &more);

		for (const struct gx_json *v = items ? items->child : NULL;
		     v && code == GX_X_OK; v = v->next) {
			code = f(ctx, v->text);
			n++;
		}
		if (code != GX_X_OK) {
			return code;
		}
		gx_arena_reset(cli->arena);
	}
	return GX_X_OK;
}

static int
print_line(void *ctx, struct gx_slice line)
{
	(void)ctx;
	(void)fwrite(line.p, 1, line.n, stdout);
	putchar('\n');
	return GX_X_OK;
}

int
gx_cmd_audit_export(struct gx_cli *cli)
{
	const struct gx_json *head;
	int code = gx_net_call(cli, false, "GET", "/api/v1/audit/head", NULL,
			       &head);
	char said[128] = "";

	if (code == GX_X_OK) {
		snprintf(said, sizeof said, "%" PRId64 ":%.64s",
			 gx_json_int(head, "n", 0),
			 gx_json_str(head, "hash", ""));
		code = each_line(cli, print_line, NULL);
	}
	if (code == GX_X_OK) {
		fprintf(stderr,
			"head %s; keep it elsewhere: gxbus audit verify FILE "
			"--head %s\n",
			said, said);
	}
	return code;
}

int
gx_cmd_audit_tail(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {
		{"n", "N", false},
		{"at", "AT", false},
		{"who", "WHO", false},
		{"role", "ROLE", true},
		{"act", "ACT", false},
		{"on", "ON", false},
		{"outcome", "OUTCOME", false},
		{"why", "WHY", false},
		{NULL, NULL, false}};
	const char *wanted = gx_opt(cli, "last");
	const struct gx_json *head, *items = NULL, *doc = NULL;
	uint64_t n = 20;
	struct gx_err e = {0};
	struct gx_buf b;
	struct gx_jw w;
	bool more;
	int code;

	if (wanted &&
	    (!gx_parse_u64(wanted, strlen(wanted), 1000, &n) || n == 0)) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "-n: lines to show, 1 to 1000", NULL);
	}
	code = gx_net_call(cli, false, "GET", "/api/v1/audit/head", NULL,
			   &head);
	if (code == GX_X_OK) {
		int64_t end = gx_json_int(head, "n", 0);

		code = ask(cli, end > (int64_t)n ? end - (int64_t)n : 0, PAGE,
			   &items, &more);
	}
	if (code != GX_X_OK) {
		return code;
	}
	gx_buf_init(&b, 8u << 20);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_int(&w, "v", 1);
	gx_jw_name(&w, "items");
	gx_jw_begin(&w, '[');
	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		gx_jw_raw(&w, v->text);
	}
	gx_jw_end(&w, ']');
	gx_jw_kv_str(&w, "next", NULL);
	gx_jw_end(&w, '}');
	if (gx_json_parse(cli->arena, gx_buf_view(&b), &doc, &e) == GX_OK) {
		gx_table_list(cli, doc, columns);
	} else {
		code = gx_cli_fail_err(cli, GX_X_FAILED, &e);
	}
	gx_buf_free(&b);
	return code;
}

/* ---- verify ---- */

struct verify {
	struct gx_audit_chain chain;
	struct gx_arena *arena; /* of one line */
	const char *file;
	uint64_t line, n_lines;
	uint64_t head_n; /* of --head, 0 none */
	const char *head_hash;
	bool is_head_met;
	const char *why;    /* first fault, NULL none */
	struct gx_buf rest; /* of a file: a line that goes on */
};

/* One line; GX_X_DIFFERS at the first fault, with why. */
static int
verify_line(void *ctx, struct gx_slice line)
{
	struct verify *v = ctx;
	struct gx_audit a;

	v->line++;
	v->n_lines++;
	v->why = gx_audit_parse(line, v->arena, &a);
	if (v->why == NULL) {
		v->why = gx_audit_follow(&v->chain, &a);
	}
	if (v->why == NULL && v->head_n == a.n) {
		v->is_head_met = true;
		if (strcmp(a.hash, v->head_hash) != 0) {
			v->why = "the head that was kept says another hash: "
				 "the log was written anew";
		}
	}
	gx_arena_reset(v->arena);
	return v->why ? GX_X_DIFFERS : GX_X_OK;
}

/* Pieces of a file into lines; a last line without a newline is one too. */
static bool
take_piece(void *ctx, const char *p, size_t n)
{
	struct verify *v = ctx;

	while (n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t k = end ? (size_t)(end - p) : n;

		if (!gx_buf_put(&v->rest, p, k)) {
			v->line++;
			v->why = "longer than a line can be";
			return false;
		}
		if (end == NULL) {
			return true;
		}
		if (verify_line(v, gx_buf_view(&v->rest)) != GX_X_OK) {
			return false;
		}
		gx_buf_reset(&v->rest);
		p += k + 1;
		n -= k + 1;
	}
	return true;
}

static int
verify_file(struct verify *v, const char *file)
{
	int code;

	v->file = file;
	v->line = 0;
	gx_buf_reset(&v->rest);
	code = gx_raw_pour(file, take_piece, v);
	if (code != GX_X_OK) {
		return code;
	}
	if (v->why == NULL && v->rest.n > 0) {
		(void)verify_line(v, gx_buf_view(&v->rest));
	}
	return v->why ? GX_X_DIFFERS : GX_X_OK;
}

static bool
read_head(struct verify *v, const char *text)
{
	const char *colon = text ? strchr(text, ':') : NULL;

	if (text == NULL) {
		return true;
	}
	v->head_hash = colon ? colon + 1 : "";
	return colon &&
	       gx_parse_u64(text, (size_t)(colon - text), INT64_MAX,
			    &v->head_n) &&
	       strlen(v->head_hash) == 64 &&
	       strspn(v->head_hash, "0123456789abcdef") == 64;
}

static int
tell(const struct verify *v)
{
	if (v->why != NULL) {
		printf("no\t%s:%" PRIu64 "\tafter line %" PRIu64 "\t%s\n",
		       v->file, v->line, v->chain.n, v->why);
		return GX_X_DIFFERS;
	}
	if (v->head_n > 0 && !v->is_head_met) {
		printf("no\t%s\tline %" PRIu64
		       "\tthe head that was kept is not there: the end of the "
		       "log was cut off\n",
		       v->file, v->head_n);
		return GX_X_DIFFERS;
	}
	if (v->n_lines == 0) {
		puts("ok\tno line");
		return GX_X_OK;
	}
	printf("ok\tlines %" PRIu64 " to %" PRIu64 " of %s\thead %" PRIu64
	       ":%s\n",
	       v->chain.first, v->chain.n, v->chain.node, v->chain.n,
	       v->chain.hash);
	return GX_X_OK;
}

int
gx_cmd_audit_verify(struct gx_cli *cli)
{
	struct verify v = {.file = "node"};
	int code = GX_X_OK;

	if (!read_head(&v, gx_opt(cli, "head"))) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--head wants N:HASH as gxbus audit export "
				   "says it",
				   NULL);
	}
	v.arena = gx_arena_new(1u << 20);
	gx_buf_init(&v.rest, GX_AUDIT_LINE + 1);
	for (int i = 0; i < cli->n_args && code == GX_X_OK; i++) {
		code = verify_file(&v, cli->args[i]);
	}
	if (cli->n_args == 0) {
		code = each_line(cli, verify_line, &v);
	}
	if (code == GX_X_OK || (code == GX_X_DIFFERS && v.why)) {
		code = tell(&v);
	}
	gx_buf_free(&v.rest);
	gx_arena_free(&v.arena);
	return code;
}
