/*
 * reconcile report and reconcile verify: the signed daily statement (对账单).
 *
 * report has the node at hand, and its peer if one is named, state what they
 * hold of the lower one's records; each signs its own.  The statements go to
 * stdout as they were signed, one a line, to be kept as a file.  For an earlier
 * day those that were made on it are fetched; none is made of the past.
 *
 * verify needs no node: each line must hold under a key of --trust, or under
 * no other key than one that is named by the reader; then statements of the
 * same day and scope by different nodes are laid side by side: same head, same
 * history; same digest, same records.  A changed byte is refused.
 *
 * Exit 10 if a statement does not hold or two do not agree.  verify only
 * reads; report leaves a statement and a line of the audit log at each node.
 */
#include "cli/offline.h"
#include "cli/raw.h"
#include "cli/recon.h"
#include "trust/statement.h"

#include <inttypes.h>
#include <string.h>

#define FILES_MAX 64
#define LINES_MAX 256
#define ARENA_BYTES (512u << 20)

/* ---- report ---- */

static int
make_one(struct gx_recon *r, bool is_peer)
{
	const struct gx_json *doc;
	struct gx_buf body;
	int code;

	gx_buf_init(&body, 256);
	(void)gx_buf_printf(&body, "{\"scope\":\"%s\"}",
			    r->node ? r->node : "");
	code = gx_net_call(r->cli, is_peer, "POST", "/api/v1/statements",
			   gx_buf_str(&body), &doc);
	gx_buf_free(&body);
	if (code == GX_X_OK) {
		puts(gx_json_str(doc, "statement", ""));
	}
	return code;
}

static int
fetch(struct gx_recon *r, bool is_peer, const char *day)
{
	const struct gx_json *doc, *v;
	struct gx_buf path;
	int code;

	gx_buf_init(&path, 512);
	(void)gx_buf_puts(&path, "/api/v1/statements?day=");
	gx_net_escape(&path, day);
	if (r->node != NULL) {
		(void)gx_buf_puts(&path, "&scope=");
		gx_net_escape(&path, r->node);
	}
	code = gx_net_call(r->cli, is_peer, "GET", gx_buf_str(&path), NULL,
			   &doc);
	gx_buf_free(&path);
	v = code == GX_X_OK ? gx_json_get(doc, "items") : NULL;
	if (code == GX_X_OK && (v == NULL || v->child == NULL)) {
		return gx_cli_fail(r->cli, GX_X_NOT_FOUND, "api.not_found",
				   "no statement was made on this day", NULL);
	}
	for (v = v ? v->child : NULL; v != NULL; v = v->next) {
		puts(gx_json_str(v, "statement", ""));
	}
	return code;
}

int
gx_cmd_reconcile_report(struct gx_cli *cli)
{
	struct gx_recon r = {.cli = cli};
	const char *day = cli->n_args > 0 ? cli->args[0] : NULL;
	int code = gx_recon_ends(&r);

	for (int i = 0; code == GX_X_OK && i < 2; i++) {
		code = day != NULL ? fetch(&r, i == 1, day)
				   : make_one(&r, i == 1);
	}
	return code;
}

/* ---- verify ---- */

struct held {
	struct gx_statement s;
	const char *file;
};
struct pile {
	struct gx_arena *a;
	const struct gx_keyring *trust;
	struct held list[LINES_MAX];
	size_t n;
	int code;
};

static bool
take_text(void *ctx, const char *p, size_t n)
{
	return gx_buf_put(ctx, p, n);
}

static void
check_line(struct pile *p, const char *file, size_t number,
	   struct gx_slice line)
{
	struct held *h = &p->list[p->n];
	char *kept = gx_arena_dup(p->a, line.p, line.n);
	const char *why = kept == NULL || p->n == LINES_MAX - 1
				  ? "too much at once"
				  : gx_statement_check(gx_slice(kept, line.n),
						       p->trust, p->a, &h->s);

	if (why != NULL) {
		printf("no\t%s\tline %zu: %s\n", file, number, why);
		p->code = GX_X_DIFFERS;
		return;
	}
	printf("ok\t%s\tline %zu\tnode %s\tscope %s\tat %s\tkey %s\n", file,
	       number, h->s.node, h->s.scope[0] ? h->s.scope : "all", h->s.at,
	       h->s.kid);
	h->file = file;
	p->n++;
}

static int
read_file(struct pile *p, const char *file)
{
	struct gx_buf text;
	size_t at = 0, number = 0;
	int code;

	gx_buf_init(&text, 4 * (size_t)GX_STATEMENT_MAX);
	code = gx_raw_pour(file, take_text, &text);
	while (code == GX_X_OK && at < text.n) {
		const char *end = memchr(text.p + at, '\n', text.n - at);
		size_t n = end ? (size_t)(end - text.p) - at : text.n - at;

		check_line(p, file, ++number, gx_slice(text.p + at, n));
		at += n + 1;
	}
	if (code == GX_X_OK && number == 0) {
		printf("no\t%s\tit holds no statement\n", file);
		p->code = GX_X_DIFFERS;
	}
	gx_buf_free(&text);
	return code;
}

static const struct gx_json *
find(const struct gx_json *list, const char *name, const char *value)
{
	const struct gx_json *v = list ? list->child : NULL;

	while (v != NULL && strcmp(gx_json_str(v, name, ""), value) != 0) {
		v = v->next;
	}
	return v;
}

/* Streams that both have, with other heads. */
static size_t
count_behind(const struct gx_json *a, const struct gx_json *b)
{
	const struct gx_json *list = gx_json_get(a, "streams");
	size_t n = 0;

	for (const struct gx_json *v = list ? list->child : NULL; v;
	     v = v->next) {
		const struct gx_json *w =
			find(gx_json_get(b, "streams"), "stream",
			     gx_json_str(v, "stream", ""));

		n += w == NULL || strcmp(gx_json_str(v, "head", "a"),
					 gx_json_str(w, "head", "b")) != 0;
	}
	return n;
}

static void
compare_resource(struct pile *p, const struct held *x, const struct held *y,
		 const struct gx_json *a)
{
	const char *name = gx_json_str(a, "resource", "");
	const struct gx_json *b = find(y->s.resources, "resource", name);
	bool same = b != NULL && strcmp(gx_json_str(a, "digest", "a"),
					gx_json_str(b, "digest", "b")) == 0;
	size_t behind = b ? count_behind(a, b) : 0;

	printf("%s\t%s\t%s %" PRId64 " records\t%s %" PRId64
	       " records\t%zu heads differ\t%" PRId64 "+%" PRId64
	       " held\t%" PRId64 "+%" PRId64 " in quarantine\n",
	       same ? "agree" : "differ", name, x->s.node,
	       gx_json_int(a, "count", 0), y->s.node,
	       b ? gx_json_int(b, "count", 0) : 0, behind,
	       gx_json_int(a, "held", 0), b ? gx_json_int(b, "held", 0) : 0,
	       gx_json_int(a, "aside", 0), b ? gx_json_int(b, "aside", 0) : 0);
	if (!same) {
		p->code = GX_X_DIFFERS;
	}
}

static void
compare_all(struct pile *p)
{
	for (size_t i = 0; i < p->n; i++) {
		for (size_t k = i + 1; k < p->n; k++) {
			const struct held *x = &p->list[i], *y = &p->list[k];

			if (strcmp(x->s.node, y->s.node) == 0 ||
			    strcmp(x->s.scope, y->s.scope) != 0 ||
			    strcmp(x->s.day, y->s.day) != 0) {
				continue;
			}
			for (const struct gx_json *v = x->s.resources->child; v;
			     v = v->next) {
				compare_resource(p, x, y, v);
			}
		}
	}
}

int
gx_cmd_reconcile_verify(int argc, char **argv)
{
	struct gx_raw_opt opts[] = {{"trust", NULL, false, false},
				    {NULL, NULL, false, false}};
	const char **files = gx_mem_array(FILES_MAX, sizeof *files);
	struct pile *p = gx_mem_new(sizeof *p);
	struct gx_keyring *trust = NULL;
	size_t n = 0;
	int code = gx_raw_read_files(argc, argv, opts, files, FILES_MAX, &n);

	if (code == GX_X_OK && n == 0) {
		files[n++] = "-";
	}
	if (code == GX_X_OK) {
		code = gx_raw_trust(opts[0].value, &trust);
	}
	p->a = gx_arena_new(ARENA_BYTES);
	p->trust = trust;
	for (size_t i = 0; code == GX_X_OK && i < n; i++) {
		code = read_file(p, files[i]);
	}
	if (code == GX_X_OK) {
		compare_all(p);
		code = p->code;
	}
	gx_arena_free(&p->a);
	gx_keyring_free(&trust);
	gx_mem_free(p);
	gx_mem_free(files);
	return code;
}
