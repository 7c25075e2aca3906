/*
 * Commands about records set aside: looked at, mended, sent home, given up.
 *
 * The node decides what may be done and checks all of it; here are questions
 * and answers.  A replay of many goes in steps that the node bounds, each with
 * its own line in the audit log; after each the counts are said on stderr.  If
 * this program or the node dies between two steps, the same command goes on
 * with what is still open, and repeats nothing.
 *
 * Values come after the first "=" of --set and are never printed again.
 */
#include "cli/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct gx_column columns[] = {
	{"id", "ID", false},	       {"side", "SIDE", false},
	{"stream", "STREAM", false},   {"seq", "SEQ", true},
	{"state", "STATE", false},     {"last_seen", "LAST SEEN", false},
	{"n_seen", "SEEN", true},      {"fixed", "FIXED", true},
	{"reasons", "REASONS", false}, {NULL, NULL, false}};

int
gx_cmd_quarantine_list(struct gx_cli *cli)
{
	static const char *const names[] = {"limit", "cursor", "stream",
					    "rule",  "side",   "state"};
	const struct gx_json *a;
	struct gx_buf b;
	int code;

	gx_buf_init(&b, 4096);
	(void)gx_buf_puts(&b, "/api/v1/quarantine?v=1");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *v = gx_opt(cli, names[i]);

		if (v != NULL) {
			(void)gx_buf_printf(&b, "&%s=", names[i]);
			gx_net_escape(&b, v);
		}
	}
	code = gx_net_call(cli, false, "GET", gx_buf_str(&b), NULL, &a);
	gx_buf_free(&b);
	if (code == GX_X_OK) {
		gx_table_list(cli, a, columns);
	}
	return code;
}

int
gx_cmd_quarantine_stats(struct gx_cli *cli)
{
	static const struct gx_column counts[] = {
		{"stream", "STREAM", false},
		{"side", "SIDE", false},
		{"open", "OPEN", false},
		{"queued", "QUEUED", false},
		{"replayed", "REPLAYED", false},
		{"superseded", "SUPERSEDED", false},
		{"discarded", "DISCARDED", false},
		{"oldest_open", "OLDEST OPEN", false},
		{NULL, NULL, false}};
	const struct gx_json *a;
	int code = gx_net_call(cli, false, "GET", "/api/v1/quarantine/stats",
			       NULL, &a);

	if (code == GX_X_OK) {
		gx_table_list(cli, a, counts);
	}
	return code;
}

/* ---- one ---- */

static bool
is_number(const char *id)
{
	return id[0] != '\0' && strlen(id) <= 18 &&
	       id[strspn(id, "0123456789")] == '\0';
}

static int
fail_number(const struct gx_cli *cli)
{
	return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
			   "a record set aside is named by its number",
			   "for example: gxbus quarantine show 17; gxbus "
			   "quarantine list shows all");
}

/* Ask about the item that the first argument names, or say something to it. */
static int
call_item(struct gx_cli *cli, const char *method, const char *verb,
	  const char *body)
{
	const struct gx_json *a;
	char path[96];
	int code;

	if (!is_number(cli->args[0])) {
		return fail_number(cli);
	}
	snprintf(path, sizeof path, "/api/v1/quarantine/%s%s", cli->args[0],
		 verb);
	code = gx_net_call(cli, false, method, path, body, &a);
	if (code == GX_X_OK) {
		gx_table_object(cli, a);
	}
	return code;
}

int
gx_cmd_quarantine_show(struct gx_cli *cli)
{
	bool is_revealed = gx_opt(cli, "reveal") != NULL;

	return call_item(cli, "GET", is_revealed ? "/content" : "", NULL);
}

static int
dry(struct gx_cli *cli, const char *what)
{
	fprintf(stderr, "~ quarantine %s: %s\n", cli->args[0], what);
	return call_item(cli, "GET", "", NULL);
}

static void
put_reason(const struct gx_cli *cli, struct gx_jw *w)
{
	if (gx_opt(cli, "reason") != NULL) {
		gx_jw_kv_str(w, "reason", gx_opt(cli, "reason"));
	}
}

/* "/a=1" and "/b=2", apart by GX_SET_APART; false if one has no "=". */
static bool
put_set(struct gx_jw *w, const char *set)
{
	gx_jw_name(w, "set");
	gx_jw_begin(w, '[');
	for (;;) {
		size_t n = strcspn(set, "\x1e");
		const char *eq = memchr(set, '=', n);

		if (eq == NULL || set[0] != '/') {
			return false;
		}
		gx_jw_begin(w, '{');
		gx_jw_name(w, "pointer");
		gx_jw_str(w, gx_slice(set, (size_t)(eq - set)));
		gx_jw_name(w, "value");
		gx_jw_str(w, gx_slice(eq + 1, (size_t)(set + n - eq) - 1));
		gx_jw_end(w, '}');
		if (set[n] == '\0') {
			break;
		}
		set += n + 1;
	}
	gx_jw_end(w, ']');
	return true;
}

int
gx_cmd_quarantine_fix(struct gx_cli *cli)
{
	const char *set = gx_opt(cli, "set");
	struct gx_buf body;
	struct gx_jw w;
	bool is_good;
	int code;

	gx_buf_init(&body, 4u << 20);
	gx_jw_init(&w, &body);
	gx_jw_begin(&w, '{');
	is_good = set != NULL && put_set(&w, set);
	put_reason(cli, &w);
	gx_jw_end(&w, '}');
	if (!is_good) {
		code = gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--set takes /ITEM=VALUE",
				   "for example: gxbus quarantine fix 17 --set "
				   "/aac004=1");
	} else if (gx_opt(cli, "dry-run") != NULL) {
		code = dry(cli, "would be mended");
	} else {
		code = call_item(cli, "POST", "/fix", gx_buf_str(&body));
	}
	gx_buf_free(&body);
	if (code == GX_X_OK && gx_opt(cli, "dry-run") == NULL) {
		fprintf(stderr, "mended; next: gxbus quarantine replay %s\n",
			cli->args[0]);
	}
	return code;
}

/* A command to one item, with its reason. */
static int
command(struct gx_cli *cli, const char *verb)
{
	struct gx_buf body;
	struct gx_jw w;
	int code;

	gx_buf_init(&body, 65536);
	gx_jw_init(&w, &body);
	gx_jw_begin(&w, '{');
	put_reason(cli, &w);
	gx_jw_end(&w, '}');
	code = call_item(cli, "POST", verb, gx_buf_str(&body));
	gx_buf_free(&body);
	return code;
}

int
gx_cmd_quarantine_discard(struct gx_cli *cli)
{
	if (gx_opt(cli, "reason") == NULL || gx_opt(cli, "reason")[0] == '\0') {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--reason is needed: why the record is "
				   "given up",
				   NULL);
	}
	if (gx_opt(cli, "dry-run") != NULL) {
		return dry(cli, "would be given up for good");
	}
	return command(cli, "/discard");
}

/* ---- replay ---- */

struct all {
	char after[24];
	int64_t n_queued, n_refused;
	bool is_done;
};

static int
step_all(struct gx_cli *cli, struct all *s)
{
	const struct gx_json *a;
	const char *next;
	struct gx_buf body;
	struct gx_jw w;
	int code;

	gx_buf_init(&body, 65536);
	gx_jw_init(&w, &body);
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "after", s->after);
	if (gx_opt(cli, "stream") != NULL) {
		gx_jw_kv_str(&w, "stream", gx_opt(cli, "stream"));
	}
	if (gx_opt(cli, "rule") != NULL) {
		gx_jw_kv_str(&w, "rule", gx_opt(cli, "rule"));
	}
	gx_jw_kv_bool(&w, "dry_run", gx_opt(cli, "dry-run") != NULL);
	put_reason(cli, &w);
	gx_jw_end(&w, '}');
	code = gx_net_call(cli, false, "POST", "/api/v1/quarantine/replay",
			   gx_buf_str(&body), &a);
	gx_buf_free(&body);
	if (code != GX_X_OK) {
		return code;
	}
	s->n_queued += gx_json_int(a, "queued", 0);
	s->n_refused += gx_json_int(a, "refused", 0);
	next = gx_json_str(a, "next", NULL);
	s->is_done = next == NULL;
	snprintf(s->after, sizeof s->after, "%s", next ? next : s->after);
	return GX_X_OK;
}

/* What the node has of a state, over all streams of its own sources. */
static int64_t
count(const struct gx_json *stats, const char *state)
{
	const struct gx_json *items = gx_json_get(stats, "items");
	int64_t n = 0;

	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		if (strcmp(gx_json_str(v, "side", ""), "source") == 0) {
			n += gx_json_int(v, state, 0);
		}
	}
	return n;
}

static int
say_progress(struct gx_cli *cli, const struct all *s)
{
	const struct gx_json *stats;
	int code = gx_net_call(cli, false, "GET", "/api/v1/quarantine/stats",
			       NULL, &stats);

	if (code == GX_X_OK) {
		fprintf(stderr,
			"%s %" PRId64 ", still refused %" PRId64
			"; at the node: open %" PRId64 ", queued %" PRId64
			", replayed %" PRId64 "\n",
			gx_opt(cli, "dry-run") ? "would queue" : "queued",
			s->n_queued, s->n_refused, count(stats, "open"),
			count(stats, "queued"), count(stats, "replayed"));
	}
	return code;
}

static int
replay_all(struct gx_cli *cli)
{
	struct all s = {.after = "0"};
	int code = GX_X_OK;

	for (int i = 1; !s.is_done && code == GX_X_OK; i++) {
		code = step_all(cli, &s);
		if (code == GX_X_OK && (s.is_done || i % 10 == 0)) {
			code = say_progress(cli, &s);
		}
		gx_arena_reset(cli->arena);
	}
	if (code == GX_X_OK) {
		printf("%" PRId64 "\n", s.n_queued);
	}
	return code;
}

int
gx_cmd_quarantine_replay(struct gx_cli *cli)
{
	bool is_all = gx_opt(cli, "all") != NULL;

	if (is_all != (cli->n_args == 0) ||
	    (!is_all && (gx_opt(cli, "stream") || gx_opt(cli, "rule")))) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "name one record by its number, or say "
				   "--all, then with --stream or --rule if you "
				   "like",
				   NULL);
	}
	if (is_all) {
		return replay_all(cli);
	}
	if (gx_opt(cli, "dry-run") != NULL) {
		return dry(cli, "would go home if it passes");
	}
	return command(cli, "/replay");
}
